"""Bringing conversations home: each once, none missing, also when the task dies on the way."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow_version import AIRFLOW_VERSION

from airflow_provider_wts.api import pagination
from airflow_provider_wts.api.client import WtsClient
from airflow_provider_wts.api.errors import WtsError, WtsIncompleteListError, WtsNotFoundError
from airflow_provider_wts.api.sessions import update_session
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.operators import export as export_module
from airflow_provider_wts.operators.session import WtsExportConversationsOperator

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_wts.emulator.running import Emulator

# The task state store came with Airflow 3.3.
STORES = ["context", "stateful_context"] if AIRFLOW_VERSION >= (3, 3) else ["context"]


@pytest.fixture
def interval() -> dict[str, datetime]:
    """The hours around now."""
    now = datetime.now(UTC)
    return {"updated_after": now - timedelta(hours=2), "updated_before": now + timedelta(hours=2)}


@pytest.fixture
def export(tmp_path: Path, interval: dict[str, datetime]) -> Callable[..., WtsExportConversationsOperator]:
    def make(**parameters: Any) -> WtsExportConversationsOperator:
        given = {"output_path": f"file://{tmp_path}/out", **interval, **parameters}
        return WtsExportConversationsOperator(task_id="export", **given)

    return make


def fill(emulator: Emulator, sessions: int, *, talking: int, messages: int = 1) -> None:
    """Make up sessions; in some of them the contact writes."""
    emulator.seed(sessions=sessions)
    # Whoever has a completed session would open another one.
    talkers = [one for one in emulator.state.sessions.by_creation() if one["status"] != "COMPLETED"][:talking]
    for number in range(messages):
        for session in talkers:
            emulator.contact_writes(session.contact["phoneNumber"], f"Mensagem {number}")


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(row) for file in sorted(folder.glob("conversations-*.jsonl")) for row in file.open()]


def all_ids(emulator: Emulator) -> list[str]:
    return sorted(session.id for session in emulator.state.sessions.by_creation())


def ids(folder: Path) -> list[str]:
    return sorted(row["id"] for row in rows(folder))


def test_each_session_is_a_row_with_its_messages(
    wts_connection: Emulator, context: dict[str, Any], export: Callable[..., Any], tmp_path: Path
) -> None:
    fill(wts_connection, 3, talking=0)
    wts_connection.contact_writes("+55|11999990001", "Olá")
    wts_connection.contact_writes("+55|11999990001", "Tudo bem?")
    (session,) = (one for one in wts_connection.state.sessions.by_creation() if one.messages)
    classification = {"category": "WON", "amount": 10.5}
    WtsHook().run(update_session(session.id, metadata={"fatura": "118"}, classification=classification))
    counts = export().execute(context)
    assert {name: counts[name] for name in ("parts", "sessions", "messages", "file_format")} == {
        "parts": 1,
        "sessions": len(wts_connection.state.sessions),
        "messages": 2,
        "file_format": "jsonl",
    }
    (row,) = (one for one in rows(tmp_path / "out") if one["id"] == session.id)
    assert [message["text"] for message in row["messages"]] == ["Olá", "Tudo bem?"]
    assert row["contactDetails"]["name"] == "Carla Dias"
    assert row["metadata"] == {"fatura": "118"}
    assert row["classification"]["category"] == "WON"
    manifest = json.loads(Path(counts["manifest"].removeprefix("file://")).read_text())
    assert [name for name in manifest["files"] if not (tmp_path / "out" / name).exists()] == []
    assert not list((tmp_path / "out").glob("_staging*"))


def test_it_takes_as_few_requests_as_the_api_allows(
    wts_connection: Emulator, context: dict[str, Any], export: Callable[..., Any]
) -> None:
    fill(wts_connection, 150, talking=5)
    export().execute(context)
    # Two lists of two pages, of which the first is read again: rows may have moved in between.
    assert len(wts_connection.requests_of("list_sessions")) == 6
    assert len(wts_connection.requests_of("list_messages")) == 5
    assert len(wts_connection.requests) == 11


@pytest.mark.parametrize("context_name", STORES)
@pytest.mark.parametrize("moment", ["listing", "reading", "written", "last"])
def test_a_task_that_dies_goes_on_without_repeating_or_missing_a_row(
    wts_connection: Emulator,
    request: pytest.FixtureRequest,
    export: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    context_name: str,
    moment: str,
) -> None:
    context = request.getfixturevalue(context_name)
    monkeypatch.setattr(export_module, "PART", 20)
    fill(wts_connection, 200, talking=40)
    expected = all_ids(wts_connection)
    written: list[str] = []
    write_rows, write_state = export_module.write_rows, export_module.Export._write

    def dying_write(path: Any, *arguments: Any) -> None:
        if moment == "listing" and path.name == "00006.jsonl" and "_staging" in str(path):
            raise KeyboardInterrupt
        if moment == "reading" and path.name.endswith("00006.jsonl") and "conversations" in path.name:
            raise KeyboardInterrupt
        write_rows(path, *arguments)
        written.append(path.name)

    def dying_state(self: Any, state: dict[str, Any], *made: Any) -> None:
        if (moment == "written" and len(state["parts"]) == 6) or (moment == "last" and state["finished"]):
            raise KeyboardInterrupt
        write_state(self, state, *made)

    with monkeypatch.context() as patched:
        patched.setattr(export_module, "write_rows", dying_write)
        patched.setattr(export_module.Export, "_write", dying_state)
        with pytest.raises(KeyboardInterrupt):
            export().execute(context)
    # Meanwhile customers go on writing, which moves sessions from one page of the list to another.
    wts_connection.advance(10)
    before = len(wts_connection.requests_of("list_messages"))
    for session in [one for one in wts_connection.state.sessions.by_creation() if one["status"] == "PENDING"][:30]:
        wts_connection.contact_writes(session.contact["phoneNumber"], "Ainda aí?")
    counts = export().execute(context)
    assert counts["sessions"] == len(expected)
    assert ids(tmp_path / "out") == expected
    if moment != "listing":
        assert len(wts_connection.requests_of("list_sessions")) == 6
    if moment == "last":
        assert len(wts_connection.requests_of("list_messages")) == before
    assert not list((tmp_path / "out").glob("_staging*"))


def test_a_finished_export_is_not_made_again_by_a_retry(
    wts_connection: Emulator, context: dict[str, Any], export: Callable[..., Any]
) -> None:
    fill(wts_connection, 10, talking=2)
    first = export().execute(context)
    requests = len(wts_connection.requests)
    assert export().execute(context) == first
    assert len(wts_connection.requests) == requests


@pytest.mark.parametrize("name", ["out", "loja [1]", "50% a? * #2"])
def test_a_clear_exports_anew_and_leaves_no_old_file(
    wts_connection: Emulator,
    context: dict[str, Any],
    export: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setattr(export_module, "PART", 5)
    fill(wts_connection, 20, talking=2)
    folder = tmp_path / name
    export(output_path=f"file://{folder}").execute(context)
    (folder / "conversations-of-somebody-else.jsonl").write_text("")
    monkeypatch.setattr(export_module, "PART", 10)
    context["ti"].max_tries += 1
    export(output_path=f"file://{folder}").execute(context)
    assert ids(folder) == all_ids(wts_connection)
    assert len(list(folder.glob("conversations-*"))) == 2 + 1


def clear_and_die(
    context: dict[str, Any], export: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, owner: Any, function: str
) -> None:
    """Clear the task, and let it die where it first calls a function."""
    context["ti"].max_tries += 1
    with monkeypatch.context() as patched:
        patched.setattr(owner, function, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            export().execute(context)


def test_old_files_go_also_if_the_task_dies_before_it_removes_them(
    wts_connection: Emulator,
    context: dict[str, Any],
    export: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(wts_connection, 20, talking=2)
    export().execute(context)
    clear_and_die(context, export, monkeypatch, export_module.Export, "_remove")
    export().execute(context)
    assert ids(tmp_path / "out") == all_ids(wts_connection)


def test_a_clear_keeps_the_old_files_until_the_new_ones_are_complete(
    wts_connection: Emulator,
    context: dict[str, Any],
    export: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(wts_connection, 20, talking=2)
    first = export().execute(context)
    manifest = Path(first["manifest"].removeprefix("file://"))
    clear_and_die(context, export, monkeypatch, export_module, "write_whole")
    assert all((tmp_path / "out" / name).exists() for name in json.loads(manifest.read_text())["files"])
    export().execute(context)
    assert ids(tmp_path / "out") == all_ids(wts_connection)
    assert not manifest.exists()


def of_try(number: int, context: dict[str, Any]) -> dict[str, Any]:
    task_instance = type(context["ti"])()
    task_instance.try_number = number
    return {**context, "ti": task_instance}


class Pause:
    """Stops a try at a file, lets others run, and then goes on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: str, meanwhile: Callable[[], object]) -> None:
        write_whole = export_module.write_whole
        rename = Path.replace
        read_rows = export_module.read_rows
        glob = export_module.Export._own_files
        self.paused = False

        def pause() -> None:
            self.paused = True
            meanwhile()

        def writing(path: Any, content: bytes) -> None:
            if not self.paused and at in path.name and at != "after":
                pause()
            write_whole(path, content)

        def renaming(path: Path, target: Path) -> Path:
            if not self.paused and at.startswith("renaming ") and at.removeprefix("renaming ") in target.name:
                pause()
            return rename(path, target)

        def reading(path: Any) -> Any:
            if not self.paused and at == f"reading {path.name}":
                pause()
            return read_rows(path)

        def listing(export: Any) -> Any:
            found = glob(export)
            if not self.paused and at == "after":
                pause()
            return found

        monkeypatch.setattr(export_module, "write_whole", writing)
        monkeypatch.setattr(Path, "replace", renaming)
        monkeypatch.setattr(export_module, "read_rows", reading)
        monkeypatch.setattr(export_module.Export, "_own_files", listing)


