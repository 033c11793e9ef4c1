"""The base of the operators that send to many recipients in one task."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wts.api.call import NOT_GIVEN, Optional
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.hooks.failures import readable_failures
from airflow_provider_wts.operators import parameters
from airflow_provider_wts.operators.sending import WtsSendingOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from airflow.sdk import Context

    from airflow_provider_wts.sending.delivery import Way
    from airflow_provider_wts.sending.recipients import Recipients
    from airflow_provider_wts.sending.results import ResultsFile

#: What templates of rows see beside ``row``.
_FROM_CONTEXT = (
    "ds",
    "ds_nodash",
    "ts",
    "ts_nodash",
    "logical_date",
    "data_interval_start",
    "data_interval_end",
    "run_id",
    "dag_run",
    "params",
    "macros",
    "task",
    "ti",
)


class WtsBatchOperator(WtsSendingOperator):
    """Base of the operators that send to many recipients in one task, each exactly once.

    **Recipients** are a list, or a file. Each row is an object with columns, or simply a number. All rows are checked,
    and duplicates left out, before the first request.

    **What differs from row to row** stands in parameters whose names begin with ``row_``. They are templates with
    ``row`` in them, filled in for each row: ``row_to="{{ row.phone }}"``,
    ``row_session_metadata={"invoice": "{{ row.invoice }}", "run": "{{ ds }}"}``. Airflow does not render these
    parameters itself. They see ``row`` and the usual ``ds``, ``ts``, ``run_id``, ``params``, ``data_interval_start``,
    ``macros`` and filters, but no ``var`` and ``conn``. A template that is a single expression keeps its type, so a
    number stays a number; columns of a CSV file are texts: ``{{ row.amount | float }}``. Without a template, a
    parameter comes from the row's column of the same name: ``to``, ``session_metadata`` and so on.

    **Exactly once** needs a ledger: Airflow 3.3, or ``[wts] ledger_path``. A task that died or was cleared half way
    goes on with those who did not get the message yet; only what was under way is in doubt, and one
    walk over the sessions that changed since tells what became of it.
    Without a ledger, every later try asks about all recipients, which takes long and may leave many undecided.

    **Results**: a line for each row in ``results_path``, and counts as the returned value. ``sent`` means that the
    platform took the message; later failures show in its status. A message that fails is counted, and fails the task
    only beyond ``max_failures``, or when nobody was reached. A task that raises half way leaves its results so far in a
    file of the same name with ``.part`` at its end; the log says where.

    **A clear** of a campaign that *succeeded* sends to **everybody** anew, also where some messages had failed; with
    ``on_clear="continue"`` it sends to those whose message failed, and to nobody else. A clear of a campaign that
    *failed* or was stopped goes on: with those who were not reached yet, and with those whose message failed. A retry
    by Airflow does not try failed messages again.

    :param recipients: list of objects or of plain numbers, its JSON text, or the output of a task. A number without a
        country code is read as Brazilian. Exactly one of this and ``recipients_path`` (templated).
    :param recipients_path: CSV, JSON Lines or Parquet file (extra ``parquet``) at any address that
        ``ObjectStoragePath`` takes. A CSV file is UTF-8, names its columns in the first line, and parts them by comma,
        semicolon or tab (templated).
    :param recipients_format: ``csv``, ``jsonl`` or ``parquet``; told from the file's name when left out (templated).
    :param row_to: template of the recipient: phone number in any usual spelling, or ``@handle``.
    :param on_bad_row: ``fail`` (default): one bad row, and nothing is sent to anybody; the error lists the rows.
        ``skip``: bad rows are listed in the results, and the others get their message (templated).
    :param channel: channel to send from: its name, id, number or ``@handle``; without it the connection's (templated).
    :param callback_url: address that WTS Chat calls for each message that goes out or fails (templated).
    :param results_path: file for the results, one JSON object a line: ``line``, ``to``, ``status`` (``sent``,
        ``failed``, ``skipped``, ``undecided``, ``not_sent``, ``bad_row``, ``duplicate``), ``reason``, ``id``,
        ``api_status``, ``session_id``. A manifest with the counts stands beside it, under the name with
        ``.manifest.json`` at its end; the counts also go into the events of the task's ``outlets`` (templated).
    :param max_failures: stop and fail beyond so many failed messages: a count, or a share of the recipients such as
        ``0.05`` or ``"5%"``. ``None`` = no bound (templated).
    :param chunk_size: recipients of one request, 1 to 100. Two requests are under way at a time, and both stand on one
        page of the ledger: twice so many recipients are in doubt after a crash.
    :param progress_interval: seconds between two lines of progress in the log.
    :param kwargs: see :class:`~airflow_provider_wts.operators.sending.WtsSendingOperator`: ``dry_run``,
        ``not_after``, ``send_window``, ``outside_window``, ``exclude_tags``, ``exclude_blocked``, ``on_unknown``,
        ``on_clear``, ``deferrable``. ``send_window`` and ``not_after`` are looked at before each chunk: a campaign that
        the window closes on waits, and goes on when it opens; with ``outside_window="skip"`` it ends there. Tags and
        blocks cost a few calls for the whole campaign. ``on_unknown="fail"`` leaves out those of whom nobody knows
        whether they were sent to, goes on with the others, and fails at the end.
    :return: counts by ``recipients``, ``sent``, ``failed``, ``skipped``, ``undecided``, ``not_sent``, ``bad_rows``,
        ``duplicates``; ``results_path``, ``manifest_path``, and why it was ``stopped``.
    :raises AirflowFailException: when the input is impossible, too many messages failed, nobody was reached, somebody
        is undecided, or the API refuses.
    :raises AirflowSkipException: when ``not_after`` or ``send_window`` let nothing go out at all.
    """

    template_fields: Sequence[str] = (
        *WtsSendingOperator.template_fields,
        "recipients",
        "recipients_path",
        "recipients_format",
        "on_bad_row",
        "channel",
        "callback_url",
        "results_path",
        "max_failures",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"recipients": "json"}

    def __init__(
        self,
        *,
        recipients: Any = None,
        recipients_path: str | None = None,
        recipients_format: str | None = None,
        row_to: str | None = None,
        on_bad_row: str = "fail",
        channel: str | None = None,
        callback_url: Optional[str] = NOT_GIVEN,
        results_path: str | None = None,
        max_failures: float | str | None = None,
        chunk_size: int = 100,
        progress_interval: float = 30.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.recipients = recipients
        self.recipients_path = recipients_path
        self.recipients_format = recipients_format
        self.row_to = row_to
        self.on_bad_row = on_bad_row
        self.channel = channel
        self.callback_url = callback_url
        self.results_path = results_path
        self.max_failures = max_failures
        self.chunk_size = chunk_size
        self.progress_interval = progress_interval

    def way(self, chunk_size: int) -> Way:
        """Return how the messages go out; names are looked up here.

        :param chunk_size: recipients of one request, where it takes many.
        """
        raise NotImplementedError

    def row_templates(self) -> dict[str, Any]:
        """Return the templates of rows, by parameter."""
        return {"to": self.row_to}

    def row_checks(self) -> dict[str, Callable[[Any], Any]]:
        """Return what checks the values of a row, by parameter; called after :meth:`way`."""
        return {}

    def execute(self, context: Context) -> dict[str, Any]:
        """Send to all recipients, and return the counts.

        :param context: the task's context.
        """
        from airflow_provider_wts.operators.batch_campaign import Campaign

        with readable_failures(), ExitStack() as stack:
            chunk_size = int(parameters.whole("chunk_size", self.chunk_size, least=1, most=100) or 100)
            on_bad_row = parameters.filter_choice("on_bad_row", self.on_bad_row, ("fail", "skip"))
            results = self._results()
            way = self.way(chunk_size)
            recipients = stack.enter_context(self._recipients(context))
            if on_bad_row != "skip":
                recipients.refuse_bad_rows()
            self.log.info(
                "%s recipients; %s duplicates and %s bad rows are left out.",
                f"{recipients.count:,}",
                f"{recipients.duplicates:,}",
                f"{recipients.bad_rows:,}",
            )
            if parameters.flag("dry_run", self.is_dry_run) is True:
                return self._dry_run_of(context, way, recipients)
            if results is not None:
                stack.enter_context(results)
            chunk_size *= way.parallelism if way.request_size > 1 else 1
            return Campaign(self, context, way, recipients, results).run(chunk_size)

    def wait_for(self, opening: datetime) -> None:
        """Wait until the send window opens: in the triggerer where ``deferrable``, else on the worker.

        :param opening: when it opens.
        """
        self._wait_for(opening)

    def _results(self) -> ResultsFile | None:
        from airflow_provider_wts.sending.results import ResultsFile

        if parameters.missing(self.results_path):
            return None
        return ResultsFile(str(self.results_path).strip())

    def _recipients(self, context: Context) -> Recipients:
        from airflow_provider_wts.sending import rows
        from airflow_provider_wts.sending.recipients import Recipients, RowPlan
        from airflow_provider_wts.sending.row_templates import RowTemplates

        if parameters.missing(self.recipients) == parameters.missing(self.recipients_path):
            raise WtsInvalidRequestError("recipients, recipients_path: give exactly one of them.")
        seen = {name: context[name] for name in _FROM_CONTEXT if name in context}  # type: ignore[literal-required]
        templates = RowTemplates(self.get_template_env(), seen)
        plan = RowPlan(templates, self.row_templates(), self.row_checks(), self.hook.recipient)
        if parameters.missing(self.recipients_path):
            return Recipients(rows.listed(self.recipients), plan)
        file_format = parameters.filter_choice("recipients_format", self.recipients_format, ("csv", "jsonl", "parquet"))
        return Recipients(rows.in_file(str(self.recipients_path).strip(), file_format or None), plan)

    def _dry_run_of(self, context: Context, way: Way, recipients: Recipients) -> dict[str, Any]:
        from airflow_provider_wts.sending.delivery import Send
        from airflow_provider_wts.sending.key import Mark, TaskIdentity, send_key

        first = next(iter(recipients), None)
        request = None
        if first is not None:
            task = TaskIdentity.of(context["ti"])
            mark = Mark(send_key(task, generation=0, wts_conn_id=self.wts_conn_id, recipient=first.identity))
            call = way.call([Send(first, mark)])
            request = {"operation_id": call.operation_id, "path": call.url_path, "body": call.json_body}
        self.log.info("Dry run: nothing is sent. It would be sent to %s recipients.", f"{recipients.count:,}")
        return {
            "dry_run": True,
            "recipients": recipients.count,
            "bad_rows": recipients.bad_rows,
            "duplicates": recipients.duplicates,
            "requests": -(-recipients.count // way.request_size),
            "first_request": request,
        }
