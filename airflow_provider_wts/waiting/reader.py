"""Reads from WTS Chat for triggers: in a separate thread, with the current Airflow connection."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_wts.api.errors import WtsError, WtsNotSentError, quoted
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.waiting.conditions import about_wait, refuses_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_wts.api.client import WtsClient

T = TypeVar("T")

log = logging.getLogger(__name__)

#: Seconds between two reads of the connection from Airflow.
CONNECTION_AGE = 300.0


class StoppedError(Exception):
    """Nobody is waiting for the answer anymore."""


class BackgroundThread:
    """Runs functions one after another, outside the event loop.

    It does not use the loop's default executor, which resolves host names for the whole triggerer, or any executor at
    all: a process waits for an executor's threads before it exits, and an answer may take a minute.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self.stopping = threading.Event()

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function, and return its result. The function continues if the caller is cancelled."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put((function, future))
        if self._thread is None:
            thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            # If the machine has no thread left, the next call tries again.
            thread.start()
            self._thread = thread
        return await future

    def close(self) -> None:
        """End the thread; its waits end immediately."""
        self.stopping.set()
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            function, future = job
            result, error = None, None
            try:
                result = function()
            except BaseException as raised:
                error = raised
            # The loop may be closed.
            with suppress(RuntimeError):
                future.get_loop().call_soon_threadsafe(_settle, future, result, error)
            del job, function, future, result, error
        self._end()

    def _end(self) -> None:
        """Clean up in the thread."""


class BackgroundReader(BackgroundThread):
    """Reads with the client of a connection, which is read again regularly, and if its token is refused."""

    def __init__(self, wts_conn_id: str, name: str) -> None:
        super().__init__(name)
        self._wts_conn_id = wts_conn_id
        self._hook: WtsHook | None = None
        self._read_at = 0.0
        # Whether the last token was refused twice.
        self._refused = False

    async def read(self, function: Callable[[WtsClient], T]) -> T:
        """Call a function with the client.

        :raises WtsError: when it fails, or the connection cannot be used. A refused token is raised only if the
            token that Airflow has now is refused, too.
        """
        return await self.run(lambda: self._read(function))

    def _read(self, function: Callable[[WtsClient], T]) -> T:
        client = self._client()
        try:
            answer = self._unless_stopped(function, client)
        except WtsError as error:
            if not refuses_token(error):
                raise
            log.warning("%s Reading the connection %r again.", error, self._wts_conn_id)
            now = self._connect().client
            if self._refused and now is client:
                # This token has already been refused twice.
                raise
        else:
            self._refused = False
            return answer
        self._refused = True
        answer = self._unless_stopped(function, now)
        self._refused = False
        return answer

    def _unless_stopped(self, function: Callable[[WtsClient], T], client: WtsClient) -> T:
        # A list of many pages must not be read to its end when nobody waits for it.
        with client.ended_by(lambda: self._sleep(0), self._sleep):
            return function(client)

    def _client(self) -> WtsClient:
        if self._hook is None:
            return self._connect().client
        if time.monotonic() - self._read_at > CONNECTION_AGE:
            try:
                self._connect()
            except WtsError as error:
                log.warning("%s The poll continues with the old connection.", error)
        return self._hook.client

    def _connect(self) -> WtsHook:
        """Read the connection from Airflow."""
        # The poll itself retries after a 429, and can be stopped meanwhile.
        hook = WtsHook(self._wts_conn_id, client_settings={"sleep": self._sleep, "rate_limit_wait": 0.0})
        try:
            unchanged = self._hook is not None and self._hook.connection == hook.connection
            if not unchanged:
                # Create it now, to find out whether the connection can be used.
                _ = hook.client
        except WtsError as error:
            raise WtsNotSentError(
                f"The connection {quoted(self._wts_conn_id)} cannot be used: {about_wait(error)}"
            ) from error
        except Exception as error:
            # Airflow's API server or a secrets backend may be restarting. Its error may quote a secret.
            raise WtsNotSentError(
                f"The connection {quoted(self._wts_conn_id)} cannot be read from Airflow ({type(error).__name__})."
            ) from error
        self._read_at = time.monotonic()
        if self._hook is None or not unchanged:
            self._disconnect()
            self._hook = hook
        return self._hook

    def _sleep(self, seconds: float) -> None:
        if self.stopping.wait(seconds):
            raise StoppedError

    def _disconnect(self) -> None:
        if self._hook is not None:
            self._hook.client.close()

    def _end(self) -> None:
        self._disconnect()


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration):
        # A future does not accept it.
        future.set_exception(RuntimeError("StopIteration"))
    else:
        future.set_exception(error)
