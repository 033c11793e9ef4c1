"""A chatbot for each recipient; the task waits for the end of the conversation in the triggerer."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator

# A retry that follows the failure too closely meets a scheduler that still books it, and is failed by it.
RETRY_DELAY = timedelta(seconds=20)

with DAG("send_and_wait", schedule=None, catchup=False, params={"to": Param([], type="array")}):

    @task
    def pick(params=None):
        return params["to"]

    WtsSendChatbotOperator.partial(
        task_id="send",
        chatbot="Cobrança",
        retries=2,
        retry_delay=RETRY_DELAY,
        wait_for_completion=True,
        deferrable=True,
        poll_interval=5,
    ).expand(to=pick())
