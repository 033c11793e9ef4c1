"""Sensors that wait for messages: the contact's answer, and the outcome of what was sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.sensors.base import Check, WtsSensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from airflow_provider_wts.triggers.message import WtsMessageStatusTrigger, WtsSessionReplyTrigger
    from airflow_provider_wts.waiting.conditions import MessageWait
    from airflow_provider_wts.waiting.deferral import Times


class WtsSessionReplySensor(WtsSensor):
    """Wait until the contact of a session answers.

    Calls ``get_session`` and, when the contact wrote, ``list_messages``; deferred, all sensors of a connection share
    ``list_sessions``.

    :param session_id: ID of the session (templated).
    :param since: moment after which a message of the contact is an answer: an aware datetime, or ISO 8601 text, such
        as ``{{ ti.xcom_pull(task_ids='send')['createdAt'] }}``. Without it: the company's last message when this
        sensor checks first; then an answer is missed that a chatbot or an agent had answered before that. A sensor
        that is rescheduled then compares the worker's clock with that of WTS Chat (templated).
    :param kwargs: see :class:`~airflow_provider_wts.sensors.base.WtsSensor`: ``wts_conn_id``, ``deferrable``; and
        Airflow's ``poke_interval``, ``timeout``, ``mode``, ``soft_fail``.
    :return: what the contact wrote since then, oldest first, as ``list_messages`` answers it.
    :raises AirflowFailException: when the session does not exist, or the API refuses.
    :raises AirflowSensorTimeout: when ``timeout`` passes first.
    """

    def __init__(self, *, session_id: str, since: datetime | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.session_id = session_id
        self.since = since

    def check(self, context: Context) -> Check:
        """Read the session, and its messages if the contact wrote."""
        from airflow_provider_wts.api import parameters
        from airflow_provider_wts.api.sessions import get_session
        from airflow_provider_wts.waiting import conditions
        from airflow_provider_wts.waiting.conditions import WaitState, given_id, session_seen, wrote_after

        since = parameters.moment("since", self.since)
        session_id = given_id("session_id", self.session_id)
        session = self.hook.run(get_session(session_id))
        # Kept for the next check: what the company writes meanwhile must not hide the answer.
        self.since = since = since or conditions.since_last_message_out(session, self._began_before(context))
        if wrote_after(session_seen(session), since) and (found := conditions.replies(self.hook, session_id, since)):
            return Check(WaitState.REACHED, f"The contact of session {session_id} replied.", found)
        words = f"The contact of session {session_id} has not replied since {since.isoformat()}."
        return Check(WaitState.WAITING, words)

    def trigger(self, context: Context, times: Times) -> WtsSessionReplyTrigger:
        """Return the trigger that goes on waiting."""
        from airflow_provider_wts.api import parameters
        from airflow_provider_wts.triggers.message import WtsSessionReplyTrigger
        from airflow_provider_wts.waiting.conditions import given_id

        return WtsSessionReplyTrigger(
            wts_conn_id=self.wts_conn_id,
            session_id=given_id("session_id", self.session_id),
            since=(parameters.moment("since", self.since) or datetime.now(UTC)).isoformat(),
            **times,
        )

    def take_back(self, context: Context, event: Mapping[str, Any]) -> None:
        """Take the date and time that the first check found, if none was given."""
        self.since = event.get("since") or self.since

    def reached(self, context: Context, event: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return what the contact wrote."""
        from airflow_provider_wts.waiting import conditions

        since = datetime.fromisoformat(event["since"])
        found = self.result(lambda: conditions.replies(self.hook, event["session_id"], since))
        if not found:
            self.log.warning(
                "The contact of session %s wrote at %s, but the list of messages does not show it.",
                event["session_id"],
                event.get("last_message_in"),
            )
        return found

    def subject(self) -> str:
        """Return what is waited for, in words."""
        return f"Session {self.session_id}"


class WtsMessageStatusSensor(WtsSensor):
    """Wait until a message is delivered or read.

    Calls ``get_sent_message_status`` for what the send family answered, and ``get_message_status`` for messages of a
    session and for what the quick sends answered. ``SENT`` does not prove delivery. On a channel without receipts
    ``SENT`` may be the last status, and a contact may have switched read receipts off: set ``timeout``.

    :param message_id: ID that a send answered, or ID of a message, or the send's answer itself (templated).
    :param target_status: ``SENT``, ``DELIVERED`` (default) or ``READ``; a message that is read counts as delivered
        (templated).
    :param id_of: ``send`` for what ``WtsSendTextOperator`` and the other send operators answered, ``message`` for a
        message of a session and for a send with ``synchronous`` or ``reply_bot``. Without it the first is tried, and
        then the second (templated).
    :param kwargs: see :class:`~airflow_provider_wts.sensors.base.WtsSensor`: ``wts_conn_id``, ``deferrable``; and
        Airflow's ``poke_interval``, ``timeout``, ``mode``, ``soft_fail``.
    :return: the status, as the API returns it.
    :raises AirflowFailException: when the message failed, with the reason; when it was deleted or does not exist; or
        when the API refuses.
    :raises AirflowSensorTimeout: when ``timeout`` passes first.
    """

    event_is_about = "message_id"

    def __init__(
        self,
        *,
        message_id: str | dict[str, Any],
        target_status: str = "DELIVERED",
        id_of: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.message_id = message_id
        self.target_status = target_status
        self.id_of = id_of
        self._found_id_of: str | None = None

    def check(self, context: Context) -> Check:
        """Read the status of the message."""
        from airflow_provider_wts.waiting import conditions as messages

        wait = self._wait()
        answer, self._found_id_of = messages.read_status(self.hook.run, wait.message_id, wait.id_of)
        verdict, words = wait.verdict(messages.message_seen(answer))
        return Check(verdict, words, answer)

    def trigger(self, context: Context, times: Times) -> WtsMessageStatusTrigger:
        """Return the trigger that goes on waiting."""
        from airflow_provider_wts.triggers.message import WtsMessageStatusTrigger

        wait = self._wait()
        wait = wait._replace(id_of=wait.id_of or self._found_id_of)
        return WtsMessageStatusTrigger(wts_conn_id=self.wts_conn_id, **wait._asdict(), **times)

    def subject(self) -> str:
        """Return what is waited for, in words."""
        return f"Message {self._wait().message_id}"

    def _wait(self) -> MessageWait:
        from airflow_provider_wts.waiting.conditions import MessageWait

        return MessageWait.of(self.message_id, self.target_status, self.id_of)
