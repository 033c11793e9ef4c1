"""Reconciliation: asking WTS Chat what happened to sends whose answer is unknown, one or many.

A search finds a send, or concludes that it is absent, or leaves it undecided. Absence is concluded only if the send
could not have happened without leaving something that the search would have seen. What the API does not document
counts as undecided.
"""

from __future__ import annotations

import logging
from collections import Counter
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from airflow_provider_wts.api.addresses import ending_of, endings_in, is_handle, may_be
from airflow_provider_wts.api.answers import required
from airflow_provider_wts.api.errors import (
    WtsError,
    WtsIncompleteListError,
    WtsInvalidRequestError,
    WtsNotFoundError,
    WtsRejectedError,
    WtsUnknownOutcomeError,
    quoted,
)
from airflow_provider_wts.api.messages import _PROGRESS, FAILED_STATUSES, list_messages
from airflow_provider_wts.api.sessions import SESSION_STATUSES, get_session, list_sessions
from airflow_provider_wts.api.wire import CLOCK_SLACK, parse_timestamp
from airflow_provider_wts.hooks import metrics
from airflow_provider_wts.hooks.contacts import contacts_at
from airflow_provider_wts.sending import clock
from airflow_provider_wts.sending.key import Mark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.hooks.wts import WtsHook


log = logging.getLogger(__name__)

#: Sessions that a search for one send reads at most, and a search for many; more leave a send undecided.
MOST_SESSIONS = 2000

MOST_SESSIONS_OF_MANY = 20_000

#: Sessions of one contact, and messages of one session, that a search reads at most.
MOST_OF_A_CONTACT = 200

MOST_MESSAGES = 500

#: Sessions or cards that a search for one send reads one at a time, for messages or metadata that a list omits.
MOST_ALONE = 50

#: Sessions that a search for many sends reads one at a time, and recipients that it checks one at a time.
MOST_ALONE_OF_MANY = 300

#: Sends of one request that are checked one at a time to speak for all of them.
SAMPLE = 3

#: Seconds in which WTS Chat may show an effect that it had, if ``[wts] effect_lag`` is not set.
DEFAULT_EFFECT_LAG = 120.0

#: Seconds between the first two searches for one send; the interval doubles up to the longest.
_FIRST_INTERVAL = 5.0

_LONGEST_INTERVAL = 30.0

#: Seconds to wait for what WTS Chat accepted before, until absence means anything. Nothing is documented about how long
#: a send may stay in its queue; if nothing shows how far WTS Chat is, all of this time is waited.
QUEUE_WAIT = 300.0

_QUEUE_INTERVAL = 5.0

#: Statuses of a send that show that it has left the queue; an unknown one does not.
_OUT_OF_QUEUE = (*_PROGRESS, *FAILED_STATUSES)

#: Seconds between two searches for the rest of a request that was accepted, and without anything new until it is given
#: up.
_REST_INTERVAL = 15.0

_STANDSTILL = 60.0

#: Why a send is undecided whose request was accepted.
ACCEPTED = "WTS Chat accepted the request that it was in, and does not show it yet"

_TOO_MANY = "too many sessions changed since then to check them all"

_NOT_COMPLETE = "the sessions of this contact could not be listed completely"

_NO_MARKER = "this kind of send leaves no marker that could be searched for"

# A detail asked for may be what makes the API show the metadata, too.
_DETAILS = ("ContactDetails",)


def effect_lag(timeout: float) -> float:
    """Return the seconds after the last byte of a request, until its absence proves that it had no effect.

    :param timeout: seconds that the request may take: the API may work on it as long as a client may wait.
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
            f"[wts] effect_lag: {quoted(text)} is not a number of seconds. Nothing was sent. Example: 120"
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
    :param answer: the answer of the send, as far as WTS Chat shows it, if it was found.
    :param reason: why it is undecided, for a person.
    """

    finding: Finding
    answer: Any = None
    reason: str = ""


_ABSENT = Found(Finding.ABSENT)


def _undecided(reason: object) -> Found:
    return Found(Finding.UNDECIDED, reason=str(reason))


