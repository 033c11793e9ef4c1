"""Who may talk to the emulator: a web page of another site must neither read nor drive it."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import requests
from emulator_api import CARLA, WHATSAPP, Api

from airflow_provider_wts.emulator.running import Emulator


def port_of(emulator: Emulator) -> str:
    return emulator.url.rpartition(":")[2]


def status(emulator: Emulator, headers: dict[str, str], *, method: str = "GET", path: str = "/_emulator/state") -> int:
    return requests.request(method, emulator.url + path, headers=headers, timeout=5).status_code


@pytest.mark.parametrize(
    "host", ["127.0.0.1:{port}", "localhost:{port}", "LocalHost:{port}", "127.9.9.9:{port}", "[::1]:{port}"]
)
def test_it_answers_to_the_names_of_this_machine(emulator: Emulator, host: str) -> None:
    assert status(emulator, {"Host": host.format(port=port_of(emulator))}) == 200


@pytest.mark.parametrize("path", ["/", "/_emulator/state", "/chat/v1/channel", "/_upload/x", "/nothing"])
@pytest.mark.parametrize(
    "host",
    [
        "evil.example:{port}",
        "evil.example",
        "127.0.0.1",
        "127.0.0.1:1",
        "localhost.evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "192.168.0.10:{port}",
        "[::ffff:10.0.0.1]:{port}",
        "localhost:{port}@evil.example",
        "{port}",
    ],
)
def test_it_does_not_answer_to_another_name(api: Api, emulator: Emulator, host: str, path: str) -> None:
    answer = api.session.get(emulator.url + path, headers={"Host": host.format(port=port_of(emulator))}, timeout=5)
    assert answer.status_code == 403
    assert "--name" in answer.json()["text"]
    assert emulator.requests == []


def test_it_answers_to_names_that_it_was_given() -> None:
    with Emulator(names=["emulator", "localhost:9000"]) as emulator:
        hosts = [f"emulator:{port_of(emulator)}", "localhost:9000", "emulator:9000", f"other:{port_of(emulator)}"]
        assert [status(emulator, {"Host": host}) for host in hosts] == [200, 200, 403, 403]


def test_where_it_listens_at_all_addresses_it_answers_to_any_address_and_its_own_name() -> None:
    with Emulator(host="0.0.0.0") as emulator:
        names = ["192.168.0.10", socket.gethostname(), "evil.example"]
        hosts = [f"{name}:{port_of(emulator)}" for name in names]
        assert [status(emulator, {"Host": host}) for host in hosts] == [200, 200, 403]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Content-Type": "application/json"},
        {"Origin": "http://evil.example", "Content-Type": "application/json"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1", "Content-Type": "application/json"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=application/json"},
        {"Content-Type": "text/plain; application/json"},
        {"Content-Type": ""},
    ],
)
@pytest.mark.parametrize("call", ["reset", "clock", "seed", "switches", "faults", "contact-reply", "received"])
def test_another_site_cannot_drive_it(api: Api, emulator: Emulator, headers: dict[str, str], call: str) -> None:
    api.send_text()
    assert status(emulator, headers, method="POST", path=f"/_emulator/{call}") == 403
    assert len(emulator.requests) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "application/json"},
        {"Content-Type": "application/json; charset=utf-8"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "own", "Content-Type": "text/plain;charset=UTF-8"},
        {"Sec-Fetch-Site": "none", "Content-Type": "application/json"},
    ],
)
def test_its_own_page_and_a_program_can_drive_it(emulator: Emulator, headers: dict[str, str]) -> None:
    own = {name: value.replace("own", emulator.url) for name, value in headers.items() if value}
    assert status(emulator, own, method="POST", path="/_emulator/reset") == 200


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}])
def test_another_site_cannot_send(api: Api, emulator: Emulator, headers: dict[str, str]) -> None:
    body: Any = {"from": WHATSAPP, "to": CARLA, "text": "Oi"}
    answer = api.session.post(emulator.url + "/chat/v1/send/text", json=body, headers=headers, timeout=5)
    assert answer.status_code == 403
    assert emulator.sends == []


def test_a_link_from_another_site_may_open_the_page(emulator: Emulator) -> None:
    assert status(emulator, {"Sec-Fetch-Site": "cross-site"}, path="/") == 200
