"""The outcome of each send of a campaign: what is known of sessions and messages, folded into rows in any order."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wts.api.addresses import hash_of
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.api.messages import FAILED_STATUSES
from airflow_provider_wts.api.personal_data import without_personal_data
from airflow_provider_wts.api.wire import parse_timestamp
from airflow_provider_wts.sending.key import MARK_PREFIX, Mark

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

#: The columns of a row, and what each holds.
COLUMNS = {
    "campaign_id": "id",
    "row_key": "key",
    **dict.fromkeys(("dag_id", "run_id", "task_id"), "text"),
    **dict.fromkeys(("map_index", "generation", "line"), "count"),
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
    **dict.fromkeys(("answers", "message_status", "failed_reason"), "text"),
    **dict.fromkeys(("replied_at", "read_at"), "time"),
    "final": "flag",
    "observed_at": "time",
}

#: What identifies a row.
KEY = ("campaign_id", "row_key")

#: Results of a send that may have reached its recipient.
_SENT = ("sent", "undecided")

_EPOCH = datetime.fromtimestamp(0, UTC)

#: What a column for amounts holds.
_MOST_AMOUNT = 10**14

#: Statuses of a message that do not change any more.
_SETTLED = (*FAILED_STATUSES, "READ")

_KEPT = ("createdAt", "updatedAt", "status", "endAt", "contactId", "lastInteractionDate", "lastMessageIn")

_EXAMPLE = "Example: campaign=send.output, or the address of a manifest, 's3://bucket/results.jsonl.manifest.json'."


class SentCampaign(NamedTuple):
    """A campaign that was sent, as its manifest and its results describe it.

    :param about: the manifest.
    :param lines: the lines of its results.
    :param address: where its results are.
    """

    about: dict[str, Any]
    lines: list[dict[str, Any]]
    address: str

    @property
    def campaign_id(self) -> str:
        """Its id."""
        return str(self.about["campaign_id"])


def sent_campaigns(given: Any) -> list[SentCampaign]:
    """Return the campaigns that a parameter names.

    :param given: what a batch operator returned, the address of a manifest, or a list of either.
    :raises WtsInvalidRequestError: when it names none, or one of them cannot be read.
    """
    found: dict[str, SentCampaign] = {}
    for one in given if isinstance(given, (list, tuple)) else [given]:
        campaign = _read(_manifest_address(one))
        found[campaign.campaign_id] = campaign
    if not found:
        raise WtsInvalidRequestError(f"campaign: is empty. {_EXAMPLE}")
    return list(found.values())


def _manifest_address(one: Any) -> str:
    if isinstance(one, dict):
        address = one.get("manifest_path")
        if not address:
            raise WtsInvalidRequestError(
                "campaign: the campaign wrote no results. Set results_path of its task, or [wts] results_path, and "
                f"clear it. {_EXAMPLE}"
            )
        return str(address)
    if not isinstance(one, str) or not one.strip() or one.strip() == "None":
        raise WtsInvalidRequestError(f"campaign: {one!r} is not a campaign. {_EXAMPLE}")
    return one.strip()


def _read(address: str) -> SentCampaign:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    results = address.removesuffix(".manifest.json")
    try:
        about = json.loads(ObjectStoragePath(address).read_text())
        with ObjectStoragePath(results).open("rb") as file:  # type: ignore[no-untyped-call]
            lines = [json.loads(line) for line in file if line.strip()]
    except (OSError, ValueError, ImportError) as error:
        raise WtsInvalidRequestError(
            f"campaign: {address!r} cannot be read: {error}. Results are complete when the task of the campaign has "
            f"ended. {_EXAMPLE}"
        ) from None
    if not isinstance(about, dict) or not about.get("campaign_id"):
        raise WtsInvalidRequestError(
            f"campaign: {address!r} is not the manifest of a campaign, or one of a version before 0.2.0. {_EXAMPLE}"
        )
    return SentCampaign(about, lines, results)


class SentRow(NamedTuple):
    """A send that may have reached its recipient.

    :param key: the key of the send.
    :param api_id: its id at the API, where it is known.
    :param to: the recipient.
    :param sent_at: no earlier than this was it sent.
    :param session_id: the session that the send answered, if it did.
    :param traces: where it left its marker, and what asks for its status.
    """

    key: str
    api_id: str | None
    to: str
    sent_at: datetime
    session_id: str | None
    traces: Mapping[str, Any]


def sent_rows(campaigns: Iterable[SentCampaign]) -> list[SentRow]:
    """Return the sends of some campaigns that may have reached their recipients.

    :param campaigns: the campaigns.
    """
    return [
        SentRow(
            line["send_key"],
            line.get("id"),
            line["to"],
            parse_timestamp(line["sent_at"]),
            line.get("session_id"),
            campaign.about["traces"],
        )
        for campaign in campaigns
        for line in campaign.lines
        if line["status"] in _SENT and line.get("send_key")
    ]


class Outcomes:
    """What is known of the sends: sessions and messages, taken in in any order and any number of times.

    :param sends: the sends.
    """

    def __init__(self, sends: Iterable[SentRow]) -> None:
        self.sends = {send.key: send for send in sends}
        self._key_of = {Mark(key).name: key for key in self.sends}
        self._begun = min((send.sent_at for send in self.sends.values()), default=None)
        #: The sessions that sends went into, by id.
        self.sessions: dict[str, dict[str, Any]] = {}
        #: The sessions of each send, by its key: once found, always found.
        self.marked: dict[str, list[str]] = {}
        #: The status of each send that was asked for, by its key.
        self.messages: dict[str, dict[str, Any]] = {}
        #: When the sessions of a contact that began since were created, by contact and session.
        self._of_contact: dict[str, dict[str, str]] = {}

    def as_json(self) -> dict[str, Any]:
        """Return all of it as plain JSON."""
        return {
            "sessions": self.sessions,
            "marked": self.marked,
            "messages": self.messages,
            "of_contact": self._of_contact,
        }

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Take in what :meth:`as_json` returned.

        :param stored: it.
        """
        self.sessions, self.marked = stored["sessions"], stored["marked"]
        self.messages, self._of_contact = stored["messages"], stored["of_contact"]

    def see_session(self, session: Mapping[str, Any], *, alone: bool = False) -> bool:
        """Take in a session as the API answers it, or as an event tells of it.

        :param session: the session.
        :param alone: whether it was read alone, so that no other call shows more of it.
        :return: whether a send went into it.
        """
        session_id = str(session["id"]).lower()
        metadata = session.get("metadata")
        for name, value in metadata.items() if isinstance(metadata, dict) else ():
            if (key := self._key_of.get(name)) is not None and value == key:
                self.find(key, session_id)
        contact, created = session.get("contactId"), _date(session, "createdAt")
        if isinstance(contact, str) and created and self._begun and created >= self._begun:
            self._of_contact.setdefault(contact, {})[session_id] = created.isoformat()
        if session_id not in self.sessions:
            return False
        known = self.sessions[session_id]
        if known and _changed(known) > _changed(session):
            return True
        shown: dict[str, Any] = {**{name: _text(session.get(name)) for name in _KEPT}, **_details(session)}
        shown |= {"id": session_id, "metadata": metadata, "partial": False}
        if not isinstance(metadata, dict):
            same = bool(known) and _changed(known) == _changed(session)
            shown["metadata"] = known.get("metadata")
            shown["partial"] = not alone and (known["partial"] if same else True)
        self.sessions[session_id] = shown
        return True

    def see_send(self, key: str, answer: Mapping[str, Any]) -> None:
        """Take in the status of a send.

        :param key: the key of the send.
        :param answer: what the API says of it.
        """
        known = self.messages.get(key, {})
        if _changed(answer) >= _changed(known):
            failed = _text(answer.get("failedReason"))
            self.messages[key] = {
                "status": _text(answer.get("status")),
                "failedReason": without_personal_data(failed) if failed else None,
                "updatedAt": _text(answer.get("updatedAt")),
            }
        if isinstance(session_id := answer.get("sessionId"), str) and session_id:
            self.find(key, session_id.lower())

    def find(self, key: str, session_id: str) -> None:
        """Note that a send went into a session.

        :param key: the key of the send.
        :param session_id: the session.
        """
        mine = self.marked.setdefault(key, [])
        if session_id not in mine:
            mine.append(session_id)
        self.sessions.setdefault(session_id, {})

    def not_found(self) -> Iterator[SentRow]:
        """Return the sends whose session is not known, and may become known."""
        for key, send in self.sends.items():
            if key not in self.marked and self.messages.get(key, {}).get("status") not in FAILED_STATUSES:
                yield send

    def unsettled(self) -> Iterator[SentRow]:
        """Return the sends whose message may still change its status."""
        for key, send in self.sends.items():
            if send.api_id and self.messages.get(key, {}).get("status") not in _SETTLED:
                yield send

    def unread(self) -> Iterator[str]:
        """Return the sessions that are known by their id alone, and then those whose metadata no list shows."""
        yield from [one for one, session in self.sessions.items() if not session]
        yield from [one for one, session in self.sessions.items() if session and session["partial"]]

    def session_of(self, key: str) -> dict[str, Any] | None:
        """Return the session of a send: the one created last, if it went into several.

        :param key: the key of the send.
        """
        known = [self.sessions[one] for one in self.marked.get(key, ()) if self.sessions.get(one)]
        return max(known, key=lambda one: (_date(one, "createdAt") or _EPOCH, one["id"]), default=None)

    def columns_of(self, key: str, answers: Collection[str] | None, ended: Collection[str]) -> dict[str, Any]:
        """Return the columns that say what came of a send.

        :param key: the key of the send.
        :param answers: keys of the metadata that are kept; ``None`` = all but markers.
        :param ended: statuses of a session that has ended.
        """
        message, session = self.messages.get(key, {}), self.session_of(key)
        status = message.get("status")
        found = {
            "marked_sessions": len(self.marked.get(key, ())),
            "message_status": status,
            "failed_reason": message.get("failedReason"),
            "final": status in FAILED_STATUSES,
        }
        if session is None:
            return found
        sent_at, created = self.sends[key].sent_at, _date(session, "createdAt")
        existing = created is not None and created < sent_at
        replied, ended_at = _date(session, "lastMessageIn"), _date(session, "endAt")
        counts = [date is not None and not (existing and date < sent_at) for date in (replied, ended_at)]
        of_contact = self._of_contact.get(str(session["contactId"]), {})
        return {
            **found,
            "session_id": session["id"],
            "session_status": session["status"],
            "session_created_at": created,
            "existing_session": existing,
            "later_sessions": sum(
                datetime.fromisoformat(at) > max(created or _EPOCH, sent_at)
                for one, at in of_contact.items()
                if one not in self.marked[key]
            ),
            "replied": counts[0],
            "last_reply_at": replied if counts[0] else None,
            "completed_at": ended_at if counts[1] and session["status"] == "COMPLETED" else None,
            "last_interaction_at": _date(session, "lastInteractionDate"),
            **{name: session[name] for name in _DETAILS},
            "answers": _answers(session["metadata"], answers),
            "final": found["final"] or session["status"] in ended,
        }


