"""Rules about the recipient of a single send."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator
from airflow_provider_wts.operators.message import WtsSendTextOperator

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_wts.emulator.running import Emulator

ANA = "+55|11999990001"


@pytest.fixture(autouse=True)
def quiet(emulator: Emulator) -> None:
    emulator.behave("*", replies=[])
    emulator.switches.whatsapp_window = "off"


@pytest.fixture
def context(context: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The context of a try, with a ledger that all versions of Airflow can have."""
    monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", f"file://{tmp_path}/ledger")
    return context


def text(**parameters: Any) -> WtsSendTextOperator:
    return WtsSendTextOperator(**{"task_id": "send", "text": "Olá!", "to": ANA, **parameters})


def in_dag(context: dict[str, Any], dag_id: str) -> dict[str, Any]:
    """The context of the same task in another DAG."""
    ti = type(context["ti"])()
    ti.dag_id = dag_id
    return {**context, "ti": ti}


# Cap ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def redis_connection(wts_connection: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """An account whose connection names a Redis server, which is real."""
    redis = pytest.importorskip("redis", reason="max_per_contact needs the package redis")
    try:
        redis.Redis(socket_connect_timeout=0.5).ping()
    except redis.RedisError:
        pytest.skip("no Redis server at 127.0.0.1:6379")
    extra = {"rate_limit_conn_id": "redis_default", "rate_limit_key": f"test-{uuid.uuid4().hex}"}
    connection = {"conn_type": "wts", "host": wts_connection.url, "password": wts_connection.token, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", json.dumps({"conn_type": "redis", "host": "127.0.0.1"}))
    return wts_connection


def test_single_sends_of_all_kinds_count_together(redis_connection: Emulator, context: dict[str, Any]) -> None:
    text(max_per_contact="2 per 7 days").execute(in_dag(context, "one"))
    chatbot = WtsSendChatbotOperator(task_id="send", chatbot="Cobrança", to=ANA, max_per_contact="2 per 7 days")
    chatbot.execute(in_dag(context, "two"))
    with pytest.raises(AirflowSkipException, match=r"got 2 per 7 days already \(max_per_contact\)"):
        text(max_per_contact="2 per 7 days").execute(in_dag(context, "three"))
    assert len(redis_connection.requests_of("send_text")) == 1


def test_a_retry_of_a_send_counts_once(redis_connection: Emulator, context: dict[str, Any]) -> None:
    for _ in range(3):
        text(max_per_contact="1 per day").execute(context)
        context["ti"].try_number += 1
    assert len(redis_connection.requests_of("send_text")) == 1


@pytest.mark.parametrize("status", [400, 401])
def test_a_send_that_was_refused_is_given_back(
    redis_connection: Emulator, context: dict[str, Any], status: int
) -> None:
    redis_connection.faults.add("status", status=status, operation_id="send_text", times=None)
    with pytest.raises(AirflowFailException, match="send_text"):
        text(max_per_contact="1 per day").execute(in_dag(context, "one"))
    redis_connection.faults.clear()
    assert text(max_per_contact="1 per day").execute(in_dag(context, "two"))["id"]


def test_a_message_that_failed_at_once_is_given_back(redis_connection: Emulator, context: dict[str, Any]) -> None:
    redis_connection.switches.whatsapp_window = "refuse"
    with pytest.raises(AirflowFailException):
        text(max_per_contact="1 per day").execute(in_dag(context, "one"))
    redis_connection.switches.whatsapp_window = "off"
    assert text(max_per_contact="1 per day").execute(in_dag(context, "two"))["id"]


def test_a_message_into_a_session_counts_for_its_contact(redis_connection: Emulator, context: dict[str, Any]) -> None:
    text(max_per_contact="1 per day").execute(in_dag(context, "one"))
    redis_connection.advance(2)
    session_id = redis_connection.received(ANA)[0].session_id
    with pytest.raises(AirflowSkipException, match="max_per_contact"):
        text(to=None, session_id=session_id, max_per_contact="1 per day").execute(in_dag(context, "two"))


def test_a_dry_run_shows_the_cap_and_counts_nothing(redis_connection: Emulator, context: dict[str, Any]) -> None:
    for _ in range(2):
        assert text(max_per_contact="1 per day", dry_run=True).execute(context)["skipped"] is None
    text(max_per_contact="1 per day").execute(in_dag(context, "one"))
    assert "max_per_contact" in text(max_per_contact="1 per day", dry_run=True).execute(context)["skipped"]


def test_without_redis_the_cap_is_refused(wts_connection: Emulator, context: dict[str, Any]) -> None:
    for dry_run in (True, False):
        with pytest.raises(AirflowFailException, match="max_per_contact: needs a Redis server"):
            text(max_per_contact="1 per day", dry_run=dry_run).execute(context)
    assert wts_connection.requests_of("send_text") == []
