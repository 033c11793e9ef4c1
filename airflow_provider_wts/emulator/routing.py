"""Finds the operation of a request; segments that the contract spells out win over ``{id}``."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from urllib.parse import unquote

from airflow_provider_wts.api.contract import SERVICES, Operation, operations


@dataclass
class _Node:
    children: dict[str, _Node] = field(default_factory=dict)
    placeholder: _Node | None = None
    operations: dict[str, tuple[Operation, tuple[str, ...]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Route:
    """What a path leads to.

    :param operation: the operation; ``None`` where the path is known and the method is not.
    :param path: path parameters by name, decoded.
    """

    operation: Operation | None
    path: dict[str, str]


def has_service(path: str) -> bool:
    """Say whether a path begins with a service of the API.

    :param path: the path, still encoded.
    """
    return path.split("/", 2)[1:2] != [] and path.split("/", 2)[1] in SERVICES


def find_route(method: str, path: str) -> Route | None:
    """Return what a request leads to, ``None`` where the path is unknown.

    :param method: HTTP method.
    :param path: the path, still encoded, so that ``%2F`` does not divide it.
    """
    segments = [unquote(segment) for segment in path.strip("/").split("/")]
    known = False
    for node, values in _matches(_tree(), segments, []):
        known = True
        if method in node.operations:
            operation, names = node.operations[method]
            return Route(operation, dict(zip(names, values, strict=True)))
    return Route(None, {}) if known else None


def _matches(node: _Node, segments: list[str], values: list[str]) -> list[tuple[_Node, list[str]]]:
    if not segments:
        return [(node, values)] if node.operations else []
    found: list[tuple[_Node, list[str]]] = []
    child = node.children.get(segments[0])
    if child is not None:
        found += _matches(child, segments[1:], values)
    if node.placeholder is not None and segments[0]:
        found += _matches(node.placeholder, segments[1:], [*values, segments[0]])
    return found


@cache
def _tree() -> _Node:
    root = _Node()
    for operation in operations().values():
        node, names = root, []
        for segment in operation.path.strip("/").split("/"):
            if segment.startswith("{"):
                names.append(segment.strip("{}"))
                node.placeholder = node.placeholder or _Node()
                node = node.placeholder
            else:
                node = node.children.setdefault(segment, _Node())
        node.operations[operation.method] = (operation, tuple(names))
    return root
