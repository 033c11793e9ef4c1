"""The wait for many sessions: what its parameters may be, and when it is over."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.waiting.conditions import NOT_FOUND, SessionsWait, WaitState

IDS = [f"00000000-0000-4000-8000-{number:012d}" for number in range(10)]


def wait(session_ids: Any = IDS, needed: Any = "all", target: Any = "COMPLETED", failed: Any = None) -> SessionsWait:
    return SessionsWait.of(session_ids, needed, target, failed)


@pytest.mark.parametrize(
    ("needed", "count"),
    [("all", 10), ("any", 1), (1, 10), (1.0, 10), (0.9, 9), ("0.9", 9), (0.7, 7), (0.55, 6), (0.01, 1), ("1e-9", 1)],
)
def test_a_share_of_the_sessions_is_rounded_up(needed: Any, count: int) -> None:
    assert wait(needed=needed).needed == count


@pytest.mark.parametrize("needed", [0, -0.5, 1.1, 2, "most", "", None, [], "nan"], ids=repr)
def test_what_is_no_share_is_refused(needed: Any) -> None:
    with pytest.raises(WtsInvalidRequestError, match=r"needed: .* must be 'all', 'any' or a share such as 0.9"):
        wait(needed=needed)


@pytest.mark.parametrize(
    "session_ids",
    [
        IDS[:2],
        tuple(IDS[:2]),
        json.dumps(IDS[:2]),
        [IDS[0].upper(), IDS[1], IDS[0]],
        [{"id": IDS[0], "status": "STARTED"}, {"id": IDS[1]}],
        json.dumps([{"id": IDS[0]}, IDS[1]]),
    ],
    ids=["list", "tuple", "JSON", "twice", "answers", "answers as JSON"],
)
def test_sessions_are_ids_or_answers_of_sends_and_each_counts_once(session_ids: Any) -> None:
    assert wait(session_ids).session_ids == IDS[:2]


@pytest.mark.parametrize(
    ("session_ids", "words"),
    [
        (IDS[0], "must be a list of IDs"),
        ("", "must be a list of IDs"),
        (None, "must be a list of IDs"),
        (7, "must be a list of IDs"),
        ({"id": IDS[0]}, "must be a list of IDs"),
        ("[]", "is empty, so there is nothing to wait for"),
        ([], "is empty, so there is nothing to wait for"),
        ([IDS[0], None], "session_ids: entry 1: is empty"),
        ([IDS[0], {"status": "STARTED"}], "session_ids: entry 1: is empty"),
        (["x"], "session_ids: entry 0: 'x' is not a valid ID"),
    ],
    ids=repr,
)
def test_what_names_no_sessions_is_refused(session_ids: Any, words: str) -> None:
    with pytest.raises(WtsInvalidRequestError, match=words):
        wait(session_ids)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"target": 5}, "target_status: '5' is not a valid value"),
        ({"target": None}, "target_status: is empty"),
        ({"target": "started, done"}, "target_status: 'done' is not a valid value"),
        ({"failed": ["STARTED", 5]}, "failed_status: '5' is not a valid value"),
        ({"failed": "started,completed"}, "must not be in target_status, too"),
    ],
    ids=repr,
)
def test_what_is_no_status_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(WtsInvalidRequestError, match=words):
        wait(**given)


def test_it_is_over_when_as_many_are_as_are_needed() -> None:
    half = wait(needed=0.5)
    state, words = half.verdict(dict.fromkeys(IDS[:4], "COMPLETED") | {IDS[4]: "STARTED"})
    assert state is WaitState.WAITING
    assert words == (
        "4 of 10 session(s) reached COMPLETED; 5 needed. "
        f"Not yet: {IDS[4]}, {IDS[5]}, {IDS[6]}, {IDS[7]}, {IDS[8]} and 1 more."
    )
    assert half.verdict(dict.fromkeys(IDS[:5], "COMPLETED"))[0] is WaitState.REACHED
    assert wait(IDS[:5]).verdict({})[1].endswith(f"{IDS[4]}.")


@pytest.mark.parametrize(("status", "words"), [(NOT_FOUND, "cannot be found"), ("STARTED", "is STARTED")])
def test_one_session_that_failed_ends_it(status: str, words: str) -> None:
    state, said = wait(needed="any", failed="started").verdict({IDS[1]: "COMPLETED", IDS[0]: status})
    assert (state, said) == (WaitState.FAILED, f"Session {IDS[0]} {words}.")


def test_an_unknown_status_is_said_once_and_waited_through(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        assert wait().verdict({IDS[0]: "OF_TOMORROW"})[0] is WaitState.WAITING
    assert caplog.text.count("unknown status 'OF_TOMORROW'") == 1
