"""Chatbots: how they start, what they do, what the options say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from emulator_api import CARLA, DIEGO, WHATSAPP

if TYPE_CHECKING:
    from collections.abc import Callable

    from emulator_api import Api

    from airflow_provider_wts.emulator.running import Emulator

NEW = "+55|11977776666"


def texts(emulator: Emulator, to: str = CARLA) -> list[str | None]:
    return [delivery.text for delivery in emulator.received(to, by_bots=True) if delivery.kind != "chatbot"]


def test_a_chatbot_starts_in_a_session_and_completes_it(api: Api, emulator: Emulator) -> None:
    session = api.start_bot(sessionMetadata={"fatura": "77"})
    assert session["status"] == "STARTED"
    assert session["botId"]
    emulator.advance(10)
    ended = api.get_session(session["id"])
    assert (ended["status"], ended["botId"]) == ("COMPLETED", None)
    assert ended["metadata"] == {"fatura": "77", "resposta": "Sim", "etapa": "encerrado"}
    assert ended["endAt"]


def test_the_customer_gets_the_texts_with_names_and_metadata(api: Api, emulator: Emulator) -> None:
    api.start_bot(sessionMetadata={"fatura": "77"})
    emulator.advance(10)
    assert texts(emulator)[0] == "Olá Carla Dias, sua fatura 77 está em aberto."


def test_a_start_is_received_once(api: Api, emulator: Emulator) -> None:
    api.start_bot(senderId="envio-1")
    emulator.advance(10)
    (received,) = emulator.received(CARLA)
    assert (received.kind, received.bot, received.sender_id) == ("chatbot", "Cobrança", "envio-1")


@pytest.mark.parametrize("to", [NEW, "5511977776666", "+5511977776666", "@cliente.novo"])
def test_a_contact_that_is_missing_is_created(api: Api, emulator: Emulator, to: str) -> None:
    sender = "@loja.exemplo" if to.startswith("@") else WHATSAPP
    key = api.bot_key("Carrinho abandonado")
    session = api.ask("send_chatbot", {"botKey": key, "from": sender, "to": to})
    assert api.ask("get_contact", id=session["contactId"])["origin"] == "CREATED_FROM_HUB"
    assert len(emulator.received(to)) == 1


def test_an_open_session_is_found(api: Api) -> None:
    assert api.start_bot("Falar com atendente")["id"] == api.start_bot("Pesquisa NPS")["id"]


def test_a_completed_session_is_not_reopened_by_its_id(api: Api, emulator: Emulator) -> None:
    session = api.start_bot()
    emulator.advance(10)
    key = api.bot_key("Falar com atendente")
    emulator.state.chatbots.by_creation()[3].steps[:] = [{"message": "Oi"}]
    again = api.ask("send_chatbot", {"botKey": key, "sessionId": session["id"]})
    assert (again["id"], again["status"]) == (session["id"], "COMPLETED")


def test_force_start_completes_the_session_and_opens_another(api: Api) -> None:
    first = api.start_bot("Falar com atendente")
    second = api.start_bot(options={"forceStartSession": True})
    assert second["id"] != first["id"]
    assert api.get_session(first["id"])["status"] == "COMPLETED"


def test_a_hidden_session_shows_once_the_contact_answers(api: Api, emulator: Emulator) -> None:
    emulator.behave(CARLA, replies=[])
    session = api.start_bot("Pesquisa NPS", options={"hiddenSession": True})
    assert session["status"] == "HIDDEN"
    emulator.contact_writes(CARLA, "9")
    assert api.get_session(session["id"])["metadata"] == {"nps": "9"}
    assert api.get_session(session["id"])["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("option", "situation"), [("skipIfBotInExecution", "Cobrança"), ("skipIfInProgress", "Falar com atendente")]
)
@pytest.mark.parametrize(
    ("reading", "status", "same"),
    [("session", 200, True), ("empty", 200, False), ("null", 200, False), ("refuse", 500, False)],
)
def test_a_skipped_start_sends_nothing(
    api: Api, emulator: Emulator, option: str, situation: str, reading: str, status: int, same: bool
) -> None:
    before = api.start_bot(situation)
    emulator.switches.change({"skipped_send": reading})
    body = {"botKey": api.bot_key("Pesquisa NPS"), "from": WHATSAPP, "to": CARLA, "options": {option: True}}
    answer = api.call("send_chatbot", body)
    assert answer.status_code == status
    assert (bool(answer.json()) and answer.json().get("id") == before["id"] and status == 200) is same
    assert [delivery.bot for delivery in emulator.received(CARLA)] == [situation]


@pytest.mark.parametrize(("wins", "same"), [(True, True), (False, False)])
def test_skip_or_force_wins_where_both_are_asked_for(api: Api, emulator: Emulator, wins: bool, same: bool) -> None:
    emulator.switches.skip_beats_force = wins
    before = api.start_bot("Falar com atendente")
    after = api.start_bot(options={"skipIfInProgress": True, "forceStartSession": True})
    assert (after["id"] == before["id"]) is same


def test_which_statuses_are_in_progress_can_be_set(api: Api, emulator: Emulator) -> None:
    api.start_bot("Falar com atendente")
    emulator.switches.statuses_in_progress = ("IN_PROGRESS",)
    api.start_bot("Pesquisa NPS", options={"skipIfInProgress": True})
    assert [delivery.bot for delivery in emulator.received(CARLA)] == ["Falar com atendente", "Pesquisa NPS"]


@pytest.mark.parametrize(("way", "left"), [("merge", {"a": "1", "b": "2"}), ("replace", {"b": "2"})])
def test_metadata_is_merged_or_replaced(api: Api, emulator: Emulator, way: str, left: dict[str, str]) -> None:
    emulator.behave("*", replies=[])
    emulator.switches.change({"session_metadata": way, "contact_metadata_of_send": way})
    for metadata in ({"a": "1"}, {"b": "2"}):
        session = api.start_bot("Pesquisa NPS", sessionMetadata=metadata, contactMetadata=metadata)
    assert session["metadata"] == left
    assert api.ask("get_contact", id=session["contactId"])["metadata"] == left


def test_a_null_removes_a_key_of_the_metadata(api: Api) -> None:
    api.start_bot("Falar com atendente", sessionMetadata={"a": "1", "b": "2"})
    assert api.start_bot(sessionMetadata={"a": None})["metadata"] == {"b": "2"}


@pytest.mark.parametrize(("reading", "kept"), [("cleared", False), ("kept", True)])
def test_the_bot_of_a_session_is_cleared_or_kept_when_it_ends(
    api: Api, emulator: Emulator, reading: str, kept: bool
) -> None:
    emulator.switches.change({"bot_id_after_run": reading})
    session = api.start_bot()
    emulator.advance(10)
    assert (api.get_session(session["id"])["botId"] is not None) is kept


@pytest.mark.parametrize("name", ["Boas-vindas", "Cobrança antiga", "Rascunho de cobrança", "Campanha manual"])
def test_an_unsuitable_chatbot_is_refused_unless_switched(api: Api, emulator: Emulator, name: str) -> None:
    body = {"botKey": api.bot_key(name), "from": WHATSAPP, "to": CARLA}
    assert api.call("send_chatbot", body).status_code == 500
    emulator.switches.unsuitable_bot = "run"
    assert api.call("send_chatbot", body).status_code == 200


def test_the_id_of_a_chatbot_is_not_its_key(api: Api) -> None:
    bot = api.ask("list_chatbots", query={"Name": "NPS"})["items"][0]
    assert api.call("send_chatbot", {"botKey": bot["id"], "to": CARLA}).status_code == 500


@pytest.mark.parametrize("sender", ["+55|1100000000", "@ninguem", "11111111-1111-4111-8111-111111111111"])
def test_a_sender_that_is_no_channel_is_refused(api: Api, sender: str) -> None:
    answer = api.call("send_chatbot", {"botKey": api.bot_key("Cobrança"), "from": sender, "to": CARLA})
    assert (answer.status_code, answer.json()["key"]) == (500, "ENTITY_NOT_FOUND")


@pytest.mark.parametrize("to", ["11977776666", "977776666", "abc"])
def test_a_number_without_country_code_is_refused(api: Api, to: str) -> None:
    body = {"botKey": api.bot_key("Cobrança"), "from": WHATSAPP, "to": to}
    assert api.call("send_chatbot", body).status_code == 500


def test_phone_spellings_can_be_narrowed_to_the_pipe(api: Api, emulator: Emulator) -> None:
    emulator.switches.phone_spellings = "pipe"
    key = api.bot_key("Cobrança")
    assert api.call("send_chatbot", {"botKey": key, "from": WHATSAPP, "to": "5511999990001"}).status_code == 500
    assert api.call("send_chatbot", {"botKey": key, "from": WHATSAPP, "to": CARLA}).status_code == 200


# The script ---------------------------------------------------------------------------------------------------------


def test_a_contact_answers_by_its_own_rules(api: Api, emulator: Emulator) -> None:
    emulator.behave(CARLA, replies=["10"], delay=30)
    session = api.start_bot("Pesquisa NPS")
    emulator.advance(29)
    assert api.get_session(session["id"])["metadata"] == {}
    emulator.advance(2)
    assert api.get_session(session["id"])["metadata"] == {"nps": "10"}
    assert api.get_session(session["id"])["lastMessageIn"]


def test_a_silent_contact_lets_the_question_time_out(api: Api, emulator: Emulator) -> None:
    emulator.behave("*", replies=[])
    session = api.start_bot("Pesquisa NPS")
    emulator.advance(59)
    assert api.get_session(session["id"])["status"] == "STARTED"
    emulator.advance(2)
    assert api.get_session(session["id"])["status"] == "COMPLETED"


def test_a_chatbot_classifies_the_session(api: Api, emulator: Emulator) -> None:
    session = api.start_bot("Pesquisa NPS")
    emulator.advance(10)
    found = api.get_session(session["id"], includeDetails="ClassificationDetails")
    assert found["classification"]["category"] == "INFO"


def test_a_chatbot_transfers_the_session(api: Api, emulator: Emulator) -> None:
    session = api.start_bot("Falar com atendente")
    found = api.get_session(session["id"], includeDetails="DepartmentsDetails")
    assert (found["status"], found["departmentDetails"]["name"]) == ("PENDING", "Vendas")


@pytest.mark.parametrize(("stop", "messages"), [(True, 2), (False, 3)])
def test_completing_a_session_stops_its_chatbot_only_when_asked(
    api: Api, emulator: Emulator, stop: bool, messages: int
) -> None:
    session = api.start_bot()
    emulator.advance(2)
    api.ask("complete_session", {"stopBotInExecution": stop}, id=session["id"])
    emulator.advance(60)
    assert len(texts(emulator)) == messages


def test_a_seeded_script_runs(api: Api, emulator: Emulator) -> None:
    steps: list[dict[str, Any]] = [
        {"ask": "Cor?", "save_as": "cor", "on_timeout": "end", "timeout": 5},
        {"message": "{{answer}}, {{metadata.cor}} e {{contact.name}}"},
        {"metadata": {"resumo": "{{answer}}!"}},
        {"status": "PENDING"},
    ]
    emulator.seed(chatbots=[{"name": "Cores", "steps": steps}])
    emulator.behave(DIEGO, replies=["Azul"], delay=1)
    session = api.start_bot("Cores", to=DIEGO)
    emulator.advance(3)
    assert texts(emulator, DIEGO)[-1] == "Azul, Azul e Diego Alves"
    found = api.get_session(session["id"])
    assert (found["status"], found["metadata"]["resumo"]) == ("PENDING", "Azul!")


@pytest.mark.parametrize("steps", [[{"shout": "Oi"}], [{"message": "Oi", "wait": 1}], {"message": "Oi"}])
def test_a_script_with_an_unknown_step_is_refused(emulator: Emulator, steps: Any) -> None:
    with pytest.raises(ValueError, match="chatbot"):
        emulator.seed(chatbots=[{"name": "Errado", "steps": steps}])


# Queued -------------------------------------------------------------------------------------------------------------


def test_a_queued_chatbot_is_accepted_and_then_started(api: Api, emulator: Emulator) -> None:
    emulator.clock.speed = 0
    queued = api.queue_bot(senderId="envio-1", sessionMetadata={"a": "1"})
    assert (queued["status"], queued["sessionId"], queued["senderId"]) == ("QUEUED", None, "envio-1")
    assert emulator.received(CARLA) == []
    emulator.advance(1)
    status = api.ask("get_queued_chatbot_status", id=queued["id"])
    assert status["status"] == "SENT"
    assert api.get_session(status["sessionId"])["metadata"] == {"a": "1"}
    assert len(emulator.received(CARLA)) == 1


@pytest.mark.parametrize("reading", ["FAILED", "DELETED", "SENT", "QUEUED", "PROCESSING"])
def test_a_skipped_queued_chatbot_has_the_status_of_the_switch(api: Api, emulator: Emulator, reading: str) -> None:
    emulator.switches.change({"skipped_queued_status": reading})
    api.start_bot("Falar com atendente")
    queued = api.queue_bot(options={"skipIfInProgress": True})
    emulator.advance(1)
    assert api.ask("get_queued_chatbot_status", id=queued["id"])["status"] == reading
    assert len(emulator.received(CARLA)) == 1


@pytest.mark.parametrize(("switch", "status"), [(False, 500), (True, 200)])
def test_a_sender_id_finds_the_queued_chatbot_or_not(api: Api, emulator: Emulator, switch: bool, status: int) -> None:
    emulator.switches.sender_id_finds_send = switch
    api.queue_bot(senderId="envio-1")
    assert api.call("get_queued_chatbot_status", id="envio-1").status_code == status


def batch(api: Api, *messages: dict[str, Any]) -> dict[str, Any]:
    return {"botKey": api.bot_key("Carrinho abandonado"), "from": WHATSAPP, "messages": list(messages)}


def test_a_batch_starts_a_chatbot_for_each_entry(api: Api, emulator: Emulator) -> None:
    body = batch(api, {"to": CARLA, "senderId": "a"}, {"to": DIEGO, "senderId": "b"})
    results = api.ask("queue_chatbot_batch", body)["results"]
    assert [result["senderId"] for result in results] == ["a", "b"]
    emulator.advance(1)
    assert [len(emulator.received(to)) for to in (CARLA, DIEGO)] == [1, 1]


def test_the_results_of_a_batch_can_be_shuffled(api: Api, emulator: Emulator) -> None:
    emulator.switches.batch_order = "shuffled"
    messages = [{"to": f"+55|1190000{number:04}", "senderId": str(number)} for number in range(30)]
    results = api.ask("queue_chatbot_batch", batch(api, *messages))["results"]
    got = [result["senderId"] for result in results]
    assert got != [message["senderId"] for message in messages]
    assert sorted(got, key=int) == [message["senderId"] for message in messages]


@pytest.mark.parametrize(("reading", "status", "sent"), [("entries", 200, 1), ("all", 400, 0)])
def test_a_bad_entry_fails_alone_or_with_the_batch(
    api: Api, emulator: Emulator, reading: str, status: int, sent: int
) -> None:
    emulator.switches.change({"batch_partial_failure": reading})
    answer = api.call("queue_chatbot_batch", batch(api, {"to": "123"}, {"to": CARLA}))
    assert answer.status_code == status
    if status == 200:
        assert [result["status"] for result in answer.json()["results"]] == ["FAILED", "QUEUED"]
    emulator.advance(1)
    assert len(emulator.received(CARLA)) == sent


def test_a_batch_takes_a_hundred_entries(api: Api) -> None:
    messages = [{"to": CARLA}] * 101
    assert api.call("queue_chatbot_batch", batch(api, *messages)).status_code == 400


def test_the_callback_tells_of_the_start(
    api: Api, emulator: Emulator, until: Callable[[Callable[[], Any]], Any]
) -> None:
    queued = api.queue_bot(callbackUrl="http://203.0.113.1/callback", senderId="envio-1")
    emulator.advance(1)
    (post,) = until(lambda: emulator.posts)
    assert (post.reason, post.body["id"], post.body["status"]) == ("callbackUrl", queued["id"], "STARTED")
    assert post.status is None
