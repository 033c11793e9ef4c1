"""Reconciliation: asking WTS Chat what happened to one or many sends with an unknown outcome.

A search finds a send, concludes that it is absent, or leaves it undecided. It concludes absence only if the send could
not have happened without leaving something that the search would have seen. Where the API's behavior is not
documented, the send is undecided.
"""

from __future__ import annotations

import logging
from collections import Counter
from datetime import UTC, datetime, timedelta
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from airflow_provider_wts.api.addresses import ending_of, endings_in, is_handle, may_match
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
from airflow_provider_wts.api.messages import DELIVERY_STATUSES, FAILED_STATUSES, list_messages
from airflow_provider_wts.api.sessions import SESSION_STATUSES, get_session, list_sessions
from airflow_provider_wts.api.wire import CLOCK_SLACK, created_at, parse_timestamp
from airflow_provider_wts.hooks import metrics
from airflow_provider_wts.hooks.contacts import contacts_at
from airflow_provider_wts.sending import clock
from airflow_provider_wts.sending.key import Mark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.hooks.wts import WtsHook


log = logging.getLogger(__name__)

T = TypeVar("T")

#: Maximum sessions that a search for one send reads, and a search for many; with more, the send is undecided.
MAX_SESSIONS = 2000

MAX_SESSIONS_OF_MANY = 20_000

#: Maximum sessions of one contact, and messages of one session, that a search reads.
MAX_SESSIONS_OF_CONTACT = 200

MAX_MESSAGES = 500

#: Maximum sessions or cards that a search for one send fetches by ID, for messages or metadata that a list omits.
MAX_FETCHED = 50

#: Maximum sessions that a search for many sends fetches by ID, plus recipients that it checks one at a time.
MAX_FETCHED_OF_MANY = 300

#: Sends of one request that are checked one at a time as a sample of all of them.
SAMPLE = 3

#: Default of ``[wts] effect_lag``: seconds until WTS Chat shows the effect of a request.
DEFAULT_EFFECT_LAG = 120.0

#: Seconds between the first two searches for one send; the interval doubles up to the longest.
_FIRST_INTERVAL = 5.0

_LONGEST_INTERVAL = 30.0

#: Seconds to wait for earlier sends in the queue of WTS Chat before absence means anything. How long a send may stay in
#: the queue is not documented; if nothing shows the queue's progress, the search waits all of this time.
QUEUE_WAIT = 300.0

_QUEUE_INTERVAL = 5.0

#: Statuses of a send that show that it has left the queue; an unknown one does not.
_OUT_OF_QUEUE = (*DELIVERY_STATUSES, *FAILED_STATUSES)

#: Seconds between two searches for the rest of an accepted request, and how long they go on without finding more.
_REST_INTERVAL = 15.0

_STANDSTILL = 60.0

#: By how much a time may be ahead of the server's clock, which HTTP dates show in seconds.
_CLOCK_PRECISION = timedelta(seconds=10)

#: How far a machine's clock may have been set back since a send.
_SET_BACK = timedelta(days=1)

#: Why a send is undecided if its request was accepted.
ACCEPTED = "WTS Chat accepted the request that it was in, and does not show it yet"

_TOO_MANY = "too many sessions changed since then to check them all"

_NOT_COMPLETE = "the sessions of this contact could not be listed completely"

_NO_MARKER = "this kind of send leaves no marker that could be searched for"

# The API may show the metadata only if a detail is requested.
_DETAILS = ("ContactDetails",)


