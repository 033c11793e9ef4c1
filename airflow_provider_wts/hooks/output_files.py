"""Files that a task writes. They are validated before anything is read, and replace the old file only when complete."""

from __future__ import annotations

import errno
import json
import os
import stat
import uuid
from contextlib import contextmanager, suppress
from glob import has_magic
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError, quoted, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.sdk import ObjectStoragePath

_LOCAL = ("", "file", "local")

#: Errors of a disk or of a file system in the network that may be over for the next try.
_TEMPORARY = frozenset([errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.EAGAIN, errno.EBUSY, errno.EMFILE])

#: ASCII with escapes, so that no reader can mistake the encoding, or a character for the end of a line. Created once,
#: because ``json.dumps`` would create one per line.
_ENCODER = json.JSONEncoder(separators=(",", ":"))


def output_file(parameter: str, text: str, *, example: str) -> ObjectStoragePath:
    """Return the path of a file that is about to be written.

    :raises WtsInvalidRequestError: when it cannot name a file, or its folder cannot be created.
    """
    with _refused(parameter, text, example):
        path = _place(text)
        if text.endswith(("/", os.sep)) or path.is_dir():
            raise WtsInvalidRequestError(
                f"{parameter}: {quoted(text)} is a folder. It must name a file. Example: {example}."
            )
        make_folder(path)
        if is_local(path):
            _check_local(path)
    return path


def output_folder(parameter: str, text: str, *, example: str) -> ObjectStoragePath:
    """Return a folder that files are about to be written to.

    :raises WtsInvalidRequestError: when it cannot be a folder, or cannot be created.
    """
    with _refused(parameter, text, example):
        path = _place(text)
        if path.is_file():
            raise WtsInvalidRequestError(
                f"{parameter}: {quoted(text)} is a file. It must name a folder. Example: {example}."
            )
        if is_local(path):
            path.mkdir(parents=True, exist_ok=True)
            if not os.access(path.path, os.W_OK | os.X_OK):
                raise PermissionError(f"this user may not write there: {text}")
    return path


@contextmanager
def whole_file(path: ObjectStoragePath, parameter: str, *, example: str) -> Iterator[IO[bytes]]:
    """Open a file for writing that gets its name only when it is complete.

    :raises WtsInvalidRequestError: when it cannot be opened.
    :raises WtsError: when it cannot be written completely. An existing file of that name is unchanged.
    """
    # A short name, because the file's own name may have the maximum length.
    partial = path.with_name(f"{uuid.uuid4().hex[:8]}.part")
    with _refused(parameter, str(path), example):
        file = cast("IO[bytes]", partial.open("wb"))  # type: ignore[no-untyped-call]
    try:
        try:
            with file:
                yield file
            publish(partial, path)
        except OSError as error:
            raise WtsError(
                f"{parameter}: {quoted(str(path))} could not be written: {reason_of(error)}. An existing file of that "
                "name is unchanged."
            ) from error
    except BaseException:
        # The first error matters more than a temporary file that is left behind.
        with suppress(Exception):
            partial.unlink(missing_ok=True)
        raise


def publish(partial: ObjectStoragePath, path: ObjectStoragePath) -> None:
    """Rename a complete file, replacing an existing one."""
    if is_local(path):
        partial.replace(path)
    else:
        path.fs.mv(partial.path, path.path)


def write_whole(path: ObjectStoragePath, content: bytes, *, durable: bool = False) -> None:
    """Write a file atomically: on a local disk with a rename, in an object store with one request.

    :param durable: whether to return only when it would survive a power failure.
    """
    if not is_local(path):
        path.write_bytes(content)
        return
    # Python's own paths are faster, and a ledger writes thousands of files.
    target = Path(path.path)
    # A unique name, because another try may be writing the same file.
    partial = target.with_name(f"{target.stem}.{uuid.uuid4().hex}.new")
    try:
        try:
            _write(partial, content, durable=durable)
        except FileNotFoundError:
            make_folder(path)
            if durable:
                _sync_folder(target.parent.parent)
            _write(partial, content, durable=durable)
        partial.replace(target)
    except BaseException:
        # What is left of it would keep a full disk full.
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    if durable:
        _sync_folder(target.parent)


def _write(path: Path, content: bytes, *, durable: bool) -> None:
    with path.open("wb") as file:
        file.write(content)
        if durable:
            file.flush()
            os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    """Make the names in a folder durable, where the file system and the folder's permissions allow this."""
    try:
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        if error.errno in _TEMPORARY:
            raise


def json_line(value: Any, default: Callable[[Any], Any] | None = None) -> bytes:
    """Return a value as a line of a JSON Lines file.

    :param default: converts types that JSON does not have.
    """
    encoder = _ENCODER if default is None else json.JSONEncoder(default=default, separators=(",", ":"))
    return encoder.encode(value).encode() + b"\n"


def make_folder(path: ObjectStoragePath) -> None:
    """Create the folder of a file, but not in object stores: they have no folders, and some would create a bucket."""
    if is_local(path):
        # Python's own path: that of Airflow 2.11 raises no useful error if there cannot be a folder.
        Path(path.path).parent.mkdir(parents=True, exist_ok=True)


def is_local(path: ObjectStoragePath) -> bool:
    """Whether a path is on a disk of this machine."""
    return path.protocol in _LOCAL


def _place(text: str) -> ObjectStoragePath:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    if "\0" in text:
        raise ValueError("a path cannot contain the character NUL")
    path = ObjectStoragePath(text)
    path.fs  # noqa: B018  # raises if the scheme is unknown
    if not is_local(path) and has_magic(path.path):
        raise ValueError("in an object store, a name with *, ? or [ is a pattern, and cannot be renamed or removed")
    return path


def _check_local(path: ObjectStoragePath) -> None:
    """Refuse a name that the file system cannot have, a device, which would be replaced, and a read-only folder."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(path.path).st_mode):
            raise ValueError("it is a device or another special file")
    if not os.access(Path(path.path).parent, os.W_OK | os.X_OK):
        raise PermissionError("this user may not write to its folder")


@contextmanager
def _refused(parameter: str, text: str, example: str) -> Iterator[None]:
    """Turn a file system's error about an invalid address into one that names the parameter."""
    try:
        yield
    except WtsError:
        raise
    except Exception as error:
        said = f"{parameter}: {quoted(text)} cannot be written to: {reason_of(error)}. Nothing was read."
        raise file_problem(said, f"Example: {example}.", error) from None


def file_problem(said: str, advice: str, error: Exception) -> WtsError:
    """Return the error for a file, which is final only if a retry would fail, too.

    :param said: what happened.
    :param advice: what to correct then.
    :param error: what a file system raised: libraries of object stores have errors of their own.
    """
    is_temporary = isinstance(error, (ConnectionError, TimeoutError)) or getattr(error, "errno", None) in _TEMPORARY
    if isinstance(error, (OSError, ValueError, ImportError)) and not is_temporary:
        return WtsInvalidRequestError(f"{said} {advice}")
    return WtsError(f"{said} A retry checks it again.")
