"""How many messages a person gets, over tasks that run at the same time: on a real Redis server, else skipped."""

from __future__ import annotations

import random
import uuid
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from multiprocessing import get_context
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError
from airflow_provider_wts.sending.cap import Cap, CapLimit

URL = "redis://127.0.0.1:6379/0"
ANA, BIA = "+55|11999990001", "+55|11999990002"


@pytest.fixture
def account() -> str:
    """An account of this test alone, on a real server."""
    redis = pytest.importorskip("redis", reason="the cap needs the package redis")
    try:
        redis.Redis.from_url(URL, socket_connect_timeout=0.5).ping()
    except redis.RedisError:
        pytest.skip("no Redis server at 127.0.0.1:6379")
    return f"test-{uuid.uuid4().hex}"


def cap(account: str, limit: str = "2 per 7 days", *, url: str | None = URL, hash_key: bytes = b"key") -> Cap:
    hook: Any = SimpleNamespace(
        rate_limit_server=(url, {}),
        account=account,
        hash_key=hash_key,
        wts_conn_id="wts_default",
        connection=SimpleNamespace(rate_limit_conn_id="redis_default"),
    )
    return Cap(hook, limit)


def server() -> Any:
    from redis import Redis

    return Redis.from_url(URL, decode_responses=True)


def keys_of_people(account: str) -> list[str]:
    return [key for key in server().keys(f"wts-cap:{{{account}}}:*") if not key.endswith(":longest")]


