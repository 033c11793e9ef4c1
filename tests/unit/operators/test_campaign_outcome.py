"""The outcome of campaigns: every row is what the service knows, however sessions and metadata came and went."""

from __future__ import annotations

import csv
import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_wts.api.chatbots import queue_chatbot_batch
from airflow_provider_wts.api.client import WtsClient
from airflow_provider_wts.api.errors import WtsError
from airflow_provider_wts.api.sessions import complete_session, update_session
from airflow_provider_wts.api.wire import parse_timestamp
from airflow_provider_wts.campaigns.sent import RESULT_COLUMNS
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.operators.campaign import WtsCampaignOutcomeOperator
from airflow_provider_wts.operators.chatbot import WtsSendChatbotBatchOperator
from airflow_provider_wts.operators.message import WtsSendTemplateBatchOperator, WtsSendTextBatchOperator
from airflow_provider_wts.waiting import session_changes

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_wts.emulator.running import Emulator

BOT = "Falar com atendente"


def number(index: int) -> str:
    return f"+55|119{10_000_000 + index:08d}"


@pytest.fixture
def send(service: Emulator, ledger: Path, context: dict[str, Any], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def sent(*people: Any, run_id: str = "one", cls: Any = WtsSendChatbotBatchOperator, **parameters: Any) -> Any:
        context["ti"].run_id = run_id
        given: dict[str, Any] = {"chatbot": BOT} if cls is WtsSendChatbotBatchOperator else {}
        given |= {"results_path": f"{tmp_path}/{run_id}.jsonl", "on_bad_row": "skip"}
        task = cls(task_id="send", recipients=list(people), **{**given, **parameters})
        counts = task.execute(context)
        service.advance(5)
        return counts

    return sent


@pytest.fixture
def follow(tmp_path: Path, context: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    def followed(campaign: Any, **parameters: Any) -> dict[str, Any]:
        given = {"outcomes_path": f"{tmp_path}/outcomes.jsonl", "rate_limit_percent": 100, **parameters}
        return WtsCampaignOutcomeOperator(task_id="outcome", campaign=campaign, **given).execute(context)

    return followed


def rows(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    with open(result["path"], encoding="utf-8") as file:
        return {row["row_key"]: row for row in map(json.loads, file)}


def truth(emulator: Emulator, row: dict[str, Any]) -> dict[str, Any]:
    """Return what the service knows of a send."""
    ids = {send["sessionId"] for send in emulator.sends if send["senderId"] == row["send_key"] and send["sessionId"]}
    sessions = sorted((emulator.state.sessions.find(one) for one in ids), key=lambda one: one.created)
    session = sessions[-1]
    sent_at = parse_timestamp(row["sent_at"])
    created = parse_timestamp(emulator.clock.text(session.created))
    existing = created < sent_at

    def date(name: str, *, after: bool = True) -> str | None:
        found = parse_timestamp(session[name]) if session[name] else None
        if found is None or (after and existing and found < sent_at):
            return None
        return found.astimezone(UTC).isoformat()

    agents = {one["userId"]: one["name"] for one in emulator.state.agents.by_creation()}
    department = emulator.state.departments.find(session["departmentId"]) if session["departmentId"] else None
    later = [one for one in session.contact.sessions if one.created > session.created and one not in sessions]
    answers = {name: value for name, value in session["metadata"].items() if not name.startswith("airflow_send_")}
    classification = session["classification"] or {}
    return {
        "session_id": session.id,
        "session_status": session["status"],
        "session_created_at": created.astimezone(UTC).isoformat(),
        "existing_session": existing,
        "marked_sessions": len(sessions),
        "later_sessions": len(later),
        "replied": date("lastMessageIn") is not None,
        "last_reply_at": date("lastMessageIn"),
        "completed_at": date("endAt") if session["status"] == "COMPLETED" else None,
        "last_interaction_at": date("lastInteractionDate", after=False),
        "agent": agents.get(session["userId"]),
        "department": department["name"] if department else None,
        "classification": classification.get("category"),
        "amount": classification.get("amount"),
        "answers": json.dumps(answers, ensure_ascii=False, sort_keys=True),
        "final": session["status"] == "COMPLETED",
    }


def assert_true(emulator: Emulator, result: dict[str, Any], sent: int, found: Any = None) -> None:
    found = found or [row for row in rows(result).values() if row["send_status"] == "sent"]
    assert len(found) == sent
    for row in found:
        expected = truth(emulator, row)
        assert {name: row[name] for name in expected} == expected, row["recipient"]


def talk(emulator: Emulator, people: int) -> None:
    """Let things happen in conversations: replies, ends, answers, and new conversations after the end."""
    client = WtsHook().client
    for index in range(0, people, 3):
        emulator.contact_writes(number(index), "Sim")
    for session in emulator.state.sessions.by_creation()[: people // 2 : 2]:
        if session["status"] != "COMPLETED":
            given = {"category": "WON", "amount": 10.5}
            client.perform(update_session(session.id, metadata={"nota": "9"}, classification=given))
            client.perform(complete_session(session.id))
    for index in range(0, people, 7):
        emulator.contact_writes(number(index), "Outra coisa")


class Killed(BaseException):
    """The process dies."""


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the process die at its so manieth request from now."""

    def at(left: int) -> None:
        perform = WtsClient.perform

        def counted(self: WtsClient, *args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                monkeypatch.setattr(WtsClient, "perform", perform)
                raise Killed
            return perform(self, *args, **kwargs)

        monkeypatch.setattr(WtsClient, "perform", counted)

    return at


@pytest.mark.parametrize("kept", ["merge", "replace"])
@pytest.mark.parametrize("passes", ["before and after", "after"])
@pytest.mark.parametrize("shown", [True, False], ids=["listed", "not-listed"])
def test_every_row_is_what_the_service_knows(
    service: Emulator, send: Any, follow: Any, dying: Any, kept: str, passes: str, shown: bool
) -> None:
    people = 300 if shown else 60
    service.switches.change({"session_metadata": kept, "metadata_in_session_list": shown})
    for index in range(0, people, 4):
        service.contact_writes(number(index), "Bom dia")
    service.advance(60)
    everybody = [number(index) for index in range(people)]
    campaign = send(*everybody)
    if passes == "before and after":
        assert_true(service, follow(campaign), people)
    talk(service, people)
    # Another campaign into the same conversations, and one that ends them.
    send(*everybody[::5], run_id="two")
    send(*everybody[1::6], run_id="three", force_start_session=True)
    # A request that took effect twice, each time in a session of its own. What nobody read before it was replaced, and
    # no id leads to, is lost.
    lost = (kept, passes) == ("replace", "after") or not shown
    twice = [] if lost else service.sends[2:people:9]
    for one in twice:
        message = {"to": one.to, "sender_id": one["senderId"]}
        mark = {f"airflow_send_{one['senderId'][:8]}": one["senderId"]}
        call = queue_chatbot_batch(
            _key(service),
            [{**message, "session_metadata": mark}],
            force_start_session=True,
        )
        WtsHook().run(call)
    service.advance(5)
    talk(service, people)
    for requests in (1, 2, 40, 120):
        dying(requests)
        try:
            follow(campaign)
        except Killed:
            continue
    result = follow(campaign)
    assert_true(service, result, people)
    before = rows(result)
    again = rows(follow(campaign))
    assert {key: {**row, "observed_at": 0} for key, row in again.items()} == {
        key: {**row, "observed_at": 0} for key, row in before.items()
    }


def requests(emulator: Emulator) -> list[str]:
    return [request.operation_id for request in emulator.requests]


@pytest.fixture
def clock_of_the_service(service: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's clock goes with the service's, which tests move ahead."""
    now = classmethod(lambda cls, zone: service.clock.datetime())
    monkeypatch.setattr(session_changes, "datetime", type("ClockOfTheService", (datetime,), {"now": now}))


@pytest.mark.usefixtures("clock_of_the_service")
def test_a_pass_lists_what_changed_and_nothing_else(service: Emulator, send: Any, follow: Any) -> None:
    campaign = send(*map(number, range(250)))
    follow(campaign)
    # Those that are read again, in case the service shows a change late, have changed long ago.
    service.advance(600)
    follow(campaign)
    for changed in (0, 1, 100, 170):
        service.advance(600)
        for index in range(changed):
            service.contact_writes(number(index), "Oi")
        before = len(service.requests)
        assert_true(service, follow(campaign), 250)
        made = requests(service)[before:]
        assert set(made) == {"list_sessions"}
        assert len(made) <= changed / 100 + 2


@pytest.mark.usefixtures("clock_of_the_service")
def test_a_message_that_moves_no_date_of_change_is_found(service: Emulator, send: Any, follow: Any) -> None:
    service.switches.change({"messages_touch_session": False})
    campaign = send(*map(number, range(120)))
    follow(campaign)
    service.advance(600)
    for index in range(110):
        service.contact_writes(number(index), "Oi")
    before = len(service.requests)
    assert_true(service, follow(campaign), 120)
    assert len(service.requests) - before <= 110 / 100 + 2


def test_rows_that_nothing_went_to_are_final(service: Emulator, send: Any, follow: Any) -> None:
    service.behave(number(1), replies=[], fails="Número inexistente")
    campaign = send(number(0), "12", number(0), number(1))
    result = follow(campaign, detail="messages")
    found = rows(result)
    assert {key: row["send_status"] for key, row in found.items()} == {
        number(0): "sent",
        "line:2": "bad_row",
        "line:3": "duplicate",
        number(1): "sent",
    }
    assert [found[f"line:{line}"]["final"] for line in (2, 3)] == [True, True]
    assert result["rows"] == 4
    assert sum(result["by_status"].values()) == 4


def test_a_message_that_failed_later_is_final(service: Emulator, send: Any, follow: Any) -> None:
    service.behave(number(1), replies=[], fails="Número inexistente")
    campaign = send(number(0), number(1), cls=WtsSendTextBatchOperator, row_text="Oi", channel="WhatsApp principal")
    service.advance(10)
    found = rows(follow(campaign, detail="messages"))
    assert (found[number(1)]["message_status"], found[number(1)]["final"]) == ("FAILED", True)
    assert found[number(1)]["failed_reason"] == "Número inexistente"
    assert (found[number(0)]["message_status"], found[number(0)]["final"]) == ("READ", False)


@pytest.mark.parametrize("cls", [WtsSendTextBatchOperator, WtsSendTemplateBatchOperator])
@pytest.mark.parametrize("known", ["id", "sender id"])
def test_messages_without_a_marker_are_found_by_their_id_or_sender(
    service: Emulator, send: Any, follow: Any, tmp_path: Path, cls: Any, known: str
) -> None:
    service.contact_writes(number(0), "Olá")
    service.advance(60)
    given = (
        {"template": "carrinho", "mark_session": False} if cls is WtsSendTemplateBatchOperator else {"row_text": "Oi"}
    )
    campaign = send(number(0), number(1), cls=cls, channel="WhatsApp principal", **given)
    if known == "sender id":
        results = tmp_path / "one.jsonl"
        lines = [json.loads(line) for line in results.read_text().splitlines()]
        results.write_text("".join(json.dumps({**line, "id": None, "session_id": None}) + "\n" for line in lines))
    assert_true(service, follow(campaign), 2)


def test_what_cannot_be_found_is_not_final_and_is_looked_up_within_bounds(
    service: Emulator, send: Any, follow: Any, tmp_path: Path
) -> None:
    campaign = send(*map(number, range(30)), mark_session=False)
    results = tmp_path / "one.jsonl"
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    results.write_text("".join(json.dumps({**line, "id": str(uuid.uuid4())}) + "\n" for line in lines))
    before = len(service.requests)
    found = rows(follow(campaign, max_lookups=12))
    assert len(service.requests) - before <= 12 + 3
    assert {(row["session_id"], row["final"]) for row in found.values()} == {(None, False)}


def test_lookups_reach_every_send_in_turn(service: Emulator, send: Any, follow: Any) -> None:
    campaign = send(*map(number, range(30)), mark_session=False)
    for _ in range(8):
        result = follow(campaign, max_lookups=10)
    assert_true(service, result, 30)


def test_statuses_that_were_asked_for_before_a_kill_are_not_asked_for_again(
    service: Emulator,
    send: Any,
    follow: Any,
    dying: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from airflow_provider_wts.campaigns import outcome_sweep

    monkeypatch.setattr(outcome_sweep, "_SAVE_INTERVAL", 10)
    campaign = send(*map(number, range(60)))
    dying(2 + 35)
    with pytest.raises(Killed):
        follow(campaign, detail="messages")
    before = len(service.requests)
    caplog.clear()
    assert_true(service, follow(campaign, detail="messages"), 60)
    made = requests(service)[before:]
    assert made.count("get_queued_chatbot_status") == 30
    assert "Reading 30 messages one at a time" in caplog.text
    # The next pass asks for what may have changed.
    follow(campaign, detail="messages")
    assert requests(service).count("get_queued_chatbot_status") == 34 + 30 + 60


def test_sends_whose_status_leads_nowhere_are_looked_up_by_their_contacts_in_turn(
    service: Emulator, send: Any, follow: Any, tmp_path: Path
) -> None:
    service.contact_writes(number(0), "Olá")
    campaign = send(*map(number, range(12)), cls=WtsSendTextBatchOperator, row_text="Oi", channel="WhatsApp principal")
    results = tmp_path / "one.jsonl"
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    results.write_text("".join(json.dumps({**line, "id": str(uuid.uuid4())}) + "\n" for line in lines))
    for _ in range(8):
        before = len(service.requests)
        result = follow(campaign, max_lookups=10)
        # One send that was begun is looked up to its end.
        assert len(service.requests) - before <= 10 + 2 + 5
    assert_true(service, result, 12)


# Odd answers ----------------------------------------------------------------------------------------------------------

#: How one session of a list may be odd.
ODD = {
    "no metadata": {"metadata": None},
    "metadata of another kind": {"metadata": ["x"]},
    "metadata as text": {"metadata": "x"},
    "no dates": {"createdAt": None, "updatedAt": None, "lastMessageIn": None, "lastInteractionDate": None},
    "dates that are none": {"createdAt": "yesterday", "updatedAt": 17, "lastMessageIn": {}},
    "dates in the future": {"createdAt": "2999-01-01T00:00:00Z", "updatedAt": "2999-01-01T00:00:00Z"},
    "dates in the past": {"createdAt": "0001-01-01T00:00:00Z", "updatedAt": "0001-01-01T00:00:00Z"},
    "dates that no clock has": {"createdAt": "9999-12-31T23:59:59.9999999-12:00", "endAt": "0001-01-01T00:00+14:00"},
    "no status": {"status": None},
    "another status": {"status": {"x": 1}},
    "no contact": {"contactId": None},
    "details of another kind": {"agentDetails": "x", "departmentDetails": [], "classification": 1},
    "an amount that is none": {"classification": {"category": 7, "amount": "NaN"}},
    "large numbers": {"classification": {"category": "x", "amount": 10**40}, "unreadCount": 10**400},
    "half characters and NUL": {"agentDetails": {"name": "a\ud800\0b"}, "metadata": {"\ud800": "\0"}},
    "no id": {"id": None},
    "another id": {"id": 17},
}


@pytest.mark.parametrize("how", ODD)
def test_one_odd_session_does_not_end_the_outcomes_of_the_others(
    service: Emulator, send: Any, follow: Any, odd_session: Any, database: Any, how: str
) -> None:
    campaign = send(*map(number, range(6)))
    odd_session(service.state.sessions.by_creation()[2].id, ODD[how])
    given = {
        "outcomes_table": database.table,
        "outcomes_conn_id": "wts_db",
        "report_path": f"{campaign['results_path']}.html",
    }
    found = rows(follow(campaign, **given))
    assert len(found) == 6
    assert_true(service, {"path": None}, 5, [row for key, row in found.items() if key != number(2)])
    assert found[number(2)]["final"] is False
    follow(campaign, **given)
    assert database("SELECT COUNT(*) FROM TABLE_NAME") == [(6,)]


@pytest.fixture
def odd_session(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict[str, Any]], None]:
    """Let answers show one session in an odd way."""

    def show(session_id: str, odd: dict[str, Any]) -> None:
        perform = WtsClient.perform

        def changed(self: WtsClient, *args: Any, **kwargs: Any) -> Any:
            answer = perform(self, *args, **kwargs)
            for item in answer.get("items", [answer]) if isinstance(answer, dict) else []:
                if isinstance(item, dict) and item.get("id") == session_id:
                    item.update(odd)
            return answer

        monkeypatch.setattr(WtsClient, "perform", changed)

    return show


LIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "torn": lambda about: json.dumps(about)[:-20],
    "a list": lambda about: [about],
    "no campaign id": lambda about: {**about, "campaign_id": None},
    "a campaign id that is none": lambda about: {**about, "campaign_id": "x" * 40},
    "a campaign id of another kind": lambda about: {**about, "campaign_id": 17},
    "no traces": lambda about: {name: one for name, one in about.items() if name != "traces"},
    "traces of another kind": lambda about: {**about, "traces": "x"},
    "traces without a call": lambda about: {**about, "traces": {}},
    "a call that is none": lambda about: {**about, "traces": {**about["traces"], "status_operation": "delete_contact"}},
    "a map index that is none": lambda about: {**about, "map_index": {"x": 1}},
    "a task that is none": lambda about: {**about, "dag_id": ["x"]},
}


@pytest.mark.parametrize("how", LIES)
def test_a_manifest_that_lies_is_named_before_any_request(
    service: Emulator, send: Any, follow: Any, database: Any, how: str
) -> None:
    campaign = send(*map(number, range(3)), mark_session=False)
    manifest = Path(campaign["manifest_path"])
    lie = LIES[how](json.loads(manifest.read_text()))
    manifest.write_text(lie if isinstance(lie, str) else json.dumps(lie))
    before = len(service.requests)
    with pytest.raises(AirflowFailException, match=r"campaign: '.*manifest.json' .*Example"):
        follow(campaign, outcomes_table=database.table, outcomes_conn_id="wts_db")
    assert len(service.requests) == before


EDITED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "torn": lambda line: json.dumps(line)[:-5],
    "no object": lambda line: [line],
    "no status": lambda line: {name: one for name, one in line.items() if name != "status"},
    "another status": lambda line: {**line, "status": 1},
    "no line": lambda line: {name: one for name, one in line.items() if name not in ("line", "to")},
    "a line that is none": lambda line: {**line, "line": "x"},
    "no date": lambda line: {**line, "sent_at": None},
    "a date that is none": lambda line: {**line, "sent_at": "yesterday"},
    "no recipient": lambda line: {**line, "to": None},
    "a recipient of another kind": lambda line: {**line, "to": 5511},
    "a key of another kind": lambda line: {**line, "send_key": {"x": 1}},
    "a row key of another kind": lambda line: {**line, "row_key": ["x"]},
    "a row key that is too long": lambda line: {**line, "row_key": "x" * 300},
    "bytes that are no text": lambda line: b'{"line": 1, "to": "\xff"}',
}


@pytest.mark.parametrize("how", EDITED)
def test_a_line_of_results_that_somebody_edited_is_named(
    service: Emulator, send: Any, follow: Any, tmp_path: Path, how: str
) -> None:
    campaign = send(*map(number, range(3)))
    follow(campaign)
    results = tmp_path / "one.jsonl"
    lines: list[Any] = [json.loads(line) for line in results.read_text().splitlines()]
    lines[1] = EDITED[how](lines[1])
    results.write_bytes(
        b"\n".join(
            line if isinstance(line, bytes) else (line if isinstance(line, str) else json.dumps(line)).encode()
            for line in lines
        )
    )
    with pytest.raises(AirflowFailException, match=r"campaign: '.*one.jsonl', line 2, .*Restore it"):
        follow(campaign)


@pytest.mark.parametrize("name", ["id", "session_id", "api_status"])
def test_an_answer_of_another_kind_among_the_results_is_looked_up(
    service: Emulator, send: Any, follow: Any, tmp_path: Path, name: str
) -> None:
    campaign = send(*map(number, range(3)))
    results = tmp_path / "one.jsonl"
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    results.write_text("".join(json.dumps({**line, name: 17}) + "\n" for line in lines))
    assert_true(service, follow(campaign), 3)


# Waiting --------------------------------------------------------------------------------------------------------------


def test_it_waits_in_the_triggerer_and_takes_no_ids_along(
    service: Emulator, send: Any, context: dict[str, Any]
) -> None:
    campaign = send(*map(number, range(20)))
    operator = WtsCampaignOutcomeOperator(
        task_id="outcome", campaign=campaign, until=timedelta(days=2), needed=0.5, deferrable=True
    )
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    assert len(json.dumps(deferred.value.trigger.serialize(), default=str)) < 300
    client = WtsHook().client
    for session in service.state.sessions.by_creation()[-10:]:
        client.perform(complete_session(session.id))
    again = WtsCampaignOutcomeOperator(
        task_id="outcome", campaign=campaign, until=timedelta(days=2), needed=0.5, deferrable=True
    )
    result = getattr(again, deferred.value.method_name)(context, event={"moment": "now"})
    assert (result["by_status"], result["final"]) == ({"COMPLETED": 10, "PENDING": 10}, 10)
    assert (result["path"], result["table"]) == (None, None)


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"campaign": None}, "campaign: None is not a campaign"),
        ({"campaign": []}, "campaign: is empty"),
        ({"campaign": {"sent": 1, "manifest_path": None}}, "the campaign wrote no results"),
        ({"campaign": "/nowhere/results.jsonl.manifest.json"}, "cannot be read"),
        ({"campaign": "{'sent': 1, 'manifest_path': None}"}, r"campaign: is not valid JSON: .*tojson"),
        ({"campaign": '[{"sent": 1, "manifest_path": null}]'}, "the campaign wrote no results"),
        ({"campaign": '["", 1]'}, "campaign: '' is not a campaign"),
        ({"needed": "many"}, "needed: 'many' is neither"),
        ({"needed": 1.5}, "needed: 1.5 is neither"),
        ({"detail": "all"}, "detail"),
        ({"ended_status": ["DONE"]}, "ended_status"),
        ({"outcomes_path": "/tmp/outcomes.xlsx"}, "must end in .jsonl, .csv or .parquet"),
        ({"outcomes_table": "outcomes"}, "give both of them, or neither"),
        ({"outcomes_table": "x; drop table y", "outcomes_conn_id": "wts_db"}, "is not a valid table name"),
        ({"outcomes_table": "x", "outcomes_conn_id": "wts_default"}, "is not a database connection"),
        ({"report_language": "de"}, "report_language"),
        ({"refresh_interval": 900}, "refresh_interval: 900 is not a length of time"),
    ],
)
def test_invalid_input_ends_the_task_before_any_request(
    service: Emulator, send: Any, follow: Any, parameters: dict[str, Any], problem: str
) -> None:
    campaign = send(number(0))
    before = len(service.requests)
    with pytest.raises(AirflowFailException, match=problem):
        follow(**{"campaign": campaign, **parameters})
    assert len(service.requests) == before


