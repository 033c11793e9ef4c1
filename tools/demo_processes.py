"""Processes of the demo: started together, ended together, and none is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")

_MARK = "WTS_DEMO_MARK"


class DemoError(Exception):
    """What went wrong, for a person."""


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Processes:
    """Background processes, each in its own process group; their output goes to a folder."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        # Every descendant inherits it, also one that leaves its process group.
        self._mark = uuid.uuid4().hex

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a process; its name is that of its log file."""
        with self.log_of(name).open("wb") as log:
            self._running[name] = subprocess.Popen(
                command,
                env={**environment, _MARK: self._mark},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Run a process to its end, or raise :class:`DemoError`."""
        self.start(name, command, environment)
        if self._running[name].wait() != 0:
            raise DemoError(f"{name} failed:\n{self.tail(name)}")
        del self._running[name]

    def start_emulator(
        self, python: str | Path, environment: Mapping[str, str], *options: str | Path
    ) -> dict[str, str]:
        """Start an emulator on a free port, and return the connection to it."""
        command = [str(python), "-m", "airflow_provider_wts.emulator", "--port", "0", *map(str, options)]
        self.start("emulator", command, environment)

        def connection() -> dict[str, str] | None:
            shown = re.search(r"AIRFLOW_CONN_WTS_DEFAULT='(.*)'", self.tail("emulator"))
            return json.loads(shown[1]) if shown else None

        return self.wait_for("The start of the emulator", connection, seconds=60, every=0.1)

    def wait_for(self, what: str, poll: Callable[[], T | None], *, seconds: float, every: float = 0.5) -> T:
        """Poll until there is a result, while all processes run.

        :param what: what is waited for, for the error.
        :param poll: returns the result, or ``None``.
        :param every: the polling interval in seconds.
        :raises DemoError: if a process ends first, or the time is over.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = poll()
            if found is not None:
                return found
            for name, process in self._running.items():
                if process.poll() is not None:
                    raise DemoError(f"{name} ended early (exit code {process.returncode}):\n{self.tail(name)}")
            time.sleep(every)
        tails = "\n".join(f"--- {name}\n{self.tail(name, 8)}" for name in self._running)
        raise DemoError(f"{what} did not happen within {seconds:.0f} s.\n{tails}")

    def log_of(self, name: str) -> Path:
        """Return a process's log file."""
        return self._logs / f"{name}.log"

    def tail(self, name: str, lines: int = 25) -> str:
        """Return the last lines that a process wrote."""
        return "\n".join(self.log_of(name).read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> None:
        """End all processes and their children, or raise :class:`DemoError`."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in self._running.values():
                _signal(os.killpg, process.pid, number)
            for pid in self._marked():
                _signal(os.kill, pid, number)
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and self._alive():
                time.sleep(0.1)
            if not self._alive():
                break
        left = self._alive()
        self._running.clear()
        if left:
            raise DemoError(f"These processes of the demo could not be ended: {sorted(left)}")

    def _alive(self) -> set[int]:
        for process in self._running.values():
            process.poll()
        groups = {process.pid for process in self._running.values() if _group_lives(process.pid)}
        return groups | self._marked()

    def _marked(self) -> set[int]:
        """Return the processes that carry the marker; only Linux shows them, elsewhere the process groups must do."""
        wanted = f"{_MARK}={self._mark}".encode()
        found = set()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.add(int(folder.name))
            except OSError:
                # It has ended, or belongs to another user.
                continue
        return found


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _signal(send: Callable[[int, int], None], target: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        send(target, number)
