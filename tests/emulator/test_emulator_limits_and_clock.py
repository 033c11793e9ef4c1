"""Rate limits and the emulated clock that they follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from emulator_api import Api

    from airflow_provider_wts.emulator.running import Emulator


@pytest.fixture
def small(emulator: Emulator) -> Emulator:
    """An emulator whose limits are quickly reached, and whose clock stands still."""
    emulator.clock.speed = 0
    emulator.switches.change({"burst_requests": 3, "account_requests": 6, "send_requests": 2})
    return emulator


def statuses(call: Callable[[], Any], times: int) -> list[int]:
    return [call().status_code for _ in range(times)]


def test_the_default_limits_are_those_of_the_service(emulator: Emulator) -> None:
    switches = emulator.switches
    assert (switches.account_requests, switches.burst_requests, switches.send_requests) == (1000, 200, 1000)
    assert switches.rate_limits


def test_a_burst_is_limited_in_five_seconds(api: Api, small: Emulator) -> None:
    assert statuses(lambda: api.call("list_channels"), 4) == [200, 200, 200, 429]
    small.advance(5)
    assert statuses(lambda: api.call("list_channels"), 1) == [200]


def test_the_account_is_limited_in_five_minutes(api: Api, small: Emulator) -> None:
    small.switches.burst_requests = 100
    assert statuses(lambda: api.call("list_channels"), 7)[-2:] == [200, 429]
    small.advance(299)
    assert api.call("list_channels").status_code == 429
    small.advance(2)
    assert api.call("list_channels").status_code == 200


@pytest.mark.parametrize(("account_wide", "expected"), [(True, 429), (False, 200)])
def test_sends_count_against_the_account_or_not(api: Api, small: Emulator, account_wide: bool, expected: int) -> None:
    small.switches.change({"sends_count_account_wide": account_wide, "burst_requests": 2})
    api.send_text()
    api.send_text()
    assert api.call("list_channels").status_code == expected


@pytest.mark.parametrize(("per_operation", "expected"), [(False, 429), (True, 200)])
def test_the_send_family_has_one_counter_or_one_each(
    api: Api, small: Emulator, per_operation: bool, expected: int
) -> None:
    small.switches.change({"send_limit_per_operation": per_operation, "burst_requests": 9})
    identifier = api.send_text()["id"]
    api.send_text()
    assert api.call("get_sent_message_status", id=identifier).status_code == expected


def test_a_refused_request_takes_no_effect_and_counts_nowhere(api: Api, small: Emulator) -> None:
    for _ in range(2):
        api.send_text()
    before = len(small.sends)
    assert statuses(lambda: api.call("send_text", {"to": "5511999990001", "text": "Oi"}), 5) == [429] * 5
    assert len(small.sends) == before
    small.advance(120)
    assert api.send_text()["status"] == "QUEUED"


@pytest.mark.parametrize(("switch", "expected"), [(False, None), (True, "5")])
def test_retry_after_comes_or_not(api: Api, small: Emulator, switch: bool, expected: str | None) -> None:
    small.switches.retry_after = switch
    answers = [api.call("list_channels") for _ in range(4)]
    assert answers[-1].headers.get("Retry-After") == expected


def test_fixed_windows_begin_at_set_times(api: Api, small: Emulator) -> None:
    small.switches.window = "fixed"
    now = small.clock.now() / 10_000_000
    small.advance(5 - now % 5 + 4)
    assert statuses(lambda: api.call("list_channels"), 4) == [200, 200, 200, 429]
    small.advance(1.01)
    assert api.call("list_channels").status_code == 200


def test_limits_can_be_turned_off(api: Api, small: Emulator) -> None:
    small.switches.rate_limits = False
    assert statuses(lambda: api.call("list_channels"), 10) == [200] * 10


def test_a_request_without_a_good_token_does_not_count(api: Api, small: Emulator) -> None:
    api.session.headers["Authorization"] = "Bearer wrong"
    assert statuses(lambda: api.call("list_channels"), 5) == [401] * 5


def test_time_moves_ahead_at_once(emulator: Emulator) -> None:
    before = emulator.clock.datetime()
    emulator.advance(3600)
    assert 3600 <= (emulator.clock.datetime() - before).total_seconds() < 3610


def test_time_does_not_move_back(emulator: Emulator) -> None:
    with pytest.raises(ValueError, match="ahead"):
        emulator.advance(-1)


def test_time_runs_faster_and_things_happen_by_themselves(
    api: Api, emulator: Emulator, until: Callable[[Callable[[], Any]], Any]
) -> None:
    emulator.clock.speed = 1000
    session = api.start_bot()
    until(lambda: api.get_session(session["id"])["status"] == "COMPLETED")


def test_what_becomes_due_happens_at_its_own_time(api: Api, emulator: Emulator) -> None:
    emulator.clock.speed = 0
    session = api.start_bot("Carrinho abandonado")
    emulator.advance(86_400)
    ended = api.get_session(session["id"])
    assert ended["timeService"] == "00:00:03"
