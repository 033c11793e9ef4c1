"""When a wait is over: statuses of sessions and messages, and replies of the contact."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wts.api.errors import (
    WtsAuthenticationError,
    WtsError,
    WtsInvalidRequestError,
    WtsNotFoundError,
    WtsRejectedError,
    WtsUnknownOutcomeError,
    quoted,
)
from airflow_provider_wts.api.messages import _PROGRESS, MESSAGE_STATUSES, get_message_status, list_messages
from airflow_provider_wts.api.personal_data import without_personal_data
from airflow_provider_wts.api.sessions import SESSION_STATUSES
from airflow_provider_wts.api.wire import is_uuid, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.hooks.wts import WtsHook


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
                f"target_status: {quoted(target_status)} cannot be waited for. It must be one of "
                f"{', '.join(_PROGRESS)}."
            )
        if kind not in ("", "SEND", "MESSAGE"):
            raise WtsInvalidRequestError(f"id_of: {quoted(id_of)} is not valid. It must be 'send' or 'message'.")
        return cls(_message_id(message_id), target, kind.lower() or None)

    def verdict(self, seen: Snapshot | None) -> tuple[WaitState, str]:
        """Judge what was seen of the message.

        :param seen: what a check kept; a status that is missing or unknown means: keep waiting.
        :return: the verdict, and a sentence for a person.
        """
        status = "unknown" if seen is None else seen.status
        if seen is not None and status == NOT_FOUND:
            return WaitState.FAILED, f"Message {self.message_id} cannot be found."
        words = f"Message {self.message_id} is {status}"
        if seen is not None and status in _ENDED_BADLY:
            reason = seen.reason or ("no reason was given" if status == "FAILED" else "")
            return WaitState.FAILED, f"{words}{': ' * bool(reason)}{reason}."
        if seen is not None and status and status not in MESSAGE_STATUSES:
            warn_of_unknown(status)
        reached = status in _PROGRESS and _PROGRESS.index(status) >= _PROGRESS.index(self.target_status)
        if reached:
            return WaitState.REACHED, f"{words}."
        return WaitState.WAITING, f"{words}, not yet {self.target_status}."


def read_status(read: Callable[[Call[Any]], Any], message_id: str, id_of: str | None) -> tuple[dict[str, Any], str]:
    """Read the status of a message; answers it, and which kind of id this is.

    Ids of sends and ids of messages have the same form, and each has a call of its own.

    :param read: performs a call.
    :param message_id: the id.
    :param id_of: ``send`` or ``message``; where it is neither, the first is tried, and then the second.
    :raises WtsNotFoundError: when there is no such message.
    """
    from airflow_provider_wts.api.sends import get_sent_message_status

    if id_of != "message":
        try:
            return _checked(read(get_sent_message_status(message_id)), message_id, "get_sent_message_status"), "send"
        except WtsRejectedError as error:
            if id_of == "send" or not says_missing(error):
                raise
    return _checked(read(get_message_status(message_id)), message_id, "get_message_status"), "message"


def message_seen(answer: Mapping[str, Any]) -> Snapshot:
    """Return what is kept of a message. The two status calls name the reason differently.

    :param answer: as the API answered it.
    """
    reason = answer.get("failedReason") or answer.get("failureReason") or ""
    # It goes into an event, which Airflow's database keeps.
    return Snapshot(str(answer.get("status") or ""), reason=without_personal_data(str(reason)))


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


#: Messages that are searched for the answer, newest first.
MOST_MESSAGES = 500


def since_last_message_out(session: Mapping[str, Any], began: datetime | None) -> datetime:
    """Return the time after which a message of the contact is an answer, where none was given.

    :param session: the session as it is now.
    :param began: when the wait began, where that was at an earlier check. What the company wrote later, such as a
        chatbot's thanks for the answer, must not move that time past the answer.
    """
    if not session.get("lastMessageOut"):
        # The company wrote nothing, so the first message of the contact is what is waited for.
        return datetime.fromtimestamp(0, UTC)
    written = parse_timestamp(session["lastMessageOut"])
    return written if began is None else min(written, began)


def replies(hook: WtsHook, session_id: str, since: datetime) -> list[dict[str, Any]]:
    """Return what the contact wrote after a time, oldest first.

    :param since: the time.
    """
    # A second earlier, and judged here: whether the bound is inclusive is not documented.
    bounds: list[dict[str, Any]] = [{"created_after": since - timedelta(seconds=1)}] if since.year > 1970 else []
    for window in (*bounds, {}):
        found = {
            str(message.get("id")): message
            for message in islice(hook.client.items(list_messages(session_id, **window)), MOST_MESSAGES)
            if message.get("direction") == "FROM_HUB" and parse_timestamp(message.get("createdAt")) > since
        }
        if found:
            return sorted(found.values(), key=lambda message: parse_timestamp(message.get("createdAt")))
    return []


log = logging.getLogger(__name__)

#: What is in place of the status of a session that does not exist, or has not reached what is waited for.
NOT_FOUND = "NOT_FOUND"

NOT_REACHED = "NOT_REACHED"

#: Failed checks in a row after which a wait gives up. Each check has been tried again within the client already.
MOST_FAILED_CHECKS = 5

#: Sessions that a message names one by one.
MOST_NAMED = 5

_warned_of: set[str] = set()


class WaitState(Enum):
    """What a check of a session says about the wait for it."""

    REACHED = "reached"
    FAILED = "failed"
    WAITING = "waiting"


class SessionWait(NamedTuple):
    """A wait for one session.

    :param session_id: the session.
    :param target_status: statuses that end the wait well.
    :param failed_status: statuses that end it badly.
    """

    session_id: str
    target_status: tuple[str, ...] = ("COMPLETED",)
    failed_status: tuple[str, ...] = ()

    @classmethod
    def of(cls, session_id: Any, target_status: Any, failed_status: Any) -> SessionWait:
        """Make a wait from rendered parameters.

        :param target_status: a status, several, or several as JSON text or separated by commas.
        :param failed_status: likewise, none by default.
        :raises WtsInvalidRequestError: when the session id is missing, or a status is none of the documented ones.
        """
        targets, failures = _statuses("target_status", target_status), _statuses("failed_status", failed_status)
        if not targets:
            raise WtsInvalidRequestError("target_status: is empty. Example: 'COMPLETED'.")
        if both := set(targets) & set(failures):
            raise WtsInvalidRequestError(f"failed_status: {sorted(both)} are in target_status, too.")
        return cls(given_id("session_id", session_id), targets, failures)

    def arguments(self) -> dict[str, Any]:
        """Return what a trigger needs to know of it, as plain JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self._asdict().items()}

    def verdict(self, session: Mapping[str, Any]) -> tuple[WaitState, str]:
        """Judge a session as the API answered it.

        :param session: the session; a status that is missing or unknown means: keep waiting.
        :return: the verdict, and a sentence for a person.
        """
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

    :param session_ids: the sessions.
    :param needed: how many of them have to reach a target status.
    :param target_status: statuses that count as reached.
    :param failed_status: statuses one of which ends the wait badly.
    """

    session_ids: Sequence[str]
    needed: int
    target_status: tuple[str, ...] = ("COMPLETED",)
    failed_status: tuple[str, ...] = ()

    @classmethod
    def of(cls, session_ids: Any, needed: Any, target_status: Any, failed_status: Any) -> SessionsWait:
        """Make a wait from rendered parameters.

        :param session_ids: ids of sessions, or sessions as a send answered them; a list, or one as JSON text.
        :param needed: ``all``, ``any``, or a share of them between 0 and 1.
        :param target_status: as for :meth:`SessionWait.of`.
        :param failed_status: likewise, none by default.
        :raises WtsInvalidRequestError: naming the parameter that cannot be right.
        """
        ids = _session_ids(session_ids)
        one = SessionWait.of(ids[0], target_status, failed_status)
        return cls(ids, _needed(needed, len(ids)), one.target_status, one.failed_status)

    def verdict(self, statuses: Mapping[str, str]) -> tuple[WaitState, str]:
        """Judge what is known of the sessions.

        :param statuses: the last status seen, by session.
        :return: the verdict, and a sentence for a person.
        """
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
        more = f" and {len(left) - MOST_NAMED} more" * (len(left) > MOST_NAMED)
        return WaitState.WAITING, f"{words}; {self.needed} needed. Not yet: {', '.join(left[:MOST_NAMED])}{more}."


def given_id(name: str, value: Any) -> str:
    """Return an id as the API writes it.

    :param name: the parameter that holds it.
    :param value: the id, rendered.
    :raises WtsInvalidRequestError: when it is missing, or not a UUID.
    """
    text = str(value or "").strip()
    example = """Example: "{{ ti.xcom_pull(task_ids='send')['id'] }}"."""
    if text in ("", "None"):
        raise WtsInvalidRequestError(f"{name}: is empty. Give the id that a send returned. {example}")
    if not is_uuid(text):
        raise WtsInvalidRequestError(
            f"{name}: {quoted(text)} is not a valid id. It must be a UUID, as a send returns it. {example}"
        )
    return text.lower()


def warn_of_unknown(status: str) -> None:
    """Say once that a status is not one of the documented ones, and that the wait goes on."""
    if status and status not in _warned_of and len(_warned_of) < 100:
        _warned_of.add(status)
        log.warning("WTS Chat reports the unknown status %r; the wait goes on.", status[:60])


def refuses_token(error: BaseException) -> bool:
    """Whether an error says that the token is refused. A 403 does not: a gateway answers it, too.

    :param error: what a call raised.
    """
    return isinstance(error, WtsAuthenticationError) and error.status == 401


def says_missing(error: BaseException) -> bool:
    """Whether the API itself says that what was asked for does not exist. A page of a gateway says nothing about it.

    :param error: what a call for one session or message raised.
    """
    # The API refuses with its own envelope, and reports what is missing as a 500, too.
    if not isinstance(error, WtsRejectedError) or not (error.key or error.short_id):
        return False
    return isinstance(error, WtsNotFoundError) or error.status == 500


def ends_wait(error: BaseException) -> bool:
    """Whether an error ends a wait at once: what is waited for does not exist, or cannot be asked for at all.

    :param error: what a call for one session or message raised.
    """
    return refuses_token(error) or says_missing(error) or isinstance(error, WtsInvalidRequestError)


class FailedChecks:
    """Counts failed checks in a row: a blip must not end a wait of hours, and a lasting failure must."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def succeeded(self) -> None:
        """Start counting again."""
        self._in_a_row = 0

    def failed(self, error: WtsError) -> bool:
        """Count a failure.

        :param error: what the check raised.
        :return: whether the wait should give up.
        """
        self._in_a_row += 1
        log.warning("Check %d of %d failed: %s", self._in_a_row, MOST_FAILED_CHECKS, error)
        return self._in_a_row >= MOST_FAILED_CHECKS


