"""Where a task process is stopped: hooks around the ledger's store, the waits, the connection and the requests.

They are put around Airflow, requests and the standard library, and one around the rate limits, so that they do not
depend on how a send is made. Importing this module puts them in place; import it before the provider, which binds
``time.sleep``.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import json
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from airflow.providers.common.compat.sdk import ObjectStoragePath
from airflow.sdk.execution_time.context import TaskStateStoreAccessor

#: The package whose waits are told apart.
PACKAGE = "airflow_provider_wts"

_sleep = time.sleep
_thread = threading.local()


class Watch:
    """What happens to the task process of one try.

    :param stop: the point at which it is stopped, and at which of its passes; ``None`` = nowhere.
    :param wait: what makes it wait: ``429``, ``rate limit``, ``refused``, ``window`` or nothing.
    :param at_pass: at which pass the wait begins.
    :param url: the API.
    :param numbers: the digits of the recipients.
    :param ledger: the folder of ledgers in files.
    :param note: where it says that it is stopped.
    """

    def __init__(
        self,
        *,
        stop: tuple[str, int] | None,
        wait: str | None,
        at_pass: int,
        url: str,
        numbers: list[str],
        ledger: str,
        note: str,
    ) -> None:
        self._stop_at = stop and tuple(stop)
        self._wait = wait
        self._at_pass = at_pass
        self._url = url
        self._numbers = [number.encode() for number in numbers]
        self._note = Path(note)
        self._supervisor = os.getpid()
        self._lock = threading.Lock()
        self._passed: Counter[str] = Counter()
        self._waited = False
        self.ledger = ledger
        self.stopped = False

    @property
    def active(self) -> bool:
        """Whether this is the task process, and not its supervisor, and not a hook itself."""
        return os.getpid() != self._supervisor and not getattr(_thread, "inside", False)

    def at(self, point: str) -> None:
        """Arrive at a point."""
        if not self.active:
            return
        with self._lock:
            self._passed[point] += 1
            stops = not self.stopped and (point, self._passed[point]) == self._stop_at
            self.stopped = self.stopped or stops
        if stops:
            self._stop(point)

    def waits(self, wait: str) -> bool:
        """Whether the wait begins here."""
        if not self.active or wait != self._wait or self._waited:
            return False
        with self._lock:
            self._passed[f"begin {wait}"] += 1
            self._waited = self._passed[f"begin {wait}"] == self._at_pass
            return self._waited

    def is_send(self, request: requests.PreparedRequest) -> bool:
        """Whether a request is about to reach a recipient."""
        body = request.body if isinstance(request.body, bytes) else b""
        path = urlsplit(request.url or "").path
        return request.method == "POST" and "/send" in path and any(number in body for number in self._numbers)

    def refuse_next(self, body: bytes) -> None:
        """Let the service answer this send with a 429, once."""
        number = next(number for number in self._numbers if number in body)
        fault = {"kind": "status", "status": 429, "envelope": "none", "retry_after": "45", "body": number.decode()}
        with inside():
            connection = http.client.HTTPConnection(urlsplit(self._url).netloc)
            connection.request("POST", "/_emulator/faults", json.dumps(fault), {"Content-Type": "application/json"})
            assert connection.getresponse().read() is not None
            connection.close()

    def kind_of_wait(self, frame: Any) -> str | None:
        """Name the wait in which somebody sleeps."""
        files = []
        while frame is not None and len(files) < 25:
            files.append(frame.f_code.co_filename)
            frame = frame.f_back
        ours = (file.rpartition(f"/{PACKAGE}/")[2] for file in files if f"/{PACKAGE}/" in file)
        inner = next((file for file in ours if file != "sending/clock.py"), None)
        if inner is None:
            return None
        known = {"api/client.py": "retry", "sending/ledger.py": "lease"}
        return known.get(inner, self._wait if self._wait == "window" else "reconcile")

    def _stop(self, point: str) -> None:
        passed = self._passed
        seen = {
            "pid": os.getpid(),
            "point": point,
            "ledger": passed["ledger:read"] + passed["ledger:write"],
            "writes": passed["ledger:written"],
        }
        fresh = self._note.with_suffix(".new")
        fresh.write_text(json.dumps(seen))
        fresh.rename(self._note)
        # Both, as on a machine that stands still.
        os.kill(os.getppid(), signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)


watch: Watch | None = None


def install(new: Watch) -> None:
    """Let a watch count for the processes that are forked from this one; they end with their parent."""
    global watch
    watch = new
    die_with_parent()
    os.register_at_fork(after_in_child=die_with_parent)


def die_with_parent() -> None:
    """Have this process killed when its parent dies: one that is stopped would stay for good."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)


