"""The sequence operators against the emulator: what they send, what they return, and what they refuse."""

from __future__ import annotations

import inspect
import json
from contextlib import nullcontext
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from operator_runs import run, sent

from airflow_provider_wts.api.addresses import readable
from airflow_provider_wts.api.contacts import get_contact_by_phone
from airflow_provider_wts.api.errors import WtsError
from airflow_provider_wts.api.sequences import add_sequence_contacts_batch
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.operators.sequence import (
    WtsAddToSequenceOperator,
    WtsListSequenceContactsOperator,
    WtsListSequencesOperator,
    WtsRemoveFromSequenceOperator,
)
from airflow_provider_wts.sending.once import Once

SOME_ID = "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"
CARLA = "+55|11999990001"
DIEGO = "+55|11999990002"
NUMBERS = [f"+55|11977770{number:03}" for number in range(250)]


def id_of(phone: str) -> str:
    return str(WtsHook().run(get_contact_by_phone(phone))["id"])


def members(emulator) -> int:
    return len(emulator.state.memberships)


def add(*phones: str) -> None:
    hook = WtsHook()
    hook.run(add_sequence_contacts_batch(hook.names.sequence("Pós-venda"), phone_numbers=phones))


# The rows of the table of actions -------------------------------------------------------------------------------------


def test_action_23_sequence_get_all(wts_connection, context):
    found = run(WtsListSequencesOperator, context, include_details="ContactExecutingCount")

    assert {sequence["name"] for sequence in found} == {"Pós-venda", "Reativação"}
    assert ("IncludeDetails", "ContactExecutingCount") in sent(wts_connection, "list_sequences").query


def test_action_24_sequence_get_contacts(wts_connection, context):
    add(CARLA, DIEGO)

    found = run(
        WtsListSequenceContactsOperator,
        context,
        sequence="pós-venda",
        phone="11 99999-0001",
        include_details="ContactDetails",
    )

    assert [member["contactDetails"]["name"] for member in found] == ["Carla Dias"]
    assert ("PhoneNumber", CARLA) in sent(wts_connection, "list_sequence_contacts").query


def test_action_25_sequence_add_contact(wts_connection, context):
    member = run(WtsAddToSequenceOperator, context, sequence="Pós-venda", phone="11 99999-0001")

    assert member["contactName"] == "Carla Dias"
    assert sent(wts_connection, "add_sequence_contact").body == {"phoneNumber": CARLA}


def test_action_26_sequence_add_contacts(wts_connection, context):
    answer = run(WtsAddToSequenceOperator, context, sequence="Pós-venda", phones=[CARLA, DIEGO])

    assert answer == {"contacts": 2, "calls": 1}
    assert members(wts_connection) == 2
    assert sent(wts_connection, "add_sequence_contacts_batch").body == {"phoneNumbers": [CARLA, DIEGO]}


def test_action_27_sequence_remove_contact(wts_connection, context):
    add(CARLA)
    carla = id_of(CARLA)

    assert run(WtsRemoveFromSequenceOperator, context, sequence="Pós-venda", contact_id=carla) is None

    assert members(wts_connection) == 0
    assert sent(wts_connection, "remove_sequence_contact").body == {"contactId": carla}


def test_action_28_sequence_remove_contacts(wts_connection, context):
    add(CARLA, DIEGO)
    ids = [id_of(CARLA), id_of(DIEGO)]

    answer = run(WtsRemoveFromSequenceOperator, context, sequence="Pós-venda", contact_ids=ids)

    assert answer == {"contacts": 2, "calls": 1}
    assert members(wts_connection) == 0
    assert sent(wts_connection, "remove_sequence_contacts_batch").body == {"contactIds": ids}


# What else they do ----------------------------------------------------------------------------------------------------


def test_many_contacts_go_out_100_at_a_time(wts_connection, context):
    answer = run(WtsAddToSequenceOperator, context, sequence="Pós-venda", phones=NUMBERS)

    assert answer == {"contacts": 250, "calls": 3}
    assert members(wts_connection) == 250


