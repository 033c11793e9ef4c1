"""Searches for sends: when they are repeated, what they read at most, and what counts as recent."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wts.api.errors import WtsNotFoundError, WtsRejectedError
from airflow_provider_wts.api.wire import CLOCK_SLACK
from airflow_provider_wts.sending import clock, reconcile
from airflow_provider_wts.sending.key import Mark
from airflow_provider_wts.sending.reconcile import (
    Finding,
    InCards,
    InSession,
    Repeatable,
    SearchResult,
    SessionSearch,
    Traces,
    Unanswered,
    effect_lag,
    search_for_many,
    search_for_one,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

PHONE = "+55|11999998888"
MARK = Mark("12345678-1234-4234-8234-123456789abc")
SINCE = datetime(2026, 11, 20, 12, tzinfo=UTC)
#: From here on, something may be a trace.
RECENT = SINCE - CLOCK_SLACK
OLD = (RECENT - timedelta(seconds=1)).isoformat()


class Api:
    """An API that shows sessions, their messages and cards in a way of its own, and knows no contact."""

    def __init__(self, **lists: list[dict[str, Any]]) -> None:
        self.lists = lists
        self.whole: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.client = self

    def now(self) -> datetime:
        return datetime.now(UTC)

    def items(self, call: Any) -> Iterator[dict[str, Any]]:
        self.asked.append(call.operation_id)
        return iter(self.lists.get(call.operation_id.removeprefix("list_"), []))

    def run(self, call: Any) -> Any:
        self.asked.append(call.operation_id)
        if call.operation_id == "get_contact_by_phone":
            raise WtsNotFoundError("Nothing was found.", operation_id=call.operation_id)
        return self.whole[call.path["id"]]

    def count(self, operation_id: str) -> int:
        return self.asked.count(operation_id)


def session(number: int, **more: Any) -> dict[str, Any]:
    """A session that changed long before the send, and shows no contact."""
    return {"id": f"s{number}", "contactId": None, "metadata": {}, "updatedAt": OLD, **more}


def sessions(count: int, **more: Any) -> list[dict[str, Any]]:
    return [session(number, **more) for number in range(count)]


def finding(api: Api, *, by_metadata: bool = False, by_sender: bool = False) -> tuple[Finding, str]:
    trace = InSession(recipient=PHONE, by_metadata=by_metadata, by_sender=by_sender)
    found = trace.search(api, MARK, SINCE)  # type: ignore[arg-type]
    return found.finding, found.reason


# When a search is repeated --------------------------------------------------------------------------------------------


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that only waiting moves, and the waits."""
    moment = SimpleNamespace(now=1000.0, waits=[])

    def sleep(seconds: float) -> None:
        moment.waits.append(seconds)
        moment.now += seconds

    monkeypatch.setattr(clock, "now", lambda: (moment.now, moment.now))
    monkeypatch.setattr(clock, "sleep", sleep)
    return moment


class Absent:
    """A trace that is never there, and takes some time to search for."""

    def __init__(self, moment: SimpleNamespace, seconds: float = 0.0, found_at: int = 0) -> None:
        self.moment, self.seconds, self.found_at = moment, seconds, found_at
        self.searched: list[float] = []

    def search(self, hook: Any, mark: Mark, since: datetime) -> SearchResult:
        self.searched.append(self.moment.now - 1000.0)
        self.moment.now += self.seconds
        return SearchResult(Finding.FOUND if len(self.searched) == self.found_at else Finding.ABSENT)


def test_one_send_is_searched_for_less_and_less_often_until_its_absence_means_something(
    moment: SimpleNamespace,
) -> None:
    trace = Absent(moment)
    found = search_for_one(Api(), trace, MARK, SINCE, 120.0, unconfirmed="x")  # type: ignore[arg-type]
    assert found.finding is Finding.ABSENT
    assert trace.searched == [0, 5, 15, 35, 65, 95, 120]


def test_a_search_that_began_before_absence_means_something_is_not_the_last(moment: SimpleNamespace) -> None:
    trace = Absent(moment, seconds=8.0)
    search_for_one(Api(), trace, MARK, SINCE, 10.0, unconfirmed="x")  # type: ignore[arg-type]
    # The second one would have begun 13 s after the first.
    assert trace.searched == [0, 10]


