"""Calls about files: an upload takes three steps, the second of which goes to a storage outside the API."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.contract import operations
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
    """Begin an upload; answers where the content goes, and the id that ends the upload.

    :param name: file name with its extension.
    :param file_type: ``IMAGE``, ``AUDIO``, ``VIDEO``, ``PDF``, ``EXCEL``, ``WORD``, ``DOCUMENT``, or ``UNDEFINED``,
        which leaves it to the platform. Images and videos are transformed to suit the channels; documents are not.
    :param mime_type: MIME type; left out, the platform derives it.
    """
    return Call("get_file_upload_url", query=given(Type=file_type, Name=name, MimeType=mime_type))


def save_file(temp_file_id: str) -> Call[FileV2]:
    """End an upload; answers the file with its permanent id.

    :param temp_file_id: what :func:`get_file_upload_url` answered.
    """
    return Call("save_file", body={"tempFileId": temp_file_id})


_STEP = "upload"

#: The slowest link that an upload is given time for, in bytes per second.
SLOWEST_LINK = 50_000

#: Statuses of a storage that is busy or slow; S3 answers a stalled upload with 400.
_PASSING = {400, 408, 425, 429, 500, 502, 503, 504}


class Content:
    """A file that is read while it is sent, block by block, and whose length is known before.

    Object storages take no upload of unknown length.

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
        """Read on; never more than was promised, since what grows meanwhile would not be announced.

        :param size: the most bytes to read.
        """
        try:
            block = self._file.read(self._left if size < 0 else min(size, self._left))
            if not block and self._left:
                raise EOFError("it became shorter while it was sent")
        except Exception as error:
            # Noted, because whoever sends it takes this for a failure of the network.
            self.problem = error
            raise
        self._left -= len(block)
        return block


def put_content(transport: Transport, url: str, content: Content, *, mime_type: str | None, timeout: float) -> None:
    """Put the content of a file to the address that the API gave for it, once.

    :param transport: makes the exchange.
    :param url: ``urlUpload`` of ``get_file_upload_url``; it is a secret as long as it lives.
    :param content: the file.
    :param mime_type: the MIME type that the API was given; the address may be valid for it only.
    :param timeout: seconds for a small file; a large one gets more.
    :raises WtsNotSentError: when the storage was not reached.
    :raises WtsUnknownOutcomeError: when it gave no usable answer. Starting the upload over does no harm.
    :raises WtsRejectedError: when it refuses the content.
    """
    from airflow_provider_wts.api.transport import ExchangeFailed

    host = urlsplit(url).hostname or ""
    try:
        reply = transport.exchange(
            "PUT",
            url,
            headers={"Content-Type": mime_type} if mime_type else None,
            content=content,
            # Nothing authenticates but the address itself: two ways at once are refused, and the token is the API's.
            auth=None,
            timeout=timeout + len(content) / SLOWEST_LINK,
            fresh=True,
        )
    except ExchangeFailed as failure:
        raise _unreadable(content.problem) if content.problem else _failure(failure, host) from None
    if not 200 <= reply.status < 300:
        raise _refusal(reply, host)


def _unreadable(problem: Exception) -> WtsError:
    return WtsUnknownOutcomeError(
        f"{_STEP}: the file could not be read to its end ({type(problem).__name__}: {problem}).",
        operation_id=_STEP,
        repeatable=True,
    )


def _failure(failure: ExchangeFailed, host: str) -> WtsError:
    from airflow_provider_wts.api.outcome import judge_failure, reason_of

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
    return WtsUnknownOutcomeError(
        f"{_STEP}: the file storage {host} gave no usable answer: {reason}. Starting over does no harm.",
        operation_id=_STEP,
        repeatable=True,
    )


def _refusal(reply: Reply, host: str) -> WtsError:
    # The storage's own text is XML with request ids, and may quote the address.
    words = f"{_STEP}: the file storage {host} answers HTTP {reply.status}"
    if reply.status in _PASSING:
        return WtsUnknownOutcomeError(
            f"{words}. Starting over does no harm.", operation_id=_STEP, status=reply.status, repeatable=True
        )
    return WtsRejectedError(f"{words} and does not take the content.", operation_id=_STEP, status=reply.status)
