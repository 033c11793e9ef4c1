"""The outcome of campaigns: who replied, whose conversation ended, and how, as rows that can be written again."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter, deque
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_wts import api
from airflow_provider_wts.api import parameters
from airflow_provider_wts.api.errors import WtsInvalidRequestError, needs_extra, quoted
from airflow_provider_wts.hooks.errors import task_failures
from airflow_provider_wts.hooks.output_files import json_line, output_file, whole_file
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.operators.base import WtsOperator
from airflow_provider_wts.operators.sending import time_trigger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from airflow.sdk import Context, ObjectStoragePath

    from airflow_provider_wts.hooks.tables import Table
    from airflow_provider_wts.sending.ledger import Fence

#: Where the ledger names the try that may write.
HOLDER = "wts_outcome_holder"

#: The shortest pause between two passes, and how long Airflow waits for a late trigger.
_LEAST_INTERVAL = timedelta(seconds=10)

_SLACK = timedelta(hours=1)


class WtsCampaignOutcomeOperator(WtsOperator):
    """Follow campaigns, and write the outcome of each row: its conversation, reply, ending and answers.

    Calls ``list_sessions``, and for sends that it does not show, ``get_queued_chatbot_status``,
    ``get_sent_message_status``, ``get_session``, ``list_messages`` and the calls that find a contact.

    Each pass lists the sessions that changed since the previous one, 100 per request, and finds the sends by their
    markers in the session's metadata. Once found, a session is kept by its ID, because a later send may replace its
    metadata. If no list shows a send, the operator requests the send's status, and then the sessions of its contact,
    with at most ``max_lookups`` requests per pass. If it cannot find a send, ``session_id`` stays empty, and the row is
    not ``final``.

    In a session that existed before the send, only a reply and an end after the send count. If a send went into two
    sessions, the newer one counts. A later session of the same contact counts in ``later_sessions``; its replies are
    not attributed to the campaign.

    ``campaign_id`` and ``row_key`` identify a row. Each pass writes the whole row, so running the task again changes no
    count. Between passes and tries, a file whose name ends in ``.state.db`` keeps what was found, beside
    ``outcomes_path`` or beside the results of the first campaign. The campaign's task needs ``results_path`` or ``[wts]
    results_path``. If it was killed, everybody to whom it sent until then has a row.

    :param campaign: output of a batch operator, address of a manifest, a list of either, or the JSON text of one
        (templated).
    :param until: when to stop: a time span since the first send, or a date and time. ``None``: after one pass
        (templated).
    :param needed: stop earlier, when this share (``0.9``) or count of the sent rows has a session with an
        ``ended_status`` (templated).
    :param ended_status: statuses that count as the end of a session (templated).
    :param refresh_interval: time between two passes.
    :param detail: ``sessions``, or ``messages`` to also read the status of each message, one request each. The log
        shows beforehand how long that takes. A later try continues where an earlier one stopped (templated).
    :param answers: keys of the session's metadata to keep; ``None`` for all but markers (templated).
    :param max_lookups: maximum number of requests per pass about single sends and sessions.
    :param outcomes_path: file to write the rows to: ``.jsonl``, ``.csv`` or ``.parquet`` (extra ``parquet``)
        (templated).
    :param outcomes_table: table to write the rows to; created on PostgreSQL, MariaDB, MySQL and SQLite. Needs the extra
        ``sql`` (templated).
    :param outcomes_conn_id: ID of the Airflow connection of its database (templated).
    :param report_path: file for an HTML report with the funnel and charts (templated).
    :param report_language: ``en`` or ``pt`` (templated).
    :param private: show recipients as keyed hashes. The key is ``[wts] hash_key``, or else the API token. ``answers``
        still holds what customers typed.
    :param rate_limit_percent: percentage of the account's rate limits to use, unless the connection allows less.
    :param wts_conn_id: ID of the Airflow connection, of the account that sent the campaigns (templated).
    :param deferrable: wait in the triggerer, without holding a worker slot.
    :return: ``campaign_id`` (a list for several campaigns), ``rows``, ``by_status`` (rows by the status of their
        session, or else of their send), ``final`` (number of final rows), ``path``, ``table``.
    """

    not_templated = frozenset({"refresh_interval", "max_lookups", "rate_limit_percent", "private", "deferrable"})

    def __init__(
        self,
        *,
        campaign: Any,
        until: timedelta | datetime | str | None = None,
        needed: float | str | None = None,
        ended_status: Sequence[str] | str = ("COMPLETED",),
        refresh_interval: timedelta = timedelta(minutes=15),
        detail: str = "sessions",
        answers: Sequence[str] | str | None = None,
        max_lookups: int = 1000,
        outcomes_path: str | None = None,
        outcomes_table: str | None = None,
        outcomes_conn_id: str | None = None,
        report_path: str | None = None,
        report_language: str = "en",
        private: bool = False,
        rate_limit_percent: int = 25,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.campaign = campaign
        self.until = until
        self.needed = needed
        self.ended_status = ended_status
        self.refresh_interval = refresh_interval
        self.detail = detail
        self.answers = answers
        self.max_lookups = max_lookups
        self.outcomes_path = outcomes_path
        self.outcomes_table = outcomes_table
        self.outcomes_conn_id = outcomes_conn_id
        self.report_path = report_path
        self.report_language = report_language
        self.private = private
        self.rate_limit_percent = rate_limit_percent
        self.deferrable = deferrable

    @cached_property
    def hook(self) -> WtsHook:
        """The hook of this task's connection, with its share of the account's limits."""
        percent = int(parameters.whole("rate_limit_percent", self.rate_limit_percent, least=1, most=100) or 25)
        return _WithinPercent(self.wts_conn_id, percent)

    def execute(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Follow the campaigns until the end, and return the counts; the event after a wait says nothing."""
        with task_failures():
            following = _Following(self, _fence(context))
            with following.outcomes:
                while True:
                    following.read()
                    result = following.write()
                    wakes = following.next_pass()
                    if wakes is None:
                        return result
                    self._wait_for(wakes)

    def _wait_for(self, wakes: datetime) -> None:
        self.log.info("The next pass is at %s.", wakes.isoformat(timespec="seconds"))
        wait = wakes - datetime.now(UTC)
        if self.deferrable:
            self.defer(trigger=time_trigger(wakes), method_name="execute", timeout=wait + _SLACK)
        time.sleep(max(0.0, wait.total_seconds()))


