"""Events of conversations: each is told once, in order, also after a restart."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowOptionalProviderFeatureException
from airflow_version import AIRFLOW_VERSION

from airflow_provider_wts.api import client, outcome
from airflow_provider_wts.api.sessions import complete_session
from airflow_provider_wts.api.wire import parse_timestamp
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.waiting.session_changes import OVERLAP, Batch, Position, changed_sessions

try:
    from airflow_provider_wts.triggers import events as trigger_module
    from airflow_provider_wts.triggers.events import WtsSessionEventTrigger
except AirflowOptionalProviderFeatureException as refusal:
    REFUSAL = str(refusal)
else:
    REFUSAL = ""

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from airflow_provider_wts.emulator.running import Emulator

PHONES = [f"+55|119{number:08}" for number in range(8)]

needs_airflow_3 = pytest.mark.skipif(bool(REFUSAL), reason=REFUSAL)
from_3_4 = pytest.mark.skipif(AIRFLOW_VERSION < (3, 4), reason="Airflow 3.4 starts a run for each event")
before_3_4 = pytest.mark.skipif(AIRFLOW_VERSION >= (3, 4), reason="Airflow 3.4 starts a run for each event")


@pytest.mark.skipif(not REFUSAL, reason="this Airflow has events")
def test_below_airflow_3_the_import_says_what_is_missing() -> None:
    assert "needs Airflow 3" in REFUSAL


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow each other at once."""
    if not REFUSAL:
        monkeypatch.setattr(trigger_module, "SECONDS_PER_CALL", 0.0)
        monkeypatch.setattr(trigger_module, "SPACING", 0.0)


class AssetStateStore:
    """Airflow's asset state store, in memory: values are JSON, and outlive a trigger."""

    def __init__(self, *, assets: int = 1) -> None:
        self.values: dict[str, str] = {}
        self._assets = assets

    async def aget(self, key: str, default: Any = None) -> Any:
        return self.get(key, default)

    async def aset(self, key: str, value: Any) -> None:
        self.set(key, value)

    def get(self, key: str, default: Any = None) -> Any:
        if self._assets != 1:
            raise ValueError("several assets")
        assert "/" not in key
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any) -> None:
        if self._assets != 1:
            raise ValueError("several assets")
        self.values[key] = json.dumps(value)


def watch(
    *doings: Callable[[], Any],
    events: str | Sequence[str] = "message_received",
    store: AssetStateStore | None = None,
    emulator: Emulator,
    looks: int = 3,
) -> list[dict[str, Any]]:
    """Run a trigger, do things one after the other with some looks between, and return what it told."""

    async def main() -> list[dict[str, Any]]:
        trigger = WtsSessionEventTrigger(events=events, poll_interval=0.01)
        if store is not None:
            trigger.asset_state_store = store
        told: list[dict[str, Any]] = []

        async def listen() -> None:
            async for event in trigger.run():
                told.extend(event.payload["events"])

        listening = asyncio.create_task(listen())
        async with asyncio.timeout(30):
            for do in (lambda: None, *doings):
                await asyncio.to_thread(do)
                wanted = len(emulator.requests_of("list_sessions")) + 2 * looks
                while len(emulator.requests_of("list_sessions")) < wanted and not listening.done():
                    await asyncio.sleep(0.01)
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        return told

    return asyncio.run(main())


def writes(emulator: Emulator, phone: str, text: str = "segredo") -> Callable[[], Any]:
    return lambda: emulator.contact_writes(phone, text)


@needs_airflow_3
def test_a_message_is_told_once_with_ids_and_moments_only(wts_connection: Emulator) -> None:
    (told,) = watch(writes(wts_connection, PHONES[0]), emulator=wts_connection)
    (session,) = wts_connection.state.sessions.by_creation()
    assert (told["event"], told["session_id"], told["contact_id"]) == (
        "message_received",
        session.id,
        session.contact.id,
    )
    assert told["at"] == told["last_message_in"] == session["lastMessageIn"]
    assert "segredo" not in json.dumps(told)
    assert PHONES[0][4:] not in json.dumps(told)


