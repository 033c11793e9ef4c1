"""Recipients from a query: read once, kept for later tries, and checked as rows from elsewhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_wts.api.errors import WtsError
from airflow_provider_wts.campaigns import query as query_module
from airflow_provider_wts.operators.chatbot import WtsSendChatbotBatchOperator
from airflow_provider_wts.operators.message import WtsSendTemplateBatchOperator, WtsSendTextBatchOperator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tries import Task

    from airflow_provider_wts.emulator.running import Emulator

BOT = "Cobrança"

COLUMNS = "id INTEGER, phone BIGINT, name VARCHAR(80), amount DECIMAL(10, 2), due DATE"


def number(index: int) -> int:
    return 5511910000000 + index


@pytest.fixture
def service(service: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", f"file://{tmp_path}/ledger")
    return service


@pytest.fixture
def customers(database: Any) -> Any:
    """A table with three customers: all that is known of the first, and little of the others."""
    due = "DATE '2026-12-31'" if database.kind == "postgresql" else "'2026-12-31'"
    database.write(
        f"CREATE TABLE TABLE_NAME ({COLUMNS})",
        f"INSERT INTO TABLE_NAME VALUES (1, {number(1)}, 'Ana', 149.90, {due})",
        f"INSERT INTO TABLE_NAME VALUES (2, {number(2)}, NULL, 20, {due})",
        f"INSERT INTO TABLE_NAME VALUES (3, {number(3)}, 'Caio', NULL, NULL)",
    )
    return database


@pytest.fixture
def attempt(task: Task, service: Emulator, customers: Any, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Make the next try of a campaign to the customers, and return its counts."""

    def made(*, cls: Any = WtsSendChatbotBatchOperator, **parameters: Any) -> dict[str, Any]:
        given = {"chatbot": BOT} if cls is WtsSendChatbotBatchOperator else {}
        given |= {
            "recipients_sql": f"SELECT * FROM {customers.table} ORDER BY id;",
            "recipients_conn_id": "wts_db",
            "row_to": "{{ row.phone }}",
            "results_path": f"{tmp_path}/results.jsonl",
            **parameters,
        }
        return dict(cls(task_id="send", **given).execute(task.next_try()))

    return made


def snapshots(tmp_path: Path) -> list[Path]:
    return list(tmp_path.glob("results.jsonl.*.recipients.jsonl"))


def messages(emulator: Emulator, nth: int = 0) -> list[dict[str, Any]]:
    return list(emulator.requests_of("queue_chatbot_batch")[nth].body["messages"])


def test_rows_of_a_query_are_recipients_with_typed_cells(service: Emulator, attempt: Any) -> None:
    metadata = {"id": "{{ row.id }}", "amount": "{{ row.amount }}", "name": "{{ row.name }}", "due": "{{ row.due }}"}
    metadata["note"] = "{{ row.amount | as_br if row.amount else '-' }}"
    assert attempt(row_session_metadata=metadata, mark_session=False)["sent"] == 3
    found = messages(service)
    assert [one["to"] for one in found] == ["+55|11910000001", "+55|11910000002", "+55|11910000003"]
    assert [one["sessionMetadata"] for one in found] == [
        {"id": 1, "amount": 149.9, "name": "Ana", "due": "2026-12-31", "note": "149,90"},
        {"id": 2, "amount": 20, "name": None, "due": "2026-12-31", "note": "20,00"},
        {"id": 3, "amount": None, "name": "Caio", "due": None, "note": "-"},
    ]


def test_templates_and_texts_take_a_query_too(service: Emulator, attempt: Any) -> None:
    counts = attempt(
        cls=WtsSendTemplateBatchOperator,
        template="saudacao",
        channel="WhatsApp principal",
        row_parameters={"nome": "{{ row.name | default('cliente') }}"},
    )
    assert counts["sent"] == 3
    service.advance(5)
    assert service.received("+55|11910000002")[0].text == "Olá cliente, tudo bem?"


def test_a_missing_value_that_a_customer_would_read_makes_a_bad_row(service: Emulator, attempt: Any) -> None:
    given = {"cls": WtsSendTextBatchOperator, "row_text": "Olá {{ row.name }}!"}
    with pytest.raises(AirflowFailException, match=r"(?s)1 of 3 rows are bad.*Line 2: .*'name' has no value"):
        attempt(**given)
    assert attempt(**given, on_bad_row="skip")["sent"] == 2


