"""What a campaign sends: a chatbot, a template or a text, and the requests for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wts.api import chatbots, sends
from airflow_provider_wts.api.wire import UNSET
from airflow_provider_wts.sending.reconcile import Traces

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.chatbots import BotOptions
    from airflow_provider_wts.api.sends import SendOptions
    from airflow_provider_wts.api.wire import Missing
    from airflow_provider_wts.campaigns.recipients import Send


#: Maximum recipients per request.
MAX_IN_REQUEST = 100


@dataclass(kw_only=True)
class _BatchKind:
    """Requests for many recipients, with markers in the metadata of their sessions and in ``senderId``."""

    # One request is in transit while WTS Chat processes another. With more, a crash would leave more unconfirmed than
    # fit on a ledger page.
    parallelism: ClassVar[int] = 2

    #: Whether a message shows its ``senderId``.
    by_sender: ClassVar[bool]

    request_size: int = MAX_IN_REQUEST
    #: Called when a message goes out, when a bot starts, or when it fails.
    callback_url: Missing[str] = UNSET
    mark_session: bool = True

    @property
    def traces(self) -> Traces:
        """Where its sends leave their markers."""
        return Traces(by_metadata=self.mark_session, by_sender=self.by_sender)

    def answers(self, answer: Any) -> list[Mapping[str, Any]]:
        """Return the answers about single sends in the answer to a request."""
        results = answer.get("results") if isinstance(answer, dict) else None
        return [result for result in results or () if isinstance(result, dict)]

    def _message(self, send: Send) -> dict[str, Any]:
        """Return the fields that messages of both kinds have."""
        metadata = send.recipient.values.get("session_metadata")
        if self.mark_session:
            metadata = send.mark.metadata(metadata)
        return {
            "to": send.to,
            "session_metadata": UNSET if metadata is None else metadata,
            "sender_id": send.mark.key,
            "callback_url": self.callback_url,
        }


@dataclass
class ChatbotKind(_BatchKind):
    """A chatbot, queued for many recipients by ``queue_chatbot_batch``.

    :param channel: number or handle to send from; ``None`` leaves it to WTS Chat.
    """

    operation_id: ClassVar[str] = "queue_chatbot_batch"
    status_call = staticmethod(chatbots.get_queued_chatbot_status)

    # A bot's messages do not have the senderId of the send.
    by_sender: ClassVar[bool] = False

    bot_key: str
    channel: str | None
    options: BotOptions

    def call(self, sends: Sequence[Send]) -> Call[Any]:
        """Return the request for some recipients."""
        messages: list[Any] = [
            {**self._message(send), "contact_metadata": send.recipient.values.get("contact_metadata", UNSET)}
            for send in sends
        ]
        return chatbots.queue_chatbot_batch(self.bot_key, messages, from_=self.channel or UNSET, **self.options)


@dataclass
class TemplateKind(_BatchKind):
    """A template, sent to many recipients by ``send_template_batch``."""

    operation_id: ClassVar[str] = "send_template_batch"
    status_call = staticmethod(sends.get_sent_message_status)

    by_sender: ClassVar[bool] = True

    template_id: str
    channel: str
    options: SendOptions

    def call(self, sends_: Sequence[Send]) -> Call[Any]:
        """Return the request for some recipients."""
        messages: list[Any] = [
            {
                **self._message(send),
                "parameters": send.recipient.values.get("parameters", UNSET),
                "file_id_or_url": send.recipient.values.get("file") or UNSET,
            }
            for send in sends_
        ]
        return sends.send_template_batch(self.channel, self.template_id, messages, **self.options)


@dataclass
class TextKind:
    """A text, sent by one ``send_text`` request per recipient.

    :param channel: number or handle to send from; ``None`` leaves it to WTS Chat.
    """

    operation_id: ClassVar[str] = "send_text"
    status_call = staticmethod(sends.get_sent_message_status)

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
        """Return the answer in a list. It is about the only recipient, whatever its senderId."""
        return [{**answer, "senderId": None} if isinstance(answer, dict) else {}]


#: A kind of message that goes out to many recipients.
MessageKind = ChatbotKind | TemplateKind | TextKind
