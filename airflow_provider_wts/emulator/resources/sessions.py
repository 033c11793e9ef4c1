"""Sessions, their messages and notes."""

from __future__ import annotations

from typing import Any

from airflow_provider_wts.emulator import conversation, webhooks
from airflow_provider_wts.emulator.clock import TICKS, parse_ticks
from airflow_provider_wts.emulator.crud import (
    Request,
    changes,
    date_bounds,
    detail,
    fields_of,
    handles,
    lower,
    merged,
    page,
    select,
    set_unless_null,
    within,
)
from airflow_provider_wts.emulator.errors import Refusal
from airflow_provider_wts.emulator.state import ALWAYS, PREVIEW, Account, Session

_STATUS_TEXTS = {
    "UNDEFINED": "Indefinido",
    "STARTED": "Iniciado",
    "PENDING": "Pendente",
    "IN_PROGRESS": "Em andamento",
    "COMPLETED": "Concluído",
    "HIDDEN": "Oculto",
}


def show_session(request: Request, session: Session, *, listed: bool = False, version: int = 1) -> dict[str, Any]:
    """Return a session as an answer carries it.

    :param listed: whether it is an item of a list.
    :param version: 2 = the readers' form.
    """
    account = request.account
    values = session.values
    answer = {
        **account.stamped(session),
        **values,
        "previewUrl": f"{account.address}{PREVIEW}{session.id}",
        "statusDescription": _STATUS_TEXTS[values["status"]],
        "timeService": _duration(account, session),
        "timeWait": None,
        "windowStatus": conversation.window_status(account, session),
    }
    switches = account.switches
    if (listed and not switches.metadata_in_session_list) or (switches.metadata_needs_details and not request.details):
        answer["metadata"] = None
    contact = session.contact
    detail(answer, request, "contactDetails", lambda: _contact_details(account, session), "ContactDetails")
    detail(answer, request, "agentDetails", lambda: _agent_details(account, values["userId"]), "AgentDetails")
    detail(answer, request, "channelDetails", lambda: session.channel["identity"], "ChannelDetails")
    detail(
        answer,
        request,
        "departmentDetails",
        lambda: _department_details(account, values["departmentId"]),
        "DepartmentsDetails",
    )
    detail(answer, request, "channelType", session.channel["type"].upper, "ChannelTypeDetails")
    detail(answer, request, "classification", lambda: values["classification"], "ClassificationDetails")
    set_unless_null(answer, "utm", values["utm"])
    if version == 2:
        answer["type"] = "INDIVIDUAL"
    answer["title"] = contact["name"]
    return answer


def session_of(request: Request) -> Session:
    """Return the session that the path names."""
    return request.account.need(request.account.sessions, request.path["id"], "A sessão")


@handles("list_sessions")
def _list(request: Request) -> dict[str, Any]:
    account, query = request.account, request.query
    statuses = lower(query.get("Status"))
    channels, tag_ids, tag_names = (lower(query.get(name)) for name in ("ChannelsId", "TagsId", "TagsName"))
    dates = [
        (name, bounds)
        for name, bounds in (
            ("endAt", date_bounds(request, "EndAt")),
            ("startAt", date_bounds(request, "ActiveAt")),
            ("lastInteractionDate", date_bounds(request, "LastInteractionAt")),
        )
        if bounds != ALWAYS
    ]
    metadata = query.get("Metadata") or {}
    department, user = query.get("DepartmentId"), query.get("UserId")
    among = None
    if query.get("ContactId"):
        contact = account.contacts.find(query["ContactId"])
        among = contact.sessions if contact is not None else []

    def keep(session: Session) -> bool:
        values = session.values
        return (
            within(values["status"], statuses)
            and not (visible and values["status"] in ("HIDDEN", "COMPLETED"))
            and within(session.channel.id, channels)
            and (department is None or values["departmentId"] == department.lower())
            and (user is None or values["userId"] == user.lower())
            and (tag_ids is None or not tag_ids.isdisjoint(session.contact["tagIds"]))
            and (tag_names is None or not tag_names.isdisjoint(_tag_names(account, session)))
            and all(values[name] is not None and bounds.holds(parse_ticks(values[name])) for name, bounds in dates)
            and all(str(values["metadata"].get(name)) == wanted for name, wanted in metadata.items())
        )

    visible = not statuses and account.switches.unasked_statuses == "visible"
    filtered = bool(visible or statuses or channels or tag_ids or tag_names or dates or metadata or department or user)
    if str(query.get("Type", "INDIVIDUAL")).upper() == "GROUP":
        found = select(request, account.sessions, among=[])
    else:
        found = select(request, account.sessions, keep if filtered else None, among=among)
    return page(request, found, lambda session: show_session(request, session, listed=True, version=2))


@handles("get_session")
def _get(request: Request) -> dict[str, Any]:
    return show_session(request, session_of(request), version=2)


@handles("complete_session")
def _complete(request: Request) -> dict[str, Any]:
    session = session_of(request)
    conversation.complete(
        request.account,
        session,
        stop_bot=bool(request.body.get("stopBotInExecution")),
        reactivate=bool(request.body.get("reactivateOnNewMessage")),
    )
    return show_session(request, session)


