"""The rate limits: 1,000 requests in 5 minutes and 200 in 5 seconds for the account, 1,000 in 2 minutes for sends."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from airflow_provider_wts.emulator.clock import TICKS, Clock

if TYPE_CHECKING:
    from airflow_provider_wts.api.contract import Operation
    from airflow_provider_wts.emulator.switches import Switches


class RateLimits:
    """Counts requests by the emulator's clock.

    :param clock: the clock.
    :param switches: the limits and the readings of what is not documented.
    """

    def __init__(self, clock: Clock, switches: Switches) -> None:
        self._clock = clock
        self._switches = switches
        self._windows: dict[str, _Window] = {}

    def take(self, operation: Operation | None) -> float | None:
        """Count a request; return ``None`` where it may pass, else the emulated seconds until one may.

        A request that is over a limit counts nowhere.

        :param operation: the operation; ``None`` where the path leads nowhere.
        """
        switches = self._switches
        if not switches.rate_limits:
            return None
        sends = operation is not None and operation.send_limit
        windows: list[_Window] = []
        if operation is not None and sends:
            name = operation.operation_id if switches.send_limit_per_operation else "send"
            windows.append(self._window(name, switches.send_requests, 120))
        if not sends or switches.sends_count_account_wide:
            windows.append(self._window("account", switches.account_requests, 300))
            windows.append(self._window("burst", switches.burst_requests, 5))
        now = self._clock.now()
        wait = max(window.wait(now, fixed=switches.window == "fixed") for window in windows)
        if wait > 0:
            return wait / TICKS
        for window in windows:
            window.count(now)
        return None

    def reset(self) -> None:
        """Forget all requests."""
        self._windows.clear()

    def _window(self, name: str, limit: int, seconds: int) -> _Window:
        window = self._windows.setdefault(name, _Window(seconds * TICKS))
        window.limit = limit
        return window


class _Window:
    """One limit; it keeps the times of the requests it lets pass, at most as many as the limit."""

    def __init__(self, length: int) -> None:
        self.limit = 0
        self._length = length
        self._times: deque[int] = deque()

    def wait(self, now: int, *, fixed: bool) -> int:
        """Return the ticks until one more request may pass, 0 = now."""
        begin = now - now % self._length if fixed else now - self._length + 1
        while self._times and self._times[0] < begin:
            self._times.popleft()
        if len(self._times) < self.limit:
            return 0
        if fixed or not self._times:
            return begin + self._length - now
        return self._times[-self.limit] + self._length - now

    def count(self, now: int) -> None:
        """Count a request that passes."""
        self._times.append(now)
