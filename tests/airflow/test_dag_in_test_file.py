"""The example of docs/emulator.md: a DAG that is defined in the file of its test."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from airflow import settings
from airflow.providers.common.compat.sdk import DAG
from airflow_version import AIRFLOW_VERSION

from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator

with DAG("reminder_of_a_test_file", schedule=None) as dag:
    WtsSendChatbotOperator(task_id="remind", chatbot="Cobrança", to="+5511999990001")


@pytest.mark.skipif(
    (3,) <= AIRFLOW_VERSION < (3, 3), reason="dag.test() before Airflow 3.3 asks its own API before that has started"
)
def test_everybody_gets_it_once(airflow_home, wts_emulator, monkeypatch, request):
    connection = {"conn_type": "wts", "host": wts_emulator.url, "password": wts_emulator.token}
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))
    # Airflow 3 runs only what is in its DAG folder.
    copy = shutil.copy(__file__, settings.DAGS_FOLDER)
    request.addfinalizer(Path(copy).unlink)

    dag.test()

    assert len(wts_emulator.received("+5511999990001")) == 1
    assert wts_emulator.violations == []
