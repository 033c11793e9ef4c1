"""Reconciliation: asking WTS Chat what happened to sends whose answer is unknown, one or many.

A search finds a send, or concludes that it is absent, or leaves it undecided. Absence is concluded only if the send
could not have happened without leaving something that the search would have seen. What the API does not document
counts as undecided.
"""

from __future__ import annotations

import logging
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from airflow_provider_wts.api.addresses import ending_of, endings_in, may_be
from airflow_provider_wts.api.answers import required
from airflow_provider_wts.api.errors import (
    WtsError,
    WtsIncompleteListError,
    WtsInvalidRequestError,
    WtsNotFoundError,
    WtsRejectedError,
    WtsUnknownOutcomeError,
)
from airflow_provider_wts.api.messages import _IN_QUEUE, list_messages
from airflow_provider_wts.api.sessions import get_session, list_sessions
from airflow_provider_wts.api.wire import CLOCK_SLACK, parse_timestamp
from airflow_provider_wts.hooks.contacts import contacts_of, contacts_of_handle
from airflow_provider_wts.sending import clock
from airflow_provider_wts.sending.key import Mark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.types import SessionV2Page
    from airflow_provider_wts.campaigns.delivery import UnansweredRequest
    from airflow_provider_wts.campaigns.message_kinds import MessageKind
    from airflow_provider_wts.hooks.wts import WtsHook


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
            if parse_timestamp(message.get("createdAt")) >= since:
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
            if not _shows_metadata(card) and parse_timestamp(card.get("createdAt")) >= since:
                singly += 1
                if singly > MOST_SINGLY:
                    break
                card = hook.run(get_card(str(required(card, "id", "list_cards"))))
            if mark.stands_in(card):
                return Found(Finding.FOUND, card)
            hidden = hidden or (not _shows_metadata(card) and parse_timestamp(card.get("createdAt")) >= since)
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
    return (
        session.get("status") == "COMPLETED"
        and bool(session.get("endAt"))
        and parse_timestamp(session["endAt"]) < since
    )


def _touched(session: Mapping[str, Any], since: datetime) -> bool:
    """Whether anything happened in a session since; a moment that cannot be read counts as recent."""
    names = ("createdAt", "startAt", "endAt", "updatedAt", "lastMessageOut", "lastInteractionDate")
    return any(parse_timestamp(session[name]) >= since for name in names if session.get(name))


log = logging.getLogger(__name__)

#: Seconds to wait for what the platform was given before, until absence means anything. Nothing is documented about how
#: long a send may stay in its queue; where nothing shows how far the platform is, all of this time is waited.
QUEUE_WAIT = 300.0

_QUEUE_INTERVAL = 5.0

#: Seconds between two looks for the rest of a request that was taken, and without anything new until it is given up.
_REST_INTERVAL = 15.0

_STANDSTILL = 60.0


