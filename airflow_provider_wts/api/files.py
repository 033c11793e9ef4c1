"""Calls about files. An upload has three steps, the second of which goes to a storage outside the API."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.errors import (
    WtsError,
    WtsNotSentError,
    WtsRejectedError,
    WtsUnknownOutcomeError,
    WtsUnreachableError,
)
from airflow_provider_wts.api.wire import UNSET, Unset, given

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_wts.api.transport import ExchangeFailed, Reply, Transport
    from airflow_provider_wts.api.types import FileV2, UrlUploadFileV2


def get_file_upload_url(
    name: str, file_type: str = "UNDEFINED", *, mime_type: str | Unset = UNSET
) -> Call[UrlUploadFileV2]:
    """Begin an upload; returns the address for the content, and the ID for :func:`save_file`.

    :param name: file name with its extension.
    :param file_type: ``IMAGE``, ``AUDIO``, ``VIDEO``, ``PDF``, ``EXCEL``, ``WORD``, ``DOCUMENT``, or ``UNDEFINED``
        to leave it to the platform, which converts images and videos for the channels, but not documents.
    :param mime_type: MIME type; inferred by the platform if omitted.
    """
    return Call("get_file_upload_url", query=given(Type=file_type, Name=name, MimeType=mime_type))


def save_file(temp_file_id: str) -> Call[FileV2]:
    """End an upload; returns the file with its permanent ID.

    :param temp_file_id: from :func:`get_file_upload_url`.
    """
    return Call("save_file", body={"tempFileId": temp_file_id})


_STEP = "upload"

#: The minimum speed that the timeout of an upload allows for, in bytes per second.
SLOWEST_LINK = 50_000

#: Temporary errors of a storage; S3 answers a stalled upload with 400.
_PASSING = {400, 408, 425, 429, 500, 502, 503, 504}


class Content:
    """Streams a file of known length, because object stores refuse uploads of unknown length.

    :param file: the file, open for reading, at its beginning.
    :param size: its length in bytes.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._left = size
        self._size = size
        self.problem: Exception | None = None

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        while block := self.read(64 * 1024):
            yield block

    def read(self, size: int = -1) -> bytes:
        """Read the next block, but never beyond the announced length, even if the file grows.

        :param size: maximum bytes to read.
        """
        try:
            block = self._file.read(self._left if size < 0 else min(size, self._left))
            if not block and self._left:
                raise EOFError("it became shorter during the upload")
        except Exception as error:
            # Recorded, because the HTTP library reports this as a network error.
            self.problem = error
            raise
        self._left -= len(block)
        return block


def put_content(transport: Transport, url: str, content: Content, *, mime_type: str | None, timeout: float) -> None:
    """Upload the content of a file, as :meth:`~airflow_provider_wts.api.client.WtsClient.put_content` describes.

    :param url: ``urlUpload`` of ``get_file_upload_url``; it is a secret while it is valid.
    :param mime_type: the MIME type that the API was given; the address may only be valid for it.
    :param timeout: seconds for a small file; a large one gets more.
    """
    from airflow_provider_wts.api.transport import ExchangeFailed

    host = urlsplit(url).hostname or ""
    try:
        reply = transport.exchange(
            "PUT",
            url,
            headers={"Content-Type": mime_type} if mime_type else None,
            content=content,
            # The address itself authenticates. A second method would be refused, and the token is for the API only.
            auth=None,
            timeout=timeout + len(content) / SLOWEST_LINK,
            fresh=True,
        )
    except ExchangeFailed as failure:
        raise _failure(failure, host, content.problem) from None
    if not 200 <= reply.status < 300:
        raise _refusal(reply, host)
    if b"<html" in reply.body[:1000].lower():
        raise _uncertain(f"not the file storage {host}, but a web page answered. Starting over does no harm.")


def _failure(failure: ExchangeFailed, host: str, problem: Exception | None) -> WtsError:
    from airflow_provider_wts.api.contract import operations
    from airflow_provider_wts.api.outcome import judge_failure, reason_of

    if problem is not None:
        return _uncertain(f"the file could not be read completely ({type(problem).__name__}: {problem}).")
    reason = reason_of(failure)
    error = judge_failure(operations()["save_file"], failure).error
    if isinstance(error, WtsUnreachableError):
        return WtsUnreachableError(
            f"{_STEP}: the file storage {host} cannot be reached ({reason}). Check whether this machine may reach it.",
            operation_id=_STEP,
            passing=error.passing,
        )
    if isinstance(error, WtsNotSentError):
        return WtsNotSentError(
            f"{_STEP}: no connection to the file storage {host} could be made ({reason}).", operation_id=_STEP
        )
    return _uncertain(f"the file storage {host} gave no usable answer: {reason}. Starting over does no harm.")


def _refusal(reply: Reply, host: str) -> WtsError:
    # Without the storage's own text, which is XML with request IDs, and may quote the address.
    words = f"the file storage {host} answered HTTP {reply.status}"
    if reply.status in _PASSING:
        return _uncertain(f"{words}. Starting over does no harm.", reply.status)
    return WtsRejectedError(f"{_STEP}: {words} and refused the content.", operation_id=_STEP, status=reply.status)


def _uncertain(words: str, status: int | None = None) -> WtsError:
    return WtsUnknownOutcomeError(f"{_STEP}: {words}", operation_id=_STEP, status=status, repeatable=True)
