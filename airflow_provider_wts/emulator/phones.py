"""Phone numbers as the service keeps them: plus sign, country code, a pipe, the national number."""

from __future__ import annotations

import re

from airflow_provider_wts.emulator.errors import Refusal
from airflow_provider_wts.emulator.switches import Switches

# Country codes of two digits; +1 and +7 have one, all others three.
_ONE_DIGIT = ("1", "7")
_TWO_DIGITS = frozenset(
    str(code) for first, last in ((30, 34), (43, 49), (51, 58), (60, 66), (90, 95)) for code in range(first, last + 1)
) | {"20", "27", "36", "39", "40", "41", "81", "82", "84", "86", "98"}
_PIPE = re.compile(r"\+(\d{1,3})\|(\d{4,14})", re.ASCII)
_DIGITS = re.compile(r"\+?(\d{10,15})", re.ASCII)


def stored_phone(text: str, switches: Switches) -> str:
    """Return a phone number as the service stores it, or refuse it."""
    text = text.strip()
    if _PIPE.fullmatch(text):
        return text
    match = _DIGITS.fullmatch(text) if switches.phone_spellings == "any" else None
    if match is None:
        raise Refusal("FORM_ERROR", "O número de telefone informado é inválido.")
    digits = match[1]
    # Without the plus sign, 10 or 11 digits are a Brazilian number that lacks its country code.
    if len(digits) < 12 and not text.startswith("+"):
        raise Refusal("FORM_ERROR", "O número de telefone deve conter o código do país.")
    code = digits[:1] if digits[0] in _ONE_DIGIT else digits[:2] if digits[:2] in _TWO_DIGITS else digits[:3]
    national = digits[len(code) :]
    return f"+{code}|{national}"


def formatted_phone(stored: str | None) -> str | None:
    """Return a stored number for display."""
    if not stored:
        return None
    code, _, national = stored.removeprefix("+").partition("|")
    if code == "55" and len(national) in (10, 11):
        return f"({national[:2]}) {national[2:-4]}-{national[-4:]}"
    return f"+{code} {national}"


def is_handle(text: str) -> bool:
    """Return whether a text is an Instagram handle."""
    return text.strip().startswith("@")
