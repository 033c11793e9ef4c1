"""The client: performs calls with authentication, deadlines, rate limits, retries and readable errors."""

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
from airflow_provider_wts.api.transport import BearerToken, ExchangeFailed, Transport, is_address, is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_wts.api.call import Call

log = logging.getLogger(__name__)

T = TypeVar("T")

DEFAULT_BASE_URL = "https://api.wts.chat"

#: Seconds for one attempt. WTS Chat's synchronous sends themselves wait up to 25 s.
DEFAULT_TIMEOUT = 60.0
SYNCHRONOUS_WAIT = 25.0
_SYNCHRONOUS = {"send_message_sync", "send_session_message_sync"}

#: Seconds for one attempt after :meth:`WtsClient.wait_until`.
SHORT_TIMEOUT = 10.0

#: Seconds for which a call is retried, by what happened.
UNREACHABLE_BUDGET = 5.0
NOT_SENT_BUDGET = 60.0
UNKNOWN_BUDGET = 60.0
RATE_LIMIT_WAIT = 300.0


class Observer(Protocol):
    """Receives events from all threads that use a client. It must not raise."""

    def requested(self, operation_id: str, outcome: str) -> None:
        """Handle the outcome of a request: ``rate_limited``, or the name of an :class:`Outcome`."""

    def waited(self, limit: str, seconds: float) -> None:
        """Handle a wait for a rate limit: for our ``own`` count, or after a 429 from the ``server``."""


