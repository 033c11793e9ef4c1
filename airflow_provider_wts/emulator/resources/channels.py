"""Channels and the office hours."""

from __future__ import annotations

from typing import Any

from airflow_provider_wts.emulator.crud import Request, handles, plain


@handles("list_channels")
def _channels(request: Request) -> list[dict[str, Any]]:
    wanted = str(request.query.get("ChannelType", "All")).lower()
    channels = request.account.channels.by_creation()
    return [
        plain(request.account, channel)
        for channel in channels
        if wanted == "all" or wanted == channel["identity"]["platform"].lower()
    ]


@handles("get_office_hours")
def _office_hours(request: Request) -> dict[str, Any]:
    return request.account.office_hours