def test_what_is_found_ends_the_search_at_once(moment: SimpleNamespace) -> None:
    trace = Absent(moment, found_at=2)
    found = search_for_one(Api(), trace, MARK, SINCE, 120.0, unconfirmed="x")  # type: ignore[arg-type]
    assert found.finding is Finding.FOUND
    assert trace.searched == [0, 5]


@pytest.mark.parametrize(("settled_after", "waits"), [(-1.0, []), (0.0, []), (1.0, [1.0])])
def test_the_absence_of_what_can_no_longer_take_effect_needs_no_wait(
    moment: SimpleNamespace, settled_after: float, waits: list[float]
) -> None:
    search_for_one(Api(), Absent(moment), MARK, SINCE, settled_after, unconfirmed="x")  # type: ignore[arg-type]
    assert moment.waits == waits


def test_what_may_be_made_again_is_not_waited_for(moment: SimpleNamespace) -> None:
    found = search_for_one(Api(), Repeatable(), MARK, SINCE, 120.0, unconfirmed="x")  # type: ignore[arg-type]
    assert found.finding is Finding.ABSENT
    assert moment.waits == []


@pytest.mark.parametrize(
    ("text", "timeout", "lag"),
    [("", 10.0, 120.0), ("", 200.0, 200.0), ("0", 10.0, 10.0), ("60", 10.0, 60.0), (" 0.5 ", 0.1, 0.5)],
)
def test_the_effect_of_a_request_is_waited_for_as_long_as_set_and_never_shorter_than_its_timeout(
    monkeypatch: pytest.MonkeyPatch, text: str, timeout: float, lag: float
) -> None:
    monkeypatch.setenv("AIRFLOW__WTS__EFFECT_LAG", text)
    assert effect_lag(timeout) == lag


# What a search for one reads ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "becomes"), [(2, Finding.ABSENT), (3, Finding.UNDECIDED)])
def test_more_sessions_than_the_most_leave_a_send_undecided(
    monkeypatch: pytest.MonkeyPatch, count: int, becomes: Finding
) -> None:
    monkeypatch.setattr(reconcile, "MAX_SESSIONS", 2)
    assert finding(Api(sessions=sessions(count)), by_metadata=True)[0] is becomes


@pytest.mark.parametrize(("count", "becomes"), [(2, Finding.ABSENT), (3, Finding.UNDECIDED)])
def test_more_sessions_to_read_for_messages_than_the_most_leave_a_send_undecided(
    monkeypatch: pytest.MonkeyPatch, count: int, becomes: Finding
) -> None:
    monkeypatch.setattr(reconcile, "MAX_FETCHED", 2)
    api = Api(sessions=sessions(count))
    assert finding(api, by_sender=True)[0] is becomes
    assert api.count("list_messages") == 2


@pytest.mark.parametrize(("count", "becomes"), [(2, Finding.ABSENT), (3, Finding.UNDECIDED)])
def test_more_sessions_to_read_for_metadata_than_the_most_leave_a_send_undecided(
    monkeypatch: pytest.MonkeyPatch, count: int, becomes: Finding
) -> None:
    monkeypatch.setattr(reconcile, "MAX_FETCHED", 2)
    api = Api(sessions=sessions(count, metadata=None))
    api.whole = {f"s{number}": session(number) for number in range(count)}
    assert finding(api, by_metadata=True)[0] is becomes
    assert api.count("get_session") == 2


@pytest.mark.parametrize(
    "name", ["createdAt", "startAt", "endAt", "updatedAt", "lastMessageOut", "lastInteractionDate"]
)
@pytest.mark.parametrize(
    ("at", "becomes"), [(RECENT, Finding.UNDECIDED), (RECENT - timedelta(seconds=1), Finding.ABSENT)]
)
def test_a_session_in_which_anything_happened_since_leaves_a_send_undecided(
    name: str, at: datetime, becomes: Finding
) -> None:
    assert finding(Api(sessions=[session(1, **{name: at.isoformat()})]), by_metadata=True)[0] is becomes


