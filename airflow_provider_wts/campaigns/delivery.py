"""The requests of a campaign's chunks, and the outcome of each recipient."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.errors import (
    WtsAuthenticationError,
    WtsError,
    WtsNotSentError,
    WtsRejectedError,
    WtsUnknownOutcomeError,
)
from airflow_provider_wts.api.messages import has_failed, shows_outcome
from airflow_provider_wts.hooks.metrics import count_send
from airflow_provider_wts.sending.ledger import receipt_of
from airflow_provider_wts.sending.reconcile import Unanswered

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from airflow_provider_wts.campaigns.message_kinds import MessageKind
    from airflow_provider_wts.campaigns.recipients import Send
    from airflow_provider_wts.hooks.wts import WtsHook
    from airflow_provider_wts.sending.ledger import Ledger, Page


log = logging.getLogger(__name__)

#: Seconds between two checks whether a wait may continue.
_CHECK_INTERVAL = 0.2

#: Refusals after which a campaign that has reached nobody ends: the request is wrong, not the recipients.
MAX_REFUSALS = 5

#: Refusals in a row after which a campaign without ``max_failures`` ends, because each costs two requests.
MAX_REFUSALS_IN_A_ROW = 500


class Delivery:
    """Makes requests, and records their answers in the ledger's pages.

    :param patience: called while requests are in progress. It returns ``None`` if more may begin, else for how many
        seconds to wait for their answers.
    """

    def __init__(
        self, hook: WtsHook, kind: MessageKind, ledger: Ledger, patience: Callable[[], float | None] = lambda: None
    ) -> None:
        self._hook = hook
        self._kind = kind
        self._ledger = ledger
        self._writing = Lock()
        self._patience = patience
        self._beginning = Lock()
        #: Whether no more requests may begin.
        self.halted = False
        # Sends whose requests began.
        self._begun = set[str]()
        #: How many sends WTS Chat accepted.
        self.accepted = 0
        #: How many recipients it has refused since.
        self.refused = 0
        self._pool: ThreadPoolExecutor | None = None
        #: IDs of the sends that WTS Chat accepted last.
        self.recent: deque[str] = deque(maxlen=3)

    def attempt(self, sends: list[Send], page: Page, unknown: Collection[str] = ()) -> list[Unanswered]:
        """Make the requests for some sends, and return those without an answer.

        :param unknown: keys of sends that an earlier attempt may have made.
        :raises WtsError: if a request did not happen, and there is no point in making the rest, which did not either.
        """
        size = self._kind.request_size
        requests = [sends[start : start + size] for start in range(0, len(sends), size)]
        if page.request_size > 1 and any([send.mark.key for send in one] not in page.requests() for one in requests):
            # The second time, the rest may go out in other requests than those that the page shows.
            self._forget_requests(page)
        unanswered: list[Unanswered] = []
        errors: list[BaseException] = []
        broken = set[str]()
        self._begun = set()

        def make(request: list[Send]) -> None:
            if errors:
                return
            try:
                self._request(request, page, unanswered)
            except WtsError as error:
                errors.append(error)
            except BaseException as error:
                broken.update(_keys(request))
                errors.append(error)

        # One pool for all chunks: each thread keeps its connection.
        self._pool = self._pool or ThreadPoolExecutor(self._kind.parallelism, thread_name_prefix="wts-send")
        in_progress = {self._pool.submit(make, request): _keys(request) for request in requests}
        late = {key for future in self._wait(in_progress) for key in in_progress[future]}
        if errors or self.halted:
            # Only sends of this call: the outcome of the page's other sends may be unknown.
            lost = {key for one in unanswered for key in _keys(one.sends)}
            page.retract(_keys(sends) - lost - broken - (late & self._begun) - set(unknown))
        if failures := [error for error in errors if not isinstance(error, _HaltedError)]:
            raise next((error for error in failures if not isinstance(error, WtsError)), failures[0])
        return unanswered

    def _wait(self, in_progress: Collection[Future[None]]) -> set[Future[None]]:
        """Wait for requests, and return those that take too long if the task is ending."""
        left, until = set(in_progress), math.inf
        while left and time.monotonic() < until:
            if not self.halted and (patience := self._patience()) is not None:
                with self._beginning:
                    self.halted = True
                until = time.monotonic() + patience
            _, left = wait(left, timeout=min(_CHECK_INTERVAL, max(0.0, until - time.monotonic())))
        return left

    def check(self) -> None:
        """Check that more requests may begin."""
        if self.halted:
            raise _HaltedError("The campaign was stopped. Nothing was sent.")

    def _begin(self, sends: list[Send]) -> None:
        """Record that a request begins, if it may."""
        self._ledger.check()
        with self._beginning:
            self.check()
            self._begun |= _keys(sends)

    def receive(self, key: str, answer: Mapping[str, Any], page: Page) -> None:
        """Record the API's answer about a send in its page."""
        receipt = receipt_of(answer)
        page.receive(key, receipt)
        count_send(self._kind.operation_id, "failed" if has_failed(receipt) else "sent")
        self.remember(receipt)

    def remember(self, receipt: Mapping[str, Any]) -> None:
        """Take a receipt of this or an earlier try into account."""
        if has_failed(receipt):
            # A send that failed at once was never in the queue, so it shows nothing about it.
            return
        self.accepted += 1
        self.refused = 0
        if receipt.get("id"):
            self.recent.append(str(receipt["id"]))

    def resume(self, accepted: int, recent: Iterable[str]) -> None:
        """Continue after an earlier try: how many sends WTS Chat had accepted, and the IDs of the last of them."""
        self.accepted += accepted
        self.recent.extend(recent)

    def close(self) -> None:
        """End the threads, after the requests in progress unless the task is ending."""
        if self._pool is not None:
            self._pool.shutdown(wait=not self.halted, cancel_futures=True)
            self._pool = None

    def _keep(self, page: Page) -> None:
        with self._writing:
            self._ledger.keep(page)

    def _forget_requests(self, page: Page) -> None:
        if page.request_size > 1:
            page.request_size = 1
            self._keep(page)

    def _request(self, sends: list[Send], page: Page, unanswered: list[Unanswered]) -> None:
        try:
            answer = self._hook.run(self._kind.call(sends), before_write=lambda: self._begin(sends))
        except WtsAuthenticationError:
            raise
        except WtsRejectedError as error:
            self._refusal(error, sends, page, unanswered)
        except WtsUnknownOutcomeError as error:
            log.warning("%s The task now asks WTS Chat itself.", error)
            unanswered.append(Unanswered(sends, whole=len(sends) > 1))
        else:
            answers = self._kind.answers(answer)
            matched = _matched(sends, answers)
            if len(sends) > 1 and not any(one.get("senderId") for one in answers):
                # They are all of this campaign, even though it is unknown whose they are.
                self.recent.extend(str(one["id"]) for one in answers if one.get("id"))
            for key, found in matched.items():
                self.receive(key, found, page)
            if missing := [send for send in sends if send.mark.key not in matched]:
                log.warning("WTS Chat answered, but omitted %s of %s recipients.", len(missing), len(sends))
                page.request_size = 1
                unanswered.append(Unanswered(missing, whole=False, accepted=True))

    def _refusal(self, error: WtsRejectedError, sends: list[Send], page: Page, unanswered: list[Unanswered]) -> None:
        """Find the recipients because of whom a request is refused, and send to the others."""
        # Whether a bad entry fails only itself or its whole request is not documented.
        if len(sends) > 1:
            log.info("WTS Chat refused the request for %s recipients; searching for the cause.", len(sends))
            self._forget_requests(page)
            middle = len(sends) // 2
            for half in (sends[:middle], sends[middle:]):
                self._request(half, page, unanswered)
                self._keep(page)
            return
        self.refused += 1
        self.receive(sends[0].mark.key, {"status": "FAILED", "failedReason": error.text or str(error)}, page)
        if not self.accepted and self.refused >= MAX_REFUSALS:
            error.add_note(f"The first {self.refused} recipients were refused, so nothing more was tried.")
            raise error


