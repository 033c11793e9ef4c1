"""Drives the emulator over HTTP, under ``/_emulator``: what a test in another process needs. No token is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_wts.emulator.answers import Answer, as_json, read_json
from airflow_provider_wts.emulator.errors import Refusal
from airflow_provider_wts.emulator.page import page_data
from airflow_provider_wts.emulator.service import Service


class Control:
    """Answers the control calls.

    ========================== ========================================================================
    ``GET /state``             everything that happened
    ``POST /received``         what a customer received: ``{"to": "+5511...", "by_bots": false}``
    ``GET /requests``          the recorded requests
    ``GET /page``              what the page at ``/`` shows: conversations and sends; ``/page/<id>``: one of them
    ``POST /faults``           set faults: one object or a list; ``DELETE`` removes all
    ``POST /switches``         change switches: ``{"name": value}``
    ``POST /clock``            ``{"advance": seconds, "speed": number}``
    ``POST /seed``             add objects, as a seed file holds them
    ``POST /contact-reply``    ``{"from": "+5511...", "text": "...", "channel": null}``
    ``POST /reset``            start again
    ========================== ========================================================================
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def answer(self, method: str, path: str, raw: bytes) -> Answer:
        """Answer a control call."""
        name = path.removeprefix("/_emulator").strip("/")
        try:
            with self._service.account.lock:
                result = self._do(method, name, read_json(raw) if raw else {})
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, Refusal) as problem:
            text = problem.text if isinstance(problem, Refusal) else str(problem)
            text = f"{text} is missing." if isinstance(problem, KeyError) else text
            return Answer(400, as_json({"problem": text}))
        if result is None:
            return Answer(404, as_json({"problem": f"There is no control call {method} {name!r}."}))
        return Answer(200, as_json(result))

    def _do(self, method: str, name: str, body: Any) -> Any:
        service = self._service
        match method, name:
            case "GET", "" | "state":
                return service.state()
            case "GET", "requests":
                return [request.summary() for request in service.recorder.kept()]
            case "GET", _ if name.partition("/")[0] == "page":
                return page_data(service, name.partition("/")[2] or None)
            case "DELETE", "faults":
                service.faults.clear()
                return []
            case "POST", _:
                return self._drive(name, body)
        return None

    def _drive(self, name: str, body: Any) -> Any:
        service = self._service
        match name:
            case "received":
                found = service.received(body["to"], by_bots=bool(body.get("by_bots")))
                return [delivery.as_dict() for delivery in found]
            case "faults":
                service.faults.add_all(body)
                return service.faults.as_list()
            case "switches":
                service.switches.change(_object(body))
                return service.switches.as_dict()
            case "clock":
                speed = body.get("speed")
                service.set_clock(advance=float(body.get("advance", 0)), speed=None if speed is None else float(speed))
                return {"now": service.account.now_text(), "speed": service.account.clock.speed}
            case "seed":
                return service.seed(_object(body))
            case "contact-reply":
                message = service.contact_writes(body["from"], body["text"], body.get("channel"))
                return {"id": message.id, "sessionId": message["sessionId"]}
            case "reset":
                service.reset()
                return {"now": service.account.now_text()}
        return None


def _object(body: Any) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise ValueError("The body must be a JSON object.")
    return body
