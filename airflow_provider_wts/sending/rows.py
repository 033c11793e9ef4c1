"""The rows of a campaign, read one after the other from a list or from a file, so that memory stays flat.

A file is CSV, Excel, JSON Lines or Parquet, anywhere that Airflow's ``ObjectStoragePath`` reaches. Every row comes with
the number under which a person finds it: the line of a text file or a sheet, counted from 1 with the header; else its
place, counted from 1.
"""

from __future__ import annotations

import codecs
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader, RawIOBase, TextIOWrapper
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from airflow_provider_wts.api.errors import WtsInvalidRequestError

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

#: The formats of files.
FORMATS = ("csv", "jsonl", "parquet", "xlsx")

_ENDINGS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
}

_EXAMPLE = "A good value is 's3://aws_default@bucket/campaign.csv'."

#: Rows of a Parquet file that are in memory at a time.
_PARQUET_ROWS = 1000


class Row(NamedTuple):
    """One row as it was read.

    :param line: where a person finds it.
    :param values: its values by column; a plain number or handle where the list held no objects.
    :param problem: why it could not be read; empty where it could.
    """

    line: int
    values: Any
    problem: str = ""


def listed(recipients: Any) -> Iterator[Row]:
    """Walk the rows of a list or of a data frame.

    :param recipients: a list of objects or of plain numbers, such a list as JSON text, or a table of pandas, Polars or
        PyArrow.
    :raises WtsInvalidRequestError: when it is neither; a bare text would be taken apart into its letters.
    """
    value = recipients
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise WtsInvalidRequestError(
                f"recipients: is no JSON: {error}. Give a list; a template renders one as Python writes it, which is "
                "no JSON: end it with '| tojson', or give the output of a task itself. A file goes into "
                "recipients_path."
            ) from None
    if value is None:
        raise WtsInvalidRequestError(
            "recipients: the value was None. Nothing was sent. The task that should return the list returned nothing, "
            "or its XCom has another key."
        )
    if (table := _table(value)) is not None:
        value = table
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise WtsInvalidRequestError(
            f"recipients: must be a list, not {type(value).__name__}. A good value is "
            "[{'to': '+55 11 99999-8888', 'session_metadata': {'invoice': 118}}]."
        )
    return (Row(number, item) for number, item in enumerate(value, start=1))


def _table(value: Any) -> Iterator[Any] | None:
    """Return the rows of a data frame, known by its methods so that none of these libraries is imported."""
    if hasattr(value, "iter_rows"):  # Polars
        return cast("Iterator[Any]", value.iter_rows(named=True))
    if hasattr(value, "to_batches"):  # PyArrow
        return (row for batch in value.to_batches(_PARQUET_ROWS) for row in batch.to_pylist())
    if hasattr(value, "to_dict") and hasattr(value, "columns"):  # pandas
        names = [str(name) for name in value.columns]
        return (dict(zip(names, row, strict=True)) for row in value.itertuples(index=False, name=None))
    return None


def in_file(
    path: str, file_format: str | None = None, *, encoding: str | None = None, sheet: str | None = None
) -> Iterator[Row]:
    """Walk the rows of a file. One that is compressed with gzip is read as what is in it.

    :param path: any address that ``ObjectStoragePath`` takes.
    :param file_format: one of :data:`FORMATS`; inferred from the name if omitted.
    :param encoding: of a CSV or JSON Lines file; UTF-8 if omitted.
    :param sheet: name of the sheet of an Excel file; the only one that holds anything if omitted.
    :raises WtsInvalidRequestError: when there is no such file, or nothing shows what it is.
    """
    place = _place(path)
    name = place.name.lower().removesuffix(".gz")
    known = file_format or next((kind for end, kind in _ENDINGS.items() if name.endswith(end)), None)
    if known is None:
        old = " An old Excel file has to be saved as .xlsx first." if name.endswith((".xls", ".xlsb", ".ods")) else ""
        raise WtsInvalidRequestError(
            f"recipients_path: the format of {path!r} does not show in its name.{old} Set recipients_format to one of "
            f"{', '.join(map(repr, FORMATS))}."
        )
    if encoding is not None:
        _check_encoding(encoding)
    if known == "parquet":
        return _parquet(place)
    if known == "xlsx":
        return _excel(place, sheet)
    return (_csv if known == "csv" else _json_lines)(place, encoding or "utf-8")


