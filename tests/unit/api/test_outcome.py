"""What became of an attempt, judged from the answer alone. Over real HTTP: ``test_client.py``."""

from __future__ import annotations

import errno
import json
import socket
import ssl
import zlib
from datetime import UTC, datetime
from typing import Any

import pytest
from requests.structures import CaseInsensitiveDict

from airflow_provider_wts.api.contract import operations
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
from airflow_provider_wts.api.outcome import (
    Outcome,
    Verdict,
    date_of,
    judge_failure,
    judge_reply,
    reason_of,
    retry_after,
)
from airflow_provider_wts.api.transport import AnswerTooLargeError, ExchangeFailed, Reply

SEND, READ, WRITE, SILENT, SESSION, START, SYNC, BATCH, SEQUENCE = (
    operations()[name]
    for name in (
        *("send_text", "list_channels", "complete_session", "delete_tag", "get_session", "send_chatbot"),
        *("send_message_sync", "send_template_batch", "add_sequence_contacts_batch"),
    )
)


def reply(status: int = 200, body: Any = b"", **headers: str) -> Reply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, CaseInsensitiveDict({k.replace("_", "-"): v for k, v in headers.items()}), content)


def envelope(key: Any = None, text: Any = None, **more: Any) -> dict[str, Any]:
    return {"id": {"value": "x", "shortValue": "AB12"}, "key": key, "text": text, **more}


@pytest.mark.parametrize(
    ("operation", "answer", "value"),
    [
        (SEND, {"id": "x"}, {"id": "x"}),
        (SEND, {"status": "QUEUED"}, {"status": "QUEUED"}),
        (BATCH, None, None),
        (READ, [], []),
        (READ, [{"new": 1}], [{"new": 1}]),
        (SILENT, b"", None),
        (SILENT, b"  ", None),
        (WRITE, {"id": "x"}, {"id": "x"}),
    ],
)
def test_an_answer_of_the_kind_that_the_contract_promises_is_taken(operation: Any, answer: Any, value: Any) -> None:
    judged = judge_reply(operation, reply(200, answer))
    assert (judged.outcome, judged.value, judged.error) == (Outcome.ANSWERED, value, None)


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        (READ, [{"identity": None, "new": {"a": [1]}}]),
        (READ, [{"type": "ONE_OF_TOMORROW"}]),
        (WRITE, {"id": None, "status": None, "classification": None}),
        (WRITE, {}),
    ],
)
def test_what_is_missing_null_or_unknown_is_kept(operation: Any, answer: Any) -> None:
    assert judge_reply(operation, reply(200, answer)).value == answer


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b'{"id": 5}', "'id' is a whole number, not text"),
        (b'{"id": true}', "'id' is true or false, not text"),
        (b'{"id": ["x"]}', "'id' is a list, not text"),
        (b'{"classification": []}', "'classification' is a list, not an object"),
        (b"[]", "the answer is a list, not an object"),
        (b'"text"', "the answer is text, not an object"),
        (b'{"new": ' + b"[" * 200 + b"]" * 200 + b"}", "the answer has more than 100 levels"),
        (b'{"classification": {"amount": 1e999}}', "'classification.amount' is text, not a number"),
        (b'{"classification": {"amount": ' + b"9" * 5000 + b"}}", "'classification.amount' is text, not a number"),
    ],
)
def test_another_shape_than_the_contract_promises_is_unknown_and_names_the_field(answer: bytes, problem: str) -> None:
    for operation, repeatable in ((WRITE, True), (SESSION, True), (START, False)):
        judged = judge_reply(operation, reply(200, answer))
        assert judged.outcome is Outcome.UNKNOWN
        assert isinstance(judged.error, WtsUnexpectedAnswerError)
        assert judged.error.repeatable is repeatable
        assert f"{operation.operation_id}: WTS Chat's answer does not match" in str(judged.error)
        assert problem in str(judged.error)


