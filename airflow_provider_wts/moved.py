"""Modules and names of earlier releases, which go on working with a ``DeprecationWarning``."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

_PACKAGE = __name__.rpartition(".")[0]

#: Where the names of a module are now. A module that is not there any more is made when it is imported.
MOVED: dict[str, tuple[str, ...]] = {
    "api.call": ("api.wire",),
    "api.outcome": ("api.outcome",),
    "api.phone": ("api.addresses",),
    "api.storage": ("api.files",),
    "emulator.account": ("emulator.state",),
    "emulator.records": ("emulator.state",),
    "emulator.recording": ("emulator.service",),
    "hooks.failures": ("hooks.errors",),
    "hooks.panel_names": ("hooks.names",),
    "operators.batch": ("operators.campaign",),
    "operators.batch_base": ("operators.campaign",),
    "operators.card_content": ("operators.card",),
    "operators.card_note": ("operators.card",),
    "operators.chatbot_reading": ("operators.chatbot",),
    "operators.contact_listing": ("operators.contact",),
    "operators.contact_saving": ("operators.contact",),
    "operators.conversations": ("operators.export",),
    "operators.message_base": ("operators.sending",),
    "operators.message_sending": ("operators.message",),
    "operators.message_template": ("operators.template", "operators.message"),
    "operators.retry": ("hooks.errors",),
    "operators.session_reading": ("operators.session",),
}

#: What a name is called now.
RENAMED = {
    "NOT_GIVEN": "UNSET",
    "NotGiven": "Unset",
    "Optional": "Missing",
    "moment": "parse_timestamp",
    "Judgement": "Verdict",
    "readable_failures": "task_failures",
}


def find(module: str, name: str) -> Any:
    """Return what a name of an earlier release is called now: the ``__getattr__`` of its module.

    :param module: the module of the earlier release, with its package.
    :raises AttributeError: when there was no such name.
    """
    if not name.startswith("_"):
        new = RENAMED.get(name, name)
        for place in (f"{_PACKAGE}.{place}" for place in MOVED[module.removeprefix(f"{_PACKAGE}.")]):
            if place == module and new == name:
                continue
            if hasattr(found := import_module(place), new):
                warnings.warn(f"{module}.{name} is now {place}.{new}", DeprecationWarning, stacklevel=3)
                return getattr(found, new)
    raise AttributeError(f"module {module!r} has no attribute {name!r}")


class MovedModules:
    """Finds and loads the modules that are not there any more."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return how to import a module that was moved; Python asks only for those that it did not find itself."""
        return ModuleSpec(name, cls) if name.removeprefix(f"{_PACKAGE}.") in MOVED else None  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        """Leave the making to Python."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Let the module look its names up where they are now."""
        name = module.__name__
        module.__getattr__ = lambda wanted: find(name, wanted)  # type: ignore[method-assign]


sys.meta_path.append(MovedModules)
