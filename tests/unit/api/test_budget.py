"""The account's rate limits are kept, in every window and under every reading of the API's own windows."""

from __future__ import annotations

import bisect
import logging
import random
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_wts.api import budget
from airflow_provider_wts.api.budget import Budget, account_key
from airflow_provider_wts.api.contract import operations
from airflow_provider_wts.api.errors import WtsInvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_wts.api.contract import Operation

SEND, READ = operations()["send_text"], operations()["list_channels"]
REDIS = "redis://127.0.0.1:6379/0"


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(budget, "time", SimpleNamespace(monotonic=fake.monotonic, time=fake.monotonic))
    return fake


class Limited:
    """A budget that waits by a clock of the test."""

    def __init__(self, clock: FakeTime, account: str | None = None, **settings: Any) -> None:
        self._budget = Budget(account or uuid.uuid4().hex, **settings)
        self.sleep: Callable[[float], None] = clock.sleep

    def acquire(self, operation: Operation) -> float:
        return self._budget.acquire(operation, sleep=self.sleep)


def most_in_a_window(moments: list[float], seconds: float) -> int:
    """The most requests in any window of that length; a fixed window is one of them."""
    return max(
        (bisect.bisect_left(moments, moment + seconds) - place for place, moment in enumerate(moments)), default=0
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32), percent=st.sampled_from([100, 50, 7]), pause=st.sampled_from([0.0, 0.01, 0.1, 0.3, 2])
)
def test_no_window_ever_holds_more_than_its_limit(seed: int, percent: int, pause: float, clock: FakeTime) -> None:
    chance = random.Random(seed)
    limits = Limited(clock, percent=percent)
    sends: list[float] = []
    every: list[float] = []
    for _ in range(int(3000 * percent / 100)):
        send = chance.random() < 0.7
        limits.acquire(SEND if send else READ)
        every.append(clock.now)
        if send:
            sends.append(clock.now)
        if chance.random() < 0.5:
            clock.now += chance.random() * 2 * pause
    assert most_in_a_window(every, 300) <= 1000 * percent / 100
    assert most_in_a_window(every, 5) <= 200 * percent / 100
    assert most_in_a_window(sends, 120) <= 1000 * percent / 100


def test_the_budget_is_used_up_to_a_small_margin(clock: FakeTime) -> None:
    limits = Limited(clock)
    start = clock.now
    taken = 0
    while clock.now < start + 300:
        limits.acquire(READ)
        taken += clock.now < start + 300
    assert 950 <= taken <= 1000


def test_sends_that_count_apart_leave_the_account_its_limit(clock: FakeTime) -> None:
    limits = Limited(clock, send_limit_is_separate=True)
    assert sum(limits.acquire(SEND) for _ in range(900)) == 0
    assert limits.acquire(READ) == 0
    assert sum(limits.acquire(SEND) for _ in range(100)) > 0


def test_sends_count_against_both_limits_unless_told_otherwise(clock: FakeTime) -> None:
    limits = Limited(clock)
    assert sum(limits.acquire(SEND) for _ in range(190)) == 0
    assert sum(limits.acquire(READ) for _ in range(10)) > 0


def test_nothing_is_taken_from_one_limit_where_another_is_used_up(clock: FakeTime) -> None:
    account = uuid.uuid4().hex
    one, both = Limited(clock, account, send_limit_is_separate=True), Limited(clock, account)
    for _ in range(970):
        one.acquire(SEND)
    assert both.acquire(SEND) == pytest.approx(120, abs=0.1)
    # The burst limit would refuse at 194, had the waiting send been counted at each of its attempts.
    assert sum(both.acquire(READ) for _ in range(190)) == 0


def test_the_smallest_percent_leaves_a_request(clock: FakeTime) -> None:
    limits = Limited(clock, percent=1)
    waits = [limits.acquire(READ) for _ in range(3)]
    assert waits == [0, pytest.approx(5), pytest.approx(5)]


def test_two_budgets_of_one_account_count_together(clock: FakeTime) -> None:
    account = uuid.uuid4().hex
    for _ in range(194):
        Limited(clock, account).acquire(READ)
    assert Limited(clock, account).acquire(READ) == pytest.approx(5)


def test_two_accounts_count_apart(clock: FakeTime) -> None:
    first, second = Limited(clock), Limited(clock)
    for _ in range(194):
        first.acquire(READ)
    assert second.acquire(READ) == 0


def test_waiting_is_told_once(clock: FakeTime, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger=budget.__name__)
    limits = Limited(clock)
    for _ in range(194):
        limits.acquire(READ)
    # Wakes up too early again and again, as where others take the free places.
    limits.sleep = lambda seconds: clock.sleep(seconds / 2)
    limits.acquire(READ)
    assert [record.getMessage() for record in caplog.records] == ["Waiting about 5 s for the account's rate limit."]


def test_short_waits_are_not_told(clock: FakeTime, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger=budget.__name__)
    limits = Limited(clock)
    for _ in range(195):
        limits.acquire(READ)
        clock.now += 0.0235
    assert not caplog.records


def test_memory_stays_bounded(clock: FakeTime) -> None:
    account = uuid.uuid4().hex
    limits = Limited(clock, account)
    for _ in range(5000):
        limits.acquire(SEND)
    kept = [len(times) for (name, _), times in budget._memory._times.items() if name == account]
    assert sum(kept) <= 970 + 194 + 970


