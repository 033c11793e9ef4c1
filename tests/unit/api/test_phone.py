"""Spellings of phone numbers and handles."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.api.phone import looks_like_number, number, recipient


@pytest.mark.parametrize(
    "text",
    [
        "+55|11999998888",
        "+55 11 99999-8888",
        "+55 (11) 99999-8888",
        "5511999998888",
        "55 11 99999 8888",
        "005511999998888",
        "0055 11 99999-8888",
        "11999998888",
        "(11) 99999-8888",
        "011 99999-8888",
        "11 9 9999 8888",
        "11.99999.8888",
        "  +5511999998888\n",
        "+55\u00a011\u00a099999\u20118888",
        "+55 11 99999\u20138888",
    ],
)
def test_a_brazilian_number_is_understood_in_every_usual_spelling(text: str) -> None:
    assert number(text) == "+55|11999998888"


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("+55 11 4000-1234", "+55|1140001234"),
        ("1140001234", "+55|1140001234"),
        ("+55 55 99999-8888", "+55|55999998888"),
        ("55 99999-8888", "+55|55999998888"),
        ("+1 (415) 555-2671", "+1|4155552671"),
        ("+351 912 345 678", "+351|912345678"),
        ("00351912345678", "+351|912345678"),
        ("+54 9 11 2345-6789", "+54|91123456789"),
        ("+595 981 123456", "+595|981123456"),
        ("+1|4155552671", "+1|4155552671"),
    ],
)
def test_other_numbers(text: str, stored: str) -> None:
    assert number(text) == stored


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "abc",
        "+55 11 9999A-8888",
        "123",
        "+",
        "99999-8888",
        "+55 11 9999",
        "+55 11 199998888",
        "++5511999998888",
        "+55+11999998888",
        "5511999998888 5511999998888",
        "+999 1234567",
        "1" * 500,
        "+55 11 99999-8888 ext. 5",
        "=cmd()",
        "+\u0665\u066511999998888",
    ],
)
def test_what_cannot_be_a_number_is_refused_with_a_good_value(text: str) -> None:
    with pytest.raises(WtsInvalidRequestError, match="99999-8888") as caught:
        number(text, name="to")
    assert str(caught.value).startswith("to: ")


@pytest.mark.parametrize("value", [None, 3.5, True, ["+5511999998888"], {}, b"+5511999998888"])
def test_what_is_no_text_is_refused(value: Any) -> None:
    for read in (number, recipient):
        with pytest.raises(WtsInvalidRequestError, match=r"must be text|no phone number"):
            read(value)


def test_a_whole_number_as_native_rendering_gives_it_is_understood() -> None:
    assert recipient(5511999998888) == "+55|11999998888"  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["@maria", "@maria.silva", "@m", "@Maria_1", " @maria-x "])
def test_a_handle_stands_as_it_is(text: str) -> None:
    assert recipient(text) == text.strip()


@pytest.mark.parametrize("text", ["@", "@ maria", "@maria silva", "@maria.", "@.maria", "@@maria", "@mária", "@a/b"])
def test_what_cannot_be_a_handle_is_refused(text: str) -> None:
    with pytest.raises(WtsInvalidRequestError, match=r"@maria\.silva"):
        recipient(text)


@given(st.text(max_size=30))
def test_any_text_gives_a_number_or_a_refusal(text: str) -> None:
    try:
        stored = recipient(text)
    except WtsInvalidRequestError:
        return
    assert stored.startswith(("+", "@"))
    assert recipient(stored) == stored


@pytest.mark.parametrize(("text", "is_number"), [("+55 11 4000-1234", True), ("Vendas", False), ("2024", False)])
def test_names_and_numbers_are_told_apart(text: str, is_number: bool) -> None:
    assert looks_like_number(text) is is_number
