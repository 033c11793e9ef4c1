"""What became of one attempt, and what follows from it.

Every attempt is judged once, here. Five things can have happened:

- **answered**: the API did it, and this is its answer.
- **rejected**: the API refused. Asking again brings the same refusal.
- **odd**: something else than the API answered a call that may be repeated: a redirect, or a web page. A gateway does
  that while the API is being restarted, and a wrong base URL does it forever. It is asked again for a while. To a
  send, 302 and 303 are *unknown*, and the rest *rejected*.
- **not sent**: nothing took effect. Any call may be made again.
- **unknown**: it may have taken effect. A call that may be repeated is; a send is not.
"""

from __future__ import annotations

import email.utils
import errno
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_wts.api.answers import parsed, problem_of, respell
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
from airflow_provider_wts.api.personal_data import without_personal_data
from airflow_provider_wts.api.transport import AnswerTooLargeError, ExchangeFailed, Reply
from airflow_provider_wts.api.wire import is_uuid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_wts.api.contract import Operation


class Outcome(Enum):
    """What became of an attempt."""

    ANSWERED = "answered"
    REJECTED = "rejected"
    ODD = "odd"
    NOT_SENT = "not sent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An attempt, judged.

    :param outcome: its outcome.
    :param value: the answer, parsed, where the outcome is ``ANSWERED``.
    :param error: what to raise where it is anything else.
    """

    outcome: Outcome
    value: Any = None
    error: WtsError | None = None


#: Keys of refusals that come with status 500. INFERRED from what integrators saw; other keys stay unknown.
_BUSINESS_KEY_PREFIXES = ("FORM_ERROR", "ENTITY_")

#: A redirect that a server may give after it did what it was asked to. The others mean that it did nothing.
_ANSWERS_ELSEWHERE = (302, 303)

#: Seconds to wait after a 429 that does not say how long, before backing off further.
DEFAULT_RETRY_AFTER = 5.0

_REFUSING_ERRNOS = {errno.ECONNREFUSED}


def judge_reply(
    operation: Operation, reply: Reply, asked_id: str | None = None, sender_id: str | None = None
) -> Verdict:
    """Judge a complete answer.

    :param operation: the operation that was called.
    :param reply: what came back.
    :param asked_id: the id of what was asked for, if it is one thing.
    :param sender_id: the caller's own id of a send, if it has one.
    """
    status = reply.status
    if 200 <= status < 300:
        return _judge_success(operation, reply, asked_id, sender_id)
    if status in _ANSWERS_ELSEWHERE and operation.effect == "once":
        return _unknown(operation, f"HTTP {status}. {_redirect_words(reply).removesuffix('.')}", status)
    if 300 <= status < 400:
        return _odd(operation, _rejected(operation, reply, WtsRejectedError, _redirect_words(reply)))
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
    if _is_page_of_a_gateway(operation, reply):
        # The API's refusals are JSON. What a page says is about the gateway, and not about what the call names.
        return _odd(operation, _rejected(operation, reply, WtsRejectedError, "Something refuses the request."))
    if status in (401, 403):
        return _rejected(
            operation,
            reply,
            WtsAuthenticationError,
            "The API refuses the token. Check the token in the Airflow connection; in WTS Chat it is under "
            "Ajustes > Integrações > Integração via API.",
        )
    if status == 404:
        return _rejected(operation, reply, WtsNotFoundError, "Nothing was found. Check the ids in the request.")
    if 400 <= status < 500 and status != 408:
        return _rejected(operation, reply, WtsRejectedError, "The API refuses the request.")
    if status == 500 and key is not None and key.startswith(_BUSINESS_KEY_PREFIXES):
        missing = key == "ENTITY_NOT_FOUND" or (
            key == "FORM_ERROR" and operation.operation_id == "get_contact_by_phone"
        )
        return _rejected(
            operation,
            reply,
            WtsNotFoundError if missing else WtsRejectedError,
            "Something that the request names was not found." if missing else "The API refuses the request.",
        )
    return _unknown(operation, f"HTTP {status}{_quote(envelope)}", status)


def judge_failure(
    operation: Operation,
    failure: ExchangeFailed,
    host: str = "the WTS Chat host",
    ca_source: str = "the connection's CA bundle",
) -> Verdict:
    """Judge an attempt that brought no complete answer.

    :param operation: the operation that was called.
    :param failure: what ended it.
    :param host: where the request went to, for the error.
    :param ca_source: what names the certificate authorities, for the error.
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
    """Judge an attempt to speak TLS with something that does not.

    :param operation: the operation that was called.
    :param host: where the request was to go.
    :param reason: what shows it.
    """
    return _unreachable(
        operation,
        f"{host} does not speak TLS ({reason}). Nothing was sent. Check scheme and port of the connection's base URL.",
    )


