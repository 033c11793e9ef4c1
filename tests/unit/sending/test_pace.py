"""How many messages go out in a minute."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_wts.sending.pace import Pace


class Clock:
    """A clock that goes on when somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def sent(per_minute: int, chunks: list[tuple[int, float]]) -> list[tuple[float, float, int]]:
    """Send chunks of so many messages, each of which takes so long; return when each began, ended and its size."""
    clock = Clock()
    pace = Pace(per_minute, sleep=clock.sleep)
    found = []
    with patch("airflow_provider_wts.sending.pace.seconds", lambda: clock.now):
        for number, (wanted, lasts) in enumerate(chunks):
            sends = [f"{number}-{place}" for place in range(min(wanted, pace.most_at_once))]
            assert pace.take(dict.fromkeys(sends, "+55|11999990001")) == {}
            began = clock.now
            clock.now += lasts
            pace.settle(sends, [])
            found.append((began, clock.now, len(sends)))
    return found


@given(st.integers(1, 500), st.lists(st.tuples(st.integers(1, 50), st.floats(0.0, 90.0)), max_size=60))
def test_no_minute_has_more_messages_than_allowed(per_minute: int, chunks: Any) -> None:
    found = sent(per_minute, chunks)
    for began, _, _ in found:
        # However the messages of a chunk are spread over its time, those that may be in one minute are few enough.
        within = [size for start, end, size in found if end > began - 60 + 1e-6 and start <= began]
        assert sum(within) <= per_minute


@pytest.mark.parametrize("per_minute", [1, 7, 60, 1000])
def test_a_campaign_takes_about_as_long_as_its_pace_says(per_minute: int) -> None:
    size = max(1, per_minute // 12)
    found = sent(per_minute, [(size, 0.01)] * 100)
    minutes = (found[-1][1] - found[0][0]) / 60
    assert minutes == pytest.approx(99 * size / per_minute, rel=0.1)


def test_messages_come_in_even_steps() -> None:
    found = sent(60, [(5, 0.0)] * 20)
    gaps = {round(later[0] - earlier[1], 6) for earlier, later in pairwise(found)}
    assert gaps == {5.0}