class RowPolicy(NamedTuple):
    """What rows show.

    :param answers: keys of the metadata that are kept; ``None`` = all but markers.
    :param ended: statuses of a session that has ended.
    :param secret: key of the hash that recipients are shown as; ``None`` shows them.
    """

    answers: Collection[str] | None
    ended: Collection[str]
    secret: bytes | None


def rows(
    campaigns: Iterable[SentCampaign], outcomes: Outcomes, policy: RowPolicy, observed_at: datetime
) -> Iterator[dict[str, Any]]:
    """Return a row for each line of the campaigns.

    :param campaigns: the campaigns.
    :param outcomes: what is known of their sends.
    :param policy: what the rows show.
    :param observed_at: when that was known.
    """
    for campaign in campaigns:
        about = {name: campaign.about.get(name) for name in ("campaign_id", "dag_id", "run_id", "task_id", "map_index")}
        for line in campaign.lines:
            to, key, status = line.get("to"), line.get("send_key"), line["status"]
            named = line.get("row_key") or (to if to else f"line:{line['line']}")
            reason = line.get("reason")
            if policy.secret is not None:
                if named == to:
                    named = hash_of(to, policy.secret)
                elif to:
                    named = _hashed(named, policy.secret)
                to = hash_of(to, policy.secret) if to else None
                reason = without_personal_data(reason) if reason else reason
            row: dict[str, Any] = {
                **dict.fromkeys(COLUMNS),
                **about,
                "generation": campaign.about.get("generation"),
                "row_key": named,
                "line": line["line"],
                "recipient": to,
                "send_status": status,
                "reason": reason,
                "send_key": key,
                "api_id": line.get("id"),
                "sent_at": parse_timestamp(line["sent_at"]) if status in _SENT and key else None,
                "final": status not in _SENT,
                "observed_at": observed_at,
            }
            yield row | outcomes.columns_of(key, policy.answers, policy.ended) if key in outcomes.sends else row


