"""Reads real-world spreadsheets, CSV and Excel, row by row.

Each row is a tuple: its line number, its values by column, and why it could not be read (empty if it could). Anything
ambiguous is a problem of its row or an error of the file; nothing is guessed.
"""

from __future__ import annotations

import csv
import itertools
import math
import re
import shutil
import tempfile
import zipfile
from datetime import datetime, time
from operator import eq, ge, gt, le, lt, ne
from typing import IO, TYPE_CHECKING, Any
from unicodedata import normalize

from airflow_provider_wts.api.errors import WtsInvalidRequestError, needs_extra, quoted
from airflow_provider_wts.api.parameters import refuse_same_names
from airflow_provider_wts.hooks.shown_number import ShownNumber

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Cells = tuple[int, dict[str, Any], str]

#: Excel in Brazil writes semicolons, other programs tabs.
_DELIMITERS = ",;\t|"

#: Lines of a CSV file to read for its header and delimiter.
_HEADER_LINES = 20

#: The line before the header in which Excel names the delimiter.
_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)

#: Invisible characters that programs leave before the first name, such as byte order marks, or at the end (DOS).
_INVISIBLE = dict.fromkeys(map(ord, "\x1a\ufeff\u200b\u200c\u200d\u200e\u200f\u2060\u00ad"))

#: Maximum bytes of an Excel file to copy into memory; larger files are copied to disk.
_EXCEL_MEMORY = 8 * 1024 * 1024

#: From here on, numbers lose digits, because Excel keeps 15.
_MAX_EXACT = 10**15

#: The smallest number that may be a phone number.
_MIN_PHONE = 10**7

_CHUNK = 1024 * 1024
#: Maximum bytes of a tag or a formula cell.
_LONGEST_TAG = 1 << 16
#: The start of a row, or a formula cell whose value is zero or missing.
_ROW_OR_FORMULA = re.compile(
    rb"(?P<row><(?:\w+:)?row(?:\s[^>]*)?/?>)|<(?:\w+:)?c(?P<cell>\s[^>]*)?>\s*"
    rb"<(?:\w+:)?f(?:\s[^>]*)?(?:/>|(?<!/)>[^<]*</(?:\w+:)?f>)\s*"
    rb"(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v>(?P<zero>(?:0(?:\.0)?)?)</(?:\w+:)?v>)?\s*</(?:\w+:)?c>"
)
_TEXT_CELL = re.compile(rb"\st=[\"']str[\"']")
#: Written by programs that do not calculate formulas. Some of them write zero as the value.
_NOT_CALCULATED = re.compile(rb"fullCalcOnLoad=[\"'](?:1|true)[\"']")
_ROW_NUMBER = re.compile(rb"\sr=[\"'](\d+)[\"']")
_HIDDEN = re.compile(rb"\s(?:hidden=[\"'](?:1|true)|ht=[\"']0(?:\.0*)?)[\"']")

_HIDDEN_ROW = "is hidden in the spreadsheet, by a filter or by hand. Show it, or delete it"
_FORMULA_ALONE = (
    "contains a formula without its value: the program that wrote the file did not calculate it. Open the file in "
    "Excel or LibreOffice and save it again"
)

#: A date in a header, such as the month of a column, has as many digits as a phone number.
_DATE = re.compile(r"\d{4}-\d\d-\d\d.*|\d\d/\d\d/\d{4}", re.DOTALL)

#: How files begin that have the name of a CSV file, but another format.
_NO_CSV = (
    ("<", "a web page or XML"),
    ("{", "JSON"),
    ("[{", "JSON"),
    ("%PDF", "a PDF"),
)

#: How Excel escapes characters that XML does not allow.
_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")

#: Text in a formula, which exports use to keep leading zeros.
_FORMULA = re.compile(r'="([^"]*)"\s*')

#: The two cells that an amount becomes between commas.
_WHOLE_PART, _CENTS = re.compile(r"\s*(?:R\$)?\s*-?[\d.]{1,10}"), re.compile(r"\d\d\s*")

