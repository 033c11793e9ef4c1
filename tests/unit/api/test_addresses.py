"""Phone numbers and handles: how they are read, and which of them are one person's."""

from __future__ import annotations

import ast
import math
import re
from decimal import Decimal
from numbers import Integral
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_wts.api.addresses import (
    People,
    addresses_in,
    ending_of,
    endings_in,
    hash_of,
    identity_of,
    is_address,
    looks_like_number,
    may_match,
    number,
    readable,
    recipient,
    same_person,
    spellings,
)
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.api.wire import is_missing

DOCUMENTED = Path(__file__).parents[3] / "docs" / "addresses.md"
DIGITS = st.text("0123456789", min_size=8, max_size=8)


# The documented table ---------------------------------------------------------------------------------------------


def cell(text: str) -> Any:
    """Return the value that a cell of the table shows."""
    if decimal := re.fullmatch(r"Decimal\('(.*)'\)", text):
        return Decimal(decimal[1])
    return math.nan if text == "nan" else ast.literal_eval(text)


def documented() -> list[tuple[str, str]]:
    """Return the cells of the documented table, and what the table says becomes of them."""
    section = DOCUMENTED.read_text().partition("## Accepted and refused values")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(.+?)` \| (.+?) \|", section.replace("\\|", "\0"), re.MULTILINE)
    return [(shown.replace("\0", "|"), becomes.replace("\0", "|").strip("`")) for shown, becomes in rows]


def test_the_documented_table_is_read() -> None:
    assert len(documented()) > 95
    assert {becomes for _, becomes in documented()} > {"refused", "missing", "+55|11988887777"}


@pytest.mark.parametrize(("shown", "becomes"), documented())
def test_a_cell_becomes_what_the_documentation_says(shown: str, becomes: str) -> None:
    value = cell(shown)
    assert is_missing(value) is (becomes == "missing")
    if becomes not in ("refused", "missing"):
        assert recipient(value) == becomes
        return
    with pytest.raises(WtsInvalidRequestError, match=r"^to: ") as caught:
        recipient(value)
    assert ("is empty" in str(caught.value)) is (becomes == "missing")
    assert "Example: '" in str(caught.value)


# Numbers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "+55|11999998888",
        "+55 11 99999-8888",
        "+55 (11) 99999-8888",
        "5511999998888",
        "55 11 99999 8888",
        "0055 11 99999-8888",
        "(11) 99999-8888",
        "011 99999-8888",
        "11 9 9999 8888",
        "11.99999.8888",
        "11.999998888",
        "  +5511999998888\n",
        "+55\u00a011\u00a099999\u20118888",
        "+55 11 99999\u20138888",
        "\u2066+55 11 99999\u22128888\u2069",
        "(0xx11) 99999-8888",
        "(0 XX 11) 99999-8888",
        "021 (11) 99999-8888",
        "\u201911999998888",
        '"11999998888"',
        "TEL: 11 99999-8888",
        "http://www.wa.me/+5511999998888/",
        "whatsapp://send?text=oi&phone=5511999998888",
        "https://web.whatsapp.com/send?phone=5511999998888#x",
    ],
)
def test_a_brazilian_number_is_understood_in_every_usual_spelling(text: str) -> None:
    assert number(text) == "+55|11999998888"


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("+55 11 4000-1234", "+55|1140001234"),
        ("+55 55 99999-8888", "+55|55999998888"),
        ("+351 912 345 678", "+351|912345678"),
        ("+33.6.12.34.56.00", "+33|612345600"),
        ("+54 9 11 2345-6789", "+54|91123456789"),
        ("+39 06 1234567", "+39|061234567"),
        ("+595 981 123456", "+595|981123456"),
        ("+1|4155552671", "+1|4155552671"),
        ("00 1 415 555 2671", "+1|4155552671"),
        ("00 52 1 55 1234 5678", "+52|15512345678"),
        ("+52 1 55 1234 5678", "+52|15512345678"),
        ("+52|15512345678", "+52|15512345678"),
        ("00 43 664 1234567", "+43|6641234567"),
        ("wa.me/14155552671", "+1|4155552671"),
        ("wa.me/+14155552671", "+1|4155552671"),
        ("wa.me/5215512345678", "+52|15512345678"),
        ("whatsapp.com/send?PHONE=14155552671&text=oi", "+1|4155552671"),
        ("55|11999998888", "+55|11999998888"),
        ("+55|011999998888", "+55|11999998888"),
        ("+55 021 11 99999-8888", "+55|11999998888"),
        ("(+55) 11 99999-8888", "+55|11999998888"),
        ("( +55 11) 99999-8888", "+55|11999998888"),
        ("055 11 99999-8888", "+55|11999998888"),
        ("021 11 99999-8888", "+55|11999998888"),
        # Of eight digits, as old mobile numbers are, which the library takes for none.
        ("0055 11 8888-7777", "+55|1188887777"),
        ("wa.me/551188887777", "+55|1188887777"),
        ("55 119999 98888", "+55|11999998888"),
        ("\uff0b\uff15\uff15 11 99999\uff0d8888", "+55|11999998888"),
        ("11988887777.00", "+55|11988887777"),
    ],
)
def test_other_numbers(text: str, stored: str) -> None:
    assert number(text) == stored