def test_threads_count_together_and_start_no_threads_of_ours(clock: FakeTime) -> None:
    limits = Limited(clock)
    before = threading.active_count()
    threads = [threading.Thread(target=lambda: [limits.acquire(READ) for _ in range(19)]) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert threading.active_count() == before
    assert [limits.acquire(READ) for _ in range(4)] == [0, 0, 0, 0]
    assert limits.acquire(READ) > 0


def test_a_forked_process_can_count_whatever_the_parents_threads_were_doing() -> None:
    code = """
import os, threading
from airflow_provider_wts.api import budget
from airflow_provider_wts.api.contract import operations
budget._memory._lock.acquire()  # as a thread in the middle of counting
child = os.fork()
if child == 0:
    threading.Timer(10, os._exit, [3]).start()
    budget.Budget("x").acquire(operations()["list_channels"])
    os._exit(0)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False, timeout=240).returncode == 0


def test_the_key_of_an_account_tells_neither_address_nor_token() -> None:
    key = account_key("https://api.wts.chat", "pn_secret")
    assert key == account_key("https://api.wts.chat", "pn_secret")
    assert key != account_key("https://api.wts.chat", "pn_other")
    assert "secret" not in key
    assert "wts" not in key


def test_a_name_tells_an_account_in_place_of_address_and_token() -> None:
    key = account_key("https://api.wts.chat", "pn_one", name="loja")
    assert key == account_key("https://chat.example.com", "pn_other", name="loja")
    assert key != account_key("https://api.wts.chat", "pn_one", name="outra")
    assert "loja" not in key


class TestRedis:
    def test_a_server_that_is_away_stops_nothing_and_is_told_once(
        self, clock: FakeTime, caplog: pytest.LogCaptureFixture
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        limits = Limited(clock, redis_url=f"redis://:pn_secret@127.0.0.1:{port}/0")
        assert sum(limits.acquire(READ) for _ in range(194)) == 0
        assert limits.acquire(READ) > 0
        assert [record.levelno for record in caplog.records].count(logging.WARNING) == 1
        assert "pn_secret" not in caplog.text

    def test_a_missing_package_is_told_with_the_command_that_installs_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "redis", None)
        with pytest.raises(WtsInvalidRequestError, match="pip install"):
            Budget("x", redis_url="redis://localhost:1/0")

    def test_a_server_that_is_frozen_costs_a_process_one_timeout(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(budget, "_REDIS_TIMEOUT", 0.5)
        with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
            url = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
            budgets = [Budget("x", redis_url=url) for _ in range(20)]
            began = time.monotonic()
            threads = [threading.Thread(target=one.acquire, args=(READ,)) for one in budgets]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert time.monotonic() - began < 2.5
            began = time.monotonic()
            Budget("x", redis_url=url).acquire(READ)
            assert time.monotonic() - began < 0.4

    @pytest.fixture
    def url(self) -> str:
        redis = pytest.importorskip("redis")
        try:
            redis.Redis.from_url(REDIS, socket_connect_timeout=0.5).ping()
        except redis.RedisError:
            pytest.skip("no Redis server at 127.0.0.1:6379")
        return REDIS

    @staticmethod
    def taken(limits: list[Budget]) -> int:
        """Take until a budget would wait."""
        for count in range(1000):
            one = limits[count % len(limits)]
            if wait := one._counter.take(one._account, one._limits_of_sends):
                assert 0 < wait <= 5
                return count
        raise AssertionError("no limit held")

    def test_the_clock_of_the_server_counts(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        account = uuid.uuid4().hex
        assert self.taken([Budget(account, redis_url=url, percent=10)]) == 19
        now = time.time()
        for hours in (-5, 5):
            monkeypatch.setattr(time, "time", lambda hours=hours: now + hours * 3600)
            assert self.taken([Budget(account, redis_url=url, percent=10)]) == 0

    def test_a_clock_of_the_server_that_was_set_back_blocks_nobody(self, url: str) -> None:
        limits = Budget(uuid.uuid4().hex, redis_url=url, percent=10)
        self.taken([limits])
        assert limits._redis is not None
        for key in limits._redis._client.keys(f"*{limits._account}*"):
            times = limits._redis._client.lrange(key, 0, -1)
            limits._redis._client.delete(key)
            limits._redis._client.rpush(key, *(int(one) + 3_600_000_000 for one in times))
        assert self.taken([limits]) == 19

    def test_nothing_is_taken_from_one_limit_where_another_is_used_up(self, url: str) -> None:
        limits = Budget(uuid.uuid4().hex, redis_url=url, percent=10)
        self.taken([limits])
        assert limits._redis is not None
        lengths = {limits._redis._client.llen(key) for key in limits._redis._client.keys(f"*{limits._account}*")}
        assert lengths == {19}

    def test_one_process_gets_no_more_than_the_limit(self, url: str) -> None:
        assert self.taken([Budget(uuid.uuid4().hex, redis_url=url, percent=10)]) == 19

    def test_workers_count_together(self, url: str) -> None:
        account = uuid.uuid4().hex
        assert self.taken([Budget(account, redis_url=url, percent=10) for _ in range(3)]) == 19
