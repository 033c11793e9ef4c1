"""Tries that Airflow gave up and that still run, on its real execution API and database.

A try is stopped at a point that the seed draws, with its supervisor, and given up; the next try gets a new
task-instance id, and the old one is answered with 404. Then the stale try is continued beside its successor. Every
recipient is counted at the service: nobody gets a message twice, and whoever got none is named. Environment variables:
``WTS_CHAOS_SENDS`` (default 300), of which a tenth is sent here, but 30 at least; ``WTS_CHAOS_SEED`` (default: a random
one, printed).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow_version import AIRFLOW_VERSION
from whole_airflow import free_port

from airflow_provider_wts.emulator.running import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.timeout(7200),
    pytest.mark.skipif(AIRFLOW_VERSION < (3, 3), reason="before Airflow 3.3 a try keeps its id, and no store knows it"),
]

SENDS = max(30, int(os.environ.get("WTS_CHAOS_SENDS", "300")) // 10)
SEED = int(os.environ.get("WTS_CHAOS_SEED") or random.SystemRandom().randrange(10**6))
LANES = int(os.environ.get("WTS_CHAOS_LANES", "16"))

SINGLE = ("text", "chatbot", "template", "file")
CAMPAIGNS = ("text_campaign", "chatbot_campaign", "template_campaign")

#: Where a try is stopped that is given up: what makes it wait, the point, and at which of its passes. A deck is dealt
#: to its end before it is shuffled again, so each kind comes up often.
STOPS: list[tuple[dict[str, Any], tuple[str, int]]] = [
    # Before it opens its ledger, or in the first name look-up.
    ({}, ("resolve", 1)),
    ({}, ("read:before", 1)),
    *[({}, ("ledger:before", 1))] * 3,
    # Between two steps in its ledger.
    *[({}, (point, number)) for point in ("ledger:before", "ledger:after") for number in (2, 3)],
    ({}, ("ledger:after", 1)),
    ({}, ("ledger:after", 4)),
    ({}, ("wait:lease", 1)),
    # In each kind of wait.
    *[({"wait": "429"}, ("wait:retry", 1))] * 3,
    ({"wait": "rate limit", "at_pass": 1}, ("wait:rate limit", 1)),
    ({"wait": "rate limit", "at_pass": 2}, ("wait:rate limit", 1)),
    ({"wait": "refused", "at_pass": 1}, ("wait:retry", 1)),
    ({"wait": "refused", "at_pass": 2}, ("wait:retry", 1)),
    ({}, ("resolve", 2)),
    ({"wait": "window"}, ("wait:window", 1)),
    # Between intent and first byte, before the answer, after it.
    *[({}, ("send:before", 1))] * 2,
    ({}, ("send:before", 2)),
    ({}, ("send:unanswered", 1)),
    ({}, ("send:answered", 1)),
]

#: Where the successor stands still for the moment in which the others come back, so that they meet where the seed says.
MEETINGS: list[tuple[dict[str, Any], tuple[str, int]]] = [
    *[({}, (point, number)) for point in ("ledger:before", "ledger:after") for number in (1, 2, 3)],
    ({}, ("ledger:after", 2)),
    ({}, ("ledger:after", 4)),
    ({}, ("wait:lease", 1)),
    ({}, ("wait:reconcile", 1)),
    *[({"wait": "429"}, ("wait:retry", 1))] * 2,
    ({}, ("send:before", 1)),
    ({}, ("send:unanswered", 1)),
    ({}, ("send:answered", 1)),
]


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        running.switches.change({"rate_limits": False, "recorded_requests": 100_000, "whatsapp_window": "off"})
        running.behave("*", replies=[])
        yield running


class Airflow:
    """The execution API, and the process that plays the executor.

    :param folder: for everything.
    :param migrated: a migrated database.
    :param emulator: the service that the tasks talk to.
    """

    def __init__(self, folder: Path, migrated: Path, emulator: Emulator) -> None:
        self._folder = folder
        port = free_port()
        (folder / "dags").mkdir()
        here = Path(__file__).parent
        dags = shutil.copy(here / "dags_of_stale_tries.py", folder / "dags")
        database = shutil.copy(migrated, folder / "airflow.db")
        (folder / "ledger").mkdir()
        connection = {
            "conn_type": "wts",
            "host": emulator.url,
            "password": emulator.token,
            "extra": {"timeout": 5},
        }
        environment = {
            **os.environ,
            "AIRFLOW_HOME": str(folder),
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}?timeout=60",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder / "logs"),
            "AIRFLOW_CONN_WTS_DEFAULT": json.dumps(connection),
            # A busy machine may take its time.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
            # Nothing takes effect late here.
            "AIRFLOW__WTS__EFFECT_LAG": "5",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        self.url = f"http://127.0.0.1:{port}"
        self._outputs = {name: (folder / f"{name}.log").open("w") for name in ("server", "executor")}
        self._server = subprocess.Popen(
            [sys.executable, str(here / "execution_api.py"), str(port), str(dags)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._outputs["server"],
            stderr=subprocess.STDOUT,
        )
        reading, writing = os.pipe()
        self._answers = os.fdopen(reading)
        self._executor = subprocess.Popen(
            [sys.executable, str(here / "stale_tries.py"), str(writing)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=self._outputs["executor"],
            stderr=subprocess.STDOUT,
            pass_fds=[writing],
            text=True,
        )
        os.close(writing)

    def play(self, stories: list[dict[str, Any]], **settings: Any) -> list[dict[str, Any]]:
        """Play stories, and return what came of each."""
        self._await_server()
        settings |= {
            "stories": stories,
            "airflow": self.url,
            "folder": str(self._folder),
            "ledger": str(self._folder / "ledger"),
            "lanes": min(LANES, len(stories)),
        }
        self._executor.stdin.write(json.dumps(settings) + "\n")
        self._executor.stdin.flush()
        line = self._answers.readline()
        assert line, f"The process that plays the executor died:\n{self._tail('executor')}\n{self._tail('server')}"
        return json.loads(line)

    def close(self) -> None:
        """End both processes."""
        self._executor.stdin.close()
        self._answers.close()
        self._server.terminate()
        for process in (self._executor, self._server):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for output in self._outputs.values():
            output.close()

    def _await_server(self) -> None:
        import requests

        end = time.monotonic() + 300
        while True:
            assert self._server.poll() is None, self._tail("server")
            assert time.monotonic() < end, self._tail("server")
            try:
                with requests.Session() as http:
                    http.trust_env = False
                    if http.get(f"{self.url}/execution/health", timeout=5).ok:
                        return
            except requests.RequestException:
                time.sleep(0.2)

    def _tail(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text(errors="replace")[-3000:]


@pytest.fixture
def airflow(tmp_path: Path, migrated_database: Path, emulator: Emulator) -> Iterator[Airflow]:
    running = Airflow(tmp_path, migrated_database, emulator)
    try:
        yield running
    finally:
        running.close()


def dealt(chance: random.Random, deck: list[Any]) -> Iterator[Any]:
    """Deal a deck again and again."""
    while True:
        yield from chance.sample(deck, len(deck))


def stories_of(chance: random.Random, sends: int, file: Path) -> list[dict[str, Any]]:
    """Draw stories until there are enough sends."""
    # A window opens at a full minute, which is too long to wait for in a slice.
    windows = sends >= 200
    stops = dealt(chance, [stop for stop in STOPS if windows or stop[0].get("wait") != "window"])
    meetings, ledgers = dealt(chance, MEETINGS), dealt(chance, ["store", "files"])
    stories: list[dict[str, Any]] = []
    begun = 0
    while begun < sends:
        kind = chance.choice(SINGLE if chance.random() < 0.85 else CAMPAIGNS)
        people = 1 if kind in SINGLE else chance.randrange(3, 9)
        to = [f"+55119{chance.choice((6, 7, 8))}{begun + number:07}" for number in range(people)]
        begun += people
        tries = tries_of(chance, stops, meetings)
        in_window = any(one.get("wait") == "window" for one in tries)
        stories.append(
            {
                "kind": kind,
                "run_id": f"story-{len(stories)}",
                "ledger": next(ledgers),
                "dag_id": f"{kind}_in_window" if in_window else kind,
                "conf": {"to": to, "file": str(file), "window": ""},
                "in_window": in_window,
                "tries": tries,
            }
        )
    # Those that wait for a minute to begin go first.
    return sorted(stories, key=lambda story: not story["in_window"])


def tries_of(chance: random.Random, stops: Iterator[Any], meetings: Iterator[Any]) -> list[dict[str, Any]]:
    """Draw what happens to the tries of a story: one or two are given up, and the last one meets them."""
    tries = []
    for _ in range(2 if chance.random() < 0.15 else 1):
        more, stop = next(stops)
        tries.append({**more, "stop": stop, "given_up": True, "heartbeat": chance.random() < 0.3})
    more, stop = next(meetings)
    lead = chance.choice((0.0, 0.0, 0.5, 30.0))
    return [*tries, {**more, "stop": stop, "given_up": False, "heartbeat": True, "lead": lead}]


def with_windows(stories: list[dict[str, Any]]) -> None:
    """Let the windows open at the next minutes, later for those that have no lane yet."""
    first = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    if first - datetime.now(UTC) < timedelta(seconds=30):
        first += timedelta(minutes=1)
    for number, story in enumerate(stories):
        opening = first + timedelta(minutes=2) * (number // LANES)
        story["conf"]["window"] = f"{opening:%H:%M}-{opening - timedelta(minutes=10):%H:%M} UTC"


def test_a_try_that_was_given_up_sends_nothing_beside_its_successor(
    airflow: Airflow, emulator: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "boleto.pdf"
    file.write_bytes(b"%PDF-1.4 " * 2000)
    stories = stories_of(random.Random(f"{SEED}:stale tries"), SENDS, file)
    started = time.monotonic()
    with_windows([story for story in stories if story["in_window"]])
    results = airflow.play(stories, url=emulator.url)
    seconds = time.monotonic() - started
    # What is still in the queue is delivered.
    emulator.advance(600)
    got = Counter("".join(filter(str.isdigit, one.to)) for one in emulator.deliveries if not one.by_bot)
    summary: Counter[str] = Counter()
    problems: list[str] = []
    for result in results:
        summary.update(tally(result, got))
        problems += judged(result, got)
    words = ", ".join(f"{summary[name]} {name}" for name in sorted(summary))
    points = Counter(f"{seen['point']}" for result in results for seen in result["stopped"])
    with capsys.disabled():
        sys.stdout.write(f"\nstale tries: seed {SEED}, {words}, {seconds:.0f} s; stopped at {dict(points)}\n")
        sys.stdout.writelines(f"{problem}\n" for problem in problems[:20])
    assert not problems, f"seed {SEED}\n" + "\n".join(problems[:20])
    assert summary["sends"] >= SENDS
    # Not every drawn point lies on the way of its try.
    assert summary["stories with a stale try"] > len(stories) * 0.5


def digits(number: str) -> str:
    return number.removeprefix("+")


def judged(result: dict[str, Any], got: Counter[str]) -> Iterator[str]:
    """Say what is wrong with a story."""
    if result["problem"]:
        yield f"{result['problem']}: {result}"
        return
    logs = ""
    for to in result["story"]["conf"]["to"]:
        if got[digits(to)] > 1:
            yield f"{to} got {got[digits(to)]} messages ({kind_of(result)}): {result}"
        if got[digits(to)] == 0:
            logs = logs or "\n".join(Path(path).read_text() for path in result["logs"] if Path(path).exists())
            named = digits(to) in "".join(char for char in logs if char not in " +-|()")
            if result["state"] == "success" or not named:
                yield f"{to} got nothing, and {'is' if named else 'is not'} named: {result}\n{logs[-3000:]}"


def kind_of(result: dict[str, Any]) -> str:
    """Tell how a stale try and its successor met: by the letter of its kind."""
    beside = result["beside"] or {}
    if all(seen["ledger"] for seen in result["stopped"]):
        return "a: it had opened its ledger before"
    if beside.get("writes", 9) > 1:
        return "c: it opened its ledger when its successor had written there"
    return "b: it opened its ledger when its successor had taken over"


def tally(result: dict[str, Any], got: Counter[str]) -> Iterator[str]:
    """Name what happened, each as often as it did."""
    yield from ["sends"] * len(result["story"]["conf"]["to"])
    yield f"ended as {result['state']}"
    yield from ["tries"] * result["tries"]
    yield from ["stopped tries"] * len(result["stopped"])
    yield from ["stopped first tries"] * sum(seen["try"] == 1 for seen in result["stopped"])
    if result["stopped"]:
        yield "stories with a stale try"
    if result["stopped"] and result["beside"]:
        yield "continued beside a successor"
    twice = sum(got[digits(to)] > 1 for to in result["story"]["conf"]["to"])
    yield from [f"twice, kind {kind_of(result)[0]}"] * twice
    yield from ["without a message"] * sum(not got[digits(to)] for to in result["story"]["conf"]["to"])
