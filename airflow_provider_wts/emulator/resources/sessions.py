"""Sessions."""

from __future__ import annotations

from typing import Any

from airflow_provider_wts.emulator import conversation, webhooks
from airflow_provider_wts.emulator.answers import Request, answer, by_name, handles
from airflow_provider_wts.emulator.clock import TICKS, parse_ticks
from airflow_provider_wts.emulator.crud import changes, merged
from airflow_provider_wts.emulator.errors import Refusal
from airflow_provider_wts.emulator.lists import Property, date_bounds, keeps, keeps_metadata, listed
from airflow_provider_wts.emulator.state import ALWAYS, PREVIEW, Account, Session

_DETAILS = by_name(
    *("contactDetails", "agentDetails", "channelDetails"),
    departmentDetails=("DepartmentsDetails",),
    channelType=("ChannelTypeDetails",),
    classification=("ClassificationDetails",),
)
_FILTERS: dict[str, Property] = {
    "Status": "status",
    "ChannelsId": "channelId",
    "DepartmentId": "departmentId",
    "UserId": "userId",
    "TagsId": lambda session: session.contact["tagIds"],
}
_DATES = {"endAt": "EndAt", "startAt": "ActiveAt", "lastInteractionDate": "LastInteractionAt"}
_STATUS_TEXTS = {
    "UNDEFINED": "Indefinido",
    "STARTED": "Iniciado",
    "PENDING": "Pendente",
    "IN_PROGRESS": "Em andamento",
    "COMPLETED": "Concluído",
    "HIDDEN": "Oculto",
}


def show_session(request: Request, session: Session) -> dict[str, Any]:
    """Return a session as an answer carries it."""
    account, switches = request.account, request.account.switches
    hidden = request.operation.paged and not switches.metadata_in_session_list
    hidden = hidden or (switches.metadata_needs_details and not request.details)
    return answer(
        request,
        session,
        _DETAILS,
        title=session.contact["name"],
        type="INDIVIDUAL",
        previewUrl=f"{account.address}{PREVIEW}{session.id}",
        statusDescription=_STATUS_TEXTS[session["status"]],
        timeService=_duration(session),
        windowStatus=conversation.window_status(account, session),
        metadata=None if hidden else session["metadata"],
        contactDetails=session.contact,
        agentDetails=lambda: account.agent_of_user(session["userId"]),
        channelDetails=session.channel["identity"],
        departmentDetails=lambda: account.departments.find(session["departmentId"]),
        channelType=session.channel["type"].upper(),
    )


def session_of(request: Request) -> Session:
    """Return the session that the path names."""
    return request.account.sessions.need(request.path["id"])


@handles("list_sessions")
def _list(request: Request) -> Any:
    account, query = request.account, request.query
    visible = not query.get("Status") and account.switches.unasked_statuses == "visible"
    bounds = {name: date_bounds(request, asked) for name, asked in _DATES.items()}
    dates = [(name, asked) for name, asked in bounds.items() if asked != ALWAYS]
    among = None
    if query.get("ContactId"):
        contact = account.contacts.find(query["ContactId"])
        among = contact.sessions if contact is not None else []
    if str(query.get("Type", "INDIVIDUAL")).upper() == "GROUP":
        among = []

    def dated(session: Session) -> bool:
        return all(session[name] is not None and asked.holds(parse_ticks(session[name])) for name, asked in dates)

    return listed(
        request,
        account.sessions,
        show_session,
        keeps(query, {**_FILTERS, "TagsName": lambda session: account.tags.names(session.contact["tagIds"])}),
        keeps_metadata(query),
        (lambda session: session["status"] not in ("HIDDEN", "COMPLETED")) if visible else None,
        dated if dates else None,
        among=among,
    )


@handles("get_session")
def _get(request: Request) -> dict[str, Any]:
    return show_session(request, session_of(request))


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
    user = request.account.user_of({"id": request.body["userId"]})
    _stop_bot(request, session)
    session["userId"] = user
    if session["status"] != "COMPLETED":
        moved = request.account.switches.assigned_session_status == "IN_PROGRESS"
        conversation.set_status(request.account, session, "IN_PROGRESS" if moved else session["status"])
    return show_session(request, session)


@handles("transfer_session")
def _transfer(request: Request) -> dict[str, Any]:
    session, account, body = session_of(request), request.account, request.body
    to_department = body["type"] == "DEPARTMENT"
    if not body.get("newDepartmentId" if to_department else "newUserId"):
        raise Refusal("FORM_ERROR", f"Informe {'a equipe' if to_department else 'o usuário'} de destino.")
    user = None if to_department else account.user_of({"id": body["newUserId"]})
    if body.get("newDepartmentId"):
        session["departmentId"] = account.departments.need(body["newDepartmentId"]).id
    session["userId"] = user
    status = "PENDING" if to_department else "IN_PROGRESS"
    _stop_bot(request, session)
    stays = session["status"] == "COMPLETED" or account.switches.transferred_session_status == "kept"
    conversation.set_status(account, session, session["status"] if stays else status)
    return show_session(request, session)


_FIELDS = by_name("status", "endAt", "userId", "departmentId", "number", "metadata", "classification")


@handles("update_session")
def _update(request: Request) -> dict[str, Any]:
    session, account = session_of(request), request.account
    given = changes(request, _FIELDS)
    user = account.user_of({"id": given.get("userId")})
    if given.get("departmentId"):
        account.departments.need(given["departmentId"])
    _stop_bot(request, session)
    plain = {name: given[name] for name in ("departmentId", "number") if name in given}
    session.values.update(plain | ({"userId": user} if "userId" in given else {}))
    if "metadata" in given:
        session["metadata"] = merged(session["metadata"], given["metadata"], account.switches.session_metadata)
    if "classification" in given:
        session["classification"] = _classified(account, given["classification"])
    if given.get("status"):
        conversation.set_status(account, session, given["status"])
    else:
        account.touch(account.sessions, session)
        webhooks.emit(account, "SESSION_UPDATE", session)
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
    """Write the session metadata of a send."""
    if given is not None:
        session["metadata"] = merged(session["metadata"], given, account.switches.session_metadata)
        account.touch_session(session)


def _stop_bot(request: Request, session: Session) -> None:
    if (request.body.get("options") or {}).get("stopBotInExecution") and session.run is not None:
        session.run.stop()


def _duration(session: Session) -> str | None:
    if session["endAt"] is None:
        return None
    seconds = round(max(parse_ticks(session["endAt"]) - session.created, 0) / TICKS)
    return f"{seconds // 3600:02}:{seconds % 3600 // 60:02}:{seconds % 60:02}"
