"""The rows of a query: on SQLite always, on PostgreSQL and MariaDB if they run on this machine."""

from __future__ import annotations

from datetime import date, time
from decimal import Decimal
from typing import Any

import pytest
from databases import database

from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError, WtsNotSentError
from airflow_provider_wts.hooks.databases import closed
from airflow_provider_wts.hooks.queries import columns_and_rows

__all__ = ["database"]

NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT i, 'á' AS a FROM n"


def rows(sql: str) -> list[list[Any]]:
    """Return the columns, and the rows."""
    return [list(row) for row in columns_and_rows(sql, "wts_db", name="suppression", unsent="Nothing more was sent.")]


def test_rows_come_by_column_however_many_there_are(database: Any) -> None:
    # MariaDB ends a recursion at 1,000.
    limit = 999
    assert rows(NUMBERS.format(limit) + ";\n") == [["i", "a"], *([i, "á"] for i in range(1, limit + 1))]
    assert rows("SELECT 1 AS i FROM (SELECT 1) AS one WHERE 1 = 0") == [["i"]]


def test_a_query_that_fails_names_its_parameter(database: Any) -> None:
    with pytest.raises(WtsError, match=r"suppression_sql: the query failed: .*Nothing more was sent"):
        rows("SELECT phone FROM nowhere")


def test_a_statement_without_rows_is_refused(database: Any) -> None:
    with pytest.raises(WtsError, match="suppression_sql: "):
        rows("SET x = 1")


def test_a_connection_that_is_missing_is_named() -> None:
    pytest.importorskip("airflow.providers.common.sql.hooks.sql", reason="needs the extra sql")
    with pytest.raises(WtsNotSentError, match=r"'wts_db', which the parameter 'suppression_conn_id' names"):
        rows("SELECT 1")


