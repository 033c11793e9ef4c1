"""Calls about contacts: the people to whom an account sends messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.window import Window
from airflow_provider_wts.api.wire import UNSET, Missing, Unset, body_of, field_mask, given, query_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_wts.api.types import Contact, ContactPage


class ContactFields(TypedDict, total=False):
    """The fields of a new contact; all optional.

    ``name``, ``email``, ``instagram``: texts of at most 255 characters. ``phone_number``: as WTS Chat spells it.
    ``annotation``: free text. ``tag_ids``, ``portfolio_ids``: take precedence over ``tag_names``, ``portfolio_names``.
    ``sequence_ids``: sequences to add the contact to. ``custom_fields``: values by key; the API drops unknown keys
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


_KEPT = ContactFields.__optional_keys__


class SaveOptions(TypedDict, total=False):
    """What happens if the contact exists.

    ``upsert``: update it. ``upsert_fields``: only these (``Name``, ``Tags``, ...); by default, all fields.
    ``upsert_tag_operation``: ``INSERTIFNOTEXISTS``, ``DELETEIFEXISTS`` or ``REPLACEALL``, which is the API's default.
    ``get_if_exists``: return it and change nothing.
    """

    upsert: bool | Unset
    upsert_fields: Missing[Sequence[str]]
    upsert_tag_operation: Missing[str]
    get_if_exists: bool | Unset


_OPTIONS = SaveOptions.__optional_keys__


class ContactCreation(ContactFields, SaveOptions, total=False):
    """A new contact, and what happens if it exists; see :class:`ContactFields` and :class:`SaveOptions`."""


class ContactChanges(ContactFields, total=False):
    """Changes to a contact; see :class:`ContactFields`.

    ``status``: ``ACTIVE``, ``ARCHIVED`` or ``BLOCKED``. ``picture_url``: address of its picture. ``utm``: its origin.
    ``tags_operation``: ``InsertIfNotExists`` (the API's default), ``DeleteIfExists`` or ``ReplaceAll``. ``fields``:
    names of the fields to change; inferred from the given ones if omitted.
    """

    status: Missing[str]
    picture_url: Missing[str]
    utm: Mapping[str, Any] | Unset
    tags_operation: str | Unset
    fields: Missing[Sequence[str]]


def create_contact(**contact: Unpack[ContactCreation]) -> Call[Contact]:
    """Create a contact, or update or return the one that exists."""
    return Call("create_contact", body=body_of(ContactCreation, contact, options=_OPTIONS))


def batch_save_contacts(items: Sequence[Mapping[str, Any]], **options: Unpack[SaveOptions]) -> Call[list[Contact]]:
    """Save 1 to 100 contacts; those with an existing phone number, Instagram user or e-mail address are updated.

    :param items: the contacts, each from :func:`contact_item`.
    :param options: what happens if one exists; see :class:`SaveOptions`.
    """
    return Call("batch_save_contacts", body={"items": list(items), **body_of(SaveOptions, options, options=_OPTIONS)})


def contact_item(contact: ContactFields) -> dict[str, Any]:
    """Return a contact in the form of a body; keys that are not fields are ignored."""
    return body_of(ContactFields, {name: value for name, value in contact.items() if name in _KEPT})


def update_contact(contact_id: str, **changes: Unpack[ContactChanges]) -> Call[Contact]:
    """Update only the given fields of a contact."""
    body = _changes(changes)
    return Call("update_contact", path={"id": contact_id}, body=body, acts_again=starts_sequence(body))


def update_contact_by_phone(phone: str, **changes: Unpack[ContactChanges]) -> Call[Contact]:
    """Update only the given fields of the contact with a phone number."""
    body = _changes(changes)
    return Call("update_contact_by_phone", path={"phone": phone}, body=body, acts_again=starts_sequence(body))


def get_contact(contact_id: str, *, include_details: Sequence[str] | Unset = UNSET) -> Call[Contact]:
    """Read a contact.

    :param include_details: ``Tags``, ``CustomFields``, ``Portfolios``.
    """
    return Call("get_contact", path={"id": contact_id}, query=given(IncludeDetails=include_details))


