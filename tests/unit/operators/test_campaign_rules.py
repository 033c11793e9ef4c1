"""Rules about who gets the message of a campaign: what each refuses, in the results, after a clear and in a dry run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_wts.operators.chatbot import WtsSendChatbotBatchOperator
from airflow_provider_wts.operators.message import WtsSendTextBatchOperator
from airflow_provider_wts.sending.holdout import Holdout

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_wts.emulator.running import Emulator


@pytest.fixture(autouse=True)
def quiet(emulator: Emulator) -> None:
    emulator.behave("*", replies=[])
    emulator.switches.whatsapp_window = "off"


@pytest.fixture
def context(context: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The context of a try, with a ledger that all versions of Airflow can have."""
    monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", f"file://{tmp_path}/ledger")
    return context


def phone(index: int) -> str:
    return f"+55|119{10_000_000 + index:08d}"


def phones(count: int) -> list[str]:
    return [phone(index) for index in range(count)]


def chatbot(**parameters: Any) -> WtsSendChatbotBatchOperator:
    return WtsSendChatbotBatchOperator(**{"task_id": "send", "chatbot": "Cobrança", **parameters})


def text(**parameters: Any) -> WtsSendTextBatchOperator:
    return WtsSendTextBatchOperator(**{"task_id": "send", "row_text": "Olá!", **parameters})


def cleared(context: dict[str, Any]) -> dict[str, Any]:
    """The context after a person cleared the task."""
    context["ti"].max_tries += 1
    context["ti"].try_number += 1
    return context


def statuses(path: Path) -> dict[str, str]:
    """Return the status of each recipient in the results."""
    return {line["to"]: line["status"] for line in map(json.loads, path.read_text().splitlines())}


def addressed(emulator: Emulator) -> list[str]:
    """Return everybody to whom a message of a campaign was sent, as often as that was."""
    requests = emulator.requests_of("queue_chatbot_batch")
    in_batches = [message["to"] for request in requests for message in request.body["messages"]]
    return in_batches + [request.body["to"] for request in emulator.requests_of("send_text")]


# Holdout --------------------------------------------------------------------------------------------------------------


def test_nobody_in_the_holdout_gets_a_message_in_any_run(
    wts_connection: Emulator, context: dict[str, Any], tmp_path: Path
) -> None:
    results = tmp_path / "results.jsonl"
    campaign = {"recipients": phones(500), "holdout": 0.1, "results_path": str(results)}
    counts = chatbot(**campaign).execute(context)
    held_out = {one for one, status in statuses(results).items() if status == "holdout"}
    assert 20 < len(held_out) == counts["holdout"] < 80
    assert counts["sent"] == 500 - len(held_out)
    assert counts["rules"] == {"holdout": len(held_out)}
    chatbot(**campaign).execute(cleared(context))
    assert {one for one, status in statuses(results).items() if status == "holdout"} == held_out
    context["ti"].run_id, context["ti"].try_number, context["ti"].max_tries = "scheduled__2026-12-01", 1, 0
    chatbot(**campaign).execute(context)
    assert held_out.isdisjoint(addressed(wts_connection))
    assert len(addressed(wts_connection)) == 3 * (500 - len(held_out))


@pytest.mark.parametrize(
    ("parameters", "key"),
    [({}, "campaign.send"), ({"holdout_key": "winter"}, "winter"), ({"holdout_key": " winter "}, "winter")],
    ids=str,
)
def test_the_holdout_belongs_to_its_key_or_else_to_the_task(
    wts_connection: Emulator, context: dict[str, Any], tmp_path: Path, parameters: dict[str, Any], key: str
) -> None:
    results = tmp_path / "results.jsonl"
    chatbot(recipients=phones(200), holdout="20%", results_path=str(results), **parameters).execute(context)
    expected = {one for one in phones(200) if Holdout(0.2, key).refusal(one)}
    assert {one for one, status in statuses(results).items() if status == "holdout"} == expected


def test_a_dry_run_shows_the_holdout(wts_connection: Emulator, context: dict[str, Any]) -> None:
    shown = chatbot(recipients=phones(200), holdout=0.2, dry_run=True).execute(context)
    assert shown["holdout"] == shown["rules"]["holdout"] > 0
    assert shown["to_send"] == 200 - shown["holdout"]
    assert addressed(wts_connection) == []


def test_the_holdout_is_drawn_from_those_who_are_not_excluded(
    wts_connection: Emulator, context: dict[str, Any]
) -> None:
    contacts = [{"name": f"C{index}", "phone": phone(index), "tags": ["VIP"]} for index in range(50)]
    wts_connection.seed(contacts=contacts)
    shown = chatbot(recipients=phones(100), holdout=0.5, exclude_tags=["VIP"], dry_run=True).execute(context)
    assert shown["rules"]["exclude_tags"] == 50
    assert 0 < shown["holdout"] < 50


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"holdout": 10}, "holdout: 10 is not a share"),
        ({"holdout_key": "winter"}, "holdout_key: was given without holdout"),
    ],
    ids=str,
)
def test_a_holdout_that_cannot_be_meant_is_refused(
    wts_connection: Emulator, context: dict[str, Any], parameters: dict[str, Any], words: str
) -> None:
    with pytest.raises(AirflowFailException, match=words):
        text(recipients=phones(3), **parameters).execute(context)
    assert addressed(wts_connection) == []
