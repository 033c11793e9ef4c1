"""A campaign of 1,000 to 1,000,000 recipients in one task: what grows, on the first try and on one that goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from counting_service import BOT, CountingService, counting_service
from report import Table

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = tuple(map(int, os.environ.get("WTS_BENCH_SIZES", "1000,10000,100000,1000000").split(",")))

#: Targets: MiB more than for the fewest recipients, CPU of rows alone, percent of the ledger, seconds.
MOST_MEMORY, MOST_CPU, MOST_READ, MOST_WAIT = 100, 2, 1, 30

ROW = {
    "row_to": "{{ row.phone }}",
    "row_session_metadata": {"invoice": "{{ row.invoice }}", "text": "Olá {{ row.name | upper }}, R$ {{ row.amount }}"},
}


def write_recipients(path: Path, count: int) -> None:
    """Write a CSV file as a warehouse exports it."""
    with path.open("w") as file:
        file.write("phone,name,invoice,amount\n")
        for number in range(count):
            phone = f"+55 11 9{number // 10000:04}-{number % 10000:04}"
            file.write(f"{phone},Customer {number},INV-{number},{number % 997}.90\n")


def run(what: str, folder: Path, service: CountingService, **settings: Any) -> dict[str, Any]:
    """Run one try in a process of its own, and return what it and the service measured."""
    environment = {
        **os.environ,
        "AIRFLOW_CONN_WTS_DEFAULT": json.dumps(service.connection),
        "AIRFLOW__WTS__LEDGER_PATH": f"file://{folder}/ledger-{settings.get('name')}",
    }
    command = [sys.executable, __file__, json.dumps({"what": what, "folder": str(folder), **settings})]
    done = subprocess.run(command, check=False, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"The task ended with exit code {done.returncode}.")
    measured = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}
    return {**measured, **service.counts()}


def main() -> Table:
    """Measure, and return the table."""
    table = Table(
        f"A campaign of {SIZES[0]:,} to {SIZES[-1]:,} recipients in one task",
        (
            "recipients", "try", "seconds", "first send after, s", "CPU until then, s", "CPU, µs each",
            "CPU / rows alone", "peak memory, MiB", "ledger, MB", "read of it, %", "requests",
        ),
        "`WtsSendChatbotBatchOperator` with a CSV file, two metadata templates, a results file and a ledger in files, "
        "against a service that accepts everything and only counts, with the rate limits switched off; the real limits "
        "allow 100 requests, so 10,000 recipients, in 30 seconds. *Rows alone* parses, renders and encodes the same "
        "rows in a separate process, and does nothing with them. The second try continues after a SIGKILL between two "
        "chunks, halfway; if a kill hits requests in progress, it first waits for `[wts] effect_lag`. *read of it* is "
        "the part of the first try's ledger that the second try read. Targets for the largest campaign: at most "
        f"{MOST_MEMORY} MiB more than for the smallest, {MOST_CPU} times the CPU of the rows, {MOST_READ} % of the "
        f"ledger, and the first send within {MOST_WAIT} s.",
    )  # fmt: skip
    least: dict[str, float] = {}
    for count in SIZES:
        with counting_service() as service, tempfile.TemporaryDirectory(prefix="wts-million-") as name:
            folder = Path(name)
            write_recipients(folder / "recipients.csv", count)
            alone = run("rows", folder, service)
            tries = {"first": run("send", folder, service, name="whole")}
            run("send", folder, service, name="killed", kill_after=count // 2)
            tries["second, after a kill at half"] = run("send", folder, service, name="killed", try_number=2)
        for title, one in tries.items():
            share = one["read"] / one["ledger_before"] * 100 if one["ledger_before"] else 0.0
            table.add(
                count, title, one["seconds"], one["first"], one["first_cpu"], one["cpu"] / count * 1e6,
                one["cpu"] / alone["cpu"], one["memory"], one["ledger"] / 1e6,
                share if one["ledger_before"] else "", one["requests"],
            )  # fmt: skip
            sys.stderr.write(f"{' | '.join(table.rows[-1])}\n")
            here = f"million: {count:,} recipients, {title}: "
            table.check(f"{here}nobody twice, nobody left out", one["twice"] == 0 and one["sent"] == count)
            more = one["memory"] - least.setdefault(title, one["memory"])
            if count == SIZES[-1]:
                ratio = one["cpu"] / alone["cpu"]
                table.check(f"{here}{more:.0f} MiB more ≤ {MOST_MEMORY}", more <= MOST_MEMORY)
                table.check(f"{here}{ratio:.2f} times the CPU of the rows ≤ {MOST_CPU}", ratio <= MOST_CPU)
                table.check(f"{here}{share:.2f} % of the ledger ≤ {MOST_READ}", share <= MOST_READ)
            if one["ledger_before"]:
                table.check(f"{here}first send after {one['first']:.0f} s ≤ {MOST_WAIT}", one["first"] <= MOST_WAIT)
    return table


class _Measured:
    """What a try reads of its ledger, when it sends first, and its end after so many recipients."""

    def __init__(self, kill_after: int) -> None:
        from airflow_provider_wts.api.client import WtsClient
        from airflow_provider_wts.sending.ledger import HOLDER, FileStore, Ledger

        self.read = 0
        self.first = self.first_cpu = 0.0
        begun, begun_cpu, left = time.monotonic(), time.process_time(), kill_after
        keep, perform = Ledger.keep, WtsClient.perform

        def counted(get: Callable[..., Any], store: FileStore, name: str) -> Any:
            path = store._folder / f"{name}.json"
            self.read += path.stat().st_size if path.exists() and name != HOLDER else 0
            return get(store, name)

        def dying(ledger: Ledger, page: Any) -> None:
            nonlocal left
            keep(ledger, page)
            left -= len(page.sends)
            if left <= 0 < kill_after:
                os.kill(os.getpid(), signal.SIGKILL)

        def timed(client: WtsClient, call: Any, **options: Any) -> Any:
            if not self.first and call.operation_id == "queue_chatbot_batch":
                self.first, self.first_cpu = time.monotonic() - begun, time.process_time() - begun_cpu
            return perform(client, call, **options)

        get = FileStore.get
        FileStore.get = lambda store, name: counted(get, store, name)
        Ledger.keep, WtsClient.perform = dying, timed


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.json"))


def _peak() -> float:
    """Return the most memory that this process ever had, in MiB."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def _send(operator: Any, folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Run a try of the task."""
    from airflow_provider_wts.api import budget

    budget.ACCOUNT_LIMITS = budget.SEND_LIMITS = ()
    ledger = folder / f"ledger-{settings['name']}"
    before = _size(ledger) if ledger.exists() else 0
    measured = _Measured(settings.get("kill_after", 0))
    ti = SimpleNamespace(
        dag_id="million", run_id=settings["name"], task_id="send", map_index=-1,
        try_number=settings.get("try_number", 1), max_tries=1, xcom_push=lambda **_: None,
    )  # fmt: skip
    sent = operator.execute({"ti": ti, "dag_run": SimpleNamespace(run_after=None)})["sent"]
    size = _size(ledger)
    first = {"first": measured.first, "first_cpu": measured.first_cpu}
    return {"ledger_before": before, "ledger": size, "read": measured.read, "sent": sent, **first}


