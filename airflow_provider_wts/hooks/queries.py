"""The rows of a query, in a stream, from a database that an Airflow connection leads to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError, quoted
from airflow_provider_wts.api.parameters import unpacked
from airflow_provider_wts.hooks.databases import cells_of, database_hook, opened, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Rows that are in memory at a time.
_ROWS = 1000

#: How drivers mark a column of single precision. It holds seven digits, and the drivers make longer numbers of them.
_SINGLE = {"psycopg2": 700, "psycopg": 700, "pymysql": 4, "MySQLdb": 4, "mysql": 4}

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)

#: From here on, single precision leaves out whole numbers.
_MOST_SINGLE = 2**24


def columns_and_rows(
    sql: str, conn_id: str, parameters: Any = None, *, name: str, unsent: str = "Nothing was sent."
) -> Iterator[Sequence[Any]]:
    """Run a query, and walk what it returns; the connection is closed when the walk is over.

    :param sql: one statement that returns rows.
    :param conn_id: the Airflow connection of its database.
    :param parameters: as the database's driver takes them, or the JSON text of that; ``None`` = none.
    :param name: what the parameters begin with, for errors: ``<name>_sql`` and ``<name>_conn_id``.
    :param unsent: says in errors what did not happen.
    :return: the names of the columns, then the cells of each row.
    :raises WtsInvalidRequestError: when the connection is not one of a database, or the query is wrong.
    :raises WtsError: when the database fails.
    """
    values = _placeholders(parameters, f"{name}_sql_parameters", unsent)
    hook = database_hook(conn_id, parameter=f"{name}_conn_id")
    try:
        with opened(hook) as connection, closing(_cursor(connection)) as cursor:
            # Without parameters, a % in the query is only a %.
            given = () if values is None else (values,)
            _refuse_several(hook, connection, sql, f"{name}_sql", unsent)
            cursor.execute(sql.strip().rstrip(";"), *given)
            # A named cursor knows its columns when it has fetched rows.
            is_named = bool(getattr(cursor, "name", None))
            rows = cursor.fetchmany(_ROWS) if is_named or cursor.description is not None else []
            columns = _columns(cursor.description, f"{name}_sql", unsent)
            yield columns
            single = _of_single_precision(connection, cursor.description)
            while rows:
                for row in rows:
                    cells = cells_of(row)
                    for place in single:
                        _refuse_lost_digits(cells[place], columns[place], f"{name}_sql", unsent)
                    yield cells
                rows = cursor.fetchmany(_ROWS)
    except WtsError:
        raise
    except Exception as error:
        # That is a mistake in the query, and not one of the network.
        is_mistake = any(kind.__name__ == "ProgrammingError" for kind in type(error).__mro__)
        kind = WtsInvalidRequestError if is_mistake else WtsError
        raise kind(f"{name}_sql: the query failed: {words_of(error).rstrip('.')}. {unsent}") from error


def _placeholders(given: Any, name: str, unsent: str) -> Any:
    """Return the values for the placeholders of a query. Drivers take a text apart into its letters."""
    found = unpacked(name, given)
    if found is not None and (isinstance(found, (str, bytes)) or not isinstance(found, (Mapping, Sequence))):
        raise WtsInvalidRequestError(
            f"{name}: must be a list or an object, not {type(found).__name__}. {unsent} "
            "Example: ['{{ ds }}'], or {'day': '{{ ds }}'}"
        )
    return found


def _cursor(connection: Any) -> Any:
    """Return a cursor whose rows stay on the server until they are fetched, if the driver has one."""
    drivers = _drivers(connection)
    if drivers & {"psycopg2", "psycopg"}:
        return connection.cursor(name="wts_rows")
    if driver := next(iter(drivers & {"pymysql", "MySQLdb"}), None):
        return connection.cursor(import_module(f"{driver}.cursors").SSCursor)
    return connection.cursor()


def _refuse_several(hook: Any, connection: Any, sql: str, name: str, unsent: str) -> None:
    """Refuse several statements if the driver would run all of them, and show the rows of the first alone."""
    if _drivers(connection) & {"psycopg2", "psycopg"}:
        statements = [_COMMENT.sub("", one).strip(" \t\r\n;") for one in hook.split_sql_string(sql)]
        if len([one for one in statements if one]) > 1:
            raise WtsInvalidRequestError(
                f"{name}: holds several statements, and the rows of one alone would be read. {unsent} Write one, for "
                "example with UNION ALL."
            )


def _drivers(connection: Any) -> set[str]:
    return {kind.__module__.partition(".")[0] for kind in type(connection).__mro__}


def _of_single_precision(connection: Any, description: Sequence[Sequence[Any]]) -> list[int]:
    """Return the places of the columns of single precision, as far as the driver says so."""
    codes = {_SINGLE[driver] for driver in _drivers(connection) if driver in _SINGLE}
    return [place for place, column in enumerate(description) if column[1] in codes]


def _refuse_lost_digits(cell: Any, column: str, name: str, unsent: str) -> None:
    """Refuse a long number of single precision: as a phone number, it is a stranger's."""
    if isinstance(cell, float) and abs(cell) >= _MOST_SINGLE:
        raise WtsInvalidRequestError(
            f"{name}: the column {quoted(column)} is of single precision, which keeps seven digits, and holds a longer "
            f"number. {unsent} Make the table's column a text, BIGINT or NUMERIC and fill it again, or leave it out."
        )


def _columns(description: Sequence[Sequence[Any]] | None, name: str, unsent: str) -> list[str]:
    if description is None:
        raise WtsInvalidRequestError(f"{name}: is not a query that returns rows. {unsent} Write a SELECT.")
    columns = [str(column[0] or "").strip() for column in description]
    if "" in columns:
        place = columns.index("") + 1
        raise WtsInvalidRequestError(
            f"{name}: column {place} has no name. {unsent} Give it one. Example: SELECT max(x) AS x"
        )
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        raise WtsInvalidRequestError(
            f"{name}: two columns have the name {quoted(twice)}. {unsent} Give one of them another name. "
            "Example: SELECT orders.id AS order_id"
        )
    return columns