@pytest.mark.parametrize(
    ("message", "becomes"),
    [
        ({"direction": "TO_HUB", "createdAt": RECENT.isoformat()}, Finding.UNDECIDED),
        ({"direction": "TO_HUB", "createdAt": OLD}, Finding.ABSENT),
        ({"direction": "FROM_HUB", "createdAt": SINCE.isoformat()}, Finding.ABSENT),
        ({"direction": "FROM_HUB", "createdAt": SINCE.isoformat(), "senderId": MARK.key}, Finding.ABSENT),
        ({"direction": "TO_HUB", "createdAt": OLD, "senderId": MARK.key}, Finding.FOUND),
    ],
    ids=str,
)
def test_a_message_of_the_company_since_then_leaves_a_send_undecided(message: dict[str, Any], becomes: Finding) -> None:
    assert finding(Api(sessions=sessions(1), messages=[{"id": "m", **message}]), by_sender=True)[0] is becomes


@pytest.mark.parametrize(
    ("ended", "read"),
    [
        ({"status": "COMPLETED", "endAt": OLD}, 0),
        ({"status": "COMPLETED", "endAt": RECENT.isoformat()}, 1),
        ({"status": "COMPLETED", "endAt": None}, 1),
        ({"status": "COMPLETED", "endAt": "0001-01-01T00:00:00"}, 1),
        ({"status": "IN_PROGRESS", "endAt": OLD}, 1),
    ],
    ids=str,
)
def test_a_session_is_read_unless_it_was_over_before(ended: dict[str, Any], read: int) -> None:
    api = Api(sessions=[session(1, **ended)])
    finding(api, by_sender=True)
    assert api.count("list_messages") == read


class Known(Api):
    """An API that knows the contact, and leaves this contact's sessions out of the list by contact."""

    def items(self, call: Any) -> Iterator[dict[str, Any]]:
        of_contact = call.operation_id == "list_sessions" and "ContactId" in call.query
        return iter([]) if of_contact else super().items(call)

    def run(self, call: Any) -> Any:
        return {"id": "k"} if call.operation_id == "get_contact_by_phone" else super().run(call)


@pytest.mark.parametrize(("contact_id", "becomes"), [("k", Finding.UNDECIDED), ("another", Finding.ABSENT)])
def test_a_session_that_only_the_list_of_changes_shows_is_the_contacts(contact_id: str, becomes: Finding) -> None:
    other = {"phoneNumber": "+55|11966665555"}
    changed = session(1, contactId=contact_id, updatedAt=SINCE.isoformat(), contactDetails=other)
    assert finding(Known(sessions=[changed]), by_metadata=True)[0] is becomes


class Contact(Api):
    """An API that knows the contact, and shows its sessions."""

    contact_id: Any = "k"

    def run(self, call: Any) -> Any:
        return (
            {"id": self.contact_id, "phoneNumber": PHONE}
            if call.operation_id == "get_contact_by_phone"
            else super().run(call)
        )


NO_ID = [None, ""]


@pytest.mark.parametrize("by_sender", [False, True])
@pytest.mark.parametrize("name", NO_ID, ids=repr)
@pytest.mark.parametrize("kind", [Contact, Known, Api], ids=["of the contact", "changed", "changed, of a stranger"])
def test_a_session_without_an_id_leaves_a_send_undecided(kind: type[Api], name: Any, by_sender: bool) -> None:
    rows = [session(1, id=name, contactId=None if kind is Api else "k")]
    found = finding(kind(sessions=rows), by_metadata=not by_sender, by_sender=by_sender)
    assert found == (Finding.UNDECIDED, "the sessions of this contact could not be listed completely")


def test_a_session_without_an_id_that_is_another_contacts_leaves_nothing_undecided() -> None:
    rows = [session(1, id=None, contactId="another", contactDetails={"phoneNumber": "+55|11966665555"})]
    assert finding(Known(sessions=rows), by_metadata=True)[0] is Finding.ABSENT


@pytest.mark.parametrize("name", NO_ID, ids=repr)
def test_a_contact_without_an_id_leaves_a_send_undecided(name: Any) -> None:
    api = Contact()
    api.contact_id = name
    assert finding(api, by_metadata=True)[0] is Finding.UNDECIDED


