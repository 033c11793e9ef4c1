"""What the tests of sensors share: the session that most of them wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.running import Emulator


@pytest.fixture
def session_id(wts_connection: Emulator, context: dict[str, Any]) -> str:
    """A session in which a bot has just started."""
    operator = WtsSendChatbotOperator(task_id="send", chatbot="Cobrança", to="+55 11 99999-8888")
    return str(operator.execute(context)["id"])
