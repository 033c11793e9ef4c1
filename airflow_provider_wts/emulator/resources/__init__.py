"""The operations of the API, one module for each kind of object."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules


def load() -> None:
    """Import all of them, so that their handlers are registered."""
    for module in iter_modules(__path__, f"{__name__}."):
        import_module(module.name)
