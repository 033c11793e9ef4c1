"""Spreadsheets as people have them, CSV and Excel, read row by row.

Each row comes as a tuple: the number under which a person finds it, its values by column, and why it could not be read
(empty where it could). What is uncertain is a problem of its row, or an error of the file; nothing is guessed.
"""

from __future__ import annotations

import csv
import itertools
import re
import shutil
import tempfile
import zipfile
from datetime import datetime, time
from typing import IO, TYPE_CHECKING, Any
from unicodedata import normalize

from airflow_provider_wts.api.errors import WtsInvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Cells = tuple[int, dict[str, Any], str]

#: Excel in Brazil writes semicolons, other programs tabs.
_DELIMITERS = ",;\t|"

#: Lines of a CSV file that may belong to its header.
_HEADER_LINES = 20

#: Excel's way to name the delimiter, before the header.
_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)

#: Characters that nobody sees, which programs leave in front of the first name: byte order marks and zero-width ones.
_UNSEEN = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u200e\u200f\u2060\u00ad"))

#: Bytes of an Excel file that are copied into memory; larger ones are copied to the disk.
_EXCEL_MEMORY = 8 * 1024 * 1024

_CHUNK = 1024 * 1024
_LONGEST_TAG = 4096
_ROW_TAG = re.compile(rb"<(?:\w+:)?row(?:\s[^>]*)?>")
_ROW_NUMBER = re.compile(rb"\sr=[\"'](\d+)[\"']")
_HIDDEN = re.compile(rb"\shidden=[\"'](?:1|true)[\"']")


class Header:
    """The names of the columns, and how a line of cells fits them.

    :param cells: the cells of the header.
    :param line: where it is.
    :raises WtsInvalidRequestError: when it names no columns, one of them twice, or looks like a row.
    """

    def __init__(self, cells: Sequence[Any], line: int) -> None:
        from airflow_provider_wts.api.addresses import looks_like_number

        self._line = line
        self._names = [column_name(cell) for cell in cells]
        named = [name for name in self._names if name]
        if not named:
            raise WtsInvalidRequestError("recipients_path: the file has no header line that names its columns.")
        if twice := next((name for name in named if named.count(name) > 1), None):
            raise WtsInvalidRequestError(
                f"recipients_path: two columns have the same name, {twice!r}. Nothing was sent. Rename one of them."
            )
        if number := next((name for name in named if looks_like_number(name)), None):
            raise WtsInvalidRequestError(
                f"recipients_path: the header, line {line}, holds {number!r}, which looks like a phone number. Nothing "
                "was sent. The first line must name the columns. Example: to;name"
            )
        while not self._names[-1]:
            self._names.pop()
        self.width = len(self._names)

    def values(self, cells: Sequence[Any]) -> tuple[dict[str, Any], str]:
        """Return the values of a row by column, and what is wrong with it.

        :param cells: its cells.
        """
        values = {name: cell for name, cell in zip(self._names, cells, strict=False) if name}
        width = self.width
        if len(cells) < width:
            return values, f"has {len(cells)} columns, the header {width}"
        if any(not _is_empty(cell) for cell in cells[width:]):
            place = next(place for place, cell in enumerate(cells[width:], width + 1) if not _is_empty(cell))
            return values, (
                f"has {len(cells)} columns, the header {width}: column {place} has a value, and no name in line "
                f"{self._line}"
            )
        return values, ""


def column_name(cell: Any) -> str:
    """Return the name of a column as templates write it: in one line, and without what nobody sees.

    :param cell: the cell of the header.
    """
    return normalize("NFC", " ".join(str("" if cell is None else cell).translate(_UNSEEN).split()))


def csv_rows(text: IO[str]) -> Iterator[Cells]:
    """Walk the rows of a CSV file.

    :param text: the file, opened with ``newline=""``.
    :raises WtsInvalidRequestError: when it is no CSV file.
    """
    try:
        start = list(itertools.islice(text, _HEADER_LINES))
        if start and "\0" in start[0]:
            raise WtsInvalidRequestError(
                "recipients_path: the file is not text in the encoding of recipients_encoding. Nothing was sent. "
                "Excel's 'Unicode text' is recipients_encoding='utf-16'."
            )
        if start:
            start[0] = start[0].lstrip("".join(map(chr, _UNSEEN)))
        named = _SEPARATOR.fullmatch(start[0]) if start else None
        skipped = 1 if named else 0
        delimiter = named[1] if named else _delimiter(start)
        reader = csv.reader(itertools.chain(start[skipped:], text), delimiter=delimiter)
        rows = (cells for cells in reader if not all(map(_is_empty, cells)))
        header = Header(next(rows, []), reader.line_num + skipped)
        for cells in rows:
            yield (reader.line_num + skipped, *header.values(cells))
    except csv.Error as error:
        raise WtsInvalidRequestError(f"recipients_path: the CSV file cannot be read: {error}.") from None


