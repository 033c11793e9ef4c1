"""The WTS Chat API, free of Airflow: usable from any Python."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_wts.api import (
        chatbots,
        contacts,
        directory,
        messages,
        panels,
        scheduled,
        sends,
        sequences,
        sessions,
        templates,
    )

#: The modules with calls, imported when they are first used: a DAG file needs none of them.
__all__ = [
    "chatbots",
    "contacts",
    "directory",
    "messages",
    "panels",
    "scheduled",
    "sends",
    "sequences",
    "sessions",
    "templates",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")
