"""Looks at many sessions: by the list of those that changed, or one by one."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wts.api.call import moment
from airflow_provider_wts.api.errors import WtsNotFoundError, WtsRejectedError
from airflow_provider_wts.api.sessions import get_session, list_sessions
from airflow_provider_wts.waiting.session import NOT_FOUND
from airflow_provider_wts.waiting.subscription import Seen, session_seen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_provider_wts.api.client import WtsClient

log = logging.getLogger(__name__)

#: What is written late at the API, or by another clock, is seen all the same.
OVERLAP = timedelta(seconds=10)
CLOCK_SLACK = timedelta(minutes=5)


class Sweep(NamedTuple):
    """What a sweep saw.

    :param seen: what it kept, by session.
    :param cursor: the latest update seen; ``None`` where the sweep gave up, because asking for each is cheaper.
    :param calls: requests made.
    """

    seen: dict[str, Seen]
    cursor: datetime | None
    calls: int

    @property
    def statuses(self) -> dict[str, str]:
        """The statuses by session."""
        return {session_id: seen.status for session_id, seen in self.seen.items()}


def sweep(client: WtsClient, statuses: Sequence[str], since: datetime, *, most_pages: int) -> Sweep:
    """List the sessions that changed and have one of some statuses now, 100 a request.

    :param client: the client.
    :param statuses: statuses of interest.
    :param since: lower bound of the change.
    :param most_pages: give up after the first page where there are more.
    """
    seen: dict[str, Seen] = {}
    latest = since + OVERLAP
    calls = total = 0
    for page in client.pages(list_sessions(updated_after=since, status=list(statuses))):
        calls += 1
        for session in page.get("items") or []:
            seen[str(session.get("id"))] = session_seen(session)
            latest = max(latest, min(moment(session.get("updatedAt")), datetime.now(UTC) + CLOCK_SLACK))
        total = page.get("totalItems") or 0
        if calls == 1 and (page.get("totalPages") or 1) > most_pages:
            return Sweep(seen, None, calls)
    # Rows that moved between pages while these were read may be missing: then the same stretch is read again.
    return Sweep(seen, latest if len(seen) >= total else since + OVERLAP, calls)


def look_singly(client: WtsClient, session_ids: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """Read sessions one by one; one that is gone has the status ``NOT_FOUND`` and does not end the rest.

    :param client: the client.
    :param session_ids: the sessions.
    """
    looked: dict[str, Mapping[str, Any]] = {}
    for session_id in session_ids:
        try:
            session: Any = client.perform(get_session(session_id))
        except WtsRejectedError as error:
            if not isinstance(error, WtsNotFoundError) and error.status != 500:
                raise
            log.warning("Session %s cannot be read: %s", session_id, error)
            session = {"status": NOT_FOUND}
        looked[session_id] = session
    return looked
