"""CPU time of a call through our client, beside the same call through a plain ``requests.Session`` with keep-alive."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Any

import requests
from emulator_process import TOKEN, Service, emulator_process
from report import Table

from airflow_provider_wts.api import budget
from airflow_provider_wts.api.client import WtsClient
from airflow_provider_wts.api.directory import list_channels
from airflow_provider_wts.api.sends import send_text

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 30
CALLS = 40
RECIPIENT, TEXT = "+55|11999990001", "Olá, a sua encomenda chegou."


def cpu_of(perform: Callable[[], Any]) -> float:
    """Return CPU seconds of one call, all threads of this process included."""
    begun = time.process_time()
    for _ in range(CALLS):
        perform()
    return (time.process_time() - begun) / CALLS


def pairs(service: Service) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """Return what is compared: a read and a send, each by us and by ``requests``."""
    # The limits are counted as always, and never reached.
    budget.ACCOUNT_LIMITS = tuple(budget.Limit(10**6, one.seconds, one.name) for one in budget.ACCOUNT_LIMITS)
    budget.SEND_LIMITS = tuple(budget.Limit(10**6, one.seconds, one.name) for one in budget.SEND_LIMITS)
    client = WtsClient(TOKEN, base_url=service.url)
    plain = requests.Session()
    plain.headers["Authorization"] = f"Bearer {TOKEN}"

    def plain_read() -> Any:
        answer = plain.get(f"{service.url}/chat/v1/channel", timeout=60)
        answer.raise_for_status()
        return answer.json()

    def plain_send() -> Any:
        body = {"to": RECIPIENT, "text": TEXT}
        answer = plain.post(f"{service.url}{SEND_PATH}", json=body, timeout=60)
        answer.raise_for_status()
        return answer.json()

    return {
        "read: list the channels": (lambda: client.perform(list_channels()), plain_read),
        "send: a text": (lambda: client.perform(send_text(TEXT, to=RECIPIENT)), plain_send),
    }


SEND_PATH = send_text(TEXT, to=RECIPIENT).url_path


def main() -> Table:
    """Measure, and return the table."""
    table = Table(
        "CPU time of a call",
        ("call", "requests.Session, µs", "WtsClient, µs", "ratio", "target"),
        f"Loopback with keep-alive. Medians of the CPU times and their ratios over {ROUNDS} rounds of {CALLS} calls "
        "each, alternating between the two. The client's part includes building the call, the rate limits, the "
        "deadline's watchdog, classifying the answer and the retry policy.",
    )
    with emulator_process(switches={"rate_limits": False}) as service:
        for name, (ours, plain) in pairs(service).items():
            assert ours().keys() == plain().keys() if isinstance(plain(), dict) else ours() == plain()
            times = []
            for number in range(ROUNDS):
                # Whoever goes second finds warmer caches: they take turns.
                if number % 2:
                    mine, other = cpu_of(ours), cpu_of(plain)
                else:
                    other, mine = cpu_of(plain), cpu_of(ours)
                times.append((mine, other))
            ratio = median(mine / other for mine, other in times)
            table.add(
                name,
                median(other for _, other in times) * 1e6,
                median(mine for mine, _ in times) * 1e6,
                ratio,
                "≤ 1.15",
            )
            table.check(f"{name}: ratio {ratio:.2f} ≤ 1.15", ratio <= 1.15)
    return table


if __name__ == "__main__":
    main().show()
