"""A person approves a campaign before it goes out.

The run stops at "Required Actions" until somebody approves or rejects, and WhatsApp notifies the manager. After a
rejection, nothing is sent. Needs Airflow 3.1, a connection ``wts_default``, and the template that the parameters name.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, AirflowOptionalProviderFeatureException, Param, task

from airflow_provider_wts.notifications.wts import WtsNotifier
from airflow_provider_wts.operators.message import WtsSendTemplateBatchOperator

log = logging.getLogger(__name__)

try:
    from airflow.providers.standard.operators.hitl import ApprovalOperator
except (ImportError, AirflowOptionalProviderFeatureException) as error:
    log.info("example_wts_approval is not there: %s", error)
    ApprovalOperator = None  # type: ignore[assignment, misc]

CUSTOMERS = [
    {"name": "Carla", "phone": "+55 11 99999-0001"},
    {"name": "Diego", "phone": "+55 11 99999-0002"},
]

if ApprovalOperator is not None:
    with DAG(
        dag_id="example_wts_approval",
        schedule=None,
        catchup=False,
        tags=["example", "wts"],
        doc_md=__doc__,
        params={
            "template": Param("saudacao", type="string", title="Template", description="Name of the template."),
            "channel": Param("WhatsApp principal", type="string", title="Channel", description="Channel to send from."),
            "manager": Param(
                "+55 11 99999-0003", type="string", title="Manager", description="Who gets the request for approval."
            ),
            "customers": Param(CUSTOMERS, type="array", title="Customers"),
        },
    ):

        @task
        def pick_customers(params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
            """Pick who gets the message; in production, query the data warehouse."""
            return list((params or {})["customers"])

        customers = pick_customers()

        # [START approve]
        approve = ApprovalOperator(
            task_id="approve",
            subject="Send {{ params.template }} to {{ ti.xcom_pull(task_ids='pick_customers') | length }} customers?",
            body="Channel: {{ params.channel }}. Run: {{ run_id }}",
            # If nobody answers, nothing is sent.
            defaults="Reject",
            response_timeout=timedelta(hours=8),
            notifiers=[
                WtsNotifier(
                    to="{{ params.manager }}",
                    template="saudacao",
                    parameters={"nome": "gerência: a campanha {{ params.template }} espera aprovação"},
                    channel="{{ params.channel }}",
                )
            ],
        )
        # [END approve]

        # [START send]
        send = WtsSendTemplateBatchOperator(
            task_id="send",
            template="{{ params.template }}",
            channel="{{ params.channel }}",
            recipients=customers,
            row_to="{{ row.phone }}",
            row_parameters={"nome": "{{ row.name }}"},
            # Yesterday's approval does not cover tonight.
            send_window="08:00-20:00 America/Sao_Paulo",
        )
        # [END send]

        customers >> approve >> send
