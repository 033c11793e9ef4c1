"""Collects a list of the API, page by page: into a small answer, or into a JSON Lines file with a manifest.

One page and the ids are in memory at a time, so that a list of 100,000 items takes some 15 MB. A page that fails is
tried again as that page: a long list does not start over because of a minute without network.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_wts.api.errors import WtsError, WtsIncompleteListError
from airflow_provider_wts.api.pagination import PagedList, utc_now
from airflow_provider_wts.hooks.failures import is_final
from airflow_provider_wts.hooks.output_files import output_file, whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from typing import IO

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

#: A good value of ``output_path``.
EXAMPLE = "'s3://aws_default@bucket/contacts/{{ ds }}.jsonl'"


class Collector:
    """Walks one list.

    :param run: performs a call, with the client's own retries.
    :param call: the list, paged or not.
    :param log: where progress goes.
    :param page_size: items per page, 1 to 100.
    :param max_items: end after so many items; ``None`` = all.
    :param page: read this page alone, counted from 1; ``None`` = all.
    :param allow_incomplete: keep what was found if the list cannot be shown to be complete.
    :param now: tells the server's time.
    """

    # A plain class, as everything that a DAG file imports: making a dataclass takes longer than the rest of a module.
    def __init__(
        self,
        run: Callable[[Call[Any]], Any],
        call: Call[Any],
        log: Logger,
        page_size: int = 100,
        max_items: int | None = None,
        *,
        page: int | None = None,
        allow_incomplete: bool = False,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.run = run
        self.call = call
        self.log = log
        self.page_size = min(page_size, max_items or page_size)
        self.max_items = max_items
        self.page = page
        self.allow_incomplete = allow_incomplete
        self.pages = 0
        self.items = 0
        self.total: int | None = None
        self.cut = False
        self.complete = page is None
        self._more = False
        self._listed = PagedList(self._perform, call, page_size=self.page_size, now=now)

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
            expected = min(self.total or 0, self.max_items or self.total or 0) if self.page is None else 0
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

        :param output_path: the file, any address that ``ObjectStoragePath`` takes. It is there when it is complete.
        :return: the manifest: path, items, pages, bytes, total_items as the API counts them, whether max_items cut the
            list, and whether the file holds all of it.
        :raises WtsInvalidRequestError: when the address cannot be a file, before anything is read.
        :raises WtsError: when the list cannot be read or shown to be complete; a file of that name is left as it was.
        """
        path = output_file("output_path", output_path, example=EXAMPLE)
        with whole_file(path, "output_path", example=EXAMPLE) as file:
            size = self._write(file)
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
            "complete": self.complete and not self.cut,
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
        """Walk the items page by page, each once."""
        try:
            for page in self._walk():
                left = None if self.max_items is None else self.max_items - self.items
                self.cut = left is not None and (len(page) > left or (len(page) == left and self._more))
                batch = page[:left]
                self.items += len(batch)
                yield batch
                if self.items == self.max_items:
                    return
        except WtsIncompleteListError as error:
            if not self.allow_incomplete:
                raise
            self.complete = False
            self.log.warning("%s allow_incomplete is set, so the task goes on with what was found.", error)

    def _walk(self) -> Iterator[list[Any]]:
        if not self.call.operation.paged:
            answer = self._perform(self.call)
            self.pages = 1
            if not isinstance(answer, list):
                raise AirflowFailException(f"{self.call.operation_id} answers no list.")
            yield answer
            return
        listed = self._listed
        for page in listed.pages() if self.page is None else [listed.read(self.page)]:
            self.pages, self.total = listed.last_page, listed.total
            found = page["items"]
            self._more = _is_followed(page, self.items + len(found), len(found) >= self.page_size)
            if listed.number % PAGES_PER_LINE == 0:
                of = f" of {self.total:,}" if self.total is not None else ""
                items = self.items + len(found)
                self.log.info("%s: %s pages, %s%s items.", self.call.operation_id, listed.number, f"{items:,}", of)
            yield found

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
                    self._listed.number,
                    error,
                    PAGE_RETRY_SECONDS,
                    attempt,
                    PAGE_RETRIES,
                )
                time.sleep(PAGE_RETRY_SECONDS)

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


def _is_followed(page: Mapping[str, Any], items: int, full: bool) -> bool:
    """Whether the list has more than was read up to this page."""
    more, total = page.get("hasMorePages"), page.get("totalItems")
    if not isinstance(more, bool) and not isinstance(total, int):
        return full
    return more is True or (isinstance(total, int) and total > items)


def _line(item: Any) -> bytes:
    # ASCII with escapes: no reader can take it for another encoding, or a character inside for a line's end.
    return json.dumps(item, separators=(",", ":")).encode() + b"\n"
