"""Gives the tests an Airflow of their own, before anything imports Airflow.

Without this, importing Airflow would read and write the developer's own ``~/airflow``.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

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
