"""Plays Airflow's executor for tries that are stopped, given up, and continued beside their successor.

Reads one campaign of stories as a line of JSON from stdin, and answers with a line of JSON on the descriptor that is
its argument. Several lanes work on the stories; a lane is a forked process. Each try has a real supervisor, which
forks a real task process; both are stopped with SIGSTOP, and continued with SIGCONT.
"""

from __future__ import annotations

import contextlib
import gc
import http.client
import json
import os
import runpy
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import stop_points
from airflow.dag_processing.dagbag import BundleDagBag  # noqa: F401
from airflow.executors.workloads import ExecuteTask
from airflow.sdk.execution_time import supervisor, task_runner  # noqa: F401

#: Seconds in which a try must have ended, or be stopped.
PATIENCE = 180.0

#: Seconds for which the service may be at work on a request; here nothing takes effect late.
HURRY = {
    "QUEUE_WAIT": 4.0,
    "_QUEUE_INTERVAL": 0.5,
    "_REST_INTERVAL": 1.0,
    "_FIRST_INTERVAL": 1.0,
}


class Airflow:
    """The server side.

    :param url: its address.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def call(self, name: str, body: Any) -> Any:
        """Ask the scheduler's stand-in."""
        connection = http.client.HTTPConnection(urlsplit(self._url).netloc, timeout=600)
        try:
            connection.request(
                "POST", f"/scheduler/{name}", json.dumps(body), headers={"Content-Type": "application/json"}
            )
            answer = connection.getresponse()
            text = answer.read().decode()
            if answer.status != 200:
                raise RuntimeError(f"{name}: {answer.status} {text}")
            return json.loads(text)
        finally:
            connection.close()

    @property
    def execution_url(self) -> str:
        """What a supervisor talks to."""
        return f"{self._url}/execution/"


