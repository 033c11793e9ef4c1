"""Operators for chatbots."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn, cast

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_wts import api
from airflow_provider_wts.api import parameters
from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError
from airflow_provider_wts.api.wire import UNSET, Missing
from airflow_provider_wts.hooks.errors import task_failures
from airflow_provider_wts.links.session import SESSION_URL_KEY, WtsSessionLink
from airflow_provider_wts.operators.campaign import WtsSendChatbotBatchOperator, bot_flags
from airflow_provider_wts.operators.listing import WtsListOperator
from airflow_provider_wts.operators.sending import WtsSendingOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from airflow.sdk import Context

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.chatbots import BotStart
    from airflow_provider_wts.api.types import Channel, ChatbotPage, Session, SessionV2
    from airflow_provider_wts.sending.key import Mark
    from airflow_provider_wts.sending.reconcile import InSession
    from airflow_provider_wts.waiting.conditions import SessionWait


class WtsSendChatbotOperator(WtsSendingOperator):
    """Start a chatbot for a recipient, or in a session.

    Calls ``send_chatbot``. Parameters that you leave out are not sent; ``None`` is sent as ``null``.

    :param chatbot: name or key of the bot (templated).
    :param to: recipient: phone number in any common format, or ``@handle``. A number without a country code is taken as
        Brazilian. Required without ``session_id`` (templated).
    :param channel: channel to send from: its name, ID, number or ``@handle``; default: the connection's channel, or
        else one that WTS Chat picks (templated).
    :param session_id: session to run the bot in; a completed one is not reopened (templated).
    :param force_start_session: end the session in progress and open a new one (templated).
    :param skip_if_bot_in_execution: do not start the bot while another bot runs in the session (templated).
    :param skip_if_in_progress: do not start the bot while a session is in progress (templated).
    :param hidden_session: if this send opens a session, keep it hidden until the contact replies (templated).
    :param session_metadata: object stored with the session, or its JSON text (templated, deep).
    :param contact_metadata: object stored with the contact, or its JSON text (templated, deep).
    :param sender_id: your own ID, which the API echoes (templated).
    :param callback_url: URL that WTS Chat calls when the bot starts or fails (templated).
    :param wait_for_completion: wait until the session is COMPLETED. If WTS Chat did not start the bot because of
        ``skip_if_...``, the task is skipped.
    :param poll_interval: polling interval: seconds, or a ``timedelta``.
    :param completion_timeout: how long to wait for the session before the task fails: seconds, or a ``timedelta``.
        Default: one day.
    :param mark_session: add an entry ``airflow_send_...`` to the session's metadata, so that the send can be found
        after a crash. Without it, a send stays unconfirmed if its response is lost.
    :param kwargs: see :class:`WtsSendingOperator`: ``dry_run``, ``not_after``, ``send_window``, ``exclude_tags``,
        ``on_unknown``, ``on_clear``, ``deferrable``.
    :return: the session as ``send_chatbot`` returns it; with ``wait_for_completion``, the completed session.
    :raises AirflowFailException: when the input is invalid, the API refuses, the outcome is unknown, or the
        session does not complete in time.
    :raises AirflowSkipException: when a rule holds the send back, or WTS Chat skips the bot and ``wait_for_completion``
        is set.
    """

    not_templated = frozenset({"wait_for_completion", "poll_interval", "completion_timeout", "mark_session"})
    operator_extra_links = (WtsSessionLink(),)

    def __init__(
        self,
        *,
        chatbot: str,
        to: Missing[str] = UNSET,
        channel: Missing[str] = UNSET,
        session_id: Missing[str] = UNSET,
        force_start_session: Missing[bool | str] = UNSET,
        skip_if_bot_in_execution: Missing[bool | str] = UNSET,
        skip_if_in_progress: Missing[bool | str] = UNSET,
        hidden_session: Missing[bool | str] = UNSET,
        session_metadata: Missing[Mapping[str, Any] | str] = UNSET,
        contact_metadata: Missing[Mapping[str, Any] | str] = UNSET,
        sender_id: Missing[str] = UNSET,
        callback_url: Missing[str] = UNSET,
        wait_for_completion: bool = False,
        poll_interval: float | timedelta = 60,
        completion_timeout: float | timedelta = 24 * 60 * 60,
        mark_session: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.chatbot = chatbot
        self.to = to
        self.channel = channel
        self.session_id = session_id
        self.force_start_session = force_start_session
        self.skip_if_bot_in_execution = skip_if_bot_in_execution
        self.skip_if_in_progress = skip_if_in_progress
        self.hidden_session = hidden_session
        self.session_metadata = session_metadata
        self.contact_metadata = contact_metadata
        self.sender_id = sender_id
        self.callback_url = callback_url
        self.wait_for_completion = wait_for_completion
        self.poll_interval = poll_interval
        self.completion_timeout = completion_timeout
        self.mark_session = mark_session

    def execute(self, context: Context) -> Session | SessionV2:
        from airflow_provider_wts.waiting.conditions import SessionWait

        self.open_ledger(context)
        with task_failures():
            if self.wait_for_completion:
                # A wait that cannot begin must not follow a send.
                self._poll_seconds()
                self._timeout_seconds()
            start = self._start()
        marks: list[Mark] = []

        def build(mark: Mark) -> Call[Session]:
            marks.append(mark)
            return api.chatbots.send_chatbot(**self._marked(start, mark))

        answer = self.send_once(
            context,
            recipient=str(start["to"] or start["session_id"]),
            build=build,
            trace=self._trace(start),
            # It may still fail after the send. Then a clear must not send again.
            last=False,
        )
        # The response for a skipped bot is not documented, and may be empty.
        session = cast("Session", answer or {})
        if "dry_run" in session:
            return session
        context["ti"].xcom_push(key=SESSION_URL_KEY, value=session.get("previewUrl"))
        self.log.info("Chatbot %r: session %s is %s.", self.chatbot, session.get("id"), session.get("status"))
        if not self.wait_for_completion:
            self.finish_sending(context)
            return session
        session_id = self._started(context, session, start, marks[0])
        if session_id is None:
            self.finish_sending(context)
            reason = (
                f"WTS Chat did not start the chatbot in session {session.get('id')}: a skip_if_... parameter applied."
            )
            self.log.warning(reason)
            raise AirflowSkipException(reason)
        wait = SessionWait.of(session_id, "COMPLETED", ())
        if self.deferrable:
            self._defer(wait, self._timeout_seconds())
        completed = self._completed(wait)
        self.finish_sending(context)
        return completed

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> SessionV2:
        """Resume after the trigger, and return the session as it is at the end."""
        from airflow_provider_wts.waiting.deferral import checked_event

        self.resume(context)
        self.open_ledger(context)
        completed = self._resumed(checked_event(event, "session_id"))
        # Not earlier, so that clearing a task that failed while it waited continues the wait.
        self.finish_sending(context)
        return completed

    def _poll_seconds(self) -> float:
        return parameters.seconds("poll_interval", self.poll_interval, positive=True)

    def _timeout_seconds(self) -> float:
        return parameters.seconds("completion_timeout", self.completion_timeout)

    def _start(self) -> BotStart:
        if parameters.missing(self.chatbot):
            raise WtsInvalidRequestError(
                "chatbot: is empty. Nothing was sent. Give the name, key or ID of a bot. Example: 'Cobrança'."
            )
        if parameters.missing(self.to) and parameters.missing(self.session_id):
            raise WtsInvalidRequestError(
                "to: is empty, and so is session_id. Nothing was sent. Give one of them. Example: '+55 11 99999-8888'."
            )
        start: BotStart = {
            "to": UNSET if parameters.missing(self.to) else self.hook.recipient(self.to),
            "session_id": parameters.identity("session_id", self.session_id),
            **bot_flags(self),  # type: ignore[typeddict-item]  # the other keys come last
            "session_metadata": parameters.metadata("session_metadata", self.session_metadata),
            "contact_metadata": parameters.metadata("contact_metadata", self.contact_metadata),
            "sender_id": parameters.filter_text("sender_id", self.sender_id),
            "callback_url": parameters.url("callback_url", self.callback_url),
        }
        if isinstance(start["session_id"], str) and self.hook.connection.allowed_recipients:
            self.session_contact(start["session_id"])
        # Last, so that an invalid value above takes no request.
        # A session has its own channel.
        if parameters.missing(self.session_id) or not parameters.missing(self.channel):
            start["from_"] = self.hook.channel(self.channel) or UNSET
        start["bot_key"] = self.hook.names.chatbot(parameters.needed_name("chatbot", self.chatbot))
        return start

    def _marked(self, start: BotStart, mark: Mark) -> BotStart:
        marked = start.copy()
        if self.mark_session:
            marked["session_metadata"] = mark.metadata(start["session_metadata"])
        if start["sender_id"] is UNSET:
            marked["sender_id"] = mark.key
        return marked

    def _trace(self, start: BotStart) -> InSession | None:
        from airflow_provider_wts.sending.reconcile import InSession

        if not self.mark_session:
            return None
        if parameters.missing(start["session_id"]):
            return InSession(recipient=str(start["to"]))
        return InSession(session_id=str(start["session_id"]))

    def _completed(self, wait: SessionWait) -> SessionV2:
        """Wait on the worker."""
        from airflow_provider_wts.waiting.conditions import FailedChecks, WaitState

        poll_interval = self._poll_seconds()
        deadline = time.monotonic() + self._timeout_seconds()
        failed_checks = FailedChecks()
        status = None
        while True:
            try:
                session = self._session(wait.session_id)
            except WtsError as error:
                if failed_checks.failed(error):
                    raise
            else:
                failed_checks.succeeded()
                status = session.get("status")
                if wait.verdict(session)[0] is WaitState.REACHED:
                    return session
            left = deadline - time.monotonic()
            if left <= 0:
                raise AirflowFailException(_too_late(wait.session_id, status))
            time.sleep(min(poll_interval, left))

    def _defer(self, wait: SessionWait, timeout: float) -> NoReturn:
        from airflow_provider_wts.triggers.session import WtsSessionTrigger
        from airflow_provider_wts.waiting.deferral import times_of_deferral

        times, longest = times_of_deferral(self._poll_seconds(), timeout)
        trigger = WtsSessionTrigger(wts_conn_id=self.wts_conn_id, **wait.arguments(), **times)
        self.defer(trigger=trigger, method_name="execute_complete", timeout=longest)
        raise AssertionError("defer() does not return")

    def _resumed(self, event: Mapping[str, Any]) -> SessionV2:
        """Return the session that the trigger waited for; wait on if only the list of sessions shows its end."""
        from airflow_provider_wts.waiting.conditions import SessionWait
        from airflow_provider_wts.waiting.deferral import error_of, time_left

        wait, outcome, status = SessionWait(event["session_id"]), event["outcome"], event.get("status")
        if outcome == "failed":
            raise error_of(event)
        session = None
        if outcome == "reached":
            session = self._seen_again(wait.session_id)
        else:
            with suppress(WtsError):
                session = self._session(wait.session_id)
        if session is not None:
            status = session.get("status")
            if status == "COMPLETED" or (outcome == "reached" and not event.get("listed")):
                return session
        if outcome == "error":
            raise error_of(event)
        left = 0.0
        if outcome == "reached":
            self.log.warning("The list of sessions shows session %s as completed, but it is not.", wait.session_id)
            left = time_left(event, self._timeout_seconds())
        if left <= 0:
            raise AirflowFailException(_too_late(wait.session_id, status))
        self._defer(wait, left)

    def _seen_again(self, session_id: str) -> SessionV2:
        """Read what the trigger saw: some failed checks in a row must not end the wait now."""
        from airflow_provider_wts.waiting.conditions import PAUSE, FailedChecks

        failed_checks = FailedChecks()
        while True:
            try:
                return self._session(session_id)
            except WtsError as error:
                if failed_checks.failed(error):
                    raise
                time.sleep(min(self._poll_seconds(), PAUSE))

    def _session(self, session_id: str) -> SessionV2:
        from airflow_provider_wts.waiting.conditions import read_for, read_session

        return read_for(self, lambda: read_session(self.hook.run, session_id), lambda: f"Session {session_id}")

    def _started(self, context: Context, session: Session, start: BotStart, mark: Mark) -> str | None:
        """Return the ID of the session in which the bot started; ``None`` if WTS Chat skipped it."""
        from airflow_provider_wts.hooks.context import earliest_start
        from airflow_provider_wts.sending.reconcile import Finding, InSession

        session_id = session.get("id") or ""
        may_skip = True in (start["skip_if_bot_in_execution"], start["skip_if_in_progress"])
        trace = self._trace(start)
        if not may_skip or trace is None or mark.is_in(session):
            return session_id
        if session_id:
            # A response without metadata shows nothing.
            trace = InSession(session_id=session_id)
        with task_failures():
            found = trace._replace(answered=True).search(self.hook, mark, earliest_start(context))
        if found.finding is Finding.UNDECIDED:
            raise AirflowFailException(
                f"WTS Chat accepted the send, but does not show whether it started the chatbot or skipped it: "
                f"{found.reason}. Nothing is sent again. Check {session_id or start['to']} in WTS Chat. Clear the task "
                "to look again, with mark_session=False to wait for the session in either case."
            )
        return str(found.answer["id"]) if found.finding is Finding.FOUND else None


class WtsListChatbotsOperator(WtsListOperator):
    """List chatbots: all pages, inline or as a file.

    Calls ``list_chatbots``. The API starts a bot by its ``key``, not by its ``id``. For the shared parameters, see
    :class:`WtsListOperator`.

    :param name: filter by name (templated).
    :param types: ``Reactive``, ``Automation``; one or a list (templated).
    :param publish_statuses: ``Not_Published``, ``Publishing``, ``Ready``, ``Failed``; one or a list (templated).
    :param automation_usages: ``Api``, ``Manual``, ``Campaign``, ``Sequence``; one or a list (templated).
    :return: the bots, or the manifest of the file.
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        types: Sequence[str] | str | None = None,
        publish_statuses: Sequence[str] | str | None = None,
        automation_usages: Sequence[str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.types = types
        self.publish_statuses = publish_statuses
        self.automation_usages = automation_usages

    def list_call(self) -> Call[ChatbotPage]:
        statuses = ("Not_Published", "Publishing", "Ready", "Failed")
        usages = ("Api", "Manual", "Campaign", "Sequence")
        return api.chatbots.list_chatbots(
            name=parameters.filter_text("name", self.name),
            types=parameters.filter_list("types", self.types, ("Reactive", "Automation")),
            publish_statuses=parameters.filter_list("publish_statuses", self.publish_statuses, statuses),
            automation_usages=parameters.filter_list("automation_usages", self.automation_usages, usages),
        )


class WtsListChannelsOperator(WtsListOperator):
    """List the account's own channels, inline or as a file.

    Calls ``list_channels``, which returns everything at once, and takes neither date bounds nor an order.

    :param channel_type: ``All``, ``Whatsapp``, ``Messenger`` or ``Instagram`` (templated).
    :return: the channels, or the manifest of the file.
    """

    def __init__(self, *, channel_type: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channel_type = channel_type

    def list_call(self) -> Call[list[Channel]]:
        types = ("All", "Whatsapp", "Messenger", "Instagram")
        return api.directory.list_channels(
            channel_type=parameters.filter_choice("channel_type", self.channel_type, types)
        )


def _too_late(session_id: str, status: str | None) -> str:
    return (
        f"Session {session_id} is still {status or 'of unknown status'} at the end of completion_timeout. The chatbot "
        "was started, and is not started again. To wait longer, use WtsSessionSensor with this session."
    )


__all__ = [
    "WtsListChannelsOperator",
    "WtsListChatbotsOperator",
    "WtsSendChatbotBatchOperator",
    "WtsSendChatbotOperator",
]
