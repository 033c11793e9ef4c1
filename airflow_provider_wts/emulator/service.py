"""What is behind the HTTP server: the account, its faults, rate limits and recorded requests, and how to drive them."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from airflow_provider_wts.api.contract import Operation
from airflow_provider_wts.emulator import conversation
from airflow_provider_wts.emulator.answers import read_json
from airflow_provider_wts.emulator.clock import TICKS, Clock
from airflow_provider_wts.emulator.faults import Faults
from airflow_provider_wts.emulator.phones import is_handle, stored_phone
from airflow_provider_wts.emulator.seed import seed_account, seed_default
from airflow_provider_wts.emulator.state import Account, Delivery, Message, address_key
from airflow_provider_wts.emulator.switches import Switches
from airflow_provider_wts.emulator.webhooks import Postman


class RateLimits:
    """Counts requests by the emulator's clock."""

    def __init__(self, clock: Clock, switches: Switches) -> None:
        self._clock = clock
        self._switches = switches
        self._passed: defaultdict[str, deque[int]] = defaultdict(deque)

    def take(self, operation: Operation | None) -> float | None:
        """Count a request; return ``None`` if it may pass, else the emulated seconds until one may.

        A request that is over a limit is not counted.

        :param operation: the operation; ``None`` if the path is unknown.
        """
        switches = self._switches
        if not switches.rate_limits:
            return None
        sends = operation is not None and operation.send_limit
        limits: list[tuple[str, int, int]] = []
        if operation is not None and sends:
            name = operation.operation_id if switches.send_limit_per_operation else "send"
            limits.append((name, switches.send_requests, 120))
        if not sends or switches.sends_count_account_wide:
            limits += [("account", switches.account_requests, 300), ("burst", switches.burst_requests, 5)]
        now = self._clock.now()
        wait = max(self._wait(now, self._passed[name], most, seconds * TICKS) for name, most, seconds in limits)
        if wait > 0:
            return wait / TICKS
        for name, _, _ in limits:
            self._passed[name].append(now)
        return None

    def _wait(self, now: int, passed: deque[int], most: int, length: int) -> int:
        """Return the ticks until one more request may pass after those that did, 0 = now."""
        fixed = self._switches.window == "fixed"
        begin = now - now % length if fixed else now - length + 1
        while passed and passed[0] < begin:
            passed.popleft()
        if len(passed) < most:
            return 0
        return (begin if fixed or not passed else passed[-most]) + length - now


@dataclass(slots=True)
class RecordedRequest:
    """A request as it came over the wire.

    :param path: the path, still encoded.
    :param query: names and values of the query, decoded, in their order.
    :param headers: names in lower case and values, in their order, nothing hidden.
    :param operation_id: the operation, ``None`` if the path is unknown.
    :param at: when it came, in the emulator's time, as text.
    :param status: the status answered; ``None`` while it is open, or if a fault answered nothing.
    :param fault: kind of the fault that hit it.
    :param took_effect: whether the operation was carried out.
    :param violations: what it did that is not in the contract.
    """

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: list[tuple[str, str]]
    raw_body: bytes
    operation_id: str | None = None
    at: str = ""
    status: int | None = None
    fault: str | None = None
    took_effect: bool = False
    violations: list[str] = field(default_factory=list)

    @property
    def body(self) -> Any:
        """The parsed body; ``None`` if there is none, or it is not JSON."""
        try:
            return read_json(self.raw_body)
        except ValueError:
            return None

    def header(self, name: str) -> str | None:
        """Return the value of a header; its name counts in any case."""
        return next((value for key, value in self.headers if key == name.lower()), None)

    def summary(self) -> dict[str, Any]:
        """Return it as JSON data, without headers."""
        names = ("method", "path", "query", "operation_id", "at", "status", "fault", "took_effect", "violations")
        return {**{name: getattr(self, name) for name in names}, "body": self.body}


class Recorder:
    """Keeps the last requests, and counts all."""

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self._kept: deque[RecordedRequest] = deque()
        self.counts: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.total = 0

    def add(self, request: RecordedRequest) -> None:
        """Take a request in."""
        self._kept.append(request)
        while len(self._kept) > self._switches.recorded_requests:
            self._kept.popleft()
        self.total += 1
        self.counts[request.operation_id or "unknown"] += 1

    def answered(self, request: RecordedRequest, status: int) -> None:
        """Note what was answered."""
        request.status = status
        self.statuses[status] += 1

    def kept(self) -> list[RecordedRequest]:
        """Return the requests that are kept, oldest first."""
        return list(self._kept)

    def clear(self) -> None:
        """Forget all requests."""
        self._kept.clear()
        self.counts.clear()
        self.statuses.clear()
        self.total = 0


