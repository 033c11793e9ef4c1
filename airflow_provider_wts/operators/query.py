"""Base of the operators whose recipients may come from a query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import conf

from airflow_provider_wts.api import parameters
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.operators.sending import WtsOnceOperator

if TYPE_CHECKING:
    from contextlib import ExitStack

    from airflow.sdk import Context

    from airflow_provider_wts.campaigns.query import Query, Snapshot
    from airflow_provider_wts.sending.ledger import Ledger

_EXAMPLE = "Example: recipients_sql='SELECT phone, name FROM customers', recipients_conn_id='warehouse'"


class WtsQueryOperator(WtsOnceOperator):
    """Base of the operators whose recipients may come from a query.

    :param recipients_sql: query for the recipients, or a ``.sql`` file. Needs the extra ``sql`` (templated).
    :param recipients_conn_id: ID of the Airflow connection of its database (templated).
    :param recipients_sql_parameters: values for the query's placeholders: a list or an object, as the database driver
        expects it, or its JSON text (templated).
    """

    sql_files: ClassVar[frozenset[str]] = WtsOnceOperator.sql_files | {"recipients_sql"}
    template_fields_renderers: ClassVar[dict[str, str]] = {"recipients_sql": "sql"}

    def __init__(
        self,
        *,
        recipients_sql: str | None = None,
        recipients_conn_id: str | None = None,
        recipients_sql_parameters: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.recipients_sql = recipients_sql
        self.recipients_conn_id = recipients_conn_id
        self.recipients_sql_parameters = recipients_sql_parameters

    def query(self) -> Query | None:
        """Return the query for the recipients; ``None`` if they do not come from one."""
        from airflow_provider_wts.campaigns.query import Query

        given = {
            name: getattr(self, name) for name in ("recipients_sql", "recipients_conn_id", "recipients_sql_parameters")
        }
        if parameters.missing(given["recipients_sql"]):
            useless = next((name for name, value in given.items() if not parameters.missing(value)), None)
            if useless is not None:
                raise WtsInvalidRequestError(f"{useless}: has no effect without recipients_sql. {_EXAMPLE}")
            return None
        if parameters.missing(given["recipients_conn_id"]):
            raise WtsInvalidRequestError(
                f"recipients_conn_id: recipients_sql needs the connection of its database. Nothing was sent. {_EXAMPLE}"
            )
        values = given["recipients_sql_parameters"]
        sql, conn_id = str(given["recipients_sql"]), str(given["recipients_conn_id"]).strip()
        return Query(sql, conn_id, None if parameters.missing(values) else values)

    def snapshot(
        self,
        query: Query,
        context: Context,
        ledger: Ledger,
        *,
        results: str | None = None,
        lasting: bool = False,
        may_change: bool = False,
    ) -> Snapshot:
        """Run a query, unless an earlier try ran it, and return its rows.

        :param results: address of the results, if any: the rows are stored beside them.
        :param lasting: whether later tries must find the rows as they are.
        :param may_change: see :class:`~airflow_provider_wts.campaigns.query.Snapshot`.
        """
        from airflow_provider_wts.campaigns.query import Snapshot
        from airflow_provider_wts.campaigns.results import default_address

        folders = (conf.get("wts", name, fallback="").strip() for name in ("results_path", "ledger_path"))
        folder = next(filter(None, folders), None)
        address = results or (default_address(folder, context["ti"]) if folder else None)
        if lasting and not ledger.is_kept:
            raise WtsInvalidRequestError(
                "recipients_sql: needs a ledger, which Airflow has only from 3.3 on. Nothing was sent. Before Airflow "
                "3.3, set [wts] ledger_path. Example: s3://aws_default@bucket/wts-ledger"
            )
        if lasting and address is None:
            raise WtsInvalidRequestError(
                "recipients_sql: needs a place to store its rows for later tries. Nothing was sent. Set results_path, "
                "or [wts] results_path. Example: s3://aws_default@bucket/wts-results"
            )
        return Snapshot(query, ledger, address if ledger.is_kept else None, may_change=may_change)

    def queried(self, context: Context, stack: ExitStack) -> Snapshot | None:
        """Return the rows of the query; ``None`` if there is none. Later tries read them again if they have a place."""
        query = self.query()
        if query is None:
            return None
        return stack.enter_context(self.snapshot(query, context, self._once(context).ledger, may_change=True))
