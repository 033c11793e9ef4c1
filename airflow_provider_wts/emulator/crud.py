"""What a handler of an operation gets and gives, and how lists are filtered, ordered and cut into pages."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Final

from airflow_provider_wts.api.contract import Operation, operations, resolve
from airflow_provider_wts.emulator.clock import parse_ticks
from airflow_provider_wts.emulator.conversation import contacts_named
from airflow_provider_wts.emulator.errors import Refusal, bad_request
from airflow_provider_wts.emulator.state import ALWAYS, Account, Bounds, Contact, Record, RecordT, Table


@dataclass(frozen=True)
class Request:
    """A request that fits the contract.

    :param account: the account.
    :param operation: the operation.
    :param path: path parameters.
    :param query: query parameters, typed.
    :param body: the JSON body, ``{}`` where there is none.
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
        """Say whether a detail is in the answer.

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

    :param done: says whether it happened.
    :param seconds: seconds to wait at most, emulated or real, whichever are over first.
    :param answer: makes the answer.
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
    """Register a function as the handler of operations.

    :param operation_ids: their operationIds.
    """

    def register(handler: Handler) -> Handler:
        for operation_id in operation_ids:
            HANDLERS[operation_id] = handler
        return handler

    return register


def plain(account: Account, record: Record) -> dict[str, Any]:
    """Return a record whose properties are in the answer as they are kept."""
    return {**account.stamped(record), **record.values}


def detail(answer: dict[str, Any], request: Request, name: str, make: Callable[[], Any], *asked: str) -> None:
    """Put a detail into an answer, in the way the switches say where it was not asked for.

    :param name: name of the property.
    :param make: makes its value.
    :param asked: names under which it can be asked for.
    """
    answer.pop(name, None)
    if request.shows(*asked):
        set_unless_null(answer, name, make())
    elif request.account.switches.details_not_asked == "null":
        answer[name] = None


def set_unless_null(answer: dict[str, Any], name: str, value: Any) -> None:
    """Put a property into an answer; without a value it is left out, as the contract allows no null for objects.

    :param name: name of the property.
    """
    if value is None:
        answer.pop(name, None)
    else:
        answer[name] = value


def date_bounds(request: Request, name: str, given: Mapping[str, Any] | None = None) -> Bounds:
    """Return the range that a date filter asks for.

    :param name: name of the filter, such as ``UpdatedAt``.
    :param given: a filter object of a body, with ``before`` and ``after``; the query when left out.
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


def select(
    request: Request,
    table: Table[RecordT],
    keep: Callable[[RecordT], bool] | None = None,
    *,
    among: Sequence[RecordT] | None = None,
    created: Bounds | None = None,
    updated: Bounds | None = None,
) -> Sequence[RecordT]:
    """Return the records of a list in their order, without cutting pages.

    :param request: the request, whose date filters and order count.
    :param table: all records.
    :param keep: the other filters.
    :param among: the few records that can match at all, oldest first; all of the table when left out.
    :param created: filter of ``createdAt``; from the query when left out.
    :param updated: filter of ``updatedAt``; likewise.
    """
    created = date_bounds(request, "CreatedAt") if created is None else created
    updated = date_bounds(request, "UpdatedAt") if updated is None else updated
    order, descending = _order(request)
    by_change = order.lower() == "updatedat"
    found: Sequence[RecordT]
    if among is not None:
        found = [one for one in among if created.holds(one.created) and updated.holds(one.updated)]
        if by_change:
            found = sorted(found, key=_changed)
    elif updated != ALWAYS or by_change:
        found = table.updated_in(updated)
        if created != ALWAYS:
            found = [one for one in found if created.holds(one.created)]
        if not by_change:
            found.sort(key=_made)
    else:
        found = table.created_in(created)
    if keep is not None:
        found = [one for one in found if keep(one)]
    if not by_change and order.lower() != "createdat":
        found = sorted(found, key=lambda one: _comparable(one, order))
    return Backwards(found) if descending else found


class Backwards(Sequence[RecordT]):
    """A sequence read from its end, without a copy.

    :param forwards: the sequence.
    """

    def __init__(self, forwards: Sequence[RecordT]) -> None:
        self._forwards = forwards

    def __len__(self) -> int:
        return len(self._forwards)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            first, last, _ = place.indices(len(self._forwards))
            end = len(self._forwards)
            return self._forwards[max(end - last, 0) : end - first][::-1]
        return self._forwards[-1 - place]


def page(request: Request, records: Sequence[RecordT], show: Callable[[RecordT], Any]) -> dict[str, Any]:
    """Cut the page out of a list that the request asks for.

    :param records: the whole list.
    :param show: makes the answer's item of a record.
    """
    switches = request.account.switches
    settings = _settings(request)
    number = _first(settings, "PageNumber", "pageNumber", "Page", default=1)
    size = _first(settings, "PageSize", "pageSize", default=15)
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
    order, descending = _order(request)
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
        "items": [show(record) for record in records[(number - 1) * size : number * size]],
    }