class _WithinPercent(WtsHook):
    """A hook that uses only a percentage of the account's limits."""

    def __init__(self, wts_conn_id: str, percent: int) -> None:
        super().__init__(wts_conn_id)
        self._percent = percent

    @cached_property
    def connection(self) -> Any:
        found = super().connection
        return dataclasses.replace(found, rate_limit_percent=min(found.rate_limit_percent, self._percent))


def _fence(context: Context) -> Fence | None:
    """Take over from earlier tries that may still run; ``None`` if this deployment has no ledger."""
    from airflow_provider_wts.hooks.context import TaskIdentity
    from airflow_provider_wts.sending.ledger import Fence, run_of, store_of

    store = store_of(context, TaskIdentity.of(context["ti"]))
    if store is None:
        return None
    try_number = int(context["ti"].try_number or 1)
    fence = Fence(store, try_number=try_number, run=run_of(store, context), name=HOLDER)
    fence.hold()
    return fence


class _Following:
    """One task instance: its checked parameters, and what it has found.

    :param fence: lets only the latest try write.
    """

    def __init__(self, operator: WtsCampaignOutcomeOperator, fence: Fence | None) -> None:
        from airflow_provider_wts.campaigns import report, sent
        from airflow_provider_wts.campaigns.outcomes import EXAMPLE, Outcomes, RowPolicy

        self._operator = operator
        self._fence = fence
        self._log = operator.log
        self._detail = parameters.needed_choice("detail", operator.detail, ("sessions", "messages"))
        self._language = parameters.needed_choice("report_language", operator.report_language, tuple(report.WORDS))
        ended = parameters.choices_of("ended_status", operator.ended_status, api.sessions.SESSION_STATUSES)
        if not isinstance(ended, list) or not ended:
            raise WtsInvalidRequestError("ended_status: is empty. Example: ('COMPLETED',)")
        answers = parameters.texts("answers", operator.answers)
        self._lookups = int(parameters.whole("max_lookups", operator.max_lookups, least=0) or 0)
        if not isinstance(operator.refresh_interval, timedelta):
            raise WtsInvalidRequestError(
                f"refresh_interval: {quoted(operator.refresh_interval)} is not a length of time. "
                "Example: timedelta(minutes=15)"
            )
        self._needed = _needed(operator.needed)
        self._until = self._end()
        self._file = self._output("outcomes_path", operator.outcomes_path)
        if self._file is not None and self._file.suffix not in _WRITERS:
            raise WtsInvalidRequestError(
                f"outcomes_path: {quoted(str(self._file))} must end in .jsonl, .csv or .parquet. Example: {EXAMPLE}"
            )
        self._report = self._output("report_path", operator.report_path)
        self._table = self._open_table()
        campaigns = sent.sent_campaigns(operator.campaign)
        if self._table is not None:
            self._table.check("Nothing was read.")
        base = str(self._file) if self._file is not None else f"{campaigns[0].address}.outcomes"
        kept_at = output_file("outcomes_path", f"{base}.state.db", example=EXAMPLE)
        secret, kept = operator.hook.hash_key, answers if isinstance(answers, list) else None
        self._policy = RowPolicy(kept, ended, secret if operator.private else None)
        self.outcomes = Outcomes(campaigns, kept_at, secret, operator.hook.account)
        self._observed = datetime.now(UTC)
        self._counts = _Counts(ended)

    def _output(self, name: str, value: Any) -> ObjectStoragePath | None:
        from airflow_provider_wts.campaigns.outcomes import EXAMPLE

        return None if parameters.missing(value) else output_file(name, str(value).strip(), example=EXAMPLE)

    def _open_table(self) -> Table | None:
        from airflow_provider_wts.campaigns.outcomes import COLUMNS
        from airflow_provider_wts.campaigns.sent import KEY
        from airflow_provider_wts.hooks.tables import table_of

        given = (self._operator.outcomes_table, self._operator.outcomes_conn_id)
        return table_of(("outcomes_table", "outcomes_conn_id"), given, COLUMNS, KEY)

    def _end(self) -> timedelta | datetime | None:
        until = self._operator.until
        if isinstance(until, timedelta):
            return until
        found = None if parameters.missing(until) else parameters.timestamp("until", until)
        return datetime.fromisoformat(found) if isinstance(found, str) else None

    # A pass ----------------------------------------------------------------------------------------------------------

    def read(self) -> None:
        """Read what happened to the sends since the last pass."""
        from airflow_provider_wts.campaigns.outcome_sweep import DETAILS, WITH_CONTACT, OutcomeSweep

        outcomes = self.outcomes
        if outcomes.cursor is None:
            return
        sweep = OutcomeSweep(self._operator.hook, outcomes, max_lookups=self._lookups)
        changed = sweep.changed(outcomes.cursor, WITH_CONTACT if outcomes.has_holdout else DETAILS)
        outcomes.cursor, self._observed = changed.cursor, changed.begun
        self._check()
        outcomes.keep()
        if self._detail == "messages":
            sweep.messages()
        sweep.lookups()
        if sweep.unknown_sends:
            outcomes.refuse_other_account()
        outcomes.end_pass()
        self._check()
        outcomes.keep()

    def write(self) -> dict[str, Any]:
        """Write the rows to their file and table, and return the counts."""
        from airflow_provider_wts.campaigns.outcomes import EXAMPLE

        counts = self._counts = _Counts(self._policy.ended)
        rows = counts.counted(self._rows())
        if self._file is not None:
            with whole_file(self._file, "outcomes_path", example=EXAMPLE) as file:
                _WRITERS[self._file.suffix](file, rows)
            rows = self._rows()
        if self._table is not None:
            written = self.outcomes.write_into(self._table, rows, self._policy)
            self._log.info("%s rows of %s are new or changed.", f"{written:,}", self._table.name)
        # Rows that nothing has read yet are counted here.
        deque(rows if self._table is None and self._file is None else (), maxlen=0)
        for line in counts.funnel.text():
            self._log.info(line)
        ids = self.outcomes.ids
        if self._report is not None:
            with whole_file(self._report, "report_path", example=EXAMPLE) as file:
                file.write(counts.funnel.html(self._language, ids, self._observed).encode())
        return {
            "campaign_id": ids[0] if len(ids) == 1 else ids,
            "rows": counts.by_status.total(),
            "by_status": dict(counts.by_status),
            "final": counts.final,
            "path": str(self._file) if self._file is not None else None,
            "table": self._table.name if self._table is not None else None,
        }

    def _rows(self) -> Iterator[dict[str, Any]]:
        yield from self.outcomes.rows(self._policy, self._observed)
        self._check()

    def _check(self) -> None:
        # A try that froze before this point would replace what its successor wrote.
        if self._fence is not None:
            self._fence.check()

    def next_pass(self) -> datetime | None:
        """Return when the next pass begins; ``None`` if this was the last one."""
        now, until, counts = datetime.now(UTC), self._until, self._counts
        deadline = (self.outcomes.begun or now) + until if isinstance(until, timedelta) else until
        if deadline is None or now >= deadline or not counts.open:
            return None
        if self._needed is not None and counts.ended >= self._needed(counts.sent):
            return None
        return min(deadline, now + max(self._operator.refresh_interval, _LEAST_INTERVAL))


