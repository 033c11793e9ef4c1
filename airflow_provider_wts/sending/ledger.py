"""The ledger of a task's sends: which were intended, which happened, and whether all are finished.

It is stored in Airflow's task state store (3.3 and later), which survives retries, deferrals and clears, or in files
at an ObjectStoragePath (``[wts] ledger_path``). If an intent cannot be written, nothing is sent. Every try takes the
ledger over before it reads it (:class:`Fence`). So a try that Airflow has given up on, but that still runs, sends
nothing more.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Protocol

from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError, quoted
from airflow_provider_wts.api.personal_data import without_personal_data
from airflow_provider_wts.api.wire import UNSET
from airflow_provider_wts.hooks.context import (
    RunIdentity,
    TaskIdentity,
    began_later,
    is_first_try,
    run_identity,
    same_run,
)
from airflow_provider_wts.hooks.output_files import write_whole
from airflow_provider_wts.sending import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


log = logging.getLogger(__name__)

OnClear = Literal["auto", "continue", "resend"]

OnUnknown = Literal["fail", "resend"]

#: Name of the ledger in the store.
HEADER = "wts_ledger"

#: Name of the holder in the store: the try that took the ledger over last. Separate, so that neither overwrites the
#: other.
HOLDER = "wts_ledger_holder"

#: Name of the writer in the store: the latest try that wrote the header. A try that is not there yet has sent nothing.
WRITER = "wts_ledger_writer"

_VERSION = 1

#: Seconds for which a check is valid, and which a later try waits before it reads what earlier ones did.
LEASE = 1.0

#: Attempts to take over from competing tries.
_MAX_TAKEOVERS = 5

#: Attempts to read a store that answers later than a check is valid: half a minute or more, for a busy Airflow.
_MAX_SLOW_READS = 30

#: Pages that the header reserves at a time, so that it is not written for each of them.
_PAGES_PER_HEADER = 25

#: Maximum length of a stored ``failedReason``.
_MAX_REASON = 120

#: Fields of an answer that are stored.
_STORED_FIELDS = ("id", "status", "sessionId", "failedReason")

_WRITE_AGAIN = "The ledger of this task cannot be written now. It is written again before anything more is sent."

_UNREADABLE = (
    "Nothing was sent, because it is unknown what was sent before. Check in WTS Chat, then delete the task's state to "
    "send again."
)


class Store(Protocol):
    """Stores JSON objects by name."""

    def get(self, name: str) -> Any:
        """Return an object, or ``None``."""

    def set(self, name: str, value: dict[str, Any]) -> None:
        """Write an object, replacing the old one."""


class TaskStateStore:
    """Airflow's own store of a task instance (3.3 and later): ``context["task_state_store"]``."""

    def __init__(self, accessor: Any) -> None:
        self._accessor = accessor

    def get(self, name: str) -> Any:
        """Return an object, or ``None``."""
        return self._accessor.get(name)

    def set(self, name: str, value: dict[str, Any]) -> None:
        """Write an object, which does not expire before its DAG run does."""
        from airflow import sdk

        self._accessor.set(name, value, retention=sdk.NEVER_EXPIRE)  # type: ignore[attr-defined]  # lazy export


class FileStore:
    """Files under an ObjectStoragePath, one folder per task instance.

    :param deployment: distinguishes this Airflow from others that share the folder.
    """

    def __init__(self, root: str, task: TaskIdentity, *, deployment: str = "") -> None:
        from airflow.providers.common.compat.sdk import ObjectStoragePath

        path = ObjectStoragePath(root)
        self._folder = path / _hashed(*filter(None, [deployment]), *task)
        # Version 0.1.0 did not distinguish deployments.
        self._folders = dict.fromkeys((self._folder, path / _hashed(*task)))

    def get(self, name: str) -> Any:
        """Return an object, or ``None``."""
        # Some stores answer from an earlier listing, without what another process has written since. Airflow does not
        # know the file system of every path that it opens.
        with suppress(ValueError):
            self._folder.fs.invalidate_cache()
        for folder in self._folders:
            with suppress(FileNotFoundError):
                return json.loads((folder / f"{name}.json").read_text())
        return None

    def set(self, name: str, value: dict[str, Any]) -> None:
        """Write an object."""
        write_whole(self._folder / f"{name}.json", json.dumps(value).encode(), durable=True)


