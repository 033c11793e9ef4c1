"""HTTP with one ``requests.Session`` per thread, and two features that ``requests`` lacks.

It reports whether a byte of the request was written. Exception types do not show this: a TLS error or dropped
connection may come before or after the server acted. So a connection connects first, and then records the first write.

It enforces deadlines. The timeouts of ``requests`` apply to each packet, so a server that drips bytes can block a
caller forever. A watchdog shuts down the socket at the deadline of the whole exchange.
"""

from __future__ import annotations

import base64
import contextlib
import heapq
import html
import ipaddress
import itertools
import logging
import os
import re
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPResponse as PlainResponse
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.structures import CaseInsensitiveDict
from requests.utils import get_environ_proxies, select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import allowed_gai_family
from urllib3.util.url import parse_url

from airflow_provider_wts.api.errors import WtsInvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from urllib3.poolmanager import PoolManager

#: Seconds after which a send does not use an idle connection, because the server may be closing it.
IDLE_LIMIT_OF_SENDS = 1.0

#: Maximum size of an answer in bytes. A page of 100 contacts has about 200 KB.
MAX_ANSWER_BYTES = 32 * 1024 * 1024

CONNECT_TIMEOUT = 10.0

#: Seconds after which the operating system gives up on unacknowledged data. Otherwise, it would retransmit for minutes,
#: even for a process that is gone, and after a reconciliation has concluded that nothing was sent.
UNCONFIRMED = 15.0

#: Seconds to probe for TLS after a request without TLS failed.
_PROBE_TIMEOUT = 3.0

_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

_CHUNK = 64 * 1024

#: Bytes of a body to write at a time.
_BLOCK = 16 * 1024

#: Minimum length of tokens to hide in answers; shorter ones would also match other words.
_SHORTEST_HIDDEN = 8

