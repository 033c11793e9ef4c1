"""Operators that send to many recipients in one task: a chatbot, a template, or a text."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, cast

from airflow.providers.common.compat.sdk import AirflowSkipException, XComArg, conf

from airflow_provider_wts import __version__, api
from airflow_provider_wts.api import parameters
from airflow_provider_wts.api.errors import WtsInvalidRequestError, quoted
from airflow_provider_wts.api.wire import UNSET, Missing, Unset, is_missing, is_uuid
from airflow_provider_wts.hooks.errors import task_failures
from airflow_provider_wts.operators.query import WtsQueryOperator
from airflow_provider_wts.operators.sending import WtsSendingOperator, reply_window, session_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow.sdk import Context

    from airflow_provider_wts.api.chatbots import BotOptions
    from airflow_provider_wts.api.sends import SendOptions
    from airflow_provider_wts.campaigns.checked_rows import CheckedRows
    from airflow_provider_wts.campaigns.message_kinds import ChatbotKind, MessageKind, TemplateKind, TextKind
    from airflow_provider_wts.campaigns.query import Query, Snapshot
    from airflow_provider_wts.campaigns.recipients import Recipient, Recipients
    from airflow_provider_wts.campaigns.results import ResultsFile
    from airflow_provider_wts.sending.rules import Rule


#: The most parallel requests that an account's limits can use.
_MOST_PARALLEL = 64


class WtsBatchOperator(WtsSendingOperator, WtsQueryOperator):
    """Base of the operators that send to many recipients in one task, each exactly once.

    **Recipients** come from a list, a file or a query. Each row is an object with columns, or just a number. The task
    checks all rows, and omits duplicates, before the first request.

    **Parameters that differ per row** have names that begin with ``row_``. They are Jinja templates with ``row`` in
    them, rendered for each row: ``row_to="{{ row.phone }}"``,
    ``row_session_metadata={"invoice": "{{ row.invoice }}", "run": "{{ ds }}"}``. Airflow does not render them. They see
    ``row``, ``ds``, ``ts``, ``run_id``, ``params``, ``data_interval_start``, ``macros`` and Airflow's filters, but not
    ``var`` and ``conn``. A template that is a single expression keeps its type, so a number stays a number; columns of
    a CSV file are text. Without a template, a parameter comes from the column of the same name: ``to``,
    ``session_metadata`` and so on.

    Filters read a cell strictly; a value that they cannot read makes a bad row: ``number_br`` (``1.234,56``),
    ``number`` (``1234.56``), ``money`` (``R$ 1.234,56``) and ``date`` (``31/12/2026``). ``float`` and ``int`` are
    strict here, too. ``as_br`` formats a number or a date for customers in Brazil:
    ``R$ {{ row.amount | number | as_br }}``. A cell without a value (empty, ``None``, NaN, NaT, ``<NA>``) makes a bad
    row if a customer would read it, and is ``None`` in metadata; ``| default('cliente')`` sets another text.

    **Exactly once** needs a ledger: Airflow 3.3, or ``[wts] ledger_path``. A task that crashed, or was cleared partway,
    continues with the recipients who did not get the message yet. Only the requests in progress are unconfirmed, and
    one search over the sessions that changed since shows their outcome. Without a ledger, every later try asks about
    all recipients, which takes long and may leave many unconfirmed.

    **Results**: one line per row in ``results_path``, and the counts as the returned value. ``sent`` means that WTS
    Chat accepted the message; later failures show in its status. A failed message is counted. It fails the task only
    beyond ``max_failures``, or if nobody was reached. The manifest exists before the first request, and shows where the
    results are until they are complete, so a task that was killed has outcomes, too.

    **Clearing** a campaign that *succeeded* sends to **everybody** again, even if some messages failed; with
    ``on_clear="continue"``, it sends only to those whose message failed. Clearing a campaign that *failed* or was
    stopped continues it: it sends to those who were not reached yet, and to those whose message failed. An Airflow
    retry does not repeat failed messages.

    :param recipients: list of objects or numbers, its JSON text, or the output of a task, which may be a data frame. A
        number without a country code is taken as Brazilian. Give exactly one of this, ``recipients_path`` and
        ``recipients_sql`` (templated).
    :param recipients_path: CSV, JSON Lines, Excel (extra ``excel``) or Parquet file (extra ``parquet``) at any
        ``ObjectStoragePath``. CSV and JSON Lines may be compressed with gzip. The first line of a CSV file names the
        columns (templated).
    :param recipients_format: ``csv``, ``jsonl``, ``xlsx`` or ``parquet``; inferred from the file name if omitted
        (templated).
    :param recipients_encoding: encoding of a CSV or JSON Lines file, such as ``cp1252``, ``latin-1`` or ``utf-16``.
        Default: UTF-8 (templated).
    :param recipients_sheet: sheet of an Excel file. Default: the only visible sheet with content (templated).
    :param recipients_sql: query for the recipients, or a ``.sql`` file. It runs once: its rows are stored beside the
        results for later tries. Only a clear that sends again runs it again. Needs the extra ``sql`` (templated).
    :param row_to: template of the recipient: phone number in any common format, or ``@handle``.
    :param row_key: template of the key that identifies a row in the results and outcomes, such as ``{{ row.id }}``:
        unique, at most 255 characters, or else the row is bad. Default: the recipient, or ``line:17`` for a bad row.
    :param on_bad_row: ``fail`` (default): one bad row, and nothing is sent to anybody; the error lists the rows.
        ``skip``: bad rows are listed in the results, and the others get their message (templated).
    :param channel: channel to send from: its name, ID, number or ``@handle``; default: the connection's channel
        (templated).
    :param callback_url: URL that WTS Chat calls for each message that goes out or fails (templated).
    :param results_path: file for the results, one JSON object per line: ``line``, ``to``, ``status`` (``sent``,
        ``failed``, ``skipped``, ``holdout``, ``undecided``, ``not_sent``, ``bad_row``, ``duplicate``), ``reason``,
        ``id``, ``api_status``, ``session_id``, and ``row_key`` if given. A manifest with the counts is beside it, with
        ``.manifest.json`` appended to the name. The counts also go into the events of the task's ``outlets``. Default:
        a file in the folder ``[wts] results_path``, if that is set. Without either, only the first 20 recipients who
        were not reached are named, in the log and in the returned value (templated).
    :param results_table: table that also gets the results; created on PostgreSQL, MariaDB, MySQL and SQLite. Needs
        ``results_path``, or ``[wts] results_path``, and the extra ``sql`` (templated).
    :param results_conn_id: ID of the Airflow connection of its database (templated).
    :param max_failures: number of failed messages beyond which the task stops and fails: a count, or a share of the
        recipients such as ``0.05`` or ``"5%"``. ``None``: stop if 500 in a row are refused (templated).
    :param holdout: share of people who deliberately get no message, such as ``0.1`` or ``"10%"``, to measure the effect
        of the campaign. A hash of ``holdout_key`` and the person selects them: the same people in every run, after a
        clear, and on every machine. Their status is ``holdout`` (templated).
    :param holdout_key: tasks with the same key and share hold out the same people; another key draws another group.
        Default: ``<dag_id>.<task_id>`` (templated).
    :param max_per_minute: maximum number of messages per minute, evenly spaced, so that agents keep up with the
        replies. Requests then have fewer recipients (templated).
    :param stop_variable: name of an Airflow Variable. If it is set to anything but blank, ``0``, ``false``, ``no`` or
        ``off``, the campaign stops after the requests in progress; the other recipients are ``not_sent`` in the
        results. To continue, unset it and clear the task. Marking the task as failed also stops it (templated).
    :param chunk_size: recipients per request, 1 to 100. Two requests are in progress at a time, so twice as many
        recipients may be unconfirmed after a crash.
    :param progress_interval: seconds between two progress lines in the log; ``None`` for none.
    :param kwargs: see :class:`WtsSendingOperator`: ``dry_run``, ``not_after``, ``send_window``, ``outside_window``,
        ``exclude_tags``, ``exclude_blocked``, ``allow_backfill``, ``on_unknown``, ``on_clear``, ``deferrable``.
        ``send_window`` and ``not_after`` are checked before each chunk: if the window closes, the campaign waits until
        it opens, or with ``outside_window="skip"`` ends. Tags and blocks take a few extra requests for the whole
        campaign. With ``on_unknown="fail"``, the campaign leaves out the unconfirmed recipients, continues with the
        others, and fails at the end.
    :return: counts by ``recipients``, ``sent``, ``failed``, ``skipped``, ``holdout``, ``undecided``, ``not_sent``,
        ``bad_rows`` and ``duplicates``; how many recipients each of the ``rules`` refused; ``results_path``,
        ``manifest_path``, why it was ``stopped``, and ``not_reached``: the first 20 recipients who were not reached,
        with the reason.
    :raises AirflowFailException: when the input is invalid, too many messages failed, nobody was reached, somebody is
        unconfirmed, or the API refuses.
    :raises AirflowSkipException: when there are no rows, or ``not_after`` or ``send_window`` let nothing go out.
    """

    never_blank: ClassVar[frozenset[str]] = WtsSendingOperator.never_blank | {
        *("max_failures", "holdout", "holdout_key", "max_per_minute", "stop_variable")
    }
    sql_files: ClassVar[frozenset[str]] = WtsSendingOperator.sql_files | WtsQueryOperator.sql_files
    not_templated = frozenset({"chunk_size", "progress_interval"})

    def __init__(
        self,
        *,
        recipients: Any = UNSET,
        recipients_path: str | None = None,
        recipients_format: str | None = None,
        recipients_encoding: str | None = None,
        recipients_sheet: str | None = None,
        row_to: str | None = None,
        row_key: str | None = None,
        on_bad_row: str = "fail",
        channel: str | None = None,
        callback_url: Missing[str] = UNSET,
        results_path: str | None = None,
        results_table: str | None = None,
        results_conn_id: str | None = None,
        max_failures: float | str | None = None,
        holdout: float | str | None = None,
        holdout_key: str | None = None,
        max_per_minute: int | str | None = None,
        stop_variable: str | None = None,
        chunk_size: int = 100,
        progress_interval: float | None = 30.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.recipients = recipients
        self.recipients_path = recipients_path
        self.recipients_format = recipients_format
        self.recipients_encoding = recipients_encoding
        self.recipients_sheet = recipients_sheet
        self.row_to = row_to
        self.row_key = row_key
        self.on_bad_row = on_bad_row
        self.channel = channel
        self.callback_url = callback_url
        self.results_path = results_path
        self.results_table = results_table
        self.results_conn_id = results_conn_id
        self.max_failures = max_failures
        self.holdout = holdout
        self.holdout_key = holdout_key
        self.max_per_minute = max_per_minute
        self.stop_variable = stop_variable
        self.chunk_size = chunk_size
        self.progress_interval = progress_interval

    def __setattr__(self, name: str, value: Any) -> None:
        _refuse_output_of_task(name, value)
        super().__setattr__(name, value)

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Return a task to be mapped, as Airflow does; the output of a task is no template of rows."""
        for name, value in kwargs.items():
            _refuse_output_of_task(name, value)
        return super().partial(**kwargs)

    def message_kind(self, chunk_size: int) -> MessageKind:
        """Look up names, and return the kind of message."""
        raise NotImplementedError

    def row_templates(self) -> dict[str, Any]:
        """Return the templates of rows, by parameter."""
        return {name.removeprefix("row_"): text for name, text in vars(self).items() if name.startswith("row_")}

    def row_checks(self) -> dict[str, Callable[[Any], Any]]:
        """Return the checks of a row's values, by parameter; called after :meth:`message_kind`."""
        return {}

    def row_check_settings(self) -> Any:
        """Return what the checks of rows depend on, besides the task's parameters."""
        return None

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow_provider_wts.campaigns.checked_rows import CheckedRows
        from airflow_provider_wts.campaigns.results import MAX_NAMED
        from airflow_provider_wts.campaigns.run import Campaign
        from airflow_provider_wts.sending.ledger import Ledger, open_ledger
        from airflow_provider_wts.sending.pace import Pace

        with task_failures(), ExitStack() as stack:
            self.refuse_vanished()
            dry_run = parameters.flag("dry_run", self.is_dry_run) is True
            if not dry_run:
                self.refuse_backfill(context)
            policies = {"on_unknown": self.on_unknown, "on_clear": self.on_clear}
            resumed = self.is_resumed(context)
            conn_id = self.hook.wts_conn_id
            # Before anything that can wait, because only the try that opens it last may send.
            ledger = (
                Ledger(None, max_tries=0, wts_conn_id=conn_id)
                if dry_run
                else open_ledger(context, wts_conn_id=conn_id, resumed=resumed, **policies)
            )
            chunk_size = int(parameters.whole("chunk_size", self.chunk_size, least=1, most=100) or 100)
            if self._per_minute:
                chunk_size = min(chunk_size, Pace(self._per_minute).most_at_once)
            results = self._results(context)
            kind = self.message_kind(chunk_size)
            query = self._query()
            snapshot = None
            if query is not None:
                address = results.address if results is not None else None
                found = self.snapshot(query, context, ledger, results=address, lasting=not dry_run)
                snapshot = stack.enter_context(found)
            checked_rows = CheckedRows(ledger, results.address) if results is not None and ledger.is_kept else None
            recipients = stack.enter_context(self._recipients(context, snapshot, checked_rows))
            if not recipients.rows:
                nobody = "Nothing was sent: there are no recipients, only an empty list or a header."
                self.log.warning(nobody)
                raise AirflowSkipException(nobody)
            campaign = Campaign(
                self, context, kind, recipients, chunk_size,
                results=results, ledger=ledger, checked_rows=checked_rows, has_snapshot=snapshot is not None,
            )  # fmt: skip
            if recipients.bad_rows and not self._skips:
                campaign.refuse_bad_rows(rehearsal=dry_run)
            self.log.info(
                "%s recipients. Left out: %s duplicates, %s bad rows.",
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
                    "results_path: is not set. Only the first %s recipients who were not reached will be named, in the "
                    "log and in the returned value. [wts] results_path sets a folder for all campaigns.",
                    MAX_NAMED,
                )
            if snapshot is not None:
                snapshot.keep()
            if checked_rows is not None:
                checked_rows.keep(recipients)
            return campaign.run()

    def rendered(self, recipient: Recipient) -> str | None:
        """Return the text that a recipient would read; ``None`` if only WTS Chat knows it."""
        return None

    def rules(self, context: Context, *, sleep: Callable[[float], None]) -> list[Rule]:
        """Return the rules about who gets a message, in the order in which they are asked.

        :param sleep: waits; an exception it raises ends the wait.
        """
        from airflow_provider_wts.sending.pace import Pace
        from airflow_provider_wts.sending.rules import Exclusions

        tags = parameters.texts("exclude_tags", self.exclude_tags) or []
        # The holdout is drawn from those who would get the message.
        return [
            Exclusions(self.hook, tags, blocked=self.excludes_blocked, sleep=sleep),
            *([Pace(self._per_minute, sleep=sleep)] if self._per_minute else []),
            *self.recipient_rules(alone=False),
            *self._holdout(context),
        ]

    def minutes_of(self, messages: int) -> float | None:
        """Return the minutes that this many messages take at least; ``None`` without ``max_per_minute``."""
        return round(messages / self._per_minute, 1) if self._per_minute else None

    @cached_property
    def _per_minute(self) -> int | None:
        per_minute = parameters.whole("max_per_minute", self.max_per_minute, least=1)
        return per_minute if isinstance(per_minute, int) else None

    def _holdout(self, context: Context) -> list[Rule]:
        from airflow_provider_wts.sending.holdout import Holdout, share_of

        share, key = share_of(self.holdout), parameters.filter_text("holdout_key", self.holdout_key)
        if key and parameters.missing(self.holdout):
            raise WtsInvalidRequestError(
                "holdout_key: has no effect without holdout. Nothing was sent. Set holdout, or leave the key out. "
                "Example: holdout=0.1."
            )
        task = context["ti"]
        return [Holdout(share, key or f"{task.dag_id}.{task.task_id}")] if share else []

    def _results(self, context: Context) -> ResultsFile | None:
        from airflow_provider_wts.campaigns.results import ResultsFile, default_address
        from airflow_provider_wts.campaigns.sent import KEY, RESULT_COLUMNS
        from airflow_provider_wts.hooks.context import TaskIdentity
        from airflow_provider_wts.hooks.tables import table_of

        given = (self.results_table, self.results_conn_id)
        table = table_of(("results_table", "results_conn_id"), given, RESULT_COLUMNS, KEY)
        folder = conf.get("wts", "results_path", fallback="").strip()
        if not parameters.missing(self.results_path):
            results = ResultsFile(str(self.results_path).strip(), table)
            results.check_place(TaskIdentity.of(context["ti"]))
            return results
        if folder:
            return ResultsFile(default_address(folder, context["ti"]), table)
        if table is not None:
            raise WtsInvalidRequestError(
                "results_table: needs a file for the results, too. Nothing was sent. Set results_path or "
                "[wts] results_path. Example: 's3://aws_default@bucket/campaign/{{ ds }}.jsonl'."
            )
        return None

    def _query(self) -> Query | None:
        """Return the query; ``None`` if the recipients are in a list or file."""
        query = self.query()
        given = not is_missing(self.recipients), not parameters.missing(self.recipients_path), query is not None
        if not any(given) and self.recipients is not UNSET:
            raise WtsInvalidRequestError(
                f"recipients: the value was {quoted(self.recipients)}. Nothing was sent. Check the task that returns "
                "the list: it returned nothing, or used another XCom key."
            )
        if sum(given) != 1:
            raise WtsInvalidRequestError(
                "recipients, recipients_path, recipients_sql: give exactly one of them. Nothing was sent."
            )
        return query

    def _recipients(self, context: Context, snapshot: Snapshot | None, checked_rows: CheckedRows | None) -> Recipients:
        from airflow_provider_wts.campaigns import recipients
        from airflow_provider_wts.campaigns.recipients import Recipients, RowPlan, checked
        from airflow_provider_wts.campaigns.row_templates import RowTemplates

        seen = {name: context[name] for name in _FROM_CONTEXT if name in context}  # type: ignore[literal-required]
        templates = RowTemplates(self.get_template_env(), seen)
        plan = RowPlan(templates, self.row_templates(), self.row_checks(), self.hook.recipient, skips=self._skips)
        path = str(self.recipients_path).strip()
        options: list[Any] = []
        if snapshot is not None:
            rows = snapshot.rows()
        elif parameters.missing(self.recipients_path):
            # A list is in memory, so it is short.
            return Recipients(checked(recipients.listed(self.recipients), plan))
        else:
            file_format = parameters.filter_choice("recipients_format", self.recipients_format, recipients.FORMATS)
            encoding = parameters.filter_text("recipients_encoding", self.recipients_encoding)
            sheet = parameters.filter_text("recipients_sheet", self.recipients_sheet)
            rows = recipients.in_file(path, file_format or None, encoding=encoding or None, sheet=sheet or None)
            options = [path, file_format, encoding, sheet]
        if checked_rows is not None:
            # Before the rows are read, so that a file that changes meanwhile does not count as unchanged.
            source = snapshot.checksum if snapshot is not None else recipients.checksum_of(path)
            found = checked_rows.found([source, *options, *self._what_decides_checks(context)])
            if found is not None:
                if snapshot is not None:
                    snapshot.check()
                return found
        return Recipients(checked(rows, plan))

    @property
    def _skips(self) -> bool:
        """Whether bad rows are skipped."""
        return parameters.filter_choice("on_bad_row", self.on_bad_row, ("fail", "skip")) == "skip"

    def _what_decides_checks(self, context: Context) -> list[Any]:
        """Return everything that affects the checks of a row, besides the row itself."""
        dag = self.get_dag()
        has_code = dag is not None and (dag.user_defined_filters or dag.user_defined_macros)
        ours = type(self).__module__.startswith(f"{__name__.partition('.')[0]}.")
        return [
            __version__,
            f"{type(self).__module__}.{type(self).__qualname__}",
            self.row_templates(),
            self.row_check_settings(),
            self._skips,
            sorted(self.hook.connection.allowed_recipients),
            dict(context.get("params") or {}),
            # Code in the DAG may have been fixed before somebody cleared the task.
            None if ours and not has_code else context["ti"].max_tries,
        ]