def test_a_login_that_the_server_refuses_is_not_tried_again(database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if database.kind == "sqlite":
        pytest.skip("It has no logins")
    from urllib.parse import urlsplit

    import databases
    from databases import POSTGRES, Server

    from airflow_provider_wts.hooks.tables import table_of

    def connect(server: Server) -> Any:
        if server.kind == "postgresql":
            import psycopg2

            return psycopg2.connect(urlsplit(POSTGRES)._replace(path="/no_such_database").geturl())
        import pymysql

        return pymysql.connect(**{**databases._mariadb(), "user": "no_such_user", "password": "x"})

    monkeypatch.setattr(Server, "connect", connect)
    try:
        with pytest.raises(
            WtsInvalidRequestError, match=r"suppression_conn_id: .*Nothing more was sent.*login, password"
        ):
            rows("SELECT 1 AS i")
        table = table_of(("outcomes_table", "outcomes_conn_id"), (database.table, "wts_db"), {"id": "id"}, ("id",))
        assert table is not None
        with pytest.raises(WtsInvalidRequestError, match=r"outcomes_conn_id: .*Nothing was read.*login, password"):
            table.check("Nothing was read.")
    finally:
        monkeypatch.undo()


@pytest.mark.parametrize(
    ("said", "is_final"),
    [
        ('FATAL:  password authentication failed for user "etl"', True),
        ('FATAL:  role "etl" is not permitted to log in', True),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.5", user "etl", database "crm", no encryption', True),
        ("fe_sendauth: no password supplied", True),
        ("FATAL:  sorry, too many clients already", False),
        ("FATAL:  the database system is starting up", False),
        ("Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?", False),
        ('Connection refused\nconnection to server at "b" failed: FATAL:  role "etl" does not exist', False),
        (
            'FATAL:  password authentication failed for user "etl"\n'
            'connection to server at "a" failed: FATAL:  no pg_hba.conf entry for host "a"',
            True,
        ),
    ],
)
def test_a_text_of_postgresql_says_whether_a_login_is_tried_again(
    database: Any, monkeypatch: pytest.MonkeyPatch, said: str, *, is_final: bool
) -> None:
    if database.kind != "postgresql":
        pytest.skip("The other databases have numbers")
    from databases import Server
    from psycopg2 import OperationalError

    def connect(server: Server) -> Any:
        raise OperationalError(f'connection to server at "a", port 5432 failed: {said}\n')

    with monkeypatch.context() as patch:
        patch.setattr(Server, "connect", connect)
        with pytest.raises(WtsError) as caught:
            rows("SELECT 1 AS i")
    assert isinstance(caught.value, WtsInvalidRequestError) is is_final


@pytest.mark.parametrize(("number", "is_refused"), [("11999990001", True), ("149.5", False), ("NULL", False)])
def test_a_long_number_whose_digits_are_lost_is_refused(database: Any, number: str, is_refused: bool) -> None:
    database.write("CREATE TABLE TABLE_NAME (phone FLOAT(24))", f"INSERT INTO TABLE_NAME VALUES ({number})")
    query = f"SELECT phone FROM {database.table}"
    # SQLite has no such columns: its numbers keep their digits.
    if is_refused and database.kind != "sqlite":
        with pytest.raises(WtsInvalidRequestError, match=r"'phone' has single precision.*Nothing more was sent"):
            rows(query)
    else:
        assert rows(query)[1] == [None if number == "NULL" else float(number)]


@pytest.mark.parametrize(("amount", "is_refused"), [("12345.67", True), ("1234567", True), ("50000", False)])
def test_digits_that_mysql_does_not_write_are_lost_too(database: Any, amount: str, is_refused: bool) -> None:
    if database.kind != "mariadb":
        pytest.skip("Only MySQL and MariaDB write six digits of a FLOAT")
    database.write("CREATE TABLE TABLE_NAME (amount FLOAT)", f"INSERT INTO TABLE_NAME VALUES ({amount})")
    if is_refused:
        with pytest.raises(WtsInvalidRequestError, match="'amount' has single precision, which keeps six digits"):
            rows(f"SELECT amount FROM {database.table}")
    else:
        assert rows(f"SELECT amount FROM {database.table}") == [["amount"], [float(amount)]]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("DATE 'infinity'", None),
        ("TIMESTAMP '-infinity'", None),
        ("TIMESTAMPTZ 'infinity'", None),
        ("ARRAY[DATE '2026-12-31', 'infinity', NULL]", [date(2026, 12, 31), None, None]),
        ("DATE '4713-01-01 BC'", "4713-01-01 BC"),
        ("INTERVAL '1 year 2 months'", "1 year 2 mons"),
        ("ARRAY[INTERVAL '1 month']", ["1 mon"]),
        ("TIME '24:00'", "24:00:00"),
        ("ARRAY[TIME '22:30', '24:00']", [time(22, 30), "24:00:00"]),
        ("TIMETZ '24:00+00'", "24:00:00+00"),
        ("ARRAY['new', 'old', NULL]::kind_of_TABLE_NAME[]", ["new", "old", None]),
        ("ARRAY[UUID '5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e']", ["5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"]),
        ("ARRAY[ARRAY[149.5::REAL]]", [[149.5]]),
        ("""'{"a": [149.9, 12345678901234567.89]}'::JSONB""", {"a": [149.9, Decimal("12345678901234567.89")]}),
    ],
)
def test_a_value_of_postgresql_that_python_does_not_have_is_read_as_it_is_there(
    database: Any, value: str, cell: Any
) -> None:
    if database.kind != "postgresql":
        pytest.skip("The other databases have no such values")
    value = value.replace("TABLE_NAME", database.table)
    database.write("CREATE TYPE kind_of_TABLE_NAME AS ENUM ('new', 'old')")
    try:
        assert rows(f"SELECT {value} AS cell") == [["cell"], [cell]]
    finally:
        database.write("DROP TYPE kind_of_TABLE_NAME")


def test_a_key_that_json_has_twice_is_refused_as_in_files(database: Any) -> None:
    if database.kind != "postgresql":
        pytest.skip("The other databases return JSON as text")
    with pytest.raises(
        WtsInvalidRequestError, match=r"JSON column has the key 'a' twice; the type JSONB keeps the last"
    ):
        rows("""SELECT '[{"a": 1, "a": 2}]'::JSON AS cell""")
    assert rows("""SELECT '{"a": 1, "a": 2}'::JSONB AS cell""") == [["cell"], [{"a": 2}]]