_ESCAPED_ASCII = re.compile(rb"\\u00[2-7]")
_ESCAPE = re.compile(rb"\\(?:u00([2-7][0-9a-fA-F])|.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer.

    :param status: HTTP status.
    :param headers: answer headers, with case-insensitive names.
    :param body: the body without transfer and content encoding.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class ExchangeFailed(Exception):
    """There was no complete answer.

    :param cause: the exception of ``requests`` or the socket. Its text may contain the URL, with personal data.
    :param written: whether a byte of the request may have been written.
    :param status: HTTP status, if an answer began.
    :param late: whether the deadline ended the exchange.
    :param connected: whether a connection was established.
    """

    def __init__(
        self,
        cause: Exception,
        *,
        written: bool,
        status: int | None = None,
        late: bool = False,
        connected: bool = False,
    ) -> None:
        super().__init__(type(cause).__name__)
        self.cause = cause
        self.written = written
        self.status = status
        self.late = late
        self.connected = connected


class AnswerTooLargeError(Exception):
    """The answer exceeds :data:`MAX_ANSWER_BYTES`."""


class BearerToken(AuthBase):
    """Sets the token last, so that neither ``.netrc`` nor a session header replaces it."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._header = f"Bearer {token}"
        self._spellings = [] if len(token) < _SHORTEST_HIDDEN else _spellings_of(token)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Set the header."""
        request.headers["Authorization"] = self._header
        return request

    def is_in(self, content: bytes) -> bool:
        """Whether a body contains the token, in any encoding."""
        return any(spelling in content for spelling in self._spellings)

    def hide(self, reply: Reply) -> Reply:
        """Mask the token in an answer that echoes it, in body and headers, and in any encoding.

        Call it before anything is parsed or truncated: part of a token would not be found.
        """
        body = reply.body
        if _ESCAPED_ASCII.search(body):
            # JSON may escape any character, and parsing would restore the token.
            body = _ESCAPE.sub(_unescaped, body)
        for spelling in self._spellings:
            if spelling in body:
                body = body.replace(spelling, b"***")
        headers = {name: self._hidden_header(value) for name, value in reply.headers.items()}
        return Reply(reply.status, CaseInsensitiveDict(headers), body)

    def _hidden_header(self, value: str) -> str:
        for spelling in self._spellings:
            value = value.replace(spelling.decode("ascii"), "***")
        return value

    def hide_in(self, error: Exception) -> None:
        """Mask the token in an error."""
        error.args = tuple(self._hidden(value) for value in error.args)
        for name, value in vars(error).items():
            setattr(error, name, self._hidden(value))

    def _hidden(self, value: object) -> object:
        return value.replace(self._token, "***") if isinstance(value, str) else value

    def __repr__(self) -> str:
        return "BearerToken(***)"


def _spellings_of(token: str) -> list[bytes]:
    """Return how a token may appear in an answer: plain, URL-encoded, in JSON, in HTML and in base64."""
    quoted = [quote(token, safe=""), "".join(f"%{ord(character):02X}" for character in token)]
    spellings = {token, token.replace("/", "\\/"), html.escape(token), *quoted}
    spellings |= {re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), text) for text in quoted}
    for before in range(3):
        # Base64 encodes groups of three bytes, so there are three alignments. Omit the ends, which depend on neighbors.
        coded = base64.b64encode(b"\0" * before + token.encode())
        whole = coded[(before * 8 + 5) // 6 : len(coded.rstrip(b"=")) - (1 if (before + len(token)) % 3 else 0)]
        spellings |= {whole.decode(), whole.decode().replace("+", "-").replace("/", "_")}
    # Longest first, because a shorter one may be part of it.
    return sorted((text.encode() for text in spellings), key=len, reverse=True)


def _unescaped(found: re.Match[bytes]) -> bytes:
    character = bytes([int(found[1], 16)]) if found[1] else b""
    # A quote or backslash must stay escaped.
    return character if character not in (b"", b'"', b"\\", b"\x7f") else found[0]


class _Exchange:
    """The state of the request that a thread is making."""

    def __init__(self, deadline: float, *, fresh: bool, before_write: Callable[[], None] | None = None) -> None:
        self.deadline = deadline
        self.fresh = fresh
        self._before_write = before_write
        self.refusal: Exception | None = None
        self.written = False
        self.connected = False
        self.late = False
        self.finished = False
        self.sock: socket.socket | None = None
        self.lock = threading.Lock()

    def write(self) -> None:
        """Record that bytes of the request are about to be written, if they may be.

        A process may be suspended between two writes, and resume when another one has taken over. Without its last
        byte, the request has no effect.
        """
        if self._before_write is not None:
            try:
                self._before_write()
            except Exception as error:
                self.refusal = error
                raise
        if time.monotonic() >= self.deadline:
            self.late = True
            raise TimeoutError("the deadline passed")
        self.written = True

    def watch(self, sock: socket.socket | None) -> None:
        """Set the socket that the watchdog must shut down."""
        with self.lock:
            self.sock = sock
            if self.late:
                self._shut()

    def expire(self) -> None:
        """End this exchange; called by the watchdog."""
        with self.lock:
            if not self.finished:
                self.late = True
                self._shut()

    def finish(self) -> None:
        """Release the socket, which the next exchange may use."""
        with self.lock:
            self.finished = True
            self.sock = None

    def _shut(self) -> None:
        # For TLS through a proxy's TLS, this is not a socket but wraps one.
        sock = getattr(self.sock, "socket", self.sock)
        if sock is not None:
            # No error here may end the watchdog's thread, which serves all exchanges.
            with contextlib.suppress(Exception):
                # Not SSLSocket.shutdown, which discards the TLS state while another thread reads.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _Watchdog:
    """A thread that ends exchanges at their deadlines."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting: list[tuple[float, int, _Exchange]] = []
        self._order = itertools.count()
        self._wakes_at = float("inf")
        self._thread: threading.Thread | None = None

    def guard(self, exchange: _Exchange) -> None:
        with self._condition:
            self._forget_finished()
            heapq.heappush(self._waiting, (exchange.deadline, next(self._order), exchange))
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="wts-watchdog", daemon=True)
                thread.start()
                self._thread = thread
            elif exchange.deadline < self._wakes_at:
                self._condition.notify()

    def _forget_finished(self) -> None:
        while self._waiting and self._waiting[0][2].finished:
            heapq.heappop(self._waiting)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._forget_finished()
                self._wakes_at = self._waiting[0][0] if self._waiting else float("inf")
                wait = self._wakes_at - time.monotonic()
                if wait > 0:
                    self._condition.wait(min(wait, threading.TIMEOUT_MAX))
                    continue
                exchange = heapq.heappop(self._waiting)[2]
            exchange.expire()


_watchdog = _Watchdog()
_local = threading.local()


# They log invalid headers, and the address, which may contain a phone number, or the signature for an upload.
for _name in ("urllib3.connection", "urllib3.connectionpool"):
    logging.getLogger(_name).addFilter(lambda record: getattr(_local, "exchange", None) is None)


def _after_fork() -> None:
    # Airflow forks its task processes. Threads do not survive a fork, and a lock may have been held.
    global _watchdog, _local
    _watchdog = _Watchdog()
    _local = threading.local()


os.register_at_fork(after_in_child=_after_fork)


#: No answer follows this status, because the connection switches to another protocol.
_SWITCHING_PROTOCOLS = 101


class _FinalResponse(PlainResponse):
    """Skips all interim answers. ``http.client`` only skips 100, and mistakes any other 1xx for the final answer."""

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]
        interim = 100 <= status < 200 and status != _SWITCHING_PROTOCOLS
        return version, 100 if interim else status, reason


class _RecordingMixin:
    """A connection that connects first, and then records that a byte of the request is about to be written."""

    response_class: Any = _FinalResponse
    sock: socket.socket | None
    idle_since = 0.0
    _connecting = False

    def connect(self) -> None:
        self._connecting = True
        try:
            super().connect()  # type: ignore[misc]  # the connection class beside this mixin has it
        finally:
            self._connecting = False
            handshake: socket.socket | None = self.__dict__.pop("_handshake", None)
            if handshake is not None:
                _local.exchange.watch(None)
                handshake.close()

    def _new_conn(self) -> socket.socket:
        exchange: _Exchange | None = getattr(_local, "exchange", None)
        if exchange is None:
            return super()._new_conn()  # type: ignore[misc,no-any-return]
        sock = self._connected(exchange)
        exchange.connected = True
        # The TLS handshake takes over the socket, so the watchdog needs a duplicate.
        self.__dict__["_handshake"] = sock.dup()
        exchange.watch(self.__dict__["_handshake"])
        return sock

    def _connected(self, exchange: _Exchange) -> socket.socket:
        """Connect to one of the host's addresses. Unlike in urllib3, the timeout applies to all of them together."""
        host, port = self._dns_host, self.port  # type: ignore[attr-defined]
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, allowed_gai_family(), socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NameResolutionError(host, self, error) from error  # type: ignore[arg-type]
        problem: OSError = OSError("the host has no address")
        until = min(time.monotonic() + CONNECT_TIMEOUT, exchange.deadline)
        for place, (family, kind, protocol, _, address) in enumerate(found):
            # Share the remaining time, so that one dead address does not use it up.
            share = (until - time.monotonic()) / min(len(found) - place, 2)
            if share <= 0:
                break
            sock: socket.socket | None = None
            try:
                sock = socket.socket(family, kind, protocol)
                for option in self.socket_options or ():  # type: ignore[attr-defined]
                    sock.setsockopt(*option)
                if hasattr(socket, "TCP_USER_TIMEOUT"):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNCONFIRMED * 1000))
                sock.settimeout(share)
                sock.connect(address)
                sock.settimeout(max(until - time.monotonic(), 0.001))
                return sock
            except OSError as error:
                problem = error
                if sock is not None:
                    sock.close()
        if isinstance(problem, TimeoutError):
            raise ConnectTimeoutError(self, "timed out") from problem
        raise NewConnectionError(self, type(problem).__name__) from problem  # type: ignore[arg-type]

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        exchange: _Exchange | None = getattr(_local, "exchange", None)
        if exchange is None or self._connecting:
            super().send(data)  # type: ignore[misc]
            return
        if not exchange.written:
            exchange.watch(self.sock)
        # Writing a long body may block partway.
        for block in _blocks(data) if isinstance(data, bytes) else (data,):
            exchange.write()
            super().send(block)  # type: ignore[misc]


