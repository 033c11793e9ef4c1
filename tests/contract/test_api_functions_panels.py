"""Every call that the panel functions make fits the contract, whatever optional parameters are given."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_wts.api import panels
from airflow_provider_wts.api.errors import WtsInvalidRequestError

if TYPE_CHECKING:
    from airflow_provider_wts.api.call import Call

IDS = st.uuids().map(str)
TEXTS = st.text(max_size=20)
TITLES = st.text(min_size=1, max_size=20)
MOMENTS = st.datetimes(timezones=st.just(UTC)) | st.just("2026-03-01T12:00:00.1234567Z")
FLAGS = st.booleans()
JSON = st.dictionaries(
    TEXTS, st.none() | FLAGS | st.integers() | TEXTS | st.lists(st.integers(), max_size=2), max_size=3
)
AMOUNTS = st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)
POSITIONS = st.integers(0, 2**31 - 1) | st.floats(0, 2**31 - 1)
PANEL_DETAILS = st.lists(st.sampled_from(("Tags", "Steps", "StepsCardCount")))
CARD_DETAILS = st.lists(
    st.sampled_from(
        ("PanelTitle", "StepTitle", "StepPhase", "ResponsibleUser", "Contacts", "CustomFields", "LostReason")
    )
)

WINDOW = {
    "created_after": MOMENTS,
    "created_before": MOMENTS,
    "updated_after": MOMENTS,
    "updated_before": MOMENTS,
    "order_by": TEXTS,
    "order_direction": st.sampled_from(("ASCENDING", "DESCENDING")),
}

CONTENT = {
    "description": TEXTS | st.none(),
    "position": POSITIONS | st.none(),
    "due_date": MOMENTS | st.none(),
    "responsible_user_id": IDS | st.none(),
    "tag_ids": st.lists(IDS) | st.none(),
    "tag_names": st.lists(TEXTS) | st.none(),
    "contact_ids": st.lists(IDS) | st.none(),
    "session_id": IDS | st.none(),
    "monetary_amount": AMOUNTS | st.none(),
    "custom_fields": JSON | st.none(),
    "metadata": JSON | st.none(),
}

CHANGE = {
    **CONTENT,
    "step_id": IDS | st.none(),
    "title": TEXTS | st.none(),
    "status": st.sampled_from(("OPEN", "WON", "LOST", "ARCHIVED", None)),
    "lost_reason_id": IDS | st.none(),
    "upsert_tag_operation": st.sampled_from(("InsertIfNotExists", "DeleteIfExists", "ReplaceAll", None)),
}

COPIED = ("All", "Amount", "DueDate", "Tags", "MonetaryAmount", "Contacts", "ResponsibleUser", "CustomFields", "Notes")


def create_card(step_id: str, title: str, **card: Any) -> Call[Any]:
    return panels.create_card(step_id=step_id, title=title, **card)


#: Function, its positional arguments, its optional ones.
FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
    "list_panels": (
        panels.list_panels,
        (),
        {
            **WINDOW,
            "title": TEXTS,
            "panel_type": st.sampled_from(("MANAGEMENT", "SALES")),
            "include_details": PANEL_DETAILS,
        },
    ),
    "get_panel": (panels.get_panel, (IDS,), {"include_details": PANEL_DETAILS}),
    "list_panel_custom_fields": (panels.list_panel_custom_fields, (IDS,), {"nested_list": FLAGS}),
    "list_panel_lost_reasons": (panels.list_panel_lost_reasons, (IDS,), WINDOW),
    "list_cards": (
        panels.list_cards,
        (IDS,),
        {
            **WINDOW,
            "step_id": IDS,
            "contact_id": IDS,
            "responsible_user_id": IDS,
            "text_filter": TEXTS,
            "statuses": st.lists(st.sampled_from(("OPEN", "WON", "LOST", "ARCHIVED"))),
            "include_details": CARD_DETAILS,
        },
    ),
    "create_card": (create_card, (IDS, TITLES), CONTENT),
    "get_card": (panels.get_card, (IDS,), {"include_details": CARD_DETAILS}),
    "update_card": (panels.update_card, (IDS,), CHANGE),
    "duplicate_card": (
        panels.duplicate_card,
        (IDS,),
        {
            "copy_to_step_id": IDS | st.none(),
            "archive_original_card": FLAGS,
            "fields": st.lists(st.sampled_from(COPIED)) | st.none(),
        },
    ),
    "list_card_notes": (panels.list_card_notes, (IDS,), WINDOW),
    "create_card_note": (
        panels.create_card_note,
        (IDS,),
        {"text": TEXTS | st.none(), "file_urls": st.lists(TEXTS, max_size=3) | st.none()},
    ),
    "delete_card_note": (panels.delete_card_note, (IDS, IDS), {}),
}


MASKS = {
    "step_id": "StepId",
    "title": "Title",
    "description": "Description",
    "position": "Position",
    "due_date": "DueDate",
    "responsible_user_id": "ResponsibleUserId",
    "tag_ids": "TagIds",
    "tag_names": "TagIds",
    "contact_ids": "ContactIds",
    "session_id": "SessionId",
    "monetary_amount": "MonetaryAmount",
    "custom_fields": "CustomFields",
    "metadata": "Metadata",
    "status": "Status",
    "lost_reason_id": "Status",
}


@settings(deadline=None)
@given(change=st.fixed_dictionaries({}, optional=CHANGE))
def test_the_mask_of_update_card_names_exactly_what_is_given(change):
    body: Any = panels.update_card(SOME_ID, **change).body

    assert sorted(body["fields"]) == sorted({MASKS[name] for name in change if name in MASKS})
    assert len(body) == 1 + len(change), "every parameter, and the mask, stands in the body"


@settings(deadline=None)
@given(content=st.fixed_dictionaries({}, optional=CONTENT))
def test_create_card_keeps_every_value_as_it_is(content):
    body: Any = create_card(SOME_ID, "Proposta", **content).body

    assert sorted(map(repr, body.values())) == sorted(map(repr, [SOME_ID, "Proposta", *content.values()]))


SOME_ID = "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (panels.get_panel("Funil"), "path parameter 'id' is not a valid uuid"),
        (panels.get_panel(SOME_ID, include_details=["PanelCardOverdueCount"]), "IncludeDetails"),
        (panels.list_panels(include_details=["Cards"]), "IncludeDetails"),
        (panels.list_panels(panel_type="BOTH"), "Type"),
        (panels.list_cards("Funil"), "PanelId"),
        (panels.list_cards(SOME_ID, statuses=["CLOSED"]), "Statuses"),
        (panels.list_cards(SOME_ID, created_after="yesterday"), "CreatedAt.After"),
        (create_card(SOME_ID, ""), "title"),
        (create_card(SOME_ID, "x" * 501), "title"),
        (create_card("Novo", "Proposta"), "stepId"),
        (create_card(SOME_ID, "Proposta", position=-1), "position"),
        (create_card(SOME_ID, "Proposta", description="x" * 8001), "description"),
        (create_card(SOME_ID, "Proposta", monetary_amount="10"), "monetaryAmount"),
        (panels.update_card(SOME_ID, status="CLOSED"), "status"),
        (panels.update_card(SOME_ID, contact_ids=["Carla"]), "contactIds"),
        (panels.update_card(SOME_ID, upsert_tag_operation="REPLACEALL"), "upsertTagOperation"),
        (panels.duplicate_card(SOME_ID, fields=["Title"]), "fields"),
        (panels.create_card_note(SOME_ID, text="x" * 8001), "text"),
        (panels.create_card_note(SOME_ID, file_urls=["https://example.com/a"] * 4), "fileUrls"),
        (panels.delete_card_note(SOME_ID, "7"), "noteId"),
    ],
)
def test_what_does_not_fit_is_found(call, words):
    assert any(words in problem for problem in call.problems())


def test_a_naive_moment_cannot_be_sent():
    with pytest.raises(WtsInvalidRequestError, match="no time zone"):
        _ = panels.update_card(SOME_ID, due_date=datetime(2026, 1, 1)).content


@pytest.mark.parametrize(
    "make",
    [
        lambda: panels.list_panels(name="Funil"),  # type: ignore[call-arg]
        lambda: create_card(SOME_ID, "Proposta", status="WON"),
        lambda: panels.update_card(SOME_ID, archived=False),  # type: ignore[call-arg]
    ],
)
def test_a_parameter_that_does_not_exist_is_a_type_error(make):
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        make()
