"""Calls about panels, which are boards with steps, the cards on them, and the notes on a card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Required, TypedDict, Unpack

from airflow_provider_wts.api.call import NOT_GIVEN, Call, NotGiven, Optional, given, given_or_left_out
from airflow_provider_wts.api.window import Window, given_as, window_query

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
    title: str | NotGiven = NOT_GIVEN,
    panel_type: str | NotGiven = NOT_GIVEN,
    include_details: Sequence[str] | NotGiven = NOT_GIVEN,
    **window: Unpack[Window],
) -> Call[PanelPage]:
    """List the account's panels, paged.

    :param title: filter by title.
    :param panel_type: ``MANAGEMENT`` or ``SALES``.
    :param include_details: ``Tags``, ``Steps``, ``StepsCardCount``, ``PanelCardOverdueCount``.
    :param window: see :class:`~airflow_provider_wts.api.window.Window`.
    """
    return Call(
        "list_panels",
        query={**given(Title=title, Type=panel_type, IncludeDetails=include_details), **window_query(window)},
    )


def get_panel(panel_id: str, *, include_details: Sequence[str] | NotGiven = NOT_GIVEN) -> Call[Panel]:
    """Read a panel.

    :param panel_id: its id.
    :param include_details: ``Tags``, ``Steps``, ``StepsFields``, ``StepsCardCount``, ``Cards``.
    """
    return Call("get_panel", path={"id": panel_id}, query=given(IncludeDetails=include_details))


def list_panel_custom_fields(panel_id: str, *, nested_list: bool | NotGiven = NOT_GIVEN) -> Call[list[CustomField]]:
    """List the custom fields that the cards of a panel have; one answer, not paged.

    :param panel_id: the panel.
    :param nested_list: put fields inside their groups; without it the list is flat.
    """
    return Call("list_panel_custom_fields", path={"id": panel_id}, query=given(NestedList=nested_list))


def list_panel_lost_reasons(panel_id: str, **window: Unpack[Window]) -> Call[PanelCardResultPage]:
    """List the reasons for which a card of a panel can be lost, paged.

    :param panel_id: a panel of type ``SALES``.
    :param window: see :class:`~airflow_provider_wts.api.window.Window`.
    """
    return Call("list_panel_lost_reasons", path={"id": panel_id}, query=window_query(window))


def list_cards(
    panel_id: str,
    *,
    step_id: str | NotGiven = NOT_GIVEN,
    contact_id: str | NotGiven = NOT_GIVEN,
    responsible_user_id: str | NotGiven = NOT_GIVEN,
    text_filter: str | NotGiven = NOT_GIVEN,
    statuses: Sequence[str] | NotGiven = NOT_GIVEN,
    include_details: Sequence[str] | NotGiven = NOT_GIVEN,
    **window: Unpack[Window],
) -> Call[PanelCardV2Page]:
    """List the cards of a panel, paged.

    :param panel_id: the panel.
    :param step_id: filter by step.
    :param contact_id: filter by contact.
    :param responsible_user_id: filter by responsible user.
    :param text_filter: text to look for in the card's texts.
    :param statuses: ``OPEN``, ``WON``, ``LOST``, ``ARCHIVED``.
    :param include_details: ``PanelTitle``, ``StepTitle``, ``StepPhase``, ``ResponsibleUser``, ``Contacts``,
        ``CustomFields``, ``LostReason``.
    :param window: see :class:`~airflow_provider_wts.api.window.Window`.
    """
    return Call(
        "list_cards",
        query={
            **given(
                PanelId=panel_id,
                StepId=step_id,
                ContactId=contact_id,
                ResponsibleUserId=responsible_user_id,
                TextFilter=text_filter,
                Statuses=statuses,
                IncludeDetails=include_details,
            ),
            **window_query(window),
        },
    )


class CardContent(TypedDict, total=False):
    """What a card holds; everything may be left out, and ``None`` clears.

    ``description``: up to 8,000 characters. ``position``: place inside the step, 0 or more. ``due_date``: aware
    moment. ``responsible_user_id``: user in charge. ``tag_ids``, ``tag_names``: tags; the names are ignored where ids
    are given. ``contact_ids``: contacts. ``session_id``: session that the card is about. ``monetary_amount``: value.
    ``custom_fields``: values by the key of the field; a key that the panel does not know is ignored by the API.
    ``metadata``: merged key by key; a key set to ``None`` is removed.
    """

    description: Optional[str]
    position: Optional[float]
    due_date: Optional[datetime | str]
    responsible_user_id: Optional[str]
    tag_ids: Optional[Sequence[str]]
    tag_names: Optional[Sequence[str]]
    contact_ids: Optional[Sequence[str]]
    session_id: Optional[str]
    monetary_amount: Optional[float]
    custom_fields: Optional[Mapping[str, Any]]
    metadata: Optional[Mapping[str, Any]]


class NewCard(CardContent, total=False):
    """A card to create: its content, and what every card must have.

    ``step_id``: step that the card goes into; it decides the panel. ``title``: 1 to 500 characters.
    """

    step_id: Required[str]
    title: Required[str]


class CardChange(CardContent, total=False):
    """What changes in a card: its content, and where and how it stands.

    ``step_id``: step to move the card to. ``title``: up to 500 characters. ``status``: ``OPEN``, ``WON``, ``LOST`` or
    ``ARCHIVED``. ``lost_reason_id``: why it is lost, beside the status ``LOST``. ``upsert_tag_operation``: what
    happens to the tags: ``InsertIfNotExists``, ``DeleteIfExists``, or ``ReplaceAll``, which is the API's default.
    """

    step_id: Optional[str]
    title: Optional[str]
    status: Optional[str]
    lost_reason_id: Optional[str]
    upsert_tag_operation: Optional[str]


_CONTENT = {
    "step_id": "stepId",
    "title": "title",
    "description": "description",
    "position": "position",
    "due_date": "dueDate",
    "responsible_user_id": "responsibleUserId",
    "tag_ids": "tagIds",
    "tag_names": "tagNames",
    "contact_ids": "contactIds",
    "session_id": "sessionId",
    "monetary_amount": "monetaryAmount",
    "custom_fields": "customFields",
    "metadata": "metadata",
}

_CHANGES = {**_CONTENT, "status": "status", "lost_reason_id": "lostReasonId"}

#: What ``fields`` calls a property where that is not its own name with a capital. Tag names and the lost reason have no
#: entry of their own: they belong to the tags and to the status.
_MASKS = {"tagNames": "TagIds", "lostReasonId": "Status"}


def create_card(**card: Unpack[NewCard]) -> Call[PanelCardV2]:
    """Create a card; a second call creates a second card.

    :param card: see :class:`NewCard`.
    """
    return Call("create_card", body=given_as(_CONTENT, card))


def get_card(card_id: str, *, include_details: Sequence[str] | NotGiven = NOT_GIVEN) -> Call[PanelCardV2]:
    """Read a card.

    :param card_id: its id.
    :param include_details: ``PanelTitle``, ``StepTitle``, ``StepPhase``, ``ResponsibleUser``, ``Contacts``,
        ``CustomFields``, ``LostReason``.
    """
    return Call("get_card", path={"id": card_id}, query=given(IncludeDetails=include_details))


def update_card(card_id: str, **change: Unpack[CardChange]) -> Call[PanelCardV2]:
    """Change a card: what is given, and nothing else. ``fields`` names exactly that.

    :param card_id: its id.
    :param change: see :class:`CardChange`.
    """
    values: dict[str, object] = dict(change)
    options = given_or_left_out(upsertTagOperation=values.pop("upsert_tag_operation", NOT_GIVEN))
    body = given_as(_CHANGES, values)
    # A dictionary, since it keeps the order and drops what comes twice.
    fields = list(dict.fromkeys(_MASKS.get(name, name[0].upper() + name[1:]) for name in body))
    return Call("update_card", path={"id": card_id}, body={"fields": fields, **body, **given(options=options)})


def duplicate_card(
    card_id: str,
    *,
    copy_to_step_id: Optional[str] = NOT_GIVEN,
    archive_original_card: bool | NotGiven = NOT_GIVEN,
    fields: Optional[Sequence[str]] = NOT_GIVEN,
) -> Call[PanelCardV2]:
    """Copy a card; a second call makes a second copy.

    :param card_id: the card to copy.
    :param copy_to_step_id: step that the copy goes into, of any panel; without it the card's own.
    :param archive_original_card: archive the card that was copied.
    :param fields: what to copy: ``All``, ``Amount``, ``DueDate``, ``Tags``, ``MonetaryAmount``, ``Contacts``,
        ``ResponsibleUser``, ``CustomFields``, ``Notes``; everything when empty.
    """
    return Call(
        "duplicate_card",
        path={"id": card_id},
        # Also when it is empty: whether the service takes a request without a body is not documented.
        body=given(
            copyToStepId=copy_to_step_id,
            options=given_or_left_out(archiveOriginalCard=archive_original_card, fields=fields),
        ),
    )


def list_card_notes(card_id: str, **window: Unpack[Window]) -> Call[PanelCardNotePage]:
    """List the notes of a card, paged.

    :param card_id: the card.
    :param window: see :class:`~airflow_provider_wts.api.window.Window`.
    """
    return Call("list_card_notes", path={"cardId": card_id}, query=window_query(window))


def create_card_note(
    card_id: str, *, text: Optional[str] = NOT_GIVEN, file_urls: Optional[Sequence[str]] = NOT_GIVEN
) -> Call[PanelCardNote]:
    """Add a note to a card; a second call adds a second note.

    :param card_id: the card.
    :param text: up to 8,000 characters.
    :param file_urls: public addresses of up to 3 files, 25 MB each.
    """
    return Call("create_card_note", path={"cardId": card_id}, body=given(text=text, fileUrls=file_urls))


def delete_card_note(card_id: str, note_id: str) -> Call[None]:
    """Delete a note of a card; answers nothing.

    :param card_id: the card.
    :param note_id: the note.
    """
    return Call("delete_card_note", path={"cardId": card_id, "noteId": note_id})
