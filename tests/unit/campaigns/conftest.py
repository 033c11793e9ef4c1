"""What the tests of campaigns share: tries of a task, and the kinds of messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from campaign_tries import CHANNEL
from databases import database  # noqa: F401
from tries import _never_expire, bot_key, hook, in_the_past, make_task, store, task  # noqa: F401

from airflow_provider_wts.campaigns.message_kinds import ChatbotKind, TemplateKind, TextKind

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.running import Emulator


@pytest.fixture
def chatbot(bot_key: str) -> ChatbotKind:  # noqa: F811
    return ChatbotKind(bot_key, CHANNEL, {}, request_size=10)


@pytest.fixture
def template(emulator: Emulator) -> TemplateKind:
    found = next(one for one in emulator.state.templates.by_creation() if one["name"] == "pesquisa")
    return TemplateKind(str(found.id), CHANNEL, {}, request_size=10)


@pytest.fixture
def text() -> TextKind:
    return TextKind(CHANNEL, {}, parallelism=4)