class _HaltedError(WtsNotSentError):
    """No more requests may begin."""


def _keys(sends: Iterable[Send]) -> set[str]:
    return {send.mark.key for send in sends}


def _named(answers: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the answers that name their send, by its key, without those that contradict each other."""
    named: dict[str, list[Mapping[str, Any]]] = {}
    for answer in answers:
        if answer.get("senderId"):
            named.setdefault(str(answer["senderId"]).lower(), []).append(answer)
    return {key: about[-1] for key, about in named.items() if len({has_failed(one) for one in about}) == 1}


def _matched(sends: Sequence[Send], answers: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the answers by the key of their send."""
    # Their order is not documented. If they do not name their sends, each send gets only what all answers have in
    # common: an ID might be another recipient's. If any of them failed, it is unknown which, so none is returned.
    if any(answer.get("senderId") for answer in answers):
        named = _named(answers)
        return {send.mark.key: found for send in sends if shows_outcome(found := named.get(send.mark.key, {}))}
    if len(answers) != len(sends) or not all(map(shows_outcome, answers)):
        return {}
    if len(sends) == 1:
        return {sends[0].mark.key: answers[0]}
    if any(map(has_failed, answers)):
        return {}
    statuses = {answer.get("status") for answer in answers}
    common = {"status": statuses.pop()} if len(statuses) == 1 else {}
    return {send.mark.key: common for send in sends}
