"""Telling people from a callback, which must never get into the way of a run."""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseNotifier

from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.notifications.wts import WtsNotifier

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.running import Emulator

CHANNEL = "WhatsApp principal"
PHONES = ["+5511999998888", "+5511999997777"]


@pytest.fixture
def dag_context() -> dict[str, Any]:
    """The context of a callback, as far as templates look into it."""
    with DAG(dag_id="billing", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        pass
    return {"dag": dag, "run_id": "manual", "params": {"who": PHONES[0]}}


@pytest.fixture
def told() -> list[str]:
    """What notifiers log beside errors."""
    return []


@pytest.fixture
def errors(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> list[str]:
    """What notifiers log as errors."""
    found: list[str] = []

    class Log:
        def info(self, text: str, *args: Any, **_: Any) -> None:
            told.append(text % args)

        warning = debug = info

        def error(self, text: str, *args: Any, **_: Any) -> None:
            found.append(text % args)

        exception = error

    monkeypatch.setattr(WtsNotifier, "log", Log())
    return found


def test_a_text_goes_to_every_recipient(wts_connection: Emulator, dag_context: dict[str, Any]) -> None:
    WtsNotifier(to=[*PHONES, PHONES[0]], text="{{ dag.dag_id }} failed in {{ run_id }}")(dag_context)
    wts_connection.advance(1)
    received = [wts_connection.received(phone) for phone in PHONES]
    assert [[one.text for one in by_one] for by_one in received] == [["billing failed in manual"]] * 2


def test_a_template_is_filled_in(wts_connection: Emulator, dag_context: dict[str, Any]) -> None:
    WtsNotifier(
        to="{{ params.who }}",
        template="saudacao",
        parameters={"nome": "{{ dag.dag_id }}"},
        channel="WhatsApp principal",
        session_metadata={"dag": "{{ dag.dag_id }}"},
    )(dag_context)
    wts_connection.advance(1)
    assert [one.text for one in wts_connection.received(PHONES[0])] == ["Olá billing, tudo bem?"]
    (request,) = wts_connection.requests_of("send_template")
    assert request.body["sessionMetadata"] == {"dag": "billing"}


@pytest.mark.parametrize(
    "given",
    [
        {"text": "Olá {{ exception }}, tudo bem?"},
        {"template": "saudacao", "parameters": {"nome": "{{ exception }}"}, "channel": CHANNEL},
    ],
    ids=["text", "template"],
)
@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("\x1b[31mtable\x1b[0m\x00 is\x07 \x1b[1;4mlocked\x1b[m", "table is locked"),
        # How Python reads the name of a file in another encoding: with half a character.
        (os.fsdecode(b"no relat\xf3rio.csv"), "no relat\ufffdrio.csv"),
    ],
    ids=["colours", "file"],
)
def test_colours_and_damaged_characters_of_an_exception_lose_no_alert(
    wts_connection: Emulator, dag_context: dict[str, Any], given: dict[str, Any], said: str, read: str
) -> None:
    WtsNotifier(to=PHONES[0], **given)({**dag_context, "exception": ValueError(said)})
    wts_connection.advance(1)
    assert [one.text for one in wts_connection.received(PHONES[0])] == [f"Olá {read}, tudo bem?"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"erro": "{{ exception }}", "mais": [{"erro": "{{ exception }}"}]},
        '{"erro": "{{ exception }}", "mais": [{"erro": "{{ exception }}"}]}',
        '{"erro": {{ exception | string | tojson }}, "mais": [{"erro": {{ exception | string | tojson }}}]}',
        [{"key": "erro", "value": "{{ exception }}"}, {"key": "mais", "value": [{"erro": "{{ exception }}"}]}],
    ],
    ids=["object", "JSON", "tojson", "pairs"],
)
def test_nor_in_the_metadata_of_the_session(
    wts_connection: Emulator, dag_context: dict[str, Any], metadata: Any
) -> None:
    error = ValueError("\x1b[31mtable\x1b[0m\x00 is\x07 locked")
    WtsNotifier(to=PHONES[0], chatbot="Cobrança", session_metadata=metadata)({**dag_context, "exception": error})
    (sent,) = wts_connection.requests_of("send_chatbot")
    assert sent.body["sessionMetadata"] == {"erro": "table is locked", "mais": [{"erro": "table is locked"}]}


