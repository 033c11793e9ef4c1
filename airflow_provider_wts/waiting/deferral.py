"""What a task and its trigger exchange: plain JSON, validated on both sides."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_wts.api.errors import WtsError, WtsRateLimitError, quoted

if TYPE_CHECKING:
    from airflow.sdk import Context


#: Seconds before a trigger fires or a sensor is rescheduled. Airflow's scheduler up to 3.3.2 may fail a task that
#: returns while it still records the task's deferral.
EARLIEST_FIRING = 20.0

#: Seconds from the trigger's timeout to Airflow's own for the deferral, whose message is less helpful.
TIMEOUT_SLACK = 120.0

#: Maximum session IDs in a trigger's arguments, which MySQL stores encrypted in 64 KB.
MAX_IN_ARGUMENTS = 100

#: Key of the XCom with more session IDs for the trigger.
IDS_KEY = "wts_session_ids"


#: Entries of an event that are dates and times.
_TIMES = ("since", "deadline")

_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("message", "session_id", "message_id", *_TIMES), str),
    "counts": Mapping,
    "retry_after": (int, float),
}


class Times(TypedDict):
    """The arguments of a trigger about time.

    ``poll_interval``: polling interval in seconds. ``earliest``, ``deadline``: when it may send its event at the
    earliest and at the latest (ISO 8601).
    """

    poll_interval: float
    earliest: str
    deadline: str


def times_of_deferral(poll_interval: float, timeout: float) -> tuple[Times, timedelta]:
    """Return the times of a trigger for the seconds left, and Airflow's own timeout for the deferral."""
    now = datetime.now(UTC)
    earliest, deadline = (now + timedelta(seconds=seconds) for seconds in (EARLIEST_FIRING, timeout))
    times: Times = {
        "poll_interval": poll_interval,
        "earliest": earliest.isoformat(),
        "deadline": deadline.isoformat(),
    }
    return times, timedelta(seconds=timeout + TIMEOUT_SLACK)


def time_left(event: Mapping[str, Any], timeout: float) -> float:
    """Return the seconds left of a wait after an event, or ``timeout`` if the event has no deadline."""
    if not event.get("deadline"):
        return timeout
    return (datetime.fromisoformat(event["deadline"]) - datetime.now(UTC)).total_seconds()


def store_ids(context: Context, ids: list[str]) -> tuple[list[str], dict[str, Any] | None]:
    """Return IDs for a trigger's arguments; if there are too many, store them as an XCom, and return where it is."""
    if len(ids) <= MAX_IN_ARGUMENTS:
        return ids, None
    task_instance = context["ti"]
    task_instance.xcom_push(key=IDS_KEY, value=ids)
    place: dict[str, Any] = {name: str(getattr(task_instance, name)) for name in ("dag_id", "run_id", "task_id")}
    return [], {**place, "map_index": task_instance.map_index, "key": IDS_KEY}


def delete_ids(context: Context) -> None:
    """Remove what :func:`store_ids` stored, when the trigger has ended."""
    context["ti"].xcom_push(key=IDS_KEY, value=[])


def stored_ids(place: Mapping[str, Any]) -> list[str]:
    """Return the IDs that a task stored for its trigger. It blocks."""
    from airflow.providers.common.compat.sdk import XCom

    ids: Any = XCom.get_one(**place)
    if isinstance(ids, (list, tuple)) and ids:
        return [str(one) for one in ids]
    raise WtsError(
        f"The session IDs of task {quoted(place.get('task_id'))} are no longer in its XCom {quoted(place.get('key'))}, "
        "so the trigger cannot wait for them. Clear the task to wait again."
    )


def checked_event(event: Any, about: str) -> Mapping[str, Any]:
    """Return an event if one of our triggers sent it.

    :param about: name of the entry with the subject of the event.
    :raises WtsError: when it is anything else, because an unknown event must not count as success.
    """
    if not isinstance(event, Mapping) or not _fits(event, about):
        raise WtsError(
            "The trigger sent an event that this version does not understand. The triggerer may have another version "
            "of airflow-provider-wts. Nothing is lost: clear the task to wait again."
        )
    return event


def error_of(event: Mapping[str, Any]) -> Exception:
    """Return the error for an event about a wait that failed.

    :param event: the validated event.
    """
    words = str(event["message"])
    if event["outcome"] == "failed" or event.get("final"):
        return AirflowFailException(words)
    if (seconds := event.get("retry_after")) is not None:
        return WtsRateLimitError(words, retry_after=seconds)
    return WtsError(words)


def _fits(event: Mapping[str, Any], about: str) -> bool:
    if event.get("outcome") not in ("reached", "failed", "timeout", "error") or not event.get(about):
        return False
    given = {name: value for name, value in event.items() if value is not None}
    kinds = all(isinstance(given[name], kind) for name, kind in _KINDS.items() if name in given)
    return "message" in given and kinds and all(_is_time(given[name]) for name in _TIMES if name in given)


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
