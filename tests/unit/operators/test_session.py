"""The session operators against the emulator: what they send, what they return, and what they refuse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from operator_runs import run, sent

from airflow_provider_wts.api.chatbots import send_chatbot
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.operators import session as module
from airflow_provider_wts.operators.base import WtsOperator
from airflow_provider_wts.operators.session import (
    WtsAssignSessionOperator,
    WtsChangeSessionStatusOperator,
    WtsCompleteSessionOperator,
    WtsCreateSessionNoteOperator,
    WtsGetSessionOperator,
    WtsListSessionsOperator,
    WtsTransferSessionOperator,
    WtsUpdateSessionOperator,
)

SOME_ID = "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"
CARLA = "+55|11999990001"
DIEGO = "+55|11999990002"


def start(to: str = CARLA) -> str:
    hook = WtsHook()
    return str(hook.run(send_chatbot(bot_key=hook.names.chatbot("Cobrança"), to=to))["id"])


@pytest.fixture
def session_id(wts_connection):
    return start()


# The rows of the table of actions -------------------------------------------------------------------------------------


def test_action_16_session_get_by_id(wts_connection, context, session_id):
    session = run(WtsGetSessionOperator, context, session_id=session_id, include_details=["contactdetails"])

    assert session["id"] == session_id
    assert session["contactDetails"]["phonenumber"] == CARLA
    assert sent(wts_connection, "get_session").query == [("includeDetails", "ContactDetails")]
    assert context["ti"].xcoms == {"session_url": session["previewUrl"]}


def test_action_17_session_get_all(wts_connection, context, session_id):
    other = start(DIEGO)
    run(WtsCompleteSessionOperator, context, session_id=other)

    found = run(
        WtsListSessionsOperator,
        context,
        status=["IN_PROGRESS", "started", "PENDING"],
        created_after=datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=-3))),
        order_by="createdAt",
        order_direction="DESCENDING",
    )

    assert [session["id"] for session in found] == [session_id]
    query = dict(sent(wts_connection, "list_sessions").query)
    assert query["CreatedAt.After"] == "2020-01-01T03:00:00Z"


def test_action_18_session_change_status(wts_connection, context, session_id):
    session = run(
        WtsChangeSessionStatusOperator,
        context,
        session_id=session_id,
        new_status="pending",
        stop_bot_in_execution=False,
    )

    assert session["status"] == "PENDING"
    request = sent(wts_connection, "change_session_status")
    assert request.body == {"newStatus": "PENDING", "options": {"stopBotInExecution": False}}


def test_action_19_session_complete(wts_connection, context, session_id):
    session = run(WtsCompleteSessionOperator, context, session_id=session_id, reactivate_on_new_message="true")

    assert session["status"] == "COMPLETED"
    assert sent(wts_connection, "complete_session").body == {"reactivateOnNewMessage": True}


def test_action_20_session_transfer_to_a_department(wts_connection, context, session_id):
    session = run(WtsTransferSessionOperator, context, session_id=session_id, department="vendas")

    department = WtsHook().names.department("Vendas")
    assert session["departmentId"] == department
    request = sent(wts_connection, "transfer_session")
    assert request.body == {"type": "DEPARTMENT", "newDepartmentId": department}


def test_action_20_session_transfer_to_a_user(wts_connection, context, session_id):
    session = run(
        WtsTransferSessionOperator, context, session_id=session_id, user="Ana Souza", stop_bot_in_execution=True
    )

    user = WtsHook().names.user("Ana Souza")
    assert session["userId"] == user
    request = sent(wts_connection, "transfer_session")
    assert request.body == {"type": "USER", "newUserId": user, "options": {"stopBotInExecution": True}}


def test_action_21_session_transfer_to_user(wts_connection, context, session_id):
    session = run(WtsAssignSessionOperator, context, session_id=session_id, user="ana@exemplo.com.br")

    user = WtsHook().names.user("Ana Souza")
    assert session["userId"] == user
    assert sent(wts_connection, "assign_session_user").body == {"userId": user}


def test_action_22_session_update(wts_connection, context, session_id):
    session = run(
        WtsUpdateSessionOperator,
        context,
        session_id=session_id,
        status="COMPLETED",
        end_at=datetime(2026, 3, 1, 9, 30, tzinfo=timezone(timedelta(hours=-3))),
        number="2026-118",
        department="Financeiro",
        user="Bruno Lima",
        classification={"category": "won", "description": "Pago", "amount": "149.90"},
        metadata='{"fatura": 118, "pago": true}',
    )

    body = sent(wts_connection, "update_session").body
    assert body == {
        "fields": ["Status", "EndAt", "Number", "DepartmentId", "UserId", "Classification", "Metadata"],
        "status": "COMPLETED",
        "endAt": "2026-03-01T12:30:00Z",
        "number": "2026-118",
        "departmentId": WtsHook().names.department("Financeiro"),
        "userId": WtsHook().names.user("Bruno Lima"),
        "classification": {"category": "WON", "description": "Pago", "amount": 149.9},
        "metadata": {"fatura": 118, "pago": True},
    }
    assert session["status"] == "COMPLETED"
    assert session["metadata"]["fatura"] == 118


def test_beyond_the_39_session_create_note(wts_connection, context, session_id):
    note = run(
        WtsCreateSessionNoteOperator,
        context,
        session_id=session_id,
        text="Cliente pediu boleto",
        file_urls="https://example.com/boleto.pdf",
    )

    request = sent(wts_connection, "create_session_note")
    assert request.body == {"text": "Cliente pediu boleto", "filesUrls": ["https://example.com/boleto.pdf"]}
    assert note["type"] == "NOTE"


# What has to go out as it is ------------------------------------------------------------------------------------------


def test_defect_false_zero_and_empty_values_are_sent(wts_connection, context, session_id):
    run(
        WtsUpdateSessionOperator,
        context,
        session_id=session_id,
        number="",
        classification={"amount": 0},
        metadata={},
        stop_bot_in_execution=False,
    )

    assert sent(wts_connection, "update_session").body == {
        "fields": ["Number", "Classification", "Metadata"],
        "number": "",
        "classification": {"amount": 0},
        "metadata": {},
        "options": {"stopBotInExecution": False},
    }


def test_none_clears(wts_connection, context, session_id):
    run(WtsTransferSessionOperator, context, session_id=session_id, user="Ana Souza")
    session = run(
        WtsUpdateSessionOperator, context, session_id=session_id, user=None, department=None, number=None, end_at=None
    )

    assert sent(wts_connection, "update_session").body == {
        "fields": ["EndAt", "Number", "DepartmentId", "UserId"],
        "endAt": None,
        "number": None,
        "departmentId": None,
        "userId": None,
    }
    assert session["userId"] is None
    assert session["departmentId"] is None


def test_a_bot_can_be_stopped_without_changing_anything_else(wts_connection, context, session_id):
    run(WtsUpdateSessionOperator, context, session_id=session_id, stop_bot_in_execution=True)

    assert sent(wts_connection, "update_session").body == {"fields": [], "options": {"stopBotInExecution": True}}


def test_completing_without_options_sends_an_empty_object(wts_connection, context, session_id):
    run(WtsCompleteSessionOperator, context, session_id=session_id, stop_bot_in_execution=None)

    assert sent(wts_connection, "complete_session").raw_body == b"{}"


def test_ids_cost_no_lookup(wts_connection, context, session_id):
    user = WtsHook().names.user("Ana Souza")
    before = len(wts_connection.requests)

    run(WtsAssignSessionOperator, context, session_id=session_id, user=user)

    assert len(wts_connection.requests) == before + 1


def test_all_filters_of_a_list_are_sent(wts_connection, context, session_id):
    names = WtsHook().names
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    run(
        WtsListSessionsOperator,
        context,
        status="COMPLETED",
        department="Vendas",
        user="Ana Souza",
        contact_id=SOME_ID,
        tags=["VIP", names.tag("Newsletter")],
        channel_ids=[SOME_ID],
        ended_after=moment,
        ended_before="2026-02-01T00:00:00-03:00",
        active_after=moment,
        active_before=moment,
        last_interaction_after=moment,
        last_interaction_before=moment,
        session_type="individual",
        include_details=["AgentDetails", "ChannelDetails"],
        updated_before=moment,
    )

    assert sorted(sent(wts_connection, "list_sessions").query) == sorted(
        [
            ("Status", "COMPLETED"),
            ("DepartmentId", names.department("Vendas")),
            ("UserId", names.user("Ana Souza")),
            ("ContactId", SOME_ID),
            ("TagsId", names.tag("VIP")),
            ("TagsId", names.tag("Newsletter")),
            ("ChannelsId", SOME_ID),
            ("EndAt.After", "2026-01-01T00:00:00Z"),
            ("EndAt.Before", "2026-02-01T03:00:00Z"),
            ("ActiveAt.After", "2026-01-01T00:00:00Z"),
            ("ActiveAt.Before", "2026-01-01T00:00:00Z"),
            ("LastInteractionAt.After", "2026-01-01T00:00:00Z"),
            ("LastInteractionAt.Before", "2026-01-01T00:00:00Z"),
            ("Type", "INDIVIDUAL"),
            ("IncludeDetails", "AgentDetails"),
            ("IncludeDetails", "ChannelDetails"),
            ("UpdatedAt.Before", "2026-01-01T00:00:00Z"),
            ("PageNumber", "1"),
            ("PageSize", "100"),
        ]
    )


# What is refused before any request -----------------------------------------------------------------------------------

IMPOSSIBLE: list[tuple[type[WtsOperator], dict[str, Any], str]] = [
    (WtsGetSessionOperator, {"session_id": ""}, "session_id: is empty"),
    (WtsGetSessionOperator, {"session_id": None}, "session_id: is empty"),
    (WtsGetSessionOperator, {"session_id": "None"}, "session_id: is empty"),
    (WtsGetSessionOperator, {"session_id": "12"}, "session_id: '12' is not a valid ID"),
    (WtsGetSessionOperator, {"session_id": SOME_ID, "include_details": ["Contact"]}, "include_details: 'Contact'"),
    (WtsListSessionsOperator, {"status": "OPEN"}, "status: 'OPEN' is not a valid value"),
    (WtsListSessionsOperator, {"status": []}, "status: is an empty list"),
    (WtsListSessionsOperator, {"tags": []}, "tags: is an empty list"),
    (WtsListSessionsOperator, {"contact_id": "Carla"}, "contact_id: 'Carla' is not a valid ID"),
    (WtsListSessionsOperator, {"channel_ids": ["WhatsApp"]}, "channel_ids[0]: 'WhatsApp' is not a valid ID"),
    (WtsListSessionsOperator, {"session_type": "BOTH"}, "session_type: 'BOTH' is not a valid value"),
    (WtsListSessionsOperator, {"ended_after": datetime(2026, 1, 1)}, "ended_after: 2026-01-01T00:00:00 has no time"),
    (WtsListSessionsOperator, {"updated_after": "yesterday"}, "updated_after: 'yesterday' is no"),
    (
        WtsChangeSessionStatusOperator,
        {"session_id": SOME_ID, "new_status": "DONE"},
        "new_status: 'DONE' is not a valid value",
    ),
    (WtsChangeSessionStatusOperator, {"session_id": SOME_ID, "new_status": None}, "new_status: is empty"),
    (
        WtsCompleteSessionOperator,
        {"session_id": SOME_ID, "reactivate_on_new_message": "maybe"},
        "reactivate_on_new_message: 'maybe' must be",
    ),
    (WtsTransferSessionOperator, {"session_id": SOME_ID}, "department, user: both are empty"),
    (WtsTransferSessionOperator, {"session_id": SOME_ID, "department": None, "user": " "}, "both are empty"),
    (WtsTransferSessionOperator, {"session_id": SOME_ID, "department": ["Vendas"]}, "department: must be text"),
    (WtsTransferSessionOperator, {"session_id": "x", "user": "Ana Souza"}, "session_id: 'x' is not a valid ID"),
    (WtsAssignSessionOperator, {"session_id": SOME_ID, "user": ""}, "user: is empty"),
    (WtsAssignSessionOperator, {"session_id": SOME_ID, "user": None}, "user: is empty"),
    (WtsUpdateSessionOperator, {"session_id": SOME_ID}, "There is nothing to change"),
    (
        WtsUpdateSessionOperator,
        {"session_id": SOME_ID, "stop_bot_in_execution": False},
        "There is nothing to change",
    ),
    (WtsUpdateSessionOperator, {"session_id": SOME_ID, "end_at": datetime(2026, 1, 1)}, "end_at: 2026-01-01"),
    (WtsUpdateSessionOperator, {"session_id": SOME_ID, "metadata": "[1]"}, "metadata: must be an object"),
    (
        WtsUpdateSessionOperator,
        {"session_id": SOME_ID, "classification": None},
        "classification: the API does not accept null",
    ),
    (WtsUpdateSessionOperator, {"session_id": SOME_ID, "fields": ["UserId"]}, "fields: 'UserId' has no value"),
    (WtsUpdateSessionOperator, {"session_id": SOME_ID, "fields": ["User"]}, "fields: 'User' is not a valid value"),
    (WtsUpdateSessionOperator, {"session_id": SOME_ID, "fields": []}, "nothing to change"),
    (WtsUpdateSessionOperator, {"session_id": SOME_ID, "classification": {}}, "classification: is empty"),
    (
        WtsUpdateSessionOperator,
        {"session_id": SOME_ID, "classification": {"name": "x"}},
        "classification: 'name' is not one of its parts",
    ),
    (
        WtsUpdateSessionOperator,
        {"session_id": SOME_ID, "classification": {"amount": "149,90"}},
        "classification.amount: '149,90' is not a number",
    ),
    (WtsCreateSessionNoteOperator, {"session_id": SOME_ID}, "text: is empty, and there is no file"),
    (WtsCreateSessionNoteOperator, {"session_id": SOME_ID, "text": " ", "file_urls": []}, "text: is empty"),
    (WtsCreateSessionNoteOperator, {"session_id": SOME_ID, "file_urls": "boleto.pdf"}, "file_urls[0]: "),
    (WtsCreateSessionNoteOperator, {"session_id": SOME_ID, "file_ids": ["7"]}, "file_ids[0]: '7' is not a valid ID"),
]


@pytest.mark.parametrize(("operator_class", "parameters", "words"), IMPOSSIBLE)
def test_impossible_input_is_refused_before_any_request(wts_connection, context, operator_class, parameters, words):
    with pytest.raises(AirflowFailException) as caught:
        run(operator_class, context, **parameters)

    assert words in str(caught.value)
    assert wts_connection.requests == []


def test_an_unknown_name_lists_the_candidates_and_changes_nothing(wts_connection, context, session_id):
    with pytest.raises(AirflowFailException, match=r"no department 'Venda'.*'Vendas'"):
        run(WtsTransferSessionOperator, context, session_id=session_id, department="Venda")

    assert wts_connection.requests_of("transfer_session") == []


def test_a_session_that_does_not_exist_fails_at_once(wts_connection, context):
    with pytest.raises(AirflowFailException):
        run(WtsGetSessionOperator, context, session_id=SOME_ID)

    assert len(wts_connection.requests) == 1


@pytest.mark.parametrize("name", module.__all__)
def test_every_parameter_is_templated_and_mapping_keeps_the_connection(name):
    operator_class = getattr(module, name)
    required = {
        "session_id": SOME_ID,
        "new_status": "PENDING",
        "user": "Ana Souza",
        "output_path": "/tmp/sessions",
    }
    accepted = {key: value for key, value in required.items() if key in operator_class.template_fields}
    operator = operator_class(task_id="task", **accepted)

    own = {key for key in vars(operator) if key in _parameters(operator_class)}
    assert own == set(operator_class.template_fields)
    assert set(operator_class.template_fields_renderers) <= set(operator_class.template_fields)


def _parameters(operator_class: type[WtsOperator]) -> set[str]:
    import inspect

    classes = [one for one in operator_class.__mro__ if issubclass(one, WtsOperator)]
    found: set[str] = set()
    for one in classes:
        if "__init__" in vars(one):
            found |= set(inspect.signature(vars(one)["__init__"]).parameters)
    return found - {"self", "kwargs"}


# What the platform's n8n node can express ----------------------------------------------------------------------------


def test_a_session_goes_to_a_user_within_a_department(wts_connection, context, session_id):
    session = run(WtsTransferSessionOperator, context, session_id=session_id, user="Ana Souza", department="Vendas")

    names = WtsHook().names
    user, department = names.user("Ana Souza"), names.department("Vendas")
    assert sent(wts_connection, "transfer_session").body == {
        "type": "USER",
        "newUserId": user,
        "newDepartmentId": department,
    }
    assert (session["userId"], session["departmentId"]) == (user, department)


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({"fields": ["Autocomplete", "ReactivateDisabled"]}, ["Autocomplete", "ReactivateDisabled"]),
        ({"fields": "autocomplete"}, ["Autocomplete"]),
        ({"fields": '["reactivate_disabled"]', "number": "7"}, ["Number", "ReactivateDisabled"]),
        ({"fields": ["Number", "Autocomplete"], "number": "7"}, ["Number", "Autocomplete"]),
        ({"fields": [], "number": "7"}, ["Number"]),
    ],
)
def test_an_update_names_fields_that_have_no_value(wts_connection, context, session_id, given, fields):
    run(WtsUpdateSessionOperator, context, session_id=session_id, **given)

    assert sent(wts_connection, "update_session").body["fields"] == fields


def test_metadata_is_taken_as_keys_and_values(wts_connection, context, session_id):
    pairs = [{"key": "invoice", "value": "2026-118"}, {"key": "amount", "value": 149.9}]
    run(WtsUpdateSessionOperator, context, session_id=session_id, metadata=pairs)

    assert sent(wts_connection, "update_session").body["metadata"] == {"invoice": "2026-118", "amount": 149.9}
