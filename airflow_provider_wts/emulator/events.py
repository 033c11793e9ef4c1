"""Webhooks: what the account tells its subscribers and the ``callbackUrl`` of a send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_wts.emulator.account import Account
    from airflow_provider_wts.emulator.records import Contact, Message, Record, Session


def emit(account: Account, event: str, content: Mapping[str, Any]) -> None:
    """Tell every enabled subscriber of an event.

    :param account: the account.
    :param event: name of the event, such as ``SESSION_NEW``.
    :param content: what the envelope carries.
    """
    for subscription in account.subscriptions.by_creation():
        if subscription["enabled"] and event in subscription["events"]:
            body = {"eventType": event, "date": account.now_text(), "content": content}
            account.post(subscription["url"], body, event)


def emit_session(account: Account, event: str, session: Session) -> None:
    """Tell subscribers about a session.

    :param account: the account.
    :param event: name of the event.
    :param session: the session.
    """
    if len(account.subscriptions) == 0:
        return
    content = {
        "id": session.id,
        "createdAt": account.clock.text(session.created),
        "updatedAt": account.clock.text(session.updated),
        "companyId": account.id,
        "status": session["status"],
        "contactId": session.contact.id,
        "channelId": session.channel.id,
        "departmentId": session["departmentId"],
        "userId": session["userId"],
        "botId": session["botId"],
        "metadata": dict(session["metadata"]),
    }
    emit(account, event, content)


def emit_message(account: Account, event: str, message: Message) -> None:
    """Tell subscribers about a message.

    :param account: the account.
    :param event: name of the event.
    :param message: the message.
    """
    if len(account.subscriptions) == 0:
        return
    names = ("type", "senderId", "sessionId", "direction", "status", "origin", "text", "failedReason")
    content = {
        "id": message.id,
        "createdAt": account.clock.text(message.created),
        "updatedAt": account.clock.text(message.updated),
        **{name: message[name] for name in names},
    }
    emit(account, event, content)


def emit_contact(account: Account, event: str, contact: Contact) -> None:
    """Tell subscribers about a contact; the names differ from those of the REST calls, as seen on the wire.

    :param account: the account.
    :param event: name of the event.
    :param contact: the contact.
    """
    if len(account.subscriptions) == 0:
        return
    tags = [account.tags.find(identifier) for identifier in contact["tagIds"]]
    content = {
        "id": contact.id,
        "createdAt": account.clock.text(contact.created),
        "updatedAt": account.clock.text(contact.updated),
        "companyId": account.id,
        "name": contact["name"],
        "phonenumber": contact["phoneNumber"],
        "phonenumberFormatted": contact["phoneNumberFormatted"],
        "email": contact["email"],
        "instagram": contact["instagram"],
        "annotation": contact["annotation"],
        "tagsId": list(contact["tagIds"]),
        "tags": [tag["name"] for tag in tags if tag is not None],
        "status": contact["status"],
        "origin": contact["origin"],
        "utm": None,
        "customFieldValues": dict(contact["customFields"]),
        "metadata": dict(contact["metadata"]),
    }
    emit(account, event, content)


def emit_record(account: Account, event: str, record: Record) -> None:
    """Tell subscribers about any other object.

    :param account: the account.
    :param event: name of the event.
    :param record: the object.
    """
    if len(account.subscriptions) == 0:
        return
    content = {
        "id": record.id,
        "createdAt": account.clock.text(record.created),
        "updatedAt": account.clock.text(record.updated),
        **record.values,
    }
    emit(account, event, content)


def call_back(account: Account, url: str | None, content: Mapping[str, Any]) -> None:
    """Tell the ``callbackUrl`` of a send; the real service's body is not documented.

    :param account: the account.
    :param url: where to, nothing where it is missing.
    :param content: what to tell.
    """
    if url:
        account.post(url, dict(content), "callbackUrl")