@pytest.mark.parametrize("shape", [lambda one: one, lambda one: [one], lambda one: [json.dumps(one)]], ids=range(3))
def test_a_campaign_comes_as_the_json_text_of_a_template_too(
    service: Emulator, send: Any, follow: Any, shape: Any
) -> None:
    campaign = send(*map(number, range(3)))
    assert follow(json.dumps(shape(campaign)))["rows"] == 3


def test_a_connection_of_another_account_is_refused_and_the_right_one_goes_on(
    service: Emulator, send: Any, follow: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_wts.emulator.running import Emulator

    # With a key of its own, what was found is kept over all accounts.
    monkeypatch.setenv("AIRFLOW__WTS__HASH_KEY", "a key")
    campaign = send(*map(number, range(3)))
    service.contact_writes(number(1), "Sim")
    with Emulator() as other:
        connection = {"conn_type": "wts", "host": other.url, "password": other.token}
        monkeypatch.setenv("AIRFLOW_CONN_WTS_OTHER", json.dumps(connection))
        problem = r"this account has none of the sends of .*through the connection 'wts_default'\. No row was written"
        with pytest.raises(AirflowFailException, match=problem):
            follow(campaign, wts_conn_id="wts_other")
    assert not (tmp_path / "outcomes.jsonl").exists()
    monkeypatch.setattr("airflow_provider_wts.campaigns.outcome_sweep.OutcomeSweep.lookups", lambda self: None)
    assert [row["replied"] for row in rows(follow(campaign)).values()] == [False, True, False]


def test_a_pass_that_comes_too_early_refuses_no_other_token(service: Emulator, send: Any, follow: Any) -> None:
    service.switches.queue_seconds = 10**6
    campaign = send(*map(number, range(3)))
    manifest = Path(campaign["manifest_path"])
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "account": "of another token"}))
    assert follow(campaign, max_lookups=0)["by_status"] == {"sent": 3}
    assert follow(campaign)["by_status"] == {"sent": 3}


