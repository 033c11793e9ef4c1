"""A chatbot for each recipient, without retries: what fails is for a person to clear."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator

with DAG(
    "sends_without_retries",
    schedule=None,
    catchup=False,
    params={"to": Param([], type="array"), "on_clear": Param("auto", type="string")},
):

    @task
    def pick(params=None):
        return params["to"]

    WtsSendChatbotOperator.partial(
        task_id="send", chatbot="Cobrança", retries=0, on_clear="{{ params.on_clear }}"
    ).expand(to=pick())
