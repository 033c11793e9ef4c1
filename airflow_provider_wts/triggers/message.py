"""The triggers that wait for a contact's answer, and for the status of a message."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_wts.waiting.conditions import NOT_FOUND, MessageWait, WaitState, wrote_after
from airflow_provider_wts.waiting.deferral import EARLIEST_FIRING
from airflow_provider_wts.waiting.poller import end_of_wait
from airflow_provider_wts.waiting.subscriptions import MessageSubscription, ReplySubscription

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_wts.waiting.conditions import Snapshot


class WtsSessionReplyTrigger(BaseTrigger):
    """Waits until the contact of a session writes; sends one event.

    The event is a dict with ``outcome`` (``reached``, ``failed``, ``timeout`` or ``error``), ``session_id``,
    ``since``, ``last_message_in`` (when the contact wrote last), ``message`` and ``final``. It holds nothing that the
    contact wrote.

    :param wts_conn_id: id of the Airflow connection.
    :param session_id: the session.
    :param since: moment (ISO 8601) after which a message of the contact counts.
    :param poll_interval: seconds between two looks.
    :param earliest: moment (ISO 8601) before which no event is sent.
    :param deadline: moment (ISO 8601) at which the wait ends unsuccessfully.
    """

    def __init__(
        self, *, wts_conn_id: str, session_id: str, since: str, poll_interval: float, earliest: str, deadline: str
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's trigger classes have no annotations
        self.wts_conn_id = wts_conn_id
        self.session_id = session_id
        self.since = since
        self.poll_interval = poll_interval
        self.earliest = earliest
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments, as plain JSON."""
        names = ("wts_conn_id", "session_id", "since", "poll_interval", "earliest", "deadline")
        return f"{__name__}.WtsSessionReplyTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for news of the shared poll; send one event."""
        earliest = datetime.fromisoformat(self.earliest)
        end = await end_of_wait(
            self.wts_conn_id,
            lambda: ReplySubscription(
                self.session_id,
                after=datetime.fromisoformat(self.since),
                since=earliest - timedelta(seconds=EARLIEST_FIRING),
                interval=self.poll_interval,
            ),
            self._judge,
            earliest=earliest,
            deadline=datetime.fromisoformat(self.deadline),
        )
        seen = end.seen.get(self.session_id.lower())
        yield TriggerEvent(  # type: ignore[no-untyped-call]
            {
                "outcome": end.outcome,
                "session_id": self.session_id,
                "since": self.since,
                "last_message_in": seen.last_in or None if seen else None,
                "message": end.message,
                "final": end.final,
            }
        )

    def _judge(self, seen: dict[str, Snapshot]) -> tuple[WaitState, str]:
        session = seen.get(self.session_id.lower())
        if session is not None and session.status == NOT_FOUND:
            return WaitState.FAILED, f"Session {self.session_id} cannot be found."
        if session is not None and wrote_after(session, datetime.fromisoformat(self.since)):
            return WaitState.REACHED, f"The contact of session {self.session_id} replied."
        return WaitState.WAITING, f"The contact of session {self.session_id} has not replied since {self.since}."


class WtsMessageStatusTrigger(BaseTrigger):
    """Waits until a message reaches a status; sends one event.

    The event is a dict with ``outcome`` (``reached``, ``failed``, ``timeout`` or ``error``), ``message_id``,
    ``status`` (the last one seen), ``message`` and ``final``. It holds nothing of the message's text.

    :param wts_conn_id: id of the Airflow connection.
    :param message_id: the id.
    :param id_of: ``send`` or ``message``; ``None`` where it is not known which of the two the id belongs to.
    :param target_status: ``SENT``, ``DELIVERED`` or ``READ``.
    :param poll_interval: seconds between two looks.
    :param earliest: moment (ISO 8601) before which no event is sent.
    :param deadline: moment (ISO 8601) at which the wait ends unsuccessfully.
    """

    def __init__(
        self,
        *,
        wts_conn_id: str,
        message_id: str,
        id_of: str | None,
        target_status: str,
        poll_interval: float,
        earliest: str,
        deadline: str,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.wts_conn_id = wts_conn_id
        self.message_id = message_id
        self.id_of = id_of
        self.target_status = target_status
        self.poll_interval = poll_interval
        self.earliest = earliest
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments, as plain JSON."""
        names = ("wts_conn_id", "message_id", "id_of", "target_status", "poll_interval", "earliest", "deadline")
        return f"{__name__}.WtsMessageStatusTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for news of the shared poll; send one event."""
        wait = MessageWait(self.message_id, self.target_status, self.id_of)
        end = await end_of_wait(
            self.wts_conn_id,
            lambda: MessageSubscription(self.message_id, self.id_of, interval=self.poll_interval),
            lambda seen: wait.verdict(seen.get(self.message_id.lower())),
            earliest=datetime.fromisoformat(self.earliest),
            deadline=datetime.fromisoformat(self.deadline),
        )
        seen = end.seen.get(self.message_id.lower())
        yield TriggerEvent(  # type: ignore[no-untyped-call]
            {
                "outcome": end.outcome,
                "message_id": self.message_id,
                "status": seen.status if seen else None,
                "message": end.message,
                "final": end.final,
            }
        )


def message_trigger(
    wait: MessageWait, *, wts_conn_id: str, poll_interval: float, timeout: float
) -> tuple[WtsMessageStatusTrigger, timedelta]:
    """Return the trigger that goes on waiting for a message, and Airflow's timeout for it.

    :param wait: what is waited for.
    :param wts_conn_id: the Airflow connection.
    :param poll_interval: seconds between two looks.
    :param timeout: seconds that are left for the whole wait.
    """
    # airflow.triggers is heavy, and only a task that defers needs it.
    from airflow_provider_wts.waiting.deferral import times_of_deferral

    earliest, deadline, longest = times_of_deferral(timeout)
    trigger = WtsMessageStatusTrigger(
        wts_conn_id=wts_conn_id,
        message_id=wait.message_id,
        id_of=wait.id_of,
        target_status=wait.target_status,
        poll_interval=poll_interval,
        earliest=earliest,
        deadline=deadline,
    )
    return trigger, longest


def reply_trigger(
    session_id: str, since: datetime, *, wts_conn_id: str, poll_interval: float, timeout: float
) -> tuple[WtsSessionReplyTrigger, timedelta]:
    """Return the trigger that goes on waiting for an answer, and Airflow's timeout for it.

    :param session_id: the session.
    :param since: moment after which a message of the contact counts.
    :param wts_conn_id: the Airflow connection.
    :param poll_interval: seconds between two looks.
    :param timeout: seconds that are left for the whole wait.
    """
    # airflow.triggers is heavy, and only a task that defers needs it.
    from airflow_provider_wts.waiting.deferral import times_of_deferral

    earliest, deadline, longest = times_of_deferral(timeout)
    trigger = WtsSessionReplyTrigger(
        wts_conn_id=wts_conn_id,
        session_id=session_id,
        since=since.isoformat(),
        poll_interval=poll_interval,
        earliest=earliest,
        deadline=deadline,
    )
    return trigger, longest