def test_a_new_token_of_the_same_account_follows_what_the_old_one_sent(
    service: Emulator, send: Any, follow: Any, tmp_path: Path
) -> None:
    campaign = send(*map(number, range(3)))
    manifest = Path(campaign["manifest_path"])
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "account": "of another token"}))
    assert follow(campaign)["by_status"] == {"PENDING": 3}


# Where the rows go ----------------------------------------------------------------------------------------------------


def test_files_of_each_kind_hold_the_same_rows(service: Emulator, send: Any, follow: Any, tmp_path: Path) -> None:
    from pyarrow import parquet

    campaign = send(number(0), "12", number(1))
    service.contact_writes(number(0), "Sim; e já")
    found = rows(follow(campaign))
    with open(follow(campaign, outcomes_path=f"{tmp_path}/o.csv")["path"], encoding="utf-8") as file:
        table = {row["row_key"]: row for row in csv.DictReader(file)}
    typed = {row["row_key"]: row for row in parquet.read_table(
        follow(campaign, outcomes_path=f"{tmp_path}/o.parquet")["path"]
    ).to_pylist()}  # fmt: skip
    assert set(found) == set(table) == set(typed)
    for key, row in found.items():
        assert table[key]["session_id"] == (row["session_id"] or "")
        assert typed[key]["session_id"] == row["session_id"]
        if row["last_reply_at"]:
            assert typed[key]["last_reply_at"] == datetime.fromisoformat(row["last_reply_at"])


