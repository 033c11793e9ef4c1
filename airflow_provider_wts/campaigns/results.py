"""The results of a campaign: one line per recipient in a file, and counts for XCom and the log."""

from __future__ import annotations

import json
import logging
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import quote
from uuid import uuid4

from airflow_provider_wts.api.addresses import readable
from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError, quoted, reason_of
from airflow_provider_wts.api.messages import has_failed
from airflow_provider_wts.campaigns.attempts import (
    EXAMPLE,
    MANIFEST,
    Attempt,
    is_complete,
    latest_manifest,
    manifest_at,
    part_of,
    place,
    remove,
    unfinished_manifest,
)
from airflow_provider_wts.campaigns.sent import SentCampaign, result_rows
from airflow_provider_wts.hooks.output_files import is_local, json_line, make_folder, output_file, publish, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.types import Logger

    from airflow_provider_wts.campaigns.recipients import Recipient, SkippedRow
    from airflow_provider_wts.hooks.context import TaskIdentity
    from airflow_provider_wts.hooks.tables import Table


class Result(NamedTuple):
    """The outcome of one recipient.

    :param status: ``sent``, ``failed``, ``skipped``, ``holdout``, ``undecided`` or ``not_sent``.
    :param receipt: the stored part of the API's answer.
    :param send_key: the key of the send, if there was a request.
    :param sent_at: it was sent no earlier than this (ISO 8601).
    :param rule: the parameter whose rule refused the recipient.
    """

    status: str
    receipt: Mapping[str, Any] = {}
    reason: str = ""
    send_key: str = ""
    sent_at: str = ""
    rule: str = ""

    @classmethod
    def of(cls, receipt: Mapping[str, Any]) -> Result:
        """Return the result that a receipt shows."""
        if has_failed(receipt):
            return cls("failed", receipt, str(receipt.get("failedReason") or "WTS Chat did not report a reason"))
        return cls("sent", receipt)


log = logging.getLogger(__name__)

#: Bytes of an earlier file to copy at a time.
_BUFFER_SIZE = 1024 * 1024

#: Bytes of lines after which an object store gets another part.
_PART_SIZE = 1024 * 1024

#: Maximum recipients that an error, the log and the returned value name.
MAX_NAMED = 20

#: Outcomes whose recipients are named, in this order.
_NAMED_STATUSES = ("failed", "undecided", "bad_row", "not_sent", "skipped")

#: The possible outcomes of a recipient.
STATUSES = ("sent", "failed", "skipped", "holdout", "undecided", "not_sent")


def default_address(folder: str, task_instance: Any) -> str:
    """Return where a task's results go in the folder of ``[wts] results_path`` if it names no file."""
    index = getattr(task_instance, "map_index", -1)
    place = [task_instance.dag_id, task_instance.run_id, task_instance.task_id + (f".{index}" if index >= 0 else "")]
    # Run IDs contain colons and plus signs, which not every store allows in names.
    return "/".join([folder.rstrip("/"), *(quote(str(part), safe="") for part in place)]) + ".jsonl"


