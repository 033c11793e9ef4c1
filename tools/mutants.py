"""Change the code that keeps customers safe in one place at a time, and list the changes that no test notices.

``make mutants`` takes 400 of all possible changes, by a seed. For each of them it runs the tests that reach the changed
statement, the fastest first, until one fails, in a copy of the tree. Changes that no user could notice are in
``mutants_equivalent.txt``, each with its reason, and are skipped.

Which tests reach a statement is measured first. Each run of tests is a fork of this process, which has imported all
that they need except the package. A run that uses ten times the processor time of all tests is in a loop, which counts
as noticed. One that takes ten times as long without using it is counted separately: the machine may be slow.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import importlib
import json
import multiprocessing
import os
import random
import re
import resource
import runpy
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import suppress
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PACKAGE = "airflow_provider_wts/"
LEAST = 90.0
QUICK = 15
SENDS = ("operators/test_sending.py", "operators/test_both_readings.py", "hooks/test_metrics.py")
RUN = (*(f"campaigns/test_{name}.py" for name in ("run", "run_doubts", "unfinished", "stopped", "earlier")),)

#: The files that are changed, and the tests that must notice.
TESTS = {
    "api/addresses.py": ("api/test_addresses.py",),
    "api/outcome.py": ("api/test_outcome.py", "api/test_client.py", "api/test_personal_data.py"),
    "sending/ledger.py": ("sending/test_ledger.py", "sending/test_once.py", "sending/test_fence_simulation.py", *RUN),
    "sending/once.py": ("sending/test_once.py", "sending/test_fence_simulation.py", *SENDS),
    "sending/reconcile.py": (
        "sending/test_searches.py",
        "sending/test_reconcile.py",
        "sending/test_once.py",
        *SENDS,
        *RUN,
    ),
    "campaigns/run.py": (
        *RUN,
        "hooks/test_metrics.py",
        "campaigns/test_max_failures.py",
        "campaigns/test_reply_window.py",
        "campaigns/test_suppression.py",
        "operators/test_campaign.py",
        "operators/test_campaign_rules.py",
    ),
}

_OPERATORS: dict[type, tuple[str, str]] = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"), ast.And: ("and", "or"), ast.Or: ("or", "and"),
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"),
}  # fmt: skip
_LOGS = re.compile(r"\b_?log(ger)?\.")
_REMOVED = (ast.Expr, ast.AugAssign, ast.Raise, ast.Continue, ast.Break, ast.Delete)


class Mutant(NamedTuple):
    """One change: the bytes from ``start`` to ``end`` of a file become others.

    ``statement`` is the line of the statement, or 0 if an import runs it.
    """

    file: str
    line: int
    statement: int
    start: int
    end: int
    becomes: bytes
    name: str


class Finder(ast.NodeVisitor):
    """Finds every change that is made to a file, in order. Messages, log lines, annotations and decorators stay."""

    def __init__(self, file: str) -> None:
        self.file, self.found, self.function = file, list[Mutant](), ""
        self.source = (ROOT / PACKAGE / file).read_bytes()
        self.lines = self.source.splitlines(keepends=True)
        self.starts = [sum(map(len, self.lines[:number])) for number in range(len(self.lines) + 1)]
        self.names: Counter[str] = Counter()
        self.statement_at, self.is_called = 0, False
        self.visit(ast.parse(self.source))

    def add(self, node: ast.expr | ast.stmt, becomes: str, what: str) -> None:
        """Record that a node becomes something else."""
        name = f"{self.file} {self.function}: {self.lines[node.lineno - 1].decode().strip()}  [{what}]"
        self.names[name] += 1
        name += f" #{self.names[name]}" if self.names[name] > 1 else ""
        change = self.file, node.lineno, self.statement_at, *self.span(node), becomes.encode(), name
        self.found.append(Mutant(*change))

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """Return where a node begins and ends, in bytes."""
        last, column = node.end_lineno or node.lineno, node.end_col_offset or 0
        return self.starts[node.lineno - 1] + node.col_offset, self.starts[last - 1] + column

    def text(self, node: ast.expr | ast.stmt) -> str:
        """Return a node as it is written."""
        return self.source[slice(*self.span(node))].decode()

    def visit(self, node: ast.AST) -> None:
        """Record the changes of a node and of what is in it."""
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.If) and self.text(node.test) == "TYPE_CHECKING"):
            return
        if isinstance(node, ast.Expr) and (isinstance(node.value, ast.Constant) or _LOGS.search(self.text(node))):
            return
        outside = self.function, self.statement_at, self.is_called
        if isinstance(node, ast.stmt) and self.is_called:
            self.statement_at = node.lineno
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            self.function = f"{self.function}.{node.name}".lstrip(".")
            self.is_called = not isinstance(node, ast.ClassDef)
        super().visit(node)
        self.statement(node)
        for field, value in ast.iter_fields(node):
            if field not in ("annotation", "returns", "decorator_list"):
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.AST):
                        self.visit(child)
        self.function, self.statement_at, self.is_called = outside

    def generic_visit(self, node: ast.AST) -> None:
        """Do nothing: :meth:`visit` walks."""

    def statement(self, node: ast.AST) -> None:
        """Remove a statement, return nothing, or take the other branch."""
        stored = isinstance(node, ast.Assign) and not isinstance(node.targets[0], (ast.Name, ast.Tuple))
        if isinstance(node, _REMOVED) or (isinstance(node, ast.Assign) and stored):
            self.add(node, "pass", "removed")
        if isinstance(node, ast.Return) and node.value and self.text(node.value) not in ("None", "False"):
            self.add(node, "return None", "returns None")
        if isinstance(node, (ast.If, ast.While, ast.IfExp)):
            self.add(node.test, f"(not ({self.text(node.test)}))", "condition negated")

    def swap(self, node: ast.expr, operator: ast.AST, left: ast.expr, right: ast.expr) -> None:
        """Replace the operator between two expressions."""
        if pair := _OPERATORS.get(type(operator)):
            becomes = f"({self.text(left)} {pair[1]} {self.text(right)})"
            self.add(node, becomes, f"{pair[0]} becomes {pair[1]}")

    def visit_Compare(self, node: ast.Compare) -> None:  # noqa: D102
        if len(node.ops) == 1:
            self.swap(node, node.ops[0], node.left, node.comparators[0])

    def visit_BinOp(self, node: ast.BinOp) -> None:  # noqa: D102
        self.swap(node, node.op, node.left, node.right)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:  # noqa: D102
        word, other = _OPERATORS[type(node.op)]
        parts = [f"({self.text(value)})" for value in node.values]
        for index in range(len(parts) - 1):
            pair = f"({parts[index]} {other} {parts[index + 1]})"
            becomes = f" {word} ".join([*parts[:index], pair, *parts[index + 2 :]])
            self.add(node, f"({becomes})", f"{word} becomes {other}")

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:  # noqa: D102
        if isinstance(node.op, ast.Not):
            self.add(node, f"bool({self.text(node.operand)})", "not removed")

    def visit_Constant(self, node: ast.Constant) -> None:  # noqa: D102
        if isinstance(node.value, (bool, int, float)):
            value = not node.value if isinstance(node.value, bool) else node.value + 1
            self.add(node, repr(value), f"{node.value!r} becomes {value!r}")


def equivalents() -> dict[str, str]:
    """Return the names of changes that no user can notice, each with its reason."""
    blocks = Path(__file__).with_name("mutants_equivalent.txt").read_text(encoding="utf-8").split("\n\n")
    named = [block.strip().split("\n", 1) for block in blocks if not block.startswith("#") and block.strip()]
    return {name: " ".join(reason.split()) for name, reason in named}


#: What all tests of each file show, and the copy of the tree of this process.
WHOLE: dict[str, Ran] = {}
TREE = ROOT


#: The beginning of a watched file: a process that a test starts writes its lines to a file that the test reads.
_HEARD = """
def _heard():
    import builtins, os
    def note(line, seen=set()):
        if line not in seen:
            seen.add(line)
            with open(os.environ["WTS_LINES"], "a") as file:
                file.write(f"{line} ")
    if hasattr(builtins, "_ran_line"):
        os.register_at_fork(after_in_child=lambda: setattr(builtins, "_ran_line", note))
        return lambda line: builtins._ran_line(line)
    return note if "WTS_LINES" in os.environ else id
