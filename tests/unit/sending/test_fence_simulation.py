"""Tries of one task in every order: the real fence, ledger and send, in a world whose time, store and API are steps.

A try is a thread, and only one runs at a time. Each operation on the store, each part of a request, each search and
each wait is a step at which a schedule may stop one try and let another one go on. A try that is stopped is a process
that is paused, for as long as the others take. Nothing happens between the check and the first byte of a request: a
process that is stopped right there cannot be stopped by anybody else.
"""

from __future__ import annotations

import itertools
import json
import logging
import random
import threading
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from airflow_provider_wts.api.addresses import readable
from airflow_provider_wts.api.errors import WtsError, WtsUnknownOutcomeError
from airflow_provider_wts.sending import clock, ledger, reconcile
from airflow_provider_wts.sending.once import Once
from airflow_provider_wts.sending.reconcile import Finding, SearchResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

RECIPIENT = "+55|11999998888"
LAG = 120.0


class Killed(BaseException):
    """The end of a process."""


class Scenario(NamedTuple):
    """What happens apart from the order.

    :param files: whether the ledger is in files, which answer a given-up try, too.
    :param answers: for each request in turn: ``ok``; ``lost``, with its effect; ``none``, without; ``late``: the
        effect comes only after a while, and no answer.
    :param clears: the tries before which a person clears the task.
    :param failing: operations on the store that fail, by number; whether they still take effect.
    :param killed: steps at which the try that runs is killed.
    :param naps: steps at which the machine sleeps, and for how long.
    """

    files: bool = False
    answers: tuple[str, ...] = ()
    clears: frozenset[int] = frozenset()
    failing: Mapping[int, bool] = {}
    killed: frozenset[int] = frozenset()
    naps: Mapping[int, float] = {}


class World:
    """One run of some tries.

    :param scenario: what happens apart from the order.
    :param switches: which try goes on at which step.
    """

    def __init__(self, scenario: Scenario, switches: Mapping[int, int], tries: int) -> None:
        self.scenario = scenario
        self.switches = switches
        self.now = 1000.0
        self.steps = 0
        self.operations = 0
        self.requests = 0
        self.pages: dict[str, str] = {}
        # The key of each message, and when it shows.
        self.effects: list[tuple[str, float]] = []
        self.ends: list[Any] = [None] * (tries + 1)
        self.turn = [threading.Semaphore(0) for _ in self.ends]
        self.started = [False] * (tries + 1)
        self.done = [False] * (tries + 1)
        self.over = threading.Semaphore(0)
        self.current = 0
        self.tries = tries
        self.trace: list[str] = []

    # Steps -----------------------------------------------------------------------------------------------------------

    def step(self, what: str, seconds: float = 0.01) -> None:
        number, mine = self.steps, self.current
        self.steps += 1
        self.now += seconds + self.scenario.naps.get(number, 0.0)
        self.trace.append(f"{number}: try {mine + 1} {what}")
        if number in self.scenario.killed and mine < self.tries:
            raise Killed
        target = self.switches.get(number)
        if target is not None and target != mine and target < self.tries and not self.done[target]:
            self.go_on(target)
            self.turn[mine].acquire()
            self.current = mine

    def go_on(self, target: int) -> None:
        if self.started[target]:
            self.turn[target].release()
            return
        self.started[target] = True
        self.current = target
        threading.Thread(target=self.run_try, args=(target,), daemon=True).start()

    def run_try(self, number: int) -> None:
        self.current = number
        try:
            self.ends[number] = self.send(number)
        except BaseException as error:
            self.ends[number] = error
        self.done[number] = True
        # The last try comes when all others have ended: it finds out what is known in the end.
        left = [one for one in range(self.tries) if not self.done[one]]
        if left:
            self.go_on(min(left, key=lambda one: (not self.started[one], one)))
        elif number < self.tries:
            self.go_on(self.tries)
        else:
            self.over.release()

    def play(self) -> World:
        self.go_on(0)
        assert self.over.acquire(timeout=120), "The simulation hangs."
        return self

    # What a try sees -------------------------------------------------------------------------------------------------

    def send(self, number: int) -> Any:
        cleared = max((one for one in self.scenario.clears if one <= number), default=0)
        instance = SimpleNamespace(
            dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=number + 1, max_tries=cleared
        )
        context = {"ti": instance, "dag_run": None, "task_state_store": Accessor(self, number)}
        sends = Once(self, context)  # type: ignore[arg-type]
        return sends.send(RECIPIENT, lambda mark: Request(mark.key), self)  # type: ignore[arg-type, return-value]

    wts_conn_id = "wts_default"
    client = SimpleNamespace(
        timeout_of=lambda call: 60.0, longest_timeout=85.0, timeout=60.0, now=partial(datetime.now, UTC)
    )

    def run(self, call: Any, before_write: Callable[[], None]) -> Any:
        self.step("waits for its turn")
        before_write()
        answers = self.scenario.answers
        answer = answers[self.requests] if self.requests < len(answers) else "ok"
        self.requests += 1
        if answer != "none":
            # The client gives up after its timeout; the effect may come as late as the lag.
            self.effects.append((call.key, self.now + (LAG - 1 if answer == "late" else 0.0)))
        self.step("gets its answer")
        if answer != "ok":
            raise WtsUnknownOutcomeError("no answer", operation_id="send_text")
        return {"id": call.key}

    def search(self, hook: Any, mark: Any, since: Any) -> SearchResult:
        shown = (mark.key, self.now)
        found = any(key == shown[0] and at <= shown[1] for key, at in self.effects)
        self.step("searches")
        return SearchResult(Finding.FOUND, {"id": mark.key}) if found else SearchResult(Finding.ABSENT)

    # What must hold --------------------------------------------------------------------------------------------------

    def problem(self) -> str | None:
        """Say what is wrong, if anything."""
        for end in self.ends:
            if isinstance(end, BaseException) and not isinstance(end, (WtsError, Killed)):
                return f"an error that nobody expects: {end!r}"
        counts = Counter(key for key, _ in self.effects)
        if any(count > 1 for count in counts.values()):
            return "a message came twice"
        if len(counts) > 1 + len(self.scenario.clears):
            return "a message came again without a clear"
        last = self.ends[-1]
        if isinstance(last, BaseException):
            return None if readable(RECIPIENT) in str(last) else f"lost, and not named: {last!r}"
        return None if counts else "lost, and nobody knows"