@pytest.mark.parametrize("context_name", STORES)
@pytest.mark.parametrize(
    "at",
    [
        "00002.jsonl",
        "renaming 00002.jsonl",
        "reading 00002.jsonl",
        "conversations",
        "-00003.jsonl",
        "renaming conversations",
        "manifest",
        "renaming manifest",
        "after",
    ],
)
def test_a_try_that_was_given_up_leaves_the_files_of_its_successor_alone(
    wts_connection: Emulator,
    request: pytest.FixtureRequest,
    export: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    context_name: str,
    at: str,
) -> None:
    """The first try stands still while a second one does all the work, and goes on afterwards."""
    context = request.getfixturevalue(context_name)
    monkeypatch.setattr(export_module, "PART", 10)
    fill(wts_connection, 40, talking=5)
    finished: list[dict[str, Any]] = []
    pause = Pause(monkeypatch, at, lambda: finished.append(export().execute(of_try(2, context))))
    with pytest.raises(WtsError, match="Another try of this task has taken over"):
        export().execute(context)
    assert pause.paused
    assert ids(tmp_path / "out") == all_ids(wts_connection)
    manifest = json.loads(Path(finished[0]["manifest"].removeprefix("file://")).read_text())
    assert all((tmp_path / "out" / name).exists() for name in manifest["files"])
    # What Airflow shows after a third start is what the second try made.
    assert export().execute(of_try(3, context)) == finished[0]


