"""Holds a connection's ``allowed_recipients`` also where a call names a contact and not a number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.operators import parameters

if TYPE_CHECKING:
    from airflow_provider_wts.hooks.wts import WtsHook


def refuse_unless_allowed(hook: WtsHook, name: str, phone: str | None, *, contact_id: str | None = None) -> None:
    """Refuse a contact to whom the connection does not allow to write.

    Where the connection restricts nothing, this looks nothing up.

    :param hook: the task's hook.
    :param name: the parameter's name, for the error.
    :param phone: the contact's number, as WTS Chat spells it.
    :param contact_id: the contact's id, to look its number up where ``phone`` is not known.
    :raises WtsInvalidRequestError: when the connection does not allow it.
    """
    from airflow_provider_wts.api.addresses import same_person
    from airflow_provider_wts.api.contacts import get_contact

    allowed = hook.connection.allowed_recipients
    if not allowed:
        return
    if contact_id is not None and parameters.missing(phone):
        phone = hook.run(get_contact(contact_id)).get("phoneNumber")
    if parameters.missing(phone) or not any(same_person(str(phone), one) for one in allowed):
        raise WtsInvalidRequestError(
            f"{name}: the connection {hook.wts_conn_id!r} allows only the recipients named in its extra "
            "'allowed_recipients', and this is none of them. Nothing was sent."
        )
