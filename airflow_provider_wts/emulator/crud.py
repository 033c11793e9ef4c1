"""What a handler of an operation gets and gives, and how lists are filtered, ordered and cut into pages."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache, cached_property
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final

from airflow_provider_wts.api.contract import Operation, operations, resolve
from airflow_provider_wts.emulator.clock import parse_ticks
from airflow_provider_wts.emulator.conversation import contacts_named
from airflow_provider_wts.emulator.errors import Refusal, bad_request
from airflow_provider_wts.emulator.state import ALWAYS, Account, Bounds, Contact, Record, RecordT, Table


@dataclass(frozen=True)
class Request:
    """A request that fits the contract.

    :param query: query parameters, typed.
    :param body: the JSON body, ``{}`` if there is none.
    """

    account: Account
    operation: Operation
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Any = field(default_factory=dict)

    @cached_property
    def details(self) -> frozenset[str]:
        """The details asked for, in lower case."""
        body = self.body if isinstance(self.body, dict) else {}
        asked = self.query.get("IncludeDetails") or self.query.get("includeDetails") or body.get("includeDetails") or []
        names = [asked] if isinstance(asked, str) else asked
        return frozenset(name.lower() for name in names)

    def shows(self, *names: str) -> bool:
        """Return whether a detail is in the answer.

        :param names: names of the detail, one of which must be asked for.
        """
        if self.account.switches.details_not_asked == "always":
            return True
        details = self.details
        return bool(details) and ("all" in details or any(name.lower() in details for name in names))


class Empty:
    """An answer without a body."""


EMPTY: Final = Empty()


@dataclass(frozen=True)
class Later:
    """An answer that is given once something happened, or time is over.

    :param seconds: seconds to wait at most, emulated or real, whichever are over first.
    """

    done: Callable[[], bool]
    seconds: float
    answer: Callable[[], Any]


MOST_NESTED = 64
"""How deep a body may be nested: the limit of .NET, which the service runs on."""

Handler = Callable[[Request], Any]

HANDLERS: dict[str, Handler] = {}
"""What answers each operation, by operationId."""


def handles(*operation_ids: str) -> Callable[[Handler], Handler]:
    """Register a function as the handler of operations."""

    def register(handler: Handler) -> Handler:
        for operation_id in operation_ids:
            HANDLERS[operation_id] = handler
        return handler

    return register


Details = Mapping[str, Sequence[str]]
"""The properties of an answer that a request must ask for, each with the names to ask by."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_EMPTY = {"boolean": False, "integer": 0}


def details_of(*names: str, **others: Sequence[str]) -> dict[str, Sequence[str]]:
    """Return the details of an answer.

    :param names: those that are asked for by their own names.
    :param others: the names to ask by for each of the others.
    """
    return {**{name: (name,) for name in names}, **others}


def answer(
    request: Request,
    record: Record,
    details: Details = _NOTHING,
    *,
    part: str = "",
    whole: bool = False,
    **values: Any,
) -> dict[str, Any]:
    """Return an object as the operation answers it: the properties that the contract declares, empty if nothing is set.

    :param part: the property of the answer that holds such objects, if they are not the answer itself.
    :param whole: whether all details are in the answer, asked for or not.
    :param values: what is not kept in the record, or differs from it; a function makes its value when it is shown.
    """
    switches, shown = request.account.switches, {}
    known = {**_known(request.account, record), **values}
    for name, schema in _declared(request.operation.operation_id, part).items():
        if name not in details or whole or request.shows(*details[name]):
            given = known.get(name)
            value = _part(request, schema, given() if callable(given) else given)
            if value is not None or _is_nullable(schema):
                shown[name] = value
        elif switches.details_not_asked == "null":
            shown[name] = None
    return shown


def _known(account: Account, record: Record) -> dict[str, Any]:
    known = {**account.stamped(record), **record.values}
    if isinstance(record, Contact):
        known["tagsId"], known["tagsName"] = record["tagIds"], account.tags.names(record["tagIds"])
        # Some answers write these in lower case.
        known["phonenumber"], known["phonenumberFormatted"] = record["phoneNumber"], record["phoneNumberFormatted"]
    return known


