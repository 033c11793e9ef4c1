"""Phone numbers and handles: how they are parsed and spelled, and which of them mean the same person.

WTS Chat stores ``+<country code>|<national number>``, such as ``+55|11999998888``. What else it accepts is not
documented, so every number is sent in that form. People write numbers in many ways. A text that can mean only one
number is parsed; anything else is refused, because a guess may reach a stranger. A number without a country code is
Brazilian. ``docs/addresses.md`` lists what a cell may contain, and the result.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import struct
import unicodedata
from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from numbers import Integral
from typing import TYPE_CHECKING, Generic, TypeVar

from airflow_provider_wts.api.errors import WtsInvalidRequestError, quoted
from airflow_provider_wts.api.wire import is_missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

T = TypeVar("T")

EXAMPLE = "+55 11 99999-8888"

# A list or an object that was converted to text.
_BRACKETED = re.compile(r"\[.*\]|\{.*\}", re.DOTALL)
_HANDLE = re.compile(r"@[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9_-])?", re.ASCII)

# Area codes of Anatel's numbering plan. A mobile number has nine digits and begins with 9, or is an older eight-digit
# one.
_BRAZILIAN = re.compile(
    r"(?:[14689][1-9]|2[12478]|3[1-578]|5[1345]|7[134579])(?:9[0-9]{8}|[2-9][0-9]{7})",
)
# Long-distance carriers, dialled between the zero and the area code (libphonenumber's metadata of Brazil).
_CARRIERS = frozenset(["12", "14", "15", "21", "22", "23", "25", "31", "41", "43", "55", "65", "99"])

_SEPARATED = re.compile(r"[0-9 ().\-]*[0-9][0-9 ().\-]*")
_SCIENTIFIC = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?[eE][+-]?[0-9]+")
_DECIMAL = re.compile(r"([0-9]+)\.([0-9]{1,3})")
# A float of a data frame inside a text: "(11.0) 98888-7777", "11 988887777.0"; or written in Brazil: "11988887777,0".
_FLOAT_INSIDE = re.compile(r"[^.]*[0-9]\.0{1,2}(?:[ )][^.]*)?|[^,]*[0-9],0{1,2}")
# Excel's text marker, quotes, and the formula ="..." which exports use to keep leading zeros.
_QUOTED = re.compile(r"=\"(.*)\"|\"(.*)\"|['\u2018\u2019`\u00b4](.*?)['\u2018\u2019`\u00b4]?")
_SCHEME = re.compile(r"(?:tel|whatsapp):(?!//)", re.IGNORECASE)
_LINK = re.compile(
    r"(?:https?://)?(?:www\.)?wa\.me/([^/?#]*)/?(?:[?#].*)?"
    r"|(?:(?:https?://)?(?:(?:api|web|www)\.)?whatsapp\.com/send/?|whatsapp://send/?)\?([^#]*)(?:#.*)?"
    # WhatsApp's own IDs, as other tools export them, optionally with a device.
    r"|([0-9]+)(?::[0-9]+)?@(?:s\.whatsapp\.net|c\.us)",
    re.IGNORECASE,
)
_LINKED_NUMBER = re.compile(r"\+?[1-9][0-9]{7,14}", re.ASCII)
# "0xx11", "0**11": a placeholder for the carrier.
_ANY_CARRIER = re.compile(r"(\(?)0 ?(?:xx|\*\*) ?", re.IGNORECASE)
_SLASH_AFTER_AREA_CODE = re.compile(r"(\(?0?[1-9][0-9]\)?) ?/ ?(?=[0-9])")
# A number with thousands separators, as spreadsheets show and export it. No person groups a phone number like that.
_THOUSANDS = re.compile(r"[0-9]{1,3}([.,])[0-9]{3}(?:\1[0-9]{3})+")
_PIPED = re.compile(r"\+?([0-9]{1,3})\|([0-9 ().\-]+)")

# Trailing zeros of a number that a spreadsheet showed with at most six digits, as in 5.51199E+12, and then saved.
_ROUNDED = re.compile(r"[0-9]*0{6}")
_LARGEST_EXACT = 2**53
# What the mask of a form shows in place of a number, without its separators.
_NINES = ("9999999999", "99999999999")
# The largest numbers of columns with 32 bits, ten digits or eleven digits. MySQL stores them for any larger number.
LARGEST = ("2147483647", "4294967295", *_NINES)
# From here on, few numbers are exact in single precision by chance: one in 65,536, and with 13 digits one in 500,000.
_HARDLY_SINGLE = 10**11

# Final digits of a number that all its spellings share.
_ENDING = 8

#: Countries in which a person's number has two forms: the patterns of the longer and the shorter form, and the formats
#: of both. WhatsApp may know a person by either form, whichever is dialled.
#:
#: - Brazil's mobile numbers got a ninth digit between 2012 and 2016 (Anatel, Resolução 553/2010). It was added before
#:   numbers that began with 6 to 9; later ones, such as 91234-5678, have no form without it.
#: - Mexico dialled 1 before a mobile number from abroad until August 2019 (IFT, Plan Técnico Fundamental de
#:   Numeración).
#: - Argentina's mobile numbers have a 9 after the country code when they are dialled from abroad (ENACOM, Plan
#:   Fundamental de Numeración Nacional).
#:
#: WhatsApp's own IDs differ from what is dialled in exactly these places: Meta's "Phone numbers" page of the WhatsApp
#: Business Platform (Brazil, Mexico), WhatsApp's FAQ about the international format (Argentina, Mexico), and the phone
#: normalizers of chatwoot/chatwoot (all three).
_TWO_FORMS = {
    "+55|": (
        re.compile(r"\+55\|(\d\d)9([6-9]\d{7})"),
        re.compile(r"\+55\|(\d\d)([6-9]\d{7})"),
        "+55|{}9{}",
        "+55|{}{}",
    ),
    "+52|": (re.compile(r"\+52\|1(\d{10})"), re.compile(r"\+52\|([2-9]\d{9})"), "+52|1{}", "+52|{}"),
    "+54|": (re.compile(r"\+54\|9(\d{10})"), re.compile(r"\+54\|([1-8]\d{9})"), "+54|9{}", "+54|{}"),
}
_OLD_MEXICAN = re.compile(r"521[2-9][0-9]{9}")
_STORED = re.compile(r"\+[1-9]\d{0,2}\|\d+", re.ASCII)


# Parsing --------------------------------------------------------------------------------------------------------------


def recipient(value: object, *, name: str = "to") -> str:
    """Return a phone number as WTS Chat stores it, or a handle without surrounding spaces.

    :param value: a phone number in any usual spelling, or an ``@handle``.
    :return: ``+<country code>|<national number>`` or ``@handle``.
    :raises WtsInvalidRequestError: when it is neither, or may be more than one number.
    """
    text = _cleaned(value) if isinstance(value, str) else ""
    if _BRACKETED.fullmatch(text) or (isinstance(value, Iterable) and not isinstance(value, (str, bytes))):
        kind = "list" if isinstance(value, str) else type(value).__name__
        raise WtsInvalidRequestError(
            f"{name}: {quoted(value)} is a {kind}, but must be one recipient. Nothing was sent. For many "
            "recipients, use the batch operator. Example: WtsSendTextBatchOperator(recipients=[...])."
        )
    if not is_handle(text):
        return number(value, name=name)
    if text[1:].isdecimal() and len(text) > _ENDING:
        raise WtsInvalidRequestError(
            f"{name}: {quoted(value)} is a handle of digits only. Write a phone number without @. Example: {EXAMPLE!r}."
        )
    refuse_handle_of_nobody(text, name=name)
    if _HANDLE.fullmatch(text):
        return text
    raise WtsInvalidRequestError(f"{name}: {quoted(value)} is not a valid handle. Example: '@maria.silva'.")


#: How Python, pandas, SQL and JavaScript write a missing value.
_NOBODY = frozenset(["none", "null", "nan", "nat", "<na>", "undefined"])


def refuse_handle_of_nobody(text: str, *, name: str) -> None:
    """Refuse an ``@`` that a template wrote before a missing value.

    :raises WtsInvalidRequestError: when it is one before a missing value.
    """
    if is_handle(text) and text[1:].strip().lower() in _NOBODY:
        raise WtsInvalidRequestError(f"{name}: {quoted(text)} is an @ before a missing value. Example: '@maria.silva'.")


def number(value: object, *, name: str = "phone") -> str:
    """Return a phone number as WTS Chat stores it.

    :param value: a phone number in any usual spelling; without a country code it is Brazilian. A value of a numeric
        type counts as its digits, if these are a Brazilian number.
    :return: ``+<country code>|<national number>``.
    :raises WtsInvalidRequestError: when it is not a number, or may be more than one.
    """
    if is_missing(_cleaned(value) if isinstance(value, str) else value):
        raise WtsInvalidRequestError(f"{name}: is empty ({quoted(value)}). Example: {EXAMPLE!r}.")
    try:
        return _text_number(value) if isinstance(value, str) else _typed_number(value)
    except _NotANumber as error:
        raise WtsInvalidRequestError(f"{name}: {quoted(value)} {error}. Example: {EXAMPLE!r}.") from None


def looks_like_number(text: str) -> bool:
    """Whether a text looks like a phone number rather than a name."""
    cleaned = _cleaned(text)
    if _LINK.fullmatch(cleaned) or _SCHEME.match(cleaned):
        return True
    plain = cleaned.replace("+", "").replace("|", "").replace("/", "")
    return bool(_SEPARATED.fullmatch(plain)) and sum(map(str.isdigit, plain)) >= 8


class _NotANumber(Exception):
    """What is wrong with a value; completes a sentence that begins with the value."""


_NO_NUMBER = "is not a valid phone number; begin with + and the country code for a number outside Brazil"
_LOST = "is a number without a plus sign or leading zeros, and not a Brazilian phone number; give it as text"
LOST_DIGITS = "lost digits: spreadsheets shorten long numbers; format the column as text and export it again"

CUT_OFF = (
    "is a placeholder, or what databases store for a number that is too large for its column; store phone numbers as "
    "text or BIGINT. If it is right, begin it with +55"
)


def _typed_number(value: object) -> str:
    """Parse a value of a numeric type, of which only the digits are left."""
    kind = type(value).__name__
    if isinstance(value, bool) or kind.startswith("bool"):
        raise _NotANumber("is a boolean, not a phone number")
    if isinstance(value, Integral):
        return _bare_digits(str(int(value)))
    if isinstance(value, Decimal):
        if not value.is_finite() or value != value.to_integral_value():
            raise _NotANumber("is a fraction")
        if int(value.as_tuple().exponent) > 0:
            raise _NotANumber(f"is in scientific notation and {LOST_DIGITS}")
        return _bare_digits(str(int(value)))
    if not isinstance(value, float):
        # Single and half precision keep seven and three digits.
        narrow = "float" in kind
        raise _NotANumber(LOST_DIGITS if narrow else f"is not text but {kind}; give it as text")
    if not value.is_integer():
        raise _NotANumber("is a fraction")
    if abs(value) >= _LARGEST_EXACT:
        raise _NotANumber(f"is too large to be exact and {LOST_DIGITS}")
    return _float_digits(str(int(value)))


def _float_digits(digits: str) -> str:
    """Parse the digits of a float, unless some of them are lost."""
    if lost := lost_digits(digits):
        raise _NotANumber(lost)
    return _bare_digits(digits)


def lost_digits(digits: str) -> str:
    """Return why a float with these digits was shortened, or one of single precision, before; blank if it was not."""
    if _ROUNDED.fullmatch(digits):
        return LOST_DIGITS
    number_ = float(digits)
    if _HARDLY_SINGLE <= number_ < _LARGEST_EXACT and struct.unpack("f", struct.pack("f", number_))[0] == number_:
        return "seems to be from a column of single precision, which loses digits; give it as text"
    return ""


def _bare_digits(digits: str) -> str:
    if digits in LARGEST:
        raise _NotANumber(CUT_OFF)
    if found := _brazilian(digits) or _after_55(digits):
        return found
    raise _NotANumber(_LOST)


def _brazilian(national: str) -> str | None:
    return f"+55|{national}" if _BRAZILIAN.fullmatch(national) else None


def _text_number(value: str) -> str:
    text = _cleaned(value)
    if link := _LINK.fullmatch(text):
        return _linked(link)
    text = _SCHEME.sub("", text, count=1).strip()
    if _SCIENTIFIC.fullmatch(text):
        raise _NotANumber(f"is in scientific notation and {LOST_DIGITS}")
    if decimal := _DECIMAL.fullmatch(text):
        if decimal[2].strip("0"):
            raise _NotANumber("is a fraction")
        return _float_digits(decimal[1])
    if _FLOAT_INSIDE.fullmatch(text):
        raise _NotANumber("contains a decimal number, so its digits are uncertain; give it as text")
    if piped := _PIPED.fullmatch(text):
        if not text.startswith(("+", "55|")):
            raise _NotANumber(_NO_NUMBER)
        return _with_country_code(piped[1] + _digits(piped[2]), country_code=piped[1])
    return _written(text)


def _written(text: str) -> str:
    """Parse digits with separators, with or without a plus sign."""
    if is_cut_off(text):
        raise _NotANumber(CUT_OFF)
    text = _ANY_CARRIER.sub(r"\g<1>0", text, count=1)
    text = _SLASH_AFTER_AREA_CODE.sub(r"\1 ", text, count=1)
    signed = re.match(r"\(? ?\+", text)
    if signed:
        text = text[: signed.end() - 1] + text[signed.end() :]
    groups = re.findall(r"[0-9]+", text)
    if not _SEPARATED.fullmatch(text) or text.startswith("-"):
        raise _NotANumber(_NO_NUMBER)
    if len(groups) > 1 and len(groups[-1]) == 1:
        raise _NotANumber("ends with a single digit, which may be an extension or a second number")
    digits = "".join(groups)
    if signed:
        found = _with_country_code(digits)
    elif digits.startswith("0"):
        found = _with_zeros(digits)
    else:
        found = _without_prefix(digits, groups)
    if found.startswith("+55|") and _is_grouped_oddly(groups):
        raise _NotANumber(
            "is not grouped as in Brazil: a digit is missing, there is one too many, it has an extension, or it is a "
            "CPF or another country's number; begin with + and the country code"
        )
    if found.startswith("+55|") and _begins_oddly(found.removeprefix("+55|"), groups):
        raise _NotANumber("has an area code of one digit: a digit is missing")
    return found


def _without_prefix(digits: str, groups: list[str]) -> str:
    if found := _brazilian(digits):
        return found
    if found := _after_55(digits):
        if groups[0] == "55" and len(groups[1]) < 6 and len(groups[1]) != 2 and not groups[1].startswith("0"):
            # "55 3222-1111 22": area code 55 and an extension, or country code 55 and area code 32.
            raise _NotANumber("may begin with the country code 55 or with the area code 55; begin with +55")
        return found
    raise _NotANumber(_NO_NUMBER)


def _is_grouped_oddly(groups: list[str]) -> bool:
    """Whether the digits are not grouped as in Brazil: 98888-7777, 8888-7777, 98 888 77 77, and not (212) 555-1234."""
    before, last = map(len, ("", *groups)[-2:])
    ends_oddly = (before >= 3 and last == 2) or (before >= 4 and last == 3) or (before in (4, 5) and last == 5)
    return ends_oddly or list(map(len, groups)) == [3, 3, 4]


def _begins_oddly(national: str, groups: list[str]) -> bool:
    """Whether the area code lacks a digit, so that the next one would be read as part of it: 1 98888-7777."""
    first, second, *_ = (*(groups[1:] if groups[0] == "55" else groups), "", "")
    if re.fullmatch("0?[1-9]", first) and len(second) >= 3:
        return True
    ends_in_nine = re.fullmatch(r"(.* )?([0-9]{9}|[0-9]{5} [0-9]{4}|9 [0-9]{4} [0-9]{4})", " ".join(groups))
    return len(national) == 10 and ends_in_nine is not None


def _with_country_code(digits: str, country_code: str | None = None) -> str:
    """Parse a number that begins with its country code."""
    import phonenumbers

    if digits.startswith("55") and country_code in (None, "55"):
        if found := _after_55(digits):
            return found
        raise _NotANumber(_NO_NUMBER)
    if _OLD_MEXICAN.fullmatch(digits) and country_code in (None, "52"):
        # No longer dialled, but WhatsApp still knows many people by it.
        return f"+52|{digits[2:]}"
    try:
        parsed = phonenumbers.parse(f"+{digits}", None)
    except phonenumbers.NumberParseException:
        raise _NotANumber(_NO_NUMBER) from None
    reason = phonenumbers.is_possible_number_with_reason(parsed)
    possible = reason == phonenumbers.ValidationResult.IS_POSSIBLE
    if digits.startswith("0") or not possible or country_code not in (None, str(parsed.country_code)):
        raise _NotANumber(_NO_NUMBER)
    if _brazilian(digits) and not phonenumbers.is_valid_number(parsed):
        raise _NotANumber(
            f"is not a valid number of country code {parsed.country_code}, but looks like a Brazilian one without +55"
        )
    return f"+{parsed.country_code}|{phonenumbers.national_significant_number(parsed)}"


def _after_55(digits: str) -> str | None:
    """Parse what follows the country code, which may be dialled within Brazil."""
    national = digits[2:]
    return _brazilian(national) or _after_zero(national) if digits.startswith("55") else None


def _after_zero(digits: str) -> str | None:
    """Parse what is dialled within Brazil: 0, optionally a carrier's code, and the area code."""
    if not digits.startswith("0"):
        return None
    return _brazilian(digits[1:]) or (_brazilian(digits[3:]) if digits[1:3] in _CARRIERS else None)


