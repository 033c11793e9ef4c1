"""10,000 deferred sensors in one triggerer: requests of a sweep, delay, memory and CPU, beside idle triggers."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emulator_process import Service
    from report import Table

WAITERS = 10_000
CHANGED = 500
SWEEP = 10.0
SETTLE, QUIET = 25.0, 40.0


def main() -> Table:
    """Measure, and return the table."""
    from emulator_process import emulator_process
    from report import Table

    from airflow_provider_wts.waiting.poller import SECONDS_PER_CALL

    idle = _triggerer("idle", [], {})[-1]
    with emulator_process(switches={"rate_limits": False, "recorded_requests": 200_000}) as service:
        session_ids = _open_sessions(service)
        seen = _Completion(service, session_ids)
        told = _triggerer("wait", session_ids, {"wts_default": service.connection}, seen.on_line)
        quiet, after = seen.calls_in_quiet(), seen.calls_after()
    waiting = next(line for line in told if "memory" in line)
    delays = [line["at"] - seen.completed[line["done"]] for line in told if "done" in line]
    memory, cpu = waiting["memory"] - idle["memory"], waiting["cpu"] - idle["cpu"]
    table = Table(
        f"{WAITERS:,} deferred sensors in one triggerer",
        ("what", "WtsSessionSensor", "HttpSensor (deferred)", "HttpSensor / ours", "target"),
        f"{WAITERS:,} `WtsSessionTrigger`s in one event loop, as in a triggerer, with a poll every {SWEEP:.0f} s. "
        "HttpSensor makes one request per waiter and poll. Memory and CPU are the difference to a process with the "
        f"same number of triggers that only sleep ({idle['memory']:.0f} MiB and {idle['cpu']:.1%} of a core). "
        "What the list of changed sessions leaves of a poll's share of the rate limit checks sessions one at a time.",
    )
    per_sweep = quiet[0] / max(quiet[1], 1)
    share = int(SWEEP / SECONDS_PER_CALL)
    table.add("requests of a poll without changes", per_sweep, WAITERS, WAITERS / per_sweep, f"≤ {share}")
    bound = share + CHANGED / 100
    table.add(f"requests of the largest poll ({CHANGED} changes in all)", max(after), WAITERS, WAITERS / max(after),
              f"≤ {bound:.0f}")  # fmt: skip
    table.add("completions seen", f"{len(delays)} of {CHANGED}", "", "", "all")
    table.add("longest delay, in sweeps", max(delays, default=0.0) / SWEEP, "", "", "≤ 2")
    table.add("memory above idle triggers, MiB", memory, "", "", "≤ 30")
    table.add("CPU above idle triggers, % of a core", cpu * 100, "", "", "≤ 5")
    table.check(f"waiting: {per_sweep:.1f} requests in a quiet poll ≤ {share}", per_sweep <= share)
    table.check(f"waiting: {max(after)} requests in the largest poll ≤ {bound:.0f}", max(after) <= bound)
    table.check(f"waiting: {len(delays)} of {CHANGED} completions seen", len(delays) == CHANGED)
    table.check("waiting: seen within two sweeps", max(delays, default=0.0) <= 2 * SWEEP)
    table.check(f"waiting: {memory:.0f} MiB ≤ 30", memory <= 30)
    table.check(f"waiting: {cpu:.1%} of a core ≤ 5 %", cpu <= 0.05)
    return table


class _Completion:
    """Completes sessions when the triggerer has been measured, and looks which requests came when."""

    def __init__(self, service: Service, session_ids: list[str]) -> None:
        self._service = service
        self._chosen = session_ids[: CHANGED * 20 : 20]
        self.completed: dict[str, float] = {}
        self._quiet: list[dict[str, Any]] = []
        self._marks: list[int] = []

    def on_line(self, line: dict[str, Any]) -> None:
        """Do what the triggerer's progress calls for."""
        if "settled" in line or "memory" in line:
            self._marks.append(self._service.requests()["total"])
        if "memory" in line:
            for session_id in self._chosen:
                self._service.call("PUT", f"/chat/v1/session/{session_id}/complete", json={})
                self.completed[session_id] = time.time()

    def calls_in_quiet(self) -> tuple[int, int]:
        """Return the requests while nothing changed, and the sweeps among them."""
        kept = self._service.control("requests")[self._marks[0] : self._marks[1]]
        return len(kept), sum(_begins_sweep(one) for one in kept)

    def calls_after(self) -> list[int]:
        """Return the requests of each sweep since the first completion."""
        sweeps: list[int] = []
        for one in self._service.control("requests")[self._marks[1] :]:
            if one["method"] != "GET":
                continue
            if _begins_sweep(one):
                sweeps.append(0)
            if sweeps:
                sweeps[-1] += 1
        return sweeps


