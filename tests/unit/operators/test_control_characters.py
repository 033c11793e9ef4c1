"""Characters that nobody writes, such as BEL and ESC, reach no customer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_wts.operators.campaign import (
    WtsSendChatbotBatchOperator,
    WtsSendTemplateBatchOperator,
    WtsSendTextBatchOperator,
)
from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator
from airflow_provider_wts.operators.message import WtsSendTemplateOperator, WtsSendTextOperator

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.running import Emulator

TO = "+55 11 99999-8888"
CHANNEL = "+55|1140028922"
CONTROLS = ["\0", "\x07", "\x0b", "\x1b", "\x7f", "\x85", "\x9b"]


def send_text(text: str) -> Any:
    return WtsSendTextOperator(task_id="send", to=TO, text=text)


def send_template(text: str) -> Any:
    return WtsSendTemplateOperator(
        task_id="send", to=TO, channel=CHANNEL, template="saudacao", parameters={"nome": text}
    )


def send_chatbot(text: str) -> Any:
    return WtsSendChatbotOperator(task_id="send", to=TO, chatbot="Cobrança", session_metadata={"a": ["b", text]})


def send_chatbot_with_json(text: str) -> Any:
    return WtsSendChatbotOperator(
        task_id="send", to=TO, chatbot="Cobrança", session_metadata=json.dumps({"texto": text})
    )


def text_of_rows(text: str) -> Any:
    return WtsSendTextBatchOperator(
        task_id="send", recipients=[{"to": TO, "nome": text}], row_text="Olá {{ row.nome }}", channel=CHANNEL
    )


def text_of_all_rows(text: str) -> Any:
    return WtsSendTextBatchOperator(task_id="send", recipients=[TO], row_text=text, channel=CHANNEL)


def metadata_of_rows(text: str) -> Any:
    return WtsSendChatbotBatchOperator(
        task_id="send",
        recipients=[{"to": TO, "nome": text}],
        chatbot="Cobrança",
        row_session_metadata={"nome": "{{ row.nome }}"},
    )


def template_of_rows(text: str) -> Any:
    return WtsSendTemplateBatchOperator(
        task_id="send",
        recipients=[{"to": TO, "parameters": {"nome": text}}],
        template="saudacao",
        channel=CHANNEL,
    )


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: f"U+{ord(control):04X}")
@pytest.mark.parametrize(
    "operator",
    [
        send_text,
        send_template,
        send_chatbot,
        send_chatbot_with_json,
        text_of_rows,
        text_of_all_rows,
        metadata_of_rows,
        template_of_rows,
    ],
    ids=lambda function: function.__name__,
)
def test_a_control_character_is_refused_before_anything_is_sent(
    service: Emulator, context: dict[str, Any], operator: Any, control: str
) -> None:
    if "template" in operator.__name__ and control in "\x0b\x85":
        pytest.skip("these are blanks, which Meta takes as a space")
    words = rf"control character U\+{ord(control):04X}|is not readable text"
    with pytest.raises(AirflowFailException, match=words) as refused:
        operator(f"Maria{control} Silva").execute(context)
    assert control not in str(refused.value)
    assert not [one for one in service.requests if one.method == "POST"]


@pytest.mark.parametrize("text", ["Olá\nMaria", "Olá\r\nMaria", "Olá\tMaria", "Olá 👩\u200d👧 Maria"])
def test_ends_of_lines_and_tabulators_are_text(service: Emulator, stateful_context: dict[str, Any], text: str) -> None:
    send_text(text).execute(stateful_context)
    (sent,) = service.requests_of("send_text")
    assert sent.body["text"] == text
