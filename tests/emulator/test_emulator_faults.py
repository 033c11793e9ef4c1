"""Faults on demand: what a client meets, and whether the request took effect."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests
from emulator_api import CARLA, WHATSAPP

if TYPE_CHECKING:
    from emulator_api import Api

    from airflow_provider_wts.emulator.running import Emulator

SEND = {"from": WHATSAPP, "to": CARLA, "text": "Oi"}

BROKEN = ["reset", "close", "truncated", "garbage", "bad_content_length"]


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize(("when", "sends"), [("before", 0), ("after", 1)])
def test_a_broken_connection_comes_before_or_after_the_effect(
    api: Api, emulator: Emulator, kind: Any, when: Any, sends: int
) -> None:
    emulator.faults.add(kind, when=when, operation_id="send_text")
    with pytest.raises(requests.RequestException):
        api.call("send_text", SEND)
    assert len(emulator.sends) == sends
    assert emulator.requests[-1].fault == kind
    assert emulator.requests[-1].took_effect is bool(sends)
    assert api.call("send_text", SEND).status_code == 200


def test_a_reset_is_a_reset(emulator: Emulator) -> None:
    emulator.faults.add("reset")
    with socket.create_connection(("127.0.0.1", int(emulator.url.rpartition(":")[2])), timeout=5) as client:
        client.sendall(b"GET /chat/v1/channel HTTP/1.1\r\nHost: %b\r\n\r\n" % emulator.url[7:].encode())
        with pytest.raises(ConnectionResetError):
            client.recv(1)


@pytest.mark.parametrize("status", [401, 408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize(("when", "sends"), [("before", 0), ("after", 1)])
def test_a_status_comes_before_or_after_the_effect(
    api: Api, emulator: Emulator, status: int, when: Any, sends: int
) -> None:
    emulator.faults.add("status", status=status, when=when)
    assert api.call("send_text", SEND).status_code == status
    assert len(emulator.sends) == sends
    assert emulator.requests[-1].status == status


@pytest.mark.parametrize(
    ("envelope", "key", "starts"),
    [
        ("business", "FORM_ERROR", b"{"),
        ("technical", "INTERNAL_ERROR", b"{"),
        ("problem", None, b"{"),
        ("none", None, b""),
        ("html", None, b"<html>"),
    ],
)
def test_a_status_has_the_body_that_was_asked_for(
    api: Api, emulator: Emulator, envelope: Any, key: str | None, starts: bytes
) -> None:
    emulator.faults.add("status", envelope=envelope)
    answer = api.call("list_channels")
    assert answer.content.startswith(starts)
    if key is not None:
        assert answer.json()["key"] == key
    assert bool(answer.content) is bool(starts)


def test_a_429_carries_retry_after_when_asked(api: Api, emulator: Emulator) -> None:
    emulator.faults.add("status", status=429, retry_after="7")
    assert api.call("list_channels").headers["Retry-After"] == "7"


def test_a_redirect_names_its_location(api: Api, emulator: Emulator) -> None:
    emulator.faults.add("redirect", location="https://exemplo.com.br/login")
    answer = api.call("list_channels")
    assert (answer.status_code, answer.headers["Location"]) == (302, "https://exemplo.com.br/login")


@pytest.mark.parametrize(("kind", "start"), [("empty", b""), ("not_json", b"<!DOCTYPE html>")])
def test_a_200_can_have_a_spoilt_body(api: Api, emulator: Emulator, kind: Any, start: bytes) -> None:
    emulator.faults.add(kind, when="after")
    answer = api.call("send_text", SEND)
    assert answer.status_code == 200
    assert answer.content.startswith(start)
    assert len(emulator.sends) == 1


def test_an_answer_can_be_oversized(api: Api, emulator: Emulator) -> None:
    emulator.faults.add("oversized", size=3_000_000)
    answer = api.call("list_channels")
    assert len(answer.content) == 3_000_000
    assert list(answer.json()) == ["text"]


@pytest.mark.parametrize("kind", ["drip_headers", "drip_body"])
def test_an_answer_can_drip(api: Api, emulator: Emulator, kind: Any) -> None:
    emulator.faults.add(kind, when="after", seconds=0.0005)
    begin = time.monotonic()
    assert api.ask("list_channels")
    assert time.monotonic() - begin > 0.04


def test_latency_delays_a_good_answer(api: Api, emulator: Emulator) -> None:
    emulator.faults.add("latency", seconds=0.1)
    begin = time.monotonic()
    assert api.ask("list_channels")
    assert time.monotonic() - begin >= 0.1


def test_a_hanging_request_ends_when_the_client_gives_up(api: Api, emulator: Emulator) -> None:
    emulator.faults.add("hang", when="after")
    with pytest.raises(requests.ReadTimeout):
        api.session.post(emulator.url + "/chat/v1/send/text", json=SEND, timeout=0.1)
    assert len(emulator.sends) == 1


def test_a_hanging_request_does_not_hold_up_the_stop(api: Api, emulator: Emulator) -> None:
    emulator.faults.add("hang")
    with pytest.raises(requests.ReadTimeout):
        api.session.get(emulator.url + "/chat/v1/channel", timeout=0.1)
    begin = time.monotonic()
    emulator.stop()
    assert time.monotonic() - begin < 1


@pytest.mark.parametrize("kind", ["close_after", "close_before_next"])
def test_a_kept_connection_ends_without_a_word(emulator: Emulator, kind: Any) -> None:
    emulator.faults.add(kind)
    head = b"GET /chat/v1/channel HTTP/1.1\r\nHost: %b\r\nAuthorization: Bearer pn_emulator\r\n\r\n"
    request = head % emulator.url[7:].encode()
    with socket.create_connection(("127.0.0.1", int(emulator.url.rpartition(":")[2])), timeout=5) as client:
        client.sendall(request)
        answer = client.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" not in answer.lower()
        if kind == "close_before_next":
            client.sendall(request)
        rest = b""
        while chunk := client.recv(65_536):
            rest += chunk
        assert b"HTTP/1.1" not in rest
    assert len(emulator.requests) == 1


@pytest.mark.parametrize(
    ("match", "hit"),
    [
        ({"nth": 2}, [2]),
        ({"every": 2, "times": None}, [2, 4]),
        ({"times": 2}, [1, 2]),
        ({"operation_id": "list_tags"}, []),
        ({"path": "/channel", "nth": 3}, [3]),
        ({"probability": 0.0}, []),
        ({"probability": 1.0, "times": None}, [1, 2, 3, 4]),
    ],
)
def test_a_fault_hits_the_requests_that_match(
    api: Api, emulator: Emulator, match: dict[str, Any], hit: list[int]
) -> None:
    fault = emulator.faults.add("status", status=503, **match)
    answers = [api.call("list_channels").status_code for _ in range(4)]
    assert [number for number, status in enumerate(answers, 1) if status == 503] == hit
    assert fault.hits == len(hit)


def test_a_fault_can_look_for_a_recipient(api: Api, emulator: Emulator) -> None:
    emulator.faults.add("status", status=503, body="99990002", times=None)
    assert api.call("send_text", SEND).status_code == 200
    assert api.call("send_text", {**SEND, "to": "+55|11999990002"}).status_code == 503


def test_a_chance_is_repeatable(api: Api, emulator: Emulator) -> None:
    runs = []
    for _ in range(2):
        emulator.faults.clear()
        emulator.faults.add("status", status=503, probability=0.5, seed=3, times=None)
        runs.append([api.call("list_channels").status_code for _ in range(12)])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 503}


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "explode"},
        {"kind": "reset", "when": "later"},
        {"kind": "reset", "x": 1},
        {"kind": "reset", "operation_id": "send_txt"},
    ],
)
def test_a_fault_that_does_not_exist_is_refused(emulator: Emulator, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"fault|kind|before|Did you mean 'send_text'"):
        emulator.faults.add_all(settings)
