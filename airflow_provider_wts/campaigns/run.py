"""One run of a campaign: chunk by chunk, each recipient exactly once in all tries of the task.

The intents of a chunk are written to the ledger before its requests, and the answers after them. So a crash leaves at
most one chunk with an unknown outcome, which one reconciliation settles.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import threading
from contextlib import nullcontext, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred

from airflow_provider_wts.api import parameters
from airflow_provider_wts.api.errors import WtsInvalidRequestError, WtsNotSentError, quoted
from airflow_provider_wts.api.messages import has_failed
from airflow_provider_wts.campaigns.delivery import MAX_REFUSALS_IN_A_ROW, Delivery
from airflow_provider_wts.campaigns.earlier import EarlierSends, Fingerprint
from airflow_provider_wts.campaigns.recipients import Send, SkippedRow
from airflow_provider_wts.campaigns.results import Progress, Result
from airflow_provider_wts.campaigns.stop import StopVariable
from airflow_provider_wts.hooks.context import TaskIdentity, earliest_start
from airflow_provider_wts.hooks.metrics import count_send
from airflow_provider_wts.hooks.termination import Terminated, Termination
from airflow_provider_wts.sending import clock, reconcile
from airflow_provider_wts.sending.key import Mark, campaign_id, send_key
from airflow_provider_wts.sending.ledger import deployment
from airflow_provider_wts.sending.reconcile import Finding, SearchResult, Unanswered
from airflow_provider_wts.sending.resend import UnknownOutcome
from airflow_provider_wts.sending.rules import HeldBack, Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow.sdk import Context

    from airflow_provider_wts.campaigns.checked_rows import CheckedRows
    from airflow_provider_wts.campaigns.message_kinds import MessageKind
    from airflow_provider_wts.campaigns.recipients import Recipient, Recipients
    from airflow_provider_wts.campaigns.results import ResultsFile
    from airflow_provider_wts.hooks.wts import WtsHook
    from airflow_provider_wts.sending.ledger import Ledger, LedgerEntry, Page
    from airflow_provider_wts.sending.rules import Refusal, Rule, SendTimes


log = logging.getLogger(__name__)

T = TypeVar("T")

#: Ledger pages per checkpoint, after which a later try can continue without reading the pages before.
PAGES_PER_CHECKPOINT = 10

#: Messages that a dry run shows.
_SAMPLE_SIZE = 3

#: Seconds to wait for answers when Airflow ends the task, and when a person stops it. Airflow 3 kills it after 5.
_PATIENCE_OF_AIRFLOW = 2.0
_PATIENCE = 20.0

_IN_PROGRESS = "the task was killed during the request"

#: Difference in seconds below which the server's clock, as HTTP dates show it, counts as equal.
_CLOCK_PRECISION = 2.0


class _Task(Protocol):
    """What a campaign needs from its operator."""

    on_unknown: Any
    progress_interval: Any
    max_failures: Any
    stop_variable: Any
    outlets: Any
    do_xcom_push: Any

    @property
    def hook(self) -> WtsHook: ...

    @property
    def log(self) -> Any: ...

    def send_times(self) -> SendTimes: ...

    def rules(self, context: Context, *, sleep: Callable[[float], None]) -> list[Rule]: ...

    def wait_for(self, opening: datetime, *, may_defer: bool, sleep: Callable[[float], None]) -> None: ...

    def minutes_of(self, messages: int) -> float | None: ...

    def rendered(self, recipient: Recipient) -> str | None: ...


class Campaign:
    """One run of the task.

    :param chunk_size: recipients per request, or per ledger page if a request takes only one.
    :param checked_rows: the file with the checked rows for later tries; removed when the campaign ends.
    :param has_snapshot: whether all tries have the rows that a query returned in the first one.
    """

    def __init__(
        self,
        operator: _Task,
        context: Context,
        kind: MessageKind,
        recipients: Recipients,
        chunk_size: int,
        *,
        results: ResultsFile | None,
        ledger: Ledger,
        checked_rows: CheckedRows | None = None,
        has_snapshot: bool = False,
    ) -> None:
        self.ledger = ledger
        self._operator = operator
        self._context = context
        self._hook = operator.hook
        self._kind = kind
        self._recipients = recipients
        # All requests that are in progress at a time are on one page.
        self._chunk_size = chunk_size * (kind.parallelism if kind.request_size > 1 else 1)
        self._results = results
        self._checked_rows = checked_rows
        self._has_snapshot = has_snapshot
        self._log = operator.log
        self._task = TaskIdentity.of(context["ti"])
        self._unknown_outcome = UnknownOutcome(self._task, operator.on_unknown)
        self._max_tries = context["ti"].max_tries
        self._earliest = earliest_start(context)
        # An invalid setting must fail the task before anything is sent.
        self._lag = reconcile.effect_lag(self._hook.client.timeout)
        self._delivery = Delivery(self._hook, kind, ledger, self.patience)
        self._earlier = EarlierSends()
        self._rows = Fingerprint(self.ledger.wts_conn_id)
        #: Sends of earlier tries whose recipients have not come up yet in this one.
        self._unmatched = 0
        self._checkpoint_at = 0
        self._last_sent_at: tuple[Page | None, str] = (None, "")
        self._undecided: dict[str, str] = {}
        self._rules_begun = False
        self._unknown_since: dict[str, datetime] = {}
        #: Why nothing more may be sent.
        self.stopped = ""
        interval = parameters.number("progress_interval", operator.progress_interval, least=0)
        seconds = interval if isinstance(interval, (int, float)) else math.inf
        self._progress = Progress(recipients.count, operator.log, seconds, results)
        self._failure_limit = failure_limit(operator.max_failures, recipients.count)
        self._times = operator.send_times()
        self._stop = StopVariable(str(parameters.filter_text("stop_variable", operator.stop_variable) or ""))
        self._termination = Termination()
        self._is_interruptible = False
        self.rules = Rules(operator.rules(context, sleep=self._pause))

    def refuse_bad_rows(self, *, rehearsal: bool) -> None:
        """Refuse the campaign because of its bad rows, after writing all of them to the results.

        The results still include what earlier tries sent.

        :param rehearsal: whether this is a dry run, which writes no results.
        """
        where = ""
        if not rehearsal:
            self.stopped = f"{self._recipients.bad_rows:,} of {self._recipients.rows:,} rows are bad"
            with self._results or nullcontext():
                self._begin()
                self.send_all()
                self._publish(self._summary(), self.stopped)
            where = f" All of them are in {self._results.address}." if self._results is not None else ""
        tried = sum(self._progress.counts.values()) - self._progress.counts["not_sent"]
        self._recipients.refuse_bad_rows(where, sent_before=tried > 0)

    def rehearse(self) -> dict[str, Any]:
        """Do everything except send, and return what would happen."""
        to_send = 0
        shown: list[Recipient] = []
        entries = self._recipients.entries()
        while rows := list(islice(entries, self._chunk_size)):
            left: dict[str, Recipient] = {}
            for row in rows:
                if isinstance(row, SkippedRow):
                    self._progress.skip(row)
                elif (refusal := self.rules.refusal(row.to)) is not None:
                    self._progress.report(row, self._refused(refusal))
                else:
                    left[self._send_to(row).mark.key] = row
            refused = self.rules.would_take({key: row.to for key, row in left.items()})
            for key, row in left.items():
                if key in refused:
                    self._progress.report(row, self._refused(refused[key]))
                else:
                    to_send += 1
                    shown += [row] if len(shown) < _SAMPLE_SIZE else []
        now = datetime.now(UTC)
        opening, stopped = now, None
        try:
            opening = self._times.opening(now)
        except HeldBack as held_back:
            stopped = str(held_back)
        self._log.info(
            "Dry run: nothing was sent. Messages would go to %s recipients.", f"{0 if stopped else to_send:,}"
        )
        self._progress.log_not_reached()
        requests = [self._request(recipient) for recipient in shown]
        return {
            "dry_run": True,
            "recipients": self._recipients.count,
            "to_send": 0 if stopped else to_send,
            **{status: self._progress.counts[status] for status in ("skipped", "failed", "holdout")},
            "rules": self._progress.by_rule,
            "bad_rows": self._recipients.bad_rows,
            "duplicates": self._recipients.duplicates,
            "requests": -(-to_send // self._kind.request_size),
            "minutes": self._operator.minutes_of(to_send),
            "first_request": next(iter(requests), None),
            "messages": [
                {
                    "line": recipient.line,
                    "to": recipient.to,
                    "text": self._operator.rendered(recipient),
                    "request": request["body"],
                }
                for recipient, request in zip(shown, requests, strict=True)
            ],
            "not_reached": self._progress.not_reached(),
            "waits_until": opening.isoformat() if opening > now else None,
            "stopped": stopped,
        }

    def _request(self, recipient: Recipient) -> dict[str, Any]:
        """Return the request for one recipient alone."""
        call = self._kind.call([self._send_to(recipient)])
        return {"operation_id": call.operation_id, "path": call.url_path, "body": call.json_body}

    def run(self) -> dict[str, Any]:
        """Send, and return the counts."""
        with self._termination, self._hook.client.ended_by(self.check, self._pause):
            return self._run()

    def _begin(self) -> None:
        """Record what is known before the first request."""
        for row in self._recipients.skipped():
            self._progress.skip(row)
        # A try that froze here would show its own results in place of its successor's.
        self.ledger.check()
        if self._results is not None:
            where = {"results_path": self._results.address, "manifest_path": self._results.manifest_address}
            self._results.begin({**self._about(), **where})
            if self._operator.do_xcom_push:
                # If the task is killed, this is all that downstream tasks get.
                self._context["ti"].xcom_push(key="return_value", value={**where, "complete": False})

    def _run(self) -> dict[str, Any]:
        self._begin()
        try:
            self.send_all()
        except TaskDeferred:
            raise
        except Exception as error:
            self._progress.log_not_reached()
            if sent := self._progress.counts["sent"]:
                # The error speaks of one request or one chunk.
                error.add_note(
                    f"Before this error, the message went to {sent:,} of {self._recipients.count:,} recipients. A "
                    "retry or a clear of this task continues with the others; a new campaign would message everybody."
                )
            raise
        problem, finished = self._problem(), False
        try:
            summary = self._summary()
            self._publish(summary, problem)
            finished = not problem
        finally:
            # Last: clearing a finished campaign sends everything again, so it must not fail after this.
            self.close(finished=finished)
        if self._checked_rows is not None and self.ledger.finished:
            self._checked_rows.drop()
        return self._end(summary, problem)

    # Chunk by chunk --------------------------------------------------------------------------------------------------

    def _pause(self, seconds: float) -> None:
        clock.sleep(seconds, self.check)

    def send_all(self) -> None:
        """Send to everybody who did not get the message yet, and report each outcome.

        :raises WtsError: when another try must continue; the ledger shows what was sent.
        """
        chunk: list[Send] = []
        try:
            self._resume()
            for recipient in islice(self._recipients, self._rows.count, None):
                send, earlier = self._next_send(recipient)
                self._rows.add(recipient)
                self._unmatched -= earlier
                if (result := self._known(send)) is not None:
                    self._report(send, result)
                    continue
                chunk.append(send)
                if len(chunk) == self._chunk_size:
                    self._send(chunk)
                    chunk = []
                    self._save_checkpoint()
            if chunk:
                self._send(chunk)
        finally:
            self._delivery.close()
            self._earlier.close()

    def _send_to(self, recipient: Recipient) -> Send:
        return self._next_send(recipient)[0]

    def _next_send(self, recipient: Recipient) -> tuple[Send, int]:
        """Return the next send to a recipient, and how many sends to them the ledger shows."""
        # A send that failed before the task was cleared gets a successor: people clear a task after fixing what made
        # messages fail. An automatic retry would fail again.
        generation, conn_id, who = self.ledger.generation, self.ledger.wts_conn_id, recipient.identity
        attempt = 0
        while True:
            key = send_key(self._task, generation=generation, wts_conn_id=conn_id, recipient=who, attempt=attempt)
            found = self._earlier.get(key)
            if found is None:
                return Send(recipient, Mark(key)), attempt
            entry, page = found
            failed = entry.is_done and has_failed(entry.receipt)
            if not failed or page.max_tries == self._max_tries:
                return Send(recipient, Mark(key)), attempt + 1
            attempt += 1

    def _entry(self, key: str) -> LedgerEntry | None:
        found = self._earlier.get(key)
        return found[0] if found else None

    def _known(self, send: Send) -> Result | None:
        """Return a recipient's outcome if it is known without sending, or ``None``."""
        entry = self._entry(send.mark.key)
        if entry is not None and entry.is_done:
            return Result.of(entry.receipt)
        if (reason := self._undecided.get(send.mark.key)) is not None:
            return Result("undecided", reason=reason)
        return self._withheld(send)

    def _withheld(self, send: Send) -> Result | None:
        """Return the outcome of a recipient who must not get a message now, or ``None``."""
        self._begin_rules()
        if self.stopped:
            return Result("not_sent", reason=self.stopped)
        refusal = self.rules.refusal(send.to)
        return self._refused(refusal) if refusal is not None else None

    def _begin_rules(self) -> None:
        """Let the rules read what they need, once, because a list of contacts may be long."""
        if not self._rules_begun and not self.stopped:
            self._rules_begun = True
            self._unless_stopped(self.rules.begin)

    def _refused(self, refusal: Refusal) -> Result:
        return Result(refusal.status, reason=refusal.reason, rule=refusal.rule)

    def _send(self, sends: list[Send]) -> None:
        """Send a chunk: write the intents, make the requests, record the answers."""
        self._unless_stopped(self.permit)
        # Check again: the wait may have been long.
        results = {send.mark.key: self._withheld(send) for send in sends}
        pending = [send for send in sends if results[send.mark.key] is None]
        results |= self._reserve(pending)
        pending = [send for send in pending if results[send.mark.key] is None]
        page = None
        if pending:
            page = self._open_page(pending)
            try:
                self._deliver(pending, page)
            except BaseException:
                # Each receipt that is recorded now saves a question about its recipient.
                self._delivery.close()
                self.ledger.keep(page)
                self._settle(pending, page)
                done = {key: Result.of(entry.receipt) for key, entry in page.sends.items() if entry.is_done}
                self._report_all(done, sends, page)
                raise
            self.ledger.keep(page)
            self._settle(pending, page)
            results |= {send.mark.key: self._outcome(send, page) for send in pending}
        self._report_all(results, sends, page)

    def _reserve(self, sends: list[Send]) -> dict[str, Result]:
        """Let the rules count the sends that are about to go out, and return the results of those that must not."""
        people = {send.mark.key: send.to for send in sends}
        refusals = self._unless_stopped(lambda: self.rules.take(people))
        if refusals is not None:
            return {key: self._refused(refusal) for key, refusal in refusals.items()}
        self.rules.settle(list(people), list(people))
        return {key: Result("not_sent", reason=self.stopped) for key in people}

    def _settle(self, sends: list[Send], page: Page) -> None:
        """Report to the rules which sends of a chunk certainly reached nobody."""
        entries = {send.mark.key: page.sends.get(send.mark.key) for send in sends}
        unsent = {
            key for key, entry in entries.items() if entry is None or (entry.is_done and has_failed(entry.receipt))
        }
        self.rules.settle(entries, unsent)

    def _report_all(self, results: Mapping[str, Result | None], sends: list[Send], page: Page | None) -> None:
        for send in sends:
            if (result := results.get(send.mark.key)) is not None:
                self._report(send, result, page)

    def _report(self, send: Send, result: Result, page: Page | None = None) -> None:
        """Report a result, with the key of its send and a lower bound of its time, which identify its conversation."""
        if found := self._earlier.get(send.mark.key):
            _, page = found
        elif page is not None and send.mark.key not in page.sends:
            page = None
        if page is not None:
            # Not _replace, which is several times as slow: this runs for every recipient.
            result = Result(*result[:3], send_key=send.mark.key, sent_at=self._sent_at(page), rule=result.rule)
        self._progress.report(send.recipient, result)

    def _sent_at(self, page: Page) -> str:
        """Return a lower bound of the time of a page's sends."""
        if self._last_sent_at[0] is not page:
            self._last_sent_at = (page, self._server_time(page.intent))
        return self._last_sent_at[1]

    def _server_time(self, at: datetime) -> str:
        """Return a time by the clock of WTS Chat, for comparison with the API's dates."""
        ahead = self._hook.client.now() - datetime.now(UTC)
        return (at + (ahead if abs(ahead.total_seconds()) > _CLOCK_PRECISION else timedelta())).isoformat()

    def _outcome(self, send: Send, page: Page) -> Result:
        entry = page.sends.get(send.mark.key)
        if entry is None:
            return Result("not_sent", reason=self.stopped)
        reason = self._undecided.get(send.mark.key, "")
        return Result.of(entry.receipt) if entry.is_done else Result("undecided", reason=reason)

    def _deliver(self, sends: list[Send], page: Page) -> None:
        """Make the requests of a chunk; reconcile those without an answer, and make them once more."""
        left, found = sends, dict[str, SearchResult]()
        for _ in range(2):
            unanswered = self._delivery.attempt(left, page, self._unknown_since)
            if not self._delivery.halted and not unanswered:
                return
            shown = self._ask(unanswered, page.intent, settled_after=self._lag)
            if shown is None:
                for key in (key for key, entry in page.sends.items() if not entry.is_done):
                    self._leave_undecided(key, f"no answer came before the campaign was stopped: {self.stopped}")
                return
            found = shown
            left = self._take(found, [send for one in unanswered for send in one.sends], page)
            if not left:
                return
        absent = {send.mark.key for send in left if found[send.mark.key].finding is Finding.ABSENT}
        page.retract(absent)
        for send in left:
            if send.mark.key not in absent:
                self._leave_undecided(send.mark.key, found[send.mark.key].reason)
        if absent:
            raise WtsNotSentError(
                f"Two attempts got no answer, and WTS Chat shows that nothing was sent to {len(absent)} recipients. A "
                "retry continues from here."
            )

    def _ask(
        self,
        unanswered: list[Unanswered],
        since: datetime,
        *,
        pause: float = 0.0,
        settled_after: float = 0.0,
        at_a_time: int = 0,
    ) -> dict[str, SearchResult] | None:
        """Reconcile sends after a pause; ``None`` if nothing more may go out."""

        def search() -> dict[str, SearchResult]:
            if pause:
                self._pause(pause)
            return reconcile.search_for_many(
                self._hook,
                self._kind,
                unanswered,
                since,
                recent=self._delivery.recent,
                settled_after=settled_after,
                at_a_time=at_a_time,
                sleep=self._pause,
            )

        return None if self.stopped else self._unless_stopped(search)

    def _take(self, found: Mapping[str, SearchResult], sends: list[Send], page: Page) -> list[Send]:
        """Record what WTS Chat shows, and return the sends that may go out again."""
        again = []
        for send in sends:
            key, one = send.mark.key, found[send.mark.key]
            if one.finding is Finding.FOUND:
                self._delivery.receive(key, one.answer, page)
            elif one.finding is Finding.ABSENT:
                self._unknown_since.pop(key, None)
                again.append(send)
            elif self._unknown_outcome.resends(since_clear=page.max_tries == self._max_tries):
                self._unknown_since.setdefault(key, page.intent)
                again.append(send)
            else:
                self._leave_undecided(key, one.reason)
        decided = sum(found[send.mark.key].finding is not Finding.UNDECIDED for send in sends)
        log.info("WTS Chat shows the outcome of %s of %s recipients.", decided, len(sends))
        return again

    def _leave_undecided(self, key: str, reason: str) -> None:
        self._undecided[key] = reason
        count_send(self._kind.operation_id, "undecided")

    def _open_page(self, sends: list[Send]) -> Page:
        contents = {send.mark.key: _digest(send.recipient) for send in sends}
        known = {key: entry.content for key in contents if (entry := self._entry(key))}
        if changed := sum(content not in (None, contents[key]) for key, content in known.items()):
            log.warning("The content for %s recipients has changed since an earlier try.", changed)
        doubted = (self._unknown_since[key] for key in contents if key in self._unknown_since)
        since = min(doubted, default=datetime.now(UTC))
        sent_at = self._server_time(since)
        self._progress.announce(
            (send.recipient, Result("undecided", reason=_IN_PROGRESS, send_key=send.mark.key, sent_at=sent_at))
            for send in sends
        )
        return self.ledger.open_page(contents, self._kind.request_size, since=since)

    def _save_checkpoint(self) -> None:
        """Save a checkpoint, so that a later try can continue from here without reading the pages so far."""
        # This requires that all their sends are to recipients so far, and that each of these has an outcome that is
        # final unless the task is cleared.
        if self._unmatched or self.stopped or self._undecided:
            return
        if self.ledger.pages_used - self._checkpoint_at < PAGES_PER_CHECKPOINT:
            return
        place = {
            "rows": self._rows.count,
            "digest": self._rows.digest,
            "max_tries": self._max_tries,
            "outcomes": {**self._progress.state(), "results": self._results.keep() if self._results else None},
            "accepted": self._delivery.accepted,
            "recent": list(self._delivery.recent),
        }
        if self.ledger.save_checkpoint(place):
            self._checkpoint_at = self.ledger.pages_used
            if self._results is not None:
                self._results.drop_earlier()

    def _first_page(self) -> int:
        """Return the first ledger page that must be read."""
        # The pages before it are of recipients who are still the first ones, in the same order, and whose outcomes
        # have been restored.
        place = self.ledger.checkpoint
        if place is None:
            return 0
        rows = Fingerprint(self.ledger.wts_conn_id)
        for recipient in islice(self._recipients, place["rows"]):
            rows.add(recipient)
        if (rows.count, rows.digest) != (place["rows"], place["digest"]):
            log.info("The recipients have changed since the earlier try, so its whole ledger is read.")
            return 0
        cleared = place["max_tries"] != self._max_tries
        if not self._restore(place["outcomes"], islice(self._recipients, rows.count), cleared=cleared):
            return 0
        self._rows = rows
        self._delivery.resume(place["accepted"], place["recent"])
        self._checkpoint_at = int(place["pages"])
        log.info("An earlier try finished the first %s recipients; continuing after them.", f"{rows.count:,}")
        return self._checkpoint_at

    def _restore(self, outcomes: Mapping[str, Any], recipients: Iterable[Recipient], *, cleared: bool) -> bool:
        """Restore the outcomes of a checkpoint, and return whether that was possible."""
        if cleared and any(count for status, count in outcomes["counts"].items() if status != "sent"):
            return False
        if self._results is not None and not self._results.restore(outcomes["results"]):
            log.info("The results of the earlier try are missing, so its whole ledger is read.")
            return False
        self._progress.restore(outcomes, recipients)
        return True

    def _resume(self) -> None:
        """Load what earlier tries left: receipts, and sends whose outcome is unknown."""
        for page in self.ledger.load(self._first_page()):
            for entry in page.sends.values():
                if entry.is_done:
                    self._delivery.remember(entry.receipt)
            self._earlier.add(page)
        if unknown := self._unknown():
            self._reconcile_earlier(unknown)
        self._unmatched = len(self._earlier)
        if self._unmatched or self.ledger.checkpoint:
            self.rules.resume()

    def _reconcile_earlier(self, unknown: list[Send]) -> None:
        # Wait however old an intent is: a rate limit may have delayed its request.
        pause = max(self._lag - self.ledger.quiet_for, 0.0)
        words = "The outcome of %s recipients of an earlier try is unknown; asking WTS Chat in %.0f s."
        log.info(words, len(unknown), pause)
        at_a_time = 0
        if self.ledger.incomplete:
            self._open_pages_as_before(unknown)
            at_a_time = self._kind.parallelism if self._kind.request_size > 1 else 1
        sends = {send.mark.key: send for send in unknown}
        page_of = {key: found[1] for key in sends if (found := self._earlier.get(key))}
        pages = list({page.number: page for page in page_of.values()}.values())
        unanswered = [one for page in pages for one in _unanswered(page, sends, page_of)]
        since = min(page.intent for page in pages)
        shown = self._ask(unanswered, since, pause=pause, at_a_time=at_a_time)
        if shown is None:
            for key in sends:
                self._leave_undecided(key, f"WTS Chat was not asked before the campaign was stopped: {self.stopped}")
            return
        for page in pages:
            self._take(shown, [send for key, send in sends.items() if page_of[key] is page], page)
            self.ledger.keep(page)

    def _unknown(self) -> list[Send]:
        """Return the sends whose outcome is unknown; if the ledger is incomplete, all that it does not show as done."""
        keys = set(self._earlier.unknown())
        if not keys and not self.ledger.incomplete:
            return []
        sends = (self._send_to(recipient) for recipient in islice(self._recipients, self._rows.count, None))
        if not self.ledger.incomplete:
            # They are usually the next ones, so stop once all are found.
            return list(islice((send for send in sends if send.mark.key in keys), len(keys)))
        left = (send for send in sends if not ((entry := self._entry(send.mark.key)) and entry.is_done))
        self._begin_rules()
        # Whoever is excluded now was most likely excluded then, and in no request.
        return [send for send in left if self.stopped or self.rules.lasting_refusal(send.to) is None]

    def _open_pages_as_before(self, sends: list[Send]) -> None:
        """Open the pages that an earlier try must have had, if the recipients have not changed."""
        for start in range(0, len(sends), self._chunk_size):
            contents = {send.mark.key: _digest(send.recipient) for send in sends[start : start + self._chunk_size]}
            self._earlier.add(self.ledger.open_page(contents, self._kind.request_size, since=self._earliest))

    # When nothing more may go out ------------------------------------------------------------------------------------

    def patience(self) -> float | None:
        """Return for how many seconds to wait for requests in progress, or ``None`` if more may begin."""
        if self._termination.requested:
            self.stopped, self._termination.honored = self._termination.reason, True
            return _PATIENCE_OF_AIRFLOW
        try:
            self._stop.check()
        except HeldBack as held_back:
            self.stopped = str(held_back)
            return _PATIENCE
        return None

    def _unless_stopped(self, act: Callable[[], T]) -> T | None:
        """Do something that may wait; ``None`` if nothing more may go out. :attr:`stopped` then says why."""
        before, self._is_interruptible = self._is_interruptible, True
        try:
            with self._termination.interruptible():
                return act()
        except HeldBack as held_back:
            self.stopped = str(held_back)
        except Terminated as terminated:
            self.stopped, self._termination.honored = str(terminated), True
        finally:
            self._is_interruptible = before
        return None

    def check(self) -> None:
        """Raise if nothing more may go out."""
        if threading.current_thread() is not threading.main_thread():
            self._delivery.check()
        elif self._is_interruptible:
            self._stop.check()

    def permit(self) -> None:
        """Return when the next chunk may go out, or stop the campaign."""
        if self._results is not None:
            self._results.save()
        if failures := self._too_many_failures():
            raise HeldBack(failures)
        while (opening := self._times.opening(now := datetime.now(UTC))) > now:
            # Without a ledger, only this process knows what was sent, so the task must not leave its worker.
            may_defer = self.ledger.is_kept or not (self._progress.counts["sent"] or self._progress.counts["failed"])
            self._operator.wait_for(opening, may_defer=may_defer, sleep=self._pause)
        self._stop.check()
        # Somebody may have opted out in the meantime.
        self.rules.before_chunk()

    # The end ---------------------------------------------------------------------------------------------------------

    def _too_many_failures(self) -> str:
        """Return why nothing more is sent after so many failures, or an empty text."""
        if self._failure_limit is not None:
            too_many = self._progress.counts["failed"] > self._failure_limit
            return f"more than {self._failure_limit:g} messages failed (max_failures)" if too_many else ""
        if self._delivery.refused < MAX_REFUSALS_IN_A_ROW:
            return ""
        return (
            f"WTS Chat refused {self._delivery.refused} recipients in a row (to go on nevertheless, set max_failures)"
        )

    def _problem(self) -> str:
        """Return why the task fails, or an empty text."""
        counts = self._progress.counts
        failures = self._too_many_failures()
        if failures and (self._failure_limit is not None or counts["not_sent"]):
            return f"{failures[0].upper()}{failures[1:]}, so the campaign was stopped."
        if counts["undecided"]:
            rest = counts["failed"] or counts["not_sent"]
            exclude = (
                "list those who got it in suppression_path or suppression_sql (the rows of recipients_sql stay as they "
                "were)"
                if self._has_snapshot
                else "remove those who got it from the recipients"
            )
            return (
                f"No confirmation that {counts['undecided']} recipients got the message: {self._progress.undecided()}. "
                f"It was not resent to them. Check their conversations in WTS Chat, {exclude}, then "
                f"{self._unknown_outcome.how_to_resend}: it continues with the others."
                + ("" if rest else " If all of them got it, mark the task as success instead.")
            )
        if counts["failed"] and not counts["sent"] and not counts["skipped"] and not counts["holdout"]:
            return f"All {counts['failed']} messages failed."
        return "All rows are bad." if self._recipients.bad_rows and not self._recipients.count else ""

    def _summary(self) -> dict[str, Any]:
        return {
            "recipients": self._recipients.count,
            **self._progress.counts,
            "bad_rows": self._recipients.bad_rows,
            "duplicates": self._recipients.duplicates,
            "rules": self._progress.by_rule,
            "results_path": self._results.address if self._results else None,
            "manifest_path": self._results.manifest_address if self._results else None,
            "stopped": self.stopped or None,
            "not_reached": self._progress.not_reached(),
        }

    def _publish(self, summary: dict[str, Any], problem: str) -> None:
        """Write the summary to the results, the outlets' events, XCom and the log."""
        self.ledger.check()
        if self._results is not None:
            self._results.complete({**self._about(), **summary})
        events: Any = self._context.get("outlet_events")
        for outlet in (self._operator.outlets or ()) if events is not None else ():
            # An alias, or something that is not an asset, has no such event.
            with suppress(KeyError, TypeError, AttributeError):
                events[outlet].extra.update({name: one for name, one in summary.items() if name != "not_reached"})
        if self._operator.do_xcom_push:
            # Airflow does this only after execute(), and only if it returns. If it cannot, a clear must continue.
            self._context["ti"].xcom_push(key="return_value", value=summary)
        counts = ", ".join(f"{count:,} {name}" for name, count in self._progress.counts.items())
        self._log.info("The campaign ended: %s.", counts)
        self._progress.log_not_reached()

    def _about(self) -> dict[str, Any]:
        """Return what the manifest records about the campaign itself."""
        return {
            "campaign_id": campaign_id(deployment(), self._task, self.ledger.generation),
            **self._task._asdict(),
            "generation": self.ledger.generation,
            "wts_conn_id": self._hook.wts_conn_id,
            "account": self._hook.account,
            # How to find the outcome of each send later.
            "traces": {
                "status_operation": self._kind.status_call("").operation_id,
                "by_metadata": self._kind.traces.by_metadata,
                "by_sender": self._kind.traces.by_sender,
            },
        }

    def _has_skipped_all(self) -> bool:
        counts = self._progress.counts
        return bool(self.stopped) and not counts["sent"] and not counts["failed"]

    def close(self, *, finished: bool) -> None:
        """Record the end in the ledger: once all is ``finished``, a clear sends everything again."""
        self.ledger.close(finished=finished and not self._undecided and not self.stopped)

    def _end(self, summary: dict[str, Any], problem: str) -> dict[str, Any]:
        if problem and not self._termination.honored:
            where = f" The results are in {self._results.address}." if self._results else ""
            raise AirflowFailException(f"{problem}{where}")
        if self._has_skipped_all() and not self._termination.honored:
            self._log.warning("Nothing was sent: %s.", self.stopped)
            raise AirflowSkipException(f"Nothing was sent: {self.stopped}.")
        if self.stopped:
            self._log.warning("Stopped before everybody got a message: %s.", self.stopped)
        return summary


