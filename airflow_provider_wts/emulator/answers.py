"""What a handler of an operation gets and gives."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from airflow_provider_wts.api.contract import Operation, operations, resolve
from airflow_provider_wts.emulator.state import Account, Contact, Record


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
        """Return whether a detail is in the answer: one of its names must be asked for."""
        if self.account.switches.details_not_asked == "always":
            return True
        details = self.details
        return bool(details) and ("all" in details or any(name.lower() in details for name in names))


@dataclass(frozen=True)
class Answer:
    """An answer before it goes over the wire.

    :param headers: headers other than those of the body.
    """

    status: int
    body: bytes
    headers: Sequence[tuple[str, str]] = ()
    content_type: str = "application/json; charset=utf-8"


class Empty:
    """An answer without a body."""


EMPTY: Final = Empty()


@dataclass(frozen=True)
class Later:
    """An answer that waits until something has happened, or a time limit is reached.

    :param seconds: the limit in seconds, emulated or real, whichever pass first.
    """

    done: Callable[[], bool]
    seconds: float
    answer: Callable[[], Any]


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

NOTHING: Mapping[str, Any] = MappingProxyType({})
_EMPTY = {"boolean": False, "integer": 0}


def by_name(*names: str, **others: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return which names belong to each name: to most just itself, so details are asked for and fields are written."""
    return {**{name: (name,) for name in names}, **others}


def answer(
    request: Request, record: Record, details: Details = NOTHING, *, part: str = "", whole: bool = False, **values: Any
) -> dict[str, Any]:
    """Return an object as the operation answers it: the properties that the contract declares, set or empty.

    :param part: the property of the answer that holds such objects, if they are not the answer itself.
    :param whole: whether all details are in the answer, asked for or not.
    :param values: what is not kept in the record, or differs from it; a function makes its value when it is shown.
    """
    shown: dict[str, Any] = {}
    known = {**_known(request.account, record), **values}
    for name, schema, empty, nullable in _declared(request.operation.operation_id, part):
        if name not in details or whole or request.shows(*details[name]):
            value = known.get(name)
            if not isinstance(value, str):
                value = _value(request, schema, value, empty)
            if value is not None or nullable:
                shown[name] = value
        elif request.account.switches.details_not_asked == "null":
            shown[name] = None
    return shown


def _known(account: Account, record: Record) -> dict[str, Any]:
    known = {**account.stamped(record), **record.values}
    if isinstance(record, Contact):
        known["tagsId"], known["tagsName"] = record["tagIds"], lambda: account.tags.names(record["tagIds"])
        # Some answers write these in lower case.
        known["phonenumber"], known["phonenumberFormatted"] = record["phoneNumber"], record["phoneNumberFormatted"]
    return known


def _value(request: Request, schema: Mapping[str, Any], value: Any, empty: Any = None) -> Any:
    """Return the value of a property: another object, or several, as the contract declares them."""
    if value is None:
        return empty
    if isinstance(value, (str, dict, int, float)):
        return value
    if callable(value):
        return _value(request, schema, value(), empty)
    if isinstance(value, list):
        return [_value(request, schema["items"], one) for one in value]
    known, declared = _known(request.account, value), _referred(request.operation.service, schema["$ref"])
    return {name: _value(request, one, known.get(name), nothing) for name, one, nothing, _ in declared}


class _Property(NamedTuple):
    """A property of an answer, and its value if nothing is set."""

    name: str
    schema: Mapping[str, Any]
    empty: Any
    nullable: bool


@cache
def _declared(operation_id: str, part: str) -> list[_Property]:
    """Return the properties of the objects that an operation answers with."""
    service = operations()[operation_id].service
    schema = resolve(service, operations()[operation_id].answer_schema or {})
    if part:
        schema = next(one.schema for one in _declared(operation_id, "") if one.name == part)
    while "items" in schema or {"items", "results"} & schema.get("properties", {}).keys():
        properties = schema.get("properties", {})
        schema = resolve(service, schema.get("items") or properties.get("items") or properties["results"])
    return _properties(schema)


@cache
def _referred(service: str, pointer: str) -> list[_Property]:
    return _properties(resolve(service, {"$ref": pointer}))


def _properties(schema: Mapping[str, Any]) -> list[_Property]:
    return [
        _Property(
            name,
            one,
            _EMPTY.get(str(one.get("type"))),
            "null" in one.get("type", ()) or {"type": "null"} in one.get("anyOf", ()),
        )
        for name, one in schema.get("properties", {}).items()
    ]


MOST_NESTED = 64
"""How deep a body may be nested: the limit of .NET, which the service runs on."""


def is_json(content_type: str | None) -> bool:
    """Return whether a ``Content-Type`` is that of JSON."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    return kind in ("application/json", "text/json") or (kind.startswith("application/") and kind.endswith("+json"))


def as_json(answer: object) -> bytes:
    """Write an answer."""
    text = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        # A lone surrogate cannot be encoded, but JSON can escape it.
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
