"""Base of the sensors: the connection, tolerance of failed checks, and deferral."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_wts.api.errors import WtsError, WtsRejectedError, WtsUnreachableError
from airflow_provider_wts.hooks.errors import use_retry_policy
from airflow_provider_wts.hooks.nested import within_task
from airflow_provider_wts.hooks.templates import RenderedParameters
from airflow_provider_wts.hooks.wts import WtsHook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow.sdk import Context

    from airflow_provider_wts.triggers.base import WtsWaitTrigger
    from airflow_provider_wts.waiting.conditions import FailedChecks, WaitState
    from airflow_provider_wts.waiting.deferral import Times

T = TypeVar("T")

#: Seconds that a check may wait for the rate limit after ``timeout``.
_LAST_WAIT = 10.0


class Check(NamedTuple):
    """What a check of a sensor found: whether the wait is over, a sentence about it, and what the task returns."""

    verdict: WaitState
    words: str
    value: Any = None


class WtsSensor(RenderedParameters, BaseSensorOperator):
    """Base of the sensors.

    In every mode, a sensor first checks on the worker. It tolerates a few failed checks (network, 5xx, a web page) in a
    row. Only a refused token, or a session or message that does not exist, ends the wait immediately. ``timeout`` is
    the total wait in seconds in every mode; 7 days unless Airflow is configured otherwise. ``soft_fail`` skips the task
    only if ``timeout`` passes.

    :param wts_conn_id: ID of the Airflow connection (templated).
    :param deferrable: wait in the triggerer, without holding a worker slot. The first poll there comes 20 s after the
        task defers. With ``mode="reschedule"``, checks are at least 20 s apart.
    :param kwargs: what Airflow's sensors take: ``poke_interval``, ``timeout``, ``mode``, ``soft_fail`` and more.
    :raises AirflowSensorTimeout: when ``timeout`` passes first.
    """

    not_templated = frozenset({"deferrable"})
    ui_color = "#e3f6ec"
    #: The key of the trigger's event that identifies what it is about.
    event_is_about: ClassVar[str] = "session_id"

    def __init__(
        self,
        *,
        wts_conn_id: str = WtsHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.wts_conn_id = wts_conn_id
        self.deferrable = deferrable
        self._last_words = ""
        #: When the wait ends, by ``time.monotonic``.
        self._ends_at = math.inf
        self._limited_for = 0.0
        use_retry_policy(self)

    @cached_property
    def hook(self) -> WtsHook:
        """The hook of this task's connection."""
        return WtsHook(self.wts_conn_id)

    @cached_property
    def failed_checks(self) -> FailedChecks:
        """Failed checks in a row."""
        from airflow_provider_wts.waiting.conditions import FailedChecks

        return FailedChecks()

    def check(self, context: Context) -> Check:
        """Check once whether the wait is over."""
        raise NotImplementedError

    def subject(self) -> str:
        """Return what the sensor waits for, in words."""
        return "What the task waits for"

    def trigger(self, context: Context, times: Times) -> WtsWaitTrigger:
        """Return the trigger that continues the wait."""
        raise NotImplementedError

    def leave_worker(self, context: Context, timeout: float | None = None) -> None:
        """Defer to the trigger of this sensor, for all of the wait unless fewer seconds are left."""
        from airflow_provider_wts.waiting.deferral import times_of_deferral

        times, longest = times_of_deferral(self.poke_interval, self.timeout if timeout is None else timeout)
        self.defer(trigger=self.trigger(context, times), method_name="execute_complete", timeout=longest)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        from airflow_provider_wts.waiting.deferral import checked_event

        checked = checked_event(event, self.event_is_about)
        self.take_back(context, checked)
        return self.reached(context, checked) if checked["outcome"] == "reached" else self.end(context, checked)

    def take_back(self, context: Context, event: Mapping[str, Any]) -> None:
        """Take from an event what the rest of the task needs, however the wait ended."""

    def reached(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Return the result of a wait whose target the trigger saw."""
        return self.seen_again(lambda: self.check(context)).value

    def poke(self, context: Context) -> PokeReturnValue:
        """Check once; a deferrable sensor then leaves the worker unless the wait is over."""
        from airflow_provider_wts.waiting.conditions import WaitState

        found = self.tolerant(lambda: self.check(context))
        if found is not None:
            self._last_words = found.words
            if found.verdict is WaitState.FAILED:
                raise AirflowFailException(found.words)
            self.log.info(found.words)
            if found.verdict is WaitState.REACHED:
                return PokeReturnValue(is_done=True, xcom_value=found.value)
        if self.deferrable and (left := min(self._ends_at - time.monotonic(), self.timeout)) > 0:
            self.leave_worker(context, math.ceil(left))
        return PokeReturnValue(is_done=False)

    def _get_next_poke_interval(self, *args: Any, **kwargs: Any) -> float:
        from airflow_provider_wts.waiting.deferral import EARLIEST_FIRING

        seconds: float = super()._get_next_poke_interval(*args, **kwargs)
        # Not before the rate limit resets, and the last check when the time is over.
        seconds = min(max(seconds, self._limited_for), max(self._ends_at - time.monotonic(), 0.0))
        # Not sooner: the scheduler may fail a task that returns while its previous end is still being recorded.
        return max(seconds, EARLIEST_FIRING) if self.reschedule else seconds

    def tolerant(self, read: Callable[[], T]) -> T | None:
        """Read something from the API; ``None`` if that failed and the wait continues."""
        while True:
            try:
                answer = self.result(read)
            except WtsError as error:
                if self.failed_checks.failed(error):
                    raise
                self._last_words = self._last_words or str(error)
                self._limited_for = getattr(error, "retry_after", 0.0)
                over = time.monotonic() >= self._ends_at
                lasts = isinstance(error, (WtsRejectedError, WtsUnreachableError))
                if over or not self.reschedule or not lasts:
                    return None
                # After a reschedule, it would not remember this failure.
                self.pause()
            else:
                self.failed_checks.succeeded()
                self._limited_for = 0.0
                return answer

    def seen_again(self, read: Callable[[], T]) -> T:
        """Read what the trigger saw: some failed checks in a row must not end the wait now."""
        while (answer := self.tolerant(read)) is None:
            self.pause()
        return answer

    def pause(self) -> None:
        """Sleep between two attempts of the same check."""
        from airflow_provider_wts.waiting.conditions import PAUSE

        time.sleep(min(self.poke_interval, PAUSE))

    def result(self, read: Callable[[], T]) -> T:
        """Read something. If the token is refused, read the connection again and retry once."""
        from airflow_provider_wts.waiting.conditions import read_for

        return read_for(self, read, self.subject, until=max(self._ends_at, time.monotonic() + _LAST_WAIT))

    def execute(self, context: Context) -> Any:
        began = self._began_before(context)
        spent = (datetime.now(UTC) - began).total_seconds() if began else 0.0
        self._ends_at = time.monotonic() + self.timeout - spent
        try:
            return within_task(super().execute)(context)
        except AirflowSensorTimeout:
            raise AirflowSensorTimeout(self._too_late()) from None
        except AirflowSkipException as skip:
            raise self._unless_too_late(skip) from None

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the trigger, or after Airflow's own timeout of the deferral."""
        try:
            return self._resumed(next_method, next_kwargs, context)
        except AirflowSensorTimeout as error:
            if self.soft_fail:
                raise self._skipped(str(error)) from None
            raise
        except AirflowException as error:
            if self.never_fail:
                raise self._skipped(f"{error} The task is skipped, because never_fail is True.") from None
            raise

    def _resumed(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        try:
            # Not the base sensor's, which skips a task with soft_fail for any error.
            return super(BaseSensorOperator, self).resume_execution(next_method, next_kwargs, context)
        except AirflowException as error:
            # Before Airflow 3, there is no specific class.
            if not type(error).__name__.startswith("TaskDeferral") or "timeout" not in str(error).lower():
                raise
        # The trigger did not report in time, so the last check is still missing.
        found = self.last_check(context)
        if found is not None:
            return found.value
        raise AirflowSensorTimeout(self._too_late())

    def end(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Return the result of an event, or raise its error unless one last check shows that the wait is over."""
        from airflow_provider_wts.waiting.deferral import error_of

        self._last_words = str(event["message"])
        if event["outcome"] != "failed" and (found := self.last_check(context)) is not None:
            return found.value
        if event["outcome"] == "timeout":
            raise AirflowSensorTimeout(self._too_late())
        raise error_of(event)

    def last_check(self, context: Context) -> Check | None:
        """Check once more, and return the result if the wait is over; fail if it failed."""
        from airflow_provider_wts.waiting.conditions import WaitState

        self._ends_at = time.monotonic()
        try:
            found = self.result(lambda: self.check(context))
        except WtsError as error:
            self.log.warning("The last check failed: %s", error)
            return None
        self._last_words = found.words
        if found.verdict is WaitState.FAILED:
            raise AirflowFailException(found.words)
        return found if found.verdict is WaitState.REACHED else None

    def _began_before(self, context: Context) -> datetime | None:
        """Return when the wait began, if this is a later check of a rescheduled sensor."""
        if not self.reschedule:
            return None
        task_instance: Any = context["ti"]
        if hasattr(task_instance, "get_first_reschedule_date"):
            first = task_instance.get_first_reschedule_date(context)
        else:
            # On Airflow 2.11, this is the start of the first check.
            first = getattr(task_instance, "start_date", None)
        return first if isinstance(first, datetime) else None

    def _too_late(self) -> str:
        return f"{self._last_words} The sensor's timeout is {self.timeout:.0f} s.".lstrip()

    def _unless_too_late(self, skip: AirflowSkipException) -> AirflowException:
        """Return what to raise instead of a skip: the error, unless ``timeout`` has passed."""
        if self.soft_fail and isinstance(skip.__cause__, AirflowFailException):
            return skip.__cause__
        if self.soft_fail and skip.__cause__ is None:
            return self._skipped(self._too_late())
        return self._skipped(str(skip.__cause__ or skip))

    def _skipped(self, reason: str) -> AirflowSkipException:
        # Airflow's own log line about a skipped task has no reason.
        self.log.warning(reason)
        return AirflowSkipException(reason)
