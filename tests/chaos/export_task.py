"""Exports conversations, each try in a process of its own that may be killed; a line on stdin starts one."""

from __future__ import annotations

import json
import os
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from forked_tries import serve

from airflow_provider_wts.operators import export as export_module
from airflow_provider_wts.operators.session import WtsExportConversationsOperator


def export(settings: dict[str, Any]) -> dict[str, Any]:
    """Make one try, and return what came of it."""
    os.environ["AIRFLOW_CONN_WTS_DEFAULT"] = json.dumps(
        {"conn_type": "wts", "host": settings["url"], "password": settings["token"]}
    )
    export_module.PART = settings["part"]
    task_instance = SimpleNamespace(
        dag_id="export",
        run_id=settings["run_id"],
        task_id="export",
        map_index=-1,
        try_number=settings["try_number"],
        max_tries=9,
    )
    run = SimpleNamespace(start_date=datetime.fromisoformat(settings["updated_after"]), clear_number=0)
    operator = WtsExportConversationsOperator(
        task_id="export",
        output_path=f"file://{settings['folder']}",
        updated_after=settings["updated_after"],
        updated_before=settings["updated_before"],
    )
    try:
        return {"counts": operator.execute({"ti": task_instance, "dag_run": run})}  # type: ignore[typeddict-item]
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    serve(export)
