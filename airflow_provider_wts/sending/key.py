"""What identifies a send in all tries of its task, and the marker that it leaves in WTS Chat."""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wts.api.addresses import identity_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_wts.hooks.context import TaskIdentity


#: Prefix of the metadata entries that mark sends.
MARK_PREFIX = "airflow_send_"

_NAMESPACE = uuid.UUID("6f1f7f0e-7a55-5c0b-9d0e-2b6d2f4c9a11")


def send_key(task: TaskIdentity, *, generation: int, wts_conn_id: str, recipient: str, attempt: int = 0) -> str:
    """Return the key of a send, a UUID.

    The content is not part of it: a template that renders the current time must not cause a second message.

    :param generation: changes when somebody asks to send everything again.
    :param wts_conn_id: the Airflow connection of the first try.
    :param recipient: phone number or handle in any spelling, or the ID of a session or card.
    :param attempt: how often it failed and somebody asked for it again. A failed send may have left a marker, which
        must not be mistaken for that of the next one.
    """
    parts = (*task, generation, wts_conn_id, identity_of(recipient), *([attempt] if attempt else ()))
    return _uuid5("\0".join(map(str, parts)))


def _uuid5(name: str) -> str:
    """Return ``str(uuid.uuid5(_NAMESPACE, name))`` in a third of the time; every recipient needs a key."""
    digest = bytearray(hashlib.sha1(_NAMESPACE.bytes + name.encode(), usedforsecurity=False).digest()[:16])
    digest[6], digest[8] = digest[6] & 0x0F | 0x50, digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def campaign_id(deployment: str, task: TaskIdentity, generation: int) -> str:
    """Return the ID of a campaign, a UUID that is the same in all tries of its task."""
    return _uuid5("\0".join(("campaign", deployment, *map(str, task), str(generation))))


class Mark(NamedTuple):
    """The marker of a send, by which it is found again in WTS Chat.

    :param key: the key of the send, which is its ``senderId`` if the API takes one.
    """

    key: str

    @property
    def name(self) -> str:
        """Name of the metadata entry. It is unique per send, because the next send would overwrite a shared one."""
        return f"{MARK_PREFIX}{self.key[:8]}"

    def metadata(self, metadata: Any = None) -> dict[str, Any]:
        """Return the user's metadata, if any, with this marker added."""
        return {**(metadata or {}), self.name: self.key}

    def is_in(self, item: Mapping[str, object]) -> bool:
        """Whether a session, card or contact has this marker in its metadata."""
        metadata = item.get("metadata")
        return isinstance(metadata, dict) and metadata.get(self.name) == self.key
