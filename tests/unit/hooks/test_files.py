"""Uploads in three steps: what goes where, what is refused, what is tried again, and how much memory it takes."""

from __future__ import annotations

import json
import os
import threading
import tracemalloc
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath

from airflow_provider_wts.api import files as file_calls
from airflow_provider_wts.api.client import WtsClient, checked_upload_url
from airflow_provider_wts.api.errors import (
    WtsInvalidRequestError,
    WtsNotSentError,
    WtsRejectedError,
    WtsUnexpectedAnswerError,
    WtsUnknownOutcomeError,
    WtsUnreachableError,
)
from airflow_provider_wts.hooks import files
from airflow_provider_wts.hooks.files import Source, _is_below
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.operators.message import WtsSendFileOperator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_wts.emulator.running import Emulator

TEMPORARY = "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"
FILE_ID = "0e0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"


class FakeStorage:
    """An API that knows the first and the last step, and a storage that answers as told; it keeps no content."""

    def __init__(self) -> None:
        self.puts: list[SimpleNamespace] = []
        self.begun: list[str] = []
        self.saved: list[Any] = []
        self.answers: list[int | str] = []
        #: What the last step answers, before it answers well.
        self.endings: list[tuple[int, bytes]] = []
        storage = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                storage.begun.append(self.path)
                self.answer({"tempFileId": TEMPORARY, "urlUpload": storage.url("/put?X-Signature=a%2Bb%2F%3D")})

            def do_POST(self) -> None:
                storage.saved.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                status, body = storage.endings.pop(0) if storage.endings else (200, None)
                self.answer({"id": FILE_ID, "type": "VIDEO"}, status, body)

            def do_PUT(self) -> None:
                told = storage.answers.pop(0) if storage.answers else 200
                left, size = int(self.headers["Content-Length"]), 0
                while told != "reset" and left > size:
                    size += len(self.rfile.read(min(65536, left - size)))
                storage.puts.append(SimpleNamespace(path=self.path, headers=dict(self.headers), size=size))
                if told == "reset":
                    self.connection.close()
                    self.close_connection = True
                elif told == "a web page":
                    self.answer({}, content=b"\r\n<!DOCTYPE html><HTML>Log in to this network")
                else:
                    self.answer({}, told)

            def answer(self, body: Any, status: int = 200, content: bytes | None = None) -> None:
                content = json.dumps(body).encode() if content is None else content
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.server.server_port}{path}"


@pytest.fixture
def storage() -> Iterator[FakeStorage]:
    fake = FakeStorage()
    yield fake
    fake.server.shutdown()
    fake.server.server_close()


@pytest.fixture
def client(storage) -> Iterator[WtsClient]:
    client = WtsClient("pn_test", base_url=storage.url())
    yield client
    client.close()


@pytest.fixture
def no_waits(monkeypatch):
    sleep = mock.Mock()
    monkeypatch.setattr(files.time, "sleep", sleep)
    return sleep


@pytest.fixture
def invoice(tmp_path):
    path = tmp_path / "fatura 118.pdf"
    path.write_bytes(b"%PDF-1.7 " * 1000)
    return path


# The three steps ------------------------------------------------------------------------------------------------------


def test_a_local_file_becomes_a_file_of_the_account(wts_connection, invoice):
    saved = WtsHook().upload(str(invoice))

    assert saved["type"] == "PDF"
    assert saved["name"] == "fatura 118.pdf"
    assert saved["size"] == 9000
    assert wts_connection.state.files.find(saved["id"])["content"] == invoice.read_bytes()
    (begin,) = wts_connection.requests_of("get_file_upload_url")
    assert dict(begin.query) == {"Type": "PDF", "Name": "fatura 118.pdf", "MimeType": "application/pdf"}
    assert wts_connection.violations == []


def test_the_token_does_not_go_to_the_storage(wts_connection, invoice, client, storage):
    WtsHook().upload(str(invoice))
    assert wts_connection.violations == []

    files.upload(client, str(invoice))
    (put,) = storage.puts
    assert "authorization" not in {name.lower() for name in put.headers}
    assert "pn_test" not in str(put.headers)


def test_the_emulator_would_notice_a_token(wts_connection, invoice, monkeypatch):
    import requests

    hook = WtsHook()
    place = hook.run(file_calls.get_file_upload_url("a.pdf", "PDF"))
    answer = requests.put(
        place["urlUpload"], data=b"x", headers={"Authorization": "Bearer pn_emulator"}, timeout=5, proxies={}
    )
    assert answer.status_code == 400
    assert wts_connection.violations != []


