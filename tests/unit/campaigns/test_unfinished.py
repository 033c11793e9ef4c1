"""A campaign that was killed has outcomes: of everybody who may have got its message, and of nobody else."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from campaign_tries import Killed
from task_process import Processes, wait_until
from tries import numbers

from airflow_provider_wts.api.errors import WtsError
from airflow_provider_wts.campaigns.results import ResultsFile
from airflow_provider_wts.campaigns.run import Campaign
from airflow_provider_wts.operators.campaign import WtsCampaignOutcomeOperator
from airflow_provider_wts.operators.chatbot import WtsSendChatbotBatchOperator
from airflow_provider_wts.sending import ledger

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_wts.emulator.running import Emulator

BOT, RECIPIENTS, CHUNK = "Falar com atendente", 400, 20
CHATBOTS = "airflow_provider_wts.operators.chatbot.WtsSendChatbotBatchOperator"


def received(emulator: Emulator) -> list[str]:
    emulator.advance(5)
    return sorted(delivery.to.replace("|", "") for delivery in emulator.deliveries if delivery.kind == "chatbot")


def rows_of(manifest: str, folder: Path, context: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what a task after the campaign writes about it, by recipient."""
    path = f"{folder}/outcomes.jsonl"
    outcome = WtsCampaignOutcomeOperator(
        task_id="outcome", campaign=manifest, outcomes_path=path, rate_limit_percent=100
    )
    outcome.execute(context)  # type: ignore[arg-type]
    with open(path, encoding="utf-8") as file:
        return {row["recipient"].replace("|", ""): row for row in map(json.loads, file) if row["recipient"]}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("seed", range(2))
def test_a_process_that_is_killed_for_real_has_outcomes_of_everybody_it_sent_to(
    service: Emulator, context: dict[str, Any], tmp_path: Path, seed: int, when: Any
) -> None:
    results = tmp_path / "results.jsonl"
    given = {"chatbot": BOT, "recipients": numbers(RECIPIENTS), "chunk_size": CHUNK, "results_path": str(results)}
    tries = Processes(service, tmp_path, CHATBOTS, **given)
    # Two requests are under way at a time.
    nth = random.Random(seed).randrange(1, 19, 2)
    hanging = [service.faults.add("hang", when=when, operation_id="queue_chatbot_batch", nth=nth) for _ in range(2)]
    killed = tries.start()
    wait_until(lambda: sum(fault.hits for fault in hanging) == 2)
    killed.kill()

    manifest = json.loads((tmp_path / "results.jsonl.manifest.json").read_text())
    assert (manifest["complete"], manifest["task_id"]) == (False, "send")
    got = received(service)
    rows = rows_of(f"{results}.manifest.json", tmp_path, context)
    assert sorted(to for to, row in rows.items() if row["session_id"]) == got
    undecided = [row for row in rows.values() if row["send_status"] == "undecided"]
    assert len(rows) == (nth + 1) * CHUNK
    assert len(undecided) == 2 * CHUNK
    assert {row["reason"] for row in undecided} == {"the task was killed during the request"}

    counts = tries.start().end()["result"]
    assert counts["sent"] == RECIPIENTS
    assert received(service) == sorted(numbers(RECIPIENTS))
    manifest = json.loads((tmp_path / "results.jsonl.manifest.json").read_text())
    assert (manifest["complete"], manifest["sent"]) == (True, RECIPIENTS)
    assert len(rows_of(f"{results}.manifest.json", tmp_path, context)) == RECIPIENTS
    assert sorted(file.name for file in tmp_path.glob("results*")) == ["results.jsonl", "results.jsonl.manifest.json"]