@pytest.mark.parametrize(
    "text",
    [
        "abc",
        "+55 11 9999A-8888",
        "123",
        "+",
        "+55 11 9999",
        "+55 11 199998888",
        "++5511999998888",
        "+55+11999998888",
        "+0055 11 99999-8888",
        "5511999998888 5511999998888",
        "+999 1234567",
        "1" * 500,
        "+55 11 99999-8888 ext. 5",
        "=cmd()",
        "#N/A",
        "1\ufe0f\u20e31999998888",
        "+55 11 \u00b99999-8888",
        "wa.me/",
        "tel:tel:+5511999998888",
        "11/99/9998888",
        "https://api.whatsapp.com/send?text=5511999998888",
        "https://api.whatsapp.com/send?phone=5511999998888&phone=5511999997777",
        "https://wa.me.example.com/5511999998888",
        "(11.0) 99999-8888",
    ],
)
def test_what_cannot_be_a_number_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(WtsInvalidRequestError, match="99999-8888") as caught:
        number(text, name="to")
    assert str(caught.value).startswith("to: ")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("000 55 11 99999-8888", "more zeros than are dialled"),
        ("00 11 99999-8888", "begins with two zeros"),
        ("00 999 1234567", "begins with two zeros"),
        ("0436641234567", "a carrier's code, or with 0 and a country code"),
        ("098 11 99999-8888", "is not a valid phone number"),
        ("+55 098 11 99999-8888", "is not a valid phone number"),
        ("0 1 415 555 2671", "is not a valid phone number"),
        ("11 99999-888 8", "ends with a single digit"),
        ("8", "is not a valid phone number"),
        ("11 98888-777", "a digit is missing"),
        ("+55 11 9 8888-777", "a digit is missing"),
        ("11 9222-11112", "too many"),
        ("5591912-3456 78", "an extension"),
        ("011 98888-777", "a digit is missing"),
        ("98888-77777", "one too many"),
        ("+55 98888-77777", "one too many"),
        ("119 888 777-77", "a CPF"),
        ("119.888.777.77", "a CPF"),
        ("119888.777/77", "a CPF"),
        ("(212) 555-1234", "another country"),
        ("415.555.2671", "another country"),
        ("(99) 99999-9999", "a placeholder"),
        ("99 9 9999-9999", "a placeholder"),
        ("(99) 9999-9999", "a placeholder"),
        ("(1) 98888-7777", "an area code of one digit"),
        ("01 98888-7777", "an area code of one digit"),
        ("+55 9 98888-7777", "an area code of one digit"),
        ("1 988 887 777", "an area code of one digit"),
        ("1 9 8888-7777", "an area code of one digit"),
        ("+551 98888-7777", "an area code of one digit"),
        ("551 9 8888-7777", "an area code of one digit"),
        ("0055 1 98888-7777", "an area code of one digit"),
        ("0 1 988887777", "an area code of one digit"),
        ("015 1 98888-7777", "an area code of one digit"),
        ("55 3222-1111 22", "the area code 55"),
        ("55 9 1912-3456 78", "the area code 55"),
        ("55 322 2111122", "the area code 55"),
        ("55 32221 11122", "the area code 55"),
        ("-11 99999-8888", "is not a valid phone number"),
        ("1|4155552671", "is not a valid phone number"),
        ("+521|5512345678", "is not a valid phone number"),
        ("+5|511999998888", "is not a valid phone number"),
        ("+11988887777", "looks like a Brazilian one without [+]55"),
        ("wa.me/11999998888", "looks like a Brazilian number without 55"),
        ("wa.me/999123456789", "is a link with an invalid number"),
        ("+1 415 555 26719", "is not a valid phone number"),
        ("+1|415555267", "is not a valid phone number"),
        ("+0 14155552671", "is not a valid phone number"),
        ("whatsapp://send?phone=", "is a link without a phone number"),
        ("5.51199E+12", "is in scientific notation"),
        ("11988887777.5", "is a fraction"),
        ("11988000000.0", "lost digits"),
        ("(11.0) 99999-8888", "contains a decimal number"),
        ("5511999998888,0", "contains a decimal number"),
        ("R$ 5.511.999.998.888,00", "contains a decimal number"),
        (Decimal("1198888777E+1"), "is in scientific notation"),
        (Decimal("1.1988887777E+10"), None),
        (Decimal("11988887777.0"), None),
        (Decimal("11988887777.5"), "is a fraction"),
        (Decimal("Infinity"), "is a fraction"),
        (11988887777.0, None),
        (11988887777.5, "is a fraction"),
        (11988000000.0, "lost digits"),
        (11988800000.0, None),
        (5511909998592.0, "single precision"),
        ("5511909998592.0", "single precision"),
        (551199991234.0, None),
        (11909998592.0, None),
        (5511909998592, None),
        (11988000000, None),
        ("11988000000", None),
        (Decimal(11988000000), None),
        (11988800000, None),
        (float(2**53 - 1), "without a plus sign or leading zeros"),
        (float(2**53), "too large to be exact"),
        (-float(2**53), "too large to be exact"),
        (5611988887777, "without a plus sign or leading zeros"),
        (True, "boolean"),
    ],
)
def test_why_a_value_is_no_number(value: Any, why: str | None) -> None:
    if why is None:
        assert number(value) == "+55|" + str(int(value)).removeprefix("55")
        return
    with pytest.raises(WtsInvalidRequestError, match=why):
        number(value)