@pytest.mark.parametrize("answer", [{"items": [{"id": "m1"}], "totalItems": 1}, {"items": None}, {}, None], ids=str)
def test_contacts_that_the_response_does_not_show_are_named(wts_connection, context, monkeypatch, caplog, answer):
    monkeypatch.setattr(WtsHook, "run", lambda hook, call, **more: answer)

    run(WtsAddToSequenceOperator, context, sequence=SOME_ID, phones=[CARLA, DIEGO])
    assert "of 2 contacts" in caplog.text
    assert readable(CARLA) in caplog.text
    assert readable(DIEGO) in caplog.text


def test_a_response_that_shows_one_page_of_all_contacts_is_complete(wts_connection, context, caplog):
    run(WtsAddToSequenceOperator, context, sequence="Pós-venda", phones=NUMBERS[:30])
    assert "Check these" not in caplog.text


def test_ids_and_numbers_go_out_apart(wts_connection, context):
    ids = [id_of(CARLA)]

    run(WtsAddToSequenceOperator, context, sequence="Pós-venda", contact_ids=ids, phones=[DIEGO])

    bodies = [request.body for request in wts_connection.requests_of("add_sequence_contacts_batch")]
    assert bodies == [{"contactIds": ids}, {"phoneNumbers": [DIEGO]}]


def test_a_contact_that_stands_there_twice_goes_out_once(wts_connection, context):
    run(WtsAddToSequenceOperator, context, sequence="Pós-venda", phones=[CARLA, "11 99999-0001"])

    assert sent(wts_connection, "add_sequence_contacts_batch").body == {"phoneNumbers": [CARLA]}


def test_with_and_without_the_ninth_digit_a_number_is_added_once(wts_connection, context):
    run(WtsAddToSequenceOperator, context, sequence="Pós-venda", phones=["+55 11 99876-5432", "+55 11 9876-5432"])

    assert sent(wts_connection, "add_sequence_contacts_batch").body == {"phoneNumbers": ["+55|11998765432"]}


def test_with_and_without_the_ninth_digit_a_number_is_removed(wts_connection, context):
    phones = ["+55|11998765432", "+55|1198765432"]
    add(*phones)

    run(WtsRemoveFromSequenceOperator, context, sequence="Pós-venda", phones=phones)

    assert sent(wts_connection, "remove_sequence_contacts_batch").body == {"phoneNumbers": phones}


def test_a_bare_number_where_a_list_is_due_is_one_number(wts_connection, context):
    run(WtsAddToSequenceOperator, context, sequence="Pós-venda", phones="11 99999-0001")

    assert sent(wts_connection, "add_sequence_contacts_batch").body == {"phoneNumbers": [CARLA]}


def test_an_empty_list_adds_nobody(wts_connection, context):
    answer = run(WtsAddToSequenceOperator, context, sequence="Pós-venda", phones=[])

    assert answer == {"contacts": 0, "calls": 0}
    assert wts_connection.requests_of("add_sequence_contacts_batch") == []


def test_a_sequence_by_id_costs_no_call(wts_connection, context):
    sequence_id = WtsHook().names.sequence("Pós-venda")
    before = len(wts_connection.requests_of("list_sequences"))

    run(WtsAddToSequenceOperator, context, sequence=sequence_id, phone=CARLA)

    assert len(wts_connection.requests_of("list_sequences")) == before


# Over all tries of a task ---------------------------------------------------------------------------------------------


def added(emulator) -> list[str]:
    """Return the numbers that were added, each as often as it was, also where the answer was lost."""
    requests = emulator.requests_of("add_sequence_contacts_batch")
    return [phone for request in requests if request.status != 400 for phone in request.body["phoneNumbers"]]


def next_try(context: Any, *, cleared: bool = False) -> Any:
    task_instance = context["ti"]
    task_instance.try_number += 1
    if cleared:
        task_instance.max_tries = task_instance.try_number - 1
    return context


def add_until_a_refusal(emulator, context: Any, phones: list[str], *, of_call: int) -> None:
    emulator.faults.add("status", status=400, operation_id="add_sequence_contacts_batch", nth=of_call)
    with pytest.raises(AirflowFailException, match="HTTP 400"):
        run(WtsAddToSequenceOperator, context, sequence="Pós-venda", phones=phones)


