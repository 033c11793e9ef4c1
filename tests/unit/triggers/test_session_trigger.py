"""Triggers that wait for sessions, and the poll that they share."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wts.api.budget import Limit
from airflow_provider_wts.api.chatbots import send_chatbot
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.triggers.session import WtsSessionsTrigger, WtsSessionTrigger
from airflow_provider_wts.waiting import poller as polling
from airflow_provider_wts.waiting import session_changes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_wts.emulator.running import Emulator

DEADLINE = 30.0


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls follow each other at once; the share of the budget is another test's."""
    monkeypatch.setattr(polling, "SECONDS_PER_CALL", 0.0)


@pytest.fixture
def sessions(wts_connection: Emulator) -> list[str]:
    """Sessions in which a bot has just started."""
    hook = WtsHook()
    key = hook.names.chatbot("Cobrança")
    phones = [f"+55|119{number:08}" for number in range(30)]
    return [str(hook.run(send_chatbot(bot_key=key, to=phone))["id"]) for phone in phones]


def trigger(session_id: str, *, seconds: float = DEADLINE, **parameters: Any) -> WtsSessionTrigger:
    now = datetime.now(UTC)
    return WtsSessionTrigger(
        **{
            "wts_conn_id": "wts_default",
            "session_id": session_id,
            "target_status": ["COMPLETED"],
            "failed_status": [],
            "poll_interval": 0.01,
            "earliest": now.isoformat(),
            "deadline": (now + timedelta(seconds=seconds)).isoformat(),
            **parameters,
        }
    )


async def event(waiting: Any) -> dict[str, Any]:
    async for told in waiting.run():
        payload: dict[str, Any] = told.payload
        return payload
    raise AssertionError("the trigger sent nothing")


def events(triggers: Iterable[Any]) -> list[dict[str, Any]]:
    async def gather() -> list[dict[str, Any]]:
        async with asyncio.timeout(2 * DEADLINE):
            return list(await asyncio.gather(*(event(waiting) for waiting in triggers)))

    return asyncio.run(gather())


def test_it_tells_when_the_session_is_completed(wts_connection: Emulator, sessions: list[str]) -> None:
    wts_connection.advance(24 * 3600)
    (told,) = events([trigger(sessions[0])])
    assert (told["outcome"], told["status"], told["session_id"]) == ("reached", "COMPLETED", sessions[0])


def test_it_tells_when_the_session_failed(sessions: list[str]) -> None:
    (told,) = events([trigger(sessions[0], failed_status=["STARTED"])])
    assert told["outcome"] == "failed"


def test_it_ends_at_its_deadline_with_the_last_status(sessions: list[str]) -> None:
    (told,) = events([trigger(sessions[0], seconds=0.3)])
    assert (told["outcome"], told["status"]) == ("timeout", "STARTED")


