"""Lists: pages, filters, order, timestamps."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wts.emulator.clock import parse_ticks

if TYPE_CHECKING:
    from emulator_api import Api

    from airflow_provider_wts.emulator.running import Emulator


def names(page: dict[str, Any]) -> list[str]:
    return [item["name"] for item in page["items"]]


def test_a_page_has_fifteen_items_unless_asked_otherwise(api: Api, emulator: Emulator) -> None:
    emulator.seed(contacts=40)
    page = api.ask("list_contacts")
    assert (page["pageNumber"], page["pageSize"], len(page["items"])) == (1, 15, 15)
    assert (page["totalItems"], page["totalPages"], page["hasMorePages"]) == (43, 3, True)


def test_pages_hold_every_item_once(api: Api, emulator: Emulator) -> None:
    emulator.seed(contacts=40)
    pages = [api.ask("list_contacts", query={"PageNumber": number, "PageSize": 10}) for number in range(1, 6)]
    ids = [item["id"] for page in pages for item in page["items"]]
    assert len(ids) == len(set(ids)) == 43
    assert [page["hasMorePages"] for page in pages] == [True, True, True, True, False]


@pytest.mark.parametrize("size", [0, 101, "many"])
def test_a_page_size_outside_1_to_100_is_refused(api: Api, size: object) -> None:
    assert api.call("list_contacts", query={"PageSize": size}).status_code == 400


def test_page_zero_is_the_first_one_or_refused(api: Api, emulator: Emulator) -> None:
    assert api.ask("list_contacts", query={"PageNumber": 0})["pageNumber"] == 1
    emulator.switches.page_zero = "refuse"
    assert api.call("list_contacts", query={"PageNumber": 0}).status_code == 500


def test_a_page_past_the_end_is_empty_or_refused(api: Api, emulator: Emulator) -> None:
    assert api.ask("list_contacts", query={"PageNumber": 9})["items"] == []
    emulator.switches.page_past_end = "refuse"
    assert api.call("list_contacts", query={"PageNumber": 9}).status_code == 500


def test_the_newest_comes_first_unless_asked_otherwise(api: Api) -> None:
    for name in ("Ana", "Bia", "Caio"):
        api.ask("create_contact", {"name": name})
    assert names(api.ask("list_contacts", query={"PageSize": 3})) == ["Caio", "Bia", "Ana"]
    ascending = api.ask("list_contacts", query={"OrderBy": "createdAt", "OrderDirection": "ASCENDING"})
    assert names(ascending)[-3:] == ["Ana", "Bia", "Caio"]


def test_a_list_can_be_ordered_by_any_property(api: Api) -> None:
    found = api.ask("list_chatbots", query={"OrderBy": "Name", "OrderDirection": "ASCENDING"})
    assert names(found) == sorted(names(found), key=str.casefold)


def test_a_changed_object_moves_to_the_end_of_the_order_of_change(api: Api) -> None:
    first, second = (api.ask("create_contact", {"name": name}) for name in ("Ana", "Bia"))
    api.ask("update_contact", {"fields": ["Name"], "name": "Ana Maria"}, id=first["id"])
    found = api.ask("list_contacts", query={"OrderBy": "updatedAt", "OrderDirection": "DESCENDING", "PageSize": 2})
    assert [item["id"] for item in found["items"]] == [first["id"], second["id"]]


@pytest.mark.parametrize(("bounds", "expected"), [("inclusive", ["Bia", "Caio"]), ("exclusive", ["Caio"])])
def test_date_filters_hold_or_leave_out_the_bound(
    api: Api, emulator: Emulator, bounds: str, expected: list[str]
) -> None:
    emulator.switches.change({"date_bounds": bounds})
    made = [api.ask("create_contact", {"name": name}) for name in ("Ana", "Bia", "Caio")]
    found = api.ask("list_contacts", query={"UpdatedAt.After": made[1]["updatedAt"]})
    assert sorted(names(found)) == expected


def test_date_filters_of_both_kinds_add_up(api: Api) -> None:
    made = [api.ask("create_contact", {"name": name}) for name in ("Ana", "Bia", "Caio")]
    api.ask("update_contact", {"fields": ["Name"], "name": "Ana Maria"}, id=made[0]["id"])
    query = {"CreatedAt.Before": made[1]["createdAt"], "UpdatedAt.After": made[2]["updatedAt"]}
    assert names(api.ask("list_contacts", query=query)) == ["Ana Maria"]


def test_sessions_changed_since_a_moment_are_found_among_many(api: Api, emulator: Emulator) -> None:
    emulator.seed(sessions=1000)
    changed = emulator.state.sessions.by_creation()[10]
    moment = emulator.clock.text(emulator.clock.now())
    api.ask("complete_session", id=changed.id)
    found = api.ask("list_sessions", query={"UpdatedAt.After": moment})
    assert [item["id"] for item in found["items"]] == [changed.id]


@pytest.mark.parametrize("spelling", ["NOT_PUBLISHED", "Not_Published", "not_published"])
def test_enums_are_compared_without_case(api: Api, spelling: str) -> None:
    found = api.ask("list_chatbots", query={"PublishStatuses": spelling})
    assert names(found) == ["Rascunho de cobrança"]


def test_repeated_names_make_a_list(api: Api) -> None:
    found = api.ask("list_chatbots", query=[("AutomationUsages", "Manual"), ("AutomationUsages", "Campaign")])
    assert names(found) == ["Campanha manual"]


def test_the_contacts_of_a_portfolio_are_paged_under_another_name(api: Api, emulator: Emulator) -> None:
    portfolio = emulator.state.portfolios.by_creation()[0]
    phones = [f"+55|1191111000{number}" for number in range(5)]
    api.ask("add_portfolio_contacts_batch", {"phoneNumbers": phones}, id=portfolio.id)
    page = api.ask("list_portfolio_contacts", query={"Page": 2, "PageSize": 2}, id=portfolio.id)
    assert (page["pageNumber"], len(page["items"]), page["totalItems"]) == (2, 2, 5)


def test_the_filter_of_contacts_is_paged_in_its_body(api: Api, emulator: Emulator) -> None:
    emulator.seed(contacts=20)
    page = api.ask("filter_contacts", {"pageNumber": 2, "pageSize": 12, "name": "cliente"})
    assert (len(page["items"]), page["totalItems"]) == (8, 20)


def test_details_come_only_when_asked_for(api: Api) -> None:
    session = api.start_bot()
    assert "contactDetails" not in api.get_session(session["id"])
    asked = api.get_session(session["id"], includeDetails=["ContactDetails", "ChannelDetails"])
    assert asked["contactDetails"]["name"] == "Carla Dias"
    assert asked["channelDetails"]["displayName"] == "WhatsApp principal"


@pytest.mark.parametrize(("reading", "shown"), [("null", [True, True]), ("always", [True, False])])
def test_details_not_asked_for_can_be_null_or_there(
    api: Api, emulator: Emulator, reading: str, shown: list[bool]
) -> None:
    emulator.switches.change({"details_not_asked": reading})
    session = api.get_session(api.start_bot()["id"])
    assert ["contactDetails" in session, session.get("contactDetails") is None] == shown


def test_timestamps_have_no_to_seven_digits_and_end_in_z(api: Api) -> None:
    made = [api.ask("create_contact", {"name": str(number)})["createdAt"] for number in range(10)]
    seeded = api.ask("list_channels")[0]["createdAt"]
    fractions = [re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(\d{1,7}))?Z", text) for text in (*made, seeded)]
    assert all(fractions)
    assert len({len(match[1] or "") for match in fractions if match}) > 2
    assert made == sorted(made, key=lambda text: text.rstrip("Z").ljust(27, "0"))


@pytest.mark.parametrize("digits", ["0", "3", "7"])
def test_the_digits_of_timestamps_can_be_set(api: Api, emulator: Emulator, digits: str) -> None:
    emulator.switches.change({"timestamp_digits": digits})
    text = api.ask("create_contact", {"name": "Ana"})["createdAt"]
    assert len(text.partition(".")[2].rstrip("Z")) == int(digits)


@pytest.mark.parametrize("wire", ["Metadata[lote]", "Metadata.lote"])
def test_sessions_are_filtered_by_metadata(api: Api, wire: str) -> None:
    session = api.start_bot(sessionMetadata={"lote": "7"})
    assert api.ask("list_sessions", query={wire: "7"})["items"][0]["id"] == session["id"]
    assert api.ask("list_sessions", query={wire: "8"})["items"] == []


@pytest.mark.parametrize(
    ("switches", "shown"),
    [({}, True), ({"metadata_in_session_list": False}, False), ({"metadata_needs_details": True}, False)],
)
def test_metadata_in_the_list_of_sessions_can_be_missing(
    api: Api, emulator: Emulator, switches: dict[str, Any], shown: bool
) -> None:
    api.start_bot(sessionMetadata={"lote": "7"})
    emulator.switches.change(switches)
    metadata = api.ask("list_sessions")["items"][0]["metadata"]
    assert (metadata == {"lote": "7"}) is shown


def test_a_hundred_thousand_contacts_are_listed_page_by_page(api: Api, emulator: Emulator) -> None:
    emulator.seed(contacts=100_000)
    last = api.ask("list_contacts", query={"PageNumber": 1001, "PageSize": 100})
    assert (last["totalItems"], len(last["items"])) == (100_003, 3)


# By the contract ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", [None, "ASCENDING", "DESCENDING"])
@pytest.mark.parametrize(
    ("operation_id", "order", "shown"),
    [
        ("list_contacts", "createdAt", "createdAt"),
        ("list_contacts", "updatedAt", "updatedAt"),
        ("list_contacts", "UpdatedAt", "updatedAt"),
        ("list_contacts", "name", "name"),
        ("list_contacts", None, "createdAt"),
        ("list_sessions", "LastInteractionAt", "lastInteractionDate"),
        ("list_sessions", "number", "number"),
    ],
)
def test_the_order_that_a_page_names_is_that_of_its_items(
    api: Api, emulator: Emulator, operation_id: str, order: str | None, shown: str, direction: str | None
) -> None:
    emulator.seed(sessions=12)
    for contact in emulator.state.contacts.by_creation()[:5]:
        api.ask("update_contact", {"fields": ["Annotation"], "annotation": "x"}, id=contact.id)
    wanted = {name: value for name, value in (("OrderBy", order), ("OrderDirection", direction)) if value}
    found = api.ask(operation_id, query={"PageSize": 100, **wanted})
    values = [sortable(item[shown]) for item in found["items"]]
    assert len(set(values)) > 5
    assert values == sorted(values, reverse=found["orderDirection"] == "DESCENDING")
    assert direction in (None, found["orderDirection"])


def sortable(value: str) -> Any:
    return parse_ticks(value) if value[-1:] == "Z" else value.casefold()


@pytest.mark.parametrize(("reading", "statuses"), [("refuse", {400}), ("clamp", {200})])
@pytest.mark.parametrize("size", [0, -1, 101, 2_000_000])
def test_a_page_size_out_of_range_is_refused_or_moved_inside(
    api: Api, emulator: Emulator, reading: str, statuses: set[int], size: int
) -> None:
    emulator.switches.change({"page_out_of_range": reading})
    portfolio = emulator.state.portfolios.by_creation()[0].id
    answers = [
        api.call("list_contacts", query={"PageSize": size}),
        api.call("list_portfolio_contacts", query={"PageSize": size}, id=portfolio),
        api.call("filter_contacts", {"pageSize": size}),
    ]
    assert {answer.status_code for answer in answers} == statuses
    assert all(1 <= answer.json()["pageSize"] <= 100 for answer in answers if answer.status_code == 200)


def test_a_query_name_in_a_body_is_unknown_there(api: Api, emulator: Emulator) -> None:
    found = api.ask("filter_contacts", {"PageSize": 1, "OrderBy": "name", "OrderDirection": "ASCENDING"})
    assert (found["pageSize"], found["orderBy"]) == (15, "createdAt")
    assert len(emulator.violations) == 1


@pytest.mark.parametrize(
    "wanted",
    [{"phoneNumber": "abc"}, {"phoneNumber": " "}, {"tagNames": ["no such tag"]}, {"portfolioNames": ["none"]}],
)
def test_a_filter_that_fits_nobody_finds_nobody(api: Api, wanted: dict[str, Any]) -> None:
    assert api.ask("filter_contacts", wanted)["totalItems"] == 0


def test_a_phone_without_digits_is_no_member_of_a_sequence(api: Api, emulator: Emulator) -> None:
    sequence = emulator.state.sequences.by_creation()[0].id
    nameless = api.ask("create_contact", {"name": "Sem telefone"})
    api.ask("add_sequence_contact", {"contactId": nameless["id"]}, id=sequence)
    found = api.ask("list_sequence_contacts", query={"PhoneNumber": "abc"}, id=sequence)
    assert found["totalItems"] == 0
