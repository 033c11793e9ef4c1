"""Answers HTTP requests on uvicorn, in a thread of its own: authentication, routing, limits, checks, faults."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import hmac
import ipaddress
import logging
import math
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qsl, unquote

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from airflow_provider_wts.api.contract import SERVICES, Operation, Parameter, operations, resolve
from airflow_provider_wts.api.contract.check import check_request
from airflow_provider_wts.emulator import resources
from airflow_provider_wts.emulator.answers import HANDLERS, Empty, Later, Request, as_json, read_json
from airflow_provider_wts.emulator.clock import TICKS
from airflow_provider_wts.emulator.control import Control
from airflow_provider_wts.emulator.errors import Refusal, bad_request, envelope, problem_details
from airflow_provider_wts.emulator.faults import Answer, Connection, Fault, Receive, Send, break_answer, respond
from airflow_provider_wts.emulator.page import html_page, is_page
from airflow_provider_wts.emulator.resources.files import UPLOADS, take_upload
from airflow_provider_wts.emulator.service import RecordedRequest, Service
from airflow_provider_wts.emulator.switches import Switches


class Route(NamedTuple):
    """What a path leads to: its operation, ``None`` if the path is known and the method is not, and its parameters."""

    operation: Operation | None
    path: dict[str, str]


def find_route(method: str, path: str) -> Route | None:
    """Return what a request leads to, ``None`` if the path is unknown.

    :param path: the path, still encoded, so that ``%2F`` does not divide it.
    """
    segments = [unquote(segment) for segment in path.removeprefix("/").split("/")]
    known = False
    for template, served in _paths():
        if len(template) == len(segments) and all(map(_fits, template, segments)):
            known = True
            if method in served:
                pairs = zip(template, segments, strict=True)
                return Route(served[method], {name.strip("{}"): one for name, one in pairs if name.startswith("{")})
    return Route(None, {}) if known else None


def _fits(part: str, segment: str) -> bool:
    return part == segment or (part.startswith("{") and segment != "")


@cache
def _paths() -> list[tuple[list[str], dict[str, Operation]]]:
    """Return the operations of each path by their method; literal segments go before placeholders."""
    found: dict[str, dict[str, Operation]] = {}
    for operation in operations().values():
        found.setdefault(operation.path, {})[operation.method] = operation
    paths = [(path.strip("/").split("/"), served) for path, served in found.items()]
    return sorted(paths, key=lambda one: [part.startswith("{") for part in one[0]])


def typed_query(
    operation: Operation, pairs: Sequence[tuple[str, str]], *, ignore_case: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """Return the known parameters with their types, and the names that the contract does not know.

    A value that does not fit its type stays text, for the check against the contract to find.
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
    if kind == "integer" and _INTEGER.fullmatch(text):
        return int(text)
    if kind == "boolean":
        return {"true": True, "false": False}.get(text.lower(), text)
    return text


def loosened(operation: Operation, schema: Mapping[str, Any], value: Any, switches: Switches, name: str = "") -> Any:
    """Return what a request means to a service that reads it as loosely as the switches say."""
    schema = resolve(operation.service, schema)
    schema = next((resolve(operation.service, one) for one in schema.get("anyOf", ()) if one != _NULL), schema)
    if isinstance(value, dict) and "properties" in schema:
        known = schema["properties"]
        return {
            key: loosened(operation, known[key], part, switches, key) if key in known else part
            for key, part in value.items()
            if (switches.strict if key not in known else not _is_ignored(operation, known[key], part, switches))
        }
    if isinstance(value, list) and "items" in schema:
        return [loosened(operation, schema["items"], part, switches) for part in value]
    if isinstance(value, str):
        return _loosened_text(schema, value, switches)
    if isinstance(value, int) and name.lower().startswith("page") and switches.page_out_of_range == "clamp":
        return min(max(value, schema.get("minimum", value)), schema.get("maximum", value))
    return value


def _is_ignored(operation: Operation, schema: Mapping[str, Any], value: Any, switches: Switches) -> bool:
    """Return whether a null is ignored because the contract wants an object."""
    kind = resolve(operation.service, schema).get("type")
    return value is None and kind == "object" and switches.null_for_object == "ignore"


def _loosened_text(schema: Mapping[str, Any], text: str, switches: Switches) -> str:
    if "enum" in schema and switches.enum_case == "any":
        return next((choice for choice in schema["enum"] if str(choice).lower() == text.lower()), text)
    if schema.get("format") == "date-time" and switches.date_without_zone == "utc" and _NO_ZONE.fullmatch(text):
        return f"{text}Z"
    return text


@cache
def _query_parameters(operation_id: str) -> dict[str, Parameter]:
    found = operations()[operation_id].parameters
    return {parameter.name: parameter for parameter in found if parameter.location == "query"}


