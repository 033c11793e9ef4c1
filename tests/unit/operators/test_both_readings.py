"""What the API leaves open: under either reading the operators do their work, or say plainly that they did not."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import typing
from typing import TYPE_CHECKING, Any

import pytest
from airflow.exceptions import AirflowException
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_wts.emulator.running import Emulator
from airflow_provider_wts.emulator.switches import Switches
from airflow_provider_wts.operators.call import WtsCallOperator
from airflow_provider_wts.operators.card import WtsCreateCardNoteOperator
from airflow_provider_wts.operators.chatbot import WtsListChatbotsOperator, WtsSendChatbotOperator
from airflow_provider_wts.operators.contact import (
    WtsGetContactOperator,
    WtsListContactsOperator,
    WtsUpdateContactOperator,
    WtsUpdateContactTagsOperator,
)
from airflow_provider_wts.operators.message import (
    WtsCancelScheduledMessageOperator,
    WtsGetMessageOperator,
    WtsListMessagesOperator,
    WtsScheduleMessageOperator,
    WtsSendTextOperator,
)
from airflow_provider_wts.operators.panel import WtsListCardsOperator
from airflow_provider_wts.operators.sequence import WtsAddToSequenceOperator
from airflow_provider_wts.operators.session import (
    WtsAssignSessionOperator,
    WtsCreateSessionNoteOperator,
    WtsListSessionsOperator,
    WtsTransferSessionOperator,
)
from airflow_provider_wts.operators.template import WtsSendTemplateOperator

if TYPE_CHECKING:
    from collections.abc import Iterator

SOME_ID = "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"
CARLA = "+55|11999990001"
DIEGO = "+55|11999990002"


@pytest.fixture
def account(wts_connection, ledger):
    """An account whose clients break no rule of the contract."""
    wts_connection.switches.change({"queue_seconds": 0.0, "whatsapp_window": "off"})
    yield wts_connection
    assert wts_connection.violations == []


@pytest.fixture
def run(account, context):
    """Run an operator as a task of its own."""

    def run(operator_class: Any, **parameters: Any) -> Any:
        context["ti"].task_id = f"task{len(account.requests)}"
        return operator_class(task_id=context["ti"].task_id, **parameters).execute(context)

    return run


def works(run: Any, operator_class: Any, **parameters: Any) -> bool:
    """Say whether an operator succeeded; a failure must be one that an operator raises on purpose."""
    try:
        run(operator_class, **parameters)
    except AirflowException:
        return False
    return True


def table_id(records: Any, name: str | None = None) -> str:
    return str(next(one.id for one in records.by_creation() if name is None or one["name"] == name))


# Requests ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reading", ["accept", "refuse"])
def test_a_trailing_slash_in_the_connection_leads_to_no_trailing_slash(account, run, monkeypatch, reading):
    account.switches.change({"trailing_slash": reading})
    connection = {"conn_type": "wts", "host": account.url + "/", "password": account.token}
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))
    assert run(WtsListChatbotsOperator)


@pytest.mark.parametrize("reading", ["ignore", "refuse"])
def test_an_empty_filter_is_not_sent(account, run, reading):
    account.switches.change({"empty_query_values": reading})
    assert len(run(WtsListChatbotsOperator, name="")) == len(run(WtsListChatbotsOperator))


@pytest.mark.parametrize("reading", ["utc", "refuse"])
def test_dates_go_out_with_a_zone(account, run, reading):
    account.switches.change({"date_without_zone": reading})
    assert run(WtsListContactsOperator, created_after="2020-01-01T00:00:00-03:00")
    message = run(WtsScheduleMessageOperator, to=CARLA, scheduling="2099-01-01T10:00:00-03:00", chatbot="Cobrança")
    assert message["scheduling"] == "2099-01-01T13:00:00Z"


@pytest.mark.parametrize("reading", ["ignore", "refuse"])
def test_objects_that_are_not_given_are_left_out(account, run, reading):
    account.switches.change({"null_for_object": reading})
    assert run(WtsSendChatbotOperator, chatbot="Cobrança", to=CARLA, session_metadata=None, contact_metadata=None)
    assert run(WtsUpdateContactOperator, contact_id=account.state.contacts.by_creation()[0].id, status="ACTIVE")


@pytest.mark.parametrize("reading", ["any", "exact"])
def test_choices_go_out_as_the_contract_spells_them(account, run, reading):
    account.switches.change({"enum_case": reading})
    assert run(WtsListCardsOperator, panel="Funil de vendas", statuses=["open", "Won"]) == []
    assert run(WtsListChatbotsOperator, types=["automation"])


@pytest.mark.parametrize("reading", ["refuse", "clamp"])
def test_pages_are_asked_for_in_the_bounds_of_the_contract(account, run, reading):
    account.switches.change({"page_out_of_range": reading})
    account.seed(contacts=250)
    assert len(run(WtsListContactsOperator)) == 253
    assert not works(run, WtsListContactsOperator, page_size=101)


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("key", ["FORM_ERROR", "BAD_REQUEST", "none"])
def test_a_request_that_is_refused_as_wrong_is_not_repeated(account, run, key, status):
    account.switches.change({"bad_body_key": key, "bad_body_status": status, "batch_limit": 1})
    body = {
        "from": "+55|1140028922",
        "templateId": table_id(account.state.templates, "pesquisa"),
        "messages": [{"to": CARLA}, {"to": DIEGO}],
    }
    with pytest.raises(AirflowFailException):
        run(WtsCallOperator, operation_id="send_template_batch", body=body)
    assert len(account.requests) == 1
    account.state.violations.clear()


# Sends ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reading", "received"), [("refuse", 0), ("ignore", 1)])
@pytest.mark.parametrize("target", ["department", "user"])
def test_an_unknown_target_of_a_send_into_an_open_session(account, run, target, reading, received):
    run(WtsSendTextOperator, text="Oi", to=CARLA)
    account.advance(1)
    account.switches.change({"unknown_target": reading})
    assert works(run, WtsSendTextOperator, text="Tudo bem?", to=CARLA, **{target: SOME_ID}) == bool(received)
    account.advance(1)
    assert len(account.received(CARLA)) == 1 + received


@pytest.mark.parametrize("reading", ["null", "known"])
def test_a_send_into_an_open_session_arrives_once_whatever_its_answer_shows(account, run, reading):
    run(WtsSendTextOperator, text="Oi", to=CARLA)
    account.advance(1)
    account.switches.change({"queued_session_id": reading})
    sent = run(WtsSendTextOperator, text="Tudo bem?", to=CARLA)
    account.advance(1)
    assert sent["id"]
    assert [one.text for one in account.received(CARLA)] == ["Oi", "Tudo bem?"]


@pytest.mark.parametrize("reading", ["send", "fail", "refuse"])
def test_a_media_template_without_its_file_is_never_a_silent_success(account, run, reading):
    account.seed(templates=[{"name": "foto", "text": "Veja", "file_type": "IMAGE"}])
    account.switches.change({"media_template_without_file": reading})
    done = works(run, WtsSendTemplateOperator, template="foto", to=CARLA)
    account.advance(5)
    assert len(account.received(CARLA)) == (1 if done and reading == "send" else 0)
    assert not (done and reading == "refuse")


@pytest.mark.parametrize("reading", ["refuse", "cut"])
def test_typing_for_too_long_is_refused_before_anything_is_sent(account, run, reading):
    account.switches.change({"long_typing": reading})
    assert not works(run, WtsSendTextOperator, text="Oi", to=CARLA, delay_typing=26)
    assert account.requests_of("send_text") == []


@pytest.mark.parametrize("reading", ["accept", "refuse"])
def test_an_empty_list_makes_no_request(account, run, reading):
    account.switches.change({"empty_batches": reading})
    works(run, WtsAddToSequenceOperator, sequence="Pós-venda", contact_ids=[])
    assert run(WtsCancelScheduledMessageOperator, scheduled_message_id=[]) == []
    assert {request.operation_id for request in account.requests} <= {"list_sequences"}


@pytest.mark.parametrize(("reading", "canceled"), [("refuse", False), ("skip", True)])
def test_an_unknown_id_among_the_messages_to_cancel(account, run, reading, canceled):
    account.switches.change({"batch_cancel_unknown": reading})
    message = run(WtsScheduleMessageOperator, to=CARLA, scheduling="2099-01-01T10:00:00Z", chatbot="Cobrança")
    assert works(run, WtsCancelScheduledMessageOperator, scheduled_message_id=[message["id"], SOME_ID]) == canceled
    status = account.state.scheduled_messages.find(message["id"])["status"]
    assert status == ("CANCELED" if canceled else "SCHEDULED")


# Sessions, messages, notes -------------------------------------------------------------------------------------------


@pytest.fixture
def session_id(account, run) -> str:
    return str(run(WtsSendChatbotOperator, chatbot="Falar com atendente", to=CARLA)["id"])


@pytest.mark.parametrize("reading", ["IN_PROGRESS", "kept"])
def test_a_session_is_assigned_whatever_becomes_of_its_status(account, run, session_id, reading):
    account.switches.change({"assigned_session_status": reading})
    agent = account.state.agents.by_creation()[0]
    assert run(WtsAssignSessionOperator, session_id=session_id, user=agent["email"])["userId"] == agent["userId"]


@pytest.mark.parametrize("reading", ["moves", "kept"])
def test_a_session_is_transferred_whatever_becomes_of_its_status(account, run, session_id, reading):
    account.switches.change({"transferred_session_status": reading})
    moved = run(WtsTransferSessionOperator, session_id=session_id, department="Financeiro")
    assert moved["departmentId"] == table_id(account.state.departments, "Financeiro")


@pytest.mark.parametrize(("reading", "statuses"), [("shown", ["DELETED"]), ("missing", [])])
def test_a_deleted_message_is_shown_as_such_or_cannot_be_found(account, run, session_id, reading, statuses):
    account.switches.change({"deleted_messages": reading})
    note = run(WtsCreateSessionNoteOperator, session_id=session_id, text="Nota")
    message = account.state.sessions.find(session_id).messages[0]
    run(WtsCallOperator, operation_id="delete_session_note", path={"id": note["id"]})
    run(WtsCallOperator, operation_id="delete_message", path={"id": message.id})
    assert works(run, WtsGetMessageOperator, message_id=message.id) == bool(statuses)
    shown = {one["id"]: one["status"] for one in run(WtsListMessagesOperator, session_id=session_id)}
    assert [status for identifier, status in shown.items() if identifier == message.id] == statuses
    notes = run(WtsCallOperator, operation_id="list_session_notes", path={"id": session_id}, paged=True)
    assert [one["status"] for one in notes] == statuses


@pytest.mark.parametrize("reading", ["accept", "refuse"])
@pytest.mark.parametrize("text", ["", " ", "\n\t", None])
def test_a_blank_note_is_refused_before_it_is_sent(account, run, session_id, reading, text):
    account.switches.change({"blank_notes": reading})
    step = account.state.panel_steps.by_creation()[0].id
    card = run(WtsCallOperator, operation_id="create_card", body={"stepId": step, "title": "Venda"})
    assert not works(run, WtsCreateSessionNoteOperator, session_id=session_id, text=text)
    assert not works(run, WtsCreateCardNoteOperator, card_id=card["id"], text=text)
    assert account.requests_of("create_session_note") + account.requests_of("create_card_note") == []


# Contacts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reading", "done"), [("refuse", False), ("accept", True)])
def test_a_tag_of_a_name_that_is_taken(account, run, reading, done):
    account.switches.change({"duplicate_tag": reading})
    assert works(run, WtsCallOperator, operation_id="create_tag", body={"name": "VIP"}) == done
    vip = {tag.id for tag in account.state.tags if tag["name"] == "VIP"}
    # Where two tags have the name, the operator may refuse to guess; it must not take another one.
    if works(run, WtsUpdateContactTagsOperator, phone=DIEGO, tags=["VIP"], tag_operation="ReplaceAll"):
        assert set(account.state.contacts_by_phone["5511999990002"]["tagIds"]) <= vip
    else:
        assert done


@pytest.mark.parametrize(("reading", "done"), [("refuse", False), ("accept", True)])
@pytest.mark.parametrize(
    ("switch", "change"),
    [("duplicate_phone", {"phone_number": CARLA}), ("duplicate_email", {"email_address": "carla@exemplo.com.br"})],
)
def test_an_address_that_another_contact_has(account, run, switch, change, reading, done):
    account.switches.change({switch: reading})
    diego = account.state.contacts_by_phone["5511999990002"]
    assert works(run, WtsUpdateContactOperator, contact_id=diego.id, **change) == done
    assert (CARLA in diego.values.values() or "carla@exemplo.com.br" in diego.values.values()) == done


@pytest.mark.parametrize(("reading", "members"), [("create", 2), ("skip", 1), ("refuse", 0)])
def test_an_unknown_number_among_those_for_a_portfolio(account, run, reading, members):
    account.switches.change({"portfolio_unknown_phone": reading})
    done = works(
        run,
        WtsCallOperator,
        operation_id="add_portfolio_contacts_batch",
        path={"id": table_id(account.state.portfolios)},
        body={"phoneNumbers": [CARLA, "+55|11977776666"]},
    )
    assert done == bool(members)
    assert len(account.state.portfolio_contacts) == members


# Every reading there is ----------------------------------------------------------------------------------------------


def other_readings() -> Iterator[tuple[str, Any]]:
    kinds = typing.get_type_hints(Switches)
    for field in dataclasses.fields(Switches):
        readings = (True, False) if kinds[field.name] is bool else typing.get_args(kinds[field.name])
        if typing.get_origin(kinds[field.name]) is not tuple:
            yield from ((field.name, one) for one in readings if one != field.default)


@pytest.fixture(scope="module")
def shared_emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.mark.parametrize(("switch", "reading"), list(other_readings()))
def test_the_usual_tasks_end_well_or_with_a_readable_error(
    shared_emulator, context, ledger, monkeypatch, switch, reading
):
    # An account of its own: the tests together are more than the client asks of one in five minutes.
    shared_emulator.service.token = f"pn_{switch}_{reading}"
    connection = {"conn_type": "wts", "host": shared_emulator.url, "password": shared_emulator.token}
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))
    shared_emulator.reset()
    shared_emulator.switches.change({"queue_seconds": 0.0, "whatsapp_window": "off", switch: reading})
    tasks: list[tuple[Any, dict[str, Any]]] = [
        (WtsSendChatbotOperator, {"chatbot": "Falar com atendente", "to": CARLA, "session_metadata": {"a": "1"}}),
        (WtsSendChatbotOperator, {"chatbot": "Cobrança", "to": CARLA, "skip_if_in_progress": True}),
        (WtsSendTextOperator, {"text": "Oi", "to": DIEGO}),
        (WtsSendTextOperator, {"text": "Oi", "to": DIEGO, "user": "nobody@exemplo.com.br"}),
        (WtsListSessionsOperator, {"created_after": "2020-01-01T00:00:00Z", "include_details": ["ContactDetails"]}),
        (WtsListContactsOperator, {"tags": ["VIP"]}),
        (WtsUpdateContactTagsOperator, {"phone": CARLA, "tags": ["Newsletter"], "tag_operation": "InsertIfNotExists"}),
        (WtsGetContactOperator, {"phone": "+55|11900000000"}),
        (WtsListCardsOperator, {"panel": "Funil de vendas"}),
        (WtsScheduleMessageOperator, {"to": CARLA, "scheduling": "2099-01-01T10:00:00Z", "chatbot": "Cobrança"}),
    ]
    for number, (operator_class, parameters) in enumerate(tasks):
        context["ti"].task_id = f"task{number}"
        # What is no error of Airflow's kind escapes, and fails the test.
        with contextlib.suppress(AirflowException):
            operator_class(task_id=f"task{number}", **parameters).execute(context)
    shared_emulator.advance(5)
    assert len(shared_emulator.received(CARLA)) <= 2
    assert len(shared_emulator.received(DIEGO)) <= 2
    assert shared_emulator.received(CARLA) or reading == "refuse"
    assert shared_emulator.violations == []