@handles("change_session_status")
def _change_status(request: Request) -> dict[str, Any]:
    session = session_of(request)
    _stop_bot(request, session)
    conversation.set_status(request.account, session, request.body["newStatus"])
    return show_session(request, session)


@handles("assign_session_user")
def _assign(request: Request) -> dict[str, Any]:
    session = session_of(request)
    agent = request.account.agent_of({"id": request.body["userId"]})
    _stop_bot(request, session)
    session["userId"] = agent["userId"] if agent else None
    if session["status"] != "COMPLETED":
        moved = request.account.switches.assigned_session_status == "IN_PROGRESS"
        conversation.set_status(request.account, session, "IN_PROGRESS" if moved else session["status"])
    return show_session(request, session)


@handles("transfer_session")
def _transfer(request: Request) -> dict[str, Any]:
    session, account, body = session_of(request), request.account, request.body
    if body["type"] == "DEPARTMENT":
        if not body.get("newDepartmentId"):
            raise Refusal("FORM_ERROR", "Informe a equipe de destino.")
        department = account.need(account.departments, body["newDepartmentId"], "A equipe")
        session["departmentId"], session["userId"], status = department.id, None, "PENDING"
    else:
        if not body.get("newUserId"):
            raise Refusal("FORM_ERROR", "Informe o usuário de destino.")
        agent = account.agent_of({"id": body["newUserId"]})
        if body.get("newDepartmentId"):
            session["departmentId"] = account.need(account.departments, body["newDepartmentId"], "A equipe").id
        session["userId"], status = agent["userId"] if agent else None, "IN_PROGRESS"
    _stop_bot(request, session)
    stays = session["status"] == "COMPLETED" or account.switches.transferred_session_status == "kept"
    conversation.set_status(account, session, session["status"] if stays else status)
    return show_session(request, session)


_SESSION_FIELDS = fields_of("status", "endAt", "userId", "departmentId", "number", "metadata", "classification")


@handles("update_session")
def _update(request: Request) -> dict[str, Any]:
    session, account = session_of(request), request.account
    given = changes(request, _SESSION_FIELDS)
    agent = account.agent_of({"id": given.get("userId")})
    if given.get("departmentId"):
        account.need(account.departments, given["departmentId"], "A equipe")
    _stop_bot(request, session)
    if "userId" in given:
        session["userId"] = agent["userId"] if agent else None
    if "departmentId" in given:
        session["departmentId"] = given["departmentId"]
    if "number" in given:
        session["number"] = given["number"]
    if "metadata" in given:
        session["metadata"] = merged(session["metadata"], given["metadata"], account.switches.session_metadata)
    if "classification" in given:
        session["classification"] = _classified(account, given["classification"])
    if given.get("status"):
        conversation.set_status(account, session, given["status"])
    else:
        account.touch(account.sessions, session)
        webhooks.emit_session(account, "SESSION_UPDATE", session)
    if "endAt" in given:
        session["endAt"] = given["endAt"]
    return show_session(request, session)


def _classified(account: Account, given: dict[str, Any] | None) -> dict[str, Any] | None:
    if given is None:
        return None
    return {
        "id": account.new_id(),
        "category": given.get("category") or "UNDEFINED",
        "categoryDescription": given.get("description"),
        "amount": given.get("amount") or 0,
        "categoryName": given.get("description"),
    }


def write_metadata(account: Account, session: Session, given: dict[str, Any] | None) -> None:
    """Write the session metadata of a send.

    :param given: the metadata.
    """
    if given is not None:
        session["metadata"] = merged(session["metadata"], given, account.switches.session_metadata)
        account.touch_session(session)


def _stop_bot(request: Request, session: Session) -> None:
    if (request.body.get("options") or {}).get("stopBotInExecution") and session.run is not None:
        session.run.stop()


def _duration(account: Account, session: Session) -> str | None:
    if session["endAt"] is None:
        return None
    seconds = round(max(parse_ticks(session["endAt"]) - session.created, 0) / TICKS)
    return f"{seconds // 3600:02}:{seconds % 3600 // 60:02}:{seconds % 60:02}"


def _tag_names(account: Account, session: Session) -> list[str]:
    tags = (account.tags.find(identifier) for identifier in session.contact["tagIds"])
    return [tag["name"].lower() for tag in tags if tag is not None]


def _contact_details(account: Account, session: Session) -> dict[str, Any]:
    contact = session.contact
    tags = (account.tags.find(identifier) for identifier in contact["tagIds"])
    return {
        **contact.shown("name", "pictureUrl", "phonenumber", "instagram", "phonenumberFormatted", "status"),
        "tagsId": list(contact["tagIds"]),
        "tagsName": [tag["name"] for tag in tags if tag is not None],
    }


def _agent_details(account: Account, user_id: str | None) -> dict[str, Any] | None:
    agent = next((agent for agent in account.agents.by_creation() if agent["userId"] == user_id), None)
    names = ("userId", "name", "shortName", "phoneNumber", "email", "pictureFileId", "pictureUrl")
    return None if agent is None else agent.shown(*names)


def _department_details(account: Account, identifier: str | None) -> dict[str, Any] | None:
    department = account.departments.find(identifier)
    if department is None:
        return None
    return {**department.shown("companyId", "name", "description", "isDefault"), "isSupervisor": False}
