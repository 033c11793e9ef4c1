"""``make demo``: chatbots to customers, on real Airflow and a local WTS Chat service.

Starts the emulator and Airflow (scheduler, triggerer, DAG processor, API server) on free ports of this machine, with
all files in ``.demo``. Runs ``example_dags/example_wts_chatbot.py``, shows what happens, and what the customers
answered as a table. Then runs ``example_dags/example_wts_campaign.py`` for 300 customers of a SQLite database, and
shows its funnel, its outcome and where its report is. The exit code is 0 only if both runs succeeded, every session of
the first one completed, and the report is there.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import demo_campaign
import requests
from demo_processes import DemoError, Processes, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".demo"
DAG_ID = "example_wts_chatbot"
WAREHOUSE = HOME / "warehouse.db"

# Emulated seconds per real second: an answer after 40 s comes after 20 s.
SPEED = 2
CUSTOMERS = [
    {"name": "Carla Dias", "phone": "+55 11 99999-0001", "invoice": "2026-118", "amount": 149.9},
    {"name": "Diego Alves", "phone": "(11) 99999-0002", "invoice": "2026-119", "amount": 80},
    {"name": "Elisa Rocha", "phone": "11999990003", "invoice": "2026-120", "amount": 1250.5},
    {"name": "Fábio Nunes", "phone": "+55 21 98888-0004", "invoice": "2026-121", "amount": 42},
]
SEED = {
    "contacts": [{"name": "Fábio Nunes", "phone": "+55|21988880004"}],
    "behaviours": {
        "+5511999990001": {"replies": ["Sim, paguei ontem"], "delay": 30},
        "+5511999990002": {"replies": ["Ainda não"], "delay": 40},
        # Elisa never answers: the chatbot gives up after a minute and ends the conversation.
        "+5511999990003": {"replies": []},
        "+5521988880004": {"replies": ["Pago amanhã"], "delay": 50},
        **demo_campaign.behaviours(),
    },
}


class Demo:
    """One run of the demo."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._began = time.monotonic()
        self._http = requests.Session()
        # Two processes of this machine need no proxy.
        self._http.trust_env = False
        self._port = free_port()
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
            **_airflow_settings(self._port),
        }

    def run(self) -> bool:
        """Run it; return whether all went well."""
        self._say("Starting the local WTS Chat service ...")
        emulator, token = self._start_emulator()
        self._say(f"... it listens at {emulator}. Preparing Airflow's database ...")
        self._processes.run("migrate", self._airflow("db", "migrate"), self._environment)
        self._say("... done. Starting Airflow: API server, scheduler, DAG processor, triggerer ...")
        self._start_airflow()
        self._call("POST", "connections", {"connection_id": "wts_default", "conn_type": "wts", "host": emulator,
                                           "password": token})  # fmt: skip
        self._say(f"... it is up. Web interface while this runs: http://127.0.0.1:{self._port}")
        return self._chatbots(emulator) and self._campaign(emulator)

    def _chatbots(self, emulator: str) -> bool:
        """Run the first part: a chatbot for each of a few customers, each conversation followed."""
        run_path = self._trigger(DAG_ID, {"customers": CUSTOMERS})
        self._say(f"Triggered the DAG {DAG_ID}: a chatbot for each of {len(CUSTOMERS)} customers.")
        watch = Watch(self._say)
        if not self._succeeds(
            run_path, watch, lambda: watch.sessions(self._get(f"{emulator}/_emulator/state")["sessions"])
        ):
            return False
        rows = self._returned(run_path, "sum_up")
        print(f"\n{table(rows)}\n", flush=True)
        completed = [row for row in rows if row["status"] == "COMPLETED"]
        self._say(f"{len(completed)} of {len(CUSTOMERS)} sessions completed.")
        return len(completed) == len(rows) == len(CUSTOMERS)

    def _campaign(self, emulator: str) -> bool:
        """Run the second part: a campaign from a query to a table and a report."""
        for number in demo_campaign.REFUSED:
            # WTS Chat refuses a request that holds one of them; the others of this request get their message.
            fault = {"kind": "status", "status": 400, "body": demo_campaign.phone(number)[3:], "times": None}
            self._http.post(f"{emulator}/_emulator/faults", json=fault, timeout=30).raise_for_status()
        run_path = self._trigger(demo_campaign.DAG_ID, {"folder": f"file://{HOME}/campaigns"})
        self._say(
            f"Triggered the DAG {demo_campaign.DAG_ID}: query, send, outcome; {demo_campaign.CUSTOMERS} customers."
        )
        if not self._succeeds(run_path, Watch(self._say)):
            return False
        (log,) = (HOME / "logs" / f"dag_id={demo_campaign.DAG_ID}").glob("run_id=*/task_id=outcome/attempt=1.log")
        print("\nThe funnel in the log of the task outcome:\n", flush=True)
        print("\n".join(demo_campaign.funnel(line for _, line in _log_lines(log))), flush=True)
        print("\nThe table reminder_outcomes, joined to the invoices:\n", flush=True)
        head = ("Send", "Session", "Answered", "Customers", "Amount due")
        print(f"{columns(head, demo_campaign.outcomes(WAREHOUSE))}\n", flush=True)
        reports = list((HOME / "campaigns").glob("report-*.html"))
        self._say(f"The report, for a browser: {', '.join(map(str, reports))}")
        return len(reports) == 1 and self._returned(run_path, "outcome")["rows"] == demo_campaign.CUSTOMERS

    def _trigger(self, dag_id: str, conf: dict[str, Any]) -> str:
        path = f"dags/{dag_id}/dagRuns"
        return f"{path}/{self._call('POST', path, {'logical_date': None, 'conf': conf})['dag_run_id']}"

    def _succeeds(self, run_path: str, watch: Watch, poll: Callable[[], None] | None = None) -> bool:
        """Watch a DAG run until its end, and return whether it succeeded."""

        def over() -> str | None:
            try:
                if poll is not None:
                    poll()
                watch.tasks(self._call("GET", f"{run_path}/taskInstances")["task_instances"])
                state = str(self._call("GET", run_path)["state"])
            except requests.RequestException:
                # A busy machine answers late; wait_for checks that all processes are alive.
                return None
            return state if state in ("success", "failed") else None

        state = self._processes.wait_for("The end of the DAG run", over, seconds=600, every=1)
        self._say(f"The DAG run ended: {state}.")
        if state != "success":
            print(_failures(), flush=True)
        return state == "success"

    def _returned(self, run_path: str, task_id: str) -> Any:
        path = f"{run_path}/taskInstances/{task_id}/xcomEntries/return_value?stringify=false"
        return self._call("GET", path)["value"]

    def _start_emulator(self) -> tuple[str, str]:
        (HOME / "seed.json").write_text(json.dumps(SEED), encoding="utf-8")
        options = ("--speed", str(SPEED), "--seed-file", HOME / "seed.json")
        found = self._processes.start_emulator(sys.executable, self._environment, *options)
        return found["host"], found["password"]

    def _start_airflow(self) -> None:
        self._processes.start("api-server", self._airflow("api-server", "--workers", "1"), self._environment)
        self._processes.start("scheduler", self._airflow("scheduler", "--skip-serve-logs"), self._environment)
        self._processes.start("dag-processor", self._airflow("dag-processor"), self._environment)
        self._processes.start("triggerer", self._airflow("triggerer", "--skip-serve-logs"), self._environment)

        def ready() -> bool | None:
            try:
                health = self._get(f"http://127.0.0.1:{self._port}/api/v2/monitor/health")
            except (requests.RequestException, ValueError):
                return None
            parts = ("scheduler", "triggerer", "dag_processor")
            return True if all((health.get(part) or {}).get("status") == "healthy" for part in parts) else None

        def parsed() -> bool | None:
            found = [self._call("GET", f"dags/{name}", missing_is_fine=True) for name in (DAG_ID, demo_campaign.DAG_ID)]
            return True if all(found) else None

        self._processes.wait_for("The start of Airflow", ready, seconds=300)
        token = self._get(f"http://127.0.0.1:{self._port}/auth/token")["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"
        self._processes.wait_for("The reading of the DAG files", parsed, seconds=180)

    def _airflow(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "airflow", *arguments]

    def _get(self, url: str) -> Any:
        answer = self._http.get(url, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def _call(self, method: str, path: str, body: Any = None, *, missing_is_fine: bool = False) -> Any:
        """Call Airflow's REST API."""
        answer = self._http.request(method, f"http://127.0.0.1:{self._port}/api/v2/{path}", json=body, timeout=30)
        if missing_is_fine and answer.status_code == 404:
            return None
        if not answer.ok:
            raise DemoError(f"Airflow answered {answer.status_code} to {method} {path}: {answer.text[:500]}")
        return answer.json()

    def _say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:5.0f} s  {text}", flush=True)


class Watch:
    """Reports what has changed since the last poll."""

    def __init__(self, say: Any) -> None:
        self._say = say
        self._known: dict[str, str] = {}
        self._messages: dict[str, int] = {}
        self._names = {_digits(customer["phone"])[-11:]: str(customer["name"]) for customer in CUSTOMERS}

    def sessions(self, sessions: list[dict[str, Any]]) -> None:
        """Report the changes of the sessions in WTS Chat."""
        for session in sessions:
            name = self._names.get(_digits(session["contact"])[-11:], "?")
            if session["status"] != "COMPLETED":
                self._changed(session["id"], session["status"], f"{name:<14} session {session['status']}")
            known = self._messages.get(session["id"], 0)
            for message in session["messages"][known:]:
                self._say(f"{name:<14} {'writes' if _from_contact(message) else 'reads'}: {message['text']}")
            self._messages[session["id"]] = len(session["messages"])
            self._changed(session["id"], session["status"], f"{name:<14} session {session['status']}")

    def tasks(self, tasks: list[dict[str, Any]]) -> None:
        """Report the changes of the task instances in Airflow."""
        for task in tasks:
            index = f"[{task['map_index']}]" if task["map_index"] >= 0 else ""
            if task["state"] in ("running", "deferred", "success", "failed", "up_for_retry", "upstream_failed"):
                self._changed(task["id"], task["state"], f"{'Airflow':<14} {task['task_id']}{index} {task['state']}")

    def _changed(self, key: str, value: str, line: str) -> None:
        if self._known.get(key) != value:
            self._known[key] = value
            self._say(line)


def table(rows: list[dict[str, Any]]) -> str:
    """Return the outcome as a table."""
    head = ("Customer", "Session", "Status", "How long", "Answered")
    cells = [
        (row["customer"], row["session"], row["status"], f"{row['seconds'] / SPEED:.0f} s", row["answer"] or "nothing")
        for row in rows
    ]
    return columns(head, cells)


def columns(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    """Return rows in aligned columns."""
    lines = [head, *(tuple("-" if cell is None else str(cell) for cell in row) for row in rows)]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _airflow_settings(port: int) -> dict[str, str]:
    settings = {
        "CORE__DAGS_FOLDER": str(HOME / "dags"),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "4",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME}/airflow.db",
        "API__HOST": "127.0.0.1",
        "API__PORT": str(port),
        "API__BASE_URL": f"http://127.0.0.1:{port}",
        # All processes must agree on these; otherwise each writes its own.
        "API__SECRET_KEY": secrets.token_hex(32),
        "API_AUTH__JWT_SECRET": secrets.token_hex(64),
        "USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    return {
        "AIRFLOW_HOME": str(HOME),
        **{f"AIRFLOW__{name}": value for name, value in settings.items()},
        "NO_PROXY": "127.0.0.1,localhost",
        "PYTHONUNBUFFERED": "1",
        "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(WAREHOUSE)}),
    }


def _failures() -> str:
    """Return the end of each failed task's log."""
    texts = []
    for path in sorted((HOME / "logs").glob("dag_id=*/run_id=*/task_id=*/**/attempt=*.log")):
        lines = list(_log_lines(path))
        if any(level in ("error", "critical") for level, _ in lines):
            name = " ".join(part for part in path.parts if part.startswith(("task_id=", "map_index=", "attempt=")))
            texts.append("\n".join([f"--- {name}", *(text for _, text in lines[-15:])]))
    return "\n".join(texts) or f"No task log shows the reason; the logs are in {HOME}."


def _log_lines(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text(errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            yield "", line
            continue
        if not isinstance(entry, dict):
            continue
        causes = [f"{cause.get('exc_type')}: {cause.get('exc_value')}" for cause in entry.get("error_detail") or []]
        yield str(entry.get("level")), "\n    ".join([str(entry.get("event")), *causes])


def _from_contact(message: dict[str, Any]) -> bool:
    return str(message["direction"]).upper() == "FROM_HUB"


def _digits(text: object) -> str:
    return re.sub(r"\D", "", str(text))


def main() -> int:
    """Run the demo; return the exit code."""
    # Set here, because a shell that runs this in the background leaves SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    shutil.rmtree(HOME, ignore_errors=True)
    (HOME / "dags").mkdir(parents=True)
    shutil.copy(ROOT / "example_dags" / f"{DAG_ID}.py", HOME / "dags")
    campaign = (ROOT / "example_dags" / f"{demo_campaign.DAG_ID}.py").read_text("utf-8")
    (HOME / "dags" / f"{demo_campaign.DAG_ID}.py").write_text(demo_campaign.hasty(campaign), "utf-8")
    demo_campaign.fill_warehouse(WAREHOUSE)
    processes = Processes(HOME)
    good = False
    try:
        good = Demo(processes).run()
    except KeyboardInterrupt:
        print("\nInterrupted.", flush=True)
        return 130
    except (DemoError, requests.RequestException, OSError) as problem:
        print(f"\nThe demo failed: {problem}", flush=True)
    finally:
        # A second Ctrl-C must not leave processes behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("Stopping everything ...", flush=True)
        processes.stop()
    print("All went well." if good else f"The logs are in {HOME}.", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