@pytest.mark.parametrize(
    ("operation", "answer", "value"),
    [
        (SEND, {"status": "failed"}, {"status": "FAILED"}),
        (SEND, {"status": " Wait_Reply "}, {"status": "WAIT_REPLY"}),
        (SEND, {"status": "WaitReply"}, {"status": "WAIT_REPLY"}),
        (
            SEND,
            {"status": "Of tomorrow", "statusUrl": "failed"},
            {"status": "Of tomorrow", "statusUrl": "failed"},
        ),
        (BATCH, {"results": [{"status": "Failed"}]}, {"results": [{"status": "FAILED"}]}),
        (SESSION, {"status": "in_progress"}, {"status": "IN_PROGRESS"}),
        (SESSION, {"contactDetails": {"status": "blocked"}}, {"contactDetails": {"status": "BLOCKED"}}),
        (READ, [{"type": "CLOUDAPI_WHATSAPP"}], [{"type": "CloudAPI_WhatsApp"}]),
    ],
)
def test_a_documented_value_comes_out_as_documented_however_it_is_spelled(
    operation: Any, answer: Any, value: Any
) -> None:
    assert judge_reply(operation, reply(200, answer)).value == value


@pytest.mark.parametrize("operation", [SEND, SYNC, START, WRITE, SESSION, BATCH, SEQUENCE])
@pytest.mark.parametrize(
    "answer",
    [
        {"key": "ENTITY_NOT_FOUND", "text": "Contato bloqueado"},
        {"id": None, "error": "FORM_ERROR", "text": None},
        {"httpStatusCode": "INTERNALSERVERERROR"},
        {"id": {"value": "x", "shortValue": "y"}, "key": "FORM_ERROR"},
    ],
)
def test_an_error_that_comes_as_a_success_is_none(operation: Any, answer: Any) -> None:
    judged = judge_reply(operation, reply(200, answer))
    assert judged.outcome is Outcome.UNKNOWN
    assert isinstance(judged.error, WtsUnexpectedAnswerError)


NOTHING_SHOWN: dict[str, Any] = {
    "null": None,
    "nothing": {},
    "another answer": {"success": False, "message": "não"},
    "problem details": {"title": "Bad Request", "detail": "to"},
    "wrapped": {"data": {"id": "x", "status": "SENT"}},
    "a reason without a status": {"id": "x", "failedReason": "Número inválido"},
    "a status of tomorrow with a reason": {"id": "x", "status": "REJECTED", "failedReason": "Bloqueado"},
}


@pytest.mark.parametrize("answer", NOTHING_SHOWN.values(), ids=NOTHING_SHOWN.keys())
@pytest.mark.parametrize("operation", [SEND, SYNC])
def test_a_success_that_does_not_show_what_happened_is_unknown_to_a_send(operation: Any, answer: Any) -> None:
    judged = judge_reply(operation, reply(200, answer))
    assert judged.outcome is Outcome.UNKNOWN
    assert isinstance(judged.error, WtsUnexpectedAnswerError)


@pytest.mark.parametrize("answer", [None, {}])
def test_a_chatbot_that_may_be_skipped_may_show_nothing(answer: Any) -> None:
    assert judge_reply(START, reply(200, answer), may_skip=True) == Verdict(Outcome.ANSWERED, answer)
    assert judge_reply(START, reply(200, answer)).outcome is Outcome.UNKNOWN


ASKED = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.mark.parametrize(
    "answer",
    [
        *({"id": ASKED}, {"id": ASKED.upper()}, {"senderId": ASKED, "id": "x"}, {"userId": ASKED, "id": "x"}),
        *({"senderId": "x"}, {"id": None}, {}),
    ],
)
def test_an_answer_about_what_was_asked_for_is_taken(answer: Any) -> None:
    assert judge_reply(SESSION, reply(200, answer), ASKED).value == answer


def test_an_answer_about_something_else_than_was_asked_for_is_none() -> None:
    judged = judge_reply(SESSION, reply(200, {"id": "7c9e6679-7425-40de-944b-e07fc1f90ae7"}), ASKED)
    assert judged.outcome is Outcome.UNKNOWN
    assert "'id' is not the requested one" in str(judged.error)


@pytest.mark.parametrize("body", [b'{"id": NaN}', b'{"a": Infinity}', b'{"a": 01}'])
def test_numbers_that_are_not_json_are_no_answer(body: bytes) -> None:
    assert judge_reply(WRITE, reply(200, body)).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("body", [b'{"id": "\\ud83d x"}', b'{"id": "\xed\xa0\xbd x"}', b'{"id": "\\u0000 x"}'])
