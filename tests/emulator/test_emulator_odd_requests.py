"""Odd requests get an answer of the service, and never a traceback."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
from typing import TYPE_CHECKING, Any

import pytest
import requests
from emulator_api import CARLA, WHATSAPP, Api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_wts.emulator.running import Emulator

SEND = {"from": WHATSAPP, "to": CARLA, "text": "Oi"}


@pytest.fixture(autouse=True)
def no_traceback(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a test asks, the emulator has no defect to log."""
    with caplog.at_level(logging.ERROR):
        yield
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


def ask(api: Api, path: str, raw: bytes, *, method: str = "POST") -> requests.Response:
    headers = {"Content-Type": "application/json"}
    return api.session.request(method, api.emulator.url + path, data=raw, headers=headers, timeout=10)


def first(table: Any) -> str:
    return str(table.by_creation()[0].id)


# Bodies ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"",
        b"\xff\xfe\x00",
        b'"\xc3\x28"',
        b"NaN",
        b'{"text": Infinity}',
        b'{"delayTyping": NaN}',
        b'{"delayTyping": 1e999}',
        b'{"text": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"sessionMetadata": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}",
        b'{"delayTyping": ' + b"9" * 400 + b"}",
        b'{"delayTyping": ' + b"9" * 5000 + b"}",
        b"null",
        b"[]",
        b'"text"',
        b"1",
    ],
    ids=lambda raw: repr(raw[:24]),
)
@pytest.mark.parametrize("path", ["/chat/v1/send/text", "/chat/v1/chatbot/send", "/crm/v2/panel/card"])
def test_a_body_that_makes_no_sense_is_refused_with_the_envelope(api: Api, path: str, raw: bytes) -> None:
    answer = ask(api, path, raw)
    assert answer.status_code in (400, 500)
    assert answer.json()["key"] in ("FORM_ERROR", "ENTITY_NOT_FOUND")


def test_what_is_nested_deep_but_not_too_deep_is_read(api: Api) -> None:
    deep: Any = "end"
    for _ in range(60):
        deep = {"a": deep}
    contact = api.ask("create_contact", {"name": "Ana", "metadata": {"deep": deep}})
    assert contact["metadata"] == {"deep": deep}


@pytest.mark.parametrize("text", ["\ud800", "Oi \udfff!", "\x00", "\u2028", "😀"])
def test_any_text_is_kept_as_it_came(api: Api, emulator: Emulator, text: str) -> None:
    send = ask(api, "/chat/v1/send/text", json.dumps({**SEND, "text": text}).encode()).json()
    emulator.advance(5)
    assert api.ask("get_message", id=send["id"])["text"] == text
    for name in ("state", "requests", "page"):
        assert requests.get(f"{emulator.url}/_emulator/{name}", timeout=5).status_code == 200


def test_a_body_that_cannot_be_read_does_not_hide_the_page(api: Api, emulator: Emulator) -> None:
    for raw in (b'{"text": ' + b"[" * 5000, b'{"text": NaN}', b'{"text": "\\ud800"}', b"\xff"):
        ask(api, "/chat/v1/send/text", raw)
    for name in ("state", "requests", "page"):
        assert requests.get(f"{emulator.url}/_emulator/{name}", timeout=5).status_code == 200


@pytest.mark.parametrize("amount", ["9" * 400, "-" + "9" * 400, "1e400"])
def test_an_amount_beyond_all_numbers_is_refused(api: Api, emulator: Emulator, amount: str) -> None:
    body = f'{{"title": "x", "stepId": "{first(emulator.state.panel_steps)}", "monetaryAmount": {amount}}}'
    assert ask(api, "/crm/v2/panel/card", body.encode()).status_code == 400


def test_huge_amounts_still_add_up_to_a_number(api: Api, emulator: Emulator) -> None:
    step = emulator.state.panel_steps.by_creation()[0]
    for _ in range(3):
        api.ask("create_card", {"stepId": step.id, "title": "x", "monetaryAmount": 1.7e308})
    panel = api.call("get_panel", query={"IncludeDetails": "StepsCardCount"}, id=step["panelId"])
    assert "Infinity" not in panel.text


