"""The ledger of a task's sends: what was intended, what was done, and whether everything is finished.

It is kept in Airflow's task state store (Airflow 3.3 and later), which survives retries, deferral and clears, or in
files at an ObjectStoragePath (``[wts] ledger_path``). If an intent cannot be written, nothing is sent. Every try takes
the ledger over before it reads it (:class:`Fence`), so a try that Airflow has given up, but that still runs, sends
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
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Protocol, cast

from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError, quoted
from airflow_provider_wts.api.personal_data import without_personal_data
from airflow_provider_wts.api.wire import UNSET
from airflow_provider_wts.hooks.context import RunIdentity, TaskIdentity, is_first_try, run_identity, same_run
from airflow_provider_wts.hooks.output_files import write_whole
from airflow_provider_wts.sending import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


log = logging.getLogger(__name__)

OnClear = Literal["auto", "continue", "resend"]

OnUnknown = Literal["fail", "resend"]

#: Name of the ledger in the store.
HEADER = "wts_ledger"

#: Name of the holder in the store: the try that took the ledger over last. Apart, so that neither overwrites the other.
HOLDER = "wts_ledger_holder"

#: Name of the writer in the store: the latest try that went on with the ledger. Who is not there yet has sent nothing.
WRITER = "wts_ledger_writer"

_VERSION = 1

#: Seconds for which a check is valid, and which a later try waits before it reads what earlier ones did.
LEASE = 1.0

#: Reads of a store that is too slow for the lease, until a check is given up; and claims against competing tries.
_MOST_READS = 5

#: The header is written once for so many pages.
_PAGES_PER_HEADER = 25

#: Characters of the API's reason for a failure that are kept.
_MOST_REASON = 120

#: What is kept of an answer.
_KEPT = ("id", "status", "sessionId", "failedReason")

_UNREADABLE = (
    "Nothing was sent, because it is unknown what was sent before. Check in WTS Chat, then delete the task's state to "
    "send again."
)


class Store(Protocol):
    """Where a ledger is kept: JSON objects by name."""

    def get(self, name: str) -> Any:
        """Return an object, or ``None``."""

    def set(self, name: str, value: dict[str, Any]) -> None:
        """Write a whole object."""


class TaskStateStore:
    """Airflow's own store of a task instance (3.3 and later).

    :param accessor: ``context["task_state_store"]``.
    """

    def __init__(self, accessor: Any) -> None:
        self._accessor = accessor

    def get(self, name: str) -> Any:
        """Return an object, or ``None``."""
        return self._accessor.get(name)

    def set(self, name: str, value: dict[str, Any]) -> None:
        """Write a whole object; it does not expire before its DAG run does."""
        from airflow import sdk

        self._accessor.set(name, value, retention=sdk.NEVER_EXPIRE)  # type: ignore[attr-defined]  # lazy export


class FileStore:
    """Files under an ObjectStoragePath, one folder per task instance.

    :param root: the folder of all ledgers.
    :param task: the task instance.
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
        for folder in self._folders:
            with suppress(FileNotFoundError):
                return json.loads((folder / f"{name}.json").read_text())
        return None

    def set(self, name: str, value: dict[str, Any]) -> None:
        """Write a whole object."""
        write_whole(self._folder / f"{name}.json", json.dumps(value).encode())


def store_of(context: Mapping[str, Any], task: TaskIdentity) -> Store | None:
    """Return where the ledger of a task is kept, or ``None`` if this deployment has no place for one.

    :param task: the task instance.
    """
    from airflow.providers.common.compat.sdk import conf

    if root := conf.get("wts", "ledger_path", fallback="").strip():
        return FileStore(root, task, deployment=deployment())
    accessor = context.get("task_state_store")
    return TaskStateStore(accessor) if accessor is not None else None


def deployment() -> str:
    """Return what distinguishes this Airflow from others: a name, or else the address of its API."""
    from airflow import __version__ as airflow_version
    from airflow.providers.common.compat.sdk import conf

    if name := str(conf.get("wts", "deployment", fallback="")).strip():
        return name
    section = "webserver" if airflow_version.startswith("2.") else "api"
    return _hashed(conf.get(section, "base_url", fallback=""))


def _hashed(*parts: object) -> str:
    # A run id holds characters that no path takes, and may hold personal data.
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]


