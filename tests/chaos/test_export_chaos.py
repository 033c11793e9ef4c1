"""Exports that are killed again and again, beside tries that were given up and still run, of an account that changes.

Each is complete by id, and no row comes twice. Environment variables: ``WTS_CHAOS_EXPORTS`` (default 3),
``WTS_CHAOS_SEED`` (default: a random one, printed).
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest
from forked_tries import Tasks

from airflow_provider_wts.emulator.clock import parse_ticks
from airflow_provider_wts.emulator.running import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forked_tries import Try

EXPORTS = int(os.environ.get("WTS_CHAOS_EXPORTS", "3"))
SEED = int(os.environ.get("WTS_CHAOS_SEED") or random.SystemRandom().randrange(10**6))
LANES = 3
MOST_KILLS = 5

_GOOD_ENDS = ("may be incomplete", "Another try of this task has taken over")


class Restless:
    """An account whose sessions change, come and leave while it is read.

    :param emulator: the service.
    :param chance: what happens next.
    :param end: end of the interval; some sessions are shown only later, with a change before it.
    """

    def __init__(self, emulator: Emulator, chance: random.Random, end: datetime) -> None:
        self._emulator = emulator
        self._chance = chance
        self._end = end
        self._stop = Event()
        self._thread = Thread(target=self._live)
        self.failure: BaseException | None = None

    def __enter__(self) -> Restless:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _live(self) -> None:
        try:
            while not self._stop.wait(self._chance.uniform(0, 0.1)):
                self._chance.choice((self._write, self._write, self._write, self._come, self._come_late, self._leave))()
        except BaseException as failure:
            self.failure = failure

    def _any(self) -> Any:
        return self._chance.choice(self._emulator.state.sessions.by_creation())

    def _write(self) -> None:
        with self._emulator.state.lock:
            session = self._any()
            self._emulator.state.sessions.touch(session, self._emulator.clock.stamp())

    def _come(self) -> None:
        self._emulator.seed(sessions=1)

    def _come_late(self) -> None:
        with self._emulator.state.lock:
            self._emulator.seed(sessions=1)
            session = max(self._emulator.state.sessions.by_creation(), key=lambda one: one.created)
            at = self._end - timedelta(seconds=self._chance.uniform(1, 100))
            self._emulator.state.sessions.touch(session, parse_ticks(at.isoformat()))

    def _leave(self) -> None:
        with self._emulator.state.lock:
            if len(self._emulator.state.sessions) > 50:
                self._emulator.state.sessions.remove(self._any())


class Account:
    """An export and the one after it.

    :param tasks: starts tries.
    :param seed: says what happens.
    :param folder: where its files go.
    """

    def __init__(self, tasks: Tasks, seed: int, folder: Path) -> None:
        self._tasks = tasks
        self._chance = random.Random(seed)
        self._folder = folder
        self._tries = 0
        self._given_up: list[Try] = []

    def play(self) -> None:
        """Export an interval with kills, and the next one; together they have every session."""
        with Emulator(seed=self._chance.randrange(10**6), latency=0.004) as emulator:
            emulator.switches.rate_limits = False
            emulator.seed(sessions=self._chance.randrange(150, 320))
            for session in emulator.state.sessions.by_creation()[:20]:
                emulator.contact_writes(session.contact["phoneNumber"], "Olá")
            begin = datetime.fromisoformat(emulator.state.now_text()) - timedelta(hours=1)
            end = begin + timedelta(hours=1, seconds=0.5)
            emulator.advance(1)
            with Restless(emulator, self._chance, end) as restless:
                first = self._export(emulator, "first", begin, end, self._chance.randrange(MOST_KILLS + 1))
            assert restless.failure is None, restless.failure
            emulator.advance(1)
            second = self._export(emulator, "second", end, datetime.fromisoformat(emulator.state.now_text()), 0)
            missing = {session.id for session in emulator.state.sessions.by_creation()} - set(first) - set(second)
            assert not missing, f"{len(missing)} sessions are missing"

    def _export(self, emulator: Emulator, run_id: str, begin: datetime, end: datetime, kills: int) -> list[str]:
        settings = {
            "url": emulator.url,
            "token": emulator.token,
            "part": 20,
            "folder": str(self._folder),
            "run_id": run_id,
            "updated_after": begin.isoformat(),
            "updated_before": end.isoformat(),
        }
        number = 0
        while True:
            number += 1
            assert number < 15, "It never finishes."
            self._tries += 1
            result = self._folder.with_name(f"{self._folder.name}-{self._tries}.json")
            running = self._tasks.start({**settings, "try_number": number, "result": str(result)})
            if number <= kills:
                self._strike(running)
                continue
            outcome = running.outcome()
            if "counts" in outcome:
                break
            assert _GOOD_ENDS[0] in outcome["error"], outcome
        for stale in self._given_up:
            stale.signal(signal.SIGCONT)
        for stale in self._given_up:
            ended = stale.outcome()
            assert "counts" in ended or any(words in ended["error"] for words in _GOOD_ENDS), ended
        self._given_up.clear()
        return self._rows(outcome["counts"])

    def _strike(self, running: Try) -> None:
        """Kill a try, or stop it, at any point of its work."""
        deadline = time.monotonic() + self._chance.uniform(0, 2.5)
        for stale in self._given_up:
            if self._chance.random() < 0.5:
                stale.signal(signal.SIGCONT)
        while time.monotonic() < deadline and not running.is_over():
            time.sleep(0.01)
        if self._chance.random() < 0.4:
            running.signal(signal.SIGSTOP)
            self._given_up.append(running)
        else:
            running.signal(signal.SIGKILL)

    def _rows(self, counts: dict[str, Any]) -> list[str]:
        manifest = json.loads(Path(counts["manifest"].removeprefix("file://")).read_text())
        rows = [json.loads(row)["id"] for name in manifest["files"] for row in (self._folder / name).open()]
        assert len(set(rows)) == len(rows) == counts["sessions"]
        mark = manifest["manifest"].rsplit("-", 2)[-2]
        there = {file.name for file in self._folder.glob(f"conversations-{mark}-*")}
        assert there == set(manifest["files"])
        return rows


@pytest.fixture
def tasks() -> Iterator[Tasks]:
    started = Tasks("export_task.py")
    yield started
    started.close()


@pytest.mark.timeout(7200)
def test_exports_are_complete_by_id_and_no_row_comes_twice(tasks: Tasks, tmp_path: Path) -> None:
    sys.stdout.write(f"WTS_CHAOS_SEED={SEED} WTS_CHAOS_EXPORTS={EXPORTS}\n")

    def play(number: int) -> None:
        try:
            Account(tasks, SEED + number, tmp_path / str(number)).play()
        except BaseException as failure:
            failure.add_note(f"WTS_CHAOS_SEED={SEED + number} WTS_CHAOS_EXPORTS=1 plays it again")
            raise

    with ThreadPoolExecutor(LANES) as lanes:
        for _ in lanes.map(play, range(EXPORTS)):
            pass
