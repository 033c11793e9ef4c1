"""A list is complete by id, or says that it is not, whatever happens between its pages."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_wts.api import pagination
from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.errors import WtsIncompleteListError, WtsRejectedError
from airflow_provider_wts.api.pagination import MAX_PASSES, PagedList

if TYPE_CHECKING:
    from collections.abc import Callable

LONG_AGO = "2026-01-01T00:00:00Z"
NOW = datetime(2026, 11, 26, tzinfo=UTC)


def row(identity: object, at: str = LONG_AGO) -> dict[str, Any]:
    return {"id": identity, "createdAt": at}


class Account:
    """A list as a server keeps it, which may change after each answer, and tell lies about itself.

    :param rows: how many rows there are.
    :param change: what happens after each answer.
    :param tell: changes a page before it goes out.
    """

    def __init__(
        self,
        rows: int,
        change: Callable[[Account], None] | None = None,
        tell: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        self.rows = [row(number) for number in range(rows)]
        self.asked: list[int] = []
        self._change = change
        self._tell = tell
        self._made = rows

    def __call__(self, call: Call[Any]) -> Any:
        number, size = int(str(call.query["PageNumber"])), int(str(call.query["PageSize"]))
        self.asked.append(number)
        pages = -(-len(self.rows) // size)
        page = {
            "pageNumber": number,
            "pageSize": size,
            "totalItems": len(self.rows),
            "totalPages": pages,
            "hasMorePages": number < pages,
            "items": self.rows[(number - 1) * size : number * size],
        }
        if self._change:
            self._change(self)
        return self._tell(page) if self._tell else page

    def insert(self, place: int) -> None:
        self._made += 1
        self.rows.insert(place, row(self._made, NOW.isoformat()))

    def delete(self, place: int) -> None:
        if len(self.rows) > 1:
            del self.rows[place % len(self.rows)]


def listed(account: Callable[[Call[Any]], Any], size: int = 10) -> list[Any]:
    waited: list[float] = []
    pages = PagedList(
        account, Call("list_contacts"), page_size=size, now=lambda: NOW - timedelta(hours=1), sleep=waited.append
    )
    return [item for page in pages.pages() for item in page["items"]]


def ids(rows: list[dict[str, Any]]) -> list[Any]:
    return [item["id"] for item in rows]


def test_a_list_of_one_page_is_one_request() -> None:
    account = Account(10)
    assert len(listed(account)) == 10
    assert account.asked == [1]


def test_a_longer_list_is_read_forward_and_backward() -> None:
    account = Account(25)
    assert ids(listed(account)) == list(range(25))
    assert account.asked == [1, 2, 3, 2, 1]


@pytest.mark.parametrize("rows", [25, 110, 302])
@pytest.mark.parametrize("size", [1, 2, 10])
def test_rows_that_are_deleted_before_hide_no_other(rows: int, size: int) -> None:
    account = Account(rows, change=lambda one: one.delete(0))
    found = ids(listed(account, size))
    assert sorted(set(found)) == sorted(found)
    assert set(ids(account.rows)) <= set(found)


def test_a_row_that_leaves_while_another_comes_hides_none() -> None:
    """The count stays, and as many rows are seen as are counted: only another pass shows the one that is missing."""

    def change(account: Account) -> None:
        if len(account.asked) == 1:
            account.delete(4)
            account.insert(len(account.rows))

    account = Account(250, change)
    found = ids(listed(account, 100))
    assert set(ids(account.rows)) <= set(found)


def test_a_row_that_moves_to_the_end_hides_none() -> None:
    account = Account(60, change=lambda one: one.rows.append(one.rows.pop(0)))
    found = ids(listed(account))
    assert sorted(found) == list(range(60))


def test_a_list_that_gets_new_rows_all_the_time_ends() -> None:
    account = Account(100, change=lambda one: one.insert(0))
    found = ids(listed(account))
    assert set(range(100)) <= set(found)
    assert len(account.asked) < 60


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.integers(3, 20),
    rows=st.integers(0, 120),
    rate=st.floats(0, 1),
    kind=st.sampled_from(["delete", "insert"]),
)
def test_no_row_is_lost_while_others_only_leave_or_only_come(
    seed: int, size: int, rows: int, rate: float, kind: str
) -> None:
    chance = random.Random(seed)

    def change(account: Account) -> None:
        if chance.random() < rate:
            getattr(account, kind)(chance.randrange(len(account.rows) + 1))

    account = Account(rows, change)
    found = ids(listed(account, size))
    assert len(set(found)) == len(found)
    assert {number for number in ids(account.rows) if number < rows} <= set(found)


def test_hardly_a_row_is_lost_while_others_come_and_go_after_each_request() -> None:
    lossy = 0
    for seed in range(300):
        chance = random.Random(seed)

        def change(account: Account, chance: random.Random = chance) -> None:
            chance.choice((account.insert, account.delete))(chance.randrange(len(account.rows) + 1))

        account = Account(chance.choice((30, 100, 250)), change)
        known = set(ids(account.rows))
        found = set(ids(listed(account)))
        lossy += not known & set(ids(account.rows)) <= found
    assert lossy <= 1


def lies(**told: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda page: {**page, **told}


def without(*names: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda page: {name: value for name, value in page.items() if name not in names}


def as_last(number: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda page: {**page, "hasMorePages": False} if page["pageNumber"] == number else page


def empty(*numbers: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda page: {**page, "items": []} if page["pageNumber"] in numbers else page


@pytest.mark.parametrize(
    "tell",
    [
        as_last(1),
        as_last(2),
        lambda page: without("totalItems")(as_last(1)(page)),
        lambda page: without("totalPages")(as_last(1)(page)),
        lies(hasMorePages=True),
        lies(hasMorePages=None),
        lies(totalItems=None),
        lies(totalItems=0),
        lies(totalItems="53"),
        lies(totalPages=None),
        lies(totalPages=1),
        lies(totalItems=0, totalPages=0, hasMorePages=None),
        lies(totalItems=53, totalPages=9),
        lies(pageSize=None, pageNumber=None),
        without("hasMorePages", "totalItems", "totalPages", "pageSize", "pageNumber"),
        lambda page: without("totalItems", "totalPages")(lies(hasMorePages=True)(page)),
    ],
)
def test_a_page_may_be_wrong_about_the_rest_of_the_list(tell: Any) -> None:
    account = Account(53, tell=tell)
    assert ids(listed(account)) == list(range(53))
    assert len(account.asked) < 20


@pytest.mark.parametrize(
    "tell",
    [
        empty(2),
        empty(3),
        empty(4, 5, 6),
        lambda page: without("totalItems")(empty(4, 5, 6)(page)),
        lies(totalItems=54),
        lies(totalItems=10**15, totalPages=10**13),
        lambda page: {**page, "items": page["items"][1:]},
        lambda page: {**page, "items": None},
        lambda page: {**page, "items": "rows"},
        lambda page: {**page, "items": [row("same")] * len(page["items"])},
    ],
)
def test_a_list_that_shows_less_than_it_counts_says_so(tell: Any) -> None:
    account = Account(53, tell=tell)
    with pytest.raises(WtsIncompleteListError, match="may be incomplete"):
        listed(account)
    assert len(account.asked) < 40


def test_what_a_list_showed_only_late_is_found() -> None:
    answers = 0

    def tell(page: dict[str, Any]) -> dict[str, Any]:
        nonlocal answers
        answers += 1
        return empty(2)(page) if answers < 7 else page

    assert len(listed(Account(53, tell=tell))) == 53


def test_a_server_that_cuts_the_page_size_is_read_to_the_end() -> None:
    account = Account(53)

    def perform(call: Call[Any]) -> Any:
        return account(Call(call.operation_id, None, {**call.query, "PageSize": 7}))

    assert len(listed(perform)) == 53


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("numbered", [True, False])
def test_a_server_that_ignores_the_page_number_is_found_out(counted: bool, numbered: bool) -> None:
    account = Account(53)
    names = () if counted else ("totalItems", "totalPages")

    def perform(call: Call[Any]) -> Any:
        assert len(account.asked) < 50
        page = account(Call(call.operation_id, None, {**call.query, "PageNumber": 1}))
        return without(*names, *(() if numbered else ("pageNumber",)))({**page, "hasMorePages": True})

    with pytest.raises((WtsRejectedError, WtsIncompleteListError), match=r"page 2 was requested|may be incomplete"):
        listed(perform)


def test_pages_in_a_circle_end() -> None:
    account = Account(30)

    def perform(call: Call[Any]) -> Any:
        number = (int(str(call.query["PageNumber"])) - 1) % 3 + 1
        page = account(Call(call.operation_id, None, {**call.query, "PageNumber": number}))
        return without("totalItems", "totalPages", "pageNumber")({**page, "hasMorePages": True})

    with pytest.raises(WtsIncompleteListError, match="only have rows that it listed before"):
        listed(perform)
    assert len(account.asked) < 50


@pytest.mark.parametrize("counted", [{"totalItems": 250, "totalPages": 3}, {"totalItems": 250}, {"totalPages": 3}, {}])
def test_a_list_that_makes_its_rows_up_ends(counted: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pagination, "MAX_UNCOUNTED_PAGES", 200)
    made = iter(range(10**9))
    asked: list[int] = []

    def perform(call: Call[Any]) -> Any:
        asked.append(1)
        assert len(asked) < 5000
        rows = [row(next(made)) for _ in range(100)]
        return {"items": rows, "hasMorePages": True, **counted}

    with pytest.raises(WtsIncompleteListError):
        listed(perform, 100)


def test_rows_without_an_id_are_all_kept() -> None:
    rows = [{"name": "a"}, {"name": "a"}, {"name": "b"}, {"id": None, "name": "b"}, 3, None]

    def perform(call: Call[Any]) -> Any:
        number = int(str(call.query["PageNumber"]))
        return {"items": rows[(number - 1) * 4 : number * 4], "totalItems": 6, "totalPages": 2}

    assert listed(perform, 4) == rows


def test_a_row_that_is_twice_on_a_page_comes_once() -> None:
    rows = [row(1), row(2), row(2), row(3), row(4)]

    def perform(call: Call[Any]) -> Any:
        number = int(str(call.query["PageNumber"]))
        return {"items": rows[(number - 1) * 3 : number * 3], "totalItems": 4, "totalPages": 2}

    assert ids(listed(perform, 3)) == [1, 2, 3, 4]


@pytest.mark.parametrize("size", [3, 10])
def test_a_row_that_is_twice_on_a_page_may_be_counted_twice(size: int) -> None:
    rows = [row(1), row(2), row(2), row(3), row(4)]

    def perform(call: Call[Any]) -> Any:
        number = int(str(call.query["PageNumber"]))
        return {"items": rows[(number - 1) * size : number * size], "totalItems": 5, "totalPages": -(-5 // size)}

    assert ids(listed(perform, size)) == [1, 2, 3, 4]


def test_a_row_that_is_twice_on_a_page_does_not_stand_for_one_that_is_missing() -> None:
    rows = [row(1), row(2), row(2), row(3)]

    def perform(call: Call[Any]) -> Any:
        number = int(str(call.query["PageNumber"]))
        return {"items": rows[(number - 1) * 3 : number * 3], "totalItems": 3, "totalPages": 1, "hasMorePages": False}

    assert ids(listed(perform, 3)) == [1, 2, 3]


@pytest.mark.parametrize("missing", ["", "00000000-0000-0000-0000-000000000000"])
@pytest.mark.parametrize("counted", [{}, {"totalItems": 2}])
def test_rows_with_an_empty_id_are_all_kept(missing: str, counted: dict[str, int]) -> None:
    rows = [{"id": missing, "name": "a"}, {"id": missing, "name": "b"}]
    assert listed(lambda call: {"items": rows, "hasMorePages": False, **counted}) == rows


def test_a_page_behind_the_end_may_be_refused_when_the_list_became_shorter() -> None:
    account = Account(45, change=lambda one: one.delete(0) if len(one.asked) < 9 else None)

    def perform(call: Call[Any]) -> Any:
        if (int(str(call.query["PageNumber"])) - 1) * 10 >= len(account.rows):
            raise WtsRejectedError("No such page.")
        return account(call)

    assert set(ids(account.rows)) <= set(ids(listed(perform)))


def test_a_refused_page_within_the_list_is_an_error() -> None:
    account = Account(45)

    def perform(call: Call[Any]) -> Any:
        if call.query["PageNumber"] == 3:
            raise WtsRejectedError("No.")
        return account(call)

    with pytest.raises(WtsRejectedError, match=r"No\."):
        listed(perform)


def test_a_list_that_never_stands_still_is_given_up() -> None:
    made = iter(range(10**9))

    def perform(call: Call[Any]) -> Any:
        return {"items": [row(next(made)) for _ in range(10)], "hasMorePages": call.query["PageNumber"] == 1}

    with pytest.raises(WtsIncompleteListError, match=f"changed each of the {MAX_PASSES} times"):
        listed(perform)
