"""When the wait for a message is over, and how its status is read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wts.api.errors import WtsInvalidRequestError, WtsRejectedError, WtsUnknownOutcomeError
from airflow_provider_wts.api.personal_data import without_personal_data
from airflow_provider_wts.waiting.session import NOT_FOUND, Verdict, given_id, says_missing, warn_of_unknown
from airflow_provider_wts.waiting.subscription import Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.triggers.message import WtsMessageStatusTrigger
    from airflow_provider_wts.waiting.sweep import Singles

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
            warn_of_unknown(status)
        reached = status in _PROGRESS and _PROGRESS.index(status) >= _PROGRESS.index(self.target_status)
        if reached:
            return Verdict.REACHED, f"{words}."
        return Verdict.WAITING, f"{words}, not yet {self.target_status}."


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
            return _checked(read(get_sent_message_status(message_id)), message_id, "get_sent_message_status"), "send"
        except WtsRejectedError as error:
            if id_of == "send" or not says_missing(error):
                raise
    return _checked(read(get_message_status(message_id)), message_id, "get_message_status"), "message"


def message_seen(answer: Mapping[str, Any]) -> Seen:
    """Return what is kept of a message. The two status calls name the reason differently.

    :param answer: as the API answered it.
    """
    reason = answer.get("failedReason") or answer.get("failureReason") or ""
    # It goes into an event, which Airflow's database keeps.
    return Seen(str(answer.get("status") or ""), reason=without_personal_data(str(reason)))


def look_at_messages(read: Callable[[Call[Any]], Any], messages: Mapping[str, str | None]) -> Singles:
    """Read messages one by one; what one of them is answered does not end the rest.

    :param read: performs a call.
    :param messages: for each id, whether it is one of a ``send`` or of a ``message``, where that is known.
    :raises WtsAuthenticationError: when the token is refused.
    """
    from airflow_provider_wts.waiting.sweep import looked_singly

    return looked_singly(
        lambda message_id: message_seen(read_status(read, message_id, messages[message_id])[0]),
        messages,
        Seen(NOT_FOUND),
    )


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
    return given_id("message_id", value.get("id") if isinstance(value, dict) else value)


def _checked(answer: Any, message_id: str, operation_id: str) -> dict[str, Any]:
    # The send family may be asked by the sender's id, too.
    ids = [str(answer.get(name)).lower() for name in ("id", "senderId")] if isinstance(answer, dict) else []
    if message_id.lower() not in ids:
        raise WtsUnknownOutcomeError(
            f"{operation_id}: the answer is not message {message_id}: 'id' is another one, or missing.",
            operation_id=operation_id,
            repeatable=True,
        )
    return dict(answer)
