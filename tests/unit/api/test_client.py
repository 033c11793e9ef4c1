"""What the client makes of everything that can go wrong, over real HTTP."""

from __future__ import annotations

import base64
import gzip
import itertools
import logging
import re
import socket
import ssl
import struct
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
import tenacity
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from wts_raw_server import RawServer, http

from airflow_provider_wts.api import transport
from airflow_provider_wts.api.budget import Budget
from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.client import WtsClient, checked_base_url, checked_token
from airflow_provider_wts.api.errors import (
    WtsAuthenticationError,
    WtsError,
    WtsIncompleteListError,
    WtsInvalidRequestError,
    WtsNotFoundError,
    WtsNotSentError,
    WtsRateLimitError,
    WtsRejectedError,
    WtsUnexpectedAnswerError,
    WtsUnknownOutcomeError,
    WtsUnreachableError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_wts.emulator.running import Emulator

TOKEN = "pn_secret_of_the_tests"
TO = "+55|11999990001"
FROM = "+55|1140028922"
SEND: Call[Any] = Call("send_text", body={"to": TO, "from": FROM, "text": "Bom dia"})
READ: Call[Any] = Call("list_channels")
SESSIONS: Call[Any] = Call("list_sessions")

ClientOf = Callable[..., WtsClient]


def write(emulator: Emulator) -> Call[Any]:
    """A write that may be repeated."""
    return Call("update_tag", {"id": emulator.state.tags.by_creation()[0].id}, body={"name": "Ouro"})


def assert_discreet(error: BaseException | None) -> None:
    """No token, no address of the request and no phone number, in the error and in all that hangs on it."""
    while error is not None:
        told = f"{error!s} {error!r} {vars(error)!r} {getattr(error, '__notes__', '')!r}"
        assert TOKEN not in told
        assert "Bearer" not in told
        assert "99999" not in told
        assert "/chat/v1" not in told
        error = error.__cause__ or error.__context__


# kind of fault, settings, when it strikes
VANISHING: list[tuple[str, dict[str, Any], str]] = [
    *[(kind, {}, when) for kind in ("reset", "close", "hang") for when in ("before", "after")],
    *[(kind, {}, "after") for kind in ("empty", "truncated", "garbage", "bad_content_length", "oversized")],
    *[("drip_headers", {"seconds": 0.05}, when) for when in ("before", "after")],
    ("drip_body", {"seconds": 0.05}, "after"),
    *[("status", {"status": status}, "before") for status in (408, 500, 501, 502, 503, 504, 599)],
    *[("status", {"status": 500, "envelope": envelope}, "after") for envelope in ("none", "html", "problem")],
]
# To a send, these may be the answer of a server that sent it, and shows the result elsewhere.
MOVED: list[tuple[str, dict[str, Any], str]] = [
    ("redirect", {"status": status}, when) for status in (302, 303) for when in ("before", "after")
]
# What comes from a gateway and not from the API: final for a send, and for a while only for what may be repeated.
ODD: list[tuple[str, dict[str, Any], type[WtsError]]] = [
    *[("redirect", {"status": status, "location": "/x"}, WtsRejectedError) for status in (301, 307, 308)],
    ("redirect", {"status": 301, "location": "https://[oops/"}, WtsRejectedError),
    *[("status", {"status": status, "envelope": "html"}, WtsRejectedError) for status in (400, 403, 404, 410)],
]
REFUSING: list[tuple[str, dict[str, Any], type[WtsError]]] = [
    *[("status", {"status": status}, WtsRejectedError) for status in (400, 405, 409, 418, 422, 451)],
    *[("status", {"status": status}, WtsAuthenticationError) for status in (401, 403)],
    ("status", {"status": 404}, WtsNotFoundError),
    ("status", {"status": 500, "envelope": "business"}, WtsRejectedError),
    ("status", {"status": 500, "envelope": "business", "key": "ENTITY_NOT_FOUND"}, WtsNotFoundError),
    ("status", {"status": 500, "envelope": "business", "key": "ENTITY_ERROR_SAVE"}, WtsRejectedError),
]


def naming(fault: tuple[Any, ...]) -> str:
    kind, fields, last = fault
    return "-".join([kind, *map(str, fields.values()), last if isinstance(last, str) else last.__name__])


@pytest.fixture
def impatient(emulator: Emulator, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch) -> WtsClient:
    monkeypatch.setattr(transport, "MAX_ANSWER_BYTES", 200_000)
    return client_of(emulator.url, timeout=0.4)


@pytest.mark.parametrize("fault", [*VANISHING, *MOVED], ids=naming)
def test_a_send_without_a_usable_answer_is_unknown_and_never_sent_again(
    fault: tuple[str, dict[str, Any], str], emulator: Emulator, impatient: WtsClient
) -> None:
    kind, fields, when = fault
    emulator.faults.add(kind, when=when, times=None, **{"size": 1_000_000, **fields})  # type: ignore[arg-type]
    started = time.monotonic()
    with pytest.raises(WtsUnknownOutcomeError) as caught:
        impatient.perform(SEND)
    assert time.monotonic() - started < 5
    assert not caught.value.repeatable
    assert len(emulator.requests) == 1
    assert_discreet(caught.value)


@pytest.mark.parametrize("effect", ["read", "idempotent"])
@pytest.mark.parametrize("fault", VANISHING, ids=naming)
def test_a_read_or_repeatable_write_without_a_usable_answer_is_made_again(
    fault: tuple[str, dict[str, Any], str], effect: str, emulator: Emulator, impatient: WtsClient
) -> None:
    kind, fields, when = fault
    emulator.faults.add(kind, when=when, **{"size": 1_000_000, **fields})  # type: ignore[arg-type]
    assert impatient.perform(READ if effect == "read" else write(emulator))
    assert len(emulator.requests) == 2


@pytest.mark.parametrize("effect", ["once", "idempotent", "read"])
@pytest.mark.parametrize("fault", REFUSING, ids=naming)
def test_a_refusal_is_final(
    fault: tuple[str, dict[str, Any], type[WtsError]], effect: str, emulator: Emulator, impatient: WtsClient
) -> None:
    kind, fields, error = fault
    emulator.faults.add(kind, times=None, **fields)  # type: ignore[arg-type]
    call = {"once": SEND, "read": READ}.get(effect) or write(emulator)
    with pytest.raises(error) as caught:
        impatient.perform(call)
    assert len(emulator.requests) == 1
    assert_discreet(caught.value)


@pytest.mark.parametrize("fault", ODD, ids=naming)
def test_what_a_gateway_says_to_a_send_is_a_refusal(
    fault: tuple[str, dict[str, Any], type[WtsError]], emulator: Emulator, impatient: WtsClient
) -> None:
    kind, fields, error = fault
    emulator.faults.add(kind, times=None, **fields)  # type: ignore[arg-type]
    with pytest.raises(error):
        impatient.perform(SEND)
    assert len(emulator.requests) == 1


@pytest.mark.parametrize("effect", ["idempotent", "read"])
@pytest.mark.parametrize("fault", [*ODD, ("not_json", {}, WtsRejectedError)], ids=naming)
class TestAGatewayInPlaceOfTheApi:
    def test_is_asked_again(
        self, effect: str, fault: tuple[str, dict[str, Any], type[WtsError]], emulator: Emulator, impatient: WtsClient
    ) -> None:
        kind, fields, _ = fault
        emulator.faults.add(kind, times=2, **fields)  # type: ignore[arg-type]
        assert impatient.perform(READ if effect == "read" else write(emulator))
        assert len(emulator.requests) == 3

    def test_is_a_refusal_that_names_the_base_url_once_the_time_for_retries_is_over(
        self,
        effect: str,
        fault: tuple[str, dict[str, Any], type[WtsError]],
        emulator: Emulator,
        impatient: WtsClient,
        sleeps: list[float],
    ) -> None:
        kind, fields, _ = fault
        emulator.faults.add(kind, times=None, **fields)  # type: ignore[arg-type]
        with pytest.raises(WtsRejectedError, match="base URL") as caught:
            impatient.perform(READ if effect == "read" else write(emulator))
        assert type(caught.value) is WtsRejectedError
        assert 30 < sum(sleeps) <= 60
        assert_discreet(caught.value)


def test_a_page_of_html_with_status_200_in_place_of_the_answer_to_a_send_is_unknown(
    emulator: Emulator, impatient: WtsClient
) -> None:
    emulator.faults.add("not_json", times=None)
    with pytest.raises(WtsUnknownOutcomeError):
        impatient.perform(SEND)
    assert len(emulator.requests) == 1


def test_a_page_of_html_is_no_success_where_the_contract_promises_an_empty_answer(
    emulator: Emulator, impatient: WtsClient
) -> None:
    emulator.faults.add("not_json", times=None)
    with pytest.raises(WtsRejectedError, match="not a WTS Chat server"):
        impatient.perform(Call("delete_tag", {"id": emulator.state.tags.by_creation()[0].id}))


class Test429:
    @pytest.mark.parametrize("effect", ["once", "idempotent", "read"])
    def test_every_call_is_made_again_since_nothing_was_done(
        self, effect: str, emulator: Emulator, impatient: WtsClient
    ) -> None:
        emulator.faults.add("status", status=429, times=2)
        assert impatient.perform({"once": SEND, "read": READ}.get(effect) or write(emulator))
        assert len(emulator.requests) == 3

    @pytest.mark.parametrize(
        ("header", "least", "most"),
        [
            ("7", 7, 8.8),
            ("0.5", 0.5, 0.7),
            ("in 90 s", 20, 113),
            (None, 5, 6.3),
            ("soon", 5, 6.3),
            ("-3", 5, 6.3),
            ("0", 5, 6.3),
            ("nan", 5, 6.3),
            ("Wed, 99 Foo 2026", 5, 6.3),
            (time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(0)), 5, 6.3),
        ],
    )
    def test_the_wait_is_what_retry_after_says_or_else_some_seconds(
        self,
        header: str | None,
        least: float,
        most: float,
        emulator: Emulator,
        impatient: WtsClient,
        sleeps: list[float],
    ) -> None:
        if header == "in 90 s":
            # Written now, and not when the tests were collected.
            header = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 90))
        emulator.faults.add("status", status=429, retry_after=header)
        impatient.perform(SEND)
        assert len(sleeps) == 1
        assert least <= sleeps[0] <= most

    def test_without_retry_after_the_waits_grow(
        self, emulator: Emulator, impatient: WtsClient, sleeps: list[float]
    ) -> None:
        emulator.faults.add("status", status=429, times=3)
        impatient.perform(SEND)
        assert len(sleeps) == 3
        assert sleeps[0] < sleeps[1] < sleeps[2]

    def test_the_waiting_ends_after_rate_limit_wait(
        self, emulator: Emulator, client_of: ClientOf, sleeps: list[float]
    ) -> None:
        emulator.faults.add("status", status=429, times=None, retry_after="11")
        with pytest.raises(WtsRateLimitError) as caught:
            client_of(emulator.url, rate_limit_wait=100.0).perform(SEND)
        assert 40 < sum(sleeps) <= 100
        assert caught.value.retry_after == 11
        assert not emulator.sends

    def test_a_wait_that_is_too_long_is_not_begun(
        self, emulator: Emulator, client_of: ClientOf, sleeps: list[float]
    ) -> None:
        emulator.faults.add("status", status=429, times=None, retry_after="400")
        with pytest.raises(WtsRateLimitError) as caught:
            client_of(emulator.url).perform(SEND)
        assert (sleeps, caught.value.retry_after, len(emulator.requests)) == ([], 300, 1)

    def test_waiting_it_out_uses_up_no_time_for_other_failures(
        self, emulator: Emulator, impatient: WtsClient, sleeps: list[float]
    ) -> None:
        emulator.faults.add("status", status=429, times=1, retry_after="200")
        emulator.faults.add("status", status=503, times=1)
        assert impatient.perform(READ)
        assert len(emulator.requests) == 3

    def test_failures_before_it_do_not_make_its_wait_longer(
        self, emulator: Emulator, impatient: WtsClient, sleeps: list[float]
    ) -> None:
        emulator.faults.add("status", status=503, times=4)
        emulator.faults.add("status", status=429, times=1, retry_after="7")
        impatient.perform(READ)
        assert 7 <= sleeps[-1] <= 8.8


