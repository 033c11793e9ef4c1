"""The subscriptions of triggers to the shared poll."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wts.api.sessions import SESSION_STATUSES
from airflow_provider_wts.waiting.conditions import Snapshot, wrote_after

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from airflow_provider_wts.api.errors import WtsError


class Subscription:
    """What one trigger waits for, sessions or messages by ID, and what it has received."""

    # A triggerer may have tens of thousands of these: use slots, create dicts only when needed, and no Event, which
    # alone takes almost a kilobyte.
    __slots__ = ("_error", "_known", "_news", "_unreadable", "_waiter", "ids", "interval", "optional")

    def __init__(self, ids: Iterable[str], *, interval: float, optional: int = 0) -> None:
        self.ids = tuple(dict.fromkeys(one.lower() for one in ids))
        self.interval = interval
        #: How many of them the wait can do without.
        self.optional = optional
        self._unreadable: set[str] | None = None
        self._known: dict[str, Snapshot] | None = None
        self._news: dict[str, Snapshot] | None = None
        self._error: WtsError | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def next(self, timeout: float) -> dict[str, Snapshot]:
        """Return what was seen since the last call, by ID; empty after a timeout.

        :raises WtsError: when the poll failed permanently.
        """
        if self._news is None and self._error is None and timeout > 0:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(timeout, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        if self._error is not None:
            raise self._error
        news, self._news = self._news, None
        return news or {}

    def known(self, one: str) -> Snapshot | None:
        """Return what was last reported about a session or message."""
        return self._known.get(one) if self._known else None

    def report(self, one: str, seen: Snapshot) -> None:
        """Report what was seen."""
        known = self.known(one)
        if known is not None and self.interesting(known):
            # A stale list must not revert it.
            return
        if self._unreadable is not None:
            self._unreadable.discard(one)
        if self._known is None:
            self._known = {}
        if self._news is None:
            self._news = {}
        self._known[one] = self._news[one] = seen
        self._wake()

    def interesting(self, seen: Snapshot) -> bool:
        """Whether the trigger waits for this, so that nothing seen later counts."""
        return False

    def give_up(self, one: str, error: WtsError) -> None:
        """End the wait with the error about a session or message that cannot be read, unless the others are enough."""
        known = self.known(one)
        if known is not None and self.interesting(known):
            return
        if self._unreadable is None:
            self._unreadable = set()
        self._unreadable.add(one)
        if len(self._unreadable) > self.optional:
            self.fail(error)

    def fail(self, error: WtsError) -> None:
        """End the wait with an error."""
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class SessionSubscription(Subscription):
    """A wait for statuses of sessions; changes before ``since`` are ignored."""

    __slots__ = ("since", "statuses")

    #: The field of a snapshot that the wait is about.
    news: ClassVar[str] = "status"

    def __init__(
        self, ids: Iterable[str], statuses: Iterable[str], *, since: datetime, interval: float, optional: int = 0
    ) -> None:
        super().__init__(ids, interval=interval, optional=optional)
        self.statuses = tuple(statuses)
        self.since = since

    def interesting(self, seen: Snapshot) -> bool:
        """Whether the trigger waits for this, so that the list of changed sessions should have shown it."""
        return seen.status in self.statuses

    def knows(self, one: str, seen: Snapshot) -> bool:
        """Whether this has already been reported."""
        known = self.known(one)
        return known is not None and getattr(known, self.news) == getattr(seen, self.news)


class ReplySubscription(SessionSubscription):
    """A wait for a message from the contact of a session after a time."""

    __slots__ = ("after",)

    news: ClassVar[str] = "last_in"

    def __init__(self, session_id: str, *, after: datetime, since: datetime, interval: float) -> None:
        # A reply may come in any status.
        super().__init__([session_id], SESSION_STATUSES, since=since, interval=interval)
        self.after = after

    def interesting(self, seen: Snapshot) -> bool:
        """Whether the contact wrote."""
        return wrote_after(seen, self.after)


class MessageSubscription(Subscription):
    """A wait for the status of a message."""

    __slots__ = ("id_of",)

    def __init__(self, message_id: str, id_of: str | None, *, interval: float) -> None:
        super().__init__([message_id], interval=interval)
        self.id_of = id_of


class Subscriptions:
    """The subscriptions by session or message, and the order in which these are checked one at a time."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Any]] = {}
        self._in_turn: deque[str] = deque()
        self._failures: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, subscription: Subscription) -> None:
        """Start reporting to a subscription."""
        for one in subscription.ids:
            if one not in self._waiting:
                self._waiting[one] = []
                self._in_turn.append(one)
            self._waiting[one].append(subscription)

    def remove(self, subscription: Subscription) -> None:
        """Stop reporting to a subscription."""
        for one in subscription.ids:
            waiting = self._waiting.get(one)
            if waiting is not None and subscription in waiting:
                waiting.remove(subscription)
                if not waiting:
                    del self._waiting[one]
                    self._failures.pop(one, None)

    def waiting_for(self, one: str) -> Sequence[Any]:
        """Return the subscriptions for a session or message."""
        return tuple(self._waiting.get(one, ()))

    def next_in_turn(self, count: int) -> list[str]:
        """Return at most ``count`` IDs to check next, and then some of those whose last check failed."""
        chosen: dict[str, None] = {}
        for _ in range(len(self._in_turn)):
            if len(chosen) >= count:
                break
            one = self._in_turn.popleft()
            if one in self._waiting:
                chosen[one] = None
                self._in_turn.append(one)
        chosen.update(dict.fromkeys(islice(self._failures, max(1, count // 2))))
        return list(chosen)

    def count_failures(self, failed: Mapping[str, WtsError], limit: int) -> None:
        """Count failed checks, and end the waits for IDs that reach the limit."""
        for one, error in failed.items():
            if one not in self._waiting:
                continue
            # Move it to the end, so that all failures have their turn.
            self._failures[one] = self._failures.pop(one, 0) + 1
            if self._failures[one] >= limit:
                for subscription in self.waiting_for(one):
                    subscription.give_up(one, error)

    def note_checked(self, chosen: Iterable[str], seen: Mapping[str, Any], failed: Mapping[str, WtsError]) -> None:
        """Record successful checks; IDs that were not checked come next."""
        for one in seen:
            self._failures.pop(one, None)
        if failed and not seen:
            # It gave up early. If odd ones are next to each other, the next poll must not begin with more of them.
            self._in_turn = deque(random.sample(self._in_turn, len(self._in_turn)))
            return
        left = [one for one in chosen if one not in seen and one not in failed]
        for one in reversed(left):
            with suppress(ValueError):
                # It is near the end, where next_in_turn put it.
                self._in_turn.remove(one)
                self._in_turn.appendleft(one)

    def report(self, seen: Mapping[str, Snapshot]) -> None:
        """Report to all subscriptions."""
        for one, what in seen.items():
            for subscription in self._waiting.get(one, ()):
                subscription.report(one, what)
