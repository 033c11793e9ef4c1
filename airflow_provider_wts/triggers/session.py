"""The trigger that waits for a session."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_wts.api.errors import WtsError
from airflow_provider_wts.api.sessions import get_session
from airflow_provider_wts.hooks.failures import is_final
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.waiting.session import FailedLooks, SessionWait, Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_wts.api.types import SessionV2


class WtsSessionTrigger(BaseTrigger):
    """Looks at a session until it reaches a status; sends one event.

    The event is a dict with ``outcome`` (``reached``, ``failed``, ``timeout`` or ``error``), ``session_id``,
    ``status`` (the last one seen) and ``message``. It holds nothing that the contact wrote.

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
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "wts_conn_id": self.wts_conn_id,
                "session_id": self.session_id,
                "target_status": self.target_status,
                "failed_status": self.failed_status,
                "poll_interval": self.poll_interval,
                "earliest": self.earliest,
                "deadline": self.deadline,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, sleep, look again; send one event."""
        wait = SessionWait(self.session_id, tuple(self.target_status), tuple(self.failed_status))
        hook = WtsHook(self.wts_conn_id)
        failed_looks = FailedLooks()
        status = None
        await _sleep_until(datetime.fromisoformat(self.earliest))
        while True:
            try:
                session = await _read(hook, wait.session_id)
            except WtsError as error:
                if is_final(error) or failed_looks.failed(error):
                    yield self._event("error", status, str(error), final=is_final(error))
                    return
            else:
                failed_looks.succeeded()
                status = session.get("status")
                verdict = wait.verdict(session)
                if verdict is not Verdict.WAITING:
                    yield self._event(verdict.value, status, f"Session {wait.session_id} is {status}.")
                    return
            left = (datetime.fromisoformat(self.deadline) - datetime.now(UTC)).total_seconds()
            if left <= 0:
                yield self._event("timeout", status, f"Session {wait.session_id} is still {status}.")
                return
            await asyncio.sleep(min(self.poll_interval, left))

    def _event(self, outcome: str, status: str | None, message: str, *, final: bool = False) -> TriggerEvent:
        return TriggerEvent(  # type: ignore[no-untyped-call]
            {
                "outcome": outcome,
                "session_id": self.session_id,
                "status": status,
                "message": message,
                "final": final,
            }
        )


@cache
def _threads() -> ThreadPoolExecutor:
    # Not the loop's own threads: they also look names up for everybody else in the triggerer.
    return ThreadPoolExecutor(max_workers=2, thread_name_prefix="wts-poll")


async def _read(hook: WtsHook, session_id: str) -> SessionV2:
    # The connection is read in the thread, too: reading it here would block the event loop.
    return await asyncio.get_running_loop().run_in_executor(_threads(), hook.run, get_session(session_id))


async def _sleep_until(moment: datetime) -> None:
    await asyncio.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()))
