"""HTTP over one ``requests.Session`` per thread, with two things that ``requests`` does not report or do.

It knows whether a byte of the request was written. Exception types do not show it: a TLS error or a dropped connection
may come before or after the server acted. So the connection connects first and then notes the first write.

It keeps deadlines. The timeouts of ``requests`` bound the wait for each packet, so a server that drips bytes keeps a
caller for ever. A watchdog shuts the socket when the deadline of the whole exchange passes.
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
from http.client import HTTPResponse as PlainResponse
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.cookies import RequestsCookieJar
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

#: Seconds after which a send no longer trusts an idle connection, since the server may be closing it just now.
IDLE_LIMIT_OF_SENDS = 1.0

#: Longest answer that is read, in bytes. A page of 100 contacts has about 200 KB.
MAX_ANSWER_BYTES = 32 * 1024 * 1024

CONNECT_TIMEOUT = 10.0

#: Seconds after which the system drops what the other side did not confirm. It would send it again for minutes, also
#: for a process that is gone: after the search for the message has concluded that nothing was sent.
UNCONFIRMED = 15.0

#: Seconds for finding out whether TLS is spoken where a request without it failed.
_PROBE_TIMEOUT = 3.0

_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

_CHUNK = 64 * 1024

#: Bytes of a body that are written at a time.
_PIECE = 16 * 1024

#: Tokens of fewer characters are not looked for in answers, where they would be found in other words.
_SHORTEST_HIDDEN = 8

_ESCAPED_ASCII = re.compile(rb"\\u00[2-7]")
_ESCAPE = re.compile(rb"\\(?:u00([2-7][0-9a-fA-F])|.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer.

    :param status: HTTP status.
    :param headers: answer headers; names are looked up without regard to case.
    :param body: the whole body, decoded from its transfer and content encoding.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class ExchangeFailed(Exception):
    """No complete answer came.

    :param cause: what ``requests`` or the socket raised. Its text may hold the address with personal data in it.
    :param written: whether a byte of the request may have been written.
    :param status: HTTP status, where an answer began.
    :param late: whether the deadline ended the exchange.
    :param connected: whether something took the connection.
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
    """The answer is longer than any real one."""


class BearerToken(AuthBase):
    """Sets the token after everything else, so that neither ``.netrc`` nor a session header replaces it."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._header = f"Bearer {token}"
        self._spellings = [] if len(token) < _SHORTEST_HIDDEN else _spellings_of(token)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Set the header."""
        request.headers["Authorization"] = self._header
        return request

    def hide(self, reply: Reply) -> Reply:
        """Return an answer without the token, where a server echoed it: in its body and headers, in any spelling.

        Before anything is parsed or cut: what is left of a token that was cut would be found no more.

        :param reply: the answer.
        """
        body = reply.body
        if _ESCAPED_ASCII.search(body):
            # JSON may write any character as an escape, and parsing would bring the token back.
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
        """Take the token out of an error, where a server echoed it."""
        error.args = tuple(self._hidden(value) for value in error.args)
        for name, value in vars(error).items():
            setattr(error, name, self._hidden(value))

    def _hidden(self, value: object) -> object:
        return value.replace(self._token, "***") if isinstance(value, str) else value

    def __repr__(self) -> str:
        return "BearerToken(***)"


