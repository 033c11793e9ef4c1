"""Send an invoice: upload the file once, send it with an approved template, and schedule a reminder.

On an official WhatsApp channel, only a template can open a conversation. Needs a connection ``wts_default``, and
scheduling enabled for the account. The defaults suit the local WTS Chat service:
``python -m airflow_provider_wts.emulator``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_wts.operators.message import (
    WtsCancelScheduledMessageOperator,
    WtsListTemplatesOperator,
    WtsScheduleMessageOperator,
    WtsSendTemplateOperator,
)

with DAG(
    dag_id="example_wts_templates",
    schedule=None,
    catchup=False,
    tags=["example", "wts"],
    doc_md=__doc__,
    params={
        "phone": Param("(11) 99999-0002", type="string", title="Customer", description="Phone number."),
        "channel": Param("WhatsApp principal", type="string", title="Channel", description="Channel to send from."),
        "template": Param("cobranca", type="string", title="Template", description="Name of an approved template."),
        "invoice_template": Param(
            "fatura", type="string", title="Invoice template", description="An approved template with a document."
        ),
        "parameters": Param(
            {"nome": "Diego", "valor": "R$ 80,00", "data": "10/12"},
            type="object",
            title="Parameters",
            description="Values of the template's variables.",
        ),
    },
):
    # [START list_templates]
    list_templates = WtsListTemplatesOperator(
        task_id="list_templates", channel="{{ params.channel }}", approved_only=True, include_details="Params"
    )
    # [END list_templates]

    @task
    def make_invoice(params: dict[str, Any] | None = None) -> str:
        """Create the file. If tasks run on several machines, write to object storage instead."""
        folder = Path(tempfile.gettempdir(), "wts-example")
        folder.mkdir(exist_ok=True)
        invoice = folder / "invoice.pdf"
        invoice.write_bytes(b"%PDF-1.4\n" + f"{(params or {})['parameters']}\n%%EOF\n".encode())
        return str(invoice)

    # [START send_template]
    send_invoice = WtsSendTemplateOperator(
        task_id="send_invoice",
        to="{{ params.phone }}",
        channel="{{ params.channel }}",
        template="{{ params.invoice_template }}",
        # Checked against the template before anything is sent.
        parameters="{{ params.parameters | tojson }}",
        # Uploaded first; may also be in object storage, such as s3://aws_default@bucket/invoices/118.pdf.
        file=make_invoice(),
        session_metadata={"run": "{{ run_id }}"},
    )
    # [END send_template]

    # [START schedule_message]
    schedule_reminder = WtsScheduleMessageOperator(
        task_id="schedule_reminder",
        to="{{ params.phone }}",
        channel="{{ params.channel }}",
        scheduling="{{ dag_run.start_date + macros.timedelta(days=3) }}",
        template="{{ params.template }}",
        parameters="{{ params.parameters | tojson }}",
    )
    # [END schedule_message]

    @task
    def wait_for_payment() -> None:
        """Check whether the invoice is paid; in production, use a sensor on the bank's file."""

    # [START cancel_scheduled_message]
    cancel_reminder = WtsCancelScheduledMessageOperator(
        task_id="cancel_reminder",
        scheduled_message_id="{{ ti.xcom_pull(task_ids='schedule_reminder')['id'] }}",
    )
    # [END cancel_scheduled_message]

    list_templates >> send_invoice >> schedule_reminder >> wait_for_payment() >> cancel_reminder
