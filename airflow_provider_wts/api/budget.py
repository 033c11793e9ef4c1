"""The account's rate limits, enforced on our side, so that the API does not need to refuse requests.

WTS Chat counts 1,000 requests in 5 minutes and 200 in 5 seconds for an account, and 1,000 in 2 minutes for the send
family. Whether sends count against both is not documented; by default, they do. Windows are sliding, which is safe
whether the API's own windows are fixed or sliding.
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
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.errors import WtsRateLimitError, needs_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_provider_wts.api.contract import Operation

log = logging.getLogger(__name__)

#: Share of every limit that is not used, because clocks differ and requests bunch up in transit.
MARGIN = 0.03

#: Seconds of waiting from which on it is logged.
_LOGGED_WAIT = 1.0


@dataclass(frozen=True, slots=True)
class Limit:
    """A maximum number of requests in a window.

    :param seconds: length of the window.
    :param name: what is counted; limits with different names count separately.
    """

    requests: int
    seconds: int
    name: str


ACCOUNT_LIMITS = (Limit(1000, 300, "wts-account"), Limit(200, 5, "wts-account"))
SEND_LIMITS = (Limit(1000, 120, "wts-send"),)

#: Seconds for which a Redis server that does not answer is not used.
_REDIS_PAUSE = 30.0

#: Seconds in which a Redis server must answer.
_REDIS_TIMEOUT = 2.0


class _Memory:
    """Counts for this process, against all limits or none.

    The memory storage of ``limits`` does not fit: it starts a thread at nearly every hit, and counts against one limit
    even if the next one refuses.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: dict[tuple[str, Limit], deque[float]] = {}

    def take(self, account: str, limits: Sequence[Limit]) -> float:
        """Count a request against all limits and return 0, or count nothing and return the seconds to wait."""
        wait = 0.0
        with self._lock:
            now = time.monotonic()
            windows = [self._times.setdefault((account, limit), deque(maxlen=limit.requests)) for limit in limits]
            for limit, times in zip(limits, windows, strict=True):
                # When the oldest request of a full window leaves it, another one may go out.
                if len(times) == limit.requests:
                    wait = max(wait, times[0] + limit.seconds - now)
            if wait <= 0:
                for times in windows:
                    times.append(now)
        return max(wait, 0.0)

    def after_fork(self) -> None:
        """Create a new lock, because another thread of the parent process may have held the old one."""
        self._lock = threading.Lock()


# Shared by all clients of a process: hooks and pollers come and go, but the account stays.
_memory = _Memory()
os.register_at_fork(after_in_child=_memory.after_fork)


# KEYS: one list of times per limit, newest first. ARGV: requests and microseconds of each limit. The server's clock
# applies, because workers' clocks differ. Counts that are ahead of a clock that was set back are dropped.
# Nothing counts against one limit if another one refuses.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local wait = 0
for place, key in ipairs(KEYS) do
  local requests, window = tonumber(ARGV[2 * place - 1]), tonumber(ARGV[2 * place])
  local newest = redis.call('LINDEX', key, 0)
  if newest and tonumber(newest) > now + window then redis.call('DEL', key) end
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
    """Return a client of a Redis server, with short timeouts.

    :param options: further arguments of the client, such as ``ssl_ca_certs``.
    :param setting: the parameter or extra that needs it, for errors.
    :raises WtsInvalidRequestError: when the package ``redis`` is not installed.
    """
    with needs_extra(setting, "redis", "redis", f", or omit {setting}"):
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
    """Counts in a Redis server for all workers, or only in this process while that server does not answer."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self._client = redis_client(url, options, "rate_limit_conn_id")
        self._take_from = self._client.register_script(_TAKE)
        self._lock = threading.Lock()
        self._again_at = 0.0

    def problem(self) -> str | None:
        """Return what is wrong with the server, or ``None`` if it can count."""
        try:
            self._take_from(keys=[f"wts-limit:{{test}}:{os.getpid()}"], args=[1, 1_000_000])
        except Exception as error:
            if not is_of_redis(error):
                raise
            return type(error).__name__
        return None

    def take(self, account: str, limits: Sequence[Limit]) -> float:
        """Count a request, or return the seconds to wait, as in this process."""
        # Only one thread at a time waits for a server that may be frozen; if it is, the others do not wait at all.
        if time.monotonic() >= self._again_at and self._lock.acquire(timeout=_REDIS_TIMEOUT * 2):
            try:
                if time.monotonic() >= self._again_at:
                    return self._take(account, limits)
            except Exception as error:
                if not is_of_redis(error):
                    raise
                # This must not stop sends: the API refuses what exceeds the limits, and the client retries that.
                self._again_at = time.monotonic() + _REDIS_PAUSE
                log.warning(
                    "The Redis server of the rate limits does not answer (%s). For %.0f s, this process counts alone.",
                    type(error).__name__,
                    _REDIS_PAUSE,
                )
            finally:
                self._lock.release()
        return _memory.take(account, limits)

    def _take(self, account: str, limits: Sequence[Limit]) -> float:
        # The braces make a Redis Cluster keep all keys of an account on one node.
        keys = [f"wts-limit:{{{account}}}:{limit.name}:{limit.seconds}" for limit in limits]
        numbers = [number for limit in limits for number in (limit.requests, limit.seconds * 1_000_000)]
        return float(self._take_from(keys=keys, args=numbers)) / 1_000_000


def is_of_redis(error: Exception) -> bool:
    """Whether an error means that a Redis server cannot be used."""
    from redis.exceptions import RedisError

    return isinstance(error, (RedisError, OSError))


# Shared by all clients of a process, so that all know when a server does not answer.
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
    """Waits until the account's limits allow another request.

    :param account: identifies the account; see :func:`account_key`.
    :param percent: share of the limits that may be used, 1 to 100.
    :param redis_url: URL of a Redis server that counts for all workers. Without it, or while it does not answer, this
        process counts alone.
    :param redis_options: further arguments of the Redis client, such as ``ssl_ca_certs``.
    :param send_limit_is_separate: whether sends count only against their own limit.
    :raises WtsInvalidRequestError: when the package for Redis is needed but not installed.
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
        self._counter = self._redis or _memory
        account_limits, send_limits = _parts(ACCOUNT_LIMITS, percent), _parts(SEND_LIMITS, percent)
        self._limits = account_limits
        self._limits_of_sends = send_limits if send_limit_is_separate else account_limits + send_limits

    def problem_of_redis(self) -> str | None:
        """Return what is wrong with the Redis server, without its address; ``None`` if nothing, or without a server."""
        return None if self._redis is None else self._redis.problem()

    def acquire(
        self, operation: Operation, *, most: float = math.inf, sleep: Callable[[float], None] = time.sleep
    ) -> float:
        """Wait until the operation's limits allow another request, and count it.

        :param most: maximum seconds to wait.
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
            if waited < _LOGGED_WAIT <= waited + wait:
                log.info("Waiting about %.0f s for the account's rate limit.", wait)
            sleep(wait)
            waited += wait
        return waited


def account_key(base_url: str, token: str, *, name: str | None = None) -> str:
    """Return a key for the account, which reveals neither the address nor the token.

    :param name: a name for the account, instead of base URL and token, of which an account may have several.
    """
    return hashlib.sha256((f"\0{name}" if name else f"{base_url}\0{token}").encode()).hexdigest()[:32]


def _parts(limits: tuple[Limit, ...], percent: int) -> tuple[Limit, ...]:
    return tuple(
        Limit(max(1, int(limit.requests * (1 - MARGIN) * percent / 100)), limit.seconds, limit.name) for limit in limits
    )
