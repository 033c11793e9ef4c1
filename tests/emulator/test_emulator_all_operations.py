"""Every operation of the contract, called with every property it takes, answers as the contract says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

import pytest
import requests
from emulator_api import CARLA, WHATSAPP, Api

from airflow_provider_wts.api.contract import Operation, operations, resolve
from airflow_provider_wts.api.contract.check import check_answer, check_request
from airflow_provider_wts.emulator.running import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class World:
    """An account in which every object exists that a request can name.

    :param api: calls operations.
    """

    def __init__(self, api: Api) -> None:
        self.api = api
        emulator = api.emulator
        emulator.switches.sent_seconds = 0.05
        state = emulator.state
        session = api.start_bot("Falar com atendente")
        message = api.ask("send_session_message", {"text": "Oi"}, id=session["id"])
        note = api.ask("create_session_note", {"text": "Nota"}, id=session["id"])
        send = api.send_text()
        queued = api.queue_bot("Falar com atendente")
        otp = api.ask("send_otp", {"from": WHATSAPP, "to": CARLA})
        panel = next(panel for panel in state.panels if panel["type"] == "SALES")
        step = next(step for step in state.panel_steps if step["panelId"] == panel.id)
        card = api.ask("create_card", {"stepId": step.id, "title": "Venda"})
        card_note = api.ask("create_card_note", {"text": "Nota"}, cardId=card["id"])
        subscription = api.ask(
            "create_webhook_subscription", {"name": "Eventos", "url": "http://203.0.113.1/x", "events": ["SESSION_NEW"]}
        )
        template = next(template for template in state.templates if template["name"] == "saudacao")
        later = "2099-01-01T10:00:00Z"
        scheduled = api.ask(
            "create_scheduled_message",
            {
                "to": CARLA,
                "templateId": template.id,
                "scheduling": later,
                "templateParams": {"parameters": {"nome": "Carla"}},
            },
        )
        upload = api.ask("get_file_upload_url", query={"Type": "IMAGE", "Name": "foto.png"})
        assert requests.put(upload["urlUpload"], data=b"png", timeout=10).status_code == 200
        file = api.ask("save_file", {"tempFileId": upload["tempFileId"]})
        emulator.advance(10)

        contact = state.contacts_by_phone["5511999990001"]
        tag, department = state.tags.by_creation()[0], state.departments.by_creation()[1]
        agent, portfolio = state.agents.by_creation()[0], state.portfolios.by_creation()[0]
        sequence = state.sequences.by_creation()[0]
        panel_tag = next(tag for tag in state.panel_tags if tag["panelId"] == panel.id)
        reason = state.lost_reasons.by_creation()[0]
        self.paths: dict[str, str] = {
            "session": session["id"],
            "session/note": note["id"],
            "message": message["id"],
            "send/message": send["id"],
            "send/chatbot": queued["id"],
            "send/otp": otp["id"],
            "scheduled-message": scheduled["id"],
            "sequence": sequence.id,
            "agent": agent.id,
            "contact": contact.id,
            "department": department.id,
            "portfolio": portfolio.id,
            "tag": tag.id,
            "panel": panel.id,
            "panel/card": card["id"],
        }
        self.path_names = {
            "phone": CARLA,
            "cardId": card["id"],
            "noteId": card_note["id"],
            "subscriptionId": subscription["id"],
        }
        self.values: dict[str, Any] = {
            "botKey": api.bot_key("Pesquisa NPS"),
            "from": WHATSAPP,
            "to": CARLA,
            "sessionId": session["id"],
            "templateId": template.id,
            "parameters": {"nome": "Carla"},
            "refId": message["id"],
            "delayTyping": 5,
            "callbackUrl": "http://203.0.113.1/callback",
            "fileIdOrUrl": file["id"],
            "fileId": file["id"],
            "filesIds": [file["id"]],
            "fileUrl": "https://exemplo.com.br/a.pdf",
            "fileUrls": ["https://exemplo.com.br/a.pdf"],
            "filesUrls": ["https://exemplo.com.br/a.pdf"],
            "tempFileId": upload["tempFileId"],
            "scheduling": later,
            "phoneNumber": "+55|11999990009",
            "phoneNumbers": ["+55|11999990008"],
            "contactId": contact.id,
            "contactIds": [contact.id],
            "tagIds": [tag.id],
            "portfolioIds": [portfolio.id],
            "sequenceIds": [sequence.id],
            "departmentId": department.id,
            "newDepartmentId": department.id,
            "userId": agent["userId"],
            "newUserId": agent["userId"],
            "transferUserId": state.agents.by_creation()[1]["userId"],
            "responsibleUserId": agent["userId"],
            "stepId": step.id,
            "copyToStepId": step.id,
            "lostReasonId": reason.id,
            "url": "http://203.0.113.1/x",
            "email": "nova@exemplo.com.br",
            "instagram": "@nova",
            "removeFromContacts": True,
            "dueDate": later,
            "channels": [state.channels.by_creation()[0].id],
            "department": {"id": department.id},
            "user": {"id": agent["userId"]},
            "companyId": state.id,
            "customFields": {"cpf": "12345678900"},
            "metadata": {"origem": "teste"},
            "pageNumber": 1,
            "pageSize": 10,
            "createdAt": {"after": "2020-01-01T00:00:00Z", "before": later},
            "updatedAt": {"after": "2020-01-01T00:00:00Z", "before": later},
            "": scheduled["id"],
            "PanelId": panel.id,
            "SessionId": session["id"],
            "Name": "a.png",
            "PageNumber": 1,
            "Page": 1,
            "PageSize": 100,
        }
        self.special: dict[str, dict[str, Any]] = {
            # A template for one-time passwords is of a kind of its own.
            "send_otp": {"templateId": next(one.id for one in state.templates if one["name"] == "codigo")},
            "create_card": {"tagIds": [panel_tag.id]},
            "update_card": {"tagIds": [panel_tag.id], "status": "LOST"},
            # A contact cannot take the number of another one.
            "update_contact": {"phoneNumber": CARLA},
            "update_contact_by_phone": {"phoneNumber": CARLA},
            "add_portfolio_contact": {"phoneNumber": CARLA},
            "remove_portfolio_contact": {"phoneNumber": CARLA},
        }


def generated(  # noqa: C901 - a case for each type
    operation: Operation, schema: Mapping[str, Any], name: str, values: Mapping[str, Any]
) -> Any:
    """Make a value that fits a schema, with every property that it declares."""
    if name in values and name:
        return values[name]
    schema = resolve(operation.service, schema)
    if "anyOf" in schema:
        return generated(operation, schema["anyOf"][0], name, values)
    if "enum" in schema:
        return next(choice for choice in schema["enum"] if choice is not None and str(choice).lower() != "undefined")
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    match kinds[0]:
        case "object":
            properties = schema.get("properties")
            if properties is None:
                return {"chave": "valor"}
            return {key: generated(operation, part, key, values) for key, part in properties.items()}
        case "array":
            items = resolve(operation.service, schema["items"])
            if name == "fields":
                return [choice for choice in items["enum"] if choice != "Undefined"]
            if operation.operation_id == "batch_cancel_scheduled_messages":
                return [values[""]]
            return [generated(operation, items, name, values)]
        case "string":
            if schema.get("format") == "date-time":
                return "2020-01-01T00:00:00Z" if "After" in name else "2099-01-01T00:00:00Z"
            assert schema.get("format") != "uuid", f"{name} needs a value of the world"
            return "texto"
        case "integer":
            return 1
        case "number":
            return 1.5
        case "boolean":
            return True
    raise AssertionError(f"{name}: {schema}")


def path_values(operation: Operation, world: World) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in re.findall(r"\{(\w+)\}", operation.path):
        before = operation.path.split("{" + name)[0].strip("/").split("/", 2)[2]
        found[name] = world.path_names.get(name) or world.paths[before]
    return found


@pytest.fixture(scope="module")
def shared_world() -> Iterator[World]:
    """One account for all calls that only read."""
    with Emulator(switches={"rate_limits": False}) as emulator:
        yield World(Api(emulator))


@pytest.fixture
def world(operation_id: str, request: pytest.FixtureRequest) -> World:
    """An account of its own for a call that writes."""
    if operations()[operation_id].method == "GET":
        return cast("World", request.getfixturevalue("shared_world"))
    return World(request.getfixturevalue("api"))


@pytest.mark.parametrize("operation_id", sorted(operations()))
def test_answers_as_the_contract_says_with_everything_asked_for(operation_id: str, world: World) -> None:
    api, emulator = world.api, world.api.emulator
    operation = operations()[operation_id]
    values = {**world.values, **world.special.get(operation_id, {})}
    path = path_values(operation, world)
    typed: dict[str, Any] = {}
    for parameter in operation.parameters:
        wanted = parameter.location == "query" and parameter.schema.get("format") != "uuid"
        if parameter.name in values or (wanted and "Details" in parameter.name):
            typed[parameter.name] = every_choice(parameter.schema) or values.get(parameter.name)
        elif parameter.required and parameter.location == "query":
            typed[parameter.name] = generated(operation, parameter.schema, parameter.name, values)
    for name in path:
        typed.pop(name, None)
    body = generated(operation, operation.body_schema, "", values) if operation.body_schema else None
    assert check_request(operation, path, typed, body, has_body=body is not None) == []

    answer = api.call(operation_id, body, typed, **path)

    assert answer.status_code == 200, answer.text
    if operation.answer_schema is None:
        assert answer.content == b""
    else:
        assert check_answer(operation, answer.json()) == []
        assert undeclared(operation, operation.answer_schema, answer.json()) == []
    assert emulator.requests[-1].took_effect
    assert [text for text in emulator.requests[-1].violations if "unknown" in text] == []


@pytest.mark.parametrize("operation_id", sorted(name for name, one in operations().items() if one.method == "GET"))
def test_reads_answer_as_the_contract_says_without_anything_asked_for(operation_id: str, world: World) -> None:
    api = world.api
    operation = operations()[operation_id]
    path = path_values(operation, world)
    query = {
        parameter.name: generated(operation, parameter.schema, parameter.name, world.values)
        for parameter in operation.parameters
        if parameter.location == "query" and parameter.required
    }
    answer = api.call(operation_id, query=query, **path)
    assert answer.status_code == 200, answer.text
    assert check_answer(operation, answer.json()) == []


def every_choice(schema: Mapping[str, Any]) -> Any:
    """Return all choices of a list of details, or the first of a single one."""
    if schema.get("type") == "array" and "enum" in schema.get("items", {}):
        return [choice for choice in schema["items"]["enum"] if choice != "Undefined"]
    return schema["enum"][0] if "enum" in schema else None


def undeclared(operation: Operation, schema: Mapping[str, Any], value: Any, place: str = "") -> list[str]:
    """Return properties of an answer that the contract does not declare."""
    schema = resolve(operation.service, schema)
    if isinstance(value, list) and "items" in schema:
        return [one for part in value for one in undeclared(operation, schema["items"], part, place + "[]")]
    if not isinstance(value, dict) or "properties" not in schema:
        return []
    found = [f"{place}.{name}" for name in value if name not in schema["properties"]]
    for name, part in value.items():
        if name in schema["properties"]:
            found += undeclared(operation, schema["properties"][name], part, f"{place}.{name}")
    return found
