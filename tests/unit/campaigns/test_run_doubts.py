"""Campaigns of which nobody knows for a while what happened: a doubt sends nothing twice, and loses nobody."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from campaign_tries import CHANNEL, SEARCHES, Campaign, Death, Killed, calls, people, received

from airflow_provider_wts.api import client
from airflow_provider_wts.api.errors import WtsInvalidRequestError, WtsRateLimitError, WtsUnknownOutcomeError
from airflow_provider_wts.api.outcome import judge_reply
from airflow_provider_wts.api.transport import Reply
from airflow_provider_wts.campaigns import run
from airflow_provider_wts.campaigns.message_kinds import ChatbotKind, TemplateKind, TextKind
from airflow_provider_wts.campaigns.recipients import Recipient
from airflow_provider_wts.sending import clock, reconcile
from airflow_provider_wts.sending.ledger import LedgerEntry, Page

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_wts.emulator.running import Emulator
    from airflow_provider_wts.hooks.wts import WtsHook


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch, emulator: Emulator, hook: WtsHook) -> None:
    hook.client.timeout = 20.0
    monkeypatch.setattr(reconcile, "effect_lag", lambda timeout: 0.2)
    monkeypatch.setattr(reconcile, "_QUEUE_INTERVAL", 0.05)
    monkeypatch.setattr(reconcile, "QUEUE_WAIT", 0.3)
    monkeypatch.setattr(reconcile, "_REST_INTERVAL", 0.05)
    monkeypatch.setattr(reconcile, "_STANDSTILL", 0.3)
    emulator.switches.whatsapp_window = "off"


def killed(campaign: Campaign, recipients: list[Recipient], name: str, nth: int, *, finished: bool = True) -> None:
    """Let a campaign die right behind a request that took effect."""
    with pytest.MonkeyPatch.context() as patch:
        Death(patch, campaign.hook, campaign.task.store, name, nth)
        with pytest.raises(Killed):
            campaign.run(recipients, finished=finished)


def other_campaign(campaign: Campaign, recipients: list[Recipient]) -> None:
    """Send to the same people from another task: the marks of the first one are replaced in their sessions."""
    store = type(campaign.task.store)() if campaign.task.store is not None else None
    other = Campaign(campaign.hook, type(campaign.task)(store, task_id="other"), campaign.way)
    assert other.run(recipients) == {"sent": len(recipients)}


def slow_queue(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let the platform work on a queued entry only every so many seconds by its own clock."""
    agenda, waiting, pace = emulator.state.agenda, [0], [0.0]
    plan = agenda.after

    def after(seconds: float, what: Any, *more: Any, **named: Any) -> Any:
        if pace[0] and what.__qualname__.endswith("process"):
            waiting[0] += 1
            seconds = waiting[0] * pace[0]
        return plan(seconds, what, *more, **named)

    monkeypatch.setattr(agenda, "after", after)
    return lambda seconds: pace.__setitem__(0, seconds)


def with_answers(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any], operation_id: str) -> None:
    """Let the platform answer an operation in another way."""

    def other(operation: Any, reply: Any, *more: Any, **named: Any) -> Any:
        if operation.operation_id == operation_id and reply.status == 200:
            reply = Reply(200, reply.headers, json.dumps(change(json.loads(reply.body))).encode())
        return judge_reply(operation, reply, *more, **named)

    monkeypatch.setattr(client, "judge_reply", other)


# What is taken back ---------------------------------------------------------------------------------------------------


