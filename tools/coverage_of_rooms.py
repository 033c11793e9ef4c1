"""Print the branch coverage of each room of the package, and fail where it is lower than promised.

Reads what ``make coverage`` measured. A part that is below 100 % is listed with the lines that no test runs.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

PACKAGE = "airflow_provider_wts/"

#: Percent of lines and branches that tests run, in the rooms where a gap may cost a customer.
PROMISED = {"sending": 95.0, "campaigns": 95.0, "waiting": 95.0, "api": 95.0}


def main(measured: Path) -> int:
    """Print the report and return the exit status.

    :param measured: what ``coverage json`` wrote.
    """
    rooms: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for name, file in sorted(json.loads(measured.read_text())["files"].items()):
        inside = name.partition(PACKAGE)[2]
        room = inside.partition("/")[0] if "/" in inside else "(package)"
        one = file["summary"]
        for index, part in enumerate(("covered_lines", "num_statements", "covered_branches", "num_branches")):
            rooms[room][index] += one[part]
        if room in PROMISED and (file["missing_lines"] or file["missing_branches"]):
            unrun = ", ".join(map(str, file["missing_lines"])) or "none"
            untaken = ", ".join(f"{start}->{end}" for start, end in file["missing_branches"]) or "none"
            print(f"{name}\n  lines not run: {unrun}\n  branches not taken: {untaken}")
    print(f"\n{'room':<16}{'lines':>8}{'branches':>10}{'both':>8}")
    low = []
    for room, (lines, all_lines, taken, all_taken) in sorted(rooms.items()):
        parts = (lines, all_lines), (taken, all_taken), (lines + taken, all_lines + all_taken)
        of_lines, of_branches, both = (100 * tested / (whole or 1) for tested, whole in parts)
        print(f"{room:<16}{of_lines:>7.1f}%{of_branches:>9.1f}%{both:>7.1f}%")
        if both < PROMISED.get(room, 0.0):
            low.append(f"{room} is below {PROMISED[room]:g} %")
    print("; ".join(low) or "As promised: " + ", ".join(f"{room} {least:g} %" for room, least in PROMISED.items()))
    return bool(low)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
