"""Where Airflow 3.3 and later asks a task how to go on after an error: the rate limit says when."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.errors import WtsRateLimitError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator


def use_retry_policy(operator: BaseOperator) -> None:
    """Give a task our retry policy, where this Airflow has such a thing and the DAG author set none.

    Done after the operator is made: a default in the signature is lost by mapped tasks, and overrides
    ``default_args``.

    :param operator: the task.
    """
    if getattr(operator, "retry_policy", NotImplemented) is None:
        operator.retry_policy = _policy()


@cache
def _policy() -> Any:
    from airflow.sdk import RetryDecision, RetryPolicy

    class WtsRetryPolicy(RetryPolicy):
        """Tries again when the rate limit says so; everything else is as the task says."""

        def evaluate(
            self, exception: BaseException, try_number: int, max_tries: int, context: Any = None
        ) -> RetryDecision:
            """Decide how to go on."""
            if isinstance(exception, WtsRateLimitError):
                return RetryDecision.retry(timedelta(seconds=exception.retry_after), "the account's rate limit")
            return RetryDecision.default()

        def serialize(self) -> dict[str, Any]:
            """Return nothing: there is no state."""
            return {}

        @classmethod
        def deserialize(cls, data: dict[str, Any]) -> RetryPolicy:
            """Return a policy."""
            return cls()

    return WtsRetryPolicy()
