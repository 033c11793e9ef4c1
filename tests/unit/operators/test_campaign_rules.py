"""Rules about who gets the message of a campaign: what each refuses, in the results, after a clear and in a dry run."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow_version import AIRFLOW_VERSION

from airflow_provider_wts.campaigns.run import Campaign
from airflow_provider_wts.operators.chatbot import WtsSendChatbotBatchOperator
from airflow_provider_wts.operators.message import WtsSendTextBatchOperator
from airflow_provider_wts.sending.holdout import Holdout

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_wts.emulator.running import Emulator


pytestmark = pytest.mark.usefixtures("fast_queue", "ledger")


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
        ({"holdout": 10}, "holdout: 10 must be at least 0"),
        ({"holdout_key": "winter"}, "holdout_key: has no effect without holdout"),
    ],
    ids=str,
)
def test_a_holdout_that_cannot_be_meant_is_refused(
    wts_connection: Emulator, context: dict[str, Any], parameters: dict[str, Any], words: str
) -> None:
    with pytest.raises(AirflowFailException, match=words):
        text(recipients=phones(3), **parameters).execute(context)
    assert addressed(wts_connection) == []


# Pace -----------------------------------------------------------------------------------------------------------------


def test_a_pace_makes_small_requests_and_waits_between_them(
    wts_connection: Emulator, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    now = [1000.0]

    def wait(campaign: Campaign, seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    monkeypatch.setattr("airflow_provider_wts.sending.pace.seconds", lambda: now[0])
    monkeypatch.setattr(Campaign, "_pause", wait)
    counts = chatbot(recipients=phones(60), max_per_minute="60").execute(context)
    assert counts["sent"] == 60
    sizes = [len(one.body["messages"]) for one in wts_connection.requests_of("queue_chatbot_batch")]
    assert sizes == [5] * 12
    assert sum(waits) == pytest.approx(50)


def test_a_try_that_goes_on_waits_out_the_minute_of_the_one_before(
    wts_connection: Emulator, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", f"file://{tmp_path}/ledger")
    waits: list[float] = []
    now = [1000.0]

    def killed(campaign: Campaign, seconds: float) -> None:
        raise KeyboardInterrupt

    def wait(campaign: Campaign, seconds: float) -> None:
        if not waits:
            assert len(wts_connection.requests_of("queue_chatbot_batch")) == 2
        waits.append(seconds)
        now[0] += seconds

    monkeypatch.setattr("airflow_provider_wts.sending.pace.seconds", lambda: now[0])
    monkeypatch.setattr(Campaign, "_pause", killed)
    with pytest.raises(KeyboardInterrupt):
        chatbot(recipients=phones(25), max_per_minute=60).execute(context)
    monkeypatch.setattr(Campaign, "_pause", wait)
    context["ti"].try_number += 1
    assert chatbot(recipients=phones(25), max_per_minute=60).execute(context)["sent"] == 25
    assert waits == pytest.approx([60, 10])
    assert sorted(addressed(wts_connection)) == phones(25)


def test_a_dry_run_shows_how_long_it_takes_and_does_not_wait(wts_connection: Emulator, context: dict[str, Any]) -> None:
    shown = chatbot(recipients=phones(90), max_per_minute=2, dry_run=True).execute(context)
    assert (shown["to_send"], shown["minutes"]) == (90, 45.0)
    assert chatbot(recipients=phones(90), dry_run=True).execute(context)["minutes"] is None


@pytest.mark.parametrize("pace", [0, -1, 1.5, "many"])
def test_a_pace_that_is_no_number_is_refused(wts_connection: Emulator, context: dict[str, Any], pace: Any) -> None:
    with pytest.raises(AirflowFailException, match="max_per_minute"):
        chatbot(recipients=phones(3), max_per_minute=pace).execute(context)


# Cap ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def redis_connection(wts_connection: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """An account whose connection names a Redis server, which is real."""
    redis = pytest.importorskip("redis", reason="max_per_contact needs the package redis")
    try:
        redis.Redis(socket_connect_timeout=0.5).ping()
    except redis.RedisError:
        pytest.skip("no Redis server at 127.0.0.1:6379")
    extra = {"rate_limit_conn_id": "redis_default", "rate_limit_key": f"test-{uuid.uuid4().hex}"}
    connection = {"conn_type": "wts", "host": wts_connection.url, "password": wts_connection.token, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", json.dumps({"conn_type": "redis", "host": "127.0.0.1"}))
    return wts_connection


def in_dag(context: dict[str, Any], dag_id: str) -> dict[str, Any]:
    """The context of the same task in another DAG."""
    ti = type(context["ti"])()
    ti.dag_id = dag_id
    return {**context, "ti": ti}


def test_nobody_gets_more_than_the_cap_from_three_dags_at_the_same_time(
    redis_connection: Emulator, context: dict[str, Any]
) -> None:
    def run(dag_id: str) -> dict[str, Any]:
        campaign = {"recipients": phones(120), "max_per_contact": "2 per 7 days", "chunk_size": 7}
        return chatbot(**campaign).execute(in_dag(context, dag_id))

    with ThreadPoolExecutor(3) as pool:
        # Airflow 2 runs operators in the main thread of a process only.
        run_each = pool.map if AIRFLOW_VERSION >= (3,) else map
        counts = list(run_each(run, ("offers", "reminders", "surveys")))
    assert sum(one["sent"] for one in counts) == 240
    assert sum(one["skipped"] for one in counts) == sum(one["rules"].get("max_per_contact", 0) for one in counts) == 120
    assert set(Counter(addressed(redis_connection)).values()) == {2}


def test_a_message_that_failed_does_not_count(redis_connection: Emulator, context: dict[str, Any]) -> None:
    redis_connection.faults.add("status", status=400, operation_id="send_text", times=1, body="11910000000")
    campaign = {"recipients": phones(3), "max_per_contact": "1 per day"}
    assert text(**campaign).execute(context)["failed"] == 1
    counts = text(**campaign).execute(in_dag(context, "again"))
    assert (counts["sent"], counts["skipped"]) == (1, 2)
    assert addressed(redis_connection).count(phone(0)) == 2


def test_a_campaign_that_is_tried_again_counts_once(
    redis_connection: Emulator, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_wts.sending.reconcile.effect_lag", lambda timeout: 0.1)
    redis_connection.faults.add("status", status=401, operation_id="send_text", nth=4, times=None)
    campaign = {"recipients": phones(9), "max_per_contact": "1 per day", "chunk_size": 3, "parallelism": 1}
    with pytest.raises(AirflowFailException):
        text(**campaign).execute(context)
    redis_connection.faults.clear()
    assert text(**campaign).execute(cleared(context))["sent"] == 9
    assert text(**campaign).execute(in_dag(context, "other"))["skipped"] == 9


def test_a_dry_run_shows_who_is_over_the_cap_and_counts_nothing(
    redis_connection: Emulator, context: dict[str, Any]
) -> None:
    campaign = {"max_per_contact": "1 per day"}
    chatbot(recipients=phones(5), **campaign).execute(context)
    other = in_dag(context, "other")
    for _ in range(2):
        shown = chatbot(recipients=phones(20), dry_run=True, **campaign).execute(other)
        assert (shown["to_send"], shown["skipped"], shown["rules"]) == (15, 5, {"max_per_contact": 5})
    assert "already got 1 per day" in shown["not_reached"][0]["reason"]
    assert chatbot(recipients=phones(20), **campaign).execute(other)["sent"] == 15


def test_without_redis_the_cap_is_refused_before_anything_is_sent(
    wts_connection: Emulator, context: dict[str, Any]
) -> None:
    for dry_run in (True, False):
        with pytest.raises(AirflowFailException, match=r"max_per_contact: needs a Redis server"):
            chatbot(recipients=phones(3), max_per_contact="1 per day", dry_run=dry_run).execute(context)
    assert addressed(wts_connection) == []


# Suppression ----------------------------------------------------------------------------------------------------------


def test_people_on_a_list_get_no_message(wts_connection: Emulator, context: dict[str, Any], tmp_path: Path) -> None:
    listed = tmp_path / "optouts.csv"
    listed.write_text("phone\n" + "\n".join(phones(40)[::2]) + "\n")
    campaign = {"recipients": phones(40), "suppression_path": str(listed)}
    shown = chatbot(**campaign, dry_run=True).execute(context)
    assert (shown["to_send"], shown["rules"]) == (20, {"suppression_path": 20})
    assert chatbot(**campaign).execute(context)["sent"] == 20
    assert sorted(addressed(wts_connection)) == phones(40)[1::2]


def test_a_list_with_a_row_that_cannot_be_read_stops_the_campaign(
    wts_connection: Emulator, context: dict[str, Any], tmp_path: Path
) -> None:
    listed = tmp_path / "optouts.csv"
    listed.write_text("phone\n11 97777-0001\n1197\n")
    for dry_run in (True, False):
        with pytest.raises(AirflowFailException, match=r"suppression_path: 1 of 2 rows cannot be read"):
            chatbot(recipients=phones(3), suppression_path=str(listed), dry_run=dry_run).execute(context)
    assert addressed(wts_connection) == []


# The 24-hour window ---------------------------------------------------------------------------------------------------


@pytest.fixture
def mixed(wts_connection: Emulator) -> Emulator:
    """An account in which every second of 1,000 contacts has written in the last 24 hours, and some before that."""
    wts_connection.switches.change({"whatsapp_window": "warn", "rate_limits": False})
    now = datetime.now(UTC)
    hours = {phone(index): 1.0 if index % 2 == 0 else 30.0 for index in range(1000) if index % 4 != 3}
    wts_connection.seed(
        contacts=[{"name": to, "phone": to} for to in phones(1000)],
        sessions=[{"contact": to, "at": (now - timedelta(hours=ago + 1)).isoformat()} for to, ago in hours.items()],
        messages=[
            {"session": to, "from": "contact", "text": "Oi", "at": (now - timedelta(hours=ago)).isoformat()}
            for to, ago in hours.items()
        ],
    )
    return wts_connection


@pytest.mark.parametrize(("outside", "status"), [("skip", "skipped"), ("fail", "failed")])
def test_no_text_goes_to_whom_is_outside_of_the_24_hours(
    mixed: Emulator, context: dict[str, Any], outside: str, status: str
) -> None:
    campaign = {"recipients": phones(1000), "outside_24h": outside, "channel": "WhatsApp principal"}
    counts = text(**campaign, chunk_size=100).execute(context)
    assert (counts["sent"], counts[status]) == (500, 500)
    assert counts["rules"] == {"outside_24h": 500}
    assert sorted(addressed(mixed)) == phones(1000)[::2]
    assert len(mixed.requests) - 500 <= 15
    mixed.advance(2)
    assert mixed.violations == []


def test_a_dry_run_shows_who_is_outside(mixed: Emulator, context: dict[str, Any]) -> None:
    campaign = {"recipients": phones(20), "outside_24h": "skip", "channel": "WhatsApp principal"}
    shown = text(**campaign, dry_run=True).execute(context)
    assert (shown["to_send"], shown["rules"]) == (10, {"outside_24h": 10})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"outside_24h": "stop"}, r"outside_24h: 'stop' is not a valid value"),
        ({"outside_24h": "skip", "channel": None}, "outside_24h: requires a channel"),
        ({"outside_24h": "skip", "force_start_session": True}, "force_start_session opens a new conversation"),
    ],
    ids=str,
)
def test_a_window_that_cannot_be_kept_is_refused(
    mixed: Emulator, context: dict[str, Any], given: dict[str, Any], words: str
) -> None:
    with pytest.raises(AirflowFailException, match=words):
        text(**{"recipients": phones(3), "channel": "WhatsApp principal", **given}).execute(context)
    assert addressed(mixed) == []


# A suppression list from a database -----------------------------------------------------------------------------------


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sqlite3.Connection:
    """A database that the connection ``warehouse`` leads to."""
    sql = pytest.importorskip("airflow.providers.common.sql.hooks.sql", reason="needs the extra sql")

    class Hook(sql.DbApiHook):  # type: ignore[misc, name-defined]
        """The hook of SQLite, without the provider that would bring it."""

        conn_name_attr = "conn_id"

        def get_conn(self) -> Any:
            return sqlite3.connect(tmp_path / "db.sqlite")

    monkeypatch.setattr(sql.DbApiHook, "get_hook", classmethod(lambda cls, conn_id, hook_params=None: Hook(conn_id)))
    database = sqlite3.connect(tmp_path / "db.sqlite")
    database.execute("CREATE TABLE optouts (phone TEXT)")
    return database


def test_people_whom_a_query_returns_get_no_message(
    wts_connection: Emulator, context: dict[str, Any], warehouse: sqlite3.Connection
) -> None:
    given = {"suppression_sql": "SELECT phone FROM optouts", "suppression_conn_id": "warehouse"}
    with pytest.raises(AirflowFailException, match="suppression_sql: the list is empty"):
        chatbot(recipients=phones(4), **given).execute(context)
    warehouse.executemany("INSERT INTO optouts VALUES (?)", [(to,) for to in phones(40)[::2]])
    warehouse.commit()
    shown = chatbot(recipients=phones(40), **given, dry_run=True).execute(context)
    assert (shown["to_send"], shown["rules"]) == (20, {"suppression_sql": 20})
    assert chatbot(recipients=phones(40), **given).execute(cleared(context))["sent"] == 20
    assert sorted(addressed(wts_connection)) == phones(40)[1::2]


@pytest.mark.parametrize("given", [{"suppression_sql": "SELECT 1"}, {"suppression_conn_id": "warehouse"}], ids=str)
def test_a_query_needs_its_connection(wts_connection: Emulator, context: dict[str, Any], given: dict[str, Any]) -> None:
    with pytest.raises(AirflowFailException, match="suppression_sql, suppression_conn_id: give both of them"):
        chatbot(recipients=phones(4), **given).execute(context)


def test_the_query_of_a_suppression_list_takes_parameters(
    wts_connection: Emulator, context: dict[str, Any], warehouse: sqlite3.Connection
) -> None:
    warehouse.executemany("INSERT INTO optouts VALUES (?)", [(to,) for to in phones(4)])
    warehouse.commit()
    given = {"suppression_conn_id": "warehouse", "suppression_sql_parameters": (phones(4)[0],)}
    sql = "SELECT phone FROM optouts WHERE phone = ?"
    assert chatbot(recipients=phones(4), suppression_sql=sql, **given).execute(context)["sent"] == 3
    with pytest.raises(AirflowFailException, match="suppression_sql_parameters: has no effect without suppression_sql"):
        chatbot(recipients=phones(4), suppression_sql_parameters=(1,)).execute(context)
