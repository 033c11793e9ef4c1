"""The recipients of a campaign: rows of a list or file, what each recipient gets, and which rows are bad."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import json
import re
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import date, datetime, time
from decimal import Decimal
from io import BufferedReader, RawIOBase, TextIOWrapper
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from airflow_provider_wts.api.addresses import identity_of
from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError, quoted, reason_of
from airflow_provider_wts.api.parameters import KeyTwiceError, read_json
from airflow_provider_wts.api.wire import json_value
from airflow_provider_wts.campaigns.attempts import place
from airflow_provider_wts.campaigns.frames import frame_rows, parquet_rows
from airflow_provider_wts.campaigns.garbled import garbled_cell
from airflow_provider_wts.campaigns.lost_digits import LostDigits
from airflow_provider_wts.campaigns.missing import is_blank, is_missing, plain_number, without_missing
from airflow_provider_wts.campaigns.row_templates import RowError, RowTemplates, RowValues, plain_data, without_fraction
from airflow_provider_wts.campaigns.sent import LONGEST_KEY
from airflow_provider_wts.campaigns.spreadsheets import OTHER_FORMATS, csv_rows, excel_rows
from airflow_provider_wts.hooks.output_files import file_problem
from airflow_provider_wts.hooks.temporary import temporary_database

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow.sdk import ObjectStoragePath

    from airflow_provider_wts.sending.key import Mark


class Send(NamedTuple):
    """A send to a recipient, and its marker."""

    recipient: Recipient
    mark: Mark

    @property
    def to(self) -> str:
        """Phone number or handle, as the API spells it."""
        return self.recipient.to


#: Bytes of checked rows that stay in memory.
_IN_MEMORY = 8 * 1024 * 1024

#: Bytes to read from a file at a time.
_BLOCK = 1024 * 1024

#: Rows that are checked together.
_ROWS_PER_BLOCK = 100

#: Maximum problems that an error lists.
_MAX_LISTED = 20

#: Parameters that customers read, so that a cell without a value makes the row a bad one.
_READ_BY_CUSTOMERS = frozenset(("text", "parameters"))


class Recipient(NamedTuple):
    """One recipient, checked.

    :param line: line number of the row in its source.
    :param to: phone number or handle, as the API spells it.
    :param values: what goes to this recipient, by parameter.
    """

    line: int
    to: str
    values: dict[str, Any]
    key: str = ""

    @property
    def identity(self) -> str:
        """The person's identity, which does not depend on how the number is written (Brazil's ninth digit)."""
        return identity_of(self.to)


class SkippedRow(NamedTuple):
    """A row that nothing is sent to.

    :param line: line number of the row in its source.
    :param status: ``bad_row`` or ``duplicate``.
    :param key: the row's ``row_key``; blank without one, or if the key is what is wrong.
    """

    line: int
    status: str
    reason: str
    key: str = ""


class RowPlan:
    """How a row becomes a recipient.

    A parameter comes from its template, or else from the column with its name. A row that is not an object is the
    recipient itself.

    :param given: templates by parameter; ``None`` if none was given.
    :param checks: convert a row's values to what the API accepts, or raise ``WtsInvalidRequestError``, by parameter.
    :param spell: normalizes a recipient, and refuses one that the connection does not allow.
    :param skips: whether bad rows are skipped. Then a number that may have lost digits is bad even if it is alone.
    """

    def __init__(
        self,
        templates: RowTemplates,
        given: Mapping[str, Any],
        checks: Mapping[str, Callable[[Any], Any]],
        spell: Callable[[Any], str],
        *,
        skips: bool = False,
    ) -> None:
        self._fills = {
            name: templates.compiled(
                f"row_{name}", template, needed=name in ("to", "key") or name in _READ_BY_CUSTOMERS
            )
            for name, template in given.items()
            if template is not None
        }
        self._checks = checks
        self._spell = spell
        self._lost_digits = LostDigits(skips=skips)

    def recipient(self, row: Row) -> Recipient:
        """Return the recipient of a row, without its key."""
        if row.problem:
            raise RowError(row.problem)
        value = plain_number(row.values)
        plain = isinstance(value, (str, int, float, Decimal)) and not isinstance(value, bool)
        columns = {"to": value} if plain else value
        if not isinstance(columns, Mapping):
            raise RowError(f"is a {type(columns).__name__}; a row is an object, or a phone number")
        if garbled := garbled_cell(columns):
            raise RowError(garbled)
        seen = RowValues(columns)
        if twice := seen.twice:
            raise RowError(str(KeyTwiceError(twice)))
        to = self._value("to", columns, seen)
        if is_blank(to):
            hint = "" if "to" in self._fills or "to" in columns else "; name its column with row_to"
            raise RowError(f"to: is empty{hint}")
        self._lost_digits.check(to, columns, row.line)
        try:
            spelled = self._spell(to)
            values = {name: check(self._value(name, columns, seen)) for name, check in self._checks.items()}
        except WtsInvalidRequestError as error:
            raise RowError(str(error).removesuffix(".")) from None
        return Recipient(row.line, spelled, {name: one for name, one in values.items() if one is not None})

    def key(self, row: Row) -> str:
        """Return what identifies a row in the results and outcomes; blank without ``row_key``."""
        fill = self._fills.get("key")
        if fill is None or row.problem:
            return ""
        value = fill(RowValues(row.values if isinstance(row.values, Mapping) else {"to": row.values}))
        if isinstance(value, (bool, bytes, list, dict)):
            raise RowError(f"row_key: must be text or a number, not {type(value).__name__}")
        key = str(without_fraction(value)).strip()
        if not key:
            raise RowError("row_key: is empty")
        if len(key) > LONGEST_KEY:
            raise RowError(f"row_key: has {len(key)} characters; the maximum is {LONGEST_KEY}")
        if "\0" in key:
            raise RowError("row_key: contains the character NUL, which databases refuse")
        if key.startswith("line:"):
            raise RowError("row_key: must not begin with 'line:', which identifies bad rows")
        return key

    def _value(self, name: str, columns: Mapping[str, Any], seen: RowValues) -> Any:
        fill = self._fills.get(name)
        if fill is not None:
            return fill(seen)
        value = columns.get(name)
        if name in columns and name in _READ_BY_CUSTOMERS and is_missing(value):
            raise RowError(f"{name}: the column {name!r} has no value")
        found = without_missing(value)
        return plain_data(found, needed=True, whole=True) if name in _READ_BY_CUSTOMERS else found


class Recipients:
    """The checked rows of a campaign in order. They can be iterated repeatedly, but only once at a time."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self.count = 0
        self.bad_rows = 0
        self.duplicates = 0
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  # see __exit__
        for line in lines:
            self._file.write(line)
            if not (skipped := _SKIPPED.match(line)):
                self.count += 1
            elif skipped[1] == b"duplicate":
                self.duplicates += 1
            else:
                self.bad_rows += 1

    def __enter__(self) -> Recipients:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def rows(self) -> int:
        """How many rows there are, including bad rows and duplicates."""
        return self.count + self.bad_rows + self.duplicates

    def entries(self) -> Iterator[Recipient | SkippedRow]:
        """Iterate over all rows, including skipped ones."""
        return (
            SkippedRow(*_decoded(line)) if _is_skipped(line) else Recipient(*_decoded(line)) for line in self.lines()
        )

    def skipped(self) -> Iterator[SkippedRow]:
        """Iterate over the rows that nothing is sent to."""
        return (SkippedRow(*_decoded(line)) for line in self.lines() if _is_skipped(line))

    def __iter__(self) -> Iterator[Recipient]:
        return (Recipient(*_decoded(line)) for line in self.lines() if not _is_skipped(line))

    def lines(self) -> Iterator[bytes]:
        """Iterate over all rows in their stored form."""
        self._file.seek(0)
        # Not "yield from", which would close the file if the iteration ends early.
        for line in self._file:  # noqa: UP028
            yield line

    def blocks(self) -> Iterator[bytes]:
        """Iterate over the bytes of :meth:`lines`, in blocks."""
        self._file.seek(0)
        yield from iter(lambda: self._file.read(_BLOCK), b"")

    def refuse_bad_rows(self, where: str = "", *, sent_before: bool = False) -> None:
        """Refuse the whole campaign if a row is bad; ``where`` says where to find all of them."""
        if self.bad_rows:
            raise many_problems(
                f"{self.bad_rows:,} of {self.rows:,} rows are bad. Nothing {'more ' if sent_before else ''}was sent. "
                f"Fix them, or set on_bad_row='skip' to send to the others.{where}",
                (f"Line {row.line}: {row.reason}." for row in self.skipped() if row.status == "bad_row"),
                self.bad_rows,
            )


