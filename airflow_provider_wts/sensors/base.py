"""What all WTS Chat sensors share: the connection, blips that do not end a wait, and leaving the worker."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_wts.api.errors import WtsError
from airflow_provider_wts.hooks.failures import readable_failures
from airflow_provider_wts.hooks.wts import WtsHook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow.sdk import Context

    from airflow_provider_wts.waiting.session import FailedLooks

T = TypeVar("T")


class WtsSensor(BaseSensorOperator):
    """Base of the sensors.

    They look once on the worker, in every mode. Errors that pass (network, 5xx) are tolerated a few times in a row; a
    refusal, such as a wrong token, ends the wait at once. ``timeout`` is the total wait in seconds in every mode, 7
    days unless Airflow is configured otherwise; ``soft_fail`` skips in every mode.

    :param wts_conn_id: id of the Airflow connection (templated).
    :param deferrable: wait in the triggerer and hold no worker slot meanwhile. The first look there comes 20 s after
        the task deferred.
    """

    template_fields: Sequence[str] = ("wts_conn_id",)
    ui_color = "#e3f6ec"

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

    @cached_property
    def hook(self) -> WtsHook:
        """The hook of this task's connection."""
        return WtsHook(self.wts_conn_id)

    @cached_property
    def failed_looks(self) -> FailedLooks:
        """Failed looks in a row."""
        from airflow_provider_wts.waiting.session import FailedLooks

        return FailedLooks()

    def look(self, read: Callable[[], T]) -> T | None:
        """Read something from the API; ``None`` where it failed in a way that passes.

        :param read: reads it.
        :raises AirflowFailException: when the API refuses.
        :raises WtsError: when it failed several times in a row.
        """
        try:
            with readable_failures():
                answer = read()
        except WtsError as error:
            if self.failed_looks.failed(error):
                raise
            return None
        self.failed_looks.succeeded()
        return answer

    def not_yet(self, context: Context) -> PokeReturnValue:
        """Go on waiting: here, or in the triggerer.

        :param context: the task's context.
        """
        if self.deferrable:
            self.leave_worker(context)
        return PokeReturnValue(is_done=False)

    def leave_worker(self, context: Context) -> None:
        """Defer to the trigger of this sensor.

        :param context: the task's context.
        """
        raise NotImplementedError

    def fail_unless_reached(self, told: Mapping[str, Any]) -> None:
        """Raise what an event says, unless it says that the wait is over.

        :param told: the event, checked.
        :raises AirflowSensorTimeout: when the time was over.
        :raises AirflowFailException: when the wait ended badly.
        :raises WtsError: when the API could not be asked several times in a row.
        """
        if told["outcome"] == "timeout":
            raise AirflowSensorTimeout(f"{told['message']} The sensor's timeout is {self.timeout:.0f} s.")
        if told["outcome"] == "error" and not told.get("final"):
            raise WtsError(str(told["message"]))
        if told["outcome"] != "reached":
            raise AirflowFailException(str(told["message"]))
