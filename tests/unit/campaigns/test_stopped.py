"""A task that Airflow ends with SIGTERM, and a campaign that a person stops: what they send, and what they leave."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow_version import AIRFLOW_VERSION
from task_process import Processes, wait_until
from tries import numbers

from airflow_provider_wts.campaigns import run as run_module
from airflow_provider_wts.campaigns import stop as stop_module
from airflow_provider_wts.operators.message import WtsSendTextBatchOperator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_wts.emulator.running import Emulator

RECIPIENTS = 120
#: Seconds that a busy machine may take: fewer than when a person stops a campaign, and than any answer here would take.
AT_ONCE = 15
RAISED = "SystemExit" if AIRFLOW_VERSION >= (3,) else "AirflowTaskTerminated"

#: Operators and what they take, by their calls.
CAMPAIGNS = {
    "queue_chatbot_batch": (
        "airflow_provider_wts.operators.chatbot.WtsSendChatbotBatchOperator",
        {"chatbot": "Falar com atendente", "chunk_size": 5},
    ),
    "send_text": (
        "airflow_provider_wts.operators.message.WtsSendTextBatchOperator",
        {"row_text": "Olá!", "chunk_size": 10, "parallelism": 4},
    ),
}


def received(emulator: Emulator) -> dict[str, int]:
    emulator.advance(5)
    sends = (one for one in emulator.deliveries if one.kind == "chatbot" or not one.by_bot)
    return dict(Counter(one.to.replace("|", "") for one in sends))


def left_by(folder: Path) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Return the recipients by their result, and the manifest."""
    by_status: dict[str, list[str]] = {}
    for line in map(json.loads, (folder / "results.jsonl").read_text().splitlines()):
        by_status.setdefault(line["status"], []).append(line["to"].replace("|", ""))
    return by_status, json.loads((folder / "results.jsonl.manifest.json").read_text())


def campaign(service: Emulator, folder: Path, operation: str, **parameters: Any) -> Processes:
    operator, given = CAMPAIGNS[operation]
    results = str(folder / "results.jsonl")
    return Processes(
        service, folder, operator, **{"recipients": numbers(RECIPIENTS), "results_path": results, **given}, **parameters
    )


def assert_a_clear_sends_to_the_rest(service: Emulator, tries: Processes, folder: Path) -> None:
    service.faults.clear()
    tries.clear()
    assert tries.start(send_window=None, max_per_minute=None).end()["result"]["sent"] == RECIPIENTS
    assert received(service) == dict.fromkeys(numbers(RECIPIENTS), 1)
    by_status, manifest = left_by(folder)
    assert (manifest["complete"], manifest["stopped"], len(by_status["sent"])) == (True, None, RECIPIENTS)


@pytest.mark.parametrize(("operation", "seed"), [("queue_chatbot_batch", 1), ("send_text", 2)])
def test_a_campaign_that_airflow_ends_completes_its_results_and_a_clear_goes_on(
    service: Emulator, tmp_path: Path, operation: str, seed: int
) -> None:
    tries = campaign(service, tmp_path, operation, progress_interval=0)
    requests = RECIPIENTS // (1 if operation == "send_text" else 5)
    nth = random.Random(seed).randrange(1, requests - 4)
    # All answers take a little, so that some are under way.
    service.faults.add("latency", seconds=0.2, operation_id=operation, times=None)
    running = tries.start()
    wait_until(lambda: len(service.requests_of(operation)) >= nth)
    told, seconds = running.terminate()
    # Airflow 3 kills the task after 5.
    assert run_module._PATIENCE_OF_AIRFLOW <= 2
    assert told["raised"] == RAISED
    assert seconds < AT_ONCE
    by_status, manifest = left_by(tmp_path)
    got = received(service)
    assert sorted(by_status["sent"]) == sorted(got)
    assert sorted([*by_status["sent"], *by_status["not_sent"]]) == numbers(RECIPIENTS)
    assert (manifest["complete"], manifest["sent"]) == (True, len(got))
    assert manifest["stopped"].startswith("Airflow ended the task")
    assert told["xcoms"]["return_value"]["not_sent"] == RECIPIENTS - len(got)
    assert_a_clear_sends_to_the_rest(service, tries, tmp_path)


