"""Speaks HTTP: a thread for each connection; turns strangers away, and breaks answers as the faults say."""

from __future__ import annotations

import contextlib
import email.utils
import ipaddress
import logging
import re
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.errors import MissingHeaderBodySeparatorDefect as _NO_HEADER
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl

from airflow_provider_wts.emulator.answers import Answer, is_json
from airflow_provider_wts.emulator.application import Application
from airflow_provider_wts.emulator.control import Control
from airflow_provider_wts.emulator.faults import Fault
from airflow_provider_wts.emulator.page import html_page
from airflow_provider_wts.emulator.resources.files import UPLOADS, take_upload
from airflow_provider_wts.emulator.service import RecordedRequest, Service
from airflow_provider_wts.emulator.state import PREVIEW

log = logging.getLogger("airflow_provider_wts.emulator")

_CONTROL = "/_emulator"
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\s]+)(?::(\d{1,5}))?", re.ASCII)
_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104
_TICK = 0.02
_KEEP_ALIVE = 75
_LONGEST_LINE = 65_536
_CHUNK = 64 * 1024
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")
_LARGEST_BODY = 256 * 1024 * 1024


@dataclass(frozen=True)
class Door:
    """Refuses web pages of other sites, which must neither read nor drive the emulator.

    Such a page can point a name of its own to this machine (then the ``Host`` is that name), and can post without
    reading the answer (then the browser says so in ``Sec-Fetch-Site`` and ``Origin``, and sends no JSON).

    :param names: further names that lead to it, with a port if that is a different one.
    """

    host: str
    port: int
    names: tuple[str, ...] = ()

    def refusal(self, method: str, path: str, headers: Mapping[str, str]) -> str | None:
        """Return why a request is refused, ``None`` if it is not.

        :param headers: values by names in lower case.
        """
        host = headers.get("host", "").lower()
        if not self._is_own(host):
            return "Host: this emulator is not reached under that name. Allow it: --name NAME on the command line."
        if method in ("GET", "HEAD", "OPTIONS"):
            return None
        site = headers.get("sec-fetch-site", "none")
        if site not in ("same-origin", "none") or headers.get("origin", f"http://{host}").lower() != f"http://{host}":
            return "A web page of another site cannot write here."
        drives = method == "POST" and path.startswith(_CONTROL)
        # Every browser names the origin of a post, and a form the type even of an empty body.
        bare = not headers.keys() & {"origin", "sec-fetch-site", "content-type"}
        if drives and site != "same-origin" and not bare and not is_json(headers.get("content-type")):
            return "Content-Type: must be application/json, with curl: --json '{}'."
        return None

    def _is_own(self, given: str) -> bool:
        match = _HOST.fullmatch(given)
        if match is None:
            return False
        if given in self.names:
            return True
        name = match[1].strip("[]")
        if int(match[2] or 80) != self.port:
            return False
        if name in ("localhost", self.host.lower(), *self.names):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return self.host in _EVERYWHERE and name == socket.gethostname().lower()
        return address.is_loopback or self.host in _EVERYWHERE


