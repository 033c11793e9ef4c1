"""The panel and card operators against the emulator: what they send, what they return, and what they refuse."""

from __future__ import annotations

import inspect
from datetime import datetime, timedelta, timezone
from typing import Any
from unittest import mock

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from operator_runs import run, sent

from airflow_provider_wts.api import contacts, panels
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.operators import panel as module
from airflow_provider_wts.operators.base import WtsOperator
from airflow_provider_wts.operators.panel import (
    WtsCreateCardNoteOperator,
    WtsCreateCardOperator,
    WtsDeleteCardNoteOperator,
    WtsDuplicateCardOperator,
    WtsGetCardOperator,
    WtsGetPanelOperator,
    WtsListCardNotesOperator,
    WtsListCardsOperator,
    WtsListPanelsOperator,
    WtsUpdateCardOperator,
)

SOME_ID = "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"
CARLA = "+55|11999990001"
PANEL = "Funil de vendas"


@pytest.fixture
def names(wts_connection):
    return WtsHook().names


@pytest.fixture
def panel_id(names) -> str:
    return names.panels.panel(PANEL)


@pytest.fixture
def step_id(names, panel_id) -> str:
    return names.panels.step("Novo", panel_id)


@pytest.fixture
def card_id(wts_connection, step_id) -> str:
    hook = WtsHook()
    card = hook.run(
        panels.create_card(step_id=step_id, title="Proposta 1", monetary_amount=100, description="Um texto")
    )
    return card["id"]


# The rows of the table of actions -------------------------------------------------------------------------------------


def test_action_29_panel_get_all(wts_connection, context):
    found = run(WtsListPanelsOperator, context, panel_type="sales", title="Funil", include_details=["Steps"])

    assert [panel["title"] for panel in found] == [PANEL]
    assert [step["title"] for step in found[0]["steps"]] == ["Novo", "Em negociação", "Fechado"]
    query = sent(wts_connection, "list_panels").query
    assert ("Type", "SALES") in query
    assert ("Title", "Funil") in query
    assert ("IncludeDetails", "Steps") in query


@pytest.mark.parametrize("text", ["Funil de vendas", "funil de VENDAS", "VENDAS"])
def test_action_30_panel_get_by_id(wts_connection, context, panel_id, text):
    by_name = run(WtsGetPanelOperator, context, panel=text, include_details=["Steps", "StepsFields"])
    by_id = run(WtsGetPanelOperator, context, panel=panel_id)

    assert by_name["id"] == by_id["id"] == panel_id
    assert by_name["steps"][0]["fields"]


def test_action_31_panel_get_all_cards(wts_connection, context, names, panel_id, step_id, card_id):
    hook = WtsHook()
    other = names.panels.step("Fechado", panel_id)
    hook.run(panels.create_card(step_id=other, title="Proposta 2"))

    found = run(
        WtsListCardsOperator,
        context,
        panel=PANEL,
        step="novo",
        statuses="open",
        text_filter="Proposta",
        include_details=["StepTitle"],
        created_after=datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=-3))),
    )

    assert [card["id"] for card in found] == [card_id]
    assert found[0]["stepTitle"] == "Novo"
    query = dict(sent(wts_connection, "list_cards").query)
    assert query["PanelId"] == panel_id
    assert query["StepId"] == step_id
    assert query["Statuses"] == "OPEN"
    assert query["CreatedAt.After"] == "2020-01-01T03:00:00Z"


def test_cards_are_found_by_contact_phone_and_user(wts_connection, context, names, step_id):
    card = run(
        WtsCreateCardOperator,
        context,
        step=step_id,
        title="Proposta",
        contacts="(11) 99999-0001",
        responsible_user="Ana Souza",
    )

    found = run(
        WtsListCardsOperator, context, panel=PANEL, contact="+55 11 99999-0001", responsible_user="ana@exemplo.com.br"
    )

    assert [one["id"] for one in found] == [card["id"]]
    query = dict(sent(wts_connection, "list_cards").query)
    assert query["ContactId"] == card["contactIds"][0]
    assert query["ResponsibleUserId"] == names.user("Ana Souza")


