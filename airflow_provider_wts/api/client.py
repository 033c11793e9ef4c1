"""The client: performs a call with authentication, a deadline, the account's budget, retries and readable errors."""

from __future__ import annotations

import logging
import math
import os
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urlsplit

from tenacity import RetryCallState, Retrying
from tenacity.wait import wait_base

from airflow_provider_wts import __version__
from airflow_provider_wts.api.budget import Budget, account_key
from airflow_provider_wts.api.errors import (
    WtsError,
    WtsInvalidRequestError,
    WtsNotSentError,
    WtsRateLimitError,
    WtsRejectedError,
    WtsUnknownOutcomeError,
    WtsUnreachableError,
    quoted,
)
from airflow_provider_wts.api.outcome import (
    Outcome,
    Verdict,
    date_of,
    judge_failure,
    judge_plain_request_to_tls,
    judge_reply,
    judge_server_without_tls,
)
from airflow_provider_wts.api.pagination import PAGE_SIZE, PagedList
from airflow_provider_wts.api.transport import BearerToken, ExchangeFailed, Transport, is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_wts.api.call import Call

log = logging.getLogger(__name__)

T = TypeVar("T")

DEFAULT_BASE_URL = "https://api.wts.chat"

#: Seconds for one attempt. The vendor's synchronous sends wait up to 25 s themselves.
DEFAULT_TIMEOUT = 60.0
SYNCHRONOUS_WAIT = 25.0
_SYNCHRONOUS = {"send_message_sync", "send_session_message_sync"}

#: Seconds for one attempt when the wait that it belongs to is over.
SHORT_TIMEOUT = 10.0

#: Seconds for which a call is tried again, by what happened.
UNREACHABLE_BUDGET = 5.0
NOT_SENT_BUDGET = 60.0
UNKNOWN_BUDGET = 60.0
RATE_LIMIT_WAIT = 300.0


class Observer(Protocol):
    """Is told what a client does, by all threads that use it. It must not raise."""

    def requested(self, operation_id: str, outcome: str) -> None:
        """Take the outcome of one request: ``rate_limited``, or the name of an :class:`Outcome`."""

    def waited(self, limit: str, seconds: float) -> None:
        """Take the seconds of a wait for a rate limit: for our ``own`` count, or after a 429 of the ``server``."""


