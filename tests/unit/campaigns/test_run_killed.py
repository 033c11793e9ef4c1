"""A campaign whose process is killed half way: what it costs to go on, counted in requests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_wts.emulator.running import Emulator

BOT = "Cobrança"
RECIPIENTS, CHUNK = 400, 20

#: What a search for lost sends asks, beside the walk over the sessions.
SINGLY = ("get_contact_by_phone", "filter_contacts", "get_session", "list_messages", "get_queued_chatbot_status")

_TRY = """
import json, sys
from types import SimpleNamespace
from airflow_provider_wts.operators.chatbot import WtsSendChatbotBatchOperator
from airflow_provider_wts.sending import reconcile
job = json.loads(sys.argv[1])
reconcile.effect_lag = lambda timeout: 0.3
operator = WtsSendChatbotBatchOperator(task_id="send", **job["parameters"])
ti = SimpleNamespace(dag_id="campaign", run_id="run", task_id="send", map_index=-1, **job["ti"])
print(json.dumps(operator.execute({"ti": ti, "dag_run": SimpleNamespace(run_after=None)})))
"""


class Campaign:
    """Tries of one task, each in a process of its own, with a ledger in files."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        recipients = folder / "recipients.csv"
        recipients.write_text("\n".join(["to", *map(number, range(RECIPIENTS))]))
        self._parameters = {"chatbot": BOT, "recipients_path": str(recipients), "chunk_size": CHUNK}
        connection = {"conn_type": "wts", "host": emulator.url, "password": emulator.token}
        self._environment = {
            **os.environ,
            "AIRFLOW_CONN_WTS_DEFAULT": json.dumps(connection),
            "AIRFLOW__WTS__LEDGER_PATH": f"file://{folder}/ledger",
        }

    def start(self, try_number: int, *, max_tries: int = 1, **parameters: Any) -> subprocess.Popen[bytes]:
        ti = {"try_number": try_number, "max_tries": max_tries}
        job = {"parameters": {**self._parameters, **parameters}, "ti": ti}
        command = [sys.executable, "-c", _TRY, json.dumps(job)]
        return subprocess.Popen(command, env=self._environment, stdout=subprocess.PIPE)

    def finish(self, try_number: int, **settings: Any) -> dict[str, Any]:
        with self.start(try_number, **settings) as process:
            assert process.stdout is not None
            output = process.stdout.read()
        assert process.returncode == 0
        counts: dict[str, Any] = json.loads(output.splitlines()[-1])
        return counts


def number(index: int) -> str:
    return f"+55119{10_000_000 + index:08d}"


def received(emulator: Emulator) -> Counter[int]:
    """Return how many recipients got it how often."""
    emulator.advance(5)
    starts = Counter(delivery.to for delivery in emulator.deliveries if delivery.kind == "chatbot")
    return Counter(starts.values())


def walked(emulator: Emulator) -> Counter[str]:
    """Return how often each page of the changed sessions was read."""
    queries = [dict(one.query) for one in emulator.requests_of("list_sessions")]
    return Counter(query.get("PageNumber", "1") for query in queries if "UpdatedAt.After" in query)


@pytest.mark.parametrize(
    ("first", "second"),
    [("after", "after"), ("after", "before"), ("before", "after"), ("before", "before")],
    ids=["both-took-effect", "the-first-took-effect", "the-second-took-effect", "none-took-effect"],
)
def test_killed_half_way_retried_and_cleared(emulator: Emulator, tmp_path: Path, first: Any, second: Any) -> None:
    emulator.behave("*", replies=[])
    emulator.switches.change({"whatsapp_window": "off", "queue_seconds": 0})
    campaign = Campaign(emulator, tmp_path)
    # The two requests that are under way when the process is killed: numbers 11 and 12 of 20.
    hanging = [
        emulator.faults.add("hang", when=when, operation_id="queue_chatbot_batch", nth=11) for when in (first, second)
    ]
    killed = campaign.start(1)
    until = time.monotonic() + 120
    while sum(fault.hits for fault in hanging) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    took_effect = [first, second].count("after")
    assert received(emulator) == {1: (10 + took_effect) * CHUNK}

    counts = campaign.finish(2)
    assert counts["sent"] == RECIPIENTS
    assert received(emulator) == {1: RECIPIENTS}
    assert len(emulator.requests_of("queue_chatbot_batch")) == 12 + 8 + 2 - took_effect
    # One walk for both requests, there and back, since rows may move; where one of them left no trace, a few of its
    # recipients speak for all.
    pages = walked(emulator)
    singly = sum(len(emulator.requests_of(one)) for one in SINGLY)
    assert max(pages.values()) <= 2
    assert len(pages) <= 3
    assert singly <= 1 + 6 * (2 - took_effect)

    # A clear of what had finished means "send anew"; where it is to mean "go on", there is nothing left to do.
    assert campaign.finish(3, max_tries=3, on_clear="continue")["sent"] == RECIPIENTS
    assert received(emulator) == {1: RECIPIENTS}
    assert walked(emulator) == pages
