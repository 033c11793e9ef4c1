"""Metrics: what is counted, and that they never get in the way."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wts.api.chatbots import send_chatbot
from airflow_provider_wts.api.directory import list_channels
from airflow_provider_wts.hooks import metrics
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.operators.campaign import WtsSendTextBatchOperator
from airflow_provider_wts.operators.message import WtsSendTextOperator
from airflow_provider_wts.triggers.session import WtsSessionTrigger
from airflow_provider_wts.waiting import poller as polling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_wts.emulator.running import Emulator


class Stats:
    """Airflow's ``Stats``, as a backend with tags sees it."""

    def __init__(self) -> None:
        self.counters: dict[tuple[str, ...], float] = defaultdict(float)
        self.gauges: dict[tuple[str, ...], list[float]] = defaultdict(list)
        self.broken = False

    def incr(self, name: str, number: float = 1, *, tags: dict[str, str] | None = None) -> None:
        self._refuse()
        self.counters[(name, *(tags or {}).values())] += number

    def gauge(self, name: str, value: float, *, tags: dict[str, str] | None = None) -> None:
        self._refuse()
        self.gauges[(name, *(tags or {}).values())].append(value)

    def _refuse(self) -> None:
        if self.broken:
            raise OSError("no route to the StatsD server")

    def of(self, name: str) -> dict[tuple[str, ...], float]:
        return {tags: number for (one, *tags_), number in self.counters.items() if one == name for tags in [(*tags_,)]}


@pytest.fixture
def stats(monkeypatch: pytest.MonkeyPatch) -> Stats:
    """What Airflow's metrics get, with a backend that has tags."""
    made = Stats()
    monkeypatch.setattr(metrics, "_backend", lambda: metrics._Backend(made, has_tags=True))
    return made


@pytest.fixture(autouse=True)
def quick(wts_connection: Emulator) -> Iterator[None]:
    wts_connection.switches.change({"whatsapp_window": "off", "queue_seconds": 0})
    metrics._warn_once.cache_clear()
    metrics._backend.cache_clear()
    yield
    getattr(metrics._backend, "cache_clear", lambda: None)()


def send(context: dict[str, Any], **parameters: Any) -> Any:
    return WtsSendTextOperator(task_id="send", to="+55 11 99999-0001", text="Olá", **parameters).execute(context)


def test_each_attempt_is_a_request_with_its_outcome(stats: Stats, wts_connection: Emulator) -> None:
    wts_connection.faults.add("status", status=503, operation_id="list_channels", times=1)
    wts_connection.faults.add("status", status=429, retry_after="1", operation_id="list_channels", times=1)
    WtsHook(client_settings={"sleep": lambda seconds: None}).run(list_channels())
    assert stats.of("wts.requests") == {
        ("list_channels", "unknown"): 1,
        ("list_channels", "rate_limited"): 1,
        ("list_channels", "answered"): 1,
    }


def test_a_wait_after_a_429_counts_in_seconds(stats: Stats, wts_connection: Emulator) -> None:
    wts_connection.faults.add("status", status=429, retry_after="7", operation_id="list_channels", times=1)
    slept: list[float] = []
    WtsHook(client_settings={"sleep": slept.append}).run(list_channels())
    assert stats.of("wts.limit_wait") == {("server",): pytest.approx(sum(slept))}
    assert sum(slept) >= 7


