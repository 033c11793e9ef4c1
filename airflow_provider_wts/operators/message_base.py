"""The base of the operators that send one message, to a contact or into a session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_wts.api.call import NOT_GIVEN, Optional
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.api.personal_data import without_personal_data
from airflow_provider_wts.operators import message_content, parameters
from airflow_provider_wts.operators.message_content import Envelope
from airflow_provider_wts.operators.sending import WtsSendingOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow.sdk import Context

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.sends import SendOptions
    from airflow_provider_wts.operators.message_file import OutgoingFile
    from airflow_provider_wts.sending.key import Mark
    from airflow_provider_wts.sending.reconcile import InSession

_EXAMPLE = "{{ ti.xcom_pull(task_ids='start')['id'] }}"

#: What the quick sends have no property for.
_NOT_QUICK = ("sender_id", "callback_url", "delay_typing", "session_metadata", "kind")
_NOT_QUICK_IN_SESSION = ("channel", "department", "user", "hidden_session", "force_start_session", "enable_bot")


class WtsMessageOperator(WtsSendingOperator):
    """Base of the operators that send one message, to a contact or into a session.

    ``synchronous`` and ``reply_bot`` can be expressed by the older quick sends only. Those take no ``sender_id``, so
    that such a message cannot be found again at the API: where its answer is lost, the ledger alone knows of it, and
    ``on_unknown`` decides.

    :param to: recipient: phone number in any usual spelling, or ``@handle``; a number without a country code is read
        as Brazilian. Exactly one of this and ``session_id`` (templated).
    :param session_id: session to write into (templated).
    :param channel: channel to send from: its name, id, number or ``@handle``; without it the connection's channel,
        and without that the platform picks one. A session has its own (templated).
    :param department: name or id of the department that gets the session (templated).
    :param user: name, id, e-mail address or phone number of the user who gets the session (templated).
    :param hidden_session: hide a session that this send opens until the contact answers (templated).
    :param force_start_session: end the session in progress and open another (templated).
    :param enable_bot: let the channel's bot wake when the contact answers in a session that this send opens
        (templated).
    :param reply_bot: name or key of the bot that takes over when the contact answers; only with ``to`` (templated).
    :param synchronous: wait up to 25 s for the channel's answer; after that the last known state is returned
        (templated).
    :param sender_id: an id of your own, echoed by the API. Without it the mark of the send stands there, by which it
        is found again after a crash; with it, a send whose answer was lost stays undecided (templated).
    :param callback_url: address that WTS Chat calls when the message goes out or fails (templated).
    :param kwargs: see :class:`~airflow_provider_wts.operators.sending.WtsSendingOperator`: ``dry_run``,
        ``not_after``, ``send_window``, ``exclude_tags``, ``on_unknown``, ``on_clear``, ``deferrable``.
    """

    template_fields: Sequence[str] = (
        *WtsSendingOperator.template_fields,
        "to",
        "session_id",
        "channel",
        "department",
        "user",
        "hidden_session",
        "force_start_session",
        "enable_bot",
        "reply_bot",
        "synchronous",
        "sender_id",
        "callback_url",
    )

    def __init__(
        self,
        *,
        to: str | None = None,
        session_id: str | None = None,
        channel: str | None = None,
        department: str | None = None,
        user: str | None = None,
        hidden_session: Optional[bool | str] = NOT_GIVEN,
        force_start_session: Optional[bool | str] = NOT_GIVEN,
        enable_bot: Optional[bool | str] = NOT_GIVEN,
        reply_bot: str | None = None,
        synchronous: bool | str = False,
        sender_id: Optional[str] = NOT_GIVEN,
        callback_url: Optional[str] = NOT_GIVEN,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.to = to
        self.session_id = session_id
        self.channel = channel
        self.department = department
        self.user = user
        self.hidden_session = hidden_session
        self.force_start_session = force_start_session
        self.enable_bot = enable_bot
        self.reply_bot = reply_bot
        self.synchronous = synchronous
        self.sender_id = sender_id
        self.callback_url = callback_url

    def envelope(self) -> Envelope:
        """Return where the message goes and how; what costs a call is looked up last.

        :raises WtsInvalidRequestError: when the input is impossible, or the connection does not allow the recipient.
        """
        if parameters.missing(self.to) == parameters.missing(self.session_id):
            raise WtsInvalidRequestError(
                "to, session_id: give exactly one of them. A good value is to='+55 11 99999-8888'."
            )
        if self.is_quick:
            self._refuse_what_quick_sends_lack()
        sender_id = parameters.filter_text("sender_id", self.sender_id)
        callback_url = parameters.url("callback_url", self.callback_url)
        options: SendOptions = {
            "hidden_session": parameters.flag("hidden_session", self.hidden_session),
            "force_start_session": parameters.flag("force_start_session", self.force_start_session),
            "enable_bot": parameters.flag("enable_bot", self.enable_bot),
            "department": message_content.department(self.department),
        }
        to, session_id = self._destination()
        channel = self._channel(session_id)
        options["user"] = message_content.user(self.user, self.hook.names.user)
        reply_bot = parameters.filter_text("reply_bot", self.reply_bot)
        bot_key = self.hook.names.chatbot(reply_bot) if isinstance(reply_bot, str) else None
        synchronous = parameters.switch("synchronous", self.synchronous) is True
        return Envelope(to, session_id, channel, options, sender_id, callback_url, bot_key, synchronous)

    @property
    def is_quick(self) -> bool:
        """Whether only the older quick sends can express what is asked for."""
        return parameters.switch("synchronous", self.synchronous) is True or not parameters.missing(self.reply_bot)

    def deliver(
        self,
        context: Context,
        envelope: Envelope,
        build: Callable[[Mark], Call[Any]],
        *,
        file: OutgoingFile | None = None,
        delay: Optional[int] = NOT_GIVEN,
        by_metadata: bool = False,
    ) -> Any:
        """Send, and fail where the API says at once that the message failed.

        :param context: the task's context.
        :param envelope: where the message goes.
        :param build: makes the call.
        :param file: a file in it, which is uploaded where it has to be, unless an earlier try sent it.
        :param delay: seconds of "typing..." before it goes out.
        :param by_metadata: whether the call leaves its mark in the session's metadata.
        :return: the API's answer; under ``dry_run`` the request.
        :raises AirflowFailException: when the message failed.
        """
        answer = self.send_once(
            context,
            recipient=envelope.recipient,
            build=build,
            trace=_trace(envelope, by_metadata=by_metadata),
            prepare=None if file is None else file.upload,
            held_back=float(delay or 0),
        )
        if not isinstance(answer, dict) or "dry_run" in answer:
            return answer
        status = answer.get("status")
        self.log.info("Message %s is %s.", answer.get("id"), status)
        if status == "FAILED":
            reason = answer.get("failedReason") or answer.get("failureReason") or "no reason was given"
            reason = without_personal_data(str(reason))
            raise AirflowFailException(f"WTS Chat took the message {answer.get('id')}, and it failed: {reason}")
        return answer

    def session_channel(self, session_id: str) -> str | None:
        """Return the number or handle of the channel of a session.

        :param session_id: the session.
        """
        channel_id = self.session_of(session_id).get("channelId")
        return self.hook.names.channel(channel_id) if channel_id else None

    def _destination(self) -> tuple[str | None, str | None]:
        if parameters.missing(self.session_id):
            return self.hook.recipient(self.to), None
        session_id = parameters.needed_identity("session_id", self.session_id, example=_EXAMPLE)
        if self.hook.connection.allowed_recipients:
            self.session_contact(session_id)
        return None, session_id

    def _channel(self, session_id: str | None) -> str | None:
        channel = parameters.filter_text("channel", self.channel) or None
        if session_id is not None and channel is None:
            # The session has a channel of its own.
            return None
        return self.hook.channel(channel)

    def _refuse_what_quick_sends_lack(self) -> None:
        asked = "synchronous" if parameters.missing(self.reply_bot) else "reply_bot"
        in_session = not parameters.missing(self.session_id)
        if in_session and asked == "reply_bot":
            raise WtsInvalidRequestError("reply_bot: the API takes it with 'to' only, not in a session.")
        for name in (*_NOT_QUICK, *(_NOT_QUICK_IN_SESSION if in_session else ())):
            if not parameters.missing(getattr(self, name, None)):
                where = " in a session" if name in _NOT_QUICK_IN_SESSION else ""
                raise WtsInvalidRequestError(
                    f"{name}: the API does not take it together with {asked}{where}. Leave one of the two out."
                )


def _trace(envelope: Envelope, *, by_metadata: bool) -> InSession | None:
    from airflow_provider_wts.sending.reconcile import InSession

    by_sender = envelope.sender_id is NOT_GIVEN
    if envelope.quick or not (by_sender or by_metadata):
        return None
    if envelope.session_id is not None:
        return InSession(session_id=envelope.session_id, by_metadata=by_metadata, by_sender=by_sender, is_message=True)
    return InSession(recipient=envelope.to, by_metadata=by_metadata, by_sender=by_sender, is_message=True)
