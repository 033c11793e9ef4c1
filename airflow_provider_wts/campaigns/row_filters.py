"""Jinja filters for the templates of rows. Each parses a cell strictly, or makes the row a bad one.

Jinja's own ``float`` and ``int`` turn what they cannot parse into 0, which a customer would then owe. These raise.
"""

from __future__ import annotations

import math
import re
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.errors import quoted
from airflow_provider_wts.api.wire import loses_digits

if TYPE_CHECKING:
    from collections.abc import Callable

#: Points between groups of three digits, or no groups; a comma before the decimals.
_BRAZILIAN = re.compile(r"-?(?:[0-9]{1,3}(?:\.[0-9]{3})+|[0-9]+)(?:,[0-9]+)?")
_PLAIN = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_WHOLE = re.compile(r"[+-]?[0-9]+(?:\.0*)?")

_DAY_FIRST = re.compile(r"([0-9]{1,2})([/.-])([0-9]{1,2})\2([0-9]{4})")
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ].*)?")

#: Differences below this are rounding errors.
_ROUNDING = Decimal("0.000001")

#: No-break spaces, which Excel writes after "R$", and the typographic minus sign.
_AS_ASCII = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2212": "-"})


def number(value: Any) -> float:
    """Parse a number as programs write it: ``1234.56``."""
    return _read(value, _PLAIN, "1234.56", other=(_BRAZILIAN, "number_br"))


def number_br(value: Any) -> float:
    """Parse a number as written in Brazil: ``1.234,56``."""
    return _read(value, _BRAZILIAN, "1.234,56", other=(_PLAIN, "number"))


def _read(value: Any, pattern: re.Pattern[str], example: str, *, other: tuple[re.Pattern[str], str]) -> float:
    if (found := _as_number(value)) is not None:
        return found
    text = _text(value)
    if not pattern.fullmatch(text):
        hint = f"; the filter '{other[1]}' reads it" if other[0].fullmatch(text) else ""
        raise ValueError(f"{quoted(value)} is not a number like {example}{hint}")
    plain = text.replace(".", "").replace(",", ".") if pattern is _BRAZILIAN else text
    if "." not in plain:
        return int(plain)
    return _exact(Decimal(plain), value)


def _exact(number_: Decimal, value: Any) -> float:
    if loses_digits(number_):
        raise ValueError(f"{quoted(value)} is not exact as a number: it has too many digits")
    return float(number_)


def money(value: Any) -> Decimal:
    """Parse an amount of money as written in Brazil, ``R$ 1.234,56``, or a number, and return it with two decimals."""
    text = value
    if isinstance(value, str):
        sign, text = re.fullmatch(r"(-?)\s*(?:R\$)?\s*(.*)", _text(value), re.DOTALL).groups()  # type: ignore[union-attr]
        text = f"{sign}{text}"
    try:
        found = number_br(text)
    except ValueError:
        raise ValueError(f"{quoted(value)} is not an amount like R$ 1.234,56") from None
    amount = Decimal(str(found))
    cents = amount.quantize(Decimal("0.01"))
    # A sum of floats, such as 149.90000000000001, still counts as whole cents.
    if abs(amount - cents) > _ROUNDING:
        raise ValueError(f"{quoted(value)} has fractions of a cent")
    return cents


def date_(value: Any) -> date:
    """Parse a date: ``31/12/2026`` (day first), ``2026-12-31``, or a spreadsheet's date."""
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    text = _text(value)
    try:
        if match := _DAY_FIRST.fullmatch(text):
            return date(int(match[4]), int(match[3]), int(match[1]))
        if _ISO.fullmatch(text):
            return datetime.fromisoformat(text).date()
    except ValueError as error:
        raise ValueError(f"{quoted(value)} is not a date: {error}") from None
    raise ValueError(f"{quoted(value)} is not a date like 31/12/2026 or 2026-12-31")


def as_br(value: Any, decimals: int = 2) -> str:
    """Format a number or a date for Brazil: ``1.234,56``, ``31/12/2026``.

    :param value: a number or a date. Text is refused, because its format is unknown.
    """
    if isinstance(value, datetime):
        return value.strftime("%d/%m/%Y %H:%M")
    if isinstance(value, date):
        return value.strftime("%d/%m/%Y")
    if isinstance(value, Decimal) and value.is_finite():
        found: Any = value
    elif isinstance(value, str) or (found := _as_number(value)) is None:
        raise ValueError(
            f"{quoted(value)} is neither a number nor a date; parse it first, for example with '| number_br'"
        )
    # As spreadsheets and databases round; Python rounds 0.125 to 0.12.
    with localcontext(rounding=ROUND_HALF_UP):
        return f"{Decimal(str(found)):,.{decimals}f}".translate(str.maketrans(",.", ".,"))


def _float(value: Any, default: Any = None) -> Any:
    """Jinja's ``float``, but strict; the default is for cells without a value."""
    return float(number(value)) if default is None or not _has_no_value(value) else default


def _int(value: Any, default: Any = None, base: int = 10) -> Any:
    """Jinja's ``int``, but strict; the default is for cells without a value."""
    if default is not None and _has_no_value(value):
        return default
    if isinstance(value, str) and base != 10:
        return int(value.strip(), base)
    if (isinstance(value, str) and not _WHOLE.fullmatch(_text(value))) or (found := number(value)) != int(found):
        raise ValueError(f"{quoted(value)} is not a whole number like 1234")
    return int(found)


#: The filters by their names in templates.
FILTERS: dict[str, Callable[..., Any]] = {
    "number": number,
    "number_br": number_br,
    "money": money,
    "date": date_,
    "as_br": as_br,
    "float": _float,
    "int": _int,
}


def _as_number(value: Any) -> float | None:
    """Return a number as an int or float, or ``None`` for anything else."""
    from airflow_provider_wts.campaigns.missing import is_missing, plain_number

    found = plain_number(value)
    if isinstance(found, bool) or not isinstance(found, (int, float, Decimal)) or is_missing(found):
        return None
    if math.isinf(found):
        raise ValueError(f"{quoted(value)} is not a number")
    if isinstance(found, Decimal):
        return int(found) if found == found.to_integral_value() else _exact(found, value)
    return found


def _text(value: Any) -> str:
    """Return a cell's text to parse. ``str`` of a missing value raises, and names its column."""
    if isinstance(value, (bool, list, tuple, dict)):
        raise ValueError(f"{quoted(value)} is not a text or a number")
    return str(value).translate(_AS_ASCII).strip()


def _has_no_value(value: Any) -> bool:
    # Missing values are undefined to Jinja, and so falsy.
    return value is None or (not value and not isinstance(value, (int, float, Decimal)))
