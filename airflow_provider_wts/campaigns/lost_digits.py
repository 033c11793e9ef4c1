"""Phone numbers that lost digits before they came here, and are now a stranger's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.addresses import (
    CUT_OFF,
    LARGEST,
    LOST_DIGITS,
    is_cut_off,
    lost_digits,
    shortened_digits,
)
from airflow_provider_wts.campaigns.row_templates import RowError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The share of rows whose numbers end in six zeros by chance, with a margin: they are one in a million.
BY_CHANCE = 1e-5

#: The digits of a Brazilian number with its area code.
_SHORTEST = 10

#: A Brazilian mobile number after one digit, and a number after a country code that is an area code, too.
_MOBILE_AFTER_ONE = re.compile("(?:00)?(?:55)?0?([1-9])(9[0-9]{8})")
_LOCAL_AFTER_55 = re.compile("55([0-9]{8,9})")


class LostDigits:
    """Finds the numbers of a campaign's rows that may have lost digits.

    :param skips: whether bad rows are skipped. Then a number that ends in six zeros is bad even if it is alone.
    """

    def __init__(self, *, skips: bool) -> None:
        self._skips = skips
        self._shortened: list[int] = []

    def check(self, to: Any, columns: Mapping[str, Any], line: int) -> None:
        """Refuse the recipient of a row if it, or the cell that a template made it of, lost digits.

        :raises RowError: when it did, or probably did.
        """
        for cell in columns.values():
            _refuse_float(cell, to)
        _refuse_missing_area_code(to, columns)
        if _digits_in(to).endswith(LARGEST) and any(map(is_cut_off, columns.values())):
            raise RowError(f"to: {CUT_OFF}")
        digits = shortened_digits(to) or _shortened_in_a_cell(to, columns)
        # What a template adds to all numbers, such as a plus, does not vouch for this one.
        if not digits or any(_is_written(digits, cell) for cell in columns.values()):
            return
        self._shortened.append(line)
        if self._skips or 1 < len(self._shortened) > line * BY_CHANCE:
            others = f", as in line {self._shortened[0]}" if self._shortened[0] != line else ""
            raise RowError(
                f"to: ends in six zeros{others}, so it may have {LOST_DIGITS}. If it is right, begin it with + in its "
                "own cell"
            )


def _refuse_float(cell: Any, to: Any) -> None:
    """Refuse a recipient made of a float that lost digits, which the filter ``int`` does not bring back."""
    if isinstance(cell, float) and cell.is_integer() and not isinstance(to, float):
        whole = str(int(cell))
        if _digits_in(to).endswith(whole[-_SHORTEST:]) and (lost := lost_digits(whole)):
            raise RowError(f"to: its cell, {cell}, {lost}")


def _refuse_missing_area_code(to: Any, columns: Mapping[str, Any]) -> None:
    """Refuse a recipient that a template made of a number and an area code of one digit, or none."""
    digits = _digits_in(to)
    short, local = _MOBILE_AFTER_ONE.fullmatch(digits), _LOCAL_AFTER_55.fullmatch(digits)
    if not short and not local:
        return
    cells = {_digits_in(cell).removeprefix("0") for cell in columns.values()}
    if short and cells.issuperset(short.groups()):
        raise RowError("to: has an area code of one digit: a digit is missing")
    if local and local[1] in cells and "55" not in cells:
        raise RowError("to: has no area code, and 55 would be read as one. Example: +55 11 99999-8888")


def _shortened_in_a_cell(to: Any, columns: Mapping[str, Any]) -> str:
    """Return the digits of a phone number if a template made it of a cell of digits that may be shortened."""
    digits = shortened_digits(_digits_in(to))
    cells = map(shortened_digits, columns.values()) if digits else ()
    return digits if any(len(cell) >= _SHORTEST and digits.endswith(cell[-_SHORTEST:]) for cell in cells) else ""


def _is_written(digits: str, cell: Any) -> bool:
    """Whether a person wrote these digits into a cell: with a plus sign, or grouped."""
    written = _digits_in(cell) if isinstance(cell, str) else ""
    is_same = len(written) >= _SHORTEST and digits.endswith(written)
    return is_same and (cell.strip().startswith("+") or not shortened_digits(cell))


def _digits_in(value: object) -> str:
    return "".join(filter(str.isdecimal, str(value)))
