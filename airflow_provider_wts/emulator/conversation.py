"""Sessions and messages: how a conversation opens, goes on and ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_wts.emulator import webhooks
from airflow_provider_wts.emulator.clock import TICKS
from airflow_provider_wts.emulator.errors import Refusal, not_found
from airflow_provider_wts.emulator.phones import is_handle, stored_phone
from airflow_provider_wts.emulator.state import Account, Contact, Delivery, Message, Record, Send, Session

WINDOW = 24 * 3600 * TICKS

OFFICIAL_WHATSAPP = frozenset({"CloudAPI_WhatsApp", "Dialog360_WhatsApp"})
"""Channels on which free text needs an open conversation: the contact wrote within 24 hours."""


@dataclass(frozen=True)
class Content:
    """What a message of the company holds.

    :param text: its text, that of a template filled in.
    :param file: its file, as ``PublicFileDTO``.
    :param reference: ID of the message it replies to.
    """

    text: str | None
    kind: str = "TEXT"
    template: Record | None = None
    file: Mapping[str, Any] | None = None
    reference: str | None = None


def contact_for(account: Account, address: str) -> Contact:
    """Return the contact of a number or handle, created if it is missing, as a send does."""
    contact = account.contact_by_address(address) or account.contact_by_older_number(address)
    if contact is None:
        name, address = ("instagram", address.strip()) if is_handle(address) else ("phoneNumber", address)
        if name == "phoneNumber":
            address = stored_phone(address, account.switches)
        contact = account.add_contact({name: address, "name": address, "origin": "CREATED_FROM_HUB"})
        webhooks.emit(account, "CONTACT_NEW", contact)
    return contact


def contacts_named(account: Account, given: Mapping[str, Any], *, unknown: str) -> list[Contact]:
    """Return the contacts that a request names by ids and by phone numbers, each once.

    :param given: object with ``contactIds`` and ``phoneNumbers``.
    :param unknown: a number without a contact: ``create`` one, ``skip`` the number, or ``refuse`` all.
    """
    if not given.get("contactIds") and not given.get("phoneNumbers") and account.switches.empty_batches == "refuse":
        raise Refusal("FORM_ERROR", "Informe ao menos um contato.")
    contacts = [account.contacts.need(one) for one in given.get("contactIds") or ()]
    numbers: list[str] = []
    for phone in given.get("phoneNumbers") or ():
        found = account.contact_by_address(phone)
        if found is not None:
            contacts.append(found)
        elif unknown == "refuse":
            raise not_found("O contato", "FORM_ERROR")
        elif unknown == "create":
            numbers.append(phone)
    contacts += [contact_for(account, phone) for phone in numbers]
    return list({contact.id: contact for contact in contacts}.values())


def open_session_of(account: Account, contact: Contact, channel: Record) -> Session | None:
    """Return the contact's session on a channel that is not completed."""
    return account.open_sessions.get((contact.id, channel.id))


def open_session(
    account: Account,
    contact: Contact,
    channel: Record,
    *,
    hidden: bool = False,
    department: Record | None = None,
    **values: Any,
) -> Session:
    """Open a session; the default department gets it unless another one is given.

    :param hidden: whether it stays hidden until the contact answers.
    """
    status = "HIDDEN" if hidden else account.switches.opened_session_status
    department = department or account.default_department()
    session = add_session(account, contact, channel, status, departmentId=department and department.id, **values)
    webhooks.emit(account, "SESSION_NEW", session)
    return session


def add_session(
    account: Account,
    contact: Contact,
    channel: Record,
    status: str,
    *,
    identifier: str | None = None,
    stamp: int | None = None,
    **values: Any,
) -> Session:
    """Add a session to the account; no webhook reports it."""
    stamp = account.clock.stamp() if stamp is None else stamp
    text = account.clock.text(stamp)
    properties = {
        "startAt": text,
        "endAt": text if status == "COMPLETED" else None,
        "status": status,
        "contactId": contact.id,
        "channelId": channel.id,
        "number": str(len(account.sessions) + 1),
        **values,
    }
    session = account.new(account.sessions, properties, identifier, stamp, contact=contact, channel=channel)
    contact.sessions.append(session)
    if status != "COMPLETED":
        account.open_sessions[contact.id, channel.id] = session
    return session


def session_for_send(account: Account, contact: Contact, channel: Record, options: Mapping[str, Any]) -> Session:
    """Return the session that a send goes into, opened if there is none.

    :param options: ``forceStartSession``, ``hiddenSession``, ``department`` and ``user`` of the request.
    """
    session = open_session_of(account, contact, channel)
    if session is not None and options.get("forceStartSession"):
        complete(account, session, stop_bot=True)
        session = None
    if session is None:
        session = open_session(
            account,
            contact,
            channel,
            hidden=bool(options.get("hiddenSession")),
            department=account.department_of(options.get("department")),
            userId=account.user_of(options.get("user")),
        )
    return session


