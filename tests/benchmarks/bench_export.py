"""2,000 conversations with 20,000 messages brought home by a task that is killed on the way."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulator_process import emulator_process
from report import Table
from task_process import result_of, start_task

if TYPE_CHECKING:
    from emulator_process import Service

SESSIONS, MESSAGES = 2000, 10
# The limits' clocks run faster, so that ten minutes of rate limit fit.
SPEED = 20.0
# Airflow's own.
RETRY_DELAY = 300.0


def start_export(service: Service, folder: Path, try_number: int) -> Any:
    """Start a try of the export."""
    now = datetime.now(UTC)
    return start_task(
        "airflow_provider_wts.operators.session:WtsExportConversationsOperator",
        {
            "output_path": f"file://{folder}/out",
            "updated_after": (now - timedelta(days=2)).replace(minute=0, second=0, microsecond=0).isoformat(),
            "updated_before": (now + timedelta(days=2)).replace(minute=0, second=0, microsecond=0).isoformat(),
        },
        connection=service.connection,
        ledger=str(folder / "ledger"),
        try_number=try_number,
        speed=SPEED,
    )


def kill_half_way(service: Service, folder: Path) -> int:
    """Start the export, kill it when half of the parts are there; return how many there were."""
    task = start_export(service, folder, 1)
    try:
        deadline = time.monotonic() + 300
        while task.poll() is None and time.monotonic() < deadline:
            parts = len(list((folder / "out").glob("conversations-*.jsonl")))
            if parts >= SESSIONS // 200:
                return parts
            time.sleep(0.05)
        raise RuntimeError("The export was not half way in time.")
    finally:
        task.kill()
        task.communicate()


def main() -> Table:
    """Measure, and return the table."""
    with (
        emulator_process(speed=SPEED, latency=0.1 / SPEED, conversations=SESSIONS, messages=MESSAGES) as service,
        tempfile.TemporaryDirectory() as name,
    ):
        folder = Path(name)
        parts = kill_half_way(service, folder)
        # As Airflow waits before a retry. What a process counted dies with it, and the account goes on counting.
        time.sleep(RETRY_DELAY / SPEED)
        before = service.requests()["total"]
        told = result_of(start_export(service, folder, 2))
        answers = service.requests()
        expected = service.control("state")["counts"]["sessions"]
        rows = [json.loads(row) for file in (folder / "out").glob("conversations-*.jsonl") for row in file.open()]
    sessions = Counter(row["id"] for row in rows)
    messages = Counter(message["id"] for row in rows for message in row["messages"])
    repeated = sum(sessions.values()) - len(sessions) + sum(messages.values()) - len(messages)
    missing = expected - len(sessions) + SESSIONS * MESSAGES - len(messages)
    least = 2 * SESSIONS // 100 + SESSIONS
    table = Table(
        "2,000 conversations with 20,000 messages, exported by a task that is killed partway",
        ("what", "measured", "target"),
        f"`WtsExportConversationsOperator`, killed with SIGKILL after {parts} of {SESSIONS // 100} parts, and run "
        "again as the next try after Airflow's usual five minutes. A run without a kill needs "
        f"{least:,} requests: one for the messages of each conversation, and the list of sessions twice, to be sure "
        f"that nothing moved. Plain paging cannot continue after a kill. The clocks of the emulator and the limits "
        f"run {SPEED:.0f} times faster.",
    )
    table.add("sessions, messages", f"{len(sessions):,}, {len(messages):,}", f"{SESSIONS:,}, {SESSIONS * MESSAGES:,}")
    table.add("duplicate rows", repeated, "0")
    table.add("missing rows", missing, "0")
    table.add("requests of both tries", answers["total"], f"≤ {least + 100 + 2:,} (one part read twice)")
    table.add("requests of the second try", answers["total"] - before, "")
    table.add("refused with 429", answers.get("429", 0), "0")
    table.add("seconds of the second try, 20 times faster", told["seconds"], "")
    table.check(f"export: {repeated} rows twice, {missing} missing", repeated == missing == 0)
    table.check(f"export: {answers['total']} requests", answers["total"] <= least + 102)
    table.check(f"export: {answers.get('429', 0)} refused", answers.get("429", 0) == 0)
    return table


if __name__ == "__main__":
    main().show()
