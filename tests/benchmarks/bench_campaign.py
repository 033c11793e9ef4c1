"""A campaign to 10,000 customers in one task, beside one mapped task for each, all on the same real Airflow."""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import requests
from emulator_process import TOKEN, Service, emulator_process
from report import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tools"))
from demo_processes import Processes, free_port

RECIPIENTS = 10_000
MAPPED = int(os.environ.get("WTS_BENCH_MAPPED", "200"))
LATENCY = 0.1
BOT = "Cobrança"

DAG = """
from airflow.sdk import DAG
from airflow.providers.http.operators.http import HttpOperator
from airflow_provider_wts.operators.chatbot import WtsSendChatbotBatchOperator, WtsSendChatbotOperator

PHONES = [f"+55119{{number:08}}" for number in range({mapped})]
with DAG("batch", schedule=None):
    WtsSendChatbotBatchOperator(task_id="send", chatbot={bot!r}, recipients_path={recipients!r})
with DAG("mapped", schedule=None, max_active_tasks=64):
    WtsSendChatbotOperator.partial(task_id="send", chatbot={bot!r}).expand(to=PHONES)
with DAG("http", schedule=None, max_active_tasks=64):
    HttpOperator.partial(
        task_id="send", http_conn_id="wts_http", endpoint={path!r}, method="POST",
        headers={{"Authorization": "Bearer {token}", "Content-Type": "application/json"}},
    ).expand(data=[json.dumps({{"botKey": {key!r}, "to": phone}}) for phone in PHONES])
"""


class Airflow:
    """Scheduler, API server and DAG processor with the LocalExecutor."""

    def __init__(self, home: Path, processes: Processes, connections: dict[str, Any]) -> None:
        self._processes = processes
        self._port = free_port()
        self._http = requests.Session()
        self._http.trust_env = False
        settings = {
            "CORE__DAGS_FOLDER": str(home / "dags"),
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": "4",
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{self._port}/execution/",
            "CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "API__HOST": "127.0.0.1",
            "API__PORT": str(self._port),
            "API__BASE_URL": f"http://127.0.0.1:{self._port}",
            "API__SECRET_KEY": secrets.token_hex(32),
            "API_AUTH__JWT_SECRET": secrets.token_hex(64),
        }
        self._environment = {
            **os.environ,
            **{f"AIRFLOW__{name}": value for name, value in settings.items()},
            **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in connections.items()},
            "AIRFLOW_HOME": str(home),
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def start(self) -> None:
        """Start it, and return once it knows the DAGs."""
        self._processes.run("migrate", self._airflow("db", "migrate"), self._environment)
        self._processes.start("api-server", self._airflow("api-server", "--workers", "1"), self._environment)
        self._processes.start("scheduler", self._airflow("scheduler", "--skip-serve-logs"), self._environment)
        self._processes.start("dag-processor", self._airflow("dag-processor"), self._environment)

        def ready() -> bool | None:
            try:
                answer = self._http.get(f"http://127.0.0.1:{self._port}/auth/token", timeout=30)
                self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
                known = {dag["dag_id"] for dag in self._call("GET", "dags")["dags"]}
            except (requests.RequestException, ValueError, KeyError):
                return None
            return True if {"batch", "mapped", "http"} <= known else None

        self._processes.wait_for("The start of Airflow", ready, seconds=300)

    def run(self, dag_id: str) -> list[dict[str, Any]]:
        """Run a DAG; return its task instances."""
        run_id = self._call("POST", f"dags/{dag_id}/dagRuns", json={"logical_date": None})["dag_run_id"]
        path = f"dags/{dag_id}/dagRuns/{run_id}"

        def over() -> str | None:
            state = self._call("GET", path)["state"]
            return state if state in ("success", "failed") else None

        state = self._processes.wait_for(f"The end of {dag_id}", over, seconds=900, every=1)
        if state != "success":
            raise RuntimeError(f"The DAG {dag_id} failed.")
        found: list[dict[str, Any]] = []
        while True:
            page = self._call("GET", f"{path}/taskInstances", params={"limit": 100, "offset": len(found)})
            found += page["task_instances"]
            if len(found) >= page["total_entries"]:
                return found

    def _airflow(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "airflow", *arguments]

    def _call(self, method: str, path: str, **options: Any) -> Any:
        answer = self._http.request(method, f"http://127.0.0.1:{self._port}/api/v2/{path}", timeout=60, **options)
        answer.raise_for_status()
        return answer.json()