@pytest.mark.parametrize(("operation", "when"), [("queue_chatbot_batch", "before"), ("send_text", "after")])
def test_requests_whose_answers_take_too_long_are_undecided_until_the_clear(
    service: Emulator, tmp_path: Path, operation: str, when: Any
) -> None:
    tries = campaign(service, tmp_path, operation)
    under_way = {"queue_chatbot_batch": 10, "send_text": 4}[operation]
    hanging = service.faults.add("hang", when=when, operation_id=operation, times=None)
    running = tries.start()
    wait_until(lambda: hanging.hits >= (4 if operation == "send_text" else 2))
    told, seconds = running.terminate()
    assert (told["raised"], seconds < AT_ONCE) == (RAISED, True)
    by_status, manifest = left_by(tmp_path)
    assert len(by_status["undecided"]) == manifest["undecided"] == under_way
    assert len(by_status["not_sent"]) == RECIPIENTS - under_way
    service.faults.clear()
    assert_a_clear_sends_to_the_rest(service, tries, tmp_path)


def closed_window() -> str:
    opens = datetime.now(UTC) + timedelta(hours=2)
    return f"{opens:%H:%M}-{opens + timedelta(hours=1):%H:%M} UTC"


@pytest.mark.parametrize("wait", ["window", "pace", "rate limit"])
def test_a_campaign_that_waits_is_ended_at_once(service: Emulator, tmp_path: Path, wait: str) -> None:
    given = {"window": {"send_window": closed_window()}, "pace": {"max_per_minute": 12}, "rate limit": {}}[wait]
    if wait == "rate limit":
        service.faults.add("status", status=429, retry_after="200", operation_id="queue_chatbot_batch", times=None)
    tries = campaign(service, tmp_path, "queue_chatbot_batch", **given)
    running = tries.start()
    manifest = tmp_path / "results.jsonl.manifest.json"
    begun = {"window": 0, "pace": 2, "rate limit": 2}[wait]
    wait_until(lambda: manifest.exists() and len(service.requests_of("queue_chatbot_batch")) >= begun)
    told, seconds = running.terminate()
    assert (told["raised"], seconds < AT_ONCE) == (RAISED, True)
    by_status, found = left_by(tmp_path)
    got = received(service)
    assert sorted(by_status.get("sent", [])) == sorted(got)
    assert len(by_status["not_sent"]) == RECIPIENTS - len(got)
    assert found["complete"]
    service.faults.clear()
    assert_a_clear_sends_to_the_rest(service, tries, tmp_path)


# One message ----------------------------------------------------------------------------------------------------------


def test_a_single_send_that_airflow_ends_goes_out_once(service: Emulator, tmp_path: Path) -> None:
    operator = "airflow_provider_wts.operators.chatbot.WtsSendChatbotOperator"
    tries = Processes(service, tmp_path, operator, chatbot="Falar com atendente", to=numbers(1)[0])
    hanging = service.faults.add("hang", when="after", operation_id="send_chatbot")
    running = tries.start()
    wait_until(lambda: hanging.hits == 1)
    told, seconds = running.terminate()
    assert (told["raised"], seconds < AT_ONCE) == (RAISED, True)
    tries.clear()
    assert "result" in tries.start().end()
    assert list(received(service).values()) == [1]


def test_an_export_that_airflow_ends_goes_on(service: Emulator, tmp_path: Path) -> None:
    for to in numbers(5):
        service.contact_writes(to, "Oi")
    now = datetime.now(UTC) + timedelta(seconds=1)
    operator = "airflow_provider_wts.operators.session.WtsExportConversationsOperator"
    bounds = {"updated_after": (now - timedelta(hours=1)).isoformat(), "updated_before": now.isoformat()}
    tries = Processes(service, tmp_path, operator, output_path=f"file://{tmp_path}/export", **bounds)
    hanging = service.faults.add("hang", operation_id="list_messages")
    running = tries.start()
    wait_until(lambda: hanging.hits == 1)
    told, seconds = running.terminate()
    assert (told["raised"], seconds < AT_ONCE) == (RAISED, True)
    counts = tries.start().end()["result"]
    assert counts["sessions"] == 5


