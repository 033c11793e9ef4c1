"""SIGTERM while a task brings something to an end: when it ends a wait, and when Airflow gets it."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
from tries import numbers

from airflow_provider_wts.hooks.termination import Terminated, Termination
from airflow_provider_wts.operators.message import WtsSendTextBatchOperator
from airflow_provider_wts.sending import clock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_wts.emulator.running import Emulator


@pytest.fixture
def signals() -> Iterator[list[int]]:
    """The signals that Airflow's own handler gets."""
    got: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: got.append(number))
    yield got
    signal.signal(signal.SIGTERM, before)


def test_a_signal_waits_until_it_may_end_something(signals: list[int]) -> None:
    with Termination() as termination:
        signal.raise_signal(signal.SIGTERM)
        assert termination.requested
        with pytest.raises(Terminated), termination.interruptible():
            pytest.fail("It began, though the task is to end.")
    assert signals == []


def test_a_signal_ends_what_may_be_interrupted(signals: list[int]) -> None:
    with Termination() as termination:
        with pytest.raises(Terminated), termination.interruptible():
            signal.raise_signal(signal.SIGTERM)
        # And nothing after it.
        signal.raise_signal(signal.SIGTERM)
    assert signals == []


def test_what_is_inside_of_it_may_be_interrupted_too_and_so_may_the_rest(signals: list[int]) -> None:
    def interrupted(termination: Termination) -> None:
        with termination.interruptible():
            with termination.interruptible():
                pass
            signal.raise_signal(signal.SIGTERM)

    with Termination() as termination, pytest.raises(Terminated):
        interrupted(termination)
    assert signals == []


def test_airflow_gets_the_signal_at_the_end_if_the_task_obeyed_it(signals: list[int]) -> None:
    with Termination() as termination:
        signal.raise_signal(signal.SIGTERM)
        termination.honored = True
        assert signals == []
    assert signals == [signal.SIGTERM]
    signal.raise_signal(signal.SIGTERM)
    assert signals == [signal.SIGTERM] * 2


@pytest.mark.parametrize("waits", ["for its pace", "for what becomes of a request"])
def test_a_campaign_that_waits_ends_and_airflow_gets_the_signal(
    service: Emulator,
    context: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    signals: list[int],
    waits: str,
) -> None:
    monkeypatch.setattr(clock, "sleep", lambda *wait: signal.raise_signal(signal.SIGTERM))
    pace = 1 if waits == "for its pace" else None
    if not pace:
        service.faults.add("reset", when="before", operation_id="send_text")
    results = tmp_path / "results.jsonl"
    WtsSendTextBatchOperator(
        task_id="t",
        recipients=numbers(4),
        row_text="Olá!",
        chunk_size=1,
        results_path=str(results),
        max_per_minute=pace,
    ).execute(context)
    manifest = json.loads(results.with_suffix(".jsonl.manifest.json").read_text())
    assert signals == [signal.SIGTERM]
    assert (manifest["complete"], manifest["stopped"]) == (True, str(Terminated()))
    assert (manifest["sent"], manifest["undecided"], manifest["not_sent"]) == ((1, 0, 3) if pace else (0, 1, 3))