_ran_line = _heard()
"""


class Watched(ast.NodeTransformer):
    """Makes each statement in a function report its line before it runs."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Put a call before the statements of each block."""
        super().generic_visit(node)
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and not isinstance(node, (ast.Module, ast.ClassDef)):
                setattr(node, name, [one for statement in block for one in self.with_its_line(statement)])
        return node

    def with_its_line(self, statement: ast.stmt) -> list[ast.stmt]:
        """Return a statement, and before it the report of its line."""
        is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        return [*([] if is_text else ast.parse(f"_ran_line({statement.lineno})").body), statement]

    @classmethod
    def source(cls, path: Path) -> str:
        """Return the source of a file that reports its lines."""
        module = ast.parse(path.read_text())
        first = next(
            number for number, one in enumerate(module.body) if not isinstance(one, (ast.Expr, ast.ImportFrom))
        )
        cls().visit(module)
        module.body[first:first] = ast.parse(_HEARD).body
        return ast.unparse(ast.fix_missing_locations(module))


class Chosen:
    """A plugin of pytest that runs the named tests in this order, or all tests, and records the lines of each."""

    def __init__(self, names: list[str] | None) -> None:
        self.names = names
        self.seconds: dict[str, float] = {}
        self.lines: dict[str, set[int]] = {}
        self.failed = ""
        self.run = set[int]()
        # Watched files find them there.
        vars(builtins)["_ran_line"] = self.ran_line
        self.notes = Path(tempfile.gettempdir(), "lines.txt")
        os.environ["WTS_LINES"] = str(self.notes)

    def ran_line(self, line: int) -> None:
        """Note a line."""
        self.run.add(line)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Choose and sort."""
        if self.names is not None:
            by_name = {item.nodeid: item for item in items}
            items[:] = [by_name[name] for name in self.names]

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Note which lines a test runs, and how long it takes."""
        since, self.run = time.monotonic(), set()
        self.notes.write_text("")
        yield
        self.run.update(map(int, self.notes.read_text().split()))
        self.seconds[item.nodeid], self.lines[item.nodeid] = time.monotonic() - since, self.run

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note which test fails."""
        if report.failed:
            self.failed = report.nodeid


class Measured(NamedTuple):
    """What a run of all tests of a file shows."""

    seconds: dict[str, float]
    lines: dict[str, list[int]]
    modules: list[str]
    failed: str

    def tests_of(self, mutant: Mutant, seconds: float) -> list[str]:
        """Return the names of the tests that reach a change, the fastest first, up to a total of so many seconds."""
        at = mutant.statement
        names = sorted((one for one in self.seconds if not at or at in self.lines[one]), key=self.seconds.__getitem__)
        begins = accumulate((self.seconds[one] for one in names), initial=0.0)
        return [one for one, begin in zip(names, begins, strict=False) if begin < seconds]


class Ran(NamedTuple):
    """How a run of tests ended."""

    passed: bool
    was_late: bool
    processor: float
    measured: Measured


def run_tests(tree: Path, file: str, names: list[str] | None, wall: float = 3600, processor: float = 3600) -> Ran:
    """Run tests in a copy of the tree, in a fork; without names, run all of a file and measure."""
    child = os.fork()
    if not child:
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (int(processor), int(processor) + 5))
            _run_tests(tree, file, names)
        finally:
            os._exit(1)
    until, was_late = time.monotonic() + wall, False
    while not (result := os.wait4(child, os.WNOHANG))[0]:
        if time.monotonic() > until and not was_late:
            os.killpg(child, signal.SIGKILL)
            was_late = True
        time.sleep(0.02)
    notes = tree.with_suffix(".json")
    measured = Measured(*json.loads(notes.read_text())) if notes.exists() else Measured({}, {}, [], "")
    notes.unlink(missing_ok=True)
    return Ran(result[1] == 0, was_late, result[2].ru_utime + result[2].ru_stime, measured)


def _run_tests(tree: Path, file: str, names: list[str] | None) -> None:
    output = os.open(tree.with_suffix(".txt"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.chdir(tree)
    sys.path[:0] = [str(tree)]
    os.environ["PYTHONPATH"] = str(tree)
    # What the measuring run has compiled serves all others.
    sys.dont_write_bytecode = names is not None
    tempfile.tempdir = str(tree.with_suffix(".tmp"))
    Path(tempfile.tempdir).mkdir(exist_ok=True)
    arguments = ["-x", "-q", "--hypothesis-seed=0", f"--basetemp={tempfile.tempdir}/pytest"]
    arguments += [f"-pno:{plugin}" for plugin in ("cacheprovider", "xdist", "schemathesis")]
    chosen = Chosen(names)
    files = [f"tests/unit/{name}" for name in TESTS[file]] if names is None else {one.split("::")[0] for one in names}
    status = pytest.main([*arguments, *sorted(files)], plugins=[chosen])
    modules = [name for name, one in [*sys.modules.items()] if "site-packages" in str(getattr(one, "__file__", ""))]
    lines = {name: sorted(numbers) for name, numbers in chosen.lines.items()}
    tree.with_suffix(".json").write_text(json.dumps(Measured(chosen.seconds, lines, modules, chosen.failed)))
    os._exit(status)


def measured(tree: Path, file: str) -> Ran:
    """Run all tests of a file, and import what they imported, except the package and the tests."""
    path = tree / PACKAGE / file
    source = path.read_bytes()
    path.write_text(Watched.source(path))
    ran = run_tests(tree, file, None)
    path.write_bytes(source)
    for name in ran.measured.modules:
        with suppress(Exception):
            importlib.import_module(name)
    # Airflow imports what a provider declares.
    for name in [name for name in sys.modules if name.partition(".")[0] == "airflow_provider_wts"]:
        del sys.modules[name]
    if not ran.passed:
        text = tree.with_suffix(".txt").read_text()
        raise SystemExit(f"{text}\nThe tests of {file} fail without any change.")
    return ran


def fate(mutant: Mutant, most_seconds: float) -> tuple[str, str]:
    """Return whether a change is killed, late or survives, and by which test it was noticed."""
    whole = WHOLE[mutant.file]
    path = TREE / PACKAGE / mutant.file
    source = path.read_bytes()
    try:
        path.write_bytes(source[: mutant.start] + mutant.becomes + source[mutant.end :])
        if not (names := whole.measured.tests_of(mutant, most_seconds)):
            return "survived", "no test reaches it"
        seconds = sum(whole.measured.seconds.values())
        # The first of them are from one or two files, which load faster than all.
        for part in filter(None, (names[:QUICK], names[QUICK:])):
            ran = run_tests(TREE, mutant.file, part, 60 + 10 * seconds, 20 + 10 * whole.processor)
            if not ran.passed:
                return "late" if ran.was_late else "killed", ran.measured.failed
        return "survived", ""
    finally:
        path.write_bytes(source)


def copied(tree: Path, into: Path) -> Path:
    """Copy the tree."""
    left_out = shutil.ignore_patterns(".*", "_build", "dist", "build")
    return Path(shutil.copytree(tree, into, ignore=left_out))


def take_tree(trees: Any) -> None:
    """Take a copy of the tree, in a new process."""
    global TREE
    TREE = trees.get()


def main() -> int:
    """Run, print what survived, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", action="append", choices=TESTS, help="a file to change (default: all)")
    parser.add_argument("--seconds", type=float, default=60, help="of tests, at most, for one change")
    parser.add_argument("--verbose", action="store_true", help="say which test kills what")
    options = parser.parse_args()
    files, known, begun = options.only or list(TESTS), equivalents(), time.monotonic()
    everything = [mutant for file in files for mutant in Finder(file).found]
    if gone := [name for name in known if name.split()[0] in files and name not in {one.name for one in everything}]:
        print("In mutants_equivalent.txt, but no longer in the code:", *gone, sep="\n  ")
    taken = [mutant for mutant in everything if mutant.name not in known]
    taken = random.Random(options.seed).sample(taken, min(options.count, len(taken)))
    # Airflow reads its settings when it is imported.
    runpy.run_path(str(ROOT / "tests/conftest.py"))
    forks = multiprocessing.get_context("fork")
    fates: dict[str, Counter[str]] = defaultdict(Counter)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = copied(ROOT, Path(folder, "0"))
        for file in files:
            WHOLE[file] = measured(tree, file)
            print(f"{file}: {len(WHOLE[file].measured.seconds)} tests", flush=True)
        trees = forks.Queue()
        for job in range(options.jobs):
            trees.put(copied(tree, Path(folder, str(job + 1))))
        with forks.Pool(options.jobs, take_tree, (trees,)) as pool:
            for mutant, (found, test) in zip(
                taken, pool.imap(partial(fate, most_seconds=options.seconds), taken), strict=True
            ):
                fates[mutant.file][found] += 1
                if found != "killed" or options.verbose:
                    print(f"{found}: line {mutant.line} of {mutant.name} {test}".rstrip(), flush=True)
    print(f"\n{'file':<24}{'taken':>7}{'killed':>8}{'survived':>10}{'late':>6}")
    for file in files:
        one = fates[file]
        print(f"{file:<24}{one.total():>7}{one['killed']:>8}{one['survived']:>10}{one['late']:>6}")
    killed = 100 * sum(one["killed"] for one in fates.values()) / (len(taken) or 1)
    minutes = (time.monotonic() - begun) / 60
    print(f"{killed:.1f} % of {len(taken)} killed in {minutes:.0f} minutes; {len(known)} known to change nothing.")
    return killed < LEAST


if __name__ == "__main__":
    sys.exit(main())
