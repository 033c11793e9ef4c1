"""After the sale: add buyers to a sequence of messages, list its contacts, and remove whoever returned the goods.

Needs a connection ``wts_default``, and the sequence that the parameters name. The defaults suit the local WTS Chat
service: ``python -m airflow_provider_wts.emulator``.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_wts.operators.sequence import (
    WtsAddToSequenceOperator,
    WtsListSequenceContactsOperator,
    WtsRemoveFromSequenceOperator,
)

with DAG(
    dag_id="example_wts_sequences",
    schedule=None,
    catchup=False,
    tags=["example", "wts"],
    doc_md=__doc__,
    params={
        "sequence": Param("Pós-venda", type="string", title="Sequence", description="Name or ID of a sequence."),
        "buyers": Param(
            ["+55 11 99999-0001", "(11) 99999-0002", "11999990003"], type="array", title="Buyers: phone numbers"
        ),
        "returned": Param("(11) 99999-0002", type="string", title="Returned goods: phone number"),
    },
):

    @task
    def pick_buyers(params: dict[str, Any] | None = None) -> list[str]:
        """Return the buyers; in production, query the data warehouse."""
        return list((params or {})["buyers"])

    # [START add_to_sequence]
    # A sequence messages its contacts, so each contact is added exactly once, however often the task runs.
    add_buyers = WtsAddToSequenceOperator(
        task_id="add_buyers", sequence="{{ params.sequence }}", phones=pick_buyers(), retries=3
    )
    # [END add_to_sequence]

    # [START list_sequence_contacts]
    list_members = WtsListSequenceContactsOperator(
        task_id="list_members", sequence="{{ params.sequence }}", include_details="ContactDetails"
    )
    # [END list_sequence_contacts]

    # [START remove_from_sequence]
    remove_returned = WtsRemoveFromSequenceOperator(
        task_id="remove_returned", sequence="{{ params.sequence }}", phone="{{ params.returned }}"
    )
    # [END remove_from_sequence]

    add_buyers >> list_members >> remove_returned
