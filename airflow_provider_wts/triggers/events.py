"""The trigger that starts DAGs when something happens in a conversation, for ``AssetWatcher`` (Airflow 3)."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowOptionalProviderFeatureException, conf
from airflow.triggers.base import TriggerEvent

from airflow_provider_wts.api.errors import WtsError, quoted
from airflow_provider_wts.api.wire import CLOCK_SLACK
from airflow_provider_wts.hooks import metrics
from airflow_provider_wts.hooks.errors import is_final
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.waiting.poller import SECONDS_PER_CALL
from airflow_provider_wts.waiting.reader import BackgroundReader
from airflow_provider_wts.waiting.session_changes import (
    EVENTS,
    MESSAGE_RECEIVED,
    OVERLAP,
    Batch,
    Position,
    changed_sessions,
)

try:
    from airflow.triggers.base import BaseEventTrigger
except ImportError:
    raise AirflowOptionalProviderFeatureException(
        "airflow_provider_wts.triggers.events needs Airflow 3: this Airflow does not start DAGs by events. "
        "WtsSessionReplySensor waits for a contact within a DAG."
    ) from None

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence

log = logging.getLogger(__name__)

#: The longest pause after failures, in seconds.
LONGEST_PAUSE = 900.0

#: Seconds of a poll to wait for what happened while the trigger did not run. Airflow gives up after 300.
GAP_WAIT = 30.0

#: The longest delay of an event in seconds. Reported events are remembered that long.
MOST_REACH_BACK = 24 * 3600.0

#: Seconds between two asset events before Airflow 3.4. Its scheduler starts a run for the first of two close events,
#: and leaves the second until a third comes (https://github.com/apache/airflow/issues/56050).
SPACING = 15.0

#: Airflow 3.4 has queues for event triggers, and starts a run for each event.
_IS_AIRFLOW_3_4 = hasattr(BaseEventTrigger, "queue")

#: The most events in one asset event, which becomes a row in Airflow's database.
MOST = 200


class WtsSessionEventTrigger(BaseEventTrigger):
    """Sends events about what happens in the account's conversations.

    Calls ``list_sessions``, two requests per poll. From Airflow 3.3 on, all watchers of a connection share the polls,
    and each stores its position with its asset: what happens while no triggerer runs is reported later. Before Airflow
    3.3, and for a trigger that watches several assets, the position is lost with the process, and what happens
    meanwhile is not reported.

    Each event is reported once. The position is stored after Airflow has stored the events. If a triggerer dies in the
    second or two between, they are reported again, with the same ``id`` values. An event that WTS Chat shows more than
    ``reach_back`` seconds late is not reported, and one that it dates in the future is reported when its time comes.
    Several messages of one contact between two polls are reported as one; read them with ``WtsListMessagesOperator``.
    Events before the first poll are not reported.

    Airflow gets at most one asset event per poll. Before Airflow 3.4, and with ``[scheduler] batch_asset_events``,
    asset events are at least 15 seconds apart: Airflow could leave the second without a run until a third comes. The
    payload is ``{"events": [...]}``, in chronological order. Each holds ``id``, ``event``, ``at`` (its date and time),
    ``session_id``, ``contact_id``, ``channel_id``, ``department_id``, ``user_id``, ``status``, ``created_at``,
    ``updated_at``, ``ended_at``, ``last_message_in`` and ``last_message_out``: IDs and dates, and nothing that the
    contact wrote.

    :param events: ``message_received`` (default), ``session_opened``, ``session_completed``; one or a list.
    :param wts_conn_id: ID of the Airflow connection.
    :param poll_interval: polling interval in seconds.
    :param reach_back: seconds by which WTS Chat may show an event late; later ones are not reported. Default: 120. Each
        poll reads this much time again.
    :param queue: queue of the triggerers that run it, with ``[triggerer] queues_enabled``; needs Airflow 3.4.
    :raises ValueError: when a parameter is not valid, or ``queue`` is given before Airflow 3.4.
    """

    def __init__(
        self,
        *,
        events: str | Sequence[str] = (MESSAGE_RECEIVED,),
        wts_conn_id: str = WtsHook.default_conn_name,
        poll_interval: float = 60,
        reach_back: float = OVERLAP.total_seconds(),
        queue: str | None = None,
    ) -> None:
        if queue is not None and not _IS_AIRFLOW_3_4:
            raise ValueError("queue: needs Airflow 3.4. Leave it out, or upgrade Airflow.")
        super().__init__(**({} if queue is None else {"queue": queue}))  # type: ignore[no-untyped-call]  # no annotations
        self.events = sorted({events} if isinstance(events, str) else set(events))
        self.wts_conn_id = wts_conn_id
        self.poll_interval = poll_interval
        self.reach_back = reach_back
        if unknown := set(self.events) - EVENTS.keys():
            raise ValueError(f"events: {quoted(*sorted(unknown))} must be one of {', '.join(map(repr, EVENTS))}.")
        if not self.events or not poll_interval > 0:
            raise ValueError("events: is empty." if not self.events else "poll_interval: must be above 0 seconds.")
        if not 0 <= reach_back <= MOST_REACH_BACK:
            raise ValueError(f"reach_back: must be from 0 to {MOST_REACH_BACK:.0f} seconds. Example: 600.")
        self._warned = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments, as plain JSON."""
        names = ["events", "wts_conn_id", "poll_interval"]
        # Only if it is set, because Airflow distinguishes watchers by these.
        names += ["reach_back"] * (self.reach_back != OVERLAP.total_seconds())
        return f"{__name__}.WtsSessionEventTrigger", {name: getattr(self, name) for name in names}

    def shared_stream_key(self) -> Hashable | None:
        """Return what triggers that share polls have in common."""
        return ("wts-sessions", self.wts_conn_id, self.poll_interval, self.reach_back)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> Any:
        """Return the polls that Airflow shares among triggers, which also learns when their events are stored."""
        reach_back = timedelta(seconds=kwargs.get("reach_back", OVERLAP.total_seconds()))
        return _SharedPolls(kwargs["wts_conn_id"], float(kwargs["poll_interval"]), reach_back)

    async def filter_shared_stream(self, shared_stream: AsyncIterator[_Poll]) -> AsyncIterator[TriggerEvent]:
        """Report the events of this trigger, and store the position once Airflow has stored them."""
        position = await self._stored_position()
        kept = position.as_json()
        spacing = _spacing()
        # Also after a start: a triggerer that died may have reported something just before.
        next_report = time.monotonic() + spacing
        gap = _Gap(self.wts_conn_id, self._reach_back)
        try:
            async for poll in shared_stream:
                for stretch in await gap.filled(position, poll.batch):
                    position.find(stretch, self.events)
                payload = None
                if position.unreported and time.monotonic() >= next_report:
                    next_report = time.monotonic() + spacing
                    payload = {"events": position.report(MOST)}
                # A triggerer that starts later finds what is not reported yet.
                if (now := position.as_json()) != kept:
                    kept = now
                    poll.when_stored.append(partial(self._store, now))
                if payload:
                    yield TriggerEvent(payload)  # type: ignore[no-untyped-call]
        finally:
            gap.close()

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll and report alone, because Airflow before 3.3 cannot share the polls."""

        async def alone() -> AsyncIterator[_Poll]:
            last = None
            async for poll in _polls(self.wts_conn_id, self.poll_interval, self._reach_back):
                # It is unknown when an event is stored; assume that one poll interval is enough.
                if last is not None:
                    await last.stored()
                last = poll
                yield poll

        async for event in self.filter_shared_stream(alone()):
            yield event

    @property
    def _reach_back(self) -> timedelta:
        return timedelta(seconds=self.reach_back)

    @property
    def _key(self) -> str:
        identity = "\0".join((self.wts_conn_id, *self.events))
        return f"wts_session_events_{hashlib.sha256(identity.encode()).hexdigest()[:16]}"

    async def _stored_position(self) -> Position:
        store = getattr(self, "asset_state_store", None)
        if store is None:
            self._warn("there is no asset state store (Airflow 3.3 and later)")
            return Position(reach_back=self._reach_back)
        try:
            stored = await (
                store.aget(self._key) if hasattr(store, "aget") else asyncio.to_thread(store.get, self._key)
            )
        except ValueError:
            self._warn("it watches more than one asset")
            return Position(reach_back=self._reach_back)
        except Exception:
            await asyncio.sleep(self.poll_interval)
            raise
        position = Position.read(stored, reach_back=self._reach_back)
        if position is None and stored is not None:
            self._warn("what is stored cannot be read")
        return position or Position(reach_back=self._reach_back)

    async def _store(self, value: dict[str, Any]) -> None:
        store = getattr(self, "asset_state_store", None)
        if store is None:
            return
        try:
            await (
                store.aset(self._key, value)
                if hasattr(store, "aset")
                else asyncio.to_thread(store.set, self._key, value)
            )
        except ValueError:
            self._warn("it watches more than one asset")
        except Exception as error:
            self.log.warning("The position was not stored. Events may be reported again after a restart: %s", error)

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            self.log.warning("The position among the events is kept in memory only, because %s.", reason)


def _spacing() -> float:
    """Return the seconds that Airflow needs between two events."""
    batched = conf.getboolean("scheduler", "batch_asset_events", fallback=False)
    return 0.0 if _IS_AIRFLOW_3_4 and not batched else SPACING


class _Gap:
    """Reads what happened while a trigger did not run, in the background."""

    def __init__(self, wts_conn_id: str, reach_back: timedelta) -> None:
        self._wts_conn_id = wts_conn_id
        self._reach_back = reach_back
        self._missed: asyncio.Task[Batch] | None = None
        self._later: list[Batch] = []

    async def filled(self, position: Position, batch: Batch) -> list[Batch]:
        """Return the batches to report next: none while the read continues."""
        if self._missed is None:
            if position.floor is None or batch.since <= position.floor:
                return [batch]
            self._missed = asyncio.create_task(self._read(position.floor))
        self._later.append(batch)
        if not (await asyncio.wait({self._missed}, timeout=GAP_WAIT))[0]:
            return []
        missed, self._missed = self._missed, None
        later, self._later = self._later, []
        try:
            return [await missed, *later]
        except WtsError as error:
            log.warning("Cannot read what happened since %s: %s", position.floor, error)
            # The position stays, so the next poll tries again.
            return []

    async def _read(self, since: datetime) -> Batch:
        changes = BackgroundReader(self._wts_conn_id, "wts-events")
        try:
            return await changes.read(lambda client: changed_sessions(client, since, reach_back=self._reach_back))
        finally:
            changes.close()

    def close(self) -> None:
        """Stop reading."""
        if self._missed is not None:
            self._missed.cancel()


class _Poll:
    """What a poll saw, and what to do once Airflow has stored the events reported of it."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.when_stored: list[Callable[[], Awaitable[None]]] = []

    async def stored(self) -> None:
        """Run what waits for that."""
        for do in self.when_stored:
            await do()


