"""The ledger of a campaign: one page for each chunk of recipients, beside the header that all ledgers have.

A page is ``{"intent": time, "request_size": n, "max_tries": n, "sends": {"key of send": {"content": digest, "receipt":
answer}}}``. It is written before the chunk's requests with the intents alone, and after them with the receipts. So a
crash leaves at most one page where a receipt is missing. A page holds 200 sends at most and stays below the 64 KB from
which on Airflow warns. The header says how many pages there may be, since the names in a store cannot be listed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.api.personal_data import without_personal_data
from airflow_provider_wts.sending.ledger import (
    _UNREADABLE,
    HEADER,
    Ledger,
    OnClear,
    Store,
    ensure_written,
    read_page,
    without_receipt,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provider_wts.hooks.context import RunIdentity

#: The header is written once for so many pages.
_PAGES_PER_HEADER = 25

#: Characters of the API's reason for a failure that are kept.
_MOST_REASON = 120

#: Statuses of a send that did not reach its recipient.
NOT_REACHED = ("FAILED", "DELETED")

#: What is kept of an answer.
_KEPT = ("id", "status", "sessionId", "failedReason")


class Page:
    """One chunk.

    :param number: its place.
    :param intent: no earlier than this was it sent.
    :param sends: what is known of each send, by key.
    :param request_size: sends of one request, in their order; 1 where that is not known any more.
    :param max_tries: ``ti.max_tries`` of the try that sent it. Only a clear changes it.
    """

    def __init__(
        self,
        number: int,
        intent: datetime,
        sends: dict[str, dict[str, Any]],
        request_size: int,
        max_tries: int = 0,
    ) -> None:
        self.number = number
        self.intent = intent
        self.sends = sends
        self.request_size = request_size
        self.max_tries = max_tries

    def requests(self) -> list[list[str]]:
        """Return the keys of the sends that went out together."""
        keys = list(self.sends)
        size = self.request_size if self.request_size > 1 else max(1, len(keys))
        return [keys[start : start + size] for start in range(0, len(keys), size)]

    def take_back(self, keys: Iterable[str]) -> None:
        """Forget intents of sends that certainly did not happen.

        :param keys: the keys of the sends; those with a receipt stay.
        """
        gone = {key for key in keys if "receipt" not in self.sends.get(key, {})}
        left = [[key for key in request if key not in gone] for request in self.requests()]
        for key in gone:
            self.sends.pop(key, None)
        if self.requests() != [request for request in left if request]:
            self.request_size = 1


class PagedLedger(Ledger):
    """What is known of the sends of a campaign.

    :param store: where it is kept.
    :param max_tries: ``ti.max_tries``.
    :param try_number: ``ti.try_number``.
    :param on_clear: as in :class:`~airflow_provider_wts.sending.ledger.Ledger`.
    :param run: as in :class:`~airflow_provider_wts.sending.ledger.Ledger`.
    """

    def __init__(
        self,
        store: Store,
        *,
        max_tries: int,
        try_number: int = 1,
        on_clear: OnClear | str = "auto",
        run: RunIdentity | None = None,
    ) -> None:
        self._last_max_tries = max_tries
        super().__init__(store, max_tries=max_tries, try_number=try_number, on_clear=on_clear, run=run)
        self._begun = False
        self._used = 0
        self._unwritten: dict[int, Page] = {}

    def load(self) -> list[Page]:
        """Read all pages, in the order in which they were sent.

        :raises WtsError: when one cannot be read; then nothing may be sent.
        """
        pages: list[Page] = []
        unused = {number for first, end in self._header.get("unused", ()) for number in range(first, end)}
        reserved, used = self._header.get("pages", 0), 0
        for number in range(reserved):
            found = None if number in unused else self._page(number)
            if found is None:
                continue
            # Another try that still runs may have written them since they were read.
            between = (between for between in range(used, number) if between not in unused)
            pages += [self._page(skipped) or self._missing(skipped) for skipped in between]
            pages.append(found)
            used = number + 1
        if used < reserved:
            # An earlier try that still runs may write there, and must not write over what this one sends.
            self._header["unused"] = [*self._header.get("unused", ()), [used, reserved]]
        self._used = reserved
        if self._header.pop("doubted", False):
            for page in pages:
                page.sends = {key: without_receipt(entry) for key, entry in page.sends.items()}
                self._write_page(page)
            self._write()
        return pages

    def open_page(self, contents: Mapping[str, str], request_size: int, *, since: datetime | None = None) -> Page:
        """Write that a chunk is about to be sent. Without this, nothing may be sent.

        :param contents: digest of what is sent, by the key of the send.
        :param request_size: sends of one request.
        :param since: when the first of the attempts began that may have reached one of them.
        :raises WtsError: when it cannot be written.
        """
        sends = {key: {"content": content} for key, content in contents.items()}
        page = Page(self._used, since or datetime.now(UTC), sends, request_size, self._max_tries)
        ensure_written(lambda: self._begin_page(page))
        self._used += 1
        return page

    def keep(self, page: Page) -> bool:
        """Write a page as it stands now, and say whether that worked; where it did not, it is tried again later.

        :param page: the page.
        """
        try:
            self._write_page(page)
        except Exception:
            self._unwritten[page.number] = page
            return False
        return True

    def close(self, *, finished: bool) -> None:
        """Write the end of a try.

        :param finished: whether nothing is left to be sent.
        """
        for page in list(self._unwritten.values()):
            self._write_page(page)
        self._header["finished"] = finished
        self._header.setdefault("pages", 0)
        self._write()

    def _resumed(self, before: Mapping[str, Any] | None, on_clear: OnClear | str) -> dict[str, Any]:
        header = super()._resumed(before, on_clear)
        self._last_max_tries = header["max_tries"]
        return header

    def _begin_page(self, page: Page) -> None:
        # One page without receipts is the most that may be left behind.
        for unwritten in list(self._unwritten.values()):
            self._write_page(unwritten)
        if page.number >= self._header.get("pages", 0) or not self._begun:
            self._header["pages"] = max(self._header.get("pages", 0), page.number + _PAGES_PER_HEADER)
            self._header["finished"] = False
            self._write()
            self._begun = True
        self._write_page(page)

    def _write_page(self, page: Page) -> None:
        # A try that was given up would take back what its successor did.
        self.check()
        value = {
            "intent": page.intent.isoformat(),
            "request_size": page.request_size,
            "max_tries": page.max_tries,
            "sends": page.sends,
        }
        self._store.set(self._name(page.number), value)
        self._unwritten.pop(page.number, None)

    def _page(self, number: int) -> Page | None:
        found = read_page(self._store, self._name(number))
        if found is None:
            return None
        try:
            return Page(
                number,
                datetime.fromisoformat(found["intent"]),
                dict(found["sends"]),
                int(found["request_size"]),
                # Pages of the first version do not tell; the header tells of the last try that wrote.
                int(found.get("max_tries", self._last_max_tries)),
            )
        except (KeyError, TypeError, ValueError):
            raise WtsInvalidRequestError(f"Page {number} of this task's ledger is damaged. {_UNREADABLE}") from None

    @staticmethod
    def _missing(number: int) -> NoReturn:
        raise WtsInvalidRequestError(f"Page {number} of this task's ledger is missing. {_UNREADABLE}")

    def _name(self, number: int) -> str:
        # Pages of an earlier generation stay where they are.
        return f"{HEADER}_{self.generation}_{number}"


def receipt_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of one answer.

    :param answer: the API's answer about one send.
    """
    receipt = {name: answer[name] for name in _KEPT if answer.get(name) is not None}
    if "failedReason" in receipt:
        receipt["failedReason"] = without_personal_data(str(receipt["failedReason"]))[:_MOST_REASON]
    return receipt
