"""When a message may go out, and to whom."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_wts.api import parameters
from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError
from airflow_provider_wts.sending import rules as rules_module
from airflow_provider_wts.sending.rules import SendWindow

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.running import Emulator
    from airflow_provider_wts.hooks.wts import WtsHook

PHONE = "+55|11999998888"
OLDER = "+55|1199998888"
SAO_PAULO = ZoneInfo("America/Sao_Paulo")
NEW_YORK = ZoneInfo("America/New_York")


def at(text: str, zone: ZoneInfo = SAO_PAULO) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def opening(window: str, now: datetime) -> datetime:
    return SendWindow.read(window).next_opening(now)


# Windows --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("08:00-20:00 America/Sao_Paulo", range(7)),
        ("8:00 - 20:00  America/Sao_Paulo", range(7)),
        ("mon-fri 08:00-20:00 America/Sao_Paulo", range(5)),
        ("MON,Wed 08:00-20:00 America/Sao_Paulo", (0, 2)),
        ("sat-mon 08:00-20:00 America/Sao_Paulo", (5, 6, 0)),
        (" sun 08:00-20:00 America/Sao_Paulo\n", (6,)),
        ("mon-tue,sat-sun 08:00-20:00 America/Sao_Paulo", (0, 1, 5, 6)),
    ],
)
def test_windows_are_read(text: str, days: Any) -> None:
    assert SendWindow.read(text) == SendWindow(time(8), time(20), SAO_PAULO, frozenset(days))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "08:00-20:00",
        "always",
        "08:00 America/Sao_Paulo",
        "08:00-20:00 Brazil/Nowhere",
        "08:00-20:00 ../../etc/passwd",
        "08:00-25:00 America/Sao_Paulo",
        "08:00-08:00 America/Sao_Paulo",
        "seg-sex 08:00-20:00 America/Sao_Paulo",
        "mon-xyz 08:00-20:00 America/Sao_Paulo",
    ],
)
def test_a_window_that_cannot_be_read_is_refused_with_a_good_example(text: str) -> None:
    with pytest.raises(WtsInvalidRequestError, match=r"send_window: .*08:00-20:00 America/Sao_Paulo"):
        SendWindow.read(text)


@pytest.mark.parametrize(
    ("window", "now", "expected"),
    [
        ("08:00-20:00", "2026-11-23T12:00", "2026-11-23T12:00"),
        ("08:00-20:00", "2026-11-23T08:00", "2026-11-23T08:00"),
        ("08:00-20:00", "2026-11-23T07:59", "2026-11-23T08:00"),
        ("08:00-20:00", "2026-11-23T20:00", "2026-11-24T08:00"),
        ("mon-fri 08:00-20:00", "2026-11-20T21:00", "2026-11-23T08:00"),
        ("mon-fri 08:00-20:00", "2026-11-22T12:00", "2026-11-23T08:00"),
        ("sun 08:00-20:00", "2026-11-23T12:00", "2026-11-29T08:00"),
        ("22:00-02:00", "2026-11-23T01:59", "2026-11-23T01:59"),
        ("22:00-02:00", "2026-11-23T02:00", "2026-11-23T22:00"),
        ("22:00-02:00", "2026-11-23T23:30", "2026-11-23T23:30"),
        # The window of Friday lasts into Saturday; that of Saturday is none.
        ("fri 22:00-02:00", "2026-11-21T01:00", "2026-11-21T01:00"),
        ("fri 22:00-02:00", "2026-11-20T01:00", "2026-11-20T22:00"),
        ("fri 22:00-02:00", "2026-11-21T03:00", "2026-11-27T22:00"),
    ],
)
def test_a_window_opens(window: str, now: str, expected: str) -> None:
    assert opening(f"{window} America/Sao_Paulo", at(now)) == at(expected)


@pytest.mark.parametrize(
    ("window", "now", "expected"),
    [
        # 8 March 2026: 02:00 becomes 03:00. 1 November 2026: 02:00 becomes 01:00.
        ("08:00-20:00", "2026-03-08T01:00-05:00", "2026-03-08T08:00-04:00"),
        ("08:00-20:00", "2026-11-01T01:00-04:00", "2026-11-01T08:00-05:00"),
        ("22:00-06:00", "2026-03-08T05:30-04:00", "2026-03-08T05:30-04:00"),
        ("02:30-04:00", "2026-03-08T01:00-05:00", "2026-03-08T03:30-04:00"),
        # It would open within the hour that is skipped, and after it has closed.
        ("02:30-03:15", "2026-03-08T01:00-05:00", "2026-03-09T02:30-04:00"),
        ("02:10-02:50", "2026-03-08T01:00-05:00", "2026-03-09T02:10-04:00"),
        ("sun 02:10-02:50", "2026-03-08T01:00-05:00", "2026-03-15T02:10-04:00"),
        ("sun 02:10-02:50", "2026-03-01T02:50-05:00", "2026-03-15T02:10-04:00"),
        # It closes within the hour that is skipped.
        ("22:00-02:30", "2026-03-08T03:15-04:00", "2026-03-08T22:00-04:00"),
        # 01:10 comes twice, and is before 01:30 both times.
        ("01:30-05:00", "2026-11-01T01:10-05:00", "2026-11-01T01:30-05:00"),
        ("01:30-05:00", "2026-11-01T01:40-04:00", "2026-11-01T01:30-05:00"),
        ("22:00-01:30", "2026-11-01T01:10-05:00", "2026-11-01T22:00-05:00"),
    ],
)
def test_a_window_opens_where_clocks_jump(window: str, now: str, expected: str) -> None:
    assert opening(f"{window} America/New_York", datetime.fromisoformat(now)) == datetime.fromisoformat(expected)


minutes = st.integers(0, 24 * 60 - 1).map(lambda minute: time(minute // 60, minute % 60))
zones = st.sampled_from(["America/Sao_Paulo", "America/New_York", "Europe/Lisbon", "Australia/Lord_Howe", "UTC"])
moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(minutes, minutes, zones, st.sets(st.integers(0, 6), min_size=1), moments)
def test_every_opening_lies_in_the_window_and_none_is_passed_over(
    opens: time, closes: time, zone: str, days: set[int], now: datetime
) -> None:
    if opens == closes:
        return
    window = SendWindow(opens, closes, ZoneInfo(zone), frozenset(days))
    found = window.next_opening(now)
    assert found >= now
    assert found - now <= timedelta(days=8, hours=1)
    # Where it is open, it stays so; and it is open at its own opening.
    assert window.next_opening(found) == found
    if found > now:
        local = found.astimezone(window.zone)
        gap = local.replace(fold=0).utcoffset() != (local - timedelta(hours=2)).replace(fold=0).utcoffset()
        assert (local.time() == opens and local.weekday() in days) or gap
        # Just before, it was shut.
        assert window.next_opening(found - timedelta(minutes=1)) == found or gap


# not_after ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, "", "  "])
def test_without_not_after_there_is_no_deadline(value: Any) -> None:
    assert parameters.optional_datetime("not_after", value) is None


@pytest.mark.parametrize("value", ["2026-12-24T18:00:00-03:00", " 2026-12-24T21:00:00Z ", at("2026-12-24T18:00")])
def test_not_after_is_a_datetime_or_its_text(value: Any) -> None:
    assert parameters.optional_datetime("not_after", value) == at("2026-12-24T18:00")


@pytest.mark.parametrize("value", ["tomorrow", "2026-12-24T18:00:00", datetime(2026, 12, 24), date(2026, 12, 24), 5])
def test_not_after_without_a_time_or_a_zone_is_refused(value: Any) -> None:
    with pytest.raises(WtsInvalidRequestError):
        parameters.optional_datetime("not_after", value)


# Whom to leave out ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, []),
        ([], []),
        ("opt-out", ["opt-out"]),
        ('["opt-out", "VIP"]', ["opt-out", "VIP"]),
        (["opt-out"], ["opt-out"]),
        (("opt-out",), ["opt-out"]),
    ],
)
def test_tags_are_one_or_a_list_or_its_text(value: Any, expected: list[str]) -> None:
    assert (parameters.texts("exclude_tags", value) or []) == expected


@pytest.mark.parametrize("value", ["[", [None], {"a": 1}, [["a"]]])
def test_tags_that_cannot_be_read_are_refused(value: Any) -> None:
    with pytest.raises(WtsInvalidRequestError, match="exclude_tags"):
        parameters.texts("exclude_tags", value)


def held_back(hook: WtsHook, recipient: str = PHONE, **rules: Any) -> str | None:
    return rules_module.reason_to_exclude(hook, recipient, **{"exclude_tags": [], "exclude_blocked": False, **rules})


def add_contact(emulator: Emulator, phone: str = PHONE, **values: Any) -> None:
    with emulator.state.lock:
        emulator.state.add_contact({"phoneNumber": phone, "name": "Maria", **values})


@pytest.fixture
def vip(emulator: Emulator) -> str:
    return next(tag.id for tag in emulator.state.tags.by_creation() if tag["name"] == "VIP")


def test_without_a_rule_nobody_is_asked(hook: WtsHook, emulator: Emulator) -> None:
    assert held_back(hook) is None
    assert emulator.requests == []


@pytest.mark.parametrize("phone", [PHONE, OLDER], ids=["as written", "without the ninth digit"])
@pytest.mark.parametrize("tag", ["VIP", "vip"])
def test_a_contact_with_the_tag_is_held_back(hook: WtsHook, emulator: Emulator, vip: str, tag: str, phone: str) -> None:
    add_contact(emulator, phone, tagIds=[vip])
    assert "has a tag" in (held_back(hook, exclude_tags=[tag]) or "")


def test_a_tag_can_be_an_id(hook: WtsHook, emulator: Emulator, vip: str) -> None:
    add_contact(emulator, tagIds=[vip])
    assert held_back(hook, exclude_tags=[vip])


def test_contacts_without_the_tag_and_strangers_are_written_to(hook: WtsHook, emulator: Emulator, vip: str) -> None:
    assert held_back(hook, exclude_tags=["Newsletter"]) is None
    add_contact(emulator, tagIds=[vip])
    assert held_back(hook, exclude_tags=["Newsletter"]) is None


def test_a_tag_that_does_not_exist_holds_nobody_back_silently(hook: WtsHook) -> None:
    with pytest.raises(WtsInvalidRequestError, match="opt-out"):
        held_back(hook, exclude_tags=["opt-out"])


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        ({"status": "ACTIVE"}, "the tags of the contact, so exclude_tags"),
        ({"status": "ACTIVE", "tagIds": None, "tagNames": ["VIP"]}, "the tags of the contact, so exclude_tags"),
        ({"tagIds": []}, "whether the contact is blocked, so exclude_blocked"),
        ({"status": None, "tagIds": []}, "whether the contact is blocked, so exclude_blocked"),
    ],
    ids=str,
)
def test_what_the_api_does_not_show_of_a_contact_is_an_error(
    hook: WtsHook, emulator: Emulator, vip: str, monkeypatch: pytest.MonkeyPatch, shown: dict[str, Any], words: str
) -> None:
    add_contact(emulator)
    hook.names.existing_tag(vip)
    monkeypatch.setattr(hook, "run", lambda call: {"id": "1", **shown})
    with pytest.raises(WtsError, match=f"does not show {words} cannot be applied"):
        held_back(hook, exclude_tags=[vip], exclude_blocked=True)


def test_a_contact_whose_tags_are_null_has_none(
    hook: WtsHook, emulator: Emulator, vip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_contact(emulator)
    hook.names.existing_tag(vip)
    monkeypatch.setattr(hook, "run", lambda call: {"id": "1", "status": "ACTIVE", "tagIds": None, "tagNames": None})
    assert held_back(hook, exclude_tags=[vip], exclude_blocked=True) is None


@pytest.mark.parametrize("blocked", [True, False])
def test_blocked_contacts_are_held_back_where_that_is_asked_for(
    hook: WtsHook, emulator: Emulator, blocked: bool
) -> None:
    add_contact(emulator, status="BLOCKED" if blocked else "ACTIVE")
    assert bool(held_back(hook, exclude_blocked=True)) == blocked


def test_a_blocked_contact_is_held_back_however_its_status_is_spelled(hook: WtsHook, emulator: Emulator) -> None:
    add_contact(emulator, status="Blocked")
    assert held_back(hook, exclude_blocked=True)


def test_a_handle_that_no_contact_has_is_written_to(hook: WtsHook) -> None:
    assert held_back(hook, "@maria", exclude_blocked=True) is None
