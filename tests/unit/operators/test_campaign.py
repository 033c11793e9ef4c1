"""Campaigns: one task that sends to many, each exactly once, and says what became of each."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import threading
import uuid
from contextlib import nullcontext
from copy import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    TaskDeferred,
)
from tries import number, numbers

from airflow_provider_wts.api.errors import WtsError
from airflow_provider_wts.campaigns import run as run_module
from airflow_provider_wts.campaigns.recipients import Recipient
from airflow_provider_wts.campaigns.results import Progress, Result, ResultsFile
from airflow_provider_wts.operators.chatbot import WtsSendChatbotBatchOperator
from airflow_provider_wts.operators.message import (
    WtsSendTemplateBatchOperator,
    WtsSendTextBatchOperator,
    WtsSendTextOperator,
)
from airflow_provider_wts.sending import ledger as ledger_module
from airflow_provider_wts.sending import rules

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.running import Emulator

BOT = "Cobrança"


@pytest.fixture(autouse=True)
def quiet(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    emulator.behave("*", replies=[])
    emulator.switches.whatsapp_window = "off"
    monkeypatch.setattr("airflow_provider_wts.sending.reconcile.effect_lag", lambda timeout: 0.3)
    monkeypatch.setattr("airflow_provider_wts.sending.reconcile._QUEUE_INTERVAL", 0.1)


@pytest.fixture
def context(context: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The context of a try, with a ledger that all versions of Airflow can have."""
    monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", f"file://{tmp_path}/ledger")
    return context


def chatbot(**parameters: Any) -> WtsSendChatbotBatchOperator:
    return WtsSendChatbotBatchOperator(**{"task_id": "send", "chatbot": BOT, **parameters})


def template(**parameters: Any) -> WtsSendTemplateBatchOperator:
    given = {"task_id": "send", "template": "saudacao", "channel": "WhatsApp principal", **parameters}
    return WtsSendTemplateBatchOperator(**given)


def text(**parameters: Any) -> WtsSendTextBatchOperator:
    return WtsSendTextBatchOperator(**{"task_id": "send", "row_text": "Olá!", **parameters})


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def received(emulator: Emulator, to: str) -> int:
    return len(emulator.received(to.replace(" ", "")))


def settle(emulator: Emulator) -> None:
    """Let the queue of the platform run empty."""
    emulator.advance(2)


# Many in few requests -------------------------------------------------------------------------------------------------


def test_a_thousand_chatbots_are_ten_requests(wts_connection: Emulator, context: dict[str, Any]) -> None:
    counts = chatbot(recipients=numbers(1000)).execute(context)
    assert counts["sent"] == counts["recipients"] == 1000
    assert len(wts_connection.requests_of("queue_chatbot_batch")) == 10
    assert len(wts_connection.requests) == 11  # and the list of chatbots
    settle(wts_connection)
    assert len(wts_connection.deliveries) >= 1000
    assert {received(wts_connection, number(index)) for index in range(0, 1000, 97)} == {1}
    assert wts_connection.violations == []


def test_a_campaign_that_breaks_off_says_how_many_got_the_message(
    wts_connection: Emulator, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = ledger_module.write_whole

    def on_a_full_disk(path: Any, content: bytes, **options: Any) -> None:
        if path.name.endswith("_1.json"):
            raise OSError("No space left on device")
        write(path, content, **options)

    monkeypatch.setattr(ledger_module, "write_whole", on_a_full_disk)
    with pytest.raises(WtsError, match="so nothing more was sent: No space left") as problem:
        chatbot(recipients=numbers(500)).execute(context)
    # Whoever reads "nothing was sent" starts another campaign, for everybody.
    assert problem.value.__notes__[0].startswith("Before this error, the message went to 200 of 500 recipients.")


def test_templates_go_out_a_hundred_a_request(wts_connection: Emulator, context: dict[str, Any]) -> None:
    rows = [{"to": number(index), "name": f"Cliente {index}"} for index in range(250)]
    counts = template(recipients=rows, row_parameters={"nome": "{{ row.name }}"}).execute(context)
    assert counts["sent"] == 250
    requests = wts_connection.requests_of("send_template_batch")
    assert sorted(len(request.body["messages"]) for request in requests) == [50, 100, 100]
    settle(wts_connection)
    assert wts_connection.received("+55|11910000007")[0].text == "Olá Cliente 7, tudo bem?"
    assert wts_connection.violations == []


def test_texts_go_out_one_by_one_each_with_its_mark(wts_connection: Emulator, context: dict[str, Any]) -> None:
    rows = [{"to": number(index), "name": f"Cliente {index}"} for index in range(60)]
    counts = text(recipients=rows, row_text="Olá {{ row.name }}!", parallelism=8).execute(context)
    assert counts["sent"] == 60
    settle(wts_connection)
    assert [received(wts_connection, number(index)) for index in range(60)] == [1] * 60
    assert wts_connection.received("+55|11910000003")[0].text == "Olá Cliente 3!"
    assert len({request.body["senderId"] for request in wts_connection.requests_of("send_text")}) == 60
    assert wts_connection.violations == []


# Where recipients come from -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (f'to;name\n{number(1)};"Ana\n{number(2)};Bia\n', "from line 2 on"),
        (f"to;name\n{number(1)};Jo\u00c3\u00a3o\n", "Line 2: name: "),
        ("to;name\n11 98888-777;Ana\n", "Line 2: to: "),
        ("<html>to;name</html>", "a web page"),
        ("PK\x03\x04", "an Excel file"),
    ],
)
def test_a_file_that_may_tell_a_customer_of_another_goes_to_nobody(
    wts_connection: Emulator, context: dict[str, Any], tmp_path: Path, content: str, why: str
) -> None:
    (tmp_path / "a.csv").write_text(content, "utf-8")
    with pytest.raises(AirflowFailException, match=why):
        text(recipients_path=str(tmp_path / "a.csv"), row_text="{{ row.name }}").execute(context)
    assert wts_connection.requests_of("send_text") == []


def test_a_csv_file_as_excel_in_brazil_writes_it(
    wts_connection: Emulator, context: dict[str, Any], tmp_path: Path
) -> None:
    source = tmp_path / "campaign.csv"
    source.write_text("telefone;fatura;valor\n(11) 91000-0001;118;149.9\n11 91000-0002;119;20\n", encoding="utf-8-sig")
    metadata = {"invoice": "{{ row.fatura }}", "amount": "{{ row.valor | float }}", "text": "R$ {{ row.valor }}"}
    chatbot(
        recipients_path=str(source), row_to="{{ row.telefone }}", row_session_metadata=metadata, mark_session=False
    ).execute(context)
    messages = wts_connection.requests_of("queue_chatbot_batch")[0].body["messages"]
    assert [message["to"] for message in messages] == ["+55|11910000001", "+55|11910000002"]
    assert messages[0]["sessionMetadata"] == {"invoice": "118", "amount": 149.9, "text": "R$ 149.9"}


