"""The contact operators against the emulator: what they send, what they return, and what they refuse."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from operator_runs import run, sent

from airflow_provider_wts.api.errors import WtsUnknownOutcomeError
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.operators import contact as module
from airflow_provider_wts.operators.contact import (
    WtsCreateContactOperator,
    WtsGetContactOperator,
    WtsListContactsOperator,
    WtsSaveContactsOperator,
    WtsUpdateContactOperator,
    WtsUpdateContactTagsOperator,
)

SOME_ID = "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"
NAN = float("nan")
CARLA = "+55|11999990001"
NOBODY = "+55 11 98888-7777"


def id_of(phone: str = CARLA) -> str:
    from airflow_provider_wts.api.contacts import get_contact_by_phone

    return str(WtsHook().run(get_contact_by_phone(phone))["id"])


def tag(name: str) -> str:
    return WtsHook().names.tag(name)


# The rows of the table of actions -------------------------------------------------------------------------------------


def test_action_02_contact_create(wts_connection, context):
    contact = run(
        WtsCreateContactOperator,
        context,
        name="Fábio",
        phone_number=NOBODY,
        email_address="fabio@exemplo.com.br",
        tags=["VIP"],
        portfolios="Clientes especiais",
        sequences=["Pós-venda"],
        custom_fields={"CPF": "123"},
        metadata={"invoice": 118},
    )

    names = WtsHook().names
    assert contact["phoneNumber"] == "+55|11988887777"
    assert sent(wts_connection, "create_contact").body == {
        "name": "Fábio",
        "phoneNumber": "+55|11988887777",
        "email": "fabio@exemplo.com.br",
        "tagIds": [names.tag("VIP")],
        "portfolioIds": [names.portfolio("Clientes especiais")],
        "sequenceIds": [names.sequence("Pós-venda")],
        "customFields": {"cpf": "123"},
        "metadata": {"invoice": 118},
    }


def test_action_03_contact_update_by_id(wts_connection, context):
    contact_id = id_of()

    contact = run(WtsUpdateContactOperator, context, contact_id=contact_id, name="Carla D.")

    assert contact["name"] == "Carla D."
    assert sent(wts_connection, "update_contact").body == {"fields": ["Name"], "name": "Carla D."}


def test_action_03_contact_update_by_phone(wts_connection, context):
    contact = run(WtsUpdateContactOperator, context, phone="11 99999-0001", status="archived")

    assert contact["status"] == "ARCHIVED"
    request = sent(wts_connection, "update_contact_by_phone")
    assert request.path.endswith("/%2B55%7C11999990001")
    assert request.body == {"fields": ["Status"], "status": "ARCHIVED"}


def test_action_04_contact_get_by_id(wts_connection, context):
    contact_id = id_of()

    contact = run(WtsGetContactOperator, context, contact_id=contact_id, include_details="tags")

    assert contact["tagNames"] == ["VIP"]
    assert sent(wts_connection, "get_contact").query == [("IncludeDetails", "Tags")]


def test_action_05_contact_get_by_phone(wts_connection, context):
    contact = run(WtsGetContactOperator, context, phone="(11) 99999-0001")

    assert contact["name"] == "Carla Dias"
    sent(wts_connection, "get_contact_by_phone")


def test_action_06_contact_get_all(wts_connection, context):
    contacts = run(WtsListContactsOperator, context, include_details=["Tags", "CustomFields"])

    assert {contact["name"] for contact in contacts} == {"Carla Dias", "Diego Alves", "Elisa Rocha"}
    assert ("IncludeDetails", "Tags") in sent(wts_connection, "list_contacts").query


def test_action_06_contact_get_all_with_filters(wts_connection, context):
    contacts = run(WtsListContactsOperator, context, tags="VIP", status="ACTIVE")

    assert [contact["name"] for contact in contacts] == ["Carla Dias"]
    body = sent(wts_connection, "filter_contacts").body
    assert body == {"status": "ACTIVE", "tagIds": [tag("VIP")], "pageNumber": 1, "pageSize": 100}


# What the API can express ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("empty", [None, ""])
def test_a_text_can_be_cleared(wts_connection, context, empty):
    contact = run(WtsUpdateContactOperator, context, phone=CARLA, email_address=empty)

    assert sent(wts_connection, "update_contact_by_phone").body == {"fields": ["Email"], "email": empty}
    assert contact["email"] == empty


def test_all_tags_can_be_removed(wts_connection, context):
    contact = run(WtsUpdateContactOperator, context, phone=CARLA, tags=[], tag_operation="replace")

    body = sent(wts_connection, "update_contact_by_phone").body
    assert body == {"fields": ["Tags"], "tagIds": [], "options": {"tagsOperation": "ReplaceAll"}}
    assert contact["tagIds"] == []


def test_a_metadata_key_can_be_removed(wts_connection, context):
    contact = run(WtsUpdateContactOperator, context, phone=CARLA, metadata={"a": None, "b": 0, "c": False})

    assert sent(wts_connection, "update_contact_by_phone").body["metadata"] == {"a": None, "b": 0, "c": False}
    assert contact["metadata"] == {"b": 0, "c": False}


def test_the_mask_names_exactly_what_is_given(wts_connection, context):
    run(
        WtsUpdateContactOperator,
        context,
        phone=CARLA,
        phone_number="11 97777-1234",
        instagram="@carla",
        annotation="VIP",
        portfolios=["Clientes especiais"],
        sequences=["Pós-venda"],
        custom_fields={"cpf": ""},
        picture_url="https://example.com/a.png",
        utm={"source": "ads"},
    )

    assert sorted(sent(wts_connection, "update_contact_by_phone").body["fields"]) == sorted(
        ["PhoneNumber", "Instagram", "Annotation", "Portfolio", "SequenceIds", "CustomFields", "PictureUrl", "Utm"]
    )


@pytest.mark.parametrize("address", ["ana+loja@exemplo.com.br", "ana@loja.photography", "o'neil@exemplo.travel"])
def test_valid_email_addresses_pass(wts_connection, context, address):
    assert run(WtsCreateContactOperator, context, email_address=address)["email"] == address


@pytest.mark.parametrize("field", ["CPF", "cpf", "Cpf"])
def test_a_custom_field_goes_out_under_its_key(wts_connection, context, field):
    run(WtsUpdateContactOperator, context, phone=CARLA, custom_fields={field: "123"})

    assert sent(wts_connection, "update_contact_by_phone").body["customFields"] == {"cpf": "123"}


def test_a_dropped_custom_field_is_reported(wts_connection, context, caplog, capsys):
    with caplog.at_level("WARNING"):
        run(WtsUpdateContactOperator, context, phone=CARLA, custom_fields={"limite-de-credito": "a lot"})

    # Airflow 3 logs through structlog, and 2.11 through logging.
    assert "did not keep these custom fields" in caplog.text + capsys.readouterr().out


@pytest.mark.parametrize(
    ("written", "spelled"),
    [
        ("add", "InsertIfNotExists"),
        ("REMOVE", "DeleteIfExists"),
        ("replace", "ReplaceAll"),
        ("INSERTIFNOTEXISTS", "InsertIfNotExists"),
        ("DeleteIfExists", "DeleteIfExists"),
    ],
)
def test_tag_operations_are_spelled_for_updates(wts_connection, context, written, spelled):
    run(WtsUpdateContactTagsOperator, context, phone=CARLA, tags=["VIP"], tag_operation=written)

    body = sent(wts_connection, "update_contact_tags_by_phone").body
    assert body == {"tagIds": [tag("VIP")], "operation": spelled}


def test_tag_operations_are_spelled_for_upserts(wts_connection, context):
    run(WtsCreateContactOperator, context, phone_number=CARLA, tags=["Newsletter"], upsert=True, tag_operation="add")

    assert sent(wts_connection, "create_contact").body["options"] == {
        "upsert": True,
        "upsertFields": ["PhoneNumber", "Tags"],
        "upsertTagOperation": "INSERTIFNOTEXISTS",
    }


def test_an_upsert_clears_nothing_that_is_not_given(wts_connection, context):
    run(WtsCreateContactOperator, context, phone_number=CARLA, annotation="Ligar", upsert="true")

    assert run(WtsGetContactOperator, context, phone=CARLA)["email"] == "carla@exemplo.com.br"


def test_an_upsert_can_be_narrowed(wts_connection, context):
    run(
        WtsCreateContactOperator,
        context,
        phone_number=CARLA,
        name="Outra",
        annotation="Ligar",
        upsert=True,
        upsert_fields=["annotation"],
    )

    contact = run(WtsGetContactOperator, context, phone=CARLA)
    assert (contact["name"], contact["annotation"]) == ("Carla Dias", "Ligar")


def test_an_existing_contact_can_be_returned(wts_connection, context):
    contact = run(WtsCreateContactOperator, context, phone_number=CARLA, name="Outra", get_if_exists=True)

    assert contact["name"] == "Carla Dias"


@pytest.mark.parametrize(("phone", "warns"), [(CARLA, False), ("+55|11966660001", True)])
def test_only_a_new_contact_is_checked_for_fields_that_were_not_kept(wts_connection, context, logged, phone, warns):
    wts_connection.advance(3600)
    fields = {"Limite de crédito": "não é um número"}

    run(WtsCreateContactOperator, context, phone_number=phone, custom_fields=fields, get_if_exists=True)

    assert ("did not keep" in logged.text("warning")) == warns


@pytest.mark.parametrize("gap", [None, NAN, "nan", "None", "<NA>"])
def test_what_is_missing_in_a_row_is_not_given(wts_connection, context, gap):
    row = {"phone_number": CARLA, "name": gap, "email": gap, "annotation": "", "tags": gap}
    row |= {"custom_fields": {"cpf": gap, "plano": "Completo"}, "metadata": {"a": gap, "b": {"c": gap, "d": 1}}}

    run(WtsSaveContactsOperator, context, contacts=[row])

    body = sent(wts_connection, "batch_save_contacts").body
    (item,) = body["items"]
    assert item.keys() == {"phoneNumber", "annotation", "customFields", "metadata"}
    assert (item["customFields"], item["metadata"]) == ({"plano": "Completo"}, {"b": {"d": 1}})
    assert body["options"]["upsertFields"] == ["PhoneNumber", "Annotation", "CustomFields", "Metadata"]


def test_tags_of_a_contact_by_id(wts_connection, context):
    contact_id = id_of()

    run(WtsUpdateContactTagsOperator, context, contact_id=contact_id, tags="VIP", tag_operation="remove")

    assert sent(wts_connection, "update_contact_tags").body["operation"] == "DeleteIfExists"


def test_values_come_as_json_text_too(wts_connection, context):
    run(WtsUpdateContactOperator, context, phone=CARLA, tags='["VIP"]', metadata='{"a": 1}')

    body = sent(wts_connection, "update_contact_by_phone").body
    assert body["tagIds"] == [tag("VIP")]
    assert body["metadata"] == {"a": 1}


def test_email_is_left_to_airflow(context):
    operator = WtsCreateContactOperator(task_id="task", email_address="cliente@exemplo.com.br")

    # Airflow writes to operator.email when a task fails; a customer has no place there.
    assert not operator.email


# Many contacts --------------------------------------------------------------------------------------------------------


def test_rows_that_the_response_does_not_show_are_named(wts_connection, context, monkeypatch, caplog):
    rows = [{"phone_number": "+55 11 97777-0001", "name": "Ana"}, {"phone_number": "+55 11 97777-0002", "name": "Bia"}]
    monkeypatch.setattr(WtsHook, "run", lambda hook, call: [{"id": "c1"}])

    assert run(WtsSaveContactsOperator, context, contacts=rows)["saved"] == 1
    assert "shows 1 of 2 contacts" in caplog.text
    assert "+55 11 97777-0002" in caplog.text


def test_contacts_are_saved_in_chunks_of_100(wts_connection, context):
    rows = [{"phone_number": f"+55 11 97777-{number:04}", "name": f"Nome {number}"} for number in range(250)]

    answer = run(WtsSaveContactsOperator, context, contacts=rows)

    assert (answer["saved"], answer["calls"], len(answer["contact_ids"])) == (250, 3, 250)
    sizes = [len(request.body["items"]) for request in wts_connection.requests_of("batch_save_contacts")]
    assert sizes == [100, 100, 50]
    assert not [request for request in wts_connection.requests if request.violations]


def test_rows_with_other_fields_go_out_apart(wts_connection, context):
    run(
        WtsSaveContactsOperator,
        context,
        contacts=[{"phone_number": CARLA, "annotation": "a"}, {"phone_number": "+55|11999990002", "email": "d@e.com"}],
    )

    masks = [request.body["options"]["upsertFields"] for request in wts_connection.requests_of("batch_save_contacts")]
    assert masks == [["PhoneNumber", "Annotation"], ["PhoneNumber", "Email"]]
    assert run(WtsGetContactOperator, context, phone=CARLA)["email"] == "carla@exemplo.com.br"


@pytest.mark.parametrize(
    "row",
    [
        {"name": "JoÃ£o"},
        {"annotation": "Jo\ufffdo"},
        {"tags": ["VIP", "AÃ§Ã£o"]},
        {"metadata": {"fone": "11999990003", "cidade": ["SÃ£o Paulo"]}},
    ],
    ids=["name", "damaged", "tag", "metadata"],
)
def test_text_that_was_read_in_another_encoding_is_refused(wts_connection, context, row):
    (name,) = row
    rows = [{"phone_number": "+55|11999990002", "name": "João"}, {"phone_number": CARLA, **row}]
    with pytest.raises(AirflowFailException, match=rf"contacts\[1\]\.{name}: .* is not readable text.*No") as bad:
        run(WtsSaveContactsOperator, context, contacts=rows)
    assert "11999990003" not in str(bad.value)
    assert wts_connection.requests == []


def test_no_contacts_need_no_call(wts_connection, context):
    assert run(WtsSaveContactsOperator, context, contacts=[]) == {"saved": 0, "calls": 0, "contact_ids": []}
    assert wts_connection.requests == []


# Sequences write to the contact, so nothing that starts one is repeated -----------------------------------------------


def next_try(context: Any) -> Any:
    context["ti"].try_number += 1
    return context


@pytest.mark.parametrize("options", [{}, {"upsert": True}, {"get_if_exists": True}])
@pytest.mark.parametrize("when", ["before", "after"])
def test_creating_with_sequences_is_undecided_where_the_answer_is_lost(wts_connection, context, ledger, when, options):
    wts_connection.switches.duplicate_contact = "return"
    wts_connection.faults.add("reset", when=when, operation_id="create_contact")
    options = {"phone_number": CARLA, "sequences": "Pós-venda", **options}

    for _ in range(2):
        with pytest.raises(AirflowFailException, match=r"no confirmation that this reached \+55 11 99999-0001"):
            run(WtsCreateContactOperator, context, **options)
        next_try(context)

    assert len(wts_connection.requests_of("create_contact")) == 1


@pytest.mark.parametrize("options", [{"upsert": True}, {"get_if_exists": True}])
def test_what_may_be_saved_again_is_not_said_to_be_absent(wts_connection, context, options, caplog):
    wts_connection.faults.add("reset", when="after", operation_id="create_contact", times=2)
    with pytest.raises(
        WtsUnknownOutcomeError, match="two attempts got no answer, and repeating it does no harm"
    ) as caught:
        run(WtsCreateContactOperator, context, phone_number=NOBODY, **options)
    assert caught.value.repeatable
    assert "WTS Chat shows" not in caplog.text

    run(WtsCreateContactOperator, next_try(context), phone_number=NOBODY, **options)
    assert len([one for one in wts_connection.state.contacts if one["phoneNumber"] == "+55|11988887777"]) == 1


def test_a_refusal_after_a_lost_answer_says_that_it_may_be_saved(wts_connection, context):
    wts_connection.faults.add("reset", when="after", operation_id="create_contact")
    wts_connection.faults.add("status", status=422, operation_id="create_contact")
    with pytest.raises(AirflowFailException, match="unknown whether an earlier one reached"):
        run(WtsCreateContactOperator, context, phone_number=NOBODY, upsert=True)


@pytest.mark.parametrize("by", ["phone", "contact_id"])
def test_changing_with_sequences_is_undecided_where_the_answer_is_lost(wts_connection, context, ledger, by):
    operation_id = "update_contact_by_phone" if by == "phone" else "update_contact"
    whom = {by: CARLA if by == "phone" else id_of()}
    wts_connection.faults.add("reset", when="after", operation_id=operation_id)

    for _ in range(2):
        with pytest.raises(AirflowFailException, match=r"no confirmation that this reached .* Check the contact"):
            run(WtsUpdateContactOperator, context, sequences="Pós-venda", **whom)
        next_try(context)

    assert len(wts_connection.requests_of(operation_id)) == 1


def test_changing_with_sequences_happens_once_over_all_tries(wts_connection, context, ledger):
    for _ in range(2):
        contact = run(WtsUpdateContactOperator, context, phone=CARLA, sequences="Pós-venda")
        next_try(context)

    assert contact["phoneNumber"] == CARLA
    sent(wts_connection, "update_contact_by_phone")


def test_changing_without_sequences_is_repeated(wts_connection, context):
    wts_connection.faults.add("reset", when="after", operation_id="update_contact_by_phone")

    assert run(WtsUpdateContactOperator, context, phone=CARLA, name="Carla D.")["name"] == "Carla D."


def in_sequence(emulator) -> list[str]:
    """Return the numbers that were saved with a sequence, each as often as it was."""
    return [
        item["phoneNumber"]
        for request in emulator.requests_of("batch_save_contacts")
        for item in request.body["items"]
        if item.get("sequenceIds") and request.status != 400
    ]


ANA = {"name": "Ana", "phone_number": "+55|11977770001"}


@pytest.mark.parametrize("rules", [{}, {"get_if_exists": True}], ids=["upsert", "get_if_exists"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_rows_whose_answer_is_lost_are_saved_again(wts_connection, context, when, rules):
    wts_connection.faults.add("reset", when=when, operation_id="batch_save_contacts")
    assert run(WtsSaveContactsOperator, context, contacts=[ANA], **rules)["saved"] == 1
    assert len([one for one in wts_connection.state.contacts if one["phoneNumber"] == ANA["phone_number"]]) == 1


def test_rows_whose_answer_is_lost_twice_are_left_to_a_retry(wts_connection, context):
    wts_connection.faults.add("reset", operation_id="batch_save_contacts", times=2)
    with pytest.raises(WtsUnknownOutcomeError, match="A retry saves the same contacts again"):
        run(WtsSaveContactsOperator, context, contacts=[ANA])
    assert run(WtsSaveContactsOperator, context, contacts=[ANA])["saved"] == 1


def test_rows_that_must_be_new_are_named_and_not_saved_again_when_the_answer_is_lost(wts_connection, context, ledger):
    wts_connection.faults.add("reset", when="after", operation_id="batch_save_contacts")
    for _ in range(2):
        with pytest.raises(AirflowFailException, match=r"in WTS Chat: \+55 11 97777-0001\. They were not added"):
            run(WtsSaveContactsOperator, context, contacts=[ANA], upsert=False)
        next_try(context)
    assert len(wts_connection.requests_of("batch_save_contacts")) == 1


def test_rows_that_must_be_new_are_saved_once_over_all_tries(wts_connection, context, ledger):
    for _ in range(2):
        assert run(WtsSaveContactsOperator, context, contacts=[ANA], upsert=False)["saved"] == 1
        next_try(context)
    sent(wts_connection, "batch_save_contacts")


def test_rows_with_sequences_are_saved_once_over_all_tries(wts_connection, context, ledger):
    rows = [{"phone_number": f"+55|11977770{number:03}", "sequences": "Pós-venda"} for number in range(150)]
    wts_connection.faults.add("status", status=400, operation_id="batch_save_contacts", nth=2)
    with pytest.raises(AirflowFailException, match="HTTP 400"):
        run(WtsSaveContactsOperator, context, contacts=rows)

    later = [{"phone_number": NOBODY, "sequences": "Pós-venda"}, *rows[::-1]]
    answer = run(WtsSaveContactsOperator, next_try(context), contacts=later)

    assert (answer["saved"], answer["calls"], len(answer["contact_ids"])) == (151, 2, 151)
    assert len(in_sequence(wts_connection)) == len(set(in_sequence(wts_connection))) == 151


def test_rows_with_sequences_whose_fields_change_after_a_doubt_go_out_again_on_demand(wts_connection, context, ledger):
    rows = [{"phone_number": CARLA, "sequences": "Pós-venda"}, {"phone_number": NOBODY, "sequences": "Pós-venda"}]
    wts_connection.faults.add("reset", when="after", operation_id="batch_save_contacts")
    with pytest.raises(AirflowFailException, match="no confirmation"):
        run(WtsSaveContactsOperator, context, contacts=rows)

    rows[1]["name"] = "Fábio"
    answer = run(WtsSaveContactsOperator, next_try(context), contacts=rows, on_unknown="resend")

    assert (answer["saved"], answer["calls"]) == (2, 2)
    assert run(WtsGetContactOperator, context, phone=NOBODY)["name"] == "Fábio"


def test_rows_with_sequences_in_doubt_are_named(wts_connection, context, ledger):
    wts_connection.faults.add("reset", when="after", operation_id="batch_save_contacts", body="sequenceIds")
    rows = [{"phone_number": "+55|11999990002"}, {"phone_number": CARLA, "sequences": "Pós-venda"}]

    with pytest.raises(AirflowFailException, match=r"in sequences: \+55 11 99999-0001\. They were not added"):
        run(WtsSaveContactsOperator, context, contacts=rows)


def test_a_contact_in_two_rows_with_sequences_is_refused(wts_connection, context):
    rows = [{"phone_number": phone, "sequences": "Pós-venda"} for phone in ("+5511998765432", "+551198765432")]

    with pytest.raises(AirflowFailException, match="is the same person"):
        run(WtsSaveContactsOperator, context, contacts=rows)

    assert wts_connection.requests_of("batch_save_contacts") == []


# Filters --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filters", "body"),
    [
        ({"text_filter": "Carla"}, {"textFilter": "Carla"}),
        ({"name": "Carla"}, {"name": "Carla"}),
        ({"phone_number": "11 99999-0001"}, {"phoneNumber": CARLA}),
        ({"email_address": "@exemplo"}, {"email": "@exemplo"}),
        ({"instagram": "elisa"}, {"instagram": "elisa"}),
        ({"origin": "imported"}, {"origin": "IMPORTED"}),
        ({"custom_fields": {"CPF": "1"}}, {"customFields": {"cpf": "1"}}),
        ({"metadata": {"invoice": 118}}, {"metadata": {"invoice": "118"}}),
        (
            {"name": "C", "created_after": "2026-03-01T00:00:00-03:00", "order_by": "name", "order_direction": "desc"},
            {
                "name": "C",
                "createdAt": {"after": "2026-03-01T03:00:00Z"},
                "orderBy": "name",
                "orderDirection": "DESCENDING",
            },
        ),
    ],
)
def test_filters_go_into_the_body(wts_connection, context, filters, body):
    run(WtsListContactsOperator, context, **filters)

    assert sent(wts_connection, "filter_contacts").body == {**body, "pageNumber": 1, "pageSize": 100}


# What is refused before any request -----------------------------------------------------------------------------------

TWO = {"contact_id": SOME_ID, "phone": CARLA}
IMPOSSIBLE = [
    (WtsCreateContactOperator, {}, "phone_number: is empty"),
    (WtsCreateContactOperator, {"name": "", "email_address": None}, "phone_number: is empty"),
    (WtsCreateContactOperator, {"phone_number": "abc"}, "phone_number: 'abc' is not a valid phone number"),
    (WtsCreateContactOperator, {"name": "x" * 256}, "name: has 256 characters"),
    (WtsCreateContactOperator, {"email_address": "ana"}, "email_address: 'ana' is not a valid email address"),
    (WtsCreateContactOperator, {"email_address": "a@b@c"}, "is not a valid email address"),
    (WtsCreateContactOperator, {"email_address": "ana maria@exemplo.com"}, "is not a valid email address"),
    (WtsCreateContactOperator, {"name": "A", "tags": "['VIP']"}, "tojson"),
    (WtsCreateContactOperator, {"name": "A", "tags": [""]}, r"tags\[0\]: must not be blank"),
    (WtsCreateContactOperator, {"name": "A", "tags": {"a": 1}}, r"tags\[0\]: must be text"),
    (WtsCreateContactOperator, {"name": "A", "custom_fields": "[1]"}, "custom_fields: must be an object"),
    (WtsCreateContactOperator, {"name": "A", "metadata": "{"}, "metadata: is not valid JSON"),
    (WtsCreateContactOperator, {"name": "A", "upsert": True, "get_if_exists": True}, "contradicts upsert"),
    (WtsCreateContactOperator, {"name": "A", "upsert_fields": ["name"]}, "upsert_fields: .* without upsert=True"),
    (WtsCreateContactOperator, {"name": "A", "tags": "VIP", "tag_operation": "add"}, "without upsert=True"),
    (
        WtsCreateContactOperator,
        {"name": "A", "upsert": True, "upsert_fields": ["x"]},
        "upsert_fields: 'x' is not a valid value",
    ),
    (WtsCreateContactOperator, {"name": "A", "upsert": True, "upsert_fields": []}, "upsert_fields: is empty"),
    (WtsCreateContactOperator, {"name": "A", "upsert": True, "tag_operation": "merge"}, "tag_operation: 'merge'"),
    (WtsCreateContactOperator, {"name": "A", "upsert": "maybe"}, "upsert: 'maybe' must be true or false"),
    (WtsUpdateContactOperator, {"name": "A"}, "contact_id: is empty"),
    (WtsUpdateContactOperator, {**TWO, "name": "A"}, "contact_id: was given together with phone"),
    (WtsUpdateContactOperator, {"contact_id": "7", "name": "A"}, "contact_id: '7' is not a valid ID"),
    (WtsUpdateContactOperator, {"phone": CARLA}, "There is nothing to change"),
    (WtsUpdateContactOperator, {"phone": CARLA, "status": "DELETED"}, "status: 'DELETED' is not a valid value"),
    (WtsUpdateContactOperator, {"phone": CARLA, "name": "A", "tag_operation": "add"}, "has no effect without tags"),
    (WtsUpdateContactOperator, {"phone": CARLA, "utm": {"clid": "1"}}, "utm: has 'clid', which cannot be set"),
    (WtsUpdateContactOperator, {"phone": CARLA, "utm": None}, "utm: must be an object"),
    (WtsGetContactOperator, {}, "contact_id: is empty"),
    (WtsGetContactOperator, TWO, "contact_id: was given together with phone"),
    (WtsGetContactOperator, {"phone": "@carla"}, "phone: '@carla' is not a valid phone number"),
    (
        WtsGetContactOperator,
        {"phone": CARLA, "include_details": "Cards"},
        "include_details: 'Cards' is not a valid value",
    ),
    (WtsListContactsOperator, {"status": "GONE"}, "status: 'GONE' is not a valid value"),
    (WtsListContactsOperator, {"tags": []}, "tags: is an empty list"),
    (WtsListContactsOperator, {"metadata": {}}, "metadata: is empty"),
    (WtsListContactsOperator, {"phone_number": "123"}, "phone_number: '123'"),
    (WtsListContactsOperator, {"origin": "moon"}, "origin: 'moon' is not a valid value"),
    (WtsSaveContactsOperator, {"contacts": None}, "contacts, recipients_sql: give exactly one of them"),
    (WtsSaveContactsOperator, {"contacts": "Ana"}, r"contacts\[0\]: must be an object"),
    (WtsSaveContactsOperator, {"contacts": [{"phone_number": CARLA}, "x"]}, r"contacts\[1\]: must be an object"),
    (WtsSaveContactsOperator, {"contacts": [{"name": "A"}]}, r"contacts\[0\]: has no phone_number"),
    (WtsSaveContactsOperator, {"contacts": [{"phone_number": CARLA, "age": 3}]}, "has unknown fields: 'age'"),
    (
        WtsSaveContactsOperator,
        {"contacts": [{"phone_number": CARLA}, {"email": "a@b.c"}, {"phone_number": "11"}]},
        r"contacts\[2\].phone_number: '11'",
    ),
    (
        WtsSaveContactsOperator,
        {"contacts": [{"phone_number": CARLA}, {"phone_number": "11 99999-0001"}]},
        r"contacts\[1\].phone_number: is the same person as in contacts\[0\]",
    ),
    (
        WtsSaveContactsOperator,
        {"contacts": [{"phone_number": "+55 11 99876-5432"}, {"phone_number": "+55 11 9876-5432"}]},
        r"contacts\[1\].phone_number: is the same person as in contacts\[0\]",
    ),
    (
        WtsSaveContactsOperator,
        {"contacts": [{"phone_number": 5511990000000}, {"phone_number": "11980000000"}]},
        r"contacts\[1\].phone_number: ends in six zeros, as contacts\[0\].phone_number does",
    ),
    (
        WtsUpdateContactOperator,
        {"phone": CARLA, "custom_fields": {"plano": "nan"}},
        "custom_fields.plano: has no value",
    ),
    (WtsUpdateContactOperator, {"phone": CARLA, "custom_fields": {"plano": NAN}}, "custom_fields.plano: has no value"),
    (
        WtsUpdateContactOperator,
        {"phone": CARLA, "metadata": {"a": [{"b": "None"}]}},
        r"metadata.a\[0\].b: has no value",
    ),
    (WtsUpdateContactOperator, {"phone": CARLA, "metadata": '{"a": NaN}'}, "metadata.a: has no value"),
    (WtsUpdateContactOperator, {"phone": CARLA, "metadata": "{'a': 1}"}, r"metadata: .*\| tojson"),
    (WtsUpdateContactOperator, {"phone": CARLA, "metadata": {"a": datetime(2026, 1, 1)}}, "metadata.a: .*no time zone"),
    (WtsUpdateContactOperator, {"phone": CARLA, "metadata": {"a": object()}}, "metadata.a: object"),
    (
        WtsUpdateContactOperator,
        {"phone": CARLA, "metadata": [{"key": "a", "value": 1}, {"key": "a", "value": 2}]},
        "metadata: has the key 'a' twice",
    ),
    (WtsUpdateContactOperator, {"phone": CARLA, "metadata": [{"key": "a"}]}, "metadata: must be an object, not list"),
    (WtsSaveContactsOperator, {"contacts": [{"email": "a@b.c", "email_address": "a@b.c"}]}, "both email and"),
    (WtsUpdateContactTagsOperator, {"phone": CARLA, "tags": []}, "tags: is empty"),
    (WtsUpdateContactTagsOperator, {"phone": CARLA, "tags": None}, "tags: is empty"),
    (WtsUpdateContactTagsOperator, {"phone": CARLA, "tags": "VIP", "tag_operation": "swap"}, "tag_operation: 'swap'"),
    (WtsUpdateContactTagsOperator, {"tags": "VIP"}, "contact_id: is empty"),
]


@pytest.mark.parametrize(("operator_class", "parameters", "words"), IMPOSSIBLE)
def test_impossible_input_is_refused_before_any_request(wts_connection, context, operator_class, parameters, words):
    with pytest.raises(AirflowFailException, match=words):
        run(operator_class, context, **parameters)

    assert wts_connection.requests == []


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"tags": "Vipe"}, r"tags: There is no tag 'Vipe'.*'VIP'"),
        ({"portfolios": "Vipe"}, "portfolios: There is no portfolio"),
        ({"sequences": "Vipe"}, "sequences: There is no sequence"),
        ({"custom_fields": {"Vipe": 1}}, "custom_fields: There is no custom field"),
        ({"custom_fields": {"CPF": 1, "cpf": 2}}, "custom_fields: 'cpf' is the field 'cpf', which is given twice"),
        ({"custom_fields": {"Dados do cliente": 1}}, "custom_fields: There is no custom field"),
    ],
)
def test_an_unknown_name_is_refused_before_anything_is_written(wts_connection, context, parameters, words):
    with pytest.raises(AirflowFailException, match=words):
        run(WtsUpdateContactOperator, context, phone=CARLA, **parameters)

    assert {request.method for request in wts_connection.requests} == {"GET"}


def test_a_missing_contact_fails_for_good(wts_connection, context):
    with pytest.raises(AirflowFailException, match="get_contact_by_phone"):
        run(WtsGetContactOperator, context, phone=NOBODY)


def test_a_restricted_connection_puts_nobody_else_into_a_sequence(wts_connection, context, monkeypatch):
    connection = {
        "conn_type": "wts",
        "host": wts_connection.url,
        "password": wts_connection.token,
        "extra": {"allowed_recipients": "+55 11 91111-1111"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))

    with pytest.raises(AirflowFailException, match="allows only the recipients"):
        run(WtsUpdateContactOperator, context, phone=CARLA, sequences="Pós-venda")

    assert wts_connection.requests == []


@pytest.mark.parametrize(
    "name", [name for name, one in vars(module).items() if name[:3] == "Wts" and one.__module__ == module.__name__]
)
def test_every_parameter_is_templated(name):
    import inspect

    operator_class = getattr(module, name)
    parameters = {
        parameter
        for base in operator_class.__mro__
        if base.__module__.startswith("airflow_provider_wts") and "__init__" in vars(base)
        for parameter in inspect.signature(base.__init__).parameters
    } - {"self", "kwargs"}
    assert parameters == set(operator_class.template_fields)


@pytest.mark.parametrize(
    ("operator_class", "shared", "mapped"),
    [
        (WtsCreateContactOperator, {"upsert": True, "tags": ["VIP"]}, {"phone_number": [CARLA, NOBODY]}),
        (WtsUpdateContactOperator, {"annotation": ""}, {"phone": [CARLA, NOBODY]}),
        (WtsGetContactOperator, {"include_details": ["Tags"]}, {"contact_id": [SOME_ID]}),
        (WtsListContactsOperator, {"page_size": 10}, {"tags": ["VIP", "Newsletter"]}),
        (WtsSaveContactsOperator, {"upsert": True}, {"contacts": [[], []]}),
        (WtsUpdateContactTagsOperator, {"tags": ["VIP"]}, {"phone": [CARLA, NOBODY]}),
    ],
)
def test_the_operators_can_be_mapped(operator_class, shared, mapped):
    from airflow.providers.common.compat.sdk import DAG

    with DAG("mapped", schedule=None):
        task = operator_class.partial(task_id="task", **shared).expand(**mapped)

    assert set(task.partial_kwargs) >= set(shared)


@pytest.mark.parametrize(
    ("operator_class", "given", "operation_id"),
    [
        (WtsCreateContactOperator, {"phone_number": NOBODY}, "create_contact"),
        (WtsUpdateContactOperator, {"phone": CARLA}, "update_contact_by_phone"),
        (WtsSaveContactsOperator, {}, "batch_save_contacts"),
    ],
)
def test_a_backfill_puts_nobody_into_a_sequence_unless_that_is_allowed(
    wts_connection, context, operator_class, given, operation_id
):
    context["dag_run"].run_type = "backfill"

    def save(more, **allowed):
        if operator_class is WtsCreateContactOperator:
            more = {**more, "upsert": True}
        if operator_class is WtsSaveContactsOperator:
            more = {"contacts": [{"phone_number": NOBODY, "name": "Ninguém", **more}, {"phone_number": CARLA}]}
        return run(operator_class, context, **given, **more, **allowed)

    with pytest.raises(AirflowFailException, match=r"allow_backfill: this run .*Nothing was sent"):
        save({"sequences": ["Pós-venda"]})
    assert wts_connection.requests_of(operation_id) == []
    # Without a sequence, nobody is written to.
    save({"name": "Carla"})
    before = len(wts_connection.requests_of(operation_id))
    save({"sequences": ["Pós-venda"]}, allow_backfill=True)
    assert len(wts_connection.requests_of(operation_id)) > before


def test_the_rows_of_a_query_are_saved_and_a_clear_queries_again(
    wts_connection, context, database, tmp_path, monkeypatch
):
    monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", f"file://{tmp_path}/ledger")
    database.write(
        "CREATE TABLE TABLE_NAME (phone_number BIGINT, name VARCHAR(80), annotation VARCHAR(80))",
        "INSERT INTO TABLE_NAME VALUES (5511977770001, 'Ana', NULL), (5511977770002, 'Bia', 'vip')",
    )
    query = {"recipients_sql": f"SELECT * FROM {database.table} ORDER BY phone_number", "recipients_conn_id": "wts_db"}
    assert run(WtsSaveContactsOperator, context, **query)["saved"] == 2
    database.write("DELETE FROM TABLE_NAME WHERE name = 'Ana'")
    context["ti"].try_number, context["ti"].max_tries = 2, 1
    assert run(WtsSaveContactsOperator, context, **query)["saved"] == 1
    assert id_of("+55|11977770001")


def test_contacts_come_from_a_list_or_from_a_query(wts_connection, context):
    for given in ({}, {"contacts": [], "recipients_sql": "SELECT 1", "recipients_conn_id": "wts_db"}):
        with pytest.raises(AirflowFailException, match="contacts, recipients_sql: give exactly one of them"):
            run(WtsSaveContactsOperator, context, **given)
