"""One run of a campaign: chunk by chunk, each recipient exactly once over all tries of the task.

The intents of a chunk are written to the ledger before its requests, the responses after them. A crash therefore leaves
at most one chunk whose outcome is unknown, and one reconciliation settles it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred

from airflow_provider_wts.api import parameters
from airflow_provider_wts.api.errors import WtsInvalidRequestError, WtsNotSentError
from airflow_provider_wts.api.messages import NOT_REACHED
from airflow_provider_wts.campaigns.delivery import Delivery, UnansweredRequest
from airflow_provider_wts.campaigns.recipients import Send, SkippedRow
from airflow_provider_wts.campaigns.results import Progress, Result
from airflow_provider_wts.hooks.context import TaskIdentity, earliest_start
from airflow_provider_wts.sending import clock, rules
from airflow_provider_wts.sending import ledger as ledgers
from airflow_provider_wts.sending.key import Mark, campaign_id, send_key
from airflow_provider_wts.sending.ledger import Page
from airflow_provider_wts.sending.reconcile import Finding, Found, ReconcileWait
from airflow_provider_wts.sending.resend import UnknownOutcome
from airflow_provider_wts.sending.rules import Exclusions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow.sdk import Context

    from airflow_provider_wts.campaigns.message_kinds import MessageKind
    from airflow_provider_wts.campaigns.recipients import Recipient, Recipients
    from airflow_provider_wts.campaigns.results import ResultsFile
    from airflow_provider_wts.hooks.wts import WtsHook
    from airflow_provider_wts.operators.campaign import WtsBatchOperator
    from airflow_provider_wts.sending.ledger import PagedLedger


#: Messages that a dry run shows.
_MOST_SHOWN = 3

#: Seconds up to which two clocks that HTTP compares are alike.
_CLOCK_PRECISION = 2.0


class Campaign:
    """One run of the task.

    :param operator: the task.
    :param context: its context.
    :param way: how the messages go out.
    :param recipients: the checked recipients.
    :param results: where the results go; ``None`` = nowhere.
    :param ledger: the ledger, opened when the task began; ``None`` if this deployment has no place for one.
    """

    def __init__(
        self,
        operator: WtsBatchOperator,
        context: Context,
        way: MessageKind,
        recipients: Recipients,
        *,
        results: ResultsFile | None,
        ledger: PagedLedger | None,
    ) -> None:
        self._operator = operator
        self._context = context
        self._way = way
        self._recipients = recipients
        self._results = results
        self._ledger = ledger
        self._log = operator.log
        self._tally = Progress(recipients.count, operator.log, operator.progress_interval, results)
        self._most_failures = most_failures(operator.max_failures, recipients.count)
        self._last = parameters.deadline(operator.not_after)
        self._window = rules.SendWindow.read(operator.send_window) if operator.send_window else None
        if operator.outside_window not in ("wait", "skip"):
            raise WtsInvalidRequestError(f"outside_window: {operator.outside_window!r} is none of 'wait' and 'skip'.")
        self._exclusions = Exclusions(
            operator.hook, parameters.tag_list(operator.exclude_tags), blocked=operator.spares_blocked
        )
        self._batch: Batch | None = None

    def refuse_bad_rows(self, *, rehearsal: bool) -> None:
        """Refuse the whole campaign because of its bad rows; the results file names all of them.

        :param rehearsal: whether this is a dry run, which writes no results.
        :raises WtsInvalidRequestError: listing the first of them.
        """
        where = ""
        if self._results is not None and not rehearsal:
            reason = f"{self._recipients.bad_rows} other rows are bad"
            with self._results:
                for row in self._recipients.entries():
                    if isinstance(row, SkippedRow):
                        self._tally.leave(row)
                    else:
                        self._tally.report(row, Result("not_sent", reason=reason))
                self._complete_results({**self._summary(), "stopped": "bad rows"})
            where = f" All of them are in {self._results.address}."
        self._recipients.refuse_bad_rows(where)

    def rehearse(self) -> dict[str, Any]:
        """Do everything but the requests that send, and return what would happen."""
        self._exclusions.read()
        to_send = 0
        shown: list[Recipient] = []
        for row in self._recipients.entries():
            if isinstance(row, SkippedRow):
                self._tally.leave(row)
            elif (reason := self._exclusions.reason(row.to)) is not None:
                self._tally.report(row, Result("skipped", reason=reason))
            else:
                to_send += 1
                shown += [row] if len(shown) < _MOST_SHOWN else []
        now = datetime.now(UTC)
        opening, stopped = now, None
        try:
            opening = self._opening(now)
        except Stopped as stop:
            stopped = str(stop)
        self._log.info("Dry run: nothing is sent. It would be sent to %s recipients.", f"{0 if stopped else to_send:,}")
        self._tally.say_who_was_not_reached()
        requests = [self._request(recipient) for recipient in shown]
        return {
            "dry_run": True,
            "recipients": self._recipients.count,
            "to_send": 0 if stopped else to_send,
            "skipped": self._tally.counts["skipped"],
            "bad_rows": self._recipients.bad_rows,
            "duplicates": self._recipients.duplicates,
            "requests": -(-to_send // self._way.request_size),
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
            "not_reached": self._tally.not_reached(),
            "waits_until": opening.isoformat() if opening > now else None,
            "stopped": stopped,
        }

    def _request(self, recipient: Recipient) -> dict[str, Any]:
        """Return the request that a recipient alone would be sent with."""
        operator, task = self._operator, TaskIdentity.of(self._context["ti"])
        key = send_key(task, generation=0, wts_conn_id=operator.wts_conn_id, recipient=recipient.identity)
        call = self._way.call([Send(recipient, Mark(key))])
        return {"operation_id": call.operation_id, "path": call.url_path, "body": call.json_body}

    def run(self, chunk_size: int) -> dict[str, Any]:
        """Send, and return the counts.

        :param chunk_size: recipients of one page of the ledger.
        """
        for row in self._recipients.entries():
            if isinstance(row, SkippedRow):
                self._tally.leave(row)
        self._batch = Batch(
            self._operator.hook,
            self._context,
            self._way,
            ledger=self._ledger,
            chunk_size=chunk_size,
            permit=self._permit,
            spare=self._exclusions.reason,
            report=self._tally.report,
            on_unknown=self._operator.on_unknown,
        )
        try:
            self._batch.run(self._recipients)
        except TaskDeferred:
            raise
        except Exception:
            self._tally.say_who_was_not_reached()
            raise
        problem, finished = self._problem(), False
        try:
            summary = self._summary()
            self._tell(summary, problem)
            finished = not problem
        finally:
            # Last of all: a clear of a campaign that finished sends everything anew, so it must not end in an error.
            self._batch.close(finished=finished)
        return self._end(summary, problem)

    def _permit(self) -> None:
        """Let the next chunk go out, or wait until it may, or stop the campaign."""
        if self._too_many_failures():
            raise Stopped(f"more than {self._most_failures:g} messages failed (max_failures)")
        while (opening := self._opening(now := datetime.now(UTC))) > now:
            self._wait_for(opening)
        # Somebody may have opted out meanwhile.
        self._exclusions.read_again()

    def _opening(self, now: datetime) -> datetime:
        """Return when the next chunk may go out: ``now``, or when the window opens."""
        opening = self._window.next_opening(now) if self._window else now
        if self._last is not None and max(now, opening) > self._last:
            raise Stopped(f"not_after is {self._last.isoformat()}")
        if opening > now and self._operator.outside_window == "skip":
            raise Stopped(f"the send window opens again at {opening.isoformat()}")
        return opening

    def _wait_for(self, opening: datetime) -> None:
        begun = self._tally.counts["sent"] + self._tally.counts["failed"] > 0
        if self._batch is not None and self._batch.ledger is None and begun:
            # Without a ledger, what was sent is known here and nowhere else, so the task must not leave its worker.
            seconds = (opening - datetime.now(UTC)).total_seconds()
            self._log.info("The send window opens at %s, in %.0f s.", opening.isoformat(), seconds)
            time.sleep(max(0.0, seconds))
        else:
            self._operator.wait_for(opening)

    def _too_many_failures(self) -> bool:
        return self._most_failures is not None and self._tally.counts["failed"] > self._most_failures

    def _problem(self) -> str:
        """Say why the task has failed, where it has."""
        counts = self._tally.counts
        if self._too_many_failures():
            return f"More than {self._most_failures:g} messages failed (max_failures), so the campaign was stopped."
        if counts["undecided"] and self._batch is not None:
            return (
                f"It is not known whether {counts['undecided']} recipients got the message, so nothing was sent to "
                f"them again: {self._tally.undecided()}. Look at their conversations in WTS Chat. If they are there, "
                f"mark the task as success; if not, {self._batch.unknown.how_to_resend}."
            )
        if counts["failed"] and not counts["sent"] and not counts["skipped"]:
            return f"All {counts['failed']} messages failed."
        if self._recipients.bad_rows and not self._recipients.count:
            return "All rows are bad."
        return ""

    def _summary(self) -> dict[str, Any]:
        return {
            "recipients": self._recipients.count,
            **self._tally.counts,
            "bad_rows": self._recipients.bad_rows,
            "duplicates": self._recipients.duplicates,
            "results_path": self._results.address if self._results else None,
            "manifest_path": self._results.manifest_address if self._results else None,
            "stopped": (self._batch.stopped if self._batch else "") or None,
            "not_reached": self._tally.not_reached(),
        }

    def _tell(self, summary: dict[str, Any], problem: str) -> None:
        """Write down how it ended, wherever somebody looks for it."""
        self._complete_results(summary)
        self._tell_outlets({name: value for name, value in summary.items() if name != "not_reached"})
        if problem:
            self._context["ti"].xcom_push(key="return_value", value=summary)
        told = ", ".join(f"{count:,} {name}" for name, count in self._tally.counts.items())
        self._log.info("The campaign: %s.", told)
        self._tally.say_who_was_not_reached()

    def _complete_results(self, summary: dict[str, Any]) -> None:
        if self._results is not None:
            task = TaskIdentity.of(self._context["ti"])
            generation = self._ledger.generation if self._ledger else 0
            # By these the outcome of each send is found afterwards.
            traces = {
                "status_operation": self._way.status_call("").operation_id,
                "by_metadata": self._way.traces.by_metadata,
                "by_sender": self._way.traces.by_sender,
            }
            about = {
                "campaign_id": campaign_id(ledgers.deployment(), task, generation),
                **task._asdict(),
                "generation": generation,
                "wts_conn_id": self._operator.wts_conn_id,
                "traces": traces,
            }
            self._results.complete({**about, **summary})

    def _end(self, summary: dict[str, Any], problem: str) -> dict[str, Any]:
        counts, stopped = self._tally.counts, summary["stopped"]
        if problem:
            where = f" The results are in {self._results.address}." if self._results else ""
            raise AirflowFailException(f"{problem}{where}")
        if stopped and not counts["sent"] and not counts["failed"]:
            raise AirflowSkipException(f"Nothing was sent: {stopped}.")
        if stopped:
            self._log.warning("Stopped before all recipients were written to: %s.", stopped)
        return summary

    def _tell_outlets(self, summary: Mapping[str, Any]) -> None:
        events: Any = self._context.get("outlet_events")
        if events is None:
            return
        for outlet in self._operator.outlets or ():
            # An alias, or something that is no asset, has no such event.
            with suppress(KeyError, TypeError, AttributeError):
                events[outlet].extra.update(summary)


def most_failures(value: Any, recipients: int) -> float | None:
    """Return how many messages may fail.

    :param value: a count, a share, or the text of one.
    :param recipients: how many recipients there are.
    :raises WtsInvalidRequestError: when it is neither.
    """
    if parameters.missing(value):
        return None
    text = str(value).strip()
    share = text.endswith("%") or isinstance(value, float) or "." in text
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        number = -1.0
    if isinstance(value, bool) or not number >= 0 or (share and number > 1):
        raise WtsInvalidRequestError(
            f"max_failures: {value!r} is neither a count nor a share. Good values are 50, 0.05 and '5%'."
        )
    return number * recipients if share else number


log = logging.getLogger(__name__)


class Stopped(Exception):
    """Nothing more may be sent now.

    :param reason: why, for a person.
    """


class Batch:
    """The sends of one task to many recipients.

    :param hook: the hook of the task's connection.
    :param context: the task's context.
    :param way: how the messages go out.
    :param ledger: the ledger, opened when the task began; ``None`` if this deployment has no place for one.
    :param chunk_size: recipients of one page of the ledger.
    :param permit: called before each chunk; raises :class:`Stopped` where nothing may go out.
    :param spare: says why a recipient must not be written to, or ``None``.
    :param report: is told what became of each recipient.
    :param on_unknown: what to do where nobody knows whether a send happened: ``fail`` or ``resend``.
    """

    def __init__(
        self,
        hook: WtsHook,
        context: Mapping[str, Any],
        way: MessageKind,
        *,
        ledger: PagedLedger | None,
        chunk_size: int,
        permit: Callable[[], None],
        spare: Callable[[str], str | None],
        report: Callable[[Recipient, Result], None],
        on_unknown: str = "fail",
    ) -> None:
        self._hook = hook
        self._way = way
        self._chunk_size = chunk_size
        self._permit = permit
        self._spare = spare
        self._report = report
        self._task_instance = context["ti"]
        self._task = TaskIdentity.of(self._task_instance)
        self.unknown = UnknownOutcome(self._task, on_unknown)
        self.ledger = ledger
        self._first_moment = earliest_start(context)
        self._delivery = Delivery(hook, way, self._keep, self.ledger.check if self.ledger else lambda: None)
        self._inquiry = ReconcileWait(hook, way)
        self._entries: dict[str, dict[str, Any]] = {}
        self._page_of: dict[str, Page] = {}
        self._undecided: dict[str, str] = {}
        self._doubtful_since: dict[str, datetime] = {}
        self.stopped = ""

    def run(self, recipients: Iterable[Recipient]) -> None:
        """Send to all who did not get it yet, and report what became of each.

        :param recipients: the recipients; walked twice.
        :raises WtsError: when another try has to go on; what was sent stands in the ledger.
        """
        self._resume(recipients)
        chunk: list[Send] = []
        try:
            for recipient in recipients:
                send = Send(recipient, self._mark(recipient))
                if (result := self._settled(send)) is not None:
                    self._report_of(send, result)
                    continue
                chunk.append(send)
                if len(chunk) == self._chunk_size:
                    self._send(chunk)
                    chunk = []
            if chunk:
                self._send(chunk)
        finally:
            self._delivery.close()

    def close(self, *, finished: bool) -> None:
        """Write the end into the ledger.

        :param finished: whether a clear means: send everything anew. Else it goes on with what is left.
        """
        if self.ledger is None:
            return
        try:
            self.ledger.close(finished=finished and not self._undecided and not self.stopped)
        except Exception as error:
            # All is sent; another try would find that out from the pages.
            log.warning("The ledger of this task cannot be written: %s", type(error).__name__)

    def _mark(self, recipient: Recipient) -> Mark:
        """Return the mark of a send: a new one for each time that it failed before the task was cleared.

        A person clears a task after mending what made messages fail; a retry by itself would fail again.
        """
        generation = self.ledger.generation if self.ledger else 0
        conn_id, who = self._hook.wts_conn_id, recipient.identity
        attempt = 0
        while True:
            key = send_key(self._task, generation=generation, wts_conn_id=conn_id, recipient=who, attempt=attempt)
            failed = self._entries.get(key, {}).get("receipt", {}).get("status") in NOT_REACHED
            if not failed or self._page_of[key].max_tries == self._task_instance.max_tries:
                return Mark(key)
            attempt += 1

    def _settled(self, send: Send) -> Result | None:
        """Return what became of a recipient already, or ``None`` where a message has to go out."""
        receipt = self._entries.get(send.mark.key, {}).get("receipt")
        if receipt is not None:
            return Result.of(receipt)
        if (reason := self._undecided.get(send.mark.key)) is not None:
            return Result("undecided", reason=reason)
        if self.stopped:
            return Result("not_sent", reason=self.stopped)
        reason = self._spare(send.recipient.to)
        return Result("skipped", reason=reason) if reason is not None else None

    def _send(self, sends: list[Send]) -> None:
        """Send a chunk: write the intents, call, write the receipts."""
        try:
            self._permit()
        except Stopped as stop:
            self.stopped = str(stop)
        # Once more: it may have been a long wait until now.
        settled = {send.mark.key: self._settled(send) for send in sends}
        pending = [send for send in sends if settled[send.mark.key] is None]
        page = None
        if pending:
            page = self._open_page(pending)
            try:
                self._deliver(pending, page)
            except BaseException:
                # Every receipt that is written now is one recipient less to ask about.
                self._delivery.close()
                self._keep(page)
                known = {key: Result.of(one["receipt"]) for key, one in page.sends.items() if "receipt" in one}
                self._report_all(known, sends, page)
                raise
            self._keep(page)
            settled |= {send.mark.key: self._outcome(send, page) for send in pending}
        self._report_all(settled, sends, page)

    def _report_all(self, results: Mapping[str, Result | None], sends: list[Send], page: Page | None) -> None:
        for send in sends:
            if (result := results.get(send.mark.key)) is not None:
                self._report_of(send, result, page)

    def _report_of(self, send: Send, result: Result, page: Page | None = None) -> None:
        """Report a result with what finds its conversation: the key of the send, and a lower bound of its time."""
        page = self._page_of.get(send.mark.key, page)
        if page is not None and send.mark.key in page.sends:
            # By the clock of WTS Chat, whose dates it is compared with. A second is the precision of HTTP's.
            ahead = self._hook.client.now() - datetime.now(UTC)
            sent_at = page.intent + (ahead if abs(ahead.total_seconds()) > _CLOCK_PRECISION else timedelta())
            result = result._replace(send_key=send.mark.key, sent_at=sent_at.isoformat())
        self._report(send.recipient, result)

    def _outcome(self, send: Send, page: Page) -> Result:
        receipt = page.sends[send.mark.key].get("receipt")
        return (
            Result.of(receipt)
            if receipt is not None
            else Result("undecided", {}, self._undecided.get(send.mark.key, ""))
        )

    def _deliver(self, sends: list[Send], page: Page) -> None:
        """Make the requests of a chunk; those without an answer are asked about, and made once more."""
        left, found = sends, dict[str, Found]()
        for _ in range(2):
            lost = self._delivery.attempt(left, page, self._doubtful_since)
            if not lost:
                return
            found = self._inquiry.at_once(lost, page.intent, self._delivery.recent)
            left = self._open_again(found, [send for one in lost for send in one.sends], page)
            if not left:
                return
        absent = {send.mark.key for send in left if found[send.mark.key].finding is Finding.ABSENT}
        page.take_back(absent)
        self._undecided |= {key: found[key].reason for key in (send.mark.key for send in left) if key not in absent}
        if absent:
            raise WtsNotSentError(
                f"Twice no answer came, and WTS Chat shows that nothing was sent to {len(absent)} recipients. Another "
                "try goes on from here."
            )

    def _open_page(self, sends: list[Send]) -> Page:
        contents = {send.mark.key: _digest(send.recipient) for send in sends}
        known = {key: self._entries[key].get("content") for key in contents if key in self._entries}
        if changed := sum(content not in (None, contents[key]) for key, content in known.items()):
            log.warning("What is to be sent to %s recipients has changed since an earlier try.", changed)
        since = min((self._doubtful_since[key] for key in contents if key in self._doubtful_since), default=None)
        if self.ledger is None:
            return Page(0, since or datetime.now(UTC), {key: {} for key in contents}, self._way.request_size)
        return self.ledger.open_page(contents, self._way.request_size, since=since)

    def _keep(self, page: Page) -> None:
        if self.ledger is not None and not self.ledger.keep(page):
            log.warning("The ledger of this task cannot be written now. It must be before anything more is sent.")

    def _resume(self, recipients: Iterable[Recipient]) -> None:
        """Take up what earlier tries left: receipts, and sends of which nobody knows."""
        page_of: dict[str, Page] = {}
        for page in self.ledger.load() if self.ledger else []:
            for key, entry in page.sends.items():
                self._entries[key], self._page_of[key], page_of[key] = entry, page, page
                if "receipt" in entry:
                    self._delivery.remember(entry["receipt"])
        doubtful = self._doubtful(recipients)
        if not doubtful:
            return
        log.info("An earlier try left %s recipients of whom nobody knows; asking WTS Chat.", len(doubtful))
        if self._is_complete:
            at_a_time = 0
        else:
            page_of = self._pages_as_before(doubtful)
            at_a_time = self._way.parallelism if self._way.request_size > 1 else 1
        sends = {send.mark.key: send for send in doubtful}
        pages = list({page_of[key].number: page_of[key] for key in sends}.values())
        lost = [one for page in pages for one in _unanswered(page, sends, page_of)]
        since = min(page.intent for page in pages)
        # Nothing stops an earlier try that still runs, if there is no ledger.
        quiet = clock.elapsed(self.ledger.fence.held_at) - ledgers.LEASE if self.ledger else 0.0
        recent = list(self._delivery.recent)
        found = self._inquiry.later(lost, since, recent, at_a_time=at_a_time, begun=quiet)
        for page in pages:
            self._open_again(found, [send for key, send in sends.items() if page_of[key] is page], page)
            self._keep(page)
            mine = [key for key in sends if page_of[key] is page]
            self._entries |= {key: page.sends[key] for key in mine}
            self._page_of |= dict.fromkeys(mine, page)

    def _doubtful(self, recipients: Iterable[Recipient]) -> list[Send]:
        # Of whom nothing is remembered, then, cannot be ruled out.
        everybody = not self._is_complete
        keys = {key for key, entry in self._entries.items() if "receipt" not in entry}
        if not everybody and not keys:
            return []
        sends = (Send(recipient, self._mark(recipient)) for recipient in recipients)
        if everybody:
            # Who is spared now was most likely spared then, and stood in no request.
            return [
                send
                for send in sends
                if "receipt" not in self._entries.get(send.mark.key, {}) and self._spare(send.recipient.to) is None
            ]
        return [send for send in sends if send.mark.key in keys]

    @property
    def _is_complete(self) -> bool:
        """Whether all that earlier tries sent is remembered."""
        if self.ledger is not None:
            return not self.ledger.incomplete
        return int(self._task_instance.try_number or 1) <= 1

    def _pages_as_before(self, sends: list[Send]) -> dict[str, Page]:
        """Return the pages that an earlier try had, if the recipients are as they were."""
        pages: dict[str, Page] = {}
        max_tries = self._task_instance.max_tries
        for number, start in enumerate(range(0, len(sends), self._chunk_size)):
            chunk = sends[start : start + self._chunk_size]
            if self.ledger is not None:
                contents = {send.mark.key: _digest(send.recipient) for send in chunk}
                page = self.ledger.open_page(contents, self._way.request_size, since=self._first_moment)
            else:
                entries: dict[str, dict[str, Any]] = {send.mark.key: {} for send in chunk}
                page = Page(number, self._first_moment, entries, self._way.request_size, max_tries)
            pages |= dict.fromkeys(page.sends, page)
        return pages

    def _open_again(self, found: Mapping[str, Found], sends: list[Send], page: Page) -> list[Send]:
        """Write down what was found out; return those to whom a message may go out."""
        again = []
        for send in sends:
            key, one = send.mark.key, found[send.mark.key]
            if one.finding is Finding.FOUND:
                self._delivery.received(key, one.answer, page)
            elif one.finding is Finding.ABSENT:
                self._doubtful_since.pop(key, None)
                again.append(send)
            elif self.unknown.resend:
                self._doubtful_since.setdefault(key, page.intent)
                again.append(send)
            else:
                self._undecided[key] = one.reason
        log.info("WTS Chat shows what became of %s of %s recipients.", _decided(found, sends), len(sends))
        return again


def _unanswered(page: Page, sends: Mapping[str, Send], page_of: Mapping[str, Page]) -> list[UnansweredRequest]:
    """Return the sends of a page of which nobody knows, by request."""
    lost = []
    for keys in page.requests():
        mine = [sends[key] for key in keys if key in sends and page_of[key] is page]
        known = page.request_size > 1
        if mine:
            taken = known and any("receipt" in page.sends[key] for key in keys)
            lost.append(UnansweredRequest(mine, whole=known and len(mine) == len(keys), taken=taken))
    return lost


def _decided(found: Mapping[str, Found], sends: list[Send]) -> int:
    return sum(found[send.mark.key].finding is not Finding.UNDECIDED for send in sends)


def _digest(recipient: Recipient) -> str:
    text = json.dumps(recipient.values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