def test_a_json_lines_file_with_columns_named_as_the_parameters(
    wts_connection: Emulator, context: dict[str, Any], tmp_path: Path
) -> None:
    source = tmp_path / "campaign.jsonl"
    rows = [{"to": number(index), "session_metadata": {"n": index}} for index in range(3)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert chatbot(recipients_path=f"file://{source}").execute(context)["sent"] == 3
    messages = wts_connection.requests_of("queue_chatbot_batch")[0].body["messages"]
    assert [message["sessionMetadata"]["n"] for message in messages] == [0, 1, 2]


def test_the_output_of_a_task_as_json_text(wts_connection: Emulator, context: dict[str, Any]) -> None:
    assert chatbot(recipients=json.dumps(numbers(2))).execute(context)["sent"] == 2


def test_duplicates_are_left_out_however_they_are_spelled(
    wts_connection: Emulator, context: dict[str, Any], tmp_path: Path
) -> None:
    results = tmp_path / "results.jsonl"
    given = ["+55 11 91000-0001", "11910000001", "+55|1110000001", "+55 (11) 91000-0002", "+5511 9 9100-0003"]
    given[2] = "+55|11 9100-0003"  # the same subscriber, without the ninth digit
    counts = chatbot(recipients=given, results_path=str(results)).execute(context)
    assert (counts["sent"], counts["duplicates"]) == (3, 2)
    assert [(line["line"], line["status"]) for line in lines(results)] == [
        (2, "duplicate"),
        (5, "duplicate"),
        (1, "sent"),
        (3, "sent"),
        (4, "sent"),
    ]


def test_one_bad_row_and_nothing_is_sent(wts_connection: Emulator, context: dict[str, Any], tmp_path: Path) -> None:
    source = tmp_path / "campaign.csv"
    source.write_text("to,name\n11910000001,Ana\n12,Bia\n11910000003,Caio,extra\n")
    with pytest.raises(AirflowFailException, match=r"(?s)2 of 3 rows are bad.*\nLine 3: to: '12'.*\nLine 4: has 3"):
        chatbot(recipients_path=str(source)).execute(context)
    assert wts_connection.requests_of("queue_chatbot_batch") == []


def test_bad_rows_can_be_skipped_and_are_listed(
    wts_connection: Emulator, context: dict[str, Any], tmp_path: Path
) -> None:
    results = tmp_path / "deep" / "results.jsonl"
    counts = chatbot(recipients=[number(1), "12", None], on_bad_row="skip", results_path=str(results)).execute(context)
    assert (counts["sent"], counts["bad_rows"]) == (1, 2)
    bad = [line for line in lines(results) if line["status"] == "bad_row"]
    assert [line["line"] for line in bad] == [2, 3]
    manifest = json.loads((tmp_path / "deep" / "results.jsonl.manifest.json").read_text())
    assert (manifest["sent"], manifest["bad_rows"], manifest["task_id"]) == (1, 2, "send")


def test_the_results_say_how_each_send_is_found_again(
    wts_connection: Emulator, context: dict[str, Any], ledger: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results.jsonl"
    begun = datetime.now(UTC)
    for _ in range(2):
        chatbot(recipients=[number(1), number(2)], results_path=str(results), on_clear="continue").execute(context)
        manifest = json.loads((tmp_path / "results.jsonl.manifest.json").read_text())
        assert uuid.UUID(manifest["campaign_id"])
        assert (manifest["generation"], manifest["wts_conn_id"]) == (0, "wts_default")
        assert manifest["traces"]["status_operation"] == "get_queued_chatbot_status"
        assert [line["send_key"] for line in lines(results)] == [one["senderId"] for one in wts_connection.sends]
        # Also where an earlier try sent it.
        assert all(begun <= datetime.fromisoformat(line["sent_at"]) <= datetime.now(UTC) for line in lines(results))
    assert len(wts_connection.sends) == 2


def test_parameters_that_do_not_fit_the_template_are_bad_rows(
    wts_connection: Emulator, context: dict[str, Any]
) -> None:
    with pytest.raises(AirflowFailException, match=r"Line 1: .*'nome' missing"):
        template(recipients=numbers(2)).execute(context)
    assert wts_connection.requests_of("send_template_batch") == []


def test_a_connection_that_allows_few_recipients(
    wts_connection: Emulator, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {
        "conn_type": "wts",
        "host": wts_connection.url,
        "password": wts_connection.token,
        "extra": {"allowed_recipients": number(1)},
    }
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))
    counts = chatbot(recipients=numbers(3), on_bad_row="skip").execute(context)
    assert (counts["sent"], counts["bad_rows"]) == (1, 2)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, "give exactly one of them"),
        ({"recipients": "+55 11 91000-0001"}, "recipients: is not valid JSON|must be a list"),
        ({"recipients": {"to": "1"}}, "recipients: must be a list, not dict"),
        ({"recipients": None}, "recipients: the value was None"),
        ({"recipients": "None"}, "recipients: the value was 'None'"),
        ({"recipients": numbers(1), "recipients_path": "a.csv"}, "give exactly one of them"),
        ({"recipients_path": "/nowhere/at/all.csv"}, "there is no file"),
        ({"recipients_path": "/", "recipients_format": "parquet"}, "'/' is a folder, as Spark writes them"),
        ({"recipients": ["1"], "max_failures": "many"}, "rows are bad|max_failures"),
        ({"recipients": numbers(1), "max_failures": "many"}, "max_failures: 'many' must be a count or a share"),
        ({"recipients": numbers(1), "on_bad_row": "ignore"}, "on_bad_row: 'ignore' is not a valid value"),
        ({"recipients": numbers(1), "chunk_size": 101}, "chunk_size: 101 is not a whole number from 1 to 100"),
        ({"recipients": numbers(1), "outside_window": "maybe"}, "outside_window"),
        ({"recipients": numbers(1), "progress_interval": "soon"}, "progress_interval: 'soon' is not a number from 0"),
        ({"recipients": numbers(1), "exclude_tags": iter(["VIP"])}, "exclude_tags: must be a list, not list_iterator"),
        ({"recipients": numbers(1), "results_path": "/tmp/a\0b"}, "results_path: .* cannot be written to"),
        ({"recipients": numbers(1), "results_path": "/tmp/" + "x" * 250}, "results_path: .* File name too long"),
        ({"recipients": numbers(1), "results_path": "/tmp"}, "results_path: '/tmp' is a folder"),
        ({"recipients": numbers(1), "row_to": "{{ row.phone }}"}, "there is no column 'phone'"),
        ({"recipients": numbers(1), "row_to": "{{ row.phone"}, "row_to: is not a valid template"),
    ],
)
def test_impossible_input(
    wts_connection: Emulator, context: dict[str, Any], parameters: dict[str, Any], words: str
) -> None:
    with pytest.raises(AirflowFailException, match=words):
        chatbot(**parameters).execute(context)
    assert wts_connection.requests_of("queue_chatbot_batch") == []


@pytest.mark.parametrize(
    "given", [{"recipients": []}, {"recipients": "[]"}, {"recipients_path": "header.csv"}], ids=str
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_without_recipients_the_task_is_skipped_with_the_reason(
    wts_connection: Emulator,
    context: dict[str, Any],
    tmp_path: Path,
    logged: Any,
    given: dict[str, Any],
    dry_run: bool,
) -> None:
    if "recipients_path" in given:
        (tmp_path / "header.csv").write_text("to;nome\n;\n")
        given = {"recipients_path": str(tmp_path / "header.csv")}
    with pytest.raises(AirflowSkipException, match="there are no recipients"):
        chatbot(**given, dry_run=dry_run).execute(context)
    assert "there are no recipients" in logged.text("warning")


def test_a_parquet_file(wts_connection: Emulator, context: dict[str, Any], tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    source = tmp_path / "campaign.parquet"
    due = datetime(2026, 3, 1, 12, 0)
    rows = [{"phone": 5511910000000 + index, "amount": index / 2, "due": due} for index in range(1, 4)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), source)
    metadata = {"amount": "{{ row.amount }}", "due": "{{ row.due }}"}
    chatbot(
        recipients_path=str(source), row_to="+{{ row.phone }}", row_session_metadata=metadata, mark_session=False
    ).execute(context)
    messages = wts_connection.requests_of("queue_chatbot_batch")[0].body["messages"]
    assert [message["to"] for message in messages] == [f"+55|1191000000{index}" for index in (1, 2, 3)]
    assert messages[2]["sessionMetadata"] == {"amount": 1.5, "due": "2026-03-01T12:00:00"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"template": "em_revisao"}, "'em_revisao' is not approved"),
        ({"template": "oferta"}, "file: template 'oferta' requires a file of the type image"),
        ({"template": "pesquisa", "row_file": "https://example.com/a.png"}, "is a text without a file"),
        ({"row_parameters": {"nome": " "}}, r"parameters\['nome'\]: has no value"),
        ({"row_parameters": {"nome": "{{ row.nome }}"}}, "'nome' has no value"),
    ],
)
def test_what_meta_always_refuses_is_refused_before_it_is_sent(
    wts_connection: Emulator, context: dict[str, Any], given: dict[str, Any], words: str
) -> None:
    wts_connection.seed(templates=[{"name": "oferta", "text": "Oferta", "file_type": "IMAGE"}])
    with pytest.raises(AirflowFailException, match=words):
        template(recipients=[{"to": number(1), "nome": "nan"}], **given).execute(context)
    assert wts_connection.requests_of("send_template_batch") == []


