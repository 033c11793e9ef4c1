"""What a campaign sends: a chatbot, a template or a text, and the requests that send it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_wts.api import chatbots, sends
from airflow_provider_wts.api.wire import UNSET
from airflow_provider_wts.sending.reconcile import Traces

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.chatbots import BotMessage, BotOptions
    from airflow_provider_wts.api.sends import SendOptions, TemplateMessage
    from airflow_provider_wts.api.wire import Missing
    from airflow_provider_wts.campaigns.recipients import Send


class MessageKind(Protocol):
    """How a kind of message goes out to many."""

    @property
    def traces(self) -> Traces:
        """What it leaves at the API."""

    @property
    def request_size(self) -> int:
        """Recipients of one request."""

    @property
    def parallelism(self) -> int:
        """Requests at a time."""

    def call(self, sends: Sequence[Send]) -> Call[Any]:
        """Return the request for some recipients."""

    def answers(self, answer: Any) -> list[Mapping[str, Any]]:
        """Return the answers about single sends that a request's answer holds."""

    def status_call(self, send_id: str) -> Call[Any]:
        """Return the call that asks for the status of a send."""


#: Recipients that a request takes at the most.
MOST_IN_REQUEST = 100


class _BatchKind:
    """A request for many recipients, whose marks stand in the metadata of their sessions and as ``senderId``."""

    # One is on its way while another one is worked on. More in flight would be more in doubt after a crash, and more
    # than fits into a page of the ledger.
    parallelism = 2

    def __init__(self, request_size: int, callback_url: Missing[str], *, mark_session: bool) -> None:
        self.request_size = request_size
        self._callback_url = callback_url
        self._mark_session = mark_session

    def answers(self, answer: Any) -> list[Mapping[str, Any]]:
        """Return the answers about single sends that a request's answer holds."""
        results = answer.get("results") if isinstance(answer, dict) else None
        return [result for result in results or () if isinstance(result, dict)]

    def _metadata(self, send: Send) -> Any:
        metadata = send.recipient.values.get("session_metadata")
        if self._mark_session:
            return send.mark.metadata(metadata)
        return UNSET if metadata is None else metadata


class ChatbotKind(_BatchKind):
    """A chatbot, queued for many recipients by ``queue_chatbot_batch``.

    :param bot_key: key of the bot.
    :param channel: number or handle to send from; ``None`` leaves it to the platform.
    :param options: what holds for all recipients.
    :param request_size: recipients of one request.
    :param callback_url: called when a bot starts or fails.
    :param mark_session: whether the mark goes into the session's metadata.
    """

    def __init__(
        self,
        bot_key: str,
        channel: str | None,
        options: BotOptions,
        *,
        request_size: int = MOST_IN_REQUEST,
        callback_url: Missing[str] = UNSET,
        mark_session: bool = True,
    ) -> None:
        super().__init__(request_size, callback_url, mark_session=mark_session)
        # A bot's messages are the bot's own, and show no senderId.
        self.traces = Traces(by_metadata=mark_session, by_sender=False)
        self._bot_key = bot_key
        self._channel = channel
        self._options = options

    def call(self, sends: Sequence[Send]) -> Call[Any]:
        """Return the request for some recipients."""
        messages: list[BotMessage] = [
            {
                "to": send.recipient.to,
                "session_metadata": self._metadata(send),
                "contact_metadata": send.recipient.values.get("contact_metadata", UNSET),
                "sender_id": send.mark.key,
                "callback_url": self._callback_url,
            }
            for send in sends
        ]
        return chatbots.queue_chatbot_batch(self._bot_key, messages, from_=self._channel or UNSET, **self._options)

    def status_call(self, send_id: str) -> Call[Any]:
        """Return the call that asks for the status of a send."""
        return chatbots.get_queued_chatbot_status(send_id)


class TemplateKind(_BatchKind):
    """A template, for many recipients by ``send_template_batch``.

    :param template_id: the template.
    :param channel: number or handle to send from.
    :param options: what holds for all sessions that the batch opens.
    :param file: address or id of the file of a template with media, where no row has its own.
    :param request_size: recipients of one request.
    :param callback_url: called when a message goes out or fails.
    :param mark_session: whether the mark goes into the session's metadata, too.
    """

    def __init__(
        self,
        template_id: str,
        channel: str,
        options: SendOptions,
        *,
        file: str | None = None,
        request_size: int = MOST_IN_REQUEST,
        callback_url: Missing[str] = UNSET,
        mark_session: bool = True,
    ) -> None:
        super().__init__(request_size, callback_url, mark_session=mark_session)
        self.traces = Traces(by_metadata=mark_session, by_sender=True)
        self._template_id = template_id
        self._channel = channel
        self._options = options
        self._file = file

    def call(self, sends_: Sequence[Send]) -> Call[Any]:
        """Return the request for some recipients."""
        messages: list[TemplateMessage] = [
            {
                "to": send.recipient.to,
                "parameters": send.recipient.values.get("parameters", UNSET),
                "file_id_or_url": send.recipient.values.get("file") or self._file or UNSET,
                "session_metadata": self._metadata(send),
                "sender_id": send.mark.key,
                "callback_url": self._callback_url,
            }
            for send in sends_
        ]
        return sends.send_template_batch(self._channel, self._template_id, messages, **self._options)

    def status_call(self, send_id: str) -> Call[Any]:
        """Return the call that asks for the status of a send."""
        return sends.get_sent_message_status(send_id)


class TextKind:
    """A text, one request of ``send_text`` for each recipient, some at a time.

    :param channel: number or handle to send from; ``None`` leaves it to the platform.
    :param options: what happens to the sessions.
    :param parallelism: requests at a time.
    :param callback_url: called when a message goes out or fails.
    """

    request_size = 1

    def __init__(
        self,
        channel: str | None,
        options: SendOptions,
        *,
        parallelism: int,
        callback_url: Missing[str] = UNSET,
    ) -> None:
        self.traces = Traces(by_metadata=False, by_sender=True)
        self.parallelism = parallelism
        self._channel = channel
        self._options = options
        self._callback_url = callback_url

    def call(self, sends_: Sequence[Send]) -> Call[Any]:
        """Return the request for one recipient."""
        (send,) = sends_
        return sends.send_text(
            send.recipient.values["text"],
            to=send.recipient.to,
            from_=self._channel or UNSET,
            sender_id=send.mark.key,
            callback_url=self._callback_url,
            **self._options,
        )

    def answers(self, answer: Any) -> list[Mapping[str, Any]]:
        """Return the answer, in a list. It is about the only recipient, whatever it says."""
        return [{**answer, "senderId": None} if isinstance(answer, dict) else {}]

    def status_call(self, send_id: str) -> Call[Any]:
        """Return the call that asks for the status of a send."""
        return sends.get_sent_message_status(send_id)