@pytest.mark.parametrize("date", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59-00:01"])
def test_dates_at_the_ends_of_time_are_read_or_refused(api: Api, emulator: Emulator, date: str) -> None:
    step, session = first(emulator.state.panel_steps), api.start_bot("Falar com atendente")
    calls: list[tuple[str, Any, Any, dict[str, str]]] = [
        ("create_card", {"stepId": step, "title": "x", "dueDate": date}, None, {}),
        ("update_session", {"fields": ["EndAt"], "endAt": date}, None, {"id": session["id"]}),
        ("create_scheduled_message", {"to": CARLA, "botKey": api.bot_key("Cobrança"), "scheduling": date}, None, {}),
        ("filter_contacts", {"createdAt": {"after": date, "before": date}}, None, {}),
        ("list_contacts", None, {"UpdatedAt.After": date, "CreatedAt.Before": date}, {}),
        ("list_sessions", None, {"EndAt.Before": date, "ActiveAt.After": date}, {}),
        ("list_panels", None, {"IncludeDetails": "PanelCardOverdueCount"}, {}),
        ("get_session", None, None, {"id": session["id"]}),
    ]
    for operation_id, body, query, path in calls:
        answer = api.call(operation_id, body, query, **path)
        assert answer.status_code == 200 or answer.json()["key"] == "FORM_ERROR", (operation_id, answer.text)


@pytest.mark.parametrize("item", [{}, {"userId": ""}, {"isAgent": True}, {"userId": None}])
@pytest.mark.parametrize("action", ["ReplaceAll", "Upsert", "Remove"])
def test_an_agent_of_a_department_without_an_id_is_refused(
    api: Api, emulator: Emulator, action: str, item: dict[str, Any]
) -> None:
    department = first(emulator.state.departments)
    before = api.ask("get_department", query={"includeDetails": "All"}, id=department)
    answer = api.call("update_department_agents", {"action": action, "items": [item]}, id=department)
    assert answer.json()["error"] is True
    assert api.ask("get_department", query={"includeDetails": "All"}, id=department) == before


def test_a_department_of_an_agent_without_an_id_is_refused(api: Api, emulator: Emulator) -> None:
    body = {"action": "ReplaceAll", "items": [{}]}
    answer = api.call("update_agent_departments", body, id=first(emulator.state.agents))
    assert answer.json()["error"] is True


# Paths and queries ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/core/v1/contact/%00",
        "/core/v1/contact/%FF%FE",
        "/core/v1/contact/%",
        "/core/v1/contact/%zz",
        "/core/v1/contact/%2F%2F",
        "/core/v1/contact/%252F",
        "/core/v1/contact/%C0%AF",
        "/core/v1/contact/..%2f..%2f",
        "/core/v1/contact/phonenumber/",
        "/core/v1/contact/phonenumber/%20",
        "/core/v1/contact/phonenumber/%ED%A0%80",
        "//core/v1/contact",
        "/core//v1/contact",
        "/core",
        "/" + "a" * 8000,
        "/" + "a/" * 4000,
    ],
    ids=lambda path: path[:40],
)
def test_an_odd_path_gets_the_envelope(api: Api, path: str) -> None:
    answer = requests.Request("GET", "http://x", headers=dict(api.session.headers)).prepare()
    answer.url = api.emulator.url + path
    found = api.session.send(answer, timeout=10)
    assert found.status_code in (400, 404, 500)
    assert found.json()["key"] != "INTERNAL_ERROR"


@pytest.mark.parametrize(
    "query",
    [
        "PageNumber=1_0",
        "PageNumber=%D9%A1",
        "PageNumber=" + "9" * 5000,
        "PageSize=%20",
        "PageNumber=1.0",
        "PageSize=NaN",
        "Status=%FF",
        "CreatedAt.After=%00",
        "IncludeDetails=%ED%A0%80",
        "CreatedAt.After=0001-01-01T00:00:00%2B14:00",
    ],
)
def test_an_odd_query_value_is_refused_with_the_envelope(api: Api, query: str) -> None:
    answer = api.session.get(f"{api.emulator.url}/core/v1/contact?{query}", timeout=10)
    assert answer.status_code == 400
    assert answer.json()["key"] == "FORM_ERROR"


@pytest.mark.parametrize(
    "query", ["&&&", "=", "%", "a[b]=c", "[]=1", ".=1", "x" * 8000, "PageSize=15#", "Page%53ize=3"]
)
def test_an_odd_query_that_names_nothing_known_is_ignored(api: Api, query: str) -> None:
    assert api.session.get(f"{api.emulator.url}/core/v1/contact?{query}", timeout=10).status_code == 200


# HTTP -----------------------------------------------------------------------------------------------------------------