class TestNothingSent:
    """No byte of the request went out: every call may be made again, and says so."""

    @pytest.fixture(params=["once", "idempotent", "read"])
    def call(self, request: pytest.FixtureRequest) -> Call[Any]:
        calls: dict[str, Call[Any]] = {
            "once": SEND,
            "idempotent": Call("update_tag", {"id": str(uuid.uuid4())}, body={"name": "x"}),
            "read": READ,
        }
        return calls[request.param]

    def test_refused(self, call: Call[Any], client_of: ClientOf, sleeps: list[float]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        with pytest.raises(WtsUnreachableError, match=r"cannot be reached \(Connection refused\)") as caught:
            client_of(f"http://127.0.0.1:{port}").perform(call)
        assert 0 < sum(sleeps) <= 5
        assert_discreet(caught.value)

    @pytest.mark.parametrize(
        ("number", "error", "most"),
        [(socket.EAI_NONAME, WtsUnreachableError, 5), (socket.EAI_AGAIN, WtsNotSentError, 60)],
    )
    def test_no_such_host(
        self,
        number: int,
        error: type[WtsError],
        most: float,
        call: Call[Any],
        client_of: ClientOf,
        sleeps: list[float],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def getaddrinfo(*_: Any, **__: Any) -> Any:
            raise socket.gaierror(number, "the resolver says no")

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        with pytest.raises(error, match="the resolver says no") as caught:
            client_of("https://api.wts.chat").perform(call)
        assert type(caught.value) is error
        assert most / 4 < sum(sleeps) <= most

    def test_a_connection_that_is_never_made_ends_at_the_deadline(
        self, call: Call[Any], client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # A listening socket whose queue is full drops what comes.
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen(0)
            fillers = [socket.socket() for _ in range(3)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(server.getsockname())
            # A host of several such addresses must not get the time once for each.
            address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", server.getsockname())
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [address] * 6)
            started = time.monotonic()
            with pytest.raises(WtsNotSentError, match="Nothing was sent"):
                client_of("http://localhost:1", timeout=0.4).perform_once(call)
            assert time.monotonic() - started < 2
            for filler in fillers:
                filler.close()

    def test_a_dead_address_does_not_keep_from_the_next_one(
        self, emulator: Emulator, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            nobody = server.getsockname()
        port = int(emulator.url.rpartition(":")[2])
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in (nobody, ("127.0.0.1", port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert client_of(f"http://localhost:{port}").perform(SEND)
        assert len(emulator.requests) == 1

    def test_a_send_reaches_the_server_once_it_is_back(self, client_of: ClientOf, emulator: Emulator) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        revived: list[RawServer] = []

        def sleep(_: float) -> None:
            if not revived:
                server = RawServer(http(b'{"id":"x"}'))
                server._socket.close()
                server._socket = socket.create_server(("127.0.0.1", port))
                revived.append(server.__enter__())

        assert client_of(f"http://127.0.0.1:{port}", sleep=sleep).perform(SEND) == {"id": "x"}
        assert len(revived[0].requests) == 1
        revived[0].__exit__()


class TestKeepAlive:
    def test_calls_share_a_connection(self, client_of: ClientOf) -> None:
        with RawServer(http()) as server:
            client = client_of(server.url)
            for _ in range(3):
                client.perform(READ)
            assert server.connections == 1

    def test_a_connection_that_the_server_closed_is_noticed_before_a_send(
        self, emulator: Emulator, client_of: ClientOf
    ) -> None:
        client = client_of(emulator.url)
        emulator.faults.add("close_after")
        client.perform(READ)
        time.sleep(0.1)
        client.perform(SEND)
        assert len(emulator.sends) == 1

    def test_a_connection_that_ends_when_the_send_arrives_leaves_it_unknown(
        self, emulator: Emulator, client_of: ClientOf
    ) -> None:
        client = client_of(emulator.url)
        emulator.faults.add("close_before_next")
        client.perform(READ)
        with pytest.raises(WtsUnknownOutcomeError):
            client.perform(SEND)
        assert not emulator.sends

    def test_a_read_is_made_again_then(self, emulator: Emulator, client_of: ClientOf) -> None:
        client = client_of(emulator.url)
        emulator.faults.add("close_before_next")
        client.perform(READ)
        assert client.perform(READ)

    @pytest.mark.parametrize(("idle", "connections"), [(0.9, 1), (1.1, 2)])
    def test_a_send_takes_no_connection_that_was_idle_for_over_a_second(
        self, idle: float, connections: int, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with RawServer(http(), http(b'{"id":"x"}')) as server:
            client = client_of(server.url)
            client.perform(READ)
            monkeypatch.setattr(transport, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + idle))
            client.perform(SEND)
            assert server.connections == connections

    def test_a_read_takes_an_idle_connection(self, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch) -> None:
        with RawServer(http()) as server:
            client = client_of(server.url)
            client.perform(READ)
            monkeypatch.setattr(transport, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + 30))
            client.perform(READ)
            assert server.connections == 1

    @pytest.mark.parametrize("status", [100, 102, 103, 199])
    def test_interim_answers_are_not_the_answer(self, status: int, client_of: ClientOf) -> None:
        interim = f"HTTP/1.1 {status} X\r\nLink: </x>\r\n\r\n".encode()
        with RawServer(interim * 2 + http(b'{"id":"x"}'), http(b'{"id":"y"}')) as server:
            client = client_of(server.url)
            assert [client.perform(SEND) for _ in range(2)] == [{"id": "x"}, {"id": "y"}]
            assert server.connections == 1

    def test_interim_answers_without_end_end_at_the_deadline(self, client_of: ClientOf) -> None:
        server = RawServer()
        server.scripts = [server.drip(b"HTTP/1.1 102 X\r\n\r\n" * 1000, seconds=0.001)]
        with server, pytest.raises(WtsUnknownOutcomeError, match="the deadline passed"):
            client_of(server.url, timeout=0.3).perform(SEND)

    def test_an_answer_that_nobody_asked_for_is_not_that_of_the_next_send(self, client_of: ClientOf) -> None:
        first, second = (str(uuid.UUID(int=number)) for number in (1, 2))
        send = {key: Call("send_text", body={"to": TO, "text": "x", "senderId": key}) for key in (first, second)}
        answer = {key: http(f'{{"id":"x","senderId":"{key.upper()}"}}'.encode()) for key in send}
        with RawServer(answer[first], answer[first] + answer[second], answer[second]) as server:
            client = client_of(server.url)
            assert client.perform(send[first])
            with pytest.raises(WtsUnexpectedAnswerError, match="'senderId' is not that of the request"):
                client.perform(send[second])
            assert client.perform(send[second])["senderId"] == second.upper()
            assert server.connections == 2

    @pytest.mark.parametrize("sender_id", ["null", '"order 12"', '""'])
    def test_an_answer_that_does_not_repeat_the_sender_id_is_taken(self, sender_id: str, client_of: ClientOf) -> None:
        call: Call[Any] = Call("send_text", body={"to": TO, "text": "x", "senderId": str(uuid.UUID(int=1))})
        with RawServer(http(f'{{"id":"x","senderId":{sender_id}}}'.encode())) as server:
            assert client_of(server.url).perform(call)["id"] == "x"

    @pytest.mark.parametrize("length", [20, 200_000])
    def test_before_its_last_byte_a_request_can_still_be_stopped(self, length: int, client_of: ClientOf) -> None:
        """As if its process had stood still since the first byte, and another one had taken over."""
        writes = itertools.count()

        def check() -> None:
            if next(writes) == (1 if length == 20 else 5):
                raise WtsError("Another try has taken over")

        call: Call[Any] = Call("send_text", body={"to": TO, "from": FROM, "text": "x" * length})
        with RawServer(http(b'{"id":"x"}')) as server:
            client = client_of(server.url)
            with pytest.raises(WtsError, match="Another try has taken over"):
                client.perform(call, before_write=check)
            # The unfinished request does not stay on a connection that the next one takes.
            assert client.perform(SEND) == {"id": "x"}
            assert server.connections == 2
            assert [b"Bom dia" in request for request in server.requests] == [True]

    def test_threads_share_a_client_but_no_connection(self, client_of: ClientOf) -> None:
        with RawServer(http()) as server:
            client = client_of(server.url)
            answers: list[Any] = []

            def work() -> None:
                for _ in range(20):
                    answers.append(client.perform(READ))

            threads = [threading.Thread(target=work) for _ in range(5)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert answers == [[]] * 100
            assert server.connections == 5


BOMB = gzip.compress(b"[" + b" " * 40_000_000 + b"]")


class TestStrangeAnswers:
    """What no HTTP library would answer; the client must take it all, in time."""

    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param(http(b"[1, 2"), id="json without its end"),
            pytest.param(b"HTTP/1.1 200 OK\r\n\r\n[1, 2", id="cut off, with no length to tell"),
            pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n[]", id="less than announced"),
            pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n", id="length that is no number"),
            pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n[]", id="two lengths"),
            pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="bad chunk"),
            pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n", id="chunks without end"),
            pytest.param(http(b"no gzip", 200, "Content-Encoding: gzip"), id="says gzip, and is none"),
            pytest.param(http(gzip.compress(b"[]")[:12], 200, "Content-Encoding: gzip"), id="gzip cut off"),
            pytest.param(http(BOMB, 200, "Content-Encoding: gzip"), id="gzip bomb"),
            pytest.param(http(b"[]", 200, "Content-Encoding: " + "gzip, " * 50), id="fifty encodings"),
            pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n", id="five hundred headers"),
            pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", id="endless header"),
            pytest.param(b"HTTP/9.9 abc\r\n\r\n", id="no status"),
            pytest.param(b"HTTP/1.1 42 X\r\n\r\n", id="status below 100"),
            pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="another protocol"),
            pytest.param(b"\x15\x03\x01\x00\x02\x02\x46", id="a TLS alert"),
            pytest.param(b"\x00" * 1000, id="zeros"),
            pytest.param(b"", id="nothing"),
            pytest.param(http(b"", 200), id="empty"),
            pytest.param(http(b"", 204), id="no content"),
            pytest.param(http(b"[]", 600), id="status above 599"),
        ],
    )
    def test_leave_a_send_unknown_and_a_read_without_answer(
        self, answer: bytes, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transport, "MAX_ANSWER_BYTES", 1_000_000)
        with RawServer(answer, keep_alive=False) as server:
            for call, repeatable in ((SEND, False), (READ, True)):
                with pytest.raises(WtsUnknownOutcomeError) as caught:
                    client_of(server.url, timeout=3.0).perform_once(call)
                assert caught.value.repeatable is repeatable
                assert_discreet(caught.value)
            assert len(server.requests) == 2

    @pytest.mark.parametrize(
        "answer", [b"Please sign in", b"null", b"12", b'"text"', b"{}", b"<html>", b"\xff\xfe\x00", b"nan"]
    )
    def test_a_readable_answer_of_another_kind_is_no_wts_chat_server(self, answer: bytes, client_of: ClientOf) -> None:
        with (
            RawServer(http(answer)) as server,
            pytest.raises((WtsRejectedError, WtsUnknownOutcomeError)) as caught,
        ):
            client_of(server.url).perform_once(READ)
        assert isinstance(caught.value, WtsRejectedError) == (answer != b"{}") or "WTS Chat" in str(caught.value)

    def test_an_answer_may_begin_with_a_byte_order_mark(self, client_of: ClientOf) -> None:
        with RawServer(http(b"\xef\xbb\xbf[]")) as server:
            assert client_of(server.url).perform(READ) == []

    def test_cookies_are_not_kept(self, client_of: ClientOf) -> None:
        with RawServer(http(b"[]", 200, "Set-Cookie: a=b; Path=/")) as server:
            client = client_of(server.url)
            client.perform(READ)
            client.perform(READ)
            assert b"Cookie" not in server.requests[1]

    def test_a_huge_body_of_a_redirect_is_not_read(self, client_of: ClientOf) -> None:
        def flood(sock: socket.socket) -> None:
            sock.sendall(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 999999999\r\n\r\n")
            with suppress(OSError):
                for _ in range(2000):
                    sock.sendall(b"x" * 65536)

        with (
            RawServer(flood, keep_alive=False) as server,
            pytest.raises((WtsRejectedError, WtsUnknownOutcomeError)),
        ):
            client_of(server.url, timeout=5.0).perform_once(READ)

    def test_a_reset_in_the_middle_of_the_body_leaves_a_send_unknown(self, client_of: ClientOf) -> None:
        def reset(sock: socket.socket) -> None:
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        with RawServer(reset, keep_alive=False) as server, pytest.raises(WtsUnknownOutcomeError):
            client_of(server.url).perform(SEND)


class TestDeadline:
    @pytest.mark.parametrize(
        "head",
        [
            pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000, id="headers drip"),
            pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 100, id="continue for ever"),
            pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + b" " * 900, id="body drips"),
            pytest.param(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 200, id="chunks drip"
            ),
        ],
    )
    def test_bounds_what_drips(self, head: bytes, client_of: ClientOf) -> None:
        with RawServer() as server:
            server.scripts.append(server.drip(head, 0.02))
            started = time.monotonic()
            with pytest.raises(WtsUnknownOutcomeError, match="the deadline passed"):
                client_of(server.url, timeout=0.5).perform(SEND)
            assert time.monotonic() - started < 3

    def test_bounds_silence(self, client_of: ClientOf) -> None:
        with RawServer() as server:
            server.scripts.append(server.hang)
            started = time.monotonic()
            with pytest.raises(WtsUnknownOutcomeError):
                client_of(server.url, timeout=0.3).perform(SEND)
            assert time.monotonic() - started < 3

    def test_bounds_all_attempts_together(self, client_of: ClientOf, sleeps: list[float]) -> None:
        with RawServer(http(b"", 503)) as server:
            with pytest.raises(WtsUnknownOutcomeError):
                client_of(server.url).perform(READ)
            assert 40 < sum(sleeps) <= 60
            assert len(server.requests) == len(sleeps) + 1

    def test_a_passed_one_ends_only_its_own_exchange(self, client_of: ClientOf) -> None:
        with RawServer() as server:
            server.scripts += [server.hang, http(b'{"id":"x"}')]
            client = client_of(server.url, timeout=0.3)
            with pytest.raises(WtsUnknownOutcomeError):
                client.perform(SEND)
            assert client.perform(SEND) == {"id": "x"}


