"""Rules for sends: when customers may be messaged, and who is excluded."""

from __future__ import annotations

import logging
import re
from collections import deque
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from airflow_provider_wts.api import parameters
from airflow_provider_wts.api.addresses import People, addresses_in, has_address
from airflow_provider_wts.api.budget import ACCOUNT_LIMITS
from airflow_provider_wts.api.contacts import STATUSES, filter_contacts
from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError, quoted
from airflow_provider_wts.api.pagination import PagedList
from airflow_provider_wts.api.wire import is_missing
from airflow_provider_wts.sending.clock import seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from zoneinfo import ZoneInfo

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.hooks.wts import WtsHook


log = logging.getLogger(__name__)

_EXAMPLE = "Nothing was sent. Example: '08:00-20:00 America/Sao_Paulo', or 'mon-fri 09:00-18:00 America/Sao_Paulo'."

#: Maximum passes over the lists; the last one must show nobody new.
MAX_PASSES = 5

#: Seconds after which the exclusions are read again before a chunk.
FRESH_FOR = 60.0

#: Maximum share of the account's rate limit for reading them again while the campaign runs.
_SHARE = 0.1

_HAS_TAG = "the contact has a tag of exclude_tags"
_IS_BLOCKED = "the contact is blocked"

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Refusal(NamedTuple):
    """Why a recipient gets no message.

    :param rule: name of the parameter that sets the rule.
    :param status: the recipient's status in the results.
    """

    rule: str
    reason: str
    status: str = "skipped"


class Rule:
    """A rule about who may get a message. By default, everybody may; rules override the methods they need."""

    #: Whether a recipient that the rule refuses now was refused by every earlier try, too, as far as can be known.
    lasting: ClassVar[bool] = True

    def begin(self) -> None:
        """Read what the rule needs, before anything is sent."""

    def resume(self) -> None:
        """Take into account that an earlier try of the task sent messages, perhaps until just now."""

    def before_chunk(self) -> None:
        """Read again what may have changed, before a chunk."""

    def refusal(self, to: str) -> Refusal | None:
        """Return why a recipient gets no message, or ``None``."""
        return None

    def take(self, people: Mapping[str, str]) -> dict[str, Refusal]:
        """Count the sends that are about to go out, and return refusals by key."""
        return {}

    def would_take(self, people: Mapping[str, str]) -> dict[str, Refusal]:
        """Return what :meth:`take` would, without counting."""
        return {}

    def settle(self, sends: Collection[str], unsent: Collection[str]) -> None:
        """Record that sends are over.

        :param sends: the keys of the last :meth:`take` that no rule refused.
        :param unsent: the keys of those that certainly reached nobody.
        """


