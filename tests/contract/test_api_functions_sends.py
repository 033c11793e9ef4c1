"""Functions about sends, messages, files, templates and scheduled messages: all their calls fit the contract."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_wts.api import files, messages, scheduled, sends, templates
from airflow_provider_wts.api.contract import operations

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_wts.api.call import Call

ID = "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"
TO = "+55|11999990001"
FROM = "+55|1140028922"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

text = st.text(min_size=1, max_size=40)
maybe_text = st.one_of(st.none(), st.text(max_size=40))
identity = st.uuids().map(str)
maybe_identity = st.one_of(st.none(), identity)
maybe_flag = st.one_of(st.none(), st.booleans())
parameters = st.one_of(st.none(), st.dictionaries(text, maybe_text, max_size=3))
metadata = st.one_of(st.none(), st.dictionaries(text, st.one_of(maybe_text, st.integers(), st.booleans()), max_size=3))
moments = st.datetimes(timezones=st.just(UTC))
department = st.fixed_dictionaries({}, optional={"id": maybe_identity, "name": maybe_text})
user = st.fixed_dictionaries({}, optional={"id": maybe_identity, "email": maybe_text, "phoneNumber": maybe_text})

OPTIONS = {
    "enable_bot": maybe_flag,
    "hidden_session": maybe_flag,
    "force_start_session": maybe_flag,
    "department": department,
    "user": user,
}
SEND_TO = {
    **OPTIONS,
    "to": maybe_text,
    "from_": maybe_text,
    "session_id": maybe_identity,
    "ref_id": maybe_identity,
    "delay_typing": st.one_of(st.none(), st.integers(0, 25)),
    "callback_url": maybe_text,
    "sender_id": maybe_text,
}
TEMPLATE = {
    "parameters": parameters,
    "file_id_or_url": maybe_text,
    "session_metadata": metadata,
    "callback_url": maybe_text,
    "sender_id": maybe_text,
}
QUICK_CONTENT = {
    "text": maybe_text,
    "template_id": maybe_text,
    "parameters": parameters,
    "file_url": maybe_text,
    "file_id": maybe_identity,
    "ref_id": maybe_identity,
}
QUICK = {**QUICK_CONTENT, **OPTIONS, "from_": maybe_text, "bot_key": maybe_identity}
WINDOW = {
    "created_after": moments,
    "created_before": moments,
    "updated_after": moments,
    "updated_before": moments,
    "order_by": text,
    "order_direction": st.sampled_from(["ASCENDING", "DESCENDING"]),
}

#: Each function with what it needs, and what it takes besides.
FUNCTIONS: dict[Callable[..., Call[Any]], tuple[tuple[Any, ...], dict[str, Any]]] = {
    sends.send_text: (("Olá",), SEND_TO),
    sends.send_image: ((ID,), {**SEND_TO, "text": maybe_text}),
    sends.send_audio: ((ID,), SEND_TO),
    sends.send_video: ((ID,), {**SEND_TO, "text": maybe_text}),
    sends.send_document: (("https://example.com/a.pdf",), {**SEND_TO, "text": maybe_text}),
    sends.send_template: ((TO, FROM, "a1b2_saudacao"), {**OPTIONS, **TEMPLATE, "session_id": maybe_identity}),
    sends.send_template_batch: ((FROM, ID, [{"to": TO}, {"to": TO, "parameters": {"1": "a"}}]), OPTIONS),
    sends.get_sent_message_status: ((ID,), {}),
    messages.send_message: ((TO,), QUICK),
    messages.send_message_sync: ((TO,), QUICK),
    messages.send_session_message: ((ID,), QUICK_CONTENT),
    messages.send_session_message_sync: ((ID,), QUICK_CONTENT),
    messages.get_message: ((ID,), {}),
    messages.get_message_status: ((ID,), {}),
    messages.list_messages: ((ID,), WINDOW),
    messages.list_session_messages: ((ID,), WINDOW),
    files.get_file_upload_url: (("a.pdf", "PDF"), {"mime_type": text}),
    files.save_file: ((ID,), {}),
    templates.list_templates: (
        (),
        {
            **WINDOW,
            "archived": st.booleans(),
            "name": text,
            "searchable_text": text,
            "channel_id": identity,
            "approved_only": st.booleans(),
            "template_type": st.sampled_from(["QUICKREPLY", "CAMPAIGN", "AUTHENTICATION"]),
            "include_details": st.lists(st.sampled_from(["All", "Params", "File", "Interactive"]), unique=True),
        },
    ),
    scheduled.create_scheduled_message: (
        (TO,),
        {
            "from_": maybe_text,
            "department": department,
            "scheduled_type": st.sampled_from(["TEMPLATE", "CHATBOT"]),
            "template_id": maybe_text,
            "bot_key": maybe_identity,
            "scheduling": moments,
            "hidden_session": st.booleans(),
            "parameters": parameters,
            "file_url": maybe_text,
            "file_id": maybe_identity,
        },
    ),
    scheduled.cancel_scheduled_message: ((ID,), {}),
    scheduled.batch_cancel_scheduled_messages: (([ID, ID],), {}),
    scheduled.list_scheduled_messages: (
        (),
        {
            **WINDOW,
            "scheduled_after": moments,
            "scheduled_before": moments,
            "status": st.sampled_from(["SCHEDULED", "SENT", "CANCELED"]),
            "scheduled_type": st.sampled_from(["TEMPLATE", "CHATBOT"]),
            "from_": text,
            "to": text,
            "user": text,
            "department": text,
            "include_details": st.lists(st.sampled_from(["Contact", "Template"]), unique=True),
        },
    ),
}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_every_call_fits_the_contract(function, data):
    needed, optional = FUNCTIONS[function]
    given_values = data.draw(st.fixed_dictionaries({}, optional=optional))

    call = function(*needed, **given_values)

    assert call.operation_id == function.__name__
    assert call.operation.operation_id in operations()
    assert call.problems() == []


@pytest.mark.parametrize("module", [sends, messages, files, templates, scheduled])
def test_no_function_is_forgotten(module):
    public = {
        one
        for name, one in vars(module).items()
        if inspect.isfunction(one)
        and one.__module__ == module.__name__
        and not name.startswith("_")
        # The rest prepares or checks what goes into a call.
        and str(one.__annotations__.get("return")).startswith("Call[")
        and name != "media_call"
    }
    assert public <= set(FUNCTIONS)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_what_is_not_given_is_left_out(function):
    needed, _ = FUNCTIONS[function]

    call = function(*needed)

    if isinstance(call.body, dict):
        assert set(call.body) <= {"text", "fileIdOrUrl", "to", "from", "templateId", "messages", "body", "tempFileId"}
    assert set(call.query) <= {"SessionId", "Type", "Name"}


def test_every_value_goes_out_under_its_own_name():
    call = sends.send_text(
        "Olá",
        to=TO,
        from_=FROM,
        session_id=ID,
        ref_id=ID,
        delay_typing=0,
        callback_url="",
        sender_id="a",
        enable_bot=False,
        hidden_session=None,
        force_start_session=True,
        department={"name": "Vendas"},
        user={"email": "ana@example.com"},
    )

    assert call.body == {
        "to": TO,
        "from": FROM,
        "sessionId": ID,
        "refId": ID,
        "delayTyping": 0,
        "callbackUrl": "",
        "senderId": "a",
        "text": "Olá",
        "options": {
            "enableBot": False,
            "hiddenSession": None,
            "forceStartSession": True,
            "department": {"name": "Vendas"},
            "user": {"email": "ana@example.com"},
        },
    }


def test_a_quick_send_names_the_bot_by_its_key_and_keeps_department_and_user_beside_the_body():
    call = messages.send_message(
        TO,
        from_=FROM,
        text="Olá",
        bot_key=ID,
        department={"id": ID},
        user={"id": ID},
        enable_bot=True,
        ref_id=ID,
    )

    assert call.body == {
        "from": FROM,
        "to": TO,
        "botKey": ID,
        "body": {"text": "Olá", "refId": ID},
        "department": {"id": ID},
        "user": {"id": ID},
        "options": {"enableBot": True},
    }


def test_session_metadata_of_a_template_goes_out_under_its_documented_key():
    call = sends.send_template(TO, FROM, ID, session_metadata={"invoice": 7, "paid": False})

    assert call.body["sessionMetadata"] == {"invoice": 7, "paid": False}


def test_the_entries_of_a_template_batch_carry_their_own_values():
    call = sends.send_template_batch(
        FROM, "slug", [{"to": TO, "sender_id": "a", "session_metadata": {}, "parameters": {}}], hidden_session=True
    )

    assert call.body == {
        "from": FROM,
        "templateId": "slug",
        "options": {"hiddenSession": True},
        "messages": [{"to": TO, "parameters": {}, "senderId": "a", "sessionMetadata": {}}],
    }


def test_moments_go_out_in_utc():
    call = scheduled.create_scheduled_message(TO, scheduling=datetime.fromisoformat("2026-03-01T09:00:00-03:00"))

    assert b'"scheduling":"2026-03-01T12:00:00Z"' in call.content


@pytest.mark.parametrize(
    "call",
    [
        sends.send_text("", to=TO),
        sends.send_image("", to=TO),
        sends.send_text("Olá", session_id="no id"),
        sends.send_text("Olá", delay_typing="3"),
        sends.send_template("", FROM, ID),
        sends.send_template(TO, "", ID),
        sends.send_template(TO, FROM, ID, parameters={"1": 5}),
        sends.send_template_batch(FROM, ID, [{"sender_id": "a"}]),
        messages.send_message("", text="Olá"),
        messages.send_message(TO, bot_key="Cobrança"),
        messages.send_session_message(ID, file_id="no id"),
        messages.get_message("no id"),
        messages.list_messages("no id"),
        messages.list_messages(ID, order_direction="up"),
        files.get_file_upload_url("a.pdf", "PICTURE"),
        files.save_file("no id"),
        templates.list_templates(template_type="TEMPLATE"),
        scheduled.create_scheduled_message(TO, scheduling="tomorrow"),
        scheduled.create_scheduled_message(TO, scheduled_type="TEXT"),
        scheduled.batch_cancel_scheduled_messages(["no id"]),
        scheduled.list_scheduled_messages(include_details=["Nothing"]),
    ],
    ids=lambda call: call.operation_id,
)
def test_what_does_not_fit_is_refused(call):
    assert call.problems() != []


def test_a_misspelt_filter_is_refused():
    with pytest.raises(TypeError, match="approved"):
        templates.list_templates(approved=True)


def test_ids_may_be_given_as_themselves():
    assert messages.get_message(UUID(ID)).url_path == f"/chat/v1/message/{ID}"
