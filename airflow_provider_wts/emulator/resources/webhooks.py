"""Subscriptions to webhooks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_wts.api.contract import document
from airflow_provider_wts.emulator.answers import Request, answer, by_name, handles
from airflow_provider_wts.emulator.crud import Resource
from airflow_provider_wts.emulator.state import Record


@handles("list_webhook_events")
def _events(request: Request) -> list[dict[str, Any]]:
    return [_event(name) for name in document("core")["components"]["schemas"]["WebhookEventType"]["enum"]]


def _event(name: str) -> dict[str, Any]:
    return {"event": name, "description": name.replace("_", " ").capitalize()}


def _written(request: Request, given: Mapping[str, Any], subscription: Record | None) -> dict[str, Any]:
    kept: dict[str, Any] = {name: value for name, value in given.items() if value or value is False}
    if "events" in kept:
        kept["events"] = list(dict.fromkeys(kept["events"]))
    return kept


def _show(request: Request, subscription: Record) -> dict[str, Any]:
    return answer(request, subscription, events=[_event(name) for name in subscription["events"]])


Resource(
    "webhook_subscription",
    show=_show,
    fields=by_name("name", "url", "events", "enabled"),
    written=_written,
)
