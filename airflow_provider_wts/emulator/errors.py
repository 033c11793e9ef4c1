"""How the service refuses: with its own envelope, and with HTTP 500 when others would answer 4xx."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from airflow_provider_wts.emulator.clock import Clock
from airflow_provider_wts.emulator.switches import Switches

T = TypeVar("T")


@dataclass(eq=False)
class Refusal(Exception):
    """The service refuses a request.

    :param key: key of the envelope, such as ``FORM_ERROR``, if it has one.
    :param text: what is wrong, in Portuguese, as the service says it.
    :param status: HTTP status; ``None`` = the one of business refusals, which a switch sets.
    :param missing: whether an object was not found; another switch sets the status of that.
    :param wait: emulated seconds until the request may be sent again.
    """

    key: str | None
    text: str
    status: int | None = None
    missing: bool = False
    wait: float | None = None

    def __str__(self) -> str:
        return self.text


def not_found(what: str, key: str = "ENTITY_NOT_FOUND") -> Refusal:
    """Return the refusal for an object that is not there.

    :param what: the object, in Portuguese with its article, such as ``O contato``.
    """
    return Refusal(key, f"{what} não foi encontrado(a).", missing=True)


def required(found: T | None, what: str, key: str = "ENTITY_NOT_FOUND") -> T:
    """Return an object, or refuse as the service does if there is none; see :func:`not_found`."""
    if found is None:
        raise not_found(what, key)
    return found


def bad_request(problems: list[str], switches: Switches) -> Refusal:
    """Return the refusal of a request that does not fit the contract."""
    text = "Requisição inválida: " + "; ".join(problems[:10])
    key = None if switches.bad_body_key == "none" else switches.bad_body_key
    return Refusal(key, text, status=switches.bad_body_status)


def envelope(status: int, key: str | None, text: str, *, clock: Clock, switches: Switches) -> dict[str, Any]:
    """Return the service's error envelope, ``InternalException``."""
    identifier = str(uuid.uuid4())
    code: int | str = status
    if switches.status_code_in_envelope == "name" or (switches.status_code_in_envelope == "seen" and status >= 500):
        code = _phrase(status).replace(" ", "").upper()
    body: dict[str, Any] = {
        "id": {"value": identifier, "shortValue": identifier[:8].upper()},
        "httpStatusCode": code,
        "error": True,
        "date": clock.text(clock.now()),
        "key": key,
        "text": text,
        "isUnsolvableError": False,
        "details": None,
        "version": "1.0.0",
        "environment": "Emulator",
    }
    if status >= 500:
        body["customData"] = None
    return body


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"


def problem_details(status: int, text: str) -> dict[str, Any]:
    """Return the other error body, which the contract declares for the send family."""
    return {
        "type": f"https://httpstatuses.io/{status}",
        "title": _phrase(status),
        "status": status,
        "detail": text,
        "instance": None,
    }