def session_before_send(account: Account, to: str, channel: Record, options: Mapping[str, Any]) -> Session | None:
    """Return the open session that a send goes into, or refuse an unknown department or user.

    :param options: ``forceStartSession``, ``department`` and ``user``; the last two count only for a new session.
    """
    contact = account.contact_by_address(to)
    session = open_session_of(account, contact, channel) if contact is not None else None
    if session is None or options.get("forceStartSession") or account.switches.unknown_target == "refuse":
        account.department_of(options.get("department"))
        account.agent_of(options.get("user"))
    return session


def set_status(account: Account, session: Session, status: str) -> None:
    """Move a session to a status, and update its dates and the open sessions."""
    key = (session.contact.id, session.channel.id)
    completed_before = session["status"] == "COMPLETED"
    session["status"] = status
    if status == "COMPLETED":
        if account.open_sessions.get(key) is session:
            del account.open_sessions[key]
    else:
        if completed_before:
            session["endAt"] = None
        account.open_sessions[key] = session
    account.touch(account.sessions, session)
    if status == "COMPLETED":
        session["endAt"] = account.clock.text(session.updated)
    completing = status == "COMPLETED" and not completed_before
    webhooks.emit(account, "SESSION_COMPLETE" if completing else "SESSION_UPDATE", session)


def complete(account: Account, session: Session, *, stop_bot: bool, reactivate: bool = False) -> None:
    """Complete a session.

    :param reactivate: whether the contact's next message reopens it.
    """
    if stop_bot and session.run is not None:
        session.run.stop()
    session.reactivate = reactivate
    set_status(account, session, "COMPLETED")


def window_status(account: Account, session: Session) -> str:
    """Return whether free text may be written: ``ACTIVE``, ``EXPIRED`` or ``NOT_STARTED``."""
    if session.channel["type"] not in OFFICIAL_WHATSAPP:
        return "ACTIVE"
    if session.last_in is None:
        return "NOT_STARTED"
    return "ACTIVE" if account.clock.now() - session.last_in < WINDOW else "EXPIRED"


def company_writes(
    account: Account, session: Session, content: Content, *, send: Record | None = None, bot: str | None = None
) -> Message:
    """Add a message of the company to a session, and start its delivery.

    :param send: the send it belongs to, or the scheduled message.
    :param bot: name of the chatbot that writes it.
    """
    template = content.template
    failure = None
    if template is not None and content.file is None and account.switches.media_template_without_file == "fail":
        failure = "O template exige um arquivo." if needs_file(template) else None
    if template is None and window_status(account, session) != "ACTIVE":
        failure = _outside_window(account, by_bot=bot is not None)
    message = add_message(
        account,
        session,
        files=[content.file] if content.file is not None else (),
        identifier=send.id if isinstance(send, Send) else None,
        text=content.text,
        type=content.kind,
        origin="BOT" if bot else "API",
        status="QUEUED",
        refId=content.reference,
        templateId=template and template.id,
        senderId=send and send["senderId"],
    )
    if send is not None:
        message.callback_url, message.send_id = send["callbackUrl"], send.id
    session["lastMessageOut"] = account.clock.text(message.created)
    address = address_of(session)
    behaviour = account.behaviour_of(address)
    account.deliver(
        Delivery(
            to=address,
            kind="template" if template is not None else content.kind.lower(),
            text=content.text,
            by_bot=bot is not None,
            bot=bot,
            sender_id=message["senderId"],
            session_id=session.id,
            message=message,
            send_id=message.send_id,
            at=account.clock.text(message.created),
        )
    )
    reason = failure or behaviour.fails
    if reason is not None:
        account.agenda.after(account.switches.sent_seconds, lambda: _fail(account, message, reason))
    elif behaviour.stays not in ("QUEUED", "PROCESSING"):
        account.agenda.after(
            account.switches.sent_seconds, lambda: _progress(account, message, "SENT", behaviour.stays)
        )
    if reason is None and behaviour.answers == "always" and bot is None and behaviour.replies:
        account.agenda.after(behaviour.delay, lambda: _reply(account, session))
    webhooks.emit(account, "MESSAGE_SENT", message)
    return message


def needs_file(template: Record) -> bool:
    """Return whether a template is of a media kind."""
    return template["fileType"] not in (None, "UNDEFINED")


def contact_writes(account: Account, contact: Contact, text: str, channel: Record | None = None) -> Message:
    """Make a contact write: into its open session, a completed one that reopens, or a new one.

    :param channel: that of the contact's last session by default.
    """
    if channel is None:
        last = contact.sessions[-1] if contact.sessions else None
        channel = last.channel if last else account.channel_of(None, contact["instagram"] or contact["phoneNumber"])
    session = open_session_of(account, contact, channel)
    if session is None:
        earlier = [one for one in contact.sessions if one.channel is channel and one.reactivate]
        if earlier:
            session = earlier[-1]
            session.reactivate = False
            set_status(account, session, account.switches.reactivated_session_status)
        else:
            session = open_session(account, contact, channel, origin="GATEWAY")
    return answer_in(account, session, text)