def test_the_content_goes_out_whole_and_with_its_length_and_type(client, storage, invoice):
    files.upload(client, str(invoice))

    (put,) = storage.puts
    assert put.size == 9000
    assert put.headers["Content-Length"] == "9000"
    assert put.headers["Content-Type"] == "application/pdf"
    assert "Transfer-Encoding" not in put.headers
    # A signature covers the address letter by letter.
    assert put.path == "/put?X-Signature=a%2Bb%2F%3D"
    assert storage.saved == [{"tempFileId": TEMPORARY}]


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_any_object_storage_is_a_source(wts_connection, object_store, tmp_path, scheme):
    path = ObjectStoragePath(f"file://{tmp_path}/foto.JPG" if scheme == "file" else "memory://bucket/foto.JPG")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\xff\xd8\xff" * 500)

    saved = WtsHook().upload(str(path))

    assert saved["type"] == "IMAGE"
    assert wts_connection.state.files.find(saved["id"])["content"] == b"\xff\xd8\xff" * 500


@pytest.mark.parametrize("mime_type", ["pdf", "image/\u20ac", "image/png\nX-Other: 1", "image/ png"])
def test_what_is_no_mime_type_is_refused_before_any_request(mime_type, wts_connection, invoice):
    with pytest.raises(WtsInvalidRequestError, match=r"mime_type: .* is not a MIME type"):
        WtsHook().upload(str(invoice), mime_type=mime_type)
    assert wts_connection.requests == []


def test_type_name_and_mime_type_can_be_given(wts_connection, invoice):
    saved = WtsHook().upload(str(invoice), file_type="DOCUMENT", name="Fatura.bin", mime_type="application/x-thing")

    assert (saved["type"], saved["name"]) == ("DOCUMENT", "Fatura.bin")
    (begin,) = wts_connection.requests_of("get_file_upload_url")
    assert ("MimeType", "application/x-thing") in begin.query


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("a.PNG", "IMAGE"),
        ("a.webp", "IMAGE"),
        ("a.mp4", "VIDEO"),
        ("a.3gp", "VIDEO"),
        ("a.mp3", "AUDIO"),
        ("a.ogg", "AUDIO"),
        ("a.opus", "AUDIO"),
        ("a.pdf", "PDF"),
        ("a.xlsx", "EXCEL"),
        ("a.xls", "EXCEL"),
        ("a.docx", "WORD"),
        ("a.doc", "WORD"),
        ("a.csv", "DOCUMENT"),
        ("a.pptx", "DOCUMENT"),
        ("a.unheard-of", "DOCUMENT"),
        ("a", "DOCUMENT"),
    ],
)
def test_the_type_is_told_by_the_name(name, wanted):
    assert files.file_type_of(files.mime_type_of(name)) == wanted


# Memory ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_a_large_file_is_not_held_in_memory(client, storage, tmp_path, prefix):
    path = tmp_path / "filme.mp4"
    with path.open("wb") as file:
        file.truncate(50 * 1024 * 1024)
    if prefix:
        ObjectStoragePath(f"{prefix}{path}").stat()
    tracemalloc.start()
    try:
        files.upload(client, f"{prefix}{path}")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert storage.puts[0].size == 50 * 1024 * 1024
    assert peak < 8 * 1024 * 1024


# Refused before any request -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.pdf", "does not exist"),
        ("folder", "is a folder"),
        ("folder/", "is a folder"),
        ("empty.pdf", "is empty"),
        ("empty.pdf/invoice.pdf", "does not exist"),
        ("pipe", "is not a file"),
        ("x" * 300, "cannot be read: File name too long"),
        ("a\0b.pdf", "cannot be read: |does not exist"),
    ],
)
def test_what_is_no_file_costs_no_request(wts_connection, tmp_path, name, words):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.pdf").touch()
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(WtsInvalidRequestError, match=f"attachment: .*{words}"):
        WtsHook().upload(str(tmp_path / name), parameter="attachment")
    assert wts_connection.requests == []


def test_an_unknown_scheme_is_refused(wts_connection):
    with pytest.raises(WtsInvalidRequestError, match="nosuch"):
        WtsHook().upload("nosuch://bucket/a.pdf")
    assert wts_connection.requests == []