def test_recipients_can_be_shown_as_a_hash(service: Emulator, send: Any, follow: Any) -> None:
    campaign = send(number(0), number(1), "119")
    text = "".join(json.dumps(row) for row in rows(follow(campaign, private=True)).values())
    assert "9100000" not in text
    first, again = (set(rows(follow(campaign, private=True))) for _ in range(2))
    assert (len(first), first) == (3, again)


def test_two_campaigns_are_followed_at_once(service: Emulator, send: Any, follow: Any) -> None:
    one, two = send(number(0)), send(number(1), run_id="two")
    result = follow([one, two["manifest_path"]])
    assert (len(result["campaign_id"]), result["rows"]) == (2, 2)
    assert_true(service, result, 2)


@pytest.mark.parametrize("language", ["en", "pt"])
def test_the_report_is_one_file_that_needs_nothing_else(
    service: Emulator, send: Any, follow: Any, tmp_path: Path, language: str
) -> None:
    campaign = send(*map(number, range(10)), row_session_metadata={"plano": "<b>Ouro</b>"})
    for index in range(4):
        service.contact_writes(number(index), "Oi")
    report = tmp_path / "report.html"
    follow(campaign, report_path=str(report), report_language=language)
    html = report.read_text(encoding="utf-8")
    assert {"en": "Outcome of the campaign", "pt": "Resultado da campanha"}[language] in html
    assert "&lt;b&gt;Ouro&lt;/b&gt;" in html
    assert "<b>" not in html
    assert [word for word in ("http:", "https:", "<script", "@import", "url(") if word in html] == []
    assert "prefers-color-scheme: dark" in html