class Service:
    """One emulated service. Python attributes and the control calls over HTTP use the same methods."""

    def __init__(
        self, *, token: str, seed: int = 0, speed: float = 1.0, latency: float = 0.0, default_seed: bool = True
    ) -> None:
        self.token = token
        self.latency = latency
        self.switches = Switches()
        self.faults = Faults()
        self.recorder = Recorder(self.switches)
        self.postman = Postman(self.switches)
        self.stopping = threading.Event()
        self._seed = seed
        self._default_seed = default_seed
        self._begin(speed, "")

    def _begin(self, speed: float, address: str) -> None:
        self.account = Account(self.switches, speed=speed, seed=self._seed)
        self.account.address = address
        self.account.post = self.postman.post
        self.limits = RateLimits(self.account.clock, self.switches)
        if self._default_seed:
            seed_default(self.account)

    def reset(self) -> None:
        """Start again with new objects; the address and the speed stay."""
        before = self.account
        with before.lock:
            self.switches.change(Switches().as_dict())
            self.faults.clear()
            self.recorder.clear()
            self.postman.posts.clear()
            self._begin(before.clock.speed, before.address)

    def seed(self, data: Mapping[str, Any]) -> dict[str, int]:
        """Add objects; return how many of each kind."""
        with self.account.lock:
            return seed_account(self.account, data)

    def set_clock(self, *, advance: float = 0.0, speed: float | None = None) -> None:
        """Move time ahead, and change its speed."""
        with self.account.lock:
            if speed is not None:
                self.account.clock.speed = speed
            self.account.clock.move(advance)
            self.account.agenda.run_due()

    def contact_writes(self, address: str, text: str, channel: str | None = None) -> Message:
        """Make a contact write; see :meth:`Emulator.contact_writes`."""
        with self.account.lock:
            self.account.agenda.run_due()
            contact = conversation.contact_for(self.account, address)
            found = self.account.channel_of(channel) if channel else None
            message = conversation.contact_writes(self.account, contact, text, found)
            self.account.agenda.run_due()
            return message

    def received(self, to: str, *, by_bots: bool = False) -> list[Delivery]:
        """Return what a customer received; see :meth:`Emulator.received`."""
        with self.account.lock:
            self.account.agenda.run_due()
            address = to if is_handle(to) else stored_phone(to, self.switches)
            found = self.account.deliveries_by_contact.get(address_key(address), [])
            return [one for one in found if one.status != "FAILED" and (by_bots or not one.by_bot)]

    def state(self) -> dict[str, Any]:
        """Return a view of everything as JSON data."""
        account = self.account
        with account.lock:
            account.agenda.run_due()
            return {
                "now": account.now_text(),
                "speed": account.clock.speed,
                "counts": {name: len(table) for name, table in vars(account).items() if hasattr(table, "by_creation")},
                "sessions": [
                    {
                        **session.shown("status", "botId", "metadata"),
                        "contact": session.contact["phoneNumber"] or session.contact["instagram"],
                        "running_bot": session.run.bot["name"] if session.run else None,
                        "messages": [
                            {name: message[name] for name in ("direction", "origin", "status", "text")}
                            for message in session.messages
                        ],
                    }
                    for session in account.sessions.by_creation()[-200:]
                ],
                "sends": [
                    {
                        **send.shown("senderId", "sessionId"),
                        "operation_id": send.operation_id,
                        "to": send.to,
                        "status": (send.message or send)["status"],
                    }
                    for send in account.sends.by_creation()[-200:]
                ],
                "deliveries": [delivery.as_dict() for delivery in account.deliveries[-500:]],
                "requests": {
                    "total": self.recorder.total,
                    "by_operation": dict(self.recorder.counts),
                    "by_status": {str(status): count for status, count in self.recorder.statuses.items()},
                    "last": [request.summary() for request in self.recorder.kept()[-50:]],
                },
                "violations": account.violations[-200:],
                "posts": [asdict(post) for post in self.postman.posts[-200:]],
                "faults": self.faults.as_list(),
                "switches": self.switches.as_dict(),
            }
