"""What the account holds: records with an id and two timestamps, in tables that list fast."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


@dataclass(slots=True, eq=False)
class Record:
    """One object of the service.

    :param id: its id, a UUID.
    :param created: when it was created, in ticks.
    :param updated: when it was changed last, in ticks.
    :param values: its other properties by their names on the wire.
    """

    id: str
    created: int
    updated: int
    values: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.values[name] = value

    def get(self, name: str) -> Any:
        """Return a property, ``None`` where it is not set.

        :param name: its name on the wire.
        """
        return self.values.get(name)


@dataclass(slots=True, eq=False)
class Contact(Record):
    """A contact, with the open sessions it has.

    :param sessions: all its sessions, oldest first.
    """

    sessions: list[Session] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Message(Record):
    """A message of a session.

    :param callback_url: where to tell that it was sent or failed.
    :param send_id: the send that made it.
    """

    callback_url: str | None = None
    send_id: str | None = None


class RunningBot(Protocol):
    """A chatbot that runs in a session."""

    bot: Chatbot
    asked: bool

    def stop(self) -> None:
        """End the run."""

    def answered(self, text: str) -> None:
        """Take the contact's answer."""


@dataclass(slots=True, eq=False)
class Session(Record):
    """A conversation of a contact on a channel.

    :param contact: whom it is with.
    :param channel: where it is held.
    :param messages: its messages, oldest first.
    :param run: the chatbot that runs in it.
    :param reactivate: whether the contact's next message reopens it.
    :param on_answer: what happens when the contact answers, such as the start of a reply bot.
    :param last_in: when the contact wrote last, in ticks.
    """

    contact: Contact
    channel: Record
    messages: list[Message] = field(default_factory=list)
    run: RunningBot | None = None
    reactivate: bool = False
    on_answer: Callable[[], None] | None = None
    last_in: int | None = None


@dataclass(slots=True, eq=False)
class Chatbot(Record):
    """A chatbot with the script it runs.

    :param steps: what it does, one after the other.
    """

    steps: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Send(Record):
    """An accepted send of the send family, with its status.

    :param operation_id: the operation that took it.
    :param to: the recipient, as stored.
    :param message: the message it made, once it is processed.
    """

    operation_id: str = ""
    to: str = ""
    message: Message | None = None


RecordT = TypeVar("RecordT", bound=Record)


@dataclass(frozen=True)
class Bounds:
    """A range of time, in ticks, both ends included.

    :param first: the earliest time, ``None`` = open.
    :param last: the latest time, ``None`` = open.
    """

    first: int | None = None
    last: int | None = None

    def holds(self, ticks: int) -> bool:
        """Say whether a time lies in the range.

        :param ticks: the time.
        """
        return (self.first is None or ticks >= self.first) and (self.last is None or ticks <= self.last)


ALWAYS = Bounds()


class Table(Generic[RecordT]):
    """All records of one kind: found by id at once, listed by creation or change without sorting each time.

    Timestamps only grow, so a new or changed record goes to the end of its order. The order of change keeps the
    record's older places until there are more of them than records.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, RecordT] = {}
        self._created: list[RecordT] = []
        self._updated: list[tuple[int, RecordT]] = []
        self._sorted = True
        self.version = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[RecordT]:
        return iter(self.by_creation())

    def find(self, identifier: str | None) -> RecordT | None:
        """Return the record with that id, if there is one.

        :param identifier: its id, in any case.
        """
        if identifier is None:
            return None
        return self._by_id.get(identifier) or self._by_id.get(identifier.lower())

    def add(self, record: RecordT) -> RecordT:
        """Take a record in and return it.

        :param record: the record; its id must be new.
        """
        if self._created and (record.created < self._created[-1].created or record.updated < self._updated[-1][0]):
            self._sorted = False
        self._by_id[record.id] = record
        self._created.append(record)
        self._updated.append((record.updated, record))
        self.version += 1
        return record

    def touch(self, record: RecordT, ticks: int) -> None:
        """Note that a record has changed.

        :param record: the record.
        :param ticks: the new time of change, later than all others.
        """
        if self._updated and ticks < self._updated[-1][0]:
            self._sorted = False
        record.updated = ticks
        self._updated.append((ticks, record))
        self.version += 1
        if len(self._updated) > 2 * len(self._by_id) + 64:
            self._compact()

    def remove(self, record: RecordT) -> None:
        """Take a record out.

        :param record: the record.
        """
        del self._by_id[record.id]
        self._created.remove(record)
        self._compact()
        self.version += 1

    def by_creation(self) -> Sequence[RecordT]:
        """Return all records, oldest first; the list is the table's own."""
        self._sort()
        return self._created

    def created_in(self, bounds: Bounds) -> Sequence[RecordT]:
        """Return the records created in a range of time, oldest first.

        :param bounds: the range.
        """
        self._sort()
        if bounds == ALWAYS:
            return self._created
        first = 0 if bounds.first is None else bisect_left(self._created, bounds.first, key=_creation)
        last = len(self._created) if bounds.last is None else bisect_right(self._created, bounds.last, key=_creation)
        return self._created[first:last]

    def updated_in(self, bounds: Bounds) -> list[RecordT]:
        """Return the records changed last in a range of time, in the order of change.

        :param bounds: the range.
        """
        self._sort()
        first = 0 if bounds.first is None else bisect_left(self._updated, bounds.first, key=_change)
        last = len(self._updated) if bounds.last is None else bisect_right(self._updated, bounds.last, key=_change)
        return [
            record
            for ticks, record in self._updated[first:last]
            if record.updated == ticks and record.id in self._by_id
        ]

    def _compact(self) -> None:
        self._updated = [
            (ticks, record) for ticks, record in self._updated if record.updated == ticks and record.id in self._by_id
        ]

    def _sort(self) -> None:
        if not self._sorted:
            self._created.sort(key=_creation)
            self._compact()
            self._updated.sort(key=_change)
            self._sorted = True


def _creation(record: Record) -> int:
    return record.created


def _change(entry: tuple[int, Record]) -> int:
    return entry[0]


def named(records: Iterable[RecordT], name: str, of: Callable[[RecordT], str | None]) -> RecordT | None:
    """Return the first record of a name, compared without case.

    :param records: where to look.
    :param name: the name.
    :param of: gives the name of a record.
    """
    wanted = name.strip().casefold()
    return next((record for record in records if (of(record) or "").casefold() == wanted), None)
