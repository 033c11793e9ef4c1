"""Agents: the people who work in the account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_wts.emulator import conversation
from airflow_provider_wts.emulator.crud import EMPTY, Empty, Request, Resource, fields_of, handles
from airflow_provider_wts.emulator.errors import Refusal
from airflow_provider_wts.emulator.phones import formatted_phone, stored_phone
from airflow_provider_wts.emulator.state import Record, named

_FIELDS = fields_of("name", "shortName", "phoneNumber", "email", "profile", "availability")


_NEVER_EMPTY = ("name", "profile", "availability")


def _written(request: Request, given: Mapping[str, Any], agent: Record | None) -> dict[str, Any]:
    account = request.account
    values = {name: value for name, value in given.items() if value is not None or name not in _NEVER_EMPTY}
    if "phoneNumber" in values:
        phone = stored_phone(given["phoneNumber"], account.switches) if given["phoneNumber"] else None
        values |= {"phoneNumber": phone, "phoneNumberFormatted": formatted_phone(phone) if phone else None}
    taken = given.get("email") and named(account.agents.by_creation(), given["email"], lambda one: one["email"])
    if taken and taken is not agent and account.switches.duplicate_email == "refuse":
        raise Refusal("ENTITY_ERROR_SAVE", "Já existe um usuário com esse e-mail.")
    if agent is None:
        values |= {"userId": account.new_id(), "shortName": (given["name"].split() or [given["name"]])[0]}
    return values


def _leaves(request: Request, agent: Record) -> None:
    account, body = request.account, request.body
    resolution, heir = body.get("sessionResolution"), None
    if resolution == "TRANSFER":
        if not body.get("transferUserId"):
            raise Refusal("FORM_ERROR", "Informe o usuário que recebe as sessões.")
        heir = account.agent_of({"id": body["transferUserId"]})
    for session in [one for one in account.open_sessions.values() if one["userId"] == agent["userId"]]:
        if resolution == "TRANSFER":
            session["userId"] = heir["userId"] if heir else None
            account.touch(account.sessions, session)
        elif resolution == "COMPLETE":
            conversation.complete(account, session, stop_bot=False)
        else:
            session["userId"] = None
            conversation.set_status(account, session, "PENDING")


AGENTS = Resource(
    "agent",
    "agents",
    "O usuário",
    fields=_FIELDS,
    written=_written,
    defaults={
        "email": None,
        "phoneNumber": None,
        "phoneNumberFormatted": None,
        "isOwner": False,
        "departments": [],
        "availability": "UNAVAILABLE",
        "blocked": False,
    },
    leaves=_leaves,
    # Nobody says whether the path takes an agent's own id or its user's.
    other_id="userId",
)


@handles("update_agent_departments")
def _departments(request: Request) -> Empty:
    account, body, agent = request.account, request.body, AGENTS.of(request)
    places = {}
    for item in body["items"]:
        department = account.need(account.departments, item.get("departmentId"), "A equipe")
        places[department.id] = {
            "agentId": agent.id,
            "userId": agent["userId"],
            "departmentId": department.id,
            "isAgent": bool(item.get("isAgent")),
            "isSupervisor": bool(item.get("isSupervisor")),
        }
    kept = {} if body["action"] == "ReplaceAll" else {one["departmentId"]: one for one in agent["departments"]}
    if body["action"] == "Remove":
        kept = {identifier: one for identifier, one in kept.items() if identifier not in places}
    else:
        kept |= places
    agent["departments"] = list(kept.values())
    account.touch(account.agents, agent)
    return EMPTY


@handles("logout_agent")
def _logout(request: Request) -> Empty:
    agent = AGENTS.of(request)
    agent["availability"] = "UNAVAILABLE"
    request.account.touch(request.account.agents, agent)
    return EMPTY


@handles("update_agent_status")
def _status(request: Request) -> dict[str, Any]:
    agent = AGENTS.of(request)
    agent["blocked"] = request.body["status"] == "Blocked"
    if agent["blocked"]:
        agent["availability"] = "UNAVAILABLE"
    request.account.touch(request.account.agents, agent)
    return AGENTS.shown(request, agent)
