"""What counts as no value in a cell, wherever the table came from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

#: How programs write a missing value as text: pandas, databases, and Excel in English and Portuguese for a formula
#: that failed. Compared exactly: "Nan" is a name.
_WRITTEN = frozenset(
    [
        *("nan", "NaN", "NAN", "None", "NaT", "<NA>", "N/A", "n/a", "null", "NULL", "\\N", "#N/A", "#N/D", "#REF!"),
        *("#VALUE!", "#VALOR!", "#DIV/0!", "#NUM!", "#NÚM!", "#NAME?", "#NOME?", "#NULL!", "#NULO!"),
    ]
)

#: ``pandas.NaT`` and ``pandas.NA``, known by name so that pandas need not be imported.
_TYPES = frozenset(("NaTType", "NAType"))


def is_missing(value: object) -> bool:
    """Whether a cell holds no value: ``None``, NaN, NaT, ``pandas.NA``, their text, or an error of a spreadsheet.

    :param value: the value of the cell.
    """
    value = plain_number(value)
    if value is None or type(value).__name__ in _TYPES:
        return True
    if isinstance(value, str):
        return value.strip() in _WRITTEN
    if isinstance(value, Decimal):
        return value.is_nan()
    return isinstance(value, float) and math.isnan(value)


def is_blank(value: object) -> bool:
    """Whether a cell holds nothing that a person could read: no value, or text without a visible character.

    :param value: the value of the cell.
    """
    return is_missing(value) or (isinstance(value, str) and not value.strip())


def without_missing(value: Any) -> Any:
    """Return a value with ``None`` for each missing one, at any depth, and numbers of NumPy as Python's own.

    :param value: the value.
    """
    if is_missing(value):
        return None
    if isinstance(value, Mapping):
        return {key: without_missing(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_missing(one) for one in value]
    return plain_number(value)


def plain_number(value: Any) -> Any:
    """Return a number of NumPy as Python's own, and everything else as it is.

    :param value: the value.
    """
    if type(value).__module__ == "numpy" and hasattr(value, "item") and not getattr(value, "shape", ()):
        return value.item()
    return value
