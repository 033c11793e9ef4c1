"""Starting chatbots: what goes out, what is refused before it does, and how the task waits."""

from __future__ import annotations

import json
import os
import uuid
from datetime import timedelta
from itertools import chain, combinations
from typing import TYPE_CHECKING, Any, Literal

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_wts.api import client
from airflow_provider_wts.api.chatbots import list_chatbots
from airflow_provider_wts.api.contract import operations
from airflow_provider_wts.api.contract.check import check_request
from airflow_provider_wts.api.errors import WtsAuthenticationError
from airflow_provider_wts.api.wire import is_missing, visible
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_wts.emulator.running import Emulator

PHONE = "+55|11999998888"
NUMBER = "+55 (11) 99999-8888"
BOT = "Cobrança"


@pytest.fixture
def ledger_context(context: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The context of a task whose sends are remembered over its tries, on every version of Airflow."""
    monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", f"file://{tmp_path}/ledger")
    return context


def sends(emulator: Emulator) -> list[Any]:
    return emulator.requests_of("send_chatbot")


def body(emulator: Emulator) -> dict[str, Any]:
    """The body of the last start of a bot, as it went over the wire."""
    parsed: dict[str, Any] = emulator.requests_of("send_chatbot")[-1].body
    return parsed


def operator(**parameters: Any) -> WtsSendChatbotOperator:
    return WtsSendChatbotOperator(**{"task_id": "send", "chatbot": BOT, "to": NUMBER, **parameters})


def test_action_01_chatbot_send_chatbot(wts_connection: Emulator, context: dict[str, Any]) -> None:
    session = operator(session_metadata={"invoice": 118}).execute(context)
    assert session["status"] in ("STARTED", "IN_PROGRESS")
    assert session["metadata"]["invoice"] == 118
    assert len(wts_connection.received(PHONE)) == 1


def test_the_answer_is_the_apis_json(wts_connection: Emulator, context: dict[str, Any]) -> None:
    session = operator().execute(context)
    assert {"id", "status", "previewUrl", "contactId", "channelId"} <= session.keys()


def test_the_session_link_stands_in_xcom_before_anything_is_waited_for(
    wts_connection: Emulator, context: dict[str, Any]
) -> None:
    session = operator().execute(context)
    assert context["ti"].xcoms["session_url"] == session["previewUrl"]


@pytest.mark.parametrize("by", ["key", "id"])
def test_a_key_or_an_id_is_looked_up_because_they_look_alike(
    wts_connection: Emulator, context: dict[str, Any], by: str
) -> None:
    bot = next(one for one in WtsHook().client.items(list_chatbots()) if one["name"] == "Cobrança")
    before = len(wts_connection.requests)
    operator(chatbot=bot[by], to=NUMBER).execute(context)
    assert [request.operation_id for request in wts_connection.requests[before:]] == ["list_chatbots", "send_chatbot"]
    assert body(wts_connection)["botKey"] == bot["key"]


def test_a_key_is_used_when_the_chatbots_cannot_be_listed(wts_connection: Emulator, context: dict[str, Any]) -> None:
    bot = next(one for one in WtsHook().client.items(list_chatbots()) if one["name"] == "Cobrança")
    wts_connection.faults.add("status", status=403, operation_id="list_chatbots")
    operator(chatbot=bot["key"], to=NUMBER).execute(context)
    assert body(wts_connection)["botKey"] == bot["key"]


@pytest.mark.parametrize("name", ["cobrança", " COBRANÇA "])
def test_a_name_is_matched_without_regard_to_case(wts_connection: Emulator, context: dict[str, Any], name: str) -> None:
    operator(chatbot=name).execute(context)
    assert len(sends(wts_connection)) == 1


@pytest.mark.parametrize(
    "channel", ["WhatsApp principal", "+55 11 4002-8922", "387c9c58-eefd-5fbc-93bb-6f6a806b8827"], ids=str
)
def test_a_channel_is_a_name_a_number_or_an_id(wts_connection: Emulator, context: dict[str, Any], channel: str) -> None:
    operator(channel=channel).execute(context)
    assert body(wts_connection)["from"] == "+55|1140028922"


def test_without_a_channel_the_connections_is_used(
    wts_connection: Emulator, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {
        "conn_type": "wts",
        "host": wts_connection.url,
        "password": wts_connection.token,
        "extra": {"channel": "WhatsApp principal"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))
    operator().execute(context)
    assert body(wts_connection)["from"] == "+55|1140028922"


def test_without_any_channel_none_is_sent(wts_connection: Emulator, context: dict[str, Any]) -> None:
    operator().execute(context)
    assert "from" not in body(wts_connection)


def test_a_session_brings_its_own_channel(
    wts_connection: Emulator, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = operator().execute(context)
    WtsSendChatbotOperator(task_id="again", chatbot=BOT, session_id=session["id"]).execute(context)
    assert "from" not in body(wts_connection)
    assert "to" not in body(wts_connection)


FLAGS = ("force_start_session", "skip_if_bot_in_execution", "skip_if_in_progress", "hidden_session")


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize(("value", "sent"), [(False, False), ("false", False), (True, True), ("True", True)])
def test_false_goes_out_as_false(
    wts_connection: Emulator, context: dict[str, Any], flag: str, value: bool | str, sent: bool
) -> None:
    wire = {
        "force_start_session": "forceStartSession",
        "skip_if_bot_in_execution": "skipIfBotInExecution",
        "skip_if_in_progress": "skipIfInProgress",
        "hidden_session": "hiddenSession",
    }
    operator(**{flag: value}).execute(context)
    assert body(wts_connection)["options"] == {wire[flag]: sent}


def test_metadata_as_json_text_keeps_numbers_and_booleans(wts_connection: Emulator, context: dict[str, Any]) -> None:
    operator(session_metadata='{"amount": 149.9, "paid": false, "tries": 0, "note": ""}').execute(context)
    metadata = body(wts_connection)["sessionMetadata"]
    assert {name: metadata[name] for name in ("amount", "paid", "tries", "note")} == {
        "amount": 149.9,
        "paid": False,
        "tries": 0,
        "note": "",
    }


# Control characters are refused, and so are the words of a missing value, such as NaN.
WRITTEN = st.characters(exclude_categories=["Cs", "Cc"], include_characters="\t\n\r")
TEXT = st.text(WRITTEN).filter(lambda text: not visible(text) or not is_missing(text))
OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "channel": st.sampled_from(["@loja.exemplo", "+55 11 4002-8922"]),
    "session_id": st.uuids().map(str),
    "force_start_session": st.none() | st.booleans(),
    "skip_if_bot_in_execution": st.none() | st.booleans(),
    "skip_if_in_progress": st.none() | st.just(False),
    "hidden_session": st.none() | st.booleans(),
    "session_metadata": st.none() | st.dictionaries(st.text(), st.integers(-99, 99) | TEXT | st.booleans()),
    "contact_metadata": st.none() | st.dictionaries(st.text(), st.lists(TEXT, max_size=2), max_size=3),
    "sender_id": st.none() | st.text(WRITTEN, min_size=1),
    "callback_url": st.none() | st.just("https://example.com/hook"),
}
COMBINATIONS = list(chain.from_iterable(combinations(OPTIONAL, size) for size in range(len(OPTIONAL) + 1)))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_request_fits_the_contract_for_every_combination_of_parameters(
    wts_connection: Emulator, context: dict[str, Any], data: st.DataObject
) -> None:
    chosen = data.draw(st.sampled_from(COMBINATIONS))
    parameters = {name: data.draw(OPTIONAL[name]) for name in chosen}
    request = operator(chatbot=str(uuid.UUID(int=7)), dry_run=True, **parameters).execute(context)
    sent = request["body"]
    assert check_request(operations()["send_chatbot"], {}, {}, sent, has_body=True) == []
    expected = {"botKey", "to", "senderId", "sessionMetadata"} | {
        {
            "channel": "from",
            "session_id": "sessionId",
            "session_metadata": "sessionMetadata",
            "contact_metadata": "contactMetadata",
            "sender_id": "senderId",
            "callback_url": "callbackUrl",
        }.get(name, "options")
        for name in chosen
    }
    assert sent.keys() == expected


REFUSALS = [
    ({"chatbot": ""}, "chatbot: is empty"),
    ({"chatbot": False}, "chatbot: "),
    ({"send_window": 8}, "send_window: 8 is not a valid window"),
    ({"send_window": 0}, "send_window: 0 is not a valid window"),
    ({"chatbot": "Nenhum"}, "There is no chatbot 'Nenhum'"),
    ({"to": ""}, "to: is empty"),
    ({"to": "11 9999A-8888"}, "to: '11 9999A-8888' is not a valid phone number"),
    ({"to": "123"}, "to: '123' is not a valid phone number"),
    ({"to": "@"}, "to: '@' is not a valid handle"),
    ({"channel": "Nenhum canal"}, "There is no channel"),
    ({"session_id": "no-uuid"}, "session_id: 'no-uuid' is not a valid ID"),
    ({"session_metadata": "[1, 2]"}, "session_metadata: must be an object, not list"),
    ({"session_metadata": "{oops"}, "session_metadata: is not valid JSON"),
    ({"contact_metadata": 5}, "contact_metadata: must be an object, not int"),
    ({"force_start_session": "maybe"}, "force_start_session: 'maybe' must be true or false"),
    ({"force_start_session": True, "skip_if_in_progress": True}, "force_start_session: contradicts"),
    ({"callback_url": "example.com/hook"}, "callback_url: "),
]


@pytest.mark.parametrize(("parameters", "words"), REFUSALS, ids=[str(parameters) for parameters, _ in REFUSALS])
def test_impossible_input_is_refused_before_anything_is_sent(
    wts_connection: Emulator, context: dict[str, Any], parameters: dict[str, Any], words: str
) -> None:
    with pytest.raises(AirflowFailException, match=words.replace("[", r"\[").replace("'@'", "'@'")):
        operator(**parameters).execute(context)
    assert sends(wts_connection) == []


def test_a_wrong_token_fails_at_once_and_does_not_show_it(
    emulator: Emulator, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {"conn_type": "wts", "host": emulator.url, "password": "pn_wrong_secret"}
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))
    with pytest.raises(AirflowFailException, match="The API refused the token") as caught:
        operator().execute(context)
    assert "pn_wrong_secret" not in str(caught.value)


def test_a_host_that_only_answers_html_fails_the_task_for_good(
    wts_connection: Emulator, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "UNKNOWN_BUDGET", 0.0)
    wts_connection.faults.add("not_json", operation_id="list_chatbots", times=None)
    with pytest.raises(AirflowFailException, match="not a WTS Chat server"):
        operator().execute(context)


def test_waiting_on_the_worker_returns_the_completed_session(wts_connection: Emulator, context: dict[str, Any]) -> None:
    wts_connection.clock.speed = 2000
    session = operator(wait_for_completion=True, poll_interval=0.05, completion_timeout=30).execute(context)
    assert session["status"] == "COMPLETED"


@pytest.mark.parametrize(
    "times",
    [{"poll_interval": value} for value in (0, -1, None, "soon", float("nan"), float("inf"), True, timedelta(0), [60])]
    + [{"completion_timeout": value} for value in (-1, None, "", float("inf"), timedelta(hours=-1), {})],
    ids=str,
)
def test_a_wait_that_cannot_begin_is_refused_before_the_send(
    wts_connection: Emulator, context: dict[str, Any], times: dict[str, Any]
) -> None:
    (name,) = times
    with pytest.raises(AirflowFailException, match=rf"{name}: .* is not a length of time.*Nothing was sent"):
        operator(wait_for_completion=True, **times).execute(context)
    assert wts_connection.requests == []


def test_the_times_of_a_wait_may_be_time_spans(wts_connection: Emulator, context: dict[str, Any]) -> None:
    times = {"poll_interval": timedelta(milliseconds=50), "completion_timeout": timedelta(seconds=30)}
    wts_connection.clock.speed = 2000
    assert operator(wait_for_completion=True, **times).execute(context)["status"] == "COMPLETED"


def test_a_session_that_does_not_end_fails_the_task_and_is_not_sent_again(
    wts_connection: Emulator, context: dict[str, Any]
) -> None:
    with pytest.raises(AirflowFailException, match=r"is still .* at the end of completion_timeout"):
        operator(wait_for_completion=True, poll_interval=0.01, completion_timeout=0).execute(context)


def clear(context: dict[str, Any]) -> None:
    """Clear the task, as Airflow does: only this changes ``max_tries``."""
    context["ti"].max_tries = context["ti"].try_number
    context["ti"].try_number += 1


def test_a_clear_of_a_task_that_waited_too_long_goes_on_waiting(
    wts_connection: Emulator, ledger_context: dict[str, Any]
) -> None:
    waiting = {"wait_for_completion": True, "poll_interval": 0.05}
    with pytest.raises(AirflowFailException, match="at the end of completion_timeout"):
        operator(**waiting, completion_timeout=0).execute(ledger_context)
    clear(ledger_context)
    wts_connection.clock.speed = 2000
    assert operator(**waiting, completion_timeout=30).execute(ledger_context)["status"] == "COMPLETED"
    assert len(sends(wts_connection)) == 1


def test_a_clear_of_a_task_whose_deferred_wait_failed_goes_on_waiting(
    wts_connection: Emulator, ledger_context: dict[str, Any]
) -> None:
    task = operator(wait_for_completion=True, deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(ledger_context)
    session_id = deferred.value.trigger.serialize()[1]["session_id"]
    event = {"outcome": "timeout", "session_id": session_id, "status": "STARTED", "message": ""}
    with pytest.raises(AirflowFailException, match="at the end of completion_timeout"):
        task.execute_complete(ledger_context, event)
    clear(ledger_context)
    with pytest.raises(TaskDeferred):
        task.execute(ledger_context)
    assert len(sends(wts_connection)) == 1


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_clear_of_a_task_that_saw_the_session_end_sends_anew(
    wts_connection: Emulator, ledger_context: dict[str, Any], deferrable: bool
) -> None:
    wts_connection.clock.speed = 2000
    task = operator(wait_for_completion=True, deferrable=deferrable, poll_interval=0.05)
    for number in (1, 2):
        if deferrable:
            with pytest.raises(TaskDeferred) as deferred:
                task.execute(ledger_context)
            session_id = deferred.value.trigger.serialize()[1]["session_id"]
            event = {"outcome": "reached", "session_id": session_id, "status": "COMPLETED", "message": ""}
            task.execute_complete(ledger_context, event)
        else:
            task.execute(ledger_context)
        assert len(sends(wts_connection)) == number
        clear(ledger_context)


def test_a_deferrable_task_leaves_the_worker_with_plain_json(wts_connection: Emulator, context: dict[str, Any]) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        operator(wait_for_completion=True, deferrable=True).execute(context)
    path, arguments = deferred.value.trigger.serialize()
    assert path == "airflow_provider_wts.triggers.session.WtsSessionTrigger"
    assert json.loads(json.dumps(arguments)) == arguments


def test_the_deferred_task_returns_the_session_at_the_end(wts_connection: Emulator, context: dict[str, Any]) -> None:
    session = operator().execute(context)
    event = {"outcome": "reached", "session_id": session["id"], "status": "COMPLETED", "message": ""}
    assert operator().execute_complete(context, event)["id"] == session["id"]


def test_the_deferred_task_tolerates_failed_checks_at_the_end(
    wts_connection: Emulator, context: dict[str, Any]
) -> None:
    session = operator().execute(context)
    event = {"outcome": "reached", "session_id": session["id"], "status": "COMPLETED", "message": ""}
    wts_connection.faults.add("status", status=403, operation_id="get_session", times=4)
    assert operator(poll_interval=0.01).execute_complete(context, event)["id"] == session["id"]


def test_the_deferred_task_fails_after_five_failed_checks_at_the_end(
    wts_connection: Emulator, context: dict[str, Any]
) -> None:
    session = operator().execute(context)
    event = {"outcome": "reached", "session_id": session["id"], "status": "COMPLETED", "message": ""}
    fault = wts_connection.faults.add("status", status=403, operation_id="get_session", times=9)
    with pytest.raises(WtsAuthenticationError):
        operator(poll_interval=0.01).execute_complete(context, event)
    assert fault.hits == 5


@pytest.mark.parametrize("answer", ["session", "empty", "null"])
def test_a_bot_that_the_platform_skipped_ends_the_waiting_task_as_skipped(
    wts_connection: Emulator, context: dict[str, Any], logged: Any, answer: Literal["session", "empty", "null"]
) -> None:
    wts_connection.switches.skipped_send = answer
    operator().execute(context)
    context["ti"].task_id = "second"
    with pytest.raises(AirflowSkipException, match="did not start the chatbot"):
        operator(wait_for_completion=True, skip_if_in_progress=True).execute(context)
    assert "did not start the chatbot" in logged.text("warning")
    assert len(wts_connection.received(PHONE)) == 1


@pytest.mark.parametrize("answer", ["session", "empty"])
def test_a_session_that_hides_its_metadata_does_not_count_as_skipped(
    wts_connection: Emulator, ledger_context: dict[str, Any], answer: Literal["session", "empty"]
) -> None:
    wts_connection.contact_writes(PHONE, "Bom dia")
    wts_connection.state.sessions.by_creation()[-1]["metadata"] = None
    wts_connection.switches.skipped_send = answer
    waiting = operator(wait_for_completion=True, skip_if_in_progress=True)
    for _ in range(2):
        # A clear looks again, and does not send again.
        with pytest.raises(AirflowFailException, match=r"whether it started the chatbot.*do not show their metadata"):
            waiting.execute(ledger_context)
        clear(ledger_context)
    assert len(sends(wts_connection)) == 1


@pytest.mark.parametrize("hidden", ["null", "absent"])
def test_a_bot_that_started_is_not_skipped_though_its_session_shows_metadata_only_with_details(
    wts_connection: Emulator, context: dict[str, Any], hidden: str
) -> None:
    wts_connection.switches.change({"metadata_needs_details": True, "omit_nulls": hidden == "absent"})
    wts_connection.clock.speed = 2000
    waiting = {"wait_for_completion": True, "poll_interval": 0.05, "completion_timeout": 30}
    assert operator(skip_if_in_progress=True, **waiting).execute(context)["status"] == "COMPLETED"


def test_a_bot_that_started_is_not_skipped_though_its_response_was_emptied_on_the_way(
    wts_connection: Emulator, context: dict[str, Any]
) -> None:
    wts_connection.faults.add("empty", when="after", operation_id="send_chatbot")
    wts_connection.clock.speed = 2000
    waiting = {"wait_for_completion": True, "poll_interval": 0.05, "completion_timeout": 30}
    assert operator(skip_if_in_progress=True, **waiting).execute(context)["status"] == "COMPLETED"
    assert len(sends(wts_connection)) == 1


def test_a_skipped_bot_without_waiting_returns_what_the_api_answered(
    wts_connection: Emulator, context: dict[str, Any]
) -> None:
    first = operator().execute(context)
    context["ti"].task_id = "second"
    assert operator(skip_if_in_progress=True).execute(context)["id"] == first["id"]


def test_a_second_try_sends_nothing_and_returns_the_first_answer(
    wts_connection: Emulator, stateful_context: dict[str, Any]
) -> None:
    first = operator().execute(stateful_context)
    stateful_context["ti"].try_number = 2
    assert operator().execute(stateful_context)["id"] == first["id"]
    assert len(wts_connection.received(PHONE)) == 1


def test_a_clear_of_a_task_whose_session_link_could_not_be_stored_sends_nothing_again(
    wts_connection: Emulator, ledger_context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(key: str, value: Any) -> None:
        raise RuntimeError("the API server of Airflow does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(ledger_context["ti"], "xcom_push", refuse)
        with pytest.raises(RuntimeError):
            operator().execute(ledger_context)
    clear(ledger_context)
    operator().execute(ledger_context)
    assert len(sends(wts_connection)) == 1
    clear(ledger_context)
    operator().execute(ledger_context)
    assert len(sends(wts_connection)) == 2


def test_another_name_of_the_connection_is_no_reason_to_send_again(
    wts_connection: Emulator, ledger_context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WTS_NEW", os.environ["AIRFLOW_CONN_WTS_DEFAULT"])
    first = operator().execute(ledger_context)
    ledger_context["ti"].try_number += 1
    assert operator(wts_conn_id="wts_new").execute(ledger_context)["id"] == first["id"]
    assert len(sends(wts_connection)) == 1
    clear(ledger_context)
    operator(wts_conn_id="wts_new").execute(ledger_context)
    assert len(sends(wts_connection)) == 2


def test_staging_writes_to_nobody_but_the_allowed(
    emulator: Emulator, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {
        "conn_type": "wts",
        "host": emulator.url,
        "password": emulator.token,
        "extra": {"allowed_recipients": "+55 11 97777-6666"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))
    with pytest.raises(AirflowFailException, match="allows only the recipients"):
        operator().execute(context)
    assert emulator.requests == []


def test_staging_does_not_write_into_the_session_of_anybody_else_either(
    wts_connection: Emulator, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = operator().execute(context)
    connection = {
        "conn_type": "wts",
        "host": wts_connection.url,
        "password": wts_connection.token,
        "extra": {"allowed_recipients": "+55 11 97777-6666"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))
    again = WtsSendChatbotOperator(task_id="again", chatbot=BOT, session_id=session["id"])
    with pytest.raises(AirflowFailException, match="allows only the recipients"):
        again.execute(context)
    assert len(sends(wts_connection)) == 1
