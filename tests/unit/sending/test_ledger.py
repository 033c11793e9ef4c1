"""The ledger: what a task remembers of its sends, and when it begins anew."""

from __future__ import annotations

import errno
import json
import os
import shutil
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from airflow_version import AIRFLOW_VERSION
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError
from airflow_provider_wts.hooks.context import TaskIdentity
from airflow_provider_wts.sending import clock
from airflow_provider_wts.sending import ledger as ledger_module
from airflow_provider_wts.sending.key import send_key
from airflow_provider_wts.sending.ledger import (
    HEADER,
    FileStore,
    Ledger,
    LedgerEntry,
    Page,
    TaskStateStore,
    receipt_of,
    store_of,
)

if TYPE_CHECKING:
    from airflow_provider_wts.hooks.context import RunIdentity

TASK = TaskIdentity("dag", "run", "task", -1)


class Pages:
    """A store in memory."""

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        return self.pages.get(name)

    def set(self, name: str, value: dict[str, Any]) -> None:
        self.pages[name] = json.loads(json.dumps(value))


@pytest.fixture
def pages() -> Pages:
    return Pages()


def finished(pages: Pages, max_tries: int = 0) -> None:
    ledger = Ledger(pages, max_tries=max_tries)
    ledger.intend("key", "digest")
    ledger.receive("key", {"id": 1}, finished=True)


# Generations ----------------------------------------------------------------------------------------------------------


def test_a_new_ledger_knows_nothing(pages: Pages) -> None:
    ledger = Ledger(pages, max_tries=2)
    assert ledger.generation == 2
    assert not ledger.finished
    assert ledger.entry("key") is None


def test_a_retry_finds_the_receipt(pages: Pages) -> None:
    finished(pages)
    assert Ledger(pages, max_tries=0).entry("key").receipt == {"id": 1}


def test_a_retry_of_an_unfinished_task_goes_on(pages: Pages) -> None:
    Ledger(pages, max_tries=0).intend("key", "digest")
    again = Ledger(pages, max_tries=0)
    assert not again.entry("key").is_done
    assert again.generation == 0


@pytest.mark.parametrize("on_clear", ["auto", "continue"])
def test_a_clear_of_an_unfinished_task_goes_on(pages: Pages, on_clear: Any) -> None:
    Ledger(pages, max_tries=0).intend("key", "digest")
    cleared = Ledger(pages, max_tries=1, on_clear=on_clear)
    assert cleared.generation == 0
    assert cleared.entry("key") is not None


def test_a_clear_of_a_finished_task_begins_anew(pages: Pages) -> None:
    finished(pages)
    cleared = Ledger(pages, max_tries=1)
    assert cleared.generation == 1
    assert cleared.entry("key") is None


def test_on_clear_continue_never_begins_anew(pages: Pages) -> None:
    finished(pages)
    assert Ledger(pages, max_tries=1, on_clear="continue").entry("key").receipt == {"id": 1}


def test_on_clear_resend_begins_anew_even_where_the_task_is_unfinished(pages: Pages) -> None:
    Ledger(pages, max_tries=0).intend("key", "digest")
    assert Ledger(pages, max_tries=1, on_clear="resend").generation == 1


def test_on_clear_resend_takes_no_retry_for_a_clear(pages: Pages) -> None:
    finished(pages)
    assert Ledger(pages, max_tries=0, on_clear="resend").generation == 0


def test_a_retry_after_the_end_of_a_continued_run_is_no_second_clear(pages: Pages) -> None:
    Ledger(pages, max_tries=0).intend("key", "digest")
    cleared = Ledger(pages, max_tries=3)
    cleared.intend("key", "digest")
    cleared.receive("key", {"id": 1}, finished=True)
    retried = Ledger(pages, max_tries=3)
    assert retried.generation == 0
    assert retried.entry("key").receipt == {"id": 1}


def test_a_generation_never_comes_back_even_when_retries_are_edited(pages: Pages) -> None:
    finished(pages, max_tries=5)
    seen = [5]
    # With fewer retries than before, a clear lowers max_tries; later clears raise it again.
    for max_tries in (1, 2, 3, 4, 5, 6):
        ledger = Ledger(pages, max_tries=max_tries)
        seen.append(ledger.generation)
        ledger.intend("key", "digest")
        ledger.receive("key", {}, finished=True)
    assert len(set(seen)) == len(seen)


def test_a_new_send_after_the_end_makes_the_task_unfinished_again(pages: Pages) -> None:
    finished(pages)
    Ledger(pages, max_tries=0).intend("key of another recipient", "digest")
    # Cleared now, it must not forget that the second send is open.
    cleared = Ledger(pages, max_tries=1)
    assert cleared.generation == 0
    assert cleared.entry("key of another recipient") is not None


# Entries --------------------------------------------------------------------------------------------------------------


def test_an_intent_says_when_and_what(pages: Pages) -> None:
    before = datetime.now(UTC)
    Ledger(pages, max_tries=0).intend("key", "digest")
    entry = Ledger(pages, max_tries=0).entry("key")
    assert entry.content == "digest"
    assert before <= entry.intent <= datetime.now(UTC)