def test_action_32_panel_get_card(wts_connection, context, card_id):
    card = run(WtsGetCardOperator, context, card_id=card_id, include_details=["PanelTitle", "CustomFields"])

    assert card["id"] == card_id
    assert card["panelTitle"] == PANEL


def test_a_tag_and_a_contact_given_by_name_and_by_id_go_out_once(wts_connection, context, names, panel_id, step_id):
    contact = WtsHook().run(contacts.get_contact_by_phone(CARLA))["id"]
    tag = names.panels.tag("Urgente", panel_id)
    run(
        WtsCreateCardOperator,
        context,
        panel=PANEL,
        step=step_id,
        title="Proposta",
        tags=["Urgente", tag],
        contacts=[contact, CARLA, "11 99999-0001"],
    )

    body = sent(wts_connection, "create_card").body
    assert (body["tagIds"], body["contactIds"]) == ([tag], [contact])


def test_action_33_panel_create_card(wts_connection, context, names, panel_id, step_id):
    session = _session()
    card = run(
        WtsCreateCardOperator,
        context,
        panel=PANEL,
        step="Novo",
        title="Proposta",
        description="Dois andares",
        position="3",
        due_date="2026-12-24T18:00:00-03:00",
        responsible_user="Ana Souza",
        tags=["Urgente", names.panels.tag("Grande conta", panel_id)],
        contacts=[CARLA],
        session_id=session["id"],
        monetary_amount="1500.50",
        custom_fields={"Origem": "Site"},
        metadata='{"pedido": 7}',
    )

    body = sent(wts_connection, "create_card").body
    marks = [name for name in body["metadata"] if name.startswith("airflow_send_")]
    assert len(marks) == 1
    del body["metadata"][marks[0]]
    assert body == {
        "stepId": step_id,
        "title": "Proposta",
        "description": "Dois andares",
        "position": 3,
        "dueDate": "2026-12-24T21:00:00Z",
        "responsibleUserId": names.user("Ana Souza"),
        "tagIds": [names.panels.tag("Urgente", panel_id), names.panels.tag("Grande conta", panel_id)],
        "contactIds": [session["contactId"]],
        "sessionId": session["id"],
        "monetaryAmount": 1500.5,
        "customFields": {"origem": "Site"},
        "metadata": {"pedido": 7},
    }
    assert card["panelId"] == panel_id
    assert card["status"] == "OPEN"


def test_action_34_panel_update_card(wts_connection, context, names, panel_id, card_id):
    card = run(
        WtsUpdateCardOperator,
        context,
        card_id=card_id,
        step="Em negociação",
        title="Proposta revista",
        due_date=datetime(2026, 12, 24, 18, tzinfo=timezone(timedelta(hours=-3))),
        tags="urgente",
        upsert_tag_operation="insertifnotexists",
        metadata={"pedido": None},
    )

    assert sent(wts_connection, "update_card").body == {
        "fields": ["StepId", "Title", "DueDate", "TagIds", "Metadata"],
        "stepId": names.panels.step("Em negociação", panel_id),
        "title": "Proposta revista",
        "dueDate": "2026-12-24T21:00:00Z",
        "tagIds": [names.panels.tag("Urgente", panel_id)],
        "metadata": {"pedido": None},
        "options": {"upsertTagOperation": "InsertIfNotExists"},
    }
    assert card["title"] == "Proposta revista"


