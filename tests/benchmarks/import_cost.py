"""What our operator, sensor and notifier modules add to a DAG file's import: modules, and milliseconds.

Run: ``python tests/benchmarks/import_cost.py`` on Airflow 3. Exit code 1 when all together take more than 20 ms.
The time is the process's own CPU time, the least of several fresh processes with warm bytecode; a busy machine still
shows more than an idle one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

BUDGET_MS = 20.0
ROUNDS = 10
OURS = [f"airflow_provider_wts.{folder}" for folder in ("operators", "sensors", "notifications")]

# What any DAG file imports anyhow comes before the clock starts.
MEASURE = """
import gc, importlib.util, json, pkgutil, sys, time
from airflow.sdk import DAG, BaseHook, BaseNotifier, BaseOperator, BaseOperatorLink, BaseSensorOperator, Param, task
import airflow.providers.common.compat.sdk

names = []
for package in sys.argv[1:]:
    try:
        folder = importlib.util.find_spec(package).submodule_search_locations
    except ModuleNotFoundError:
        continue
    if folder is None:
        names.append(package)
    else:
        names += [module.name for module in pkgutil.iter_modules(folder, f"{package}.")]
before = set(sys.modules)
gc.disable()
began = time.process_time()
for name in names:
    importlib.import_module(name)
took = time.process_time() - began
print(json.dumps({"ms": took * 1000, "added": sorted(set(sys.modules) - before), "imported": names}))
"""


def measure(packages: list[str] = OURS) -> dict[str, Any]:
    """Measure once, in a fresh process.

    :param packages: modules to import; of a package, all modules.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", MEASURE, *packages]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """Measure, print, and judge."""
    first = measure()
    times = sorted(measure()["ms"] for _ in range(ROUNDS))
    print(f"{len(first['imported'])} modules: {times[0]:.1f} ms at best, {times[ROUNDS // 2]:.1f} ms in the middle")  # noqa: T201
    foreign = [name for name in first["added"] if not name.startswith("airflow_provider_wts")]
    print(f"modules that are not ours: {', '.join(foreign) or 'none'}")  # noqa: T201
    return int(times[0] > BUDGET_MS)


if __name__ == "__main__":
    raise SystemExit(main())
