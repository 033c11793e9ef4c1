"""Sends: texts, media, templates, one-time passwords, quick messages; how they move and how they fail."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from emulator_api import CARLA, DIEGO, WHATSAPP

if TYPE_CHECKING:
    from emulator_api import Api

    from airflow_provider_wts.emulator.running import Emulator

FILE = "https://exemplo.com.br/nota.pdf"
ZAPI = {"name": "Não oficial", "type": "ZAPI_WhatsApp", "number": "+55|1130001000"}


@pytest.fixture
def still(emulator: Emulator) -> Emulator:
    """An emulator whose clock moves only when told to."""
    emulator.clock.speed = 0
    return emulator


def test_a_message_moves_through_its_statuses(api: Api, still: Emulator) -> None:
    send = api.send_text(senderId="envio-1")
    seen = [send["status"]]
    for seconds in (0.7, 1.0, 5.0):
        still.advance(seconds)
        seen.append(api.ask("get_sent_message_status", id=send["id"])["status"])
    assert seen == ["QUEUED", "SENT", "DELIVERED", "READ"]


@pytest.mark.parametrize(
    ("operation_id", "content", "kind"),
    [
        ("send_text", {"text": "Oi"}, "TEXT"),
        ("send_image", {"fileIdOrUrl": FILE, "text": "Foto"}, "IMAGE"),
        ("send_audio", {"fileIdOrUrl": FILE}, "AUDIO"),
        ("send_video", {"fileIdOrUrl": FILE}, "VIDEO"),
        ("send_document", {"fileIdOrUrl": FILE}, "DOCUMENT"),
    ],
)
def test_a_send_becomes_a_message_of_its_kind(
    api: Api, still: Emulator, operation_id: str, content: dict[str, Any], kind: str
) -> None:
    send = api.ask(operation_id, {"from": WHATSAPP, "to": CARLA, "senderId": "envio-1", **content})
    still.advance(1)
    session = api.ask("get_sent_message_status", id=send["id"])["sessionId"]
    (message,) = api.ask("list_messages", query={"SessionId": session})["items"]
    assert (message["type"], message["senderId"], message["origin"]) == (kind, "envio-1", "API")
    assert message["direction"] == "TO_HUB"


def test_the_sender_id_can_be_missing_in_messages(api: Api, still: Emulator) -> None:
    still.switches.sender_id_in_messages = False
    send = api.send_text(senderId="envio-1")
    still.advance(1)
    assert api.ask("get_message", id=send["id"])["senderId"] is None


def test_a_send_into_a_session_needs_no_recipient(api: Api, still: Emulator) -> None:
    session = api.start_bot("Falar com atendente")
    api.ask("send_text", {"sessionId": session["id"], "text": "Oi"})
    still.advance(1)
    assert still.received(CARLA)[-1].text == "Oi"


def test_a_number_that_fails_gets_nothing_and_says_why(api: Api, still: Emulator) -> None:
    still.behave(CARLA, fails="Número sem WhatsApp")
    send = api.send_text()
    still.advance(1)
    status = api.ask("get_sent_message_status", id=send["id"])
    assert (status["status"], status["failedReason"]) == ("FAILED", "Número sem WhatsApp")
    message = api.ask("get_message", id=send["id"])
    assert message["details"]["errors"][0]["text"] == "Número sem WhatsApp"
    assert still.received(CARLA) == []


def test_messages_to_a_contact_can_stay_in_a_status(api: Api, still: Emulator) -> None:
    still.behave(CARLA, stays="SENT")
    send = api.send_text()
    still.advance(3600)
    assert api.ask("get_sent_message_status", id=send["id"])["status"] == "SENT"


@pytest.mark.parametrize(
    ("switch", "start"), [("relative", "/chat/v1/send/message/"), ("absolute", "http://127.0.0.1")]
)
def test_the_status_url_is_relative_or_absolute(api: Api, emulator: Emulator, switch: str, start: str) -> None:
    emulator.switches.change({"status_url": switch})
    assert api.send_text()["statusUrl"].startswith(start)


def test_a_typing_delay_over_25_seconds_is_refused(api: Api) -> None:
    assert api.call("send_text", {"from": WHATSAPP, "to": CARLA, "text": "Oi", "delayTyping": 26}).status_code == 500


def test_typing_needs_an_active_session(api: Api, emulator: Emulator) -> None:
    session = api.start_bot()
    assert api.call("send_typing", {"sessionId": session["id"]}).content == b""
    emulator.advance(10)
    assert api.call("send_typing", {"sessionId": session["id"]}).status_code == 500


# Templates ----------------------------------------------------------------------------------------------------------


def template_id(api: Api, name: str) -> str:
    templates = api.ask("list_templates", query={"PageSize": 100})["items"]
    return str(next(template["id"] for template in templates if template["name"] == name))


def template(api: Api, name: str = "saudacao", **more: Any) -> dict[str, Any]:
    parameters = {"nome": "Carla"}
    return {"from": WHATSAPP, "to": CARLA, "templateId": template_id(api, name), "parameters": parameters, **more}


def test_a_template_is_filled_in(api: Api, still: Emulator) -> None:
    send = api.ask("send_template", template(api, sessionMetadata={"lote": "7"}))
    still.advance(1)
    (received,) = still.received(CARLA)
    assert (received.kind, received.text) == ("template", "Olá Carla, tudo bem?")
    session = api.ask("get_sent_message_status", id=send["id"])["sessionId"]
    assert api.get_session(session)["metadata"] == {"lote": "7"}


def test_a_template_is_found_by_its_slug(api: Api) -> None:
    assert api.call("send_template", {**template(api), "templateId": "a1b2_saudacao"}).status_code == 200


@pytest.mark.parametrize(("name", "parameters"), [("saudacao", {}), ("em_revisao", {}), ("saudacao", {"nome": None})])
def test_a_template_without_its_variables_or_approval_is_refused(
    api: Api, name: str, parameters: dict[str, Any]
) -> None:
    assert api.call("send_template", template(api, name, parameters=parameters)).status_code == 500


def test_a_batch_of_templates_answers_for_each_entry(api: Api, still: Emulator) -> None:
    messages = [
        {"to": CARLA, "parameters": {"nome": "Carla"}, "senderId": "a"},
        {"to": DIEGO, "parameters": {}, "senderId": "b"},
    ]
    body = {"from": WHATSAPP, "templateId": template_id(api, "saudacao"), "messages": messages}
    results = api.ask("send_template_batch", body)["results"]
    assert [(one["senderId"], one["status"]) for one in results] == [("a", "QUEUED"), ("b", "FAILED")]
    still.advance(1)
    assert [len(still.received(to)) for to in (CARLA, DIEGO)] == [1, 0]


def test_templates_are_filtered_by_use_and_approval(api: Api) -> None:
    found = api.ask("list_templates", query={"Type": "AUTHENTICATION"})["items"]
    assert [one["name"] for one in found] == ["codigo"]
    approved = api.ask("list_templates", query={"ApprovedOnly": "true", "PageSize": 100})["items"]
    assert "em_revisao" not in [one["name"] for one in approved]


# The 24-hour window -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation_id", ["send_text", "send_message"])
@pytest.mark.parametrize(
    ("reading", "status", "end"),
    [("warn", 200, "READ"), ("off", 200, "READ"), ("refuse", 500, None), ("fail", 200, "FAILED")],
)
def test_free_text_to_a_cold_contact_follows_the_switch(
    api: Api, still: Emulator, operation_id: str, reading: str, status: int, end: str | None
) -> None:
    still.switches.change({"whatsapp_window": reading})
    content = {"text": "Oi"} if operation_id == "send_text" else {"body": {"text": "Oi"}}
    answer = api.call(operation_id, {"from": WHATSAPP, "to": CARLA, **content})
    assert answer.status_code == status
    still.advance(60)
    if end is not None:
        assert api.ask("get_message", id=answer.json()["id"])["status"] == end
    assert bool(still.violations) is (reading == "warn")


def test_free_text_of_a_bot_is_no_violation_of_the_client(api: Api, still: Emulator) -> None:
    session = api.start_bot()
    still.advance(2)
    written = api.ask("list_messages", query={"SessionId": session["id"]})["items"]
    assert [one["text"] for one in written if not one["templateId"]] == ["Você já fez o pagamento?"]
    assert not still.violations


def test_the_window_is_open_for_a_day_after_the_contact_wrote(api: Api, still: Emulator) -> None:
    still.switches.whatsapp_window = "refuse"
    session = still.contact_writes(CARLA, "Oi")["sessionId"]
    assert api.get_session(session)["windowStatus"] == "ACTIVE"
    api.send_text()
    still.advance(86_401)
    assert api.get_session(session)["windowStatus"] == "EXPIRED"
    assert api.call("send_text", {"from": WHATSAPP, "to": CARLA, "text": "Oi"}).status_code == 500


def test_the_rule_does_not_hold_on_unofficial_channels(api: Api, emulator: Emulator) -> None:
    emulator.switches.whatsapp_window = "refuse"
    emulator.seed(channels=[ZAPI])
    assert api.call("send_text", {"from": ZAPI["number"], "to": CARLA, "text": "Oi"}).status_code == 200


def test_a_template_opens_a_conversation(api: Api, emulator: Emulator) -> None:
    emulator.switches.whatsapp_window = "refuse"
    assert api.call("send_template", template(api)).status_code == 200


# Quick messages -----------------------------------------------------------------------------------------------------


def test_a_quick_message_is_queued(api: Api, still: Emulator) -> None:
    sent = api.ask("send_message", {"from": WHATSAPP, "to": CARLA, "body": {"text": "Oi"}})
    assert sent["status"] == "QUEUED"
    still.advance(1)
    status = api.session.get(still.url + sent["statusUrl"], timeout=5).json()
    assert (status["id"], status["status"]) == (sent["id"], "SENT")


def test_a_synchronous_message_waits_for_the_channel(api: Api, emulator: Emulator) -> None:
    emulator.switches.sent_seconds = 0.1
    message = api.ask("send_message_sync", {"from": WHATSAPP, "to": CARLA, "body": {"text": "Oi"}})
    assert message["status"] == "SENT"


def test_a_synchronous_message_gives_up_after_25_seconds(api: Api, emulator: Emulator) -> None:
    emulator.behave(CARLA, stays="QUEUED")
    emulator.clock.speed = 200
    begin = time.monotonic()
    session = api.start_bot("Falar com atendente")
    message = api.ask("send_session_message_sync", {"text": "Oi"}, id=session["id"])
    assert message["status"] == "QUEUED"
    assert 0.1 < time.monotonic() - begin < 5


def test_a_synchronous_message_gives_up_although_the_clock_stands_still(api: Api, still: Emulator) -> None:
    still.switches.sync_gives_up_after = 0.1
    message = api.ask("send_message_sync", {"from": WHATSAPP, "to": CARLA, "body": {"text": "Oi"}})
    assert message["status"] == "QUEUED"


def test_a_reply_bot_starts_when_the_contact_answers(api: Api, emulator: Emulator) -> None:
    key = api.bot_key("Pesquisa NPS")
    sent = api.ask("send_message", {"from": WHATSAPP, "to": CARLA, "botKey": key, "body": {"text": "Oi"}})
    assert [one.kind for one in emulator.received(CARLA)] == ["text"]
    emulator.contact_writes(CARLA, "Oi!")
    assert [one.bot for one in emulator.received(CARLA)] == [None, "Pesquisa NPS"]
    emulator.advance(10)
    assert api.get_session(sent["sessionId"])["metadata"] == {"nps": "Sim"}


@pytest.mark.parametrize(
    "more",
    [{"department": {"name": "Financeiro"}}, {"user": {"email": "bruno@exemplo.com.br"}}, {"user": {"id": None}}],
)
def test_department_and_user_count_for_a_new_session(api: Api, emulator: Emulator, more: dict[str, Any]) -> None:
    sent = api.ask("send_message", {"from": WHATSAPP, "to": CARLA, "body": {"text": "Oi"}, **more})
    session = api.get_session(sent["sessionId"], includeDetails=["DepartmentsDetails", "AgentDetails"])
    if "department" in more:
        assert session["departmentDetails"]["name"] == "Financeiro"
    elif more["user"].get("email"):
        assert session["agentDetails"]["name"] == "Bruno Lima"
    else:
        assert session["userId"] is None


@pytest.mark.parametrize("more", [{"department": {"name": "Nenhuma"}}, {"user": {"email": "x@exemplo.com.br"}}])
def test_an_unknown_department_or_user_is_refused_before_anything_is_sent(
    api: Api, emulator: Emulator, more: dict[str, Any]
) -> None:
    assert api.call("send_message", {"to": CARLA, "body": {"text": "Oi"}, **more}).status_code == 500
    assert emulator.received(CARLA) == []


def test_a_message_without_content_is_refused(api: Api) -> None:
    assert api.call("send_message", {"to": CARLA, "body": {}}).status_code == 500


def test_a_contact_that_answers_everything_reopens_the_window(api: Api, still: Emulator) -> None:
    still.behave(CARLA, replies=["Oi!"], answers="always", delay=2)
    send = api.send_text()
    still.advance(5)
    session = api.ask("get_sent_message_status", id=send["id"])["sessionId"]
    found = api.get_session(session)
    assert (found["lastMessageText"], found["unreadCount"], found["status"]) == ("Oi!", 1, "IN_PROGRESS")


def test_a_deleted_message_stays_deleted(api: Api, still: Emulator) -> None:
    send = api.send_text()
    still.advance(0.3)
    assert api.ask("delete_message", id=send["id"])["status"] == "DELETED"
    still.advance(60)
    assert api.ask("get_message", id=send["id"])["status"] == "DELETED"


@pytest.mark.parametrize(("switch", "moves"), [(True, True), (False, False)])
def test_a_message_moves_the_session_or_not(api: Api, emulator: Emulator, switch: bool, moves: bool) -> None:
    session = api.start_bot("Falar com atendente")
    emulator.switches.messages_touch_session = switch
    before = api.get_session(session["id"])["updatedAt"]
    api.ask("send_session_message", {"text": "Oi"}, id=session["id"])
    assert (api.get_session(session["id"])["updatedAt"] != before) is moves


# One-time passwords -------------------------------------------------------------------------------------------------


def test_a_code_is_made_sent_and_found_by_both_ids(api: Api, still: Emulator) -> None:
    otp = api.ask("send_otp", {"from": WHATSAPP, "to": CARLA, "senderId": "codigo-1"})
    assert (len(otp["code"]), otp["status"]) == (5, "PENDING")
    still.advance(10)
    for identifier in (otp["id"], "codigo-1"):
        assert api.ask("get_otp_status", id=identifier)["status"] == "RECEIVED"
    assert [one.text for one in still.received(CARLA)] == [otp["code"]]


def test_a_code_goes_out_over_whatsapp_only(api: Api) -> None:
    assert api.call("send_otp", {"from": "@loja.exemplo", "to": CARLA}).status_code == 500


# Sessions -----------------------------------------------------------------------------------------------------------


def test_a_completed_session_reopens_when_it_was_told_to(api: Api, emulator: Emulator) -> None:
    session = api.start_bot("Falar com atendente")
    api.ask("complete_session", {"reactivateOnNewMessage": True}, id=session["id"])
    assert emulator.contact_writes(CARLA, "Voltei")["sessionId"] == session["id"]
    assert api.get_session(session["id"])["status"] == "PENDING"


def test_a_completed_session_stays_so_otherwise(api: Api, emulator: Emulator) -> None:
    session = api.start_bot("Falar com atendente")
    api.ask("complete_session", id=session["id"])
    assert emulator.contact_writes(CARLA, "Voltei")["sessionId"] != session["id"]


def test_a_partial_update_writes_only_what_is_named(api: Api) -> None:
    session = api.start_bot("Falar com atendente", sessionMetadata={"a": "1"})
    body = {"fields": ["Metadata"], "metadata": {"b": "2"}, "number": "999", "status": "COMPLETED"}
    updated = api.ask("update_session", body, id=session["id"])
    assert updated["metadata"] == {"a": "1", "b": "2"}
    assert (updated["number"], updated["status"]) == (session["number"], "PENDING")


@pytest.mark.parametrize(("body", "status"), [({"type": "DEPARTMENT"}, 500), ({"type": "USER"}, 500)])
def test_a_transfer_needs_its_partner(api: Api, body: dict[str, Any], status: int) -> None:
    session = api.start_bot()
    assert api.call("transfer_session", body, id=session["id"]).status_code == status


def test_transfer_and_assignment_change_who_has_the_session(api: Api) -> None:
    session = api.start_bot("Falar com atendente")
    agent = api.ask("list_agents")[1]
    assigned = api.ask("assign_session_user", {"userId": agent["userId"]}, id=session["id"])
    assert (assigned["userId"], assigned["status"]) == (agent["userId"], "IN_PROGRESS")
    department = api.ask("list_departments")[2]["id"]
    moved = api.ask("transfer_session", {"type": "DEPARTMENT", "newDepartmentId": department}, id=session["id"])
    assert (moved["departmentId"], moved["userId"], moved["status"]) == (department, None, "PENDING")


def test_notes_stand_apart_from_messages(api: Api) -> None:
    session = api.start_bot("Falar com atendente")
    note = api.ask("create_session_note", {"text": "Cliente irritado"}, id=session["id"])
    notes = api.ask("list_session_notes", id=session["id"])["items"]
    assert [one["id"] for one in notes] == [note["id"]]
    messages = api.ask("list_messages", query={"SessionId": session["id"]})["items"]
    assert {one["type"] for one in messages} == {"TEXT"}
    assert api.ask("delete_session_note", id=note["id"])["status"] == "DELETED"