def test_a_later_try_reads_the_rows_of_the_first_one(
    task: Task, service: Emulator, customers: Any, attempt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.faults.add("status", status=401, operation_id="queue_chatbot_batch", nth=2)
    with pytest.raises(AirflowFailException):
        attempt(chunk_size=1)
    customers.write("UPDATE TABLE_NAME SET phone = phone + 100, name = 'Outra'")
    assert attempt(chunk_size=1)["sent"] == 3
    service.advance(5)
    assert sorted(one.to for one in service.deliveries if one.kind == "chatbot") == [
        f"+55|1191000000{index}" for index in (1, 2, 3)
    ]


def test_the_advice_about_unconfirmed_rows_of_a_query_sends_nothing_twice(
    task: Task, service: Emulator, customers: Any, attempt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.faults.add("reset", when="after", operation_id="queue_chatbot_batch")
    advice = r"list those who got it in suppression_path or suppression_sql.*rows of recipients_sql stay as they were"
    with pytest.raises(AirflowFailException, match=advice):
        attempt(mark_session=False)
    got_it = tmp_path / "got_it.csv"
    got_it.write_text(f"phone\n{number(1)}\n{number(3)}\n")
    monkeypatch.setenv("AIRFLOW_VAR_WTS_RESEND", "/".join(map(task.identity.get, ("dag_id", "run_id", "task_id"))))
    task.clear()
    counts = attempt(mark_session=False, suppression_path=str(got_it))
    assert (counts["sent"], counts["skipped"]) == (1, 2)
    assert [message["to"] for message in messages(service, 1)] == ["+55|11910000002"]


def test_a_clear_that_sends_again_queries_again(task: Task, service: Emulator, customers: Any, attempt: Any) -> None:
    assert attempt()["sent"] == 3
    customers.write("DELETE FROM TABLE_NAME WHERE id > 1")
    task.clear()
    assert attempt(on_clear="continue")["sent"] == 3
    assert len(service.requests_of("queue_chatbot_batch")) == 1
    task.clear()
    assert attempt()["sent"] == 1
    assert len(service.requests_of("queue_chatbot_batch")) == 2


def test_rows_that_were_refused_are_queried_again(
    task: Task, service: Emulator, customers: Any, attempt: Any, tmp_path: Path
) -> None:
    customers.write("UPDATE TABLE_NAME SET phone = 12 WHERE id = 2")
    with pytest.raises(AirflowFailException, match="1 of 3 rows are bad"):
        attempt()
    assert snapshots(tmp_path) == []
    customers.write(f"UPDATE TABLE_NAME SET phone = {number(2)} WHERE id = 2")
    task.clear()
    assert attempt()["sent"] == 3


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda file: file.unlink(), "is missing"),
        (lambda file: file.write_bytes(file.read_bytes()[:-20]), "is damaged"),
        (lambda file: file.write_text(file.read_text().replace("Caio", "Carl")), "has changed"),
        (lambda file: file.write_text(file.read_text()[: -len(file.read_text().splitlines()[-1]) - 1]), "has changed"),
    ],
    ids=["missing", "cut", "changed", "a-row-less"],
)
def test_a_snapshot_that_is_not_what_was_written_is_refused(
    task: Task, service: Emulator, attempt: Any, tmp_path: Path, damage: Any, what: str
) -> None:
    assert attempt()["sent"] == 3
    [snapshot] = snapshots(tmp_path)
    damage(snapshot)
    task.clear()
    with pytest.raises(AirflowFailException, match=f"recipients_sql: the snapshot .* {what}.*Nothing more was sent"):
        attempt(on_clear="continue")
    assert len(service.requests_of("queue_chatbot_batch")) == 1
    task.clear()
    assert attempt(on_clear="resend")["sent"] == 3


def test_parameters_go_to_the_driver(service: Emulator, customers: Any, attempt: Any) -> None:
    mark = "?" if customers.kind == "sqlite" else "%s"
    sql = f'SELECT phone AS "to" FROM {customers.table} WHERE name = {mark}'.replace(
        '"', "`" if customers.kind == "mariadb" else '"'
    )
    assert attempt(recipients_sql=sql, recipients_sql_parameters=["Ana"], row_to=None)["sent"] == 1


