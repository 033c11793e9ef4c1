"""What a task's context says about its run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypedDict

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


class RunIdentity(TypedDict, total=False):
    """What tells a DAG run from another one that was made again under its run id.

    A clear of a run moves its start, so only the start before any clear tells.
    """

    id: int
    start: str


def run_identity(context: Mapping[str, Any]) -> RunIdentity:
    """Return the identity of a run, as far as Airflow tells.

    :param context: the task's context.
    """
    run = context.get("dag_run")
    identity: RunIdentity = {}
    # Airflow 2.11 tells the row of its database.
    if isinstance(row := getattr(run, "id", None), int):
        identity["id"] = row
    start = getattr(run, "start_date", None)
    if isinstance(start, datetime) and not getattr(run, "clear_number", 0):
        identity["start"] = start.astimezone(UTC).isoformat()
    return identity


def same_run(known: Any, run: RunIdentity | None) -> bool | None:
    """Whether two identities are of one run; ``None`` if they do not tell.

    :param known: what a ledger says.
    :param run: the run; ``None`` if nothing outlives it.
    """
    if run is None:
        return True
    if not isinstance(known, dict):
        return None
    told = [known[name] == value for name, value in run.items() if name in known]
    return all(told) if told else None
