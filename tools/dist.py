"""``make dist``: builds the wheel and the sdist into ``dist``, and checks that what a user installs works.

The contents of the wheel are checked, it is built again from the sdist, and it is installed into clean environments
with the oldest and the newest Airflow. There, in a folder without the source, Airflow shows the provider, and
``example_dags/example_wts_chatbot.py`` runs against the emulator of the wheel. The exit code is 0 only if all of that
succeeded and every customer got the message.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import urllib.request
import zipfile
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from demo_processes import DemoError, Processes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
NAME, PACKAGE = "airflow-provider-wts", "airflow_provider_wts"
AIRFLOW_VERSIONS = ("2.11.2", "3.3.2")
EXAMPLE = "example_wts_chatbot"

# Emulated seconds per real second.
SPEED = 10
CUSTOMERS = ("+5511999990001", "+5511999990002", "+5511999990003")

NEEDED = (
    f"{PACKAGE}/py.typed",
    f"{PACKAGE}/api/contract/chat.json",
    f"{PACKAGE}/api/contract/core.json",
    f"{PACKAGE}/api/contract/crm.json",
    f"{PACKAGE}/emulator/page.html",
)
ENTRY_POINT = f"[apache_airflow_provider]\nprovider_info = {PACKAGE}:get_provider_info"
NEEDED_IN_SDIST = (
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    f"example_dags/{EXAMPLE}.py",
    "tests/conftest.py",
)

_BEGAN = time.monotonic()


class DistError(Exception):
    """What is wrong with the release, for a person."""


def heading(text: str) -> None:
    """Print which step begins."""
    print(f"== {text} (since the start: {time.monotonic() - _BEGAN:.0f} s)", flush=True)


def run(
    *command: str | Path, cwd: Path, seconds: float = 600, environment: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Run a command to its end and return what it wrote.

    :param environment: additions to its environment.
    :raises DistError: if it fails.
    """
    shown = " ".join(str(part) for part in command)
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**clean_environment(), **environment},
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as problem:
        raise DistError(f"{shown}\ndid not end within {seconds:.0f} s.") from problem
    if done.returncode != 0:
        raise DistError(f"{shown}\nended with {done.returncode}:\n" + "\n".join(done.stdout.splitlines()[-40:]))
    return done.stdout


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would lead to the source or to another Airflow."""
    dropped = ("AIRFLOW", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)}


# Building -------------------------------------------------------------------------------------------------------------


def build_tools(folder: Path) -> Path:
    """Make an environment with what builds and checks distributions; return its Python."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]["dist"]
    python = folder / "bin" / "python"
    if shutil.which("uv"):
        run("uv", "venv", "--quiet", "--python", sys.executable, folder, cwd=folder.parent)
        run("uv", "pip", "install", "--quiet", "--python", python, *wanted, cwd=folder.parent)
    else:
        run(sys.executable, "-m", "venv", folder, cwd=folder.parent)
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted, cwd=folder.parent)
    return python


def build(python: Path, source: Path, out: Path, *kinds: str) -> list[Path]:
    """Build distributions and return their files.

    :param python: a Python with the package ``build``.
    :param kinds: ``--wheel``, ``--sdist``.
    """
    installer = ["--installer", "uv"] if shutil.which("uv") else []
    run(python, "-m", "build", *installer, *kinds, "--outdir", out, source, cwd=out.parent)
    return sorted(path for path in out.iterdir() if path.name.endswith((".whl", ".tar.gz")))


# Looking inside -------------------------------------------------------------------------------------------------------


