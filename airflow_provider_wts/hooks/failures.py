"""How an error of the API ends a task: whether Airflow should try again, and what a person reads."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_wts.api.errors import (
    WtsError,
    WtsInvalidRequestError,
    WtsRejectedError,
    WtsUnknownOutcomeError,
    WtsUnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def readable_failures() -> Iterator[None]:
    """Turn errors that another try cannot mend into ``AirflowFailException``, so that no retries are spent on them.

    That holds for impossible input, a refusal, a wrong address, and a send with unknown outcome: that one may have
    reached the customer, and must not go out again by itself. Other errors pass as they are.

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
