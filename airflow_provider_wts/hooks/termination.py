"""SIGTERM: Airflow ends a task when somebody changes its state, or its machine shuts down.

Airflow 3 kills the process 5 seconds later, and Airflow 2.11 60 seconds later. Airflow 2.11 raises
``AirflowTaskTerminated`` in the task. Airflow 3 only calls the operator's ``on_kill``, and the task would continue.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

#: Seconds until a signal is sent again that came when nothing may be raised.
_RESEND_DELAY = 0.05


class Terminated(BaseException):
    """Airflow is ending the task. Raised where :meth:`Termination.interruptible` allows it."""

    def __init__(self) -> None:
        super().__init__("Airflow ended the task: it was marked, cleared, or its worker shut down")


class Termination:
    """Handles SIGTERM in a ``with`` statement, so that work can be completed before Airflow gets the signal."""

    def __init__(self) -> None:
        #: Whether the signal has arrived.
        self.requested = False
        #: Whether to pass the signal on to Airflow at the end.
        self.honored = False
        self._interruptible = False
        self._before: Any = None

    def __enter__(self) -> Termination:
        if threading.current_thread() is threading.main_thread():
            self._process = os.getpid()
            self._before = signal.signal(signal.SIGTERM, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            self._before = None
            if self.honored:
                signal.raise_signal(signal.SIGTERM)

    @property
    def reason(self) -> str:
        """Why the task ends."""
        return str(Terminated())

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let the signal raise :class:`Terminated` in code that may take long."""
        before, self._interruptible = self._interruptible, True
        try:
            if self.requested:
                raise Terminated
            yield
        finally:
            self._interruptible = before

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            # This is a fork of the task.
            os._exit(128 + number)
        self.requested = True
        if self._interruptible and not _is_in_supervisor_call(frame):
            raise Terminated


def end_task() -> None:
    """End the task when Airflow 3 calls its ``on_kill``; Airflow 2.11 does that automatically.

    :raises SystemExit: if the call comes from the signal. Airflow then retries the task, unless somebody marked it.
    """
    from airflow import __version__ as airflow_version
    from airflow.providers.common.compat.sdk import AirflowTaskTimeout

    # After execution_timeout, Airflow raises an error of its own.
    if airflow_version.startswith("2.") or isinstance(sys.exc_info()[1], AirflowTaskTimeout):
        return
    if _is_in_supervisor_call(sys._getframe()):
        # The pending answer would be mistaken for that to the next call.
        threading.Timer(_RESEND_DELAY, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return
    raise SystemExit(128 + signal.SIGTERM)


def _is_in_supervisor_call(frame: FrameType | None) -> bool:
    """Whether a call to Airflow's supervisor is in progress."""
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    comms = getattr(runner, "SUPERVISOR_COMMS", None)
    while comms is not None and frame is not None:
        if frame.f_locals.get("self") is comms:
            return True
        frame = frame.f_back
    return False
