"""Spoils answers and connections, as a fault says."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Awaitable, Callable, MutableMapping

    from airflow_provider_wts.emulator.faults import Fault

_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Answer:
    """An answer before it goes over the wire.

    :param status: HTTP status.
    :param body: the body.
    :param headers: headers beside content type and length.
    :param content_type: type of the body.
    """

    status: int
    body: bytes
    headers: list[tuple[str, str]] = field(default_factory=list)
    content_type: str = "application/json; charset=utf-8"

    def raw_headers(self, length: int | str | None = None) -> list[tuple[bytes, bytes]]:
        """Return all headers.

        :param length: the content length to announce; the true one when left out.
        """
        announced = str(len(self.body) if length is None else length)
        headers = [*self.headers, ("content-length", announced)]
        if self.body:
            headers.append(("content-type", self.content_type))
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]

    def raw_head(self, length: int | str | None = None) -> bytes:
        """Return status line and headers as they go over the wire.

        :param length: the content length to announce; the true one when left out.
        """
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in self.raw_headers(length))
        return f"HTTP/1.1 {self.status} Emulated\r\n".encode() + lines + b"\r\n"


class Wire(Protocol):
    """The connection of a request: what the HTTP server holds of it."""

    transport: asyncio.Transport
    close_before_next: bool


@dataclass(frozen=True)
class Connection:
    """The connection of one request.

    :param wire: the server's side of it.
    :param receive: ASGI receive.
    :param send: ASGI send.
    :param stopping: is set when the emulator stops.
    """

    wire: Wire
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]]
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]]
    stopping: threading.Event

    def write(self, data: bytes) -> None:
        """Write bytes past the HTTP server.

        :param data: the bytes.
        """
        if not self.wire.transport.is_closing():
            self.wire.transport.write(data)

    def reset(self) -> None:
        """Break the connection: the client gets a RST."""
        raw = self.wire.transport.get_extra_info("socket")
        # A client that is gone already has closed it.
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


async def break_answer(connection: Connection, fault: Fault, answer: Answer) -> int | None:
    """Answer a request in a broken way; return the status that the client may see, ``None`` where there is none.

    :param connection: the connection.
    :param fault: what goes wrong.
    :param answer: what a good answer would be.
    """
    return await _WAYS[fault.kind](connection, fault, answer)


async def _send(connection: Connection, answer: Answer) -> int:
    await connection.send({"type": "http.response.start", "status": answer.status, "headers": answer.raw_headers()})
    await connection.send({"type": "http.response.body", "body": answer.body})
    return answer.status


async def _redirect(connection: Connection, fault: Fault, answer: Answer) -> int:
    return await _send(connection, Answer(fault.status, b"", [("location", fault.location)]))


async def _reset(connection: Connection, fault: Fault, answer: Answer) -> None:
    connection.reset()
    await connection.gone(1.0)


async def _close(connection: Connection, fault: Fault, answer: Answer) -> None:
    await connection.close()


async def _hang(connection: Connection, fault: Fault, answer: Answer) -> None:
    await connection.gone(fault.seconds or None)
    await connection.close()


async def _empty(connection: Connection, fault: Fault, answer: Answer) -> int:
    return await _send(connection, Answer(200, b""))


async def _truncated(connection: Connection, fault: Fault, answer: Answer) -> int:
    connection.write(answer.raw_head(max(len(answer.body), 2)) + answer.body[: len(answer.body) // 2])
    await connection.close()
    return answer.status


async def _not_json(connection: Connection, fault: Fault, answer: Answer) -> int:
    page = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>"
    return await _send(connection, Answer(200, page, content_type="text/html; charset=utf-8"))


async def _oversized(connection: Connection, fault: Fault, answer: Answer) -> int:
    head, tail = b'{"text":"', b'"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", str(fault.size).encode())]
    await connection.send({"type": "http.response.start", "status": 200, "headers": headers})
    left = fault.size - len(head) - len(tail)
    await connection.send({"type": "http.response.body", "body": head, "more_body": True})
    while left > 0 and not connection.wire.transport.is_closing() and not connection.stopping.is_set():
        chunk = b"x" * min(left, _CHUNK)
        await connection.send({"type": "http.response.body", "body": chunk, "more_body": True})
        left -= len(chunk)
    await connection.send({"type": "http.response.body", "body": tail})
    return 200


async def _drip_headers(connection: Connection, fault: Fault, answer: Answer) -> int:
    await _drip(connection, answer.raw_head(), fault.seconds)
    connection.write(answer.body)
    await connection.close()
    return answer.status


async def _drip_body(connection: Connection, fault: Fault, answer: Answer) -> int:
    connection.write(answer.raw_head())
    await _drip(connection, answer.body, fault.seconds)
    await connection.close()
    return answer.status


async def _drip(connection: Connection, data: bytes, seconds: float) -> None:
    for position in range(len(data)):
        if connection.wire.transport.is_closing() or connection.stopping.is_set():
            return
        connection.write(data[position : position + 1])
        await asyncio.sleep(seconds)


async def _bad_content_length(connection: Connection, fault: Fault, answer: Answer) -> int:
    connection.write(answer.raw_head(len(answer.body) + 100) + answer.body)
    await connection.close()
    return answer.status


async def _garbage(connection: Connection, fault: Fault, answer: Answer) -> None:
    connection.write(b"\x16\x03\x01\x02\x00 this is not HTTP\r\n\r\n")
    await connection.close()


async def _close_after(connection: Connection, fault: Fault, answer: Answer) -> int:
    status = await _send(connection, answer)
    connection.wire.transport.close()
    return status


async def _close_before_next(connection: Connection, fault: Fault, answer: Answer) -> int:
    connection.wire.close_before_next = True
    return await _send(connection, answer)


_WAYS: dict[str, Callable[[Connection, Fault, Answer], Awaitable[int | None]]] = {
    "redirect": _redirect,
    "reset": _reset,
    "close": _close,
    "hang": _hang,
    "empty": _empty,
    "truncated": _truncated,
    "not_json": _not_json,
    "oversized": _oversized,
    "drip_headers": _drip_headers,
    "drip_body": _drip_body,
    "bad_content_length": _bad_content_length,
    "garbage": _garbage,
    "close_after": _close_after,
    "close_before_next": _close_before_next,
}
