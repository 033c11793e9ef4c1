"""Panels with their steps, tags, fields and lost reasons; all of it read-only."""

from __future__ import annotations

import sys
from typing import Any

from airflow_provider_wts.emulator.answers import Request, answer, by_name, handles
from airflow_provider_wts.emulator.clock import parse_ticks
from airflow_provider_wts.emulator.crud import Resource
from airflow_provider_wts.emulator.lists import listed, whole
from airflow_provider_wts.emulator.resources.custom_fields import arranged
from airflow_provider_wts.emulator.state import Account, Record

_DEFAULT_FIELDS = ("title", "description", "dueDate", "responsibleUser", "tags", "contacts", "monetaryAmount")
_DETAILS = by_name(
    "tags", overdueCardCount=("PanelCardOverdueCount",), steps=("Steps", "StepsFields", "StepsCardCount", "Cards")
)
_STEP_DETAILS = by_name("cards", fields=("StepsFields",)) | dict.fromkeys(
    ("cardCount", "overdueCardCount", "monetaryAmount"), ("StepsCardCount",)
)


@handles("list_panel_custom_fields")
def _custom_fields(request: Request) -> list[dict[str, Any]]:
    panel = PANELS.of(request)
    return arranged(request, [one for one in request.account.custom_fields if one["scopeId"] == panel.id])


@handles("list_panel_lost_reasons")
def _lost_reasons(request: Request) -> Any:
    account, panel = request.account, PANELS.of(request)
    return listed(request, account.lost_reasons, answer, lambda reason: reason["panelId"] == panel.id)


def steps_of(account: Account, panel_id: str) -> list[Record]:
    """Return the steps of a panel in their order."""
    steps = [step for step in account.panel_steps if step["panelId"] == panel_id]
    return sorted(steps, key=lambda step: step["position"])


def cards_of(account: Account, step: Record) -> list[Record]:
    """Return the cards in a step that are not archived."""
    return [card for card in account.cards if card["stepId"] == step.id and card["status"] != "ARCHIVED"]


def is_overdue(account: Account, card: Record) -> bool:
    """Return whether a card is open after its due date."""
    due = card["dueDate"]
    return bool(due) and card["status"] == "OPEN" and parse_ticks(due) < account.clock.now()


def _show(request: Request, panel: Record) -> dict[str, Any]:
    account = request.account
    steps = steps_of(account, panel.id)
    return answer(
        request,
        panel,
        _DETAILS,
        stepTitles=[step["title"] for step in steps],
        overdueCardCount=lambda: sum(is_overdue(account, card) for step in steps for card in cards_of(account, step)),
        tags=lambda: [tag for tag in account.panel_tags if tag["panelId"] == panel.id],
        steps=lambda: [_show_step(request, step) for step in steps],
    )


def _show_step(request: Request, step: Record) -> dict[str, Any]:
    account = request.account
    cards = cards_of(account, step)

    def fields() -> list[dict[str, Any]]:
        own = [one["key"] for one in account.custom_fields if one["scopeId"] == step["panelId"]]
        kinds = [(name, "DEFAULT_FIELD") for name in _DEFAULT_FIELDS] + [(key, "CUSTOM_FIELD") for key in own]
        return [
            {"key": key, "type": kind, "position": position, "visible": True}
            for position, (key, kind) in enumerate(kinds)
        ]

    return answer(
        request,
        step,
        _STEP_DETAILS,
        part="steps",
        cardCount=len(cards),
        overdueCardCount=sum(is_overdue(account, card) for card in cards),
        monetaryAmount=min(float(sum(card["monetaryAmount"] or 0 for card in cards)), sys.float_info.max),
        fields=fields,
        cards=lambda: whole([_old_card(account, card) for card in cards]),
    )


def _old_card(account: Account, card: Record) -> dict[str, Any]:
    """Return a card in the older shape, which a panel's steps carry."""
    values = {name: value for name, value in card.values.items() if name not in ("status", "lostReasonId")}
    step = account.panel_steps.find(card["stepId"])
    return {
        **account.stamped(card),
        **values,
        "panelTitle": None,
        "stepTitle": step["title"] if step else None,
        "stepPhase": None,
        "isOverdue": is_overdue(account, card),
        "archived": card["status"] == "ARCHIVED",
    }


PANELS = Resource("panel", show=_show, filters={"Type": "type"}, texts={"Title": ("title",)})
