"""Base of the operators that list: filters, pages, and where the items go."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_wts.api import parameters
from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.errors import WtsError, WtsIncompleteListError, WtsInvalidRequestError
from airflow_provider_wts.api.wire import UNSET, body_of, given, query_of
from airflow_provider_wts.hooks.errors import is_final, task_failures
from airflow_provider_wts.hooks.output_files import json_line, output_file, whole_file
from airflow_provider_wts.operators.base import WtsOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.sdk import Context
    from airflow.sdk.types import Logger


_DIRECTIONS = {"asc": "ASCENDING", "ascending": "ASCENDING", "desc": "DESCENDING", "descending": "DESCENDING"}


class WtsListOperator(WtsOperator):
    """Base of the operators that list something: all pages, inline or as a file.

    A subclass defines :meth:`list_call` and its own filters, and passes on the rest with ``**kwargs``. A list without
    pages has no date bounds and no order, and refuses them.

    The API offers no snapshot: items may move between pages while the task reads them. So the task reads a list of more
    than one page again until a pass finds nothing new, which takes at least twice as many requests. If that never
    happens, or the list has fewer items than WTS Chat counts, the task fails, and a retry reads it again. A file of an
    earlier run stays as it was.

    :param created_after: earliest creation time: an aware datetime, or ISO 8601 text with an offset, such as ``{{
        data_interval_start }}``. The API does not document whether bounds are inclusive (templated).
    :param created_before: latest creation time (templated).
    :param updated_after: earliest time of the last change (templated).
    :param updated_before: latest time of the last change (templated).
    :param order_by: property to order by; the API does not document the choices (templated).
    :param order_direction: ``ASCENDING`` or ``DESCENDING`` (templated).
    :param page_size: items per request, 1 to 100 (templated).
    :param max_items: stop after this many items; the log warns if that cuts the list. ``None`` for all (templated).
    :param page: read only this page, counted from 1, with one request. Cannot be combined with ``max_items``
        (templated).
    :param allow_incomplete: do not fail if the list cannot be shown to be complete; the log warns, and the manifest
        holds ``complete: false`` (templated).
    :param output_path: write the items to this file, one JSON object per line, instead of returning them: any
        ``ObjectStoragePath``, such as ``s3://aws_default@bucket/contacts/{{ ds }}.jsonl``. The file appears once it is
        complete, and replaces an existing one (templated).
    :return: the items, at most 1,000 and 1 MB; with ``output_path`` the manifest: ``path``, ``operation_id``,
        ``items``, ``pages``, ``bytes``, ``total_items``, ``cut``, ``complete``.
    :raises AirflowFailException: when the input is invalid, the API refuses, or there are too many items for XCom.
    :raises WtsIncompleteListError: when the list cannot be shown to be complete.
    """

    def __init__(
        self,
        *,
        created_after: datetime | str | None = None,
        created_before: datetime | str | None = None,
        updated_after: datetime | str | None = None,
        updated_before: datetime | str | None = None,
        order_by: str | None = None,
        order_direction: str | None = None,
        page_size: int | str = 100,
        max_items: int | str | None = None,
        page: int | str | None = None,
        allow_incomplete: bool | str = False,
        output_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.created_after = created_after
        self.created_before = created_before
        self.updated_after = updated_after
        self.updated_before = updated_before
        self.order_by = order_by
        self.order_direction = order_direction
        self.page_size = page_size
        self.max_items = max_items
        self.page = page
        self.allow_incomplete = allow_incomplete
        self.output_path = output_path

    def list_call(self) -> Call[Any]:
        """Return the call with the subclass's own filters; invalid ones raise ``WtsInvalidRequestError``.

        Called once per execution, after the shared parameters are checked, and outside of any retry.
        """
        raise NotImplementedError

    def execute(self, context: Context) -> list[Any] | dict[str, Any]:
        with task_failures():
            shared = {**self._bounds(), **self._order()}
            size = self._whole("page_size", most=100) or 100
            most, page = self._whole("max_items"), self._whole("page")
            if most and page:
                raise WtsInvalidRequestError("page: cannot be combined with max_items. Use page_size instead.")
            incomplete = parameters.flag("allow_incomplete", self.allow_incomplete) is True
            output_path = parameters.text("output_path", self.output_path)
            path = None if parameters.missing(output_path) else str(output_path).strip()
            if path is not None:
                output_file("output_path", path, example=EXAMPLE)
            call = narrowed(self.list_call(), shared)
            if page and not call.operation.paged:
                raise WtsInvalidRequestError(f"page: {call.operation_id} has no pages. Leave it out.")
            hook = self.hook
            collector = Collector(
                hook.run, call, self.log, size, most, page=page, allow_incomplete=incomplete, now=hook.client.now
            )
            return collector.inline() if path is None else collector.to_file(path)

    def _whole(self, name: str, most: int | None = None) -> int | None:
        value = getattr(self, name)
        return None if parameters.missing(value) else parameters.whole(name, value, least=1, most=most) or None

    def _bounds(self) -> dict[str, str]:
        names = ("created_after", "created_before", "updated_after", "updated_before")
        bounds = given(**{name: parameters.filter_timestamp(name, getattr(self, name)) for name in names})
        for kind in ("created", "updated"):
            first, last = bounds.get(f"{kind}_after"), bounds.get(f"{kind}_before")
            if first and last and datetime.fromisoformat(first) > datetime.fromisoformat(last):
                raise WtsInvalidRequestError(
                    f"{kind}_after: {first} is later than {kind}_before, {last}, so nothing can match."
                )
        return bounds

    def _order(self) -> dict[str, str]:
        order_by = UNSET if parameters.missing(self.order_by) else parameters.text("order_by", self.order_by)
        direction = parameters.filter_choice("order_direction", self.order_direction, _DIRECTIONS)
        return given(order_by=order_by, order_direction=direction)


def narrowed(call: Call[Any], shared: Mapping[str, str]) -> Call[Any]:
    """Return a list call with bounds and order, in its query or in its body, wherever the contract has them.

    What the operation does not take is refused, because it would list something else.
    """
    from airflow_provider_wts.api.window import Window

    if call.operation.page_number_in == ("body", "pageNumber"):
        body = call.body if isinstance(call.body, Mapping) else {}
        return Call(call.operation_id, call.path, call.query, {**body, **body_of(Window, shared)})
    query = query_of(Window, shared)
    for name, wire_name in zip(shared, query, strict=True):
        if call.operation.parameter(wire_name) is None:
            raise WtsInvalidRequestError(f"{name}: {call.operation_id} does not take it. Leave it out.")
    return Call(call.operation_id, call.path, {**call.query, **query}, call.body)


#: The largest list that goes into XCom, in items and in bytes of JSON. Airflow keeps XCom in its database.
INLINE_ITEMS = 1000

INLINE_BYTES = 1_000_000

#: Pages per progress line in the log.
PAGES_PER_LINE = 10

#: Retries of a page after the client gave up on it, and the seconds between them.
PAGE_RETRIES = 3

PAGE_RETRY_SECONDS = 30.0

EXAMPLE = "'s3://aws_default@bucket/contacts/{{ ds }}.jsonl'"


class Collector:
    """Walks one list.

    :param page_size: items per page, 1 to 100.
    :param max_items: stop after this many items; ``None`` for all.
    :param page: read this page alone, counted from 1; ``None`` for all.
    :param allow_incomplete: keep what was found if the list cannot be shown to be complete.
    """

    # Not a dataclass: creating one takes longer than importing the rest of the module.
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
        now: Callable[[], datetime] | None = None,
    ) -> None:
        from airflow_provider_wts.api.pagination import PagedList, utc_now

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
        self._listed = PagedList(self._perform, call, page_size=self.page_size, now=now or utc_now)

    def inline(self) -> list[Any]:
        """Return the items, unless they are too many or too large for XCom; none is dropped silently."""
        found: list[Any] = []
        size = 0
        for batch in self._batches():
            found += batch
            size += sum(len(json_line(item)) for item in batch)
            # The count on page 1 saves the requests for a list that will not fit.
            expected = min(self.total or 0, self.max_items or self.total or 0) if self.page is None else 0
            if max(len(found), expected) > INLINE_ITEMS or size > INLINE_BYTES:
                raise AirflowFailException(
                    f"{self.call.operation_id}: the list is too large for XCom: at least {max(len(found), expected):,} "
                    f"items; the limit is {INLINE_ITEMS:,} items and {INLINE_BYTES:,} bytes. Set output_path to write "
                    f"it to a file, or max_items to cut it. Example: output_path={EXAMPLE}."
                )
        self._conclude()
        return found

    def to_file(self, output_path: str) -> dict[str, Any]:
        """Write the items as JSON Lines, and return the manifest; if that fails, an existing file is left as it was."""
        path = output_file("output_path", output_path, example=EXAMPLE)
        size = 0
        with whole_file(path, "output_path", example=EXAMPLE) as file:
            for item in chain.from_iterable(self._batches()):
                line = json_line(item)
                file.write(line)
                size += len(line)
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

    def _batches(self) -> Iterator[list[Any]]:
        """Yield the items page by page, each once."""
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
            self.log.warning("%s The task continues with what was found, because allow_incomplete is set.", error)

    def _walk(self) -> Iterator[list[Any]]:
        if not self.call.operation.paged:
            answer = self._perform(self.call)
            self.pages = 1
            if not isinstance(answer, list):
                raise AirflowFailException(f"{self.call.operation_id} does not return a list.")
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
                "%s: cut at max_items=%s; the account has %s. The rest was not read.", operation, self.max_items, total
            )
        self.log.info("%s: %s items in %s page(s).", operation, f"{self.items:,}", self.pages)


def _is_followed(page: Mapping[str, Any], items: int, full: bool) -> bool:
    """Whether the list has more than was read up to this page."""
    more, total = page.get("hasMorePages"), page.get("totalItems")
    if not isinstance(more, bool) and not isinstance(total, int):
        return full
    return more is True or (isinstance(total, int) and total > items)
