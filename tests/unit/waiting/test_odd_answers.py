"""Waits under answers that no wait may end by: each ends as its own session does."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from airflow_provider_wts.api.errors import WtsError
from airflow_provider_wts.sensors.message import WtsSessionReplySensor
from airflow_provider_wts.sensors.session import WtsSessionSensor, WtsSessionsSensor
from airflow_provider_wts.triggers.message import WtsMessageStatusTrigger, WtsSessionReplyTrigger
from airflow_provider_wts.triggers.session import WtsSessionsTrigger, WtsSessionTrigger
from airflow_provider_wts.waiting import poller as polling
from airflow_provider_wts.waiting.conditions import Snapshot
from airflow_provider_wts.waiting.subscriptions import SessionSubscription

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

WAITS = 300
ALL = [str(UUID(int=number, version=4)) for number in range(1, WAITS + 1)]
SESSIONS = ALL[:120]
FEW = ALL[:12]
BAD = FEW[6]

Answer = tuple[int, dict[str, str], bytes]


def as_json(value: Any, status: int = 200, **headers: str) -> Answer:
    return status, {"Content-Type": "application/json", **headers}, json.dumps(value).encode()


def envelope(status: int, key: str) -> Answer:
    return as_json({"id": {"value": "1", "shortValue": "1"}, "key": key, "text": "Erro", "version": "1"}, status)


PAGE = b"<html><body><h1>Something else</h1></body></html>"
HTML = {"Content-Type": "text/html"}


class Service(ThreadingHTTPServer):
    """A service written from the contract alone: it lists sessions, and shows one. A test spoils its answers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = dict.fromkeys(ALL, "COMPLETED")
        self.requests: list[str] = []
        self.spoil: Callable[[str, str | None], Answer | None] = lambda path, session_id: None
        self.session: Callable[[dict[str, Any]], dict[str, Any]] = lambda session: session
        self.page: Callable[[dict[str, Any]], dict[str, Any]] = lambda page: page
        self.listed: Callable[[list[str]], list[str]] = lambda ids: ids
        self.updated = (datetime.now(UTC) - timedelta(seconds=30)).isoformat().replace("+00:00", "Z")
        self.token = "pn_now"
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server_port}"

    def count(self, path: str) -> int:
        return sum(path in one for one in self.requests)

    def answer(self, path: str, query: dict[str, list[str]]) -> Answer:
        last = path.rpartition("/")[2].lower()
        session_id = last if last in self.status else None
        with self.lock:
            self.requests.append(path)
            spoilt = self.spoil(path, session_id)
        if spoilt is not None:
            return spoilt
        if session_id is not None:
            return as_json(self._shown(session_id))
        return as_json(self._listed(query))

    def _shown(self, session_id: str) -> dict[str, Any]:
        return self.session(
            {
                "id": session_id,
                "status": self.status[session_id],
                "createdAt": self.updated,
                "updatedAt": self.updated,
                "lastMessageIn": self.updated,
                "contactId": None,
            }
        )

    def _listed(self, query: dict[str, list[str]]) -> dict[str, Any]:
        statuses = query.get("Status", [])
        since = query.get("UpdatedAt.After", [""])[0]
        ids = [one for one, status in self.status.items() if status in statuses and since <= self.updated]
        shown = self.listed(ids)
        number, size = int(query["PageNumber"][0]), min(int(query["PageSize"][0]), 50)
        pages = -(-len(shown) // size)
        return self.page(
            {
                "pageNumber": number,
                "pageSize": size,
                "totalItems": len(shown),
                "totalPages": pages,
                "hasMorePages": number < pages,
                "items": [self._shown(one) for one in shown[(number - 1) * size : number * size]],
            }
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body in one packet: a second one waits 40 ms for the first to be confirmed.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: Service

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if self.headers["Authorization"] != f"Bearer {self.server.token}":
            status, headers, body = envelope(401, "ERROR_UNAUTHORIZED")
        else:
            status, headers, body = self.server.answer(url.path, parse_qs(url.query))
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr(polling, "SECONDS_PER_CALL", 0.0)
    for budget in ("UNKNOWN_BUDGET", "NOT_SENT_BUDGET", "UNREACHABLE_BUDGET"):
        monkeypatch.setattr(f"airflow_provider_wts.api.client.{budget}", 0)
    monkeypatch.setattr("airflow_provider_wts.api.pagination.SETTLE_SECONDS", 0.0)
    # 300 waits make more requests than an account may in their few seconds.
    monkeypatch.setattr("airflow_provider_wts.api.budget.Budget.acquire", lambda *_, **__: 0.0)
    with Service() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        connect(running, monkeypatch)
        yield running
        running.shutdown()
        thread.join()


def connect(service: Service, monkeypatch: pytest.MonkeyPatch, token: str = "pn_now") -> None:
    connection = {"conn_type": "wts", "host": service.url, "password": token}
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))