class Rules(Rule):
    """Combines several rules. The first that refuses a recipient gives the reason."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = list(rules)

    def __len__(self) -> int:
        return len(self._rules)

    def begin(self) -> None:
        """Read what the rules need."""
        for rule in self._rules:
            rule.begin()

    def resume(self) -> None:
        """Take into account that an earlier try of the task sent messages."""
        for rule in self._rules:
            rule.resume()

    def before_chunk(self) -> None:
        """Read again what may have changed."""
        for rule in self._rules:
            rule.before_chunk()

    def refusal(self, to: str) -> Refusal | None:
        """Return why a recipient gets no message, or ``None``."""
        return next((found for rule in self._rules if (found := rule.refusal(to))), None)

    def lasting_refusal(self, to: str) -> Refusal | None:
        """Return why a recipient is refused by a rule whose refusals last, or ``None``."""
        return next((found for rule in self._rules if rule.lasting and (found := rule.refusal(to))), None)

    def take(self, people: Mapping[str, str]) -> dict[str, Refusal]:
        """Count the sends that are about to go out, and return refusals by key."""
        return self._one_after_another(people, lambda rule, left: rule.take(left))

    def would_take(self, people: Mapping[str, str]) -> dict[str, Refusal]:
        """Return what :meth:`take` would, without counting."""
        return self._one_after_another(people, lambda rule, left: rule.would_take(left))

    def settle(self, sends: Collection[str], unsent: Collection[str]) -> None:
        """Record that sends are over."""
        for rule in self._rules:
            rule.settle(sends, unsent)

    def _one_after_another(
        self, people: Mapping[str, str], ask: Callable[[Rule, Mapping[str, str]], dict[str, Refusal]]
    ) -> dict[str, Refusal]:
        refused: dict[str, Refusal] = {}
        for rule in self._rules:
            if left := {key: to for key, to in people.items() if key not in refused}:
                refused |= ask(rule, left)
        return refused


class SendWindow(NamedTuple):
    """The hours in which customers may be messaged.

    :param opens: local time from which sending is allowed.
    :param closes: local time from which it no longer is; earlier than ``opens`` if the window spans midnight.
    :param days: days of the week on which the window opens; Monday is 0.
    """

    opens: time
    closes: time
    zone: ZoneInfo
    days: frozenset[int]

    @classmethod
    def read(cls, text: Any) -> SendWindow:
        """Parse a window.

        :param text: days (optional), hours and time zone, such as ``mon-fri 08:00-20:00 America/Sao_Paulo``.
        """
        from zoneinfo import ZoneInfo

        pattern = r"(?:([a-z]{3}(?:[-,][a-z]{3})*)\s+)?(\d{1,2}:\d{2})\s*-\s*(\d{1,2}:\d{2})\s+(\S+)"
        # A natively rendered template may return anything.
        match = re.fullmatch(pattern, text.strip(), re.IGNORECASE) if isinstance(text, str) else None
        if match is None:
            raise WtsInvalidRequestError(f"send_window: {quoted(text)} is not a valid window. {_EXAMPLE}")
        try:
            zone = ZoneInfo(match[4])
            opens, closes = (time.fromisoformat(part.zfill(5)) for part in (match[2], match[3]))
        except (ValueError, OSError, KeyError):
            raise WtsInvalidRequestError(
                f"send_window: {quoted(text)} has an unknown time or time zone. {_EXAMPLE}"
            ) from None
        if opens == closes:
            raise WtsInvalidRequestError(f"send_window: {quoted(text)} is never open. {_EXAMPLE}")
        return cls(opens, closes, zone, _days(match[1], text))

    def next_opening(self, now: datetime) -> datetime:
        """Return when sending is next allowed: ``now`` (an aware datetime) inside the window."""
        local = now.astimezone(self.zone)
        for ahead in range(-1, 16):
            day = local.date() + timedelta(days=ahead)
            if day.weekday() not in self.days:
                continue
            over_midnight = self.closes < self.opens
            # The hour that clocks repeat has each time twice, and so has the one that they skip. A window inside the
            # skipped hour does not open on that day.
            opens = max(self._readings(day, self.opens))
            closes = min(self._readings(day + timedelta(days=over_midnight), self.closes))
            if closes > max(now, opens):
                return max(now, opens)
        raise AssertionError("a window opens within two weeks")

    def _readings(self, day: date, at: time) -> list[datetime]:
        """Return what a local time may mean, in UTC: local datetimes compare by a time that jumps twice a year."""
        return [datetime.combine(day, at.replace(fold=fold), self.zone).astimezone(UTC) for fold in (0, 1)]


class HeldBack(Exception):
    """Nothing may be sent now; the message is the reason."""


class SendTimes(NamedTuple):
    """When a task may send.

    :param waits: whether the task waits until the window opens.
    """

    window: SendWindow | None
    not_after: datetime | None
    waits: bool

    @classmethod
    def read(cls, send_window: str | None, not_after: datetime | str | None, outside_window: str) -> SendTimes:
        """Parse an operator's parameters."""
        if outside_window not in ("wait", "skip"):
            raise WtsInvalidRequestError(
                f"outside_window: {quoted(outside_window)} must be 'wait' or 'skip'. Nothing was sent."
            )
        window = None if is_missing(send_window) else SendWindow.read(send_window)
        return cls(window, parameters.optional_datetime("not_after", not_after), outside_window == "wait")

    def opening(self, now: datetime) -> datetime:
        """Return when a send may go out: ``now``, or when the window opens.

        :raises HeldBack: if it must not go out at all.
        """
        opening = self.window.next_opening(now) if self.window else now
        if self.not_after is not None and max(now, opening) > self.not_after:
            raise HeldBack(f"not_after is {self.not_after.isoformat()}")
        if opening > now and not self.waits:
            raise HeldBack(f"the send window opens again at {opening.isoformat()}")
        return opening


def reason_to_exclude(
    hook: WtsHook, recipient: str, *, exclude_tags: Sequence[str], exclude_blocked: bool
) -> str | None:
    """Return why a contact must not be messaged, or ``None``. It calls the API only if a rule is set."""
    if not exclude_tags and not exclude_blocked:
        return None
    from airflow_provider_wts.hooks.contacts import contacts_at

    tag_ids = {hook.names.existing_tag(tag).lower() for tag in exclude_tags}
    for contact in contacts_at(hook, recipient, include_details=["Tags"]):
        if exclude_blocked and contact.get("status") is None:
            raise _not_shown("whether the contact is blocked", "exclude_blocked")
        if exclude_blocked and contact["status"] == "BLOCKED":
            return _IS_BLOCKED
        if tag_ids and ("tagIds" not in contact or (contact["tagIds"] is None and contact.get("tagNames"))):
            raise _not_shown("the tags of the contact", "exclude_tags")
        if tag_ids.intersection(str(tag).lower() for tag in contact.get("tagIds") or ()):
            return _HAS_TAG
    return None


def _days(text: str | None, whole: str) -> frozenset[int]:
    if text is None:
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.lower().split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last and last not in _DAYS):
            raise WtsInvalidRequestError(f"send_window: {quoted(whole)} has an unknown day. {_EXAMPLE}")
        start = _DAYS.index(first)
        length = (_DAYS.index(last) - start) % 7 if last else 0
        days.update((start + step) % 7 for step in range(length + 1))
    return frozenset(days)


