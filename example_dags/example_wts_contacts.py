"""Sync contacts with the data warehouse: save changed customers, tag late payers, and list the tagged contacts.

Needs a connection ``wts_default``, and the tags and custom fields that the parameters name. The defaults suit the local
WTS Chat service: ``python -m airflow_provider_wts.emulator``.
"""

from __future__ import annotations

import tempfile
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_wts.operators.contact import (
    WtsListContactsOperator,
    WtsSaveContactsOperator,
    WtsUpdateContactTagsOperator,
)

CUSTOMERS = [
    {"name": "Carla Dias", "phone": "+55 11 99999-0001", "plan": "Completo", "days_late": 0},
    {"name": "Diego Alves", "phone": "(11) 99999-0002", "plan": "Básico", "days_late": 12},
    {"name": "Gabriela Melo", "phone": "21 98888-0007", "plan": "Básico", "days_late": 31},
]

with DAG(
    dag_id="example_wts_contacts",
    schedule=None,
    catchup=False,
    tags=["example", "wts"],
    doc_md=__doc__,
    params={
        "late_tag": Param("Inadimplente", type="string", title="Tag", description="Name of the tag for late payers."),
        "folder": Param(
            f"file://{tempfile.gettempdir()}/wts-example",
            type="string",
            title="Folder",
            description="Folder for the list: any ObjectStoragePath.",
        ),
        "customers": Param(
            CUSTOMERS,
            type="array",
            title="Customers",
            items={"type": "object", "required": ["name", "phone", "plan", "days_late"]},
        ),
    },
):

    @task
    def changed_customers(params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return who changed since the last run; in production, query the data warehouse."""
        return [
            {"name": row["name"], "phone_number": row["phone"], "custom_fields": {"Plano": row["plan"]}}
            for row in (params or {})["customers"]
        ]

    @task
    def late_payers(params: dict[str, Any] | None = None) -> list[str]:
        """Return who pays late."""
        return [row["phone"] for row in (params or {})["customers"] if row["days_late"] > 0]

    # [START save_contacts]
    # 100 contacts per request. Existing contacts are updated; fields that are not given stay as they are.
    save_contacts = WtsSaveContactsOperator(task_id="save_contacts", contacts=changed_customers())
    # [END save_contacts]

    # [START tag_late_payers]
    tag_late_payers = WtsUpdateContactTagsOperator.partial(
        task_id="tag_late_payers", tags="{{ params.late_tag }}", tag_operation="add"
    ).expand(phone=late_payers())
    # [END tag_late_payers]

    # [START list_contacts]
    # Any number of contacts in constant memory: they go to a file, and XCom holds the manifest.
    list_late_payers = WtsListContactsOperator(
        task_id="list_late_payers",
        tags="{{ params.late_tag }}",
        include_details=["Tags", "CustomFields"],
        output_path="{{ params.folder }}/late_payers.jsonl",
    )
    # [END list_contacts]

    @task
    def say(manifest: dict[str, Any]) -> str:
        """Return a summary of the file."""
        return f"{manifest['items']} contacts are in {manifest['path']}."

    save_contacts >> tag_late_payers >> list_late_payers
    say(list_late_payers.output)
