"""A send that leaves no marker: if its answer is lost, only a person can say whether it arrived."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_wts.operators.message import WtsSendTextOperator

with DAG("unconfirmed_send", schedule=None, catchup=False):
    WtsSendTextOperator(
        task_id="send", to="+55 11 99999-0001", channel="WhatsApp principal", text="Oi!", synchronous=True
    )
