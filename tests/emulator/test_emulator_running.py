"""Starting, stopping, driving over HTTP, the command line, the pytest plugin."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from emulator_api import CARLA

from airflow_provider_wts import emulator as emulator_package
from airflow_provider_wts.emulator.__main__ import main
from airflow_provider_wts.emulator.running import Emulator

if TYPE_CHECKING:
    from emulator_api import Api


def control(emulator: Emulator, name: str, body: object = None, method: str = "POST") -> Any:
    answer = requests.request(method, f"{emulator.url}/_emulator/{name}", json=body, timeout=5)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_it_starts_and_stops_quickly_and_leaves_no_thread_or_socket() -> None:
    with Emulator():
        pass
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    begin = time.monotonic()
    for _ in range(5):
        with Emulator() as emulator:
            requests.get(emulator.url, timeout=5)
    assert time.monotonic() - begin < 3
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) <= files


def test_it_refuses_connections_once_stopped() -> None:
    with Emulator() as emulator:
        url = emulator.url
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=1)


def test_a_connection_that_gets_no_thread_does_not_keep_it_from_stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    with Emulator() as emulator:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", _no_thread)
            with pytest.raises(requests.ConnectionError):
                requests.get(emulator.url, timeout=5)
        assert requests.get(emulator.url, timeout=5).status_code == 200


def _no_thread(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_it_can_start_again_with_what_it_had() -> None:
    emulator = Emulator()
    for expected in (3, 4):
        with emulator:
            headers = {"Authorization": f"Bearer {emulator.token}"}
            url = emulator.url + "/core/v1/contact"
            assert requests.get(url, headers=headers, timeout=5).json()["totalItems"] == expected
            requests.post(url, headers=headers, json={"name": "Nova"}, timeout=5)


def test_two_run_side_by_side() -> None:
    with Emulator() as one, Emulator(token="pn_other") as other:
        for emulator in (one, other):
            headers = {"Authorization": f"Bearer {emulator.token}"}
            assert requests.get(emulator.url + "/chat/v1/channel", headers=headers, timeout=5).status_code == 200


def test_the_same_seed_gives_the_same_ids() -> None:
    ids = [[bot.id for bot in Emulator(seed=seed).state.chatbots] for seed in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]


def test_the_fixture_gives_a_running_one(wts_emulator: Emulator) -> None:
    assert requests.get(wts_emulator.url + "/_emulator/state", timeout=5).status_code == 200


def test_the_plugin_and_the_package_import_next_to_nothing() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import airflow_provider_wts.emulator.fixtures;"
        "print(sorted(name for name in set(sys.modules) - before if not name.startswith('airflow_provider_wts')))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout.replace("'", '"')) == []


def test_it_imports_nothing_of_the_package_but_the_contract() -> None:
    """It must not agree with the client because both ask the same code."""
    imported = {
        name
        for path in Path(emulator_package.__file__).parent.rglob("*.py")
        for name in re.findall(r"^\s*(?:from|import) airflow_provider_wts\.([\w.]+)", path.read_text(), re.MULTILINE)
    }
    outside = {name for name in imported if name.partition(".")[0] != "emulator"}
    assert outside == {"api.contract", "api.contract.check"}


def test_it_runs_without_a_further_package() -> None:
    code = (
        "import sys; sys.modules['uvicorn'] = sys.modules['h11'] = None\n"
        "from airflow_provider_wts.emulator import Emulator\n"
        "with Emulator() as emulator: print(emulator.url)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_line_serves_until_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    seed = tmp_path / "seed.json"
    seed.write_text(json.dumps({"contacts": [{"name": "Zeca", "phone": "+5511966665555"}]}), encoding="utf-8")
    command = [sys.executable, "-m", "airflow_provider_wts.emulator", "--port", "0", "--seed-file", str(seed)]
    command += ["--token", "pn_test", "--speed", "5", "--switch", "rate_limits=false", "--switch", "timestamp_digits=3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        connection = json.loads(line.partition("AIRFLOW_CONN_WTS_DEFAULT='")[2].rstrip("'\n"))
        assert connection["conn_type"] == "wts"
        headers = {"Authorization": f"Bearer {connection['password']}"}
        url = connection["host"] + "/core/v1/contact/phonenumber/5511966665555"
        assert requests.get(url, headers=headers, timeout=5).json()["name"] == "Zeca"
        state = requests.get(connection["host"] + "/_emulator/state", timeout=5).json()
        assert (state["speed"], state["switches"]["rate_limits"]) == (5, False)
        process.send_signal(number)
        assert process.wait(5) == 0


@pytest.mark.parametrize(
    ("seed", "told"),
    [
        ('{"chatbot": []}', "['chatbot']: not valid in a seed file"),
        ("{", "seed.json: is not valid JSON"),
        ('{"behaviours": {"*": {"reply": ["Sim"]}}}', "behaviours['*']: ['reply'] is not valid"),
        ('{"behaviours": {"*": {"replies": "Sim"}}}', "replies: must be a list of texts, not 'Sim'"),
        ('{"contacts": "x"}', "contacts: must be a list, not 'x'"),
    ],
)
def test_a_bad_seed_file_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: str, told: str
) -> None:
    file = tmp_path / "seed.json"
    file.write_text(seed, encoding="utf-8")
    assert main(["--port", "0", "--seed-file", str(file)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


@pytest.mark.parametrize(("option", "value"), [("--port", "99999"), ("--port", "-1"), ("--log-level", "loud")])
def test_a_bad_option_is_named(capsys: pytest.CaptureFixture[str], option: str, value: str) -> None:
    with pytest.raises(SystemExit):
        main([f"{option}={value}"])
    assert f"argument {option}: " in capsys.readouterr().err


# Control over HTTP --------------------------------------------------------------------------------------------------


def test_the_state_shows_what_happened(api: Api, emulator: Emulator) -> None:
    api.start_bot(sessionMetadata={"a": "1"}, senderId="envio-1")
    api.send_text()
    state = control(emulator, "state", method="GET")
    assert state["sessions"][0]["running_bot"] == "Cobrança"
    assert state["sends"][0]["operation_id"] == "send_text"
    assert state["deliveries"][0]["sender_id"] == "envio-1"
    assert state["requests"]["by_operation"]["send_chatbot"] == 1


def test_faults_are_set_and_removed_over_http(api: Api, emulator: Emulator) -> None:
    control(
        emulator, "faults", {"kind": "status", "status": 503, "match": {"operation_id": "list_tags"}, "times": None}
    )
    assert (api.call("list_tags").status_code, api.call("list_channels").status_code) == (503, 200)
    control(emulator, "faults", method="DELETE")
    assert api.call("list_tags").status_code == 200


def test_clock_and_switches_are_set_over_http(api: Api, emulator: Emulator) -> None:
    control(emulator, "switches", {"bot_id_after_run": "kept"})
    session = api.start_bot()
    control(emulator, "clock", {"advance": 60, "speed": 0})
    found = api.get_session(session["id"])
    assert (found["status"], found["botId"]) == ("COMPLETED", session["botId"])
    assert emulator.clock.speed == 0


def test_a_contact_writes_over_http(api: Api, emulator: Emulator) -> None:
    wrote = control(emulator, "contact-reply", {"from": CARLA, "text": "Oi"})
    assert api.get_session(wrote["sessionId"])["lastMessageText"] == "Oi"


def test_objects_are_seeded_over_http(api: Api, emulator: Emulator) -> None:
    added = control(emulator, "seed", {"contacts": 30, "behaviours": {"*": {"replies": []}}})
    assert added == {"contacts": 30, "behaviours": 1}
    assert api.ask("list_contacts")["totalItems"] == 33


def test_a_reset_begins_anew(api: Api, emulator: Emulator) -> None:
    emulator.switches.strict = True
    emulator.faults.add("reset", operation_id="list_tags")
    api.send_text()
    control(emulator, "reset")
    assert (emulator.requests, emulator.sends, emulator.faults.as_list()) == ([], [], [])
    assert not emulator.switches.strict
    assert api.ask("list_tags")


def test_what_was_received_is_asked_over_http(api: Api, emulator: Emulator) -> None:
    api.start_bot()
    assert [one["kind"] for one in control(emulator, "received", {"to": "5511999990001"})] == ["chatbot"]


@pytest.mark.parametrize(
    ("method", "name", "body", "status"),
    [
        ("POST", "switches", {"nothing": 1}, 400),
        ("POST", "faults", {"kind": "explode"}, 400),
        ("POST", "faults", {"kind": "reset", "operation_id": "send_txt"}, 400),
        ("POST", "contact-reply", {"from": "+5511999990001"}, 400),
        ("POST", "seed", {"dogs": 1}, 400),
        ("POST", "clock", {"advance": -1}, 400),
        ("GET", "nothing", None, 404),
    ],
)
def test_a_wrong_control_call_says_what_is_wrong(
    emulator: Emulator, method: str, name: str, body: object, status: int
) -> None:
    answer = requests.request(method, f"{emulator.url}/_emulator/{name}", json=body, timeout=5)
    assert answer.status_code == status
    assert len(answer.json()["problem"]) > len("'text'")


def test_parallel_clients_lose_nothing(api: Api, emulator: Emulator) -> None:
    def send(number: int) -> None:
        for index in range(20):
            requests.post(
                emulator.url + "/chat/v1/send/text",
                json={"from": "+55|1140028922", "to": f"+55|1190000000{number}", "text": str(index)},
                headers={"Authorization": "Bearer pn_emulator"},
                timeout=10,
            )

    threads = [threading.Thread(target=send, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    emulator.advance(1)
    assert [len(emulator.received(f"+55|1190000000{number}")) for number in range(5)] == [20] * 5
    assert len(emulator.state.contacts) == 8
