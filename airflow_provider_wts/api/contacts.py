"""Calls about contacts: the people whom an account writes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.wire import UNSET, Missing, Unset, given, given_or_left_out

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow_provider_wts.api.types import Contact, ContactPage


class ContactFields(TypedDict, total=False):
    """What a new contact holds; everything may be left out.

    ``name``, ``email``, ``instagram``: texts of at most 255 characters. ``phone_number``: as WTS Chat spells it.
    ``annotation``: free text. ``tag_ids``, ``portfolio_ids``: win over ``tag_names`` and ``portfolio_names``.
    ``sequence_ids``: sequences to put the contact into. ``custom_fields``: values by key; the API drops unknown keys
    silently. ``metadata``: merged by key; ``None`` removes a key.
    """

    name: Missing[str]
    phone_number: Missing[str]
    email: Missing[str]
    instagram: Missing[str]
    annotation: Missing[str]
    tag_ids: Missing[Sequence[str]]
    tag_names: Missing[Sequence[str]]
    portfolio_ids: Missing[Sequence[str]]
    portfolio_names: Missing[Sequence[str]]
    sequence_ids: Missing[Sequence[str]]
    custom_fields: Missing[Mapping[str, Any]]
    metadata: Missing[Mapping[str, Any]]


class SaveOptions(TypedDict, total=False):
    """What happens where the contact exists.

    ``upsert``: update it. ``upsert_fields``: only these (``Name``, ``Tags``, ...); left out: every field.
    ``upsert_tag_operation``: ``INSERTIFNOTEXISTS``, ``DELETEIFEXISTS`` or ``REPLACEALL``, which is the API's default.
    ``get_if_exists``: return it and change nothing.
    """

    upsert: bool | Unset
    upsert_fields: Missing[Sequence[str]]
    upsert_tag_operation: Missing[str]
    get_if_exists: bool | Unset


class ContactCreation(ContactFields, SaveOptions, total=False):
    """A new contact, and what happens where it exists; see :class:`ContactFields` and :class:`SaveOptions`."""


class ContactChanges(ContactFields, total=False):
    """What changes in a contact; see :class:`ContactFields`.

    ``status``: ``ACTIVE``, ``ARCHIVED`` or ``BLOCKED``. ``picture_url``: address of its picture. ``utm``: where it
    came from. ``tags_operation``: ``InsertIfNotExists`` (the API's default), ``DeleteIfExists`` or ``ReplaceAll``.
    ``fields``: names of what to change; left out, they follow from what is given.
    """

    status: Missing[str]
    picture_url: Missing[str]
    utm: Mapping[str, Any] | Unset
    tags_operation: str | Unset
    fields: Missing[Sequence[str]]


def create_contact(**contact: Unpack[ContactCreation]) -> Call[Contact]:
    """Create a contact, or update or return the one that exists.

    :param contact: see :class:`ContactCreation`.
    """
    return Call("create_contact", body={**contact_item(contact), **_options(contact)})


def batch_save_contacts(items: Sequence[Mapping[str, Any]], **options: Unpack[SaveOptions]) -> Call[list[Contact]]:
    """Save 1 to 100 contacts; one that matches a phone number, Instagram user or e-mail address is updated.

    :param items: the contacts, each made by :func:`contact_item`.
    :param options: what happens where one exists; see :class:`SaveOptions`.
    """
    return Call("batch_save_contacts", body={"items": list(items), **_options(options)})


def contact_item(contact: ContactFields) -> dict[str, Any]:
    """Return a contact as it is in a body.

    :param contact: see :class:`ContactFields`; other keys are left aside.
    """

    def value(name: str) -> object:
        return contact.get(name, UNSET)

    return given(
        name=value("name"),
        phoneNumber=value("phone_number"),
        email=value("email"),
        instagram=value("instagram"),
        annotation=value("annotation"),
        tagIds=value("tag_ids"),
        tagNames=value("tag_names"),
        portfolioIds=value("portfolio_ids"),
        portfolioNames=value("portfolio_names"),
        sequenceIds=value("sequence_ids"),
        customFields=value("custom_fields"),
        metadata=value("metadata"),
    )


def update_contact(contact_id: str, **changes: Unpack[ContactChanges]) -> Call[Contact]:
    """Update a contact; what is not given stays as it is.

    :param contact_id: the contact.
    :param changes: see :class:`ContactChanges`.
    """
    body = _changes(changes)
    return Call("update_contact", path={"id": contact_id}, body=body, acts_again=starts_sequence(body))


def update_contact_by_phone(phone: str, **changes: Unpack[ContactChanges]) -> Call[Contact]:
    """Update a contact found by its phone number; what is not given stays as it is.

    :param phone: the contact's number.
    :param changes: see :class:`ContactChanges`.
    """
    body = _changes(changes)
    return Call("update_contact_by_phone", path={"phone": phone}, body=body, acts_again=starts_sequence(body))


def get_contact(contact_id: str, *, include_details: Sequence[str] | Unset = UNSET) -> Call[Contact]:
    """Read a contact.

    :param contact_id: the contact.
    :param include_details: ``Tags``, ``CustomFields``, ``Portfolios``.
    """
    return Call("get_contact", path={"id": contact_id}, query=given(IncludeDetails=include_details))


def get_contact_by_phone(phone: str, *, include_details: Sequence[str] | Unset = UNSET) -> Call[Contact]:
    """Read the contact that has a phone number.

    :param phone: the contact's number.
    :param include_details: ``Tags``, ``CustomFields``, ``Portfolios``.
    """
    return Call("get_contact_by_phone", path={"phone": phone}, query=given(IncludeDetails=include_details))


def list_contacts(
    *,
    status: str | Unset = UNSET,
    include_details: Sequence[str] | Unset = UNSET,
    created_after: datetime | str | Unset = UNSET,
    created_before: datetime | str | Unset = UNSET,
    updated_after: datetime | str | Unset = UNSET,
    updated_before: datetime | str | Unset = UNSET,
    order_by: str | Unset = UNSET,
    order_direction: str | Unset = UNSET,
) -> Call[ContactPage]:
    """List contacts, paged.

    :param status: ``ACTIVE`` (the API's default), ``ARCHIVED`` or ``BLOCKED``.
    :param include_details: ``Tags``, ``CustomFields``, ``Portfolios``.
    :param created_after: lower bound on the creation.
    :param created_before: upper bound on the creation.
    :param updated_after: lower bound on the last change.
    :param updated_before: upper bound on the last change.
    :param order_by: property to order by.
    :param order_direction: ``ASCENDING`` or ``DESCENDING``.
    """
    return Call(
        "list_contacts",
        query={
            **given(Status=status, IncludeDetails=include_details),
            **given(**{"CreatedAt.After": created_after, "CreatedAt.Before": created_before}),
            **given(**{"UpdatedAt.After": updated_after, "UpdatedAt.Before": updated_before}),
            **given(OrderBy=order_by, OrderDirection=order_direction),
        },
    )


def filter_contacts(
    *,
    status: Missing[str] = UNSET,
    text_filter: Missing[str] = UNSET,
    name: Missing[str] = UNSET,
    phone_number: Missing[str] = UNSET,
    email: Missing[str] = UNSET,
    instagram: Missing[str] = UNSET,
    tag_ids: Missing[Sequence[str]] = UNSET,
    tag_names: Missing[Sequence[str]] = UNSET,
    portfolio_ids: Missing[Sequence[str]] = UNSET,
    portfolio_names: Missing[Sequence[str]] = UNSET,
    origin: Missing[str] = UNSET,
    custom_fields: Missing[Mapping[str, Any]] = UNSET,
    metadata: Missing[Mapping[str, str | None]] = UNSET,
    include_details: Missing[Sequence[str]] = UNSET,
    created_after: Missing[datetime | str] = UNSET,
    created_before: Missing[datetime | str] = UNSET,
    updated_after: Missing[datetime | str] = UNSET,
    updated_before: Missing[datetime | str] = UNSET,
    order_by: Missing[str] = UNSET,
    order_direction: Missing[str] = UNSET,
) -> Call[ContactPage]:
    """List the contacts that match all filters, paged through the body.

    :param status: ``ACTIVE`` (the API's default), ``ARCHIVED`` or ``BLOCKED``.
    :param text_filter: text to look for.
    :param name: the contact's name.
    :param phone_number: the contact's number.
    :param email: its e-mail address.
    :param instagram: its Instagram user.
    :param tag_ids: its tags; wins over ``tag_names``.
    :param tag_names: its tags by name.
    :param portfolio_ids: its portfolios; wins over ``portfolio_names``.
    :param portfolio_names: its portfolios by name.
    :param origin: ``CREATED_BY_USER``, ``CREATED_FROM_HUB`` or ``IMPORTED``.
    :param custom_fields: values of custom fields by key.
    :param metadata: values of metadata by key; texts.
    :param include_details: ``Tags``, ``CustomFields``, ``Portfolios``.
    :param created_after: lower bound on the creation.
    :param created_before: upper bound on the creation.
    :param updated_after: lower bound on the last change.
    :param updated_before: upper bound on the last change.
    :param order_by: property to order by.
    :param order_direction: ``ASCENDING`` or ``DESCENDING``.
    """
    return Call(
        "filter_contacts",
        body=given(
            status=status,
            textFilter=text_filter,
            name=name,
            phoneNumber=phone_number,
            email=email,
            instagram=instagram,
            tagIds=tag_ids,
            tagNames=tag_names,
            portfolioIds=portfolio_ids,
            portfolioNames=portfolio_names,
            origin=origin,
            customFields=custom_fields,
            metadata=metadata,
            includeDetails=include_details,
            createdAt=given_or_left_out(after=created_after, before=created_before),
            updatedAt=given_or_left_out(after=updated_after, before=updated_before),
            orderBy=order_by,
            orderDirection=order_direction,
        ),
    )


def update_contact_tags(
    contact_id: str,
    *,
    tag_ids: Missing[Sequence[str]] = UNSET,
    tag_names: Missing[Sequence[str]] = UNSET,
    operation: str | Unset = UNSET,
) -> Call[Contact]:
    """Change the tags of a contact.

    :param contact_id: the contact.
    :param tag_ids: the tags; wins over ``tag_names``.
    :param tag_names: the tags by name.
    :param operation: ``InsertIfNotExists``, ``DeleteIfExists`` or ``ReplaceAll``.
    """
    return Call(
        "update_contact_tags",
        path={"id": contact_id},
        body=given(tagIds=tag_ids, tagNames=tag_names, operation=operation),
    )


def update_contact_tags_by_phone(
    phone: str,
    *,
    tag_ids: Missing[Sequence[str]] = UNSET,
    tag_names: Missing[Sequence[str]] = UNSET,
    operation: str | Unset = UNSET,
) -> Call[Contact]:
    """Change the tags of the contact that has a phone number.

    :param phone: the contact's number.
    :param tag_ids: the tags; wins over ``tag_names``.
    :param tag_names: the tags by name.
    :param operation: ``InsertIfNotExists``, ``DeleteIfExists`` or ``ReplaceAll``.
    """
    return Call(
        "update_contact_tags_by_phone",
        path={"phone": phone},
        body=given(tagIds=tag_ids, tagNames=tag_names, operation=operation),
    )


def starts_sequence(body: object) -> bool:
    """Whether a contact is put into a sequence, which then writes to it: doing that twice may write twice.

    :param body: the body of a call.
    """
    return isinstance(body, Mapping) and bool(body.get("sequenceIds"))


def changed_fields(body: Mapping[str, Any]) -> list[str]:
    """Return the names by which an update says what to change; they are not those of the properties.

    :param body: properties of an update.
    """
    return list(dict.fromkeys(name for property_, name in _FIELD_NAMES.items() if property_ in body))


_FIELD_NAMES = {
    "name": "Name",
    "phoneNumber": "PhoneNumber",
    "email": "Email",
    "instagram": "Instagram",
    "annotation": "Annotation",
    "tagIds": "Tags",
    "tagNames": "Tags",
    "status": "Status",
    "customFields": "CustomFields",
    "pictureUrl": "PictureUrl",
    "portfolioIds": "Portfolio",
    "portfolioNames": "Portfolio",
    "sequenceIds": "SequenceIds",
    "utm": "Utm",
    "metadata": "Metadata",
}


def _changes(changes: ContactChanges) -> dict[str, Any]:
    def value(name: str) -> object:
        return changes.get(name, UNSET)

    body = {
        **contact_item(changes),
        **given(
            status=value("status"),
            pictureUrl=value("picture_url"),
            utm=value("utm"),
            options=given_or_left_out(tagsOperation=value("tags_operation")),
        ),
    }
    # Whether a property without its name changes anything is not documented, so both always go out.
    fields = changes.get("fields", UNSET)
    return {"fields": changed_fields(body) if fields is UNSET else fields, **body}


def _options(options: SaveOptions) -> dict[str, Any]:
    def value(name: str) -> object:
        return options.get(name, UNSET)

    return given(
        options=given_or_left_out(
            upsert=value("upsert"),
            upsertFields=value("upsert_fields"),
            upsertTagOperation=value("upsert_tag_operation"),
            getIfExists=value("get_if_exists"),
        )
    )


STATUSES = ("ACTIVE", "ARCHIVED", "BLOCKED")
