"""Triggers that wait for answers and for the status of messages, by the shared poll."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wts.api import messages, sends
from airflow_provider_wts.api.chatbots import send_chatbot
from airflow_provider_wts.api.sessions import complete_session
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.triggers.message import WtsMessageStatusTrigger, WtsSessionReplyTrigger
from airflow_provider_wts.triggers.session import WtsSessionsTrigger
from airflow_provider_wts.waiting import poller as polling

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_wts.emulator.running import Emulator

DEADLINE = 30.0
PHONES = [f"+55|119{number:08}" for number in range(20)]


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls follow each other at once; the share of the budget is another test's."""
    monkeypatch.setattr(polling, "SECONDS_PER_CALL", 0.0)


@pytest.fixture
def silent(wts_connection: Emulator) -> Emulator:
    """An emulator whose contacts answer only when a test says so."""
    wts_connection.behave("*", replies=[])
    return wts_connection


@pytest.fixture
def sessions(silent: Emulator) -> list[str]:
    """Open sessions in which the company has just written."""
    hook = WtsHook()
    key = hook.names.chatbot("Falar com atendente")
    found = [str(hook.run(send_chatbot(bot_key=key, to=phone))["id"]) for phone in PHONES]
    silent.advance(1)
    return found


def times(seconds: float) -> dict[str, str]:
    now = datetime.now(UTC)
    return {"earliest": now.isoformat(), "deadline": (now + timedelta(seconds=seconds)).isoformat()}


def reply(session_id: str, *, since: datetime, seconds: float = DEADLINE) -> WtsSessionReplyTrigger:
    return WtsSessionReplyTrigger(
        wts_conn_id="wts_default",
        session_id=session_id,
        since=since.isoformat(),
        poll_interval=0.02,
        **times(seconds),
    )


def status(
    message_id: str, *, target: str = "DELIVERED", id_of: str | None = "send", seconds: float = DEADLINE
) -> WtsMessageStatusTrigger:
    return WtsMessageStatusTrigger(
        wts_conn_id="wts_default",
        message_id=message_id,
        id_of=id_of,
        target_status=target,
        poll_interval=0.02,
        **times(seconds),
    )


async def event(waiting: Any) -> dict[str, Any]:
    async for told in waiting.run():
        payload: dict[str, Any] = told.payload
        return payload
    raise AssertionError("the trigger sent nothing")


async def gather(triggers: Iterable[Any]) -> list[dict[str, Any]]:
    async with asyncio.timeout(2 * DEADLINE):
        return list(await asyncio.gather(*(event(waiting) for waiting in triggers)))


def events(*triggers: Any) -> list[dict[str, Any]]:
    return asyncio.run(gather(triggers))


def emulated_now(emulator: Emulator) -> datetime:
    return datetime.fromisoformat(emulator.state.now_text())


def test_it_tells_when_the_contact_answered(silent: Emulator, sessions: list[str]) -> None:
    since = emulated_now(silent)
    silent.contact_writes(PHONES[0], "segredo")
    (told,) = events(reply(sessions[0], since=since))
    assert (told["outcome"], told["session_id"]) == ("reached", sessions[0])
    assert datetime.fromisoformat(told["last_message_in"]) > since
    assert "segredo" not in str(told)


def test_silence_is_a_timeout(silent: Emulator, sessions: list[str]) -> None:
    (told,) = events(reply(sessions[0], since=emulated_now(silent), seconds=0.3))
    assert told["outcome"] == "timeout"


def test_a_session_that_does_not_exist_is_final(wts_connection: Emulator) -> None:
    (told,) = events(reply("00000000-0000-4000-8000-000000000000", since=datetime.now(UTC)))
    assert (told["outcome"], told["final"]) == ("failed", True)


def test_many_waiters_for_answers_share_their_requests(silent: Emulator, sessions: list[str]) -> None:
    since = emulated_now(silent)
    for phone in PHONES:
        silent.contact_writes(phone, "10")
    before = len(silent.requests)
    told = events(*(reply(session_id, since=since) for session_id in sessions))
    assert {one["outcome"] for one in told} == {"reached"}
    assert len(silent.requests) - before <= 4


def test_answers_that_do_not_move_the_date_of_the_session_are_noticed(silent: Emulator, sessions: list[str]) -> None:
    """Whether a message moves a session's updatedAt is not documented."""
    silent.advance(60)
    silent.switches.messages_touch_session = False
    silent.switches.answered_session_status = "PENDING"
    since = emulated_now(silent)
    for phone in PHONES:
        silent.contact_writes(phone, "10")
    hook = WtsHook()
    hook.run(send_chatbot(bot_key=hook.names.chatbot("Falar com atendente"), to="+55|11777770001"))
    told = events(*(reply(session_id, since=since) for session_id in sessions))
    assert {one["outcome"] for one in told} == {"reached"}


def test_waiters_for_statuses_and_answers_share_one_poll(silent: Emulator, sessions: list[str]) -> None:
    since = emulated_now(silent)
    silent.contact_writes(PHONES[0], "10")
    for session_id in sessions:
        WtsHook().run(complete_session(session_id))
    before = len(silent.requests_of("list_sessions"))
    told = events(all_completed(sessions), reply(sessions[0], since=since))
    assert [one["outcome"] for one in told] == ["reached", "reached"]
    assert len(silent.requests_of("list_sessions")) - before <= 2


