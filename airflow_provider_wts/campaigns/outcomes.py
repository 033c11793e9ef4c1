"""The outcome of each send of a campaign, from sessions and messages that may arrive in any order.

Everything is in SQLite files, so that a million rows take no more memory than a thousand. One of them, with what was
found, is copied to durable storage. The other, with the lines of the results, is built again by each try.
"""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wts.api.addresses import addresses_in, hash_of, identity_of
from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError, quoted
from airflow_provider_wts.api.messages import FAILED_STATUSES
from airflow_provider_wts.api.personal_data import without_personal_data
from airflow_provider_wts.api.wire import MOST_AHEAD, UNREADABLE, parse_timestamp
from airflow_provider_wts.campaigns.sent import FIRST_COLUMNS, MAY_HAVE_REACHED, row_key
from airflow_provider_wts.sending.key import MARK_PREFIX, Mark

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from airflow.sdk import ObjectStoragePath

    from airflow_provider_wts.campaigns.sent import SentCampaign
    from airflow_provider_wts.hooks.tables import Table

log = logging.getLogger(__name__)

#: The columns of a row, and their types.
COLUMNS = {
    **FIRST_COLUMNS,
    **dict.fromkeys(("recipient", "send_status", "reason", "send_key", "api_id"), "text"),
    "sent_at": "time",
    **dict.fromkeys(("session_id", "session_status"), "text"),
    "session_created_at": "time",
    "existing_session": "flag",
    **dict.fromkeys(("marked_sessions", "later_sessions"), "count"),
    "replied": "flag",
    **dict.fromkeys(("last_reply_at", "completed_at", "last_interaction_at"), "time"),
    **dict.fromkeys(("agent", "department", "classification"), "text"),
    "amount": "number",
    "answers": "json",
    **dict.fromkeys(("message_status", "failed_reason"), "text"),
    **dict.fromkeys(("replied_at", "read_at"), "time"),
    "final": "flag",
    "observed_at": "time",
}

#: An example of ``outcomes_path``, for errors.
EXAMPLE = "'s3://aws_default@bucket/outcomes/{{ ds }}.jsonl'"

_EPOCH = datetime.fromtimestamp(0, UTC)

#: Amounts from here on do not fit into the column.
_AMOUNT_LIMIT = 10**14

#: Final statuses of a message.
_SETTLED = (*FAILED_STATUSES, "READ")

_KEPT = ("createdAt", "updatedAt", "status", "endAt", "contactId", "lastInteractionDate", "lastMessageIn")

_BATCH = 1000

#: Version of the tables; files of another version are discarded.
_VERSION = "4"

# found: the sessions of each send, which stay found. asked: how often each send was looked up, and in which pass last.
# contact: the contacts of people in a holdout. written: a digest of each row in the table.
_KNOWN = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE session (id TEXT PRIMARY KEY, contact TEXT, created TEXT, replied TEXT, changed TEXT, partial INTEGER,
  shown TEXT);
CREATE INDEX session_of_contact ON session (contact);
CREATE TABLE found (key TEXT, session TEXT, PRIMARY KEY (key, session)) WITHOUT ROWID;
CREATE TABLE message (key TEXT PRIMARY KEY, status TEXT, failed TEXT, updated TEXT);
CREATE TABLE asked (key TEXT PRIMARY KEY, times INTEGER, pass INTEGER);
CREATE TABLE contact (id TEXT PRIMARY KEY, person TEXT);
CREATE INDEX contact_of_person ON contact (person);
CREATE TABLE written (number INTEGER PRIMARY KEY, digest INTEGER);
"""

# key: set only if the send may have reached its recipient. person: set only for people in a holdout.
_LINES = """
CREATE TABLE sent.line (number INTEGER PRIMARY KEY, campaign INTEGER, key TEXT, person TEXT, sent TEXT, api_id TEXT,
  session TEXT, content TEXT);
CREATE INDEX sent.line_key ON line (key) WHERE key IS NOT NULL;
CREATE INDEX sent.line_person ON line (person) WHERE person IS NOT NULL;
"""

# If a send has several sessions, the one created last counts.
_ROWS = """
SELECT line.campaign, line.content, line.key, line.person, line.sent, message.status, message.failed, session.shown,
  (SELECT count(*) FROM found WHERE found.key = line.key),
  CASE WHEN session.id IS NOT NULL THEN (SELECT count(*) FROM session AS later WHERE later.contact = session.contact
    AND later.created > max(coalesce(session.created, ''), line.sent)
    AND NOT EXISTS (SELECT 1 FROM found WHERE found.key = line.key AND found.session = later.id)) END