def store_of(context: Mapping[str, Any], task: TaskIdentity) -> Store | None:
    """Return where the ledger of a task is stored, or ``None`` if this deployment has no store."""
    from airflow.providers.common.compat.sdk import conf

    if root := conf.get("wts", "ledger_path", fallback="").strip():
        return FileStore(root, task, deployment=deployment())
    accessor = context.get("task_state_store")
    return TaskStateStore(accessor) if accessor is not None else None


def run_of(store: Store | None, context: Mapping[str, Any]) -> RunIdentity | None:
    """Return the DAG run if the store outlives it, as files do, which another run with the same run ID may find."""
    return run_identity(context) if isinstance(store, FileStore) else None


def deployment() -> str:
    """Return what distinguishes this Airflow from others: ``[wts] deployment``, or a digest of its base URL."""
    from airflow import __version__ as airflow_version
    from airflow.providers.common.compat.sdk import conf

    if name := str(conf.get("wts", "deployment", fallback="")).strip():
        return name
    section = "webserver" if airflow_version.startswith("2.") else "api"
    return _hashed(conf.get(section, "base_url", fallback=""))


def _hashed(*parts: object) -> str:
    # A run ID may contain personal data, and characters that are not allowed in a path.
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]


class Fence:
    """Lets only the latest try of a task act, and stops earlier ones that Airflow has given up on but that still run.

    Call :meth:`hold` at the very start of ``execute``, before anything that can wait and before reading anything that
    another try may have written. Call :meth:`check` right before each effect: a write, a deletion, a request. It reads
    the store at most once per :data:`LEASE`.

    The holder in the store is a try number and a name of the process. A higher try wins; within a try, the latest start
    wins, because Airflow may start a try again (a deferral, a reschedule). A missing holder counts as another try's:
    the store answers so once Airflow has given up on the try. A check is valid for one lease, and a try that takes over
    waits one lease before it reads. By then it can read what its predecessor did after its last check.

    :param run: the DAG run, if the store outlives it (files do).
    """

    #: When this try took over. Other tries can act for one more lease, and no longer.
    held_at: clock.Reading

    def __init__(self, store: Store, *, try_number: int, run: RunIdentity | None = None, name: str = HOLDER) -> None:
        self._store = store
        self._try_number = try_number
        self._run = run
        self._name = name
        self.process = uuid.uuid4().hex
        self._checked: clock.Reading | None = None
        self._taken_over = False
        self._lock = threading.Lock()

    def hold(self, *, first: Callable[[], bool] = lambda: False) -> dict[str, Any] | None:
        """Take over.

        :param first: called in a first try without a previous holder. It stores something that every later start
            finds, and returns whether it was missing. If it was, there is no other try to wait for.
        :return: the previous holder, if any.
        :raises WtsError: when a later try has taken over, or the store fails. Then nothing may be done.
        """
        reading = clock.now()
        before = self._read()
        if before and same_run(before.get("run"), self._run) is not False and _try_of(before) > self._try_number:
            self.give_up()
        self._write()
        # A later try that this one overwrote within a lease of reading has not begun.
        alone = before is None and self._try_number <= 1 and clock.elapsed(reading) < LEASE and first()
        for _ in range(_MAX_TAKEOVERS):
            if not alone:
                clock.sleep(LEASE * 1.1)
            reading = clock.now()
            found = self._read()
            if self._is_mine(found):
                self._checked = reading
                return before
            if found is None or _try_of(found) >= self._try_number:
                self.give_up()
            # An earlier try read the store before this one wrote. It does not wait, and may have acted since.
            self._write()
            alone = False
        raise WtsError(
            "Other tries of this task keep taking over its ledger. Nothing more was sent. A retry continues from here."
        )

    def check(self) -> None:
        """Check that no other try has taken over, unless the last check is still valid.

        :raises WtsError: when one has, or the store does not answer in time. Then nothing may be done.
        """
        with self._lock:
            for _ in range(_MAX_SLOW_READS):
                if self._is_fresh():
                    return
                reading = clock.now()
                if not self._is_mine(self._read()):
                    self.give_up()
                self._checked = reading
            # A read that took longer than the lease proves nothing.
            if self._is_fresh():
                return
        raise WtsError(
            f"The ledger of this task took longer than {LEASE:g} s to answer, {_MAX_SLOW_READS} times in a row, so it "
            "is unknown whether another try has taken over. Nothing more was sent. A retry continues from here."
        )

    def confirm(self) -> None:
        """Check now, even if the last check is still valid."""
        with self._lock:
            self._checked = None
        self.check()

    def give_up(self) -> NoReturn:
        """Stop this try for good."""
        self._taken_over = True
        raise WtsError("Another try of this task has taken over, so this one sends nothing more.")

    def _is_fresh(self) -> bool:
        if self._taken_over:
            self.give_up()
        return self._checked is not None and clock.elapsed(self._checked) < LEASE

    def _is_mine(self, found: Mapping[str, Any] | None) -> bool:
        return found is not None and found.get("holder") == self.process

    def _read(self) -> dict[str, Any] | None:
        return _read_object(self._store, self._name)

    def _write(self) -> None:
        holder = {"holder": self.process, "try": self._try_number, "run": self._run}
        ensure_written(lambda: self._store.set(self._name, holder))
        self.held_at = clock.now()