def add_until_an_answer_is_lost(emulator, context: Any, phones: list[str], *, of_call: int = 1, **more: Any) -> str:
    emulator.faults.add("reset", when="after", operation_id="add_sequence_contacts_batch", nth=of_call)
    with pytest.raises(AirflowFailException, match="no confirmation") as caught:
        run(WtsAddToSequenceOperator, context, sequence="Pós-venda", phones=phones, **more)
    return str(caught.value)


@pytest.mark.parametrize(
    "later",
    [["+55|11955554444", *NUMBERS], NUMBERS[::-1], [number.replace("|119", "|11") for number in NUMBERS]],
    ids=["one more at its head", "in another order", "in another spelling"],
)
def test_a_list_that_changes_between_two_tries_adds_nobody_twice(wts_connection, context, ledger, later):
    add_until_a_refusal(wts_connection, context, NUMBERS, of_call=2)

    run(WtsAddToSequenceOperator, next_try(context), sequence="Pós-venda", phones=later)

    assert members(wts_connection) == len(later) == len(added(wts_connection))


def test_a_list_that_has_grown_after_the_last_call_adds_the_new_ones(wts_connection, context, ledger):
    run(WtsAddToSequenceOperator, context, sequence="Pós-venda", phones=[CARLA])

    answer = run(WtsAddToSequenceOperator, next_try(context), sequence="Pós-venda", phones=[DIEGO, CARLA])

    assert answer == {"contacts": 2, "calls": 2}
    assert added(wts_connection) == [CARLA, DIEGO]


def test_a_list_that_has_shrunk_to_what_is_done_finishes_the_task(wts_connection, context, ledger):
    add_until_a_refusal(wts_connection, context, NUMBERS, of_call=2)
    run(WtsAddToSequenceOperator, next_try(context), sequence="Pós-venda", phones=NUMBERS[:10])

    run(WtsAddToSequenceOperator, next_try(context, cleared=True), sequence="Pós-venda", phones=NUMBERS[:10])

    assert added(wts_connection) == [*NUMBERS[:100], *NUMBERS[:10]]


def test_a_finished_task_that_is_cleared_adds_everybody_anew(wts_connection, context, ledger):
    run(WtsAddToSequenceOperator, context, sequence="Pós-venda", phones=[CARLA, DIEGO])

    run(WtsAddToSequenceOperator, next_try(context, cleared=True), sequence="Pós-venda", phones=[DIEGO, CARLA])

    assert added(wts_connection) == [CARLA, DIEGO, DIEGO, CARLA]


def test_contacts_in_doubt_are_not_added_again_where_the_list_has_changed(wts_connection, context, ledger):
    add_until_an_answer_is_lost(wts_connection, context, [CARLA])

    with pytest.raises(AirflowFailException, match="no confirmation"):
        run(WtsAddToSequenceOperator, next_try(context), sequence="Pós-venda", phones=[DIEGO, CARLA])

    assert added(wts_connection) == [CARLA]


def test_contacts_in_doubt_go_out_again_on_demand_and_then_the_others(wts_connection, context, ledger):
    add_until_an_answer_is_lost(wts_connection, context, NUMBERS, of_call=2)

    run(WtsAddToSequenceOperator, next_try(context), sequence="Pós-venda", phones=NUMBERS[::-1], on_unknown="resend")

    assert sorted(added(wts_connection)) == sorted(NUMBERS + NUMBERS[100:200])


def test_the_variable_of_a_person_does_not_add_again_what_a_try_left_after_the_clear(
    wts_connection, context, ledger, monkeypatch
):
    words = add_until_an_answer_is_lost(wts_connection, context, [CARLA])
    monkeypatch.setenv("AIRFLOW_VAR_WTS_RESEND", words.split("add ")[-1].split()[0])
    cleared = next_try(context, cleared=True)
    add_until_an_answer_is_lost(wts_connection, cleared, [CARLA])

    with pytest.raises(AirflowFailException, match="no confirmation"):
        run(WtsAddToSequenceOperator, next_try(cleared), sequence="Pós-venda", phones=[CARLA])

    assert added(wts_connection) == [CARLA, CARLA]


