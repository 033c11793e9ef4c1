"""Drives the emulator over HTTP, under ``/_emulator``: what a test in another process needs. No token is asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow_provider_wts.emulator.breaking import Answer
from airflow_provider_wts.emulator.errors import Refusal
from airflow_provider_wts.emulator.service import Service
from airflow_provider_wts.emulator.serving import as_json


class Control:
    """Answers the control calls.

    ========================== ========================================================================
    ``GET /state``             everything that happened
    ``POST /received``         what a customer received: ``{"to": "+5511...", "by_bots": false}``
    ``GET /requests``          the recorded requests
    ``POST /faults``           set faults: one object or a list; ``DELETE`` removes all
    ``POST /switches``         change switches: ``{"name": value}``
    ``POST /clock``            ``{"advance": seconds, "speed": number}``
    ``POST /seed``             add objects, as a seed file holds them
    ``POST /contact-reply``    ``{"from": "+5511...", "text": "...", "channel": null}``
    ``POST /reset``            begin anew
    ========================== ========================================================================

    :param service: the service.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def answer(self, method: str, path: str, raw: bytes) -> Answer:
        """Answer a control call.

        :param method: HTTP method.
        :param path: the path, still encoded.
        :param raw: the body.
        """
        name = path.removeprefix("/_emulator").strip("/")
        try:
            body = json.loads(raw) if raw else {}
            result = self._do(method, name, body)
        except (ValueError, TypeError, KeyError, Refusal) as problem:
            text = problem.text if isinstance(problem, Refusal) else str(problem)
            return Answer(400, as_json({"problem": text}))
        if result is None:
            return Answer(404, as_json({"problem": f"There is no control call {method} {name!r}."}))
        return Answer(200, as_json(result))

    def _do(self, method: str, name: str, body: Any) -> Any:
        service = self._service
        match method, name.partition("/")[0]:
            case "GET", "" | "state":
                return service.state()
            case "GET", "requests":
                return [request.summary() for request in service.recorder.kept()]
            case "POST", "received":
                found = service.received(body["to"], by_bots=bool(body.get("by_bots")))
                return [delivery.as_dict() for delivery in found]
            case "POST", "faults":
                service.faults.add_all(body)
                return service.faults.as_list()
            case "DELETE", "faults":
                service.faults.clear()
                return []
            case "POST", "switches":
                service.switches.change(_object(body))
                return service.switches.as_dict()
            case "POST", "clock":
                service.set_clock(advance=float(body.get("advance", 0)), speed=_number(body.get("speed")))
                return {"now": service.account.now_text(), "speed": service.account.clock.speed}
            case "POST", "seed":
                return service.seed(_object(body))
            case "POST", "contact-reply":
                message = service.contact_writes(body["from"], body["text"], body.get("channel"))
                return {"id": message.id, "sessionId": message["sessionId"]}
            case "POST", "reset":
                service.reset()
                return {"now": service.account.now_text()}
        return None


def _object(body: Any) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise ValueError("The body is an object.")
    return body


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
