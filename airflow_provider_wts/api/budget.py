"""The account's rate limits, kept on our side, so that the API never has to refuse.

WTS Chat counts 1,000 requests in 5 minutes and 200 in 5 seconds for an account, and 1,000 in 2 minutes for the send
family. Whether sends count against both is not documented: both are assumed unless configured otherwise. Windows are
moving ones, which are right under either reading of the API's own windows.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_wts.api.errors import WtsRateLimitError, needs_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_provider_wts.api.contract import Operation

log = logging.getLogger(__name__)

#: Part of every limit that stays unused: clocks differ, and requests bunch up on their way.
MARGIN = 0.03

#: Seconds of waiting that are worth a line in the log.
_WORTH_A_LINE = 1.0


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests in so many seconds.

    :param requests: how many.
    :param seconds: length of the window.
    :param name: what is counted; limits of the same numbers and different names count apart.
    """

    requests: int
    seconds: int
    name: str


ACCOUNT_LIMITS = (Limit(1000, 300, "wts-account"), Limit(200, 5, "wts-account"))
SEND_LIMITS = (Limit(1000, 120, "wts-send"),)

#: Seconds for which a Redis server that does not answer is left alone.
_REDIS_PAUSE = 30.0

#: Seconds in which a Redis server has to answer.
_REDIS_TIMEOUT = 2.0


class _Counter(Protocol):
    """Counts requests in moving windows."""

    def take(self, account: str, limits: Sequence[Limit]) -> float:
        """Count one request against all limits and return 0, or count nothing and return the seconds to wait."""


class _Memory:
    """Counts for this process, against all limits or none.

    Not the memory storage of ``limits``: that starts a thread at nearly every hit, and takes from one limit what the
    next one refuses.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: dict[tuple[str, Limit], deque[float]] = {}

    def take(self, account: str, limits: Sequence[Limit]) -> float:
        wait = 0.0
        with self._lock:
            now = time.monotonic()
            windows = [self._times.setdefault((account, limit), deque(maxlen=limit.requests)) for limit in limits]
            for limit, times in zip(limits, windows, strict=True):
                # The oldest of as many requests as are allowed; when it leaves the window, another one may come.
                if len(times) == limit.requests:
                    wait = max(wait, times[0] + limit.seconds - now)
            if wait <= 0:
                for times in windows:
                    times.append(now)
        return max(wait, 0.0)

    def after_fork(self) -> None:
        """Take a new lock: another thread of the parent may have held the old one."""
        self._lock = threading.Lock()


# All clients of one process count together: hooks and pollers come and go, the account stays.
_memory = _Memory()
os.register_at_fork(after_in_child=_memory.after_fork)


# KEYS: one list of times for each limit, newest first. ARGV: requests and microseconds of each. The server's clock
# counts, since those of workers differ. Nothing is taken from one limit if another one refuses.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local wait = 0
for place, key in ipairs(KEYS) do
  local requests, window = tonumber(ARGV[2 * place - 1]), tonumber(ARGV[2 * place])
  local oldest = redis.call('LINDEX', key, -1)
  while oldest and tonumber(oldest) + window <= now do
    redis.call('RPOP', key)
    oldest = redis.call('LINDEX', key, -1)
  end
  local last = redis.call('LINDEX', key, requests - 1)
  if last then wait = math.max(wait, last + window - now) end
end
if wait <= 0 then
  for place, key in ipairs(KEYS) do
    redis.call('LPUSH', key, string.format('%.0f', now))
    redis.call('PEXPIRE', key, math.ceil(ARGV[2 * place] / 1000))
  end
end
return math.ceil(wait)
"""


def redis_client(url: str, options: Mapping[str, Any], setting: str) -> Any:
    """Return a client of a Redis server, which answers soon or not at all.

    :param url: where the server is.
    :param options: what the client is made with beside the URL, such as ``ssl_ca_certs``.
    :param setting: the parameter or extra that needs it, for the error.
    :raises WtsInvalidRequestError: when the package ``redis`` is not installed.
    """
    with needs_extra(setting, "redis", "redis", f", or leave {setting} out"):
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    return Redis.from_url(
        url,
        socket_connect_timeout=_REDIS_TIMEOUT,
        socket_timeout=_REDIS_TIMEOUT,
        retry=Retry(NoBackoff(), 0),
        **options,
    )