@pytest.mark.parametrize(
    "text", ["11 98888-7777", "119 8888 7777", "11 9 88 88 77 77", "11 988 887 777", "1198888 77 77"]
)
def test_groups_of_a_complete_number_do_not_matter(text: str) -> None:
    assert number(text) == "+55|11988887777"


@pytest.mark.parametrize("text", ["[11] 98888-7777", "{11} 98888-7777"])
def test_a_bracket_makes_no_list(text: str) -> None:
    with pytest.raises(WtsInvalidRequestError, match="is not a valid phone number"):
        recipient(text)


@pytest.mark.parametrize(
    ("text", "is_one"), [("+55|11988887777", True), ("@maria", True), ("5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e", False)]
)
def test_an_address_is_no_id(text: str, is_one: bool) -> None:
    assert is_address(text) is is_one


def test_a_hash_is_of_a_person_and_of_a_key() -> None:
    of_ana = hash_of("+55|11988887777", b"key")
    assert of_ana == hash_of("+55 11 8888-7777", b"key")
    assert of_ana != hash_of("+55|11988887777", b"another key")
    assert of_ana != hash_of("+55|11988887778", b"key")
    assert len(of_ana) == 64


def test_a_handle_of_digits_alone_may_be_a_phone_number() -> None:
    with pytest.raises(WtsInvalidRequestError, match="Write a phone number without @"):
        recipient("@11988887777")
    assert recipient("@2024.loja") == "@2024.loja"


