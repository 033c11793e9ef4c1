"""What counts as no value in a cell, wherever the table came from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, time, timedelta
from typing import Any

from airflow_provider_wts.api import wire

#: How other programs write a missing value: databases and their tools; Excel (English, Portuguese) and Google Sheets if
#: a formula failed or was still being calculated.
_WRITTEN = frozenset(
    [
        *("NAN", "null", "NULL", "\\N", "N/A", "n/a", "#N/A", "#N/D", "#REF!", "#VALUE!", "#VALOR!", "#DIV/0!"),
        *("(null)", "(NULL)", "<null>", "<NULL>", "[NULL]", "undefined", "-nan", "-NaN", "1.#QNAN"),
        *("[object Object]", "Loading...", "Carregando...", "Cargando..."),
        *("#NUM!", "#NÚM!", "#NAME?", "#NOME?", "#NULL!", "#NULO!", "#ERROR!", "#ERRO!", "#SPILL!", "#DESPEJAR!"),
        *("#CALC!", "#CÁLC!", "#FIELD!", "#CAMPO!", "#BLOCKED!", "#BUSY!", "#CONNECT!", "#UNKNOWN!", "#GETTING_DATA"),
        *("#BLOQUEADO!", "#OCUPADO!", "#CONECTAR!", "#DESCONHECIDO!", "#OBTENDO_DADOS", "#PYTHON!", "#EXTERNAL!"),
    ]
)

#: From here on, single precision cannot represent every integer.
MAX_SINGLE = 2**24

#: A column that was too narrow for its value, an error of Excel in Spanish (``#¡REF!``), an error of LibreOffice, and
#: MySQL's date without a month or a day.
_SHOWN = re.compile(
    r"#{3,}|#[¡¿][A-ZÁÉÍÓÚÑ/0]+[!?]|(?:Err|Erro):\d{3}|\d{4}-(?:00-\d\d|\d\d-00)(?:[ T]00:00:00(?:\.0+)?)?"
)


def is_blank(value: object) -> bool:
    """Whether a cell contains nothing to read: no value, or text without visible characters."""
    if wire.is_missing(value):
        return True
    return isinstance(value, str) and ((text := wire.visible(value)) in _WRITTEN or bool(_SHOWN.fullmatch(text)))


def is_missing(value: object) -> bool:
    """Whether a cell has no value: ``None``, NaN, NaT, ``pandas.NA``, their text, or a spreadsheet error."""
    return is_blank(value) and not (isinstance(value, str) and not wire.visible(value))


def without_missing(value: Any) -> Any:
    """Replace missing values with ``None``, at any depth, and NumPy's numbers with Python's."""
    if is_missing(value):
        return None
    if isinstance(value, Mapping):
        return {key: without_missing(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_missing(one) for one in value]
    return plain_number(value)


def with_dates_as_text(value: Any) -> Any:
    """Convert dates and times to ISO 8601 text, and durations to text, at any depth."""
    if isinstance(value, dict):
        return {key: with_dates_as_text(one) for key, one in value.items()}
    if isinstance(value, list):
        return [with_dates_as_text(one) for one in value]
    return value.isoformat() if isinstance(value, (date, time)) else clock_time(value)


def clock_time(value: Any) -> Any:
    """Format a duration as ``26:30:00``; return anything else as it is."""
    if not isinstance(value, timedelta):
        return value
    minutes, seconds = divmod(abs(value), timedelta(minutes=1))
    fraction = f".{seconds.microseconds:06}" if seconds.microseconds else ""
    return f"{'-' * (value < timedelta())}{minutes // 60:02}:{minutes % 60:02}:{seconds.seconds:02}{fraction}"


def plain_number(value: Any) -> Any:
    """Convert a NumPy number to Python's; return anything else as it is.

    A single-precision number that is too large to be exact also stays as it is: it must not become a phone number.
    """
    is_number = type(value).__module__ == "numpy" and hasattr(value, "item") and not getattr(value, "shape", ())
    if not is_number:
        return value
    kind = type(value).__name__
    if kind in ("float16", "float32"):
        return value if abs(value) >= MAX_SINGLE else float(str(value))
    found = value.item()
    # A date with nanoseconds would become an integer.
    return value if kind.startswith(("datetime64", "timedelta64")) and isinstance(found, int) else found
