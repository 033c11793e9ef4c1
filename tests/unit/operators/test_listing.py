"""What all list operators share, shown with the list of contacts: bounds, order, pages, inline and file."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_wts.api import client, pagination
from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.directory import list_departments
from airflow_provider_wts.api.errors import WtsError, WtsIncompleteListError, WtsRejectedError
from airflow_provider_wts.operators import listing
from airflow_provider_wts.operators.contact import WtsListContactsOperator
from airflow_provider_wts.operators.listing import WtsListOperator


def run(context: Any, **parameters: Any) -> Any:
    return WtsListContactsOperator(task_id="task", **parameters).execute(context)


@pytest.fixture
def account(wts_connection):
    """An account of 250 contacts."""
    wts_connection.seed(contacts=247)
    return wts_connection


@pytest.fixture
def impatient(monkeypatch):
    """Let the client and the collector try again at once, and the client only for a moment."""
    monkeypatch.setattr(listing, "PAGE_RETRY_SECONDS", 0)
    monkeypatch.setattr(client, "UNKNOWN_BUDGET", 0.0)


def pages_asked(emulator) -> list[str]:
    return [dict(request.query)["PageNumber"] for request in emulator.requests_of("list_contacts")]


# Pages ----------------------------------------------------------------------------------------------------------------


def test_all_pages_come_by_default(account, context):
    contacts = run(context)

    assert len({contact["id"] for contact in contacts}) == 250
    assert [request.query for request in account.requests] == [
        [("PageNumber", str(number)), ("PageSize", "100")] for number in (1, 2, 3, 2, 1)
    ]


@pytest.mark.parametrize("size", [7, "7"])
def test_the_page_size_can_be_chosen(account, context, size):
    assert len(run(context, page_size=size)) == 250
    assert len(account.requests) == 36 + 35


@pytest.mark.parametrize("most", [1, 99, 100, "101", 250, 1000])
def test_max_items_ends_the_list(account, context, most):
    assert len(run(context, max_items=most)) == min(int(most), 250)


def test_a_cut_list_says_so(account, context, caplog, capsys):
    with caplog.at_level("INFO"):
        run(context, max_items=100)

    assert "cut at max_items=100; the account has 250" in caplog.text + capsys.readouterr().out


@pytest.mark.parametrize("most", [None, 250, 300])
def test_a_whole_list_does_not_say_that_it_is_cut(account, context, caplog, capsys, most):
    with caplog.at_level("INFO"):
        run(context, max_items=most)

    assert "cut at" not in caplog.text + capsys.readouterr().out


def test_progress_is_logged(account, context, caplog, capsys):
    with caplog.at_level("INFO"):
        run(context, page_size=10)

    logged = caplog.text + capsys.readouterr().out
    assert "list_contacts: 20 pages, 200 of 250 items" in logged
    assert "250 items in 25 page(s)" in logged


def test_a_failing_page_is_tried_again_as_a_page(account, context, impatient):
    account.faults.add("status", operation_id="list_contacts", path="contact", nth=2, status=502)

    assert len(run(context)) == 250

    assert pages_asked(account) == ["1", "2", "2", "3", "2", "1"]


def test_a_page_that_keeps_failing_fails_the_task_for_another_try(account, context, impatient):
    account.faults.add("status", operation_id="list_contacts", times=None, status=502)

    with pytest.raises(WtsError):
        run(context)

    assert pages_asked(account) == ["1"] * (listing.PAGE_RETRIES + 1)


def test_a_refused_page_fails_at_once(account, context, impatient):
    account.faults.add("status", operation_id="list_contacts", status=500, envelope="business")

    with pytest.raises(AirflowFailException):
        run(context)

    assert pages_asked(account) == ["1"]


@pytest.mark.parametrize("spoiled", ["omit_nulls", "null_objects", "extra_properties"])
def test_sparse_and_rich_answers_are_read_alike(account, context, spoiled):
    setattr(account.switches, spoiled, True)

    assert len(run(context)) == 250


class _Pages:
    """A server that answers as told.

    :param pages: its pages; those behind them are empty.
    """

    def __init__(self, *pages: Any) -> None:
        self.pages = list(pages)

    def __call__(self, call: Call[Any]) -> Any:
        number = int(str(call.query["PageNumber"]))
        return self.pages[number - 1] if number <= len(self.pages) else {"items": []}


def collected(*pages: Any, **parameters: Any) -> list[Any]:
    import logging

    server = _Pages(*pages)
    return listing.Collector(server, Call("list_contacts"), logging.getLogger("test"), **parameters).inline()  # type: ignore[arg-type]


def items(*ids: int) -> list[dict[str, int]]:
    return [{"id": number} for number in ids]


@pytest.mark.parametrize(
    "pages",
    [
        [{"items": items(1, 2), "hasMorePages": True}, {"items": items(3), "hasMorePages": False}],
        [{"items": items(1, 2), "totalPages": 2}, {"items": items(3), "totalPages": 2}],
        [{"items": items(1, 2)}, {"items": items(3)}],
        [{"items": items(1, 2), "hasMorePages": True}, {"items": items(3), "hasMorePages": True}, {"items": None}],
        [{"items": items(1, 2), "hasMorePages": True}, {"items": items(2, 3), "hasMorePages": False}],
    ],
    ids=["flag", "count", "neither", "endless", "moved item"],
)
def test_the_end_is_found_and_no_item_comes_twice(pages):
    assert collected(*pages, page_size=2) == items(1, 2, 3)


def test_a_server_that_stays_on_a_page_is_refused():
    page = {"items": items(1, 2), "hasMorePages": True, "pageNumber": 1}

    with pytest.raises(WtsRejectedError, match="page 2 was requested, and WTS Chat returned page 1"):
        collected(page, page, page_size=2)


@pytest.fixture
def no_pause(monkeypatch):
    """Read a list again at once."""
    monkeypatch.setattr(pagination, "SETTLE_SECONDS", 0)


@pytest.fixture
def spoil(monkeypatch):
    """Change the answers of the service on their way."""

    def spoil(change: Any) -> None:
        perform = client.WtsClient.perform
        monkeypatch.setattr(client.WtsClient, "perform", lambda self, call, **more: change(perform(self, call, **more)))

    return spoil


SPOILED = [
    lambda page: {**page, "hasMorePages": False, "items": [] if page["pageNumber"] == 2 else page["items"]},
    lambda page: {**page, "items": page["items"][:-1]},
    lambda page: {**page, "totalItems": 953},
    lambda page: {**page, "items": None},
]


@pytest.mark.parametrize("change", SPOILED)
@pytest.mark.parametrize("to_file", [True, False])
def test_a_list_that_may_be_incomplete_fails_for_a_retry_and_keeps_the_old_file(
    account, context, tmp_path, spoil, no_pause, change, to_file
):
    spoil(change)
    path = tmp_path / "contacts.jsonl"
    path.write_text("old\n")

    with pytest.raises(WtsIncompleteListError, match="may be incomplete"):
        run(context, output_path=str(path) if to_file else None)

    assert path.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [path]


def test_an_incomplete_list_can_be_allowed_and_is_marked(account, context, tmp_path, spoil, no_pause, logged):
    spoil(SPOILED[2])
    path = tmp_path / "contacts.jsonl"

    manifest = run(context, output_path=str(path), allow_incomplete="true")

    assert (manifest["items"], manifest["total_items"], manifest["complete"]) == (250, 953, False)
    assert "WTS Chat counts 953 rows, but lists 250" in logged.text("warning")


def test_a_contact_that_is_deleted_between_two_pages_hides_no_other(account, context, spoil):
    deleted: list[str] = []

    def delete(page: Any) -> Any:
        if not deleted:
            deleted.append(page["items"][0]["id"])
            account.state.contacts.remove(account.state.contacts.find(deleted[0]))
        return page

    spoil(delete)

    assert len({contact["id"] for contact in run(context)} - set(deleted)) == 249


def test_one_page_can_be_read_alone(account, context):
    assert [contact["id"] for contact in run(context)][100:200] == [one["id"] for one in run(context, page="2")]

    assert len(account.requests) == 6


def test_one_page_in_a_file_is_not_the_whole_list(account, context, tmp_path):
    manifest = run(context, page=3, page_size=100, output_path=str(tmp_path / "page.jsonl"))

    assert (manifest["items"], manifest["total_items"], manifest["complete"]) == (50, 250, False)


def test_a_page_of_a_list_that_is_too_large_for_xcom_is_not(wts_connection, context):
    wts_connection.seed(contacts=1100)

    assert len(run(context, page=11)) == 100


def test_a_cut_is_seen_where_the_api_counts_nothing():
    server = _Pages({"items": items(1, 2), "hasMorePages": True})
    import logging

    collector = listing.Collector(server, Call("list_contacts"), logging.getLogger("test"), 100, 2)

    assert (collector.inline(), collector.cut) == (items(1, 2), True)


# Inline or a file -----------------------------------------------------------------------------------------------------


def test_too_many_items_for_xcom_fail_after_one_call(wts_connection, context):
    wts_connection.seed(contacts=1100)

    with pytest.raises(AirflowFailException, match=r"at least 1,103 items.*Set output_path"):
        run(context)

    assert len(wts_connection.requests) == 1


def test_too_many_items_fail_where_the_api_counts_nothing(monkeypatch):
    monkeypatch.setattr(listing, "INLINE_ITEMS", 3)

    with pytest.raises(AirflowFailException, match="Set output_path"):
        collected({"items": items(1, 2)}, {"items": items(3, 4)}, page_size=2)


def test_too_large_items_for_xcom_fail():
    with pytest.raises(AirflowFailException, match="1,000,000 bytes"):
        collected({"items": [{"id": 1, "annotation": "x" * 1_000_000}], "hasMorePages": False})


def test_max_items_makes_a_large_list_fit(wts_connection, context):
    wts_connection.seed(contacts=1100)

    assert len(run(context, max_items=1000)) == 1000


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_file_holds_all_items(account, context, tmp_path, scheme):
    path = tmp_path / "new" / "contacts.jsonl"

    manifest = run(context, output_path=f"{scheme}{path}")

    lines = path.read_bytes().splitlines()
    assert len({json.loads(line)["id"] for line in lines}) == 250
    assert manifest == {
        "path": f"{scheme}{path}",
        "operation_id": "list_contacts",
        "items": 250,
        "pages": 3,
        "bytes": path.stat().st_size,
        "total_items": 250,
        "cut": False,
        "complete": True,
    }


def test_an_object_store_is_written_too(account, context, object_store):
    # A folder of its own: the store in memory is shared by all tests of the process.
    run(context, output_path="memory://lists/contacts.jsonl", max_items=120)

    assert len(object_store.cat("/lists/contacts.jsonl").splitlines()) == 120
    assert object_store.ls("/lists", detail=False) == ["/lists/contacts.jsonl"]


def test_an_empty_list_makes_an_empty_file(wts_connection, context, tmp_path):
    manifest = run(context, status="BLOCKED", output_path=str(tmp_path / "none.jsonl"))

    assert (manifest["items"], manifest["bytes"]) == (0, 0)
    assert (tmp_path / "none.jsonl").read_bytes() == b""


def test_a_crash_leaves_no_file_and_keeps_the_old_one(account, context, tmp_path, impatient):
    path = tmp_path / "contacts.jsonl"
    path.write_text("old\n")
    account.faults.add("status", operation_id="list_contacts", nth=2, status=500, envelope="business")

    with pytest.raises(AirflowFailException):
        run(context, output_path=str(path))

    assert [file.name for file in tmp_path.iterdir()] == ["contacts.jsonl"]
    assert path.read_text() == "old\n"


def test_a_file_in_the_making_has_another_name(account, context, tmp_path, monkeypatch):
    path, seen = tmp_path / "contacts.jsonl", []
    perform = client.WtsClient.perform

    def look(self: Any, call: Any, **more: Any) -> Any:
        seen.append([file.name for file in tmp_path.iterdir()])
        return perform(self, call, **more)

    monkeypatch.setattr(client.WtsClient, "perform", look)
    run(context, output_path=str(path))

    assert all("contacts.jsonl" not in names for names in seen)
    assert path.exists()


def test_a_file_is_replaced(account, context, tmp_path):
    path = tmp_path / "contacts.jsonl"
    path.write_text("old\n")

    run(context, output_path=str(path))

    assert len(path.read_bytes().splitlines()) == 250


def test_lines_are_ascii(wts_connection, context, tmp_path):
    wts_connection.seed(contacts=[{"name": "Zoë\u2028\u0085 \n", "phone": "+55|11977770000"}])

    run(context, name="Zoë", output_path=str(tmp_path / "a.jsonl"))

    (line,) = (tmp_path / "a.jsonl").read_text(encoding="ascii").splitlines()
    assert json.loads(line)["name"] == "Zoë\u2028\u0085 \n"


# Bounds and order -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bound", "in_utc"),
    [
        (datetime(2026, 3, 1, tzinfo=UTC), "2026-03-01T00:00:00Z"),
        (datetime(2026, 3, 1, tzinfo=timezone(timedelta(hours=-3))), "2026-03-01T03:00:00Z"),
        ("2026-03-01T00:00:00-03:00", "2026-03-01T03:00:00Z"),
        ("2026-03-01 00:00:00+00:00", "2026-03-01T00:00:00Z"),
        ("2026-03-01T00:00:00.123456Z", "2026-03-01T00:00:00.123456Z"),
    ],
)
@pytest.mark.parametrize(
    ("name", "wire_name"),
    [
        ("created_after", "CreatedAt.After"),
        ("created_before", "CreatedAt.Before"),
        ("updated_after", "UpdatedAt.After"),
        ("updated_before", "UpdatedAt.Before"),
    ],
)
def test_bounds_go_out_in_utc(wts_connection, context, name, wire_name, bound, in_utc):
    run(context, **{name: bound})

    assert (wire_name, in_utc) in wts_connection.requests[0].query


def test_a_rendered_data_interval_is_a_bound(wts_connection, context):
    import pendulum

    run(context, created_after=str(pendulum.datetime(2026, 3, 1, tz="America/Sao_Paulo")))

    assert ("CreatedAt.After", "2026-03-01T03:00:00Z") in wts_connection.requests[0].query


@pytest.mark.parametrize("blank", [None, "", "  "])
def test_a_blank_bound_is_none(wts_connection, context, blank):
    run(context, created_after=blank, order_by=blank, order_direction=blank, max_items=blank, output_path=blank)

    assert wts_connection.requests[0].query == [("PageNumber", "1"), ("PageSize", "100")]


@pytest.mark.parametrize(("direction", "word"), [("desc", "DESCENDING"), ("Ascending", "ASCENDING")])
def test_the_order_goes_out(wts_connection, context, direction, word):
    run(context, order_by="name", order_direction=direction)

    query = wts_connection.requests[0].query
    assert ("OrderBy", "name") in query
    assert ("OrderDirection", word) in query


IMPOSSIBLE = [
    ({"created_after": datetime(2026, 3, 1)}, "created_after: 2026-03-01T00:00:00 has no time zone"),
    ({"created_before": "2026-03-01T00:00:00"}, "created_before: 2026-03-01T00:00:00 has no time zone"),
    ({"updated_after": "2026-03-01"}, "updated_after: 2026-03-01T00:00:00 has no time zone"),
    ({"updated_before": date(2026, 3, 1)}, "updated_before: must be a date and time, not date"),
    ({"created_after": 1_772_323_200}, "created_after: must be a date and time, not int"),
    (
        {"created_after": "0001-01-01T00:00:00+03:00"},
        r"created_after: 0001-01-01T00:00:00\+03:00 is out of range in UTC",
    ),
    (
        {"created_after": "2026-03-02T00:00:00Z", "created_before": "2026-03-01T00:00:00Z"},
        "created_after: .* is later than created_before",
    ),
    ({"order_direction": "down"}, "order_direction: 'down' is not a valid value"),
    ({"order_by": ["name"]}, "order_by: must be text"),
    ({"page_size": 0}, "page_size: 0 is not a whole number from 1 to 100"),
    ({"page_size": 101}, "page_size: 101"),
    ({"page_size": "many"}, "page_size: 'many'"),
    ({"page_size": True}, "page_size: True"),
    ({"max_items": 0}, "max_items: 0 is not a whole number of at least 1"),
    ({"max_items": 2.5}, "max_items: 2.5"),
    ({"page": 0}, "page: 0 is not a whole number of at least 1"),
    ({"page": 2, "max_items": 5}, "page: cannot be combined with max_items"),
    ({"allow_incomplete": "perhaps"}, "allow_incomplete: 'perhaps' must be true or false"),
    ({"output_path": "/tmp"}, "output_path: '/tmp' is a folder"),
    ({"output_path": "file:///tmp"}, "output_path: 'file:///tmp' is a folder"),
    ({"output_path": "."}, r"output_path: '\.' is a folder"),
    ({"output_path": "/tmp/a\0b.jsonl"}, r"output_path: contains the control character U\+0000"),
    ({"output_path": "/tmp/" + "x" * 300}, "cannot be written to: File name too long"),
    ({"output_path": "/tmp/" + "x/" * 3000 + "a"}, "cannot be written to: File name too long"),
    ({"output_path": "/dev/null/contacts.jsonl"}, "cannot be written to: (Not a directory|File exists)"),
    ({"output_path": "/proc/contacts.jsonl"}, "cannot be written to: "),
    ({"output_path": "/tmp/folder/"}, "output_path: '/tmp/folder/' is a folder"),
    ({"output_path": "nowhere://bucket/x.jsonl"}, "output_path: 'nowhere://bucket/x.jsonl' cannot be written to"),
    ({"output_path": ["x"]}, "output_path: must be text"),
]


@pytest.mark.parametrize(("parameters", "words"), IMPOSSIBLE)
def test_impossible_input_is_refused_before_any_request(wts_connection, context, parameters, words):
    with pytest.raises(AirflowFailException, match=words):
        run(context, **parameters)

    assert wts_connection.requests == []


# Plain lists ----------------------------------------------------------------------------------------------------------


class ListDepartments(WtsListOperator):
    def list_call(self) -> Call[Any]:
        return list_departments()


def test_a_plain_list_works_through_the_same_base(wts_connection, context, tmp_path):
    operator = ListDepartments(task_id="task", max_items=2, output_path=str(tmp_path / "departments.jsonl"))

    manifest = operator.execute(context)

    assert (manifest["items"], manifest["pages"], manifest["cut"]) == (2, 1, True)


@pytest.mark.parametrize("parameters", [{"created_after": "2026-03-01T00:00:00Z"}, {"order_by": "name"}])
def test_a_plain_list_refuses_what_it_does_not_know(wts_connection, context, parameters):
    with pytest.raises(AirflowFailException, match="list_departments does not take it"):
        ListDepartments(task_id="task", **parameters).execute(context)

    assert wts_connection.requests == []
