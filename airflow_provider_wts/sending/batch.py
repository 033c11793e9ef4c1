"""Many sends, each exactly once: chunk by chunk, with a ledger that a crash or a clear goes on from.

The intents of a chunk are written before its requests, the receipts after them. A chunk is what stands on one page of
the ledger: the recipients of the requests that are under way together. So a crash leaves one chunk at most of which
nobody knows whether it happened, and one walk over the sessions of the account tells
(:mod:`airflow_provider_wts.sending.sweep`).
"""

from __future__ import annotations

import hashlib
import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wts.api.errors import WtsNotSentError
from airflow_provider_wts.hooks.context import first_moment
from airflow_provider_wts.sending import clock
from airflow_provider_wts.sending import ledger as ledgers
from airflow_provider_wts.sending.delivery import Delivery, Lost, Send
from airflow_provider_wts.sending.inquiry import Inquiry
from airflow_provider_wts.sending.key import Mark, TaskIdentity, send_key
from airflow_provider_wts.sending.pages import NOT_REACHED, Page
from airflow_provider_wts.sending.reconcile import Finding, Found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow_provider_wts.hooks.wts import WtsHook
    from airflow_provider_wts.sending.delivery import Way
    from airflow_provider_wts.sending.pages import PagedLedger
    from airflow_provider_wts.sending.recipients import Recipient

log = logging.getLogger(__name__)


class Result(NamedTuple):
    """What became of one recipient.

    :param status: ``sent``, ``failed``, ``skipped``, ``undecided`` or ``not_sent``.
    :param receipt: what is kept of the API's answer.
    :param reason: why, where it is not ``sent``.
    """

    status: str
    receipt: Mapping[str, Any] = {}
    reason: str = ""

    @classmethod
    def of(cls, receipt: Mapping[str, Any]) -> Result:
        """Return the result that a receipt tells.

        :param receipt: the receipt.
        """
        if receipt.get("status") in NOT_REACHED:
            return cls("failed", receipt, str(receipt.get("failedReason") or "WTS Chat gives no reason"))
        return cls("sent", receipt)


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
        way: Way,
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
        self._on_unknown = on_unknown
        self._task_instance = context["ti"]
        self._task = TaskIdentity.of(self._task_instance)
        self.ledger = ledger
        self._first_moment = first_moment(context)
        self._delivery = Delivery(hook, way, self._keep, self.ledger.check if self.ledger else lambda: None)
        self._inquiry = Inquiry(hook, way)
        self._entries: dict[str, dict[str, Any]] = {}
        self._max_tries_of: dict[str, int] = {}
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
                    self._report(recipient, result)
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
            if not failed or self._max_tries_of[key] == self._task_instance.max_tries:
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
        if pending:
            page = self._open_page(pending)
            try:
                self._deliver(pending, page)
            except BaseException:
                # Every receipt that is written now is one recipient less to ask about.
                self._delivery.close()
                self._keep(page)
                self._report_all(
                    {key: Result.of(one["receipt"]) for key, one in page.sends.items() if "receipt" in one}, sends
                )
                raise
            self._keep(page)
            settled |= {send.mark.key: self._outcome(send, page) for send in pending}
        self._report_all(settled, sends)

    def _report_all(self, results: Mapping[str, Result | None], sends: list[Send]) -> None:
        for send in sends:
            if (result := results.get(send.mark.key)) is not None:
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
                self._entries[key], self._max_tries_of[key], page_of[key] = entry, page.max_tries, page
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
        lost = [one for page in pages for one in _lost(page, sends, page_of)]
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
            self._max_tries_of |= dict.fromkeys(mine, page.max_tries)

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
            elif self._on_unknown == "resend":
                self._doubtful_since.setdefault(key, page.intent)
                again.append(send)
            else:
                self._undecided[key] = one.reason
        log.info("WTS Chat shows what became of %s of %s recipients.", _decided(found, sends), len(sends))
        return again


def _lost(page: Page, sends: Mapping[str, Send], page_of: Mapping[str, Page]) -> list[Lost]:
    """Return the sends of a page of which nobody knows, by request."""
    lost = []
    for keys in page.requests():
        mine = [sends[key] for key in keys if key in sends and page_of[key] is page]
        known = page.request_size > 1
        if mine:
            taken = known and any("receipt" in page.sends[key] for key in keys)
            lost.append(Lost(mine, whole=known and len(mine) == len(keys), taken=taken))
    return lost


def _decided(found: Mapping[str, Found], sends: list[Send]) -> int:
    return sum(found[send.mark.key].finding is not Finding.UNDECIDED for send in sends)


def _digest(recipient: Recipient) -> str:
    text = json.dumps(recipient.values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
