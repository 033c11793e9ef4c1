"""Departments: the teams of the account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_wts.emulator.answers import Request, answer, by_name, handles
from airflow_provider_wts.emulator.crud import Resource
from airflow_provider_wts.emulator.errors import Refusal, required
from airflow_provider_wts.emulator.state import Account, Record

_DETAILS = by_name("agents", "channels")


def _show(request: Request, department: Record) -> dict[str, Any]:
    account = request.account

    def agents() -> list[dict[str, Any]]:
        places = [place for agent in account.agents for place in agent["departments"]]
        names = ("userId", "departmentId", "isAgent", "isSupervisor")
        return [{name: place[name] for name in names} for place in places if place["departmentId"] == department.id]

    def channels() -> list[dict[str, Any]]:
        return [
            {**channel.shown("number", "type"), "name": channel["identity"]["displayName"]}
            for channel in account.channels
            if serves(department, channel)
        ]

    return answer(request, department, _DETAILS, agents=agents, channels=channels)


def serves(department: Record, channel: Record) -> bool:
    """Return whether a department serves a channel."""
    config = department["channelsConfig"]
    return config["scope"] == "ALL" or channel.id in config["channels"]


def _written(request: Request, given: Mapping[str, Any], department: Record | None) -> dict[str, Any]:
    account = request.account
    if department is None and not given.get("name"):
        raise Refusal("FORM_ERROR", "Informe o nome da equipe.")
    values = {name: given[name] for name in ("name", "restrictionType") if given.get(name)}
    if given.get("channelsConfig") is not None:
        values["channelsConfig"] = _channels(account, given["channelsConfig"])
    if "distributionConfig" in given:
        values["distributionConfig"] = given["distributionConfig"]
    if "distributionIsEnabled" in given:
        values["distribuitionEnabled"] = bool(given["distributionIsEnabled"])
    if "isDefault" in given:
        values["isDefault"] = bool(given["isDefault"])
    if given.get("isDefault"):
        for other in account.departments:
            other["isDefault"] = False
    return values


def _deleted(request: Request, department: Record) -> None:
    if department["isDefault"]:
        raise Refusal("ENTITY_ERROR_SAVE", "A equipe padrão não pode ser excluída.")
    for agent in request.account.agents:
        leave(agent, department)


DEPARTMENTS = Resource(
    "department",
    show=_show,
    fields=by_name(
        *("name", "description", "isDefault", "distributionIsEnabled", "channelsConfig", "restrictionType"),
        "distributionConfig",
    ),
    written=_written,
    deleted=_deleted,
)


@handles("create_department")
def _create(request: Request) -> dict[str, Any]:
    agents = [(_agent(request.account, one.get("userId")), one) for one in request.body.get("agents") or ()]
    department = DEPARTMENTS.create(request)
    for agent, item in agents:
        join(agent, department, item)
    return _show(request, department)


@handles("update_department_agents")
def _agents(request: Request) -> dict[str, Any]:
    account, body, department = request.account, request.body, DEPARTMENTS.of(request)
    agents = [(_agent(account, one.get("userId")), one) for one in body["items"]]
    if body["action"] == "ReplaceAll":
        for agent in account.agents:
            leave(agent, department)
    for agent, item in agents:
        if body["action"] == "Remove":
            leave(agent, department)
        else:
            join(agent, department, item)
        account.touch(account.agents, agent)
    account.touch(account.departments, department)
    return {"action": body["action"], "items": body["items"]}


@handles("get_department_channels")
def _channels_of(request: Request) -> Any:
    return DEPARTMENTS.of(request)["channelsConfig"]


def _agent(account: Account, user_id: str | None) -> Record:
    return required(account.agent_of({"id": user_id}), "O usuário")


def _channels(account: Account, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a channel selection with IDs instead of names and numbers."""
    scope = given.get("scope") or "ALL"
    if scope != "SELECTED":
        return {"scope": scope, "channels": []}
    found = []
    for wanted in given.get("channels") or ():
        by_name = (one for one in account.channels if one["identity"]["displayName"] == wanted)
        found.append((next(by_name, None) or account.channel_of(wanted)).id)
    return {"scope": scope, "channels": found}


def join(agent: Record, department: Record, item: Mapping[str, Any]) -> None:
    """Put an agent into a department, as an agent of it unless ``item`` says otherwise."""
    leave(agent, department)
    place = {
        "agentId": agent.id,
        "userId": agent["userId"],
        "departmentId": department.id,
        "isAgent": bool(item.get("isAgent", True)),
        "isSupervisor": bool(item.get("isSupervisor")),
    }
    agent["departments"] = [*agent["departments"], place]


def leave(agent: Record, department: Record) -> None:
    """Take an agent out of a department, if it is in it."""
    agent["departments"] = [one for one in agent["departments"] if one["departmentId"] != department.id]
