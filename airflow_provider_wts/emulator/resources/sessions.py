"""Sessions, their messages and notes, and direct sends to a number or into a session, queued or synchronous."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_wts.emulator import bots, conversation, webhooks
from airflow_provider_wts.emulator.answers import Later, Request, answer, by_name, handles
from airflow_provider_wts.emulator.clock import TICKS, parse_ticks
from airflow_provider_wts.emulator.crud import changes, merged
from airflow_provider_wts.emulator.errors import Refusal, not_found
from airflow_provider_wts.emulator.lists import Property, date_bounds, keeps, keeps_metadata, listed
from airflow_provider_wts.emulator.resources.channels import filled_template
from airflow_provider_wts.emulator.resources.files import message_file, message_files, message_type
from airflow_provider_wts.emulator.state import ALWAYS, PREVIEW, Account, Message, Session

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


_SESSION_FIELDS = by_name("status", "endAt", "userId", "departmentId", "number", "metadata", "classification")


@handles("update_session")
def _update(request: Request) -> dict[str, Any]:
    session, account = session_of(request), request.account
    given = changes(request, _SESSION_FIELDS)
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


# Messages and notes ---------------------------------------------------------------------------------------------------


@handles("send_message", "send_message_sync")
def _send_message(request: Request) -> dict[str, Any] | Later:
    account, body = request.account, request.body
    channel = account.channel_of(body.get("from"), body["to"])
    options = {**(body.get("options") or {}), "department": body.get("department"), "user": body.get("user")}
    conversation.session_before_send(account, body["to"], channel, options)
    bot = account.chatbot_of(body["botKey"]) if body.get("botKey") else None
    content = _content(account, body["body"])
    contact = conversation.contact_for(account, body["to"])
    session = conversation.session_for_send(account, contact, channel, options)
    message = conversation.company_writes(account, session, content)
    if bot is not None:
        session.on_answer = lambda: bots.start(account, session, bot)
    return _sent(request, message)


@handles("send_session_message", "send_session_message_sync")
def _send_in_session(request: Request) -> dict[str, Any] | Later:
    session, content = session_of(request), _content(request.account, request.body)
    return _sent(request, conversation.company_writes(request.account, session, content))


def _content(account: Account, given: Mapping[str, Any]) -> conversation.Content:
    """Return what a request writes, or refuse it."""
    if not any(given.get(name) for name in ("text", "templateId", "fileUrl", "fileId")):
        raise Refusal("FORM_ERROR", "Informe o texto, o template ou o arquivo da mensagem.")
    template = account.template_of(given["templateId"]) if given.get("templateId") else None
    file = message_file(account, given.get("fileId") or given.get("fileUrl"))
    text = filled_template(account, template, given.get("parameters"), file) if template else given.get("text")
    return conversation.Content(text, message_type([file] if file else []), template, file, given.get("refId"))


def _sent(request: Request, message: Message) -> dict[str, Any] | Later:
    """Answer immediately, or once the message has gone out."""
    if request.operation.operation_id.endswith("_sync"):
        return Later(
            done=lambda: message["status"] in ("SENT", "DELIVERED", "READ", "FAILED", "DELETED"),
            seconds=request.account.switches.sync_gives_up_after,
            answer=lambda: _show_message(request, message),
        )
    url = request.account.status_url(f"/chat/v1/message/{message.id}/status")
    return answer(request, message, senderId=None, statusUrl=url, failureReason=message["failedReason"])


def _show_message(request: Request, message: Message) -> dict[str, Any]:
    shown = request.account.switches.sender_id_in_messages
    return answer(request, message, senderId=message["senderId"] if shown else None)


@handles("list_messages", "list_session_messages", "list_session_notes")
def _list_messages(request: Request) -> Any:
    account = request.account
    session = account.sessions.need(request.query.get("SessionId") or request.path.get("id"))
    notes, deleted = _is_of_notes(request), account.switches.deleted_messages == "shown"
    messages = [one for one in session.messages if (one["type"] == "NOTE") == notes]
    messages = [one for one in messages if deleted or one["status"] != "DELETED"]
    return listed(request, account.messages, _show_message, among=messages)


def _is_of_notes(request: Request) -> bool:
    return "_note" in request.operation.operation_id


def check_note(account: Account, text: str | None) -> None:
    """Refuse a note that says nothing."""
    if account.switches.blank_notes == "refuse" and not (text or "").strip():
        raise Refusal("FORM_ERROR", "A nota deve ter texto ou arquivos.")


@handles("get_message", "get_session_note")
def _get_message(request: Request) -> dict[str, Any]:
    return _show_message(request, _message_of(request))


@handles("get_message_status")
def _message_status(request: Request) -> dict[str, Any]:
    message = _message_of(request)
    return answer(request, message, failureReason=message["failedReason"])


@handles("delete_message", "delete_session_note")
def _delete_message(request: Request) -> dict[str, Any]:
    message = _message_of(request)
    message["status"] = "DELETED"
    request.account.touch(request.account.messages, message)
    return _show_message(request, message)


@handles("create_session_note")
def _create_note(request: Request) -> dict[str, Any]:
    account, body = request.account, request.body
    references = [*(body.get("filesIds") or ()), *(body.get("filesUrls") or ())]
    if not references:
        check_note(account, body.get("text"))
    session = session_of(request)
    files = message_files(account, references)
    note = conversation.add_message(account, session, files=files, text=body.get("text"), type="NOTE", status="SAVED")
    return _show_message(request, note)


def _message_of(request: Request) -> Message:
    account, note = request.account, _is_of_notes(request)
    message = account.messages.find(request.path["id"])
    gone = message is not None and message["status"] == "DELETED" and account.switches.deleted_messages == "missing"
    if message is None or gone or (note and message["type"] != "NOTE"):
        raise not_found("A nota" if note else "A mensagem")
    return message
