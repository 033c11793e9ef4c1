"""What is known of sends, folded into rows: in any order, kept over processes, in memory that does not grow."""

from __future__ import annotations

import json
import random
import tracemalloc
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wts.campaigns.outcomes import Outcomes, RowPolicy
from airflow_provider_wts.campaigns.sent import SentCampaign, sent_campaigns
from airflow_provider_wts.hooks.output_files import output_file
from airflow_provider_wts.sending.key import Mark

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BEGUN = datetime(2026, 3, 2, 9, tzinfo=UTC)
POLICY = RowPolicy(None, ["COMPLETED"], None)


def made_up_id(index: int) -> str:
    return str(uuid.UUID(int=random.Random(index).getrandbits(128), version=4))


def at(seconds: float) -> str:
    return (BEGUN + timedelta(seconds=seconds)).isoformat()


def number(index: int) -> str:
    return f"+55|119{10_000_000 + index:08d}"


def line(index: int, **more: Any) -> dict[str, Any]:
    """Return a line of results as a send that went out leaves it."""
    sent = {"status": "sent", "send_key": made_up_id(index), "sent_at": at(0), "id": made_up_id(10**6 + index)}
    return {"line": index + 1, "to": number(index), **sent, **more}


def session(index: int, created: float, *, changed: float | None = None, **more: Any) -> dict[str, Any]:
    """Return a session of a contact, without a marker."""
    return {
        "id": made_up_id(2 * 10**6 + index),
        "contactId": made_up_id(3 * 10**6 + index),
        "createdAt": at(created),
        "updatedAt": at(created if changed is None else changed),
        "status": "IN_PROGRESS",
        "metadata": {},
        **more,
    }


def marked(index: int, created: float, **more: Any) -> dict[str, Any]:
    key = made_up_id(index)
    return session(index, created, metadata={Mark(key).name: key, "nota": "9"}, **more)


