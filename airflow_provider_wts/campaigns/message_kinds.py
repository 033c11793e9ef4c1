"""What a campaign sends: a chatbot, a template or a text, and the requests that send it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from airflow_provider_wts.api import chatbots, sends
from airflow_provider_wts.api.wire import UNSET
from airflow_provider_wts.sending.reconcile import SentInRequests, Traces

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.chatbots import BotMessage, BotOptions
    from airflow_provider_wts.api.sends import SendOptions, TemplateMessage
    from airflow_provider_wts.api.wire import Missing
    from airflow_provider_wts.campaigns.recipients import Send


#: The most recipients of one request.
MOST_IN_REQUEST = 100


class MessageKind(SentInRequests, Protocol):
    """How a kind of message goes out to many."""

    @property
    def operation_id(self) -> str:
        """The operation that sends it."""

    @property
    def parallelism(self) -> int:
        """Requests at a time."""

    def call(self, sends: Sequence[Send]) -> Call[Any]:
        """Return the request for some recipients."""

    def answers(self, answer: Any) -> list[Mapping[str, Any]]:
        """Return the answers about single sends that a request's answer holds."""


class _BatchKind:
    """A request for many recipients, whose markers are in the metadata of their sessions and in ``senderId``."""

    # One is on its way while WTS Chat works on another one. With more, more would be unconfirmed after a crash, and
    # more than fits into a page of the ledger.
    parallelism: ClassVar[int] = 2

    mark_session: bool

    def answers(self, answer: Any) -> list[Mapping[str, Any]]:
        """Return the answers about single sends that a request's answer holds."""
        results = answer.get("results") if isinstance(answer, dict) else None
        return [result for result in results or () if isinstance(result, dict)]

    def _metadata(self, send: Send) -> Any:
        metadata = send.recipient.values.get("session_metadata")
        if self.mark_session:
            return send.mark.metadata(metadata)
        return UNSET if metadata is None else metadata


@dataclass
class ChatbotKind(_BatchKind):
    """A chatbot, queued for many recipients by ``queue_chatbot_batch``.

    :param bot_key: key of the bot.
    :param channel: number or handle to send from; ``None`` leaves it to WTS Chat.
    :param options: what holds for all recipients.
    :param request_size: recipients of one request.
    :param callback_url: called when a bot starts or fails.
    :param mark_session: whether the marker goes into the session's metadata.
    """

    operation_id: ClassVar[str] = "queue_chatbot_batch"

    bot_key: str
    channel: str | None
    options: BotOptions
    request_size: int = MOST_IN_REQUEST
    callback_url: Missing[str] = UNSET
    mark_session: bool = True

    @property
    def traces(self) -> Traces:
        """What it leaves in sessions: a bot's messages are the bot's own, and show no ``senderId``."""
        return Traces(by_metadata=self.mark_session, by_sender=False)

    def call(self, sends: Sequence[Send]) -> Call[Any]:
        """Return the request for some recipients."""
        messages: list[BotMessage] = [
            {
                "to": send.to,
                "session_metadata": self._metadata(send),
                "contact_metadata": send.recipient.values.get("contact_metadata", UNSET),
                "sender_id": send.mark.key,
                "callback_url": self.callback_url,
            }
            for send in sends
        ]
        return chatbots.queue_chatbot_batch(self.bot_key, messages, from_=self.channel or UNSET, **self.options)

    def status_call(self, send_id: str) -> Call[Any]:
        """Return the call that asks for the status of a send."""
        return chatbots.get_queued_chatbot_status(send_id)


@dataclass
class TemplateKind(_BatchKind):
    """A template, for many recipients by ``send_template_batch``.

    :param template_id: the template.
    :param channel: number or handle to send from.
    :param options: what holds for all sessions that the batch opens.
    :param request_size: recipients of one request.
    :param callback_url: called when a message goes out or fails.
    :param mark_session: whether the marker goes into the session's metadata, too.
    """

    operation_id: ClassVar[str] = "send_template_batch"

    template_id: str
    channel: str
    options: SendOptions
    request_size: int = MOST_IN_REQUEST
    callback_url: Missing[str] = UNSET
    mark_session: bool = True

    @property
    def traces(self) -> Traces:
        """What it leaves in sessions."""
        return Traces(by_metadata=self.mark_session, by_sender=True)

    def call(self, sends_: Sequence[Send]) -> Call[Any]:
        """Return the request for some recipients."""
        messages: list[TemplateMessage] = [
            {
                "to": send.to,
                "parameters": send.recipient.values.get("parameters", UNSET),
                "file_id_or_url": send.recipient.values.get("file") or UNSET,
                "session_metadata": self._metadata(send),
                "sender_id": send.mark.key,
                "callback_url": self.callback_url,
            }
            for send in sends_
        ]
        return sends.send_template_batch(self.channel, self.template_id, messages, **self.options)

    def status_call(self, send_id: str) -> Call[Any]:
        """Return the call that asks for the status of a send."""
        return sends.get_sent_message_status(send_id)


@dataclass
class TextKind:
    """A text, one request of ``send_text`` for each recipient, some at a time.

    :param channel: number or handle to send from; ``None`` leaves it to WTS Chat.
    :param options: what happens to the sessions.
    :param parallelism: requests at a time.
    :param callback_url: called when a message goes out or fails.
    """

    operation_id: ClassVar[str] = "send_text"

    channel: str | None
    options: SendOptions
    parallelism: int
    callback_url: Missing[str] = UNSET

    request_size: ClassVar[int] = 1
    traces: ClassVar[Traces] = Traces(by_metadata=False, by_sender=True)

    def call(self, sends_: Sequence[Send]) -> Call[Any]:
        """Return the request for one recipient."""
        (send,) = sends_
        return sends.send_text(
            send.recipient.values["text"],
            to=send.to,
            from_=self.channel or UNSET,
            sender_id=send.mark.key,
            callback_url=self.callback_url,
            **self.options,
        )

    def answers(self, answer: Any) -> list[Mapping[str, Any]]:
        """Return the answer, in a list. It is about the only recipient, whatever it says."""
        return [{**answer, "senderId": None} if isinstance(answer, dict) else {}]

    def status_call(self, send_id: str) -> Call[Any]:
        """Return the call that asks for the status of a send."""
        return sends.get_sent_message_status(send_id)
