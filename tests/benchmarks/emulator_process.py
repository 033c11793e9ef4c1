"""The emulator in a process of its own, so that its CPU time and memory are not counted as ours."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TOKEN = "pn_emulator"


class Service:
    """An emulator in another process.

    :param url: its base URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {TOKEN}"

    @property
    def connection(self) -> dict[str, Any]:
        """The Airflow connection to it."""
        return {"conn_type": "wts", "host": self.url, "password": TOKEN}

    def control(self, name: str, body: Any = None) -> Any:
        """Look at it, or drive it where a body is given."""
        url = f"{self.url}/_emulator/{name}"
        answer = self.session.get(url) if body is None else self.session.post(url, json=body)
        answer.raise_for_status()
        return answer.json()

    def requests(self) -> dict[str, int]:
        """Return how many requests came so far: ``total``, and by status."""
        seen = self.control("state")["requests"]
        return {"total": seen["total"], **seen["by_status"]}

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Call the API as anybody would."""
        answer = self.session.request(method, f"{self.url}{path}", **options)
        answer.raise_for_status()
        return answer.json() if answer.content else None


@contextlib.contextmanager
def emulator_process(
    *,
    switches: Mapping[str, Any] | None = None,
    speed: float = 1.0,
    latency: float = 0.0,
    conversations: int = 0,
    messages: int = 0,
) -> Iterator[Service]:
    """Run an emulator.

    :param switches: switches to change.
    :param speed: emulated seconds per real second.
    :param latency: seconds that each answer takes longer.
    :param conversations: contacts who have written.
    :param messages: messages of each of them.
    """
    settings = {"emulator": {"switches": dict(switches or {}), "speed": speed, "latency": latency}}
    settings |= {"conversations": conversations, "messages": messages}
    command = [sys.executable, __file__, json.dumps(settings)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            told = re.search(r"http://\S+", process.stdout.readline())
            if told is None:
                raise RuntimeError("The emulator did not start.")
            yield Service(told[0])
        finally:
            process.terminate()


def _serve(settings: dict[str, Any]) -> None:
    from airflow_provider_wts.emulator.running import Emulator

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    parent = os.getppid()
    with Emulator(**settings["emulator"]) as emulator:
        # Nobody answers a chatbot.
        emulator.behave("*", replies=[])
        for number in range(settings["conversations"]):
            for text in range(settings["messages"]):
                emulator.contact_writes(f"+55|119{70_000_000 + number:08}", f"Mensagem {text}")
        sys.stdout.write(f"{emulator.url}\n")
        sys.stdout.flush()
        # An orphan ends by itself.
        while not stop.wait(0.2) and os.getppid() == parent:
            pass


if __name__ == "__main__":
    _serve(json.loads(sys.argv[1]))
