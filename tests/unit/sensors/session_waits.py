"""A sensor that waits for a session, and the ends of its wait."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from airflow_provider_wts.sensors.session import WtsSessionSensor

AIRFLOW_3 = find_spec("airflow.sdk") is not None


def sensor(session_id: str, **parameters: Any) -> WtsSessionSensor:
    return WtsSessionSensor(task_id="wait", session_id=session_id, **{"poke_interval": 0.01, **parameters})


def end(waiting: WtsSessionSensor, event: str | None, context: dict[str, Any], session_id: str) -> Any:
    if event is None:
        return waiting.execute(context)
    told = {"outcome": "timeout", "session_id": session_id, "status": None, "message": "m", "final": False}
    method, arguments = {
        "event": ("execute_complete", {"event": told}),
        # What Airflow's scheduler says of a trigger that did not fire in time.
        "airflow": ("__fail__", {"error": "Trigger timeout" if AIRFLOW_3 else "Trigger/execution timeout"}),
    }[event]
    return waiting.resume_execution(method, arguments, context)
