"""Asking, in time, what became of sends that nobody knows of: not before the platform had time to work on them."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_provider_wts.api.errors import WtsError, WtsUnknownOutcomeError
from airflow_provider_wts.sending.reconcile import Finding, Found
from airflow_provider_wts.sending.sweep import Doubt, Group, Sweep

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provider_wts.hooks.wts import WtsHook
    from airflow_provider_wts.sending.delivery import Lost, Way

log = logging.getLogger(__name__)

#: Seconds to wait for what the platform was given before, until absence means anything.
QUEUE_WAIT = 120.0

_QUEUE_INTERVAL = 5.0

_IN_QUEUE = ("QUEUED", "PROCESSING", "SAVED")

#: An intent so old cannot belong to a request that is still on its way, whatever held it.
_SETTLED_AGE = timedelta(minutes=15)


class Inquiry:
    """Asks the API about sends.

    :param hook: the hook of the task's connection.
    :param way: how they went out.
    :param grace: seconds that the API may still be at work on a request whose answer was lost.
    """

    def __init__(self, hook: WtsHook, way: Way, grace: float) -> None:
        self._hook = hook
        self._way = way
        self._grace = grace

    def at_once(self, lost: Sequence[Lost], since: datetime, recent: Iterable[str]) -> dict[str, Found]:
        """Ask about requests that got no answer a moment ago.

        :param lost: the sends.
        :param since: no earlier than this were they sent.
        :param recent: ids of sends that the API took before them.
        """
        settled_at = time.monotonic() + self._grace
        found = self._search(lost, since)
        if all(one.finding is Finding.FOUND for one in found.values()):
            return found
        time.sleep(max(0.0, settled_at - time.monotonic()))
        return self._settled(lost, since, recent)

    def later(
        self, lost: Sequence[Lost], since: datetime, recent: Iterable[str], *, at_a_time: int
    ) -> dict[str, Found]:
        """Ask about what an earlier try left, with one search.

        :param lost: the sends.
        :param since: no earlier than this were they sent.
        :param recent: ids of sends that the API took before them.
        :param at_a_time: how many may have been under way at a time, where they went out in this order; 0 = nothing
            is known of their order.
        """
        if datetime.now(UTC) - since < _SETTLED_AGE:
            # The request may have gone out a moment ago, whenever its intent was written: a limit may have held it.
            time.sleep(self._grace)
        return self._settled(lost, since, recent, at_a_time=at_a_time)

    def _settled(
        self, lost: Sequence[Lost], since: datetime, recent: Iterable[str], *, at_a_time: int = 0
    ) -> dict[str, Found]:
        moved_on = self._queue_moved_on(list(recent))
        found = self._search(lost, since, at_a_time=at_a_time)
        if moved_on:
            return found
        reason = "WTS Chat is still at work on what it was given before"
        return {
            key: Found(Finding.UNDECIDED, reason=reason) if one.finding is Finding.ABSENT else one
            for key, one in found.items()
        }

    def _search(self, lost: Sequence[Lost], since: datetime, *, at_a_time: int = 0) -> dict[str, Found]:
        groups = [Group([Doubt(send.mark.key, send.recipient.to) for send in one.sends], one.whole) for one in lost]
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
        until = time.monotonic() + QUEUE_WAIT
        while recent:
            try:
                # The last one first: where it is done, one call is enough.
                if any(
                    self._hook.run(self._way.status_call(one)).get("status") not in _IN_QUEUE for one in recent[::-1]
                ):
                    return True
            except WtsError as error:
                log.info("WTS Chat does not tell how far it is: %s", error)
                return True
            if time.monotonic() > until:
                return False
            time.sleep(_QUEUE_INTERVAL)
        return True