class WtsClient:
    """Performs calls of the WTS Chat API. One client serves many threads.

    :param token: the account's API token; a pasted ``Bearer`` in front of it is dropped.
    :param base_url: address of the API; white-label hosts are welcome.
    :param timeout: seconds for one attempt, the answer included.
    :param ca_bundle: path of a file with certificate authorities.
    :param allow_http: allow an address without TLS that is not on this machine.
    :param budget: the account's rate limits; without it one of this process, with the whole limits.
    :param rate_limit_wait: seconds for which a 429 is waited out within a call.
    :param sleep: how to wait between attempts; tests give their own.
    :param user_agent: value of the ``User-Agent`` header.
    :param observer: is told about each request and each wait for a limit.
    :raises WtsInvalidRequestError: when the token or the base URL cannot be right.
    """

    def __init__(
        self,
        token: str,
        *,
        base_url: str = DEFAULT_BASE_URL,
        timeout: float = DEFAULT_TIMEOUT,
        ca_bundle: str | None = None,
        allow_http: bool = False,
        budget: Budget | None = None,
        rate_limit_wait: float = RATE_LIMIT_WAIT,
        sleep: Callable[[float], None] = time.sleep,
        user_agent: str = f"airflow-provider-wts/{__version__}",
        observer: Observer | None = None,
    ) -> None:
        if ca_bundle and not os.path.exists(ca_bundle):
            raise WtsInvalidRequestError(f"The CA bundle {quoted(ca_bundle)} does not exist on this machine.")
        self.base_url = checked_base_url(base_url, allow_http=allow_http)
        token = checked_token(token)
        self.timeout = timeout
        self._auth = BearerToken(token)
        self._budget = budget or Budget(account_key(self.base_url, token))
        self._rate_limit_wait = rate_limit_wait
        self._sleep = sleep
        self._check: Callable[[], None] = _nothing
        self._ca_bundle = ca_bundle or None
        self._allow_http = allow_http
        self._until = self._patient_until = math.inf
        self._user_agent = user_agent
        self._observer = observer
        self._transport = self._transport_to(self.base_url)
        #: What the server's clock said in its last answer (``Date``), where it said anything.
        self.server_date: datetime | None = None
        self._dated_at = 0.0

    def __repr__(self) -> str:
        return f"WtsClient({self.base_url!r})"

    @property
    def longest_timeout(self) -> float:
        """Seconds that one attempt of any call may take."""
        return self.timeout + SYNCHRONOUS_WAIT

    def timeout_of(self, call: Call[Any]) -> float:
        """Return the seconds that one attempt of a call may take."""
        return self.longest_timeout if call.operation_id in _SYNCHRONOUS else self.timeout

    def perform(self, call: Call[T], *, before_write: Callable[[], None] | None = None) -> T:
        """Perform a call, trying again where that is safe.

        :param call: what to call.
        :param before_write: called before each write of a request, the last one included, when all waiting is over and
            the connection is open; what it raises ends the call, and is raised. Without its last byte, no request has
            an effect.
        :return: the answer, parsed; ``None`` where the operation answers nothing.
        :raises WtsInvalidRequestError: when the call cannot become a request. Nothing was sent.
        :raises WtsRejectedError: when the API refuses.
        :raises WtsNotSentError: when nothing reached the API for a while.
        :raises WtsRateLimitError: when the rate limit was not free within ``rate_limit_wait``.
        :raises WtsUnknownOutcomeError: when a send got no usable answer, or a call that may be repeated got none
            in all its attempts.
        """
        retries = _Retries(call, self._rate_limit_wait, self._waits_until)
        try:
            judgement: Verdict = Retrying(
                retry=retries.again,
                wait=retries,
                stop=retries.exhausted,
                sleep=self._sleep,
                before_sleep=retries.announce,
                retry_error_callback=_judgement,
            )(self._attempt, call, retries, before_write)
        finally:
            self._report_wait("server", retries.waited_for_server)
        if judgement.error is not None:
            raise retries.final(judgement.error) from None
        value: T = judgement.value
        return value

    def perform_once(self, call: Call[T]) -> T:
        """Perform a call in one attempt, for somebody who waits for the answer.

        :param call: what to call.
        :return: the answer, parsed; ``None`` where the operation answers nothing.
        :raises WtsError: as :meth:`perform`.
        """
        judgement = self._attempt(call, _Retries(call, 0.0, self._waits_until))
        if judgement.error is not None:
            raise judgement.error
        value: T = judgement.value
        return value

    def pages(self, call: Call[T], *, page_size: int | None = PAGE_SIZE) -> Iterator[T]:
        """Walk the pages of a list; a page that fails is tried again as a page.

        The API promises no snapshot: rows move between the pages while these are read. So a list of more than one page
        is read again until a pass shows nothing new.

        :param call: a call of a paged operation.
        :param page_size: items per page, 1 to 100; ``None`` leaves it to the call.
        :return: the pages, as the API sends them, each with the items that no page before it had.
        :raises WtsInvalidRequestError: when the operation is not paged.
        :raises WtsIncompleteListError: at the end, when the list cannot be shown to be complete.
        :raises WtsRejectedError: when the server returns another page than the requested one.
        :raises WtsError: as :meth:`perform`.
        """
        listed: Iterator[Any] = self._listed(call, page_size).pages()
        return listed

    def items(self, call: Call[Any], *, page_size: int | None = PAGE_SIZE) -> Iterator[Any]:
        """Walk the items of a list, paged or not, each once.

        :param call: a call of an operation that lists something.
        :param page_size: items per page, 1 to 100.
        :return: the items, one after the other.
        :raises WtsIncompleteListError: as :meth:`pages`.
        :raises WtsError: as :meth:`perform`.
        """
        if not call.operation.paged:
            answer = self.perform(call)
            yield from answer if isinstance(answer, list) else []
            return
        for page in self._listed(call, page_size).pages():
            yield from page["items"]

    def now(self) -> datetime:
        """Return the server's time, by the ``Date`` of its last answer; this machine's time before there is one.

        It is never ahead of the server's clock, and behind it by up to a second and the time of one request.
        """
        if self.server_date is None:
            return datetime.now(UTC)
        return self.server_date + timedelta(seconds=time.monotonic() - self._dated_at)

    def _listed(self, call: Call[Any], page_size: int | None) -> PagedList:
        return PagedList(self.perform, call, page_size=page_size, now=self.now, sleep=self._sleep)

    def put_content(self, url: str, file: IO[bytes], size: int, *, mime_type: str | None = None) -> None:
        """Put the content of a file to the address that ``get_file_upload_url`` answered, once and block by block.

        The address is another host's: the token does not go there, and the account's limits do not count.

        :param url: ``urlUpload``.
        :param file: the file, open for reading, at its beginning.
        :param size: its length in bytes.
        :param mime_type: the MIME type that the API was given.
        :raises WtsNotSentError: when the storage was not reached.
        :raises WtsUnknownOutcomeError: when it gave no usable answer; starting the upload over does no harm.
        :raises WtsRejectedError: when it refuses the content, or its address is none for a file.
        """
        from airflow_provider_wts.api.files import Content, put_content

        transport = self._transport_to(checked_upload_url(url, allow_http=self._allow_http))
        try:
            put_content(transport, url, Content(file, size), mime_type=mime_type, timeout=self.timeout)
        finally:
            transport.close()

    def problem_of_shared_limits(self) -> str | None:
        """Say what is wrong with the Redis server of the rate limits, without its address; ``None``: nothing."""
        return self._budget.problem_of_redis()

    def stop_at(self, until: float) -> None:
        """Let no request and no wait of this client go on after a time, whatever it is for.

        :param until: the time, by ``time.monotonic``.
        """
        self._until = until

    def wait_until(self, until: float) -> None:
        """Wait for no limit and for no further attempt after a time, and then for each answer a few seconds only.

        :param until: the time, by ``time.monotonic``.
        """
        self._patient_until = until

    @property
    def _waits_until(self) -> float:
        return min(self._until, self._patient_until)

    @contextmanager
    def ended_by(self, check: Callable[[], None], sleep: Callable[[float], None]) -> Iterator[None]:
        """Let something end the calls of this client before a request and while they wait. Nothing was sent then.

        :param check: called before each request; what it raises ends the call.
        :param sleep: waits so many seconds for a limit or between attempts; what it raises ends the call.
        """
        before = self._check, self._sleep
        self._check, self._sleep = check, sleep
        try:
            yield
        finally:
            self._check, self._sleep = before

    def close(self) -> None:
        """Close the connections of the calling thread."""
        self._transport.close()

    def _transport_to(self, url: str) -> Transport:
        return Transport(url, user_agent=self._user_agent, ca_bundle=self._ca_bundle)

    def _attempt(self, call: Call[Any], retries: _Retries, before_write: Callable[[], None] | None = None) -> Verdict:
        operation = call.operation
        self._check()
        try:
            waited = self._budget.acquire(operation, most=self._waits_until - time.monotonic(), sleep=self._sleep)
        except WtsRateLimitError as error:
            return Verdict(Outcome.NOT_SENT, error=error)
        retries.waited_for_budget += waited
        self._report_wait("own", waited)
        left = self._until - time.monotonic()
        if left <= 0:
            return Verdict(Outcome.NOT_SENT, error=_out_of_time(operation.operation_id))
        patience = max(self._patient_until - time.monotonic(), SHORT_TIMEOUT)
        verdict = self._request(call, min(left, patience), before_write)
        if self._observer is not None:
            limited = isinstance(verdict.error, WtsRateLimitError)
            outcome = "rate_limited" if limited else verdict.outcome.name.lower()
            self._observer.requested(operation.operation_id, outcome)
        return verdict

    def _report_wait(self, limit: str, seconds: float) -> None:
        if self._observer is not None and seconds > 0:
            self._observer.waited(limit, seconds)

    def _request(self, call: Call[Any], left: float, before_write: Callable[[], None] | None) -> Verdict:
        operation, content = call.operation, call.content
        try:
            reply = self._transport.exchange(
                operation.method,
                self.base_url + call.url_path,
                query=call.query_pairs,
                headers={"Content-Type": "application/json"} if content is not None else None,
                content=content,
                auth=self._auth,
                timeout=min(self.timeout_of(call), left),
                fresh=not call.repeatable,
                before_write=before_write,
            )
        except ExchangeFailed as failure:
            host, transport = urlsplit(self.base_url).netloc, self._transport
            if failure.written and not failure.late and transport.speaks_tls():
                return judge_plain_request_to_tls(operation, host)
            if not failure.written and transport.answers_before_tls(failure):
                return judge_server_without_tls(operation, host, "it writes first")
            return judge_failure(operation, failure, f"{host}{transport.way}", transport.ca_source)
        if (date := date_of(reply.headers)) is not None:
            self.server_date, self._dated_at = date, time.monotonic()
        if reply.status == 400 and _is_plain_text(reply.body) and self._transport.speaks_tls():
            return judge_plain_request_to_tls(operation, urlsplit(self.base_url).netloc)
        judgement = judge_reply(operation, self._auth.hide(reply), call.asked_id, call.sender_id)
        if judgement.outcome is Outcome.UNKNOWN:
            # It may have been the answer to another request. Then those that follow on this connection are, too.
            self._transport.close()
        if judgement.error is not None:
            self._auth.hide_in(judgement.error)
        return judgement


