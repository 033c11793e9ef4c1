"""A chatbot for each recipient of the run's configuration, with retries."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator

# A retry that follows the failure too closely meets a scheduler that still books it, and is failed by it.
RETRY_DELAY = timedelta(seconds=20)

with DAG("mapped_sends", schedule=None, catchup=False, params={"to": Param([], type="array")}):

    @task
    def pick(params=None):
        return params["to"]

    WtsSendChatbotOperator.partial(task_id="send", chatbot="Cobrança", retries=3, retry_delay=RETRY_DELAY).expand(
        to=pick()
    )