def _rows(operator: Any) -> dict[str, Any]:
    """Parse, render and encode the rows, and do nothing with them."""
    from airflow_provider_wts.campaigns import recipients
    from airflow_provider_wts.campaigns.recipients import RowPlan, Send
    from airflow_provider_wts.campaigns.row_templates import RowTemplates
    from airflow_provider_wts.sending.key import Mark

    kind = operator.message_kind(100)
    templates = RowTemplates(operator.get_template_env(), {})
    plan = RowPlan(templates, operator.row_templates(), operator.row_checks(), operator.hook.recipient)
    chunk, size = [], 0
    for row in recipients.in_file(operator.recipients_path, "csv"):
        chunk.append(Send(plan.recipient(row), Mark(BOT)))
        if len(chunk) == 100:
            size += len(kind.call(chunk).content)
            chunk = []
    return {"bytes": size}


def _task(settings: dict[str, Any]) -> None:
    from airflow_provider_wts.operators.chatbot import WtsSendChatbotBatchOperator

    folder = Path(settings["folder"])
    operator = WtsSendChatbotBatchOperator(
        task_id="send",
        chatbot=BOT,
        recipients_path=str(folder / "recipients.csv"),
        results_path=str(folder / f"{settings.get('name')}.jsonl"),
        **ROW,
    )
    cpu, begun = time.process_time(), time.monotonic()
    found = _rows(operator) if settings["what"] == "rows" else _send(operator, folder, settings)
    told = {"seconds": time.monotonic() - begun, "cpu": time.process_time() - cpu, "memory": _peak(), **found}
    sys.stdout.write("\n" + json.dumps(told) + "\n")


if __name__ == "__main__":
    if sys.argv[1:]:
        _task(json.loads(sys.argv[1]))
    else:
        main().show()
