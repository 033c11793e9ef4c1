"""Recipients from a query, stored once in a snapshot that the checks, the sends and later tries read."""

from __future__ import annotations

import hashlib
import json
import logging
import time as clock
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID, uuid4

from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.api.wire import is_nan
from airflow_provider_wts.campaigns.attempts import EXAMPLE, place, remove
from airflow_provider_wts.campaigns.missing import clock_time, plain_number
from airflow_provider_wts.campaigns.recipients import Row, checksum_of
from airflow_provider_wts.hooks.output_files import output_file, whole_file
from airflow_provider_wts.hooks.queries import columns_and_rows
from airflow_provider_wts.hooks.shown_number import ShownNumber
from airflow_provider_wts.sending.ledger import ensure_written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_wts.sending.ledger import Ledger

log = logging.getLogger(__name__)

#: Rows in memory at a time.
_ROWS = 1000

#: Key of the snapshot's entry in the ledger.
_KEY = "recipients_snapshot"

#: How to read values that JSON does not have, by the name of their kind.
_READ: dict[str, Callable[[Any], Any]] = {
    "decimal": Decimal,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "shown": lambda digits: ShownNumber(int(digits), len(digits)),
    "list": lambda items: [_read(item) for item in items],
    "object": lambda items: {name: _read(item) for name, item in items.items()},
}


#: The names of these kinds. The order matters: a datetime is also a date. A kind without a name is read as text.
_KINDS: dict[type, str] = {
    Decimal: "decimal",
    datetime: "datetime",
    date: "date",
    time: "time",
    UUID: "",
}


