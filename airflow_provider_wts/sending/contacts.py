"""The contacts of a phone number, under every spelling that the API may have stored, and of a handle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.addresses import identity_of, spellings
from airflow_provider_wts.api.errors import WtsNotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_wts.hooks.wts import WtsHook

__all__ = ["contacts_of", "contacts_of_handle", "identity_of", "spellings"]


def contacts_of(hook: WtsHook, phone: str, *, include_details: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the contacts of a number, one call for each spelling.

    :param hook: the hook of the task's connection.
    :param phone: phone number, as the API spells it.
    :param include_details: details to add.
    """
    from airflow_provider_wts.api.call import NOT_GIVEN
    from airflow_provider_wts.api.contacts import get_contact_by_phone

    found: dict[Any, dict[str, Any]] = {}
    for spelling in spellings(phone):
        try:
            contact: Any = hook.run(get_contact_by_phone(spelling, include_details=list(include_details) or NOT_GIVEN))
        except WtsNotFoundError:
            continue
        found.setdefault(contact.get("id"), contact)
    return list(found.values())


def contacts_of_handle(hook: WtsHook, handle: str) -> list[dict[str, Any]]:
    """Return the contacts of a handle, whatever their status: the filter shows one status at a time.

    :param hook: the hook of the task's connection.
    :param handle: the handle, with its ``@``.
    """
    from airflow_provider_wts.api.contacts import filter_contacts

    wanted = handle.lstrip("@").lower()
    return [
        contact
        for status in ("ACTIVE", "ARCHIVED", "BLOCKED")
        for contact in hook.client.items(filter_contacts(status=status, instagram=wanted))
        if str(contact.get("instagram") or "").lstrip("@").lower() == wanted
    ]