def judge_plain_request_to_tls(operation: Operation, host: str) -> Verdict:
    """Judge a request without TLS to a port that wants TLS: it was no request to whatever is there.

    :param operation: the operation that was called.
    :param host: where the request went to.
    """
    return _unreachable(
        operation,
        f"{host} speaks TLS, and the connection's base URL begins with http://. Nothing was sent. Change the base URL "
        "to https://.",
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read ``Retry-After`` as seconds; ``None`` where it is missing or makes no sense.

    :param headers: the answer's headers.
    """
    value = headers.get("Retry-After")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = email.utils.parsedate_to_datetime(value)
        except (TypeError, ValueError, OverflowError):
            return None
        seconds = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
    # A NaN fails the comparison, too.
    return min(seconds, 3600.0) if seconds > 0 else None


def date_of(headers: Mapping[str, str]) -> datetime | None:
    """Read ``Date``, the server's clock; ``None`` where it is missing or cannot be read.

    :param headers: the answer's headers.
    """
    try:
        date = email.utils.parsedate_to_datetime(headers.get("Date") or "")
    except (TypeError, ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _judge_success(operation: Operation, reply: Reply, asked_id: str | None, sender_id: str | None) -> Verdict:
    body = reply.body.strip()
    schema = operation.answer_schema
    if schema is None:
        # These answers are empty by contract, so only a page of something else on the way can be wrong.
        return _unreadable(operation, reply, body) if body.startswith(b"<") else Verdict(Outcome.ANSWERED)
    try:
        value = parsed(body)
    except (ValueError, RecursionError):
        return _unreadable(operation, reply, body)
    if value is None and operation.effect == "once":
        # The API has dealt with it and shows nothing, as it may where it skipped a bot. Sending again would be worse.
        return Verdict(Outcome.ANSWERED)
    if problem := problem_of(operation, value):
        return _unexpected(operation, problem, reply.status)
    if asked_id is not None and _is_about_another(value, asked_id):
        return _unexpected(operation, "'id' is not the one that was asked for", reply.status)
    if sender_id is not None and _is_of_another_send(value, sender_id):
        return _unexpected(operation, "'senderId' is not the one of the request", reply.status)
    return Verdict(Outcome.ANSWERED, respell(operation, value))


def _is_about_another(answer: Any, asked_id: str) -> bool:
    """Whether an answer is about something else than what was asked for, as a cache may mix them up."""
    if not isinstance(answer, dict) or not answer.get("id") or not is_uuid(asked_id):
        return False
    # Sends are asked for by the sender's id, too, and agents by that of their user.
    return asked_id.lower() not in [str(answer.get(name)).lower() for name in ("id", "senderId", "userId")]


def _is_of_another_send(answer: Any, sender_id: str) -> bool:
    """Whether an answer is about another send than the request, whose ``senderId`` it repeats."""
    found = answer.get("senderId") if isinstance(answer, dict) else None
    # Ids of another form are not ours, and WTS Chat may write them in another way.
    both = isinstance(found, str) and is_uuid(found) and is_uuid(sender_id)
    return both and str(found).lower() != sender_id.lower()


def _parsed(body: bytes) -> Any:
    try:
        return parsed(body)
    except (ValueError, RecursionError):
        return None


def _unreadable(operation: Operation, reply: Reply, body: bytes) -> Verdict:
    # What begins as JSON and is none has lost its end on the way.
    if operation.effect == "once" or not body or body.startswith((b"{", b"[")):
        return _unknown(operation, f"HTTP {reply.status} with a body that is not a WTS Chat answer", reply.status)
    rejected = _rejected(
        operation,
        reply,
        WtsRejectedError,
        "The answer is a web page, not WTS Chat's API." if body.startswith(b"<") else "The answer is not WTS Chat's.",
        advice=" This is not a WTS Chat server: check the base URL of the connection.",
    )
    return _odd(operation, rejected)


def _unexpected(operation: Operation, problem: str, status: int) -> Verdict:
    """Judge an answer of another shape: whatever it says, it does not say what the outcome of the request is."""
    name, repeatable = operation.operation_id, operation.effect != "once"
    words = f"{name}: WTS Chat's answer does not fit the API's contract: {problem}."
    if repeatable:
        words += " Repeating this call does no harm. If this goes on, check the base URL of the connection."
    else:
        words += (
            " The request may have taken effect, so it is not sent again automatically. Check in WTS Chat whether it "
            "arrived before you repeat it."
        )
    field = problem.split("'")[1] if problem.startswith("'") else None
    error = WtsUnexpectedAnswerError(words, operation_id=name, field=field, status=status, repeatable=repeatable)
    return Verdict(Outcome.UNKNOWN, error=error)


def _odd(operation: Operation, rejected: Verdict) -> Verdict:
    return rejected if operation.effect == "once" else Verdict(Outcome.ODD, error=rejected.error)


def _is_page_of_a_gateway(operation: Operation, reply: Reply) -> bool:
    status = reply.status
    return operation.effect != "once" and 400 <= status < 500 and status not in (401, 408) and _is_web_page(reply)


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
        advice = " It came as a web page: if this goes on, check whether the base URL leads to a WTS Chat server."
    message = f"{operation.operation_id}: {words}{advice} HTTP {reply.status}{_quote(envelope)}"
    if short_id:
        message += f" (id for WTS Chat's support: {short_id})"
    return Verdict(
        Outcome.REJECTED,
        error=kind(
            message,
            operation_id=operation.operation_id,
            status=reply.status,
            key=key,
            text=text,
            short_id=short_id,
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
        words = f"{name}: no usable answer came: {what}. Repeating this call does no harm."
    else:
        words = (
            f"{name}: the request went out, and then: {what}. It may have taken effect, so it is not resent "
            "automatically. Check in WTS Chat whether it arrived before you repeat it."
        )
    error = WtsUnknownOutcomeError(words, operation_id=name, status=status, repeatable=repeatable)
    return Verdict(Outcome.UNKNOWN, error=error)


def _envelope(reply: Reply) -> Mapping[str, Any]:
    """Return the error body, or nothing where it is none: gateways answer with HTML, text or an empty body."""
    value = _parsed(reply.body)
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    """Return the API's words, without personal data."""
    return without_personal_data(value) if isinstance(value, str) and value else None


def _quote(envelope: Mapping[str, Any]) -> str:
    key = _text(envelope.get("key"))
    text = _text(envelope.get("text") or envelope.get("detail") or envelope.get("title"))
    return (f", {key}" if key else "") + (f": {text[:500]}" if text else "")


def _redirect_words(reply: Reply) -> str:
    location = reply.headers.get("Location", "")
    try:
        parts = urlsplit(location)
        # Only the host, never path and query: they may repeat what was sent.
        where = f"{parts.scheme or 'https'}://{parts.hostname}" if parts.hostname else "another path"
    except ValueError:
        where = "somewhere"
    return f"The base URL redirects to {where}. Redirects are not followed; set the final address as base URL."


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Walk from an error to what caused it, through wrappers that keep it only as an argument."""
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
        # EAI_AGAIN is a resolver that does not answer just now: that passes.
        return error.errno not in (socket.EAI_AGAIN,)
    return isinstance(error, OSError) and error.errno in _REFUSING_ERRNOS


def _is_ca_file_error(error: BaseException) -> bool:
    # The library distinguishes files that hold no certificate from a handshake that fails.
    if isinstance(error, ssl.SSLError) and error.library in ("X509", "PEM"):
        return True
    return isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError)) or (
        isinstance(error, OSError) and "TLS CA certificate bundle" in str(error)
    )


def _speaks_no_tls(error: BaseException) -> bool:
    if not isinstance(error, ssl.SSLError) or error.library != "SSL" or isinstance(error, ssl.SSLCertVerificationError):
        return False
    # An alert is TLS, and a connection that ends may have been cut.
    return bool(error.reason) and "ALERT" not in error.reason and "EOF" not in error.reason


def reason_of(failure: ExchangeFailed) -> str:
    """Say what happened without the text of ``requests``, which quotes the address and so a phone number.

    :param failure: what ended an exchange.
    """
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
    if any("Timeout" in type(error).__name__ for error in chain):
        return "timed out"
    return type(chain[-1] if chain else failure.cause).__name__


def __getattr__(name: str) -> Any:
    from airflow_provider_wts.moved import find

    return find(__name__, name)