def spoken(emulator: Emulator, head: bytes, body: bytes = b"") -> bytes:
    """Send bytes, and return all that comes until the emulator ends the connection or has answered."""
    with socket.create_connection(("127.0.0.1", int(emulator.url.rpartition(":")[2])), timeout=5) as client:
        found = b""
        # The emulator may hang up on what it has not read to its end.
        with contextlib.suppress(OSError):
            client.sendall(head.replace(b"HOST", emulator.url[7:].encode()) + body)
            client.shutdown(socket.SHUT_WR)
            while chunk := client.recv(65_536):
                found += chunk
        return found


POST = (
    b"POST /chat/v1/send/text HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer pn_emulator\r\n"
    b"Content-Type: application/json\r\n"
)
_BODY = json.dumps(SEND).encode()


def test_a_body_in_chunks_is_read(api: Api, emulator: Emulator) -> None:
    raw = json.dumps(SEND).encode()
    answer = api.session.post(
        emulator.url + "/chat/v1/send/text",
        data=iter([raw[:5], raw[5:]]),
        headers={"Content-Type": "application/json"},
        timeout=5,
    )
    assert answer.status_code == 200
    assert len(emulator.sends) == 1


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (POST + b"Content-Length: -1\r\n\r\n", b"{}"),
        (POST + b"Content-Length: x\r\n\r\n", b"{}"),
        (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", b"{}"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"zz\r\n{}\r\n"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"+%x\r\n%b\r\n0\r\n\r\n" % (len(_BODY), _BODY)),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"0x%x\r\n%b\r\n0\r\n\r\n" % (len(_BODY), _BODY)),
        (POST + b"Transfer-Encoding: nonsense\r\n\r\n", b"{}"),
        (POST + b"X: " + b"y" * 200_000 + b"\r\n\r\n", b""),
        (POST + b"X\x00: y\r\n\r\n", b""),
        (b"POST\r\n\r\n", b""),
        (b"\x16\x03\x01\x02\x00", b"\r\n\r\n"),
        (b"GET /chat/v1/channel HTTP/1.1\r\n\r\n", b""),
    ],
    ids=lambda part: repr(part[-30:]),
)
def test_what_is_no_http_is_refused_and_sends_nothing(emulator: Emulator, head: bytes, body: bytes) -> None:
    assert spoken(emulator, head, body)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 431", b"HTTP/1.1 501", b"")
    assert emulator.sends == []


def test_a_request_line_that_is_too_long_gets_an_answer(emulator: Emulator) -> None:
    assert spoken(emulator, b"GET /".ljust(65_537, b"a"))[:12] == b"HTTP/1.1 414"


@pytest.mark.parametrize("length", [b"10000", b"3"])
def test_a_wrong_content_length_sends_nothing(api: Api, emulator: Emulator, length: bytes) -> None:
    spoken(emulator, POST + b"Content-Length: " + length + b"\r\n\r\n", json.dumps(SEND).encode())
    assert emulator.sends == []
    assert api.ask("list_channels")


# Control --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [None, [], "x", 1, {}, {"to": 5}, {"from": 5, "text": []}, {"advance": "x"}, [[]], [1]]
)
@pytest.mark.parametrize("call", ["received", "faults", "switches", "clock", "seed", "contact-reply"])
def test_an_odd_control_call_says_what_is_wrong(emulator: Emulator, call: str, body: object) -> None:
    answer = requests.post(f"{emulator.url}/_emulator/{call}", json=body, timeout=5)
    assert answer.status_code in (200, 400)
    assert answer.status_code == 200 or answer.json()["problem"]


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 99999},
        {"status": "x"},
        {"every": 0},
        {"nth": "1"},
        {"retry_after": "1\r\nX: y"},
        {"location": 5},
        {"seconds": -1},
        {"size": -1},
        {"probability": "much"},
        {"body": 5},
        {"match": 5},
    ],
)
def test_a_fault_that_cannot_be_is_refused_when_it_is_set(api: Api, emulator: Emulator, fault: dict[str, Any]) -> None:
    answer = requests.post(f"{emulator.url}/_emulator/faults", json={"kind": "status", **fault}, timeout=5)
    assert answer.status_code == 400
    assert api.ask("list_channels")


@pytest.mark.parametrize("change", [{"advance": 1e300}, {"advance": 1e12}, {"speed": 1e300}, {"speed": -1}])
def test_time_does_not_leave_the_calendar(api: Api, emulator: Emulator, change: dict[str, float]) -> None:
    requests.post(f"{emulator.url}/_emulator/clock", json=change, timeout=5)
    send = api.send_text()
    assert send["createdAt"] < "9999-12-31T23:59"