def _try_of(holder: Mapping[str, Any]) -> int:
    # Version 0.1.0 wrote no number.
    number = holder.get("try")
    return number if isinstance(number, int) else 0


def _read(store: Store, name: str) -> Any:
    """Return an object from a store; a failed read must raise, and not count as "nothing there"."""
    try:
        return store.get(name)
    except ValueError as error:
        raise WtsInvalidRequestError(f"The ledger of this task cannot be read: {error}. {_UNREADABLE}") from error
    except Exception as error:
        raise WtsError(f"The ledger of this task cannot be read, so nothing more was sent: {error}") from error


def _read_object(store: Store, name: str) -> dict[str, Any] | None:
    found = _read(store, name)
    if found is not None and not isinstance(found, dict):
        raise WtsInvalidRequestError(f"The ledger of this task cannot be read: {name} is damaged. {_UNREADABLE}")
    return found


def ensure_written(write: Callable[[], None]) -> None:
    """Call ``write``, which must succeed before anything is sent, or raise ``WtsError``."""
    try:
        write()
    except WtsError:
        raise
    except Exception as error:
        raise WtsError(f"The ledger of this task cannot be written, so nothing more was sent: {error}") from error


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What the ledger records about one send.

    :param intent: it was sent no earlier than this; ``None`` if unknown, or if its page has it.
    :param timeout: seconds that the request may take; ``None`` if unknown.
    :param max_tries: ``ti.max_tries`` of the last try that sent it; ``None`` if unknown, or if its page has it.
    :param receipt: the stored part of the API's answer; ``UNSET`` if the outcome is unknown.
    """

    content: str | None = None
    intent: datetime | None = None
    timeout: float | None = None
    max_tries: int | None = None
    receipt: Any = UNSET

    @property
    def is_done(self) -> bool:
        """Whether the send happened."""
        return self.receipt is not UNSET

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> LedgerEntry:
        """Read an entry from JSON, as this or an earlier version wrote it."""
        try:
            intent = datetime.fromisoformat(str(value.get("intent")))
        except ValueError:
            intent = None
        timeout, max_tries = value.get("timeout"), value.get("max_tries")
        return cls(
            content=value.get("content"),
            intent=intent if intent is None or intent.tzinfo else intent.replace(tzinfo=UTC),
            timeout=timeout if isinstance(timeout, (int, float)) else None,
            max_tries=max_tries if isinstance(max_tries, int) else None,
            receipt=value.get("receipt", UNSET),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the entry as JSON."""
        intent = self.intent.isoformat() if self.intent else None
        known = {"intent": intent, "content": self.content, "timeout": self.timeout, "max_tries": self.max_tries}
        stored = {name: value for name, value in known.items() if value is not None}
        return {**stored, "receipt": self.receipt} if self.is_done else stored


