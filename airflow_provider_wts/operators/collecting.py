"""Collects a list of the API, page by page: into a small answer, or into a JSON Lines file with a manifest.

One page is in memory at a time, so that a list of 100,000 items takes no more than one of 100. A page that fails is
tried again as that page: a long list does not begin anew because of a minute without network.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError
from airflow_provider_wts.hooks.failures import is_final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.types import Logger

    from airflow_provider_wts.api.call import Call

#: The largest answer that goes into XCom, in items and in bytes of JSON. Airflow keeps XCom in its database.
INLINE_ITEMS = 1000
INLINE_BYTES = 1_000_000

#: A line in the log each so many pages.
PAGES_PER_LINE = 10

#: How often a page is tried again after the client gave it up, and the seconds between.
PAGE_RETRIES = 3
PAGE_RETRY_SECONDS = 30.0


class Collector:
    """Walks one list.

    :param run: performs a call, with the client's own retries.
    :param call: the list, paged or not.
    :param log: where progress goes.
    :param page_size: items per page, 1 to 100.
    :param max_items: end after so many items; ``None`` = all.
    """

    # A plain class, as everything that a DAG file imports: making a dataclass takes longer than the rest of a module.
    def __init__(
        self,
        run: Callable[[Call[Any]], Any],
        call: Call[Any],
        log: Logger,
        page_size: int = 100,
        max_items: int | None = None,
    ) -> None:
        self.run = run
        self.call = call
        self.log = log
        self.page_size = page_size
        self.max_items = max_items
        self.pages = 0
        self.items = 0
        self.total: int | None = None
        self.cut = False
        self._more = False

    def inline(self) -> list[Any]:
        """Return the items.

        :raises AirflowFailException: when they are too many or too large for XCom; none is dropped silently.
        """
        found: list[Any] = []
        size = 0
        for batch in self._batches():
            found += batch
            size += sum(len(_line(item)) for item in batch)
            # What page 1 says spares the calls for a list that will not fit anyway.
            expected = min(self.total or 0, self.max_items or self.total or 0)
            if max(len(found), expected) > INLINE_ITEMS or size > INLINE_BYTES:
                raise AirflowFailException(
                    f"{self.call.operation_id}: the list is too large for XCom: at least {max(len(found), expected):,} "
                    f"items; the limit is {INLINE_ITEMS:,} items and {INLINE_BYTES:,} bytes. Set output_path to write "
                    "it to a file, for example 's3://aws_default@bucket/contacts/{{ ds }}.jsonl', or max_items to cut "
                    "it."
                )
        self._conclude()
        return found

    def to_file(self, output_path: str) -> dict[str, Any]:
        """Write the items as JSON Lines, and return what was written.

        The file gets its name when it is complete; until then it has another one beside it.

        :param output_path: any address that Airflow's ``ObjectStoragePath`` takes.
        :return: the manifest: path, items, pages, bytes, total_items as the API counts them, and whether max_items
            cut the list.
        :raises WtsInvalidRequestError: when the address names no file, before anything is asked for.
        """
        path = _path(output_path)
        partial = path.with_name(f"{path.name}.{uuid4().hex[:8]}.part")
        _make_folder(path)
        try:
            with cast("IO[bytes]", partial.open("wb")) as file:  # type: ignore[no-untyped-call]
                size = self._write(file)
            path.fs.mv(partial.path, path.path)
        except BaseException:
            _remove(partial)
            raise
        self._conclude()
        self.log.info("%s: wrote %s, %s bytes.", self.call.operation_id, output_path, f"{size:,}")
        return {
            "path": output_path,
            "operation_id": self.call.operation_id,
            "items": self.items,
            "pages": self.pages,
            "bytes": size,
            "total_items": self.total,
            "cut": self.cut,
        }

    def _write(self, file: IO[bytes]) -> int:
        size = 0
        for batch in self._batches():
            for item in batch:
                line = _line(item)
                file.write(line)
                size += len(line)
        return size

    def _batches(self) -> Iterator[list[Any]]:
        """Walk the items page by page; an item that moved to the next page meanwhile comes once."""
        previous: set[Any] = set()
        for page in self._walk():
            batch = [item for item in page if _identity(item) is None or _identity(item) not in previous]
            previous = {_identity(item) for item in page}
            left = None if self.max_items is None else self.max_items - self.items
            self.cut = left is not None and (len(batch) > left or (len(batch) == left and self._more))
            batch = batch[:left]
            self.items += len(batch)
            if self.pages % PAGES_PER_LINE == 0:
                of = f" of {self.total:,}" if self.total is not None else ""
                self.log.info("%s: %s pages, %s%s items.", self.call.operation_id, self.pages, f"{self.items:,}", of)
            yield batch
            if self.items == self.max_items:
                return

    def _walk(self) -> Iterator[list[Any]]:
        if not self.call.operation.paged:
            answer = self._perform(self.call)
            self.pages = 1
            if not isinstance(answer, list):
                raise AirflowFailException(f"{self.call.operation_id} answers no list.")
            yield answer
            return
        size = min(self.page_size, self.max_items or self.page_size)
        while True:
            number = self.pages + 1
            page = self._perform(self.call.at_page(number, size))
            page = page if isinstance(page, Mapping) else {}
            self._refuse_other_page(page, number)
            self.pages = number
            found = page.get("items") or []
            if isinstance(page.get("totalItems"), int):
                self.total = page["totalItems"]
            self._more = bool(found) and _has_more(page, number, len(found) >= size)
            yield found
            if not self._more:
                return

    def _perform(self, call: Call[Any]) -> Any:
        attempt = 0
        while True:
            try:
                return self.run(call)
            except WtsError as error:
                attempt += 1
                if attempt > PAGE_RETRIES or is_final(error):
                    raise
                self.log.warning(
                    "%s: page %s failed: %s Trying this page again in %.0f s (%s of %s).",
                    call.operation_id,
                    self.pages + 1,
                    error,
                    PAGE_RETRY_SECONDS,
                    attempt,
                    PAGE_RETRIES,
                )
                time.sleep(PAGE_RETRY_SECONDS)

    def _refuse_other_page(self, page: Mapping[str, Any], number: int) -> None:
        """Refuse a page that was not asked for: a server that ignores the number would keep us on its first page."""
        got = page.get("pageNumber")
        if isinstance(got, int) and got != number:
            raise AirflowFailException(f"{self.call.operation_id}: page {number} was asked for, and page {got} came.")

    def _conclude(self) -> None:
        operation = self.call.operation_id
        if self.cut:
            total = f"{self.total:,}" if self.total is not None else "more"
            self.log.warning(
                "%s: cut at max_items=%s; the account has %s. What is left out is in no answer and no file.",
                operation,
                self.max_items,
                total,
            )
        self.log.info("%s: %s items in %s page(s).", operation, f"{self.items:,}", self.pages)


def _has_more(page: Mapping[str, Any], number: int, full: bool) -> bool:
    if isinstance(page.get("hasMorePages"), bool):
        return bool(page["hasMorePages"])
    if isinstance(page.get("totalPages"), int):
        return bool(number < page["totalPages"])
    return full


def _identity(item: Any) -> Any:
    return item.get("id") if isinstance(item, Mapping) else None


def _line(item: Any) -> bytes:
    # ASCII with escapes: no reader can take it for another encoding, or a character inside for a line's end.
    return json.dumps(item, separators=(",", ":")).encode() + b"\n"


def _path(output_path: str) -> ObjectStoragePath:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    good = "A good value is 's3://aws_default@bucket/contacts/{{ ds }}.jsonl'."
    if output_path.endswith("/"):
        raise WtsInvalidRequestError(f"output_path: {output_path!r} is a folder, and has to name a file. {good}")
    try:
        path = ObjectStoragePath(output_path)
        path.fs  # noqa: B018  # says whether the scheme is known
    except (ValueError, ImportError) as error:
        raise WtsInvalidRequestError(f"output_path: {output_path!r} cannot be written to: {error}. {good}") from None
    return path


def _make_folder(path: ObjectStoragePath) -> None:
    # Object stores have no folders, and some would take this for the order to make a bucket.
    if path.protocol in ("", "file", "local"):
        path.parent.mkdir(parents=True, exist_ok=True)


def _remove(partial: ObjectStoragePath) -> None:
    # What is left has another name, and the first error matters more.
    with suppress(Exception):
        partial.unlink(missing_ok=True)
