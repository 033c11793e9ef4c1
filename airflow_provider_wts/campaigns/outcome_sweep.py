"""One pass over WTS Chat for the outcomes of campaigns: the sessions that changed, and what the lists do not show."""

from __future__ import annotations

import logging
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.answers import required
from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.messages import list_messages
from airflow_provider_wts.api.sessions import SESSION_STATUSES, get_session, list_sessions
from airflow_provider_wts.hooks.contacts import contacts_of, contacts_of_handle
from airflow_provider_wts.waiting.session_changes import OVERLAP, ChangedSessions, checked_alone

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from airflow_provider_wts.campaigns.outcomes import Outcomes, SentRow
    from airflow_provider_wts.hooks.wts import WtsHook


log = logging.getLogger(__name__)

DETAILS = ("AgentDetails", "DepartmentsDetails", "ClassificationDetails")

#: Lookups after which what they showed is kept.
_KEPT_AFTER = 200

#: Sessions of one contact in which a message is looked for.
_MOST_OF_A_CONTACT = 10

#: The longest time between a send and its message.
_QUEUE = timedelta(minutes=5)


class OutcomeSweep:
    """Reads what came of sends.

    :param hook: the hook of the connection.
    :param outcomes: where it goes.
    :param keep: keeps what is known so far.
    :param max_lookups: requests about single sends and sessions.
    """

    def __init__(self, hook: WtsHook, outcomes: Outcomes, keep: Callable[[], None], *, max_lookups: int) -> None:
        self._hook = hook
        self._outcomes = outcomes
        self._keep = keep
        self._left = max_lookups
        # Sessions that no send is known to be in yet.
        self._others: dict[str, Mapping[str, Any]] = {}
        self._asked: set[str] = set()

    def changed(self, since: datetime) -> ChangedSessions:
        """Take in the sessions that changed since, and return the list, which says where the next one begins.

        :param since: lower bound of the change.
        """
        changed = ChangedSessions(self._hook.client, since - OVERLAP, DETAILS)
        for session in changed:
            if not self._outcomes.see_session(session):
                self._others[str(session["id"]).lower()] = session
        return changed

    def messages(self) -> None:
        """Ask for the status of each message that may still change."""
        asked = {send.key: send for send in self._outcomes.unsettled()}
        per_minute = 200 * self._hook.connection.rate_limit_percent / 100
        log.info("%s messages are read one at a time, about %.0f minutes.", f"{len(asked):,}", len(asked) / per_minute)
        self._statuses(asked)

    def lookups(self, asked_before: Mapping[str, int]) -> None:
        """Look up the sends whose session no list showed, and the sessions that no list shows whole.

        :param asked_before: how often each send was looked up before; those seldom looked up come first.
        """
        sends = sorted(self._outcomes.not_found(), key=lambda send: asked_before.get(send.key, 0))
        for send in sends:
            if send.session_id is not None and send.api_id is None:
                self._outcomes.find(send.key, send.session_id.lower())
        statuses = {send.key: send for send in sends if send.api_id and send.key not in self._asked}
        self._statuses(dict(islice(statuses.items(), max(0, self._left))), counts=True)
        for send in [send for send in sends if send.key not in self._outcomes.marked]:
            if self._left <= 0:
                break
            self._asked.add(send.key)
            self._left -= checked_alone(self._of_contact, [send.key], None).calls
        self._read_sessions()
        if self._left <= 0:
            log.warning("max_lookups is reached. What is still unknown is looked up in the next pass.")

    @property
    def asked(self) -> Collection[str]:
        """The keys of the sends that were looked up."""
        return self._asked

    def _statuses(self, sends: Mapping[str, SentRow], *, counts: bool = False) -> None:
        def status(key: str) -> Any:
            send = sends[key]
            return self._hook.run(Call(send.traces["status_operation"], path={"id": send.api_id}))

        keys = list(sends)
        for start in range(0, len(keys), _KEPT_AFTER):
            chunk = keys[start : start + _KEPT_AFTER]
            found = checked_alone(status, chunk, {})
            for key, answer in found.seen.items():
                if isinstance(answer, dict) and answer:
                    self._outcomes.see_send(key, answer)
            self._asked.update(chunk)
            self._left -= found.calls if counts else 0
            self._join()
            self._keep()
            if found.calls < len(chunk):
                log.warning("The statuses of messages cannot be read now; the next pass goes on.")
                return

    def _join(self) -> None:
        """Take in the sessions that the list showed before it was known that a send went into them."""
        for session_id in [one for one, session in self._outcomes.sessions.items() if not session]:
            if (session := self._others.pop(session_id, None)) is not None:
                self._outcomes.see_session(session)

    def _of_contact(self, key: str) -> None:
        """Look for the marker of a send in the sessions of its contact, and in their messages."""
        send = self._outcomes.sends[key]
        contacts = contacts_of_handle(self._hook, send.to) if send.to[:1] == "@" else contacts_of(self._hook, send.to)
        for contact in contacts:
            if not isinstance(contact.get("id"), str):
                continue
            call = list_sessions(contact_id=str(contact["id"]), status=SESSION_STATUSES, include_details=DETAILS)
            sessions = [
                one for one in islice(self._hook.client.items(call), 100) if one.get("contactId") == contact["id"]
            ]
            self._left -= 2
            for session in sessions[:_MOST_OF_A_CONTACT]:
                self._look_into(send, session)

    def _look_into(self, send: SentRow, session: Mapping[str, Any]) -> None:
        session_id = str(required(session, "id", "list_sessions"))
        if send.traces["by_metadata"] and not isinstance(session.get("metadata"), dict):
            session = self._whole(session_id)
        self._others[session_id.lower()] = session
        if not self._outcomes.see_session(session) and send.traces["by_sender"]:
            self._left -= 1
            messages = self._hook.client.items(list_messages(session_id, created_after=send.sent_at - _QUEUE))
            if any(isinstance(one, dict) and one.get("senderId") == send.key for one in messages):
                self._outcomes.find(send.key, session_id.lower())
        self._join()

    def _read_sessions(self) -> None:
        sessions = islice(list(self._outcomes.unread()), max(0, self._left))
        found = checked_alone(self._whole, sessions, {})
        for session in found.seen.values():
            if session:
                self._outcomes.see_session(session, alone=True)
        self._left -= found.calls

    def _whole(self, session_id: str) -> Mapping[str, Any]:
        session: Any = self._hook.run(get_session(session_id, include_details=DETAILS))
        return {**session, "id": session_id}
