"""Sensors that wait for sessions."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout

from airflow_provider_wts.api.errors import WtsError
from airflow_provider_wts.links.session import SESSION_URL_KEY, WtsSessionLink
from airflow_provider_wts.sensors.base import Check, WtsSensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from airflow_provider_wts.api.types import SessionV2
    from airflow_provider_wts.triggers.session import WtsSessionsTrigger, WtsSessionTrigger
    from airflow_provider_wts.waiting.conditions import SessionsWait, SessionWait
    from airflow_provider_wts.waiting.deferral import Times

#: Up to this many sessions, reading each takes fewer requests than listing the changed ones.
_FEW = 5

#: Sessions that the last check reads individually if the list did not show them.
_MANY = 300


class WtsSessionSensor(WtsSensor):
    """Wait until a session reaches a status.

    Calls ``get_session``. Deferred sensors of a connection share polls of ``list_sessions``.

    :param session_id: ID of the session (templated).
    :param target_status: status that ends the wait successfully, or several: ``STARTED``, ``PENDING``, ``IN_PROGRESS``,
        ``COMPLETED``, ``HIDDEN`` (templated).
    :param failed_status: status that fails the task immediately, or several (templated).
    :return: the session, as ``get_session`` returns it.
    :raises AirflowFailException: when the session reaches ``failed_status``, or the API refuses.
    """

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

    def check(self, context: Context) -> Check:
        from airflow_provider_wts.waiting.conditions import read_session

        wait = self._wait()
        session = read_session(self.hook.run, wait.session_id)
        context["ti"].xcom_push(key=SESSION_URL_KEY, value=session.get("previewUrl"))
        return Check(*wait.verdict(session), session)

    def trigger(self, context: Context, times: Times) -> WtsSessionTrigger:
        from airflow_provider_wts.triggers.session import WtsSessionTrigger

        return WtsSessionTrigger(wts_conn_id=self.wts_conn_id, **self._wait().arguments(), **times)

    def reached(self, context: Context, event: Mapping[str, Any]) -> SessionV2:
        """Return the session; continue the wait if only the list of sessions shows the status."""
        from airflow_provider_wts.waiting.conditions import WaitState
        from airflow_provider_wts.waiting.deferral import time_left

        found = self.seen_again(lambda: self.check(context))
        if found.verdict is WaitState.REACHED:
            return cast("SessionV2", found.value)
        if not event.get("listed"):
            self.log.warning("%s It was %s when the trigger saw it.", found.words, event.get("status"))
            return cast("SessionV2", found.value)
        if found.verdict is WaitState.FAILED:
            raise AirflowFailException(found.words)
        self.log.warning(
            "%s The list of sessions shows it as %s. The wait continues.", found.words, event.get("status")
        )
        self._last_words = found.words
        if (left := time_left(event, self.timeout)) > 0:
            self.leave_worker(context, left)
        raise AirflowSensorTimeout(self._too_late())

    def subject(self) -> str:
        return f"Session {self.session_id}"

    def _wait(self) -> SessionWait:
        from airflow_provider_wts.waiting.conditions import SessionWait

        return SessionWait.of(self.session_id, self.target_status, self.failed_status)


class WtsSessionsSensor(WtsSensor):
    """Wait until many sessions reach a status: one task for a whole campaign.

    Calls ``list_sessions`` for changed sessions, 100 per request, and ``get_session`` for single ones.

    :param session_ids: IDs of the sessions, or the sessions as sends returned them: a list or its JSON text
        (templated).
    :param needed: ``all`` (default), ``any``, or the share that must reach the status, such as ``0.9`` (templated).
    :param target_status: status that counts as reached, or several (templated).
    :param failed_status: status that fails the task as soon as one session has it, or several (templated).
    :return: ``{"COMPLETED": 97, "NOT_REACHED": 3}``: sessions by status.
    :raises AirflowFailException: when a session reaches ``failed_status`` or does not exist, or the API refuses.
    :raises AirflowSensorTimeout: when ``timeout`` passes first; the error shows how many sessions reached the status.
    """

    event_is_about = "counts"

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
        self._singles = _FEW

    def check(self, context: Context) -> Check:
        wait = self._wait()
        statuses = self._statuses(wait, context)
        return Check(*wait.verdict(statuses), wait.counts(statuses))

    def last_check(self, context: Context) -> Check | None:
        """Check once more, with more single sessions than before."""
        self._singles = _MANY
        return super().last_check(context)

    def trigger(self, context: Context, times: Times) -> WtsSessionsTrigger:
        from airflow_provider_wts.hooks.context import earliest_start
        from airflow_provider_wts.triggers.session import WtsSessionsTrigger
        from airflow_provider_wts.waiting.deferral import store_ids

        wait = self._wait()
        ids, place = store_ids(context, list(wait.session_ids))
        return WtsSessionsTrigger(
            wts_conn_id=self.wts_conn_id,
            session_ids=ids,
            session_ids_xcom=place,
            needed=wait.needed,
            target_status=list(wait.target_status),
            failed_status=list(wait.failed_status),
            changed_since=earliest_start(context).isoformat(),
            **times,
        )

    def take_back(self, context: Context, event: Mapping[str, Any]) -> None:
        """Remove the IDs that were stored for the trigger."""
        from airflow_provider_wts.waiting.deferral import delete_ids

        delete_ids(context)

    def reached(self, context: Context, event: Mapping[str, Any]) -> dict[str, int]:
        """Return the number of sessions by status, as the trigger counted them."""
        self.log.info(event["message"])
        return dict(event["counts"])

    def _wait(self) -> SessionsWait:
        from airflow_provider_wts.waiting.conditions import SessionsWait

        return SessionsWait.of(self.session_ids, self.needed, self.target_status, self.failed_status)

    def _statuses(self, wait: SessionsWait, context: Context) -> dict[str, str]:
        from airflow_provider_wts.hooks.context import earliest_start
        from airflow_provider_wts.waiting.conditions import refuses_token
        from airflow_provider_wts.waiting.session_changes import sweep

        # In another order each time: a check gives up early if the first ones cannot be read.
        left = random.sample(wait.session_ids, len(wait.session_ids))
        if len(left) <= _FEW:
            return self._read_each(left)
        wanted, over = set(left), (*wait.target_status, *wait.failed_status)
        statuses: dict[str, str] = {}
        few = True
        try:
            swept = sweep(self.hook.client, over, earliest_start(context), max_pages=len(left))
        except WtsError as error:
            if refuses_token(error):
                raise
            self.log.warning("The list of changed sessions cannot be read: %s", error)
        else:
            statuses = {session_id: seen.status for session_id, seen in swept.seen.items() if session_id in wanted}
            few = swept.cursor is not None
        left = [session_id for session_id in left if session_id not in statuses]
        read = self._read_each(left[: self._singles if few else _MANY])
        statuses.update(read)
        if any(status in over for status in read.values()):
            # The list lags behind the session; how its dates behave is not documented.
            statuses.update(self._read_each([session_id for session_id in left if session_id not in read]))
        return statuses

    def _read_each(self, session_ids: list[str]) -> dict[str, str]:
        from airflow_provider_wts.waiting.conditions import session_snapshot
        from airflow_provider_wts.waiting.session_changes import poll_sessions

        read = poll_sessions(self.hook.run, session_ids)
        if read.failed and not read.seen:
            raise next(iter(read.failed.values()))
        return {session_id: session_snapshot(session).status for session_id, session in read.seen.items()}
