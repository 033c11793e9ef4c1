"""Real Airflow for tests: a migrated database, and a process that runs DAG files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from real_airflow import DagRunner, RunDag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def airflow_home(migrated_database: Path) -> Path:
    """The tests' AIRFLOW_HOME, with a migrated SQLite database."""
    home = Path(os.environ["AIRFLOW_HOME"])
    shutil.copy(migrated_database, home / "airflow.db")
    return home


@pytest.fixture(scope="session")
def dag_runner(airflow_home: Path) -> Iterator[DagRunner]:
    """The process that runs DAG files."""
    runner = DagRunner()
    yield runner
    runner.close()


@pytest.fixture
def run_dag(dag_runner: DagRunner) -> RunDag:
    """Run a DAG file on real Airflow; see :meth:`DagRunner.run`."""
    return dag_runner.run


@pytest.fixture
def dag_file(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """Write a DAG file; ``DAG_ID`` in its text becomes an id of this test's own."""
    from textwrap import dedent

    def write(text: str) -> Path:
        dag_id = "".join(char if char.isalnum() else "_" for char in request.node.name)
        path = tmp_path / f"{dag_id}.py"
        path.write_text(dedent(text).replace("DAG_ID", repr(dag_id)), encoding="utf-8")
        return path

    return write


@pytest.fixture
def fast_emulator() -> Iterator[Any]:
    """A WTS Chat emulator whose minutes last two seconds."""
    from airflow_provider_wts.emulator.running import Emulator

    with Emulator(speed=30) as emulator:
        yield emulator


@pytest.fixture
def wts_connection(fast_emulator: Any) -> dict[str, dict[str, Any]]:
    """The connection ``wts_default`` to the emulator, as ``run_dag(..., connections=...)`` takes it."""
    return {"wts_default": {"conn_type": "wts", "password": fast_emulator.token, "host": fast_emulator.url}}