def test_a_second_attempt_that_fails_takes_back_nothing_but_its_own_sends(
    hook: WtsHook, emulator: Emulator, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine, the emulator needs a while to process the third.
    monkeypatch.setattr(reconcile, "QUEUE_WAIT", 30.0)
    emulator.switches.sender_id_in_messages = False
    first, second, third = people(3)
    # One whose text arrived, and nothing can show it; one whose text did not, and who meets the limit the second time.
    for recipient, when in ((first, "after"), (second, "before")):
        emulator.faults.add("reset", when=when, operation_id="send_text", body=recipient.to.split("|")[1])
    emulator.faults.add("status", status=429, operation_id="send_text", body=second.to.split("|")[1])
    campaign = Campaign(hook, task, TextKind(CHANNEL, {}, parallelism=2))
    with pytest.raises(WtsRateLimitError):
        campaign.run([first, second, third])
    assert campaign.run([first, second, third]) == {"sent": 2, "undecided": 1}
    assert received(emulator, [first, second, third]) == [1, 1, 1]


def test_a_resend_that_is_refused_leaves_the_earlier_send_unknown(hook: WtsHook, emulator: Emulator, task: Any) -> None:
    emulator.switches.sender_id_in_messages = False
    emulator.faults.add("reset", when="after", operation_id="send_text")
    emulator.faults.add("status", status=429, operation_id="send_text")
    campaign, customer = Campaign(hook, task, TextKind(CHANNEL, {}, parallelism=1)), people(1)
    with pytest.raises(WtsRateLimitError):
        campaign.run(customer, on_unknown="resend")
    assert campaign.run(customer) == {"undecided": 1}
    assert received(emulator, customer) == [1]


def test_the_log_says_for_how_long_a_retry_waits(
    hook: WtsHook, task: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    campaign, customer = Campaign(hook, task, TextKind(CHANNEL, {}, parallelism=1)), people(1)
    killed(campaign, customer, "send_text", 1)
    monkeypatch.setattr(reconcile, "effect_lag", lambda timeout: 118.0)
    monkeypatch.setattr(clock, "sleep", lambda *_: None)
    campaign.run(customer)
    assert re.search(r"an earlier try is unknown; asking WTS Chat in 11\d s\.", caplog.text)


def test_two_resends_without_an_answer_are_undecided(hook: WtsHook, emulator: Emulator, task: Any) -> None:
    emulator.switches.sender_id_in_messages = False
    campaign, customers = Campaign(hook, task, TextKind(CHANNEL, {}, parallelism=1)), people(2)
    number = customers[0].to.split("|")[1]
    emulator.faults.add("reset", when="after", operation_id="send_text", body=number, times=2)
    assert campaign.run(customers, on_unknown="resend") == {"undecided": 1, "sent": 1}
    assert received(emulator, customers) == [2, 1]


def test_a_page_of_which_half_a_request_is_taken_back_tells_no_requests_any_more() -> None:
    page = Page(0, datetime.now().astimezone(), {str(number): LedgerEntry() for number in range(20)}, 10, 0)
    page.retract([str(number) for number in range(10)])
    assert page.requests() == [[str(number) for number in range(10, 20)]]
    page = Page(0, datetime.now().astimezone(), {str(number): LedgerEntry() for number in range(20)}, 10, 0)
    page.retract([str(number) for number in range(5)])
    assert page.request_size == 1


# The queue of the platform --------------------------------------------------------------------------------------------


def test_the_rest_of_a_request_that_was_taken_is_waited_for(
    hook: WtsHook, emulator: Emulator, task: Any, chatbot: ChatbotKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "QUEUE_WAIT", 5.0)
    pace = slow_queue(emulator, monkeypatch)
    campaign, everybody = Campaign(hook, task, chatbot), people(20)
    assert campaign.run(everybody[:10], finished=False) == {"sent": 10}
    emulator.advance(5)
    pace(20.0)
    emulator.faults.add("reset", when="after", operation_id="queue_chatbot_batch")
    # An entry is worked on with each step of the inquiry.
    monkeypatch.setattr(run.Campaign, "_pause", lambda batch, seconds: emulator.advance(25))
    assert campaign.run(everybody) == {"sent": 20}
    assert calls(emulator, "queue_chatbot_batch") == 2
    emulator.advance(1000)
    assert received(emulator, everybody) == [1] * 20


def test_the_rest_of_a_request_that_was_taken_is_never_absent(
    hook: WtsHook, emulator: Emulator, task: Any, chatbot: ChatbotKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace = slow_queue(emulator, monkeypatch)
    campaign, everybody = Campaign(hook, task, chatbot), people(20)
    campaign.run(everybody[:10], finished=False)
    emulator.advance(5)
    pace(20.0)
    emulator.faults.add("reset", when="after", operation_id="queue_chatbot_batch")
    slept: list[float] = []

    def nap(batch: run.Campaign, seconds: float) -> None:
        # Three are worked on, then the queue stands still.
        emulator.advance(0 if slept else 65)
        slept.append(seconds)
        clock.sleep(seconds)

    monkeypatch.setattr(run.Campaign, "_pause", nap)
    assert campaign.run(everybody) == {"sent": 13, "undecided": 7}
    # So says the next try, too, which knows of the three from the ledger.
    assert campaign.run(everybody) == {"sent": 13, "undecided": 7}
    emulator.advance(1000)
    assert campaign.run(everybody) == {"sent": 20}
    assert received(emulator, everybody) == [1] * 20


def test_where_nothing_shows_how_far_the_queue_is_all_of_its_time_is_waited(
    hook: WtsHook, emulator: Emulator, task: Any, chatbot: ChatbotKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "QUEUE_WAIT", 2.0)
    emulator.switches.queue_seconds = 1.0
    # The first request of all, so nothing was given before.
    emulator.faults.add("reset", when="after", operation_id="queue_chatbot_batch")
    everybody = people(10)
    assert Campaign(hook, task, chatbot).run(everybody) == {"sent": 10}
    assert received(emulator, everybody) == [1] * 10


def test_what_failed_at_once_does_not_show_that_the_queue_moved_on(
    hook: WtsHook, emulator: Emulator, task: Any, chatbot: ChatbotKind
) -> None:
    emulator.switches.queue_seconds = 3600.0
    emulator.faults.add("reset", when="after", operation_id="queue_chatbot_batch", nth=2)
    everybody = people(20)
    everybody[9] = Recipient(10, "+55|bad", {})
    campaign = Campaign(hook, task, chatbot)
    assert campaign.run(everybody) == {"sent": 9, "failed": 1, "undecided": 10}
    emulator.advance(4000)
    assert campaign.run(everybody) == {"sent": 19, "failed": 1}
    assert received(emulator, everybody[10:]) == [1] * 10


def test_a_status_that_is_refused_does_not_show_that_the_queue_moved_on(
    hook: WtsHook, emulator: Emulator, task: Any, chatbot: ChatbotKind
) -> None:
    emulator.switches.queue_seconds = 3600.0
    emulator.faults.add("reset", when="after", operation_id="queue_chatbot_batch", nth=2)
    emulator.faults.add("status", status=404, operation_id="get_queued_chatbot_status", times=None)
    everybody = people(20)
    assert Campaign(hook, task, chatbot).run(everybody) == {"sent": 10, "undecided": 10}
    emulator.advance(4000)
    assert received(emulator, everybody) == [1] * 20


@pytest.mark.parametrize("status", ["queued", "Processing", "WAIT_REPLY", "ACCEPTED", None])
def test_only_a_status_that_shows_it_says_that_the_queue_moved_on(
    hook: WtsHook, emulator: Emulator, task: Any, chatbot: ChatbotKind, monkeypatch: pytest.MonkeyPatch, status: Any
) -> None:
    emulator.switches.queue_seconds = 3600.0
    emulator.faults.add("reset", when="after", operation_id="queue_chatbot_batch", nth=2)
    with_answers(monkeypatch, lambda answer: {**answer, "status": status}, "get_queued_chatbot_status")
    assert Campaign(hook, task, chatbot).run(everybody := people(20)) == {"sent": 10, "undecided": 10}
    emulator.advance(4000)
    assert received(emulator, everybody) == [1] * 20


def test_an_old_doubt_does_not_hurry_the_inquiry_about_a_new_one(
    hook: WtsHook, emulator: Emulator, task: Any, store: Any, bot_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    everybody = people(30)
    unmarked = ChatbotKind(bot_key, CHANNEL, {}, request_size=10, mark_session=False)
    emulator.faults.add("reset", when="after", operation_id="queue_chatbot_batch")
    assert Campaign(hook, task, unmarked).run(everybody[:20], finished=False) == {"undecided": 10, "sent": 10}
    for name in ("wts_ledger_0_0", "wts_ledger_0_1"):
        page = json.loads(store.values[name])
        page["intent"] = (datetime.fromisoformat(page["intent"]) - timedelta(hours=1)).isoformat()
        store.values[name] = json.dumps(page)
    marked = Campaign(hook, task, ChatbotKind(bot_key, CHANNEL, {}, request_size=10))
    # The platform works on the last request for longer than the next try takes to begin.
    emulator.switches.queue_seconds = 0.8
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconcile, "effect_lag", lambda timeout: 0.0)
        killed(marked, everybody, "queue_chatbot_batch", 1)
    monkeypatch.setattr(reconcile, "effect_lag", lambda timeout: 1.6)
    assert marked.run(everybody)["sent"] >= 20
    assert received(emulator, everybody[20:]) == [1] * 10


# A few for all --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ledger", [True, False], ids=["ledger", "no ledger"])
def test_quiet_recipients_do_not_speak_for_those_whose_sessions_changed(
    hook: WtsHook, emulator: Emulator, make_task: Any, store: Any, chatbot: ChatbotKind, ledger: bool
) -> None:
    emulator.switches.session_metadata = "replace"
    good, bad = people(6), [Recipient(50 + number, f"+55|bad{number}", {}) for number in range(4)]
    everybody = [bad[0], *good[:3], bad[1], bad[2], *good[3:], bad[3]]
    campaign = Campaign(hook, make_task(store if ledger else None), chatbot)
    if ledger:
        killed(campaign, everybody, "queue_chatbot_batch", 1)
    else:
        campaign.run(everybody)
    emulator.advance(3)
    other_campaign(campaign, good)
    emulator.advance(3)
    assert campaign.run(everybody) == {"failed": 4, "undecided": 6}
    assert received(emulator, good) == [2] * 6


@pytest.mark.parametrize("asked", ["by the same try", "by the next try"])
def test_no_request_speaks_for_those_after_it_while_the_list_of_sessions_lags_behind(
    hook: WtsHook, emulator: Emulator, task: Any, chatbot: ChatbotKind, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    everybody = people(30)
    campaign = Campaign(hook, task, chatbot, size=30)
    emulator.faults.add("reset", when="before", operation_id="queue_chatbot_batch")
    emulator.faults.add("reset", when="after", operation_id="queue_chatbot_batch", nth=2, times=2)
    changed = reconcile.changed_sessions
    monkeypatch.setattr(reconcile, "changed_sessions", lambda since: changed(since + timedelta(days=1)))
    if asked == "by the next try":
        emulator.faults.add("status", status=503, operation_id="list_sessions", times=None)
        with pytest.raises(WtsUnknownOutcomeError):
            campaign.run(everybody)
        emulator.faults.clear()
    assert campaign.run(everybody) == {"sent": 30}
    assert received(emulator, everybody) == [1] * 30


def test_without_a_ledger_nobody_asks_about_those_who_are_held_back(
    hook: WtsHook, emulator: Emulator, make_task: Any, chatbot: ChatbotKind
) -> None:
    campaign, everybody = Campaign(hook, make_task(None), chatbot), people(24)
    held_back = {recipient.to for recipient in everybody[::6]}
    campaign.exclusion = lambda to: "has the tag" if to in held_back else None
    assert campaign.run(everybody) == {"sent": 20, "skipped": 4}
    emulator.advance(3)
    assert campaign.run(everybody) == {"sent": 20, "skipped": 4}
    assert sum(received(emulator, everybody)) == 20


# Failed, and sent again -----------------------------------------------------------------------------------------------


def failing(way: TemplateKind, patch: pytest.MonkeyPatch) -> None:
    """Let the platform open the sessions with their marks, and answer that the messages failed."""
    answers = way.answers
    patch.setattr(
        way, "answers", lambda answer: [{**one, "status": "FAILED"} for one in answers(answer)], raising=False
    )


def test_the_trace_of_a_message_that_failed_is_not_taken_for_the_next_one(
    hook: WtsHook, emulator: Emulator, task: Any, template: TemplateKind, in_the_past: Any
) -> None:
    campaign, everybody = Campaign(hook, task, template), people(4)
    with pytest.MonkeyPatch.context() as patch:
        failing(template, patch)
        assert campaign.run(everybody, finished=False) == {"failed": 4}
    emulator.advance(5)
    task.clear()
    emulator.faults.add("reset", when="before", operation_id="send_template_batch")
    # Their sessions changed a moment ago, so nothing proves that the request had no effect.
    assert campaign.run(everybody) == {"undecided": 4}
    assert campaign.run(everybody, on_unknown="resend") == {"sent": 4}
    assert received(emulator, everybody) == [2] * 4


def test_the_variable_of_a_person_does_not_cover_what_is_lost_after_it(
    hook: WtsHook, emulator: Emulator, task: Any, template: TemplateKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign, everybody = Campaign(hook, task, template), people(4)
    with pytest.MonkeyPatch.context() as patch:
        failing(template, patch)
        assert campaign.run(everybody, finished=False) == {"failed": 4}
    emulator.advance(5)
    task.clear()
    emulator.faults.add("reset", when="before", operation_id="send_template_batch", times=None)
    assert campaign.run(everybody) == {"undecided": 4}
    before = calls(emulator, "send_template_batch")
    monkeypatch.setenv("AIRFLOW_VAR_WTS_RESEND", "campaign/run-1/send")
    task.clear()
    for _ in range(2):
        # The second run is an automatic retry.
        assert campaign.run(everybody) == {"undecided": 4}
        assert calls(emulator, "send_template_batch") == before + 1


def test_each_clear_tries_those_again_that_failed(
    hook: WtsHook, emulator: Emulator, task: Any, template: TemplateKind
) -> None:
    campaign, everybody = Campaign(hook, task, template), people(3)
    with pytest.MonkeyPatch.context() as patch:
        failing(template, patch)
        for _ in range(3):
            assert campaign.run(everybody, finished=False) == {"failed": 3}
            assert campaign.run(everybody, finished=False) == {"failed": 3}
            task.clear()
    assert campaign.run(everybody) == {"sent": 3}
    assert calls(emulator, "send_template_batch") == 4
    messages = [one for sent in emulator.requests_of("send_template_batch") for one in sent.body["messages"]]
    assert len({message["senderId"] for message in messages}) == 12


def test_a_cleared_task_that_dies_is_retried_for_those_that_failed_before(
    hook: WtsHook, emulator: Emulator, task: Any, text: TextKind
) -> None:
    campaign, everybody = Campaign(hook, task, text, size=1), people(10)
    for index in (2, 8):
        body = everybody[index].to.split("|")[1]
        emulator.faults.add("status", status=400, operation_id="send_text", body=body)
    assert campaign.run(everybody, finished=False) == {"sent": 8, "failed": 2}
    task.clear(retries=1)
    killed(campaign, everybody, "send_text", 1)
    assert campaign.run(everybody) == {"sent": 10}
    assert received(emulator, everybody) == [1] * 10


# Answers --------------------------------------------------------------------------------------------------------------

NOT_AN_OUTCOME: dict[str, Any] = {
    "an error in its place": lambda answer: {"key": "ENTITY_NOT_FOUND", "text": "Contato bloqueado"},
    "a reason of a failure, without a status": lambda answer: {"failedReason": "Número inválido"},
    "a status of tomorrow, with a reason": lambda answer: {**answer, "status": "REJECTED", "failedReason": "Inválido"},
    "nothing": lambda answer: {},
}


@pytest.mark.parametrize("names", [True, False], ids=["with senderId", "without"])
@pytest.mark.parametrize("instead", NOT_AN_OUTCOME.values(), ids=NOT_AN_OUTCOME.keys())
def test_who_got_nothing_is_not_sent_to_though_the_request_was_accepted(
    hook: WtsHook,
    emulator: Emulator,
    task: Any,
    chatbot: ChatbotKind,
    monkeypatch: pytest.MonkeyPatch,
    instead: Any,
    names: bool,
) -> None:
    def spoilt(answer: dict[str, Any]) -> dict[str, Any]:
        results = []
        for one in answer["results"]:
            told = instead(one) if one["status"] == "FAILED" else one
            results.append({**told, "senderId": one["senderId"] if names else None})
        return {"results": results}

    with_answers(monkeypatch, spoilt, "queue_chatbot_batch")
    everybody = people(10)
    everybody[3] = Recipient(4, "+55|bad", {})
    campaign = Campaign(hook, task, chatbot)
    assert campaign.run(everybody) == {"sent": 9, "undecided": 1}
    assert campaign.results["+55|bad"].status == "undecided"
    assert received(emulator, everybody) == [1] * 3 + [0] + [1] * 6


@pytest.mark.parametrize("order", [1, -1])
def test_answers_that_contradict_each_other_are_asked_about(
    hook: WtsHook, emulator: Emulator, task: Any, chatbot: ChatbotKind, monkeypatch: pytest.MonkeyPatch, order: int
) -> None:
    def twice(answer: dict[str, Any]) -> dict[str, Any]:
        first = answer["results"][0]
        return {"results": [*answer["results"], {**first, "status": "FAILED"}][::order]}

    with_answers(monkeypatch, twice, "queue_chatbot_batch")
    campaign, everybody = Campaign(hook, task, chatbot), people(10)
    assert campaign.run(everybody) == {"sent": 10}
    task.clear(retries=1)
    assert received(emulator, everybody) == [1] * 10


def test_a_sender_id_in_capitals_is_the_same(
    hook: WtsHook, emulator: Emulator, task: Any, chatbot: ChatbotKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loud(answer: dict[str, Any]) -> dict[str, Any]:
        return {"results": [{**one, "senderId": one["senderId"].upper()} for one in answer["results"]]}

    with_answers(monkeypatch, loud, "queue_chatbot_batch")
    campaign = Campaign(hook, task, chatbot)
    assert campaign.run(people(10)) == {"sent": 10}
    assert all(result.receipt["id"] for result in campaign.results.values())
    assert calls(emulator, *SEARCHES) == 0


def test_a_failure_without_a_name_is_nobodys(
    hook: WtsHook, emulator: Emulator, task: Any, chatbot: ChatbotKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.switches.batch_order = "shuffled"
    answers = chatbot.answers
    monkeypatch.setattr(
        chatbot, "answers", lambda answer: [{**one, "senderId": None} for one in answers(answer)], raising=False
    )
    everybody = people(20)
    everybody[3] = Recipient(4, "+55|bad", {})
    campaign = Campaign(hook, task, chatbot)
    assert campaign.run(everybody) == {"sent": 19, "undecided": 1}
    assert campaign.results["+55|bad"].status == "undecided"
    assert received(emulator, everybody) == [1] * 3 + [0] + [1] * 16


def test_a_try_that_raises_reports_those_of_its_chunk_who_got_it(hook: WtsHook, emulator: Emulator, task: Any) -> None:
    everybody = people(5)
    emulator.faults.add("status", status=429, operation_id="send_text", nth=4, times=None)
    campaign = Campaign(hook, task, TextKind(CHANNEL, {}, parallelism=1))
    with pytest.raises(WtsRateLimitError):
        campaign.run(everybody)
    assert [result.status for result in campaign.results.values()] == ["sent"] * 3


# Two tries at once ----------------------------------------------------------------------------------------------------


def test_a_page_that_another_try_writes_meanwhile_is_not_missing(
    hook: WtsHook, emulator: Emulator, task: Any, store: Any, chatbot: ChatbotKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign, everybody = Campaign(hook, task, chatbot), people(40)
    assert campaign.run(everybody) == {"sent": 40}
    late = {"wts_ledger_0_1": store.values.pop("wts_ledger_0_1")}
    get = store.get

    def read(key: str, default: Any = None) -> Any:
        if key == "wts_ledger_0_2":
            store.values.update(late)
        return get(key, default)

    monkeypatch.setattr(store, "get", read)
    assert campaign.run(everybody) == {"sent": 40}
    late.clear()
    del store.values["wts_ledger_0_1"]
    with pytest.raises(WtsInvalidRequestError, match="Page 1 of this task's ledger is missing"):
        campaign.run(everybody)