def test_what_no_file_or_database_takes_becomes_the_replacement_character(body: bytes) -> None:
    assert judge_reply(WRITE, reply(200, body)).value == {"id": "\ufffd x"}
    assert judge_reply(WRITE, reply(200, b'{"id": "\\ud83d\\ude00"}')).value == {"id": "\U0001f600"}


@pytest.mark.parametrize(
    ("number", "kept"),
    [
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("9223372036854775808", "9223372036854775808"),
        ("-9223372036854775809", "-9223372036854775809"),
        ("34191790010104351004791020150008291070026000", "34191790010104351004791020150008291070026000"),
        ("9" * 5000, "9" * 5000),
        ("1e999", "1e999"),
        ("-1E+999", "-1E+999"),
        ("1e308", 1e308),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_number_that_no_column_holds_is_kept_as_text(number: str, kept: Any) -> None:
    body = f'{{"id": "x", "metadata": {{"linha": [{number}]}}}}'.encode()
    assert judge_reply(SESSION, reply(200, body)).value["metadata"] == {"linha": [kept]}


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_is_a_success(status: int) -> None:
    assert judge_reply(SEND, reply(status, {"id": "x"})).outcome is Outcome.ANSWERED


@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize("key", [None, "", "INTERNAL_ERROR", "form_error", 5, ["FORM_ERROR"], {}])
def test_a_5xx_without_a_business_key_is_unknown(status: int, key: Any) -> None:
    assert judge_reply(SEND, reply(status, envelope(key))).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("status", [501, 502, 503, 504])
def test_a_business_key_counts_with_status_500_only(status: int) -> None:
    assert judge_reply(SEND, reply(status, envelope("FORM_ERROR"))).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("operation", "key", "kind"),
    [
        ("send_text", "FORM_ERROR", WtsRejectedError),
        ("send_text", "ENTITY_ERROR_SAVE", WtsRejectedError),
        ("send_text", "ENTITY_NOT_FOUND", WtsNotFoundError),
        ("get_contact_by_phone", "FORM_ERROR", WtsNotFoundError),
    ],
)
def test_a_500_with_a_business_key_is_a_refusal(operation: str, key: str, kind: type[WtsError]) -> None:
    judged = judge_reply(operations()[operation], reply(500, envelope(key, "Não foi possível")))
    assert judged.outcome is Outcome.REJECTED
    assert type(judged.error) is kind


def test_a_refusal_tells_key_text_and_the_id_that_support_asks_for() -> None:
    error = judge_reply(SEND, reply(500, envelope("FORM_ERROR", "Canal inválido"))).error
    assert isinstance(error, WtsRejectedError)
    assert (error.status, error.key, error.text, error.short_id) == (500, "FORM_ERROR", "Canal inválido", "AB12")
    assert str(error) == (
        "send_text: The API refused the request. HTTP 500, FORM_ERROR: Canal inválido (ID for WTS Chat's support: AB12)"
    )


@pytest.mark.parametrize(
    "body",
    [
        {"title": "Bad Request", "status": 400, "detail": "Campo inválido"},
        {"id": None, "key": None, "text": "Campo inválido"},
        {"id": "plain", "text": "Campo inválido"},
    ],
)
def test_either_form_of_error_body_is_read(body: dict[str, Any]) -> None:
    assert "Campo inválido" in str(judge_reply(SEND, reply(400, body)).error)


@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b"[1]", b'"x"', b"\xff", {"id": 5, "key": [], "text": {}}])
@pytest.mark.parametrize("status", [302, 400, 401, 404, 408, 429, 500, 502])
def test_an_error_body_of_any_kind_is_survived(status: int, body: Any) -> None:
    assert judge_reply(SEND, reply(status, body)).error is not None


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_says_where_to_find_one(status: int) -> None:
    error = judge_reply(READ, reply(status, envelope("ERROR_UNAUTHORIZED"))).error
    assert isinstance(error, WtsAuthenticationError)
    assert "Integração via API" in str(error)