def test_contacts_that_had_their_doubt_settled_are_done(wts_connection, context, ledger):
    add_until_an_answer_is_lost(wts_connection, context, [CARLA])
    run(WtsAddToSequenceOperator, next_try(context), sequence="Pós-venda", phones=[CARLA], on_unknown="resend")

    run(WtsAddToSequenceOperator, next_try(context), sequence="Pós-venda", phones=[CARLA])

    assert added(wts_connection) == [CARLA, CARLA]


def test_contacts_in_doubt_stay_in_doubt_though_others_of_their_call_were_added_again(wts_connection, context, ledger):
    add_until_an_answer_is_lost(wts_connection, context, [CARLA, DIEGO])
    run(WtsAddToSequenceOperator, next_try(context), sequence="Pós-venda", phones=[CARLA], on_unknown="resend")

    with pytest.raises(AirflowFailException, match="no confirmation") as caught:
        run(WtsAddToSequenceOperator, next_try(context), sequence="Pós-venda", phones=[CARLA, DIEGO])

    assert readable(DIEGO) in str(caught.value)
    assert readable(CARLA) not in str(caught.value)
    assert added(wts_connection) == [CARLA, DIEGO, CARLA]


def test_contacts_in_doubt_are_named(wts_connection, context, ledger):
    words = add_until_an_answer_is_lost(wts_connection, context, NUMBERS)

    assert all(readable(number) in words for number in NUMBERS[:100])
    assert not any(readable(number) in words for number in NUMBERS[100:])
    assert "The 150 contacts after them have not been added yet" in words
    # Which would leave those 150 without the sequence.
    assert "mark the task as success" not in words


def test_the_last_contacts_in_doubt_may_be_marked_as_success(wts_connection, context, ledger):
    assert "mark the task as success" in add_until_an_answer_is_lost(wts_connection, context, [CARLA])


def test_a_single_contact_in_doubt_is_named(wts_connection, context, ledger):
    wts_connection.faults.add("reset", when="after", operation_id="add_sequence_contact")

    with pytest.raises(AirflowFailException, match=r"reached \+55 11 99999-0001 in sequence"):
        run(WtsAddToSequenceOperator, context, sequence="Pós-venda", phone=CARLA)


def test_a_single_contact_is_added_once_however_its_number_is_written(wts_connection, context, ledger):
    for phone in ("+55 11 99999-0001", "+55 11 9999-0001"):
        run(WtsAddToSequenceOperator, context, sequence="Pós-venda", phone=phone)
        next_try(context)

    sent(wts_connection, "add_sequence_contact")


def test_without_a_ledger_a_later_try_names_all_and_adds_nobody(wts_connection, context):
    with pytest.raises(AirflowFailException, match="The 150 contacts after them are unconfirmed, too"):
        run(WtsAddToSequenceOperator, next_try(context), sequence="Pós-venda", phones=NUMBERS)

    assert added(wts_connection) == []


def test_a_later_try_that_lost_the_ledger_names_all_and_adds_nobody(wts_connection, context, ledger):
    add_until_a_refusal(wts_connection, context, NUMBERS, of_call=2)
    for file in ledger.rglob("*.json"):
        file.unlink()

    with pytest.raises(AirflowFailException, match="no confirmation") as caught:
        run(WtsAddToSequenceOperator, next_try(context), sequence="Pós-venda", phones=NUMBERS)

    assert all(readable(number) in str(caught.value) for number in NUMBERS[:100])
    assert "The 150 contacts after them are unconfirmed, too" in str(caught.value)
    assert "mark the task as success" not in str(caught.value)
    assert added(wts_connection) == NUMBERS[:100]


def test_the_ledger_names_no_number(wts_connection, context, ledger):
    add_until_an_answer_is_lost(wts_connection, context, [CARLA])

    text = "".join(path.read_text() for path in ledger.rglob("*.json"))
    assert "99999" not in text


def test_a_try_that_was_given_up_adds_nobody_more(wts_connection, context, ledger):
    operator = WtsAddToSequenceOperator(task_id="task", sequence="Pós-venda", phones=NUMBERS)
    perform = operator.hook.run

    def perform_and_be_given_up(call: Any, **options: Any) -> Any:
        answer = perform(call, **options)
        if call.operation_id == "add_sequence_contacts_batch":
            Once(operator.hook, next_try(context))
        return answer

    operator.hook.run = perform_and_be_given_up

    with pytest.raises(WtsError, match="Another try of this task has taken over"):
        operator.execute(context)

    assert added(wts_connection) == NUMBERS[:100]


