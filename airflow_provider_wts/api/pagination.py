"""Lists of the API, read page by page until they are complete.

The API guarantees no snapshot. If a row is deleted or moved during the read, another row may shift to a page that has
already been read, and so be missed, without any count or bound showing it. So a list of several pages is read again,
backward and forward in turn, until a pass shows nothing new, or two consecutive passes if rows visibly come and go.
Forward, only a shift towards the front hides a row; backward, only one towards the end. A list of one page takes one
request.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.errors import WtsAuthenticationError, WtsIncompleteListError, WtsRejectedError
from airflow_provider_wts.api.wire import UNREADABLE, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_wts.api.call import Call

PAGE_SIZE = 100

#: Maximum passes over a list.
MAX_PASSES = 6

#: Consecutive pages without new rows after which a pass ends, even if WTS Chat reports more pages.
MAX_BARREN_PAGES = 3

#: Maximum pages of a list whose rows WTS Chat does not count.
MAX_UNCOUNTED_PAGES = 10_000

#: Seconds before another pass if a list has fewer rows than WTS Chat counts, because counts may be stored separately.
SETTLE_SECONDS = 2.0

#: A missing ID as text, and as .NET writes it.
_NO_IDS = ("", "00000000-0000-0000-0000-000000000000")

#: Dates in rows may be rounded.
_ROUNDING = timedelta(seconds=1)


def utc_now() -> datetime:
    """Return this machine's time."""
    return datetime.now(UTC)