def test_an_error_page_suggests_to_check_the_base_url() -> None:
    assert "base URL" in str(judge_reply(READ, reply(404, b"<html>not found")).error)
    assert "base URL" not in str(judge_reply(READ, reply(404, envelope("NOT_FOUND"))).error)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("5", 5),
        ("0.5", 0.5),
        (" 7 ", 7),
        ("99999", 300),
        ("inf", 300),
        ("0", None),
        ("-1", None),
        ("nan", None),
        ("", None),
        ("soon", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 300),
        ("Fri, 01 Jan 2100 00:00:00", 300),
        ("Fri, 01 Jan 99999 00:00:00 GMT", None),
        ("Fri, 01 Jan 99999999999999999999 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_in_all_its_spellings(value: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": value}) == seconds


def test_a_date_in_retry_after_is_read_by_the_servers_clock() -> None:
    headers = {"Date": "Fri, 27 Nov 2020 12:00:00 GMT", "Retry-After": "Fri, 27 Nov 2020 12:00:40 GMT"}
    assert retry_after(headers) == 40


def test_a_429_without_it_waits_some_seconds() -> None:
    error = judge_reply(SEND, reply(429)).error
    assert isinstance(error, WtsRateLimitError)
    assert error.retry_after == 5
    told = judge_reply(SEND, reply(429, retry_after="40")).error
    assert isinstance(told, WtsRateLimitError)
    assert told.retry_after == 40


def wrapped(inner: BaseException) -> Exception:
    """Wrap an error as the libraries do: by cause, by context, as an argument."""
    middle = OSError("middle")
    middle.__context__ = inner
    outer = ConnectionError(middle)
    return outer


@pytest.mark.parametrize(
    ("cause", "kind", "passing"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), WtsUnreachableError, True),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), WtsUnreachableError, True),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), WtsNotSentError, None),
        (TimeoutError("timed out"), WtsNotSentError, None),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), WtsNotSentError, None),
        (ssl.SSLCertVerificationError(1, "certificate verify failed"), WtsUnreachableError, False),
        (OSError("Could not find a suitable TLS CA certificate bundle, invalid path: /x"), WtsUnreachableError, False),
        (PermissionError(errno.EACCES, "Permission denied"), WtsUnreachableError, False),
        (ValueError("anything"), WtsNotSentError, None),
    ],
)
def test_what_failed_before_the_first_byte_was_not_sent(
    cause: BaseException, kind: type[WtsError], passing: bool | None
) -> None:
    if isinstance(cause, ssl.SSLCertVerificationError):
        cause.verify_message = "self-signed certificate"
    for operation in (SEND, READ, WRITE):
        judged = judge_failure(operation, ExchangeFailed(wrapped(cause), written=False))
        assert judged.outcome is Outcome.NOT_SENT
        assert type(judged.error) is kind
        assert getattr(judged.error, "passing", None) is passing


@pytest.mark.parametrize(
    "cause",
    [
        ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
        ssl.SSLCertVerificationError(1, "x"),
        socket.gaierror(socket.EAI_NONAME, "x"),
        ValueError("x"),
    ],
)
def test_what_failed_after_the_first_byte_is_unknown_whatever_its_type(cause: Exception) -> None:
    if isinstance(cause, ssl.SSLCertVerificationError):
        cause.verify_message = "x"
    error = judge_failure(SEND, ExchangeFailed(cause, written=True)).error
    assert isinstance(error, WtsUnknownOutcomeError)
    assert "not resent automatically" in str(error)


def test_an_error_that_is_its_own_cause_is_survived() -> None:
    loop = ValueError("a")
    other = ValueError(loop)
    loop.__context__ = other
    assert judge_failure(SEND, ExchangeFailed(loop, written=False)).outcome is Outcome.NOT_SENT


@pytest.mark.parametrize(
    ("status", "of_send", "of_read"),
    [
        (199, Outcome.UNKNOWN, Outcome.UNKNOWN),
        (300, Outcome.REJECTED, Outcome.ODD),
        (399, Outcome.REJECTED, Outcome.ODD),
        (400, Outcome.REJECTED, Outcome.ODD),
        (404, Outcome.REJECTED, Outcome.ODD),
        (407, Outcome.REJECTED, Outcome.ODD),
        (408, Outcome.UNKNOWN, Outcome.UNKNOWN),
        (429, Outcome.NOT_SENT, Outcome.NOT_SENT),
        (499, Outcome.REJECTED, Outcome.ODD),
        (500, Outcome.UNKNOWN, Outcome.UNKNOWN),
        (599, Outcome.UNKNOWN, Outcome.UNKNOWN),
    ],
)
def test_a_status_without_words_is_judged_by_its_kind(status: int, of_send: Outcome, of_read: Outcome) -> None:
    assert judge_reply(SEND, reply(status)).outcome is of_send
    assert judge_reply(READ, reply(status)).outcome is of_read


