"""The provider's metrics, which go where Airflow sends its own."""

from __future__ import annotations

import logging
import re
import socket
import time
from functools import cache
from typing import Any, NamedTuple

log = logging.getLogger(__name__)


class Metric(NamedTuple):
    """One metric.

    :param kind: ``counter`` or ``gauge``.
    :param unit: what is counted or measured.
    :param tags: names of the tags. Without tag support, their values become parts of the name, in this order.
    """

    kind: str
    unit: str
    tags: tuple[str, ...]


METRICS = {
    "wts.requests": Metric("counter", "requests", ("operation", "outcome")),
    "wts.limit_wait": Metric("counter", "seconds", ("limit",)),
    "wts.sends": Metric("counter", "sends", ("operation", "outcome")),
    "wts.reconciliations": Metric("counter", "sends", ("finding",)),
    "wts.polls": Metric("counter", "polls", ("poll", "connection", "outcome")),
    "wts.waiters": Metric("gauge", "waiting tasks", ("connection", "host")),
    "wts.poll_age": Metric("gauge", "seconds", ("poll", "connection", "host")),
}

#: Characters that must not be in a part of a metric's name.
_INVALID = re.compile(r"[^A-Za-z0-9_-]")


class _Backend(NamedTuple):
    """Airflow's ``Stats``, and whether it supports tags. Plain StatsD drops them."""

    stats: Any
    has_tags: bool


@cache
def _backend() -> _Backend | None:
    """Return where metrics go, or ``None`` if Airflow's metrics are off. Settings are read once per process."""
    from airflow.providers.common.compat.sdk import conf

    def is_on(option: str) -> bool:
        return bool(conf.getboolean("metrics", option, fallback=False))

    datadog, statsd = is_on("statsd_datadog_enabled"), is_on("statsd_on")
    if not (datadog or statsd or is_on("otel_on")):
        return None
    from airflow.providers.common.compat.sdk import Stats

    # In Airflow's order of precedence.
    return _Backend(Stats, has_tags=datadog or not statsd or is_on("statsd_influxdb_enabled"))


def count(name: str, number: float = 1, /, **tags: str) -> None:
    """Increase a counter. It never raises, so that no send fails because of a metric."""
    _emit("incr", name, number, tags)


def count_send(operation_id: str, outcome: str) -> None:
    """Count a send, or anything else that must happen exactly once.

    :param outcome: ``sent``, ``failed`` or ``undecided``.
    """
    count("wts.sends", operation=operation_id, outcome=outcome)


def gauge(name: str, value: float, /, **tags: str) -> None:
    """Set a gauge of this host. It never raises.

    :param tags: the tags, without the host.
    """
    _emit("gauge", name, value, {**tags, "host": socket.gethostname()})


def _emit(method: str, name: str, value: float, tags: dict[str, str]) -> None:
    try:
        backend = _backend()
        if backend is None:
            return
        parts = {tag: _INVALID.sub("_", tags[tag]) for tag in METRICS[name].tags}
        if backend.has_tags:
            getattr(backend.stats, method)(name, value, tags=parts)
        else:
            getattr(backend.stats, method)(".".join((name, *parts.values())), value)
    except Exception as error:
        _warn_once(f"{type(error).__name__}: {error}")


@cache
def _warn_once(problem: str) -> None:
    log.warning("Metrics cannot be sent, which affects nothing else: %s", problem)


class RequestMetrics:
    """Counts the requests and waits of a client."""

    def requested(self, operation_id: str, outcome: str) -> None:
        """Count a request."""
        count("wts.requests", operation=operation_id, outcome=outcome)

    def waited(self, limit: str, seconds: float) -> None:
        """Count seconds of waiting for a rate limit.

        :param limit: ``own`` if the provider itself delayed the request, ``server`` if WTS Chat refused it.
        """
        count("wts.limit_wait", seconds, limit=limit)


def request_metrics() -> RequestMetrics | None:
    """Return the metrics for a client, or ``None`` if Airflow's metrics are off."""
    try:
        return RequestMetrics() if _backend() else None
    except Exception as error:
        _warn_once(f"{type(error).__name__}: {error}")
        return None


class PollMetrics:
    """Counts the polls of one connection in this process.

    :param poll: ``waits`` or ``events``.
    :param connection: ID of the Airflow connection.
    """

    def __init__(self, poll: str, connection: str) -> None:
        self._tags = {"poll": poll, "connection": connection}
        self._succeeded = time.monotonic()

    def polled(self, *, succeeded: bool) -> None:
        """Count a poll, and report the seconds since the last successful one.

        :param succeeded: whether anything could be read.
        """
        now = time.monotonic()
        if succeeded:
            self._succeeded = now
        count("wts.polls", outcome="succeeded" if succeeded else "failed", **self._tags)
        gauge("wts.poll_age", now - self._succeeded, **self._tags)

    def ended(self) -> None:
        """Report that there is nothing left to poll for."""
        gauge("wts.poll_age", 0, **self._tags)