class WtsClient:
    """Performs calls of the WTS Chat API. It is thread-safe.

    :param token: the account's API token; a leading ``Bearer`` is removed.
    :param base_url: address of the API, also of a white-label host.
    :param timeout: seconds for one attempt, including the answer.
    :param ca_bundle: path of a file with certificate authorities.
    :param allow_http: whether to allow addresses without TLS outside this machine.
    :param budget: the account's rate limits; by default, the full limits, counted by this process.
    :param rate_limit_wait: seconds for which a call retries after a 429.
    :param sleep: waits between attempts.
    :param observer: receives each request and each wait for a limit.
    :raises WtsInvalidRequestError: when the token or the base URL is invalid.
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
        self._check: Callable[[], None] = lambda: None
        self._ca_bundle = ca_bundle or None
        self._allow_http = allow_http
        self._until = self._patient_until = math.inf
        self._user_agent = user_agent
        self._observer = observer
        self._transport = self._transport_to(self.base_url)
        #: The server's time in its last answer (``Date``), if any.
        self.server_date: datetime | None = None
        self._dated_at = 0.0

    def __repr__(self) -> str:
        return f"WtsClient({self.base_url!r})"

    @property
    def longest_timeout(self) -> float:
        """Maximum seconds for one attempt of any call."""
        return self.timeout + SYNCHRONOUS_WAIT

    def timeout_of(self, call: Call[Any]) -> float:
        """Return the maximum seconds for one attempt of a call."""
        return self.longest_timeout if call.operation_id in _SYNCHRONOUS else self.timeout

    def perform(self, call: Call[T], *, before_write: Callable[[], None] | None = None) -> T:
        """Perform a call, and retry it if that is safe.

        :param before_write: called before each write of a request, including the last one, when all waiting is over
            and the connection is open. An exception it raises ends the call: a request has no effect without its last
            byte.
        :return: the parsed answer; ``None`` if the operation returns nothing.
        :raises WtsInvalidRequestError: when the call is not a valid request. Nothing was sent.
        :raises WtsRejectedError: when the API refuses it.
        :raises WtsNotSentError: when nothing reached the API, even with retries.
        :raises WtsRateLimitError: when the rate limit did not reset within ``rate_limit_wait``.
        :raises WtsUnknownOutcomeError: when a send got no usable answer, or a repeatable call got none in all its
            attempts.
        """
        retries = _Retries(call, self._rate_limit_wait, self._waits_until)
        try:
            verdict: Verdict = Retrying(
                retry=retries.again,
                wait=retries,
                stop=retries.exhausted,
                sleep=self._sleep,
                before_sleep=retries.announce,
                retry_error_callback=_verdict,
            )(self._attempt, call, retries, before_write)
        finally:
            self._report_wait("server", retries.waited_for_server)
        if verdict.error is not None:
            raise retries.final(verdict.error) from None
        value: T = verdict.value
        return value

    def perform_once(self, call: Call[T]) -> T:
        """Perform a call without retries.

        :return: the parsed answer; ``None`` if the operation returns nothing.
        :raises WtsError: as :meth:`perform`.
        """
        verdict = self._attempt(call, _Retries(call, 0.0, self._waits_until))
        if verdict.error is not None:
            raise verdict.error
        value: T = verdict.value
        return value

    def pages(self, call: Call[T], *, page_size: int | None = PAGE_SIZE) -> Iterator[T]:
        """Iterate over the pages of a list, retrying each page by itself.

        The API guarantees no snapshot: rows may move between pages during the read. So a list of several pages is read
        again until a pass shows nothing new.

        :param page_size: items per page, 1 to 100; ``None`` for the call's own page size.
        :return: the pages, as the API sends them, but without items of earlier pages.
        :raises WtsInvalidRequestError: when the operation is not paged.
        :raises WtsIncompleteListError: at the end, when the list may be incomplete.
        :raises WtsRejectedError: when the server returns another page than the requested one.
        :raises WtsError: as :meth:`perform`.
        """
        listed: Iterator[Any] = self._listed(call, page_size).pages()
        return listed

    def items(self, call: Call[Any], *, page_size: int | None = PAGE_SIZE) -> Iterator[Any]:
        """Iterate over the items of a list, paged or not, each once.

        :param page_size: items per page, 1 to 100.
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
        """Return the server's time, from the ``Date`` of its last answer; before the first, this machine's time.

        It is never ahead of the server's clock, and at most a second plus the time of one request behind it.
        """
        if self.server_date is None:
            return datetime.now(UTC)
        return self.server_date + timedelta(seconds=time.monotonic() - self._dated_at)

    def _listed(self, call: Call[Any], page_size: int | None) -> PagedList:
        return PagedList(self.perform, call, page_size=page_size, now=self.now, sleep=self._sleep)

    def put_content(self, url: str, file: IO[bytes], size: int, *, mime_type: str | None = None) -> None:
        """Stream the content of a file to the address from ``get_file_upload_url``, without retries.

        The address is on another host: it does not get the token, and the account's limits do not apply.

        :param url: ``urlUpload``.
        :param file: the file, open for reading, at its beginning.
        :param size: its length in bytes.
        :param mime_type: the MIME type that the API was given.
        :raises WtsNotSentError: when the storage was not reached.
        :raises WtsUnknownOutcomeError: when it gave no usable answer; starting the upload over does no harm.
        :raises WtsRejectedError: when it refuses the content, or the address is invalid.
        """
        from airflow_provider_wts.api.files import Content, put_content

        transport = self._transport_to(checked_upload_url(url, allow_http=self._allow_http))
        try:
            put_content(transport, url, Content(file, size), mime_type=mime_type, timeout=self.timeout)
        finally:
            transport.close()

    def problem_of_shared_limits(self) -> str | None:
        """Return what is wrong with the Redis server of the rate limits, without its address, or ``None``."""
        return self._budget.problem_of_redis()

    def stop_at(self, until: float) -> None:
        """Stop all requests and waits of this client at a time.

        :param until: the time, by ``time.monotonic``.
        """
        self._until = until

    def wait_until(self, until: float) -> None:
        """After a time, do not wait for limits or retries, and wait only a few seconds for each answer.

        :param until: the time, by ``time.monotonic``.
        """
        self._patient_until = until

    @property
    def _waits_until(self) -> float:
        return min(self._until, self._patient_until)

    @contextmanager
    def ended_by(self, check: Callable[[], None], sleep: Callable[[float], None]) -> Iterator[None]:
        """Let callbacks end the calls of this client, before a request or during a wait, when nothing has been sent.

        :param check: called before each request; an exception it raises ends the call.
        :param sleep: waits for a limit or between attempts; an exception it raises ends the call.
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
        if call.content is not None and self._auth.is_in(call.content):
            raise WtsInvalidRequestError(
                f"{operation.operation_id}: the request's body contains the connection's token, so nothing was sent. "
                "Perhaps a customer's name or text is a template, such as '{{ conn.wts_default.password }}', which "
                "Airflow rendered because of expand_kwargs. Use expand or a campaign, which do not render it.",
                operation_id=operation.operation_id,
            )
        self._check()
        try:
            waited = self._budget.acquire(operation, most=self._waits_until - time.monotonic(), sleep=self._sleep)
        except WtsRateLimitError as error:
            return Verdict(Outcome.NOT_SENT, error=error)
        retries.waited_for_budget += waited
        self._report_wait("own", waited)
        left = self._until - time.monotonic()
        if left <= 0:
            name = operation.operation_id
            late = f"{name}: the deadline passed before the request could go out. Nothing was sent."
            return Verdict(Outcome.NOT_SENT, error=WtsNotSentError(late, operation_id=name))
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
            if failure.written and not failure.late and transport.speaks_tls:
                return judge_plain_request_to_tls(operation, host)
            if failure.connected and not failure.written and transport.writes_first:
                return judge_server_without_tls(operation, host, "it writes first")
            return judge_failure(operation, failure, f"{host}{transport.way}", transport.ca_source)
        if (date := date_of(reply.headers)) is not None:
            self.server_date, self._dated_at = date, time.monotonic()
        is_json = reply.body.lstrip().startswith((b"{", b"["))
        if reply.status == 400 and not is_json and self._transport.speaks_tls:
            return judge_plain_request_to_tls(operation, urlsplit(self.base_url).netloc)
        verdict = judge_reply(
            operation,
            self._auth.hide(reply),
            call.asked_id,
            call.sender_id,
            may_skip=call.may_skip,
            lenient=call.lenient,
        )
        if verdict.outcome is Outcome.UNKNOWN:
            # This may be the answer to another request, and so may all later ones on this connection.
            self._transport.close()
        if verdict.error is not None:
            self._auth.hide_in(verdict.error)
        return verdict


class _Retries(wait_base):
    """The retry policy of one call, for tenacity: each class of failure has its own time from the start of the call."""

    def __init__(self, call: Call[Any], rate_limit_wait: float, until: float) -> None:
        self._call = call
        self._until = until
        self._rate_limit_wait = rate_limit_wait
        # Waiting for our own rate limit is not a failure, so it does not count against the retry budgets. Nor does
        # waiting after a 429 count against those of other failures.
        self.waited_for_budget = 0.0
        self.waited_for_server = 0.0
        self._slept = 0.0
        self._refusals = 0
        self._failures = 0
        self._uncertain = False

    def again(self, state: RetryCallState) -> bool:
        verdict = _verdict(state)
        self._uncertain = self._uncertain or (verdict.may_have_acted and not self._call.reads)
        if verdict.outcome is Outcome.UNKNOWN:
            return self._call.repeatable
        if verdict.outcome is Outcome.ODD:
            return True
        return verdict.outcome is Outcome.NOT_SENT and getattr(verdict.error, "passing", True)

    def exhausted(self, state: RetryCallState) -> bool:
        error = _verdict(state).error
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
        error = _verdict(retry_state).error
        spread = 0.75 + 0.5 * int.from_bytes(os.urandom(2)) / 0xFFFF
        if isinstance(error, WtsRateLimitError):
            # Retrying earlier than WTS Chat says is pointless, and so is retrying with many workers at the same time.
            self._refusals += 1
            least = error.retry_after * (1 + (spread - 0.75) / 2)
            return min(least * 2.0 ** (self._refusals - 1), max(60.0, least))
        self._failures += 1
        return min(0.5 * 2.0 ** (self._failures - 1), 15.0) * spread

    def announce(self, state: RetryCallState) -> None:
        """Log what happened, and when the next attempt comes."""
        error = _verdict(state).error
        if isinstance(error, WtsRateLimitError):
            self.waited_for_server += state.upcoming_sleep
        else:
            self._slept += state.upcoming_sleep
        log.warning("%s Retrying in %.1f s.", error, state.upcoming_sleep)

    def final(self, error: WtsError) -> WtsError:
        """Return the error to raise, with a note if an attempt may have taken effect."""
        if self._uncertain and not isinstance(error, WtsUnknownOutcomeError):
            error.add_note("An attempt of this call got no usable answer; it may have taken effect.")
            if isinstance(error, WtsRejectedError):
                error.in_doubt = True
        return error


#: Quotes that are often copied along with a token from code or a message.
_QUOTES = "\"'`\u00b4\u2018\u2019\u201c\u201d"


def _bare(text: str) -> str:
    while (bare := text.strip().strip(_QUOTES)) != text:
        text = bare
    return text


def checked_token(token: str) -> str:
    """Return a token without a leading ``Bearer`` and surrounding quotes.

    :raises WtsInvalidRequestError: when it is empty or has invalid characters. The error never quotes it.
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
            "The WTS Chat API token contains a space, a line break or another invalid character. Paste only the token."
        )
    return token


