"""PostgreSQL values that drivers change or do not convert: infinite dates, months, digits in JSON, some arrays."""

from __future__ import annotations

from contextlib import closing
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.parameters import KeyTwiceError, read_json
from airflow_provider_wts.hooks.databases import cells_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Type codes of dates and times, with their arrays. Python has no infinite dates, fewer years, and no time 24:00.
_DATES = {1082: 1182, 1083: 1183, 1114: 1115, 1184: 1185, 1266: 1270}

#: Type codes of intervals and their array. Python has no months; drivers count 30 days for one.
_INTERVAL, _INTERVALS = 1186, 1187

#: What counts as no date: NULL, and an infinite one, which no message can name.
_ENDLESS = (None, "infinity", "-infinity")

#: Arrays of custom types, such as enums, which drivers return as text.
_ARRAYS = """
SELECT one.typname AS name, one.oid AS one, several.oid AS several
FROM pg_catalog.pg_type AS several JOIN pg_catalog.pg_type AS one ON one.typarray = several.oid
WHERE one.typtype IN ('b', 'd', 'e')
"""


def _read_json(text: str) -> Any:
    try:
        return read_json(text)
    except KeyTwiceError as error:
        raise ValueError(f"an object in a JSON column {error}; the type JSONB keeps the last value") from None


def read_exactly(connection: Any, driver: str) -> None:
    """Make a connection return such values as PostgreSQL writes them, and every array as a list.

    :param connection: a connection whose transaction has not begun.
    :param driver: ``psycopg2`` or ``psycopg``.
    """
    try:
        with closing(connection.cursor()) as cursor:
            cursor.execute(_ARRAYS)
            arrays = [cells_of(row) for row in cursor.fetchall()]
    except Exception:
        # The database may only be compatible with PostgreSQL.
        connection.rollback()
        arrays = []
    (_read_with_psycopg2 if driver == "psycopg2" else _read_with_psycopg)(connection, arrays)


def _read_with_psycopg2(connection: Any, arrays: Sequence[Sequence[Any]]) -> None:
    extensions, wrong = import_module("psycopg2.extensions"), (ValueError, import_module("psycopg2").DataError)

    def exact(known: Any) -> Callable[[str | None, Any], Any]:
        def read(text: str | None, cursor: Any) -> Any:
            try:
                # psycopg2 takes 24:00 for 00:00.
                return None if text in _ENDLESS else text if str(text).startswith("24:") else known(text, cursor)
            except wrong:
                return text

        return read

    def register(one: int | None, several: Sequence[int], read: Any) -> None:
        made = read if one is None else extensions.new_type((one,), "WTS", read)
        for kind in (*([] if one is None else [made]), extensions.new_array_type(tuple(several), "WTS[]", made)):
            extensions.register_type(kind, connection)

    for make in ("register_default_json", "register_default_jsonb"):
        getattr(import_module("psycopg2.extras"), make)(connection, loads=_read_json)
    for date, dates in _DATES.items():
        register(date, [dates], exact(extensions.string_types[date]))
    register(_INTERVAL, [_INTERVALS], lambda text, cursor: text)
    if unknown := [array for _, _, array in arrays if array not in {*extensions.string_types, *_DATES.values()}]:
        register(None, unknown, extensions.UNICODE)


def _read_with_psycopg(connection: Any, arrays: Sequence[Sequence[Any]]) -> None:
    wrong, types = import_module("psycopg").DataError, import_module("psycopg.types")
    datetime, string = import_module("psycopg.types.datetime"), import_module("psycopg.types.string")

    def exact(known: Any) -> type:
        def load(self: Any, data: Any) -> Any:
            try:
                return known.load(self, data)
            except wrong:
                text = bytes(data).decode()
                return None if text in _ENDLESS else text

        return type(known.__name__, (known,), {"load": load})

    import_module("psycopg.types.json").set_json_loads(_read_json, connection)
    adapters = connection.adapters
    for name in ("Date", "Time", "Timetz", "Timestamp", "Timestamptz"):
        adapters.register_loader(name.lower(), exact(getattr(datetime, f"{name}Loader")))
    adapters.register_loader("interval", string.TextLoader)
    for name, one, several in arrays:
        if adapters.types.get(several) is None:
            types.TypeInfo(name, one, several).register(connection)