#: A quote after a space, which does not open a cell.
_QUOTE_AFTER_SPACE = re.compile(r'\s+".*"\s*', re.DOTALL)

#: A number that lost digits when Excel saved a CSV file (5,51199E+12), which was then opened and saved again.
_ROUNDED_FROM, _ROUNDED_TO = 10**9, 10**6

#: The parts of a number format, the condition of a part, a currency symbol, and colors and other brackets.
_PARTS = re.compile(r"(?:\"[^\"]*\"|\\.|\[[^\]]*\]|[^;])+")
_CONDITION = re.compile(r"\[(<=|>=|<>|<|>|=)(-?\d+(?:\.\d+)?)\]")
_CURRENCY = re.compile(r"\[\$([^\]-]*)[^\]]*\]")
_BRACKETS = re.compile(r"\[[^\]]*\]")
_WORDS = re.compile(r"\"[^\"]*\"|\\.|\[[^\]]*\]")
_ZEROS = re.compile(r"[0 ()/-]+")
_HOLDS = {"<=": le, ">=": ge, "<>": ne, "<": lt, ">": gt, "=": eq}

#: Text of a number format, and what shows no text: a blank as wide as a character, filling, and any number.
_NO_PLACES = re.compile(r"(\"[^\"]*\"|\\.)|[_*].|(?i:General)")

#: A country or area code before a phone number, and not a year before the number of a contract.
_CODES = re.compile(r"(?:\+[0-9]*|[0-9]{1,3}|(?:0|55)[0-9]+)$")

#: A phone number as text.
_NO_LETTERS = re.compile(r"[ ().+/-]*[0-9][0-9 ().+/-]*")

#: A digit placeholder of a number format, and other parts that may contain digits.
_PIECES = re.compile(r"[0#?]|\"[^\"]*\"|[\\_*].|[1-9]")

#: First bytes of files that have the name of another format.
OTHER_FORMATS = {b"\xd0\xcf\x11\xe0": "an old or encrypted Excel file", b"PAR1": "a Parquet file"}


class Header:
    """The names of the columns, which must be unique, and not look like a row."""

    def __init__(self, cells: Sequence[Any], line: int) -> None:
        from airflow_provider_wts.api.addresses import looks_like_number

        self._line = line
        self._names = [column_name(cell) for cell in cells]
        named = [name for name in self._names if name]
        if not named:
            raise WtsInvalidRequestError("recipients_path: the file has no header line that names its columns.")
        refuse_same_names("recipients_path", named)
        if number := next((name for name in named if looks_like_number(name) and not _DATE.fullmatch(name)), None):
            raise WtsInvalidRequestError(
                f"recipients_path: the header, line {line}, contains {quoted(number)}, which looks like a phone "
                "number. Nothing was sent. The first line must name the columns. Example: to;name"
            )
        while not self._names[-1]:
            self._names.pop()
        self.width = len(self._names)

    def values(self, cells: Sequence[Any]) -> tuple[dict[str, Any], str]:
        """Return the values of a row by column, and what is wrong with it."""
        values = {name: cell for name, cell in zip(self._names, cells, strict=False) if name}
        width = self.width
        if len(cells) < width:
            return values, f"has {_columns(len(cells))}, the header {width}"
        if any(not _is_empty(cell) for cell in cells[width:]):
            place = next(place for place, cell in enumerate(cells[width:], width + 1) if not _is_empty(cell))
            title = ". If that line is a title, delete it" if width == 1 else ""
            return values, (
                f"has {_columns(len(cells))}, the header {width}: column {place} has a value, but no name in line "
                f"{self._line}{title}"
            )
        return values, ""


def _columns(count: int) -> str:
    return f"{count} column{'s' * (count != 1)}"