def _unanswered(page: Page, sends: Mapping[str, Send], page_of: Mapping[str, Page]) -> list[Unanswered]:
    """Return the sends of a page whose outcome is unknown, by request."""
    unanswered = []
    is_known = page.request_size > 1
    for keys in page.requests():
        if mine := [sends[key] for key in keys if key in sends and page_of[key] is page]:
            accepted = is_known and any(page.sends[key].is_done for key in keys)
            unanswered.append(Unanswered(mine, whole=is_known and len(mine) == len(keys), accepted=accepted))
    return unanswered


def failure_limit(value: Any, recipients: int) -> float | None:
    """Return how many messages may fail.

    :param value: a count, a share of the recipients, or the text of one.
    """
    if parameters.missing(value):
        return None
    number, text = parameters.fraction(value), str(value).strip()
    share = text.endswith("%") or isinstance(value, float) or "." in text
    if not number >= 0 or (share and number > 1):
        raise WtsInvalidRequestError(
            f"max_failures: {quoted(value)} must be a count or a share. Nothing was sent. Examples: 50, 0.05, '5%'."
        )
    return number * recipients if share else number


#: Created once, because ``json.dumps`` would create one per recipient.
_SORTED = json.JSONEncoder(sort_keys=True)


def _digest(recipient: Recipient) -> str:
    return hashlib.sha256(_SORTED.encode(recipient.values).encode()).hexdigest()[:12]
