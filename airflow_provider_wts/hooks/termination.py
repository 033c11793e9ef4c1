"""SIGTERM: Airflow ends a task whose state somebody changes, or whose machine is shut down.

After it, Airflow 3 kills the process in 5 seconds, and Airflow 2.11 in 60. Airflow 2.11 raises
``AirflowTaskTerminated`` in the task. Airflow 3 only calls ``on_kill`` of the operator, and the task would go on.
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

#: Seconds after which a signal is sent again that came at a time when nothing may be raised.
_LATER = 0.05


class Terminated(BaseException):
    """Airflow ends the task; raised where :meth:`Termination.interruptible` allows it."""

    def __init__(self) -> None:
        super().__init__("Airflow ended the task: it was marked, cleared, or its worker shut down")


class Termination:
    """Takes SIGTERM while something is to be brought to an end first; after that, Airflow gets the signal.

    Used in a ``with`` statement.
    """

    def __init__(self) -> None:
        #: Whether the signal has come.
        self.ordered = False
        #: Whether Airflow is to get the signal at the end.
        self.obeyed = False
        self._interruptible = False
        self._before: Any = None

    def __enter__(self) -> Termination:
        if threading.current_thread() is threading.main_thread():
            self._process = os.getpid()
            self._before = signal.signal(signal.SIGTERM, self._take)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            self._before = None
            if self.obeyed:
                signal.raise_signal(signal.SIGTERM)

    @property
    def reason(self) -> str:
        """Why the task ends."""
        return str(Terminated())

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let the signal raise :class:`Terminated` here, because this may take long."""
        before, self._interruptible = self._interruptible, True
        try:
            if self.ordered:
                raise Terminated
            yield
        finally:
            self._interruptible = before

    def _take(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            # A fork of the task.
            os._exit(128 + number)
        self.ordered = True
        if self._interruptible and not _is_in_supervisor_call(frame):
            raise Terminated


def end_task() -> None:
    """End the task of which Airflow 3 calls ``on_kill``, as Airflow 2.11 does by itself.

    :raises SystemExit: if it is the signal that calls. Airflow then tries the task again, unless somebody marked it.
    """
    from airflow import __version__ as airflow_version
    from airflow.providers.common.compat.sdk import AirflowTaskTimeout

    # After execution_timeout, Airflow raises an error of its own.
    if airflow_version.startswith("2.") or isinstance(sys.exc_info()[1], AirflowTaskTimeout):
        return
    if _is_in_supervisor_call(sys._getframe()):
        # The answer would be taken for that to the next call.
        threading.Timer(_LATER, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return
    raise SystemExit(128 + signal.SIGTERM)


def _is_in_supervisor_call(frame: FrameType | None) -> bool:
    """Whether a call to Airflow's supervisor is under way."""
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    comms = getattr(runner, "SUPERVISOR_COMMS", None)
    while comms is not None and frame is not None:
        if frame.f_locals.get("self") is comms:
            return True
        frame = frame.f_back
    return False
