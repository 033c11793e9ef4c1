"""Runs the benchmarks, shows their tables, and writes them into ``docs/benchmarks.md``.

``python tests/benchmarks/run.py`` runs all, ``... run.py waiting texts`` some of them; the tables of the others stay as
they are. Each runs in a process and an ``AIRFLOW_HOME`` of its own.
"""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parent.parent / "docs" / "benchmarks.md"
ALL = ("client", "imports", "campaign", "million", "texts", "waiting", "redis", "export")

#: Longest time of one benchmark, in seconds.
LONGEST = 3600

HEAD = """\
# Benchmarks

`make bench` repeats all measurements, and `make bench BENCH=waiting` one of them. The ratios compare runs on the same
machine at the same time; a busy machine affects times more than ratios. The WTS Chat service is the local emulator, in
its own process, with the documented limits unless stated otherwise.
"""


def main(names: list[str]) -> int:
    """Run benchmarks; return 1 when one of them broke.

    :param names: which ones; none for all.
    """
    if unknown := [name for name in names if name not in ALL]:
        sys.stderr.write(f"No benchmark is called {', '.join(unknown)}. There are {', '.join(ALL)}.\n")
        return 2
    broken = []
    for name in names or ALL:
        sys.stdout.write(f"== {name}\n")
        sys.stdout.flush()
        made = _run(name)
        if made is None:
            broken.append(name)
        elif made:
            sys.stdout.write(f"{made}\n")
            _write(name, made)
    if broken:
        sys.stderr.write(f"Broken: {', '.join(broken)}\n")
    return int(bool(broken))


def _run(name: str) -> str | None:
    """Return the section of a benchmark, an empty one where it was skipped; ``None`` where it broke."""
    with tempfile.TemporaryDirectory(prefix="wts-bench-") as home:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
        environment |= {
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "WTS_BENCH_OUT": str(Path(home, "table.md")),
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        benchmark = subprocess.Popen([sys.executable, __file__, "--one", name], env=environment)
        try:
            code = benchmark.wait(LONGEST)
        except subprocess.TimeoutExpired:
            return None
        finally:
            # Gently: what it has started is its own to end.
            benchmark.terminate()
            benchmark.wait()
        table = Path(home, "table.md")
        return None if code else table.read_text(encoding="utf-8") if table.exists() else ""


def _one(name: str) -> None:
    from report import machine

    table = importlib.import_module(f"bench_{name}").main()
    if table is not None:
        text = f"{table.markdown()}\n*{machine()}, {datetime.now(UTC):%Y-%m-%d}.*\n"
        Path(os.environ["WTS_BENCH_OUT"]).write_text(text, encoding="utf-8")


def _write(name: str, section: str) -> None:
    """Put a section in its place, in the order of all."""
    kept = {}
    if DOCUMENT.exists():
        found = re.findall(r"<!-- (\w+) -->\n(.*?)(?=\n<!-- \w+ -->\n|\Z)", DOCUMENT.read_text(encoding="utf-8"), re.S)
        kept = {key: text.strip() for key, text in found}
    kept[name] = section.strip()
    sections = [f"<!-- {key} -->\n{kept[key]}\n" for key in ALL if key in kept]
    DOCUMENT.write_text("\n".join([HEAD, *sections]), encoding="utf-8")


if __name__ == "__main__":
    # An end from outside goes through every "finally", so that no process is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if sys.argv[1:2] == ["--one"]:
        _one(sys.argv[2])
    else:
        raise SystemExit(main(sys.argv[1:]))
