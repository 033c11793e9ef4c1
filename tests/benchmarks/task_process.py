"""One task in a process of its own, with a ledger in files, and with a clock that may run faster."""

from __future__ import annotations

import functools
import importlib
import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any


def start_task(
    operator: str,
    parameters: dict[str, Any],
    *,
    connection: dict[str, Any],
    ledger: str,
    try_number: int = 1,
    speed: float = 1.0,
) -> subprocess.Popen[str]:
    """Start a try of a task; its standard output ends with ``{"result": ..., "seconds": ...}``.

    :param operator: ``module:Class``.
    :param parameters: of the operator.
    :param connection: ``wts_default``.
    :param ledger: folder of the ledger.
    :param try_number: number of the try.
    :param speed: seconds of the rate limiter's clock per real second.
    """
    settings = {
        "operator": operator,
        "parameters": parameters,
        "try_number": try_number,
        "speed": speed,
    }
    environment = {
        **os.environ,
        "AIRFLOW_CONN_WTS_DEFAULT": json.dumps(connection),
        "AIRFLOW__WTS__LEDGER_PATH": f"file://{ledger}",
    }
    command = [sys.executable, __file__, json.dumps(settings)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def result_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a task's end, and return what it told."""
    with process:
        output = process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"The task ended with exit code {process.returncode}.")
    return json.loads(output.splitlines()[-1])


def _hurry(speed: float) -> None:
    """Let the rate limiter's clock run faster, as the emulator's does."""
    from airflow_provider_wts.api import budget

    def sleep(seconds: float) -> None:
        time.sleep(seconds / speed)

    budget.time = SimpleNamespace(monotonic=lambda: time.monotonic() * speed, time=lambda: time.time() * speed)
    budget.Budget = functools.partial(budget.Budget, sleep=sleep)


def _main(settings: dict[str, Any]) -> None:
    module, _, name = settings["operator"].partition(":")
    operator = getattr(importlib.import_module(module), name)(task_id="task", **settings["parameters"])
    _hurry(settings["speed"])
    task_instance = SimpleNamespace(
        dag_id="benchmark",
        run_id="run",
        task_id="task",
        map_index=-1,
        try_number=settings["try_number"],
        max_tries=1,
        xcom_push=lambda **_: None,
    )
    cpu, begun = time.process_time(), time.monotonic()
    result = operator.execute({"ti": task_instance, "dag_run": SimpleNamespace(run_after=None)})
    told = {"result": result, "seconds": time.monotonic() - begun, "cpu": time.process_time() - cpu}
    sys.stdout.write("\n" + json.dumps(told, default=str) + "\n")


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