def test_an_answer_that_is_nearly_a_number_is_a_text_in_the_report(
    service: Emulator, send: Any, follow: Any, tmp_path: Path
) -> None:
    campaign = send(number(0), row_session_metadata={"nota": ".-5"})
    follow(campaign, report_path=str(tmp_path / "report.html"))
    assert "<title>.-5: 1</title>" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_table_is_made_and_running_again_changes_no_count(
    service: Emulator, send: Any, follow: Any, database: Any
) -> None:
    campaign = send(*map(number, range(5)), "12", row_session_metadata={"plano": "Órgão €"})
    service.contact_writes(number(0), "Sim")
    given = {"outcomes_table": database.table, "outcomes_conn_id": "wts_db"}
    for _ in range(2):
        found = rows(follow(campaign, **given))
        counts = "COUNT(*), COUNT(session_id), SUM(CASE WHEN replied THEN 1 ELSE 0 END)"
        assert database(f"SELECT {counts} FROM TABLE_NAME") == [(6, 5, 1)]
    ((answers, replied, at),) = database(
        f"SELECT answers, replied, last_reply_at FROM TABLE_NAME WHERE recipient = '{number(0)}'"
    )
    row = found[number(0)]
    assert json.loads(answers) == {"plano": "Órgão €"}
    assert bool(replied) is True
    at = datetime.fromisoformat(at) if isinstance(at, str) else at
    assert (at if at.tzinfo else at.replace(tzinfo=UTC)) == datetime.fromisoformat(row["last_reply_at"])