def test_a_given_up_try_that_stages_a_file_while_its_successor_removes_them_does_not_fail_the_export(
    wts_connection: Emulator,
    context: dict[str, Any],
    export: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export_module, "PART", 10)
    fill(wts_connection, 40, talking=5)
    rmdir, staged = os.rmdir, [b"one", b"two"]

    def removing(path: Any, **where: Any) -> None:
        for folder in (tmp_path / "out").glob("_staging-*") if staged else ():
            (folder / "00005.jsonl").write_bytes(staged.pop())
        rmdir(path, **where)

    monkeypatch.setattr(os, "rmdir", removing)
    counts = export().execute(context)
    assert not staged
    assert counts["sessions"] == len(ids(tmp_path / "out"))
    assert not list((tmp_path / "out").glob("_staging-*"))


def test_a_run_that_was_made_again_under_its_run_id_exports_again(
    wts_connection: Emulator, context: dict[str, Any], export: Callable[..., Any], tmp_path: Path
) -> None:
    began = datetime.now(UTC)
    fill(wts_connection, 5, talking=0)
    export().execute({**context, "dag_run": SimpleNamespace(start_date=began, clear_number=0)})
    wts_connection.seed(sessions=5)
    again = SimpleNamespace(start_date=began + timedelta(hours=1), clear_number=0)
    counts = export().execute({**context, "dag_run": again})
    assert counts["sessions"] == len(wts_connection.state.sessions)
    assert ids(tmp_path / "out") == all_ids(wts_connection)


def test_files_that_somebody_removed_are_made_again(
    wts_connection: Emulator,
    context: dict[str, Any],
    export: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export_module, "PART", 10)
    fill(wts_connection, 40, talking=0)

    def remove() -> None:
        for file in (tmp_path / "out").glob("conversations-*-00001.jsonl"):
            file.unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        Pause(patched, "-00003.jsonl", remove)
        with pytest.raises(KeyboardInterrupt):
            export().execute(context)
    export().execute(context)
    assert ids(tmp_path / "out") == all_ids(wts_connection)