def test_action_34_panel_update_card_to_lost_and_back(wts_connection, context, names, panel_id, card_id):
    lost = run(WtsUpdateCardOperator, context, card_id=card_id, status="LOST", lost_reason="preço")
    archived = run(WtsUpdateCardOperator, context, card_id=card_id, status="ARCHIVED")
    opened = run(WtsUpdateCardOperator, context, card_id=card_id, status="OPEN")

    assert [card["status"] for card in (lost, archived, opened)] == ["LOST", "ARCHIVED", "OPEN"]
    bodies = [request.body for request in wts_connection.requests_of("update_card")]
    assert bodies == [
        {"fields": ["Status"], "status": "LOST", "lostReasonId": names.panels.lost_reason("Preço", panel_id)},
        {"fields": ["Status"], "status": "ARCHIVED"},
        {"fields": ["Status"], "status": "OPEN"},
    ]
    assert wts_connection.violations == []


def test_action_35_panel_duplicate_card(wts_connection, context, names, card_id):
    other = names.panels.panel("Tarefas")
    copy = run(
        WtsDuplicateCardOperator,
        context,
        card_id=card_id,
        copy_to_step="A fazer",
        panel="Tarefas",
        archive_original_card=True,
        fields=["notes", "MonetaryAmount"],
    )

    assert copy["id"] != card_id
    assert copy["panelId"] == other
    assert sent(wts_connection, "duplicate_card").body == {
        "copyToStepId": names.panels.step("A fazer", other),
        "options": {"archiveOriginalCard": True, "fields": ["Notes", "MonetaryAmount"]},
    }
    assert run(WtsGetCardOperator, context, card_id=card_id)["status"] == "ARCHIVED"


def test_duplicate_looks_for_the_step_on_the_cards_own_panel(wts_connection, context, names, panel_id, card_id):
    copy = run(WtsDuplicateCardOperator, context, card_id=card_id, copy_to_step="fechado")

    assert copy["stepId"] == names.panels.step("Fechado", panel_id)


def test_duplicate_with_nothing_more_sends_an_empty_object(wts_connection, context, card_id):
    run(WtsDuplicateCardOperator, context, card_id=card_id)

    assert sent(wts_connection, "duplicate_card").raw_body == b"{}"


def test_action_36_panel_get_all_annotations(wts_connection, context, card_id):
    note = run(WtsCreateCardNoteOperator, context, card_id=card_id, text="Primeira")

    found = run(WtsListCardNotesOperator, context, card_id=card_id)

    assert [one["id"] for one in found] == [note["id"]]


def test_action_37_panel_create_text_annotation(wts_connection, context, card_id):
    note = run(WtsCreateCardNoteOperator, context, card_id=card_id, text="x" * 8000)

    assert sent(wts_connection, "create_card_note").body == {"text": "x" * 8000}
    assert note["cardId"] == card_id


@pytest.mark.parametrize(
    ("operator_class", "operation_id", "fields", "place"),
    [
        (WtsCreateCardNoteOperator, "create_card_note", {"text": "Primeira"}, "the notes of this card"),
        (WtsDuplicateCardOperator, "duplicate_card", {}, "the copies of this card"),
    ],
)
def test_an_error_about_a_lost_answer_names_what_to_check(
    wts_connection, context, card_id, operator_class, operation_id, fields, place
):
    wts_connection.faults.add("reset", when="after", operation_id=operation_id)

    with pytest.raises(AirflowFailException, match=rf"{operation_id}: no confirmation .*{card_id}.* Check {place} in"):
        run(operator_class, context, card_id=card_id, **fields)


def test_action_38_panel_create_file_annotation(wts_connection, context, card_id):
    urls = [f"https://example.com/{name}.pdf" for name in "abc"]
    note = run(WtsCreateCardNoteOperator, context, card_id=card_id, file_urls=urls)

    assert sent(wts_connection, "create_card_note").body == {"fileUrls": urls}
    assert len(note["files"]) == 3


def test_action_39_panel_delete_annotation(wts_connection, context, card_id):
    note = run(WtsCreateCardNoteOperator, context, card_id=card_id, text="Engano")

    assert run(WtsDeleteCardNoteOperator, context, card_id=card_id, note_id=note["id"]) is None

    assert run(WtsListCardNotesOperator, context, card_id=card_id) == []


