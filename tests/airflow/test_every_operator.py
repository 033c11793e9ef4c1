"""Every operator and sensor in a real run, as a plain task and as a mapped one."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import pytest

from airflow_provider_wts.provider_info import PROVIDER_INFO

# The tasks under test work on what tasks before them made.
DAG = """
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_wts.operators.chatbot import WtsSendChatbotBatchOperator, WtsSendChatbotOperator
from airflow_provider_wts.operators.message import WtsScheduleMessageOperator, WtsSendTextOperator
from airflow_provider_wts.operators.panel import WtsCreateCardNoteOperator, WtsCreateCardOperator
from {module} import {name}

def made(task, key="id"):
    return "{{{{ ti.xcom_pull(task_ids='" + task + "')['" + key + "'] }}}}"

SESSION, CARD, NOTE, OTHER = made("session"), made("card"), made("note"), made("other")
MESSAGE, SCHEDULED, LATER, BATCH = made("message"), made("scheduled"), made("later"), made("batch", "manifest_path")

with DAG(DAG_ID, schedule=None):
    {making}
    plain = {name}(task_id="plain", {parameters})
    mapped = {name}.partial(task_id="mapped", {mapped_parameters}).expand(wts_conn_id=["wts_default"])
    {order}
"""

_SCHEDULED = (
    """WtsScheduleMessageOperator(task_id="{name}", to="+55 11 99999-0001", channel="WhatsApp principal", """
    """template="carrinho", scheduling="{{{{ macros.datetime.now(macros.dateutil.tz.UTC) + """
    """macros.timedelta(days={days}) }}}}")"""
)
# What is there to work on, as Python text. A task that works on it says so by its name in capitals.
MADE = {
    "session": """WtsSendChatbotOperator(
        task_id="session", chatbot="Falar com atendente", to="+55 11 99999-0003"
    )""",
    "card": """WtsCreateCardOperator(task_id="card", panel="Funil de vendas", step="Novo", title="Pedido")""",
    "note": """WtsCreateCardNoteOperator(task_id="note", card_id=CARD, text="Nota")""",
    "other": """WtsCreateCardNoteOperator(task_id="other", card_id=CARD, text="Outra")""",
    "message": """WtsSendTextOperator(
        task_id="message", to="+55 11 99999-0001", channel="WhatsApp principal", text="Oi"
    )""",
    "scheduled": _SCHEDULED.format(name="scheduled", days=3),
    "later": _SCHEDULED.format(name="later", days=4),
    "batch": """WtsSendChatbotBatchOperator(
        task_id="batch", chatbot="Cobrança", recipients=["+55 11 97777-0009"], results_path=__file__ + ".results"
    )""",
}

TEMPLATE = {"to": "'+55 11 99999-0001'", "channel": "'WhatsApp principal'", "template": "'carrinho'"}
RECIPIENTS = "['+55 11 97777-0001', '+55 11 97777-0002']"

