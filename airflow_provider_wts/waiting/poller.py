"""The shared poll: all triggers of one connection in one event loop share their requests.

A sweep lists the sessions that changed to a status of interest since a cursor, 100 per request, so one or two requests
serve thousands of triggers. The API does not document how its dates behave, so each session is also checked by itself
from time to time. If such a check finds a change that the sweeps should have shown, they are no longer trusted.

Messages have no such list. They are checked one at a time, in turn, within the same share of the rate limit.
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
from airflow_provider_wts.api.wire import CLOCK_SLACK, parse_timestamp
from airflow_provider_wts.hooks import metrics
from airflow_provider_wts.waiting.conditions import (
    MAX_FAILED_CHECKS,
    FailedChecks,
    WaitState,
    refuses_token,
    session_snapshot,
)
from airflow_provider_wts.waiting.reader import BackgroundReader
from airflow_provider_wts.waiting.session_changes import (
    SWEEP_OVERLAP,
    SingleChecks,
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

#: Seconds per request, so that polling uses at most 250 of the account's 1,000 requests in 5 minutes.
SECONDS_PER_CALL = 300 / 250

#: Seconds in which every session is checked by itself once while the list is trusted, if the rate limit allows it.
TURN = 3600.0

#: Seconds of consecutive 429 answers that do not count as failed checks, because the limit resets within that time.
RATE_LIMIT_WAIT = 300.0

#: Seconds for which the last poll before all waits end looks for a session or message that can be read.
LAST_PATIENCE = 300.0

#: Maximum checks of single sessions or messages per poll.
MAX_SINGLE_CHECKS = 100


class Poller:
    """Polls for all subscriptions of one connection in one event loop."""

    def __init__(self, wts_conn_id: str) -> None:
        self._subscriptions: set[Subscription] = set()
        self._sessions = Subscriptions()
        self._messages = Subscriptions()
        self._cursor: datetime | None = None
        self._new_since: datetime | None = None
        self._trusted = True
        #: How many sessions to check by themselves, because a list did not show all changes.
        self._unchecked = 0
        self._limited_since: float | None = None
        #: Changes that a single check found first, and that the next list must show, too.
        self._expected: dict[str, str] = {}
        self._interval = float("inf")
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        #: Whether it has stopped permanently, so that another one must replace it.
        self.ended = False
        self._reader = BackgroundReader(wts_conn_id, "wts-poll")
        self._wts_conn_id = wts_conn_id

    def subscribe(self, subscription: Subscription) -> None:
        """Start reporting to a subscription."""
        self._subscriptions.add(subscription)
        self._group_of(subscription).add(subscription)
        if isinstance(subscription, SessionSubscription):
            since = subscription.since - CLOCK_SLACK
            self._new_since = min(since, self._new_since or since)
        if subscription.interval < self._interval:
            self._interval = subscription.interval
            self._wake.set()
        if self._task is None:
            # An empty context, because in the trigger's the log lines would go to its task. Not a child of the
            # trigger's asyncio task, because the poll must continue when that is cancelled.
            self._task = asyncio.get_running_loop().create_task(self._run(), context=contextvars.Context())

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop reporting to a subscription."""
        self._subscriptions.discard(subscription)
        self._group_of(subscription).remove(subscription)
        if not self._subscriptions:
            self._wake.set()

    def _group_of(self, subscription: Subscription) -> Subscriptions:
        return self._messages if isinstance(subscription, MessageSubscription) else self._sessions

    async def _run(self) -> None:
        failed_checks = FailedChecks()
        polls = metrics.PollMetrics("waits", self._wts_conn_id)
        try:
            while self._subscriptions:
                metrics.gauge("wts.waiters", len(self._subscriptions), connection=self._wts_conn_id)
                try:
                    pause = await self._poll_once(patience=LAST_PATIENCE if failed_checks.one_left else 0.0)
                    failed_checks.succeeded()
                    polls.polled(succeeded=True)
                except Exception as error:
                    # Any error is about this poll, not about a single wait.
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

    async def _pause(self, minimum: float) -> None:
        """Sleep until the next poll is due, or no subscription is left."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        self._interval = min((subscription.interval for subscription in self._subscriptions), default=0.0)
        while self._subscriptions:
            left = begun + max(self._interval, minimum) - loop.time()
            if left <= 0:
                return
            self._wake.clear()
            try:
                async with asyncio.timeout(left):
                    await self._wake.wait()
            except TimeoutError:
                return

    async def _poll_once(self, *, patience: float) -> float:
        """Poll once, and return the minimum seconds until the next poll."""
        calls, learned = 0, False
        errors: list[WtsError] = []
        failed: list[tuple[Subscriptions, dict[str, WtsError]]] = []
        if len(self._sessions) > 1:
            try:
                calls += await self._sweep()
                learned = True
            except WtsError as error:
                if refuses_token(error):
                    raise
                log.warning("The list of changed sessions cannot be read; sessions are read one at a time. %s", error)
                errors.append(error)
        for group, check in ((self._sessions, self._check_sessions), (self._messages, self._check_messages)):
            if not len(group):
                continue
            checked = await check(calls, all_due=bool(errors), token_works=learned, patience=patience)
            calls += checked.calls
            learned = learned or bool(checked.seen)
            errors += checked.failed.values()
            failed.append((group, checked.failed))
        if errors and not learned:
            # Beside other failures, a 401 shows nothing about the token; the next poll does.
            errors.sort(key=refuses_token)
            raise next((error for error in errors if isinstance(error, WtsRateLimitError)), errors[0])
        for group, failures in failed:
            # A request that never reached the API shows nothing about a session.
            about = {one: error for one, error in failures.items() if not isinstance(error, WtsNotSentError)}
            group.count_failures(about, MAX_FAILED_CHECKS)
        self._limited_since = None
        return max(calls * SECONDS_PER_CALL, *(getattr(error, "retry_after", 0.0) for error in errors), 0.0)

    async def _sweep(self) -> int:
        waits = [one for one in self._subscriptions if isinstance(one, SessionSubscription)]
        statuses = sorted({status for one in waits for status in one.statuses})
        since = min(at for at in (self._cursor, self._new_since) if at is not None)
        # The next sweep begins early enough for subscriptions that are added from now on.
        self._new_since = None
        waiting = len(self._sessions)
        try:
            swept: Sweep = await self._reader.read(lambda client: sweep(client, statuses, since, max_pages=waiting))
        except BaseException:
            self._new_since = min(since, self._new_since or since)
            raise
        self._sessions.report(swept.seen)
        self._cursor = swept.cursor - SWEEP_OVERLAP
        if swept.gave_up:
            # There are more pages than sessions to check, or the list broke off. Single checks find what it did not
            # show.
            self._unchecked = waiting
        else:
            self._check_expected(swept, statuses)
        return swept.calls

    async def _check_sessions(self, calls: int, *, all_due: bool, token_works: bool, patience: float) -> SingleChecks:
        waiting = len(self._sessions)
        if self._cursor is None:
            self._cursor = self._new_since
        by_list = waiting > 1 and self._trusted and self._unchecked <= 0 and not all_due
        count = min(waiting, MAX_SINGLE_CHECKS)
        if by_list:
            interval = min(self._interval, TURN)
            share = int(interval / SECONDS_PER_CALL) - calls if SECONDS_PER_CALL else count
            count = max(1, min(math.ceil(waiting * interval / TURN), share, count))
        chosen = self._sessions.next_in_turn(count)
        # Without retries: the next turn is the retry.
        checked = await self._reader.read(
            lambda client: poll_sessions(
                client.perform_once, self._wanted(chosen), token_works=token_works, patience=patience
            )
        )
        self._sessions.note_checked(chosen, checked.seen, checked.failed)
        self._unchecked -= len(checked.seen)
        if by_list:
            self._compare_with_list(checked.seen)
        self._sessions.report({session_id: session_snapshot(session) for session_id, session in checked.seen.items()})
        return checked

    async def _check_messages(self, calls: int, *, all_due: bool, token_works: bool, patience: float) -> SingleChecks:
        chosen = self._messages.next_in_turn(MAX_SINGLE_CHECKS)
        kinds = {
            message_id: next((one.id_of for one in self._messages.waiting_for(message_id) if one.id_of), None)
            for message_id in chosen
        }
        checked = await self._reader.read(
            lambda client: poll_messages(
                client.perform_once,
                {one: kinds[one] for one in self._wanted(chosen)},
                token_works=token_works,
                patience=patience,
            )
        )
        self._messages.note_checked(chosen, checked.seen, checked.failed)
        self._messages.report(checked.seen)
        return checked

    def _wanted(self, ids: Iterable[str]) -> Iterable[str]:
        """Yield IDs as long as there are subscriptions."""
        return (one for one in ids if self._subscriptions)

    def _compare_with_list(self, checked: Mapping[str, Mapping[str, Any]]) -> None:
        """Distrust the list if it missed a change that a single check shows. The next list must show newer changes."""
        for session_id, session in checked.items():
            seen = session_snapshot(session)
            missed = any(
                subscription.interesting(seen) and not subscription.knows(session_id, seen)
                for subscription in self._sessions.waiting_for(session_id)
            )
            if not missed or self._cursor is None:
                continue
            changed = parse_timestamp(session.get("updatedAt"))
            if changed is not None and changed <= self._cursor:
                self._distrust(session_id)
            else:
                self._expected[session_id] = seen.status

    def _check_expected(self, swept: Sweep, statuses: list[str]) -> None:
        for session_id, status in self._expected.items():
            if status in statuses and session_id not in swept.seen:
                self._distrust(session_id)
        self._expected.clear()

    def _distrust(self, session_id: str) -> None:
        if self._trusted:
            log.warning(
                "WTS Chat's list of sessions did not show a change that the session itself shows (%s). From now on, "
                "every session is also read by itself, which makes extra requests.",
                session_id,
            )
        self._trusted = False

    def _fail(self, error: WtsError) -> None:
        for subscription in self._subscriptions:
            subscription.fail(error)
        self._subscriptions.clear()
        self._sessions, self._messages = Subscriptions(), Subscriptions()


_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Poller]] = WeakKeyDictionary()


def poller_of(wts_conn_id: str) -> Poller:
    """Return the poller of a connection in the running event loop."""
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    poller = pollers.get(wts_conn_id)
    if poller is None or poller.ended:
        poller = pollers[wts_conn_id] = Poller(wts_conn_id)
    return poller


class End(NamedTuple):
    """The end of a wait.

    :param outcome: ``reached``, ``failed``, ``timeout`` or ``error``.
    :param final: whether waiting again cannot help.
    :param retry_after: seconds until the rate limit resets, if that ended the wait.
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
    """Wait, with the poll that all triggers of the connection share.

    :param judge: returns the state of the wait, given what was seen so far, and a sentence for people to read.
    :param earliest: nothing is checked before this.
    """
    await asyncio.sleep(max(0.0, _left(earliest)))
    subscription = subscribe()
    # Free the memory: thousands of triggers may be waiting.
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
            state, message = judge(seen)
            if state is not WaitState.WAITING:
                return End(state.value, seen, message, state is WaitState.FAILED)
            if left <= 0:
                return End("timeout", seen, message)
    finally:
        poller.unsubscribe(subscription)


def _left(until: datetime) -> float:
    return (until - datetime.now(UTC)).total_seconds()
