"""Files that a task writes: checked before anything is read, and there only when complete, in place of the old one."""

from __future__ import annotations

import json
import os
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError, quoted, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.sdk import ObjectStoragePath

_LOCAL = ("", "file", "local")

#: ASCII with escapes: no reader can take it for another encoding, or a character inside for a line's end. Made once:
#: ``json.dumps`` makes one for every line.
_ENCODER = json.JSONEncoder(separators=(",", ":"))


def output_file(parameter: str, text: str, *, example: str) -> ObjectStoragePath:
    """Return the place of a file that is about to be written.

    :param parameter: the parameter's name, for the error.
    :param text: any address that ``ObjectStoragePath`` takes.
    :param example: a good value, for the error.
    :raises WtsInvalidRequestError: when it cannot name a file, or its folder cannot be made.
    """
    if text.endswith(("/", os.sep)):
        raise WtsInvalidRequestError(
            f"{parameter}: {quoted(text)} is a folder. It must name a file. Example: {example}."
        )
    with _refused(parameter, text, example):
        path = _place(text)
        if path.is_dir():
            raise WtsInvalidRequestError(
                f"{parameter}: {quoted(text)} is a folder. It must name a file. Example: {example}."
            )
        make_folder(path)
        if is_local(path):
            _look_up(path)
    return path


def output_folder(parameter: str, text: str, *, example: str) -> ObjectStoragePath:
    """Return a folder that files are about to be written to.

    :param parameter: the parameter's name, for the error.
    :param text: any address that ``ObjectStoragePath`` takes.
    :param example: a good value, for the error.
    :raises WtsInvalidRequestError: when it cannot be a folder, or cannot be made.
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
    """Open a file for writing that gets its name when it is complete; until then it has another one beside it.

    :param path: the file.
    :param parameter: the parameter that names it, for the error.
    :param example: a good value, for the error.
    :raises WtsInvalidRequestError: when it cannot be opened.
    :raises WtsError: when it cannot be written to its end. A file of that name is left as it was.
    """
    # Short, because the name of the file may be as long as a name can be.
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
                f"{parameter}: {quoted(str(path))} could not be written: {reason_of(error)}. A file of that "
                "name is as it was before."
            ) from error
    except BaseException:
        # What is left has another name, and the first error matters more.
        with suppress(Exception):
            partial.unlink(missing_ok=True)
        raise


def publish(partial: ObjectStoragePath, path: ObjectStoragePath) -> None:
    """Give a complete file its name, in place of the file that has it.

    :param partial: the file.
    :param path: its name.
    """
    if is_local(path):
        partial.replace(path)
    else:
        path.fs.mv(partial.path, path.path)


def write_whole(path: ObjectStoragePath, content: bytes) -> None:
    """Write a file: on a local disk through a rename, in an object store in one request.

    :param path: the file.
    """
    if not is_local(path):
        path.write_bytes(content)
        return
    # Python's own paths: a ledger writes thousands of files.
    target = Path(path.path)
    # A name of its own: another try may be writing the same file.
    partial = target.with_name(f"{target.stem}.{uuid.uuid4().hex}.new")
    try:
        partial.write_bytes(content)
    except FileNotFoundError:
        make_folder(path)
        partial.write_bytes(content)
    partial.replace(target)


def json_line(value: Any, default: Callable[[Any], Any] | None = None) -> bytes:
    """Return a value as a line of a JSON Lines file.

    :param default: turns what JSON does not know into what it knows.
    """
    encoder = _ENCODER if default is None else json.JSONEncoder(default=default, separators=(",", ":"))
    return encoder.encode(value).encode() + b"\n"


def make_folder(path: ObjectStoragePath) -> None:
    """Make the folder of a file. Object stores have none, and some would take this for the order to make a bucket.

    :param path: the file.
    """
    if is_local(path):
        # Python's own: that of Airflow 2.11 says nothing useful about a place where there cannot be a folder.
        Path(path.path).parent.mkdir(parents=True, exist_ok=True)


def is_local(path: ObjectStoragePath) -> bool:
    """Whether a path is on a disk of this machine."""
    return path.protocol in _LOCAL


def _place(text: str) -> ObjectStoragePath:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    if "\0" in text:
        raise ValueError("a path cannot hold the character NUL")
    path = ObjectStoragePath(text)
    path.fs  # noqa: B018  # says whether the scheme is known
    return path


def _look_up(path: ObjectStoragePath) -> None:
    """Ask the file system whether it can have such a name at all."""
    with suppress(FileNotFoundError):
        os.lstat(path.path)


@contextmanager
def _refused(parameter: str, text: str, example: str) -> Iterator[None]:
    """Turn what a file system says of an impossible address into the words of the parameter."""
    try:
        yield
    except WtsError:
        raise
    except (OSError, ValueError, ImportError) as error:
        raise WtsInvalidRequestError(
            f"{parameter}: {quoted(text)} cannot be written to: {reason_of(error)}. Nothing was read. Example: "
            f"{example}."
        ) from None
