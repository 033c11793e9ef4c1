"""What is new in the sessions of an account: events that each come once, in order, also after a restart.

The API has no list of events, only sessions with dates. Each event has a moment of its own among them. A position
says up to where events have been told; what is younger is remembered one by one, because the API may show a change
late, and because how its date bounds behave is not documented.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wts.api.call import moment
from airflow_provider_wts.api.sessions import list_sessions
from airflow_provider_wts.waiting.session import SESSION_STATUSES
from airflow_provider_wts.waiting.sweep import CLOCK_SLACK

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from airflow_provider_wts.api.client import WtsClient

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
    """

    since: datetime
    cursor: datetime
    sessions: list[dict[str, Any]]
    calls: int


def changed_sessions(client: WtsClient, since: datetime) -> Batch:
    """List the sessions that changed or were written in, 100 a request.

    :param client: the client.
    :param since: lower bound of the change.
    """
    found: dict[str, dict[str, Any]] = {}
    latest = since + OVERLAP
    calls, whole = 0, True
    # Two lists: whether a message moves the date of a session's change is not documented.
    lists = (
        list_sessions(status=SESSION_STATUSES, updated_after=since),
        list_sessions(status=SESSION_STATUSES, last_interaction_after=since),
    )
    for call in lists:
        seen: set[str] = set()
        total = 0
        for page in client.pages(call):
            calls += 1
            total = page.get("totalItems") or 0
            for session in page.get("items") or []:
                seen.add(str(session.get("id")))
                found[str(session.get("id"))] = {name: session.get(wire) for name, wire in _TOLD.items()}
                latest = max(latest, _changed(session))
        # Rows that moved between pages while these were read may be missing: then the same stretch is read again.
        whole = whole and len(seen) >= total
    sessions = sorted(found.values(), key=lambda one: (str(one["updated_at"]), str(one["session_id"])))
    return Batch(since, latest if whole else since + OVERLAP, sessions, calls)


class Position:
    """Up to where events have been told.

    :param floor: events up to this moment are over; ``None`` before the first batch.
    :param told: the events told after it, and their moments.
    """

    def __init__(self, floor: datetime | None = None, told: Mapping[str, datetime] | None = None) -> None:
        self.floor = floor
        self._told = dict(told or {})

    @classmethod
    def read(cls, stored: Any) -> Position | None:
        """Return a position as it was stored, or ``None`` where nothing usable is there.

        :param stored: what :meth:`as_json` made.
        """
        try:
            floor = datetime.fromisoformat(stored["floor"])
            told = {str(name): datetime.fromisoformat(at) for name, at in stored["told"].items()}
        except (TypeError, KeyError, ValueError, AttributeError):
            return None
        return cls(floor, told) if floor.tzinfo else None

    def as_json(self) -> dict[str, Any]:
        """Return the position as plain JSON."""
        return {
            "floor": self.floor.isoformat() if self.floor else None,
            "told": {name: at.isoformat() for name, at in self._told.items()},
        }

    def news(self, batch: Batch, kinds: Collection[str]) -> list[dict[str, Any]]:
        """Return the events of a batch that have not been told, oldest first, and move on.

        The first batch is where everything begins: what is in it happened before anybody listened.

        :param batch: the sessions.
        :param kinds: the events of interest.
        """
        first = self.floor is None
        floor = batch.since if self.floor is None else self.floor
        events = []
        for name, at, event in self._events(batch, kinds):
            if at > floor and name not in self._told:
                self._told[name] = at
                events.append((at, event))
        self.floor = max(floor, batch.cursor - OVERLAP)
        self._told = {name: at for name, at in self._told.items() if at > self.floor}
        return [] if first else [event for _, event in sorted(events, key=lambda one: one[0])]

    @staticmethod
    def _events(batch: Batch, kinds: Collection[str]) -> Iterator[tuple[str, datetime, dict[str, Any]]]:
        ahead = datetime.now(UTC) + CLOCK_SLACK
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


def _changed(session: Mapping[str, Any]) -> datetime:
    dates = [session[name] for name in ("updatedAt", "lastInteractionDate") if session.get(name)]
    known = [at for at in map(moment, dates) if at.year < 9999]
    return min(max(known, default=datetime.fromtimestamp(0, UTC)), datetime.now(UTC) + CLOCK_SLACK)