@pytest.mark.parametrize(
    ("status", "of_send", "of_read"),
    [
        (400, Outcome.REJECTED, Outcome.ODD),
        (401, Outcome.REJECTED, Outcome.REJECTED),
        (403, Outcome.REJECTED, Outcome.ODD),
        (404, Outcome.REJECTED, Outcome.ODD),
        (408, Outcome.UNKNOWN, Outcome.UNKNOWN),
        (499, Outcome.REJECTED, Outcome.ODD),
        (500, Outcome.UNKNOWN, Outcome.UNKNOWN),
    ],
)
def test_a_web_page_that_refuses_is_a_gateway_and_passes_for_what_may_be_repeated(
    status: int, of_send: Outcome, of_read: Outcome
) -> None:
    page = reply(status, b" \n<html>no</html>")
    assert judge_reply(SEND, page).outcome is of_send
    judged = judge_reply(READ, page)
    assert judged.outcome is of_read
    assert judged.error is not None
    assert ("It came as a web page" in str(judged.error)) is (of_read is not Outcome.UNKNOWN)


@pytest.mark.parametrize("status", [400, 403, 404])
@pytest.mark.parametrize(
    "body",
    [b"", b"default backend - 404", b"404 page not found\n", b'"no"', b"{}", b'{"message": "no Route matched"}'],
)
def test_what_does_not_look_like_an_error_of_the_api_passes_for_what_may_be_repeated(status: int, body: bytes) -> None:
    assert judge_reply(SEND, reply(status, body)).outcome is Outcome.REJECTED
    assert judge_reply(READ, reply(status, body)).outcome is Outcome.ODD


@pytest.mark.parametrize(
    ("body", "of_send", "of_read", "says"),
    [
        (b"", Outcome.UNKNOWN, Outcome.UNKNOWN, "HTTP 200 with a body that is not a WTS Chat answer"),
        (b'{"items": [', Outcome.UNKNOWN, Outcome.UNKNOWN, "HTTP 200 with a body that is not a WTS Chat answer"),
        (b"[1, ", Outcome.UNKNOWN, Outcome.UNKNOWN, "HTTP 200 with a body that is not a WTS Chat answer"),
        (b" <html>", Outcome.UNKNOWN, Outcome.ODD, "The answer is a web page, not one of the API."),
        (b"welcome", Outcome.UNKNOWN, Outcome.ODD, "The answer is not one of the API."),
    ],
)
def test_a_success_that_cannot_be_read_never_counts_as_sent_or_not_sent(
    body: bytes, of_send: Outcome, of_read: Outcome, says: str
) -> None:
    assert judge_reply(SEND, reply(200, body)).outcome is of_send
    judged = judge_reply(READ, reply(200, body))
    assert judged.outcome is of_read
    assert says in str(judged.error)
    assert ("check the base URL" in str(judged.error)) is (of_read is Outcome.ODD)


def test_a_page_in_place_of_an_empty_answer_is_not_taken_for_it() -> None:
    assert judge_reply(SILENT, reply(200, b"\n<html>")).outcome is Outcome.ODD
    assert judge_reply(SILENT, reply(200, b"ok")).outcome is Outcome.ANSWERED


def test_nothing_is_no_answer_to_a_question() -> None:
    assert judge_reply(READ, reply(200, b"null")).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("answer", "field"), [(b'{"id": 5}', "id"), (b'{"status": {}}', "status"), (b"[]", None), (b"5", None)]
)
def test_an_unexpected_answer_names_its_field_and_status(answer: bytes, field: str | None) -> None:
    for operation, words in ((SESSION, "Repeating this call does no harm"), (START, "not resent")):
        error = judge_reply(operation, reply(201, answer)).error
        assert isinstance(error, WtsUnexpectedAnswerError)
        assert (error.field, error.status, error.operation_id) == (field, 201, operation.operation_id)
        assert words in str(error)


