"""The operations of the API, one module for each kind of object."""

from __future__ import annotations

from importlib import import_module

_MODULES = (
    "agents",
    "cards",
    "channels",
    "chatbots",
    "contacts",
    "custom_fields",
    "departments",
    "files",
    "messages",
    "panels",
    "portfolios",
    "scheduled",
    "sends",
    "sequences",
    "sessions",
    "tags",
    "templates",
    "webhooks",
)


def load() -> None:
    """Import all of them, so that their handlers are registered."""
    for name in _MODULES:
        import_module(f"{__name__}.{name}")
