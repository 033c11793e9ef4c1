"""Streams the rows of a query from a database with an Airflow connection."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError, quoted
from airflow_provider_wts.api.parameters import refuse_same_names, unpacked
from airflow_provider_wts.hooks.databases import cells_of, closed, database_hook, is_permanent, message_of, opened
from airflow_provider_wts.hooks.postgresql_types import read_exactly
from airflow_provider_wts.hooks.shown_number import ShownNumber

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Rows in memory at a time.
_ROWS = 1000

#: The drivers of PostgreSQL, and of MySQL and MariaDB.
_POSTGRESQL, _MYSQL = {"psycopg2", "psycopg"}, {"pymysql", "MySQLdb", "mysql"}

#: Their type codes for a column of single precision, or an array of such numbers.
_SINGLE_POSTGRESQL, _SINGLE_MYSQL = (700, 1021), 4

#: PostgreSQL's type code of CHAR(n), whose values it fills up with spaces. MySQL returns them without.
_CHAR_POSTGRESQL = 1042

#: MySQL drivers' type code of a BIT column, which they return as bytes.
_BITS_MYSQL = 16

#: Their type codes of integers and decimals, and the flag of a column whose numbers are filled up with zeros.
_WHOLE_MYSQL, _ZEROFILL = (1, 2, 3, 8, 9, 246), 64

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)

#: From here on, numbers lose digits: integers in single precision, and cents and integers in MySQL, which returns six
#: digits.
_MAX_SINGLE, _MAX_CENTS, _MAX_WRITTEN = 2**24, 10**4, 10**6


def columns_and_rows(
    sql: str, conn_id: str, parameters: Any = None, *, name: str, unsent: str = "Nothing was sent."
) -> Iterator[Sequence[Any]]:
    """Run a query, and iterate over its result. The connection is closed at the end.

    :param sql: one statement that returns rows.
    :param conn_id: the Airflow connection of the database.
    :param parameters: in the form that the database driver expects, or the JSON text of that.
    :param name: prefix of the parameters' names, for errors: ``<name>_sql`` and ``<name>_conn_id``.
    :param unsent: a sentence for errors that says what did not happen.
    :return: the names of the columns, then the cells of each row.
    :raises WtsInvalidRequestError: when it is not a database connection, or the query is wrong.
    :raises WtsError: when the database fails.
    """
    values = _placeholders(parameters, f"{name}_sql_parameters", unsent)
    hook = database_hook(conn_id, parameter=f"{name}_conn_id")
    try:
        with opened(hook, f"{name}_conn_id", unsent) as connection, closed(_cursor(connection)) as cursor:
            # Without parameters, a % in the query has no special meaning.
            given = () if values is None else (values,)
            _refuse_several(hook, connection, sql, f"{name}_sql", unsent)
            cursor.execute(sql.strip().rstrip(";"), *given)
            # A named cursor only knows its columns after fetching rows.
            is_named = bool(getattr(cursor, "name", None))
            rows = cursor.fetchmany(_ROWS) if is_named or cursor.description is not None else []
            columns = _columns(cursor.description, f"{name}_sql", unsent)
            yield columns
            readers = _readers(connection, cursor, partial(_lost_digits, f"{name}_sql", unsent))
            while rows:
                for row in rows:
                    cells = cells_of(row)
                    if readers:
                        cells = list(cells)
                        for place, read in readers.items():
                            cells[place] = read(cells[place])
                    yield cells
                rows = cursor.fetchmany(_ROWS)
    except WtsError:
        raise
    except Exception as error:
        said = f"{name}_sql: the query failed: {message_of(error).rstrip('.')}. {unsent}"
        if not is_permanent(error):
            raise WtsError(said) from error
        advice = "Correct the query."
        if values is not None:
            advice += (
                f" Each of its placeholders needs a value in {name}_sql_parameters. With parameters, write any other "
                "% as %%."
            )
        raise WtsInvalidRequestError(f"{said} {advice}") from error


def _placeholders(given: Any, name: str, unsent: str) -> Any:
    """Return the values for the placeholders of a query. Refuse text, which drivers would split into letters."""
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
    if driver := next(iter(drivers & _POSTGRESQL), None):
        read_exactly(connection, driver)
        return connection.cursor(name="wts_rows")
    if driver := next(iter(drivers & {"pymysql", "MySQLdb"}), None):
        return connection.cursor(import_module(f"{driver}.cursors").SSCursor)
    return connection.cursor()


def _refuse_several(hook: Any, connection: Any, sql: str, name: str, unsent: str) -> None:
    """Refuse several statements if the driver would run all of them, but return only one's rows."""
    if _drivers(connection) & _POSTGRESQL:
        statements = [_COMMENT.sub("", one).strip(" \t\r\n;") for one in hook.split_sql_string(sql)]
        if len([one for one in statements if one]) > 1:
            raise WtsInvalidRequestError(
                f"{name}: contains several statements, but only the rows of one would be read. {unsent} Write a single "
                "one, for example with UNION ALL."
            )