class Request(NamedTuple):
    """A request, as far as a send looks at it."""

    key: str
    content: bytes = b""
    operation_id: str = "send_text"


class Accessor:
    """The store as one try sees it. Airflow's knows a try no more once the next one has begun."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number = world, number

    def begin(self, what: str) -> bool:
        world = self.world
        world.step(what)
        world.operations += 1
        return world.operations in world.scenario.failing and self.number < world.tries

    @property
    def is_stale(self) -> bool:
        return not self.world.scenario.files and any(self.world.started[self.number + 1 :])

    def get(self, key: str, default: Any = None) -> Any:
        if self.begin(f"reads {key}"):
            raise OSError("the store is away")
        page = None if self.is_stale else self.world.pages.get(key)
        # What was read may be old before it is used.
        self.world.step(f"has read {key}", 0.0)
        return default if page is None else json.loads(page)

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        fails = self.begin(f"writes {key}")
        if self.is_stale:
            raise RuntimeError("404: Task instance not found")
        if not fails or self.world.scenario.failing[self.world.operations]:
            self.world.pages[key] = json.dumps(value)
        if fails:
            raise OSError("the store is away")


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[World]]:
    """The world of the run: its first element."""
    now: list[World] = []

    def sleep(seconds: float) -> None:
        until = now[0].now + seconds
        now[0].step(f"waits {seconds:.1f} s", 0.0)
        now[0].now = max(now[0].now, until)

    monkeypatch.setattr(clock, "now", lambda: (now[0].now, now[0].now))
    monkeypatch.setattr(clock, "sleep", sleep)
    monkeypatch.setattr(ledger, "LEASE", 1.0)
    monkeypatch.setattr(ledger, "store_of", lambda context, task: context["task_state_store"])
    monkeypatch.setattr(reconcile, "_FIRST_INTERVAL", 1000.0)
    monkeypatch.setattr(reconcile, "_LONGEST_INTERVAL", 1000.0)
    monkeypatch.setattr(reconcile, "effect_lag", lambda timeout: max(timeout, LAG))
    logging.disable(logging.CRITICAL)
    yield now
    logging.disable(logging.NOTSET)


def simulate(world: list[World], scenario: Scenario, switches: Mapping[int, int], tries: int) -> World:
    made = World(scenario, switches, tries)
    world[:] = [made]
    return made.play()


def explored(
    world: list[World], scenario: Scenario, preemptions: int, switches: tuple[tuple[int, int], ...] = ()
) -> Iterator[World]:
    """Run two tries in all orders with so many preemptions at most."""
    ended = simulate(world, scenario, dict(switches), 2)
    yield ended
    if len(switches) == preemptions:
        return
    first = switches[-1][0] + 1 if switches else 0
    for number in range(first, ended.steps):
        # The one that runs there is stopped, and the other one goes on.
        if f": try {ended.tries + 1} " in ended.trace[number]:
            break
        other = 1 if ": try 1 " in ended.trace[number] else 0
        yield from explored(world, scenario, preemptions, (*switches, (number, other)))


ANSWERS = [("ok", "ok"), ("lost", "ok"), ("none", "ok"), ("late", "ok")]


@pytest.mark.parametrize("answers", ANSWERS, ids=lambda answers: answers[0])
@pytest.mark.parametrize("files", [False, True], ids=["store", "files"])
def test_two_tries_in_all_orders_with_up_to_three_preemptions(
    world: list[World], files: bool, answers: tuple[str, ...]
) -> None:
    runs = 0
    for run in explored(world, Scenario(files=files, answers=answers), 3):
        runs += 1
        assert run.problem() is None, (run.problem(), run.switches, run.trace, run.ends)
    assert runs > 500


def at_random(seed: int) -> tuple[Scenario, dict[int, int]]:
    chance = random.Random(seed)
    steps = range(70)

    def some(most: int) -> list[int]:
        return sorted(chance.sample(steps, chance.randint(0, most)))

    scenario = Scenario(
        files=chance.random() < 0.5,
        answers=tuple(chance.choice(("ok", "lost", "none", "late")) for _ in range(4)),
        clears=frozenset(chance.sample((1, 2), chance.choice((0, 0, 1)))),
        failing={number: chance.random() < 0.5 for number in some(2)},
        killed=frozenset(some(1)),
        naps={number: chance.choice((0.5, 5.0, 500.0)) for number in some(2)},
    )
    return scenario, {number: chance.randrange(3) for number in some(6)}


@pytest.mark.parametrize("part", range(10))
def test_three_tries_at_random(world: list[World], part: int) -> None:
    for seed in range(part * 1000, (part + 1) * 1000):
        run = simulate(world, *at_random(seed), 3)
        assert run.problem() is None, (seed, run.problem(), run.scenario, run.switches, run.trace, run.ends)


FOUND_ONCE = {
    "a first try that read the store before a later one wrote, and wrote after it had sent": (
        Scenario(files=True, clears=frozenset({2})),
        {1: 2},
    ),
    "a try that writes the ledger after its successor has begun a new one and finished": (
        Scenario(files=True, answers=("none", "lost"), clears=frozenset({2})),
        {10: 0, 13: 0, 29: 2, 42: 0, 54: 0},
    ),
    "the same, where the successor was cleared and sends at once": (
        Scenario(files=True, clears=frozenset({1})),
        {22: 2, 38: 0},
    ),
    "the same, where the effect of the successor comes late": (
        Scenario(files=True, answers=("late", "lost", "late", "late"), clears=frozenset({2}), naps={28: 500.0}),
        {25: 2, 46: 2, 60: 2},
    ),
}


@pytest.mark.parametrize(("scenario", "switches"), FOUND_ONCE.values(), ids=FOUND_ONCE)
def test_an_order_that_once_sent_twice(world: list[World], scenario: Scenario, switches: Mapping[int, int]) -> None:
    run = simulate(world, scenario, switches, 3)
    assert run.problem() is None, (run.problem(), run.trace, run.ends)


def is_found(world: list[World], scenarios: list[Scenario]) -> bool:
    runs = itertools.chain.from_iterable(explored(world, scenario, 2) for scenario in scenarios)
    # A second or less.
    return any(run.problem() == "a message came twice" for run in itertools.islice(runs, 1000))


@pytest.mark.parametrize("mutant", ["fence", "lease", "grace", "writer"])
def test_the_simulation_finds_what_is_missing(world: list[World], monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    if mutant == "fence":
        monkeypatch.setattr(ledger.Fence, "check", lambda self: None)
    elif mutant == "lease":
        real = clock.sleep
        monkeypatch.setattr(clock, "sleep", lambda seconds: None if seconds < 2 else real(seconds))
    elif mutant == "writer":
        monkeypatch.setattr(ledger.Ledger, "_is_overwritten", lambda self, header, before: False)
    else:
        monkeypatch.setattr(reconcile, "effect_lag", lambda timeout: 0.0)
    cleared = Scenario(files=True, clears=frozenset({1}))
    assert is_found(world, [Scenario(files=True), Scenario(files=True, answers=("late", "ok")), cleared])
