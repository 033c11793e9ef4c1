"""One poll for all: the triggers of one connection in one event loop share the looks at their sessions.

A sweep lists the sessions that reached a status of interest since a cursor, 100 a request, so thousands of waiters
cost a request or two. The API does not document how its dates behave, so every waiter is also looked at singly now and
then; when such a look finds what the sweeps should have shown, the sweeps are no longer trusted.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from airflow_provider_wts.api.errors import WtsError
from airflow_provider_wts.hooks.failures import is_final
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.waiting.session import FailedLooks
from airflow_provider_wts.waiting.sweep import CLOCK_SLACK, OVERLAP, Sweep, look_singly, moment, sweep

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from airflow_provider_wts.api.client import WtsClient

log = logging.getLogger(__name__)

#: Part of the account's requests that polling may use: 250 of 1,000 in 5 minutes.
SECONDS_PER_CALL = 300 / 250

#: Looks at single sessions beside a sweep that is trusted, and in place of one that is not.
SINGLE_LOOKS = 1
MOST_SINGLE_LOOKS = 100


class Subscription:
    """What one trigger waits for, and what it has been told.

    :param session_ids: the sessions.
    :param statuses: statuses of interest; others are not reported.
    :param since: no change before this is of interest.
    :param interval: seconds between two looks.
    """

    def __init__(
        self, session_ids: Iterable[str], statuses: Iterable[str], *, since: datetime, interval: float
    ) -> None:
        self.session_ids = frozenset(session_ids)
        self.statuses = frozenset(statuses)
        self.since = since
        self.interval = interval
        self._seen: dict[str, str] = {}
        self._error: WtsError | None = None
        self._told = asyncio.Event()

    async def next(self, timeout: float) -> dict[str, str]:
        """Return the statuses seen since the last call, by session; empty when the time passed.

        :param timeout: seconds to wait for news.
        :raises WtsError: when the poll failed for good.
        """
        try:
            async with asyncio.timeout(max(timeout, 0.0)):
                await self._told.wait()
        except TimeoutError:
            return {}
        if self._error is not None:
            raise self._error
        self._told.clear()
        seen, self._seen = self._seen, {}
        return seen

    def tell(self, session_id: str, status: str) -> None:
        """Report a status.

        :param session_id: the session.
        :param status: its status.
        """
        self._seen[session_id] = status
        self._told.set()

    def fail(self, error: WtsError) -> None:
        """End the wait with an error.

        :param error: what the poll raised.
        """
        self._error = error
        self._told.set()


class SessionPoller:
    """Polls for all subscriptions of one connection in one event loop.

    :param wts_conn_id: the Airflow connection.
    """

    def __init__(self, wts_conn_id: str) -> None:
        self._wts_conn_id = wts_conn_id
        self._subscriptions: set[Subscription] = set()
        self._waiting: dict[str, set[Subscription]] = {}
        self._in_turn: deque[str] = deque()
        self._cursor: datetime | None = None
        self._new_since: datetime | None = None
        self._trusted = True
        self._interval = float("inf")
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        #: Whether it has stopped for good; then another one takes its place.
        self.ended = False
        # Its own thread: the loop's threads also look names up for everybody else in the triggerer.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="wts-poll")
        self._hook: WtsHook | None = None

    def subscribe(self, subscription: Subscription) -> None:
        """Begin to report to a subscription.

        :param subscription: what is waited for.
        """
        self._subscriptions.add(subscription)
        for session_id in subscription.session_ids:
            if session_id not in self._waiting:
                self._waiting[session_id] = set()
                self._in_turn.append(session_id)
            self._waiting[session_id].add(subscription)
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
        for session_id in subscription.session_ids:
            waiting = self._waiting.get(session_id)
            if waiting is not None:
                waiting.discard(subscription)
                if not waiting:
                    del self._waiting[session_id]
        if not self._subscriptions:
            self._wake.set()

    async def _run(self) -> None:
        failed_looks = FailedLooks()
        try:
            while self._subscriptions:
                try:
                    calls = await self._look()
                    failed_looks.succeeded()
                except WtsError as error:
                    if is_final(error) or failed_looks.failed(error):
                        self._fail(error)
                        return
                    calls = 1
                await self._pause(calls)
        except Exception as error:
            # Whatever it is, nobody may wait for ever because of it.
            log.exception("The poll of sessions failed.")
            self._fail(WtsError(f"The poll of sessions failed: {type(error).__name__}."))
        finally:
            self.ended = True
            self._thread.shutdown(wait=False)

    async def _pause(self, calls: int) -> None:
        """Sleep until the next look is due, or nobody waits any more."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        self._interval = min((subscription.interval for subscription in self._subscriptions), default=0.0)
        while self._subscriptions:
            left = begun + max(self._interval, calls * SECONDS_PER_CALL) - loop.time()
            if left <= 0:
                return
            self._wake.clear()
            try:
                async with asyncio.timeout(left):
                    await self._wake.wait()
            except TimeoutError:
                return

    async def _look(self) -> int:
        calls = 0
        statuses = sorted(set().union(*(subscription.statuses for subscription in self._subscriptions)))
        since = min(moment for moment in (self._cursor, self._new_since) if moment is not None)
        # Whoever subscribes from now on is looked at from its own moment by the next sweep.
        self._new_since = None
        waiting = len(self._waiting)
        singles = MOST_SINGLE_LOOKS
        if waiting > 1 and self._trusted:
            try:
                swept: Sweep = await self._in_thread(self._sweep, statuses, since, waiting)
            except BaseException:
                self._new_since = min(since, self._new_since or since)
                raise
            calls += swept.calls
            self._tell(swept.statuses)
            if swept.cursor is not None:
                self._cursor = swept.cursor - OVERLAP
                singles = SINGLE_LOOKS
            else:
                # More pages than waiters: looking at each of them singly is cheaper.
                self._new_since = min(since, self._new_since or since)
                singles = min(MOST_SINGLE_LOOKS, max(waiting - calls, 1))
        elif self._cursor is None:
            self._cursor = since
        chosen = self._next_in_turn(singles)
        looked = await self._in_thread(self._look_singly, chosen)
        self._notice_misses(looked, since, swept=waiting > 1 and self._trusted and singles == SINGLE_LOOKS)
        self._tell({session_id: str(session.get("status") or "") for session_id, session in looked.items()})
        return calls + len(chosen)

    def _next_in_turn(self, count: int) -> list[str]:
        chosen: list[str] = []
        for _ in range(len(self._in_turn)):
            if len(chosen) >= count:
                break
            session_id = self._in_turn.popleft()
            if session_id in self._waiting:
                chosen.append(session_id)
                self._in_turn.append(session_id)
        return chosen

    def _notice_misses(self, looked: Mapping[str, Mapping[str, Any]], since: datetime, *, swept: bool) -> None:
        for session_id, session in looked.items():
            interesting = any(
                session.get("status") in subscription.statuses for subscription in self._waiting.get(session_id, ())
            )
            if swept and interesting and self._cursor is not None and moment(session.get("updatedAt")) <= self._cursor:
                self._trusted = False
                log.warning(
                    "WTS Chat's list of sessions did not show a change that the session itself shows (%s). From now "
                    "on every session is looked at singly, which costs more requests.",
                    session_id,
                )

    def _tell(self, statuses: Mapping[str, str]) -> None:
        for session_id, status in statuses.items():
            for subscription in self._waiting.get(session_id, ()):
                subscription.tell(session_id, status)

    def _fail(self, error: WtsError) -> None:
        for subscription in self._subscriptions:
            subscription.fail(error)
        self._subscriptions.clear()
        self._waiting.clear()
        self._in_turn.clear()

    async def _in_thread(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    def _client(self) -> WtsClient:
        # In the thread: it reads the connection, which would block the loop.
        if self._hook is None:
            self._hook = WtsHook(self._wts_conn_id)
        return self._hook.client

    def _sweep(self, statuses: list[str], since: datetime, waiting: int) -> Sweep:
        return sweep(self._client(), statuses, since, most_pages=waiting)

    def _look_singly(self, session_ids: list[str]) -> dict[str, Any]:
        return look_singly(self._client(), session_ids)


_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, SessionPoller]] = WeakKeyDictionary()


def poller_of(wts_conn_id: str) -> SessionPoller:
    """Return the poller of a connection in the running event loop.

    :param wts_conn_id: the Airflow connection.
    """
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    poller = pollers.get(wts_conn_id)
    if poller is None or poller.ended:
        poller = pollers[wts_conn_id] = SessionPoller(wts_conn_id)
    return poller
