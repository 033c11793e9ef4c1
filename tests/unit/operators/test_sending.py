"""What the operators that write to customers share, shown at the one that starts chatbots."""

from __future__ import annotations

import copy
import json
import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, AirflowSkipException, TaskDeferred
from airflow_version import AIRFLOW_VERSION
from tries import _never_expire  # noqa: F401

from airflow_provider_wts.api.addresses import readable
from airflow_provider_wts.api.errors import WtsError, WtsRateLimitError
from airflow_provider_wts.hooks.errors import use_retry_policy
from airflow_provider_wts.operators import sending as module
from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator
from airflow_provider_wts.operators.message import WtsSendFileOperator, WtsSendTextOperator
from airflow_provider_wts.sending.ledger import HEADER

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.running import Emulator

PHONE = "+55|11999998888"
NIGHT, DAY = datetime(2026, 11, 23, 3, tzinfo=UTC), datetime(2026, 11, 23, 15, tzinfo=UTC)
WINDOW = "08:00-20:00 America/Sao_Paulo"
OPENING = datetime(2026, 11, 23, 11, tzinfo=UTC)


class Clock:
    """The clock of a worker, whose sleeping takes no time."""

    def __init__(self) -> None:
        self.now_ = DAY
        self.slept: list[float] = []
        self.on_waking: Any = lambda: None

    def now(self, zone: Any = None) -> datetime:
        return self.now_

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_ += timedelta(seconds=seconds)
        self.on_waking()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "datetime", clock)
    monkeypatch.setattr(module, "time", clock)
    return clock


def operator(bot_key: str = "Cobrança", **parameters: Any) -> WtsSendChatbotOperator:
    return WtsSendChatbotOperator(**{"task_id": "send", "chatbot": bot_key, "to": PHONE, **parameters})


@pytest.fixture
def received(wts_connection: Emulator) -> Any:
    wts_connection.switches.change({"rate_limits": False})
    return lambda: len(wts_connection.received(PHONE))


# The cost -------------------------------------------------------------------------------------------------------------


def test_a_send_by_key_and_number_is_the_list_of_chatbots_and_one_request(
    wts_connection: Emulator, stateful_context: dict[str, Any], bot_key: str
) -> None:
    operator(bot_key, channel="+55|1140028922").execute(stateful_context)
    assert [request.operation_id for request in wts_connection.requests] == ["list_chatbots", "send_chatbot"]


# dry_run --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", [True, "true", "True", "1"])
def test_a_dry_run_returns_the_request_and_sends_nothing(
    wts_connection: Emulator, stateful_context: dict[str, Any], bot_key: str, flag: Any
) -> None:
    request = operator(bot_key, dry_run=flag, channel="+55|1140028922").execute(stateful_context)
    assert request["dry_run"] is True
    assert (request["method"], request["path"]) == ("POST", "/chat/v1/chatbot/send")
    assert request["body"]["to"] == PHONE
    assert json.dumps(request)
    assert {made.method for made in wts_connection.requests} <= {"GET"}
    assert stateful_context["task_state_store"].values == {}


@pytest.mark.parametrize(
    ("given", "now", "skipped", "waits_until"),
    [
        ({}, DAY, None, None),
        ({"send_window": WINDOW}, DAY, None, None),
        ({"send_window": WINDOW}, NIGHT, None, OPENING.isoformat()),
        ({"send_window": WINDOW, "outside_window": "skip"}, NIGHT, "the send window opens again", None),
        ({"not_after": "2026-11-23T14:00:00Z"}, DAY, "not_after is", None),
        ({"send_window": WINDOW, "not_after": "2026-11-23T10:00:00Z"}, NIGHT, "not_after is", None),
        ({"exclude_tags": ["VIP"]}, DAY, "has a tag of exclude_tags", None),
        ({"exclude_tags": ["Newsletter"]}, DAY, None, None),
        ({"exclude_blocked": True}, DAY, "the contact is blocked", None),
    ],
    ids=str,
)
def test_a_dry_run_rehearses_all_but_the_request(
    wts_connection: Emulator,
    received: Any,
    context: dict[str, Any],
    clock: Clock,
    given: dict[str, Any],
    now: datetime,
    skipped: str | None,
    waits_until: str | None,
) -> None:
    clock.now_ = now
    wts_connection.seed(contacts=[{"name": "Ana", "phone": PHONE, "tags": ["VIP"], "status": "BLOCKED"}])
    request = operator(dry_run=True, **given).execute(context)
    assert (skipped or "") in (request["skipped"] or "")
    assert bool(skipped) == bool(request["skipped"])
    assert request["waits_until"] == waits_until and clock.slept == [] and received() == 0  # noqa: PT018


