"""Changes in an account's sessions, as statuses and as events.

The API has no list of events, only sessions with dates, one of which is the time of each event. A position records
which events were delivered, so that each is delivered once and in order, even after a restart.
"""

from __future__ import annotations

import hashlib
import logging
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wts.api.errors import WtsError, WtsIncompleteListError, WtsRateLimitError
from airflow_provider_wts.api.sessions import SESSION_STATUSES, list_sessions
from airflow_provider_wts.api.wire import CLOCK_SLACK, UNREADABLE, created_at, parse_timestamp
from airflow_provider_wts.waiting.conditions import (
    NOT_FOUND,
    Snapshot,
    another_answer,
    message_snapshot,
    read_session,
    read_status,
    refuses_token,
    reports_missing,
    session_snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.client import WtsClient


log = logging.getLogger(__name__)

MESSAGE_RECEIVED, SESSION_OPENED, SESSION_COMPLETED = "message_received", "session_opened", "session_completed"

#: The events, and the field of a session that has their time.
EVENTS = {SESSION_OPENED: "createdAt", MESSAGE_RECEIVED: "lastMessageIn", SESSION_COMPLETED: "endAt"}

#: How far a list reaches back before the last one, for changes that the API shows late.
OVERLAP = timedelta(minutes=2)

#: The API may round date filters to whole seconds.
_ROUNDING = timedelta(seconds=1)

#: The fields of an event, from its session: IDs, statuses and dates, but no content.
_EVENT_FIELDS = {
    "session_id": "id",
    "contact_id": "contactId",
    "channel_id": "channelId",
    "department_id": "departmentId",
    "user_id": "userId",
    "status": "status",
    "created_at": "createdAt",
    "updated_at": "updatedAt",
    "ended_at": "endAt",
    "last_message_in": "lastMessageIn",
    "last_message_out": "lastMessageOut",
}


class Batch(NamedTuple):
    """The sessions that changed since a time.

    :param cursor: the latest change; the next batch begins a little before it.
    :param sessions: the fields of the sessions that events have.
    :param now: the server's current time; later dates have not happened.
    """

    since: datetime
    cursor: datetime
    sessions: list[dict[str, Any]]
    calls: int
    now: datetime | None = None


def changed_sessions(client: WtsClient, since: datetime, *, reach_back: timedelta = OVERLAP) -> Batch:
    """List the sessions that changed or got a message, 100 per request.

    :param reach_back: how far before the last change the next batch begins.
    """
    found: dict[str, dict[str, Any]] = {}
    latest = since + reach_back
    calls, complete, begun = 0, True, None
    # Two lists: whether a message updates a session's date of change is not documented.
    lists = (
        list_sessions(status=SESSION_STATUSES, updated_after=since),
        list_sessions(status=SESSION_STATUSES, last_interaction_after=since),
    )
    for call in lists:
        try:
            # One odd session must not hold back the events of all others.
            for _, sessions in pages_of_sessions(client, call.leniently()):
                calls += 1
                begun = begun or server_now(client)
                for session_id, session in sessions:
                    found[session_id] = {name: session.get(wire) for name, wire in _EVENT_FIELDS.items()}
                    date = changed(session, "updatedAt", "lastInteractionDate", now=_now_of_cursor(client))
                    latest = max(latest, date)
        except WtsIncompleteListError as error:
            # Rows that moved between pages during the read may be missing, so the same period is read again.
            log.warning("%s", error)
            complete = False
    now = server_now(client)
    # A start time from this machine's clock may be ahead of the server's, and would skip changes until then. What
    # changes during a slow read may be on pages that were read before.
    cursor = min(latest if complete else since + reach_back, begun or now)
    return Batch(min(since, now), cursor, [*found.values()], calls, now)


class ChangedSessions:
    """The sessions that changed or got a message, with all fields, in as few requests as possible."""

    def __init__(self, client: WtsClient, since: datetime, details: Sequence[str]) -> None:
        self._client = client
        self._since = since
        # Whether a message updates a session's date of change is not documented. The second list has only those that
        # the first one omits.
        self._lists = (
            list_sessions(status=SESSION_STATUSES, updated_after=since, include_details=details),
            list_sessions(
                status=SESSION_STATUSES,
                last_interaction_after=since,
                updated_before=since + _ROUNDING,
                include_details=details,
            ),
        )
        #: The server's time when the read began; until then, this machine's time.
        self.begun = datetime.now(UTC)
        #: Where the next lists begin, so that they include changes during this read.
        self.cursor = since

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        complete, begun = True, None
        for call in self._lists:
            try:
                for sessions in sessions_once(self._client, call):
                    if begun is None:
                        begun = self.begun = self._client.now()
                    yield from sessions
            except WtsIncompleteListError as error:
                # The same period is read again.
                log.warning("%s", error)
                complete = False
        if complete and begun is not None:
            self.cursor = max(self._since, min(begun, datetime.now(UTC)) - OVERLAP)


class Position:
    """How far events have been reported.

    :param floor: events up to this time are done; ``None`` before the first batch.
    :param reported: the reported events after it, with their times.
    :param reach_back: how late WTS Chat may show an event that is still reported.
    """

    def __init__(
        self,
        floor: datetime | None = None,
        reported: Mapping[str, datetime] | None = None,
        *,
        reach_back: timedelta = OVERLAP,
    ) -> None:
        self.floor = floor
        self._reported = dict(reported or {})
        self._unreported: dict[str, tuple[datetime, dict[str, Any]]] = {}
        self._reach_back = reach_back

    @classmethod
    def read(cls, stored: Any, *, reach_back: timedelta = OVERLAP) -> Position | None:
        """Return a stored position, or ``None`` if it is missing or unusable."""
        try:
            floor = datetime.fromisoformat(stored["floor"])
            reported = {str(name): datetime.fromisoformat(at) for name, at in stored["told"].items()}
        except (TypeError, KeyError, ValueError, AttributeError):
            return None
        return cls(floor, reported, reach_back=reach_back) if floor.tzinfo else None

    @property
    def unreported(self) -> int:
        """How many events were found, but not reported yet."""
        return len(self._unreported)

    def as_json(self) -> dict[str, Any]:
        """Return the position as plain JSON. It is before all unreported events, so that they are found again."""
        floor = self._safe_floor()
        return {
            "floor": floor.isoformat() if floor else None,
            "told": {name: at.isoformat() for name, at in self._reported.items() if floor is None or at > floor},
        }

    def _safe_floor(self) -> datetime | None:
        if self.floor is None or not self._unreported:
            return self.floor
        return min(self.floor, min(at for at, _ in self._unreported.values()) - timedelta(microseconds=1))

    def find(self, batch: Batch, kinds: Collection[str]) -> None:
        """Find the events of a batch that have not been reported, and advance the position.

        Events of the first batch are not reported, because they happened before anybody was listening.
        """
        first = self.floor is None
        floor = batch.since if self.floor is None else self.floor
        for name, at, event in self._events(batch, kinds):
            if at <= floor or name in self._reported or name in self._unreported:
                continue
            if first:
                self._reported[name] = at
            else:
                self._unreported[name] = at, event
        self.floor = max(floor, batch.cursor - self._reach_back)
        self._forget()

    def report(self, count: int | None = None) -> list[dict[str, Any]]:
        """Return at most ``count`` events to report now, oldest first, and count them as reported."""
        chosen = sorted(self._unreported.items(), key=lambda one: one[1][0])[:count]
        for name, (at, _) in chosen:
            del self._unreported[name]
            self._reported[name] = at
        self._forget()
        return [event for _, (_, event) in chosen]

    def _forget(self) -> None:
        floor = self._safe_floor()
        if floor is not None:
            self._reported = {name: at for name, at in self._reported.items() if at > floor}

    @staticmethod
    def _events(batch: Batch, kinds: Collection[str]) -> Iterator[tuple[str, datetime, dict[str, Any]]]:
        ahead = (batch.now or datetime.now(UTC)) + CLOCK_SLACK
        for session in batch.sessions:
            for kind, date in EVENTS.items():
                if kind not in kinds or (kind == SESSION_COMPLETED and session["status"] != "COMPLETED"):
                    continue
                text = session[_NAMES[date]]
                at = parse_timestamp(text)
                if at is None or at > ahead:
                    # It is missing, unreadable, or in the future.
                    continue
                identity = f"{kind}\0{session['session_id']}\0{at.astimezone(UTC).isoformat()}"
                name = hashlib.sha256(identity.encode()).hexdigest()[:16]
                yield name, at, {"id": name, "event": kind, "at": text, **session}


_NAMES = {wire: name for name, wire in _EVENT_FIELDS.items()}


def poll_messages(
    read: Callable[[Call[Any]], Any],
    messages: Mapping[str, str | None],
    *,
    token_works: bool = False,
    patience: float = 0.0,
) -> SingleChecks:
    """Read messages one at a time; an error about one does not affect the others.

    :param messages: the IDs, and whether each belongs to a ``send`` or a ``message``, if known.
    """
    return check_each(
        lambda message_id: message_snapshot(read_status(read, message_id, messages[message_id])[0]),
        messages,
        Snapshot(NOT_FOUND),
        token_works=token_works,
        patience=patience,
    )


#: Tolerance for changes that the API shows late, and for differences between clocks.
SWEEP_OVERLAP = timedelta(seconds=10)

#: Maximum pages of one list, and requests per page if the list changes while it is read.
MAX_PAGES = 200

MAX_PASSES = 3

#: Consecutive failed checks after which the rest is left to the next poll.
MAX_CONSECUTIVE_FAILURES = 3


class Sweep(NamedTuple):
    """What a sweep saw.

    :param cursor: the latest update; when the sweep began if it gave up, because single checks are cheaper.
    """

    seen: dict[str, Snapshot]
    cursor: datetime
    calls: int
    gave_up: bool = False


class SingleChecks(NamedTuple):
    """The results of checks of single sessions or messages.

    :param seen: the sessions as the API answered, or snapshots of messages, by ID. A missing one has the status
        ``NOT_FOUND``.
    """

    seen: dict[str, Any]
    failed: dict[str, WtsError]
    calls: int


def sweep(client: WtsClient, statuses: Sequence[str], since: datetime, *, max_pages: int) -> Sweep:
    """List the sessions that changed and now have one of some statuses, 100 per request.

    :param max_pages: give up after the first page if there are more.
    :raises WtsError: when the first page cannot be read.
    """
    seen: dict[str, Snapshot] = {}
    latest = begun = since + SWEEP_OVERLAP
    calls = 0
    max_pages = min(max_pages, MAX_PAGES)
    try:
        call = list_sessions(updated_after=since, status=list(statuses)).leniently()
        for page, sessions in pages_of_sessions(client, call):
            calls += 1
            begun = begun if calls > 1 else _now_of_cursor(client)
            for session_id, session in sessions:
                seen[session_id] = session_snapshot(session)._replace(listed=True)
                latest = max(latest, changed(session, "updatedAt", now=_now_of_cursor(client)))
            if whole_number(page.get("totalPages")) > max_pages or calls > MAX_PASSES * max_pages:
                return Sweep(seen, begun, calls, gave_up=True)
    except WtsIncompleteListError as error:
        # Single checks find what it does not show, and the same period is read again.
        log.warning("%s", error)
        return Sweep(seen, since + SWEEP_OVERLAP, calls)
    except WtsError as error:
        if refuses_token(error) or not calls:
            raise
        log.warning("The list of changed sessions could not be read to its end: %s", error)
        return Sweep(seen, begun, calls, gave_up=True)
    return Sweep(seen, latest, calls)


def pages_of_sessions(
    client: WtsClient, call: Call[Any]
) -> Iterator[tuple[Mapping[str, Any], list[tuple[str, Mapping[str, Any]]]]]:
    """Iterate over the pages of a list of sessions, each with its sessions and their IDs in lower case."""
    for page in client.pages(call):
        items = page.get("items") if isinstance(page, dict) else None
        if not isinstance(items, list):
            raise another_answer(call.operation_id, "a page of WTS Chat: it has no list 'items'")
        sessions: list[tuple[str, Mapping[str, Any]]] = [
            (item["id"].lower(), item)
            for item in items
            if isinstance(item, dict) and isinstance(item.get("id"), str) and item["id"]
        ]
        if items and not sessions:
            raise another_answer(call.operation_id, "a page of WTS Chat: none of its items has an 'id'")
        yield page, sessions


def sessions_once(client: WtsClient, call: Call[Any]) -> Iterator[list[Mapping[str, Any]]]:
    """Iterate over the pages of a list: once if its order proves that no row was missed, else as often as necessary.

    If a list is ordered by creation and only grows, rows move to later pages, and none is missed.

    :raises WtsIncompleteListError: when it keeps changing.
    """
    number = known = total = 0
    dates: list[datetime] = []
    grows = True
    for page, items in pages_of_sessions(client, call):
        sessions = [session for _, session in items]
        yield sessions
        number, known = number + 1, known + len(sessions)
        dates += map(created_at, sessions)
        grows, total = grows and whole_number(page.get("totalItems")) >= total, whole_number(page.get("totalItems"))
        ends = number == whole_number(page.get("pageNumber")) == whole_number(page.get("totalPages"))
        if ends and grows and known >= total and dates in (sorted(dates), sorted(dates, reverse=True)):
            return


def server_now(client: WtsClient) -> datetime:
    """Return a time that the server's clock has passed: the date of its last answer, or a safe estimate."""
    return client.server_date or datetime.now(UTC) - CLOCK_SLACK


def _now_of_cursor(client: WtsClient) -> datetime:
    """Return the server's time for a cursor. One answer with a wrong ``Date`` must not hide later changes."""
    return min(server_now(client), datetime.now(UTC))


def changed(session: Mapping[str, Any], *names: str, now: datetime) -> datetime:
    """Return when a session changed last, at most now: a date in the future must not hide changes until then."""
    dates = [date for name in names if (date := parse_timestamp(session.get(name))) not in (None, UNREADABLE)]
    return min(max(dates, default=datetime.fromtimestamp(0, UTC)), now)


def whole_number(value: Any) -> int:
    """Return a count from an answer; 0 if it is missing or invalid."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def poll_sessions(
    read: Callable[[Call[Any]], Any],
    session_ids: Iterable[str],
    *,
    token_works: bool = False,
    patience: float = 0.0,
) -> SingleChecks:
    """Read sessions one at a time; an error about one does not affect the others."""
    return check_each(
        partial(read_session, read), session_ids, {"status": NOT_FOUND}, token_works=token_works, patience=patience
    )


def check_each(
    check: Callable[[str], Any],
    ids: Iterable[str],
    missing: Any,
    *,
    token_works: bool = False,
    patience: float = 0.0,
) -> SingleChecks:
    """Check sessions or messages one at a time; an error about one does not affect the others.

    :param missing: the result for one that does not exist.
    :param token_works: whether the API has just accepted the token. Then, a 401 is an answer about one ID.
    :param patience: seconds for which failures in a row do not end the checks.
    """
    impatient_from = time.monotonic() + patience
    seen: dict[str, Any] = {}
    failed: dict[str, WtsError] = {}
    in_a_row = calls = 0
    refused: WtsError | None = None
    for one in ids:
        calls += 1
        try:
            seen[one] = check(one)
        except WtsError as error:
            if refuses_token(error) and not token_works:
                # The next one shows whether it is about the token.
                if refused is not None:
                    raise
                refused, failed[one] = error, error
                continue
            if reports_missing(error):
                log.warning("%s cannot be found: %s", one, error)
                seen[one] = missing
            else:
                failed[one] = error
                in_a_row += 1
                over = in_a_row >= MAX_CONSECUTIVE_FAILURES and time.monotonic() >= impatient_from
                if over or isinstance(error, WtsRateLimitError):
                    break
                continue
        in_a_row = 0
        token_works = True
    if refused is not None and not token_works and len(failed) == 1:
        raise refused
    return SingleChecks(seen, failed, calls)