@pytest.mark.parametrize("text", ['["Ana"]', ' [ "Ana" ] '], ids=["plain", "spaces"])
def test_parameters_of_a_query_come_as_the_json_text_of_a_template_too(customers: Any, attempt: Any, text: str) -> None:
    mark = "?" if customers.kind == "sqlite" else "%s"
    sql = f"SELECT * FROM {customers.table} WHERE name = {mark}"
    assert attempt(recipients_sql=sql, recipients_sql_parameters=text)["sent"] == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("A", "must be a list or an object, not str"),
        (7, "must be a list or an object, not int"),
        ("['Ana']", "is not valid JSON: .*tojson"),
    ],
    ids=["a text", "a number", "as Python writes it"],
)
def test_parameters_of_a_query_that_are_no_list_are_refused(
    service: Emulator, customers: Any, attempt: Any, given: Any, words: str
) -> None:
    mark = "?" if customers.kind == "sqlite" else "%s"
    sql = f"SELECT * FROM {customers.table} WHERE name = {mark}"
    with pytest.raises(AirflowFailException, match=f"recipients_sql_parameters: {words}"):
        attempt(recipients_sql=sql, recipients_sql_parameters=given)
    with pytest.raises(AirflowFailException, match=f"suppression_sql_parameters: {words}"):
        attempt(suppression_sql=sql, suppression_conn_id="wts_db", suppression_sql_parameters=given)
    assert service.sends == []


def test_a_percent_sign_needs_no_escape_without_parameters(service: Emulator, customers: Any, attempt: Any) -> None:
    assert attempt(recipients_sql=f"SELECT * FROM {customers.table} WHERE name LIKE 'A%'")["sent"] == 1


def test_a_dry_run_queries_and_leaves_nothing_behind(service: Emulator, attempt: Any, tmp_path: Path) -> None:
    shown = attempt(dry_run=True, row_session_metadata={"id": "{{ row.id }}"})
    assert (shown["recipients"], shown["to_send"]) == (3, 3)
    assert shown["messages"][0]["request"]["messages"][0]["sessionMetadata"]["id"] == 1
    assert snapshots(tmp_path) == []
    assert service.requests_of("queue_chatbot_batch") == []


def test_no_rows_skip_the_task(service: Emulator, customers: Any, attempt: Any, tmp_path: Path) -> None:
    with pytest.raises(AirflowSkipException, match="there are no recipients"):
        attempt(recipients_sql=f"SELECT * FROM {customers.table} WHERE id > 99")
    assert snapshots(tmp_path) == []


def test_texts_of_a_binary_collation_are_texts_and_other_bytes_are_refused(
    task: Task, service: Emulator, customers: Any, attempt: Any
) -> None:
    bytes_of = {"sqlite": "CAST(name AS BLOB)", "mariadb": "CAST(name AS BINARY)", "postgresql": "name::bytea"}
    sql = f"SELECT phone, {bytes_of[customers.kind]} AS name FROM {customers.table} WHERE name IS NOT NULL ORDER BY id"
    assert attempt(recipients_sql=sql, row_session_metadata={"name": "{{ row.name }}"})["sent"] == 2
    assert [one["sessionMetadata"]["name"] for one in messages(service)] == ["Ana", "Caio"]
    task.clear()
    raw = {"sqlite": "x'fffe'", "mariadb": "x'fffe'", "postgresql": r"'\xfffe'::bytea"}
    with pytest.raises(
        AirflowFailException, match="recipients_sql: the column 'photo' contains bytes that are not text"
    ):
        attempt(
            recipients_sql=f"SELECT phone, {raw[customers.kind]} AS photo FROM {customers.table}", on_clear="resend"
        )


def test_a_time_of_mysql_is_read_as_it_writes_it(service: Emulator, customers: Any, attempt: Any) -> None:
    if customers.kind != "mariadb":
        pytest.skip("Only MySQL and MariaDB have times over 24 hours")
    times = ["08:30:00", "26:30:00.500000", "-01:30:00"]
    sql = " UNION ALL ".join(
        f"SELECT {number(index)} AS phone, CAST('{time}' AS TIME(6)) AS time" for index, time in enumerate(times)
    )
    assert attempt(recipients_sql=sql, row_session_metadata={"time": "{{ row.time }}"})["sent"] == 3
    assert [one["sessionMetadata"]["time"] for one in messages(service)] == times


def test_a_number_that_mysql_shows_with_zeros_has_them_in_texts(
    service: Emulator, customers: Any, attempt: Any
) -> None:
    if customers.kind != "mariadb":
        pytest.skip("Only MySQL and MariaDB have such columns")
    columns = "MODIFY phone BIGINT(20) ZEROFILL, ADD code INT(8) ZEROFILL, ADD cpf DECIMAL(11) ZEROFILL"
    customers.write(f"ALTER TABLE TABLE_NAME {columns}", "UPDATE TABLE_NAME SET code = 1310100, cpf = 1234567890")
    given = {"row_session_metadata": {"code": "{{ row.code }}", "cpf": "{{ row.cpf }}"}, "mark_session": False}
    assert attempt(**given, row_key="{{ row.code }}-{{ row.id }}")["sent"] == 3
    assert [one["sessionMetadata"] for one in messages(service)] == [{"code": "01310100", "cpf": "01234567890"}] * 3


