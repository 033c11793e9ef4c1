"""What a task's context says about its run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def first_moment(context: Mapping[str, Any]) -> datetime:
    """Return a moment before the first try of any task of a run. A clear moves the start of a run, but not its dates.

    :param context: the task's context.
    """
    run = context.get("dag_run")
    moments = [getattr(run, name, None) for name in ("logical_date", "run_after", "queued_at", "start_date")]
    known = [value for value in moments if isinstance(value, datetime)]
    return min(known) if known else datetime.fromtimestamp(0, UTC)


def is_first_try(context: Mapping[str, Any]) -> bool:
    """Whether no try of this task can have been before.

    :param context: the task's context.
    """
    return context["ti"].try_number in (None, 0, 1)
