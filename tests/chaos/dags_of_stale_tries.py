"""One send or one campaign for each run; who gets it stands in the run's configuration."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_wts.operators.campaign import (
    WtsSendChatbotBatchOperator,
    WtsSendTemplateBatchOperator,
    WtsSendTextBatchOperator,
)
from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator
from airflow_provider_wts.operators.message import WtsSendFileOperator, WtsSendTextOperator
from airflow_provider_wts.operators.template import WtsSendTemplateOperator

CHANNEL = "+55|1140028922"
TO = "{{ params.to[0] }}"
RECIPIENTS = "{{ params.to | tojson }}"
TEXT = "Olá, agora são {{ macros.time.time() }}"

KINDS: dict[str, tuple[type, dict[str, Any]]] = {
    "text": (WtsSendTextOperator, {"to": TO, "text": TEXT}),
    "chatbot": (WtsSendChatbotOperator, {"to": TO, "chatbot": "Cobrança"}),
    "template": (
        WtsSendTemplateOperator,
        {"to": TO, "channel": CHANNEL, "template": "saudacao", "parameters": {"nome": TEXT}},
    ),
    "file": (WtsSendFileOperator, {"to": TO, "file": "{{ params.file }}"}),
    "text_campaign": (WtsSendTextBatchOperator, {"recipients": RECIPIENTS, "row_text": TEXT, "chunk_size": 2}),
    "chatbot_campaign": (
        WtsSendChatbotBatchOperator,
        {"recipients": RECIPIENTS, "chatbot": "Cobrança", "chunk_size": 2},
    ),
    "template_campaign": (
        WtsSendTemplateBatchOperator,
        {
            "recipients": RECIPIENTS,
            "channel": CHANNEL,
            "template": "saudacao",
            "row_parameters": {"nome": TEXT},
            "chunk_size": 2,
        },
    ),
}

for kind, (operator, arguments) in KINDS.items():
    for name, window in ((kind, {}), (f"{kind}_in_window", {"send_window": "{{ params.window }}"})):
        with DAG(
            name,
            schedule=None,
            params={
                "to": Param([], type="array"),
                "file": Param("", type="string"),
                "window": Param("", type="string"),
            },
        ):
            operator(task_id="send", retries=9, retry_delay=timedelta(0), **arguments, **window)