@pytest.mark.parametrize(("value", "what"), [([], "list"), ({}, "dict"), (b"+5511999998888", "bytes")])
def test_what_is_neither_text_nor_a_number_is_refused(value: Any, what: str) -> None:
    for read in (number, recipient):
        with pytest.raises(WtsInvalidRequestError, match=f"is (a|not text but) {what}"):
            read(value)


class int64:
    """An integer as numpy has it."""

    def __int__(self) -> int:
        return 5511999998888


class float32:
    """A number of single precision as numpy has it; what it holds is not what was put in."""

    def __float__(self) -> float:
        return 5511999913984.0


class bool_:
    """A truth value as numpy has it."""


class NAType:
    """The missing value of pandas: it compares to nothing, not even with a result."""

    def __eq__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise TypeError("boolean value of NA is ambiguous")

    __hash__ = None  # type: ignore[assignment]


Integral.register(int64)


def test_integers_of_data_frames_are_read_as_their_digits() -> None:
    assert number(int64()) == "+55|11999998888"


@pytest.mark.parametrize("value", [float32(), bool_()])
def test_what_cannot_hold_a_phone_number_is_refused(value: Any) -> None:
    with pytest.raises(WtsInvalidRequestError, match=r"lost digits|boolean"):
        number(value)


def test_the_missing_value_of_pandas_is_missing() -> None:
    assert is_missing(NAType())


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("sNaN"), math.nan, None, "", " NaN ", "\u200b", "<NA>"])
def test_missing_values(value: Any) -> None:
    assert is_missing(value)


@pytest.mark.parametrize("value", [0, 0.0, Decimal(0), False, [], {}, b"", "0", "Nana", math.inf])
def test_values_that_are_there(value: Any) -> None:
    assert not is_missing(value)


@given(st.integers(min_value=-(10**16), max_value=10**16))
def test_a_number_is_its_digits_or_refused_in_every_numeric_type(digits: int) -> None:
    read = []
    for value in (digits, Decimal(digits), f"{digits}"):
        try:
            read.append(number(value))
        except WtsInvalidRequestError:
            read.append("refused")
    assert read[0] == read[1]
    if read[0] != "refused":
        assert read[0].replace("+", "").replace("|", "") in (str(digits), f"55{digits}")
        assert read[2] == read[0]


@given(st.text(max_size=30) | st.from_regex(r"[+0]{0,2}[0-9 ().,/|-]{8,16}", fullmatch=True))
def test_any_text_gives_a_number_or_a_refusal(text: str) -> None:
    try:
        stored = recipient(text)
    except WtsInvalidRequestError:
        return
    assert stored.startswith(("+", "@"))
    assert recipient(stored) == stored


# Handles --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["@maria", "@maria.silva", "@m", "@Maria_1", " @maria-x ", "@a12345678", "@1234567"])
def test_a_handle_stays_as_it_is_written(text: str) -> None:
    assert recipient(text) == text.strip()


@pytest.mark.parametrize("text", ["@None", "@nan", "@null", "@NaT", " @None "])
def test_an_at_sign_before_a_missing_value_is_nobody(text: str) -> None:
    with pytest.raises(WtsInvalidRequestError, match="before a missing value"):
        recipient(text)


@pytest.mark.parametrize(
    "text", ["@", "@ maria", "@maria silva", "@maria.", "@.maria", "@@maria", "@m\u00e1ria", "@a/b"]
)
def test_what_cannot_be_a_handle_is_refused(text: str) -> None:
    with pytest.raises(WtsInvalidRequestError, match=r"@maria\.silva"):
        recipient(text)


