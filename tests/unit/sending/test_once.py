"""One send, exactly once: over tries, clears, lost answers and a ledger that fails."""

from __future__ import annotations

import logging
import os
import re
import threading
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wts.api import sends, transport
from airflow_provider_wts.api.addresses import readable
from airflow_provider_wts.api.chatbots import send_chatbot
from airflow_provider_wts.api.errors import (
    WtsError,
    WtsInvalidRequestError,
    WtsNotSentError,
    WtsRateLimitError,
    WtsRejectedError,
    WtsUnknownOutcomeError,
)
from airflow_provider_wts.emulator.clock import TICKS
from airflow_provider_wts.hooks.errors import is_final
from airflow_provider_wts.sending import clock, ledger, reconcile
from airflow_provider_wts.sending import once as once_module
from airflow_provider_wts.sending.ledger import HEADER, HOLDER
from airflow_provider_wts.sending.once import Once
from airflow_provider_wts.sending.reconcile import Finding, InSession, SearchResult, effect_lag

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_wts.emulator.running import Emulator
    from airflow_provider_wts.hooks.wts import WtsHook
    from airflow_provider_wts.sending.key import Mark

PHONE = "+55|11999998888"
CHANNEL = "+55|1140028922"


class Sender:
    """Sends to a customer, in tries of a task."""

    def __init__(self, hook: WtsHook, emulator: Emulator, bot_key: str) -> None:
        self.hook, self.emulator, self.bot_key = hook, emulator, bot_key

    def chatbot(self, context: dict[str, Any], *, to: str = PHONE, permit: Any = None, **how: Any) -> Any:
        def build(mark: Mark) -> Any:
            return send_chatbot(bot_key=self.bot_key, to=to, session_metadata=mark.metadata(), sender_id=mark.key)

        once = Once(self.hook, context, **how)
        more = {} if permit is None else {"before_send": permit}
        return once.send(to, build, InSession(recipient=to, by_metadata=True), **more)

    def text(self, context: dict[str, Any], *, marked: bool = True, text: str = "Olá", **how: Any) -> Any:
        def build(mark: Mark) -> Any:
            return sends.send_text(text, to=PHONE, sender_id=mark.key)

        once = Once(self.hook, context, **how)
        return once.send(PHONE, build, InSession(recipient=PHONE, by_sender=True) if marked else None)

    @property
    def received(self) -> int:
        return len(self.emulator.received(PHONE))

    @property
    def asked(self) -> list[str | None]:
        return [request.operation_id for request in self.emulator.requests]


@pytest.fixture(autouse=True)
def _requests_have_no_late_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_wts.sending.reconcile.effect_lag", lambda timeout: 0.0)


@pytest.fixture
def sender(hook: WtsHook, emulator: Emulator, bot_key: str) -> Sender:
    return Sender(hook, emulator, bot_key)


@pytest.fixture(params=["ledger", "no ledger"])
def any_task(request: pytest.FixtureRequest, task: Any, make_task: Any) -> Any:
    """A task on an Airflow with a ledger, and one without."""
    return task if request.param == "ledger" else make_task()


def intent(task: Any) -> dict[str, Any] | None:
    entries = task.store.get(HEADER)["sends"]
    return next(iter(entries.values())) if entries else None


# When nothing goes wrong ----------------------------------------------------------------------------------------------


def test_a_send_costs_one_request_and_four_writes(sender: Sender, any_task: Any) -> None:
    sender.chatbot(any_task.next_try())
    assert sender.asked == ["send_chatbot"]
    assert sender.received == 1
    if any_task.store:
        # The holder and the header, which later tries miss if they are not there; the intent; the receipt.
        assert (any_task.store.writes[HOLDER], any_task.store.writes[HEADER]) == (1, 3)


def test_the_intent_is_written_before_the_request_goes_out(sender: Sender, task: Any) -> None:
    written: list[Any] = []
    run = sender.hook.run
    sender.hook.run = lambda call, **more: (written.append(intent(task)), run(call, **more))[1]  # type: ignore[method-assign]
    sender.chatbot(task.next_try())
    assert "intent" in written[0]
    assert "receipt" not in written[0]


def test_a_retry_returns_the_receipt_and_asks_nobody(sender: Sender, task: Any) -> None:
    first = sender.chatbot(task.next_try())
    assert sender.chatbot(task.next_try()) == first
    assert sender.asked == ["send_chatbot"]


def test_without_a_ledger_a_retry_finds_the_send_and_returns_its_session(sender: Sender, make_task: Any) -> None:
    task = make_task()
    first = sender.chatbot(task.next_try())
    assert sender.chatbot(task.next_try())["id"] == first["id"]
    assert sender.received == 1


