"""Change the code that keeps customers safe in one place at a time, and list the changes that no test notices.

``make mutants`` takes 400 of all possible changes, by a seed, and runs the tests that belong to the changed file, in
copies of the tree. Changes that no user could notice are in ``mutants_equivalent.txt``, each with its reason, and are
left out.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PACKAGE = "airflow_provider_wts/"
LEAST = 90.0
RUN = ("campaigns/test_run.py", "campaigns/test_run_doubts.py")

#: The files that are changed, and the tests that must notice; what notices most, and is fastest, comes first.
TESTS = {
    "api/addresses.py": ("api/test_addresses.py",),
    "api/outcome.py": ("api/test_outcome.py", "api/test_client.py"),
    "sending/ledger.py": ("sending/test_ledger.py", "sending/test_once.py", "sending/test_fence_simulation.py", *RUN),
    "sending/once.py": ("sending/test_once.py", "sending/test_fence_simulation.py", "operators/test_sending.py"),
    "sending/reconcile.py": ("sending/test_reconcile.py", "sending/test_once.py", *RUN),
    "campaigns/run.py": (*RUN, "operators/test_campaign.py"),
}

_OPERATORS: dict[type, tuple[str, str]] = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"), ast.And: ("and", "or"), ast.Or: ("or", "and"),
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"),
}  # fmt: skip
_LOGS = re.compile(r"\blog(ger)?\.")
_REMOVED = (ast.Expr, ast.AugAssign, ast.Raise, ast.Continue, ast.Break, ast.Delete)


class Mutant(NamedTuple):
    """One change: the bytes from ``start`` to ``end`` of a file become others."""

    file: str
    line: int
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
        self.visit(ast.parse(self.source))

    def add(self, node: ast.expr | ast.stmt, becomes: str, what: str) -> None:
        """Note that a node becomes something else."""
        name = f"{self.file} {self.function}: {self.lines[node.lineno - 1].decode().strip()}  [{what}]"
        self.names[name] += 1
        name += f" #{self.names[name]}" if self.names[name] > 1 else ""
        self.found.append(Mutant(self.file, node.lineno, *self.span(node), becomes.encode(), name))

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """Return where a node begins and ends, in bytes."""
        last, column = node.end_lineno or node.lineno, node.end_col_offset or 0
        return self.starts[node.lineno - 1] + node.col_offset, self.starts[last - 1] + column

    def text(self, node: ast.expr | ast.stmt) -> str:
        """Return a node as it is written."""
        return self.source[slice(*self.span(node))].decode()

    def visit(self, node: ast.AST) -> None:
        """Note what becomes of a node, and of what is in it."""
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.If) and self.text(node.test) == "TYPE_CHECKING"):
            return
        if isinstance(node, ast.Expr) and (isinstance(node.value, ast.Constant) or _LOGS.search(self.text(node))):
            return
        outside = self.function
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            self.function = f"{outside}.{node.name}".lstrip(".")
        super().visit(node)
        self.statement(node)
        for field, value in ast.iter_fields(node):
            if field not in ("annotation", "returns", "decorator_list"):
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.AST):
                        self.visit(child)
        self.function = outside

    def generic_visit(self, node: ast.AST) -> None:
        """Do nothing: :meth:`visit` walks."""

    def statement(self, node: ast.AST) -> None:
        """Remove a statement, return nothing, or take the other branch."""
        stored = isinstance(node, ast.Assign) and not isinstance(node.targets[0], (ast.Name, ast.Tuple))
        if isinstance(node, _REMOVED) or (isinstance(node, ast.Assign) and stored):
            self.add(node, "pass", "removed")
        if isinstance(node, ast.Return) and node.value is not None and self.text(node.value) != "None":
            self.add(node, "return None", "returns None")
        if isinstance(node, (ast.If, ast.While, ast.IfExp)):
            self.add(node.test, f"(not ({self.text(node.test)}))", "condition negated")

    def swap(self, node: ast.expr, operator: ast.AST, left: ast.expr, right: ast.expr) -> None:
        """Put another operator between two expressions."""
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
    """Return the names of changes that nobody can notice, each with its reason."""
    blocks = Path(__file__).with_name("mutants_equivalent.txt").read_text(encoding="utf-8").split("\n\n")
    named = [block.strip().split("\n", 1) for block in blocks if not block.startswith("#") and block.strip()]
    return {name: " ".join(reason.split()) for name, reason in named}


def tests_pass(tree: Path, file: str, seconds: float) -> bool:
    """Run the tests of a file in a copy of the tree; tests that hang do not pass."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-p",
        "no:schemathesis",
    ]
    command += ["--hypothesis-seed=0", *(f"tests/unit/{name}" for name in TESTS[file])]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        command, cwd=tree, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            return process.wait(seconds) == 0
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            return False


def main() -> int:
    """Run, print what survived, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", action="append", choices=TESTS, help="a file to change (default: all)")
    options = parser.parse_args()
    files, known, begun = options.only or list(TESTS), equivalents(), time.monotonic()
    everything = [mutant for file in files for mutant in Finder(file).found]
    if gone := [name for name in known if name.split()[0] in files and name not in {one.name for one in everything}]:
        print("In mutants_equivalent.txt, and not in the code any more:", *gone, sep="\n  ")
    taken = [mutant for mutant in everything if mutant.name not in known]
    taken = random.Random(options.seed).sample(taken, min(options.count, len(taken)))
    trees: Queue[Path] = Queue()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        for job in range(options.jobs):
            left_out = shutil.ignore_patterns(".*", "__pycache__", "_build", "dist", "build")
            trees.put(shutil.copytree(ROOT, Path(folder, str(job)), ignore=left_out))
        seconds = {}
        for file in files:
            since = time.monotonic()
            if not tests_pass(trees.queue[0], file, 1200):
                print(f"The tests of {file} fail without any change: {', '.join(TESTS[file])}.")
                return 1
            seconds[file] = 20 + 3 * (time.monotonic() - since)

        def survives(mutant: Mutant) -> bool:
            tree = trees.get()
            path = tree / PACKAGE / mutant.file
            source = path.read_bytes()
            try:
                path.write_bytes(source[: mutant.start] + mutant.becomes + source[mutant.end :])
                return tests_pass(tree, mutant.file, seconds[mutant.file])
            finally:
                path.write_bytes(source)
                trees.put(tree)

        with ThreadPoolExecutor(options.jobs) as pool:
            survivors = []
            for mutant, survived in zip(taken, pool.map(survives, taken), strict=True):
                if survived:
                    survivors.append(mutant)
                    print(f"survived: line {mutant.line} of {mutant.name}", flush=True)
    print(f"\n{'file':<24}{'taken':>7}{'killed':>8}")
    for file in files:
        of_file, alive = ([one.file for one in group].count(file) for group in (taken, survivors))
        print(f"{file:<24}{of_file:>7}{of_file - alive:>8}")
    killed = 100 * (1 - len(survivors) / (len(taken) or 1))
    minutes = (time.monotonic() - begun) / 60
    print(f"{killed:.1f} % of {len(taken)} killed in {minutes:.0f} minutes; {len(known)} known to change nothing.")
    return killed < LEAST


if __name__ == "__main__":
    sys.exit(main())
