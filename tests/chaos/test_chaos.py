"""Thousands of sends through a service that fails in every way, by tasks that are killed at every point.

No customer gets a message twice, whatever the service does; and whoever got none is named. Environment variables:
``WTS_CHAOS_SENDS`` (default 300), a tenth of which :mod:`test_stale_tries` sends; ``WTS_CHAOS_SEED`` (default: a random
one, printed).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from airflow_version import AIRFLOW_VERSION

from airflow_provider_wts.api.addresses import readable
from airflow_provider_wts.emulator import clock
from airflow_provider_wts.emulator.clock import Clock
from airflow_provider_wts.emulator.running import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

SENDS = int(os.environ.get("WTS_CHAOS_SENDS", "300"))
SENDS -= max(30, SENDS // 10)
SEED = int(os.environ.get("WTS_CHAOS_SEED") or random.SystemRandom().randrange(10**6))

# Tasks spend their time with waiting, and the last ones of a round keep it from ending: so several at once.
STAGES = 3
SENDS_OF_A_ROUND = 125
LANES = 40
CLOCKS = Lock()
# Long enough for a busy machine: a service that is later than the grace may deceive anybody.
TIMEOUT = 1.5
GRACE = 4.0
#: A request may take effect so long after it came, which is after its client has given up, and within the grace.
LATE = 2.0
QUEUE = 0.1

HAS_STATE_STORE = AIRFLOW_VERSION >= (3, 3)

# What the API leaves open, as far as a search for a send may depend on it.
UNFRIENDLY: dict[str, tuple[Any, ...]] = {
    "session_metadata": ("merge", "replace"),
    "metadata_in_session_list": (True, False),
    "metadata_needs_details": (False, True),
    "details_not_asked": ("absent", "null", "always"),
    "null_objects": (False, True),
    "omit_nulls": (False, True),
    "extra_properties": (False, True),
    "sender_id_in_messages": (True, False),
    "messages_touch_session": (True, False),
    "session_change_date": ("moves", "stays"),
    "unasked_statuses": ("all", "visible"),
    "ninth_digit": ("exact", "either"),
    "date_bounds": ("inclusive", "exclusive"),
    "opened_session_status": ("STARTED", "PENDING", "IN_PROGRESS"),
    "bot_id_after_run": ("cleared", "kept"),
    "not_found_status": (500, 404),
    "timestamp_digits": ("varied", "0", "3", "7"),
    "order_direction_spelling": ("contract", "short"),
}

# What may happen to a send. A refusal after the effect is left out: no client could tell such a lie from the truth.
OF_SENDS: list[dict[str, Any]] = [
    *({"kind": kind, "when": when} for kind in ("reset", "close", "hang", "garbage") for when in ("before", "after")),
    *(
        {"kind": "status", "when": when, "status": status, "envelope": envelope}
        for when in ("before", "after")
        for status, envelope in ((500, "technical"), (502, "html"), (503, "none"), (504, "problem"), (408, "none"))
    ),
    *({"kind": kind, "when": "after"} for kind in ("empty", "truncated", "not_json", "bad_content_length")),
    *({"kind": kind, "when": "before"} for kind in ("empty", "truncated", "not_json", "bad_content_length")),
    *({"kind": kind, "when": "after", "seconds": 0.02} for kind in ("drip_headers", "drip_body")),
    {"kind": "close_after", "when": "after"},
    {"kind": "redirect", "when": "before"},
    {"kind": "status", "status": 429, "envelope": "none"},
    {"kind": "status", "status": 429, "envelope": "technical", "retry_after": "1"},
    {"kind": "status", "status": 500, "envelope": "business"},
    {"kind": "status", "status": 400, "envelope": "problem"},
    {"kind": "status", "status": 401, "envelope": "technical", "key": "ERROR_UNAUTHORIZED"},
]
SEND_OPERATIONS = ("send_chatbot", "send_text", "send_template", "send_message")

# What may happen to the calls by which a send is searched for.
OF_READS: list[dict[str, Any]] = [
    {"kind": "reset"},
    {"kind": "hang", "seconds": 0.2},
    {"kind": "truncated", "when": "after"},
    {"kind": "status", "status": 503, "envelope": "html"},
    {"kind": "status", "status": 429, "envelope": "none"},
]
REFUSALS_OF_READS: list[dict[str, Any]] = [
    {"kind": "status", "status": 500, "envelope": "business", "key": "ENTITY_ERROR"},
    {"kind": "status", "status": 400, "envelope": "problem"},
    {"kind": "not_json", "when": "after"},
]
READ_OPERATIONS = ("list_sessions", "get_session", "get_contact_by_phone", "list_messages")


class Campaign:
    """The process that plays Airflow."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("campaign.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def play(self, **settings: Any) -> list[dict[str, Any]]:
        """Do a round, and return what came of each task."""
        self._process.stdin.write(json.dumps(settings) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "The process that plays Airflow died."
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)