class Query(NamedTuple):
    """A query for recipients."""

    sql: str
    conn_id: str
    parameters: Any = None

    @property
    def digest(self) -> str:
        """Changes when the query does."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]


class Snapshot:
    """The rows of a query, in a file that later tries of the task read.

    The ledger has its address and :attr:`checksum`. Unless :meth:`keep` was called, the file is removed at the end.

    :param address: prefix of the file's address; ``None`` for a file that only this try reads.
    :param may_change: whether to run a query that was changed before a clear, instead of reading the earlier rows.
    :raises WtsError: when the query fails. Then nothing was sent.
    """

    def __init__(self, query: Query, ledger: Ledger, address: str | None, *, may_change: bool) -> None:
        self._query = query
        self._ledger = ledger
        self._folder = TemporaryDirectory(prefix="wts-recipients-") if address is None else None
        entry = ledger.entry(_KEY)
        self._kept: dict[str, Any] | None = entry.receipt if entry is not None and entry.is_done else None
        self._replaced: dict[str, Any] | None = None
        is_changed = self._kept is not None and self._kept["query"] != query.digest
        if may_change and is_changed and entry is not None and not ledger.is_since_clear(entry):
            log.info("The query has changed since an earlier try, and the task was cleared, so it is run again.")
            self._kept, self._replaced = None, self._kept
        if self._kept is None:
            base = address if self._folder is None else f"{self._folder.name}/query"
            name = f"{base}.{uuid4().hex[:8]}.recipients.jsonl"
            self._path = output_file("results_path", name, example=EXAMPLE)
            self.checksum = self._write()
        else:
            self._path, self.checksum = place(self._kept["path"]), self._kept["sha256"]
            if is_changed:
                log.warning(
                    "recipients_sql: the query has changed since an earlier try. The task continues with the rows of "
                    "that try, from %s. To query again, and send to everybody again, clear it with on_clear='resend'.",
                    self._path,
                )

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_: object) -> None:
        if self._kept is None:
            remove([self._path])
        if self._folder is not None:
            self._folder.cleanup()

    def keep(self) -> None:
        """Let later tries read it. Call it when all rows are checked, before anything is sent."""
        if self._kept is None and self._folder is None:
            kept = {"path": str(self._path), "sha256": self.checksum, "query": self._query.digest}
            ensure_written(lambda: self._ledger.receive(_KEY, kept, finished=False))
            self._kept = kept
            if self._replaced is not None:
                remove([place(self._replaced["path"])])

    def rows(self) -> Iterator[Row]:
        """Iterate over the rows; at the end at the latest, raise if the file has changed."""
        digest = hashlib.sha256()
        try:
            with self._path.open("rb") as file:  # type: ignore[no-untyped-call]
                columns: list[str] = []
                # Files that Airflow 2.11 opens are not iterable.
                for number, line in enumerate(iter(file.readline, b"")):
                    digest.update(line)
                    if number == 0:
                        columns = json.loads(line)["columns"]
                    else:
                        yield Row(number, dict(zip(columns, map(_read, json.loads(line)), strict=True)))
        except FileNotFoundError:
            raise self._problem("is missing") from None
        except (ValueError, KeyError, TypeError, ArithmeticError):
            raise self._problem("is damaged") from None
        if digest.hexdigest() != self.checksum:
            raise self._problem("has changed")

    def check(self) -> None:
        """Check that the file has not changed."""
        try:
            found = checksum_of(str(self._path))
        except FileNotFoundError:
            raise self._problem("is missing") from None
        if found != self.checksum:
            raise self._problem("has changed")

    def _problem(self, what: str) -> WtsInvalidRequestError:
        return WtsInvalidRequestError(
            f"recipients_sql: the snapshot of the query in {str(self._path)!r} {what}, so it is unknown who was in it. "
            "Nothing more was sent. Restore the file and clear the task. To query again, and send to everybody again, "
            "clear it with on_clear='resend'."
        )

    def _write(self) -> str:
        begun, digest, count = clock.monotonic(), hashlib.sha256(), -1
        with whole_file(self._path, "results_path", example=EXAMPLE) as file:
            for line in _lines(self._query):
                count += 1
                digest.update(line)
                file.write(line)
        log.info("The query returned %s rows in %.1f s; its connection is closed.", count, clock.monotonic() - begun)
        return digest.hexdigest()


def _lines(query: Query) -> Iterator[bytes]:
    """Run a query, and return the lines of its snapshot: the columns, then the rows."""
    found = columns_and_rows(query.sql, query.conn_id, query.parameters, name="recipients")
    columns = list(next(found))
    yield _line({"version": 1, "columns": columns})
    for cells in found:
        yield _line([_written(cell, name) for name, cell in zip(columns, cells, strict=True)])


def _line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def _written(cell: Any, column: str) -> Any:
    """Return a cell as the snapshot stores it: as JSON, or as a list of its kind and its text."""
    cell = plain_number(cell)
    if isinstance(cell, ShownNumber):
        return ["shown", str(cell)]
    if cell is None or isinstance(cell, (str, bool, int, float)):
        return cell
    if is_nan(cell):
        return None
    if isinstance(cell, (bytes, bytearray, memoryview)):
        return _text(bytes(cell), column)
    if isinstance(cell, Mapping):
        return ["object", {str(name): _written(one, column) for name, one in cell.items()}]
    if isinstance(cell, (list, tuple)):
        return ["list", [_written(one, column) for one in cell]]
    if isinstance(cell, timedelta):
        return clock_time(cell)
    for kind, name in _KINDS.items():
        if isinstance(cell, kind):
            return [name, str(cell)] if name else str(cell)
    raise WtsInvalidRequestError(
        f"recipients_sql: the column {column!r} contains a {type(cell).__name__}. Nothing was sent. Convert it to text "
        f"in the query, or leave it out. Example: CAST({column} AS VARCHAR(100)) AS {column}"
    )


def _text(value: bytes, column: str) -> str:
    """Decode bytes: some databases return text with a binary collation as bytes."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\0"
    if any(character < " " and character not in "\t\r\n" for character in text):
        raise WtsInvalidRequestError(
            f"recipients_sql: the column {column!r} contains bytes that are not text. Nothing was sent. Convert them "
            "to text or a number in the query, or leave them out. Example: SELECT phone, name instead of SELECT *"
        )
    return text


def _read(value: Any) -> Any:
    return _READ[value[0]](value[1]) if isinstance(value, list) else value