def column_name(cell: Any) -> str:
    """Return the name of a column as templates use it: on one line, and without invisible characters."""
    return normalize("NFC", " ".join(str("" if cell is None else cell).translate(_INVISIBLE).split()))


def csv_rows(text: IO[str]) -> Iterator[Cells]:
    """Iterate over the rows of a CSV file, opened with ``newline=""``."""
    start = list(itertools.islice(text, _HEADER_LINES))
    _refuse_other_formats(start)
    if start:
        start[0] = start[0].lstrip("".join(map(chr, _INVISIBLE)))
    named = _SEPARATOR.fullmatch(start[0]) if start else None
    skipped = 1 if named else 0
    try:
        delimiter = named[1] if named else _delimiter(start)
    except csv.Error as error:
        raise _unreadable(1, error) from None
    header: Header | None = None
    written = 0
    for first, last, cells in _csv_cells(itertools.chain(start[skipped:], text), delimiter, skipped):
        if cells is None and header:
            yield last, {}, _misquoted(first, last)
        elif header is None:
            header, written = Header(cells or [], last), len(cells or [])
        elif cells:
            values, problem = header.values(list(map(_unwrapped, cells)))
            if len(cells) > written and not problem and delimiter == "," and _has_split_amount(cells):
                # The values after it are in other columns, although only empty ones seem to be too many.
                problem = f"has {_columns(len(cells))}, the header {written}: an amount such as 149,90 needs quotes"
            joined = any(_holds_rows(cells, place, delimiter, header.width) for place in range(len(cells)))
            if joined or any(map(_QUOTE_AFTER_SPACE.fullmatch, cells)):
                problem = _misquoted(first, last)
            yield last, values, problem
    if header is None:
        Header([], 0)


def _has_split_amount(cells: list[str]) -> bool:
    return any(_WHOLE_PART.fullmatch(one) and _CENTS.fullmatch(two) for one, two in itertools.pairwise(cells))


def _unwrapped(cell: str) -> str:
    formula = _FORMULA.fullmatch(cell) if cell[:1] == "=" else None
    return formula[1] if formula else cell


def _csv_cells(text: Iterator[str], delimiter: str, skipped: int) -> Iterator[tuple[int, int, list[str] | None]]:
    """Yield the first line, last line and cells of each row that is not empty; ``None`` if its quotes are wrong."""
    # Strict: an unclosed quote would otherwise make the following rows part of one customer's text.
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    while True:
        first = reader.line_num + skipped + 1
        cells = None
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "expected after" not in str(error):
                raise _unreadable(first, error) from None
        if cells is None or not all(map(_is_empty, cells)):
            yield first, reader.line_num + skipped, cells


def _refuse_other_formats(start: Sequence[str]) -> None:
    # With the bytes in the other order, nothing is left that all files have: no end of a line, no sign of ASCII.
    is_swapped = len(start) == 1 and not any(map(str.isascii, start[0]))
    if is_swapped or (start and "\0" in start[0]):
        order = "'utf-16-be'" if start[0].startswith("\0") else "'utf-16-le'"
        raise WtsInvalidRequestError(
            "recipients_path: the file does not have the encoding of recipients_encoding. Nothing was sent. For "
            "Excel's 'Unicode text', set recipients_encoding='utf-16', or without a byte order mark "
            f"{'the other one of utf-16-le and utf-16-be' if is_swapped else order}."
        )
    written = next((line for line in start if line.strip()), "").lstrip()
    if found := next((what for begin, what in _NO_CSV if written.startswith(begin)), None):
        raise WtsInvalidRequestError(
            f"recipients_path: the file contains {found}, not CSV. Nothing was sent. Export it as CSV, or name its "
            "format with recipients_format."
        )


_QUOTES = 'each " at the start of a cell needs another at its end, and a " inside a cell is written as ""'


def _unreadable(line: int, error: csv.Error) -> WtsInvalidRequestError:
    return WtsInvalidRequestError(
        f"recipients_path: the CSV file cannot be read from line {line} on: {error}. Nothing was sent. Check the "
        f"quotes: {_QUOTES}."
    )