class TestPerformOnce:
    def test_makes_one_attempt(self, emulator: Emulator, impatient: WtsClient, sleeps: list[float]) -> None:
        emulator.faults.add("status", status=503, times=None)
        with pytest.raises(WtsUnknownOutcomeError):
            impatient.perform_once(READ)
        assert (len(emulator.requests), sleeps) == (1, [])

    def test_returns_the_answer(self, emulator: Emulator, impatient: WtsClient) -> None:
        assert impatient.perform_once(READ) == impatient.perform(READ)


class TestDiscretion:
    def test_a_token_that_a_server_echoes_is_taken_out(self, client_of: ClientOf) -> None:
        body = f'{{"key": "{TOKEN}", "text": "bad header Authorization: Bearer {TOKEN}"}}'.encode()
        with RawServer(http(body, 400)) as server, pytest.raises(WtsRejectedError, match=r"\*\*\*") as caught:
            client_of(server.url).perform(SEND)
        assert TOKEN not in f"{caught.value} {vars(caught.value)}"

    @pytest.mark.parametrize(
        "text", ["O contato +55|11999998888 existe", "(11) 99999-8888", "5511999998888", "+55 11 99999 8888"]
    )
    def test_a_phone_number_in_the_apis_words_is_shortened(self, text: str, client_of: ClientOf) -> None:
        body = f'{{"key": "FORM_ERROR", "text": "{text}"}}'.encode()
        with RawServer(http(body, 500)) as server, pytest.raises(WtsRejectedError, match="…8888") as caught:
            client_of(server.url).perform(SEND)
        assert "9999" not in re.sub(r"\D", "", str(caught.value))

    def test_an_id_in_the_apis_words_stays(self, client_of: ClientOf) -> None:
        identity = "12345678-1234-4234-8234-123456789012"
        body = f'{{"key": "FORM_ERROR", "text": "Objeto {identity} em 2026"}}'.encode()
        with RawServer(http(body, 500)) as server, pytest.raises(WtsRejectedError, match=identity):
            client_of(server.url).perform(SEND)

    @pytest.mark.parametrize("location", ["https://other.example/a?to=+5511999998888", "/core/5511999998888"])
    def test_of_a_redirect_only_the_host_is_told(self, location: str, client_of: ClientOf) -> None:
        with (
            RawServer(http(b"", 307, f"Location: {location}")) as server,
            pytest.raises(WtsRejectedError, match=r"redirects to (https://other\.example|another path)") as caught,
        ):
            client_of(server.url).perform(SEND)
        assert "8888" not in str(caught.value)

    def test_the_log_of_retries_tells_neither_token_nor_number(
        self, emulator: Emulator, impatient: WtsClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        emulator.faults.add("reset")
        with suppress(WtsError):
            impatient.perform(Call("get_contact_by_phone", {"phone": TO}))
        told = " ".join(r.getMessage() for r in caplog.records if r.name.startswith("airflow_provider_wts"))
        assert "Retrying in" in told
        assert TOKEN not in told
        assert "99999" not in told

    def test_no_library_logs_an_address(
        self, emulator: Emulator, impatient: WtsClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        with suppress(WtsNotFoundError):
            impatient.perform(Call("get_contact_by_phone", {"phone": TO}))
        assert emulator.requests
        assert "phonenumber" not in " ".join(r.getMessage() for r in caplog.records if r.name.startswith("urllib3"))

    @pytest.mark.parametrize("name", [TOKEN, f"Olá, {TOKEN}!", base64.b64encode(TOKEN.encode()).decode()])
    def test_no_customer_is_sent_the_token(self, name: str, emulator: Emulator, impatient: WtsClient) -> None:
        call: Call[Any] = Call("send_text", body={"to": TO, "from": FROM, "text": name})
        for perform in (impatient.perform, impatient.perform_once):
            with pytest.raises(
                WtsInvalidRequestError, match="contains the connection's token, so nothing was sent"
            ) as caught:
                perform(call)
            assert name not in str(caught.value)
        assert not emulator.requests

    def test_no_repr_tells_the_token(self, emulator: Emulator, impatient: WtsClient) -> None:
        told = [repr(impatient), str(vars(impatient)), repr(SEND)]
        assert not [text for text in told if TOKEN in text or "99999" in text]


class TestToken:
    @pytest.mark.parametrize(
        "typed",
        ["pn_x", "  pn_x\n", "Bearer pn_x", "bearer   pn_x", "Bearer Bearer pn_x", "\tBEARER\tpn_x "],
    )
    def test_is_taken_without_what_was_pasted_around_it(self, typed: str) -> None:
        assert checked_token(typed) == "pn_x"

    @pytest.mark.parametrize(
        "typed",
        ['"pn_x"', "'pn_x'", " “pn_x” ", "`pn_x`", "\"'pn_x'\"", 'Bearer "pn_x"', '"Bearer pn_x"', '"pn_x', "' pn_x '"],
    )
    def test_is_taken_without_quotes_around_it(self, typed: str) -> None:
        assert checked_token(typed) == "pn_x"

    @pytest.mark.parametrize("typed", ["", "   ", "Bearer", "Bearer  ", "bearer bearer", '""', '"Bearer"', "Bearer ''"])
    def test_missing_is_said_so(self, typed: str) -> None:
        with pytest.raises(WtsInvalidRequestError, match="is missing"):
            checked_token(typed)

    @pytest.mark.parametrize("typed", ["pn_a\npn_b", "pn_a b", "pn_á", "pn_\x00", "pn_a\r\nX: y", "Authorization: x"])
    def test_with_characters_that_no_token_has_is_refused_and_not_quoted(self, typed: str) -> None:
        with pytest.raises(WtsInvalidRequestError) as caught:
            checked_token(typed)
        assert "pn_a" not in str(caught.value)

    def test_stands_in_the_header_whatever_netrc_says(
        self, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
    ) -> None:
        (tmp_path / "netrc").write_text("machine localhost login somebody password else\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        with RawServer(http()) as server:
            client_of(server.url).perform(READ)
            assert f"Authorization: Bearer {TOKEN}\r\n".encode() in server.requests[0]

    def test_does_not_follow_a_redirect(self, client_of: ClientOf) -> None:
        with RawServer(http()) as other, RawServer(http(b"", 307, f"Location: {other.url}/")) as server:
            with pytest.raises(WtsRejectedError):
                client_of(server.url).perform(READ)
            assert not other.requests

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_send_that_is_redirected_goes_nowhere_else_and_not_twice(self, client_of: ClientOf, status: int) -> None:
        with RawServer(http()) as other, RawServer(http(b"", status, f"Location: {other.url}/")) as server:
            with pytest.raises(WtsError, match=f"redirects to {other.url}.*set the final address") as caught:
                client_of(server.url).perform(SEND)
            assert (len(server.requests), other.requests) == (1, [])
        # A server may answer 302 and 303 after it performed a request.
        assert ("Nothing was sent" in str(caught.value)) == (status not in (302, 303))


class TestBaseUrl:
    @pytest.mark.parametrize(
        ("typed", "taken"),
        [
            ("https://api.wts.chat", "https://api.wts.chat"),
            ("https://api.wts.chat/", "https://api.wts.chat"),
            (" https://chat.example:8443/api/ ", "https://chat.example:8443/api"),
            ("HTTPS://API.wts.chat", "https://api.wts.chat"),
            ("http://localhost:8000", "http://localhost:8000"),
            ("http://127.0.0.1", "http://127.0.0.1"),
            ("http://[::1]:80", "http://[::1]:80"),
            ("https://atenção.example", "https://atenção.example"),
        ],
    )
    def test_is_taken_without_its_last_slash(self, typed: str, taken: str) -> None:
        assert checked_base_url(typed, allow_http=False) == taken

    @pytest.mark.parametrize(
        "typed",
        [
            "",
            "api.wts.chat",
            "ftp://api.wts.chat",
            "https://",
            "https://user:pn_secret@api.wts.chat",
            "https://api.wts.chat?token=pn_secret",
            "https://api.wts.chat#pn_secret",
            "https://api.wts.chat:99999",
            "https://api wts.chat",
            "https://api.wts\n.chat",
            "https://api.wts\\.chat",
            "https://a..b",
            "https://" + "a" * 64 + ".example",
            "https://[::1",
            "https://api\x00.example",
            "https://127\u30020.0.1",
            "https://\uff11\uff12\uff17.0.0.1",
        ],
    )
    def test_that_cannot_be_one_is_refused_without_its_secrets(self, typed: str) -> None:
        with pytest.raises(WtsInvalidRequestError) as caught:
            checked_base_url(typed, allow_http=True)
        assert "pn_secret" not in str(caught.value)

    @pytest.mark.parametrize("host", ["api.wts.chat", "10.0.0.1", "0.0.0.0", "localhost.example", "127.0.0.1.nip.io"])
    def test_http_to_another_machine_needs_allow_http(self, host: str) -> None:
        with pytest.raises(WtsInvalidRequestError, match="unencrypted"):
            checked_base_url(f"http://{host}", allow_http=False)
        assert checked_base_url(f"http://{host}", allow_http=True) == f"http://{host}"


class TestPages:
    @staticmethod
    def page(number: int | None, items: Any, **more: Any) -> bytes:
        import json

        return http(json.dumps({"pageNumber": number, "items": items, **more}).encode())

    def test_are_walked_until_there_are_no_more(self, client_of: ClientOf) -> None:
        asked = (1, 2, 3, 2, 1)
        pages = [self.page(n, [{"id": f"{n}"}], hasMorePages=n < 3) for n in asked]
        with RawServer(*pages) as server:
            assert [item["id"] for item in client_of(server.url).items(SESSIONS)] == ["1", "2", "3"]
            assert [b"PageNumber=%d&PageSize=100" % n in r for n, r in zip(asked, server.requests, strict=True)] == [
                True
            ] * 5

    def test_an_item_that_moved_to_the_next_page_comes_once(self, client_of: ClientOf) -> None:
        pages = [
            self.page(1, [{"id": "a"}, {"id": "b"}], hasMorePages=True),
            self.page(2, [{"id": "b"}, {"id": "c"}], hasMorePages=False),
        ]
        # Something moved, so two more passes have to agree.
        pages += [pages[1], pages[0], *pages]
        with RawServer(*pages) as server:
            assert [item["id"] for item in client_of(server.url).items(SESSIONS)] == ["a", "b", "c"]

    @pytest.mark.parametrize("number", [1, None])
    def test_a_server_that_always_gives_the_first_one_is_found_out(
        self, number: int | None, client_of: ClientOf
    ) -> None:
        with (
            RawServer(self.page(number, [{"id": "a"}], hasMorePages=True)) as server,
            pytest.raises((WtsRejectedError, WtsIncompleteListError), match=r"page 2|only have rows that it listed"),
        ):
            list(client_of(server.url).items(SESSIONS))

    @pytest.mark.parametrize(
        "more", [{}, {"hasMorePages": None}, {"hasMorePages": None, "totalPages": None}, {"totalPages": 1}]
    )
    def test_an_envelope_with_gaps_ends_with_a_page_that_is_not_full(
        self, more: dict[str, Any], client_of: ClientOf
    ) -> None:
        with RawServer(self.page(None, [{"id": "a"}], **more)) as server:
            assert len(list(client_of(server.url).items(SESSIONS))) == 1

    def test_a_page_without_items_is_an_empty_one(self, client_of: ClientOf) -> None:
        with RawServer(self.page(1, None, hasMorePages=False)) as server:
            assert list(client_of(server.url).items(SESSIONS)) == []

    @pytest.mark.parametrize("answer", [b"{}", b'{"items": null, "pageNumber": 1}', b'{"status": "ok"}'])
    def test_what_shows_neither_items_nor_their_number_is_no_page(self, answer: bytes, client_of: ClientOf) -> None:
        with (
            RawServer(http(answer)) as server,
            pytest.raises(WtsUnexpectedAnswerError, match="neither items nor how many there are"),
        ):
            list(client_of(server.url).items(SESSIONS))

    @pytest.mark.parametrize(
        ("items", "problem"),
        [
            (5, "'items' is a whole number, not a list"),
            ("text", "'items' is text, not a list"),
            ({}, "'items' is an object, not a list"),
            ([{}, None], r"'items\[1\]' is null, not an object"),
            ([{"id": ["x"]}], r"'items\[0\].id' is a list, not text"),
        ],
    )
    def test_items_that_are_none_are_an_error_that_names_operation_and_field(
        self, items: Any, problem: str, client_of: ClientOf
    ) -> None:
        with (
            RawServer(self.page(1, items, hasMorePages=False)) as server,
            pytest.raises(WtsUnexpectedAnswerError, match=f"list_sessions: .*{problem}") as caught,
        ):
            list(client_of(server.url).items(SESSIONS))
        assert caught.value.repeatable

    def test_what_is_not_paged_is_refused(self, client_of: ClientOf) -> None:
        with pytest.raises(WtsInvalidRequestError, match="not paged"):
            list(client_of("http://localhost:1").pages(READ))


@pytest.mark.parametrize("fault", [("reset", {}), ("not_json", {}), *[("redirect", {"status": s}) for s in (302, 303)]])
@pytest.mark.parametrize("last", ["status", "itself"])
def test_a_repeatable_write_that_fails_after_an_attempt_without_usable_answer_says_so(
    fault: tuple[str, dict[str, Any]], last: str, emulator: Emulator, impatient: WtsClient
) -> None:
    kind, fields = fault
    emulator.faults.add(kind, when="after", times=1 if last == "status" else None, **fields)  # type: ignore[arg-type]
    emulator.faults.add("status", status=400)
    with pytest.raises(WtsError) as caught:
        impatient.perform(write(emulator))
    told = " ".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
    assert "may have taken effect" in told or "Repeating this call does no harm" in told


@pytest.mark.parametrize("call", [READ, None])
@pytest.mark.parametrize("status", [301, 307, 403])
def test_what_changes_nothing_is_not_said_to_have_taken_effect(
    call: Call[Any] | None, status: int, emulator: Emulator, impatient: WtsClient
) -> None:
    kind: Any = "redirect" if status < 400 else "status"
    emulator.faults.add("reset" if call else kind, times=1, **({} if call else {"status": status, "envelope": "html"}))
    emulator.faults.add(kind, status=status, times=None, envelope="html")
    with pytest.raises(WtsRejectedError) as caught:
        impatient.perform(call or write(emulator))
    assert not getattr(caught.value, "__notes__", ())


def test_waiting_for_the_own_budget_uses_up_no_time_for_retries(
    emulator: Emulator, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(Budget):
        def acquire(self, operation: Any, **_: Any) -> float:
            monkeypatch.setattr(tenacity, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + 200))
            return 200.0

    emulator.faults.add("status", status=503, times=1)
    assert client_of(emulator.url, budget=Slow("x")).perform(READ)


def test_a_call_that_cannot_become_a_request_never_leaves(emulator: Emulator, impatient: WtsClient) -> None:
    for call in (
        Call("get_session", {"id": "\ud800"}),
        Call("list_sessions", query={"Status": "\ud800"}),
        Call("send_text", body={"text": "\ud800"}),
        Call("no_such_operation"),
    ):
        with pytest.raises(WtsInvalidRequestError):
            impatient.perform(call)
    assert not emulator.requests


# -- anything at all ------------------------------------------------------------------------------------------------

bodies = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([b"", b"{}", b"[]", b"null", b"{", b"<html>", b'{"key":1,"id":[],"text":{}}', b'{"id":{}}']),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.sampled_from(["key", "text", "id", "items", "detail", "pageNumber"]), inner, max_size=4),
        ),
        max_leaves=6,
    ).map(lambda value: __import__("json").dumps(value).encode()),
)
headers = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(
                [
                    b"Retry-After",
                    b"Location",
                    b"Content-Encoding",
                    b"Content-Type",
                    b"Transfer-Encoding",
                    b"Content-Length",
                    b"Set-Cookie",
                    b"Connection",
                    b"Keep-Alive",
                ]
            ),
            st.one_of(
                st.sampled_from(
                    [b"gzip", b"br", b"deflate", b"chunked", b"identity", b"close", b"-1", b"1e400", b"nan", b"3"]
                ),
                st.sampled_from([b"http://[", b"//x:y", b"https://a/?q", b"\xff\xfe", b"a=b; expires=never"]),
                st.binary(max_size=20),
            ),
        ),
        st.tuples(st.binary(max_size=8), st.binary(max_size=8)),
    ),
    max_size=4,
)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    status = draw(st.one_of(st.integers(100, 599), st.sampled_from([200, 200, 200, 204, 302, 401, 429, 500, 999])))
    body = draw(bodies)
    lines = [b"HTTP/1.1 %d X" % status, *[name + b": " + value for name, value in draw(headers)]]
    if draw(st.booleans()):
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@pytest.fixture(scope="module")
def answering() -> Any:
    with RawServer(b"", keep_alive=False) as server:
        yield server


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(answer=st.one_of(answers(), answers(), st.binary(max_size=200)), operation=st.sampled_from(["send", "read"]))
@example(answer=b"HTTP/1.1 302 X\r\nLocation: http://[\r\n\r\n", operation="send")
@example(answer=http(b"{}", 429, "Retry-After: 1e400"), operation="send")
def test_no_answer_makes_the_client_raise_anything_but_its_own_errors_or_be_late(
    answer: bytes, operation: str, answering: RawServer
) -> None:
    answering.scripts[:] = [answer]
    answering.requests.clear()
    client = WtsClient(
        TOKEN, base_url=answering.url, timeout=2.0, budget=Budget(uuid.uuid4().hex), sleep=lambda seconds: None
    )
    started = time.monotonic()
    try:
        if operation == "read":
            list(client.items(SESSIONS))
        else:
            client.perform(SEND)
    except WtsError as error:
        assert_discreet(error)
        assert operation == "read" or answer.startswith(b"HTTP/1.1 429") or len(answering.requests) == 1
    finally:
        client.close()
    assert time.monotonic() - started < 30


