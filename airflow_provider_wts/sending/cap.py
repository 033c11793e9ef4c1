"""A cap: how many messages a person gets in a time, over all tasks and workers that share a Redis server."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wts.api.addresses import hash_of
from airflow_provider_wts.api.budget import is_of_redis, redis_client
from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError, quoted
from airflow_provider_wts.sending.rules import Refusal, Rule

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from airflow_provider_wts.hooks.wts import WtsHook


log = logging.getLogger(__name__)

_EXAMPLE = "Examples: '2 per 7 days' and '1 per 24 hours'."

_LIMIT = re.compile(r"([0-9]{1,6})\s+per\s+(?:([0-9]{1,6})\s+)?(minute|hour|day|week)s?", re.IGNORECASE)

#: The longest time of a cap.
_LONGEST = timedelta(days=366)

#: How long a send is remembered, unless somebody counts over a longer time.
_KEPT = timedelta(days=31)

# KEYS: the longest time that anybody counts over, then the sends of each person, by time. ARGV: whether to count, how
# many are allowed, in how many microseconds, how long all are kept at least; then the key of the send to each person.
# The server's clock counts, since those of workers differ. A send that is known counts once, and from now on.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local count, most, period = ARGV[1] == '1', tonumber(ARGV[2]), tonumber(ARGV[3])
local kept = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), period, tonumber(ARGV[4]))
local since = '(' .. string.format('%.0f', now - period)
local refused = {}
for place = 2, #KEYS do
  local key, send = KEYS[place], ARGV[place + 3]
  local sent = redis.call('ZCOUNT', key, since, '+inf')
  local before = redis.call('ZSCORE', key, send)
  if before and tonumber(before) > now - period then sent = sent - 1 end
  if sent >= most then
    table.insert(refused, place - 2)
  elseif count then
    redis.call('ZADD', key, string.format('%.0f', now), send)
    redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now - kept))
    redis.call('PEXPIRE', key, string.format('%.0f', math.ceil(kept / 1000)))
  end
end
if count then
  redis.call('SET', KEYS[1], string.format('%.0f', kept), 'PX', string.format('%.0f', math.ceil(kept / 1000)))
end
return refused
"""


class CapLimit(NamedTuple):
    """So many messages in a time.

    :param messages: how many.
    :param period: the time.
    """

    messages: int
    period: timedelta

    @classmethod
    def read(cls, text: str) -> CapLimit:
        """Read a limit.

        :param text: such as ``2 per 7 days`` or ``1 per day``; minutes, hours, days and weeks are known.
        :raises WtsInvalidRequestError: when it is not valid.
        """
        match = _LIMIT.fullmatch(text.strip())
        if match is None:
            raise WtsInvalidRequestError(
                f"max_per_contact: {quoted(text)} is not a number of messages per time. Nothing was sent. {_EXAMPLE}"
            )
        period = int(match[2] or 1) * timedelta(**{f"{match[3].lower()}s": 1})
        if not int(match[1]) or not timedelta(0) < period <= _LONGEST:
            raise WtsInvalidRequestError(
                f"max_per_contact: {quoted(text)} must allow at least one message, in at most {_LONGEST.days} days. "
                f"Nothing was sent. {_EXAMPLE}"
            )
        return cls(int(match[1]), period)


class Cap(Rule):
    """At most so many messages to a person in a time.

    :param hook: the hook of the task's connection.
    :param text: the limit; see :meth:`CapLimit.read`.
    :raises WtsInvalidRequestError: when the limit is not valid, or the connection names no Redis server.
    """

    def __init__(self, hook: WtsHook, text: str) -> None:
        self._limit = CapLimit.read(text)
        url, options = hook.rate_limit_server
        if not url:
            raise WtsInvalidRequestError(
                "max_per_contact: needs a Redis server, in which all workers count. Nothing was sent. Set "
                f"rate_limit_conn_id of the connection {quoted(hook.wts_conn_id)} to the id of a connection of type "
                "redis."
            )
        self._server = hook.connection.rate_limit_conn_id
        self._client = redis_client(url, options, "max_per_contact")
        self._script = self._client.register_script(_TAKE)
        # The braces keep the keys of an account on one server of a cluster.
        self._prefix = f"wts-cap:{{{hook.account}}}:"
        self._hash_key = hook.hash_key
        self._refusal = Refusal("max_per_contact", f"got {text.strip()} already")
        self._taken: dict[str, str] = {}

    def take(self, people: Mapping[str, str]) -> dict[str, Refusal]:
        """Count sends, and return those that are too many."""
        keys = {send: self._key(to) for send, to in people.items()}
        refused = self._ask(keys, count=True)
        self._taken = {send: key for send, key in keys.items() if send not in refused}
        return refused

    def would_take(self, people: Mapping[str, str]) -> dict[str, Refusal]:
        """Return what :meth:`take` would, and count nothing."""
        return self._ask({send: self._key(to) for send, to in people.items()}, count=False)

    def settle(self, sends: Collection[str], unsent: Collection[str]) -> None:
        """Give back what certainly was not sent."""
        lost = {send: key for send, key in self._taken.items() if send in unsent}
        self._taken = {}
        if not lost:
            return
        try:
            with self._client.pipeline(transaction=False) as commands:
                for send, key in lost.items():
                    commands.zrem(key, send)
                commands.execute()
        except Exception as error:
            if not is_of_redis(error):
                raise
            # The next try of the task takes the same sends, which count once. Else they count as sent.
            log.warning(
                "max_per_contact: %s messages that were not sent could not be given back (%s). They count as sent.",
                len(lost),
                type(error).__name__,
            )

    def _key(self, to: str) -> str:
        return f"{self._prefix}{hash_of(to, self._hash_key)[:32]}"

    def _ask(self, keys: Mapping[str, str], *, count: bool) -> dict[str, Refusal]:
        microsecond = timedelta(microseconds=1)
        numbers = [int(count), self._limit.messages, self._limit.period // microsecond, _KEPT // microsecond]
        arguments: list[Any] = [*numbers, *keys]
        try:
            refused = self._script(keys=[f"{self._prefix}longest", *keys.values()], args=arguments)
        except Exception as error:
            if not is_of_redis(error):
                raise
            raise WtsError(
                f"max_per_contact: the Redis server of the connection {quoted(self._server)} did not answer "
                f"({type(error).__name__}), so it is unknown how many messages people got. Nothing more was sent. "
                "Another try goes on from here."
            ) from None
        sends = list(keys)
        return {sends[place]: self._refusal for place in refused}
