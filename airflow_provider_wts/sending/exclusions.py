"""Whom a campaign excludes: the contacts with a tag, read from lists in place of a request for each recipient.

Contacts change while their lists are read: one that loses the tag shifts another onto a page that was read already, and
one that is archived moves to another list. So all lists are read until a pass shows nobody new, and whoever was seen in
any pass stays excluded.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.addresses import People, addresses_in
from airflow_provider_wts.api.budget import ACCOUNT_LIMITS
from airflow_provider_wts.api.contacts import filter_contacts
from airflow_provider_wts.api.errors import WtsError
from airflow_provider_wts.api.pagination import PagedList
from airflow_provider_wts.sending.clock import seconds
from airflow_provider_wts.sending.clock import sleep as pause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.hooks.wts import WtsHook

log = logging.getLogger(__name__)

# The filter shows one status at a time.
_STATUSES = ("ACTIVE", "ARCHIVED", "BLOCKED")

#: Passes over the lists, of which the last must show nobody new.
MOST_PASSES = 5

#: Seconds after which a chunk needs the exclusions read again.
FRESH_FOR = 60.0

#: Part of the account's rate limit that reading again takes at most while the campaign runs.
_SHARE = 0.1


class Exclusions:
    """Who must not be written to, and why.

    :param hook: the hook of the task's connection.
    :param tags: names or ids of tags that mean: do not write.
    :param blocked: whether blocked contacts are excluded.
    :param clock: counts seconds, also while a machine sleeps.
    :param sleep: waits so many seconds.
    """

    def __init__(
        self,
        hook: WtsHook,
        tags: Iterable[str],
        *,
        blocked: bool,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self._hook = hook
        self._tags = list(tags)
        self._blocked = blocked
        self._clock = clock or seconds
        self._sleep = sleep or pause
        self._people = People[str]()
        self._seen: set[str] = set()
        self._read_at: float | None = None
        self._requests: deque[float] = deque()

    def read(self) -> None:
        """Read the exclusions, unless they were read.

        :raises WtsInvalidRequestError: when there is no such tag.
        :raises WtsError: when the API does not show the tags, or the lists do not come to rest.
        """
        if self._read_at is None:
            self._read(paced=False)

    def read_again(self) -> None:
        """Read the exclusions again before a chunk, where the last reading is more than a minute old.

        :raises WtsError: as :meth:`read`.
        """
        if self._read_at is None or self._clock() - self._read_at > FRESH_FOR:
            self._read(paced=self._read_at is not None)

    def reason(self, to: str) -> str | None:
        """Return why a recipient must not be written to, or ``None``.

        :param to: phone number or handle, as the API spells it.
        """
        if not self._tags and not self._blocked:
            return None
        self.read()
        return self._people.get(to)

    def _read(self, *, paced: bool) -> None:
        if not self._tags and not self._blocked:
            return
        tag_ids = list(dict.fromkeys(self._hook.names.existing_tag(tag) for tag in self._tags))
        for _ in range(MOST_PASSES):
            begun, known = self._clock(), len(self._seen)
            self._pass(tag_ids, paced=paced)
            if len(self._seen) == known:
                # Whoever opted out after the pass began may be missing. A pass that takes long must not hold the
                # campaign up for ever, so it counts as half as old at most.
                self._read_at = max(begun, self._clock() - FRESH_FOR / 2)
                return
        raise WtsError(
            f"exclude_tags: {MOST_PASSES} readings of the contacts with these tags each showed more of them, so it is "
            "unknown who else has one. Nothing more was sent. Try again when they no longer change."
        )

    def _pass(self, tag_ids: Iterable[str], *, paced: bool) -> None:
        for tag_id in tag_ids:
            for status in _STATUSES:
                call = filter_contacts(status=status, tag_ids=[tag_id], include_details=["Tags"])
                for contact in self._contacts(call, paced=paced):
                    # A filter that the API does not know is ignored, and brings everybody.
                    if tag_id.lower() in _tag_ids(contact):
                        self._exclude(contact, "the contact has a tag of exclude_tags")
        if self._blocked:
            for contact in self._contacts(filter_contacts(status="BLOCKED"), paced=paced):
                if contact.get("status", "BLOCKED") == "BLOCKED":
                    self._exclude(contact, "the contact is blocked")

    def _contacts(self, call: Call[Any], *, paced: bool) -> Iterator[dict[str, Any]]:
        perform = self._paced if paced else self._hook.run
        for page in PagedList(perform, call, now=self._hook.client.now, sleep=self._sleep).pages():
            yield from (contact for contact in page["items"] if isinstance(contact, dict))

    def _paced(self, call: Call[Any]) -> Any:
        self._pace()
        return self._hook.run(call)

    def _pace(self) -> None:
        """Wait until one more request stays within our share of the rate limit."""
        limit = ACCOUNT_LIMITS[0]
        most = max(1, int(limit.requests * _SHARE * self._hook.connection.rate_limit_percent / 100))
        if len(self._requests) >= most:
            self._sleep(max(0.0, self._requests.popleft() + limit.seconds - self._clock()))
        self._requests.append(self._clock())

    def _exclude(self, contact: dict[str, Any], reason: str) -> None:
        identity = str(contact.get("id") or sorted(addresses_in(contact)))
        is_new = identity not in self._seen
        self._seen.add(identity)
        if not self._people.add(contact, reason) and is_new:
            log.warning("Contact %s must not be written to, but its number cannot be read: %s.", identity, reason)


def _tag_ids(contact: dict[str, Any]) -> set[str]:
    if "tagIds" not in contact:
        raise WtsError("WTS Chat does not show the tags of contacts, so exclude_tags cannot be kept. Nothing was sent.")
    return {str(tag).lower() for tag in contact["tagIds"] or ()}
