"""The operations of the API, one module for each kind of object."""

from __future__ import annotations

from importlib import import_module

_MODULES = (
    "chatbots",
    "directory",
    "files",
    "messages",
    "sends",
    "sessions",
)


def load() -> None:
    """Import all of them, so that their handlers are registered."""
    for name in _MODULES:
        import_module(f"{__name__}.{name}")
