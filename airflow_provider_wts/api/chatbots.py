"""Calls that list and start chatbots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.wire import UNSET, Missing, Unset, body_of, given

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_wts.api.types import ChatbotPage, RespSendMessage, RespSendMessages, Session


def list_chatbots(
    *,
    name: str | Unset = UNSET,
    types: Sequence[str] | Unset = UNSET,
    publish_statuses: Sequence[str] | Unset = UNSET,
    automation_usages: Sequence[str] | Unset = UNSET,
) -> Call[ChatbotPage]:
    """List the account's bots, paged.

    :param types: ``Reactive``, ``Automation``.
    :param publish_statuses: ``Not_Published``, ``Publishing``, ``Ready``, ``Failed``.
    :param automation_usages: ``Api``, ``Manual``, ``Campaign``, ``Sequence``.
    """
    return Call(
        "list_chatbots",
        query=given(Name=name, Types=types, PublishStatuses=publish_statuses, AutomationUsages=automation_usages),
    )


class BotMessage(TypedDict, total=False):
    """One recipient of a chatbot batch: ``to`` or ``session_id``. The rest is as in :class:`BotStart`."""

    to: Missing[str]
    session_id: Missing[str]
    session_metadata: Missing[Mapping[str, Any]]
    contact_metadata: Missing[Mapping[str, Any]]
    sender_id: Missing[str]
    callback_url: Missing[str]


class BotOptions(TypedDict, total=False):
    """Options for all recipients of a chatbot batch, as in :class:`BotStart`."""

    skip_if_bot_in_execution: Missing[bool]
    skip_if_in_progress: Missing[bool]
    force_start_session: Missing[bool]
    hidden_session: Missing[bool]


_OPTIONS = BotOptions.__optional_keys__


class BotStart(BotMessage, BotOptions, total=False):
    """The start of a bot; all optional, but the API needs ``bot_key``, and ``to`` or ``session_id``.

    ``bot_key``: key of the bot, not its ID. ``from_``: number or ``@handle`` of a channel of the account. ``to``:
    recipient, number or ``@handle``. ``session_id``: session to run the bot in. ``skip_if_bot_in_execution``: do
    nothing while another bot runs. ``skip_if_in_progress``: do nothing while a session is in progress.
    ``force_start_session``: end the session in progress, and open a new one. ``hidden_session``: hide a new session
    until the contact replies. ``session_metadata``, ``contact_metadata``: stored with the session or contact.
    ``sender_id``: the caller's own ID. ``callback_url``: called when the bot starts or fails.
    """

    bot_key: Missing[str]
    from_: Missing[str]


def send_chatbot(**start: Unpack[BotStart]) -> Call[Session]:
    """Start a bot for a recipient or in a session immediately; returns the session."""
    return Call("send_chatbot", body=body_of(BotStart, start, options=_OPTIONS))


def queue_chatbot(**start: Unpack[BotStart]) -> Call[RespSendMessage]:
    """Queue the start of a bot; returns the send, whose status can be read."""
    return Call("queue_chatbot", body=body_of(BotStart, start, options=_OPTIONS))


def queue_chatbot_batch(
    bot_key: str,
    messages: Sequence[BotMessage],
    *,
    from_: Missing[str] = UNSET,
    **options: Unpack[BotOptions],
) -> Call[RespSendMessages]:
    """Queue the start of a bot for many recipients; returns one result per recipient.

    :param bot_key: key of the bot, not its ID.
    :param messages: the recipients. No maximum is documented; 100 is safe. See :class:`BotMessage`.
    :param from_: ID, number or ``@handle`` of a channel of the account.
    """
    return Call(
        "queue_chatbot_batch",
        body={
            **given(botKey=bot_key, from_=from_),
            **body_of(BotOptions, options, options=_OPTIONS),
            "messages": [body_of(BotMessage, message) for message in messages],
        },
    )


def get_queued_chatbot_status(send_id: str) -> Call[RespSendMessage]:
    """Read the status of a queued start of a bot."""
    return Call("get_queued_chatbot_status", path={"id": send_id})