def _misquoted(first: int, last: int) -> str:
    rows = f"with line {first}, " if first != last else ""
    return f"{rows}has a quote in the wrong place: {_QUOTES}"


def _holds_rows(cells: Sequence[str], place: int, delimiter: str, width: int) -> bool:
    """Whether a cell contains rows of the file, because its quote is closed in another row."""
    if "\n" not in cells[place] and "\r" not in cells[place]:
        return False
    lines = [line.split(delimiter) for line in cells[place].splitlines()]
    if any(len(line) >= width and any(map(_looks_like_recipient, line)) for line in lines[1:]):
        return True
    # The rest of one row and the beginning of another one; a text of several lines has other numbers of parts.
    first, last = lines[0], lines[-1]
    fits = len(first) == width - place and len(last) == width - (len(cells) - place - 1)
    return fits and any(map(_looks_like_recipient, (*first[1:], *last[:-1])))


def _looks_like_recipient(text: str) -> bool:
    from airflow_provider_wts.api.addresses import looks_like_number

    return text.strip().startswith("@") or looks_like_number(text)


def _delimiter(lines: list[str]) -> str:
    """Return the delimiter that splits the header into most columns, preferably as many as the first row."""

    def fit(delimiter: str) -> tuple[bool, int]:
        rows = (cells for cells in csv.reader(lines, delimiter=delimiter) if not all(map(_is_empty, cells)))
        header = len(next(rows, []))
        return header > 1 and len(next(rows, range(header))) == header, header

    return max(_DELIMITERS, key=fit)


def excel_rows(file: IO[bytes], sheet: str | None) -> Iterator[Cells]:
    """Iterate over the rows of an Excel file.

    :param sheet: name of the sheet; ``None`` for the only visible one that is not empty.
    """
    with needs_extra("recipients_path", "openpyxl", "excel"):
        from openpyxl import load_workbook
    # A ZIP archive is read from its end, which not every store supports.
    with tempfile.SpooledTemporaryFile(max_size=_EXCEL_MEMORY) as copy:
        shutil.copyfileobj(file, copy)
        copy.seek(0)
        _refuse_no_excel(copy.read(100))
        try:
            book = load_workbook(copy, read_only=True, data_only=True)
            yield from _sheet_rows(_sheet(book, sheet), copy)
        except WtsInvalidRequestError:
            raise
        except Exception as error:
            # For damaged files, openpyxl, zlib and the XML parser may raise anything.
            raise WtsInvalidRequestError(
                f"recipients_path: the Excel file cannot be read: {error}. Nothing was sent. Open it in Excel or "
                "LibreOffice, and save it again as Excel Workbook (.xlsx), without a password."
            ) from None


def _refuse_no_excel(start: bytes) -> None:
    if b"opendocument" in start:
        what = "an OpenDocument file"
    elif start.startswith(b"PK"):
        return
    else:
        known = {**OTHER_FORMATS, b"%PDF": "a PDF"}
        other = "not an Excel file, but perhaps CSV or a web page" if start else "empty"
        what = next((what for begin, what in known.items() if start.startswith(begin)), other)
    raise WtsInvalidRequestError(
        f"recipients_path: the file is {what}. Nothing was sent. Open it in Excel or LibreOffice, and save it as Excel "
        "Workbook (.xlsx), without a password. If it is not meant to be one, name its format. Example: "
        "recipients_format='csv'"
    )


