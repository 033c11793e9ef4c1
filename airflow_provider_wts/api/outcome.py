"""The outcome of one attempt.

Every attempt is classified once, here:

- **answered**: the API performed the call, and returned its answer.
- **rejected**: the API refused the call, and would refuse it again.
- **odd**: a repeatable call was answered by something other than the API: a redirect, or a web page. A gateway does
  that while the API restarts; with a wrong base URL, it happens forever. The call is retried for a while. For a send,
  302 and 303 are *unknown*, and the rest *rejected*.
- **not sent**: nothing took effect. Any call may be retried.
- **unknown**: the call may have taken effect. A repeatable call is retried; a send is not.
"""

from __future__ import annotations

import email.utils
import errno
import logging
import re
import socket
import ssl
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_wts.api.answers import normalize_enums, parsed, problem_of, shows_id, without_odd_fields
from airflow_provider_wts.api.budget import ACCOUNT_LIMITS
from airflow_provider_wts.api.errors import (
    WtsAuthenticationError,
    WtsError,
    WtsNotFoundError,
    WtsNotSentError,
    WtsRateLimitError,
    WtsRejectedError,
    WtsUnexpectedAnswerError,
    WtsUnknownOutcomeError,
    WtsUnreachableError,
)
from airflow_provider_wts.api.messages import shows_outcome
from airflow_provider_wts.api.personal_data import without_personal_data
from airflow_provider_wts.api.transport import AnswerTooLargeError, ExchangeFailed, Reply
from airflow_provider_wts.api.wire import is_uuid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_wts.api.contract import Operation


log = logging.getLogger(__name__)