def contents(wheel: Path) -> dict[str, str]:
    """Return the files of a wheel and their hashes."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


def check_wheel(wheel: Path) -> None:
    """Check that a wheel holds the whole package and nothing else, or raise :class:`DistError`."""
    found = set(contents(wheel))
    info = wheel.name.rsplit("-", 3)[0] + ".dist-info"
    package = {name for name in found if name.startswith(f"{PACKAGE}/")}
    source = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / PACKAGE).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    problems = [f"{name} is missing" for name in sorted({*NEEDED, *source} - package)]
    problems += [f"{name} does not belong in it" for name in sorted(package - source)]
    problems += [f"{name} does not belong in it" for name in sorted(found - package) if not name.startswith(f"{info}/")]
    with zipfile.ZipFile(wheel) as archive:
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
        metadata = archive.read(f"{info}/METADATA").decode()
    if ENTRY_POINT not in entry_points:
        problems.append(f"Airflow would not find the provider: entry_points.txt holds\n{entry_points}")
    problems += [f"METADATA names no {name}" for name in ("Project-URL", "License-Expression") if name not in metadata]
    if f"{info}/licenses/LICENSE" not in found:
        problems.append("the license is missing")
    if problems:
        raise DistError(f"{wheel.name}: " + "; ".join(problems))
    print(f"   {len(package)} files of the package; contract, page, types and entry point are there; no tests.")


def unpack(sdist: Path, folder: Path) -> Path:
    """Unpack an sdist and return its folder, or raise :class:`DistError` if something is missing."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = folder.iterdir()
    if missing := [name for name in NEEDED_IN_SDIST if not (unpacked / name).exists()]:
        raise DistError(f"{sdist.name}: {', '.join(missing)} missing.")
    return unpacked


def check_same(wheel: Path, other: Path) -> None:
    """Check that the wheel from the source and that from the sdist hold the same, or raise :class:`DistError`."""
    one, two = contents(wheel), contents(other)
    if differing := sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name)):
        raise DistError(f"The wheel from the sdist differs in {', '.join(differing)}.")
    print(f"   {len(one)} files, all alike.")


# Installing and running -----------------------------------------------------------------------------------------------


class Installed:
    """The wheel in a clean environment with an Airflow.

    :param airflow: version of Airflow.
    :param folder: a folder outside the source, for everything.
    """

    def __init__(self, wheel: Path, airflow: str, folder: Path) -> None:
        self._wheel = wheel
        self._airflow = airflow
        self._folder = folder
        self._bin = folder / "venv" / "bin"
        self._home = folder / "home"
        (self._home / "dags").mkdir(parents=True)
        self._settings = {
            "AIRFLOW_HOME": str(self._home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self._home / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self._home}/airflow.db",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "NO_PROXY": "127.0.0.1,localhost",
            "PYTHONUNBUFFERED": "1",
        }

    def install(self) -> None:
        """Install Airflow and the wheel, with what the wheel says that it needs."""
        environment = str(ROOT / "tools" / "environment.sh")
        run(environment, self._airflow, self._bin.parent, self._wheel, cwd=self._folder, seconds=1800)
        place = self._python(f"import {PACKAGE}; print({PACKAGE}.__file__)")
        if not Path(place).is_relative_to(self._bin.parent):
            raise DistError(f"{place} is imported instead of the wheel.")
        print(f"   It is imported from {Path(place).parent}.")

    def check_providers(self) -> None:
        """Check that Airflow lists and shows the provider, or raise :class:`DistError`."""
        version = self._wheel.name.split("-")[1]
        for command in (["list"], ["get", NAME]):
            (found,) = [
                entry
                for entry in json.loads(_only_json(self._run("providers", *command, "--output", "json")))
                if NAME in entry.values()
            ] or [None]
            if found is None or version not in found.values():
                raise DistError(f"airflow providers {' '.join(command)} does not show {NAME} {version}: {found}")
            print(f"   airflow providers {' '.join(command)}: {found}")

    def run_example(self) -> None:
        """Run the example chatbot DAG against the emulator of the wheel, and count what customers got.

        :raises DistError: if the run fails, or a customer did not get the message exactly once.
        """
        shutil.copy(ROOT / "example_dags" / f"{EXAMPLE}.py", self._home / "dags")
        self._run("db", "migrate")
        processes = Processes(self._folder)
        try:
            environment = clean_environment() | self._settings
            found = processes.start_emulator(self._bin / "python", environment, "--speed", str(SPEED))
            log = self._run("dags", "test", EXAMPLE, AIRFLOW_CONN_WTS_DEFAULT=json.dumps(found))
            self._check_run(log)
            self._check_customers(found["host"])
        finally:
            processes.stop()

    def _check_run(self, log: str) -> None:
        with sqlite3.connect(self._home / "airflow.db") as database:
            runs = database.execute("SELECT state FROM dag_run WHERE dag_id = ?", (EXAMPLE,)).fetchall()
            tasks = database.execute(
                "SELECT task_id, state, count(*) FROM task_instance WHERE dag_id = ? GROUP BY 1, 2 ORDER BY 1",
                (EXAMPLE,),
            ).fetchall()
        database.close()
        if runs != [("success",)] or {state for _, state, _ in tasks} != {"success"}:
            end = "\n".join(log.splitlines()[-60:])
            raise DistError(f"The runs of {EXAMPLE} ended as {runs}, its tasks as {tasks}:\n{end}")
        print(f"   The run ended in success: {', '.join(f'{name} {count}x' for name, _, count in tasks)}.")

    def _check_customers(self, emulator: str) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def received(to: str, *, by_bots: bool) -> list[dict[str, Any]]:
            body = json.dumps({"to": to, "by_bots": by_bots}).encode()
            headers = {"Content-Type": "application/json"}
            question = urllib.request.Request(f"{emulator}/_emulator/received", body, headers)
            with opener.open(question, timeout=30) as answer:
                return list(json.load(answer))

        for customer in CUSTOMERS:
            sent = received(customer, by_bots=False)
            texts = [delivery["text"] for delivery in received(customer, by_bots=True) if delivery.get("text")]
            if len(sent) != 1 or not texts:
                raise DistError(f"{customer} got {len(sent)} chatbots instead of one, and reads {texts}.")
            print(f"   {customer} got the chatbot once, and reads: {texts[0]}")

    def _run(self, *arguments: str, **environment: str) -> str:
        return run(self._bin / "airflow", *arguments, cwd=self._folder, environment=self._settings | environment)

    def _python(self, code: str) -> str:
        return (
            run(self._bin / "python", "-c", code, cwd=self._folder, environment=self._settings).strip().splitlines()[-1]
        )


