"""Asking, in time, what became of sends that nobody knows of: not before the platform had time to work on them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_wts.api.errors import WtsError, WtsUnknownOutcomeError
from airflow_provider_wts.sending import clock, reconcile
from airflow_provider_wts.sending.reconcile import Finding, Found
from airflow_provider_wts.sending.sweep import TAKEN, Doubt, Group, Sweep

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from airflow_provider_wts.hooks.wts import WtsHook
    from airflow_provider_wts.sending.delivery import Lost, Way

log = logging.getLogger(__name__)

#: Seconds to wait for what the platform was given before, until absence means anything. Nothing is documented about how
#: long a send may stay in its queue; where nothing shows how far the platform is, all of this time is waited.
QUEUE_WAIT = 300.0

_QUEUE_INTERVAL = 5.0

#: Seconds between two looks for the rest of a request that was taken, and without anything new until it is given up.
_REST_INTERVAL = 15.0
_STANDSTILL = 60.0

_IN_QUEUE = ("QUEUED", "PROCESSING", "SAVED")


class Inquiry:
    """Asks the API about sends.

    :param hook: the hook of the task's connection.
    :param way: how they went out.
    """

    def __init__(self, hook: WtsHook, way: Way) -> None:
        self._hook = hook
        self._way = way

    @property
    def _lag(self) -> float:
        """Seconds after the last byte of a request in which it may still take effect."""
        return reconcile.effect_lag(self._hook.client.timeout)

    def at_once(self, lost: Sequence[Lost], since: datetime, recent: Iterable[str]) -> dict[str, Found]:
        """Ask about requests that got no answer a moment ago.

        :param lost: the sends.
        :param since: no earlier than this were they sent.
        :param recent: ids of sends that the API took before them.
        """
        lost_at = clock.now()
        found = self._search(lost, since)
        if all(one.finding is Finding.FOUND for one in found.values()):
            return found
        clock.sleep(self._lag - clock.elapsed(lost_at))
        return self._settled(lost, since, recent)

    def later(
        self, lost: Sequence[Lost], since: datetime, recent: Iterable[str], *, at_a_time: int, begun: float
    ) -> dict[str, Found]:
        """Ask about what an earlier try left, with one search.

        :param lost: the sends.
        :param since: no earlier than this were they sent.
        :param recent: ids of sends that the API took before them.
        :param at_a_time: how many may have been under way at a time, where they went out in this order; 0 = nothing
            is known of their order.
        :param begun: seconds for which no earlier try can have written a request.
        """
        # However old an intent is: a limit may have held its request until then.
        clock.sleep(self._lag - begun)
        return self._settled(lost, since, recent, at_a_time=at_a_time)

    def _settled(
        self, lost: Sequence[Lost], since: datetime, recent: Iterable[str], *, at_a_time: int = 0
    ) -> dict[str, Found]:
        known = list(recent)
        moved_on = not known or self._queue_moved_on(known)
        found = self._search(lost, since, at_a_time=at_a_time)
        if not known and any(one.finding is Finding.ABSENT for one in found.values()):
            log.info("Nothing shows how far WTS Chat is with its queue; looking again in %.0f s.", QUEUE_WAIT)
            clock.sleep(QUEUE_WAIT)
            found = self._search(lost, since, at_a_time=at_a_time)
        if not moved_on:
            reason = "WTS Chat is still at work on what it was given before"
            behind = Found(Finding.UNDECIDED, reason=reason)
            found = {key: behind if one.finding is Finding.ABSENT else one for key, one in found.items()}
        return self._with_the_rest(lost, since, found)

    def _with_the_rest(self, lost: Sequence[Lost], since: datetime, found: dict[str, Found]) -> dict[str, Found]:
        """Wait for the rest of requests that were taken, as long as more and more of it shows."""
        begun = moved = clock.now()
        while left := [doubt for doubt in _doubts(lost) if found[doubt.key].reason == TAKEN]:
            if clock.elapsed(begun) >= QUEUE_WAIT or clock.elapsed(moved) >= _STANDSTILL:
                break
            clock.sleep(_REST_INTERVAL)
            try:
                new = Sweep(self._hook, self._way.traces, since).seen(left)
            except WtsError as error:
                log.info("WTS Chat does not tell how far it is: %s", error)
                continue
            if new:
                found, moved = found | new, clock.now()
        return found

    def _search(self, lost: Sequence[Lost], since: datetime, *, at_a_time: int = 0) -> dict[str, Found]:
        shared = self._way.request_size > 1
        groups = [Group(_doubts([one]), one.whole, shared, one.taken) for one in lost]
        try:
            return Sweep(self._hook, self._way.traces, since).search(groups, at_a_time=at_a_time)
        except WtsError as error:
            raise WtsUnknownOutcomeError(
                f"It is not known whether an earlier request took effect, and WTS Chat could not be asked: {error} "
                "Another try asks again before it sends.",
                repeatable=True,
            ) from error

    def _queue_moved_on(self, recent: list[str]) -> bool:
        """Wait until the platform has worked on what it was given before; only then absence means anything."""
        begun = clock.now()
        waited = False
        while not self._one_is_done(recent):
            if clock.elapsed(begun) > QUEUE_WAIT:
                return False
            waited = True
            clock.sleep(_QUEUE_INTERVAL)
        if waited:
            # It has only now come to what was given after that.
            clock.sleep(self._lag)
        return True

    def _one_is_done(self, recent: list[str]) -> bool:
        # The last one first: where it is done, one call is enough.
        for one in recent[::-1]:
            try:
                if self._hook.run(self._way.status_call(one)).get("status") not in (None, *_IN_QUEUE):
                    return True
            except WtsError as error:
                # No answer is no sign that the queue has moved.
                log.info("WTS Chat does not tell how far it is: %s", error)
        return False


def _doubts(lost: Sequence[Lost]) -> list[Doubt]:
    return [Doubt(send.mark.key, send.recipient.to) for one in lost for send in one.sends]