@pytest.mark.parametrize(
    ("text", "is_number"),
    [
        ("+55 11 4000-1234", True),
        ("\u200e(11) 99999-8888", True),
        ("wa.me/5511999998888", True),
        ("Vendas", False),
        ("2024", False),
        ("123-4567", False),
        ("1234-5678", True),
        ("+55|11999998888", True),
        ("11/99999-8888", True),
        ("tel:190", True),
        ("Vendas 11999998888", False),
        ("5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e", False),
    ],
)
def test_names_and_numbers_are_told_apart(text: str, is_number: bool) -> None:
    assert looks_like_number(text) is is_number


# Who it is ------------------------------------------------------------------------------------------------------------

PAIRS = [
    ("+55|11988887777", "+55|1188887777"),
    ("+52|15512345678", "+52|5512345678"),
    ("+54|91123456789", "+54|1123456789"),
    ("@Maria.Silva", "@maria.silva"),
    ("+55|11988887777", "+55 11 98888-7777"),
    ("+52 1 55 1234 5678", "+52|5512345678"),
    ("+54 9 11 2345-6789", "+54 11 15 2345-6789"),
]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_two_spellings_are_one_person(one: str, other: str) -> None:
    assert same_person(one, other)
    assert may_match({"phonenumber": one, "instagram": one.removeprefix("@")}, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("+55|11988887777", "+55|11988887778"),
        ("+55|11988887777", "+55|21988887777"),
        # A landline has no ninth digit, and a newer mobile number has no form without it.
        ("+55|1140001234", "+55|11940001234"),
        ("+1|5512345678", "+52|5512345678"),
        ("@maria", "@maria1"),
    ],
)
def test_two_people(one: str, other: str) -> None:
    assert not same_person(one, other)


@pytest.mark.parametrize(
    ("phone", "expected"),
    [
        ("+55|11988887777", ["+55|11988887777", "+55|1188887777"]),
        ("+55|1188887777", ["+55|1188887777", "+55|11988887777"]),
        ("+52|5512345678", ["+52|5512345678", "+52|15512345678"]),
        ("+54|91123456789", ["+54|91123456789", "+54|1123456789"]),
        ("+55|1140028922", ["+55|1140028922"]),
        ("+55|11940028922", ["+55|11940028922"]),
        ("+1|2025550123", ["+1|2025550123"]),
        ("+351|911234567", ["+351|911234567"]),
        ("@maria", ["@maria"]),
    ],
)
def test_spellings_of_a_number(phone: str, expected: list[str]) -> None:
    assert spellings(phone) == expected


def test_an_id_stands_for_itself() -> None:
    assert identity_of("5F0C6C8E-2F3A-4D55-9A40-4F4B3A1D2C7E") == "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"


@given(st.sampled_from(["55119", "5511", "521", "52", "549", "54", "1", "351"]), DIGITS)
def test_every_spelling_is_the_same_person(code: str, digits: str) -> None:
    try:
        stored = number(f"+{code}{digits}")
    except WtsInvalidRequestError:
        return
    assert {identity_of(one) for one in spellings(stored)} == {identity_of(stored)}


@pytest.mark.parametrize(
    "stored", ["11 8888-7777", "+55|11988887777", "988887777", "ramal 5, 11 9.8888-7777", "+55|20988887777"]
)
def test_a_contact_is_found_however_its_number_is_stored(stored: str) -> None:
    people: People[str] = People()
    assert people.add({"phoneNumber": stored}, "opted out")
    assert people.get("+55|11988887777") == "opted out"
    assert "+55|11988887778" not in people


def test_a_contact_with_a_number_of_nobody_is_reported() -> None:
    people: People[str] = People()
    assert not people.add({"phoneNumber": "123"}, "opted out")
    assert people.add({"phoneNumber": None, "instagram": "@Maria"}, "opted out")
    assert people.add({}, "opted out")
    assert people.get("@maria") == "opted out"


