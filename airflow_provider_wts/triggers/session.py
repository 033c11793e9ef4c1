"""The triggers that wait for sessions."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_wts.api.errors import WtsError
from airflow_provider_wts.waiting.conditions import NOT_REACHED, FailedLooks, SessionsWait, SessionWait
from airflow_provider_wts.waiting.deferral import (
    EARLIEST_FIRING,
    MOST_IN_ARGUMENTS,
    _handed_over,
    handed_over,
    times_of_deferral,
)
from airflow_provider_wts.waiting.poller import end_of_wait
from airflow_provider_wts.waiting.reader import BackgroundThread
from airflow_provider_wts.waiting.subscriptions import SessionSubscription

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from airflow.sdk import Context

    from airflow_provider_wts.waiting.conditions import Snapshot, WaitState
    from airflow_provider_wts.waiting.poller import End


class WtsSessionTrigger(BaseTrigger):
    """Waits until a session reaches a status; sends one event.

    The event is a dict with ``outcome`` (``reached``, ``failed``, ``timeout`` or ``error``), ``session_id``,
    ``status`` (the last one seen), ``message`` and ``final``. It holds nothing that the contact wrote.

    :param wts_conn_id: id of the Airflow connection.
    :param session_id: the session.
    :param target_status: statuses that end the wait well.
    :param failed_status: statuses that end it badly.
    :param poll_interval: seconds between two looks.
    :param earliest: moment (ISO 8601) before which no event is sent.
    :param deadline: moment (ISO 8601) at which the wait ends unsuccessfully.
    """

    def __init__(
        self,
        *,
        wts_conn_id: str,
        session_id: str,
        target_status: list[str],
        failed_status: list[str],
        poll_interval: float,
        earliest: str,
        deadline: str,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's trigger classes have no annotations
        self.wts_conn_id = wts_conn_id
        self.session_id = session_id
        self.target_status = target_status
        self.failed_status = failed_status
        self.poll_interval = poll_interval
        self.earliest = earliest
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments, as plain JSON."""
        names = (
            *("wts_conn_id", "session_id", "target_status", "failed_status"),
            *("poll_interval", "earliest", "deadline"),
        )
        return f"{__name__}.WtsSessionTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for news of the shared poll; send one event."""
        session_id = self.session_id.lower()
        wait = SessionWait(session_id, tuple(self.target_status), tuple(self.failed_status))
        end = await _end_of_wait(
            self.wts_conn_id,
            SessionsWait([session_id], 1, wait.target_status, wait.failed_status),
            lambda seen: wait.verdict({"status": _statuses(seen).get(session_id)}),
            poll_interval=self.poll_interval,
            earliest=datetime.fromisoformat(self.earliest),
            deadline=datetime.fromisoformat(self.deadline),
        )
        yield TriggerEvent(  # type: ignore[no-untyped-call]
            {
                "outcome": end.outcome,
                "session_id": self.session_id,
                "status": _statuses(end.seen).get(session_id),
                "message": end.message,
                "final": end.final,
            }
        )