@pytest.mark.parametrize(("operation", "repeatable"), [(SEND, False), (READ, True), (WRITE, True)])
def test_an_unknown_outcome_says_whether_the_call_may_be_repeated(operation: Any, repeatable: bool) -> None:
    words = "Repeating this call does no harm" if repeatable else "It may have taken effect"
    for judged, status in (
        (judge_reply(operation, reply(503, envelope("X", "Ocupado"))), 503),
        (judge_failure(operation, ExchangeFailed(OSError("x"), written=True, status=200)), 200),
        (judge_failure(operation, ExchangeFailed(OSError("x"), written=True)), None),
    ):
        assert judged.outcome is Outcome.UNKNOWN
        assert isinstance(judged.error, WtsUnknownOutcomeError)
        assert (judged.error.repeatable, judged.error.status) == (repeatable, status)
        assert judged.error.operation_id == operation.operation_id
        assert words in str(judged.error)
    assert "HTTP 503, X: Ocupado" in str(judge_reply(operation, reply(503, envelope("X", "Ocupado"))).error)


@pytest.mark.parametrize(
    ("body", "quoted"),
    [
        ({"key": "K", "text": "one", "detail": "two", "title": "three"}, "HTTP 400, K: one"),
        ({"key": "K", "detail": "two", "title": "three"}, "HTTP 400, K: two"),
        ({"key": "K", "title": "three"}, "HTTP 400, K: three"),
        ({"key": "K"}, "HTTP 400, K"),
        ({"text": "one"}, "HTTP 400: one"),
        ({"text": "a" * 600}, "HTTP 400: " + "a" * 500),
        ({"id": {"shortValue": None}, "text": "one"}, "HTTP 400: one"),
        ([], "HTTP 400"),
    ],
)
def test_a_refusal_quotes_the_first_words_that_the_api_gives(body: Any, quoted: str) -> None:
    assert str(judge_reply(SEND, reply(400, body)).error).endswith(f"The API refused the request. {quoted}")


@pytest.mark.parametrize(
    ("operation", "status", "key", "words"),
    [
        (SEND, 500, "ENTITY_NOT_FOUND", "Something in the request was not found."),
        (SEND, 500, "ENTITY_ERROR_SAVE", "The API refused the request."),
        (READ, 404, None, "Nothing was found. Check the IDs in the request."),
    ],
)
def test_what_was_not_found_is_said(operation: Any, status: int, key: str | None, words: str) -> None:
    assert words in str(judge_reply(operation, reply(status, envelope(key))).error)


@pytest.mark.parametrize(
    ("location", "where"),
    [
        ("https://app.example.com/login?phone=5511999998888", "redirects to https://app.example.com."),
        ("//app.example.com/x", "redirects to https://app.example.com."),
        ("http://app.example.com", "redirects to http://app.example.com."),
        ("/login?phone=5511999998888", "redirects to another path."),
        ("https://[half", "redirects to somewhere."),
        (None, "redirects to another path."),
    ],
)
def test_a_redirect_names_the_host_alone(location: str | None, where: str) -> None:
    answer = reply(302, b"<html>moved") if location is None else reply(302, b"<html>moved", Location=location)
    told = str(judge_reply(READ, answer).error)
    assert where in told
    assert "5511999998888" not in told
    assert "web page" not in told


