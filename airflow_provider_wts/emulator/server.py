"""Answers HTTP requests on uvicorn, in a thread of its own: authentication, routing, limits, checks, faults."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import socket
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, unquote

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from airflow_provider_wts.api.contract import SERVICES, Operation, Parameter, operations
from airflow_provider_wts.api.contract.check import check_request
from airflow_provider_wts.emulator import resources
from airflow_provider_wts.emulator.clock import TICKS
from airflow_provider_wts.emulator.control import Control
from airflow_provider_wts.emulator.crud import HANDLERS, Empty, Later, Request, as_json
from airflow_provider_wts.emulator.errors import Refusal, bad_request, envelope, problem_details
from airflow_provider_wts.emulator.faults import Answer, Connection, break_answer
from airflow_provider_wts.emulator.page import html_page, is_page
from airflow_provider_wts.emulator.resources.files import UPLOADS, take_upload
from airflow_provider_wts.emulator.service import RecordedRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_provider_wts.emulator.faults import Fault
    from airflow_provider_wts.emulator.service import Service


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


def typed_query(
    operation: Operation, pairs: Sequence[tuple[str, str]], *, ignore_case: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """Return the known parameters with their types, and the names that the contract does not know.

    A value that does not fit its type stays text, for the check against the contract to find.

    :param operation: the operation.
    :param pairs: names and values in the order of the query string.
    :param ignore_case: whether names are compared without case.
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
    if kind == "integer":
        try:
            return int(text)
        except ValueError:
            return text
    if kind == "boolean":
        return {"true": True, "false": False}.get(text.lower(), text)
    choices = schema.get("enum") or _referred_choices(schema)
    if choices:
        return _same_ignoring_case(choices, text)
    return text


def _same_ignoring_case(choices: Iterable[Any], text: str) -> str:
    return next((choice for choice in choices if str(choice).lower() == text.lower()), text)


def _referred_choices(schema: Mapping[str, Any]) -> list[Any]:
    for part in schema.get("anyOf", ()) or schema.get("allOf", ()):
        if "enum" in part:
            return list(part["enum"])
    return []


@cache
def _query_parameters(operation_id: str) -> dict[str, Parameter]:
    found = operations()[operation_id].parameters
    return {parameter.name: parameter for parameter in found if parameter.location == "query"}


Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_POLL = 0.005
_LARGEST_UPLOAD = 256 * 1024 * 1024


