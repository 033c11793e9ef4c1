"""The transport: TLS, certificates, deadlines, forks, and what it keeps."""

from __future__ import annotations

import contextlib
import inspect
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from wts_raw_server import RawServer, http

from airflow_provider_wts.api import transport
from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.client import WtsClient
from airflow_provider_wts.api.errors import (
    WtsInvalidRequestError,
    WtsNotSentError,
    WtsUnknownOutcomeError,
    WtsUnreachableError,
)
from airflow_provider_wts.sending import reconcile

READ: Call[Any] = Call("list_channels")
SEND: Call[Any] = Call("send_text", body={"to": "+55|11999990001", "text": "x"})
ROOT = Path(__file__).parents[3]

ClientOf = Callable[..., WtsClient]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that nobody knows, and its key, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate, and is not installed")
    folder = tmp_path_factory.mktemp("certificate")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
        "-addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    return both


@pytest.fixture
def secure(certificate: Path) -> Iterator[RawServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with RawServer(http(), tls=context) as server:
        yield server


@pytest.fixture
def plain_port() -> Iterator[int]:
    """A port where every greeting is answered in plain text."""
    server = socket.create_server(("127.0.0.1", 0))

    def greet() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = server.accept()
                with sock:
                    sock.recv(4096)
                    sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    threading.Thread(target=greet, daemon=True).start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()


class TestTls:
    def test_a_certificate_that_nobody_vouches_for_is_refused_at_once(
        self, secure: RawServer, client_of: ClientOf, sleeps: list[float]
    ) -> None:
        with pytest.raises(WtsUnreachableError, match=r"certificate of .* is not trusted.*CA bundle"):
            client_of(secure.url).perform(SEND)
        assert (secure.requests, sleeps) == ([], [])

    def test_the_ca_bundle_of_the_connection_is_taken(
        self, secure: RawServer, client_of: ClientOf, certificate: Path
    ) -> None:
        assert client_of(secure.url, ca_bundle=str(certificate)).perform(READ) == []

    @pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
    def test_the_ca_bundle_of_the_environment_is_taken(
        self, name: str, secure: RawServer, client_of: ClientOf, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
        monkeypatch.setenv(name, str(certificate))
        assert client_of(secure.url).perform(READ) == []

    def test_the_connections_ca_bundle_beats_the_environments(
        self, secure: RawServer, client_of: ClientOf, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/file.pem")
        assert client_of(secure.url, ca_bundle=str(certificate)).perform(READ) == []

    def test_a_certificate_for_another_host_is_refused(
        self, secure: RawServer, client_of: ClientOf, certificate: Path
    ) -> None:
        with pytest.raises(WtsUnreachableError, match="not trusted"):
            client_of(f"https://127.0.0.1:{secure.port}", ca_bundle=str(certificate)).perform(READ)

    def test_a_ca_bundle_that_is_not_there_is_refused_before_anything(self, client_of: ClientOf) -> None:
        with pytest.raises(WtsInvalidRequestError, match="does not exist"):
            client_of("https://localhost", ca_bundle="/no/such/file.pem")

    @pytest.mark.parametrize("content", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
    def test_a_ca_bundle_without_certificates_is_told_at_once(
        self, content: str, secure: RawServer, client_of: ClientOf, tmp_path: Path, sleeps: list[float]
    ) -> None:
        bundle = tmp_path / "bundle.pem"
        bundle.write_text(content)
        with pytest.raises(WtsUnreachableError, match="CA bundle"):
            client_of(secure.url, ca_bundle=str(bundle)).perform(READ)
        assert sleeps == []

    def test_a_missing_bundle_of_the_environment_is_told_at_once(
        self, secure: RawServer, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch, sleeps: list[float]
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/file.pem")
        with pytest.raises(WtsUnreachableError, match="environment variable REQUESTS_CA_BUNDLE"):
            client_of(secure.url).perform(READ)
        assert sleeps == []

    def test_tls_to_a_port_without_it_is_told_soon(
        self, plain_port: int, client_of: ClientOf, sleeps: list[float]
    ) -> None:
        client = client_of(f"https://localhost:{plain_port}")
        with pytest.raises(WtsUnreachableError, match="does not speak TLS"):
            client.perform(SEND)
        assert sum(sleeps) <= 5

    def test_a_handshake_that_never_ends_meets_the_deadline_with_nothing_sent(self, client_of: ClientOf) -> None:
        with RawServer(b"") as server:
            started = time.monotonic()
            with pytest.raises(WtsNotSentError):
                client_of(f"https://localhost:{server.port}", timeout=0.5).perform_once(SEND)
            assert time.monotonic() - started < 4

    def test_a_dripping_answer_meets_the_deadline(
        self, secure: RawServer, client_of: ClientOf, certificate: Path
    ) -> None:
        secure.scripts[:] = [secure.drip(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 500, 0.02)]
        started = time.monotonic()
        with pytest.raises(WtsUnknownOutcomeError, match="the deadline passed"):
            client_of(secure.url, timeout=0.5, ca_bundle=str(certificate)).perform(SEND)
        assert time.monotonic() - started < 4


class TestWatchdog:
    def test_finished_exchanges_are_not_kept(self, client_of: ClientOf) -> None:
        with RawServer(http()) as server:
            client = client_of(server.url, timeout=60.0)
            for _ in range(150):
                client.perform(READ)
        assert len(transport._watchdog._waiting) < 20

    def test_one_thread_serves_all_clients(self, client_of: ClientOf) -> None:
        with RawServer(http()) as server:
            for _ in range(5):
                client_of(server.url).perform(READ)
        assert sum(thread.name == "wts-watchdog" for thread in threading.enumerate()) == 1

    def test_a_short_deadline_behind_a_long_one_is_kept(self, client_of: ClientOf) -> None:
        with RawServer() as server:
            server.scripts.append(server.hang)

            def wait_long() -> None:
                with contextlib.suppress(WtsUnknownOutcomeError):
                    client_of(server.url, timeout=2.5).perform(SEND)

            patient = threading.Thread(target=wait_long)
            patient.start()
            time.sleep(0.1)
            started = time.monotonic()
            with pytest.raises(WtsUnknownOutcomeError):
                client_of(server.url, timeout=0.3).perform(SEND)
            assert time.monotonic() - started < 2
            patient.join()

    def test_survives_a_socket_that_cannot_be_shut(self) -> None:
        exchange = transport._Exchange(time.monotonic(), fresh=False)
        exchange.watch(object())  # type: ignore[arg-type]
        exchange.expire()
        assert exchange.late

    def test_works_in_a_forked_process(self) -> None:
        code = """
import os, sys, time
sys.path.insert(0, "tests/unit/api")
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from wts_raw_server import RawServer, http
from airflow_provider_wts.api import transport
from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.client import WtsClient
from airflow_provider_wts.api.errors import WtsUnknownOutcomeError

with RawServer() as server:
    server.scripts += [http(), server.drip(b"HTTP/1.1 200 OK\\r\\nX: " + b"y" * 1000, 0.02)]
    client = WtsClient("pn_x", base_url=server.url, timeout=0.7)
    client.perform(Call("list_channels"))
    transport._watchdog._condition.acquire()  # as another thread in the middle of something
    child = os.fork()
    if child == 0:
        started = time.monotonic()
        try:
            client.perform(Call("send_text", body={"text": "x"}))
        except WtsUnknownOutcomeError:
            os._exit(0 if time.monotonic() - started < 5 else 4)
        os._exit(5)
    transport._watchdog._condition.release()
    status = os.waitpid(child, 0)[1]
    assert server.connections == 2, "the child has a connection of its own"
    os._exit(os.waitstatus_to_exitcode(status))
"""
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=240, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()


def test_the_whole_request_on_the_wire(client_of: ClientOf) -> None:
    with RawServer(http(b'{"id":"x"}')) as server:
        client_of(server.url).perform(Call("send_text", body={"text": "Olá", "refId": None}))
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        assert lines[0] == "POST /chat/v1/send/text HTTP/1.1"
        assert {line.partition(":")[0] for line in lines[1:]} == {
            "Host",
            "User-Agent",
            "Accept-Encoding",
            "Accept",
            "Connection",
            "Content-Type",
            "Content-Length",
            "Authorization",
        }
        assert "Content-Type: application/json" in lines
        assert body == '{"text":"Olá","refId":null}'.encode()


def test_headers_that_cannot_be_read_do_not_bring_the_request_into_the_log(
    client_of: ClientOf, caplog: pytest.LogCaptureFixture
) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nAuthorization Bearer pn_echoed\r\n\r\n{}"
    with RawServer(answer, keep_alive=False) as server:
        client_of(server.url).perform_once(Call("get_contact_by_phone", path={"phone": "+5511999990001"}))
    assert caplog.text == ""


def test_a_proxy_of_the_environment_is_used(client_of: ClientOf, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(http()) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        assert client_of("http://wts.example", allow_http=True).perform(READ) == []
        assert proxy.requests[0].startswith(b"GET http://wts.example/chat/v1/channel HTTP/1.1\r\n")


@pytest.mark.parametrize("status", [302, 403, 407])
def test_a_proxy_that_refuses_the_tunnel_is_the_reason_and_nothing_was_sent(
    status: int, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(http(b"", status), keep_alive=False) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        with pytest.raises(WtsNotSentError, match=f"https_proxy names .*the proxy answered HTTP {status}"):
            client_of("https://wts.example").perform_once(SEND)
        assert b"Authorization" not in proxy.requests[0]


def test_a_thread_that_cannot_be_started_means_nothing_was_sent(
    client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Watchdog(transport._Watchdog):
        def guard(self, exchange: Any) -> None:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(transport, "_watchdog", Watchdog())
    with RawServer(http()) as server:
        with pytest.raises(WtsNotSentError):
            client_of(server.url).perform_once(SEND)
        assert not server.requests


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system has no such timeout")
def test_the_system_drops_what_nobody_confirms_before_a_search_concludes_that_it_is_absent(
    client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds: list[int] = []
    connected = transport._RecordingMixin._connected

    def noting(*args: Any) -> socket.socket:
        made = connected(*args)
        bounds.append(made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
        return made

    monkeypatch.setattr(transport._RecordingMixin, "_connected", noting)
    with RawServer(http()) as server:
        client_of(server.url).perform(READ)
    assert 0 < bounds[0] < reconcile.DEFAULT_EFFECT_LAG * 1000


class TestInternalsOfUrllib3:
    """The transport overrides these. If a new version changes them, it would note no write, and keep no deadline."""

    def test_a_connection_is_made_and_written_to_where_it_is_overridden(self) -> None:
        for kind in (HTTPConnection, HTTPSConnection):
            for name in ("connect", "_new_conn", "send"):
                assert callable(getattr(kind, name, None)), f"{kind.__name__}.{name} is gone"
        connection = HTTPConnection("localhost", 80)
        for name in ("sock", "_dns_host", "port", "socket_options"):
            assert hasattr(connection, name), f"HTTPConnection.{name} is gone"
        assert "_new_conn" in inspect.getsource(HTTPConnection.connect)
        assert "_new_conn" in inspect.getsource(HTTPSConnection.connect)

    def test_a_pool_hands_connections_out_where_it_is_overridden(self) -> None:
        for kind in (HTTPConnectionPool, HTTPSConnectionPool):
            assert list(inspect.signature(kind._get_conn).parameters) == ["self", "timeout"]
            assert len(inspect.signature(kind._put_conn).parameters) == 2
            assert issubclass(kind.ConnectionCls, HTTPConnection)
        assert PoolManager().pool_classes_by_scheme.keys() == {"http", "https"}

    def test_every_request_goes_through_what_is_overridden(self, monkeypatch: pytest.MonkeyPatch) -> None:
        passed: list[str] = []
        for owner, name in (
            (transport._RecordingMixin, "_new_conn"),
            (transport._RecordingMixin, "send"),
            (transport._FreshPoolMixin, "_get_conn"),
            (transport._FreshPoolMixin, "_put_conn"),
        ):
            original = getattr(owner, name)

            def noted(self: Any, *args: Any, name: str = name, original: Any = original, **more: Any) -> Any:
                passed.append(name)
                return original(self, *args, **more)

            monkeypatch.setattr(owner, name, noted)
        with RawServer(http()) as server:
            made = transport.Transport(server.url, user_agent="test")
            made.exchange("GET", server.url, timeout=5, fresh=False)
        assert {"_new_conn", "send", "_get_conn", "_put_conn"} <= set(passed)
