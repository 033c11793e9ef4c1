"""The checked rows of a campaign, in a file beside its results, so that a later try need not check them again."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.campaigns.attempts import EXAMPLE, place, remove
from airflow_provider_wts.campaigns.recipients import Recipients, opened
from airflow_provider_wts.hooks.output_files import output_file, whole_file
from airflow_provider_wts.sending.ledger import ensure_written

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from airflow_provider_wts.sending.ledger import Ledger

log = logging.getLogger(__name__)

#: Key of the file's entry in the ledger.
_KEY = "checked_rows"


class CheckedRows:
    """The file with the checked rows. The ledger has its checksum, and a digest of what the rows were made from."""

    def __init__(self, ledger: Ledger, results: str) -> None:
        self._ledger = ledger
        self._address = f"{results}.checked"
        #: Blank if the rows need not be kept, or already are.
        self._made_from = ""

    def found(self, made_from: Iterable[object]) -> Recipients | None:
        """Return the rows that an earlier try checked, or ``None`` if they must be checked.

        :param made_from: everything that the result of the checks depends on.
        """
        self._made_from = hashlib.sha256("\0".join(map(repr, made_from)).encode()).hexdigest()
        if (kept := self._kept) is None:
            return None
        if kept["made_from"] != self._made_from:
            log.info(
                "The recipients or their parameters have changed since an earlier try, so all rows are checked again."
            )
            return None
        try:
            recipients = Recipients(_lines(kept["path"], kept["sha256"]))
        # An object store may raise anything.
        except Exception as error:
            # After a campaign has ended, the file is gone, but a clear with on_clear="continue" still continues.
            log.info(
                "The rows that an earlier try checked cannot be read from %s, so all rows are checked again: %s",
                kept["path"],
                error,
            )
            return None
        self._made_from = ""
        log.info("An earlier try checked the %s rows; continuing with them as they were then.", f"{recipients.rows:,}")
        return recipients

    def keep(self, recipients: Recipients) -> None:
        """Store the rows for later tries; call it before anything is sent."""
        if not self._made_from:
            return
        self.drop()
        digest = hashlib.sha256()
        try:
            path = output_file("results_path", self._address, example=EXAMPLE)
            with whole_file(path, "results_path", example=EXAMPLE) as file:
                for block in recipients.blocks():
                    digest.update(block)
                    file.write(block)
        except Exception as error:
            log.warning("The checked rows could not be stored, so later tries will check them again: %s", error)
            return
        kept = {"path": self._address, "sha256": digest.hexdigest(), "made_from": self._made_from}
        ensure_written(lambda: self._ledger.receive(_KEY, kept, finished=self._ledger.finished))

    def drop(self) -> None:
        """Remove the file, when no later try needs it."""
        if (kept := self._kept) is not None:
            remove([place(kept["path"])])

    @property
    def _kept(self) -> Mapping[str, Any] | None:
        entry = self._ledger.entry(_KEY)
        return entry.receipt if entry is not None and entry.is_done else None


def _lines(address: str, checksum: str) -> Iterator[bytes]:
    digest = hashlib.sha256()
    with opened(address) as file:
        for line in file:
            digest.update(line)
            yield line
    if digest.hexdigest() != checksum:
        raise ValueError("its content has changed")
