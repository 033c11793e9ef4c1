"""Tries of a task, each in a process of its own that may be killed.

A script that calls :func:`serve` imports Airflow once, and each line on its stdin starts a try as a fork: it lives and
dies as a task process does.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds for one try, on a machine that does other things too.
PATIENCE = 180.0


class Tasks:
    """The process that starts tries.

    :param script: what it runs, beside this file.
    """

    def __init__(self, script: str) -> None:
        self._lock = Lock()
        here = Path(__file__)
        # Such as drivers of databases that are not in this environment.
        more = filter(None, [os.environ.get("PYTHONPATH")])
        self._process = subprocess.Popen(
            [sys.executable, str(here.with_name(script))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, here.parents[1:3]), *more])},
        )

    def start(self, settings: dict[str, Any]) -> Try:
        """Start a try."""
        with self._lock:
            self._process.stdin.write(json.dumps(settings) + "\n")
            self._process.stdin.flush()
            return Try(int(self._process.stdout.readline()), Path(settings["result"]))

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)


class Try:
    """One try of a task. Its number may be that of another process when it has ended, so it is not looked up by it."""

    def __init__(self, process: int, result: Path) -> None:
        self._result = result
        self._handle: int | None = None
        with contextlib.suppress(ProcessLookupError):
            self._handle = os.pidfd_open(process)

    def signal(self, number: int) -> None:
        """Send a signal; one that has ended takes none."""
        if self._handle is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def is_over(self) -> bool:
        """Whether its process has ended."""
        if self._handle is not None and select.select([self._handle], [], [], 0)[0]:
            os.close(self._handle)
            self._handle = None
        return self._handle is None

    def outcome(self, patience: float = PATIENCE) -> dict[str, Any]:
        """Wait for its end, and return what came of it."""
        deadline = time.monotonic() + patience
        while not self.is_over():
            assert time.monotonic() < deadline, "A try did not end."
            time.sleep(0.02)
        return json.loads(self._result.read_text()) if self._result.exists() else {"error": "killed"}


def serve(work: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Start a try for each line on stdin.

    :param work: makes one try, and returns what came of it.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # A collection in a fork would copy every page.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        settings = json.loads(line)
        child = os.fork()
        if child:
            sys.stdout.write(f"{child}\n")
            sys.stdout.flush()
            continue
        result = Path(settings["result"])
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        text = json.dumps(work(settings))
        result.with_suffix(".new").write_text(text)
        result.with_suffix(".new").rename(result)
        os._exit(0)
