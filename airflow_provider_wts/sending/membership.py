"""Contacts are added to a sequence exactly once, in groups that one request takes.

A list may change between two tries: a query brings more rows, or the same rows in another order. The ledger therefore
keeps who was in each group before the group goes out. A group that was tried stays as it was; only contacts that are in
no group are put into new ones.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from airflow_provider_wts.api.errors import WtsUnknownOutcomeError
from airflow_provider_wts.hooks.context import TaskIdentity
from airflow_provider_wts.sending.key import send_key
from airflow_provider_wts.sending.ledger import ensure_written

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.hooks.wts import WtsHook
    from airflow_provider_wts.sending.ledger import Ledger
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


def chunks(members: Iterable[T], alike: Callable[[T], Hashable], size: int = SIZE) -> Iterator[list[T]]:
    """Cut contacts into what one call takes.

    :param members: the contacts.
    :param alike: tells which contacts may go out together: those with the same value.
    :param size: the most of one call.
    """
    groups: dict[Hashable, list[T]] = {}
    for member in members:
        groups.setdefault(alike(member), []).append(member)
    for group in groups.values():
        for start in range(0, len(group), size):
            yield group[start : start + size]


class SequenceMembers(Generic[T]):
    """Gives many contacts to WTS Chat, each exactly once over all tries of a task.

    :param once: the sends of the task; one for all parts, so that a try that Airflow has given up stops between them.
    :param hook: the hook of the task's connection.
    :param context: the task's context.
    :param what: what the contacts are given to, the same over all tries, such as ``sequence <id>``.
    :param members: the contacts, by what stays the same however they are written.
    :param alike: tells which contacts may go out together: those with the same value.
    :param name: names a contact to a person.
    :raises WtsError: when the ledger cannot be written. Then nothing was sent.
    """

    def __init__(
        self,
        once: Once,
        hook: WtsHook,
        context: Mapping[str, Any],
        *,
        what: str,
        members: Mapping[str, T],
        alike: Callable[[T], Hashable],
        name: Callable[[T], str],
    ) -> None:
        self._once = once
        self._wts_conn_id = hook.wts_conn_id
        self._task = TaskIdentity.of(context["ti"])
        self._what = what
        self._alike = alike
        self._name = name
        self._plan: dict[str, list[str]] = {}
        self.parts = self._cut(members)

    def send(self, part: MemberGroup[T], build: Callable[[list[T]], Call[Answer]]) -> Answer:
        """Give the contacts of a part to WTS Chat, unless an earlier try did.

        :param part: one of the parts, in their order.
        :param build: makes the call.
        :return: the API's answer, of this try or of an earlier one.
        :raises WtsUnknownOutcomeError: naming the contacts, when nobody knows whether it happened.
        :raises WtsError: as :meth:`~airflow_provider_wts.sending.once.Once.send`.
        """
        last = part is self.parts[-1]
        try:
            return self._once.send(self._recipient(part.number), lambda _: build(part.members), None, last=last)
        except WtsUnknownOutcomeError as error:
            raise WtsUnknownOutcomeError(
                self._undecided(part, error),
                operation_id=error.operation_id,
                status=error.status,
                repeatable=error.repeatable,
            ) from error

    def finish(self) -> None:
        """Write that the task is done. Where the last part went out in an earlier try, that one could not know it."""
        self._once.finish()

    def _cut(self, members: Mapping[str, T]) -> list[MemberGroup[T]]:
        """Return the parts that were tried as they were, and those who are in none of them in new ones."""
        ledger = self._once.ledger
        if ledger is None:
            return [
                MemberGroup(number, part) for number, part in enumerate(chunks(members.values(), self._alike), start=1)
            ]
        before: dict[str, list[str]] = (ledger.entry(self._key(self._plan_name)) or {}).get("receipt") or {}
        left = {self._hidden(identity): member for identity, member in members.items()}
        parts = []
        for number, names in before.items():
            entry = ledger.entry(self._key(self._recipient(int(number))))
            if entry is None:
                # Nothing of it happened, so its contacts are as good as new ones.
                continue
            mine = {one: left.pop(one) for one in names if one in left}
            others: list[str] = []
            if "receipt" not in entry and self._once.unknown.resend:
                # It goes out again, in one call; who does not fit into that call any more goes out in another one.
                first = next(self._chunks(mine), [])
                others = [one for one in mine if one not in first]
                left |= {one: mine.pop(one) for one in others}
            self._plan[number] = [one for one in names if one not in others]
            if mine:
                parts.append(MemberGroup(int(number), list(mine.values())))
        free = max(map(int, self._plan), default=0)
        for place, chunk in enumerate(self._chunks(left), start=free + 1):
            self._plan[str(place)] = chunk
            parts.append(MemberGroup(place, [left[one] for one in chunk]))
        if self._plan != before:
            self._keep(ledger)
        return parts

    def _chunks(self, members: Mapping[str, T]) -> Iterator[list[str]]:
        return chunks(members, lambda one: self._alike(members[one]))

    def _keep(self, ledger: Ledger) -> None:
        """Write who is in which part."""
        ensure_written(lambda: ledger.receive(self._key(self._plan_name), self._plan, finished=False))

    def _undecided(self, part: MemberGroup[T], error: WtsUnknownOutcomeError) -> str:
        """Say that the outcome of a part is unknown: for whom, and what to do, which must not drop those after them."""
        names = ", ".join(self._name(member) for member in part.members)
        later = self._later(part)
        done = "" if later else " If all of them are there, mark the task as success instead."
        return (
            f"{error.operation_id}: it is not known whether this reached {len(part.members):,} contacts for "
            f"{self._what}. They were not given to WTS Chat again: {names}.{later} Check them in WTS Chat, take those "
            f"that are there off the list, then {self._once.unknown.how_to_resend}: it goes on with the others, "
            f"and with everybody after them.{done}"
        )

    def _later(self, part: MemberGroup[T]) -> str:
        """Say how many contacts have their turn after a part."""
        ledger = self._once.ledger
        if ledger is None or ledger.incomplete:
            later = sum(len(other.members) for other in self.parts if other.number > part.number)
            return f" Nor is it known of the {later:,} contacts after them." if later else ""
        untried = (one for one in self.parts if ledger.entry(self._key(self._recipient(one.number))) is None)
        later = sum(len(one.members) for one in untried)
        return f" The {later:,} contacts after them had no turn yet." if later else ""

    def _recipient(self, number: int) -> str:
        return f"part {number} of the contacts for {self._what}"

    @property
    def _plan_name(self) -> str:
        return f"the contacts for {self._what}"

    def _key(self, recipient: str) -> str:
        generation = self._once.ledger.generation if self._once.ledger else 0
        return send_key(self._task, generation=generation, wts_conn_id=self._wts_conn_id, recipient=recipient)

    def _hidden(self, identity: str) -> str:
        # Of this task alone, so that the same contact is not recognised from one ledger to another.
        return hashlib.sha256(f"{self._key(self._plan_name)}\0{identity}".encode()).hexdigest()[:16]
