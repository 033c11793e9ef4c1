"""Runs the application on uvicorn, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from airflow_provider_wts.emulator.application import Application

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.service import Service

log = logging.getLogger("airflow_provider_wts.emulator")

_TICK = 0.02


class _Protocol(H11Protocol):
    """A connection that the application can reach, to break it."""

    close_before_next = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.app_state = {**self.app_state, "connection": self}
        # asyncio does this for sockets that know their protocol only; without it an answer may wait 40 ms.
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self.close_before_next:
            self.transport.close()
            return
        super().data_received(data)


class _Server(uvicorn.Server):
    """A server that stops at once, and does what is due in the account while it runs."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self.listening = threading.Event()

    async def main_loop(self) -> None:
        self.listening.set()
        ticks = 0
        while not await self.on_tick(ticks):
            ticks = (ticks + 1) % 500 or 10
            await asyncio.sleep(_TICK)
            account = self._service.account
            with account.lock:
                account.run_due()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.stopping.set()
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        pending = list(self.server_state.tasks)
        if pending:
            _, late = await asyncio.wait(pending, timeout=0.5)
            for task in late:
                task.cancel()
        await asyncio.sleep(0)
        if not self.force_exit:
            await self.lifespan.shutdown()


class RunningServer:
    """A server in a thread.

    :param service: what it serves.
    :param host: address to listen at.
    :param port: port, 0 = a free one.
    """

    def __init__(self, service: Service, host: str, port: int) -> None:
        self._service = service
        application = Application(service)
        service.stopping.clear()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=512)
        service.listens_at(f"http://{_reachable(host)}:{self._socket.getsockname()[1]}")
        config = uvicorn.Config(
            cast("Any", application),
            http=_Protocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=75,
            backlog=512,
        )
        self._server = _Server(config, service)
        self._thread = threading.Thread(target=self._run, name="wts-emulator", daemon=True)
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Start, and return once it listens."""
        self._thread.start()
        if not self._server.listening.wait(10) or self._failure is not None:
            raise RuntimeError("The emulator did not start.") from self._failure

    def stop(self) -> None:
        """Stop, and return once the thread has ended."""
        self._service.stopping.set()
        self._server.should_exit = True
        self._thread.join(10)
        self._service.postman.stop()
        with contextlib.suppress(OSError):
            self._socket.close()
        if self._thread.is_alive():
            log.warning("The emulator's thread did not end within 10 seconds.")

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._server.serve(sockets=[self._socket]))
        except BaseException as failure:
            self._failure = failure
            self._server.listening.set()
            raise


def _reachable(host: str) -> str:
    """Return the host for a URL; an address that stands for all of them is no destination."""
    if host in ("", "0.0.0.0", "::"):  # noqa: S104
        return "127.0.0.1" if host != "::" else "[::1]"
    return f"[{host}]" if ":" in host else host
