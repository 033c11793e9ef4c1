"""The metrics of a real Airflow, as a StatsD server receives them."""

from __future__ import annotations

import re
import socket
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from real_airflow import DagRunner

from airflow_provider_wts.emulator.running import Emulator
from airflow_provider_wts.hooks.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytest.importorskip("statsd", reason="needs the package statsd")

PEOPLE = 25

# One recipient is refused, and one request of the campaign gets no answer although it took effect.
DAG = """
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_wts.operators.campaign import WtsSendTextBatchOperator
from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator
from airflow_provider_wts.sending import ledger
from airflow_provider_wts.sensors.session import WtsSessionSensor

# On a busy machine, a first try that is slower than the lease asks WTS Chat about everybody.
ledger.LEASE = 30.0

people = [{{"to": f"+55 11 99999-{{number:04d}}", "text": f"invoice {{number}}."}} for number in range({people})]

with DAG(DAG_ID, schedule=None):
    WtsSendTextBatchOperator(task_id="campaign", recipients=people) >> WtsSendChatbotOperator(
        task_id="send", chatbot="Cobrança", to="+55 11 98888-0001"
    ) >> WtsSessionSensor(
        task_id="wait", session_id="{{{{ ti.xcom_pull(task_ids='send')['id'] }}}}",
        poke_interval=0.5, timeout=4, soft_fail=True, deferrable=True,
    )
"""


class StatsdServer:
    """Receives what a StatsD client sends, on loopback."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        while (packet := self._socket.recv(65536)) != b"end":
            self.lines += packet.decode().splitlines()

    def close(self) -> None:
        """Take what is still on its way, and end."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"end", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def ours(self) -> dict[str, Any]:
        """Return the provider's metrics: counters summed up, of gauges all values."""
        found: dict[str, Any] = defaultdict(float)
        for line in self.lines:
            name, _, rest = line.partition(":")
            value, kind = rest.split("|")[:2]
            if name.startswith("airflow.wts."):
                name = name.removeprefix("airflow.")
                found[name] = [*(found[name] or []), float(value)] if kind == "g" else found[name] + float(value)
        return dict(found)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """An emulator whose customers do not answer."""
    with Emulator(switches={"whatsapp_window": "off", "queue_seconds": 0}) as running:
        running.behave("*", replies=[])
        yield running


@pytest.fixture
def statsd(monkeypatch: pytest.MonkeyPatch) -> Iterator[StatsdServer]:
    server = StatsdServer()
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_HOST", "127.0.0.1")
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(server.port))
    yield server
    if server._thread.is_alive():
        server.close()


def test_a_statsd_server_receives_the_metrics_of_a_campaign_and_a_wait(
    statsd: StatsdServer,
    emulator: Emulator,
    airflow_home: Path,
    dag_file: Callable[[str], Path],
) -> None:
    emulator.faults.add("status", status=400, operation_id="send_text", body="invoice 3.", times=1)
    emulator.faults.add("reset", when="after", operation_id="send_text", body="invoice 7.", times=1)
    emulator.faults.add("status", status=429, operation_id="send_chatbot", retry_after="1", times=1)
    connection = {"conn_type": "wts", "host": emulator.url, "password": emulator.token}
    runner = DagRunner()
    try:
        outcome = runner.run(dag_file(DAG.format(people=PEOPLE)), connections={"wts_default": connection})
    finally:
        runner.close()
    statsd.close()
    assert outcome.states == {"campaign": ["success"], "send": ["success"], "wait": ["skipped"]}
    received = statsd.ours()
    expected = {
        "wts.sends.send_text.sent": PEOPLE - 1,
        "wts.sends.send_text.failed": 1,
        "wts.reconciliations.found": 1,
        "wts.requests.send_text.answered": PEOPLE - 2,
        "wts.requests.send_text.rejected": 1,
        "wts.requests.send_text.unknown": 1,
        "wts.sends.send_chatbot.sent": 1,
        "wts.requests.send_chatbot.rate_limited": 1,
        "wts.requests.send_chatbot.answered": 1,
    }
    assert {name: received.get(name) for name in expected} == expected
    assert received["wts.limit_wait.server"] >= 1
    assert received["wts.polls.waits.wts_default.succeeded"] >= 1
    host = re.sub(r"[^A-Za-z0-9_-]", "_", socket.gethostname())
    assert 1 in received[f"wts.waiters.wts_default.{host}"]
    assert 0 in received[f"wts.poll_age.waits.wts_default.{host}"]
    assert {".".join(name.split(".")[:2]) for name in received} == set(METRICS)
    assert not [name for name in received if "99999" in name or "invoice" in name]
