"""The calls of contacts, sequences and the directory fit the contract, whatever is given."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_wts.api import contacts, directory, sequences
from airflow_provider_wts.api.wire import UNSET

if TYPE_CHECKING:
    from airflow_provider_wts.api.call import Call

IDS = st.uuids().map(str)
TEXTS = st.text(max_size=30)
# Away from the ends of time, where a zone's offset leads out of the calendar.
MOMENTS = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.timezones())
BOUNDS = {name: MOMENTS for name in ("created_after", "created_before", "updated_after", "updated_before")}
ORDER = {"order_by": TEXTS, "order_direction": st.sampled_from(["ASCENDING", "DESCENDING"])}
DETAILS = {"include_details": st.lists(st.sampled_from(["Tags", "CustomFields", "Portfolios"]))}
STATUSES = st.sampled_from(["ACTIVE", "ARCHIVED", "BLOCKED"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(TEXTS, JSON, max_size=3)
MASK = st.lists(st.sampled_from(["Name", "Tags", "CustomFields", "SequenceIds"]))


def or_null(values: dict[str, Any]) -> dict[str, Any]:
    return {name: st.none() | strategy for name, strategy in values.items()}


FIELDS = or_null(
    {
        **dict.fromkeys(("name", "phone_number", "email", "instagram", "annotation"), TEXTS),
        **dict.fromkeys(("tag_ids", "portfolio_ids", "sequence_ids"), st.lists(IDS, max_size=3)),
        **dict.fromkeys(("tag_names", "portfolio_names"), st.lists(TEXTS, max_size=3)),
        "custom_fields": OBJECTS,
        "metadata": OBJECTS,
    }
)
OPTIONS = {
    "upsert": st.booleans(),
    "get_if_exists": st.booleans(),
    "upsert_fields": st.none() | MASK,
    "upsert_tag_operation": st.none() | st.sampled_from(["INSERTIFNOTEXISTS", "DELETEIFEXISTS", "REPLACEALL"]),
}
OPERATIONS = st.sampled_from(["InsertIfNotExists", "DeleteIfExists", "ReplaceAll"])
CHANGES = {
    **FIELDS,
    "status": st.none() | STATUSES,
    "picture_url": st.none() | TEXTS,
    "utm": st.fixed_dictionaries({}, optional={"source": TEXTS, "referralUrl": st.none() | TEXTS}),
    "tags_operation": OPERATIONS,
}
TAGS = {"tag_ids": st.none() | st.lists(IDS), "tag_names": st.none() | st.lists(TEXTS), "operation": OPERATIONS}
FILTERS = {
    **or_null(dict.fromkeys(("text_filter", "name", "phone_number", "email", "instagram"), TEXTS)),
    **or_null(dict.fromkeys(("tag_ids", "portfolio_ids"), st.lists(IDS, max_size=3))),
    **or_null(dict.fromkeys(("tag_names", "portfolio_names"), st.lists(TEXTS, max_size=3))),
    **or_null({**BOUNDS, **ORDER, **DETAILS, "status": STATUSES}),
    "origin": st.none() | st.sampled_from(["CREATED_BY_USER", "CREATED_FROM_HUB", "IMPORTED"]),
    "custom_fields": st.none() | OBJECTS,
    "metadata": st.none() | st.dictionaries(TEXTS, st.none() | TEXTS, max_size=3),
}
PHONES = st.from_regex(r"\+55\|[1-9]{2}9[0-9]{8}", fullmatch=True)
ONE = {"contact_id": st.none() | IDS, "phone_number": st.none() | PHONES}
MANY = {"contact_ids": st.none() | st.lists(IDS), "phone_numbers": st.none() | st.lists(PHONES)}

#: Every function, the strategies of what it needs, and of what may be left out.
FUNCTIONS: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
    (contacts.create_contact, (), {**FIELDS, **OPTIONS}),
    (
        contacts.batch_save_contacts,
        (st.lists(st.fixed_dictionaries({}, optional=FIELDS).map(contacts.contact_item), min_size=1, max_size=3),),
        OPTIONS,
    ),
    (contacts.update_contact, (IDS,), CHANGES),
    (contacts.update_contact_by_phone, (PHONES,), CHANGES),
    (contacts.get_contact, (IDS,), DETAILS),
    (contacts.get_contact_by_phone, (PHONES,), DETAILS),
    (contacts.list_contacts, (), {**DETAILS, **BOUNDS, **ORDER, "status": STATUSES}),
    (contacts.filter_contacts, (), FILTERS),
    (contacts.update_contact_tags, (IDS,), TAGS),
    (contacts.update_contact_tags_by_phone, (PHONES,), TAGS),
    (
        sequences.list_sequences,
        (),
        {
            **BOUNDS,
            **ORDER,
            "name": TEXTS,
            "contact_id": IDS,
            "include_details": st.lists(st.sampled_from(["ContactExecutingCount", "ExecutionStats"])),
        },
    ),
    (
        sequences.list_sequence_contacts,
        (IDS,),
        {**BOUNDS, **ORDER, "name": TEXTS, "contact_id": IDS, "phone_number": PHONES},
    ),
    (sequences.add_sequence_contact, (IDS,), ONE),
    (sequences.remove_sequence_contact, (IDS,), ONE),
    (sequences.add_sequence_contacts_batch, (IDS,), MANY),
    (sequences.remove_sequence_contacts_batch, (IDS,), MANY),
    (directory.list_departments, (), {}),
    (directory.list_agents, (), {}),
    (directory.list_tags, (), {}),
    (directory.list_portfolios, (), {"include_details": st.lists(st.sampled_from(["Departments", "ContactCount"]))}),
    (
        directory.list_custom_fields,
        (),
        {"entity_type": st.sampled_from(["CONTACT", "PANEL"]), "nested_list": st.booleans()},
    ),
]
NAMES = [function.__name__ for function, _, _ in FUNCTIONS]


@pytest.mark.parametrize(("function", "needed", "optional"), FUNCTIONS, ids=NAMES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_every_call_fits_the_contract(function, needed, optional, data):
    arguments = data.draw(st.tuples(*needed))
    parameters = data.draw(st.fixed_dictionaries({}, optional=optional))

    call = function(*arguments, **parameters)

    assert call.operation_id == function.__name__
    assert call.problems() == []


@pytest.mark.parametrize(("function", "needed", "optional"), FUNCTIONS, ids=NAMES)
def test_what_is_not_given_is_not_sent(function, needed, optional):
    arguments = [str(uuid.UUID(int=1)) for _ in needed]
    if function is contacts.batch_save_contacts:
        arguments = [[{}]]

    for call in (function(*arguments), function(*arguments, **dict.fromkeys(optional, UNSET))):
        assert call.query == {}
        assert call.body in (UNSET, {}, {"fields": []}, {"items": [{}]})


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (contacts.create_contact(name="x" * 256), "body.name does not match maxLength"),
        (contacts.create_contact(tag_ids=["VIP"]), "body.tagIds[0] is not a valid uuid"),
        (contacts.create_contact(upsert_tag_operation="ReplaceAll"), "body.options.upsertTagOperation must be one of"),
        (contacts.create_contact(upsert_fields=["name"]), "body.options.upsertFields[0] must be one of"),
        (contacts.batch_save_contacts([]), "body.items does not match minItems"),
        (contacts.batch_save_contacts([{}] * 101), "body.items does not match maxItems"),
        (contacts.batch_save_contacts([{"phone": "1"}]), "body.items[0] has 'phone'"),
        (contacts.update_contact("7"), "path parameter 'id' is not a valid uuid"),
        (
            contacts.update_contact_by_phone("1", tags_operation="REPLACEALL"),
            "options.tagsOperation must be one of",
        ),
        (contacts.update_contact_by_phone("1", status="GONE"), "body.status must be one of"),
        (contacts.update_contact_tags_by_phone("1", operation="add"), "body.operation must be one of"),
        (contacts.get_contact_by_phone("1", include_details=["All"]), "'IncludeDetails'[0] must be one of"),
        (contacts.list_contacts(created_after="2026-03-01"), "'CreatedAt.After' is not a valid date-time"),
        (contacts.filter_contacts(metadata={"a": 1}), "body.metadata.a is not of type"),  # type: ignore[dict-item]
        (contacts.filter_contacts(created_after="yesterday"), "body.createdAt.after is not a valid date-time"),
        (sequences.list_sequences(order_direction="desc"), "'OrderDirection' must be one of"),
        (sequences.add_sequence_contact("Pós-venda"), "path parameter 'id' is not a valid uuid"),
        (sequences.remove_sequence_contacts_batch(str(uuid.UUID(int=1)), contact_ids=["7"]), "contactIds[0] is no"),
        (directory.list_custom_fields(entity_type="CARD"), "'EntityType' must be one of"),
    ],
)
def test_what_does_not_fit_is_seen(call: Call[Any], words: str):
    assert [problem for problem in call.problems() if words in problem]


def test_an_update_names_what_it_changes():
    call = contacts.update_contact(
        str(uuid.UUID(int=1)),
        name=None,
        phone_number="+55|11999990001",
        email="",
        instagram="@a",
        annotation="a",
        tag_ids=[],
        tag_names=[],
        portfolio_ids=[],
        portfolio_names=[],
        sequence_ids=[],
        custom_fields={},
        metadata={},
        status="ACTIVE",
        picture_url=None,
        utm={},
    )

    known = set(contact_field_words())
    assert isinstance(call.body, dict)
    assert len(call.body["fields"]) == len(set(call.body["fields"]))
    assert set(call.body["fields"]) == known


def contact_field_words() -> list[str]:
    from airflow_provider_wts.api.contract import document

    schema = document("core")["components"]["schemas"]["PublicReqUpdateContactDTO"]
    return list(schema["properties"]["fields"]["items"]["enum"])
