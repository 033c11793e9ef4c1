"""Rows in a table: only what changed is written, and the table has what it should, whatever happened to it."""

from __future__ import annotations

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
from databases import database  # noqa: F401

from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError, WtsNotSentError
from airflow_provider_wts.hooks.errors import is_final
from airflow_provider_wts.hooks.tables import Table, table_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

COLUMNS = {
    "campaign_id": "id",
    "row_key": "key",
    "name": "text",
    "line": "count",
    "at": "time",
    "amount": "number",
    "replied": "flag",
    "answers": "json",
    "observed_at": "time",
}
BEGUN = datetime(2026, 3, 2, 9, 0, 0, 123456, tzinfo=UTC)
ONE, TWO = "0" * 36, "1" * 36


def row(key: str, campaign: str = ONE, **more: Any) -> dict[str, Any]:
    values = {
        "name": "Ana 🙂",
        "line": 1,
        "at": BEGUN,
        "amount": 0.1,
        "replied": True,
        "answers": '{"nota": "Órgão €"}',
    }
    return {"campaign_id": campaign, "row_key": key, **values, "observed_at": BEGUN, **more}


@pytest.fixture
def table(database: Any) -> Table:  # noqa: F811
    given = (database.table, "wts_db")
    made = table_of(("outcomes_table", "outcomes_conn_id"), given, COLUMNS, ("campaign_id", "row_key"))
    assert made is not None
    return made


def keys(database: Any) -> list[tuple[str, str]]:  # noqa: F811
    return sorted(tuple(one) for one in database("SELECT campaign_id, row_key FROM TABLE_NAME"))


def test_rows_that_are_there_already_are_left_alone(table: Table, database: Any) -> None:  # noqa: F811
    empty = dict.fromkeys(("name", "line", "at", "amount", "replied", "answers"))
    rows = [row(f"k{number}", **(empty if number % 2 else {"line": number})) for number in range(1200)]
    assert table.replace(rows) == 1200
    later = [{**one, "observed_at": BEGUN + timedelta(hours=1)} for one in rows]
    assert table.replace_changed(later, later, seal=None, whole=[ONE], unless=["observed_at"]).written == 0
    changed = [{**one, "name": "Bia"} if number in (3, 700) else one for number, one in enumerate(later)]
    assert table.replace_changed(changed, changed, seal=None, whole=[ONE], unless=["observed_at"]).written == 2
    assert table.replace(later[:10]) == 10
    assert len(database("SELECT * FROM TABLE_NAME")) == 1200


def test_rows_with_long_texts_fit_into_statements(table: Table, database: Any) -> None:  # noqa: F811
    # More than max_allowed_packet of MariaDB, 16 MB; one row is longer than a statement should be.
    rows = [row(f"k{number}", answers=json.dumps("é" * 60_000, ensure_ascii=False)) for number in range(160)]
    rows.append(row("long", name="x" * 2_000_000))
    assert table.replace(rows) == 161
    assert table.replace(rows) == 0
    assert len(keys(database)) == 161


@pytest.mark.parametrize(
    "value",
    [1 / 3, 99_999_999_999_999.0, 0.00001, 10, -0.0],
    ids=["third", "large", "tiny", "whole", "zero"],
)
def test_an_amount_that_the_column_rounds_is_no_change(table: Table, value: float) -> None:
    assert [table.replace([row("a", amount=value)]) for _ in range(2)] == [1, 0]


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM TABLE_NAME", "DROP TABLE TABLE_NAME", "UPDATE TABLE_NAME SET replied = NULL, name = 'x'"],
    ids=["emptied", "dropped", "changed"],
)
def test_what_somebody_did_to_the_table_is_repaired(table: Table, database: Any, statement: str) -> None:  # noqa: F811
    rows = [row("a"), row("b"), row("a", TWO)]
    table.replace(rows)
    database.write(statement)
    assert table.replace(rows) == 3
    assert keys(database) == [(ONE, "a"), (ONE, "b"), (TWO, "a")]
    assert table.replace(rows) == 0


def test_rows_of_a_campaign_that_it_has_no_more_are_removed_and_others_stay(table: Table, database: Any) -> None:  # noqa: F811
    table.replace([*(row(f"k{number}") for number in range(600)), row("a", TWO)])
    table.replace([row("k1"), row("new")], whole=[ONE])
    assert keys(database) == [(ONE, "k1"), (ONE, "new"), (TWO, "a")]
    table.replace([], whole=[ONE])
    assert keys(database) == [(TWO, "a")]


