"""Agents: the people who work in the account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_wts.emulator import conversation
from airflow_provider_wts.emulator.answers import EMPTY, Empty, Request, answer, by_name, handles
from airflow_provider_wts.emulator.crud import Resource
from airflow_provider_wts.emulator.errors import Refusal
from airflow_provider_wts.emulator.phones import formatted_phone, stored_phone
from airflow_provider_wts.emulator.resources.departments import join, leave
from airflow_provider_wts.emulator.state import Record, named

_NEVER_EMPTY = ("name", "profile", "availability")


def _written(request: Request, given: Mapping[str, Any], agent: Record | None) -> dict[str, Any]:
    account = request.account
    values = {name: value for name, value in given.items() if value is not None or name not in _NEVER_EMPTY}
    if "phoneNumber" in values:
        phone = stored_phone(given["phoneNumber"], account.switches) if given["phoneNumber"] else None
        values |= {"phoneNumber": phone, "phoneNumberFormatted": formatted_phone(phone)}
    taken = given.get("email") and named(account.agents, given["email"], "email")
    if taken and taken is not agent and account.switches.duplicate_email == "refuse":
        raise Refusal("ENTITY_ERROR_SAVE", "Já existe um usuário com esse e-mail.")
    if agent is None:
        values |= {"userId": account.new_id(), "shortName": (given["name"].split() or [given["name"]])[0]}
    return values


def _deleted(request: Request, agent: Record) -> None:
    account, body = request.account, request.body
    resolution, heir = body.get("sessionResolution"), None
    if resolution == "TRANSFER":
        if not body.get("transferUserId"):
            raise Refusal("FORM_ERROR", "Informe o usuário que recebe as sessões.")
        heir = account.user_of({"id": body["transferUserId"]})
    for session in [one for one in account.open_sessions.values() if one["userId"] == agent["userId"]]:
        if resolution == "TRANSFER":
            session["userId"] = heir
            account.touch(account.sessions, session)
        elif resolution == "COMPLETE":
            conversation.complete(account, session, stop_bot=False)
        else:
            session["userId"] = None
            conversation.set_status(account, session, "PENDING")


AGENTS = Resource(
    "agent",
    fields=by_name("name", "shortName", "phoneNumber", "email", "profile", "availability"),
    written=_written,
    deleted=_deleted,
    # It is not documented whether the path takes an agent's own ID or its user's.
    other_id="userId",
)


@handles("update_agent_departments")
def _departments(request: Request) -> Empty:
    account, body, agent = request.account, request.body, AGENTS.of(request)
    items = [(account.departments.need(one.get("departmentId")), one) for one in body["items"]]
    if body["action"] == "ReplaceAll":
        agent["departments"] = []
    for department, item in items:
        leave(agent, department)
        if body["action"] != "Remove":
            join(agent, department, {"isAgent": False, **item})
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
    if request.body["status"] == "Blocked":
        agent["availability"] = "UNAVAILABLE"
    request.account.touch(request.account.agents, agent)
    return answer(request, agent)
