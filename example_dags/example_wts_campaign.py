"""A campaign: a chatbot to everybody in a file, 100 a request, then wait until most conversations are over.

The recipients stand in a CSV file, as a query of the warehouse leaves them; a CSV, JSON Lines or Parquet file anywhere
that ``ObjectStoragePath`` reaches will do. What became of each stands in a JSON Lines file afterwards.

It needs a connection ``wts_default`` and a published chatbot. The defaults fit the local WTS Chat service:
``python -m airflow_provider_wts.emulator``.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections import Counter
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, ObjectStoragePath, Param, task

from airflow_provider_wts.api.sessions import list_sessions
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.operators.chatbot import WtsSendChatbotBatchOperator
from airflow_provider_wts.sensors.session import WtsSessionsSensor

CUSTOMERS = [
    {"name": "Carla Dias", "phone": "+55 11 99999-0001", "invoice": "2026-118", "amount": "149.90"},
    {"name": "Diego Alves", "phone": "(11) 99999-0002", "invoice": "2026-119", "amount": "80"},
    {"name": "Elisa Rocha", "phone": "11999990003", "invoice": "2026-120", "amount": "1250.50"},
    # One person, whatever the spelling: she gets one message.
    {"name": "Carla Dias", "phone": "11 99999-0001", "invoice": "2026-118", "amount": "149.90"},
    # Nobody's number: it is listed in the results, and the others get their message.
    {"name": "?", "phone": "unknown", "invoice": "2026-121", "amount": "10"},
]

with DAG(
    dag_id="example_wts_campaign",
    schedule=None,
    catchup=False,
    tags=["example", "wts"],
    doc_md=__doc__,
    params={
        "chatbot": Param("Cobrança", type="string", title="Chatbot", description="Name or key of a published chatbot."),
        "folder": Param(
            f"file://{tempfile.gettempdir()}/wts-campaigns",
            type="string",
            title="Folder",
            description="Where the files are, such as s3://aws_default@bucket/campaigns.",
        ),
        "customers": Param(CUSTOMERS, type="array", title="Customers"),
    },
):

    @task
    def write_recipients(params: dict[str, Any] | None = None, run_id: str | None = None) -> str:
        """Write who gets the chatbot; in earnest a query of the warehouse leaves this file."""
        customers = (params or {})["customers"]
        folder = ObjectStoragePath((params or {})["folder"])
        if folder.protocol == "file":
            folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"recipients-{run_id}.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            rows = csv.DictWriter(file, ["name", "phone", "invoice", "amount"])
            rows.writeheader()
            rows.writerows(customers)
        return str(path)

    # [START send_batch]
    send = WtsSendChatbotBatchOperator(
        task_id="send",
        chatbot="{{ params.chatbot }}",
        recipients_path="{{ ti.xcom_pull(task_ids='write_recipients') }}",
        row_to="{{ row.phone }}",
        row_session_metadata={
            "fatura": "{{ row.invoice }}",
            # A cell that is no number makes a bad row; Jinja's own filters would make a 0 of it.
            "valor": "{{ row.amount | number }}",
            # By this the conversations of the campaign are found again.
            "campanha": "{{ run_id }}",
        },
        results_path="{{ params.folder }}/results-{{ run_id }}.jsonl",
        on_bad_row="skip",
        max_failures="5%",
        retries=2,
        retry_delay=timedelta(minutes=1),
    )
    # [END send_batch]

    # [START find_sessions]
    @task.sensor(poke_interval=10, timeout=timedelta(minutes=30).total_seconds())
    def find_sessions(counts: dict[str, Any], dag_run: Any = None) -> Any:
        """Wait until WTS Chat has worked its queue off, and return the conversations."""
        from airflow.providers.common.compat.sdk import PokeReturnValue

        call = list_sessions(updated_after=dag_run.start_date - timedelta(minutes=5))
        sessions = [
            session["id"]
            for page in WtsHook().pages(call)
            for session in page["items"]
            if (session.get("metadata") or {}).get("campanha") == dag_run.run_id
        ]
        return PokeReturnValue(is_done=len(sessions) >= counts["sent"], xcom_value=sessions)

    # [END find_sessions]

    # [START wait_for_sessions]
    wait_for_sessions = WtsSessionsSensor(
        task_id="wait_for_sessions",
        session_ids=find_sessions(send.output),
        target_status="COMPLETED",
        # Who has not answered after a day does not hold up the rest.
        needed=0.9,
        poke_interval=15,
        timeout=timedelta(days=1).total_seconds(),
        deferrable=True,
    )
    # [END wait_for_sessions]

    # [START read_results]
    @task
    def sum_up(counts: dict[str, Any], sessions: dict[str, int]) -> dict[str, Any]:
        """Read what became of each row; in production this loads the file into the warehouse."""
        lines = ObjectStoragePath(counts["results_path"]).read_text().splitlines()
        rows = Counter(json.loads(line)["status"] for line in lines)
        return {"rows": dict(rows), "sessions": sessions}

    # [END read_results]

    write_recipients() >> send
    sum_up(send.output, wait_for_sessions.output)
