"""What earlier tries of a campaign did: the sends on their ledger pages, and how far they got."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from airflow_provider_wts.hooks.temporary import temporary_database
from airflow_provider_wts.sending.ledger import LedgerEntry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_wts.campaigns.recipients import Recipient
    from airflow_provider_wts.sending.ledger import Page


class EarlierSends:
    """The sends of earlier tries by key. If several pages have a send, the last one counts.

    They are in a temporary database. Only pages with an unknown outcome stay in memory, because they will change.
    """

    def __init__(self) -> None:
        self._pages: dict[int, Page] = {}
        self._database = temporary_database("CREATE TABLE sends (key TEXT, page INTEGER, entry TEXT)")
        self._indexed = False
        self._last: tuple[str, tuple[int, str | None] | None] = ("", None)

    def add(self, page: Page) -> None:
        """Add a ledger page; its entries replace those of earlier pages."""
        done = all(entry.is_done for entry in page.sends.values())
        rows = ((key, page.number, json.dumps(one.as_json()) if done else None) for key, one in page.sends.items())
        self._database.executemany("INSERT INTO sends VALUES (?, ?, ?)", rows)
        if done:
            page.sends = {}
        self._pages[page.number] = page
        self._last = ("", None)

    def get(self, key: str) -> tuple[LedgerEntry, Page] | None:
        """Return a send's entry and its page, or ``None``."""
        if not self._pages:
            return None
        if self._last[0] != key:
            self._last = (key, self._found(key))
        if self._last[1] is None:
            return None
        number, text = self._last[1]
        page = self._pages[number]
        entry = page.sends.get(key) if text is None else LedgerEntry.of(json.loads(text))
        return (entry, page) if entry is not None else None

    def unknown(self) -> Iterator[str]:
        """Iterate over the keys of the sends whose outcome is unknown."""
        for page in self._pages.values():
            for key, entry in page.sends.items():
                if not entry.is_done and (found := self.get(key)) and found[1] is page:
                    yield key

    def __len__(self) -> int:
        (count,) = self._database.execute("SELECT count(DISTINCT key) FROM sends").fetchone()
        return int(count)

    def close(self) -> None:
        """Remove the database."""
        self._database.close()

    def _found(self, key: str) -> tuple[int, str | None] | None:
        if not self._indexed:
            self._database.execute("CREATE INDEX by_key ON sends (key)")
            self._indexed = True
        select = "SELECT page, entry FROM sends WHERE key = ? ORDER BY rowid DESC LIMIT 1"
        row: tuple[int, str | None] | None = self._database.execute(select, (key,)).fetchone()
        return row


class Fingerprint:
    """The number of recipients so far, and a digest of who they are, their order and the connection."""

    def __init__(self, wts_conn_id: str) -> None:
        self.count = 0
        self._hash = hashlib.sha256(wts_conn_id.encode())

    def add(self, recipient: Recipient) -> None:
        """Add the next recipient."""
        self.count += 1
        self._hash.update(f"\0{recipient.line}\0{recipient.to}".encode())

    @property
    def digest(self) -> str:
        """The digest of the recipients so far."""
        return self._hash.hexdigest()
