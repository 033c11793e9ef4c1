"""What the emulator remembers of the requests it got."""

from __future__ import annotations

import json
from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.switches import Switches


@dataclass(slots=True)
class RecordedRequest:
    """A request as it came over the wire.

    :param method: HTTP method.
    :param path: the path, still encoded.
    :param query: names and values of the query, decoded, in their order.
    :param headers: names in lower case and values, in their order, nothing hidden.
    :param raw_body: the body's bytes.
    :param operation_id: the operation, ``None`` where the path leads nowhere.
    :param at: when it came, in the emulator's time, as text.
    :param status: the status answered; ``None`` while it is open, or where a fault answered nothing.
    :param fault: kind of the fault that hit it.
    :param took_effect: whether the operation was carried out.
    :param violations: what it did that the contract does not know.
    """

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: list[tuple[str, str]]
    raw_body: bytes
    operation_id: str | None
    at: str
    status: int | None = None
    fault: str | None = None
    took_effect: bool = False
    violations: list[str] = field(default_factory=list)

    @property
    def body(self) -> Any:
        """The body, parsed; ``None`` where there is none or it is no JSON."""
        try:
            return json.loads(self.raw_body)
        except ValueError:
            return None

    def header(self, name: str) -> str | None:
        """Return the value of a header.

        :param name: its name, in any case.
        """
        return next((value for key, value in self.headers if key == name.lower()), None)

    def summary(self) -> dict[str, Any]:
        """Return it as JSON data, without headers."""
        names = ("method", "path", "query", "operation_id", "at", "status", "fault", "took_effect", "violations")
        return {**{name: getattr(self, name) for name in names}, "body": self.body}


class Recorder:
    """Keeps the last requests, and counts all.

    :param switches: say how many are kept.
    """

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self._kept: deque[RecordedRequest] = deque()
        self.counts: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.total = 0

    def add(self, request: RecordedRequest) -> None:
        """Take a request in.

        :param request: the request.
        """
        self._kept.append(request)
        while len(self._kept) > self._switches.recorded_requests:
            self._kept.popleft()
        self.total += 1
        self.counts[request.operation_id or "unknown"] += 1

    def answered(self, request: RecordedRequest, status: int) -> None:
        """Note what was answered.

        :param request: the request.
        :param status: HTTP status.
        """
        request.status = status
        self.statuses[status] += 1

    def kept(self) -> list[RecordedRequest]:
        """Return the requests that are kept, oldest first."""
        return list(self._kept)

    def last(self, most: int) -> list[RecordedRequest]:
        """Return the last requests that are kept, oldest first.

        :param most: how many at the most.
        """
        return list(islice(reversed(self._kept), most))[::-1]

    def clear(self) -> None:
        """Forget all requests."""
        self._kept.clear()
        self.counts.clear()
        self.statuses.clear()
        self.total = 0
