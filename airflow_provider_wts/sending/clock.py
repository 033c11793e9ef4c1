"""The clock by which the tries of a task agree on which one may send. It keeps running while the machine sleeps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between two calls of ``check`` during a wait.
_CHECK_INTERVAL = 0.2

#: Seconds since boot, and the wall clock.
Reading = tuple[float, float]


def now() -> Reading:
    """Read both clocks."""
    return seconds(), time.time()


def seconds() -> float:
    """Return the seconds since boot, including sleep on Linux."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


def elapsed(since: Reading) -> float:
    """Return the seconds that may have passed since a reading, by the clock that shows more.

    A virtual machine that was paused may notice the pause only on its wall clock.
    """
    return max(abs(new - old) for new, old in zip(now(), since, strict=True))


def waited(since: Reading) -> float:
    """Return the seconds that have certainly passed since a reading: a wall clock may be set forward."""
    return now()[0] - since[0]


def sleep(seconds: float, check: Callable[[], None] | None = None) -> None:
    """Wait, unless ``seconds`` is negative.

    :param check: called during the wait; an exception it raises ends the wait.
    """
    if check is None:
        time.sleep(max(0.0, seconds))
        return
    until = now()[0] + seconds
    while (left := until - now()[0]) > 0:
        check()
        time.sleep(min(left, _CHECK_INTERVAL))
