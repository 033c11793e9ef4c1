"""The account's rate limits, kept on our side, so that the API never has to refuse.

WTS Chat counts 1,000 requests in 5 minutes and 200 in 5 seconds for an account, and 1,000 in 2 minutes for the send
family. Whether sends count against both is not documented: both are assumed unless told otherwise. Windows are
moving ones, which are right under either reading of the API's own windows.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import MovingWindowRateLimiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_wts.api.contract import Operation

log = logging.getLogger(__name__)

#: Part of every limit that stays unused: clocks differ, and requests bunch up on their way.
MARGIN = 0.03

#: Seconds of waiting that are worth a line in the log.
_WORTH_A_LINE = 1.0


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests in so many seconds."""

    requests: int
    seconds: int


ACCOUNT_LIMITS = (Limit(1000, 300), Limit(200, 5))
SEND_LIMITS = (Limit(1000, 120),)

# All clients of one process count together: hooks and pollers come and go, the account stays.
_memory: MemoryStorage | None = None
_memory_lock = threading.Lock()


def _process_storage() -> MemoryStorage:
    global _memory
    with _memory_lock:
        if _memory is None:
            _memory = MemoryStorage()
        return _memory


class Budget:
    """Waits until the account's limits allow one more request.

    :param account: what the limits belong to, such as a hash of base URL and token. See :func:`account_key`.
    :param percent: part of the limits that may be used here, 1 to 100.
    :param redis_url: URL of a Redis server that counts for all workers; without it this process counts alone.
    :param send_limit_is_separate: whether requests of the send family count against their own limit only.
    :param sleep: how to wait; tests give their own.
    """

    def __init__(
        self,
        account: str,
        *,
        percent: int = 100,
        redis_url: str | None = None,
        send_limit_is_separate: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._account = account
        # The factory's declared type names its asynchronous storages, too, which these URLs never give.
        storage = cast("Storage", storage_from_string(redis_url)) if redis_url else _process_storage()
        self._limiter = MovingWindowRateLimiter(storage)
        self._sleep = sleep
        self._separate = send_limit_is_separate
        self._lock = threading.Lock()
        self._account_items = _items(ACCOUNT_LIMITS, percent, "account")
        self._send_items = _items(SEND_LIMITS, percent, "send")

    def acquire(self, operation: Operation) -> float:
        """Wait for room in every limit that the operation counts against, and take it.

        :param operation: the operation about to be called.
        :return: seconds waited.
        """
        items = self._items_of(operation)
        waited = 0.0
        while True:
            with self._lock:
                wait = max(self._wait_for(item) for item in items)
                # Another process may take the last place between the two looks: then the hit fails, and we look again.
                if wait <= 0 and all([self._limiter.hit(item, self._account) for item in items]):
                    break
            wait = max(wait, 0.01)
            if waited < _WORTH_A_LINE <= waited + wait:
                log.info("Waiting about %.0f s for the account's rate limit.", wait)
            self._sleep(wait)
            waited += wait
        return waited

    def _items_of(self, operation: Operation) -> list[RateLimitItemPerSecond]:
        if not operation.send_limit:
            return self._account_items
        return self._send_items if self._separate else self._account_items + self._send_items

    def _wait_for(self, item: RateLimitItemPerSecond) -> float:
        if self._limiter.test(item, self._account):
            return 0.0
        return max(self._limiter.get_window_stats(item, self._account).reset_time - time.time(), 0.001)


def account_key(base_url: str, token: str) -> str:
    """Return what the limits of an account are kept under; it tells neither the address nor the token.

    :param base_url: where the API stands.
    :param token: the account's token.
    """
    return hashlib.sha256(f"{base_url}\0{token}".encode()).hexdigest()[:32]


def _items(limits: tuple[Limit, ...], percent: int, name: str) -> list[RateLimitItemPerSecond]:
    return [
        RateLimitItemPerSecond(
            max(1, int(limit.requests * (1 - MARGIN) * percent / 100)), limit.seconds, namespace=f"wts-{name}"
        )
        for limit in limits
    ]
