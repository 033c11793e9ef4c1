"""What a task and its trigger exchange: plain JSON, checked on both sides."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from airflow_provider_wts.api.errors import WtsError, quoted

if TYPE_CHECKING:
    from airflow.sdk import Context


#: Seconds in which a trigger does not fire after its task deferred, and a sensor is not rescheduled. The scheduler of
#: Airflow up to 3.3.2 may fail a task that comes back while it still books that the task left.
EARLIEST_FIRING = 20.0

#: Seconds that Airflow's own timeout of a deferral comes after the trigger's, which says more.
TIMEOUT_SLACK = 120.0

#: Session ids up to which they go to the trigger as an argument. MySQL keeps a trigger's arguments in 64 KB, encrypted.
MOST_IN_ARGUMENTS = 100

#: Key of the XCom by which a task hands more ids over to its trigger.
IDS_KEY = "wts_session_ids"


class Times(TypedDict):
    """When a trigger checks. They are its arguments.

    ``poll_interval``: polling interval in seconds. ``earliest``, ``deadline``: when it may send its event first, and
    at the latest (ISO 8601).
    """

    poll_interval: float
    earliest: str
    deadline: str


def times_of_deferral(poll_interval: float, timeout: float) -> tuple[Times, timedelta]:
    """Return when a trigger checks, and Airflow's own timeout for it.

    :param poll_interval: polling interval in seconds.
    :param timeout: seconds that are left for the whole wait.
    """
    now = datetime.now(UTC)
    earliest, deadline = (now + timedelta(seconds=seconds) for seconds in (EARLIEST_FIRING, timeout))
    times: Times = {
        "poll_interval": poll_interval,
        "earliest": earliest.isoformat(),
        "deadline": deadline.isoformat(),
    }
    return times, timedelta(seconds=timeout + TIMEOUT_SLACK)


def time_left(event: Mapping[str, Any], timeout: float) -> float:
    """Return the seconds that are left of a wait after an event.

    :param event: the event, checked.
    :param timeout: seconds of the whole wait, if the event does not say when it ends.
    """
    if not event.get("deadline"):
        return timeout
    return (datetime.fromisoformat(event["deadline"]) - datetime.now(UTC)).total_seconds()


def hand_over(context: Context, ids: list[str]) -> tuple[list[str], dict[str, Any] | None]:
    """Return ids for a trigger's arguments, or store too many of them as an XCom, and return where that is."""
    if len(ids) <= MOST_IN_ARGUMENTS:
        return ids, None
    task_instance = context["ti"]
    task_instance.xcom_push(key=IDS_KEY, value=ids)
    place: dict[str, Any] = {name: str(getattr(task_instance, name)) for name in ("dag_id", "run_id", "task_id")}
    return [], {**place, "map_index": task_instance.map_index, "key": IDS_KEY}


def taken_back(context: Context) -> None:
    """Remove what :func:`hand_over` stored: the trigger has ended."""
    context["ti"].xcom_push(key=IDS_KEY, value=[])


def handed_over(place: Mapping[str, Any]) -> list[str]:
    """Return the ids that a task stored for its trigger. It blocks.

    :param place: where they are.
    :raises WtsError: when they are not there.
    """
    from airflow.providers.common.compat.sdk import XCom

    ids: Any = XCom.get_one(**place)
    if isinstance(ids, (list, tuple)) and ids:
        return [str(one) for one in ids]
    raise WtsError(
        f"The session ids of task {quoted(place.get('task_id'))} are not in its XCom {quoted(place.get('key'))} any "
        "more, so the trigger cannot wait for them. Clear the task to wait again."
    )


def checked_event(event: Any, about: str) -> Mapping[str, Any]:
    """Return an event that a trigger of ours sent.

    :param event: what Airflow handed to the resumed task.
    :param about: name of the entry that says what the event is about.
    :raises WtsError: when it is anything else: an unknown event is never a success.
    """
    known = ("reached", "failed", "timeout", "error")
    if not isinstance(event, Mapping) or event.get("outcome") not in known or not event.get(about):
        raise WtsError(
            "The trigger handed over an event that this version does not understand. Is the triggerer on another "
            "version of airflow-provider-wts? Nothing is lost: clear the task to wait again."
        )
    return event