def many_problems(said: str, problems: Iterable[str], count: int) -> WtsInvalidRequestError:
    """Return an error that lists the first of many problems."""
    more = [f"And {count - _MAX_LISTED:,} more."] if count > _MAX_LISTED else []
    return WtsInvalidRequestError("\n".join([said, *islice(problems, _MAX_LISTED), *more]))


def checked(rows: Iterable[Row], plan: RowPlan) -> Iterator[bytes]:
    """Check rows, and return them in the form that :class:`Recipients` stores."""
    with closing(FirstLines()) as lines, closing(FirstLines()) as keys:
        left = iter(rows)
        while block := [_checked(row, plan, keys) for row in islice(left, _ROWS_PER_BLOCK)]:
            firsts = iter(lines.firsts([(one.identity, one.line) for one in block if one.identity]))
            for one in block:
                first = next(firsts) if one.identity else one.line
                yield (one.stored if first == one.line else _duplicate(one, first)) + b"\n"


class _CheckedRow(NamedTuple):
    """A row in the form that applies unless an earlier one has the same person; a bad row has no ``identity``."""

    line: int
    identity: str
    key: str
    stored: bytes


def _checked(row: Row, plan: RowPlan, keys: FirstLines) -> _CheckedRow:
    key = ""
    try:
        given = plan.key(row)
        if given and (earlier := keys.first(given, row.line)) != row.line:
            raise RowError(f"row_key: {quoted(given)} is already in line {earlier}")
        key = given
        recipient = plan.recipient(row)
        recipient = recipient._replace(key=key) if key else recipient
        return _CheckedRow(row.line, recipient.identity, key, _written_row(recipient))
    except (RowError, TypeError, ValueError) as problem:
        error: Exception = problem
        if isinstance(problem, UnicodeEncodeError):
            error = RowError(f"contains {problem.object[problem.start]!r}, which is half a character")
        reason = str(error).encode(errors="backslashreplace").decode()
        return _CheckedRow(row.line, "", key, _written_row(SkippedRow(row.line, "bad_row", reason, key)))


