"""Calls about sessions, which are conversations with a contact on a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.window import Window
from airflow_provider_wts.api.wire import UNSET, Missing, Unset, body_of, field_mask, given, given_or_left_out, query_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from airflow_provider_wts.api.types import Message, Session, SessionV2, SessionV2Page


def get_session(session_id: str, *, include_details: Sequence[str] | Unset = UNSET) -> Call[SessionV2]:
    """Read a session.

    :param include_details: details to add, such as ``ContactDetails``.
    """
    return Call("get_session", path={"id": session_id}, query=given(includeDetails=include_details))


class SessionFilters(Window, total=False):
    """Filters of a list of sessions; all optional. A session must match all of them.

    ``status``: statuses, such as ``IN_PROGRESS``. ``department_id``, ``user_id``, ``contact_id``: whose sessions.
    ``tag_ids``, ``tag_names``: tags of the contact. ``channel_ids``: channels. ``ended_after``, ``ended_before``,
    ``active_after``, ``active_before``, ``last_interaction_after``, ``last_interaction_before``: aware datetimes.
    ``metadata``: key-value pairs in the session's metadata; the client refuses it, because the form of an object in a
    query is not documented. ``session_type``: ``INDIVIDUAL`` or ``GROUP``.
    ``include_details``: ``AgentDetails``, ``DepartmentsDetails``, ``ContactDetails``, ``ChannelTypeDetails``,
    ``ClassificationDetails``, ``ChannelDetails``.
    """

    status: Sequence[str] | Unset
    department_id: str | Unset
    user_id: str | Unset
    contact_id: str | Unset
    tag_ids: Sequence[str] | Unset
    tag_names: Sequence[str] | Unset
    channel_ids: Sequence[str] | Unset
    ended_after: datetime | str | Unset
    ended_before: datetime | str | Unset
    active_after: datetime | str | Unset
    active_before: datetime | str | Unset
    last_interaction_after: datetime | str | Unset
    last_interaction_before: datetime | str | Unset
    metadata: Mapping[str, str | None] | Unset
    session_type: str | Unset
    include_details: Sequence[str] | Unset


#: Irregular names in the query.
_FILTERS = {
    "tag_ids": "TagsId",
    "tag_names": "TagsName",
    "channel_ids": "ChannelsId",
    "ended_after": "EndAt.After",
    "ended_before": "EndAt.Before",
    "session_type": "Type",
}


def list_sessions(**filters: Unpack[SessionFilters]) -> Call[SessionV2Page]:
    """List sessions, paged."""
    return Call("list_sessions", query=query_of(SessionFilters, filters, _FILTERS))


def change_session_status(
    session_id: str, new_status: str, *, stop_bot_in_execution: bool | Unset = UNSET
) -> Call[Session]:
    """Set the status of a session.

    :param new_status: ``UNDEFINED``, ``STARTED``, ``PENDING``, ``IN_PROGRESS``, ``COMPLETED`` or ``HIDDEN``.
    """
    return Call(
        "change_session_status",
        path={"id": session_id},
        body=given(newStatus=new_status, options=given_or_left_out(stopBotInExecution=stop_bot_in_execution)),
    )


def complete_session(
    session_id: str,
    *,
    reactivate_on_new_message: bool | Unset = UNSET,
    stop_bot_in_execution: bool | Unset = UNSET,
) -> Call[Session]:
    """Complete a session.

    :param reactivate_on_new_message: reopen it when the contact writes.
    """
    return Call(
        "complete_session",
        path={"id": session_id},
        # Even if it is empty: whether the API accepts a request without a body is not documented.
        body=given(reactivateOnNewMessage=reactivate_on_new_message, stopBotInExecution=stop_bot_in_execution),
    )


def transfer_session(
    session_id: str,
    transfer_type: str,
    *,
    new_department_id: Missing[str] = UNSET,
    new_user_id: Missing[str] = UNSET,
    stop_bot_in_execution: bool | Unset = UNSET,
) -> Call[Session]:
    """Transfer a session to a department or a user.

    :param transfer_type: ``DEPARTMENT`` or ``USER``.
    :param new_department_id: the new department, for ``DEPARTMENT``.
    :param new_user_id: the new user, for ``USER``.
    """
    return Call(
        "transfer_session",
        path={"id": session_id},
        body=given(
            type=transfer_type,
            newDepartmentId=new_department_id,
            newUserId=new_user_id,
            options=given_or_left_out(stopBotInExecution=stop_bot_in_execution),
        ),
    )


def assign_session_user(session_id: str, user_id: str, *, stop_bot_in_execution: bool | Unset = UNSET) -> Call[Session]:
    """Assign a session to a user."""
    return Call(
        "assign_session_user",
        path={"id": session_id},
        body=given(userId=user_id, options=given_or_left_out(stopBotInExecution=stop_bot_in_execution)),
    )


class SessionChanges(TypedDict, total=False):
    """Changes to a session.

    ``end_at``: when it ended, an aware datetime. ``classification``: ``category`` (``UNDEFINED``, ``WON``, ``LOST``,
    ``INFO``, ``OTHER``), ``description`` and ``amount``. ``metadata``: data stored with the session.
    ``stop_bot_in_execution``: also stop the bot that runs in the session.
    """

    status: Missing[str]
    end_at: Missing[datetime | str]
    number: Missing[str]
    department_id: Missing[str]
    user_id: Missing[str]
    classification: Mapping[str, Any] | Unset
    metadata: Missing[Mapping[str, Any]]
    stop_bot_in_execution: bool | Unset


def update_session(session_id: str, *, fields: Sequence[str] = (), **changes: Unpack[SessionChanges]) -> Call[Session]:
    """Change only the given fields of a session, which are also listed in ``fields`` of the body.

    :param fields: additional names, from :data:`FIELDS_WITHOUT_VALUE`.
    """
    body = body_of(SessionChanges, changes, options=("stop_bot_in_execution",))
    return Call("update_session", path={"id": session_id}, body={"fields": [*field_mask(body), *fields], **body})


def create_session_note(
    session_id: str,
    *,
    text: Missing[str] = UNSET,
    file_urls: Missing[Sequence[str]] = UNSET,
    file_ids: Missing[Sequence[str]] = UNSET,
) -> Call[Message]:
    """Add an internal note to a session; a second call adds a second note.

    :param text: the note.
    :param file_urls: public addresses of files.
    :param file_ids: IDs of uploaded files.
    """
    return Call(
        "create_session_note",
        path={"id": session_id},
        body=given(text=text, filesUrls=file_urls, filesIds=file_ids),
    )


#: Names in ``fields`` of :func:`update_session` that are not fields of the body.
FIELDS_WITHOUT_VALUE = ("Autocomplete", "ReactivateDisabled")

#: The documented statuses of a session.
SESSION_STATUSES = ("UNDEFINED", "STARTED", "PENDING", "IN_PROGRESS", "COMPLETED", "HIDDEN")

#: Details that calls can add to sessions.
SESSION_DETAILS = (
    *("AgentDetails", "DepartmentsDetails", "ContactDetails"),
    *("ChannelTypeDetails", "ClassificationDetails", "ChannelDetails"),
)
