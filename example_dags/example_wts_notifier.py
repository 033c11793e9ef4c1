"""Notify people over WhatsApp of the outcome of a task and a DAG.

Needs a connection ``wts_default``; the parameters name the recipients. On an official WhatsApp channel, a text reaches
only people who wrote within the last 24 hours, so this DAG uses a template.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_wts.notifications.wts import WtsNotifier

ON_CALL = "+55 11 99999-0001"

# [START notifier]
tell_on_call = WtsNotifier(
    to="{{ params.on_call }}",
    template="saudacao",
    parameters={"nome": "plantão: {{ dag.dag_id }} falhou em {{ run_id }}"},
    channel="{{ params.channel }}",
)
# [END notifier]


with DAG(
    dag_id="example_wts_notifier",
    schedule=None,
    catchup=False,
    tags=["example", "wts"],
    doc_md=__doc__,
    on_failure_callback=tell_on_call,
    params={
        "on_call": Param(ON_CALL, type="string", title="On call", description="Who gets the notifications."),
        "channel": Param("WhatsApp principal", type="string", title="Channel", description="Channel to send from."),
    },
):
    # [START task]
    @task(
        on_success_callback=WtsNotifier(
            to="{{ params.on_call }}",
            template="saudacao",
            parameters={"nome": "equipe: {{ ti.task_id }} terminou"},
            channel="{{ params.channel }}",
        )
    )
    def close_the_books() -> None:
        """Do something worth a notification."""

    # [END task]

    close_the_books()
