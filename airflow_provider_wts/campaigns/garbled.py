"""Detects garbled text, such as "JoÃ£o"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow_provider_wts.api.errors import quoted

#: Characters that do not occur in text, unless it was decoded wrongly or is damaged.
_NOT_TEXT = re.compile("[\0\x80-\x84\x86-\x9f\ufffd]")

#: Symbols in place of accented letters, if Excel's CSV for MS-DOS or the Macintosh is read as another encoding: "JoÆo".
_NO_LETTERS = re.compile(
    r"[^\W\d_](?:[\u201a\u201e\u02c6\u2039\u2030\u0192\xb6]|[\u2021\u20ac\u2122\u203a](?=[^\W\d_]))"
    r"|[a-z\xe0-\xff](?:[\xc6\u017d\xa2-\xa5]|\xa1(?=[a-z\xe0-\xff]))"
)


def garbled_cell(cells: Mapping[Any, object]) -> str | None:
    """Return what is wrong with the first garbled cell of a row, or ``None``; it quotes only the garbled text."""
    for name, cell in cells.items():
        if (text := _garbled_text(cell)) is not None:
            return (
                f"{name}: {quoted(text)} is not readable text: it was read in another encoding than it was written in, "
                "or is damaged"
            )
    return None


def _garbled_text(cell: object) -> str | None:
    if isinstance(cell, str):
        return cell if _is_garbled(cell) else None
    if isinstance(cell, Mapping):
        cell = list(cell.values())
    return next(filter(None, map(_garbled_text, cell)), None) if isinstance(cell, (list, tuple)) else None


def _is_garbled(cell: str) -> bool:
    if cell.isascii():
        return "\0" in cell
    if _NOT_TEXT.search(cell) or _NO_LETTERS.search(cell):
        return True
    return any(_is_utf8_read_as(encoding, cell) for encoding in ("cp1252", "latin-1"))


def _is_utf8_read_as(encoding: str, cell: str) -> bool:
    try:
        return len(cell.encode(encoding).decode()) < len(cell)
    except UnicodeError:
        return False
