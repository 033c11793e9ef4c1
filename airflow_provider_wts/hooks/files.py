"""Files to send: on a worker's disk, in an object store, or at a web address."""

from __future__ import annotations

import logging
import mimetypes
import re
import time
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from airflow_provider_wts.api import parameters
from airflow_provider_wts.api.answers import required
from airflow_provider_wts.api.errors import (
    WtsError,
    WtsInvalidRequestError,
    WtsNotSentError,
    WtsRejectedError,
    WtsUnknownOutcomeError,
    WtsUnreachableError,
    quoted,
    reason_of,
)
from airflow_provider_wts.api.files import get_file_upload_url, save_file
from airflow_provider_wts.api.sends import KINDS
from airflow_provider_wts.api.wire import UNSET, is_uuid

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

    from airflow_provider_wts.api.client import WtsClient
    from airflow_provider_wts.api.messages import QuickContent
    from airflow_provider_wts.api.types import FileV2
    from airflow_provider_wts.hooks.wts import WtsHook


log = logging.getLogger(__name__)

FILE_TYPES = ("UNDEFINED", "PDF", "EXCEL", "WORD", "IMAGE", "AUDIO", "VIDEO", "DOCUMENT")

#: Seconds before each retry of an upload, which starts over from the first step.
RETRY_SECONDS = (1.0, 5.0, 20.0)

_EXAMPLE = "Example: '/opt/airflow/invoices/118.pdf', or 's3://aws_default@bucket/invoices/118.pdf'."

# Types that Python itself does not know; slim container images have no mime.types.
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
    """A readable file.

    :param name: its name with extension.
    :param size: its length in bytes.
    :param version: changes when its content does.
    """

    path: Path | ObjectStoragePath
    name: str
    size: int
    version: object

    @classmethod
    def of(cls, path: str, *, parameter: str = "file") -> Source:
        """Check a file.

        :param path: local path, or any address that ``ObjectStoragePath`` supports.
        :raises WtsInvalidRequestError: when there is no such file, or it is empty.
        """
        place = _allowed(_place(path, parameter), path, parameter)
        try:
            if not place.is_file():
                # From Python 3.14 on, is_file() returns False without permission; stat() raises.
                with suppress(FileNotFoundError, NotADirectoryError):
                    place.stat()
                there = "is not a file" if place.exists() else "does not exist, as seen from this worker"
                what = "is a folder" if place.is_dir() else there
                raise WtsInvalidRequestError(f"{parameter}: {quoted(path)} {what}. {_EXAMPLE}")
            size, version = _size_and_version(place)
        except PermissionError as error:
            raise WtsInvalidRequestError(
                f"{parameter}: no permission to read {quoted(path)}: {reason_of(error)}."
            ) from None
        except WtsInvalidRequestError:
            raise
        except (OSError, ValueError) as error:
            raise _unreadable(path, parameter, error) from None
        if not size:
            raise WtsInvalidRequestError(f"{parameter}: {quoted(path)} is empty.")
        return cls(place, PurePosixPath(path).name or place.name, size, version)

    def open(self) -> IO[bytes]:
        """Open the file for reading."""
        return cast("IO[bytes]", self.path.open("rb"))


def _size_and_version(place: Path | ObjectStoragePath) -> tuple[int, object]:
    # In Airflow 2.11, paths of object stores are also paths of pathlib.
    fs = getattr(place, "fs", None)
    if fs is None:
        found: Any = place.stat()
        return found.st_size, (found.st_size, found.st_mtime_ns, found.st_ino)
    # Some stores cache listings.
    fs.invalidate_cache()
    return int(place.stat().st_size), fs.ukey(place.path)  # type: ignore[union-attr]


def mime_type_of(name: str) -> str | None:
    """Return the MIME type of a file name, path or address, if known."""
    suffix = PurePosixPath(name).suffix.lower()
    # Only the suffix: the query of an address, or a Windows drive, would mislead the library.
    return _MIME_TYPES.get(suffix) or mimetypes.guess_type(f"file{suffix}", strict=False)[0]