@dataclass(slots=True)
class Page:
    """One chunk of a campaign.

    :param intent: it was sent no earlier than this.
    :param request_size: how many consecutive sends share a request; 1 if that is no longer known.
    :param max_tries: ``ti.max_tries`` of the try that sent it. Only a clear changes it.
    """

    number: int
    intent: datetime
    sends: dict[str, LedgerEntry]
    request_size: int
    max_tries: int

    def requests(self) -> list[list[str]]:
        """Return the keys of the sends, by request."""
        keys = list(self.sends)
        size = self.request_size if self.request_size > 1 else max(1, len(keys))
        return [keys[start : start + size] for start in range(0, len(keys), size)]

    def receive(self, key: str, receipt: Any) -> None:
        """Record that a send happened. This is atomic, because another thread may write the page."""
        entry = self.sends[key]
        # Not dataclasses.replace, which is several times as slow: this runs for every recipient.
        self.sends[key] = LedgerEntry(entry.content, entry.intent, entry.timeout, entry.max_tries, receipt)

    def retract(self, keys: Iterable[str]) -> None:
        """Remove intents of sends that certainly did not happen; sends with a receipt stay."""
        gone = {key for key in keys if key in self.sends and not self.sends[key].is_done}
        left = [[key for key in request if key not in gone] for request in self.requests()]
        for key in gone:
            del self.sends[key]
        if self.requests() != [request for request in left if request]:
            self.request_size = 1


class _NullStore:
    """Stores nothing, if the deployment has no store."""

    def get(self, name: str) -> Any:
        return None

    def set(self, name: str, value: dict[str, Any]) -> None:
        pass


