"""The emulator as an ASGI application: authentication, limits, routing, checks, faults, answers."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from airflow_provider_wts.api.contract.check import check_request
from airflow_provider_wts.emulator import resources
from airflow_provider_wts.emulator.breaking import Answer, Connection, break_answer
from airflow_provider_wts.emulator.clock import TICKS
from airflow_provider_wts.emulator.control import Control
from airflow_provider_wts.emulator.errors import Refusal, bad_request, envelope, problem_details
from airflow_provider_wts.emulator.page import html_page, is_page
from airflow_provider_wts.emulator.reading import typed_query
from airflow_provider_wts.emulator.recording import RecordedRequest
from airflow_provider_wts.emulator.resources.files import UPLOADS, take_upload
from airflow_provider_wts.emulator.routing import find_route, has_service
from airflow_provider_wts.emulator.serving import HANDLERS, Empty, Later, Request, as_json

if TYPE_CHECKING:
    from airflow_provider_wts.api.contract import Operation
    from airflow_provider_wts.emulator.faults import Fault
    from airflow_provider_wts.emulator.service import Service

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