class ResultsFile:
    """A JSON Lines file that gets its name when it is complete, with a manifest beside it.

    Until then, it is one file on a disk, but several parts in an object store, which stores nothing of an unfinished
    file. A manifest shows where they are from the start, so that the results of a killed try can be read.

    :param table: also gets the lines when the file is complete.
    """

    def __init__(self, address: str, table: Table | None = None) -> None:
        self._path = output_file("results_path", address, example=EXAMPLE)
        # The longest name of the files beside it.
        output_file("results_path", unfinished_manifest(address), example=EXAMPLE)
        self.address = address
        self._table = table
        self.manifest_address = f"{address}{MANIFEST}"
        self._attempt = Attempt(address, uuid4().hex[:8])
        #: Unfinished attempts of earlier tries, whose lines still count.
        self._earlier: list[Attempt] = []
        self._manifest: dict[str, Any] = {}
        self._written_to = self.manifest_address
        self._is_local = is_local(self._path)
        self._parts: list[ObjectStoragePath] = []
        # Lines that an object store does not have yet.
        self._tail: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._size = self._outcomes_begin = 0
        self._part_size = 0

    def __enter__(self) -> ResultsFile:
        if self._table is not None:
            self._table.check("This try sent nothing.")
        with self._writing():
            make_folder(self._path)
            self._open_part()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        from airflow.providers.common.compat.sdk import TaskDeferred

        if self._file is None:
            return
        with suppress(Exception):
            self._file.close()
        self._file = None
        if not self._size or kind is None:
            remove(self._parts)
        elif not issubclass(kind, TaskDeferred):
            more = f" and {len(self._parts) - 1} more with its name" if len(self._parts) > 1 else ""
            log.warning("The outcomes so far are in %s%s.", self._attempt.lines_address, more)

    def begin(self, manifest: dict[str, Any]) -> None:
        """Write a manifest that shows where the lines are until the file is complete.

        The manifest of an earlier, complete file stays until then; this one goes beside it.

        :raises WtsInvalidRequestError: when another task of the run has its results there.
        :raises WtsError: when it cannot be written, or the existing one cannot be read.
        """
        # The outcomes of recipients follow, from which a later try may continue.
        self._outcomes_begin = self._size
        try:
            known = latest_manifest(self.address)
            self._refuse_another_task(known, manifest, "This try sent nothing.")
            if known is not None and not is_complete(known) and known.get("campaign_id") == manifest["campaign_id"]:
                self._earlier = [Attempt(self.address, one) for one in known["attempts"]]
            self._manifest = manifest
            self._write_unfinished_manifest()
        except WtsError:
            raise
        except Exception as error:
            raise WtsError(f"{self.manifest_address} cannot be written: {error}. Nothing was sent.") from error

    def check_place(self, task: TaskIdentity) -> None:
        """Check that no other task of the run has its results here."""
        try:
            known = latest_manifest(self.address)
        except Exception:
            # begin() raises before the first request.
            return
        self._refuse_another_task(known, task._asdict(), "This try sent nothing.")

    def _refuse_takeover(self, consequence: str) -> None:
        """Refuse to continue if another task of the run wrote its manifest here when this one did, too."""
        if self._manifest:
            known = manifest_at(self._written_to) or latest_manifest(self.address)
            self._refuse_another_task(known, self._manifest, consequence)

    def _refuse_another_task(self, known: Mapping[str, Any] | None, own: Mapping[str, Any], consequence: str) -> None:
        """Refuse to replace the results of another task of the run: only they name whom that task did not reach."""
        if known is None or any(known.get(name) != own[name] for name in ("dag_id", "run_id")):
            return
        if any(name in known and known[name] != own[name] for name in ("task_id", "map_index")):
            index = known.get("map_index", -1)
            whose = f"{known.get('task_id')}{f' with map index {index}' if index != -1 else ''}"
            raise WtsInvalidRequestError(
                f"results_path: {quoted(self.address)} contains the results of the task {whose} of this run. "
                f"{consequence} Give each task, and each instance of a mapped task, its own file. Example: "
                "'s3://aws_default@bucket/campaign/{{ run_id }}-{{ ti.task_id }}-{{ ti.map_index }}.jsonl'."
            )

    def _refuse_another_run(self) -> None:
        """Refuse to complete if another run, or another Airflow, wrote its manifest here since this one did."""
        known = (manifest_at(self._written_to) or latest_manifest(self.address)) if self._manifest else None
        if known is not None and known.get("campaign_id") != self._manifest["campaign_id"]:
            is_same = all(known.get(name) == self._manifest[name] for name in ("dag_id", "run_id"))
            whose = "another Airflow, for the run" if is_same else "the run"
            raise WtsInvalidRequestError(
                f"results_path: {quoted(self.address)} was taken by {whose} "
                f"{quoted(known.get('run_id'))} of the DAG {quoted(known.get('dag_id'))} while this task was sending. "
                f"Its results are in {self._attempt.lines_address}. Give each run of each Airflow its own file, and "
                "clear the task: it sends to nobody again. Example: "
                "'s3://aws_default@bucket/campaign/{{ run_id }}.jsonl'."
            )

    def _write_unfinished_manifest(self) -> None:
        attempts = [*self._earlier, self._attempt]
        where = {"attempts": [one.name for one in attempts], "partial_paths": [one.lines_address for one in attempts]}
        text = json.dumps({**self._manifest, "complete": False, **where}, indent=2)
        is_replaced = is_complete(manifest_at(self.manifest_address))
        self._written_to = unfinished_manifest(self.address) if is_replaced else self.manifest_address
        write_whole(place(self._written_to), text.encode())

    def announce(self, lines: Iterable[dict[str, Any]]) -> None:
        """Record recipients whose requests come next, in a file that outlives this process."""
        with self._writing():
            if self._part_size > _PART_SIZE and self._file is not None:
                self._file.close()
                self._open_part()
            self._refuse_takeover(f"Nothing more was sent. The outcomes so far are in {self._attempt.lines_address}.")
            write_whole(place(self._attempt.pending_address), b"".join([*map(json_line, lines), *self._tail]))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn an error of the disk or object store into a ``WtsError``."""
        try:
            yield
        except WtsError:
            raise
        except Exception as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: Exception) -> WtsError:
        return WtsError(
            f"results_path: the results cannot be written to {quoted(self.address)}: {reason_of(error)}. Nothing more "
            "was sent. A retry continues from here."
        )

    def save(self) -> None:
        """Flush the lines so far, if they are on a disk."""
        if self._file is not None and self._is_local:
            with self._writing():
                self._file.flush()

    def write(self, line: dict[str, Any]) -> None:
        """Append a line."""
        self._append(json_line(line))

    def keep(self) -> dict[str, Any]:
        """Make the outcomes so far outlive this process, and return where they are."""
        self.save()
        if self._file is not None and not self._is_local:
            with self._writing():
                self._file.close()
                self._open_part()
        part = {"parts": len(self._parts) - (not self._is_local), "begin": self._outcomes_begin, "end": self._size}
        return {"address": self._attempt.lines_address, **part}

    def restore(self, kept: Mapping[str, Any]) -> bool:
        """Copy the outcomes that :meth:`keep` returned in an earlier try, and return whether they are there."""
        if not kept or self._size != self._outcomes_begin:
            return False
        earlier = [part_of(kept["address"], number) for number in range(kept["parts"])]
        try:
            if self._is_of_complete_file(kept["address"]):
                earlier = [self._path]
            if sum(int(part.stat().st_size) for part in earlier) < kept["end"]:
                return False
        except (OSError, ValueError):
            return False
        try:
            _copy(earlier, self._append, begin=kept["begin"], end=kept["end"])
        except OSError as error:
            # Not False: part of it is in the file by now.
            raise WtsError(
                f"{kept['address']} cannot be read: {error}. Nothing more was sent. A retry continues from here."
            ) from error
        return True

    def _is_of_complete_file(self, address: str) -> bool:
        """Whether the lines written at an address are now in the complete file, because that try was stopped."""
        complete = manifest_at(self.manifest_address)
        names = (complete or {}).get("attempts", [])[-1:] if is_complete(complete) else []
        return any(Attempt(self.address, name).lines_address == address for name in names)

    def drop_earlier(self) -> None:
        """Remove the files of earlier tries, whose lines this one has copied."""
        if not self._earlier:
            return
        gone, self._earlier = self._earlier, []
        self._write_unfinished_manifest()
        for attempt in gone:
            attempt.remove()

    def complete(self, manifest: dict[str, Any]) -> None:
        """Give the file its name, write the manifest, and copy the lines into the table."""
        if self._file is None:
            return
        with self._writing():
            self._refuse_takeover(f"The results of this task are in {self._attempt.lines_address}.")
            self._refuse_another_run()
            self._file.close()
            whole = self._parts[0]
            if len(self._parts) > 1:
                whole = part_of(self._attempt.lines_address, len(self._parts))
                with cast("IO[bytes]", whole.open("wb")) as file:  # type: ignore[no-untyped-call]
                    _copy(self._parts, file.write, begin=0, end=self._size)
            publish(whole, self._path)
            self._file = None
            manifest = {**manifest, "complete": True, "attempts": [self._attempt.name]}
            write_whole(place(self.manifest_address), json.dumps(manifest, indent=2).encode())
        remove([*(part for part in self._parts if part != whole), place(unfinished_manifest(self.address))])
        for attempt in (*self._earlier, self._attempt):
            attempt.remove()
        if self._table is not None:
            campaign = SentCampaign(manifest, self.address)
            done = (
                f"The campaign has ended, and its results are in {self.address}. A retry or a clear writes them to the "
                "table, and sends again only where a message failed."
            )
            self._table.replace(result_rows(campaign), whole=[campaign.campaign_id], done=done)

    def _open_part(self) -> None:
        part = part_of(self._attempt.lines_address, len(self._parts))
        # On a disk, use Python's own file: Airflow's wraps every write.
        file: Any = Path(part.path) if self._is_local else part
        self._file = cast("IO[bytes]", file.open("wb"))
        self._write = self._file.write
        self._parts.append(part)
        self._tail, self._part_size = [], 0

    def _append(self, data: bytes) -> None:
        if self._file is not None:
            # Once per recipient, so without a context manager.
            try:
                self._write(data)
            except OSError as error:
                raise self._unwritable(error) from error
            self._size += len(data)
            if not self._is_local:
                self._tail.append(data)
                self._part_size += len(data)


def _copy(parts: Iterable[ObjectStoragePath], write: Callable[[bytes], object], *, begin: int, end: int) -> None:
    """Copy a range of bytes from a file in several parts; raise ``OSError`` if it ends too early."""
    place = 0
    for part in parts:
        with cast("IO[bytes]", part.open("rb")) as file:  # type: ignore[no-untyped-call]
            while place < end and (data := file.read(min(_BUFFER_SIZE, end - place))):
                write(data[max(begin - place, 0) :])
                place += len(data)
    if place < end:
        raise OSError(f"only {place:,} of {end:,} bytes are there")


class Progress:
    """Counts and records the outcomes of the recipients, and logs progress every ``interval`` seconds."""

    def __init__(self, total: int, log: Logger, interval: float, file: ResultsFile | None) -> None:
        self.counts = dict.fromkeys(STATUSES, 0)
        #: How many recipients each rule refused, by its parameter.
        self.by_rule: dict[str, int] = {}
        self._named: dict[str, list[dict[str, Any]]] = {status: [] for status in _NAMED_STATUSES}
        self._bad_rows = 0
        self._total = total
        self._log = log
        self._interval = interval
        self._file = file
        self._begun = self._logged_at = time.monotonic()

    def skip(self, row: SkippedRow) -> None:
        """Record a row that nothing is sent to."""
        self._bad_rows += row.status == "bad_row"
        line = {"line": row.line, "to": None, "status": row.status, "reason": row.reason}
        line |= {"row_key": row.key} if row.key else {}
        self._record(line)

    def report(self, recipient: Recipient, result: Result) -> None:
        """Record the outcome of a recipient."""
        self.counts[result.status] += 1
        if result.rule:
            self.by_rule[result.rule] = self.by_rule.get(result.rule, 0) + 1
        line = _line(recipient, result)
        self._record(line)
        now = time.monotonic()
        if now - self._logged_at >= self._interval:
            self._logged_at = now
            self._log_progress(now - self._begun)

    def announce(self, sends: Iterable[tuple[Recipient, Result]]) -> None:
        """Record recipients whose requests come next: after a kill, it is unknown whether they got the message."""
        if self._file is not None:
            self._file.announce(_line(recipient, result) for recipient, result in sends)

    def state(self) -> dict[str, Any]:
        """Return the counts and the named lines, by number: the ledger must not contain phone numbers."""
        lines = (line for lines in self._named.values() for line in lines if line["status"] in self.counts)
        return {
            "counts": dict(self.counts),
            "by_rule": dict(self.by_rule),
            "named": [[line["line"], line["status"], line.get("reason", "")] for line in lines],
        }

    def restore(self, state: Mapping[str, Any], recipients: Iterable[Recipient]) -> None:
        """Restore what :meth:`state` returned in an earlier try, with the recipients that it counted."""
        self.counts |= state["counts"]
        self.by_rule |= state["by_rule"]
        named = {line: (status, reason) for line, status, reason in state["named"]}
        for recipient in recipients if named else ():
            if recipient.line in named:
                status, reason = named[recipient.line]
                line = {"line": recipient.line, "to": recipient.to, "status": status}
                self._name(line | ({"reason": reason} if reason else {}))

    def undecided(self) -> str:
        """Name the first undecided recipients with their lines, and the number of the others."""
        first = self._named["undecided"]
        named = ", ".join(f"{readable(one['to'])} (line {one['line']})" for one in first)
        more = self.counts["undecided"] - len(first)
        return f"{named} and {more:,} more" if more else named

    def not_reached(self) -> list[dict[str, Any]]:
        """Return the first recipients that were not reached: line, recipient, status and reason."""
        return [line for lines in self._named.values() for line in lines][:MAX_NAMED]

    def log_not_reached(self) -> None:
        """Log the first recipients that were not reached, and the number of the others."""
        count = self._bad_rows + sum(self.counts[status] for status in _NAMED_STATUSES if status in self.counts)
        named = self.not_reached()
        for line in named:
            to = readable(str(line["to"] or "no recipient"))
            self._log.warning(
                "Not reached: %s (line %s): %s. %s", to, line["line"], line["status"], line.get("reason") or ""
            )
        if count > len(named):
            where = f"; the file {self._file.address} names all of them" if self._file else ""
            self._log.warning("Not reached: %s more%s.", f"{count - len(named):,}", where)

    def _record(self, line: dict[str, Any]) -> None:
        self._name(line)
        if self._file is not None:
            self._file.write(line)

    def _name(self, line: dict[str, Any]) -> None:
        named = self._named.get(line["status"])
        if named is not None and len(named) < MAX_NAMED:
            named.append({name: line[name] for name in ("line", "to", "status", "reason", "row_key") if name in line})

    def _log_progress(self, seconds: float) -> None:
        done = sum(self.counts.values())
        rate = done / seconds
        self._log.info(
            "%s of %s recipients done; %s failed; %.1f per second, about %.0f s left.",
            f"{done:,}",
            f"{self._total:,}",
            f"{self.counts['failed']:,}",
            rate,
            (self._total - done) / rate,
        )


#: Fields of a receipt that the results include, and their names there.
_RECEIPT_FIELDS = {"id": "id", "status": "api_status", "sessionId": "session_id"}


def _line(recipient: Recipient, result: Result) -> dict[str, Any]:
    line = {"line": recipient.line, "to": recipient.to, "status": result.status}
    if result.reason:
        line["reason"] = result.reason
    if recipient.key:
        line["row_key"] = recipient.key
    if result.send_key:
        line |= {"send_key": result.send_key, "sent_at": result.sent_at}
    for name, ours in _RECEIPT_FIELDS.items():
        if name in result.receipt:
            line[ours] = result.receipt[name]
    return line