# What is refused ------------------------------------------------------------------------------------------------------


def restrict(emulator, monkeypatch, recipients: str) -> None:
    connection = {
        "conn_type": "wts",
        "host": emulator.url,
        "password": emulator.token,
        "extra": {"allowed_recipients": recipients},
    }
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))


@pytest.mark.parametrize("named", [{"phone": DIEGO}, {"phones": [CARLA, DIEGO]}, {"contact_id": DIEGO}])
def test_a_restricted_connection_adds_nobody_else(wts_connection, context, monkeypatch, named):
    named = {name: id_of(value) if name == "contact_id" else value for name, value in named.items()}
    restrict(wts_connection, monkeypatch, "+55 11 99999-0001")

    with pytest.raises(AirflowFailException, match="allows only the recipients"):
        run(WtsAddToSequenceOperator, context, sequence="Pós-venda", **named)

    assert members(wts_connection) == 0


def test_a_restricted_connection_asks_nothing_for_a_sequence_without_a_name(wts_connection, context, monkeypatch):
    carla = id_of(CARLA)
    restrict(wts_connection, monkeypatch, "+55 11 99999-0001")
    before = len(wts_connection.requests)

    with pytest.raises(AirflowFailException, match="sequence: is empty"):
        run(WtsAddToSequenceOperator, context, sequence=" ", contact_id=carla)

    assert len(wts_connection.requests) == before


def test_a_restricted_connection_adds_whom_it_allows(wts_connection, context, monkeypatch):
    carla = id_of(CARLA)
    restrict(wts_connection, monkeypatch, "+55 11 99999-0001")

    run(WtsAddToSequenceOperator, context, sequence="Pós-venda", contact_id=carla)

    assert members(wts_connection) == 1


IMPOSSIBLE = [
    (WtsAddToSequenceOperator, {"phone": CARLA, "sequence": ""}, "sequence: is empty"),
    (WtsAddToSequenceOperator, {}, "contact_id: is empty"),
    (WtsAddToSequenceOperator, {"phone": CARLA, "phones": [CARLA]}, "contact_ids, phones: were given together with"),
    (
        WtsAddToSequenceOperator,
        {"phone": CARLA, "contact_ids": [SOME_ID]},
        "contact_ids, phones: were given together with",
    ),
    (WtsAddToSequenceOperator, {"phones": [CARLA, "12"]}, r"phones\[1\]: '12'"),
    (WtsAddToSequenceOperator, {"phones": "['1']"}, "tojson"),
    (
        WtsAddToSequenceOperator,
        {"phones": ["+5511970000000", 5511990000000, "5511980000000"]},
        r"phones\[2\]: ends in six zeros, as phones\[1\] does, so it may have lost digits",
    ),
    (WtsAddToSequenceOperator, {"contact_ids": ["7"]}, r"contact_ids\[0\]: '7' is not a valid ID"),
    (WtsRemoveFromSequenceOperator, {"contact_id": "7"}, "contact_id: '7' is not a valid ID"),
    (WtsRemoveFromSequenceOperator, {"phones": [None]}, r"phones\[0\]: must not be blank"),
    (WtsListSequenceContactsOperator, {"sequence": None}, "sequence: is empty"),
    (WtsListSequenceContactsOperator, {"phone": "x"}, "phone: 'x' is not a valid phone number"),
    (WtsListSequenceContactsOperator, {"contact_id": "x"}, "contact_id: 'x' is not a valid ID"),
    (WtsListSequenceContactsOperator, {"include_details": "Tags"}, "include_details: 'Tags' is not a valid value"),
    (WtsListSequencesOperator, {"sequence": None, "contact_id": "x"}, "contact_id: 'x' is not a valid ID"),
]


