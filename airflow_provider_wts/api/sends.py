"""Calls of the send family ``/send/*``: each accepts a message, queues it, and returns immediately.

The older quick sends are in :mod:`airflow_provider_wts.api.messages`. Only they can wait for the channel's answer, and
name a bot that takes over when the contact replies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.wire import UNSET, Missing, Unset, body_of, given

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_wts.api.types import RespSendMessage, RespSendMessages


class DepartmentReference(TypedDict, total=False):
    """A department by its ``id`` or by its ``name``."""

    id: str | None
    name: str | None


class UserReference(TypedDict, total=False):
    """A user by ``id``, ``email`` or ``phoneNumber``."""

    id: str | None
    email: str | None
    phoneNumber: str | None


class SendOptions(TypedDict, total=False):
    """Options for the session; all optional.

    ``enable_bot``: start the channel's bot when the contact replies; only applies if the send opens a session.
    ``hidden_session``: hide the session until the contact replies; only applies if the send opens it.
    ``force_start_session``: end the session in progress, and open a new one. ``department``, ``user``: whom to assign
    the session to.
    """

    enable_bot: Missing[bool]
    hidden_session: Missing[bool]
    force_start_session: Missing[bool]
    department: DepartmentReference | Unset
    user: UserReference | Unset


_OPTIONS = SendOptions.__optional_keys__


class SendTo(SendOptions, total=False):
    """Recipient and options of a message; all optional, but the API needs ``to`` or ``session_id``.

    ``to``: recipient, a number or ``@handle``. ``from_``: number or ``@handle`` of a channel of the account.
    ``session_id``: session to send to. ``ref_id``: ID of the message to reply to. ``delay_typing``: seconds of
    "typing...", at most 25. ``callback_url``: called when the message goes out or fails. ``sender_id``: the caller's
    own ID.
    """

    to: Missing[str]
    from_: Missing[str]
    session_id: Missing[str]
    ref_id: Missing[str]
    delay_typing: Missing[int]
    callback_url: Missing[str]
    sender_id: Missing[str]


class SendTemplate(SendOptions, total=False):
    """Optional parameters for sending a template.

    ``parameters``: values by the name of the template's variable. ``file_id_or_url``: file of a template with media.
    ``session_id``: session to send to. ``session_metadata``: stored with the session. ``callback_url``: called when
    the message goes out or fails. ``sender_id``: the caller's own ID.
    """

    parameters: Missing[Mapping[str, str | None]]
    file_id_or_url: Missing[str]
    session_id: Missing[str]
    session_metadata: Missing[Mapping[str, Any]]
    callback_url: Missing[str]
    sender_id: Missing[str]


class TemplateMessage(TypedDict, total=False):
    """One recipient of a template batch; only ``to`` is required. The rest is as in :class:`SendTemplate`."""

    to: str
    parameters: Missing[Mapping[str, str | None]]
    file_id_or_url: Missing[str]
    session_metadata: Missing[Mapping[str, Any]]
    callback_url: Missing[str]
    sender_id: Missing[str]


def send_text(text: str, **send: Unpack[SendTo]) -> Call[RespSendMessage]:
    """Send a text."""
    return Call("send_text", body={**_to(send), "text": text})


def send_image(file_id_or_url: str, *, text: Missing[str] = UNSET, **send: Unpack[SendTo]) -> Call[RespSendMessage]:
    """Send an image: the ID of an uploaded file, or a public address. The text is its caption."""
    return Call("send_image", body=_media(file_id_or_url, send, text))


def send_audio(file_id_or_url: str, **send: Unpack[SendTo]) -> Call[RespSendMessage]:
    """Send an audio file, without a caption: the ID of an uploaded file, or a public address."""
    return Call("send_audio", body=_media(file_id_or_url, send))


def send_video(file_id_or_url: str, *, text: Missing[str] = UNSET, **send: Unpack[SendTo]) -> Call[RespSendMessage]:
    """Send a video: the ID of an uploaded file, or a public address. The text is its caption."""
    return Call("send_video", body=_media(file_id_or_url, send, text))


def send_document(file_id_or_url: str, *, text: Missing[str] = UNSET, **send: Unpack[SendTo]) -> Call[RespSendMessage]:
    """Send a document: the ID of an uploaded file, or a public address. The text is its caption."""
    return Call("send_document", body=_media(file_id_or_url, send, text))


def send_template(to: str, from_: str, template_id: str, **send: Unpack[SendTemplate]) -> Call[RespSendMessage]:
    """Send a template to one recipient.

    :param to: recipient, a number or ``@handle``; required even with ``session_id``.
    :param from_: number or ``@handle`` of a channel of the account; required here.
    """
    body = body_of(SendTemplate, send, options=_OPTIONS)
    return Call("send_template", body={"to": to, "from": from_, "templateId": template_id, **body})


def send_template_batch(
    from_: str, template_id: str, messages: Sequence[TemplateMessage], **options: Unpack[SendOptions]
) -> Call[RespSendMessages]:
    """Send a template to many recipients; returns one result per recipient.

    :param from_: number or ``@handle`` of a channel of the account.
    :param messages: the recipients, at most 100; see :class:`TemplateMessage`.
    """
    return Call(
        "send_template_batch",
        body={
            "from": from_,
            "templateId": template_id,
            **body_of(SendOptions, options, options=_OPTIONS),
            "messages": [body_of(TemplateMessage, message) for message in messages],
        },
    )


def get_sent_message_status(send_id: str) -> Call[RespSendMessage]:
    """Read the status of a message of the send family."""
    return Call("get_sent_message_status", path={"id": send_id})


def _media(file_id_or_url: str, send: SendTo, text: Missing[str] = UNSET) -> dict[str, Any]:
    return {**_to(send), "fileIdOrUrl": file_id_or_url, **given(text=text)}


def _to(send: SendTo) -> dict[str, Any]:
    return body_of(SendTo, send, options=_OPTIONS)


KINDS = ("image", "audio", "video", "document")


def media_call(kind: str, reference: str, text: Missing[str], send: SendTo) -> Call[Any]:
    """Return the call of the send family for a file.

    :param kind: one of :data:`KINDS`.
    :param reference: address or ID of the file.
    :param text: caption.
    """
    return Call(f"send_{kind}", body=_media(reference, send, UNSET if kind == "audio" else text))


#: WhatsApp's maximum length of a text, and of a file's caption. The API documents no limit.
MAX_TEXT, MAX_CAPTION = 4096, 1024


def warn_if_long(log: Any, name: str, value: object, limit: int) -> None:
    """Warn about a text that is too long for WhatsApp."""
    if isinstance(value, str) and len(value) > limit:
        log.warning(
            "%s: has %s characters, but WhatsApp accepts %s. WTS Chat documents no limit, so it is sent as it is.",
            name,
            f"{len(value):,}",
            f"{limit:,}",
        )