def _part(request: Request, schema: Mapping[str, Any], value: Any) -> Any:
    """Return a property of an answer: of another object what the contract declares, of nothing what it has instead."""
    schema = resolve(request.operation.service, schema)
    if isinstance(value, Record):
        known = _known(request.account, value)
        return {name: _part(request, one, known.get(name)) for name, one in schema["properties"].items()}
    if isinstance(value, list) and value and isinstance(value[0], Record):
        return [_part(request, schema["items"], one) for one in value]
    return _EMPTY.get(str(schema.get("type"))) if value is None else value


@cache
def _declared(operation_id: str, part: str) -> Mapping[str, Any]:
    """Return the schemas of the properties of the objects that an operation answers with."""
    operation = operations()[operation_id]
    schema = _declared(operation_id, "")[part] if part else resolve(operation.service, operation.answer_schema or {})
    while "items" in schema or {"items", "results"} & schema.get("properties", {}).keys():
        properties = schema.get("properties", {})
        schema = resolve(operation.service, schema.get("items") or properties.get("items") or properties["results"])
    found: Mapping[str, Any] = schema.get("properties", {})
    return found


def _is_nullable(schema: Mapping[str, Any]) -> bool:
    return "null" in schema.get("type", ()) or {"type": "null"} in schema.get("anyOf", ())


def date_bounds(request: Request, name: str, given: Mapping[str, Any] | None = None) -> Bounds:
    """Return the range that a date filter asks for.

    :param given: a filter object of a body, with ``before`` and ``after``; the query by default.
    """
    if given is not None:
        after, before = given.get("after"), given.get("before")
    else:
        after, before = request.query.get(f"{name}.After"), request.query.get(f"{name}.Before")
    step = 1 if request.account.switches.date_bounds == "exclusive" else 0
    if after is None and before is None:
        return ALWAYS
    return Bounds(
        None if after is None else parse_ticks(after) + step,
        None if before is None else parse_ticks(before) - step,
    )


