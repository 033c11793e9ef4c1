"""Sensors that wait for messages: the contact's answer, and the fate of what was sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, PokeReturnValue

from airflow_provider_wts.hooks.failures import readable_failures
from airflow_provider_wts.sensors.base import WtsSensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_provider_wts.waiting.message import MessageWait


class WtsSessionReplySensor(WtsSensor):
    """Wait until the contact of a session answers.

    Calls ``get_session`` and, when the contact wrote, ``list_messages``; deferred, all sensors of a connection share
    ``list_sessions``.

    :param session_id: id of the session (templated).
    :param since: moment after which a message of the contact is an answer: an aware datetime, or ISO 8601 text, such
        as ``{{ ti.xcom_pull(task_ids='send')['createdAt'] }}``. Without it: the company's last message when this
        sensor looks first; then an answer is missed that a chatbot or an agent had answered before that. A sensor
        that is rescheduled then compares the worker's clock with that of WTS Chat (templated).
    :param kwargs: see :class:`~airflow_provider_wts.sensors.base.WtsSensor`: ``wts_conn_id``, ``deferrable``; and
        Airflow's ``poke_interval``, ``timeout``, ``mode``, ``soft_fail``.
    :return: what the contact wrote since then, oldest first, as ``list_messages`` answers it.
    :raises AirflowFailException: when the session does not exist, or the API refuses.
    :raises AirflowSensorTimeout: when ``timeout`` passes first.
    """

    template_fields: Sequence[str] = (*WtsSensor.template_fields, "session_id", "since")

    def __init__(self, *, session_id: str, since: datetime | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.session_id = session_id
        self.since = since

    def poke(self, context: Context) -> PokeReturnValue:
        """Look at the session once; a deferrable sensor leaves the worker when there is reason to wait.

        :param context: the task's context.
        """
        from airflow_provider_wts.api.sessions import get_session
        from airflow_provider_wts.waiting import reply
        from airflow_provider_wts.waiting.session import SessionWait
        from airflow_provider_wts.waiting.subscription import session_seen, wrote_after

        with readable_failures():
            session_id = SessionWait.of(self.session_id, "COMPLETED", ()).session_id
            since = reply.given_since(self.since)
        session = self.look(lambda: self.hook.run(get_session(session_id)))
        if session is not None:
            # Kept for the next look: what the company writes meanwhile must not hide the answer.
            self.since = since = since or reply.since_last_message_out(session, self._began_before(context))
            if wrote_after(session_seen(session), since):
                found = self.look(lambda: reply.replies(self.hook, session_id, since))
                if found:
                    self.log.info("The contact answered with %s message(s).", len(found))
                    return PokeReturnValue(is_done=True, xcom_value=found)
            self.log.info("The contact of session %s has not answered since %s.", session_id, since.isoformat())
        if self.deferrable:
            self._defer(session_id, since or datetime.now(UTC))
        return PokeReturnValue(is_done=False)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Take the wait back from the trigger.

        :param context: the task's context.
        :param event: what the trigger sent.
        :return: what the contact wrote.
        """
        from airflow_provider_wts.waiting import reply
        from airflow_provider_wts.waiting.deferral import checked_event

        told = checked_event(event, "session_id")
        self.fail_unless_reached(told)
        with readable_failures():
            found = reply.replies(self.hook, told["session_id"], datetime.fromisoformat(told["since"]))
        if not found:
            self.log.warning(
                "The contact of session %s wrote at %s, but the list of messages does not show it.",
                told["session_id"],
                told.get("last_message_in"),
            )
        return found

    def _defer(self, session_id: str, since: datetime) -> None:
        from airflow_provider_wts.waiting import reply

        trigger, timeout = reply.reply_trigger(
            session_id, since, wts_conn_id=self.wts_conn_id, poll_interval=self.poke_interval, timeout=self.timeout
        )
        self.defer(trigger=trigger, method_name="execute_complete", timeout=timeout)

    def _began_before(self, context: Context) -> datetime | None:
        """Return when the wait began, where this is a later look of a sensor that is rescheduled."""
        if not self.reschedule:
            return None
        task_instance: Any = context["ti"]
        if hasattr(task_instance, "get_first_reschedule_date"):
            first = task_instance.get_first_reschedule_date(context)
        else:
            # Airflow 2.11 keeps the start of the first look there.
            first = getattr(task_instance, "start_date", None)
        return first if isinstance(first, datetime) else None


class WtsMessageStatusSensor(WtsSensor):
    """Wait until a message is delivered or read.

    Calls ``get_sent_message_status`` for what the send family answered, and ``get_message_status`` for messages of a
    session and for what the quick sends answered. ``SENT`` does not prove delivery. On a channel without receipts
    ``SENT`` may be the last status, and a contact may have switched read receipts off: set ``timeout``.

    :param message_id: id that a send answered, or id of a message, or the send's answer itself (templated).
    :param target_status: ``SENT``, ``DELIVERED`` (default) or ``READ``; a message that is read counts as delivered
        (templated).
    :param id_of: ``send`` for what ``WtsSendTextOperator`` and its like answered, ``message`` for a message of a
        session and for a send with ``synchronous`` or ``reply_bot``. Without it the first is tried, and then the
        second (templated).
    :param kwargs: see :class:`~airflow_provider_wts.sensors.base.WtsSensor`: ``wts_conn_id``, ``deferrable``; and
        Airflow's ``poke_interval``, ``timeout``, ``mode``, ``soft_fail``.
    :return: the status, as the API answers it.
    :raises AirflowFailException: when the message failed, with the reason; when it was deleted or does not exist; or
        when the API refuses.
    :raises AirflowSensorTimeout: when ``timeout`` passes first.
    """

    template_fields: Sequence[str] = (*WtsSensor.template_fields, "message_id", "target_status", "id_of")

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

    def poke(self, context: Context) -> PokeReturnValue:
        """Look at the message once; a deferrable sensor leaves the worker when there is reason to wait.

        :param context: the task's context.
        """
        from airflow_provider_wts.waiting import message as messages
        from airflow_provider_wts.waiting.session import Verdict

        wait = self._wait()
        looked = self.look(lambda: messages.read_status(self.hook.run, wait.message_id, wait.id_of))
        if looked is not None:
            answer, id_of = looked
            verdict, words = wait.verdict(messages.message_seen(answer))
            if verdict is Verdict.FAILED:
                raise AirflowFailException(words)
            self.log.info(words)
            if verdict is Verdict.REACHED:
                return PokeReturnValue(is_done=True, xcom_value=answer)
            wait = wait._replace(id_of=id_of)
        if self.deferrable:
            trigger, timeout = messages.message_trigger(
                wait, wts_conn_id=self.wts_conn_id, poll_interval=self.poke_interval, timeout=self.timeout
            )
            self.defer(trigger=trigger, method_name="execute_complete", timeout=timeout)
        return PokeReturnValue(is_done=False)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Take the wait back from the trigger.

        :param context: the task's context.
        :param event: what the trigger sent.
        :return: the status, as the API answers it.
        """
        from airflow_provider_wts.waiting import message as messages
        from airflow_provider_wts.waiting.deferral import checked_event

        told = checked_event(event, "message_id")
        self.fail_unless_reached(told)
        with readable_failures():
            return messages.read_status(self.hook.run, told["message_id"], self._wait().id_of)[0]

    def _wait(self) -> MessageWait:
        from airflow_provider_wts.waiting.message import MessageWait

        with readable_failures():
            return MessageWait.of(self.message_id, self.target_status, self.id_of)
