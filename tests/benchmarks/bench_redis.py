"""Four worker processes that share the account's limits through Redis, against the limits as the API counts them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from emulator_process import TOKEN, Service, emulator_process
from report import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

REDIS = os.environ.get("WTS_TEST_REDIS", "redis://127.0.0.1:6379/0")
WORKERS = 4
SECONDS = 60.0
LIMIT, BURST, BURST_SECONDS = 1000, 200, 5.0


class _EndOfTime(Exception):
    """The next request would be allowed after the end of the measurement only."""


def work(url: str, end: float) -> int:
    """Be one worker: call as fast as the shared limits let it; return the number of calls."""
    from airflow_provider_wts.api.budget import Budget, account_key
    from airflow_provider_wts.api.client import WtsClient
    from airflow_provider_wts.api.directory import list_channels

    def sleep(seconds: float) -> None:
        if time.time() + seconds > end:
            raise _EndOfTime
        time.sleep(seconds)

    budget = Budget(account_key(url, TOKEN), redis_url=REDIS, sleep=sleep)
    client = WtsClient(TOKEN, base_url=url, budget=budget, rate_limit_wait=0.0)
    calls = 0
    try:
        while time.time() < end:
            client.perform(list_channels())
            calls += 1
    except _EndOfTime:
        pass
    return calls


def most_within(moments: Sequence[float], seconds: float) -> int:
    """Return the most requests in any window of a length."""
    most = begin = 0
    for end, moment in enumerate(moments):
        while moments[begin] <= moment - seconds:
            begin += 1
        most = max(most, end - begin + 1)
    return most


def moments_of(service: Service) -> list[float]:
    """Return when the requests of the workers came, by the emulator's clock."""
    return sorted(datetime.fromisoformat(one["at"]).timestamp() for one in service.control("requests"))


def measure() -> tuple[list[int], dict[str, int], list[float]]:
    """Let the workers work; return their calls, what the emulator answered, and when."""
    with emulator_process() as service:
        # The workers take seconds to start; they begin together.
        begin = time.time() + 15
        command = [sys.executable, __file__, service.url, str(begin), str(begin + SECONDS)]
        workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(WORKERS)]
        try:
            calls = [int(worker.communicate(timeout=15 + 2 * SECONDS)[0]) for worker in workers]
        finally:
            for worker in workers:
                worker.kill()
        return calls, service.requests(), moments_of(service)


def main() -> Table | None:
    """Measure, and return the table; ``None`` where there is no Redis."""
    import redis

    try:
        redis.Redis.from_url(REDIS).ping()
    except redis.RedisError as problem:
        sys.stderr.write(f"Skipped: no Redis server at {REDIS} (WTS_TEST_REDIS names another): {problem}\n")
        return None
    calls, answers, moments = measure()
    used, refused, burst = answers.get("200", 0), answers.get("429", 0), most_within(moments, BURST_SECONDS)
    table = Table(
        f"{WORKERS} worker processes share the limits through Redis",
        ("what", "measured", "limit", "share used", "target"),
        f"Real limits and clocks, {SECONDS:.0f} s in which every worker calls as fast as it may. 3 % of each limit "
        "deliberately stay unused, because clocks differ and requests bunch up on their way.",
    )
    table.add("calls of each worker", ", ".join(map(str, sorted(calls))), "", "", "")
    table.add("requests within 5 minutes", used, LIMIT, used / LIMIT, "0.9 to 1")
    table.add("most requests in any 5 seconds", burst, BURST, burst / BURST, "≤ 1")
    table.add("refused with 429", refused, 0, "", "0")
    table.add("longest pause between two requests before the limit was used up, s", _longest_pause(moments), "", "", "")
    table.check(f"redis: {used} of {LIMIT} requests used", 0.9 * LIMIT <= used <= LIMIT)
    table.check(f"redis: {refused} requests refused", refused == 0)
    return table


def _longest_pause(moments: Sequence[float]) -> float:
    return max((later - earlier for earlier, later in pairwise(moments)), default=0.0)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
        sys.stdout.write(str(work(sys.argv[1], float(sys.argv[3]))))
    elif (made := main()) is not None:
        made.show()
