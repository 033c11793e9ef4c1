"""The send family: text, media, documents, templates and one-time passwords, each queued and then processed."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_wts.emulator import conversation, webhooks
from airflow_provider_wts.emulator.answers import EMPTY, Empty, Request, answer, handles
from airflow_provider_wts.emulator.errors import Refusal, bad_request, not_found, required
from airflow_provider_wts.emulator.phones import is_handle, stored_phone
from airflow_provider_wts.emulator.resources.files import message_file
from airflow_provider_wts.emulator.resources.sessions import write_metadata
from airflow_provider_wts.emulator.resources.templates import filled_template
from airflow_provider_wts.emulator.state import Account, Delivery, Record, RecordT, Send, Session, Table


def new_send(request: Request, to: str, item: Mapping[str, Any], session: Session | None = None) -> Send:
    """Accept a send: it is queued and has a status from now on.

    :param to: the recipient as stored.
    :param session: the open session that it goes into, if there is one.
    """
    account = request.account
    identifier = account.new_id()
    path = "/chat/v1/send/chatbot" if "chatbot" in request.operation.operation_id else "/chat/v1/send/message"
    values = {
        "sessionId": session.id if session and account.switches.queued_session_id == "known" else None,
        "senderId": item.get("senderId"),
        "statusUrl": f"{path}/{identifier}",
        "callbackUrl": item.get("callbackUrl"),
    }
    return account.new(account.sends, values, identifier, operation_id=request.operation.operation_id, to=to)


def update_send(account: Account, send: Send, status: str, *, reason: str | None = None) -> None:
    """Move a send to a status."""
    send["status"] = status
    send["failedReason"] = reason
    account.touch(account.sends, send)


def show_send(request: Request, send: Send) -> dict[str, Any]:
    """Return a send as an answer carries it; its status is that of its message."""
    account, message = request.account, send.message
    values: dict[str, Any] = {"statusUrl": account.status_url(send["statusUrl"])}
    if message is not None:
        values |= {"status": message["status"], "failedReason": message["failedReason"]}
        values["updatedAt"] = account.clock.text(max(send.updated, message.updated))
        if message["status"] in ("SENT", "DELIVERED", "READ"):
            values["sentAt"] = account.clock.text(message.created)
    return answer(request, send, **values)


def answer_batch(request: Request, accept: Callable[[Mapping[str, Any]], Send]) -> dict[str, Any]:
    """Accept the entries of a batch and answer with one result for each."""
    account, switches, items = request.account, request.account.switches, request.body["messages"]
    if not items and switches.empty_batches == "refuse":
        raise bad_request(["ao menos uma mensagem"], switches)
    if len(items) > switches.batch_limit:
        raise bad_request([f"no máximo {switches.batch_limit} mensagens"], switches)
    if switches.batch_partial_failure == "all":
        problems = [problem for problem in (_problem(request, item) for item in items) if problem]
        if problems:
            raise bad_request(problems, switches)
    sends = []
    for item in items:
        try:
            sends.append(accept(item))
        except Refusal as refusal:
            send = new_send(request, str(item.get("to") or item.get("sessionId") or ""), item)
            update_send(account, send, "FAILED", reason=refusal.text)
            sends.append(send)
    if switches.batch_order == "shuffled":
        random.Random(len(account.sends)).shuffle(sends)
    return {"results": [show_send(request, send) for send in sends]}


def _problem(request: Request, item: Mapping[str, Any]) -> str | None:
    try:
        target_of(request, item)
    except Refusal as refusal:
        return refusal.text
    return None


def target_of(request: Request, item: Mapping[str, Any]) -> tuple[Session | None, str, Record]:
    """Return the session that a send names, if it does, its recipient as stored, and the channel; or refuse it.

    :param item: the body, or an entry of a batch.
    """
    account, to = request.account, item.get("to")
    if item.get("sessionId"):
        session = account.sessions.need(item["sessionId"])
        return session, conversation.address_of(session), session.channel
    if not to:
        raise Refusal("FORM_ERROR", "Informe o destinatário ou a sessão.")
    channel = account.channel_of(request.body.get("from"), to)
    return None, to.strip() if is_handle(to) else stored_phone(to, account.switches), channel


@handles("send_text", "send_image", "send_audio", "send_video", "send_document")
def _send(request: Request) -> dict[str, Any]:
    account, body = request.account, request.body
    kind = request.operation.operation_id.removeprefix("send_").upper()
    typing = body.get("delayTyping") or 0
    if typing > 25 and account.switches.long_typing == "refuse":
        raise Refusal("FORM_ERROR", "O tempo de digitação deve ser de no máximo 25 segundos.")
    file = message_file(account, body.get("fileIdOrUrl"))
    content = conversation.Content(body.get("text"), kind, file=file, reference=body.get("refId"))
    return show_send(request, _accept(request, body, content, delay=min(typing, 25)))


@handles("send_template")
def _send_template(request: Request) -> dict[str, Any]:
    return show_send(request, _accept_template(request, request.body))


@handles("send_template_batch")
def _send_template_batch(request: Request) -> dict[str, Any]:
    request.account.template_of(request.body["templateId"])
    request.account.channel_of(request.body["from"])
    return answer_batch(request, lambda item: _accept_template(request, item))


def _accept_template(request: Request, item: Mapping[str, Any]) -> Send:
    template = request.account.template_of(request.body["templateId"])
    file = message_file(request.account, item.get("fileIdOrUrl"))
    text = filled_template(request.account, template, item.get("parameters"), file)
    content = conversation.Content(text, template=template, file=file, reference=item.get("refId"))
    return _accept(request, item, content)


def _accept(request: Request, item: Mapping[str, Any], content: conversation.Content, *, delay: float = 0) -> Send:
    """Check a send, the body or an entry of a batch; queue it, and plan its processing."""
    options = request.body.get("options") or {}
    account = request.account
    current: Session | None = None
    session, to, channel = target_of(request, item)
    if session is None:
        current = conversation.session_before_send(account, to, channel, options)
        if content.template is None and not _may_write(account, current, channel):
            raise Refusal("FORM_ERROR", "Fora da janela de 24 horas: é necessário enviar um template.")
    stays = current if not options.get("forceStartSession") else None
    send = new_send(request, to, item, session or stays)

    def process() -> None:
        target = session
        if target is None:
            target = conversation.session_for_send(account, conversation.contact_for(account, to), channel, options)
        write_metadata(account, target, item.get("sessionMetadata"))
        send.message = conversation.company_writes(account, target, content, send=send)
        send["sessionId"] = target.id
        account.touch(account.sends, send)

    account.agenda.after(account.switches.queue_seconds + delay, process)
    return send


def _may_write(account: Account, session: Session | None, channel: Record) -> bool:
    if account.switches.whatsapp_window != "refuse" or channel["type"] not in conversation.OFFICIAL_WHATSAPP:
        return True
    return session is not None and conversation.window_status(account, session) == "ACTIVE"


@handles("send_typing")
def _typing(request: Request) -> Empty:
    account = request.account
    session = account.sessions.need(request.body["sessionId"])
    if session["status"] == "COMPLETED":
        raise Refusal("FORM_ERROR", "A sessão não está ativa.")
    return EMPTY


@handles("get_sent_message_status", "get_queued_chatbot_status")
def _status(request: Request) -> dict[str, Any]:
    send = _named(request.account.sends, request.path["id"], by_sender_id=request.account.switches.sender_id_finds_send)
    chatbot = request.operation.operation_id == "get_queued_chatbot_status"
    if send is None or ("chatbot" in send.operation_id) != chatbot:
        raise not_found("O envio")
    return show_send(request, send)


def _named(table: Table[RecordT], identifier: str, *, by_sender_id: bool) -> RecordT | None:
    found = table.find(identifier)
    if found is None and by_sender_id:
        found = next((one for one in reversed(table.by_creation()) if one["senderId"] == identifier), None)
    return found


# One-time passwords -------------------------------------------------------------------------------------------------


@handles("send_otp")
def _send_otp(request: Request) -> dict[str, Any]:
    account, body = request.account, request.body
    channel = account.channel_of(body["from"])
    if "WhatsApp" not in channel["type"]:
        raise Refusal("FORM_ERROR", "O envio de código é exclusivo do WhatsApp.")
    template = _otp_template(account, body.get("templateId"))
    code = body.get("code") or f"{account.random.randrange(100_000):05}"
    to = stored_phone(body["to"], account.switches)
    identifier = account.new_id()
    values = {
        "code": code,
        "status": "PENDING",
        "from": body["from"],
        "templateId": template.id,
        "senderId": body.get("senderId"),
        "channelId": channel.id,
        "contactPhoneNumber": to,
        "callbackUrl": body.get("callbackUrl"),
        "statusUrl": f"/chat/v1/send/otp/{identifier}",
    }
    otp = account.new(account.otps, values, identifier)
    _deliver_otp(account, otp)
    return _show_otp(request, otp)


def _deliver_otp(account: Account, otp: Record) -> None:
    to, at = otp["contactPhoneNumber"], account.now_text()
    account.deliver(Delivery(to, "otp", at, sender_id=otp["senderId"], send_id=otp.id, text=otp["code"]))
    fails = account.behaviour_of(to).fails

    def move(status: str, at: str) -> None:
        otp["status"] = status
        otp[at] = account.now_text()
        account.touch(account.otps, otp)

    def sent() -> None:
        if fails is None:
            move("SENT", "sentAt")
            account.agenda.after(account.switches.delivered_seconds, lambda: move("RECEIVED", "receivedAt"))
        else:
            otp["status"], otp["failedReason"] = "FAILED", fails
            account.touch(account.otps, otp)
        webhooks.call_back(account, otp["callbackUrl"], otp.shown(*webhooks.OUTCOME))

    account.agenda.after(account.switches.queue_seconds + account.switches.sent_seconds, sent)


def _otp_template(account: Account, identifier: str | None) -> Record:
    fitting = (template for template in account.templates if "AUTHENTICATION" in template["type"])
    template = account.template_of(identifier) if identifier else next(fitting, None)
    template = required(template, "O template de autenticação")
    if "AUTHENTICATION" not in template["type"]:
        raise Refusal("FORM_ERROR", "O template deve ser de autenticação.")
    return template


@handles("get_otp_status")
def _otp_status(request: Request) -> dict[str, Any]:
    otp = _named(request.account.otps, request.path["id"], by_sender_id=True)
    return _show_otp(request, required(otp, "O código"))


def _show_otp(request: Request, otp: Record) -> dict[str, Any]:
    return answer(request, otp, statusUrl=request.account.status_url(otp["statusUrl"]))