def effect_lag(timeout: float) -> float:
    """Return the seconds after its last byte until the absence of a request's effect proves that it had none.

    :param timeout: seconds that the request may take, because the API may work on it for as long as the client waits.
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
    """What a search concludes about a send."""

    FOUND = "found"
    ABSENT = "absent"
    UNDECIDED = "undecided"


class SearchResult(NamedTuple):
    """The result of a search.

    :param answer: the API's answer to the send as far as WTS Chat shows it, if it was found.
    :param reason: why it is undecided, or why it counts as absent although nothing shows that.
    """

    finding: Finding
    answer: Any = None
    reason: str = ""

    @property
    def shows_absence(self) -> bool:
        """Whether WTS Chat shows that it was not sent."""
        return self.finding is Finding.ABSENT and not self.reason


_ABSENT = SearchResult(Finding.ABSENT)


def _undecided(reason: object) -> SearchResult:
    return SearchResult(Finding.UNDECIDED, reason=str(reason))


class Trace(Protocol):
    """Where a kind of send leaves its marker."""

    def search(self, hook: WtsHook, mark: Mark, since: datetime) -> SearchResult:
        """Search for a send by its marker; it was sent no earlier than ``since``."""


class Traces(NamedTuple):
    """Where a kind of send leaves its marker in sessions.

    :param by_metadata: in the session's metadata.
    :param by_sender: as the ``senderId`` of its message.
    """

    by_metadata: bool
    by_sender: bool


class SentTo(Protocol):
    """A send to a recipient."""

    @property
    def mark(self) -> Mark:
        """The marker of the send."""

    @property
    def to(self) -> str:
        """The recipient, as the API spells it."""


class Unanswered(NamedTuple):
    """Sends of one request whose outcome is unknown.

    :param whole: whether these are all sends of a request that took effect either completely or not at all.
    :param accepted: whether WTS Chat is known to have accepted the request.
    """

    sends: Sequence[Any]
    whole: bool
    accepted: bool = False


class SentInRequests(Protocol):
    """A kind of message that is sent in requests of several recipients."""

    @property
    def traces(self) -> Traces:
        """Where its sends leave their markers."""

    @property
    def request_size(self) -> int:
        """Recipients per request."""

    def status_call(self, send_id: str) -> Call[Any]:
        """Return the call that reads the status of a send."""


# One or many sends: when absence means something ----------------------------------------------------------------------


def reconcile(
    search: Callable[[bool], dict[str, SearchResult]],
    settled_after: float,
    *,
    unconfirmed: str,
    interval: float = float("inf"),
    sleep: Callable[[float], None] | None = None,
) -> dict[str, SearchResult]:
    """Search until all sends are found, or until those that are not can no longer take effect.

    :param search: searches once. Its argument is whether this is the last search, when absence means something.
    :param settled_after: seconds from now in which a request may still take effect.
    :param unconfirmed: the start of the error message, which names the sends.
    :param interval: seconds between the first two searches; by default, the second is the last.
    :param sleep: an exception it raises ends the search.
    :raises WtsUnknownOutcomeError: when WTS Chat could not be asked; another try of the task may ask again.
    """
    started = clock.now()
    while True:
        # The last search begins after that time: a long one may have read its first page earlier.
        is_last = settled_after - clock.waited(started) <= 0
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
        left = max(settled_after - clock.waited(started), 0.0)
        log.info("What may have been sent is not in WTS Chat yet; asking for up to %.0f more seconds.", left)
        (sleep or clock.sleep)(min(left, interval))
        interval = min(2 * interval, _LONGEST_INTERVAL)


def search_for_one(
    hook: WtsHook, trace: Trace | None, mark: Mark, since: datetime, settled_after: float, *, unconfirmed: str
) -> SearchResult:
    """Reconcile one send.

    :param trace: where the send leaves its marker; ``None`` if it leaves none.
    :raises WtsUnknownOutcomeError: as :func:`reconcile`, which explains the other parameters.
    """
    if trace is None:
        return _undecided(_NO_MARKER)

    def search(is_last: bool) -> dict[str, SearchResult]:
        try:
            return {mark.key: _search_since(hook, since, lambda since: trace.search(hook, mark, since))}
        except (WtsRejectedError, WtsIncompleteListError) as error:
            return {mark.key: _unreported(error)}

    settled_after = 0.0 if isinstance(trace, Repeatable) else settled_after
    return reconcile(search, settled_after, unconfirmed=unconfirmed, interval=_FIRST_INTERVAL)[mark.key]


def search_for_many(
    hook: WtsHook,
    kind: SentInRequests,
    requests: Sequence[Unanswered],
    since: datetime,
    *,
    recent: Iterable[str],
    settled_after: float,
    at_a_time: int,
    sleep: Callable[[float], None] | None = None,
) -> dict[str, SearchResult]:
    """Reconcile the sends of some requests, and return the findings by key.

    :param recent: IDs of sends that WTS Chat accepted before them.
    :param at_a_time: see :meth:`SessionSearch.search`.
    :raises WtsUnknownOutcomeError: as :func:`reconcile`, which explains the other parameters.
    """
    sleep = sleep or clock.sleep
    queue = _Queue(hook, kind, list(recent), sleep)

    def search(is_last: bool) -> dict[str, SearchResult]:
        is_past = not is_last or queue.is_past_recent()
        found = sweep()
        if is_last and not queue.recent and any(one.finding is Finding.ABSENT for one in found.values()):
            log.info("WTS Chat does not show the progress of its queue; asking again in %.0f s.", QUEUE_WAIT)
            sleep(QUEUE_WAIT)
            found = sweep()
        if not is_past:
            behind = _undecided("WTS Chat has not yet processed what it accepted before")
            found = {key: behind if one.finding is Finding.ABSENT else one for key, one in found.items()}
        return queue.wait_for_rest(requests, since, found) if is_last else found

    def sweep() -> dict[str, SearchResult]:
        shared = kind.request_size > 1

        def search_since(since: datetime) -> dict[str, SearchResult]:
            return SessionSearch(hook, kind.traces, since).search(requests, shared=shared, at_a_time=at_a_time)

        return _search_since(hook, since, search_since)

    unconfirmed = "It is unknown whether an earlier request took effect"
    return reconcile(search, settled_after, unconfirmed=unconfirmed, sleep=sleep)


def _search_since(hook: WtsHook, since: datetime, search: Callable[[datetime], T]) -> T:
    """Search since a time of this machine's clock, again if the answers show that this clock is ahead."""
    begin = _by_server_clock(hook, since)
    found = search(begin)
    shown = _by_server_clock(hook, since)
    return search(shown) if shown < begin - CLOCK_SLACK else found


