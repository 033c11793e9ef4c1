"""Calls about sessions, which are conversations with a contact on a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_wts.api.call import NOT_GIVEN, Call, NotGiven, given

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from airflow_provider_wts.api.types import MessagePage, SessionV2, SessionV2Page


def get_session(session_id: str, *, include_details: Sequence[str] | NotGiven = NOT_GIVEN) -> Call[SessionV2]:
    """Read a session.

    :param session_id: its id.
    :param include_details: details to add, such as ``ContactDetails``.
    """
    return Call("get_session", path={"id": session_id}, query=given(includeDetails=include_details))


def list_sessions(
    *,
    updated_after: datetime | str | NotGiven = NOT_GIVEN,
    include_details: Sequence[str] | NotGiven = NOT_GIVEN,
    filters: Mapping[str, object] | None = None,
) -> Call[SessionV2Page]:
    """List sessions, paged.

    :param updated_after: lower bound on the last update.
    :param include_details: details to add to each session.
    :param filters: further query parameters by their exact names.
    """
    return Call(
        "list_sessions",
        query={
            **given(IncludeDetails=include_details),
            **given(**{"UpdatedAt.After": updated_after}),
            **(filters or {}),
        },
    )


def list_messages(session_id: str) -> Call[MessagePage]:
    """List the messages of a session, paged.

    :param session_id: the session.
    """
    return Call("list_messages", query={"SessionId": session_id})