class WtsSendChatbotBatchOperator(WtsBatchOperator):
    """Start a chatbot for many recipients, 100 per request.

    Calls ``queue_chatbot_batch``. For the recipients and the shared parameters, from ``recipients`` to
    ``max_failures``, see :class:`WtsBatchOperator`.

    WTS Chat queues the starts, so a bot that it does not start because of ``skip_if_...`` counts as ``sent``.

    :param chatbot: name or key of the bot (templated).
    :param row_session_metadata: template of the object stored with the session.
    :param row_contact_metadata: template of the object stored with the contact.
    :param force_start_session: end the session in progress and open a new one (templated).
    :param skip_if_bot_in_execution: do not start the bot while another bot runs in the session (templated).
    :param skip_if_in_progress: do not start the bot while a session is in progress (templated).
    :param hidden_session: if this send opens a session, keep it hidden until the contact replies (templated).
    :param mark_session: add an entry ``airflow_send_...`` to the session's metadata, so that a send can be found after
        a crash. Without it, a chunk that a crash interrupts stays unconfirmed.
    :return: the counts.
    """

    not_templated = frozenset({"mark_session"})

    def __init__(
        self,
        *,
        chatbot: str,
        row_session_metadata: Mapping[str, Any] | str | None = None,
        row_contact_metadata: Mapping[str, Any] | str | None = None,
        force_start_session: Missing[bool | str] = UNSET,
        skip_if_bot_in_execution: Missing[bool | str] = UNSET,
        skip_if_in_progress: Missing[bool | str] = UNSET,
        hidden_session: Missing[bool | str] = UNSET,
        mark_session: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.chatbot = chatbot
        self.row_session_metadata = row_session_metadata
        self.row_contact_metadata = row_contact_metadata
        self.force_start_session = force_start_session
        self.skip_if_bot_in_execution = skip_if_bot_in_execution
        self.skip_if_in_progress = skip_if_in_progress
        self.hidden_session = hidden_session
        self.mark_session = mark_session

    def message_kind(self, chunk_size: int) -> ChatbotKind:
        from airflow_provider_wts.campaigns.message_kinds import ChatbotKind

        name = parameters.needed_name("chatbot", self.chatbot)
        flags = bot_flags(self)
        callback_url = parameters.url("callback_url", self.callback_url)
        channel = self.hook.channel(self.channel)
        return ChatbotKind(
            self.hook.names.chatbot(name),
            channel,
            flags,
            request_size=chunk_size,
            callback_url=callback_url,
            mark_session=self.mark_session,
        )

    def row_checks(self) -> dict[str, Callable[[Any], Any]]:
        return {"session_metadata": _metadata("session_metadata"), "contact_metadata": _metadata("contact_metadata")}


def bot_flags(operator: Any) -> BotOptions:
    """Return what happens to the session in which an operator starts a bot."""
    names = ("skip_if_bot_in_execution", "skip_if_in_progress", "force_start_session", "hidden_session")
    flags = {name: parameters.flag(name, getattr(operator, name)) for name in names}
    if flags["force_start_session"] is True and flags["skip_if_in_progress"] is True:
        raise WtsInvalidRequestError(
            "force_start_session: contradicts skip_if_in_progress, and the API does not document which one wins. "
            "Nothing was sent. Set one of them."
        )
    return cast("BotOptions", flags)


class MessageBatch(WtsBatchOperator):
    """Base of the operators that send a template or a text to many recipients.

    :param department: name or ID of the department that gets the sessions (templated).
    :param user: name, ID, email address or phone number of the user who gets the sessions (templated).
    :param hidden_session: if this send opens a session, keep it hidden until the contact replies (templated).
    :param force_start_session: end the session in progress and open a new one (templated).
    :param enable_bot: if this send opens a session, let the channel's bot start when the contact replies (templated).
    """

    def __init__(
        self,
        *,
        department: str | None = None,
        user: str | None = None,
        hidden_session: Missing[bool | str] = UNSET,
        force_start_session: Missing[bool | str] = UNSET,
        enable_bot: Missing[bool | str] = UNSET,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.department = department
        self.user = user
        self.hidden_session = hidden_session
        self.force_start_session = force_start_session
        self.enable_bot = enable_bot

    def _session_options(self) -> SendOptions:
        # The user last, because it may take a request, and an invalid value should take none.
        return {**session_options(self), "user": parameters.user(self.user, self.hook.names.user)}


class WtsSendTemplateBatchOperator(MessageBatch):
    """Send a template to many recipients, 100 per request.

    Calls ``send_template_batch``. For the recipients and the shared parameters, from ``recipients`` to
    ``max_failures``, see :class:`WtsBatchOperator`. ``channel`` is required here or in the connection.

    :param template: name or ID of the template (templated).
    :param row_parameters: templates of the values, by the name of the WhatsApp template's variable, such as ``{"nome":
        "{{ row.name }}"}``. Every row is checked against the WhatsApp template before anything is sent.
    :param row_file: template of the file for a WhatsApp template with media: public address, or ID of an uploaded file.
    :param row_session_metadata: template of the object stored with the session.
    :param mark_session: add an entry ``airflow_send_...`` to the session's metadata, so that a send can be found after
        a crash, in addition to ``senderId``.
    :return: the counts.
    """

    not_templated = frozenset({"mark_session"})

    def __init__(
        self,
        *,
        template: str,
        row_parameters: Mapping[str, Any] | str | None = None,
        row_file: str | None = None,
        row_session_metadata: Mapping[str, Any] | str | None = None,
        mark_session: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.template = template
        self.row_parameters = row_parameters
        self.row_file = row_file
        self.row_session_metadata = row_session_metadata
        self.mark_session = mark_session
        self._details: Mapping[str, Any] | None = None

    def message_kind(self, chunk_size: int) -> TemplateKind:
        from airflow_provider_wts.api.answers import required
        from airflow_provider_wts.campaigns.message_kinds import TemplateKind

        name = parameters.needed_name("template", self.template)
        callback_url = parameters.url("callback_url", self.callback_url)
        channel = api.templates.needed_channel(self.hook.channel(self.channel))
        options = self._session_options()
        self._details = self.hook.names.template_details(name, channel)
        if self._details is not None:
            api.templates.check_sendable(self._details)
        return TemplateKind(
            str(required(self._details, "id", "list_templates")) if self._details else name,
            channel,
            options,
            request_size=chunk_size,
            callback_url=callback_url,
            mark_session=self.mark_session,
        )

    def row_checks(self) -> dict[str, Callable[[Any], Any]]:
        return {"parameters": self._filling, "file": self._file, "session_metadata": _metadata("session_metadata")}

    def row_check_settings(self) -> Any:
        """Return what the checks of rows depend on: the variables and the file of the template."""
        return [self._details.get(name) for name in ("params", "text", "fileType")] if self._details else None

    def rendered(self, recipient: Recipient) -> str | None:
        """Return the template filled in; ``None`` if the list of templates does not show it."""
        if self._details is None:
            return None
        return api.templates.filled_template(self._details, recipient.values.get("parameters"))

    def _file(self, value: Any) -> str | None:
        found = _file(value)
        if self._details is not None:
            api.templates.check_media(self._details, has_file=found is not None)
        return found

    def _filling(self, value: Any) -> Mapping[str, Any] | None:
        filling = api.templates.template_parameters("parameters", UNSET if value is None else value)
        if self._details is not None:
            api.templates.check_template(self._details, filling)
        return filling or None


class WtsSendTextBatchOperator(MessageBatch):
    """Send a text to many recipients, one request each, as fast as the account's limits allow.

    Calls ``send_text``: the API has no batch request for texts, so 10,000 texts take over 20 minutes. For the
    recipients and the shared parameters, from ``recipients`` to ``max_failures``, see :class:`WtsBatchOperator`.

    On an official WhatsApp channel, a text reaches a contact only within 24 hours of the contact's last message. For
    others, use a template.

    :param row_text: template of the text, such as ``"Olá {{ row.name }}!"``; without it, the column ``text``.
    :param parallelism: number of requests in progress at a time, 1 to 64.
    :param outside_24h: what to do on an official WhatsApp channel with recipients who have no open conversation, or
        have not written in it in the last 24 hours: ``send`` (default) anyway, which WhatsApp may refuse; ``fail``
        counts them as failed, ``skip`` as skipped. Reads the sessions of those 24 hours, 100 per request (templated).
    :param chunk_size: recipients per chunk in the ledger, 1 to 100. After a crash, WTS Chat is asked about at most that
        many, one by one.
    :return: the counts.
    """

    never_blank: ClassVar[frozenset[str]] = WtsBatchOperator.never_blank | {"outside_24h"}

    not_templated = frozenset({"parallelism", "chunk_size"})

    def __init__(
        self,
        *,
        row_text: str | None = None,
        parallelism: int = 16,
        outside_24h: str = "send",
        chunk_size: int = 25,
        **kwargs: Any,
    ) -> None:
        super().__init__(chunk_size=chunk_size, **kwargs)
        self.row_text = row_text
        self._warned = False
        self.parallelism = parallelism
        self.outside_24h = outside_24h

    def message_kind(self, chunk_size: int) -> TextKind:
        from airflow_provider_wts.campaigns.message_kinds import TextKind

        parallelism = parameters.whole("parallelism", self.parallelism, least=1, most=_MOST_PARALLEL)
        callback_url = parameters.url("callback_url", self.callback_url)
        channel, options = self.hook.channel(self.channel), self._session_options()
        return TextKind(channel, options, parallelism=int(parallelism or 1), callback_url=callback_url)

    def recipient_rules(self, *, alone: bool) -> list[Rule]:
        rules = super().recipient_rules(alone=alone)
        return [*rules, *reply_window(self, self.outside_24h, self.hook.channel(self.channel), alone=alone)]

    def row_checks(self) -> dict[str, Callable[[Any], Any]]:
        return {"text": self._text}

    def rendered(self, recipient: Recipient) -> str | None:
        return str(recipient.values["text"])

    def _text(self, value: Any) -> str:
        found = parameters.needed_text("text", value)
        if len(found) > api.sends.MAX_TEXT and not self._warned:
            # Once for all rows, because their texts come from one template.
            self._warned = True
            api.sends.warn_if_long(self.log, "text", found, api.sends.MAX_TEXT)
        return found


def _metadata(name: str) -> Callable[[Any], Any]:
    from airflow_provider_wts.campaigns.missing import with_dates_as_text, without_missing

    def check(value: Any) -> Any:
        if parameters.missing(value):
            return None
        if isinstance(value, str):
            value = parameters.json_text(name, value)
        # Dates in a data file have no time zone, and are sent as they are written.
        return parameters.metadata(name, with_dates_as_text(without_missing(value)))

    return check


def _file(value: Any) -> str | None:
    from airflow_provider_wts.hooks.files import encoded_address

    found: str | Unset = parameters.filter_text("file", value)
    if not isinstance(found, str):
        return None
    if not is_uuid(found) and not found.lower().startswith(("http://", "https://")):
        raise WtsInvalidRequestError(
            "file: must be a public address, or the ID of a file that WtsUploadFileOperator uploaded."
        )
    return found if is_uuid(found) else encoded_address(found)


#: What row templates see besides ``row``.
_FROM_CONTEXT = (
    *("ds", "ds_nodash", "ts", "ts_nodash", "logical_date", "data_interval_start", "data_interval_end", "run_id"),
    *("dag_run", "params", "macros", "task", "ti"),
)


def _refuse_output_of_task(name: str, value: Any) -> None:
    """Refuse the output of a task as a template of rows: it would be text, and this task would not wait for it."""
    if name.startswith("row_") and any(XComArg.iter_xcom_references(value)):
        raise WtsInvalidRequestError(
            f"{name}: a template of rows cannot be the output of a task. Put the value into the rows, and write "
            "{{ row.x }}, or into params, and write {{ params.x }}."
        )


from airflow_provider_wts.operators.campaign_outcome import WtsCampaignOutcomeOperator  # noqa: E402, F401  # offered here
