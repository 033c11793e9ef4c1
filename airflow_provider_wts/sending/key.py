"""What identifies a send over all tries of its task, and the marker that it leaves in WTS Chat."""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wts.api.addresses import identity_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_wts.hooks.context import TaskIdentity


#: How the name of each entry in metadata begins by which a send is found again.
MARK_PREFIX = "airflow_send_"

_NAMESPACE = uuid.UUID("6f1f7f0e-7a55-5c0b-9d0e-2b6d2f4c9a11")


def send_key(task: TaskIdentity, *, generation: int, wts_conn_id: str, recipient: str, attempt: int = 0) -> str:
    """Return the key of a send, a UUID.

    The content is no part of it: a template that renders the clock must not become a second message.

    :param task: the task instance that sends.
    :param generation: how often a person has asked to send everything again.
    :param wts_conn_id: the Airflow connection; another account is another send.
    :param recipient: phone number or handle, the same in every spelling, or the id of a session or card.
    :param attempt: how often it failed before and a person wanted it again. What failed may have left a marker, which
        must not be taken for that of the next one.
    """
    parts = (*task, generation, wts_conn_id, identity_of(recipient), *([attempt] if attempt else ()))
    return _uuid5("\0".join(map(str, parts)))


def _uuid5(name: str) -> str:
    """Return what ``str(uuid.uuid5(_NAMESPACE, name))`` does, in a third of the time: each recipient has a key."""
    digest = bytearray(hashlib.sha1(_NAMESPACE.bytes + name.encode(), usedforsecurity=False).digest()[:16])
    digest[6], digest[8] = digest[6] & 0x0F | 0x50, digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def campaign_id(deployment: str, task: TaskIdentity, generation: int) -> str:
    """Return the id of a campaign, a UUID: the same over all tries of its task.

    :param deployment: what distinguishes this Airflow from others.
    :param task: the task instance that sends.
    :param generation: as for :func:`send_key`.
    """
    return _uuid5("\0".join(("campaign", deployment, *map(str, task), str(generation))))


class Mark(NamedTuple):
    """The marker of a send, by which it is found again in WTS Chat.

    :param key: the key of the send: its ``senderId``, if the API takes one.
    """

    key: str

    @property
    def name(self) -> str:
        """Name of the entry in metadata. One per send: the next send would overwrite a common one."""
        return f"{MARK_PREFIX}{self.key[:8]}"

    def metadata(self, metadata: Any = None) -> dict[str, Any]:
        """Return metadata with this marker in it.

        :param metadata: what the user wants to send, if anything.
        """
        return {**(metadata or {}), self.name: self.key}

    def is_in(self, item: Mapping[str, object]) -> bool:
        """Whether a session, card or contact carries this marker in its metadata.

        :param item: as the API answered it.
        """
        metadata = item.get("metadata")
        return isinstance(metadata, dict) and metadata.get(self.name) == self.key
