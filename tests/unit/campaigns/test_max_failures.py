"""How many messages of a campaign may fail: a count or a share, in every spelling."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.campaigns.run import failure_limit


@pytest.mark.parametrize(
    ("value", "most"),
    [
        (None, None),
        ("", None),
        (float("nan"), None),
        (0, 0),
        (1, 1),
        (50, 50),
        ("50", 50),
        (" 50 ", 50),
        (0.05, 10),
        ("0.05", 10),
        ("5%", 10),
        ("5 %", 10),
        ("0%", 0),
        (0.0, 0),
        # A share of 1 is all of them, and a count of 1 is one message.
        (1.0, 200),
        ("1.0", 200),
        ("100%", 200),
    ],
    ids=repr,
)
def test_a_count_stays_and_a_share_is_of_the_recipients(value: Any, most: float | None) -> None:
    assert failure_limit(value, 200) == most


@pytest.mark.parametrize("value", [True, False, -1, "-1", "-1%", 1.5, "1.5", "101%", "many", "%"], ids=repr)
def test_what_is_neither_is_refused(value: Any) -> None:
    with pytest.raises(WtsInvalidRequestError, match=r"max_failures: .* must be a count or a share. Nothing was sent"):
        failure_limit(value, 200)
