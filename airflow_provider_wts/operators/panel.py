"""Operators for panels, which are boards with steps, and for the cards on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wts.hooks.failures import readable_failures
from airflow_provider_wts.operators import parameters
from airflow_provider_wts.operators.base import WtsOperator
from airflow_provider_wts.operators.card import (
    WtsCreateCardOperator,
    WtsDuplicateCardOperator,
    WtsUpdateCardOperator,
)
from airflow_provider_wts.operators.card_content import CARD_STATUSES, EXAMPLE_CARD, checked_contact, contact_id
from airflow_provider_wts.operators.card_note import (
    WtsCreateCardNoteOperator,
    WtsDeleteCardNoteOperator,
    WtsListCardNotesOperator,
)
from airflow_provider_wts.operators.listing import WtsListOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.types import Panel, PanelCardV2, PanelCardV2Page, PanelPage

__all__ = [
    "WtsCreateCardNoteOperator",
    "WtsCreateCardOperator",
    "WtsDeleteCardNoteOperator",
    "WtsDuplicateCardOperator",
    "WtsGetCardOperator",
    "WtsGetPanelOperator",
    "WtsListCardNotesOperator",
    "WtsListCardsOperator",
    "WtsListPanelsOperator",
    "WtsUpdateCardOperator",
]

_CARD_DETAILS = ("PanelTitle", "StepTitle", "StepPhase", "ResponsibleUser", "Contacts", "CustomFields", "LostReason")


class WtsListPanelsOperator(WtsListOperator):
    """List panels: all pages, inline or as a file.

    Calls ``list_panels``. What the shared parameters of a list do, from ``created_after`` to ``output_path``, is told
    at :class:`~airflow_provider_wts.operators.listing.WtsListOperator`.

    :param title: filter by title (templated).
    :param panel_type: ``MANAGEMENT`` or ``SALES`` (templated).
    :param include_details: details to add to each panel: ``Tags``, ``Steps``, ``StepsCardCount``,
        ``PanelCardOverdueCount``; one, a list, or a list as JSON text (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the panels, or the manifest of the file.
    :raises AirflowFailException: when the input is impossible, the API refuses, or the list is too large for XCom.
    """

    template_fields: Sequence[str] = (*WtsListOperator.template_fields, "title", "panel_type", "include_details")
    template_fields_renderers: ClassVar[dict[str, str]] = {"include_details": "json"}

    def __init__(
        self,
        *,
        title: str | None = None,
        panel_type: str | None = None,
        include_details: Sequence[str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.title = title
        self.panel_type = panel_type
        self.include_details = include_details

    def list_call(self) -> Call[PanelPage]:
        """Return the call with the filters."""
        from airflow_provider_wts.api import panels

        known = ("Tags", "Steps", "StepsCardCount", "PanelCardOverdueCount")
        return panels.list_panels(
            title=parameters.filter_text("title", self.title),
            panel_type=parameters.filter_choice("panel_type", self.panel_type, ("MANAGEMENT", "SALES")),
            include_details=parameters.details(self.include_details, known),
        )


class WtsGetPanelOperator(WtsOperator):
    """Read a panel.

    Calls ``get_panel``.

    :param panel: title, key or id of the panel (templated).
    :param include_details: details to add: ``Tags``, ``Steps``, ``StepsFields``, ``StepsCardCount``, ``Cards``; one, a
        list, or a list as JSON text. Cards come in an older shape, with ``archived`` in place of ``status``
        (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the panel.
    :raises AirflowFailException: when the input is impossible, or the API refuses.
    """

    template_fields: Sequence[str] = (*WtsOperator.template_fields, "panel", "include_details")
    template_fields_renderers: ClassVar[dict[str, str]] = {"include_details": "json"}

    def __init__(self, *, panel: str, include_details: Sequence[str] | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.panel = panel
        self.include_details = include_details

    def execute(self, context: Context) -> Panel:
        """Read the panel.

        :param context: the task's context.
        """
        from airflow_provider_wts.api import panels

        with readable_failures():
            panel = parameters.needed_name("panel", self.panel)
            known = ("Tags", "Steps", "StepsFields", "StepsCardCount", "Cards")
            details = parameters.details(self.include_details, known)
            call = panels.get_panel(self.hook.names.panels.panel(panel), include_details=details)
        return self.run_call(call)


class WtsListCardsOperator(WtsListOperator):
    """List the cards of a panel: all pages, inline or as a file.

    Calls ``list_cards``. Filters add up. Whether closed and archived cards come without ``statuses`` is not
    documented. What the shared parameters of a list do, from ``created_after`` to ``output_path``, is told at
    :class:`~airflow_provider_wts.operators.listing.WtsListOperator`.

    :param panel: title, key or id of the panel (templated).
    :param step: title or id of a step (templated).
    :param contact: id or phone number of a contact (templated).
    :param responsible_user: name, e-mail address or id of a user (templated).
    :param text_filter: text to look for in the card's texts (templated).
    :param statuses: ``OPEN``, ``WON``, ``LOST``, ``ARCHIVED``; one, a list, or a list as JSON text (templated).
    :param include_details: details to add to each card: ``PanelTitle``, ``StepTitle``, ``StepPhase``,
        ``ResponsibleUser``, ``Contacts``, ``CustomFields``, ``LostReason`` (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the cards, or the manifest of the file.
    :raises AirflowFailException: when the input is impossible, the API refuses, or the list is too large for XCom.
    """

    template_fields: Sequence[str] = (
        *WtsListOperator.template_fields,
        "panel",
        "step",
        "contact",
        "responsible_user",
        "text_filter",
        "statuses",
        "include_details",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"statuses": "json", "include_details": "json"}

    def __init__(
        self,
        *,
        panel: str,
        step: str | None = None,
        contact: str | None = None,
        responsible_user: str | None = None,
        text_filter: str | None = None,
        statuses: Sequence[str] | str | None = None,
        include_details: Sequence[str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.panel = panel
        self.step = step
        self.contact = contact
        self.responsible_user = responsible_user
        self.text_filter = text_filter
        self.statuses = statuses
        self.include_details = include_details

    def list_call(self) -> Call[PanelCardV2Page]:
        """Return the call with the filters."""
        from airflow_provider_wts.api import panels

        panel = parameters.needed_name("panel", self.panel)
        step = parameters.filter_text("step", self.step)
        user = parameters.filter_text("responsible_user", self.responsible_user)
        contact = parameters.filter_text("contact", self.contact)
        contact = checked_contact("contact", contact) if isinstance(contact, str) else contact
        text_filter = parameters.filter_text("text_filter", self.text_filter)
        statuses = parameters.filter_list("statuses", self.statuses, CARD_STATUSES)
        details = parameters.details(self.include_details, _CARD_DETAILS)
        # Looked up last, because it may cost a call, and a mistake above should cost none.
        names = self.hook.names
        panel_id = names.panels.panel(panel)
        return panels.list_cards(
            panel_id,
            step_id=names.panels.step(step, panel_id) if isinstance(step, str) else step,
            contact_id=contact_id(self, contact) if isinstance(contact, str) else contact,
            responsible_user_id=names.user(user) if isinstance(user, str) else user,
            text_filter=text_filter,
            statuses=statuses,
            include_details=details,
        )


class WtsGetCardOperator(WtsOperator):
    """Read a card.

    Calls ``get_card``.

    :param card_id: id of the card (templated).
    :param include_details: details to add: ``PanelTitle``, ``StepTitle``, ``StepPhase``, ``ResponsibleUser``,
        ``Contacts``, ``CustomFields``, ``LostReason``; one, a list, or a list as JSON text (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the card.
    :raises AirflowFailException: when the input is impossible, or the API refuses.
    """

    template_fields: Sequence[str] = (*WtsOperator.template_fields, "card_id", "include_details")
    template_fields_renderers: ClassVar[dict[str, str]] = {"include_details": "json"}

    def __init__(self, *, card_id: str, include_details: Sequence[str] | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.card_id = card_id
        self.include_details = include_details

    def execute(self, context: Context) -> PanelCardV2:
        """Read the card.

        :param context: the task's context.
        """
        from airflow_provider_wts.api import panels

        with readable_failures():
            card_id = parameters.needed_identity("card_id", self.card_id, example=EXAMPLE_CARD)
            call = panels.get_card(card_id, include_details=parameters.details(self.include_details, _CARD_DETAILS))
        return self.run_call(call)
