"""Rows of data frames and of Parquet files. Each column has a name of its own, and numbers that it can hold."""

from __future__ import annotations

import math
import struct
from collections import Counter
from typing import IO, TYPE_CHECKING, Any

from airflow_provider_wts.api.errors import WtsInvalidRequestError, needs_extra, quoted
from airflow_provider_wts.campaigns.missing import MOST_SINGLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: Rows that are in memory at a time.
_ROWS = 1000

#: How pandas, Polars and PyArrow call the types of numbers that hold seven digits, or three.
_SINGLE = frozenset(
    [
        *("float16", "float32", "Float16", "Float32", "float", "halffloat"),
        *("float[pyarrow]", "halffloat[pyarrow]"),
    ]
)

#: As these libraries turn them into numbers of double precision, more digits show than were there.
_DIGITS = range(6, 10)


def frame_rows(value: Any) -> Iterator[Any] | None:
    """Return the rows of a data frame or of one of its columns; ``None`` if the value is neither.

    It is known by its methods, so that none of these libraries is imported.

    :param value: what may be a table of pandas, Polars or PyArrow.
    :raises WtsInvalidRequestError: when two columns have one name, or a number is longer than its column holds.
    """
    if hasattr(value, "iter_rows"):  # Polars
        kinds = dict(getattr(value, "schema", {}))
        return _exact(value.iter_rows(named=True), list(kinds), list(kinds.values()), "recipients")
    if hasattr(value, "to_batches"):  # PyArrow
        names = value.schema.names
        rows = (row for batch in value.to_batches(_ROWS) for row in batch.to_pylist())
        return _exact(rows, names, value.schema.types, "recipients")
    if hasattr(value, "to_dict") and hasattr(value, "columns"):  # pandas
        names = [str(name) for name in value.columns]
        rows = (dict(zip(names, row, strict=True)) for row in value.itertuples(index=False, name=None))
        return _exact(rows, names, list(getattr(value, "dtypes", ())), "recipients")
    if str(getattr(value, "dtype", "")) in _SINGLE:
        return (_exact_number(cell, "", "recipients") for cell in value)
    return None


def parquet_rows(file: IO[bytes]) -> Iterator[Any]:
    """Walk the rows of a Parquet file.

    :param file: the file.
    :raises WtsInvalidRequestError: when it cannot be read, two columns have one name, or a number is longer than its
        column holds.
    """
    with needs_extra("recipients_path", "pyarrow", "parquet"):
        import pyarrow
        from pyarrow import parquet
    try:
        read = parquet.ParquetFile(file)
        schema = read.schema_arrow
        rows = (row for batch in read.iter_batches(batch_size=_ROWS) for row in batch.to_pylist())
        yield from _exact(rows, schema.names, schema.types, "recipients_path")
    except pyarrow.ArrowException as error:
        raise WtsInvalidRequestError(f"recipients_path: the Parquet file cannot be read: {error}.") from None


def _exact(
    rows: Iterable[dict[str, Any]], names: Sequence[str], kinds: Sequence[Any], parameter: str
) -> Iterator[dict[str, Any]]:
    """Return rows with numbers of single precision as they were written."""
    if twice := next((name for name, times in Counter(names).items() if times > 1), None):
        raise WtsInvalidRequestError(
            f"{parameter}: two columns have the same name, {quoted(twice)}. Nothing was sent. Rename one of them."
        )
    single = [name for name, kind in zip(names, kinds, strict=False) if str(kind) in _SINGLE]
    if not single:
        return iter(rows)
    return ({**row, **{name: _exact_number(row[name], name, parameter) for name in single}} for row in rows)


def _exact_number(cell: Any, name: str, parameter: str) -> Any:
    try:
        number = float(cell)
    except (TypeError, ValueError):
        # None, or pandas.NA.
        return cell
    if not math.isfinite(number):
        return number
    if abs(number) >= MOST_SINGLE:
        column = f"the column {quoted(name)} is" if name else "the numbers are"
        raise WtsInvalidRequestError(
            f"{parameter}: {column} of single precision, which keeps seven digits, and one of them is longer. Nothing "
            "was sent. Write phone numbers as text or as whole numbers of 64 bits, and make the data again."
        )
    written = (float(f"{number:.{digits}g}") for digits in _DIGITS)
    return next((one for one in written if struct.unpack("f", struct.pack("f", one))[0] == number), number)
