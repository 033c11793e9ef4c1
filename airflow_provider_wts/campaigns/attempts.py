"""Incomplete results: where each try of a campaign writes them, and the manifest that lists the tries."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from airflow.sdk import ObjectStoragePath

#: An example of ``results_path``, for errors.
EXAMPLE = "'s3://aws_default@bucket/campaign/{{ ds }}.jsonl'"

#: Suffix of a manifest, after the name of the results.
MANIFEST = ".manifest.json"


class Attempt(NamedTuple):
    """The files of one try until its results are complete.

    :param address: the address of the complete results.
    :param name: distinguishes the tries.
    """

    address: str
    name: str

    @property
    def lines_address(self) -> str:
        """Where its lines are. In an object store, there may be more parts, with this name and a number."""
        return f"{self.address}.{self.name}.part"

    @property
    def pending_address(self) -> str:
        """Where the recipients of the last requests are, and the lines that are in no part yet."""
        return f"{self.address}.{self.name}.next"

    def files(self) -> Iterator[ObjectStoragePath]:
        """Return the existing files. A recipient's line in a later file replaces that in an earlier one."""
        candidates = (part_of(self.lines_address, number) for number in count())
        # Before the parts, because its lines may be out of date.
        yield from (path for path in [place(self.pending_address)] if path.exists())
        yield from takewhile(lambda part: part.exists(), candidates)

    def remove(self) -> None:
        """Remove its files."""
        with suppress(Exception):
            remove(reversed(list(self.files())))


def part_of(address: str, number: int) -> ObjectStoragePath:
    """Return a part of a file."""
    return place(f"{address}.{number}" if number else address)


def place(address: str) -> ObjectStoragePath:
    """Return a path."""
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    return ObjectStoragePath(address)


def remove(paths: Iterable[ObjectStoragePath]) -> None:
    """Remove files, ignoring errors."""
    for path in paths:
        with suppress(Exception):
            path.unlink(missing_ok=True)


def unfinished_manifest(address: str) -> str:
    """Return where the manifest of incomplete results goes while one of complete results has its name."""
    return f"{address}.unfinished{MANIFEST}"


def manifest_at(address: str) -> dict[str, Any] | None:
    """Return a manifest, or ``None``."""
    try:
        found = json.loads(place(address).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def is_complete(manifest: Mapping[str, Any] | None) -> bool:
    """Whether a manifest exists, and its results are complete."""
    # Older versions wrote manifests only at the end.
    return manifest is not None and manifest.get("complete", True) is True


def latest_manifest(address: str) -> dict[str, Any] | None:
    """Return the last manifest that a try wrote, or ``None``."""
    named, unfinished = manifest_at(f"{address}{MANIFEST}"), manifest_at(unfinished_manifest(address))
    if unfinished is None:
        return named
    # A kill may have prevented its removal.
    is_left = is_complete(named) and unfinished.get("attempts", [])[-1:] == (named or {}).get("attempts")
    return named if is_left else unfinished