def test_values_and_addresses_of_a_campaign_are_written_as_meta_takes_them(
    wts_connection: Emulator, context: dict[str, Any]
) -> None:
    wts_connection.seed(templates=[{"name": "oferta", "text": "{{nome}}", "params": ["nome"], "file_type": "IMAGE"}])
    rows = [
        {"to": number(index), "nome": "Ana\nMaria\t!", "file": "https://example.com/é b.png"} for index in range(300)
    ]
    template(template="oferta", recipients=rows, row_parameters={"nome": "{{ row.nome }}"}).execute(context)
    sent = wts_connection.requests_of("send_template_batch")[0].body["messages"][0]
    assert sent["parameters"] == {"nome": "Ana Maria !"}
    assert sent["fileIdOrUrl"] == "https://example.com/%C3%A9%20b.png"
    # The template was looked up once for all.
    assert len(wts_connection.requests_of("list_templates")) == 1


def test_a_text_longer_than_whatsapp_takes_is_warned_about_once(
    wts_connection: Emulator, context: dict[str, Any], logged: Any
) -> None:
    text(recipients=numbers(3), row_text="a" * 4097).execute(context)
    assert logged.text("warning").count("text: has 4,097 characters, but WhatsApp accepts 4,096") == 1


def test_a_missing_value_in_metadata_is_null(wts_connection: Emulator, context: dict[str, Any]) -> None:
    rows = [
        {"to": number(0), "session_metadata": '{"valor": NaN, "nome": "Ana"}'},
        {"to": number(1), "session_metadata": {"valor": float("nan"), "nome": ["nan", 1]}},
    ]
    chatbot(recipients=rows, mark_session=False).execute(context)
    sent = wts_connection.requests_of("queue_chatbot_batch")[0].body["messages"]
    assert [message["sessionMetadata"] for message in sent] == [
        {"valor": None, "nome": "Ana"},
        {"valor": None, "nome": [None, 1]},
    ]


def source_of(kind: str, tmp_path: Path) -> dict[str, Any]:
    """Three rows as a list, CSV, Parquet, Excel or data frame; the second and the third have no name."""
    import pyarrow
    from openpyxl import Workbook
    from pyarrow import parquet

    rows = [{"to": number(0), "nome": "Ana"}, {"to": number(1), "nome": None}, {"to": number(2), "nome": "nan"}]
    if kind == "list":
        return {"recipients": [rows[0], {**rows[1], "nome": float("nan")}, rows[2]]}
    if kind == "JSON":
        return {"recipients": json.dumps([rows[0], {**rows[1], "nome": float("nan")}, rows[2]])}
    table = pyarrow.Table.from_pylist(rows)
    if kind == "table":
        return {"recipients": table}
    path = tmp_path / f"campaign.{kind}"
    if kind == "parquet":
        parquet.write_table(table, path)
    elif kind == "csv":
        path.write_text("to,nome\n" + "".join(f"{row['to']},{row['nome'] or ''}\n" for row in rows))
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        book = Workbook()
        for row in (["to", "nome"], *([row["to"], row["nome"]] for row in rows)):
            book.active.append(row)  # type: ignore[union-attr]
        book.save(path)
    return {"recipients_path": str(path)}


@pytest.mark.parametrize("kind", ["list", "JSON", "table", "csv", "jsonl", "parquet", "xlsx"])
@pytest.mark.parametrize("send", ["text", "text column", "template"])
def test_a_missing_value_reaches_no_customer_wherever_the_rows_come_from(
    wts_connection: Emulator, context: dict[str, Any], tmp_path: Path, kind: str, send: str
) -> None:
    given = {**source_of(kind, tmp_path), "on_bad_row": "skip"}
    if send == "template":
        counts = template(**given, row_parameters={"nome": "{{ row.nome }}"}).execute(context)
    else:
        counts = text(**given, row_text="Olá {{ row.nome }}!" if send == "text" else "{{ row.nome }}").execute(context)
    assert (counts["sent"], counts["bad_rows"]) == (1, 2)
    assert all("'nome' has no value" in one["reason"] for one in counts["not_reached"])
    assert len(counts["not_reached"]) == 2


