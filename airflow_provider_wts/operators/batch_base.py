"""The base of the operators that send to many recipients in one task."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowSkipException, XComArg, conf

from airflow_provider_wts.api.call import NOT_GIVEN, Optional
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.api.parameters import is_missing
from airflow_provider_wts.hooks.failures import readable_failures
from airflow_provider_wts.operators import parameters
from airflow_provider_wts.operators.sending import WtsSendingOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from airflow.sdk import Context

    from airflow_provider_wts.sending.delivery import Way
    from airflow_provider_wts.sending.recipients import Recipient, Recipients
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
    number stays a number; columns of a CSV file are texts. Without a template, a parameter comes from the row's column
    of the same name: ``to``, ``session_metadata`` and so on.

    Filters read a cell strictly, or make the row a bad one: ``number_br`` (``1.234,56``), ``number`` (``1234.56``),
    ``money`` (``R$ 1.234,56``) and ``date`` (``31/12/2026``); ``float`` and ``int`` are strict here, too. ``as_br``
    writes a number or a date as a customer reads it: ``R$ {{ row.amount | number | as_br }}``. A cell without a value
    (empty, ``None``, NaN, NaT, ``<NA>``) makes the row a bad one where it would be written, and is ``None`` in
    metadata; ``| default('cliente')`` gives another text.

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

    :param recipients: list of objects or of plain numbers, its JSON text, or the output of a task, also a data frame.
        A number without a country code is read as Brazilian. Exactly one of this and ``recipients_path`` (templated).
    :param recipients_path: CSV, JSON Lines, Excel (extra ``excel``) or Parquet file (extra ``parquet``) at any address
        that ``ObjectStoragePath`` takes, also compressed with gzip. A CSV file names its columns in the first line, and
        separates them by comma, semicolon or tab (templated).
    :param recipients_format: ``csv``, ``jsonl``, ``xlsx`` or ``parquet``; inferred from the file's name if omitted
        (templated).
    :param recipients_encoding: encoding of a CSV or JSON Lines file, such as ``cp1252``, ``latin-1`` or ``utf-16``;
        UTF-8 if omitted (templated).
    :param recipients_sheet: sheet of an Excel file; if omitted, the only visible one that holds anything (templated).
    :param row_to: template of the recipient: phone number in any usual spelling, or ``@handle``.
    :param on_bad_row: ``fail`` (default): one bad row, and nothing is sent to anybody; the error lists the rows.
        ``skip``: bad rows are listed in the results, and the others get their message (templated).
    :param channel: channel to send from: its name, id, number or ``@handle``; without it the connection's (templated).
    :param callback_url: address that WTS Chat calls for each message that goes out or fails (templated).
    :param results_path: file for the results, one JSON object a line: ``line``, ``to``, ``status`` (``sent``,
        ``failed``, ``skipped``, ``undecided``, ``not_sent``, ``bad_row``, ``duplicate``), ``reason``, ``id``,
        ``api_status``, ``session_id``. A manifest with the counts stands beside it, under the name with
        ``.manifest.json`` at its end; the counts also go into the events of the task's ``outlets``. If omitted, a file
        below the folder ``[wts] results_path``, if that is set. Without either, the log and the returned value name
        the first 20 recipients who were not reached, and nobody else (templated).
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
        ``duplicates``; ``results_path``, ``manifest_path``, why it was ``stopped``, and ``not_reached``: the first 20
        recipients who were not reached, with the reason.
    :raises AirflowFailException: when the input is impossible, too many messages failed, nobody was reached, somebody
        is undecided, or the API refuses.
    :raises AirflowSkipException: when there are no rows, or ``not_after`` or ``send_window`` let nothing go out.
    """

    never_blank: ClassVar[frozenset[str]] = WtsSendingOperator.never_blank | {"max_failures"}
    template_fields: Sequence[str] = (
        *WtsSendingOperator.template_fields,
        "recipients",
        "recipients_path",
        "recipients_format",
        "recipients_encoding",
        "recipients_sheet",
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
        recipients: Any = NOT_GIVEN,
        recipients_path: str | None = None,
        recipients_format: str | None = None,
        recipients_encoding: str | None = None,
        recipients_sheet: str | None = None,
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
        self.recipients_encoding = recipients_encoding
        self.recipients_sheet = recipients_sheet
        self.row_to = row_to
        self.on_bad_row = on_bad_row
        self.channel = channel
        self.callback_url = callback_url
        self.results_path = results_path
        self.max_failures = max_failures
        self.chunk_size = chunk_size
        self.progress_interval = progress_interval

    def __setattr__(self, name: str, value: Any) -> None:
        _refuse_output_of_task(name, value)
        super().__setattr__(name, value)

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Return a task that is still to be mapped, as Airflow does.

        :param kwargs: what is the same for all its task instances.
        :raises WtsInvalidRequestError: when a template of rows is the output of a task.
        """
        for name, value in kwargs.items():
            _refuse_output_of_task(name, value)
        return super().partial(**kwargs)

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
        from airflow_provider_wts.sending.ledger import open_ledger
        from airflow_provider_wts.sending.pages import PagedLedger
        from airflow_provider_wts.sending.results import MOST_NAMED

        with readable_failures(), ExitStack() as stack:
            self.refuse_vanished()
            dry_run = parameters.flag("dry_run", self.is_dry_run) is True
            policies = {"on_unknown": self.on_unknown, "on_clear": self.on_clear}
            # Before anything that can wait: whoever opens it last is the one who may send.
            ledger = None if dry_run else open_ledger(context, PagedLedger, **policies)
            chunk_size = int(parameters.whole("chunk_size", self.chunk_size, least=1, most=100) or 100)
            on_bad_row = parameters.filter_choice("on_bad_row", self.on_bad_row, ("fail", "skip"))
            results = self._results(context)
            way = self.way(chunk_size)
            recipients = stack.enter_context(self._recipients(context))
            if not recipients.rows:
                raise AirflowSkipException("Nothing was sent: there are no recipients, only an empty list or a header.")
            campaign = Campaign(self, context, way, recipients, results=results, ledger=ledger)
            if recipients.bad_rows and on_bad_row != "skip":
                campaign.refuse_bad_rows(rehearsal=dry_run)
            self.log.info(
                "%s recipients; %s duplicates and %s bad rows are left out.",
                f"{recipients.count:,}",
                f"{recipients.duplicates:,}",
                f"{recipients.bad_rows:,}",
            )
            if dry_run:
                return campaign.rehearse()
            if results is not None:
                stack.enter_context(results)
            else:
                self.log.warning(
                    "results_path: is not set. Only the first %s recipients who are not reached will be named, here "
                    "and in the returned value. [wts] results_path sets a folder for all campaigns.",
                    MOST_NAMED,
                )
            chunk_size *= way.parallelism if way.request_size > 1 else 1
            return campaign.run(chunk_size)

    def wait_for(self, opening: datetime) -> None:
        """Wait until the send window opens: in the triggerer where ``deferrable``, else on the worker.

        :param opening: when it opens.
        """
        self._wait_for(opening)

    def rendered(self, recipient: Recipient) -> str | None:
        """Return the text that a recipient would read; ``None`` where only WTS Chat knows it.

        :param recipient: the recipient.
        """
        return None

    def _results(self, context: Context) -> ResultsFile | None:
        from airflow_provider_wts.sending.results import ResultsFile, default_address

        if parameters.missing(self.results_path):
            folder = conf.get("wts", "results_path", fallback="").strip()
            return ResultsFile(default_address(folder, context["ti"])) if folder else None
        return ResultsFile(str(self.results_path).strip())

    def _refuse_two_sources(self) -> None:
        given = is_missing(self.recipients), parameters.missing(self.recipients_path)
        if all(given) and self.recipients is not NOT_GIVEN:
            raise WtsInvalidRequestError(
                f"recipients: the value was {self.recipients!r}. Nothing was sent. The task that should return the "
                "list returned nothing, or under another XCom key."
            )
        if given[0] == given[1]:
            raise WtsInvalidRequestError("recipients, recipients_path: give exactly one of them.")

    def _recipients(self, context: Context) -> Recipients:
        from airflow_provider_wts.sending import rows
        from airflow_provider_wts.sending.recipients import Recipients, RowPlan
        from airflow_provider_wts.sending.row_templates import RowTemplates

        self._refuse_two_sources()
        seen = {name: context[name] for name in _FROM_CONTEXT if name in context}  # type: ignore[literal-required]
        templates = RowTemplates(self.get_template_env(), seen)
        plan = RowPlan(templates, self.row_templates(), self.row_checks(), self.hook.recipient)
        if parameters.missing(self.recipients_path):
            return Recipients(rows.listed(self.recipients), plan)
        file_format = parameters.filter_choice("recipients_format", self.recipients_format, rows.FORMATS)
        found = rows.in_file(
            str(self.recipients_path).strip(),
            file_format or None,
            encoding=parameters.filter_text("recipients_encoding", self.recipients_encoding) or None,
            sheet=parameters.filter_text("recipients_sheet", self.recipients_sheet) or None,
        )
        return Recipients(found, plan)


def _refuse_output_of_task(name: str, value: Any) -> None:
    """Refuse the output of a task as a template of rows.

    It would be filled in as text, and the task would not even wait for the other one.
    """
    if name.startswith("row_") and any(XComArg.iter_xcom_references(value)):
        raise WtsInvalidRequestError(
            f"{name}: is the output of a task, and templates of rows take none. Put the value into the rows, or into a "
            "template: {{ params.x }}, {{ row.x }}."
        )
