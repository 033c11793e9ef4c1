"""A number with zeros in front of it that only the format of its cell shows, as people keep postcodes and documents."""

from __future__ import annotations

from typing import Self


class ShownNumber(int):
    """A number that is written with zeros in front; as a phone number and in calculations it has none.

    :param number: the number.
    :param width: how many digits it has with its zeros.
    """

    _width: int

    def __new__(cls, number: int, width: int) -> Self:  # noqa: D102  # as of the class
        made = super().__new__(cls, number)
        made._width = width
        return made

    def __str__(self) -> str:
        return str(int(self)).zfill(self._width)
