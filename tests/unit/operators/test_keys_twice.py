"""JSON text in which one object has a key twice: it is unknown which value is meant, so nothing is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_wts.operators.call import WtsCallOperator
from airflow_provider_wts.operators.campaign import WtsSendChatbotBatchOperator
from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator
from airflow_provider_wts.operators.contact import WtsCreateContactOperator
from airflow_provider_wts.operators.message import WtsSendTemplateOperator

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.running import Emulator

TO = "+55 11 99999-8888"
TWICE = '{"valor": "1", "nome": "a", "valor": "2"}'

OPERATORS = {
    "session_metadata": lambda: WtsSendChatbotOperator(
        task_id="send", to=TO, chatbot="Cobrança", session_metadata=TWICE
    ),
    "session_metadata inside": lambda: WtsSendChatbotOperator(
        task_id="send", to=TO, chatbot="Cobrança", session_metadata='{"a": [' + TWICE + "]}"
    ),
    "contact_metadata": lambda: WtsSendChatbotOperator(
        task_id="send", to=TO, chatbot="Cobrança", contact_metadata=TWICE
    ),
    "parameters": lambda: WtsSendTemplateOperator(
        task_id="send", to=TO, channel="+55|1140028922", template="saudacao", parameters=TWICE
    ),
    "custom_fields": lambda: WtsCreateContactOperator(task_id="create", phone_number=TO, custom_fields=TWICE),
    "body": lambda: WtsCallOperator(task_id="call", operation_id="create_contact", body=TWICE),
    "recipients": lambda: WtsSendChatbotBatchOperator(
        task_id="send", chatbot="Cobrança", recipients=f'["{TO}", {TWICE}]'
    ),
    "row_session_metadata": lambda: WtsSendChatbotBatchOperator(
        task_id="send", chatbot="Cobrança", recipients=[TO], row_session_metadata=TWICE
    ),
}


@pytest.mark.parametrize("given", OPERATORS)
def test_a_key_that_is_there_twice_is_refused_by_its_name(
    service: Emulator, context: dict[str, Any], given: str
) -> None:
    with pytest.raises(AirflowFailException, match="'valor' twice") as refused:
        OPERATORS[given]().execute(context)
    assert given.split(maxsplit=1)[0].removeprefix("row_") in str(refused.value)
    assert not [one for one in service.requests if one.method != "GET"]
