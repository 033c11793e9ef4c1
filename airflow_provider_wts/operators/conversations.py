"""The operator that brings conversations home: sessions with their messages, as files for the warehouse."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.hooks.failures import readable_failures
from airflow_provider_wts.operators import parameters
from airflow_provider_wts.operators.base import WtsOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_provider_wts.operators.conversation_export import Wanted

_DETAILS = (
    *("AgentDetails", "DepartmentsDetails", "ContactDetails"),
    *("ChannelTypeDetails", "ClassificationDetails", "ChannelDetails"),
)


#: Seconds before the interval that are exported again.
OVERLAP = 120.0

_MOST_OVERLAP = 30 * 24 * 3600.0


class WtsExportConversationsOperator(WtsOperator):
    """Write the conversations that changed in an interval to files, with contact, classification and all messages.

    Calls ``list_sessions`` (100 a request) and, for each session that has messages, ``list_messages`` (100 a
    request). How many conversations a minute that gives, the account's rate limit says.

    One row is one session as it is now. A session that changes again comes again in a later interval, so load the
    rows as an upsert by ``id``. A session counts as changed when it was updated or written in. The export starts when
    the interval is over by the clock of WTS Chat, and includes the last seconds before the interval (``overlap``).

    The rows go into part files of 100 sessions in the folder ``output_path``, and a manifest names them when all are
    complete. A task that dies goes on behind its last complete part: no row comes twice, and none is missing, whatever
    changes meanwhile. A finished task that is cleared exports again, and its old files stay until the new ones are
    complete. Runs that share a folder leave each other's files alone. Until the end, a folder ``_staging-...`` holds
    the sessions. The progress is kept in the ledger of the task (Airflow 3.3, or ``[wts] ledger_path``), else in the
    folder ``_state`` beside the files.

    :param output_path: folder: any address that ``ObjectStoragePath`` takes, such as
        ``s3://aws_default@bucket/conversations/{{ ds }}`` (templated).
    :param updated_after: begin of the interval: an aware datetime, or ISO 8601 text with an offset; the begin of the
        run's data interval when left out. It belongs to the interval (templated).
    :param updated_before: end of the interval, which does not belong to it; the end of the run's data interval when
        left out (templated).
    :param file_format: ``jsonl`` (default): one JSON object a line, as the API answers it, with its messages in
        ``messages``; ``parquet``: columns with types, objects as JSON text; needs the extra ``parquet`` (templated).
    :param include_messages: whether the messages are read; without them 100 sessions take two requests (templated).
    :param include_details: what the API adds to each session: ``ContactDetails`` and ``ClassificationDetails``
        (default), ``AgentDetails``, ``ChannelDetails``, ``ChannelTypeDetails``, ``DepartmentsDetails`` (templated).
    :param overlap: seconds before the interval that are exported again, for changes that WTS Chat showed late. Default:
        120 (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: ``path``, ``manifest`` (a file that names the parts), ``file_format``, ``parts``, ``sessions``,
        ``messages``, ``updated_after``, ``updated_before``.
    :raises AirflowFailException: when the input is invalid, or the API refuses.
    :raises WtsIncompleteListError: when the list of sessions cannot be shown to be complete; the next try reads
        it again.
    """

    template_fields: Sequence[str] = (
        *WtsOperator.template_fields,
        "output_path",
        "updated_after",
        "updated_before",
        "file_format",
        "include_messages",
        "include_details",
        "overlap",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"include_details": "json"}

    def __init__(
        self,
        *,
        output_path: str,
        updated_after: datetime | str | None = None,
        updated_before: datetime | str | None = None,
        file_format: str = "jsonl",
        include_messages: bool | str = True,
        include_details: Sequence[str] | str = ("ContactDetails", "ClassificationDetails"),
        overlap: float | str = OVERLAP,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.output_path = output_path
        self.updated_after = updated_after
        self.updated_before = updated_before
        self.file_format = file_format
        self.include_messages = include_messages
        self.include_details = include_details
        self.overlap = overlap

    def execute(self, context: Context) -> dict[str, Any]:
        """Export, or go on where an earlier try stopped.

        :param context: the task's context.
        """
        from airflow_provider_wts.operators.conversation_export import Export

        with readable_failures():
            return Export(self.hook, context, self._wanted(context), self.log).run()

    def _wanted(self, context: Context) -> Wanted:
        from airflow_provider_wts.operators.conversation_export import Wanted

        output_path = parameters.text("output_path", self.output_path)
        if not isinstance(output_path, str) or not output_path.strip():
            raise WtsInvalidRequestError(
                "output_path: is empty. Example: 's3://aws_default@bucket/conversations/{{ ds }}'."
            )
        after = self._bound("updated_after", context.get("data_interval_start"))
        before = self._bound("updated_before", context.get("data_interval_end"))
        if datetime.fromisoformat(after) >= datetime.fromisoformat(before):
            raise WtsInvalidRequestError(
                f"updated_after: {after} is not before updated_before, {before}. A run without a data interval, such "
                "as one that was started by hand, needs both of them."
            )
        details = parameters.details(self.include_details, _DETAILS)
        overlap = OVERLAP if parameters.missing(self.overlap) else self.overlap
        return Wanted(
            wts_conn_id=self.wts_conn_id,
            output_path=output_path.strip().rstrip("/"),
            updated_after=after,
            updated_before=before,
            file_format=parameters.needed_choice("file_format", self.file_format, ("jsonl", "parquet")),
            include_messages=parameters.flag("include_messages", self.include_messages) is not False,
            include_details=tuple(details or ()),
            overlap=float(parameters.number("overlap", overlap, least=0, most=_MOST_OVERLAP) or 0.0),
        )

    def _bound(self, name: str, otherwise: Any) -> str:
        given = getattr(self, name)
        found = parameters.filter_moment(name, otherwise if parameters.missing(given) else given)
        if not isinstance(found, str):
            raise WtsInvalidRequestError(
                f"{name}: is empty, and this run has no data interval. A good value is '2026-12-24T00:00:00-03:00'."
            )
        return found
