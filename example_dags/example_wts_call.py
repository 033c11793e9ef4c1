"""Call any operation of the API by its name: create the tags that a campaign needs, list portfolios and webhooks.

Needs a connection ``wts_default``. The defaults suit the local WTS Chat service:
``python -m airflow_provider_wts.emulator``.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_wts.operators.call import WtsCallOperator

with DAG(
    dag_id="example_wts_call",
    schedule=None,
    catchup=False,
    tags=["example", "wts"],
    doc_md=__doc__,
    params={
        "tags": Param(["VIP", "Black Friday 2026", "Não perturbe"], type="array", title="Required tags"),
    },
):
    # [START call_read]
    list_tags = WtsCallOperator(task_id="list_tags", operation_id="list_tags")
    # [END call_read]

    @task
    def missing_tags(there_are: list[dict[str, Any]], params: dict[str, Any] | None = None) -> list[dict[str, str]]:
        """Return the tags to create, as the API expects them."""
        known = {tag["name"] for tag in there_are}
        return [{"name": name} for name in (params or {})["tags"] if name not in known]

    # [START call_write]
    # Checked against the API's contract before it is sent.
    create_tags = WtsCallOperator.partial(task_id="create_tags", operation_id="create_tag").expand(
        body=missing_tags(list_tags.output)
    )
    # [END call_write]

    # [START call_paged]
    list_portfolios = WtsCallOperator(
        task_id="list_portfolios",
        operation_id="list_portfolios",
        query={"OrderBy": "createdAt", "OrderDirection": "ASCENDING"},
        paged=True,
        max_items=500,
    )
    # [END call_paged]

    list_webhooks = WtsCallOperator(task_id="list_webhooks", operation_id="list_webhook_subscriptions")

    create_tags >> [list_portfolios, list_webhooks]
