"""A customer asks for a person: start a session, leave a note, transfer it, complete it, and list sessions.

Needs a connection ``wts_default``, and the chatbot, department and user that the parameters name. The defaults suit the
local WTS Chat service: ``python -m airflow_provider_wts.emulator``.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator
from airflow_provider_wts.operators.session import (
    WtsAssignSessionOperator,
    WtsCompleteSessionOperator,
    WtsCreateSessionNoteOperator,
    WtsListSessionsOperator,
    WtsTransferSessionOperator,
    WtsUpdateSessionOperator,
)

SESSION_ID = "{{ ti.xcom_pull(task_ids='start_conversation')['id'] }}"

with DAG(
    dag_id="example_wts_sessions",
    schedule=None,
    catchup=False,
    tags=["example", "wts"],
    doc_md=__doc__,
    params={
        "phone": Param("+55 11 99999-0003", type="string", title="Customer", description="Phone number."),
        "channel": Param("WhatsApp principal", type="string", title="Channel", description="Channel to send from."),
        "chatbot": Param("Falar com atendente", type="string", title="Chatbot", description="Name or key."),
        "department": Param("Financeiro", type="string", title="Department", description="Name or ID."),
        "user": Param("Bruno Lima", type="string", title="User", description="Name, email address or ID."),
    },
):
    start_conversation = WtsSendChatbotOperator(
        task_id="start_conversation",
        chatbot="{{ params.chatbot }}",
        to="{{ params.phone }}",
        channel="{{ params.channel }}",
    )

    # [START create_note]
    # The customer does not see it.
    create_note = WtsCreateSessionNoteOperator(
        task_id="create_note", session_id=SESSION_ID, text="Fatura 2026-120 contestada; ver anexos no painel."
    )
    # [END create_note]

    # [START transfer_session]
    transfer_session = WtsTransferSessionOperator(
        task_id="transfer_session",
        session_id=SESSION_ID,
        department="{{ params.department }}",
        stop_bot_in_execution=True,
    )
    assign_session = WtsAssignSessionOperator(task_id="assign_session", session_id=SESSION_ID, user="{{ params.user }}")
    # [END transfer_session]

    # [START update_session]
    classify = WtsUpdateSessionOperator(
        task_id="classify",
        session_id=SESSION_ID,
        classification={"category": "INFO", "description": "Contestação de fatura"},
    )
    # [END update_session]

    # [START complete_session]
    complete_session = WtsCompleteSessionOperator(
        task_id="complete_session", session_id=SESSION_ID, reactivate_on_new_message=True
    )
    # [END complete_session]

    # [START list_sessions]
    list_closed = WtsListSessionsOperator(
        task_id="list_closed",
        status="COMPLETED",
        department="{{ params.department }}",
        updated_after="{{ dag_run.start_date - macros.timedelta(days=1) }}",
        include_details=["ContactDetails", "ClassificationDetails"],
    )
    # [END list_sessions]

    start_conversation >> create_note >> transfer_session >> assign_session >> classify >> complete_session
    complete_session >> list_closed