def _drivers(connection: Any) -> set[str]:
    return {kind.__module__.partition(".")[0] for kind in type(connection).__mro__}


def _lost_digits(name: str, unsent: str, column: str, digits: str) -> WtsInvalidRequestError:
    """Return the error for a number that lost digits. As a phone number, it might be a stranger's."""
    return WtsInvalidRequestError(
        f"{name}: the column {quoted(column)} has single precision, which keeps {digits} digits, and a number has "
        f"more. {unsent} Change the table's column to text, BIGINT or NUMERIC and fill it again, or leave it out."
    )


def _readers(
    connection: Any, cursor: Any, lost: Callable[[str, str], WtsInvalidRequestError]
) -> dict[int, Callable[[Any], Any]]:
    """Return functions that convert the cells of some columns, by index, if the driver reports their type.

    :param lost: returns the error for a column with a number that lost digits, and how many digits it keeps.
    """
    drivers = _drivers(connection)
    is_mysql = bool(drivers & _MYSQL)
    single = (_SINGLE_MYSQL,) if is_mysql else _SINGLE_POSTGRESQL if drivers & _POSTGRESQL else ()
    readers: dict[int, Callable[[Any], Any]] = {}
    filled = _zero_filled(cursor) if is_mysql else {}
    for place, (name, kind, *_) in enumerate(cursor.description):
        if kind in single:
            readers[place] = partial(_whole_digits, partial(lost, name), is_mysql=is_mysql)
        elif place in filled:
            readers[place] = partial(_shown, width=filled[place])
        elif is_mysql and kind == _BITS_MYSQL:
            readers[place] = lambda cell: int.from_bytes(cell) if isinstance(cell, bytes) else cell
        elif drivers & _POSTGRESQL and kind == _CHAR_POSTGRESQL:
            readers[place] = lambda cell: cell.rstrip(" ") if isinstance(cell, str) else cell
    return readers


def _zero_filled(cursor: Any) -> dict[int, int]:
    """Return how wide the columns are whose numbers begin with zeros, by index."""
    # mysqlclient shows the flags, PyMySQL only keeps them.
    fields = getattr(getattr(cursor, "_result", None), "fields", ())
    flags = getattr(cursor, "description_flags", None) or [getattr(field, "flags", 0) for field in fields]
    return {
        place: column[3]
        for place, (column, flag) in enumerate(zip(cursor.description, flags, strict=False))
        if flag & _ZEROFILL and column[1] in _WHOLE_MYSQL and not column[5]
    }


def _shown(cell: Any, *, width: int) -> Any:
    return ShownNumber(int(cell), width) if isinstance(cell, (int, Decimal)) else cell


def _whole_digits(lost: Callable[[str], WtsInvalidRequestError], cell: Any, *, is_mysql: bool) -> Any:
    """Return a number of single precision, or an array of them, if it cannot have lost digits."""
    if isinstance(cell, list):
        return [_whole_digits(lost, one, is_mysql=is_mysql) for one in cell]
    if isinstance(cell, float):
        size = abs(cell)
        if size >= _MAX_SINGLE and not is_mysql:
            raise lost("seven")
        if is_mysql and (size >= _MAX_WRITTEN or (size >= _MAX_CENTS and cell != float(f"{cell:.5g}"))):
            raise lost("six")
    return cell


def _columns(description: Sequence[Sequence[Any]] | None, name: str, unsent: str) -> list[str]:
    if description is None:
        raise WtsInvalidRequestError(f"{name}: is not a query that returns rows. {unsent} Write a SELECT.")
    columns = [str(column[0] or "").strip() for column in description]
    if "" in columns:
        place = columns.index("") + 1
        raise WtsInvalidRequestError(
            f"{name}: column {place} has no name. {unsent} Give it one. Example: SELECT max(x) AS x"
        )
    refuse_same_names(name, columns, unsent=unsent, example=" Example: SELECT orders.id AS order_id")
    return columns
