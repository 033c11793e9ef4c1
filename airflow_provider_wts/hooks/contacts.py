"""The contacts with a number or handle, and whether the connection allows messages to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api import parameters
from airflow_provider_wts.api.errors import WtsInvalidRequestError, WtsNotFoundError, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_wts.hooks.wts import WtsHook


def refuse_unless_allowed(hook: WtsHook, name: str, phone: str | None, *, contact_id: str | None = None) -> None:
    """Refuse a contact that the connection does not allow. It looks up nothing if the connection allows everybody.

    :param phone: the contact's number, as WTS Chat spells it.
    :param contact_id: the contact's ID, to look up the number if ``phone`` is unknown.
    :raises WtsInvalidRequestError: when the connection does not allow it.
    """
    from airflow_provider_wts.api.addresses import same_person

    allowed = hook.connection.allowed_recipients
    if not allowed:
        return
    if contact_id is not None and parameters.missing(phone):
        from airflow_provider_wts.api.contacts import get_contact

        phone = hook.run(get_contact(contact_id)).get("phoneNumber")
    if parameters.missing(phone) or not any(same_person(str(phone), one) for one in allowed):
        raise WtsInvalidRequestError(
            f"{name}: the connection {quoted(hook.wts_conn_id)} allows only the recipients in its extra "
            "'allowed_recipients', and this recipient is not one of them. Nothing was sent."
        )


def contacts_at(hook: WtsHook, address: str, *, include_details: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the contacts with a number or handle, with one call per spelling of the number or status of contacts.

    :param address: phone number or handle, as the API spells it.
    """
    from airflow_provider_wts.api.addresses import is_handle, spellings, user_of
    from airflow_provider_wts.api.contacts import STATUSES, filter_contacts, get_contact_by_phone
    from airflow_provider_wts.api.wire import UNSET

    details = list(include_details) or UNSET
    if is_handle(address):
        wanted = user_of(address).lower()
        return [
            contact
            for status in STATUSES
            for contact in hook.client.items(filter_contacts(status=status, instagram=wanted, include_details=details))
            if user_of(contact.get("instagram")).lower() == wanted
        ]
    found: dict[Any, dict[str, Any]] = {}
    for spelling in spellings(address):
        try:
            contact: Any = hook.run(get_contact_by_phone(spelling, include_details=details))
        except WtsNotFoundError:
            continue
        found.setdefault(contact.get("id"), contact)
    return list(found.values())
