"""Seed files: every object may have the id of the real account, and a conversation may have a past."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from emulator_api import CARLA

from airflow_provider_wts.api.contract import operations
from airflow_provider_wts.api.contract.check import check_answer
from airflow_provider_wts.emulator.running import Emulator

if TYPE_CHECKING:
    from emulator_api import Api


NAMED = {"name": "Novo"}
OBJECTS: dict[str, dict[str, Any]] = {
    "departments": NAMED,
    "channels": {**NAMED, "type": "Instagram", "handle": "@novo"},
    "agents": NAMED,
    "tags": NAMED,
    "custom_fields": {**NAMED, "key": "novo"},
    "portfolios": NAMED,
    "templates": {**NAMED, "text": "Oi"},
    "chatbots": NAMED,
    "sequences": NAMED,
    "panels": {"title": "Novo"},
    "files": {"name": "novo.pdf", "text": "conteúdo"},
    "contacts": {**NAMED, "phone": "+5511977770000"},
    "sessions": {"contact": CARLA},
    "messages": {"session": CARLA, "text": "Oi"},
    "cards": {"panel": "Funil de vendas", "title": "Novo"},
}


def at(minute: int) -> str:
    return f"2026-01-05T12:{minute:02}:00Z"


def some_id(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


@pytest.fixture
def account() -> Emulator:
    """An emulator that does not listen."""
    emulator = Emulator()
    emulator.seed(sessions=[{"contact": CARLA}])
    return emulator


@pytest.fixture
def session(emulator: Emulator) -> str:
    emulator.seed(sessions=[{"id": some_id("session"), "contact": CARLA, "at": at(0)}])
    return some_id("session")


@pytest.mark.parametrize("kind", OBJECTS)
def test_every_object_takes_the_id_that_it_is_given(account: Emulator, kind: str) -> None:
    wanted = some_id(kind)
    assert account.seed(**{kind: [{**OBJECTS[kind], "id": wanted.upper()}]}) == {kind: 1}
    assert getattr(account.state, kind).find(wanted) is not None
    with pytest.raises(ValueError, match=kind):
        account.seed(**{kind: [{**OBJECTS[kind], "id": wanted}]})


@pytest.mark.parametrize("identifier", ["7", "", 7, [], "g" * 36])
@pytest.mark.parametrize("kind", OBJECTS)
def test_an_id_that_is_no_uuid_is_refused_by_name(account: Emulator, kind: str, identifier: object) -> None:
    with pytest.raises(ValueError, match=r"\[0\]: id must be a UUID"):
        account.seed(**{kind: [{**OBJECTS[kind], "id": identifier}]})


def test_the_other_ids_that_a_request_names_can_be_given_as_well(api: Api, emulator: Emulator) -> None:
    emulator.seed(
        chatbots=[{"name": "Oferta", "key": some_id("key")}],
        agents=[{"name": "Caio", "user_id": some_id("user")}],
        panels=[
            {
                "title": "Obras",
                "steps": [{"title": "Novo", "id": some_id("step")}, "Feito"],
                "tags": [{"name": "Urgente", "id": some_id("tag")}],
                "lost_reasons": [{"name": "Preço", "id": some_id("reason")}],
            }
        ],
    )
    assert api.bot_key("Oferta") == some_id("key")
    assert some_id("user") in {agent["userId"] for agent in api.ask("list_agents")}
    body = {"stepId": some_id("step"), "title": "Obra", "tagIds": [some_id("tag")]}
    card = api.ask("create_card", body)
    lost = {"fields": ["Status"], "status": "LOST", "lostReasonId": some_id("reason")}
    assert api.ask("update_card", lost, id=card["id"])["lostReason"]["name"] == "Preço"


def test_a_conversation_has_the_past_that_it_is_given(api: Api, emulator: Emulator, session: str) -> None:
    emulator.seed(
        files=[{"name": "boleto.pdf", "base64": "JVBERi0=", "id": some_id("file")}],
        messages=[
            {"session": session, "from": "contact", "text": "Paguei", "at": "2026-01-05T12:10:00Z"},
            {
                "session": session,
                "text": "Segue",
                "files": ["boleto.pdf"],
                "status": "READ",
                "at": "2026-01-05T12:05:00Z",
            },
            {"session": CARLA, "template": "pesquisa", "status": "FAILED", "at": "2026-01-05T12:20:00Z"},
        ],
        notes=[{"session": session, "text": "Cliente antiga", "id": some_id("note")}],
    )
    found = api.ask("list_session_messages", query={"OrderDirection": "ASCENDING"}, id=session)
    assert check_answer(operations()["list_session_messages"], found) == []
    assert [(one["direction"], one["status"], one["text"]) for one in found["items"]] == [
        ("TO_HUB", "READ", "Segue"),
        ("FROM_HUB", "DELIVERED", "Paguei"),
        ("TO_HUB", "FAILED", None),
    ]
    assert found["items"][0]["fileId"] == some_id("file")
    assert found["items"][0]["details"]["file"]["name"] == "boleto.pdf"
    assert api.ask("get_session_note", id=some_id("note"))["text"] == "Cliente antiga"
    assert api.get_session(session)["lastMessageIn"] == at(10)


def test_a_card_has_what_it_is_given(api: Api, emulator: Emulator) -> None:
    emulator.seed(
        cards=[
            {
                "id": some_id("card"),
                "panel": "Funil de vendas",
                "step": "Em negociação",
                "title": "Proposta",
                "amount": 1500.5,
                "due": "2026-02-01T00:00:00Z",
                "contacts": [CARLA],
                "tags": ["Urgente"],
                "responsible": "ana@exemplo.com.br",
                "status": "LOST",
                "lost_reason": "Preço",
                "custom_fields": {"origem": "Feira"},
                "metadata": {"a": "1"},
            }
        ],
        notes=[{"card": "Proposta", "text": "Ligar amanhã"}],
    )
    details = ["StepTitle", "ResponsibleUser", "Contacts", "CustomFields", "LostReason"]
    card = api.ask("get_card", query={"IncludeDetails": details}, id=some_id("card"))
    assert check_answer(operations()["get_card"], card) == []
    assert (card["stepTitle"], card["monetaryAmount"], card["status"]) == ("Em negociação", 1500.5, "LOST")
    assert (card["responsibleUser"]["name"], card["lostReason"]["name"]) == ("Ana Souza", "Preço")
    assert ([one["name"] for one in card["contacts"]], card["customFields"]) == (["Carla Dias"], {"origem": "Feira"})
    notes = api.ask("list_card_notes", cardId=card["id"])
    assert [one["text"] for one in notes["items"]] == ["Ligar amanhã"]


@pytest.mark.parametrize(
    "data",
    [
        {"messages": [{"session": "+5511900000000", "text": "x"}]},
        {"messages": [{"text": "x"}]},
        {"cards": [{"panel": "Nenhum", "title": "x"}]},
        {"cards": [{"panel": "Tarefas", "step": "Nenhuma", "title": "x"}]},
        {"notes": [{"card": "Nenhum", "text": "x"}]},
        {"files": [{"name": "a.pdf", "base64": "!"}]},
        {"contacts": [{"name": "Ana", "phone": "12"}]},
        {"tags": ["VIP"]},
        {"agents": [{"name": " "}]},
    ],
)
def test_a_seed_that_cannot_be_names_the_object(account: Emulator, data: dict[str, Any]) -> None:
    (kind,) = data
    with pytest.raises(ValueError, match=rf"^{kind}\[0\]: "):
        account.seed(**data)