class Fence:
    """Lets one try of a task act, the latest, and stops all that Airflow has given up but that still run.

    Call :meth:`hold` at the very start of ``execute``, before anything is read that another try may have written and
    before anything that can wait. Call :meth:`check` right before each effect: a write, a deletion, a request. It costs
    a read of the store once per :data:`LEASE`, else nothing.

    The holder in the store is the number of a try and a name of its process. A higher try wins; within a try the latest
    start wins, because Airflow may start a try again (a deferral, a reschedule). No holder counts as another's: the
    store answers that once Airflow has given the try up. A check is valid for one lease, and who takes over waits one
    lease before it reads: by then it can read what its predecessor did on the strength of a check.

    :param store: where the holder is kept.
    :param try_number: ``ti.try_number``.
    :param run: the DAG run, if the store outlives it (files do).
    :param name: name of the holder in the store.
    """

    def __init__(self, store: Store, *, try_number: int, run: RunIdentity | None = None, name: str = HOLDER) -> None:
        self._store = store
        self._try_number = try_number
        self._run = run
        self._name = name
        #: Name of this process.
        self.process = uuid.uuid4().hex
        self._checked: clock.Reading | None = None
        self._taken_over = False
        self._lock = threading.Lock()
        #: When it took over. Other tries can act for one lease after that, and no longer.
        self.held_at = clock.now()

    def hold(self, *, first: Callable[[], bool] = lambda: False) -> dict[str, Any] | None:
        """Take over.

        :param first: called if nobody held before a first try: leaves something in the store that every later start
            finds, and returns whether none was there. Then there is nobody to wait for.
        :return: the holder before, if there was one.
        :raises WtsError: when a later try has taken over, or the store fails. Then nothing may be done.
        """
        reading = clock.now()
        before = self._read()
        if before and same_run(before.get("run"), self._run) is not False and _try_of(before) > self._try_number:
            self.give_up()
        self._write()
        # Within a lease of the reading, a later try that this one overwrote has not begun.
        alone = before is None and self._try_number <= 1 and clock.elapsed(reading) < LEASE and first()
        for _ in range(_MOST_READS):
            if not alone:
                clock.sleep(LEASE * 1.1)
            reading = clock.now()
            found = self._read()
            if self._is_mine(found):
                self._checked = reading
                return before
            if found is None or _try_of(found) >= self._try_number:
                self.give_up()
            # An earlier try had read the store before this one wrote. It does not wait, and may have acted since.
            self._write()
            alone = False
        raise WtsError("Other tries of this task take its ledger over again and again. Nothing was sent.")

    def check(self) -> None:
        """Make sure that no other try has taken over, unless that was made sure of within the lease.

        :raises WtsError: when one has, or the store does not answer in time. Then nothing may be done.
        """
        with self._lock:
            for _ in range(_MOST_READS):
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
            f"The ledger of this task took longer than {LEASE:g} s to answer, {_MOST_READS} times in a row, so it is "
            "unknown whether another try has taken over. Nothing was sent. Another try goes on from here."
        )

    def give_up(self) -> NoReturn:
        """Stop for good.

        :raises WtsError: always.
        """
        self._taken_over = True
        raise WtsError("Another try of this task has taken over, so this one sends nothing more.")

    def _is_fresh(self) -> bool:
        if self._taken_over:
            self.give_up()
        return self._checked is not None and clock.elapsed(self._checked) < LEASE

    def _is_mine(self, found: Mapping[str, Any] | None) -> bool:
        return found is not None and found.get("holder") == self.process

    def _read(self) -> dict[str, Any] | None:
        found = _read(self._store, self._name)
        if found is not None and not isinstance(found, dict):
            raise WtsInvalidRequestError(
                f"The ledger of this task cannot be read: {self._name} is damaged. {_UNREADABLE}"
            )
        return found

    def _write(self) -> None:
        holder = {"holder": self.process, "try": self._try_number, "run": self._run}
        ensure_written(lambda: self._store.set(self._name, holder))
        self.held_at = clock.now()


def _try_of(holder: Mapping[str, Any]) -> int:
    # Version 0.1.0 wrote no number.
    number = holder.get("try")
    return number if isinstance(number, int) else 0


