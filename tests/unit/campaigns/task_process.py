"""A try of a task in a process of its own, which takes signals as the processes of the installed Airflow do."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import signal
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

# What tries need is imported once, by the process that they are forks of.
from airflow import __version__

from airflow_provider_wts.hooks import wts  # noqa: F401
from airflow_provider_wts.operators import chatbot, export, message  # noqa: F401
from airflow_provider_wts.sending import once, reconcile  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerProcess
    from pathlib import Path

    from airflow_provider_wts.emulator.running import Emulator

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__, "pytest"])


def _try(job: dict[str, Any], environment: dict[str, str], telling: Connection) -> NoReturn:
    os.environ.clear()
    os.environ.update(environment)
    reconcile.effect_lag, reconcile.QUEUE_WAIT, reconcile._QUEUE_INTERVAL = lambda timeout: 0.3, 0.3, 0.1
    module, _, name = job["operator"].rpartition(".")
    operator = getattr(importlib.import_module(module), name)(task_id="send", **job["parameters"])

    def end(number: int, frame: Any) -> None:
        # As airflow/models/taskinstance.py of 2.11, and airflow/sdk/execution_time/task_runner.py of 3.
        operator.on_kill()
        if __version__.startswith("2."):
            from airflow.exceptions import AirflowTaskTerminated

            raise AirflowTaskTerminated("Task received SIGTERM signal")

    signal.signal(signal.SIGTERM, end)
    xcoms: dict[str, Any] = {}
    ti = SimpleNamespace(dag_id="campaign", run_id="run", task_id="send", map_index=-1, **job["ti"])
    ti.xcom_push = lambda key, value: xcoms.update({key: value})
    told: dict[str, Any] = {}
    try:
        told["result"] = operator.execute({"ti": ti, "dag_run": SimpleNamespace(run_after=None)})
    except BaseException as error:
        told["raised"] = type(error).__name__
    telling.send(json.dumps({**told, "xcoms": xcoms}))
    # As Airflow's processes end: they do not wait for threads.
    os._exit(0)


class TaskProcess:
    """A try that runs.

    :param process: its process.
    :param told: what it tells at its end.
    """

    def __init__(self, process: ForkServerProcess, told: Connection) -> None:
        self._process, self._told = process, told

    def kill(self) -> None:
        """End it as a machine does that loses its power."""
        self._process.kill()
        self._process.join()

    def terminate(self) -> tuple[dict[str, Any], float]:
        """Send it SIGTERM, and return what it told at its end, and after how many seconds that was."""
        begun = time.monotonic()
        self._process.terminate()
        return self.end(), time.monotonic() - begun

    def end(self) -> dict[str, Any]:
        """Wait for its end, and return what it told."""
        assert self._told.poll(250), "It did not end."
        told: dict[str, Any] = json.loads(self._told.recv())
        self._process.join(120)
        assert self._process.exitcode == 0
        return told


class Processes:
    """Tries of one task, each in a process of its own, with a ledger in files.

    :param emulator: the service.
    :param folder: for the ledger.
    :param operator: module and name of the operator.
    :param parameters: of the operator.
    """

    def __init__(self, emulator: Emulator, folder: Path, operator: str, **parameters: Any) -> None:
        self._operator, self._parameters = operator, parameters
        self.try_number = self.max_tries = 0
        self._environment = {
            **os.environ,
            "AIRFLOW_CONN_WTS_DEFAULT": json.dumps(
                {"conn_type": "wts", "host": emulator.url, "password": emulator.token}
            ),
            "AIRFLOW__WTS__LEDGER_PATH": f"file://{folder}/ledger",
        }

    def start(self, **parameters: Any) -> TaskProcess:
        """Start the next try."""
        self.try_number += 1
        job = {
            "operator": self._operator,
            "parameters": {**self._parameters, **parameters},
            "ti": {"try_number": self.try_number, "max_tries": self.max_tries},
        }
        told, telling = _FORKS.Pipe(duplex=False)
        process = _FORKS.Process(target=_try, args=(job, self._environment, telling))
        process.start()
        telling.close()
        return TaskProcess(process, told)

    def clear(self) -> None:
        """Clear the task, as Airflow does."""
        self.max_tries = self.try_number


def wait_until(happened: Callable[[], bool], seconds: float = 240) -> None:
    """Wait until something has happened."""
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, "It did not happen."
        time.sleep(0.01)