def _begins_sweep(request: dict[str, Any]) -> bool:
    return request["operation_id"] == "list_sessions" and ["PageNumber", "1"] in request["query"]


def _open_sessions(service: Service) -> list[str]:
    # Two of five sessions that the emulator makes up are open.
    service.control("seed", {"sessions": WAITERS * 5 // 2})
    found: list[str] = []
    page = 0
    while len(found) < WAITERS:
        page += 1
        query = {"PageSize": 100, "PageNumber": page, "Status": ["IN_PROGRESS", "PENDING"]}
        found += [one["id"] for one in service.call("GET", "/chat/v2/session", params=query)["items"]]
    return found[:WAITERS]


def _triggerer(
    mode: str, session_ids: list[str], connections: dict[str, Any], on_line: Any = lambda line: None
) -> list[dict[str, Any]]:
    """Run the triggers in a process of their own; return what it told."""
    environment = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in connections.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sessions.json")
        path.write_text(json.dumps(session_ids))
        told = []
        with subprocess.Popen(
            [sys.executable, __file__, mode, str(path)],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                for text in process.stdout:
                    if text.startswith("{"):
                        told.append(json.loads(text))
                        on_line(told[-1])
            finally:
                process.kill()
        return told


def _tell(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _used() -> tuple[float, float, float]:
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return pages * resource.getpagesize() / 2**20, time.process_time(), time.monotonic()


async def _outcome(trigger: Any) -> None:
    async for event in trigger.run():
        if event.payload["outcome"] != "reached":
            raise AssertionError(event.payload)
        _tell(done=event.payload["session_id"], at=time.time())


async def _run_triggers(mode: str, session_ids: list[str]) -> None:
    from airflow.triggers.base import BaseTrigger

    from airflow_provider_wts.triggers.session import WtsSessionTrigger

    class Idle(BaseTrigger):
        """A trigger that only sleeps."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        def serialize(self) -> tuple[str, dict[str, Any]]:
            return "Idle", {"number": self.number}

        async def run(self) -> Any:
            await asyncio.sleep(3600)
            yield None

    now = datetime.now(UTC)
    triggers: list[Any] = [
        WtsSessionTrigger(
            wts_conn_id="wts_default",
            session_id=session_id,
            target_status=["COMPLETED"],
            failed_status=[],
            poll_interval=SWEEP,
            earliest=now.isoformat(),
            deadline=(now + timedelta(hours=1)).isoformat(),
        )
        for session_id in session_ids
    ] or [Idle(number) for number in range(WAITERS)]
    tasks = [asyncio.create_task(_outcome(trigger)) for trigger in triggers]
    await asyncio.sleep(SETTLE if mode == "wait" else 5.0)
    _tell(settled=True)
    _, cpu, begun = _used()
    await asyncio.sleep(QUIET if mode == "wait" else 15.0)
    memory, cpu_now, now_ = _used()
    _tell(memory=memory, cpu=(cpu_now - cpu) / (now_ - begun))
    if mode == "wait":
        end = time.monotonic() + 60
        while time.monotonic() < end and sum(task.done() for task in tasks) < CHANGED:
            await asyncio.sleep(1)
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(_run_triggers(sys.argv[1], json.loads(Path(sys.argv[2]).read_text())))
    else:
        main().show()