def _read(store: Store, name: str) -> Any:
    """Return an object of a store; what cannot be read is an error, and not "nothing known"."""
    try:
        return store.get(name)
    except ValueError as error:
        raise WtsInvalidRequestError(f"The ledger of this task cannot be read: {error}. {_UNREADABLE}") from error
    except Exception as error:
        raise WtsError(f"The ledger of this task cannot be read, so nothing was sent: {error}") from error


def ensure_written(write: Callable[[], None]) -> None:
    """Write what must be written before anything is sent.

    :raises WtsError: when it cannot be written.
    """
    try:
        write()
    except WtsError:
        raise
    except Exception as error:
        raise WtsError(f"The ledger of this task cannot be written, so nothing was sent: {error}") from error


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What the ledger knows of one send.

    :param content: digest of what is sent.
    :param intent: it was sent no earlier than this; ``None`` if that is unknown, or if the page says it.
    :param timeout: seconds that the request may take; ``None`` if that is unknown.
    :param max_tries: ``ti.max_tries`` of the last try that sent it; ``None`` if unknown, or if the page says it.
    :param receipt: what is kept of the API's answer; ``UNSET`` if the outcome is unknown.
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
        """Return the entry that a store holds.

        :param value: the JSON object, also one that an earlier version wrote.
        """
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
        """Return the JSON object that a store keeps."""
        stored: dict[str, Any] = {"intent": self.intent.isoformat()} if self.intent else {}
        if self.content is not None:
            stored["content"] = self.content
        if self.timeout is not None:
            stored["timeout"] = self.timeout
        if self.max_tries is not None:
            stored["max_tries"] = self.max_tries
        if self.is_done:
            stored["receipt"] = self.receipt
        return stored


@dataclass(slots=True)
class Page:
    """One chunk of a campaign.

    :param number: its place.
    :param intent: it was sent no earlier than this.
    :param sends: what is known of each send, by key.
    :param request_size: sends of one request, in their order; 1 if that is no longer known.
    :param max_tries: ``ti.max_tries`` of the try that sent it. Only a clear changes it.
    """

    number: int
    intent: datetime
    sends: dict[str, LedgerEntry]
    request_size: int
    max_tries: int

    def requests(self) -> list[list[str]]:
        """Return the keys of the sends that went out together."""
        keys = list(self.sends)
        size = self.request_size if self.request_size > 1 else max(1, len(keys))
        return [keys[start : start + size] for start in range(0, len(keys), size)]

    def receive(self, key: str, receipt: Any) -> None:
        """Note that a send happened. In one step: another thread may write the page.

        :param key: the key of the send.
        :param receipt: what is kept of the API's answer.
        """
        entry = self.sends[key]
        # Not "replace", which takes several times as long: each recipient comes by here.
        self.sends[key] = LedgerEntry(entry.content, entry.intent, entry.timeout, entry.max_tries, receipt)

    def retract(self, keys: Iterable[str]) -> None:
        """Forget intents of sends that certainly did not happen.

        :param keys: the keys of the sends; those with a receipt stay.
        """
        gone = {key for key in keys if key in self.sends and not self.sends[key].is_done}
        left = [[key for key in request if key not in gone] for request in self.requests()]
        for key in gone:
            del self.sends[key]
        if self.requests() != [request for request in left if request]:
            self.request_size = 1


class _Nowhere:
    """The store of a deployment that has no place for a ledger."""

    def get(self, name: str) -> Any:
        return None

    def set(self, name: str, value: dict[str, Any]) -> None:
        """Keep nothing."""