@needs_airflow_3
def test_each_message_is_an_event_and_other_changes_are_none(wts_connection: Emulator) -> None:
    def note() -> None:
        (session,) = wts_connection.state.sessions.by_creation()
        with wts_connection.state.lock:
            wts_connection.state.touch(wts_connection.state.sessions, session)

    write = writes(wts_connection, PHONES[0])
    told = watch(write, note, write, note, emulator=wts_connection)
    assert [one["event"] for one in told] == ["message_received"] * 2
    assert parse_timestamp(told[0]["at"]) < parse_timestamp(told[1]["at"])


@needs_airflow_3
def test_sessions_that_open_and_complete_are_told(wts_connection: Emulator) -> None:
    def complete() -> None:
        (session,) = wts_connection.state.sessions.by_creation()
        WtsHook().run(complete_session(session.id))

    told = watch(
        writes(wts_connection, PHONES[0]),
        complete,
        events=["session_opened", "session_completed"],
        emulator=wts_connection,
    )
    assert [one["event"] for one in told] == ["session_opened", "session_completed"]
    assert told[1]["ended_at"] == told[1]["at"]


@needs_airflow_3
def test_what_happened_before_the_first_look_is_not_told(wts_connection: Emulator) -> None:
    for phone in PHONES:
        wts_connection.contact_writes(phone, "Olá")
    assert watch(events=["message_received", "session_opened"], emulator=wts_connection) == []


@needs_airflow_3
@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(hours=-1)], ids=str)
def test_events_are_told_where_the_clock_of_the_triggerer_is_wrong(
    wts_connection: Emulator, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
) -> None:
    class WrongClock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + ahead

    monkeypatch.setattr(trigger_module, "datetime", WrongClock)
    wts_connection.contact_writes(PHONES[0], "Olá")
    # The header Date has whole seconds.
    wts_connection.advance(2)
    told = watch(writes(wts_connection, PHONES[1]), writes(wts_connection, PHONES[2]), emulator=wts_connection)
    assert len(told) == len({one["session_id"] for one in told}) == 2


@needs_airflow_3
@pytest.mark.parametrize("bounds", ["inclusive", "exclusive"])
def test_events_of_one_look_come_in_order(wts_connection: Emulator, bounds: str) -> None:
    wts_connection.switches.change({"date_bounds": bounds})

    def all_write() -> None:
        for phone in reversed(PHONES):
            wts_connection.contact_writes(phone, "Olá")

    told = watch(all_write, emulator=wts_connection)
    assert len({one["session_id"] for one in told}) == len(told) == len(PHONES)
    times = [parse_timestamp(one["at"]) for one in told]
    assert times == sorted(times)


@needs_airflow_3
def test_a_message_that_does_not_move_the_date_of_its_session_is_told(wts_connection: Emulator) -> None:
    wts_connection.contact_writes(PHONES[0], "Olá")
    wts_connection.advance(200)
    wts_connection.switches.messages_touch_session = False
    wts_connection.switches.answered_session_status = "PENDING"
    wts_connection.contact_writes(PHONES[1], "Olá")
    told = watch(writes(wts_connection, PHONES[0]), emulator=wts_connection)
    assert len(told) == 1


@needs_airflow_3
def test_nothing_is_repeated_or_missed_over_a_restart(wts_connection: Emulator) -> None:
    store = AssetStateStore()
    first = watch(writes(wts_connection, PHONES[0]), store=store, emulator=wts_connection)
    wts_connection.advance(30)
    wts_connection.contact_writes(PHONES[1], "Olá")
    second = watch(writes(wts_connection, PHONES[2]), store=store, emulator=wts_connection)
    assert [len(first), len(second)] == [1, 2]
    assert len({one["session_id"] for one in first + second}) == 3


