"""A sensor for each session of the run's configuration, all waiting in the triggerer."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_wts.sensors.session import WtsSessionSensor

with DAG("many_sensors", schedule=None, catchup=False, params={"sessions": Param([], type="array")}):

    @task
    def pick(params=None):
        return params["sessions"]

    WtsSessionSensor.partial(task_id="wait", deferrable=True, poke_interval=10, timeout=900).expand(session_id=pick())
