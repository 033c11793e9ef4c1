"""When the wait for a session is over. Sensors, triggers and operators decide it here, so they cannot drift apart."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, NamedTuple

from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError

log = logging.getLogger(__name__)

#: Statuses of a session, as the API documents them.
SESSION_STATUSES = ("UNDEFINED", "STARTED", "PENDING", "IN_PROGRESS", "COMPLETED", "HIDDEN")

#: Failed looks in a row after which a wait gives up. Each look has been tried again within the client already.
MOST_FAILED_LOOKS = 5


class Verdict(Enum):
    """What a look at a session says about the wait for it."""

    REACHED = "reached"
    FAILED = "failed"
    WAITING = "waiting"


class SessionWait(NamedTuple):
    """A wait for one session.

    :param session_id: the session.
    :param target_status: statuses that end the wait well.
    :param failed_status: statuses that end it badly.
    """

    session_id: str
    target_status: tuple[str, ...] = ("COMPLETED",)
    failed_status: tuple[str, ...] = ()

    @classmethod
    def of(cls, session_id: Any, target_status: Any, failed_status: Any) -> SessionWait:
        """Make a wait from rendered parameters.

        :param session_id: the session.
        :param target_status: a status, several, or several as JSON text or separated by commas.
        :param failed_status: likewise, none by default.
        :raises WtsInvalidRequestError: when the session id is missing, or a status is none of the documented ones.
        """
        if not isinstance(session_id, str) or not session_id.strip() or session_id.strip() == "None":
            raise WtsInvalidRequestError(
                "session_id: is empty. Give the id of a session, for example "
                """"{{ ti.xcom_pull(task_ids='send')['id'] }}"."""
            )
        wait = cls(
            session_id.strip(), _statuses("target_status", target_status), _statuses("failed_status", failed_status)
        )
        if not wait.target_status:
            raise WtsInvalidRequestError("target_status: is empty. A good value is 'COMPLETED'.")
        if both := set(wait.target_status) & set(wait.failed_status):
            raise WtsInvalidRequestError(f"failed_status: {sorted(both)} stand in target_status, too.")
        return wait

    def verdict(self, session: Mapping[str, Any]) -> Verdict:
        """Judge a session as the API answered it.

        :param session: the session; a status that is missing or unknown means: keep waiting.
        """
        status = str(session.get("status") or "").upper()
        if status in self.target_status:
            return Verdict.REACHED
        if status in self.failed_status:
            return Verdict.FAILED
        if status not in SESSION_STATUSES:
            log.warning("Session %s has the unknown status %r; waiting on.", self.session_id, status)
        return Verdict.WAITING


class FailedLooks:
    """Counts failed looks in a row: a blip must not end a wait of hours, and a lasting failure must."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def succeeded(self) -> None:
        """Start counting anew."""
        self._in_a_row = 0

    def failed(self, error: WtsError) -> bool:
        """Count a failure.

        :param error: what the look raised.
        :return: whether the wait should give up.
        """
        self._in_a_row += 1
        log.warning("Look %d of %d failed: %s", self._in_a_row, MOST_FAILED_LOOKS, error)
        return self._in_a_row >= MOST_FAILED_LOOKS


def _statuses(name: str, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip().startswith("[") else value.split(",")
        except ValueError:
            raise WtsInvalidRequestError(f"{name}: is no JSON list. A good value is ['COMPLETED'].") from None
    if not isinstance(value, Iterable):
        raise WtsInvalidRequestError(f"{name}: must be a status or a list of them, not {type(value).__name__}.")
    statuses = tuple(dict.fromkeys(str(item).strip().upper() for item in value if str(item).strip()))
    for status in statuses:
        if status not in SESSION_STATUSES:
            raise WtsInvalidRequestError(f"{name}: {status!r} is no session status. Known are {SESSION_STATUSES}.")
    return statuses
