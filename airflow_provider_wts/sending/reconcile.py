"""Asking the API what became of a send that nobody remembers.

A search finds the send, or concludes that it is absent, or leaves it undecided. Absence is concluded only where the
send could not have happened without leaving something that the search would have seen; whatever the API does not
document counts as undecided.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from airflow_provider_wts.api.addresses import may_be
from airflow_provider_wts.api.answers import required
from airflow_provider_wts.api.call import moment
from airflow_provider_wts.api.errors import WtsInvalidRequestError, WtsNotFoundError
from airflow_provider_wts.api.sessions import get_session, list_sessions
from airflow_provider_wts.sending.contacts import contacts_of, contacts_of_handle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.types import SessionV2Page
    from airflow_provider_wts.hooks.wts import WtsHook
    from airflow_provider_wts.sending.key import Mark

#: Clocks of workers and of the API differ, and date bounds are not documented: everything this much older is read too.
CLOCK_SLACK = timedelta(minutes=5)

#: Sessions that a search reads at the most; more touched ones leave the send undecided.
MOST_SESSIONS = 2000

#: Sessions of one contact, and messages of one session, that a search reads at the most.
MOST_OF_A_CONTACT = 200
MOST_MESSAGES = 500

#: Sessions or cards that a search looks into one by one, for their messages or for metadata that a list leaves out.
MOST_SINGLY = 50

#: All of them by name: whether a list without this filter leaves some out is not documented.
_ALL_STATUSES = ("UNDEFINED", "STARTED", "PENDING", "IN_PROGRESS", "COMPLETED", "HIDDEN")
_ALL_CARD_STATUSES = ("OPEN", "WON", "LOST", "ARCHIVED")

#: Seconds in which WTS Chat may show an effect that it had, if ``[wts] effect_lag`` is not set.
DEFAULT_EFFECT_LAG = 120.0

_TOO_MANY = "too many sessions changed since then to look into each of them"

# A detail asked for may be what makes the API show the metadata, too.
_DETAILS = ("ContactDetails",)


def effect_lag(timeout: float) -> float:
    """Return the seconds after the last byte of a request, until its absence proves that it had no effect.

    :param timeout: seconds that the request may take: the API may be at work on it as long as a client may wait.
    :raises WtsInvalidRequestError: when ``[wts] effect_lag`` is not a number of seconds.
    """
    from airflow.providers.common.compat.sdk import conf

    text = conf.get("wts", "effect_lag", fallback="").strip()
    try:
        lag = float(text) if text else DEFAULT_EFFECT_LAG
    except ValueError:
        lag = -1.0
    if not 0 <= lag < float("inf"):
        raise WtsInvalidRequestError(
            f"[wts] effect_lag: {text!r} is not a number of seconds. Nothing was sent. Example: 120"
        )
    return max(timeout, lag)


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


class _Sessions(NamedTuple):
    """The sessions that may hold a trace, and why these may not be all; empty where they are."""

    items: list[dict[str, Any]]
    gap: str


class InSession:
    """Traces in sessions: the mark in a session's metadata, or as ``senderId`` of one of its messages.

    :param recipient: phone number or handle, as the API spells it.
    :param session_id: the session that was sent into, instead of a recipient.
    :param by_metadata: whether the send carries session metadata.
    :param by_sender: whether the send carries a ``senderId`` that its message shows.
    :param is_message: whether its call answers a message, also if only the session shows the marker.
    """

    def __init__(
        self,
        *,
        recipient: str | None = None,
        session_id: str | None = None,
        by_metadata: bool = False,
        by_sender: bool = False,
        is_message: bool = False,
    ) -> None:
        self._recipient = recipient
        self._session_id = session_id
        self._by_metadata = by_metadata
        self._by_sender = by_sender
        self._is_message = is_message

    def search(self, hook: WtsHook, mark: Mark, since: datetime) -> Found:
        """Look through the sessions that the send may have touched.

        :param hook: the hook of the task's connection.
        :param mark: the mark of the send.
        :param since: no earlier than this was it sent.
        """
        since = since - CLOCK_SLACK
        sessions = self._sessions(hook, since)
        gap = sessions.gap
        touched = hidden = singly = 0
        for session in sessions.items:
            if self._by_metadata and mark.stands_in(session):
                return Found(Finding.FOUND, self._answer(hook, session, mark, since))
            written = False
            # What names its session may go into one that has ended; what names a recipient does not.
            ended = self._session_id is None and _ended(session, since)
            if self._by_sender and not ended:
                singly += 1
                if singly > MOST_SINGLY:
                    gap = gap or _TOO_MANY
                    continue
                message, others = self._message(hook, session, mark, since)
                if message is not None:
                    return Found(Finding.FOUND, _as_sent(message, session))
                written = bool(others)
            touched += written or _touched(session, since)
            hidden += not self._by_sender and not _shows_metadata(session) and not ended
        if touched:
            reason = f"{touched} session(s) of this contact changed since then, and none shows the mark"
        elif hidden:
            reason = f"{hidden} session(s) of this contact do not show their metadata"
        else:
            reason = gap
        return Found(Finding.UNDECIDED, reason=reason) if reason else Found(Finding.ABSENT)

    def _sessions(self, hook: WtsHook, since: datetime) -> _Sessions:
        """Return the sessions that may hold the trace, with their metadata."""
        if self._session_id is not None:
            # Nothing is absent from a session that is not there to be looked at.
            return _Sessions([_whole(hook, self._session_id)], "")
        recent = self._changed(hook, since)
        gap = "too many sessions changed since then to look through them all" if len(recent) > MOST_SESSIONS else ""
        contact_ids = self._contact_ids(hook)
        mine: dict[Any, dict[str, Any]] = {}
        # Beside the changed ones: whether a send moves the date of a session's change is not documented.
        for contact_id in contact_ids:
            listing = list_sessions(contact_id=contact_id, status=_ALL_STATUSES, include_details=_DETAILS)
            own = list(islice(hook.client.items(listing), MOST_OF_A_CONTACT + 1))
            mine |= {item["id"]: item for item in own if item.get("id") and item.get("contactId") == contact_id}
            # A filter that the API does not know is ignored, and brings the sessions of everybody.
            if len(own) > MOST_OF_A_CONTACT or any(item.get("contactId") != contact_id for item in own):
                gap = gap or "the sessions of this contact could not be listed completely"
        for item in recent:
            if item.get("id") and self._is_mine(item, contact_ids):
                mine.setdefault(item["id"], item)
        return self._with_metadata(hook, list(mine.values()), gap, since)

    def _changed(self, hook: WtsHook, since: datetime) -> list[dict[str, Any]]:
        """Return the sessions that changed since; one more than a search reads says that there are more."""
        return list(islice(hook.client.items(changed_sessions(since)), MOST_SESSIONS + 1))

    def _with_metadata(self, hook: WtsHook, sessions: list[dict[str, Any]], gap: str, since: datetime) -> _Sessions:
        """Read the sessions singly whose metadata the list left out; only they themselves show it then."""
        if not self._by_metadata:
            return _Sessions(sessions, gap)
        whole: list[dict[str, Any]] = []
        singly = 0
        for session in sessions:
            if _shows_metadata(session) or _ended(session, since):
                whole.append(session)
                continue
            singly += 1
            if singly > MOST_SINGLY:
                whole += sessions[len(whole) :]
                return _Sessions(whole, gap or _TOO_MANY)
            try:
                whole.append(_whole(hook, session["id"]))
            except WtsNotFoundError:
                whole.append(session)
        return _Sessions(whole, gap)

    def _contact_ids(self, hook: WtsHook) -> set[Any]:
        recipient = self._recipient or ""
        contacts = contacts_of_handle(hook, recipient) if recipient.startswith("@") else contacts_of(hook, recipient)
        return {contact["id"] for contact in contacts if contact.get("id")}

    def _is_mine(self, session: Mapping[str, Any], contact_ids: set[Any]) -> bool:
        """Whether a session belongs to the recipient, or might: in doubt it does."""
        if session.get("contactId") in contact_ids:
            return True
        details = session.get("contactDetails")
        if not isinstance(details, dict):
            return not contact_ids or session.get("contactId") is None
        recipient = self._recipient or ""
        shown = may_be(details, recipient)
        if shown is not None:
            return shown
        # A contact of another network shows no number; it cannot be the one that was looked up by its number.
        return recipient.startswith("@") or (not contact_ids and not details.get("instagram"))

    def _message(
        self, hook: WtsHook, session: Mapping[str, Any], mark: Mark, since: datetime
    ) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """Return the message of the send, and what else the company wrote in the session since."""
        from airflow_provider_wts.api.messages import list_messages

        messages = hook.client.items(list_messages(str(required(session, "id", "list_sessions")), created_after=since))
        others: list[dict[str, Any]] = []
        for message in islice(messages, MOST_MESSAGES):
            if message.get("direction") == "FROM_HUB":
                continue
            if message.get("senderId") == mark.key:
                return message, others
            if moment(message.get("createdAt")) >= since:
                others.append(message)
        return None, others

    def _answer(self, hook: WtsHook, session: Mapping[str, Any], mark: Mark, since: datetime) -> dict[str, Any]:
        """Return what the call of a send answers whose session was found."""
        if not self._is_message:
            return _as_answered(session)
        message, others = self._message(hook, session, mark, since)
        if message is None and len(others) == 1 and not others[0].get("senderId"):
            # A sender id of the user's own may not show.
            message = others[0]
        return _as_sent(message or {}, session)


class InCards:
    """Traces in cards: the mark in a card's metadata.

    :param panel_id: tells the panel that the card belongs to; asked only when there is something to search for.
    """

    def __init__(self, panel_id: Callable[[], str]) -> None:
        self._panel_id = panel_id

    def search(self, hook: WtsHook, mark: Mark, since: datetime) -> Found:
        """Look through the cards of the panel that were made since.

        :param hook: the hook of the task's connection.
        :param mark: the mark of the send.
        :param since: no earlier than this was it sent.
        """
        from airflow_provider_wts.api.panels import get_card, list_cards

        since = since - CLOCK_SLACK
        listing = list_cards(self._panel_id(), statuses=_ALL_CARD_STATUSES, created_after=since)
        singly, hidden = 0, False
        for item in _first(hook.client.items(listing), MOST_SESSIONS):
            if item is None:
                return Found(Finding.UNDECIDED, reason="too many cards were made since then to look through them all")
            card: Any = item
            if not _shows_metadata(card) and moment(card.get("createdAt")) >= since:
                singly += 1
                if singly > MOST_SINGLY:
                    break
                card = hook.run(get_card(str(required(card, "id", "list_cards"))))
            if mark.stands_in(card):
                return Found(Finding.FOUND, card)
            hidden = hidden or (not _shows_metadata(card) and moment(card.get("createdAt")) >= since)
        if hidden:
            return Found(Finding.UNDECIDED, reason="a card that was made since then does not show its metadata")
        if singly > MOST_SINGLY:
            return Found(Finding.UNDECIDED, reason="the list of cards does not show their metadata")
        return Found(Finding.ABSENT)


class Harmless:
    """No trace, and none needed: a second identical call finds what the first one made."""

    def search(self, hook: WtsHook, mark: Mark, since: datetime) -> Found:
        """Say that it may be made again.

        :param hook: not used.
        :param mark: not used.
        :param since: not used.
        """
        return Found(Finding.ABSENT)


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
        contacts = contacts_of(hook, self._phone)
        return Found(Finding.FOUND, contacts[0]) if contacts else Found(Finding.ABSENT)


def changed_sessions(since: datetime) -> Call[SessionV2Page]:
    """Return the list of the sessions that changed since a moment, with what tells whose they are.

    :param since: the moment.
    """
    return list_sessions(updated_after=since, status=_ALL_STATUSES, include_details=_DETAILS)


def _whole(hook: WtsHook, session_id: str) -> dict[str, Any]:
    session: Any = hook.run(get_session(session_id, include_details=_DETAILS))
    return dict(session)


def _as_answered(session: Mapping[str, Any]) -> dict[str, Any]:
    """Return a session without what was asked for in addition: it goes into XCom, and names the contact."""
    return {name: value for name, value in session.items() if name != "contactDetails"}


def _as_sent(message: Mapping[str, Any], session: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message as the call that sent it answers it: with the same names, and without its text."""
    from airflow_provider_wts.api.types import RespSendMessage

    found = {**dict.fromkeys(RespSendMessage.__annotations__), **message, "sessionId": session.get("id")}
    return {name: found[name] for name in RespSendMessage.__annotations__}


def _first(items: Iterable[dict[str, Any]], most: int) -> Iterable[dict[str, Any] | None]:
    """Return items up to a number of them, and ``None`` in the place of the rest."""
    for number, item in enumerate(items):
        yield item if number < most else None


def _shows_metadata(item: Mapping[str, Any]) -> bool:
    return isinstance(item.get("metadata"), dict)


def _ended(session: Mapping[str, Any], since: datetime) -> bool:
    """Whether a session was over already, so that nothing can have been sent into it."""
    return session.get("status") == "COMPLETED" and bool(session.get("endAt")) and moment(session["endAt"]) < since


def _touched(session: Mapping[str, Any], since: datetime) -> bool:
    """Whether anything happened in a session since; a moment that cannot be read counts as recent."""
    names = ("createdAt", "startAt", "endAt", "updatedAt", "lastMessageOut", "lastInteractionDate")
    return any(moment(session[name]) >= since for name in names if session.get(name))