# The Variable ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", ["window", "pace", "rate limit", "answer", "list of contacts"])
@pytest.mark.parametrize("kept", [True, False], ids=["ledger", "no-ledger"])
def test_the_variable_stops_a_campaign_that_waits(
    service: Emulator,
    context: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wait: str,
    kept: bool,
) -> None:
    if kept:
        monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", f"file://{tmp_path}/ledger")
    assert stop_module._READ_INTERVAL <= 15
    # Seconds take a twentieth of their time here.
    monkeypatch.setattr(stop_module, "_READ_INTERVAL", stop_module._READ_INTERVAL / 20)
    monkeypatch.setattr(run_module, "_PATIENCE", run_module._PATIENCE / 20)
    monkeypatch.setenv("AIRFLOW_VAR_STOP", "false")
    given: dict[str, Any] = {}
    if wait == "window":
        given["send_window"] = closed_window()
    elif wait == "pace":
        given["max_per_minute"] = 12
    elif wait == "rate limit":
        service.faults.add("status", status=429, retry_after="200", operation_id="send_text", times=None)
    elif wait == "list of contacts":
        given["exclude_tags"] = ["VIP"]
        service.faults.add("latency", seconds=0.9, operation_id="filter_contacts", times=None)
    else:
        service.faults.add("hang", when="after", operation_id="send_text", times=None)
    task = WtsSendTextBatchOperator(
        task_id="send",
        row_text="Olá!",
        recipients=numbers(RECIPIENTS),
        results_path=str(tmp_path / "results.jsonl"),
        stop_variable="stop",
        parallelism=4,
        **given,
    )
    timer = threading.Timer(1.0, monkeypatch.setenv, ("AIRFLOW_VAR_STOP", "true"))
    timer.start()
    begun = datetime.now(UTC)
    try:
        task.execute(context)  # type: ignore[arg-type]
    except Exception as error:
        # Nothing was sent, or it is unknown whether something was.
        assert "stop" in str(error) or "No confirmation" in str(error)  # noqa: PT017
    assert datetime.now(UTC) - begun < timedelta(seconds=4)
    by_status, manifest = left_by(tmp_path)
    assert manifest["stopped"] == "the Airflow Variable 'stop' is set (stop_variable)"
    reached = [*by_status.get("sent", []), *by_status.get("undecided", [])]
    assert set(received(service)) == set(reached)
    assert len(by_status["not_sent"]) == RECIPIENTS - len(reached)


@pytest.mark.parametrize("place", ["search", "time until the search"])
def test_the_variable_stops_a_try_that_asks_what_became_of_earlier_sends(
    service: Emulator, context: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", f"file://{tmp_path}/ledger")
    monkeypatch.setattr(stop_module, "_READ_INTERVAL", 0.1)
    monkeypatch.setattr(run_module, "_PATIENCE", 0.5)
    results = str(tmp_path / "results.jsonl")
    given: dict[str, Any] = {
        "row_text": "Olá!",
        "recipients": numbers(RECIPIENTS),
        "results_path": results,
        "chunk_size": 100,
    }

    def stopped_after(happened: Callable[[], bool]) -> None:
        monkeypatch.setenv("AIRFLOW_VAR_STOP", "false")
        task = WtsSendTextBatchOperator(task_id="send", stop_variable="stop", parallelism=16, **given)
        person = threading.Thread(target=lambda: (wait_until(happened), monkeypatch.setenv("AIRFLOW_VAR_STOP", "on")))
        person.start()
        with pytest.raises(AirflowFailException, match="No confirmation that 16 recipients"):
            task.execute(context)  # type: ignore[arg-type]
        person.join()
        by_status, manifest = left_by(tmp_path)
        assert manifest["stopped"] == "the Airflow Variable 'stop' is set (stop_variable)"
        assert {status: len(rows) for status, rows in by_status.items()} == {"undecided": 16, "not_sent": 104}
        reasons = {json.loads(line)["reason"] for line in (tmp_path / "results.jsonl").read_text().splitlines()}
        assert all(reason.endswith(manifest["stopped"]) for reason in reasons)

    hanging = service.faults.add("hang", operation_id="send_text", times=None)
    stopped_after(lambda: hanging.hits == 16)
    context["ti"].try_number, context["ti"].max_tries = 2, 1
    begun = datetime.now(UTC)
    if place == "search":
        # After it, the queue of WTS Chat would be waited for.
        slow = service.faults.add("latency", seconds=0.3, operation_id="list_sessions", times=None)
        stopped_after(lambda: slow.hits > 0)
    else:
        monkeypatch.setattr("airflow_provider_wts.sending.reconcile.effect_lag", lambda timeout: 60.0)
        opened = tmp_path / "results.jsonl.unfinished.manifest.json"
        stopped_after(opened.exists)
        monkeypatch.setattr("airflow_provider_wts.sending.reconcile.effect_lag", lambda timeout: 0.2)
    assert datetime.now(UTC) - begun < timedelta(seconds=20)

    service.faults.clear()
    monkeypatch.setattr("airflow_provider_wts.sending.reconcile.QUEUE_WAIT", 0.3)
    monkeypatch.setenv("AIRFLOW_VAR_STOP", "false")
    context["ti"].try_number, context["ti"].max_tries = 3, 2
    assert WtsSendTextBatchOperator(task_id="send", **given).execute(context)["sent"] == RECIPIENTS
    assert received(service) == dict.fromkeys(numbers(RECIPIENTS), 1)