@pytest.mark.parametrize(
    ("senders", "answered"),
    [
        (["", MARK.key], "m1"),
        ([""], "m0"),
        # One of these may be another message.
        (["", ""], None),
        (["of another send"], None),
        ([], None),
    ],
    ids=str,
)
def test_a_message_that_only_its_session_marks_is_answered_if_there_is_but_one(
    senders: list[str], answered: str | None
) -> None:
    marked = session(1, metadata=MARK.metadata())
    at = SINCE.isoformat()
    messages = [
        {"id": f"m{number}", "direction": "TO_HUB", "createdAt": at, "senderId": sender or None, "text": "Olá"}
        for number, sender in enumerate(senders)
    ]
    trace = InSession(recipient=PHONE, by_metadata=True, is_message=True)
    found = trace.search(Api(sessions=[marked], messages=messages), MARK, SINCE)  # type: ignore[arg-type]
    assert found.finding is Finding.FOUND
    assert (found.answer["id"], found.answer["sessionId"]) == (answered, "s1")


@pytest.mark.parametrize(
    ("recipient", "details", "becomes"),
    [
        (PHONE, {"name": "Ana"}, Finding.UNDECIDED),
        ("@ana", {"name": "Ana"}, Finding.UNDECIDED),
        (PHONE, {"instagram": "ana"}, Finding.ABSENT),
        (PHONE, {"phoneNumber": "+55|11966665555"}, Finding.ABSENT),
    ],
    ids=str,
)
def test_a_changed_session_whose_contact_shows_no_address_may_be_the_recipients(
    recipient: str, details: dict[str, Any], becomes: Finding
) -> None:
    at = SINCE.isoformat()
    changed = session(1, contactId="c1", contactDetails=details, updatedAt=at, lastInteractionDate=at)
    found = InSession(recipient=recipient, by_metadata=True).search(Api(sessions=[changed]), MARK, SINCE)  # type: ignore[arg-type]
    assert found.finding is becomes


class Knowing(Api):
    """An API that knows the recipient's contact, and lists sessions of others only."""

    def run(self, call: Any) -> Any:
        return {"id": "c1", "phoneNumber": PHONE} if call.operation_id == "get_contact_by_phone" else super().run(call)

    def items(self, call: Any) -> Iterator[dict[str, Any]]:
        return iter([]) if call.query.get("ContactId") else super().items(call)


@pytest.mark.parametrize(("contact", "becomes"), [(None, Finding.UNDECIDED), ("c2", Finding.ABSENT)])
def test_a_changed_session_without_a_contact_may_be_that_of_a_known_one(contact: str | None, becomes: Finding) -> None:
    at = SINCE.isoformat()
    changed = session(1, contactId=contact, updatedAt=at, lastInteractionDate=at)
    found = InSession(recipient=PHONE, by_metadata=True).search(Knowing(sessions=[changed]), MARK, SINCE)  # type: ignore[arg-type]
    assert found.finding is becomes


class Refusing(Api):
    """An API that refuses an operation."""

    def __init__(self, refused: str, **lists: Any) -> None:
        super().__init__(**lists)
        self.refused = refused

    def items(self, call: Any) -> Iterator[dict[str, Any]]:
        self.refuse(call)
        return super().items(call)

    def run(self, call: Any) -> Any:
        self.refuse(call)
        return super().run(call)

    def refuse(self, call: Any) -> None:
        if call.operation_id == self.refused:
            raise WtsRejectedError("Not this.", operation_id=call.operation_id)


@pytest.mark.parametrize("refused", ["list_sessions", "get_contact_by_phone"])
def test_what_the_api_refuses_to_show_leaves_sends_undecided(refused: str) -> None:
    found = [
        search_for_one(Refusing(refused), InSession(PHONE, by_metadata=True), MARK, SINCE, 0.0, unconfirmed="x"),  # type: ignore[arg-type]
        *Sends(2).search(Refusing(refused)),
        *Sends(10).search(Refusing(refused)),
    ]
    assert {(one.finding, one.reason) for one in found} == {
        (Finding.UNDECIDED, "WTS Chat did not report it (Not this.)")
    }


# What a search for many reads -----------------------------------------------------------------------------------------


class Sends:
    """Sends of one request to people whom the API does not know."""

    def __init__(self, count: int) -> None:
        self.sends = [
            SimpleNamespace(mark=Mark(f"12345678-1234-4234-8234-{number:012d}"), to=f"+55|119{10_000_000 + number}")
            for number in range(count)
        ]

    def search(self, api: Api, *, by_sender: bool = False, **unanswered: Any) -> list[SearchResult]:
        traces = Traces(by_metadata=not by_sender, by_sender=by_sender)
        search = SessionSearch(api, traces, SINCE)  # type: ignore[arg-type]
        found = search.search([Unanswered(self.sends, **{"whole": True, **unanswered})], shared=True, at_a_time=0)
        return [found[send.mark.key] for send in self.sends]

    def session_of(self, number: int, **more: Any) -> dict[str, Any]:
        details = {"phoneNumber": self.sends[number].to}
        return session(number, contactDetails=details, **more)


