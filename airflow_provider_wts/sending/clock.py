"""The clock by which tries of a task agree on who may send: it goes on while a machine sleeps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds after which a wait checks whether it may go on.
_PIECE = 0.2

#: A reading of the clock.
Reading = tuple[float, float]


def now() -> Reading:
    """Return a reading: seconds since the machine started, its sleep included on Linux, and the wall clock."""
    return seconds(), time.time()


def seconds() -> float:
    """Return the seconds since the machine started, its sleep included on Linux."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


def elapsed(since: Reading) -> float:
    """Return the seconds since a reading, the longer of what both clocks say.

    A paused virtual machine may not count its pause, and finds out by its wall clock only.

    :param since: the reading.
    """
    return max(abs(new - old) for new, old in zip(now(), since, strict=True))


def sleep(seconds: float, check: Callable[[], None] | None = None) -> None:
    """Wait.

    :param seconds: how long; not at all if it is not positive.
    :param check: called meanwhile; what it raises ends the wait.
    """
    if check is None:
        time.sleep(max(0.0, seconds))
        return
    until = now()[0] + seconds
    while (left := until - now()[0]) > 0:
        check()
        time.sleep(min(left, _PIECE))
