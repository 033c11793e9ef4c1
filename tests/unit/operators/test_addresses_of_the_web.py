"""Parameters that hold addresses of the web: what is none is refused before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_wts.operators.campaign import WtsSendTextBatchOperator
from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator
from airflow_provider_wts.operators.message import WtsSendTextOperator
from airflow_provider_wts.operators.session import WtsCreateSessionNoteOperator

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.running import Emulator

TO = "+55 11 99999-8888"

OPERATORS = {
    "text": lambda url: WtsSendTextOperator(task_id="send", to=TO, text="Olá", callback_url=url),
    "chatbot": lambda url: WtsSendChatbotOperator(task_id="send", to=TO, chatbot="Cobrança", callback_url=url),
    "campaign": lambda url: WtsSendTextBatchOperator(task_id="send", recipients=[TO], row_text="Olá", callback_url=url),
    "note": lambda url: WtsCreateSessionNoteOperator(
        task_id="note", session_id="5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e", text="Olá", file_urls=[url]
    ),
}


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "http://",
        "https:///hook",
        "https://:443/hook",
        "https://example.com:port/hook",
        "https://example.com:99999/hook",
        "https://example .com/hook",
        "https://example.com/my hook",
        "https://example.com/a\nb",
        "https://example..com/hook",
        "ftp://example.com/hook",
    ],
)
@pytest.mark.parametrize("operator", OPERATORS)
def test_what_is_no_address_is_refused(
    service: Emulator, stateful_context: dict[str, Any], operator: str, url: str
) -> None:
    with pytest.raises(AirflowFailException, match=r"_urls?(\[0\])?: .* is not an http\(s\) address"):
        OPERATORS[operator](url).execute(stateful_context)
    assert not [one for one in service.requests if one.method != "GET"]


@pytest.mark.parametrize(
    "url",
    [" https://example.com/hook ", "HTTP://[::1]:8080/a%20b?c=d#e", "https://ação.example.com", "http://hooks:80"],
)
def test_an_address_goes_out_as_it_is_without_blanks_around_it(
    service: Emulator, stateful_context: dict[str, Any], url: str
) -> None:
    OPERATORS["text"](url).execute(stateful_context)
    (sent,) = service.requests_of("send_text")
    assert sent.body["callbackUrl"] == url.strip()