def _nothing() -> None: ...


class _Retries(wait_base):
    """The retry policy of one call, in the terms of tenacity: how long, and until when.

    Each class of failure has a time budget of its own, counted from the start of the call.
    """

    def __init__(self, call: Call[Any], rate_limit_wait: float, until: float) -> None:
        self._call = call
        self._until = until
        self._rate_limit_wait = rate_limit_wait
        # Waiting for our own budget is no failure, so it does not use up the time for retries. Nor does waiting out
        # a 429 use up the time for other failures.
        self.waited_for_budget = 0.0
        self.waited_for_server = 0.0
        self._slept = 0.0
        self._refusals = 0
        self._failures = 0
        self._uncertain = False

    def again(self, state: RetryCallState) -> bool:
        judgement = _judgement(state)
        if judgement.outcome is Outcome.UNKNOWN:
            self._uncertain = True
            return self._call.repeatable
        if judgement.outcome is Outcome.ODD:
            return True
        return judgement.outcome is Outcome.NOT_SENT and getattr(judgement.error, "passing", True)

    def exhausted(self, state: RetryCallState) -> bool:
        error = _judgement(state).error
        waited = self._slept
        if isinstance(error, WtsRateLimitError):
            budget, waited = self._rate_limit_wait, self.waited_for_server
        elif isinstance(error, WtsUnreachableError):
            budget = UNREACHABLE_BUDGET
        elif isinstance(error, WtsNotSentError):
            budget = NOT_SENT_BUDGET
        else:
            budget = UNKNOWN_BUDGET
        spent = max(waited, (state.seconds_since_start or 0.0) - self.waited_for_budget - self.waited_for_server)
        return spent + state.upcoming_sleep > budget or time.monotonic() + state.upcoming_sleep >= self._until

    def __call__(self, retry_state: RetryCallState) -> float:
        error = _judgement(retry_state).error
        spread = 0.75 + 0.5 * int.from_bytes(os.urandom(2)) / 0xFFFF
        if isinstance(error, WtsRateLimitError):
            # Asking sooner than WTS Chat says is useless; many workers asking at the same time is, too.
            self._refusals += 1
            least = error.retry_after * (1 + (spread - 0.75) / 2)
            return min(least * 2.0 ** (self._refusals - 1), max(60.0, least))
        self._failures += 1
        return min(0.5 * 2.0 ** (self._failures - 1), 15.0) * spread

    def announce(self, state: RetryCallState) -> None:
        """Say in the log what happened and when the next attempt comes."""
        error = _judgement(state).error
        if isinstance(error, WtsRateLimitError):
            self.waited_for_server += state.upcoming_sleep
        else:
            self._slept += state.upcoming_sleep
        log.warning("%s Trying again in %.1f s.", error, state.upcoming_sleep)

    def final(self, error: WtsError) -> WtsError:
        """Return what to raise, with a word where an earlier attempt may have done what this one did not."""
        if self._uncertain and not isinstance(error, WtsUnknownOutcomeError):
            error.add_note("An earlier attempt of this call got no answer; it may have taken effect.")
        return error


