"""When the wait for a message is over, and how its status is read."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wts.api.errors import WtsInvalidRequestError, WtsNotFoundError, WtsRejectedError
from airflow_provider_wts.api.personal_data import without_personal_data
from airflow_provider_wts.waiting.session import NOT_FOUND, Verdict
from airflow_provider_wts.waiting.subscription import Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.client import WtsClient
    from airflow_provider_wts.triggers.message import WtsMessageStatusTrigger

log = logging.getLogger(__name__)

#: Statuses of a message, as the API documents them. The order of the progress is not documented; it is inferred.
MESSAGE_STATUSES = (
    *("PROCESSING", "SAVED", "QUEUED", "SENT", "DELIVERED", "READ"),
    *("FAILED", "DELETED", "WAIT_REPLY"),
)
_PROGRESS = ("SENT", "DELIVERED", "READ")
_ENDED_BADLY = ("FAILED", "DELETED")


class MessageWait(NamedTuple):
    """A wait for a message.

    :param message_id: the id that a send answered, or the id of a message.
    :param target_status: ``SENT``, ``DELIVERED`` or ``READ``; a later one implies the earlier ones.
    :param id_of: ``send`` or ``message``, where it is known which of the two the id belongs to.
    """

    message_id: str
    target_status: str = "DELIVERED"
    id_of: str | None = None

    @classmethod
    def of(cls, message_id: Any, target_status: Any, id_of: Any) -> MessageWait:
        """Make a wait from rendered parameters.

        :param message_id: the id, or what a send answered, as itself or as JSON text.
        :param target_status: what is waited for.
        :param id_of: ``send``, ``message``, or nothing.
        :raises WtsInvalidRequestError: naming the parameter that cannot be right.
        """
        target, kind = (str(value or "").strip().upper() for value in (target_status, id_of))
        if target not in _PROGRESS:
            raise WtsInvalidRequestError(
                f"target_status: {target_status!r} cannot be waited for. Good values are {', '.join(_PROGRESS)}."
            )
        if kind not in ("", "SEND", "MESSAGE"):
            raise WtsInvalidRequestError(f"id_of: {id_of!r} is none of 'send' and 'message'.")
        return cls(_message_id(message_id), target, kind.lower() or None)

    def verdict(self, seen: Seen | None) -> tuple[Verdict, str]:
        """Judge what was seen of the message.

        :param seen: what a look kept; a status that is missing or unknown means: keep waiting.
        :return: the verdict, and a sentence for a person.
        """
        status = "unknown" if seen is None else seen.status.upper()
        if seen is not None and status == NOT_FOUND:
            return Verdict.FAILED, f"Message {self.message_id} cannot be found."
        words = f"Message {self.message_id} is {status}"
        if seen is not None and status in _ENDED_BADLY:
            reason = seen.reason or ("no reason was given" if status == "FAILED" else "")
            return Verdict.FAILED, f"{words}{': ' * bool(reason)}{reason}."
        if seen is not None and status and status not in MESSAGE_STATUSES:
            log.warning("Message %s has the unknown status %r; waiting on.", self.message_id, status)
        reached = status in _PROGRESS and _PROGRESS.index(status) >= _PROGRESS.index(self.target_status)
        return (Verdict.REACHED if reached else Verdict.WAITING), f"{words}; {self.target_status} is waited for."


def read_status(read: Callable[[Call[Any]], Any], message_id: str, id_of: str | None) -> tuple[dict[str, Any], str]:
    """Read the status of a message; answers it, and which kind of id this is.

    Ids of sends and ids of messages look alike, and each has a call of its own.

    :param read: performs a call.
    :param message_id: the id.
    :param id_of: ``send`` or ``message``; where it is neither, the first is tried, and then the second.
    :raises WtsNotFoundError: when there is no such message.
    """
    from airflow_provider_wts.api.messages import get_message_status
    from airflow_provider_wts.api.sends import get_sent_message_status

    if id_of != "message":
        try:
            return dict(read(get_sent_message_status(message_id))), "send"
        except WtsNotFoundError:
            if id_of == "send":
                raise
    return dict(read(get_message_status(message_id))), "message"


def message_seen(answer: Mapping[str, Any]) -> Seen:
    """Return what is kept of a message. The two status calls name the reason differently.

    :param answer: as the API answered it.
    """
    reason = answer.get("failedReason") or answer.get("failureReason") or ""
    # It goes into an event, which Airflow's database keeps.
    return Seen(str(answer.get("status") or ""), reason=without_personal_data(str(reason)))


def look_at_messages(client: WtsClient, messages: Mapping[str, str | None]) -> tuple[dict[str, Seen], int]:
    """Read messages one by one; one that is gone does not end the rest. Answers also how many requests it took.

    :param client: the client.
    :param messages: for each id, whether it is one of a ``send`` or of a ``message``, where that is known.
    """
    looked: dict[str, Seen] = {}
    calls = 0

    def read(call: Call[Any]) -> Any:
        nonlocal calls
        calls += 1
        return client.perform(call)

    for message_id, id_of in messages.items():
        try:
            looked[message_id] = message_seen(read_status(read, message_id, id_of)[0])
        except WtsRejectedError as error:
            if not isinstance(error, WtsNotFoundError) and error.status != 500:
                raise
            log.warning("Message %s cannot be read: %s", message_id, error)
            looked[message_id] = Seen(NOT_FOUND)
    return looked, calls


def message_trigger(
    wait: MessageWait, *, wts_conn_id: str, poll_interval: float, timeout: float
) -> tuple[WtsMessageStatusTrigger, timedelta]:
    """Return the trigger that goes on waiting for a message, and Airflow's timeout for it.

    :param wait: what is waited for.
    :param wts_conn_id: the Airflow connection.
    :param poll_interval: seconds between two looks.
    :param timeout: seconds that are left for the whole wait.
    """
    # airflow.triggers is heavy, and only a task that defers needs it.
    from airflow_provider_wts.triggers.message import WtsMessageStatusTrigger
    from airflow_provider_wts.waiting.deferral import times_of_deferral

    earliest, deadline, longest = times_of_deferral(timeout)
    trigger = WtsMessageStatusTrigger(
        wts_conn_id=wts_conn_id,
        message_id=wait.message_id,
        id_of=wait.id_of,
        target_status=wait.target_status,
        poll_interval=poll_interval,
        earliest=earliest,
        deadline=deadline,
    )
    return trigger, longest


def _message_id(value: Any) -> str:
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    found = str((value.get("id") if isinstance(value, dict) else value) or "").strip()
    if found in ("", "None"):
        raise WtsInvalidRequestError(
            "message_id: is empty. Give the id that a send answered, for example "
            """"{{ ti.xcom_pull(task_ids='send')['id'] }}"."""
        )
    return found