def test_an_endless_date_is_no_value(service: Emulator, customers: Any, attempt: Any) -> None:
    if customers.kind != "postgresql":
        pytest.skip("Only PostgreSQL has endless dates")
    sql = f"SELECT {number(1)} AS phone, DATE 'infinity' AS until"
    with pytest.raises(AirflowFailException, match="row_text: 'until' has no value"):
        attempt(cls=WtsSendTextBatchOperator, recipients_sql=sql, row_text="Até {{ row.until }}")
    assert attempt(recipients_sql=sql, row_session_metadata={"until": "{{ row.until }}"})["sent"] == 1
    assert [one["sessionMetadata"]["until"] for one in messages(service)] == [None]


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("SELECT id, phone, id FROM TABLE_NAME", "two columns have the same name, 'id'"),
        ("DELETE FROM TABLE_NAME", "recipients_sql: "),
        ("SELECT nothing FROM TABLE_NAME", "recipients_sql: the query failed: .*nothing"),
    ],
)
def test_a_query_that_cannot_be_used_is_refused_and_changes_nothing(
    service: Emulator, customers: Any, attempt: Any, sql: str, problem: str
) -> None:
    with pytest.raises((AirflowFailException, WtsError), match=f"{problem}.*Nothing was sent"):
        attempt(recipients_sql=sql.replace("TABLE_NAME", customers.table))
    assert customers("SELECT COUNT(*) FROM TABLE_NAME") == [(3,)]
    assert service.requests_of("queue_chatbot_batch") == []


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"recipients": ["11 91000-0001"]}, "recipients, recipients_path, recipients_sql: give exactly one of them"),
        ({"recipients_path": "x.csv"}, "recipients, recipients_path, recipients_sql: give exactly one of them"),
        ({"recipients_conn_id": None}, "recipients_conn_id: recipients_sql needs the connection of its database"),
        ({"recipients_sql": None}, "recipients_conn_id: has no effect without recipients_sql"),
        ({"recipients_conn_id": "wts_default"}, "'wts_default' is not a database connection"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    service: Emulator, tmp_path: Path, task: Task, given: dict[str, Any], problem: str
) -> None:
    query = {"recipients_sql": "SELECT 1", "recipients_conn_id": "wts_db", "results_path": f"{tmp_path}/results.jsonl"}
    operator = WtsSendChatbotBatchOperator(task_id="send", chatbot=BOT, **{**query, **given})
    with pytest.raises(AirflowFailException, match=problem):
        operator.execute(task.next_try())


def test_a_campaign_without_a_place_for_the_rows_is_refused_by_name(
    wts_connection: Emulator, task: Task, make_task: Any, tmp_path: Path
) -> None:
    query = {"recipients_sql": "SELECT 1 AS phone", "recipients_conn_id": "wts_db"}
    operator = WtsSendChatbotBatchOperator(task_id="send", chatbot=BOT, **query)
    with pytest.raises(AirflowFailException, match=r"recipients_sql: needs a place to store its rows.*results_path"):
        operator.execute(task.next_try())
    operator = WtsSendChatbotBatchOperator(
        task_id="send", chatbot=BOT, **query, results_path=f"{tmp_path}/results.jsonl"
    )
    with pytest.raises(AirflowFailException, match=r"recipients_sql: needs a ledger.*\[wts\] ledger_path"):
        operator.execute(make_task().next_try())


def test_the_rows_are_beside_the_ledger_if_there_are_no_results(
    service: Emulator, customers: Any, attempt: Any, tmp_path: Path
) -> None:
    assert attempt(results_path=None)["sent"] == 3
    assert len(list(tmp_path.glob("ledger/campaign/run-1/send.jsonl.*.recipients.jsonl"))) == 1


def test_a_query_is_read_in_a_stream(customers: Any) -> None:
    if customers.kind == "sqlite":
        pytest.skip("SQLite has no server; its cursor reads row by row")
    long = {
        "postgresql": "SELECT generate_series(1, 2000000000) AS phone",
        # The client reads to the end what it did not ask for, so this is as long as the machine's memory bears.
        "mariadb": "SELECT seq AS phone FROM seq_1_to_300000",
    }
    lines = query_module._lines(query_module.Query(long[customers.kind], "wts_db"))
    assert json.loads(next(lines)) == {"version": 1, "columns": ["phone"]}
    assert [json.loads(next(lines)) for _ in range(3)] == [[1], [2], [3]]
    lines.close()
