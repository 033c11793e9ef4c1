"""Marks: what a send leaves behind at the API, by which it can be found again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Mark(NamedTuple):
    """An entry in a session's metadata that only one send makes.

    :param name: its name; one per send, since a common one would be overwritten by the next send.
    :param value: its value.
    """

    name: str
    value: str

    @classmethod
    def of(cls, send_key: str) -> Mark:
        """Return the mark of a send.

        :param send_key: what identifies the send, a UUID.
        """
        return cls(f"airflow_send_{send_key[:8]}", send_key)

    def stands_in(self, session: Mapping[str, Any]) -> bool:
        """Whether a session carries this mark.

        :param session: a session as the API answered it.
        """
        metadata = session.get("metadata")
        return isinstance(metadata, Mapping) and metadata.get(self.name) == self.value


def carries(mark: Mark, session: Mapping[str, Any], read_again: Callable[[], Mapping[str, Any]]) -> bool:
    """Whether a session carries a mark; an answer without metadata says nothing, so the session is read again.

    :param mark: the mark.
    :param session: the session as a send answered it.
    :param read_again: reads the session.
    """
    return mark.stands_in(session) or mark.stands_in(read_again())
