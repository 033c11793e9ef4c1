"""One API call as data.

A :class:`Call` names an operation of the contract and holds what goes into its path, query and body. Nothing is sent
here: :class:`~airflow_provider_wts.api.client.WtsClient` performs a call. A body holds exactly what the caller set:
what was not given is left out, and ``None``, ``False``, ``0``, ``""`` and ``[]`` go out as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeAlias, TypeVar
from urllib.parse import quote
from uuid import UUID

from airflow_provider_wts.api.errors import WtsInvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_wts.api.contract import Operation

T = TypeVar("T")


class _NotGiven(Enum):
    """The mark of a parameter that the caller did not set. An enum, so that it survives copying and pickling."""

    NOT_GIVEN = "not given"

    def __repr__(self) -> str:
        return "NOT_GIVEN"

    def __str__(self) -> str:
        return "NOT_GIVEN"

    def __bool__(self) -> Literal[False]:
        return False


NotGiven: TypeAlias = Literal[_NotGiven.NOT_GIVEN]
NOT_GIVEN: Final = _NotGiven.NOT_GIVEN

#: A parameter that may be left out, or set to ``None`` to send ``null``.
Optional: TypeAlias = T | NotGiven | None


def given(**values: object) -> dict[str, Any]:
    """Return the values that were set, in the order of the arguments.

    A trailing underscore in a name is dropped, so that ``from_=`` becomes ``from``.

    :param values: values by their name on the wire; those that are :data:`NOT_GIVEN` are left out.
    """
    return {name.removesuffix("_"): value for name, value in values.items() if value is not NOT_GIVEN}


def given_or_left_out(**values: object) -> dict[str, Any] | NotGiven:
    """Return the values that were set, or :data:`NOT_GIVEN` when none was: for an object inside a body."""
    return given(**values) or NOT_GIVEN


class Call(Generic[T]):
    """One call of one operation; ``T`` is the type of its answer.

    :param operation_id: the operation's name in the contract, such as ``send_chatbot``.
    :param path: values of the path parameters by name.
    :param query: values of the query parameters by their exact name; a list is sent as a repeated name.
    :param body: the JSON body; :data:`NOT_GIVEN` sends none.
    :param acts_again: a second identical request acts again, also where the contract says that the operation leaves the
        state that the first one left: what stands in this body starts something.
    :raises WtsInvalidRequestError: when the contract has no such operation.
    """

    # A plain class: a DAG file imports this module, and making a dataclass takes longer than all the rest of it.
    def __init__(
        self,
        operation_id: str,
        path: Mapping[str, object] | None = None,
        query: Mapping[str, object] | None = None,
        body: object = NOT_GIVEN,
        *,
        acts_again: bool = False,
    ) -> None:
        self.operation_id = operation_id
        self.path = path or {}
        self.query = query or {}
        self.body = body
        self.acts_again = acts_again

    def __repr__(self) -> str:
        # No values: they are personal data.
        return f"Call({self.operation_id!r})"

    @cached_property
    def operation(self) -> Operation:
        """The operation as the contract describes it, with the effect that it has with this body."""
        from dataclasses import replace

        from airflow_provider_wts.api.contract import operations

        try:
            found = operations()[self.operation_id]
        except KeyError:
            raise WtsInvalidRequestError(_unknown_operation(self.operation_id, operations())) from None
        return replace(found, effect="once") if self.acts_again else found

    @property
    def method(self) -> str:
        """HTTP method, upper case."""
        return self.operation.method

    @cached_property
    def url_path(self) -> str:
        """The path with its values filled in and percent-encoded.

        :raises WtsInvalidRequestError: when a path value is missing or empty; an empty one would call another path.
        """
        path = self.operation.path
        for parameter in self.operation.parameters:
            if parameter.location != "path":
                continue
            value = self._text("path parameter", parameter.name, self.path.get(parameter.name, ""))
            if not value.strip():
                raise WtsInvalidRequestError(
                    f"{self.operation_id}: the path needs {parameter.name!r}, and it is missing or empty.",
                    operation_id=self.operation_id,
                )
            if value in (".", ".."):
                raise WtsInvalidRequestError(
                    f"{self.operation_id}: {parameter.name!r} is a relative path segment, which is no id.",
                    operation_id=self.operation_id,
                )
            path = path.replace("{" + parameter.name + "}", quote(value, safe=""))
        return path

    @cached_property
    def query_pairs(self) -> list[tuple[str, str]]:
        """The query as name and value pairs, ready to be encoded; ``None`` is left out.

        Lists repeat their name. An object goes as ``name[key]``, which the vendor's framework usually reads; the API's
        documents do not say.

        :raises WtsInvalidRequestError: when a value cannot stand in a query.
        """
        pairs: list[tuple[str, str]] = []
        for name, value in self.query.items():
            if isinstance(value, Mapping):
                members = [(f"{name}[{key}]", member) for key, member in value.items()]
            elif isinstance(value, (list, tuple, set, frozenset)):
                members = [(name, member) for member in value]
            else:
                members = [(name, value)]
            pairs += [(key, self._text("query parameter", key, member)) for key, member in members if _is_set(member)]
        return pairs

    def _text(self, what: str, name: str, value: object) -> str:
        """Write one value as it stands in an address."""
        if value is None or value is NOT_GIVEN:
            return ""
        wire = wire_value(value, f"{self.operation_id}: {what} {name!r}")
        if isinstance(wire, (list, dict)):
            raise WtsInvalidRequestError(
                f"{self.operation_id}: {what} {name!r} is a {type(value).__name__}, which cannot stand in an address.",
                operation_id=self.operation_id,
            )
        text = ("true" if wire else "false") if isinstance(wire, bool) else str(wire)
        try:
            text.encode()
        except UnicodeEncodeError:
            raise WtsInvalidRequestError(
                f"{self.operation_id}: {what} {name!r} holds half a character (a lone surrogate).",
                operation_id=self.operation_id,
            ) from None
        return text

    @cached_property
    def content(self) -> bytes | None:
        """The body as UTF-8 JSON, or ``None`` where the call has none.

        :raises WtsInvalidRequestError: when the body holds something that JSON cannot express.
        """
        if self.body is NOT_GIVEN:
            return None
        try:
            return json.dumps(
                self.body, default=json_value, ensure_ascii=False, allow_nan=False, separators=(",", ":")
            ).encode()
        except (TypeError, ValueError, ArithmeticError, RecursionError) as error:
            raise WtsInvalidRequestError(
                f"{self.operation_id}: the body cannot be written as JSON: {error}", operation_id=self.operation_id
            ) from error

    @property
    def json_body(self) -> Any:
        """The body as it goes out, as plain JSON values; ``None`` where the call has none."""
        return None if self.content is None else json.loads(self.content)

    @property
    def repeatable(self) -> bool:
        """Whether a second identical request does no harm: it reads, or leaves the state that the first one left."""
        return self.operation.effect != "once"

    @property
    def reads(self) -> bool:
        """Whether the call changes nothing."""
        return self.operation.effect == "read"

    def problems(self) -> list[str]:
        """Say what does not fit the contract: one sentence each, none of them quoting a value."""
        from airflow_provider_wts.api.contract.check import check_request

        content = self.content
        return check_request(
            self.operation,
            {name: self._text("path parameter", name, value) for name, value in self.path.items() if _is_set(value)},
            {
                name: wire_value(value, f"{self.operation_id}: query parameter {name!r}")
                for name, value in self.query.items()
                if _is_set(value)
            },
            None if content is None else json.loads(content),
            has_body=content is not None,
        )

    def checked(self) -> Call[T]:
        """Return this call when it fits the contract.

        :raises WtsInvalidRequestError: naming every problem.
        """
        if problems := self.problems():
            raise WtsInvalidRequestError(
                f"{self.operation_id}: the request does not fit the contract: {'; '.join(problems)}.",
                operation_id=self.operation_id,
            )
        return self

    def at_page(self, number: int, size: int | None = None) -> Call[T]:
        """Return the same call for one page of its list.

        :param number: page number, counted from 1.
        :param size: items per page, 1 to 100; ``None`` leaves the size as it stands.
        :raises WtsInvalidRequestError: when the operation is not paged.
        """
        place = self.operation.page_number_in
        if place is None:
            raise WtsInvalidRequestError(
                f"{self.operation_id} is not paged: it answers everything at once.", operation_id=self.operation_id
            )
        where, name = place
        size_name = "pageSize" if where == "body" else "PageSize"
        values: dict[str, object] = {name: number} if size is None else {name: number, size_name: size}
        if where == "query":
            return Call(self.operation_id, self.path, {**self.query, **values}, self.body)
        body = {} if self.body is NOT_GIVEN else self.body
        if not isinstance(body, Mapping):
            raise WtsInvalidRequestError(f"{self.operation_id}: the body is no object.", operation_id=self.operation_id)
        return Call(self.operation_id, self.path, self.query, {**body, **values})


def utc(moment: datetime) -> str:
    """Write a moment as the API expects it: ISO 8601 in UTC with ``Z``.

    :param moment: an aware datetime.
    :raises WtsInvalidRequestError: when it is naive, since the API would read it as another moment.
    """
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise WtsInvalidRequestError(
            f"{moment.isoformat()} has no time zone. Give an aware datetime, for example {moment.isoformat()}-03:00."
        )
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        raise WtsInvalidRequestError(f"{moment.isoformat()} is out of range.") from None
    text = moment.isoformat(timespec="microseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")


def moment(text: Any) -> datetime:
    """Read a moment as the API writes it, with 0 to 7 digits of a fraction.

    :param text: the moment; one that cannot be read is taken for the end of time.
    """
    try:
        parsed = datetime.fromisoformat(str(text))
    except ValueError:
        return datetime.max.replace(tzinfo=UTC)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def json_value(value: object) -> object:
    """Turn what JSON does not know into what the API expects: moments, dates, enums, sets and mappings.

    :param value: the value.
    :raises TypeError: when JSON has no word for it.
    """
    if value is NOT_GIVEN:
        raise TypeError("a value inside was not given")
    if isinstance(value, datetime):
        return utc(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        # In a stable order, so that the same request is the same bytes.
        return sorted(value, key=str)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def wire_value(value: object, where: str) -> object:
    """Turn a path or query value into its JSON form, lists item by item.

    :param value: the value.
    :param where: what it is, for the error.
    :raises WtsInvalidRequestError: when it has none.
    """
    if isinstance(value, (list, tuple, set, frozenset)):
        return [wire_value(item, where) for item in value if _is_set(item)]
    # An enum may be text or a number, too, and would then go out as its name.
    if isinstance(value, (str, int, dict)) and not isinstance(value, Enum):
        return value
    if isinstance(value, float) and value - value == 0:
        return value
    try:
        return json_value(value)
    except (TypeError, ArithmeticError) as error:
        raise WtsInvalidRequestError(f"{where} cannot be written: {error}.") from None


def _is_set(value: object) -> bool:
    return value is not None and value is not NOT_GIVEN


def _unknown_operation(operation_id: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(operation_id, known, n=3)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    return f"The WTS Chat contract has no operation {operation_id!r}.{hint}"
