"""The sensor that waits for a session."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_wts.api.errors import WtsError
from airflow_provider_wts.api.sessions import get_session
from airflow_provider_wts.hooks.failures import readable_failures
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.links.session import SESSION_URL_KEY, WtsSessionLink
from airflow_provider_wts.waiting.deferral import checked_event, session_trigger
from airflow_provider_wts.waiting.session import FailedLooks, SessionWait, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_provider_wts.api.types import SessionV2


class WtsSessionSensor(BaseSensorOperator):
    """Wait until a session reaches a status.

    Looks once on the worker, in every mode. Errors that pass (network, 5xx) are tolerated a few times in a row; a
    refusal, such as a wrong token, ends the wait at once. Calls ``get_session``.

    :param session_id: id of the session (templated).
    :param target_status: status that ends the wait well, or several: ``STARTED``, ``PENDING``, ``IN_PROGRESS``,
        ``COMPLETED``, ``HIDDEN`` (templated).
    :param failed_status: status that fails the task at once, or several (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :param deferrable: wait in the triggerer and hold no worker slot meanwhile. The first look there comes 20 s after
        the task deferred. ``timeout`` is the total wait in seconds in every mode, 7 days by default.
    :return: the session, as ``get_session`` answers it.
    :raises AirflowFailException: when the session reaches ``failed_status``, or the API refuses.
    :raises AirflowSensorTimeout: when ``timeout`` passes first.
    """

    template_fields: Sequence[str] = ("wts_conn_id", "session_id", "target_status", "failed_status")
    operator_extra_links = (WtsSessionLink(),)
    ui_color = "#e3f6ec"

    def __init__(
        self,
        *,
        session_id: str,
        target_status: str | Sequence[str] = "COMPLETED",
        failed_status: str | Sequence[str] = (),
        wts_conn_id: str = WtsHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.session_id = session_id
        self.target_status = target_status
        self.failed_status = failed_status
        self.wts_conn_id = wts_conn_id
        self.deferrable = deferrable

    @cached_property
    def hook(self) -> WtsHook:
        """The hook of this task's connection."""
        return WtsHook(self.wts_conn_id)

    @cached_property
    def failed_looks(self) -> FailedLooks:
        """Failed looks in a row."""
        return FailedLooks()

    def poke(self, context: Context) -> PokeReturnValue:
        """Look at the session once; a deferrable sensor leaves the worker when there is reason to wait.

        :param context: the task's context.
        """
        wait = self._wait()
        try:
            with readable_failures():
                session = self.hook.run(get_session(wait.session_id))
        except WtsError as error:
            if self.failed_looks.failed(error):
                raise
            session = {}
        else:
            self.failed_looks.succeeded()
            context["ti"].xcom_push(key=SESSION_URL_KEY, value=session.get("previewUrl"))
            self.log.info("Session %s is %s.", wait.session_id, session.get("status"))
            verdict = wait.verdict(session)
            if verdict is Verdict.FAILED:
                raise AirflowFailException(f"Session {wait.session_id} is {session.get('status')}.")
            if verdict is Verdict.REACHED:
                return PokeReturnValue(is_done=True, xcom_value=session)
        if self.deferrable:
            self._defer(wait)
        return PokeReturnValue(is_done=False)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> SessionV2:
        """Take the wait back from the trigger.

        :param context: the task's context.
        :param event: what the trigger sent.
        :return: the session.
        """
        told = checked_event(event)
        if told["outcome"] == "reached":
            with readable_failures():
                return self.hook.run(get_session(told["session_id"]))
        if told["outcome"] == "timeout":
            raise AirflowSensorTimeout(f"{told['message']} The sensor's timeout is {self.timeout:.0f} s.")
        if told["outcome"] == "error" and not told.get("final"):
            raise WtsError(str(told["message"]))
        raise AirflowFailException(str(told["message"]))

    def _wait(self) -> SessionWait:
        with readable_failures():
            return SessionWait.of(self.session_id, self.target_status, self.failed_status)

    def _defer(self, wait: SessionWait) -> NoReturn:
        trigger, timeout = session_trigger(
            wait, wts_conn_id=self.wts_conn_id, poll_interval=self.poke_interval, timeout=self.timeout
        )
        self.defer(trigger=trigger, method_name="execute_complete", timeout=timeout)
        raise AssertionError("defer() does not return")
