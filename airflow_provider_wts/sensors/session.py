"""Sensors that wait for sessions."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, PokeReturnValue

from airflow_provider_wts.hooks.context import first_moment
from airflow_provider_wts.hooks.failures import readable_failures
from airflow_provider_wts.links.session import SESSION_URL_KEY, WtsSessionLink
from airflow_provider_wts.sensors.base import WtsSensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_provider_wts.api.types import SessionV2
    from airflow_provider_wts.waiting.session import SessionsWait, SessionWait

#: Up to so many sessions it takes fewer requests to read each than to list what changed.
_FEW = 5


class WtsSessionSensor(WtsSensor):
    """Wait until a session reaches a status.

    Calls ``get_session``; deferred, all sensors of a connection share ``list_sessions``.

    :param session_id: id of the session (templated).
    :param target_status: status that ends the wait well, or several: ``STARTED``, ``PENDING``, ``IN_PROGRESS``,
        ``COMPLETED``, ``HIDDEN`` (templated).
    :param failed_status: status that fails the task at once, or several (templated).
    :param kwargs: see :class:`~airflow_provider_wts.sensors.base.WtsSensor`: ``wts_conn_id``, ``deferrable``; and
        Airflow's ``poke_interval``, ``timeout``, ``mode``, ``soft_fail``.
    :return: the session, as ``get_session`` answers it.
    :raises AirflowFailException: when the session reaches ``failed_status``, or the API refuses.
    :raises AirflowSensorTimeout: when ``timeout`` passes first.
    """

    template_fields: Sequence[str] = (*WtsSensor.template_fields, "session_id", "target_status", "failed_status")
    operator_extra_links = (WtsSessionLink(),)

    def __init__(
        self,
        *,
        session_id: str,
        target_status: str | Sequence[str] = "COMPLETED",
        failed_status: str | Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.session_id = session_id
        self.target_status = target_status
        self.failed_status = failed_status

    def poke(self, context: Context) -> PokeReturnValue:
        """Look at the session once; a deferrable sensor leaves the worker when there is reason to wait.

        :param context: the task's context.
        """
        from airflow_provider_wts.api.sessions import get_session
        from airflow_provider_wts.waiting.session import Verdict

        wait = self._wait()
        session = self.look(lambda: self.hook.run(get_session(wait.session_id)))
        if session is None:
            return self.not_yet(context)
        context["ti"].xcom_push(key=SESSION_URL_KEY, value=session.get("previewUrl"))
        self.log.info("Session %s is %s.", wait.session_id, session.get("status"))
        verdict = wait.verdict(session)
        if verdict is Verdict.FAILED:
            raise AirflowFailException(f"Session {wait.session_id} is {session.get('status')}.")
        if verdict is Verdict.REACHED:
            return PokeReturnValue(is_done=True, xcom_value=session)
        return self.not_yet(context)

    def leave_worker(self, context: Context) -> None:
        """Defer to :class:`~airflow_provider_wts.triggers.session.WtsSessionTrigger`.

        :param context: the task's context.
        """
        from airflow_provider_wts.waiting.deferral import session_trigger

        trigger, timeout = session_trigger(
            self._wait(), wts_conn_id=self.wts_conn_id, poll_interval=self.poke_interval, timeout=self.timeout
        )
        self.defer(trigger=trigger, method_name="execute_complete", timeout=timeout)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> SessionV2:
        """Take the wait back from the trigger.

        :param context: the task's context.
        :param event: what the trigger sent.
        :return: the session.
        """
        from airflow_provider_wts.api.sessions import get_session
        from airflow_provider_wts.waiting.deferral import checked_event

        told = checked_event(event, "session_id")
        self.fail_unless_reached(told)
        with readable_failures():
            return self.hook.run(get_session(told["session_id"]))

    def _wait(self) -> SessionWait:
        from airflow_provider_wts.waiting.session import SessionWait

        with readable_failures():
            return SessionWait.of(self.session_id, self.target_status, self.failed_status)


class WtsSessionsSensor(WtsSensor):
    """Wait until many sessions reach a status: one task for a whole campaign.

    Calls ``list_sessions`` for what changed, 100 sessions a request, and ``get_session`` for single ones.

    :param session_ids: ids of the sessions, or the sessions as sends returned them; a list, or one as JSON text
        (templated).
    :param needed: ``all`` (default), ``any``, or the share of them that has to reach the status, such as ``0.9``
        (templated).
    :param target_status: status that counts as reached, or several (templated).
    :param failed_status: status that fails the task as soon as one session has it, or several (templated).
    :param kwargs: see :class:`~airflow_provider_wts.sensors.base.WtsSensor`: ``wts_conn_id``, ``deferrable``; and
        Airflow's ``poke_interval``, ``timeout``, ``mode``, ``soft_fail``.
    :return: ``{"COMPLETED": 97, "NOT_REACHED": 3}``: sessions by status.
    :raises AirflowFailException: when a session reaches ``failed_status`` or does not exist, or the API refuses.
    :raises AirflowSensorTimeout: when ``timeout`` passes first; says how many had reached it.
    """

    template_fields: Sequence[str] = (
        *WtsSensor.template_fields,
        "session_ids",
        "needed",
        "target_status",
        "failed_status",
    )

    def __init__(
        self,
        *,
        session_ids: Sequence[str] | Sequence[SessionV2] | str,
        needed: str | float = "all",
        target_status: str | Sequence[str] = "COMPLETED",
        failed_status: str | Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.session_ids = session_ids
        self.needed = needed
        self.target_status = target_status
        self.failed_status = failed_status

    def poke(self, context: Context) -> PokeReturnValue:
        """Look at the sessions once; a deferrable sensor leaves the worker when there is reason to wait.

        :param context: the task's context.
        """
        from airflow_provider_wts.waiting.session import Verdict

        wait = self._wait()
        statuses = self.look(lambda: self._statuses(wait, context))
        if statuses is None:
            return self.not_yet(context)
        verdict, words = wait.verdict(statuses)
        self.log.info(words)
        if verdict is Verdict.FAILED:
            raise AirflowFailException(words)
        if verdict is Verdict.REACHED:
            return PokeReturnValue(is_done=True, xcom_value=_counts(wait, statuses))
        return self.not_yet(context)

    def leave_worker(self, context: Context) -> None:
        """Defer to :class:`~airflow_provider_wts.triggers.session.WtsSessionsTrigger`.

        :param context: the task's context.
        """
        from airflow_provider_wts.waiting.deferral import sessions_trigger

        trigger, timeout = sessions_trigger(
            self._wait(),
            wts_conn_id=self.wts_conn_id,
            poll_interval=self.poke_interval,
            timeout=self.timeout,
            changed_since=first_moment(context),
        )
        self.defer(trigger=trigger, method_name="execute_complete", timeout=timeout)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, int]:
        """Take the wait back from the trigger.

        :param context: the task's context.
        :param event: what the trigger sent.
        :return: sessions by status.
        """
        from airflow_provider_wts.waiting.deferral import checked_event

        told = checked_event(event, "counts")
        self.fail_unless_reached(told)
        self.log.info(told["message"])
        return dict(told["counts"])

    def _wait(self) -> SessionsWait:
        from airflow_provider_wts.waiting.session import SessionsWait

        with readable_failures():
            return SessionsWait.of(self.session_ids, self.needed, self.target_status, self.failed_status)

    def _statuses(self, wait: SessionsWait, context: Context) -> dict[str, str]:
        from airflow_provider_wts.waiting.sweep import sweep

        wanted = set(wait.session_ids)
        statuses: dict[str, str] = {}
        left = list(wait.session_ids)
        if len(left) > _FEW:
            swept = sweep(
                self.hook.client,
                [*wait.target_status, *wait.failed_status],
                first_moment(context),
                most_pages=len(left),
            )
            statuses = {session_id: status for session_id, status in swept.statuses.items() if session_id in wanted}
            left = [session_id for session_id in left if session_id not in statuses]
            sample = left if swept.cursor is None else random.sample(left, min(_FEW, len(left)))
            looked = self._looked(sample)
            statuses.update(looked)
            if any(status in (*wait.target_status, *wait.failed_status) for status in looked.values()):
                # The list does not show what the session itself shows: how its dates behave is not documented.
                statuses.update(self._looked([session_id for session_id in left if session_id not in looked]))
            return statuses
        return self._looked(left)

    def _looked(self, session_ids: list[str]) -> dict[str, str]:
        from airflow_provider_wts.waiting.sweep import look_singly

        looked = look_singly(self.hook.client, session_ids)
        return {session_id: str(session.get("status") or "") for session_id, session in looked.items()}


def _counts(wait: SessionsWait, statuses: dict[str, str]) -> dict[str, int]:
    from airflow_provider_wts.waiting.session import NOT_REACHED

    counts: dict[str, int] = {}
    for session_id in wait.session_ids:
        status = statuses.get(session_id) or NOT_REACHED
        counts[status] = counts.get(status, 0) + 1
    return counts
