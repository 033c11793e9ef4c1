"""One pass over WTS Chat for the outcomes of campaigns: changed sessions, and lookups of what lists do not show."""

from __future__ import annotations

import logging
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.addresses import spellings
from airflow_provider_wts.api.answers import required
from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.errors import WtsError
from airflow_provider_wts.api.messages import list_messages
from airflow_provider_wts.api.sessions import SESSION_STATUSES, get_session, list_sessions
from airflow_provider_wts.hooks.contacts import contacts_at
from airflow_provider_wts.waiting.conditions import reports_missing
from airflow_provider_wts.waiting.session_changes import OVERLAP, ChangedSessions, check_each

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from airflow_provider_wts.campaigns.outcomes import Outcomes, SentRow
    from airflow_provider_wts.hooks.wts import WtsHook


log = logging.getLogger(__name__)

#: Details of a session that rows show, without and with those of its contact.
DETAILS = ("AgentDetails", "DepartmentsDetails", "ClassificationDetails")

WITH_CONTACT = (*DETAILS, "ContactDetails")

#: Lookups after which their results are saved.
_SAVE_INTERVAL = 200

#: Maximum sessions of one contact in which a message is searched for.
_MAX_SESSIONS_OF_CONTACT = 10

#: How much earlier than a send its message may be dated.
_SLACK = timedelta(minutes=5)

#: Statuses of a send that has not gone out yet, so that no session shows it.
_WAITS = ("QUEUED", "PROCESSING")


class OutcomeSweep:
    """Reads the outcomes of sends."""

    def __init__(self, hook: WtsHook, outcomes: Outcomes, *, max_lookups: int) -> None:
        self._hook = hook
        self._outcomes = outcomes
        self._left = max_lookups
        self._has_statuses = False
        #: How many sends WTS Chat does not know by their IDs.
        self.unknown_sends = 0

    def changed(self, since: datetime, details: Sequence[str]) -> ChangedSessions:
        """Read the sessions that changed since, and return the list, which shows where the next one begins."""
        changed = ChangedSessions(self._hook.client, since - OVERLAP, details)
        for session in changed:
            self._outcomes.add_session(session)
        return changed

    def messages(self) -> None:
        """Read the status of each message that may still change, unless this pass did so before it was killed."""
        count = self._outcomes.count_unsettled()
        per_minute = 200 * self._hook.connection.rate_limit_percent / 100
        log.info("Reading %s messages one at a time, which takes about %.0f minutes.", f"{count:,}", count / per_minute)
        self._has_statuses = True
        while sends := self._outcomes.unsettled(_SAVE_INTERVAL):
            asked = self._see_statuses({send.key: send for send in sends})
            self._outcomes.keep()
            if asked < len(sends):
                log.warning("The statuses of messages cannot be read now; the next pass continues.")
                return

    def _see_statuses(self, sends: Mapping[str, SentRow]) -> int:
        return check_each(lambda key: self._see_status(sends[key]), sends, None).calls

    def lookups(self) -> None:
        """Look up the sends whose session no list showed, and the sessions that lists do not show completely."""
        self._outcomes.find_answered()
        sends = {send.key: send for send in self._outcomes.not_found(max(0, self._left))}
        check_each(lambda key: self._look_up(sends[key]), self._within_bounds(sends), None)
        # One more than may be read, to see whether that is all.
        sessions = self._outcomes.unread(max(0, self._left) + 1)
        check_each(self._read, self._within_bounds(sessions), None)
        if self._left <= 0 and (len(sessions) > 0 or self._outcomes.not_found(1)):
            log.warning("max_lookups was reached. The next pass looks up what is still unknown.")

    def _within_bounds(self, ids: Iterable[str]) -> Iterator[str]:
        for number, one in enumerate(ids, 1):
            if self._left <= 0:
                return
            yield one
            if number % _SAVE_INTERVAL == 0:
                self._outcomes.keep()

    def _see_status(self, send: SentRow) -> None:
        self._outcomes.ask(send.key)
        try:
            answer: Any = self._hook.run(Call(send.traces["status_operation"], path={"id": send.api_id}))
        except WtsError as error:
            self.unknown_sends += reports_missing(error)
            raise
        if isinstance(answer, dict) and answer:
            self._outcomes.add_status(send.key, answer)

    def _look_up(self, send: SentRow) -> None:
        """Read the status of a send, which names its session; failing that, search the sessions of its contact."""
        if send.api_id is None or self._has_statuses:
            self._outcomes.ask(send.key)
        else:
            self._left -= 1
            try:
                self._see_status(send)
            except WtsError as error:
                if not reports_missing(error):
                    raise
        if not self._outcomes.is_found(send.key) and self._outcomes.message_status(send.key) not in _WAITS:
            self._search_contact(send)

    def _search_contact(self, send: SentRow) -> None:
        """Search for the marker of a send in the sessions of its contact, and in their messages."""
        contacts = contacts_at(self._hook, send.to)
        self._left -= 3 if send.to[:1] == "@" else len(spellings(send.to))
        for contact in contacts:
            if not isinstance(contact.get("id"), str):
                continue
            call = list_sessions(contact_id=str(contact["id"]), status=SESSION_STATUSES, include_details=DETAILS)
            sessions = [
                one for one in islice(self._hook.client.items(call), 100) if one.get("contactId") == contact["id"]
            ]
            self._left -= 1
            for session in sessions[:_MAX_SESSIONS_OF_CONTACT]:
                self._search_session(send, session)

    def _search_session(self, send: SentRow, session: Mapping[str, Any]) -> None:
        session_id = str(required(session, "id", "list_sessions"))
        if send.traces["by_metadata"] and not isinstance(session.get("metadata"), dict):
            self._read(session_id)
        else:
            self._outcomes.add_session(session)
        if send.traces["by_sender"] and not self._outcomes.is_found(send.key):
            self._left -= 1
            messages = self._hook.client.items(list_messages(session_id, created_after=send.sent_at - _SLACK))
            if any(isinstance(one, dict) and str(one.get("senderId")).lower() == send.key for one in messages):
                self._outcomes.find(send.key, session_id.lower())

    def _read(self, session_id: str) -> None:
        self._left -= 1
        self._outcomes.ask(session_id.lower())
        session: Any = self._hook.run(get_session(session_id, include_details=DETAILS))
        self._outcomes.add_session({**session, "id": session_id}, alone=True)