def _duplicate(row: _CheckedRow, first: int) -> bytes:
    return _written_row(SkippedRow(row.line, "duplicate", f"the recipient is already in line {first}", row.key))


class FirstLines:
    """The first line of each person or key, in a temporary database because there may be millions."""

    def __init__(self) -> None:
        self._database = temporary_database("CREATE TABLE lines (named TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID")

    def first(self, named: str, line: int) -> int:
        """Return the first line of a person or key; if there is none yet, store the given one."""
        if self._database.execute("INSERT OR IGNORE INTO lines VALUES (?, ?)", (named, line)).rowcount:
            return line
        (first,) = self._database.execute("SELECT line FROM lines WHERE named = ?", (named,)).fetchone()
        return int(first)

    def firsts(self, lines: Sequence[tuple[str, int]]) -> list[int]:
        """Call :meth:`first` for many people or keys with their lines, but faster."""
        if self._database.executemany("INSERT OR IGNORE INTO lines VALUES (?, ?)", lines).rowcount == len(lines):
            return [line for _, line in lines]
        return [self.first(named, line) for named, line in lines]

    def close(self) -> None:
        """Remove the database."""
        self._database.close()


#: A skipped row in its stored form. A recipient has an address in place of the status.
_SKIPPED = re.compile(rb'\[\d+, "(bad_row|duplicate)"')


def _is_skipped(line: bytes) -> bool:
    return _SKIPPED.match(line) is not None


def _written_row(entry: Recipient | SkippedRow) -> bytes:
    # Encoded as it will be sent, so that a value that cannot be encoded makes the row a bad one.
    return _ENCODER.encode(entry).encode()


def _json(value: object) -> object:
    """Convert types that Parquet has and JSON does not, such as dates and decimals, to text or numbers."""
    if isinstance(value, (datetime, date, time)):
        # Without a time zone, it keeps the meaning it had for its author.
        return value.isoformat()
    return json_value(value)


def _decoded(line: bytes) -> Any:
    return _DECODER.decode(line.decode())


#: Created once: ``json.dumps`` would create one per row, and ``json.loads`` would detect the encoding of each.
_DECODER = json.JSONDecoder()
_ENCODER = json.JSONEncoder(default=_json, allow_nan=False, ensure_ascii=False)

#: How the names of files end, by format.
_ENDINGS = {
    "csv": (".csv", ".tsv"),
    "jsonl": (".jsonl", ".ndjson"),
    "parquet": (".parquet", ".pq"),
    "xlsx": (".xlsx", ".xlsm"),
}

