"""The scheduler, the triggerer and workers in earnest, and what becomes of our tasks when they are killed."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow_version import AIRFLOW_VERSION
from whole_airflow import AIRFLOW_3, REDIS, WholeAirflow, tell

from airflow_provider_wts.emulator.conversation import complete
from airflow_provider_wts.emulator.running import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_wts.emulator.faults import Fault

pytestmark = [pytest.mark.scheduler, pytest.mark.timeout(1500)]

DAGS = Path(__file__).with_name("dags_for_scheduler")
SENSORS = 100
RECIPIENTS = 40


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


def connection(emulator: Emulator, timeout: int = 60) -> dict[str, Any]:
    return {"conn_type": "wts", "host": emulator.url, "password": emulator.token, "extra": {"timeout": timeout}}


@pytest.fixture
def local_airflow(emulator: Emulator) -> Iterator[WholeAirflow]:
    airflow = WholeAirflow([DAGS / "many_sensors.py"], connection(emulator))
    try:
        yield airflow.start()
    finally:
        airflow.stop()


@pytest.fixture
def impatient_airflow(emulator: Emulator) -> Iterator[WholeAirflow]:
    if (3,) <= AIRFLOW_VERSION < (3, 3):
        pytest.skip("Airflow 3.0 to 3.2 has no task state store; 2.11 stands for all that need [wts] ledger_path")
    seconds = "20"
    airflow = WholeAirflow(
        [DAGS / "mapped_sends.py"],
        connection(emulator, timeout=30),
        parallelism=12,
        settings={
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": seconds,
            "SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": seconds,
            "WTS__EFFECT_LAG": seconds,
        },
    )
    try:
        yield airflow.start()
    finally:
        airflow.stop()


@pytest.fixture
def celery_airflow(emulator: Emulator) -> Iterator[WholeAirflow]:
    if not AIRFLOW_3:
        pytest.skip("runs on Airflow 3")
    if importlib.util.find_spec("airflow.providers.celery") is None:
        pytest.skip("needs apache-airflow-providers-celery")
    redis = pytest.importorskip("redis", reason="needs the package redis")
    server = redis.Redis.from_url(REDIS)
    try:
        before = set(server.keys())
    except redis.RedisError as problem:
        pytest.skip(f"needs a Redis server at {REDIS} (WTS_TEST_REDIS names another): {problem}")
    airflow = WholeAirflow(
        [DAGS / "mapped_sends.py"], connection(emulator), executor="CeleryExecutor", workers=2, parallelism=8
    )
    try:
        yield airflow.start()
    finally:
        try:
            airflow.stop()
        finally:
            # Celery leaves the names of its queues, and what dead workers had taken.
            if left := set(server.keys()) - before:
                server.delete(*left)


@pytest.fixture
def sending_airflow(emulator: Emulator) -> Iterator[WholeAirflow]:
    if (3,) <= AIRFLOW_VERSION < (3, 3):
        pytest.skip("Airflow 3.0 to 3.2 has no task state store; 2.11 stands for all that need [wts] ledger_path")
    emulator.behave("*", replies=[])
    emulator.switches.change({"whatsapp_window": "off", "queue_seconds": 0})
    settings = {"WTS__EFFECT_LAG": "5"}
    airflow = WholeAirflow([DAGS / "texts_to_many.py"], connection(emulator), settings=settings, rest_api=True)
    try:
        yield airflow.start()
    finally:
        airflow.stop()


def test_deferred_sensors_survive_the_death_of_the_triggerer(local_airflow: WholeAirflow, emulator: Emulator) -> None:
    airflow = local_airflow
    numbers = [f"+5511970{number:06}" for number in range(SENSORS)]
    sessions = [emulator.state.sessions.find(emulator.contact_writes(one, "Oi")["sessionId"]) for one in numbers]
    run_id = airflow.trigger("many_sensors", sessions=[session.id for session in sessions])

    airflow.wait_for_tasks(
        run_id, lambda counts: counts.get("deferred", 0) >= SENSORS // 2, "half of the sensors are deferred", 600
    )
    airflow.processes.kill("triggerer")
    # Some conversations end while nobody looks, and others while more tasks are on their way to the triggerer.
    for session in sessions[:30]:
        with emulator.state.lock:
            complete(emulator.state, session, stop_bot=True)
    airflow.start_part("triggerer")
    airflow.wait_for_tasks(
        run_id,
        lambda counts: sum(counts.get(state, 0) for state in ("deferred", "success")) > SENSORS,
        "all sensors have looked once",
        600,
    )
    for session in sessions[30:]:
        with emulator.state.lock:
            complete(emulator.state, session, stop_bot=True)
    state = airflow.wait_for_end(run_id, 600)
    tasks = [task for task in airflow.tasks(run_id) if task["task_id"] == "wait"]
    requests = Counter(request.operation_id for request in emulator.requests)
    tell(f"sensors: {Counter(task['state'] for task in tasks)}, tries {Counter(task['try_number'] for task in tasks)}")
    tell(f"requests: {dict(requests)}")
    assert state == "success", airflow.task_logs(run_id, "rror")[-20:]
    assert len(tasks) == SENSORS
    # One try each: none was failed by the scheduler and run again.
    assert {(task["state"], task["try_number"]) for task in tasks} == {("success", 1)}
    # Each sensor looks once before it defers and once at its end; all polling together costs little beside.
    assert requests["get_session"] + requests["list_sessions"] - 2 * SENSORS < SENSORS
    assert emulator.violations == []


@pytest.mark.parametrize("database", ["postgresql", "mysql"])
def test_a_wait_for_50_000_sessions_survives_the_death_of_the_triggerer(
    database: str, emulator: Emulator, tmp_path: Path
) -> None:
    numbers = [f"+55119{70000000 + number}" for number in range(50_000)]
    sessions = [emulator.contact_writes(one, "Oi")["sessionId"] for one in numbers]
    airflow = WholeAirflow([DAGS / "many_sessions.py"], connection(emulator), database=database)
    try:
        airflow.start()
        runs = {}
        for size in (300, len(sessions)):
            file = tmp_path / f"{size}.json"
            file.write_text(json.dumps(sessions[-size:]))
            runs[airflow.trigger("many_sessions", file=str(file), needed=300 / size)] = size
        for run_id in runs:
            airflow.wait_for_tasks(run_id, lambda counts: counts.get("deferred"), "the sensor is deferred", 300)
        table = '"trigger"' if database == "postgresql" else "`trigger`"
        sizes = [len(str(row)) for row in airflow.database.rows(f"SELECT * FROM {table}")]
        airflow.processes.kill("triggerer")
        for one in sessions[-300:]:
            with emulator.state.lock:
                complete(emulator.state, emulator.state.sessions.find(one), stop_bot=True)
        airflow.start_part("triggerer")
        states = {run_id: airflow.wait_for_end(run_id, 300) for run_id in runs}
        tell(f"{database}: rows of triggers {sizes} characters; {states}")
        for run_id, size in runs.items():
            assert states[run_id] == "success", airflow.task_logs(run_id, "rror")[-20:]
            (task,) = (task for task in airflow.tasks(run_id) if task["task_id"] == "wait")
            assert (task["state"], task["try_number"]) == ("success", 1)
            assert airflow.task_logs(run_id, f"300 of {size} session(s) reached COMPLETED")
        assert len(sizes) == 2
        assert max(sizes) < 5_000
        assert emulator.violations == []
    finally:
        airflow.stop()


def test_a_worker_that_dies_while_it_sends_costs_nobody_a_message(
    celery_airflow: WholeAirflow, emulator: Emulator
) -> None:
    airflow = celery_airflow
    numbers = [f"+5511960{number:06}" for number in range(RECIPIENTS)]
    # Every fifth send hangs: one half of them after the customer got it, the other before.
    hanging = [
        emulator.faults.add(
            "hang", when=("after", "before")[index // 5 % 2], operation_id="send_chatbot", body=number[3:]
        )
        for index, number in enumerate(numbers)
        if index % 5 == 0
    ]
    run_id = airflow.trigger("mapped_sends", to=numbers)

    def say() -> str:
        return str(airflow.counts(run_id))

    # Both workers have a send that hangs: whichever dies, dies in mid-send.
    airflow.wait(lambda: sum(fault.hits for fault in hanging) >= 5, "Some hanging sends", 300, say)
    hung = sum(fault.hits for fault in hanging)
    airflow.processes.kill("worker-1")
    for fault in hanging:
        if not fault.hits:
            # The rest of the story is about the tasks that were killed.
            fault.times = 0
    airflow.start_part("worker-1")
    airflow.processes.kill("worker-2")
    airflow.start_part("worker-2")
    state = airflow.wait_for_end(run_id, 900)
    received = Counter(len(emulator.received(number)) for number in numbers)
    tries = Counter(task["try_number"] for task in airflow.tasks(run_id) if task["task_id"] == "send")
    tell(f"{hung} sends hung when their worker died; messages per customer: {dict(received)}; tries: {dict(tries)}")
    assert state == "success", airflow.task_logs(run_id, "rror")[-20:]
    assert received == {1: RECIPIENTS}
    assert max(tries) > 1


class Stopper:
    """Stops the task process and the supervisor of each task whose send is held up, and continues them later.

    :param airflow: where the tasks run.
    :param run_id: their run.
    :param faults: what holds them up, by map index.
    """

    def __init__(self, airflow: WholeAirflow, run_id: str, faults: dict[int, Fault]) -> None:
        self._airflow = airflow
        self._run_id = run_id
        self._faults = faults
        self._stopped: dict[int, list[int]] = {}
        self.continued: set[int] = set()

    def look(self) -> None:
        """Stop whoever is held up for the first time, and continue whoever has a successor."""
        for task in self._airflow.tasks(self._run_id):
            index, tries = task["map_index"], task["try_number"]
            if task["task_id"] != "send" or index not in self._faults:
                continue
            if tries == 1 and task["state"] == "running" and task["pid"] and self._faults[index].hits:
                self._stop(index, task["pid"])
            # Some come back while their successor runs, and some after it.
            elif tries > 1 and task["state"] in (("running", "success") if index % 2 else ("success",)):
                self._continue(index)

    def all_back(self) -> bool:
        """Continue whoever still stands still, and say whether all have ended."""
        for index in self._stopped:
            self._continue(index)
        # A supervisor may be a worker that lives on.
        return not any(_runs(pid) for _, pid in self._stopped.values())

    def _stop(self, index: int, pid: int) -> None:
        if index not in self._stopped:
            self._stopped[index] = [_parent_of(pid), pid]
            for one in self._stopped[index]:
                os.kill(one, signal.SIGSTOP)

    def _continue(self, index: int) -> None:
        if index in self._stopped and index not in self.continued:
            self.continued.add(index)
            for one in reversed(self._stopped[index]):
                os.kill(one, signal.SIGCONT)


def test_a_worker_that_is_stopped_past_its_heartbeat_and_continued_sends_nothing_more(
    impatient_airflow: WholeAirflow, emulator: Emulator
) -> None:
    airflow = impatient_airflow
    numbers = [f"+5511950{number:06}" for number in range(8)]
    held_up = {
        index: emulator.faults.add(
            # While they wait for the end of a rate limit, or for the answer.
            operation_id="send_chatbot",
            body=numbers[index][3:],
            **({"kind": "status", "status": 429, "retry_after": "45"} if index < 4 else {"kind": "hang"}),
        )
        for index in range(6)
    }
    run_id = airflow.trigger("mapped_sends", to=numbers)
    stopper = Stopper(airflow, run_id, held_up)
    state = airflow.wait_for_end(run_id, 900, also=stopper.look)
    airflow.wait(stopper.all_back, "The end of the tries that were continued", 180)
    received = [len(emulator.received(number)) for number in numbers]
    tries = [task["try_number"] for task in airflow.tasks(run_id) if task["task_id"] == "send"]
    tell(f"{len(stopper.continued)} tries stopped and continued; messages {received}; tries {tries}")
    assert state == "success", airflow.task_logs(run_id, "rror")[-20:]
    assert stopper.continued == set(held_up)
    assert received == [1] * len(numbers)


def test_a_campaign_that_a_person_marks_as_failed_stops_and_a_clear_sends_to_the_rest(
    sending_airflow: WholeAirflow, emulator: Emulator, tmp_path: Path
) -> None:
    airflow = sending_airflow
    numbers = [f"+5511940{number:06}" for number in range(400)]
    slow = emulator.faults.add("latency", seconds=0.5, operation_id="send_text", times=None)
    results = tmp_path / "results.jsonl"
    manifest = tmp_path / "results.jsonl.manifest.json"
    run_id = airflow.trigger("texts_to_many", to=numbers, results=str(results))
    airflow.wait(lambda: slow.hits >= 80, "The first sends", 240, lambda: str(airflow.counts(run_id)))

    def is_complete() -> bool:
        return bool(json.loads(manifest.read_text())["complete"])

    assert not is_complete()
    marked = time.monotonic()
    airflow.mark_as_failed("texts_to_many", run_id, "send")
    airflow.wait(is_complete, "The complete results", 30)
    seconds = time.monotonic() - marked
    found = json.loads(manifest.read_text())
    lines = {line["to"].replace("|", ""): line["status"] for line in map(json.loads, results.read_text().splitlines())}
    sent = [number for number in numbers if emulator.received(number)]
    tell(f"complete results {seconds:.1f} s after the mark: {dict(Counter(lines.values()))}")
    assert lines == {number: "sent" if number in sent else "not_sent" for number in numbers}
    assert (found["sent"], found["not_sent"], found["undecided"]) == (len(sent), len(numbers) - len(sent), 0)
    assert found["stopped"].startswith("Airflow ended the task")
    assert airflow.wait_for_end(run_id, 60) == "failed"

    emulator.faults.clear()
    airflow.clear("texts_to_many", run_id)
    assert airflow.wait_for_end(run_id, 240) == "success", airflow.task_logs(run_id, "rror")[-20:]
    assert [len(emulator.received(number)) for number in numbers] == [1] * len(numbers)
    found = json.loads(manifest.read_text())
    assert (found["complete"], found["sent"], found["stopped"]) == (True, len(numbers), None)


def _parent_of(pid: int) -> int:
    return int(_stat(pid)[1])


def _runs(pid: int) -> bool:
    try:
        return _stat(pid)[0] != "Z"
    except OSError:
        return False


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