def _by_server_clock(hook: WtsHook, since: datetime) -> datetime:
    now = hook.client.now()
    # A clock that is behind only makes the search longer.
    begin = since - max(datetime.now(UTC) - now, timedelta())
    # A time that is still to come is of a clock that has been set back since; it is unknown how far.
    return begin if begin <= now + _CLOCK_PRECISION else now - _SET_BACK


def _unreported(error: WtsError) -> SearchResult:
    return _undecided(f"WTS Chat did not report it ({error})")


class _Queue(NamedTuple):
    """The queue of WTS Chat, as far as it is visible: which of the accepted sends are done."""

    hook: WtsHook
    kind: SentInRequests
    recent: list[str]
    sleep: Callable[[float], None]

    def is_past_recent(self) -> bool:
        """Wait until WTS Chat has processed what it accepted earlier. Only then does absence mean anything."""
        begun, waited = clock.now(), False
        while self.recent and not self._one_is_done():
            if clock.waited(begun) > QUEUE_WAIT:
                return False
            if not waited:
                log.info("Waiting for what WTS Chat accepted earlier, for up to %.0f seconds.", QUEUE_WAIT)
            waited = True
            self.sleep(_QUEUE_INTERVAL)
        if waited:
            # It has only now reached what it accepted later.
            lag = effect_lag(self.hook.client.timeout)
            log.info("WTS Chat has done what it accepted earlier; asking it about the rest in %.0f seconds.", lag)
            self.sleep(lag)
        return True

    def _one_is_done(self) -> bool:
        # Latest first: if that one is done, one call is enough.
        for send_id in self.recent[::-1]:
            try:
                if self.hook.run(self.kind.status_call(send_id)).get("status") in _OUT_OF_QUEUE:
                    return True
            except WtsError as error:
                log.info("WTS Chat did not report the progress of its queue: %s", error)
        return False

    def wait_for_rest(
        self, requests: Sequence[Unanswered], since: datetime, found: dict[str, SearchResult]
    ) -> dict[str, SearchResult]:
        """Wait for the rest of accepted requests, as long as more of their sends appear."""
        begun = moved = clock.now()
        sends = [send for request in requests for send in request.sends]
        while left := [send for send in sends if found[send.mark.key].reason == ACCEPTED]:
            if clock.waited(begun) >= QUEUE_WAIT or clock.waited(moved) >= _STANDSTILL:
                break
            log.info("%s accepted sends are not in WTS Chat yet; asking again in %.0f s.", len(left), _REST_INTERVAL)
            self.sleep(_REST_INTERVAL)
            try:
                new = SessionSearch(self.hook, self.kind.traces, _by_server_clock(self.hook, since)).seen(left)
            except WtsError as error:
                log.info("WTS Chat did not report the progress of its queue: %s", error)
                continue
            if new:
                found, moved = found | new, clock.now()
        return found