@pytest.mark.parametrize(("operator_class", "parameters", "words"), IMPOSSIBLE)
def test_impossible_input_is_refused_before_any_request(wts_connection, context, operator_class, parameters, words):
    parameters = {"sequence": "Pós-venda", **parameters}
    if operator_class is WtsListSequencesOperator:
        del parameters["sequence"]

    with pytest.raises(AirflowFailException, match=words):
        run(operator_class, context, **parameters)

    assert wts_connection.requests == []


def test_an_unknown_sequence_is_refused_with_candidates(wts_connection, context):
    with pytest.raises(AirflowFailException, match=r"There is no sequence 'Natal'.*'Pós-venda', 'Reativação'"):
        run(WtsAddToSequenceOperator, context, sequence="Natal", phone=CARLA)

    assert wts_connection.requests_of("add_sequence_contact") == []


@pytest.mark.parametrize(
    "operator_class",
    [
        WtsListSequencesOperator,
        WtsListSequenceContactsOperator,
        WtsAddToSequenceOperator,
        WtsRemoveFromSequenceOperator,
    ],
)
def test_every_parameter_is_templated(operator_class):
    parameters = {
        parameter
        for base in operator_class.__mro__
        if base.__module__.startswith("airflow_provider_wts")
        for parameter in inspect.signature(base.__init__).parameters
    } - {"self", "args", "kwargs"}
    assert parameters == set(operator_class.template_fields)


@pytest.mark.parametrize(
    ("operator_class", "operation_id"),
    [(WtsAddToSequenceOperator, "add_sequence_contact"), (WtsRemoveFromSequenceOperator, "remove_sequence_contact")],
)
def test_a_contact_is_named_by_id_and_phone_together(wts_connection, context, operator_class, operation_id):
    add(CARLA)
    carla = id_of(CARLA)

    run(operator_class, context, sequence="Pós-venda", contact_id=carla, phone="11 9999-0001")

    assert sent(wts_connection, operation_id).body == {"contactId": carla, "phoneNumber": "+55|1199990001"}


@pytest.mark.parametrize("operator_class", [WtsAddToSequenceOperator, WtsRemoveFromSequenceOperator])
def test_an_id_and_a_phone_of_two_people_are_refused(wts_connection, context, operator_class):
    with pytest.raises(AirflowFailException, match="phone: is not the number of contact"):
        run(operator_class, context, sequence="Pós-venda", contact_id=id_of(CARLA), phone=DIEGO)

    assert not wts_connection.requests_of("add_sequence_contact")
    assert not wts_connection.requests_of("remove_sequence_contact")


@pytest.mark.parametrize("operator_class", [WtsAddToSequenceOperator, WtsRemoveFromSequenceOperator])
def test_an_id_and_a_phone_are_refused_if_the_contact_shows_no_number(wts_connection, context, operator_class):
    with wts_connection.state.lock:
        contact = wts_connection.state.add_contact({"name": "Maria", "instagram": "maria"})
    with pytest.raises(AirflowFailException, match="phone: is not the number of contact"):
        run(operator_class, context, sequence="Pós-venda", contact_id=contact.id, phone=DIEGO)


@pytest.mark.parametrize("given", [{"phone": DIEGO}, {"phones": [DIEGO, CARLA]}], ids=["one", "many"])
def test_a_backfill_adds_nobody_unless_that_is_allowed(wts_connection, context, given):
    context["dag_run"].run_type = "backfill"
    with pytest.raises(AirflowFailException, match=r"allow_backfill: this run .*Nothing was sent"):
        run(WtsAddToSequenceOperator, context, sequence="Pós-venda", **given)
    assert members(wts_connection) == 0

    run(WtsAddToSequenceOperator, context, sequence="Pós-venda", allow_backfill=True, **given)

    assert members(wts_connection) == len(given.get("phones", [DIEGO]))


# Contacts from a query ------------------------------------------------------------------------------------------------


@pytest.fixture
def customers(database, tmp_path, monkeypatch):
    """A table of customers, whom a query gives as numbers."""
    monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", f"file://{tmp_path}/ledger")
    values = ", ".join(f"({index}, 55119777700{index:02})" for index in range(5))
    database.write("CREATE TABLE TABLE_NAME (id INTEGER, phone BIGINT)", f"INSERT INTO TABLE_NAME VALUES {values}")
    return database


