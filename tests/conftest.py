"""Gives the tests an Airflow of their own, before anything imports Airflow.

Without this, importing Airflow would read and write the developer's own ``~/airflow``.
"""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# A busy machine is slow, which says nothing about the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

_HOME = Path(tempfile.mkdtemp(prefix="wts-airflow-"))
(_HOME / "dags").mkdir()
_PROCESS = os.getpid()


def _remove_home() -> None:
    # A forked child must not take the home away from its parent.
    if os.getpid() == _PROCESS:
        shutil.rmtree(_HOME, ignore_errors=True)


atexit.register(_remove_home)

for _name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[_name]
os.environ.update(
    {
        "AIRFLOW_HOME": str(_HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(_HOME / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME}/airflow.db",
        # Fixed, so that all processes of the tests agree without reading each other's airflow.cfg.
        "AIRFLOW__CORE__FERNET_KEY": "d3RzLWNoYXQtdGVzdHMtZmVybmV0LWtleS0zMmJ5dCE=",
        "AIRFLOW__API_AUTH__JWT_SECRET": "tests-only-tests-only-tests-only-tests-only-tests-only-tests-only",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Most tests wait for something for most of their time, so a core has work for two."""
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[Any]:
    """Look through nothing for garbage that stays anyhow: what is imported, and the tests that are made of it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def no_requests_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service at a port that an earlier test's service had is the same account, whose limits may be used up."""
    from airflow_provider_wts.api.budget import _memory

    monkeypatch.setattr(_memory, "_times", {})


@pytest.fixture(scope="session")
def migrated_database() -> Path:
    """A migrated SQLite database of Airflow, to be copied. A migration takes long: it is done once per version."""
    from airflow_version import AIRFLOW

    kept = Path(__file__).resolve().parent.parent / ".airflow-test" / f"airflow-{AIRFLOW}.db"
    if not kept.exists():
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder, "airflow.db")
            subprocess.run(
                [sys.executable, "-m", "airflow", "db", "migrate"],
                env={**os.environ, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{made}"},
                check=True,
                stdout=subprocess.DEVNULL,
            )
            kept.parent.mkdir(exist_ok=True)
            # Other test runs may do the same at this moment; the last rename wins, and all files are alike.
            moving = kept.with_suffix(f".{os.getpid()}")
            shutil.copy(made, moving)
            moving.rename(kept)
    return kept