_INTEGER = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_NO_ZONE = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?", re.ASCII)
_NULL = {"type": "null"}
_CONTROL = "/_emulator"
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\s]+)(?::(\d{1,5}))?", re.ASCII)

_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104


def is_json(content_type: str | None) -> bool:
    """Return whether a ``Content-Type`` is that of JSON."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    return kind in ("application/json", "text/json") or (kind.startswith("application/") and kind.endswith("+json"))


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


Scope = MutableMapping[str, Any]

_POLL = 0.005
_LARGEST_BODY = 256 * 1024 * 1024


class Application:
    """Answers HTTP requests for a service."""

    def __init__(self, service: Service, door: Door) -> None:
        resources.load()
        self._service = service
        self._door = door
        self._control = Control(service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        send = _dated(send, self._service)
        body = await _read_body(receive)
        if body is None:
            return
        # Still encoded: an encoded slash in a path parameter divides nothing.
        method, path = scope["method"], scope["raw_path"].decode("latin-1").split("?", 1)[0]
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        stranger = self._door.refusal(method, path, dict(headers))
        if stranger is not None:
            await respond(send, self._envelope(403, "FORBIDDEN", stranger))
        elif len(body) > _LARGEST_BODY:
            await respond(send, self._envelope(413, "PAYLOAD_TOO_LARGE", "A requisição é grande demais."))
        elif is_page(path) and method in ("GET", "HEAD"):
            await respond(send, html_page())
        elif path.startswith(_CONTROL):
            await respond(send, self._control.answer(method, path, body))
        elif path.startswith(UPLOADS) and method == "PUT":
            await respond(send, self._upload(path, headers, body))
        else:
            connection = Connection(scope["state"]["connection"], receive, send, self._service.stopping)
            await self._serve(connection, RecordedRequest(method, path, query, headers, body))

    async def _serve(self, connection: Connection, request: RecordedRequest) -> None:
        service = self._service
        path = request.path.removesuffix("/") if service.switches.trailing_slash == "accept" else request.path
        route = find_route(request.method, path)
        request.operation_id = route.operation.operation_id if route and route.operation else None
        with service.account.lock:
            service.account.run_due()
            request.at = service.account.now_text()
            service.recorder.add(request)
            faults = service.faults.hitting(request.operation_id, request.path, request.raw_body)
        waits = service.latency + sum(fault.seconds for fault in faults if fault.kind == "latency")
        if waits:
            await asyncio.sleep(waits)
        fault = next((fault for fault in faults if fault.kind != "latency"), None)
        if fault is not None:
            request.fault = fault.kind
            if fault.when == "before" and fault.kind not in ("close_after", "close_before_next"):
                await self._break(connection, fault, request, Answer(200, b"{}"))
                return
        answer = await self._answer(route, request)
        service.recorder.answered(request, answer.status)
        if fault is not None:
            await self._break(connection, fault, request, answer)
        else:
            await respond(connection.send, answer)

    async def _break(self, connection: Connection, fault: Fault, request: RecordedRequest, answer: Answer) -> None:
        if fault.kind == "status":
            spoilt = self._faulty_status(fault)
            self._service.recorder.answered(request, spoilt.status)
            await respond(connection.send, spoilt)
        else:
            request.status = await break_answer(connection, fault, answer)

    async def _answer(self, route: Route | None, recorded: RecordedRequest) -> Answer:
        service = self._service
        account = service.account
        with account.lock:
            try:
                result = self._handle(route, recorded)
            except Refusal as refusal:
                return self._refused(refusal, recorded)
            except Exception:
                # A defect of the emulator must look like one of the service, and not end the connection.
                log.exception("%s failed", recorded.operation_id)
                return self._envelope(500, "INTERNAL_ERROR", "Erro interno do emulador.")
            if not isinstance(result, Later):
                return self._good(result)
        limit = account.clock.now() + int(result.seconds * TICKS)
        # A stopped clock must not keep a client waiting without end.
        real_limit = time.monotonic() + result.seconds
        while True:
            with account.lock:
                account.run_due()
                late = account.clock.now() >= limit or time.monotonic() >= real_limit
                if result.done() or late or service.stopping.is_set():
                    return self._good(result.answer())
            await asyncio.sleep(_POLL)

    def _good(self, result: Any) -> Answer:
        if isinstance(result, Empty):
            return Answer(200, b"")
        switches = self._service.switches
        if switches.extra_properties or switches.omit_nulls or switches.null_objects:
            result = _dressed(result, switches)
        return Answer(200, as_json(result))

    def _handle(self, route: Route | None, recorded: RecordedRequest) -> Any:
        operation, path = route or (None, {})
        service, switches = self._service, self._service.switches
        account = service.account
        if not self._authorized(recorded.header("authorization")):
            raise Refusal("ERROR_UNAUTHORIZED", "Acesso não autorizado.", status=401)
        if (*recorded.path.split("/", 2), "")[1] not in SERVICES:
            raise Refusal("BAD_REQUEST", "O serviço não foi informado no endereço.", status=400)
        wait = service.limits.take(operation)
        if wait is not None:
            raise Refusal("TOO_MANY_REQUESTS", "Limite de requisições excedido.", status=429, wait=wait)
        if operation is None:
            raise Refusal("NOT_FOUND", "Recurso não encontrado.", status=switches.wrong_method_status if route else 404)
        query, body, has_body = self._checked(operation, path, recorded)
        given = body if has_body and body is not None else {}
        result = HANDLERS[operation.operation_id](Request(account, operation, path, query, given))
        account.run_due()
        recorded.took_effect = True
        return result

    def _checked(
        self, operation: Operation, path: dict[str, str], recorded: RecordedRequest
    ) -> tuple[dict[str, Any], Any, bool]:
        """Return query and body as the service understands them; what breaks the contract is recorded, or refused."""
        switches = self._service.switches
        body, has_body = self._parsed(recorded)
        pairs = [(name, text) for name, text in recorded.query if text]
        empty = [f"query parameter {name!r} is empty" for name, text in recorded.query if not text]
        query, unknown = typed_query(operation, pairs, ignore_case=switches.query_names_ignore_case)
        for name in unknown:
            self._note(recorded, f"{operation.operation_id}: query parameter {name!r} is unknown and was ignored")
        problems = check_request(operation, path, query, body, has_body=has_body)
        for problem in [*empty, *problems]:
            self._note(recorded, f"{operation.operation_id}: {problem}")
        if problems:
            known = _query_parameters(operation.operation_id)
            query = {name: loosened(operation, known[name].schema, one, switches, name) for name, one in query.items()}
            body = loosened(operation, operation.body_schema or {}, body, switches)
            problems = check_request(operation, path, query, body, has_body=has_body)
        if switches.empty_query_values == "refuse":
            problems += empty
        if problems:
            raise bad_request(problems, switches)
        return query, body, has_body

    def _authorized(self, header: str | None) -> bool:
        token = (header or "").strip()
        if token[:7].lower() == "bearer ":
            token = token[7:].strip()
        return hmac.compare_digest(token.encode(), self._service.token.encode())

    def _parsed(self, recorded: RecordedRequest) -> tuple[Any, bool]:
        if not recorded.raw_body:
            return None, False
        if not is_json(recorded.header("content-type")):
            raise Refusal("UNSUPPORTED_MEDIA_TYPE", "O corpo deve ser application/json.", status=415)
        try:
            return read_json(recorded.raw_body), True
        except ValueError:
            raise bad_request(["o corpo não é JSON"], self._service.switches) from None

    def _note(self, recorded: RecordedRequest, text: str) -> None:
        recorded.violations.append(text)
        self._service.account.violation(text)

    def _refused(self, refusal: Refusal, recorded: RecordedRequest) -> Answer:
        account = self._service.account
        status = refusal.http_status(account.switches)
        headers: list[tuple[str, str]] = []
        if refusal.wait and account.switches.retry_after:
            headers.append(("retry-after", str(max(1, math.ceil(refusal.wait)))))
        if account.switches.problem_details and "/send/" in recorded.path and status < 500:
            return Answer(status, as_json(problem_details(status, refusal.text)), headers)
        return self._envelope(status, refusal.key, refusal.text, headers)

    def _envelope(
        self, status: int, key: str | None, text: str, headers: list[tuple[str, str]] | None = None
    ) -> Answer:
        account = self._service.account
        body = envelope(status, key, text, clock=account.clock, switches=account.switches)
        return Answer(status, as_json(body), headers or [])

    def _faulty_status(self, fault: Fault) -> Answer:
        headers = [("retry-after", fault.retry_after)] if fault.retry_after is not None else []
        if fault.envelope == "none":
            return Answer(fault.status, b"", headers)
        if fault.envelope == "html":
            page = f"<html><head><title>{fault.status}</title></head><body><h1>{fault.status}</h1></body></html>"
            return Answer(fault.status, page.encode(), headers, "text/html")
        if fault.envelope == "problem":
            return Answer(fault.status, as_json(problem_details(fault.status, "Falha simulada.")), headers)
        default = "FORM_ERROR" if fault.envelope == "business" else "INTERNAL_ERROR"
        return self._envelope(fault.status, fault.key or default, "Falha simulada.", headers)

    def _upload(self, path: str, headers: list[tuple[str, str]], body: bytes) -> Answer:
        account = self._service.account
        authorized = any(name == "authorization" for name, _ in headers)
        with account.lock:
            status, text = take_upload(account, path.removeprefix(UPLOADS), body, authorized=authorized)
        return Answer(status, text.encode(), content_type="text/plain")


_FREE = frozenset({"metadata", "customFields", "directLinks"})


def _dressed(value: Any, switches: Switches) -> Any:
    """Give an answer the properties and gaps that the switches ask for."""
    if isinstance(value, list):
        return [_dressed(one, switches) for one in value]
    if not isinstance(value, dict):
        return value
    dressed: dict[str, Any] = {}
    for name, one in value.items():
        if isinstance(one, dict) and name not in _FREE:
            dressed[name] = None if switches.null_objects else _dressed(one, switches)
        elif isinstance(one, list):
            dressed[name] = _dressed(one, switches)
        elif one is not None or not switches.omit_nulls:
            dressed[name] = one
    if switches.extra_properties:
        dressed["emulatorExtra"] = {"note": "the contract does not declare this"}
    return dressed


async def _read_body(receive: Receive) -> bytes | None:
    """Return the body, ``None`` if the client went away before its end; what is too large is not kept."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk: bytes = message.get("body", b"")
        if size <= _LARGEST_BODY:
            chunks.append(chunk)
        size += len(chunk)
        if not message.get("more_body"):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _dated(send: Send, service: Service) -> Send:
    """Put the emulated time into an answer as its ``Date``."""

    async def dated(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            date = email.utils.format_datetime(service.account.clock.datetime(), usegmt=True)
            message["headers"] = [*message["headers"], (b"date", date.encode())]
        await send(message)

    return dated


log = logging.getLogger("airflow_provider_wts.emulator")

_TICK = 0.02


class _Protocol(H11Protocol):
    """A connection that the application can reach, to break it."""

    close_before_next = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.app_state = {**self.app_state, "connection": self}
        # asyncio sets this only on sockets that know their protocol; without it an answer may wait 40 ms.
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self.close_before_next:
            self.transport.close()
            return
        super().data_received(data)


class _Server(uvicorn.Server):
    """A server that stops immediately, and does what is due in the account while it runs."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self.listening = threading.Event()
        self._end: Callable[[], object] = lambda: None

    def end(self) -> None:
        """Leave the main loop without waiting for its next tick; for any thread."""
        self.should_exit = True
        # The loop may be over by now.
        with contextlib.suppress(RuntimeError):
            self._end()

    async def main_loop(self) -> None:
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        self._end = partial(loop.call_soon_threadsafe, ended.set)
        self.listening.set()
        ticks = 0
        while not await self.on_tick(ticks):
            ticks = (ticks + 1) % 500 or 10
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), _TICK)
            account = self._service.account
            with account.lock:
                account.run_due()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.stopping.set()
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        pending = list(self.server_state.tasks)
        if pending:
            _, late = await asyncio.wait(pending, timeout=0.5)
            for task in late:
                task.cancel()
        await asyncio.sleep(0)
        if not self.force_exit:
            await self.lifespan.shutdown()


class RunningServer:
    """A server in a thread; its port 0 is a free one."""

    def __init__(self, service: Service, host: str, port: int, names: Sequence[str] = ()) -> None:
        self._service = service
        service.stopping.clear()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=512)
        port = self._socket.getsockname()[1]
        service.listens_at(f"http://{_reachable(host)}:{port}")
        application = Application(service, Door(host, port, tuple(name.lower() for name in names)))
        config = uvicorn.Config(
            cast("Any", application),
            http=_Protocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            # The server's own clock would contradict the dates in the answers.
            date_header=False,
            timeout_keep_alive=75,
            backlog=512,
        )
        self._server = _Server(config, service)
        self._thread = threading.Thread(target=self._run, name="wts-emulator", daemon=True)
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Start, and return once it listens."""
        self._thread.start()
        if not self._server.listening.wait(10) or self._failure is not None:
            raise RuntimeError("The emulator did not start.") from self._failure

    def stop(self) -> None:
        """Stop, and return once the thread has ended."""
        self._service.stopping.set()
        self._server.end()
        self._thread.join(10)
        self._service.postman.stop()
        with contextlib.suppress(OSError):
            self._socket.close()
        if self._thread.is_alive():
            log.warning("The emulator's thread did not end within 10 seconds.")

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._server.serve(sockets=[self._socket]))
        except BaseException as failure:
            self._failure = failure
            self._server.listening.set()
            raise


def _reachable(host: str) -> str:
    """Return the host for a URL; an address that means all of them is not a destination."""
    if host in _EVERYWHERE:
        return "127.0.0.1" if host != "::" else "[::1]"
    return f"[{host}]" if ":" in host else host