@pytest.mark.parametrize("limit", ["service", "own count"])
def test_the_deadline_of_one_wait_passes_while_the_poll_waits_for_the_rate_limit(
    wts_connection: Emulator, sessions: list[str], monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    if limit == "service":
        wts_connection.faults.add("status", status=429, retry_after="120", times=None)
    else:
        one = (Limit(1, 120, f"of {wts_connection.url}"),)
        monkeypatch.setattr("airflow_provider_wts.api.budget.ACCOUNT_LIMITS", one)
    began = time.monotonic()

    async def first() -> dict[str, Any]:
        waiting = [
            asyncio.ensure_future(event(trigger(sessions[place], seconds=60.0 * place + 0.3))) for place in (0, 1)
        ]
        told = await waiting[0]
        waiting[1].cancel()
        return told

    assert asyncio.run(first())["outcome"] == "timeout"
    assert time.monotonic() - began < 20.0


def test_it_does_not_fire_before_its_time(wts_connection: Emulator, sessions: list[str]) -> None:
    wts_connection.advance(24 * 3600)
    earliest = datetime.now(UTC) + timedelta(seconds=0.5)
    events([trigger(sessions[0], earliest=earliest.isoformat())])
    assert datetime.now(UTC) >= earliest


def test_a_session_that_does_not_exist_is_final(wts_connection: Emulator) -> None:
    (told,) = events([trigger("00000000-0000-4000-8000-000000000000")])
    assert (told["outcome"], told["final"]) == ("failed", True)


def test_a_refused_token_ends_all_waits_at_once(
    wts_connection: Emulator, sessions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wts_connection.faults.add("status", status=401, times=None)
    told = events(trigger(session_id) for session_id in sessions[:5])
    assert {(one["outcome"], one["final"]) for one in told} == {("error", True)}


def test_blips_do_not_end_a_wait(
    wts_connection: Emulator, sessions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_wts.api.client.UNKNOWN_BUDGET", 0)
    wts_connection.faults.add("status", status=503, times=4)
    wts_connection.advance(24 * 3600)
    (told,) = events([trigger(sessions[0])])
    assert told["outcome"] == "reached"


def test_a_lasting_failure_reaches_every_waiter(
    wts_connection: Emulator, sessions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_wts.api.client.UNKNOWN_BUDGET", 0)
    wts_connection.faults.add("status", status=503, times=None)
    told = events(trigger(session_id) for session_id in sessions)
    assert {(one["outcome"], one["final"]) for one in told} == {("error", False)}


@pytest.mark.parametrize(("polls", "outcome"), [(4, "reached"), (1000, "error")])
def test_what_nobody_foresaw_ends_a_poll_and_no_wait_unless_it_lasts(
    wts_connection: Emulator, sessions: list[str], monkeypatch: pytest.MonkeyPatch, polls: int, outcome: str
) -> None:
    left, poll = [KeyError("items")] * polls, polling.poll_sessions

    def broken(*arguments: Any, **more: Any) -> Any:
        if left:
            raise left.pop()
        return poll(*arguments, **more)

    monkeypatch.setattr(polling, "poll_sessions", broken)
    wts_connection.advance(24 * 3600)
    told = events(trigger(session_id) for session_id in sessions[:1])
    assert [one["outcome"] for one in told] == [outcome]
    assert outcome == "reached" or told[0]["final"] is False


def test_many_waiters_share_their_requests(wts_connection: Emulator, sessions: list[str]) -> None:
    wts_connection.advance(24 * 3600)
    before = len(wts_connection.requests)
    told = events(trigger(session_id) for session_id in sessions)
    assert {one["outcome"] for one in told} == {"reached"}
    assert len(wts_connection.requests) - before <= 4


def test_waiters_whose_sessions_end_later_are_told_later(wts_connection: Emulator, sessions: list[str]) -> None:
    wts_connection.clock.speed = 5000
    told = events(trigger(session_id, poll_interval=0.05) for session_id in sessions)
    assert {one["outcome"] for one in told} == {"reached"}


def test_a_list_that_does_not_show_the_changes_is_noticed(
    wts_connection: Emulator, sessions: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """How the list's dates behave is not documented: nobody may wait for ever because of another reading."""
    wts_connection.advance(60)
    nothing = session_changes.Sweep({}, datetime.now(UTC) + timedelta(hours=1), 1)
    monkeypatch.setattr(polling, "sweep", lambda *_, **__: nothing)
    told = events(trigger(session_id) for session_id in sessions)
    assert {one["outcome"] for one in told} == {"reached"}


def test_one_waiter_that_is_cancelled_leaves_the_others_waiting(wts_connection: Emulator, sessions: list[str]) -> None:
    async def cancel_the_first() -> dict[str, Any]:
        first = asyncio.create_task(event(trigger(sessions[0])))
        second = asyncio.create_task(event(trigger(sessions[1])))
        while not wts_connection.requests_of("list_sessions"):
            await asyncio.sleep(0.01)
        first.cancel()
        wts_connection.advance(24 * 3600)
        async with asyncio.timeout(DEADLINE):
            return await second

    assert asyncio.run(cancel_the_first())["outcome"] == "reached"


def test_the_event_holds_nothing_that_the_contact_wrote(wts_connection: Emulator, sessions: list[str]) -> None:
    wts_connection.advance(24 * 3600)
    (told,) = events([trigger(sessions[0])])
    assert told.keys() == {"outcome", "session_id", "status", "listed", "deadline", "message", "final"}


def many(sessions: list[str], *, needed: int, seconds: float = DEADLINE) -> WtsSessionsTrigger:
    now = datetime.now(UTC)
    return WtsSessionsTrigger(
        wts_conn_id="wts_default",
        session_ids=sessions,
        needed=needed,
        target_status=["COMPLETED"],
        failed_status=[],
        poll_interval=0.01,
        earliest=now.isoformat(),
        deadline=(now + timedelta(seconds=seconds)).isoformat(),
        changed_since=(now - timedelta(hours=1)).isoformat(),
    )


def test_many_sessions_are_waited_for_with_counts(wts_connection: Emulator, sessions: list[str]) -> None:
    wts_connection.advance(24 * 3600)
    (told,) = events([many(sessions, needed=len(sessions))])
    assert (told["outcome"], told["counts"]) == ("reached", {"COMPLETED": len(sessions)})


def test_too_few_in_time_is_a_timeout_with_counts(sessions: list[str]) -> None:
    (told,) = events([many(sessions, needed=3, seconds=0.3)])
    assert told["outcome"] == "timeout"
    assert sum(told["counts"].values()) == len(sessions)
