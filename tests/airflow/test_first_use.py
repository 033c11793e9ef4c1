"""What a data engineer does first, from the docs alone: a DAG out of dag_run.conf, a sheet and a CSV file of Excel."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest
from openpyxl import Workbook
from real_airflow import without_mark

ROOT = Path(__file__).resolve().parent.parent.parent
PHONE = "+5511999990001"

CAMPAIGN = """
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_wts.operators.message import WtsSendTextBatchOperator

with DAG(DAG_ID, schedule=None):
    WtsSendTextBatchOperator(
        task_id="send",
        channel="WhatsApp principal",
        recipients_path="{{ dag_run.conf['path'] }}",
        recipients_encoding="{{ dag_run.conf.get('encoding') }}",
        row_to="{{ row.Telefone }}",
        row_text="Olá {{ row.Nome }}, R$ {{ row['Valor (R$)'] | money | as_br }} "
        "até {{ row.Vencimento | date | as_br }}.",
        on_bad_row="{{ dag_run.conf.get('on_bad_row') }}",
    )
"""
TEXTS = [
    "Olá José Conceição, R$ 149,90 até 31/12/2026.",
    'Olá Ana "Nina", R$ 1.234,56 até 01/01/2027.',
    "Olá Zé, R$ 80,00 até 31/12/2026.",
]


@pytest.fixture
def send(run_dag, wts_connection, tmp_path):
    """Run the DAG that docs/howto/chatbots.md shows, with a configuration."""
    page = (ROOT / "docs" / "howto" / "chatbots.md").read_text("utf-8")
    (code,) = re.findall(r"<!-- .*test_first_use\.py -->\n```python\n(.*?)```", page, re.S)
    path = tmp_path / "shown.py"
    path.write_text(code, encoding="utf-8")
    return lambda **conf: run_dag(path, connections=wts_connection, conf=conf)


def test_all_nine_properties_of_a_chatbot_come_from_the_run(send, fast_emulator):
    outcome = send(
        **{
            "chatbot": "Cobrança",
            "from": "WhatsApp principal",
            "to": "(11) 99999-0001",
            "session_id": "",
            "force_start_session": True,
            "skip_if_bot_in_execution": False,
            "skip_if_in_progress": "",
            "session_metadata": {"fatura": "2026-118", "valor": 149.9, "pago": False},
            "contact_metadata": {"origem": {"sistema": "erp"}},
        }
    )
    assert outcome.state == "success", outcome.logs[-4000:]
    metadata = outcome.task("send").returned["metadata"]
    assert without_mark(metadata) == {"fatura": "2026-118", "valor": 149.9, "pago": False}
    (request,) = fast_emulator.requests_of("send_chatbot")
    assert request.body["options"] == {"forceStartSession": True, "skipIfBotInExecution": False}
    assert request.body["contactMetadata"] == {"origem": {"sistema": "erp"}}


@pytest.mark.parametrize("nothing", [{}, dict.fromkeys(["from", "session_id", "force_start_session"])], ids=str)
def test_what_the_run_leaves_out_is_not_given(send, fast_emulator, nothing):
    outcome = send(chatbot="Cobrança", to="11999990001", **nothing)
    assert outcome.state == "success", outcome.logs[-4000:]
    (request,) = fast_emulator.requests_of("send_chatbot")
    assert request.body.keys() == {"botKey", "to", "sessionMetadata", "senderId"}
    assert without_mark(request.body["sessionMetadata"]) == {}


def test_a_bot_and_a_session_go_by_id(send, fast_emulator):
    session = fast_emulator.contact_writes(PHONE, "Oi")["sessionId"]
    bot = next(one for one in fast_emulator.state.chatbots.by_creation() if one["name"] == "Cobrança")
    outcome = send(chatbot=str(bot.id), session_id=session)
    assert outcome.state == "success", outcome.logs[-4000:]
    assert outcome.task("send").returned["id"] == session


@pytest.mark.parametrize(
    ("conf", "told"),
    [
        ({"to": PHONE}, "chatbot: is empty"),
        ({"chatbot": "Cobrança"}, "to: is empty, and so is session_id"),
        ({"chatbot": "Cobrança", "to": PHONE, "from": "Vendas"}, "There is no channel 'Vendas'"),
        ({"chatbot": "Cobrança", "to": PHONE, "force_start_session": "talvez"}, "must be true or false"),
    ],
)
def test_a_mistake_in_the_run_is_named_and_nothing_is_sent(send, fast_emulator, conf, told):
    outcome = send(**conf)
    assert outcome.state == "failed"
    assert told in outcome.logs, outcome.logs[-4000:]
    assert not fast_emulator.deliveries


def sheet(path: Path) -> None:
    """Write a sheet as people keep it: numbers for phones and money, dates, and columns that hold nothing."""
    book = Workbook()
    page = book.active
    page.append(["Nome", "Telefone", "Valor (R$)", "Vencimento", None, ""])
    page.append(["José Conceição", 11999990001, 149.9, datetime(2026, 12, 31)])
    page.append(['Ana "Nina"', 5511999990002, 1234.56, datetime(2027, 1, 1), None, " "])
    page.append(["Zé", "(11) 99999-0003", "R$ 80,00", "31/12/2026"])
    for row in (2, 3):
        page.cell(row, 3).number_format = '"R$" #,##0.00'
        page.cell(row, 4).number_format = "dd/mm/yyyy"
    book.save(path)


def csv(path: Path) -> None:
    """Write what Excel in Brazil saves as CSV."""
    rows = [
        "Nome;Telefone;Valor (R$);Vencimento;;",
        "José Conceição;11999990001;149,90;31/12/2026;;",
        '"Ana ""Nina""";5511999990002; R$ 1.234,56 ;01/01/2027;;',
        "Zé;(11) 99999-0003;80;31/12/2026;;",
    ]
    path.write_bytes("\r\n".join([*rows, ""]).encode("cp1252"))


@pytest.mark.parametrize(("write", "name", "encoding"), [(sheet, "c.xlsx", ""), (csv, "c.csv", "cp1252")])
def test_a_campaign_from_a_file_of_excel_in_brazil(
    run_dag, wts_connection, dag_file, fast_emulator, tmp_path, write, name, encoding
):
    fast_emulator.switches.whatsapp_window = "off"
    write(tmp_path / name)
    conf = {"path": str(tmp_path / name), "encoding": encoding}
    outcome = run_dag(dag_file(CAMPAIGN), connections=wts_connection, conf=conf)
    assert outcome.state == "success", outcome.logs[-4000:]
    assert outcome.task("send").returned["sent"] == 3
    received = [fast_emulator.received(f"+551199999000{number}") for number in (1, 2, 3)]
    assert [[one.text for one in messages] for messages in received] == [[text] for text in TEXTS]


def test_a_column_that_is_missing_is_named_and_nothing_is_sent(
    run_dag, wts_connection, dag_file, fast_emulator, tmp_path
):
    (tmp_path / "c.csv").write_text("Nome;Fone\nAna;11999990001\n")
    outcome = run_dag(dag_file(CAMPAIGN), connections=wts_connection, conf={"path": str(tmp_path / "c.csv")})
    assert outcome.state == "failed"
    assert "Line 2: row_to: there is no column 'Telefone'; the row's columns are 'Nome', 'Fone'" in outcome.logs
    assert not fast_emulator.deliveries
