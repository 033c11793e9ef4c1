"""Scheduled messages: templates and chatbots that go out at a set time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_wts.emulator import bots, conversation
from airflow_provider_wts.emulator.answers import EMPTY, Empty, Request, answer, by_name, handles
from airflow_provider_wts.emulator.clock import parse_ticks
from airflow_provider_wts.emulator.crud import Resource, changes
from airflow_provider_wts.emulator.errors import Refusal, bad_request, not_found
from airflow_provider_wts.emulator.lists import date_bounds
from airflow_provider_wts.emulator.resources.departments import serves
from airflow_provider_wts.emulator.resources.files import message_file
from airflow_provider_wts.emulator.resources.templates import filled_template
from airflow_provider_wts.emulator.state import ALWAYS, Account, Record, address_key

_FIELDS = by_name(
    *("to", "from", "department", "type", "templateId", "scheduling", "hiddenSession", "templateParams"),
    BotId=("botKey",),
)
_DETAILS = by_name("contact", "channel", "user", "department", "template", "chatbot")


def _wanted(request: Request) -> Callable[[Record], bool]:
    account, query = request.account, request.query
    scheduled = date_bounds(request, "ScheduledAt")
    status = query.get("Status")
    channel = account.channel_of(query["From"]).id if query.get("From") else None
    contact = _contact_id(account, query["To"]) if query.get("To") else None
    return lambda message: (
        (scheduled == ALWAYS or scheduled.holds(parse_ticks(message["scheduling"])))
        and status in (None, _status(account, message))
        and channel in (None, message["channelId"])
        and contact in (None, message["contactId"])
    )


def _status(account: Account, message: Record) -> str:
    """Return the status: once sent, that of the message."""
    written = account.messages.find(message["messageId"])
    if written is not None and written["status"] in ("SENT", "DELIVERED", "READ", "FAILED"):
        return str(written["status"])
    return str(message["status"])


def _show(request: Request, message: Record) -> dict[str, Any]:
    account = request.account
    written, contact = account.messages.find(message["messageId"]), account.contacts.find(message["contactId"])
    channel, template = account.channels.find(message["channelId"]), account.templates.find(message["templateId"])
    bot = next((one for one in account.chatbots if one["key"] == message["botId"]), None)
    agent = account.agent_of_user(message["userId"])
    parameters = {"parameters": message["params"].get("parameters")}
    return answer(
        request,
        message,
        _DETAILS,
        status=_status(account, message),
        failureReason=(written and written["failedReason"]) or message["failureReason"],
        contact=contact,
        channel=channel and {**channel.shown("type"), "humanId": channel["identity"]["humanId"]},
        user=agent and {"id": agent["userId"], "name": agent["name"]},
        department=account.departments.find(message["departmentId"]),
        template=template and {**template.shown("name"), "templateParams": parameters},
        chatbot=bot and {"id": bot["key"], "botId": bot.id, "name": bot["name"]},
    )


SCHEDULED = Resource(
    "scheduled_message",
    show=_show,
    filters={"Type": "type", "User": "userId", "Department": "departmentId"},
    keep=_wanted,
)


@handles("create_scheduled_message")
def _create(request: Request) -> dict[str, Any]:
    account = request.account
    if not account.switches.scheduled_messages:
        raise not_found("O recurso de mensagens agendadas")
    values = _checked(account, request.body)
    values |= {"active": True, "status": "SCHEDULED", "userId": account.user_id()}
    message = account.new(account.scheduled_messages, values)
    _plan(account, message)
    return _show(request, message)


@handles("update_scheduled_message")
def _update(request: Request) -> dict[str, Any]:
    account, message = request.account, SCHEDULED.of(request)
    if message["status"] != "SCHEDULED":
        raise Refusal("ENTITY_ERROR_SAVE", "A mensagem não pode mais ser alterada.")
    contact = account.contacts.find(message["contactId"])
    before = {**message["given"], "to": contact and (contact["phoneNumber"] or contact["instagram"])}
    given = {name: value for name, value in changes(request, _FIELDS).items() if value is not None}
    message.values.update(_checked(account, {**before, **given}))
    account.touch(account.scheduled_messages, message)
    _plan(account, message)
    return _show(request, message)


@handles("cancel_scheduled_message")
def _cancel(request: Request) -> Empty:
    message = SCHEDULED.of(request)
    if message["status"] != "SCHEDULED":
        raise Refusal("ENTITY_ERROR_SAVE", "A mensagem não pode mais ser cancelada.")
    _cancel_one(request.account, message)
    return EMPTY


@handles("batch_cancel_scheduled_messages")
def _cancel_batch(request: Request) -> list[dict[str, Any]]:
    account = request.account
    if not request.body and account.switches.empty_batches == "refuse":
        raise bad_request(["ao menos uma mensagem"], account.switches)
    messages = [account.scheduled_messages.find(one) for one in request.body]
    if None in messages and account.switches.batch_cancel_unknown == "refuse":
        raise not_found("A mensagem agendada")
    open_messages = [one for one in messages if one is not None and one["status"] == "SCHEDULED"]
    for message in open_messages:
        _cancel_one(account, message)
    return [_show(request, message) for message in open_messages]


def _cancel_one(account: Account, message: Record) -> None:
    message["status"] = "CANCELED"
    account.touch(account.scheduled_messages, message)


def _contact_id(account: Account, address: str) -> str:
    by_id = account.contacts.find(address)
    found = by_id or account.contact_by_address(address)
    return found.id if found is not None else address_key(address)


def _checked(account: Account, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties of a scheduled message, or refuse what cannot be sent."""
    if not given.get("scheduling"):
        raise Refusal("FORM_ERROR", "Informe a data do agendamento.")
    if parse_ticks(given["scheduling"]) <= account.clock.now():
        raise Refusal("FORM_ERROR", "A data do agendamento deve ser futura.")
    kind = given.get("type") or ("CHATBOT" if given.get("botKey") else "TEMPLATE")
    template = account.template_of(given.get("templateId")) if kind == "TEMPLATE" else None
    params = given.get("templateParams") or {}
    if template is not None:
        filled_template(account, template, params.get("parameters"), params.get("fileId") or params.get("fileUrl"))
    bot = account.chatbot_of(given.get("botKey")) if kind == "CHATBOT" else None
    channel = account.channel_of(given.get("from"), given["to"])
    department = account.department_of(given.get("department")) or account.default_department()
    if department is not None and not serves(department, channel):
        raise Refusal("ENTITY_NOT_FOUND", "A equipe não está vinculada ao canal.")
    return {
        "contactId": conversation.contact_for(account, given["to"]).id,
        "channelId": channel.id,
        "departmentId": department.id if department else None,
        "type": kind,
        "templateId": template.id if template else None,
        "botId": bot["key"] if bot else None,
        "scheduling": account.clock.text(parse_ticks(given["scheduling"])),
        "hiddenSession": bool(given.get("hiddenSession")),
        "params": params,
        "given": {**given, "type": kind, "from": channel.id, "department": {"id": department and department.id}},
    }