class ReconcileWait:
    """Asks the API about sends.

    :param hook: the hook of the task's connection.
    :param way: how they went out.
    """

    def __init__(self, hook: WtsHook, way: MessageKind) -> None:
        self._hook = hook
        self._way = way

    @property
    def _lag(self) -> float:
        """Seconds after the last byte of a request in which it may still take effect."""
        return effect_lag(self._hook.client.timeout)

    def at_once(self, lost: Sequence[UnansweredRequest], since: datetime, recent: Iterable[str]) -> dict[str, Found]:
        """Ask about requests that got no answer a moment ago.

        :param lost: the sends.
        :param since: no earlier than this were they sent.
        :param recent: ids of sends that the API took before them.
        """
        lost_at = clock.now()
        found = self._search(lost, since)
        if all(one.finding is Finding.FOUND for one in found.values()):
            return found
        clock.sleep(self._lag - clock.elapsed(lost_at))
        return self._settled(lost, since, recent)

    def later(
        self, lost: Sequence[UnansweredRequest], since: datetime, recent: Iterable[str], *, at_a_time: int, begun: float
    ) -> dict[str, Found]:
        """Ask about what an earlier try left, with one search.

        :param lost: the sends.
        :param since: no earlier than this were they sent.
        :param recent: ids of sends that the API took before them.
        :param at_a_time: how many may have been under way at a time, where they went out in this order; 0 = nothing
            is known of their order.
        :param begun: seconds for which no earlier try can have written a request.
        """
        # However old an intent is: a limit may have held its request until then.
        clock.sleep(self._lag - begun)
        return self._settled(lost, since, recent, at_a_time=at_a_time)

    def _settled(
        self, lost: Sequence[UnansweredRequest], since: datetime, recent: Iterable[str], *, at_a_time: int = 0
    ) -> dict[str, Found]:
        known = list(recent)
        moved_on = not known or self._queue_moved_on(known)
        found = self._search(lost, since, at_a_time=at_a_time)
        if not known and any(one.finding is Finding.ABSENT for one in found.values()):
            log.info("Nothing shows how far WTS Chat is with its queue; looking again in %.0f s.", QUEUE_WAIT)
            clock.sleep(QUEUE_WAIT)
            found = self._search(lost, since, at_a_time=at_a_time)
        if not moved_on:
            reason = "WTS Chat is still at work on what it was given before"
            behind = Found(Finding.UNDECIDED, reason=reason)
            found = {key: behind if one.finding is Finding.ABSENT else one for key, one in found.items()}
        return self._with_the_rest(lost, since, found)

    def _with_the_rest(
        self, lost: Sequence[UnansweredRequest], since: datetime, found: dict[str, Found]
    ) -> dict[str, Found]:
        """Wait for the rest of requests that were taken, as long as more and more of it shows."""
        begun = moved = clock.now()
        while left := [doubt for doubt in _undecided_sends(lost) if found[doubt.key].reason == TAKEN]:
            if clock.elapsed(begun) >= QUEUE_WAIT or clock.elapsed(moved) >= _STANDSTILL:
                break
            clock.sleep(_REST_INTERVAL)
            try:
                new = Sweep(self._hook, self._way.traces, since).seen(left)
            except WtsError as error:
                log.info("WTS Chat does not tell how far it is: %s", error)
                continue
            if new:
                found, moved = found | new, clock.now()
        return found

    def _search(self, lost: Sequence[UnansweredRequest], since: datetime, *, at_a_time: int = 0) -> dict[str, Found]:
        shared = self._way.request_size > 1
        groups = [Group(_undecided_sends([one]), one.whole, shared, one.taken) for one in lost]
        try:
            return Sweep(self._hook, self._way.traces, since).search(groups, at_a_time=at_a_time)
        except WtsError as error:
            raise WtsUnknownOutcomeError(
                f"It is not known whether an earlier request took effect, and WTS Chat could not be asked: {error} "
                "Another try asks again before it sends.",
                repeatable=True,
            ) from error

    def _queue_moved_on(self, recent: list[str]) -> bool:
        """Wait until the platform has worked on what it was given before; only then absence means anything."""
        begun = clock.now()
        waited = False
        while not self._one_is_done(recent):
            if clock.elapsed(begun) > QUEUE_WAIT:
                return False
            waited = True
            clock.sleep(_QUEUE_INTERVAL)
        if waited:
            # It has only now come to what was given after that.
            clock.sleep(self._lag)
        return True

    def _one_is_done(self, recent: list[str]) -> bool:
        # The last one first: where it is done, one call is enough.
        for one in recent[::-1]:
            try:
                if self._hook.run(self._way.status_call(one)).get("status") not in (None, *_IN_QUEUE):
                    return True
            except WtsError as error:
                # No answer is no sign that the queue has moved.
                log.info("WTS Chat does not tell how far it is: %s", error)
        return False


def _undecided_sends(lost: Sequence[UnansweredRequest]) -> list[UndecidedSend]:
    return [UndecidedSend(send.mark.key, send.recipient.to) for one in lost for send in one.sends]


#: Sessions that a sweep reads at the most.
MOST_SESSIONS_OF_MANY = 20_000

#: Sends of one request that are looked at singly to speak for all of them.
SAMPLE = 3

#: Sessions that are read one by one, and recipients that are looked at singly, at the most.
MOST_SINGLY_OF_MANY = 300

#: Why a send is undecided whose request was taken.
TAKEN = "WTS Chat took the request that it was in, and does not show it yet"

_MOST_MESSAGES = 500


class UndecidedSend(NamedTuple):
    """A send of which nobody knows whether it happened.

    :param key: its key.
    :param to: its recipient, as the API spells it.
    """

    key: str
    to: str


class Group(NamedTuple):
    """Sends that went out together.

    :param doubts: the sends.
    :param whole: whether they went out in one request, which happened as a whole or not at all.
    :param shared: whether requests of this kind hold many sends, even if nobody knows any more which.
    :param taken: whether the API is known to have taken the request.
    """

    doubts: list[UndecidedSend]
    whole: bool
    shared: bool = False
    taken: bool = False