# Defects of the n8n node that must not be here ------------------------------------------------------------------------


def test_defect_session_id_is_sent(wts_connection, context, card_id):
    session = _session()
    card = run(WtsUpdateCardOperator, context, card_id=card_id, session_id=session["id"])

    assert sent(wts_connection, "update_card").body == {"fields": ["SessionId"], "sessionId": session["id"]}
    assert card["sessionId"] == session["id"]


@pytest.mark.parametrize("name", ["origem", "Origem", "ORIGEM"])
def test_defect_a_custom_field_goes_out_under_its_key(wts_connection, context, card_id, name):
    run(WtsUpdateCardOperator, context, card_id=card_id, custom_fields={name: "Indicação"})

    assert sent(wts_connection, "update_card").body == {
        "fields": ["CustomFields"],
        "customFields": {"origem": "Indicação"},
    }


def test_defect_an_unknown_custom_field_is_refused_and_not_dropped(wts_connection, context, step_id):
    with pytest.raises(AirflowFailException, match=r"no custom field 'Orijem'.*'Origem'"):
        run(WtsCreateCardOperator, context, step=step_id, title="Proposta", custom_fields={"Orijem": "Site"})

    assert wts_connection.requests_of("create_card") == []


def test_one_custom_field_cannot_be_given_twice(wts_connection, context, card_id):
    with pytest.raises(AirflowFailException, match="is given twice"):
        run(WtsUpdateCardOperator, context, card_id=card_id, custom_fields={"Origem": "Site", "origem": "Loja"})

    assert wts_connection.requests_of("update_card") == []


def test_defect_an_archived_card_can_be_opened_again(wts_connection, context, card_id):
    run(WtsUpdateCardOperator, context, card_id=card_id, status="archived")
    card = run(WtsUpdateCardOperator, context, card_id=card_id, status="open")

    assert card["status"] == "OPEN"


def test_defect_zero_and_empty_values_are_sent(wts_connection, context, card_id):
    card = run(
        WtsUpdateCardOperator,
        context,
        card_id=card_id,
        position=0,
        monetary_amount=0,
        description="",
        tags=[],
        contacts=[],
        custom_fields={},
        metadata={},
    )

    assert sent(wts_connection, "update_card").body == {
        "fields": ["Description", "Position", "TagIds", "ContactIds", "MonetaryAmount", "CustomFields", "Metadata"],
        "description": "",
        "position": 0,
        "tagIds": [],
        "contactIds": [],
        "monetaryAmount": 0,
        "customFields": {},
        "metadata": {},
    }
    assert card["monetaryAmount"] == 0


def test_defect_false_is_sent(wts_connection, context, card_id):
    run(WtsDuplicateCardOperator, context, card_id=card_id, archive_original_card=False)

    assert sent(wts_connection, "duplicate_card").body == {"options": {"archiveOriginalCard": False}}


def test_none_clears(wts_connection, context, card_id):
    card = run(
        WtsUpdateCardOperator,
        context,
        card_id=card_id,
        description=None,
        due_date=None,
        responsible_user=None,
        session_id=None,
        monetary_amount=None,
    )

    assert sent(wts_connection, "update_card").body == {
        "fields": ["Description", "DueDate", "ResponsibleUserId", "SessionId", "MonetaryAmount"],
        "description": None,
        "dueDate": None,
        "responsibleUserId": None,
        "sessionId": None,
        "monetaryAmount": None,
    }
    assert card["description"] is None
    assert card["monetaryAmount"] is None


def test_templated_texts_mean_what_they_say(wts_connection, context, card_id):
    run(
        WtsUpdateCardOperator,
        context,
        card_id=card_id,
        position="0",
        monetary_amount="0",
        tags="[]",
        custom_fields='{"origem": null}',
    )

    assert sent(wts_connection, "update_card").body == {
        "fields": ["Position", "TagIds", "MonetaryAmount", "CustomFields"],
        "position": 0,
        "tagIds": [],
        "monetaryAmount": 0,
        "customFields": {"origem": None},
    }


