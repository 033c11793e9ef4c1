"""How an error of the API ends a task: whether Airflow tries again, when, and what a person reads."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_wts.api.errors import (
    WtsError,
    WtsInvalidRequestError,
    WtsRateLimitError,
    WtsRejectedError,
    WtsUnknownOutcomeError,
    WtsUnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.common.compat.sdk import BaseOperator


@contextmanager
def task_failures() -> Iterator[None]:
    """Turn errors that another try cannot fix into ``AirflowFailException``, so that no retries are spent on them.

    That holds for impossible input, a refusal, a wrong address, and a send with unknown outcome: that one may have
    reached the customer, and is not resent automatically. Other errors pass as they are.

    :raises AirflowFailException: with the same text.
    """
    try:
        yield
    except WtsError as error:
        if not is_final(error):
            raise
        # The text says all; a second traceback would only bury it.
        raise AirflowFailException(str(error), *getattr(error, "__notes__", ())) from None


def is_final(error: WtsError) -> bool:
    """Whether trying the task again cannot help, or could do harm.

    :param error: what was raised.
    """
    if isinstance(error, WtsUnknownOutcomeError):
        return not error.repeatable
    return isinstance(error, (WtsInvalidRequestError, WtsRejectedError, WtsUnreachableError))


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
        """Tries again when the rate limit says so, on Airflow 3.4 without using a retry; else does as the task says."""

        def evaluate(
            self, exception: BaseException, try_number: int, max_tries: int, context: Any = None
        ) -> RetryDecision:
            """Decide how to go on."""
            if not isinstance(exception, WtsRateLimitError):
                return RetryDecision.default()
            delay, reason = timedelta(seconds=exception.retry_after), "the account's rate limit"
            if not hasattr(RetryDecision, "reschedule"):
                return RetryDecision.retry(delay, reason)
            from airflow_provider_wts.api.client import RATE_LIMIT_WAIT

            # From the first reschedule on, as long as a call waits for the limit; then a retry is used.
            bound = timedelta(seconds=RATE_LIMIT_WAIT)
            decision: RetryDecision = RetryDecision.reschedule(delay, reschedule_timeout=bound, reason=reason)
            return decision

        def serialize(self) -> dict[str, Any]:
            """Return nothing: there is no state."""
            return {}

        @classmethod
        def deserialize(cls, data: dict[str, Any]) -> RetryPolicy:
            """Return a policy."""
            return cls()

    return WtsRetryPolicy()