def _sheet(book: Any, name: str | None) -> Any:
    known = [sheet for sheet in book.worksheets if name is not None or sheet.sheet_state == "visible"]
    titles = ", ".join(repr(sheet.title) for sheet in known)
    if name is not None:
        found = [sheet for sheet in known if normalize("NFC", sheet.title) == normalize("NFC", name)]
        if not found:
            raise WtsInvalidRequestError(
                f"recipients_sheet: there is no sheet {quoted(name)}. The sheets are {titles}."
            )
    else:
        found = [sheet for sheet in known if _holds_anything(sheet)]
        if len(found) > 1:
            raise WtsInvalidRequestError(
                f"recipients_path: the Excel file has {len(found)} sheets that are not empty: {titles}. Nothing was "
                f"sent. Name one of them. Example: recipients_sheet={found[0].title!r}"
            )
    if not found:
        # openpyxl sees no sheets in a file of that kind.
        advice = "" if book.worksheets else " Save it as Excel Workbook (.xlsx), not as Strict Open XML."
        raise WtsInvalidRequestError(
            f"recipients_path: the Excel file has no visible sheet with a header line. Nothing was sent.{advice}"
        )
    return found[0]


def _holds_anything(sheet: Any) -> bool:
    # Some programs write wrong dimensions of a sheet.
    sheet.reset_dimensions()
    return any(not _is_empty(cell) for row in sheet.iter_rows(values_only=True) for cell in row)


def _sheet_rows(sheet: Any, file: Any) -> Iterator[Cells]:
    problems = _problems_of_rows(sheet, file)
    sheet.reset_dimensions()
    header: Header | None = None
    for line, row in enumerate(sheet.iter_rows(), start=1):
        cells = [_cell_value(cell) for cell in row]
        if all(map(_is_empty, cells)) and problems.get(line) != _FORMULA_ALONE:
            continue
        if header is None:
            header = Header(cells, line)
            continue
        # A row may end before the last column; the missing cells are empty.
        values, problem = header.values(cells + [None] * (header.width - len(cells)))
        yield line, values, problems.get(line, problem)
    if header is None:
        raise WtsInvalidRequestError("recipients_path: the sheet has no header line that names its columns.")


def _problems_of_rows(sheet: Any, file: Any) -> dict[int, str]:
    """Return the problems of rows, by number, that openpyxl does not report in read-only mode."""
    problems: dict[int, str] = {}
    number = 0
    with zipfile.ZipFile(file) as archive, archive.open(sheet._worksheet_path) as source:
        books = (archive.read(name) for name in archive.namelist() if name.endswith("workbook.xml"))
        is_calculated = not any(map(_NOT_CALCULATED.search, books))
        rest = b""
        while chunk := source.read(_CHUNK):
            rest += chunk
            end = 0
            for found in _ROW_OR_FORMULA.finditer(rest):
                end = found.end()
                if (tag := found["row"]) is None:
                    if not _TEXT_CELL.search(found["cell"] or b"") and not (found["zero"] and is_calculated):
                        problems.setdefault(number, _FORMULA_ALONE)
                    continue
                given = _ROW_NUMBER.search(tag)
                last, number = number, int(given[1]) if given else number + 1
                if number <= last:
                    # openpyxl would omit such a row.
                    raise WtsInvalidRequestError(
                        f"recipients_path: row {number} of the sheet is written after row {last}. Nothing was sent. "
                        "Open the file in Excel and save it again."
                    )
                if _HIDDEN.search(tag):
                    problems[number] = _HIDDEN_ROW
            # A tag may continue in the next chunk.
            rest = rest[max(end, len(rest) - _LONGEST_TAG) :]
    return problems


def _cell_value(cell: Any) -> Any:
    value, number_format = cell.value, cell.number_format or ""
    if isinstance(value, datetime) and value.time() == time() and not re.search("[hHsS]", number_format):
        # Excel has no dates without a time; the cell's format shows that none is meant.
        return value.date()
    if isinstance(value, time) and re.search("[dDyY]", _WORDS.sub("", number_format)):
        # Zero, which a formula returns for an empty cell, is the day before Excel's first one: 00/01/1900.
        return None
    if isinstance(value, str):
        return _text_as_shown(_ESCAPED.sub(lambda code: chr(int(code[1], 16)), value), number_format)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    if _MAX_EXACT <= abs(value) < math.inf:
        # As Excel shows it.
        return f"{value:.14E}"
    if isinstance(value, float) and value.is_integer():
        # Excel has only one number type, and Google Sheets writes all numbers with a fraction.
        value = int(value)
    if isinstance(value, int) and value >= _MIN_PHONE:
        value = _as_shown(value, number_format)
    return _with_zeros(value, number_format) if isinstance(value, int) and value >= 0 else value


