"""A lead from the web shop becomes a card: create it, add a note, move it, win it, and list the open cards.

Needs a connection ``wts_default``, and the panel that the parameters name. The defaults suit the local WTS Chat
service: ``python -m airflow_provider_wts.emulator``.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_wts.operators.panel import (
    WtsCreateCardNoteOperator,
    WtsCreateCardOperator,
    WtsListCardsOperator,
    WtsUpdateCardOperator,
)

CARD_ID = "{{ ti.xcom_pull(task_ids='create_card')['id'] }}"

with DAG(
    dag_id="example_wts_panels",
    schedule=None,
    catchup=False,
    tags=["example", "wts"],
    doc_md=__doc__,
    params={
        "panel": Param("Funil de vendas", type="string", title="Panel", description="Title, key or ID."),
        "phone": Param("+55 11 99999-0001", type="string", title="Customer", description="Phone number of a contact."),
        "amount": Param(12500.0, type="number", title="Amount"),
    },
):
    # [START create_card]
    create_card = WtsCreateCardOperator(
        task_id="create_card",
        panel="{{ params.panel }}",
        step="Novo",
        title="Pedido pelo site",
        contacts="{{ params.phone }}",
        responsible_user="Ana Souza",
        tags=["Grande conta"],
        monetary_amount="{{ params.amount }}",
        due_date="{{ dag_run.start_date + macros.timedelta(days=7) }}",
        custom_fields={"Origem": "site"},
        metadata={"run": "{{ run_id }}"},
    )
    # [END create_card]

    # [START create_card_note]
    create_note = WtsCreateCardNoteOperator(
        task_id="create_note", card_id=CARD_ID, text="Carrinho de {{ params.amount }} reais; ligar hoje."
    )
    # [END create_card_note]

    # [START update_card]
    move_card = WtsUpdateCardOperator(task_id="move_card", card_id=CARD_ID, step="Em negociação", position=0)
    win_card = WtsUpdateCardOperator(task_id="win_card", card_id=CARD_ID, step="Fechado", status="WON")
    # [END update_card]

    # [START list_cards]
    list_open = WtsListCardsOperator(
        task_id="list_open", panel="{{ params.panel }}", statuses=["OPEN"], include_details=["StepTitle", "Contacts"]
    )
    # [END list_cards]

    create_card >> create_note >> move_card >> win_card >> list_open
