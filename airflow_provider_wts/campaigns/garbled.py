"""Text that a customer could not read, wherever the table came from."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: Characters that text does not hold: where they are, it was read in another encoding, or is damaged.
_NOT_TEXT = re.compile("[\0\x80-\x84\x86-\x9f\ufffd]")


def garbled_text(cell: object) -> str | None:
    """Return a text of which a customer would read signs in place of letters: UTF-8 taken for something else: "JoÃ£o".

    :param cell: the value of the cell, which may hold others.
    :return: that text alone, for an error; ``None`` if there is none.
    """
    if isinstance(cell, str):
        return cell if _is_garbled(cell) else None
    if isinstance(cell, Mapping):
        cell = list(cell.values())
    return next(filter(None, map(garbled_text, cell)), None) if isinstance(cell, (list, tuple)) else None


def _is_garbled(cell: str) -> bool:
    if cell.isascii():
        return "\0" in cell
    return bool(_NOT_TEXT.search(cell)) or any(_is_utf8_read_as(encoding, cell) for encoding in ("cp1252", "latin-1"))


def _is_utf8_read_as(encoding: str, cell: str) -> bool:
    try:
        return len(cell.encode(encoding).decode()) < len(cell)
    except UnicodeError:
        return False