def test_what_is_left_out_survives_templating(wts_connection, context, card_id):
    operator = WtsUpdateCardOperator(
        task_id="task",
        card_id="{{ card }}",
        monetary_amount="{{ amount }}",
        custom_fields={"Origem": "{{ value }}"},
        metadata={"pedido": 7, "pago": False, "nota": None},
    )

    operator.render_template_fields({**context, "card": card_id, "amount": 0, "value": "Site"})
    operator.execute(context)

    assert sent(wts_connection, "update_card").body == {
        "fields": ["MonetaryAmount", "CustomFields", "Metadata"],
        "monetaryAmount": 0,
        "customFields": {"origem": "Site"},
        "metadata": {"pedido": 7, "pago": False, "nota": None},
    }


# Names ----------------------------------------------------------------------------------------------------------------


def test_a_step_id_needs_no_panel_and_costs_no_lookup(wts_connection, context, step_id):
    before = len(wts_connection.requests)

    run(WtsCreateCardOperator, context, step=step_id, title="Proposta")

    assert len(wts_connection.requests) == before + 1


def test_the_panel_of_a_step_id_is_found_for_its_custom_fields(wts_connection, context, step_id):
    run(WtsCreateCardOperator, context, step=step_id, title="Proposta", custom_fields={"Origem": "Site"})

    assert sent(wts_connection, "create_card").body["customFields"] == {"origem": "Site"}


def test_tag_names_go_out_as_they_are(wts_connection, context, card_id):
    run(WtsUpdateCardOperator, context, card_id=card_id, tag_names=["Urgente"])

    assert sent(wts_connection, "update_card").body == {"fields": ["TagIds"], "tagNames": ["Urgente"]}


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"panel": "Funil", "step": "Novo"}, r"no panel 'Funil'.*'Funil de vendas'"),
        ({"panel": PANEL, "step": "Velho"}, r"no step 'Velho'.*'Novo'"),
        ({"panel": PANEL, "step": "Novo", "tags": ["VIP"]}, r"no panel tag 'VIP'.*'Urgente'"),
        ({"panel": PANEL, "step": "Novo", "responsible_user": "Ana"}, r"no user 'Ana'.*'Ana Souza'"),
        ({"step": SOME_ID, "custom_fields": {"Origem": "x"}}, "no step with the ID"),
        ({"panel": SOME_ID, "step": "Novo"}, "no panel with the ID"),
        ({"panel": PANEL, "step": "Novo", "contacts": "+55 11 90000-0000"}, "get_contact_by_phone"),
    ],
)
def test_an_unknown_name_lists_the_candidates_and_creates_nothing(wts_connection, context, parameters, words):
    with pytest.raises(AirflowFailException, match=words):
        run(WtsCreateCardOperator, context, title="Proposta", **parameters)

    assert wts_connection.requests_of("create_card") == []


def test_an_unknown_lost_reason_lists_the_candidates(wts_connection, context, card_id):
    with pytest.raises(AirflowFailException, match=r"no lost reason 'Prazo'.*'Preço'"):
        run(WtsUpdateCardOperator, context, card_id=card_id, status="LOST", lost_reason="Prazo")

    assert wts_connection.requests_of("update_card") == []


def test_a_custom_field_that_the_platform_dropped_is_told(wts_connection, context, card_id, monkeypatch):
    log = mock.Mock()
    monkeypatch.setattr(WtsUpdateCardOperator, "log", log)
    wts_connection.switches.details_not_asked = "always"

    run(WtsUpdateCardOperator, context, card_id=card_id, custom_fields={"Origem": 7})

    (line, dropped) = log.warning.call_args.args
    assert "did not keep" in line
    assert dropped == ["origem"]


# What is refused before any request -----------------------------------------------------------------------------------

