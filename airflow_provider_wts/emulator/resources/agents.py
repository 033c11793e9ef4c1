"""Agents: the people who work in the account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_wts.emulator import conversation
from airflow_provider_wts.emulator.crud import EMPTY, Empty, Request, changes, handles, stamped
from airflow_provider_wts.emulator.errors import Refusal, not_found
from airflow_provider_wts.emulator.phones import formatted_phone, stored_phone
from airflow_provider_wts.emulator.state import named

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.state import Account, Record

_FIELDS = {
    "Name": ("name",),
    "ShortName": ("shortName",),
    "PhoneNumber": ("phoneNumber",),
    "Email": ("email",),
    "Profile": ("profile",),
    "Availability": ("availability",),
}


@handles("list_agents")
def _list(request: Request) -> list[dict[str, Any]]:
    return [_show(request.account, agent) for agent in request.account.agents.by_creation()]


@handles("get_agent")
def _get(request: Request) -> dict[str, Any]:
    return _show(request.account, _agent_of(request))


@handles("create_agent")
def _create(request: Request) -> dict[str, Any]:
    account, body = request.account, request.body
    phone = stored_phone(body["phoneNumber"], account.switches) if body.get("phoneNumber") else None
    _refuse_taken_email(account, body.get("email"), None)
    values = {
        "companyId": account.id,
        "userId": account.new_id(),
        "name": body["name"],
        "shortName": body["name"].split()[0] if body["name"].split() else body["name"],
        "email": body.get("email"),
        "phoneNumber": phone,
        "phoneNumberFormatted": formatted_phone(phone) if phone else None,
        "profile": body["profile"],
        "isOwner": False,
        "departments": [],
        "availability": body.get("availability") or "UNAVAILABLE",
        "blocked": False,
    }
    return _show(account, account.new(account.agents, values))


@handles("update_agent")
def _update(request: Request) -> dict[str, Any]:
    account, agent = request.account, _agent_of(request)
    given = changes(request, _FIELDS)
    if given.get("phoneNumber"):
        given["phoneNumber"] = stored_phone(given["phoneNumber"], account.switches)
    _refuse_taken_email(account, given.get("email"), agent)
    for name, value in given.items():
        # These three are never empty.
        if value is not None or name not in ("name", "profile", "availability"):
            agent[name] = value
    agent["phoneNumberFormatted"] = formatted_phone(agent["phoneNumber"]) if agent["phoneNumber"] else None
    account.touch(account.agents, agent)
    return _show(account, agent)


@handles("delete_agent")
def _delete(request: Request) -> Empty:
    account, body, agent = request.account, request.body, _agent_of(request)
    resolution, heir = body.get("sessionResolution"), None
    if resolution == "TRANSFER":
        if not body.get("transferUserId"):
            raise Refusal("FORM_ERROR", "Informe o usuário que recebe as sessões.")
        heir = account.agent_of({"id": body["transferUserId"]})
    own = [one for one in account.open_sessions.values() if one["userId"] == agent["userId"]]
    for session in own:
        if resolution == "TRANSFER":
            session["userId"] = heir["userId"] if heir else None
            account.touch(account.sessions, session)
        elif resolution == "COMPLETE":
            conversation.complete(account, session, stop_bot=False)
        else:
            session["userId"] = None
            conversation.set_status(account, session, "PENDING")
    account.agents.remove(agent)
    return EMPTY


@handles("update_agent_departments")
def _departments(request: Request) -> Empty:
    account, body, agent = request.account, request.body, _agent_of(request)
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
    agent = _agent_of(request)
    agent["availability"] = "UNAVAILABLE"
    request.account.touch(request.account.agents, agent)
    return EMPTY


@handles("update_agent_status")
def _status(request: Request) -> dict[str, Any]:
    agent = _agent_of(request)
    agent["blocked"] = request.body["status"] == "Blocked"
    if agent["blocked"]:
        agent["availability"] = "UNAVAILABLE"
    request.account.touch(request.account.agents, agent)
    return _show(request.account, agent)


def _refuse_taken_email(account: Account, email: str | None, own: Record | None) -> None:
    taken = email and named(account.agents.by_creation(), email, lambda agent: agent["email"])
    if taken and taken is not own and account.switches.duplicate_email == "refuse":
        raise Refusal("ENTITY_ERROR_SAVE", "Já existe um usuário com esse e-mail.")


def _agent_of(request: Request) -> Record:
    """Return the agent of the path; its own id and its user's both name it, since nobody says which is meant."""
    account, identifier = request.account, request.path["id"].lower()
    agent = next((one for one in account.agents.by_creation() if identifier in (one.id, one["userId"])), None)
    if agent is None:
        raise not_found("O usuário")
    return agent


def _show(account: Account, agent: Record) -> dict[str, Any]:
    values = {name: value for name, value in agent.values.items() if name != "blocked"}
    return {**stamped(account, agent), **values}