def test_a_chatbot_is_started(wts_connection: Emulator, dag_context: dict[str, Any]) -> None:
    WtsNotifier(to=PHONES[0], chatbot="Cobrança")(dag_context)
    assert [one.kind for one in wts_connection.received(PHONES[0])] == ["chatbot"]


def test_it_can_be_awaited_and_leaves_the_event_loop_alone(
    wts_connection: Emulator, monkeypatch: pytest.MonkeyPatch, dag_context: dict[str, Any]
) -> None:
    threads: list[int] = []
    notify = WtsNotifier.notify

    def watched(self: WtsNotifier, context: Any) -> None:
        threads.append(threading.get_ident())
        notify(self, context)

    monkeypatch.setattr(WtsNotifier, "notify", watched)
    notifier = WtsNotifier(to=PHONES[0], text="Prazo perdido")
    asyncio.run(notifier.async_notify(dag_context))
    assert threads != [threading.get_ident()]
    wts_connection.advance(1)
    assert [one.text for one in wts_connection.received(PHONES[0])] == ["Prazo perdido"]


@pytest.mark.skipif(
    "context" not in inspect.signature(BaseNotifier.__init__).parameters, reason="no deadline alerts before Airflow 3.1"
)
def test_a_deadline_alert_awaits_it(wts_connection: Emulator, errors: list[str]) -> None:
    async def call_back(**kwargs: Any) -> None:
        await WtsNotifier(**kwargs)

    context = {"dag_run": {"dag_id": "billing"}}
    asyncio.run(call_back(to=PHONES[0], text="{{ dag_run.dag_id }} is late", context=context))
    asyncio.run(call_back(to=PHONES[0], text="{{ no end", context=context))
    wts_connection.advance(1)
    assert [one.text for one in wts_connection.received(PHONES[0])] == ["billing is late"]
    assert errors == ["The notification was not sent."]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"to": PHONES[0]}, "give exactly one of them, not none"),
        ({"to": PHONES[0], "text": "a", "chatbot": "b"}, "give exactly one"),
        ({"to": [], "text": "a"}, "to: is empty"),
        ({"to": "", "text": "a"}, "to: is empty"),
        ({"to": "nobody", "text": "a"}, "did not reach nobody"),
        ({"to": PHONES[0], "text": "{{ broken"}, "was not sent"),
        ({"to": PHONES[0], "text": "a", "wts_conn_id": "missing"}, "was not sent"),
        ({"to": PHONES[0], "template": "saudacao"}, "channel: is required to send a template"),
        ({"to": PHONES[0], "chatbot": "Nenhum"}, "Nenhum"),
        ({"to": PHONES[0], "template": "em_revisao", "channel": CHANNEL}, "is not approved"),
        ({"to": PHONES[0], "template": "saudacao", "channel": CHANNEL, "parameters": {"nome": ""}}, "has no value"),
        ({"to": PHONES[0], "template": "saudacao", "channel": CHANNEL}, "'nome' missing"),
    ],
    ids=str,
)
def test_mistakes_are_logged_and_go_no_further(
    wts_connection: Emulator,
    dag_context: dict[str, Any],
    errors: list[str],
    parameters: dict[str, Any],
    words: str,
) -> None:
    WtsNotifier(**parameters)(dag_context)
    assert len(errors) == 1
    assert words in errors[0]
    assert not wts_connection.deliveries


def test_one_recipient_that_fails_does_not_hold_up_the_others(
    wts_connection: Emulator, dag_context: dict[str, Any], errors: list[str]
) -> None:
    WtsNotifier(to=["123", *PHONES], text="Olá")(dag_context)
    wts_connection.advance(1)
    assert len(errors) == 1
    assert [len(wts_connection.received(phone)) for phone in PHONES] == [1, 1]


@pytest.mark.parametrize("blank", ["", " ", "None", None])
def test_blank_recipients_are_skipped_with_a_word(
    blank: str | None, wts_connection: Emulator, dag_context: dict[str, Any], errors: list[str], told: list[str]
) -> None:
    WtsNotifier(to=[blank, PHONES[0], blank], text="Olá")(dag_context)  # type: ignore[list-item]
    wts_connection.advance(1)
    assert errors == []
    assert len(wts_connection.received(PHONES[0])) == 1
    assert "to: 2 of 3 recipients are blank and are skipped." in told
    assert f"Notified 1 of 1 recipients: {PHONES[0]}." in told


