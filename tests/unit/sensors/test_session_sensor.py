"""Waiting for a session, in all modes."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock
from uuid import UUID

import pytest
from airflow.exceptions import AirflowRescheduleException
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from session_waits import AIRFLOW_3, end, sensor

from airflow_provider_wts.api.errors import (
    WtsAuthenticationError,
    WtsError,
    WtsNotSentError,
    WtsRateLimitError,
    WtsUnreachableError,
)
from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator
from airflow_provider_wts.sensors.message import WtsSessionReplySensor
from airflow_provider_wts.sensors.session import WtsSessionSensor, WtsSessionsSensor
from airflow_provider_wts.waiting.deferral import EARLIEST_FIRING

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.running import Emulator


def test_it_returns_the_session_when_it_is_completed(
    wts_connection: Emulator, context: dict[str, Any], session_id: str
) -> None:
    wts_connection.advance(24 * 3600)
    session = sensor(session_id).execute(context)
    assert session["id"] == session_id
    assert session["status"] == "COMPLETED"


@pytest.mark.skipif(AIRFLOW_3, reason="Airflow 3 knows the call of a base class")
def test_airflow_2_takes_no_check_for_a_call_outside_of_a_task(
    context: dict[str, Any], session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.models import baseoperator

    monkeypatch.setattr(baseoperator.ExecutorSafeguard, "test_mode", False)
    strict: Any = sensor(session_id, target_status="STARTED", allow_nested_operators=False)
    started = strict.execute(context, WtsSessionSensor__sentinel=baseoperator._sentinel)  # type: ignore[attr-defined]
    assert started["status"] == "STARTED"


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


@pytest.mark.skipif(not AIRFLOW_3, reason="Airflow 2.11 reads the first date from its database")
@pytest.mark.parametrize("parameters", [{}, {"exponential_backoff": True}], ids=["steady", "backing off"])
def test_a_rescheduled_task_does_not_come_back_before_the_scheduler_has_booked_its_end(
    context: dict[str, Any], session_id: str, parameters: dict[str, Any]
) -> None:
    waiting = sensor(session_id, mode="reschedule", poke_interval=2, **parameters)
    context["ti"].get_first_reschedule_date = lambda _: None
    before = datetime.now(UTC)
    with pytest.raises(AirflowRescheduleException) as rescheduled:
        waiting.execute(context)
    assert rescheduled.value.reschedule_date >= before + timedelta(seconds=EARLIEST_FIRING)


def test_the_end_of_another_session_ends_no_wait(
    wts_connection: Emulator, context: dict[str, Any], session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_wts.api.client.UNKNOWN_BUDGET", 0.0)
    other = WtsSendChatbotOperator(task_id="other", chatbot="Cobrança", to="+55 11 99999-7777").execute(context)
    wts_connection.advance(24 * 3600)
    sessions = wts_connection.state.sessions._created
    monkeypatch.setitem(sessions, session_id, sessions[str(other["id"])])
    with pytest.raises(WtsError, match="'id' is not the requested one"):
        sensor(session_id).execute(context)


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_failed_status_fails_the_task_with_soft_fail_too(
    context: dict[str, Any], session_id: str, deferrable: bool
) -> None:
    with pytest.raises(AirflowFailException, match=f"Session {session_id} is STARTED"):
        sensor(session_id, failed_status="STARTED", soft_fail=True, deferrable=deferrable).execute(context)


@pytest.mark.parametrize("rendered", ["", "None", "nan"])
def test_a_failed_status_that_renders_to_nothing_is_not_given(
    context: dict[str, Any], session_id: str, rendered: str
) -> None:
    waiting = sensor(session_id, target_status="STARTED", failed_status=rendered)
    assert waiting.execute(context)["status"] == "STARTED"


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize(
    ("parameters", "words"), [({"session_id": "12"}, "must be a UUID"), ({"target_status": "DONE"}, "'DONE'")], ids=str
)
def test_invalid_input_fails_the_task_with_soft_fail_too(
    context: dict[str, Any], session_id: str, deferrable: bool, parameters: dict[str, Any], words: str
) -> None:
    given = {"session_id": session_id, "soft_fail": True, "deferrable": deferrable, **parameters}
    with pytest.raises(AirflowFailException, match=words):
        sensor(given.pop("session_id"), **given).execute(context)


def test_a_refused_token_fails_the_task_with_soft_fail_too(
    wts_connection: Emulator, context: dict[str, Any], session_id: str
) -> None:
    wts_connection.faults.add("status", status=401, times=None)
    with pytest.raises(AirflowFailException, match="refused the token"):
        sensor(session_id, soft_fail=True).execute(context)


def test_a_token_that_was_replaced_meanwhile_is_used(
    wts_connection: Emulator, context: dict[str, Any], session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = sensor(session_id)
    assert not waiting.poke(context).is_done
    rotate_token(wts_connection, monkeypatch)
    wts_connection.advance(24 * 3600)
    assert waiting.poke(context).is_done


def rotate_token(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the service take another token, which Airflow's connection holds from now on."""
    monkeypatch.setattr(emulator.service, "token", "pn_rotated")
    connection = {"conn_type": "wts", "host": emulator.url, "password": "pn_rotated"}
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))


