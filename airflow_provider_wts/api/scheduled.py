"""Calls about scheduled messages: templates or bots at a future date and time."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict, Unpack

from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.window import Window
from airflow_provider_wts.api.wire import Missing, Unset, body_of, query_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from airflow_provider_wts.api.sends import DepartmentReference
    from airflow_provider_wts.api.types import ReqScheduledMessage, ScheduledMessage, ScheduledMessagePage


class Schedule(TypedDict, total=False):
    """A scheduled message; all optional, but ``scheduling`` and a template or bot are needed in practice.

    ``from_``: phone number of a channel of the account. ``department``: the session's department.
    ``scheduled_type``: ``TEMPLATE`` or ``CHATBOT``. ``template_id``: the template. ``bot_key``: key of the bot.
    ``scheduling``: an aware datetime. ``hidden_session``: hide a new session until the contact replies.
    ``parameters``: values by the name of the template's variable. ``file_url``, ``file_id``: file of a template with
    media.
    """

    from_: Missing[str]
    department: DepartmentReference | Unset
    scheduled_type: str | Unset
    template_id: Missing[str]
    bot_key: Missing[str]
    scheduling: datetime | str | Unset
    hidden_session: bool | Unset
    parameters: Missing[Mapping[str, str | None]]
    file_url: Missing[str]
    file_id: Missing[str]


def create_scheduled_message(to: str, **schedule: Unpack[Schedule]) -> Call[ReqScheduledMessage]:
    """Schedule a template or a bot for a phone number."""
    template = ("parameters", "file_url", "file_id")
    body = body_of(Schedule, schedule, {"scheduled_type": "type"}, templateParams=template)
    return Call("create_scheduled_message", body={"to": to, **body})


def cancel_scheduled_message(scheduled_message_id: str) -> Call[None]:
    """Cancel a scheduled message that has not been sent; returns nothing."""
    return Call("cancel_scheduled_message", path={"id": scheduled_message_id})


def batch_cancel_scheduled_messages(scheduled_message_ids: Sequence[str]) -> Call[list[ScheduledMessage]]:
    """Cancel many scheduled messages; what happens to those already sent is not documented."""
    return Call("batch_cancel_scheduled_messages", body=list(scheduled_message_ids))


class ScheduledFilters(Window, total=False):
    """Filters of a list of scheduled messages; all optional. A message must match all of them.

    ``scheduled_after``, ``scheduled_before``: bounds on the date and time of sending. ``status``: such as
    ``SCHEDULED``. ``scheduled_type``: ``TEMPLATE`` or ``CHATBOT``. ``from_``, ``to``: numbers. ``user``,
    ``department``: their IDs. ``include_details``: ``Contact``, ``Channel``, ``User``, ``Department``, ``Template``,
    ``Chatbot``.
    """

    scheduled_after: datetime | str | Unset
    scheduled_before: datetime | str | Unset
    status: str | Unset
    scheduled_type: str | Unset
    from_: str | Unset
    to: str | Unset
    user: str | Unset
    department: str | Unset
    include_details: Sequence[str] | Unset


def list_scheduled_messages(**filters: Unpack[ScheduledFilters]) -> Call[ScheduledMessagePage]:
    """List scheduled messages, paged."""
    return Call("list_scheduled_messages", query=query_of(ScheduledFilters, filters, {"scheduled_type": "Type"}))