def test_a_worker_whose_clock_is_ahead_waits_for_the_end_of_the_interval(
    wts_connection: Emulator,
    context: dict[str, Any],
    export: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What changes after the worker's midnight, and before the one of WTS Chat, belongs to the day before."""
    fill(wts_connection, 150, talking=0)
    midnight = datetime.fromisoformat(wts_connection.state.now_text()) + timedelta(seconds=240)
    waited: list[float] = []

    really = time.sleep

    def sleep(seconds: float) -> None:
        if seconds < 60:
            # Of something else, such as the account's rate limit.
            really(seconds)
            return
        waited.append(seconds)
        wts_connection.advance(30)
        wts_connection.seed(sessions=1)
        wts_connection.advance(seconds - 30)

    monkeypatch.setattr(export_module.time, "sleep", sleep)
    export(updated_after=midnight - timedelta(hours=24), updated_before=midnight).execute(context)
    assert waited
    assert ids(tmp_path / "out") == all_ids(wts_connection)


def test_an_interval_in_the_future_is_not_waited_for(
    wts_connection: Emulator,
    context: dict[str, Any],
    export: Callable[..., Any],
    interval: dict[str, datetime],
    logged: Any,
) -> None:
    export(**interval).execute(context)
    assert "The interval ends in the future" in logged.text("warning")


def test_a_change_that_is_shown_late_is_in_the_next_interval(
    wts_connection: Emulator,
    context: dict[str, Any],
    export: Callable[..., Any],
    tmp_path: Path,
    spoil: Callable[..., None],
) -> None:
    fill(wts_connection, 20, talking=0)
    # It changes in the last minute, and the list shows it only after that interval was exported.
    wts_connection.advance(3600 - 30)
    before = set(all_ids(wts_connection))
    wts_connection.seed(sessions=1)
    (hidden,) = set(all_ids(wts_connection)) - before
    wts_connection.advance(30)
    midnight = datetime.fromisoformat(wts_connection.state.now_text())
    is_late = True

    def change(page: Any) -> Any:
        if not is_late:
            return page
        items = [item for item in page["items"] if item["id"] != hidden]
        return {**page, "items": items, "totalItems": page["totalItems"] - len(page["items"]) + len(items)}

    spoil(change)
    export(updated_after=midnight - timedelta(hours=24), updated_before=midnight).execute(context)
    assert hidden not in ids(tmp_path / "out")
    is_late = False
    wts_connection.advance(3600)
    context["ti"].run_id = "the next one"
    export(updated_after=midnight, updated_before=midnight + timedelta(hours=1)).execute(context)
    assert ids(tmp_path / "out").count(hidden) == 1


def test_a_session_that_is_deleted_meanwhile_keeps_its_row(
    wts_connection: Emulator,
    context: dict[str, Any],
    export: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    logged: Any,
) -> None:
    fill(wts_connection, 5, talking=2)
    expected = all_ids(wts_connection)
    perform = WtsClient.perform

    def deleting(self: WtsClient, call: Any, **more: Any) -> Any:
        if call.operation_id == "list_messages":
            raise WtsNotFoundError("There is no such session.")
        return perform(self, call, **more)

    monkeypatch.setattr(WtsClient, "perform", deleting)
    export().execute(context)
    assert ids(tmp_path / "out") == expected
    assert "was deleted during the export" in logged.text("warning")


def test_an_object_store_is_exported_to(
    wts_connection: Emulator,
    context: dict[str, Any],
    export: Callable[..., Any],
    object_store: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export_module, "PART", 10)
    fill(wts_connection, 40, talking=2)
    export(output_path="memory://exports/conversations").execute(context)
    context["ti"].max_tries += 1
    manifest = export(output_path="memory://exports/conversations").execute(context)
    names = json.loads(object_store.cat(manifest["manifest"].removeprefix("memory:/")))["files"]
    found = [
        json.loads(row)["id"]
        for name in names
        for row in object_store.cat(f"/exports/conversations/{name}").splitlines()
    ]
    assert sorted(found) == all_ids(wts_connection)
    there = {path.rsplit("/", 1)[-1] for path in object_store.ls("/exports/conversations", detail=False)}
    assert there == {*names, manifest["manifest"].rsplit("/", 1)[-1], "_state"}


def test_runs_that_share_a_folder_leave_each_other_alone(
    wts_connection: Emulator, context: dict[str, Any], export: Callable[..., Any], tmp_path: Path
) -> None:
    fill(wts_connection, 10, talking=0)
    export().execute(context)
    context["ti"].run_id = "another"
    export().execute(context)
    assert len(rows(tmp_path / "out")) == 2 * len(wts_connection.state.sessions)


def test_the_data_interval_counts_where_no_bounds_are_given(
    wts_connection: Emulator, context: dict[str, Any], export: Callable[..., Any], tmp_path: Path
) -> None:
    fill(wts_connection, 10, talking=0)
    changed = [one.updated for one in wts_connection.state.sessions.by_creation()]
    begin, end = (datetime.fromisoformat(wts_connection.clock.text(ticks)) for ticks in (changed[3], changed[7]))
    context |= {"data_interval_start": begin, "data_interval_end": end}
    export(updated_after=None, updated_before=None, overlap=0).execute(context)
    # The begin belongs to the interval, the end does not.
    assert ids(tmp_path / "out") == sorted(one.id for one in wts_connection.state.sessions.by_creation()[3:7])


@pytest.mark.parametrize("bounds", ["inclusive", "exclusive"])
@pytest.mark.parametrize("date", ["moves", "stays"])
def test_it_copes_with_every_reading_of_the_dates(
    wts_connection: Emulator,
    context: dict[str, Any],
    export: Callable[..., Any],
    tmp_path: Path,
    bounds: str,
    date: str,
) -> None:
    wts_connection.seed(sessions=10)
    wts_connection.advance(3600)
    wts_connection.switches.change({"date_bounds": bounds, "messages_touch_session": date == "moves"})
    wts_connection.switches.answered_session_status = "PENDING"
    now = datetime.fromisoformat(wts_connection.state.now_text())
    (session,) = [one for one in wts_connection.state.sessions.by_creation() if one["status"] == "IN_PROGRESS"][:1]
    wts_connection.contact_writes(session.contact["phoneNumber"], "Olá")
    wts_connection.advance(60)
    export(updated_after=now - timedelta(minutes=1), updated_before=now + timedelta(minutes=1)).execute(context)
    assert ids(tmp_path / "out") == [session.id]


@pytest.mark.parametrize("switch", [{}, {"metadata_in_session_list": False}, {"metadata_needs_details": True}])
def test_metadata_comes_along_even_where_the_list_leaves_it_out(
    wts_connection: Emulator,
    context: dict[str, Any],
    export: Callable[..., Any],
    tmp_path: Path,
    switch: dict[str, bool],
) -> None:
    wts_connection.switches.change(switch)
    wts_connection.seed(sessions=[{"contact": "+55|11999990001", "metadata": {"fatura": "118"}}])
    export().execute(context)
    assert [row["metadata"] for row in rows(tmp_path / "out")] == [{"fatura": "118"}]


@pytest.mark.parametrize("deleted", [1, 5])
def test_sessions_that_are_deleted_before_their_metadata_is_read_do_not_end_the_export(
    wts_connection: Emulator,
    context: dict[str, Any],
    export: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    deleted: int,
) -> None:
    wts_connection.switches.change({"metadata_in_session_list": False})
    wts_connection.seed(sessions=[{"contact": "+55|11999990001", "metadata": {"fatura": "118"}}] * 10)
    expected = all_ids(wts_connection)
    gone: set[str] = set()
    perform = WtsClient.perform

    def deleting(self: WtsClient, call: Any, **more: Any) -> Any:
        if call.operation_id == "get_session" and len(gone) < deleted:
            sessions = wts_connection.state.sessions
            sessions.remove(next(one for one in sessions.by_creation() if one.id == call.path["id"]))
            gone.add(call.path["id"])
        return perform(self, call, **more)

    monkeypatch.setattr(WtsClient, "perform", deleting)
    export().execute(context)
    found = rows(tmp_path / "out")
    assert sorted(row["id"] for row in found) == expected
    assert {row["id"] for row in found if not row.get("metadata")} == gone


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Any], Any]], None]:
    """Change the pages of sessions on their way."""
    monkeypatch.setattr(pagination, "SETTLE_SECONDS", 0)

    def spoil(change: Callable[[Any], Any]) -> None:
        perform = WtsClient.perform

        def spoiled(self: WtsClient, call: Any, **more: Any) -> Any:
            answer = perform(self, call, **more)
            return change(answer) if call.operation_id == "list_sessions" else answer

        monkeypatch.setattr(WtsClient, "perform", spoiled)

    return spoil


