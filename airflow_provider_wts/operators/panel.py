"""Operators for panels: list, get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_wts import api
from airflow_provider_wts.api import parameters
from airflow_provider_wts.operators.base import WtsOperator
from airflow_provider_wts.operators.card import (
    WtsCreateCardNoteOperator,
    WtsCreateCardOperator,
    WtsDeleteCardNoteOperator,
    WtsDuplicateCardOperator,
    WtsGetCardOperator,
    WtsListCardNotesOperator,
    WtsListCardsOperator,
    WtsUpdateCardOperator,
)
from airflow_provider_wts.operators.listing import WtsListOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.types import Panel, PanelPage


class WtsListPanelsOperator(WtsListOperator):
    """List panels: all pages, inline or as a file.

    Calls ``list_panels``. For the shared parameters, see :class:`WtsListOperator`.

    :param title: filter by title (templated).
    :param panel_type: ``MANAGEMENT`` or ``SALES`` (templated).
    :param include_details: details to add to each panel: ``Tags``, ``Steps``, ``StepsCardCount``,
        ``PanelCardOverdueCount``; one, a list, or the JSON text of a list (templated).
    :return: the panels, or the manifest of the file.
    """

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
        known = ("Tags", "Steps", "StepsCardCount", "PanelCardOverdueCount")
        return api.panels.list_panels(
            title=parameters.filter_text("title", self.title),
            panel_type=parameters.filter_choice("panel_type", self.panel_type, ("MANAGEMENT", "SALES")),
            include_details=parameters.details(self.include_details, known),
        )


class WtsGetPanelOperator(WtsOperator):
    """Read a panel.

    Calls ``get_panel``.

    :param panel: title, key or ID of the panel (templated).
    :param include_details: details to add: ``Tags``, ``Steps``, ``StepsFields``, ``StepsCardCount``, ``Cards``; one, a
        list, or the JSON text of a list. Cards have an older format, with ``archived`` instead of ``status``
        (templated).
    :return: the panel.
    """

    def __init__(self, *, panel: str, include_details: Sequence[str] | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.panel = panel
        self.include_details = include_details

    def build_call(self) -> Call[Panel]:
        panel = parameters.needed_name("panel", self.panel)
        known = ("Tags", "Steps", "StepsFields", "StepsCardCount", "Cards")
        details = parameters.details(self.include_details, known)
        return api.panels.get_panel(self.hook.names.panels.panel(panel), include_details=details)


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