def all_completed(sessions: list[str], *, seconds: float = DEADLINE) -> WtsSessionsTrigger:
    return WtsSessionsTrigger(
        wts_conn_id="wts_default",
        session_ids=sessions,
        needed=len(sessions),
        target_status=["COMPLETED"],
        failed_status=[],
        poll_interval=0.01,
        changed_since=(datetime.now(UTC) - timedelta(hours=1)).isoformat(),
        **times(seconds),
    )


def test_sessions_that_were_reported_are_no_reason_for_distrust(
    silent: Emulator, sessions: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A session that ended long ago is still waited for by a task that needs the others, too."""
    hook = WtsHook()
    for session_id in sessions[:10]:
        hook.run(complete_session(session_id))
    silent.advance(55)
    hook.run(send_chatbot(bot_key=hook.names.chatbot("Falar com atendente"), to="+55|11777770001"))
    (told,) = events(all_completed(sessions, seconds=4))
    assert told["outcome"] == "timeout"
    assert len(silent.requests_of("get_session")) > 10
    assert "did not show a change" not in caplog.text


def test_it_tells_when_the_message_is_delivered(silent: Emulator) -> None:
    send_id = str(WtsHook().run(sends.send_text("Olá", to=PHONES[0]))["id"])
    silent.advance(3)
    (told,) = events(status(send_id))
    assert (told["outcome"], told["message_id"], told["status"]) == ("reached", send_id, "DELIVERED")


def test_it_waits_until_the_message_is_read(silent: Emulator) -> None:
    silent.clock.speed = 50
    send_id = str(WtsHook().run(sends.send_text("Olá", to=PHONES[0]))["id"])
    (told,) = events(status(send_id, target="READ"))
    assert (told["outcome"], told["status"]) == ("reached", "READ")


def test_a_failure_is_told_with_its_reason(silent: Emulator) -> None:
    silent.behave(PHONES[0], replies=[], fails="Número inválido")
    send_id = str(WtsHook().run(sends.send_text("Olá", to=PHONES[0]))["id"])
    silent.advance(3)
    (told,) = events(status(send_id))
    assert (told["outcome"], told["status"], told["final"]) == ("failed", "FAILED", True)
    assert "Número inválido" in told["message"]


@pytest.mark.parametrize("id_of", [None, "message"])
def test_messages_of_the_quick_sends_are_found(silent: Emulator, id_of: str | None) -> None:
    message_id = str(WtsHook().run(messages.send_message(PHONES[0], text="Olá"))["id"])
    silent.advance(3)
    (told,) = events(status(message_id, id_of=id_of))
    assert told["outcome"] == "reached"


def test_a_message_that_does_not_exist_ends_only_its_own_wait(silent: Emulator) -> None:
    send_id = str(WtsHook().run(sends.send_text("Olá", to=PHONES[0]))["id"])
    silent.advance(3)
    told = events(status("00000000-0000-4000-8000-000000000000", id_of=None), status(send_id))
    assert [one["outcome"] for one in told] == ["failed", "reached"]


def test_messages_are_looked_at_in_turn_within_the_share_of_the_budget(
    silent: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "MAX_SINGLE_CHECKS", 5)
    hook = WtsHook()
    send_ids = [str(hook.run(sends.send_text("Olá", to=phone))["id"]) for phone in PHONES]
    silent.advance(3)
    told = events(*(status(send_id) for send_id in send_ids))
    assert {one["outcome"] for one in told} == {"reached"}
    assert len(silent.requests_of("get_sent_message_status")) <= len(send_ids) + 5


def test_blips_do_not_end_a_wait_for_a_message(silent: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    send_id = str(WtsHook().run(sends.send_text("Olá", to=PHONES[0]))["id"])
    silent.advance(3)
    monkeypatch.setattr("airflow_provider_wts.api.client.UNKNOWN_BUDGET", 0)
    silent.faults.add("status", status=503, times=3)
    (told,) = events(status(send_id))
    assert told["outcome"] == "reached"


@pytest.mark.parametrize(
    ("reason", "hidden"),
    [
        ("O número +55 11 98888-7777 de Maria da Silva não existe", ["98888", "Maria", "Silva"]),
        ("Maria Silva bloqueou a conta", ["Maria", "Silva"]),
        ("Contato Ana Lúcia recusou; e-mail ana.lucia@example.com", ["Lúcia", "ana.lucia", "example.com"]),
        ("Bloqueado por @maria.silva", ["maria"]),
    ],
)
def test_the_reason_of_a_failure_names_nobody(silent: Emulator, reason: str, hidden: list[str]) -> None:
    silent.behave(PHONES[0], replies=[], fails=reason)
    send_id = str(WtsHook().run(sends.send_text("Olá", to=PHONES[0]))["id"])
    silent.advance(3)
    (told,) = events(status(send_id))
    assert told["status"] == "FAILED"
    assert not [words for words in hidden if words in str(told)]


@pytest.mark.parametrize(
    "date",
    ["hoje", "9999-12-31T23:59:59", "2099-01-01T00:00:00Z", "0001-01-01T00:00:00", "0001-01-01T00:00:00+03:00"],
)
def test_a_date_that_is_none_is_no_reply(silent: Emulator, sessions: list[str], date: str) -> None:
    with silent.state.lock:
        silent.state.sessions.need(sessions[0])["lastMessageIn"] = date
    (told,) = asyncio.run(gather([reply(sessions[0], since=datetime.now(UTC) - timedelta(hours=1), seconds=0.5)]))
    assert told["outcome"] == "timeout"
