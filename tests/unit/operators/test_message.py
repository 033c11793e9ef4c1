"""The operators that read messages, list templates, bots and channels, upload files and cancel what is scheduled."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from operator_runs import run, sent

from airflow_provider_wts.api.messages import send_message
from airflow_provider_wts.api.scheduled import create_scheduled_message
from airflow_provider_wts.api.sends import send_text
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.operators import chatbot, message
from airflow_provider_wts.operators.chatbot import WtsListChannelsOperator, WtsListChatbotsOperator
from airflow_provider_wts.operators.message import (
    WtsCancelScheduledMessageOperator,
    WtsGetMessageOperator,
    WtsGetMessageStatusOperator,
    WtsListMessagesOperator,
    WtsListTemplatesOperator,
    WtsUploadFileOperator,
)

SOME_ID = "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"
WHATSAPP = "+55|1140028922"
CARLA = "+55|11999990001"


def write(emulator: Any, text: str = "Olá") -> Any:
    """Send a text, and return the message that became of it."""
    emulator.switches.whatsapp_window = "off"
    answer = WtsHook().run(send_text(text, to=CARLA, from_=WHATSAPP))
    emulator.advance(5)
    return answer


def schedule(days: int = 1) -> str:
    call = create_scheduled_message(
        CARLA,
        scheduled_type="TEMPLATE",
        template_id=WtsHook().names.template("pesquisa"),
        scheduling=datetime.now(UTC) + timedelta(days=days),
    )
    return str(WtsHook().run(call)["id"])


# The rows of the table of actions -------------------------------------------------------------------------------------


def test_action_10_message_get_by_id(wts_connection, context):
    message_id = write(wts_connection)["id"]

    found = run(WtsGetMessageOperator, context, message_id=f" {message_id.upper()} ")

    assert (found["id"], found["text"]) == (message_id, "Olá")
    assert sent(wts_connection, "get_message").path == f"/chat/v1/message/{message_id}"


def test_action_11_message_get_status(wts_connection, context):
    message_id = write(wts_connection)["id"]

    found = run(WtsGetMessageStatusOperator, context, message_id=message_id)

    assert found["id"] == message_id
    assert found["status"] in ("SENT", "DELIVERED", "READ")
    assert sent(wts_connection, "get_sent_message_status")


def test_action_12_message_get_all_of_a_session(wts_connection, context, tmp_path):
    for number in range(3):
        write(wts_connection, f"Mensagem {number}")
    (session_id,) = {delivery.session_id for delivery in wts_connection.received(CARLA)}

    found = run(WtsListMessagesOperator, context, session_id=session_id, page_size=2, order_direction="asc")

    assert {one["text"] for one in found} >= {"Mensagem 0", "Mensagem 1", "Mensagem 2"}
    requests = wts_connection.requests_of("list_messages")
    # Rows may move while the pages are read, so the list is read back, too.
    assert [dict(request.query)["PageNumber"] for request in requests] == ["1", "2", "1"]
    assert ("SessionId", session_id) in requests[0].query
    assert wts_connection.violations == []

    manifest = run(WtsListMessagesOperator, context, session_id=session_id, output_path=f"file://{tmp_path}/m.jsonl")
    lines = (tmp_path / "m.jsonl").read_text().splitlines()
    assert manifest["items"] == len(lines) == len(found)


# Reading --------------------------------------------------------------------------------------------------------------


def test_a_status_is_looked_up_where_the_message_came_from(wts_connection, context):
    wts_connection.switches.whatsapp_window = "off"
    quick = WtsHook().run(send_message(CARLA, text="Olá", from_=WHATSAPP))["id"]
    wts_connection.advance(5)

    assert run(WtsGetMessageStatusOperator, context, message_id=quick)["status"] == "DELIVERED"
    assert len(wts_connection.requests_of("get_sent_message_status")) == 1
    assert len(wts_connection.requests_of("get_message_status")) == 1

    assert run(WtsGetMessageStatusOperator, context, message_id=quick, id_of="message")["status"] == "DELIVERED"
    assert len(wts_connection.requests_of("get_sent_message_status")) == 1

    with pytest.raises(AirflowFailException):
        run(WtsGetMessageStatusOperator, context, message_id=quick, id_of="send")
    assert len(wts_connection.requests_of("get_message_status")) == 2


def test_an_unknown_message_ends_the_task(wts_connection, context):
    with pytest.raises(AirflowFailException, match="get_message"):
        run(WtsGetMessageOperator, context, message_id=SOME_ID)
    with pytest.raises(AirflowFailException, match="get_message_status"):
        run(WtsGetMessageStatusOperator, context, message_id=SOME_ID)


def test_templates_are_listed_with_their_variables(wts_connection, context):
    found = run(
        WtsListTemplatesOperator,
        context,
        name="cobranca",
        approved_only="true",
        archived=False,
        channel="WhatsApp principal",
        template_type="campaign",
        include_details="params",
        created_before="2100-01-01T00:00:00-03:00",
    )

    assert [one["name"] for one in found] == ["cobranca"]
    assert [one["name"] for one in found[0]["params"]] == ["nome", "valor", "data"]
    query = dict(sent(wts_connection, "list_templates").query)
    assert query["ApprovedOnly"] == "true"
    assert query["Archived"] == "false"
    assert query["Type"] == "CAMPAIGN"
    assert query["IncludeDetails"] == "Params"
    assert query["CreatedAt.Before"] == "2100-01-01T03:00:00Z"
    assert query["ChannelId"] == wts_connection.state.channels.by_creation()[0].id


@pytest.mark.parametrize("channel", ["whatsapp PRINCIPAL", "(11) 4002-8922", "+551140028922", "@loja.exemplo"])
def test_the_channel_of_a_list_goes_by_its_id(wts_connection, channel):
    known = {one["identity"]["displayName"]: one.id for one in wts_connection.state.channels.by_creation()}
    wanted = known["Instagram da loja" if channel.startswith("@") else "WhatsApp principal"]

    assert WtsHook().names.channel_id(channel) == wanted
    assert WtsHook().names.channel_id(wanted) == wanted


def test_chatbots_are_listed(wts_connection, context):
    found = run(
        WtsListChatbotsOperator, context, types=["automation"], publish_statuses="READY", automation_usages='["api"]'
    )

    assert "Cobrança" in {one["name"] for one in found}
    query = sent(wts_connection, "list_chatbots").query
    assert {("Types", "Automation"), ("PublishStatuses", "Ready"), ("AutomationUsages", "Api")} <= set(query)


def test_channels_are_listed(wts_connection, context):
    found = run(WtsListChannelsOperator, context, channel_type="WHATSAPP")

    assert [one["identity"]["displayName"] for one in found] == ["WhatsApp principal"]
    assert dict(sent(wts_connection, "list_channels").query) == {"ChannelType": "Whatsapp"}


# Uploads and what is scheduled ----------------------------------------------------------------------------------------


def test_a_file_is_uploaded_for_later(wts_connection, context, tmp_path):
    path = tmp_path / "foto.png"
    path.write_bytes(b"\x89PNG" * 100)

    found = run(WtsUploadFileOperator, context, file=str(path), file_type="document", file_name="Oferta.png")

    assert (found["type"], found["name"], found["size"]) == ("DOCUMENT", "Oferta.png", 400)
    assert wts_connection.violations == []
    assert json.dumps(found)


def test_one_scheduled_message_is_canceled(wts_connection, context):
    scheduled_id = schedule()

    assert run(WtsCancelScheduledMessageOperator, context, scheduled_message_id=scheduled_id) is None
    assert wts_connection.state.scheduled_messages.find(scheduled_id)["status"] == "CANCELED"
    assert sent(wts_connection, "cancel_scheduled_message")


@pytest.mark.parametrize("as_text", [False, True])
def test_many_scheduled_messages_are_canceled_in_one_call(wts_connection, context, as_text):
    ids = [schedule(1), schedule(2)]

    found = run(
        WtsCancelScheduledMessageOperator,
        context,
        scheduled_message_id=json.dumps([*ids, ids[0]]) if as_text else [*ids, ids[0]],
    )

    assert [one["status"] for one in found] == ["CANCELED", "CANCELED"]
    assert sent(wts_connection, "batch_cancel_scheduled_messages").body == ids


def test_what_is_not_canceled_is_named_in_the_log(wts_connection, context, logged):
    done, open_ = schedule(1), schedule(2)
    run(WtsCancelScheduledMessageOperator, context, scheduled_message_id=done)

    found = run(WtsCancelScheduledMessageOperator, context, scheduled_message_id=[done, open_])

    assert len(found) == 1
    assert done in logged.text("warning")


def test_an_empty_list_cancels_nothing(wts_connection, context):
    assert run(WtsCancelScheduledMessageOperator, context, scheduled_message_id=[]) == []
    assert wts_connection.requests == []


# Refused before any request -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operator_class", "parameters", "words"),
    [
        (WtsGetMessageOperator, {"message_id": ""}, "message_id: is empty"),
        (WtsGetMessageOperator, {"message_id": None}, "message_id: is empty"),
        (WtsGetMessageOperator, {"message_id": "a message"}, "message_id: 'a message' is not a valid ID"),
        (WtsGetMessageStatusOperator, {"message_id": "None"}, "message_id: is empty"),
        (WtsGetMessageStatusOperator, {"message_id": SOME_ID, "id_of": "otp"}, "id_of: 'otp' is not a valid value"),
        (WtsListMessagesOperator, {"session_id": " "}, "session_id: is empty"),
        (WtsListMessagesOperator, {"session_id": SOME_ID, "created_after": "2026-01-01"}, "has no time zone"),
        (WtsListMessagesOperator, {"session_id": SOME_ID, "page_size": 101}, "page_size: 101"),
        (WtsListTemplatesOperator, {"approved_only": "maybe"}, "approved_only: 'maybe'"),
        (WtsListTemplatesOperator, {"template_type": "TEMPLATE"}, "template_type: 'TEMPLATE' is not a valid value"),
        (WtsListTemplatesOperator, {"include_details": ["Texts"]}, "include_details: 'Texts' is not a valid value"),
        (WtsListChatbotsOperator, {"types": "Bot"}, "types: 'Bot' is not a valid value"),
        (WtsListChannelsOperator, {"channel_type": "Fax"}, "channel_type: 'Fax' is not a valid value"),
        (WtsListChannelsOperator, {"order_by": "name"}, "order_by: list_channels does not take it"),
        (WtsUploadFileOperator, {"file": ""}, "file: is empty"),
        (WtsUploadFileOperator, {"file": "/no/such/file.pdf"}, "file: '/no/such/file.pdf' does not exist"),
        (
            WtsUploadFileOperator,
            {"file": "/etc/hostname", "file_type": "SCAN"},
            "file_type: 'SCAN' is not a valid value",
        ),
        (WtsCancelScheduledMessageOperator, {"scheduled_message_id": None}, "scheduled_message_id: is empty"),
        (
            WtsCancelScheduledMessageOperator,
            {"scheduled_message_id": "soon"},
            "scheduled_message_id: 'soon' is not a valid ID",
        ),
        (WtsCancelScheduledMessageOperator, {"scheduled_message_id": [SOME_ID, ""]}, "scheduled_message_id"),
        (WtsCancelScheduledMessageOperator, {"scheduled_message_id": "[1"}, "scheduled_message_id: is not valid JSON"),
    ],
)
def test_impossible_input_costs_no_request(wts_connection, context, operator_class, parameters, words):
    with pytest.raises(AirflowFailException) as raised:
        run(operator_class, context, **parameters)
    assert words in str(raised.value)
    assert wts_connection.requests == []


@pytest.mark.parametrize("name", sorted({*message.__all__, *chatbot.__all__}))
def test_every_parameter_is_told_about(name):
    operator_class = getattr(message, name, None) or getattr(chatbot, name)
    told = "".join(one.__doc__ or "" for one in operator_class.__mro__ if one.__module__.startswith("airflow_provider"))
    for field in operator_class.template_fields:
        assert f":param {field.removeprefix('is_')}:" in told, field
