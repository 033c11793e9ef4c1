"""The operators that send a text or a file: what goes out, on which path, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException
from operator_runs import run

from airflow_provider_wts.api.chatbots import list_chatbots, send_chatbot
from airflow_provider_wts.api.contacts import create_contact
from airflow_provider_wts.api.transport import Reply, Transport
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.operators.message import WtsSendFileOperator, WtsSendTextOperator

SOME_ID = "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"
WHATSAPP = "+55|1140028922"
CARLA = "+55|11999990001"
DIEGO = "+55|11999990002"
TO = "(11) 99999-0001"
PDF = "https://example.com/invoices/118.pdf?signature=a"


@pytest.fixture
def emulator(emulator):
    # Texts may go out at any time; that a platform refuses them is a test of its own.
    emulator.switches.whatsapp_window = "off"
    return emulator


@pytest.fixture
def session_id(wts_connection):
    hook = WtsHook()
    return str(hook.run(send_chatbot(bot_key=hook.names.chatbot("Pesquisa NPS"), to=CARLA))["id"])


@pytest.fixture
def invoice(tmp_path):
    path = tmp_path / "fatura.pdf"
    path.write_bytes(b"%PDF-1.7 " * 100)
    return path


@pytest.fixture
def ledger_context(context, tmp_path, monkeypatch):
    """The context of a task whose sends are remembered over its tries, on every version of Airflow."""
    monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", f"file://{tmp_path}/ledger")
    return context


def send_text(context: Any, **parameters: Any) -> Any:
    return run(WtsSendTextOperator, context, **{"text": "Olá", **parameters})


def body(emulator: Any, operation_id: str) -> Any:
    """Return the body of the only request of an operation; it must fit the contract."""
    (request,) = emulator.requests_of(operation_id)
    assert request.violations == []
    assert request.status == 200, request
    return request.body


def connect(emulator: Any, monkeypatch: Any, **extra: Any) -> None:
    connection = {"conn_type": "wts", "host": emulator.url, "password": emulator.token, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))


# The rows of the table of actions -------------------------------------------------------------------------------------


def test_action_07_message_send_text_to_contact(wts_connection, context):
    answer = send_text(context, to=TO)

    sent = body(wts_connection, "send_text")
    assert sent == {"to": CARLA, "senderId": sent["senderId"], "text": "Olá"}
    assert answer["status"] == "QUEUED"
    wts_connection.advance(5)
    assert [one.text for one in wts_connection.received(CARLA)] == ["Olá"]


def test_a_status_that_is_not_documented_counts_as_sent_and_the_log_says_so(
    wts_connection, context, monkeypatch, logged
):
    exchange = Transport.exchange

    def with_a_new_status(self, method, *args, **kwargs):
        reply = exchange(self, method, *args, **kwargs)
        changed = {**json.loads(reply.body), "status": "ACCEPTED"} if method == "POST" else None
        return reply if changed is None else Reply(reply.status, reply.headers, json.dumps(changed).encode())

    monkeypatch.setattr(Transport, "exchange", with_a_new_status)
    answer = send_text(context, to=TO)
    assert answer["status"] == "ACCEPTED"
    assert f"Message {answer['id']} has the status ACCEPTED" in logged.text("warning")
    assert "It counts as sent." in logged.text("warning")


@pytest.mark.parametrize("synchronous", [True, "true"])
def test_action_07_message_send_text_to_contact_and_wait(wts_connection, context, synchronous):
    answer = send_text(context, to=TO, channel="WhatsApp principal", synchronous=synchronous)

    assert body(wts_connection, "send_message_sync") == {"from": WHATSAPP, "to": CARLA, "body": {"text": "Olá"}}
    assert answer["status"] in ("SENT", "DELIVERED", "READ")


def test_action_07_message_send_text_to_contact_with_a_reply_bot(wts_connection, context):
    send_text(context, to=TO, reply_bot="pesquisa nps", enable_bot=False)

    key = WtsHook().names.chatbot("Pesquisa NPS")
    sent = body(wts_connection, "send_message")
    assert sent == {"to": CARLA, "botKey": key, "body": {"text": "Olá"}, "options": {"enableBot": False}}


@pytest.mark.parametrize(
    ("name", "operation_id"),
    [
        ("foto.JPG", "send_image"),
        ("voz.ogg", "send_audio"),
        ("filme.mp4", "send_video"),
        ("fatura.pdf", "send_document"),
        ("dados.unheard-of", "send_document"),
    ],
)
def test_action_08_message_send_file_to_contact(wts_connection, context, tmp_path, name, operation_id):
    (tmp_path / name).write_bytes(b"content")

    run(WtsSendFileOperator, context, to=TO, file=str(tmp_path / name))

    sent = body(wts_connection, operation_id)
    file = wts_connection.state.files.find(sent["fileIdOrUrl"])
    assert (file["name"], file["content"]) == (name, b"content")
    assert set(sent) == {"to", "senderId", "fileIdOrUrl"}
    wts_connection.advance(5)
    assert len(wts_connection.received(CARLA)) == 1


def test_action_08_message_send_file_to_contact_and_wait(wts_connection, context, invoice):
    answer = run(WtsSendFileOperator, context, to=TO, file=str(invoice), text="Sua fatura", synchronous=True)

    sent = body(wts_connection, "send_message_sync")["body"]
    assert set(sent) == {"text", "fileId"}
    assert wts_connection.state.files.find(sent["fileId"])["name"] == "fatura.pdf"
    assert answer["status"] in ("SENT", "DELIVERED", "READ")


def test_action_13_session_send_text_in_session(wts_connection, context, session_id):
    send_text(context, session_id=session_id)

    sent = body(wts_connection, "send_text")
    assert sent == {"sessionId": session_id, "senderId": sent["senderId"], "text": "Olá"}


def test_action_13_session_send_text_in_session_and_wait(wts_connection, context, session_id):
    send_text(context, session_id=session_id, synchronous=True, reply_to=SOME_ID)

    (request,) = wts_connection.requests_of("send_session_message_sync")
    assert request.path == f"/chat/v1/session/{session_id}/message/sync"
    assert request.body == {"text": "Olá", "refId": SOME_ID}


def test_action_14_session_send_file_in_session(wts_connection, context, session_id):
    run(WtsSendFileOperator, context, session_id=session_id, file=PDF, text="Sua fatura")

    sent = body(wts_connection, "send_document")
    assert sent["sessionId"] == session_id
    assert (sent["fileIdOrUrl"], sent["text"]) == (PDF, "Sua fatura")
    assert "to" not in sent
    assert "from" not in sent


def test_action_14_session_send_file_in_session_and_wait(wts_connection, context, session_id):
    run(WtsSendFileOperator, context, session_id=session_id, file=PDF, synchronous=True)

    assert body(wts_connection, "send_session_message_sync") == {"fileUrl": PDF}


# What goes out --------------------------------------------------------------------------------------------------------


def test_every_parameter_goes_out_as_it_was_set(wts_connection, context):
    send_text(
        context,
        to=TO,
        channel="+551140028922",
        department="Vendas",
        user="ana@exemplo.com.br",
        hidden_session=False,
        force_start_session="yes",
        enable_bot=None,
        delay_typing="0",
        reply_to=SOME_ID,
        sender_id="pedido-7",
        callback_url="https://example.com/hook",
    )

    assert body(wts_connection, "send_text") == {
        "to": CARLA,
        "from": WHATSAPP,
        "options": {
            "hiddenSession": False,
            "forceStartSession": True,
            "enableBot": None,
            "department": {"name": "Vendas"},
            "user": {"email": "ana@exemplo.com.br"},
        },
        "refId": SOME_ID,
        "delayTyping": 0,
        "callbackUrl": "https://example.com/hook",
        "senderId": "pedido-7",
        "text": "Olá",
    }
    # The API takes the names of department and user itself.
    assert {one.operation_id for one in wts_connection.requests} == {"send_text"}


@pytest.mark.parametrize("quick", [False, True])
def test_department_and_user_stand_where_each_path_has_them(wts_connection, context, quick):
    agent = wts_connection.state.agents.by_creation()[0]["userId"]
    send_text(context, to=TO, department="Financeiro", user=agent, synchronous=quick)

    sent = body(wts_connection, "send_message_sync" if quick else "send_text")
    place = sent if quick else sent["options"]
    assert place["department"] == {"name": "Financeiro"}
    assert place["user"] == {"id": agent}
    wts_connection.advance(5)
    session = wts_connection.state.sessions.find(wts_connection.received(CARLA)[0].session_id)
    assert session["userId"] == agent


@pytest.mark.parametrize(
    ("user", "wanted"),
    [
        ("(11) 98888-0001", {"phoneNumber": "+55|11988880001"}),
        ("ana+x@exemplo.online", {"email": "ana+x@exemplo.online"}),
    ],
)
def test_a_user_by_phone_or_unusual_email(wts_connection, context, user, wanted):
    request = send_text(context, to=TO, user=user, dry_run=True)

    assert request["body"]["options"]["user"] == wanted
    assert wts_connection.requests == []


def test_a_user_by_name_is_looked_up(wts_connection, context):
    send_text(context, to=TO, user="ana souza")

    agent = wts_connection.state.agents.by_creation()[0]["userId"]
    assert body(wts_connection, "send_text")["options"]["user"] == {"id": agent}


def test_the_channel_of_the_connection_is_the_default(wts_connection, context, monkeypatch):
    connect(wts_connection, monkeypatch, channel="WhatsApp principal")
    send_text(context, to=TO)

    assert body(wts_connection, "send_text")["from"] == WHATSAPP


def test_text_goes_out_letter_by_letter(wts_connection, context):
    text = "  Olá 🧾\n\tvalor: R$ 10,00 \u200d"
    send_text(context, to=TO, text=text)

    assert body(wts_connection, "send_text")["text"] == text


@pytest.mark.parametrize(
    ("parameters", "operation_id"),
    [
        ({"file": "https://example.com/a.PNG?x=1.mp4"}, "send_image"),
        ({"file": "https://example.com/a", "kind": "VIDEO"}, "send_video"),
        ({"file": "https://example.com/a.png", "kind": "document"}, "send_document"),
        ({"file": "https://example.com/a", "mime_type": "audio/ogg"}, "send_audio"),
    ],
)
def test_the_kind_is_told_or_given(wts_connection, context, parameters, operation_id):
    run(WtsSendFileOperator, context, to=TO, **parameters)

    assert body(wts_connection, operation_id)["fileIdOrUrl"] == parameters["file"]


def test_an_uploaded_file_goes_by_its_id(wts_connection, context, invoice):
    file_id = WtsHook().upload(str(invoice))["id"]

    run(WtsSendFileOperator, context, to=TO, file=file_id, kind="document")
    run(WtsSendFileOperator, context, to=DIEGO, file=file_id, synchronous=True)

    assert body(wts_connection, "send_document")["fileIdOrUrl"] == file_id
    assert body(wts_connection, "send_message_sync")["body"] == {"fileId": file_id}
    assert len(wts_connection.requests_of("save_file")) == 1


def test_an_image_sent_as_a_document_is_left_as_it_is(wts_connection, context, tmp_path):
    (tmp_path / "planta.png").write_bytes(b"x")
    run(WtsSendFileOperator, context, to=TO, file=str(tmp_path / "planta.png"), kind="document", file_name="Planta.png")

    file = wts_connection.state.files.find(body(wts_connection, "send_document")["fileIdOrUrl"])
    assert (file["type"], file["name"]) == ("DOCUMENT", "Planta.png")


# Once, and with care --------------------------------------------------------------------------------------------------


def test_a_retry_does_not_send_again(wts_connection, ledger_context):
    first = send_text(ledger_context, to=TO)
    second = send_text(ledger_context, to=TO)

    assert second == first
    assert len(wts_connection.requests_of("send_text")) == 1


def test_a_send_whose_answer_was_lost_is_found_by_its_sender_id(wts_connection, ledger_context, monkeypatch):
    from airflow_provider_wts.sending import clock

    monkeypatch.setattr(clock, "sleep", wts_connection.advance)
    usual = send_text(ledger_context, to=TO)
    wts_connection.faults.add("reset", when="after", operation_id="send_text")
    ledger_context["ti"].map_index = 1

    answer = send_text(ledger_context, to=TO)

    wts_connection.advance(5)
    assert len(wts_connection.received(CARLA)) == 2
    # The same shape as ever, without the text.
    assert answer.keys() == usual.keys()
    assert answer["sessionId"] in {session.id for session in wts_connection.state.sessions}
    assert answer["id"] in {message.id for message in wts_connection.state.messages}


def test_a_message_that_the_platform_holds_back_is_searched_for_until_it_must_be_out(
    wts_connection, ledger_context, monkeypatch
):
    from airflow_provider_wts.sending import clock

    monkeypatch.setattr(clock, "sleep", wts_connection.advance)
    monkeypatch.setattr(clock, "now", lambda: (wts_connection.clock.datetime().timestamp(), 0.0))
    wts_connection.faults.add("reset", when="after", operation_id="send_text")

    send_text(ledger_context, to=TO, delay_typing=25)

    assert len(wts_connection.requests_of("send_text")) == 1


def test_a_quick_send_whose_answer_was_lost_is_not_repeated(wts_connection, ledger_context):
    wts_connection.faults.add("reset", when="after", operation_id="send_message_sync")

    with pytest.raises(AirflowFailException, match="no confirmation"):
        send_text(ledger_context, to=TO, synchronous=True)
    wts_connection.advance(5)
    assert len(wts_connection.received(CARLA)) == 1


def test_a_message_that_fails_at_once_fails_the_task(wts_connection, context):
    wts_connection.behave(CARLA, fails="Número inválido")

    with pytest.raises(AirflowFailException, match="Número inválido"):
        send_text(context, to=TO, synchronous=True)


def test_the_refusal_outside_the_24_hours_is_told(wts_connection, context):
    wts_connection.switches.whatsapp_window = "refuse"

    with pytest.raises(AirflowFailException, match="24 horas"):
        send_text(context, to=TO)


def test_a_retry_of_what_is_sent_uploads_nothing_and_needs_no_file(wts_connection, ledger_context, invoice):
    first = run(WtsSendFileOperator, ledger_context, file=str(invoice), to=TO)
    invoice.unlink()
    ledger_context["ti"].try_number = 2
    assert run(WtsSendFileOperator, ledger_context, file=str(invoice), to=TO) == first
    assert len(wts_connection.requests_of("get_file_upload_url")) == 1
    assert len(wts_connection.requests_of("send_document")) == 1


def test_a_file_that_is_gone_at_a_retry_of_what_is_not_sent_stops_it(wts_connection, ledger_context, invoice):
    wts_connection.faults.add("status", status=500, envelope="business", operation_id="send_document", times=1)
    with pytest.raises(AirflowFailException):
        run(WtsSendFileOperator, ledger_context, file=str(invoice), to=TO)
    invoice.unlink()
    ledger_context["ti"].try_number = 2
    with pytest.raises(AirflowFailException, match="does not exist"):
        run(WtsSendFileOperator, ledger_context, file=str(invoice), to=TO)
    assert len(wts_connection.requests_of("send_document")) == 1


def test_another_upload_of_the_same_file_is_no_changed_content(wts_connection, ledger_context, invoice, caplog):
    run(WtsSendFileOperator, ledger_context, file=str(invoice), to=TO)
    ledger_context["ti"].try_number = 2
    run(WtsSendFileOperator, ledger_context, file=str(invoice), to=TO)
    assert "has changed" not in caplog.text


def test_a_dry_run_sends_and_uploads_nothing(wts_connection, context, invoice):
    request = run(WtsSendFileOperator, context, to=TO, file=str(invoice), text="Sua fatura", dry_run="true")

    assert request["operation_id"] == "send_document"
    assert request["body"]["to"] == CARLA
    assert "uploaded when it is sent" in request["body"]["fileIdOrUrl"]
    assert wts_connection.requests == []


@pytest.mark.parametrize("session", [False, True])
def test_a_contact_with_an_excluded_tag_is_held_back(wts_connection, context, session_id, session):
    where = {"session_id": session_id} if session else {"to": TO}
    with pytest.raises(AirflowSkipException, match="tag"):
        send_text(context, **where, exclude_tags=["VIP"])
    assert wts_connection.requests_of("send_text") == []

    send_text(context, **where, exclude_tags=["Newsletter"])
    assert len(wts_connection.requests_of("send_text")) == 1


def test_a_staging_connection_holds_in_a_session_too(wts_connection, context, session_id, monkeypatch):
    connect(wts_connection, monkeypatch, allowed_recipients=DIEGO)

    for where in ({"to": TO}, {"session_id": session_id}):
        with pytest.raises(AirflowFailException, match="allowed_recipients"):
            send_text(context, **where)
    assert wts_connection.requests_of("send_text") == []

    connect(wts_connection, monkeypatch, allowed_recipients=TO)
    send_text(context, session_id=session_id)
    assert len(wts_connection.requests_of("send_text")) == 1


def test_neither_number_nor_text_is_logged_at_info(wts_connection, context, logged):
    send_text(context, to=TO, text="Segredo")

    assert "Segredo" in logged.text("debug")
    assert "is QUEUED" in logged.text("info")
    assert "Segredo" not in logged.text("info", "warning")
    assert "99999" not in logged.text()


# Refused before any request -------------------------------------------------------------------------------------------

MISSING = "/no/such/file.pdf"


@pytest.mark.parametrize(
    ("operator_class", "parameters", "words"),
    [
        (WtsSendTextOperator, {"to": TO, "text": ""}, "text: is empty"),
        (WtsSendTextOperator, {"to": TO, "text": "\n "}, "text: is empty"),
        (WtsSendTextOperator, {"to": TO, "text": "\u200b\n\u200e"}, "text: is empty"),
        (WtsSendTextOperator, {"to": TO, "text": None}, "text: is empty"),
        (WtsSendTextOperator, {"to": TO, "text": ["Olá"]}, "text: must be text, not list"),
        (WtsSendTextOperator, {}, "to, session_id: give exactly one"),
        (WtsSendTextOperator, {"to": " ", "session_id": ""}, "to, session_id: give exactly one"),
        (WtsSendTextOperator, {"to": TO, "session_id": SOME_ID}, "to, session_id: give exactly one"),
        (WtsSendTextOperator, {"to": "Carla"}, "to: 'Carla' is not a valid phone number"),
        (WtsSendTextOperator, {"session_id": "mine"}, "session_id: 'mine' is not a valid ID"),
        (WtsSendTextOperator, {"to": TO, "delay_typing": 26}, "delay_typing: 26 is not a whole number from 0 to 25"),
        (WtsSendTextOperator, {"to": TO, "delay_typing": -1}, "delay_typing: -1"),
        (WtsSendTextOperator, {"to": TO, "delay_typing": 1.5}, "delay_typing: 1.5"),
        (WtsSendTextOperator, {"to": TO, "reply_to": "that one"}, "reply_to: 'that one' is not a valid ID"),
        (WtsSendTextOperator, {"to": TO, "hidden_session": "perhaps"}, "hidden_session: 'perhaps'"),
        (WtsSendTextOperator, {"to": TO, "synchronous": "perhaps"}, "synchronous: 'perhaps'"),
        (WtsSendTextOperator, {"to": TO, "callback_url": "example.com"}, "callback_url: 'example.com' is not an http"),
        (WtsSendFileOperator, {"to": TO, "file": PDF, "text": ""}, "text: must not be blank"),
        (WtsSendFileOperator, {"to": TO, "file": PDF, "text": None}, "text: must not be blank"),
        (WtsSendTextOperator, {"to": TO, "user": ["Ana"]}, "user: must be text"),
        (WtsSendTextOperator, {"to": TO, "synchronous": True, "sender_id": "a"}, "sender_id: the API does not take it"),
        (WtsSendTextOperator, {"to": TO, "synchronous": True, "delay_typing": 3}, "together with synchronous"),
        (WtsSendTextOperator, {"to": TO, "reply_bot": "B", "callback_url": "https://a.b"}, "together with reply_bot"),
        (WtsSendTextOperator, {"to": TO, "reply_bot": "B", "delay_typing": 3}, "delay_typing: the API does not take"),
        (WtsSendTextOperator, {"session_id": SOME_ID, "reply_bot": "B"}, "reply_bot: the API takes it only with 'to'"),
        (
            WtsSendTextOperator,
            {"session_id": SOME_ID, "synchronous": True, "hidden_session": False},
            "hidden_session: the API does not take it together with synchronous in a session",
        ),
        (WtsSendTextOperator, {"session_id": SOME_ID, "synchronous": True, "department": "Vendas"}, "department: the"),
        (WtsSendFileOperator, {"to": TO, "file": ""}, "file: is empty"),
        (WtsSendFileOperator, {"to": TO, "file": None}, "file: is empty"),
        (WtsSendFileOperator, {"to": TO, "file": MISSING}, "file: '/no/such/file.pdf' does not exist"),
        (WtsSendFileOperator, {"to": TO, "file": "/tmp"}, "file: '/tmp' is a folder"),
        (WtsSendFileOperator, {"to": TO, "file": "nosuch://a/b.pdf"}, "file: 'nosuch://a/b.pdf' cannot be read"),
        (WtsSendFileOperator, {"to": TO, "file": PDF, "kind": "sticker"}, "kind: 'sticker' is not a valid value"),
        (WtsSendFileOperator, {"to": TO, "file": "https://a.b/c.mp3", "text": "Ouça"}, "text: an audio file has no"),
        (WtsSendFileOperator, {"to": TO, "file": PDF, "kind": "image", "synchronous": True}, "kind: the API does not"),
    ],
)
def test_impossible_input_costs_no_request(wts_connection, context, operator_class, parameters, words):
    if operator_class is WtsSendTextOperator:
        parameters = {"text": "Olá", **parameters}
    with pytest.raises(AirflowFailException) as raised:
        run(operator_class, context, **parameters)
    assert words in str(raised.value)
    assert wts_connection.requests == []


@pytest.mark.parametrize(("operator", "most"), [(WtsSendTextOperator, 4096), (WtsSendFileOperator, 1024)])
def test_a_text_longer_than_whatsapp_takes_is_warned_about(wts_connection, context, logged, operator, most):
    given = {"file": "https://example.com/a.png", "kind": "image"} if operator is WtsSendFileOperator else {}
    for length in (most, most + 1):
        operator(task_id="send", to="+55 11 91000-0001", text="a" * length, **given).execute(context)
    assert logged.text("warning").count(f"text: has {most + 1:,} characters, but WhatsApp accepts {most:,}") == 1


# What the platform's n8n node can express, and what holds a send back -------------------------------------------------


def test_a_reply_bot_is_named_by_its_id(wts_connection, context):
    hook = WtsHook()
    bot = next(one for one in hook.client.items(list_chatbots()) if one["name"] == "Pesquisa NPS")

    send_text(context, to=TO, reply_bot=bot["id"])

    assert body(wts_connection, "send_message")["botKey"] == bot["key"] != bot["id"]


@pytest.mark.parametrize("by", ["fileUrl", "fileId"])
def test_a_file_that_does_not_say_its_kind_goes_out_by_the_sends_that_need_none(wts_connection, context, invoice, by):
    file = "https://example.com/invoices/118" if by == "fileUrl" else WtsHook().upload(str(invoice))["id"]

    run(WtsSendFileOperator, context, to=TO, file=file, text="Sua fatura", hidden_session=True)

    content = {"text": "Sua fatura", by: file}
    assert body(wts_connection, "send_message") == {"to": CARLA, "body": content, "options": {"hiddenSession": True}}


def test_a_file_that_does_not_say_its_kind_goes_into_a_session(wts_connection, context, session_id):
    run(WtsSendFileOperator, context, session_id=session_id, file="https://example.com/invoices/118")

    assert body(wts_connection, "send_session_message") == {"fileUrl": "https://example.com/invoices/118"}


def test_a_parameter_that_needs_the_kind_of_a_file_says_so(wts_connection, context):
    with pytest.raises(AirflowFailException, match=r"sender_id: .* a file without 'kind'"):
        run(WtsSendFileOperator, context, to=TO, file="https://example.com/invoices/118", sender_id="mine")

    assert wts_connection.requests == []


def test_a_handle_with_an_excluded_tag_is_skipped(wts_connection, context, logged):
    hook = WtsHook()
    hook.run(create_contact(name="Maria", instagram="maria.silva", tag_ids=[hook.names.tag("VIP")]))

    with pytest.raises(AirflowSkipException, match="the contact has a tag of exclude_tags"):
        send_text(context, to="@Maria.Silva", exclude_tags=["VIP"])

    assert "the contact has a tag of exclude_tags" in logged.text("warning")
    assert not wts_connection.requests_of("send_text")


@pytest.mark.parametrize("to", [[TO, "(11) 99999-0002"], f'["{TO}"]', {"to": TO}])
def test_a_list_in_to_is_refused_and_the_batch_operator_is_named(wts_connection, context, to):
    with pytest.raises(AirflowFailException, match=r"to: .* must be one recipient.*WtsSendTextBatchOperator"):
        send_text(context, to=to)

    assert wts_connection.requests == []


@pytest.mark.parametrize("blank", ["", " ", "None", None])
def test_a_connection_that_was_given_and_has_no_value_is_refused(wts_connection, context, blank):
    with pytest.raises(AirflowFailException, match="wts_conn_id: must not be blank"):
        send_text(context, to=TO, wts_conn_id=blank)

    assert wts_connection.requests == []
