"""A service in a process of its own that accepts every chatbot and only counts: it costs next to nothing."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socketserver
import subprocess
import sys
import threading
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

import requests

if TYPE_CHECKING:
    from collections.abc import Iterator

BOT = str(uuid.UUID(int=1))

_SENDER = re.compile(rb'"senderId":"([^"]+)"')


class CountingService:
    """What the service has counted.

    :param url: its base URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def connection(self) -> dict[str, Any]:
        """The Airflow connection to it."""
        return {"conn_type": "wts", "host": self.url, "password": "pn_counting"}

    def counts(self) -> dict[str, int]:
        """Return the requests, the sends, and the sends whose key came before, since the last call."""
        found: dict[str, int] = requests.get(f"{self.url}/counts", timeout=30).json()
        return found


@contextlib.contextmanager
def counting_service() -> Iterator[CountingService]:
    """Run one."""
    with subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield CountingService(process.stdout.readline().strip())
        finally:
            process.terminate()


class _Handler(socketserver.StreamRequestHandler):
    counts: ClassVar[dict[str, int]] = {"requests": 0, "sends": 0, "twice": 0}
    keys: ClassVar[set[bytes]] = set()

    def handle(self) -> None:
        while line := self.rfile.readline():
            path = line.split()[1]
            length = 0
            while (header := self.rfile.readline().lower()) not in (b"\r\n", b""):
                if header.startswith(b"content-length:"):
                    length = int(header.partition(b":")[2])
            self._answer(path, self.rfile.read(length))

    def _answer(self, path: bytes, body: bytes) -> None:
        if path == b"/counts":
            answer = json.dumps(self.counts).encode()
            self.counts.update(dict.fromkeys(self.counts, 0))
        elif body:
            keys = _SENDER.findall(body)
            self.counts["requests"] += 1
            self.counts["sends"] += len(keys)
            # A few bytes of each are enough to tell them apart.
            short = {bytes.fromhex(key[:18].replace(b"-", b"").decode()) for key in keys}
            self.counts["twice"] += len(short & self.keys)
            self.keys.update(short)
            results = (b'{"id":"%b","senderId":"%b","status":"QUEUED"}' % (key, key) for key in keys)
            answer = b'{"results":[' + b",".join(results) + b"]}"
        else:
            self.counts["requests"] += 1
            found = [{"id": BOT, "key": BOT, "name": "Cobrança"}]
            answer = json.dumps(
                {"items": found, "pageNumber": 1, "totalItems": 1, "totalPages": 1, "hasMorePages": False}
            ).encode()
        head = f"HTTP/1.1 {HTTPStatus.OK} OK\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n"
        self.wfile.write(head.encode() + answer)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


if __name__ == "__main__":
    parent = os.getppid()
    with _Server(("127.0.0.1", 0), _Handler) as server:
        sys.stdout.write(f"http://127.0.0.1:{server.server_address[1]}\n")
        sys.stdout.flush()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # An orphan ends by itself.
        while os.getppid() == parent:
            threading.Event().wait(0.5)
