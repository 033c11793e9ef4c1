"""Answers the requests of clients: routing, authentication, limits, checks against the contract."""

from __future__ import annotations

import hmac
import logging
import math
import re
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from airflow_provider_wts.api.contract import SERVICES, Operation, Parameter, operations, resolve
from airflow_provider_wts.api.contract.check import check_request
from airflow_provider_wts.emulator import resources
from airflow_provider_wts.emulator.answers import HANDLERS, Answer, Empty, Later, Request, as_json, is_json, read_json
from airflow_provider_wts.emulator.clock import TICKS
from airflow_provider_wts.emulator.errors import Refusal, bad_request, envelope, problem_details
from airflow_provider_wts.emulator.faults import Fault
from airflow_provider_wts.emulator.service import RecordedRequest, Service
from airflow_provider_wts.emulator.switches import Switches

log = logging.getLogger("airflow_provider_wts.emulator")

_POLL = 0.005


class Route(NamedTuple):
    """What a path leads to: its operation, ``None`` if the path is known and the method is not, and its parameters."""

    operation: Operation | None
    path: dict[str, str]


def find_route(method: str, path: str) -> Route | None:
    """Return what a request leads to, ``None`` if the path is unknown.

    :param path: the path, still encoded, so that ``%2F`` does not divide it.
    """
    path = "/".join(quote(unquote(segment), safe="") for segment in path.split("/"))
    known = False
    for pattern, served in _paths():
        match = pattern.fullmatch(path)
        if match and method in served:
            return Route(served[method], {name: unquote(segment) for name, segment in match.groupdict().items()})
        known = known or match is not None
    return Route(None, {}) if known else None


@cache
def _paths() -> list[tuple[re.Pattern[str], dict[str, Operation]]]:
    """Return the operations of each path by their method; literal segments go before placeholders."""
    found: defaultdict[str, dict[str, Operation]] = defaultdict(dict)
    for operation in operations().values():
        found[operation.path][operation.method] = operation
    return [(re.compile(_PLACE.sub(r"(?P<\1>[^/]+)", path)), served) for path, served in sorted(found.items())]


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
        # Which of ``Metadata[key]`` and ``Metadata.key`` the service takes is not documented.
        member = _MEMBER.fullmatch(name)
        if member and member[1] in known and known[member[1]].schema.get("type") == "object":
            typed.setdefault(member[1], {})[member[2] or member[3] or ""] = text
        else:
            unknown.append(given)
    return typed, unknown


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


_PLACE = re.compile(r"\{(\w+)\}")
_INTEGER = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_NO_ZONE = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?", re.ASCII)
_MEMBER = re.compile(r"([^.\[]+)(?:\[(.*)\]|\.(.*))", re.DOTALL)
_NULL = {"type": "null"}


class Application:
    """Answers the requests of clients for a service."""

    def __init__(self, service: Service) -> None:
        resources.load()
        self._service = service

    def route(self, request: RecordedRequest) -> tuple[Route | None, list[Fault]]:
        """Record a request; return what it leads to, and the faults that hit it."""
        service = self._service
        path = request.path.removesuffix("/") if service.switches.trailing_slash == "accept" else request.path
        route = find_route(request.method, path)
        request.operation_id = route.operation.operation_id if route and route.operation else None
        with service.account.lock:
            service.account.agenda.run_due()
            request.at = service.account.now_text()
            service.recorder.add(request)
            return route, service.faults.hitting(request.operation_id, request.path, request.raw_body)

    def answer(self, route: Route | None, recorded: RecordedRequest) -> Answer:
        """Carry a request out."""
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
                return self.envelope(500, "INTERNAL_ERROR", "Erro interno do emulador.")
            if not isinstance(result, Later):
                return self._good(result)
        limit = account.clock.now() + int(result.seconds * TICKS)
        # A stopped clock must not keep a client waiting without end.
        real_limit = time.monotonic() + result.seconds
        while True:
            with account.lock:
                account.agenda.run_due()
                late = account.clock.now() >= limit or time.monotonic() >= real_limit
                if result.done() or late or service.stopping.is_set():
                    return self._good(result.answer())
            time.sleep(_POLL)

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
        account.agenda.run_due()
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
        switches = account.switches
        status = refusal.status or (switches.not_found_status if refusal.missing else switches.refusal_status)
        headers: list[tuple[str, str]] = []
        if refusal.wait and account.switches.retry_after:
            headers.append(("retry-after", str(max(1, math.ceil(refusal.wait)))))
        if account.switches.problem_details and "/send/" in recorded.path and status < 500:
            return Answer(status, as_json(problem_details(status, refusal.text)), headers)
        return self.envelope(status, refusal.key, refusal.text, headers)

    def envelope(self, status: int, key: str | None, text: str, headers: Sequence[tuple[str, str]] = ()) -> Answer:
        """Return an answer with the error envelope."""
        account = self._service.account
        body = envelope(status, key, text, clock=account.clock, switches=account.switches)
        return Answer(status, as_json(body), headers)

    def faulty(self, fault: Fault) -> Answer:
        """Return the answer of a ``status`` fault."""
        headers = [("retry-after", fault.retry_after)] if fault.retry_after is not None else []
        if fault.envelope == "none":
            return Answer(fault.status, b"", headers)
        if fault.envelope == "html":
            page = f"<html><head><title>{fault.status}</title></head><body><h1>{fault.status}</h1></body></html>"
            return Answer(fault.status, page.encode(), headers, "text/html")
        if fault.envelope == "problem":
            return Answer(fault.status, as_json(problem_details(fault.status, "Falha simulada.")), headers)
        default = "FORM_ERROR" if fault.envelope == "business" else "INTERNAL_ERROR"
        return self.envelope(fault.status, fault.key or default, "Falha simulada.", headers)


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
