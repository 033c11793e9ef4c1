"""Sequences and the contacts in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_wts.emulator.answers import Request, by_name
from airflow_provider_wts.emulator.crud import Members, Resource, show_holder
from airflow_provider_wts.emulator.errors import Refusal
from airflow_provider_wts.emulator.state import Account, Contact, Record, address_key


def _wanted(request: Request) -> Callable[[Record], bool]:
    contact, memberships = request.query.get("ContactId"), request.account.memberships
    return lambda sequence: contact is None or (sequence.id, contact.lower()) in memberships


def _wanted_members(request: Request) -> Callable[[Record], bool]:
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


def _values(account: Account, contact: Contact) -> dict[str, Any]:
    return {"contactName": contact["name"], "origin": "API", "lastAddedAt": account.now_text()}


def _again(account: Account, member: Record) -> None:
    if account.switches.sequence_add_twice == "refuse":
        raise Refusal("ENTITY_ERROR_SAVE", "O contato já está na sequência.")
    account.touch(account.sequence_contacts, member)
    member["lastAddedAt"] = account.clock.text(member.updated)


SEQUENCE_CONTACTS = Members(
    Resource("sequence", show=show_holder, texts={"Name": ("name",)}, keep=_wanted),
    details=by_name("contactDetails"),
    keep=_wanted_members,
    values=_values,
    again=_again,
)