def test_it_tells_the_time_of_the_server(client_of: ClientOf) -> None:
    with RawServer(http(b"[]", 200, "Date: Sun, 01 Nov 2026 10:00:00 GMT")) as server:
        client = client_of(server.url)
        assert abs((client.now() - datetime.now(UTC)).total_seconds()) < 5
        client.perform(READ)
        assert 0 <= (client.now() - datetime(2026, 11, 1, 10, tzinfo=UTC)).total_seconds() < 5


@pytest.mark.parametrize("date", ["", "yesterday", "Sun, 99 Nov 2026 10:00:00 GMT", "0"])
def test_a_date_that_cannot_be_read_is_none(client_of: ClientOf, date: str) -> None:
    with RawServer(http(b"[]", 200, f"Date: {date}")) as server:
        client = client_of(server.url)
        client.perform(READ)
        assert abs((client.now() - datetime.now(UTC)).total_seconds()) < 5


class TestAServerThatEchoesTheToken:
    SPELLINGS = (
        TOKEN,
        f"Bearer {TOKEN}",
        "".join(f"\\u{ord(character):04x}" for character in TOKEN),
        "".join(f"%{ord(character):02x}" for character in TOKEN),
        *(base64.b64encode(f"{before}{TOKEN}#".encode()).decode() for before in ("", "x", "yz")),
    )

    @pytest.mark.parametrize("spelling", SPELLINGS)
    def test_shows_it_in_no_answer(self, spelling: str, client_of: ClientOf) -> None:
        with RawServer(http(f'[{{"id": "a {spelling} b"}}]'.encode())) as server:
            found = client_of(server.url).perform(READ)[0]["id"]
        assert "***" in found
        assert TOKEN[3:-3] not in unquote(found)

    @pytest.mark.parametrize("spelling", SPELLINGS)
    @pytest.mark.parametrize("padding", [440, 462, 470, 478, 485, 495])
    def test_shows_no_part_of_it_in_an_error_that_is_cut(
        self, spelling: str, padding: int, client_of: ClientOf
    ) -> None:
        body = f'{{"key": "FORM_ERROR", "text": "{"." * padding}{spelling}"}}'.encode()
        with RawServer(http(body, 400)) as server, pytest.raises(WtsRejectedError) as caught:
            client_of(server.url).perform(READ)
        told = f"{caught.value} {caught.value.text}"
        assert not any(spelling[at : at + 12] in told for at in range(len(spelling) - 12))
        assert TOKEN[:10] not in told

    def test_shows_it_in_no_redirect(self, client_of: ClientOf) -> None:
        with (
            RawServer(http(b"", 302, f"Location: https://{TOKEN}.example/")) as server,
            pytest.raises(WtsRejectedError) as caught,
        ):
            client_of(server.url).perform_once(READ)
        assert TOKEN.lower() not in str(caught.value).lower()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for this machine, with its key in the same file."""
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -keyout - -out -"
    path.write_bytes(subprocess.run(command.split(), capture_output=True, check=True).stdout)
    return path


class TestWrongSchemes:
    @pytest.mark.parametrize("call", [READ, SEND])
    def test_http_on_a_port_that_speaks_tls_is_found_out_in_one_attempt(
        self, call: Call[Any], certificate: Path, client_of: ClientOf, sleeps: list[float]
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        with (
            RawServer(http(), tls=context) as server,
            pytest.raises(WtsUnreachableError, match=r"speaks TLS.*https://") as caught,
        ):
            client_of(server.url.replace("https", "http")).perform(call)
        assert not caught.value.passing
        assert sleeps == []

    @pytest.mark.parametrize("said", [b"SSH-2.0-x\r\n", b"HTTP/1.1 400 X\r\n\r\n", b"\0" * 99, b"ab"])
    def test_https_on_a_port_that_does_not_is_found_out_in_one_attempt(
        self, said: bytes, client_of: ClientOf, sleeps: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transport, "CONNECT_TIMEOUT", 0.5)
        taken: list[socket.socket] = []
        with socket.create_server(("127.0.0.1", 0)) as listening:

            def serve() -> None:
                with suppress(OSError):
                    while True:
                        taken.append(listening.accept()[0])
                        taken[-1].sendall(said)

            threading.Thread(target=serve, daemon=True).start()
            with pytest.raises(WtsUnreachableError, match="does not speak TLS") as caught:
                client_of(f"https://localhost:{listening.getsockname()[1]}").perform(READ)
        for sock in taken:
            sock.close()
        assert not caught.value.passing
        assert sleeps == []

    @pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
    @pytest.mark.parametrize("content", [None, b"", b"no certificate"])
    def test_a_bad_ca_file_of_the_environment_is_named_as_such(
        self,
        variable: str,
        content: bytes | None,
        tmp_path: Path,
        client_of: ClientOf,
        monkeypatch: pytest.MonkeyPatch,
        emulator: Emulator,
    ) -> None:
        if content is not None:
            (tmp_path / "ca.pem").write_bytes(content)
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(variable, str(tmp_path / "ca.pem"))
        with pytest.raises(WtsUnreachableError, match=f"environment variable {variable}") as caught:
            client_of(emulator.url.replace("http", "https")).perform(READ)
        assert "connection's CA bundle" not in str(caught.value)


def resolve_as(monkeypatch: pytest.MonkeyPatch, names: dict[str, list[str]]) -> None:
    """Let names lead to these addresses."""
    known = socket.getaddrinfo

    def getaddrinfo(host: str, port: Any, *rest: Any, **more: Any) -> Any:
        if host not in names:
            return known(host, port, *rest, **more)
        if not names[host]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [entry for address in names[host] for entry in known(address, port, *rest, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


class TestProxies:
    @pytest.fixture(autouse=True)
    def _only_these(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]", "LOCALHOST", "wts.test"])
    @pytest.mark.parametrize("variable", ["http_proxy", "ALL_PROXY"])
    def test_there_is_none_for_this_machine(
        self, host: str, variable: str, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        resolve_as(monkeypatch, {"wts.test": ["127.0.0.1", "::1"]})
        with RawServer(http()) as proxy:
            monkeypatch.setenv(variable, proxy.url)
            with pytest.raises(WtsUnreachableError):
                client_of(f"http://{host}:1").perform_once(READ)
            assert proxy.requests == []

    @pytest.mark.parametrize("addresses", [["192.0.2.7"], ["127.0.0.1", "192.0.2.7"], []])
    def test_a_name_is_this_machine_only_if_all_its_addresses_are(
        self, addresses: list[str], client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        resolve_as(monkeypatch, {"evil.localhost": addresses})
        with pytest.raises(WtsInvalidRequestError, match="unencrypted"):
            client_of("http://evil.localhost:8000")
        with RawServer(http()) as proxy:
            monkeypatch.setenv("http_proxy", proxy.url)
            assert client_of("http://evil.localhost:8000", allow_http=True).perform(READ) == []
            assert len(proxy.requests) == 1

    @pytest.mark.parametrize(
        "proxy",
        [
            *("http://[::1", "http://proxy:port", "http://", "http:///", "proxy:99999"),
            *("http://user:secret@", "http://bad host:1", "http://a..b:1", f"http://{'a' * 64}:1"),
        ],
    )
    def test_what_is_no_address_is_refused_by_name(
        self, proxy: str, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("https_proxy", proxy)
        with pytest.raises(WtsInvalidRequestError, match="https_proxy names is not a valid address") as caught:
            client_of("https://api.wts.test")
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize("proxy", ["http://user:secret@localhost:1", "localhost:1", "https://[::1]:1/path?x=1"])
    def test_one_that_cannot_be_reached_is_named(
        self, proxy: str, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        with pytest.raises(WtsUnreachableError, match=r"wts\.test through the proxy that .* HTTPS_PROXY") as caught:
            client_of("https://api.wts.test").perform_once(READ)
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize("scheme", ["socks4", "socks5", "socks5h", "SOCKS5", "ftp"])
    def test_of_another_kind_than_http_are_refused_by_name(
        self, scheme: str, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://user:secret@proxy.example:1080")
        with pytest.raises(WtsInvalidRequestError, match=f"HTTPS_PROXY names is a {scheme.lower()} proxy") as caught:
            client_of("https://api.wts.test")
        assert "secret" not in str(caught.value)
