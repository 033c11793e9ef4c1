"""Sensors that wait for messages: a contact's reply, and the status of a sent message."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_wts.sensors.base import Check, WtsSensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from airflow_provider_wts.triggers.message import WtsMessageStatusTrigger, WtsSessionReplyTrigger
    from airflow_provider_wts.waiting.conditions import MessageWait
    from airflow_provider_wts.waiting.deferral import Times

#: Seconds for which the list of messages may lag behind the session.
LIST_LAG = 120.0


class WtsSessionReplySensor(WtsSensor):
    """Wait until the contact of a session replies.

    Calls ``get_session`` and, once the contact has written, ``list_messages``. Deferred sensors of a connection share
    polls of ``list_sessions``.

    :param session_id: ID of the session (templated).
    :param since: date and time after which a message of the contact counts as a reply: an aware datetime, or ISO 8601
        text, such as ``{{ ti.xcom_pull(task_ids='send')['createdAt'] }}``. Default: the time of the company's last
        message when the sensor first checks. The sensor then misses a reply that a chatbot or an agent has already
        answered, and if rescheduled, compares the worker's clock with WTS Chat's (templated).
    :return: what the contact wrote since then, oldest first, as ``list_messages`` returns it.
    :raises AirflowFailException: when the session does not exist, or the API refuses.
    """

    event_is_about = "since"

    def __init__(self, *, session_id: str, since: datetime | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.session_id = session_id
        self.since = since

    def check(self, context: Context) -> Check:
        from airflow_provider_wts.api import parameters
        from airflow_provider_wts.api.sessions import get_session
        from airflow_provider_wts.waiting import conditions
        from airflow_provider_wts.waiting.conditions import WaitState, given_id, session_snapshot, wrote_after

        since = parameters.optional_datetime("since", self.since)
        session_id = given_id("session_id", self.session_id)
        # Without since, a damaged date of the company's last message must not count as missing.
        session = (
            conditions.read_session(self.hook.run, session_id) if since else self.hook.run(get_session(session_id))
        )
        # Kept for the next check, so that a later message of the company does not hide the reply.
        began, now = self._began_before(context), self.hook.client.now()
        self.since = since = since or conditions.since_last_message_out(session, began, now)
        if wrote_after(session_snapshot(session), since) and (
            found := conditions.replies(self.hook, session_id, since)
        ):
            return Check(WaitState.REACHED, f"The contact of session {session_id} replied.", found)
        words = f"The contact of session {session_id} has not replied since {since.isoformat()}."
        return Check(WaitState.WAITING, words)

    def trigger(self, context: Context, times: Times) -> WtsSessionReplyTrigger:
        from airflow_provider_wts.api import parameters
        from airflow_provider_wts.triggers.message import WtsSessionReplyTrigger
        from airflow_provider_wts.waiting.conditions import given_id

        if parameters.missing(self.since):
            # The first check failed. Only a check shows when the company wrote last, and a reply may have come since.
            self.seen_again(lambda: self.check(context))
        return WtsSessionReplyTrigger(
            wts_conn_id=self.wts_conn_id,
            session_id=given_id("session_id", self.session_id),
            since=cast("datetime", parameters.optional_datetime("since", self.since)).isoformat(),
            **times,
        )

    def take_back(self, context: Context, event: Mapping[str, Any]) -> None:
        """Take the date and time that the first check found, if none was given."""
        self.since = event.get("since") or self.since

    def reached(self, context: Context, event: Mapping[str, Any]) -> list[dict[str, Any]]:
        from airflow_provider_wts.waiting import conditions

        session_id, since = conditions.given_id("session_id", self.session_id), datetime.fromisoformat(event["since"])
        give_up_at = time.monotonic() + LIST_LAG
        while not (found := self.seen_again(lambda: conditions.replies(self.hook, session_id, since))):
            if time.monotonic() >= give_up_at:
                self.log.warning(
                    "The contact of session %s wrote at %s, but the list of messages does not show it.",
                    session_id,
                    event.get("last_message_in"),
                )
                break
            self.pause()
        return found

    def subject(self) -> str:
        return f"Session {self.session_id}"


class WtsMessageStatusSensor(WtsSensor):
    """Wait until a message is delivered or read.

    Calls ``get_sent_message_status`` for IDs that the send operators return, and ``get_message_status`` for messages of
    a session and for sends with ``synchronous`` or ``reply_bot``. ``SENT`` does not prove delivery. On a channel
    without receipts, ``SENT`` may be the last status, and a contact may have turned read receipts off: set ``timeout``.

    :param message_id: ID that a send returned, ID of a message, or the returned value of the send (templated).
    :param target_status: ``SENT``, ``DELIVERED`` (default) or ``READ``; a read message counts as delivered (templated).
    :param id_of: ``send`` for an ID that ``WtsSendTextOperator`` or another send operator returned; ``message`` for a
        message of a session, or a send with ``synchronous`` or ``reply_bot``. If omitted, both are tried (templated).
    :return: the status, as the API returns it.
    :raises AirflowFailException: when the message failed (with the reason), was deleted or does not exist, or the API
        refuses.
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
        from airflow_provider_wts.waiting import conditions as messages

        wait = self._wait()
        answer, self._found_id_of = messages.read_status(self.hook.run, wait.message_id, wait.id_of)
        verdict, words = wait.verdict(messages.message_snapshot(answer))
        return Check(verdict, words, answer)

    def trigger(self, context: Context, times: Times) -> WtsMessageStatusTrigger:
        from airflow_provider_wts.triggers.message import WtsMessageStatusTrigger

        wait = self._wait()
        wait = wait._replace(id_of=wait.id_of or self._found_id_of)
        return WtsMessageStatusTrigger(wts_conn_id=self.wts_conn_id, **wait._asdict(), **times)

    def subject(self) -> str:
        return f"Message {self._wait().message_id}"

    def _wait(self) -> MessageWait:
        from airflow_provider_wts.waiting.conditions import MessageWait

        return MessageWait.of(self.message_id, self.target_status, self.id_of)