class Trace(Protocol):
    """Where a kind of send leaves its marker."""

    def search(self, hook: WtsHook, mark: Mark, since: datetime) -> Found:
        """Search for a send by its marker; it was sent no earlier than ``since``."""


class Traces(NamedTuple):
    """What a kind of send leaves in sessions.

    :param by_metadata: whether it puts its marker into the session's metadata.
    :param by_sender: whether its message shows the marker as ``senderId``.
    """

    by_metadata: bool
    by_sender: bool


class SentTo(Protocol):
    """A send to a recipient."""

    @property
    def mark(self) -> Mark:
        """Its marker."""

    @property
    def to(self) -> str:
        """Its recipient, as the API spells it."""


class Unanswered(NamedTuple):
    """Sends of one request whose outcome is unknown.

    :param sends: the sends.
    :param whole: whether they are all of the request, which happened as a whole or not at all.
    :param accepted: whether WTS Chat is known to have accepted the request.
    """

    sends: Sequence[Any]
    whole: bool
    accepted: bool = False


class SentInRequests(Protocol):
    """How many sends go out."""

    @property
    def traces(self) -> Traces:
        """What they leave in sessions."""

    @property
    def request_size(self) -> int:
        """Recipients of one request."""

    def status_call(self, send_id: str) -> Call[Any]:
        """Return the call that asks for the status of a send."""


# One or many: when absence means something ----------------------------------------------------------------------------


def reconcile(
    search: Callable[[bool], dict[str, Found]],
    settled_after: float,
    *,
    unconfirmed: str,
    interval: float = float("inf"),
    sleep: Callable[[float], None] | None = None,
) -> dict[str, Found]:
    """Search until all sends are found, or until what is not found can no longer take effect.

    :param search: searches once; gets whether it is the last search, which begins when absence means something.
    :param settled_after: seconds from now in which a request may still take effect.
    :param unconfirmed: says whose outcome is unknown, for a person.
    :param interval: seconds between the first two searches; by default all of the time is between them.
    :param sleep: how to wait; what it raises ends the search.
    :raises WtsUnknownOutcomeError: when WTS Chat could not be asked; another try of the task may ask again.
    """
    started = clock.now()
    while True:
        # The last search begins after all of it: a long one may have read its first page before.
        is_last = settled_after - clock.elapsed(started) <= 0
        try:
            found = search(is_last)
        except WtsError as error:
            metrics.count("wts.reconciliations", finding="unanswered")
            raise WtsUnknownOutcomeError(
                f"{unconfirmed}, and WTS Chat could not be asked: {error} The next try asks again before it sends.",
                repeatable=True,
            ) from error
        if is_last or all(one.finding is Finding.FOUND for one in found.values()):
            for finding, number in Counter(one.finding.value for one in found.values()).items():
                metrics.count("wts.reconciliations", number, finding=finding)
            return found
        (sleep or clock.sleep)(min(settled_after - clock.elapsed(started), interval))
        interval = min(2 * interval, _LONGEST_INTERVAL)


def search_for_one(
    hook: WtsHook, trace: Trace | None, mark: Mark, since: datetime, settled_after: float, *, unconfirmed: str
) -> Found:
    """Ask what happened to one send.

    :param trace: where the send leaves its marker; ``None`` if it leaves none.
    :param mark: its marker.
    :param since: it was sent no earlier than this.
    :raises WtsUnknownOutcomeError: as :func:`reconcile`, whose other parameters these are.
    """
    if trace is None:
        return _undecided(_NO_MARKER)

    def search(is_last: bool) -> dict[str, Found]:
        try:
            return {mark.key: trace.search(hook, mark, since)}
        except (WtsRejectedError, WtsIncompleteListError) as error:
            return {mark.key: _unreported(error)}

    settled_after = 0.0 if isinstance(trace, Harmless) else settled_after
    return reconcile(search, settled_after, unconfirmed=unconfirmed, interval=_FIRST_INTERVAL)[mark.key]