class PagedList:
    """One list.

    :param perform: performs a call.
    :param call: a call of a paged operation.
    :param page_size: rows per page, 1 to 100; ``None`` for the call's own page size.
    :param now: returns the server's time.
    """

    def __init__(
        self,
        perform: Callable[[Call[Any]], Any],
        call: Call[Any],
        *,
        page_size: int | None = PAGE_SIZE,
        now: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._perform = perform
        self._call = call
        self._page_size = page_size
        self._now = now
        self._sleep = sleep
        self._begin: datetime | None = None
        self._keys: set[str] = set()
        # How often more a row is on one page, by its key.
        self._repeated: Counter[str] = Counter()
        self._pass = _Pass()
        # Whether the previous pass showed that the list changes, or did not find its end.
        self._changing = False
        self._passes = self._proofs = self._fruitless = 0
        #: Whether the passes so far show that the list is complete.
        self.complete = False
        #: Rows as WTS Chat counts them; ``None`` if it does not.
        self.total: int | None = None
        #: The page that was requested last.
        self.number = 1
        #: The highest page that showed rows.
        self.last_page = 1

    @property
    def known(self) -> int:
        """Rows found so far."""
        return len(self._keys)

    @property
    def _counted(self) -> int:
        """Rows found so far as a server may count them that shows a row twice, such as after a join."""
        return self.known + self._repeated.total()

    def pages(self) -> Iterator[dict[str, Any]]:
        """Iterate over the pages, each with the rows that no earlier page had.

        :raises WtsIncompleteListError: at the end, if the list may be incomplete.
        :raises WtsRejectedError: when the server returns another page than the requested one.
        :raises WtsError: what ``perform`` raises.
        """
        while self._passes < MAX_PASSES and self._fruitless < 2:
            yield from self.read_pass()
            if self.complete:
                return
        raise self.incomplete()

    def read_pass(self, *, apart: bool = False) -> Iterator[dict[str, Any]]:
        """Read the list once, and iterate over the pages with new rows; afterwards, :attr:`complete` is up to date.

        :param apart: whether time has passed since the previous pass, so that its last page must be read again, too.
        :raises WtsError: as :meth:`pages`, except for an incomplete list.
        """
        number, self._passes = self._passes, self._passes + 1
        if self._is_hidden():
            self._sleep(SETTLE_SECONDS)
        self._changing = self._pass.moved or self._pass.endless
        self._pass = _Pass()
        for page in self._backward(apart=apart) if number % 2 else self._forward(1):
            rows = self._fresh(page)
            if rows or not number:
                yield {**page, "items": rows}
        self._fruitless += self._is_hidden()
        self._proofs = self._proofs + 1 if number and not self._pass.missed else 0
        # While rows come and go, a pass may miss the same row as the previous one.
        proven = self._proofs > self._pass.moved if number else self._pass.requests == 1
        self.complete = proven and not self._pass.is_short(self._counted)

    def _is_hidden(self) -> bool:
        """Whether the last pass showed fewer rows than WTS Chat counts, and no new ones."""
        return self._pass.is_short(self._counted) and not self._pass.fresh

    def incomplete(self) -> WtsIncompleteListError:
        """Return the error for a list that may be incomplete."""
        name, count = self._call.operation_id, self._pass.least_total
        if count is not None and self._counted < count:
            what = f"WTS Chat counts {count:,} rows, but lists {self.known:,}"
        elif self._pass.endless:
            what = "WTS Chat reports more pages, but they only have rows that it listed before"
        elif self.total is None and self._pass.requests >= MAX_UNCOUNTED_PAGES:
            what = f"WTS Chat reports more than {MAX_UNCOUNTED_PAGES:,} pages, and does not count their rows"
        else:
            what = f"the list changed each of the {self._passes} times that it was read"
        return WtsIncompleteListError(
            f"{name}: {what}. The list may be incomplete. Try again later, or list less, such as a shorter interval.",
            operation_id=name,
        )

    def read(self, number: int) -> dict[str, Any]:
        """Return one page.

        :param number: its number, from 1.
        :raises WtsError: what ``perform`` raises.
        """
        page = self._read(number)
        return {**page, "items": self._fresh(page)}

    # The pages of a pass ---------------------------------------------------------------------------------------------

    def _forward(self, number: int) -> Iterator[dict[str, Any]]:
        barren = 0
        while True:
            page = self._page(number)
            if page is None:
                return
            before = len(self._pass.keys)
            yield page
            barren = 0 if len(self._pass.keys) > before else barren + 1
            if not self._has_more(page, number, barren=barren > 0):
                return
            if barren == MAX_BARREN_PAGES or self._is_endless(page, number):
                self._pass.endless = self._pass.endless or bool(_rows_of(page))
                return
            number += 1

    def _backward(self, *, apart: bool) -> Iterator[dict[str, Any]]:
        last = self.last_page
        if apart or self._changing or self.number != last:
            # There may be more pages after it by now.
            yield from self._forward(last)
        for number in range(last - 1, 0, -1):
            page = self._page(number)
            if page is not None:
                yield page

    def _has_more(self, page: Mapping[str, Any], number: int, *, barren: bool) -> bool:
        """Whether there are more pages, by all fields of the page, any of which may be wrong about the end."""
        more, pages, total = page.get("hasMorePages"), _count(page, "totalPages"), _count(page, "totalItems")
        if (pages is not None and number < pages) or (total is not None and self.known < total):
            return True
        # Counts that the rows exceed are wrong about the end, too.
        counted = (pages or 0) >= number or (total or 0) >= self.known
        if isinstance(more, bool):
            return more and not (barren and counted)
        # If no field shows the end, it is a page without new rows.
        return not counted and not barren

    def _is_endless(self, page: Mapping[str, Any], number: int) -> bool:
        """Whether the pass has found far more rows than there can be, so that it might never end."""
        pages, total = _count(page, "totalPages"), _count(page, "totalItems")
        if total is None:
            if number >= MAX_UNCOUNTED_PAGES:
                # Another pass would take as long.
                raise self.incomplete()
            return False
        return (pages is None or number > 2 * pages + 10) and len(self._pass.keys) > 2 * total + 10 * PAGE_SIZE

    def _page(self, number: int) -> dict[str, Any] | None:
        """Read a page; ``None`` if it is after the end, and the server refuses such pages."""
        try:
            page = self._read(number)
        except WtsAuthenticationError:
            raise
        except WtsRejectedError:
            # The list may have become shorter.
            if number == 1 or (_count(self._read(1), "totalPages") or number) >= number:
                raise
            return None
        if _rows_of(page):
            self.last_page = max(self.last_page, number)
        return page

    def _read(self, number: int) -> dict[str, Any]:
        self.number = number
        answer = self._perform(self._call.at_page(number, self._page_size))
        page = dict(answer) if isinstance(answer, Mapping) else {}
        if self._begin is None:
            self._begin = self._now() - _ROUNDING
        self._pass.requests += 1
        total, pages, got = (_count(page, name) for name in ("totalItems", "totalPages", "pageNumber"))
        if total is not None:
            self._pass.moved = self._pass.moved or self.total not in (None, total)
            self.total = total
            self._pass.least_total = total if self._pass.least_total is None else min(self._pass.least_total, total)
        elif pages is not None and number < pages and not _rows_of(page):
            # There should be more pages, and no count shows whether this empty page is missing rows.
            self._pass.endless = True
        if got is not None and got != number and (pages is None or number <= pages):
            raise WtsRejectedError(
                f"{self._call.operation_id}: page {number} was requested, and WTS Chat returned page {got}.",
                operation_id=self._call.operation_id,
            )
        return page

    # The rows of a page ----------------------------------------------------------------------------------------------

    def _fresh(self, page: Mapping[str, Any]) -> list[Any]:
        """Return the new rows of a page."""
        rows = []
        there: Counter[str] = Counter()
        for row in _rows_of(page):
            key = self._key(row)
            self._pass.moved = self._pass.moved or (key in self._pass.keys and key not in there)
            self._pass.keys.add(key)
            there[key] += 1
            if key not in self._keys:
                self._keys.add(key)
                rows.append(row)
                self._pass.fresh = True
                self._pass.missed = self._pass.missed or not self._is_new(row)
        self._repeated |= Counter({key: count - 1 for key, count in there.items() if count > 1})
        return rows

    def _key(self, row: Any) -> str:
        identity = row.get("id") if isinstance(row, Mapping) else None
        if isinstance(identity, (str, int)) and identity not in _NO_IDS:
            return str(identity)
        # Rows without an ID may be equal, and are all kept.
        content = hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
        self._pass.nameless[content] += 1
        return f"{content} {self._pass.nameless[content]}"

    def _is_new(self, row: Any) -> bool:
        """Whether a row was created or changed after the read began, so that no earlier pass could show it."""
        if not isinstance(row, Mapping) or self._begin is None:
            return False
        dates = (parse_timestamp(row.get(name)) for name in ("createdAt", "updatedAt", "lastInteractionDate"))
        return any(date is not None and self._begin <= date < UNREADABLE for date in dates)


class _Pass:
    """The results of one pass over a list."""

    def __init__(self) -> None:
        self.requests = 0
        self.keys: set[str] = set()
        self.nameless: Counter[str] = Counter()
        #: The lowest count of any page; rows added later may be on pages that were read before.
        self.least_total: int | None = None
        #: Whether it showed rows that no earlier pass had.
        self.fresh = False
        #: Whether earlier passes missed some of them.
        self.missed = False
        #: Whether rows visibly came, went or moved during it.
        self.moved = False
        #: Whether it ended although WTS Chat reported more pages.
        self.endless = False

    def is_short(self, known: int) -> bool:
        """Whether WTS Chat reports more rows than are known."""
        return self.endless or (self.least_total is not None and known < self.least_total)


def _rows_of(page: Mapping[str, Any]) -> list[Any]:
    rows = page.get("items")
    return rows if isinstance(rows, list) else []


def _count(page: Mapping[str, Any], name: str) -> int | None:
    value = page.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
