"""Rules about the recipient of a single send."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator
from airflow_provider_wts.operators.message import WtsSendFileOperator, WtsSendTextOperator

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_wts.emulator.running import Emulator

ANA = "+55|11999990001"


pytestmark = pytest.mark.usefixtures("fast_queue", "ledger")


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
    with pytest.raises(AirflowSkipException, match=r"already got 2 per 7 days \(max_per_contact\)"):
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


# Suppression ----------------------------------------------------------------------------------------------------------


def test_a_person_on_a_list_gets_no_message(wts_connection: Emulator, context: dict[str, Any], tmp_path: Path) -> None:
    listed = tmp_path / "optouts.csv"
    listed.write_text("phone\n(11) 99999-0001\n")
    with pytest.raises(AirflowSkipException, match="is on the list of suppression_path"):
        text(suppression_path=str(listed)).execute(context)
    assert "suppression_path" in text(suppression_path=str(listed), dry_run=True).execute(context)["skipped"]
    assert wts_connection.requests_of("send_text") == []
    assert text(suppression_path=str(listed), to="+55 11 99999-0002").execute(in_dag(context, "other"))["id"]


def test_a_list_that_cannot_be_read_stops_the_send(
    wts_connection: Emulator, context: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(AirflowFailException, match="suppression_path: there is no file"):
        text(suppression_path=f"{tmp_path}/missing.csv").execute(context)
    assert wts_connection.requests_of("send_text") == []


# The 24-hour window ---------------------------------------------------------------------------------------------------


def window(**parameters: Any) -> WtsSendTextOperator:
    return text(**{"channel": "WhatsApp principal", "outside_24h": "skip", **parameters})


def test_a_text_outside_of_the_24_hours_is_skipped_or_fails(wts_connection: Emulator, context: dict[str, Any]) -> None:
    with pytest.raises(AirflowSkipException, match=r"wrote nothing in it in the last 24 hours \(outside_24h\)"):
        window().execute(context)
    with pytest.raises(AirflowFailException, match=r"\(outside_24h\)"):
        window(outside_24h="fail").execute(context)
    assert wts_connection.requests_of("send_text") == []
    wts_connection.contact_writes(ANA, "Oi")
    assert window().execute(context)["id"]


def test_a_text_into_a_session_is_held_to_the_window_of_that_session(
    wts_connection: Emulator, context: dict[str, Any]
) -> None:
    wts_connection.contact_writes(ANA, "Oi")
    contact = wts_connection.state.contact_by_address(ANA)
    assert contact is not None
    session_id = contact.sessions[-1].id
    assert window(to=None, channel=None, session_id=session_id).execute(context)["id"]
    wts_connection.advance(24 * 3600)
    with pytest.raises(AirflowSkipException, match="outside_24h"):
        window(to=None, channel=None, session_id=session_id).execute(in_dag(context, "late"))


def test_a_file_is_held_to_the_window(wts_connection: Emulator, context: dict[str, Any]) -> None:
    file = {"file": "https://example.com/a.png", "to": ANA, "channel": "WhatsApp principal", "outside_24h": "skip"}
    with pytest.raises(AirflowSkipException, match="outside_24h"):
        WtsSendFileOperator(task_id="send", **file).execute(context)
