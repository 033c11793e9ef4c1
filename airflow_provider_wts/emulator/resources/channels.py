"""Channels and the office hours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_wts.emulator.answers import Request, handles
from airflow_provider_wts.emulator.crud import Resource
from airflow_provider_wts.emulator.state import Record


def _wanted(request: Request) -> Callable[[Record], bool]:
    wanted = str(request.query.get("ChannelType", "All")).lower()
    return lambda channel: wanted in ("all", channel["identity"]["platform"].lower())


Resource("channel", keep=_wanted)


@handles("get_office_hours")
def _office_hours(request: Request) -> dict[str, Any]:
    return request.account.office_hours