@pytest.mark.parametrize("flag", [False, "false", "0"])
def test_no_dry_run_sends(received: Any, context: dict[str, Any], flag: Any) -> None:
    operator(dry_run=flag).execute(context)
    assert received() == 1


@pytest.mark.parametrize("flag", ["maybe", "", 2])
def test_a_dry_run_that_is_neither_yes_nor_no_sends_nothing(received: Any, context: dict[str, Any], flag: Any) -> None:
    with pytest.raises(AirflowFailException, match="dry_run"):
        operator(dry_run=flag).execute(context)
    assert received() == 0


def test_a_dry_run_tells_the_log_nothing_about_the_customer(
    wts_connection: Emulator,
    context: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with caplog.at_level(logging.INFO):
        operator(dry_run=True, session_metadata={"cpf": "123.456.789-09"}).execute(context)
    # Airflow 3 writes the logs of tasks to stdout here.
    logged = caplog.text + capsys.readouterr().out
    assert "nothing is sent" in logged
    assert "99998888" not in logged
    assert "123.456" not in logged


# not_after ------------------------------------------------------------------------------------------------------------


def test_after_not_after_nothing_is_sent(received: Any, context: dict[str, Any], clock: Clock) -> None:
    with pytest.raises(AirflowSkipException, match="not_after"):
        operator(not_after="2026-11-23T14:59:00+00:00").execute(context)
    assert received() == 0


def test_before_not_after_it_is_sent(received: Any, context: dict[str, Any], clock: Clock) -> None:
    operator(not_after="2026-11-23T15:01:00+00:00").execute(context)
    assert received() == 1


def test_a_window_that_opens_after_not_after_is_not_waited_for(
    received: Any, context: dict[str, Any], clock: Clock
) -> None:
    clock.now_ = NIGHT
    with pytest.raises(AirflowSkipException, match="not_after"):
        operator(not_after="2026-11-23T10:00:00+00:00", send_window=WINDOW).execute(context)
    assert clock.slept == []


def test_a_late_retry_returns_what_was_sent_in_time(
    received: Any, stateful_context: dict[str, Any], clock: Clock
) -> None:
    send = operator(not_after="2026-11-23T15:01:00+00:00")
    first = send.execute(stateful_context)
    clock.now_ += timedelta(hours=1)
    assert send.execute(stateful_context) == first


# send_window ----------------------------------------------------------------------------------------------------------


def test_inside_the_window_it_is_sent_at_once(received: Any, context: dict[str, Any], clock: Clock) -> None:
    operator(send_window=WINDOW).execute(context)
    assert (received(), clock.slept) == (1, [])


def test_outside_the_window_the_worker_waits(received: Any, context: dict[str, Any], clock: Clock) -> None:
    clock.now_ = NIGHT
    clock.on_waking = lambda: clock.slept.append(received())
    operator(send_window=WINDOW, deferrable=False).execute(context)
    assert clock.slept == [8 * 3600, 0]
    assert received() == 1


def test_outside_the_window_a_task_can_be_skipped(
    received: Any, context: dict[str, Any], clock: Clock, logged: Any
) -> None:
    clock.now_ = NIGHT
    with pytest.raises(AirflowSkipException, match="opens again at 2026-11-23T11:00"):
        operator(send_window=WINDOW, outside_window="skip").execute(context)
    assert received() == 0
    assert "opens again at 2026-11-23T11:00" in logged.text("warning")


@pytest.mark.parametrize("now", [DAY, NIGHT])
def test_a_choice_that_is_none_is_refused_and_skips_nobody(
    received: Any, context: dict[str, Any], clock: Clock, now: datetime
) -> None:
    clock.now_ = now
    with pytest.raises(AirflowFailException, match="outside_window"):
        operator(send_window=WINDOW, outside_window="Wait").execute(context)


def test_outside_the_window_a_deferrable_task_leaves_the_worker(
    received: Any, stateful_context: dict[str, Any], clock: Clock
) -> None:
    clock.now_ = NIGHT
    send = operator(send_window=WINDOW, deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        send.execute(stateful_context)
    path, kwargs = deferred.value.trigger.serialize()
    assert path.endswith("DateTimeTrigger")
    assert kwargs["moment"] == OPENING
    assert stateful_context["task_state_store"].get(HEADER)["sends"] == {}
    clock.now_ = OPENING
    getattr(send, deferred.value.method_name)(stateful_context, event=None)
    assert received() == 1


@pytest.mark.skipif(AIRFLOW_VERSION >= (3,), reason="Airflow 3 knows the call of a resumed task")
def test_airflow_2_takes_no_send_in_its_window_for_a_call_outside_of_a_task(
    received: Any, context: dict[str, Any], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.models import baseoperator

    monkeypatch.setattr(baseoperator.ExecutorSafeguard, "test_mode", False)
    clock.now_ = OPENING
    operator(send_window=WINDOW, allow_nested_operators=False).execute_in_window(context, event=None)
    assert received() == 1


def test_a_task_that_wakes_too_early_waits_on(received: Any, context: dict[str, Any], clock: Clock) -> None:
    clock.now_ = NIGHT
    send = operator(send_window=WINDOW, deferrable=True)
    with pytest.raises(TaskDeferred):
        send.execute_in_window(context, event=None)
    assert received() == 0


def test_a_wait_of_seconds_is_not_worth_a_deferral(received: Any, context: dict[str, Any], clock: Clock) -> None:
    clock.now_ = OPENING - timedelta(seconds=30)
    operator(send_window=WINDOW, deferrable=True).execute(context)
    assert clock.slept == [30]
    assert received() == 1


def test_a_customer_who_opted_out_while_the_worker_waited_is_held_back(
    received: Any, wts_connection: Emulator, context: dict[str, Any], clock: Clock
) -> None:
    clock.now_ = NIGHT
    vip = next(tag.id for tag in wts_connection.state.tags.by_creation() if tag["name"] == "VIP")

    def opt_out() -> None:
        with wts_connection.state.lock:
            wts_connection.state.add_contact({"phoneNumber": PHONE, "tagIds": [vip]})

    clock.on_waking = opt_out
    with pytest.raises(AirflowSkipException, match="exclude_tags"):
        operator(send_window=WINDOW, exclude_tags=["VIP"]).execute(context)
    assert received() == 0


# exclude_tags and exclude_blocked -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["BLOCKED", "ACTIVE"])
def test_a_blocked_contact_is_held_back(
    received: Any, wts_connection: Emulator, context: dict[str, Any], status: str
) -> None:
    with wts_connection.state.lock:
        wts_connection.state.add_contact({"phoneNumber": PHONE, "status": status})
    send = operator(exclude_blocked=True)
    if status == "ACTIVE":
        send.execute(context)
    else:
        with pytest.raises(AirflowSkipException, match="blocked"):
            send.execute(context)
    assert received() == (status == "ACTIVE")


def test_nothing_is_sent_where_the_tags_cannot_be_looked_up(
    received: Any, wts_connection: Emulator, context: dict[str, Any]
) -> None:
    wts_connection.faults.add("status", status=403, operation_id="get_contact_by_phone", times=None)
    with pytest.raises(AirflowFailException):
        operator(exclude_tags=["VIP"]).execute(context)
    assert received() == 0


# Ends of a task -------------------------------------------------------------------------------------------------------


def test_an_unknown_outcome_fails_the_task_for_good_and_names_the_recipient(
    received: Any, wts_connection: Emulator, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    wts_connection.faults.add("reset", when="after", operation_id="send_chatbot")
    with pytest.raises(AirflowFailException) as failed:
        operator(mark_session=False).execute(context)
    assert readable(PHONE) in str(failed.value)
    assert "on_unknown='resend'" in str(failed.value)
    assert received() == 1


def test_a_session_may_stand_in_the_place_of_a_blank_recipient(
    received: Any, wts_connection: Emulator, context: dict[str, Any]
) -> None:
    session = wts_connection.contact_writes(PHONE, "Oi", "+55|1140028922")["sessionId"]
    operator(to=" ", session_id=session).execute(context)
    assert received() == 1


# The retry policy -----------------------------------------------------------------------------------------------------

has_policies = pytest.mark.skipif(
    not hasattr(WtsSendChatbotOperator(task_id="x", chatbot="x"), "retry_policy"),
    reason="this Airflow has no retry policies",
)


@has_policies
def test_the_rate_limit_says_when_the_task_is_tried_again() -> None:
    error = WtsRateLimitError("used up", retry_after=42.0)
    decision = operator().retry_policy.evaluate(error, 1, 3)
    assert decision.retry_delay == timedelta(seconds=42)
    # Airflow 3.4 can run it again without using a retry.
    if hasattr(decision, "reschedule_timeout"):
        assert (decision.action.value, decision.reschedule_timeout) == ("reschedule", timedelta(seconds=300))
    else:
        assert decision.action.value == "retry"


@has_policies
def test_every_other_error_is_left_to_the_task() -> None:
    assert operator().retry_policy.evaluate(RuntimeError(), 1, 3).action.value == "default"


@has_policies
def test_a_mapped_task_has_the_policy_too() -> None:
    with DAG("mapped", schedule=None):
        mapped = WtsSendChatbotOperator.partial(task_id="send", chatbot="x").expand(to=[PHONE])
    assert mapped.unmap({"to": PHONE}).retry_policy is not None


@has_policies
def test_a_policy_of_the_author_stays() -> None:
    from airflow.sdk import ExceptionRetryPolicy

    mine = ExceptionRetryPolicy(rules=[])
    assert operator(retry_policy=mine).retry_policy is mine
    with DAG("defaults", schedule=None, default_args={"retry_policy": mine}):
        assert operator().retry_policy is mine


@has_policies
def test_a_task_with_the_policy_can_be_copied_and_serialized() -> None:
    with DAG("serialized", schedule=None) as dag:
        copied = copy.deepcopy(operator())
    assert copied.retry_policy is not None
    from airflow.serialization.serialized_objects import DagSerialization

    assert DagSerialization.to_dict(dag)["dag"]["tasks"]


def test_an_airflow_without_policies_is_left_as_it_is() -> None:
    class Operator:
        pass

    old = Operator()
    use_retry_policy(old)  # type: ignore[arg-type]
    assert not hasattr(old, "retry_policy")


# A try that Airflow has given up --------------------------------------------------------------------------------------


class OfOneTry:
    """Airflow's store as one try sees it: once the task has another id, nothing is found, and nothing can be written.

    :param store: what all tries share.
    """

    def __init__(self, store: Any) -> None:
        self.store = store
        self.given_up = False

    def get(self, key: str, default: Any = None) -> Any:
        return default if self.given_up else self.store.get(key, default)

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        if self.given_up:
            raise RuntimeError("404: Task instance not found")
        self.store.set(key, value)


@pytest.fixture(params=["store", "files"])
def two_tries(
    request: pytest.FixtureRequest, stateful_context: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The contexts of a first try that is given up while it runs, and of the second."""
    store = stateful_context["task_state_store"]
    if request.param == "files":
        monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", str(tmp_path))
    first = {**stateful_context, "task_state_store": OfOneTry(store)}
    second = {**first, "ti": copy.copy(first["ti"]), "task_state_store": OfOneTry(store)}
    second["ti"].try_number = 2
    return first, second


def sending(kind: str, bot_key: str, file: Any) -> Any:
    """Return an operator that looks something up before it sends."""
    if kind == "chatbot":
        return operator("Cobrança")
    if kind == "text":
        return WtsSendTextOperator(task_id="send", to=PHONE, text="Olá", user="Ana Souza", channel="+55|1140028922")
    return WtsSendFileOperator(task_id="send", to=PHONE, file=str(file), channel="+55|1140028922")


@pytest.mark.parametrize("kind", ["chatbot", "text", "file"])
@pytest.mark.parametrize("waits_for", ["a name or an upload", "the rate limit"])
def test_a_first_try_that_is_given_up_while_it_waits_sends_nothing(
    received: Any, wts_connection: Emulator, two_tries: Any, bot_key: str, tmp_path: Any, kind: str, waits_for: str
) -> None:
    file = tmp_path / "invoice.pdf"
    file.write_bytes(b"%PDF-")
    first, second = two_tries
    stalled = sending(kind, bot_key, file)
    real, waited = stalled.hook.client._budget, []

    class Waits:
        """A budget that keeps one request waiting until the second try has done everything."""

        def acquire(self, asked: Any, **limits: Any) -> float:
            is_send = asked.operation_id in {"send_chatbot", "send_text", "send_document"}
            if not waited and is_send == (waits_for == "the rate limit"):
                waited.append(asked.operation_id)
                first["task_state_store"].given_up = True
                sending(kind, bot_key, file).execute(second)
            return real.acquire(asked, **limits)

    stalled.hook.client._budget = Waits()
    with pytest.raises(WtsError, match="taken over"):
        stalled.execute(first)
    assert waited
    wts_connection.advance(5)
    assert received() == 1


@pytest.mark.parametrize("kind", ["chatbot", "text"])
def test_a_first_try_that_begins_after_its_successor_sends_nothing(
    received: Any, wts_connection: Emulator, two_tries: Any, bot_key: str, kind: str
) -> None:
    first, second = two_tries
    first["task_state_store"].given_up = True
    sending(kind, bot_key, None).execute(second)
    with pytest.raises(WtsError, match=r"taken over|cannot be written"):
        sending(kind, bot_key, None).execute(first)
    wts_connection.advance(5)
    assert received() == 1


# Two Airflows that share a ledger folder, and have the same DAG, and no name of their own -----------------------------


@pytest.fixture
def try_of(context: dict[str, Any], tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", f"file://{tmp_path}/ledger")

    def make(began: datetime, number: int = 1) -> dict[str, Any]:
        task_instance = copy.copy(context["ti"])
        task_instance.try_number = number
        return {"ti": task_instance, "dag_run": SimpleNamespace(start_date=began, clear_number=0)}

    return make


def kill_after_the_send(bot_key: str, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    killed = operator(bot_key)
    run = killed.hook.run

    def run_and_die(call: Any, **options: Any) -> Any:
        answer = run(call, **options)
        if call.operation_id == "send_chatbot":
            raise SystemExit
        return answer

    monkeypatch.setattr(killed.hook, "run", run_and_die)
    with pytest.raises(SystemExit):
        killed.execute(context)


def test_a_retry_whose_ledger_another_airflow_replaced_does_not_send_again(
    received: Any, try_of: Any, bot_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_after_the_send(bot_key, try_of(DAY), monkeypatch)
    operator(bot_key).execute(try_of(DAY + timedelta(seconds=30)))
    with pytest.raises(AirflowFailException, match=r"another Airflow.*\[wts\] deployment"):
        operator(bot_key).execute(try_of(DAY, 2))
    assert received() == 2


def test_a_run_that_began_first_does_not_replace_the_ledger_of_another_airflow(
    received: Any, try_of: Any, bot_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_after_the_send(bot_key, try_of(DAY), monkeypatch)
    with pytest.raises(AirflowFailException, match=r"another Airflow.*\[wts\] deployment"):
        operator(bot_key).execute(try_of(DAY - timedelta(seconds=30)))
    # The other one goes on, and finds what it sent.
    operator(bot_key).execute(try_of(DAY, 2))
    assert received() == 1


def test_a_run_that_was_created_again_sends_again(received: Any, try_of: Any, bot_key: str) -> None:
    operator(bot_key).execute(try_of(DAY))
    operator(bot_key).execute(try_of(DAY + timedelta(seconds=30)))
    assert received() == 2
