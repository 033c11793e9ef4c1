"""The trigger that starts DAGs by what happens in conversations, for ``AssetWatcher`` (Airflow 3)."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowOptionalProviderFeatureException
from airflow.triggers.base import TriggerEvent

from airflow_provider_wts.api.errors import WtsError
from airflow_provider_wts.hooks.failures import is_final
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.waiting.events import EVENTS, MESSAGE_RECEIVED, OVERLAP, Batch, Position, changed_sessions
from airflow_provider_wts.waiting.poller import SECONDS_PER_CALL
from airflow_provider_wts.waiting.sweep import CLOCK_SLACK

try:
    from airflow.triggers.base import BaseEventTrigger
except ImportError:
    raise AirflowOptionalProviderFeatureException(
        "airflow_provider_wts.triggers.events needs Airflow 3: this Airflow does not start DAGs by events. "
        "WtsSessionReplySensor waits for a contact within a DAG."
    ) from None

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Hashable, Sequence

log = logging.getLogger(__name__)

#: The longest pause after failures, in seconds.
LONGEST_PAUSE = 900.0


class WtsSessionEventTrigger(BaseEventTrigger):
    """Sends an event for each thing that happens in the account's conversations.

    Calls ``list_sessions``, two requests a look. From Airflow 3.3 on, all watchers of a connection share the looks,
    and each keeps its position with its asset: events that come while no triggerer runs are told later. Before 3.3,
    and for a trigger that watches several assets, the position is lost with the process: what comes meanwhile is
    not told.

    Each event is told once; where a triggerer dies between telling and keeping its position, it is told again.
    Events of one look come in the order of their moments. Several messages of one contact between two looks are one
    event: read them with ``WtsListMessagesOperator``. What happened before the first look is not told.

    The event's payload holds ``event``, ``at`` (its moment), ``session_id``, ``contact_id``, ``channel_id``,
    ``department_id``, ``user_id``, ``status``, ``created_at``, ``updated_at``, ``ended_at``, ``last_message_in`` and
    ``last_message_out``: ids and moments, and nothing that the contact wrote.

    :param events: ``message_received`` (default), ``session_opened``, ``session_completed``; one or a list.
    :param wts_conn_id: id of the Airflow connection.
    :param poll_interval: seconds between two looks.
    """

    def __init__(
        self,
        *,
        events: str | Sequence[str] = (MESSAGE_RECEIVED,),
        wts_conn_id: str = WtsHook.default_conn_name,
        poll_interval: float = 60,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's trigger classes have no annotations
        self.events = sorted({events} if isinstance(events, str) else set(events))
        self.wts_conn_id = wts_conn_id
        self.poll_interval = poll_interval
        if unknown := set(self.events) - EVENTS.keys():
            raise ValueError(f"events: {sorted(unknown)} are unknown. Good values are {', '.join(map(repr, EVENTS))}.")
        if not self.events or not poll_interval > 0:
            raise ValueError("events: is empty." if not self.events else "poll_interval: must be above 0 seconds.")
        self._warned = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments, as plain JSON."""
        names = ("events", "wts_conn_id", "poll_interval")
        return f"{__name__}.WtsSessionEventTrigger", {name: getattr(self, name) for name in names}

    def shared_stream_key(self) -> Hashable | None:
        """Return what the triggers have in common that share their looks."""
        return ("wts-sessions", self.wts_conn_id, self.poll_interval)

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[Batch]:
        """Look at the account's sessions again and again, and yield what changed.

        It never ends by itself: Airflow would open it anew every second. After a failure it waits longer and longer.

        :param kwargs: arguments of one of the triggers.
        """
        pause = poll_interval = float(kwargs["poll_interval"])
        changes = _Changes(kwargs["wts_conn_id"])
        cursor = datetime.now(UTC) - CLOCK_SLACK + OVERLAP
        try:
            while True:
                try:
                    batch = await changes.since(cursor - OVERLAP)
                except WtsError as error:
                    pause = min(2 * pause, max(LONGEST_PAUSE, poll_interval))
                    hint = " It does not go away by itself." if is_final(error) else ""
                    log.error("Cannot look for events: %s%s The next look is in %.0f s.", error, hint, pause)
                else:
                    cursor = batch.cursor
                    yield batch
                    pause = max(poll_interval, batch.calls * SECONDS_PER_CALL)
                await asyncio.sleep(pause)
        except Exception:
            # Nobody knows what it is; it must not come back every second.
            await asyncio.sleep(poll_interval)
            raise
        finally:
            changes.close()

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Batch]) -> AsyncIterator[TriggerEvent]:
        """Tell the events that this trigger is for, and keep the position.

        :param shared_stream: what changed, look by look.
        """
        position = await self._stored_position()
        async for batch in shared_stream:
            before = position.as_json()
            for stretch in await self._without_gap(position, batch):
                for event in position.news(stretch, self.events):
                    yield TriggerEvent(event)  # type: ignore[no-untyped-call]
            if position.as_json() != before:
                await self._store(position)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look and tell alone, where Airflow (before 3.3) cannot share the looks."""
        async for event in self.filter_shared_stream(self.open_shared_stream(self.serialize()[1])):
            yield event

    async def _without_gap(self, position: Position, batch: Batch) -> list[Batch]:
        """Return the batch, and before it what came while this trigger did not run."""
        if position.floor is None or batch.since <= position.floor:
            return [batch]
        changes = _Changes(self.wts_conn_id)
        try:
            return [await changes.since(position.floor), batch]
        except WtsError as error:
            self.log.warning("Cannot read what happened since %s: %s", position.floor.isoformat(), error)
            # The position stays, so the next look tries again.
            return []
        finally:
            changes.close()

    @property
    def _key(self) -> str:
        identity = "\0".join((self.wts_conn_id, *self.events))
        return f"wts_session_events_{hashlib.sha256(identity.encode()).hexdigest()[:16]}"

    async def _stored_position(self) -> Position:
        store = getattr(self, "asset_state_store", None)
        if store is None:
            self._warn("there is no asset state store (Airflow 3.3 and later)")
            return Position()
        try:
            stored = await (
                store.aget(self._key) if hasattr(store, "aget") else asyncio.to_thread(store.get, self._key)
            )
        except ValueError:
            self._warn("it watches more than one asset")
            return Position()
        except Exception:
            await asyncio.sleep(self.poll_interval)
            raise
        position = Position.read(stored)
        if position is None and stored is not None:
            self._warn("what is stored cannot be read")
        return position or Position()

    async def _store(self, position: Position) -> None:
        store = getattr(self, "asset_state_store", None)
        if store is None:
            return
        value = position.as_json()
        try:
            await (
                store.aset(self._key, value)
                if hasattr(store, "aset")
                else asyncio.to_thread(store.set, self._key, value)
            )
        except ValueError:
            self._warn("it watches more than one asset")
        except Exception as error:
            self.log.warning("The position could not be kept; events may be told again after a restart: %s", error)

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            self.log.warning("The position among the events is kept in memory only, because %s.", reason)


class _Changes:
    """Reads changed sessions in a thread of its own: the loop's threads look names up for the whole triggerer."""

    def __init__(self, wts_conn_id: str) -> None:
        self._wts_conn_id = wts_conn_id
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="wts-events")
        self._hook: WtsHook | None = None

    async def since(self, moment: datetime) -> Batch:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, moment)

    def close(self) -> None:
        self._thread.shutdown(wait=False)

    def _read(self, moment: datetime) -> Batch:
        # In the thread: it reads the connection, which would block the loop.
        if self._hook is None:
            self._hook = WtsHook(self._wts_conn_id)
        return changed_sessions(self._hook.client, moment)