class Ledger:
    """What is known of a task's sends: single ones in the header, those of a campaign in pages.

    In the store, an entry is ``{"intent": time, "content": digest, "timeout": seconds, "max_tries": count, "receipt":
    answer}`` by the key of its send. Nothing in it names a phone number.

    :param store: where it is kept; ``None`` if this deployment has no place for one, so that only this process knows.
    :param try_number: ``ti.try_number``.
    :param max_tries: ``ti.max_tries``. Only a clear changes it, so it distinguishes a clear from a retry.
    :param on_clear: ``auto``: a finished task that is cleared sends again, an unfinished one goes on where it stopped;
        ``continue``: never again; ``resend``: again after any clear.
    :param run: the DAG run, if the store outlives it (files do).
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
    ) -> None:
        #: Whether later tries of the task can read it.
        self.is_kept = store is not None
        self._store = store or _Nowhere()
        self._max_tries = self._last_max_tries = max_tries
        self._try_number = try_number
        self._run = run
        self._header: dict[str, Any] = {}
        self._entries: dict[str, LedgerEntry] = {}
        self._pages_begun = False
        self._pages_used = 0
        self._unwritten: dict[int, Page] = {}
        # The writer before this try.
        self._previous: str | None = None
        self._fence = Fence(self._store, try_number=try_number, run=run)
        if not self.is_kept:
            # The same generation for all tries: nothing shows a clear.
            self._header = self._new(0, incomplete=try_number > 1)
            return
        before = self._fence.hold(first=self._begin)
        if not self._header:
            self._previous = self._writer()
            self._header = self._resumed(before, on_clear)
            ensure_written(self._write)
            # Only after the header, and before anything is sent.
            ensure_written(self._write_writer)

    @property
    def generation(self) -> int:
        """Part of the key of every send: it changes when a person wants everything sent again."""
        return int(self._header["generation"])

    @property
    def finished(self) -> bool:
        """Whether all sends of this generation are done."""
        return bool(self._header["finished"])

    @property
    def incomplete(self) -> bool:
        """Whether there may have been sends that the ledger does not know of."""
        return bool(self._header.get("incomplete"))

    @property
    def quiet_for(self) -> float:
        """Seconds for which no earlier try can have written a request; without a store nothing stops one."""
        return clock.elapsed(self._fence.held_at) - LEASE if self.is_kept else 0.0

    def check(self) -> None:
        """Make sure that no other try has taken over.

        :raises WtsError: as :meth:`Fence.check`.
        """
        if self.is_kept:
            self._fence.check()

    # Single sends ----------------------------------------------------------------------------------------------------

    def entry(self, key: str) -> LedgerEntry | None:
        """Return what is known of a single send.

        :param key: the key of the send.
        """
        return self._entries.get(key)

    def is_since_clear(self, entry: LedgerEntry) -> bool:
        """Whether a single send was tried after the task was last cleared.

        :param entry: what is known of it.
        """
        known = self._last_max_tries if entry.max_tries is None else entry.max_tries
        return known == self._max_tries

    def intend(self, key: str, content: str, *, since: datetime | None = None, timeout: float | None = None) -> None:
        """Write that a send is about to happen. Without this, nothing may be sent.

        :param key: the key of the send.
        :param content: digest of what is sent.
        :param since: when the first of the attempts began that may have reached somebody; now if there was none.
        :param timeout: seconds that the request may take.
        :raises WtsError: when it cannot be written.
        """
        self._entries[key] = LedgerEntry(content, since or datetime.now(UTC), timeout, self._max_tries)
        self._header["finished"] = False
        ensure_written(self._write)

    def retract(self, key: str) -> None:
        """Write that a send certainly did not happen.

        :param key: the key of the send.
        """
        self._entries.pop(key, None)
        self._write()

    def receive(self, key: str, receipt: Any, *, finished: bool) -> None:
        """Write that a send happened.

        :param key: the key of the send.
        :param receipt: what is kept of the API's answer.
        :param finished: whether it was the last one of the task.
        """
        self._entries[key] = replace(self._entries.get(key, LedgerEntry()), receipt=receipt)
        self._header["finished"] = finished
        self._write()

    # Campaigns -------------------------------------------------------------------------------------------------------

    @property
    def checkpoint(self) -> Mapping[str, Any] | None:
        """What the last :meth:`save_checkpoint` kept; ``None`` if all pages have to be read."""
        found = self._header.get("checkpoint")
        return found if isinstance(found, dict) and not self.incomplete else None

    @property
    def pages_used(self) -> int:
        """How many pages there are, with those that earlier tries left."""
        return self._pages_used

    def load(self, start: int = 0) -> Iterator[Page]:
        """Read the pages, in the order in which they were sent. To be read to the end before anything is sent.

        :param start: the first that is read.
        :raises WtsError: when one cannot be read; then nothing may be sent.
        """
        unused = {number for first, end in self._header.get("unused", ()) for number in range(first, end)}
        reserved, used = self._header.get("pages", 0), start
        doubted = self._header.get("doubted", False)
        for number in range(start, reserved):
            found = None if number in unused else self._page(number)
            if found is None:
                continue
            # Another try that still runs may have written them since they were read.
            between = (between for between in range(used, number) if between not in unused)
            for page in (*(self._page(skipped) or self._missing(skipped) for skipped in between), found):
                if doubted:
                    page.sends = {key: replace(entry, receipt=UNSET) for key, entry in page.sends.items()}
                    self._write_page(page)
                yield page
            used = number + 1
        if used < reserved:
            # An earlier try that still runs may write there, and must not overwrite what this one sends.
            self._header["unused"] = [*self._header.get("unused", ()), [used, reserved]]
        self._pages_used = reserved
        if self._header.pop("doubted", False):
            self._write()

    def save_checkpoint(self, place: Mapping[str, Any]) -> bool:
        """Write what lets a later try go on without reading the pages so far.

        :param place: what that try needs to know instead.
        :return: whether it is written: not while a page is not, or the store fails.
        """
        if self._unwritten or self.incomplete:
            return False
        before = {name: self._header.get(name) for name in ("checkpoint", "pages")}
        self._header |= {"checkpoint": {**place, "pages": self._pages_used}, "pages": self._reserved()}
        try:
            self._write()
        except Exception:
            self._header |= before
            log.warning("The ledger of this task cannot be written now. It must be before anything more is sent.")
            return False
        return True

    def open_page(self, contents: Mapping[str, str], request_size: int, *, since: datetime | None = None) -> Page:
        """Write that a chunk is about to be sent. Without this, nothing may be sent.

        :param contents: digest of what is sent, by the key of the send.
        :param request_size: sends of one request.
        :param since: when the first of the attempts began that may have reached one of them.
        :raises WtsError: when it cannot be written.
        """
        sends = {key: LedgerEntry(content) for key, content in contents.items()}
        page = Page(self._pages_used, since or datetime.now(UTC), sends, request_size, self._max_tries)
        ensure_written(lambda: self._begin_page(page))
        self._pages_used += 1
        return page

    def keep(self, page: Page) -> None:
        """Write a page as it is now; if that fails, it is tried again before anything more is sent."""
        try:
            self._write_page(page)
        except Exception:
            self._unwritten[page.number] = page
            log.warning("The ledger of this task cannot be written now. It must be before anything more is sent.")

    def close(self, *, finished: bool) -> None:
        """Write the end of a try.

        :param finished: whether nothing is left to be sent, so that a clear from now on means to send again.
        """
        try:
            self._write_unwritten()
            if self.finished != finished or self._pages_begun:
                self._header["finished"] = finished
                self._write()
        except Exception as error:
            # All is sent; another try would find that out from the receipts.
            log.warning("The ledger of this task cannot be written: %s", type(error).__name__)

    def _write_unwritten(self) -> None:
        for page in list(self._unwritten.values()):
            self._write_page(page)

    def _begin_page(self, page: Page) -> None:
        # One page without receipts is the most that may be left behind.
        self._write_unwritten()
        if page.number >= self._header.get("pages", 0) or not self._pages_begun:
            self._header["pages"] = self._reserved()
            self._header["finished"] = False
            self._write()
            self._pages_begun = True
        self._write_page(page)

    def _reserved(self) -> int:
        return max(int(self._header.get("pages", 0)), self._pages_used + _PAGES_PER_HEADER)

    def _write_page(self, page: Page) -> None:
        # A try that was given up would take back what its successor did.
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
                # Pages of the first version do not say; the header has that of the last try that wrote.
                int(found.get("max_tries", self._last_max_tries)),
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            raise WtsInvalidRequestError(f"Page {number} of this task's ledger is damaged. {_UNREADABLE}") from None

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
        # As last seen, so that a retry after the end is not taken for another clear.
        header["max_tries"] = self._max_tries
        header |= {"holder": self._fence.process, "try": self._try_number, "previous": self._previous}
        self._store.set(HEADER, header)

    def _writer(self) -> str | None:
        found = _read(self._store, WRITER)
        if found is not None and not isinstance(found, dict):
            raise WtsInvalidRequestError(f"The ledger of this task cannot be read: {WRITER} is damaged. {_UNREADABLE}")
        return found.get("holder") if found else None

    def _write_writer(self) -> None:
        self.check()
        self._store.set(WRITER, {"holder": self._fence.process})

    def _begin(self) -> bool:
        """Write a new ledger, if there is none."""
        if self._read() is not None:
            return False
        header = self._new(self._max_tries)
        ensure_written(lambda: self._put(header))
        self._header = header
        return True

    def _resumed(self, before: Mapping[str, Any] | None, on_clear: OnClear | str) -> dict[str, Any]:
        """Return the header to go on with, after what earlier tries left."""
        header = self._read()
        if header is None:
            if self._try_number > 1:
                log.warning("An earlier try must have left a ledger, and there is none. Asking WTS Chat what was sent.")
            # Before a first try nobody held, and a later one that this one overwrote writes a header before it sends.
            return self._new(self._max_tries, incomplete=self._try_number > 1 or before is not None)
        # Never a generation that was there: its markers may still be in WTS Chat.
        next_generation = max(header["generation"] + 1, self._max_tries)
        same = same_run(header.get("run"), self._run)
        if same is False:
            log.info("The ledger is of an earlier DAG run with the same run id; everything is sent.")
            return self._new(next_generation, incomplete=self._try_number > 1)
        if _try_of(header) > self._try_number:
            # It had taken over before this one overwrote its name.
            self._fence.give_up()
        overwritten = self._is_overwritten(header, before)
        cleared = header.get("max_tries") != self._max_tries
        if cleared and (on_clear == "resend" or (on_clear == "auto" and header["finished"])):
            log.warning(
                "The task was cleared after all its sends had been made, so everything is sent again. If its last try "
                "failed only after that, this is a repetition: on_clear='continue' sends nothing again."
            )
            return self._new(next_generation, incomplete=overwritten)
        self._last_max_tries = header.get("max_tries", self._max_tries)
        self._entries = {key: LedgerEntry.of(entry) for key, entry in header["sends"].items()}
        header["incomplete"] = bool(header.get("incomplete")) or overwritten
        if same is None and self._try_number <= max(_try_of(before or {}), 1):
            # The number of a try only grows within a run, so this may be another run under the same run id.
            log.warning("It is unknown whether the ledger is of this DAG run. Asking WTS Chat what was sent.")
            self._entries = {key: replace(entry, receipt=UNSET) for key, entry in self._entries.items()}
            header |= {"finished": False, "doubted": True, "checkpoint": None}
        header["run"] = header.get("run") or self._run
        return header

    def _is_overwritten(self, header: Mapping[str, Any], before: Mapping[str, Any] | None) -> bool:
        """Whether a try that was given up wrote the header over that of its successor, which may have sent."""
        if "previous" not in header:
            # Version 0.1.0 wrote no writer.
            return self._previous is not None or header.get("holder") != (before or {}).get("holder")
        # A try that held the ledger and ended before it was the writer left nothing that could be missing.
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
            "incomplete": incomplete,
        }


def open_ledger(context: Mapping[str, Any], *, on_unknown: str = "fail", on_clear: OnClear | str = "auto") -> Ledger:
    """Open the ledger of a task, at the very start of its ``execute``: from then on no earlier try can send.

    :param on_unknown: what to do if the outcome of a send is unknown.
    :param on_clear: see :class:`Ledger`.
    :raises WtsInvalidRequestError: when a policy is not one of its values, or cannot be kept here.
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
        run=run_identity(context) if isinstance(store, FileStore) else None,
    )


def _check_policies(on_unknown: str, on_clear: str, store: Store | None) -> None:
    """Refuse a policy that is not one of its values, or needs a ledger that outlives the task."""
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
    if on_clear == "continue" and isinstance(store, TaskStateStore) and _is_cleared_on_success():
        raise WtsInvalidRequestError(
            "on_clear: 'continue' cannot be kept, because [state_store] clear_on_success deletes what a task sent as "
            "soon as it succeeds. Nothing was sent. Set it to False, or set [wts] ledger_path. Example: "
            "s3://aws_default@bucket/wts-ledger"
        )


def _is_cleared_on_success() -> bool:
    from airflow.providers.common.compat.sdk import conf

    return cast("bool", conf.getboolean("state_store", "clear_on_success", fallback=False))


def receipt_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of the answer about one send of a campaign.

    :param answer: the API's answer.
    """
    receipt = {name: answer[name] for name in _KEPT if answer.get(name) is not None}
    if "failedReason" in receipt:
        receipt["failedReason"] = without_personal_data(str(receipt["failedReason"]))[:_MOST_REASON]
    return receipt
