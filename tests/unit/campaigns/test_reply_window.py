"""Who may get more than a template on an official WhatsApp channel."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wts.api.client import WtsClient
from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError
from airflow_provider_wts.campaigns import reply_window
from airflow_provider_wts.campaigns.reply_window import ReplyWindow
from airflow_provider_wts.emulator import conversation
from airflow_provider_wts.hooks.wts import WtsHook

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.running import Emulator

CHANNEL = "+55|1140028922"
ANA = "+55|11977770001"


@pytest.fixture
def hook(wts_connection: Emulator) -> WtsHook:
    return WtsHook()


def phone(index: int) -> str:
    return f"+55|119{10_000_000 + index:08d}"


def wrote(emulator: Emulator, to: str, *, hours: float, status: str = "IN_PROGRESS", **session: Any) -> None:
    """Let a customer have a session, and have written in it so many hours ago."""
    at = (datetime.now(UTC) - timedelta(hours=hours)).isoformat()
    began = (datetime.now(UTC) - timedelta(hours=hours + 1)).isoformat()
    emulator.seed(
        contacts=[{"name": to, "phone": to}],
        sessions=[{"contact": to, "at": began, "status": status, **session}],
        messages=[{"session": to, "from": "contact", "text": "Oi", "at": at}],
    )


@pytest.mark.parametrize(
    ("hours", "status", "inside"),
    [
        (1, "IN_PROGRESS", True),
        (23.8, "PENDING", True),
        # It may take some minutes until the message leaves.
        (23.95, "IN_PROGRESS", False),
        (25, "IN_PROGRESS", False),
        # Another session is opened for the message, in which the customer wrote nothing.
        (1, "COMPLETED", False),
    ],
)
@pytest.mark.parametrize("alone", [False, True])
def test_a_customer_is_inside_for_24_hours_after_the_last_message_in_an_open_session(
    emulator: Emulator, hook: WtsHook, hours: float, status: str, inside: bool, alone: bool
) -> None:
    wrote(emulator, ANA, hours=hours, status=status)
    refusal = ReplyWindow(hook, CHANNEL, "skip", alone=alone).refusal(ANA)
    assert (refusal is None) is inside
    if refusal is not None:
        assert (refusal.rule, refusal.status) == ("outside_24h", "skipped")


@pytest.mark.parametrize("alone", [False, True])
def test_who_has_no_session_is_outside(emulator: Emulator, hook: WtsHook, alone: bool) -> None:
    emulator.seed(contacts=[{"name": "Ana", "phone": ANA}])
    refusal = ReplyWindow(hook, CHANNEL, "fail", alone=alone).refusal(ANA)
    assert refusal is not None
    assert refusal.status == "failed"


def test_a_message_of_ours_does_not_open_the_window(emulator: Emulator, hook: WtsHook) -> None:
    emulator.seed(
        contacts=[{"name": "Ana", "phone": ANA}],
        sessions=[{"contact": ANA}],
        messages=[{"session": ANA, "from": "company", "text": "Olá"}],
    )
    assert ReplyWindow(hook, CHANNEL, "skip").refusal(ANA)


def test_every_spelling_of_a_number_is_the_same_customer(emulator: Emulator, hook: WtsHook) -> None:
    wrote(emulator, "+55|1177770001", hours=1)
    assert ReplyWindow(hook, CHANNEL, "skip").refusal(ANA) is None


def test_each_channel_has_its_own_window(emulator: Emulator, hook: WtsHook) -> None:
    emulator.seed(channels=[{"name": "Outro", "type": "CloudAPI_WhatsApp", "number": "+55|1140028923"}])
    wrote(emulator, ANA, hours=1, channel="+55|1140028923")
    assert ReplyWindow(hook, "+55|1140028923", "skip").refusal(ANA) is None
    assert ReplyWindow(hook, CHANNEL, "skip").refusal(ANA)


@pytest.mark.parametrize("kind", ["ZAPI_WhatsApp", "EvolutionApi_WhatsApp", "Instagram"])
def test_other_channels_have_no_window(emulator: Emulator, hook: WtsHook, kind: str) -> None:
    address = {"handle": "@outro"} if kind == "Instagram" else {"number": "+55|1140028923"}
    emulator.seed(channels=[{"name": "Outro", "type": kind, **address}])
    assert ReplyWindow(hook, next(iter(address.values())), "skip").refusal(ANA) is None
    assert emulator.requests_of("list_sessions") == []


CHANNEL_ID, SESSION_ID = "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e", "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7f"


@pytest.mark.parametrize(
    ("channel", "session", "words"),
    [
        ({"type": None}, {}, "answer has no 'type'"),
        ({"id": None}, {}, "answer has no 'id'"),
        ({}, {"channelId": None}, "answer has no 'channelId'"),
        ({}, {"id": None}, "answer has no 'id'"),
        ({}, {"channelId": SESSION_ID}, "does not list the channel among the active ones"),
        ({"active": False}, {}, "does not list the channel among the active ones"),
        ({"active": None}, {}, ""),
    ],
    ids=str,
)
def test_an_answer_that_shows_too_little_lets_nothing_go_out(
    hook: WtsHook, monkeypatch: pytest.MonkeyPatch, channel: dict[str, Any], session: dict[str, Any], words: str
) -> None:
    answers = {
        "list_channels": [{"id": CHANNEL_ID, "type": "CloudAPI_WhatsApp", "active": True, **channel}],
        "get_session": {"id": SESSION_ID, "channelId": CHANNEL_ID, **session},
    }
    monkeypatch.setattr(hook, "run", lambda call: answers[call.operation_id])
    window = ReplyWindow(hook, None, "skip", alone=True, session_id=SESSION_ID)
    if not words:
        assert window.refusal(ANA)
        return
    with pytest.raises(WtsError, match=words):
        window.refusal(ANA)


def test_a_contact_without_an_id_lets_nothing_go_out(hook: WtsHook, monkeypatch: pytest.MonkeyPatch) -> None:
    window = ReplyWindow(hook, CHANNEL, "skip", alone=True)
    window.begin()
    monkeypatch.setattr(hook, "run", lambda call: {"phoneNumber": ANA})
    with pytest.raises(WtsError, match="answer has no 'id'"):
        window.refusal(ANA)


def test_without_a_channel_it_is_refused(hook: WtsHook) -> None:
    with pytest.raises(WtsInvalidRequestError, match=r"outside_24h: requires a channel"):
        ReplyWindow(hook, None, "skip").begin()


def test_a_thousand_customers_are_read_in_few_requests(emulator: Emulator, hook: WtsHook) -> None:
    inside = [phone(index) for index in range(0, 1000, 2)]
    for to in inside:
        wrote(emulator, to, hours=1)
    for index in range(1, 1000, 4):
        wrote(emulator, phone(index), hours=30)
    before = len(emulator.requests)
    window = ReplyWindow(hook, CHANNEL, "skip")
    assert [to for to in map(phone, range(1000)) if window.refusal(to) is None] == inside
    assert len(emulator.requests) - before <= 15


def test_what_changes_meanwhile_is_seen_before_a_chunk(
    emulator: Emulator, hook: WtsHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    bia, caio = phone(1), phone(2)
    wrote(emulator, ANA, hours=1)
    wrote(emulator, bia, hours=23)
    emulator.seed(contacts=[{"name": "Caio", "phone": caio}])
    window = ReplyWindow(hook, CHANNEL, "skip")
    monkeypatch.setattr("airflow_provider_wts.campaigns.reply_window.seconds", lambda: now[0])
    assert [window.refusal(to) is None for to in (ANA, bia, caio)] == [True, True, False]
    # Two hours later Ana's conversation is over, Bia's window has closed, and Caio has written.
    emulator.advance(7200)
    emulator.contact_writes(caio, "Oi")
    ana = emulator.state.contact_by_address(ANA)
    assert ana is not None
    with emulator.state.lock:
        conversation.complete(emulator.state, ana.sessions[-1], stop_bot=False, reactivate=False)
    now[0] += 61
    window.before_chunk()
    assert [window.refusal(to) is None for to in (ANA, bia, caio)] == [False, False, True]


def test_a_list_that_does_not_show_contacts_costs_one_look_up_each(emulator: Emulator, hook: WtsHook) -> None:
    wrote(emulator, ANA, hours=1)
    wrote(emulator, phone(1), hours=30)
    emulator.switches.null_objects = True
    assert ReplyWindow(hook, CHANNEL, "skip").refusal(ANA) is None
    assert len(emulator.requests_of("get_contact")) == 1


def test_a_list_that_shows_nobody_lets_nothing_go_out(
    emulator: Emulator, hook: WtsHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reply_window, "_MAX_LOOKUPS", 2)
    for index in range(3):
        wrote(emulator, phone(index), hours=1)
    emulator.switches.null_objects = True
    with pytest.raises(WtsError, match="does not show whose the sessions are"):
        ReplyWindow(hook, CHANNEL, "skip").refusal(ANA)


@pytest.mark.parametrize(
    "shown",
    [
        {"contactDetails": None, "contactId": None},
        {"lastMessageIn": "ontem"},
        {"lastMessageIn": "2099-01-01T00:00:00Z"},
        {"lastMessageIn": (datetime.now(UTC) + timedelta(hours=1)).isoformat()},
    ],
    ids=["of-nobody", "no-date", "far-ahead", "ahead"],
)
def test_a_session_that_does_not_say_who_wrote_or_when_opens_no_window(
    emulator: Emulator, hook: WtsHook, monkeypatch: pytest.MonkeyPatch, shown: dict[str, Any]
) -> None:
    for index in range(2):
        wrote(emulator, phone(index), hours=1)
    first = emulator.state.sessions.by_creation()[0].id
    perform = WtsClient.perform

    def spoiled(self: WtsClient, call: Any, **more: Any) -> Any:
        answer = perform(self, call, **more)
        if call.operation_id == "list_sessions":
            answer["items"] = [{**one, **shown} if one["id"] == first else one for one in answer["items"]]
        return answer

    monkeypatch.setattr(WtsClient, "perform", spoiled)
    rule = ReplyWindow(hook, CHANNEL, "skip")
    assert [rule.refusal(phone(index)) is None for index in range(2)] == [False, True]
