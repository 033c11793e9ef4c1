"""The doctor says of each part of a set-up whether it works, and what to do; nobody is written to."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow_version import AIRFLOW_VERSION

from airflow_provider_wts.cli.doctor import Check, checks, run
from airflow_provider_wts.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("airflow_home")


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def connect(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Any:
    def set_connection(**fields: Any) -> None:
        connection = {"conn_type": "wts", "host": emulator.url, "password": emulator.token, **fields}
        monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))

    set_connection()
    return set_connection


def found(conn_id: str = "wts_default") -> dict[str, Check]:
    return {check.name: check for check in checks(conn_id)}


def test_a_good_set_up_has_no_problem(
    connect: Any, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", f"file://{tmp_path}/ledger")
    names = ["versions", "connection", "channels", "clock", "rate limits", "templates", "ledger", "triggerer"]
    assert list(found()) == names
    assert run("wts_default") == 0
    assert not list((tmp_path / "ledger").iterdir())
    assert not emulator.state.sessions.by_creation()


@pytest.mark.skipif(AIRFLOW_VERSION >= (3, 3), reason="Airflow 3.3 keeps a ledger of its own")
def test_an_airflow_without_a_store_is_told_to_set_a_ledger_path(connect: Any) -> None:
    ledger = found()["ledger"]
    assert ledger.status == "warning"
    assert "[wts] ledger_path" in ledger.advice


def test_the_screen_has_no_token(connect: Any, emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    run("wts_default")
    run("wts_default", as_json=True)
    connect(password="pn_wrong_but_a_secret_all_the_same")
    run("wts_default")
    screen = capsys.readouterr()
    for secret in (emulator.token, "pn_wrong_but_a_secret_all_the_same"):
        assert secret not in screen.out + screen.err


@pytest.mark.parametrize(
    ("fields", "name", "words"),
    [
        ({"password": "pn_wrong"}, "connection", "token"),
        ({"host": "http://127.0.0.1:9"}, "connection", "127.0.0.1"),
        ({"extra": {"channel": "Canal que falta"}}, "connection", "channel"),
        ({"extra": {"chanel": "x"}}, "connection", "channel"),
        ({"extra": {"rate_limit_conn_id": "nowhere"}}, "connection", "rate_limit_conn_id"),
    ],
)
def test_what_would_break_a_send_is_a_problem(
    connect: Any, fields: dict[str, Any], name: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    connect(**fields)
    check = found()[name]
    assert check.status == "problem"
    assert words in check.found
    assert run("wts_default") == 1
    assert "FAIL" in capsys.readouterr().out


def test_a_connection_that_is_not_there_is_a_problem() -> None:
    assert "'nowhere'" in found("nowhere")["connection"].found


def test_a_clock_that_is_off_is_a_problem(connect: Any, emulator: Emulator) -> None:
    emulator.advance(timedelta(hours=1).total_seconds())
    assert found()["clock"].status == "problem"


def test_a_ledger_that_cannot_be_written_is_a_problem(
    connect: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", f"file://{tmp_path}/file/below")
    assert found()["ledger"].status == "problem"


def test_templates_that_cannot_be_sent_are_named(connect: Any) -> None:
    assert "em_revisao" in found()["templates"].found


def test_a_triggerer_that_is_not_there_is_a_warning(connect: Any) -> None:
    assert found()["triggerer"] == Check(
        "triggerer",
        "warning",
        "No triggerer is alive.",
        "Start one, or set deferrable=False. Deferred tasks wait until then.",
    )


@pytest.mark.parametrize(
    "command",
    [
        ["airflow_provider_wts", "doctor", "nowhere", "--json"],
        pytest.param(
            ["airflow", "wts", "doctor", "nowhere", "--json"],
            marks=pytest.mark.skipif(AIRFLOW_VERSION < (3, 2), reason="providers have commands from 3.2 on"),
        ),
    ],
    ids=["python", "airflow"],
)
def test_it_is_a_command(command: list[str]) -> None:
    process = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    assert process.returncode == 1, process.stderr
    shown = json.loads(process.stdout[process.stdout.index("[\n") :])
    assert {"connection", "ledger"} <= {check["name"] for check in shown if isinstance(check, dict)}