def age(account: str, time: timedelta) -> None:
    """Let all that was counted be older."""
    for key in keys_of_people(account):
        for member in server().zrange(key, 0, -1):
            server().zincrby(key, -(time // timedelta(microseconds=1)), member)


# Limits ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "messages", "period"),
    [
        ("2 per 7 days", 2, timedelta(days=7)),
        ("1 per day", 1, timedelta(days=1)),
        (" 10 PER 24 Hours ", 10, timedelta(days=1)),
        ("3 per 90 minutes", 3, timedelta(minutes=90)),
        ("1 per 1 week", 1, timedelta(weeks=1)),
        ("1 per 366 days", 1, timedelta(days=366)),
    ],
)
def test_a_limit_is_read(text: str, messages: int, period: timedelta) -> None:
    assert CapLimit.read(text) == (messages, period)


@pytest.mark.parametrize("text", ["", "2", "two per week", "2 per 0 days", "0 per day", "2 per year", "1 per 367 days"])
def test_a_limit_that_cannot_be_read_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(WtsInvalidRequestError, match=r"max_per_contact: .*'2 per 7 days'"):
        CapLimit.read(text)


def test_without_a_redis_server_it_is_refused_by_name() -> None:
    with pytest.raises(WtsInvalidRequestError, match=r"max_per_contact: needs a Redis server.*rate_limit_conn_id"):
        cap("x", url=None)


def test_a_server_that_does_not_answer_lets_nothing_go_out() -> None:
    pytest.importorskip("redis", reason="the cap needs the package redis")
    with pytest.raises(WtsError, match=r"'redis_default' did not answer .*Nothing more was sent"):
        cap("x", url="redis://:pn_secret@127.0.0.1:1/0").take({"send": ANA})


# Counting -------------------------------------------------------------------------------------------------------------


def test_the_send_beyond_the_limit_is_refused(account: str) -> None:
    for send in ("a", "b"):
        assert cap(account).take({send: ANA}) == {}
    refused = cap(account).take({"c": ANA, "d": BIA})
    assert {send: refusal.rule for send, refusal in refused.items()} == {"c": "max_per_contact"}
    assert "2 per 7 days" in refused["c"].reason


def test_all_spellings_are_one_person_and_no_number_is_on_the_server(account: str) -> None:
    assert cap(account, "1 per day").take({"a": "+55|11999990001"}) == {}
    assert cap(account, "1 per day").take({"b": "+55|1199990001"})
    (key,) = keys_of_people(account)
    assert "9999" not in key.replace(account, "")


def test_a_send_counts_once_however_often_its_task_is_tried(account: str) -> None:
    for _ in range(5):
        assert cap(account, "1 per day").take({"a": ANA}) == {}
    assert cap(account, "1 per day").take({"b": ANA})


def test_what_certainly_was_not_sent_is_given_back(account: str) -> None:
    first = cap(account, "1 per day")
    first.take({"a": ANA, "b": BIA})
    first.settle(["a", "b"], ["a"])
    assert list(cap(account, "1 per day").take({"c": ANA, "d": BIA})) == ["d"]


def test_a_rehearsal_takes_nothing(account: str) -> None:
    rehearsal = cap(account, "1 per day")
    assert rehearsal.would_take({"a": ANA}) == {}
    assert keys_of_people(account) == []
    assert cap(account, "1 per day").take({"b": ANA}) == {}
    assert list(rehearsal.would_take({"a": ANA, "c": BIA})) == ["a"]


def test_a_send_no_longer_counts_when_its_time_is_over(account: str) -> None:
    assert cap(account, "1 per 7 days").take({"a": ANA}) == {}
    age(account, timedelta(days=6, hours=23))
    assert cap(account, "1 per 7 days").take({"b": ANA})
    age(account, timedelta(hours=2))
    assert cap(account, "1 per 7 days").take({"b": ANA}) == {}


def test_a_send_that_is_made_late_counts_from_then_on(account: str) -> None:
    cap(account, "1 per 7 days").take({"a": ANA})
    age(account, timedelta(days=6))
    # Its task was stopped before it went out, and goes on only now.
    assert cap(account, "1 per 7 days").take({"a": ANA}) == {}
    age(account, timedelta(days=6))
    assert cap(account, "1 per 7 days").take({"b": ANA})


def test_a_longer_limit_sees_what_was_sent_under_a_shorter_one(account: str) -> None:
    cap(account, "5 per hour").take({"a": ANA})
    age(account, timedelta(days=3))
    cap(account, "5 per hour").take({"b": ANA})
    assert cap(account, "2 per 7 days").take({"c": ANA})


def test_counts_leave_the_server_when_nobody_needs_them(account: str) -> None:
    cap(account, "1 per 90 days").take({"a": ANA})
    (key,) = keys_of_people(account)
    assert timedelta(days=89) < timedelta(seconds=server().ttl(key)) <= timedelta(days=90)


# At the same time -----------------------------------------------------------------------------------------------------

PEOPLE = [f"+55|119{index:08d}" for index in range(10_000_000, 10_000_120)]


def run_of_a_dag(account: str, dag: int, runs: int) -> list[tuple[str, str]]:
    """Send to people by chance, some of it in vain and some of it twice; return whom and by which send."""
    chance, sent = random.Random(dag), []
    for number in range(runs):
        chunk = {f"{dag}-{number}-{to}": to for to in chance.sample(PEOPLE, chance.randint(1, 40))}
        rule = cap(account, "3 per 7 days")
        if chance.random() < 0.2:
            # A try that was killed after it had counted them.
            rule.take(chunk)
            rule = cap(account, "3 per 7 days")
        refused = rule.take(chunk)
        gone = [send for send in chunk if send not in refused]
        unsent = {send for send in gone if chance.random() < 0.3}
        rule.settle(gone, unsent)
        sent += [(send, chunk[send]) for send in gone if send not in unsent]
    return sent


def test_three_dags_at_the_same_time_never_exceed_the_limit_in_a_thousand_runs(account: str) -> None:
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        dags = [pool.submit(run_of_a_dag, account, dag, runs) for dag, runs in enumerate((334, 333, 333))]
        sent = [one for dag in dags for one in dag.result()]
    per_person = {to: sum(one == to for _, one in sent) for to in PEOPLE}
    assert max(per_person.values()) == 3
    # All had a chance to be reached as often as is allowed, and what is counted is what was sent.
    assert min(per_person.values()) == 3
    counted = {member for key in keys_of_people(account) for member in server().zrange(key, 0, -1)}
    assert counted == {send for send, _ in sent}
