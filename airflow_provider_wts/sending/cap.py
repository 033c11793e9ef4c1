"""A cap on the messages per person and period, counted by all tasks and workers that share a Redis server."""

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

_LONGEST_PERIOD = timedelta(days=366)

#: How long a send is remembered, unless a cap has a longer period.
_RETENTION = timedelta(days=31)

# KEYS: the longest period of any cap, then the sends of each person, scored by time. ARGV: whether to count, the limit,
# its period and the minimum retention in microseconds; then the key of the send to each person. The server's clock
# applies, because workers' clocks differ. A send that is already there counts once, at its latest time.
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
    """A maximum number of messages per period."""

    messages: int
    period: timedelta

    @classmethod
    def read(cls, text: str) -> CapLimit:
        """Parse a limit such as ``2 per 7 days`` or ``1 per hour``."""
        match = _LIMIT.fullmatch(text.strip())
        if match is None:
            raise WtsInvalidRequestError(
                f"max_per_contact: {quoted(text)} is not a valid limit. Nothing was sent. {_EXAMPLE}"
            )
        period = int(match[2] or 1) * timedelta(**{f"{match[3].lower()}s": 1})
        if not int(match[1]) or not timedelta(0) < period <= _LONGEST_PERIOD:
            raise WtsInvalidRequestError(
                f"max_per_contact: {quoted(text)} must allow at least one message, in at most {_LONGEST_PERIOD.days} "
                f"days. Nothing was sent. {_EXAMPLE}"
            )
        return cls(int(match[1]), period)


class Cap(Rule):
    """Limits the messages that a person gets in a period.

    :param text: the limit; see :meth:`CapLimit.read`.
    :raises WtsInvalidRequestError: when the limit is not valid, or the connection names no Redis server.
    """

    def __init__(self, hook: WtsHook, text: str) -> None:
        self._limit = CapLimit.read(text)
        url, options = hook.rate_limit_server
        if not url:
            raise WtsInvalidRequestError(
                "max_per_contact: needs a Redis server that all workers share. Nothing was sent. In the connection "
                f"{quoted(hook.wts_conn_id)}, set rate_limit_conn_id to the ID of a connection of type redis."
            )
        self._server = hook.connection.rate_limit_conn_id
        self._client = redis_client(url, options, "max_per_contact")
        self._script = self._client.register_script(_TAKE)
        # The braces make a Redis Cluster keep all keys of an account on one node.
        self._prefix = f"wts-cap:{{{hook.account}}}:"
        self._hash_key = hook.hash_key
        self._refusal = Refusal("max_per_contact", f"already got {text.strip()}")
        self._taken: dict[str, str] = {}

    def take(self, people: Mapping[str, str]) -> dict[str, Refusal]:
        """Count sends, and refuse those above the limit."""
        keys = {send: self._key(to) for send, to in people.items()}
        refused = self._ask(keys, count=True)
        self._taken = {send: key for send, key in keys.items() if send not in refused}
        return refused

    def would_take(self, people: Mapping[str, str]) -> dict[str, Refusal]:
        """Return what :meth:`take` would, without counting."""
        return self._ask({send: self._key(to) for send, to in people.items()}, count=False)

    def settle(self, sends: Collection[str], unsent: Collection[str]) -> None:
        """Stop counting sends that certainly did not happen."""
        uncounted = {send: key for send, key in self._taken.items() if send in unsent}
        self._taken = {}
        if not uncounted:
            return
        try:
            with self._client.pipeline(transaction=False) as commands:
                for send, key in uncounted.items():
                    commands.zrem(key, send)
                commands.execute()
        except Exception as error:
            if not is_of_redis(error):
                raise
            # If the next try sends them, they still count once.
            log.warning(
                "max_per_contact: %s messages were not sent, but count as sent: the Redis server did not answer (%s).",
                len(uncounted),
                type(error).__name__,
            )

    def _key(self, to: str) -> str:
        return f"{self._prefix}{hash_of(to, self._hash_key)[:32]}"

    def _ask(self, keys: Mapping[str, str], *, count: bool) -> dict[str, Refusal]:
        microsecond = timedelta(microseconds=1)
        numbers = [int(count), self._limit.messages, self._limit.period // microsecond, _RETENTION // microsecond]
        arguments: list[Any] = [*numbers, *keys]
        try:
            refused = self._script(keys=[f"{self._prefix}longest", *keys.values()], args=arguments)
        except Exception as error:
            if not is_of_redis(error):
                raise
            raise WtsError(
                f"max_per_contact: the Redis server of the connection {quoted(self._server)} did not answer "
                f"({type(error).__name__}), so it is unknown how many messages each person got. Nothing more was sent. "
                "A retry continues from here."
            ) from None
        sends = list(keys)
        return {sends[place]: self._refusal for place in refused}
