"""A process with a real Airflow that runs DAG files, and what came of a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class TaskRun:
    """What came of one task instance.

    :param task_id: the task.
    :param map_index: its place among mapped instances, -1 where it is not mapped.
    :param state: ``success``, ``failed``, ``skipped``, ``upstream_failed``, ...
    :param try_number: the number of its last try.
    :param xcoms: what it left, by key, deserialized.
    :param links: its extra links, by name, as the web interface shows them.
    :param rendered: its rendered template fields, as the web interface shows them.
    """

    task_id: str
    map_index: int
    state: str
    try_number: int
    xcoms: dict[str, Any]
    links: dict[str, str | None]
    rendered: dict[str, Any]

    @property
    def returned(self) -> Any:
        """What the task returned."""
        return self.xcoms.get("return_value")


@dataclass(frozen=True)
class DagRunOutcome:
    """What came of a DAG run.

    :param state: ``success`` or ``failed``.
    :param tasks: all task instances.
    :param logs: what the run logged.
    """

    dag_id: str
    run_id: str
    state: str
    tasks: list[TaskRun]
    logs: str

    def task(self, task_id: str, map_index: int = -1) -> TaskRun:
        """Return one task instance."""
        (found,) = (task for task in self.tasks if (task.task_id, task.map_index) == (task_id, map_index))
        return found

    def mapped(self, task_id: str) -> list[TaskRun]:
        """Return the instances of a mapped task, in order."""
        return sorted((task for task in self.tasks if task.task_id == task_id), key=lambda task: task.map_index)

    @property
    def states(self) -> dict[str, list[str]]:
        """The states of all instances by task id, in order."""
        return {task.task_id: [one.state for one in self.mapped(task.task_id)] for task in self.tasks}


class DagRunner:
    """A process with Airflow that runs DAG files one after the other."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._read = 0
        self._logs = tempfile.TemporaryFile(  # noqa: SIM115  (closed by close)
            "w+", encoding="utf-8", errors="replace"
        )
        reading, writing = os.pipe()
        self._answers = os.fdopen(reading)
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("dag_runner.py")), str(writing)],
            stdin=subprocess.PIPE,
            stdout=self._logs,
            stderr=subprocess.STDOUT,
            pass_fds=[writing],
            text=True,
        )
        os.close(writing)

    def run(
        self,
        path: Path,
        *,
        conf: Mapping[str, Any] | None = None,
        connections: Mapping[str, str | Mapping[str, Any]] | None = None,
        connections_file: Path | None = None,
        dag_id: str | None = None,
        earliest_firing: float = 0.2,
        environment: Mapping[str, str] | None = None,
    ) -> DagRunOutcome:
        """Run a DAG file once, deferrals included, and return what came of it.

        :param path: the file.
        :param conf: the run's configuration; values of the DAG's params.
        :param connections: connections by id: a URI or JSON text, or an object that becomes JSON.
        :param connections_file: a file that the secrets backend ``LocalFilesystemBackend`` reads connections from.
        :param dag_id: which DAG of the file; may be left out where there is one.
        :param earliest_firing: seconds in which a trigger does not fire; there is no scheduler here to be too fast for.
        :param environment: more variables of the run's environment, such as settings of Airflow.
        """
        result = self._ask(
            "run_dag",
            path=str(path),
            dag_id=dag_id,
            conf=conf,
            connections={
                name: value if isinstance(value, str) else json.dumps(value)
                for name, value in (connections or {}).items()
            },
            connections_file=connections_file and str(connections_file),
            earliest_firing=earliest_firing,
            environment=dict(environment or {}),
        )
        tasks = [TaskRun(**task) for task in result.pop("tasks")]
        return DagRunOutcome(**result, tasks=tasks, logs=self._new_logs())

    def import_dags(self, path: Path) -> dict[str, list[str]]:
        """Import a DAG file without any connection; return its task ids by DAG.

        :param path: the file.
        """
        return self._ask("import_dags", path=str(path))

    def serialized(self, path: Path) -> dict[str, Any]:
        """Return the one DAG of a file as Airflow stores it.

        :param path: the file.
        """
        return self._ask("serialized", path=str(path))

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()
        self._logs.close()

    def _ask(self, command: str, **arguments: Any) -> Any:
        self._new_logs()
        self._process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
        self._process.stdin.flush()
        try:
            line = self._answers.readline()
        except BaseException:
            # What nobody waits for any more would be taken for the answer to the next request.
            self._process.kill()
            self.close()
            self._start()
            raise
        if not line:
            raise AssertionError(f"The process that runs DAGs died:\n{self._new_logs()[-5000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise AssertionError(f"{answer['error']}\n{self._new_logs()[-5000:]}")
        return answer["result"]

    def _new_logs(self) -> str:
        # The position is shared with the process that writes: reading must leave it at the end.
        end = os.fstat(self._logs.fileno()).st_size
        self._read, begin = end, self._read
        return os.pread(self._logs.fileno(), end - begin, begin).decode(errors="replace")


def without_mark(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata without the mark by which a send can be found again.

    :param metadata: metadata of a session.
    """
    return {name: value for name, value in metadata.items() if not name.startswith("airflow_send_")}


#: What the fixture ``run_dag`` is: :meth:`DagRunner.run`.
RunDag = Callable[..., DagRunOutcome]