def test_rows_that_are_refused_after_a_kill_leave_the_outcomes_of_those_before(
    service: Emulator, context: dict[str, Any], tmp_path: Path
) -> None:
    results, source = tmp_path / "results.jsonl", tmp_path / "recipients.csv"
    source.write_text("\n".join(["to", *numbers(RECIPIENTS)]))
    given = {"chatbot": BOT, "recipients_path": str(source), "chunk_size": CHUNK, "results_path": str(results)}
    tries = Processes(service, tmp_path, CHATBOTS, **given)
    hanging = [service.faults.add("hang", when="after", operation_id="queue_chatbot_batch", nth=5) for _ in range(2)]
    killed = tries.start()
    wait_until(lambda: sum(fault.hits for fault in hanging) == 2)
    killed.kill()
    got = received(service)
    assert len(got) == 6 * CHUNK

    source.write_text("\n".join(["to", *numbers(RECIPIENTS), "12"]))
    refused = tries.start().end()
    assert refused["raised"] == "AirflowFailException"
    assert len(service.requests_of("queue_chatbot_batch")) == 6
    statuses = {line["to"]: line["status"] for line in map(json.loads, results.read_text().splitlines())}
    assert sorted(to.replace("|", "") for to, one in statuses.items() if one in ("sent", "undecided")) == got
    counts = Counter(statuses.values())
    assert counts == {"sent": 4 * CHUNK, "undecided": 2 * CHUNK, "not_sent": RECIPIENTS - 6 * CHUNK, "bad_row": 1}
    manifest = json.loads((tmp_path / "results.jsonl.manifest.json").read_text())
    for about in (manifest, refused["xcoms"]["return_value"]):
        assert {name: about[name] for name in ("sent", "undecided", "not_sent", "bad_rows", "stopped")} == {
            "sent": 4 * CHUNK,
            "undecided": 2 * CHUNK,
            "not_sent": RECIPIENTS - 6 * CHUNK,
            "bad_rows": 1,
            "stopped": "1 of 401 rows are bad",
        }
    rows = rows_of(f"{results}.manifest.json", tmp_path, context)
    assert sorted(to for to, row in rows.items() if row["session_id"]) == got

    source.write_text("\n".join(["to", *numbers(RECIPIENTS)]))
    tries.clear()
    assert tries.start().end()["result"]["sent"] == RECIPIENTS
    assert received(service) == sorted(numbers(RECIPIENTS))
    assert sorted(file.name for file in tmp_path.glob("results*")) == ["results.jsonl", "results.jsonl.manifest.json"]


class Tries:
    """Tries of a campaign in this process; a kill leaves what is written, and closes nothing."""

    def __init__(self, service: Emulator, folder: Path, context: dict[str, Any], patch: pytest.MonkeyPatch) -> None:
        self.service, self.folder, self.context, self.patch = service, folder, context, patch
        self.address = f"{folder}/results.jsonl"
        self.context["ti"].try_number = 0

    def run(self, *, chunks: int | None = None, end: BaseException | None = None) -> Any:
        """Run the next try; it ends before so many chunks were sent."""
        self.context["ti"].try_number += 1
        permit, left = Campaign.permit, [chunks]

        def dying(campaign: Campaign) -> None:
            if left[0] is not None:
                if not left[0]:
                    raise end or Killed
                left[0] -= 1
            permit(campaign)

        given: dict[str, Any] = {"chatbot": BOT, "recipients": numbers(120), "chunk_size": 5}
        task = WtsSendChatbotBatchOperator(task_id="send", results_path=self.address, **given)
        with self.patch.context() as patch:
            patch.setattr(Campaign, "permit", dying)
            if chunks is None:
                return task.execute(self.context)  # type: ignore[arg-type]
            if end is None:
                patch.setattr(ResultsFile, "__exit__", lambda *_: None)
            with pytest.raises(type(end or Killed())):
                task.execute(self.context)  # type: ignore[arg-type]
        return None

    def rows(self) -> dict[str, dict[str, Any]]:
        return rows_of(f"{self.address}.manifest.json", self.folder, self.context)

    def clear(self) -> None:
        self.context["ti"].max_tries = self.context["ti"].try_number