def test_a_session_that_takes_the_place_of_another_hides_none(
    wts_connection: Emulator,
    context: dict[str, Any],
    export: Callable[..., Any],
    tmp_path: Path,
    spoil: Callable[..., None],
) -> None:
    """One leaves the list, one comes: as many are seen as are counted, and yet one of them was on no page."""
    fill(wts_connection, 250, talking=0)
    sessions = wts_connection.state.sessions
    removed: list[str] = []

    def change(page: Any) -> Any:
        if not removed:
            removed.append(page["items"][0]["id"])
            sessions.remove(sessions.find(removed[0]))
            wts_connection.seed(sessions=1)
        return page

    spoil(change)
    export().execute(context)
    assert set(all_ids(wts_connection)) <= set(ids(tmp_path / "out"))


@pytest.mark.parametrize(
    "change",
    [
        lambda page: {**page, "items": page["items"][1:]},
        lambda page: {**page, "items": [] if page["pageNumber"] == 2 else page["items"]},
        lambda page: {**page, "hasMorePages": False, "totalItems": 953},
        lambda page: {**page, "items": None},
    ],
)
def test_a_list_that_shows_less_than_it_counts_is_left_to_the_next_try(
    wts_connection: Emulator,
    context: dict[str, Any],
    export: Callable[..., Any],
    tmp_path: Path,
    spoil: Callable[..., None],
    change: Any,
) -> None:
    fill(wts_connection, 150, talking=0)
    export().execute(context)
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir() if file.is_file()}
    spoil(change)
    context["ti"].max_tries += 1
    with pytest.raises(WtsIncompleteListError, match="may be incomplete"):
        export().execute(context)
    after = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir() if file.is_file()}
    assert after == before
    assert not list((tmp_path / "out").glob("_staging*"))