class _Counts:
    """Counts the rows of a pass as they are written."""

    def __init__(self, ended: Collection[str]) -> None:
        from airflow_provider_wts.campaigns.report import Funnel

        self._ended = ended
        self.funnel = Funnel()
        self.by_status = Counter[str]()
        #: Rows that are final; of the sends, those that are not, those that went out, and those whose session ended.
        self.final = self.open = self.sent = self.ended = 0

    def counted(self, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Count rows as they pass by."""
        for row in rows:
            self.funnel.add(row)
            self.by_status[row["session_status"] or row["send_status"]] += 1
            self.final += row["final"]
            self.open += row["sent_at"] is not None and not row["final"]
            if row["send_status"] == "sent":
                self.sent += 1
                self.ended += row["final"] and row["session_status"] in self._ended
            yield row


def _needed(value: Any) -> Callable[[int], float] | None:
    """Return how many of the sent rows are needed, given how many there are."""
    if parameters.missing(value):
        return None
    number, text = parameters.fraction(value), str(value).strip()
    share = text.endswith("%") or "." in text
    if not 0 <= number < float("inf") or (share and number > 1):
        raise WtsInvalidRequestError(
            f"needed: {quoted(value)} is neither a count nor a share of the sent rows. Example: 500, 0.9 or '90%'"
        )
    return lambda sent: number * sent if share else number


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value


def _jsonl(file: Any, rows: Iterator[dict[str, Any]]) -> None:
    for row in rows:
        file.write(json_line(row, _plain))


def _csv(file: Any, rows: Iterator[dict[str, Any]]) -> None:
    import csv
    import io

    from airflow_provider_wts.campaigns.outcomes import COLUMNS

    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_plain(row[name]) for name in COLUMNS])
    text.detach()


def _parquet(file: Any, rows: Iterator[dict[str, Any]]) -> None:
    from itertools import islice

    from airflow_provider_wts.campaigns.outcomes import COLUMNS

    with needs_extra("outcomes_path", "pyarrow", "parquet", ", or write a .jsonl file"):
        import pyarrow as arrow
        from pyarrow import parquet
    types = {
        "count": arrow.int64(),
        "flag": arrow.bool_(),
        "time": arrow.timestamp("us", tz="UTC"),
        "number": arrow.float64(),
    }
    schema = arrow.schema([(name, types.get(kind, arrow.string())) for name, kind in COLUMNS.items()])
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for first in rows:
            writer.write_table(arrow.Table.from_pylist([first, *islice(rows, 9999)], schema=schema))


_WRITERS = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