class Try:
    """One try: a supervisor, and the task process that it forks.

    :param settings: those of the campaign.
    :param story: the story.
    :param work: what the executor got.
    :param plan: what happens to it.
    """

    def __init__(self, settings: dict[str, Any], story: dict[str, Any], work: Any, plan: dict[str, Any]) -> None:
        name = f"{story['run_id']}-{work['ti']['try_number']}"
        self.log = Path(settings["folder"], "logs", work["log_path"])
        self._note = Path(settings["folder"], f"{name}.stopped")
        self.seen: dict[str, Any] = {}
        self.number = work["ti"]["try_number"]
        self._pid = os.fork()
        if self._pid == 0:
            code = 70
            try:
                code = self._supervise(settings, story, work, plan)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        self.exit: int | None = None

    def _supervise(self, settings: dict[str, Any], story: dict[str, Any], work: Any, plan: dict[str, Any]) -> int:
        stop_points.install(
            stop_points.Watch(
                stop=plan.get("stop"),
                wait=plan.get("wait"),
                at_pass=plan.get("at_pass", 1),
                url=settings["url"],
                numbers=[number[3:] for number in story["conf"]["to"]],
                ledger=settings["ledger"],
                note=str(self._note),
            )
        )
        if story["ledger"] == "files":
            os.environ["AIRFLOW__WTS__LEDGER_PATH"] = f"file://{settings['ledger']}"
        supervisor.MIN_HEARTBEAT_INTERVAL = 1
        if not plan["heartbeat"]:
            # One that is late with its heartbeat, so that nobody ends a stale try from outside.
            supervisor.ActivitySubprocess._send_heartbeat_if_needed = lambda self: None  # type: ignore[method-assign]
        workload = ExecuteTask.model_validate(work)
        return supervisor.supervise_task(
            ti=workload.ti,
            bundle_info=workload.bundle_info,
            dag_rel_path=workload.dag_rel_path,
            token="",
            server=Airflow(settings["airflow"]).execution_url,
            log_path=workload.log_path,
        )

    def stopped(self, seconds: float = PATIENCE) -> bool:
        """Wait until it is stopped or has ended, and say which."""
        end = time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(self._pid, os.WNOHANG | os.WUNTRACED)
            if pid and os.WIFSTOPPED(status):
                break
            if pid:
                self.exit = os.waitstatus_to_exitcode(status)
                return False
            if time.monotonic() > end:
                raise TimeoutError(f"try {self.number} neither stops nor ends")
            time.sleep(0.03)
        self.seen = json.loads(self._note.read_text())
        while _state(self.seen["pid"]) != "T":
            if time.monotonic() > end:
                raise TimeoutError("the task process does not stop")
            time.sleep(0.01)
        return True

    def go_on(self) -> None:
        """Continue both processes."""
        for pid in (self.seen["pid"], self._pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def ended(self, seconds: float) -> bool:
        """Wait for its end, and say whether it came."""
        if self.exit is not None:
            return True
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self.exit = os.waitstatus_to_exitcode(status)
                return True
            time.sleep(0.03)
        return False

    def kill(self) -> None:
        """Make an end of both."""
        for pid in (self.seen.get("pid"), self._pid):
            if pid and self.exit is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


class Story:
    """One task instance, from its first try to its end.

    :param settings: those of the campaign.
    :param story: what happens.
    :param work: what the executor gets first.
    """

    def __init__(self, settings: dict[str, Any], story: dict[str, Any], work: Any) -> None:
        self._settings = settings
        self._story = story
        self._airflow = Airflow(settings["airflow"])
        self._work: Any = work
        self._tries: list[Try] = []
        self._held: list[Try] = []
        self._beside: dict[str, Any] | None = None

    def play(self) -> dict[str, Any]:
        """Return what came of it."""
        state, problem = "", ""
        try:
            state = self._play()
        except Exception:
            problem = traceback.format_exc()
        finally:
            for one in self._tries:
                one.kill()
        return {
            "story": self._story,
            "state": state,
            "problem": problem,
            "stopped": [{**one.seen, "try": one.number} for one in self._held],
            "beside": self._beside,
            "tries": len(self._tries),
            "exits": [one.exit for one in self._tries],
            "logs": [str(one.log) for one in self._tries],
        }

    def _play(self) -> str:
        while True:
            plan = self._plan()
            one = Try(self._settings, self._story, self._work, plan)
            self._tries.append(one)
            if one.stopped():
                if plan["given_up"]:
                    self._held.append(one)
                    self._work = self._after("give-up", dag_id=self._story["dag_id"])["work"]
                    continue
                self._let_loose_beside(one, plan)
            if not one.ended(PATIENCE):
                raise TimeoutError(f"try {one.number} does not end")
            then = self._after("retry")
            if then["state"] == "running":
                # It died without a word; the scheduler misses its heartbeat.
                then = self._after("give-up", dag_id=self._story["dag_id"])
            if then["state"] != "queued":
                break
            self._work = then["work"]
        # At the latest now, when all is over, a stale try may come back.
        for held in self._held:
            held.go_on()
            if not held.ended(PATIENCE):
                raise TimeoutError(f"the stale try {held.number} does not end")
        return str(self._after("retry")["state"])

    def _let_loose_beside(self, one: Try, plan: dict[str, Any]) -> None:
        """Continue the stale tries, and after a while the one that counts."""
        self._beside = self._beside or {**one.seen, "try": one.number}
        for held in self._held:
            held.go_on()
        for held in self._held:
            held.ended(plan["lead"])
        one.go_on()

    def _plan(self) -> dict[str, Any]:
        plans = self._story["tries"]
        number = len(self._tries)
        return plans[number] if number < len(plans) else {"heartbeat": True, "given_up": False}

    def _after(self, name: str, **more: Any) -> Any:
        body = {"run_id": self._story["run_id"], **more}
        return self._airflow.call(name, body)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


def campaign(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Play all stories, in several lanes."""
    stories = settings["stories"]
    queued = Airflow(settings["airflow"]).call(
        "begin", [{name: story[name] for name in ("dag_id", "run_id", "conf")} for story in stories]
    )
    taking, giving = os.pipe()
    os.write(giving, b"".join(number.to_bytes(4) for number in range(min(len(stories), 16000))))
    os.close(giving)
    lanes = []
    for number in range(settings["lanes"]):
        path = Path(settings["folder"], f"lane-{number}.json")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                results = []
                # Whichever lane is free takes the next story.
                while place := os.read(taking, 4):
                    story = stories[int.from_bytes(place)]
                    results.append(Story(settings, story, queued[story["run_id"]]).play())
                path.write_text(json.dumps(results))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        lanes.append((child, path))
    os.close(taking)
    results: list[dict[str, Any]] = []
    for child, path in lanes:
        _, status = os.waitpid(child, 0)
        if status:
            raise RuntimeError("a lane broke")
        results += json.loads(path.read_text())
    return results


def main() -> None:
    # What a task imports is imported once, here.
    runpy.run_path(str(Path(__file__).with_name("dags_of_stale_tries.py")))
    from airflow_provider_wts.hooks import wts  # noqa: F401
    from airflow_provider_wts.sending import once, reconcile  # noqa: F401

    for module in [module for name, module in sys.modules.items() if name.startswith("airflow_provider_wts.")]:
        for name, seconds in HURRY.items():
            if hasattr(module, name):
                setattr(module, name, seconds)

    # A collection in a fork would copy every page.
    gc.collect()
    gc.freeze()
    with os.fdopen(int(sys.argv[1]), "w") as answers:
        for line in sys.stdin:
            answers.write(json.dumps(campaign(json.loads(line))) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
