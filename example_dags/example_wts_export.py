"""Bring the conversations of a day home, and sum up how they ended.

It needs a connection ``wts_default``. In earnest, give the DAG a schedule and leave the bounds out: then each run
exports its data interval, and loads it into the warehouse as an upsert by ``id``.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, ObjectStoragePath, Param, task

from airflow_provider_wts.operators.session import WtsExportConversationsOperator

with DAG(
    dag_id="example_wts_export",
    schedule=None,
    catchup=False,
    tags=["example", "wts"],
    doc_md=__doc__,
    params={
        "folder": Param(
            f"file://{tempfile.gettempdir()}/wts-conversations",
            type="string",
            title="Folder",
            description="Where the files go, such as s3://aws_default@bucket/conversations.",
        ),
        "hours": Param(24, type="integer", minimum=1, title="Hours", description="How far back the export goes."),
    },
):

    @task
    def bounds(params: dict[str, Any] | None = None) -> dict[str, str]:
        """Say from when to when; kept as a task's result, so that all tries export the same."""
        now = datetime.now(UTC)
        return {"after": (now - timedelta(hours=(params or {})["hours"])).isoformat(), "before": now.isoformat()}

    interval = bounds()

    # [START export]
    export = WtsExportConversationsOperator(
        task_id="export",
        output_path="{{ params.folder }}",
        updated_after="{{ ti.xcom_pull(task_ids='bounds')['after'] }}",
        updated_before="{{ ti.xcom_pull(task_ids='bounds')['before'] }}",
    )
    # [END export]

    # [START load]
    @task
    def load(exported: dict[str, Any]) -> dict[str, int]:
        """Read the files; in production this loads them into the warehouse."""
        manifest = json.loads(ObjectStoragePath(exported["manifest"]).read_text())
        statuses: Counter[str] = Counter()
        for name in manifest["files"]:
            for row in ObjectStoragePath(f"{manifest['path']}/{name}").read_text().splitlines():
                statuses[json.loads(row)["status"]] += 1
        return dict(statuses)

    # [END load]

    interval >> export
    load(export.output)