def listed(
    request: Request,
    table: Table[RecordT],
    show: Callable[[Request, RecordT], Any],
    keep: Callable[[RecordT], bool] | None = None,
    *,
    among: Sequence[RecordT] | None = None,
    created: Bounds | None = None,
    updated: Bounds | None = None,
) -> dict[str, Any]:
    """Return the page of a list that the request asks for.

    :param keep: the filters other than those by date.
    :param among: the few records that can match, oldest first; the whole table by default.
    :param created: filter of ``createdAt``; from the query by default, as that of ``updatedAt``.
    """
    created = date_bounds(request, "CreatedAt") if created is None else created
    updated = date_bounds(request, "UpdatedAt") if updated is None else updated
    records = _selected(request, table, keep, among=among, created=created, updated=updated)
    switches = request.account.switches
    settings = _settings(request)
    number, size = int(settings.get("pagenumber", settings.get("page", 1))), int(settings.get("pagesize", 15))
    if not 1 <= size <= 100 and switches.page_out_of_range == "refuse":
        raise bad_request(["PageSize: de 1 a 100"], switches)
    size = min(max(size, 1), 100)
    total = len(records)
    pages = -(-total // size)
    if (number < 1 and switches.page_zero == "refuse") or (
        number > max(pages, 1) and switches.page_past_end == "refuse"
    ):
        raise Refusal("FORM_ERROR", "A página informada não existe.")
    number = max(number, 1)
    order, descending = _order(settings)
    first, end = (number - 1) * size, number * size
    if descending:
        first, end = max(total - end, 0), max(total - first, 0)
    shown = records[first:end]
    direction = "DESCENDING" if descending else "ASCENDING"
    if switches.order_direction_spelling == "short":
        direction = direction.lower().removesuffix("ending")
    return {
        "pageNumber": number,
        "pageSize": size,
        "orderBy": order,
        "orderDirection": direction,
        "totalItems": total,
        "totalPages": pages,
        "hasMorePages": number < pages,
        "items": [show(request, record) for record in (shown[::-1] if descending else shown)],
    }


def _selected(
    request: Request,
    table: Table[RecordT],
    keep: Callable[[RecordT], bool] | None,
    *,
    among: Sequence[RecordT] | None,
    created: Bounds,
    updated: Bounds,
) -> Sequence[RecordT]:
    """Return the records of a list in ascending order, without cutting pages."""
    order, _ = _order(_settings(request))
    by_change = order.lower() == "updatedat"
    found: Sequence[RecordT]
    if among is not None:
        found = [one for one in among if created.holds(one.created) and updated.holds(one.updated)]
        if by_change:
            found = sorted(found, key=attrgetter("updated"))
    elif updated != ALWAYS or by_change:
        found = table.updated_in(updated)
        if created != ALWAYS:
            found = [one for one in found if created.holds(one.created)]
        if not by_change:
            found.sort(key=attrgetter("created"))
    else:
        found = table.created_in(created)
    if keep is not None:
        found = [one for one in found if keep(one)]
    if not by_change and order.lower() != "createdat":
        found = sorted(found, key=lambda one: _comparable(one, order))
    return found


def whole(records: Sequence[Any]) -> dict[str, Any]:
    """Wrap a few items as the single page that some calls answer with."""
    return {
        "pageNumber": 1,
        "pageSize": max(len(records), 1),
        "orderBy": None,
        "orderDirection": None,
        "totalItems": len(records),
        "totalPages": 1 if records else 0,
        "hasMorePages": False,
        "items": list(records),
    }


Property = str | Callable[[Any], Any]
"""A property of a record by its name on the wire, or what makes its value."""


def keeps(
    given: Mapping[str, Any],
    filters: Mapping[str, Property] = _NOTHING,
    texts: Mapping[str, Sequence[str]] = _NOTHING,
) -> Callable[[Record], bool] | None:
    """Return what the filters of a request let through, ``None`` if it sets none of them.

    :param given: the query, or the body.
    :param filters: for each filter the property that must have the value, or one of the values, in any case.
    :param texts: for each filter the properties that are searched for the text.
    """
    values = [(of, _folded(given[name])) for name, of in filters.items() if given.get(name) not in (None, [], "")]
    searched = [(names, given[name].casefold()) for name, names in texts.items() if given.get(name)]

    def keep(record: Record) -> bool:
        return all(
            not wanted.isdisjoint(_folded(record[of] if isinstance(of, str) else of(record))) for of, wanted in values
        ) and all(
            text in " ".join(str(record[name]) for name in names if record[name]).casefold() for names, text in searched
        )

    return keep if values or searched else None


def _folded(values: Any) -> frozenset[str]:
    """Return one value, or those of a list, for comparing without case."""
    several = values if isinstance(values, list) else [values]
    return frozenset(str(one).casefold() for one in several if one is not None)


@dataclass(frozen=True)
class Resource:
    """A plain kind of object, with the operations that the contract names after it.

    For ``tag`` these are ``list_tags``, ``get_tag``, ``create_tag``, ``update_tag`` and ``delete_tag``, as far as there
    are. An operation that does more is written by hand, and registered after the resource.

    :param name: what it is called in an operationId.
    :param what: what it is, in Portuguese with its article.
    :param filters: the filters of its list by a value; see :func:`keeps`.
    :param texts: the filters of its list by a text.
    :param keep: makes the other filters of its list.
    :param fields: for each name that ``fields`` of an update takes, its properties; without it all are written.
    :param written: checks what is written to a new or an existing object, and returns it as it is kept.
    :param defaults: what else a new object has.
    :param deleted: does what a deletion entails, or refuses it.
    :param other_id: a property that names it as well as its ID.
    """

    name: str
    what: str
    show: Callable[[Request, Record], dict[str, Any]] = answer
    filters: Mapping[str, Property] = field(default_factory=dict)
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    keep: Callable[[Request], Callable[[Record], bool]] | None = None
    fields: Mapping[str, tuple[str, ...]] | None = None
    written: Callable[[Request, Mapping[str, Any], Record | None], Mapping[str, Any]] = lambda request, given, old: (
        given
    )
    defaults: Mapping[str, Any] = field(default_factory=dict)
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
        """Return the object that the path names, before any other."""
        table, identifier = self.all(request.account), next(iter(request.path.values()))
        if self.other_id is not None:
            wanted = identifier.lower()
            identifier = next((one.id for one in table if one[self.other_id] == wanted), identifier)
        return request.account.need(table, identifier, self.what)

    def create(self, request: Request) -> Record:
        """Create an object from the body."""
        account = request.account
        given = self.written(request, request.body, None)
        values = {**deepcopy(dict(self.defaults)), **{name: one for name, one in given.items() if one is not None}}
        return account.new(self.all(account), {**values, "companyId": account.id})

    def update(self, request: Request) -> Record:
        """Write to an object what the body says."""
        record = self.of(request)
        given = request.body if self.fields is None else changes(request, self.fields)
        record.values.update(self.written(request, given, record))
        request.account.touch(self.all(request.account), record)
        return record

    def _list(self, request: Request) -> Any:
        tests = (keeps(request.query, self.filters, self.texts), self.keep(request) if self.keep else None)
        asked = [test for test in tests if test is not None]

        def keep(record: Record) -> bool:
            return all(test(record) for test in asked)

        table = self.all(request.account)
        if request.operation.paged:
            return listed(request, table, self.show, keep if asked else None)
        return [self.show(request, record) for record in table if keep(record)]

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
        values = {"active": True, "companyId": account.id, "contactId": contact.id, **self.values(account, contact)}
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

    def _list(self, request: Request) -> dict[str, Any]:
        keep = self.keep(request) if self.keep else keeps(request.query, self.filters)
        members = self.of(request.account, self.holder.of(request))
        return listed(request, self.table(request.account), self._show, keep, among=members)

    def _add(self, request: Request) -> dict[str, Any]:
        account, holder = request.account, self.holder.of(request)
        return self._show(request, self.add(account, holder, account.contact_named(request.body)))

    def _add_batch(self, request: Request) -> dict[str, Any]:
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


def fields_of(*properties: str, **others: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the names that ``fields`` of an update takes, each with its properties of the body.

    :param properties: those that ``fields`` calls by their own name with a capital.
    :param others: the properties of the other names.
    """
    return {**{name[0].upper() + name[1:]: (name,) for name in properties}, **others}


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


def as_json(answer: object) -> bytes:
    """Write an answer."""
    text = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair has no bytes of its own; JSON can still spell it.
        return json.dumps(answer, separators=(",", ":")).encode()


def read_json(raw: bytes) -> Any:
    """Read JSON; what is invalid, or too much for the reader of the service, raises ``ValueError``."""
    try:
        value = json.loads(raw, parse_constant=_no_number, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if raw.count(b"[") + raw.count(b"{") > MOST_NESTED and _is_deeper(value, MOST_NESTED):
        raise ValueError("nested too deep")
    return value


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not a number in JSON")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _is_deeper(value: Any, levels: int) -> bool:
    holders = [value]
    for _ in range(levels):
        parts = [part for one in holders for part in (one.values() if isinstance(one, dict) else one)]
        holders = [part for part in parts if isinstance(part, (dict, list))]
    return bool(holders)


def _settings(request: Request) -> dict[str, Any]:
    """Return how a list is cut and ordered, by names in lower case; only one list says it in its body."""
    given = request.body if request.operation.body_schema is not None else request.query
    return {name.lower(): value for name, value in given.items() if value is not None}


def _order(settings: Mapping[str, Any]) -> tuple[str, bool]:
    """Return what a list is ordered by, and whether it descends; newest first if nothing is asked for."""
    order = str(settings.get("orderby") or "createdAt")
    direction = settings.get("orderdirection") or ("DESCENDING" if order.lower() == "createdat" else "ASCENDING")
    return order, direction == "DESCENDING"


def _comparable(record: Record, name: str) -> tuple[int, Any]:
    wanted = {"lastinteractionat": "lastinteractiondate"}.get(name.lower(), name.lower())
    value = next((value for key, value in record.values.items() if key.lower() == wanted), None)
    if isinstance(value, (int, float)):
        return 0, value
    if value is None:
        return 2, 0
    try:
        return 0, parse_ticks(value)
    except (TypeError, ValueError):
        return 1, str(value).casefold()
