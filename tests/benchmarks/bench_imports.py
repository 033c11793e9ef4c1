"""What our modules add to a DAG file's import, beside those of the HTTP and Slack providers."""

from __future__ import annotations

import importlib
from typing import Any

import import_cost
from report import Table

ROUNDS = 6
OURS = "airflow-provider-wts"
OTHERS = {"HTTP provider": "airflow.providers.http", "Slack provider": "airflow.providers.slack"}
TOGETHER = "HTTP and Slack together"


def modules_of(package: str) -> list[str]:
    """Return the operator, sensor and notifier modules that a provider names."""
    for place in (f"{package}.get_provider_info", package):
        try:
            info = importlib.import_module(place).get_provider_info()
            break
        except (ImportError, AttributeError):
            continue
    listed = [one for kind in ("operators", "sensors") for one in info.get(kind, ())]
    modules = [module for one in listed for module in one["python-modules"]]
    return modules + [name.rpartition(".")[0] for name in info.get("notifications", ())]


def least(found: list[dict[str, Any]]) -> float:
    """Return the least CPU time, in milliseconds: what comes on top is the machine's."""
    return min(one["ms"] for one in found)


def main() -> Table:
    """Measure, and return the table."""
    contestants = {OURS: modules_of("airflow_provider_wts")}
    contestants |= {name: modules_of(package) for name, package in OTHERS.items()}
    contestants[TOGETHER] = [module for name in OTHERS for module in contestants[name]]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    for packages in contestants.values():
        # Leaves the bytecode of all of them warm.
        import_cost.measure(packages)
    for _ in range(ROUNDS):
        for name, packages in contestants.items():
            found[name].append(import_cost.measure(packages))
    table = Table(
        "Import of all operator, sensor and notifier modules",
        ("provider", "modules named", "modules added in all", "CPU, ms", "ours / theirs", "target"),
        "The modules in each provider's metadata, imported after `airflow.sdk`, which every DAG file imports. Fresh "
        f"processes with warm bytecode, the minimum of {ROUNDS} alternating runs. Airflow parses a DAG file again and "
        "again, each time in a fresh process.",
    )
    ours = least(found[OURS])
    targets = {OURS: f"< {import_cost.BUDGET_MS:.0f} ms", TOGETHER: "≤ 0.1"}
    for name, measured in found.items():
        first, cost = measured[0], least(measured)
        ratio = "" if name == OURS else f"{ours / cost:.3f}"
        table.add(name, len(first["imported"]), len(first["added"]), cost, ratio, targets.get(name, ""))
    ratio = ours / least(found[TOGETHER])
    table.check(f"import: {ratio:.2f} of the CPU time of {TOGETHER} ≤ 0.1", ratio <= 0.1)
    table.check(f"import: {ours:.1f} ms < {import_cost.BUDGET_MS:.0f} ms", ours < import_cost.BUDGET_MS)
    return table


if __name__ == "__main__":
    main().show()
