"""When the wait for a contact's answer is over, and which messages are the answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.call import moment, utc
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.api.messages import list_messages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_wts.hooks.wts import WtsHook
    from airflow_provider_wts.triggers.message import WtsSessionReplyTrigger

#: Messages that are looked through for the answer, newest first.
MOST_MESSAGES = 500


def given_since(value: Any) -> datetime | None:
    """Read ``since``.

    :param value: an aware datetime, or its ISO 8601 text, or nothing.
    :raises WtsInvalidRequestError: when it cannot be read, or has no time zone.
    """
    if value is None or (isinstance(value, str) and value.strip() in ("", "None")):
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise WtsInvalidRequestError(
                f"since: {value!r} is no moment. A good value is '2026-12-24T18:00:00-03:00'."
            ) from None
    if not isinstance(value, datetime):
        raise WtsInvalidRequestError(f"since: must be a moment, not {type(value).__name__}.")
    utc(value)  # refuses a naive one
    return value.astimezone(UTC)


def since_last_message_out(session: Mapping[str, Any], began: datetime | None) -> datetime:
    """Return the moment after which a message of the contact is an answer, where none was given.

    :param session: the session as it is now.
    :param began: when the wait began, where that was at an earlier look. What the company wrote later, such as a
        chatbot's thanks for the answer, must not move the moment past the answer.
    """
    if not session.get("lastMessageOut"):
        # The company wrote nothing, so the first message of the contact is what is waited for.
        return datetime.fromtimestamp(0, UTC)
    written = moment(session["lastMessageOut"])
    return written if began is None else min(written, began)


def replies(hook: WtsHook, session_id: str, since: datetime) -> list[dict[str, Any]]:
    """Return what the contact wrote after a moment, oldest first.

    :param hook: the hook of the task's connection.
    :param session_id: the session.
    :param since: the moment.
    """
    # A second earlier, and judged here: whether the bound is inclusive is not documented.
    bounds: list[dict[str, Any]] = [{"created_after": since - timedelta(seconds=1)}] if since.year > 1970 else []
    for window in (*bounds, {}):
        found = {
            str(message.get("id")): message
            for message in islice(hook.client.items(list_messages(session_id, **window)), MOST_MESSAGES)
            if message.get("direction") == "FROM_HUB" and moment(message.get("createdAt")) > since
        }
        if found:
            return sorted(found.values(), key=lambda message: moment(message.get("createdAt")))
    return []


def reply_trigger(
    session_id: str, since: datetime, *, wts_conn_id: str, poll_interval: float, timeout: float
) -> tuple[WtsSessionReplyTrigger, timedelta]:
    """Return the trigger that goes on waiting for an answer, and Airflow's timeout for it.

    :param session_id: the session.
    :param since: moment after which a message of the contact counts.
    :param wts_conn_id: the Airflow connection.
    :param poll_interval: seconds between two looks.
    :param timeout: seconds that are left for the whole wait.
    """
    # airflow.triggers is heavy, and only a task that defers needs it.
    from airflow_provider_wts.triggers.message import WtsSessionReplyTrigger
    from airflow_provider_wts.waiting.deferral import times_of_deferral

    earliest, deadline, longest = times_of_deferral(timeout)
    trigger = WtsSessionReplyTrigger(
        wts_conn_id=wts_conn_id,
        session_id=session_id,
        since=since.isoformat(),
        poll_interval=poll_interval,
        earliest=earliest,
        deadline=deadline,
    )
    return trigger, longest