FROM sent.line AS line
LEFT JOIN message ON message.key = line.key
LEFT JOIN session ON session.id = (SELECT session.id FROM found JOIN session ON session.id = found.session
  WHERE found.key = line.key ORDER BY session.created DESC, session.id DESC LIMIT 1)
ORDER BY line.number
"""


class SentRow(NamedTuple):
    """A send that may have reached its recipient.

    :param api_id: its ID in WTS Chat, if known.
    :param sent_at: it was sent no earlier than this.
    :param traces: where it left its marker, and which operation reads its status.
    """

    key: str
    api_id: str | None
    to: str
    sent_at: datetime
    traces: Mapping[str, Any]


class RowPolicy(NamedTuple):
    """What rows show.

    :param answers: keys of the metadata to keep; ``None`` for all except markers.
    :param secret: key for hashing recipients; ``None`` to show them.
    """

    answers: Collection[str] | None
    ended: Collection[str]
    secret: bytes | None


class Outcomes:
    """What is known about the sends of some campaigns. Sessions and messages may arrive in any order, and repeatedly.

    Use it in a ``with`` statement. It continues with what an earlier pass or try stored.

    :param kept_at: durable file for what was found. It contains hashes in place of numbers and handles.
    :param hash_key: key of these hashes.
    :param account: identifies the account that is read.
    """

    def __init__(
        self, campaigns: Sequence[SentCampaign], kept_at: ObjectStoragePath, hash_key: bytes, account: str = ""
    ) -> None:
        self._campaigns = campaigns
        self._kept_at = kept_at
        self._hash_key = hash_key
        self._account = account
        #: How many sends may have reached their recipients.
        self.sends = 0
        #: When the first of them was sent.
        self.begun: datetime | None = None
        #: Whether somebody was held out, so that sessions must be matched with people.
        self.has_holdout = False

    def __enter__(self) -> Outcomes:
        self._folder = Path(tempfile.mkdtemp(prefix="wts-outcomes-"))
        self._known = self._folder / "known.db"
        try:
            self._db = self._continued() or self._fresh()
            self._db.execute("ATTACH ? AS sent", [str(self._folder / "lines.db")])
            self._db.executescript("PRAGMA sent.journal_mode = OFF; PRAGMA sent.synchronous = OFF;" + _LINES)
            self._read_lines()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(AttributeError):
            self._db.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def refuse_other_account(self) -> None:
        """Refuse an account without any of the sends, if another token or base URL sent a campaign."""
        if self._one("SELECT 1 FROM found UNION ALL SELECT 1 FROM message LIMIT 1"):
            return
        for campaign in self._campaigns:
            # This also differs if the same account has a new token.
            if campaign.about.get("account", self._account) != self._account:
                conn_id = quoted(str(campaign.about.get("wts_conn_id")))
                raise WtsInvalidRequestError(
                    f"wts_conn_id: this account has none of the sends of {quoted(campaign.address)}, which went out "
                    f"with another token or base URL through the connection {conn_id}. No row was written. Set "
                    "wts_conn_id to a connection of the account that sent the campaign."
                )

    # Storage ---------------------------------------------------------------------------------------------------------

    @property
    def ids(self) -> list[str]:
        """The IDs of the campaigns."""
        return sorted(campaign.campaign_id for campaign in self._campaigns)

    @property
    def _origin(self) -> str:
        """What the tables belong to. With another hash key, their people could not be matched."""
        return json.dumps([*self.ids, hash_of("@", self._hash_key)])

    @property
    def cursor(self) -> datetime | None:
        """Where the next list of changes begins."""
        # Not if another account was read: changes in this one would be missed.
        kept = self._about("cursor") if self._about("account") == self._account else None
        return datetime.fromisoformat(kept) if kept else self.begun

    @cursor.setter
    def cursor(self, date: datetime) -> None:
        self._note("cursor", date.isoformat())
        self._note("account", self._account)

    @property
    def pass_number(self) -> int:
        """The number of the current or next pass."""
        return int(self._about("pass") or 0)

    def end_pass(self) -> None:
        """Record the end of a pass. The next one asks again for what this one asked for."""
        self._note("pass", str(self.pass_number + 1))

    def keep(self) -> None:
        """Copy what is known to durable storage."""
        from airflow_provider_wts.hooks.output_files import whole_file

        self._db.commit()
        with whole_file(self._kept_at, "outcomes_path", example=EXAMPLE) as copy, self._known.open("rb") as known:
            shutil.copyfileobj(known, copy, 1 << 20)

    def _continued(self) -> sqlite3.Connection | None:
        """Return the tables that an earlier try stored, if they belong to these campaigns."""
        try:
            with self._kept_at.open("rb") as kept, self._known.open("wb") as known:  # type: ignore[no-untyped-call]
                shutil.copyfileobj(kept, known, 1 << 20)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise WtsError(
                f"outcomes_path: {self._kept_at}, which contains what was found so far, cannot be read: {error}. "
                "Retry when it can."
            ) from error
        with suppress(sqlite3.DatabaseError):
            db = self._connection()
            about = dict(db.execute("SELECT name, value FROM about"))
            if (about.get("version"), about.get("campaigns")) == (_VERSION, self._origin):
                return db
            db.close()
        log.warning("%s belongs to other campaigns or another version. Everything is read again.", self._kept_at)
        return None

    def _fresh(self) -> sqlite3.Connection:
        self._known.unlink(missing_ok=True)
        db = self._connection()
        db.executescript(_KNOWN)
        db.execute("INSERT INTO about VALUES ('version', ?), ('campaigns', ?)", [_VERSION, self._origin])
        return db

    def _connection(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._known, cached_statements=64)
        # Only this process uses these files, and keep() copies what must not be lost.
        db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16000;")
        return db

    def _about(self, name: str) -> str | None:
        found = self._one("SELECT value FROM about WHERE name = ?", name)
        return found[0] if found else None

    def _note(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", [name, value])

    def _one(self, query: str, *values: Any) -> Any:
        return self._db.execute(query, values).fetchone()

    def _read_lines(self) -> None:
        lines = (self._line(number, line) for number, one in enumerate(self._campaigns) for line in one.lines())
        digest = blake2b(digest_size=16)
        while batch := list(islice(lines, _BATCH)):
            digest.update(repr(batch).encode())
            self._db.executemany(
                "INSERT INTO sent.line (campaign, key, person, sent, api_id, session, content) VALUES (?,?,?,?,?,?,?)",
                batch,
            )
        self._digest = digest.hexdigest()
        self.sends, begun = self._one("SELECT count(*), min(sent) FROM sent.line WHERE key IS NOT NULL")
        self.begun = datetime.fromisoformat(begun) if begun else None
        self.has_holdout = self._one("SELECT 1 FROM sent.line WHERE person IS NOT NULL") is not None

    def _line(self, campaign: int, line: dict[str, Any]) -> tuple[Any, ...]:
        key = line.get("send_key") if line["status"] in MAY_HAVE_REACHED else None
        return (
            campaign,
            key,
            hash_of(line["to"], self._hash_key) if line["status"] == "holdout" and line.get("to") else None,
            _stamp(parse_timestamp(line["sent_at"]) or UNREADABLE) if key else None,
            line.get("id"),
            line["session_id"].lower() if line.get("session_id") else None,
            json.dumps(line, separators=(",", ":")),
        )

    # Input -----------------------------------------------------------------------------------------------------------

    def add_session(self, session: Mapping[str, Any], *, alone: bool = False) -> None:
        """Record a session from an answer or an event.

        :param alone: whether it was fetched by ID, so that no other call shows more of it.
        """
        session_id = str(_text(session["id"])).lower()
        metadata = session.get("metadata")
        for name, key in metadata.items() if isinstance(metadata, dict) else ():
            is_marker = isinstance(key, str) and key.isascii() and Mark(key).name == name
            # Anybody may write an entry with such a name.
            if is_marker and self._one("SELECT 1 FROM sent.line WHERE key = ?", key):
                self.find(key, session_id)
        if self.has_holdout:
            self._see_contact(session)
        changed = _stamp(_changed(session))
        known = self._one("SELECT changed, partial, shown FROM session WHERE id = ?", session_id)
        if known and known[0] > changed:
            return
        partial, shown = False, {**{name: _text(session.get(name)) for name in _KEPT}, **_details(session)}
        shown["metadata"] = metadata
        if not isinstance(metadata, dict):
            same = known is not None and known[0] == changed
            shown["metadata"] = json.loads(known[2])["metadata"] if known else None
            partial = not alone and (bool(known[1]) if same else True)
        dates = [_stamp(date) if (date := _date(session, name)) else None for name in ("createdAt", "lastMessageIn")]
        self._db.execute(
            "INSERT OR REPLACE INTO session VALUES (?,?,?,?,?,?,?)",
            [session_id, shown["contactId"], *dates, changed, partial, json.dumps({**shown, "id": session_id})],
        )

    def _see_contact(self, session: Mapping[str, Any]) -> None:
        """Record the contact of a session if it is a person in a holdout."""
        contact, details = _text(session.get("contactId")), session.get("contactDetails")
        if contact and isinstance(details, dict):
            for person in (hash_of(one, self._hash_key) for one in addresses_in(details)):
                if self._one("SELECT 1 FROM sent.line WHERE person = ?", person):
                    self._db.execute("INSERT OR REPLACE INTO contact VALUES (?, ?)", [contact, person])

    def add_status(self, key: str, answer: Mapping[str, Any]) -> None:
        """Record the status of a send from the API's answer."""
        known, changed = self._one("SELECT updated FROM message WHERE key = ?", key), _stamp(_changed(answer))
        if known is None or changed >= known[0]:
            failed = _text(answer.get("failedReason"))
            self._db.execute(
                "INSERT OR REPLACE INTO message VALUES (?,?,?,?)",
                [key, _text(answer.get("status")), without_personal_data(failed) if failed else None, changed],
            )
        if session_id := _text(answer.get("sessionId")):
            self.find(key, session_id.lower())

    def find(self, key: str, session_id: str) -> None:
        """Record the session of a send."""
        self._db.execute("INSERT OR IGNORE INTO found VALUES (?, ?)", [key, session_id])

    def find_answered(self) -> None:
        """Record the sessions that the API answered for sends that got no ID."""
        self._db.execute(
            "INSERT OR IGNORE INTO found SELECT key, session FROM sent.line WHERE key IS NOT NULL "
            "AND session IS NOT NULL AND api_id IS NULL AND NOT EXISTS (SELECT 1 FROM found WHERE key = line.key)"
        )

    def ask(self, key: str) -> None:
        """Record that a send or session is being looked up."""
        self._db.execute(
            "INSERT INTO asked VALUES (?1, 1, ?2) ON CONFLICT (key) DO UPDATE SET times = times + 1, pass = ?2",
            [key, self.pass_number],
        )

    # What is still missing -------------------------------------------------------------------------------------------

    def is_found(self, key: str) -> bool:
        """Whether a session of a send is known."""
        return self._one("SELECT 1 FROM found WHERE key = ?", key) is not None

    def message_status(self, key: str) -> str | None:
        """Return the status of a send, if it was read."""
        found = self._one("SELECT status FROM message WHERE key = ?", key)
        return found[0] if found else None

    def not_found(self, limit: int) -> list[SentRow]:
        """Return sends whose session is unknown but may become known; those looked up least often come first."""
        return self._some(
            "NOT EXISTS (SELECT 1 FROM found WHERE key = line.key) AND coalesce(message.status, '') NOT IN (?, ?) "
            "ORDER BY coalesce(asked.times, 0), line.number LIMIT ?",
            *FAILED_STATUSES,
            limit,
        )

    def unsettled(self, limit: int) -> list[SentRow]:
        """Return sends whose message's status may still change, and that this pass has not asked for yet."""
        return self._some(f"{_UNSETTLED} ORDER BY line.number LIMIT ?", *_SETTLED, self.pass_number, limit)

    def count_unsettled(self) -> int:
        """Count the sends of :meth:`unsettled`."""
        query = f"SELECT count(*) {_SENDS} WHERE line.key IS NOT NULL AND {_UNSETTLED}"
        return int(self._one(query, *_SETTLED, self.pass_number)[0])

    def unread(self, limit: int) -> list[str]:
        """Return sessions of which only the ID is known, and then those whose metadata no list shows."""
        query = (
            "SELECT DISTINCT found.session, session.id IS NOT NULL AS seen FROM found "
            "LEFT JOIN session ON session.id = found.session LEFT JOIN asked ON asked.key = found.session "
            "WHERE session.id IS NULL OR session.partial ORDER BY seen, coalesce(asked.times, 0), found.key LIMIT ?"
        )
        return [session_id for session_id, _ in self._db.execute(query, [limit])]

    def _some(self, where: str, *values: Any) -> list[SentRow]:
        columns = "line.campaign, line.key, line.api_id, line.sent, line.content"
        query = f"SELECT {columns} {_SENDS} WHERE line.key IS NOT NULL AND {where}"
        return [
            SentRow(key, api_id, json.loads(content)["to"], datetime.fromisoformat(sent), self._traces(campaign))
            for campaign, key, api_id, sent, content in self._db.execute(query, values)
        ]

    def _traces(self, campaign: int) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._campaigns[campaign].about["traces"]
        return found

    # The rows --------------------------------------------------------------------------------------------------------

    def rows(self, policy: RowPolicy, observed_at: datetime) -> Iterator[dict[str, Any]]:
        """Return a row for each line of the campaigns."""
        origins = [campaign.origin() for campaign in self._campaigns]
        for campaign, content, key, person, sent, status, failed, shown, marked, later in self._db.execute(_ROWS):
            line = json.loads(content)
            row = {
                **dict.fromkeys(COLUMNS),
                **origins[campaign],
                **_sent_columns(line, policy.secret),
                "observed_at": observed_at,
                "final": key is None and person is None,
            }
            if person is not None:
                row |= self._holdout_columns(person)
            elif key is not None:
                at = datetime.fromisoformat(sent)
                session = json.loads(shown) if shown else None
                row |= {
                    "sent_at": at,
                    "marked_sessions": marked,
                    "later_sessions": later,
                    "message_status": status,
                    "failed_reason": failed,
                    "final": status in FAILED_STATUSES
                    or (session is not None and has_ended(session, at, policy.ended)),
                }
                row |= _session_columns(session, at, policy.answers) if session is not None else {}
            yield row

    def write_into(self, table: Table, rows: Iterator[dict[str, Any]], policy: RowPolicy) -> int:
        """Write rows into a table, and return how many of them are new or changed."""
        # As long as these are the same, so are the keys of the rows.
        basis = [self._digest, hash_of("@", policy.secret) if policy.secret is not None else None]
        kept = json.loads(self._about("table") or "{}")
        replaced = table.replace_changed(
            self._with_digests(rows, only_changed=False),
            self._with_digests(rows, only_changed=True),
            seal=kept.get("seal") if kept.get("basis") == basis else None,
            whole=self.ids,
            unless=("observed_at",),
        )
        now = {"basis": basis, "seal": replaced.seal}
        if now != kept:
            self._note("table", json.dumps(now))
            self.keep()
        return replaced.written

    def _with_digests(self, rows: Iterator[dict[str, Any]], *, only_changed: bool) -> Iterator[dict[str, Any]]:
        """Store the digests of rows, and return the rows whose digests changed, or all."""
        first = 0
        while batch := list(islice(rows, _BATCH)):
            query = "SELECT number, digest FROM written WHERE number >= ? AND number < ?"
            known = dict(self._db.execute(query, [first, first + len(batch)]))
            changed = [
                (number, digest, row)
                for number, row in enumerate(batch, start=first)
                if known.get(number) != (digest := _digest_of(row))
            ]
            self._db.executemany("INSERT OR REPLACE INTO written VALUES (?, ?)", (one[:2] for one in changed))
            yield from (row for _, _, row in changed) if only_changed else batch
            first += len(batch)

    def _holdout_columns(self, person: str) -> dict[str, Any]:
        """Return what a person in the holdout did since the first message of the campaign."""
        if self.begun is None:
            return {}
        since = _stamp(self.begun)
        later, last = self._one(
            "SELECT sum(session.created > ?1), max(CASE WHEN session.replied >= ?1 THEN session.replied END) "
            "FROM contact JOIN session ON session.contact = contact.id WHERE contact.person = ?2",
            since,
            person,
        )
        return {
            "later_sessions": later or 0,
            "replied": last is not None,
            "last_reply_at": datetime.fromisoformat(last) if last else None,
        }