def findings(found: list[SearchResult]) -> list[Finding]:
    return [one.finding for one in found]


@pytest.mark.parametrize(("most", "becomes"), [(2, Finding.ABSENT), (1, Finding.UNDECIDED)])
def test_more_sessions_than_the_most_leave_many_sends_undecided(
    monkeypatch: pytest.MonkeyPatch, most: int, becomes: Finding
) -> None:
    monkeypatch.setattr(reconcile, "MAX_SESSIONS_OF_MANY", most)
    api = Api(sessions=[session(number, contactDetails={"phoneNumber": "+55|11966665555"}) for number in range(2)])
    assert findings(Sends(3).search(api)) == [becomes] * 3


def test_a_few_of_a_request_speak_for_all_of_it() -> None:
    api, sends = Api(), Sends(10)
    assert findings(sends.search(api)) == [Finding.ABSENT] * 10
    assert api.count("get_contact_by_phone") == reconcile.SAMPLE


def test_nobody_speaks_for_a_part_of_a_request() -> None:
    api, sends = Api(), Sends(10)
    assert findings(sends.search(api, whole=False)) == [Finding.ABSENT] * 10
    assert api.count("get_contact_by_phone") == 10


def test_what_was_accepted_is_never_absent() -> None:
    found = Sends(10).search(Api(), accepted=True)
    assert {one.reason for one in found} == {reconcile.ACCEPTED}


def test_the_rest_of_a_request_of_which_one_was_sent_is_never_absent() -> None:
    sends = Sends(5)
    found = sends.search(Api(sessions=[sends.session_of(2, metadata=sends.sends[2].mark.metadata())]))
    assert findings(found) == [Finding.UNDECIDED] * 2 + [Finding.FOUND] + [Finding.UNDECIDED] * 2
    assert {one.reason for one in found} == {reconcile.ACCEPTED, ""}


def test_only_so_many_recipients_are_checked_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "MAX_FETCHED_OF_MANY", 3)
    found = Sends(5).search(Api(), whole=False)
    assert findings(found) == [Finding.ABSENT] * 3 + [Finding.UNDECIDED] * 2
    assert found[-1].reason == "too many recipients are left to check each of them"


@pytest.mark.parametrize("by_sender", [False, True])
def test_only_so_many_sessions_of_many_are_read_one_at_a_time(monkeypatch: pytest.MonkeyPatch, by_sender: bool) -> None:
    monkeypatch.setattr(reconcile, "MAX_FETCHED_OF_MANY", 2)
    sends = Sends(4)
    # Without metadata in the list, and with a message that only its session shows.
    api = Api(sessions=[sends.session_of(number, metadata=None) for number in range(4)])
    api.whole = {f"s{number}": sends.session_of(number) for number in range(4)}
    found = sends.search(api, by_sender=by_sender)
    assert findings(found) == [Finding.UNDECIDED] * 4
    assert api.count("list_messages" if by_sender else "get_session") == 2


@pytest.mark.parametrize("by_sender", [False, True])
def test_a_session_without_an_id_leaves_only_its_own_recipient_undecided(by_sender: bool) -> None:
    sends = Sends(4)
    api = Api(sessions=[sends.session_of(2, id=None, metadata=None)])
    found = sends.search(api, by_sender=by_sender)
    assert findings(found) == [Finding.ABSENT, Finding.ABSENT, Finding.UNDECIDED, Finding.ABSENT]


def test_a_session_that_shows_no_contact_is_looked_at_for_each_recipient() -> None:
    sends = Sends(2)
    api = Api(
        sessions=[session(1, contactDetails=None, updatedAt=SINCE.isoformat(), lastInteractionDate=SINCE.isoformat())],
        messages=[{"id": "m1", "senderId": sends.sends[1].mark.key, "direction": "TO_HUB", "status": "SENT"}],
    )
    assert findings(sends.search(api, by_sender=True, whole=False))[1] is Finding.FOUND


