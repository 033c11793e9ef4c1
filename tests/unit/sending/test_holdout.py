"""Who is held out of a campaign."""

from __future__ import annotations

import math
from typing import Any

import pytest

from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.sending.holdout import Holdout, share_of

PEOPLE = [f"+55|119{10_000_000 + index:08d}" for index in range(100_000)]


def held_out(share: float, key: str) -> set[str]:
    holdout = Holdout(share, key)
    return {one for one in PEOPLE if holdout.refusal(one)}


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5])
def test_the_holdout_of_100000_people_is_within_three_sigma_of_its_share(share: float) -> None:
    sigma = math.sqrt(len(PEOPLE) * share * (1 - share))
    assert abs(len(held_out(share, "winter")) - len(PEOPLE) * share) < 3 * sigma


def test_the_holdouts_of_two_keys_are_independent() -> None:
    both = held_out(0.1, "winter") & held_out(0.1, "summer")
    assert abs(len(both) - 1000) < 3 * math.sqrt(1000)


def test_a_smaller_holdout_of_the_same_key_is_part_of_a_larger_one() -> None:
    assert held_out(0.05, "winter") < held_out(0.1, "winter")


def test_all_spellings_of_a_person_fall_together() -> None:
    holdout = Holdout(0.5, "winter")
    for index in range(1000):
        older, newer = f"+55|119{8_000_000 + index:07d}", f"+55|1199{8_000_000 + index:07d}"
        assert holdout.refusal(older) == holdout.refusal(newer)
    for index in range(100):
        assert holdout.refusal(f"@Maria{index}") == holdout.refusal(f"@maria{index}")


def test_the_holdout_is_the_same_on_every_machine() -> None:
    holdout = Holdout(0.5, "winter")
    refused = [bool(holdout.refusal(one)) for one in PEOPLE[:16]]
    assert refused == [bool(int(digit)) for digit in "1010101000100011"]


@pytest.mark.parametrize(
    ("value", "share"),
    [(None, None), (0, None), ("0", None), (0.1, 0.1), ("0.1", 0.1), ("10%", 0.1), (" 2.5 % ", 0.025), ("0%", None)],
)
def test_a_share_is_read(value: Any, share: float | None) -> None:
    assert share_of(value) == (share if share is None else pytest.approx(share))


@pytest.mark.parametrize("value", [1, "1", 10, "100%", -0.1, "a tenth", True, False, "0,1", "nan%", "inf"])
def test_a_share_that_may_be_meant_in_two_ways_is_refused(value: Any) -> None:
    with pytest.raises(WtsInvalidRequestError, match=r"holdout: .*Examples: 0.1 and '10%'"):
        share_of(value)
