"""A campaign in three tasks: query customers, start a chatbot for each, and write the outcomes to a table.

Needs a connection ``wts_default``, a published chatbot, and a connection ``warehouse`` to any database that Airflow has
a hook for, such as SQLite with ``apache-airflow-providers-sqlite``. It reads two tables::

    CREATE TABLE invoices (id INTEGER, name TEXT, phone TEXT, amount NUMERIC, due_on DATE, paid_on DATE);
    CREATE TABLE opt_outs (phone TEXT);

Before Airflow 3.3, also set ``[wts] ledger_path``. The other defaults suit the local WTS Chat service,
``python -m airflow_provider_wts.emulator``, whose customers reply immediately: set a lower ``refresh_interval`` there.
"""

from __future__ import annotations

import tempfile
from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG, Param
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

from airflow_provider_wts.operators.campaign import WtsCampaignOutcomeOperator, WtsSendChatbotBatchOperator

with DAG(
    dag_id="example_wts_campaign",
    schedule=None,
    catchup=False,
    # Only one run at a time may use the table that the query creates.
    max_active_runs=1,
    tags=["example", "wts"],
    doc_md=__doc__,
    params={
        "chatbot": Param("Cobrança", type="string", title="Chatbot", description="Name or key of a published chatbot."),
        "folder": Param(
            f"file://{tempfile.gettempdir()}/wts-campaigns",
            type="string",
            title="Folder",
            description="Where results and reports go, such as s3://aws_default@bucket/campaigns.",
        ),
    },
):
    # [START query]
    query = SQLExecuteQueryOperator(
        task_id="query",
        conn_id="warehouse",
        sql=[
            "DROP TABLE IF EXISTS reminders",
            """
            CREATE TABLE reminders AS
            SELECT id AS invoice, name, phone, amount
            FROM invoices
            WHERE paid_on IS NULL AND due_on <= CURRENT_DATE
            """,
        ],
    )
    # [END query]

    # [START send]
    send = WtsSendChatbotBatchOperator(
        task_id="send",
        chatbot="{{ params.chatbot }}",
        recipients_sql="SELECT * FROM reminders ORDER BY invoice",
        recipients_conn_id="warehouse",
        row_to="{{ row.phone }}",
        # Joins the outcomes to the invoices.
        row_key="{{ row.invoice }}",
        # What the chatbot can say, such as {{metadata.fatura}}; numbers stay numbers.
        row_session_metadata={"fatura": "{{ row.invoice }}", "valor": "{{ row.amount }}"},
        suppression_sql="SELECT phone FROM opt_outs",
        suppression_conn_id="warehouse",
        # One in ten gets no message, to measure the effect of the campaign.
        holdout=0.1,
        results_path="{{ params.folder }}/results-{{ run_id }}.jsonl",
        on_bad_row="skip",
        max_failures="5%",
        retries=2,
        retry_delay=timedelta(minutes=1),
    )
    # [END send]

    # [START outcome]
    outcome = WtsCampaignOutcomeOperator(
        task_id="outcome",
        campaign=send.output,
        # Stop after two days, or when 90% of the conversations are over.
        until=timedelta(days=2),
        needed=0.9,
        refresh_interval=timedelta(minutes=15),
        outcomes_table="reminder_outcomes",
        outcomes_conn_id="warehouse",
        report_path="{{ params.folder }}/report-{{ run_id }}.html",
        deferrable=True,
    )
    # [END outcome]

    query >> send >> outcome
