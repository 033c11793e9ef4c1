"""A whole Airflow for tests: database, scheduler, triggerer, DAG processor, API server, workers, as processes.

A test may kill any of them. Everything is bounded in time, nothing is left behind: every process carries a mark that
its descendants inherit, and the database is dropped at the end.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import pytest
from airflow_version import AIRFLOW, AIRFLOW_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent
AIRFLOW_3 = AIRFLOW_VERSION >= (3,)

#: Where servers are that let their user make databases. MySQL may be MariaDB.
POSTGRES = os.environ.get("WTS_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")
MYSQL = os.environ.get("WTS_TEST_MYSQL", "mysql://root@127.0.0.1:3306/mysql")
REDIS = os.environ.get("WTS_TEST_REDIS", "redis://127.0.0.1:6379/9")

_MARK = "WTS_TEST_PROCESS"


def free_port() -> int:
    """Return a port of this machine that nobody listens at."""
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def tell(text: str) -> None:
    """Say something that a person wants to read beside the results (pytest -s)."""
    sys.stdout.write(f"{text}\n")


class Database:
    """A database of this test's own.

    :param kind: ``postgresql`` or ``mysql``.
    """

    def __init__(self, kind: str = "postgresql") -> None:
        self.name = f"wts_test_{uuid.uuid4().hex[:12]}"
        self._is_mysql = kind == "mysql"
        driver, package = "psycopg2", "psycopg2-binary"
        if self._is_mysql:
            # Airflow 3 takes no other one; below, this one needs no compiler.
            driver, package = ("MySQLdb", "mysqlclient") if AIRFLOW_3 else ("pymysql", "pymysql")
        self._server = MYSQL if self._is_mysql else POSTGRES
        self._driver = pytest.importorskip(driver, reason=f"needs {driver}: pip install {package}")
        try:
            self._on_server(f"CREATE DATABASE {self.name}{' CHARACTER SET utf8mb4' if self._is_mysql else ''}")
        except self._driver.OperationalError as problem:
            pytest.skip(f"needs a server at {self._server} (WTS_TEST_{kind.upper()} names another): {problem}")

    @property
    def url(self) -> str:
        """Its address, as SQLAlchemy reads it."""
        parts = urlsplit(self._server)
        return urlunsplit(
            parts._replace(scheme=f"{parts.scheme}+{self._driver.__name__.lower()}", path=f"/{self.name}")
        )

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        with contextlib.closing(self._connect(self.name)) as connection, connection.cursor() as cursor:
            cursor.execute(query, values)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def drop(self) -> None:
        """Remove it, whoever is still connected."""
        self._on_server(f"DROP DATABASE IF EXISTS {self.name}{'' if self._is_mysql else ' WITH (FORCE)'}")

    def _on_server(self, command: str) -> None:
        with contextlib.closing(self._connect(urlsplit(self._server).path[1:])) as connection:
            if not self._is_mysql:
                connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(command)

    def _connect(self, name: str) -> Any:
        parts = urlsplit(self._server)
        place = {"host": parts.hostname, "port": parts.port, "user": parts.username, "password": parts.password or ""}
        return self._driver.connect(**place, database=name)


class Processes:
    """Background processes, each in a session of its own, which its descendants share.

    They also inherit a mark in their environment, for those that leave the session. The mark alone would not do: a
    process that writes itself a title writes over the environment that others can read.

    :param logs: folder for their output.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._sessions: set[int] = set()
        self._run = uuid.uuid4().hex

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a process; its log is kept under its name."""
        with (self._logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env={**environment, _MARK: f"{self._run}-{name}"},
                cwd=self._logs,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running[name] = process
        self._sessions.add(process.pid)

    def run(self, name: str, command: Sequence[str], environment: Mapping[str, str], seconds: float = 240) -> None:
        """Run a process to its end."""
        self.start(name, command, environment)
        code = self._running[name].wait(seconds)
        del self._running[name]
        assert code == 0, f"{name} ended with {code}:\n{self.tail(name)}"

    def kill(self, name: str) -> None:
        """SIGKILL a process with all its descendants, as a machine that goes away does."""
        process = self._running.pop(name)
        for pid in _alive({process.pid}, f"{self._run}-{name}"):
            _signal(pid, signal.SIGKILL)
        process.wait(10)

    def check(self) -> None:
        """Fail where a process ended by itself."""
        for name, process in self._running.items():
            if process.poll() is not None:
                pytest.fail(f"{name} ended by itself (exit code {process.returncode}):\n{self.tail(name)}")

    def tail(self, name: str, lines: int = 30) -> str:
        """Return the last lines that a process wrote."""
        return "\n".join((self._logs / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> None:
        """End all, and make sure of it."""
        for number, seconds in ((signal.SIGTERM, 15.0), (signal.SIGKILL, 10.0)):
            for pid in self._left():
                _signal(pid, number)
            end = time.monotonic() + seconds
            while self._left() and time.monotonic() < end:
                time.sleep(0.1)
        left = self._left()
        self._running.clear()
        assert not left, f"These processes could not be ended: {left}"

    def _left(self) -> list[int]:
        for process in self._running.values():
            process.poll()
        return _alive(self._sessions, self._run)


def _alive(sessions: set[int], mark: str) -> list[int]:
    """Return the living processes of some sessions, and those that carry a mark."""
    wanted = f"{_MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        # A process that ended meanwhile, or is somebody else's, cannot be read.
        with contextlib.suppress(OSError):
            state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            marked = any(part.startswith(wanted) for part in (folder / "environ").read_bytes().split(b"\0"))
            if state != "Z" and (int(session) in sessions or marked):
                found.append(int(folder.name))
    return found


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


class WholeAirflow:
    """Airflow on a database server, with everything that runs in earnest.

    :param dags: DAG files, copied into its folder.
    :param connection: the connection ``wts_default``.
    :param executor: ``LocalExecutor`` or ``CeleryExecutor``.
    :param workers: number of Celery workers.
    :param parallelism: tasks at the same time.
    :param database: ``postgresql``, ``mysql``, or ``sqlite`` where nothing is hurried.
    :param settings: more settings, such as ``CORE__TEST_CONNECTION``.
    :param rest_api: whether 2.11 gets a web server, too, for its REST API; Airflow 3 always has one.
    """

    def __init__(
        self,
        dags: Iterable[Path],
        connection: Mapping[str, Any] | None,
        *,
        rest_api: bool = AIRFLOW_3,
        executor: str = "LocalExecutor",
        workers: int = 0,
        parallelism: int = 8,
        database: str = "postgresql",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="wts-whole-", ignore_cleanup_errors=True)
        self.home = Path(self._folder.name)
        (self.home / "dags").mkdir()
        self.dags = {}
        for path in dags:
            self.dags[path.stem] = self.home / "dags" / path.name
            self.dags[path.stem].write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
        self.processes = Processes(self.home)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._token: str | None = None
        self._has_rest_api = rest_api
        self._workers = [f"worker-{number}" for number in range(1, workers + 1)]
        self._executor = executor
        self._parallelism = parallelism
        self.database = None if database == "sqlite" else Database(database)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTEST"))},
            **self._settings(settings or {}),
        }
        if connection is not None:
            self.environment["AIRFLOW_CONN_WTS_DEFAULT"] = json.dumps(connection)

    # Starting and ending --------------------------------------------------------------------------------------------

    def start(self) -> WholeAirflow:
        """Start all, and return once Airflow is healthy and has read the DAG files."""
        began = time.monotonic()
        self.processes.run("migrate", self._airflow("db", "migrate"), self.environment)
        parts = ["scheduler", "triggerer"]
        if AIRFLOW_3:
            parts += ["api-server", "dag-processor"]
        elif self._has_rest_api:
            (self.home / "webserver_config.py").write_text("AUTH_ROLE_PUBLIC = 'Admin'\n", encoding="utf-8")
            parts += ["webserver"]
        for name in [*parts, *self._workers]:
            self.start_part(name)
        self.wait(self._healthy, "The start of Airflow", 240)
        self.wait(lambda: set(self.dags) <= self._dag_ids(), "The reading of the DAG files", 120)
        tell(f"\nAirflow {AIRFLOW}, {self._executor}: up after {time.monotonic() - began:.0f} s")
        return self

    def start_part(self, name: str) -> None:
        """Start a process of Airflow: ``scheduler``, ``triggerer``, ``worker-1`` and so on."""
        if name.startswith("worker-"):
            command = ["celery", "worker", "--celery-hostname", f"{name}@%h", "--concurrency", "4", "--skip-serve-logs"]
            command += ["--without-mingle", "--without-gossip"]
        else:
            command = {
                "api-server": ["api-server", "--workers", "1"],
                "webserver": ["webserver", "--hostname", "127.0.0.1", "--port", str(self.port), "--workers", "1"],
                "scheduler": ["scheduler", "--skip-serve-logs"],
                "dag-processor": ["dag-processor"],
                "triggerer": ["triggerer", "--skip-serve-logs"],
            }[name]
        self.processes.start(name, self._airflow(*command), self.environment)

    def stop(self) -> None:
        """End all processes, drop the database, remove the files."""
        try:
            self.processes.stop()
        finally:
            if self.database is not None:
                self.database.drop()
            self._folder.cleanup()

    # Driving --------------------------------------------------------------------------------------------------------

    def trigger(self, dag_id: str, **conf: Any) -> str:
        """Start a DAG run, and return its id."""
        if AIRFLOW_3:
            body = {"logical_date": None, "conf": conf}
            return str(self.call("POST", f"dags/{dag_id}/dagRuns", body)["dag_run_id"])
        run_id = f"test__{uuid.uuid4().hex[:8]}"
        self.command("dags", "trigger", dag_id, "--run-id", run_id, "--conf", json.dumps(conf))
        return run_id

    def clear(self, dag_id: str, run_id: str, *, only_failed: bool = False) -> None:
        """Clear the tasks of a DAG run, as a person does."""
        if self._has_rest_api:
            body = {"dry_run": False, "dag_run_id": run_id, "only_failed": only_failed, "reset_dag_runs": True}
            self.call("POST", f"dags/{dag_id}/clearTaskInstances", body)
            return
        # The command line of 2.11 knows dates, and no run: this is what its web interface does.
        code = f"""
            from airflow.models.dagbag import DagBag
            from airflow.models.taskinstance import TaskInstance, clear_task_instances
            from airflow.utils.session import create_session

            dag = DagBag({str(self.home / "dags")!r}, include_examples=False).get_dag({dag_id!r})
            with create_session() as session:
                chosen = session.query(TaskInstance).filter_by(dag_id={dag_id!r}, run_id={run_id!r}).all()
                if {only_failed!r}:
                    chosen = [one for one in chosen if one.state in ("failed", "upstream_failed")]
                clear_task_instances(chosen, session, dag=dag)
        """
        command = [sys.executable, "-c", textwrap.dedent(code)]
        self.processes.run(f"clear-{uuid.uuid4().hex[:6]}", command, self.environment)

    def mark_as_failed(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Mark a task as failed, as a person does."""
        body = {"new_state": "failed", **({} if AIRFLOW_3 else {"dry_run": False})}
        self.call("PATCH", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}", body)

    def tasks(self, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run."""
        assert self.database is not None
        return self.database.rows(
            "SELECT task_id, map_index, state, try_number, max_tries, pid FROM task_instance WHERE run_id = %s "
            "ORDER BY task_id, map_index",
            run_id,
        )

    def counts(self, run_id: str) -> dict[str, int]:
        """Return task instances by state."""
        counts: dict[str, int] = {}
        for task in self.tasks(run_id):
            counts[str(task["state"])] = counts.get(str(task["state"]), 0) + 1
        return counts

    def run_state(self, run_id: str) -> str:
        """Return the state of a run."""
        assert self.database is not None
        return str(self.database.rows("SELECT state FROM dag_run WHERE run_id = %s", run_id)[0]["state"])

    def wait_for_tasks(self, run_id: str, enough: Callable[[dict[str, int]], Any], what: str, seconds: float) -> None:
        """Wait until there are enough task instances of some states; fail where the run is over before."""

        def look() -> bool:
            counts = self.counts(run_id)
            if enough(counts):
                return True
            if self.run_state(run_id) in ("success", "failed"):
                pytest.fail(f"The run ended before {what}: {counts}\n" + "\n".join(self.task_logs(run_id)[-30:]))
            return False

        self.wait(look, what, seconds, lambda: str(self.counts(run_id)))

    def wait_for_end(self, run_id: str, seconds: float, also: Callable[[], Any] = lambda: None) -> str:
        """Wait until a run is over, and return its state.

        :param also: called at each look.
        """

        def over() -> str | None:
            also()
            state = self.run_state(run_id)
            return state if state in ("success", "failed") else None

        return self.wait(over, f"The end of {run_id}", seconds, lambda: str(self.counts(run_id)))

    def wait(
        self, look: Callable[[], T], what: str, seconds: float, say: Callable[[], str] = lambda: "", every: float = 0.5
    ) -> T:
        """Look until there is something, all processes alive."""
        end = time.monotonic() + seconds
        while True:
            found = look()
            if found:
                return found
            self.processes.check()
            if time.monotonic() > end:
                tails = "\n".join(
                    f"--- {path.stem}\n{self.processes.tail(path.stem, 12)}" for path in self.home.glob("*.log")
                )
                pytest.fail(f"{what} did not happen within {seconds:.0f} s. {say()}\n{tails}")
            time.sleep(every)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the REST API."""
        import requests

        with requests.Session() as http:
            http.trust_env = False
            if AIRFLOW_3 and self._token is None:
                self._token = http.get(f"{self.url}/auth/token", timeout=30).json()["access_token"]
            headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
            version = "v2" if AIRFLOW_3 else "v1"
            answer = http.request(method, f"{self.url}/api/{version}/{path}", json=body, headers=headers, timeout=60)
            assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
            return answer.json() if answer.content else None

    def task_logs(self, run_id: str, words: str = "") -> list[str]:
        """Return the lines of a run's task logs that hold some words."""
        lines = []
        for path in sorted((self.home / "logs").glob(f"dag_id=*/run_id={run_id}/**/attempt=*.log*")):
            place = "/".join(part for part in path.parts if part.startswith(("task_id=", "map_index=", "attempt=")))
            lines += [f"{place}: {line}" for line in path.read_text(errors="replace").splitlines() if words in line]
        return lines

    def _healthy(self) -> bool:
        if not self._has_rest_api:
            rows = self.database.rows("SELECT job_type FROM job WHERE state = 'running'") if self.database else []
            return {"SchedulerJob", "TriggererJob"} <= {row["job_type"] for row in rows}
        import requests

        try:
            with requests.Session() as http:
                http.trust_env = False
                path = "api/v2/monitor/health" if AIRFLOW_3 else "api/v1/health"
                health = http.get(f"{self.url}/{path}", timeout=10).json()
        except (requests.RequestException, ValueError):
            return False
        names = ("scheduler", "triggerer", *(["dag_processor"] if AIRFLOW_3 else []))
        if not all((health.get(name) or {}).get("status") == "healthy" for name in names):
            return False
        return all("ready" in self.processes.tail(name, 200) for name in self._workers)

    def _dag_ids(self) -> set[str]:
        if self.database is not None:
            rows = self.database.rows(
                "SELECT DISTINCT dag.dag_id FROM dag JOIN serialized_dag USING (dag_id) WHERE NOT dag.is_paused"
            )
            return {row["dag_id"] for row in rows}
        return {dag["dag_id"] for dag in self.call("GET", "dags")["dags"]}

    def command(self, *arguments: str) -> None:
        """Run a command of Airflow to its end."""
        self.processes.run(f"command-{uuid.uuid4().hex[:6]}", self._airflow(*arguments), self.environment)

    def _airflow(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "airflow", *arguments]

    def _settings(self, more: Mapping[str, str]) -> dict[str, str]:
        url = f"sqlite:///{self.home}/airflow.db"
        if self.database is not None:
            url = self.database.url
        settings = {
            "CORE__DAGS_FOLDER": str(self.home / "dags"),
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "CORE__EXECUTOR": self._executor,
            "CORE__PARALLELISM": str(self._parallelism),
            "CORE__MAX_ACTIVE_TASKS_PER_DAG": "256",
            "CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "DATABASE__SQL_ALCHEMY_CONN": url,
            # A process that was killed is noticed in seconds here, and in minutes by default.
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
            "SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "60",
            "SCHEDULER__ZOMBIE_DETECTION_INTERVAL": "5",
            # What a dead worker had taken is queued again after this. Not shorter: a token lives no longer than it, so
            # a task that waits longer for its turn could not start.
            "SCHEDULER__TASK_QUEUED_TIMEOUT": "300",
            "SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
            "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
            "USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        if AIRFLOW_3:
            settings |= {
                "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
                "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
                # A busy machine may take its time.
                "WORKERS__EXECUTION_API_TIMEOUT": "60",
                "API__HOST": "127.0.0.1",
                "API__PORT": str(self.port),
                "API__BASE_URL": self.url,
                # All processes must agree on these; otherwise each makes its own.
                "API__SECRET_KEY": secrets.token_hex(32),
                "API_AUTH__JWT_SECRET": secrets.token_hex(64),
                "DAG_PROCESSOR__REFRESH_INTERVAL": "5",
                "DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "2",
                "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "2",
            }
        else:
            settings |= {
                "SCHEDULER__MIN_FILE_PROCESS_INTERVAL": "2",
                "SCHEDULER__DAG_DIR_LIST_INTERVAL": "5",
                # 2.11 has no task state store.
                "WTS__LEDGER_PATH": f"file://{self.home}/ledger",
                # Everybody may, as webserver_config.py says.
                "API__AUTH_BACKENDS": "airflow.api.auth.backend.session",
            }
        if self._executor == "CeleryExecutor":
            settings |= {
                "CELERY__BROKER_URL": REDIS,
                "CELERY__RESULT_BACKEND": url.replace("postgresql+", "db+postgresql+"),
                "CELERY__WORKER_PREFETCH_MULTIPLIER": "1",
                "CELERY__WORKER_ENABLE_REMOTE_CONTROL": "True",
                "OPERATORS__DEFAULT_QUEUE": self.database.name if self.database else "default",
            }
        return {
            "AIRFLOW_HOME": str(self.home),
            **{f"AIRFLOW__{name}": value for name, value in (settings | dict(more)).items()},
            "NO_PROXY": "127.0.0.1,localhost",
            "PYTHONUNBUFFERED": "1",
        }
