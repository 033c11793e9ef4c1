"""Rows in a table of a database that an Airflow connection leads to, made where it is missing."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError
from airflow_provider_wts.hooks.databases import database_hook

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Rows of one statement.
_BATCH = 1000

#: How each kind of column is declared, by the dialect of the database.
_TYPES = {
    "postgresql": {
        "id": 'CHAR(36) COLLATE "C"',
        "key": 'VARCHAR(255) COLLATE "C"',
        "text": "TEXT",
        "count": "INTEGER",
        "flag": "BOOLEAN",
        "time": "TIMESTAMP WITH TIME ZONE",
        "number": "NUMERIC(18, 4)",
    },
    "mysql": {
        "id": "CHAR(36) CHARACTER SET ascii COLLATE ascii_bin",
        "key": "VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "text": "TEXT CHARACTER SET utf8mb4",
        "count": "INTEGER",
        "flag": "BOOLEAN",
        "time": "DATETIME(6)",
        "number": "DECIMAL(18, 4)",
    },
    "sqlite": {
        "id": "CHAR(36)",
        "key": "VARCHAR(255)",
        "text": "TEXT",
        "count": "INTEGER",
        "flag": "BOOLEAN",
        "time": "TEXT",
        "number": "NUMERIC",
    },
}

_NAME = re.compile(r"[A-Za-z_][\w$]*(\.[A-Za-z_][\w$]*){0,2}")


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
        mark = self._hook.placeholder
        insert = (
            f"INSERT INTO {self.name} ({', '.join(self._columns)}) VALUES ({', '.join([mark] * len(self._columns))})"  # noqa: S608  # a name that was checked
        )
        delete = f"DELETE FROM {self.name} WHERE {' AND '.join(f'{column} = {mark}' for column in self._key)}"  # noqa: S608  # as above
        try:
            connection = self._hook.get_conn()
            try:
                cursor = connection.cursor()
                if self._dialect in _TYPES:
                    cursor.execute(self._declaration())
                left = iter(rows)
                while batch := list(islice(left, _BATCH)):
                    cursor.executemany(delete, [tuple(row[column] for column in self._key) for row in batch])
                    cursor.executemany(insert, [self._values(row) for row in batch])
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

    def _declaration(self) -> str:
        types = _TYPES[self._dialect]
        columns = [
            f"{name} {types[kind]}{' NOT NULL' if name in self._key else ''}" for name, kind in self._columns.items()
        ]
        return f"CREATE TABLE IF NOT EXISTS {self.name} ({', '.join(columns)}, PRIMARY KEY ({', '.join(self._key)}))"

    def _values(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(self._value(row[column]) for column in self._columns)

    def _value(self, value: Any) -> Any:
        if not isinstance(value, datetime):
            return value
        if self._dialect == "sqlite":
            return value.astimezone(UTC).isoformat(timespec="microseconds")
        return value.astimezone(UTC) if self._dialect == "postgresql" else value.astimezone(UTC).replace(tzinfo=None)
