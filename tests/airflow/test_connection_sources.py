"""A connection means the same wherever it comes from: URI, JSON in the environment, a secrets backend, the database."""

from __future__ import annotations

import json

import pytest
from airflow.models.connection import Connection as StoredConnection

CHECK_DAG = '''
from airflow.providers.common.compat.sdk import DAG, task
from airflow_provider_wts.hooks.wts import WtsHook

with DAG(DAG_ID, schedule=None):
    @task
    def read():
        """Return what the connection says; the token's length stands for the token."""
        said = WtsHook("wts_source").connection
        return {
            "token": said.token == "pn_source:/?#%é",
            "base_url": said.base_url,
            "channel": said.channel,
            "timeout": said.timeout,
            "rate_limit_percent": said.rate_limit_percent,
            "rate_limit_conn_id": said.rate_limit_conn_id,
            "rate_limit_key": said.rate_limit_key,
            "send_limit_is_separate": said.send_limit_is_separate,
            "allow_http": said.allow_http,
            "allowed_recipients": sorted(said.allowed_recipients),
            "ca_bundle": said.ca_bundle,
        }

    read()
'''

TOKEN = "pn_source:/?#%é"
EXTRA = {
    "channel": "Vendas",
    "timeout": 30,
    "rate_limit_percent": "50",
    "rate_limit_key": "loja",
    "send_limit_is_separate": "true",
    "allow_http": "true",
    "allowed_recipients": "+55 11 99999-8888, @Maria.Silva",
}
READ = {
    "token": True,
    "base_url": "https://wts.example.com:8443",
    "channel": "Vendas",
    "timeout": 30,
    "rate_limit_percent": 50,
    "rate_limit_conn_id": None,
    "rate_limit_key": "loja",
    "send_limit_is_separate": True,
    "allow_http": True,
    "allowed_recipients": ["+55|11999998888", "@maria.silva"],
    "ca_bundle": None,
}
DEFAULTS = {
    "token": True,
    "base_url": "https://api.wts.chat",
    "channel": None,
    "timeout": 60,
    "rate_limit_percent": 100,
    "rate_limit_conn_id": None,
    "rate_limit_key": None,
    "send_limit_is_separate": False,
    "allow_http": False,
    "allowed_recipients": [],
    "ca_bundle": None,
}


def stored(**fields) -> StoredConnection:
    return StoredConnection(
        **{
            "conn_id": "wts_source",
            "conn_type": "wts",
            "password": TOKEN,
            "host": "https://wts.example.com",
            "port": 8443,
            "extra": json.dumps(EXTRA),
            **fields,
        }
    )


@pytest.fixture
def read(run_dag, dag_file):
    """Read a connection within a task of a real run."""

    def read_it(**arguments):
        outcome = run_dag(dag_file(CHECK_DAG), **arguments)
        assert outcome.state == "success", outcome.logs[-3000:]
        assert TOKEN not in outcome.logs
        return outcome.task("read").returned

    return read_it


def test_uri_in_the_environment(read):
    uri = stored().get_uri()
    assert uri.startswith("wts://")
    assert read(connections={"wts_source": uri}) == READ


def test_uri_written_by_hand(read):
    uri = "wts://:pn_source%3A%2F%3F%23%25%C3%A9@https%3A%2F%2Fwts.example.com:8443/?channel=Vendas&timeout=30"
    uri += "&rate_limit_percent=50&rate_limit_key=loja&send_limit_is_separate=true"
    uri += "&allow_http=true&allowed_recipients=%2B5511999998888%2C%40maria.silva"
    assert read(connections={"wts_source": uri}) == READ


def test_json_in_the_environment(read):
    fields = {"conn_type": "wts", "password": TOKEN, "host": "https://wts.example.com", "port": 8443, "extra": EXTRA}
    assert read(connections={"wts_source": fields}) == READ


@pytest.mark.parametrize("blank", [None, ""], ids=["null", "empty"])
def test_blank_fields_mean_the_defaults(read, blank):
    extra = dict.fromkeys(
        (
            "channel",
            "timeout",
            "rate_limit_percent",
            "rate_limit_conn_id",
            "rate_limit_key",
            "send_limit_is_separate",
            "allow_http",
            "allowed_recipients",
            "ca_bundle",
        ),
        blank,
    )
    fields = {"conn_type": "wts", "password": TOKEN, "host": blank, "login": blank, "schema": blank, "extra": extra}
    assert read(connections={"wts_source": fields}) == DEFAULTS


def test_nothing_but_a_token(read):
    assert read(connections={"wts_source": {"conn_type": "wts", "password": TOKEN}}) == DEFAULTS


def test_secrets_backend(read, tmp_path):
    fields = {"conn_type": "wts", "password": TOKEN, "host": "https://wts.example.com", "port": 8443, "extra": EXTRA}
    secrets = tmp_path / "connections.json"
    secrets.write_text(json.dumps({"wts_source": fields}))
    assert read(connections_file=secrets) == READ


def test_database(read, airflow_home):
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(stored())
    try:
        assert read() == READ
    finally:
        with create_session() as session:
            session.query(StoredConnection).filter_by(conn_id="wts_source").delete()


def test_database_as_the_form_stores_it(read, airflow_home):
    """A person fills in the token and saves: every other field of the form is stored as null or blank."""
    from airflow.utils.session import create_session

    extra = {"channel": None, "timeout": None, "rate_limit_percent": None, "rate_limit_conn_id": None}
    extra |= {"rate_limit_key": None, "send_limit_is_separate": False}
    extra |= {"allow_http": False, "allowed_recipients": None, "ca_bundle": None}
    with create_session() as session:
        session.add(stored(host="", login="", schema="", port=None, extra=json.dumps(extra)))
    try:
        assert read() == DEFAULTS
    finally:
        with create_session() as session:
            session.query(StoredConnection).filter_by(conn_id="wts_source").delete()