def _plan(account: Account, message: Record) -> None:
    planned = message["scheduling"]

    def send() -> None:
        # An update may have moved it, or a cancel stopped it.
        if message["status"] == "SCHEDULED" and message["scheduling"] == planned:
            _send(account, message)

    account.agenda.at(parse_ticks(planned), send)


def _send(account: Account, message: Record) -> None:
    message["status"] = "PROCESSED"
    try:
        contact = account.contacts.need(message["contactId"])
        channel = account.channels.need(message["channelId"])
        options = {"hiddenSession": message["hiddenSession"], "department": {"id": message["departmentId"]}}
        session = conversation.session_for_send(account, contact, channel, options)
        message["sessionId"] = session.id
        if message["type"] == "CHATBOT":
            bots.start(account, session, account.chatbot_of(message["botId"]), send_id=message.id)
            message["status"] = "SENT"
        else:
            template, params = account.template_of(message["templateId"]), message["params"]
            reference = params.get("fileId") or params.get("fileUrl")
            text = filled_template(account, template, params.get("parameters"), reference)
            content = conversation.Content(text, template=template, file=message_file(account, reference))
            message["messageId"] = conversation.company_writes(account, session, content, send=message).id
    except Refusal as refusal:
        message["status"], message["failureReason"] = "FAILED", refusal.text
    account.touch(account.scheduled_messages, message)
