"""One API call as data.

A :class:`Call` names an operation of the contract, with its path, query and body. It sends nothing:
:class:`~airflow_provider_wts.api.client.WtsClient` performs a call. The body contains exactly what the caller set:
unset values are omitted, but ``None``, ``False``, ``0``, ``""`` and ``[]`` go out as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic
from urllib.parse import quote

from airflow_provider_wts.api.errors import WtsInvalidRequestError, quoted
from airflow_provider_wts.api.wire import UNSET, T, _is_set, json_value, wire_value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_wts.api.contract import Operation


class Call(Generic[T]):
    """One call of one operation; ``T`` is the type of its answer.

    :param operation_id: the operation's name in the contract, such as ``send_chatbot``.
    :param path: values of the path parameters by name.
    :param query: values of the query parameters by their exact name; a list repeats the name.
    :param body: the JSON body; :data:`UNSET` for none.
    :param acts_again: whether this body starts something, so that a second identical request would act again even
        though the contract calls the operation idempotent.
    :param lenient: whether fields of the answer that do not match the contract count as missing.
    :raises WtsInvalidRequestError: when the contract has no such operation.
    """

    # Not a dataclass: a DAG file imports this module, and creating one takes longer than the rest of it.
    def __init__(
        self,
        operation_id: str,
        path: Mapping[str, object] | None = None,
        query: Mapping[str, object] | None = None,
        body: object = UNSET,
        *,
        acts_again: bool = False,
        lenient: bool = False,
    ) -> None:
        self.operation_id = operation_id
        self.path = path or {}
        self.query = query or {}
        self.body = body
        self.acts_again = acts_again
        self.lenient = lenient

    def __repr__(self) -> str:
        # Without values, which may be personal data.
        return f"Call({self.operation_id!r})"

    @cached_property
    def operation(self) -> Operation:
        """The operation in the contract, with the effect that it has with this body."""
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

        :raises WtsInvalidRequestError: when a path value is missing or empty, which would call another path.
        """
        path = self.operation.path
        for parameter in self.operation.parameters:
            if parameter.location != "path":
                continue
            value = self._text("path parameter", parameter.name, self.path.get(parameter.name, ""))
            if not value.strip():
                raise self._invalid(f"the path parameter {parameter.name!r} is missing or empty.")
            if value in (".", ".."):
                raise self._invalid(f"{parameter.name!r} is a relative path segment, not an ID.")
            path = path.replace("{" + parameter.name + "}", quote(value, safe=""))
        return path

    @cached_property
    def query_pairs(self) -> list[tuple[str, str]]:
        """The query as name and value pairs, ready to be encoded; ``None`` is omitted.

        Lists repeat their name. An object becomes ``name[key]``, which the vendor's framework usually parses; the API
        does not document it.

        :raises WtsInvalidRequestError: when a value cannot be written in a query.
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

    def _invalid(self, problem: str) -> WtsInvalidRequestError:
        return WtsInvalidRequestError(f"{self.operation_id}: {problem}", operation_id=self.operation_id)

    def _text(self, what: str, name: str, value: object) -> str:
        """Return a value as text for an address."""
        if value is None or value is UNSET:
            return ""
        wire = wire_value(value, f"{self.operation_id}: {what} {name!r}")
        if isinstance(wire, (list, dict)):
            raise self._invalid(f"{what} {name!r} is a {type(value).__name__}, which cannot be in an address.")
        text = ("true" if wire else "false") if isinstance(wire, bool) else str(wire)
        try:
            text.encode()
        except UnicodeEncodeError:
            raise self._invalid(f"{what} {name!r} contains half a character (a lone surrogate).") from None
        return text

    @cached_property
    def content(self) -> bytes | None:
        """The body as UTF-8 JSON, or ``None`` without a body.

        :raises WtsInvalidRequestError: when the body contains something that JSON cannot express.
        """
        if self.body is UNSET:
            return None
        try:
            return json.dumps(
                self.body, default=json_value, ensure_ascii=False, allow_nan=False, separators=(",", ":")
            ).encode()
        except (TypeError, ValueError, ArithmeticError, RecursionError) as error:
            raise self._invalid(f"the body cannot be written as JSON: {error}") from error

    @property
    def json_body(self) -> Any:
        """The body as plain JSON values, or ``None`` without a body."""
        return None if self.content is None else json.loads(self.content)

    @property
    def repeatable(self) -> bool:
        """Whether a second identical request does no harm: it only reads, or is idempotent."""
        return self.operation.effect != "once"

    @property
    def reads(self) -> bool:
        """Whether the call changes nothing."""
        return self.operation.effect == "read"

    @property
    def asked_id(self) -> str | None:
        """The ID of the object that the call reads; ``None`` if it does not read one by ID."""
        if self.reads and self.operation.path.endswith(("/{id}", "/{id}/status")):
            return str(self.path.get("id"))
        return None

    @property
    def sender_id(self) -> str | None:
        """The caller's own ID of the send that the call makes, or ``None``."""
        value = self.body.get("senderId") if isinstance(self.body, Mapping) else None
        return value if isinstance(value, str) else None

    @property
    def may_skip(self) -> bool:
        """Whether the call may start nothing, because it says so: what that answers is not documented."""
        options = self.body.get("options") if isinstance(self.body, Mapping) else None
        flags = ("skipIfBotInExecution", "skipIfInProgress")
        return isinstance(options, Mapping) and any(options.get(flag) is True for flag in flags)

    def problems(self) -> list[str]:
        """Return what does not match the contract: one sentence each, without quoting values."""
        from airflow_provider_wts.api.contract.check import check_request

        return check_request(
            self.operation,
            {name: self._text("path parameter", name, value) for name, value in self.path.items() if _is_set(value)},
            {
                name: wire_value(value, f"{self.operation_id}: query parameter {name!r}")
                for name, value in self.query.items()
                if _is_set(value)
            },
            self.json_body,
            has_body=self.content is not None,
        )

    def checked(self) -> Call[T]:
        """Return this call if it matches the contract.

        :raises WtsInvalidRequestError: naming every problem.
        """
        if problems := self.problems():
            raise self._invalid(f"the request does not match the API's contract: {'; '.join(problems)}.")
        return self

    def leniently(self) -> Call[T]:
        """Return the same read, in whose answer fields that do not match the contract count as missing."""
        return Call(self.operation_id, self.path, self.query, self.body, lenient=True)

    def at_page(self, number: int, size: int | None = None) -> Call[T]:
        """Return the same call for one page of its list.

        :param number: page number, from 1.
        :param size: items per page, 1 to 100; ``None`` keeps the call's own size.
        :raises WtsInvalidRequestError: when the operation is not paged.
        """
        place = self.operation.page_number_in
        if place is None:
            raise WtsInvalidRequestError(
                f"{self.operation_id} is not paged: it returns everything at once.", operation_id=self.operation_id
            )
        where, name = place
        size_name = "pageSize" if where == "body" else "PageSize"
        values: dict[str, object] = {name: number} if size is None else {name: number, size_name: size}
        if where == "query":
            return Call(self.operation_id, self.path, {**self.query, **values}, self.body, lenient=self.lenient)
        body = {} if self.body is UNSET else self.body
        if not isinstance(body, Mapping):
            raise self._invalid("the body must be an object.")
        return Call(self.operation_id, self.path, self.query, {**body, **values}, lenient=self.lenient)


def _unknown_operation(operation_id: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(operation_id, known, n=3)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    return f"The WTS Chat contract has no operation {quoted(operation_id)}.{hint}"


def __getattr__(name: str) -> Any:
    from airflow_provider_wts.moved import find

    return find(__name__, name)
