"""The hook of a database that an Airflow connection leads to."""

from __future__ import annotations

from typing import Any

from airflow_provider_wts.api.errors import WtsInvalidRequestError, quoted


def database_hook(conn_id: str, *, parameter: str) -> Any:
    """Return the ``DbApiHook`` of a connection.

    :param conn_id: the Airflow connection.
    :param parameter: the parameter that needs a database, for errors.
    :raises WtsInvalidRequestError: when the connection is not one of a database, or a package is missing.
    """
    try:
        from airflow.providers.common.sql.hooks.sql import DbApiHook
    except ImportError:
        raise WtsInvalidRequestError(
            f"{parameter}: needs apache-airflow-providers-common-sql. Install it with "
            "pip install 'airflow-provider-wts[sql]', and the provider of the database."
        ) from None
    hook = DbApiHook.get_hook(conn_id)
    if not isinstance(hook, DbApiHook):
        raise WtsInvalidRequestError(
            f"{parameter}: the connection {quoted(conn_id)} is not one of a database. Set a connection of a database."
        )
    return hook