# Parameters as Python text, by operator.
PARAMETERS: dict[str, dict[str, str]] = {
    "WtsCampaignOutcomeOperator": {"campaign": "BATCH"},
    "WtsCallOperator": {"operation_id": "'list_tags'"},
    "WtsSendChatbotOperator": {"chatbot": "'Cobrança'", "to": "'+55 11 99999-0001'"},
    "WtsSendChatbotBatchOperator": {"chatbot": "'Cobrança'", "recipients": RECIPIENTS},
    "WtsListChatbotsOperator": {},
    "WtsListChannelsOperator": {},
    "WtsCreateContactOperator": {"name": "'Fernanda'", "phone_number": "'+55 11 96666-0001'", "get_if_exists": "True"},
    "WtsUpdateContactOperator": {"phone": "'+55 11 99999-0001'", "annotation": "''"},
    "WtsGetContactOperator": {"phone": "'+55 11 99999-0001'"},
    "WtsListContactsOperator": {},
    "WtsSaveContactsOperator": {
        "contacts": "[{'name': 'Gil', 'phone_number': '+55 11 96666-0002'}]",
        "upsert": "True",
    },
    "WtsUpdateContactTagsOperator": {"phone": "'+55 11 99999-0001'", "tags": "['VIP']"},
    "WtsSendTextOperator": {"to": "'+55 11 99999-0002'", "text": "'Oi'"},
    "WtsSendFileOperator": {"to": "'+55 11 99999-0002'", "file": "'https://example.com/a.pdf'"},
    "WtsSendTemplateOperator": TEMPLATE,
    "WtsSendTemplateBatchOperator": {
        "channel": "'WhatsApp principal'",
        "template": "'carrinho'",
        "recipients": RECIPIENTS,
    },
    "WtsSendTextBatchOperator": {"recipients": RECIPIENTS, "row_text": "'Oi'"},
    "WtsScheduleMessageOperator": {
        **TEMPLATE,
        "scheduling": "'{{ macros.datetime.now(macros.dateutil.tz.UTC) + macros.timedelta(days=3) }}'",
    },
    "WtsCancelScheduledMessageOperator": {"scheduled_message_id": "SCHEDULED"},
    "WtsGetMessageOperator": {"message_id": "MESSAGE"},
    "WtsGetMessageStatusOperator": {"message_id": "MESSAGE"},
    "WtsListMessagesOperator": {"session_id": "SESSION"},
    "WtsListTemplatesOperator": {},
    "WtsUploadFileOperator": {"file": "__file__", "file_type": "'DOCUMENT'"},
    "WtsListPanelsOperator": {},
    "WtsGetPanelOperator": {"panel": "'Funil de vendas'"},
    "WtsListCardsOperator": {"panel": "'Funil de vendas'"},
    "WtsGetCardOperator": {"card_id": "CARD"},
    "WtsCreateCardOperator": {"panel": "'Funil de vendas'", "step": "'Novo'", "title": "'Outro'"},
    "WtsUpdateCardOperator": {"card_id": "CARD", "position": "0"},
    "WtsDuplicateCardOperator": {"card_id": "CARD"},
    "WtsListCardNotesOperator": {"card_id": "CARD"},
    "WtsCreateCardNoteOperator": {"card_id": "CARD", "text": "'Nota'"},
    "WtsDeleteCardNoteOperator": {"card_id": "CARD", "note_id": "NOTE"},
    "WtsListSequencesOperator": {},
    "WtsListSequenceContactsOperator": {"sequence": "'Pós-venda'"},
    "WtsAddToSequenceOperator": {"sequence": "'Pós-venda'", "phone": "'+55 11 99999-0001'"},
    "WtsRemoveFromSequenceOperator": {"sequence": "'Pós-venda'", "phones": "['+55 11 99999-0001']"},
    "WtsGetSessionOperator": {"session_id": "SESSION"},
    "WtsListSessionsOperator": {},
    "WtsChangeSessionStatusOperator": {"session_id": "SESSION", "new_status": "'PENDING'"},
    "WtsCompleteSessionOperator": {"session_id": "SESSION"},
    "WtsTransferSessionOperator": {"session_id": "SESSION", "department": "'Vendas'"},
    "WtsAssignSessionOperator": {"session_id": "SESSION", "user": "'Ana Souza'"},
    "WtsUpdateSessionOperator": {"session_id": "SESSION", "metadata": "{'a': 1}"},
    "WtsCreateSessionNoteOperator": {"session_id": "SESSION", "text": "'Nota'"},
    "WtsExportConversationsOperator": {
        "output_path": "'file://' + __file__ + '.export'",
        "updated_after": "'2020-01-01T00:00:00Z'",
        "updated_before": "'2099-01-01T00:00:00Z'",
    },
    "WtsSessionSensor": {"session_id": "SESSION", "target_status": "['STARTED', 'PENDING', 'COMPLETED']"},
    "WtsSessionsSensor": {"session_ids": "[SESSION]", "target_status": "['STARTED', 'PENDING', 'COMPLETED']"},
    "WtsMessageStatusSensor": {"message_id": "MESSAGE", "poke_interval": "0.2"},
    "WtsSessionReplySensor": {
        "session_id": "SESSION",
        "since": "'2020-01-01T00:00:00Z'",
        "timeout": "0",
        "soft_fail": "True",
    },
}

# What a second task of the DAG has to work on, where the first one used it up.
MAPPED = {
    "WtsDeleteCardNoteOperator": {"note_id": "OTHER"},
    "WtsCancelScheduledMessageOperator": {"scheduled_message_id": "LATER"},
}


def public() -> dict[str, str]:
    """Return the modules of all public operators and sensors, by class name."""
    found = {}
    for kind in ("operators", "sensors"):
        for entry in PROVIDER_INFO[kind]:
            for module in entry["python-modules"]:
                imported = importlib.import_module(module)
                for name in getattr(imported, "__all__", None) or vars(imported):
                    value: Any = getattr(imported, name)
                    if inspect.isclass(value) and name.startswith("Wts") and name in _leaves(imported):
                        found[name] = module
    return found


def _leaves(module: Any) -> set[str]:
    """Return the names of a module's operators that are no base of others."""
    bases = {"WtsOperator", "WtsListOperator", "WtsSendingOperator", "WtsOnceOperator", "WtsQueryOperator", "WtsSensor"}
    return {name for name in vars(module) if name.endswith(("Operator", "Sensor")) and name not in bases}


def test_every_public_operator_and_sensor_is_run_here() -> None:
    assert public().keys() == PARAMETERS.keys()


@pytest.mark.parametrize("name", PARAMETERS)
def test_it_runs_plain_and_mapped(name, run_dag, dag_file, wts_connection) -> None:
    plain = _arguments(PARAMETERS[name])
    mapped = _arguments({**PARAMETERS[name], **MAPPED.get(name, {})})
    made = _made_for(f"{plain}, {mapped}")
    text = DAG.format(
        module=public()[name],
        name=name,
        making="\n    ".join(f"{one} = {MADE[one]}" for one in made),
        parameters=plain,
        mapped_parameters=mapped,
        order=" >> ".join([*made, "plain", "mapped"]),
    )
    outcome = run_dag(dag_file(text), connections=wts_connection)
    wanted = "skipped" if name == "WtsSessionReplySensor" else "success"
    assert outcome.task("plain").state == wanted, outcome.logs
    if wanted == "success":
        assert [task.state for task in outcome.mapped("mapped")] == [wanted], outcome.logs


def _arguments(parameters: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in parameters.items())


def _made_for(arguments: str) -> list[str]:
    """Return what these arguments work on, in the order in which it is made."""
    found = {name for name in MADE if re.search(rf"\b{name.upper()}\b", arguments)}
    return [name for name in MADE if name in found or any(f"{name.upper()}," in MADE[one] for one in found)]
