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