def _only_json(text: str) -> str:
    """Return the list of objects in what a command wrote; warnings may surround it."""
    found = re.search(r"^\[\{.*\}\]$", text, re.M) or re.search(r"^\[\s*\{.*\}\s*\]", text, re.M | re.S)
    if not found:
        raise DistError(f"There is no JSON in:\n{text[-2000:]}")
    return found[0]


def check(folder: Path) -> None:
    """Build and check everything in a folder outside the source, or raise :class:`DistError`."""
    heading("build wheel and sdist")
    if (ROOT / ".git").exists() and (changed := run("git", "status", "--short", cwd=ROOT).strip()):
        print(f"   Note: the release would hold what is not committed:\n{changed}")
    python = build_tools(folder / "tools")
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    sdist, wheel = sorted(build(python, ROOT, DIST, "--wheel", "--sdist"), key=lambda path: path.suffix)
    for path in (wheel, sdist):
        print(f"   dist/{path.name}: {path.stat().st_size / 1024:.0f} KiB")
    heading("metadata (twine check --strict)")
    shown = run(python, "-m", "twine", "--no-color", "check", "--strict", wheel.name, sdist.name, cwd=DIST)
    print("   " + shown.strip().replace("\n", "\n   "))
    heading("contents of the wheel")
    check_wheel(wheel)
    heading("a wheel from the sdist")
    (folder / "sdist").mkdir()
    (folder / "again").mkdir()
    (again,) = build(python, unpack(sdist, folder / "sdist"), folder / "again", "--wheel")
    check_same(wheel, again)
    for airflow in AIRFLOW_VERSIONS:
        installed = Installed(wheel, airflow, folder / f"airflow-{airflow}")
        steps: list[tuple[str, Callable[[], None]]] = [
            (f"Airflow {airflow}: install the wheel into a clean environment", installed.install),
            (f"Airflow {airflow}: airflow providers", installed.check_providers),
            (f"Airflow {airflow}: run {EXAMPLE} against the emulator of the wheel", installed.run_example),
        ]
        for title, step in steps:
            heading(title)
            step()


def main() -> int:
    """Build and check; return the exit code."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="wts-dist-", ignore_cleanup_errors=True) as folder:
        try:
            check(Path(folder))
        except KeyboardInterrupt:
            print("\nInterrupted.", flush=True)
            return 130
        except (DistError, DemoError, OSError) as problem:
            print(f"\nerror: {problem}", file=sys.stderr, flush=True)
            return 1
    heading("all went well; ready for upload: " + ", ".join(f"dist/{path.name}" for path in sorted(DIST.iterdir())))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