def search_for_many(
    hook: WtsHook,
    kind: SentInRequests,
    requests: Sequence[Unanswered],
    since: datetime,
    *,
    recent: Iterable[str],
    settled_after: float,
    at_a_time: int = 0,
    sleep: Callable[[float], None] | None = None,
) -> dict[str, Found]:
    """Ask what happened to the sends of some requests, by their keys.

    :param kind: how they went out.
    :param since: they were sent no earlier than this.
    :param recent: ids of sends that WTS Chat accepted before them.
    :param at_a_time: see :meth:`SessionSearch.search`.
    :param sleep: how to wait; what it raises ends the search.
    :raises WtsUnknownOutcomeError: as :func:`reconcile`.
    """
    sleep = sleep or clock.sleep
    queue = _Queue(hook, kind, list(recent), sleep)

    def search(is_last: bool) -> dict[str, Found]:
        is_past = not is_last or queue.is_past_recent()
        found = sweep()
        if is_last and not queue.recent and any(one.finding is Finding.ABSENT for one in found.values()):
            log.info("Nothing shows how far WTS Chat is with its queue; asking again in %.0f s.", QUEUE_WAIT)
            sleep(QUEUE_WAIT)
            found = sweep()
        if not is_past:
            behind = _undecided("WTS Chat has not yet processed what it accepted before")
            found = {key: behind if one.finding is Finding.ABSENT else one for key, one in found.items()}
        return queue.with_the_rest(requests, since, found) if is_last else found

    def sweep() -> dict[str, Found]:
        shared = kind.request_size > 1
        return SessionSearch(hook, kind.traces, since).search(requests, shared=shared, at_a_time=at_a_time)

    unconfirmed = "It is unknown whether an earlier request took effect"
    return reconcile(search, settled_after, unconfirmed=unconfirmed, sleep=sleep)


def _unreported(error: WtsError) -> Found:
    return _undecided(f"WTS Chat did not report it ({error})")


class _Queue(NamedTuple):
    """The queue of WTS Chat, as far as it shows: which of the sends that it accepted are done."""

    hook: WtsHook
    kind: SentInRequests
    recent: list[str]
    sleep: Callable[[float], None]

    def is_past_recent(self) -> bool:
        """Wait until WTS Chat has processed what it accepted before; only then absence means anything."""
        begun, waited = clock.now(), False
        while self.recent and not self._one_is_done():
            if clock.elapsed(begun) > QUEUE_WAIT:
                return False
            waited = True
            self.sleep(_QUEUE_INTERVAL)
        if waited:
            # It has only now come to what was accepted after that.
            self.sleep(effect_lag(self.hook.client.timeout))
        return True

    def _one_is_done(self) -> bool:
        # The last one first: if it is done, one call is enough.
        for send_id in self.recent[::-1]:
            try:
                if self.hook.run(self.kind.status_call(send_id)).get("status") in _OUT_OF_QUEUE:
                    return True
            except WtsError as error:
                # No answer is no sign that the queue has moved.
                log.info("WTS Chat did not report how far it is: %s", error)
        return False

    def with_the_rest(
        self, requests: Sequence[Unanswered], since: datetime, found: dict[str, Found]
    ) -> dict[str, Found]:
        """Wait for the rest of requests that were accepted, as long as more and more of it shows."""
        begun = moved = clock.now()
        sends = [send for request in requests for send in request.sends]
        while left := [send for send in sends if found[send.mark.key].reason == ACCEPTED]:
            if clock.elapsed(begun) >= QUEUE_WAIT or clock.elapsed(moved) >= _STANDSTILL:
                break
            self.sleep(_REST_INTERVAL)
            try:
                new = SessionSearch(self.hook, self.kind.traces, since).seen(left)
            except WtsError as error:
                log.info("WTS Chat did not report how far it is: %s", error)
                continue
            if new:
                found, moved = found | new, clock.now()
        return found


# Traces in sessions ---------------------------------------------------------------------------------------------------


