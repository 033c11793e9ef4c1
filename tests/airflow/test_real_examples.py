"""Examples that need more of Airflow than ``dag.test()`` has: watchers of assets, a person's approval, deadlines.

And the campaign, whose tasks meet through a database and wait in the triggerer.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow_version import AIRFLOW_VERSION
from whole_airflow import WholeAirflow, tell

from airflow_provider_wts.emulator.running import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.scheduler,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(AIRFLOW_VERSION < (3, 3), reason="needs the asset state store and the deadlines of Airflow 3.3"),
]

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "example_dags"

# What the examples do in earnest, and what a test can wait for.
HASTE = {
    "example_wts_events": {"poll_interval=60": "poll_interval=2", "Param(5,": "Param(1,"},
    "example_wts_approval": {'"08:00-20:00 America/Sao_Paulo"': "None"},
    "example_wts_deadline": {
        "LIMIT = timedelta(hours=1)": "LIMIT = timedelta(seconds=5)",
        # The run is late until somebody was told.
        '"""Do work that has a deadline."""': "import os, time\n\n"
        "        while not os.path.exists(os.environ['AIRFLOW_HOME'] + '/told'):\n"
        "            time.sleep(0.5)",
    },
    "example_wts_campaign": {"refresh_interval=timedelta(minutes=15)": "refresh_interval=timedelta(seconds=10)"},
}


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture(scope="module")
def airflow(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeAirflow]:
    folder = tmp_path_factory.mktemp("examples")
    for name, changes in HASTE.items():
        text = (EXAMPLES / f"{name}.py").read_text("utf-8")
        for old, new in changes.items():
            assert text.count(old) == 1, f"{name} does not say {old} any more"
            text = text.replace(old, new)
        (folder / f"{name}.py").write_text(text, "utf-8")
    connection = {"conn_type": "wts", "host": emulator.url, "password": emulator.token, "extra": {"timeout": 600}}
    running = WholeAirflow(sorted(folder.glob("*.py")), connection)
    warehouse = {"conn_type": "sqlite", "host": str(running.home / "warehouse.db")}
    running.environment["AIRFLOW_CONN_WAREHOUSE"] = json.dumps(warehouse)
    try:
        yield running.start()
    finally:
        running.stop()


def looks(emulator: Emulator) -> int:
    """How often a watcher has asked what changed."""
    return len(emulator.requests_of("list_sessions"))


def asset_events(airflow: WholeAirflow) -> list[dict[str, Any]]:
    """What Airflow was told, in the order of its database, and the run that each started."""
    assert airflow.database is not None
    rows = airflow.database.rows(
        "SELECT e.id, e.extra, e.timestamp, r.dag_run_id FROM asset_event e "
        "LEFT JOIN dagrun_asset_event r ON r.event_id = e.id ORDER BY e.id"
    )
    for row in rows:
        extra = json.loads(row["extra"]) if isinstance(row["extra"], str) else row["extra"]
        row["events"] = extra["payload"]["events"]
    return rows


def told(airflow: WholeAirflow) -> Counter[tuple[str, str]]:
    """How often each message of a customer was told."""
    return Counter((event["session_id"], event["at"]) for row in asset_events(airflow) for event in row["events"])


class Customers:
    """Customers who write."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._number = 0
        #: The messages: session and moment.
        self.messages: list[tuple[str, str]] = []

    def write(self, count: int = 1) -> None:
        """Somebody new writes."""
        for _ in range(count):
            self._number += 1
            phone = f"+5511950{self._number:06}"
            session_id = self._emulator.contact_writes(phone, "Oi")["sessionId"]
            session = self._emulator.state.sessions.find(session_id)
            self.messages.append((session_id, session["lastMessageIn"]))