def test_recipients_that_are_all_blank_are_a_mistake(
    wts_connection: Emulator, dag_context: dict[str, Any], errors: list[str]
) -> None:
    WtsNotifier(to=["", " "], text="Olá")(dag_context)
    assert len(errors) == 1
    assert "to: is empty" in errors[0]


def test_one_person_in_several_spellings_is_told_once(wts_connection: Emulator, dag_context: dict[str, Any]) -> None:
    spellings = ["+55 (11) 99999-8888", "11999998888", "+5511999998888", "551199998888", "+55|11999998888"]
    WtsNotifier(to=spellings, text="Olá")(dag_context)
    assert len(wts_connection.requests_of("send_text")) == 1


def test_a_refused_token_ends_it_at_the_first_recipient(
    wts_connection: Emulator, dag_context: dict[str, Any], errors: list[str], told: list[str]
) -> None:
    wts_connection.faults.add("status", status=401, times=None, operation_id="send_text")
    WtsNotifier(to=PHONES, text="Olá")(dag_context)
    assert len(wts_connection.requests_of("send_text")) == 1
    assert errors[1:] == [f"The notification was not tried for {PHONES[1]}, because nothing can be sent."]
    assert told[-1] == "Notified 0 of 2 recipients: nobody."


def test_a_host_that_cannot_be_reached_ends_it_at_the_first_recipient(
    dag_context: dict[str, Any], errors: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", f"wts://:pn_x@http%3A%2F%2Flocalhost%3A{port}")
    began = time.monotonic()
    WtsNotifier(to=[*PHONES, "+5511999990000"], text="Olá")(dag_context)
    assert time.monotonic() - began < 15
    assert len(errors) == 2
    assert "not tried for +5511999997777, +5511999990000" in errors[1]


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 429, "retry_after": "1000"},
        {"kind": "status", "status": 429},
        {"kind": "hang", "when": "before"},
        {"kind": "hang", "when": "after"},
        {"kind": "status", "status": 503},
    ],
    ids=str,
)
@pytest.mark.parametrize("awaited", [False, True])
def test_it_ends_at_its_deadline_whatever_happens(
    fault: dict[str, Any],
    awaited: bool,
    wts_connection: Emulator,
    dag_context: dict[str, Any],
    errors: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("airflow_provider_wts.notifications.wts.DEADLINE", 1.5)
    wts_connection.faults.add(**fault, times=None)
    notifier = WtsNotifier(to=PHONES, template="saudacao", parameters={"nome": "Ana"}, channel=CHANNEL)
    began = time.monotonic()
    if awaited:
        asyncio.run(notifier.async_notify(dag_context))  # type: ignore[arg-type]
    else:
        notifier.notify(dag_context)  # type: ignore[arg-type]
    assert time.monotonic() - began < 4
    assert errors
    assert not wts_connection.requests_of("send_template")


def test_an_unknown_outcome_is_not_sent_again(
    wts_connection: Emulator, dag_context: dict[str, Any], errors: list[str]
) -> None:
    wts_connection.faults.add("reset", when="after", operation_id="send_text")
    WtsNotifier(to=PHONES[0], text="Olá")(dag_context)
    wts_connection.advance(1)
    assert len(errors) == 1
    assert len(wts_connection.received(PHONES[0])) == 1


@pytest.mark.parametrize("status", ["FAILED", "DELETED"])
@pytest.mark.usefixtures("wts_connection")
def test_a_message_that_failed_at_once_notified_nobody(
    dag_context: dict[str, Any], errors: list[str], told: list[str], monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    answers = iter([{"id": "m1", "status": status, "failedReason": "fora da janela"}, {"id": "m2", "status": "QUEUED"}])
    monkeypatch.setattr(WtsHook, "run", lambda hook, call: next(answers))
    WtsNotifier(to=PHONES, text="Olá")(dag_context)
    assert [PHONES[0] in line and f"{status}: fora da janela" in line for line in errors] == [True]
    assert told[-1] == f"Notified 1 of 2 recipients: {PHONES[1]}."


def test_there_is_no_default_recipient() -> None:
    assert inspect.signature(WtsNotifier).parameters["to"].default is inspect.Parameter.empty
