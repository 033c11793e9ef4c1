"""What a connection says, whatever wrote it: form, URI, JSON or a secrets backend."""

from __future__ import annotations

import json
import warnings
from typing import Any, ClassVar

import pytest
from airflow.providers.common.compat.sdk import Connection

from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.hooks.connection import WtsConnection
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.provider_info import CONNECTION_FIELDS

BLANK = [None, "", "  "]

#: Something is there, and it names nobody: the list that a failed job leaves behind.
NOBODY = [[], "[]", ",", " ; \n", {}, False, 0]


def read(extra: Any = None, **fields: Any) -> WtsConnection:
    text = extra if isinstance(extra, str) or extra is None else json.dumps(extra)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        connection = Connection(conn_id="wts", conn_type="wts", **fields)
        # The database and secrets backends hold what no constructor would take.
        connection.extra = text
    return WtsConnection.read(connection)


def test_a_token_is_all_that_is_needed() -> None:
    assert read(password="pn_x") == WtsConnection(token="pn_x")


def test_a_repr_tells_no_token() -> None:
    assert "pn_secret" not in repr(read(password="pn_secret"))


class TestBaseUrl:
    @pytest.mark.parametrize("host", BLANK)
    def test_blank_is_the_vendors(self, host: str | None) -> None:
        assert read(host=host).base_url == "https://api.wts.chat"

    @pytest.mark.parametrize(
        ("host", "port", "url"),
        [
            ("api.flw.chat", 0, "https://api.flw.chat"),
            ("api.flw.chat", None, "https://api.flw.chat"),
            ("https://api.flw.chat/", None, "https://api.flw.chat"),
            (" api.flw.chat ", "", "https://api.flw.chat"),
            ("api.flw.chat", 8443, "https://api.flw.chat:8443"),
            ("http://localhost", "8000", "http://localhost:8000"),
            ("http://localhost:9000", 8000, "http://localhost:9000"),
            ("https://a.example/wts", 8443, "https://a.example:8443/wts"),
            ("http://[::1]", 8000, "http://[::1]:8000"),
            (None, 8443, "https://api.wts.chat:8443"),
            ("::1", 8000, "https://[::1]:8000"),
            ("http://::1", None, "http://[::1]"),
            ("2001:db8::1", None, "https://[2001:db8::1]"),
        ],
    )
    def test_is_made_of_host_and_port(self, host: str | None, port: Any, url: str) -> None:
        assert read(host=host, port=port).base_url == url

    @pytest.mark.parametrize(
        ("uri", "url"),
        [
            ("wts://:pn@chat.example.com/api/v2", "https://chat.example.com/api/v2"),
            ("wts://:pn@chat.example.com:8443/api?timeout=5", "https://chat.example.com:8443/api"),
            ("wts://:pn@https%3A%2F%2Fchat.example.com%2Fapi", "https://chat.example.com/api"),
            ("wts://:pn@https%3A%2F%2Fchat.example.com/api", "https://chat.example.com/api"),
            ("wts://:pn@[::1]:8080/api", "https://[::1]:8080/api"),
            ("wts://:pn@%5B%3A%3A1%5D/api", "https://[::1]/api"),
            ("wts://:pn@http%3A%2F%2F%5B%3A%3A1%5D%3A80", "http://[::1]:80"),
            ("wts://:pn@chat.example.com/https", "https://chat.example.com"),
            ("wts://:pn@localhost:8000/http", "http://localhost:8000"),
            ("wts://:pn@chat.example.com:0/", "https://chat.example.com"),
            ("wts://:pn@/?timeout=5", "https://api.wts.chat"),
        ],
    )
    def test_is_read_from_every_form_of_a_uri(self, uri: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_WTS_URI", uri)
        assert WtsHook("wts_uri").connection.base_url == url

    @pytest.mark.parametrize("port", [-1, 70000, "abc", "80.5"])
    def test_an_impossible_port_is_refused(self, port: Any) -> None:
        with pytest.raises(WtsInvalidRequestError, match="port"):
            read(host="api.flw.chat", port=port)


class TestNumbers:
    @pytest.mark.parametrize("value", BLANK)
    def test_blank_is_the_default(self, value: Any) -> None:
        connection = read({"timeout": value, "rate_limit_percent": value})
        assert (connection.timeout, connection.rate_limit_percent) == (60, 100)

    @pytest.mark.parametrize("value", [30, "30", " 30 ", 30.0, "30.0"])
    def test_are_taken_as_text_or_as_themselves(self, value: Any) -> None:
        connection = read({"timeout": value, "rate_limit_percent": value})
        assert (connection.timeout, connection.rate_limit_percent) == (30, 30)

    @pytest.mark.parametrize("value", [0, -5, 101, 1.5, "x", True, [], {}, "1e400", "nan", "50%"])
    def test_an_impossible_percent_is_refused(self, value: Any) -> None:
        with pytest.raises(WtsInvalidRequestError, match=r"'rate_limit_percent'.*from 1 to 100"):
            read({"rate_limit_percent": value})


@pytest.mark.parametrize("name", ["allow_http", "send_limit_is_separate"])
class TestFlag:
    @pytest.mark.parametrize("value", [True, "true", "True", " yes ", "on", 1, "1"])
    def test_yes(self, name: str, value: Any) -> None:
        assert getattr(read({name: value}), name) is True

    @pytest.mark.parametrize("value", [False, "false", "No", "off", 0, "0", *BLANK])
    def test_no(self, name: str, value: Any) -> None:
        assert getattr(read({name: value}), name) is False

    @pytest.mark.parametrize("value", ["maybe", 2, [], {}])
    def test_anything_else_is_refused(self, name: str, value: Any) -> None:
        with pytest.raises(WtsInvalidRequestError, match=f"'{name}'"):
            read({name: value})


class TestTexts:
    @pytest.mark.parametrize("name", ["channel", "rate_limit_conn_id", "rate_limit_key", "ca_bundle"])
    @pytest.mark.parametrize(("value", "taken"), [(None, None), ("", None), ("  ", None), (" x ", "x"), (5511, "5511")])
    def test_blank_is_none_and_digits_are_text(self, name: str, value: Any, taken: str | None) -> None:
        assert getattr(read({name: value}), name) == taken

    @pytest.mark.parametrize("name", ["channel", "rate_limit_conn_id", "rate_limit_key", "ca_bundle"])
    @pytest.mark.parametrize("value", [["x"], True, 1.5])
    def test_another_kind_is_refused(self, name: str, value: Any) -> None:
        with pytest.raises(WtsInvalidRequestError, match=name):
            read({name: value})


class TestAllowedRecipients:
    @pytest.mark.parametrize("value", BLANK)
    def test_blank_restricts_nothing(self, value: Any) -> None:
        assert read({"allowed_recipients": value}).allowed_recipients == frozenset()

    @pytest.mark.parametrize(
        "value",
        [
            "+55 11 99999-8888, @Maria",
            "5511999998888; @maria",
            "(11) 99999-8888\n@maria\n",
            ["+55|11999998888", "@maria"],
            '["+5511999998888", "@maria"]',
            ", @maria ,, 11999998888,",
            [5511999998888, "@maria"],
            '[5511999998888, "@maria"]',
        ],
    )
    def test_are_read_in_every_spelling(self, value: Any) -> None:
        assert read({"allowed_recipients": value}).allowed_recipients == {"+55|11999998888", "@maria"}

    def test_a_number_that_a_uri_made_of_digits_is_one(self) -> None:
        # Airflow 3.3 reads the query of ``airflow connections add --conn-uri`` as JSON.
        assert read({"allowed_recipients": 5511999998888}).allowed_recipients == {"+55|11999998888"}

    @pytest.mark.parametrize("value", ["Maria", "123", "[broken", "null", {"a": 1}, [None], [True], 119, True, *NOBODY])
    def test_a_restriction_that_cannot_be_read_does_not_become_none(self, value: Any) -> None:
        with pytest.raises(WtsInvalidRequestError, match="allowed_recipients"):
            read({"allowed_recipients": value})

    @pytest.mark.parametrize("extra", ['{"allowed_recipients": "@maria"', "[1]", '"text"', "nonsense"])
    def test_extras_that_cannot_be_read_are_refused(self, extra: str) -> None:
        with pytest.raises(WtsInvalidRequestError, match="JSON object"):
            read(extra)

    @pytest.mark.parametrize("extra", [None, "", "{}"])
    def test_empty_extras_are_none(self, extra: str | None) -> None:
        assert read(extra, password="pn_x") == WtsConnection(token="pn_x")


class TestNamesOfExtras:
    VALUES: ClassVar[dict[str, Any]] = {
        "channel": "WhatsApp principal",
        "timeout": "7",
        "rate_limit_percent": "50",
        "rate_limit_conn_id": "redis_default",
        "rate_limit_key": "loja",
        "send_limit_is_separate": "true",
        "allow_http": "true",
        "allowed_recipients": "+55 11 99999-8888",
        "ca_bundle": "/etc/ssl/company.pem",
    }

    def test_every_field_is_tested_here(self) -> None:
        assert CONNECTION_FIELDS.keys() == self.VALUES.keys()

    @pytest.mark.parametrize("name", VALUES)
    def test_the_prefix_of_older_airflows_is_read(self, name: str) -> None:
        extra = {name: self.VALUES[name]}
        assert read({f"extra__wts__{name}": self.VALUES[name]}) == read(extra) != read()
        assert read({f"extra__wts__{name}": self.VALUES[name], name: ""}) == read(extra)
        assert read({f"extra__wts__{name}": None, **extra}) == read(extra)

    def test_two_values_for_one_name_are_refused(self) -> None:
        with pytest.raises(WtsInvalidRequestError, match="'timeout' is given twice"):
            read({"extra__wts__timeout": 5, "timeout": 6})

    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("allowed_recipient", "allowed_recipients"),
            ("allowedrecipients", "allowed_recipients"),
            ("Allowed_Recipients", "allowed_recipients"),
            ("allowed-recipients", "allowed_recipients"),
            ("allowed_recipients ", "allowed_recipients"),
            ("extra__wts__alowed_recipients", "allowed_recipients"),
            ("time_out", "timeout"),
            ("ratelimit_percent", "rate_limit_percent"),
            ("token", None),
            ("", None),
        ],
    )
    def test_an_unknown_name_is_refused_with_the_nearest_one(self, name: str, meant: str | None) -> None:
        with pytest.raises(WtsInvalidRequestError) as caught:
            read({name: "+55 11 99999-8888"})
        assert f"{name!r} is unknown" in str(caught.value)
        assert (f"Did you mean {meant!r}?" if meant else "Valid extras: 'channel'") in str(caught.value)
        assert "99999" not in str(caught.value)

    @pytest.mark.parametrize("value", BLANK)
    def test_an_unknown_name_without_a_value_restricts_nothing(self, value: str | None) -> None:
        assert read({"alowed_recipients": value}) == read()