class Outcome(Enum):
    """The outcome of an attempt."""

    ANSWERED = "answered"
    REJECTED = "rejected"
    ODD = "odd"
    NOT_SENT = "not sent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The classification of an attempt.

    :param value: the parsed answer, if the outcome is ``ANSWERED``.
    :param error: the error to raise otherwise.
    """

    outcome: Outcome
    value: Any = None
    error: WtsError | None = None

    @property
    def may_have_acted(self) -> bool:
        """Whether a write may have taken effect, although it got no usable answer."""
        if self.outcome is Outcome.ODD and isinstance(self.error, WtsRejectedError):
            status = self.error.status or 0
            return 200 <= status < 300 or status in _REDIRECTS_AFTER_SUCCESS
        return self.outcome is Outcome.UNKNOWN


#: Prefixes of the keys of refusals with status 500. INFERRED from integrators' reports; other keys mean unknown.
_BUSINESS_KEY_PREFIXES = ("FORM_ERROR", "ENTITY_")

#: Fields of the API's refusals, each of which has one of them at least. Gateways write others, such as ``message``.
_FIELDS_OF_REFUSALS = {"key", "text", "httpStatusCode", "type", "title"}

#: Redirects that a server may return after performing a request. The others mean that it did nothing.
_REDIRECTS_AFTER_SUCCESS = (302, 303)

#: Servers whose clocks show an earlier year have not set them since they started.
_FIRST_YEAR = 2020

#: Seconds to wait after a 429 without ``Retry-After``, before backing off further.
DEFAULT_RETRY_AFTER = 5.0

#: Limit of ``Retry-After``: no documented rate limit lasts longer, and an odd answer must not stop all waits for hours.
_LONGEST_RETRY_AFTER = float(max(limit.seconds for limit in ACCOUNT_LIMITS))

_UNCERTAIN = (
    "may have taken effect, so it is not resent automatically. Check in WTS Chat whether it arrived before you repeat "
    "it."
)


def judge_reply(
    operation: Operation,
    reply: Reply,
    asked_id: str | None = None,
    sender_id: str | None = None,
    *,
    may_skip: bool = False,
    lenient: bool = False,
) -> Verdict:
    """Classify a complete answer.

    :param asked_id: the ID of the object that was requested, if any.
    :param sender_id: the caller's own ID of a send, if any.
    :param may_skip: whether the request allows doing nothing.
    :param lenient: whether fields that do not match the contract count as missing.
    """
    status = reply.status
    if 200 <= status < 300:
        return _judge_success(operation, reply, asked_id, sender_id, may_skip=may_skip, lenient=lenient)
    if status in _REDIRECTS_AFTER_SUCCESS and operation.effect == "once":
        return _unknown(operation, f"HTTP {status}. {_redirect_words(reply).removesuffix('.')}", status)
    if 300 <= status < 400:
        words = f"{_redirect_words(reply)}{' Nothing was sent.' * (operation.effect == 'once')}"
        return _odd(operation, _rejected(operation, reply, WtsRejectedError, words))
    if status == 429:
        return _not_sent(
            WtsRateLimitError(
                f"{operation.operation_id}: the account's rate limit is used up (HTTP 429).",
                operation_id=operation.operation_id,
                retry_after=retry_after(reply.headers) or DEFAULT_RETRY_AFTER,
            )
        )
    envelope = _envelope(reply)
    key = _text(envelope.get("key"))
    if operation.effect != "once" and 400 <= status < 500 and status not in (401, 408) and not envelope:
        # It comes from a gateway, and shows nothing about the request.
        return _odd(operation, _rejected(operation, reply, WtsRejectedError, "Something refused the request."))
    if status in (401, 403):
        words = (
            "The API refused the token. Check the token in the Airflow connection; in WTS Chat, it is under "
            "Ajustes > Integrações > Integração via API."
        )
        return _rejected(operation, reply, WtsAuthenticationError, words)
    if status == 404:
        return _rejected(operation, reply, WtsNotFoundError, "Nothing was found. Check the IDs in the request.")
    is_business = status == 500 and key is not None and key.startswith(_BUSINESS_KEY_PREFIXES)
    is_form_without_contact = key == "FORM_ERROR" and operation.operation_id == "get_contact_by_phone"
    if is_business and (key == "ENTITY_NOT_FOUND" or is_form_without_contact):
        return _rejected(operation, reply, WtsNotFoundError, "Something in the request was not found.")
    if is_business or (400 <= status < 500 and status != 408):
        return _rejected(operation, reply, WtsRejectedError, "The API refused the request.")
    return _unknown(operation, f"HTTP {status}{_quote(envelope)}", status)


def judge_failure(
    operation: Operation,
    failure: ExchangeFailed,
    host: str = "the WTS Chat host",
    ca_source: str = "the connection's CA bundle",
) -> Verdict:
    """Classify an attempt without a complete answer.

    :param host: where the request went, for errors.
    :param ca_source: where the certificate authorities are configured, for errors.
    """
    reason = reason_of(failure)
    if failure.written:
        return _unknown(operation, reason, failure.status)
    chain = list(_chain(failure.cause))
    if any(isinstance(error, ssl.SSLCertVerificationError) for error in chain):
        return _unreachable(
            operation,
            f"the certificate of {host} is not trusted ({reason}). Nothing was sent. Check the base URL; behind a "
            "company proxy set the connection's CA bundle.",
        )
    if any(_is_ca_file_error(error) for error in chain):
        return _unreachable(
            operation,
            f"the file that {ca_source} names cannot be read as certificate authorities ({reason}). Nothing was sent. "
            f"Check {ca_source}.",
        )
    if any(_speaks_no_tls(error) for error in chain):
        return judge_server_without_tls(operation, host, reason)
    if any(_is_nowhere(error) for error in chain):
        return _unreachable(
            operation,
            f"{host} cannot be reached ({reason}). Nothing was sent. Check the base URL of the connection and whether "
            "this machine may reach it.",
            passing=True,
        )
    name = operation.operation_id
    return _not_sent(
        WtsNotSentError(
            f"{name}: no connection to {host} could be made ({reason}). Nothing was sent; trying again is safe.",
            operation_id=name,
        )
    )


def judge_server_without_tls(operation: Operation, host: str, reason: str) -> Verdict:
    """Classify an attempt to speak TLS with a server that does not.

    :param reason: the evidence for that.
    """
    return _unreachable(
        operation,
        f"{host} does not speak TLS ({reason}). Nothing was sent. Check scheme and port of the connection's base URL.",
    )


def judge_plain_request_to_tls(operation: Operation, host: str) -> Verdict:
    """Classify a request without TLS to a port with TLS, where it had no effect."""
    return _unreachable(
        operation,
        f"{host} speaks TLS, but the connection's base URL begins with http://. Nothing was sent. Change the base URL "
        "to https://.",
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return ``Retry-After`` in seconds, or ``None`` if it is missing or invalid."""
    value = headers.get("Retry-After", "")
    try:
        seconds = float(value)
    except ValueError:
        if (date := _date(value)) is None:
            return None
        # By the server's clock, which also chose the date.
        seconds = (date - (date_of(headers) or datetime.now(UTC))).total_seconds()
    # A NaN fails the comparison, too.
    return min(seconds, _LONGEST_RETRY_AFTER) if seconds > 0 else None


def date_of(headers: Mapping[str, str]) -> datetime | None:
    """Return ``Date``, the server's time, or ``None`` if it is missing, invalid or of a clock that is not set."""
    date = _date(headers.get("Date", ""))
    return date if date is not None and _FIRST_YEAR <= date.year < datetime.max.year else None


