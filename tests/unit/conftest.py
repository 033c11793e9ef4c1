"""What the unit tests share: an emulator, a connection that leads to it, and the context of a task."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wts.emulator.running import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator


class TaskInstance:
    """A task instance, as far as our code looks at one."""

    dag_id = "campaign"
    run_id = "manual__2026-11-22"
    task_id = "send"
    map_index = -1
    try_number = 1
    max_tries = 0

    def __init__(self) -> None:
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


class TaskStateStore:
    """Airflow's task state store, in memory: values are JSON, and survive tries."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self.values[key] = json.dumps(value)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def wts_connection(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """Let ``wts_default`` lead to an emulator, and return the emulator."""
    connection = {"conn_type": "wts", "host": emulator.url, "password": emulator.token}
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))
    return emulator


@pytest.fixture
def service(wts_connection: Emulator) -> Emulator:
    """The emulator, whose contacts do not answer by themselves, and whose sends happen at once."""
    wts_connection.behave("*", replies=[])
    wts_connection.switches.change({"whatsapp_window": "off", "queue_seconds": 0, "rate_limits": False})
    return wts_connection


@pytest.fixture
def object_store() -> Any:
    """The file system behind ``memory://``; all tests of a process share what it holds."""
    from fsspec.implementations.memory import MemoryFileSystem

    try:
        from airflow.sdk.io import attach
    except ImportError:  # Airflow 2.11
        from airflow.io.store import attach  # type: ignore[no-redef]

    store = MemoryFileSystem()
    # Airflow remembers a store that another test named before there was a file system for it.
    attach("memory", fs=store).fs = store
    return store


@pytest.fixture
def context() -> dict[str, Any]:
    """The context of a task's first try, as far as our code looks into it."""
    run = SimpleNamespace(start_date=datetime.now(UTC) - timedelta(seconds=1), clear_number=0)
    return {"ti": TaskInstance(), "dag_run": run}


@pytest.fixture
def stateful_context(context: dict[str, Any]) -> dict[str, Any]:
    """The context of a task on an Airflow with a task state store."""
    sdk = pytest.importorskip("airflow.sdk", reason="Airflow has a task state store from 3.3 on")
    if not hasattr(sdk, "NEVER_EXPIRE"):
        pytest.skip("Airflow has a task state store from 3.3 on")
    return {**context, "task_state_store": TaskStateStore()}


@pytest.fixture(autouse=True)
def _later_tries_take_over_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a second try take the ledger over without the pause that a real one needs."""
    monkeypatch.setattr("airflow_provider_wts.sending.ledger.LEASE", 0.05)


@pytest.fixture(autouse=True)
def _what_was_sent_shows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a search conclude that nothing was sent without the time that a real service may need."""
    monkeypatch.setattr("airflow_provider_wts.sending.reconcile.effect_lag", lambda timeout: 0.2)


@pytest.fixture(autouse=True)
def _secrets_of_this_test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Airflow forget what a test had it mask in logs: with each new secret, it compiles all of them again."""
    for name in [name for name in sys.modules if name.endswith("secrets_masker")]:
        if find_masker := getattr(sys.modules[name], "_secrets_masker", None):
            masker = find_masker()
            monkeypatch.setattr(masker, "patterns", set(masker.patterns))
            monkeypatch.setattr(masker, "replacer", masker.replacer)