@needs_airflow_3
def test_what_came_during_a_long_absence_is_told(wts_connection: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    store = AssetStateStore()
    watch(store=store, emulator=wts_connection)
    wts_connection.contact_writes(PHONES[1], "Olá")
    # The stream begins later than this trigger stopped.
    monkeypatch.setattr(trigger_module, "CLOCK_SLACK", timedelta(seconds=-1))
    (key,) = store.values
    stored = json.loads(store.values[key])
    stored["floor"] = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    store.values[key] = json.dumps(stored)
    told = watch(store=store, emulator=wts_connection)
    assert [one["event"] for one in told] == ["message_received"]


@needs_airflow_3
def test_what_came_during_a_long_absence_is_read_while_polls_go_on(
    wts_connection: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow gives up on a trigger that keeps a poll for five minutes."""
    next_poll = threading.Event()
    now = datetime.now(UTC)

    def batch(since: datetime, at: datetime, *sessions: str) -> Batch:
        found = [{"session_id": one, "status": "STARTED", "last_message_in": at.isoformat()} for one in sessions]
        return Batch(since, now, found, calls=2)

    def missed(client: Any, since: datetime, *, reach_back: timedelta) -> Batch:
        assert next_poll.wait(10)
        return batch(since, now - timedelta(days=1), "missed")

    async def polls() -> AsyncIterator[Any]:
        yield trigger_module._Poll(batch(now - timedelta(minutes=5), now, "first"))
        next_poll.set()
        while True:
            yield trigger_module._Poll(batch(now - timedelta(minutes=5), now))
            await asyncio.sleep(0.01)

    monkeypatch.setattr(trigger_module, "GAP_WAIT", 0.01, raising=False)
    monkeypatch.setattr(trigger_module, "changed_sessions", missed)
    trigger = WtsSessionEventTrigger()
    trigger.asset_state_store = store = AssetStateStore()
    store.set(trigger._key, {"floor": (now - timedelta(days=3)).isoformat(), "told": {}})

    async def main() -> list[str]:
        async with asyncio.timeout(30):
            async for event in trigger.filter_shared_stream(polls()):
                return [one["session_id"] for one in event.payload["events"]]
        return []

    assert asyncio.run(main()) == ["missed", "first"]


@needs_airflow_3
def test_state_that_cannot_be_read_is_a_new_beginning(wts_connection: Emulator) -> None:
    store = AssetStateStore()
    watch(store=store, emulator=wts_connection)
    store.values = dict.fromkeys(store.values, '{"floor": 7}')
    assert len(watch(writes(wts_connection, PHONES[0]), store=store, emulator=wts_connection)) == 1


@needs_airflow_3
def test_a_trigger_of_several_assets_keeps_its_position_in_memory(wts_connection: Emulator) -> None:
    store = AssetStateStore(assets=2)
    assert len(watch(writes(wts_connection, PHONES[0]), store=store, emulator=wts_connection)) == 1


@needs_airflow_3
def test_failures_do_not_end_it(wts_connection: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_wts.api.client.UNKNOWN_BUDGET", 0)
    wts_connection.faults.add("status", status=503, times=2)
    wts_connection.faults.add("status", status=401, times=2)
    assert len(watch(writes(wts_connection, PHONES[0]), emulator=wts_connection, looks=6)) == 1


@needs_airflow_3
def test_a_lasting_failure_is_not_asked_about_without_a_pause(wts_connection: Emulator) -> None:
    wts_connection.faults.add("status", status=401, times=None)

    async def main() -> None:
        trigger = WtsSessionEventTrigger(poll_interval=0.1)
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                async for _ in trigger.run():
                    raise AssertionError("nothing can be seen")

    asyncio.run(main())
    # 0.2, 0.4, 0.8 s and so on.
    assert 2 <= len(wts_connection.requests) <= 5


@needs_airflow_3
def test_watchers_share_the_looks_and_each_tells_its_own(wts_connection: Emulator) -> None:
    pytest.importorskip("airflow.triggers.shared_stream")

    async def main() -> list[list[dict[str, Any]]]:
        from airflow.triggers.shared_stream import SharedStreamManager

        manager = SharedStreamManager(log=trigger_module.log)
        kinds = ["message_received", "session_opened"]
        told: list[list[dict[str, Any]]] = [[], []]

        async def listen(number: int) -> None:
            trigger = WtsSessionEventTrigger(events=kinds[number], poll_interval=0.02)
            stream = manager.subscribe(trigger_id=number, trigger=trigger, key=trigger.shared_stream_key())
            async for event in trigger.filter_shared_stream(stream):
                told[number].extend(event.payload["events"])

        tasks = [asyncio.create_task(listen(number)) for number in (0, 1)]
        async with asyncio.timeout(30):
            while len(wts_connection.requests_of("list_sessions")) < 4:
                await asyncio.sleep(0.01)
            wts_connection.contact_writes(PHONES[0], "Olá")
            while not all(told):
                await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await manager.stop_all()
        return told

    told = asyncio.run(main())
    assert [[one["event"] for one in by_one] for by_one in told] == [["message_received"], ["session_opened"]]


@needs_airflow_3
def test_the_position_moves_on_only_when_airflow_has_stored_the_event(wts_connection: Emulator) -> None:
    pytest.importorskip("airflow.triggers.shared_stream")
    store = AssetStateStore()

    def floors() -> list[str]:
        return [json.loads(value)["floor"] for value in store.values.values()]

    async def main() -> tuple[dict[str, str], dict[str, str]]:
        from airflow.triggers.shared_stream import SharedStreamManager

        manager = SharedStreamManager(log=trigger_module.log)
        trigger = WtsSessionEventTrigger(poll_interval=0.02)
        trigger.asset_state_store = store  # type: ignore[assignment]
        key = trigger.shared_stream_key()
        sequence: list[int | None] = []

        async def listen() -> None:
            stream = manager.subscribe(trigger_id=1, trigger=trigger, key=key)
            async for _ in trigger.filter_shared_stream(stream):
                sequence.append(manager.bind_pending_event(trigger_id=1, key=key))

        async def until(true: Callable[[], Any]) -> None:
            while not true():
                await asyncio.sleep(0.01)

        listening = asyncio.create_task(listen())
        async with asyncio.timeout(30):
            await until(floors)
            wts_connection.contact_writes(PHONES[0], "Olá")
            await until(lambda: sequence)
            looks = len(wts_connection.requests_of("list_sessions"))
            await until(lambda: len(wts_connection.requests_of("list_sessions")) > looks + 6)
            before = dict(store.values)
            manager.confirm_persisted([number for number in sequence if number is not None])
            await until(lambda: store.values != before)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await manager.stop_all()
        return before, store.values

    before, after = (json.loads(*states.values()) for states in asyncio.run(main()))
    assert before["told"] == {}
    assert len(after["told"]) == 1


def tellings(emulator: Emulator, *doings: Callable[[], Any]) -> list[tuple[float, list[dict[str, Any]]]]:
    """Run a trigger, do something at its begin and after each event for Airflow, and return these and their times."""
    following = iter(doings)
    told: list[tuple[float, list[dict[str, Any]]]] = []

    async def listen() -> None:
        async for event in WtsSessionEventTrigger(poll_interval=0.02).run():
            told.append((time.monotonic(), event.payload["events"]))
            do = next(following, None)
            if do is None:
                return
            do()

    async def main() -> None:
        async with asyncio.timeout(30):
            listening = asyncio.create_task(listen())
            while len(emulator.requests_of("list_sessions")) < 4:
                await asyncio.sleep(0.01)
            next(following)()
            await listening

    asyncio.run(main())
    return told


@needs_airflow_3
@pytest.mark.parametrize("batched", [pytest.param(False, marks=before_3_4), True])
def test_what_happens_soon_after_an_event_is_told_later_and_together(
    wts_connection: Emulator, monkeypatch: pytest.MonkeyPatch, batched: bool
) -> None:
    monkeypatch.setattr(trigger_module, "SPACING", 1.0)
    monkeypatch.setenv("AIRFLOW__SCHEDULER__BATCH_ASSET_EVENTS", str(batched))

    def more_write() -> None:
        for phone in PHONES[1:4]:
            wts_connection.contact_writes(phone, "Oi")

    began = time.monotonic()
    (first, one), (second, three) = tellings(wts_connection, writes(wts_connection, PHONES[0]), more_write)
    assert first - began >= 1.0
    assert second - first >= 1.0
    assert (len(one), len(three)) == (1, 3)
    assert len({event["id"] for event in [*one, *three]}) == 4


@from_3_4
def test_airflow_3_4_gets_an_event_as_soon_as_it_is_seen(
    wts_connection: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So long that the test would fail if anything waited for it.
    monkeypatch.setattr(trigger_module, "SPACING", 3600.0)
    (_, one), (_, two) = tellings(wts_connection, writes(wts_connection, PHONES[0]), writes(wts_connection, PHONES[1]))
    assert (len(one), len(two)) == (1, 1)


@from_3_4
def test_a_queue_is_where_airflow_runs_the_trigger_and_no_argument_of_it() -> None:
    trigger = WtsSessionEventTrigger(queue="whatsapp")
    from airflow.serialization.encoders import encode_trigger

    assert encode_trigger(trigger)["queue"] == "whatsapp"
    assert trigger.serialize() == WtsSessionEventTrigger().serialize()


@needs_airflow_3
@before_3_4
def test_a_queue_is_refused_where_airflow_has_none() -> None:
    with pytest.raises(ValueError, match=r"queue: needs Airflow 3\.4"):
        WtsSessionEventTrigger(queue="whatsapp")


@needs_airflow_3
def test_an_event_holds_no_more_than_a_row_may(wts_connection: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trigger_module, "MOST", 2)

    def all_write() -> None:
        with wts_connection.state.lock:
            for phone in PHONES[:5]:
                wts_connection.contact_writes(phone, "Oi")

    def nothing() -> None:
        pass

    told = [events for _, events in tellings(wts_connection, all_write, nothing, nothing)]
    assert [len(events) for events in told] == [2, 2, 1]
    assert len({event["id"] for events in told for event in events}) == 5


@needs_airflow_3
def test_it_is_made_again_from_what_it_says_of_itself() -> None:
    trigger = WtsSessionEventTrigger(events=("session_opened", "message_received"), poll_interval=30)
    path, arguments = trigger.serialize()
    assert path == "airflow_provider_wts.triggers.events.WtsSessionEventTrigger"
    assert WtsSessionEventTrigger(**json.loads(json.dumps(arguments))).serialize() == (path, arguments)
    assert trigger.shared_stream_key() == WtsSessionEventTrigger(poll_interval=30).shared_stream_key()


@needs_airflow_3
@pytest.mark.parametrize("parameters", [{"events": "answered"}, {"events": []}, {"poll_interval": 0}], ids=str)
def test_impossible_input_is_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"events|poll_interval"):
        WtsSessionEventTrigger(**parameters)


def session(at: datetime) -> dict[str, Any]:
    names = ("session_id", "status", "created_at", "updated_at", "ended_at", "last_message_in", "last_message_out")
    return {**dict.fromkeys(names), "session_id": "s", "last_message_in": at.isoformat(), "updated_at": at.isoformat()}


def news(position: Position, batch: Batch, kinds: list[str]) -> list[dict[str, Any]]:
    position.find(batch, kinds)
    return position.report()


def test_a_position_forgets_what_is_over() -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    position = Position(begin)
    for minute in range(60):
        at = begin + timedelta(minutes=minute, seconds=1)
        batch = Batch(at - OVERLAP, at, [session(at)], 2)
        assert len(news(position, batch, ["message_received"])) == 1
        assert news(position, batch, ["message_received"]) == []
    assert len(position.as_json()["told"]) <= 3
    assert Position.read(position.as_json()).as_json() == position.as_json()  # type: ignore[union-attr]


@pytest.mark.parametrize("zone", [-3, 0, 5.5])
def test_an_event_whose_time_is_written_for_another_zone_is_the_same(zone: float) -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    at, position = begin + timedelta(seconds=1), Position(begin)
    elsewhere = at.astimezone(timezone(timedelta(hours=zone)))
    told = [news(position, Batch(begin, at, [session(one)], 2), ["message_received"]) for one in (at, elsewhere)]
    assert [len(events) for events in told] == [1, 0]


def test_a_change_that_shows_late_is_told() -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    position = Position(begin)
    late, later = begin + timedelta(seconds=10), begin + timedelta(seconds=100)
    assert news(position, Batch(begin, later, [], 2), ["message_received"]) == []
    assert len(news(position, Batch(begin, later, [session(late)], 2), ["message_received"])) == 1


@needs_airflow_3
@pytest.mark.parametrize("minutes", [2, 4, 60 * 24 * 365])
def test_a_session_dated_in_the_future_silences_no_other(wts_connection: Emulator, minutes: int) -> None:
    def date_ahead() -> None:
        wts_connection.contact_writes(PHONES[0], "Olá")
        (session,) = wts_connection.state.sessions.by_creation()
        ahead = (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")
        with wts_connection.state.lock:
            for name in ("updatedAt", "lastInteractionDate", "lastMessageIn"):
                session[name] = ahead

    told = watch(date_ahead, *(writes(wts_connection, phone) for phone in PHONES[1:6]), emulator=wts_connection)
    ahead = [one for one in told if parse_timestamp(one["at"]) > datetime.now(UTC)]
    assert len(told) - len(ahead) == 5
    assert len(ahead) <= 1


@needs_airflow_3
@pytest.mark.parametrize("odd", [{"previewUrl": 3}, {"metadata": [1]}, {"id": 7}, {"updatedAt": {}}, None], ids=str)
def test_an_odd_session_silences_no_other(
    wts_connection: Emulator, monkeypatch: pytest.MonkeyPatch, odd: dict[str, Any] | None
) -> None:
    monkeypatch.setattr("airflow_provider_wts.api.client.UNKNOWN_BUDGET", 0)
    monkeypatch.setattr("airflow_provider_wts.api.pagination.SETTLE_SECONDS", 0)
    parse = outcome.parsed

    def spoilt(body: bytes) -> Any:
        page = parse(body)
        for number, item in enumerate(page.get("items", ())):
            if item["contactId"] == wts_connection.state.sessions.by_creation()[0]["contactId"]:
                page["items"][number] = odd and {**item, **odd}
        return page

    monkeypatch.setattr(outcome, "parsed", spoilt)
    told = watch(*(writes(wts_connection, phone) for phone in PHONES[:3]), emulator=wts_connection)
    assert len({one["contact_id"] for one in told}) == (2 if odd is None or "id" in odd else 3)


@needs_airflow_3
def test_a_failed_read_of_the_connection_does_not_end_it(
    wts_connection: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    read = WtsHook.get_connection

    def flaky(conn_id: str) -> Any:
        reads.append(conn_id)
        if len(reads) <= 2:
            raise ConnectionError("Airflow's API server is restarting")
        return read(conn_id)

    monkeypatch.setattr(WtsHook, "get_connection", staticmethod(flaky))
    assert len(watch(writes(wts_connection, PHONES[0]), emulator=wts_connection)) == 1


@needs_airflow_3
def test_a_token_that_was_replaced_in_airflow_is_used(
    wts_connection: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rotate() -> None:
        monkeypatch.setattr(wts_connection.service, "token", "pn_rotated")
        connection = {"conn_type": "wts", "host": wts_connection.url, "password": "pn_rotated"}
        monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))

    assert len(watch(rotate, writes(wts_connection, PHONES[0]), emulator=wts_connection)) == 1


@needs_airflow_3
@pytest.mark.parametrize("bad", [-1, 10**6])
def test_a_reach_back_that_cannot_be_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="reach_back"):
        WtsSessionEventTrigger(reach_back=bad)


@needs_airflow_3
def test_a_reach_back_of_its_own_is_part_of_the_trigger() -> None:
    trigger = WtsSessionEventTrigger(reach_back=600)
    _, arguments = trigger.serialize()
    assert WtsSessionEventTrigger(**arguments).reach_back == 600
    assert trigger.shared_stream_key() != WtsSessionEventTrigger().shared_stream_key()


@pytest.mark.parametrize(("reach_back", "told"), [(timedelta(minutes=2), 0), (timedelta(minutes=10), 1)])
def test_an_event_that_shows_late_is_told_within_the_reach_back(reach_back: timedelta, told: int) -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    position = Position(begin, reach_back=reach_back)
    news(position, Batch(begin, begin + timedelta(minutes=6), [], 2), ["message_received"])
    late = Batch(begin, begin + timedelta(minutes=6), [session(begin + timedelta(minutes=1))], 2)
    assert len(news(position, late, ["message_received"])) == told


def test_a_position_that_is_kept_under_load_forgets_nothing_that_was_told_and_loses_nothing_that_was_not() -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    sessions = [{**session(begin + timedelta(seconds=number)), "session_id": f"s{number}"} for number in range(1, 501)]
    batch = Batch(begin, begin + timedelta(seconds=500), sessions, 5)
    position = Position(begin)
    position.find(batch, ["message_received"])
    told = position.report(200)
    again = Position.read(json.loads(json.dumps(position.as_json())))
    assert again is not None
    rest = news(again, Batch(again.floor or begin, batch.cursor, sessions, 5), ["message_received"])
    ids = [one["session_id"] for one in told + rest]
    assert len(ids) == len(set(ids)) == 500


@needs_airflow_3
def test_the_position_is_kept_with_each_delivery_while_more_is_untold(
    wts_connection: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A triggerer that is killed in the middle of many events repeats at most the last delivery."""
    monkeypatch.setattr(trigger_module, "MOST", 2)
    monkeypatch.setattr(trigger_module, "SPACING", 0.05)
    store = AssetStateStore()

    def all_write() -> None:
        with wts_connection.state.lock:
            for phone in PHONES:
                wts_connection.contact_writes(phone, "Oi")

    async def until_killed() -> list[str]:
        trigger = WtsSessionEventTrigger(poll_interval=0.01)
        trigger.asset_state_store = store  # type: ignore[assignment]
        told: list[str] = []
        events = trigger.run()
        async with asyncio.timeout(30):
            writing = asyncio.create_task(_after(wts_connection, all_write))
            async for event in events:
                told += [one["id"] for one in event.payload["events"]]
                if len(told) >= 6:
                    break
            await writing
        await events.aclose()  # type: ignore[attr-defined]
        return told

    first = asyncio.run(until_killed())
    monkeypatch.setattr(trigger_module, "MOST", 200)
    second = [one["id"] for one in watch(store=store, emulator=wts_connection, looks=6)]
    assert len(set(first) | set(second)) == len(PHONES)
    assert len(set(first) & set(second)) <= 2


class SlowService:
    """A client that needs ten minutes for each list."""

    server_date = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)

    def pages(self, call: Any) -> Iterator[dict[str, Any]]:
        yield {"items": [{"id": "a", "updatedAt": self.server_date.isoformat()}]}
        self.server_date += timedelta(minutes=10)


def test_the_next_poll_reads_what_changed_during_a_slow_one() -> None:
    service: Any = SlowService()
    begun = service.server_date
    batch = changed_sessions(service, begun - timedelta(hours=1))
    assert batch.sessions[0]["updated_at"] > begun.isoformat()
    assert batch.cursor == begun


async def _after(emulator: Emulator, do: Callable[[], Any]) -> None:
    while len(emulator.requests_of("list_sessions")) < 4:
        await asyncio.sleep(0.01)
    await asyncio.to_thread(do)


@needs_airflow_3
def test_answers_with_a_wrong_date_silence_nothing_that_comes_later(
    wts_connection: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = client.date_of

    def dated_in_the_future() -> None:
        wts_connection.contact_writes(PHONES[0], "Olá")
        (session,) = wts_connection.state.sessions.by_creation()
        with wts_connection.state.lock:
            session["updatedAt"] = session["lastInteractionDate"] = "2090-01-01T00:00:00Z"

    def clock_of_the_server(read: Any) -> Callable[[], None]:
        return lambda: monkeypatch.setattr(client, "date_of", read)

    told = watch(
        dated_in_the_future,
        clock_of_the_server(lambda _: datetime(2099, 1, 1, tzinfo=UTC)),
        clock_of_the_server(right),
        *(writes(wts_connection, phone) for phone in PHONES[1:4]),
        emulator=wts_connection,
    )
    assert len(told) == 4
