"""Sensors end at their timeout, also while the account's rate limit is used up."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from airflow.exceptions import AirflowRescheduleException
from airflow.providers.common.compat.sdk import AirflowSensorTimeout, TaskDeferred
from session_waits import AIRFLOW_3, end, sensor

from airflow_provider_wts.api.budget import Limit
from airflow_provider_wts.api.directory import list_channels
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.sensors.session import WtsSessionsSensor
from airflow_provider_wts.waiting.deferral import EARLIEST_FIRING

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.running import Emulator


#: What a wait may last longer than its timeout, in the tests; what would be waited for lasts minutes.
SLACK = 5.0


def limited_by_service(emulator: Emulator) -> None:
    emulator.faults.add("status", status=429, retry_after="120", operation_id="get_session", times=None)


def limited_by_own_count(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_wts.api.budget.ACCOUNT_LIMITS", (Limit(1, 120, f"of {emulator.url}"),))
    WtsHook().run(list_channels())


@pytest.fixture(params=["service", "own count"])
def limited(
    request: pytest.FixtureRequest, wts_connection: Emulator, monkeypatch: pytest.MonkeyPatch, session_id: str
) -> None:
    """The account's rate limit is used up for minutes."""
    if request.param == "service":
        limited_by_service(wts_connection)
    else:
        limited_by_own_count(wts_connection, monkeypatch)


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("timeout", [0.0, 0.2])
def test_a_wait_for_the_rate_limit_ends_when_the_timeout_passes(
    context: dict[str, Any], session_id: str, deferrable: bool, timeout: float
) -> None:
    began = time.monotonic()
    with pytest.raises((AirflowSensorTimeout, TaskDeferred)):
        sensor(session_id, timeout=timeout, deferrable=deferrable).execute(context)
    assert time.monotonic() - began < timeout + SLACK


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("event", ["event", "airflow"])
def test_the_last_check_does_not_wait_for_the_rate_limit(context: dict[str, Any], session_id: str, event: str) -> None:
    began = time.monotonic()
    with pytest.raises(AirflowSensorTimeout):
        end(sensor(session_id, timeout=150), event, context, session_id)
    assert time.monotonic() - began < SLACK


@pytest.mark.skipif(not AIRFLOW_3, reason="Airflow 2 asks its database when a rescheduled task began")
@pytest.mark.usefixtures("limited")
def test_a_rescheduled_wait_for_the_rate_limit_ends_when_the_timeout_passes(
    context: dict[str, Any], session_id: str
) -> None:
    first = datetime.now(UTC) - timedelta(seconds=149)
    context["ti"].get_first_reschedule_date = lambda context: first
    began = time.monotonic()
    with pytest.raises(AirflowRescheduleException) as rescheduled:
        sensor(session_id, timeout=150, mode="reschedule").execute(context)
    assert time.monotonic() - began < SLACK
    assert rescheduled.value.reschedule_date - datetime.now(UTC) < timedelta(seconds=EARLIEST_FIRING + SLACK)


def test_the_last_check_of_a_poking_sensor_comes_when_the_timeout_passes(
    context: dict[str, Any], session_id: str
) -> None:
    began = time.monotonic()
    with pytest.raises(AirflowSensorTimeout):
        sensor(session_id, timeout=0.2, poke_interval=60).execute(context)
    assert time.monotonic() - began < SLACK


def test_the_time_of_the_first_check_counts_for_a_deferred_wait(
    wts_connection: Emulator, context: dict[str, Any], session_id: str
) -> None:
    wts_connection.faults.add("latency", seconds=1.0, operation_id="get_session")
    began = datetime.now(UTC)
    with pytest.raises(TaskDeferred) as deferred:
        sensor(session_id, timeout=150, deferrable=True).execute(context)
    deadline = datetime.fromisoformat(deferred.value.trigger.serialize()[1]["deadline"])
    assert deadline - began < timedelta(seconds=150.8)


def test_the_last_check_of_many_sessions_is_stopped_some_time_after_the_timeout(
    wts_connection: Emulator, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of hundreds of slow answers may take seconds."""
    monkeypatch.setattr("airflow_provider_wts.waiting.conditions.OVERTIME", -60.0, raising=False)
    ids = [str(UUID(int=number, version=4)) for number in range(9)]
    told = {"outcome": "timeout", "counts": {"NOT_REACHED": 9}, "message": "m", "final": False}
    with pytest.raises(AirflowSensorTimeout):
        WtsSessionsSensor(task_id="wait", session_ids=ids).execute_complete(context, told)
    assert wts_connection.requests == []