def _spellings_of(token: str) -> list[bytes]:
    """Return how a token may appear in an answer: as it is, in an address, in JSON, in HTML and in base64."""
    quoted = [quote(token, safe=""), "".join(f"%{ord(character):02X}" for character in token)]
    spellings = {token, token.replace("/", "\\/"), html.escape(token), *quoted}
    spellings |= {re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), text) for text in quoted}
    for before in range(3):
        # Three ways to cut what comes before into groups of three bytes; the ends depend on the neighbours.
        coded = base64.b64encode(b"\0" * before + token.encode())
        whole = coded[(before * 8 + 5) // 6 : len(coded.rstrip(b"=")) - (1 if (before + len(token)) % 3 else 0)]
        spellings |= {whole.decode(), whole.decode().replace("+", "-").replace("/", "_")}
    # The longest first: a shorter one may be a part of it.
    return sorted((text.encode() for text in spellings), key=len, reverse=True)


def _unescaped(found: re.Match[bytes]) -> bytes:
    character = bytes([int(found[1], 16)]) if found[1] else b""
    # A quote or a backslash means something else without its escape.
    return character if character not in (b"", b'"', b"\\", b"\x7f") else found[0]


class _Exchange:
    """What is known about the request that a thread is making."""

    __slots__ = (
        "_before_write",
        "connected",
        "deadline",
        "finished",
        "fresh",
        "late",
        "lock",
        "refusal",
        "sock",
        "written",
    )

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
        """Note that bytes of the request are about to be written, if they may be.

        A process may be stopped between two writes, and come back when another one has taken over. Without its last
        byte the request has no effect.
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
        """Name the socket that the watchdog has to shut."""
        with self.lock:
            self.sock = sock
            if self.late:
                self._shut()

    def expire(self) -> None:
        """Wake whoever waits for this exchange: called by the watchdog."""
        with self.lock:
            if not self.finished:
                self.late = True
                self._shut()

    def finish(self) -> None:
        """Forget the socket, which may belong to the next exchange from now on."""
        with self.lock:
            self.finished = True
            self.sock = None

    def _shut(self) -> None:
        # TLS inside the TLS of a proxy is no socket, but holds one.
        sock = getattr(self.sock, "socket", self.sock)
        if sock is not None:
            # Whatever goes wrong here must not end the watchdog's thread: it serves all exchanges.
            with contextlib.suppress(Exception):
                # Not SSLSocket.shutdown: it drops the TLS state under the feet of the thread that reads.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _Watchdog:
    """One thread that ends exchanges at their deadline."""

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


def _is_not_ours(record: logging.LogRecord) -> bool:
    return getattr(_local, "exchange", None) is None


# Headers that it cannot read it logs as they are, and the address, which may hold a phone number.
logging.getLogger("urllib3.connection").addFilter(_is_not_ours)


def _after_fork() -> None:
    # Airflow forks its task processes: threads do not come along, and a lock may have been held.
    global _watchdog, _local
    _watchdog = _Watchdog()
    _local = threading.local()


os.register_at_fork(after_in_child=_after_fork)


#: A status without an answer behind it: the connection speaks another protocol from then on.
_SWITCHING_PROTOCOLS = 101


class _FinalResponse(PlainResponse):
    """The answer behind all interim ones. ``http.client`` knows 100 alone, and takes any other 1xx for the answer.

    Then the real one would still be on its way, and be taken for the answer to the next request.
    """

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]
        interim = 100 <= status < 200 and status != _SWITCHING_PROTOCOLS
        return version, 100 if interim else status, reason


class _NotingMixin:
    """A connection that connects first, then notes that a byte of the request is about to be written."""

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
        # The TLS handshake takes the socket over, and a duplicate is the only handle left while it lasts.
        self.__dict__["_handshake"] = sock.dup()
        exchange.watch(self.__dict__["_handshake"])
        return sock

    def _connected(self, exchange: _Exchange) -> socket.socket:
        """Connect to one of the host's addresses, as urllib3 does, which would grant the timeout to each of them."""
        host, port = self._dns_host, self.port  # type: ignore[attr-defined]
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, allowed_gai_family(), socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NameResolutionError(host, self, error) from error  # type: ignore[arg-type]
        problem: OSError = OSError("the host has no address")
        until = min(time.monotonic() + CONNECT_TIMEOUT, exchange.deadline)
        for place, (family, kind, protocol, _, address) in enumerate(found):
            # What is left is shared, so that one dead address does not use it up.
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
        # A long body may wait for the other side in the middle.
        for piece in _pieces(data) if isinstance(data, bytes) else (data,):
            exchange.write()
            super().send(piece)  # type: ignore[misc]


def _pieces(data: bytes) -> Iterator[bytes]:
    yield from (data[start : start + _PIECE] for start in range(0, len(data), _PIECE))


class _NotingHTTPConnection(_NotingMixin, HTTPConnection):
    pass


class _NotingHTTPSConnection(_NotingMixin, HTTPSConnection):
    pass


class _FreshPoolMixin:
    """A pool that hands a send no connection that has been idle for a while."""

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
    ConnectionCls = _NotingHTTPConnection


class _HTTPSPool(_FreshPoolMixin, HTTPSConnectionPool):
    ConnectionCls = _NotingHTTPSConnection


class _NotingAdapter(HTTPAdapter):
    """The adapter of ``requests`` over pools of noting connections; it never repeats a request."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _use_noting_pools(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return _use_noting_pools(super().proxy_manager_for(*args, **kwargs))


def _use_noting_pools(manager: PoolManager) -> PoolManager:
    manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
    return manager


class _NoCookies(RequestsCookieJar):
    """The API needs no cookies, and a load balancer's would tie all calls to one of its servers."""

    def extract_cookies(self, *args: Any, **kwargs: Any) -> None:
        return None


class _Session(requests.Session):
    """A session that leaves redirects alone; the usual one reads their bodies and trips over bad locations."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def is_loopback(host: str) -> bool:
    """Whether an address stays on this machine. A name does if all that it resolves to does.

    :param host: name or IP address.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    return bool(addresses) and all((getattr(one, "ipv4_mapped", None) or one).is_loopback for one in addresses)


def _proxies_to(base_url: str) -> dict[str, str]:
    """Return the environment's proxies: none for this machine, where the token would go to them in the clear.

    :param base_url: where the API is.
    :raises WtsInvalidRequestError: when the proxy is of a kind that is not supported.
    """
    found: dict[str, str] = dict(get_environ_proxies(base_url))
    # As curl reads it. requests takes the name before a port for a scheme.
    proxies = {name: proxy if "://" in proxy else f"http://{proxy}" for name, proxy in found.items()}
    proxy = select_proxy(base_url, proxies)
    if not proxy:
        return proxies
    if is_loopback(urlsplit(base_url).hostname or ""):
        return {}
    host = urlsplit(base_url).hostname
    scheme = proxy.partition("://")[0].lower()
    # Not quoted: it may hold a password.
    if scheme not in ("http", "https"):
        raise WtsInvalidRequestError(
            f"The proxy that {_source_of(proxy)} names is a {scheme} proxy. This provider supports http and https "
            f"proxies only. Nothing was sent. Name another proxy, or add {host} to NO_PROXY."
        )
    if not _is_address(proxy):
        raise WtsInvalidRequestError(
            f"The proxy that {_source_of(proxy)} names is not an address of a proxy. Nothing was sent. Correct it, or "
            f"add {host} to NO_PROXY. Example: http://proxy.example.com:3128"
        )
    return proxies


def _source_of(proxy: str) -> str:
    spellings = (proxy, proxy.removeprefix("http://"))
    names = [name for name in os.environ if name.lower().endswith("_proxy") and os.environ[name] in spellings]
    return f"the environment variable {names[0]}" if names else "the environment"


def _is_address(proxy: str) -> bool:
    try:
        return bool((parse_url(proxy).host or "").encode("idna"))
    except ValueError:
        return False


def _speaks_tls(host: str, port: int) -> bool:
    # Nothing is sent over it, so whose certificate it is does not matter.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), timeout=_PROBE_TIMEOUT) as sock:
            context.wrap_socket(sock, server_hostname=host).close()
    except ssl.SSLError as error:
        # One that wants a client's certificate, or refuses this name, speaks TLS as well.
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
    """Makes single HTTP exchanges with one host; nothing is repeated here and no redirect is followed.

    :param base_url: address of the API, with scheme.
    :param user_agent: value of the ``User-Agent`` header.
    :param ca_bundle: path of a file with certificate authorities; without it the environment's
        (``REQUESTS_CA_BUNDLE``, ``CURL_CA_BUNDLE``), else those that ``requests`` brings.
    """

    def __init__(self, base_url: str, *, user_agent: str, ca_bundle: str | None = None) -> None:
        self._user_agent = user_agent
        from_environment = next((name for name in _CA_VARIABLES if os.environ.get(name)), None)
        self._verify: str | bool = ca_bundle or (os.environ[from_environment] if from_environment else True)
        #: What names the certificate authorities, for errors.
        self.ca_source = (
            f"the environment variable {from_environment}"
            if from_environment and not ca_bundle
            else "the connection's CA bundle"
        )
        # Read once: requests would look through the environment again at every call.
        self._proxies = _proxies_to(base_url)
        proxy = select_proxy(base_url, self._proxies)
        #: How requests go to the host, for errors.
        self.way = f" through the proxy that {_source_of(proxy)} names" if proxy else ""
        self._sessions = threading.local()
        self._base_url = base_url
        self._speaks_tls: bool | None = None
        self._writes_first: bool | None = None

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
        """Send one request and read its whole answer.

        :param method: HTTP method.
        :param url: address without query.
        :param query: query as name and value pairs.
        :param headers: headers beside the usual ones.
        :param content: body as bytes or as a binary file.
        :param auth: what authenticates the request, if anything does.
        :param timeout: seconds for the whole exchange, connecting included.
        :param fresh: take no connection that has been idle for over a second.
        :param before_write: called before each write, when the connection is open; what it raises is raised, and the
            request is not completed.
        :return: the complete answer, whatever its status.
        :raises ExchangeFailed: when no complete answer came.
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

    def speaks_tls(self) -> bool:
        """Whether what listens at an address without TLS wants TLS. Asked once, after an exchange failed."""
        parts = urlsplit(self._base_url)
        if parts.scheme != "http" or select_proxy(self._base_url, self._proxies):
            return False
        if self._speaks_tls is None:
            self._speaks_tls = _speaks_tls(parts.hostname or "", parts.port or 80)
        return self._speaks_tls

    def answers_before_tls(self, failure: ExchangeFailed) -> bool:
        """Whether what listens writes before it is spoken to, as mail and SSH servers do and none with TLS does.

        :param failure: what ended an exchange; asked once, where a handshake ended without a word about TLS.
        """
        parts = urlsplit(self._base_url)
        if parts.scheme != "https" or select_proxy(self._base_url, self._proxies) or not failure.connected:
            return False
        if self._writes_first is None:
            self._writes_first = _writes_first(parts.hostname or "", parts.port or 443)
        return self._writes_first

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
            session.cookies = _NoCookies()
            session.headers["User-Agent"] = self._user_agent
            session.headers["Accept"] = "application/json"
            adapter = _NotingAdapter(pool_connections=4, pool_maxsize=4, max_retries=0)
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
