"""The operator that lists contacts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wts.api.call import NOT_GIVEN, NotGiven
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.operators import contact_fields, parameters
from airflow_provider_wts.operators.listing import WtsListOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_wts.api.call import Call

_FILTERS = (
    "text_filter",
    "name",
    "phone_number",
    "email_address",
    "instagram",
    "tags",
    "portfolios",
    "origin",
    "custom_fields",
    "metadata",
)
_ORIGINS = ("CREATED_BY_USER", "CREATED_FROM_HUB", "IMPORTED")


class WtsListContactsOperator(WtsListOperator):
    """List contacts: all pages, inline or as a file.

    Calls ``list_contacts``, or ``filter_contacts`` where one of the filters is given that only it takes: all below
    but ``status`` and ``include_details``. Filters add up. What the shared parameters of a list do, from
    ``created_after`` to ``output_path``, is told at :class:`~airflow_provider_wts.operators.listing.WtsListOperator`.

    :param status: ``ACTIVE``, which is what the API lists by itself, ``ARCHIVED`` or ``BLOCKED`` (templated).
    :param include_details: ``Tags``, ``CustomFields``, ``Portfolios``; one or a list (templated).
    :param text_filter: text to look for; in which fields is not documented (templated).
    :param name: the contact's name (templated).
    :param phone_number: its number, in any usual spelling (templated).
    :param email_address: its e-mail address or a part of it; not called ``email``, which is Airflow's own parameter
        (templated).
    :param instagram: its Instagram user (templated).
    :param tags: names or ids of tags; one or a list. Whether one of them or all have to fit is not documented
        (templated).
    :param portfolios: names or ids of portfolios (templated).
    :param origin: ``CREATED_BY_USER``, ``CREATED_FROM_HUB`` or ``IMPORTED`` (templated).
    :param custom_fields: values by key or name of the field, an object or its JSON text (templated, deep).
    :param metadata: values by key, texts or numbers, an object or its JSON text (templated, deep).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the contacts, or the manifest of the file.
    :raises AirflowFailException: when the input is impossible, the API refuses, or the list is too large for XCom.
    """

    template_fields: Sequence[str] = (*WtsListOperator.template_fields, "status", "include_details", *_FILTERS)
    template_fields_renderers: ClassVar[dict[str, str]] = dict.fromkeys(
        ("include_details", "tags", "portfolios", "custom_fields", "metadata"), "json"
    )

    def __init__(
        self,
        *,
        status: str | None = None,
        include_details: Sequence[str] | str | None = None,
        text_filter: str | None = None,
        name: str | None = None,
        phone_number: str | None = None,
        email_address: str | None = None,
        instagram: str | None = None,
        tags: Sequence[str] | str | None = None,
        portfolios: Sequence[str] | str | None = None,
        origin: str | None = None,
        custom_fields: Mapping[str, Any] | str | None = None,
        metadata: Mapping[str, Any] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.status = status
        self.include_details = include_details
        self.text_filter = text_filter
        self.name = name
        self.phone_number = phone_number
        self.email_address = email_address
        self.instagram = instagram
        self.tags = tags
        self.portfolios = portfolios
        self.origin = origin
        self.custom_fields = custom_fields
        self.metadata = metadata

    def list_call(self) -> Call[Any]:
        """Return the call with the filters."""
        from airflow_provider_wts.api.contacts import filter_contacts, list_contacts

        status = parameters.filter_choice("status", self.status, contact_fields.STATUSES)
        details = parameters.details(self.include_details, contact_fields.DETAILS)
        if all(parameters.missing(getattr(self, name)) for name in _FILTERS):
            return list_contacts(status=status, include_details=details)
        number = parameters.filter_text("phone_number", self.phone_number)
        plain = {
            name: parameters.filter_text(name, getattr(self, name)) for name in ("text_filter", "name", "instagram")
        }
        tags = parameters.filter_list("tags", self.tags)
        portfolios = parameters.filter_list("portfolios", self.portfolios)
        origin = parameters.filter_choice("origin", self.origin, _ORIGINS)
        custom = _filter_object("custom_fields", self.custom_fields)
        if isinstance(number, str):
            number = str(contact_fields.phone_number("phone_number", number))
        return filter_contacts(
            status=status,
            include_details=details,
            phone_number=number,
            email=parameters.filter_text("email_address", self.email_address),
            origin=origin,
            metadata=_texts("metadata", _filter_object("metadata", self.metadata)),
            # Looked up last, because that may cost a call, and a mistake above should cost none.
            tag_ids=contact_fields.ids("tags", tags, self.hook.names.tag),
            portfolio_ids=contact_fields.ids("portfolios", portfolios, self.hook.names.portfolio),
            custom_fields=contact_fields.custom_fields("custom_fields", custom, self.hook.names),
            **plain,
        )


def _filter_object(name: str, value: Any) -> dict[str, Any] | NotGiven:
    if parameters.missing(value):
        return NOT_GIVEN
    found = parameters.metadata(name, value)
    if not found:
        raise WtsInvalidRequestError(f"{name}: is empty, and would filter nothing. Leave it out.")
    return found


def _texts(name: str, found: dict[str, Any] | NotGiven) -> dict[str, str | None] | NotGiven:
    if found is NOT_GIVEN:
        return NOT_GIVEN
    return {
        key: None if value is None else str(parameters.text(f"{name}.{key}", value))
        for key, value in found.items()
        if value is None or not parameters.missing(value)
    }
