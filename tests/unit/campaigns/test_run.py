"""A campaign reaches everybody exactly once, whatever happens to its task."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from campaign_tries import CHANNEL, SEARCHES, Campaign, Death, Killed, calls, operation, people, received

from airflow_provider_wts.api.directory import list_channels
from airflow_provider_wts.api.errors import (
    WtsError,
    WtsInvalidRequestError,
    WtsNotSentError,
    WtsRejectedError,
    WtsUnknownOutcomeError,
)
from airflow_provider_wts.campaigns.message_kinds import ChatbotKind, TextKind
from airflow_provider_wts.campaigns.recipients import Recipient
from airflow_provider_wts.sending import ledger, reconcile

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.running import Emulator
    from airflow_provider_wts.hooks.wts import WtsHook


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch, emulator: Emulator, hook: WtsHook) -> None:
    # Requests that get no answer are reset here; a busy machine must not look like one.
    hook.client.timeout = 20.0
    monkeypatch.setattr(reconcile, "effect_lag", lambda timeout: 0.2)
    monkeypatch.setattr(reconcile, "_QUEUE_INTERVAL", 0.05)
    monkeypatch.setattr(reconcile, "QUEUE_WAIT", 0.3)
    monkeypatch.setattr(reconcile, "_REST_INTERVAL", 0.05)
    monkeypatch.setattr(reconcile, "_STANDSTILL", 0.3)
    emulator.switches.whatsapp_window = "off"


@pytest.fixture(params=["chatbot", "template", "text"])
def way(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


# Killed ---------------------------------------------------------------------------------------------------------------


def test_killed_half_way_retried_and_cleared(hook: WtsHook, emulator: Emulator, task: Any, way: Any) -> None:
    campaign, everybody = Campaign(hook, task, way), people(100)
    campaign.killed_at = 5
    with pytest.raises(Killed):
        campaign.run(everybody)
    assert sum(received(emulator, everybody)) == 50
    campaign.killed_at = None
    assert campaign.run(everybody) == {"sent": 100}
    assert received(emulator, everybody) == [1] * 100
    assert calls(emulator, *SEARCHES) == 0
    # Finished: a retry sends nothing, a clear sends anew.
    assert campaign.run(everybody) == {"sent": 100}
    assert received(emulator, everybody) == [1] * 100
    task.clear()
    assert campaign.run(everybody) == {"sent": 100}
    assert received(emulator, everybody) == [2] * 100


def test_killed_and_cleared_before_the_end_it_goes_on(hook: WtsHook, emulator: Emulator, task: Any, way: Any) -> None:
    campaign, everybody = Campaign(hook, task, way), people(60)
    campaign.killed_at = 3
    with pytest.raises(Killed):
        campaign.run(everybody)
    task.clear()
    campaign.killed_at = None
    assert campaign.run(everybody) == {"sent": 60}
    assert received(emulator, everybody) == [1] * 60


@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])
@pytest.mark.parametrize("name", ["chatbot", "template"])
def test_a_request_that_killed_its_task_is_reconciled_by_one_sweep(
    hook: WtsHook,
    emulator: Emulator,
    task: Any,
    store: Any,
    name: str,
    after: bool,
    request: pytest.FixtureRequest,
) -> None:
    way = request.getfixturevalue(name)
    campaign, everybody = Campaign(hook, task, way), people(100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconcile, "effect_lag", lambda timeout: 0.2)
        death = Death(patch, hook, store, operation(way), 6)
        death.after = after
        with pytest.raises(Killed):
            campaign.run(everybody)
    emulator.advance(5)
    before = calls(emulator, *SEARCHES)
    assert campaign.run(everybody) == {"sent": 100}
    assert received(emulator, everybody) == [1] * 100
    looked = calls(emulator, *SEARCHES) - before
    sweeps = [one for one in emulator.requests_of("list_sessions") if "UpdatedAt.After" in dict(one.query)]
    assert len(sweeps) == 1
    # A few of the chunk speak for all, where none is found.
    assert looked == 1 if after else looked <= 10
    task.clear()
    campaign.run(everybody)
    assert received(emulator, everybody) == [2] * 100


@pytest.mark.parametrize("after", [False, True])
def test_one_of_two_requests_under_way_took_effect(
    hook: WtsHook, emulator: Emulator, task: Any, store: Any, chatbot: ChatbotKind, after: bool
) -> None:
    campaign, everybody = Campaign(hook, task, chatbot, size=20), people(100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconcile, "effect_lag", lambda timeout: 0.2)
        Death(patch, hook, store, "queue_chatbot_batch", 6).after = after
        with pytest.raises(Killed):
            campaign.run(everybody)
    emulator.advance(5)
    before = calls(emulator, *SEARCHES)
    assert campaign.run(everybody) == {"sent": 100}
    assert received(emulator, everybody) == [1] * 100
    assert calls(emulator, *SEARCHES) - before <= 10


@pytest.mark.parametrize("after", [False, True])
def test_texts_whose_task_was_killed(
    hook: WtsHook, emulator: Emulator, task: Any, store: Any, text: TextKind, after: bool
) -> None:
    campaign, everybody = Campaign(hook, task, text), people(40)
    with pytest.MonkeyPatch.context() as patch:
        death = Death(patch, hook, store, "send_text", 15)
        death.after = after
        with pytest.raises(Killed):
            campaign.run(everybody)
    emulator.advance(5)
    assert campaign.run(everybody) == {"sent": 40}
    assert received(emulator, everybody) == [1] * 40


def test_texts_of_a_task_that_was_killed_before_its_clock_was_set_back(
    hook: WtsHook, emulator: Emulator, task: Any, store: Any, text: TextKind
) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(hours=3)

    campaign, everybody = Campaign(hook, task, text), people(40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("airflow_provider_wts.campaigns.run.datetime", Ahead)
        Death(patch, hook, store, "send_text", 15)
        with pytest.raises(Killed):
            campaign.run(everybody)
    emulator.advance(5)
    assert campaign.run(everybody) == {"sent": 40}
    assert received(emulator, everybody) == [1] * 40


def test_a_page_that_airflow_does_not_show_for_a_while_is_not_sent_again(
    hook: WtsHook, emulator: Emulator, task: Any, store: Any, way: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign, everybody = Campaign(hook, task, way), people(100)
    campaign.killed_at = 5
    with pytest.raises(Killed):
        campaign.run(everybody)
    campaign.killed_at, get = None, store.get
    hidden = [max(key for key in store.values if key.startswith(f"{ledger.HEADER}_0_"))]

    def get_later(key: str, default: Any = None) -> Any:
        return default if key in hidden and hidden.pop() else get(key, default)

    monkeypatch.setattr(store, "get", get_later)
    with pytest.raises(WtsError, match="incomplete for a while"):
        campaign.run(everybody)
    assert campaign.run(everybody) == {"sent": 100}
    assert received(emulator, everybody) == [1] * 100


_CHILD = """
import json, sys
from datetime import UTC, datetime
from types import SimpleNamespace
from datetime import datetime, timedelta
from pathlib import Path
from airflow_provider_wts.api.client import WtsClient
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.sending import reconcile
from airflow_provider_wts.sending.ledger import open_ledger
from campaign_tries import campaign_of
from airflow_provider_wts.campaigns.recipients import Recipient
from airflow_provider_wts.campaigns.message_kinds import ChatbotKind
job = json.loads(sys.argv[1])
reconcile.effect_lag = lambda timeout: 0.3
hook = WtsHook()
hook.__dict__["client"] = WtsClient(job["token"], base_url=job["url"])
ti = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1)
ti.try_number, ti.max_tries = job["try"], job["max_tries"]
everybody = [Recipient(n, f"+55|119{10_000_000 + n:08d}", {}) for n in range(job["count"])]
ledger = open_ledger({"ti": ti}, wts_conn_id="wts_default")
kind = ChatbotKind(job["bot"], None, {}, request_size=10)
campaign = campaign_of(hook, {"ti": ti}, kind, everybody, 10, ledger=ledger)
campaign.send_all()
campaign.close(finished=True)
print(json.dumps({status: count for status, count in campaign._progress.counts.items() if count}))
"""


def test_a_process_that_is_killed_for_real(emulator: Emulator, bot_key: str, tmp_path: Path) -> None:
    emulator.switches.change({"rate_limits": False, "queue_seconds": 0})
    emulator.behave("*", replies=[])
    emulator.service.latency = 0.03
    job = {"url": emulator.url, "token": emulator.token, "bot": bot_key, "count": 300, "max_tries": 0}
    environment = {
        **os.environ,
        "AIRFLOW__WTS__LEDGER_PATH": f"file://{tmp_path}",
        "PYTHONPATH": str(Path(__file__).parent),
    }

    def process(number: int, **changes: Any) -> subprocess.Popen[bytes]:
        order = json.dumps({**job, "try": number, **changes})
        return subprocess.Popen([sys.executable, "-c", _CHILD, order], env=environment, stdout=subprocess.PIPE)

    first = process(1)
    until = time.monotonic() + 200
    while calls(emulator, "queue_chatbot_batch") < 15 and time.monotonic() < until:
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    first.wait()
    emulator.advance(5)
    assert 0 < sum(received(emulator, people(300))) < 300
    before = calls(emulator, *SEARCHES)
    second = process(2)
    assert json.loads(second.communicate()[0].splitlines()[-1]) == {"sent": 300}
    assert received(emulator, people(300)) == [1] * 300
    assert calls(emulator, *SEARCHES) - before <= 12
    third = process(3, max_tries=2)
    third.communicate()
    assert received(emulator, people(300)) == [2] * 300


# Answers that do not come ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("fault", [{"kind": "reset"}, {"kind": "redirect", "status": 303}], ids=["reset", "redirect"])
def test_a_lost_answer_is_asked_about_in_place(
    hook: WtsHook, emulator: Emulator, task: Any, way: Any, when: Any, fault: dict[str, Any]
) -> None:
    emulator.faults.add(when=when, operation_id=operation(way), nth=3, **fault)
    campaign, everybody = Campaign(hook, task, way), people(50)
    assert campaign.run(everybody) == {"sent": 50}
    assert received(emulator, everybody) == [1] * 50
    assert campaign.batch is not None
    assert campaign.batch.ledger is not None
    assert campaign.batch.ledger.finished


def test_twice_no_answer_and_nothing_sent_leaves_it_to_the_next_try(
    hook: WtsHook, emulator: Emulator, task: Any, chatbot: ChatbotKind
) -> None:
    emulator.faults.add("reset", when="before", operation_id="queue_chatbot_batch", times=2)
    campaign, everybody = Campaign(hook, task, chatbot), people(30)
    with pytest.raises(WtsNotSentError, match="nothing was sent to 10 recipients"):
        campaign.run(everybody)
    before = calls(emulator, *SEARCHES)
    assert campaign.run(everybody) == {"sent": 30}
    assert calls(emulator, *SEARCHES) == before
    assert received(emulator, everybody) == [1] * 30


def test_what_cannot_be_decided_is_left_out_and_the_others_are_sent_to(
    hook: WtsHook, emulator: Emulator, task: Any, bot_key: str
) -> None:
    unmarked = ChatbotKind(bot_key, CHANNEL, {}, request_size=10, mark_session=False)
    emulator.faults.add("reset", when="after", operation_id="queue_chatbot_batch", nth=2)
    campaign, everybody = Campaign(hook, task, unmarked), people(40)
    assert campaign.run(everybody) == {"sent": 30, "undecided": 10}
    assert campaign.run(everybody) == {"sent": 30, "undecided": 10}
    assert received(emulator, everybody) == [1] * 40
    assert campaign.run(everybody, on_unknown="resend") == {"sent": 40}
    assert sorted(received(emulator, everybody)) == [1] * 30 + [2] * 10


def test_sends_that_the_sweep_cannot_see_are_found_singly(
    hook: WtsHook, emulator: Emulator, task: Any, store: Any, chatbot: ChatbotKind, in_the_past: Any
) -> None:
    # All have an old session, and a send does not move the date of its change.
    everybody = people(40)
    with in_the_past():
        Campaign(hook, type(task)(type(store)(), task_id="old"), chatbot).run(everybody)
        emulator.advance(5)
    emulator.switches.session_change_date = "stays"
    campaign = Campaign(hook, task, chatbot)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconcile, "effect_lag", lambda timeout: 0.2)
        Death(patch, hook, store, "queue_chatbot_batch", 2)
        with pytest.raises(Killed):
            campaign.run(everybody)
    assert campaign.run(everybody) == {"sent": 40}
    assert received(emulator, everybody) == [2] * 40


@pytest.mark.parametrize("switch", [{"metadata_in_session_list": False}, {"metadata_needs_details": True}])
def test_lists_that_do_not_show_metadata(
    hook: WtsHook, emulator: Emulator, task: Any, store: Any, chatbot: ChatbotKind, switch: dict[str, bool]
) -> None:
    emulator.switches.change(switch)
    campaign, everybody = Campaign(hook, task, chatbot), people(30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconcile, "effect_lag", lambda timeout: 0.2)
        Death(patch, hook, store, "queue_chatbot_batch", 2)
        with pytest.raises(Killed):
            campaign.run(everybody)
    emulator.advance(5)
    assert campaign.run(everybody) == {"sent": 30}
    assert received(emulator, everybody) == [1] * 30


def test_a_platform_that_is_far_behind_leaves_it_undecided(
    hook: WtsHook, emulator: Emulator, task: Any, store: Any, chatbot: ChatbotKind
) -> None:
    campaign, everybody = Campaign(hook, task, chatbot), people(30)
    emulator.switches.queue_seconds = 3600.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconcile, "effect_lag", lambda timeout: 0.2)
        patch.setattr(reconcile, "QUEUE_WAIT", 0.3)
        Death(patch, hook, store, "queue_chatbot_batch", 2)
        with pytest.raises(Killed):
            campaign.run(everybody)
    assert campaign.run(everybody) == {"sent": 20, "undecided": 10}
    emulator.advance(4000)
    assert campaign.run(everybody) == {"sent": 30}
    emulator.advance(4000)
    assert received(emulator, everybody) == [1] * 30


def test_a_search_that_fails_sends_nothing(
    hook: WtsHook, emulator: Emulator, task: Any, store: Any, chatbot: ChatbotKind
) -> None:
    campaign, everybody = Campaign(hook, task, chatbot), people(30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconcile, "effect_lag", lambda timeout: 0.2)
        Death(patch, hook, store, "queue_chatbot_batch", 2)
        with pytest.raises(Killed):
            campaign.run(everybody)
    emulator.faults.add("status", status=503, operation_id="list_sessions", times=None)
    with pytest.raises(WtsUnknownOutcomeError, match="could not be asked") as caught:
        campaign.run(everybody)
    assert caught.value.repeatable
    emulator.faults.clear()
    assert campaign.run(everybody) == {"sent": 30}
    assert received(emulator, everybody) == [1] * 30


# Answers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reading", ["entries", "all"])
@pytest.mark.parametrize("name", ["chatbot", "template"])
def test_partial_failure_in_both_readings(
    hook: WtsHook, emulator: Emulator, task: Any, name: str, reading: Any, request: pytest.FixtureRequest
) -> None:
    emulator.switches.batch_partial_failure = reading
    emulator.switches.batch_order = "shuffled"
    everybody = people(40)
    everybody[13] = Recipient(14, "+55|bad", {})
    campaign = Campaign(hook, task, request.getfixturevalue(name))
    assert campaign.run(everybody) == {"sent": 39, "failed": 1}
    assert campaign.results["+55|bad"].reason
    assert received(emulator, everybody) == [1] * 13 + [0] + [1] * 26
    # A retry leaves it; a person's clear would begin anew, since everything else is done.
    assert campaign.run(everybody) == {"sent": 39, "failed": 1}


def test_answers_without_sender_ids_give_nobody_the_ids_of_another(
    hook: WtsHook, emulator: Emulator, task: Any, chatbot: ChatbotKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.switches.batch_order = "shuffled"
    answers = chatbot.answers
    monkeypatch.setattr(
        chatbot, "answers", lambda answer: [{**one, "senderId": None} for one in answers(answer)], raising=False
    )
    campaign, everybody = Campaign(hook, task, chatbot), people(20)
    assert campaign.run(everybody) == {"sent": 20}
    assert calls(emulator, *SEARCHES) == 0
    assert all({"id", "sessionId"}.isdisjoint(result.receipt) for result in campaign.results.values())
    assert campaign.batch is not None
    assert campaign.batch._delivery.recent
    # So it is for the next try, which knows them from the ledger.
    assert campaign.run(everybody) == {"sent": 20}
    assert received(emulator, everybody) == [1] * 20


def test_an_answer_that_leaves_somebody_out_is_asked_about(
    hook: WtsHook, emulator: Emulator, task: Any, chatbot: ChatbotKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = chatbot.answers
    monkeypatch.setattr(chatbot, "answers", lambda answer: answers(answer)[3:], raising=False)
    campaign, everybody = Campaign(hook, task, chatbot), people(20)
    assert campaign.run(everybody) == {"sent": 20}
    assert received(emulator, everybody) == [1] * 20


def test_a_refusal_of_all_is_found_out_soon(hook: WtsHook, emulator: Emulator, task: Any) -> None:
    wrong = ChatbotKind("00000000-0000-4000-8000-000000000000", CHANNEL, {}, request_size=10)
    campaign = Campaign(hook, task, wrong)
    with pytest.raises(WtsRejectedError):
        campaign.run(people(100))
    assert calls(emulator, "queue_chatbot_batch") < 15


def test_a_wrong_token_is_one_request(hook: WtsHook, emulator: Emulator, task: Any, way: Any) -> None:
    emulator.service.token = "pn_other"
    campaign = Campaign(hook, task, way)
    with pytest.raises(WtsRejectedError):
        campaign.run(people(30))
    assert calls(emulator, operation(way)) <= 4
    assert not any(store_value.get("sends") for store_value in map(json.loads, task.store.values.values()))


def test_failed_messages_are_tried_again_after_a_clear_only(
    hook: WtsHook, emulator: Emulator, task: Any, text: TextKind
) -> None:
    emulator.faults.add("status", status=400, operation_id="send_text", nth=3)
    campaign, everybody = Campaign(hook, task, text, size=5), people(10)
    assert campaign.run(everybody, finished=False) == {"sent": 9, "failed": 1}
    assert campaign.run(everybody, finished=False) == {"sent": 9, "failed": 1}
    task.clear()
    assert campaign.run(everybody) == {"sent": 10}
    assert received(emulator, everybody) == [1] * 10


# The ledger -----------------------------------------------------------------------------------------------------------


def test_pages_stay_below_64_kb(hook: WtsHook, emulator: Emulator, task: Any, store: Any, bot_key: str) -> None:
    emulator.switches.batch_partial_failure = "entries"
    way = ChatbotKind(bot_key, CHANNEL, {}, request_size=100)
    bad = [Recipient(index, f"+55|bad{index}", {}) for index in range(150)]
    campaign = Campaign(hook, task, way, size=200)
    campaign.run(people(50) + bad)
    assert 30_000 < max(len(value) for value in store.values.values()) < 64_000
    assert not [key for key in store.values if "/" in key]
    assert "+55" not in json.dumps(store.values)


def test_no_send_without_its_intent(hook: WtsHook, emulator: Emulator, task: Any, store: Any, way: Any) -> None:
    campaign, everybody = Campaign(hook, task, way), people(40)
    store.fails_at["wts_ledger_0_2", 1] = RuntimeError("the task is not yours any more")
    with pytest.raises(WtsError, match="cannot be written, so nothing more was sent"):
        campaign.run(everybody)
    assert sum(received(emulator, everybody)) == 20
    assert campaign.run(everybody) == {"sent": 40}
    assert received(emulator, everybody) == [1] * 40


def test_a_campaign_that_was_given_up_while_it_waited_sends_nothing_more(
    hook: WtsHook, emulator: Emulator, task: Any, way: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "LEASE", 0.2)
    everybody, meanwhile = people(40), []

    class Waiting:
        """A budget whose third request of the campaign waits until another try has done everything."""

        def acquire(self, asked: Any, **limits: Any) -> float:
            if asked.operation_id == operation(way):
                meanwhile.append(asked)
                if len(meanwhile) == 3:
                    assert Campaign(hook, task, way).run(everybody) == {"sent": 40}
            return 0.0

    hook.client._budget = Waiting()  # type: ignore[assignment]
    with pytest.raises(WtsError, match="Another try of this task has taken over"):
        Campaign(hook, task, way).run(everybody)
    assert received(emulator, everybody) == [1] * 40
    assert Campaign(hook, task, way).run(everybody) == {"sent": 40}
    assert received(emulator, everybody) == [1] * 40


def test_receipts_that_cannot_be_written_are_written_before_the_next_chunk(
    hook: WtsHook, emulator: Emulator, task: Any, store: Any, way: Any
) -> None:
    store.fails_at["wts_ledger_0_0", 2] = RuntimeError("a blip")
    campaign, everybody = Campaign(hook, task, way), people(40)
    assert campaign.run(everybody) == {"sent": 40}
    assert campaign.run(everybody) == {"sent": 40}
    assert received(emulator, everybody) == [1] * 40
    assert calls(emulator, *SEARCHES) == 0


def test_a_page_that_is_gone_is_no_permission_to_send(
    hook: WtsHook, emulator: Emulator, task: Any, store: Any, chatbot: ChatbotKind
) -> None:
    campaign, everybody = Campaign(hook, task, chatbot), people(40)
    campaign.run(everybody)
    del store.values["wts_ledger_0_1"]
    with pytest.raises(WtsInvalidRequestError, match="Page 1 of this task's ledger is missing"):
        campaign.run(everybody)


def test_recipients_may_change_between_tries(
    hook: WtsHook, emulator: Emulator, task: Any, chatbot: ChatbotKind
) -> None:
    campaign, everybody = Campaign(hook, task, chatbot), people(60)
    campaign.killed_at = 3
    with pytest.raises(Killed):
        campaign.run(everybody[:50])
    campaign.killed_at = None
    assert campaign.run(everybody[::-1]) == {"sent": 60}
    assert received(emulator, everybody) == [1] * 60


@pytest.mark.parametrize("killed_at", [None, 3])
def test_a_later_try_that_lost_the_ledger_asks_about_everybody(
    hook: WtsHook, emulator: Emulator, task: Any, store: Any, chatbot: ChatbotKind, killed_at: int | None
) -> None:
    campaign, everybody = Campaign(hook, task, chatbot), people(60)
    campaign.killed_at = killed_at
    with contextlib.suppress(Killed):
        campaign.run(everybody, finished=False)
    emulator.advance(5)
    store.values.clear()
    campaign.killed_at = None
    assert campaign.run(everybody) == {"sent": 60}
    assert received(emulator, everybody) == [1] * 60


# Without a ledger -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["chatbot", "template"])
def test_without_a_ledger_later_tries_ask_about_everybody(
    hook: WtsHook, emulator: Emulator, make_task: Any, name: str, request: pytest.FixtureRequest
) -> None:
    task = make_task(None)
    campaign, everybody = Campaign(hook, task, request.getfixturevalue(name)), people(200)
    campaign.killed_at = 11
    with pytest.raises(Killed):
        campaign.run(everybody)
    emulator.advance(5)
    campaign.killed_at = None
    assert campaign.run(everybody) == {"sent": 200}
    assert received(emulator, everybody) == [1] * 200
    assert calls(emulator, *SEARCHES) < 20


def test_without_a_ledger_nobody_can_ask_for_a_resend(hook: WtsHook, make_task: Any, chatbot: ChatbotKind) -> None:
    with pytest.raises(WtsInvalidRequestError, match="on_clear: 'resend' needs a ledger"):
        Campaign(hook, make_task(None), chatbot).run(people(1), on_clear="resend")


def test_what_a_rule_needs_is_read_once(hook: WtsHook, emulator: Emulator, task: Any, chatbot: ChatbotKind) -> None:
    campaign = Campaign(hook, task, chatbot)
    assert campaign.run(people(30)) == {"sent": 30}
    assert campaign.rule.begun == 1


def test_all_sends_of_a_page_have_one_time_though_the_clock_of_the_service_is_ahead(
    hook: WtsHook, emulator: Emulator, task: Any, chatbot: ChatbotKind
) -> None:
    emulator.advance(3600)
    hook.run(list_channels())
    campaign = Campaign(hook, task, chatbot)
    assert campaign.run(people(30)) == {"sent": 30}
    assert len({result.sent_at for result in campaign.results.values()}) == 3


@pytest.mark.parametrize(
    ("metadata", "warned"),
    [({"amount": "99,90", "invoice": 118}, False), ({"invoice": 119, "amount": "99,90"}, True)],
    ids=["another order", "another value"],
)
def test_a_content_that_has_changed_since_an_earlier_try_is_told(
    hook: WtsHook,
    emulator: Emulator,
    task: Any,
    chatbot: ChatbotKind,
    caplog: pytest.LogCaptureFixture,
    metadata: dict[str, Any],
    warned: bool,
) -> None:
    campaign = Campaign(hook, task, chatbot)

    def to_one(values: dict[str, Any]) -> dict[str, int]:
        return campaign.run([Recipient(1, "+55|11910000000", {"session_metadata": values})])

    with pytest.MonkeyPatch.context() as patch:
        Death(patch, hook, task.store, "queue_chatbot_batch", 1).after = False
        with pytest.raises(Killed):
            to_one({"invoice": 118, "amount": "99,90"})
    assert to_one(metadata) == {"sent": 1}
    assert ("has changed since an earlier try" in caplog.text) is warned
