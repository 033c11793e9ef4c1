"""Care for customers: when a message may go out, and to whom."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wts.api.call import utc
from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError
from airflow_provider_wts.api.parameters import is_missing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

    from airflow_provider_wts.hooks.wts import WtsHook

_EXAMPLE = "A good value is '08:00-20:00 America/Sao_Paulo', or 'mon-fri 09:00-18:00 America/Sao_Paulo'."
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class SendWindow(NamedTuple):
    """The hours in which customers may be written to.

    :param opens: local time from which sending is allowed.
    :param closes: local time from which it no longer is; earlier than ``opens`` for a window over midnight.
    :param zone: time zone of both.
    :param days: days of the week on which the window opens, Monday is 0.
    """

    opens: time
    closes: time
    zone: ZoneInfo
    days: frozenset[int]

    @classmethod
    def read(cls, text: str) -> SendWindow:
        """Read a window.

        :param text: days (optional), hours and time zone, such as ``mon-fri 08:00-20:00 America/Sao_Paulo``.
        :raises WtsInvalidRequestError: when it cannot be read; shows a good value.
        """
        from zoneinfo import ZoneInfo

        pattern = r"(?:([a-z]{3}(?:[-,][a-z]{3})*)\s+)?(\d{1,2}:\d{2})\s*-\s*(\d{1,2}:\d{2})\s+(\S+)"
        match = re.fullmatch(pattern, text.strip(), re.IGNORECASE)
        if match is None:
            raise WtsInvalidRequestError(f"send_window: {text!r} cannot be read. {_EXAMPLE}")
        try:
            zone = ZoneInfo(match[4])
            opens, closes = (time.fromisoformat(part.zfill(5)) for part in (match[2], match[3]))
        except (ValueError, OSError, KeyError):
            raise WtsInvalidRequestError(
                f"send_window: {text!r} has an unknown time or time zone. {_EXAMPLE}"
            ) from None
        if opens == closes:
            raise WtsInvalidRequestError(f"send_window: {text!r} is never open. {_EXAMPLE}")
        return cls(opens, closes, zone, _days(match[1], text))

    def next_opening(self, now: datetime) -> datetime:
        """Return when sending is allowed next: ``now`` itself inside the window.

        :param now: an aware moment.
        """
        local = now.astimezone(self.zone)
        for ahead in range(-1, 9):
            day = local.date() + timedelta(days=ahead)
            if day.weekday() not in self.days:
                continue
            opens = datetime.combine(day, self.opens, self.zone)
            over_midnight = self.closes < self.opens
            closes = datetime.combine(day + timedelta(days=over_midnight), self.closes, self.zone)
            # In UTC: two moments of one zone are compared by their clocks, which jump twice a year. A window that
            # falls into the hour that is skipped does not open on that day.
            if closes.astimezone(UTC) > max(now, opens.astimezone(UTC)):
                return max(now, opens.astimezone(UTC))
        raise AssertionError("a window opens within a week")


def deadline(value: Any) -> datetime | None:
    """Read ``not_after``.

    :param value: an aware datetime, or its ISO 8601 text, or nothing.
    :raises WtsInvalidRequestError: when it cannot be read, or has no time zone.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise WtsInvalidRequestError(
                f"not_after: {value!r} is no moment. A good value is '2026-12-24T18:00:00-03:00'."
            ) from None
    if not isinstance(value, datetime):
        raise WtsInvalidRequestError(f"not_after: must be a moment, not {type(value).__name__}.")
    utc(value)  # refuses a naive one
    return value


def reason_to_spare(hook: WtsHook, recipient: str, *, exclude_tags: Sequence[str], exclude_blocked: bool) -> str | None:
    """Say why a contact must not be written to, or ``None``; asks the API only where a rule is set.

    :param hook: the hook of the task's connection.
    :param recipient: phone number, as the API spells it.
    :param exclude_tags: names or ids of tags that mean: do not write.
    :param exclude_blocked: whether blocked contacts are spared.
    """
    if not exclude_tags and not exclude_blocked:
        return None
    if recipient.startswith("@"):
        raise WtsInvalidRequestError(
            "exclude_tags: contacts can be looked up by phone number only, and the recipient is a handle."
        )
    from airflow_provider_wts.sending.contacts import contacts_of

    tag_ids = {hook.names.existing_tag(tag).lower() for tag in exclude_tags}
    for contact in contacts_of(hook, recipient, include_details=["Tags"]):
        if exclude_blocked and contact.get("status") == "BLOCKED":
            return "the contact is blocked"
        if tag_ids and "tagIds" not in contact:
            raise WtsError(
                "WTS Chat does not show the tags of the contact, so exclude_tags cannot be kept. Nothing was sent."
            )
        if tag_ids.intersection(str(tag).lower() for tag in contact.get("tagIds") or ()):
            return "the contact has a tag of exclude_tags"
    return None


def tag_list(value: Any) -> list[str]:
    """Read ``exclude_tags``.

    :param value: a list, one tag, or a list as JSON text.
    :raises WtsInvalidRequestError: when it is something else.
    """
    if value is None:
        return []
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if isinstance(value, str) and not is_missing(value):
        return [value]
    if not isinstance(value, (list, tuple, set, frozenset)) or not all(
        isinstance(tag, str) and not is_missing(tag) for tag in value
    ):
        raise WtsInvalidRequestError("exclude_tags: must be a list of tag names. A good value is ['opt-out'].")
    return list(value)


def _days(text: str | None, whole: str) -> frozenset[int]:
    if text is None:
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.lower().split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last and last not in _DAYS):
            raise WtsInvalidRequestError(f"send_window: {whole!r} has an unknown day. {_EXAMPLE}")
        start = _DAYS.index(first)
        length = (_DAYS.index(last) - start) % 7 if last else 0
        days.update((start + step) % 7 for step in range(length + 1))
    return frozenset(days)
