"""A chatbot for each recipient of the run's configuration, with retries."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator

with DAG("mapped_sends", schedule=None, catchup=False, params={"to": Param([], type="array")}):

    @task
    def pick(params=None):
        return params["to"]

    WtsSendChatbotOperator.partial(
        task_id="send", chatbot="Cobrança", retries=6, retry_delay=timedelta(seconds=1)
    ).expand(to=pick())
