"""The hooks of apache-airflow-providers-postgres and -mysql, where they are installed, with all their settings."""

from __future__ import annotations

import json
import tracemalloc
import uuid
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from databases import MARIADB, POSTGRES, Server

from airflow_provider_wts.api.errors import WtsError
from airflow_provider_wts.hooks.databases import database_hook
from airflow_provider_wts.hooks.queries import columns_and_rows
from airflow_provider_wts.hooks.tables import table_of

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = {"id": "key", "name": "text", "at": "time", "amount": "number", "replied": "flag", "answers": "json"}
AT = datetime(2026, 3, 2, 9, 0, 0, 123456, tzinfo=UTC)
ROW = {"id": "a", "name": "Ana 🙂 €%s", "at": AT, "amount": 0.1, "replied": True, "answers": '{"nota": "100%"}'}
EMPTY = {**dict.fromkeys(COLUMNS), "id": "a "}

CONNECTIONS = {
    "postgres": ("postgresql", {}),
    "postgres-dicts": ("postgresql", {"cursor": "dictcursor"}),
    "postgres-far-east": ("postgresql", {"options": "-c timezone=Asia/Tokyo"}),
    "mysql": ("mariadb", {}),
    "mysql-dicts": ("mariadb", {"cursor": "dictcursor", "charset": "utf8"}),
    "mysql-stream": ("mariadb", {"cursor": "sscursor", "charset": "latin1"}),
}


@pytest.fixture(params=CONNECTIONS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A connection ``wts_db`` that leads to a real server, and what it is."""
    kind, extra = CONNECTIONS[request.param]
    conn_type = request.param.partition("-")[0]
    pytest.importorskip(
        f"airflow.providers.{conn_type}", reason=f"needs apache-airflow-providers-{conn_type} and its driver"
    )
    if kind == "mariadb":
        pytest.importorskip("MySQLdb", reason="needs mysqlclient")
    Server(kind, "").check()
    parts = urlsplit(POSTGRES if kind == "postgresql" else MARIADB)
    given = {"conn_type": conn_type, "host": parts.hostname, "login": parts.username, "password": parts.password}
    given |= {"port": parts.port, "schema": parts.path[1:] if kind == "postgresql" else "wts_test"}
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DB", json.dumps({**given, "extra": extra}))
    return kind


@pytest.fixture
def name(kind: str) -> Iterator[str]:
    made = f"hooks_{uuid.uuid4().hex[:8]}"
    yield made
    with closing(Server(kind, "").connect()) as connection:
        connection.cursor().execute(f"DROP TABLE IF EXISTS {made}")
        connection.commit()


def rows(sql: str, parameters: Any = None) -> list[list[Any]]:
    return [list(row) for row in columns_and_rows(sql, "wts_db", parameters, name="recipients")][1:]


def test_rows_are_written_once_and_read_as_they_were(kind: str, name: str) -> None:
    table = table_of(("outcomes_table", "outcomes_conn_id"), (name, "wts_db"), COLUMNS, ("id",))
    assert table is not None
    assert [table.replace([ROW, EMPTY]) for _ in range(2)] == [2, 0]
    first, second = rows(f"SELECT * FROM {name} ORDER BY at IS NULL")
    at = first[2] if first[2].tzinfo else first[2].replace(tzinfo=UTC)
    assert (first[:2], at, float(first[3]), bool(first[4]), first[5]) == (
        ["a", ROW["name"]],
        AT,
        0.1,
        True,
        ROW["answers"],
    )
    assert second == ["a ", None, None, None, None, None]


def test_rows_are_written_all_or_none(kind: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = type(database_hook("wts_db", parameter="x"))
    connect = hook.get_conn

    def commits_each(self: Any) -> Any:
        connection = connect(self)
        self.set_autocommit(connection, True)
        return connection

    monkeypatch.setattr(hook, "get_conn", commits_each)
    table = table_of(("outcomes_table", "outcomes_conn_id"), (name, "wts_db"), COLUMNS, ("id",))
    assert table is not None
    table.replace([ROW])
    with pytest.raises(WtsError, match="The table is unchanged"):
        table.replace([*({**ROW, "id": f"k{number}"} for number in range(600)), {**ROW, "id": "x" * 300}])
    assert [row[0] for row in rows(f"SELECT id FROM {name}")] == ["a"]
    # And a query is read in a stream all the same.
    assert len(rows(f"SELECT id FROM {name}")) == 1


def test_cells_of_a_query_are_what_the_database_has(kind: str) -> None:
    json_cell = "'{\"a\": [1, null]}'::jsonb" if kind == "postgresql" else "JSON_OBJECT('a', 1)"
    decimal = "CAST(10.50 AS DECIMAL(10, 2))"
    ((text, amount, nothing, cell, percent),) = rows(
        f"SELECT 'é🙂' AS a, {decimal} AS b, NULL AS c, {json_cell} AS d, '100%' AS e"
    )
    assert (text, str(amount), nothing, percent) == ("é🙂", "10.50", None, "100%")
    assert cell == ({"a": [1, None]} if kind == "postgresql" else '{"a": 1}')
    assert rows("SELECT %s AS a, '5%%' AS b", ["x"]) == [["x", "5%"]]


def test_a_query_of_many_rows_is_not_in_memory(kind: str) -> None:
    many = (
        "generate_series(1, 300000) AS n(i)" if kind == "postgresql" else "(SELECT seq AS i FROM seq_1_to_300000) AS n"
    )
    tracemalloc.start()
    count = sum(1 for _ in columns_and_rows(f"SELECT i, 'abc' AS a FROM {many}", "wts_db", name="recipients"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (count, peak < 5_000_000) == (300_001, True)