class Stage:
    """A service, and a process that plays Airflow against it."""

    def __init__(self) -> None:
        self.emulator = Emulator()
        self.campaign = Campaign()

    def __enter__(self) -> Stage:
        self.emulator.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.campaign.close()
        self.emulator.__exit__(None, None, None)


def begin(emulator: Emulator, chance: random.Random, tasks: list[dict[str, Any]]) -> None:
    """Begin anew with an account that has a past: some recipients are known, some have an open conversation."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    with CLOCKS:
        original, clock.Clock = clock.Clock, partial(Clock, start=yesterday)
        try:
            emulator.reset()
        finally:
            clock.Clock = original
    emulator.switches.change({"rate_limits": False, "queue_seconds": QUEUE, "recorded_requests": 100_000})
    emulator.behave("*", replies=[])
    for task in tasks:
        past = chance.choice(("stranger", "contact", "conversation", "other spelling"))
        spelled = task["to"].replace("|119", "|11") if past == "other spelling" else task["to"]
        if past == "contact":
            with emulator.state.lock:
                emulator.state.add_contact({"phoneNumber": task["to"], "name": "Cliente"})
        elif past != "stranger" and (past == "conversation" or emulator.switches.ninth_digit == "either"):
            emulator.contact_writes(spelled, "Bom dia", "+55|1140028922")
            with emulator.state.lock:
                session = emulator.state.sessions.by_creation()[-1]
                session["metadata"] = chance.choice(({}, {"etapa": "inicio"}))
    emulator.advance(max(0.0, (datetime.now(UTC) - emulator.clock.datetime()).total_seconds()))


def break_things(emulator: Emulator, chance: random.Random, *, sends: float, reads: float, refusals: bool) -> None:
    """Set faults, and answers that come late."""
    for operations, faults, probability in (
        (SEND_OPERATIONS, OF_SENDS, sends),
        (READ_OPERATIONS, OF_READS + (REFUSALS_OF_READS if refusals else []), reads),
    ):
        for operation_id in operations:
            for fault in faults:
                drawn = {**fault, "probability": probability / len(faults), "seed": chance.randrange(10**9)}
                emulator.faults.add(operation_id=operation_id, times=None, **drawn)
            late = {"probability": probability / 5, "seed": chance.randrange(10**9)}
            emulator.faults.add("latency", seconds=LATE, operation_id=operation_id, times=None, **late)


def tasks_of_a_round(chance: random.Random, number: int, *, kinds: tuple[str, ...]) -> list[dict[str, Any]]:
    """Draw tasks; some recipients are written to by two of them at the same time."""
    tasks: list[dict[str, Any]] = []
    while len(tasks) < number:
        to = f"+55|119{chance.randrange(6 * 10**7, 10**8)}"
        # Of two sends without a mark nobody could say later which of them it was.
        twins = 2 if "unmarked" not in kinds and len(tasks) < number - 1 and chance.random() < 0.15 else 1
        for twin in range(twins):
            kind = chance.choice(kinds)
            task = {"id": len(tasks), "task_id": f"send{twin}", "to": to, "kind": kind, "retries": chance.randrange(4)}
            tasks.append(task)
    return tasks


def counted(emulator: Emulator) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Return how often each send reached somebody, by its key; what each recipient got; and the faults that hit."""
    by_key: Counter[str] = Counter()
    by_recipient: Counter[str] = Counter()
    for delivery in emulator.deliveries:
        if not delivery.by_bot:
            by_key[delivery.sender_id or "unmarked"] += 1
            by_recipient[delivery.to.replace("|119", "|11")] += 1
    faults = Counter(request.fault for request in emulator.requests if request.fault)
    return by_key, by_recipient, faults


