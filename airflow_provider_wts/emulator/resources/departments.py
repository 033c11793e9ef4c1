"""Departments: the teams of the account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_wts.emulator.crud import Request, Resource, detail, fields_of, handles, plain, set_unless_null
from airflow_provider_wts.emulator.errors import Refusal, not_found
from airflow_provider_wts.emulator.state import Account, Record

_FIELDS = fields_of(
    *("name", "description", "isDefault", "distributionIsEnabled", "channelsConfig", "restrictionType"),
    "distributionConfig",
)


def _show(request: Request, department: Record) -> dict[str, Any]:
    account = request.account
    answer = {**plain(account, department), "directLinks": {}}
    del answer["channelsConfig"]
    set_unless_null(answer, "distributionConfig", department["distributionConfig"])

    def agents() -> list[dict[str, Any]]:
        return [
            {name: place[name] for name in ("userId", "departmentId", "isAgent", "isSupervisor")}
            for agent in account.agents.by_creation()
            for place in agent["departments"]
            if place["departmentId"] == department.id
        ]

    def channels() -> list[dict[str, Any]]:
        config = department["channelsConfig"]
        return [
            {**channel.shown("number", "type"), "name": channel["identity"]["displayName"]}
            for channel in account.channels.by_creation()
            if config["scope"] == "ALL" or channel.id in config["channels"]
        ]

    detail(answer, request, "agents", agents, "Agents")
    detail(answer, request, "channels", channels, "Channels")
    return answer


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
        for other in account.departments.by_creation():
            other["isDefault"] = False
    return values


def _leaves(request: Request, department: Record) -> None:
    if department["isDefault"]:
        raise Refusal("ENTITY_ERROR_SAVE", "A equipe padrão não pode ser excluída.")
    for agent in request.account.agents.by_creation():
        _leave(agent, department)


DEPARTMENTS = Resource(
    "department",
    "departments",
    "A equipe",
    show=_show,
    fields=_FIELDS,
    written=_written,
    defaults={
        "description": None,
        "isDefault": False,
        "isPrivate": False,
        "distribuitionEnabled": False,
        "restrictionType": "NONE",
        "distributionConfig": None,
        "channelsConfig": {"scope": "ALL", "channels": []},
    },
    leaves=_leaves,
)


@handles("create_department")
def _create(request: Request) -> dict[str, Any]:
    agents = [(_agent(request.account, one.get("userId")), one) for one in request.body.get("agents") or ()]
    department = DEPARTMENTS.create(request)
    for agent, item in agents:
        join(agent, department, item)
    return DEPARTMENTS.shown(request, department)


@handles("update_department_agents")
def _agents(request: Request) -> dict[str, Any]:
    account, body, department = request.account, request.body, DEPARTMENTS.of(request)
    agents = [(_agent(account, one.get("userId")), one) for one in body["items"]]
    if body["action"] == "ReplaceAll":
        for agent in account.agents.by_creation():
            _leave(agent, department)
    for agent, item in agents:
        if body["action"] == "Remove":
            _leave(agent, department)
        else:
            join(agent, department, item)
        account.touch(account.agents, agent)
    account.touch(account.departments, department)
    return {"action": body["action"], "items": body["items"]}


@handles("get_department_channels")
def _channels_of(request: Request) -> dict[str, Any]:
    config: dict[str, Any] = DEPARTMENTS.of(request)["channelsConfig"]
    return config


def _agent(account: Account, user_id: str | None) -> Record:
    agent = account.agent_of({"id": user_id})
    if agent is None:
        raise not_found("O usuário")
    return agent


def _channels(account: Account, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a channel selection with ids in place of names and numbers."""
    scope = given.get("scope") or "ALL"
    if scope != "SELECTED":
        return {"scope": scope, "channels": []}
    found = []
    for wanted in given.get("channels") or ():
        by_name = (one for one in account.channels.by_creation() if one["identity"]["displayName"] == wanted)
        found.append((next(by_name, None) or account.channel_of(wanted)).id)
    return {"scope": scope, "channels": found}


def join(agent: Record, department: Record, item: Mapping[str, Any]) -> None:
    """Put an agent into a department, as an agent of it unless ``item`` says otherwise."""
    _leave(agent, department)
    place = {
        "agentId": agent.id,
        "userId": agent["userId"],
        "departmentId": department.id,
        "isAgent": bool(item.get("isAgent", True)),
        "isSupervisor": bool(item.get("isSupervisor")),
    }
    agent["departments"] = [*agent["departments"], place]


def _leave(agent: Record, department: Record) -> None:
    agent["departments"] = [one for one in agent["departments"] if one["departmentId"] != department.id]
