"""The triggers that wait for a contact's reply, and for the status of a message."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.triggers.base import WtsWaitTrigger
from airflow_provider_wts.waiting.conditions import NOT_FOUND, MessageWait, WaitState, wrote_after
from airflow_provider_wts.waiting.subscriptions import MessageSubscription, ReplySubscription

if TYPE_CHECKING:
    from airflow_provider_wts.waiting.conditions import Snapshot


class WtsSessionReplyTrigger(WtsWaitTrigger):
    """Waits until the contact of a session writes, then sends one event.

    The event is a dict with ``outcome`` (``reached``, ``failed``, ``timeout`` or ``error``), ``session_id``,
    ``since``, ``last_message_in`` (when the contact wrote last), ``message`` and ``final``. It holds nothing that the
    contact wrote.

    :param session_id: the session.
    :param since: date and time (ISO 8601) after which a message of the contact counts.
    """

    arguments = ("session_id", "since")

    def __init__(self, *, session_id: str, since: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.session_id = session_id
        self.since = since

    def subscription(self) -> ReplySubscription:
        after = datetime.fromisoformat(self.since)
        return ReplySubscription(self.session_id, after=after, since=self.checked_at, interval=self.poll_interval)

    def judge(self, seen: dict[str, Snapshot]) -> tuple[WaitState, str]:
        session = seen.get(self.session_id.lower())
        if session is not None and session.status == NOT_FOUND:
            return WaitState.FAILED, f"Session {self.session_id} cannot be found."
        if session is not None and wrote_after(session, datetime.fromisoformat(self.since)):
            return WaitState.REACHED, f"The contact of session {self.session_id} replied."
        return WaitState.WAITING, f"The contact of session {self.session_id} has not replied since {self.since}."

    def report(self, seen: dict[str, Snapshot]) -> dict[str, Any]:
        last = seen.get(self.session_id.lower())
        last_in = last.last_in or None if last else None
        return {"session_id": self.session_id, "since": self.since, "last_message_in": last_in}


class WtsMessageStatusTrigger(WtsWaitTrigger):
    """Waits until a message reaches a status, then sends one event.

    The event is a dict with ``outcome`` (``reached``, ``failed``, ``timeout`` or ``error``), ``message_id``, ``status``
    (the last one seen), ``message`` and ``final``. It does not hold the message's text.

    :param message_id: the ID.
    :param id_of: ``send`` or ``message``; ``None`` if it is not known which of the two the ID belongs to.
    :param target_status: ``SENT``, ``DELIVERED`` or ``READ``.
    """

    arguments = ("message_id", "id_of", "target_status")

    def __init__(self, *, message_id: str, id_of: str | None, target_status: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.message_id = message_id
        self.id_of = id_of
        self.target_status = target_status

    def subscription(self) -> MessageSubscription:
        return MessageSubscription(self.message_id, self.id_of, interval=self.poll_interval)

    def judge(self, seen: dict[str, Snapshot]) -> tuple[WaitState, str]:
        wait = MessageWait(self.message_id, self.target_status, self.id_of)
        return wait.verdict(seen.get(self.message_id.lower()))

    def report(self, seen: dict[str, Snapshot]) -> dict[str, Any]:
        last = seen.get(self.message_id.lower())
        return {"message_id": self.message_id, "status": last.status if last else None}