def test_a_wait_for_our_own_count_counts_in_seconds(stats: Stats, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = iter([2.5, 0.0])
    monkeypatch.setattr("airflow_provider_wts.api.budget._memory.take", lambda account, limits: next(waits))
    WtsHook(client_settings={"sleep": lambda seconds: None}).client.perform_once(list_channels())
    assert stats.of("wts.limit_wait") == {("own",): 2.5}


def test_a_send_counts_once_though_a_later_try_returns_it_again(stats: Stats, stateful_context: dict[str, Any]) -> None:
    send(stateful_context)
    stateful_context["ti"].try_number = 2
    stateful_context["ti"].max_tries = 1
    send(stateful_context, on_clear="continue")
    assert stats.of("wts.sends") == {("send_text", "sent"): 1}


def test_a_refused_send_counts_as_failed(stats: Stats, wts_connection: Emulator, context: dict[str, Any]) -> None:
    wts_connection.faults.add("status", status=400, operation_id="send_text")
    with pytest.raises(Exception, match="send_text"):
        send(context)
    assert stats.of("wts.sends") == {("send_text", "failed"): 1}


def test_a_lost_answer_counts_what_the_search_found(
    stats: Stats, wts_connection: Emulator, context: dict[str, Any]
) -> None:
    wts_connection.faults.add("reset", when="after", operation_id="send_text", times=1)
    send(context)
    assert stats.of("wts.reconciliations") == {("found",): 1}
    assert stats.of("wts.sends") == {("send_text", "sent"): 1}


def test_a_send_that_cannot_be_confirmed_counts_as_undecided(
    stats: Stats, wts_connection: Emulator, context: dict[str, Any]
) -> None:
    wts_connection.faults.add("reset", when="after", operation_id="send_text")
    wts_connection.faults.add("status", status=400, operation_id="get_contact_by_phone", times=99)
    with pytest.raises(Exception, match="no confirmation"):
        send(context)
    assert stats.of("wts.reconciliations") == {("undecided",): 1}
    assert stats.of("wts.sends") == {("send_text", "undecided"): 1}


def test_a_search_that_the_api_does_not_answer_counts_as_unanswered(
    stats: Stats, wts_connection: Emulator, context: dict[str, Any]
) -> None:
    wts_connection.faults.add("reset", when="after", operation_id="send_text")
    wts_connection.faults.add("status", status=429, retry_after="3000", operation_id="list_sessions")
    with pytest.raises(Exception, match="could not be asked"):
        send(context)
    assert stats.of("wts.reconciliations") == {("unanswered",): 1}


def test_a_campaign_counts_each_recipient_by_outcome(
    stats: Stats, wts_connection: Emulator, context: dict[str, Any]
) -> None:
    wts_connection.faults.add("status", status=400, operation_id="send_text", body="invoice 3.")
    people = [{"to": f"+55 11 99999-{number:04d}", "text": f"invoice {number}."} for number in range(8)]
    WtsSendTextBatchOperator(task_id="campaign", recipients=people).execute(context)
    assert stats.of("wts.sends") == {("send_text", "sent"): 7, ("send_text", "failed"): 1}


def test_polls_waiters_and_the_age_of_the_last_poll(
    stats: Stats, wts_connection: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "SECONDS_PER_CALL", 0.0)
    wts_connection.faults.add("status", status=503, operation_id="get_session", times=1)
    hook = WtsHook()
    call = send_chatbot(bot_key=hook.names.chatbot("Cobrança"), to="+55|11999990001")
    session_id = str(hook.run(call)["id"])
    now = datetime.now(UTC)
    waiting = WtsSessionTrigger(
        wts_conn_id="wts_default",
        session_id=session_id,
        target_status=["COMPLETED"],
        failed_status=[],
        poll_interval=0.01,
        earliest=now.isoformat(),
        deadline=(now + timedelta(seconds=60)).isoformat(),
    )

    async def wait() -> None:
        async for _ in waiting.run():
            return

    async def main() -> None:
        task = asyncio.create_task(wait())
        while not stats.of("wts.polls").get(("waits", "wts_default", "succeeded")):
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        while stats.gauges[waiters][-1]:
            await asyncio.sleep(0.01)

    waiters = ("wts.waiters", "wts_default", metrics.socket.gethostname().replace(".", "_"))
    asyncio.run(asyncio.wait_for(main(), 60))
    assert stats.of("wts.polls")["waits", "wts_default", "failed"] == 1
    assert stats.gauges[waiters][0] == 1
    (ages,) = (values for name, values in stats.gauges.items() if name[0] == "wts.poll_age")
    assert ages[0] > 0
    assert ages[-1] == 0


def test_no_tag_holds_a_recipient_or_a_text(stats: Stats, wts_connection: Emulator, context: dict[str, Any]) -> None:
    wts_connection.faults.add("reset", when="after", operation_id="send_text", times=1)
    send(context)
    names = " ".join(part for name in (*stats.counters, *stats.gauges) for part in name)
    assert "99999" not in names
    assert "Olá" not in names


def test_a_backend_without_tags_gets_their_values_in_the_name(stats: Stats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_backend", lambda: metrics._Backend(stats, has_tags=False))
    metrics.PollMetrics("waits", "wts.sales/br").polled(succeeded=True)
    assert ("wts.polls.waits.wts_sales_br.succeeded",) in stats.counters


def test_metrics_that_fail_break_no_send_and_are_reported_once(
    stats: Stats, wts_connection: Emulator, context: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    stats.broken = True
    with caplog.at_level(logging.WARNING, logger=metrics.__name__):
        assert send(context)["id"]
    assert len(wts_connection.received("+5511999990001")) == 1
    assert [record.message for record in caplog.records if record.name == metrics.__name__] == [
        "Metrics cannot be sent, which affects nothing else: OSError: no route to the StatsD server"
    ]


def test_a_setting_that_cannot_be_read_breaks_no_send(
    context: dict[str, Any], wts_connection: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "perhaps")
    assert send(context)["id"]


def test_where_airflow_sends_no_metrics_the_client_has_nobody_to_tell() -> None:
    assert metrics.request_metrics() is None
    assert WtsHook().client._observer is None


@pytest.mark.parametrize(
    ("settings", "has_tags"),
    [
        ({"STATSD_ON": "True"}, False),
        ({"STATSD_ON": "True", "STATSD_INFLUXDB_ENABLED": "True"}, True),
        ({"STATSD_ON": "True", "STATSD_DATADOG_ENABLED": "True"}, True),
        ({"OTEL_ON": "True"}, True),
    ],
)
def test_a_backend_has_tags_as_airflow_is_set(
    settings: dict[str, str], has_tags: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"AIRFLOW__METRICS__{name}", value)
    backend = metrics._backend()
    assert backend is not None
    assert backend.has_tags is has_tags