class Traces(NamedTuple):
    """What a kind of send leaves at the API.

    :param by_metadata: whether it puts its mark into the session's metadata.
    :param by_sender: whether its message shows the mark as ``senderId``.
    """

    by_metadata: bool
    by_sender: bool


_ABSENT = Found(Finding.ABSENT)


class Sweep:
    """Looks for sends in the sessions that changed since.

    :param hook: the hook of the task's connection.
    :param traces: what these sends leave.
    :param since: no earlier than this were they sent.
    """

    def __init__(self, hook: WtsHook, traces: Traces, since: datetime) -> None:
        self._hook = hook
        self._traces = traces
        self._since = since
        self._found: dict[str, Found] = {}
        self._singly = 0
        # Sessions that may belong to one of the recipients, by what tells them apart.
        self._candidates: dict[str, list[dict[str, Any]]] = {}
        self._nobodys: list[dict[str, Any]] = []
        self._gap = ""

    def search(self, groups: Sequence[Group], *, at_a_time: int = 0) -> dict[str, Found]:
        """Look for all sends, and say of each what became of it.

        :param groups: the sends.
        :param at_a_time: how many groups may have been under way at a time, where they went out in this order;
            0 = nothing is known of their order.
        """
        doubts = {doubt.key: doubt for group in groups for doubt in group.doubts}
        if not self._traces.by_metadata and not self._traces.by_sender:
            reason = "this kind of send leaves no mark that could be searched for"
            return {key: Found(Finding.UNDECIDED, reason=reason) for key in doubts}
        try:
            self._walk(doubts)
            self._look_into_candidates(doubts)
        except (WtsRejectedError, WtsIncompleteListError) as error:
            reason = f"WTS Chat does not tell ({error})"
            return {key: self._found.get(key, Found(Finding.UNDECIDED, reason=reason)) for key in doubts}
        self._decide(groups, at_a_time)
        for group in groups:
            self._doubt_absence(group)
        return self._found

    def seen(self, doubts: Iterable[UndecidedSend]) -> dict[str, Found]:
        """Look for sends in the changed sessions only, and return those that are there.

        :param doubts: the sends.
        """
        by_key = {doubt.key: doubt for doubt in doubts}
        self._walk(by_key)
        self._look_into_candidates(by_key)
        return self._found

    def _walk(self, doubts: dict[str, UndecidedSend]) -> None:
        """Read the sessions that changed, and stop as soon as all sends are found."""
        addresses = {ending_of(doubt.to) for doubt in doubts.values()}
        changed = self._hook.client.items(changed_sessions(self._since - CLOCK_SLACK))
        for number, session in enumerate(changed):
            if number >= MOST_SESSIONS_OF_MANY:
                self._gap = "too many sessions changed since then to look through them all"
                return
            metadata = session.get("metadata")
            if self._traces.by_metadata and isinstance(metadata, dict):
                for value in metadata.values():
                    if isinstance(value, str) and value in doubts and Mark(value).stands_in(session):
                        self._found[value] = _found_in(session)
            details = session.get("contactDetails")
            if not isinstance(details, dict):
                self._nobodys.append(session)
                details = {}
            for address in endings_in(details) & addresses:
                self._candidates.setdefault(address, []).append(session)
            if len(self._found) == len(doubts):
                return

    def _look_into_candidates(self, doubts: dict[str, UndecidedSend]) -> None:
        """Look into the sessions whose list item does not say it all."""
        for doubt in doubts.values():
            for session in self._candidates.get(ending_of(doubt.to), ()):
                if doubt.key in self._found or self._singly >= MOST_SINGLY_OF_MANY:
                    break
                if self._traces.by_metadata and not isinstance(session.get("metadata"), dict):
                    self._read_whole(session)
                    if Mark(doubt.key).stands_in(session):
                        self._found[doubt.key] = _found_in(session)
                elif self._traces.by_sender:
                    self._read_messages(session, doubt.key)

    def _read_whole(self, session: dict[str, Any]) -> None:
        self._singly += 1
        try:
            session["metadata"] = self._hook.run(get_session(required(session, "id", "list_sessions"))).get("metadata")
        except WtsNotFoundError:
            session["metadata"] = {}

    def _read_messages(self, session: dict[str, Any], key: str) -> None:
        self._singly += 1
        session_id = required(session, "id", "list_sessions")
        messages = self._hook.client.items(list_messages(session_id, created_after=self._since - CLOCK_SLACK))
        for message in islice(messages, _MOST_MESSAGES):
            if message.get("senderId") == key and message.get("direction") != "FROM_HUB":
                self._found[key] = Found(Finding.FOUND, {**message, "sessionId": session_id})
                return

    def _decide(self, groups: Sequence[Group], at_a_time: int) -> None:
        """Decide on what the walk left open, group by group."""
        last_seen = max(
            (n for n, group in enumerate(groups) if any(d.key in self._found for d in group.doubts)), default=-1
        )
        absent_in_a_row = 0
        for number, group in enumerate(groups):
            left = [doubt for doubt in group.doubts if doubt.key not in self._found]
            none_found = len(left) == len(group.doubts)
            if none_found and group.whole and not group.taken and self._sample_is_absent(left):
                self._found.update(dict.fromkeys((doubt.key for doubt in left if self._is_quiet(doubt)), _ABSENT))
            for doubt in left:
                if doubt.key not in self._found:
                    self._found[doubt.key] = self._look_singly(doubt)
            all_absent = all(self._found[doubt.key].finding is Finding.ABSENT for doubt in group.doubts)
            absent_in_a_row = absent_in_a_row + 1 if all_absent and number > last_seen else 0
            if 0 < at_a_time <= absent_in_a_row and len(left) >= SAMPLE:
                # Behind those that never went out, nothing did, where nothing speaks against it.
                later = [doubt for group in groups[number + 1 :] for doubt in group.doubts]
                self._found.update(
                    {doubt.key: _ABSENT if self._is_quiet(doubt) else self._look_singly(doubt) for doubt in later}
                )
                return

    def _doubt_absence(self, group: Group) -> None:
        """Where one send of a request happened, the rest may be about to happen."""
        findings = [self._found[doubt.key].finding for doubt in group.doubts]
        if group.taken or (group.shared and Finding.FOUND in findings):
            for doubt, finding in zip(group.doubts, findings, strict=True):
                if finding is Finding.ABSENT:
                    self._found[doubt.key] = Found(Finding.UNDECIDED, reason=TAKEN)

    def _is_quiet(self, doubt: UndecidedSend) -> bool:
        """Whether none of the changed sessions is the recipient's, as far as they tell."""
        return ending_of(doubt.to) not in self._candidates

    def _sample_is_absent(self, left: Sequence[UndecidedSend]) -> bool:
        """Whether a few sends of a request, spread over all of it, conclusively did not happen."""
        quiet = [doubt for doubt in left if self._is_quiet(doubt)]
        if len(left) <= SAMPLE or len(quiet) < SAMPLE:
            return False
        sample = [quiet[0], quiet[len(quiet) // 2], quiet[-1]]
        for doubt in sample:
            found = self._look_singly(doubt)
            self._found[doubt.key] = found
            if found.finding is not Finding.ABSENT:
                return False
        return True

    def _look_singly(self, doubt: UndecidedSend) -> Found:
        if self._singly >= MOST_SINGLY_OF_MANY:
            return Found(Finding.UNDECIDED, reason="too many recipients are left to look at each of them")
        self._singly += 1
        changed = self._candidates.get(ending_of(doubt.to), []) + self._nobodys
        trace = _Seen(doubt.to, self._traces, changed)
        try:
            found = trace.search(self._hook, Mark(doubt.key), self._since)
        except (WtsRejectedError, WtsIncompleteListError) as error:
            return Found(Finding.UNDECIDED, reason=f"WTS Chat does not tell ({error})")
        if found.finding is Finding.ABSENT and self._gap:
            return Found(Finding.UNDECIDED, reason=self._gap)
        return found


class _Seen(InSession):
    """The search for one send, with the changed sessions that the sweep has read already."""

    def __init__(self, recipient: str, traces: Traces, changed: list[dict[str, Any]]) -> None:
        super().__init__(recipient=recipient, by_metadata=traces.by_metadata, by_sender=traces.by_sender)
        self._changed_sessions = changed

    def _changed(self, hook: WtsHook, since: datetime) -> list[dict[str, Any]]:
        return self._changed_sessions


def _found_in(session: dict[str, Any]) -> Found:
    return Found(Finding.FOUND, {"sessionId": session.get("id")})
