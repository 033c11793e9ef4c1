"""The export of conversations: the sessions of an interval and their messages, as files.

First, all sessions are listed into staging files of 100, which settles what is exported. Then each staging file is
completed with its messages, so that a later try continues where an earlier one stopped.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import re
import time
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from airflow_provider_wts import api
from airflow_provider_wts.api import parameters
from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError, WtsNotFoundError, needs_extra
from airflow_provider_wts.api.wire import UNREADABLE, UNSET, created_at, parse_timestamp
from airflow_provider_wts.hooks.errors import task_failures
from airflow_provider_wts.hooks.output_files import json_line, output_folder, write_whole
from airflow_provider_wts.operators.base import WtsOperator

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from airflow.sdk import Context, ObjectStoragePath
    from airflow.sdk.types import Logger

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.hooks.tables import Table
    from airflow_provider_wts.hooks.wts import WtsHook


#: Names in the store: the state, and the try that holds the export.
STATE = "wts_export"

HOLDER = "wts_export_holder"

_VERSION = 2

#: Sessions per part file: as many as one request lists.
PART = 100

#: Sessions read individually to find out whether the list omits metadata.
SAMPLES = 5

#: Parts per progress line in the log.
PARTS_PER_LINE = 10

#: Date bounds may be inclusive or not, so the request asks for more, and the result is filtered here.
_SLACK = timedelta(seconds=1)

#: How far a worker's clock may be ahead of WTS Chat's; an interval that ends later is in the future.
MOST_SKEW = timedelta(minutes=5)

#: Attempts to remove a folder to which another try writes. What is left after them, that try removes itself.
_REMOVALS = 5

_EXAMPLE = "'s3://aws_default@bucket/conversations/{{ ds }}'"


class Wanted(NamedTuple):
    """What is exported, and where to; if it changes, the export starts over."""

    wts_conn_id: str
    output_path: str
    updated_after: str
    updated_before: str
    file_format: str
    include_messages: bool
    include_details: tuple[str, ...]
    overlap: float
    sessions_table: str = ""
    messages_table: str = ""


class Export:
    """An export of one task."""

    def __init__(
        self,
        hook: WtsHook,
        context: Mapping[str, Any],
        wanted: Wanted,
        log: Logger,
        tables: tuple[Table | None, Table | None] = (None, None),
    ) -> None:
        from airflow_provider_wts.hooks.context import TaskIdentity
        from airflow_provider_wts.sending.ledger import Fence, FileStore, run_of, store_of

        if wanted.file_format == "parquet":
            # Fails early if it is not installed.
            _parquet()
        self._hook = hook
        self._wanted = wanted
        self._log = log
        self._tables = tables
        self._max_tries = context["ti"].max_tries
        self._try_number = int(context["ti"].try_number or 1)
        self._folder = output_folder("output_path", wanted.output_path, example=_EXAMPLE)
        task = TaskIdentity.of(context["ti"])
        # Runs may share a folder; this marks the files of this task.
        self._mark = hashlib.sha256("\0".join(map(str, task)).encode()).hexdigest()[:8]
        self._store = store_of(context, task) or FileStore(str(self._folder / "_state"), task)
        self._run = run_of(self._store, context)
        self._fence = Fence(self._store, try_number=self._try_number, run=self._run, name=HOLDER)
        self._process = self._fence.process[:8]

    def run(self) -> dict[str, Any]:
        """Export what is not exported yet, and return the counts; a retry continues where this try stopped."""
        self._fence.hold(first=self._begin)
        state = self._known_state()
        if state is None:
            state = self._new_state()
            self._write(state)
        if state["finished"]:
            self._log.info("The export was finished by an earlier try.")
        else:
            try:
                self._finish(state)
            except FileNotFoundError:
                # A later try removes the files of this one, even while it writes them.
                self._fence.confirm()
                raise
        # An earlier try may have died here, too.
        self._remove_all_but({state["manifest"], *_names_of(state)})
        return self._summary(state)

    def _finish(self, state: dict[str, Any]) -> None:
        if state["staging"] is None:
            staged = self._stage()
            state |= staged
            self._write(state, self._folder / staged["staging"])
        elif state["parts"]:
            self._log.info("%s of %s parts are complete. The export continues.", len(state["parts"]), state["staged"])
        for number in range(len(state["parts"]) + 1, state["staged"] + 1):
            self._add_part(state, number)
            if number % PARTS_PER_LINE == 0 or number == state["staged"]:
                self._log.info("%s of %s parts are complete.", number, state["staged"])
        state["manifest"] = f"manifest-{self._mark}-{self._process}.json"
        summary = self._summary(state)
        manifest = self._folder / state["manifest"]
        write_whole(manifest, json.dumps({**summary, "files": _names_of(state)}, indent=1).encode())
        state["finished"] = True
        self._write(state, manifest)
        self._log.info("Exported %s session(s) with %s message(s).", summary["sessions"], summary["messages"])

    # The state -------------------------------------------------------------------------------------------------------

    def _begin(self) -> bool:
        """Store a state for later tries; return whether there was none."""
        if self._store.get(STATE) is not None:
            return False
        self._store.set(STATE, {**self._new_state(), "max_tries": self._max_tries})
        return True

    def _known_state(self) -> dict[str, Any] | None:
        """Return the state of this export, or ``None`` if it starts over."""
        from airflow_provider_wts.hooks.context import same_run

        try:
            state = self._store.get(STATE)
        except ValueError:
            state = None
        except Exception as error:
            raise WtsError(f"The state of the export cannot be read: {error}") from error
        if not isinstance(state, dict) or state.get("version") != _VERSION:
            return None
        if state["wanted"] != self._as_json():
            self._log.warning("An earlier try exported something else; the export starts over.")
            return None
        same = same_run(state["run"], self._run)
        if same is False or (same is None and self._run and state["finished"] and self._try_number <= 1):
            self._log.info("An earlier run with this run ID made an export; this one starts over.")
            return None
        if state["finished"] and state["max_tries"] != self._max_tries:
            self._log.info("The task was cleared and had finished; the export starts over.")
            return None
        if not state["finished"] and not self._is_whole(state):
            self._log.warning("Files of an earlier try are missing; the export starts over.")
            return None
        return state

    def _is_whole(self, state: Mapping[str, Any]) -> bool:
        """Whether all files that the state names exist."""
        parts = set(_names_of(state))
        if not parts <= {file.name for file in self._own_files()}:
            return False
        staged = range(len(parts) + 1, state["staged"] + 1)
        if not staged:
            return True
        there = {file.name for file in _files_in(self._folder / state["staging"])}
        return {f"{number:05}.jsonl" for number in staged} <= there

    def _new_state(self) -> dict[str, Any]:
        return {
            "version": _VERSION,
            "wanted": self._as_json(),
            "run": self._run,
            "staging": None,
            "staged": 0,
            "metadata_singly": False,
            "messages_shown": True,
            "parts": [],
            "manifest": None,
            "finished": False,
        }

    def _as_json(self) -> dict[str, Any]:
        return {**self._wanted._asdict(), "include_details": list(self._wanted.include_details)}

    def _write(self, state: dict[str, Any], *made: ObjectStoragePath) -> None:
        """Write the state. If another try has taken over, remove the new files instead."""
        self._check(*made)
        # Only a clear changes it; a retry after the end must not look like another clear.
        state["max_tries"] = self._max_tries
        try:
            self._store.set(STATE, state)
        except Exception as error:
            raise WtsError(f"The state of the export cannot be written: {error}") from error

    def _check(self, *made: ObjectStoragePath) -> None:
        try:
            self._fence.check()
        except WtsError:
            for path in made:
                self._remove(path)
            raise

    def _summary(self, state: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "path": self._wanted.output_path,
            "manifest": f"{self._wanted.output_path}/{state['manifest']}",
            "file_format": self._wanted.file_format,
            "parts": len(state["parts"]),
            "sessions": sum(sessions for _, sessions, _ in state["parts"]),
            "messages": sum(messages for *_, messages in state["parts"]),
            "updated_after": self._wanted.updated_after,
            "updated_before": self._wanted.updated_before,
        }

    # The sessions ----------------------------------------------------------------------------------------------------

    def _stage(self) -> dict[str, Any]:
        """List the sessions into staging files; return where they are, and what the list shows of them."""
        staging = f"_staging-{self._mark}-{self._process}"
        staged = sessions = 0
        bare: list[dict[str, Any]] = []
        messages_shown = False
        try:
            listed = self._sessions()
            while rows := list(islice(listed, PART)):
                staged += 1
                sessions += len(rows)
                bare += [row for row in rows if not isinstance(row.get("metadata"), dict)][: SAMPLES - len(bare)]
                messages_shown = messages_shown or any(map(_shows_messages, rows))
                write_rows(self._staged(staging, staged), rows, "jsonl")
        except Exception:
            # The first error matters more than files that are left behind.
            with suppress(OSError):
                self._remove(self._folder / staging)
            raise
        self._log.info("%s session(s) to export.", sessions)
        return {
            "staging": staging,
            "staged": staged,
            "metadata_singly": self._hides_metadata(bare),
            "messages_shown": messages_shown,
        }

    def _sessions(self) -> Iterator[dict[str, Any]]:
        """Walk the sessions of the interval, each once."""
        from airflow_provider_wts.api.answers import required

        after, before = (datetime.fromisoformat(text) for text in self._wanted[2:4])
        # A change that WTS Chat showed late is missing from the export of the previous interval.
        after -= timedelta(seconds=self._wanted.overlap)
        found: set[str] = set()
        # Two lists, because it is not documented whether a message moves a session's update date.
        for kind in ("updated", "last_interaction"):
            bounds: Any = {f"{kind}_after": after - _SLACK, f"{kind}_before": before + _SLACK}
            call = api.sessions.list_sessions(
                status=api.sessions.SESSION_STATUSES, include_details=self._wanted.include_details or UNSET, **bounds
            )
            for session in self._listed(call, before):
                session_id = str(required(session, "id", "list_sessions"))
                if session_id not in found and _inside(session, after, before):
                    found.add(session_id)
                    yield dict(session)

    def _listed(self, call: Call[Any], end: datetime) -> Iterable[Any]:
        """Read a list after the end of the interval, by WTS Chat's clock."""
        items = self._hook.client.items(call)
        # The first response shows WTS Chat's time. The worker's clock may be ahead.
        first = list(islice(items, 1))
        left = end - self._hook.client.now()
        if left <= timedelta():
            return chain(first, items)
        if left > MOST_SKEW:
            self._log.warning("The interval ends in the future. Changes from now until then are not in this export.")
            return chain(first, items)
        self._log.info("By WTS Chat's clock, the interval ends in %.0f s. The task waits.", left.total_seconds())
        time.sleep(left.total_seconds())
        return self._hook.client.items(call)

    def _hides_metadata(self, sample: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the list of sessions omits metadata that a session itself shows, given some without it."""
        is_shown = not sample
        for session in sample:
            try:
                if isinstance(self._whole(session).get("metadata"), dict):
                    return True
            except WtsNotFoundError:
                # Deleted since it was listed. If all are, assume that the list hides metadata.
                continue
            is_shown = True
        return not is_shown

    def _whole(self, session: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._hook.run(
            api.sessions.get_session(str(session["id"]), include_details=self._wanted.include_details or UNSET)
        )

    # The parts -------------------------------------------------------------------------------------------------------

    def _add_part(self, state: dict[str, Any], number: int) -> None:
        """Write a part, and record its numbers of sessions and messages."""
        rows = read_rows(self._staged(state["staging"], number))
        for row in rows:
            # If no session shows a message, the list may omit what shows it.
            may_talk = not state.get("messages_shown", True) or _shows_messages(row)
            self._complete(row, metadata_singly=state["metadata_singly"], may_talk=may_talk)
        part = self._folder / f"conversations-{self._mark}-{self._process}-{number:05}.{self._wanted.file_format}"
        write_rows(part, rows, self._wanted.file_format)
        # Before the part is recorded: a try that continues here replaces these rows.
        for table, rows_of in zip(self._tables, (session_rows, message_rows), strict=True):
            if table is not None:
                table.replace(self._while_latest(rows_of(rows), part))
        state["parts"].append([part.name, len(rows), sum(len(row["messages"] or ()) for row in rows)])
        self._write(state, part)

    def _while_latest(self, rows: Iterable[dict[str, Any]], part: ObjectStoragePath) -> Iterator[dict[str, Any]]:
        yield from rows
        # A try that froze before this point would replace what its successor wrote.
        self._check(part)

    def _complete(self, row: dict[str, Any], *, metadata_singly: bool, may_talk: bool) -> None:
        """Add to a session what the list does not show.

        :param may_talk: whether it may have messages.
        """
        row["messages"] = None
        try:
            if metadata_singly and not isinstance(row.get("metadata"), dict):
                row["metadata"] = self._whole(row).get("metadata")
            if self._wanted.include_messages:
                row["messages"] = []
                if may_talk:
                    row["messages"] = self._messages(row)
        except WtsNotFoundError as error:
            self._log.warning(
                "Session %s was deleted during the export. The row holds what was read before: %s", row["id"], error
            )

    def _messages(self, session: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the messages of a session, oldest first."""
        found = [dict(message) for message in self._hook.client.items(api.messages.list_messages(str(session["id"])))]
        return sorted(found, key=created_at)

    # The files -------------------------------------------------------------------------------------------------------

    def _staged(self, staging: str, number: int) -> ObjectStoragePath:
        return self._folder / staging / f"{number:05}.jsonl"

    def _own_files(self) -> list[ObjectStoragePath]:
        return [file for file in _files_in(self._folder) if f"-{self._mark}" in file.name]

    def _remove_all_but(self, kept: set[str]) -> None:
        """Remove this task's other files, which would be read together with the new ones."""
        left = [file for file in self._own_files() if file.name not in kept]
        # Checked after listing: a successor writes its first file only once this check fails.
        self._fence.check()
        for file in left:
            self._remove(file)

    @staticmethod
    def _remove(path: ObjectStoragePath) -> None:
        """Remove a file or a folder, even while a try that was given up writes there."""
        for _ in range(_REMOVALS):
            try:
                path.fs.rm(path.path, recursive=True)
            except FileNotFoundError:
                # One of its files may have been renamed meanwhile.
                if not path.exists():
                    return
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise
            else:
                return


def _files_in(folder: ObjectStoragePath) -> list[ObjectStoragePath]:
    # Not with glob: in the folder's own name, brackets are no pattern.
    with suppress(FileNotFoundError, NotADirectoryError):
        return list(folder.iterdir())
    return []


def _names_of(state: Mapping[str, Any]) -> list[str]:
    return [name for name, *_ in state["parts"]]


def _shows_messages(session: Mapping[str, Any]) -> bool:
    return any(session.get(name) for name in ("lastMessageIn", "lastMessageOut", "lastMessageText"))


def _inside(session: Mapping[str, Any], after: datetime, before: datetime) -> bool:
    dates = [at for name in ("updatedAt", "lastInteractionDate") if (at := parse_timestamp(session.get(name)))]
    # Without a date, it counts as inside, because it was listed.
    return not dates or any(at == UNREADABLE or after <= at < before for at in dates)


#: What the contract says of a session and of a message: the kind of each column. Everything else is in the column
#: "other", so that all files fit together.
_SESSION = {
    **dict.fromkeys(("id", "status", "statusDescription", "companyId", "contactId", "channelId"), "text"),
    **dict.fromkeys(("departmentId", "userId", "botId", "title", "number", "origin", "type", "channelType"), "text"),
    **dict.fromkeys(("windowStatus", "previewUrl", "lastMessageText", "timeService", "timeWait"), "text"),
    **dict.fromkeys(("createdAt", "updatedAt", "startAt", "endAt", "firstResponseAt"), "time"),
    **dict.fromkeys(("lastInteractionDate", "lastMessageOut", "lastMessageIn"), "time"),
    **dict.fromkeys(("contactDetails", "agentDetails", "channelDetails", "departmentDetails"), "json"),
    **dict.fromkeys(("classification", "utm", "metadata", "other"), "json"),
}

_MESSAGE = {
    **dict.fromkeys(("id", "type", "direction", "status", "origin", "senderId", "templateId", "userId"), "text"),
    **dict.fromkeys(("refId", "text", "fileId", "failedReason"), "text"),
    **dict.fromkeys(("createdAt", "updatedAt", "timestamp", "readContactAt"), "time"),
    **dict.fromkeys(("details", "filesIds", "other"), "json"),
}

#: The bound of an integer column.
_LARGEST = 2**63


def write_rows(path: ObjectStoragePath, rows: Sequence[Mapping[str, Any]], file_format: str) -> None:
    """Write sessions with their messages to a file; it is there when it is complete."""
    content = _parquet_file(rows) if file_format == "parquet" else b"".join(map(json_line, rows))
    write_whole(path, content)


def read_rows(path: ObjectStoragePath) -> list[dict[str, Any]]:
    """Read a JSON Lines file."""
    with cast("IO[bytes]", path.open("rb")) as file:  # type: ignore[no-untyped-call]
        return [json.loads(row) for row in file.read().splitlines()]


def _parquet() -> Any:
    with needs_extra("file_format", "pyarrow", "parquet", ", or write 'jsonl'"):
        from pyarrow import parquet
    return parquet


def _parquet_file(rows: Sequence[Mapping[str, Any]]) -> bytes:
    parquet = _parquet()
    import pyarrow

    types = {"time": pyarrow.timestamp("us", tz="UTC")}

    def columns(kinds: Mapping[str, str]) -> list[Any]:
        return [pyarrow.field(name, types.get(kind, pyarrow.string())) for name, kind in kinds.items()]

    schema = pyarrow.schema(
        [
            *columns(_SESSION),
            pyarrow.field("unreadCount", pyarrow.int64()),
            pyarrow.field("messages", pyarrow.list_(pyarrow.struct(columns(_MESSAGE)))),
        ]
    )
    table = pyarrow.Table.from_pylist([_session(row) for row in rows], schema=schema)
    content = io.BytesIO()
    parquet.write_table(table, content, compression="zstd")
    return content.getvalue()


def _session(row: Mapping[str, Any]) -> dict[str, Any]:
    count = row.get("unreadCount")
    fits = type(count) is int and -_LARGEST <= count < _LARGEST
    rest = {name: value for name, value in row.items() if name != "messages" and (name != "unreadCount" or not fits)}
    return {
        **_columns(rest, _SESSION),
        "unreadCount": count if fits else None,
        "messages": [_columns(message, _MESSAGE) for message in row.get("messages") or ()],
    }


def _columns(row: Mapping[str, Any], kinds: Mapping[str, str]) -> dict[str, Any]:
    other = {name: value for name, value in row.items() if name not in kinds or name == "other"}
    values = {**row, "other": other or None}
    return {name: _column(values.get(name), kind) for name, kind in kinds.items()}


def _column(value: Any, kind: str) -> Any:
    if kind == "time":
        return _timestamp(value)
    if value is None:
        return None
    return str(value) if kind == "text" else json.dumps(value, ensure_ascii=False)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


#: The columns of the tables, and their kinds.
SESSION_COLUMNS = {**{_snake(name): kind for name, kind in _SESSION.items()}, "id": "key", "unread_count": "long"}

MESSAGE_COLUMNS = {"session_id": "text", **{_snake(name): kind for name, kind in _MESSAGE.items()}, "id": "key"}

#: Columns that show which of two rows was read later.
_DATES_OF_ROWS = {"sessions_table": ("updated_at", "last_interaction_date"), "messages_table": ("updated_at",)}


def session_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Return sessions as rows of a table."""
    for row in rows:
        yield {_snake(name): value for name, value in _session({**row, "messages": ()}).items() if name != "messages"}


def message_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Return the messages of sessions as rows of a table. One without an ID cannot be found again, and is left out."""
    for row in rows:
        for message in row.get("messages") or ():
            if message.get("id"):
                columns = _columns({name: value for name, value in message.items() if name != "sessionId"}, _MESSAGE)
                yield {"session_id": row["id"], **{_snake(name): value for name, value in columns.items()}}


def _timestamp(value: Any) -> datetime | None:
    found = parse_timestamp(value)
    return found if found != UNREADABLE else None


#: Default seconds before the interval to export again.
OVERLAP = 120.0

_MOST_OVERLAP = 30 * 24 * 3600.0


class WtsExportConversationsOperator(WtsOperator):
    """Write the conversations that changed in an interval to files, with contact, classification and all messages.

    Calls ``list_sessions`` (100 per request) and, for each session with messages, ``list_messages`` (100 per request).
    The account's rate limit determines the speed.

    A row is a session in its current state. A session that changes again is exported again in a later interval, so load
    the rows as an upsert by ``id``. A session counts as changed if it was updated or had a message. The export starts
    when the interval is over by WTS Chat's clock, and includes the last seconds before the interval (``overlap``).

    The rows go into part files of 100 sessions in the folder ``output_path``. When all are complete, a manifest names
    them. A task that crashes continues after its last complete part: no row is duplicated or missing, even if sessions
    change meanwhile. Clearing a finished task exports again; the old files stay until the new ones are complete. Runs
    that share a folder do not touch each other's files. During the export, a folder ``_staging-...`` holds the
    sessions. The progress is kept in the ledger of the task (Airflow 3.3, or ``[wts] ledger_path``), or else in the
    folder ``_state`` beside the files.

    :param output_path: folder: any ``ObjectStoragePath``, such as ``s3://aws_default@bucket/conversations/{{ ds }}``
        (templated).
    :param updated_after: start of the interval (inclusive): an aware datetime, or ISO 8601 text with an offset.
        Default: the start of the run's data interval (templated).
    :param updated_before: end of the interval (exclusive). Default: the end of the run's data interval (templated).
    :param file_format: ``jsonl`` (default): one JSON object per line, as the API returns it, with its messages in
        ``messages``. ``parquet``: typed columns, and objects as JSON text; needs the extra ``parquet`` (templated).
    :param include_messages: whether to read the messages; without them, 100 sessions take two requests (templated).
    :param include_details: details to add to each session: ``ContactDetails`` and ``ClassificationDetails`` (default),
        ``AgentDetails``, ``ChannelDetails``, ``ChannelTypeDetails``, ``DepartmentsDetails`` (templated).
    :param overlap: seconds before the interval to export again, for changes that WTS Chat showed late. Default: 120
        (templated).
    :param sessions_table: table that also gets the sessions, one row each; created on PostgreSQL, MariaDB, MySQL and
        SQLite. Needs the extra ``sql`` (templated).
    :param messages_table: table that also gets their messages (templated).
    :param tables_conn_id: ID of the Airflow connection of these tables' database (templated).
    :return: ``path``, ``manifest`` (the file that names the parts), ``file_format``, ``parts``, ``sessions``,
        ``messages``, ``updated_after``, ``updated_before``.
    :raises WtsIncompleteListError: when the list of sessions cannot be shown to be complete; the next try reads
        it again.
    """

    def __init__(
        self,
        *,
        output_path: str,
        updated_after: datetime | str | None = None,
        updated_before: datetime | str | None = None,
        file_format: str = "jsonl",
        include_messages: bool | str = True,
        include_details: Sequence[str] | str = ("ContactDetails", "ClassificationDetails"),
        overlap: float | str = OVERLAP,
        sessions_table: str | None = None,
        messages_table: str | None = None,
        tables_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.output_path = output_path
        self.updated_after = updated_after
        self.updated_before = updated_before
        self.file_format = file_format
        self.include_messages = include_messages
        self.include_details = include_details
        self.overlap = overlap
        self.sessions_table = sessions_table
        self.messages_table = messages_table
        self.tables_conn_id = tables_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        with task_failures():
            wanted, tables = self._wanted(context), self._tables()
            if tables[1] is not None and not wanted.include_messages:
                raise WtsInvalidRequestError(
                    "messages_table: needs include_messages=True. Nothing was exported. Set it, or leave "
                    "messages_table out."
                )
            for table in filter(None, tables):
                table.check("Nothing was read.")
            return Export(self.hook, context, wanted, self.log, tables).run()

    def _tables(self) -> tuple[Table | None, Table | None]:
        from airflow_provider_wts.hooks.tables import table_of

        def opened(name: str, columns: Mapping[str, str]) -> Table | None:
            # One connection serves both tables.
            table = getattr(self, name)
            given = (table, None if parameters.missing(table) else self.tables_conn_id)
            # A try that continues has the sessions as they were when the export started.
            return table_of((name, "tables_conn_id"), given, columns, ("id",), _DATES_OF_ROWS[name])

        return opened("sessions_table", SESSION_COLUMNS), opened("messages_table", MESSAGE_COLUMNS)

    def _wanted(self, context: Context) -> Wanted:
        output_path = parameters.text("output_path", self.output_path)
        if not isinstance(output_path, str) or not output_path.strip():
            raise WtsInvalidRequestError(f"output_path: is empty. Example: {_EXAMPLE}.")
        after = self._bound("updated_after", context.get("data_interval_start"))
        before = self._bound("updated_before", context.get("data_interval_end"))
        if datetime.fromisoformat(after) >= datetime.fromisoformat(before):
            raise WtsInvalidRequestError(
                f"updated_after: {after} is not before updated_before, {before}. Nothing was exported. A run without a "
                "data interval, such as a manual run, needs both parameters."
            )
        details = parameters.details(self.include_details, api.sessions.SESSION_DETAILS)
        overlap = OVERLAP if parameters.missing(self.overlap) else self.overlap
        return Wanted(
            wts_conn_id=self.wts_conn_id,
            output_path=output_path.strip().rstrip("/"),
            updated_after=after,
            updated_before=before,
            file_format=parameters.needed_choice("file_format", self.file_format, ("jsonl", "parquet")),
            include_messages=parameters.flag("include_messages", self.include_messages) is not False,
            include_details=tuple(details or ()),
            overlap=float(parameters.number("overlap", overlap, least=0, most=_MOST_OVERLAP) or 0.0),
            sessions_table="" if parameters.missing(self.sessions_table) else str(self.sessions_table).strip(),
            messages_table="" if parameters.missing(self.messages_table) else str(self.messages_table).strip(),
        )

    def _bound(self, name: str, otherwise: Any) -> str:
        given = getattr(self, name)
        found = parameters.filter_timestamp(name, otherwise if parameters.missing(given) else given)
        if not isinstance(found, str):
            raise WtsInvalidRequestError(
                f"{name}: is empty, and this run has no data interval. Nothing was exported. Set it. "
                "Example: '2026-12-24T00:00:00-03:00'."
            )
        return found