class Application:
    """Answers HTTP requests for a service.

    :param service: the account, the faults, the limits and the records.
    """

    def __init__(self, service: Service) -> None:
        resources.load()
        self._service = service
        self._control = Control(service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        :param scope: the ASGI scope.
        :param receive: gives the body.
        :param send: takes the answer.
        """
        if scope["type"] != "http":
            return
        path = _raw_path(scope)
        body = await _read_body(receive)
        if body is None:
            return
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        if is_page(path) and scope["method"] in ("GET", "HEAD"):
            await _respond(send, html_page())
        elif path.startswith("/_emulator"):
            await _respond(send, self._control.answer(scope["method"], path, body))
        elif path.startswith(UPLOADS) and scope["method"] == "PUT":
            await _respond(send, self._upload(path, headers, body))
        else:
            await self._serve(scope, receive, send, headers, body)

    async def _serve(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: list[tuple[str, str]],
        body: bytes,
    ) -> None:
        service = self._service
        path = _raw_path(scope)
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        route = find_route(scope["method"], path)
        operation = route.operation if route else None
        name = operation.operation_id if operation else None
        with service.account.lock:
            service.account.run_due()
            recorded = RecordedRequest(scope["method"], path, query, headers, body, name, service.account.now_text())
            service.recorder.add(recorded)
            faults = service.faults.hitting(name, path, body)
        waits = service.latency + sum(fault.seconds for fault in faults if fault.kind == "latency")
        if waits:
            await asyncio.sleep(waits)
        fault = next((fault for fault in faults if fault.kind != "latency"), None)
        connection = Connection(scope["state"]["connection"], receive, send, service.stopping)
        if fault is not None:
            recorded.fault = fault.kind
            if fault.when == "before" and fault.kind not in ("close_after", "close_before_next"):
                await self._break(connection, fault, recorded, None)
                return
        answer = await self._answer(operation, route.path if route else {}, recorded)
        service.recorder.answered(recorded, answer.status)
        if fault is not None:
            await self._break(connection, fault, recorded, answer)
        else:
            await _respond(send, answer)

    async def _break(
        self, connection: Connection, fault: Fault, recorded: RecordedRequest, answer: Answer | None
    ) -> None:
        service = self._service
        if fault.kind == "status":
            spoilt = self._faulty_status(fault)
            service.recorder.answered(recorded, spoilt.status)
            await _respond(connection.send, spoilt)
            return
        recorded.status = await break_answer(connection, fault, answer or Answer(200, b"{}"))

    async def _answer(self, operation: Operation | None, path: dict[str, str], recorded: RecordedRequest) -> Answer:
        service = self._service
        account = service.account
        with account.lock:
            try:
                result = self._handle(operation, path, recorded)
            except Refusal as refusal:
                return self._refused(refusal, recorded)
            if not isinstance(result, Later):
                return self._good(result)
        limit = account.clock.now() + int(result.seconds * TICKS)
        # A clock that stands still must not keep a client waiting without end.
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
        return Answer(200, as_json(self._dressed(result)))

    def _handle(self, operation: Operation | None, path: dict[str, str], recorded: RecordedRequest) -> Any:
        service = self._service
        account = service.account
        if not self._authorized(recorded.header("authorization")):
            raise Refusal("ERROR_UNAUTHORIZED", "Acesso não autorizado.", status=401)
        if not has_service(recorded.path):
            raise Refusal("BAD_REQUEST", "O serviço não foi informado no endereço.", status=400)
        wait = service.limits.take(operation)
        if wait is not None:
            raise _TooMany(wait)
        if operation is None:
            raise Refusal("NOT_FOUND", "Recurso não encontrado.", status=404)
        body, has_body = self._parsed(recorded.raw_body)
        typed, unknown = typed_query(operation, recorded.query, ignore_case=account.switches.query_names_ignore_case)
        problems = check_request(operation, path, typed, body, has_body=has_body)
        for name in unknown:
            self._note(recorded, f"{operation.operation_id}: query parameter {name!r} is unknown and was ignored")
        if problems:
            strict = account.switches.strict
            unknown_properties = [problem for problem in problems if "is not in the contract" in problem]
            for problem in unknown_properties:
                self._note(recorded, f"{operation.operation_id}: {problem}")
            serious = problems if strict else [one for one in problems if one not in unknown_properties]
            if serious:
                for problem in serious:
                    self._note(recorded, f"{operation.operation_id}: {problem}")
                raise bad_request(serious, account.switches)
        result = HANDLERS[operation.operation_id](
            Request(account, operation, path, typed, body if has_body and body is not None else {})
        )
        account.run_due()
        recorded.took_effect = True
        return result

    def _authorized(self, header: str | None) -> bool:
        token = (header or "").strip()
        if token[:7].lower() == "bearer ":
            token = token[7:].strip()
        return hmac.compare_digest(token.encode(), self._service.token.encode())

    def _parsed(self, raw: bytes) -> tuple[Any, bool]:
        if not raw:
            return None, False
        try:
            return json.loads(raw), True
        except ValueError:
            raise bad_request(["o corpo não é JSON"], self._service.account.switches) from None

    def _note(self, recorded: RecordedRequest, text: str) -> None:
        recorded.violations.append(text)
        self._service.account.violation(text)

    def _refused(self, refusal: Refusal, recorded: RecordedRequest) -> Answer:
        account = self._service.account
        status = refusal.http_status(account.switches)
        headers: list[tuple[str, str]] = []
        if isinstance(refusal, _TooMany) and account.switches.retry_after:
            headers.append(("retry-after", str(max(1, -int(-refusal.wait // 1)))))
        if account.switches.problem_details and "/send/" in recorded.path and status < 500:
            body = problem_details(status, refusal.text)
        else:
            body = envelope(status, refusal.key, refusal.text, clock=account.clock, switches=account.switches)
        return Answer(status, as_json(body), headers)

    def _faulty_status(self, fault: Fault) -> Answer:
        account = self._service.account
        headers = [("retry-after", fault.retry_after)] if fault.retry_after is not None else []
        if fault.envelope == "none":
            return Answer(fault.status, b"", headers)
        if fault.envelope == "html":
            page = f"<html><head><title>{fault.status}</title></head><body><h1>{fault.status}</h1></body></html>"
            return Answer(fault.status, page.encode(), headers, "text/html")
        if fault.envelope == "problem":
            return Answer(fault.status, as_json(problem_details(fault.status, "Falha simulada.")), headers)
        default = "FORM_ERROR" if fault.envelope == "business" else "INTERNAL_ERROR"
        body = envelope(
            fault.status, fault.key or default, "Falha simulada.", clock=account.clock, switches=account.switches
        )
        return Answer(fault.status, as_json(body), headers)

    def _dressed(self, result: Any) -> Any:
        """Give an answer the properties and gaps that the switches ask for."""
        switches = self._service.account.switches
        if not (switches.extra_properties or switches.omit_nulls or switches.null_objects):
            return result
        return _dress(result, switches.extra_properties, switches.omit_nulls, switches.null_objects, top=True)

    def _upload(self, path: str, headers: list[tuple[str, str]], body: bytes) -> Answer:
        account = self._service.account
        if len(body) > _LARGEST_UPLOAD:
            return Answer(413, b"")
        authorized = any(name == "authorization" for name, _ in headers)
        with account.lock:
            status, text = take_upload(account, path.removeprefix(UPLOADS), body, authorized=authorized)
        return Answer(status, text.encode(), content_type="text/plain")


class _TooMany(Refusal):
    def __init__(self, wait: float) -> None:
        super().__init__("TOO_MANY_REQUESTS", "Limite de requisições excedido.", status=429)
        self.wait = wait


_FREE = frozenset({"metadata", "customFields", "directLinks"})


def _dress(value: Any, extra: bool, omit: bool, null: bool, *, top: bool = False) -> Any:
    if isinstance(value, list):
        return [_dress(one, extra, omit, null, top=top) for one in value]
    if not isinstance(value, dict):
        return value
    dressed: dict[str, Any] = {}
    for name, one in value.items():
        if one is None and omit:
            continue
        if isinstance(one, dict) and name not in _FREE:
            dressed[name] = None if null else _dress(one, extra, omit, null)
        elif isinstance(one, list):
            dressed[name] = _dress(one, extra, omit, null, top=top and name in ("items", "results"))
        else:
            dressed[name] = one
    if extra:
        dressed["emulatorExtra"] = {"note": "the contract does not declare this"}
    return dressed


def _raw_path(scope: Scope) -> str:
    """Return the path, still encoded: an encoded slash in a path parameter divides nothing."""
    raw: bytes = scope["raw_path"]
    return raw.decode("latin-1").split("?", 1)[0]


async def _read_body(receive: Receive) -> bytes | None:
    """Return the body, ``None`` where the client went away before it was whole."""
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _respond(send: Send, answer: Answer) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.raw_headers()})
    await send({"type": "http.response.body", "body": answer.body})


log = logging.getLogger("airflow_provider_wts.emulator")

_TICK = 0.02


class _Protocol(H11Protocol):
    """A connection that the application can reach, to break it."""

    close_before_next = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.app_state = {**self.app_state, "connection": self}
        # asyncio does this for sockets that know their protocol only; without it an answer may wait 40 ms.
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
    """A server that stops at once, and does what is due in the account while it runs."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self.listening = threading.Event()

    async def main_loop(self) -> None:
        self.listening.set()
        ticks = 0
        while not await self.on_tick(ticks):
            ticks = (ticks + 1) % 500 or 10
            await asyncio.sleep(_TICK)
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
    """A server in a thread.

    :param service: what it serves.
    :param host: address to listen at.
    :param port: port, 0 = a free one.
    """

    def __init__(self, service: Service, host: str, port: int) -> None:
        self._service = service
        application = Application(service)
        service.stopping.clear()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=512)
        service.listens_at(f"http://{_reachable(host)}:{self._socket.getsockname()[1]}")
        config = uvicorn.Config(
            cast("Any", application),
            http=_Protocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
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
        self._server.should_exit = True
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
    """Return the host for a URL; an address that stands for all of them is no destination."""
    if host in ("", "0.0.0.0", "::"):  # noqa: S104
        return "127.0.0.1" if host != "::" else "[::1]"
    return f"[{host}]" if ":" in host else host
