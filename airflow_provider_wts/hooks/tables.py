"""Rows in a table of a database that an Airflow connection leads to, made where it is missing."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError
from airflow_provider_wts.api.parameters import missing
from airflow_provider_wts.hooks.databases import database_hook

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Rows of one statement: some databases take 1,000 values in a list, and 65,535 in all.
_BATCH = 500

#: How each kind of column is declared, by the dialect of the database.
_TYPES = {
    "postgresql": {
        "id": 'CHAR(36) COLLATE "C"',
        "key": 'VARCHAR(255) COLLATE "C"',
        "text": "TEXT",
        "json": "TEXT",
        "count": "INTEGER",
        "long": "BIGINT",
        "flag": "BOOLEAN",
        "time": "TIMESTAMP WITH TIME ZONE",
        "number": "NUMERIC(18, 4)",
    },
    "mysql": {
        "id": "CHAR(36) CHARACTER SET ascii COLLATE ascii_bin",
        "key": "VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "text": "TEXT CHARACTER SET utf8mb4",
        "json": "LONGTEXT CHARACTER SET utf8mb4",
        "count": "INTEGER",
        "long": "BIGINT",
        "flag": "BOOLEAN",
        "time": "DATETIME(6)",
        "number": "DECIMAL(18, 4)",
    },
    "sqlite": {
        "id": "CHAR(36)",
        "key": "VARCHAR(255)",
        "text": "TEXT",
        "json": "TEXT",
        "count": "INTEGER",
        "long": "INTEGER",
        "flag": "BOOLEAN",
        "time": "TEXT",
        "number": "NUMERIC",
    },
}

#: Dialects that take many rows in one statement, whose drivers would send one after the other.
_MANY_IN_ONE = ("postgresql", "mysql")

_NAME = re.compile(r"[A-Za-z_][\w$]*(\.[A-Za-z_][\w$]*){0,2}")


def table_of(
    names: tuple[str, str], given: tuple[Any, Any], columns: Mapping[str, str], key: Sequence[str]
) -> Table | None:
    """Return the table that two parameters name; ``None`` if neither of them is given.

    :param names: the names of the parameters: of the table, and of the connection of its database.
    :param given: their values.
    :param columns: the kind of each column, by its name.
    :param key: the columns of the primary key.
    :raises WtsInvalidRequestError: when only one of them is given, or there can be no such table.
    """
    table, conn_id = (None if missing(one) else str(one).strip() for one in given)
    if table is None and conn_id is None:
        return None
    if table is None or conn_id is None:
        raise WtsInvalidRequestError(f"{', '.join(names)}: give both of them, or neither.")
    return Table(conn_id, table, columns, key, parameter=names[0])


class Table:
    """A table.

    :param conn_id: the Airflow connection of its database.
    :param name: its name, also with that of its schema.
    :param columns: the kind of each column, by its name.
    :param key: the columns of the primary key.
    :param parameter: the parameter that names it, for errors.
    :raises WtsInvalidRequestError: when there can be no such table.
    """

    def __init__(
        self, conn_id: str, name: str, columns: Mapping[str, str], key: Sequence[str], *, parameter: str
    ) -> None:
        if not _NAME.fullmatch(name):
            raise WtsInvalidRequestError(f"{parameter}: {name!r} is not the name of a table. Example: 'crm.outcomes'")
        self._hook = database_hook(conn_id, parameter=parameter)
        self.name = name
        self._columns = columns
        self._key = key
        self._parameter = parameter
        self._dialect = str(self._hook.dialect_name).partition("+")[0].replace("mariadb", "mysql")

    def replace(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write rows in place of those with their keys, all or none.

        :param rows: the rows.
        :raises WtsError: when they cannot be written; the table is as it was before.
        """
        try:
            connection = self._hook.get_conn()
            try:
                cursor = connection.cursor()
                if self._dialect in _TYPES:
                    cursor.execute(self._declaration())
                if self._dialect == "postgresql":
                    # A column without a time zone takes what the clock shows there.
                    cursor.execute("SET LOCAL TIME ZONE 'UTC'")
                left = iter(rows)
                while batch := [
                    *{tuple(row[name] for name in self._key): row for row in islice(left, _BATCH)}.values()
                ]:
                    self._delete(cursor, batch)
                    self._insert(cursor, [self._values(row) for row in batch])
                connection.commit()
            except BaseException:
                connection.rollback()
                raise
            finally:
                connection.close()
        except WtsError:
            raise
        except Exception as error:
            raise WtsError(
                f"{self._parameter}: the rows could not be written to {self.name!r}: {error}. The table is as it was "
                "before. A retry writes them."
            ) from error

    def _delete(self, cursor: Any, batch: Sequence[Mapping[str, Any]]) -> None:
        """Delete the rows with the keys of a batch: of each group that differs in the last column, in one statement."""
        *group, last = self._key
        same: dict[tuple[Any, ...], list[Any]] = {}
        for row in batch:
            same.setdefault(tuple(row[column] for column in group), []).append(row[last])
        mark = self._hook.placeholder
        where = "".join(f"{column} = {mark} AND " for column in group)
        for values, keys in same.items():
            listed = ", ".join([mark] * len(keys))
            cursor.execute(f"DELETE FROM {self.name} WHERE {where}{last} IN ({listed})", (*values, *keys))  # noqa: S608  # names that were checked

    def _insert(self, cursor: Any, batch: Sequence[tuple[Any, ...]]) -> None:
        into = f"INSERT INTO {self.name} ({', '.join(self._columns)}) VALUES "  # noqa: S608  # as above
        row = f"({', '.join([self._hook.placeholder] * len(self._columns))})"
        if self._dialect in _MANY_IN_ONE:
            cursor.execute(into + ", ".join([row] * len(batch)), tuple(value for values in batch for value in values))
        else:
            cursor.executemany(into + row, batch)

    def _declaration(self) -> str:
        types = _TYPES[self._dialect]
        columns = [
            f"{name} {types[kind]}{' NOT NULL' if name in self._key else ''}" for name, kind in self._columns.items()
        ]
        return f"CREATE TABLE IF NOT EXISTS {self.name} ({', '.join(columns)}, PRIMARY KEY ({', '.join(self._key)}))"

    def _values(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(self._value(row[column]) for column in self._columns)

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            # No database takes half a character, and PostgreSQL takes no NUL.
            return value.encode(errors="replace").decode().replace("\0", " ")
        if not isinstance(value, datetime):
            return value
        if self._dialect == "sqlite":
            return value.astimezone(UTC).isoformat(timespec="microseconds")
        return value.astimezone(UTC) if self._dialect == "postgresql" else value.astimezone(UTC).replace(tzinfo=None)