def _blocks(data: bytes) -> Iterator[bytes]:
    yield from (data[start : start + _BLOCK] for start in range(0, len(data), _BLOCK))


class _RecordingHTTPConnection(_RecordingMixin, HTTPConnection):
    pass


class _RecordingHTTPSConnection(_RecordingMixin, HTTPSConnection):
    pass


class _FreshPoolMixin:
    """A pool that does not give a send a connection that has been idle for a while."""

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection = super()._get_conn(timeout)  # type: ignore[misc]
        exchange: _Exchange | None = getattr(_local, "exchange", None)
        if (
            exchange is not None
            and exchange.fresh
            and getattr(connection, "sock", None) is not None
            and time.monotonic() - connection.idle_since > IDLE_LIMIT_OF_SENDS
        ):
            connection.close()
        return connection

    def _put_conn(self, connection: Any) -> None:
        if connection is not None:
            connection.idle_since = time.monotonic()
        super()._put_conn(connection)  # type: ignore[misc]


class _HTTPPool(_FreshPoolMixin, HTTPConnectionPool):
    ConnectionCls = _RecordingHTTPConnection


class _HTTPSPool(_FreshPoolMixin, HTTPSConnectionPool):
    ConnectionCls = _RecordingHTTPSConnection


class _RecordingAdapter(HTTPAdapter):
    """The adapter of ``requests`` with pools of recording connections; it never retries."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _use_our_pools(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return _use_our_pools(super().proxy_manager_for(*args, **kwargs))


def _use_our_pools(manager: PoolManager) -> PoolManager:
    manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
    return manager


class _Session(requests.Session):
    """A session that ignores redirects; the usual one reads their bodies, and fails on invalid locations."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def is_loopback(host: str) -> bool:
    """Whether a host name or IP address is on this machine; for a name, all its addresses must be."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    return bool(addresses) and all((getattr(one, "ipv4_mapped", None) or one).is_loopback for one in addresses)


def _proxies_to(base_url: str) -> dict[str, str]:
    """Return the environment's proxies, but none for this machine: the proxy would get the token unencrypted."""
    found: dict[str, str] = dict(get_environ_proxies(base_url))
    # As in curl. requests would mistake the host before a port for a scheme.
    proxies = {name: proxy if "://" in proxy else f"http://{proxy}" for name, proxy in found.items()}
    proxy = select_proxy(base_url, proxies)
    if not proxy:
        return proxies
    if is_loopback(urlsplit(base_url).hostname or ""):
        return {}
    host = urlsplit(base_url).hostname
    scheme = proxy.partition("://")[0].lower()
    # Not quoted, because it may contain a password.
    if scheme not in ("http", "https"):
        raise WtsInvalidRequestError(
            f"The proxy that {_source_of(proxy)} names is a {scheme} proxy. This provider supports http and https "
            f"proxies only. Nothing was sent. Name another proxy, or add {host} to NO_PROXY."
        )
    if not is_address(proxy):
        raise WtsInvalidRequestError(
            f"The proxy that {_source_of(proxy)} names is not a valid address. Nothing was sent. Correct it, or add "
            f"{host} to NO_PROXY. Example: http://proxy.example.com:3128"
        )
    return proxies