async def _polls(wts_conn_id: str, poll_interval: float, reach_back: timedelta = OVERLAP) -> AsyncIterator[_Poll]:
    """Poll the account's sessions, and yield what changed.

    It never ends, because Airflow would reopen it every second. After a failure, the pauses grow.
    """
    pause = poll_interval
    changes = BackgroundReader(wts_conn_id, "wts-events")
    polls = metrics.PollMetrics("events", wts_conn_id)
    since = datetime.now(UTC) - CLOCK_SLACK
    try:
        while True:
            try:
                # Bound now, because the next poll starts elsewhere.
                read = partial(changed_sessions, since=since, reach_back=reach_back)
                batch = await changes.read(read)
            except Exception as error:
                polls.polled(succeeded=False)
                pause = max(min(2 * pause, max(LONGEST_PAUSE, poll_interval)), getattr(error, "retry_after", 0.0))
                what = str(error) if isinstance(error, WtsError) else type(error).__name__
                known = isinstance(error, WtsError)
                hint = " Retries do not fix this." if isinstance(error, WtsError) and is_final(error) else ""
                log.error(
                    "Cannot read the sessions: %s%s The next poll is in %.0f s.", what, hint, pause, exc_info=not known
                )
            else:
                polls.polled(succeeded=True)
                since = batch.cursor - reach_back
                yield _Poll(batch)
                pause = max(poll_interval, batch.calls * SECONDS_PER_CALL)
            await asyncio.sleep(pause)
    finally:
        changes.close()
        polls.ended()


class _SharedPolls:
    """The polls as Airflow shares them (its ``SharedStreamProducer``, which is there from 3.3 on)."""

    def __init__(self, wts_conn_id: str, poll_interval: float, reach_back: timedelta) -> None:
        self._polls = _polls(wts_conn_id, poll_interval, reach_back)

    async def open_stream(self) -> AsyncIterator[tuple[_Poll, _Poll]]:
        async for poll in self._polls:
            yield poll, poll

    async def advance(self, batch: Sequence[Any]) -> None:
        for item in batch:
            # If Airflow gave up on a trigger, it is unknown what is stored. The others move on with a later poll.
            if not item.outcome.failed:
                await item.broker_payload.stored()

    def get_advance_lane(self, broker_payload: Any) -> None:
        """All polls are settled in their order."""

    async def aclose(self) -> None:
        await self._polls.aclose()  # type: ignore[attr-defined]  # it is a generator
