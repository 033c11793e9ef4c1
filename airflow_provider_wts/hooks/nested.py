"""Lets a task call another ``execute``, which Airflow 2.11 takes for a call outside of the task."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import Context

T = TypeVar("T")


def within_task(execute: Callable[[Context], T]) -> Callable[[Context], T]:
    """Return a bound ``execute`` without the check that Airflow wraps around it."""
    bound: Any = execute
    unchecked = getattr(bound, "__wrapped__", None)
    return execute if unchecked is None else partial(unchecked, bound.__self__)
