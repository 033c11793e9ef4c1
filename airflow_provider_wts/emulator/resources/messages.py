"""Messages and notes of sessions, and direct sends to a number or into a session, queued or synchronous."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_wts.emulator import bots, conversation
from airflow_provider_wts.emulator.answers import Later, Request, answer, handles
from airflow_provider_wts.emulator.errors import Refusal, not_found
from airflow_provider_wts.emulator.lists import listed
from airflow_provider_wts.emulator.resources.files import message_file, message_files, message_type
from airflow_provider_wts.emulator.resources.sessions import session_of
from airflow_provider_wts.emulator.resources.templates import filled_template
from airflow_provider_wts.emulator.state import Account, Message


@handles("send_message", "send_message_sync")
def _send(request: Request) -> dict[str, Any] | Later:
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
            answer=lambda: _show(request, message),
        )
    url = request.account.status_url(f"/chat/v1/message/{message.id}/status")
    return answer(request, message, senderId=None, statusUrl=url, failureReason=message["failedReason"])


def _show(request: Request, message: Message) -> dict[str, Any]:
    shown = request.account.switches.sender_id_in_messages
    return answer(request, message, senderId=message["senderId"] if shown else None)


@handles("list_messages", "list_session_messages", "list_session_notes")
def _list(request: Request) -> Any:
    account = request.account
    session = account.sessions.need(request.query.get("SessionId") or request.path.get("id"))
    notes, deleted = _is_of_notes(request), account.switches.deleted_messages == "shown"
    messages = [one for one in session.messages if (one["type"] == "NOTE") == notes]
    messages = [one for one in messages if deleted or one["status"] != "DELETED"]
    return listed(request, account.messages, _show, among=messages)


def _is_of_notes(request: Request) -> bool:
    return "_note" in request.operation.operation_id


def check_note(account: Account, text: str | None) -> None:
    """Refuse a note that says nothing."""
    if account.switches.blank_notes == "refuse" and not (text or "").strip():
        raise Refusal("FORM_ERROR", "A nota deve ter texto ou arquivos.")


@handles("get_message", "get_session_note")
def _get(request: Request) -> dict[str, Any]:
    return _show(request, _message_of(request))


@handles("get_message_status")
def _status(request: Request) -> dict[str, Any]:
    message = _message_of(request)
    return answer(request, message, failureReason=message["failedReason"])


@handles("delete_message", "delete_session_note")
def _delete(request: Request) -> dict[str, Any]:
    message = _message_of(request)
    message["status"] = "DELETED"
    request.account.touch(request.account.messages, message)
    return _show(request, message)


@handles("create_session_note")
def _create_note(request: Request) -> dict[str, Any]:
    account, body = request.account, request.body
    references = [*(body.get("filesIds") or ()), *(body.get("filesUrls") or ())]
    if not references:
        check_note(account, body.get("text"))
    session = session_of(request)
    files = message_files(account, references)
    note = conversation.add_message(account, session, files=files, text=body.get("text"), type="NOTE", status="SAVED")
    return _show(request, note)


def _message_of(request: Request) -> Message:
    account, note = request.account, _is_of_notes(request)
    message = account.messages.find(request.path["id"])
    gone = message is not None and message["status"] == "DELETED" and account.switches.deleted_messages == "missing"
    if message is None or gone or (note and message["type"] != "NOTE"):
        raise not_found("A nota" if note else "A mensagem")
    return message