def test_a_content_that_changed_is_no_second_message(
    sender: Sender, task: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sender.text(task.next_try(), text="Agora são 10:00")
    sender.text(task.next_try(), text="Agora são 10:05")
    assert sender.received == 1
    assert "has changed since an earlier try" in caplog.text


def test_each_recipient_of_a_task_is_a_send_of_its_own(sender: Sender, task: Any) -> None:
    context = task.next_try()
    sender.chatbot(context)
    sender.chatbot(context, to="+55|11977776666")
    assert sender.received == 1
    assert len(sender.emulator.received("+55|11977776666")) == 1


# The clock of this machine --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["text", "chatbot"])
@pytest.mark.parametrize("hours", [3, -3])
def test_a_clock_that_is_wrong_by_hours_sends_nothing_twice(
    sender: Sender, any_task: Any, kind: str, hours: int
) -> None:
    sender.emulator.clock._base -= hours * 3600 * TICKS
    sender.emulator.faults.add("reset", when="after", operation_id=f"send_{kind}")
    for _ in range(2):
        getattr(sender, kind)(any_task.next_try())
    assert sender.received == 1


class ThreeHoursAhead(datetime):
    """The clock of a machine that has just started, until it is set."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.now(tz) + timedelta(hours=3)


@pytest.mark.parametrize("kind", ["text", "chatbot"])
def test_a_clock_that_is_set_back_after_a_crash_sends_nothing_twice(
    sender: Sender, task: Any, crash: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, crash("after the call"):
        patch.setattr(once_module, "datetime", ThreeHoursAhead)
        getattr(sender, kind)(task.next_try())
    getattr(sender, kind)(task.next_try())
    assert sender.received == 1


def test_a_clock_that_is_set_back_while_an_answer_is_lost_sends_nothing_twice(
    sender: Sender, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender.emulator.faults.add("reset", when="after", operation_id="send_text")
    with monkeypatch.context() as patch:
        patch.setattr(once_module, "datetime", ThreeHoursAhead)
        sender.text(task.next_try())
    assert sender.received == 1


# Clears ---------------------------------------------------------------------------------------------------------------


def test_a_clear_after_success_sends_again(sender: Sender, task: Any) -> None:
    sender.chatbot(task.next_try())
    task.clear()
    sender.chatbot(task.next_try())
    assert sender.received == 2


@pytest.mark.parametrize(("finished", "received"), [(False, 1), (True, 2)])
def test_a_task_with_more_to_do_is_finished_when_it_says_so(
    sender: Sender, task: Any, finished: bool, received: int
) -> None:
    def build(mark: Mark) -> Any:
        return sends.send_text("Olá", to=PHONE, sender_id=mark.key)

    for _ in range(2):
        once = Once(sender.hook, task.next_try())
        once.send(PHONE, build, InSession(recipient=PHONE, by_sender=True), last=False)
        if finished:
            once.finish()
        task.clear()
    assert sender.received == received


def test_the_ledger_keeps_no_word_of_a_message(sender: Sender, task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"id": "x", "status": "SENT", "text": "Olá, Maria", "parts": [{"caption": "de Maria", "pages": 2}]}
    monkeypatch.setattr(sender.hook, "run", lambda call, **more: answer, raising=False)
    assert sender.text(task.next_try()) is answer
    assert "Maria" not in "".join(task.store.values.values())
    kept = {"id": "x", "status": "SENT", "text": None, "parts": [{"caption": None, "pages": 2}]}
    assert sender.text(task.next_try()) == kept


def test_a_clear_after_success_sends_nothing_without_a_ledger(sender: Sender, make_task: Any) -> None:
    task = make_task()
    sender.chatbot(task.next_try())
    task.clear()
    sender.chatbot(task.next_try())
    assert sender.received == 1


def test_on_clear_continue_sends_nothing(sender: Sender, task: Any) -> None:
    sender.chatbot(task.next_try())
    task.clear()
    sender.chatbot(task.next_try(), on_clear="continue")
    assert sender.received == 1


def test_a_clear_after_a_crash_goes_on_where_it_stopped(sender: Sender, task: Any, crash: Any) -> None:
    with crash("after the call"):
        sender.chatbot(task.next_try())
    task.clear(retries=2)
    sender.chatbot(task.next_try())
    task.next_try()
    sender.chatbot(task.next_try())
    assert sender.received == 1


def test_edited_retries_are_no_clear(sender: Sender, task: Any) -> None:
    # Airflow leaves max_tries alone when somebody edits the DAG's retries between two tries.
    sender.chatbot(task.next_try())
    context = task.next_try()
    context["task"] = SimpleNamespace(retries=17)
    sender.chatbot(context)
    assert sender.received == 1


def test_on_clear_resend_needs_a_ledger(sender: Sender, make_task: Any) -> None:
    with pytest.raises(WtsInvalidRequestError, match="ledger_path"):
        sender.chatbot(make_task().next_try(), on_clear="resend")


@pytest.mark.parametrize("how", [{"on_unknown": "ask"}, {"on_clear": "never"}], ids=str)
def test_a_choice_that_is_none_is_refused(sender: Sender, task: Any, how: dict[str, Any]) -> None:
    with pytest.raises(WtsInvalidRequestError, match="must be '"):
        sender.chatbot(task.next_try(), **how)
    assert sender.asked == []


# Crashes --------------------------------------------------------------------------------------------------------------


class Crash(BaseException):
    """The end of a process."""


@pytest.fixture
def crash(sender: Sender) -> Callable[[str], Any]:
    """Let the process end around the call."""
    run = sender.hook.run

    class Crashing:
        def __init__(self, when: str) -> None:
            self._when = when

        def __enter__(self) -> None:
            def crashing(call: Any, **more: Any) -> Any:
                if self._when == "after the call":
                    run(call, **more)
                raise Crash

            sender.hook.run = crashing  # type: ignore[method-assign]

        def __exit__(self, kind: Any, error: Any, traceback: Any) -> bool:
            sender.hook.run = run  # type: ignore[method-assign]
            return kind is Crash

    return Crashing


@pytest.mark.parametrize("kind", ["chatbot", "text"])
@pytest.mark.parametrize("when", ["before the call", "after the call"])
def test_after_a_crash_each_customer_has_one_message(
    sender: Sender, any_task: Any, crash: Any, when: str, kind: str
) -> None:
    with crash(when):
        getattr(sender, kind)(any_task.next_try())
    assert sender.received == (when == "after the call")
    getattr(sender, kind)(any_task.next_try())
    assert sender.received == 1


class Disk:
    """A disk that keeps, over a power failure, only what was written through to it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        # The content of files by inode, and the inodes of the names in folders.
        self._contents: dict[int, bytes] = {}
        self._names: dict[Path, dict[str, int]] = {}
        monkeypatch.setattr(os, "fsync", lambda descriptor: self._keep(Path(f"/proc/self/fd/{descriptor}").resolve()))

    def writes_back(self) -> None:
        """Write everything so far, as an operating system does every few seconds."""
        for path in [self._folder, *self._folder.rglob("*")]:
            self._keep(path)

    def _keep(self, path: Path) -> None:
        if path.is_dir():
            self._names[path] = {one.name: one.stat().st_ino for one in path.iterdir()}
        else:
            self._contents[path.stat().st_ino] = path.read_bytes()

    def fails(self) -> None:
        for folder in [path for path in self._folder.rglob("*") if path.is_dir()]:
            kept = self._names.get(folder, {}) if folder.name in self._names.get(folder.parent, {}) else {}
            for file in folder.iterdir():
                file.unlink()
            for name, inode in kept.items():
                (folder / name).write_bytes(self._contents.get(inode, b""))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs the names of open files")
@pytest.mark.parametrize("opened", ["long before", "just before"])
def test_after_a_power_failure_each_customer_has_one_message(
    sender: Sender, make_task: Any, crash: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, opened: str
) -> None:
    monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", f"file://{tmp_path}")
    disk, task = Disk(tmp_path, monkeypatch), make_task()
    with crash("after the call"):
        sender.chatbot(task.next_try(), permit=disk.writes_back if opened == "long before" else None)
    disk.fails()
    sender.chatbot(task.next_try())
    assert sender.received == 1


def test_after_a_crash_a_send_without_a_mark_stops_and_names_whom_to_look_at(
    sender: Sender, any_task: Any, crash: Any
) -> None:
    with crash("after the call"):
        sender.text(any_task.next_try(), marked=False)
    with pytest.raises(WtsUnknownOutcomeError) as caught:
        sender.text(any_task.next_try(), marked=False)
    assert readable(PHONE) in str(caught.value)
    assert "Check the conversation in WTS Chat" in str(caught.value)
    assert "on_unknown='resend'" in str(caught.value)
    assert is_final(caught.value)
    assert sender.received == 1


def test_on_unknown_resend_sends_what_nobody_knows(sender: Sender, any_task: Any, crash: Any) -> None:
    with crash("before the call"):
        sender.text(any_task.next_try(), marked=False)
    sender.text(any_task.next_try(), marked=False, on_unknown="resend")
    assert sender.received == 1


def name_to_resend(sender: Sender, any_task: Any, crash: Any) -> str:
    """Let the outcome of a send be unknown, and return what its error tells a person to write into the Variable."""
    with crash("before the call"):
        sender.text(any_task.next_try(), marked=False)
    with pytest.raises(WtsUnknownOutcomeError) as caught:
        sender.text(any_task.next_try(), marked=False)
    name = re.search(r"add (\S+) to the Airflow Variable 'wts_resend'", str(caught.value))
    assert name is not None
    any_task.clear()
    return name[1]


@pytest.mark.parametrize(("named", "is_sent"), [("{}", True), ("x/y/z,\n{} ", True), ("{}0", False), ("", False)])
def test_a_person_resends_by_the_variable_that_the_error_names(
    sender: Sender, any_task: Any, crash: Any, monkeypatch: pytest.MonkeyPatch, named: str, is_sent: bool
) -> None:
    name = name_to_resend(sender, any_task, crash)
    monkeypatch.setenv("AIRFLOW_VAR_WTS_RESEND", named.format(name))
    if is_sent:
        sender.text(any_task.next_try(), marked=False)
    else:
        with pytest.raises(WtsUnknownOutcomeError):
            sender.text(any_task.next_try(), marked=False)
    assert sender.received == is_sent


def test_the_variable_of_a_person_resends_once_and_not_what_is_lost_after_that(
    sender: Sender, any_task: Any, crash: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = name_to_resend(sender, any_task, crash)
    monkeypatch.setenv("AIRFLOW_VAR_WTS_RESEND", name)
    sender.emulator.faults.add("reset", when="after", operation_id="send_text", times=None)
    with pytest.raises(WtsUnknownOutcomeError, match="It was not resent") as caught:
        sender.text(any_task.next_try(), marked=False)
    assert is_final(caught.value)
    assert sender.received == 1


def test_the_variable_of_a_person_does_not_resend_what_a_try_left_after_the_clear(
    sender: Sender, task: Any, crash: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_WTS_RESEND", name_to_resend(sender, task, crash))
    with crash("after the call"):
        sender.text(task.next_try(), marked=False)
    with pytest.raises(WtsUnknownOutcomeError, match="It was not resent"):
        sender.text(task.next_try(), marked=False)
    assert sender.received == 1
    # Only a person who looks again, and clears it again, has it sent once more.
    task.clear()
    sender.text(task.next_try(), marked=False)
    assert sender.received == 2


def test_an_undecided_send_stays_undecided_at_every_later_try(sender: Sender, task: Any, crash: Any) -> None:
    sender.emulator.switches.change({"session_metadata": "replace"})
    with crash("after the call"):
        sender.chatbot(task.next_try())
    sender.hook.run(send_chatbot(bot_key=sender.bot_key, to=PHONE, session_metadata={"x": 1}))
    for _ in range(3):
        with pytest.raises(WtsUnknownOutcomeError, match="1 session"):
            sender.chatbot(task.next_try())
        task.clear()
    assert sender.received == 2


def test_an_intent_of_unreadable_time_is_searched_for_from_the_begin_of_the_run(
    sender: Sender, task: Any, crash: Any
) -> None:
    with crash("after the call"):
        sender.chatbot(task.next_try())
    header = task.store.get(HEADER)
    next(iter(header["sends"].values()))["intent"] = "?"
    task.store.set(HEADER, header)
    # Found by its session's change alone: the mark is gone.
    for session in sender.emulator.state.sessions.by_creation():
        session["metadata"] = {}
    with pytest.raises(WtsUnknownOutcomeError):
        sender.chatbot(task.next_try())
    assert sender.received == 1


@pytest.mark.parametrize("finished", [True, False])
def test_a_clear_that_sends_again_warns_how_to_prevent_it(
    sender: Sender, task: Any, crash: Any, caplog: pytest.LogCaptureFixture, finished: bool
) -> None:
    if finished:
        # The task may have failed only after that; nothing shows it.
        sender.chatbot(task.next_try())
    else:
        with crash("after the call"):
            sender.chatbot(task.next_try())
    task.clear()
    sender.chatbot(task.next_try())
    assert ("on_clear='continue', which sends nothing again" in caplog.text) == finished
    assert sender.received == (2 if finished else 1)


def test_continue_is_refused_where_success_deletes_the_ledger(
    sender: Sender, task: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW__STATE_STORE__CLEAR_ON_SUCCESS", "True")
    with pytest.raises(WtsInvalidRequestError, match=r"on_clear: 'continue' .*clear_on_success.* Nothing was sent"):
        sender.chatbot(task.next_try(), on_clear="continue")
    assert sender.received == 0
    monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", f"file://{tmp_path}")
    sender.chatbot(task.next_try(), on_clear="continue")
    assert sender.received == 1


@pytest.mark.parametrize("lag", ["soon", "-1", "nan", "inf"])
def test_a_setting_that_cannot_be_read_ends_the_task_before_anything_is_sent(
    sender: Sender, task: Any, monkeypatch: pytest.MonkeyPatch, lag: str
) -> None:
    monkeypatch.setattr("airflow_provider_wts.sending.reconcile.effect_lag", effect_lag)
    monkeypatch.setenv("AIRFLOW__WTS__EFFECT_LAG", lag)
    with pytest.raises(WtsInvalidRequestError, match=r"effect_lag.*Nothing was sent"):
        sender.text(task.next_try())
    assert sender.asked == []


# Answers that are lost ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["chatbot", "text"])
@pytest.mark.parametrize("fault", ["reset", "close", "hang", "truncated", "not_json", "garbage"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_answer_is_looked_up_in_the_same_try(
    sender: Sender, any_task: Any, kind: str, fault: Any, when: Any
) -> None:
    if fault == "hang":
        sender.hook.client.timeout = 0.5
    sender.emulator.faults.add(fault, when=when, operation_id=f"send_{kind}")
    getattr(sender, kind)(any_task.next_try())
    assert sender.received == 1
    if any_task.store:
        assert "receipt" in intent(any_task)


def test_two_lost_answers_in_a_row_leave_the_rest_to_the_next_try(sender: Sender, any_task: Any) -> None:
    sender.emulator.faults.add("reset", operation_id="send_chatbot", times=2)
    with pytest.raises(WtsNotSentError, match="A retry is safe") as caught:
        sender.chatbot(any_task.next_try())
    assert readable(PHONE) in str(caught.value)
    assert not is_final(caught.value)
    sender.chatbot(any_task.next_try())
    assert sender.received == 1


def test_two_lost_answers_in_a_row_leave_no_intent(sender: Sender, task: Any) -> None:
    sender.emulator.faults.add("reset", operation_id="send_chatbot", times=2)
    with pytest.raises(WtsNotSentError):
        sender.chatbot(task.next_try())
    assert intent(task) is None


def test_with_resend_two_lost_answers_in_a_row_are_tried_again_later(
    sender: Sender, any_task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    monkeypatch.setattr("airflow_provider_wts.sending.once.count_send", lambda operation_id, end: counted.append(end))
    sender.emulator.faults.add("reset", operation_id="send_text", times=2)
    with pytest.raises(WtsUnknownOutcomeError) as caught:
        sender.text(any_task.next_try(), marked=False, on_unknown="resend")
    assert readable(PHONE) in str(caught.value)
    assert not is_final(caught.value)
    assert counted == ["undecided"]


@pytest.mark.parametrize("grace", [0.0, 12.0])
def test_absence_is_concluded_only_when_the_grace_is_over(
    sender: Sender, task: Any, crash: Any, monkeypatch: pytest.MonkeyPatch, grace: float
) -> None:
    now, looks = [1000.0], []

    class Slow:
        def search(self, hook: Any, mark: Any, since: Any) -> SearchResult:
            looks.append(now[0])
            now[0] += 4.0
            return SearchResult(Finding.ABSENT)

    def sleep(seconds: float) -> None:
        now[0] += max(0.0, seconds)

    monkeypatch.setattr(clock, "now", lambda: (now[0], now[0]))
    monkeypatch.setattr(clock, "sleep", sleep)
    with crash("before the call"):
        sender.chatbot(task.next_try())
    # However long ago the intent was written: a rate limit may have held the request until a moment ago.
    header = task.store.get(HEADER)
    next(iter(header["sends"].values()))["intent"] = "2026-01-01T00:00:00+00:00"
    task.store.set(HEADER, header)
    monkeypatch.setattr("airflow_provider_wts.sending.reconcile.effect_lag", lambda timeout: grace)
    once = Once(sender.hook, task.next_try())
    once.send(PHONE, lambda mark: send_chatbot(bot_key=sender.bot_key, to=PHONE), Slow())
    # The last look begins after the grace, so that nothing can come behind its back.
    assert looks[-1] >= 1000.0 + grace


class Absent:
    """A trace that is never there, on a clock that only waiting moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.searched = 1000.0, list[float]()
        monkeypatch.setattr(clock, "now", lambda: (self.now, self.now))
        monkeypatch.setattr(clock, "sleep", self.sleep)
        # As long as the request may take, and no longer.
        monkeypatch.setattr("airflow_provider_wts.sending.reconcile.effect_lag", lambda timeout: timeout)

    def sleep(self, seconds: float) -> None:
        # The rest of a difference would else never pass.
        self.now += max(0.001, seconds)

    def search(self, hook: Any, mark: Any, since: Any) -> SearchResult:
        self.searched.append(self.now)
        return SearchResult(Finding.ABSENT)


@pytest.mark.parametrize("busy", [0.0, 100.0, 1000.0])
@pytest.mark.parametrize(("timeout", "held_back"), [(300.0, 0.0), (300.0, 50.0), (None, 0.0)])
def test_what_an_earlier_try_sent_is_absent_when_its_request_can_have_no_effect_any_more(
    sender: Sender,
    task: Any,
    crash: Any,
    monkeypatch: pytest.MonkeyPatch,
    timeout: float | None,
    held_back: float,
    busy: float,
) -> None:
    with crash("before the call"):
        sender.chatbot(task.next_try())
    header = task.store.get(HEADER)
    next(iter(header["sends"].values()))["timeout"] = timeout
    task.store.set(HEADER, header)
    trace = Absent(monkeypatch)
    once = Once(sender.hook, task.next_try())
    # From here on the earlier try sends nothing; it had one more lease.
    quiet_from = trace.now - 0.1 * ledger.LEASE
    trace.sleep(busy)
    build = lambda mark: send_chatbot(bot_key=sender.bot_key, to=PHONE)  # noqa: E731
    once.send(PHONE, build, trace, held_back=held_back)
    lag = sender.hook.client.longest_timeout if timeout is None else timeout
    assert trace.searched[-1] == pytest.approx(max(quiet_from + lag + held_back, 1000.0 + busy), abs=0.1)
    assert sender.received == 1


@pytest.mark.parametrize("held_back", [0.0, 50.0])
def test_what_got_no_answer_is_absent_when_its_request_can_have_no_effect_any_more(
    sender: Sender, task: Any, monkeypatch: pytest.MonkeyPatch, held_back: float
) -> None:
    sender.emulator.faults.add("reset", operation_id="send_chatbot")
    trace, build = Absent(monkeypatch), lambda mark: send_chatbot(bot_key=sender.bot_key, to=PHONE)
    Once(sender.hook, task.next_try()).send(PHONE, build, trace, held_back=held_back)
    lag = sender.hook.client.timeout_of(build(None))
    assert trace.searched[-1] - trace.searched[0] == pytest.approx(lag + held_back)
    assert sender.received == 1


def test_a_try_that_waits_for_a_late_effect_says_for_how_long(
    sender: Sender, task: Any, crash: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with crash("before the call"):
        sender.chatbot(task.next_try())
    once, trace = Once(sender.hook, task.next_try()), Absent(monkeypatch)
    with caplog.at_level(logging.INFO):
        once.send(PHONE, lambda mark: send_chatbot(bot_key=sender.bot_key, to=PHONE), trace)
    said = [float(seconds) for seconds in re.findall(r"asking for up to (\d+) more seconds", caplog.text)]
    assert len(said) == len(trace.searched) - 1
    assert said == sorted(said, reverse=True)


def test_a_late_effect_within_the_grace_is_seen(sender: Sender, task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_wts.sending.reconcile.effect_lag", lambda timeout: 1.0)
    sender.hook.client.timeout = 0.5
    sender.emulator.faults.add("latency", seconds=0.7, operation_id="send_chatbot")
    sender.chatbot(task.next_try())
    assert sender.received == 1
    assert sender.asked.count("send_chatbot") == 1


def test_a_late_effect_is_seen_though_the_wall_clock_is_set_forward(
    sender: Sender, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead, sleep = [0.0], clock.sleep

    def set_forward(seconds: float, check: Any = None) -> None:
        ahead[0] += 3600.0
        sleep(seconds, check)

    monkeypatch.setattr(clock, "now", lambda: (clock.seconds(), clock.seconds() + ahead[0]))
    monkeypatch.setattr(clock, "sleep", set_forward)
    monkeypatch.setattr(reconcile, "_FIRST_INTERVAL", 0.1)
    monkeypatch.setattr(reconcile, "effect_lag", lambda timeout: 1.0)
    sender.hook.client.timeout = 0.5
    sender.emulator.faults.add("latency", seconds=0.9, operation_id="send_chatbot")
    sender.chatbot(task.next_try())
    assert ahead[0]
    assert sender.received == 1
    assert sender.asked.count("send_chatbot") == 1


def test_a_wall_clock_that_is_set_forward_shortens_no_wait_after_a_takeover(
    sender: Sender, task: Any, crash: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with crash("before the call"):
        sender.chatbot(task.next_try())
    trace = Absent(monkeypatch)
    once = Once(sender.hook, task.next_try())
    monkeypatch.setattr(clock, "now", lambda: (trace.now, trace.now + 3600.0))
    once.send(PHONE, lambda mark: send_chatbot(bot_key=sender.bot_key, to=PHONE), trace)
    assert trace.searched[-1] >= 1000.0 + sender.hook.client.timeout


# Tries that Airflow gave up, and that still run -----------------------------------------------------------------------


class Meanwhile:
    """A budget for which a try waits so long that Airflow gives it up; then something happens before it goes on."""

    def __init__(self, happens: Callable[[], None]) -> None:
        self._happens: Callable[[], None] | None = happens

    def acquire(self, operation: Any, **limits: Any) -> float:
        happens, self._happens = self._happens, None
        if happens is not None:
            happens()
        return 0.0


@pytest.fixture
def ledger_in_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", f"file://{tmp_path}")


@pytest.fixture(params=["store", "files"])
def any_ledger(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger of either kind; what was read of it grows old at once."""
    monkeypatch.setattr(ledger, "LEASE", 0.2)
    if request.param == "files":
        request.getfixturevalue("ledger_in_files")


def sends_meanwhile(sender: Sender, send: Callable[[], Any]) -> None:
    sender.hook.client._budget = Meanwhile(lambda: (send(), None)[1])


@pytest.mark.usefixtures("any_ledger")
@pytest.mark.parametrize("kind", ["chatbot", "text"])
def test_a_try_that_was_given_up_while_it_waited_sends_nothing(sender: Sender, task: Any, kind: str) -> None:
    send = getattr(sender, kind)
    given_up = task.next_try()
    sends_meanwhile(sender, lambda: send(task.next_try()))
    with pytest.raises(WtsError, match="Another try of this task has taken over"):
        send(given_up)
    assert sender.received == 1
    send(task.next_try())
    assert sender.received == 1


@pytest.mark.usefixtures("any_ledger")
def test_a_try_that_was_given_up_leaves_a_new_generation_alone(sender: Sender, task: Any) -> None:
    given_up = task.next_try()

    def succeed_and_clear() -> None:
        sender.chatbot(task.next_try())
        task.clear()
        sender.chatbot(task.next_try())

    sends_meanwhile(sender, succeed_and_clear)
    with pytest.raises(WtsError, match="Another try of this task has taken over"):
        sender.chatbot(given_up)
    sender.chatbot(task.next_try())
    assert sender.received == 2


@pytest.mark.usefixtures("any_ledger")
def test_a_try_that_was_given_up_before_its_intent_sends_nothing(sender: Sender, task: Any) -> None:
    given_up = task.next_try()
    with pytest.raises(WtsError, match="Another try of this task has taken over"):
        sender.chatbot(given_up, permit=lambda: (sender.chatbot(task.next_try()), None)[1])
    assert sender.received == 1


@pytest.mark.usefixtures("any_ledger")
def test_a_try_that_was_given_up_after_its_request_takes_nothing_back(
    sender: Sender, task: Any, emulator: Emulator
) -> None:
    given_up = task.next_try()
    emulator.faults.add("status", status=500, envelope="business", operation_id="send_chatbot", times=1)
    run = sender.hook.run

    def refused_late(call: Any, **more: Any) -> Any:
        sender.hook.run = run  # type: ignore[method-assign]
        try:
            return run(call, **more)
        finally:
            sender.chatbot(task.next_try())

    sender.hook.run = refused_late  # type: ignore[method-assign]
    with pytest.raises(WtsRejectedError):
        sender.chatbot(given_up)
    sender.chatbot(task.next_try())
    assert sender.received == 1


def test_a_try_that_was_given_up_while_its_connection_was_made_sends_nothing(
    sender: Sender, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport.socket, "getaddrinfo", resolving := Resolving(transport.socket.getaddrinfo))
    given_up = task.next_try()
    resolving.happens = lambda: sender.chatbot(task.next_try())
    sender.hook.client.close()
    with pytest.raises(WtsError, match="Another try of this task has taken over"):
        sender.chatbot(given_up)
    assert sender.received == 1


class Resolving:
    """The look-up of a name, which takes so long that something happens meanwhile."""

    def __init__(self, really: Callable[..., Any]) -> None:
        self._really = really
        self.happens: Callable[[], Any] | None = None

    def __call__(self, *args: Any) -> Any:
        happens, self.happens = self.happens, None
        if happens is not None:
            # Another process would have a connection of its own.
            thread = threading.Thread(target=happens)
            thread.start()
            thread.join()
        return self._really(*args)


@pytest.mark.parametrize(
    ("first", "second"), [(PHONE, "+55|1199998888"), ("@Maria.Silva", "@maria.silva")], ids=["ninth digit", "handle"]
)
def test_a_recipient_is_the_same_however_it_is_spelled(sender: Sender, task: Any, first: str, second: str) -> None:
    sender.chatbot(task.next_try(), to=first)
    sender.chatbot(task.next_try(), to=second)
    assert sender.asked == ["send_chatbot"]


# Searches that fail ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [{"kind": "reset"}, {"kind": "status", "status": 503}, {"kind": "status", "status": 429}], ids=str
)
def test_a_search_that_fails_leaves_the_send_to_the_next_try(
    sender: Sender, any_task: Any, crash: Any, fault: dict[str, Any]
) -> None:
    with crash("after the call"):
        sender.chatbot(any_task.next_try())
    sender.emulator.faults.add(operation_id="list_sessions", times=None, **fault)
    with pytest.raises(WtsUnknownOutcomeError) as caught:
        sender.chatbot(any_task.next_try(), on_unknown="resend")
    assert readable(PHONE) in str(caught.value)
    assert not is_final(caught.value)
    sender.emulator.faults.clear()
    sender.chatbot(any_task.next_try())
    assert sender.received == 1


def test_a_search_that_is_refused_leaves_the_send_undecided(sender: Sender, any_task: Any, crash: Any) -> None:
    with crash("after the call"):
        sender.chatbot(any_task.next_try())
    sender.emulator.faults.add("status", status=403, operation_id="list_sessions", times=None)
    with pytest.raises(WtsUnknownOutcomeError, match="did not report") as caught:
        sender.chatbot(any_task.next_try())
    assert readable(PHONE) in str(caught.value)
    assert is_final(caught.value)


def test_a_session_that_is_gone_leaves_a_send_into_it_undecided(sender: Sender, task: Any, crash: Any) -> None:
    gone = "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"

    def send() -> Any:
        trace = InSession(session_id=gone, by_metadata=True)
        return Once(sender.hook, task.next_try()).send(
            gone, lambda mark: send_chatbot(bot_key=sender.bot_key, session_id=gone), trace
        )

    with crash("before the call"):
        send()
    with pytest.raises(WtsUnknownOutcomeError, match=gone):
        send()


# What is definitely not sent ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "status", "status": 429, "retry_after": "7"}, WtsRateLimitError),
        ({"kind": "status", "status": 400}, WtsRejectedError),
        ({"kind": "status", "status": 500, "envelope": "business"}, WtsRejectedError),
        ({"kind": "redirect", "status": 308}, WtsRejectedError),
    ],
    ids=str,
)
def test_a_definite_non_send_leaves_no_intent(
    sender: Sender, task: Any, fault: dict[str, Any], kind: type[Exception]
) -> None:
    sender.emulator.faults.add(operation_id="send_chatbot", **fault)
    with pytest.raises(kind):
        sender.chatbot(task.next_try())
    assert intent(task) is None
    sender.chatbot(task.next_try())
    assert sender.asked == ["send_chatbot", "send_chatbot"]
    assert sender.received == 1


def test_a_definite_non_send_does_not_settle_an_earlier_doubt(sender: Sender, task: Any, crash: Any) -> None:
    with crash("after the call"):
        sender.text(task.next_try(), marked=False)
    first = intent(task)
    sender.emulator.faults.add("status", status=400, operation_id="send_text")
    with pytest.raises(WtsRejectedError) as caught:
        sender.text(task.next_try(), marked=False, on_unknown="resend")
    # The doubt stands, since when it arose, and the error names whom it is about.
    assert readable(PHONE) in "".join(caught.value.__notes__)
    assert intent(task)["intent"] == first["intent"]
    with pytest.raises(WtsUnknownOutcomeError):
        sender.text(task.next_try(), marked=False)
    assert sender.received == 1


def test_what_is_not_permitted_is_not_sent_and_leaves_no_intent(sender: Sender, task: Any) -> None:
    def refuse() -> None:
        raise LookupError("not now")

    with pytest.raises(LookupError):
        sender.chatbot(task.next_try(), permit=refuse)
    assert intent(task) is None
    assert sender.asked == []


def test_permission_is_not_asked_for_what_is_sent_already(sender: Sender, task: Any) -> None:
    asked: list[int] = []
    sender.chatbot(task.next_try(), permit=lambda: asked.append(1))
    sender.chatbot(task.next_try(), permit=lambda: asked.append(2))
    assert asked == [1]


# A ledger that fails --------------------------------------------------------------------------------------------------


def test_nothing_is_sent_when_the_intent_cannot_be_written(sender: Sender, task: Any) -> None:
    task.store.fails_at[HEADER, 2] = RuntimeError("this task instance is not running any more")
    with pytest.raises(WtsError, match="nothing more was sent"):
        sender.chatbot(task.next_try())
    assert sender.asked == []


def test_nothing_is_sent_when_the_ledger_cannot_be_read(sender: Sender, task: Any) -> None:
    task.store.values[HEADER] = "{"
    with pytest.raises(WtsError, match="cannot be read"):
        sender.chatbot(task.next_try())
    assert sender.asked == []


def test_what_is_sent_is_a_success_even_when_the_receipt_cannot_be_written(
    sender: Sender, task: Any, caplog: pytest.LogCaptureFixture
) -> None:
    task.store.fails_at[HEADER, 3] = OSError("away")
    session = sender.chatbot(task.next_try())
    assert session["id"]
    assert "It was sent, but the ledger" in caplog.text
    assert sender.chatbot(task.next_try())["id"] == session["id"]
    assert sender.received == 1


def test_the_reason_is_told_even_when_the_intent_cannot_be_retracted(sender: Sender, task: Any) -> None:
    task.store.fails_at[HEADER, 3] = OSError("away")
    sender.emulator.faults.add("status", status=400, operation_id="send_chatbot")
    with pytest.raises(WtsRejectedError):
        sender.chatbot(task.next_try())
    sender.chatbot(task.next_try())
    assert sender.received == 1


def test_a_ledger_in_files_does_the_same(
    sender: Sender, make_task: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, crash: Any
) -> None:
    monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", f"file://{tmp_path}")
    task = make_task()
    with crash("after the call"):
        sender.chatbot(task.next_try())
    first = sender.chatbot(task.next_try())
    before = len(sender.asked)
    assert sender.chatbot(task.next_try())["id"] == first["id"]
    assert len(sender.asked) == before
    task.clear()
    sender.chatbot(task.next_try())
    assert sender.received == 2


def test_no_key_of_the_ledger_names_a_customer(sender: Sender, task: Any) -> None:
    sender.chatbot(task.next_try())
    header = task.store.get(HEADER)
    assert not any("99998888" in name for name in (*task.store.values, *header, *header["sends"]))


def test_a_second_try_on_airflow_2_11_looks_back_to_the_begin_of_the_run(sender: Sender, make_task: Any) -> None:
    task = make_task()
    sender.chatbot(task.next_try())
    context = task.next_try()
    # No run_after there; a clear moves the start, but not the logical date.
    context["dag_run"] = SimpleNamespace(logical_date=task.begun, start_date=None, queued_at=None)
    sender.chatbot(context)
    assert sender.received == 1


def test_nothing_of_a_send_is_logged_at_info_but_what_happened(
    sender: Sender, task: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        sender.chatbot(task.next_try())
        sender.chatbot(task.next_try())
    assert "nothing is sent again" in caplog.text
    assert "99998888" not in caplog.text
