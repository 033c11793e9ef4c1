"""Asking the API what became of a send that nobody remembers.

A search finds the send, or concludes that it is absent, or leaves it undecided. Absence is concluded only where the
send could not have happened without leaving something that the search would have seen; whatever the API does not
document counts as undecided.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from airflow_provider_wts.api.errors import WtsNotFoundError
from airflow_provider_wts.api.sessions import get_session, list_sessions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provider_wts.hooks.wts import WtsHook
    from airflow_provider_wts.sending.key import Mark

#: Clocks of workers and of the API differ, and date bounds are not documented: everything this much older is read too.
CLOCK_SLACK = timedelta(minutes=5)

#: Sessions that a search reads at the most; more touched ones leave the send undecided.
MOST_SESSIONS = 2000

#: Sessions of one contact, and messages of one session, that a search reads at the most.
MOST_OF_A_CONTACT = 200
MOST_MESSAGES = 500


class Finding(Enum):
    """What a search says about a send."""

    FOUND = "found"
    ABSENT = "absent"
    UNDECIDED = "undecided"


class Found(NamedTuple):
    """The end of a search.

    :param finding: what it says.
    :param answer: what stands for the answer of the send, where it was found.
    :param reason: why it is undecided, for a person.
    """

    finding: Finding
    answer: Any = None
    reason: str = ""


class Trace(Protocol):
    """Where a kind of send leaves its mark."""

    def search(self, hook: WtsHook, mark: Mark, since: datetime) -> Found:
        """Look for a send.

        :param hook: the hook of the task's connection.
        :param mark: the mark of the send.
        :param since: no earlier than this was it sent.
        """


class InSession:
    """Traces in sessions: the mark in a session's metadata, or as ``senderId`` of one of its messages.

    :param recipient: phone number or handle, as the API spells it.
    :param session_id: the session that was sent into, instead of a recipient.
    :param by_metadata: whether the send carries session metadata.
    :param by_sender: whether the send carries a ``senderId`` that its message shows.
    """

    def __init__(
        self,
        *,
        recipient: str | None = None,
        session_id: str | None = None,
        by_metadata: bool = False,
        by_sender: bool = False,
    ) -> None:
        self._recipient = recipient
        self._session_id = session_id
        self._by_metadata = by_metadata
        self._by_sender = by_sender

    def search(self, hook: WtsHook, mark: Mark, since: datetime) -> Found:
        """Look through the sessions that the send may have touched.

        :param hook: the hook of the task's connection.
        :param mark: the mark of the send.
        :param since: no earlier than this was it sent.
        """
        since = since - CLOCK_SLACK
        sessions, complete = self._sessions(hook, since)
        for session in sessions:
            found = self._found_in(hook, session, mark, since)
            if found is not None:
                return Found(Finding.FOUND, found)
        touched = [session for session in sessions if _touched(session, since)]
        if touched:
            return Found(
                Finding.UNDECIDED,
                reason=f"{len(touched)} session(s) of this contact changed since then, and none shows the mark",
            )
        if not complete:
            return Found(Finding.UNDECIDED, reason="too many sessions changed since then to look through them all")
        return Found(Finding.ABSENT)

    def _sessions(self, hook: WtsHook, since: datetime) -> tuple[list[dict[str, Any]], bool]:
        """Return the sessions that may hold the trace, with their metadata, and whether these are all."""
        if self._session_id is not None:
            return [_whole(hook, self._session_id)], True
        recent = list(
            islice(
                hook.client.items(list_sessions(updated_after=since, include_details=["ContactDetails"])),
                MOST_SESSIONS + 1,
            )
        )
        contact_id = self._contact_id(hook)
        mine = {item["id"]: item for item in recent if item.get("id") and self._is_mine(item, contact_id)}
        if contact_id is not None:
            own = list_sessions(contact_id=contact_id)
            for item in islice(hook.client.items(own), MOST_OF_A_CONTACT):
                # A filter that the API does not know is ignored, and brings the sessions of everybody.
                if item.get("id") and item.get("contactId") == contact_id:
                    mine.setdefault(item["id"], item)
        # A list may leave metadata out, and then only the session itself shows it.
        whole = [item if item.get("metadata") else _whole(hook, item["id"]) for item in mine.values()]
        return whole, len(recent) <= MOST_SESSIONS

    def _contact_id(self, hook: WtsHook) -> str | None:
        from airflow_provider_wts.api.contacts import get_contact_by_phone

        if self._recipient is None or self._recipient.startswith("@"):
            return None
        try:
            contact = hook.run(get_contact_by_phone(self._recipient))
        except WtsNotFoundError:
            return None
        return contact.get("id")

    def _is_mine(self, session: Mapping[str, Any], contact_id: str | None) -> bool:
        """Whether a session belongs to the recipient, or might: in doubt it does."""
        if contact_id is not None and session.get("contactId") == contact_id:
            return True
        details = session.get("contactDetails")
        if not isinstance(details, dict):
            return contact_id is None or session.get("contactId") is None
        if self._recipient is not None and self._recipient.startswith("@"):
            handle = details.get("instagram")
            return not handle or handle.lstrip("@").lower() == self._recipient[1:].lower()
        # The last eight digits: how the API matches Brazil's ninth digit is not documented.
        stored = _digits(details.get("phonenumber"))
        return not stored or stored[-8:] == _digits(self._recipient)[-8:]

    def _found_in(self, hook: WtsHook, session: Mapping[str, Any], mark: Mark, since: datetime) -> Any:
        if self._by_metadata and mark.stands_in(session):
            return dict(session)
        if self._by_sender:
            from airflow_provider_wts.api.messages import list_messages

            messages = hook.client.items(list_messages(str(session["id"]), created_after=since))
            for message in islice(messages, MOST_MESSAGES):
                if message.get("senderId") == mark.key and message.get("direction") != "FROM_HUB":
                    return message
        return None


class InCards:
    """Traces in cards: the mark in a card's metadata.

    :param panel_id: the panel that the card belongs to.
    """

    def __init__(self, panel_id: str) -> None:
        self._panel_id = panel_id

    def search(self, hook: WtsHook, mark: Mark, since: datetime) -> Found:
        """Look through the cards of the panel that were made since.

        :param hook: the hook of the task's connection.
        :param mark: the mark of the send.
        :param since: no earlier than this was it sent.
        """
        from airflow_provider_wts.api.panels import list_cards

        cards = hook.client.items(list_cards(self._panel_id, created_after=since - CLOCK_SLACK))
        return _marked(cards, mark)


class ByPhone:
    """Traces of a new contact: nothing but its phone number.

    :param phone: phone number, as the API spells it.
    """

    def __init__(self, phone: str) -> None:
        self._phone = phone

    def search(self, hook: WtsHook, mark: Mark, since: datetime) -> Found:
        """Look the contact up.

        :param hook: the hook of the task's connection.
        :param mark: not used: a contact may be there for another reason, which is as good.
        :param since: not used.
        """
        from airflow_provider_wts.api.contacts import get_contact_by_phone

        try:
            return Found(Finding.FOUND, hook.run(get_contact_by_phone(self._phone)))
        except WtsNotFoundError:
            return Found(Finding.ABSENT)


def _whole(hook: WtsHook, session_id: str) -> dict[str, Any]:
    session: Any = hook.run(get_session(session_id))
    return cast("dict[str, Any]", session)


def _marked(items: Iterable[dict[str, Any]], mark: Mark) -> Found:
    hidden = False
    for item in items:
        if mark.stands_in(item):
            return Found(Finding.FOUND, item)
        hidden = hidden or "metadata" not in item
    if hidden:
        return Found(Finding.UNDECIDED, reason="the list does not show metadata")
    return Found(Finding.ABSENT)


def _touched(session: Mapping[str, Any], since: datetime) -> bool:
    """Whether anything happened in a session since; a moment that cannot be read counts as recent."""
    names = ("createdAt", "startAt", "updatedAt", "lastMessageOut", "lastInteractionDate")
    return any(moment(session[name]) >= since for name in names if session.get(name))


def moment(text: Any) -> datetime:
    """Read a moment as the API writes it, with 0 to 7 digits of a fraction.

    :param text: the moment; one that cannot be read is taken for the end of time.
    """
    try:
        parsed = datetime.fromisoformat(str(text))
    except ValueError:
        return datetime.max.replace(tzinfo=UTC)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _digits(text: Any) -> str:
    return "".join(character for character in str(text or "") if character.isdigit())
