"""A campaign of texts to the recipients of the run's configuration."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_wts.operators.message import WtsSendTextBatchOperator

PARAMS = {"to": Param([], type="array"), "results": Param("", type="string")}

with DAG("texts_to_many", schedule=None, catchup=False, params=PARAMS):
    WtsSendTextBatchOperator(
        task_id="send",
        channel="WhatsApp principal",
        recipients="{{ params.to | tojson }}",
        row_text="Oi!",
        chunk_size=20,
        parallelism=4,
        results_path="{{ params.results }}",
        # Who marks it as failed does not want it to be tried again.
        retries=2,
        retry_delay=timedelta(seconds=20),
    )
