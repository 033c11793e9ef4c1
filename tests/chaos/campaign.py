"""Plays Airflow for the chaos test: tasks that send, each try in a process of its own, some of them killed.

Reads one round of tasks as a line of JSON from stdin, and answers with a line of JSON on stdout. A round is worked on
by several lanes at once; a lane is a forked process that forks every try. So a try can be killed with SIGKILL at any
moment, as Airflow's processes are, or be given up while it still runs, and a campaign of thousands of sends takes
minutes.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import random
import select
import signal
import sys
import threading
import time
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

# Before the forks: a try must not spend its time on imports.
from airflow.providers.common.compat.sdk import ObjectStoragePath, conf  # noqa: F401

from airflow_provider_wts.api import chatbots, messages, sends
from airflow_provider_wts.api.client import WtsClient
from airflow_provider_wts.api.contract import operations
from airflow_provider_wts.api.errors import WtsNotSentError, WtsRejectedError, WtsUnknownOutcomeError
from airflow_provider_wts.hooks.errors import is_final
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.sending import ledger, reconcile
from airflow_provider_wts.sending.once import Once
from airflow_provider_wts.sending.reconcile import InSession

#: A person clears a failed task at most so often.
MOST_CLEARS = 25

#: How much faster the pauses between two attempts of a read are here.
HURRY = 100

KILL_POINTS = (
    "start",
    "holder:before",
    "holder:after",
    "intent:before",
    "intent:torn",
    "intent:after",
    "call:before",
    "call:meanwhile",
    "call:after",
    "receipt:before",
    "receipt:torn",
    "receipt:after",
    "sometime",
)


class Death:
    """Where a try is killed, if it is.

    :param point: one of :data:`KILL_POINTS`, or nothing.
    :param seconds: for the two that are no points: when.
    """

    def __init__(self, point: str | None, seconds: float) -> None:
        self._point = point
        self._seconds = seconds
        if point == "sometime":
            self._later()

    def at(self, point: str) -> None:
        """Arrive at a point."""
        if point == self._point == "call:meanwhile":
            self._later()
        elif point == self._point:
            os.kill(os.getpid(), signal.SIGKILL)

    def _later(self) -> None:
        def strike() -> None:
            time.sleep(self._seconds)
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=strike, daemon=True).start()


class Disk:
    """Stands for Airflow's task state store: survives tries and clears, may fail, and may be killed in the middle.

    :param path: the file, to whose name that of what it holds is added.
    :param death: where the try is killed.
    :param fails: ``before`` = the first write fails, ``after`` = it is done and fails all the same, or nothing.
    """

    def __init__(self, path: Path, death: Death, fails: str | None) -> None:
        self._path = path
        self._death = death
        self._fails = fails

    def get(self, key: str, default: Any = None) -> Any:
        try:
            return json.loads(self._file(key).read_text())
        except FileNotFoundError:
            return default

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        step = "holder"
        if key == ledger.HEADER:
            step = "receipt" if any("receipt" in entry for entry in value["sends"].values()) else "intent"
        self._death.at(f"{step}:before")
        fails, self._fails = self._fails, None
        if fails == "before":
            raise OSError("the database is away")
        file = self._file(key)
        fresh = file.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(value))
        self._death.at(f"{step}:torn")
        fresh.replace(file)
        self._death.at(f"{step}:after")
        if fails == "after":
            raise OSError("the database is away")

    def _file(self, key: str) -> Path:
        return self._path.with_name(f"{self._path.name}-{key}.json")


class Hook(WtsHook):
    """A hook without an Airflow connection, whose sends can be killed.

    :param client: the client.
    :param death: where the try is killed.
    :param tell: is told the key of what goes out.
    """

    def __init__(self, client: WtsClient, death: Death, tell: Any) -> None:
        super().__init__()
        self.__dict__["client"] = client
        self._death = death
        self._tell = tell
        self.key = ""

    def run(self, call: Any, **settings: Any) -> Any:
        if call.repeatable:
            return super().run(call, **settings)
        self._tell({"key": self.key})
        self._death.at("call:before")
        self._death.at("call:meanwhile")
        answer = super().run(call, **settings)
        self._death.at("call:after")
        return answer


class Stall:
    """A budget for which a send waits, and nothing else.

    :param seconds: how long.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def acquire(self, operation: Any, **limits: Any) -> float:
        if operation.effect == "once":
            time.sleep(self._seconds)
        return self._seconds


