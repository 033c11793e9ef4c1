"""How an API error ends a task: whether and when Airflow retries, and what people read."""

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
    """Turn errors that a retry cannot fix into ``AirflowFailException``, so that no retries are spent on them.

    These are invalid input, a refusal, a wrong address, and a send with an unknown outcome, which may have reached the
    customer and is not resent automatically. Other errors pass as they are.

    :raises AirflowFailException: with the same text.
    """
    try:
        yield
    except WtsError as error:
        if not is_final(error):
            raise
        # The text says everything; a second traceback would only bury it.
        raise AirflowFailException(str(error), *getattr(error, "__notes__", ())) from None


def is_final(error: WtsError) -> bool:
    """Whether a retry cannot help, or could do harm."""
    if isinstance(error, WtsUnknownOutcomeError):
        return not error.repeatable
    return isinstance(error, (WtsInvalidRequestError, WtsRejectedError, WtsUnreachableError))


def use_retry_policy(operator: BaseOperator) -> None:
    """Give a task our retry policy, if this Airflow has retry policies and the DAG author set none.

    Call it after the operator's ``__init__``: mapped tasks would lose a default in the signature, which would also
    override ``default_args``.
    """
    if getattr(operator, "retry_policy", NotImplemented) is None:
        operator.retry_policy = _policy()


@cache
def _policy() -> Any:
    from airflow.sdk import RetryDecision, RetryPolicy

    class WtsRetryPolicy(RetryPolicy):
        """Retries when the rate limit resets, without using up a retry from Airflow 3.4 on."""

        def evaluate(
            self, exception: BaseException, try_number: int, max_tries: int, context: Any = None
        ) -> RetryDecision:
            """Decide whether and when to retry."""
            if not isinstance(exception, WtsRateLimitError):
                return RetryDecision.default()
            delay, reason = timedelta(seconds=exception.retry_after), "the account's rate limit"
            if not hasattr(RetryDecision, "reschedule"):
                return RetryDecision.retry(delay, reason)
            from airflow_provider_wts.api.client import RATE_LIMIT_WAIT

            # Counted from the first reschedule, for as long as a call waits for the limit. Then a retry is used.
            bound = timedelta(seconds=RATE_LIMIT_WAIT)
            decision: RetryDecision = RetryDecision.reschedule(delay, reschedule_timeout=bound, reason=reason)
            return decision

        def serialize(self) -> dict[str, Any]:
            """Return no state."""
            return {}

        @classmethod
        def deserialize(cls, data: dict[str, Any]) -> RetryPolicy:
            """Create a policy."""
            return cls()

    return WtsRetryPolicy()
