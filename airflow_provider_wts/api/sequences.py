"""Calls about sequences (timed series of messages), and their contacts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.window import Window
from airflow_provider_wts.api.wire import UNSET, Missing, Unset, given, query_of

if TYPE_CHECKING:
    from collections.abc import Sequence as Several

    from airflow_provider_wts.api.types import SequenceContact, SequenceContactPage, SequencePage


def list_sequences(
    *,
    name: str | Unset = UNSET,
    contact_id: str | Unset = UNSET,
    include_details: Several[str] | Unset = UNSET,
    **window: Unpack[Window],
) -> Call[SequencePage]:
    """List the account's sequences, paged.

    :param include_details: ``ContactExecutingCount``, ``ExecutionStats``.
    """
    filters = given(Name=name, ContactId=contact_id, IncludeDetails=include_details)
    return Call("list_sequences", query={**filters, **query_of(Window, window)})


def list_sequence_contacts(
    sequence_id: str,
    *,
    name: str | Unset = UNSET,
    contact_id: str | Unset = UNSET,
    phone_number: str | Unset = UNSET,
    include_details: Several[str] | Unset = UNSET,
    **window: Unpack[Window],
) -> Call[SequenceContactPage]:
    """List the contacts of a sequence, paged.

    :param name: filter by the contact's name.
    :param contact_id: filter by the contact.
    :param phone_number: filter by the contact's number.
    :param include_details: ``ContactDetails``.
    """
    filters = given(Name=name, ContactId=contact_id, PhoneNumber=phone_number, IncludeDetails=include_details)
    return Call("list_sequence_contacts", path={"id": sequence_id}, query={**filters, **query_of(Window, window)})


def add_sequence_contact(
    sequence_id: str, *, contact_id: Missing[str] = UNSET, phone_number: Missing[str] = UNSET
) -> Call[SequenceContact]:
    """Add a contact to a sequence, by either ``contact_id`` or ``phone_number``."""
    body = given(contactId=contact_id, phoneNumber=phone_number)
    return Call("add_sequence_contact", path={"id": sequence_id}, body=body)


def add_sequence_contacts_batch(
    sequence_id: str, *, contact_ids: Missing[Several[str]] = UNSET, phone_numbers: Missing[Several[str]] = UNSET
) -> Call[SequenceContactPage]:
    """Add many contacts to a sequence, by ``contact_ids`` or ``phone_numbers``."""
    body = given(contactIds=contact_ids, phoneNumbers=phone_numbers)
    return Call("add_sequence_contacts_batch", path={"id": sequence_id}, body=body)


def remove_sequence_contact(
    sequence_id: str, *, contact_id: Missing[str] = UNSET, phone_number: Missing[str] = UNSET
) -> Call[None]:
    """Remove a contact from a sequence, by either ``contact_id`` or ``phone_number``."""
    body = given(contactId=contact_id, phoneNumber=phone_number)
    return Call("remove_sequence_contact", path={"id": sequence_id}, body=body)


def remove_sequence_contacts_batch(
    sequence_id: str, *, contact_ids: Missing[Several[str]] = UNSET, phone_numbers: Missing[Several[str]] = UNSET
) -> Call[None]:
    """Remove many contacts from a sequence, by ``contact_ids`` or ``phone_numbers``."""
    body = given(contactIds=contact_ids, phoneNumbers=phone_numbers)
    return Call("remove_sequence_contacts_batch", path={"id": sequence_id}, body=body)
