"""The hook of a database that an Airflow connection leads to."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException

from airflow_provider_wts.api.errors import WtsInvalidRequestError, needs_extra, quoted, reason_of
from airflow_provider_wts.api.personal_data import without_personal_data
from airflow_provider_wts.hooks.wts import named_connection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def database_hook(conn_id: str, *, parameter: str) -> Any:
    """Return the ``DbApiHook`` of a connection.

    :param conn_id: the Airflow connection.
    :param parameter: the parameter that needs a database, for errors.
    :raises WtsInvalidRequestError: when the connection is not one of a database, or a package is missing.
    """
    with needs_extra(parameter, "apache-airflow-providers-common-sql", "sql", ", and the provider of the database"):
        from airflow.providers.common.sql.hooks.sql import DbApiHook
    with named_connection(conn_id, f"the parameter {parameter!r}"):
        try:
            hook = DbApiHook.get_hook(conn_id)
        except AirflowNotFoundException:
            raise
        except AirflowException:
            # No provider here has a hook for its type.
            hook = None
    if not isinstance(hook, DbApiHook):
        raise WtsInvalidRequestError(
            f"{parameter}: the connection {quoted(conn_id)} is not one of a database. Set a connection of a database, "
            "and install the provider of that database."
        )
    return hook


def cells_of(row: Any) -> Sequence[Any]:
    """Return the cells of a row, in their order: some connections are set to give rows as objects.

    :param row: the row, as a cursor gave it.
    """
    return list(row.values()) if isinstance(row, Mapping) else row


def words_of(error: Exception) -> str:
    """Return what a database says is wrong, without the rows that it shows.

    :param error: what its driver raised.
    """
    # PostgreSQL puts the statement and the whole row into the lines that follow.
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return reason_of(without_personal_data(" ".join(first.split())))


@contextmanager
def opened(hook: Any) -> Iterator[Any]:
    """Open a connection in which nothing is committed before the end, and every character passes; close it afterwards.

    :param hook: the hook of the database.
    """
    connection = hook.get_conn()
    try:
        if hook.supports_autocommit:
            hook.set_autocommit(connection, False)
        # MySQL shows a character that the connection's set lacks as a question mark, and takes none such.
        if (set_characters := getattr(connection, "set_character_set", None)) is not None:
            set_characters("utf8mb4")
        yield connection
    except BaseException:
        # Closing is not enough on SQLite while a statement is kept somewhere, as in the traceback.
        with suppress(Exception):
            connection.rollback()
        raise
    finally:
        connection.close()
