"""Sequences and the contacts in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_wts.emulator import conversation
from airflow_provider_wts.emulator.crud import EMPTY, Empty, Request, detail, handles, page, plain, select, whole
from airflow_provider_wts.emulator.errors import Refusal
from airflow_provider_wts.emulator.state import Account, address_key

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.state import Contact, Record


@handles("list_sequences")
def _list(request: Request) -> dict[str, Any]:
    account, query = request.account, request.query
    name = str(query.get("Name", "")).casefold()
    contact = query.get("ContactId")

    def keep(sequence: Record) -> bool:
        return name in sequence["name"].casefold() and (
            contact is None or (sequence.id, contact.lower()) in account.memberships
        )

    def show(sequence: Record) -> dict[str, Any]:
        answer = plain(account, sequence)
        if request.shows("ContactExecutingCount"):
            answer["contactExecutingCount"] = len(_members(account, sequence))
        return answer

    return page(request, select(request, account.sequences, keep), show)


@handles("list_sequence_contacts")
def _contacts(request: Request) -> dict[str, Any]:
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

    members = _members(account, _sequence_of(request))
    found = select(request, account.sequence_contacts, keep, among=members)
    return page(request, found, lambda member: _show(request, member))


@handles("add_sequence_contact")
def _add(request: Request) -> dict[str, Any]:
    sequence = _sequence_of(request)
    return _show(request, add_to_sequence(request.account, sequence, request.account.contact_named(request.body)))


@handles("add_sequence_contacts_batch")
def _add_batch(request: Request) -> dict[str, Any]:
    account, sequence = request.account, _sequence_of(request)
    contacts = conversation.contacts_named(account, request.body, create=True)
    return whole([_show(request, add_to_sequence(account, sequence, contact)) for contact in contacts])


@handles("remove_sequence_contact")
def _remove(request: Request) -> Empty:
    sequence = _sequence_of(request)
    _remove_member(request.account, sequence, request.account.contact_named(request.body))
    return EMPTY


@handles("remove_sequence_contacts_batch")
def _remove_batch(request: Request) -> Empty:
    sequence = _sequence_of(request)
    for contact in conversation.contacts_named(request.account, request.body, create=False):
        _remove_member(request.account, sequence, contact)
    return EMPTY


def add_to_sequence(account: Account, sequence: Record, contact: Contact) -> Record:
    """Put a contact into a sequence.

    :param account: the account.
    :param sequence: the sequence.
    :param contact: the contact.
    """
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


def _sequence_of(request: Request) -> Record:
    return request.account.need(request.account.sequences, request.path["id"], "A sequência")


def _members(account: Account, sequence: Record) -> list[Record]:
    return [member for member in account.sequence_contacts.by_creation() if member["sequenceId"] == sequence.id]


def _show(request: Request, member: Record) -> dict[str, Any]:
    answer = plain(request.account, member)
    contact = request.account.contacts.find(member["contactId"])

    def details() -> dict[str, Any] | None:
        if contact is None:
            return None
        return {
            "id": contact.id,
            "name": contact["name"],
            "phonenumber": contact["phoneNumber"],
            "phonenumberFormatted": contact["phoneNumberFormatted"],
            "instagram": contact["instagram"],
            "email": contact["email"],
            "pictureUrl": contact.get("pictureUrl"),
        }

    detail(answer, request, "contactDetails", details, "ContactDetails")
    return answer
