"""Start a chatbot for some customers, wait until the conversations are over, and summarize the answers.

Needs a connection ``wts_default``, and the published chatbot that the parameters name. The defaults suit the local WTS
Chat service: ``python -m airflow_provider_wts.emulator``.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator
from airflow_provider_wts.sensors.session import WtsSessionSensor

log = logging.getLogger(__name__)

CUSTOMERS = [
    {"name": "Carla Dias", "phone": "+55 11 99999-0001", "invoice": "2026-118", "amount": 149.9},
    {"name": "Diego Alves", "phone": "(11) 99999-0002", "invoice": "2026-119", "amount": 80},
    {"name": "Elisa Rocha", "phone": "11999990003", "invoice": "2026-120", "amount": 1250.5},
]

with DAG(
    dag_id="example_wts_chatbot",
    schedule=None,
    catchup=False,
    tags=["example", "wts"],
    doc_md=__doc__,
    params={
        "chatbot": Param("Cobrança", type="string", title="Chatbot", description="Name or key of a published chatbot."),
        "answer": Param(
            "resposta",
            type="string",
            title="Answer",
            description="Name under which the chatbot stores the answer in the session's metadata.",
        ),
        "customers": Param(
            CUSTOMERS,
            type="array",
            title="Customers",
            items={"type": "object", "required": ["name", "phone", "invoice", "amount"]},
        ),
    },
):
    # [START pick_customers]
    @task
    def pick_customers(params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Pick who gets the chatbot; in production, query the data warehouse."""
        return [customer for customer in (params or {})["customers"] if customer["amount"] > 0]

    # [END pick_customers]

    customers = pick_customers()

    # [START send_chatbot]
    send_chatbot = WtsSendChatbotOperator.partial(
        task_id="send_chatbot",
        chatbot="{{ params.chatbot }}",
        contact_metadata={"campaign": {"dag": "{{ dag.dag_id }}", "run": "{{ run_id }}"}},
        # The invoice names the task in the grid.
        map_index_template="{{ task.session_metadata['fatura'] }}",
    ).expand_kwargs(
        customers.map(
            lambda customer: {
                "to": customer["phone"],
                # What the chatbot can say, such as {{metadata.fatura}}; numbers stay numbers.
                "session_metadata": {"fatura": customer["invoice"], "valor": customer["amount"]},
            }
        )
    )
    # [END send_chatbot]

    # [START wait_for_session]
    wait_for_session = WtsSessionSensor.partial(
        task_id="wait_for_session",
        target_status="COMPLETED",
        poke_interval=15,
        timeout=timedelta(hours=4).total_seconds(),
        deferrable=True,
    ).expand(session_id=send_chatbot.output.map(lambda session: session["id"]))
    # [END wait_for_session]

    # [START sum_up]
    @task
    def sum_up(
        customers: list[dict[str, Any]], sessions: list[dict[str, Any]], params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Return the outcome for each customer."""
        outcomes = []
        for customer, session in zip(customers, sessions, strict=True):
            began, ended = (datetime.fromisoformat(session[name]) for name in ("createdAt", "endAt"))
            outcome = {
                "customer": customer["name"],
                "session": session["id"],
                "status": session["status"],
                "seconds": round((ended - began).total_seconds()),
                "answer": (session.get("metadata") or {}).get((params or {})["answer"]),
            }
            log.info("%(customer)-20s %(status)-10s %(seconds)6d s  %(answer)s", outcome)
            outcomes.append(outcome)
        return outcomes

    # [END sum_up]

    sum_up(customers, wait_for_session.output)