def get_contact_by_phone(phone: str, *, include_details: Sequence[str] | Unset = UNSET) -> Call[Contact]:
    """Read the contact with a phone number, with details as in :func:`get_contact`."""
    return Call("get_contact_by_phone", path={"phone": phone}, query=given(IncludeDetails=include_details))


def list_contacts(
    *, status: str | Unset = UNSET, include_details: Sequence[str] | Unset = UNSET, **window: Unpack[Window]
) -> Call[ContactPage]:
    """List contacts, paged.

    :param status: ``ACTIVE`` (the API's default), ``ARCHIVED`` or ``BLOCKED``.
    :param include_details: ``Tags``, ``CustomFields``, ``Portfolios``.
    """
    query = {**given(Status=status, IncludeDetails=include_details), **query_of(Window, window)}
    return Call("list_contacts", query=query)


class ContactFilters(Window, total=False):
    """Filters of a list of contacts; all optional. A contact must match all of them.

    ``status``: ``ACTIVE`` (the API's default), ``ARCHIVED`` or ``BLOCKED``. ``text_filter``: text to search for.
    ``instagram``: the Instagram user. ``tag_ids``, ``portfolio_ids``: take precedence over ``tag_names``,
    ``portfolio_names``. ``origin``: ``CREATED_BY_USER``, ``CREATED_FROM_HUB`` or ``IMPORTED``. ``custom_fields``:
    values of custom fields by key. ``metadata``: text values of metadata by key. ``include_details``: ``Tags``,
    ``CustomFields``, ``Portfolios``.
    """

    status: Missing[str]
    text_filter: Missing[str]
    name: Missing[str]
    phone_number: Missing[str]
    email: Missing[str]
    instagram: Missing[str]
    tag_ids: Missing[Sequence[str]]
    tag_names: Missing[Sequence[str]]
    portfolio_ids: Missing[Sequence[str]]
    portfolio_names: Missing[Sequence[str]]
    origin: Missing[str]
    custom_fields: Missing[Mapping[str, Any]]
    metadata: Missing[Mapping[str, str | None]]
    include_details: Missing[Sequence[str]]


def filter_contacts(**filters: Unpack[ContactFilters]) -> Call[ContactPage]:
    """List contacts with filters, paged; the filters are in the body."""
    return Call("filter_contacts", body=body_of(ContactFilters, filters))


class TagChanges(TypedDict, total=False):
    """Changes to a contact's tags.

    ``tag_ids``: takes precedence over ``tag_names``. ``operation``: ``InsertIfNotExists``, ``DeleteIfExists`` or
    ``ReplaceAll``.
    """

    tag_ids: Missing[Sequence[str]]
    tag_names: Missing[Sequence[str]]
    operation: str | Unset


def update_contact_tags(contact_id: str, **changes: Unpack[TagChanges]) -> Call[Contact]:
    """Change the tags of a contact."""
    return Call("update_contact_tags", path={"id": contact_id}, body=body_of(TagChanges, changes))


def update_contact_tags_by_phone(phone: str, **changes: Unpack[TagChanges]) -> Call[Contact]:
    """Change the tags of the contact with a phone number."""
    return Call("update_contact_tags_by_phone", path={"phone": phone}, body=body_of(TagChanges, changes))


def starts_sequence(body: object) -> bool:
    """Whether a call's body adds a contact to a sequence, which sends messages: a second call may send them twice."""
    return isinstance(body, Mapping) and bool(body.get("sequenceIds"))


def changed_fields(body: Mapping[str, Any]) -> list[str]:
    """Return the names in ``fields`` of an update for the properties of its body."""
    return field_mask(body, _MASKS)


_MASKS = {"tagIds": "Tags", "tagNames": "Tags", "portfolioIds": "Portfolio", "portfolioNames": "Portfolio"}


def _changes(changes: ContactChanges) -> dict[str, Any]:
    body = body_of(ContactChanges, changes, options=("tags_operation",))
    # Whether a property has an effect if ``fields`` does not list it is not documented, so both always go out.
    return {"fields": changed_fields(body), **body}


STATUSES = ("ACTIVE", "ARCHIVED", "BLOCKED")