def _date(text: str) -> datetime | None:
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _judge_success(
    operation: Operation,
    reply: Reply,
    asked_id: str | None,
    sender_id: str | None,
    *,
    may_skip: bool,
    lenient: bool,
) -> Verdict:
    body = reply.body.strip()
    schema = operation.answer_schema
    if schema is None:
        # These answers are empty by contract, so only a web page from something in between can be wrong.
        return _unreadable(operation, reply, body) if body.startswith(b"<") else Verdict(Outcome.ANSWERED)
    try:
        value = parsed(body)
    except (ValueError, RecursionError):
        return _unreadable(operation, reply, body)
    acts_once = operation.effect == "once"
    must_show = acts_once and not may_skip and shows_id(operation)
    if value is None and acts_once and not must_show:
        # The API handled it without showing a result, as it may after skipping a bot. Sending again would be worse.
        return Verdict(Outcome.ANSWERED)
    if (problem := problem_of(operation, value)) and lenient:
        log.warning("%s: WTS Chat's answer does not match the API's contract: %s.", operation.operation_id, problem)
        value = without_odd_fields(operation, value)
        problem = problem_of(operation, value)
    if problem:
        return _unexpected(operation, problem, reply.status)
    value = normalize_enums(operation, value)
    if must_show and not shows_outcome(value):
        return _unexpected(operation, "it does not show what happened to the request", reply.status)
    if asked_id is not None and _is_about_another(value, asked_id):
        return _unexpected(operation, "'id' is not the requested one", reply.status)
    if sender_id is not None and _is_of_another_send(value, sender_id):
        return _unexpected(operation, "'senderId' is not that of the request", reply.status)
    return Verdict(Outcome.ANSWERED, value)


def _is_about_another(answer: Any, asked_id: str) -> bool:
    """Whether an answer is about another object than the requested one, for example because of a cache."""
    if not isinstance(answer, dict) or not answer.get("id") or not is_uuid(asked_id):
        return False
    # Sends can also be requested by senderId, and agents by userId.
    return asked_id.lower() not in [str(answer.get(name)).lower() for name in ("id", "senderId", "userId")]


def _is_of_another_send(answer: Any, sender_id: str) -> bool:
    """Whether an answer has the ``senderId`` of another send."""
    found = answer.get("senderId") if isinstance(answer, dict) else None
    # IDs in another format are not ours, and WTS Chat may write them differently.
    both = isinstance(found, str) and is_uuid(found) and is_uuid(sender_id)
    return both and str(found).lower() != sender_id.lower()


def _unreadable(operation: Operation, reply: Reply, body: bytes) -> Verdict:
    # A body that begins like JSON but is invalid was truncated in transit.
    if operation.effect == "once" or not body or body.startswith((b"{", b"[")):
        return _unknown(operation, f"HTTP {reply.status} with a body that is not a WTS Chat answer", reply.status)
    what = "a web page, not one" if body.startswith(b"<") else "not one"
    advice = " This is not a WTS Chat server: check the base URL of the connection."
    return _odd(operation, _rejected(operation, reply, WtsRejectedError, f"The answer is {what} of the API.", advice))


def _unexpected(operation: Operation, problem: str, status: int) -> Verdict:
    """Classify an answer that does not match the contract, and so does not show the outcome of the request."""
    name, repeatable = operation.operation_id, operation.effect != "once"
    words = f"{name}: WTS Chat's answer does not match the API's contract: {problem}."
    if repeatable:
        words += " Repeating this call does no harm. If this persists, check the base URL of the connection."
    else:
        words += f" The request {_UNCERTAIN}"
    field = problem.split("'")[1] if problem.startswith("'") else None
    error = WtsUnexpectedAnswerError(words, operation_id=name, field=field, status=status, repeatable=repeatable)
    return Verdict(Outcome.UNKNOWN, error=error)


def _odd(operation: Operation, rejected: Verdict) -> Verdict:
    return rejected if operation.effect == "once" else Verdict(Outcome.ODD, error=rejected.error)


def _is_web_page(reply: Reply) -> bool:
    return reply.body.lstrip().startswith(b"<")


def _rejected(
    operation: Operation, reply: Reply, kind: type[WtsRejectedError], words: str, advice: str = ""
) -> Verdict:
    envelope = _envelope(reply)
    key, text = _text(envelope.get("key")), _text(envelope.get("text") or envelope.get("detail"))
    identity = envelope.get("id")
    short_id = _text(identity.get("shortValue")) if isinstance(identity, dict) else None
    if not advice and reply.status >= 400 and _is_web_page(reply):
        advice = " It came as a web page: if this persists, check whether the base URL leads to a WTS Chat server."
    message = f"{operation.operation_id}: {words}{advice} HTTP {reply.status}{_quote(envelope)}"
    if short_id:
        message += f" (ID for WTS Chat's support: {short_id})"
    return Verdict(
        Outcome.REJECTED,
        error=kind(
            message, operation_id=operation.operation_id, status=reply.status, key=key, text=text, short_id=short_id
        ),
    )


