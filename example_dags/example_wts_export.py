"""Export the conversations of a day, and count how they ended.

Needs a connection ``wts_default``. In production, give the DAG a schedule and omit the bounds: each run then exports
its data interval. Load the rows into the data warehouse as an upsert by ``id``.
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
            description="Folder for the files, such as s3://aws_default@bucket/conversations.",
        ),
        "hours": Param(24, type="integer", minimum=1, title="Hours", description="How far back the export goes."),
    },
):

    @task
    def bounds(params: dict[str, Any] | None = None) -> dict[str, str]:
        """Return the bounds; as the result of a task, they are the same for all tries."""
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
        """Read the files; in production, load them into the data warehouse."""
        manifest = json.loads(ObjectStoragePath(exported["manifest"]).read_text())
        statuses: Counter[str] = Counter()
        for name in manifest["files"]:
            for row in ObjectStoragePath(f"{manifest['path']}/{name}").read_text().splitlines():
                statuses[json.loads(row)["status"]] += 1
        return dict(statuses)

    # [END load]

    interval >> export
    load(export.output)