def test_an_intent_can_go_back_to_the_first_attempt_that_is_in_doubt(pages: Pages) -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC)
    Ledger(pages, max_tries=0).intend("key", "digest", since=first)
    assert Ledger(pages, max_tries=0).entry("key").intent == first


def test_a_retracted_send_is_forgotten(pages: Pages) -> None:
    ledger = Ledger(pages, max_tries=0)
    ledger.intend("key", "digest")
    ledger.retract("key")
    assert Ledger(pages, max_tries=0).entry("key") is None


def test_retracting_what_is_not_there_does_no_harm(pages: Pages) -> None:
    Ledger(pages, max_tries=0).retract("key")


def test_an_answer_of_null_is_a_receipt(pages: Pages) -> None:
    ledger = Ledger(pages, max_tries=0)
    ledger.intend("key", "digest")
    ledger.receive("key", None, finished=True)
    assert Ledger(pages, max_tries=0).entry("key").is_done


# What cannot be read or written ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "page",
    [
        "text",
        [],
        {},
        {"version": 2},
        {"version": 1},
        {"version": 1, "generation": 0, "finished": False},
        {"version": 1, "generation": 0, "finished": False, "sends": None},
        {"version": 1, "generation": "0", "finished": False, "sends": {}},
        {"version": 1, "generation": 0, "finished": False, "sends": {"key": {}, "other key": "sent"}},
    ],
    ids=str,
)
def test_a_ledger_that_is_not_understood_is_an_error(pages: Pages, page: Any) -> None:
    pages.pages[HEADER] = page
    with pytest.raises(WtsInvalidRequestError, match="Nothing was sent"):
        Ledger(pages, max_tries=0)


def test_a_holder_that_is_not_understood_is_an_error(pages: Pages) -> None:
    pages.pages[ledger_module.HOLDER] = "text"
    with pytest.raises(WtsInvalidRequestError, match=r"wts_ledger_holder is damaged.*Nothing was sent"):
        Ledger(pages, max_tries=0)


@pytest.mark.parametrize("page", ["text", [], {}, {"intent": "soon", "sends": {}, "request_size": 1}], ids=str)
def test_a_page_that_is_not_understood_is_an_error(pages: Pages, page: Any) -> None:
    Ledger(pages, max_tries=0).open_page({"key": "digest"}, 1)
    pages.pages["wts_ledger_0_0"] = page
    with pytest.raises(WtsInvalidRequestError, match=r"Page 0 .* is damaged.*Nothing was sent"):
        list(Ledger(pages, max_tries=0).load())


@pytest.mark.parametrize(("error", "kind"), [(OSError("away"), WtsError), (ValueError("torn"), WtsInvalidRequestError)])
def test_a_ledger_that_cannot_be_read_is_an_error(pages: Pages, error: Exception, kind: type[Exception]) -> None:
    def get(name: str) -> Any:
        raise error

    pages.get = get  # type: ignore[method-assign]
    with pytest.raises(kind, match="cannot be read"):
        Ledger(pages, max_tries=0)


def test_an_intent_that_cannot_be_written_is_an_error(pages: Pages) -> None:
    def set(name: str, value: Any) -> None:
        raise RuntimeError("not yours any more")

    ledger = Ledger(pages, max_tries=0)
    pages.set = set  # type: ignore[method-assign]
    with pytest.raises(WtsError, match="nothing more was sent"):
        ledger.intend("key", "digest")


# Where it is kept -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["file", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "memory" and AIRFLOW_VERSION < (3, 2):
        pytest.skip("Airflow knows a file system in memory from 3.2 on")
    return f"file://{tmp_path}/ledgers" if request.param == "file" else f"memory://{tmp_path}/ledgers"


def test_files_keep_what_is_written(root: str) -> None:
    assert FileStore(root, TASK).get(HEADER) is None
    FileStore(root, TASK).set(HEADER, {"a": "á"})
    FileStore(root, TASK).set(HEADER, {"a": 2})
    assert FileStore(root, TASK).get(HEADER) == {"a": 2}


@pytest.mark.skipif(AIRFLOW_VERSION < (3, 2), reason="Airflow knows a file system in memory from 3.2 on")
def test_what_another_process_wrote_is_read_even_if_the_store_keeps_an_earlier_listing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    listed: list[str] = []
    read = MemoryFileSystem.open

    def open_listed(self: Any, path: str, mode: str = "rb", **options: Any) -> Any:
        if listed and "r" in mode and path not in listed:
            raise FileNotFoundError(path)
        return read(self, path, mode, **options)

    monkeypatch.setattr(MemoryFileSystem, "open", open_listed)
    monkeypatch.setattr(MemoryFileSystem, "invalidate_cache", lambda self, path=None: listed.clear())
    monkeypatch.setattr(ObjectStoragePath, "fs", MemoryFileSystem())
    store = FileStore(f"memory://{tmp_path}", TASK)
    store.set(HEADER, {"a": 1})
    listed.append("/another-file")
    assert store.get(HEADER) == {"a": 1}


