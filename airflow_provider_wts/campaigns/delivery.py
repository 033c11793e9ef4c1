"""The requests of one chunk of a campaign, and the outcome of each recipient."""

from __future__ import annotations

import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wts.api.errors import WtsAuthenticationError, WtsError, WtsRejectedError, WtsUnknownOutcomeError
from airflow_provider_wts.api.messages import NOT_REACHED
from airflow_provider_wts.sending.ledger import receipt_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from airflow_provider_wts.campaigns.message_kinds import MessageKind
    from airflow_provider_wts.campaigns.recipients import Send
    from airflow_provider_wts.hooks.wts import WtsHook
    from airflow_provider_wts.sending.ledger import Page


log = logging.getLogger(__name__)

#: Refusals after which a campaign ends that has reached nobody: it is the request that is wrong, not the recipients.
MOST_REFUSALS = 5


class UnansweredRequest(NamedTuple):
    """Sends of which nobody knows whether they happened.

    :param sends: the sends.
    :param whole: whether they are all of one request, which happened as a whole or not at all.
    :param taken: whether the API is known to have taken the request that they were in.
    """

    sends: list[Send]
    whole: bool
    taken: bool = False


class Delivery:
    """Makes requests, and writes what came back into the pages of the ledger.

    :param hook: the hook of the task's connection.
    :param way: how the messages go out.
    :param keep: writes a page.
    :param check: called right before a request goes out; raises where another try of the task has taken over.
    """

    def __init__(
        self, hook: WtsHook, way: MessageKind, keep: Callable[[Page], None], check: Callable[[], None]
    ) -> None:
        self._hook = hook
        self._way = way
        self._write = keep
        self._check = check
        self._writing = Lock()
        self._accepted = self._refused = 0
        self._pool: ThreadPoolExecutor | None = None
        #: Ids of the sends that the API took last.
        self.recent: deque[str] = deque(maxlen=3)

    def attempt(self, sends: list[Send], page: Page, in_doubt: Collection[str] = ()) -> list[UnansweredRequest]:
        """Make the requests for some sends, and return those of which nobody knows.

        :param sends: the sends.
        :param page: their page; its receipts are filled in.
        :param in_doubt: keys of sends that an earlier attempt may have made.
        :raises WtsError: where a request did not happen and no other one makes sense; the rest did not happen either.
        """
        size = self._way.request_size
        requests = [sends[start : start + size] for start in range(0, len(sends), size)]
        if page.request_size > 1 and any([send.mark.key for send in one] not in page.requests() for one in requests):
            # The second time, what is left may go out in other requests than those that the page tells.
            page.request_size = 1
            self._keep(page)
        lost: list[UnansweredRequest] = []
        errors: list[WtsError] = []

        def make(request: list[Send]) -> None:
            if errors:
                return
            try:
                self._request(request, page, lost)
            except WtsError as error:
                errors.append(error)

        if self._way.parallelism > 1 and len(requests) > 1:
            # One pool for all chunks: a thread keeps its connection.
            self._pool = self._pool or ThreadPoolExecutor(self._way.parallelism, thread_name_prefix="wts-send")
            list(self._pool.map(make, requests))
        else:
            for request in requests:
                make(request)
        if errors:
            # Only what was to be sent here: of others of the page it may be unknown whether they happened.
            mine, unknown = _keys(sends), {key for one in lost for key in _keys(one.sends)}
            page.take_back(mine - unknown - set(in_doubt))
            raise errors[0]
        return lost

    def received(self, key: str, answer: Mapping[str, Any], page: Page) -> None:
        """Take in what the API says about a send.

        :param key: the key of the send.
        :param answer: what it says.
        :param page: the page of the send.
        """
        receipt = receipt_of(answer)
        # In one step: another thread may write the page.
        page.sends[key] = {**page.sends[key], "receipt": receipt}
        self.remember(receipt)

    def remember(self, receipt: Mapping[str, Any]) -> None:
        """Take a receipt of this or an earlier try into account.

        :param receipt: the receipt.
        """
        if receipt.get("status") in NOT_REACHED:
            # What failed at once was never in the queue, and tells nothing of it.
            return
        self._accepted += 1
        if receipt.get("id"):
            self.recent.append(str(receipt["id"]))

    def close(self) -> None:
        """End the threads; waits for requests that are on their way."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _keep(self, page: Page) -> None:
        with self._writing:
            self._write(page)

    def _request(self, sends: list[Send], page: Page, lost: list[UnansweredRequest]) -> None:
        try:
            answer = self._hook.run(self._way.call(sends), before_write=self._check)
        except WtsAuthenticationError:
            raise
        except WtsRejectedError as error:
            self._refusal(error, sends, page, lost)
        except WtsUnknownOutcomeError as error:
            log.warning("%s Asking WTS Chat what became of it.", error)
            lost.append(UnansweredRequest(sends, whole=len(sends) > 1))
        else:
            answers = self._way.answers(answer)
            matched = _matched(sends, answers)
            if len(sends) > 1 and not _named(answers):
                # Whose they are is unknown, and they are all of this campaign.
                self.recent.extend(str(one["id"]) for one in answers if one.get("id"))
            for key, found in matched.items():
                self.received(key, found, page)
            if missing := [send for send in sends if send.mark.key not in matched]:
                log.warning("WTS Chat answered without a word about %s of %s recipients.", len(missing), len(sends))
                page.request_size = 1
                lost.append(UnansweredRequest(missing, whole=False, taken=True))

    def _refusal(self, error: WtsRejectedError, sends: list[Send], page: Page, lost: list[UnansweredRequest]) -> None:
        """Find the recipients for whom a request is refused, and send to the others.

        Whether one bad entry fails alone or brings down its whole request is not documented.
        """
        if len(sends) > 1:
            if page.request_size > 1:
                log.info("The request for %s recipients was refused; looking for those that are to blame.", len(sends))
                page.request_size = 1
                self._keep(page)
            middle = len(sends) // 2
            for half in (sends[:middle], sends[middle:]):
                self._request(half, page, lost)
                self._keep(page)
            return
        self._refused += 1
        self.received(sends[0].mark.key, {"status": "FAILED", "failedReason": error.text or str(error)}, page)
        if not self._accepted and self._refused >= MOST_REFUSALS:
            error.add_note(f"The first {self._refused} recipients were refused, so nothing more was tried.")
            raise error


def _keys(sends: Iterable[Send]) -> set[str]:
    return {send.mark.key for send in sends}


def _named(answers: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {str(answer["senderId"]): answer for answer in answers if answer.get("senderId")}


def _matched(sends: Sequence[Send], answers: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the answers by the key of their send.

    Their order is not documented. Where they do not name their sends and all are alike, each send gets what they have
    in common, and no id, which may be another recipient's. Where one of them failed, none can be told from it.
    """
    named = _named(answers)
    if not named and len(answers) == len(sends) == 1:
        return {sends[0].mark.key: answers[0]}
    statuses = {answer.get("status") for answer in answers}
    if not named and len(answers) == len(sends) and statuses.isdisjoint(NOT_REACHED):
        common = {"status": statuses.pop()} if len(statuses) == 1 else {}
        return {send.mark.key: common for send in sends}
    return {send.mark.key: named[send.mark.key] for send in sends if send.mark.key in named}