@pytest.mark.parametrize(
    ("shown", "answer"),
    [
        ({"phonenumber": "+55|1188887777"}, True),
        ({"phonenumber": "+55|1188887776"}, False),
        ({"phoneNumber": "+55|11988887777"}, True),
        ({"phonenumber": None, "instagram": "maria"}, None),
        ({}, None),
    ],
)
def test_whose_record_it_may_be(shown: dict[str, Any], answer: bool | None) -> None:
    assert may_match(shown, "+55|11988887777") is answer


def test_a_handle_of_another_is_not_taken_for_this_one() -> None:
    assert may_match({"phonenumber": "+55|11988887777", "instagram": "maria"}, "@Maria") is True
    assert may_match({"phonenumber": "+55|11988887777", "instagram": "jose"}, "@maria") is False
    assert may_match({"phonenumber": "+55|11988887777"}, "@maria") is None
    assert may_match({"phonenumber": "-"}, "+55|11988887777") is None


def test_what_a_record_shows() -> None:
    record = {"phoneNumber": " +55|11988887777 ", "phonenumber": "+55|11900000000", "instagram": " @Maria "}
    assert list(addresses_in(record)) == ["+55|11988887777", "@Maria"]
    assert endings_in(record) == {"88887777", "@maria"}
    assert list(addresses_in({"phoneNumber": None, "phonenumber": "1", "instagram": "@"})) == ["1"]
    assert endings_in({"phoneNumber": "-", "instagram": ""}) == set()


@pytest.mark.parametrize(
    ("address", "ending"),
    [("+55|11988887777", "88887777"), ("8887777", "8887777"), (" @Maria ", "@maria"), ("(11) 98888.7777", "88887777")],
)
def test_the_ending_of_an_address(address: str, ending: str) -> None:
    assert ending_of(address) == ending


def test_what_is_known_first_about_a_person_stays() -> None:
    people: People[int] = People()
    assert people.add({"phoneNumber": "+55|11988887777"}, 0)
    assert people.add({"phoneNumber": "+55|1188887777", "instagram": "maria"}, 2)
    assert people.get("+55|11988887777") == 0
    assert people.get("@MARIA") == 2
    assert people.get("+55|11988887778") is None
    assert "+55|1188887777" in people
    assert len(people) == 2


@pytest.mark.parametrize(("stored", "can_be_found"), [("8888-7777", True), ("888-7777", False), ("-", False)])
def test_a_contact_is_found_by_the_last_eight_digits(stored: str, can_be_found: bool) -> None:
    people: People[str] = People()
    assert people.add({"phoneNumber": stored}, "opted out") is can_be_found
    assert ("+55|11988887777" in people) is can_be_found


@pytest.mark.parametrize(
    ("address", "identity"),
    [
        (" +55|1188887777 ", "+55|11988887777"),
        ("+55 11 8888-7777", "+55|11988887777"),
        (" @Maria ", "@maria"),
        ("+1|4155552671", "+1|4155552671"),
        ("ABC", "abc"),
    ],
)
def test_an_identity_is_the_longer_form(address: str, identity: str) -> None:
    assert identity_of(address) == identity


def test_an_error_shows_a_long_value_in_part() -> None:
    for read in (number, recipient):
        with pytest.raises(WtsInvalidRequestError) as caught:
            read("@/" * 500)
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("to +55|11999998888: failed", "to +55 11 99999-8888: failed"),
        ("+55|1132221111", "+55 11 3222-1111"),
        ("+1|4155552671 and +55|11999998888", "+1 4155552671 and +55 11 99999-8888"),
        ("a|b, +|1", "a|b, +|1"),
    ],
)
def test_a_text_shows_numbers_as_people_write_them(text: str, shown: str) -> None:
    assert readable(text) == shown