def test_each_task_has_files_of_its_own(root: str) -> None:
    FileStore(root, TASK).set(HEADER, {"a": 1})
    assert FileStore(root, TASK._replace(map_index=0)).get(HEADER) is None


def test_no_path_names_the_run(tmp_path: Path) -> None:
    task = TASK._replace(run_id="manual__+5511999998888")
    FileStore(f"file://{tmp_path}", task).set(HEADER, {"a": 1})
    assert not any("5511999998888" in str(path) for path in tmp_path.rglob("*"))


def test_nothing_is_left_beside_a_file(tmp_path: Path) -> None:
    FileStore(f"file://{tmp_path}", TASK).set(HEADER, {"a": 1})
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["wts_ledger.json"]


@pytest.mark.parametrize("name", ["open", "fsync"])
@pytest.mark.parametrize(
    ("number", "is_kept"), [(errno.EACCES, True), (errno.EINVAL, True), (errno.EIO, False), (errno.ENOSPC, False)]
)
def test_a_folder_need_not_be_written_through_where_that_is_impossible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int, is_kept: bool
) -> None:
    real = getattr(os, name)

    def refuse(what: Any, *more: Any) -> Any:
        if os.path.isdir(what):
            raise OSError(number, "refused")
        return real(what, *more)

    store = FileStore(f"file://{tmp_path}", TASK)
    monkeypatch.setattr(os, name, refuse)
    with nullcontext() if is_kept else pytest.raises(OSError, match="refused"):
        store.set(HEADER, {"a": 1})
    if is_kept:
        assert store.get(HEADER) == {"a": 1}


def test_a_plain_path_is_a_ledger_path_too(tmp_path: Path) -> None:
    FileStore(str(tmp_path), TASK).set(HEADER, {"a": 1})
    assert FileStore(f"file://{tmp_path}", TASK).get(HEADER) == {"a": 1}


@pytest.mark.parametrize("torn", ["", "{", "\ufffd", '{"version": 1'])
def test_a_torn_file_is_an_error_and_not_nothing(tmp_path: Path, torn: str) -> None:
    FileStore(str(tmp_path), TASK).set(HEADER, {"a": 1})
    (file,) = tmp_path.rglob("*.json")
    file.write_text(torn)
    with pytest.raises(WtsInvalidRequestError, match="cannot be read"):
        Ledger(FileStore(str(tmp_path), TASK), max_tries=0)


def test_a_file_where_a_folder_should_be_is_an_error(tmp_path: Path) -> None:
    FileStore(str(tmp_path), TASK).set(HEADER, {"a": 1})
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    folder.rename(tmp_path / "away")
    folder.write_text("no folder")
    with pytest.raises(WtsError, match="cannot be read"):
        Ledger(FileStore(str(tmp_path), TASK), max_tries=0)


