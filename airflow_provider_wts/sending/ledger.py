"""The ledger of a task's sends: what was intended, what was done, and whether all is finished.

It lives in Airflow's task state store (Airflow 3.3 and later), which survives retries, deferral and clears, or in
files at an ObjectStoragePath where the deployment configures one (``[wts] ledger_path``). A failing write of an
intent prevents the send. Every try after the first takes the ledger over before it reads it, so a try that Airflow has
given up, but that still runs and waits for its turn, sees that, and sends nothing more.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_wts.sending.key import TaskIdentity

log = logging.getLogger(__name__)

OnClear = Literal["auto", "continue", "resend"]

#: Name under which the ledger stands in the store.
HEADER = "wts_ledger"

#: Name under which the try stands that took the ledger over last. Apart, so that neither writes over the other.
HOLDER = "wts_ledger_holder"

_VERSION = 1

#: Seconds after which a try looks again whether it is still the one that counts.
FRESH = 1.0

_UNREADABLE = (
    "Nothing was sent, because nobody knows what was sent before. Look into WTS Chat, then delete the task's state to "
    "send anew."
)


class Store(Protocol):
    """Where a ledger keeps its pages: JSON objects by name."""

    def get(self, name: str) -> Any:
        """Return a page, or ``None``."""

    def set(self, name: str, value: dict[str, Any]) -> None:
        """Write a page whole."""


class TaskStateStore:
    """Airflow's own store of a task instance (3.3 and later).

    :param accessor: ``context["task_state_store"]``.
    """

    def __init__(self, accessor: Any) -> None:
        self._accessor = accessor

    def get(self, name: str) -> Any:
        """Return a page, or ``None``."""
        return self._accessor.get(name)

    def set(self, name: str, value: dict[str, Any]) -> None:
        """Write a page whole; it does not expire before its DAG run does."""
        from airflow import sdk

        self._accessor.set(name, value, retention=sdk.NEVER_EXPIRE)  # type: ignore[attr-defined]  # lazy export


class FileStore:
    """Files under an ObjectStoragePath, one folder per task instance.

    :param root: the folder of all ledgers.
    :param task: the task instance.
    """

    def __init__(self, root: str, task: TaskIdentity) -> None:
        from airflow.providers.common.compat.sdk import ObjectStoragePath

        # Hashed: a run id holds characters that no path takes, and may hold personal data.
        folder = hashlib.sha256("\0".join(map(str, task)).encode()).hexdigest()[:32]
        self._folder = ObjectStoragePath(root) / folder

    def get(self, name: str) -> Any:
        """Return a page, or ``None``."""
        try:
            text = (self._folder / f"{name}.json").read_text()
        except FileNotFoundError:
            return None
        return json.loads(text)

    def set(self, name: str, value: dict[str, Any]) -> None:
        """Write a page whole: on a local disk through a rename, in an object store in one request."""
        self._folder.mkdir(parents=True, exist_ok=True)
        target = self._folder / f"{name}.json"
        text = json.dumps(value)
        if target.protocol in ("file", "local", ""):
            # A name of its own: another try may be writing the same page.
            fresh = self._folder / f"{name}.{uuid.uuid4().hex}.new"
            fresh.write_text(text)
            fresh.replace(target)
        else:
            target.write_text(text)


def store_of(context: Mapping[str, Any], task: TaskIdentity) -> Store | None:
    """Return where the ledger of a task is kept, or ``None`` where this deployment has no place for one.

    :param context: the task's context.
    :param task: the task instance.
    """
    from airflow.providers.common.compat.sdk import conf

    if root := conf.get("wts", "ledger_path", fallback="").strip():
        return FileStore(root, task)
    accessor = context.get("task_state_store")
    return TaskStateStore(accessor) if accessor is not None else None


class Ledger:
    """What is known of a task's sends.

    A page is ``{"key of send": {"intent": time, "content": digest, "receipt": answer}}``; a task with one send has one
    page, beside a header in the same object. Nothing in it names a phone number; a receipt is the API's answer.

    :param store: where it is kept.
    :param try_number: ``ti.try_number``. From the second on, the ledger is taken over first, which takes a second.
    :param max_tries: ``ti.max_tries``. Only a clear changes it, so it tells a clear from a retry.
    :param on_clear: ``auto``: a finished task that is cleared sends anew, an unfinished one goes on where it stopped;
        ``continue``: never anew; ``resend``: anew after any clear.
    """

    def __init__(self, store: Store, *, max_tries: int, try_number: int = 1, on_clear: OnClear | str = "auto") -> None:
        self._store = store
        self._max_tries = max_tries
        self._holder: str | None = None
        if try_number > 1:
            self._take_over()
        header = self._read()
        self._note_look()
        if header is not None and try_number <= 1:
            self._holder = header.get("holder")
        if header is None:
            header = self._new(generation=max_tries)
        elif self._starts_anew(header, on_clear):
            log.info("The task was cleared and had finished: everything is sent anew.")
            # Never one that was there: its marks may still stand at the API.
            header = self._new(generation=max(header["generation"] + 1, max_tries))
        self._header: dict[str, Any] = header

    @property
    def generation(self) -> int:
        """Part of the key of every send: it changes when a person wants everything sent anew."""
        return int(self._header["generation"])

    @property
    def finished(self) -> bool:
        """Whether all sends of this generation are done."""
        return bool(self._header["finished"])

    def entry(self, key: str) -> dict[str, Any] | None:
        """Return what is known of a send: its intent, and its receipt where it is done.

        :param key: the key of the send.
        """
        entry = self._header["sends"].get(key)
        return entry if isinstance(entry, dict) else None

    def check(self) -> None:
        """Make sure that no other try has taken over, where some time has passed since the last look.

        :raises WtsError: when one has, or nobody can tell.
        """
        # The one clock stands still while a machine sleeps, the other can be set.
        if time.monotonic() - self._looked[0] < FRESH and abs(time.time() - self._looked[1]) < FRESH:
            return
        found = self._get(HOLDER)
        if (found or {}).get("holder") != self._holder:
            raise WtsError("Another try of this task has taken over, so this one sends nothing more.")
        self._note_look()

    def intend(self, key: str, content: str, *, since: datetime | None = None) -> None:
        """Write that a send is about to happen. Without this, nothing may be sent.

        :param key: the key of the send.
        :param content: digest of what is sent.
        :param since: when the first of the attempts began that may have reached somebody; now where there was none.
        :raises WtsError: when it cannot be written.
        """
        self._header["sends"][key] = {"intent": (since or datetime.now(UTC)).isoformat(), "content": content}
        self._header["finished"] = False
        self._ensure(self._write)

    def retract(self, key: str) -> None:
        """Write that a send did not happen, for certain.

        :param key: the key of the send.
        """
        self._header["sends"].pop(key, None)
        self._write()

    def finish(self) -> None:
        """Write that the task is done with its sends: a clear from now on means to send anew."""
        self._header["finished"] = True
        self._write()

    def receive(self, key: str, receipt: Any, *, finished: bool) -> None:
        """Write that a send happened.

        :param key: the key of the send.
        :param receipt: the API's answer.
        :param finished: whether it was the last one of the task.
        """
        self._header["sends"].setdefault(key, {})["receipt"] = receipt
        self._header["finished"] = finished
        self._write()

    def _ensure(self, write: Callable[[], None]) -> None:
        """Write what must stand before anything is sent."""
        try:
            write()
        except WtsError:
            raise
        except Exception as error:
            raise WtsError(f"The ledger of this task cannot be written, so nothing was sent: {error}") from error

    def _write(self) -> None:
        self.check()
        # As last seen, so that a retry after the end is not taken for another clear.
        self._header["max_tries"] = self._max_tries
        self._header["holder"] = self._holder
        self._store.set(HEADER, self._header)

    def _take_over(self) -> None:
        self._holder = uuid.uuid4().hex
        self._ensure(lambda: self._store.set(HOLDER, {"holder": self._holder}))
        # One that looked a moment ago does not look again before that is over. Afterwards all that it did can be read.
        time.sleep(FRESH * 1.1)

    def _note_look(self) -> None:
        self._looked = time.monotonic(), time.time()

    def _read(self) -> dict[str, Any] | None:
        """Return what is there; what cannot be read is an error, and not "nothing known"."""
        header = self._get(HEADER)
        if header is None:
            return None
        kinds = {"generation": int, "finished": bool, "sends": dict}
        readable = isinstance(header, dict) and header.get("version") == _VERSION
        if not readable or not all(isinstance(header.get(name), kind) for name, kind in kinds.items()):
            raise WtsInvalidRequestError(
                f"The ledger of this task was written by another version of airflow-provider-wts. {_UNREADABLE}"
            )
        return dict(header)

    def _get(self, name: str) -> Any:
        try:
            return self._store.get(name)
        except ValueError as error:
            raise WtsInvalidRequestError(f"The ledger of this task cannot be read: {error}. {_UNREADABLE}") from error
        except Exception as error:
            raise WtsError(f"The ledger of this task cannot be read, so nothing was sent: {error}") from error

    def _starts_anew(self, header: dict[str, Any], on_clear: OnClear | str) -> bool:
        cleared = header.get("max_tries") != self._max_tries
        return cleared and (on_clear == "resend" or (on_clear == "auto" and bool(header.get("finished"))))

    @staticmethod
    def _new(generation: int) -> dict[str, Any]:
        return {"version": _VERSION, "generation": generation, "max_tries": generation, "finished": False, "sends": {}}
