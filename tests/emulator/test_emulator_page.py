"""The emulator's page and the data it shows. How it looks and lives is tested with a browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import requests
from emulator_api import CARLA, DIEGO, WHATSAPP

from airflow_provider_wts.emulator.page import dag_run_of

if TYPE_CHECKING:
    from emulator_api import Api

    from airflow_provider_wts.emulator.running import Emulator

RUN = {"campaign": {"dag": "cobranca", "run": "manual__1"}}


def data_of(emulator: Emulator) -> Any:
    answer = requests.get(emulator.url + "/_emulator/page", timeout=5)
    assert answer.status_code == 200
    return answer.json()


@pytest.fixture
def page(emulator: Emulator) -> requests.Response:
    return requests.get(emulator.url + "/", timeout=5)


def test_the_page_is_served_without_a_token(page: requests.Response) -> None:
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<title>WTS Chat emulator</title>" in page.text


def test_the_page_is_one_file_that_needs_nothing_from_elsewhere(page: requests.Response) -> None:
    assert not re.findall(r"(?:https?:)?//[a-z]", page.text)
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"(?!data:)", page.text)
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_the_page_puts_no_text_into_markup(page: requests.Response) -> None:
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", page.text)


def test_looking_is_no_request_of_a_client(emulator: Emulator, page: requests.Response) -> None:
    data_of(emulator)
    assert emulator.requests == []
    assert emulator.service.recorder.total == 0


def test_the_page_itself_can_be_looked_at_only(api: Api, emulator: Emulator) -> None:
    assert requests.post(emulator.url + "/", timeout=5).status_code == 401
    head = requests.head(emulator.url + "/", timeout=5)
    assert (head.status_code, head.content) == (200, b"")
    assert api.session.get(emulator.url + "/?x=1", timeout=5).status_code == 200


def test_the_data_of_an_empty_account_is_empty(emulator: Emulator) -> None:
    data = data_of(emulator)
    assert (data["conversations"], data["sends"]) == ([], [])
    assert set(data["totals"].values()) == {0}


def test_a_conversation_shows_whom_it_is_with_and_what_was_said(api: Api, emulator: Emulator) -> None:
    api.start_bot(sessionMetadata={"fatura": "2026-118"})
    emulator.advance(30)
    (talk,) = data_of(emulator)["conversations"]
    assert (talk["name"], talk["from"], talk["channel"]) == ("Carla Dias", CARLA, "WhatsApp principal")
    assert talk["status"] == "COMPLETED"
    assert talk["bot"] is None
    assert talk["metadata"]["fatura"] == "2026-118"
    assert [(one["mine"], one["text"]) for one in talk["messages"]] == [
        (False, "Olá Carla Dias, sua fatura 2026-118 está em aberto."),
        (False, "Você já fez o pagamento?"),
        (True, "Sim"),
        (False, "Obrigado pelo retorno!"),
    ]
    assert [one["template"] for one in talk["messages"]] == ["cobranca", None, None, "saudacao"]
    assert {one["by"] for one in talk["messages"] if not one["mine"]} == {"BOT"}


def test_a_status_moves(api: Api, emulator: Emulator) -> None:
    emulator.service.set_clock(speed=0)
    api.send_text()
    statuses = []
    for seconds in (0.3, 0.5, 1, 5):
        emulator.advance(seconds)
        statuses.append(data_of(emulator)["conversations"][0]["messages"][0]["status"])
    assert statuses == ["QUEUED", "SENT", "DELIVERED", "READ"]


def test_a_failed_message_says_why(api: Api, emulator: Emulator) -> None:
    emulator.behave(CARLA, fails="Número inválido")
    api.send_text()
    emulator.advance(5)
    (message,) = data_of(emulator)["conversations"][0]["messages"]
    assert (message["status"], message["reason"]) == ("FAILED", "Número inválido")


def test_sends_tell_their_dag_run_and_what_became_of_them(api: Api, emulator: Emulator) -> None:
    api.start_bot(senderId="a", contactMetadata=RUN)
    api.send_text(to=DIEGO, senderId="b", sessionMetadata={"dag_id": "aviso", "run_id": "scheduled__1"})
    api.send_text(to=DIEGO, text="sem DAG")
    emulator.advance(60)
    sends = data_of(emulator)["sends"]
    assert [(one["dag"], one["run"]) for one in sends] == [
        (None, None),
        ("aviso", "scheduled__1"),
        ("cobranca", "manual__1"),
    ]
    assert [(one["to"], one["what"], one["status"]) for one in sends] == [
        ("Diego Alves", "sem DAG", None),
        ("Diego Alves", "Oi", "READ"),
        ("Carla Dias", "Cobrança", "STARTED"),
    ]
    assert {one["http"] for one in sends} == {200}


def test_the_client_that_sends_names_its_dag_run(api: Api, emulator: Emulator) -> None:
    api.session.headers["User-Agent"] = "airflow-provider-wts/1.0 (dag=cobran%C3%A7a; run=manual__1%3B%29)"
    api.send_text()
    api.start_bot(contactMetadata=RUN)
    runs = [(one["dag"], one["run"]) for one in data_of(emulator)["sends"]]
    assert runs == [("cobranca", "manual__1"), ("cobrança", "manual__1;)")]


def test_a_batch_is_shown_recipient_by_recipient(api: Api, emulator: Emulator) -> None:
    body = {
        "botKey": api.bot_key("Cobrança"),
        "from": WHATSAPP,
        "messages": [{"to": CARLA, "sessionMetadata": RUN}, {"to": DIEGO, "sessionMetadata": RUN}],
    }
    api.ask("queue_chatbot_batch", body)
    sends = data_of(emulator)["sends"]
    assert [(one["to"], one["what"], one["run"]) for one in sends] == [
        ("Carla Dias", "Cobrança", "manual__1"),
        ("Diego Alves", "Cobrança", "manual__1"),
    ]


def test_refusals_and_faults_are_shown(api: Api, emulator: Emulator) -> None:
    api.call("send_text", {"from": WHATSAPP, "to": CARLA})
    emulator.faults.add("status", status=503, when="after", operation_id="send_text")
    api.call("send_text", {"from": WHATSAPP, "to": CARLA, "text": "Oi"})
    data = data_of(emulator)
    assert [(one["http"], one["fault"], one["took_effect"]) for one in data["sends"]] == [
        (503, "status", True),
        (400, None, False),
    ]
    assert data["totals"]["errors"] >= 1


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"messages": 5}', b'{"messages": [5], "botKey": 7}', b'{"to": 5}'])
@pytest.mark.parametrize("path", ["/chat/v1/send/text", "/chat/v1/send/chatbot/batch", "/chat/v1/chatbot/send"])
def test_no_body_breaks_the_data(api: Api, emulator: Emulator, path: str, body: bytes) -> None:
    api.session.post(emulator.url + path, data=body, timeout=5)
    data_of(emulator)


def test_the_data_holds_no_token_and_is_bounded(api: Api, emulator: Emulator) -> None:
    emulator.switches.rate_limits = False
    for number in range(120):
        api.send_text(to=f"+55|119988{number:05}", text="x" * 10)
    emulator.advance(10)
    answer = requests.get(emulator.url + "/_emulator/page", timeout=5)
    assert emulator.token not in answer.text
    assert len(answer.json()["conversations"]) == 100
    assert answer.json()["totals"]["conversations"] == 120


def test_a_long_conversation_shows_its_end(api: Api, emulator: Emulator) -> None:
    for number in range(55):
        emulator.contact_writes(CARLA, f"Oi {number}")
    (talk,) = data_of(emulator)["conversations"]
    assert talk["earlier"] == 5
    assert talk["messages"][-1]["text"] == "Oi 54"


def test_the_preview_of_a_session_is_the_page_with_this_conversation(api: Api, emulator: Emulator) -> None:
    session = api.start_bot()
    api.start_bot(to=DIEGO)
    preview = requests.get(session["previewUrl"], timeout=5)
    assert "<title>WTS Chat emulator</title>" in preview.text
    alone = requests.get(f"{emulator.url}/_emulator/page/{session['id']}", timeout=5).json()
    assert [talk["id"] for talk in alone["conversations"]] == [session["id"]]
    assert requests.get(f"{emulator.url}/_emulator/page/none", timeout=5).json()["conversations"] == []


def test_a_reset_empties_the_page(api: Api, emulator: Emulator) -> None:
    api.send_text()
    emulator.advance(1)
    emulator.reset()
    data = data_of(emulator)
    assert (data["conversations"], data["sends"]) == ([], [])


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        ({"dag": "d", "run": "r"}, ("d", "r")),
        ({"dag_id": "d", "run_id": "r"}, ("d", "r")),
        ({"x": 1, "campaign": {"dag": "d", "run": "r"}}, ("d", "r")),
        ({"dag": "d"}, (None, None)),
        ({"dag": 1, "run": "r"}, (None, None)),
        ({"a": {"b": {"dag": "d", "run": "r"}}}, (None, None)),
        ("text", (None, None)),
        (None, (None, None)),
    ],
)
def test_where_a_run_is_told(metadata: Any, found: tuple[str | None, str | None]) -> None:
    assert dag_run_of({"contactMetadata": metadata}) == found
    assert dag_run_of({}, {"sessionMetadata": metadata}) == found