def status_of(row: Mapping[str, Any]) -> str:
    """Return the status that a row is counted under: of its session, or else of its send.

    :param row: the row.
    """
    return str(row["session_status"] or row["send_status"])


_DETAILS = ("agent", "department", "classification", "amount")


def _details(session: Mapping[str, Any]) -> dict[str, Any]:
    def detail(name: str, key: str) -> Any:
        found = session.get(name)
        return found.get(key) if isinstance(found, dict) else None

    amount = detail("classification", "amount")
    is_number = isinstance(amount, (int, float)) and not isinstance(amount, bool) and abs(amount) < _MOST_AMOUNT
    return {
        "agent": _text(detail("agentDetails", "name") or session.get("userId")),
        "department": _text(detail("departmentDetails", "name") or session.get("departmentId")),
        "classification": _text(detail("classification", "category")),
        "amount": amount if is_number else None,
    }


def _text(value: Any) -> str | None:
    """Return a text of an answer as files and databases take it; ``None`` if it is none."""
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
    """Return a date of an answer; ``None`` if it is missing or unreadable."""
    date = parse_timestamp(item[name]) if item.get(name) else None
    # Outside of these years, a date has no time in UTC.
    return date.astimezone(UTC) if date is not None and 1 < date.year < datetime.max.year else None


def _changed(item: Mapping[str, Any]) -> datetime:
    dates = [_date(item, name) for name in ("createdAt", "updatedAt", "lastInteractionDate")]
    return max((date for date in dates if date), default=_EPOCH)


def _hashed(text: str, secret: bytes) -> str:
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