def file_type_of(mime_type: str | None) -> str:
    """Return the API's file type for a MIME type; the default is ``DOCUMENT``, which WTS Chat does not convert."""
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
    """Upload a file, as :meth:`~airflow_provider_wts.hooks.wts.WtsHook.upload` describes.

    If the content or the answer to the last step is lost in transit, the upload starts over, which does no harm.
    """
    if mime_type and not re.fullmatch("[!-~]+/[!-~]+(; *[!-~]+)*", mime_type):
        raise WtsInvalidRequestError(f"mime_type: {quoted(mime_type)} is not a MIME type. Example: 'application/pdf'.")
    source = Source.of(path, parameter=parameter)
    name = name or source.name
    mime_type = mime_type or mime_type_of(name) or mime_type_of(source.name)
    file_type = file_type or file_type_of(mime_type)
    begin = get_file_upload_url(name, file_type, mime_type=mime_type or UNSET)
    waits = iter(RETRY_SECONDS)
    while True:
        place = client.perform(begin)
        url, temporary_id = (required(place, field, begin.operation_id) for field in ("urlUpload", "tempFileId"))
        problem: WtsError
        try:
            with source.open() as file:
                client.put_content(url, file, source.size, mime_type=mime_type)
        except (WtsNotSentError, WtsUnknownOutcomeError) as error:
            if isinstance(error, WtsUnreachableError) and not error.passing:
                raise
            problem = error
        else:
            _refuse_changed(source, path, parameter)
            try:
                saved = client.perform(save_file(temporary_id))
                break
            except WtsRejectedError as error:
                # The temporary ID may be gone because an earlier attempt saved the file.
                if not error.in_doubt:
                    raise
                problem = error
        wait = next(waits, None)
        if wait is None:
            raise problem
        log.warning("%s The upload starts over in %.0f s.", problem, wait)
        time.sleep(wait)
        _refuse_changed(source, path, parameter)
    log.info("Uploaded a file of %s bytes as %s; its ID is %s.", f"{source.size:,}", file_type, saved.get("id"))
    return saved


def _refuse_changed(source: Source, path: str, parameter: str) -> None:
    """Refuse a file that changed during the upload, which may be truncated or a mix of two versions."""
    if Source.of(path, parameter=parameter).version != source.version:
        raise WtsNotSentError(
            f"{parameter}: {quoted(path)} changed while it was uploaded. Nothing was sent. Write it under another "
            "name, and rename it when it is complete."
        )


def _allowed(place: Path | ObjectStoragePath, path: str, parameter: str) -> Path | ObjectStoragePath:
    """Return a file with links and ``..`` resolved, if ``[wts] allowed_files`` allows it; refuse it otherwise."""
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
        f"{parameter}: {quoted(path)} is not in a folder that [wts] allowed_files allows. Nothing was sent. Put the "
        "file into one of them, or ask whoever runs this Airflow to allow its folder."
    )


def _is_below(path: str, allowed: str) -> bool:
    """Whether an address is in an allowed folder, or has an allowed scheme. The connection in it does not matter."""

    def parts(address: str) -> tuple[str, str]:
        scheme, _, rest = address.partition("://")
        authority, slash, key = rest.partition("/")
        return scheme.lower(), authority.rpartition("@")[2] + slash + key

    (scheme, key), (allowed_scheme, folder) = parts(path), parts(allowed)
    folder = folder.rstrip("/")
    return "://" in allowed and scheme == allowed_scheme and (not folder or key.startswith(f"{folder}/"))


def _place(path: str, parameter: str) -> Path | ObjectStoragePath:
    if "://" not in path:
        return Path(path).expanduser()
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    try:
        place: ObjectStoragePath = ObjectStoragePath(path)
        place.fs  # noqa: B018  # raises if the scheme is unknown
    except (ValueError, ImportError) as error:
        raise _unreadable(path, parameter, error) from None
    return place


def _unreadable(path: str, parameter: str, error: Exception) -> WtsInvalidRequestError:
    return WtsInvalidRequestError(f"{parameter}: {quoted(path)} cannot be read: {reason_of(error)}. {_EXAMPLE}")


_FILE_EXAMPLE = "Example: 'https://example.com/invoice.pdf', or 's3://aws_default@bucket/invoices/118.pdf'."

#: Placeholder in a request that is only shown, because the file is uploaded right before the send.
NOT_UPLOADED = "(id of the file, which is uploaded when it is sent)"