_SENDS = "FROM sent.line AS line LEFT JOIN message ON message.key = line.key LEFT JOIN asked ON asked.key = line.key"

_UNSETTLED = (
    f"line.api_id IS NOT NULL AND coalesce(message.status, '') NOT IN ({', '.join('?' * len(_SETTLED))}) "
    "AND coalesce(asked.pass, -1) <> ?"
)


def has_ended(session: Mapping[str, Any], sent_at: datetime, ended: Collection[str]) -> bool:
    """Whether a session has ended since a send; an end before it does not count."""
    return session["status"] in ended and _counts(
        _date(session, "endAt") or datetime.max.replace(tzinfo=UTC), session, sent_at
    )


def _digest_of(row: Mapping[str, Any]) -> int:
    shown = [value for name, value in row.items() if name != "observed_at"]
    return int.from_bytes(blake2b(repr(shown).encode(), digest_size=8).digest(), signed=True)


def _sent_columns(line: Mapping[str, Any], secret: bytes | None) -> dict[str, Any]:
    """Return the columns that come from the results."""
    to, named, reason = line.get("to"), row_key(line), line.get("reason")
    if secret is not None:
        own, hidden = line.get("row_key"), hash_of(to, secret) if to else None
        # Keep the user's own key, so that rows can be joined, unless it is the recipient.
        if to and hidden and (not own or identity_of(own) == identity_of(to)):
            named = hidden
        to, reason = hidden, without_personal_data(reason) if reason else reason
    return {
        "row_key": named,
        "line": line["line"],
        "recipient": to,
        "send_status": line["status"],
        "reason": reason,
        "send_key": line.get("send_key"),
        "api_id": line.get("id"),
    }