@pytest.mark.parametrize("url", ["http://storage.example/put", "ftp://storage.example/put", "/put", "https://[", ""])
def test_a_customers_file_goes_to_no_unencrypted_address(url):
    with pytest.raises(WtsRejectedError, match="not an https address"):
        checked_upload_url(url, allow_http=False)


def test_good_addresses_for_content():
    for url in ("https://s3.example/put?sig=1", "http://127.0.0.1:9/put", "http://localhost/put"):
        assert checked_upload_url(url, allow_http=False) == url
    assert checked_upload_url("http://storage.test/put", allow_http=True) == "http://storage.test/put"


def test_an_answer_without_an_address_is_an_error(invoice):
    client = mock.Mock()
    client.perform.return_value = {"tempFileId": TEMPORARY, "urlUpload": None}
    with pytest.raises(WtsUnexpectedAnswerError, match="has no 'urlUpload'"):
        files.upload(client, str(invoice))


# Tried again ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [503, 500, 429, 400, "reset", "a web page"])
def test_a_lost_content_starts_over_at_the_first_step(client, storage, invoice, no_waits, trouble):
    storage.answers = [trouble, trouble]

    assert files.upload(client, str(invoice))["id"] == FILE_ID
    assert len(storage.begun) == len(storage.puts) == 3
    assert len(storage.saved) == 1
    assert [call.args[0] for call in no_waits.call_args_list] == [1.0, 5.0]


@pytest.mark.parametrize("lost", [(502, b""), (200, b""), (200, b"<html>"), (302, b"")])
def test_a_file_whose_lost_saving_cannot_be_repeated_starts_over(client, storage, invoice, no_waits, monkeypatch, lost):
    monkeypatch.setattr(client, "_sleep", lambda seconds: None)
    gone = (500, b'{"key": "ENTITY_NOT_FOUND"}')
    storage.endings = [lost, gone]

    assert files.upload(client, str(invoice))["id"] == FILE_ID
    assert (len(storage.puts), len(storage.saved)) == (2, 3)


def test_a_saving_that_is_refused_at_once_does_not_start_over(client, storage, invoice, no_waits):
    storage.endings = [(500, b'{"key": "ENTITY_ERROR"}')] * 2

    with pytest.raises(WtsRejectedError, match="ENTITY_ERROR"):
        files.upload(client, str(invoice))
    assert len(storage.saved) == 1


def test_it_ends_after_a_few_times(client, storage, invoice, no_waits):
    storage.answers = [503] * 9

    with pytest.raises(WtsUnknownOutcomeError, match="HTTP 503") as raised:
        files.upload(client, str(invoice))
    assert raised.value.repeatable
    assert len(storage.puts) == 4
    assert storage.saved == []


@pytest.mark.parametrize("status", [403, 404, 413, 307])
def test_a_refusal_of_the_storage_is_final_and_quotes_no_address(client, storage, invoice, no_waits, status):
    storage.answers = [status]

    with pytest.raises(WtsRejectedError, match=f"HTTP {status}") as raised:
        files.upload(client, str(invoice))
    assert "Signature" not in str(raised.value)
    assert len(storage.puts) == 1
    assert no_waits.mock_calls == []


def test_an_unreachable_storage_is_named_without_its_address(client, storage, invoice, no_waits, monkeypatch):
    monkeypatch.setattr(storage, "url", lambda path="": "http://127.0.0.1:9/put?X-Signature=secret")

    with pytest.raises(WtsUnreachableError, match=r"file storage 127\.0\.0\.1") as raised:
        files.upload(client, str(invoice))
    assert "secret" not in str(raised.value)
    assert len(storage.begun) == 4


def _rewrite(path: Any, content: bytes) -> None:
    path.write_bytes(content)


def _replace(path: Any, content: bytes) -> None:
    fresh = path.with_name("fresh")
    fresh.write_bytes(content)
    stat = path.stat()
    fresh.rename(path)
    # As a tool does that keeps the time of a file.
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("write", [_rewrite, _replace])
@pytest.mark.parametrize("size", [100, 9000, 12_000], ids=["shorter", "as long", "longer"])
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_file_that_changes_while_it_is_uploaded_is_refused(
    client, storage, tmp_path, no_waits, monkeypatch, write, size, scheme
):
    path = tmp_path / "invoice.pdf"
    path.write_bytes(b"a" * 9000)
    put_content = WtsClient.put_content

    def changing(*given, **more):
        write(path, b"b" * size)
        return put_content(*given, **more)

    monkeypatch.setattr(WtsClient, "put_content", changing)

    with pytest.raises(WtsNotSentError, match=r"changed while it was uploaded\. Nothing was sent"):
        files.upload(client, f"{scheme}{path}")
    assert storage.saved == []


