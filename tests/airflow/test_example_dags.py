"""Every example DAG imports without a connection, and runs to success on the emulator."""

from __future__ import annotations

import json
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


@pytest.mark.parametrize("path", [path for path in EXAMPLES if path.stem not in NOT_RUN], ids=lambda path: path.stem)
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


def test_the_campaign_example_reaches_everybody_once_and_says_what_became_of_each_row(
    run_dag, wts_connection, fast_emulator, tmp_path
):
    example = next(path for path in EXAMPLES if path.stem == "example_wts_campaign")
    outcome = run_dag(example, conf={"folder": f"file://{tmp_path}"}, connections=wts_connection)
    assert outcome.state == "success", outcome.logs[-5000:]
    assert [len(fast_emulator.received(f"+551199999000{number}")) for number in (1, 2, 3)] == [1, 1, 1]
    # One request for all.
    assert len(fast_emulator.requests_of("queue_chatbot_batch")) == 1
    counts = outcome.task("send").returned
    assert (counts["sent"], counts["duplicates"], counts["bad_rows"]) == (3, 1, 1)
    (results,) = tmp_path.glob("results-*.jsonl")
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert len([line for line in lines if line["status"] == "sent"]) == 3
    summed = outcome.task("sum_up").returned
    assert summed["sessions"] == {"COMPLETED": 3}
    assert summed["rows"]["sent"] == 3
