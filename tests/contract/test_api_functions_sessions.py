"""Every call that the session functions make fits the contract, whatever optional parameters are given."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_wts.api import sessions
from airflow_provider_wts.api.errors import WtsInvalidRequestError

IDS = st.uuids().map(str)
TEXTS = st.text(max_size=20)
MOMENTS = st.datetimes(timezones=st.just(UTC)) | st.just("2026-03-01T12:00:00.1234567Z")
FLAGS = st.booleans()
STATUSES = st.sampled_from(("UNDEFINED", "STARTED", "PENDING", "IN_PROGRESS", "COMPLETED", "HIDDEN"))
DETAILS = st.lists(
    st.sampled_from(
        (
            "AgentDetails",
            "DepartmentsDetails",
            "ContactDetails",
            "ChannelTypeDetails",
            "ClassificationDetails",
            "ChannelDetails",
        )
    )
)
JSON = st.dictionaries(
    TEXTS, st.none() | FLAGS | st.integers() | TEXTS | st.lists(st.integers(), max_size=2), max_size=3
)
AMOUNTS = st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)

WINDOW = {
    "created_after": MOMENTS,
    "created_before": MOMENTS,
    "updated_after": MOMENTS,
    "updated_before": MOMENTS,
    "order_by": TEXTS,
    "order_direction": st.sampled_from(("ASCENDING", "DESCENDING")),
}

FILTERS = {
    **WINDOW,
    "status": st.lists(STATUSES),
    "department_id": IDS,
    "user_id": IDS,
    "contact_id": IDS,
    "tag_ids": st.lists(IDS),
    "tag_names": st.lists(TEXTS),
    "channel_ids": st.lists(IDS),
    "ended_after": MOMENTS,
    "ended_before": MOMENTS,
    "active_after": MOMENTS,
    "active_before": MOMENTS,
    "last_interaction_after": MOMENTS,
    "last_interaction_before": MOMENTS,
    "metadata": st.dictionaries(TEXTS, TEXTS | st.none()),
    "session_type": st.sampled_from(("INDIVIDUAL", "GROUP")),
    "include_details": DETAILS,
}

#: Function, its positional arguments, its optional ones.
FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
    "get_session": (sessions.get_session, (IDS,), {"include_details": DETAILS}),
    "list_sessions": (sessions.list_sessions, (), FILTERS),
    "change_session_status": (sessions.change_session_status, (IDS, STATUSES), {"stop_bot_in_execution": FLAGS}),
    "complete_session": (
        sessions.complete_session,
        (IDS,),
        {"reactivate_on_new_message": FLAGS, "stop_bot_in_execution": FLAGS},
    ),
    "transfer_session": (
        sessions.transfer_session,
        (IDS, st.sampled_from(("DEPARTMENT", "USER"))),
        {"new_department_id": IDS | st.none(), "new_user_id": IDS | st.none(), "stop_bot_in_execution": FLAGS},
    ),
    "assign_session_user": (sessions.assign_session_user, (IDS, IDS), {"stop_bot_in_execution": FLAGS}),
    "update_session": (
        sessions.update_session,
        (IDS,),
        {
            "status": STATUSES | st.none(),
            "end_at": MOMENTS | st.none(),
            "number": TEXTS | st.none(),
            "department_id": IDS | st.none(),
            "user_id": IDS | st.none(),
            "classification": st.fixed_dictionaries(
                {},
                optional={
                    "category": st.sampled_from(("UNDEFINED", "WON", "LOST", "INFO", "OTHER", None)),
                    "description": TEXTS | st.none(),
                    "amount": AMOUNTS | st.none(),
                },
            ),
            "metadata": JSON | st.none(),
            "stop_bot_in_execution": FLAGS,
        },
    ),
    "create_session_note": (
        sessions.create_session_note,
        (IDS,),
        {"text": TEXTS | st.none(), "file_urls": st.lists(TEXTS) | st.none(), "file_ids": st.lists(IDS) | st.none()},
    ),
}


@settings(deadline=None)
@given(options=st.fixed_dictionaries({}, optional=FUNCTIONS["update_session"][2]))
def test_the_mask_of_update_session_names_exactly_what_is_given(options):
    body: Any = sessions.update_session("5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e", **options).body

    properties = set(body) - {"fields", "options"}
    assert {name[0].lower() + name[1:] for name in body["fields"]} == properties
    assert len(body["fields"]) == len(options.keys() - {"stop_bot_in_execution"})


SOME_ID = "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (sessions.get_session("7"), "path parameter 'id' is not a valid uuid"),
        (sessions.get_session(SOME_ID, include_details=["Contact"]), "includeDetails"),
        (sessions.list_sessions(status=["OPEN"]), "Status"),
        (sessions.list_sessions(tag_ids=["VIP"]), "TagsId"),
        (sessions.list_sessions(ended_after="yesterday"), "EndAt.After"),
        (sessions.list_sessions(order_direction="desc"), "OrderDirection"),
        (sessions.change_session_status(SOME_ID, "DONE"), "newStatus"),
        (sessions.complete_session(SOME_ID, stop_bot_in_execution="yes"), "stopBotInExecution"),  # type: ignore[arg-type]
        (sessions.transfer_session(SOME_ID, "BOTH"), "type"),
        (sessions.transfer_session(SOME_ID, "USER", new_user_id="Ana"), "newUserId"),
        (sessions.assign_session_user(SOME_ID, "Ana"), "userId"),
        (sessions.update_session(SOME_ID, classification={"category": "BOUGHT"}), "category"),
        (sessions.update_session(SOME_ID, number=7), "number"),  # type: ignore[arg-type]
        (sessions.create_session_note(SOME_ID, file_ids=["7"]), "filesIds"),
    ],
)
def test_what_does_not_fit_is_found(call, words):
    assert any(words in problem for problem in call.problems())


def test_a_naive_moment_cannot_be_sent():
    with pytest.raises(WtsInvalidRequestError, match="no time zone"):
        _ = sessions.list_sessions(updated_after=datetime(2026, 1, 1)).query_pairs


def test_a_parameter_that_does_not_exist_is_a_type_error():
    with pytest.raises(TypeError, match="'state'"):
        sessions.list_sessions(state="OPEN")  # type: ignore[call-arg]
