"""The operators that send a template or schedule something: what goes out, what is checked, what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException
from operator_runs import run

from airflow_provider_wts.api import templates
from airflow_provider_wts.api.chatbots import send_chatbot
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.api.templates import check_sendable
from airflow_provider_wts.api.types import RespSendMessage
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.operators.message import WtsScheduleMessageOperator, WtsSendTemplateOperator

SOME_ID = "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"
WHATSAPP = "+55|1140028922"
CARLA = "+55|11999990001"
TO = "(11) 99999-0001"
FILLING = {"nome": "Carla", "valor": "R$ 10,00", "data": "01/03"}
TOMORROW = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def session_id(wts_connection):
    hook = WtsHook()
    return str(hook.run(send_chatbot(bot_key=hook.names.chatbot("Pesquisa NPS"), to=CARLA, from_=WHATSAPP))["id"])


@pytest.fixture
def ledger_context(context, tmp_path, monkeypatch):
    """The context of a task whose sends are remembered over its tries, on every version of Airflow."""
    monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", f"file://{tmp_path}/ledger")
    return context


def send(context: Any, **parameters: Any) -> Any:
    where = {} if "session_id" in parameters else {"to": TO, "channel": WHATSAPP}
    return run(WtsSendTemplateOperator, context, **{**where, "template": "pesquisa", **parameters})


def schedule(context: Any, **parameters: Any) -> Any:
    what = {} if "chatbot" in parameters else {"template": "pesquisa"}
    defaults = {"to": TO, "channel": WHATSAPP, "scheduling": TOMORROW, **what}
    return run(WtsScheduleMessageOperator, context, **{**defaults, **parameters})


def body(emulator: Any, operation_id: str) -> Any:
    """Return the body of the only request of an operation; it must fit the contract."""
    (request,) = emulator.requests_of(operation_id)
    assert request.violations == []
    assert request.status == 200, request
    return request.body


def template_id(emulator: Any, name: str) -> str:
    return next(one.id for one in emulator.state.templates.by_creation() if one["name"] == name)


# The rows of the table of actions -------------------------------------------------------------------------------------


def test_action_09_message_send_template_to_contact(wts_connection, context):
    answer = send(context, template="Cobranca", channel="whatsapp principal", parameters=FILLING)

    sent = body(wts_connection, "send_template")
    key = sent["senderId"]
    assert sent == {
        "to": CARLA,
        "from": WHATSAPP,
        "templateId": template_id(wts_connection, "cobranca"),
        "parameters": FILLING,
        "senderId": key,
        "sessionMetadata": {f"airflow_send_{key[:8]}": key},
    }
    assert answer["status"] == "QUEUED"
    wts_connection.advance(5)
    assert [one.text for one in wts_connection.received(CARLA)] == ["Olá Carla, sua fatura de R$ 10,00 vence em 01/03."]


def test_action_09_message_send_template_to_contact_and_wait(wts_connection, context):
    answer = send(context, template="cobranca", parameters=FILLING, synchronous=True)

    sent = body(wts_connection, "send_message_sync")
    assert sent["body"] == {"templateId": template_id(wts_connection, "cobranca"), "parameters": FILLING}
    assert answer["status"] in ("SENT", "DELIVERED", "READ")


def test_action_09_message_send_template_to_contact_with_a_reply_bot(wts_connection, context):
    send(context, reply_bot="Cobrança")

    sent = body(wts_connection, "send_message")
    assert sent["botKey"] == WtsHook().names.chatbot("Cobrança")
    assert "botId" not in sent


def test_action_15_session_send_template_in_session(wts_connection, context, session_id):
    send(context, session_id=session_id)

    sent = body(wts_connection, "send_template")
    # The API needs recipient and channel also in a session.
    assert (sent["sessionId"], sent["to"], sent["from"]) == (session_id, CARLA, WHATSAPP)
    wts_connection.advance(5)
    assert {one.session_id for one in wts_connection.received(CARLA)} == {session_id}


def test_action_15_session_send_template_in_session_and_wait(wts_connection, context, session_id):
    send(context, session_id=session_id, synchronous=True)

    assert body(wts_connection, "send_session_message_sync") == {"templateId": template_id(wts_connection, "pesquisa")}


# What goes out --------------------------------------------------------------------------------------------------------


def test_session_metadata_goes_out_under_its_documented_key(wts_connection, context):
    send(context, session_metadata='{"pedido": 7, "pago": false, "obs": ""}', mark_session=False, sender_id="a")

    sent = body(wts_connection, "send_template")
    assert sent["sessionMetadata"] == {"pedido": 7, "pago": False, "obs": ""}
    assert sent["senderId"] == "a"
    wts_connection.advance(5)
    session = wts_connection.state.sessions.find(wts_connection.received(CARLA)[0].session_id)
    assert session["metadata"] == {"pedido": 7, "pago": False, "obs": ""}


def test_the_mark_stands_beside_the_metadata(wts_connection, context):
    send(context, session_metadata={"pedido": 7})

    sent = body(wts_connection, "send_template")
    assert sent["sessionMetadata"].pop("pedido") == 7
    assert list(sent["sessionMetadata"].values()) == [sent["senderId"]]


def test_every_option_goes_out_as_it_was_set(wts_connection, context):
    send(
        context,
        department="Financeiro",
        user="Bruno Lima",
        hidden_session="false",
        force_start_session=True,
        callback_url="https://example.com/hook",
    )

    sent = body(wts_connection, "send_template")
    agent = wts_connection.state.agents.by_creation()[1]["userId"]
    assert sent["options"] == {
        "hiddenSession": False,
        "forceStartSession": True,
        "department": {"name": "Financeiro"},
        "user": {"id": agent},
    }
    assert sent["callbackUrl"] == "https://example.com/hook"


def with_media(emulator, *names):
    emulator.seed(templates=[{"name": name, "text": "Oferta", "file_type": "IMAGE"} for name in names])


@pytest.mark.parametrize("operator", ["send", "schedule"])
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"template": "oferta"}, "file: template 'oferta' requires a file of the type image"),
        ({"template": "pesquisa", "file": "https://example.com/a.png"}, "file: template 'pesquisa' is a text"),
        ({"template": "em_revisao"}, "'em_revisao' is not approved; its status is 'InRevision'"),
    ],
)
def test_a_template_that_meta_would_refuse_is_refused_before_it_is_sent(
    wts_connection, context, given, words, operator
):
    with_media(wts_connection, "oferta")
    with pytest.raises(AirflowFailException, match=words):
        {"send": send, "schedule": schedule}[operator](context, **given)
    assert not [one for one in wts_connection.requests if one.method == "POST"]


@pytest.mark.parametrize("status", [None, "Approved", "SomethingNew"])
def test_a_template_with_an_unknown_status_is_sent(status):
    check_sendable({"name": "x", "status": status})


@pytest.mark.parametrize("status", ["Draft", "Disapproved", "IN_REVISION", "PAUSED", "disabled", "Deleted"])
def test_a_template_with_a_known_status_other_than_approved_is_not(status):
    with pytest.raises(WtsInvalidRequestError, match="'x' is not approved"):
        check_sendable({"name": "x", "status": status})


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("https://example.com/fatura março.pdf", "https://example.com/fatura%20mar%C3%A7o.pdf"),
        ("https://example.com/a%20b.pdf?x=1&y=é", "https://example.com/a%20b.pdf?x=1&y=%C3%A9"),
        ("https://example.com/100%.pdf", "https://example.com/100%25.pdf"),
        ("https://exämple.com/a.pdf", "https://xn--exmple-cua.com/a.pdf"),
        ("https://example.com/a(1)~b.pdf#p", "https://example.com/a(1)~b.pdf#p"),
    ],
)
def test_the_address_of_a_file_is_percent_encoded(wts_connection, context, given, wanted):
    with_media(wts_connection, "oferta")
    send(context, template="oferta", file=given)
    assert body(wts_connection, "send_template")["fileIdOrUrl"] == wanted


def test_the_file_of_a_template_is_an_address_an_id_or_uploaded(wts_connection, context, tmp_path):
    (tmp_path / "oferta.png").write_bytes(b"x")
    with_media(wts_connection, "oferta", "outra")
    send(context, file=str(tmp_path / "oferta.png"), template="oferta")
    send(context, file="https://example.com/oferta.png", template="outra")

    first, second = (one.body["fileIdOrUrl"] for one in wts_connection.requests_of("send_template"))
    assert wts_connection.state.files.find(first)["type"] == "IMAGE"
    assert second == "https://example.com/oferta.png"


@pytest.mark.parametrize("template", ["id", "slug", "name"])
def test_a_template_by_id_slug_or_name(wts_connection, context, template):
    wanted = template_id(wts_connection, "saudacao")
    given = {"id": wanted, "slug": "a1b2_saudacao", "name": "SAUDACAO"}[template]
    send(context, template=given, parameters={"nome": "Carla"})

    assert body(wts_connection, "send_template")["templateId"] == wanted


def test_a_template_whose_kinds_are_listed_as_one_text_is_sent(wts_connection, context):
    # The contract says a list; real answers hold a text.
    wts_connection.seed(templates=[{"name": "aviso", "text": "Olá", "types": "TEMPLATE"}])
    send(context, template="aviso")

    assert body(wts_connection, "send_template")["templateId"] == template_id(wts_connection, "aviso")


def test_the_check_can_be_left_out(wts_connection, context):
    send(context, template=template_id(wts_connection, "pesquisa"), parameters={"x": "y"}, check_parameters=False)

    assert wts_connection.requests_of("list_templates") == []
    assert body(wts_connection, "send_template")["parameters"] == {"x": "y"}


def test_a_list_that_fails_does_not_hold_up_a_template_with_an_id(wts_connection, context, logged):
    wts_connection.faults.add("status", status=403, operation_id="list_templates", times=1)

    send(context, template=template_id(wts_connection, "pesquisa"))

    assert body(wts_connection, "send_template")
    assert "not checked" in logged.text("warning")


def test_the_filled_in_text_is_logged_at_debug_only(wts_connection, context, logged):
    send(context, template="cobranca", parameters=FILLING)

    assert "Olá Carla, sua fatura de R$ 10,00 vence em 01/03." in logged.text("debug")
    assert "is QUEUED" in logged.text("info")
    assert "R$ 10,00" not in logged.text("info", "warning")
    assert "99999" not in logged.text()


# Once -----------------------------------------------------------------------------------------------------------------


def test_a_template_whose_answer_was_lost_is_found(wts_connection, ledger_context, monkeypatch):
    from airflow_provider_wts.sending import clock

    monkeypatch.setattr(clock, "sleep", wts_connection.advance)
    wts_connection.faults.add("reset", when="after", operation_id="send_template")

    found = send(ledger_context)
    assert send(ledger_context) == found

    wts_connection.advance(5)
    assert len(wts_connection.received(CARLA)) == 1
    # It is the message, and not the session that shows the marker.
    assert found["id"] in {message.id for message in wts_connection.state.messages}
    assert found["sessionId"] in {session.id for session in wts_connection.state.sessions}
    assert found.keys() == RespSendMessage.__annotations__.keys()


def test_a_schedule_whose_answer_was_lost_is_not_repeated(wts_connection, ledger_context):
    wts_connection.faults.add("reset", when="after", operation_id="create_scheduled_message")

    for _ in range(2):
        with pytest.raises(AirflowFailException, match="no confirmation"):
            schedule(ledger_context)
    assert len(wts_connection.requests_of("create_scheduled_message")) == 1


# Parameters -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"1": 5, 2: Decimal("1.50")}, {"1": "5", "2": "1.50"}),
        ('{"valor": 149.90, "n": 10}', {"valor": "149.90", "n": "10"}),
        ({}, {}),
        (None, None),
        # Meta refuses line breaks, tabs and more than four spaces in a row.
        (
            {"a": "Ana\nMaria", "b": "x\t\r\n  y", "c": "a     b", "d": "a    b"},
            {"a": "Ana Maria", "b": "x y"} | {"c": "a b", "d": "a    b"},
        ),
        (
            {"a": " Ana\n", "b": "a\u2028b", "c": "a\u00a0\u00a0\u00a0\u00a0\u00a0b"},
            {"a": "Ana", "b": "a b", "c": "a b"},
        ),
    ],
)
def test_values_become_text_that_meta_takes(given, wanted):
    assert templates.template_parameters("parameters", given) == wanted


@pytest.mark.parametrize(
    "value", [None, "", " \n", float("nan"), "nan", "None", "NaT", "<NA>", Decimal("NaN")], ids=repr
)
def test_a_value_that_is_missing_or_empty_is_refused_by_its_name(wts_connection, context, value):
    with pytest.raises(AirflowFailException, match=r"parameters\['nome'\]: has no value"):
        send(context, template="saudacao", parameters={"nome": value})
    assert wts_connection.requests_of("send_template") == []


@pytest.mark.parametrize("given", [[1], 5, "[1]", "{", {"a": True}, {"a": ["b"]}, {True: "a"}, {None: "a"}])
def test_what_is_no_object_of_texts_is_refused(given):
    with pytest.raises(WtsInvalidRequestError, match="parameters"):
        templates.template_parameters("parameters", given)


@pytest.mark.parametrize(
    ("template", "given"),
    [
        ({"params": [{"name": "1"}], "text": "{{1}}"}, {"1": "a"}),
        ({"params": [], "text": "Oi"}, None),
        ({"params": None, "text": "{{1}}"}, {"1": "a"}),
        ({"text": "Oi"}, {"1": "a"}),
        # The list does not name the variables that the text shows.
        ({"params": [], "text": "{{1}}"}, {"1": "a"}),
        ({"params": [{"name": None}], "text": "{{1}}"}, {"1": "a"}),
    ],
)
def test_parameters_that_fit_or_cannot_be_checked(template, given):
    templates.check_template(template, given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"nome": "a"}, "'valor' and 'data' missing"),
        ({**FILLING, "Nome": "a", "x": "b"}, "'Nome' and 'x' unknown"),
        ({**FILLING, "nome": None}, "parameters['nome']: has no value"),
        ({}, "'nome' and 'valor' and 'data' missing. It takes 'nome', 'valor', 'data'."),
    ],
)
def test_parameters_that_do_not_fit_are_told_before_anything_is_sent(wts_connection, context, given, words):
    with pytest.raises(AirflowFailException) as raised:
        send(context, template="cobranca", parameters=given)
    assert words in str(raised.value)
    assert wts_connection.requests_of("send_template") == []


def test_parameters_of_a_template_without_variables_are_told(wts_connection, context):
    with pytest.raises(AirflowFailException, match=r"'x' unknown\. It takes no parameters"):
        send(context, parameters={"x": "y"})


# Scheduling -----------------------------------------------------------------------------------------------------------


def test_a_template_is_scheduled(wts_connection, context):
    with_media(wts_connection, "oferta")
    brazil = timezone(timedelta(hours=-3))
    moment = TOMORROW.astimezone(brazil).replace(microsecond=0)
    answer = schedule(
        context,
        scheduling=moment.isoformat(),
        template="oferta",
        department="Vendas",
        hidden_session="true",
        file="https://example.com/a.png",
    )

    assert body(wts_connection, "create_scheduled_message") == {
        "from": WHATSAPP,
        "to": CARLA,
        "department": {"name": "Vendas"},
        "type": "TEMPLATE",
        "templateId": template_id(wts_connection, "oferta"),
        "scheduling": moment.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "hiddenSession": True,
        "templateParams": {"fileUrl": "https://example.com/a.png"},
    }
    assert answer["status"] == "SCHEDULED"
    wts_connection.advance(25 * 3600)
    assert len(wts_connection.received(CARLA)) == 1


def test_a_chatbot_is_scheduled(wts_connection, context):
    schedule(context, chatbot="carrinho abandonado", channel=None)

    sent = body(wts_connection, "create_scheduled_message")
    assert sent["type"] == "CHATBOT"
    assert sent["botKey"] == WtsHook().names.chatbot("Carrinho abandonado")
    assert set(sent) == {"to", "type", "botKey", "scheduling"}


def test_a_file_is_uploaded_for_a_schedule(wts_connection, context, tmp_path):
    (tmp_path / "oferta.png").write_bytes(b"x")
    with_media(wts_connection, "oferta")
    request = schedule(context, template="oferta", file=str(tmp_path / "oferta.png"), dry_run=True)
    assert "uploaded when it is sent" in request["body"]["templateParams"]["fileId"]
    assert wts_connection.requests_of("get_file_upload_url") == []

    schedule(context, template="oferta", file=str(tmp_path / "oferta.png"))
    file_id = body(wts_connection, "create_scheduled_message")["templateParams"]["fileId"]
    assert wts_connection.state.files.find(file_id)["name"] == "oferta.png"


def test_a_retry_after_the_moment_returns_what_was_scheduled_in_time(wts_connection, ledger_context, monkeypatch):
    soon = datetime.now(UTC) + timedelta(seconds=2)
    first = schedule(ledger_context, scheduling=soon)
    ledger_context["ti"].try_number = 2
    monkeypatch.setattr(
        "airflow_provider_wts.operators.message.datetime",
        type("Later", (datetime,), {"now": classmethod(lambda cls, zone: soon + timedelta(hours=1))}),
    )

    assert schedule(ledger_context, scheduling=soon)["id"] == first["id"]
    assert len(wts_connection.requests_of("create_scheduled_message")) == 1


@pytest.mark.parametrize(
    ("care", "words"),
    [
        ({"not_after": datetime.now(UTC) + timedelta(hours=1)}, "after not_after"),
        ({"send_window": "08:00-20:00 America/Sao_Paulo"}, "outside of send_window"),
        ({"exclude_tags": "VIP"}, "tag"),
    ],
)
def test_care_holds_for_the_moment_that_is_scheduled(wts_connection, context, care, words):
    night = (datetime.now(UTC) + timedelta(days=2)).replace(hour=6)
    with pytest.raises(AirflowSkipException, match=words):
        schedule(context, scheduling=night, **care)
    assert wts_connection.requests_of("create_scheduled_message") == []


def test_a_moment_inside_the_window_is_scheduled_at_any_time_of_day(wts_connection, context):
    noon = (datetime.now(UTC) + timedelta(days=2)).replace(hour=15)
    schedule(context, scheduling=noon, send_window="11:00-13:00 America/Sao_Paulo", not_after=noon)

    assert body(wts_connection, "create_scheduled_message")


# Refused before any request -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operator_class", "parameters", "words"),
    [
        (WtsSendTemplateOperator, {"template": ""}, "template: is empty"),
        (WtsSendTemplateOperator, {"template": None}, "template: is empty"),
        (WtsSendTemplateOperator, {"to": None}, "to, session_id: give exactly one"),
        (WtsSendTemplateOperator, {"session_id": SOME_ID}, "to, session_id: give exactly one"),
        (WtsSendTemplateOperator, {"channel": None}, "channel: is required to send a template"),
        (WtsSendTemplateOperator, {"parameters": [1]}, "parameters: must be an object, not list"),
        (WtsSendTemplateOperator, {"parameters": "nome=Carla"}, "parameters: is not valid JSON"),
        (WtsSendTemplateOperator, {"parameters": {"a": ["b"]}}, "parameters['a']: must be text"),
        (WtsSendTemplateOperator, {"session_metadata": "7"}, "session_metadata: must be an object"),
        (WtsSendTemplateOperator, {"session_metadata": "{"}, "session_metadata: is not valid JSON"),
        (WtsSendTemplateOperator, {"file": "/no/such.png"}, "file: '/no/such.png' does not exist"),
        (
            WtsSendTemplateOperator,
            {"synchronous": True, "session_metadata": {"a": 1}},
            "session_metadata: the API does",
        ),
        (WtsSendTemplateOperator, {"reply_bot": "B", "sender_id": "a"}, "sender_id: the API does not take it"),
        (WtsScheduleMessageOperator, {"scheduling": ""}, "scheduling: is empty"),
        (WtsScheduleMessageOperator, {"scheduling": None}, "scheduling: is empty"),
        (WtsScheduleMessageOperator, {"scheduling": "tomorrow"}, "scheduling: 'tomorrow' is not a valid ISO 8601"),
        (WtsScheduleMessageOperator, {"scheduling": "2100-01-01T10:00:00"}, "has no time zone"),
        (WtsScheduleMessageOperator, {"scheduling": datetime(2100, 1, 1)}, "has no time zone"),
        (WtsScheduleMessageOperator, {"scheduling": "2020-01-01T10:00:00Z"}, "is in the past"),
        (WtsScheduleMessageOperator, {"to": ""}, "to: is empty"),
        (WtsScheduleMessageOperator, {"to": "Carla"}, "to: 'Carla' is not a valid phone number"),
        (WtsScheduleMessageOperator, {"template": None}, "template, chatbot: give exactly one"),
        (WtsScheduleMessageOperator, {"template": "a", "chatbot": "b"}, "template, chatbot: give exactly one"),
        (
            WtsScheduleMessageOperator,
            {"chatbot": "b", "parameters": {"a": "b"}},
            "parameters, file: a chatbot takes none",
        ),
        (WtsScheduleMessageOperator, {"hidden_session": "perhaps"}, "hidden_session: 'perhaps'"),
        (WtsScheduleMessageOperator, {"file": "/no/such.png"}, "file: '/no/such.png' does not exist"),
    ],
)
def test_impossible_input_costs_no_request(wts_connection, context, operator_class, parameters, words):
    with pytest.raises(AirflowFailException) as raised:
        (send if operator_class is WtsSendTemplateOperator else schedule)(
            context, **{"to": TO, "channel": WHATSAPP, **parameters}
        )
    assert words in str(raised.value)
    assert wts_connection.requests == []


def test_the_fields_render_as_json_and_deep():
    operator = WtsSendTemplateOperator(
        task_id="task",
        to="{{ params.to }}",
        template="cobranca",
        parameters={"nome": "{{ params.name }}"},
        session_metadata={"pedidos": ["{{ params.name }}"]},
    )
    operator.render_template_fields({"params": {"to": TO, "name": "Carla"}})

    assert operator.to == TO
    assert operator.parameters == {"nome": "Carla"}
    assert operator.session_metadata == {"pedidos": ["Carla"]}
    assert json.dumps(operator.template_fields_renderers)
