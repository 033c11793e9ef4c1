"""Base of the triggers of waiting tasks: their arguments, the shared poll, and the event at the end."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_wts.waiting.deferral import EARLIEST_FIRING
from airflow_provider_wts.waiting.poller import end_of_wait

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_wts.waiting.conditions import Snapshot, WaitState
    from airflow_provider_wts.waiting.poller import End
    from airflow_provider_wts.waiting.subscriptions import Subscription


class WtsWaitTrigger(BaseTrigger):
    """Waits by the poll that all triggers of a connection share, then sends one event.

    :param wts_conn_id: ID of the Airflow connection.
    :param poll_interval: polling interval in seconds.
    :param earliest: date and time (ISO 8601) before which no event is sent.
    :param deadline: date and time (ISO 8601) at which the wait ends unsuccessfully.
    """

    #: The other arguments. Airflow stores all of them, by these names.
    arguments: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *, wts_conn_id: str, poll_interval: float, earliest: str, deadline: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's trigger classes have no annotations
        self.wts_conn_id = wts_conn_id
        self.poll_interval = poll_interval
        self.earliest = earliest
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments, as plain JSON."""
        names = ("wts_conn_id", *self.arguments, "poll_interval", "earliest", "deadline")
        return f"{type(self).__module__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    def subscription(self) -> Subscription:
        """Return what the trigger waits for."""
        raise NotImplementedError

    def judge(self, seen: dict[str, Snapshot]) -> tuple[WaitState, str]:
        """Return whether the wait is over by the last snapshots, and a sentence about it."""
        raise NotImplementedError

    def report(self, seen: dict[str, Snapshot]) -> dict[str, Any]:
        """Return what the event holds besides the outcome."""
        raise NotImplementedError

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the shared poll, then send one event."""
        end = await end_of_wait(
            self.wts_conn_id,
            self.subscription,
            self.judge,
            earliest=datetime.fromisoformat(self.earliest),
            deadline=datetime.fromisoformat(self.deadline),
        )
        yield self.event(end)

    def event(self, end: End) -> TriggerEvent:
        """Return the event at the end of the wait."""
        event = {"outcome": end.outcome, **self.report(end.seen), "message": end.message, "final": end.final}
        if end.retry_after is not None:
            event["retry_after"] = end.retry_after
        return TriggerEvent(event)  # type: ignore[no-untyped-call]

    @property
    def checked_at(self) -> datetime:
        """When the task last checked; earlier changes do not matter."""
        return datetime.fromisoformat(self.earliest) - timedelta(seconds=EARLIEST_FIRING)
