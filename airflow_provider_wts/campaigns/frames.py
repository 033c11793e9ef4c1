"""Rows of data frames and Parquet files. Columns must have unique names, and types that keep all digits."""

from __future__ import annotations

import math
import re
import struct
from typing import IO, TYPE_CHECKING, Any

from airflow_provider_wts.api.errors import WtsInvalidRequestError, needs_extra, quoted, reason_of
from airflow_provider_wts.api.parameters import refuse_same_names
from airflow_provider_wts.campaigns.missing import MAX_SINGLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: Rows in memory at a time.
_ROWS = 1000

#: What pandas, Polars and PyArrow call the types of single and half precision (seven or three digits).
_SINGLE = frozenset(
    [
        *("float16", "float32", ">f2", ">f4", "Float16", "Float32", "float", "halffloat"),
        *("float[pyarrow]", "halffloat[pyarrow]"),
    ]
)

#: Those types, also inside of the type of a list or an object.
_SINGLE_INSIDE = re.compile(r"\b(?:float16|float32|Float16|Float32|float|halffloat)\b|>f[24]")

#: Significant digits to try when rounding such a number, because its conversion to double precision adds digits.
_DIGITS = range(6, 10)


def frame_rows(value: Any) -> Iterator[Any] | None:
    """Return the rows of a data frame or of one of its columns, or ``None`` if the value is neither.

    It is recognized by its methods, so that no library needs to be imported.
    """
    if hasattr(value, "iter_rows"):  # Polars
        kinds = dict(getattr(value, "schema", {}))
        return _exact(value.iter_rows(named=True), list(kinds), list(kinds.values()), "recipients")
    if hasattr(value, "to_batches"):  # PyArrow
        names = value.schema.names
        rows = _arrow_rows(value.to_batches(_ROWS), "recipients")
        return _exact(rows, names, value.schema.types, "recipients")
    if hasattr(value, "to_dict") and hasattr(value, "columns"):  # pandas
        names = [str(name) for name in value.columns]
        rows = (dict(zip(names, row, strict=True)) for row in value.itertuples(index=False, name=None))
        return _exact(rows, names, [_kind_of_values(one) for one in getattr(value, "dtypes", ())], "recipients")
    if str(_kind_of_values(getattr(value, "dtype", ""))) in _SINGLE:
        return (_exact_number(cell, "", "recipients") for cell in value)
    return None


def _kind_of_values(kind: Any) -> Any:
    """Return the type of the values if a type of pandas is one of categories."""
    return getattr(getattr(kind, "categories", None), "dtype", kind)


def parquet_rows(file: IO[bytes]) -> Iterator[Any]:
    """Iterate over the rows of a Parquet file."""
    with needs_extra("recipients_path", "pyarrow", "parquet"):
        import pyarrow
        from pyarrow import parquet
    try:
        # Spark writes the old type INT96. In nanoseconds, its year 9999 would be 1816.
        read = parquet.ParquetFile(file, coerce_int96_timestamp_unit="us")
        schema = read.schema_arrow
        rows = _arrow_rows(read.iter_batches(batch_size=_ROWS), "recipients_path")
        yield from _exact(rows, schema.names, schema.types, "recipients_path")
    except pyarrow.ArrowException as error:
        raise WtsInvalidRequestError(f"recipients_path: the Parquet file cannot be read: {error}.") from None


def _arrow_rows(batches: Iterable[Any], parameter: str) -> Iterator[dict[str, Any]]:
    """Iterate over the rows of PyArrow's batches, without nanoseconds, which Python's dates do not have."""
    for batch in batches:
        columns = {
            name: _cells(column, name, parameter) for name, column in zip(batch.schema.names, batch, strict=True)
        }
        yield from (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))


def _cells(column: Any, name: str, parameter: str) -> list[Any]:
    import pyarrow

    if str(column.type).startswith("timestamp[ns"):
        column = column.cast(pyarrow.timestamp("us", column.type.tz), safe=False)
    try:
        return list(column.to_pylist())
    except (OverflowError, ValueError) as error:
        raise WtsInvalidRequestError(
            f"{parameter}: the column {quoted(name)} cannot be read: {reason_of(error)}. Nothing was sent. Write its "
            "dates and times as text, or leave it out."
        ) from None


def _exact(
    rows: Iterable[dict[str, Any]], names: Sequence[str], kinds: Sequence[Any], parameter: str
) -> Iterator[dict[str, Any]]:
    """Return rows with single-precision numbers rounded to the digits they were written with."""
    refuse_same_names(parameter, names)
    single = {name: kind for name, kind in zip(names, kinds, strict=False) if _SINGLE_INSIDE.search(str(kind))}
    if not single:
        return iter(rows)
    return (
        {**row, **{name: _exact_cell(row[name], kind, name, parameter) for name, kind in single.items()}}
        for row in rows
    )


def _exact_cell(cell: Any, kind: Any, name: str, parameter: str) -> Any:
    """Return a cell with numbers of single precision, also those inside, as they were written."""
    kind = getattr(kind, "pyarrow_dtype", kind)
    if hasattr(kind, "index_type") or hasattr(kind, "run_end_type"):
        # A dictionary of values, or runs of them.
        kind = kind.value_type
    if isinstance(cell, dict):
        fields = {field.name: getattr(field, "dtype", None) or field.type for field in getattr(kind, "fields", kind)}
        return {key: _exact_cell(one, fields[key], name, parameter) for key, one in cell.items()}
    if isinstance(cell, tuple):
        # An entry of a map.
        return cell[0], _exact_cell(cell[1], kind, name, parameter)
    if isinstance(cell, list):
        # A list of Polars or PyArrow names the type of its items.
        inner = getattr(kind, "inner", None) or getattr(kind, "item_type", None) or kind.value_type
        return [_exact_cell(one, inner, name, parameter) for one in cell]
    return _exact_number(cell, name, parameter) if str(kind) in _SINGLE else cell


def _exact_number(cell: Any, name: str, parameter: str) -> Any:
    try:
        number = float(cell)
    except (TypeError, ValueError):
        # None, or pandas.NA.
        return cell
    if not math.isfinite(number):
        return number
    if abs(number) >= MAX_SINGLE:
        column = f"the column {quoted(name)} has" if name else "the numbers have"
        raise WtsInvalidRequestError(
            f"{parameter}: {column} single precision, which keeps seven digits, and a number has more. Nothing was "
            "sent. Write phone numbers as text or as 64-bit integers, and create the data again."
        )
    written = (float(f"{number:.{digits}g}") for digits in _DIGITS)
    return next((one for one in written if struct.unpack("f", struct.pack("f", one))[0] == number), number)
