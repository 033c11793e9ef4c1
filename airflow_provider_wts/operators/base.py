"""Base of the operators: the connection, and how errors end a task."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_wts.hooks.errors import task_failures, use_retry_policy
from airflow_provider_wts.hooks.templates import RenderedParameters
from airflow_provider_wts.hooks.wts import WtsHook

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_wts.api.call import Call

T = TypeVar("T")


class WtsOperator(RenderedParameters, BaseOperator):
    """Base of the operators that call the WTS Chat API.

    :param wts_conn_id: ID of the Airflow connection of type ``wts`` (templated).
    :raises AirflowFailException: when the input is invalid, or the API refuses.
    :raises WtsError: when a retry may help.
    """

    ui_color = "#e3f6ec"

    def __init__(self, *, wts_conn_id: str = WtsHook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.wts_conn_id = wts_conn_id
        use_retry_policy(self)

    @cached_property
    def hook(self) -> WtsHook:
        """The hook of this task's connection."""
        return WtsHook(self.wts_conn_id)

    def on_kill(self) -> None:
        """End the task immediately when Airflow kills it; the next try finds out what it was about to send."""
        from airflow_provider_wts.hooks.termination import end_task

        super().on_kill()
        end_task()

    def build_call(self) -> Call[Any]:
        """Check the parameters, and return the operator's call; an invalid parameter costs no request."""
        raise NotImplementedError

    def execute(self, context: Context) -> Any:
        """Perform the call."""
        with task_failures():
            return self.hook.run(self.build_call())

    def run_call(self, call: Call[T]) -> T:
        """Perform a call; an error that no retry can fix fails the task immediately."""
        with task_failures():
            return self.hook.run(call)
