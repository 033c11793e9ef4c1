"""The work of the export of conversations, in steps that can be repeated.

First the sessions are listed, all of them, into staging files of 100. From then on it is settled which sessions are
exported, so that nothing that changes meanwhile can move a row from one page of the list to another. Then each
staging file becomes a part file, with the messages read; the state says how many parts are complete. A part that was
written while the state was not is written again, under the same name.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wts.api.answers import required
from airflow_provider_wts.api.call import NOT_GIVEN, moment
from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError, WtsUnknownOutcomeError
from airflow_provider_wts.api.messages import list_messages
from airflow_provider_wts.api.sessions import get_session, list_sessions
from airflow_provider_wts.operators import conversation_files as files
from airflow_provider_wts.sending.key import TaskIdentity
from airflow_provider_wts.sending.ledger import FileStore, store_of
from airflow_provider_wts.waiting.session import SESSION_STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.types import Logger

    from airflow_provider_wts.hooks.wts import WtsHook

#: Name under which the state stands in the store.
STATE = "wts_export"

_VERSION = 1

#: Sessions in a part file: as many as one request lists.
PART = 100

#: Sessions that are read singly to find out whether the list leaves their metadata out.
SAMPLES = 5

#: A line in the log each so many parts.
PARTS_PER_LINE = 10

#: Date bounds may include themselves or not, so the list is asked for more, and judged here.
_SLACK = timedelta(seconds=1)


class Wanted(NamedTuple):
    """What is exported, and where to. Another export than this is another one.

    :param wts_conn_id: the Airflow connection.
    :param output_path: the folder.
    :param updated_after: begin of the interval (ISO 8601).
    :param updated_before: end of the interval (ISO 8601).
    :param file_format: ``jsonl`` or ``parquet``.
    :param include_messages: whether messages are read.
    :param include_details: what is added to each session.
    """

    wts_conn_id: str
    output_path: str
    updated_after: str
    updated_before: str
    file_format: str
    include_messages: bool
    include_details: tuple[str, ...]


class Export:
    """An export of one task.

    :param hook: the hook of the task's connection.
    :param context: the task's context.
    :param wanted: what is exported.
    :param log: where progress goes.
    """

    def __init__(self, hook: WtsHook, context: Mapping[str, Any], wanted: Wanted, log: Logger) -> None:
        self._hook = hook
        self._wanted = wanted
        self._log = log
        self._max_tries = context["ti"].max_tries
        self._folder = _folder(wanted.output_path)
        task = TaskIdentity.of(context["ti"])
        # Runs may share a folder; each knows its own files by this.
        self._mark = hashlib.sha256("\0".join(map(str, task)).encode()).hexdigest()[:8]
        self._staging = self._folder / f"_staging-{self._mark}"
        self._store = store_of(context, task) or FileStore(str(self._folder / "_state"), task)
        if wanted.file_format == "parquet":
            files.need_parquet()

    def run(self) -> dict[str, Any]:
        """Export what is not exported yet, and return the counts.

        :raises WtsError: when another try makes sense; it goes on where this one stopped.
        """
        state = self._known_state()
        if state is None:
            self._remove_own_files()
            state = self._new_state()
            self._write(state)
        if state["finished"]:
            self._log.info("The export was finished by an earlier try.")
            return self._summary(state)
        if state["staged"] is None:
            state |= self._stage()
            self._write(state)
        elif state["parts"]:
            self._log.info("%s of %s parts are complete; going on.", len(state["parts"]), state["staged"])
        for number in range(len(state["parts"]) + 1, state["staged"] + 1):
            state["parts"].append(self._write_part(number, metadata_singly=state["metadata_singly"]))
            self._write(state)
            if number % PARTS_PER_LINE == 0 or number == state["staged"]:
                self._log.info("%s of %s parts are complete.", number, state["staged"])
        summary = self._summary(state)
        manifest = {**summary, "files": [self._part(number).name for number in range(1, summary["parts"] + 1)]}
        files.write_whole(self._manifest, json.dumps(manifest, indent=1).encode())
        state["finished"] = True
        self._write(state)
        self._remove_staging()
        self._log.info("Exported %s session(s) with %s message(s).", summary["sessions"], summary["messages"])
        return summary

    # The state -------------------------------------------------------------------------------------------------------

    def _known_state(self) -> dict[str, Any] | None:
        """Return the state of this export, or ``None`` where it begins anew."""
        try:
            state = self._store.get(STATE)
        except ValueError:
            state = None
        if not isinstance(state, dict) or state.get("version") != _VERSION:
            return None
        if state["wanted"] != self._as_json():
            self._log.warning("An earlier try exported something else; the export begins anew.")
            return None
        if state["finished"] and state["max_tries"] != self._max_tries:
            self._log.info("The task was cleared and had finished; the export begins anew.")
            return None
        return state

    def _new_state(self) -> dict[str, Any]:
        return {
            "version": _VERSION,
            "wanted": self._as_json(),
            "staged": None,
            "metadata_singly": False,
            "parts": [],
            "finished": False,
        }

    def _as_json(self) -> dict[str, Any]:
        return {**self._wanted._asdict(), "include_details": list(self._wanted.include_details)}

    def _write(self, state: dict[str, Any]) -> None:
        # Only a clear changes it, and a retry after the end must not be taken for another clear.
        state["max_tries"] = self._max_tries
        try:
            self._store.set(STATE, state)
        except Exception as error:
            raise WtsError(f"The state of the export cannot be written: {error}") from error

    def _summary(self, state: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "path": self._wanted.output_path,
            "manifest": f"{self._wanted.output_path}/{self._manifest.name}",
            "file_format": self._wanted.file_format,
            "parts": len(state["parts"]),
            "sessions": sum(sessions for sessions, _ in state["parts"]),
            "messages": sum(messages for _, messages in state["parts"]),
            "updated_after": self._wanted.updated_after,
            "updated_before": self._wanted.updated_before,
        }

    # The sessions ----------------------------------------------------------------------------------------------------

    def _stage(self) -> dict[str, Any]:
        """List the sessions into staging files; return how many files, and whether metadata has to be read singly."""
        self._remove_staging()
        staged = 0
        waiting: list[dict[str, Any]] = []
        bare: list[dict[str, Any]] = []
        for session in self._sessions():
            if len(bare) < SAMPLES and not isinstance(session.get("metadata"), dict):
                bare.append(session)
            waiting.append(session)
            if len(waiting) == PART:
                staged += 1
                files.write_rows(self._staged(staged), waiting, "jsonl")
                waiting = []
        if waiting:
            staged += 1
            files.write_rows(self._staged(staged), waiting, "jsonl")
        self._log.info("%s session(s) to export.", (staged - bool(waiting)) * PART + len(waiting))
        return {"staged": staged, "metadata_singly": any(self._shows_metadata(one) for one in bare)}

    def _sessions(self) -> Iterator[dict[str, Any]]:
        """Walk the sessions of the interval, each once."""
        after, before = (datetime.fromisoformat(text) for text in self._wanted[2:4])
        found: set[str] = set()
        # Two lists: whether a message moves the date of a session's change is not documented.
        for kind in ("updated", "last_interaction"):
            bounds: Any = {f"{kind}_after": after - _SLACK, f"{kind}_before": before + _SLACK}
            call = list_sessions(
                status=SESSION_STATUSES, include_details=self._wanted.include_details or NOT_GIVEN, **bounds
            )
            for session in self._hook.client.items(call):
                session_id = _id_of(session)
                if session_id not in found and _inside(session, after, before):
                    found.add(session_id)
                    yield dict(session)

    def _shows_metadata(self, session: Mapping[str, Any]) -> bool:
        return isinstance(self._whole(session).get("metadata"), dict)

    def _whole(self, session: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._hook.run(
            get_session(
                str(required(session, "id", "list_sessions")), include_details=self._wanted.include_details or NOT_GIVEN
            )
        )

    # The parts -------------------------------------------------------------------------------------------------------

    def _write_part(self, number: int, *, metadata_singly: bool) -> list[int]:
        """Write a part; return how many sessions and messages are in it."""
        rows = files.read_rows(self._staged(number))
        for row in rows:
            if metadata_singly and not isinstance(row.get("metadata"), dict):
                row["metadata"] = self._whole(row).get("metadata")
            row["messages"] = self._messages(row) if self._wanted.include_messages else None
        files.write_rows(self._part(number), rows, self._wanted.file_format)
        return [len(rows), sum(len(row["messages"] or ()) for row in rows)]

    def _messages(self, session: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the messages of a session, oldest first; one without any costs no request."""
        if not any(session.get(name) for name in ("lastMessageIn", "lastMessageOut", "lastMessageText")):
            return []
        # By id: a message that comes while the pages are read moves others to the next one.
        found = {
            str(message.get("id")): dict(message)
            for message in self._hook.client.items(list_messages(str(required(session, "id", "list_sessions"))))
        }
        return sorted(found.values(), key=lambda message: moment(message.get("createdAt")))

    # The files -------------------------------------------------------------------------------------------------------

    @property
    def _manifest(self) -> ObjectStoragePath:
        return self._folder / f"manifest-{self._mark}.json"

    def _part(self, number: int) -> ObjectStoragePath:
        return self._folder / f"conversations-{self._mark}-{number:05}.{self._wanted.file_format}"

    def _staged(self, number: int) -> ObjectStoragePath:
        return self._staging / f"{number:05}.jsonl"

    def _remove_own_files(self) -> None:
        """Remove what an earlier export of this task left: it would be read together with the new files."""
        if self._folder.exists():
            self._manifest.unlink(missing_ok=True)
            for file in self._folder.glob(f"conversations-{self._mark}-*"):
                file.unlink(missing_ok=True)

    def _remove_staging(self) -> None:
        with suppress(FileNotFoundError):
            self._staging.fs.rm(self._staging.path, recursive=True)


def _id_of(session: Any) -> str:
    session_id = session.get("id") if isinstance(session, dict) else None
    if not isinstance(session_id, str) or not session_id:
        raise WtsUnknownOutcomeError(
            "list_sessions: a session has no 'id', so it cannot be exported once and by its id. Nothing was replaced.",
            operation_id="list_sessions",
            repeatable=True,
        )
    return session_id


def _inside(session: Mapping[str, Any], after: datetime, before: datetime) -> bool:
    dates = [session[name] for name in ("updatedAt", "lastInteractionDate") if session.get(name)]
    # In doubt it is inside: it was listed.
    return not dates or any(at.year == 9999 or after <= at < before for at in map(moment, dates))


def _folder(output_path: str) -> ObjectStoragePath:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    try:
        path = ObjectStoragePath(output_path)
        path.fs  # noqa: B018  # says whether the scheme is known
    except (ValueError, ImportError) as error:
        raise WtsInvalidRequestError(
            f"output_path: {output_path!r} cannot be written to: {error}. A good value is "
            "'s3://aws_default@bucket/conversations/{{ ds }}'."
        ) from None
    return path
