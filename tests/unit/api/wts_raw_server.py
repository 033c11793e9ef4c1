"""A tiny server for answers that no HTTP library would give: it writes the bytes that a test says."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

TLS_HELLO = b"\x16\x03"

Script = bytes | Callable[[socket.socket], None]


def http(body: bytes = b"[]", status: int = 200, *headers: str) -> bytes:
    """Return a whole answer."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Content-Type: application/json", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class RawServer:
    """Answers the n-th request with the n-th script, and every later one with the last.

    :param scripts: bytes to write, or what to do with the connection.
    :param keep_alive: whether the connection stays open after an answer.
    :param tls: speak TLS.
    """

    def __init__(self, *scripts: Script, keep_alive: bool = True, tls: ssl.SSLContext | None = None) -> None:
        self.scripts = list(scripts)
        self.requests: list[bytes] = []
        self.connections = 0
        self._keep_alive = keep_alive
        self._tls = tls
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}"

    def __enter__(self) -> RawServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for sock in (self._socket, *list(self._open)):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def drip(self, data: bytes, seconds: float = 0.05) -> Script:
        """Write byte by byte until the client or the test ends."""

        def script(sock: socket.socket) -> None:
            for position in range(len(data)):
                if self._stopping.wait(seconds):
                    return
                sock.sendall(data[position : position + 1])

        return script

    def hang(self, sock: socket.socket) -> None:
        """Answer nothing."""
        self._stopping.wait(30)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            try:
                if self._tls:
                    sock = self._tls.wrap_socket(sock, server_side=True)
                while request := _request(sock):
                    with self._lock:
                        script = self.scripts[min(len(self.requests), len(self.scripts) - 1)]
                        self.requests.append(request)
                    if callable(script):
                        script(sock)
                    else:
                        sock.sendall(script)
                    if not self._keep_alive:
                        return
            finally:
                self._open.discard(sock)
                sock.close()


def _request(sock: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        block = sock.recv(65536)
        # A client may try whether this speaks TLS; as an HTTP server does, it hangs up at once.
        if not block or block.startswith(TLS_HELLO):
            return b""
        data += block
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    missing = (int(lengths[0].split(b":")[1]) if lengths else 0) - len(body)
    while missing > 0:
        block = sock.recv(missing)
        if not block:
            return b""
        data += block
        missing -= len(block)
    return data
