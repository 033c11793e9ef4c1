"""The rows of a query: on SQLite always, on PostgreSQL and MariaDB if they run on this machine."""

from __future__ import annotations

from typing import Any

import pytest
from databases import database

from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError
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
    with pytest.raises(WtsInvalidRequestError, match=r"'wts_db', which the parameter 'suppression_conn_id' names"):
        rows("SELECT 1")


@pytest.mark.parametrize(("number", "is_refused"), [("11999990001", True), ("149.5", False), ("NULL", False)])
def test_a_long_number_whose_digits_are_lost_is_refused(database: Any, number: str, is_refused: bool) -> None:
    database.write("CREATE TABLE TABLE_NAME (phone FLOAT(24))", f"INSERT INTO TABLE_NAME VALUES ({number})")
    query = f"SELECT phone FROM {database.table}"
    # SQLite has no such columns: its numbers keep their digits.
    if is_refused and database.kind != "sqlite":
        with pytest.raises(WtsInvalidRequestError, match=r"'phone' is of single precision.*Nothing more was sent"):
            rows(query)
    else:
        assert rows(query)[1] == [None if number == "NULL" else float(number)]


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