def answer_in(account: Account, session: Session, text: str) -> Message:
    """Make the contact of a session write into it."""
    message = add_message(
        account, session, text=text, type="TEXT", direction="FROM_HUB", origin="GATEWAY", status="DELIVERED"
    )
    note_answer(account, session, message)
    if session["status"] in ("HIDDEN", account.switches.opened_session_status):
        set_status(account, session, account.switches.answered_session_status)
    webhooks.emit(account, "MESSAGE_RECEIVED", message)
    if session.run is not None and session.run.asked:
        session.run.answered(text)
    elif session.run is None and session.on_answer is not None:
        action, session.on_answer = session.on_answer, None
        action()
    return message


def note_answer(account: Account, session: Session, message: Message) -> None:
    """Note in a session that its contact has written."""
    session["lastMessageIn"] = account.clock.text(message.created)
    session["unreadCount"] = session["unreadCount"] + 1
    session.last_in = message.created


def add_message(
    account: Account,
    session: Session,
    *,
    files: Sequence[Mapping[str, Any]] = (),
    identifier: str | None = None,
    stamp: int | None = None,
    **values: Any,
) -> Message:
    """Add a message or an internal note to a session; no webhook reports it, and nothing follows.

    :param files: its files, as ``PublicFileDTO``.
    :param values: its other properties, among them ``type``, ``status`` and ``text``.
    """
    stamp = account.clock.stamp() if stamp is None else stamp
    properties: dict[str, Any] = {
        "timestamp": account.clock.text(stamp),
        "sessionId": session.id,
        "filesIds": [file["id"] for file in files],
        "details": {"files": list(files)} if files else None,
        **values,
    }
    if values["type"] != "NOTE":
        session["lastMessageText"] = values["text"]
        session["lastInteractionDate"] = account.clock.text(stamp)
        if files:
            properties |= {"fileId": files[0]["id"], "details": {"file": files[0], "files": list(files)}}
    message = account.new(account.messages, properties, identifier, stamp)
    session.messages.append(message)
    if account.switches.messages_touch_session:
        account.touch_session(session)
    return message


def _progress(account: Account, message: Message, status: str, last: str | None) -> None:
    """Move a message to a status, and plan the next one.

    :param last: the status after which it moves no further.
    """
    if message["status"] in ("DELETED", "FAILED"):
        return
    message["status"] = status
    if status == "READ":
        message["readContactAt"] = account.now_text()
    account.touch(account.messages, message)
    webhooks.emit(account, "MESSAGE_UPDATED", message)
    if status == "SENT":
        webhooks.call_back(account, message.callback_url, _outcome(message))
    switches = account.switches
    following = {"SENT": ("DELIVERED", switches.delivered_seconds), "DELIVERED": ("READ", switches.read_seconds)}
    if status in following and status != last:
        then, seconds = following[status]
        account.agenda.after(seconds, lambda: _progress(account, message, then, last))


def _fail(account: Account, message: Message, reason: str) -> None:
    message["status"] = "FAILED"
    message["failedReason"] = reason
    error = {"date": account.now_text(), "origin": "PROVIDER", "key": "MESSAGE_FAILED", "text": reason}
    message["details"] = {**(message["details"] or {}), "errors": [error]}
    account.touch(account.messages, message)
    webhooks.emit(account, "MESSAGE_UPDATED", message)
    webhooks.call_back(account, message.callback_url, _outcome(message))


def _outcome(message: Message) -> dict[str, Any]:
    return {**message.shown("sessionId", *webhooks.OUTCOME), "id": message.send_id or message.id}


def _reply(account: Account, session: Session) -> None:
    reply = account.behaviour_of(address_of(session)).next_reply()
    if reply is not None:
        contact_writes(account, session.contact, reply, session.channel)


def _outside_window(account: Account, *, by_bot: bool) -> str | None:
    text = "Fora da janela de 24 horas: é necessário enviar um template para iniciar a conversa."
    reading = account.switches.whatsapp_window
    # What a bot writes is no request of the client.
    if reading == "warn" and not by_bot:
        account.violation("Free text was sent outside the 24-hour window; WhatsApp asks for a template there.")
    elif reading == "fail" or (reading == "refuse" and by_bot):
        return text
    elif reading == "refuse":
        raise Refusal("FORM_ERROR", text)
    return None


def address_of(session: Session) -> str:
    """Return the number or handle that messages of a session go to."""
    contact = session.contact
    if session.channel["type"] == "Instagram" and contact["instagram"]:
        return "@" + str(contact["instagram"]).removeprefix("@")
    return str(contact["phoneNumber"] or contact["instagram"] or contact.id)
