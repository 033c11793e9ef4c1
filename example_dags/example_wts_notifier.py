"""Tell people over WhatsApp what became of a task and of a DAG.

It needs a connection ``wts_default``; the parameter says who is told. On an official WhatsApp channel a text reaches
only who wrote within the last 24 hours, so people are told by a template.
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
        "on_call": Param(ON_CALL, type="string", title="On call", description="Who is told."),
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
        """Do what people want to hear of."""

    # [END task]

    close_the_books()