def searched(queue: Any, kind: Any, requests: list[Unanswered]) -> dict[str, Any]:
    """Search for requests that went out after one that is in the queue."""
    return search_for_many(queue, kind, requests, SINCE, recent=["before"], settled_after=0.0, at_a_time=0)


class Queue(Api):
    """An API that has done what it accepted before, and now shows one send after the other, every few seconds."""

    def __init__(self, moment: SimpleNamespace, sends: Sends, pace: float, shown: int) -> None:
        super().__init__()
        self.moment, self.sends, self.pace, self.shown = moment, sends, pace, shown

    def items(self, call: Any) -> Iterator[dict[str, Any]]:
        done = min(self.shown, int((self.moment.now - 1000.0) / self.pace))
        return iter([self.sends.session_of(n, metadata=self.sends.sends[n].mark.metadata()) for n in range(done)])

    def run(self, call: Any) -> Any:
        return {"status": "SENT"} if call == "status" else super().run(call)


@pytest.mark.parametrize(
    ("pace", "shown", "found", "waits"),
    [
        # All of it shows after a while.
        (10.0, 5, 5, [15.0] * 4),
        # Nothing shows, or nothing more.
        (10.0, 0, 0, [15.0] * 4),
        (15.0, 2, 2, [15.0] * 6),
        # It goes on, and takes too long.
        (75.0, 5, 4, [15.0] * 20),
    ],
)
def test_the_rest_of_a_request_is_waited_for_while_more_of_it_shows(
    moment: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    pace: float,
    shown: int,
    found: int,
    waits: list[float],
) -> None:
    monkeypatch.setattr(reconcile, "_STANDSTILL", 60.0 if pace < 60 else 76.0)
    caplog.set_level(logging.INFO)
    sends = Sends(5)
    kind = SimpleNamespace(traces=Traces(True, False), request_size=5, status_call=lambda send_id: "status")
    requests = [Unanswered(sends.sends, whole=True, accepted=True)]
    all_found = searched(Queue(moment, sends, pace, shown), kind, requests)
    assert sum(one.finding is Finding.FOUND for one in all_found.values()) == found
    assert {one.reason for one in all_found.values()} <= {"", reconcile.ACCEPTED}
    assert moment.waits == waits
    assert caplog.text.count("asking again in 15 s") == len(waits)


class SlowQueue(Queue):
    """An API that has done what it accepted before only after a while, and shows what it does a little later."""

    def run(self, call: Any) -> Any:
        return {"status": "SENT" if self.moment.now > 1007.0 else "QUEUED"} if call == "status" else super().run(call)


def test_what_was_accepted_behind_a_queue_has_time_to_show_when_the_queue_has_moved_on(
    moment: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reconcile, "effect_lag", lambda timeout: 60.0)
    caplog.set_level(logging.INFO)
    sends = Sends(1)
    kind = SimpleNamespace(traces=Traces(True, False), request_size=1, status_call=lambda send_id: "status")
    queue = SlowQueue(moment, sends, pace=50.0, shown=1)
    queue.timeout = 60.0
    requests = [Unanswered(sends.sends, whole=True)]
    found = searched(queue, kind, requests)
    assert findings([*found.values()]) == [Finding.FOUND]
    assert moment.waits == [5.0, 5.0, 60.0]
    assert "accepted earlier, for up to 300 seconds" in caplog.text
    assert "the rest in 60 seconds" in caplog.text


class Requests(Sends):
    """Requests that went out in order, each to four people whom the API does not know."""

    def __init__(self, count: int, size: int = 4) -> None:
        super().__init__(count * size)
        self.requests = [Unanswered(self.sends[at : at + size], whole=True) for at in range(0, count * size, size)]

    def searched(self, api: Api, at_a_time: int) -> tuple[list[Finding], int]:
        """Return what was found, and how many people were looked up."""
        search = SessionSearch(api, Traces(by_metadata=True, by_sender=False), SINCE)  # type: ignore[arg-type]
        found = search.search(self.requests, shared=True, at_a_time=at_a_time)
        return [found[send.mark.key].finding for send in self.sends], api.count("get_contact_by_phone")


