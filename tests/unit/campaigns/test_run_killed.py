"""A campaign whose process is killed half way: what it costs to go on, counted in requests."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from task_process import Processes, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_wts.emulator.running import Emulator

BATCH = "airflow_provider_wts.operators.chatbot.WtsSendChatbotBatchOperator"
BOT = "Cobrança"
RECIPIENTS, CHUNK = 400, 20

#: What a search for lost sends asks, beside the walk over the sessions.
SINGLY = ("get_contact_by_phone", "filter_contacts", "get_session", "list_messages", "get_queued_chatbot_status")


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
    recipients = tmp_path / "recipients.csv"
    recipients.write_text("\n".join(["to", *map(number, range(RECIPIENTS))]))
    tries = Processes(emulator, tmp_path, BATCH, chatbot=BOT, recipients_path=str(recipients), chunk_size=CHUNK)
    tries.max_tries = 1
    # The two requests that are under way when the process is killed: numbers 11 and 12 of 20.
    hanging = [
        emulator.faults.add("hang", when=when, operation_id="queue_chatbot_batch", nth=11) for when in (first, second)
    ]
    killed = tries.start()
    wait_until(lambda: sum(fault.hits for fault in hanging) == 2)
    killed.kill()
    took_effect = [first, second].count("after")
    assert received(emulator) == {1: (10 + took_effect) * CHUNK}

    counts = tries.start().end()["result"]
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
    tries.max_tries = 3
    assert tries.start(on_clear="continue").end()["result"]["sent"] == RECIPIENTS
    assert received(emulator) == {1: RECIPIENTS}
    assert walked(emulator) == pages
