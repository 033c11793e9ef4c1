"""Databases for tests, each with an Airflow connection ``wts_db``: SQLite always, others where they run."""

from __future__ import annotations

import json
import os
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

POSTGRES = os.environ.get("WTS_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")
MARIADB = os.environ.get("WTS_TEST_MARIADB", "mysql://root@127.0.0.1:3306/test")


KINDS = ["sqlite", "postgresql", "mariadb"]


class Server(NamedTuple):
    """A database.

    :param kind: one of ``KINDS``.
    :param folder: where the file of an SQLite database is.
    """

    kind: str
    folder: str

    @property
    def url(self) -> str:
        """Its URL, which names its dialect."""
        urls = {"sqlite": f"sqlite:///{self.folder}/db.sqlite", "postgresql": POSTGRES}
        return urls.get(self.kind, "mysql://localhost/wts_test")

    def connect(self) -> Any:
        """Return a connection of its driver."""
        if self.kind == "sqlite":
            return sqlite3.connect(Path(self.folder, "db.sqlite"))
        if self.kind == "postgresql":
            import psycopg2

            return psycopg2.connect(POSTGRES)
        import pymysql

        return pymysql.connect(**_mariadb(), database="wts_test")

    def check(self) -> None:
        """Skip the test, and say why, if it is not there."""
        if self.kind == "postgresql":
            driver = pytest.importorskip("psycopg2", reason="needs psycopg2: pip install psycopg2-binary")
            try:
                driver.connect(POSTGRES, connect_timeout=5).close()
            except driver.OperationalError as problem:
                pytest.skip(f"no PostgreSQL at {POSTGRES}: {problem}")
        if self.kind == "mariadb":
            driver = pytest.importorskip("pymysql", reason="needs pymysql: pip install pymysql")
            try:
                with closing(driver.connect(**_mariadb())) as connection:
                    connection.cursor().execute("CREATE DATABASE IF NOT EXISTS wts_test CHARACTER SET utf8mb4")
            except driver.OperationalError as problem:
                pytest.skip(f"no MariaDB at {MARIADB}: {problem}")

    def hook(self) -> Any:
        """Return the class of its hook, without the provider that would bring it."""
        from airflow.providers.common.sql.hooks.sql import DbApiHook

        server = self

        class Hook(DbApiHook):  # type: ignore[misc]
            conn_name_attr = "conn_id"
            _placeholder = "?" if server.kind == "sqlite" else "%s"

            def get_conn(self) -> Any:
                return server.connect()

            def get_uri(self) -> str:
                return server.url

        return Hook


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A database with an Airflow connection ``wts_db``, names for two tables in it, and what reads it."""
    sql = pytest.importorskip("airflow.providers.common.sql.hooks.sql", reason="needs the extra sql")
    server = Server(request.param, str(tmp_path))
    server.check()
    connect, made = server.connect, server.hook()
    monkeypatch.setattr(sql.DbApiHook, "get_hook", classmethod(lambda cls, conn_id, hook_params=None: made(conn_id)))
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


def _mariadb() -> dict[str, Any]:
    from urllib.parse import urlsplit

    parts = urlsplit(MARIADB)
    server = {"host": parts.hostname, "port": parts.port or 3306, "user": parts.username or "root"}
    return {**server, "password": parts.password or "", "charset": "utf8mb4", "connect_timeout": 5}
