"""An order has shipped: notify the customer, send the receipt, and check the delivery of the message.

On an official WhatsApp channel, free text reaches a customer only within 24 hours of the customer's last message; after
that, use a template. Needs a connection ``wts_default``. The defaults suit the local WTS Chat service:
``python -m airflow_provider_wts.emulator``.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_wts.operators.message import (
    WtsGetMessageStatusOperator,
    WtsListMessagesOperator,
    WtsSendFileOperator,
    WtsSendTextOperator,
)
from airflow_provider_wts.sensors.message import WtsMessageStatusSensor

with DAG(
    dag_id="example_wts_messages",
    schedule=None,
    catchup=False,
    tags=["example", "wts"],
    doc_md=__doc__,
    params={
        "phone": Param("+55 11 99999-0001", type="string", title="Customer", description="Number or @handle."),
        "order": Param("A-1043", type="string", title="Order"),
        "channel": Param("WhatsApp principal", type="string", title="Channel", description="Channel to send from."),
        "receipt": Param(
            "https://example.com/receipts/A-1043.pdf",
            type="string",
            title="Receipt",
            description="Public address of a file, a local path, or an address in object storage.",
        ),
    },
):
    # [START send_text]
    send_text = WtsSendTextOperator(
        task_id="send_text",
        to="{{ params.phone }}",
        channel="{{ params.channel }}",
        text="Seu pedido {{ params.order }} saiu para entrega.",
        # A retry that comes too late sends nothing.
        not_after="{{ dag_run.start_date + macros.timedelta(hours=6) }}",
        retries=3,
    )
    # [END send_text]

    # [START send_file]
    send_receipt = WtsSendFileOperator(
        task_id="send_receipt",
        to="{{ params.phone }}",
        channel="{{ params.channel }}",
        file="{{ params.receipt }}",
        text="Comprovante do pedido {{ params.order }}",
    )
    # [END send_file]

    # [START wait_for_delivery]
    # QUEUED and SENT do not prove delivery; DELIVERED and READ do.
    wait_for_delivery = WtsMessageStatusSensor(
        task_id="wait_for_delivery",
        message_id="{{ ti.xcom_pull(task_ids='send_text')['id'] }}",
        target_status="DELIVERED",
        poke_interval=15,
        timeout=timedelta(hours=1).total_seconds(),
        deferrable=True,
    )
    # [END wait_for_delivery]

    # [START get_message_status]
    get_status = WtsGetMessageStatusOperator(
        task_id="get_status", message_id="{{ ti.xcom_pull(task_ids='send_receipt')['id'] }}"
    )
    # [END get_message_status]

    # [START list_messages]
    list_messages = WtsListMessagesOperator(
        task_id="list_messages", session_id="{{ ti.xcom_pull(task_ids='get_status')['sessionId'] }}", max_items=50
    )
    # [END list_messages]

    send_text >> send_receipt >> wait_for_delivery >> get_status >> list_messages