def test_the_contacts_of_a_query_are_added_once_though_it_changes(wts_connection, context, customers):
    query = {"recipients_sql": f"SELECT phone FROM {customers.table}", "recipients_conn_id": "wts_db"}
    assert run(WtsAddToSequenceOperator, context, sequence="Pós-venda", **query) == {"contacts": 5, "calls": 1}
    customers.write("UPDATE TABLE_NAME SET phone = phone + 100")
    context["ti"].try_number = 2
    context["ti"].max_tries = 1
    again = run(WtsAddToSequenceOperator, context, sequence="Pós-venda", on_clear="continue", **query)
    assert again == {"contacts": 5, "calls": 1}
    assert members(wts_connection) == 5
    context["ti"].try_number = 3
    context["ti"].max_tries = 2
    run(WtsAddToSequenceOperator, context, sequence="Pós-venda", **query)
    assert members(wts_connection) == 10


def test_numbers_of_a_query_that_lost_digits_are_refused(wts_connection, context, customers):
    query = {"recipients_sql": f"SELECT phone FROM {customers.table} ORDER BY id", "recipients_conn_id": "wts_db"}
    customers.write("UPDATE TABLE_NAME SET phone = 5511990000000 - id * 1000000 WHERE id > 2")
    with pytest.raises(AirflowFailException, match="row 5: phone: ends in six zeros, as recipients_sql: row 4"):
        run(WtsAddToSequenceOperator, context, sequence="Pós-venda", **query)
    assert members(wts_connection) == 0


def test_contacts_in_doubt_of_a_query_are_left_out_by_changing_it(wts_connection, context, customers, monkeypatch):
    query = {"recipients_sql": f"SELECT phone FROM {customers.table}", "recipients_conn_id": "wts_db"}
    wts_connection.faults.add("reset", when="after", operation_id="add_sequence_contacts_batch")
    with pytest.raises(AirflowFailException, match=r"no confirmation.* exclude those that are there in recipients_sql"):
        run(WtsAddToSequenceOperator, context, sequence="Pós-venda", **query)
    task = context["ti"]
    monkeypatch.setenv("AIRFLOW_VAR_WTS_RESEND", f"{task.dag_id}/{task.run_id}/{task.task_id}")
    # A retry is not the person who changed the query.
    changed = {**query, "recipients_sql": f"{query['recipients_sql']} WHERE id > 3"}
    with pytest.raises(AirflowFailException, match="no confirmation"):
        run(WtsAddToSequenceOperator, next_try(context), sequence="Pós-venda", **changed)
    wts_connection.faults.add("status", status=401, operation_id="add_sequence_contacts_batch")
    next_try(context, cleared=True)
    for problem in (pytest.raises(AirflowFailException, match="HTTP 401"), nullcontext()):
        with problem:
            run(WtsAddToSequenceOperator, context, sequence="Pós-venda", **changed)
        next_try(context)

    requests = wts_connection.requests_of("add_sequence_contacts_batch")
    assert [len(request.body["phoneNumbers"]) for request in requests] == [5, 1, 1]


def test_a_query_names_contacts_by_id_too(wts_connection, context, customers):
    query = {"recipients_sql": f"SELECT '{id_of(CARLA)}' AS contact_id", "recipients_conn_id": "wts_db"}
    assert run(WtsAddToSequenceOperator, context, sequence="Pós-venda", **query) == {"contacts": 1, "calls": 1}
    assert sent(wts_connection, "add_sequence_contacts_batch").body["contactIds"] == [id_of(CARLA)]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"recipients_sql": "SELECT 1 AS id"}, "row 1 has neither a contact_id nor a phone.*Nothing was sent"),
        ({"recipients_sql": "SELECT 12 AS phone"}, "row 1: phone: '12'"),
        ({"recipients_sql": "SELECT 1 AS phone", "phones": [CARLA]}, "given together with recipients_sql"),
    ],
)
def test_a_query_that_names_no_contacts_is_refused(wts_connection, context, customers, given, problem):
    with pytest.raises(AirflowFailException, match=problem):
        run(WtsAddToSequenceOperator, context, sequence="Pós-venda", recipients_conn_id="wts_db", **given)
    assert members(wts_connection) == 0
