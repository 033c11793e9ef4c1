"""Whom a campaign spares: one walk over the contacts with a tag, in place of a call for each recipient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.addresses import identity_of, recipient
from airflow_provider_wts.api.contacts import filter_contacts
from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_provider_wts.hooks.wts import WtsHook

# The filter shows one status at a time.
_STATUSES = ("ACTIVE", "ARCHIVED", "BLOCKED")


def exclusions(hook: WtsHook, tags: Iterable[str], *, blocked: bool) -> dict[str, str]:
    """Return why recipients must not be written to, by the recipient's identity.

    :param hook: the hook of the task's connection.
    :param tags: names or ids of tags that mean: do not write.
    :param blocked: whether blocked contacts are spared.
    :raises WtsError: when the API does not show the tags, so that nobody knows.
    """
    spared: dict[str, str] = {}
    for tag_id in dict.fromkeys(hook.names.tag(tag) for tag in tags):
        for status in _STATUSES:
            call = filter_contacts(status=status, tag_ids=[tag_id], include_details=["Tags"])
            for contact in hook.client.items(call):
                if "tagIds" not in contact:
                    raise WtsError(
                        "WTS Chat does not show the tags of contacts, so exclude_tags cannot be kept. Nothing was sent."
                    )
                # A filter that the API does not know is ignored, and brings everybody.
                if tag_id in (contact["tagIds"] or ()):
                    spared |= dict.fromkeys(_identities(contact), "the contact has a tag of exclude_tags")
    if blocked:
        for contact in hook.client.items(filter_contacts(status="BLOCKED")):
            if contact.get("status", "BLOCKED") == "BLOCKED":
                spared |= dict.fromkeys(_identities(contact), "the contact is blocked")
    return spared


def _identities(contact: dict[str, Any]) -> Iterator[str]:
    handle = str(contact.get("instagram") or "").removeprefix("@")
    for text in (contact.get("phoneNumber"), f"@{handle}" if handle else None):
        if text:
            try:
                yield identity_of(recipient(str(text)))
            except WtsInvalidRequestError:
                # Nothing that a campaign could send to.
                continue