def _statuses(name: str, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip().startswith("[") else value.split(",")
        except ValueError:
            raise WtsInvalidRequestError(f"{name}: is not a JSON list. Example: ['COMPLETED'].") from None
    if not isinstance(value, Iterable):
        raise WtsInvalidRequestError(f"{name}: must be a status or a list of them, not {type(value).__name__}.")
    statuses = tuple(dict.fromkeys(str(item).strip().upper() for item in value if str(item).strip()))
    for status in statuses:
        if status not in SESSION_STATUSES:
            raise WtsInvalidRequestError(
                f"{name}: {quoted(status)} is not a session status. It must be one of {', '.join(SESSION_STATUSES)}."
            )
    return statuses


def _session_ids(value: Any) -> list[str]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, Iterable) or isinstance(value, Mapping):
        raise WtsInvalidRequestError("""session_ids: must be a list of ids. Example: "{{ ... | tojson }}".""")
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
    # Rounded first: 0.7 of 10 is 7, and not 8 for a last binary digit.
    return max(1, math.ceil(round(share * count, 9)))


class Snapshot(NamedTuple):
    """What a check keeps of a session or a message: nothing that anybody wrote.

    :param status: its status; ``NOT_FOUND`` where it is gone.
    :param last_in: of a session: when its contact wrote last, as the API writes it.
    :param reason: of a message: why it failed.
    :param listed: of a session: only the list of sessions showed it.
    """

    status: str
    last_in: str = ""
    reason: str = ""
    listed: bool = False


def wrote_after(seen: Snapshot, since: datetime) -> bool:
    """Whether the contact of a session wrote after a time; what cannot be read says no.

    :param seen: what a check kept of the session.
    :param since: the time.
    """
    return bool(seen.last_in) and parse_timestamp(seen.last_in) > since


def session_seen(session: Mapping[str, Any]) -> Snapshot:
    """Return what is kept of a session.

    :param session: as the API answered it.
    """
    return Snapshot(str(session.get("status") or ""), str(session.get("lastMessageIn") or ""))
