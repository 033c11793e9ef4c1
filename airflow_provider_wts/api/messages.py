"""Calls that read messages, and the older quick sends.

The quick sends have two features that the send family (:mod:`airflow_provider_wts.api.sends`) lacks: they can wait for
the channel's answer, and name a bot that takes over when the contact replies. They have no ``senderId``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.sends import SendOptions
from airflow_provider_wts.api.window import Window
from airflow_provider_wts.api.wire import Missing, body_of, query_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_wts.api.types import Message, MessagePage, MessageQuickSend, QuickMessage


class QuickContent(TypedDict, total=False):
    """The content of a quick send; the API needs ``text``, ``template_id`` or a file.

    ``text``: the text, or the caption of a file. ``template_id``: the template. ``parameters``: values by the name of
    the template's variable. ``file_url``: public address of a file. ``file_id``: ID of an uploaded file. ``ref_id``:
    ID of the message to reply to.
    """

    text: Missing[str]
    template_id: Missing[str]
    parameters: Missing[Mapping[str, str | None]]
    file_url: Missing[str]
    file_id: Missing[str]
    ref_id: Missing[str]


class QuickSend(QuickContent, SendOptions, total=False):
    """A quick send to a number: :class:`QuickContent`, :class:`~airflow_provider_wts.api.sends.SendOptions`, and more.

    ``from_``: number of a channel of the account. ``bot_key``: key of the bot that takes over when the contact replies.
    """

    from_: Missing[str]
    bot_key: Missing[str]


def send_message(to: str, **send: Unpack[QuickSend]) -> Call[QuickMessage]:
    """Queue a message to a number; the contact is created if it does not exist."""
    return Call("send_message", body=_quick_send(to, send))


def send_message_sync(to: str, **send: Unpack[QuickSend]) -> Call[Message]:
    """Send a message to a number, wait up to 25 s for the channel, and return its last known state."""
    return Call("send_message_sync", body=_quick_send(to, send))


def send_session_message(session_id: str, **content: Unpack[QuickContent]) -> Call[QuickMessage]:
    """Queue a message in a session."""
    return Call("send_session_message", path={"id": session_id}, body=body_of(QuickContent, content))


def send_session_message_sync(session_id: str, **content: Unpack[QuickContent]) -> Call[Message]:
    """Send a message in a session, wait up to 25 s for the channel, and return its last known state."""
    return Call("send_session_message_sync", path={"id": session_id}, body=body_of(QuickContent, content))


def get_message(message_id: str) -> Call[Message]:
    """Read a message."""
    return Call("get_message", path={"id": message_id})


def get_message_status(message_id: str) -> Call[MessageQuickSend]:
    """Read the status of a message."""
    return Call("get_message_status", path={"id": message_id})


def list_messages(session_id: str, **window: Unpack[Window]) -> Call[MessagePage]:
    """List the messages of a session, paged."""
    return Call("list_messages", query={"SessionId": session_id, **query_of(Window, window)})


def list_session_messages(session_id: str, **window: Unpack[Window]) -> Call[MessagePage]:
    """List the messages of a session, paged; the same list at another address."""
    return Call("list_session_messages", path={"id": session_id}, query=query_of(Window, window))


def _quick_send(to: str, send: QuickSend) -> dict[str, Any]:
    return {"to": to, "body": {}, **body_of(QuickSend, send, body=QuickContent.__optional_keys__, options=_OPTIONS)}


_OPTIONS = ("enable_bot", "hidden_session", "force_start_session")

#: The statuses of a delivery in order, which is inferred.
DELIVERY_STATUSES = ("SENT", "DELIVERED", "READ")

#: Statuses of a send that did not reach its recipient.
FAILED_STATUSES = ("FAILED", "DELETED")


def has_failed(answer: Any) -> bool:
    """Whether an answer about a send, or what is stored of it, shows that the send did not reach its recipient."""
    return isinstance(answer, dict) and answer.get("status") in FAILED_STATUSES


def shows_outcome(answer: Any) -> bool:
    """Return whether an answer says what happened to a send, or shows what was created.

    :param answer: the answer of one send. It may be an error, or hold nothing.
    """
    if not isinstance(answer, dict):
        return False
    status, reason = answer.get("status"), answer.get("failedReason") or answer.get("failureReason")
    return status in (*DELIVERY_STATUSES, *FAILED_STATUSES) or (bool(answer.get("id") or status) and not reason)


def failure_of(answer: Any) -> str | None:
    """Return how a message that WTS Chat accepted failed immediately; ``None`` if it did not.

    :param answer: the answer of a send.
    """
    from airflow_provider_wts.api.personal_data import without_personal_data

    if not isinstance(answer, dict) or answer.get("status") not in FAILED_STATUSES:
        return None
    reason = answer.get("failedReason") or answer.get("failureReason") or "no reason was given"
    reason = without_personal_data(str(reason))
    return f"WTS Chat accepted message {answer.get('id')}, but its status is {answer['status']}: {reason}"


#: The documented statuses of a message.
MESSAGE_STATUSES = (
    *("PROCESSING", "SAVED", "QUEUED", "SENT", "DELIVERED", "READ"),
    *("FAILED", "DELETED", "WAIT_REPLY"),
)
