"""One send, whose ``retries`` a person edits between two tries."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator

RETRIES = 2

with DAG("edited_retries", schedule=None, catchup=False, params={"to": Param("", type="string")}):
    WtsSendChatbotOperator(
        task_id="send",
        chatbot="Cobrança",
        to="{{ params.to }}",
        retries=RETRIES,
        retry_delay=timedelta(seconds=45),
    )