def test_an_object_that_changes_while_it_is_uploaded_is_refused(client, storage, object_store, monkeypatch):
    object_store.pipe("/changing/invoice.pdf", b"a" * 9000)
    put_content = WtsClient.put_content

    def changing(*given, **more):
        put_content(*given, **more)
        object_store.pipe("/changing/invoice.pdf", b"b" * 9000)

    monkeypatch.setattr(WtsClient, "put_content", changing)

    with pytest.raises(WtsNotSentError, match="changed while it was uploaded"):
        files.upload(client, "memory://changing/invoice.pdf")
    assert storage.saved == []


class TestAllowedFiles:
    """``[wts] allowed_files``: a file of the worker must not reach a customer because a parameter names it."""

    @pytest.fixture
    def folders(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        for name in ("allowed", "allowed-not", "secret"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "a.pdf").write_bytes(b"content")
        (tmp_path / "allowed" / "link.pdf").symlink_to(tmp_path / "secret" / "a.pdf")
        (tmp_path / "allowed" / "folder").symlink_to(tmp_path / "secret")
        (tmp_path / "good.pdf").symlink_to(tmp_path / "allowed" / "a.pdf")
        monkeypatch.setenv("AIRFLOW__WTS__ALLOWED_FILES", f" {tmp_path}/allowed/ , s3://bucket/reports,")
        return tmp_path

    @pytest.mark.parametrize("path", ["allowed/a.pdf", "secret/../allowed/a.pdf", "good.pdf"])
    @pytest.mark.parametrize("scheme", ["", "file://"])
    def test_a_file_in_an_allowed_folder_is_taken(self, path: str, scheme: str, folders: Path) -> None:
        assert Source.of(f"{scheme}{folders}/{path}").size == 7

    @pytest.mark.parametrize(
        "path",
        ["secret/a.pdf", "allowed/../secret/a.pdf", "allowed/link.pdf", "allowed/folder/a.pdf", "allowed-not/a.pdf"],
    )
    @pytest.mark.parametrize("scheme", ["", "file://"])
    def test_any_other_file_is_refused_whatever_leads_there(self, path: str, scheme: str, folders: Path) -> None:
        with pytest.raises(WtsInvalidRequestError, match="allowed_files"):
            Source.of(f"{scheme}{folders}/{path}")

    def test_an_operator_sends_nothing_then(self, folders: Path, wts_connection: Emulator, context: Any) -> None:
        operator = WtsSendFileOperator(task_id="send", to="+55 11 99999-8888", file=f"{folders}/secret/a.pdf")
        with pytest.raises(AirflowFailException, match="allowed_files"):
            operator.execute(context)
        assert not wts_connection.requests_of("send_document")

    @pytest.mark.parametrize(
        ("path", "allowed", "below"),
        [
            ("s3://bucket/reports/a.pdf", "s3://bucket/reports", True),
            ("s3://aws_default@bucket/reports/a.pdf", "s3://bucket/reports/", True),
            ("S3://bucket/reports/a.pdf", "s3://", True),
            ("s3://bucket/reports-old/a.pdf", "s3://bucket/reports", False),
            ("s3://bucket@other/reports/a.pdf", "s3://bucket/reports", False),
            ("gs://bucket/reports/a.pdf", "s3://", False),
            ("simplecache::file:///etc/passwd", "file://", False),
            ("s3://bucket/reports/a.pdf", "/data", False),
        ],
    )
    def test_addresses_are_compared_by_scheme_and_folder(self, path: str, allowed: str, below: bool) -> None:
        assert _is_below(path, allowed) is below

    @pytest.mark.parametrize("path", ["memory://reports/../a.pdf", "memory://reports/%2e%2e/a.pdf"])
    def test_an_address_that_leads_upwards_is_refused(self, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__WTS__ALLOWED_FILES", "memory://")
        with pytest.raises(WtsInvalidRequestError):
            Source.of(path)