CARD = {"card_id": SOME_ID}
NEW = {"step": SOME_ID, "title": "Proposta"}
IMPOSSIBLE: list[tuple[type[WtsOperator], dict[str, Any], str]] = [
    (WtsListPanelsOperator, {"panel_type": "ALL"}, "panel_type: 'ALL' is not a valid value"),
    (WtsListPanelsOperator, {"include_details": "Cards"}, "include_details: 'Cards' is not a valid value"),
    (WtsListPanelsOperator, {"created_after": datetime(2026, 1, 1)}, "created_after: 2026-01-01T00:00:00 has no time"),
    (WtsGetPanelOperator, {"panel": ""}, "panel: is empty"),
    (
        WtsGetPanelOperator,
        {"panel": SOME_ID, "include_details": ["Fields"]},
        "include_details: 'Fields' is not a valid value",
    ),
    (WtsListCardsOperator, {"panel": None}, "panel: is empty"),
    (WtsListCardsOperator, {"panel": SOME_ID, "statuses": ["CLOSED"]}, "statuses: 'CLOSED' is not a valid value"),
    (WtsListCardsOperator, {"panel": SOME_ID, "statuses": []}, "statuses: is an empty list"),
    (WtsListCardsOperator, {"panel": SOME_ID, "contact": "Carla"}, "contact: 'Carla' is not a valid phone number"),
    (WtsGetCardOperator, {"card_id": ""}, "card_id: is empty"),
    (WtsGetCardOperator, {"card_id": "VENDAS-1"}, "card_id: 'VENDAS-1' is not a valid ID"),
    (WtsGetCardOperator, {**CARD, "include_details": "Notes"}, "include_details: 'Notes' is not a valid value"),
    (WtsCreateCardOperator, {**NEW, "title": " "}, "title: is empty"),
    (WtsCreateCardOperator, {**NEW, "title": "x" * 501}, "title: has 501 characters"),
    (WtsCreateCardOperator, {**NEW, "step": None}, "step: is empty"),
    (WtsCreateCardOperator, {**NEW, "step": "Novo"}, "panel: is empty, and the step 'Novo' is a title"),
    (WtsCreateCardOperator, {**NEW, "description": "x" * 8001}, "description: has 8001 characters"),
    (WtsCreateCardOperator, {**NEW, "position": -1}, "position: -1 is not a number from 0"),
    (WtsCreateCardOperator, {**NEW, "position": True}, "position: True is not a number"),
    (WtsCreateCardOperator, {**NEW, "monetary_amount": "10,50"}, "monetary_amount: '10,50' is not a number"),
    (WtsCreateCardOperator, {**NEW, "monetary_amount": float("inf")}, "monetary_amount: inf is not a number"),
    (WtsCreateCardOperator, {**NEW, "due_date": datetime(2026, 1, 1)}, "due_date: 2026-01-01T00:00:00 has no time"),
    (WtsCreateCardOperator, {**NEW, "due_date": "24/12/2026"}, "due_date: '24/12/2026' is not a valid ISO"),
    (WtsCreateCardOperator, {**NEW, "tags": ["a"], "tag_names": ["b"]}, "tag_names: the API ignores it"),
    (WtsCreateCardOperator, {**NEW, "contacts": ["Carla"]}, "contacts[0]: 'Carla' is not a valid phone number"),
    (WtsCreateCardOperator, {**NEW, "session_id": "7"}, "session_id: '7' is not a valid ID"),
    (WtsCreateCardOperator, {**NEW, "custom_fields": "Origem"}, "custom_fields: is not valid JSON"),
    (WtsCreateCardOperator, {**NEW, "custom_fields": ["Origem"]}, "custom_fields: must be an object"),
    (WtsCreateCardOperator, {**NEW, "metadata": {1: "x"}}, "metadata: the key 1 is not text"),
    (WtsUpdateCardOperator, CARD, "There is nothing to change"),
    (WtsUpdateCardOperator, {**CARD, "panel": PANEL}, "There is nothing to change"),
    (WtsUpdateCardOperator, {"card_id": None, "title": "x"}, "card_id: is empty"),
    (WtsUpdateCardOperator, {**CARD, "status": "CLOSED"}, "status: 'CLOSED' is not a valid value"),
    (WtsUpdateCardOperator, {**CARD, "lost_reason": "Preço"}, "lost_reason: requires status='LOST'"),
    (WtsUpdateCardOperator, {**CARD, "lost_reason": None}, "lost_reason: requires status='LOST'"),
    (WtsUpdateCardOperator, {**CARD, "status": "WON", "lost_reason": "x"}, "lost_reason: requires status"),
    (
        WtsUpdateCardOperator,
        {**CARD, "upsert_tag_operation": "ReplaceAll", "title": "x"},
        "upsert_tag_operation: has no",
    ),
    (WtsUpdateCardOperator, {**CARD, "upsert_tag_operation": "Add", "tags": []}, "upsert_tag_operation: 'Add'"),
    (WtsDuplicateCardOperator, {"card_id": "7"}, "card_id: '7' is not a valid ID"),
    (WtsDuplicateCardOperator, {**CARD, "fields": ["Title"]}, "fields: 'Title' is not a valid value"),
    (WtsDuplicateCardOperator, {**CARD, "archive_original_card": "maybe"}, "archive_original_card: 'maybe'"),
    (WtsListCardNotesOperator, {"card_id": ""}, "card_id: is empty"),
    (WtsCreateCardNoteOperator, CARD, "text: is empty, and there is no file"),
    (WtsCreateCardNoteOperator, {**CARD, "text": "", "file_urls": []}, "text: is empty, and there is no file"),
    (WtsCreateCardNoteOperator, {**CARD, "text": "x" * 8001}, "text: has 8001 characters"),
    (WtsCreateCardNoteOperator, {**CARD, "file_urls": ["https://a"] * 4}, "file_urls: has 4 addresses"),
    (WtsCreateCardNoteOperator, {**CARD, "file_urls": "/tmp/a.pdf"}, "file_urls[0]: "),
    (WtsDeleteCardNoteOperator, {**CARD, "note_id": ""}, "note_id: is empty"),
]


