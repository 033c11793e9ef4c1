"""Faults on demand: what goes wrong, for which requests, and whether the request takes effect all the same."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

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
        nothing for ``seconds`` (0 = until the client or the emulator gives up) and then ends it; ``empty``,
        ``truncated`` and ``not_json`` spoil the body of a 200; ``oversized`` sends ``size`` bytes; ``drip_headers``
        and ``drip_body`` send one byte every ``seconds``; ``bad_content_length`` announces too much;
        ``garbage`` is no HTTP; ``close_after`` ends the connection right after a good answer without announcing it,
        ``close_before_next`` when the next request on it arrives.
    :param when: ``before`` = the request takes no effect, ``after`` = it does.
    :param operation_id: hits this operation only.
    :param path: hits paths that contain this text.
    :param body: hits requests whose body contains this text.
    :param nth: hits only the n-th request that matches, counted from 1.
    :param every: hits every n-th request that matches.
    :param probability: hits a matching request with this chance.
    :param seed: makes the chance repeatable.
    :param times: how often it hits in all; ``None`` = without end.
    :param status: HTTP status.
    :param retry_after: value of a ``Retry-After`` header.
    :param envelope: body of a ``status``: the service's envelope with a business key or another one, problem details,
        nothing, or a page of a gateway.
    :param key: key of the envelope.
    :param location: where a redirect leads to.
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
            raise ValueError(f"There is no fault {self.kind!r}; known are {list(KINDS)}.")
        if self.when not in ("before", "after"):
            raise ValueError("A fault comes 'before' or 'after' the request takes effect.")
        if self.envelope not in get_args(Envelope):
            raise ValueError(f"envelope is one of {list(get_args(Envelope))}.")
        if self.kind == "redirect" and not 300 <= self.status < 400:
            self.status = 302
        self._chance = random.Random(self.seed)

    def hits_request(self, operation_id: str | None, path: str, body: bytes) -> bool:
        """Say whether it hits a request, and count it.

        :param operation_id: the request's operation.
        :param path: its path.
        :param body: its body.
        """
        if self.times is not None and self.hits >= self.times:
            return False
        if self.operation_id is not None and self.operation_id != operation_id:
            return False
        if self.path is not None and self.path not in path:
            return False
        if self.body is not None and self.body.encode() not in body:
            return False
        self.matched += 1
        if self.nth is not None and self.matched != self.nth:
            return False
        if self.every is not None and self.matched % self.every:
            return False
        if self.probability is not None and self._chance.random() >= self.probability:
            return False
        self.hits += 1
        return True


class Faults:
    """The faults that are set; the first one that hits a request counts, latency comes on top."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, kind: Kind, **settings: Any) -> Fault:
        """Set a fault and return it; ``hits`` of it tells how often it came.

        :param kind: what goes wrong.
        :param settings: the other attributes of :class:`Fault`.
        """
        fault = Fault(kind, **settings)
        self._faults.append(fault)
        return fault

    def add_all(self, given: object) -> list[Fault]:
        """Set faults from JSON data: one object, or a list of them; a bad one raises ``ValueError``.

        :param given: the data.
        """
        made = [_made(one) for one in (given if isinstance(given, list) else [given])]
        self._faults += made
        return made

    def clear(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def hitting(self, operation_id: str | None, path: str, body: bytes) -> list[Fault]:
        """Return the faults that hit a request: all latencies, and the first of the others.

        :param operation_id: the request's operation.
        :param path: its path.
        :param body: its body.
        """
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
        raise ValueError("A fault is an object with a kind.")
    settings = {**given, **given.get("match", {})}
    settings.pop("match", None)
    known = {one.name for one in fields(Fault) if one.init}
    if settings.keys() - known or "kind" not in settings:
        raise ValueError(f"A fault has a kind, and of {sorted(known)} what it needs.")
    return Fault(**settings)
