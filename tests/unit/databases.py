"""Databases for tests, each with an Airflow connection ``wts_db``: SQLite always, others where they run."""

from __future__ import annotations

import json
import os
import sqlite3
import uuid
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POSTGRES = os.environ.get("WTS_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")
MARIADB = os.environ.get("WTS_TEST_MARIADB", "mysql://root@127.0.0.1:3306/test")


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A database with an Airflow connection ``wts_db``, names for two tables in it, and what reads it."""
    sql = pytest.importorskip("airflow.providers.common.sql.hooks.sql", reason="needs the extra sql")
    open_ = {"sqlite": _sqlite, "postgresql": _postgresql, "mariadb": _mariadb}[request.param]
    url, connect, placeholder = open_(tmp_path)

    class Hook(sql.DbApiHook):  # type: ignore[misc, name-defined]
        """The hook of a database, without the provider that would bring it."""

        conn_name_attr = "conn_id"
        _placeholder = placeholder

        def get_conn(self) -> Any:
            return connect()

        def get_uri(self) -> str:
            return str(url)

    monkeypatch.setattr(sql.DbApiHook, "get_hook", classmethod(lambda cls, conn_id, hook_params=None: Hook(conn_id)))
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DB", json.dumps({"conn_type": "generic"}))
    tables = {name: f"{name.lower()}_{uuid.uuid4().hex[:8]}" for name in ("TABLE", "OTHER")}

    def named(statement: str) -> str:
        for name, table in tables.items():
            statement = statement.replace(f"{name}_NAME", table)
        return statement

    def read(query: str) -> list[tuple[Any, ...]]:
        with closing(connect()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(named(query))
            return list(cursor.fetchall()) if cursor.description else []

    def write(*statements: str) -> None:
        with closing(connect()) as connection:
            for statement in statements:
                connection.cursor().execute(named(statement))
            connection.commit()

    read.table, read.other = tables.values()  # type: ignore[attr-defined]
    read.write, read.kind = write, request.param  # type: ignore[attr-defined]
    yield read
    with closing(connect()) as connection:
        for table in tables.values():
            connection.cursor().execute(f"DROP TABLE IF EXISTS {table}")
        connection.commit()


def _sqlite(folder: Path) -> tuple[Any, Any, str]:
    return f"sqlite:///{folder}/db.sqlite", lambda: sqlite3.connect(folder / "db.sqlite"), "?"


def _postgresql(folder: Path) -> tuple[Any, Any, str]:
    driver = pytest.importorskip("psycopg2", reason="needs psycopg2: pip install psycopg2-binary")
    try:
        driver.connect(POSTGRES, connect_timeout=5).close()
    except driver.OperationalError as problem:
        pytest.skip(f"no PostgreSQL at {POSTGRES}: {problem}")
    return POSTGRES, lambda: driver.connect(POSTGRES), "%s"


def _mariadb(folder: Path) -> tuple[Any, Any, str]:
    driver = pytest.importorskip("pymysql", reason="needs pymysql: pip install pymysql")
    from urllib.parse import urlsplit

    parts = urlsplit(MARIADB)
    server = {"host": parts.hostname, "port": parts.port or 3306, "user": parts.username or "root"}
    server |= {"password": parts.password or "", "charset": "utf8mb4", "connect_timeout": 5}
    try:
        with closing(driver.connect(**server)) as connection:
            connection.cursor().execute("CREATE DATABASE IF NOT EXISTS wts_test CHARACTER SET utf8mb4")
    except driver.OperationalError as problem:
        pytest.skip(f"no MariaDB at {MARIADB}: {problem}")
    return "mysql://localhost/wts_test", lambda: driver.connect(**server, database="wts_test"), "%s"