class InSession(NamedTuple):
    """Traces in sessions: the marker in a session's metadata, or as ``senderId`` of one of its messages.

    :param recipient: phone number or handle, as the API spells it.
    :param session_id: the session that was sent into, instead of a recipient.
    :param by_metadata: whether the send carries session metadata.
    :param by_sender: whether the send carries a ``senderId`` that its message shows.
    :param is_message: whether its call answers a message, also if only the session shows the marker.
    :param changed: the sessions that changed since, if they have been read.
    """

    recipient: str = ""
    session_id: str | None = None
    by_metadata: bool = False
    by_sender: bool = False
    is_message: bool = False
    changed: list[dict[str, Any]] | None = None

    def search(self, hook: WtsHook, mark: Mark, since: datetime) -> Found:
        """Search the sessions that the send may have touched."""
        since = since - CLOCK_SLACK
        sessions, gap = self._sessions(hook, since)
        touched = hidden = alone = 0
        for session in sessions:
            if self.by_metadata and mark.is_in(session):
                return Found(Finding.FOUND, self._answer(hook, session, mark, since))
            written = False
            # What names its session may go into one that has ended; what names a recipient does not.
            ended = self.session_id is None and _ended(session, since)
            if self.by_sender and not ended:
                alone += 1
                if alone > MOST_ALONE:
                    gap = gap or _TOO_MANY
                    continue
                message, others = _message_of(hook, session, mark.key, since)
                if message is not None:
                    return Found(Finding.FOUND, _as_sent(message, session))
                written = bool(others)
            touched += written or _touched(session, since)
            hidden += not self.by_sender and not _shows_metadata(session) and not ended
        if touched:
            return _undecided(f"{touched} session(s) of this contact changed since then, and none shows the marker")
        if hidden:
            return _undecided(f"{hidden} session(s) of this contact do not show their metadata")
        return _undecided(gap) if gap else _ABSENT

    def _sessions(self, hook: WtsHook, since: datetime) -> tuple[list[dict[str, Any]], str]:
        """Return the sessions that may hold the trace, and why these may not be all, or an empty text."""
        if self.session_id is not None:
            # Nothing is absent from a session that cannot be read.
            return [_whole(hook, self.session_id)], ""
        changed = self.changed
        if changed is None:
            changed = list(islice(hook.client.items(changed_sessions(since)), MOST_SESSIONS + 1))
        gap = _TOO_MANY if len(changed) > MOST_SESSIONS else ""
        contacts = contacts_at(hook, self.recipient)
        contact_ids = {contact["id"] for contact in contacts if contact.get("id")}
        if any(contact and not contact.get("id") for contact in contacts):
            gap = gap or _NOT_COMPLETE
        mine: dict[Any, dict[str, Any]] = {}
        # Beside the changed ones: whether a send moves the date of a session's change is not documented.
        for contact_id in contact_ids:
            listing = list_sessions(contact_id=contact_id, status=SESSION_STATUSES, include_details=_DETAILS)
            own = list(islice(hook.client.items(listing), MOST_OF_A_CONTACT + 1))
            mine |= {item["id"]: item for item in own if item.get("id") and item.get("contactId") == contact_id}
            # A filter that the API does not know is ignored, and brings the sessions of everybody.
            is_other = any(not item.get("id") or item.get("contactId") != contact_id for item in own)
            if len(own) > MOST_OF_A_CONTACT or is_other:
                gap = gap or _NOT_COMPLETE
        for item in (item for item in changed if self._is_mine(item, contact_ids)):
            if item.get("id"):
                mine.setdefault(item["id"], item)
            else:
                # It cannot be read, and may hold the trace.
                gap = gap or _NOT_COMPLETE
        hiding = [one for one in mine.values() if not _shows_metadata(one) and not _ended(one, since)]
        if self.by_metadata:
            # Only the session itself may show what the list omits.
            mine |= {one["id"]: _whole_or(hook, one) for one in hiding[:MOST_ALONE]}
            gap = gap or (_TOO_MANY if len(hiding) > MOST_ALONE else "")
        return list(mine.values()), gap

    def _is_mine(self, session: Mapping[str, Any], contact_ids: set[Any]) -> bool:
        """Whether a session belongs to the recipient, or might."""
        if session.get("contactId") in contact_ids:
            return True
        details = session.get("contactDetails")
        if not isinstance(details, dict):
            return not contact_ids or session.get("contactId") is None
        shown = may_be(details, self.recipient)
        if shown is not None:
            return shown
        # A contact of another network shows no number; it cannot be the one that was looked up by its number.
        return is_handle(self.recipient) or (not contact_ids and not details.get("instagram"))

    def _answer(self, hook: WtsHook, session: Mapping[str, Any], mark: Mark, since: datetime) -> dict[str, Any]:
        """Return what the call of a send answers whose session was found."""
        if not self.is_message:
            # Without what was asked for in addition: the answer goes into XCom, and must not name the contact.
            return {name: value for name, value in session.items() if name != "contactDetails"}
        message, others = _message_of(hook, session, mark.key, since)
        if message is None and len(others) == 1 and not others[0].get("senderId"):
            # A sender id of the user's own may not show.
            message = others[0]
        return _as_sent(message or {}, session)


