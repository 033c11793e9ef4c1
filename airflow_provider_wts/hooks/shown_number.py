"""A number whose leading zeros come only from its cell's format or column's type, as in postal codes and documents."""

from __future__ import annotations

from typing import Self


class ShownNumber(int):
    """A number with leading zeros as text, but not as a phone number or in calculations.

    :param width: number of digits, including the leading zeros.
    """

    _width: int

    def __new__(cls, number: int, width: int) -> Self:  # noqa: D102  # as of the class
        made = super().__new__(cls, number)
        made._width = width
        return made

    def __str__(self) -> str:
        return str(int(self)).zfill(self._width)