def times(seconds: float) -> dict[str, str]:
    now = datetime.now(UTC)
    return {"earliest": now.isoformat(), "deadline": (now + timedelta(seconds=seconds)).isoformat()}


def waiting_for(session_id: str, *, seconds: float = 30) -> WtsSessionTrigger:
    return WtsSessionTrigger(
        wts_conn_id="wts_default",
        session_id=session_id,
        target_status=["COMPLETED"],
        failed_status=[],
        poll_interval=0.01,
        **times(seconds),
    )


async def event(waiting: Any) -> dict[str, Any]:
    async for told in waiting.run():
        payload: dict[str, Any] = told.payload
        return payload
    raise AssertionError("the trigger sent nothing")


async def gather(triggers: Iterable[Any]) -> list[dict[str, Any]]:
    async with asyncio.timeout(60):
        return list(await asyncio.gather(*(event(waiting) for waiting in triggers)))


def ends(sessions: Iterable[str] = FEW) -> dict[str, dict[str, Any]]:
    return {told["session_id"]: told for told in asyncio.run(gather([waiting_for(one) for one in sessions]))}


ODD: dict[str, Answer] = {
    "a web page": (200, HTML, PAGE),
    "a redirect": (302, {"Location": "https://login.example.com/"}, b""),
    "a permanent redirect": (308, {"Location": "/elsewhere"}, b""),
    "400 of the API": envelope(400, "FORM_ERROR"),
    "400 of a gateway": (400, HTML, PAGE),
    "403 of the API": envelope(403, "FORBIDDEN"),
    "403 of a gateway": (403, HTML, PAGE),
    "404 of a gateway": (404, HTML, PAGE),
    "404 of another service": as_json({"error": "no route"}, 404),
    "409": as_json({}, 409),
    "429": (429, {"Retry-After": "0.1"}, b""),
    "500 without a body": (500, {}, b""),
    "500 of the API, with an unknown key": envelope(500, "INTERNAL"),
    "502": (502, HTML, PAGE),
    "an empty body": (200, {}, b""),
    "null": as_json(None),
    "a list": as_json([]),
    "a number": as_json(7),
    "text": as_json("ok"),
    "JSON of another service": as_json({"status": "ok", "uptime": 7}),
    "truncated JSON": (200, {"Content-Type": "application/json"}, b'{"pageNumber": 1, "items": [{"id": "'),
    "not UTF-8": (200, {"Content-Type": "application/json"}, b'{"id": "\xff\xfe"}'),
    "items of the wrong type": as_json({"items": {"id": SESSIONS[0]}, "id": 7, "status": ["COMPLETED"]}),
    "items that are no objects": as_json({"items": [None, 7, "x", []], "id": None, "totalItems": 1}),
    "a session without an id": as_json({"items": [{"status": "STARTED"}], "status": "COMPLETED"}),
    "another session": as_json({"items": [], "id": str(UUID(int=999)), "status": "COMPLETED"}),
    "deep nesting": (200, {"Content-Type": "application/json"}, b"[" * 100_000),
}


#: Those that count as failed at once: a 429 goes by.
FAILURES = {name: answer for name, answer in ODD.items() if name != "429"}


