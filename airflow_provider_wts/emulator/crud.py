"""Plain objects, and the contacts in them: one description serves all of their operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_wts.api.contract import operations
from airflow_provider_wts.emulator.answers import (
    EMPTY,
    HANDLERS,
    Details,
    Empty,
    Handler,
    Request,
    answer,
    by_name,
    handles,
)
from airflow_provider_wts.emulator.conversation import contacts_named
from airflow_provider_wts.emulator.lists import Property, keeps, listed, whole
from airflow_provider_wts.emulator.state import Account, Contact, Record, Table


@dataclass(frozen=True)
class Resource:
    """A plain kind of object, with the operations that the contract names after it.

    For ``tag`` these are ``list_tags``, ``get_tag``, ``create_tag``, ``update_tag`` and ``delete_tag``, as far as there
    are. An operation that does more is written by hand, and registered after the resource.

    :param name: what it is called in an operationId.
    :param filters: the filters of its list by a value; see :func:`keeps`.
    :param texts: the filters of its list by a text.
    :param keep: makes the other filters of its list.
    :param fields: for each name that ``fields`` of an update takes, its properties; by default all are written.
    :param written: checks what is written to a new or an existing object, and returns it as it is kept.
    :param deleted: does what a deletion entails, or refuses it.
    :param other_id: a property that names it as well as its ID.
    """

    name: str
    show: Callable[[Request, Record], dict[str, Any]] = answer
    filters: Mapping[str, Property] = field(default_factory=dict)
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    keep: Callable[[Request], Callable[[Record], bool]] | None = None
    fields: Mapping[str, tuple[str, ...]] | None = None
    written: Callable[[Request, Mapping[str, Any], Record | None], Mapping[str, Any]] = lambda request, given, old: (
        given
    )
    deleted: Callable[[Request, Record], None] = lambda request, record: None
    other_id: str | None = None

    def __post_init__(self) -> None:
        served: dict[str, Handler] = {
            f"list_{self.name}s": self._list,
            f"get_{self.name}": lambda request: self.show(request, self.of(request)),
            f"create_{self.name}": lambda request: self.show(request, self.create(request)),
            f"update_{self.name}": lambda request: self.show(request, self.update(request)),
            f"delete_{self.name}": self._delete,
        }
        HANDLERS.update({name: handler for name, handler in served.items() if name in operations()})

    def all(self, account: Account) -> Table[Record]:
        """Return its table."""
        found: Table[Record] = getattr(account, f"{self.name}s")
        return found

    def of(self, request: Request) -> Record:
        """Return the object that the first parameter of the path names."""
        table, identifier = self.all(request.account), next(iter(request.path.values()))
        if self.other_id is not None:
            wanted = identifier.lower()
            identifier = next((one.id for one in table if one[self.other_id] == wanted), identifier)
        return table.need(identifier)

    def create(self, request: Request) -> Record:
        """Create an object from the body."""
        account = request.account
        given = self.written(request, request.body, None)
        return account.new(self.all(account), {name: one for name, one in given.items() if one is not None})

    def update(self, request: Request) -> Record:
        """Update an object from the body."""
        record = self.of(request)
        given = request.body if self.fields is None else changes(request, self.fields)
        record.values.update(self.written(request, given, record))
        request.account.touch(self.all(request.account), record)
        return record

    def _list(self, request: Request) -> Any:
        plain, other = keeps(request.query, self.filters, self.texts), self.keep(request) if self.keep else None
        return listed(request, self.all(request.account), self.show, plain, other)

    def _delete(self, request: Request) -> Empty:
        record = self.of(request)
        self.deleted(request, record)
        self.all(request.account).remove(record)
        return EMPTY


@dataclass(frozen=True)
class Members:
    """The contacts in an object of a resource, with the operations that the contract names after both.

    For ``portfolio`` these are ``list_portfolio_contacts``, ``add_portfolio_contact`` and ``remove_portfolio_contact``,
    and the last two for many, which end in ``contacts_batch``.

    :param filters: the filters of the list by a value; see :func:`keeps`.
    :param keep: makes the other filters of the list.
    :param values: makes what else a new member has.
    :param again: does what adding a member again entails, or refuses it.
    :param moved: notes that a contact is in an object now, or no longer.
    :param unknown: what a batch does with a number that has no contact: ``create``, ``skip`` or ``refuse``.
    """

    holder: Resource
    details: Details = field(default_factory=dict)
    filters: Mapping[str, Property] = field(default_factory=dict)
    keep: Callable[[Request], Callable[[Record], bool]] | None = None
    values: Callable[[Account, Contact], dict[str, Any]] = lambda account, contact: {}
    again: Callable[[Account, Record], None] = lambda account, member: None
    moved: Callable[[Contact, Record, bool], None] = lambda contact, holder, inside: None
    unknown: Callable[[Account], str] = lambda account: "create"

    def __post_init__(self) -> None:
        name = self.holder.name
        handles(f"list_{name}_contacts")(self._list)
        handles(f"add_{name}_contact")(self._add)
        handles(f"add_{name}_contacts_batch")(self._add_batch)
        handles(f"remove_{name}_contact", f"remove_{name}_contacts_batch")(self._remove)

    def table(self, account: Account) -> Table[Record]:
        """Return the table of the members of all objects."""
        found: Table[Record] = getattr(account, f"{self.holder.name}_contacts")
        return found

    def of(self, account: Account, holder: Record) -> list[Record]:
        """Return the members of an object."""
        return [member for member in self.table(account) if member[f"{self.holder.name}Id"] == holder.id]

    def add(self, account: Account, holder: Record, contact: Contact) -> Record:
        """Put a contact into an object, and return the membership."""
        member = account.memberships.get((holder.id, contact.id))
        if member is not None:
            self.again(account, member)
            return member
        values = {"active": True, "contactId": contact.id, **self.values(account, contact)}
        member = account.new(self.table(account), {**values, f"{self.holder.name}Id": holder.id})
        account.memberships[holder.id, contact.id] = member
        self.moved(contact, holder, True)
        return member

    def remove(self, account: Account, holder: Record, contact: Contact) -> None:
        """Take a contact out of an object, if it is in it."""
        member = account.memberships.pop((holder.id, contact.id), None)
        if member is not None:
            self.table(account).remove(member)
            self.moved(contact, holder, False)

    def _show(self, request: Request, member: Record) -> dict[str, Any]:
        contact = request.account.contacts.find(member["contactId"])
        return answer(request, member, self.details, contactDetails=contact)

    def _list(self, request: Request) -> Any:
        keep = self.keep(request) if self.keep else keeps(request.query, self.filters)
        members = self.of(request.account, self.holder.of(request))
        return listed(request, self.table(request.account), self._show, keep, among=members)

    def _add(self, request: Request) -> dict[str, Any]:
        account, holder = request.account, self.holder.of(request)
        return self._show(request, self.add(account, holder, account.contact_named(request.body)))

    def _add_batch(self, request: Request) -> Any:
        account, holder = request.account, self.holder.of(request)
        contacts = contacts_named(account, request.body, unknown=self.unknown(account))
        return whole([self._show(request, self.add(account, holder, contact)) for contact in contacts])

    def _remove(self, request: Request) -> Empty:
        account, holder = request.account, self.holder.of(request)
        batch = request.operation.operation_id.endswith("_batch")
        named = (
            contacts_named(account, request.body, unknown="skip") if batch else [account.contact_named(request.body)]
        )
        for contact in named:
            self.remove(account, holder, contact)
        return EMPTY


_HOLDER_DETAILS = by_name("departments", "contactExecutingCount", contactsCount=("ContactCount",))


def show_holder(request: Request, holder: Record) -> dict[str, Any]:
    """Return a portfolio or a sequence, with the number of contacts in it."""

    def count() -> int:
        return sum(held == holder.id for held, _ in request.account.memberships)

    return answer(request, holder, _HOLDER_DETAILS, contactsCount=count, contactExecutingCount=count)


def changes(request: Request, sources: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """Return what an update writes: the properties that ``fields`` names, with their new values.

    :param sources: for each name that ``fields`` takes, the properties of the body that belong to it.
    """
    switches, body = request.account.switches, request.body
    named = body.get("fields")
    if named is None and switches.update_without_fields == "given":
        return {name: body[name] for names in sources.values() for name in names if name in body}
    wanted = {str(name).lower() for name in named or ()}
    found: dict[str, Any] = {}
    for field_name, names in sources.items():
        if field_name.lower() not in wanted:
            continue
        sent = {name: body[name] for name in names if name in body}
        if not sent and switches.named_but_not_sent == "clear":
            sent = {names[0]: None}
        found.update(sent)
    return found


def merged(existing: dict[str, Any], given: dict[str, Any] | None, way: str = "merge") -> dict[str, Any]:
    """Return metadata after a write: a null value removes its key.

    :param way: ``merge`` or ``replace``.
    """
    together = {**(existing if way == "merge" else {}), **(given or {})}
    return {name: value for name, value in together.items() if value is not None}