# What fails -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reading", ["entries", "all"])
def test_bad_entries_fail_alone_under_both_readings_of_the_api(
    wts_connection: Emulator,
    context: dict[str, Any],
    tmp_path: Path,
    reading: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wts_connection.switches.batch_partial_failure = reading
    # The API knows countries that our check of numbers does not.
    monkeypatch.setattr("airflow_provider_wts.hooks.wts.WtsHook.recipient", lambda self, to: to.replace(" ", ""))
    given = [f"+55|119{10_000_000 + index:08d}" for index in range(200)]
    given[33], given[150] = "+55|12ab", "+55|x"
    results = tmp_path / "results.jsonl"
    counts = chatbot(recipients=given, results_path=str(results)).execute(context)
    assert (counts["sent"], counts["failed"]) == (198, 2)
    settle(wts_connection)
    assert received(wts_connection, number(32)) == received(wts_connection, number(199)) == 1
    assert [line["line"] for line in lines(results) if line["status"] == "failed"] == [34, 151]
    assert all(line["reason"] for line in lines(results) if line["status"] == "failed")


def test_results_in_another_order_reach_the_right_recipients(
    wts_connection: Emulator, context: dict[str, Any], tmp_path: Path
) -> None:
    wts_connection.switches.batch_order = "shuffled"
    results = tmp_path / "results.jsonl"
    chatbot(recipients=numbers(50), results_path=str(results)).execute(context)
    sends = {send.id: send.to for send in wts_connection.sends}
    assert [sends[line["id"]] for line in lines(results)] == [line["to"] for line in lines(results)]


def test_a_refusal_of_everything_ends_the_campaign_soon(wts_connection: Emulator, context: dict[str, Any]) -> None:
    with pytest.raises(AirflowFailException):
        chatbot(chatbot="00000000-0000-4000-8000-000000000000", recipients=numbers(300)).execute(context)
    assert len(wts_connection.requests_of("queue_chatbot_batch")) < 30


@pytest.mark.parametrize(("limit", "stops"), [(None, True), ("100%", False)])
def test_an_account_that_refuses_everybody_from_some_point_on_is_not_flooded(
    wts_connection: Emulator,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    limit: str | None,
    stops: bool,
) -> None:
    monkeypatch.setattr("airflow_provider_wts.campaigns.run.MAX_REFUSALS_IN_A_ROW", 8)
    wts_connection.faults.add("status", status=400, body="1192", operation_id="send_text", times=None)
    refused = [f"119200000{number}" for number in range(10, 47)]
    sending = text(recipients=[*numbers(3), *refused], chunk_size=4, parallelism=1, max_failures=limit)
    with pytest.raises(AirflowFailException, match="refused 9 recipients in a row") if stops else nullcontext():
        sending.execute(context)
    assert len(wts_connection.requests_of("send_text")) == (12 if stops else 40)


def test_failures_beyond_the_limit_stop_the_campaign_and_a_clear_goes_on(
    wts_connection: Emulator, context: dict[str, Any]
) -> None:
    wts_connection.switches.whatsapp_window = "refuse"
    failing = text(recipients=numbers(100), max_failures="1%", chunk_size=4, parallelism=1)
    with pytest.raises(AirflowFailException, match="More than 1 messages failed"):
        failing.execute(context)
    assert len(wts_connection.requests_of("send_text")) == 4
    assert context["ti"].xcoms["return_value"]["not_sent"] == 96
    wts_connection.switches.whatsapp_window = "off"
    context["ti"].max_tries, context["ti"].try_number = 1, 2
    assert text(recipients=numbers(100)).execute(context)["sent"] == 100


def test_a_clear_that_names_another_connection_sends_nobody_a_second_message(
    wts_connection: Emulator, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wts_connection.faults.add("status", status=401, operation_id="queue_chatbot_batch", nth=5, times=None)
    with pytest.raises(AirflowFailException, match="refused the token"):
        chatbot(recipients=numbers(50), chunk_size=5).execute(context)
    wts_connection.faults.clear()
    monkeypatch.setenv("AIRFLOW_CONN_WTS_NEW", os.environ["AIRFLOW_CONN_WTS_DEFAULT"])
    context["ti"].max_tries, context["ti"].try_number = 1, 2
    assert chatbot(recipients=numbers(50), chunk_size=5, wts_conn_id="wts_new").execute(context)["sent"] == 50
    settle(wts_connection)
    assert [received(wts_connection, to) for to in numbers(50)] == [1] * 50
    assert "An earlier try used the connection 'wts_default'" in caplog.text


def test_a_campaign_that_reaches_nobody_has_failed(wts_connection: Emulator, context: dict[str, Any]) -> None:
    wts_connection.switches.whatsapp_window = "refuse"
    with pytest.raises(AirflowFailException, match="All 3 messages failed"):
        text(recipients=numbers(3)).execute(context)


def undecided(emulator: Emulator, count: int, **parameters: Any) -> WtsSendChatbotBatchOperator:
    """A campaign whose first chunk gets no answer, and which leaves no mark that could be searched for."""
    # By whom it holds: two requests are under way at a time.
    emulator.faults.add("reset", when="after", operation_id="queue_chatbot_batch", body="11910000000")
    return chatbot(recipients=numbers(count), mark_session=False, **parameters)


def test_the_error_names_those_of_whom_nobody_knows(wts_connection: Emulator, context: dict[str, Any]) -> None:
    with pytest.raises(AirflowFailException) as caught:
        undecided(wts_connection, 8, chunk_size=2).execute(context)
    assert "+55 11 91000-0000 (line 1), +55 11 91000-0001 (line 2). It" in str(caught.value)


def test_the_error_names_twenty_and_says_how_many_more_there_are(
    wts_connection: Emulator, context: dict[str, Any]
) -> None:
    with pytest.raises(AirflowFailException) as caught:
        undecided(wts_connection, 30).execute(context)
    assert str(caught.value).count("(line ") == 20
    assert "+55 11 91000-0019 (line 20) and 10 more. It" in str(caught.value)


def test_a_try_that_raises_half_way_keeps_its_results(
    wts_connection: Emulator, context: dict[str, Any], tmp_path: Path
) -> None:
    wts_connection.faults.add("status", status=401, operation_id="queue_chatbot_batch", nth=3, times=None)
    results = tmp_path / "results.jsonl"
    with pytest.raises(AirflowFailException):
        chatbot(recipients=numbers(50), chunk_size=5, results_path=str(results)).execute(context)
    assert not results.exists()
    (partial,) = tmp_path.glob("results.jsonl.*.part")
    sent = [line["to"].replace("|", "") for line in lines(partial) if line["status"] == "sent"]
    assert sent[:10] == [to.replace(" ", "") for to in numbers(10)]


def test_a_task_whose_results_cannot_be_written_is_not_finished(
    wts_connection: Emulator, context: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr(ResultsFile, "complete", lambda self, manifest: (_ for _ in ()).throw(PermissionError("no")))
        with pytest.raises(PermissionError):
            chatbot(recipients=numbers(30), results_path=str(results)).execute(context)
    assert len(list(tmp_path.glob("results.jsonl.*.part"))) == 1
    context["ti"].max_tries, context["ti"].try_number = 1, 2
    assert chatbot(recipients=numbers(30), results_path=str(results)).execute(context)["sent"] == 30
    settle(wts_connection)
    assert [received(wts_connection, to) for to in numbers(30)] == [1] * 30


def test_a_task_whose_counts_cannot_be_stored_by_airflow_is_not_finished(
    wts_connection: Emulator, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(key: str, value: Any) -> None:
        raise RuntimeError("the database of Airflow does not answer")

    def one_try() -> None:
        counts = chatbot(recipients=numbers(30)).execute(context)
        context["ti"].xcom_push("return_value", counts)

    with monkeypatch.context() as patched:
        patched.setattr(context["ti"], "xcom_push", refuse)
        with pytest.raises(RuntimeError):
            one_try()
    context["ti"].max_tries, context["ti"].try_number = 1, 2
    one_try()
    settle(wts_connection)
    assert [received(wts_connection, to) for to in numbers(30)] == [1] * 30


@pytest.mark.parametrize(("on_clear", "again"), [("auto", 10), ("continue", 1)])
def test_a_clear_of_a_campaign_that_finished_with_failures(
    wts_connection: Emulator, context: dict[str, Any], on_clear: str, again: int
) -> None:
    wts_connection.faults.add("status", status=400, operation_id="send_text", nth=3)
    given = {"recipients": numbers(10), "on_clear": on_clear}
    assert text(**given).execute(context)["failed"] == 1
    before = len(wts_connection.requests_of("send_text"))
    context["ti"].max_tries, context["ti"].try_number = 1, 2
    assert text(**given).execute(context)["sent"] == 10
    assert len(wts_connection.requests_of("send_text")) - before == again


# Care -----------------------------------------------------------------------------------------------------------------


def test_a_dry_run_sends_nothing(wts_connection: Emulator, context: dict[str, Any], tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    shown = chatbot(recipients=numbers(250), dry_run=True, results_path=str(results)).execute(context)
    assert (shown["recipients"], shown["requests"]) == (250, 3)
    assert shown["first_request"]["body"]["messages"][0]["to"] == "+55|11910000000"
    assert wts_connection.requests_of("queue_chatbot_batch") == []
    assert not results.exists()
    assert not (tmp_path / "ledger").exists()


def test_a_dry_run_says_who_would_be_skipped_and_shows_three_messages(
    wts_connection: Emulator, context: dict[str, Any], logged: Any
) -> None:
    wts_connection.seed(contacts=[{"name": "Bia", "phone": "+55|11910000001", "tags": ["VIP"]}])
    rows = [{"to": number(index), "nome": f"Cliente {index}"} for index in range(6)] + ["12"]
    given = {"recipients": rows, "row_parameters": {"nome": "{{ row.nome }}"}, "exclude_tags": ["VIP"]}
    shown = template(**given, on_bad_row="skip", dry_run=True).execute(context)
    assert (shown["recipients"], shown["to_send"], shown["skipped"], shown["bad_rows"]) == (6, 5, 1, 1)
    assert [(one["line"], one["status"]) for one in shown["not_reached"]] == [(7, "bad_row"), (2, "skipped")]
    assert "has a tag" in shown["not_reached"][1]["reason"]
    assert [(one["line"], one["text"]) for one in shown["messages"]] == [
        (line, f"Olá Cliente {line - 1}, tudo bem?") for line in (1, 3, 4)
    ]
    assert shown["messages"][0]["request"]["messages"][0]["parameters"] == {"nome": "Cliente 0"}
    assert (shown["waits_until"], shown["stopped"]) == (None, None)
    assert "+55 11 91000-0001 (line 2): skipped" in logged.text("warning")
    assert wts_connection.requests_of("send_template_batch") == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"not_after": "2020-01-01T00:00:00-03:00"}, "not_after"),
        ({"send_window": "08:00-20:00 America/Sao_Paulo", "outside_window": "skip"}, "the send window opens again"),
        ({"send_window": "08:00-20:00 America/Sao_Paulo"}, None),
    ],
    ids=str,
)
def test_a_dry_run_says_that_nothing_would_go_out_now(
    wts_connection: Emulator,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, Any],
    words: str | None,
) -> None:
    window_of(monkeypatch, 0)
    shown = text(recipients=numbers(3), dry_run=True, **given).execute(context)
    assert (words or "") in (shown["stopped"] or "")
    assert shown["to_send"] == (0 if words else 3)
    assert bool(shown["waits_until"]) == (words is None)