def test_rows_that_cannot_all_be_written_leave_the_table_as_it_was(
    service: Emulator, send: Any, follow: Any, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_wts.api.errors import WtsError
    from airflow_provider_wts.hooks import tables

    campaign = send(*map(number, range(5)))
    given = {"outcomes_table": database.table, "outcomes_conn_id": "wts_db"}
    follow(campaign, **given)
    for index in range(4):
        service.contact_writes(number(index), "Sim")
    monkeypatch.setattr(tables, "_BATCH", 2)
    values, left = tables.Table._values, [3]

    def fails(self: Any, row: Any) -> Any:
        left[0] -= 1
        if not left[0]:
            raise RuntimeError("disk full")
        return values(self, row)

    monkeypatch.setattr(tables.Table, "_values", fails)
    with pytest.raises(WtsError, match=r"outcomes_table: the rows could not be written .*The table is unchanged"):
        follow(campaign, **given)
    assert database("SELECT COUNT(*) FROM TABLE_NAME WHERE NOT replied") == [(5,)]


@pytest.fixture
def read_whole(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The rows that are read from a table as a whole."""
    from airflow_provider_wts.hooks import tables

    whole: list[Any] = []
    cells_of = tables.cells_of

    def counted(row: Any) -> Any:
        cells = cells_of(row)
        whole.extend([cells] if len(cells) > 10 else [])
        return cells

    monkeypatch.setattr(tables, "cells_of", counted)
    return whole


def test_a_pass_reads_only_the_rows_of_the_table_that_changed(
    service: Emulator, send: Any, follow: Any, database: Any, read_whole: list[Any]
) -> None:
    campaign = send(*map(number, range(30)), "12", holdout=0.2)
    given = {"outcomes_table": database.table, "outcomes_conn_id": "wts_db"}
    follow(campaign, **given)
    follow(campaign, **given)
    assert len(read_whole) == 0
    (sent, *_) = (row for row in rows(follow(campaign, **given)).values() if row["session_id"])
    service.contact_writes(sent["recipient"], "Sim")
    follow(campaign, **given)
    assert len(read_whole) == 1
    assert database(f"SELECT row_key FROM TABLE_NAME WHERE replied AND row_key = '{sent['row_key']}'") != []
    follow(campaign, **given)
    assert len(read_whole) == 1


MEDDLED = {
    "changed": "UPDATE TABLE_NAME SET session_status = 'x' WHERE line = 3",
    "moved": "UPDATE TABLE_NAME SET agent = department, department = NULL WHERE line = 2",
    "emptied": "DELETE FROM TABLE_NAME",
    "thinned": "DELETE FROM TABLE_NAME WHERE line = 2",
    "renamed": "UPDATE TABLE_NAME SET row_key = 'nobody' WHERE line = 2",
    "dropped": "DROP TABLE TABLE_NAME",
}


@pytest.mark.parametrize("statement", MEDDLED.values(), ids=MEDDLED)
def test_what_somebody_else_changed_in_the_table_is_repaired(
    service: Emulator, send: Any, follow: Any, database: Any, statement: str
) -> None:
    campaign = send(*map(number, range(5)))
    given = {"outcomes_table": database.table, "outcomes_conn_id": "wts_db"}
    for _ in range(2):
        follow(campaign, **given)
    database.write("UPDATE TABLE_NAME SET department = 'Vendas' WHERE line = 2")
    follow(campaign, **given)
    columns = "row_key, line, session_status, agent, department"
    before = sorted(map(tuple, database(f"SELECT {columns} FROM TABLE_NAME")))
    database.write(statement)
    follow(campaign, **given)
    assert sorted(map(tuple, database(f"SELECT {columns} FROM TABLE_NAME"))) == before


def test_rows_that_a_campaign_has_no_more_leave_the_table(
    service: Emulator, send: Any, follow: Any, database: Any, tmp_path: Path
) -> None:
    campaign = send(*map(number, range(5)))
    given = {"outcomes_table": database.table, "outcomes_conn_id": "wts_db"}
    follow(campaign, **given)
    results = tmp_path / "one.jsonl"
    results.write_text("".join(results.read_text().splitlines(keepends=True)[:4]))
    follow(campaign, **given)
    assert database("SELECT COUNT(*) FROM TABLE_NAME") == [(4,)]
    follow(campaign, **given, private=True)
    assert database("SELECT COUNT(*) FROM TABLE_NAME") == [(4,)]
    assert database("SELECT COUNT(*) FROM TABLE_NAME WHERE row_key LIKE '+55%'") == [(0,)]


def test_a_table_that_was_written_before_a_kill_is_compared_again(
    service: Emulator, send: Any, follow: Any, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_wts.campaigns.outcomes import Outcomes

    campaign = send(*map(number, range(5)))
    given = {"outcomes_table": database.table, "outcomes_conn_id": "wts_db"}
    follow(campaign, **given)
    service.contact_writes(number(1), "Sim")
    write, keep = Outcomes.write_into, Outcomes.keep

    def killed(self: Any) -> None:
        raise Killed

    def write_and_die(self: Any, *args: Any) -> int:
        monkeypatch.setattr(Outcomes, "keep", killed)
        return write(self, *args)

    monkeypatch.setattr(Outcomes, "write_into", write_and_die)
    with pytest.raises(Killed):
        follow(campaign, **given)
    monkeypatch.setattr(Outcomes, "write_into", write)
    monkeypatch.setattr(Outcomes, "keep", keep)
    replied = "SELECT line FROM TABLE_NAME WHERE replied"
    assert database(replied) == [(2,)]
    # What was true then is what was kept, but not what the table has.
    database.write("UPDATE TABLE_NAME SET replied = NULL")
    follow(campaign, **given)
    assert database(replied) == [(2,)]


@pytest.mark.parametrize("where", ["table", "file"])
def test_a_try_that_comes_back_after_its_successor_writes_no_older_row(
    service: Emulator,
    send: Any,
    follow: Any,
    database: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    campaign = send(*map(number, range(5)))
    given = {"outcomes_table": database.table, "outcomes_conn_id": "wts_db"} if where == "table" else {}
    perform = WtsClient.perform

    def frozen(self: WtsClient, *args: Any, **kwargs: Any) -> Any:
        found = perform(self, *args, **kwargs)
        monkeypatch.setattr(WtsClient, "perform", perform)
        service.contact_writes(number(1), "Sim")
        later.append(follow(campaign, **given))
        kept.append(state())
        return found

    def state() -> bytes:
        (kept_at,) = tmp_path.rglob("*.state.db")
        return kept_at.read_bytes()

    later: list[dict[str, Any]] = []
    kept: list[bytes] = []
    monkeypatch.setattr(WtsClient, "perform", frozen)
    with pytest.raises(WtsError, match="Another try of this task has taken over"):
        follow(campaign, **given)
    assert state() == kept[0]
    assert [row["line"] for row in rows(later[0]).values() if row["replied"]] == [2]
    if where == "table":
        assert database("SELECT line FROM TABLE_NAME WHERE replied") == [(2,)]


def test_a_database_that_cannot_sum_its_rows_up_is_compared_row_by_row(
    service: Emulator, send: Any, follow: Any, database: Any, read_whole: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_wts.hooks import tables

    unknown = {name: ("{}", ", ", "no_such_function({})") for name in tables._SEALS}
    monkeypatch.setattr(tables, "_SEALS", unknown)
    campaign = send(*map(number, range(5)))
    given = {"outcomes_table": database.table, "outcomes_conn_id": "wts_db"}
    for _ in range(2):
        follow(campaign, **given)
        database.write("UPDATE TABLE_NAME SET agent = 'x' WHERE line = 2")
    assert len(read_whole) == 5
    follow(campaign, **given)
    assert database("SELECT COUNT(*), COUNT(agent) FROM TABLE_NAME") == [(5, 0)]


def _key(emulator: Emulator) -> str:
    return next(bot["key"] for bot in emulator.state.chatbots.by_creation() if bot["name"] == BOT)


RESULT_TYPES = {
    "sqlite": {"CHAR(36)", "VARCHAR(255)", "TEXT", "INTEGER"},
    "postgresql": {"character", "character varying", "text", "integer", "timestamp with time zone"},
    "mariadb": {"char", "varchar", "mediumtext", "int", "datetime"},
}


def column_types(database: Any, name: str) -> dict[str, str]:
    """Return the types of a table's columns, as its database names them."""
    if database.kind == "sqlite":
        return {row[1]: row[2] for row in database(f"PRAGMA table_info({name})")}
    query = f"SELECT column_name, data_type FROM information_schema.columns WHERE table_name = '{name}'"
    return {str(column): str(kind) for column, kind in database(query)}


def test_the_results_of_a_send_go_into_a_table_and_a_second_run_changes_no_count(
    service: Emulator, send: Any, follow: Any, database: Any
) -> None:
    given = {"results_table": database.table, "results_conn_id": "wts_db"}
    people = [*map(number, range(3)), "12", number(0)]
    for _ in range(2):
        # The ledger knows what was sent: the second run sends nothing, and writes the same rows.
        campaign = send(*people, on_clear="continue", **given)
        statuses = database("SELECT status, COUNT(*) FROM TABLE_NAME GROUP BY status ORDER BY status")
        assert [tuple(row) for row in statuses] == [("bad_row", 1), ("duplicate", 1), ("sent", 3)]
    assert len(service.sends) == 3
    follow(campaign, outcomes_table=database.other, outcomes_conn_id="wts_db")
    joined = (
        "SELECT COUNT(*) FROM TABLE_NAME r JOIN OTHER_NAME o ON o.campaign_id = r.campaign_id AND o.row_key = r.row_key"
    )
    assert [tuple(row) for row in database(joined)] == [(5,)]
    types = column_types(database, database.table)
    assert set(types.values()) == RESULT_TYPES[database.kind]
    assert types["sent_at"] == {"sqlite": "TEXT", "mariadb": "datetime"}.get(database.kind, "timestamp with time zone")


def test_a_table_that_cannot_take_the_results_is_refused_before_anything_is_sent(
    service: Emulator, send: Any, follow: Any, database: Any
) -> None:
    campaign = send(number(0))
    requests = len(service.requests)
    database.write("CREATE TABLE TABLE_NAME (x INTEGER)")
    with pytest.raises(AirflowFailException, match=r"results_table: .*This try sent nothing"):
        send(number(1), on_clear="resend", results_table=database.table, results_conn_id="wts_db")
    assert len(service.sends) == 1
    with pytest.raises(AirflowFailException, match=r"outcomes_table: .*Nothing was read"):
        follow(campaign, outcomes_table=database.table, outcomes_conn_id="wts_db")
    assert [one.operation_id for one in service.requests[requests:] if one.operation_id == "list_sessions"] == []


def test_a_table_that_refuses_the_rows_after_the_sends_costs_no_second_message(
    service: Emulator, send: Any, database: Any
) -> None:
    given = {"results_table": database.table, "results_conn_id": "wts_db"}
    columns = ", ".join(f"{name} VARCHAR(99)" for name in RESULT_COLUMNS)
    database.write(f"CREATE TABLE TABLE_NAME ({columns}, CHECK (status <> 'sent'))")
    with pytest.raises((AirflowFailException, WtsError), match=r"results_table: .*has ended.*sends again only"):
        send(number(0), **given)
    database.write("DROP TABLE TABLE_NAME")
    send(number(0), **given)
    assert len(service.sends) == 1
    assert [tuple(row) for row in database("SELECT status FROM TABLE_NAME")] == [("sent",)]


def test_results_that_have_no_file_are_refused_for_a_table(service: Emulator, send: Any, database: Any) -> None:
    with pytest.raises(AirflowFailException, match="results_table: needs a file for the results"):
        send(number(0), results_path=None, results_table=database.table, results_conn_id="wts_db")
    with pytest.raises(AirflowFailException, match="results_table, results_conn_id: give both of them, or neither"):
        send(number(0), results_table=database.table)
    assert service.sends == []
