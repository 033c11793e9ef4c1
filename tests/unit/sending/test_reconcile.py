"""Asking the API what became of a send, under every reading of what the API leaves open."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wts.api import sends, sessions
from airflow_provider_wts.api.chatbots import send_chatbot
from airflow_provider_wts.api.contacts import create_contact, update_contact
from airflow_provider_wts.api.panels import create_card, update_card
from airflow_provider_wts.api.sessions import complete_session
from airflow_provider_wts.api.wire import UNREADABLE, parse_timestamp
from airflow_provider_wts.sending import reconcile
from airflow_provider_wts.sending.key import Mark
from airflow_provider_wts.sending.reconcile import ByPhone, Finding, InCards, InSession

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_wts.emulator.running import Emulator
    from airflow_provider_wts.hooks.wts import WtsHook

PHONE = "+55|11999998888"
OTHER = "+55|11977776666"
OLDER = "+55|1199998888"
MARK = Mark("12345678-1234-4234-8234-123456789abc")
CHANNEL = "+55|1140028922"

BY_METADATA = InSession(recipient=PHONE, by_metadata=True)
BY_SENDER = InSession(recipient=PHONE, by_sender=True)
BY_BOTH = InSession(recipient=PHONE, by_metadata=True, by_sender=True)


def a_minute_ago() -> datetime:
    return datetime.now(UTC) - timedelta(minutes=1)


class Customer:
    """What happens to a customer at the service."""

    def __init__(self, hook: WtsHook, emulator: Emulator, bot_key: str, in_the_past: Callable[[], Any]) -> None:
        self.hook, self.emulator, self._bot_key, self._in_the_past = hook, emulator, bot_key, in_the_past

    def gets_chatbot(self, mark: Mark | None = MARK, to: str = PHONE, **more: Any) -> Any:
        metadata = {"x": 1} if mark is None else mark.metadata({"x": 1})
        return self.hook.run(
            send_chatbot(bot_key=self._bot_key, to=to, from_=CHANNEL, session_metadata=metadata, **more)
        )

    def gets_text(self, mark: Mark | None = MARK) -> None:
        key = "of another send" if mark is None else mark.key
        self.hook.run(sends.send_text("Olá", to=PHONE, sender_id=key))
        assert self.emulator.received(PHONE)

    def had_conversation(self, to: str = PHONE) -> Any:
        """A conversation of an hour ago; returns its session."""
        with self._in_the_past():
            self.emulator.contact_writes(to, "Bom dia", CHANNEL)
            return self.emulator.state.sessions.by_creation()[-1]

    def search(self, trace: Any = BY_METADATA) -> Finding:
        return trace.search(self.hook, MARK, a_minute_ago()).finding


@pytest.fixture
def customer(hook: WtsHook, emulator: Emulator, bot_key: str, in_the_past: Any) -> Customer:
    return Customer(hook, emulator, bot_key, in_the_past)


# Found ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("details", ["absent", "null", "always"])
@pytest.mark.parametrize("null_objects", [False, True])
@pytest.mark.parametrize("in_list", [True, False])
@pytest.mark.parametrize("needs_details", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_a_chatbot_is_found_wherever_the_api_shows_metadata(
    customer: Customer, details: str, null_objects: bool, in_list: bool, needs_details: bool, known: bool
) -> None:
    customer.emulator.switches.change(
        {
            "details_not_asked": details,
            "null_objects": null_objects,
            "metadata_in_session_list": in_list,
            "metadata_needs_details": needs_details,
        }
    )
    if known:
        customer.had_conversation()
    session = customer.gets_chatbot()
    found = BY_METADATA.search(customer.hook, MARK, a_minute_ago())
    assert found.finding is Finding.FOUND
    assert found.answer["id"] == session["id"]


def test_what_is_found_does_not_name_the_contact_beyond_what_the_send_answers(customer: Customer) -> None:
    customer.gets_chatbot()
    found = BY_METADATA.search(customer.hook, MARK, a_minute_ago())
    assert "contactDetails" not in found.answer


@pytest.mark.parametrize("known", [True, False])
def test_a_chatbot_is_found_though_the_number_of_the_contact_has_been_changed(customer: Customer, known: bool) -> None:
    if known:
        customer.had_conversation()
    session = customer.gets_chatbot()
    customer.hook.run(update_contact(session["contactId"], phone_number=OTHER))
    assert customer.search() is Finding.FOUND
    assert customer.search(BY_BOTH) is Finding.FOUND


def test_a_chatbot_is_found_in_its_session_by_the_sessions_id(customer: Customer) -> None:
    session = customer.had_conversation()
    customer.gets_chatbot(to=PHONE, session_id=session.id)
    assert customer.search(InSession(session_id=session.id, by_metadata=True)) is Finding.FOUND


def test_a_text_is_found_by_the_sender_id_of_its_message(customer: Customer) -> None:
    customer.gets_text()
    found = BY_SENDER.search(customer.hook, MARK, a_minute_ago())
    assert found.finding is Finding.FOUND
    assert found.answer["senderId"] == MARK.key


def test_a_template_is_found_by_its_message_when_a_later_send_replaced_the_metadata(customer: Customer) -> None:
    customer.emulator.switches.change({"session_metadata": "replace"})
    customer.gets_text()
    customer.gets_chatbot(mark=None)
    assert customer.search(BY_BOTH) is Finding.FOUND


def test_a_session_of_days_ago_is_found_even_when_nothing_moves_its_date(customer: Customer) -> None:
    customer.emulator.switches.change({"session_change_date": "stays", "messages_touch_session": False})
    customer.had_conversation()
    customer.gets_chatbot()
    assert customer.search() is Finding.FOUND


@pytest.mark.parametrize("hidden", [True, False])
def test_sessions_are_found_that_a_list_leaves_out_unless_they_are_asked_for(customer: Customer, hidden: bool) -> None:
    customer.emulator.switches.change({"unasked_statuses": "visible"})
    session = customer.gets_chatbot(hidden_session=hidden)
    if not hidden:
        customer.hook.run(complete_session(session["id"]))
    assert customer.search() is Finding.FOUND


@pytest.mark.parametrize("moves", ["moves", "stays"])
def test_a_contact_is_found_that_is_stored_without_the_ninth_digit(customer: Customer, moves: str) -> None:
    customer.emulator.switches.change({"ninth_digit": "either", "session_change_date": moves})
    customer.had_conversation(to=OLDER)
    session = customer.gets_chatbot()
    found = BY_METADATA.search(customer.hook, MARK, a_minute_ago())
    assert found.finding is Finding.FOUND
    assert found.answer["id"] == session["id"]


def test_a_handle_is_found(customer: Customer) -> None:
    customer.hook.run(send_chatbot(bot_key=customer._bot_key, to="@Maria.Silva", session_metadata=MARK.metadata()))
    assert customer.search(InSession(recipient="@maria.silva", by_metadata=True)) is Finding.FOUND


# Absent ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trace", [BY_METADATA, BY_SENDER, BY_BOTH], ids=["metadata", "sender", "both"])
def test_nothing_was_sent_to_somebody_whom_the_account_does_not_know(customer: Customer, trace: InSession) -> None:
    assert customer.search(trace) is Finding.ABSENT


@pytest.mark.parametrize("trace", [BY_METADATA, BY_SENDER, BY_BOTH], ids=["metadata", "sender", "both"])
def test_nothing_was_sent_to_somebody_whose_conversation_rests(customer: Customer, trace: InSession) -> None:
    customer.had_conversation()
    assert customer.search(trace) is Finding.ABSENT


def test_what_others_got_is_no_doubt(customer: Customer) -> None:
    customer.gets_chatbot(mark=None, to=OTHER)
    customer.emulator.contact_writes("@outra", "Oi")
    assert customer.search() is Finding.ABSENT


def test_nothing_was_sent_to_a_handle_that_nobody_has(customer: Customer) -> None:
    assert customer.search(InSession(recipient="@ninguem", by_metadata=True)) is Finding.ABSENT


def test_a_conversation_that_ended_before_holds_no_doubt_though_it_hides_its_metadata(customer: Customer) -> None:
    session = customer.had_conversation()
    with customer._in_the_past():
        customer.hook.run(complete_session(session.id))
    session["metadata"] = None
    assert customer.search() is Finding.ABSENT


# Undecided ------------------------------------------------------------------------------------------------------------


def reason(customer: Customer, trace: Any = BY_METADATA) -> str:
    found = trace.search(customer.hook, MARK, a_minute_ago())
    assert found.finding is Finding.UNDECIDED
    assert found.reason
    return found.reason


def test_a_mark_that_a_later_send_replaced_leaves_a_doubt(customer: Customer) -> None:
    customer.emulator.switches.change({"session_metadata": "replace"})
    customer.gets_chatbot()
    customer.gets_chatbot(mark=None)
    assert "1 session(s) of this contact changed" in reason(customer)


def test_two_tasks_that_write_to_one_customer_at_once_are_told_apart(customer: Customer) -> None:
    other = Mark("87654321-1234-4234-8234-123456789abc")
    customer.gets_chatbot(mark=other)
    reason(customer)
    assert BY_METADATA.search(customer.hook, other, a_minute_ago()).finding is Finding.FOUND


def test_a_message_that_does_not_show_its_sender_id_leaves_a_doubt(customer: Customer) -> None:
    customer.emulator.switches.change({"sender_id_in_messages": False})
    customer.gets_text()
    reason(customer, BY_SENDER)


def test_a_message_without_sender_id_leaves_a_doubt_even_in_a_session_that_seems_untouched(customer: Customer) -> None:
    customer.emulator.switches.change(
        {"sender_id_in_messages": False, "messages_touch_session": False, "session_change_date": "stays"}
    )
    session = customer.had_conversation()
    customer.gets_text()
    session["lastMessageOut"] = session["lastInteractionDate"] = None
    reason(customer, BY_SENDER)


def test_metadata_that_is_nowhere_shown_leaves_a_doubt(customer: Customer) -> None:
    customer.emulator.switches.change({"session_change_date": "stays", "messages_touch_session": False})
    session = customer.had_conversation()
    session["metadata"] = None
    assert "do not show their metadata" in reason(customer)


def test_a_customer_who_wrote_meanwhile_leaves_a_doubt(customer: Customer) -> None:
    customer.emulator.contact_writes(PHONE, "Oi")
    reason(customer)


def test_a_date_that_cannot_be_read_leaves_a_doubt(customer: Customer) -> None:
    customer.had_conversation()["lastMessageOut"] = "ontem"
    reason(customer)


def test_more_sessions_than_can_be_read_leave_a_doubt(customer: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "MAX_SESSIONS", 1)
    for to in (OTHER, "+55|11966665555"):
        customer.gets_chatbot(mark=None, to=to)
    assert "too many sessions" in reason(customer)


def test_more_sessions_of_the_contact_than_can_be_read_leave_a_doubt(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "MAX_SESSIONS_OF_CONTACT", 0)
    customer.had_conversation()
    assert "could not be listed completely" in reason(customer)


def test_a_filter_that_the_api_ignores_leaves_a_doubt(customer: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    customer.had_conversation()
    customer.had_conversation(to=OTHER)
    whole = sessions.list_sessions
    monkeypatch.setattr(reconcile, "list_sessions", lambda contact_id=None, **filters: whole(**filters))
    assert "could not be listed completely" in reason(customer)


def test_a_search_reads_only_so_many_sessions_one_by_one(customer: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    customer.emulator.switches.change({"metadata_in_session_list": False, "null_objects": True})
    monkeypatch.setattr(reconcile, "MAX_FETCHED", 2)
    for number in range(4):
        customer.gets_chatbot(mark=None, to=f"+55|1196666555{number}")
    reason(customer)
    assert len(customer.emulator.requests_of("get_session")) == 2


def test_a_search_looks_for_messages_in_only_so_many_sessions(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer.emulator.switches.change({"null_objects": True})
    monkeypatch.setattr(reconcile, "MAX_FETCHED", 2)
    for number in range(4):
        customer.gets_chatbot(mark=None, to=f"+55|1196666555{number}")
    reason(customer, BY_SENDER)
    assert len(customer.emulator.requests_of("list_messages")) == 2


def test_a_conversation_that_ended_before_is_not_looked_into(customer: Customer) -> None:
    session = customer.had_conversation()
    with customer._in_the_past():
        customer.hook.run(complete_session(session.id))
    assert customer.search(BY_SENDER) is Finding.ABSENT
    assert customer.emulator.requests_of("list_messages") == []


# Cards and contacts ---------------------------------------------------------------------------------------------------


@pytest.fixture
def panel(emulator: Emulator) -> Any:
    return emulator.state.panels.by_creation()[0]


@pytest.fixture
def card(hook: WtsHook, emulator: Emulator, panel: Any) -> Callable[[Mark | None], Any]:
    step = next(one for one in emulator.state.panel_steps.by_creation() if one["panelId"] == panel.id)
    return lambda mark: hook.run(
        create_card(step_id=step.id, title="Cartão", metadata=mark.metadata() if mark else {"x": "1"})
    )


def test_a_card_is_found_by_its_metadata(customer: Customer, panel: Any, card: Any) -> None:
    card(None)
    made = card(MARK)
    card(None)
    found = InCards(lambda: panel.id).search(customer.hook, MARK, a_minute_ago())
    assert (found.finding, found.answer["id"]) == (Finding.FOUND, made["id"])


def test_a_card_is_found_after_somebody_archived_it(customer: Customer, panel: Any, card: Any) -> None:
    customer.hook.run(update_card(card(MARK)["id"], status="ARCHIVED"))
    assert customer.search(InCards(lambda: panel.id)) is Finding.FOUND


def test_a_card_that_is_not_there_is_absent(customer: Customer, panel: Any, card: Any) -> None:
    card(None)
    assert customer.search(InCards(lambda: panel.id)) is Finding.ABSENT


class Cards:
    """An API that shows cards in a way of its own."""

    def __init__(self, listed: list[dict[str, Any]], whole: dict[str, Any]) -> None:
        self.client = SimpleNamespace(items=lambda call: iter(listed))
        self.run = lambda call: whole


@pytest.mark.parametrize("metadata", [{}, {"metadata": None}], ids=["left out", "null"])
def test_a_card_is_read_singly_where_the_list_hides_metadata(metadata: dict[str, Any]) -> None:
    listed = [{"id": "1", "createdAt": datetime.now(UTC).isoformat(), **metadata}]
    found = InCards(lambda: "panel").search(
        Cards(listed, {"id": "1", "metadata": MARK.metadata()}), MARK, a_minute_ago()
    )
    assert found.finding is Finding.FOUND
    hidden = InCards(lambda: "panel").search(Cards(listed, listed[0]), MARK, a_minute_ago())
    assert hidden.finding is Finding.UNDECIDED


def test_a_card_is_found_behind_one_that_hides_its_metadata() -> None:
    now = datetime.now(UTC).isoformat()
    foreign = {"id": "1", "createdAt": now, "metadata": None}
    mine = {"id": "2", "createdAt": now, "metadata": MARK.metadata()}
    found = InCards(lambda: "panel").search(Cards([foreign, mine], foreign), MARK, a_minute_ago())
    assert found.finding is Finding.FOUND


def test_a_contact_is_found_by_its_number_in_either_spelling(customer: Customer) -> None:
    assert customer.search(ByPhone(PHONE)) is Finding.ABSENT
    customer.hook.run(create_contact(name="Maria", phone_number=OLDER))
    assert customer.search(ByPhone(PHONE)) is Finding.FOUND


# Details --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["2026-11-22T10:00:00Z", "2026-11-22T10:00:00.1Z", "2026-11-22T10:00:00.1234567Z"])
def test_moments_are_read_with_any_fraction(text: str) -> None:
    parsed = parse_timestamp(text)
    assert parsed is not None
    assert parsed.replace(microsecond=0) == datetime(2026, 11, 22, 10, tzinfo=UTC)


@pytest.mark.parametrize("text", ["ontem", 5, "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-03:00"])
def test_a_moment_that_cannot_be_read_counts_as_recent(text: Any) -> None:
    assert parse_timestamp(text) == UNREADABLE > datetime.now(UTC)


@pytest.mark.parametrize("text", [None, "", "0001-01-01T00:00:00", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"])
def test_a_moment_that_is_missing_is_none_also_as_dotnet_writes_it(text: Any) -> None:
    assert parse_timestamp(text) is None