def whole(records: Sequence[Any]) -> dict[str, Any]:
    """Wrap a few items as the single page that some calls answer with.

    :param records: the items.
    """
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


def lower(values: Iterable[object] | None) -> frozenset[str] | None:
    """Return texts in lower case for comparing without case; ``None`` where no filter is given.

    :param values: the texts.
    """
    return None if not values else frozenset(str(value).lower() for value in values)


def within(value: object, wanted: frozenset[str] | None) -> bool:
    """Say whether a value passes a filter.

    :param wanted: what :func:`lower` returned.
    """
    return wanted is None or str(value).lower() in wanted


@dataclass(frozen=True)
class Resource:
    """A plain kind of object: it has the operations that the contract names after it, and their answers' properties.

    For ``tag`` these are ``list_tags``, ``get_tag``, ``create_tag``, ``update_tag`` and ``delete_tag``, as far as there
    are. One that does more than the others is written by hand, and registered after the resource.

    :param name: what it is called in an operationId.
    :param table: name of its table in the account.
    :param what: what it is, in Portuguese with its article.
    :param show: makes an answer; properties that an operation does not declare are left out.
    :param keep: makes the filter of a list.
    :param fields: for each name that ``fields`` of an update takes, its properties; without it all are written.
    :param written: checks what is written to a new or an existing object, and returns it as it is kept.
    :param defaults: what a new object has beside.
    :param leaves: what follows when one is deleted, or why it cannot be.
    :param path: name of the path parameter.
    :param other_id: a property that names it as well as its id.
    """

    name: str
    table: str
    what: str
    show: Callable[[Request, Record], dict[str, Any]] = lambda request, record: plain(request.account, record)
    keep: Callable[[Request], Callable[[Record], bool]] | None = None
    fields: Mapping[str, tuple[str, ...]] | None = None
    written: Callable[[Request, Mapping[str, Any], Record | None], Mapping[str, Any]] = lambda request, given, old: (
        given
    )
    defaults: Mapping[str, Any] = field(default_factory=dict)
    leaves: Callable[[Request, Record], None] = lambda request, record: None
    path: str = "id"
    other_id: str | None = None

    def __post_init__(self) -> None:
        served: dict[str, Handler] = {
            f"list_{self.name}s": self._list,
            f"get_{self.name}": lambda request: self.shown(request, self.of(request)),
            f"create_{self.name}": lambda request: self.shown(request, self.create(request)),
            f"update_{self.name}": lambda request: self.shown(request, self.update(request)),
            f"delete_{self.name}": self._delete,
        }
        HANDLERS.update({name: handler for name, handler in served.items() if name in operations()})

    def all(self, account: Account) -> Table[Record]:
        """Return its table."""
        found: Table[Record] = getattr(account, self.table)
        return found

    def of(self, request: Request, path: str = "") -> Record:
        """Return the object that the path names.

        :param path: name of the path parameter, if it is another one than that of the resource.
        """
        table, identifier = self.all(request.account), request.path[path or self.path]
        if self.other_id is not None:
            wanted = identifier.lower()
            identifier = next((one.id for one in table.by_creation() if one[self.other_id] == wanted), identifier)
        return request.account.need(table, identifier, self.what)

    def shown(self, request: Request, record: Record) -> dict[str, Any]:
        """Return an object as the operation's answer carries it.

        :param record: the object.
        """
        declared = _declared(request.operation.operation_id)
        return {name: value for name, value in self.show(request, record).items() if name in declared}

    def create(self, request: Request) -> Record:
        """Create an object from the body."""
        account = request.account
        given = self.written(request, request.body, None)
        values = {**deepcopy(dict(self.defaults)), **{name: one for name, one in given.items() if one is not None}}
        if "companyId" in _declared(request.operation.operation_id):
            values["companyId"] = account.id
        return account.new(self.all(account), values)

    def update(self, request: Request) -> Record:
        """Write to an object what the body says."""
        record = self.of(request)
        given = request.body if self.fields is None else changes(request, self.fields)
        record.values.update(self.written(request, given, record))
        request.account.touch(self.all(request.account), record)
        return record

    def _list(self, request: Request) -> Any:
        table, keep = self.all(request.account), None if self.keep is None else self.keep(request)
        if request.operation.paged:
            return page(request, select(request, table, keep), lambda record: self.shown(request, record))
        return [self.shown(request, record) for record in table.by_creation() if keep is None or keep(record)]

    def _delete(self, request: Request) -> Empty:
        record = self.of(request)
        self.leaves(request, record)
        self.all(request.account).remove(record)
        return EMPTY


@cache
def _declared(operation_id: str) -> frozenset[str]:
    """Return the properties of the objects that an operation answers with."""
    operation = operations()[operation_id]
    schema = resolve(operation.service, operation.answer_schema or {})
    if operation.paged:
        schema = schema["properties"]["items"]
    if "items" in schema:
        schema = resolve(operation.service, schema["items"])
    return frozenset(schema.get("properties", ()))


