"""What every call meets: authentication, routing, the error envelope, the check against the contract."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from emulator_api import CARLA, WHATSAPP

from airflow_provider_wts.emulator.switches import Switches

if TYPE_CHECKING:
    from emulator_api import Api

    from airflow_provider_wts.emulator.running import Emulator

SOME_ID = "11111111-1111-4111-8111-111111111111"


@pytest.mark.parametrize("header", ["Bearer pn_emulator", "pn_emulator", "bearer pn_emulator"])
def test_a_token_is_taken_with_and_without_bearer(emulator: Emulator, header: str) -> None:
    answer = requests.get(emulator.url + "/chat/v1/channel", headers={"Authorization": header}, timeout=5)
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/chat/v1/channel", "/chat/v1/nothing", "/nothing", "/chat/v2/session/no-uuid"])
@pytest.mark.parametrize("header", [None, "Bearer wrong", "Bearer ", ""])
def test_authentication_comes_before_routing_and_checking(emulator: Emulator, path: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = requests.get(emulator.url + path, headers=headers, timeout=5)
    assert answer.status_code == 401
    assert answer.json()["key"] == "ERROR_UNAUTHORIZED"
    assert answer.json()["httpStatusCode"] == 401


def test_a_path_without_its_service_is_a_bad_request(api: Api, emulator: Emulator) -> None:
    assert api.session.get(emulator.url + "/v1/channel", timeout=5).status_code == 400


def test_an_unknown_route_is_not_found(api: Api, emulator: Emulator) -> None:
    answer = api.session.get(emulator.url + "/chat/v1/nothing", timeout=5)
    assert answer.status_code == 404
    assert answer.json()["error"] is True


def test_a_segment_of_the_contract_wins_over_an_id(api: Api) -> None:
    fields = api.ask("list_contact_custom_fields")
    assert {field["entityType"] for field in fields} == {"CONTACT"}
    assert api.ask("get_contact_by_phone", phone=CARLA)["name"] == "Carla Dias"


def test_a_missing_object_is_an_internal_error_with_a_business_key(api: Api) -> None:
    answer = api.call("get_session", id=SOME_ID)
    body = answer.json()
    assert answer.status_code == 500
    assert (body["key"], body["httpStatusCode"], body["customData"]) == (
        "ENTITY_NOT_FOUND",
        "INTERNALSERVERERROR",
        None,
    )
    assert body["id"]["value"].upper().startswith(body["id"]["shortValue"])


@pytest.mark.parametrize("phone", ["+55|11900000000", "5511900000000", "+5511900000000"])
def test_a_phone_without_a_contact_is_a_form_error(api: Api, phone: str) -> None:
    answer = api.call("get_contact_by_phone", phone=phone)
    assert (answer.status_code, answer.json()["key"]) == (500, "FORM_ERROR")


@pytest.mark.parametrize(
    ("operation_id", "body", "path"),
    [
        ("send_text", {"from": WHATSAPP, "to": CARLA}, {}),
        ("send_text", {"text": 5}, {}),
        ("send_chatbot", {"botKey": "no uuid"}, {}),
        ("send_text", [], {}),
        ("complete_session", None, {"id": "no-uuid"}),
    ],
)
def test_what_does_not_fit_the_contract_is_refused(
    api: Api, emulator: Emulator, operation_id: str, body: Any, path: dict[str, str]
) -> None:
    answer = api.call(operation_id, body, **path)
    assert answer.status_code == 400
    assert emulator.requests[-1].violations
    assert not emulator.requests[-1].took_effect


def test_a_body_that_is_no_json_is_refused(api: Api, emulator: Emulator) -> None:
    headers = {"Content-Type": "application/json"}
    answer = api.session.post(emulator.url + "/chat/v1/send/text", data=b"{", headers=headers, timeout=5)
    assert answer.status_code == 400


def test_an_unknown_query_name_is_ignored_and_recorded(api: Api, emulator: Emulator) -> None:
    everything = api.ask("list_chatbots")["totalItems"]
    assert api.ask("list_chatbots", query={"name": "NPS"})["totalItems"] == everything
    assert "'name'" in emulator.violations[-1]
    assert emulator.requests[-1].violations == [emulator.violations[-1]]


def test_query_names_can_be_read_without_case(api: Api, emulator: Emulator) -> None:
    emulator.switches.query_names_ignore_case = True
    assert api.ask("list_chatbots", query={"name": "NPS"})["totalItems"] == 1


def test_an_unknown_property_is_recorded(api: Api, emulator: Emulator) -> None:
    api.send_text(extra=1)
    assert "'extra'" in emulator.requests[-1].violations[0]


def test_an_unknown_property_is_refused_when_strict(api: Api, emulator: Emulator) -> None:
    emulator.switches.strict = True
    assert api.call("send_text", {"from": WHATSAPP, "to": CARLA, "text": "Oi", "extra": 1}).status_code == 400
    assert emulator.received(CARLA) == []


def test_a_request_is_recorded_as_it_came(api: Api, emulator: Emulator) -> None:
    api.call("list_sessions", query=[("Status", "PENDING"), ("Status", "STARTED")])
    recorded = emulator.requests[-1]
    assert (recorded.method, recorded.path, recorded.operation_id) == ("GET", "/chat/v2/session", "list_sessions")
    assert recorded.query == [("Status", "PENDING"), ("Status", "STARTED")]
    assert recorded.header("Authorization") == "Bearer pn_emulator"
    assert recorded.status == 200


def test_a_body_is_recorded_as_bytes_and_parsed(api: Api, emulator: Emulator) -> None:
    api.send_text(text="Olá")
    assert emulator.requests[-1].body == {"from": WHATSAPP, "to": CARLA, "text": "Olá"}
    assert isinstance(emulator.requests[-1].raw_body, bytes)


def test_only_the_last_requests_are_kept_and_all_are_counted(api: Api, emulator: Emulator) -> None:
    emulator.switches.recorded_requests = 3
    for _ in range(5):
        api.ask("list_channels")
    assert len(emulator.requests) == 3
    assert emulator.service.recorder.total == 5


@pytest.mark.parametrize(
    ("switches", "operation_id", "path", "status", "code"),
    [
        ({"not_found_status": 404}, "get_session", {"id": SOME_ID}, 404, 404),
        ({"bad_body_status": 422}, "get_session", {"id": "x"}, 422, 422),
        ({"status_code_in_envelope": "integer"}, "get_session", {"id": SOME_ID}, 500, 500),
        ({"status_code_in_envelope": "name"}, "get_session", {"id": "x"}, 400, "BADREQUEST"),
    ],
)
def test_the_shape_of_errors_can_be_switched(
    api: Api,
    emulator: Emulator,
    switches: dict[str, Any],
    operation_id: str,
    path: dict[str, str],
    status: int,
    code: Any,
) -> None:
    emulator.switches.change(switches)
    answer = api.call(operation_id, **path)
    assert (answer.status_code, answer.json()["httpStatusCode"]) == (status, code)


def test_the_send_family_can_answer_with_problem_details(api: Api, emulator: Emulator) -> None:
    emulator.switches.problem_details = True
    answer = api.call("send_text", {})
    assert answer.json()["status"] == 400
    assert "key" not in answer.json()


def test_answers_can_carry_undeclared_properties_and_lack_nulls(api: Api, emulator: Emulator) -> None:
    emulator.switches.change({"extra_properties": True, "omit_nulls": True})
    send = api.send_text()
    assert "emulatorExtra" in send
    assert None not in send.values()


def test_objects_of_an_answer_can_be_null(api: Api, emulator: Emulator) -> None:
    emulator.switches.null_objects = True
    channel = api.ask("list_channels")[0]
    assert channel["identity"] is None


@pytest.mark.parametrize("changes", [{"nothing": 1}, {"window": "round"}, {"rate_limits": 1}, {"burst_requests": -1}])
def test_a_wrong_switch_changes_nothing(emulator: Emulator, changes: dict[str, Any]) -> None:
    before = emulator.switches.as_dict()
    with pytest.raises(ValueError, match=next(iter(changes))):
        emulator.switches.change({"strict": True, **changes})
    assert emulator.switches.as_dict() == before


# By the contract ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json", None]
)
def test_a_body_that_is_not_called_json_is_refused(api: Api, emulator: Emulator, kind: str | None) -> None:
    headers = {"Content-Type": kind}
    body = b'{"name": "Ana"}'
    answer = api.session.post(emulator.url + "/core/v1/contact", data=body, headers=headers, timeout=5)
    assert (answer.status_code, answer.json()["key"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"]
)
def test_a_body_that_is_called_json_is_read(api: Api, emulator: Emulator, kind: str) -> None:
    headers = {"Content-Type": kind}
    body = b'{"name": "Ana"}'
    answer = api.session.post(emulator.url + "/core/v1/contact", data=body, headers=headers, timeout=5)
    assert answer.status_code == 200


def test_properties_that_the_contract_does_not_know_are_not_kept(api: Api, emulator: Emulator) -> None:
    department = emulator.state.departments.by_creation()[0].id
    config = {"expirationIsEnabled": True, "unknown": {"a": 1}}
    body = {"fields": ["DistributionConfig"], "distributionConfig": config, "other": 1}
    assert api.ask("update_department", body, id=department)["distributionConfig"] == {"expirationIsEnabled": True}
    items = [{"userId": emulator.state.agents.by_creation()[0]["userId"], "unknown": 1}]
    echoed = api.ask("update_department_agents", {"action": "Upsert", "items": items, "x": 1}, id=department)
    assert "unknown" not in echoed["items"][0]
    assert len(emulator.violations) == 4


@pytest.mark.parametrize("email", ["nonsense", "@", "a@", "a@b@c", ""])
def test_an_agent_without_an_address_of_e_mail_is_refused(api: Api, email: str) -> None:
    assert api.call("create_agent", {"name": "Ana", "profile": "Agent", "email": email}).status_code == 400


def test_the_name_of_a_template_is_not_its_id(api: Api, emulator: Emulator) -> None:
    body = {"from": WHATSAPP, "to": CARLA, "parameters": {}}
    template = next(one for one in emulator.state.templates if one["name"] == "pesquisa")
    statuses = [
        api.call("send_template", {**body, "templateId": wanted}).status_code
        for wanted in (template.id, template["internalName"], template["name"])
    ]
    assert statuses == [200, 200, 500]


@pytest.mark.parametrize("reference", ["3f0e6f5c-1c5e-4b3e-9b3e-000000000000", "nobody", "", "@handle"])
def test_an_unknown_contact_of_a_card_is_called_a_contact(api: Api, emulator: Emulator, reference: str) -> None:
    step = emulator.state.panel_steps.by_creation()[0].id
    answer = api.call("create_card", {"stepId": step, "title": "x", "contactIds": [reference]}).json()
    assert (answer["key"], answer["text"]) == ("ENTITY_NOT_FOUND", "O contato não foi encontrado(a).")


# What the API leaves open ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", [None, {"OrderDirection": "ascending"}])
@pytest.mark.parametrize(
    ("switch", "loose", "strict", "body"),
    [
        ("enum_case", "any", "exact", {"status": "active"}),
        ("date_without_zone", "utc", "refuse", {"createdAt": {"after": "2020-01-01T00:00:00"}}),
        ("null_for_object", "ignore", "refuse", {"createdAt": None}),
        ("page_out_of_range", "clamp", "refuse", {"pageSize": 500}),
    ],
)
def test_what_the_contract_does_not_know_is_understood_or_refused_and_always_recorded(
    api: Api, emulator: Emulator, switch: str, loose: str, strict: str, body: dict[str, Any], query: Any
) -> None:
    for reading, status in ((loose, 200), (strict, 400)):
        emulator.switches.change({switch: reading})
        assert api.call("filter_contacts", body, query).status_code == status
        assert emulator.requests[-1].violations


@pytest.mark.parametrize(("reading", "status"), [("ignore", 200), ("refuse", 400)])
@pytest.mark.parametrize("query", ["Status=", "PageSize=", "CreatedAt.After=", "OrderBy", "IncludeDetails="])
def test_a_query_parameter_without_a_value_counts_as_left_out_or_is_refused(
    api: Api, emulator: Emulator, reading: str, status: int, query: str
) -> None:
    emulator.switches.change({"empty_query_values": reading})
    assert api.session.get(f"{emulator.url}/core/v1/contact?{query}", timeout=5).status_code == status
    assert emulator.violations


@pytest.mark.parametrize(("reading", "status"), [("accept", 200), ("refuse", 404)])
def test_a_slash_at_the_end_is_overlooked_or_leads_nowhere(
    api: Api, emulator: Emulator, reading: str, status: int
) -> None:
    emulator.switches.change({"trailing_slash": reading})
    assert api.session.get(emulator.url + "/core/v1/contact/", timeout=5).status_code == status


@pytest.mark.parametrize("status", [404, 405])
def test_a_wrong_method_has_a_status_of_its_own(api: Api, emulator: Emulator, status: int) -> None:
    emulator.switches.change({"wrong_method_status": status})
    assert api.session.delete(emulator.url + "/core/v1/contact", timeout=5).status_code == status
    assert api.session.delete(emulator.url + "/core/v1/nothing", timeout=5).status_code == 404


@pytest.mark.parametrize(
    ("reading", "key"), [("FORM_ERROR", "FORM_ERROR"), ("BAD_REQUEST", "BAD_REQUEST"), ("none", None)]
)
def test_a_400_has_a_key_or_none(api: Api, emulator: Emulator, reading: str, key: str | None) -> None:
    emulator.switches.change({"bad_body_key": reading})
    answer = api.call("send_text", {"from": WHATSAPP})
    assert (answer.status_code, answer.json()["key"]) == (400, key)


@pytest.mark.parametrize(("reading", "status"), [("accept", 200), ("refuse", 400)])
def test_a_batch_without_entries_is_answered_or_refused(
    api: Api, emulator: Emulator, reading: str, status: int
) -> None:
    emulator.switches.change({"empty_batches": reading})
    template = next(one.id for one in emulator.state.templates if one["name"] == "pesquisa")
    assert (
        api.call("send_template_batch", {"from": WHATSAPP, "templateId": template, "messages": []}).status_code
        == status
    )
    assert api.call("queue_chatbot_batch", {"botKey": api.bot_key("Cobrança"), "messages": []}).status_code == status
    assert api.call("batch_cancel_scheduled_messages", []).status_code == status
    sequence = emulator.state.sequences.by_creation()[0].id
    refused = api.call("add_sequence_contacts_batch", {"contactIds": []}, id=sequence)
    assert (refused.status_code == 200) == (reading == "accept")


@pytest.mark.parametrize(("reading", "status"), [("refuse", 500), ("cut", 200)])
def test_typing_for_too_long_is_refused_or_cut(api: Api, emulator: Emulator, reading: str, status: int) -> None:
    emulator.switches.change({"long_typing": reading})
    assert api.call("send_text", {"from": WHATSAPP, "to": CARLA, "text": "Oi", "delayTyping": 60}).status_code == status
    emulator.advance(27)
    assert len(emulator.received(CARLA)) == (status == 200)


@pytest.mark.parametrize("reading", ["null", "known"])
def test_a_queued_send_into_an_open_session_shows_it_at_once_or_later(
    api: Api, emulator: Emulator, reading: str
) -> None:
    emulator.switches.change({"queued_session_id": reading})
    session = api.start_bot("Falar com atendente")
    sends = [api.send_text(), api.send_text(sessionId=session["id"])]
    assert [send["sessionId"] for send in sends] == [session["id"] if reading == "known" else None] * 2
    emulator.advance(2)
    assert {api.ask("get_sent_message_status", id=send["id"])["sessionId"] for send in sends} == {session["id"]}


# Sizes, delays and features; the others are readings of what nobody documents.
NO_READINGS = {"strict", "rate_limits", "scheduled_messages", "webhooks_to"}


def test_every_reading_is_a_named_assumption() -> None:
    page = (Path(__file__).parents[2] / "docs" / "assumptions.md").read_text()
    hints = typing.get_type_hints(Switches)
    readings = {name for name, kind in hints.items() if kind is bool or typing.get_origin(kind) is typing.Literal}
    assert {name for name in readings - NO_READINGS if f"`{name}`" not in page} == set()
