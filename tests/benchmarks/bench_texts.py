"""5,000 texts through the account's limits, under both readings of how the limits combine."""

from __future__ import annotations

import json
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from emulator_process import emulator_process
from report import Table
from task_process import result_of, start_task

TEXTS = 5000
LIMIT = 1000
# Whether sends count against the account's limits, too, and the seconds of the limit that binds then.
READINGS = {
    "sends count against both limits": (True, 300.0),
    "sends count against their own limit only": (False, 120.0),
}
#: Part of what this machine manages that the limits ask of it; the rest is for the catching up after a pause.
LOAD = 0.4


def speed_for(seconds: float) -> float:
    """Return how much faster the clocks may run, so that the machine still keeps up with the limits."""
    with emulator_process(switches={"rate_limits": False, "whatsapp_window": "off"}) as service:
        body, begun = {"to": "+5511960000000", "text": "Olá!"}, time.process_time()
        real = time.monotonic()
        for _ in range(200):
            service.call("POST", "/chat/v1/send/text", json=body)
        a_second = 200 / (time.monotonic() - real)
        # Ours takes a core, or shares one with the emulator.
        a_second = min(a_second, 200 / (3 * (time.process_time() - begun)))
    return max(1.0, LOAD * a_second / (LIMIT / seconds))


def measure(folder: Path, *, account_wide: bool, speed: float) -> tuple[dict[str, Any], dict[str, int], list[float]]:
    """Send; return what the task told, what the emulator answered, and when the sends came."""
    switches = {"sends_count_account_wide": account_wide, "recorded_requests": 20_000, "whatsapp_window": "off"}
    recipients = folder / "recipients.jsonl"
    rows = (json.dumps({"to": f"+55119{60_000_000 + number:08}"}) for number in range(TEXTS))
    recipients.write_text("\n".join(rows))
    with emulator_process(switches=switches, speed=speed, latency=0.1 / speed) as service:
        task = start_task(
            "airflow_provider_wts.operators.message:WtsSendTextBatchOperator",
            {"recipients_path": str(recipients), "row_text": "Olá!", "chunk_size": 100},
            connection={**service.connection, "extra": {"send_limit_is_separate": not account_wide}},
            ledger=str(folder / "ledger"),
            speed=speed,
        )
        told = result_of(task)
        sends = [one for one in service.control("requests") if one["operation_id"] == "send_text"]
        moments = sorted(datetime.fromisoformat(one["at"]).timestamp() for one in sends)
        return told, service.requests(), moments


def full_windows(moments: list[float], seconds: float) -> list[int]:
    """Return the sends in each whole window since the first send."""
    begin, count = moments[0], int((moments[-1] - moments[0]) // seconds)
    return [sum(begin + i * seconds <= one < begin + (i + 1) * seconds for one in moments) for i in range(count)]


def main() -> Table:
    """Measure, and return the table."""
    table = Table(
        f"{TEXTS:,} texts in one task",
        ("reading of the limits", "binding limit", "clocks", "least in a window", "share of the limit", "429", "sent",
         "minutes", "target"),
        "`WtsSendTextBatchOperator`, 100 ms latency. The clocks of the emulator and the rate limiter run faster, in "
        "step, as fast as the machine keeps up; all times are by these clocks. Windows are as long as the limit's, "
        "starting with the first send; the last, incomplete one is omitted. 3 % of each limit deliberately stay "
        "unused.",
    )  # fmt: skip
    for name, (account_wide, seconds) in READINGS.items():
        speed = speed_for(seconds)
        with tempfile.TemporaryDirectory() as folder:
            told, answers, moments = measure(Path(folder), account_wide=account_wide, speed=speed)
        windows = full_windows(moments, seconds)
        share = min(windows) / LIMIT
        refused, sent = answers.get("429", 0), told["result"]["sent"]
        table.add(
            name, f"{LIMIT:,} in {seconds / 60:.0f} min", f"{speed:.1f}x", min(windows), share, refused, sent,
            (moments[-1] - moments[0]) / 60, "≥ 0.95, no 429",
        )  # fmt: skip
        table.check(f"texts, {name}: {share:.1%} of the limit ≥ 95 %", share >= 0.95)
        table.check(f"texts, {name}: {refused} refused with 429", refused == 0)
        table.check(f"texts, {name}: {sent} sent", sent == TEXTS)
    return table


if __name__ == "__main__":
    main().show()
