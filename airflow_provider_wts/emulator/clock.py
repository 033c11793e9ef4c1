"""The emulator's time: it may run faster than the wall clock, and a test can move it ahead."""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime

from airflow_provider_wts.emulator.switches import Switches

TICKS = 10_000_000
"""Ticks of a second: 100 nanoseconds each, the seven digits that the service shows."""

END = 253_402_300_000 * TICKS
"""The end of emulated time, just before the year 10000: the year of a timestamp has four digits."""

log = logging.getLogger(__name__)

_ISO = re.compile(r"(\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})?", re.ASCII)


class Clock:
    """Emulated time in ticks since 1970, UTC.

    :param switches: set how many digits a timestamp shows.
    :param speed: emulated seconds per real second.
    """

    def __init__(self, switches: Switches, *, speed: float = 1.0) -> None:
        self._switches = switches
        self._speed = speed
        self._base = int(time.time() * TICKS)
        self._base_real = time.monotonic()
        # While a due event is processed, the time at which it was due.
        self.held: int | None = None
        self._last_stamp = 0
        self._stamps = 0

    @property
    def speed(self) -> float:
        """Emulated seconds per real second."""
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        if not 0 <= speed < math.inf:
            raise ValueError("speed: must be at least 0.")
        self._base, self._base_real = self._running(), time.monotonic()
        self._speed = speed

    def now(self) -> int:
        """Return the time in ticks; while a due event is processed, the time at which it was due."""
        return self._running() if self.held is None else self.held

    def datetime(self) -> datetime:
        """Return the time as an aware datetime."""
        return datetime.fromtimestamp(self.now() / TICKS, UTC)

    def move(self, seconds: float) -> None:
        """Move time ahead without processing what becomes due."""
        if not 0 <= seconds < math.inf:
            raise ValueError("The clock can only move ahead.")
        if self.now() + int(seconds * TICKS) > END:
            raise ValueError("The clock ends in the year 9999.")
        self._base += int(seconds * TICKS)

    def stamp(self) -> int:
        """Return the time for a new timestamp; no two are equal, and a later one is always greater."""
        ticks = max(self.now(), self._last_stamp + 1)
        if self._switches.timestamp_digits == "varied":
            # Rounding up by at most a millisecond makes fractions of 3 to 7 digits, and keeps the order.
            self._stamps += 1
            unit = 10 ** (self._stamps % 5)
            ticks = -(-ticks // unit) * unit
        self._last_stamp = ticks
        return ticks

    def text(self, ticks: int) -> str:
        """Write a time as the service does: ISO 8601 with ``Z``, without trailing zeros in the fraction."""
        seconds, fraction = divmod(ticks, TICKS)
        parts = time.gmtime(seconds)
        text = (
            f"{parts.tm_year:04}-{parts.tm_mon:02}-{parts.tm_mday:02}"
            f"T{parts.tm_hour:02}:{parts.tm_min:02}:{parts.tm_sec:02}"
        )
        digits = f"{fraction:07}"
        shown = self._switches.timestamp_digits
        digits = digits.rstrip("0") if shown == "varied" else digits[: int(shown)]
        return f"{text}.{digits}Z" if digits else f"{text}Z"

    def _running(self) -> int:
        return min(self._base + int((time.monotonic() - self._base_real) * self._speed * TICKS), END)


def parse_ticks(text: str) -> int:
    """Read an ISO 8601 time with up to nine digits of a fraction; UTC if it has no zone."""
    match = _ISO.fullmatch(text)
    if match is None:
        raise ValueError("not an ISO 8601 time")
    zone = (match[3] or "Z").upper().replace("Z", "+00:00")
    whole = datetime.fromisoformat(match[1].upper().replace(" ", "T") + zone)
    fraction = int((match[2] or "0").ljust(7, "0")[:7])
    return int(whole.timestamp()) * TICKS + fraction


class Agenda:
    """What will happen, in the order of the emulated clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Plan an action."""
        self.at(self._clock.now() + int(seconds * TICKS), action)

    def at(self, ticks: int, action: Callable[[], None]) -> None:
        """Plan an action for a time."""
        heapq.heappush(self._events, (ticks, next(self._numbers), action))

    def run_due(self) -> None:
        """Do everything that is due, one action after the other, each at its own time."""
        now = self._clock.now()
        while self._events and self._events[0][0] <= now:
            due, _, action = heapq.heappop(self._events)
            self._clock.held = due
            try:
                action()
            except Exception:
                # No client waits for this action: its failure must not hit another request.
                log.exception("A planned action failed")
            finally:
                self._clock.held = None