def _source_of(proxy: str) -> str:
    spellings = (proxy, proxy.removeprefix("http://"))
    names = [name for name in os.environ if name.lower().endswith("_proxy") and os.environ[name] in spellings]
    return f"the environment variable {names[0]}" if names else "the environment"


def is_address(url: str) -> bool:
    """Whether an address has a valid host.

    :param url: the address, with scheme.
    """
    try:
        # The first refuses letters that the second maps to others, and the second labels that are too long.
        return bool((parse_url(url).host or "").encode("idna"))
    except ValueError:
        return False


def _speaks_tls(host: str, port: int) -> bool:
    # Nothing is sent, so the certificate does not matter.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), timeout=_PROBE_TIMEOUT) as sock:
            context.wrap_socket(sock, server_hostname=host).close()
    except ssl.SSLError as error:
        # An alert, for example about a missing client certificate, is also TLS.
        return "ALERT" in (error.reason or "")
    except (OSError, ValueError):
        return False
    return True


def _writes_first(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=_PROBE_TIMEOUT / 3) as sock:
            return bool(sock.recv(1))
    except OSError:
        return False


class Transport:
    """Makes single HTTP exchanges with one host, without retries or redirects.

    :param ca_bundle: path of a file with certificate authorities. Default: that of the environment
        (``REQUESTS_CA_BUNDLE``, ``CURL_CA_BUNDLE``), or else that of ``requests``.
    """

    def __init__(self, base_url: str, *, user_agent: str, ca_bundle: str | None = None) -> None:
        self._user_agent = user_agent
        from_environment = next((name for name in _CA_VARIABLES if os.environ.get(name)), None)
        self._verify: str | bool = ca_bundle or (os.environ[from_environment] if from_environment else True)
        #: Where the certificate authorities are configured, for errors.
        self.ca_source = (
            f"the environment variable {from_environment}"
            if from_environment and not ca_bundle
            else "the connection's CA bundle"
        )
        # Read once: requests would search the environment in every call.
        self._proxies = _proxies_to(base_url)
        proxy = select_proxy(base_url, self._proxies)
        #: How requests go to the host, for errors.
        self.way = f" through the proxy that {_source_of(proxy)} names" if proxy else ""
        self._sessions = threading.local()
        self._base_url = base_url

    def exchange(
        self,
        method: str,
        url: str,
        *,
        query: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        content: Any = None,
        auth: AuthBase | None = None,
        timeout: float,
        fresh: bool,
        before_write: Callable[[], None] | None = None,
    ) -> Reply:
        """Send one request and read its complete answer.

        :param url: address without query.
        :param query: name and value pairs.
        :param headers: additional headers.
        :param content: body as bytes or as a binary file.
        :param timeout: seconds for the whole exchange, including the connection.
        :param fresh: whether to avoid connections that have been idle for over a second.
        :param before_write: called before each write, when the connection is open. An exception it raises is raised,
            and the request is not completed.
        :return: the answer, with any status.
        :raises ExchangeFailed: when there was no complete answer.
        """
        exchange = _Exchange(time.monotonic() + timeout, fresh=fresh, before_write=before_write)
        status: int | None = None
        response: requests.Response | None = None
        _local.exchange = exchange
        try:
            _watchdog.guard(exchange)
            session = self._session()
            request = session.prepare_request(
                requests.Request(method, url, params=list(query), headers=headers, data=content, auth=auth)
            )
            response = session.send(
                request,
                stream=True,
                allow_redirects=False,
                timeout=(min(CONNECT_TIMEOUT, timeout), timeout),
                verify=self._verify,
                proxies=self._proxies,
            )
            status = response.status_code
            body = _read(response, exchange)
            if exchange.late:
                raise TimeoutError("the deadline passed")
            return Reply(status, response.headers, body)
        except Exception as error:
            if error is exchange.refusal:
                raise
            raise ExchangeFailed(
                error, written=exchange.written, status=status, late=exchange.late, connected=exchange.connected
            ) from None
        finally:
            exchange.finish()
            _local.exchange = None
            if response is not None:
                response.close()

    @cached_property
    def speaks_tls(self) -> bool:
        """Whether the server at an address without TLS expects TLS. It is probed once, after an exchange failed."""
        parts = urlsplit(self._base_url)
        if parts.scheme != "http" or select_proxy(self._base_url, self._proxies):
            return False
        return _speaks_tls(parts.hostname or "", parts.port or 80)

    @cached_property
    def writes_first(self) -> bool:
        """Whether the server at an address with TLS writes first, as mail and SSH servers do; probed as above."""
        parts = urlsplit(self._base_url)
        if parts.scheme != "https" or select_proxy(self._base_url, self._proxies):
            return False
        return _writes_first(parts.hostname or "", parts.port or 443)

    def close(self) -> None:
        """Close this thread's connections."""
        session: requests.Session | None = getattr(self._sessions, "session", None)
        if session is not None:
            session.close()
            del self._sessions.session

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._sessions, "session", None)
        # A forked process must not share its parent's connections.
        if session is None or self._sessions.process != os.getpid():
            session = _Session()
            session.trust_env = False
            # The API needs no cookies, and a load balancer's would bind all calls to one server.
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            session.headers["User-Agent"] = self._user_agent
            session.headers["Accept"] = "application/json"
            adapter = _RecordingAdapter(pool_connections=4, pool_maxsize=4, max_retries=0)
            session.mount("https://", adapter)
            session.mount("http://", adapter)
            self._sessions.session = session
            self._sessions.process = os.getpid()
        return session


def _read(response: requests.Response, exchange: _Exchange) -> bytes:
    body = bytearray()
    for chunk in response.iter_content(_CHUNK):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise AnswerTooLargeError(f"the answer has more than {MAX_ANSWER_BYTES // 2**20} MiB")
        if time.monotonic() > exchange.deadline:
            exchange.late = True
            raise TimeoutError("the deadline passed")
    return bytes(body)
