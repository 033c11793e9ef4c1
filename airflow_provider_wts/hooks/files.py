"""A file on disk or in an object store becomes a file of WTS Chat, in three steps.

The API gives an address, the content goes there, and the API turns it into a file with a lasting id. The content is
read while it is sent, so that a large video takes no more memory than a small picture.
"""

from __future__ import annotations

import logging
import mimetypes
import time
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import unquote

from airflow_provider_wts.api.answers import required
from airflow_provider_wts.api.call import NOT_GIVEN
from airflow_provider_wts.api.errors import (
    WtsInvalidRequestError,
    WtsNotSentError,
    WtsUnknownOutcomeError,
    WtsUnreachableError,
)
from airflow_provider_wts.api.files import get_file_upload_url, save_file

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

    from airflow_provider_wts.api.client import WtsClient
    from airflow_provider_wts.api.types import FileV2

log = logging.getLogger(__name__)

FILE_TYPES = ("UNDEFINED", "PDF", "EXCEL", "WORD", "IMAGE", "AUDIO", "VIDEO", "DOCUMENT")

#: Seconds before the content is sent anew, each time from the first step on.
RETRY_SECONDS = (1.0, 5.0, 20.0)

_EXAMPLE = "A good value is '/opt/airflow/invoices/118.pdf', or 's3://aws_default@bucket/invoices/118.pdf'."

