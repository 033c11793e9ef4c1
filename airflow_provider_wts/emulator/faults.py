"""Faults on demand: what goes wrong, for which requests, and whether the request takes effect anyway."""

from __future__ import annotations

import asyncio
import math
import random
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Protocol, get_args

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


_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Answer:
    """An answer before it goes over the wire.

    :param headers: headers other than those of the body.
    """

    status: int
    body: bytes
    headers: list[tuple[str, str]] = field(default_factory=list)
    content_type: str = "application/json; charset=utf-8"

    def raw_headers(self, length: int | None = None) -> list[tuple[bytes, bytes]]:
        """Return all headers.

        :param length: the content length to announce; the true one by default.
        """
        headers = [*self.headers, ("content-length", str(len(self.body) if length is None else length))]
        if self.body:
            headers.append(("content-type", self.content_type))
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]

    def raw_head(self, length: int | None = None) -> bytes:
        """Return the status line and all headers as they go over the wire."""
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in self.raw_headers(length))
        return f"HTTP/1.1 {self.status} Emulated\r\n".encode() + lines + b"\r\n"


class Wire(Protocol):
    """The connection of a request: what the HTTP server holds of it."""

    transport: asyncio.Transport
    close_before_next: bool


Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class Connection:
    """The connection of one request."""

    wire: Wire
    receive: Receive
    send: Send
    stopping: threading.Event

    @property
    def ends(self) -> bool:
        """Whether nothing more can be written."""
        return self.wire.transport.is_closing() or self.stopping.is_set()

    def write(self, data: bytes) -> None:
        """Write bytes past the HTTP server."""
        if not self.wire.transport.is_closing():
            self.wire.transport.write(data)

    async def drip(self, data: bytes, seconds: float) -> None:
        """Write bytes one at a time.

        :param seconds: real seconds after each.
        """
        for position in range(len(data)):
            if self.ends:
                return
            self.write(data[position : position + 1])
            await asyncio.sleep(seconds)

    def reset(self) -> None:
        """Break the connection: the client gets a RST."""
        raw = self.wire.transport.get_extra_info("socket")
        # A client that is already gone has closed it.
        if raw is not None and raw.fileno() >= 0:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.wire.transport.abort()

    async def close(self) -> None:
        """End the connection once all is written, and wait until it is gone."""
        self.wire.transport.close()
        await self.gone()

    async def gone(self, seconds: float | None = None) -> None:
        """Wait until the client is gone, the emulator stops or time is over.

        :param seconds: real seconds; ``None`` = no limit.
        """
        waiting = asyncio.ensure_future(self._disconnect())
        try:
            loop = asyncio.get_running_loop()
            end = None if seconds is None else loop.time() + seconds
            while not waiting.done() and not self.stopping.is_set():
                left = 0.05 if end is None else min(0.05, end - loop.time())
                if left <= 0:
                    break
                await asyncio.wait([waiting], timeout=left)
        finally:
            waiting.cancel()

    async def _disconnect(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass


async def respond(send: Send, answer: Answer) -> int:
    """Send an answer, and return its status."""
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.raw_headers()})
    await send({"type": "http.response.body", "body": answer.body})
    return answer.status


async def break_answer(connection: Connection, fault: Fault, answer: Answer) -> int | None:
    """Answer a request in a broken way; return the status that the client may see, ``None`` if it sees none.

    :param answer: what a good answer would be.
    """
    match fault.kind:
        case "redirect":
            return await respond(connection.send, Answer(fault.status, b"", [("location", fault.location)]))
        case "empty":
            return await respond(connection.send, Answer(200, b""))
        case "not_json":
            page = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>"
            return await respond(connection.send, Answer(200, page, content_type="text/html; charset=utf-8"))
        case "oversized":
            return await _oversized(connection, fault.size)
        case "close_before_next":
            connection.wire.close_before_next = True
            return await respond(connection.send, answer)
        case "close_after":
            status = await respond(connection.send, answer)
            connection.wire.transport.close()
            return status
    return await _break_connection(connection, fault, answer)


async def _break_connection(connection: Connection, fault: Fault, answer: Answer) -> int | None:
    """Write past the HTTP server, if anything, and end the connection."""
    match fault.kind:
        case "truncated":
            connection.write(answer.raw_head(max(len(answer.body), 2)) + answer.body[: len(answer.body) // 2])
        case "bad_content_length":
            connection.write(answer.raw_head(len(answer.body) + 100) + answer.body)
        case "drip_headers":
            await connection.drip(answer.raw_head(), fault.seconds)
            connection.write(answer.body)
        case "drip_body":
            connection.write(answer.raw_head())
            await connection.drip(answer.body, fault.seconds)
        case "garbage":
            connection.write(b"\x16\x03\x01\x02\x00 this is not HTTP\r\n\r\n")
        case "hang":
            await connection.gone(fault.seconds or None)
        case "reset":
            connection.reset()
            await connection.gone(1.0)
            return None
    await connection.close()
    return None if fault.kind in ("close", "garbage", "hang") else answer.status


async def _oversized(connection: Connection, size: int) -> int:
    head, tail = b'{"text":"', b'"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", str(size).encode())]
    await connection.send({"type": "http.response.start", "status": 200, "headers": headers})
    left = size - len(head) - len(tail)
    await connection.send({"type": "http.response.body", "body": head, "more_body": True})
    while left > 0 and not connection.ends:
        chunk = b"x" * min(left, _CHUNK)
        await connection.send({"type": "http.response.body", "body": chunk, "more_body": True})
        left -= len(chunk)
    await connection.send({"type": "http.response.body", "body": tail})
    return 200