#: No token holds them; they come along when one is copied from code or from a message.
_QUOTES = "\"'`\u00b4\u2018\u2019\u201c\u201d"


def _bare(text: str) -> str:
    while (bare := text.strip().strip(_QUOTES)) != text:
        text = bare
    return text


def checked_token(token: str) -> str:
    """Return a token that can be in a header, without a pasted ``Bearer`` and without quotes around it.

    :param token: what the user typed.
    :raises WtsInvalidRequestError: when nothing is left, or it holds what no token holds. Never quotes it.
    """
    token = _bare(token)
    while (words := token.split(maxsplit=1)) and words[0].lower() == "bearer":
        token = _bare("".join(words[1:]))
    if not token:
        raise WtsInvalidRequestError(
            "The WTS Chat API token is missing. Put it into the password field of the Airflow connection; it starts "
            "with pn_."
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise WtsInvalidRequestError(
            "The WTS Chat API token holds a space, a line break or another character that no token has. Paste it "
            "again, alone."
        )
    return token


def checked_base_url(base_url: str, *, allow_http: bool) -> str:
    """Return a base URL without a trailing slash.

    :param base_url: scheme, host, and port and path where there are any.
    :param allow_http: allow an address without TLS that is not on this machine.
    :raises WtsInvalidRequestError: when it is no base URL, or would send the token unencrypted over a network.
    """
    try:
        parts = urlsplit(base_url.strip())
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise WtsInvalidRequestError(f"The base URL cannot be read: {error}.") from None
    example = f"Example: {DEFAULT_BASE_URL}."
    if parts.username is not None or parts.password is not None:
        raise WtsInvalidRequestError(f"The base URL holds a user name or password. {example}")
    address = base_url.strip()
    if parts.scheme not in ("http", "https") or not host or not address.isprintable() or set(address) & set(" \\"):
        raise WtsInvalidRequestError(f"The base URL {quoted(base_url)} is not an http(s) address. {example}")
    if parts.query or parts.fragment:
        # Not quoted: people paste tokens there.
        raise WtsInvalidRequestError(f"The base URL has a query or fragment. {example}")
    try:
        host.encode("idna")
    except UnicodeError:
        raise WtsInvalidRequestError(f"The host {quoted(host)} in the base URL is not a host name. {example}") from None
    if parts.scheme == "http" and not allow_http and not is_loopback(host):
        raise WtsInvalidRequestError(
            f"The base URL {quoted(base_url)} would send the token unencrypted. Use https, or set allow_http in the "
            "connection's extras for a test network."
        )
    netloc = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{netloc}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


def checked_upload_url(url: str, *, allow_http: bool) -> str:
    """Return an address for the content of a file, which may be a customer's.

    :param url: what the API answered. Never quoted: it is a secret as long as it lives.
    :param allow_http: allow an address without TLS that is not on this machine.
    :raises WtsRejectedError: when it is none, or would send the content unencrypted over a network.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    secure = parts.scheme == "https" or (parts.scheme == "http" and (allow_http or is_loopback(host or "")))
    if not host or not secure:
        raise WtsRejectedError(
            f"upload: the address that WTS Chat gave for the content is not an https address"
            f"{f', on {host}' * bool(host)}. Nothing was sent there.",
            operation_id="upload",
        )
    return url


def _out_of_time(operation_id: str) -> WtsNotSentError:
    return WtsNotSentError(
        f"{operation_id}: the time for this was over before the request could go out. Nothing was sent.",
        operation_id=operation_id,
    )


def _is_plain_text(body: bytes) -> bool:
    return not body.lstrip().startswith((b"{", b"["))


def _judgement(state: RetryCallState) -> Verdict:
    assert state.outcome is not None  # noqa: S101  # tenacity asks only after an attempt
    judgement: Verdict = state.outcome.result()
    return judgement