# Slim container images have no mime.types, and Python itself does not know these.
_MIME_TYPES = {
    ".3gp": "video/3gpp",
    ".aac": "audio/aac",
    ".amr": "audio/amr",
    ".doc": "application/msword",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".m4a": "audio/mp4",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".webp": "image/webp",
    ".xls": "application/vnd.ms-excel",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


class Source(NamedTuple):
    """A file that can be read.

    :param path: where it is.
    :param name: its name with extension.
    :param size: its length in bytes.
    :param version: what changes with its content.
    """

    path: Path | ObjectStoragePath
    name: str
    size: int
    version: object

    @classmethod
    def of(cls, path: str, *, parameter: str = "file") -> Source:
        """Look at a file.

        :param path: local path, or any address that ``ObjectStoragePath`` takes.
        :param parameter: the parameter's name, for the error.
        :raises WtsInvalidRequestError: when there is no such file, or nothing is in it.
        """
        place = _allowed(_place(path, parameter), path, parameter)
        try:
            if not place.is_file():
                there = "is not a file" if place.exists() else "does not exist, as seen from this worker"
                what = "is a folder" if place.is_dir() else there
                raise WtsInvalidRequestError(f"{parameter}: {path!r} {what}. {_EXAMPLE}")
            size, version = _size_and_version(place)
        except PermissionError as error:
            raise WtsInvalidRequestError(f"{parameter}: {path!r} may not be read: {error}.") from None
        except WtsInvalidRequestError:
            raise
        except (OSError, ValueError) as error:
            raise WtsInvalidRequestError(
                f"{parameter}: {path[:200]!r} cannot be read: {getattr(error, 'strerror', None) or error}. {_EXAMPLE}"
            ) from None
        if not size:
            raise WtsInvalidRequestError(f"{parameter}: {path!r} is empty.")
        return cls(place, PurePosixPath(path).name or place.name, size, version)

    def open(self) -> IO[bytes]:
        """Open the file for reading."""
        return cast("IO[bytes]", self.path.open("rb"))


def _size_and_version(place: Path | ObjectStoragePath) -> tuple[int, object]:
    # Airflow 2.11's paths of object stores are paths of pathlib, too.
    fs = getattr(place, "fs", None)
    if fs is None:
        found: Any = place.stat()
        return found.st_size, (found.st_size, found.st_mtime_ns, found.st_ino)
    # Some stores answer from what they remember.
    fs.invalidate_cache()
    return int(place.stat().st_size), fs.ukey(place.path)  # type: ignore[union-attr]


def mime_type_of(name: str) -> str | None:
    """Return the MIME type that a file name tells, if it tells one.

    :param name: file name, path or address.
    """
    suffix = PurePosixPath(name).suffix.lower()
    # Only the end of it: the query of an address, or a Windows drive, would mislead the library.
    return _MIME_TYPES.get(suffix) or mimetypes.guess_type(f"file{suffix}", strict=False)[0]


def file_type_of(mime_type: str | None) -> str:
    """Return the API's word for a kind of file; what it has no word for is a ``DOCUMENT``, which is left as it is.

    :param mime_type: MIME type.
    """
    group, _, kind = (mime_type or "").partition("/")
    if group in ("image", "audio", "video"):
        return group.upper()
    if kind == "pdf":
        return "PDF"
    if "spreadsheetml" in kind or "excel" in kind:
        return "EXCEL"
    return "WORD" if "wordprocessingml" in kind or kind == "msword" else "DOCUMENT"


def upload(
    client: WtsClient,
    path: str,
    *,
    file_type: str | None = None,
    name: str | None = None,
    mime_type: str | None = None,
    parameter: str = "file",
) -> FileV2:
    """Upload a file. When the content gets lost on its way, the upload starts over, which does no harm.

    :param client: the client.
    :param path: local path, or any address that ``ObjectStoragePath`` takes.
    :param file_type: one of :data:`FILE_TYPES`; told from the MIME type when left out.
    :param name: name that the customer sees; the file's own when left out.
    :param mime_type: MIME type; told from the name when left out.
    :param parameter: the parameter that holds ``path``, for the error.
    :return: the file; its ``id`` can be used in any number of messages.
    :raises WtsInvalidRequestError: when there is no such file, or nothing is in it.
    :raises WtsError: when the API or the file storage fails, or the file changed meanwhile.
    """
    source = Source.of(path, parameter=parameter)
    name = name or source.name
    mime_type = mime_type or mime_type_of(name) or mime_type_of(source.name)
    file_type = file_type or file_type_of(mime_type)
    begin = get_file_upload_url(name, file_type, mime_type=mime_type or NOT_GIVEN)
    waits = iter(RETRY_SECONDS)
    while True:
        place = client.perform(begin)
        url, temporary_id = (required(place, field, begin.operation_id) for field in ("urlUpload", "tempFileId"))
        try:
            with source.open() as file:
                client.put_content(url, file, source.size, mime_type=mime_type)
            break
        except (WtsNotSentError, WtsUnknownOutcomeError) as error:
            wait = next(waits, None)
            if wait is None or (isinstance(error, WtsUnreachableError) and not error.passing):
                raise
            log.warning("%s The upload starts over in %.0f s.", error, wait)
            time.sleep(wait)
            _refuse_changed(source, path, parameter)
    _refuse_changed(source, path, parameter)
    saved = client.perform(save_file(temporary_id))
    log.info("Uploaded a file of %s bytes as %s; its id is %s.", f"{source.size:,}", file_type, saved.get("id"))
    return saved


def _refuse_changed(source: Source, path: str, parameter: str) -> None:
    """Refuse a file that is written while it is read: what was uploaded may be cut, or mixed from two versions."""
    if Source.of(path, parameter=parameter).version != source.version:
        raise WtsNotSentError(
            f"{parameter}: {path!r} changed while it was uploaded. Nothing was sent. Write it under another name, "
            "and rename it when it is complete."
        )


def _allowed(place: Path | ObjectStoragePath, path: str, parameter: str) -> Path | ObjectStoragePath:
    """Return a file if ``[wts] allowed_files`` allows it: the real one, whatever links and ``..`` led there.

    :raises WtsInvalidRequestError: when it does not.
    """
    from airflow.providers.common.compat.sdk import conf

    allowed = [one.strip() for one in conf.get("wts", "allowed_files", fallback="").split(",") if one.strip()]
    if not allowed:
        return place
    scheme, _, rest = path.partition("://") if "://" in path else ("file", "", "")
    if scheme.lower() in ("file", "local"):
        place = Path(str(getattr(place, "path", place))).resolve()
        folders = [one.removeprefix("file://") for one in allowed if one.startswith(("/", "~", "file://"))]
        if any(place.is_relative_to(Path(folder).expanduser().resolve()) for folder in folders if folder):
            return place
    elif ".." not in unquote(rest).split("/") and any(_is_below(path, one) for one in allowed):
        return place
    raise WtsInvalidRequestError(
        f"{parameter}: {path!r} is in no folder that [wts] allowed_files allows. Nothing was sent. Put the file into "
        "one of them, or ask whoever runs this Airflow to allow its folder."
    )


def _is_below(path: str, allowed: str) -> bool:
    """Whether an address is in an allowed folder, or has an allowed scheme. The connection in it does not matter."""
    (scheme, rest), (allowed_scheme, folder) = (
        (text.partition("://")[0].lower(), text.partition("://")[2]) for text in (path, allowed)
    )
    authority, slash, key = rest.partition("/")
    rest = authority.rpartition("@")[2] + slash + key
    authority, slash, key = folder.partition("/")
    folder = (authority.rpartition("@")[2] + slash + key).rstrip("/")
    return "://" in allowed and scheme == allowed_scheme and (not folder or rest.startswith(f"{folder}/"))


def _place(path: str, parameter: str) -> Path | ObjectStoragePath:
    if "://" not in path:
        return Path(path).expanduser()
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    try:
        place: ObjectStoragePath = ObjectStoragePath(path)
        place.fs  # noqa: B018  # says whether the scheme is known
    except (ValueError, ImportError) as error:
        raise WtsInvalidRequestError(f"{parameter}: {path!r} cannot be read: {error}. {_EXAMPLE}") from None
    return place