def _counts(date: datetime | None, session: Mapping[str, Any], sent_at: datetime) -> bool:
    """Whether an event in a session counts: if the session existed before the send, only later events do."""
    created = _date(session, "createdAt")
    return date is not None and not (created is not None and created < sent_at and date < sent_at)


def _session_columns(session: Mapping[str, Any], sent_at: datetime, answers: Collection[str] | None) -> dict[str, Any]:
    """Return the columns that come from the session."""
    created = _date(session, "createdAt")
    replied, ended_at = _date(session, "lastMessageIn"), _date(session, "endAt")
    has_replied = _counts(replied, session, sent_at)
    has_completed = session["status"] == "COMPLETED" and _counts(ended_at, session, sent_at)
    return {
        "session_id": session["id"],
        "session_status": session["status"],
        "session_created_at": created,
        "existing_session": created is not None and created < sent_at,
        "replied": has_replied,
        "last_reply_at": replied if has_replied else None,
        "completed_at": ended_at if has_completed else None,
        "last_interaction_at": _date(session, "lastInteractionDate"),
        **{name: session[name] for name in _DETAILS},
        "answers": _answers(session["metadata"], answers),
    }


_DETAILS = ("agent", "department", "classification", "amount")


def _details(session: Mapping[str, Any]) -> dict[str, Any]:
    def detail(name: str, key: str) -> Any:
        found = session.get(name)
        return found.get(key) if isinstance(found, dict) else None

    amount = detail("classification", "amount")
    is_number = isinstance(amount, (int, float)) and not isinstance(amount, bool) and abs(amount) < _AMOUNT_LIMIT
    return {
        "agent": _text(detail("agentDetails", "name") or session.get("userId")),
        "department": _text(detail("departmentDetails", "name") or session.get("departmentId")),
        "classification": _text(detail("classification", "category")),
        "amount": amount if is_number else None,
    }


def _text(value: Any) -> str | None:
    """Return a text from an answer in a form that files and databases accept; ``None`` if it is not text."""
    return value.encode(errors="replace").decode().replace("\0", " ") if isinstance(value, str) else None


def _answers(metadata: Any, kept: Collection[str] | None) -> str | None:
    if not isinstance(metadata, dict):
        return None
    found = {
        name: value
        for name, value in metadata.items()
        if (name in kept if kept is not None else not name.startswith(MARK_PREFIX))
    }
    return _text(json.dumps(found, ensure_ascii=False, sort_keys=True))


def _date(item: Mapping[str, Any], name: str) -> datetime | None:
    """Return a date from an answer; ``None`` if it is missing, unreadable, or in the future."""
    date = parse_timestamp(item.get(name))
    return date.astimezone(UTC) if date is not None and date < datetime.now(UTC) + MOST_AHEAD else None


def _stamp(date: datetime) -> str:
    """Return a date as text that sorts by time."""
    return date.astimezone(UTC).isoformat(timespec="microseconds")


def _changed(item: Mapping[str, Any]) -> datetime:
    dates = [_date(item, name) for name in ("createdAt", "updatedAt", "lastInteractionDate")]
    return max((date for date in dates if date), default=_EPOCH)