@pytest.mark.parametrize("answer", ODD.values(), ids=ODD.keys())
def test_an_odd_answer_is_a_failed_poll_and_ends_no_wait(service: Service, answer: Answer) -> None:
    """One to a list, then one to a session."""
    left = {"list": 1, "session": 1}

    def spoil(path: str, session_id: str | None) -> Answer | None:
        kind = "session" if session_id else "list"
        left[kind] -= 1
        return answer if left[kind] >= 0 else None

    service.spoil = spoil
    assert {told["outcome"] for told in ends(ALL).values()} == {"reached"}


@pytest.mark.parametrize("answer", ODD.values(), ids=ODD.keys())
def test_a_list_that_only_answers_oddly_delays_and_ends_no_wait(service: Service, answer: Answer) -> None:
    service.spoil = lambda path, session_id: None if session_id else answer
    assert {told["outcome"] for told in ends().values()} == {"reached"}


def test_a_401_about_one_session_ends_no_other_wait_while_the_rest_fails(service: Service) -> None:
    left = [len(FEW)]

    def spoil(path: str, session_id: str | None) -> Answer | None:
        left[0] -= 1
        if session_id == BAD:
            return envelope(401, "ERROR_UNAUTHORIZED")
        return (502, HTML, PAGE) if left[0] >= 0 else None

    service.spoil = spoil
    service.listed = lambda ids: [one for one in ids if one != BAD]
    service.status[BAD] = "STARTED"
    told = ends()
    assert told.pop(BAD)["outcome"] == "error"
    assert {one["outcome"] for one in told.values()} == {"reached"}


ABOUT_ONE = {**FAILURES, "401 of the API": envelope(401, "ERROR_UNAUTHORIZED")}


@pytest.mark.parametrize("answer", ABOUT_ONE.values(), ids=ABOUT_ONE.keys())
def test_what_one_session_is_answered_concerns_its_own_wait(service: Service, answer: Answer) -> None:
    service.listed = lambda ids: [one for one in ids if one != BAD]
    service.spoil = lambda path, session_id: answer if session_id == BAD else None
    service.status[BAD] = "STARTED"
    told = ends()
    assert told.pop(BAD)["outcome"] == "error"
    assert {one["outcome"] for one in told.values()} == {"reached"}


@pytest.mark.parametrize("answer", FAILURES.values(), ids=FAILURES.keys())
def test_odd_answers_alone_end_all_waits_with_an_error_that_retries_may_mend(service: Service, answer: Answer) -> None:
    service.spoil = lambda path, session_id: answer
    assert {(told["outcome"], told["final"]) for told in ends().values()} == {("error", False)}


@pytest.mark.parametrize("missing", [envelope(404, "NOT_FOUND"), envelope(500, "ENTITY_NOT_FOUND")])
def test_a_session_that_the_api_does_not_know_ends_its_own_wait(service: Service, missing: Answer) -> None:
    service.status[BAD] = "STARTED"
    service.spoil = lambda path, session_id: missing if session_id == BAD else None
    told = ends()
    assert (told[BAD]["outcome"], told[BAD]["message"]) == ("failed", f"Session {BAD} cannot be found.")
    del told[BAD]
    assert {one["outcome"] for one in told.values()} == {"reached"}


def test_a_refused_token_ends_all_waits_after_the_connection_was_read_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.token = "pn_rotated"
    told = ends()
    assert {(one["outcome"], one["final"]) for one in told.values()} == {("error", True)}
    assert not any("pn_now" in str(one) for one in told.values())


