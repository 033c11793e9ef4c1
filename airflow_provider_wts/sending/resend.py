"""Whether a send with an unknown outcome goes out again: ``on_unknown`` of the task, or a person's word in the UI."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_wts.hooks.context import TaskIdentity

log = logging.getLogger(__name__)

#: The Airflow Variable by which a person decides it for a task of one DAG run.
VARIABLE = "wts_resend"


class UnknownOutcome:
    """What a task does with sends whose outcome is unknown.

    :param task: the task.
    :param on_unknown: ``fail`` or ``resend``.
    """

    def __init__(self, task: TaskIdentity, on_unknown: str) -> None:
        self._task = "/".join((task.dag_id, task.run_id, task.task_id))
        self._map_index = "" if task.map_index < 0 else f"/{task.map_index}"
        self._always = on_unknown == "resend"

    def resends(self, *, since_clear: bool) -> bool:
        """Whether they go out again. It reads from Airflow, so ask only when there is such a send.

        :param since_clear: whether the send began after the last clear of the task. A person who named the task in the
            Variable and cleared it has seen what was sent before, and nothing of what came after.
        """
        return self._always if since_clear else self._resends_earlier

    @cached_property
    def _resends_earlier(self) -> bool:
        if self._always:
            log.warning("Sends with an unknown outcome go out again: on_unknown is 'resend'.")
            return True
        from airflow.providers.common.compat.sdk import Variable

        try:
            named = str(Variable.get(VARIABLE, "")).replace(",", " ").split()
        except Exception as error:
            # Airflow's API server or its secrets backend; without an answer, nothing goes out twice.
            log.warning("The Airflow Variable %r cannot be read (%s).", VARIABLE, type(error).__name__)
            return False
        if not {self._task, self._task + self._map_index}.intersection(named):
            return False
        log.warning("Sends with an unknown outcome go out again: the Airflow Variable %r names this task.", VARIABLE)
        return True

    @property
    def how_to_resend(self) -> str:
        """How a person makes them go out again, without a change of the DAG."""
        return (
            f"add {self._task}{self._map_index} to the Airflow Variable {VARIABLE!r} (Admin > Variables; or set "
            "on_unknown='resend') and clear the task"
        )