def _as_shown(number: int, number_format: str) -> float | str:
    """Return a number with the digits that only its format shows, as in ``+351 0`` or ``00" 9"0000-0000``."""
    if number >= _ROUNDED_FROM and number % _ROUNDED_TO == 0:
        # A float is not accepted as a phone number, but anywhere else.
        return float(number)
    # Without the code, a foreign number might be a valid one in Brazil.
    part = _part_for(number, number_format)
    before, digits = _shown_before(part, "0#?"), _with_digits_between(number, part)
    width = _PIECES.findall(part).count("0")
    if before.startswith("+") and len(str(number)) < width:
        # "+00 (00) 00000-0000" shows +00 (51) 91234-5678 for a number without a country code.
        before, digits = ("", digits) if before.strip() == "+" else (before, digits.zfill(width))
    return f"{before}{digits}" if before or " " in digits else number


def _text_as_shown(text: str, number_format: str) -> str:
    """Return a phone number that is text with the digits that only its format shows, as in ``"+"@``."""
    before = _shown_before(_BRACKETS.sub("", _PARTS.findall(number_format)[-1]), "@") if "@" in number_format else ""
    return f"{before}{text}" if _NO_LETTERS.fullmatch(text) else text


def _shown_before(part: str, places: str) -> str:
    """Return what a format shows before the first of these places, if it may be the beginning of a phone number."""
    shown = re.match(rf"((?:\"[^\"]*\"|\\.|[^{places};\"\\\[])*)[{places}]", part)
    text = re.sub(r"\\(.)|\"", r"\1", shown[1] if shown else "").lstrip()
    text = text[max(text.find("+"), 0) :]
    return text if _CODES.match(re.sub("[ ().-]", "", text)) else ""


def _with_digits_between(number: int, part: str) -> str:
    """Return the digits of a number, and after a space each of those that its format shows between them."""
    pieces = _PIECES.findall(part)
    places = [place for place, piece in enumerate(pieces) if piece in "0#?"]
    digits, end = str(number).zfill(pieces.count("0")), ""
    # From the right, as Excel fills them; the first place takes all digits that are left.
    for piece in reversed(pieces[places[0] + 1 : places[-1] + 1] if places else []):
        if piece in "0#?":
            digits, end = digits[:-1], digits[-1:] + end
        elif piece[0] not in "_*" and (written := re.sub(r"\D", "", piece)):
            end = f" {written}{end}"
    return digits + end if " " in end else str(number)


def _with_zeros(number: int, number_format: str) -> int:
    """Return a number with the leading zeros that its format shows, as in ``00000-000``."""
    digits = _WORDS.sub("", _part_for(number, number_format)) if "00" in number_format else ""
    width = digits.count("0")
    return ShownNumber(number, width) if _ZEROS.fullmatch(digits) and len(str(number)) < width else number


def _part_for(number: int, number_format: str) -> str:
    """Return the part of a number format for a positive number, without conditions and colors."""
    parts = _PARTS.findall(number_format) or [""]

    def applies(part: str) -> bool:
        condition = _CONDITION.search(part)
        return condition is None or _HOLDS[condition[1]](number, float(condition[2]))

    part = next(filter(applies, parts), parts[-1])
    part = _BRACKETS.sub("", _CURRENCY.sub(r'"\1"', part))
    return _NO_PLACES.sub(lambda found: found[1] or ("0" if found[0][0] in "Gg" else ""), part)


def _is_empty(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.translate(_INVISIBLE).strip())