@pytest.mark.parametrize(("at_a_time", "asked"), [(0, 6 * 3), (1, 3), (2, 2 * 3), (6, 6 * 3), (7, 6 * 3)])
def test_behind_as_many_absent_requests_as_went_out_at_a_time_nothing_was_sent(at_a_time: int, asked: int) -> None:
    assert Requests(6).searched(Api(), at_a_time) == ([Finding.ABSENT] * 24, asked)


def test_requests_before_one_that_was_sent_say_nothing_of_those_behind_it() -> None:
    requests = Requests(8)
    sent = requests.session_of(13, metadata=requests.sends[13].mark.metadata())
    found, asked = requests.searched(Api(sessions=[sent]), 2)
    assert found[:12] == [Finding.ABSENT] * 12
    assert found[12:16] == [Finding.UNDECIDED, Finding.FOUND, Finding.UNDECIDED, Finding.UNDECIDED]
    assert found[16:] == [Finding.ABSENT] * 16
    # Three of each request, all the rest of the one that was sent, and no one behind the two after it.
    assert asked == 3 * 3 + 3 + 2 * 3


def test_whoever_had_a_session_behind_absent_requests_is_looked_up() -> None:
    requests = Requests(6)
    # Somebody else's send, as far as it shows.
    other = requests.session_of(18, updatedAt=SINCE.isoformat())
    found, asked = requests.searched(Api(sessions=[other]), 2)
    assert found == [Finding.ABSENT] * 18 + [Finding.UNDECIDED] + [Finding.ABSENT] * 5
    assert asked == 2 * 3 + 1


def test_small_requests_speak_for_nobody() -> None:
    assert Requests(6, size=2).searched(Api(), 1) == ([Finding.ABSENT] * 12, 12)
    assert Requests(6, size=3).searched(Api(), 1) == ([Finding.ABSENT] * 18, 3)


def test_an_absent_one_and_one_whose_session_changed_do_not_speak_for_their_request() -> None:
    requests = Requests(1)
    others = [requests.session_of(number, updatedAt=SINCE.isoformat()) for number in (0, 1)]
    found, asked = requests.searched(Api(sessions=others), 0)
    assert found == [Finding.UNDECIDED] * 2 + [Finding.ABSENT] * 2
    assert asked == 4


# Cards ----------------------------------------------------------------------------------------------------------------


def card(number: int, at: datetime = SINCE, **more: Any) -> dict[str, Any]:
    return {"id": f"c{number}", "createdAt": at.isoformat(), **more}


def found_in_cards(api: Api) -> tuple[Finding, str]:
    found = InCards(lambda: "p").search(api, MARK, SINCE)  # type: ignore[arg-type]
    return found.finding, found.reason


@pytest.mark.parametrize(("count", "becomes"), [(2, Finding.ABSENT), (3, Finding.UNDECIDED)])
def test_more_cards_than_the_most_leave_a_card_undecided(
    monkeypatch: pytest.MonkeyPatch, count: int, becomes: Finding
) -> None:
    monkeypatch.setattr(reconcile, "MAX_SESSIONS", 2)
    assert found_in_cards(Api(cards=[card(number, metadata={}) for number in range(count)]))[0] is becomes


@pytest.mark.parametrize(
    ("count", "becomes"),
    [(2, (Finding.ABSENT, "")), (3, (Finding.UNDECIDED, "the list of cards does not show their metadata"))],
)
def test_more_cards_to_read_than_the_most_leave_a_card_undecided(
    monkeypatch: pytest.MonkeyPatch, count: int, becomes: tuple[Finding, str]
) -> None:
    monkeypatch.setattr(reconcile, "MAX_FETCHED", 2)
    api = Api(cards=[card(number) for number in range(count)])
    api.whole = {f"c{number}": card(number, metadata={}) for number in range(count)}
    assert found_in_cards(api) == becomes
    assert api.count("get_card") == 2


@pytest.mark.parametrize(
    ("at", "becomes"), [(RECENT, Finding.UNDECIDED), (RECENT - timedelta(seconds=1), Finding.ABSENT)]
)
def test_a_card_that_hides_its_metadata_matters_if_it_was_made_since(at: datetime, becomes: Finding) -> None:
    api = Api(cards=[card(1, at)])
    api.whole = {"c1": card(1, at)}
    assert found_in_cards(api)[0] is becomes
    assert api.count("get_card") == (becomes is Finding.UNDECIDED)
