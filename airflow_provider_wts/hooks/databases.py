"""The hook of a database with an Airflow connection."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException

from airflow_provider_wts.api.errors import WtsInvalidRequestError, needs_extra, quoted, reason_of
from airflow_provider_wts.api.personal_data import without_personal_data
from airflow_provider_wts.hooks.wts import named_connection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Names of drivers' errors that a retry cannot fix. Python's own come from placeholders that do not match their values.
_FINAL = {"DataError", "ProgrammingError", "NotSupportedError", "LookupError", "TypeError", "ValueError"}

#: Numbers of such errors that the drivers of MySQL and MariaDB call operational: about privileges, names, collations,
#: types, expressions, views, and constraints.
_FINAL_MYSQL = frozenset(
    [
        *(1044, 1045, 1142, 1143, 1227, 1370),
        *(1049, 1052, 1054, 1060, 1065, 1103, 1305),
        *(1267, 1271, 1273, 1292, 1300, 1364, 1366),
        *(1055, 1111, 1136, 1241, 1242, 1248, 1582, 1630),
        *(1071, 1118, 1347, 1348, 1471, 1644, 3819, 4025),
    ]
)

#: SQLite's: about a name or the syntax, a file that is read-only or not a database, and values that do not fit.
_FINAL_SQLITE = frozenset([1, 8, 18, 20, 23, 25, 26])

#: MySQL's numbers of a refused login, and PostgreSQL's texts: its drivers know no number before they are connected.
_LOGIN_MYSQL = (1044, 1045, 1049, 1698)
_REFUSED_LOGIN = re.compile(
    r"FATAL: .*(authentication failed|does not exist|no such (user|database)|no pg_hba\.conf entry"
    r"|not permitted to log in|permission denied for database)|no password supplied"
)

#: How each database reports a duplicate key.
_KEY_SQLITE, _KEY_MYSQL, _KEY_POSTGRESQL = (1555, 2067), (1062, 1586), "23505"


def database_hook(conn_id: str, *, parameter: str) -> Any:
    """Return the ``DbApiHook`` of a connection.

    :param parameter: the parameter that needs a database, for errors.
    :raises WtsInvalidRequestError: when it is not a database connection, or a package is missing.
    """
    with needs_extra(parameter, "apache-airflow-providers-common-sql", "sql", ", and the provider of the database"):
        from airflow.providers.common.sql.hooks.sql import DbApiHook
    with named_connection(conn_id, f"the parameter {parameter!r}"):
        try:
            hook = DbApiHook.get_hook(conn_id)
        except AirflowNotFoundException:
            raise
        except AirflowException:
            # No installed provider has a hook for its type.
            hook = None
    if not isinstance(hook, DbApiHook):
        raise WtsInvalidRequestError(
            f"{parameter}: the connection {quoted(conn_id)} is not a database connection. Set one, and install the "
            "provider of that database."
        )
    return hook


def cells_of(row: Any) -> Sequence[Any]:
    """Return the cells of a row in order. Some connections are configured to return rows as objects."""
    return list(row.values()) if isinstance(row, Mapping) else row


def message_of(error: Exception) -> str:
    """Return a database's error message, without the rows that it quotes."""
    if isinstance(error, LookupError):
        # Its text is only the key.
        return f"{type(error).__name__} {reason_of(error)}"
    # PostgreSQL puts the statement and the whole row into the following lines.
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return reason_of(without_personal_data(" ".join(first.split())))


def is_duplicate_key(error: Exception) -> bool:
    """Whether a row was refused because of a duplicate key, not because of another constraint.

    :param error: an ``IntegrityError`` of a driver.
    """
    if (code := getattr(error, "sqlite_errorcode", None)) is not None:
        return code in _KEY_SQLITE
    if error.args and isinstance(error.args[0], int):
        return error.args[0] in _KEY_MYSQL
    return (getattr(error, "pgcode", None) or getattr(error, "sqlstate", None)) in (None, _KEY_POSTGRESQL)


def is_permanent(error: Exception) -> bool:
    """Whether a retry would fail with the same error."""
    if _FINAL & {kind.__name__ for kind in type(error).__mro__}:
        return True
    if (code := getattr(error, "sqlite_errorcode", None)) is not None:
        return code & 0xFF in _FINAL_SQLITE
    number = error.args[0] if error.args else None
    return isinstance(number, int) and number in _FINAL_MYSQL


@contextmanager
def closed(thing: Any) -> Iterator[Any]:
    """Close a connection or cursor at the end, without hiding an earlier error behind one of closing."""
    try:
        yield thing
    except BaseException:
        with suppress(Exception):
            thing.close()
        raise
    thing.close()


def _refuses_login(error: Exception) -> bool:
    """Whether a retry would be refused again. If several hosts were tried, all of them must have refused."""
    tried = [line for line in str(error).splitlines() if "failed: " in line or "FATAL: " in line]
    number = error.args[0] if error.args else None
    return number in _LOGIN_MYSQL or (bool(tried) and all(map(_REFUSED_LOGIN.search, tried)))


@contextmanager
def opened(hook: Any, parameter: str, unsent: str) -> Iterator[Any]:
    """Open a connection without autocommit, and with a character set that has every character; close it at the end.

    :param parameter: the parameter that names the connection, for errors.
    :param unsent: a sentence for errors that says what did not happen.
    :raises WtsInvalidRequestError: when the database refuses the login.
    """
    try:
        made = hook.get_conn()
    except Exception as error:
        if not _refuses_login(error):
            raise
        raise WtsInvalidRequestError(
            f"{parameter}: the database refuses the connection: {message_of(error).rstrip('.')}. {unsent} Correct the "
            "login, password and database of the Airflow connection, then clear the task."
        ) from error
    with closed(made) as connection:
        try:
            if hook.supports_autocommit:
                hook.set_autocommit(connection, False)
            # MySQL returns characters that the connection's character set lacks as question marks, and refuses them.
            if (set_characters := getattr(connection, "set_character_set", None)) is not None:
                set_characters("utf8mb4")
            yield connection
        except BaseException:
            # On SQLite, closing is not enough while something, such as the traceback, references a statement.
            with suppress(Exception):
                connection.rollback()
            raise
