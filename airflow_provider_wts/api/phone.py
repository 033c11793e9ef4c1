"""Spellings of phone numbers and handles.

WTS Chat stores ``+<country code>|<national number>``, such as ``+55|11999998888``. What else it accepts is not
documented, so everything is sent in that form. People write numbers in many ways; all usual ones are understood, and
a number without a country code is read as Brazilian.
"""

from __future__ import annotations

import re

from airflow_provider_wts.api.errors import WtsInvalidRequestError

EXAMPLE = "+55 11 99999-8888"

_HANDLE = re.compile(r"@[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9_-])?", re.ASCII)
_NUMBER = re.compile(r"[+0-9 ().|/\-\u00a0\u2010-\u2015]+")

# Area codes have no zero; a mobile number has nine digits and begins with 9, or is an older one of eight.
_BRAZILIAN = re.compile(r"[1-9]{2}(?:9[0-9]{8}|[2-9][0-9]{7})")


def recipient(text: str, *, name: str = "to") -> str:
    """Return a phone number as WTS Chat stores it, or a handle as it stands.

    :param text: a phone number in any usual spelling, or an ``@handle``.
    :param name: the field's name, for the error.
    :return: ``+<country code>|<national number>`` or ``@handle``.
    :raises WtsInvalidRequestError: when it is neither.
    """
    text = _text(text, name)
    if text.startswith("@"):
        if _HANDLE.fullmatch(text):
            return text
        raise WtsInvalidRequestError(f"{name}: {text!r} is no handle. A good value is '@maria.silva'.")
    return number(text, name=name)


def number(text: str, *, name: str = "phone") -> str:
    """Return a phone number as WTS Chat stores it.

    :param text: a phone number in any usual spelling; without a country code it is read as Brazilian.
    :param name: the field's name, for the error.
    :return: ``+<country code>|<national number>``.
    :raises WtsInvalidRequestError: when it cannot be a phone number.
    """
    import phonenumbers

    text = _text(text, name)
    good = f"A good value is {EXAMPLE!r}; begin with + and the country code for a number outside Brazil."
    if not _NUMBER.fullmatch(text) or "+" in text[1:] or not any(character.isdigit() for character in text):
        raise WtsInvalidRequestError(f"{name}: {text!r} is no phone number. {good}")
    try:
        # 00 is dialled for + in most of the world; the library would take it for Brazil's own prefixes.
        spelled = re.sub(r"^00(?=[1-9])", "+", text).replace("|", " ")
        parsed = phonenumbers.parse(spelled, "BR")
    except phonenumbers.NumberParseException:
        raise WtsInvalidRequestError(f"{name}: {text!r} is no phone number. {good}") from None
    country, national = parsed.country_code, phonenumbers.national_significant_number(parsed)
    possible = (
        _BRAZILIAN.fullmatch(national)
        if country == 55
        else phonenumbers.is_possible_number_with_reason(parsed) == phonenumbers.ValidationResult.IS_POSSIBLE
    )
    if not possible:
        raise WtsInvalidRequestError(f"{name}: {text!r} is no possible phone number. {good}")
    return f"+{country}|{national}"


def looks_like_number(text: str) -> bool:
    """Whether a text is written like a phone number rather than like a name.

    :param text: what the user wrote.
    """
    return bool(_NUMBER.fullmatch(text.strip())) and sum(character.isdigit() for character in text) >= 8


def _text(value: object, name: str) -> str:
    """Take a whole number as text: a template that renders native types makes one of digits."""
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value).strip()
    raise WtsInvalidRequestError(f"{name}: must be text, not {type(value).__name__}. A good value is {EXAMPLE!r}.")
