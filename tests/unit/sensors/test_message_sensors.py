"""Waiting for a contact's answer and for the status of a message, in all modes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    TaskDeferred,
)

from airflow_provider_wts.api import messages, sends
from airflow_provider_wts.api.chatbots import send_chatbot
from airflow_provider_wts.api.client import WtsClient
from airflow_provider_wts.api.errors import WtsError
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.sensors.message import WtsMessageStatusSensor, WtsSessionReplySensor
from airflow_provider_wts.waiting.deferral import EARLIEST_FIRING

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.running import Emulator

PHONE = "+55|11999998888"


@pytest.fixture
def silent(wts_connection: Emulator) -> Emulator:
    """An emulator whose contacts answer only when a test says so."""
    wts_connection.behave("*", replies=[])
    return wts_connection


@pytest.fixture
def session_id(silent: Emulator) -> str:
    """A session in which the company has just written."""
    hook = WtsHook()
    session: Any = hook.run(send_chatbot(bot_key=hook.names.chatbot("Falar com atendente"), to=PHONE))
    return str(session["id"])


@pytest.fixture
def send_id(silent: Emulator) -> str:
    """A text that has just been sent."""
    return str(WtsHook().run(sends.send_text("Olá", to=PHONE))["id"])


def reply_sensor(session_id: str, **parameters: Any) -> WtsSessionReplySensor:
    return WtsSessionReplySensor(task_id="wait", session_id=session_id, **{"poke_interval": 0.01, **parameters})


def status_sensor(message_id: Any, **parameters: Any) -> WtsMessageStatusSensor:
    return WtsMessageStatusSensor(task_id="wait", message_id=message_id, **{"poke_interval": 0.01, **parameters})


def test_the_answer_is_returned(silent: Emulator, context: dict[str, Any], session_id: str) -> None:
    silent.advance(5)
    silent.contact_writes(PHONE, "10")
    (message,) = reply_sensor(session_id).execute(context)
    assert (message["text"], message["direction"], message["sessionId"]) == ("10", "FROM_HUB", session_id)


def test_several_messages_come_oldest_first(silent: Emulator, context: dict[str, Any], session_id: str) -> None:
    since = silent.state.now_text()
    for text in ("Dez", "Não, nove", "Obrigado"):
        silent.advance(3)
        silent.contact_writes(PHONE, text)
    found = reply_sensor(session_id, since=since).execute(context)
    assert [message["text"] for message in found] == ["Dez", "Não, nove", "Obrigado"]


def test_what_the_contact_wrote_before_is_no_answer(silent: Emulator, context: dict[str, Any], session_id: str) -> None:
    silent.advance(5)
    silent.contact_writes(PHONE, "10")
    silent.advance(5)
    WtsHook().run(sends.send_text("Mais alguma coisa?", session_id=session_id))
    silent.advance(2)
    with pytest.raises(AirflowSensorTimeout):
        reply_sensor(session_id, timeout=0.05).execute(context)


def test_a_given_moment_counts_instead(silent: Emulator, context: dict[str, Any], session_id: str) -> None:
    """An answer that a chatbot has answered already is still the answer."""
    since = silent.state.now_text()
    silent.advance(5)
    silent.contact_writes(PHONE, "10")
    silent.advance(5)
    WtsHook().run(sends.send_text("Obrigado!", session_id=session_id))
    assert [one["text"] for one in reply_sensor(session_id, since=since).execute(context)] == ["10"]


def test_what_the_company_writes_meanwhile_does_not_hide_the_answer(
    silent: Emulator, context: dict[str, Any], session_id: str
) -> None:
    sensor = reply_sensor(session_id)
    assert not sensor.poke(context).is_done
    silent.contact_writes(PHONE, "10")
    WtsHook().run(sends.send_text("Obrigado!", session_id=session_id))
    assert sensor.poke(context).is_done


@pytest.mark.parametrize("date", ["ontem", "2099-01-01T00:00:00Z"])
def test_a_message_of_the_company_without_a_possible_date_hides_no_answer(
    silent: Emulator, context: dict[str, Any], session_id: str, date: str
) -> None:
    with silent.state.lock:
        silent.state.sessions.need(session_id)["lastMessageOut"] = date
    sensor = reply_sensor(session_id)
    assert not sensor.poke(context).is_done
    silent.advance(5)
    silent.contact_writes(PHONE, "10")
    assert sensor.poke(context).is_done


def test_a_rescheduled_sensor_remembers_when_it_began(
    silent: Emulator, context: dict[str, Any], session_id: str
) -> None:
    began = datetime.now(UTC)
    context["ti"].start_date = began
    context["ti"].get_first_reschedule_date = lambda _: began
    assert not reply_sensor(session_id, mode="reschedule").poke(context).is_done
    silent.contact_writes(PHONE, "10")
    WtsHook().run(sends.send_text("Obrigado!", session_id=session_id))
    assert reply_sensor(session_id, mode="reschedule").poke(context).is_done


def test_a_list_with_another_reading_of_dates_is_read_without_bounds(
    silent: Emulator, context: dict[str, Any], session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent.advance(5)
    silent.contact_writes(PHONE, "10")
    items = WtsClient.items
    monkeypatch.setattr(
        WtsClient, "items", lambda self, call: [] if "CreatedAt.After" in call.query else items(self, call)
    )
    assert [one["text"] for one in reply_sensor(session_id).execute(context)] == ["10"]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"session_id": ""}, "session_id: is empty"),
        ({"since": "yesterday"}, "since: 'yesterday' is not a valid ISO"),
        ({"since": "2026-11-22T10:00:00"}, "has no time zone"),
    ],
    ids=str,
)
def test_impossible_input_is_refused_without_a_call(
    wts_connection: Emulator, context: dict[str, Any], parameters: dict[str, Any], words: str
) -> None:
    with pytest.raises(AirflowFailException, match=words):
        WtsSessionReplySensor(task_id="wait", **{"session_id": "x", **parameters}).execute(context)
    assert wts_connection.requests == []


def test_a_deferred_reply_sensor_hands_over_plain_json(context: dict[str, Any], session_id: str) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        reply_sensor(session_id, deferrable=True, timeout=600).execute(context)
    arguments = deferred.value.trigger.serialize()[1]
    assert json.loads(json.dumps(arguments)) == arguments
    earliest, deadline = (datetime.fromisoformat(arguments[name]) for name in ("earliest", "deadline"))
    assert deadline - earliest == timedelta(seconds=600 - EARLIEST_FIRING)


def test_a_deferrable_reply_sensor_whose_first_check_fails_misses_no_earlier_reply(
    silent: Emulator, context: dict[str, Any], session_id: str
) -> None:
    silent.advance(5)
    silent.contact_writes(PHONE, "10")
    silent.faults.add("status", status=403, operation_id="get_session", times=2)
    with pytest.raises(TaskDeferred) as deferred:
        reply_sensor(session_id, deferrable=True, timeout=600).execute(context)
    with silent.state.lock:
        written = silent.state.sessions.need(session_id)["lastMessageOut"]
    assert datetime.fromisoformat(deferred.value.trigger.since) == datetime.fromisoformat(written)


def test_with_since_a_deferrable_reply_sensor_defers_even_if_the_first_check_fails(
    silent: Emulator, context: dict[str, Any], session_id: str
) -> None:
    silent.faults.add("status", status=403, operation_id="get_session")
    since = silent.state.now_text()
    with pytest.raises(TaskDeferred) as deferred:
        reply_sensor(session_id, since=since, deferrable=True, timeout=600).execute(context)
    assert datetime.fromisoformat(deferred.value.trigger.since) == datetime.fromisoformat(since)


def test_a_resumed_reply_sensor_reads_the_texts(silent: Emulator, context: dict[str, Any], session_id: str) -> None:
    since = silent.state.now_text()
    silent.advance(1)
    silent.contact_writes(PHONE, "10")
    event = {"outcome": "reached", "session_id": session_id, "since": since, "message": "m", "final": False}
    assert [one["text"] for one in reply_sensor(session_id).execute_complete(context, event)] == ["10"]


def test_a_resumed_reply_sensor_looks_again_if_the_list_of_messages_lags(
    silent: Emulator, context: dict[str, Any], session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = silent.state.now_text()
    silent.advance(1)
    silent.contact_writes(PHONE, "10")
    items, lists = WtsClient.items, []

    def late(self: WtsClient, call: Any) -> Any:
        lists.append(call)
        # A look asks twice, with bounds and without.
        return items(self, call) if len(lists) > 4 else []

    monkeypatch.setattr(WtsClient, "items", late)
    event = {"outcome": "reached", "session_id": session_id, "since": since, "message": "m", "final": False}
    assert [one["text"] for one in reply_sensor(session_id).execute_complete(context, event)] == ["10"]


def test_a_resumed_reply_sensor_whose_list_stays_empty_ends(
    silent: Emulator, context: dict[str, Any], session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_wts.sensors.message.LIST_LAG", 0.0)
    event = {"outcome": "reached", "session_id": session_id, "since": silent.state.now_text(), "message": "m"}
    assert reply_sensor(session_id).execute_complete(context, event) == []


def test_a_resumed_reply_sensor_tolerates_a_failed_check(
    silent: Emulator, context: dict[str, Any], session_id: str
) -> None:
    since = silent.state.now_text()
    silent.advance(1)
    silent.contact_writes(PHONE, "10")
    silent.faults.add("status", status=403, operation_id="list_messages", times=4)
    event = {"outcome": "reached", "session_id": session_id, "since": since, "message": "m", "final": False}
    assert [one["text"] for one in reply_sensor(session_id).execute_complete(context, event)] == ["10"]


def test_a_message_that_is_delivered_ends_the_wait(silent: Emulator, context: dict[str, Any], send_id: str) -> None:
    silent.advance(3)
    answer = status_sensor(send_id).execute(context)
    assert (answer["id"], answer["status"]) == (send_id, "DELIVERED")


def test_a_message_that_is_read_was_delivered(silent: Emulator, context: dict[str, Any], send_id: str) -> None:
    silent.advance(60)
    assert status_sensor(send_id).execute(context)["status"] == "READ"
    assert status_sensor(send_id, target_status="read").execute(context)["status"] == "READ"


def test_sent_is_not_delivered(silent: Emulator, context: dict[str, Any]) -> None:
    silent.behave(PHONE, replies=[], stays="SENT")
    send_id = str(WtsHook().run(sends.send_text("Olá", to=PHONE))["id"])
    silent.advance(60)
    assert status_sensor(send_id, target_status="SENT").execute(context)["status"] == "SENT"
    with pytest.raises(AirflowSensorTimeout):
        status_sensor(send_id, timeout=0).execute(context)


def test_a_message_of_the_quick_sends_is_found(silent: Emulator, context: dict[str, Any]) -> None:
    message_id = str(WtsHook().run(messages.send_message(PHONE, text="Olá"))["id"])
    silent.advance(3)
    assert status_sensor(message_id).execute(context)["status"] == "DELIVERED"
    assert status_sensor(message_id, id_of="message").execute(context)["status"] == "DELIVERED"
    assert len(silent.requests_of("get_sent_message_status")) == 1


@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_failed_message_fails_with_its_reason(silent: Emulator, context: dict[str, Any], soft_fail: bool) -> None:
    silent.behave(PHONE, replies=[], fails="Número inválido")
    send_id = str(WtsHook().run(sends.send_text("Olá", to=PHONE))["id"])
    silent.advance(3)
    with pytest.raises(AirflowFailException, match="FAILED: Número inv"):
        status_sensor(send_id, soft_fail=soft_fail).execute(context)


def test_a_failed_quick_send_tells_its_reason_too(silent: Emulator, context: dict[str, Any]) -> None:
    silent.behave(PHONE, replies=[], fails="Número inválido")
    message_id = str(WtsHook().run(messages.send_message(PHONE, text="Olá"))["id"])
    silent.advance(3)
    with pytest.raises(AirflowFailException, match="Número inválido"):
        status_sensor(message_id).execute(context)


def test_the_answer_of_a_send_can_be_given_itself(silent: Emulator, context: dict[str, Any]) -> None:
    send = WtsHook().run(sends.send_text("Olá", to=PHONE))
    silent.advance(3)
    assert status_sensor(dict(send)).execute(context)["status"] == "DELIVERED"
    assert status_sensor(json.dumps(send)).execute(context)["status"] == "DELIVERED"


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"message_id": "None"}, "message_id: is empty"),
        ({"message_id": {}}, "message_id: is empty"),
        ({"target_status": "QUEUED"}, "target_status: 'QUEUED' is not a valid value"),
        ({"id_of": "session"}, "id_of: 'session' is not a valid value"),
    ],
    ids=str,
)
def test_impossible_input_of_a_status_is_refused_without_a_call(
    wts_connection: Emulator, context: dict[str, Any], parameters: dict[str, Any], words: str
) -> None:
    with pytest.raises(AirflowFailException, match=words):
        WtsMessageStatusSensor(task_id="wait", **{"message_id": "x", **parameters}).execute(context)
    assert wts_connection.requests == []


def test_a_message_that_does_not_exist_fails_at_once(wts_connection: Emulator, context: dict[str, Any]) -> None:
    with pytest.raises(AirflowFailException):
        status_sensor("00000000-0000-4000-8000-000000000000").execute(context)
    assert len(wts_connection.requests) == 2


def test_a_deferred_status_sensor_says_what_it_found_out(context: dict[str, Any], send_id: str) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        status_sensor(send_id, deferrable=True, timeout=600).execute(context)
    arguments = deferred.value.trigger.serialize()[1]
    assert json.loads(json.dumps(arguments)) == arguments
    assert arguments["id_of"] == "send"


def event(send_id: str, **parts: Any) -> dict[str, Any]:
    return {"outcome": "reached", "message_id": send_id, "status": "DELIVERED", "message": "m", **parts}


def test_a_resumed_status_sensor_returns_the_status(silent: Emulator, context: dict[str, Any], send_id: str) -> None:
    silent.advance(3)
    assert status_sensor(send_id).execute_complete(context, event(send_id))["status"] == "DELIVERED"


def test_a_resumed_status_sensor_tolerates_a_failed_check(
    silent: Emulator, context: dict[str, Any], send_id: str
) -> None:
    silent.advance(3)
    silent.faults.add("status", status=403, operation_id="get_sent_message_status", times=4)
    assert status_sensor(send_id).execute_complete(context, event(send_id))["status"] == "DELIVERED"


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ({"outcome": "failed"}, AirflowFailException),
        ({"outcome": "timeout"}, AirflowSensorTimeout),
        ({"outcome": "error", "final": True}, AirflowFailException),
        ({"outcome": "error", "final": False}, WtsError),
        ({"outcome": "finished"}, WtsError),
        ({"message_id": None}, WtsError),
    ],
    ids=str,
)
def test_no_other_event_is_a_success(
    context: dict[str, Any], send_id: str, parts: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        status_sensor(send_id).execute_complete(context, event(send_id, **parts))
