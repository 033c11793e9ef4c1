"""Departments: the teams of the account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_wts.emulator.crud import EMPTY, Empty, Request, changes, detail, handles, set_unless_null, stamped
from airflow_provider_wts.emulator.errors import Refusal, not_found

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_wts.emulator.state import Account, Record

_FIELDS = {
    "Name": ("name",),
    "Description": ("description",),
    "IsDefault": ("isDefault",),
    "DistributionIsEnabled": ("distributionIsEnabled",),
    "ChannelsConfig": ("channelsConfig",),
    "RestrictionType": ("restrictionType",),
    "DistributionConfig": ("distributionConfig",),
}


@handles("list_departments")
def _list(request: Request) -> list[dict[str, Any]]:
    return [_show(request, department, version=2) for department in request.account.departments.by_creation()]


@handles("get_department")
def _get(request: Request) -> dict[str, Any]:
    return _show(request, _department_of(request))


@handles("create_department")
def _create(request: Request) -> dict[str, Any]:
    account, body = request.account, request.body
    if not body.get("name"):
        raise Refusal("FORM_ERROR", "Informe o nome da equipe.")
    values = {
        "companyId": account.id,
        "name": body["name"],
        "description": None,
        "isDefault": False,
        "isPrivate": False,
        "distribuitionEnabled": False,
        "restrictionType": "NONE",
        "distributionConfig": None,
        "channelsConfig": {"scope": "ALL", "channels": []},
    }
    agents = [(_agent(account, one.get("userId")), one) for one in body.get("agents") or ()]
    config = _channels(account, body.get("channelsConfig"))
    department = account.new(account.departments, values)
    _write(account, department, body, config)
    for agent, item in agents:
        _join(agent, department, item)
    return _show(request, department)


@handles("update_department")
def _update(request: Request) -> dict[str, Any]:
    account, department = request.account, _department_of(request)
    given = changes(request, _FIELDS)
    _write(account, department, given, _channels(account, given.get("channelsConfig")))
    account.touch(account.departments, department)
    return _show(request, department)


@handles("delete_department")
def _delete(request: Request) -> Empty:
    account, department = request.account, _department_of(request)
    if department["isDefault"]:
        raise Refusal("ENTITY_ERROR_SAVE", "A equipe padrão não pode ser excluída.")
    account.departments.remove(department)
    for agent in account.agents.by_creation():
        _leave(agent, department)
    return EMPTY


@handles("update_department_agents")
def _agents(request: Request) -> dict[str, Any]:
    account, body, department = request.account, request.body, _department_of(request)
    agents = [(_agent(account, one.get("userId")), one) for one in body["items"]]
    if body["action"] == "ReplaceAll":
        for agent in account.agents.by_creation():
            _leave(agent, department)
    for agent, item in agents:
        if body["action"] == "Remove":
            _leave(agent, department)
        else:
            _join(agent, department, item)
        account.touch(account.agents, agent)
    account.touch(account.departments, department)
    return {"action": body["action"], "items": body["items"]}


@handles("get_department_channels")
def _channels_of(request: Request) -> dict[str, Any]:
    config: dict[str, Any] = _department_of(request)["channelsConfig"]
    return config


def _department_of(request: Request) -> Record:
    return request.account.need(request.account.departments, request.path["id"], "A equipe")


def _agent(account: Account, user_id: str | None) -> Record:
    agent = account.agent_of({"id": user_id})
    if agent is None:
        raise not_found("O usuário")
    return agent


def _channels(account: Account, given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a channel selection with ids in place of names and numbers."""
    if given is None:
        return None
    scope = given.get("scope") or "ALL"
    if scope != "SELECTED":
        return {"scope": scope, "channels": []}
    found = []
    for wanted in given.get("channels") or ():
        by_name = (one for one in account.channels.by_creation() if one["identity"]["displayName"] == wanted)
        found.append((next(by_name, None) or account.channel_of(wanted)).id)
    return {"scope": scope, "channels": found}


def _write(account: Account, department: Record, given: Mapping[str, Any], config: dict[str, Any] | None) -> None:
    if given.get("isDefault"):
        for other in account.departments.by_creation():
            other["isDefault"] = False
    if given.get("name"):
        department["name"] = given["name"]
    if "isDefault" in given:
        department["isDefault"] = bool(given["isDefault"])
    if "distributionIsEnabled" in given:
        department["distribuitionEnabled"] = bool(given["distributionIsEnabled"])
    if given.get("restrictionType"):
        department["restrictionType"] = given["restrictionType"]
    if "distributionConfig" in given:
        department["distributionConfig"] = given["distributionConfig"]
    if config is not None:
        department["channelsConfig"] = config


def _join(agent: Record, department: Record, item: Mapping[str, Any]) -> None:
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


def _show(request: Request, department: Record, *, version: int = 1) -> dict[str, Any]:
    account = request.account
    names = ("companyId", "name", "isDefault", "distribuitionEnabled", "restrictionType", "distributionConfig")
    answer = {
        **stamped(account, department),
        **{name: department[name] for name in names},
        "directLinks": {},
    }
    set_unless_null(answer, "distributionConfig", department["distributionConfig"])
    if version == 1:
        answer["description"], answer["isPrivate"] = department["description"], department["isPrivate"]

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
            {
                "id": channel.id,
                "number": channel["number"],
                "name": channel["identity"]["displayName"],
                "type": channel["type"],
            }
            for channel in account.channels.by_creation()
            if config["scope"] == "ALL" or channel.id in config["channels"]
        ]

    detail(answer, request, "agents", agents, "Agents")
    detail(answer, request, "channels", channels, "Channels")
    return answer
