"""One poll for all: the triggers of one connection in one event loop share the checks of what they wait for.

A sweep lists the sessions that reached a status of interest since a cursor, 100 a request, so thousands of waiters
cost a request or two. The API does not document how its dates behave, so every waiter is also checked alone now and
then; when such a check finds what the sweeps should have shown, the sweeps are no longer trusted.

Messages have no such list: they are checked one at a time, in turn, within the same share of the account's requests.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError, WtsNotSentError, WtsRateLimitError
from airflow_provider_wts.api.wire import parse_timestamp
from airflow_provider_wts.hooks import metrics
from airflow_provider_wts.waiting.conditions import (
    MOST_FAILED_CHECKS,
    FailedChecks,
    WaitState,
    refuses_token,
    session_seen,
)
from airflow_provider_wts.waiting.reader import BackgroundReader
from airflow_provider_wts.waiting.session_changes import (
    CLOCK_SLACK,
    SWEEP_OVERLAP,
    Singles,
    Sweep,
    poll_messages,
    poll_sessions,
    sweep,
)
from airflow_provider_wts.waiting.subscriptions import MessageSubscription, SessionSubscription, Subscriptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow_provider_wts.waiting.conditions import Snapshot
    from airflow_provider_wts.waiting.subscriptions import Subscription

log = logging.getLogger(__name__)

#: Part of the account's requests that polling may use: 250 of 1,000 in 5 minutes.
SECONDS_PER_CALL = 300 / 250

#: Seconds in which every session is checked alone beside a list that is trusted, where the share allows that.
TURN = 3600.0

#: Seconds of answers 429 in a row that do not count as failed checks: the account's limit is free again by then.
RATE_LIMIT_WAIT = 300.0

#: Looks at single sessions or messages in one poll.
MOST_SINGLE_LOOKS = 100


class Poller:
    """Polls for all subscriptions of one connection in one event loop.

    :param wts_conn_id: the Airflow connection.
    """

    def __init__(self, wts_conn_id: str) -> None:
        self._subscriptions: set[Subscription] = set()
        self._sessions = Subscriptions()
        self._messages = Subscriptions()
        self._cursor: datetime | None = None
        self._new_since: datetime | None = None
        self._trusted = True
        self._give_list_up = False
        self._limited_since: float | None = None
        #: Changes that a single check showed first, and that the next list must show, too.
        self._expected: dict[str, str] = {}
        self._interval = float("inf")
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        #: Whether it has stopped for good; then another one takes its place.
        self.ended = False
        self._reader = BackgroundReader(wts_conn_id, "wts-poll")
        self._wts_conn_id = wts_conn_id

    def subscribe(self, subscription: Subscription) -> None:
        """Begin to report to a subscription.

        :param subscription: what is waited for.
        """
        self._subscriptions.add(subscription)
        self._board_of(subscription).add(subscription)
        if isinstance(subscription, SessionSubscription):
            since = subscription.since - CLOCK_SLACK
            self._new_since = min(since, self._new_since or since)
        if subscription.interval < self._interval:
            self._interval = subscription.interval
            self._wake.set()
        if self._task is None:
            # A context of its own: in the creator's, its log lines would go to that one task. Not the creator's
            # child either: it goes on when the creator is cancelled.
            self._task = asyncio.get_running_loop().create_task(self._run(), context=contextvars.Context())

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop to report to a subscription.

        :param subscription: what was waited for.
        """
        self._subscriptions.discard(subscription)
        self._board_of(subscription).remove(subscription)
        if not self._subscriptions:
            self._wake.set()

    def _board_of(self, subscription: Subscription) -> Subscriptions:
        return self._messages if isinstance(subscription, MessageSubscription) else self._sessions

    async def _run(self) -> None:
        failed_checks = FailedChecks()
        polls = metrics.PollMetrics("waits", self._wts_conn_id)
        try:
            while self._subscriptions:
                metrics.gauge("wts.waiters", len(self._subscriptions), connection=self._wts_conn_id)
                try:
                    pause = await self._poll_once()
                    failed_checks.succeeded()
                    polls.polled(succeeded=True)
                except Exception as error:
                    # Whatever it is, it is about this poll, and not about anybody's wait.
                    polls.polled(succeeded=False)
                    if not isinstance(error, WtsError):
                        log.exception("The poll failed.")
                        error = WtsError(f"The poll failed: {type(error).__name__}.")
                    if self._ends_all(error, failed_checks):
                        self._fail(error)
                        return
                    pause = max(SECONDS_PER_CALL, getattr(error, "retry_after", 0.0))
                await self._pause(pause)
        finally:
            self.ended = True
            self._reader.close()
            metrics.gauge("wts.waiters", 0, connection=self._wts_conn_id)
            polls.ended()

    def _ends_all(self, error: WtsError, failed_checks: FailedChecks) -> bool:
        now = asyncio.get_running_loop().time()
        if not isinstance(error, WtsRateLimitError):
            self._limited_since = None
        elif now - (self._limited_since or now) < RATE_LIMIT_WAIT:
            self._limited_since = self._limited_since or now
            log.warning("%s The next poll is in %.0f s.", error, error.retry_after)
            return False
        return refuses_token(error) or failed_checks.failed(error)

    async def _pause(self, least: float) -> None:
        """Sleep until the next poll is due, or nobody waits any more."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        self._interval = min((subscription.interval for subscription in self._subscriptions), default=0.0)
        while self._subscriptions:
            left = begun + max(self._interval, least) - loop.time()
            if left <= 0:
                return
            self._wake.clear()
            try:
                async with asyncio.timeout(left):
                    await self._wake.wait()
            except TimeoutError:
                return

    async def _poll_once(self) -> float:
        """Poll once, and return the seconds after which the next poll may come.

        :raises WtsError: when nothing at all could be read, or the token is refused.
        """
        calls, learned = 0, False
        errors: list[WtsError] = []
        failed: list[tuple[Subscriptions, dict[str, WtsError]]] = []
        if len(self._sessions) > 1:
            try:
                calls += await self._look_at_list()
                learned = True
            except WtsError as error:
                if refuses_token(error):
                    raise
                log.warning("The list of changed sessions cannot be read; sessions are read one at a time. %s", error)
                errors.append(error)
        for board, check in ((self._sessions, self._check_sessions), (self._messages, self._check_messages)):
            if not len(board):
                continue
            checked = await check(calls, all_due=bool(errors))
            calls += checked.calls
            learned = learned or bool(checked.seen)
            errors += checked.failed.values()
            failed.append((board, checked.failed))
        if errors and not learned:
            raise next((error for error in errors if isinstance(error, WtsRateLimitError)), errors[0])
        for board, failures in failed:
            # What never reached the API says nothing about a session.
            about = {one: error for one, error in failures.items() if not isinstance(error, WtsNotSentError)}
            board.count_failures(about, MOST_FAILED_CHECKS)
        self._limited_since = None
        return max(calls * SECONDS_PER_CALL, *(getattr(error, "retry_after", 0.0) for error in errors), 0.0)

    async def _look_at_list(self) -> int:
        statuses = sorted(
            {
                status
                for subscription in self._subscriptions
                if isinstance(subscription, SessionSubscription)
                for status in subscription.statuses
            }
        )
        since = min(moment for moment in (self._cursor, self._new_since) if moment is not None)
        # Whoever subscribes from now on is checked from its own time on by the next sweep.
        self._new_since = None
        waiting = len(self._sessions)
        try:
            swept: Sweep = await self._reader.read(lambda client: sweep(client, statuses, since, most_pages=waiting))
        except BaseException:
            self._new_since = min(since, self._new_since or since)
            raise
        self._sessions.report(swept.seen)
        if swept.cursor is None:
            # More pages than waiters, or a list that breaks off: checking each of them alone is better.
            self._new_since = min(since, self._new_since or since)
            self._give_list_up = True
        else:
            self._give_list_up = False
            self._cursor = swept.cursor - SWEEP_OVERLAP
            self._notice_missing(swept, statuses)
        return swept.calls

    async def _check_sessions(self, calls: int, *, all_due: bool) -> Singles:
        waiting = len(self._sessions)
        if self._cursor is None:
            self._cursor = self._new_since
        by_list = waiting > 1 and self._trusted and not self._give_list_up and not all_due
        count = min(waiting, MOST_SINGLE_LOOKS)
        if by_list:
            interval = min(self._interval, TURN)
            share = int(interval / SECONDS_PER_CALL) - calls if SECONDS_PER_CALL else count
            count = max(1, min(math.ceil(waiting * interval / TURN), share, count))
        chosen = self._sessions.next_in_turn(count)
        # One attempt each: their next turn is the next attempt.
        checked = await self._reader.read(lambda client: poll_sessions(client.perform_once, self._wanted(chosen)))
        self._sessions.note_checked(chosen, checked.seen, checked.failed)
        if by_list:
            self._notice_misses(checked.seen)
        self._sessions.report({session_id: session_seen(session) for session_id, session in checked.seen.items()})
        return checked

    async def _check_messages(self, calls: int, *, all_due: bool) -> Singles:
        chosen = self._messages.next_in_turn(MOST_SINGLE_LOOKS)
        kinds = {
            message_id: next((one.id_of for one in self._messages.waiting_for(message_id) if one.id_of), None)
            for message_id in chosen
        }
        checked = await self._reader.read(
            lambda client: poll_messages(client.perform_once, {one: kinds[one] for one in self._wanted(chosen)})
        )
        self._messages.note_checked(chosen, checked.seen, checked.failed)
        self._messages.report(checked.seen)
        return checked

    def _wanted(self, ids: Iterable[str]) -> Iterable[str]:
        """Not to the end where nobody waits any more."""
        return (one for one in ids if self._subscriptions)

    def _notice_misses(self, checked: Mapping[str, Mapping[str, Any]]) -> None:
        """Notice what single checks show and the list did not; what is newer than the list must be in the next one."""
        for session_id, session in checked.items():
            seen = session_seen(session)
            missed = any(
                subscription.interesting(seen) and not subscription.knows(session_id, seen)
                for subscription in self._sessions.waiting_for(session_id)
            )
            if not missed or self._cursor is None:
                continue
            if parse_timestamp(session.get("updatedAt")) <= self._cursor:
                self._distrust(session_id)
            else:
                self._expected[session_id] = seen.status

    def _notice_missing(self, swept: Sweep, statuses: list[str]) -> None:
        for session_id, status in self._expected.items():
            if status in statuses and session_id not in swept.seen:
                self._distrust(session_id)
        self._expected.clear()

    def _distrust(self, session_id: str) -> None:
        if self._trusted:
            log.warning(
                "WTS Chat's list of sessions did not show a change that the session itself shows (%s). From now on "
                "every session is also read alone, which makes extra requests.",
                session_id,
            )
        self._trusted = False

    def _fail(self, error: WtsError) -> None:
        for subscription in self._subscriptions:
            subscription.fail(error)
        self._subscriptions.clear()
        self._sessions.clear()
        self._messages.clear()


_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Poller]] = WeakKeyDictionary()


def poller_of(wts_conn_id: str) -> Poller:
    """Return the poller of a connection in the running event loop.

    :param wts_conn_id: the Airflow connection.
    """
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    poller = pollers.get(wts_conn_id)
    if poller is None or poller.ended:
        poller = pollers[wts_conn_id] = Poller(wts_conn_id)
    return poller


class End(NamedTuple):
    """The end of a wait.

    :param outcome: ``reached``, ``failed``, ``timeout`` or ``error``.
    :param seen: what was seen last, by id.
    :param message: what happened, for a person.
    :param final: whether waiting again cannot help.
    :param retry_after: seconds until the account's rate limit is free again, if that ended the wait.
    """

    outcome: str
    seen: dict[str, Snapshot]
    message: str
    final: bool = False
    retry_after: float | None = None


async def end_of_wait(
    wts_conn_id: str,
    subscribe: Callable[[], Subscription],
    judge: Callable[[dict[str, Snapshot]], tuple[WaitState, str]],
    *,
    earliest: datetime,
    deadline: datetime,
) -> End:
    """Wait, by the poll that all triggers of the connection share.

    :param wts_conn_id: the Airflow connection.
    :param subscribe: says what is waited for.
    :param judge: judges what was seen so far, in a verdict and a sentence for a person.
    :param earliest: nothing is checked before this.
    :param deadline: when the wait ends unsuccessfully.
    """
    await asyncio.sleep(max(0.0, _left(earliest)))
    subscription = subscribe()
    # What thousands of waiting triggers need no more should not be kept by them.
    del subscribe
    poller = poller_of(wts_conn_id)
    poller.subscribe(subscription)
    seen: dict[str, Snapshot] = {}
    try:
        while True:
            left = _left(deadline)
            try:
                seen.update(await subscription.next(left))
            except WtsError as error:
                final = refuses_token(error) or isinstance(error, WtsInvalidRequestError)
                return End("error", seen, str(error), final, getattr(error, "retry_after", None))
            verdict, message = judge(seen)
            if verdict is not WaitState.WAITING:
                return End(verdict.value, seen, message, verdict is WaitState.FAILED)
            if left <= 0:
                return End("timeout", seen, message)
    finally:
        poller.unsubscribe(subscription)


def _left(moment: datetime) -> float:
    return (moment - datetime.now(UTC)).total_seconds()