def test_each_message_of_a_customer_starts_the_example_once_whatever_becomes_of_the_triggerer(
    airflow: WholeAirflow, emulator: Emulator
) -> None:
    customers = Customers(emulator)

    def wait_for_looks(count: int) -> None:
        wanted = looks(emulator) + count
        airflow.wait(lambda: looks(emulator) >= wanted, "A look of the watcher", 120)

    def wait_for_events() -> None:
        airflow.wait(
            lambda: set(customers.messages) <= set(told(airflow)),
            "The events",
            120,
            lambda: f"{len(told(airflow))} of {len(customers.messages)} messages were told.",
        )

    # What happened before the first look is not told.
    wait_for_looks(4)
    customers.write(3)
    wait_for_events()
    # The position is kept.
    wait_for_looks(6)
    airflow.processes.kill("triggerer")
    # Nobody looks now.
    customers.write(3)
    airflow.start_part("triggerer")
    wait_for_events()
    wait_for_looks(6)
    assert set(told(airflow).values()) == {1}
    quiet = len(customers.messages)

    # Killed when it has told and Airflow has perhaps not heard: at the worst it is told again, and never lost.
    def fired() -> int:
        return airflow.processes.tail("triggerer", 10**6).count("Trigger fired event")

    for _ in range(3):
        before = fired()
        customers.write()
        airflow.wait(lambda before=before: fired() > before, "An event of the triggerer", 120, every=0.02)
        airflow.processes.kill("triggerer")
        airflow.start_part("triggerer")
    wait_for_events()
    wait_for_looks(6)
    counts = told(airflow)
    tell(f"{len(counts)} messages; told: {dict(Counter(counts.values()))}")
    assert set(counts) == set(customers.messages)
    assert {counts[message] for message in customers.messages[:quiet]} == {1}
    # The same message has the same id, by which a DAG can tell.
    ids = {event["id"] for row in asset_events(airflow) for event in row["events"]}
    assert len(ids) == len(counts)

    def runs() -> Counter[str]:
        assert airflow.database is not None
        rows = airflow.database.rows("SELECT state FROM dag_run WHERE dag_id = 'example_wts_events'")
        return Counter(row["state"] for row in rows)

    # Each event started one run, and every customer has a note, because nobody answered.
    airflow.wait(
        lambda: all(row["dag_run_id"] for row in asset_events(airflow)) and runs().keys() <= {"success", "failed"},
        "The end of the runs",
        120,
        lambda: f"{runs()}: {[(row['timestamp'].time(), row['dag_run_id']) for row in asset_events(airflow)]}",
    )
    assert max(Counter(row["id"] for row in asset_events(airflow)).values()) == 1
    assert runs() == {"success": len({row["dag_run_id"] for row in asset_events(airflow)})}
    notes = emulator.requests_of("create_session_note")
    tell(f"{runs().total()} runs, {len(notes)} notes")
    assert {note.path.split("/")[-2] for note in notes} == {session_id for session_id, _ in customers.messages}


@pytest.mark.parametrize(("answer", "messages", "state"), [("Approve", 1, "success"), ("Reject", 0, "skipped")])
def test_the_campaign_goes_out_after_an_approval_and_not_after_a_rejection(
    airflow: WholeAirflow, emulator: Emulator, answer: str, messages: int, state: str
) -> None:
    number = {"Approve": 1, "Reject": 2}[answer]
    customers = [f"+551194{number}00000{index}" for index in (1, 2, 3)]
    manager = f"+551194{number}000009"
    run_id = airflow.trigger(
        "example_wts_approval",
        manager=manager,
        customers=[{"name": f"Cliente {index}", "phone": phone} for index, phone in enumerate(customers)],
    )
    path = f"dags/example_wts_approval/dagRuns/{run_id}"

    def question() -> dict[str, Any] | None:
        found = airflow.call("GET", f"{path}/hitlDetails")["hitl_details"]
        return found[0] if found else None

    asked = airflow.wait(question, "The question", 180, lambda: str(airflow.tasks(run_id)))
    assert asked["subject"] == "Send saudacao to 3 customers?"
    airflow.wait(lambda: emulator.received(manager), "The manager's message", 120)
    assert "saudacao espera aprovação" in str(emulator.received(manager)[0].text)
    # Nobody is written to before somebody answered.
    assert [len(emulator.received(customer)) for customer in customers] == [0, 0, 0]

    def waits() -> bool:
        lines = airflow.processes.tail("scheduler", 10**6).splitlines()
        return any("Received executor event" in line and "'approve'" in line and run_id in line for line in lines)

    # Nobody reads that fast: Airflow 3.3.2 fails the task where the answer comes before it has booked that it waits.
    airflow.wait(waits, "The end of the asking", 60)
    assert [task["state"] for task in airflow.tasks(run_id) if task["task_id"] == "approve"] == ["awaiting_input"]
    airflow.call(
        "PATCH", f"{path}/taskInstances/approve/-1/hitlDetails", {"chosen_options": [answer], "params_input": {}}
    )
    ended = airflow.wait_for_end(run_id, 240)
    assert ended == "success", "\n".join(airflow.task_logs(run_id)[-60:])
    assert [len(emulator.received(customer)) for customer in customers] == [messages] * 3
    assert {task["state"] for task in airflow.tasks(run_id) if task["task_id"] == "send"} == {state}
    assert len(emulator.received(manager)) == 1