#: The formats of files.
FORMATS = tuple(_ENDINGS)

_EXAMPLE = "Example: 's3://aws_default@bucket/campaign.csv'."


class Row(NamedTuple):
    """One row as it was read.

    :param line: line number of the row in its source.
    :param values: the values by column; a plain number or handle if the list does not contain objects.
    :param problem: why it could not be read; empty if it could.
    """

    line: int
    values: Any
    problem: str = ""


def listed(recipients: Any) -> Iterator[Row]:
    """Iterate over the rows of a list or data frame.

    :param recipients: a list of objects or plain numbers, such a list as JSON text, or a table of pandas, Polars or
        PyArrow.
    """
    value = recipients
    if isinstance(value, str):
        try:
            value = read_json(value)
        except KeyTwiceError as error:
            raise WtsInvalidRequestError(f"recipients: a row {error}. Nothing was sent. Give it once.") from None
        except ValueError as error:
            raise WtsInvalidRequestError(
                f"recipients: is not valid JSON: {error}. Nothing was sent. Give a list, or the output of a task "
                "itself. A template renders a list as Python code; to make it JSON, end it with '| tojson'. Name a "
                "file with recipients_path."
            ) from None
    if value is None:
        raise WtsInvalidRequestError(
            "recipients: the value was None. Nothing was sent. The task that should return the list returned nothing, "
            "or its XCom has another key."
        )
    value = value if (table := frame_rows(value)) is None else table
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise WtsInvalidRequestError(
            f"recipients: must be a list, not {type(value).__name__}. Nothing was sent. Example: "
            "[{'to': '+55 11 99999-8888', 'session_metadata': {'invoice': 118}}]."
        )
    return _numbered(value)


def in_file(
    path: str, file_format: str | None = None, *, encoding: str | None = None, sheet: str | None = None
) -> Iterator[Row]:
    """Iterate over the rows of a file, which may be compressed with gzip.

    :param path: any address that ``ObjectStoragePath`` supports.
    :param file_format: one of :data:`FORMATS`; inferred from the name if omitted.
    :param encoding: of a CSV or JSON Lines file; UTF-8 if omitted.
    :param sheet: name of the sheet of an Excel file; the only non-empty one if omitted.
    """
    file = _existing(path)
    name = file.name.lower().removesuffix(".gz")
    known = file_format or next((kind for kind, ends in _ENDINGS.items() if name.endswith(ends)), None)
    if known is None:
        old = " Save it as Excel Workbook (.xlsx)." if name.endswith((".xls", ".xlsb", ".ods")) else ""
        raise WtsInvalidRequestError(
            f"recipients_path: the name of {quoted(path)} does not show its format.{old} Set recipients_format to one "
            f"of {', '.join(map(repr, FORMATS))}."
        )
    if encoding is not None:
        _check_encoding(encoding)
    return _rows_of(path, file, known, encoding or "utf-8", sheet)


def _rows_of(path: str, file: ObjectStoragePath, file_format: str, encoding: str, sheet: str | None) -> Iterator[Row]:
    """Iterate over the rows of a file; what its file system raises becomes an error that names the parameter."""
    try:
        if file_format in ("csv", "jsonl"):
            with _text(file, encoding) as text:
                yield from map(Row._make, csv_rows(text)) if file_format == "csv" else _json_lines(text)
        else:
            with _open(file) as opened_:
                is_excel = file_format == "xlsx"
                yield from map(Row._make, excel_rows(opened_, sheet)) if is_excel else _numbered(parquet_rows(opened_))
    except WtsError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error


def _json_lines(text: Iterable[str]) -> Iterator[Row]:
    rows = ((number, row) for number, line in enumerate(text, start=1) if (row := line.strip()))
    for index, (number, row) in enumerate(rows):
        if index == 0 and row.startswith("["):
            # If it is spread over lines, only its last row would be valid JSON.
            raise WtsInvalidRequestError(
                "recipients_path: the file is a JSON list, not JSON Lines, which have one object per line. Nothing was "
                "sent. Write it as JSON Lines. Example: DataFrame.to_json(path, orient='records', lines=True)"
            )
        try:
            yield Row(number, read_json(row))
        except KeyTwiceError as error:
            yield Row(number, None, str(error))
        except ValueError as error:
            yield Row(number, None, f"is not valid JSON: {error}")


def _numbered(values: Iterable[Any]) -> Iterator[Row]:
    return (Row(number, one) for number, one in enumerate(values, start=1))