class Exclusions(Rule):
    """Excludes contacts with one of some tags (names or IDs), and blocked contacts."""

    def __init__(self, hook: WtsHook, tags: Iterable[str], *, blocked: bool, sleep: Callable[[float], None]) -> None:
        self._hook = hook
        self._tags = list(tags)
        self._blocked = blocked
        self._sleep = sleep
        self._people = People[Refusal]()
        self._seen: set[str] = set()
        self._has_addresses = False
        self._read_at: float | None = None
        self._requests: deque[float] = deque()

    def begin(self) -> None:
        """Read the exclusions, unless they have been read."""
        if self._read_at is None:
            self._read(paced=False)

    def before_chunk(self) -> None:
        """Read the exclusions again if they are more than a minute old."""
        if self._read_at is None or seconds() - self._read_at > FRESH_FOR:
            self._read(paced=self._read_at is not None)

    def refusal(self, to: str) -> Refusal | None:
        """Return why a recipient must not be messaged, or ``None``."""
        if not self._tags and not self._blocked:
            return None
        self.begin()
        return self._people.get(to)

    def _read(self, *, paced: bool) -> None:
        if not self._tags and not self._blocked:
            return
        tag_ids = list(dict.fromkeys(self._hook.names.existing_tag(tag) for tag in self._tags))
        lists: list[tuple[PagedList, str | None]] = [
            (self._list(filter_contacts(status=status, tag_ids=[tag_id], include_details=["Tags"]), paced), tag_id)
            for tag_id in tag_ids
            # The API filters by one status at a time.
            for status in STATUSES
        ]
        if self._blocked:
            lists.append((self._list(filter_contacts(status="BLOCKED"), paced), None))
        for _ in range(MAX_PASSES):
            begun, known = seconds(), len(self._seen)
            for listed, tag_id in lists:
                self._pass(listed, tag_id)
            if len(self._seen) == known and all(listed.complete for listed, _ in lists):
                if self._seen and not self._has_addresses:
                    raise _not_shown("the numbers of contacts", "exclude_tags" if tag_ids else "exclude_blocked")
                # Whoever opted out after the pass began may be missing. A long pass must not stall the campaign, so
                # it counts as at most half expired.
                self._read_at = max(begun, seconds() - FRESH_FOR / 2)
                return
        if len(self._seen) == known:
            raise next(listed for listed, _ in lists if not listed.complete).incomplete()
        raise WtsError(
            f"exclude_tags: the contacts with these tags were listed {MAX_PASSES} times, each time with more of them, "
            "so it is unknown who else has one. Nothing more was sent. Try again when the tags no longer change."
        )

    def _list(self, call: Call[Any], paced: bool) -> PagedList:
        perform = self._paced if paced else self._hook.run
        return PagedList(perform, call, now=self._hook.client.now, sleep=self._sleep)

    def _pass(self, listed: PagedList, tag_id: str | None) -> None:
        """Read a list once: contacts with a tag, or blocked contacts."""
        for page in listed.read_pass(apart=True):
            for contact in page["items"]:
                if not isinstance(contact, dict):
                    continue
                # Check each contact: the API may ignore the filter, and return everybody. A missing field is assumed to
                # match the filter.
                if tag_id is None and (contact.get("status") or "BLOCKED") == "BLOCKED":
                    self._exclude(contact, Refusal("exclude_blocked", _IS_BLOCKED))
                elif tag_id is not None and tag_id.lower() in _tag_ids(contact, tag_id):
                    self._exclude(contact, Refusal("exclude_tags", _HAS_TAG))

    def _paced(self, call: Call[Any]) -> Any:
        """Wait until one more request fits into the share of the rate limit, and perform a call."""
        limit = ACCOUNT_LIMITS[0]
        most = max(1, int(limit.requests * _SHARE * self._hook.connection.rate_limit_percent / 100))
        if len(self._requests) >= most:
            self._sleep(max(0.0, self._requests.popleft() + limit.seconds - seconds()))
        self._requests.append(seconds())
        return self._hook.run(call)

    def _exclude(self, contact: dict[str, Any], refusal: Refusal) -> None:
        identity = str(contact.get("id") or sorted(addresses_in(contact)))
        self._has_addresses = self._has_addresses or has_address(contact)
        is_new = identity not in self._seen
        self._seen.add(identity)
        if not self._people.add(contact, refusal) and is_new:
            log.warning("Contact %s must not be messaged, but its number cannot be read: %s.", identity, refusal.reason)


def _not_shown(what: str, rule: str) -> WtsError:
    return WtsError(f"WTS Chat does not show {what}, so {rule} cannot be applied. Nothing was sent.")


def _tag_ids(contact: dict[str, Any], asked: str) -> set[str]:
    if "tagIds" not in contact:
        raise _not_shown("the tags of contacts", "exclude_tags")
    return {str(tag).lower() for tag in ([asked] if contact["tagIds"] is None else contact["tagIds"])}