def _not_sent(error: WtsNotSentError) -> Verdict:
    return Verdict(Outcome.NOT_SENT, error=error)


def _unreachable(operation: Operation, words: str, *, passing: bool = False) -> Verdict:
    name = operation.operation_id
    return _not_sent(WtsUnreachableError(f"{name}: {words}", operation_id=name, passing=passing))


def _unknown(operation: Operation, what: str, status: int | None) -> Verdict:
    name = operation.operation_id
    repeatable = operation.effect != "once"
    if repeatable:
        words = f"{name}: got no usable answer: {what}. Repeating this call does no harm."
    else:
        words = f"{name}: the request was sent, but got no usable answer: {what}. It {_UNCERTAIN}"
    error = WtsUnknownOutcomeError(words, operation_id=name, status=status, repeatable=repeatable)
    return Verdict(Outcome.UNKNOWN, error=error)


def _envelope(reply: Reply) -> Mapping[str, Any]:
    """Return the error body, or nothing if it is not one: gateways answer with HTML, text, other JSON or nothing."""
    try:
        value = parsed(reply.body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) and value.keys() & _FIELDS_OF_REFUSALS else {}


def _text(value: object) -> str | None:
    """Return the API's text without personal data."""
    return without_personal_data(value) if isinstance(value, str) and value else None


def _quote(envelope: Mapping[str, Any]) -> str:
    key = _text(envelope.get("key"))
    text = _text(envelope.get("text") or envelope.get("detail") or envelope.get("title"))
    return (f", {key}" if key else "") + (f": {text[:500]}" if text else "")


def _redirect_words(reply: Reply) -> str:
    location = reply.headers.get("Location", "")
    try:
        parts = urlsplit(location)
        # Only the host: path and query may repeat what was sent.
        port = f":{parts.port}" if parts.port else ""
        where = f"{parts.scheme or 'https'}://{parts.hostname}{port}" if parts.hostname else "another path"
    except ValueError:
        where = "somewhere"
    return f"The base URL redirects to {where}. Redirects are not followed; set the final address as base URL."


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Iterate over an error and its causes, including those that a wrapper has only as an argument."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        waiting += [current.__cause__, current.__context__]
        reason = getattr(current, "reason", None)
        waiting += [item for item in (*current.args, reason) if isinstance(item, BaseException)]


def _is_nowhere(error: BaseException) -> bool:
    if isinstance(error, socket.gaierror):
        # EAI_AGAIN is a temporary failure of the resolver.
        return error.errno != socket.EAI_AGAIN
    return isinstance(error, OSError) and error.errno == errno.ECONNREFUSED


def _is_ca_file_error(error: BaseException) -> bool:
    # OpenSSL distinguishes files without a certificate from a failed handshake.
    if isinstance(error, ssl.SSLError) and error.library in ("X509", "PEM"):
        return True
    return isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError)) or (
        isinstance(error, OSError) and "TLS CA certificate bundle" in str(error)
    )


def _speaks_no_tls(error: BaseException) -> bool:
    if not isinstance(error, ssl.SSLError) or error.library != "SSL" or isinstance(error, ssl.SSLCertVerificationError):
        return False
    # An alert is TLS, and an EOF may be a dropped connection.
    return bool(error.reason) and "ALERT" not in error.reason and "EOF" not in error.reason


def reason_of(failure: ExchangeFailed) -> str:
    """Return what happened, without the text of ``requests``, which quotes the URL and so possibly a phone number."""
    if failure.late:
        return "the deadline passed"
    if isinstance(failure.cause, AnswerTooLargeError):
        return str(failure.cause)
    chain = list(_chain(failure.cause))
    for error in chain:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"certificate: {error.verify_message}"
    for error in chain:
        if isinstance(error, OSError) and error.errno is not None and isinstance(error.strerror, str):
            return error.strerror
        # http.client reports this only as text, the rest of which is the proxy's own.
        if refusal := re.match(r"Tunnel connection failed: (\d+)", str(error)):
            return f"the proxy answered HTTP {refusal[1]}"
    if any("Timeout" in type(error).__name__ for error in chain):
        return "timed out"
    if any(isinstance(error, zlib.error) for error in chain):
        return "the answer cannot be decompressed"
    return type(chain[-1] if chain else failure.cause).__name__


def __getattr__(name: str) -> Any:
    from airflow_provider_wts.moved import find

    return find(__name__, name)
