"""Draws what the doctor prints on a good and on a broken set-up, as ``doctor-*.svg`` in ``docs/images``.

Run: ``python tools/doctor_screens.py``. It starts an emulator, and the triggerer of an Airflow of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from html import escape
from pathlib import Path

from airflow_provider_wts.emulator.running import Emulator

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"

COMMAND = "python -m airflow_provider_wts doctor"

#: Colors of the signs at the start of a line.
COLORS = {"ok": "#3fb950", "warn": "#d29922", "FAIL": "#f85149"}

#: Width of a character and height of a line, in pixels, and columns of the terminal.
CHARACTER, LINE, COLUMNS = 8.43, 20, 120


def hostname() -> str:
    """Return the name by which Airflow knows the machine of the picture."""
    return "worker-1"


def svg(screen: str, exit_code: int) -> str:
    """Return a terminal with a command, what it printed, and its exit code."""
    whole = [f"$ {COMMAND}", *screen.splitlines(), "$ echo $?", str(exit_code)]
    # A long line wraps, as in any terminal.
    lines = [line[start : start + COLUMNS] for line in whole for start in range(0, len(line), COLUMNS)]
    width = round(COLUMNS * CHARACTER) + 32
    rows = []
    for number, line in enumerate(lines):
        sign = line[:4].strip()
        color = COLORS.get(sign, "#8b949e" if line.startswith(("$", "     ")) else "#e6edf3")
        head, rest = (line[:4], line[4:]) if sign in COLORS else ("", line)
        text = f'<tspan fill="{color}">{escape(head)}</tspan>' if head else ""
        fill = "#e6edf3" if head else color
        rows.append(
            f'<text x="16" y="{number * LINE + 30}" fill="{fill}" xml:space="preserve">{text}{escape(rest)}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {len(lines) * LINE + 24}" width="{width}" '
        'font-family="ui-monospace, Menlo, Consolas, \'DejaVu Sans Mono\', monospace" font-size="14">\n'
        '<rect width="100%" height="100%" rx="8" fill="#0d1117"/>\n' + "\n".join(rows) + "\n</svg>\n"
    )


def doctor(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the doctor."""
    command = [sys.executable, *COMMAND.split()[1:]]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def draw(name: str, environment: dict[str, str]) -> None:
    """Run the doctor, and draw what it prints."""
    done = doctor(environment)
    (IMAGES / f"doctor-{name}.svg").write_text(svg(done.stdout, done.returncode), "utf-8")
    print(f"doctor-{name}.svg, exit code {done.returncode}\n{done.stdout}")


def connection(emulator: Emulator, **fields: object) -> str:
    """Return a connection to the emulator as JSON text."""
    return json.dumps({"conn_type": "wts", "host": emulator.url, "password": emulator.token, **fields})


def main() -> None:
    """Draw both pictures."""
    with tempfile.TemporaryDirectory() as home, Emulator(port=8765) as emulator:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        environment |= {
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "doctor_screens.hostname",
            "PYTHONPATH": str(Path(__file__).parent),
            "PYTHONWARNINGS": "ignore",
        }
        airflow = [sys.executable, "-m", "airflow"]
        subprocess.run([*airflow, "db", "migrate"], env=environment, check=True, stdout=subprocess.DEVNULL)
        broken = {
            "AIRFLOW_CONN_WTS_DEFAULT": connection(emulator, password="pn_of_another_account"),
            "AIRFLOW__WTS__LEDGER_PATH": "file:///proc/wts",
        }
        draw("broken", {**environment, **broken})
        triggerer = subprocess.Popen([*airflow, "triggerer"], env=environment, stdout=subprocess.DEVNULL)
        try:
            environment["AIRFLOW_CONN_WTS_DEFAULT"] = connection(emulator)
            while "alive, on" not in doctor(environment).stdout:
                time.sleep(1)
            draw("good", environment)
        finally:
            triggerer.terminate()
            triggerer.wait()


if __name__ == "__main__":
    main()
