"""Reads a query string as the contract types it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.contract import Operation, Parameter, operations

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def typed_query(
    operation: Operation, pairs: Sequence[tuple[str, str]], *, ignore_case: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """Return the known parameters with their types, and the names that the contract does not know.

    A value that does not fit its type stays text, for the check against the contract to find.

    :param operation: the operation.
    :param pairs: names and values in the order of the query string.
    :param ignore_case: whether names are compared without case.
    """
    known = _query_parameters(operation.operation_id)
    folded = {name.lower(): name for name in known} if ignore_case else {}
    typed: dict[str, Any] = {}
    unknown: list[str] = []
    for given, text in pairs:
        name = folded.get(given.lower(), given)
        if name in known:
            schema = known[name].schema
            if schema.get("type") == "array":
                typed.setdefault(name, []).append(_value(schema["items"], text))
            else:
                typed[name] = _value(schema, text)
            continue
        holder, key = _member(name)
        if holder in known and known[holder].schema.get("type") == "object":
            typed.setdefault(holder, {})[key] = text
        else:
            unknown.append(given)
    return typed, unknown


def _member(name: str) -> tuple[str, str]:
    """Split ``Metadata[key]`` or ``Metadata.key``; which of the two the service takes is not documented."""
    if name.endswith("]") and "[" in name:
        holder, _, key = name[:-1].partition("[")
        return holder, key
    holder, _, key = name.partition(".")
    return holder, key


def _value(schema: Mapping[str, Any], text: str) -> Any:
    kind = schema.get("type")
    if kind == "integer":
        try:
            return int(text)
        except ValueError:
            return text
    if kind == "boolean":
        return {"true": True, "false": False}.get(text.lower(), text)
    choices = schema.get("enum") or _referred_choices(schema)
    if choices:
        return _same_ignoring_case(choices, text)
    return text


def _same_ignoring_case(choices: Iterable[Any], text: str) -> str:
    return next((choice for choice in choices if str(choice).lower() == text.lower()), text)


def _referred_choices(schema: Mapping[str, Any]) -> list[Any]:
    for part in schema.get("anyOf", ()) or schema.get("allOf", ()):
        if "enum" in part:
            return list(part["enum"])
    return []


@cache
def _query_parameters(operation_id: str) -> dict[str, Parameter]:
    found = operations()[operation_id].parameters
    return {parameter.name: parameter for parameter in found if parameter.location == "query"}