class _Redis:
    """Counts in a Redis server for all workers, and in this process alone while that server does not answer."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self._client = redis_client(url, options, "rate_limit_conn_id")
        self._take_from = self._client.register_script(_TAKE)
        self._lock = threading.Lock()
        self._again_at = 0.0

    def problem(self) -> str | None:
        """Say what is wrong with the server; ``None`` where it takes what a count needs."""
        try:
            self._take_from(keys=[f"wts-limit:{{test}}:{os.getpid()}"], args=[1, 1_000_000])
        except Exception as error:
            if not is_of_redis(error):
                raise
            return type(error).__name__
        return None

    def take(self, account: str, limits: Sequence[Limit]) -> float:
        """Count one request, or return the seconds to wait."""
        # One thread at a time waits for a server that may be frozen; once it is, the others do not wait at all.
        if time.monotonic() >= self._again_at and self._lock.acquire(timeout=_REDIS_TIMEOUT * 2):
            try:
                if time.monotonic() >= self._again_at:
                    return self._take(account, limits)
            except Exception as error:
                if not is_of_redis(error):
                    raise
                # Sends must not stop for this: the API still refuses what is too much, and that is waited out.
                self._again_at = time.monotonic() + _REDIS_PAUSE
                log.warning(
                    "The Redis server of the rate limits does not answer (%s). For %.0f s this process counts alone.",
                    type(error).__name__,
                    _REDIS_PAUSE,
                )
            finally:
                self._lock.release()
        return _memory.take(account, limits)

    def _take(self, account: str, limits: Sequence[Limit]) -> float:
        # The braces keep the keys of an account on one server of a cluster.
        keys = [f"wts-limit:{{{account}}}:{limit.name}:{limit.seconds}" for limit in limits]
        numbers = [number for limit in limits for number in (limit.requests, limit.seconds * 1_000_000)]
        return float(self._take_from(keys=keys, args=numbers)) / 1_000_000


def is_of_redis(error: Exception) -> bool:
    """Whether an error says that a Redis server cannot be used."""
    from redis.exceptions import RedisError

    return isinstance(error, (RedisError, OSError))


# All clients of one process know together that a server does not answer.
_servers: dict[tuple[str, str], _Redis] = {}
_servers_lock = threading.Lock()


def _server(url: str, options: Mapping[str, Any]) -> _Redis:
    key = (url, repr(sorted(options.items())))
    with _servers_lock:
        if key not in _servers:
            _servers[key] = _Redis(url, options)
        return _servers[key]


def _forget_servers() -> None:
    global _servers_lock
    _servers_lock = threading.Lock()
    _servers.clear()


os.register_at_fork(after_in_child=_forget_servers)


class Budget:
    """Waits until the account's limits allow one more request.

    :param account: what the limits belong to, such as a hash of base URL and token. See :func:`account_key`.
    :param percent: part of the limits that may be used here, 1 to 100.
    :param redis_url: URL of a Redis server that counts for all workers; without it this process counts alone, as it
        does while the server does not answer.
    :param redis_options: what the client of Redis is made with beside the URL, such as ``ssl_ca_certs``.
    :param send_limit_is_separate: whether requests of the send family count against their own limit only.
    :raises WtsInvalidRequestError: when Redis is asked for and its package is not installed.
    """

    def __init__(
        self,
        account: str,
        *,
        percent: int = 100,
        redis_url: str | None = None,
        redis_options: Mapping[str, Any] | None = None,
        send_limit_is_separate: bool = False,
    ) -> None:
        self._account = account
        self._redis = _server(redis_url, redis_options or {}) if redis_url else None
        self._counter: _Counter = self._redis or _memory
        account_limits, send_limits = _parts(ACCOUNT_LIMITS, percent), _parts(SEND_LIMITS, percent)
        self._limits = account_limits
        self._limits_of_sends = send_limits if send_limit_is_separate else account_limits + send_limits

    def problem_of_redis(self) -> str | None:
        """Say what is wrong with the Redis server, without its address; ``None`` where nothing is, or there is none."""
        return None if self._redis is None else self._redis.problem()

    def acquire(
        self, operation: Operation, *, most: float = math.inf, sleep: Callable[[float], None] = time.sleep
    ) -> float:
        """Wait for room in every limit that the operation counts against, and take it.

        :param operation: the operation about to be called.
        :param most: seconds to wait at most.
        :param sleep: how to wait.
        :return: seconds waited.
        :raises WtsRateLimitError: when the wait would take longer.
        """
        limits = self._limits_of_sends if operation.send_limit else self._limits
        waited = 0.0
        while (wait := self._counter.take(self._account, limits)) > 0:
            wait = max(wait, 0.01)
            if waited + wait > most:
                raise WtsRateLimitError(
                    f"{operation.operation_id}: the account's rate limit is used up, and waiting for it would take "
                    f"about {wait:.0f} s. Nothing was sent.",
                    operation_id=operation.operation_id,
                    retry_after=wait,
                )
            if waited < _WORTH_A_LINE <= waited + wait:
                log.info("Waiting about %.0f s for the account's rate limit.", wait)
            sleep(wait)
            waited += wait
        return waited


def account_key(base_url: str, token: str, *, name: str | None = None) -> str:
    """Return what the limits of an account are kept under; it shows neither the address nor the token.

    :param base_url: address of the API.
    :param token: the account's token.
    :param name: a name for the account, in place of base URL and token: one account may have several of both.
    """
    return hashlib.sha256((f"\0{name}" if name else f"{base_url}\0{token}").encode()).hexdigest()[:32]


def _parts(limits: tuple[Limit, ...], percent: int) -> tuple[Limit, ...]:
    return tuple(
        Limit(max(1, int(limit.requests * (1 - MARGIN) * percent / 100)), limit.seconds, limit.name) for limit in limits
    )