@pytest.mark.parametrize(
    ("value", "date"),
    [
        ("Mon, 23 Nov 2026 10:00:00 GMT", datetime(2026, 11, 23, 10, tzinfo=UTC)),
        ("Mon, 23 Nov 2026 10:00:00", datetime(2026, 11, 23, 10, tzinfo=UTC)),
        ("Mon, 23 Nov 2026 10:00:00 -0300", datetime(2026, 11, 23, 13, tzinfo=UTC)),
        ("yesterday", None),
        ("", None),
        (None, None),
        ("Mon, 23 Nov 99999 10:00:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None),
        ("Thu, 01 Jan 1970 00:00:07 GMT", None),
    ],
)
def test_the_clock_of_the_server_is_read_or_missing(value: str | None, date: datetime | None) -> None:
    read = date_of({} if value is None else {"Date": value})
    assert read == date
    assert read is None or read.tzinfo is not None


def tls_error(library: str | None, reason: str | None) -> ssl.SSLError:
    error = ssl.SSLError(1, "handshake")
    error.library, error.reason = library, reason  # type: ignore[assignment]
    return error


@pytest.mark.parametrize(
    ("cause", "passing", "says"),
    [
        (tls_error("X509", "NO_CERTIFICATE_OR_CRL_FOUND"), False, "the file that CA names cannot be read"),
        (tls_error("PEM", "NO_START_LINE"), False, "the file that CA names cannot be read"),
        (FileNotFoundError(errno.ENOENT, "No such file"), False, "the file that CA names cannot be read"),
        (IsADirectoryError(errno.EISDIR, "Is a directory"), False, "the file that CA names cannot be read"),
        (tls_error("SSL", "WRONG_VERSION_NUMBER"), False, "HOST does not speak TLS"),
        (tls_error("SSL", "TLSV1_ALERT_INTERNAL_ERROR"), None, "no connection to HOST could be made"),
        (tls_error("SSL", "UNEXPECTED_EOF_WHILE_READING"), None, "no connection to HOST could be made"),
        (tls_error("SSL", None), None, "no connection to HOST could be made"),
        (tls_error("SYS", "WRONG_VERSION_NUMBER"), None, "no connection to HOST could be made"),
        (tls_error(None, None), None, "no connection to HOST could be made"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), True, "HOST cannot be reached"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), None, "no connection to HOST"),
    ],
)
def test_what_failed_before_anything_was_sent_says_where_to_look(cause: Exception, passing: Any, says: str) -> None:
    judged = judge_failure(SEND, ExchangeFailed(wrapped(cause), written=False), "HOST", "CA")
    assert judged.outcome is Outcome.NOT_SENT
    assert says in str(judged.error)
    assert "Nothing was sent" in str(judged.error)
    assert getattr(judged.error, "passing", None) is passing
    assert isinstance(judged.error, WtsNotSentError)
    assert judged.error.operation_id == "send_text"


class ReadTimeout(Exception):
    """A timeout of a library that is no ``TimeoutError``."""


class Kept(Exception):
    """An error that keeps what caused it as its reason, as urllib3 does."""

    def __init__(self, reason: BaseException) -> None:
        super().__init__()
        self.reason = reason


def caused(cause: BaseException) -> Exception:
    error = ValueError("+5511999998888")
    error.__cause__ = cause
    return error


REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
UNTRUSTED = ssl.SSLCertVerificationError(1, "certificate verify failed")
UNTRUSTED.verify_message = "self-signed certificate"


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (ExchangeFailed(REFUSED, written=True, late=True), "the deadline passed"),
        (ExchangeFailed(REFUSED, written=True), "Connection refused"),
        (ExchangeFailed(wrapped(REFUSED), written=True), "Connection refused"),
        (ExchangeFailed(caused(REFUSED), written=True), "Connection refused"),
        (ExchangeFailed(Kept(REFUSED), written=True), "Connection refused"),
        (ExchangeFailed(wrapped(UNTRUSTED), written=True), "certificate: self-signed certificate"),
        (ExchangeFailed(caused(ReadTimeout("x")), written=True), "timed out"),
        (ExchangeFailed(caused(zlib.error("x")), written=True), "the answer cannot be decompressed"),
        (ExchangeFailed(OSError("+5511999998888"), written=True), "OSError"),
        (ExchangeFailed(OSError(5, 6), written=True), "OSError"),
        (ExchangeFailed(caused(KeyError("+5511999998888")), written=True), "KeyError"),
    ],
)
def test_the_reason_of_a_failure_quotes_no_text_of_a_library(failure: ExchangeFailed, reason: str) -> None:
    assert reason_of(failure) == reason


def test_an_answer_that_is_too_large_says_so() -> None:
    too_large = AnswerTooLargeError("the answer has more than 5 bytes")
    assert reason_of(ExchangeFailed(too_large, written=True)) == "the answer has more than 5 bytes"


@pytest.mark.parametrize(("value", "seconds"), [("300", 300), ("301", 300), ("1e-9", 1e-9)])
def test_retry_after_has_bounds(value: str, seconds: float) -> None:
    assert retry_after({"Retry-After": value}) == seconds
    assert retry_after({}) is None
