"""Whom a campaign excludes, while the contacts change under its reading."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wts.api.errors import WtsError
from airflow_provider_wts.api.pagination import utc_now
from airflow_provider_wts.sending.rules import Exclusions

if TYPE_CHECKING:
    from collections.abc import Callable

TAG = "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"


def contact(index: int, **values: Any) -> dict[str, Any]:
    return {"id": str(index), "phoneNumber": f"+55|119{10_000_000 + index:08d}", "tagIds": [TAG], **values}


class Account:
    """The contacts with the tag, and what happens before each page of them is read."""

    latest: Account

    def __init__(self, tagged: list[dict[str, Any]], before_page: Callable[[Account], None] = lambda account: None):
        self.tagged = tagged
        self.archived: list[dict[str, Any]] = []
        self.blocked: list[dict[str, Any]] = []
        self.before_page = before_page
        self.now = 1000.0
        self.slept = 0.0
        self.read_at: list[float] = []
        Account.latest = self

    def run(self, call: Any) -> dict[str, Any]:
        asked = call.json_body
        number, size = asked["pageNumber"], asked["pageSize"]
        if asked["status"] != "ACTIVE":
            other = {"ARCHIVED": self.archived, "BLOCKED": self.blocked}.get(asked["status"], [])
            return {"pageNumber": number, "pageSize": size, "items": other, "hasMorePages": False}
        self.before_page(self)
        self.read_at.append(self.now)
        items = self.tagged[(number - 1) * size : number * size]
        return {
            "pageNumber": number,
            "pageSize": size,
            "items": items,
            "hasMorePages": number * size < len(self.tagged),
        }

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.now += seconds

    def exclusions(self) -> Exclusions:
        return self.exclusions_of(["opt-out"])

    def exclusions_of(self, tags: list[str], *, blocked: bool = False) -> Exclusions:
        hook: Any = SimpleNamespace(
            run=self.run,
            client=SimpleNamespace(now=utc_now),
            names=SimpleNamespace(existing_tag=lambda tag: TAG),
            connection=SimpleNamespace(rate_limit_percent=100),
        )
        return Exclusions(hook, tags, blocked=blocked, sleep=self.sleep)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_wts.sending.rules.seconds", lambda: Account.latest.now)


def test_a_contact_that_another_one_shifted_out_of_sight_is_excluded() -> None:
    everybody = [contact(index) for index in range(250)]

    def lose_the_first(account: Account) -> None:
        # Between the first and the second page, the first contact loses its tag: the 101st moves to the first page.
        if len(account.read_at) == 1:
            account.tagged = account.tagged[1:]

    exclusions = Account(everybody, lose_the_first).exclusions()
    assert [bool(exclusions.refusal(one["phoneNumber"])) for one in everybody] == [True] * 250


def test_a_contact_that_changes_its_list_while_the_lists_are_read_is_excluded() -> None:
    def show_again(account: Account) -> None:
        # While the first list was read it was on none; by the second pass it is active again.
        account.tagged = [contact(1)] if len(account.read_at) else []

    account = Account([], show_again)
    account.archived = [contact(2)]
    exclusions = account.exclusions()
    assert exclusions.refusal(contact(2)["phoneNumber"])
    assert exclusions.refusal(contact(1)["phoneNumber"])


def test_a_list_that_comes_to_no_rest_is_no_ground_to_send_on() -> None:
    grown: list[int] = []

    def one_more_each_pass(account: Account) -> None:
        grown.append(1)
        account.tagged = [contact(100 + len(grown))]

    exclusions = Account([], one_more_each_pass).exclusions()
    with pytest.raises(WtsError, match="listed 5 times"):
        exclusions.refusal("+55|11999999999")


@pytest.mark.parametrize(("after", "again"), [(59.0, False), (61.0, True)])
def test_exclusions_are_read_again_before_a_chunk_after_a_minute(after: float, again: bool) -> None:
    account = Account([])
    exclusions = account.exclusions()
    exclusions.begin()
    account.tagged = [contact(1)]
    account.now += after
    exclusions.before_chunk()
    assert bool(exclusions.refusal(contact(1)["phoneNumber"])) is again


def test_whoever_was_seen_once_stays_excluded() -> None:
    account = Account([contact(1)])
    exclusions = account.exclusions()
    exclusions.begin()
    account.tagged, account.now = [], account.now + 61
    exclusions.before_chunk()
    assert exclusions.refusal(contact(1)["phoneNumber"])


def test_reading_again_takes_a_tenth_of_the_rate_limit_at_most() -> None:
    account = Account([contact(index) for index in range(1200)])
    exclusions = account.exclusions()
    exclusions.begin()
    assert account.slept == 0
    for _ in range(30):
        account.now += 61
        exclusions.before_chunk()
    again = [moment for moment in account.read_at if moment > 1000]
    busiest = max(sum(start <= moment < start + 300 for moment in again) for start in again)
    assert 50 < busiest <= 100


@pytest.mark.parametrize("pages", [1, 3])
def test_lists_that_do_not_change_are_read_twice(pages: int) -> None:
    account = Account([contact(index) for index in range(100 * pages)])
    account.exclusions().begin()
    assert len(account.read_at) == 2 * pages


def test_what_the_api_does_not_show_is_an_error() -> None:
    exclusions = Account([{"id": "1", "phoneNumber": "+55|11999999999"}]).exclusions()
    with pytest.raises(WtsError, match="does not show the tags"):
        exclusions.begin()


def test_contacts_whose_numbers_the_api_does_not_show_are_an_error() -> None:
    exclusions = Account([{"id": "1", "phoneNumber": None, "tagIds": [TAG]}, {"id": "2", "tagIds": [TAG]}]).exclusions()
    with pytest.raises(WtsError, match=r"does not show the numbers of contacts, so exclude_tags cannot be applied"):
        exclusions.begin()


@pytest.mark.parametrize("other", [{"messengerId": "7"}, {"instagram": "maria"}], ids=str)
def test_a_contact_without_a_number_is_one_of_another_channel(other: dict[str, Any]) -> None:
    exclusions = Account([contact(1, phoneNumber=None, **other)]).exclusions()
    exclusions.begin()
    assert exclusions.refusal(contact(1)["phoneNumber"]) is None


def test_a_contact_that_the_filter_brought_and_that_shows_no_tags_is_excluded() -> None:
    exclusions = Account([contact(1, tagIds=None)]).exclusions()
    assert exclusions.refusal(contact(1)["phoneNumber"])


@pytest.mark.parametrize(
    ("shown", "excluded"),
    [({"status": "BLOCKED"}, True), ({"status": None}, True), ({}, True), ({"status": "ACTIVE"}, False)],
)
def test_a_contact_among_the_blocked_is_excluded_unless_it_shows_another_status(
    shown: dict[str, Any], excluded: bool
) -> None:
    account = Account([])
    account.blocked = [contact(1, **shown)]
    exclusions = account.exclusions_of([], blocked=True)
    assert bool(exclusions.refusal(contact(1)["phoneNumber"])) is excluded


def test_a_contact_without_a_readable_number_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    exclusions = Account([contact(1, phoneNumber="ramal 7")]).exclusions()
    exclusions.begin()
    assert "Contact 1 must not be messaged, but its number cannot be read" in caplog.text
    assert caplog.text.count("Contact 1") == 1
