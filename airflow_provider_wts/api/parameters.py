"""Values as people and templates leave them."""

from __future__ import annotations

import unicodedata

from airflow_provider_wts.api.call import NOT_GIVEN

# How Python and pandas write a value that is missing, and so what a template makes of it.
_MISSING_TEXTS = frozenset({"", "None", "nan", "NaN", "NaT", "<NA>"})
_MISSING_TYPES = frozenset({"NAType", "NaTType"})


def is_missing(value: object) -> bool:
    """Whether a value is missing: not given, ``None``, NaN and its relatives of pandas, blank text, or their text.

    :param value: the value.
    """
    if isinstance(value, str):
        return visible(value) in _MISSING_TEXTS
    return value is NOT_GIVEN or value is None or is_nan(value)


def visible(text: str) -> str:
    """Return a text without blanks around it and without characters that nobody sees, such as direction marks.

    :param text: the text.
    """
    if not text.isascii():
        text = "".join(character for character in text if unicodedata.category(character) != "Cf")
    return text.strip()


def is_nan(value: object) -> bool:
    """Whether a value stands for a missing one in a data frame: NaN of any kind of number, ``NaT``, ``NA``.

    :param value: the value.
    """
    if type(value).__name__ in _MISSING_TYPES:
        return True
    if isinstance(value, (str, bytes, int)) or not hasattr(value, "__float__"):
        return False
    try:
        # Only what is not a number differs from itself. An array answers with an array.
        return bool(value != value)  # noqa: PLR0124
    except ArithmeticError:
        # A signalling NaN.
        return True
    except (TypeError, ValueError):
        return False