# Traces in sessions ---------------------------------------------------------------------------------------------------


class InSession(NamedTuple):
    """The marker in a session's metadata, or as the ``senderId`` of one of its messages.

    :param recipient: phone number or handle, as the API spells it.
    :param session_id: the session that the send went to, instead of a recipient.
    :param is_message: whether the call returns a message, even if only the session shows the marker.
    :param answered: whether the API answered the send. Then a session that changed since shows the marker if it has it.
    :param changed: the sessions that changed since the send, if they have been read.
    """

    recipient: str = ""
    session_id: str | None = None
    by_metadata: bool = True
    by_sender: bool = False
    is_message: bool = False
    answered: bool = False
    changed: list[dict[str, Any]] | None = None

    def search(self, hook: WtsHook, mark: Mark, since: datetime) -> SearchResult:
        """Search the sessions that the send may have touched."""
        since = since - CLOCK_SLACK
        sessions, gap = self._sessions(hook, mark, since)
        touched = hidden = fetched = 0
        for session in sessions:
            if self.by_metadata and mark.is_in(session):
                return SearchResult(Finding.FOUND, self._answer(hook, session, mark, since))
            written = False
            # A send to a session may go to one that has ended; a send to a recipient does not.
            ended = self.session_id is None and _ended(session, since)
            if self.by_sender and not ended:
                fetched += 1
                if fetched > MAX_FETCHED:
                    gap = gap or _TOO_MANY
                    continue
                message, others = _message_of(hook, session, mark.key, since)
                if message is not None:
                    return SearchResult(Finding.FOUND, _as_sent(message, session))
                written = bool(others)
            touched += written or _touched(session, since)
            hidden += not self.by_sender and not _shows_metadata(session) and not ended
        if touched and not self.answered:
            return _undecided(f"{touched} session(s) of this contact changed since then, and none shows the marker")
        if hidden:
            return _undecided(f"{hidden} session(s) of this contact do not show their metadata")
        return _undecided(gap) if gap else _ABSENT

    def _sessions(self, hook: WtsHook, mark: Mark, since: datetime) -> tuple[list[dict[str, Any]], str]:
        """Return the sessions that may have the marker, and why some may be missing (empty if none)."""
        if self.session_id is not None:
            # If it cannot be read, this raises: its absence would prove nothing.
            return [_full_session(hook, self.session_id)], ""
        changed = self.changed
        if changed is None:
            changed = list(islice(hook.client.items(changed_sessions(since)), MAX_SESSIONS + 1))
        gap = _TOO_MANY if len(changed) > MAX_SESSIONS else ""
        contacts = contacts_at(hook, self.recipient)
        contact_ids = {contact["id"] for contact in contacts if contact.get("id")}
        if any(contact and not contact.get("id") for contact in contacts):
            gap = gap or _NOT_COMPLETE
        mine: dict[Any, dict[str, Any]] = {}
        # Not only the changed ones: whether a send updates a session's date of change is not documented.
        for contact_id in contact_ids:
            listing = list_sessions(contact_id=contact_id, status=SESSION_STATUSES, include_details=_DETAILS)
            own = list(islice(hook.client.items(listing), MAX_SESSIONS_OF_CONTACT + 1))
            mine |= {item["id"]: item for item in own if item.get("id") and item.get("contactId") == contact_id}
            # The API may ignore the filter, and return everybody's sessions.
            is_other = any(not item.get("id") or item.get("contactId") != contact_id for item in own)
            if len(own) > MAX_SESSIONS_OF_CONTACT or is_other:
                gap = gap or _NOT_COMPLETE
        for item in changed:
            # The contact's number may have been changed since.
            if not (self.by_metadata and mark.is_in(item)) and not self._is_mine(item, contact_ids):
                continue
            if item.get("id"):
                mine.setdefault(item["id"], item)
            else:
                # It cannot be fetched, and may have the marker.
                gap = gap or _NOT_COMPLETE
        hiding = [one for one in mine.values() if not _shows_metadata(one) and not _ended(one, since)]
        if self.by_metadata:
            # A fetched session may show what the list omits.
            mine |= {one["id"]: _refetched(hook, one) for one in hiding[:MAX_FETCHED]}
            gap = gap or (_TOO_MANY if len(hiding) > MAX_FETCHED else "")
        return list(mine.values()), gap

    def _is_mine(self, session: Mapping[str, Any], contact_ids: set[Any]) -> bool:
        """Whether a session belongs to the recipient, or might."""
        if session.get("contactId") in contact_ids:
            return True
        details = session.get("contactDetails")
        if not isinstance(details, dict):
            return not contact_ids or session.get("contactId") is None
        shown = may_match(details, self.recipient)
        if shown is not None:
            return shown
        # An Instagram contact shows no number, so it cannot be the one that was looked up by number.
        return is_handle(self.recipient) or (not contact_ids and not details.get("instagram"))

    def _answer(self, hook: WtsHook, session: Mapping[str, Any], mark: Mark, since: datetime) -> dict[str, Any]:
        """Return what the call would have answered, from the session that was found."""
        if not self.is_message:
            # Without the requested detail: the answer goes into XCom, which must not name the contact.
            return {name: value for name, value in session.items() if name != "contactDetails"}
        message, others = _message_of(hook, session, mark.key, since)
        if message is None and len(others) == 1 and not others[0].get("senderId"):
            # The API may not show a senderId that the user chose.
            message = others[0]
        return _as_sent(message or {}, session)


