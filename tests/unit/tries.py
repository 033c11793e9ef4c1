"""Fixtures of the tests of sending and of campaigns: a hook that leads to an emulator, and tries of a task."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wts.api.client import WtsClient
from airflow_provider_wts.hooks.wts import WtsHook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_wts.emulator.running import Emulator


def number(index: int) -> str:
    return f"+55119{10_000_000 + index:08d}"


def numbers(count: int) -> list[str]:
    return [number(index) for index in range(count)]


class Store:
    """A task state store that can fail.

    ``fails_at`` has errors of writes, by key and by which write of the key it is. The number of all writes before it
    depends on how fast the machine is.
    """

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.writes: Counter[str] = Counter()
        self.fails_at: dict[tuple[str, int], Exception] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self.writes[key] += 1
        if problem := self.fails_at.get((key, self.writes[key])):
            raise problem
        self.values[key] = json.dumps(value)


class Task:
    """A task, of which tries can be made.

    :param store: its task state store; ``None`` = an Airflow that has none.
    """

    def __init__(self, store: Any = None, **identity: Any) -> None:
        self.store = store
        self.identity = {"dag_id": "campaign", "run_id": "run-1", "task_id": "send", "map_index": -1, **identity}
        self.try_number = 0
        self.max_tries = 0
        self.begun = datetime.now(UTC) - timedelta(seconds=1)

    def next_try(self) -> dict[str, Any]:
        """Return the context of the next try."""
        self.try_number += 1
        task_instance = SimpleNamespace(
            **self.identity, try_number=self.try_number, max_tries=self.max_tries, xcom_push=lambda **xcom: None
        )
        context = {"ti": task_instance, "dag_run": SimpleNamespace(run_after=self.begun)}
        return context if self.store is None else {**context, "task_state_store": self.store}

    def clear(self, retries: int = 0) -> None:
        """Clear it, as Airflow does: only this changes ``max_tries``."""
        self.max_tries = self.try_number + retries


@pytest.fixture(autouse=True)
def _never_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the store of Airflow 3.3 be played on the versions below."""
    try:
        from airflow import sdk
    except ImportError:
        import sys
        import types

        sdk = types.ModuleType("airflow.sdk")
        monkeypatch.setitem(sys.modules, "airflow.sdk", sdk)
        monkeypatch.setattr("airflow.sdk", sdk, raising=False)
    if not hasattr(sdk, "NEVER_EXPIRE"):
        monkeypatch.setattr(sdk, "NEVER_EXPIRE", None, raising=False)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def make_task() -> type[Task]:
    return Task


@pytest.fixture
def task(store: Store) -> Task:
    return Task(store)


@pytest.fixture
def hook(emulator: Emulator) -> WtsHook:
    """A hook whose client wastes no time between two attempts."""
    emulator.switches.change({"rate_limits": False, "queue_seconds": 0})
    emulator.behave("*", replies=[])
    made = WtsHook()
    made.__dict__["client"] = WtsClient(
        emulator.token, base_url=emulator.url, timeout=10.0, rate_limit_wait=0.0, sleep=lambda seconds: None
    )
    return made


@pytest.fixture
def bot_key(emulator: Emulator) -> str:
    return next(str(bot["key"]) for bot in emulator.state.chatbots.by_creation() if bot["name"] == "Cobrança")


@pytest.fixture
def in_the_past(emulator: Emulator) -> Callable[[], Any]:
    """Do something an hour ago by the emulator's clock."""

    @contextmanager
    def backdated() -> Iterator[None]:
        clock = emulator.clock
        now, last = clock._base, clock._last_stamp
        clock._base, clock._last_stamp = now - 3600 * 10_000_000, 0
        try:
            yield
        finally:
            clock._base, clock._last_stamp = now, last

    return backdated
