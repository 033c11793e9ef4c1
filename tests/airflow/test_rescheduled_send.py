"""A rate limit makes Airflow 3.4 run the same try again: no retry is used, and nobody is written to twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow_version import AIRFLOW_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from real_airflow import RunDag

pytestmark = pytest.mark.skipif(AIRFLOW_VERSION < (3, 4), reason="reschedules without a retry came with Airflow 3.4")

HEAD = """
from functools import cached_property

from airflow.providers.common.compat.sdk import DAG
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.operators.campaign import WtsSendTextBatchOperator
from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator
from airflow_provider_wts.sending import ledger

# On a busy machine, a first try that is slower than the lease asks WTS Chat about everybody.
ledger.LEASE = 5.0

class Impatient:
    @cached_property
    def hook(self):
        return WtsHook(self.wts_conn_id, client_settings={"rate_limit_wait": 0.0})

class Send(Impatient, WtsSendChatbotOperator): ...

class Campaign(Impatient, WtsSendTextBatchOperator): ...

with DAG(DAG_ID, schedule=None):
"""


@pytest.fixture
def run(
    run_dag: RunDag, wts_connection: dict[str, Any], dag_file: Callable[[str], Path], fast_emulator: Any
) -> Callable[[str], Any]:
    fast_emulator.switches.change({"whatsapp_window": "off", "queue_seconds": 0})
    return lambda text: run_dag(dag_file(HEAD + text), connections=wts_connection)


def test_a_send_without_retries_goes_out_once_after_the_limit(run: Any, fast_emulator: Any) -> None:
    fast_emulator.faults.add("status", status=429, retry_after="1", operation_id="send_chatbot", times=2)
    outcome = run("    Send(task_id='send', chatbot='Cobrança', to='+55 11 99999-0001')\n")
    assert outcome.task("send").state == "success"
    assert outcome.task("send").try_number == 1
    assert len(fast_emulator.received("+5511999990001")) == 1
    assert len(fast_emulator.requests_of("send_chatbot")) == 3


def test_a_campaign_goes_on_with_those_who_got_nothing_yet(run: Any, fast_emulator: Any) -> None:
    numbers = [f"+5511999990{number:03d}" for number in range(30)]
    fast_emulator.faults.add(
        "status", status=429, retry_after="1", operation_id="send_text", body=numbers[20][-9:], times=1
    )
    outcome = run(f"    Campaign(task_id='campaign', recipients={numbers!r}, row_text='Olá', chunk_size=10)\n")
    campaign = outcome.task("campaign")
    assert campaign.state == "success"
    assert campaign.try_number == 1
    assert campaign.returned["sent"] == 30
    assert [len(fast_emulator.received(number)) for number in numbers] == [1] * 30
