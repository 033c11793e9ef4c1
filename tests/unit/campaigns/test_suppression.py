"""Lists of people who must not be written to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wts.api.addresses import hash_of
from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError
from airflow_provider_wts.campaigns.recipients import Row
from airflow_provider_wts.campaigns.suppression import Suppression, rows_of_file
from airflow_provider_wts.hooks.wts import WtsHook

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_wts.emulator.running import Emulator

ANA, BIA, CAIO = "+55|11977770001", "+55|11977770002", "+55|11977770003"
ANA_ID = "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"


@pytest.fixture
def hook(wts_connection: Emulator) -> WtsHook:
    return WtsHook()


def suppression(hook: WtsHook, *values: Any, **settings: Any) -> Suppression:
    rows = [Row(line, value) for line, value in enumerate(values, start=1)]
    return Suppression(hook, lambda: rows, "suppression_sql", **settings)


def suppressed(rule: Suppression) -> list[str]:
    return [to for to in (ANA, BIA, CAIO) if rule.refusal(to) is not None]


@pytest.mark.parametrize(
    "value",
    [
        "+55 11 97777-0001",
        "(11) 7777-0001",
        11977770001,
        {"telefone": "11 97777-0001"},
        {"to": "+5511977770001", "name": "Ana"},
        {"recipient": "+55|11977770001", "row_key": "7"},
    ],
    ids=str,
)
def test_a_number_in_any_spelling_suppresses_its_person(hook: WtsHook, value: Any) -> None:
    assert suppressed(suppression(hook, value)) == [ANA]


def test_a_handle_suppresses_its_person(hook: WtsHook) -> None:
    rule = suppression(hook, "@Maria.Silva")
    assert rule.refusal("@maria.silva")
    assert rule.refusal("@maria") is None


@pytest.mark.parametrize("key", ["", "a key of one's own"])
def test_a_keyed_hash_suppresses_its_person(hook: WtsHook, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("AIRFLOW__WTS__HASH_KEY", key)
    digest = hash_of("+55|1177770001", (key or hook.connection.token).encode())
    assert suppressed(suppression(hook, digest.upper())) == [ANA]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_the_bytes_of_a_hash_or_a_text_suppress_its_person(hook: WtsHook, kind: Any) -> None:
    digest = bytes.fromhex(hash_of(ANA, hook.connection.token.encode()))
    assert suppressed(suppression(hook, kind(digest), {"to": kind(BIA.encode())})) == [ANA, BIA]


@pytest.mark.parametrize("more", [{}, {"nome": "Ana"}], ids=str)
def test_numbers_that_a_spreadsheet_shortened_are_refused(hook: WtsHook, more: dict[str, str]) -> None:
    rule = suppression(hook, {"to": "5511970000000", **more}, {"to": "5511980000000", **more})
    with pytest.raises(
        WtsInvalidRequestError, match=r"1 of 2 rows cannot be read[^\n]*\nLine 2: to: ends in six zeros"
    ):
        rule.refusal(ANA)


def test_other_bytes_are_refused_and_not_shown(hook: WtsHook) -> None:
    with pytest.raises(
        WtsInvalidRequestError, match=r"\nLine 1: contains 16 bytes that are not text\. A hash has 32"
    ) as it:
        suppression(hook, bytes(range(0x80, 0x90))).refusal(CAIO)
    assert [sign for sign in ("\\x", "\ufffd", "\x80") if sign in str(it.value)] == []


@pytest.mark.parametrize("alone", [False, True])
def test_the_id_of_a_contact_suppresses_it(emulator: Emulator, hook: WtsHook, alone: bool) -> None:
    emulator.seed(contacts=[{"name": "Ana", "phone": ANA}, {"name": "Bia", "phone": BIA}])
    contact = emulator.state.contact_by_address(BIA)
    assert contact is not None
    assert suppressed(suppression(hook, contact.id.upper(), alone=alone)) == [BIA]


@pytest.mark.parametrize(
    ("alone", "shown", "words"),
    [
        (True, {"id": None, "phoneNumber": ANA}, "answer has no 'id'"),
        (True, {"phoneNumber": ANA}, "answer has no 'id'"),
        (False, {"id": ANA_ID}, f"Contact {ANA_ID} has a number that cannot be read; list the number"),
        (False, {"id": ANA_ID, "phoneNumber": None}, f"Contact {ANA_ID} has a number that cannot be read"),
    ],
    ids=str,
)
def test_a_contact_that_shows_too_little_lets_nothing_go_out(
    hook: WtsHook, monkeypatch: pytest.MonkeyPatch, alone: bool, shown: dict[str, Any], words: str
) -> None:
    monkeypatch.setattr(hook, "run", lambda call: shown)
    with pytest.raises(WtsError, match=words):
        suppression(hook, ANA_ID, alone=alone).refusal(ANA)


def test_a_contact_of_messenger_has_no_number_to_suppress(hook: WtsHook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook, "run", lambda call: {"id": ANA_ID, "phoneNumber": None, "messengerId": "7"})
    assert suppression(hook, ANA_ID).refusal(ANA) is None


def test_many_contacts_are_read_from_the_list_of_all(emulator: Emulator, hook: WtsHook) -> None:
    people = [f"+55|119{index:08d}" for index in range(10_000_000, 10_000_400)]
    emulator.seed(contacts=[{"name": to, "phone": to} for to in people])
    ids = [emulator.state.contact_by_address(to).id for to in people]  # type: ignore[union-attr]
    rule = suppression(hook, *ids)
    assert all(rule.refusal(to) for to in people)
    assert len(emulator.requests) < 30


def test_several_columns_of_one_row_are_all_taken(emulator: Emulator, hook: WtsHook) -> None:
    emulator.seed(contacts=[{"name": "Bia", "phone": BIA}])
    contact = emulator.state.contact_by_address(BIA)
    assert contact is not None
    assert suppressed(suppression(hook, {"to": ANA, "contact_id": contact.id})) == [ANA, BIA]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "the list is empty"),
        ([ANA, "12"], r"1 of 2 rows cannot be read.*\nLine 2: .*'12' is not a valid phone number"),
        ([ANA, None], r"\nLine 2: is empty"),
        ([{"phone": "", "name": ""}], r"\nLine 1: has 2 columns, and none of them is one of 'to', 'recipient'"),
        ([ANA, *["x"] * 30], r"30 of 31 rows.*(?s:.*)And 10 more"),
        (["5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"], r"Contact 5f0c6c8e\S+ is not in WTS Chat"),
    ],
    ids=str,
)
def test_a_list_that_cannot_be_read_as_a_whole_is_refused(hook: WtsHook, values: list[Any], words: str) -> None:
    with pytest.raises(WtsInvalidRequestError, match=words) as caught:
        suppression(hook, *values).refusal(CAIO)
    assert str(caught.value).startswith("suppression_sql: ")
    assert "Nothing more was sent" in str(caught.value)


def test_a_list_is_read_again_before_a_chunk(hook: WtsHook, monkeypatch: pytest.MonkeyPatch) -> None:
    now, rows = [1000.0], [Row(1, ANA)]
    rule = Suppression(hook, lambda: rows, "suppression_path")
    monkeypatch.setattr("airflow_provider_wts.campaigns.suppression.seconds", lambda: now[0])
    assert suppressed(rule) == [ANA]
    rows.append(Row(2, BIA))
    now[0] += 59
    rule.before_chunk()
    assert suppressed(rule) == [ANA]
    now[0] += 2
    rule.before_chunk()
    assert suppressed(rule) == [ANA, BIA]
    rows.clear()
    now[0] += 61
    with pytest.raises(WtsInvalidRequestError, match="the list is empty"):
        rule.before_chunk()


def test_a_list_that_takes_long_is_read_less_often(hook: WtsHook, monkeypatch: pytest.MonkeyPatch) -> None:
    now, readings = [1000.0], [0]

    def read() -> list[Row]:
        readings[0] += 1
        now[0] += 30
        return [Row(1, ANA)]

    rule = Suppression(hook, read, "suppression_path")
    monkeypatch.setattr("airflow_provider_wts.campaigns.suppression.seconds", lambda: now[0])
    rule.begin()
    for _ in range(20):
        now[0] += 61
        rule.before_chunk()
    assert readings[0] == 3


def test_a_hundred_thousand_people_take_little_memory(hook: WtsHook) -> None:
    rule = suppression(hook, *range(11910000000, 11910100000))
    assert rule.refusal("+55|11910099999")
    assert rule.refusal("+55|11910100000") is None


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("list.csv", "telefone\n(11) 97777-0001\n", ""),
        ("list.jsonl", '"+55 11 97777-0001"\n', ""),
        ("list.csv", "(11) 97777-0001\n(11) 97777-0002\n", "the header, line 1, contains"),
        ("list.csv", "", "the file has no header line"),
        ("list.csv", "telefone\n", "the list is empty"),
        ("list.txt", "(11) 97777-0001\n", "the name of .* does not show its format.* Let its name end in"),
        ("missing.csv", None, "there is no file"),
        ("list.csv", "nome\nJo\udce3o\n", r"is not encoded in UTF-8.* Save it in UTF-8\.$"),
    ],
    ids=str,
)
def test_a_list_in_a_file(hook: WtsHook, tmp_path: Path, name: str, content: str | None, words: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content, errors="surrogateescape")
    rule = Suppression(hook, lambda: rows_of_file(str(path)), "suppression_path")
    if not words:
        assert suppressed(rule) == [ANA]
        return
    with pytest.raises(WtsInvalidRequestError, match=f"^suppression_path: .*{words}"):
        rule.begin()


def test_a_file_of_hashes_without_a_header_is_refused(hook: WtsHook, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"{'ab' * 32}\n{'cd' * 32}\n")
    with pytest.raises(WtsInvalidRequestError, match=r"the header .* is data"):
        Suppression(hook, lambda: rows_of_file(str(path)), "suppression_path").begin()


def test_a_contact_that_is_missing_is_named_however_the_api_says_so(emulator: Emulator, hook: WtsHook) -> None:
    emulator.faults.add("status", operation_id="get_contact", envelope="business", key="FORM_ERROR")
    with pytest.raises(
        WtsInvalidRequestError, match=r"^suppression_sql: .*(?s:.*)Contact 5f0c6c8e\S+ is not in WTS Chat"
    ):
        suppression(hook, "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e").refusal(ANA)
