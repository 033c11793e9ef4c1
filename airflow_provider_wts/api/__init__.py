"""The WTS Chat API, free of Airflow: usable from any Python."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_wts.api import (  # noqa: F401  # what __getattr__ returns
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


def __getattr__(name: str) -> Any:
    # Modules with calls are imported when they are first used: a DAG file needs none of them.
    if find_spec(f"{__name__}.{name}") is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")
