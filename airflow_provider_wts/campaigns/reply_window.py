"""The 24 hours after a customer's last message in which an official WhatsApp channel accepts more than templates."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wts.api import directory
from airflow_provider_wts.api.addresses import addresses_in, identity_of
from airflow_provider_wts.api.answers import required
from airflow_provider_wts.api.contacts import get_contact
from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError
from airflow_provider_wts.api.sessions import SESSION_STATUSES, get_session, list_sessions
from airflow_provider_wts.api.wire import parse_timestamp
from airflow_provider_wts.hooks.contacts import contacts_at
from airflow_provider_wts.sending.clock import seconds
from airflow_provider_wts.sending.rules import FRESH_FOR, Refusal, Rule
from airflow_provider_wts.waiting.session_changes import OVERLAP, sessions_once

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_wts.hooks.wts import WtsHook


log = logging.getLogger(__name__)

#: How long the window is open after the customer's last message.
_OPEN_FOR = timedelta(hours=24)

#: How long before its end the window counts as closed: a message may have to wait for the rate limit.
_MARGIN = timedelta(minutes=5)

#: Unofficial WhatsApp channels, which have no such window.
_UNOFFICIAL = ("zapi_whatsapp", "evolutionapi_whatsapp")

#: Maximum contacts to look up because a list does not show them.
_MAX_LOOKUPS = 300

_REASON = "the customer has no open conversation on this channel, or wrote nothing in it in the last 24 hours"


class ReplyWindow(Rule):
    """Excludes customers to whom an official WhatsApp channel may only send templates.

    :param channel: number or handle to send from; ``None`` leaves it to WTS Chat.
    :param outside: what happens to customers outside the window: ``fail`` or ``skip``.
    :param alone: whether there is only one recipient, who is looked up.
    :param session_id: the session that the only message goes to, if it names one.
    """

    # A recipient who is outside now may have been inside when an earlier try sent.
    lasting: ClassVar[bool] = False

    def __init__(
        self, hook: WtsHook, channel: str | None, outside: str, *, alone: bool = False, session_id: str | None = None
    ) -> None:
        self._hook = hook
        self._channel = channel
        self._refusal = Refusal("outside_24h", _REASON, "failed" if outside == "fail" else "skipped")
        self._alone = alone
        self._session_id = session_id
        self._channel_id: str | None = None
        self._begun: datetime | None = None
        self._read_at = 0.0
        #: Until when a customer may be messaged, by identity and session.
        self._open: dict[str, dict[str, datetime]] = {}
        self._people_of: dict[str, list[str]] = {}
        self._looked_up = 0

    def begin(self) -> None:
        """Read the sessions of the last 24 hours, unless they have been read."""
        if self._begun is not None:
            return
        self._channel_id = self._official_channel()
        self._begun = self._hook.client.now()
        self._read_at = seconds()
        if self._channel_id is None:
            log.info("outside_24h: the channel is not an official WhatsApp channel, so it has no 24-hour window.")
        elif not self._alone:
            self._read(last_interaction_after=self._begun - _OPEN_FOR)

    def before_chunk(self) -> None:
        """Read the sessions that changed, if the last read is more than a minute old."""
        if self._begun is None or self._channel_id is None or self._alone:
            return
        if seconds() - self._read_at <= FRESH_FOR:
            return
        since, self._begun, self._read_at = self._begun - OVERLAP, self._hook.client.now(), seconds()
        # Whether a message updates a session's date of change is not documented.
        self._read(updated_after=since)
        self._read(last_interaction_after=since)

    def refusal(self, to: str) -> Refusal | None:
        """Refuse recipients outside the window."""
        self.begin()
        if self._channel_id is None:
            return None
        if self._alone:
            self._look_up(to)
        last = max(self._open.get(identity_of(to), {}).values(), default=None)
        return None if last is not None and self._hook.client.now() < last - _MARGIN else self._refusal

    def _official_channel(self) -> str | None:
        """Return the ID of the channel, or ``None`` if it has no such window."""
        channels = [one for one in self._hook.run(directory.list_channels()) if one.get("active") is not False]
        wanted: str | None = None
        if self._session_id is not None:
            wanted = str(required(self._hook.run(get_session(self._session_id)), "channelId", "get_session"))
        elif self._channel is not None:
            wanted = self._hook.names.channel_id(self._channel)
        if wanted is not None:
            channels = [one for one in channels if str(required(one, "id", "list_channels")).lower() == wanted.lower()]
            if not channels:
                raise WtsError(
                    "outside_24h: WTS Chat does not list the channel among the active ones, so it is unknown whether "
                    "it has a 24-hour window. Nothing was sent."
                )
        if not any(map(_is_official, channels)):
            return None
        if len(channels) > 1:
            raise WtsInvalidRequestError(
                "outside_24h: requires a channel, because each has its own 24-hour window. Nothing was sent. Set "
                "'channel', here or in the connection. Example: channel='WhatsApp principal'."
            )
        return str(channels[0]["id"]).lower()

    def _look_up(self, to: str) -> None:
        """Read the sessions of one recipient."""
        self._open.clear()
        now = self._hook.client.now()
        if self._session_id is not None:
            session: Any = self._hook.run(get_session(self._session_id))
            self._see(session, [identity_of(to)])
            return
        for contact in contacts_at(self._hook, to):
            contact_id = str(required(contact, "id", "get_contact_by_phone"))
            self._read([identity_of(to)], contact_id=contact_id, last_interaction_after=now - _OPEN_FOR)

    def _read(self, people: list[str] | None = None, **filters: Any) -> None:
        call = list_sessions(
            status=SESSION_STATUSES,
            channel_ids=[str(self._channel_id)],
            include_details=["ContactDetails"],
            **filters,
        )
        for sessions in sessions_once(self._hook.client, call):
            for session in sessions:
                self._see(session, people)

    def _see(self, session: Mapping[str, Any], people: list[str] | None) -> None:
        """Record until when the customer of a session may be messaged."""
        if str(session.get("channelId")).lower() != self._channel_id:
            return
        session_id = str(required(session, "id", "list_sessions"))
        until = _open_until(session, self._hook.client.now())
        if people is None:
            people = self._people_of.get(session_id) or (self._people(session) if until else [])
            self._people_of[session_id] = people
        for person in people:
            known = self._open.setdefault(person, {})
            known.pop(session_id, None)
            if until is not None:
                known[session_id] = until

    def _people(self, session: Mapping[str, Any]) -> list[str]:
        """Return the identities of a session's customer, by number and handle."""
        details: Any = session.get("contactDetails")
        if not isinstance(details, dict):
            if session.get("contactId") is None:
                # Such as a group's session.
                return []
            self._looked_up += 1
            if self._looked_up > _MAX_LOOKUPS:
                raise WtsError(
                    "outside_24h: WTS Chat does not show whose the sessions are, so it is unknown who may be messaged. "
                    "Nothing more was sent."
                )
            details = self._hook.run(get_contact(str(session.get("contactId"))))
        return [identity_of(address) for address in addresses_in(details)]


def _is_official(channel: Mapping[str, Any]) -> bool:
    kind = str(required(channel, "type", "list_channels")).lower()
    return kind.endswith("_whatsapp") and kind not in _UNOFFICIAL


def _open_until(session: Mapping[str, Any], now: datetime) -> datetime | None:
    """Return until when a session accepts more than templates, or ``None`` if it does not."""
    # After its end, a message opens another session, in which the customer has written nothing.
    if session.get("status") == "COMPLETED" or session.get("windowStatus") not in (None, "ACTIVE"):
        return None
    written = parse_timestamp(session.get("lastMessageIn"))
    # A date in the future, apart from clock differences, cannot be that of a message.
    return written + _OPEN_FOR if written is not None and written <= now + _MARGIN else None
