"""The WTS Chat API as data: 109 operations of three services, from the JSON files beside this module.

``tools/generate_contract.py`` generates the files from ``docs/wts-api/*.yaml``. They are loaded on first use, which
takes a few milliseconds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICES = ("chat", "core", "crm")

Effect = Literal["read", "idempotent", "once"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One path or query parameter of an operation.

    :param name: its exact name on the wire; query names are PascalCase, and the API ignores a misspelled one.
    :param location: ``path`` or ``query``.
    :param schema: its JSON schema, with references unresolved.
    """

    name: str
    location: Literal["path", "query"]
    required: bool
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the contract.

    :param operation_id: its name, unique across the three services.
    :param body_schema: JSON schema of the request body; ``None`` without a body.
    :param body_required: whether the contract requires a body.
    :param answer_schema: JSON schema of the answer with status 200; ``None`` if the answer is empty.
    :param effect: ``read`` changes nothing, ``idempotent`` has no further effect the second time, ``once`` acts again
        each time (a second message, a second card).
    :param send_limit: whether it also counts against the limit of the send family (1,000 requests in 2 minutes).
    """

    operation_id: str
    service: str
    method: str
    path: str
    parameters: tuple[Parameter, ...]
    body_schema: Mapping[str, Any] | None
    body_required: bool
    answer_schema: Mapping[str, Any] | None
    effect: Effect
    send_limit: bool
    summary: str

    @property
    def paged(self) -> bool:
        """Whether the answer is a page of a longer list."""
        return self.page_number_in is not None

    @property
    def page_number_in(self) -> tuple[Literal["query", "body"], str] | None:
        """Where the page number goes (``query`` or ``body``, and its name), or ``None`` if it is not paged."""
        for parameter in self.parameters:
            if parameter.name in ("PageNumber", "Page"):
                return "query", parameter.name
        if self.operation_id == "filter_contacts":
            return "body", "pageNumber"
        return None

    def parameter(self, name: str) -> Parameter | None:
        """Return the path or query parameter with this exact name."""
        return next((parameter for parameter in self.parameters if parameter.name == name), None)


@cache
def document(service: str) -> Mapping[str, Any]:
    """Return the OpenAPI document of a service, without its prose."""
    text = Path(__file__).with_name(f"{service}.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return MappingProxyType(loaded)


def resolve(service: str, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Resolve a schema or parameter that may be a reference."""
    while "$ref" in schema:
        node: Any = document(service)
        for part in schema["$ref"].removeprefix("#/").split("/"):
            node = node[part]
        schema = node
    return schema


@cache
def operations() -> Mapping[str, Operation]:
    """Return all operations by their operationId."""
    found: dict[str, Operation] = {}
    for service in SERVICES:
        for path, methods in document(service)["paths"].items():
            for method, node in methods.items():
                found[node["operationId"]] = _operation(service, path, method, node)
    return MappingProxyType(found)


def _operation(service: str, path: str, method: str, node: Mapping[str, Any]) -> Operation:
    parameters = (resolve(service, parameter) for parameter in node.get("parameters", ()))
    body = node.get("requestBody")
    return Operation(
        operation_id=node["operationId"],
        service=service,
        method=method.upper(),
        path=path,
        parameters=tuple(
            Parameter(
                name=parameter["name"],
                location=parameter["in"],
                required=bool(parameter.get("required")),
                schema=parameter["schema"],
            )
            for parameter in parameters
        ),
        body_schema=_json_schema(body) if body else None,
        body_required=bool(body and body.get("required")),
        answer_schema=_json_schema(node["responses"].get("200", {})),
        effect=node["x-effect"],
        send_limit=node["x-send-limit"],
        summary=node.get("summary", ""),
    )


def _json_schema(node: Mapping[str, Any]) -> Mapping[str, Any] | None:
    media: Mapping[str, Any] = node.get("content", {}).get("application/json", {})
    return media.get("schema")
