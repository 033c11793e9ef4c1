"""Waiting for a session, in all modes."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)

from airflow_provider_wts.api.errors import WtsError
from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator
from airflow_provider_wts.sensors.session import WtsSessionSensor
from airflow_provider_wts.waiting.deferral import EARLIEST_FIRING

if TYPE_CHECKING:
    from airflow_provider_wts.emulator import Emulator


@pytest.fixture
def session_id(wts_connection: Emulator, context: dict[str, Any]) -> str:
    """A session in which a bot has just started."""
    operator = WtsSendChatbotOperator(task_id="send", chatbot="Cobrança", to="+55 11 99999-8888")
    return str(operator.execute(context)["id"])


def sensor(session_id: str, **parameters: Any) -> WtsSessionSensor:
    return WtsSessionSensor(task_id="wait", session_id=session_id, **{"poke_interval": 0.01, **parameters})


def test_it_returns_the_session_when_it_is_completed(
    wts_connection: Emulator, context: dict[str, Any], session_id: str
) -> None:
    wts_connection.advance(24 * 3600)
    session = sensor(session_id).execute(context)
    assert session["id"] == session_id
    assert session["status"] == "COMPLETED"


def test_poking_waits_until_the_session_is_completed(
    wts_connection: Emulator, context: dict[str, Any], session_id: str
) -> None:
    wts_connection.clock.speed = 2000
    assert sensor(session_id, timeout=60).execute(context)["status"] == "COMPLETED"


@pytest.mark.parametrize("target", ["STARTED, COMPLETED", ["COMPLETED", "STARTED"], '["STARTED"]', "started"])
def test_several_targets_are_a_list_json_or_text(context: dict[str, Any], session_id: str, target: Any) -> None:
    assert sensor(session_id, target_status=target).execute(context)["status"] == "STARTED"


def test_a_failed_status_fails_at_once(context: dict[str, Any], session_id: str) -> None:
    with pytest.raises(AirflowFailException, match=f"Session {session_id} is STARTED"):
        sensor(session_id, failed_status="STARTED").execute(context)


def test_a_session_that_does_not_exist_fails_at_once(wts_connection: Emulator, context: dict[str, Any]) -> None:
    with pytest.raises(AirflowFailException, match="get_session"):
        sensor("00000000-0000-4000-8000-000000000000").execute(context)
    assert len(wts_connection.requests_of("get_session")) == 1


@pytest.mark.parametrize("deferrable", [False, True])
def test_soft_fail_skips_in_all_modes(context: dict[str, Any], session_id: str, deferrable: bool) -> None:
    with pytest.raises(AirflowSkipException):
        sensor(session_id, failed_status="STARTED", soft_fail=True, deferrable=deferrable).execute(context)


def test_a_timeout_ends_the_wait(context: dict[str, Any], session_id: str) -> None:
    with pytest.raises(AirflowSensorTimeout):
        sensor(session_id, timeout=0).execute(context)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"session_id": ""}, "session_id: is empty"),
        ({"session_id": "None"}, "session_id: is empty"),
        ({"target_status": "DONE"}, "target_status: 'DONE' is no session status"),
        ({"target_status": []}, "target_status: is empty"),
        ({"target_status": "STARTED", "failed_status": "STARTED"}, "stand in target_status, too"),
        ({"failed_status": "[oops"}, "failed_status: is no JSON list"),
    ],
    ids=str,
)
def test_impossible_input_is_refused_without_a_call(
    wts_connection: Emulator, context: dict[str, Any], parameters: dict[str, Any], words: str
) -> None:
    with pytest.raises(AirflowFailException, match=words):
        WtsSessionSensor(task_id="wait", **{"session_id": "x", **parameters}).execute(context)
    assert wts_connection.requests == []


def test_a_deferrable_sensor_looks_before_it_defers(
    wts_connection: Emulator, context: dict[str, Any], session_id: str
) -> None:
    wts_connection.advance(24 * 3600)
    assert sensor(session_id, deferrable=True).execute(context)["status"] == "COMPLETED"


def test_a_deferred_sensor_does_not_fire_in_the_first_seconds(context: dict[str, Any], session_id: str) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        sensor(session_id, deferrable=True, timeout=600).execute(context)
    arguments = deferred.value.trigger.serialize()[1]
    assert json.loads(json.dumps(arguments)) == arguments
    earliest, deadline = (datetime.fromisoformat(arguments[name]) for name in ("earliest", "deadline"))
    assert deadline - earliest == timedelta(seconds=600 - EARLIEST_FIRING)
    assert deferred.value.timeout is not None


def event(session_id: str) -> dict[str, Any]:
    return {"outcome": "reached", "session_id": session_id, "status": "COMPLETED", "message": "m"}


def test_the_resumed_sensor_returns_the_session(context: dict[str, Any], session_id: str) -> None:
    assert sensor(session_id).execute_complete(context, event(session_id))["id"] == session_id


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ({"outcome": "failed"}, AirflowFailException),
        ({"outcome": "timeout"}, AirflowSensorTimeout),
        ({"outcome": "error", "final": True}, AirflowFailException),
        ({"outcome": "error", "final": False}, WtsError),
        ({"outcome": "finished"}, WtsError),
        ({"session_id": None}, WtsError),
    ],
    ids=str,
)
def test_no_other_event_is_a_success(
    context: dict[str, Any], session_id: str, parts: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        sensor(session_id).execute_complete(context, {**event(session_id), **parts})


def test_a_lost_event_is_no_success(context: dict[str, Any], session_id: str) -> None:
    with pytest.raises(WtsError, match="does not understand"):
        sensor(session_id).execute_complete(context, None)


def test_a_blip_does_not_end_the_wait(
    wts_connection: Emulator, context: dict[str, Any], session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_wts.api.client.UNKNOWN_BUDGET", 0)
    wts_connection.faults.add("status", status=503, operation_id="get_session", times=3)
    wts_connection.advance(24 * 3600)
    assert sensor(session_id, timeout=60).execute(context)["status"] == "COMPLETED"
