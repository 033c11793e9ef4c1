"""What the tests of operators share beyond the other unit tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from databases import database  # noqa: F401
from tries import bot_key  # noqa: F401

from airflow_provider_wts.operators.base import WtsOperator

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_wts.emulator.running import Emulator


class LoggedLines:
    """Stands for the log of an operator. Airflow's versions write theirs to different places."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __getattr__(self, level: str) -> Any:
        return lambda message, *args, **more: self.lines.append((level, message % args if args else message))

    def text(self, *levels: str) -> str:
        """Return what was logged at these levels; at all where none is given."""
        return "\n".join(line for level, line in self.lines if not levels or level in levels)


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> LoggedLines:
    """What operators log from now on."""
    lines = LoggedLines()
    monkeypatch.setattr(WtsOperator, "log", lines, raising=False)
    return lines


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of ledgers in files, which every version of Airflow can have."""
    monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", f"file://{tmp_path}")
    return tmp_path


@pytest.fixture
def fast_queue(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Customers who do not answer, and a platform whose queue is asked about at once."""
    emulator.behave("*", replies=[])
    emulator.switches.whatsapp_window = "off"
    # On a busy machine, a first try that is slower than the lease asks WTS Chat about everybody.
    monkeypatch.setattr("airflow_provider_wts.sending.ledger.LEASE", 1.0)
    monkeypatch.setattr("airflow_provider_wts.sending.reconcile._QUEUE_INTERVAL", 0.1)
    monkeypatch.setattr("airflow_provider_wts.sending.reconcile.QUEUE_WAIT", 0.3)