class SessionSearch:
    """Searches the sessions that changed recently for many sends at once."""

    def __init__(self, hook: WtsHook, traces: Traces, since: datetime) -> None:
        self._hook = hook
        self._traces = traces
        self._since = since
        self._found: dict[str, SearchResult] = {}
        self._fetched = 0
        # Sessions that may belong to one of the recipients, by the ending of their address.
        self._candidates: dict[str, list[dict[str, Any]]] = {}
        self._without_contact: list[dict[str, Any]] = []
        self._gap = ""

    def search(self, requests: Sequence[Unanswered], *, shared: bool, at_a_time: int) -> dict[str, SearchResult]:
        """Search for all sends, and return the findings by key.

        :param shared: whether requests of this kind contain many sends.
        :param at_a_time: how many requests may have been in progress at a time, if they went out in this order;
            0 if their order is unknown.
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
            # If one send of a request happened, the others may still happen.
            keys = [send.mark.key for send in request.sends]
            if request.accepted or (shared and any(self._found[key].finding is Finding.FOUND for key in keys)):
                absent = [key for key in keys if self._found[key].finding is Finding.ABSENT]
                self._found |= dict.fromkeys(absent, _undecided(ACCEPTED))
        return self._found

    def seen(self, sends: Iterable[SentTo]) -> dict[str, SearchResult]:
        """Search only the changed sessions, and return the sends found there."""
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
            if number >= MAX_SESSIONS_OF_MANY:
                self._gap = _TOO_MANY
                return
            metadata = session.get("metadata")
            if self._traces.by_metadata and isinstance(metadata, dict):
                keys = {value for value in metadata.values() if isinstance(value, str) and value in sends}
                self._found |= {key: _found_in(session) for key in keys if Mark(key).is_in(session)}
            details = session.get("contactDetails")
            if not isinstance(details, dict):
                self._without_contact.append(session)
                details = {}
            for ending in endings_in(details) & endings:
                self._candidates.setdefault(ending, []).append(session)
            if len(self._found) == len(sends):
                return

    def _check_candidates(self, send: SentTo) -> None:
        """Fetch the recipient's sessions whose list items do not show enough."""
        key = send.mark.key
        for session in self._candidates.get(ending_of(send.to), ()):
            if key in self._found or self._fetched >= MAX_FETCHED_OF_MANY:
                return
            if not session.get("id"):
                # _check handles it.
                continue
            if self._traces.by_metadata and not _shows_metadata(session):
                self._fetched += 1
                session["metadata"] = _refetched(self._hook, session).get("metadata")
                if send.mark.is_in(session):
                    self._found[key] = _found_in(session)
            elif self._traces.by_sender:
                self._fetched += 1
                message, _ = _message_of(self._hook, session, key, self._since - CLOCK_SLACK)
                if message is not None:
                    self._found[key] = SearchResult(Finding.FOUND, _as_sent(message, session))

    def _decide(self, requests: Sequence[Unanswered], at_a_time: int) -> None:
        """Decide on the sends that were not found in the changed sessions, request by request."""
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
                # Requests after those that never went out did not go out either, unless something suggests they did.
                for send in (send for later in requests[number + 1 :] for send in later.sends):
                    self._found[send.mark.key] = _ABSENT if self._is_quiet(send) else self._check(send)
                return

    def _is_quiet(self, send: SentTo) -> bool:
        """Whether none of the changed sessions is known to be the recipient's."""
        return ending_of(send.to) not in self._candidates

    def _sample_is_absent(self, left: Sequence[SentTo]) -> bool:
        """Whether a sample of a request's sends conclusively did not happen."""
        quiet = [send for send in left if self._is_quiet(send)]
        if len(left) <= SAMPLE or len(quiet) < SAMPLE:
            return False
        for send in (quiet[0], quiet[len(quiet) // 2], quiet[-1]):
            self._found[send.mark.key] = found = self._check(send)
            if found.finding is not Finding.ABSENT:
                return False
        return True

    def _check(self, send: SentTo) -> SearchResult:
        """Search for one send, in the changed sessions and those of its contact."""
        if self._fetched >= MAX_FETCHED_OF_MANY:
            return _undecided("too many recipients are left to check each of them")
        self._fetched += 1
        changed = self._candidates.get(ending_of(send.to), []) + self._without_contact
        by_metadata, by_sender = self._traces
        trace = InSession(recipient=send.to, by_metadata=by_metadata, by_sender=by_sender, changed=changed)
        try:
            found = trace.search(self._hook, send.mark, self._since)
        except (WtsRejectedError, WtsIncompleteListError) as error:
            return _unreported(error)
        return _undecided(self._gap) if found.finding is Finding.ABSENT and self._gap else found


def changed_sessions(since: datetime) -> Call[Any]:
    """List the sessions that changed since, with their contacts' details."""
    # Name all statuses: whether a list without this filter omits some is not documented.
    return list_sessions(updated_after=since, status=SESSION_STATUSES, include_details=_DETAILS)


def _full_session(hook: WtsHook, session_id: str) -> dict[str, Any]:
    session: Any = hook.run(get_session(session_id, include_details=_DETAILS))
    return dict(session)


def _refetched(hook: WtsHook, session: dict[str, Any]) -> dict[str, Any]:
    """Fetch a session from a list by its ID; if it is gone, return it as the list shows it."""
    try:
        return _full_session(hook, str(required(session, "id", "list_sessions")))
    except WtsNotFoundError:
        return session


def _message_of(
    hook: WtsHook, session: Mapping[str, Any], key: str, since: datetime
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Return the message of a send, and the company's other messages in the session since then."""
    messages = hook.client.items(list_messages(str(required(session, "id", "list_sessions")), created_after=since))
    others: list[dict[str, Any]] = []
    for message in islice(messages, MAX_MESSAGES):
        if message.get("direction") == "FROM_HUB":
            continue
        if str(message.get("senderId")).lower() == key:
            return message, others
        if created_at(message) >= since:
            others.append(message)
    return None, others


def _found_in(session: Mapping[str, Any]) -> SearchResult:
    return SearchResult(Finding.FOUND, {"sessionId": session.get("id")})


def _as_sent(message: Mapping[str, Any], session: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message in the form in which the call that sent it answers: the same fields, without its text."""
    from airflow_provider_wts.api.types import RespSendMessage

    found = {**dict.fromkeys(RespSendMessage.__annotations__), **message, "sessionId": session.get("id")}
    return {name: found[name] for name in RespSendMessage.__annotations__}


def _shows_metadata(item: Mapping[str, Any]) -> bool:
    return isinstance(item.get("metadata"), dict)


def _ended(session: Mapping[str, Any], since: datetime) -> bool:
    """Whether a session had ended before, so that nothing can have been sent to it."""
    ended = parse_timestamp(session.get("endAt"))
    return session.get("status") == "COMPLETED" and ended is not None and ended < since


def _touched(session: Mapping[str, Any], since: datetime) -> bool:
    """Whether anything happened in a session since; an unreadable timestamp counts as recent."""
    names = ("createdAt", "startAt", "endAt", "updatedAt", "lastMessageOut", "lastInteractionDate")
    return any(at >= since for name in names if (at := parse_timestamp(session.get(name))))


# Traces elsewhere -----------------------------------------------------------------------------------------------------


class InCards(NamedTuple):
    """The marker in a card's metadata.

    :param panel_id: returns the ID of the card's panel; called only when there is something to search for.
    """

    panel_id: Callable[[], str]

    def search(self, hook: WtsHook, mark: Mark, since: datetime) -> SearchResult:
        """Search the panel's cards that were created since."""
        from airflow_provider_wts.api.panels import CARD_STATUSES, get_card, list_cards

        since = since - CLOCK_SLACK
        listing = list_cards(self.panel_id(), statuses=CARD_STATUSES, created_after=since)
        fetched, hidden = 0, False
        for number, item in enumerate(hook.client.items(listing)):
            if number >= MAX_SESSIONS:
                return _undecided("too many cards were created since then to check them all")
            card: Any = item
            if not _shows_metadata(card) and created_at(card) >= since:
                fetched += 1
                if fetched > MAX_FETCHED:
                    break
                card = hook.run(get_card(str(required(card, "id", "list_cards"))))
            if mark.is_in(card):
                return SearchResult(Finding.FOUND, card)
            hidden = hidden or (not _shows_metadata(card) and created_at(card) >= since)
        if hidden:
            return _undecided("a card that was created since then does not show its metadata")
        return _undecided("the list of cards does not show their metadata") if fetched > MAX_FETCHED else _ABSENT


class Repeatable:
    """For calls that need no marker: a second identical call has no further effect."""

    def search(self, hook: WtsHook, mark: Mark, since: datetime) -> SearchResult:
        """Report absence, so that the call is made again."""
        return SearchResult(Finding.ABSENT, reason="repeating it does no harm")


class ByPhone(NamedTuple):
    """A new contact's phone number, which is its only marker. A contact that exists for another reason is as good."""

    phone: str

    def search(self, hook: WtsHook, mark: Mark, since: datetime) -> SearchResult:
        """Look up the contact."""
        contacts = contacts_at(hook, self.phone)
        return SearchResult(Finding.FOUND, contacts[0]) if contacts else _ABSENT
