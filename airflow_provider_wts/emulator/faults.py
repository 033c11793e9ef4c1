"""Faults on demand: what goes wrong, for which requests, and whether the request takes effect anyway."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Literal, get_args

from airflow_provider_wts.api.contract import operations

Kind = Literal[
    "latency",
    "status",
    "redirect",
    "reset",
    "close",
    "hang",
    "empty",
    "truncated",
    "not_json",
    "oversized",
    "drip_headers",
    "drip_body",
    "bad_content_length",
    "garbage",
    "close_after",
    "close_before_next",
]

KINDS: tuple[str, ...] = get_args(Kind)

Envelope = Literal["business", "technical", "problem", "none", "html"]


@dataclass
class Fault:
    """Something that goes wrong.

    :param kind: what: ``latency`` waits ``seconds``; ``status`` answers ``status``; ``redirect`` answers ``status``
        (302 unless given) to ``location``; ``reset`` breaks the connection, ``close`` ends it, ``hang`` answers
        nothing for ``seconds`` (0 = until the client or the emulator gives up), then ends it; ``empty``,
        ``truncated`` and ``not_json`` spoil the body of a 200; ``oversized`` sends ``size`` bytes; ``drip_headers``
        and ``drip_body`` send one byte every ``seconds``; ``bad_content_length`` announces too much;
        ``garbage`` is not HTTP; ``close_after`` ends the connection right after a good answer without announcing it,
        ``close_before_next`` when the next request on it arrives.
    :param when: ``before`` = the request takes no effect, ``after`` = it does.
    :param operation_id: hits this operation only.
    :param path: hits paths that contain this text.
    :param body: hits requests whose body contains this text.
    :param nth: hits only the n-th request that matches, counted from 1.
    :param every: hits every n-th request that matches.
    :param probability: hits a matching request with this probability.
    :param seed: makes ``probability`` repeatable.
    :param times: how many requests it hits at most; ``None`` = no limit.
    :param status: HTTP status.
    :param retry_after: value of a ``Retry-After`` header.
    :param envelope: body of a ``status``: the service's envelope with a business key or another one, problem details,
        nothing, or a page of a gateway.
    :param key: key of the envelope.
    :param location: the target of a redirect.
    :param seconds: real seconds of ``latency``, ``hang`` and between dripped bytes.
    :param size: bytes of ``oversized``.
    """

    kind: Kind
    when: Literal["before", "after"] = "before"
    operation_id: str | None = None
    path: str | None = None
    body: str | None = None
    nth: int | None = None
    every: int | None = None
    probability: float | None = None
    seed: int = 0
    times: int | None = 1
    status: int = 500
    retry_after: str | None = None
    envelope: Envelope = "technical"
    key: str | None = None
    location: str = "/elsewhere"
    seconds: float = 0.0
    size: int = 64 * 1024 * 1024
    matched: int = field(default=0, init=False)
    hits: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: {self.kind!r} is not a valid fault. It must be one of {list(KINDS)}.")
        if self.when not in ("before", "after"):
            raise ValueError("when: must be 'before' or 'after' the request takes effect.")
        if self.envelope not in get_args(Envelope):
            raise ValueError(f"envelope: must be one of {list(get_args(Envelope))}.")
        for name in ("nth", "every", "probability", "times", "status", "seconds", "size"):
            value = getattr(self, name)
            least = 1 if name in ("nth", "every") else 0
            if value is not None and not (isinstance(value, (int, float)) and least <= value < math.inf):
                raise ValueError(f"{name}: must be a number of at least {least}.")
        if not 200 <= self.status < 600:
            raise ValueError("status: must be an HTTP status from 200 to 599.")
        for name in ("operation_id", "path", "body", "retry_after", "key", "location"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value.isprintable()):
                raise ValueError(f"{name}: must be a text without line breaks.")
        _check_operation(self.operation_id)
        if self.kind == "redirect" and not 300 <= self.status < 400:
            self.status = 302
        self._chance = random.Random(self.seed)

    def hits_request(self, operation_id: str | None, path: str, body: bytes) -> bool:
        """Return whether it hits a request, and count it."""
        if (
            (self.times is not None and self.hits >= self.times)
            or self.operation_id not in (None, operation_id)
            or (self.path or "") not in path
            or (self.body or "").encode() not in body
        ):
            return False
        self.matched += 1
        if self.nth not in (None, self.matched) or self.matched % (self.every or 1):
            return False
        if self.probability is not None and self._chance.random() >= self.probability:
            return False
        self.hits += 1
        return True


def _check_operation(operation_id: str | None) -> None:
    if operation_id is not None and operation_id not in operations():
        close = get_close_matches(operation_id, operations(), n=1)
        hint = f"Did you mean {close[0]!r}?" if close else "Example: 'send_text'."
        raise ValueError(f"operation_id: {operation_id!r} is not an operation of the API. {hint}")


class Faults:
    """The faults that are set: the first one that hits a request counts, and every latency is added."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, kind: Kind, **settings: Any) -> Fault:
        """Set a fault and return it; its ``hits`` count the requests that it hit.

        :param settings: the other attributes of :class:`Fault`.
        """
        fault = Fault(kind, **settings)
        self._faults.append(fault)
        return fault

    def add_all(self, given: object) -> list[Fault]:
        """Set faults from JSON data: one object, or a list of them; a bad one raises ``ValueError``."""
        made = [_made(one) for one in (given if isinstance(given, list) else [given])]
        self._faults += made
        return made

    def clear(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def hitting(self, operation_id: str | None, path: str, body: bytes) -> list[Fault]:
        """Return the faults that hit a request: all latencies, and the first of the others."""
        found: list[Fault] = []
        broken = False
        for fault in self._faults:
            if (fault.kind == "latency" or not broken) and fault.hits_request(operation_id, path, body):
                found.append(fault)
                broken = broken or fault.kind != "latency"
        return found

    def as_list(self) -> list[dict[str, Any]]:
        """Return the faults as JSON data."""
        return [asdict(fault) for fault in self._faults]


def _made(given: object) -> Fault:
    if not isinstance(given, Mapping):
        raise ValueError("A fault must be an object with a kind.")
    settings = {**given, **given.get("match", {})}
    settings.pop("match", None)
    known = {one.name for one in fields(Fault) if one.init}
    if settings.keys() - known or "kind" not in settings:
        raise ValueError(f"A fault needs a kind, and may have {sorted(known)}.")
    return Fault(**settings)
