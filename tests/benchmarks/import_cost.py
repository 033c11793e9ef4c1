"""What modules add to a DAG file's import: other modules, and milliseconds.

The benchmark compares providers with it, and a test keeps heavy modules out. The time is a fresh process's own CPU
time; a busy machine still shows more than an idle one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

#: Milliseconds that all of our modules together may take on an idle machine.
BUDGET_MS = 20.0
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