class WtsSessionsTrigger(BaseTrigger):
    """Waits until enough of some sessions have reached a status; sends one event.

    The event is a dict with ``outcome`` (``reached``, ``failed``, ``timeout`` or ``error``), ``counts`` (sessions by
    the last status seen), ``message`` and ``final``. It holds nothing that a contact wrote.

    :param wts_conn_id: id of the Airflow connection.
    :param session_ids: the sessions, where they are few.
    :param session_ids_xcom: where their ids are otherwise: ``dag_id``, ``run_id``, ``task_id``, ``map_index`` and
        ``key`` of an XCom.
    :param needed: how many of them have to reach a target status.
    :param target_status: statuses that count as reached.
    :param failed_status: statuses one of which ends the wait badly.
    :param poll_interval: seconds between two looks.
    :param earliest: moment (ISO 8601) before which no event is sent.
    :param deadline: moment (ISO 8601) at which the wait ends unsuccessfully.
    :param changed_since: moment (ISO 8601) from which on the sessions may have changed.
    """

    def __init__(
        self,
        *,
        wts_conn_id: str,
        session_ids: list[str],
        session_ids_xcom: dict[str, Any] | None = None,
        needed: int,
        target_status: list[str],
        failed_status: list[str],
        poll_interval: float,
        earliest: str,
        deadline: str,
        changed_since: str,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.wts_conn_id = wts_conn_id
        self.session_ids = session_ids
        self.session_ids_xcom = session_ids_xcom
        self.needed = needed
        self.target_status = target_status
        self.failed_status = failed_status
        self.poll_interval = poll_interval
        self.earliest = earliest
        self.deadline = deadline
        self.changed_since = changed_since

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments, as plain JSON."""
        names = (
            *("wts_conn_id", "session_ids", "session_ids_xcom", "needed", "target_status", "failed_status"),
            *("poll_interval", "earliest", "deadline", "changed_since"),
        )
        return f"{__name__}.WtsSessionsTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for news of the shared poll; send one event."""
        try:
            session_ids = await self._ids()
        except WtsError as error:
            yield _event("error", {NOT_REACHED: self.needed}, str(error))
            return
        wait = SessionsWait(session_ids, self.needed, tuple(self.target_status), tuple(self.failed_status))
        end = await _end_of_wait(
            self.wts_conn_id,
            wait,
            lambda seen: wait.verdict(_statuses(seen)),
            poll_interval=self.poll_interval,
            earliest=datetime.fromisoformat(self.earliest),
            deadline=datetime.fromisoformat(self.deadline),
            changed_since=datetime.fromisoformat(self.changed_since),
        )
        statuses = _statuses(end.seen)
        counts = Counter(statuses.get(session_id) or NOT_REACHED for session_id in session_ids)
        yield _event(end.outcome, dict(counts), end.message, final=end.final)

    async def _ids(self) -> list[str]:
        if self.session_ids_xcom is None:
            return [one.lower() for one in self.session_ids]
        place = self.session_ids_xcom
        # Nothing is told before that, and the task may still be storing them.
        await asyncio.sleep(max(0.0, (datetime.fromisoformat(self.earliest) - datetime.now(UTC)).total_seconds()))
        failed_looks = FailedLooks()
        thread = BackgroundThread("wts-xcom")
        try:
            while True:
                try:
                    return await thread.run(lambda: handed_over(place))
                except WtsError:
                    raise
                except Exception as error:
                    # Airflow's API server or database may just be restarting.
                    failure = WtsError(f"The session ids cannot be read from Airflow ({type(error).__name__}).")
                if failed_looks.failed(failure):
                    raise failure
                await asyncio.sleep(self.poll_interval)
        finally:
            thread.close()


def _event(outcome: str, counts: dict[str, int], message: str, *, final: bool = False) -> TriggerEvent:
    return TriggerEvent(  # type: ignore[no-untyped-call]
        {"outcome": outcome, "counts": counts, "message": message, "final": final}
    )


def _end_of_wait(
    wts_conn_id: str,
    wait: SessionsWait,
    judge: Callable[[dict[str, Snapshot]], tuple[WaitState, str]],
    *,
    poll_interval: float,
    earliest: datetime,
    deadline: datetime,
    changed_since: datetime | None = None,
) -> Coroutine[Any, Any, End]:
    """Wait for sessions; no coroutine of its own, because each waiting one costs memory."""

    def subscription() -> SessionSubscription:
        return SessionSubscription(
            wait.session_ids,
            [*wait.target_status, *wait.failed_status],
            since=changed_since or earliest - timedelta(seconds=EARLIEST_FIRING),
            interval=poll_interval,
        )

    return end_of_wait(
        wts_conn_id,
        subscription,
        judge,
        earliest=earliest,
        deadline=deadline,
    )


def _statuses(seen: dict[str, Snapshot]) -> dict[str, str]:
    return {session_id: one.status for session_id, one in seen.items()}


def session_trigger(
    wait: SessionWait, *, wts_conn_id: str, poll_interval: float, timeout: float
) -> tuple[WtsSessionTrigger, timedelta]:
    """Return the trigger that goes on waiting for a session, and Airflow's timeout for it.

    :param wait: what is waited for.
    :param wts_conn_id: the Airflow connection.
    :param poll_interval: seconds between two looks.
    :param timeout: seconds that are left for the whole wait.
    """
    # airflow.triggers is heavy, and only a task that defers needs it.

    earliest, deadline, longest = times_of_deferral(timeout)
    trigger = WtsSessionTrigger(
        wts_conn_id=wts_conn_id,
        session_id=wait.session_id,
        target_status=list(wait.target_status),
        failed_status=list(wait.failed_status),
        poll_interval=poll_interval,
        earliest=earliest,
        deadline=deadline,
    )
    return trigger, longest


def sessions_trigger(
    wait: SessionsWait,
    context: Context,
    *,
    wts_conn_id: str,
    poll_interval: float,
    timeout: float,
    changed_since: datetime,
) -> tuple[WtsSessionsTrigger, timedelta]:
    """Return the trigger that goes on waiting for some sessions, and Airflow's timeout for it.

    :param wait: what is waited for.
    :param context: the task's context.
    :param wts_conn_id: the Airflow connection.
    :param poll_interval: seconds between two looks.
    :param timeout: seconds that are left for the whole wait.
    :param changed_since: moment from which on the sessions may have changed.
    """
    ids, place = list(wait.session_ids), None
    if len(ids) > MOST_IN_ARGUMENTS:
        ids, place = [], _handed_over(context, ids)
    earliest, deadline, longest = times_of_deferral(timeout)
    trigger = WtsSessionsTrigger(
        wts_conn_id=wts_conn_id,
        session_ids=ids,
        session_ids_xcom=place,
        needed=wait.needed,
        target_status=list(wait.target_status),
        failed_status=list(wait.failed_status),
        poll_interval=poll_interval,
        earliest=earliest,
        deadline=deadline,
        changed_since=changed_since.isoformat(),
    )
    return trigger, longest