def _with_zeros(digits: str) -> str:
    """Parse a number with leading zeros, which are either dialled or padding."""
    bare = digits.lstrip("0")
    with_code = _after_55(bare)
    if digits.startswith("000"):
        raise _NotANumber("begins with more zeros than are dialled")
    if digits.startswith("00"):
        if _brazilian(bare) or not (with_code or _is_valid_abroad(bare)):
            raise _NotANumber(
                "begins with two zeros, which may be the prefix of a country code or padding; begin with +"
            )
        return _with_country_code(bare)
    found = _after_zero(digits) or with_code
    if not found:
        raise _NotANumber(_NO_NUMBER)
    if not _brazilian(bare) and not with_code and _is_valid_abroad(bare):
        raise _NotANumber("may begin with 0 and a carrier's code, or with 0 and a country code; begin with +")
    return found


def _is_valid_abroad(digits: str) -> bool:
    import phonenumbers

    if _OLD_MEXICAN.fullmatch(digits):
        return True
    try:
        parsed = phonenumbers.parse(f"+{digits}", None)
    except phonenumbers.NumberParseException:
        return False
    # If the library would change it (a zero after the country code), the number is ambiguous.
    as_written = f"{parsed.country_code}{phonenumbers.national_significant_number(parsed)}" == digits
    return as_written and phonenumbers.is_valid_number(parsed)