class SessionSearch:
    """Searches the sessions that changed since for many sends at once.

    :param hook: the hook of the task's connection.
    :param traces: what these sends leave.
    :param since: they were sent no earlier than this.
    """

    def __init__(self, hook: WtsHook, traces: Traces, since: datetime) -> None:
        self._hook = hook
        self._traces = traces
        self._since = since
        self._found: dict[str, Found] = {}
        self._alone = 0
        # Sessions that may belong to one of the recipients, by the ending of their address.
        self._candidates: dict[str, list[dict[str, Any]]] = {}
        self._of_unknown: list[dict[str, Any]] = []
        self._gap = ""

    def search(self, requests: Sequence[Unanswered], *, shared: bool, at_a_time: int = 0) -> dict[str, Found]:
        """Search for all sends, and return what happened to each, by its key.

        :param requests: the sends, by request.
        :param shared: whether requests of this kind hold many sends.
        :param at_a_time: how many requests may have been in progress at a time, if they went out in this order;
            0 = nothing is known of their order.
        """
        sends = [send for request in requests for send in request.sends]
        if not any(self._traces):
            return {send.mark.key: _undecided(_NO_MARKER) for send in sends}
        try:
            self.seen(sends)
        except (WtsRejectedError, WtsIncompleteListError) as error:
            return {send.mark.key: _unreported(error) for send in sends} | self._found
        self._decide(requests, at_a_time)
        for request in requests:
            # If one send of a request happened, the rest may be about to happen.
            keys = [send.mark.key for send in request.sends]
            if request.accepted or (shared and any(self._found[key].finding is Finding.FOUND for key in keys)):
                absent = [key for key in keys if self._found[key].finding is Finding.ABSENT]
                self._found |= dict.fromkeys(absent, _undecided(ACCEPTED))
        return self._found

    def seen(self, sends: Iterable[SentTo]) -> dict[str, Found]:
        """Search the changed sessions only, and return the sends that they show."""
        by_key = {send.mark.key: send for send in sends}
        self._walk(by_key)
        for send in by_key.values():
            self._check_candidates(send)
        return self._found

    def _walk(self, sends: Mapping[str, SentTo]) -> None:
        """Read the sessions that changed, and stop as soon as all sends are found."""
        endings = {ending_of(send.to) for send in sends.values()}
        changed = self._hook.client.items(changed_sessions(self._since - CLOCK_SLACK))
        for number, session in enumerate(changed):
            if number >= MOST_SESSIONS_OF_MANY:
                self._gap = _TOO_MANY
                return
            metadata = session.get("metadata")
            if self._traces.by_metadata and isinstance(metadata, dict):
                keys = {value for value in metadata.values() if isinstance(value, str) and value in sends}
                self._found |= {key: _found_in(session) for key in keys if Mark(key).is_in(session)}
            details = session.get("contactDetails")
            if not isinstance(details, dict):
                self._of_unknown.append(session)
                details = {}
            for ending in endings_in(details) & endings:
                self._candidates.setdefault(ending, []).append(session)
            if len(self._found) == len(sends):
                return

    def _check_candidates(self, send: SentTo) -> None:
        """Read the sessions whose list item does not say everything."""
        key = send.mark.key
        for session in self._candidates.get(ending_of(send.to), ()):
            if key in self._found or self._alone >= MOST_ALONE_OF_MANY:
                return
            if not session.get("id"):
                # The check of this recipient comes to it.
                continue
            if self._traces.by_metadata and not _shows_metadata(session):
                self._alone += 1
                session["metadata"] = _whole_or(self._hook, session).get("metadata")
                if send.mark.is_in(session):
                    self._found[key] = _found_in(session)
            elif self._traces.by_sender:
                self._alone += 1
                message, _ = _message_of(self._hook, session, key, self._since - CLOCK_SLACK)
                if message is not None:
                    self._found[key] = Found(Finding.FOUND, _as_sent(message, session))

    def _decide(self, requests: Sequence[Unanswered], at_a_time: int) -> None:
        """Decide on the sends that the changed sessions do not show, request by request."""
        seen = [any(send.mark.key in self._found for send in request.sends) for request in requests]
        last_seen = max((number for number, one in enumerate(seen) if one), default=-1)
        absent_in_a_row = 0
        for number, request in enumerate(requests):
            left = [send for send in request.sends if send.mark.key not in self._found]
            none_found = len(left) == len(request.sends)
            if none_found and request.whole and not request.accepted and self._sample_is_absent(left):
                self._found |= {send.mark.key: _ABSENT for send in left if self._is_quiet(send)}
            for send in left:
                if send.mark.key not in self._found:
                    self._found[send.mark.key] = self._check(send)
            all_absent = all(self._found[send.mark.key].finding is Finding.ABSENT for send in request.sends)
            absent_in_a_row = absent_in_a_row + 1 if all_absent and number > last_seen else 0
            if 0 < at_a_time <= absent_in_a_row and len(left) >= SAMPLE:
                # Behind those that never went out, nothing did, if nothing speaks against it.
                for send in (send for later in requests[number + 1 :] for send in later.sends):
                    self._found[send.mark.key] = _ABSENT if self._is_quiet(send) else self._check(send)
                return

    def _is_quiet(self, send: SentTo) -> bool:
        """Whether none of the changed sessions is the recipient's, as far as they show."""
        return ending_of(send.to) not in self._candidates

    def _sample_is_absent(self, left: Sequence[SentTo]) -> bool:
        """Whether a few sends of a request, spread over all of it, conclusively did not happen."""
        quiet = [send for send in left if self._is_quiet(send)]
        if len(left) <= SAMPLE or len(quiet) < SAMPLE:
            return False
        for send in (quiet[0], quiet[len(quiet) // 2], quiet[-1]):
            self._found[send.mark.key] = found = self._check(send)
            if found.finding is not Finding.ABSENT:
                return False
        return True

    def _check(self, send: SentTo) -> Found:
        """Search for one send, among the changed sessions that have been read and those of its contact."""
        if self._alone >= MOST_ALONE_OF_MANY:
            return _undecided("too many recipients are left to check each of them")
        self._alone += 1
        changed = self._candidates.get(ending_of(send.to), []) + self._of_unknown
        by_metadata, by_sender = self._traces
        trace = InSession(recipient=send.to, by_metadata=by_metadata, by_sender=by_sender, changed=changed)
        try:
            found = trace.search(self._hook, send.mark, self._since)
        except (WtsRejectedError, WtsIncompleteListError) as error:
            return _unreported(error)
        return _undecided(self._gap) if found.finding is Finding.ABSENT and self._gap else found


def changed_sessions(since: datetime) -> Call[Any]:
    """Return the list of the sessions that changed since, with what shows whose they are."""
    # All statuses by name: whether a list without this filter omits some is not documented.
    return list_sessions(updated_after=since, status=SESSION_STATUSES, include_details=_DETAILS)


def _whole(hook: WtsHook, session_id: str) -> dict[str, Any]:
    session: Any = hook.run(get_session(session_id, include_details=_DETAILS))
    return dict(session)


def _whole_or(hook: WtsHook, session: dict[str, Any]) -> dict[str, Any]:
    """Return a session with all that only it shows; as the list shows it, if it is gone."""
    try:
        return _whole(hook, str(required(session, "id", "list_sessions")))
    except WtsNotFoundError:
        return session


def _message_of(
    hook: WtsHook, session: Mapping[str, Any], key: str, since: datetime
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Return the message of a send, and what else the company wrote in the session since."""
    messages = hook.client.items(list_messages(str(required(session, "id", "list_sessions")), created_after=since))
    others: list[dict[str, Any]] = []
    for message in islice(messages, MOST_MESSAGES):
        if message.get("direction") == "FROM_HUB":
            continue
        if str(message.get("senderId")).lower() == key:
            return message, others
        if parse_timestamp(message.get("createdAt")) >= since:
            others.append(message)
    return None, others


def _found_in(session: Mapping[str, Any]) -> Found:
    return Found(Finding.FOUND, {"sessionId": session.get("id")})


def _as_sent(message: Mapping[str, Any], session: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message as the call that sent it answers it: with the same names, and without its text."""
    from airflow_provider_wts.api.types import RespSendMessage

    found = {**dict.fromkeys(RespSendMessage.__annotations__), **message, "sessionId": session.get("id")}
    return {name: found[name] for name in RespSendMessage.__annotations__}


def _shows_metadata(item: Mapping[str, Any]) -> bool:
    return isinstance(item.get("metadata"), dict)


def _ended(session: Mapping[str, Any], since: datetime) -> bool:
    """Whether a session was over already, so that nothing can have been sent into it."""
    ended = session.get("status") == "COMPLETED" and bool(session.get("endAt"))
    return ended and parse_timestamp(session["endAt"]) < since


def _touched(session: Mapping[str, Any], since: datetime) -> bool:
    """Whether anything happened in a session since; a timestamp that cannot be read counts as recent."""
    names = ("createdAt", "startAt", "endAt", "updatedAt", "lastMessageOut", "lastInteractionDate")
    return any(parse_timestamp(session[name]) >= since for name in names if session.get(name))


# Traces elsewhere -----------------------------------------------------------------------------------------------------


class InCards(NamedTuple):
    """Traces in cards: the marker in a card's metadata.

    :param panel_id: returns the panel that the card belongs to; called only when there is something to search for.
    """

    panel_id: Callable[[], str]

    def search(self, hook: WtsHook, mark: Mark, since: datetime) -> Found:
        """Search the cards of the panel that were made since."""
        from airflow_provider_wts.api.panels import CARD_STATUSES, get_card, list_cards

        since = since - CLOCK_SLACK
        listing = list_cards(self.panel_id(), statuses=CARD_STATUSES, created_after=since)
        alone, hidden = 0, False
        for number, item in enumerate(hook.client.items(listing)):
            if number >= MOST_SESSIONS:
                return _undecided("too many cards were made since then to check them all")
            card: Any = item
            if not _shows_metadata(card) and parse_timestamp(card.get("createdAt")) >= since:
                alone += 1
                if alone > MOST_ALONE:
                    break
                card = hook.run(get_card(str(required(card, "id", "list_cards"))))
            if mark.is_in(card):
                return Found(Finding.FOUND, card)
            hidden = hidden or (not _shows_metadata(card) and parse_timestamp(card.get("createdAt")) >= since)
        if hidden:
            return _undecided("a card that was made since then does not show its metadata")
        return _undecided("the list of cards does not show their metadata") if alone > MOST_ALONE else _ABSENT


class Harmless:
    """No trace, and none needed: a second identical call finds what the first one made."""

    def search(self, hook: WtsHook, mark: Mark, since: datetime) -> Found:
        """Say that it may be made again."""
        return _ABSENT


class ByPhone(NamedTuple):
    """Traces of a new contact: nothing but its phone number. One that is there for another reason is as good.

    :param phone: phone number, as the API spells it.
    """

    phone: str

    def search(self, hook: WtsHook, mark: Mark, since: datetime) -> Found:
        """Look the contact up."""
        contacts = contacts_at(hook, self.phone)
        return Found(Finding.FOUND, contacts[0]) if contacts else _ABSENT
