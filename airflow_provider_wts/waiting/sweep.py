"""Looks at many sessions: by the list of those that changed, or one by one."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wts.api.call import moment
from airflow_provider_wts.api.errors import WtsError, WtsIncompleteListError, WtsRateLimitError, WtsUnknownOutcomeError
from airflow_provider_wts.api.sessions import get_session, list_sessions
from airflow_provider_wts.waiting.session import NOT_FOUND, refuses_token, says_missing
from airflow_provider_wts.waiting.subscription import Seen, session_seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.client import WtsClient

log = logging.getLogger(__name__)

#: What is written late at the API, or by another clock, is seen all the same.
OVERLAP = timedelta(seconds=10)
CLOCK_SLACK = timedelta(minutes=5)

#: Pages of one list, and requests for each where it changes while it is read.
MOST_PAGES = 200
MOST_PASSES = 3

#: Failed single looks in a row after which the rest is left for the next poll.
MOST_FAILURES_IN_A_ROW = 3


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


class Singles(NamedTuple):
    """What looks at single sessions or messages brought.

    :param seen: the sessions as the API answered them, or what was kept of the messages, by id. One that does not
        exist has the status ``NOT_FOUND``.
    :param failed: what the looks raised that failed, by id.
    :param calls: requests made.
    """

    seen: dict[str, Any]
    failed: dict[str, WtsError]
    calls: int


def sweep(client: WtsClient, statuses: Sequence[str], since: datetime, *, most_pages: int) -> Sweep:
    """List the sessions that changed and have one of some statuses now, 100 a request.

    :param client: the client.
    :param statuses: statuses of interest.
    :param since: lower bound of the change.
    :param most_pages: give up after the first page where there are more.
    :raises WtsError: when the first page cannot be read.
    """
    seen: dict[str, Seen] = {}
    latest = since + OVERLAP
    calls = 0
    most_pages = min(most_pages, MOST_PAGES)
    try:
        for page, sessions in pages_of_sessions(client, list_sessions(updated_after=since, status=list(statuses))):
            calls += 1
            for session_id, session in sessions:
                seen[session_id] = session_seen(session)
                latest = max(latest, changed(session, "updatedAt", now=server_now(client)))
            if whole_number(page.get("totalPages")) > most_pages or calls > MOST_PASSES * most_pages:
                return Sweep(seen, None, calls)
    except WtsIncompleteListError as error:
        # What it does not show is found one by one, and the same stretch is read again.
        log.warning("%s", error)
        return Sweep(seen, since + OVERLAP, calls)
    except WtsError as error:
        if refuses_token(error) or not calls:
            raise
        log.warning("The list of changed sessions breaks off: %s", error)
        return Sweep(seen, None, calls)
    return Sweep(seen, latest, calls)


def pages_of_sessions(
    client: WtsClient, call: Call[Any]
) -> Iterator[tuple[Mapping[str, Any], list[tuple[str, Mapping[str, Any]]]]]:
    """Walk the pages of a list of sessions; each comes with its sessions by their ids, in lower case.

    :param client: the client.
    :param call: a call of ``list_sessions``.
    :raises WtsUnknownOutcomeError: when a page is not one of WTS Chat.
    """
    for page in client.pages(call):
        items = page.get("items") if isinstance(page, dict) else None
        if not isinstance(items, list):
            raise _odd(call, "it has no list 'items'")
        sessions: list[tuple[str, Mapping[str, Any]]] = [
            (item["id"].lower(), item)
            for item in items
            if isinstance(item, dict) and isinstance(item.get("id"), str) and item["id"]
        ]
        if items and not sessions:
            raise _odd(call, "none of its items has an 'id'")
        yield page, sessions


def _odd(call: Call[Any], what: str) -> WtsError:
    name = call.operation_id
    return WtsUnknownOutcomeError(
        f"{name}: the answer is not a page of WTS Chat: {what}.", operation_id=name, repeatable=True
    )


def server_now(client: WtsClient) -> datetime:
    """Return a moment that the server's clock has passed: what its last answer said, or a cautious guess.

    :param client: the client.
    """
    return client.server_date or datetime.now(UTC) - CLOCK_SLACK


def changed(session: Mapping[str, Any], *names: str, now: datetime) -> datetime:
    """Return when a session changed last, at most now: a date in the future must not hide what comes until then.

    :param session: the session, as the API answered it.
    :param names: its properties with dates.
    :param now: the server's now.
    """
    dates = [moment(session[name]) for name in names if session.get(name)]
    return min(max((date for date in dates if date.year < 9999), default=datetime.fromtimestamp(0, UTC)), now)


def whole_number(value: Any) -> int:
    """Return a count of an answer; 0 where it is missing or no count.

    :param value: what the answer holds.
    """
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def look_singly(read: Callable[[Call[Any]], Any], session_ids: Iterable[str]) -> Singles:
    """Read sessions one by one; what one of them is answered does not end the rest.

    :param read: performs a call.
    :param session_ids: the sessions.
    :raises WtsAuthenticationError: when the token is refused.
    """

    def look(session_id: str) -> Mapping[str, Any]:
        session = read(get_session(session_id))
        if not isinstance(session, dict) or str(session.get("id")).lower() != session_id.lower():
            raise WtsUnknownOutcomeError(
                f"get_session: the answer is not session {session_id}: 'id' is another one, or missing.",
                operation_id="get_session",
                repeatable=True,
            )
        return session

    return looked_singly(look, session_ids, {"status": NOT_FOUND})


def looked_singly(look: Callable[[str], Any], ids: Iterable[str], missing: Any) -> Singles:
    """Look at sessions or messages one by one; what one of them is answered does not end the rest.

    :param look: looks at one.
    :param ids: which.
    :param missing: what stands for one that does not exist.
    :raises WtsAuthenticationError: when the token is refused.
    """
    seen: dict[str, Any] = {}
    failed: dict[str, WtsError] = {}
    in_a_row = calls = 0
    for one in ids:
        calls += 1
        try:
            seen[one] = look(one)
        except WtsError as error:
            if refuses_token(error):
                raise
            if says_missing(error):
                log.warning("%s cannot be found: %s", one, error)
                seen[one] = missing
            else:
                failed[one] = error
                in_a_row += 1
                if in_a_row >= MOST_FAILURES_IN_A_ROW or isinstance(error, WtsRateLimitError):
                    break
                continue
        in_a_row = 0
    return Singles(seen, failed, calls)