def test_a_run_that_is_late_tells_the_people_on_call(airflow: WholeAirflow, emulator: Emulator) -> None:
    on_call = ("+5511999990001", "+5511999990002")
    run_id = airflow.trigger("example_wts_deadline")

    def all_told() -> bool:
        assert airflow.run_state(run_id) in ("queued", "running")
        return all(emulator.received(phone) for phone in on_call)

    airflow.wait(all_told, "The messages", 180, lambda: str(airflow.tasks(run_id)))
    (airflow.home / "told").touch()
    assert airflow.wait_for_end(run_id, 120) == "success"
    for phone in on_call:
        (message,) = emulator.received(phone)
        assert "example_wts_deadline está atrasado" in str(message.text)


def test_the_campaign_goes_from_a_query_to_a_table_and_a_report(airflow: WholeAirflow, emulator: Emulator) -> None:
    phones = [f"+551195{number:07}" for number in range(60)]
    silent, opted_out = phones[::20], phones[7]
    for phone in silent:
        emulator.behave(phone, replies=[])
    with closing(sqlite3.connect(airflow.home / "warehouse.db")) as database, database:
        database.execute(
            "CREATE TABLE invoices (id INTEGER, name TEXT, phone TEXT, amount NUMERIC, due_on DATE, paid_on DATE)"
        )
        database.execute("CREATE TABLE opt_outs (phone TEXT)")
        database.execute("INSERT INTO opt_outs VALUES (?)", [opted_out])
        rows = [(number, "Ana", phone, 10.5, "2026-01-10", None) for number, phone in enumerate(phones)]
        database.executemany("INSERT INTO invoices VALUES (?, ?, ?, ?, ?, ?)", rows)
    run_id = airflow.trigger("example_wts_campaign", folder=f"file://{airflow.home}/campaigns")
    assert airflow.wait_for_end(run_id, 240) == "success", "\n".join(airflow.task_logs(run_id)[-60:])
    with closing(sqlite3.connect(airflow.home / "warehouse.db")) as database:
        outcome = database.execute(
            "SELECT phone, send_status, session_status, json_extract(answers, '$.resposta') "
            "FROM reminder_outcomes JOIN invoices ON row_key = CAST(id AS TEXT) ORDER BY line"
        ).fetchall()
    got = {phone for phone in phones if emulator.received(phone)}
    assert len(emulator.requests_of("queue_chatbot_batch")) == 1
    assert [phone for phone, *_ in outcome] == phones
    assert 45 <= len(got) <= 58
    assert opted_out not in got
    for phone, status, session, answer in outcome:
        if phone not in got:
            expected = ("skipped" if phone == opted_out else "holdout", None, None)
        elif phone in silent:
            # The chatbot gives them up after a minute.
            expected = ("sent", session, None)
        else:
            expected = ("sent", "COMPLETED", "Sim")
        assert (status, session, answer) == expected, phone
    assert len(list((airflow.home / "campaigns").glob("report-*.html"))) == 1