@pytest.mark.parametrize("event", [None, "event", "airflow"])
@pytest.mark.parametrize("soft_fail", [False, True])
def test_not_reached_in_time_names_the_session_and_its_status_in_all_modes(
    context: dict[str, Any],
    session_id: str,
    event: str | None,
    soft_fail: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether it waits on the worker, or the trigger's time is over, or Airflow's own for the deferral."""
    log = MagicMock()
    monkeypatch.setattr(WtsSessionSensor, "log", log)
    waiting = sensor(session_id, timeout=0, soft_fail=soft_fail)
    words = f"Session {session_id} is STARTED, not yet COMPLETED. The sensor's timeout is 0 s."
    with pytest.raises(AirflowSkipException if soft_fail else AirflowSensorTimeout) as ended:
        end(waiting, event, context, session_id)
    assert str(ended.value) == words
    # Airflow's own line about a skipped task does not say why.
    warnings = [call.args[0] for call in log.warning.mock_calls if "cannot be called outside" not in call.args[0]]
    assert warnings == ([words] if soft_fail else [])


@pytest.mark.parametrize("event", ["event", "airflow"])
def test_a_deferred_wait_ends_with_one_last_check(
    wts_connection: Emulator, context: dict[str, Any], session_id: str, event: str
) -> None:
    wts_connection.advance(24 * 3600)
    assert end(sensor(session_id), event, context, session_id)["status"] == "COMPLETED"


@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_trigger_that_broke_is_an_error_and_not_a_skip(
    context: dict[str, Any], session_id: str, soft_fail: bool
) -> None:
    with pytest.raises(AirflowException) as ended:
        sensor(session_id, soft_fail=soft_fail).resume_execution("__fail__", {"error": "Trigger failure"}, context)
    assert not isinstance(ended.value, AirflowSkipException)


def test_a_timeout_ends_the_wait(context: dict[str, Any], session_id: str) -> None:
    with pytest.raises(AirflowSensorTimeout):
        sensor(session_id, timeout=0).execute(context)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"session_id": ""}, "session_id: is empty"),
        ({"session_id": "None"}, "session_id: is empty"),
        ({"target_status": "DONE"}, "target_status: 'DONE' is not a valid value"),
        ({"target_status": []}, "target_status: is empty"),
        ({"target_status": "STARTED", "failed_status": "STARTED"}, "must not be in target_status, too"),
        ({"failed_status": "[oops"}, "failed_status: is not valid JSON"),
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


def test_a_failed_check_after_the_event_does_not_end_the_wait(
    wts_connection: Emulator, context: dict[str, Any], session_id: str
) -> None:
    wts_connection.faults.add("status", status=403, operation_id="get_session", times=4)
    assert sensor(session_id).execute_complete(context, event(session_id))["id"] == session_id


def test_failed_checks_after_the_event_end_the_wait_if_they_last(
    wts_connection: Emulator, context: dict[str, Any], session_id: str
) -> None:
    wts_connection.faults.add("status", status=403, operation_id="get_session", times=None)
    with pytest.raises(WtsAuthenticationError):
        sensor(session_id).execute_complete(context, event(session_id))
    assert len(wts_connection.requests_of("get_session")) == 5


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


DAMAGED: dict[str, tuple[Any, ...]] = {
    "outcome": (None, "", 1, [], "finished"),
    "message": (None, 1, ["m"]),
    "deadline": ("", "soon", 5, "2026-11-22", {}),
    "session_id": (None, "", 5, ["x"]),
    "counts": (None, {}, 1.5, True, "x", [1]),
    "since": (None, "", "x", 0, "2026-11-22", []),
    "retry_after": ("x", [1], {}),
}
RESUMED: dict[str, Any] = {
    "session": sensor,
    "sessions": lambda session_id: WtsSessionsSensor(task_id="wait", session_ids=[session_id]),
    "reply": lambda session_id: WtsSessionReplySensor(task_id="wait", session_id=session_id),
}


@pytest.mark.parametrize("outcome", ["reached", "failed", "timeout", "error"])
@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("resumed", RESUMED.values(), ids=RESUMED.keys())
def test_a_damaged_event_is_never_a_python_exception(
    context: dict[str, Any], session_id: str, resumed: Any, name: str, outcome: str
) -> None:
    times = {"deadline": "2026-11-22T10:00:00+00:00", "since": "2026-11-22T09:00:00+00:00"}
    whole = {**event(session_id), **times, "counts": {"COMPLETED": 1}, "listed": True, "outcome": outcome}
    for value in DAMAGED[name]:
        with contextlib.suppress(WtsError, AirflowException, TaskDeferred):
            resumed(session_id).execute_complete(context, {**whole, name: value})


def test_a_blip_does_not_end_the_wait(
    wts_connection: Emulator, context: dict[str, Any], session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_wts.api.client.UNKNOWN_BUDGET", 0)
    wts_connection.faults.add("status", status=503, operation_id="get_session", times=3)
    wts_connection.advance(24 * 3600)
    assert sensor(session_id, timeout=60).execute(context)["status"] == "COMPLETED"


@pytest.mark.skipif(not AIRFLOW_3, reason="Airflow 2.11 reads the first date from its database")
def test_a_rescheduled_sensor_does_not_wait_until_its_timeout_for_an_address_that_leads_nowhere(
    context: dict[str, Any], session_id: str, wts_connection: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_wts.api.client.UNREACHABLE_BUDGET", 0.0)
    connection = {"conn_type": "wts", "host": wts_connection.url.replace("http:", "https:"), "password": "pn_x"}
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))
    context["ti"].get_first_reschedule_date = lambda _: None
    with pytest.raises(WtsUnreachableError, match="does not speak TLS"):
        sensor(session_id, mode="reschedule").execute(context)


def test_a_timeout_names_the_error_if_no_check_succeeded(
    wts_connection: Emulator, context: dict[str, Any], session_id: str
) -> None:
    wts_connection.faults.add("status", status=503, operation_id="get_session", times=None)
    with pytest.raises(AirflowSensorTimeout, match=r"get_session: got no usable answer: HTTP 503.*timeout is 0 s"):
        sensor(session_id, timeout=0).execute(context)


def test_the_trigger_of_50_000_sessions_fits_into_a_row_of_any_database(
    wts_connection: Emulator, context: dict[str, Any]
) -> None:
    """MySQL keeps a trigger's arguments in 64 KB, encrypted. XComs have no such limit."""
    ids = [str(UUID(int=number, version=4)) for number in range(50_000)]
    waiting = WtsSessionsSensor(task_id="wait", session_ids=ids, deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        waiting.leave_worker(context)
    _, arguments = deferred.value.trigger.serialize()
    assert len(json.dumps(arguments)) < 2_000
    assert context["ti"].xcoms["wts_session_ids"] == ids
    assert arguments["session_ids_xcom"] == {
        **{name: getattr(context["ti"], name) for name in ("dag_id", "run_id", "task_id", "map_index")},
        "key": "wts_session_ids",
    }


def test_few_sessions_are_arguments_of_the_trigger(wts_connection: Emulator, context: dict[str, Any]) -> None:
    waiting = WtsSessionsSensor(task_id="wait", session_ids=[str(UUID(int=7))] * 3, deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        waiting.leave_worker(context)
    assert deferred.value.trigger.serialize()[1]["session_ids"] == [str(UUID(int=7))]


def listed_event(session_id: str, *, seconds: float) -> dict[str, Any]:
    """What a trigger sends that saw the end of the wait in the list of sessions only."""
    deadline = datetime.now(UTC) + timedelta(seconds=seconds)
    return {
        **{"outcome": "reached", "session_id": session_id, "status": "COMPLETED", "listed": True},
        **{"deadline": deadline.isoformat(), "message": "completed", "final": False},
    }


def chatbot_task() -> WtsSendChatbotOperator:
    return WtsSendChatbotOperator(
        task_id="send", chatbot="Cobrança", to="+55 11 99999-8888", wait_for_completion=True, deferrable=True
    )


@pytest.mark.parametrize("waiting", ["sensor", "operator"])
def test_a_session_that_only_the_list_shows_as_completed_is_waited_for_until_the_same_deadline(
    wts_connection: Emulator, context: dict[str, Any], session_id: str, waiting: str
) -> None:
    task = sensor(session_id, deferrable=True) if waiting == "sensor" else chatbot_task()
    told = listed_event(session_id, seconds=600)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute_complete(context, told)
    again = datetime.fromisoformat(deferred.value.trigger.serialize()[1]["deadline"])
    assert abs(again - datetime.fromisoformat(told["deadline"])) < timedelta(seconds=10)


@pytest.mark.parametrize("waiting", ["sensor", "operator"])
def test_a_session_that_only_the_list_shows_as_completed_is_no_success_at_the_deadline(
    wts_connection: Emulator, context: dict[str, Any], session_id: str, waiting: str
) -> None:
    task = sensor(session_id, deferrable=True) if waiting == "sensor" else chatbot_task()
    with pytest.raises((AirflowSensorTimeout, AirflowFailException), match=session_id):
        task.execute_complete(context, listed_event(session_id, seconds=-1))


def test_a_session_that_was_completed_itself_and_opened_again_is_a_success(
    wts_connection: Emulator, context: dict[str, Any], session_id: str
) -> None:
    told = {**listed_event(session_id, seconds=600), "listed": False}
    assert sensor(session_id).execute_complete(context, told)["status"] == "STARTED"


def test_a_chatbot_task_that_waited_in_the_triggerer_uses_a_token_that_was_replaced_meanwhile(
    wts_connection: Emulator, context: dict[str, Any], session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = chatbot_task()
    assert task.hook.client
    rotate_token(wts_connection, monkeypatch)
    wts_connection.advance(24 * 3600)
    assert task.execute_complete(context, listed_event(session_id, seconds=600))["status"] == "COMPLETED"


def test_a_chatbot_task_whose_connection_is_gone_after_the_wait_does_not_say_that_nothing_was_sent(
    wts_connection: Emulator, context: dict[str, Any], session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_WTS_DEFAULT")
    with pytest.raises(WtsNotSentError, match="no Airflow connection") as caught:
        chatbot_task().execute_complete(context, listed_event(session_id, seconds=600))
    assert "Nothing was sent" not in str(caught.value)


def limited(call: Any) -> Any:
    raise WtsError("the limit is used up")


@pytest.mark.skipif(
    not hasattr(WtsSessionSensor(task_id="x", session_id="x"), "retry_policy"),
    reason="this Airflow has no retry policies",
)
@pytest.mark.parametrize("kind", ["sensor", "operator"])
def test_a_wait_that_the_rate_limit_ended_is_tried_again_when_the_limit_is_free(
    wts_connection: Emulator, context: dict[str, Any], kind: str
) -> None:
    told = {
        **{"outcome": "error", "session_id": str(UUID(int=7)), "status": None, "final": False},
        **{"message": "list_sessions: the account's rate limit is used up.", "retry_after": 77.0},
    }
    waiting: Any = sensor(str(UUID(int=7))) if kind == "sensor" else chatbot_task()
    waiting.hook.run = limited
    with pytest.raises(WtsRateLimitError) as raised:
        waiting.execute_complete(context, told)
    assert waiting.retry_policy.evaluate(raised.value, 1, 3).retry_delay == timedelta(seconds=77)
