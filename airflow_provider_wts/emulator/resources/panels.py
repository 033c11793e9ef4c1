"""Panels with their steps, tags, fields and lost reasons; all of it read-only."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from airflow_provider_wts.emulator.clock import parse_ticks
from airflow_provider_wts.emulator.crud import (
    Request,
    Resource,
    detail,
    handles,
    page,
    plain,
    select,
    set_unless_null,
    whole,
)
from airflow_provider_wts.emulator.resources.custom_fields import arranged
from airflow_provider_wts.emulator.state import Account, Record

_DEFAULT_FIELDS = ("title", "description", "dueDate", "responsibleUser", "tags", "contacts", "monetaryAmount")


@handles("list_panel_custom_fields")
def _custom_fields(request: Request) -> list[dict[str, Any]]:
    panel = PANELS.of(request)
    return arranged(request, [one for one in request.account.custom_fields.by_creation() if one["scopeId"] == panel.id])


@handles("list_panel_lost_reasons")
def _lost_reasons(request: Request) -> dict[str, Any]:
    account, panel = request.account, PANELS.of(request)
    found = select(request, account.lost_reasons, lambda reason: reason["panelId"] == panel.id)
    return page(request, found, lambda reason: plain(account, reason))


def steps_of(account: Account, panel_id: str) -> list[Record]:
    """Return the steps of a panel in their order."""
    steps = [step for step in account.panel_steps.by_creation() if step["panelId"] == panel_id]
    return sorted(steps, key=lambda step: step["position"])


def cards_of(account: Account, step: Record) -> list[Record]:
    """Return the cards in a step that are not archived."""
    return [card for card in account.cards.by_creation() if card["stepId"] == step.id and card["status"] != "ARCHIVED"]


def is_overdue(account: Account, card: Record) -> bool:
    """Say whether a card is open after its due date."""
    due = card["dueDate"]
    return bool(due) and card["status"] == "OPEN" and parse_ticks(due) < account.clock.now()


def _show(request: Request, panel: Record) -> dict[str, Any]:
    account = request.account
    steps = steps_of(account, panel.id)
    answer = {**plain(account, panel), "stepTitles": [step["title"] for step in steps]}

    def overdue() -> int:
        return sum(is_overdue(account, card) for step in steps for card in cards_of(account, step))

    def tags() -> list[dict[str, Any]]:
        return [plain(account, tag) for tag in account.panel_tags.by_creation() if tag["panelId"] == panel.id]

    set_unless_null(answer, "thumbnailFile", panel["thumbnailFile"])
    detail(answer, request, "overdueCardCount", overdue, "PanelCardOverdueCount")
    detail(answer, request, "tags", tags, "Tags")
    asked = ("Steps", "StepsFields", "StepsCardCount", "Cards")
    detail(answer, request, "steps", lambda: [_step(request, step) for step in steps], *asked)
    return answer


def _step(request: Request, step: Record) -> dict[str, Any]:
    account = request.account
    cards = cards_of(account, step)
    answer = plain(account, step)

    def fields() -> list[dict[str, Any]]:
        own = [one["key"] for one in account.custom_fields.by_creation() if one["scopeId"] == step["panelId"]]
        kinds = [(name, "DEFAULT_FIELD") for name in _DEFAULT_FIELDS] + [(key, "CUSTOM_FIELD") for key in own]
        return [
            {"key": key, "type": kind, "position": position, "visible": True}
            for position, (key, kind) in enumerate(kinds)
        ]

    detail(answer, request, "cardCount", lambda: len(cards), "StepsCardCount")
    detail(
        answer, request, "overdueCardCount", lambda: sum(is_overdue(account, one) for one in cards), "StepsCardCount"
    )
    detail(
        answer,
        request,
        "monetaryAmount",
        lambda: min(float(sum(one["monetaryAmount"] or 0 for one in cards)), sys.float_info.max),
        "StepsCardCount",
    )
    detail(answer, request, "fields", fields, "StepsFields")
    detail(answer, request, "cards", lambda: whole([_old_card(account, card) for card in cards]), "Cards")
    return answer


def _old_card(account: Account, card: Record) -> dict[str, Any]:
    """Return a card in the older shape, which a panel's steps carry."""
    answer = plain(account, card)
    for name in ("status", "lostReasonId"):
        answer.pop(name)
    step = account.panel_steps.find(card["stepId"])
    return {
        **answer,
        "panelTitle": None,
        "stepTitle": step["title"] if step else None,
        "stepPhase": None,
        "isOverdue": is_overdue(account, card),
        "archived": card["status"] == "ARCHIVED",
    }


def _wanted(request: Request) -> Callable[[Record], bool]:
    title, kind = str(request.query.get("Title", "")).casefold(), request.query.get("Type")
    return lambda panel: title in panel["title"].casefold() and kind in (None, panel["type"])


PANELS = Resource("panel", "panels", "O painel", show=_show, keep=_wanted)