def test_a_dry_run_refuses_what_a_campaign_refuses(wts_connection: Emulator, context: dict[str, Any]) -> None:
    for given, words in (
        ({"recipients": ["12"]}, "rows are bad"),
        ({"recipients": numbers(1), "template": "em_revisao"}, "is not approved"),
        ({"recipients": numbers(1), "template": "pesquisa", "exclude_tags": ["nobody"]}, "no tag 'nobody'"),
    ):
        with pytest.raises(AirflowFailException, match=words):
            template(**given, dry_run=True).execute(context)


# Whoever opts out -----------------------------------------------------------------------------------------------------


def contacts(emulator: Emulator, *indexes: int, tags: list[str]) -> None:
    emulator.seed(
        contacts=[{"name": f"C{index}", "phone": f"+55|119{10_000_000 + index:08d}", "tags": tags} for index in indexes]
    )


@pytest.mark.parametrize("tag", ["opt-out", "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"])
def test_an_unknown_tag_is_refused_and_excludes_nobody_silently(
    wts_connection: Emulator, context: dict[str, Any], tag: str
) -> None:
    with pytest.raises(AirflowFailException, match="There is no tag"):
        text(recipients=numbers(3), exclude_tags=[tag]).execute(context)
    assert wts_connection.requests_of("send_text") == []


def test_a_contact_whose_number_cannot_be_read_is_excluded_by_the_end_of_it(
    wts_connection: Emulator, context: dict[str, Any]
) -> None:
    contacts(wts_connection, 1, tags=["VIP"])
    with wts_connection.state.lock:
        stored = next(one for one in wts_connection.state.contacts.by_creation() if one["name"] == "C1")
        stored["phoneNumber"] = "ramal 2 / 910000001"
    counts = text(recipients=numbers(3), exclude_tags=["VIP"]).execute(context)
    assert (counts["sent"], counts["skipped"]) == (2, 1)
    assert counts["not_reached"][0]["line"] == 2


def opted_out_during(monkeypatch: pytest.MonkeyPatch, emulator: Emulator, clock: list[float], step: float) -> Any:
    """Let every request for the chatbot take so long, and somebody who is still to come opt out before each."""
    from airflow_provider_wts.hooks.wts import WtsHook

    opted_out: dict[str, float] = {}
    began: dict[str, float] = {}
    run = WtsHook.run
    lock = threading.Lock()
    monkeypatch.setattr("airflow_provider_wts.sending.rules.seconds", lambda: clock[0])
    permit = run_module.Campaign.permit

    def timed_permit(self: Any) -> None:
        permit(self)
        began["chunk"] = clock[0]

    def timed(self: Any, call: Any, **more: Any) -> Any:
        if call.operation_id == "queue_chatbot_batch":
            with lock:
                for message in call.json_body["messages"]:
                    began[message["to"]] = began["chunk"]
                clock[0] += step
                index = 999 - len(opted_out)
                contacts(emulator, index, tags=["VIP"])
                opted_out[f"+55|119{10_000_000 + index:08d}"] = clock[0]
        return run(self, call, **more)

    monkeypatch.setattr(run_module.Campaign, "permit", timed_permit)
    monkeypatch.setattr(WtsHook, "run", timed)
    return began, opted_out


