"""Messages and notes of sessions, and the quick sends: to a number or into a session, queued or waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_wts.emulator import bots, conversation
from airflow_provider_wts.emulator.crud import Later, Request, handles, page, select, set_unless_null
from airflow_provider_wts.emulator.errors import Refusal, not_found
from airflow_provider_wts.emulator.resources.files import message_files, message_type
from airflow_provider_wts.emulator.resources.sends import message_is_settled, status_url
from airflow_provider_wts.emulator.resources.sessions import session_of
from airflow_provider_wts.emulator.resources.templates import filled_template
from airflow_provider_wts.emulator.state import Account, Message, Session


@handles("send_message")
def _send(request: Request) -> dict[str, Any]:
    return _queued(request, _to_number(request))


@handles("send_message_sync")
def _send_sync(request: Request) -> Later:
    return _waited_for(request, _to_number(request))


@handles("send_session_message")
def _send_in_session(request: Request) -> dict[str, Any]:
    return _queued(request, _into(request, session_of(request), request.body))


@handles("send_session_message_sync")
def _send_in_session_sync(request: Request) -> Later:
    return _waited_for(request, _into(request, session_of(request), request.body))


def _to_number(request: Request) -> Message:
    account, body = request.account, request.body
    channel = account.channel_of(body.get("from"), body["to"])
    options = {**(body.get("options") or {}), "department": body.get("department"), "user": body.get("user")}
    known = account.contact_by_address(body["to"])
    current = conversation.open_session_of(account, known, channel) if known is not None else None
    conversation.check_target(account, current, options)
    bot = account.chatbot_of(body["botKey"]) if body.get("botKey") else None
    write = _prepared(request, body["body"])
    contact = conversation.contact_for(account, body["to"])
    session = conversation.session_for_send(account, contact, channel, options)
    message = write(session)
    if bot is not None:
        session.on_answer = lambda: _start(account, session, bot)
    return message


def _start(account: Account, session: Session, bot: Any) -> None:
    bots.start(account, session, bot)


def _into(request: Request, session: Session, content: dict[str, Any]) -> Message:
    return _prepared(request, content)(session)


def _prepared(request: Request, content: dict[str, Any]) -> Callable[[Session], Message]:
    """Check the content of a message; return what writes it into a session."""
    account = request.account
    if not any(content.get(name) for name in ("text", "templateId", "fileUrl", "fileId")):
        raise Refusal("FORM_ERROR", "Informe o texto, o template ou o arquivo da mensagem.")
    template = account.template_of(content["templateId"]) if content.get("templateId") else None
    given = content.get("fileId") or content.get("fileUrl")
    files = message_files(account, [given] if given else [])
    file = files[0] if files else None
    text = filled_template(account, template, content.get("parameters"), file) if template else content.get("text")
    kind = message_type(files)
    return lambda session: conversation.company_writes(
        account, session, kind=kind, text=text, template=template, file=file, reference=content.get("refId")
    )


def _queued(request: Request, message: Message) -> dict[str, Any]:
    return {
        **request.account.stamped(message),
        "sessionId": message["sessionId"],
        "senderId": None,
        "status": message["status"],
        "statusUrl": status_url(request.account, f"/chat/v1/message/{message.id}/status"),
        "failureReason": message["failedReason"],
    }


def _waited_for(request: Request, message: Message) -> Later:
    return Later(
        done=lambda: message_is_settled(message),
        seconds=request.account.switches.sync_gives_up_after,
        answer=lambda: show_message(request, message),
    )


def show_message(request: Request, message: Message) -> dict[str, Any]:
    """Return a message as an answer carries it."""
    answer = {**request.account.stamped(message), **message.values}
    set_unless_null(answer, "details", message["details"])
    if not request.account.switches.sender_id_in_messages:
        answer["senderId"] = None
    return answer


@handles("list_messages", "list_session_messages")
def _messages(request: Request) -> dict[str, Any]:
    account = request.account
    identifier = request.query.get("SessionId") or request.path.get("id")
    session = account.need(account.sessions, identifier, "A sessão")
    messages = _still_there(account, session, note=False)
    found = select(request, account.messages, among=messages)
    return page(request, found, lambda message: show_message(request, message))


def _still_there(account: Account, session: Session, *, note: bool) -> list[Message]:
    shown = account.switches.deleted_messages == "shown"
    return [
        one for one in session.messages if (one["type"] == "NOTE") == note and (shown or one["status"] != "DELETED")
    ]


def check_note(account: Account, text: str | None) -> None:
    """Refuse a note that says nothing."""
    if account.switches.blank_notes == "refuse" and not (text or "").strip():
        raise Refusal("FORM_ERROR", "A nota deve ter texto ou arquivos.")


@handles("get_message")
def _message(request: Request) -> dict[str, Any]:
    return show_message(request, _message_of(request))


@handles("get_message_status")
def _message_status(request: Request) -> dict[str, Any]:
    message = _message_of(request)
    return {
        **request.account.stamped(message),
        "sessionId": message["sessionId"],
        "status": message["status"],
        "failureReason": message["failedReason"],
    }


@handles("delete_message")
def _delete_message(request: Request) -> dict[str, Any]:
    return _delete(request, _message_of(request))


@handles("list_session_notes")
def _notes(request: Request) -> dict[str, Any]:
    notes = _still_there(request.account, session_of(request), note=True)
    found = select(request, request.account.messages, among=notes)
    return page(request, found, lambda note: show_message(request, note))


@handles("create_session_note")
def _create_note(request: Request) -> dict[str, Any]:
    body = request.body
    if not (body.get("filesIds") or body.get("filesUrls")):
        check_note(request.account, body.get("text"))
    session = session_of(request)
    files = message_files(request.account, [*(body.get("filesIds") or ()), *(body.get("filesUrls") or ())])
    return show_message(request, conversation.add_note(request.account, session, body.get("text"), files))


@handles("get_session_note")
def _note(request: Request) -> dict[str, Any]:
    return show_message(request, _message_of(request, note=True))


@handles("delete_session_note")
def _delete_note(request: Request) -> dict[str, Any]:
    return _delete(request, _message_of(request, note=True))


def _message_of(request: Request, *, note: bool = False) -> Message:
    account = request.account
    message = account.messages.find(request.path["id"])
    gone = message is not None and message["status"] == "DELETED" and account.switches.deleted_messages == "missing"
    if message is None or gone or (note and message["type"] != "NOTE"):
        raise not_found("A nota" if note else "A mensagem")
    return message


def _delete(request: Request, message: Message) -> dict[str, Any]:
    message["status"] = "DELETED"
    request.account.touch(request.account.messages, message)
    return show_message(request, message)