@dataclass(frozen=True)
class Members:
    """The contacts in an object of a resource, with the operations that the contract names after both.

    For ``portfolio`` these are ``list_portfolio_contacts``, ``add_portfolio_contact`` and ``remove_portfolio_contact``,
    and the last two for many, which end in ``contacts_batch``.

    :param holder: the resource that holds them.
    :param table: name of their table in the account.
    :param show: makes an answer.
    :param keep: makes the filter of the list.
    :param add: puts a contact into an object, and returns the membership.
    :param remove: takes one out, if it is in it.
    :param unknown: what a batch does with a number that has no contact: ``create``, ``skip`` or ``refuse``.
    """

    holder: Resource
    table: str
    show: Callable[[Request, Record], dict[str, Any]]
    keep: Callable[[Request], Callable[[Record], bool]]
    add: Callable[[Account, Record, Contact], Record]
    remove: Callable[[Account, Record, Contact], None]
    unknown: Callable[[Account], str] = lambda account: "create"

    def __post_init__(self) -> None:
        name = self.holder.name
        handles(f"list_{name}_contacts")(self._list)
        handles(f"add_{name}_contact")(self._add)
        handles(f"add_{name}_contacts_batch")(self._add_batch)
        handles(f"remove_{name}_contact")(self._remove)
        handles(f"remove_{name}_contacts_batch")(self._remove_batch)

    def of(self, account: Account, holder: Record) -> list[Record]:
        """Return the members of an object.

        :param holder: the object.
        """
        table: Table[Record] = getattr(account, self.table)
        return [member for member in table.by_creation() if member[f"{self.holder.name}Id"] == holder.id]

    def _list(self, request: Request) -> dict[str, Any]:
        table: Table[Record] = getattr(request.account, self.table)
        members = self.of(request.account, self.holder.of(request))
        found = select(request, table, self.keep(request), among=members)
        return page(request, found, lambda member: self.show(request, member))

    def _add(self, request: Request) -> dict[str, Any]:
        account, holder = request.account, self.holder.of(request)
        return self.show(request, self.add(account, holder, account.contact_named(request.body)))

    def _add_batch(self, request: Request) -> dict[str, Any]:
        holder = self.holder.of(request)
        contacts = contacts_named(request.account, request.body, unknown=self.unknown(request.account))
        return whole([self.show(request, self.add(request.account, holder, contact)) for contact in contacts])

    def _remove(self, request: Request) -> Empty:
        self.remove(request.account, self.holder.of(request), request.account.contact_named(request.body))
        return EMPTY

    def _remove_batch(self, request: Request) -> Empty:
        holder = self.holder.of(request)
        for contact in contacts_named(request.account, request.body, unknown="skip"):
            self.remove(request.account, holder, contact)
        return EMPTY


def fields_of(*properties: str, **others: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the names that ``fields`` of an update takes, each with its properties of the body.

    :param properties: those that ``fields`` calls by their own name with a capital.
    :param others: the properties of the other names.
    """
    return {**{name[0].upper() + name[1:]: (name,) for name in properties}, **others}


def changes(request: Request, sources: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """Return what an update writes: the properties that ``fields`` names, with their new values.

    :param request: the update.
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

    :param existing: what is there.
    :param given: what is written.
    :param way: ``merge`` or ``replace``.
    """
    together = {**(existing if way == "merge" else {}), **(given or {})}
    return {name: value for name, value in together.items() if value is not None}


def as_json(answer: object) -> bytes:
    """Write an answer.

    :param answer: JSON data.
    """
    text = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair has no bytes of its own; JSON can still spell it.
        return json.dumps(answer, separators=(",", ":")).encode()


def read_json(raw: bytes) -> Any:
    """Read JSON; what is none, or more than the service's own reader takes, raises ``ValueError``.

    :param raw: the text.
    """
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


def _settings(request: Request) -> Mapping[str, Any]:
    """Return where a list's page and order are: in the body of the one list that has a body, else in the query."""
    found: Mapping[str, Any] = request.body if request.operation.body_schema is not None else request.query
    return found


def _order(request: Request) -> tuple[str, bool]:
    """Return what a list is ordered by, and whether it descends; newest first where nothing is said."""
    settings = _settings(request)
    order = str(settings.get("OrderBy") or settings.get("orderBy") or "createdAt")
    direction = settings.get("OrderDirection") or settings.get("orderDirection")
    return order, direction == "DESCENDING" or (direction is None and order.lower() == "createdat")


def _first(settings: Mapping[str, Any], *names: str, default: int) -> int:
    for name in names:
        if settings.get(name) is not None:
            return int(settings[name])
    return default


def _changed(record: Record) -> int:
    return record.updated


def _made(record: Record) -> int:
    return record.created


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
