"""Every example DAG imports without a connection, and runs to success on the emulator."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from airflow_version import AIRFLOW_VERSION

# Examples that need a later Airflow than the oldest one: below it, they define nothing.
LATER = {"example_wts_events": (3, 0), "example_wts_approval": (3, 1)}
# Examples that dag.test() cannot run: one waits for a person; Airflow 3.3 has no deadlines there.
NOT_RUN = {"example_wts_approval", "example_wts_deadline"}

ALL = sorted((Path(__file__).resolve().parent.parent.parent / "example_dags").glob("*.py"))
EXAMPLES = [path for path in ALL if LATER.get(path.stem, (0,)) <= AIRFLOW_VERSION]

# Examples that need more than the emulator: they have tests of their own below.
OF_ITS_OWN = {"example_wts_campaign"}

# What an example needs besides its defaults.
CONFIGURATIONS: dict[str, dict[str, Any]] = {}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_imports_without_a_connection(dag_runner, path):
    dags = dag_runner.import_dags(path)
    assert list(dags) == [path.stem]
    assert dags[path.stem]


@pytest.mark.parametrize("path", [path for path in ALL if path not in EXAMPLES], ids=lambda path: path.stem)
def test_below_its_airflow_it_imports_and_defines_nothing(dag_runner, path):
    with pytest.raises(AssertionError, match="holds no DAG"):
        dag_runner.import_dags(path)


@pytest.mark.parametrize(
    "path", [path for path in EXAMPLES if path.stem not in NOT_RUN | OF_ITS_OWN], ids=lambda path: path.stem
)
def test_it_runs_to_success_on_the_emulator(run_dag, wts_connection, fast_emulator, path):
    outcome = run_dag(path, conf=CONFIGURATIONS.get(path.stem), connections=wts_connection)
    assert outcome.state == "success", outcome.logs[-5000:]
    assert {state for states in outcome.states.values() for state in states} == {"success"}
    # That a chatbot writes outside the 24-hour window is its author's choice, and not the client's fault.
    assert not [violation for violation in fast_emulator.violations if "24-hour" not in violation]


def test_the_chatbot_example_sums_up_what_customers_answered(run_dag, wts_connection, fast_emulator):
    fast_emulator.behave("+5511999990002", replies=["Ainda não"])
    example = next(path for path in EXAMPLES if path.stem == "example_wts_chatbot")
    outcome = run_dag(example, connections=wts_connection)
    rows = outcome.task("sum_up").returned
    assert [(row["customer"], row["status"], row["answer"]) for row in rows] == [
        ("Carla Dias", "COMPLETED", "Sim"),
        ("Diego Alves", "COMPLETED", "Ainda não"),
        ("Elisa Rocha", "COMPLETED", "Sim"),
    ]
    sent = outcome.mapped("send_chatbot")
    assert [task.returned["id"] for task in sent] == [row["session"] for row in rows]
    assert all(row["seconds"] >= 0 for row in rows)
    # Every customer got the chatbot once.
    assert [len(fast_emulator.received(f"+551199999000{number}")) for number in (1, 2, 3)] == [1, 1, 1]


def test_the_notifier_example_tells_who_is_on_call(run_dag, wts_connection, fast_emulator):
    example = next(path for path in EXAMPLES if path.stem == "example_wts_notifier")
    run_dag(example, connections=wts_connection)
    told = [delivery.text for delivery in fast_emulator.received("+5511999990001")]
    assert told == ["Olá equipe: close_the_books terminou, tudo bem?"]


# The query leaves out the last two. Diego is in the holdout of this DAG.
INVOICES = [
    (1, "Carla Dias", "+55 11 99999-0001", 149.9, "2026-01-10", None),
    (2, "Diego Alves", "(11) 99999-0002", 80, "2026-01-10", None),
    (3, "Elisa Rocha", "11999990003", 1250.5, "2026-01-11", None),
    (4, "Fabio Nunes", "11 99999-0004", 42, "2026-01-11", None),
    # One person, whatever the spelling: she gets one message.
    (5, "Carla Dias", "11 99999-0001", 99, "2026-01-12", None),
    (6, "Gilda Reis", "unknown", 10, "2026-01-12", None),
    (7, "Hugo Lima", "11 99999-0007", 10, "2026-01-12", None),
    (8, "Iara Melo", "11 99999-0008", 10, "2026-01-12", "2026-01-13"),
    (9, "Jonas Paz", "11 99999-0009", 10, "2999-01-12", None),
]


@pytest.fixture
def warehouse(tmp_path):
    """What runs a statement in the database of the campaign, and returns its rows."""

    def run(statement, *values):
        with closing(sqlite3.connect(tmp_path / "warehouse.db")) as connection, connection:
            return (connection.executemany(statement, *values) if values else connection.execute(statement)).fetchall()

    run("CREATE TABLE invoices (id INTEGER, name TEXT, phone TEXT, amount NUMERIC, due_on DATE, paid_on DATE)")
    run("CREATE TABLE opt_outs (phone TEXT)")
    run("INSERT INTO invoices VALUES (?, ?, ?, ?, ?, ?)", INVOICES)
    run("INSERT INTO opt_outs VALUES ('+5511999990004')")
    return run


def test_the_campaign_example_goes_from_the_query_to_a_table_of_outcomes(
    run_dag, wts_connection, fast_emulator, warehouse, tmp_path
):
    # WTS Chat refuses Hugo's number. Elisa writes another answer.
    fast_emulator.faults.add("status", status=400, body="11999990007", times=None)
    fast_emulator.behave("+5511999990003", replies=["Pago amanhã"])
    example = next(path for path in EXAMPLES if path.stem == "example_wts_campaign")
    hasty = tmp_path / example.name
    text = example.read_text("utf-8")
    for old, new in {
        "timedelta(minutes=15)": "timedelta(seconds=10)",
        'max_failures="5%"': 'max_failures="50%"',
    }.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    hasty.write_text(text, "utf-8")

    outcome = run_dag(
        hasty,
        conf={"folder": f"file://{tmp_path}"},
        connections={**wts_connection, "warehouse": {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}},
        environment={"AIRFLOW__WTS__LEDGER_PATH": f"file://{tmp_path}/ledger"},
    )

    assert outcome.state == "success", outcome.logs[-5000:]
    assert outcome.states == {"query": ["success"], "send": ["success"], "outcome": ["success"]}
    # Who may get the chatbot got it once.
    assert [len(fast_emulator.received(f"+551199999000{number}")) for number in range(1, 10)] == [
        *(1, 0, 1, 0, 0, 0, 0, 0, 0)
    ]
    columns = "row_key, recipient, send_status, session_status, replied, answers, final"
    rows = warehouse(f"SELECT {columns} FROM reminder_outcomes ORDER BY line")
    assert [(*row[:5], json.loads(row[5] or "{}"), row[6]) for row in rows] == [
        ("1", "+55|11999990001", "sent", "COMPLETED", 1, answers(1, 149.9, "Sim"), 1),
        ("2", "+55|11999990002", "holdout", None, 0, {}, 0),
        ("3", "+55|11999990003", "sent", "COMPLETED", 1, answers(3, 1250.5, "Pago amanhã"), 1),
        ("4", "+55|11999990004", "skipped", None, None, {}, 1),
        ("5", None, "duplicate", None, None, {}, 1),
        ("6", None, "bad_row", None, None, {}, 1),
        ("7", "+55|11999990007", "failed", None, None, {}, 1),
    ]
    (report,) = tmp_path.glob("report-*.html")
    assert "resposta" in report.read_text("utf-8")


def answers(invoice, amount, reply):
    """The session's metadata of a conversation that is over."""
    return {"fatura": invoice, "valor": amount, "resposta": reply, "etapa": "encerrado"}