def history(emulator: Emulator, key: str) -> Iterator[str]:
    """Tell what a service did with a send; one that is later than the grace, on a busy machine, deceives anybody."""
    for request in emulator.requests:
        if key.encode() in request.raw_body:
            effect = "took effect" if request.took_effect else "no effect"
            yield f"{request.at} {request.operation_id}, {request.fault or 'no fault'}, {request.status}, {effect}"
    yield from (f"{delivery.at} delivered" for delivery in emulator.deliveries if delivery.sender_id == key)


class Outcome(NamedTuple):
    """What came of a round."""

    summary: Counter[str]
    faults: Counter[str]
    problems: list[str]


def play(stage: Stage, promise: str, number: int, sends: int, folder: Path) -> Outcome:
    """Do a round: new customers, new switches, new faults."""
    emulator, friendly = stage.emulator, promise == "exactly once"
    chance = random.Random(f"{SEED}:{promise}:{number}")
    switches = {} if friendly else {name: chance.choice(values) for name, values in UNFRIENDLY.items()}
    emulator.switches.change(switches)
    kinds = ("chatbot", "text", "template") if friendly or chance.random() < 0.6 else ("text", "unmarked")
    tasks = tasks_of_a_round(chance, sends, kinds=kinds)
    begin(emulator, chance, tasks)
    emulator.switches.change(switches)
    break_things(emulator, chance, sends=chance.choice((0.15, 0.4)), reads=0.04, refusals=not friendly)
    ledgers = ["none", "files", "store"] if HAS_STATE_STORE else ["none", "files"]
    ledger = ledgers[number % len(ledgers)]
    bot = next(bot for bot in emulator.state.chatbots.by_creation() if bot["name"] == "Cobrança")
    template = next(one for one in emulator.state.templates.by_creation() if one["name"] == "saudacao")
    results = stage.campaign.play(
        url=emulator.url,
        token=emulator.token,
        seed=f"{SEED}:{promise}:{number}",
        run_id=f"{'friendly' if friendly else 'any'}-{number}",
        tasks=tasks,
        ledger=ledger,
        folder=str(folder),
        lanes=LANES,
        timeout=TIMEOUT,
        grace=GRACE,
        kill=0.35,
        on_unknown="resend" if friendly else "fail",
        bot_key=bot["key"],
        channel="+55|1140028922",
        template_id=template.id,
    )
    # What still hangs at the service may take effect.
    time.sleep(LATE + QUEUE + 0.3)
    by_key, by_recipient, faults = counted(emulator)
    where = f"round {number}, ledger {ledger}, {switches}"
    problems = [f"{where}: {text}" for text in judged(results, by_key, by_recipient, ledger, friendly)]
    problems += [f"{key}: {when}" for key in by_key if by_key[key] > 1 for when in history(emulator, key)]
    return Outcome(Counter(tally(results, by_key)), faults, problems)


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("promise", ["never twice", "exactly once"])
def test_every_customer_is_messaged_once_or_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], promise: str
) -> None:
    total = SENDS // 4 if promise == "exactly once" else SENDS - SENDS // 4
    # Every kind of ledger gets a round.
    size = min(SENDS_OF_A_ROUND, -(-total // 3))
    rounds = [min(size, total - begun) for begun in range(0, total, size)]
    summary: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    problems: list[str] = []
    stages: SimpleQueue[Stage] = SimpleQueue()
    started = time.monotonic()

    def on_a_free_stage(number: int) -> Outcome:
        stage = stages.get()
        try:
            return play(stage, promise, number, rounds[number], tmp_path)
        finally:
            stages.put(stage)

    # Threads after processes: a fork must not copy a lock that is held.
    with contextlib.ExitStack() as everything:
        for stage in [Stage() for _ in range(STAGES)]:
            stages.put(everything.enter_context(stage))
        pool = everything.enter_context(ThreadPoolExecutor(STAGES))
        for outcome in pool.map(on_a_free_stage, range(len(rounds))):
            summary += outcome.summary
            faults += outcome.faults
            problems += outcome.problems
    summary["faults"] = faults.total()
    seconds = time.monotonic() - started
    words = ", ".join(f"{summary[name]} {name}" for name in sorted(summary))
    with capsys.disabled():
        sys.stdout.write(f"\n{promise}: seed {SEED}, {words}, {seconds:.0f} s; faults {dict(faults)}\n")
        # At once: a run of an hour may be ended before pytest reports.
        sys.stdout.writelines(f"{problem}\n" for problem in problems[:20])
    assert not problems, f"seed {SEED}\n" + "\n".join(problems[:20])
    assert summary["sends"] == total
    if total > 500:
        # In a few, chance may leave one out.
        assert summary["kills"] > total / 20
        assert summary["given up but running"] > total / 50
        assert summary["faults"] > total / 20


def judged(
    results: list[dict[str, Any]],
    by_key: Counter[str],
    by_recipient: Counter[str],
    ledger: str,
    friendly: bool,
) -> Iterator[str]:
    """Say what is wrong with a round."""
    allowed: Counter[str] = Counter()
    for result in results:
        task, keys = result["task"], result["keys"]
        recipient = task["to"].replace("|119", "|11")
        allowed[recipient] += max(len(keys), 1)
        if task["kind"] == "unmarked":
            # Without a mark messages cannot be told apart; each key before the last was finished, so it reached one.
            got = min(1, max(0, by_recipient[recipient] - (max(len(keys), 1) - 1)))
        else:
            got = by_key[keys[-1]] if keys else 0
            yield from (f"received {by_key[key]} times: {result}" for key in keys if by_key[key] > 1)
        yield from result["unexpected"]
        if ledger == "none" and len(keys) > 1:
            yield f"several keys: {result}"
        if (wrong := untrue(result, got)) or (friendly and (result["last"] != "sent" or got != 1)):
            yield f"{wrong or 'not exactly once'}; received {got} times: {result}"
    for recipient, number in by_recipient.items():
        if number > allowed[recipient]:
            yield f"{recipient} got {number} messages of {allowed[recipient]} at the most"


def untrue(result: dict[str, Any], got: int) -> str | None:
    """Say what is wrong with the end of a task, given how often its customer got its message."""
    last, named = result["last"], readable(result["task"]["to"]) in result["words"]
    if got:
        return "said not to be sent" if last in ("not_sent", "refused") and not named else None
    if last == "sent":
        return "said to be sent"
    if last == "unknown" and not named:
        return "undecided, and the recipient is not named"
    return None if last in ("unknown", "not_sent", "refused") else "no word about a customer who got nothing"


def tally(results: list[dict[str, Any]], by_key: Counter[str]) -> Iterator[str]:
    """Name what happened, each as often as it did."""
    for result in results:
        yield "sends"
        yield from ["tries"] * result["tries"]
        yield from ["kills"] * result["kills"]
        yield from ["given up but running"] * result["ghosts"]
        yield from ["clears"] * result["clears"]
        yield from ["doubles"] * sum(by_key[key] > 1 for key in result["keys"])
        yield from ["sent anew after a clear"] * (len(result["keys"]) - 1)
        yield f"ended as {result['last']}"