class Ledger:
    """What is known about a task's sends: single sends in the header, those of a campaign in pages.

    In the store, an entry is ``{"intent": time, "content": digest, "timeout": seconds, "max_tries": count, "receipt":
    answer}``, by the key of its send. It contains no phone number.

    :param store: where it is stored; ``None`` if this deployment has no store, so that only this process knows.
    :param max_tries: ``ti.max_tries``. Only a clear changes it, so it distinguishes a clear from a retry.
    :param on_clear: ``auto``: a finished task that is cleared sends again, an unfinished one continues where it
        stopped; ``continue``: never again; ``resend``: again after any clear.
    :param run: the DAG run, if the store outlives it (files do).
    :param wts_conn_id: the connection of this try.
    :param resumed: whether this try has opened the ledger before: it was deferred, and continues.
    :raises WtsError: when another try has taken over, or the store fails. Then nothing may be sent.
    """

    def __init__(
        self,
        store: Store | None,
        *,
        max_tries: int,
        try_number: int = 1,
        on_clear: OnClear | str = "auto",
        run: RunIdentity | None = None,
        wts_conn_id: str = "",
        resumed: bool = False,
    ) -> None:
        #: Whether later tries of the task can read it.
        self.is_kept = store is not None
        self._store = store or _NullStore()
        self._max_tries = self._last_max_tries = max_tries
        self._try_number = try_number
        self._run = run
        self._wts_conn_id = wts_conn_id
        self._resumed = resumed
        self._header: dict[str, Any] = {}
        self._entries: dict[str, LedgerEntry] = {}
        self._pages_begun = False
        self._pages_used = 0
        self._unwritten: dict[int, Page] = {}
        # The writer before this try.
        self._previous: str | None = None
        self._fence = Fence(self._store, try_number=try_number, run=run)
        if not self.is_kept:
            # The same generation for all tries, because a clear cannot be detected.
            self._header = self._new(0, incomplete=try_number > 1)
            return
        before = self._fence.hold(first=self._create)
        if not self._header:
            self._previous = (_read_object(self._store, WRITER) or {}).get("holder")
            self._header = self._resume(before, on_clear)
            ensure_written(self._write)
            # After the header, and before anything is sent.
            ensure_written(self._write_writer)

    @property
    def generation(self) -> int:
        """Part of every send's key: it changes when somebody asks to send everything again."""
        return int(self._header["generation"])

    @property
    def wts_conn_id(self) -> str:
        """The connection of this generation's first try, which is part of every send's key in later tries, too."""
        return str(self._header.get("wts_conn_id", self._wts_conn_id))

    @property
    def finished(self) -> bool:
        """Whether all sends of this generation are done."""
        return bool(self._header["finished"])

    @property
    def incomplete(self) -> bool:
        """Whether there may have been sends that are missing from the ledger."""
        return bool(self._header.get("incomplete"))

    @property
    def quiet_for(self) -> float:
        """Seconds since the last time an earlier try can have written a request. Without a store it still may: 0."""
        return clock.waited(self._fence.held_at) - LEASE if self.is_kept else 0.0

    def check(self) -> None:
        """Check that no other try has taken over."""
        if self.is_kept:
            self._fence.check()

    # Single sends ----------------------------------------------------------------------------------------------------

    def entry(self, key: str) -> LedgerEntry | None:
        """Return what is known about a single send."""
        return self._entries.get(key)

    def is_since_clear(self, entry: LedgerEntry) -> bool:
        """Whether a single send was attempted after the task was last cleared."""
        known = self._last_max_tries if entry.max_tries is None else entry.max_tries
        return known == self._max_tries

    def intend(self, key: str, content: str, *, since: datetime | None = None, timeout: float | None = None) -> None:
        """Record that a send is about to happen. Without this, nothing may be sent.

        :param since: when the first attempt that may have reached somebody began; default: now.
        :raises WtsError: when it cannot be written.
        """
        self._entries[key] = LedgerEntry(content, since or datetime.now(UTC), timeout, self._max_tries)
        self._header["finished"] = False
        ensure_written(self._write)

    def retract(self, key: str) -> None:
        """Record that a send certainly did not happen."""
        self._entries.pop(key, None)
        self._write()

    def receive(self, key: str, receipt: Any, *, finished: bool) -> None:
        """Record that a send happened; or, without an intent, something else that later tries need.

        :param finished: whether it was the task's last send.
        """
        entry = self._entries.get(key)
        if entry is None or entry.is_done:
            entry = LedgerEntry(max_tries=self._max_tries)
        self._entries[key] = replace(entry, receipt=receipt)
        self._header["finished"] = finished
        self._write()

    # Campaigns -------------------------------------------------------------------------------------------------------

    @property
    def checkpoint(self) -> Mapping[str, Any] | None:
        """What the last :meth:`save_checkpoint` stored; ``None`` if all pages must be read."""
        found = self._header.get("checkpoint")
        return found if isinstance(found, dict) and not self.incomplete else None

    @property
    def pages_used(self) -> int:
        """How many pages there are, including those of earlier tries."""
        return self._pages_used

    def load(self, start: int = 0) -> Iterator[Page]:
        """Read the pages in the order in which they were sent. Read them to the end before sending anything.

        :raises WtsError: when one cannot be read; then nothing may be sent.
        """
        unused = {number for first, end in self._header.get("unused", ()) for number in range(first, end)}
        reserved, used = self._header.get("pages", 0), start
        doubted = self._header.get("doubted", False)
        for number in range(start, reserved):
            found = None if number in unused else self._page(number)
            if found is None:
                continue
            # An earlier try that still runs may have written these after they were read as missing.
            between = (between for between in range(used, number) if between not in unused)
            for page in (*(self._page(skipped) or self._missing(skipped) for skipped in between), found):
                if doubted:
                    page.sends = {key: replace(entry, receipt=UNSET) for key, entry in page.sends.items()}
                    self._write_page(page)
                yield page
            used = number + 1
        if used < reserved:
            self._confirm_missing(number for number in range(used, reserved) if number not in unused)
            # Skip these numbers: an earlier try that still runs may write them, over what this one sends.
            self._header["unused"] = [*self._header.get("unused", ()), [used, reserved]]
        self._pages_used = reserved
        if self._header.pop("doubted", False):
            self._write()

    def save_checkpoint(self, place: Mapping[str, Any]) -> bool:
        """Store what lets a later try continue without reading the pages so far.

        :param place: what that try needs to know instead.
        :return: whether it was stored. It is not while a page is unwritten, or if the store fails.
        """
        if self._unwritten or self.incomplete:
            return False
        before = {name: self._header.get(name) for name in ("checkpoint", "pages")}
        self._header |= {"checkpoint": {**place, "pages": self._pages_used}, "pages": self._reserved()}
        try:
            self._write()
        except Exception:
            self._header |= before
            log.warning(_WRITE_AGAIN)
            return False
        return True

    def open_page(self, contents: Mapping[str, str], request_size: int, *, since: datetime | None = None) -> Page:
        """Record that a chunk is about to be sent. Without this, nothing may be sent.

        :param contents: digests of the contents, by the key of the send.
        :param since: when the first attempt that may have reached one of the recipients began.
        :raises WtsError: when it cannot be written.
        """
        sends = {key: LedgerEntry(content) for key, content in contents.items()}
        page = Page(self._pages_used, since or datetime.now(UTC), sends, request_size, self._max_tries)
        ensure_written(lambda: self._begin_page(page))
        self._pages_used += 1
        return page

    def keep(self, page: Page) -> None:
        """Write a page as it is now. If that fails, it is written again before anything more is sent."""
        try:
            self._write_page(page)
        except Exception:
            self._unwritten[page.number] = page
            log.warning(_WRITE_AGAIN)

    def close(self, *, finished: bool) -> None:
        """Record the end of a try.

        :param finished: whether nothing is left to send, so that a later clear sends again.
        """
        try:
            self._write_unwritten()
            if self.finished != finished or self._pages_begun:
                self._header["finished"] = finished
                self._write()
        except Exception as error:
            # Everything was sent; a retry would learn that from the receipts.
            log.warning("The ledger of this task cannot be written: %s", type(error).__name__)

    def _write_unwritten(self) -> None:
        for page in list(self._unwritten.values()):
            self._write_page(page)

    def _begin_page(self, page: Page) -> None:
        # At most one page may be without its receipts.
        self._write_unwritten()
        if not self._pages_begun or page.number >= self._header["pages"]:
            self._header["pages"] = self._reserved()
            self._header["finished"] = False
            self._write()
            self._pages_begun = True
        self._write_page(page)

    def _reserved(self) -> int:
        return max(int(self._header.get("pages", 0)), self._pages_used + _PAGES_PER_HEADER)

    def _write_page(self, page: Page) -> None:
        # A try that Airflow has given up on would undo what its successor recorded.
        self.check()
        value = {
            "intent": page.intent.isoformat(),
            "request_size": page.request_size,
            "max_tries": page.max_tries,
            "sends": {key: entry.as_json() for key, entry in page.sends.items()},
        }
        self._store.set(self._page_name(page.number), value)
        self._unwritten.pop(page.number, None)

    def _page(self, number: int) -> Page | None:
        found = _read(self._store, self._page_name(number))
        if found is None:
            return None
        try:
            return Page(
                number,
                datetime.fromisoformat(found["intent"]),
                {key: LedgerEntry.of(value) for key, value in found["sends"].items()},
                int(found["request_size"]),
                # Version 0.1.0 stored none in pages; the header has that of the last try that wrote.
                int(found.get("max_tries", self._last_max_tries)),
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            raise WtsInvalidRequestError(f"Page {number} of this task's ledger is damaged. {_UNREADABLE}") from None

    def _confirm_missing(self, numbers: Iterator[int]) -> None:
        """Raise if the store did not show the first of these pages only for a while.

        Airflow shows any 404 as a missing value, also that of a gateway before its API server.
        """
        self._fence.confirm()
        if any(self._page(number) is not None for number in islice(numbers, 1)):
            raise WtsError(
                "The ledger of this task was incomplete for a while. Nothing more was sent. A retry reads it again."
            )

    @staticmethod
    def _missing(number: int) -> NoReturn:
        raise WtsInvalidRequestError(f"Page {number} of this task's ledger is missing. {_UNREADABLE}")

    def _page_name(self, number: int) -> str:
        # Pages of an earlier generation stay where they are.
        return f"{HEADER}_{self.generation}_{number}"

    # The header ------------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        self.check()
        self._put(self._header)

    def _put(self, header: dict[str, Any]) -> None:
        header["sends"] = {key: entry.as_json() for key, entry in self._entries.items()}
        # The latest, so that a retry after the end does not count as another clear.
        header["max_tries"] = self._max_tries
        header |= {"holder": self._fence.process, "try": self._try_number, "previous": self._previous}
        self._store.set(HEADER, header)

    def _write_writer(self) -> None:
        self.check()
        self._store.set(WRITER, {"holder": self._fence.process})

    def _create(self) -> bool:
        """Write a new ledger, unless there is one, or must have been."""
        if self._resumed or self._read() is not None:
            return False
        header = self._new(self._max_tries)
        ensure_written(lambda: self._put(header))
        self._header = header
        return True

    def _resume(self, before: Mapping[str, Any] | None, on_clear: OnClear | str) -> dict[str, Any]:
        """Return the header to continue with, given what earlier tries left."""
        header = self._read()
        if header is None:
            if self._try_number > 1:
                log.warning("The ledger of an earlier try is missing. Asking WTS Chat what was sent.")
            # Nothing precedes a first try, and a later try that this one overwrote writes a header before it sends.
            incomplete = self._try_number > 1 or before is not None or self._resumed
            return self._new(self._max_tries, incomplete=incomplete)
        # Never reuse a generation: its markers may still be in WTS Chat.
        next_generation = max(header["generation"] + 1, self._max_tries)
        same = same_run(header.get("run"), self._run)
        if same is False:
            if began_later(header["run"], self._run or {}):
                raise WtsInvalidRequestError(
                    "[wts] ledger_path: the ledger of this task belongs to a DAG run that began later, so another "
                    "Airflow with the same DAG uses this folder. Nothing more was sent. Give each Airflow its own name "
                    "as [wts] deployment. Then check in WTS Chat what this task sent, before you clear it."
                )
            # If the run is queued again while a try is deferred, its start moves.
            if not self._resumed:
                log.info("The ledger belongs to an earlier DAG run with the same run ID; everything is sent.")
                return self._new(next_generation, incomplete=self._try_number > 1)
        if _try_of(header) > self._try_number:
            # That try had taken over before this one overwrote it as the holder.
            self._fence.give_up()
        overwritten = self._is_overwritten(header, before)
        cleared = header.get("max_tries") != self._max_tries
        if cleared and (on_clear == "resend" or (on_clear == "auto" and header["finished"])):
            log.warning(
                "The task was cleared after all its sends had been made, so everything is sent again. If you cleared "
                "it only because its last try failed after that, set on_clear='continue', which sends nothing again."
            )
            return self._new(next_generation, incomplete=overwritten)
        self._last_max_tries = header.get("max_tries", self._max_tries)
        self._entries = {key: LedgerEntry.of(entry) for key, entry in header["sends"].items()}
        header["incomplete"] = bool(header.get("incomplete")) or overwritten
        if same is None and not self._resumed and self._try_number <= max(_try_of(before or {}), 1):
            # Try numbers only grow within a run, so this may be another run with the same run ID.
            log.warning("It is unknown whether the ledger belongs to this DAG run. Asking WTS Chat what was sent.")
            self._entries = {key: replace(entry, receipt=UNSET) for key, entry in self._entries.items()}
            header |= {"finished": False, "doubted": True, "checkpoint": None}
        header["run"] = (self._resumed and self._run) or header.get("run") or self._run
        # Version 0.2.0 stored none.
        if header.setdefault("wts_conn_id", self._wts_conn_id) != self._wts_conn_id:
            log.warning(
                "An earlier try used the connection %r. What it sent is not sent again through this one.",
                header["wts_conn_id"],
            )
        return header

    def _is_overwritten(self, header: Mapping[str, Any], before: Mapping[str, Any] | None) -> bool:
        """Whether an abandoned try overwrote the header of its successor, which may have sent something."""
        if "previous" not in header:
            # Version 0.1.0 stored no writer.
            return self._previous is not None or header.get("holder") != (before or {}).get("holder")
        # A try that ended before it became the writer has sent nothing.
        return self._previous not in (header["holder"], header["previous"])

    def _read(self) -> dict[str, Any] | None:
        header = _read(self._store, HEADER)
        if header is None:
            return None
        kinds = {"generation": int, "finished": bool, "sends": dict}
        readable = isinstance(header, dict) and header.get("version") == _VERSION
        readable = readable and all(isinstance(header.get(name), kind) for name, kind in kinds.items())
        if not readable or not all(isinstance(entry, dict) for entry in header["sends"].values()):
            raise WtsInvalidRequestError(
                f"The ledger of this task was written by another version of airflow-provider-wts. {_UNREADABLE}"
            )
        return dict(header)

    def _new(self, generation: int, *, incomplete: bool = False) -> dict[str, Any]:
        return {
            "version": _VERSION,
            "generation": generation,
            "max_tries": self._max_tries,
            "finished": False,
            "sends": {},
            "run": self._run,
            "wts_conn_id": self._wts_conn_id,
            "incomplete": incomplete,
        }


def open_ledger(
    context: Mapping[str, Any],
    *,
    wts_conn_id: str,
    on_unknown: str = "fail",
    on_clear: OnClear | str = "auto",
    resumed: bool = False,
) -> Ledger:
    """Open the ledger of a task, at the very start of its ``execute``. From then on, no earlier try can send.

    :param resumed: whether this try was deferred, and continues.
    :raises WtsInvalidRequestError: when a policy has an invalid value, or this deployment does not support it.
    :raises WtsError: when another try has taken over, or the store fails.
    """
    task_instance = context["ti"]
    store = store_of(context, TaskIdentity.of(task_instance))
    _check_policies(on_unknown, on_clear, store)
    return Ledger(
        store,
        max_tries=task_instance.max_tries,
        try_number=1 if is_first_try(context) else int(task_instance.try_number),
        on_clear=on_clear,
        run=run_of(store, context),
        wts_conn_id=wts_conn_id,
        resumed=resumed,
    )


def _check_policies(on_unknown: str, on_clear: str, store: Store | None) -> None:
    """Refuse an invalid policy, and one that needs a ledger that outlives the task."""
    if on_unknown not in ("fail", "resend"):
        raise WtsInvalidRequestError(f"on_unknown: {quoted(on_unknown)} must be 'fail' or 'resend'. Nothing was sent.")
    if on_clear not in ("auto", "continue", "resend"):
        raise WtsInvalidRequestError(
            f"on_clear: {quoted(on_clear)} must be 'auto', 'continue' or 'resend'. Nothing was sent."
        )
    if on_clear == "resend" and store is None:
        raise WtsInvalidRequestError(
            "on_clear: 'resend' needs a ledger, which Airflow has from 3.3 on. Nothing was sent. Before Airflow 3.3, "
            "set [wts] ledger_path. Example: s3://aws_default@bucket/wts-ledger"
        )
    if on_clear == "continue" and isinstance(store, TaskStateStore):
        from airflow.providers.common.compat.sdk import conf

        if conf.getboolean("state_store", "clear_on_success", fallback=False):
            raise WtsInvalidRequestError(
                "on_clear: 'continue' is not possible, because [state_store] clear_on_success deletes a task's ledger "
                "as soon as it succeeds. Nothing was sent. Set it to False, or set [wts] ledger_path. Example: "
                "s3://aws_default@bucket/wts-ledger"
            )


def receipt_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is stored of the API's answer about one send of a campaign."""
    receipt = {name: answer[name] for name in _STORED_FIELDS if answer.get(name) is not None}
    if "failedReason" in receipt:
        receipt["failedReason"] = without_personal_data(str(receipt["failedReason"]))[:_MAX_REASON]
    return receipt
