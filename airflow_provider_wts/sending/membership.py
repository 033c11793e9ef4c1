"""Adds contacts to a sequence exactly once, in groups of one request each.

The list may change between two tries: a query returns more rows, or the same rows in another order. So the ledger
records who is in each group before the group goes out. A group that was tried keeps its members; only contacts in no
group go into new ones.
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from airflow_provider_wts.api.addresses import readable
from airflow_provider_wts.api.errors import WtsUnknownOutcomeError
from airflow_provider_wts.sending.ledger import ensure_written

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.sending.once import Once


T = TypeVar("T")

Answer = TypeVar("Answer")

log = logging.getLogger(__name__)

#: Maximum contacts per call. The API documents no limit for sequences; its other batch calls take 100.
SIZE = 100


def warn_of_missing(shown: int, names: Sequence[str]) -> None:
    """Warn if a response shows fewer contacts than its request had. What that means is not documented."""
    if shown < len(names):
        named = ", ".join(map(readable, names))
        log.warning(
            "WTS Chat's response shows %s of %s contacts. Check these in WTS Chat: %s", shown, len(names), named
        )


class MemberGroup(NamedTuple, Generic[T]):
    """The contacts of one call.

    :param number: its position, from 1; the same in all tries.
    :param members: those of its contacts that are still in the list.
    """

    number: int
    members: list[T]


def chunks(members: Iterable[T], group_by: Callable[[T], Hashable]) -> Iterator[list[T]]:
    """Split contacts into groups of one call each.

    :param group_by: returns the same value for contacts that may share a call.
    """
    groups: dict[Hashable, list[T]] = {}
    for member in members:
        groups.setdefault(group_by(member), []).append(member)
    for group in groups.values():
        for start in range(0, len(group), SIZE):
            yield group[start : start + SIZE]


class SequenceMembers(Generic[T]):
    """Adds many contacts to a sequence, each exactly once in all tries of a task.

    :param target: where the contacts are added, the same in all tries, such as ``sequence <id>``.
    :param members: the contacts, by an identity that does not depend on their spelling.
    :param group_by: returns the same value for contacts that may share a call.
    :param to_remove: how a person removes some of the contacts from them.
    :raises WtsError: when the ledger cannot be written. Then nothing was sent.
    """

    def __init__(
        self,
        once: Once,
        *,
        target: str,
        members: Mapping[str, T],
        group_by: Callable[[T], Hashable],
        name: Callable[[T], str],
        to_remove: str = "remove those that are there from the list",
    ) -> None:
        self._once = once
        self._target = target
        self._group_by = group_by
        self._name = name
        self._to_remove = to_remove
        self._plan_key = once.key(f"the contacts for {target}")
        #: The groups, in the order in which they go out.
        self.groups = self._plan(members)

    def send(self, group: MemberGroup[T], build: Callable[[list[T]], Call[Answer]]) -> Answer:
        """Add the contacts of a group, unless an earlier try did.

        :param group: the next of :attr:`groups`.
        :raises WtsUnknownOutcomeError: naming the contacts, when the outcome is unknown.
        """
        last = group is self.groups[-1]
        try:
            return self._once.send(self._group_name(group.number), lambda _: build(group.members), None, last=last)
        except WtsUnknownOutcomeError as error:
            raise WtsUnknownOutcomeError(
                self._unconfirmed(group, error),
                operation_id=error.operation_id,
                status=error.status,
                repeatable=error.repeatable,
            ) from error

    def finish(self) -> None:
        """Record that the task is done; an earlier try that sent the last group may not have known it was the last."""
        self._once.finish()

    def _plan(self, members: Mapping[str, T]) -> list[MemberGroup[T]]:
        """Return the groups that were tried, unchanged, and new groups for all other contacts."""
        ledger = self._once.ledger
        plan: dict[str, list[str]] = {}
        planned = ledger.entry(self._plan_key)
        before: dict[str, list[str]] = (planned.receipt or {}) if planned else {}
        left = {self._digest(identity): member for identity, member in members.items()}
        groups = []
        for number, names in before.items():
            entry = ledger.entry(self._once.key(self._group_name(int(number))))
            if entry is None:
                # It was never tried, so its contacts count as new.
                continue
            mine = {one: left.pop(one) for one in names if one in left}
            again = not entry.is_done and self._once.unknown.resends(since_clear=ledger.is_since_clear(entry))
            if again and len(next(self._chunks(mine), [])) < len(names):
                # Whoever is no longer in the list stays unconfirmed. The others go out in other groups.
                left |= mine
                mine = {}
            plan[number] = [one for one in names if one not in left]
            if mine:
                groups.append(MemberGroup(int(number), list(mine.values())))
        for place, chunk in enumerate(self._chunks(left), start=1 + max(map(int, plan), default=0)):
            plan[str(place)] = chunk
            groups.append(MemberGroup(place, [left[one] for one in chunk]))
        if plan != before:
            ensure_written(lambda: ledger.receive(self._plan_key, plan, finished=False))
        return groups

    def _chunks(self, members: Mapping[str, T]) -> Iterator[list[str]]:
        return chunks(members, lambda one: self._group_by(members[one]))

    def _unconfirmed(self, group: MemberGroup[T], error: WtsUnknownOutcomeError) -> str:
        """Return the error message for an unconfirmed group. Its advice must not lose the groups after it."""
        names = ", ".join(readable(self._name(member)) for member in group.members)
        ledger = self._once.ledger
        if ledger.incomplete:
            later = sum(len(other.members) for other in self.groups if other.number > group.number)
            after = f" The {later:,} contacts after them are unconfirmed, too." if later else ""
        else:
            keys = ((one, self._once.key(self._group_name(one.number))) for one in self.groups)
            later = sum(len(one.members) for one, key in keys if ledger.entry(key) is None)
            after = f" The {later:,} contacts after them have not been added yet." if later else ""
        done = "" if later else " If all of them are there, mark the task as success instead."
        return (
            f"{error.operation_id}: no confirmation that these contacts are in {self._target}: {names}. "
            f"They were not added again.{after} Check them in WTS Chat, {self._to_remove}, then "
            f"{self._once.unknown.how_to_resend}: it continues with the others, and with everybody after "
            f"them.{done}"
        )

    def _group_name(self, number: int) -> str:
        return f"part {number} of the contacts for {self._target}"

    def _digest(self, identity: str) -> str:
        # Salted per task, so that a contact cannot be recognized across ledgers.
        return hashlib.sha256(f"{self._plan_key}\0{identity}".encode()).hexdigest()[:16]
