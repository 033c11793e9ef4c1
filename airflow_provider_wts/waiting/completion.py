"""Waiting for the end of a session within the task that opened it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_wts.api.errors import WtsError
from airflow_provider_wts.hooks.failures import readable_failures
from airflow_provider_wts.waiting.session import FailedLooks, SessionWait, Verdict

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator

    from airflow_provider_wts.api.types import SessionV2
    from airflow_provider_wts.hooks.wts import WtsHook


def wait_until_completed(hook: WtsHook, wait: SessionWait, *, poll_interval: float, timeout: float) -> SessionV2:
    """Wait on the worker.

    :param hook: the hook of the task's connection.
    :param wait: what is waited for.
    :param poll_interval: seconds between two looks.
    :param timeout: seconds for the whole wait.
    :return: the session as it stands at the end.
    :raises AirflowFailException: when the time is over, or the API refuses to tell.
    :raises WtsError: when the API could not be asked several times in a row.
    """
    from airflow_provider_wts.api.sessions import get_session

    deadline = time.monotonic() + timeout
    failed_looks = FailedLooks()
    status = None
    while True:
        try:
            with readable_failures():
                session = hook.run(get_session(wait.session_id))
        except WtsError as error:
            if failed_looks.failed(error):
                raise
        else:
            failed_looks.succeeded()
            status = session.get("status")
            if wait.verdict(session) is Verdict.REACHED:
                return session
        left = deadline - time.monotonic()
        if left <= 0:
            raise AirflowFailException(_too_late(wait.session_id, status))
        time.sleep(min(poll_interval, left))


def defer_until_completed(
    operator: BaseOperator, wait: SessionWait, *, wts_conn_id: str, poll_interval: float, timeout: float
) -> NoReturn:
    """Leave the worker and wait in the triggerer.

    :param operator: the task; its ``execute_complete`` is called at the end.
    :param wait: what is waited for.
    :param wts_conn_id: the Airflow connection.
    :param poll_interval: seconds between two looks.
    :param timeout: seconds for the whole wait.
    """
    from airflow_provider_wts.waiting.deferral import session_trigger

    trigger, longest = session_trigger(wait, wts_conn_id=wts_conn_id, poll_interval=poll_interval, timeout=timeout)
    operator.defer(trigger=trigger, method_name="execute_complete", timeout=longest)
    raise AssertionError("defer() does not return")


def completed_event(hook: WtsHook, event: Any) -> SessionV2:
    """Return the session that a trigger waited for.

    :param hook: the hook of the task's connection.
    :param event: what the trigger sent.
    :return: the session as it stands at the end.
    :raises AirflowFailException: when it did not complete in time, or the API refuses to tell.
    :raises WtsError: when the API could not be asked several times in a row, or the event makes no sense.
    """
    from airflow_provider_wts.api.sessions import get_session
    from airflow_provider_wts.waiting.deferral import checked_event

    told = checked_event(event, "session_id")
    if told["outcome"] == "reached":
        with readable_failures():
            return hook.run(get_session(told["session_id"]))
    if told["outcome"] == "timeout":
        raise AirflowFailException(_too_late(told["session_id"], told.get("status")))
    if told["outcome"] == "error" and not told.get("final"):
        raise WtsError(str(told["message"]))
    raise AirflowFailException(str(told["message"]))


def _too_late(session_id: str, status: str | None) -> str:
    return (
        f"Session {session_id} is still {status} at the end of completion_timeout. The chatbot was sent; it is "
        "not sent again. To go on waiting, use WtsSessionSensor with this session."
    )