def seconds_of(tasks: list[dict[str, Any]]) -> float:
    """Return the time from the start of the first task to the end of the last."""
    begins = [datetime.fromisoformat(task["start_date"]) for task in tasks]
    ends = [datetime.fromisoformat(task["end_date"]) for task in tasks]
    return (max(ends) - min(begins)).total_seconds()


def write_dags(home: Path, service: Service) -> None:
    """Write the DAG file and the recipients."""
    from airflow_provider_wts.api.chatbots import list_chatbots, send_chatbot

    bots = service.call("GET", list_chatbots().url_path)
    items = bots["items"] if isinstance(bots, dict) else bots
    key = next(bot["key"] for bot in items if bot["name"] == BOT)
    recipients = home / "recipients.csv"
    numbers = (f"+55119{20_000_000 + number:08}" for number in range(RECIPIENTS))
    recipients.write_text("\n".join(["to", *numbers]))
    (home / "dags").mkdir()
    text = DAG.format(
        mapped=MAPPED, bot=BOT, recipients=str(recipients), token=TOKEN, key=key,
        path=send_chatbot(bot_key=key, to="x").url_path,
    )  # fmt: skip
    (home / "dags" / "campaign.py").write_text(f"import json\n{text}")


def main() -> Table:
    """Measure, and return the table."""
    with (
        # A real service does not start 10,000 bots on the cores of this machine: the emulator's queue waits.
        emulator_process(latency=LATENCY, switches={"whatsapp_window": "off", "queue_seconds": 3600}) as service,
        tempfile.TemporaryDirectory(prefix="wts-campaign-") as folder,
    ):
        home = Path(folder)
        write_dags(home, service)
        host, port = service.url.removeprefix("http://").split(":")
        http = {"conn_type": "http", "host": f"http://{host}", "port": int(port)}
        processes = Processes(home)
        took, calls = {}, {}
        refused = 0
        try:
            airflow = Airflow(home, processes, {"wts_default": service.connection, "wts_http": http})
            airflow.start()
            # The first task of a fresh Airflow waits for what its API server loads once; the others do not.
            for name, dag_id in (("first", "batch"), ("batch", "batch"), ("mapped", "mapped"), ("http", "http")):
                before = service.requests()
                took[name] = seconds_of(airflow.run(dag_id))
                after = service.requests()
                calls[name] = after["total"] - before["total"]
                refused += after.get("429", 0) - before.get("429", 0) if dag_id == "batch" else 0
                # The limits of the next one are its own.
                time.sleep(5)
        finally:
            processes.stop()
    return _table(took, calls, refused)


def _table(took: dict[str, float], calls: dict[str, int], refused: int) -> Table:
    table = Table(
        f"A chatbot for {RECIPIENTS:,} customers",
        ("way", "measured for", "requests", "seconds", f"for {RECIPIENTS:,}", "ratio", "target"),
        f"Airflow 3 with scheduler, LocalExecutor (4 processes) and SQLite; {LATENCY * 1000:.0f} ms latency, "
        "documented limits. The queued chatbots start only after the measurement, because a real service has its own "
        "cores. The batch is one task, by Airflow's own times: once as the very first task of this Airflow, whose API "
        "server is still loading, and once more. The mapped tasks are measured from the first start to the last end, "
        f"and extrapolated from {MAPPED}; with {RECIPIENTS:,} of them, the limit of 1,000 requests in 5 minutes and "
        "the scheduler's own work would add to that.",
    )
    batch = took["batch"]
    one_task = "`WtsSendChatbotBatchOperator`, one task"
    for name, way in (("first", f"{one_task}, the first of a fresh Airflow"), ("batch", one_task)):
        seconds = took[name]
        ratio, target = (1, "< 15 s") if name == "batch" else (round(seconds / batch, 1), "")
        table.add(way, RECIPIENTS, calls[name], seconds, f"{seconds:.1f} s", ratio, target)
        # One more looks up the key of the chatbot.
        table.check(f"campaign: {calls[name]} requests", calls[name] <= RECIPIENTS / 100 + 1)
    for dag_id, name in (("mapped", "`WtsSendChatbotOperator`, mapped"), ("http", "`HttpOperator`, mapped")):
        whole = took[dag_id] * RECIPIENTS / MAPPED
        table.add(
            name, MAPPED, calls[dag_id], took[dag_id], f"{whole / 60:.0f} min", round(whole / batch), "ratio ≥ 300"
        )
        table.check(f"campaign: {whole / batch:.0f} times faster than {name} ≥ 300", whole / batch >= 300)
    table.check(f"campaign: {batch:.1f} s < 15 s", batch < 15)
    table.check(f"campaign: {refused} refused with 429", refused == 0)
    return table


if __name__ == "__main__":
    main().show()
