"""The way out of an unconfirmed send, as docs/exactly-once.md describes it, on a whole Airflow, the DAG unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from whole_airflow import AIRFLOW_3, WholeAirflow

from airflow_provider_wts.emulator.running import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.scheduler, pytest.mark.timeout(900)]

DAG_FILE = Path(__file__).with_name("dags_for_scheduler") / "unconfirmed_send.py"


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        running.switches.whatsapp_window = "off"
        yield running


@pytest.fixture
def airflow(emulator: Emulator) -> Iterator[WholeAirflow]:
    airflow = WholeAirflow([DAG_FILE], {"conn_type": "wts", "host": emulator.url, "password": emulator.token})
    try:
        yield airflow.start()
    finally:
        airflow.stop()


def add_variable(airflow: WholeAirflow, key: str, value: str) -> None:
    """Add a Variable, as the page Admin > Variables does."""
    if AIRFLOW_3:
        airflow.call("POST", "variables", {"key": key, "value": value})
    else:
        airflow.command("variables", "set", key, value)


def test_a_person_decides_by_a_variable_and_a_clear(airflow: WholeAirflow, emulator: Emulator) -> None:
    def received() -> int:
        return len(emulator.received("+5511999990001"))

    emulator.faults.add("reset", when="after", operation_id="send_message_sync")
    run_id = airflow.trigger("unconfirmed_send")
    assert airflow.wait_for_end(run_id, 300) == "failed"
    assert airflow.task_logs(run_id, f"add unconfirmed_send/{run_id}/send to the Airflow Variable 'wts_resend'")
    airflow.clear("unconfirmed_send", run_id)
    assert airflow.wait_for_end(run_id, 300) == "failed"
    assert received() == 1

    add_variable(airflow, "wts_resend", f"unconfirmed_send/{run_id}/send")
    airflow.clear("unconfirmed_send", run_id)
    assert airflow.wait_for_end(run_id, 300) == "success"
    assert received() == 2

    # It had finished, so a clear asks for another send.
    airflow.clear("unconfirmed_send", run_id)
    assert airflow.wait_for_end(run_id, 300) == "success"
    assert received() == 3
    assert emulator.violations == []