def test_a_session_without_an_id_is_an_error(
    wts_connection: Emulator, context: dict[str, Any], export: Callable[..., Any], spoil: Callable[..., None]
) -> None:
    fill(wts_connection, 3, talking=0)
    spoil(lambda page: {**page, "items": [{**page["items"][0], "id": None}, *page["items"][1:]]})
    with pytest.raises(WtsError, match="list_sessions: WTS Chat's answer has no 'id'"):
        export().execute(context)


@pytest.mark.parametrize("hide", [lambda row, name: row.pop(name, None), lambda row, name: row.update({name: None})])
def test_messages_come_along_even_where_the_list_leaves_out_what_shows_them(
    wts_connection: Emulator,
    context: dict[str, Any],
    export: Callable[..., Any],
    spoil: Callable[..., None],
    hide: Callable[[dict[str, Any], str], Any],
) -> None:
    fill(wts_connection, 5, talking=2)

    def change(page: Any) -> Any:
        for row in page["items"]:
            for name in ("lastMessageIn", "lastMessageOut", "lastMessageText"):
                hide(row, name)
        return page

    spoil(change)
    assert export().execute(context)["messages"] == 2


def test_messages_can_be_left_out(
    wts_connection: Emulator, context: dict[str, Any], export: Callable[..., Any]
) -> None:
    fill(wts_connection, 5, talking=2)
    assert export(include_messages="false").execute(context)["messages"] == 0
    assert not wts_connection.requests_of("list_messages")


def test_nothing_to_export_is_an_empty_manifest(
    wts_connection: Emulator, context: dict[str, Any], export: Callable[..., Any]
) -> None:
    counts = export().execute(context)
    assert (counts["parts"], counts["sessions"], counts["messages"]) == (0, 0, 0)
    assert json.loads(Path(counts["manifest"].removeprefix("file://")).read_text())["files"] == []


@pytest.mark.parametrize(
    "count", [2**63, -(2**63) - 1, True, "3", None, 2.5], ids=["large", "small", "bool", "text", "null", "fraction"]
)
def test_parquet_takes_any_count(
    wts_connection: Emulator,
    context: dict[str, Any],
    export: Callable[..., Any],
    tmp_path: Path,
    spoil: Callable[..., None],
    count: Any,
) -> None:
    from pyarrow import parquet

    fill(wts_connection, 1, talking=0)
    spoil(lambda page: {**page, "items": [{**item, "unreadCount": count} for item in page["items"]]})
    export(file_format="parquet").execute(context)
    (file,) = (tmp_path / "out").glob("*.parquet")
    (row, *_) = parquet.read_table(file).to_pylist()
    assert row["unreadCount"] is None
    assert count is None or json.loads(row["other"])["unreadCount"] == count