@pytest.fixture
def campaign(tmp_path: Path) -> Callable[..., list[SentCampaign]]:
    def made(*lines: dict[str, Any]) -> list[SentCampaign]:
        (tmp_path / "r.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
        traces = {"status_operation": "get_queued_chatbot_status", "by_metadata": True, "by_sender": True}
        about = {"campaign_id": str(uuid.uuid4()), "dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}
        manifest = tmp_path / "r.jsonl.manifest.json"
        manifest.write_text(json.dumps({**about, "generation": 0, "traces": traces}))
        return sent_campaigns(str(manifest))

    return made


@pytest.fixture
def outcomes(tmp_path: Path) -> Callable[[list[SentCampaign]], Outcomes]:
    kept_at = output_file("outcomes_path", f"{tmp_path}/o.state.db", example="")
    return lambda campaigns, key=b"key": Outcomes(campaigns, kept_at, key)


def rows(outcomes: Outcomes, policy: RowPolicy = POLICY) -> dict[str, dict[str, Any]]:
    return {row["row_key"]: row for row in outcomes.rows(policy, BEGUN)}


@pytest.mark.parametrize("seed", range(20))
def test_the_rows_are_the_same_in_whatever_order_sessions_and_statuses_come(
    campaign: Any, outcomes: Any, tmp_path: Path, seed: int
) -> None:
    sent = campaign(*map(line, range(4)))
    contact = {"contactId": made_up_id(77)}
    news: list[Any] = [
        # One that goes on, one in an older session, and two for one send, the second of which counts.
        marked(0, 5, **contact),
        marked(0, 5, changed=60, lastMessageIn=at(60), **contact),
        marked(0, 5, changed=90, lastMessageIn=at(60), endAt=at(90), status="COMPLETED", **contact),
        marked(1, -500, changed=1, lastMessageIn=at(-400)),
        marked(2, 5),
        {**marked(2, 9), "id": made_up_id(5)},
        # A later one of the same contact, and one whose marker was replaced and that a status names.
        session(8, 200, lastMessageIn=at(210), **contact),
        session(3, 5, changed=30, lastMessageIn=at(30)),
        (made_up_id(3), {"status": "SENT", "updatedAt": at(5), "sessionId": made_up_id(2 * 10**6 + 3)}),
        (made_up_id(3), {"status": "READ", "updatedAt": at(9), "sessionId": made_up_id(2 * 10**6 + 3)}),
    ]
    random.Random(seed).shuffle(news)
    with outcomes(sent) as known:
        for one in news * 2:
            if isinstance(one, tuple):
                known.add_status(*one)
            else:
                known.add_session(one)
        found = [rows(known)[number(index)] for index in range(4)]
    shown = ("replied", "completed_at", "existing_session", "marked_sessions", "later_sessions", "message_status")
    assert [tuple(row[name] for name in shown) for row in found] == [
        (True, BEGUN + timedelta(seconds=90), False, 1, 1, None),
        (False, None, True, 1, 0, None),
        (False, None, False, 2, 0, None),
        (True, None, False, 1, 0, "READ"),
    ]
    assert found[2]["session_id"] == made_up_id(5)
    assert [row["answers"] for row in found] == ['{"nota": "9"}'] * 3 + ["{}"]


def test_an_end_before_the_send_is_no_end_of_it(campaign: Any, outcomes: Any) -> None:
    with outcomes(campaign(line(0))) as known:
        known.add_session(marked(0, -900, changed=1, status="COMPLETED", endAt=at(-800)))
        row = rows(known)[number(0)]
    assert (row["session_status"], row["completed_at"], row["final"]) == ("COMPLETED", None, False)


@pytest.mark.parametrize("field", ["createdAt", "updatedAt", "lastInteractionDate", "lastMessageIn"])
def test_a_date_in_the_future_is_none_and_hides_nothing_that_comes_later(
    campaign: Any, outcomes: Any, field: str
) -> None:
    with outcomes(campaign(line(0))) as known:
        known.add_session({**marked(0, 5), field: "2099-01-01T00:00:00Z"})
        assert rows(known)[number(0)]["replied"] is False
        known.add_session(marked(0, 5, changed=90, lastMessageIn=at(60), endAt=at(90), status="COMPLETED"))
        row = rows(known)[number(0)]
    assert (row["session_status"], row["replied"], row["final"]) == ("COMPLETED", True, True)


def test_a_status_dated_in_the_future_hides_no_later_one(campaign: Any, outcomes: Any) -> None:
    with outcomes(campaign(line(0))) as known:
        known.add_status(made_up_id(0), {"status": "SENT", "updatedAt": "2099-01-01T00:00:00Z"})
        known.add_status(made_up_id(0), {"status": "FAILED", "updatedAt": at(9)})
        assert rows(known)[number(0)]["message_status"] == "FAILED"


def test_what_was_kept_is_known_to_the_next_process_and_not_to_another_campaign(campaign: Any, outcomes: Any) -> None:
    sent = campaign(line(0))
    with outcomes(sent) as known:
        known.add_session(marked(0, 5))
        known.cursor = BEGUN + timedelta(hours=1)
        known.keep()
        known.add_session(marked(0, 5, changed=60, lastMessageIn=at(60)))
    with outcomes(sent) as known:
        assert known.cursor == BEGUN + timedelta(hours=1)
        assert (rows(known)[number(0)]["session_id"], rows(known)[number(0)]["replied"]) == (session(0, 0)["id"], False)
    with outcomes(campaign(line(0))) as known:
        assert known.cursor == BEGUN
        assert rows(known)[number(0)]["session_id"] is None


@pytest.mark.parametrize("left", [b"", b"no database", b"SQLite format 3\0" + b"x" * 5000])
def test_a_file_that_holds_something_else_starts_over(
    campaign: Any, outcomes: Any, tmp_path: Path, left: bytes
) -> None:
    (tmp_path / "o.state.db").write_bytes(left)
    with outcomes(campaign(line(0))) as known:
        known.add_session(marked(0, 5))
        assert rows(known)[number(0)]["session_id"] == session(0, 0)["id"]


@pytest.mark.parametrize(
    "metadata",
    [
        {Mark(made_up_id(0)).name: made_up_id(1)},
        {"airflow_send_\ud800": "\ud800"},
        {Mark(made_up_id(9)).name: made_up_id(9)},
        {"x": 1},
    ],
)
def test_an_entry_that_only_looks_like_a_marker_is_none(campaign: Any, outcomes: Any, metadata: Any) -> None:
    with outcomes(campaign(line(0), line(1))) as known:
        known.add_session(session(0, 5, metadata=metadata))
        assert {row["session_id"] for row in rows(known).values()} == {None}


def test_somebody_held_out_is_seen_by_what_the_contact_does(campaign: Any, outcomes: Any) -> None:
    nobody = {"send_key": None, "sent_at": None, "id": None, "status": "holdout", "reason": "holdout"}
    with outcomes(campaign(line(0), *(line(index, **nobody) for index in (1, 2, 3)))) as known:
        details = [{"contactDetails": {"phonenumber": number(index)}} for index in range(4)]
        known.add_session(marked(0, 5, **details[0]))
        known.add_session(session(1, 5, lastMessageIn=at(7), **details[1]))
        known.add_session(session(2, -900, changed=1, lastMessageIn=at(-800), **details[2]))
        found = rows(known)
    columns = ("session_id", "replied", "last_reply_at", "later_sessions", "final")
    assert [tuple(found[number(index)][name] for name in columns) for index in (1, 2, 3)] == [
        (None, True, BEGUN + timedelta(seconds=7), 1, False),
        (None, False, None, 0, False),
        (None, False, None, 0, False),
    ]


def test_what_is_kept_holds_no_number_and_another_key_starts_over(campaign: Any, outcomes: Any, tmp_path: Path) -> None:
    nobody = {"send_key": None, "sent_at": None, "id": None, "status": "holdout", "reason": "holdout"}
    sent = campaign(line(0), line(1, **nobody))
    seen = session(1, 5, lastMessageIn=at(7), contactDetails={"phonenumber": number(1)})
    with outcomes(sent) as known:
        known.add_session(seen)
        known.keep()
    assert b"9100000" not in (tmp_path / "o.state.db").read_bytes()
    with outcomes(sent) as known:
        assert rows(known)[number(1)]["replied"] is True
    with outcomes(sent, key=b"another") as known:
        assert known.cursor == known.begun
        known.add_session(seen)
        assert rows(known)[number(1)]["replied"] is True


def test_a_key_of_the_users_own_stays_where_recipients_are_hidden(campaign: Any, outcomes: Any) -> None:
    sent = campaign(
        line(0, row_key="A-17"), line(1, row_key="(11) 91000-0001"), line(2), {"line": 4, "status": "bad_row"}
    )
    with outcomes(sent) as known:
        found = list(known.rows(POLICY._replace(secret=b"secret"), BEGUN))
    assert [row["row_key"] for row in found[::3]] == ["A-17", "line:4"]
    assert [row["row_key"] == row["recipient"] for row in found] == [False, True, True, False]
    assert "9100000" not in str(found)


def test_memory_does_not_grow_with_the_campaign(campaign: Any, outcomes: Any) -> None:
    def most(count: int) -> int:
        sent = campaign(*map(line, range(count)))
        tracemalloc.start()
        with outcomes(sent) as known:
            for index in range(count):
                known.add_session(marked(index, 5))
            known.keep()
            assert sum(row["replied"] is False for row in known.rows(POLICY, BEGUN)) == count
            assert len(known.unsettled(200)) == 200
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert most(8000) < most(500) * 1.5 + 1_000_000