def attempt(settings: dict[str, Any], task: dict[str, Any], state: dict[str, Any], tell: Any) -> None:
    """Do one try of a task, and tell what came of it."""
    death = Death(state["kill"], state["kill_after"])
    death.at("start")
    client = WtsClient(
        settings["token"],
        base_url="http://127.0.0.1:9" if state["unreachable"] else settings["url"],
        timeout=settings["timeout"],
        budget=Stall(state["stall"]),  # type: ignore[arg-type]
        rate_limit_wait=0.0,
        sleep=lambda seconds: time.sleep(seconds / HURRY),
    )
    context: dict[str, Any] = {
        "ti": type(
            "TaskInstance",
            (),
            {
                "dag_id": "campaign",
                "run_id": settings["run_id"],
                "task_id": task["task_id"],
                "map_index": task["id"],
                "try_number": state["try_number"],
                "max_tries": state["max_tries"],
            },
        )(),
        "dag_run": type("DagRun", (), {"run_after": datetime.fromisoformat(settings["run_after"])})(),
    }
    if settings["ledger"] == "store":
        path = Path(settings["folder"], f"{settings['run_id']}-{task['task_id']}-{task['id']}")
        context["task_state_store"] = Disk(path, death, state["store_fails"])
    elif settings["ledger"] == "files":
        os.environ["AIRFLOW__WTS__LEDGER_PATH"] = settings["folder"]
    to = task["to"]
    hook = Hook(client, death, tell)

    def build(mark: Any) -> Any:
        hook.key = mark.key
        tell({"ready": True})
        kind, text = task["kind"], f"Olá, agora são {time.time_ns()}"
        if kind == "chatbot":
            return chatbots.send_chatbot(
                bot_key=settings["bot_key"], to=to, session_metadata=mark.metadata({"n": 1}), sender_id=mark.key
            )
        if kind == "text":
            return sends.send_text(text, to=to, sender_id=mark.key)
        if kind == "template":
            return sends.send_template(
                to,
                settings["channel"],
                settings["template_id"],
                parameters={"nome": text},
                session_metadata=mark.metadata(),
                sender_id=mark.key,
            )
        return messages.send_message(to, text=text)

    traces = {
        "chatbot": InSession(recipient=to, by_metadata=True),
        "text": InSession(recipient=to, by_sender=True),
        "template": InSession(recipient=to, by_metadata=True, by_sender=True),
    }
    try:
        reconcile.effect_lag = lambda timeout: settings["grace"]
        once = Once(hook, context, on_unknown=settings["on_unknown"])
        once.send(to, build, traces.get(task["kind"]))
    except Exception as error:
        known = {WtsUnknownOutcomeError: "unknown", WtsNotSentError: "not_sent", WtsRejectedError: "refused"}
        outcome = next((name for kind, name in known.items() if isinstance(error, kind)), "error")
        words = " ".join([str(error), *getattr(error, "__notes__", ())])
        tell({"outcome": outcome, "words": words, "kind": type(error).__name__, "final": is_final(error)})
        if outcome == "error" and "ledger" not in words and "has taken over" not in words:
            tell({"traceback": traceback.format_exc()})
    else:
        tell({"outcome": "sent"})


class Try:
    """One try of a task, in a process of its own.

    :param settings: those of the round.
    :param task: the task.
    :param state: what happens to this try.
    """

    def __init__(self, settings: dict[str, Any], task: dict[str, Any], state: dict[str, Any]) -> None:
        self._reading, writing = os.pipe()
        self._told = b""
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._reading)
            with contextlib.suppress(BaseException):
                attempt(settings, task, state, lambda told: os.write(writing, json.dumps(told).encode() + b"\n"))
            os._exit(0)
        os.close(writing)

    def outlasts(self, seconds: float) -> bool:
        """Whether it still runs so long after it knew what to send."""
        while b"\n" not in self._told:
            if not self._listen():
                return False
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([self._reading], [], [], left)[0] and not self._listen():
                return False
        return True

    def end(self) -> dict[str, Any]:
        """Wait for its end, and return what is known of it afterwards."""
        while self._listen():
            pass
        os.close(self._reading)
        _, status = os.waitpid(self._pid, 0)
        result: dict[str, Any] = {
            "outcome": "killed" if os.WIFSIGNALED(status) else "vanished",
            "final": False,
            "words": "",
        }
        for line in self._told.splitlines():
            result.update(json.loads(line))
        if os.WIFSIGNALED(status):
            # Whatever it was about to say, Airflow has seen a process die.
            result["outcome"], result["final"] = "killed", False
        return result

    def _listen(self) -> bool:
        told = os.read(self._reading, 65536)
        self._told += told
        return bool(told)