@pytest.mark.parametrize(("operator_class", "parameters", "words"), IMPOSSIBLE)
def test_impossible_input_is_refused_before_any_request(wts_connection, context, operator_class, parameters, words):
    with pytest.raises(AirflowFailException) as caught:
        run(operator_class, context, **parameters)

    assert words in str(caught.value)
    assert wts_connection.requests == []


def test_a_card_that_does_not_exist_fails_at_once(wts_connection, context):
    with pytest.raises(AirflowFailException):
        run(WtsUpdateCardOperator, context, card_id=SOME_ID, title="x")

    assert len(wts_connection.requests) == 1


@pytest.mark.parametrize("name", module.__all__)
def test_every_parameter_is_templated(name):
    operator_class = getattr(module, name)
    required = {"card_id": SOME_ID, "note_id": SOME_ID, "step": SOME_ID, "title": "x", "panel": PANEL}
    operator = operator_class(
        task_id="task", **{key: value for key, value in required.items() if key in operator_class.template_fields}
    )

    own = {key for key in vars(operator) if key in _parameters(operator_class)}
    assert own == set(operator_class.template_fields)
    assert set(operator_class.template_fields_renderers) <= set(operator_class.template_fields)


def _parameters(operator_class: type[WtsOperator]) -> set[str]:
    classes = [one for one in operator_class.__mro__ if issubclass(one, WtsOperator)]
    found: set[str] = set()
    for one in classes:
        if "__init__" in vars(one):
            found |= set(inspect.signature(vars(one)["__init__"]).parameters)
    return found - {"self", "kwargs"}


def _session() -> Any:
    from airflow_provider_wts.api.chatbots import send_chatbot

    hook = WtsHook()
    return hook.run(send_chatbot(bot_key=hook.names.chatbot("Cobrança"), to=CARLA))
