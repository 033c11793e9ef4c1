"""The hook: an Airflow connection becomes a client, and the Test button says what is wrong."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError, WtsNotSentError
from airflow_provider_wts.api.sends import send_text
from airflow_provider_wts.emulator.running import Emulator
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.operators.chatbot import WtsListChannelsOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOKEN = "pn_secret_of_the_tests"


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(token=TOKEN) as running:
        yield running


@pytest.fixture
def hook_of(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Callable[..., WtsHook]:
    """Make a hook of a connection that differs in something from a good one."""
    emulator.reset()

    def hook_of(extra: dict[str, Any] | None = None, **fields: Any) -> WtsHook:
        connection = {"conn_type": "wts", "host": emulator.url, "password": TOKEN, "extra": extra or {}, **fields}
        monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))
        return WtsHook()

    return hook_of


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that gives everybody the same answer."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = server.accept()
                with sock:
                    sock.recv(65536)
                    sock.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def page(status: str, *headers: str) -> bytes:
    body = b"<!DOCTYPE html><title>Welcome</title>"
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Content-Type: text/html", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class TestTestConnection:
    def test_a_good_one(self, hook_of: Callable[..., WtsHook], emulator: Emulator) -> None:
        works, words = hook_of().test_connection()
        assert works
        assert words.startswith(f"Connected to {emulator.url}. The account has ")

    def test_a_wrong_token(self, hook_of: Callable[..., WtsHook]) -> None:
        works, words = hook_of(password="pn_wrong_one").test_connection()
        assert not works
        assert "refuses the token" in words
        assert "pn_wrong_one" not in words

    @pytest.mark.parametrize("token", ["", None, "Bearer ", "pn_a pn_b", "pn_a\nb"])
    def test_a_token_that_cannot_be_one(self, token: str | None, hook_of: Callable[..., WtsHook]) -> None:
        works, words = hook_of(password=token).test_connection()
        assert not works
        assert "token" in words

    def test_an_unreachable_host_in_one_quick_attempt(self, hook_of: Callable[..., WtsHook]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        started = time.monotonic()
        works, words = hook_of(host="http://127.0.0.1", port=port).test_connection()
        assert time.monotonic() - started < 2
        assert not works
        assert "cannot be reached (Connection refused)" in words
        assert "base URL" in words

    @pytest.mark.parametrize("host", ["http://example.com", "ftp://x", "https://a..b", "https://u:p@host"])
    def test_an_address_that_cannot_be_one(self, host: str, hook_of: Callable[..., WtsHook]) -> None:
        works, words = hook_of(host=host).test_connection()
        assert not works
        assert "base URL" in words

    @pytest.mark.parametrize("port", [0, 443])
    @pytest.mark.parametrize(
        "host",
        [
            *("https://", "http://", "https:///x", "http://:80", "https", "https:/api.wts.chat", "https:api.wts.chat"),
            *("https://https://api.wts.chat", "https://api.wts.chat:99999", "https://api.wts.chat:443:443"),
        ],
    )
    def test_an_address_without_a_host_or_with_an_impossible_port(
        self, host: str, port: int, hook_of: Callable[..., WtsHook]
    ) -> None:
        works, words = hook_of(host=host, port=port).test_connection()
        assert not works
        assert words.startswith("The base URL ")
        assert words.endswith("Example: https://api.wts.chat.")

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            (page("200 OK"), "not a WTS Chat server"),
            (page("404 Not Found"), "leads to a WTS Chat server"),
            (page("403 Forbidden"), "leads to a WTS Chat server"),
            (page("301 Moved", "Location: https://www.example/start?x=1"), "redirects to https://www.example."),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK", "not a WTS Chat server"),
            (b"SSH-2.0-OpenSSH\r\n", "no usable answer"),
            (b"", "no usable answer"),
        ],
    )
    def test_a_host_that_is_no_wts_chat(self, answer: bytes, said: str, hook_of: Callable[..., WtsHook]) -> None:
        with answering(answer) as url:
            works, words = hook_of(host=url).test_connection()
        assert not works
        assert said in words

    @pytest.mark.parametrize("fault", ["status", "reset", "empty"])
    def test_makes_one_attempt_only(self, fault: Any, hook_of: Callable[..., WtsHook], emulator: Emulator) -> None:
        emulator.faults.add(fault, status=503, times=None)
        works, _ = hook_of().test_connection()
        assert not works
        assert len(emulator.requests) == 1

    @pytest.mark.parametrize("channel", ["Canal que falta", "+55 11 3333-4444", "@ninguem", str(uuid.UUID(int=7))])
    def test_a_channel_that_does_not_exist(self, channel: str, hook_of: Callable[..., WtsHook]) -> None:
        works, said = hook_of({"channel": channel}).test_connection()
        assert not works
        assert "channel" in said

    def test_a_channel_that_exists(self, hook_of: Callable[..., WtsHook]) -> None:
        assert hook_of({"channel": "WhatsApp principal"}).test_connection()[0]

    def test_a_redis_that_does_not_answer(
        self, hook_of: Callable[..., WtsHook], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        monkeypatch.setenv("AIRFLOW_CONN_LIMITS", f"redis://:pn_redis@127.0.0.1:{port}/0")
        works, said = hook_of({"rate_limit_conn_id": "limits"}).test_connection()
        assert not works
        assert "Redis server of the connection 'limits'" in said
        assert "pn_redis" not in said

    def test_a_ca_bundle_that_is_not_there(self, hook_of: Callable[..., WtsHook]) -> None:
        works, said = hook_of({"ca_bundle": "/no/such/ca.pem"}).test_connection()
        assert not works
        assert "/no/such/ca.pem" in said

    def test_a_path_that_is_not_the_apis(self, hook_of: Callable[..., WtsHook], emulator: Emulator) -> None:
        works, said = hook_of({}, host=f"{emulator.url}/chat/v1").test_connection()
        assert not works
        assert f"Set the base URL to {emulator.url}" in said

    def test_an_impossible_extra(self, hook_of: Callable[..., WtsHook]) -> None:
        works, words = hook_of({"rate_limit_percent": 500}).test_connection()
        assert not works
        assert "rate_limit_percent" in words


class TestRecipient:
    def test_is_spelt_as_the_api_stores_it(self, hook_of: Callable[..., WtsHook]) -> None:
        assert hook_of().recipient("(11) 99999-8888") == "+55|11999998888"

    @pytest.mark.parametrize("to", ["11999998888", "+55 11 99999-8888", "@MARIA"])
    def test_on_the_list_is_allowed_in_any_spelling(self, to: str, hook_of: Callable[..., WtsHook]) -> None:
        hook = hook_of({"allowed_recipients": "+55 11 99999-8888, @maria"})
        assert hook.recipient(to)

    @pytest.mark.parametrize("to", ["11999998887", "@marias"])
    def test_not_on_the_list_is_refused_and_not_quoted(self, to: str, hook_of: Callable[..., WtsHook]) -> None:
        with pytest.raises(WtsInvalidRequestError, match="allowed_recipients") as caught:
            hook_of({"allowed_recipients": "+55 11 99999-8888, @maria"}).recipient(to)
        assert to not in str(caught.value)


class TestDiscretion:
    def test_the_token_stands_in_no_repr_log_or_error(
        self, hook_of: Callable[..., WtsHook], emulator: Emulator, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        hook = hook_of()
        emulator.faults.add("reset")
        emulator.faults.add("status", status=400, nth=3)
        hook.run(Call("list_channels"))
        with pytest.raises(WtsError) as caught:
            hook.run(Call("get_session", {"id": "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"}))
        told = [
            repr(hook),
            repr(hook.client),
            repr(hook.connection),
            caplog.text,
            repr(caught.value),
            str(caught.value),
        ]
        assert not [text for text in told if TOKEN in text]

    def test_the_token_is_masked_in_airflows_logs(
        self, hook_of: Callable[..., WtsHook], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import airflow.providers.common.compat.sdk as sdk

        masked: list[Any] = []
        monkeypatch.setattr(sdk, "mask_secret", lambda secret, name=None: masked.append(secret))
        hook = hook_of(password=f" Bearer {TOKEN} ")
        assert hook.client
        assert masked == [TOKEN]


class Waits(Exception):
    """A call would have to wait for the rate limit."""


def unwilling_to_wait(hook: WtsHook) -> WtsHook:
    def wait(seconds: float) -> None:
        raise Waits

    hook.client._sleep = wait
    return hook


class TestLimitsOfTheAccount:
    # At 1 percent, one call in 5 seconds and nine sends in 2 minutes are left.
    LITTLE: ClassVar[dict[str, Any]] = {"rate_limit_percent": 1}

    def test_connections_with_the_same_key_count_together(
        self, hook_of: Callable[..., WtsHook], emulator: Emulator
    ) -> None:
        extra = {**self.LITTLE, "rate_limit_key": str(uuid.uuid4())}
        elsewhere = emulator.url.replace("127.0.0.1", "localhost")
        unwilling_to_wait(hook_of(extra)).run(Call("list_channels"))
        with pytest.raises(Waits):
            unwilling_to_wait(hook_of(extra, host=elsewhere)).run(Call("list_channels"))

    def test_connections_with_another_key_count_apart(self, hook_of: Callable[..., WtsHook]) -> None:
        for key in (str(uuid.uuid4()), str(uuid.uuid4())):
            unwilling_to_wait(hook_of({**self.LITTLE, "rate_limit_key": key})).run(Call("list_channels"))

    def test_sends_that_count_apart_leave_the_account_its_limit(
        self, hook_of: Callable[..., WtsHook], emulator: Emulator
    ) -> None:
        emulator.switches.change({"whatsapp_window": "off"})
        extra = {**self.LITTLE, "rate_limit_key": str(uuid.uuid4()), "send_limit_is_separate": True}
        hook = unwilling_to_wait(hook_of(extra))
        for _ in range(9):
            hook.run(send_text("Olá!", to="+55|11999998888"))
        hook.run(Call("list_channels"))
        with pytest.raises(Waits):
            hook.run(send_text("Olá!", to="+55|11999998888"))

    def test_sends_count_against_both_limits_unless_told_otherwise(
        self, hook_of: Callable[..., WtsHook], emulator: Emulator
    ) -> None:
        emulator.switches.change({"whatsapp_window": "off"})
        hook = unwilling_to_wait(hook_of({**self.LITTLE, "rate_limit_key": str(uuid.uuid4())}))
        hook.run(send_text("Olá!", to="+55|11999998888"))
        with pytest.raises(Waits):
            hook.run(send_text("Olá!", to="+55|11999998888"))


class TestSharedLimits:
    @pytest.mark.parametrize(
        ("connection", "url"),
        [
            ({"host": "r"}, "redis://r:6379/0"),
            ({}, "redis://localhost:6379/0"),
            ({"host": "::1"}, "redis://[::1]:6379/0"),
            ({"host": "r", "port": 7000, "extra": {"db": 3}}, "redis://r:7000/3"),
            ({"host": "r", "password": "p@/:"}, "redis://:p%40%2F%3A@r:6379/0"),
            ({"host": "r", "login": "u", "password": "p", "extra": {"ssl": True}}, "rediss://u:p@r:6379/0"),
            ({"host": "r", "extra": {"ssl": "true"}}, "rediss://r:6379/0"),
            ({"host": "r", "extra": {"extra__redis__ssl": "True"}}, "rediss://r:6379/0"),
            ({"host": "rediss://r"}, "rediss://r:6379/0"),
            ({"host": "r", "conn_type": "rediss"}, "rediss://r:6379/0"),
            ({"host": "r", "extra": {"ssl": "false"}}, "redis://r:6379/0"),
        ],
    )
    def test_the_redis_connection_becomes_a_url(
        self,
        connection: dict[str, Any],
        url: str,
        hook_of: Callable[..., WtsHook],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_LIMITS", json.dumps({"conn_type": "redis", **connection}))
        assert hook_of({"rate_limit_conn_id": "limits"}).rate_limit_server[0] == url

    def test_a_rediss_uri_is_used_with_tls(
        self, hook_of: Callable[..., WtsHook], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_LIMITS", "rediss://u:p@r:7000/2?ssl_ca_certs=%2Fca.pem&ssl_cert_reqs=none")
        url, options = hook_of({"rate_limit_conn_id": "limits"}).rate_limit_server
        assert url == "rediss://u:p@r:7000/2"
        assert options == {"ssl_ca_certs": "/ca.pem", "ssl_cert_reqs": "none", "ssl_check_hostname": False}

    def test_the_password_goes_to_no_server_without_tls(
        self, hook_of: Callable[..., WtsHook], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[bytes] = []
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve() -> None:
                with contextlib.suppress(OSError):
                    taken = server.accept()[0]
                    seen.append(taken.recv(4096))
                    taken.close()

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            connection = f"rediss://:pn_redis@127.0.0.1:{server.getsockname()[1]}/0"
            monkeypatch.setenv("AIRFLOW_CONN_LIMITS", connection)
            hook_of({"rate_limit_conn_id": "limits"}).run(Call("list_channels"))
            thread.join(10)
        assert seen[0][:1] == b"\x16"  # the hello of a TLS handshake
        assert b"pn_redis" not in seen[0]

    def test_a_missing_connection_names_the_extra_that_holds_it(self, hook_of: Callable[..., WtsHook]) -> None:
        hook = hook_of({"rate_limit_conn_id": "nowhere"})
        with pytest.raises(WtsNotSentError, match=r"'nowhere'.*'rate_limit_conn_id'.*'wts_default'"):
            hook.run(Call("list_channels"))


def test_a_missing_connection_names_the_parameter_and_uses_the_retries() -> None:
    """Airflow reports a connection as missing also if its API server or a secrets backend fails."""
    operator = WtsListChannelsOperator(task_id="list", wts_conn_id="nowhere")
    with pytest.raises(WtsNotSentError, match=r"'nowhere'.*'wts_conn_id'.*No request was made"):
        operator.execute({"ti": None})


def test_a_connection_that_airflow_cannot_read_is_not_only_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DAMAGED", '{"conn_type": "wts", "password": "pn_secret",}')
    with pytest.raises(WtsNotSentError, match=r"'damaged'.*cannot read it.*valid JSON") as caught:
        WtsHook("damaged").run(Call("list_channels"))
    assert "pn_secret" not in str(caught.value)


class TestSharedLimitsWithoutAServer:
    def test_a_redis_that_is_away_stops_no_call(
        self, hook_of: Callable[..., WtsHook], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        monkeypatch.setenv("AIRFLOW_CONN_LIMITS", json.dumps({"conn_type": "redis", "host": "127.0.0.1", "port": port}))
        assert hook_of({"rate_limit_conn_id": "limits"}).run(Call("list_channels"))


def test_a_client_of_a_remote_host_is_made_without_resolving_its_name(
    hook_of: Callable[..., WtsHook], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "cobranca")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "manual")
    hook = hook_of(host="https://api.example.com")
    resolved: list[Any] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: resolved.append(args))
    assert hook.client is not None
    assert resolved == []