def test_a_full_disk_does_not_keep_what_could_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FileStore(str(tmp_path), TASK)
    store.set(HEADER, {"a": 1})

    def half(path: Path, content: bytes, **options: Any) -> None:
        path.write_bytes(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("airflow_provider_wts.hooks.output_files._write", half)
    with pytest.raises(OSError, match="No space left"):
        store.set(HEADER, {"a": 2})
    assert [path.name for path in tmp_path.rglob("*.*")] == [f"{HEADER}.json"]
    assert store.get(HEADER) == {"a": 1}


def test_the_configured_path_is_used_before_airflows_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", str(tmp_path))
    assert isinstance(store_of({"task_state_store": object()}, TASK), FileStore)


def test_airflows_store_is_used_where_there_is_one(store: Any) -> None:
    found = store_of({"task_state_store": store}, TASK)
    assert isinstance(found, TaskStateStore)
    found.set(HEADER, {"a": 1})
    assert found.get(HEADER) == {"a": 1}


def test_below_airflow_3_3_there_is_no_store_unless_a_path_is_configured() -> None:
    assert store_of({}, TASK) is None


# Tries that take over -------------------------------------------------------------------------------------------------


def test_a_first_try_leaves_a_ledger_at_once_and_waits_for_nobody(pages: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "sleep", lambda seconds: pytest.fail("it waited"))
    Ledger(pages, max_tries=0)
    assert pages.pages[HEADER]["sends"] == {}


def test_a_first_try_whose_store_is_slow_knows_that_nothing_was_sent_before(
    pages: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its first write took longer than a lease: another try may have begun meanwhile.
    elapsed, late = clock.elapsed, [10 * ledger_module.LEASE]
    monkeypatch.setattr(clock, "elapsed", lambda since: late.pop() if late else elapsed(since))
    slept: list[float] = []
    monkeypatch.setattr(clock, "sleep", slept.append)
    assert not Ledger(pages, max_tries=0).incomplete
    assert slept == [ledger_module.LEASE * 1.1]


def test_a_later_try_that_finds_no_ledger_knows_that_something_is_missing(pages: Any) -> None:
    assert not Ledger(pages, max_tries=0).incomplete
    pages.pages.clear()
    assert Ledger(pages, max_tries=0, try_number=2).incomplete
    # Nor does the next one, which finds the ledger of that one.
    assert Ledger(pages, max_tries=0, try_number=3).incomplete


def test_a_later_try_takes_over_before_it_reads(pages: Any) -> None:
    first = Ledger(pages, max_tries=1)
    first.intend("key", "digest")
    second = Ledger(pages, max_tries=1, try_number=2)
    with pytest.raises(WtsError, match="Another try of this task has taken over"):
        first.check()
    with pytest.raises(WtsError, match="Another try of this task has taken over"):
        first.intend("another key", "digest")
    second.check()
    assert second.entry("key") is not None


def test_what_a_late_try_writes_between_two_looks_of_its_own_is_read_by_its_successor(
    pages: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "LEASE", 30.0)
    first = Ledger(pages, max_tries=1)
    # In the pause in which the second waits until all that the first did on the strength of a check can be read.
    monkeypatch.setattr(clock, "sleep", lambda seconds: first.intend("key", "digest"))
    assert Ledger(pages, max_tries=1, try_number=2).entry("key") is not None


def test_a_run_that_was_made_anew_under_its_old_name_is_not_locked_out(pages: Any) -> None:
    old: RunIdentity = {"start": "2026-11-01T08:00:00+00:00"}
    second = Ledger(pages, max_tries=1, try_number=2, run=old)
    second.intend("key", "digest")
    again = Ledger(pages, max_tries=1, run={"start": "2026-11-02T08:00:00+00:00"})
    again.check()
    assert again.entry("key") is None
    # Its sends must not be taken for those of the old run.
    assert again.generation > second.generation
    with pytest.raises(WtsError, match="taken over"):
        second.check()


@pytest.mark.parametrize("known", [{"start": "2026-11-01T08:00:00+00:00"}, {"id": 7}], ids=str)
def test_the_same_run_finds_its_receipts(pages: Any, known: RunIdentity) -> None:
    first = Ledger(pages, max_tries=1, run=known)
    first.intend("key", "digest")
    first.receive("key", {"id": 1}, finished=False)
    assert Ledger(pages, max_tries=1, try_number=1, run=known).entry("key").is_done
    # A clear of the run moves its start, which then tells nothing; but the number of a try only grows within a run.
    assert Ledger(pages, max_tries=1, try_number=2, run={}).entry("key").is_done


def test_a_first_try_of_a_run_that_may_be_another_asks_for_what_it_finds(pages: Any) -> None:
    first = Ledger(pages, max_tries=1, run={"start": "2026-11-01T08:00:00+00:00"})
    first.intend("key", "digest")
    first.receive("key", {"id": 1}, finished=True)
    entry = Ledger(pages, max_tries=1, run={}).entry("key")
    assert entry is not None
    assert not entry.is_done


class Time:
    """The clock of a test: waiting takes no time, and reading and writing a store some."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pages: Any) -> None:
        self.now = 1000.0
        self.reading = self.writing = 0.0
        get, set_ = pages.get, pages.set

        def slow_get(name: str) -> Any:
            self.sleep(self.reading)
            return get(name)

        def slow_set(name: str, value: Any) -> None:
            self.sleep(self.writing)
            set_(name, value)

        pages.get, pages.set = slow_get, slow_set
        monkeypatch.setattr(ledger_module, "LEASE", 1.0)
        monkeypatch.setattr(clock, "now", lambda: (self.now, self.now))
        monkeypatch.setattr(clock, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time_of_store(pages: Any, monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch, pages)


def test_tries_that_take_the_ledger_over_by_turns_end_without_having_sent(pages: Any, time_of_store: Time) -> None:
    get, taken = pages.get, []

    def overwritten(name: str) -> Any:
        if name != ledger_module.HOLDER:
            return get(name)
        taken.append(name)
        return {"holder": "of another process", "try": 1}

    pages.get = overwritten
    with pytest.raises(WtsError, match=r"keep taking over its ledger.*Nothing more was sent"):
        Ledger(pages, max_tries=1, try_number=2)
    # Before the first turn, and in each of them.
    assert len(taken) == 6


@pytest.mark.parametrize("try_number", [1, 2])
def test_a_try_whose_name_is_gone_gives_up(pages: Any, time_of_store: Time, try_number: int) -> None:
    # The store is slow, so that even a first try asks once more.
    time_of_store.writing = 2.0
    pages.get = lambda name: None
    with pytest.raises(WtsError, match="taken over"):
        Ledger(pages, max_tries=0, try_number=try_number)


def test_a_check_holds_for_one_lease(pages: Any, time_of_store: Time) -> None:
    ledger = Ledger(pages, max_tries=0)
    pages.pages[ledger_module.HOLDER] = {"holder": "of another process", "try": 2}
    time_of_store.sleep(0.75)
    ledger.check()
    time_of_store.sleep(0.25)
    with pytest.raises(WtsError, match="taken over"):
        ledger.check()


def test_a_try_that_was_given_up_never_sends_again(pages: Any, time_of_store: Time) -> None:
    first = Ledger(pages, max_tries=0)
    mine = pages.pages[ledger_module.HOLDER]
    pages.pages[ledger_module.HOLDER] = {"holder": "of another process", "try": 2}
    time_of_store.sleep(1)
    for _ in range(2):
        with pytest.raises(WtsError, match="taken over"):
            first.check()
        pages.pages[ledger_module.HOLDER] = mine


def test_a_try_that_was_given_up_writes_over_no_page(pages: Any, time_of_store: Time) -> None:
    first = Ledger(pages, max_tries=0)
    page = first.open_page({"a": "digest"}, 1)
    page.receive("a", {"id": "of the first try"})
    written = dict(pages.pages)
    pages.pages[ledger_module.HOLDER] = {"holder": "of another process", "try": 2}
    time_of_store.sleep(1)
    first.keep(page)
    with pytest.raises(WtsError, match="taken over"):
        first.open_page({"b": "digest"}, 1)
    assert {**pages.pages, ledger_module.HOLDER: None} == {**written, ledger_module.HOLDER: None}


def test_a_store_that_answers_later_than_a_check_holds_proves_nothing(pages: Any, time_of_store: Time) -> None:
    ledger = Ledger(pages, max_tries=0)
    begun, time_of_store.reading = time_of_store.now, 1.5
    time_of_store.sleep(1)
    with pytest.raises(WtsError, match="longer than 1 s to answer, 30 times in a row") as caught:
        ledger.check()
    assert "Nothing more was sent" in str(caught.value)
    assert time_of_store.now - begun == 1 + 30 * 1.5
    time_of_store.reading = 0.5
    ledger.check()


def test_the_last_of_thirty_slow_answers_may_be_the_one_in_time(pages: Any, time_of_store: Time) -> None:
    ledger, get, slow = Ledger(pages, max_tries=0), pages.get, [1.5] * 29

    def read(name: str) -> Any:
        time_of_store.sleep(slow.pop() if slow else 0.5)
        return get(name)

    pages.get = read
    time_of_store.sleep(1)
    ledger.check()
    assert not slow


def test_earlier_tries_are_quiet_one_lease_after_the_ledger_was_taken_over(pages: Any, time_of_store: Time) -> None:
    time_of_store.reading, time_of_store.writing = 0.25, 0.5
    written: list[float] = []
    set_ = pages.set

    def noted(name: str, value: Any) -> None:
        set_(name, value)
        if name == ledger_module.HOLDER:
            written.append(time_of_store.now)

    pages.set = noted
    ledger = Ledger(pages, max_tries=0, try_number=2)
    time_of_store.sleep(10)
    assert ledger.quiet_for == time_of_store.now - written[-1] - 1
    # Without a store, nothing stops an earlier try.
    assert Ledger(None, max_tries=0, try_number=2).quiet_for == 0


def test_all_tries_without_a_store_send_with_the_same_keys() -> None:
    first, second = (Ledger(None, max_tries=0, try_number=number) for number in (1, 2))
    assert (first.generation, second.generation) == (0, 0)
    assert (first.incomplete, second.incomplete) == (False, True)


def test_a_first_try_that_finds_a_holder_and_no_ledger_asks_what_was_sent(pages: Any, caplog: Any) -> None:
    pages.pages[ledger_module.HOLDER] = {"holder": "of another process", "try": 1}
    assert Ledger(pages, max_tries=0).incomplete
    assert "The ledger of an earlier try is missing" not in caplog.text
    pages.pages.clear()
    assert Ledger(pages, max_tries=0, try_number=2).incomplete
    assert "The ledger of an earlier try is missing" in caplog.text


def test_a_later_try_of_a_run_that_was_made_anew_may_have_lost_what_the_first_one_sent(pages: Any) -> None:
    for day, try_number, incomplete in (("01", 1, False), ("02", 1, False), ("03", 2, True)):
        run: RunIdentity = {"start": f"2026-11-{day}T08:00:00+00:00"}
        assert Ledger(pages, max_tries=1, try_number=try_number, run=run).incomplete is incomplete


class Killed(BaseException):
    """The end of a process."""


def killed_at(pages: Any, operation: int, *, after: bool) -> list[str]:
    """Let a store kill its process at an operation, before or after its effect; return the operations so far."""
    operations: list[str] = []

    def mortal(do: Any) -> Any:
        def done(name: str, *value: Any) -> Any:
            operations.append(name)
            if len(operations) != operation:
                return do(name, *value)
            if after:
                do(name, *value)
            raise Killed

        return done

    pages.get, pages.set = mortal(pages.get), mortal(pages.set)
    return operations


@pytest.mark.parametrize("max_tries", [0, 1], ids=["retried", "cleared"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_try_that_was_killed_while_it_took_over_leaves_nothing_unknown(max_tries: int, after: bool) -> None:
    for operation in range(1, 20):
        pages: Any = Pages()
        first = Ledger(pages, max_tries=0)
        page = first.open_page({"key": "digest"}, 1)
        page.receive("key", {"id": 1})
        first.keep(page)
        operations = killed_at(pages, operation, after=after)
        try:
            Ledger(pages, max_tries=max_tries, try_number=2)
        except Killed:
            third = Ledger(pages, max_tries=max_tries, try_number=3)
            assert not third.incomplete, operations
            assert [one.sends["key"].is_done for one in third.load()] == [True]
        else:
            break
    assert operation > 5


@pytest.mark.parametrize("since", [None, HEADER], ids=["from the beginning", "once the header is written"])
def test_a_try_whose_store_is_too_slow_while_it_takes_over_leaves_nothing_unknown(
    pages: Any, time_of_store: Time, since: str | None
) -> None:
    Ledger(pages, max_tries=0).open_page({"key": "digest"}, 1)
    set_, time_of_store.reading = pages.set, 0.0 if since else 1.5

    def write(name: str, value: Any) -> None:
        set_(name, value)
        if name == since:
            time_of_store.reading = 1.5
            time_of_store.sleep(1.5)

    pages.set = write
    with pytest.raises(WtsError, match="30 times in a row"):
        Ledger(pages, max_tries=0, try_number=2)
    pages.set, time_of_store.reading = set_, 0.0
    assert not Ledger(pages, max_tries=0, try_number=3).incomplete


def written_over(pages: Any, max_tries: int = 0) -> None:
    """Let a try that was given up write its ledger over that of a later one, which has sent."""
    stale = pages.pages[HEADER]
    Ledger(pages, max_tries=max_tries, try_number=2).intend("another key", "digest")
    pages.pages[HEADER] = stale


@pytest.mark.parametrize("max_tries", [0, 1])
def test_what_another_try_wrote_over_the_ledger_of_its_successor_may_be_missing(pages: Any, max_tries: int) -> None:
    finished(pages)
    written_over(pages, max_tries)
    assert Ledger(pages, max_tries=max_tries, try_number=3).incomplete
    # Nor does the next one know, which finds the ledger of that one.
    assert Ledger(pages, max_tries=max_tries, try_number=4).incomplete


def test_what_was_written_over_may_be_missing_also_after_a_try_that_was_killed(pages: Any) -> None:
    finished(pages)
    written_over(pages)
    get, set_ = pages.get, pages.set
    # While it reads the ledger.
    killed_at(pages, 5, after=False)
    with pytest.raises(Killed):
        Ledger(pages, max_tries=0, try_number=3)
    pages.get, pages.set = get, set_
    assert Ledger(pages, max_tries=0, try_number=4).incomplete


def test_a_writer_that_is_not_understood_is_an_error(pages: Pages) -> None:
    finished(pages)
    pages.pages[ledger_module.WRITER] = "text"
    with pytest.raises(WtsInvalidRequestError, match=r"wts_ledger_writer is damaged.*Nothing was sent"):
        Ledger(pages, max_tries=0, try_number=2)


# Pages ----------------------------------------------------------------------------------------------------------------


def failing(pages: Any, *names: str) -> None:
    """Let the store refuse to write these."""
    set_ = pages.set

    def set(name: str, value: Any) -> None:
        if name in names:
            raise OSError("away")
        set_(name, value)

    pages.set = set


def test_requests_of_a_page_are_known_by_their_size() -> None:
    def requests(size: int, count: int) -> list[str]:
        page = Page(0, datetime.now(UTC), {key: LedgerEntry() for key in "abcde"[:count]}, size, 0)
        return ["".join(request) for request in page.requests()]

    assert requests(2, 5) == ["ab", "cd", "e"]
    assert requests(5, 5) == ["abcde"]
    # Which of them went out together is not known any more.
    assert requests(1, 5) == ["abcde"]
    assert requests(1, 0) == []


def test_what_is_sent_is_not_taken_back() -> None:
    page = Page(0, datetime.now(UTC), {key: LedgerEntry() for key in "abcd"}, 2, 0)
    page.receive("a", {"id": 1})
    page.retract(["a", "c", "d", "of another page"])
    assert list(page.sends) == ["a", "b"]
    assert page.requests() == [["a", "b"]]
    assert page.request_size == 2


def test_a_checkpoint_is_not_written_before_all_pages_are(pages: Any) -> None:
    ledger = Ledger(pages, max_tries=0)
    page = ledger.open_page({"key": "digest"}, 1)
    set_ = pages.set
    failing(pages, "wts_ledger_0_0")
    ledger.keep(page)
    assert not ledger.save_checkpoint({"rows": 1})
    pages.set = set_
    ledger.open_page({"other key": "digest"}, 1)
    assert ledger.save_checkpoint({"rows": 2})
    assert Ledger(pages, max_tries=0).checkpoint == {"rows": 2, "pages": 2}


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(pages: Any) -> None:
    ledger = Ledger(pages, max_tries=0)
    ledger.open_page({"key": "digest"}, 1)
    assert ledger.save_checkpoint({"rows": 1})
    set_ = pages.set
    failing(pages, HEADER)
    assert not ledger.save_checkpoint({"rows": 2})
    assert ledger.checkpoint == {"rows": 1, "pages": 1}
    pages.set = set_
    ledger.close(finished=True)
    assert Ledger(pages, max_tries=0).checkpoint == {"rows": 1, "pages": 1}


def test_a_ledger_that_may_miss_sends_has_no_checkpoint(pages: Any) -> None:
    first = Ledger(pages, max_tries=0)
    first.open_page({"key": "digest"}, 1)
    assert first.save_checkpoint({"rows": 1})
    written_over(pages)
    second = Ledger(pages, max_tries=0, try_number=3)
    assert second.checkpoint is None
    assert not second.save_checkpoint({"rows": 1})


def test_pages_that_a_try_which_still_runs_may_write_are_not_used(pages: Any) -> None:
    first = Ledger(pages, max_tries=0)
    first.open_page({"a": "digest"}, 1)
    second = Ledger(pages, max_tries=0, try_number=2)
    assert [page.number for page in second.load()] == [0]
    assert second.open_page({"b": "digest"}, 1).number == 25
    # What the first one still writes is in nobody's way, and is not read.
    pages.pages["wts_ledger_0_1"] = {"intent": "soon"}
    third = Ledger(pages, max_tries=0, try_number=3)
    assert [page.number for page in third.load()] == [0, 25]
    assert third.pages_used == 50


def test_a_header_announces_as_many_pages_as_may_be_written_before_the_next_one(pages: Any) -> None:
    ledger, headers = Ledger(pages, max_tries=0), []
    set_ = pages.set

    def set(name: str, value: Any) -> None:
        headers.extend([value["pages"]] if name == HEADER else [])
        set_(name, value)

    pages.set = set
    for number in range(51):
        ledger.open_page({str(number): "digest"}, 1)
    assert headers == [25, 50, 75]
    assert [page.number for page in Ledger(pages, max_tries=0).load()] == [*range(51)]


def test_a_campaign_that_begins_again_is_not_finished(pages: Any) -> None:
    ledger = Ledger(pages, max_tries=0)
    ledger.open_page({"a": "digest"}, 1)
    ledger.close(finished=True)
    again = Ledger(pages, max_tries=0)
    assert again.finished
    list(again.load())
    again.open_page({"b": "digest"}, 1)
    # Killed here, and cleared: it goes on.
    cleared = Ledger(pages, max_tries=1)
    assert not cleared.finished
    assert cleared.generation == 0


def test_the_end_is_written_even_where_nothing_was_sent(pages: Any) -> None:
    Ledger(pages, max_tries=0).close(finished=True)
    assert Ledger(pages, max_tries=0).finished
    Ledger(pages, max_tries=0).close(finished=False)
    assert not Ledger(pages, max_tries=0).finished


def test_receipts_that_could_not_be_written_are_written_at_the_end(pages: Any, caplog: Any) -> None:
    ledger, set_ = Ledger(pages, max_tries=0), pages.set
    page = ledger.open_page({"a": "digest"}, 1)
    page.receive("a", {"id": 1})
    failing(pages, "wts_ledger_0_0")
    ledger.keep(page)
    assert "cannot be written now" in caplog.text
    pages.set = set_
    ledger.close(finished=True)
    (kept,) = Ledger(pages, max_tries=0).load()
    assert kept.sends["a"].is_done


def test_an_end_that_cannot_be_written_is_no_error(pages: Any, caplog: Any) -> None:
    ledger = Ledger(pages, max_tries=0)
    ledger.open_page({"a": "digest"}, 1)
    failing(pages, HEADER)
    ledger.close(finished=True)
    assert "cannot be written: OSError" in caplog.text


# What is kept ---------------------------------------------------------------------------------------------------------


def test_a_receipt_keeps_a_part_of_the_reason_and_no_number() -> None:
    answer = {"id": "x", "status": "FAILED", "failedReason": "to +55 11 99999-8888: " + "a" * 200, "text": "Olá"}
    receipt = receipt_of({**answer, "sessionId": None})
    assert set(receipt) == {"id", "status", "failedReason"}
    assert len(receipt["failedReason"]) == 120
    assert "99999" not in receipt["failedReason"]


@pytest.mark.parametrize(
    ("stored", "entry"),
    [
        ({}, LedgerEntry()),
        ({"intent": "2026-11-01T08:00:00"}, LedgerEntry(intent=datetime(2026, 11, 1, 8, tzinfo=UTC))),
        ({"intent": "2026-11-01T05:00:00-03:00"}, LedgerEntry(intent=datetime(2026, 11, 1, 8, tzinfo=UTC))),
        ({"intent": "soon", "timeout": "long", "max_tries": "many"}, LedgerEntry()),
        ({"timeout": 2.5, "max_tries": 3, "content": "digest"}, LedgerEntry("digest", None, 2.5, 3)),
    ],
    ids=str,
)
def test_an_entry_is_read_as_far_as_it_can_be(stored: dict[str, Any], entry: LedgerEntry) -> None:
    assert LedgerEntry.of(stored) == entry
    assert LedgerEntry.of(entry.as_json()) == entry


def test_a_first_try_asks_about_the_pages_of_a_run_that_may_be_another(pages: Any) -> None:
    first = Ledger(pages, max_tries=1, run={"start": "2026-11-01T08:00:00+00:00"})
    page = first.open_page({"a": "digest"}, 1)
    page.receive("a", {"id": 1})
    first.keep(page)
    assert first.save_checkpoint({"rows": 1})
    second = Ledger(pages, max_tries=1, run={})
    assert (second.finished, second.checkpoint) == (False, None)
    (doubted,) = second.load()
    assert not doubted.sends["a"].is_done
    # It stays so for the tries after it, which know the run no better.
    doubted.receive("a", {"id": 2})
    second.keep(doubted)
    (known,) = Ledger(pages, max_tries=1, try_number=2, run={}).load()
    assert known.sends["a"].receipt == {"id": 2}


# A ledger of version 0.1.0 --------------------------------------------------------------------------------------------


def ledger_of_0_1_0(holder: str | None = None) -> dict[str, Any]:
    sends = {"key": {"intent": "2026-11-01T08:00:00+00:00", "content": "digest", "receipt": {"id": 1}}}
    header = {"version": 1, "generation": 0, "max_tries": 0, "finished": True, "sends": sends, "holder": holder}
    return {HEADER: header, **({ledger_module.HOLDER: {"holder": holder}} if holder else {})}


@pytest.mark.parametrize("holder", [None, "4d2a"])
@pytest.mark.parametrize("run", [None, {"start": "2026-11-01T08:00:00+00:00"}], ids=["store", "files"])
def test_a_retry_after_an_upgrade_finds_the_receipt(pages: Any, holder: str | None, run: RunIdentity | None) -> None:
    pages.pages = ledger_of_0_1_0(holder)
    ledger = Ledger(pages, max_tries=0, try_number=2, run=run)
    assert ledger.entry("key") == LedgerEntry.of(pages.pages[HEADER]["sends"]["key"])
    assert ledger.entry("key").is_done
    assert not ledger.incomplete


@pytest.mark.parametrize("name", [ledger_module.HOLDER, ledger_module.WRITER])
def test_what_0_1_0_wrote_over_the_ledger_of_its_successor_may_be_missing(pages: Any, name: str) -> None:
    pages.pages = ledger_of_0_1_0("4d2a") | {name: {"holder": "of another process"}}
    assert Ledger(pages, max_tries=0, try_number=2).incomplete


def test_a_first_try_on_files_of_0_1_0_cannot_tell_whose_they_are(pages: Any) -> None:
    pages.pages = ledger_of_0_1_0()
    entry = Ledger(pages, max_tries=0, run={"start": "2026-11-01T08:00:00+00:00"}).entry("key")
    assert entry is not None
    assert not entry.is_done


def test_files_of_0_1_0_are_read(tmp_path: Path) -> None:
    FileStore(str(tmp_path), TASK).set(HEADER, {"a": 1})
    store = FileStore(str(tmp_path), TASK, deployment="production")
    assert store.get(HEADER) == {"a": 1}
    store.set(HEADER, {"a": 2})
    assert store.get(HEADER) == {"a": 2}
    assert FileStore(str(tmp_path), TASK).get(HEADER) == {"a": 1}


@pytest.fixture
def written_by_0_1_0(tmp_path: Path) -> str:
    """Files as version 0.1.0 wrote them: a task with a send and a lost answer, and a campaign with one of each."""
    shutil.copytree(Path(__file__).with_name("ledger_of_0_1_0"), tmp_path, dirs_exist_ok=True)
    return str(tmp_path)


def test_single_sends_that_0_1_0_wrote_are_known_to_a_later_try(written_by_0_1_0: str) -> None:
    ledger = Ledger(FileStore(written_by_0_1_0, TASK, deployment="production"), max_tries=1, try_number=3)
    sent, lost = (
        send_key(TASK, generation=ledger.generation, wts_conn_id="wts_default", recipient=f"+55|1199999000{number}")
        for number in (1, 2)
    )
    assert ledger.entry(sent).receipt["id"] == "6f1d2c55-0a7b-4b0e-9d52-0b9a4c5f7e10"
    assert ledger.entry(lost).intent is not None
    assert not ledger.entry(lost).is_done


def test_a_campaign_that_0_1_0_wrote_is_known_to_a_later_try(written_by_0_1_0: str) -> None:
    store = FileStore(written_by_0_1_0, TASK._replace(task_id="campaign"), deployment="production")
    (page,) = Ledger(store, max_tries=0, try_number=2).load()
    assert page.requests() == [["a", "b"]]
    assert page.sends["a"].receipt["status"] == "SENT"
    assert not page.sends["b"].is_done


def test_deployments_that_share_a_folder_do_not_share_ledgers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", str(tmp_path))
    for name, there in (("production", None), ("staging", None), ("production", {"a": "production"})):
        monkeypatch.setenv("AIRFLOW__WTS__DEPLOYMENT", name)
        store = store_of({}, TASK)
        assert store is not None
        assert store.get(HEADER) == there
        store.set(HEADER, {"a": name})
