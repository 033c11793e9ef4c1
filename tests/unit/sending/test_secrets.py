"""What a send leaves behind, for every fault: the token nowhere, and customers' data not in the log."""

from __future__ import annotations

import json
import logging
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wts.api.client import WtsClient
from airflow_provider_wts.emulator.running import Emulator
from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator
from airflow_provider_wts.operators.message import WtsSendTextOperator
from airflow_provider_wts.sending import reconcile

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "pn_T0kenThatNobodyMaySee"
PHONE_DIGITS = "99998888"
BODY = "Sua fatura de R$ 149,90 vence hoje"

FAULTS: list[dict[str, Any]] = [
    {"kind": "latency", "seconds": 0.01},
    *({"kind": kind, "when": when} for kind in ("reset", "close", "garbage", "hang") for when in ("before", "after")),
    *({"kind": kind, "when": "after"} for kind in ("empty", "truncated", "not_json", "bad_content_length")),
    {"kind": "drip_headers", "when": "after", "seconds": 0.02},
    {"kind": "drip_body", "when": "after", "seconds": 0.02},
    {"kind": "oversized", "when": "after", "size": 33 * 1024 * 1024},
    {"kind": "close_after", "when": "after"},
    {"kind": "close_before_next", "when": "after"},
    {"kind": "redirect", "location": "https://elsewhere.example/?to=%2B5511999998888"},
    *(
        {"kind": "status", "status": status, "envelope": envelope}
        for status in (400, 401, 403, 404, 408, 422, 429, 500, 502, 503)
        for envelope in ("business", "technical", "problem", "html", "none")
    ),
]


class Lines(logging.Handler):
    """Keeps what our loggers and a task's write."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        # The emulator plays the other side: what it says of customers is not ours.
        if not record.name.startswith(("uvicorn", "airflow_provider_wts.emulator", "asyncio")):
            self.lines.append((record.levelno, self.format(record)))


@pytest.fixture
def log() -> Iterator[Lines]:
    lines = Lines()
    root, ours = logging.getLogger(), logging.getLogger("airflow_provider_wts")
    before = root.level, ours.level
    root.addHandler(lines)
    root.setLevel(logging.DEBUG)
    ours.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(lines)
    root.setLevel(before[0])
    ours.setLevel(before[1])


@pytest.fixture
def secret_emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    with Emulator(token=TOKEN, switches={"rate_limits": False, "queue_seconds": 0}) as running:
        running.behave("*", replies=[])
        connection = {"conn_type": "wts", "host": running.url, "password": TOKEN, "extra": {"timeout": 1}}
        monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))
        monkeypatch.setattr(reconcile, "effect_lag", lambda timeout: 0.0)
        yield running


def sending(kind: str, bot_key: str) -> Any:
    if kind == "send_chatbot":
        return WtsSendChatbotOperator(
            task_id="send", chatbot=bot_key, to="+55 11 99999-8888", session_metadata={"texto": BODY}
        )
    return WtsSendTextOperator(task_id="send", to="+55 11 99999-8888", text=BODY, channel="+55|1140028922")


def name(fault: dict[str, Any]) -> str:
    return "-".join(str(value) for value in fault.values() if not isinstance(value, float))[:40]


@pytest.mark.parametrize("operation_id", ["send_chatbot", "send_text"])
@pytest.mark.parametrize("fault", FAULTS, ids=name)
def test_a_send_leaves_no_token_behind_and_no_customer_in_the_log(
    secret_emulator: Emulator,
    stateful_context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    log: Lines,
    operation_id: str,
    fault: dict[str, Any],
) -> None:
    bot_key = next(str(bot["key"]) for bot in secret_emulator.state.chatbots.by_creation() if bot["name"] == "Cobrança")
    operator = sending(operation_id, bot_key)
    client = WtsClient(
        TOKEN, base_url=secret_emulator.url, timeout=0.4, rate_limit_wait=0.0, sleep=lambda seconds: None
    )
    operator.hook.__dict__["client"] = client
    secret_emulator.faults.add(operation_id=operation_id, **fault)
    errors: list[BaseException] = []
    result = None
    try:
        result = operator.execute(stateful_context)
    except Exception as error:
        errors.append(error)
    told = "".join("".join(traceback.format_exception(error)) + repr(error) for error in errors)
    store = stateful_context["task_state_store"]
    left = [
        told,
        json.dumps(result),
        json.dumps(stateful_context["ti"].xcoms),
        json.dumps(store.values),
        repr((operator, operator.hook, client, vars(client), operator.hook.connection, vars(operator.hook))),
        "\n".join(line for _, line in log.lines),
    ]
    printed = "".join(capfd.readouterr())
    assert not [text for text in (*left, printed) if TOKEN in text]
    assert BODY not in told
    logged = "\n".join(line for level, line in log.lines if level >= logging.INFO)
    assert PHONE_DIGITS not in logged
    assert BODY not in logged
    # A task's own logger may print, and on Airflow 2 all others do, too; what they say at DEBUG is for developers.
    not_ours = ("uvicorn", "emulator", "DEBUG", "h11_impl.py")
    own = "\n".join(line for line in printed.splitlines() if not any(word in line for word in not_ours))
    assert PHONE_DIGITS not in own
    assert BODY not in own
    assert not any(PHONE_DIGITS in key for key in (*store.values, *json.loads(store.values.get("wts_ledger", "{}"))))
