"""Subscriptions to webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.contract import document
from airflow_provider_wts.emulator.crud import EMPTY, Empty, Request, changes, handles, stamped
from airflow_provider_wts.emulator.errors import Refusal

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.state import Record

_FIELDS = {"Name": ("name",), "Url": ("url",), "Events": ("events",), "Enabled": ("enabled",)}


@handles("list_webhook_events")
def _events(request: Request) -> list[dict[str, Any]]:
    return [_event(name) for name in document("core")["components"]["schemas"]["WebhookEventType"]["enum"]]


@handles("list_webhook_subscriptions")
def _list(request: Request) -> list[dict[str, Any]]:
    return [_show(request, subscription) for subscription in request.account.subscriptions.by_creation()]


@handles("get_webhook_subscription")
def _get(request: Request) -> dict[str, Any]:
    return _show(request, _subscription_of(request))


@handles("create_webhook_subscription")
def _create(request: Request) -> dict[str, Any]:
    account, body = request.account, request.body
    if not body["events"]:
        raise Refusal("FORM_ERROR", "Informe ao menos um evento.")
    enabled = body.get("enabled")
    values = {
        "companyId": account.id,
        "name": body["name"],
        "url": body["url"],
        "enabled": True if enabled is None else enabled,
        "events": list(dict.fromkeys(body["events"])),
    }
    return _show(request, account.new(account.subscriptions, values))


@handles("update_webhook_subscription")
def _update(request: Request) -> dict[str, Any]:
    account, subscription = request.account, _subscription_of(request)
    for name, value in changes(request, _FIELDS).items():
        if value:
            subscription[name] = value
        elif name == "enabled" and value is not None:
            subscription[name] = False
    account.touch(account.subscriptions, subscription)
    return _show(request, subscription)


@handles("delete_webhook_subscription")
def _delete(request: Request) -> Empty:
    request.account.subscriptions.remove(_subscription_of(request))
    return EMPTY


def _subscription_of(request: Request) -> Record:
    return request.account.need(request.account.subscriptions, request.path["subscriptionId"], "A assinatura")


def _event(name: str) -> dict[str, Any]:
    return {"event": name, "description": name.replace("_", " ").capitalize()}


def _show(request: Request, subscription: Record) -> dict[str, Any]:
    return {
        **stamped(request.account, subscription),
        **subscription.values,
        "events": [_event(name) for name in subscription["events"]],
    }
