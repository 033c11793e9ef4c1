"""The provider's metrics. They go where Airflow sends its own, and nowhere if Airflow sends none."""

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
    :param tags: its tags. A backend without tags gets their values as parts of the name, in this order.
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

#: What Airflow's metrics take in a name, without the dot, which separates its parts.
_NOT_IN_A_PART = re.compile(r"[^A-Za-z0-9_-]")


class _Backend(NamedTuple):
    """Where Airflow sends metrics.

    :param stats: Airflow's ``Stats``.
    :param has_tags: whether it keeps tags. Plain StatsD drops them.
    """

    stats: Any
    has_tags: bool


@cache
def _backend() -> _Backend | None:
    """Return where metrics go; ``None`` if Airflow's metrics are off. The settings hold for the life of a process."""
    from airflow.providers.common.compat.sdk import conf

    def is_on(option: str) -> bool:
        return bool(conf.getboolean("metrics", option, fallback=False))

    datadog, statsd = is_on("statsd_datadog_enabled"), is_on("statsd_on")
    if not (datadog or statsd or is_on("otel_on")):
        return None
    from airflow.providers.common.compat.sdk import Stats

    # In the order in which Airflow chooses.
    return _Backend(Stats, has_tags=datadog or not statsd or is_on("statsd_influxdb_enabled"))


def count(name: str, number: float = 1, /, **tags: str) -> None:
    """Add to a counter. It never raises: no send fails because of a metric.

    :param name: name of the metric.
    :param number: how much.
    """
    _emit("incr", name, number, tags)


def count_send(operation_id: str, outcome: str) -> None:
    """Count what must happen exactly once, such as a message to one recipient.

    :param operation_id: the operation that does it.
    :param outcome: ``sent``, ``failed`` or ``undecided``.
    """
    count("wts.sends", operation=operation_id, outcome=outcome)


def gauge(name: str, value: float, /, **tags: str) -> None:
    """Set a gauge of this host. It never raises.

    :param name: name of the metric.
    :param value: its value now.
    :param tags: its tags, without the host.
    """
    _emit("gauge", name, value, {**tags, "host": socket.gethostname()})


def _emit(method: str, name: str, value: float, tags: dict[str, str]) -> None:
    try:
        backend = _backend()
        if backend is None:
            return
        parts = {tag: _NOT_IN_A_PART.sub("_", tags[tag]) for tag in METRICS[name].tags}
        if backend.has_tags:
            getattr(backend.stats, method)(name, value, tags=parts)
        else:
            getattr(backend.stats, method)(".".join((name, *parts.values())), value)
    except Exception as error:
        _complain(f"{type(error).__name__}: {error}")


@cache
def _complain(problem: str) -> None:
    """Log a problem, once for the life of the process."""
    log.warning("Metrics are not sent, everything else goes on: %s", problem)


class RequestMetrics:
    """Counts what a client does."""

    def requested(self, operation_id: str, outcome: str) -> None:
        """Count a request."""
        count("wts.requests", operation=operation_id, outcome=outcome)

    def waited(self, limit: str, seconds: float) -> None:
        """Count seconds of waiting for a rate limit.

        :param limit: ``own`` if the provider's count held the request back, ``server`` if WTS Chat refused it.
        :param seconds: how long.
        """
        count("wts.limit_wait", seconds, limit=limit)


def request_metrics() -> RequestMetrics | None:
    """Return what counts the requests of a client; ``None`` if Airflow's metrics are off."""
    try:
        return RequestMetrics() if _backend() else None
    except Exception as error:
        _complain(f"{type(error).__name__}: {error}")
        return None


class PollMetrics:
    """Counts the polls of one connection in this process.

    :param poll: what the poll is for: ``waits`` or ``events``.
    :param connection: id of the Airflow connection.
    """

    def __init__(self, poll: str, connection: str) -> None:
        self._tags = {"poll": poll, "connection": connection}
        self._succeeded = time.monotonic()

    def polled(self, *, succeeded: bool) -> None:
        """Count a poll, and report the seconds since the last one that succeeded.

        :param succeeded: whether anything could be read.
        """
        now = time.monotonic()
        if succeeded:
            self._succeeded = now
        count("wts.polls", outcome="succeeded" if succeeded else "failed", **self._tags)
        gauge("wts.poll_age", now - self._succeeded, **self._tags)

    def ended(self) -> None:
        """Report that there is nothing to poll for any more."""
        gauge("wts.poll_age", 0, **self._tags)
