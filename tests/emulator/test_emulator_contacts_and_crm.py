"""Contacts, tags, portfolios, sequences, teams, panels, files, scheduled messages and webhooks."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import requests
from emulator_api import CARLA, DIEGO, WHATSAPP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from emulator_api import Api

    from airflow_provider_wts.emulator.running import Emulator

NEW = "+55|11977776666"
LATER = 3600


# Contacts -----------------------------------------------------------------------------------------------------------


def test_a_phone_is_kept_with_pipe_and_shown_formatted(api: Api) -> None:
    contact = api.ask("create_contact", {"name": "Ana", "phoneNumber": "5511977776666"})
    assert (contact["phoneNumber"], contact["phoneNumberFormatted"]) == (NEW, "(11) 97777-6666")


def test_a_contact_without_any_data_is_refused(api: Api) -> None:
    assert api.call("create_contact", {}).status_code == 500


@pytest.mark.parametrize(
    ("body", "status"),
    [({"phoneNumber": CARLA}, 500), ({"email": "CARLA@exemplo.com.br"}, 500), ({"instagram": "elisa.rocha"}, 500)],
)
def test_a_contact_that_exists_is_refused(api: Api, body: dict[str, Any], status: int) -> None:
    assert api.call("create_contact", {"name": "Outra", **body}).status_code == status


def test_a_contact_that_exists_is_returned_or_updated_when_asked(api: Api, emulator: Emulator) -> None:
    got = api.ask("create_contact", {"phoneNumber": CARLA, "name": "X", "options": {"getIfExists": True}})
    assert got["name"] == "Carla Dias"
    changed = api.ask("create_contact", {"phoneNumber": CARLA, "name": "X", "options": {"upsert": True}})
    assert (changed["id"], changed["name"]) == (got["id"], "X")
    emulator.switches.duplicate_contact = "return"
    assert api.ask("create_contact", {"phoneNumber": CARLA})["id"] == got["id"]


def test_an_upsert_changes_only_the_fields_named(api: Api) -> None:
    options = {"upsert": True, "upsertFields": ["Annotation"]}
    changed = api.ask("create_contact", {"phoneNumber": CARLA, "name": "X", "annotation": "Nota", "options": options})
    assert (changed["name"], changed["annotation"]) == ("Carla Dias", "Nota")


@pytest.mark.parametrize(
    ("operation", "left"),
    [(None, {"Nova"}), ("INSERTIFNOTEXISTS", {"VIP", "Nova"}), ("DELETEIFEXISTS", {"VIP"}), ("REPLACEALL", {"Nova"})],
)
def test_an_upsert_replaces_tags_unless_told_otherwise(api: Api, operation: str | None, left: set[str]) -> None:
    options: dict[str, Any] = {"upsert": True}
    if operation is not None:
        options["upsertTagOperation"] = operation
    changed = api.ask("create_contact", {"phoneNumber": CARLA, "tagNames": ["Nova"], "options": options})
    assert set(changed["tagNames"]) == left


@pytest.mark.parametrize(
    ("operation", "left"),
    [(None, {"VIP", "Nova"}), ("DeleteIfExists", {"VIP"}), ("ReplaceAll", {"Nova"})],
)
def test_an_update_adds_tags_unless_told_otherwise(api: Api, operation: str | None, left: set[str]) -> None:
    body: dict[str, Any] = {"fields": ["Tags"], "tagNames": ["Nova"]}
    if operation is not None:
        body["options"] = {"tagsOperation": operation}
    assert set(api.ask("update_contact_by_phone", body, phone=CARLA)["tagNames"]) == left


@pytest.mark.parametrize(("reading", "status", "tags"), [("create", 200, 1), ("drop", 200, 0), ("refuse", 500, 0)])
def test_an_unknown_tag_name_is_created_dropped_or_refused(
    api: Api, emulator: Emulator, reading: str, status: int, tags: int
) -> None:
    emulator.switches.change({"unknown_tag_names": reading})
    before = len(api.ask("list_tags"))
    body = {"tagNames": ["Nova"], "operation": "InsertIfNotExists"}
    assert api.call("update_contact_tags_by_phone", body, phone=CARLA).status_code == status
    assert len(api.ask("list_tags")) - before == tags


def test_an_update_writes_only_what_is_named(api: Api) -> None:
    body = {"fields": ["Annotation"], "annotation": "Nota", "name": "X"}
    updated = api.ask("update_contact_by_phone", body, phone=CARLA)
    assert (updated["annotation"], updated["name"]) == ("Nota", "Carla Dias")


@pytest.mark.parametrize(
    ("switches", "body", "name", "email"),
    [
        ({}, {"name": "X"}, "Carla Dias", "carla@exemplo.com.br"),
        ({"update_without_fields": "given"}, {"name": "X"}, "X", "carla@exemplo.com.br"),
        ({}, {"fields": ["Email"]}, "Carla Dias", None),
        ({"named_but_not_sent": "keep"}, {"fields": ["Email"]}, "Carla Dias", "carla@exemplo.com.br"),
    ],
)
def test_the_mask_of_an_update_can_be_read_differently(
    api: Api, emulator: Emulator, switches: dict[str, Any], body: dict[str, Any], name: str, email: str | None
) -> None:
    emulator.switches.change(switches)
    updated = api.ask("update_contact_by_phone", body, phone=CARLA)
    assert (updated["name"], updated["email"]) == (name, email)


def test_metadata_merges_and_null_removes(api: Api) -> None:
    for metadata in ({"a": "1", "b": "2"}, {"a": None, "c": "3"}):
        body = {"fields": ["Metadata"], "metadata": metadata}
        updated = api.ask("update_contact_by_phone", body, phone=CARLA)
    assert updated["metadata"] == {"b": "2", "c": "3"}


def test_custom_fields_with_unknown_keys_or_wrong_types_are_dropped(api: Api) -> None:
    given = {
        "cpf": "123",
        "plano": "Básico",
        "limite-de-credito": "muito",
        "nada": 1,
        "data-de-nascimento": "1990-01-02",
    }
    updated = api.ask("update_contact_by_phone", {"fields": ["CustomFields"], "customFields": given}, phone=CARLA)
    assert updated["customFields"] == {"cpf": "123", "plano": "Básico", "data-de-nascimento": "1990-01-02"}


def test_a_number_of_another_contact_cannot_be_taken(api: Api) -> None:
    answer = api.call("update_contact_by_phone", {"fields": ["PhoneNumber"], "phoneNumber": DIEGO}, phone=CARLA)
    assert (answer.status_code, answer.json()["key"]) == (500, "ENTITY_ERROR_SAVE")


def test_a_changed_number_is_found_and_the_old_one_is_not(api: Api) -> None:
    api.ask("update_contact_by_phone", {"fields": ["PhoneNumber"], "phoneNumber": NEW}, phone=CARLA)
    assert api.ask("get_contact_by_phone", phone=NEW)["name"] == "Carla Dias"
    assert api.call("get_contact_by_phone", phone=CARLA).status_code == 500


def test_archived_contacts_are_not_listed_unless_asked_for(api: Api) -> None:
    api.ask("update_contact_by_phone", {"fields": ["Status"], "status": "ARCHIVED"}, phone=CARLA)
    assert api.ask("list_contacts")["totalItems"] == 2
    assert api.ask("list_contacts", query={"Status": "ARCHIVED"})["totalItems"] == 1
    assert api.ask("filter_contacts", {"status": "ARCHIVED"})["totalItems"] == 1


@pytest.mark.parametrize(
    "filters",
    [
        {"tagNames": ["vip"]},
        {"phoneNumber": "5511999990001"},
        {"textFilter": "carla"},
        {"email": "carla@"},
        {"metadata": {"origem": "feira"}},
        {"name": "dias", "tagNames": ["VIP"]},
    ],
)
def test_contacts_are_filtered(api: Api, filters: dict[str, Any]) -> None:
    api.ask("update_contact_by_phone", {"fields": ["Metadata"], "metadata": {"origem": "feira"}}, phone=CARLA)
    assert [one["name"] for one in api.ask("filter_contacts", filters)["items"]] == ["Carla Dias"]


def test_a_batch_saves_new_contacts_and_updates_others(api: Api) -> None:
    items = [{"phoneNumber": CARLA, "name": "Carla D."}, {"phoneNumber": NEW, "name": "Nova"}]
    saved = api.ask("batch_save_contacts", {"items": items})
    assert [one["name"] for one in saved] == ["Carla D.", "Nova"]
    assert api.ask("list_contacts")["totalItems"] == 4


@pytest.mark.parametrize("count", [0, 101])
def test_a_batch_holds_1_to_100_contacts(api: Api, count: int) -> None:
    assert api.call("batch_save_contacts", {"items": [{"name": "X"}] * count}).status_code == 400


def test_a_refused_create_leaves_nothing_behind(api: Api) -> None:
    assert api.call("create_contact", {"phoneNumber": NEW, "portfolioNames": ["Nenhuma"]}).status_code == 500
    assert api.call("get_contact_by_phone", phone=NEW).status_code == 500


def test_a_tag_in_use_is_deleted_only_with_its_contacts(api: Api) -> None:
    tag = next(tag for tag in api.ask("list_tags") if tag["name"] == "VIP")
    assert api.call("delete_tag", id=tag["id"]).status_code == 500
    api.ask("delete_tag", {"removeFromContacts": True}, id=tag["id"])
    contact = api.ask("get_contact_by_phone", query={"IncludeDetails": "Tags"}, phone=CARLA)
    assert contact["tagNames"] == []


def test_a_tag_has_a_grey_colour_and_keeps_its_own(api: Api) -> None:
    tag = api.ask("create_tag", {"name": "Nova"})
    assert tag["color"] == "GRAY_600"
    api.ask("update_tag", {"name": "Nova", "color": "RED_100"}, id=tag["id"])
    assert api.ask("update_tag", {"name": "Velha"}, id=tag["id"])["color"] == "RED_100"


def test_members_join_and_leave_a_portfolio(api: Api, emulator: Emulator) -> None:
    portfolio = emulator.state.portfolios.by_creation()[0].id
    for _ in range(2):
        api.ask("add_portfolio_contact", {"phoneNumber": CARLA}, id=portfolio)
    contact = api.ask("get_contact_by_phone", query={"IncludeDetails": "Portfolios"}, phone=CARLA)
    assert contact["portfolioNames"] == ["Carteira da Ana"]
    api.ask("remove_portfolio_contacts_batch", {"phoneNumbers": [CARLA]}, id=portfolio)
    assert api.ask("list_portfolio_contacts", id=portfolio)["items"] == []


@pytest.mark.parametrize(("reading", "status"), [("update", 200), ("refuse", 500)])
def test_a_contact_can_be_added_to_a_sequence_twice_or_not(
    api: Api, emulator: Emulator, reading: str, status: int
) -> None:
    emulator.switches.change({"sequence_add_twice": reading})
    sequence = emulator.state.sequences.by_creation()[0].id
    api.ask("add_sequence_contact", {"phoneNumber": CARLA}, id=sequence)
    assert api.call("add_sequence_contact", {"phoneNumber": CARLA}, id=sequence).status_code == status
    assert api.ask("list_sequence_contacts", id=sequence)["totalItems"] == 1


def test_a_batch_creates_the_contacts_of_unknown_numbers(api: Api, emulator: Emulator) -> None:
    sequence = emulator.state.sequences.by_creation()[0].id
    added = api.ask("add_sequence_contacts_batch", {"phoneNumbers": [NEW, CARLA]}, id=sequence)
    assert added["totalItems"] == 2
    api.ask("remove_sequence_contacts_batch", {"phoneNumbers": [NEW]}, id=sequence)
    assert api.ask("list_sequence_contacts", id=sequence)["totalItems"] == 1


# Teams --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("resolution", "status"), [("COMPLETE", "COMPLETED"), ("RETURN_TO_PENDING", "PENDING")])
def test_the_sessions_of_a_deleted_agent_are_resolved(api: Api, resolution: str, status: str) -> None:
    agent = api.ask("list_agents")[1]
    session = api.start_bot("Falar com atendente")
    api.ask("assign_session_user", {"userId": agent["userId"]}, id=session["id"])
    api.ask("delete_agent", {"sessionResolution": resolution}, id=agent["id"])
    assert api.get_session(session["id"])["status"] == status
    assert len(api.ask("list_agents")) == 1


@pytest.mark.parametrize(("action", "names"), [("Upsert", 3), ("ReplaceAll", 1), ("Remove", 2)])
def test_the_departments_of_an_agent_are_changed(api: Api, action: str, names: int) -> None:
    agent, departments = api.ask("list_agents")[0], api.ask("list_departments")
    items = [{"departmentId": departments[2]["id"], "isAgent": True}]
    api.ask("update_agent_departments", {"action": action, "items": items}, id=agent["id"])
    assert len(api.ask("get_agent", id=agent["id"])["departments"]) == names


def test_a_department_is_made_changed_and_deleted(api: Api) -> None:
    agent = api.ask("list_agents")[0]
    made = api.ask("create_department", {"name": "Suporte", "agents": [{"userId": agent["userId"], "isAgent": True}]})
    body = {"fields": ["Name", "ChannelsConfig"], "name": "Ajuda"}
    config = {"scope": "SELECTED", "channels": [WHATSAPP]}
    api.ask("update_department", {**body, "channelsConfig": config}, id=made["id"])
    found = api.ask("get_department", query={"includeDetails": "All"}, id=made["id"])
    assert (found["name"], [one["userId"] for one in found["agents"]]) == ("Ajuda", [agent["userId"]])
    assert [one["number"] for one in found["channels"]] == [WHATSAPP]
    api.ask("delete_department", id=made["id"])
    assert api.call("get_department", id=made["id"]).status_code == 500


# Panels -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def panel(api: Api) -> Any:
    return api.ask("list_panels", query={"Type": "SALES", "IncludeDetails": ["Steps", "Tags"]})["items"][0]


def card(api: Api, panel: Any, **more: Any) -> Any:
    return api.ask("create_card", {"stepId": panel["steps"][0]["id"], "title": "Venda", **more})


def test_a_card_gets_key_number_and_position(api: Api, panel: Any) -> None:
    first, second = card(api, panel), card(api, panel)
    assert [(one["key"], one["position"], one["status"]) for one in (first, second)] == [
        ("VENDAS-1", 0.0, "OPEN"),
        ("VENDAS-2", 1.0, "OPEN"),
    ]


@pytest.mark.parametrize(("name", "value"), [("position", 0), ("monetaryAmount", 0), ("description", "")])
def test_empty_values_are_written(api: Api, panel: Any, name: str, value: object) -> None:
    made = card(api, panel, position=5, monetaryAmount=10, description="Texto")
    field = name[0].upper() + name[1:]
    assert api.ask("update_card", {"fields": [field], name: value}, id=made["id"])[name] == value


def test_a_card_moves_to_another_step(api: Api, panel: Any) -> None:
    made = card(api, panel)
    body = {"fields": ["StepId"], "stepId": panel["steps"][2]["id"]}
    assert api.ask("update_card", body, id=made["id"])["stepPhase"] == "FINAL"


def test_a_card_is_lost_with_a_reason_and_opened_again(api: Api, panel: Any) -> None:
    made, reasons = card(api, panel), api.ask("list_panel_lost_reasons", id=panel["id"])["items"]
    lost = {"fields": ["Status"], "status": "LOST", "lostReasonId": reasons[0]["id"]}
    assert api.ask("update_card", lost, id=made["id"])["lostReason"]["name"] == reasons[0]["description"]
    opened = api.ask("update_card", {"fields": ["Status"], "status": "OPEN"}, id=made["id"])
    assert (opened["status"], "lostReason" in opened) == ("OPEN", False)


def test_the_tags_of_a_card_are_those_of_its_panel(api: Api, panel: Any) -> None:
    made = card(api, panel, tagNames=["urgente", "Desconhecida"])
    assert made["tagIds"] == [tag["id"] for tag in panel["tags"] if tag["name"] == "Urgente"]


def test_the_custom_fields_of_a_card_are_those_of_its_panel(api: Api, panel: Any) -> None:
    made = card(api, panel, customFields={"origem": "Feira", "cpf": "1"}, metadata={"a": "1"})
    assert (made["customFields"], made["metadata"]) == ({"origem": "Feira"}, {"a": "1"})


def test_cards_are_filtered(api: Api, panel: Any) -> None:
    contact = api.ask("get_contact_by_phone", phone=CARLA)["id"]
    made = card(api, panel, contactIds=[contact])
    card(api, panel, title="Outra")
    for filters in ({"ContactId": contact}, {"TextFilter": "vend", "ContactId": contact}):
        found = api.ask("list_cards", query={"PanelId": panel["id"], **filters})["items"]
        assert [one["id"] for one in found] == [made["id"]]


def test_a_copy_has_what_was_asked_for(api: Api, panel: Any) -> None:
    made = card(api, panel, monetaryAmount=10, dueDate="2099-01-01T00:00:00Z")
    api.ask("create_card_note", {"text": "Nota"}, cardId=made["id"])
    options = {"fields": ["MonetaryAmount", "Notes"], "archiveOriginalCard": True}
    copy = api.ask("duplicate_card", {"options": options}, id=made["id"])
    assert (copy["monetaryAmount"], copy["dueDate"]) == (10, None)
    assert api.ask("list_card_notes", cardId=copy["id"])["totalItems"] == 1
    assert api.ask("get_card", id=made["id"])["status"] == "ARCHIVED"


@pytest.mark.parametrize(("body", "status"), [({}, 500), ({"fileUrls": ["https://exemplo.com.br/a"] * 4}, 400)])
def test_a_note_has_text_or_up_to_three_files(api: Api, panel: Any, body: dict[str, Any], status: int) -> None:
    assert api.call("create_card_note", body, cardId=card(api, panel)["id"]).status_code == status


def test_a_panel_counts_its_cards(api: Api, panel: Any) -> None:
    card(api, panel, monetaryAmount=10)
    card(api, panel, monetaryAmount=5)
    found = api.ask("get_panel", query={"IncludeDetails": ["Steps", "StepsCardCount", "Cards"]}, id=panel["id"])
    assert [step["cardCount"] for step in found["steps"]] == [2, 0, 0]
    assert found["steps"][0]["monetaryAmount"] == 15
    assert found["steps"][0]["cards"]["totalItems"] == 2


def test_custom_fields_nest_in_their_groups(api: Api) -> None:
    flat, nested = (api.ask("list_custom_fields", query={"NestedList": value}) for value in ("false", "true"))
    assert len(flat) == 5
    assert {one["name"]: len(one["children"] or ()) for one in nested}["Dados do cliente"] == 2


# Files --------------------------------------------------------------------------------------------------------------


def upload(api: Api, content: bytes = b"conteudo", **headers: str) -> tuple[str, requests.Response]:
    given = api.ask("get_file_upload_url", query={"Type": "DOCUMENT", "Name": "nota.pdf"})
    return given["tempFileId"], requests.put(given["urlUpload"], data=content, headers=headers, timeout=5)


def test_a_file_is_uploaded_in_three_steps_and_sent(api: Api, emulator: Emulator) -> None:
    temporary, put = upload(api)
    assert put.status_code == 200
    file = api.ask("save_file", {"tempFileId": temporary})
    assert (file["name"], file["size"], file["mimeType"]) == ("nota.pdf", 8, "application/pdf")
    send = api.ask("send_document", {"from": WHATSAPP, "to": CARLA, "fileIdOrUrl": file["id"]})
    emulator.advance(1)
    assert api.ask("get_message", id=send["id"])["fileId"] == file["id"]


def test_saving_twice_gives_the_same_file(api: Api) -> None:
    temporary, _ = upload(api)
    ids = {api.ask("save_file", {"tempFileId": temporary})["id"] for _ in range(2)}
    assert len(ids) == 1


def test_a_file_that_was_not_put_is_refused(api: Api) -> None:
    given = api.ask("get_file_upload_url", query={"Type": "IMAGE", "Name": "foto.png"})
    assert api.call("save_file", {"tempFileId": given["tempFileId"]}).status_code == 500


def test_the_token_has_no_place_in_the_upload(api: Api, emulator: Emulator) -> None:
    _, put = upload(api, Authorization="Bearer pn_emulator")
    assert put.status_code == 400
    assert "upload" in emulator.violations[-1]


def test_an_upload_url_expires(api: Api, emulator: Emulator) -> None:
    given = api.ask("get_file_upload_url", query={"Type": "IMAGE", "Name": "foto.png"})
    emulator.advance(LATER + 1)
    assert requests.put(given["urlUpload"], data=b"x", timeout=5).status_code == 403


# Scheduled messages -------------------------------------------------------------------------------------------------


def scheduled(api: Api, emulator: Emulator, **more: Any) -> dict[str, Any]:
    moment = emulator.clock.text(emulator.clock.now() + LATER * 10_000_000)
    return {"from": WHATSAPP, "to": CARLA, "botKey": api.bot_key("Carrinho abandonado"), "scheduling": moment, **more}


def test_a_scheduled_chatbot_goes_out_at_its_time(api: Api, emulator: Emulator) -> None:
    made = api.ask("create_scheduled_message", scheduled(api, emulator))
    assert (made["status"], made["type"]) == ("SCHEDULED", "CHATBOT")
    emulator.advance(LATER - 10)
    assert emulator.received(CARLA) == []
    emulator.advance(20)
    assert [one.bot for one in emulator.received(CARLA)] == ["Carrinho abandonado"]
    assert api.ask("get_scheduled_message", id=made["id"])["status"] == "SENT"


def test_a_scheduled_template_follows_its_message(api: Api, emulator: Emulator) -> None:
    body = {**scheduled(api, emulator), "botKey": None, "type": "TEMPLATE", "templateId": "a1b2_saudacao"}
    made = api.ask("create_scheduled_message", {**body, "templateParams": {"parameters": {"nome": "Ana"}}})
    emulator.advance(LATER + 60)
    assert api.ask("get_scheduled_message", id=made["id"])["status"] == "READ"
    assert emulator.received(CARLA)[0].text == "Olá Ana, tudo bem?"


def test_a_canceled_message_does_not_go_out(api: Api, emulator: Emulator) -> None:
    made = api.ask("create_scheduled_message", scheduled(api, emulator))
    assert api.call("cancel_scheduled_message", id=made["id"]).content == b""
    again = api.call("cancel_scheduled_message", id=made["id"])
    assert (again.status_code, again.json()["key"]) == (500, "ENTITY_ERROR_SAVE")
    emulator.advance(LATER * 2)
    assert emulator.received(CARLA) == []


def test_a_batch_cancels_what_is_still_scheduled(api: Api, emulator: Emulator) -> None:
    first, second = (api.ask("create_scheduled_message", scheduled(api, emulator))["id"] for _ in range(2))
    api.ask("cancel_scheduled_message", id=first)
    assert [one["id"] for one in api.ask("batch_cancel_scheduled_messages", [first, second])] == [second]


def test_a_moved_message_goes_out_once_at_its_new_time(api: Api, emulator: Emulator) -> None:
    made = api.ask("create_scheduled_message", scheduled(api, emulator))
    moment = emulator.clock.text(emulator.clock.now() + 2 * LATER * 10_000_000)
    api.ask("update_scheduled_message", {"fields": ["Scheduling"], "scheduling": moment}, id=made["id"])
    emulator.advance(LATER + 10)
    assert emulator.received(CARLA) == []
    emulator.advance(LATER)
    assert len(emulator.received(CARLA)) == 1


def test_a_past_time_is_refused(api: Api, emulator: Emulator) -> None:
    body = scheduled(api, emulator, scheduling="2020-01-01T00:00:00Z")
    assert api.call("create_scheduled_message", body).status_code == 500


def test_an_account_can_lack_scheduled_messages(api: Api, emulator: Emulator) -> None:
    emulator.switches.scheduled_messages = False
    answer = api.call("create_scheduled_message", scheduled(api, emulator))
    assert answer.json()["key"] == "ENTITY_NOT_FOUND"


# Webhooks -----------------------------------------------------------------------------------------------------------


@contextmanager
def receiver() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_subscribers_get_events(api: Api, until: Callable[[Callable[[], Any]], Any]) -> None:
    with receiver() as (url, got):
        events = ["CONTACT_NEW", "CONTACT_UPDATE", "SESSION_NEW", "MESSAGE_SENT"]
        api.ask("create_webhook_subscription", {"name": "Eventos", "url": url, "events": events})
        api.ask("create_contact", {"name": "Ana", "phoneNumber": NEW})
        api.ask("update_contact_by_phone", {"fields": ["Name"], "name": "Bia"}, phone=NEW)
        api.start_bot("Falar com atendente")
        until(lambda: len(got) == 4)
    assert [one["eventType"] for one in got] == events
    assert set(got[1]) == {"eventType", "date", "content"}
    assert (got[1]["content"]["phonenumber"], got[1]["content"]["name"]) == (NEW, "Bia")


def test_a_paused_subscription_gets_nothing(api: Api, emulator: Emulator) -> None:
    body = {"name": "Eventos", "url": "http://203.0.113.1/x", "events": ["CONTACT_NEW"]}
    made = api.ask("create_webhook_subscription", body)
    api.ask("update_webhook_subscription", {"fields": ["Enabled"], "enabled": False}, subscriptionId=made["id"])
    api.ask("create_contact", {"name": "Ana"})
    assert emulator.posts == []


def test_posts_to_other_machines_are_recorded_only(api: Api, emulator: Emulator) -> None:
    body = {"name": "Eventos", "url": "https://exemplo.com.br/x", "events": ["CONTACT_NEW"]}
    api.ask("create_webhook_subscription", body)
    api.ask("create_contact", {"name": "Ana"})
    assert [(post.reason, post.status) for post in emulator.posts] == [("CONTACT_NEW", None)]