def test_parquet_has_columns_with_types(
    wts_connection: Emulator, context: dict[str, Any], export: Callable[..., Any], tmp_path: Path
) -> None:
    from pyarrow import parquet

    wts_connection.switches.extra_properties = True
    wts_connection.contact_writes("+55|11999990001", "Olá")
    fill(wts_connection, 5, talking=0)
    counts = export(file_format="parquet").execute(context)
    (file,) = (tmp_path / "out").glob("*.parquet")
    found = parquet.read_table(file).to_pylist()
    assert len(found) == counts["sessions"]
    (row,) = (one for one in found if one["messages"])
    assert row["createdAt"].tzinfo is not None
    assert json.loads(row["contactDetails"])["name"] == "Carla Dias"
    assert row["messages"][0]["text"] == "Olá"
    assert row["unreadCount"] == 1
    # What the contract does not know is kept.
    assert json.loads(row["other"])


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"output_path": ""}, "output_path: is empty"),
        ({"output_path": "nowhere://x/y"}, "cannot be written to"),
        ({"output_path": "/etc/hostname"}, "output_path: '/etc/hostname' is a file"),
        ({"output_path": "/etc/hostname/out"}, "cannot be written to: Not a directory"),
        ({"output_path": "/tmp/a\0b"}, r"output_path: contains the control character U\+0000"),
        ({"output_path": "/tmp/" + "x" * 300}, "cannot be written to: File name too long"),
        ({"overlap": -1}, "overlap"),
        ({"overlap": "soon"}, "overlap"),
        ({"file_format": "csv"}, "file_format: 'csv' is not a valid value"),
        ({"updated_after": None}, "updated_after: is empty, and this run has no data interval"),
        ({"updated_after": "2030-01-01T00:00:00Z"}, "is not before updated_before"),
        ({"include_details": "Everything"}, "include_details"),
    ],
    ids=str,
)
def test_impossible_input_is_refused_without_a_call(
    wts_connection: Emulator,
    context: dict[str, Any],
    export: Callable[..., Any],
    parameters: dict[str, Any],
    words: str,
) -> None:
    with pytest.raises(AirflowFailException, match=words):
        export(**parameters).execute(context)
    assert wts_connection.requests == []


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_sessions_and_messages_go_into_tables_and_a_second_run_changes_no_count(
    wts_connection: Emulator, context: dict[str, Any], export: Any, database: Any, file_format: str, tmp_path: Path
) -> None:
    fill(wts_connection, 120, talking=7, messages=2)
    tables = {"sessions_table": database.table, "messages_table": database.other, "tables_conn_id": "wts_db"}
    for run in ("one", "two"):
        context["ti"].run_id = run
        counts = export(file_format=file_format, output_path=f"file://{tmp_path}/{run}", **tables).execute(context)
        (sessions,), (messages,) = database("SELECT COUNT(*) FROM TABLE_NAME UNION ALL SELECT COUNT(*) FROM OTHER_NAME")
        assert (counts["sessions"], counts["messages"]) == (sessions, messages) == (len(all_ids(wts_connection)), 14)
    joined = (
        "SELECT s.id, s.created_at, s.contact_details, m.text FROM TABLE_NAME s "
        "JOIN OTHER_NAME m ON m.session_id = s.id WHERE m.text = 'Mensagem 1' ORDER BY s.id"
    )
    found = database(joined)
    assert len(found) == 7
    session_id, created, contact, _ = found[0]
    session = wts_connection.state.sessions.find(session_id)
    created = datetime.fromisoformat(created) if isinstance(created, str) else created
    created = created if created.tzinfo else created.replace(tzinfo=UTC)
    expected = datetime.fromisoformat(wts_connection.clock.text(session.created))
    assert abs(created - expected) < timedelta(microseconds=2)
    assert json.loads(contact)["id"] == session.contact.id


@pytest.mark.parametrize("date", ["0001-01-01T00:00:00", "0001-01-01T00:00:00+03:00", "2026-13-01", ""])
def test_a_date_that_is_none_is_missing_in_the_table(
    wts_connection: Emulator, context: dict[str, Any], export: Any, database: Any, spoil: Any, date: str
) -> None:
    fill(wts_connection, 2, talking=0)
    spoil(lambda page: {**page, "items": [{**item, "endAt": date} for item in page["items"]]})
    export(sessions_table=database.table, tables_conn_id="wts_db", include_messages=False).execute(context)
    assert [tuple(row) for row in database("SELECT end_at FROM TABLE_NAME")] == [(None,), (None,)]


@pytest.mark.parametrize("date", ["0001-01-01T00:00:00", "0001-01-01T00:00:00+03:00", None])
def test_a_session_whose_dates_are_missing_counts_as_inside_because_it_was_listed(
    wts_connection: Emulator, context: dict[str, Any], export: Any, tmp_path: Path, spoil: Any, date: str | None
) -> None:
    fill(wts_connection, 2, talking=0)
    dates = {"updatedAt": date, "lastInteractionDate": date}
    spoil(lambda page: {**page, "items": [{**item, **dates} for item in page["items"]]})
    export(include_messages=False).execute(context)
    assert ids(tmp_path / "out") == all_ids(wts_connection)