def test_rows_that_a_connection_gives_as_objects_are_read_as_others(
    database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database.kind != "postgresql":
        pytest.skip("The other drivers here have no such connections")
    from databases import POSTGRES, Server
    from psycopg2 import connect, extras

    monkeypatch.setattr(Server, "connect", lambda _: connect(POSTGRES, cursor_factory=extras.RealDictCursor))
    value = "ARRAY[UUID '5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e']"
    assert rows(f"SELECT {value} AS cell, 1 AS i") == [["cell", "i"], [["5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"], 1]]


def test_an_array_of_numbers_that_lost_digits_is_refused(database: Any) -> None:
    if database.kind != "postgresql":
        pytest.skip("The other databases have no arrays")
    with pytest.raises(WtsInvalidRequestError, match="'phones' has single precision"):
        rows("SELECT ARRAY[NULL, 149.5, 11999990001::REAL] AS phones")


def test_a_text_of_fixed_length_has_no_padding(database: Any) -> None:
    database.write("CREATE TABLE TABLE_NAME (name CHAR(20))", "INSERT INTO TABLE_NAME VALUES (' Ana'), (''), (NULL)")
    assert [cells[0] for cells in rows(f"SELECT name FROM {database.table}")[1:]] == [" Ana", "", None]


def test_bits_of_mysql_are_a_number(database: Any) -> None:
    if database.kind != "mariadb":
        pytest.skip("Only MySQL and MariaDB have such numbers")
    database.write(
        "CREATE TABLE TABLE_NAME (flag BIT(1), bits BIT(16))", "INSERT INTO TABLE_NAME VALUES (b'1', 321), (NULL, NULL)"
    )
    assert rows(f"SELECT * FROM {database.table}")[1:] == [[1, 321], [None, None]]


@pytest.mark.parametrize(
    ("sql", "values"),
    [
        ("SELECT {} AS a", []),
        ("SELECT {} AS a", [1, 2]),
        ("SELECT {} AS a, 1 % {} AS b", [1, 1]),
        ("SELECT {} AS a", [{"a": 1}]),
        ("SELECT %(day)s AS a", {"ds": 1}),
        ("SELECT nothing FROM (SELECT 1 AS i) AS one", None),
        ("SELECT phone FROM nowhere", None),
        ("SELEC 1 AS i", None),
    ],
)
def test_a_query_that_fails_again_says_what_to_correct(database: Any, sql: str, values: Any) -> None:
    mark = "?" if database.kind == "sqlite" else "%s"
    if database.kind == "sqlite" and "%" in sql and isinstance(values, list):
        pytest.skip("In SQLite, % is no placeholder")
    with pytest.raises(WtsInvalidRequestError, match=r"the query failed: .*Correct the query") as problem:
        list(columns_and_rows(sql.replace("{}", mark), "wts_db", values, name="recipients"))
    assert ("recipients_sql_parameters" in str(problem.value)) == (values is not None)


class LostCursor:
    """As one of PyMySQL whose connection is lost: it reads on when it is closed."""

    def close(self) -> None:
        raise AttributeError("'NoneType' object has no attribute 'read'")


def test_what_closing_a_lost_connection_raises_does_not_hide_why_it_was_lost() -> None:
    with pytest.raises(OSError, match="Lost connection"), closed(LostCursor()):
        raise OSError("Lost connection to server during query")
    with pytest.raises(AttributeError), closed(LostCursor()):
        pass


@pytest.mark.parametrize(
    "sql", ["SELECT 1 AS i; SELECT 2 AS i", "SELECT 1 AS i; -- all\nDELETE FROM TABLE_NAME; COMMIT"]
)
def test_several_statements_are_refused_because_only_one_has_its_rows_read(database: Any, sql: str) -> None:
    database.write("CREATE TABLE TABLE_NAME (i INTEGER)", "INSERT INTO TABLE_NAME VALUES (1)")
    with pytest.raises(WtsError, match=r"suppression_sql: .*Nothing more was sent"):
        rows(sql.replace("TABLE_NAME", database.table))
    assert database("SELECT i FROM TABLE_NAME") == [(1,)]


@pytest.mark.parametrize("sql", ["SELECT 'a;b' AS i; -- a; b", "/* a; */ SELECT 'a;b' AS i;;\n"])
def test_a_semicolon_in_a_text_or_a_comment_ends_no_statement(database: Any, sql: str) -> None:
    assert rows(sql) == [["i"], ["a;b"]]