def _delimiter(lines: list[str]) -> str:
    """Return the mark between columns: the one that the header has most of, outside of quotes.

    Where several would do, the one that cuts the first row into as many cells as the header.
    """

    def fit(delimiter: str) -> tuple[bool, int]:
        rows = (cells for cells in csv.reader(lines, delimiter=delimiter) if not all(map(_is_empty, cells)))
        header = len(next(rows, []))
        return header > 1 and len(next(rows, range(header))) == header, header

    return max(_DELIMITERS, key=fit)


def excel_rows(file: IO[bytes], sheet: str | None) -> Iterator[Cells]:
    """Walk the rows of an Excel file.

    :param file: the file.
    :param sheet: name of the sheet; ``None`` = the only visible one that holds anything.
    :raises WtsInvalidRequestError: when it is no Excel file, or the sheet is not clear.
    """
    try:
        from openpyxl import load_workbook
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError:
        raise WtsInvalidRequestError(
            "recipients_path: Excel files need the package 'openpyxl'. Install it with "
            "pip install 'airflow-provider-wts[excel]'."
        ) from None
    # A ZIP archive is read from its end, which not every store can do.
    with tempfile.SpooledTemporaryFile(max_size=_EXCEL_MEMORY) as copy:
        shutil.copyfileobj(file, copy)
        try:
            book = load_workbook(copy, read_only=True, data_only=True)
            yield from _sheet_rows(_sheet(book, sheet), copy)
        except WtsInvalidRequestError:
            raise
        except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError, SyntaxError, OSError) as error:
            raise WtsInvalidRequestError(
                f"recipients_path: the Excel file cannot be read: {error}. Nothing was sent. Save it as .xlsx, without "
                "a password."
            ) from None


def _sheet(book: Any, name: str | None) -> Any:
    known = [sheet for sheet in book.worksheets if name is not None or sheet.sheet_state == "visible"]
    titles = ", ".join(repr(sheet.title) for sheet in known)
    if name is not None:
        found = [sheet for sheet in known if normalize("NFC", sheet.title) == normalize("NFC", name)]
        if not found:
            raise WtsInvalidRequestError(f"recipients_sheet: there is no sheet {name!r}. The sheets are {titles}.")
    else:
        found = [sheet for sheet in known if _holds_anything(sheet)]
        if len(found) > 1:
            raise WtsInvalidRequestError(
                f"recipients_path: the Excel file has {len(found)} sheets that hold something: {titles}. Nothing was "
                f"sent. Name one of them. Example: recipients_sheet={found[0].title!r}"
            )
    if not found:
        raise WtsInvalidRequestError("recipients_path: the Excel file has no visible sheet with a header line.")
    return found[0]


def _holds_anything(sheet: Any) -> bool:
    # The size that a sheet states about itself is wrong in files of some programs.
    sheet.reset_dimensions()
    return any(not _is_empty(cell) for row in sheet.iter_rows(values_only=True) for cell in row)


def _sheet_rows(sheet: Any, file: Any) -> Iterator[Cells]:
    hidden = _hidden_rows(sheet, file)
    sheet.reset_dimensions()
    header: Header | None = None
    for line, row in enumerate(sheet.iter_rows(), start=1):
        cells = [_cell_value(cell) for cell in row]
        if all(map(_is_empty, cells)):
            continue
        if header is None:
            header = Header(cells, line)
            continue
        # A row may end before the last column; what is not there is empty.
        values, problem = header.values(cells + [None] * (header.width - len(cells)))
        if line in hidden:
            problem = "is hidden in the spreadsheet, by a filter or by hand. Show it, or delete it"
        yield line, values, problem
    if header is None:
        raise WtsInvalidRequestError("recipients_path: the sheet has no header line that names its columns.")


def _hidden_rows(sheet: Any, file: Any) -> set[int]:
    """Return the numbers of hidden rows, which openpyxl does not show when it reads row by row."""
    hidden: set[int] = set()
    number = 0
    with zipfile.ZipFile(file) as archive, archive.open(sheet._worksheet_path) as source:
        rest = b""
        while chunk := source.read(_CHUNK):
            rest += chunk
            end = 0
            for tag in _ROW_TAG.finditer(rest):
                end = tag.end()
                given = _ROW_NUMBER.search(tag[0])
                number = int(given[1]) if given else number + 1
                if _HIDDEN.search(tag[0]):
                    hidden.add(number)
            # A tag may go on in the next chunk.
            rest = rest[max(end, len(rest) - _LONGEST_TAG) :]
    return hidden


def _cell_value(cell: Any) -> Any:
    value = cell.value
    if isinstance(value, datetime) and value.time() == time() and not re.search("[hHsS]", cell.number_format or ""):
        # Excel has no dates without a time; the format of the cell says that none is meant.
        return value.date()
    return value


def _is_empty(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.translate(_UNSEEN).strip())
