"""What has the form of a token is in no error and no line of the log, whosever it is and wherever it was pasted."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wts.api.sends import send_text
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.operators.message import WtsSendTextOperator
from airflow_provider_wts.sensors.message import WtsMessageStatusSensor

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.running import Emulator

FOREIGN = "pn_T0ken-of_another_4cc0unt99998888"
PHONE = "+55|11999998888"


def words_of_a_refusal(service: Emulator, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    service.faults.add("status", status=400, operation_id="send_text", envelope="business", key=FOREIGN, times=None)
    WtsSendTextOperator(task_id="send", to=PHONE, text="Olá", channel="+55|1140028922").execute(context)


def reason_of_a_failed_message(service: Emulator, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    service.behave(PHONE, replies=[], fails=f"bad token {FOREIGN}")
    send_id = str(WtsHook().run(send_text("Olá", to=PHONE))["id"])
    service.advance(3)
    WtsMessageStatusSensor(task_id="wait", message_id=send_id).execute(context)


def name_of_an_extra(service: Emulator, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "wts", "host": service.url, "password": service.token, "extra": {FOREIGN: "x"}}
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))
    WtsSendTextOperator(task_id="send", to=PHONE, text="Olá").execute(context)


def name_of_a_channel(service: Emulator, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    WtsSendTextOperator(task_id="send", to=PHONE, text="Olá", channel=f"{'canal ' * 30}{FOREIGN}").execute(context)


def name_of_a_connection(service: Emulator, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    WtsSendTextOperator(task_id="send", to=PHONE, text="Olá", wts_conn_id=FOREIGN).execute(context)


def recipient(service: Emulator, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    WtsSendTextOperator(task_id="send", to=FOREIGN, text="Olá").execute(context)


@pytest.mark.parametrize(
    "fails",
    [
        words_of_a_refusal,
        reason_of_a_failed_message,
        name_of_an_extra,
        name_of_a_channel,
        name_of_a_connection,
        recipient,
    ],
    ids=lambda function: function.__name__,
)
def test_the_token_of_another_account_is_hidden(
    service: Emulator,
    stateful_context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fails: Any,
) -> None:
    with caplog.at_level(logging.INFO, "airflow_provider_wts"), pytest.raises(Exception, match=r"\*\*\*") as caught:
        fails(service, stateful_context, monkeypatch)
    assert "pn_T0ken" not in f"{caught.value!r} {vars(caught.value)} {caplog.text}"
    assert "4cc0unt" not in f"{caught.value!r} {vars(caught.value)} {caplog.text}"


@pytest.mark.parametrize("around", ['"{}"', "'{}'", "“{}”", 'Bearer "{}"'])
def test_a_token_that_was_pasted_with_quotes_is_used_without_them(
    service: Emulator, stateful_context: dict[str, Any], monkeypatch: pytest.MonkeyPatch, around: str
) -> None:
    connection = {"conn_type": "wts", "host": service.url, "password": around.format(service.token)}
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))
    WtsSendTextOperator(task_id="send", to=PHONE, text="Olá").execute(stateful_context)
    assert len(service.deliveries) == 1
