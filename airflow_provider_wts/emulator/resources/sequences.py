"""Sequences and the contacts in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_wts.emulator.crud import Members, Request, Resource, detail, plain
from airflow_provider_wts.emulator.errors import Refusal
from airflow_provider_wts.emulator.state import Account, Contact, Record, address_key


def add_to_sequence(account: Account, sequence: Record, contact: Contact) -> Record:
    """Put a contact into a sequence."""
    member = account.memberships.get((sequence.id, contact.id))
    if member is not None:
        if account.switches.sequence_add_twice == "refuse":
            raise Refusal("ENTITY_ERROR_SAVE", "O contato já está na sequência.")
        account.touch(account.sequence_contacts, member)
        member["lastAddedAt"] = account.clock.text(member.updated)
        return member
    member = account.new(
        account.sequence_contacts,
        {
            "active": True,
            "companyId": account.id,
            "sequenceId": sequence.id,
            "contactId": contact.id,
            "contactName": contact["name"],
            "origin": "API",
            "addedByUserId": None,
            "addedByChatbotId": None,
            "lastAddedAt": account.now_text(),
        },
    )
    account.memberships[sequence.id, contact.id] = member
    return member


def _remove_member(account: Account, sequence: Record, contact: Contact) -> None:
    member = account.memberships.pop((sequence.id, contact.id), None)
    if member is not None:
        account.sequence_contacts.remove(member)


def _show_sequence(request: Request, sequence: Record) -> dict[str, Any]:
    answer = plain(request.account, sequence)
    if request.shows("ContactExecutingCount"):
        answer["contactExecutingCount"] = len(_MEMBERS.of(request.account, sequence))
    return answer


def _wanted_sequence(request: Request) -> Callable[[Record], bool]:
    name, contact = str(request.query.get("Name", "")).casefold(), request.query.get("ContactId")
    return lambda sequence: (
        name in sequence["name"].casefold()
        and (contact is None or (sequence.id, contact.lower()) in request.account.memberships)
    )


def _wanted(request: Request) -> Callable[[Record], bool]:
    account, query = request.account, request.query
    name = str(query.get("Name", "")).casefold()
    contact, phone = query.get("ContactId"), query.get("PhoneNumber")

    def keep(member: Record) -> bool:
        found = account.contacts.find(member["contactId"])
        return (
            found is not None
            and name in (found["name"] or "").casefold()
            and (contact is None or found.id == contact.lower())
            and (phone is None or address_key(phone) == (address_key(found["phoneNumber"] or "") or None))
        )

    return keep


def _show(request: Request, member: Record) -> dict[str, Any]:
    answer = plain(request.account, member)
    contact = request.account.contacts.find(member["contactId"])
    names = ("name", "phonenumber", "phonenumberFormatted", "instagram", "email", "pictureUrl")
    detail(answer, request, "contactDetails", lambda: contact and contact.shown(*names), "ContactDetails")
    return answer


_MEMBERS = Members(
    Resource("sequence", "sequences", "A sequência", show=_show_sequence, keep=_wanted_sequence),
    "sequence_contacts",
    show=_show,
    keep=_wanted,
    add=add_to_sequence,
    remove=_remove_member,
)
