"""The quick sends: a message to a number or into a session, queued or waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_wts.emulator import bots, conversations
from airflow_provider_wts.emulator.errors import Refusal
from airflow_provider_wts.emulator.resources.files import message_files
from airflow_provider_wts.emulator.resources.sends import filled_template, message_is_settled, status_url
from airflow_provider_wts.emulator.resources.sessions import session_of, show_message
from airflow_provider_wts.emulator.serving import Later, Request, handles, stamped

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_wts.emulator.account import Account
    from airflow_provider_wts.emulator.records import Message, Session

_TYPES = {"IMAGE": "IMAGE", "AUDIO": "AUDIO", "VIDEO": "VIDEO"}


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
    account.department_of(body.get("department"))
    account.agent_of(body.get("user"))
    bot = account.chatbot_of(body["botKey"]) if body.get("botKey") else None
    write = _prepared(request, body["body"])
    contact = conversations.contact_for(account, body["to"])
    session = conversations.session_for_send(account, contact, channel, options)
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
    text = filled_template(template, content.get("parameters")) if template else content.get("text")
    given = content.get("fileId") or content.get("fileUrl")
    file = message_files(account, [given])[0] if given else None
    kind = _TYPES.get(file["type"], "DOCUMENT") if file else "TEXT"
    return lambda session: conversations.company_writes(
        account, session, kind=kind, text=text, template=template, file=file, reference=content.get("refId")
    )


def _queued(request: Request, message: Message) -> dict[str, Any]:
    return {
        **stamped(request.account, message),
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
