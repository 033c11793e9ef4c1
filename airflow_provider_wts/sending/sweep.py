"""Asking the API what became of many sends at once.

One walk over the sessions that changed since finds the marks of a whole chunk. Only what it leaves open is looked at
singly. Where the sends went out in one request and none of them left a trace, a few of them speak for all whose
sessions nobody touched: the request was taken as a whole, or not at all. Where one of them is found, it was taken, and
the platform may be at work on the rest: none of them is absent.
"""

from __future__ import annotations

import logging
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wts.api.addresses import ending_of, endings_in
from airflow_provider_wts.api.answers import required
from airflow_provider_wts.api.errors import WtsIncompleteListError, WtsNotFoundError, WtsRejectedError
from airflow_provider_wts.api.messages import list_messages
from airflow_provider_wts.api.sessions import get_session
from airflow_provider_wts.sending.key import Mark
from airflow_provider_wts.sending.reconcile import CLOCK_SLACK, Finding, Found, InSession, changed_sessions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from airflow_provider_wts.hooks.wts import WtsHook

log = logging.getLogger(__name__)

#: Sessions that a sweep reads at the most.
MOST_SESSIONS = 20_000

#: Sends of one request that are looked at singly to speak for all of them.
SAMPLE = 3

#: Sessions that are read one by one, and recipients that are looked at singly, at the most.
MOST_SINGLY = 300

#: Why a send is undecided whose request was taken.
TAKEN = "WTS Chat took the request that it was in, and does not show it yet"

_MOST_MESSAGES = 500


class Doubt(NamedTuple):
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

    doubts: list[Doubt]
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

    def seen(self, doubts: Iterable[Doubt]) -> dict[str, Found]:
        """Look for sends in the changed sessions only, and return those that are there.

        :param doubts: the sends.
        """
        by_key = {doubt.key: doubt for doubt in doubts}
        self._walk(by_key)
        self._look_into_candidates(by_key)
        return self._found

    def _walk(self, doubts: dict[str, Doubt]) -> None:
        """Read the sessions that changed, and stop as soon as all sends are found."""
        addresses = {ending_of(doubt.to) for doubt in doubts.values()}
        changed = self._hook.client.items(changed_sessions(self._since - CLOCK_SLACK))
        for number, session in enumerate(changed):
            if number >= MOST_SESSIONS:
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

    def _look_into_candidates(self, doubts: dict[str, Doubt]) -> None:
        """Look into the sessions whose list item does not say it all."""
        for doubt in doubts.values():
            for session in self._candidates.get(ending_of(doubt.to), ()):
                if doubt.key in self._found or self._singly >= MOST_SINGLY:
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

    def _is_quiet(self, doubt: Doubt) -> bool:
        """Whether none of the changed sessions is the recipient's, as far as they tell."""
        return ending_of(doubt.to) not in self._candidates

    def _sample_is_absent(self, left: Sequence[Doubt]) -> bool:
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

    def _look_singly(self, doubt: Doubt) -> Found:
        if self._singly >= MOST_SINGLY:
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
