"""Chatbots, and the three ways to start one: immediately, queued, queued for many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_wts.emulator import bots, conversation, webhooks
from airflow_provider_wts.emulator.answers import Request, handles
from airflow_provider_wts.emulator.crud import Resource, merged
from airflow_provider_wts.emulator.errors import Refusal
from airflow_provider_wts.emulator.resources.sends import answer_batch, new_send, show_send, target_of, update_send
from airflow_provider_wts.emulator.resources.sessions import show_session, write_metadata
from airflow_provider_wts.emulator.state import Account, Chatbot, Send, Session

Resource(
    "chatbot",
    filters={
        "Types": "type",
        "PublishStatuses": "publishStatus",
        "AutomationUsages": "automationUsage",
        "ChannelIds": "channelIds",
        "DefaultDepartmentIds": "defaultDepartmentId",
    },
    texts={"Name": ("name",)},
)


@handles("send_chatbot")
def _send(request: Request) -> Any:
    bot = request.account.chatbot_of(request.body.get("botKey"))
    session, skipped = _dispatch(request, bot, request.body)
    reading = request.account.switches.skipped_send
    if not skipped or reading == "session":
        return show_session(request, session)
    if reading == "refuse":
        raise Refusal("FORM_ERROR", "O envio foi ignorado: " + skipped)
    return None if reading == "null" else {}


@handles("queue_chatbot")
def _queue(request: Request) -> dict[str, Any]:
    bot = request.account.chatbot_of(request.body.get("botKey"))
    return show_send(request, _accept(request, bot, request.body))


@handles("queue_chatbot_batch")
def _queue_batch(request: Request) -> dict[str, Any]:
    account, body = request.account, request.body
    bot = account.chatbot_of(body["botKey"])
    if body.get("from"):
        account.channel_of(body["from"])
    return answer_batch(request, lambda item: _accept(request, bot, item))


def _accept(request: Request, bot: Chatbot, item: Mapping[str, Any]) -> Send:
    """Queue the start of a bot, by the body or an entry of a batch, and plan its processing."""
    account = request.account
    session, to, _ = target_of(request, item)
    send = new_send(request, to, item, session)

    def process() -> None:
        try:
            found, skipped = _dispatch(request, bot, item, send.id)
        except Refusal as refusal:
            update_send(account, send, "FAILED", reason=refusal.text)
        else:
            send["sessionId"] = found.id
            if not skipped:
                send["sentAt"] = account.now_text()
                update_send(account, send, "SENT")
                return
            status = account.switches.skipped_queued_status
            update_send(account, send, status, reason=skipped if status == "FAILED" else None)
        webhooks.call_back(account, item.get("callbackUrl"), send.shown(*webhooks.OUTCOME))

    account.agenda.after(account.switches.queue_seconds, process)
    return send


def _dispatch(
    request: Request, bot: Chatbot, item: Mapping[str, Any], send_id: str | None = None
) -> tuple[Session, str | None]:
    """Start a bot, or skip; return the session, and why it was skipped."""
    account, options = request.account, request.body.get("options") or {}
    session, to, channel = target_of(request, item)
    contact = conversation.contact_for(account, to) if session is None else session.contact
    current = session or conversation.open_session_of(account, contact, channel)
    reason = _reason_to_skip(account, current, options) if current is not None else None
    if current is not None and reason is not None:
        return current, reason
    if session is None:
        department = account.departments.find(bot["defaultDepartmentId"])
        given = {**options, "department": department and {"id": department.id}, "user": None}
        session = conversation.session_for_send(account, contact, channel, given)
    write_metadata(account, session, item.get("sessionMetadata"))
    if item.get("contactMetadata") is not None:
        reading = account.switches.contact_metadata_of_send
        contact["metadata"] = merged(contact["metadata"], item["contactMetadata"], reading)
        account.touch(account.contacts, contact)
    bots.start(account, session, bot, item, send_id=send_id)
    return session, None


def _reason_to_skip(account: Account, session: Session, options: Mapping[str, Any]) -> str | None:
    switches = account.switches
    if options.get("skipIfBotInExecution") and session.run is not None:
        return "outro chatbot está em execução."
    in_progress = session["status"] in switches.statuses_in_progress
    force = options.get("forceStartSession")
    if options.get("skipIfInProgress") and in_progress and (switches.skip_beats_force or not force):
        return "já existe uma sessão em andamento."
    return None
