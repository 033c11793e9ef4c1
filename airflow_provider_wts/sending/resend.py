"""Whether a send with an unknown outcome goes out again: ``on_unknown`` of the task, or an Airflow Variable."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_wts.hooks.context import TaskIdentity

log = logging.getLogger(__name__)

#: The Airflow Variable that names tasks, each in one DAG run, whose unconfirmed sends go out again.
VARIABLE = "wts_resend"


class UnknownOutcome:
    """What a task does with sends whose outcome is unknown: ``fail`` or ``resend``."""

    def __init__(self, task: TaskIdentity, on_unknown: str) -> None:
        self._task = "/".join((task.dag_id, task.run_id, task.task_id))
        self._map_index = "" if task.map_index < 0 else f"/{task.map_index}"
        self._always = on_unknown == "resend"

    def resends(self, *, since_clear: bool) -> bool:
        """Whether such a send goes out again. Call it only if there is one: it may read an Airflow Variable.

        :param since_clear: whether the send began after the last clear of the task. Whoever added the task to the
            Variable and cleared it has checked only the sends before that clear.
        """
        return self._always if since_clear else self._resends_earlier

    @cached_property
    def _resends_earlier(self) -> bool:
        if self._always:
            log.warning("Resending sends with an unknown outcome: on_unknown is 'resend'.")
            return True
        from airflow.providers.common.compat.sdk import Variable

        try:
            named = str(Variable.get(VARIABLE, "")).replace(",", " ").split()
        except Exception as error:
            # Airflow's API server or its secrets backend failed.
            log.warning(
                "The Airflow Variable %r cannot be read (%s), so nothing is resent.", VARIABLE, type(error).__name__
            )
            return False
        if not {self._task, self._task + self._map_index}.intersection(named):
            return False
        log.warning("Resending sends with an unknown outcome: the Airflow Variable %r names this task.", VARIABLE)
        return True

    @property
    def how_to_resend(self) -> str:
        """How to make them go out again without changing the DAG."""
        return (
            f"add {self._task}{self._map_index} to the Airflow Variable {VARIABLE!r} (Admin > Variables; or set "
            "on_unknown='resend') and clear the task"
        )
