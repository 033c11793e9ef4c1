"""A campaign that goes on after a kill reads little of its ledger, and messages nobody twice whoever is in its list."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred
from campaign_tries import Killed
from tries import numbers

from airflow_provider_wts.api.errors import WtsError
from airflow_provider_wts.campaigns.run import Campaign
from airflow_provider_wts.operators.message import WtsSendTextBatchOperator
from airflow_provider_wts.sending import clock
from airflow_provider_wts.sending.ledger import HEADER, FileStore, TaskStateStore

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_wts.emulator.running import Emulator

COUNT = 90


class Tries:
    """Tries of a campaign of texts, with pages of two recipients."""

    def __init__(self, emulator: Emulator, context: dict[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.emulator, self.context, self.folder = emulator, context, folder
        self.results = folder / "results.jsonl"
        self.chunks_left: int | None = None
        self.interruption: BaseException = Killed()
        #: Pages that the last try read.
        self.pages: list[int] = []
        permit = Campaign.permit
        context["ti"].try_number = 0

        def dying(campaign: Campaign) -> None:
            if self.chunks_left is not None:
                if not self.chunks_left:
                    raise self.interruption
                self.chunks_left -= 1
            permit(campaign)

        patch.setattr(Campaign, "permit", dying)
        for kind in (FileStore, TaskStateStore):
            patch.setattr(kind, "get", self._counted(kind.get))

    def _counted(self, get: Any) -> Any:
        def counted(store: Any, name: str) -> Any:
            found = get(store, name)
            if found is not None and name.startswith(f"{HEADER}_0_"):
                self.pages.append(int(name.rpartition("_")[2]))
            return found

        return counted

    def run(self, recipients: list[Any] | None = None, **parameters: Any) -> dict[str, Any]:
        self.pages = []
        self.context["ti"].try_number += 1
        given = {"results_path": str(self.results), **parameters}
        operator = WtsSendTextBatchOperator(
            task_id="send",
            row_text="Olá!",
            recipients=recipients or numbers(COUNT),
            chunk_size=2,
            parallelism=1,
            **{name: value for name, value in given.items() if value is not None},
        )
        counts: dict[str, Any] = operator.execute(self.context)  # type: ignore[arg-type]
        return counts

    def killed(self, chunks: int, recipients: list[Any] | None = None, **parameters: Any) -> None:
        self.chunks_left = chunks
        with pytest.raises(type(self.interruption)):
            self.run(recipients, **parameters)
        self.chunks_left = None

    def clear(self) -> None:
        self.context["ti"].max_tries = self.context["ti"].try_number

    def received(self, recipients: list[str]) -> list[int]:
        self.emulator.advance(2)
        return [len(self.emulator.received(to.replace(" ", ""))) for to in recipients]

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.results.read_text().splitlines()]


@pytest.fixture(params=["files", "task state store"])
def tries(
    request: pytest.FixtureRequest,
    wts_connection: Emulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Tries:
    wts_connection.behave("*", replies=[])
    wts_connection.switches.change({"whatsapp_window": "off", "rate_limits": False})
    if request.param == "files":
        monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", f"file://{tmp_path}/ledger")
    context = request.getfixturevalue("context" if request.param == "files" else "stateful_context")
    return Tries(wts_connection, context, tmp_path, monkeypatch)


# The same recipients --------------------------------------------------------------------------------------------------


def test_a_killed_campaign_goes_on_without_reading_what_it_finished(tries: Tries) -> None:
    tries.killed(34)
    assert tries.run()["sent"] == COUNT
    assert sorted(set(tries.pages)) == [30, 31, 32, 33]
    assert tries.received(numbers(COUNT)) == [1] * COUNT
    assert [line["line"] for line in tries.lines()] == list(range(1, COUNT + 1))
    assert all(line["status"] == "sent" and line["id"] and line["send_key"] for line in tries.lines())


def test_killed_again_and_again_it_always_goes_on_from_its_last_checkpoint(tries: Tries) -> None:
    for _ in range(3):
        tries.killed(12)
        assert len(tries.pages) <= 12
    assert tries.run()["sent"] == COUNT
    assert len(tries.pages) <= 12
    assert tries.received(numbers(COUNT)) == [1] * COUNT
    assert [line["line"] for line in tries.lines()] == list(range(1, COUNT + 1))


@pytest.mark.parametrize("cleared", [False, True], ids=["retried", "cleared"])
@pytest.mark.parametrize("end", ["killed while it waits", "the store is too slow"])
def test_a_try_that_ends_while_it_takes_over_leaves_nobody_unknown(
    tries: Tries, monkeypatch: pytest.MonkeyPatch, end: str, cleared: bool
) -> None:
    tries.killed(34)
    if cleared:
        tries.clear()
    with monkeypatch.context() as patch:

        def waited(seconds: float) -> None:
            if end == "killed while it waits":
                raise Killed
            # From now on, no answer of the store comes within the lease.
            patch.setattr(clock, "elapsed", lambda since: 1.5)

        patch.setattr(clock, "sleep", waited)
        with pytest.raises((Killed, WtsError), match=None if end.startswith("killed") else "30 times in a row"):
            tries.run()
    asked = len(tries.emulator.requests)
    assert tries.run()["sent"] == COUNT
    # Nothing but the rest is sent, and nobody is asked about.
    assert sorted(set(tries.pages)) == [30, 31, 32, 33]
    operations = {one.operation_id for one in tries.emulator.requests[asked:]}
    assert operations.isdisjoint({"list_sessions", "get_contact_by_phone", "filter_contacts"})
    assert tries.received(numbers(COUNT)) == [1] * COUNT


def test_one_results_file_is_left_after_kills(tries: Tries) -> None:
    tries.killed(12)
    tries.killed(12)
    tries.run()
    assert sorted(path.name for path in tries.folder.glob("results*")) == [
        "results.jsonl",
        "results.jsonl.manifest.json",
    ]


def test_without_a_results_file_the_counts_go_on(tries: Tries) -> None:
    tries.killed(34, results_path=None)
    counts = tries.run(results_path=None)
    assert (counts["sent"], counts["recipients"]) == (COUNT, COUNT)
    assert sorted(set(tries.pages)) == [30, 31, 32, 33]


def test_who_failed_before_the_kill_is_named_after_it_and_is_not_tried_again(tries: Tries) -> None:
    tries.emulator.faults.add("status", status=400, operation_id="send_text", nth=4)
    tries.killed(25)
    counts = tries.run()
    assert (counts["sent"], counts["failed"]) == (COUNT - 1, 1)
    assert [(one["line"], one["to"], one["status"]) for one in counts["not_reached"]] == [
        (4, "+55|11910000003", "failed")
    ]
    assert len(tries.pages) < 10
    assert tries.received(numbers(COUNT)) == [1, 1, 1, 0] + [1] * (COUNT - 4)


def test_a_clear_tries_those_again_who_failed_before_the_kill(tries: Tries) -> None:
    tries.emulator.faults.add("status", status=400, operation_id="send_text", nth=4)
    tries.killed(25)
    tries.clear()
    assert tries.run()["sent"] == COUNT
    assert tries.received(numbers(COUNT)) == [1] * COUNT
    assert sorted(line["line"] for line in tries.lines()) == list(range(1, COUNT + 1))


def test_a_clear_of_a_killed_campaign_that_reached_everybody_so_far_reads_little_either(tries: Tries) -> None:
    tries.killed(25)
    tries.clear()
    assert tries.run()["sent"] == COUNT
    assert len(tries.pages) < 10
    assert tries.received(numbers(COUNT)) == [1] * COUNT


def test_bad_rows_are_in_the_results_once_after_a_kill(tries: Tries) -> None:
    rows = [*numbers(40), "12", numbers(1)[0], *numbers(COUNT)[40:]]
    tries.killed(30, rows, on_bad_row="skip")
    counts = tries.run(rows, on_bad_row="skip")
    assert (counts["sent"], counts["bad_rows"], counts["duplicates"]) == (COUNT, 1, 1)
    assert len(tries.pages) < 10
    assert sorted(line["line"] for line in tries.lines()) == list(range(1, COUNT + 3))


def test_a_campaign_that_waited_for_its_window_goes_on_without_reading_what_it_finished(tries: Tries) -> None:
    tries.interruption = TaskDeferred(trigger=None, method_name="execute")
    tries.killed(25)
    assert tries.run()["sent"] == COUNT
    assert len(tries.pages) < 10
    assert sorted(line["line"] for line in tries.lines()) == list(range(1, COUNT + 1))


# Other recipients -----------------------------------------------------------------------------------------------------

CHANGES = {
    "in another order": lambda one: one[::-1],
    "one less at the beginning": lambda one: one[1:],
    "one more at the beginning": lambda one: ["+55 11 920000000", *one],
    "two in each other's place": lambda one: [one[1], one[0], *one[2:]],
    "those that are left first": lambda one: [*one[60:], *one[:60]],
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_recipients_have_all_pages_read_and_nobody_gets_it_twice(tries: Tries, change: str) -> None:
    tries.killed(30)
    changed = CHANGES[change](numbers(COUNT))
    assert tries.run(changed)["sent"] == len(changed)
    assert sorted(set(tries.pages)) == list(range(30))
    assert tries.received(changed) == [1] * len(changed)
    assert sorted(line["line"] for line in tries.lines()) == list(range(1, len(changed) + 1))


@pytest.mark.parametrize("change", CHANGES)
def test_changed_recipients_and_another_kill(tries: Tries, change: str) -> None:
    tries.killed(25)
    changed = CHANGES[change](numbers(COUNT))
    tries.killed(12, changed)
    # And the list as it was first.
    tries.killed(2)
    assert tries.run(changed)["sent"] == len(changed)
    everybody = list({*numbers(COUNT), *changed})
    assert max(tries.received(everybody)) == 1
    assert tries.received(changed) == [1] * len(changed)


def test_who_was_sent_to_and_left_the_list_is_still_known_when_added_at_its_end(tries: Tries) -> None:
    first, others = numbers(COUNT)[:40], numbers(COUNT)[40:]
    tries.killed(15, first)
    tries.killed(22, others)
    assert tries.run([*others, *first])["sent"] == COUNT
    assert tries.received(numbers(COUNT)) == [1] * COUNT


def test_new_recipients_at_the_end_are_sent_to_without_reading_all(tries: Tries) -> None:
    tries.killed(25)
    assert tries.run(numbers(COUNT + 10))["sent"] == COUNT + 10
    assert len(tries.pages) < 10
    assert tries.received(numbers(COUNT + 10)) == [1] * (COUNT + 10)


def test_a_campaign_whose_recipients_changed_saves_checkpoints_again(tries: Tries) -> None:
    tries.killed(25)
    changed = [*numbers(COUNT)[2:], *numbers(COUNT)[:2]]
    tries.killed(18, changed)
    assert tries.run(changed)["sent"] == COUNT
    assert tries.received(changed) == [1] * COUNT


def test_results_that_are_gone_are_made_from_all_pages(tries: Tries) -> None:
    tries.killed(25)
    for partial in tries.folder.glob("*.part"):
        partial.unlink()
    assert tries.run()["sent"] == COUNT
    assert sorted(set(tries.pages)) == list(range(25))
    assert [line["line"] for line in tries.lines()] == list(range(1, COUNT + 1))
    assert tries.received(numbers(COUNT)) == [1] * COUNT


def test_results_that_are_shorter_than_they_were_are_made_from_all_pages(tries: Tries) -> None:
    tries.killed(25)
    (partial,) = tries.folder.glob("*.part")
    partial.write_bytes(partial.read_bytes()[:500])
    assert tries.run()["sent"] == COUNT
    assert [line["line"] for line in tries.lines()] == list(range(1, COUNT + 1))


def test_after_somebody_is_undecided_no_checkpoint_goes_beyond(tries: Tries) -> None:
    # Both the answer and the session are gone: nothing can be concluded.
    tries.emulator.faults.add("reset", when="after", operation_id="send_text", nth=25)
    tries.emulator.faults.add("status", status=403, operation_id="list_sessions", times=None)
    tries.emulator.faults.add("status", status=403, operation_id="filter_contacts", times=None)
    tries.emulator.faults.add("status", status=403, operation_id="get_contact_by_phone", times=None)
    tries.killed(40)
    with pytest.raises(AirflowFailException, match="1 recipients got the message"):
        tries.run()
    assert min(tries.pages) == 10
    assert max(tries.received(numbers(COUNT))) == 1


@pytest.mark.parametrize("tries", ["files"], indirect=True)
def test_a_checkpoint_that_may_be_of_another_run_is_never_gone_on_from(tries: Tries) -> None:
    tries.killed(25)
    # Made again under the same run id, as far as this try can tell.
    tries.context |= {"dag_run": SimpleNamespace()}
    tries.context["ti"].try_number = 0
    tries.killed(0)
    assert sorted(set(tries.pages)) == list(range(25))
    assert tries.run()["sent"] == COUNT
    assert 0 in tries.pages
    assert tries.received(numbers(COUNT)) == [1] * COUNT


def test_results_in_an_object_store_go_on_from_their_parts(tries: Tries, object_store: Any) -> None:
    # A folder of its own: the store in memory is shared by all tests of the process.
    address = f"memory://{tries.folder.name}/results.jsonl"
    for chunks in (12, 24):
        tries.killed(chunks, results_path=address)
    assert tries.run(results_path=address)["sent"] == COUNT
    assert len(tries.pages) < 15
    found = object_store.cat(f"/{tries.folder.name}/results.jsonl").splitlines()
    assert [json.loads(line)["line"] for line in found] == list(range(1, COUNT + 1))
    assert sorted(name.rpartition("/")[2] for name in object_store.ls(f"/{tries.folder.name}", detail=False)) == [
        "results.jsonl",
        "results.jsonl.manifest.json",
    ]
