"""When a wait is over: statuses of sessions and messages, and replies from the contact."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_wts.api import parameters
from airflow_provider_wts.api.errors import (
    WtsAuthenticationError,
    WtsError,
    WtsInvalidRequestError,
    WtsNotFoundError,
    WtsRejectedError,
    WtsUnknownOutcomeError,
    quoted,
)
from airflow_provider_wts.api.messages import (
    DELIVERY_STATUSES,
    FAILED_STATUSES,
    MESSAGE_STATUSES,
    get_message_status,
    list_messages,
)
from airflow_provider_wts.api.sessions import SESSION_STATUSES, get_session
from airflow_provider_wts.api.wire import CLOCK_SLACK, MOST_AHEAD, created_at, is_uuid, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.types import SessionV2
    from airflow_provider_wts.hooks.wts import WtsHook


T = TypeVar("T")

log = logging.getLogger(__name__)

#: Status of a session that does not exist, or that has not reached the target.
NOT_FOUND = "NOT_FOUND"
NOT_REACHED = "NOT_REACHED"

#: Consecutive failed checks after which a wait gives up. The client has already retried within each check.
MAX_FAILED_CHECKS = 5

#: Maximum seconds between two attempts of the same check.
PAUSE = 15.0

#: Seconds after the end of a wait at which the last check stops, however many sessions are left to read.
OVERTIME = 120.0

#: Maximum sessions that a message names.
MAX_NAMED = 5

_warned_of: set[str] = set()


class WaitState(Enum):
    """The state of a wait after a check."""

    REACHED = "reached"
    FAILED = "failed"
    WAITING = "waiting"


class Snapshot(NamedTuple):
    """What a check keeps of a session or message, without any content.

    :param status: its status; ``NOT_FOUND`` if it is gone.
    :param last_in: when the contact of a session last wrote, as the API writes it.
    :param reason: why a message failed.
    :param listed: whether only the list of sessions showed this.
    """

    status: str
    last_in: str = ""
    reason: str = ""
    listed: bool = False


def wrote_after(seen: Snapshot, since: datetime) -> bool:
    """Whether the contact of a session wrote after a time; not if that is unreadable or in the future."""
    wrote = parse_timestamp(seen.last_in)
    return wrote is not None and since < wrote < datetime.now(UTC) + MOST_AHEAD


def session_snapshot(session: Mapping[str, Any]) -> Snapshot:
    """Return the snapshot of a session as the API answered it."""
    return Snapshot(str(session.get("status") or ""), str(session.get("lastMessageIn") or ""))


def given_id(name: str, value: Any) -> str:
    """Return a rendered ID as the API writes it, or refuse what is not a UUID."""
    text = str(value or "").strip()
    example = """Example: "{{ ti.xcom_pull(task_ids='send')['id'] }}"."""
    if text in ("", "None"):
        raise WtsInvalidRequestError(f"{name}: is empty. Give the ID that a send returned. {example}")
    if not is_uuid(text):
        raise WtsInvalidRequestError(
            f"{name}: {quoted(text)} is not a valid ID. It must be a UUID, as a send returns it. {example}"
        )
    return text.lower()


def warn_of_unknown(status: str) -> None:
    """Warn once that a status is not a documented one."""
    if status and status not in _warned_of and len(_warned_of) < 100:
        _warned_of.add(status)
        log.warning("WTS Chat reports the unknown status %r; the wait continues.", status[:60])


def refuses_token(error: BaseException) -> bool:
    """Whether an error means that the token is refused. A 403 does not, because it may come from a gateway."""
    return isinstance(error, WtsAuthenticationError) and error.status == 401


def reports_missing(error: BaseException) -> bool:
    """Whether the API itself, and not a gateway, reports that a session or message does not exist."""
    # The API answers with its own envelope, and may report a missing object as a 500.
    if not isinstance(error, WtsRejectedError) or not (error.key or error.short_id):
        return False
    return isinstance(error, WtsNotFoundError) or error.status == 500


def read_for(task: Any, read: Callable[[], T], subject: Callable[[], str], *, until: float | None = None) -> T:
    """Read something for a task that waits. If the token is refused, read its connection again, and retry once.

    :param task: the operator or sensor, with its cached ``hook``.
    :param subject: returns what it waits for, in words.
    :param until: how long a request may wait for the rate limit, by ``time.monotonic``.
    :raises AirflowFailException: when that token is refused, too, or what the task waits for does not exist.
    :raises WtsError: when it failed in another way.
    """

    def attempt() -> T:
        if until is not None:
            task.hook.client.wait_until(until)
            task.hook.client.stop_at(until + OVERTIME)
        return read()

    try:
        try:
            return attempt()
        except WtsError as error:
            if not refuses_token(error):
                raise
            task.log.warning("%s The connection %r is read again.", error, task.wts_conn_id)
        task.__dict__.pop("hook", None)
        return attempt()
    except WtsError as error:
        is_missing = reports_missing(error)
        if not is_missing and not refuses_token(error) and not isinstance(error, WtsInvalidRequestError):
            raise
        missing = f"{subject()} cannot be found. " if is_missing else ""
        # The message is complete; a second traceback would only bury it.
        raise AirflowFailException(f"{missing}{about_wait(error)}") from None


def about_wait(error: WtsError) -> str:
    """Return the words of an error of a wait. Before the wait, the task may have sent something."""
    return str(error).replace(" Nothing was sent.", "")


class FailedChecks:
    """Counts consecutive failed checks: a brief failure must not end a wait of hours, but a lasting one must."""

    def __init__(self) -> None:
        self._in_a_row = 0

    @property
    def one_left(self) -> bool:
        """Whether the next failure is the last."""
        return self._in_a_row == MAX_FAILED_CHECKS - 1

    def succeeded(self) -> None:
        """Reset the count."""
        self._in_a_row = 0

    def failed(self, error: WtsError) -> bool:
        """Count a failure, and return whether the wait should give up."""
        self._in_a_row += 1
        log.warning("Check %d of %d failed: %s", self._in_a_row, MAX_FAILED_CHECKS, error)
        return self._in_a_row >= MAX_FAILED_CHECKS


# Sessions -------------------------------------------------------------------------------------------------------------


def read_session(read: Callable[[Call[SessionV2]], SessionV2], session_id: str) -> SessionV2:
    """Read a session. Most fields do not matter to a wait: one that does not match the contract counts as missing."""
    session = read(get_session(session_id).leniently())
    if str(session.get("id")).lower() != session_id.lower():
        raise another_answer("get_session", f"session {session_id}: its 'id' differs or is missing")
    return session


class SessionWait(NamedTuple):
    """A wait for one session.

    :param target_status: statuses that end the wait with success.
    :param failed_status: statuses that end it with failure.
    """

    session_id: str
    target_status: tuple[str, ...] = ("COMPLETED",)
    failed_status: tuple[str, ...] = ()

    @classmethod
    def of(cls, session_id: Any, target_status: Any, failed_status: Any) -> SessionWait:
        """Create a wait from rendered parameters.

        :param target_status: a status, or several in a list, as JSON text or separated by commas.
        """
        targets, failures = _statuses("target_status", target_status), _statuses("failed_status", failed_status)
        if not targets:
            raise WtsInvalidRequestError("target_status: is empty. Example: 'COMPLETED'.")
        if both := set(targets) & set(failures):
            raise WtsInvalidRequestError(f"failed_status: {sorted(both)} must not be in target_status, too.")
        return cls(given_id("session_id", session_id), targets, failures)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments for a trigger, as plain JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self._asdict().items()}

    def verdict(self, session: Mapping[str, Any]) -> tuple[WaitState, str]:
        """Return the state of the wait, and a sentence to read. With an unknown status, the wait continues."""
        status = str(session.get("status") or "")
        if status == NOT_FOUND:
            return WaitState.FAILED, f"Session {self.session_id} cannot be found."
        words = f"Session {self.session_id} is {status or 'of unknown status'}"
        if status in self.target_status:
            return WaitState.REACHED, f"{words}."
        if status in self.failed_status:
            return WaitState.FAILED, f"{words}."
        if status not in SESSION_STATUSES:
            warn_of_unknown(status)
        return WaitState.WAITING, f"{words}, not yet {' or '.join(self.target_status)}."


class SessionsWait(NamedTuple):
    """A wait for a number of sessions.

    :param needed: how many of them must reach a target status.
    :param target_status: statuses that count as reached.
    :param failed_status: statuses that end the wait with failure as soon as one session has one of them.
    """

    session_ids: Sequence[str]
    needed: int
    target_status: tuple[str, ...] = ("COMPLETED",)
    failed_status: tuple[str, ...] = ()

    @classmethod
    def of(cls, session_ids: Any, needed: Any, target_status: Any, failed_status: Any) -> SessionsWait:
        """Create a wait from rendered parameters.

        :param session_ids: IDs of sessions, or what a send returned; a list, also as JSON text.
        :param needed: ``all``, ``any``, or a share between 0 and 1.
        """
        ids = _session_ids(session_ids)
        one = SessionWait.of(ids[0], target_status, failed_status)
        return cls(ids, _needed(needed, len(ids)), one.target_status, one.failed_status)

    def verdict(self, statuses: Mapping[str, str]) -> tuple[WaitState, str]:
        """Return the state of the wait, and a sentence to read. With an unknown status, the wait continues."""
        for session_id, status in statuses.items():
            if status == NOT_FOUND or status in self.failed_status:
                words = "cannot be found" if status == NOT_FOUND else f"is {status}"
                return WaitState.FAILED, f"Session {session_id} {words}."
            if status and status not in SESSION_STATUSES:
                warn_of_unknown(status)
        left = [one for one in self.session_ids if statuses.get(one) not in self.target_status]
        reached = len(self.session_ids) - len(left)
        words = f"{reached} of {len(self.session_ids)} session(s) reached {' or '.join(self.target_status)}"
        if reached >= self.needed:
            return WaitState.REACHED, f"{words}; {self.needed} needed."
        more = f" and {len(left) - MAX_NAMED} more" * (len(left) > MAX_NAMED)
        return WaitState.WAITING, f"{words}; {self.needed} needed. Not yet: {', '.join(left[:MAX_NAMED])}{more}."

    def counts(self, statuses: Mapping[str, str]) -> dict[str, int]:
        """Return the number of sessions by their last known status."""
        return dict(Counter(statuses.get(one) or NOT_REACHED for one in self.session_ids))


def _statuses(name: str, value: Any) -> tuple[str, ...]:
    words = [word for item in parameters.items(name, value) or () for word in str(item).split(",") if word.strip()]
    return tuple(dict.fromkeys(parameters.choices_of(name, words, SESSION_STATUSES) or ()))


def _session_ids(value: Any) -> list[str]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, Iterable) or isinstance(value, Mapping):
        raise WtsInvalidRequestError("""session_ids: must be a list of IDs. Example: "{{ ... | tojson }}".""")
    found = [item.get("id") if isinstance(item, Mapping) else item for item in value]
    if not found:
        raise WtsInvalidRequestError("session_ids: is empty, so there is nothing to wait for.")
    return list(dict.fromkeys(given_id(f"session_ids: entry {number}", one) for number, one in enumerate(found)))


def _needed(value: Any, count: int) -> int:
    if value == "all":
        return count
    if value == "any":
        return 1
    try:
        share = float(value)
    except (TypeError, ValueError, OverflowError):
        share = -1.0
    if not 0 < share <= 1:
        raise WtsInvalidRequestError(
            f"needed: {quoted(value)} is not valid. It must be 'all', 'any' or a share such as 0.9."
        )
    # Round first: 0.7 of 10 must be 7, not 8 because of a binary fraction.
    return max(1, math.ceil(round(share * count, 9)))


# Messages -------------------------------------------------------------------------------------------------------------


class MessageWait(NamedTuple):
    """A wait for a message.

    :param message_id: the ID that a send returned, or the ID of a message.
    :param target_status: ``SENT``, ``DELIVERED`` or ``READ``; a later one implies the earlier ones.
    :param id_of: ``send`` or ``message``, if it is known which of them the ID belongs to.
    """

    message_id: str
    target_status: str = "DELIVERED"
    id_of: str | None = None

    @classmethod
    def of(cls, message_id: Any, target_status: Any, id_of: Any) -> MessageWait:
        """Create a wait from rendered parameters.

        :param message_id: the ID, or what a send returned, as an object or as JSON text.
        """
        target = parameters.needed_choice("target_status", target_status, DELIVERY_STATUSES)
        kind = parameters.filter_choice("id_of", id_of, ("send", "message"))
        return cls(_message_id(message_id), target, kind or None)

    def verdict(self, seen: Snapshot | None) -> tuple[WaitState, str]:
        """Return the state of the wait, and a sentence to read. With an unknown status, the wait continues."""
        status = "unknown" if seen is None else seen.status
        if seen is not None and status == NOT_FOUND:
            return WaitState.FAILED, f"Message {self.message_id} cannot be found."
        words = f"Message {self.message_id} is {status}"
        if seen is not None and status in FAILED_STATUSES:
            reason = seen.reason or ("no reason was given" if status == "FAILED" else "")
            return WaitState.FAILED, f"{words}{': ' * bool(reason)}{reason}."
        if seen is not None and status and status not in MESSAGE_STATUSES:
            warn_of_unknown(status)
        if status in DELIVERY_STATUSES[DELIVERY_STATUSES.index(self.target_status) :]:
            return WaitState.REACHED, f"{words}."
        return WaitState.WAITING, f"{words}, not yet {self.target_status}."


def read_status(read: Callable[[Call[Any]], Any], message_id: str, id_of: str | None) -> tuple[dict[str, Any], str]:
    """Read the status of a message, and return it with the kind of its ID.

    IDs of sends and of messages have the same form, but each kind has its own call.

    :param id_of: ``send`` or ``message``; if unknown, both are tried in this order.
    :raises WtsNotFoundError: when there is no such message.
    """
    from airflow_provider_wts.api.sends import get_sent_message_status

    if id_of != "message":
        try:
            return _checked(read(get_sent_message_status(message_id)), message_id, "get_sent_message_status"), "send"
        except WtsRejectedError as error:
            if id_of == "send" or not reports_missing(error):
                raise
    return _checked(read(get_message_status(message_id)), message_id, "get_message_status"), "message"


def message_snapshot(answer: Mapping[str, Any]) -> Snapshot:
    """Return the snapshot of a message. The two status calls name the reason differently."""
    from airflow_provider_wts.api.personal_data import without_personal_data

    reason = answer.get("failedReason") or answer.get("failureReason") or ""
    # The snapshot goes into an event, which Airflow's database stores.
    return Snapshot(str(answer.get("status") or ""), reason=without_personal_data(str(reason)))


def _message_id(value: Any) -> str:
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    return given_id("message_id", value.get("id") if isinstance(value, dict) else value)


def _checked(answer: Any, message_id: str, operation_id: str) -> dict[str, Any]:
    # The call for sends also accepts the senderId.
    ids = [str(answer.get(name)).lower() for name in ("id", "senderId")] if isinstance(answer, dict) else []
    if message_id.lower() not in ids:
        raise another_answer(operation_id, f"message {message_id}: its 'id' differs or is missing")
    return dict(answer)


def another_answer(operation_id: str, what: str) -> WtsUnknownOutcomeError:
    """Return the error for an answer that is not about what was asked for; the next check may get the right one."""
    return WtsUnknownOutcomeError(
        f"{operation_id}: the answer is not {what}.", operation_id=operation_id, repeatable=True
    )


# Replies --------------------------------------------------------------------------------------------------------------

#: Maximum messages to search for the reply, newest first.
MAX_MESSAGES = 500


def since_last_message_out(session: Mapping[str, Any], began: datetime | None, now: datetime) -> datetime:
    """Return the time after which a message of the contact counts as a reply, if none was given.

    :param began: when the wait began, if this is not its first check. A later message of the company, such as a
        chatbot's thanks for the reply, must not move the time past the reply.
    :param now: the server's time.
    """
    written = parse_timestamp(session.get("lastMessageOut"))
    if written is None:
        # The company has written nothing, so any message of the contact counts.
        return datetime.fromtimestamp(0, UTC)
    if written > now + CLOCK_SLACK:
        # It is unreadable, or in the future, and must not hide the reply until then.
        written = now
    return written if began is None else min(written, began)


def replies(hook: WtsHook, session_id: str, since: datetime) -> list[dict[str, Any]]:
    """Return the contact's messages after a time, oldest first."""
    # Ask from a second earlier and filter here: whether the bound is inclusive is not documented.
    bounds: list[dict[str, Any]] = [{"created_after": since - timedelta(seconds=1)}] if since.year > 1970 else []
    for window in (*bounds, {}):
        found = {
            str(message.get("id")): message
            for message in islice(hook.client.items(list_messages(session_id, **window).leniently()), MAX_MESSAGES)
            if message.get("direction") == "FROM_HUB" and created_at(message) > since
        }
        if found:
            return sorted(found.values(), key=created_at)
    return []