def test_tables_are_made_though_there_is_no_session_yet(
    wts_connection: Emulator, context: dict[str, Any], export: Any, database: Any
) -> None:
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    tables = {"sessions_table": database.table, "messages_table": database.other, "tables_conn_id": "wts_db"}
    export(updated_after=begin, updated_before=begin + timedelta(days=1), **tables).execute(context)
    assert database("SELECT COUNT(*) FROM TABLE_NAME UNION ALL SELECT COUNT(*) FROM OTHER_NAME") == [(0,), (0,)]


def test_a_table_of_other_columns_is_refused_before_anything_is_read(
    wts_connection: Emulator, context: dict[str, Any], export: Any, database: Any
) -> None:
    database.write("CREATE TABLE TABLE_NAME (x INTEGER)")
    with pytest.raises(AirflowFailException, match=r"messages_table: .*Nothing was read\. Change the table"):
        export(messages_table=database.table, tables_conn_id="wts_db").execute(context)
    assert list(wts_connection.requests) == []


def test_a_try_that_goes_on_leaves_what_was_read_later(
    wts_connection: Emulator, context: dict[str, Any], export: Any, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_wts.hooks import tables

    fill(wts_connection, 5, talking=1)
    given = {"sessions_table": database.table, "tables_conn_id": "wts_db"}
    replace = tables.Table.replace
    monkeypatch.setattr(tables.Table, "replace", lambda *_: (_ for _ in ()).throw(WtsError("The worker goes away.")))
    with pytest.raises(WtsError, match="goes away"):
        export(**given).execute(context)
    monkeypatch.setattr(tables.Table, "replace", replace)
    talker = next(one for one in wts_connection.state.sessions.by_creation() if one["status"] != "COMPLETED")
    wts_connection.contact_writes(talker.contact["phoneNumber"], "Sim")
    later = type(context["ti"])()
    later.run_id = "later"
    export(**given).execute({**context, "ti": later})
    export(**given).execute(context)
    assert database(f"SELECT last_message_text FROM TABLE_NAME WHERE id = '{talker.id}'") == [("Sim",)]
    assert database("SELECT COUNT(*) FROM TABLE_NAME") == [(5,)]


def test_a_try_that_was_given_up_leaves_the_rows_of_its_successor_alone(
    wts_connection: Emulator,
    context: dict[str, Any],
    export: Any,
    database: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    fill(wts_connection, 5, talking=1)
    given = {"messages_table": database.table, "tables_conn_id": "wts_db"}
    (message,) = (one for session in wts_connection.state.sessions.by_creation() for one in session.messages)

    def meanwhile() -> None:
        # Without a new update date.
        message["status"] = "READ"
        export(**given).execute(of_try(2, context))

    Pause(monkeypatch, "conversations", meanwhile)
    with pytest.raises(WtsError, match="Another try of this task has taken over"):
        export(**given).execute(context)
    assert database("SELECT status FROM TABLE_NAME") == [("READ",)]
    assert ids(tmp_path / "out") == all_ids(wts_connection)


def test_a_killed_export_writes_each_row_into_its_table_once(
    wts_connection: Emulator, context: dict[str, Any], export: Any, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_wts.hooks import tables

    fill(wts_connection, 250, talking=3)
    given = {"sessions_table": database.table, "tables_conn_id": "wts_db"}
    replace, left = tables.Table.replace, [3]

    def dies(self: Any, rows: Any) -> None:
        replace(self, rows)
        left[0] -= 1
        if left[0] in (0, 1):
            raise WtsError("The worker goes away.")

    monkeypatch.setattr(tables.Table, "replace", dies)
    for _ in range(2):
        with pytest.raises(WtsError, match="goes away"):
            export(**given).execute(context)
    export(**given).execute(context)
    assert [tuple(row) for row in database("SELECT COUNT(*) FROM TABLE_NAME")] == [(len(all_ids(wts_connection)),)]


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"sessions_table": "s"}, "sessions_table, tables_conn_id: give both of them"),
        ({"messages_table": "m; drop", "tables_conn_id": "wts_default"}, "is not a valid table name"),
        ({"messages_table": "m", "tables_conn_id": "wts_db", "include_messages": False}, "needs include_messages"),
    ],
)
def test_tables_that_cannot_be_are_refused_before_anything_is_read(
    wts_connection: Emulator, context: dict[str, Any], export: Any, database: Any, parameters: Any, problem: str
) -> None:
    with pytest.raises(AirflowFailException, match=problem):
        export(**parameters).execute(context)
    assert list(wts_connection.requests) == []
