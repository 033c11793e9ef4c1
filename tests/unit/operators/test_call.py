"""The operator that calls any operation."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_wts.operators.call import WtsCallOperator

SOME_ID = "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"
CARLA = "+55|11999990001"


def run(context: Any, **parameters: Any) -> Any:
    return WtsCallOperator(task_id="task", **parameters).execute(context)


def test_an_operation_without_parameters(wts_connection, context):
    departments = run(context, operation_id="list_departments")

    assert {department["name"] for department in departments} == {"Atendimento", "Vendas", "Financeiro"}


@pytest.mark.parametrize("written", [lambda value: value, json.dumps], ids=["objects", "json text"])
def test_path_query_and_body_come_as_objects_or_json_text(wts_connection, context, written):
    contact = run(
        context,
        operation_id="update_contact_by_phone",
        path=written({"phone": CARLA}),
        body=written({"fields": ["Annotation"], "annotation": ""}),
    )

    assert contact["annotation"] == ""
    (request,) = wts_connection.requests
    assert request.body == {"fields": ["Annotation"], "annotation": ""}


def test_a_query_takes_the_types_of_the_contract(wts_connection, context):
    run(
        context,
        operation_id="list_contacts",
        query={
            "PageSize": "2",
            "IncludeDetails": "Tags",
            "CreatedAt.After": "2026-03-01 00:00:00-03:00",
            "UpdatedAt.After": datetime(2026, 3, 1, tzinfo=UTC),
            "Status": None,
        },
    )

    (request,) = wts_connection.requests
    assert request.query == [
        ("PageSize", "2"),
        ("IncludeDetails", "Tags"),
        ("CreatedAt.After", "2026-03-01T03:00:00Z"),
        ("UpdatedAt.After", "2026-03-01T00:00:00Z"),
    ]


def test_an_operation_without_an_answer_returns_nothing(wts_connection, context):
    tag = run(context, operation_id="create_tag", body={"name": "Nova"})

    assert run(context, operation_id="delete_tag", path={"id": tag["id"]}, body={}) is None


def test_a_body_that_starts_a_sequence_goes_out_once(wts_connection, context):
    wts_connection.faults.add("reset", when="after", operation_id="update_contact_by_phone")
    sequences = [str(sequence.id) for sequence in wts_connection.state.sequences.by_creation()]

    with pytest.raises(AirflowFailException, match="It may have taken effect"):
        run(
            context,
            operation_id="update_contact_by_phone",
            path={"phone": CARLA},
            body={"fields": ["SequenceIds"], "sequenceIds": sequences},
        )

    assert len(wts_connection.requests_of("update_contact_by_phone")) == 1


def test_all_pages_are_walked(wts_connection, context):
    wts_connection.seed(contacts=230)

    contacts = run(context, operation_id="list_contacts", paged=True)

    assert len(contacts) == 233
    assert len(wts_connection.requests_of("list_contacts")) == 5


def test_pages_in_the_body_are_walked(wts_connection, context):
    wts_connection.seed(contacts=120)

    assert len(run(context, operation_id="filter_contacts", body={}, paged="true", max_items="110")) == 110


def test_pages_go_to_a_file(wts_connection, context, tmp_path):
    manifest = run(
        context, operation_id="list_contacts", paged=True, page_size=2, output_path=str(tmp_path / "contacts.jsonl")
    )

    assert (manifest["items"], manifest["pages"]) == (3, 2)
    assert len((tmp_path / "contacts.jsonl").read_text().splitlines()) == 3


def test_a_plain_list_can_be_collected_too(wts_connection, context):
    assert len(run(context, operation_id="list_departments", paged=True)) == 3


IMPOSSIBLE = [
    ({"operation_id": ""}, "operation_id: is empty"),
    ({"operation_id": "list_contact"}, "no operation 'list_contact'. Did you mean list_contacts"),
    ({"operation_id": "get_contact"}, "path parameter 'id' is missing"),
    ({"operation_id": "get_contact", "path": {"id": "7"}}, "path parameter 'id' is not a valid uuid"),
    ({"operation_id": "get_contact", "path": {"id": None}}, "path parameter 'id' is missing"),
    ({"operation_id": "get_contact", "path": {"id": SOME_ID, "x": 1}}, "path parameter 'x' is unknown"),
    ({"operation_id": "list_contacts", "query": {"status": "ACTIVE"}}, "query parameter 'status' is unknown"),
    ({"operation_id": "list_contacts", "query": {"PageSize": 101}}, "'PageSize' does not match maximum"),
    ({"operation_id": "list_contacts", "query": {"CreatedAt.After": "2026-03-01T00:00:00"}}, "has no time zone"),
    ({"operation_id": "list_contacts", "query": {"Status": "GONE"}}, "'Status' must be one of"),
    ({"operation_id": "list_contacts", "query": "[1]"}, "query: must be an object"),
    ({"operation_id": "list_departments", "body": {}}, "has no body"),
    ({"operation_id": "send_text"}, "the body is missing"),
    ({"operation_id": "send_chatbot", "body": {"botID": "x"}}, "'botID', which is not in the contract"),
    ({"operation_id": "send_chatbot", "body": "{"}, "body: is not valid JSON"),
    ({"operation_id": "create_contact", "body": {"metadata": {"at": datetime(2026, 3, 1)}}}, "has no time zone"),
    (
        {"operation_id": "create_contact", "body": {"metadata": {"a": float("nan")}}},
        "body.metadata.a: has no value \\(nan\\)",
    ),
    (
        {"operation_id": "create_contact", "body": {"metadata": {"a": [float("inf")]}}},
        r"body.metadata.a\[0\]: Infinity is not a JSON value",
    ),
    ({"operation_id": "create_contact", "body": {"name": "A"}, "paged": True}, "paged: create_contact is not a list"),
    ({"operation_id": "list_contacts", "paged": "maybe"}, "paged: 'maybe' must be true or false"),
    ({"operation_id": "list_contacts", "max_items": 5}, "max_items, output_path: have no effect"),
    ({"operation_id": "list_contacts", "output_path": "/tmp/x"}, "max_items, output_path: have no effect"),
    ({"operation_id": "list_contacts", "paged": True, "page_size": 0}, "page_size: 0 is not a whole number"),
]


@pytest.mark.parametrize(("parameters", "words"), IMPOSSIBLE)
def test_impossible_input_is_refused_before_any_request(wts_connection, context, parameters, words):
    with pytest.raises(AirflowFailException, match=words):
        run(context, **parameters)

    assert wts_connection.requests == []


def test_paging_what_answers_no_list_fails(wts_connection, context):
    with pytest.raises(AirflowFailException, match="get_office_hours does not return a list"):
        run(context, operation_id="get_office_hours", paged=True)