def _csv(place: ObjectStoragePath, encoding: str) -> Iterator[Row]:
    from airflow_provider_wts.campaigns.spreadsheets import csv_rows

    with _text(place, encoding) as text:
        yield from map(Row._make, csv_rows(text))


def _excel(place: ObjectStoragePath, sheet: str | None) -> Iterator[Row]:
    from airflow_provider_wts.campaigns.spreadsheets import excel_rows

    with _open(place) as file:
        yield from map(Row._make, excel_rows(file, sheet))


def _json_lines(place: ObjectStoragePath, encoding: str) -> Iterator[Row]:
    with _text(place, encoding) as text:
        for number, line in enumerate(text, start=1):
            if not line.strip():
                continue
            try:
                yield Row(number, json.loads(line))
            except (ValueError, RecursionError) as error:
                yield Row(number, None, f"is no JSON: {error}")


@contextmanager
def _text(place: ObjectStoragePath, encoding: str) -> Iterator[TextIOWrapper]:
    """Open a file as text, and say which parameter helps where its bytes are something else."""
    with _open(place) as opened:
        file = BufferedReader(_Bytes(opened))
        start = file.peek(4)[:4]
        if start.startswith(b"\x1f\x8b"):
            file = BufferedReader(cast("Any", gzip.GzipFile(fileobj=file)))
        try:
            start = file.peek(4)[:4]
            _check_start(start, encoding)
            with TextIOWrapper(file, encoding=_with_mark(encoding), newline="") as text:
                yield text
        except UnicodeError:
            raise WtsInvalidRequestError(
                f"recipients_encoding: the file is not written in {encoding.upper()}. Nothing was sent. Excel in "
                "Brazil writes cp1252, if not told 'CSV UTF-8'. Example: recipients_encoding='cp1252'"
            ) from None
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise WtsInvalidRequestError(
                f"recipients_path: the compressed file cannot be read: {error}. Nothing was sent."
            ) from None


class _Bytes(RawIOBase):
    """A file as the standard library's readers want it: what Airflow 2.11 opens can only be read."""

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
    marks = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    marked = next((name for mark, name in marks.items() if start.startswith(mark)), None)
    if marked and not codecs.lookup(encoding).name.startswith((marked, "utf-32")):
        raise WtsInvalidRequestError(
            f"recipients_encoding: the file is not written in {encoding}: it begins with the mark of {marked}. Nothing "
            f"was sent. Example: recipients_encoding={marked!r}"
        )


def _with_mark(encoding: str) -> str:
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def _parquet(place: ObjectStoragePath) -> Iterator[Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise WtsInvalidRequestError(
            "recipients_path: Parquet files need the package 'pyarrow'. Install it with "
            "pip install 'airflow-provider-wts[parquet]'."
        ) from None
    with _open(place) as file:
        try:
            number = 0
            for batch in parquet.ParquetFile(file).iter_batches(batch_size=_PARQUET_ROWS):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(number, values)
        except pyarrow.ArrowException as error:
            raise WtsInvalidRequestError(f"recipients_path: the Parquet file cannot be read: {error}.") from None


def _open(place: ObjectStoragePath) -> IO[bytes]:
    return cast("IO[bytes]", place.open("rb"))  # type: ignore[no-untyped-call]


def _place(path: str) -> ObjectStoragePath:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    try:
        place = ObjectStoragePath(path)
        found = place.is_file()
    except (ValueError, ImportError) as error:
        raise WtsInvalidRequestError(f"recipients_path: {path!r} cannot be read: {error}. {_EXAMPLE}") from None
    except PermissionError as error:
        raise WtsInvalidRequestError(f"recipients_path: {path!r} may not be read: {error}.") from None
    if not found:
        raise WtsInvalidRequestError(
            f"recipients_path: there is no file {path!r}, as seen from this worker. {_EXAMPLE}"
        )
    return place