class _Connection(BaseHTTPRequestHandler):
    """The connection of a client, in a thread of its own."""

    server: RunningServer
    protocol_version = "HTTP/1.1"
    # Also what is not HTTP gets a status line.
    default_request_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        """Answer one request."""
        self.close_connection = True
        self.connection.settimeout(_KEEP_ALIVE)
        self.raw_requestline = self.rfile.readline(_LONGEST_LINE + 1)
        self.connection.settimeout(None)
        if len(self.raw_requestline) > _LONGEST_LINE:
            self.requestline = self.request_version = self.command = ""
            self.send_error(414)
        elif self.raw_requestline and self.parse_request():
            try:
                if _NO_HEADER in map(type, self.headers.defects) or "Host" not in self.headers:
                    raise ValueError("headers")
                body = self._body()
            except ValueError:
                self.send_error(400)
            except NotImplementedError:
                self.send_error(501)
            else:
                self._answer(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log what is no HTTP."""
        log.debug(format, *args)

    def _body(self) -> bytes | None:
        """Return the body, ``None`` if it is too large; then it is read, and not kept."""
        kept, size = [], 0
        for piece in self._pieces():
            size += len(piece)
            if size <= _LARGEST_BODY:
                kept.append(piece)
        return b"".join(kept) if size <= _LARGEST_BODY else None

    def _pieces(self) -> Iterator[bytes]:
        coding = self.headers.get("Transfer-Encoding")
        if coding is None:
            [length] = {text.strip() for text in self.headers.get_all("Content-Length", ["0"])}
            if not (length.isascii() and length.isdigit()):
                raise ValueError("Content-Length")
            yield from self._read(int(length))
        elif coding.strip().lower() == "chunked":
            while size := self._chunk_size():
                yield from self._read(size)
                self.rfile.readline(_LONGEST_LINE)
            while self.rfile.readline(_LONGEST_LINE).strip():
                pass
        else:
            raise NotImplementedError(coding)

    def _chunk_size(self) -> int:
        text = self.rfile.readline(_LONGEST_LINE).partition(b";")[0].strip()
        if not _CHUNK_SIZE.fullmatch(text):
            raise ValueError("chunk")
        return int(text, 16)

    def _read(self, size: int) -> Iterator[bytes]:
        while size > 0:
            piece = self.rfile.read(min(size, _CHUNK))
            if not piece:
                raise ConnectionError("The client went away before the end of the body.")
            size -= len(piece)
            yield piece

    def _answer(self, body: bytes | None) -> None:
        server, method = self.server, self.command
        # The path stays encoded: an encoded slash in a path parameter divides nothing.
        path, _, query = self.requestline.split()[1].partition("?")
        headers = [(name.lower(), value.strip()) for name, value in self.headers.items()]
        stranger = server.door.refusal(method, path, dict(headers))
        if stranger is not None:
            self._respond(server.application.envelope(403, "FORBIDDEN", stranger))
        elif body is None:
            self._respond(server.application.envelope(413, "PAYLOAD_TOO_LARGE", "A requisição é grande demais."))
        elif (path == "/" or path.startswith(PREVIEW)) and method in ("GET", "HEAD"):
            self._respond(html_page())
        elif path.startswith(_CONTROL):
            self._respond(server.control.answer(method, path, body))
        elif path.startswith(UPLOADS) and method == "PUT":
            self._respond(self._upload(path, body))
        else:
            pairs = parse_qsl(query, keep_blank_values=True)
            self._serve(RecordedRequest(method, path, pairs, headers, body))

    def _upload(self, path: str, body: bytes) -> Answer:
        account = self.server.service.account
        with account.lock:
            authorized = "Authorization" in self.headers
            status, text = take_upload(account, path.removeprefix(UPLOADS), body, authorized=authorized)
        return Answer(status, text.encode(), content_type="text/plain")

    def _serve(self, request: RecordedRequest) -> None:
        service, application = self.server.service, self.server.application
        route, faults = application.route(request)
        waits = service.latency + sum(fault.seconds for fault in faults if fault.kind == "latency")
        if waits and service.stopping.wait(waits):
            self.close_connection = True
            return
        fault = next((fault for fault in faults if fault.kind != "latency"), None)
        if fault is not None:
            request.fault = fault.kind
            if fault.when == "before" and fault.kind not in ("close_after", "close_before_next"):
                self._break(fault, request, Answer(200, b"{}"))
                return
        answer = application.answer(route, request)
        self._answered(request, answer)
        if fault is not None:
            self._break(fault, request, answer)
        else:
            self._respond(answer)

    def _answered(self, request: RecordedRequest, answer: Answer) -> None:
        with self.server.service.account.lock:
            self.server.service.recorder.answered(request, answer.status)

    def _respond(self, answer: Answer) -> None:
        bare = self.command == "HEAD" or answer.status in (204, 304)
        self.wfile.write(self._head(answer) + (b"" if bare else answer.body))

    def _head(self, answer: Answer, more: int = 0) -> bytes:
        """Return the status line and all headers as they go over the wire.

        :param more: how much longer than it is the body is said to be.
        """
        date = email.utils.format_datetime(self.server.service.account.clock.datetime(), usegmt=True)
        headers = [*answer.headers, ("content-length", str(len(answer.body) + more)), ("date", date)]
        if answer.body:
            headers.append(("content-type", answer.content_type))
        if self.close_connection:
            headers.append(("connection", "close"))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        phrase = self.responses.get(answer.status, ("Emulated",))[0]
        return f"HTTP/1.1 {answer.status} {phrase}\r\n{lines}\r\n".encode("latin-1")

    def _break(self, fault: Fault, request: RecordedRequest, answer: Answer) -> None:
        """Answer in a broken way.

        :param answer: what a good answer would be.
        """
        match fault.kind:
            case "status":
                answer = self.server.application.faulty(fault)
                self._answered(request, answer)
            case "redirect":
                answer = Answer(fault.status, b"", [("location", fault.location)])
            case "empty":
                answer = Answer(200, b"")
            case "not_json":
                page = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>"
                answer = Answer(200, page, content_type="text/html; charset=utf-8")
            case "close_after" | "close_before_next":
                pass
            case _:
                lost = fault.kind in ("close", "garbage", "hang", "reset")
                request.status = None if lost else 200 if fault.kind == "oversized" else answer.status
                self._write_past_http(fault, answer)
                return
        request.status = answer.status
        self._respond(answer)
        if fault.kind == "close_before_next":
            self.rfile.readline(_LONGEST_LINE)
        self.close_connection |= fault.kind.startswith("close")

    def _write_past_http(self, fault: Fault, answer: Answer) -> None:
        """Write what is no good HTTP, if anything, and end the connection."""
        body = answer.body
        match fault.kind:
            case "oversized":
                self._oversized(fault.size)
            case "truncated":
                self.wfile.write(self._head(answer, max(2 - len(body), 0)) + body[: len(body) // 2])
            case "bad_content_length":
                self.wfile.write(self._head(answer, 100) + body)
            case "drip_headers":
                self._drip(self._head(answer), fault.seconds)
                self.wfile.write(body)
            case "drip_body":
                self.wfile.write(self._head(answer))
                self._drip(body, fault.seconds)
            case "garbage":
                self.wfile.write(b"\x16\x03\x01\x02\x00 this is not HTTP\r\n\r\n")
            case "hang":
                self.connection.settimeout(fault.seconds or None)
                with contextlib.suppress(TimeoutError):
                    while self.connection.recv(_CHUNK):
                        pass
            case "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.rfile.close()
                self.connection.close()
        self.close_connection = True

    def _oversized(self, size: int) -> None:
        start, end = b'{"text":"', b'"}'
        self.wfile.write(self._head(Answer(200, start), size - len(start)) + start)
        left = size - len(start) - len(end)
        while left > 0:
            self.wfile.write(b"x" * min(left, _CHUNK))
            left -= _CHUNK
        self.wfile.write(end)

    def _drip(self, data: bytes, seconds: float) -> None:
        """Write bytes one at a time.

        :param seconds: real seconds after each.
        """
        for byte in data:
            self.wfile.write(bytes([byte]))
            self.server.service.stopping.wait(seconds)


class RunningServer(socketserver.TCPServer):
    """A server in a thread; its port 0 is a free one."""

    timeout = _TICK

    def __init__(self, service: Service, host: str, port: int, names: Sequence[str] = ()) -> None:
        super().__init__((host, port), _Connection, bind_and_activate=False)
        self.socket.close()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.create_server((host, port), family=family, backlog=512)
        self._port = port = self.socket.getsockname()[1]
        service.stopping.clear()
        self.service = service
        self.door = Door(host, port, tuple(name.lower() for name in names))
        self.application = Application(service)
        self.control = Control(service)
        self._local = ("::1" if ":" in host else "127.0.0.1") if host in _EVERYWHERE else host
        service.account.address = f"http://{f'[{self._local}]' if ':' in host else self._local}:{port}"
        self._thread = threading.Thread(target=self._run, name="wts-emulator", daemon=True)
        self._connections: dict[Any, threading.Thread] = {}

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Close all connections, and return once all threads have ended."""
        self.service.stopping.set()
        # The thread waits for the next connection.
        with contextlib.suppress(OSError):
            socket.create_connection((self._local, self._port), timeout=1).close()
        self._thread.join(10)
        self.server_close()
        for connection, thread in list(self._connections.items()):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(10)
        self.service.postman.stop()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection in a thread of its own."""
        thread = threading.Thread(target=self._converse, args=(request, client_address), daemon=True)
        self._connections[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, also one that got no thread."""
        super().shutdown_request(request)
        self._connections.pop(request, None)

    def _converse(self, connection: Any, client_address: Any) -> None:
        try:
            self.finish_request(connection, client_address)
        except OSError:
            log.debug("A client went away.")
        except Exception:
            log.exception("A connection failed.")
        finally:
            self.shutdown_request(connection)

    def _run(self) -> None:
        """Take connections, and do what is due in the account."""
        while not self.service.stopping.is_set():
            self.handle_request()
            with self.service.account.lock:
                self.service.account.agenda.run_due()
