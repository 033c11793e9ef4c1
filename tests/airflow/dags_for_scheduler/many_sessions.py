"""One sensor for all sessions of a file, waiting in the triggerer."""

from __future__ import annotations

import json
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_wts.sensors.session import WtsSessionsSensor

with DAG("many_sessions", schedule=None, catchup=False, params={"file": Param("", type="string"), "needed": 1.0}):

    @task
    def pick(params=None):
        return json.loads(Path(params["file"]).read_text())

    WtsSessionsSensor(
        task_id="wait",
        session_ids=pick(),
        needed="{{ params.needed }}",
        deferrable=True,
        poke_interval=10,
        timeout=900,
    )
