"""One poll for all: the triggers of one connection in one event loop share the looks at what they wait for.

A sweep lists the sessions that reached a status of interest since a cursor, 100 a request, so thousands of waiters
cost a request or two. The API does not document how its dates behave, so every waiter is also looked at singly now and
then; when such a look finds what the sweeps should have shown, the sweeps are no longer trusted.

Messages have no such list: they are looked at singly, in turn, within the same share of the account's requests.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from airflow_provider_wts.api.call import moment
from airflow_provider_wts.api.errors import WtsError
from airflow_provider_wts.hooks.failures import is_final
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.waiting.message import look_at_messages
from airflow_provider_wts.waiting.session import FailedLooks, Verdict
from airflow_provider_wts.waiting.subscription import Board, MessageSubscription, SessionSubscription, session_seen
from airflow_provider_wts.waiting.sweep import CLOCK_SLACK, OVERLAP, Sweep, look_singly, sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_wts.api.client import WtsClient
    from airflow_provider_wts.waiting.subscription import Seen, Subscription

log = logging.getLogger(__name__)

#: Part of the account's requests that polling may use: 250 of 1,000 in 5 minutes.
SECONDS_PER_CALL = 300 / 250

#: Looks at single sessions beside a sweep that is trusted, and in place of one that is not.
SINGLE_LOOKS = 1
MOST_SINGLE_LOOKS = 100


class Poller:
    """Polls for all subscriptions of one connection in one event loop.

    :param wts_conn_id: the Airflow connection.
    """

    def __init__(self, wts_conn_id: str) -> None:
        self._wts_conn_id = wts_conn_id
        self._subscriptions: set[Subscription] = set()
        self._sessions = Board()
        self._messages = Board()
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

    def _board_of(self, subscription: Subscription) -> Board:
        return self._messages if isinstance(subscription, MessageSubscription) else self._sessions

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
            log.exception("The poll failed.")
            self._fail(WtsError(f"The poll failed: {type(error).__name__}."))
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
        if len(self._sessions):
            calls += await self._look_at_sessions()
        if len(self._messages):
            calls += await self._look_at_messages()
        return calls

    async def _look_at_sessions(self) -> int:
        calls = 0
        statuses = sorted(
            {
                status
                for subscription in self._subscriptions
                if isinstance(subscription, SessionSubscription)
                for status in subscription.statuses
            }
        )
        since = min(moment for moment in (self._cursor, self._new_since) if moment is not None)
        # Whoever subscribes from now on is looked at from its own moment by the next sweep.
        self._new_since = None
        waiting = len(self._sessions)
        singles = MOST_SINGLE_LOOKS
        if waiting > 1 and self._trusted:
            try:
                swept: Sweep = await self._in_thread(self._sweep, statuses, since, waiting)
            except BaseException:
                self._new_since = min(since, self._new_since or since)
                raise
            calls += swept.calls
            self._sessions.tell(swept.seen)
            if swept.cursor is not None:
                self._cursor = swept.cursor - OVERLAP
                singles = SINGLE_LOOKS
            else:
                # More pages than waiters: looking at each of them singly is cheaper.
                self._new_since = min(since, self._new_since or since)
                singles = min(MOST_SINGLE_LOOKS, max(waiting - calls, 1))
        elif self._cursor is None:
            self._cursor = since
        chosen = self._sessions.next_in_turn(singles)
        looked = await self._in_thread(self._look_singly, chosen)
        if waiting > 1 and self._trusted and singles == SINGLE_LOOKS:
            self._notice_misses(looked)
        self._sessions.tell({session_id: session_seen(session) for session_id, session in looked.items()})
        return calls + len(chosen)

    async def _look_at_messages(self) -> int:
        chosen = {
            message_id: next((one.id_of for one in self._messages.waiting_for(message_id) if one.id_of), None)
            for message_id in self._messages.next_in_turn(MOST_SINGLE_LOOKS)
        }
        seen, calls = await self._in_thread(self._look_at, chosen)
        self._messages.tell(seen)
        return int(calls)

    def _notice_misses(self, looked: Mapping[str, Mapping[str, Any]]) -> None:
        for session_id, session in looked.items():
            seen = session_seen(session)
            missed = any(
                subscription.interesting(seen) and not subscription.knows(session_id, seen)
                for subscription in self._sessions.waiting_for(session_id)
            )
            if missed and self._cursor is not None and moment(session.get("updatedAt")) <= self._cursor:
                self._trusted = False
                log.warning(
                    "WTS Chat's list of sessions did not show a change that the session itself shows (%s). From now "
                    "on every session is looked at singly, which costs more requests.",
                    session_id,
                )

    def _fail(self, error: WtsError) -> None:
        for subscription in self._subscriptions:
            subscription.fail(error)
        self._subscriptions.clear()
        self._sessions.clear()
        self._messages.clear()

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
        # Not to the end where nobody waits any more.
        return look_singly(self._client(), (session_id for session_id in session_ids if self._subscriptions))

    def _look_at(self, messages: dict[str, str | None]) -> tuple[dict[str, Seen], int]:
        return look_at_messages(self._client(), messages)


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
    """

    outcome: str
    seen: dict[str, Seen]
    message: str
    final: bool = False


async def end_of_wait(
    wts_conn_id: str,
    subscribe: Callable[[], Subscription],
    judge: Callable[[dict[str, Seen]], tuple[Verdict, str]],
    *,
    earliest: datetime,
    deadline: datetime,
) -> End:
    """Wait, by the poll that all triggers of the connection share.

    :param wts_conn_id: the Airflow connection.
    :param subscribe: says what is waited for.
    :param judge: judges what was seen so far, in a verdict and a sentence for a person.
    :param earliest: nothing is looked at before this.
    :param deadline: when the wait ends unsuccessfully.
    """
    await asyncio.sleep(max(0.0, _left(earliest)))
    subscription = subscribe()
    # What thousands of waiting triggers need no more should not be kept by them.
    del subscribe
    poller = poller_of(wts_conn_id)
    poller.subscribe(subscription)
    seen: dict[str, Seen] = {}
    try:
        while True:
            left = _left(deadline)
            try:
                seen.update(await subscription.next(left))
            except WtsError as error:
                return End("error", seen, str(error), is_final(error))
            verdict, message = judge(seen)
            if verdict is not Verdict.WAITING:
                return End(verdict.value, seen, message, verdict is Verdict.FAILED)
            if left <= 0:
                return End("timeout", seen, message)
    finally:
        poller.unsubscribe(subscription)


def _left(moment: datetime) -> float:
    return (moment - datetime.now(UTC)).total_seconds()
