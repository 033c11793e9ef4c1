"""Calls about panels (boards with steps), their cards, and the notes on a card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Required, TypedDict, Unpack

from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.window import Window
from airflow_provider_wts.api.wire import UNSET, Missing, Unset, body_of, field_mask, given, given_or_left_out, query_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from airflow_provider_wts.api.types import (
        CustomField,
        Panel,
        PanelCardNote,
        PanelCardNotePage,
        PanelCardResultPage,
        PanelCardV2,
        PanelCardV2Page,
        PanelPage,
    )


def list_panels(
    *,
    title: str | Unset = UNSET,
    panel_type: str | Unset = UNSET,
    include_details: Sequence[str] | Unset = UNSET,
    **window: Unpack[Window],
) -> Call[PanelPage]:
    """List the account's panels, paged.

    :param panel_type: ``MANAGEMENT`` or ``SALES``.
    :param include_details: ``Tags``, ``Steps``, ``StepsCardCount``, ``PanelCardOverdueCount``.
    """
    query = {**given(Title=title, Type=panel_type, IncludeDetails=include_details), **query_of(Window, window)}
    return Call("list_panels", query=query)


def get_panel(panel_id: str, *, include_details: Sequence[str] | Unset = UNSET) -> Call[Panel]:
    """Read a panel.

    :param include_details: ``Tags``, ``Steps``, ``StepsFields``, ``StepsCardCount``, ``Cards``.
    """
    return Call("get_panel", path={"id": panel_id}, query=given(IncludeDetails=include_details))


def list_panel_custom_fields(panel_id: str, *, nested_list: bool | Unset = UNSET) -> Call[list[CustomField]]:
    """List the custom fields of a panel's cards; one answer, not paged.

    :param nested_list: whether fields are inside their groups; otherwise the list is flat.
    """
    return Call("list_panel_custom_fields", path={"id": panel_id}, query=given(NestedList=nested_list))


def list_panel_lost_reasons(panel_id: str, **window: Unpack[Window]) -> Call[PanelCardResultPage]:
    """List the reasons for losing a card of a panel, paged.

    :param panel_id: a panel of type ``SALES``.
    """
    return Call("list_panel_lost_reasons", path={"id": panel_id}, query=query_of(Window, window))


class CardFilters(Window, total=False):
    """Filters of a list of cards; all optional. A card must match all of them.

    ``text_filter``: text to search for in the card's texts. ``statuses``: ``OPEN``, ``WON``, ``LOST``, ``ARCHIVED``.
    ``include_details``: ``PanelTitle``, ``StepTitle``, ``StepPhase``, ``ResponsibleUser``, ``Contacts``,
    ``CustomFields``, ``LostReason``.
    """

    step_id: str | Unset
    contact_id: str | Unset
    responsible_user_id: str | Unset
    text_filter: str | Unset
    statuses: Sequence[str] | Unset
    include_details: Sequence[str] | Unset


def list_cards(panel_id: str, **filters: Unpack[CardFilters]) -> Call[PanelCardV2Page]:
    """List the cards of a panel, paged."""
    return Call("list_cards", query={"PanelId": panel_id, **query_of(CardFilters, filters)})


class CardContent(TypedDict, total=False):
    """The content of a card; all optional, and ``None`` clears a field.

    ``description``: up to 8,000 characters. ``position``: position in the step, 0 or more. ``due_date``: aware
    datetime. ``tag_ids``: takes precedence over ``tag_names``. ``session_id``: session that the card is about.
    ``custom_fields``: values by key; the API ignores keys that the panel does not have. ``metadata``: merged by key;
    ``None`` removes a key.
    """

    description: Missing[str]
    position: Missing[float]
    due_date: Missing[datetime | str]
    responsible_user_id: Missing[str]
    tag_ids: Missing[Sequence[str]]
    tag_names: Missing[Sequence[str]]
    contact_ids: Missing[Sequence[str]]
    session_id: Missing[str]
    monetary_amount: Missing[float]
    custom_fields: Missing[Mapping[str, Any]]
    metadata: Missing[Mapping[str, Any]]


class NewCard(CardContent, total=False):
    """A card to create: its content, and the required fields.

    ``step_id``: the card's step, which also determines the panel. ``title``: 1 to 500 characters.
    """

    step_id: Required[str]
    title: Required[str]


class CardChange(CardContent, total=False):
    """Changes to a card: its content, step and status.

    ``step_id``: step to move the card to. ``title``: up to 500 characters. ``status``: ``OPEN``, ``WON``, ``LOST`` or
    ``ARCHIVED``. ``lost_reason_id``: why it is lost, with the status ``LOST``. ``upsert_tag_operation``: what happens
    to the tags: ``InsertIfNotExists``, ``DeleteIfExists``, or ``ReplaceAll``, which is the API's default.
    """

    step_id: Missing[str]
    title: Missing[str]
    status: Missing[str]
    lost_reason_id: Missing[str]
    upsert_tag_operation: Missing[str]


#: Irregular names in ``fields``. Tag names and the lost reason have none of their own, because they belong to the tags
#: and the status.
_MASKS = {"tagNames": "TagIds", "lostReasonId": "Status"}


def create_card(**card: Unpack[NewCard]) -> Call[PanelCardV2]:
    """Create a card; a second call creates a second card."""
    return Call("create_card", body=body_of(NewCard, card))


def get_card(card_id: str, *, include_details: Sequence[str] | Unset = UNSET) -> Call[PanelCardV2]:
    """Read a card, with details as in :class:`CardFilters`."""
    return Call("get_card", path={"id": card_id}, query=given(IncludeDetails=include_details))


def update_card(card_id: str, **change: Unpack[CardChange]) -> Call[PanelCardV2]:
    """Change only the given fields of a card, which are also listed in ``fields`` of the body."""
    body = body_of(CardChange, change, options=("upsert_tag_operation",))
    return Call("update_card", path={"id": card_id}, body={"fields": field_mask(body, _MASKS), **body})


def duplicate_card(
    card_id: str,
    *,
    copy_to_step_id: Missing[str] = UNSET,
    archive_original_card: bool | Unset = UNSET,
    fields: Missing[Sequence[str]] = UNSET,
) -> Call[PanelCardV2]:
    """Copy a card; a second call creates a second copy.

    :param copy_to_step_id: the copy's step, of any panel; by default the card's own.
    :param archive_original_card: archive the original.
    :param fields: what to copy: ``All``, ``Amount``, ``DueDate``, ``Tags``, ``MonetaryAmount``, ``Contacts``,
        ``ResponsibleUser``, ``CustomFields``, ``Notes``; everything if empty.
    """
    return Call(
        "duplicate_card",
        path={"id": card_id},
        # Even if it is empty: whether the API accepts a request without a body is not documented.
        body=given(
            copyToStepId=copy_to_step_id,
            options=given_or_left_out(archiveOriginalCard=archive_original_card, fields=fields),
        ),
    )


def list_card_notes(card_id: str, **window: Unpack[Window]) -> Call[PanelCardNotePage]:
    """List the notes of a card, paged."""
    return Call("list_card_notes", path={"cardId": card_id}, query=query_of(Window, window))


def create_card_note(
    card_id: str, *, text: Missing[str] = UNSET, file_urls: Missing[Sequence[str]] = UNSET
) -> Call[PanelCardNote]:
    """Add a note to a card; a second call adds a second note.

    :param text: up to 8,000 characters.
    :param file_urls: public addresses of up to 3 files, 25 MB each.
    """
    return Call("create_card_note", path={"cardId": card_id}, body=given(text=text, fileUrls=file_urls))


def delete_card_note(card_id: str, note_id: str) -> Call[None]:
    """Delete a note of a card; returns nothing."""
    return Call("delete_card_note", path={"cardId": card_id, "noteId": note_id})


CARD_STATUSES = ("OPEN", "WON", "LOST", "ARCHIVED")