@contextmanager
def _text(path: ObjectStoragePath, encoding: str) -> Iterator[TextIOWrapper]:
    """Open a file as text; if it is something else, the error names the parameter that helps."""
    with _open(path) as binary:
        file = BufferedReader(_Bytes(binary))
        start = file.peek(4)[:4]
        if start.startswith(b"\x1f\x8b"):
            file = BufferedReader(cast("Any", gzip.GzipFile(fileobj=file)))
        try:
            start = file.peek(4)[:4]
            if what := next((what for mark, what in _BINARY.items() if start.startswith(mark)), None):
                raise WtsInvalidRequestError(
                    f"recipients_path: the file is {what}, not text. Nothing was sent. Export it as text, or name its "
                    "format. Example: recipients_format='xlsx'"
                )
            _check_start(start, encoding)
            # A byte order mark is not part of the first name.
            encoding_ = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
            with TextIOWrapper(file, encoding=encoding_, newline="") as text:
                yield text
        except UnicodeError:
            other = "utf-8" if codecs.lookup(encoding).name == "cp1252" else "cp1252"
            raise WtsInvalidRequestError(
                f"recipients_encoding: the file is not encoded in {encoding.upper()}. Nothing was sent. Excel in "
                f"Brazil writes cp1252, unless you choose 'CSV UTF-8'. Example: recipients_encoding={other!r}"
            ) from None
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise WtsInvalidRequestError(
                f"recipients_path: the compressed file cannot be read: {error}. Nothing was sent."
            ) from None


#: First bytes of files that have the name of a CSV or JSON Lines file, but another format.
_BINARY = {
    b"PK\x03\x04": "an Excel file or another ZIP archive",
    **OTHER_FORMATS,
    b"\x1f\x8b": "compressed twice",
}


class _Bytes(RawIOBase):
    """Adapts a file to the standard library's readers: files that Airflow 2.11 opens only have ``read``."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _check_encoding(encoding: str) -> None:
    try:
        b"".decode(encoding)
        "".encode(encoding)
    except (LookupError, ValueError):
        raise WtsInvalidRequestError(
            f"recipients_encoding: {encoding!r} is not a text encoding. Examples: 'utf-8', 'cp1252', 'latin-1', "
            "'utf-16'."
        ) from None


def _check_start(start: bytes, encoding: str) -> None:
    """Refuse an encoding that the byte order mark of the file contradicts."""
    marks = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe\0\0": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    marked = next((name for mark, name in marks.items() if start.startswith(mark)), None)
    if marked and not codecs.lookup(encoding).name.startswith((marked, "utf-32")):
        raise WtsInvalidRequestError(
            f"recipients_encoding: the file is not encoded in {encoding}: it begins with the byte order mark of "
            f"{marked}. Nothing was sent. Example: recipients_encoding={marked!r}"
        )


def checksum_of(path: str) -> str:
    """Return the SHA-256 of a file."""
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def opened(path: str) -> Iterator[BufferedReader]:
    """Open a file with Python's own buffering, which reads lines several times as fast as Airflow's."""
    with _open(place(path)) as file:
        yield BufferedReader(_Bytes(file), _BLOCK)


def _open(path: ObjectStoragePath) -> IO[bytes]:
    return cast("IO[bytes]", path.open("rb"))  # type: ignore[no-untyped-call]


def _unreadable(path: str, error: Exception) -> WtsError:
    said = f"recipients_path: {quoted(path)} cannot be read: {reason_of(error)}. Nothing was sent."
    return file_problem(said, _EXAMPLE, error)


def _existing(path: str) -> ObjectStoragePath:
    try:
        file = place(path)
        if not (found := file.is_file()):
            # File systems of object stores call it missing, too, if they cannot be asked.
            with suppress(FileNotFoundError):
                file.stat()
        is_folder = not found and file.is_dir()
    except PermissionError as error:
        raise WtsInvalidRequestError(
            f"recipients_path: no permission to read {quoted(path)}: {reason_of(error)}."
        ) from None
    except Exception as error:
        raise _unreadable(path, error) from None
    if is_folder:
        raise WtsInvalidRequestError(
            f"recipients_path: {quoted(path)} is a folder, as Spark writes them. Nothing was sent. Write one file, "
            "for example with DataFrame.toPandas().to_parquet(path)."
        )
    if not found:
        raise WtsInvalidRequestError(
            f"recipients_path: there is no file {quoted(path)}, as seen from this worker. {_EXAMPLE}"
        )
    return file