@pytest.mark.parametrize("is_known", [True, False], ids=["seal known", "first time"])
def test_what_somebody_changes_while_rows_are_written_is_repaired_the_next_time(
    table: Table,
    database: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_known: bool,
) -> None:
    from airflow_provider_wts.hooks import tables

    monkeypatch.setattr(tables, "_BATCH", 1)
    rows = [row("a"), row("b", name="Bia")]

    def seal_after(given: Iterable[Any], changed: Iterable[Any], seal: str | None) -> str | None:
        return table.replace_changed(given, changed, seal=seal, whole=[ONE], unless=["observed_at"]).seal

    def meddled(given: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        # Once, when its row is not locked: nobody ends a wait for that.
        if is_known:
            meddle()
        yield from given
        if not is_known:
            meddle()

    def meddle() -> None:
        # SQLite lets nobody else write meanwhile, and nobody waits for that here.
        waits = ["PRAGMA busy_timeout = 0"] if database.kind == "sqlite" else []
        with suppress(sqlite3.OperationalError):
            database.write(*waits, f"UPDATE TABLE_NAME SET name = 'Old' WHERE campaign_id = '{ONE}' AND row_key = 'a'")

    seal = seal_after([row("a"), row("b")], [], None) if is_known else None
    table.replace([row("a"), row("b")])
    seal = seal_after(meddled(rows), meddled(rows[1:]), seal)
    seal_after(rows, [], seal)
    assert dict(database("SELECT row_key, name FROM TABLE_NAME")) == {"a": "Ana 🙂", "b": "Bia"}


def test_a_retry_finds_rows_that_another_task_wrote_meanwhile(table: Table, database: Any) -> None:  # noqa: F811
    if database.kind == "sqlite":
        pytest.skip("SQLite lets nobody else write meanwhile")

    def rows() -> Iterator[dict[str, Any]]:
        database.write(f"INSERT INTO TABLE_NAME (campaign_id, row_key) VALUES ('{ONE}', 'a')")
        yield row("a")

    table.replace([])
    with pytest.raises(WtsError, match="another task wrote the same rows meanwhile, a retry finds them") as problem:
        table.replace_changed(rows(), [], seal=None, whole=[ONE], unless=())
    assert not is_final(problem.value)
    assert table.replace_changed([row("a")], [], seal=None, whole=[ONE], unless=()).written == 1


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_rows_that_a_stopped_worker_keeps_locked_do_not_block_for_ever(
    table: Table,
    database: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from databases import Server

    monkeypatch.setattr("airflow_provider_wts.hooks.tables._POSTGRESQL_LOCKS", "200ms")
    table.replace([row("a")])
    with closing(Server("postgresql", "").connect()) as stopped:
        stopped.cursor().execute(f"UPDATE {database.table} SET name = 'Bia'")
        with pytest.raises(WtsError, match=r"lock timeout.*The table is unchanged.*A retry writes them") as refused:
            table.replace([row("a", name="Caio")])
        assert not is_final(refused.value)
    assert table.replace([row("a", name="Caio")]) == 1


def test_tasks_that_make_the_table_at_once_all_write_their_rows(table: Table, database: Any) -> None:  # noqa: F811
    begin = Barrier(4)

    def write(campaign: str) -> int:
        begin.wait()
        return table.replace([row("a", campaign=campaign)], whole=[campaign])

    campaigns = [str(number) * 36 for number in range(4)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(write, campaigns)) == [1, 1, 1, 1]
    assert keys(database) == [(campaign, "a") for campaign in campaigns]


def test_keys_that_differ_in_spaces_case_or_accents_are_several(table: Table, database: Any) -> None:  # noqa: F811
    given = ["a", "a ", "A", "á", "a  ", "ß", "ss", "👍", "👍🏽"]
    for _ in range(2):
        table.replace([row(key, line=number) for number, key in enumerate(given)], whole=[ONE])
        found = dict(database("SELECT row_key, line FROM TABLE_NAME"))
        assert found == {key: number for number, key in enumerate(given)}


@pytest.mark.parametrize("kind", ["INTEGER", "NUMERIC(20, 2)", "CHAR(40)"])
def test_keys_in_a_column_of_another_type_are_found_again(table: Table, database: Any, kind: str) -> None:  # noqa: F811
    columns = ", ".join(f"{name} VARCHAR(100)" for name in COLUMNS if name != "row_key")
    database.write(f"CREATE TABLE TABLE_NAME (row_key {kind}, {columns})")
    gone = [row("3"), row("2", campaign=TWO)]
    for given in ([*gone, row("1")], [row("1"), row("2")], [row("1"), row("2")]):
        table.replace(given, whole=[ONE])
    found = sorted((campaign, int(float(key))) for campaign, key in keys(database))
    assert found == [(ONE, 1), (ONE, 2), (TWO, 2)]


def test_a_table_that_takes_two_keys_for_one_is_named(table: Table, database: Any) -> None:  # noqa: F811
    if database.kind != "mariadb":
        pytest.skip("Only MariaDB has such collations as its usual ones")
    columns = ", ".join(f"{name} VARCHAR(100)" for name in COLUMNS if name not in ("campaign_id", "row_key"))
    database.write(
        f"CREATE TABLE TABLE_NAME (campaign_id CHAR(36), row_key VARCHAR(255), {columns}, "
        "PRIMARY KEY (campaign_id, row_key)) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"
    )
    with pytest.raises(WtsError, match=r"(?s)outcomes_table: .*considers two keys equal.*byte by byte.*drop it.*clear"):
        table.replace([row("a"), row("a ")])
    assert keys(database) == []


def test_rows_of_one_key_become_one_in_a_table_that_takes_them(table: Table, database: Any) -> None:  # noqa: F811
    columns = ", ".join(f"{name} VARCHAR(100)" for name in COLUMNS)
    database.write(f"CREATE TABLE TABLE_NAME ({columns})")
    table.replace([row("a"), row("b")])
    database.write("INSERT INTO TABLE_NAME SELECT * FROM TABLE_NAME")
    table.replace([row("a"), row("b")], whole=[ONE])
    assert keys(database) == [(ONE, "a"), (ONE, "b")]


def test_a_row_that_was_read_later_stays(database: Any) -> None:  # noqa: F811
    given = (database.table, "wts_db")
    table = table_of(("sessions_table", "tables_conn_id"), given, COLUMNS, ["row_key"], ["at", "observed_at"])
    assert table is not None
    old, new = row("a", name="old"), row("a", name="new", at=BEGUN + timedelta(seconds=1))
    assert [table.replace([one]) for one in (new, old, new)] == [1, 0, 0]
    assert database("SELECT name FROM TABLE_NAME") == [("new",)]
    assert table.replace([{**new, "name": "repaired"}, row("b", observed_at=None)]) == 2


def test_a_later_row_that_another_task_writes_meanwhile_stays(
    database: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if database.kind == "sqlite":
        pytest.skip("SQLite lets nobody else write meanwhile")
    given = (database.table, "wts_db")
    table = table_of(("sessions_table", "tables_conn_id"), given, COLUMNS, ["row_key"], ["at"])
    assert table is not None
    table.replace([row("a", name="first")])
    existing, left = Table._existing, [1]

    def meanwhile(self: Table, cursor: Any, *keys: Any) -> Any:
        there = existing(self, cursor, *keys)
        if left:
            left.pop()
            table.replace([row("a", name="new", at=BEGUN + timedelta(seconds=2))])
        return there

    monkeypatch.setattr(Table, "_existing", meanwhile)
    old = row("a", name="old", at=BEGUN + timedelta(seconds=1))
    with suppress(WtsError):
        table.replace([old])
    assert table.replace([old]) == 0
    assert database("SELECT name FROM TABLE_NAME") == [("new",)]


def begin_sessions_with(statement: str, table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each connection begin as on a server with such a setting."""
    connect = table._hook.get_conn

    def connected() -> Any:
        connection = connect()
        connection.cursor().execute(statement)
        return connection

    monkeypatch.setattr(table._hook, "get_conn", connected)


def test_a_date_of_mysql_is_the_same_time_wherever_the_server_is(
    table: Table,
    database: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if database.kind != "mariadb":
        pytest.skip("The other databases have no such type")
    columns = ", ".join(f"{name} {'TIMESTAMP(6)' if name == 'at' else 'VARCHAR(100)'}" for name in COLUMNS)
    database.write(f"CREATE TABLE TABLE_NAME ({columns})")
    begin_sessions_with("SET time_zone = '-03:00'", table, monkeypatch)
    table.replace([row("a")])
    assert [float(one) for (one,) in database("SELECT UNIX_TIMESTAMP(at) FROM TABLE_NAME")] == [BEGUN.timestamp()]


@pytest.mark.parametrize("kind", ["VARCHAR(3)", "VARCHAR(100) CHARACTER SET utf8mb3"])
def test_mysql_changes_no_value_that_does_not_fit(
    table: Table,
    database: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    if database.kind != "mariadb":
        pytest.skip("The other databases never do")
    columns = ", ".join(f"{name} {kind if name == 'name' else 'VARCHAR(100)'}" for name in COLUMNS)
    database.write(f"CREATE TABLE TABLE_NAME ({columns})")
    begin_sessions_with("SET sql_mode = ''", table, monkeypatch)
    with pytest.raises(WtsInvalidRequestError, match=r"column .*name"):
        table.replace([row("a")])
    assert keys(database) == []


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ('"Mixed TABLE_NAME"', "Mixed TABLE_NAME"),
        ("`Mixed TABLE_NAME`", "Mixed TABLE_NAME"),
        ("`órder-TABLE_NAME`", "órder-TABLE_NAME"),
        ('"a.TABLE_NAME"', "a.TABLE_NAME"),
    ],
)
def test_a_name_may_be_exact(database: Any, name: str, there: str) -> None:  # noqa: F811
    name, mark = name.replace("TABLE_NAME", database.table), "`" if database.kind == "mariadb" else '"'
    table = table_of(("outcomes_table", "outcomes_conn_id"), (name, "wts_db"), COLUMNS, ("campaign_id", "row_key"))
    assert table is not None
    try:
        table.check("Nothing was sent.")
        assert [table.replace([row("a")], whole=[ONE]) for _ in range(2)] == [1, 0]
        assert database(f"SELECT row_key FROM {mark}{there}{mark}") == [("a",)]
    finally:
        database.write(f"DROP TABLE IF EXISTS {mark}{there}{mark}")


def test_a_name_may_be_a_reserved_word(database: Any) -> None:  # noqa: F811
    schema = "main" if database.kind == "sqlite" else f"schema_of_{database.table}"
    if database.kind != "sqlite":
        database.write(f"CREATE SCHEMA {schema}")
    given = (f"{schema}.order", "wts_db")
    table = table_of(("outcomes_table", "outcomes_conn_id"), given, COLUMNS, ("campaign_id", "row_key"))
    assert table is not None
    try:
        table.check("Nothing was sent.")
        assert [table.replace([row("a")], whole=[ONE]) for _ in range(2)] == [1, 0]
    finally:
        if database.kind != "sqlite":
            database.write(f"DROP SCHEMA {schema} {'CASCADE' * (database.kind == 'postgresql')}")


def test_a_name_without_quotes_is_read_as_the_database_reads_it(table: Table, database: Any) -> None:  # noqa: F811
    if database.kind == "mariadb":
        pytest.skip("It has another table for each case")
    table.replace([row("a")])
    given = (database.table.upper(), "wts_db")
    again = table_of(("outcomes_table", "outcomes_conn_id"), given, COLUMNS, ("campaign_id", "row_key"))
    assert again is not None
    assert again.replace([row("a")]) == 0


@pytest.mark.parametrize(
    "name",
    [
        *(
            'x; DROP TABLE "y"',
            '"x" y',
            '"x"; DROP TABLE y',
            '"x""y"',
            '"x\\"',
            '"x` y"',
            '"%s"',
            '"x',
            'x"',
            '""',
            '"\n"',
        ),
        *("a.b.c.d", "a..b", "1a", "a b", "[a]", "a--", "`a``b`", '"a\0"', '"a".'),
    ],
)
def test_a_name_that_could_be_more_than_a_name_is_refused(database: Any, name: str) -> None:  # noqa: F811
    with pytest.raises(WtsInvalidRequestError, match="is not a valid table name"):
        Table("wts_db", name, COLUMNS, ("campaign_id", "row_key"), parameters=("outcomes_table", "outcomes_conn_id"))


def test_a_text_may_be_as_long_as_a_customer_makes_it(table: Table, database: Any) -> None:  # noqa: F811
    table.replace([row("a", name="😀" * 70_000)])
    assert database("SELECT name FROM TABLE_NAME") == [("😀" * 70_000,)]


@pytest.mark.parametrize("rule", ["INTEGER NOT NULL", "INTEGER DEFAULT 0 CHECK (other > 0)"])
def test_a_rule_of_the_table_refuses_its_rows_again(table: Table, database: Any, rule: str) -> None:  # noqa: F811
    columns = ", ".join(f"{name} VARCHAR(100)" for name in COLUMNS)
    database.write(f"CREATE TABLE TABLE_NAME ({columns}, other {rule})")
    with pytest.raises(WtsInvalidRequestError, match=r"(?s)outcomes_table: the rows could not .*Change the table"):
        table.replace([row("a")])


def test_a_row_that_the_database_refuses_is_not_in_the_error(table: Table, database: Any) -> None:  # noqa: F811
    table.replace([])
    database.write("ALTER TABLE TABLE_NAME ADD COLUMN other INTEGER CHECK (other IS NOT NULL)")
    with pytest.raises(WtsError, match="outcomes_table: the rows could not be written") as problem:
        table.replace([row("+55|11999998888", name="em segredo")])
    assert [word for word in ("segredo", "99999") if word in str(problem.value)] == []


@pytest.fixture
def as_writer(table: Table, database: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:  # noqa: F811
    """Let the table be written by another user, who has some privileges for it."""
    if database.kind != "postgresql":
        pytest.skip("The other databases have no second user here")
    table.replace([])
    writer = f"writer_of_{database.table}"
    database.write(f"CREATE ROLE {writer}")
    connect = table._hook.get_conn

    def as_them() -> Any:
        connection = connect()
        connection.cursor().execute(f"SET ROLE {writer}")
        connection.commit()
        return connection

    def become(privileges: str) -> None:
        database.write(f"GRANT {privileges} ON TABLE_NAME TO {writer}")
        monkeypatch.setattr(table._hook, "get_conn", as_them)

    yield become
    database.write(f"DROP OWNED BY {writer}", f"DROP ROLE {writer}")


def test_who_fills_a_table_need_not_be_allowed_to_make_one(table: Table, as_writer: Any) -> None:
    as_writer("SELECT, INSERT, DELETE")
    table.check("Nothing was sent.")
    assert table.replace([row("a")]) == 1


@pytest.mark.parametrize("privileges", ["SELECT", "SELECT, INSERT", "SELECT, DELETE"])
def test_who_may_not_write_to_a_table_is_refused_before_there_are_rows(
    table: Table, as_writer: Any, privileges: str
) -> None:
    as_writer(privileges)
    with pytest.raises(WtsInvalidRequestError, match=r"permission denied.*Nothing was sent.*privileges"):
        table.check("Nothing was sent.")


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        (None, WtsNotSentError, "There is no Airflow connection 'wts_db', which the parameter 'results_conn_id' names"),
        ("wts", WtsInvalidRequestError, "results_conn_id: the connection 'wts_db' is not a database connection"),
        ("redis", WtsInvalidRequestError, "results_conn_id: the connection 'wts_db' is not a database connection"),
    ],
    ids=["missing", "wts", "of-no-provider"],
)
def test_a_connection_that_leads_to_no_database_is_named(
    monkeypatch: pytest.MonkeyPatch, kind: str | None, error: type[WtsError], words: str
) -> None:
    pytest.importorskip("airflow.providers.common.sql.hooks.sql", reason="needs the extra sql")
    if kind is not None:
        monkeypatch.setenv("AIRFLOW_CONN_WTS_DB", json.dumps({"conn_type": kind}))
    with pytest.raises(error, match=words):
        table_of(("results_table", "results_conn_id"), ("results", "wts_db"), COLUMNS, ["row_key"])


def test_an_error_that_is_only_a_key_is_named(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect() -> None:
        raise KeyError("host")

    monkeypatch.setattr(table._hook, "get_conn", connect)
    with pytest.raises(WtsInvalidRequestError, match=r"could not be written to .*: KeyError 'host'"):
        table.check("Nothing was read.")


def test_a_table_of_other_columns_is_named(table: Table, database: Any) -> None:  # noqa: F811
    database.write("CREATE TABLE TABLE_NAME (x INTEGER)")
    with pytest.raises(WtsInvalidRequestError, match=r"(?s)outcomes_table: the rows could not be .*Change the.*clear"):
        table.replace([row("a")])


def test_a_table_is_made_and_its_columns_are_checked_before_there_are_rows(table: Table, database: Any) -> None:  # noqa: F811
    table.check("Nothing was sent.")
    assert keys(database) == []
    database.write("ALTER TABLE TABLE_NAME DROP COLUMN answers")
    with pytest.raises(WtsInvalidRequestError, match=r"outcomes_table: .*answers.*Nothing was sent\. Change the table"):
        table.check("Nothing was sent.")


def test_a_database_that_may_not_be_written_is_named(
    table: Table,
    database: Any,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if database.kind != "sqlite":
        pytest.skip("The other databases have no file")
    table.replace([])
    name = f"file:{tmp_path}/db.sqlite?mode=ro"
    monkeypatch.setattr(table._hook, "get_conn", lambda: sqlite3.connect(name, uri=True))
    with pytest.raises(WtsInvalidRequestError, match=r"readonly database.*privileges of the connection's user"):
        table.check("Nothing was sent.")
