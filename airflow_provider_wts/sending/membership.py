"""Contacts are added to a sequence exactly once, in groups that one request takes.

A list may change between two tries: a query brings more rows, or the same rows in another order. The ledger therefore
keeps who was in each group before the group goes out. A group that was tried stays as it was; only contacts that are in
no group are put into new ones.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from airflow_provider_wts.api.addresses import readable
from airflow_provider_wts.api.errors import WtsUnknownOutcomeError
from airflow_provider_wts.sending.ledger import ensure_written

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.sending.once import Once


T = TypeVar("T")

Answer = TypeVar("Answer")

#: The most contacts that one call takes. For sequences the API documents no limit; other batches of it take 100.
SIZE = 100


class MemberGroup(NamedTuple, Generic[T]):
    """The contacts of one call.

    :param number: its place, from 1 on; the same over all tries.
    :param members: those of its contacts that are still in the list.
    """

    number: int
    members: list[T]


def chunks(members: Iterable[T], alike: Callable[[T], Hashable]) -> Iterator[list[T]]:
    """Cut contacts into what one call takes.

    :param members: the contacts.
    :param alike: returns the same value for contacts that may go out together.
    """
    groups: dict[Hashable, list[T]] = {}
    for member in members:
        groups.setdefault(alike(member), []).append(member)
    for group in groups.values():
        for start in range(0, len(group), SIZE):
            yield group[start : start + SIZE]


class SequenceMembers(Generic[T]):
    """Gives many contacts to WTS Chat, each exactly once over all tries of a task.

    :param once: the sends of the task.
    :param what: what the contacts are given to, the same over all tries, such as ``sequence <id>``.
    :param members: the contacts, by what stays the same however they are written.
    :param alike: returns the same value for contacts that may go out together.
    :param name: names a contact to a person.
    :raises WtsError: when the ledger cannot be written. Then nothing was sent.
    """

    def __init__(
        self,
        once: Once,
        *,
        what: str,
        members: Mapping[str, T],
        alike: Callable[[T], Hashable],
        name: Callable[[T], str],
    ) -> None:
        self._once = once
        self._what = what
        self._alike = alike
        self._name = name
        self._plan_key = once.key(f"the contacts for {what}")
        #: Groups of contacts, in their order.
        self.parts = self._cut(members)

    def send(self, part: MemberGroup[T], build: Callable[[list[T]], Call[Answer]]) -> Answer:
        """Give the contacts of a group to WTS Chat, unless an earlier try did.

        :param part: one of the groups, in their order.
        :param build: makes the call.
        :return: the API's answer, of this try or of an earlier one.
        :raises WtsUnknownOutcomeError: naming the contacts, when its outcome is unknown.
        :raises WtsError: as :meth:`~airflow_provider_wts.sending.once.Once.send`.
        """
        last = part is self.parts[-1]
        try:
            return self._once.send(self._group_name(part.number), lambda _: build(part.members), None, last=last)
        except WtsUnknownOutcomeError as error:
            raise WtsUnknownOutcomeError(
                self._unconfirmed(part, error),
                operation_id=error.operation_id,
                status=error.status,
                repeatable=error.repeatable,
            ) from error

    def finish(self) -> None:
        """Write that the task is done. If the last group went out in an earlier try, that one could not know it."""
        self._once.finish()

    def _cut(self, members: Mapping[str, T]) -> list[MemberGroup[T]]:
        """Return the groups that were tried as they were, and those who are in none of them in new ones."""
        ledger = self._once.ledger
        plan: dict[str, list[str]] = {}
        planned = ledger.entry(self._plan_key)
        before: dict[str, list[str]] = (planned.receipt or {}) if planned else {}
        left = {self._hidden(identity): member for identity, member in members.items()}
        parts = []
        for number, names in before.items():
            entry = ledger.entry(self._once.key(self._group_name(int(number))))
            if entry is None:
                # Nothing of it happened, so its contacts are as good as new ones.
                continue
            mine = {one: left.pop(one) for one in names if one in left}
            others: list[str] = []
            if not entry.is_done and self._once.unknown.resends(since_clear=ledger.is_since_clear(entry)):
                # It goes out again, in one call; who no longer fits into that call goes out in another one.
                first = next(self._chunks(mine), [])
                others = [one for one in mine if one not in first]
                left |= {one: mine.pop(one) for one in others}
            plan[number] = [one for one in names if one not in others]
            if mine:
                parts.append(MemberGroup(int(number), list(mine.values())))
        for place, chunk in enumerate(self._chunks(left), start=1 + max(map(int, plan), default=0)):
            plan[str(place)] = chunk
            parts.append(MemberGroup(place, [left[one] for one in chunk]))
        if plan != before:
            ensure_written(lambda: ledger.receive(self._plan_key, plan, finished=False))
        return parts

    def _chunks(self, members: Mapping[str, T]) -> Iterator[list[str]]:
        return chunks(members, lambda one: self._alike(members[one]))

    def _unconfirmed(self, part: MemberGroup[T], error: WtsUnknownOutcomeError) -> str:
        """Say that the outcome of a group is unknown: for whom, and what to do, which must not lose those after it."""
        names = ", ".join(readable(self._name(member)) for member in part.members)
        ledger = self._once.ledger
        if ledger.incomplete:
            later = sum(len(other.members) for other in self.parts if other.number > part.number)
            after = f" The {later:,} contacts after them are unconfirmed, too." if later else ""
        else:
            keys = ((one, self._once.key(self._group_name(one.number))) for one in self.parts)
            later = sum(len(one.members) for one, key in keys if ledger.entry(key) is None)
            after = f" The {later:,} contacts after them have not been given to WTS Chat yet." if later else ""
        done = "" if later else " If all of them are there, mark the task as success instead."
        return (
            f"{error.operation_id}: no confirmation that these contacts are in {self._what}: "
            f"{names}. They were not added again.{after} Check them in WTS Chat, remove those that are there from the "
            f"list, then {self._once.unknown.how_to_resend}: it goes on with the others, and with everybody "
            f"after them.{done}"
        )

    def _group_name(self, number: int) -> str:
        return f"part {number} of the contacts for {self._what}"

    def _hidden(self, identity: str) -> str:
        # Of this task alone, so that the same contact is not recognised from one ledger to another.
        return hashlib.sha256(f"{self._plan_key}\0{identity}".encode()).hexdigest()[:16]
