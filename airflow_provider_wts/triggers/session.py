"""The triggers that wait for sessions."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.errors import WtsError
from airflow_provider_wts.triggers.base import WtsWaitTrigger
from airflow_provider_wts.waiting.conditions import NOT_REACHED, FailedChecks, SessionsWait, SessionWait
from airflow_provider_wts.waiting.deferral import stored_ids
from airflow_provider_wts.waiting.poller import End
from airflow_provider_wts.waiting.reader import BackgroundThread
from airflow_provider_wts.waiting.subscriptions import SessionSubscription

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow.triggers.base import TriggerEvent

    from airflow_provider_wts.waiting.conditions import Snapshot, WaitState


class WtsSessionTrigger(WtsWaitTrigger):
    """Waits until a session reaches a status, then sends one event.

    The event is a dict with ``outcome`` (``reached``, ``failed``, ``timeout`` or ``error``), ``session_id``,
    ``status`` (the last one seen), ``listed`` (whether only the list of sessions showed it), ``deadline``, ``message``
    and ``final``. It holds nothing that the contact wrote.

    :param session_id: the session.
    :param target_status: statuses that end the wait successfully.
    :param failed_status: statuses that fail the wait.
    """

    arguments = ("session_id", "target_status", "failed_status")

    def __init__(self, *, session_id: str, target_status: list[str], failed_status: list[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.session_id = session_id
        self.target_status = target_status
        self.failed_status = failed_status

    def subscription(self) -> SessionSubscription:
        statuses = [*self.target_status, *self.failed_status]
        return SessionSubscription([self.session_id], statuses, since=self.checked_at, interval=self.poll_interval)

    def judge(self, seen: dict[str, Snapshot]) -> tuple[WaitState, str]:
        session_id = self.session_id.lower()
        wait = SessionWait(session_id, tuple(self.target_status), tuple(self.failed_status))
        return wait.verdict({"status": _statuses(seen).get(session_id)})

    def report(self, seen: dict[str, Snapshot]) -> dict[str, Any]:
        last = seen.get(self.session_id.lower())
        return {
            "session_id": self.session_id,
            "status": last.status if last else None,
            "listed": bool(last and last.listed),
            "deadline": self.deadline,
        }


class WtsSessionsTrigger(WtsWaitTrigger):
    """Waits until enough sessions have reached a status, then sends one event.

    The event is a dict with ``outcome`` (``reached``, ``failed``, ``timeout`` or ``error``), ``counts`` (sessions by
    the last status seen), ``message`` and ``final``. It holds nothing that a contact wrote.

    :param session_ids: the sessions, if they are few.
    :param session_ids_xcom: where their IDs are otherwise: ``dag_id``, ``run_id``, ``task_id``, ``map_index`` and
        ``key`` of an XCom.
    :param needed: how many of them must reach a target status.
    :param target_status: statuses that count as reached.
    :param failed_status: statuses that fail the wait.
    :param changed_since: date and time (ISO 8601) from which on the sessions may have changed.
    """

    arguments = ("session_ids", "session_ids_xcom", "needed", "target_status", "failed_status", "changed_since")

    def __init__(
        self,
        *,
        session_ids: list[str],
        session_ids_xcom: dict[str, Any] | None = None,
        needed: int,
        target_status: list[str],
        failed_status: list[str],
        changed_since: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.session_ids = session_ids
        self.session_ids_xcom = session_ids_xcom
        self.needed = needed
        self.target_status = target_status
        self.failed_status = failed_status
        self.changed_since = changed_since
        self._ids = [one.lower() for one in session_ids]

    def serialize(self) -> tuple[str, dict[str, Any]]:
        path, arguments = super().serialize()
        if self.session_ids_xcom is None:
            # A triggerer that is upgraded later than the workers does not know it.
            del arguments["session_ids_xcom"]
        return path, arguments

    def subscription(self) -> SessionSubscription:
        statuses = [*self.target_status, *self.failed_status]
        since = datetime.fromisoformat(self.changed_since)
        optional = len(self._ids) - self.needed
        return SessionSubscription(self._ids, statuses, since=since, interval=self.poll_interval, optional=optional)

    def judge(self, seen: dict[str, Snapshot]) -> tuple[WaitState, str]:
        return self._wait().verdict(_statuses(seen))

    def report(self, seen: dict[str, Snapshot]) -> dict[str, Any]:
        if not self._ids:
            return {"counts": {NOT_REACHED: self.needed}}
        return {"counts": self._wait().counts(_statuses(seen))}

    def _wait(self) -> SessionsWait:
        return SessionsWait(self._ids, self.needed, tuple(self.target_status), tuple(self.failed_status))

    async def run(self) -> AsyncIterator[TriggerEvent]:
        try:
            if self.session_ids_xcom is not None:
                self._ids = [one.lower() for one in await self._stored(self.session_ids_xcom)]
        except WtsError as error:
            yield self.event(End("error", {}, str(error)))
            return
        async for event in super().run():
            yield event

    async def _stored(self, place: dict[str, Any]) -> list[str]:
        # No event is sent earlier, and the task may still be storing the IDs.
        await asyncio.sleep(max(0.0, (datetime.fromisoformat(self.earliest) - datetime.now(UTC)).total_seconds()))
        failed_checks = FailedChecks()
        thread = BackgroundThread("wts-xcom")
        try:
            while True:
                try:
                    return await thread.run(lambda: stored_ids(place))
                except WtsError:
                    raise
                except Exception as error:
                    # Airflow's API server or database may be restarting.
                    failure = WtsError(f"The session ids cannot be read from Airflow ({type(error).__name__}).")
                if failed_checks.failed(failure):
                    raise failure
                await asyncio.sleep(self.poll_interval)
        finally:
            thread.close()


def _statuses(seen: dict[str, Snapshot]) -> dict[str, str]:
    return {session_id: one.status for session_id, one in seen.items()}
