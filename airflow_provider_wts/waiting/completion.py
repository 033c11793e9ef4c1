"""Waiting for the end of a session within the task that opened it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_wts.api.errors import WtsError
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.waiting.session import FailedLooks, SessionWait, Verdict, ends_wait, refuses_token

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator

    from airflow_provider_wts.api.types import SessionV2


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
    deadline = time.monotonic() + timeout
    failed_looks = FailedLooks()
    status = None
    while True:
        try:
            session: SessionV2 | None = _session(hook, wait.session_id)
        except WtsError as error:
            if refuses_token(error):
                # It may have been replaced in Airflow. If that one is refused, too, the wait is over.
                hook = WtsHook(hook.wts_conn_id)
                session = _session_at_once(hook, wait.session_id)
            elif failed_looks.failed(error):
                raise
            else:
                session = None
        if session is not None:
            failed_looks.succeeded()
            status = session.get("status")
            if wait.verdict(session)[0] is Verdict.REACHED:
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
    from airflow_provider_wts.waiting.deferral import checked_event

    told = checked_event(event, "session_id")
    session_id, status, words = told["session_id"], told.get("status"), str(told["message"])
    if told["outcome"] == "failed":
        raise AirflowFailException(words)
    try:
        session = _session_at_once(hook, session_id)
    except WtsError:
        if told["outcome"] == "reached":
            raise
    else:
        status = session.get("status")
        if told["outcome"] == "reached" or SessionWait(session_id).verdict(session)[0] is Verdict.REACHED:
            return session
    if told["outcome"] == "timeout":
        raise AirflowFailException(_too_late(session_id, status))
    if told.get("final"):
        raise AirflowFailException(words)
    raise WtsError(words)


def _session(hook: WtsHook, session_id: str) -> SessionV2:
    from airflow_provider_wts.api.sessions import get_session

    try:
        return hook.run(get_session(session_id))
    except WtsError as error:
        if refuses_token(error) or not ends_wait(error):
            raise
        raise AirflowFailException(f"Session {session_id} cannot be found. {error}") from None


def _session_at_once(hook: WtsHook, session_id: str) -> SessionV2:
    try:
        return _session(hook, session_id)
    except WtsError as error:
        if not refuses_token(error):
            raise
        raise AirflowFailException(str(error)) from None


def _too_late(session_id: str, status: str | None) -> str:
    return (
        f"Session {session_id} is still {status or 'of unknown status'} at the end of completion_timeout. The chatbot "
        "was sent; it is not sent again. To wait longer, use WtsSessionSensor with this session."
    )
