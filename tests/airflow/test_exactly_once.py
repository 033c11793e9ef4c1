"""Every customer gets one message, whatever happens to the tasks, on a whole Airflow.

On Airflow 3.3 the ledger is Airflow's task state store; on 2.11, which has none, it is ``[wts] ledger_path``.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow_version import AIRFLOW_VERSION
from cryptography.fernet import Fernet
from whole_airflow import WholeAirflow, tell

from airflow_provider_wts.emulator.running import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_wts.emulator.faults import Fault

pytestmark = [pytest.mark.scheduler, pytest.mark.timeout(1200)]

DAGS = Path(__file__).with_name("dags_for_scheduler")
STORIES = ("mapped_sends", "sends_without_retries", "send_and_wait", "edited_retries")


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture(scope="module")
def airflow(emulator: Emulator) -> Iterator[WholeAirflow]:
    if (3,) <= AIRFLOW_VERSION < (3, 3):
        pytest.skip("Airflow 3.0 to 3.2 has no task state store; 2.11 stands for all that need [wts] ledger_path")
    connection = {"conn_type": "wts", "host": emulator.url, "password": emulator.token, "extra": {"timeout": 60}}
    running = WholeAirflow([DAGS / f"{name}.py" for name in STORIES], connection)
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture(autouse=True)
def fresh(emulator: Emulator) -> None:
    emulator.reset()
    emulator.switches.whatsapp_window = "off"


class Killer:
    """SIGKILLs the process of each task whose send hangs.

    :param airflow: where the tasks run.
    :param emulator: where their sends hang.
    """

    def __init__(self, airflow: WholeAirflow, emulator: Emulator) -> None:
        self._airflow = airflow
        self._emulator = emulator
        self._faults: dict[int, Fault] = {}
        self.killed: set[int] = set()

    def hang(self, map_index: int, number: str, when: str) -> None:
        """Let the first send to a recipient hang, before or after it took effect."""
        self._faults[map_index] = self._emulator.faults.add(
            "hang", when=when, operation_id="send_chatbot", body=number[3:]
        )

    def look(self, run_id: str) -> None:
        """Kill whoever hangs."""
        waiting = {index for index, fault in self._faults.items() if fault.hits} - self.killed
        if not waiting:
            return
        for task in self._airflow.tasks(run_id):
            if (
                task["task_id"] == "send"
                and task["map_index"] in waiting
                and task["state"] == "running"
                and task["pid"]
            ):
                os.kill(task["pid"], signal.SIGKILL)
                self.killed.add(task["map_index"])


@pytest.fixture
def killer(airflow: WholeAirflow, emulator: Emulator) -> Killer:
    return Killer(airflow, emulator)


def numbers_of(story: int, count: int) -> list[str]:
    return [f"+55119{story:02}{number:06}" for number in range(count)]


def received(emulator: Emulator, numbers: list[str]) -> list[int]:
    return [len(emulator.received(number)) for number in numbers]


def sends(airflow: WholeAirflow, run_id: str) -> list[dict[str, Any]]:
    return [task for task in airflow.tasks(run_id) if task["task_id"] == "send"]


def failures(airflow: WholeAirflow, run_id: str) -> list[str]:
    return airflow.task_logs(run_id, '"error"' if AIRFLOW_VERSION >= (3,) else "ERROR")[-20:]


def test_fifty_tasks_with_all_that_can_happen_to_them(
    airflow: WholeAirflow, emulator: Emulator, killer: Killer
) -> None:
    numbers = numbers_of(71, 50)
    for index, number in enumerate(numbers):
        if index % 5 == 1:
            killer.hang(index, number, "after")
        elif index % 5 == 2:
            killer.hang(index, number, "before")
        elif index % 5 == 3:
            emulator.faults.add("status", status=503, when="after", operation_id="send_chatbot", body=number[3:])
        elif index % 5 == 4:
            emulator.faults.add("reset", when="before", operation_id="send_chatbot", body=number[3:])
    run_id = airflow.trigger("mapped_sends", to=numbers)
    state = airflow.wait_for_end(run_id, 900, also=lambda: killer.look(run_id))
    tries = Counter(task["try_number"] for task in sends(airflow, run_id))
    requests = emulator.service.recorder.total
    tell(f"50 tasks: {len(killer.killed)} processes killed, tries {dict(tries)}, {requests} requests")
    assert state == "success", failures(airflow, run_id)
    assert received(emulator, numbers) == [1] * 50
    assert len(killer.killed) == 20
    # More than two where a busy Airflow ended a try by itself.
    assert tries[1] <= 30


def test_a_clear_after_success_sends_again(airflow: WholeAirflow, emulator: Emulator) -> None:
    numbers = numbers_of(72, 4)
    run_id = airflow.trigger("mapped_sends", to=numbers)
    assert airflow.wait_for_end(run_id, 300) == "success", failures(airflow, run_id)
    assert received(emulator, numbers) == [1] * 4
    airflow.clear("mapped_sends", run_id)
    airflow.wait(lambda: airflow.run_state(run_id) not in ("success", "failed"), "The clear", 60)
    assert airflow.wait_for_end(run_id, 300) == "success", failures(airflow, run_id)
    assert received(emulator, numbers) == [2] * 4


@pytest.mark.parametrize(
    ("on_clear", "only_failed"),
    [("auto", True), ("continue", False)],
    ids=["its-failed-tasks", "all-of-it-on-continue"],
)
def test_a_clear_of_a_half_done_batch_messages_only_the_rest(
    airflow: WholeAirflow, emulator: Emulator, killer: Killer, on_clear: str, only_failed: bool
) -> None:
    numbers = numbers_of(73, 9)
    for index, number in enumerate(numbers):
        if index % 3 == 1:
            emulator.faults.add("status", status=500, envelope="business", operation_id="send_chatbot", body=number[3:])
        elif index % 3 == 2:
            # Sent, but the task never learned of it.
            killer.hang(index, number, "after")
    run_id = airflow.trigger("sends_without_retries", to=numbers, on_clear=on_clear)
    assert airflow.wait_for_end(run_id, 300, also=lambda: killer.look(run_id)) == "failed"
    assert [task["state"] for task in sends(airflow, run_id)] == ["success", "failed", "failed"] * 3
    assert received(emulator, numbers) == [1, 0, 1] * 3
    airflow.clear("sends_without_retries", run_id, only_failed=only_failed)
    airflow.wait(lambda: airflow.run_state(run_id) not in ("success", "failed"), "The clear", 60)
    assert airflow.wait_for_end(run_id, 300) == "success", failures(airflow, run_id)
    assert received(emulator, numbers) == [1] * 9


def test_a_send_that_waits_in_the_triggerer_is_not_repeated(
    airflow: WholeAirflow, emulator: Emulator, killer: Killer
) -> None:
    numbers = numbers_of(74, 6)
    killer.hang(0, numbers[0], "after")
    killer.hang(1, numbers[1], "before")
    run_id = airflow.trigger("send_and_wait", to=numbers)
    assert airflow.wait_for_end(run_id, 400, also=lambda: killer.look(run_id)) == "success", failures(airflow, run_id)
    assert received(emulator, numbers) == [1] * 6
    assert killer.killed == {0, 1}
    assert {session["status"] for session in emulator.state.sessions} == {"COMPLETED"}


def test_retries_may_be_edited_between_two_tries(airflow: WholeAirflow, emulator: Emulator, killer: Killer) -> None:
    assert airflow.database is not None
    (number,) = numbers_of(75, 1)
    killer.hang(-1, number, "after")
    run_id = airflow.trigger("edited_retries", to=number)

    def given_up() -> bool:
        killer.look(run_id)
        return airflow.counts(run_id).get("up_for_retry") == 1

    def parsed() -> Any:
        query = "SELECT max(last_updated) AS moment FROM serialized_dag WHERE dag_id = 'edited_retries'"
        return airflow.database.rows(query)[0]["moment"]

    before = parsed()
    airflow.wait(given_up, "The end of the first try", 240, lambda: str(airflow.counts(run_id)), every=0.2)
    file = airflow.dags["edited_retries"]
    file.write_text(file.read_text(encoding="utf-8").replace("RETRIES = 2", "RETRIES = 7"), encoding="utf-8")
    airflow.wait(lambda: parsed() > before, "The reading of the edited file", 120)
    assert airflow.counts(run_id) == {"up_for_retry": 1}, "The second try began before the edit was read."
    assert airflow.wait_for_end(run_id, 300) == "success", failures(airflow, run_id)
    (task,) = sends(airflow, run_id)
    assert task["try_number"] == 2
    assert received(emulator, [number]) == [1]


def test_while_a_task_waits_and_afterwards_the_token_is_nowhere(airflow: WholeAirflow, emulator: Emulator) -> None:
    (number,) = numbers_of(76, 1)
    emulator.behave(number, replies=[])
    run_id = airflow.trigger("send_and_wait", to=[number])
    airflow.wait(
        lambda: airflow.counts(run_id).get("deferred") == 1, "The deferral", 240, lambda: str(airflow.counts(run_id))
    )
    # Proof that the search sees what waits: the trigger names its session.
    (session,) = emulator.state.sessions
    assert "trigger" in places_with(airflow, session.id)
    assert places_with(airflow, emulator.token) == set()
    # Its bot asks for one answer.
    emulator.contact_writes(number, "Sim", "+55|1140028922")
    assert airflow.wait_for_end(run_id, 300) == "success", failures(airflow, run_id)
    assert places_with(airflow, emulator.token) == set()


def places_with(airflow: WholeAirflow, words: str) -> set[str]:
    """Name the tables and files of a whole Airflow that hold some words."""
    assert airflow.database is not None
    tables = airflow.database.rows("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'")
    found = {
        table["name"]
        for table in tables
        if airflow.database.rows(
            f'SELECT 1 AS one FROM "{table["name"]}" AS line WHERE strpos(line::text, %s) > 0 LIMIT 1', words
        )
    }
    if any(words in kwargs for kwargs in kwargs_of_triggers(airflow)):
        found.add("trigger")
    files = (path for path in airflow.home.rglob("*") if path.is_file())
    return found | {str(path.relative_to(airflow.home)) for path in files if words.encode() in path.read_bytes()}


def kwargs_of_triggers(airflow: WholeAirflow) -> list[str]:
    """Return the kwargs of the waiting triggers as text; Airflow 2.11 encrypts them."""
    assert airflow.database is not None
    stored = [row["kwargs"] for row in airflow.database.rows("SELECT kwargs FROM trigger")]
    fernet = Fernet(airflow.environment["AIRFLOW__CORE__FERNET_KEY"])
    return [text if text.startswith("{") else fernet.decrypt(text.encode()).decode() for text in stored]
