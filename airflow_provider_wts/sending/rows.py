"""The rows of a campaign, read one after the other from a list or from a file, so that memory stays flat.

A file is CSV, JSON Lines or Parquet, anywhere that Airflow's ``ObjectStoragePath`` reaches. Every row comes with the
number under which a person finds it: the line of a text file, counted from 1 with the header; else its place, counted
from 1.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from io import TextIOWrapper
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from airflow_provider_wts.api.errors import WtsInvalidRequestError

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

#: Endings of file names, and the format that they stand for.
FORMATS = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}

_EXAMPLE = "A good value is 's3://aws_default@bucket/campaign.csv'."

#: Rows of a Parquet file that are in memory at a time.
_PARQUET_ROWS = 1000

#: Excel in Brazil writes semicolons, other programs tabs.
_DELIMITERS = ",;\t|"


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
    """Walk the rows of a list.

    :param recipients: a list of objects or of plain numbers, or such a list as JSON text.
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
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise WtsInvalidRequestError(
            f"recipients: must be a list, not {type(value).__name__}. A good value is "
            "[{'to': '+55 11 99999-8888', 'session_metadata': {'invoice': 118}}]."
        )
    return (Row(number, item) for number, item in enumerate(value, start=1))


def in_file(path: str, file_format: str | None = None) -> Iterator[Row]:
    """Walk the rows of a file.

    :param path: any address that ``ObjectStoragePath`` takes.
    :param file_format: ``csv``, ``jsonl`` or ``parquet``; told from the name when left out.
    :raises WtsInvalidRequestError: when there is no such file, or nobody can tell what it is.
    """
    place = _place(path)
    known = file_format or next((kind for end, kind in FORMATS.items() if place.name.lower().endswith(end)), None)
    readers = {"csv": _csv, "jsonl": _json_lines, "parquet": _parquet}
    if known not in readers:
        raise WtsInvalidRequestError(
            f"recipients_path: the name of {path!r} does not tell its format. Set recipients_format to one of "
            f"{', '.join(map(repr, readers))}."
        )
    return readers[known](place)


def _csv(place: ObjectStoragePath) -> Iterator[Row]:
    with _open(place) as file, TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
        try:
            first = text.readline()
            columns = next(csv.reader([first], delimiter=_delimiter(first)), [])
            names = [name.strip() for name in columns]
            if not any(names):
                raise WtsInvalidRequestError("recipients_path: the CSV file has no header line that names its columns.")
            if len(set(names)) < len(names):
                raise WtsInvalidRequestError("recipients_path: two columns of the CSV file have the same name.")
            reader = csv.reader(text, delimiter=_delimiter(first))
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                problem = f"has {len(cells)} columns, the header {len(names)}" if len(cells) != len(names) else ""
                yield Row(reader.line_num + 1, dict(zip(names, cells, strict=False)), problem)
        except UnicodeDecodeError:
            raise WtsInvalidRequestError(
                "recipients_path: the CSV file is not written in UTF-8. Excel offers 'CSV UTF-8' when it saves."
            ) from None
        except csv.Error as error:
            raise WtsInvalidRequestError(f"recipients_path: the CSV file cannot be read: {error}.") from None


def _delimiter(header: str) -> str:
    """Return the mark between columns: the one that the header has most of."""
    return max(_DELIMITERS, key=header.count)


def _json_lines(place: ObjectStoragePath) -> Iterator[Row]:
    with _open(place) as file:
        # Not "for line in file": what Airflow 2.11 opens cannot be walked.
        for number, line in enumerate(iter(file.readline, b""), start=1):
            if not line.strip():
                continue
            try:
                yield Row(number, json.loads(line))
            except (ValueError, RecursionError) as error:
                yield Row(number, None, f"is no JSON: {error}")


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