def _linked(link: re.Match[str]) -> str:
    """Parse the number in a WhatsApp link or ID, which has its country code without a plus sign."""
    from urllib.parse import unquote

    text = link[3] or link[1]
    if text is None:
        fields = [field.partition("=")[2] for field in link[2].split("&") if field.lower().startswith("phone=")]
        text = fields[0] if len(fields) == 1 else ""
    text = _cleaned(unquote(text))
    if not _LINKED_NUMBER.fullmatch(text):
        raise _NotANumber("is a link without a phone number")
    digits = text.removeprefix("+")
    if text == digits and not digits.startswith("55"):
        if _brazilian(digits):
            raise _NotANumber("is a link with what looks like a Brazilian number without 55")
        if not _is_valid_abroad(digits):
            raise _NotANumber("is a link with an invalid number")
    return _with_country_code(digits)


def _cleaned(text: str) -> str:
    """Return a text in ASCII (digits of any script, dashes, full-width characters) without invisible characters."""
    if not text.isascii():
        text = "".join(map(_plain, text))
    text = text.strip()
    if quoted := _QUOTED.fullmatch(text):
        text = next(part for part in quoted.groups() if part is not None).strip()
    return re.sub("[.,]", "", text) if _THOUSANDS.fullmatch(text) else text


def _plain(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category == "Cf":
        return ""
    if category == "Zs":
        return " "
    if category == "Pd" or character == "\N{MINUS SIGN}":
        return "-"
    # The full-width forms of ASCII.
    return chr(ord(character) - 0xFEE0) if "\uff01" <= character <= "\uff5e" else character


def _digits(text: object) -> str:
    return "".join(filter(str.isdecimal, str(text or "")))


# Handles --------------------------------------------------------------------------------------------------------------


def is_handle(text: str) -> bool:
    """Whether an address is a handle rather than a phone number."""
    return text.startswith("@")


def is_address(recipient: str) -> bool:
    """Whether a recipient is a number or handle as WTS Chat spells it, rather than the ID of a session or card."""
    return recipient.startswith(("+", "@"))


def user_of(handle: object) -> str:
    """Return the user name of a handle with or without ``@``; empty if there is none."""
    return "" if is_missing(handle) else str(handle).strip().removeprefix("@")


def handle_of(user: object) -> str:
    """Return the handle, with ``@``, of a user name with or without it; empty if there is none."""
    return f"@{found}" if (found := user_of(user)) else ""


# Who it is ------------------------------------------------------------------------------------------------------------


def spellings(address: str) -> list[str]:
    """Return an address, and the other form of a number that has two.

    Which of the two the API stores is not documented.
    """
    if (forms := _TWO_FORMS.get(address[:4])) is None:
        return [address]
    longer, shorter, as_longer, as_shorter = forms
    if match := longer.fullmatch(address):
        return [address, as_shorter.format(*match.groups())]
    if match := shorter.fullmatch(address):
        return [address, as_longer.format(*match.groups())]
    return [address]


# Cached, because each row of a campaign needs it several times.
@lru_cache(maxsize=1024)
def identity_of(address: str) -> str:
    """Return a text that is the same for all spellings of a person's address. Other texts are only lower-cased.

    :param address: phone number or handle in any spelling, or the ID of a session or card.
    """
    text = address.strip()
    if not _STORED.fullmatch(text):
        try:
            text = recipient(text)
        except WtsInvalidRequestError:
            return text.lower()
    if (forms := _TWO_FORMS.get(text[:4])) is not None:
        _, shorter, as_longer, _ = forms
        if match := shorter.fullmatch(text):
            text = as_longer.format(*match.groups())
    return text.lower()


def hash_of(address: str, key: bytes) -> str:
    """Return a keyed hash of a person, in hexadecimal, which is the same for all spellings of an address.

    :param key: a secret, without which nobody can find the person by trial.
    """
    return hmac.new(key, identity_of(address).encode(), hashlib.sha256).hexdigest()


def same_person(one: str, other: str) -> bool:
    """Whether two phone numbers or handles belong to the same person."""
    return identity_of(one) == identity_of(other)


def readable(text: str) -> str:
    """Format the phone numbers in a text as people write them: ``+55 11 99999-8888``, not ``+55|11999998888``."""
    text = re.sub(r"\+55\|(\d{2})(\d{4,5})(\d{4})\b", r"+55 \1 \2-\3", text)
    return re.sub(r"(\+\d+)\|(?=\d)", r"\1 ", text)


def ending_of(address: str) -> str:
    """Return the part of an address that all spellings share, even if they cannot be parsed.

    For a number, these are the last eight digits, because the forms of a country's numbers differ before them.
    """
    text = address.strip()
    return text.lower() if is_handle(text) else _digits(text)[-_ENDING:]


def addresses_in(record: Mapping[str, object]) -> Iterator[str]:
    """Return the stored number and handle of a contact, or of the contact's details in a session."""
    for name in ("phoneNumber", "phonenumber"):
        if not is_missing(record.get(name)):
            yield str(record[name]).strip()
            break
    if handle := handle_of(record.get("instagram")):
        yield handle


def has_address(contact: Mapping[str, object]) -> bool:
    """Whether a contact can be messaged on any channel, as far as the answer shows; Messenger has other addresses."""
    return any(addresses_in(contact)) or not is_missing(contact.get("messengerId"))


def shortened_digits(value: object) -> str:
    """Return digits that may be what a spreadsheet left of a number, as one number in a million is by chance.

    :return: the digits; blank if there are others at the end, or if they are grouped as people do.
    """
    digits = _whole(_cleaned(str(value)).removeprefix("+"))
    return digits if _ROUNDED.fullmatch(digits) else ""


def is_cut_off(value: object) -> bool:
    """Whether a value is what databases store for a number that is too large for its column, or the mask of a form."""
    text = _cleaned(str(value))
    return _whole(text) in LARGEST or re.sub("[ ().-]", "", text) in _NINES


def _whole(text: str) -> str:
    """Return a number without zeros behind its point; blank if there are other digits."""
    digits, _, fraction = text.partition(".")
    return "" if fraction.strip("0") else digits


def endings_in(record: Mapping[str, object]) -> set[str]:
    """Return :func:`ending_of` each address in a contact, or in the contact's details of a session."""
    return {ending for address in addresses_in(record) if (ending := ending_of(address))}


def may_match(record: Mapping[str, object], address: str) -> bool | None:
    """Whether a record may be about the person with an address; ``None`` if it shows no address of that kind.

    :param record: a contact, or the contact's details in a session.
    """
    shown = [ending_of(one) for one in addresses_in(record) if is_handle(one) is is_handle(address)]
    return ending_of(address) in shown if any(shown) else None


class People(Generic[T]):
    """A mapping from people to values, which finds people under every spelling of their addresses.

    A contact whose stored number cannot be parsed is found by the last digits. It is better to mistake a stranger for
    that contact than to miss the contact.
    """

    def __init__(self) -> None:
        self._known: dict[str, T] = {}

    def add(self, record: Mapping[str, object], value: T) -> bool:
        """Add a contact with a value, unless it already has one.

        :return: whether the contact can be found; ``False`` if the number has too few digits.
        """
        keys = [_identity_or_ending(address) for address in addresses_in(record)]
        for key in keys:
            self._known.setdefault(key, value)
        return all(len(key) >= len(_ending_key("")) + _ENDING for key in keys if not is_handle(key))

    def get(self, address: str) -> T | None:
        """Return the value of a person, or ``None``."""
        found = self._known.get(identity_of(address))
        return found if found is not None else self._known.get(_ending_key(address))

    def __contains__(self, address: str) -> bool:
        return self.get(address) is not None

    def __len__(self) -> int:
        return len(self._known)


def _identity_or_ending(stored: str) -> str:
    try:
        return identity_of(recipient(stored))
    except WtsInvalidRequestError:
        return stored.lower() if is_handle(stored) else _ending_key(stored)


def _ending_key(address: str) -> str:
    return f"...{ending_of(address)}"
