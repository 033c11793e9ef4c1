"""What a run leaves behind on a real Airflow: the token nowhere at all, customers and texts not in the log."""

from __future__ import annotations

import os
import re
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_wts.emulator.running import Emulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from real_airflow import DagRunOutcome, RunDag

TOKEN = "pn_T0kenThatNobodyMaySee"
TEXT = "Sua fatura de 149,90 vence hoje"
DIGITS = ("99999-0001", "999990001", "999990002", "999990003")

# Sends that work, that are refused and that get lost; a wait in the triggerer; a list with customers' data; a campaign.
DAG = """
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_wts.operators.campaign import WtsSendTextBatchOperator
from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator
from airflow_provider_wts.operators.contact import WtsListContactsOperator
from airflow_provider_wts.operators.message import WtsSendTextOperator
from airflow_provider_wts.sensors.session import WtsSessionSensor

TEXT = {text!r}

with DAG(DAG_ID, schedule=None):
    send = WtsSendChatbotOperator.partial(
        task_id="send", chatbot="Cobrança", session_metadata={{"texto": TEXT}}
    ).expand(to=["+55 11 99999-0001", "(11) 99999-0002"])
    session_id = "{{{{ ti.xcom_pull(task_ids='send')[0]['id'] }}}}"
    send >> WtsSessionSensor(task_id="wait", session_id=session_id, poke_interval=0.5, deferrable=True)
    WtsSendTextOperator(task_id="text", to="+5511999990003", text=TEXT)
    WtsSendTextOperator(task_id="refused", to="+5511999990003", text="refused", wts_conn_id="wts_refused")
    WtsSendTextOperator(task_id="lost", to="+5511999990003", text="lost")
    WtsListContactsOperator(task_id="contacts", output_path={path!r})
    WtsSendTextBatchOperator(
        task_id="campaign", recipients=[{{"to": "+5511999990003"}}], row_text=TEXT, results_path={results!r}
    )
"""


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(token=TOKEN, speed=30, switches={"whatsapp_window": "off", "queue_seconds": 0}) as running:
        yield running


@pytest.fixture
def outcome(emulator: Emulator, run_dag: RunDag, dag_file: Callable[[str], Path], tmp_path: Path) -> DagRunOutcome:
    """A run with all of it, as somebody would find it afterwards."""
    emulator.faults.add("reset", when="after", operation_id="send_text", body="lost", times=1)
    connection = {"conn_type": "wts", "host": emulator.url, "password": TOKEN}
    text = DAG.format(text=TEXT, path=str(tmp_path / "contacts.jsonl"), results=str(tmp_path / "results.jsonl"))
    return run_dag(
        dag_file(text),
        connections={"wts_default": connection, "wts_refused": {**connection, "password": TOKEN + "x"}},
        earliest_firing=0.2,
    )


def places(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Walk all that stands in files of a folder; databases value by value, since they pack what they hold."""
    for path in folder.rglob("*"):
        if path.suffix == ".db":
            yield from rows(path)
        elif path.is_file():
            yield str(path), path.read_bytes()


def rows(path: Path) -> Iterator[tuple[str, bytes]]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in database.execute(f'SELECT * FROM "{table}"'):
                values = (value if isinstance(value, bytes) else str(value).encode() for value in row)
                yield f"{path.name}: {table}", b"\0".join(values)


def test_the_token_is_nowhere(outcome: DagRunOutcome, tmp_path: Path) -> None:
    assert outcome.states == {
        "send": ["success"] * 2,
        "wait": ["success"],
        "text": ["success"],
        "refused": ["failed"],
        "lost": ["success"],
        "contacts": ["success"],
        "campaign": ["success"],
    }
    found = [*places(Path(os.environ["AIRFLOW_HOME"])), *places(tmp_path), ("log", outcome.logs.encode())]
    # Proof that the search sees what a run leaves. From Airflow 3.4 on, rendered fields are in the table rtif_v2.
    assert any(b"149,90" in content for where, content in found if "rendered" in where or "rtif" in where)
    assert any(b"sessionId" in content for where, content in found if "xcom" in where)
    assert [where for where, content in found if TOKEN.encode() in content] == []


def test_the_log_names_no_customer_and_no_text(outcome: DagRunOutcome) -> None:
    lines = [line for line in outcome.logs.splitlines() if ours(line)]
    assert any("Message" in line for line in lines)
    assert [line for line in lines if any(part in line for part in (TEXT, *DIGITS))] == []


def ours(line: str) -> bool:
    """Whether a line is of a task or of us; Airflow itself prints what a DAG file holds."""
    return bool(re.search(r"airflow_provider_wts|task|INFO|info", line))
