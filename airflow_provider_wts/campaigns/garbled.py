"""Text that a customer could not read, wherever the table came from."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: Characters that text does not hold: where they are, it was read in another encoding, or is damaged.
_NOT_TEXT = re.compile("[\0\x80-\x84\x86-\x9f\ufffd]")


def is_garbled(cell: object) -> bool:
    """Whether a customer would read signs in place of letters: UTF-8 taken for something else, such as "JoÃ£o".

    :param cell: the value of the cell, which may hold others.
    """
    if isinstance(cell, Mapping):
        return any(map(is_garbled, cell.values()))
    if isinstance(cell, (list, tuple)):
        return any(map(is_garbled, cell))
    if not isinstance(cell, str):
        return False
    if cell.isascii():
        return "\0" in cell
    return bool(_NOT_TEXT.search(cell)) or any(_is_utf8_read_as(encoding, cell) for encoding in ("cp1252", "latin-1"))


def _is_utf8_read_as(encoding: str, cell: str) -> bool:
    try:
        return len(cell.encode(encoding).decode()) < len(cell)
    except UnicodeError:
        return False