def test_a_token_that_was_replaced_in_airflow_is_used(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    service.status = dict.fromkeys(ALL, "STARTED")

    async def rotate() -> list[dict[str, Any]]:
        waits = asyncio.create_task(gather([waiting_for(one) for one in SESSIONS]))
        while service.count("/session") < 3:
            await asyncio.sleep(0.01)
        connect(service, monkeypatch, "pn_rotated")
        service.token = "pn_rotated"
        service.status = dict.fromkeys(ALL, "COMPLETED")
        return await waits

    assert {told["outcome"] for told in asyncio.run(rotate())} == {"reached"}


def test_a_failed_read_of_the_connection_is_a_failed_poll(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's API server, or a secrets backend, may just be restarting."""
    from airflow_provider_wts.hooks.wts import WtsHook

    reads: list[str] = []
    read = WtsHook.get_connection

    def flaky(conn_id: str) -> Any:
        reads.append(conn_id)
        if len(reads) <= 3:
            raise ConnectionError("the secrets backend does not answer: s.ecret")
        return read(conn_id)

    monkeypatch.setattr(WtsHook, "get_connection", staticmethod(flaky))
    assert {told["outcome"] for told in ends().values()} == {"reached"}


def test_a_connection_that_cannot_be_read_ends_all_waits_without_its_words(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_wts.hooks.wts import WtsHook

    def broken(conn_id: str) -> Any:
        raise ConnectionError("the secrets backend does not answer: s.ecret")

    monkeypatch.setattr(WtsHook, "get_connection", staticmethod(broken))
    told = ends()
    assert {(one["outcome"], one["final"]) for one in told.values()} == {("error", False)}
    assert "s.ecret" not in str(told)


def only(**kept: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda shown: {name: shown[name] for name in kept}


UPPER = "ids in capitals"
SPELLINGS: dict[str, dict[str, Any]] = {
    UPPER: {"session": lambda shown: {**shown, "id": shown["id"].upper()}},
    "no dates": {"session": only(id=1, status=1)},
    "dates that cannot be read": {"session": lambda shown: {**shown, "updatedAt": "yesterday"}},
    "dates with an offset": {
        "session": lambda shown: {**shown, "updatedAt": shown["updatedAt"].replace("Z", "+00:00")}
    },
    "dates in the future": {"session": lambda shown: {**shown, "updatedAt": "2999-01-01T00:00:00Z"}},
    "a field of another type": {"session": lambda shown: {**shown, "previewUrl": 3}},
    "null among the items": {"page": lambda page: {**page, "items": [None, *page["items"]]}},
    "unknown fields": {"session": lambda shown: {**shown, "new": {"x": [1]}}},
    "status in small letters": {"session": lambda shown: {**shown, "status": shown["status"].lower()}},
    "no totals": {"page": only(items=1, hasMorePages=1)},
    "only items": {"page": only(items=1)},
    "null in place of totals": {"page": lambda page: {**page, "totalItems": None, "totalPages": None}},
    "another order": {"listed": lambda ids: ids[::-1]},
    "a list that hides every eighth": {"listed": lambda ids: [one for one in ids if UUID(one).int % 8]},
    "a list that is always empty": {"listed": lambda ids: []},
    "a list of others": {"listed": lambda ids: [str(UUID(int=number)) for number in range(5000, 5100)]},
    "a list that always says more": {"page": lambda page: {**page, "hasMorePages": True, "totalPages": 99999}},
    "totals that are too high": {"page": lambda page: {**page, "totalItems": 10**6}},
    "one page again and again": {"page": lambda page: {**page, "pageNumber": 1, "hasMorePages": True}},
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_every_session_is_found_whatever_the_list_shows(service: Service, spelling: dict[str, Any]) -> None:
    for name, value in spelling.items():
        setattr(service, name, value)
    assert {told["outcome"] for told in ends(SESSIONS).values()} == {"reached"}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_many_sessions_of_one_task_are_found_whatever_the_list_shows(
    service: Service, spelling: dict[str, Any]
) -> None:
    for name, value in spelling.items():
        setattr(service, name, value)
    trigger = WtsSessionsTrigger(
        wts_conn_id="wts_default",
        session_ids=SESSIONS,
        needed=len(SESSIONS),
        target_status=["COMPLETED"],
        failed_status=[],
        poll_interval=0.01,
        changed_since=(datetime.now(UTC) - timedelta(hours=1)).isoformat(),
        **times(30),
    )
    (told,) = asyncio.run(gather([trigger]))
    assert told["outcome"] == "reached"


@pytest.mark.parametrize(("optional", "outcome"), [(1, "reached"), (0, "error")])
def test_a_session_that_cannot_be_read_ends_only_a_wait_that_needs_it(
    service: Service, optional: int, outcome: str
) -> None:
    failed = 0

    def spoil(path: str, session_id: str | None) -> Answer | None:
        nonlocal failed
        failed += session_id == BAD
        if failed > 20:
            service.status[FEW[0]] = "COMPLETED"
        return (502, HTML, PAGE) if session_id == BAD else None

    service.spoil = spoil
    service.listed = lambda ids: []
    service.status[FEW[0]] = "STARTED"
    trigger = WtsSessionsTrigger(
        wts_conn_id="wts_default",
        session_ids=FEW,
        needed=len(FEW) - optional,
        target_status=["COMPLETED"],
        failed_status=[],
        poll_interval=0.01,
        changed_since=(datetime.now(UTC) - timedelta(hours=1)).isoformat(),
        **times(30),
    )
    (told,) = asyncio.run(gather([trigger]))
    assert told["outcome"] == outcome


@pytest.mark.parametrize("kind", ["sessions", "messages"])
def test_many_that_cannot_be_read_in_a_row_end_no_other_wait(service: Service, kind: str) -> None:
    bad = SESSIONS[:40]

    def spoil(path: str, one: str | None) -> Answer | None:
        if one is None or one in bad:
            return 502, HTML, PAGE
        return as_json({"id": one, "status": "READ"}) if kind == "messages" else None

    def wait_of(one: str) -> Any:
        if kind == "sessions":
            return waiting_for(one)
        arguments = {"wts_conn_id": "wts_default", "id_of": "send", "target_status": "READ", "poll_interval": 0.01}
        return WtsMessageStatusTrigger(message_id=one, **arguments, **times(30))

    service.spoil = spoil
    told = asyncio.run(gather([wait_of(one) for one in SESSIONS]))
    assert [one["outcome"] for one in told] == ["error"] * len(bad) + ["reached"] * (len(SESSIONS) - len(bad))


def test_a_sensor_that_polls_on_the_worker_passes_over_many_that_cannot_be_read(
    service: Service, context: dict[str, Any]
) -> None:
    service.spoil = lambda path, one: (502, HTML, PAGE) if one is None or one in SESSIONS[:10] else None
    sensor = WtsSessionsSensor(task_id="wait", session_ids=SESSIONS, needed=0.5, poke_interval=0.01, timeout=30)
    assert sensor.execute(context)["COMPLETED"] >= 60


def test_a_list_that_was_too_long_begins_later_the_next_time(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a restart of the triggerer, the waits of days would list all sessions of these days, in every poll."""
    asked: list[str] = []
    listed = service._listed

    def too_long_at_first(query: dict[str, list[str]]) -> dict[str, Any]:
        asked.extend(query["UpdatedAt.After"])
        return {**listed(query), "items": [], "totalPages": 999 if len(asked) == 1 else 0, "totalItems": 0}

    monkeypatch.setattr(service, "_listed", too_long_at_first)
    service.session = lambda session: {**session, "status": "STARTED" if len(asked) < 2 else "COMPLETED"}
    waits = [waiting_for(one) for one in FEW]
    for one in waits:
        one.earliest = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    assert {told["outcome"] for told in asyncio.run(gather(waits))} == {"reached"}
    first, second = (datetime.fromisoformat(one) for one in asked[:2])
    assert second - first > timedelta(days=2)


ODD_FIELD = {"classification": "WON"}


@pytest.mark.parametrize("resumed", [False, True], ids=["first check", "resumed"])
def test_a_field_that_does_not_matter_ends_no_wait_on_the_worker(
    service: Service, context: dict[str, Any], resumed: bool
) -> None:
    service.session = lambda session: {**session, **ODD_FIELD}
    sensor = WtsSessionSensor(task_id="wait", session_id=BAD, poke_interval=0.01, timeout=30)
    told = {"outcome": "reached", "session_id": BAD, "status": "COMPLETED", "message": "m", "final": False}
    found = sensor.execute_complete(context, told) if resumed else sensor.execute(context)
    assert (found["id"], found["status"]) == (BAD, "COMPLETED")


def test_a_message_with_a_damaged_field_is_a_reply(service: Service, context: dict[str, Any]) -> None:
    service.session = lambda session: {**session, **ODD_FIELD}
    message = {"id": BAD, "direction": "FROM_HUB", "createdAt": service.updated, "text": "Oi", "details": 1}
    page = {"pageNumber": 1, "totalPages": 1, "totalItems": 1, "hasMorePages": False, "items": [message]}
    service.spoil = lambda path, session_id: as_json(page) if "message" in path else None
    since = "2026-11-22T09:00:00Z"
    sensor = WtsSessionReplySensor(task_id="wait", session_id=BAD, since=since, poke_interval=0.01, timeout=30)
    assert [one["text"] for one in sensor.execute(context)] == ["Oi"]


def test_a_session_that_was_seen_at_its_end_may_be_unreadable_afterwards() -> None:
    subscription = SessionSubscription(FEW, ["COMPLETED"], since=datetime.now(UTC), interval=1)
    subscription.report(FEW[0], Snapshot("COMPLETED"))
    subscription.give_up(FEW[0], WtsError("unreadable"))
    assert asyncio.run(subscription.next(0)) == {FEW[0]: Snapshot("COMPLETED")}


@pytest.mark.parametrize("count", [1, 5, 40])
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_a_sensor_that_polls_on_the_worker_finds_every_session_whatever_the_list_shows(
    service: Service, spelling: dict[str, Any], count: int, context: dict[str, Any]
) -> None:
    for name, value in spelling.items():
        setattr(service, name, value)
    sensor = WtsSessionsSensor(task_id="wait", session_ids=ALL[:count], poke_interval=0.01, timeout=30)
    assert sensor.execute(context) == {"COMPLETED": count}


def test_a_list_that_loses_rows_while_it_is_read_is_read_until_a_pass_adds_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that leaves page 1 moves one of page 2 out of sight."""
    from airflow_provider_wts.api.client import WtsClient
    from airflow_provider_wts.waiting.session_changes import sweep

    def lose_one(page: dict[str, Any]) -> dict[str, Any]:
        if page["pageNumber"] == 1 and len(service.status) > WAITS - 3:
            del service.status[next(iter(service.status))]
        return page

    service.page = lose_one
    client = WtsClient("pn_now", base_url=service.url)
    swept = sweep(client, ["COMPLETED"], datetime.now(UTC) - timedelta(hours=1), max_pages=100)
    assert service.status.keys() <= swept.seen.keys()


def test_a_status_that_is_reached_stays_reached_when_the_list_lags(service: Service) -> None:
    """The session itself shows what is waited for first."""
    subscription = SessionSubscription([BAD], ["COMPLETED"], since=datetime.now(UTC), interval=1)
    subscription.report(BAD, Snapshot("COMPLETED"))
    subscription.report(BAD, Snapshot("STARTED"))
    assert subscription.known(BAD) == Snapshot("COMPLETED")


@pytest.mark.parametrize("session_id", [BAD.upper(), BAD])
def test_a_trigger_of_an_older_version_goes_on(service: Service, session_id: str) -> None:
    """Their arguments are in Airflow's database while the package is upgraded."""
    arguments = {
        "wts_conn_id": "wts_default",
        "target_status": ["COMPLETED"],
        "failed_status": [],
        "poll_interval": 0.01,
        **times(30),
    }
    now = datetime.now(UTC).isoformat()
    many = {**arguments, "session_ids": [session_id, SESSIONS[1]], "needed": 2, "changed_since": now}
    reply = {name: arguments[name] for name in ("wts_conn_id", "poll_interval", "earliest", "deadline")}
    since = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    told = asyncio.run(
        gather(
            [
                WtsSessionTrigger(session_id=session_id, **arguments),
                WtsSessionsTrigger(**many),
                WtsSessionReplyTrigger(session_id=session_id, since=since, **reply),
            ]
        )
    )
    assert [one["outcome"] for one in told] == ["reached"] * 3
    assert told[0]["session_id"] == session_id


MESSAGE = str(UUID(int=77, version=4))


@pytest.mark.parametrize("answer", FAILURES.values(), ids=FAILURES.keys())
def test_an_odd_answer_about_a_message_is_a_failed_look(service: Service, answer: Answer) -> None:
    left = [answer] * 3

    def spoil(path: str, session_id: str | None) -> Answer | None:
        return left.pop() if left else as_json({"id": MESSAGE, "status": "DELIVERED"})

    service.spoil = spoil
    trigger = WtsMessageStatusTrigger(
        wts_conn_id="wts_default",
        message_id=MESSAGE,
        id_of=None,
        target_status="DELIVERED",
        poll_interval=0.01,
        **times(30),
    )
    (told,) = asyncio.run(gather([trigger]))
    assert told["outcome"] == "reached"


def stored(monkeypatch: pytest.MonkeyPatch, *answers: Any) -> WtsSessionsTrigger:
    """A trigger whose ids are an XCom, and what Airflow answers when it is read."""
    left = list(answers)

    def read(**place: Any) -> Any:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("airflow.providers.common.compat.sdk.XCom.get_one", read)
    place = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "key": "wts_session_ids"}
    return WtsSessionsTrigger(
        wts_conn_id="wts_default",
        session_ids=[],
        session_ids_xcom=place,
        needed=len(FEW),
        target_status=["COMPLETED"],
        failed_status=[],
        poll_interval=0.01,
        changed_since=datetime.now(UTC).isoformat(),
        **times(30),
    )


@pytest.mark.parametrize("answers", [(FEW,), (ConnectionError("restarting"), FEW)], ids=["at once", "later"])
def test_ids_that_are_an_xcom_are_read_from_airflow(
    service: Service, monkeypatch: pytest.MonkeyPatch, answers: tuple[Any, ...]
) -> None:
    (told,) = asyncio.run(gather([stored(monkeypatch, *answers)]))
    assert (told["outcome"], told["counts"]) == ("reached", {"COMPLETED": len(FEW)})


@pytest.mark.parametrize("answer", [None, [], ConnectionError("down")], ids=str)
def test_ids_that_are_gone_end_the_wait_with_an_error(
    service: Service, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    (told,) = asyncio.run(gather([stored(monkeypatch, answer)]))
    assert (told["outcome"], told["final"]) == ("error", False)


LEAVES = """
import asyncio, json, os, sys, time
os.environ["AIRFLOW_CONN_WTS_DEFAULT"] = json.dumps({"conn_type": "wts", "host": sys.argv[1], "password": "pn_now"})
from datetime import UTC, datetime, timedelta
from airflow_provider_wts.triggers.session import WtsSessionTrigger

async def main():
    now = datetime.now(UTC)
    trigger = WtsSessionTrigger(
        wts_conn_id="wts_default", session_id=sys.argv[2], target_status=["COMPLETED"], failed_status=[],
        poll_interval=60, earliest=now.isoformat(), deadline=(now + timedelta(hours=1)).isoformat(),
    )
    waiting = asyncio.create_task(trigger.run().__anext__())
    await asyncio.to_thread(sys.stdin.readline)
    waiting.cancel()

asyncio.run(main())
print("left", flush=True)
"""


@pytest.mark.parametrize("kind", ["429", "hang"])
def test_a_process_ends_at_once_while_the_poll_waits(service: Service, kind: str) -> None:
    """Whether it waits out a 429, or for an answer that does not come."""
    ended = threading.Event()

    def spoil(path: str, session_id: str | None) -> Answer:
        if kind == "hang":
            ended.wait(60)
        return 429, {"Retry-After": "300"}, b""

    service.spoil = spoil
    # Outside the lock of the service, which a hanging answer holds.
    with subprocess.Popen(
        [sys.executable, "-c", LEAVES, service.url, FEW[0]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 120
        while not service.requests and time.monotonic() < deadline:
            time.sleep(0.05)
        assert service.requests
        out, _ = process.communicate("leave\n", timeout=30)
        ended.set()
    assert (out.splitlines()[-1], process.returncode) == ("left", 0)
