"""The kinds of errors, by what a caller can do about them."""

from __future__ import annotations

import pytest

from airflow_provider_wts.api import errors
from airflow_provider_wts.hooks.errors import is_final


@pytest.mark.parametrize(
    ("kind", "parent"),
    [
        (errors.WtsInvalidRequestError, ValueError),
        (errors.WtsNameError, errors.WtsInvalidRequestError),
        (errors.WtsAuthenticationError, errors.WtsRejectedError),
        (errors.WtsNotFoundError, errors.WtsRejectedError),
        (errors.WtsUnreachableError, errors.WtsNotSentError),
        (errors.WtsRateLimitError, errors.WtsNotSentError),
    ],
)
def test_a_kind_can_be_caught_as_its_family(kind: type[Exception], parent: type[Exception]) -> None:
    assert issubclass(kind, parent)
    assert issubclass(kind, errors.WtsError)


def test_a_refusal_carries_what_the_api_said() -> None:
    error = errors.WtsRejectedError(
        "no", operation_id="send_text", status=500, key="FORM_ERROR", text="Não", short_id="A1"
    )
    assert (error.operation_id, error.status, error.key, error.text, error.short_id) == (
        "send_text",
        500,
        "FORM_ERROR",
        "Não",
        "A1",
    )
    assert str(error) == "no"


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (errors.WtsInvalidRequestError("x"), True),
        (errors.WtsRejectedError("x"), True),
        (errors.WtsAuthenticationError("x"), True),
        (errors.WtsNotFoundError("x"), True),
        (errors.WtsUnreachableError("x"), True),
        (errors.WtsUnknownOutcomeError("x", repeatable=False), True),
        (errors.WtsUnknownOutcomeError("x", repeatable=True), False),
        (errors.WtsNotSentError("x"), False),
        (errors.WtsRateLimitError("x", retry_after=5), False),
    ],
)
def test_another_try_of_the_task_makes_sense_only_where_it_can_help_and_does_no_harm(
    error: errors.WtsError, final: bool
) -> None:
    assert is_final(error) is final