@pytest.mark.parametrize("step", [3.0, 13.0, 40.0])
def test_nobody_gets_a_chunk_that_began_more_than_a_minute_after_the_opt_out(
    wts_connection: Emulator, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    clock = [1000.0]
    began, opted_out = opted_out_during(monkeypatch, wts_connection, clock, step)
    counts = chatbot(recipients=numbers(1000), chunk_size=10, exclude_tags=["VIP"]).execute(context)
    late = {to: began[to] - moment for to, moment in opted_out.items() if to in began}
    assert max(late.values(), default=0.0) <= 60
    assert counts["skipped"] > 20
    assert counts["sent"] + counts["skipped"] == 1000
    # Once a minute, and not before each chunk.
    readings = len(wts_connection.requests_of("filter_contacts")) / 3
    assert readings <= 3 + (clock[0] - 1000) / 60 * 2


def test_contacts_with_a_tag_are_held_back_by_one_walk(
    wts_connection: Emulator, context: dict[str, Any], tmp_path: Path
) -> None:
    vips = ("+55|11910000002", "+55|11910000005")
    wts_connection.seed(contacts=[{"name": phone, "phone": phone, "tags": ["VIP"]} for phone in vips])
    results = tmp_path / "results.jsonl"
    counts = chatbot(recipients=numbers(120), exclude_tags=["VIP"], results_path=str(results)).execute(context)
    assert (counts["sent"], counts["skipped"]) == (118, 2)
    assert [line["to"] for line in lines(results) if line["status"] == "skipped"] == list(vips)
    # Two passes over three statuses: the second one shows nobody new.
    assert len(wts_connection.requests_of("filter_contacts")) == 6
    assert wts_connection.requests_of("get_contact_by_phone") == []


def test_after_not_after_nothing_goes_out(wts_connection: Emulator, context: dict[str, Any], logged: Any) -> None:
    with pytest.raises(AirflowSkipException, match="not_after"):
        chatbot(recipients=numbers(3), not_after="2020-01-01T00:00:00-03:00").execute(context)
    assert "Nothing was sent: not_after" in logged.text("warning")
    assert wts_connection.requests_of("queue_chatbot_batch") == []


class Window:
    """A send window that closes after some chunks."""

    def __init__(self, chunks: int) -> None:
        self.chunks = chunks

    def next_opening(self, now: datetime) -> datetime:
        self.chunks -= 1
        return now if self.chunks >= 0 else now + timedelta(hours=12)


def window_of(monkeypatch: pytest.MonkeyPatch, chunks: int) -> Window:
    window = Window(chunks)
    fake = SimpleNamespace(read=lambda text: window)
    monkeypatch.setattr(rules, "SendWindow", fake)
    return window


@pytest.mark.parametrize("while_it_waits", ["another task is cleared", "the run is queued again", "the ledger is lost"])
def test_a_deferred_campaign_goes_on_whatever_happens_to_its_run(
    wts_connection: Emulator,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    while_it_waits: str,
) -> None:
    monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", f"file://{tmp_path}/ledger")
    monkeypatch.setenv("AIRFLOW__WTS__EFFECT_LAG", "0")
    monkeypatch.setattr("airflow_provider_wts.sending.reconcile.QUEUE_WAIT", 0.0)
    window_of(monkeypatch, 1)
    given = {"recipients": numbers(20), "chunk_size": 5, "send_window": "08:00-20:00 America/Sao_Paulo"}
    with pytest.raises(TaskDeferred):
        chatbot(**given, deferrable=True).execute(context)
    settle(wts_connection)
    if while_it_waits == "another task is cleared":
        context["dag_run"].clear_number += 1
    elif while_it_waits == "the run is queued again":
        context["dag_run"].start_date += timedelta(hours=1)
    else:
        shutil.rmtree(tmp_path / "ledger")
    asked = len(wts_connection.requests_of("list_sessions"))
    window_of(monkeypatch, 100)
    assert chatbot(**given, deferrable=True).execute_in_window(context, {})["sent"] == 20
    if while_it_waits != "the ledger is lost":
        assert len(wts_connection.requests_of("list_sessions")) == asked
    settle(wts_connection)
    assert [received(wts_connection, to) for to in numbers(20)] == [1] * 20


def test_a_campaign_that_the_window_closes_on_is_deferred_and_goes_on(
    wts_connection: Emulator, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    window_of(monkeypatch, 2)
    given = {"recipients": numbers(50), "chunk_size": 5, "send_window": "08:00-20:00 America/Sao_Paulo"}
    with pytest.raises(TaskDeferred):
        chatbot(**given, deferrable=True).execute(context)
    assert len(wts_connection.requests_of("queue_chatbot_batch")) == 4
    window_of(monkeypatch, 100)
    assert chatbot(**given, deferrable=True).execute_in_window(context, {})["sent"] == 50
    assert len(wts_connection.requests_of("queue_chatbot_batch")) == 10
    settle(wts_connection)
    assert [received(wts_connection, to) for to in numbers(50)] == [1] * 50


def test_a_campaign_that_the_window_closes_on_can_end_there(
    wts_connection: Emulator, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    window_of(monkeypatch, 2)
    results = tmp_path / "results.jsonl"
    given = {"recipients": numbers(50), "chunk_size": 5, "send_window": "08:00-20:00 America/Sao_Paulo"}
    counts = chatbot(**given, outside_window="skip", results_path=str(results)).execute(context)
    assert (counts["sent"], counts["not_sent"]) == (20, 30)
    assert counts["stopped"].startswith("the send window opens again")
    assert len(lines(results)) == 50
    window_of(monkeypatch, 100)
    context["ti"].max_tries, context["ti"].try_number = 1, 2
    assert chatbot(**given).execute(context)["sent"] == 50
    settle(wts_connection)
    assert [received(wts_connection, to) for to in numbers(50)] == [1] * 50


def test_without_a_ledger_a_campaign_waits_on_its_worker(
    wts_connection: Emulator, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    window = window_of(monkeypatch, 1)
    waited: list[float] = []

    def pause(campaign: Any, seconds: float) -> None:
        waited.append(seconds)
        window.chunks = 100

    monkeypatch.setattr(run_module.Campaign, "_pause", pause)
    monkeypatch.delenv("AIRFLOW__WTS__LEDGER_PATH")
    operator = chatbot(
        recipients=numbers(20), chunk_size=5, deferrable=True, send_window="08:00-20:00 America/Sao_Paulo"
    )
    assert operator.execute(context)["sent"] == 20
    assert waited[0] > 3600


# What Airflow sees ----------------------------------------------------------------------------------------------------


def test_the_counts_go_into_the_events_of_the_outlets(
    wts_connection: Emulator, context: dict[str, Any], tmp_path: Path
) -> None:
    from airflow.providers.common.compat.sdk import Asset

    class OutletEvents:
        """As Airflow's: found by the asset, which on Airflow 3.1 cannot be the key of a dictionary."""

        def __getitem__(self, outlet: Asset) -> Any:
            return {asset.uri: event}[outlet.uri]

    asset = Asset("file:///results")
    event = SimpleNamespace(extra={})
    context["outlet_events"] = OutletEvents()
    operator = chatbot(recipients=numbers(3), results_path=str(tmp_path / "results.jsonl"), outlets=[asset])
    operator.execute(context)
    assert event.extra["sent"] == 3
    assert event.extra["results_path"] == str(tmp_path / "results.jsonl")


def test_templates_of_rows_see_the_run_and_are_left_alone_by_airflow(
    wts_connection: Emulator, context: dict[str, Any]
) -> None:
    assert not [name for name in chatbot().template_fields if name.startswith("row_")]
    context |= {"ds": "2026-03-01", "params": {"campaign": "março"}}
    metadata = {"day": "{{ ds }}", "campaign": "{{ params.campaign }}", "paid": "{{ row.n > 1 }}", "n": 7}
    rows = [{"to": number(1), "n": 1}]
    chatbot(recipients=rows, row_session_metadata=metadata, mark_session=False).execute(context)
    sent = wts_connection.requests_of("queue_chatbot_batch")[0].body["messages"][0]["sessionMetadata"]
    assert sent == {"day": "2026-03-01", "campaign": "março", "paid": False, "n": 7}


@pytest.mark.parametrize(
    ("parameter", "wrap"),
    [
        ("row_to", lambda value: value),
        ("row_session_metadata", lambda value: value),
        ("row_session_metadata", lambda value: {"a": [value]}),
    ],
)
def test_a_template_of_rows_takes_no_output_of_a_task(parameter: str, wrap: Any) -> None:
    from airflow.providers.common.compat.sdk import DAG

    with DAG("d", schedule=None):
        other = text(task_id="other", recipients=[])
        with pytest.raises(ValueError, match=f"{parameter}: a template of rows cannot be"):
            chatbot(recipients=[], **{parameter: wrap(other.output)})
        with pytest.raises(ValueError, match=f"{parameter}: a template of rows cannot be"):
            WtsSendChatbotBatchOperator.partial(task_id="mapped", chatbot=BOT, **{parameter: wrap(other.output)})
        mapped = WtsSendChatbotBatchOperator.partial(task_id="mapped", chatbot=BOT, row_to="{{ row }}")
        assert mapped.expand(recipients=other.output).upstream_task_ids == {"other"}


# Who was not reached --------------------------------------------------------------------------------------------------


def test_without_a_results_path_the_log_and_the_counts_name_who_was_not_reached(
    wts_connection: Emulator, context: dict[str, Any], logged: Any
) -> None:
    contacts(wts_connection, 0, tags=["VIP"])
    for index in range(9, 30):
        phone = f"119{10_000_000 + index:08d}"
        wts_connection.faults.add("status", status=400, operation_id="send_text", times=None, body=phone)
    given = {"recipients": [*numbers(30), "12"], "on_bad_row": "skip", "exclude_tags": ["VIP"], "parallelism": 1}
    counts = text(**given).execute(context)
    assert counts["failed"] == 21
    named = counts["not_reached"]
    assert len(named) == 20
    assert named[0] == {"line": 10, "to": "+55|11910000009", "status": "failed", "reason": named[0]["reason"]}
    assert "results_path: is not set" in logged.lines[0][1] + logged.text("warning")
    assert "Not reached: +55 11 91000-0009 (line 10): failed" in logged.text("warning")
    assert "Not reached: 3 more" in logged.text("warning")


def test_a_try_that_raises_names_who_was_not_reached_until_then(
    wts_connection: Emulator, context: dict[str, Any], logged: Any
) -> None:
    wts_connection.faults.add("status", status=400, operation_id="send_text", nth=2)
    wts_connection.faults.add("status", status=401, operation_id="send_text", nth=7, times=None)
    with pytest.raises(AirflowFailException):
        text(recipients=numbers(20), parallelism=1, chunk_size=3).execute(context)
    assert "Not reached: +55 11 91000-0001 (line 2): failed" in logged.text("warning")


def test_bad_rows_and_exclusions_are_named_too(wts_connection: Emulator, context: dict[str, Any]) -> None:
    contacts(wts_connection, 0, tags=["VIP"])
    given = {"recipients": [*numbers(3), "12"], "on_bad_row": "skip", "exclude_tags": ["VIP"]}
    named = text(**given).execute(context)["not_reached"]
    assert [(one["line"], one["status"]) for one in named] == [(4, "bad_row"), (1, "skipped")]


@pytest.mark.parametrize("other", [{"map_index": 1}, {"task_id": "send_again"}], ids=str)
@pytest.mark.parametrize("ends", [True, False])
def test_the_results_of_another_task_of_the_run_are_not_replaced(
    wts_connection: Emulator, context: dict[str, Any], tmp_path: Path, other: dict[str, Any], ends: bool
) -> None:
    """As those of a mapped task whose instances share a file: nothing else names whom the others did not reach."""
    results = tmp_path / "results.jsonl"
    if not ends:
        wts_connection.faults.add("status", status=401, operation_id="send_text", times=None)
    with nullcontext() if ends else pytest.raises(AirflowException):
        text(recipients=numbers(2), results_path=str(results)).execute(context)
    known = {file.name: file.read_bytes() for file in tmp_path.glob("results*")}
    wts_connection.faults.clear()
    second = copy(context["ti"])
    vars(second).update(other)
    with pytest.raises(
        AirflowFailException, match=r"contains the results of the task send of this run\. This try sent"
    ):
        text(recipients=[number(7)], results_path=str(results)).execute({**context, "ti": second})
    assert {file.name: file.read_bytes() for file in tmp_path.glob("results*")} == known
    assert not [send for send in wts_connection.sends if number(7)[-8:] in str(send)]


@pytest.mark.parametrize(
    ("step", "sent", "words"),
    [
        ("announce", 0, "Nothing more was sent. The outcomes so far are in"),
        ("announce", 1, "Nothing more was sent. The outcomes so far are in"),
        ("complete", 3, "The results of this task are in"),
    ],
)
def test_a_task_that_began_at_the_same_time_with_the_same_file_is_noticed(
    wts_connection: Emulator,
    context: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    sent: int,
    words: str,
) -> None:
    results, manifest = tmp_path / "results.jsonl", tmp_path / "results.jsonl.manifest.json"
    known = getattr(ResultsFile, step)

    def after_the_other(self: Any, given: Any) -> None:
        if len(wts_connection.sends) == sent:
            other = json.loads(manifest.read_text())
            manifest.write_text(json.dumps({**other, "map_index": 7, "attempts": ["other"]}))
        known(self, given)

    monkeypatch.setattr(ResultsFile, step, after_the_other)
    with pytest.raises(AirflowFailException, match=rf"results of the task send with map index 7 of this run\. {words}"):
        text(recipients=numbers(3), results_path=str(results), chunk_size=1, parallelism=1).execute(context)
    assert len(wts_connection.sends) == sent
    assert json.loads(manifest.read_text())["map_index"] == 7
    assert not results.exists()
    (partial,) = [file for file in tmp_path.glob("results.jsonl.*.part")] if sent else [None]
    assert partial is None or len(lines(partial)) == sent


@pytest.mark.parametrize(
    ("run_id", "deployment"), [("later", ""), (None, "another Airflow")], ids=["another run", "another Airflow"]
)
@pytest.mark.parametrize("is_first", [True, False], ids=["first campaign", "an older file is there"])
def test_a_run_that_ends_meanwhile_keeps_its_results_and_nobody_elses_are_lost(
    wts_connection: Emulator,
    stateful_context: dict[str, Any],
    context: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_first: bool,
    run_id: str | None,
    deployment: str,
) -> None:
    results, complete = tmp_path / "results.jsonl", ResultsFile.complete
    later = {**context, "ti": copy(context["ti"])}
    later["ti"].run_id = run_id or context["ti"].run_id
    if not is_first:
        older = {**context, "ti": copy(context["ti"])}
        older["ti"].run_id = "older"
        text(recipients=[number(8)], results_path=str(results)).execute(older)

    def after_the_other_run(self: Any, manifest: Any) -> None:
        monkeypatch.setattr(ResultsFile, "complete", complete)
        with monkeypatch.context() as other:
            other.setenv("AIRFLOW__WTS__DEPLOYMENT", deployment)
            text(recipients=[number(7)], results_path=str(results)).execute(later)
        complete(self, manifest)

    monkeypatch.setattr(ResultsFile, "complete", after_the_other_run)
    taken = f"was taken by .*the run '{later['ti'].run_id}'.* Its results are in .*\\.part"
    with pytest.raises(AirflowFailException, match=taken):
        text(recipients=numbers(3), results_path=str(results)).execute(stateful_context)
    assert json.loads(Path(f"{results}.manifest.json").read_text())["run_id"] == later["ti"].run_id
    assert len(lines(results)) == 1
    (partial,) = tmp_path.glob("results.jsonl.*.part")
    assert [line["status"] for line in lines(partial)] == ["sent"] * 3
    count = len(wts_connection.sends)
    stateful_context["ti"].try_number, stateful_context["ti"].max_tries = 2, 1
    text(recipients=numbers(3), results_path=f"{tmp_path}/own.jsonl").execute(stateful_context)
    assert [line["status"] for line in lines(tmp_path / "own.jsonl")] == ["sent"] * 3
    assert len(wts_connection.sends) == count


def test_a_full_disk_ends_the_try_with_its_reason_and_the_next_one_continues(
    wts_connection: Emulator, stateful_context: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results.jsonl"
    open_part = ResultsFile._open_part

    def on_a_full_disk(self: Any) -> None:
        open_part(self)
        self._file.close()
        self._file = Path("/dev/full").open("wb")  # noqa: SIM115  # the code closes it
        self._write = self._file.write

    with monkeypatch.context() as patch:
        patch.setattr(ResultsFile, "_open_part", on_a_full_disk)
        with pytest.raises(WtsError, match=r"results_path: .*results\.jsonl': No space left.*A retry continues"):
            text(recipients=numbers(3), results_path=str(results)).execute(stateful_context)
    stateful_context["ti"].try_number = 2
    text(recipients=numbers(3), results_path=str(results)).execute(stateful_context)
    assert [line["status"] for line in lines(results)] == ["sent"] * 3
    assert len(wts_connection.sends) == 3


class NoCredentialsError(Exception):
    """As libraries of object stores have them."""


@pytest.mark.parametrize(
    ("error", "is_final"),
    [
        (NoCredentialsError("Unable to locate credentials"), False),
        (ConnectionResetError("Connection reset"), False),
        (OSError(errno.EIO, "Input/output error"), False),
        (PermissionError(errno.EACCES, "Access Denied"), True),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("step", ["info", "_open"])
@pytest.mark.parametrize("name", ["recipients_path", "suppression_path"])
def test_what_an_object_store_raises_names_the_parameter(
    wts_connection: Emulator,
    context: dict[str, Any],
    object_store: Any,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    step: str,
    error: Exception,
    is_final: bool,
) -> None:
    def raises(*_: Any, **__: Any) -> Any:
        raise error

    if step == "_open":
        object_store.pipe(f"/in/{name}.csv", f"to\n{number(1)}\n".encode())
    monkeypatch.setattr(object_store, step, raises)
    given = {"recipients": numbers(1)} if name == "suppression_path" else {"row_text": "Olá"}
    with pytest.raises(AirflowFailException if is_final else WtsError, match=rf"{name}: .*{error.args[-1]}"):
        text(**given, **{name: f"memory://in/{name}.csv"}).execute(context)
    assert wts_connection.sends == []


def test_an_object_store_that_takes_no_results_is_named_before_anything_is_sent(
    wts_connection: Emulator, context: dict[str, Any], object_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(*_: Any, **__: Any) -> Any:
        raise NoCredentialsError("Unable to locate credentials")

    monkeypatch.setattr(object_store, "_open", raises)
    with pytest.raises(WtsError, match=r"results_path: .*results\.jsonl.*credentials.*A retry"):
        text(recipients=numbers(1), results_path="memory://out/results.jsonl").execute(context)
    assert wts_connection.sends == []


@pytest.mark.parametrize("name", ["loja [1].jsonl", "*.jsonl", "what?.jsonl"])
def test_a_pattern_cannot_be_the_name_of_results_in_an_object_store(
    wts_connection: Emulator, context: dict[str, Any], object_store: Any, name: str
) -> None:
    with pytest.raises(AirflowFailException, match=r"results_path: .* is a pattern"):
        text(recipients=numbers(1), results_path=f"memory://out/{name}").execute(context)
    assert wts_connection.sends == []


@pytest.mark.parametrize(("is_pipe", "words"), [(True, "a device or another special file"), (False, "may not write")])
def test_a_place_that_cannot_hold_the_results_is_refused(
    wts_connection: Emulator,
    context: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_pipe: bool,
    words: str,
) -> None:
    """A device would be replaced by the file, such as /dev/null for everybody on the machine."""
    results = tmp_path / "results.jsonl"
    if is_pipe:
        os.mkfifo(results)
    else:
        monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(AirflowFailException, match=f"results_path: .* cannot be written to: .*{words}"):
        text(recipients=numbers(1), results_path=str(results)).execute(context)
    assert wts_connection.sends == []
    assert results.is_fifo() == is_pipe


def test_the_results_of_an_earlier_run_are_replaced(
    wts_connection: Emulator, context: dict[str, Any], tmp_path: Path
) -> None:
    results = tmp_path / "results.jsonl"
    for context["ti"].run_id, context["ti"].map_index in (("one", 1), ("two", 2)):
        text(recipients=numbers(2), results_path=str(results)).execute(context)
    assert json.loads(Path(f"{results}.manifest.json").read_text())["run_id"] == "two"


def test_a_setting_gives_the_results_a_place(
    wts_connection: Emulator, context: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: Any
) -> None:
    monkeypatch.setenv("AIRFLOW__WTS__RESULTS_PATH", f"file://{tmp_path}/results/")
    context["ti"].run_id, context["ti"].map_index = "manual__2026-11-22T10:00:00+00:00", 3
    counts = text(recipients=numbers(2)).execute(context)
    assert counts["results_path"].startswith(f"file://{tmp_path}/results/campaign/")
    (found,) = (tmp_path / "results").rglob("*.jsonl")
    assert found.name == "send.3.jsonl"
    assert [line["status"] for line in lines(found)] == ["sent", "sent"]
    assert "results_path" not in logged.text("warning")
    mine = str(tmp_path / "mine.jsonl")
    assert text(recipients=numbers(2), results_path=mine).execute(context)["results_path"] == mine


def test_all_bad_rows_are_in_the_results_of_a_refused_campaign(
    wts_connection: Emulator, context: dict[str, Any], tmp_path: Path
) -> None:
    results = tmp_path / "results.jsonl"
    given = {"recipients": [number(1), *["12"] * 45], "results_path": str(results)}
    with pytest.raises(AirflowFailException) as caught:
        chatbot(**given, dry_run=True).execute(context)
    assert not results.exists()
    with pytest.raises(AirflowFailException) as caught:
        chatbot(**given).execute(context)
    told = str(caught.value).splitlines()
    assert f"All of them are in {results}." in told[0]
    assert told[1].startswith("Line 2: to: '12'")
    assert (len(told), told[-1]) == (22, "And 25 more.")
    found = lines(results)
    assert [line["status"] for line in found] == [*["bad_row"] * 45, "not_sent"]
    assert found[-1]["reason"] == "45 of 46 rows are bad"
    assert json.loads((tmp_path / "results.jsonl.manifest.json").read_text())["bad_rows"] == 45
    assert wts_connection.requests_of("queue_chatbot_batch") == []


def test_progress_is_told_in_the_log() -> None:
    told: list[str] = []
    log: Any = SimpleNamespace(info=lambda text, *values: told.append(text % values))
    tally = Progress(4000, log, 0.0, None)
    for line in range(3):
        tally.report(Recipient(line, "+55|11910000001", {}), Result("failed" if line else "sent"))
    assert told[-1].startswith("3 of 4,000 recipients done; 2 failed; ")
    assert " per second, about " in told[-1]


def test_rows_of_csv_with_a_comma_inside(wts_connection: Emulator, context: dict[str, Any], tmp_path: Path) -> None:
    source = tmp_path / "campaign.csv"
    with source.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["to", "text"])
        writer.writerow([number(1), "Olá, Ana;\ntudo bem?"])
    assert text(recipients_path=str(source), row_text=None).execute(context)["sent"] == 1
    assert wts_connection.requests_of("send_text")[0].body["text"] == "Olá, Ana;\ntudo bem?"


@pytest.mark.parametrize(("interval", "logged_lines"), [(0, 3), (3600, 0), (None, 0)])
def test_progress_is_logged_as_often_as_asked(
    wts_connection: Emulator, context: dict[str, Any], logged: Any, interval: float | None, logged_lines: int
) -> None:
    text(recipients=numbers(3), progress_interval=interval).execute(context)
    assert logged.text("info").count("recipients done;") == logged_lines


@pytest.mark.parametrize(("operator", "chunks"), [(text, 4), (chatbot, 2)])
def test_the_rules_are_asked_before_each_chunk_and_before_two_requests_of_many(
    wts_connection: Emulator,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    operator: Any,
    chunks: int,
) -> None:
    permit, asked = run_module.Campaign.permit, []
    monkeypatch.setattr(run_module.Campaign, "permit", lambda campaign: (asked.append(1), permit(campaign)))
    assert operator(recipients=numbers(8), chunk_size=2).execute(context)["sent"] == 8
    assert len(asked) == chunks


# Stopped by a person, and runs about the past -------------------------------------------------------------------------


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set the Airflow Variable, and let each chunk read it."""
    monkeypatch.setattr("airflow_provider_wts.campaigns.stop._READ_INTERVAL", -1.0)
    return lambda value: monkeypatch.setenv("AIRFLOW_VAR_STOP_CAMPAIGNS", value)


def test_a_variable_stops_a_campaign_and_a_clear_goes_on(
    wts_connection: Emulator, context: dict[str, Any], tmp_path: Path, stop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop("false")
    given = {"recipients": numbers(6), "chunk_size": 1, "stop_variable": "stop_campaigns"}
    given |= {"results_path": f"{tmp_path}/results.jsonl"}
    keep = run_module.Campaign.permit

    def permit(campaign: Any) -> None:
        if len(wts_connection.requests_of("queue_chatbot_batch")) == 2:
            stop("true")
        keep(campaign)

    monkeypatch.setattr(run_module.Campaign, "permit", permit)
    counts = chatbot(**given).execute(context)
    assert (counts["sent"], counts["not_sent"]) == (2, 4)
    assert counts["stopped"] == "the Airflow Variable 'stop_campaigns' is set (stop_variable)"
    assert [line["status"] for line in lines(tmp_path / "results.jsonl")] == ["sent"] * 2 + ["not_sent"] * 4

    monkeypatch.setattr(run_module.Campaign, "permit", keep)
    stop("")
    context["ti"].try_number, context["ti"].max_tries = 2, 1
    assert chatbot(**given).execute(context)["sent"] == 6
    settle(wts_connection)
    assert [received(wts_connection, number(index)) for index in range(6)] == [1] * 6


@pytest.mark.parametrize(
    "make",
    [
        lambda **given: chatbot(recipients=[number(1)], **given),
        lambda **given: WtsSendTextOperator(task_id="send", to=number(1), text="Olá!", **given),
    ],
    ids=["batch", "single"],
)
def test_a_backfill_sends_only_if_that_is_allowed(wts_connection: Emulator, context: dict[str, Any], make: Any) -> None:
    context["dag_run"].run_type = "backfill"
    with pytest.raises(AirflowFailException, match=r"allow_backfill: this run .*Nothing was sent"):
        make().execute(context)
    assert wts_connection.sends == []
    assert make(dry_run=True).execute(context)["dry_run"] is True
    make(allow_backfill=True).execute(context)
    assert len(wts_connection.sends) == 1


# What identifies a row ------------------------------------------------------------------------------------------------


def test_row_key_identifies_each_row_and_is_unique(
    wts_connection: Emulator, context: dict[str, Any], tmp_path: Path
) -> None:
    people = [number(1), number(2), "12", number(1), number(4), number(5), number(6), number(7)]
    ids = ["a", 7, "c", "d", "a", "x" * 256, None, "a\0"]
    rows = [{"to": to, "id": key} for to, key in zip(people, ids, strict=True)]
    results = tmp_path / "results.jsonl"
    given = {"recipients": rows, "row_key": "{{ row.id }}", "on_bad_row": "skip", "results_path": str(results)}
    assert chatbot(**given).execute(context)["sent"] == 2
    found = {line["line"]: (line["status"], line.get("row_key")) for line in lines(results)}
    assert found == {
        1: ("sent", "a"),
        2: ("sent", "7"),
        3: ("bad_row", "c"),
        4: ("duplicate", "d"),
        5: ("bad_row", None),
        6: ("bad_row", None),
        7: ("bad_row", None),
        8: ("bad_row", None),
    }
    reasons = {line["line"]: line.get("reason", "") for line in lines(results)}
    assert reasons[5] == "row_key: 'a' is already in line 1"
    assert "the maximum is 255" in reasons[6]
    assert "'id' has no value" in reasons[7]
    assert reasons[8] == "row_key: contains the character NUL, which databases refuse"
