"""WtsSessionsSensor with more sessions than a trigger's arguments hold, in a real run."""

from __future__ import annotations

import threading
import time

from airflow_provider_wts.emulator.conversation import complete

DAG_FILE = """
from airflow.providers.common.compat.sdk import DAG, Param, task
from airflow_provider_wts.sensors.session import WtsSessionsSensor

class Sensor(WtsSessionsSensor):
    def execute_complete(self, context, event=None):
        handed_over = context["ti"].xcom_pull(task_ids="wait", key="wts_session_ids")
        return {"handed over": len(handed_over), **super().execute_complete(context, event)}

with DAG(DAG_ID, schedule=None, params={"sessions": Param([], type="array")}):
    Sensor(
        task_id="wait", session_ids="{{ params.sessions | tojson }}", deferrable=True, poke_interval=1, timeout=60
    )
"""


def test_the_trigger_of_many_sessions_reads_their_ids_from_the_xcom(run_dag, wts_connection, dag_file, fast_emulator):
    numbers = [f"+5511970{number:06}" for number in range(150)]
    sessions = [fast_emulator.contact_writes(one, "Oi")["sessionId"] for one in numbers]

    def complete_when_deferred() -> None:
        # The sensor ends its check with single sessions; a list read after it is the trigger's.
        end = time.monotonic() + 60
        while time.monotonic() < end:
            read = [request.operation_id for request in fast_emulator.requests]
            if "get_session" in read and "list_sessions" in read[read.index("get_session") :]:
                break
            time.sleep(0.05)
        for one in sessions:
            with fast_emulator.state.lock:
                complete(fast_emulator.state, fast_emulator.state.sessions.find(one), stop_bot=True)

    meanwhile = threading.Thread(target=complete_when_deferred)
    meanwhile.start()
    outcome = run_dag(dag_file(DAG_FILE), conf={"sessions": sessions}, connections=wts_connection)
    meanwhile.join()
    task = outcome.task("wait")
    assert task.state == "success", outcome.logs[-3000:]
    assert task.returned == {"handed over": 150, "COMPLETED": 150}
    assert task.xcoms["wts_session_ids"] == []
