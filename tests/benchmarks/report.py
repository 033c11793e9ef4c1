"""How benchmarks say what they measured: a table, on the screen and for the documentation."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass, field


@dataclass
class Table:
    """A table of one benchmark.

    :param title: what was measured.
    :param columns: heads of the columns.
    :param notes: how to read it.
    """

    title: str
    columns: tuple[str, ...]
    notes: str = ""
    rows: list[tuple[str, ...]] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        """Add a row; numbers are rounded to three digits."""
        self.rows.append(tuple(_cell(cell) for cell in cells))

    def check(self, target: str, met: bool) -> None:
        """Note a target that was not met.

        :param target: the target, with what was measured.
        :param met: whether it was met.
        """
        if not met:
            self.missed.append(target)

    def markdown(self) -> str:
        """Return the table as Markdown."""
        lines = [f"## {self.title}", "", "| " + " | ".join(self.columns) + " |"]
        lines.append("|" + "|".join(" --- " for _ in self.columns) + "|")
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        if self.notes:
            lines += ["", self.notes]
        for target in self.missed:
            lines += ["", f"**Target missed**: {target}."]
        return "\n".join([*lines, ""])

    def show(self) -> None:
        """Print the table."""
        sys.stdout.write(self.markdown() + "\n")
        sys.stdout.flush()


def machine() -> str:
    """Return a line about the machine that measured."""
    return (
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"


def _cell(cell: object) -> str:
    if isinstance(cell, bool) or not isinstance(cell, (int, float)):
        return str(cell)
    if isinstance(cell, int) or abs(cell) >= 100:
        return f"{cell:,.0f}"
    return f"{cell:.3g}"