class Play:
    """Tries a task as Airflow and its users do, until it is done or given up.

    :param settings: those of the round.
    :param task: the task.
    """

    def __init__(self, settings: dict[str, Any], task: dict[str, Any]) -> None:
        self._settings = settings
        self._task = task
        self._chance = random.Random(f"{settings['seed']}:{task['task_id']}:{task['id']}")
        self._clears = self._try_number = 0
        self._max_tries = self._retries = task["retries"]
        self._ghosts: list[Try] = []
        self._result: dict[str, Any] = {"task": task, "keys": [], "kills": 0, "unexpected": []}

    def run(self) -> dict[str, Any]:
        """Return what came of it."""
        while True:
            last = self._try()
            self._result["last"], self._result["words"] = last["outcome"], last["words"]
            if not self._goes_on(last):
                break
        for ghost in self._ghosts:
            self._take_in(ghost.end(), late=True)
        counts = {"tries": self._try_number, "clears": self._clears, "ghosts": len(self._ghosts)}
        return {**self._result, **counts}

    def _try(self) -> dict[str, Any]:
        self._try_number += 1
        settings, chance = self._settings, self._chance
        calm = self._clears > MOST_CLEARS - 3
        # Without a ledger, nothing can stop a try that Airflow gave up.
        given_up = settings["ledger"] != "none" and not calm and chance.random() < 0.08
        stalls = (0.5, 1.0, settings["grace"] / 2, settings["grace"] + 1.0)
        state = {
            "try_number": self._try_number,
            "max_tries": self._max_tries,
            "kill": chance.choice(KILL_POINTS) if not calm and chance.random() < settings["kill"] else None,
            "kill_after": chance.random() * chance.choice((0.05, settings["timeout"], settings["grace"])),
            "store_fails": chance.choice(("before", "after")) if not calm and chance.random() < 0.04 else None,
            "unreachable": not calm and chance.random() < 0.03,
            "stall": chance.choice(stalls) if given_up else 0.0,
        }
        started = Try(settings, self._task, state)
        if given_up and started.outlasts(chance.choice((0.3, 0.8, 1.5))):
            self._ghosts.append(started)
            return {"outcome": "killed", "final": False, "words": ""}
        last = started.end()
        self._result["kills"] += last["outcome"] == "killed"
        self._take_in(last)
        return last

    def _take_in(self, seen: dict[str, Any], *, late: bool = False) -> None:
        keys = self._result["keys"]
        if seen.get("key") and seen["key"] not in keys:
            keys.insert(0 if late else len(keys), seen["key"])
        if "traceback" in seen or seen["outcome"] == "vanished":
            self._result["unexpected"].append(seen.get("traceback", "a try ended without a word"))

    def _goes_on(self, last: dict[str, Any]) -> bool:
        chance, may_retry = self._chance, self._try_number <= self._max_tries
        if last["outcome"] == "sent":
            draw = chance.random()
            if draw < 0.1 and may_retry:
                return True  # what came after the send failed, so Airflow tries the task again
            return draw < 0.15 and self._clear(self._retries)
        if may_retry and not last["final"]:
            return True
        # The task has failed. A process that died says nothing about its customer, so somebody looks again;
        # sometimes together with a new number of retries.
        must = self._settings["on_unknown"] == "resend" or last["outcome"] in ("killed", "error")
        return (must or chance.random() < 0.3) and self._clear(chance.choice((self._retries, 0, 2)))

    def _clear(self, retries: int) -> bool:
        if self._clears >= MOST_CLEARS:
            return False
        self._clears += 1
        self._retries = retries
        self._max_tries = self._try_number + retries
        return True


def lane(settings: dict[str, Any], tasks: list[dict[str, Any]], path: Path) -> None:
    """Do the tasks of a lane, one after the other."""
    path.write_text(json.dumps([Play(settings, task).run() for task in tasks]))


def round_of(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Do a round, in several lanes at once."""
    lanes = []
    for number in range(settings["lanes"]):
        path = Path(settings["folder"], f"{settings['run_id']}-lane-{number}.json")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                lane(settings, settings["tasks"][number :: settings["lanes"]], path)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        lanes.append((child, path))
    results: list[dict[str, Any]] = []
    for child, path in lanes:
        _, status = os.waitpid(child, 0)
        if status:
            raise RuntimeError("a lane broke")
        results += json.loads(path.read_text())
    return results


def main() -> None:
    logging.disable(logging.CRITICAL)
    # Tries follow one another faster here.
    ledger.LEASE = 0.05
    operations()
    # From here on a fork shares all that was read; nothing here has a thread that would be lost. A collection in a fork
    # would copy every page.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        settings = json.loads(line)
        settings.setdefault("run_after", (datetime.now(UTC) - timedelta(seconds=1)).isoformat())
        sys.stdout.write(json.dumps(round_of(settings)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
