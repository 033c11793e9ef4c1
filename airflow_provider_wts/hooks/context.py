"""What a task's context shows about the task and its run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping


def earliest_start(context: Mapping[str, Any]) -> datetime:
    """Return a time before the first try of any task of a run. A clear moves the start of a run, but not its dates."""
    run = context.get("dag_run")
    dates = [getattr(run, name, None) for name in ("logical_date", "run_after", "queued_at", "start_date")]
    known = [value for value in dates if isinstance(value, datetime)]
    return min(known) if known else datetime.fromtimestamp(0, UTC)


def is_first_try(context: Mapping[str, Any]) -> bool:
    """Whether this is certainly the first try of the task."""
    return context["ti"].try_number in (None, 0, 1)


#: What distinguishes a DAG run from an earlier one with the same run ID: its ``id`` and ``start``. A clear of a run
#: moves its start, so only the start before any clear counts.
RunIdentity: TypeAlias = dict[str, int | str]


def run_identity(context: Mapping[str, Any]) -> RunIdentity:
    """Return the identity of a run, as far as Airflow shows it."""
    run = context.get("dag_run")
    identity: RunIdentity = {}
    # Airflow 2.11 shows the ID of the database row.
    if isinstance(row := getattr(run, "id", None), int):
        identity["id"] = row
    start = getattr(run, "start_date", None)
    if isinstance(start, datetime) and not getattr(run, "clear_number", 0):
        identity["start"] = start.astimezone(UTC).isoformat()
    return identity


def same_run(known: Any, run: RunIdentity | None) -> bool | None:
    """Whether two identities belong to the same run; ``None`` if that is unknown.

    :param known: the identity in a ledger.
    :param run: the current run; ``None`` if the store does not outlive it.
    """
    if run is None:
        return True
    if not isinstance(known, dict):
        return None
    agree = [known[name] == value for name, value in run.items() if name in known]
    return all(agree) if agree else None


def began_later(known: Mapping[str, int | str], run: RunIdentity) -> bool:
    """Whether the run of an identity certainly began later than the current run."""
    starts = [datetime.fromisoformat(str(one["start"])) for one in (known, run) if "start" in one]
    return len(starts) == 2 and starts[0] > starts[1]


class TaskIdentity(NamedTuple):
    """The task instance that sends, as far as it stays the same in all its tries.

    :param map_index: index of a mapped task instance; -1 if the task is not mapped.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int

    @classmethod
    def of(cls, task_instance: Any) -> TaskIdentity:
        """Return the identity of a task instance (``ti`` of the context)."""
        map_index = getattr(task_instance, "map_index", -1)
        return cls(
            task_instance.dag_id, task_instance.run_id, task_instance.task_id, -1 if map_index is None else map_index
        )