@contextlib.contextmanager
def inside() -> Any:
    """Do something that no hook sees."""
    _thread.inside = True
    try:
        yield
    finally:
        _thread.inside = False


def at(point: str) -> None:
    """Arrive at a point."""
    if watch is not None:
        watch.at(point)


def sleep(seconds: float) -> None:
    """Sleep; one that was stopped finds that the time is over."""
    if watch is None or not watch.active or (kind := watch.kind_of_wait(sys._getframe(1))) is None:
        _sleep(seconds)
        return
    at(f"wait:{kind}")
    _sleep(0.0 if watch.stopped and kind == "retry" else seconds)


def around_store(name: str, kind: str, original: Any) -> Any:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if watch is None or (isinstance(self, ObjectStoragePath) and watch.ledger not in str(self)):
            return original(self, *args, **kwargs)
        at("ledger:before")
        at(f"ledger:{kind}")
        try:
            return original(self, *args, **kwargs)
        finally:
            if kind == "write":
                at("ledger:written")
            at("ledger:after")

    method.__name__ = name
    return method


def send(self: Any, request: requests.PreparedRequest, **kwargs: Any) -> Any:
    if watch is None or not watch.is_send(request):
        at("read:before")
        return _send(self, request, **kwargs)
    if watch.waits("429"):
        watch.refuse_next(request.body)  # type: ignore[arg-type]
    at("send:before")
    _thread.sends = True
    try:
        answer = _send(self, request, **kwargs)
    finally:
        _thread.sends = False
    at("send:answered")
    return answer


def getresponse(self: Any, *args: Any, **kwargs: Any) -> Any:
    if getattr(_thread, "sends", False):
        at("send:unanswered")
    return _getresponse(self, *args, **kwargs)


def getaddrinfo(*args: Any, **kwargs: Any) -> Any:
    at("resolve")
    return _getaddrinfo(*args, **kwargs)


def connect(self: Any, address: Any) -> None:
    if watch is not None and watch.waits("refused"):
        raise ConnectionRefusedError(111, "Connection refused")
    _connect(self, address)


def acquire(self: Any, *args: Any, **kwargs: Any) -> float:
    if watch is not None and watch.waits("rate limit"):
        at("wait:rate limit")
    return _acquire(self, *args, **kwargs)


_send = requests.Session.send
_getresponse = http.client.HTTPConnection.getresponse
_getaddrinfo = socket.getaddrinfo
_connect = socket.socket.connect

time.sleep = sleep

# Now that it binds the function above.
from airflow_provider_wts.api.budget import Budget  # noqa: E402

_acquire = Budget.acquire
Budget.acquire = acquire  # type: ignore[method-assign]
requests.Session.send = send  # type: ignore[method-assign]
http.client.HTTPConnection.getresponse = getresponse  # type: ignore[method-assign]
socket.getaddrinfo = getaddrinfo
socket.socket.connect = connect  # type: ignore[method-assign]
for _class, _names in ((TaskStateStoreAccessor, ("get", "set")), (ObjectStoragePath, ("read_text", "write_text"))):
    for _name, _kind in zip(_names, ("read", "write"), strict=True):
        setattr(_class, _name, around_store(_name, _kind, getattr(_class, _name)))