@pytest.fixture
def tries(service: Emulator, tmp_path: Path, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Tries:
    monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", f"file://{tmp_path}/ledger")
    return Tries(service, tmp_path, context, monkeypatch)


def found(rows: dict[str, dict[str, Any]]) -> list[str]:
    return sorted(to for to, row in rows.items() if row["session_id"])


def test_a_try_that_is_killed_at_once_loses_no_outcome_of_those_before(tries: Tries) -> None:
    for chunks in (4, 0, 1, 0):
        tries.run(chunks=chunks)
        assert found(tries.rows()) == received(tries.service)
    assert len(received(tries.service)) == 50
    assert tries.run()["sent"] == 120
    assert len(list(tries.folder.glob("results*"))) == 2


def test_in_an_object_store_a_kill_loses_no_outcome(tries: Tries, object_store: Any) -> None:
    tries.address = f"memory://{tries.folder.name}/results.jsonl"
    for chunks in (3, 0):
        tries.run(chunks=chunks)
        assert found(tries.rows()) == received(tries.service)
    assert len(received(tries.service)) == 30
    assert tries.run()["sent"] == 120
    left = (name.rpartition("/")[2] for name in object_store.ls(f"/{tries.folder.name}", detail=False))
    assert sorted(left) == ["results.jsonl", "results.jsonl.manifest.json"]


def test_a_clear_after_success_leaves_the_complete_files_until_it_has_others(tries: Tries) -> None:
    tries.run()
    files = {name: (tries.folder / name).read_bytes() for name in ("results.jsonl", "results.jsonl.manifest.json")}
    first = tries.rows()
    tries.clear()
    tries.run(chunks=3)
    assert {name: (tries.folder / name).read_bytes() for name in files} == files
    # The outcomes are those of the campaign that was killed.
    rows = tries.rows()
    assert len(rows) == 30
    assert {row["campaign_id"] for row in rows.values()}.isdisjoint(row["campaign_id"] for row in first.values())
    tries.run()
    assert json.loads((tries.folder / "results.jsonl.manifest.json").read_text())["generation"] == 1
    assert len(list(tries.folder.glob("results*"))) == 2


def test_a_campaign_that_waits_in_the_triggerer_has_outcomes(tries: Tries) -> None:
    tries.run(chunks=2, end=TaskDeferred(trigger=None, method_name="execute_in_window"))  # type: ignore[arg-type]
    assert found(tries.rows()) == received(tries.service) == numbers(20)
    assert tries.run()["sent"] == 120
    assert len(list(tries.folder.glob("results*"))) == 2


def test_what_follows_a_killed_campaign_finds_it_in_xcom(tries: Tries) -> None:
    tries.run(chunks=2)
    output = tries.context["ti"].xcoms["return_value"]
    assert output == {
        "results_path": tries.address,
        "manifest_path": f"{tries.address}.manifest.json",
        "complete": False,
    }
    assert len(rows_of(output, tries.folder, tries.context)) == 20


@pytest.mark.parametrize("step", ["begin", "complete"])
def test_a_try_that_was_given_up_replaces_no_results_of_its_successor(
    service: Emulator, task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(ledger, "LEASE", 0.2)
    results, xcoms = tmp_path / "results.jsonl", []
    publishing = {"begin": Campaign._begin, "complete": Campaign._publish}[step]

    def execute() -> dict[str, Any]:
        context = task.next_try()
        context["ti"].xcom_push = lambda **xcom: xcoms.append(xcom["value"])
        operator = WtsSendChatbotBatchOperator(
            task_id="send", chatbot=BOT, recipients=numbers(3), results_path=str(results)
        )
        return operator.execute(context)  # type: ignore[arg-type]

    def frozen(self: Campaign, *arguments: Any) -> None:
        monkeypatch.setattr(Campaign, publishing.__name__, publishing)
        service.faults.clear()
        assert execute()["sent"] == 3
        publishing(self, *arguments)

    # Without its successor, it would not know what came of its request.
    service.faults.add("reset", when="after", operation_id="queue_chatbot_batch")
    for search in ("list_sessions", "get_contact_by_phone", "filter_contacts", "get_session"):
        service.faults.add("status", status=403, operation_id=search, times=None)
    monkeypatch.setattr(Campaign, publishing.__name__, frozen)
    with pytest.raises(WtsError, match="Another try of this task has taken over"):
        execute()
    assert received(service) == sorted(numbers(3))
    assert {line["status"] for line in map(json.loads, results.read_text().splitlines())} == {"sent"}
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["results.jsonl", "results.jsonl.manifest.json"]
    assert xcoms[-1]["sent"] == 3