class OutgoingFile:
    """A file as the user named it, which is uploaded, if necessary, right before the message goes out.

    Not earlier: a later try that finds its message sent does not need the file, which may be gone by then.

    :param value: public address, ID, local path, or any other address that ``ObjectStoragePath`` supports.
    :param name: the name for the upload.
    :param mime_type: its MIME type, if known.
    :param check: whether to check now that the file exists.
    :raises WtsInvalidRequestError: when it is blank, or the check finds no such file.
    """

    def __init__(
        self,
        hook: WtsHook,
        value: Any,
        *,
        name: Any = None,
        mime_type: Any = None,
        check: bool,
    ) -> None:
        given = parameters.text("file", value) or ""
        if not given.strip():
            raise WtsInvalidRequestError(f"file: is empty. {_FILE_EXAMPLE}")
        self._hook = hook
        self._name = parameters.filter_text("file_name", name) or None
        self._mime_type = parameters.filter_text("mime_type", mime_type) or None
        self._kind: str | None = None
        self._uploaded: str | None = None
        self.given = given.strip()
        self.is_address = self.given.lower().startswith(("http://", "https://"))
        if self.is_address:
            self.given = encoded_address(self.given)
        self.is_local = not self.is_address and not is_uuid(self.given)
        if self.is_local and check:
            Source.of(self.given)

    def kind(self, given: Any) -> str | None:
        """Return the kind of message for the file, or ``None`` if an ID or address does not show it.

        :param given: one of :data:`KINDS`; inferred from the name if omitted.
        :raises WtsInvalidRequestError: when it is not one of them.
        """
        chosen = parameters.filter_choice("kind", given, KINDS)
        self._kind = chosen if isinstance(chosen, str) else self._inferred_kind()
        return self._kind

    def upload(self) -> None:
        """Upload the file, if necessary.

        :raises WtsInvalidRequestError: when there is no such file.
        """
        if self.is_local and self._uploaded is None:
            saved = self._hook.upload(
                self.given, file_type=self._uploaded_as(), name=self._name, mime_type=self._mime_type
            )
            self._uploaded = str(required(saved, "id", "save_file"))

    @property
    def reference(self) -> str:
        """The address or ID of the file for the API, once it is uploaded."""
        return (self._uploaded or NOT_UPLOADED) if self.is_local else self.given

    def put_into(self, content: QuickContent) -> None:
        """Add the file to the content of a quick send."""
        if self.is_address:
            content["file_url"] = self.given
        else:
            content["file_id"] = self.reference

    def _inferred_kind(self) -> str | None:
        inferred = self._inferred_type()
        if inferred is None and not self.is_local:
            return None
        kind = file_type_of(inferred).lower()
        return kind if kind in KINDS else "document"

    def _inferred_type(self) -> str | None:
        if self._mime_type or (not self.is_address and not self.is_local):
            return self._mime_type
        return mime_type_of(self._name or (urlsplit(self.given).path if self.is_address else self.given))

    def _uploaded_as(self) -> str | None:
        """Return the file type for the upload; WTS Chat converts images and videos, but not documents."""
        inferred = file_type_of(self._inferred_type())
        if self._kind == "document":
            return "DOCUMENT" if inferred in ("IMAGE", "AUDIO", "VIDEO") else inferred
        return self._kind.upper() if self._kind else None


def encoded_address(address: str) -> str:
    """Percent-encode spaces and accents in a public http(s) address, but nothing that is already encoded.

    :raises WtsInvalidRequestError: when it has no host.
    """
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        ascii_host = host if host.isascii() else host.encode("idna").decode()
    except ValueError:
        ascii_host = ""
    if not ascii_host or any(character.isspace() for character in parts.netloc):
        raise WtsInvalidRequestError(f"file: {quoted(address)} is not a valid address. {_FILE_EXAMPLE}")
    netloc = parts.netloc.replace(host, ascii_host) if host != ascii_host else parts.netloc
    encoded = (_encoded(part) for part in (parts.path, parts.query, parts.fragment))
    return urlunsplit((parts.scheme, netloc, *encoded))


def _encoded(part: str) -> str:
    # Escape percent signs that do not begin a code.
    return quote(re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", part), safe="%!$&'()*+,/:;=?@[]~")
