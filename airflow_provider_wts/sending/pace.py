"""The pace of a campaign: how many messages go out per minute."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from airflow_provider_wts.sending.clock import seconds
from airflow_provider_wts.sending.clock import sleep as pause
from airflow_provider_wts.sending.rules import Refusal, Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

_MINUTE = 60.0


class Pace(Rule):
    """Sends at most ``per_minute`` messages in any minute, evenly spread."""

    def __init__(self, per_minute: int, *, sleep: Callable[[float], None] = pause) -> None:
        self.per_minute = per_minute
        self._sleep = sleep
        # When each chunk ended, and how many messages it had.
        self._sent: deque[tuple[float, int]] = deque()

    @property
    def most_at_once(self) -> int:
        """Maximum messages in one request or chunk, so that they do not all arrive in the same second."""
        return max(1, self.per_minute // 12)

    def resume(self) -> None:
        """Assume that the earlier try has just sent a whole minute's messages."""
        self._sent.append((seconds(), self.per_minute))

    def take(self, people: Mapping[str, str]) -> dict[str, Refusal]:
        """Wait until this many messages may go out."""
        while (wait := self._wait(len(people))) > 0:
            self._sleep(wait)
        return {}

    def settle(self, sends: Collection[str], unsent: Collection[str]) -> None:
        """Record when the messages of a chunk had gone out."""
        self._sent.append((seconds(), len(sends)))

    def _wait(self, count: int) -> float:
        now = seconds()
        while self._sent and self._sent[0][0] <= now - _MINUTE:
            self._sent.popleft()
        if not self._sent:
            return 0.0
        ended, last = self._sent[-1]
        step = ended + last * _MINUTE / self.per_minute - now
        # Find the oldest chunks that must be a minute old before there is room.
        room, until = self.per_minute - sum(sent for _, sent in self._sent), now
        for at, sent in self._sent:
            if room >= count:
                break
            room, until = room + sent, at + _MINUTE
        return max(step, until - now)
