"""What is new in the sessions of an account: events that each come once, in order, also after a restart.

The API has no list of events, only sessions with dates. Each event has a moment of its own among them. A position
says up to where events have been told; what is younger is remembered one by one, because the API may show a change
late, and because how its date bounds behave is not documented.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wts.api.call import moment
from airflow_provider_wts.api.errors import WtsIncompleteListError
from airflow_provider_wts.api.sessions import list_sessions
from airflow_provider_wts.waiting.session import SESSION_STATUSES
from airflow_provider_wts.waiting.sweep import CLOCK_SLACK, changed, pages_of_sessions, server_now

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from airflow_provider_wts.api.client import WtsClient

log = logging.getLogger(__name__)

MESSAGE_RECEIVED, SESSION_OPENED, SESSION_COMPLETED = "message_received", "session_opened", "session_completed"

#: The events, and the date of a session that is their moment.
EVENTS = {SESSION_OPENED: "createdAt", MESSAGE_RECEIVED: "lastMessageIn", SESSION_COMPLETED: "endAt"}

#: How much of what was read is read again, for changes that the API shows late.
OVERLAP = timedelta(minutes=2)

#: What an event says of its session: ids and moments, and nothing that anybody wrote.
_TOLD = {
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
    """The sessions that changed since a moment.

    :param since: the moment.
    :param cursor: the latest change seen; the next batch begins a little before it.
    :param sessions: the sessions, as far as events tell of them.
    :param calls: requests made.
    :param now: the server's now. What is dated later has not happened.
    """

    since: datetime
    cursor: datetime
    sessions: list[dict[str, Any]]
    calls: int
    now: datetime | None = None


def changed_sessions(client: WtsClient, since: datetime, *, reach_back: timedelta = OVERLAP) -> Batch:
    """List the sessions that changed or were written in, 100 a request.

    :param client: the client.
    :param since: lower bound of the change.
    :param reach_back: how far before the last change the next batch begins.
    """
    found: dict[str, dict[str, Any]] = {}
    latest = since + reach_back
    calls, whole = 0, True
    # Two lists: whether a message moves the date of a session's change is not documented.
    lists = (
        list_sessions(status=SESSION_STATUSES, updated_after=since),
        list_sessions(status=SESSION_STATUSES, last_interaction_after=since),
    )
    for call in lists:
        try:
            for _, sessions in pages_of_sessions(client, call):
                calls += 1
                for session_id, session in sessions:
                    found[session_id] = {name: session.get(wire) for name, wire in _TOLD.items()}
                    date = changed(session, "updatedAt", "lastInteractionDate", now=server_now(client))
                    latest = max(latest, date)
        except WtsIncompleteListError as error:
            # Rows that moved between pages while these were read may be missing: then the same stretch is read again.
            log.warning("%s", error)
            whole = False
    sessions_by_change = sorted(found.values(), key=lambda one: (str(one["updated_at"]), str(one["session_id"])))
    return Batch(since, latest if whole else since + reach_back, sessions_by_change, calls, server_now(client))


class Position:
    """Up to where events have been told.

    :param floor: events up to this moment are over; ``None`` before the first batch.
    :param told: the events told after it, and their moments.
    :param reach_back: how late WTS Chat may show an event that is told all the same.
    """

    def __init__(
        self,
        floor: datetime | None = None,
        told: Mapping[str, datetime] | None = None,
        *,
        reach_back: timedelta = OVERLAP,
    ) -> None:
        self.floor = floor
        self._told = dict(told or {})
        self._untold: dict[str, tuple[datetime, dict[str, Any]]] = {}
        self._reach_back = reach_back

    @classmethod
    def read(cls, stored: Any, *, reach_back: timedelta = OVERLAP) -> Position | None:
        """Return a position as it was stored, or ``None`` where nothing usable is there.

        :param stored: what :meth:`as_json` made.
        :param reach_back: as for the position.
        """
        try:
            floor = datetime.fromisoformat(stored["floor"])
            told = {str(name): datetime.fromisoformat(at) for name, at in stored["told"].items()}
        except (TypeError, KeyError, ValueError, AttributeError):
            return None
        return cls(floor, told, reach_back=reach_back) if floor.tzinfo else None

    @property
    def untold(self) -> int:
        """Events that were found and not told yet."""
        return len(self._untold)

    def as_json(self) -> dict[str, Any]:
        """Return the position as plain JSON. What is not told yet is after it, so that it is found again."""
        floor = self._safe_floor()
        return {
            "floor": floor.isoformat() if floor else None,
            "told": {name: at.isoformat() for name, at in self._told.items() if floor is None or at > floor},
        }

    def _safe_floor(self) -> datetime | None:
        if self.floor is None or not self._untold:
            return self.floor
        return min(self.floor, min(at for at, _ in self._untold.values()) - timedelta(microseconds=1))

    def find(self, batch: Batch, kinds: Collection[str]) -> None:
        """Find the events of a batch that have not been told, and move on.

        The first batch is where everything begins: what is in it happened before anybody listened.

        :param batch: the sessions.
        :param kinds: the events of interest.
        """
        first = self.floor is None
        floor = batch.since if self.floor is None else self.floor
        for name, at, event in self._events(batch, kinds):
            if at <= floor or name in self._told or name in self._untold:
                continue
            if first:
                self._told[name] = at
            else:
                self._untold[name] = at, event
        self.floor = max(floor, batch.cursor - self._reach_back)
        self._forget()

    def tell(self, count: int | None = None) -> list[dict[str, Any]]:
        """Return events to tell now, oldest first, and count them as told.

        :param count: how many at most.
        """
        chosen = sorted(self._untold.items(), key=lambda one: one[1][0])[:count]
        for name, (at, _) in chosen:
            del self._untold[name]
            self._told[name] = at
        self._forget()
        return [event for _, (_, event) in chosen]

    def news(self, batch: Batch, kinds: Collection[str]) -> list[dict[str, Any]]:
        """Return the events of a batch that have not been told, oldest first, and move on.

        :param batch: the sessions.
        :param kinds: the events of interest.
        """
        self.find(batch, kinds)
        return self.tell()

    def _forget(self) -> None:
        floor = self._safe_floor()
        if floor is not None:
            self._told = {name: at for name, at in self._told.items() if at > floor}

    @staticmethod
    def _events(batch: Batch, kinds: Collection[str]) -> Iterator[tuple[str, datetime, dict[str, Any]]]:
        ahead = (batch.now or datetime.now(UTC)) + CLOCK_SLACK
        for session in batch.sessions:
            for kind, date in EVENTS.items():
                text = session[_NAMES[date]]
                if kind not in kinds or not text or (kind == SESSION_COMPLETED and session["status"] != "COMPLETED"):
                    continue
                at = moment(text)
                if at > ahead:
                    # It cannot be read, or it is none.
                    continue
                name = hashlib.sha256(f"{kind}\0{session['session_id']}\0{at.isoformat()}".encode()).hexdigest()[:16]
                yield name, at, {"id": name, "event": kind, "at": text, **session}


_NAMES = {wire: name for name, wire in _TOLD.items()}