def checked_base_url(base_url: str, *, allow_http: bool) -> str:
    """Return a base URL without a trailing slash.

    :param base_url: scheme and host, with optional port and path.
    :param allow_http: whether to allow addresses without TLS outside this machine.
    :raises WtsInvalidRequestError: when it is not a valid base URL, or would send the token unencrypted over a network.
    """
    example = f"Example: {DEFAULT_BASE_URL}."
    try:
        parts = urlsplit(base_url.strip())
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise WtsInvalidRequestError(f"The base URL cannot be read: {error}. {example}") from None
    if parts.username is not None or parts.password is not None:
        raise WtsInvalidRequestError(f"The base URL must not contain a user name or password. {example}")
    address = base_url.strip()
    is_http = parts.scheme in ("http", "https") and host not in ("http", "https")
    if not is_http or not host or not address.isprintable() or set(address) & set(" \\"):
        raise WtsInvalidRequestError(f"The base URL {quoted(base_url)} is not an http(s) address. {example}")
    if parts.query or parts.fragment:
        # Not quoted, because people paste tokens there.
        raise WtsInvalidRequestError(f"The base URL must not have a query or fragment. {example}")
    if not is_address(address):
        raise WtsInvalidRequestError(f"The host {quoted(host)} in the base URL is not a host name. {example}")
    if parts.scheme == "http" and not allow_http and not is_loopback(host):
        raise WtsInvalidRequestError(
            f"The base URL {quoted(base_url)} would send the token unencrypted. Use https, or set allow_http in the "
            "connection's extras for a test network."
        )
    netloc = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{netloc}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


def checked_upload_url(url: str, *, allow_http: bool) -> str:
    """Return an address for the content of a file.

    :param url: the API's answer. It is never quoted, because it is a secret while it is valid.
    :param allow_http: whether to allow addresses without TLS outside this machine.
    :raises WtsRejectedError: when it is invalid, or would send the content unencrypted over a network.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    secure = parts.scheme == "https" or (parts.scheme == "http" and (allow_http or is_loopback(host or "")))
    if not host or not secure:
        raise WtsRejectedError(
            f"upload: the address that WTS Chat returned for the content is not an https address"
            f"{f', on {host}' * bool(host)}. Nothing was sent there.",
            operation_id="upload",
        )
    return url


def _verdict(state: RetryCallState) -> Verdict:
    assert state.outcome is not None  # noqa: S101  # tenacity only asks after an attempt
    verdict: Verdict = state.outcome.result()
    return verdict
