"""Every operator and sensor, while the answers that it gets are malformed: it ends with a typed error, or well.

How many answers are malformed: ``WTS_MALFORMED_ANSWERS`` (default: 150).
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import random
import re
import time
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.exceptions import AirflowException
from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_wts.api import transport
from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.client import WtsClient
from airflow_provider_wts.api.errors import WtsError, WtsUnknownOutcomeError
from airflow_provider_wts.emulator.running import Emulator
from airflow_provider_wts.notifications.wts import WtsNotifier
from airflow_provider_wts.provider_info import PROVIDER_INFO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

try:
    from airflow.sdk.exceptions import TaskDeferred
except ImportError:
    from airflow.exceptions import TaskDeferred  # type: ignore[no-redef]

ANSWERS = int(os.environ.get("WTS_MALFORMED_ANSWERS", "150"))
PERSON, OTHER, CHANNEL = "+55 11 99999-0001", "+55 11 99999-0002", "WhatsApp principal"
#: What a task may end with. Everything else is a bug of ours that a user would see as a traceback.
TYPED = (WtsError, AirflowException, AirflowSkipException, TaskDeferred)

FAR = {"updated_after": "2020-01-01T00:00:00Z", "updated_before": "2099-01-01T00:00:00Z"}
TEMPLATE = {"to": PERSON, "channel": CHANNEL, "template": "carrinho"}
TWO = ["+55 11 97777-0001", "+55 11 97777-0002"]
ANY_STATUS = ["STARTED", "PENDING", "IN_PROGRESS", "COMPLETED"]

# Parameters by operator. {session}, {card}, {note}, {message} and {scheduled} are ids of what is there for the tests.
PARAMETERS: dict[str, dict[str, Any]] = {
    "WtsCallOperator": {"operation_id": "list_tags"},
    "WtsSendChatbotOperator": {"chatbot": "Cobrança", "to": PERSON, "exclude_tags": ["VIP"]},
    "WtsSendChatbotBatchOperator": {"chatbot": "Cobrança", "recipients": TWO, "exclude_tags": ["VIP"]},
    "WtsListChatbotsOperator": {},
    "WtsListChannelsOperator": {},
    "WtsCreateContactOperator": {"name": "Fernanda", "phone_number": "+55 11 96666-0001", "get_if_exists": True},
    "WtsUpdateContactOperator": {"phone": PERSON, "annotation": "", "tags": ["VIP"]},
    "WtsGetContactOperator": {"phone": PERSON},
    "WtsListContactsOperator": {},
    "WtsSaveContactsOperator": {"contacts": [{"name": "Gil", "phone_number": "+55 11 96666-0002"}], "upsert": True},
    "WtsUpdateContactTagsOperator": {"phone": PERSON, "tags": ["VIP"]},
    "WtsSendTextOperator": {"to": OTHER, "text": "Oi", "exclude_tags": ["VIP"], "exclude_blocked": True},
    "WtsSendFileOperator": {"to": OTHER, "file": __file__},
    "WtsSendTemplateOperator": TEMPLATE,
    "WtsSendTemplateBatchOperator": {"channel": CHANNEL, "template": "carrinho", "recipients": TWO},
    "WtsSendTextBatchOperator": {"recipients": TWO, "row_text": "Oi", "exclude_tags": ["VIP"]},
    "WtsScheduleMessageOperator": {**TEMPLATE, "scheduling": datetime.now(UTC) + timedelta(days=3)},
    "WtsCancelScheduledMessageOperator": {"scheduled_message_id": "{scheduled}"},
    "WtsGetMessageOperator": {"message_id": "{message}"},
    "WtsGetMessageStatusOperator": {"message_id": "{message}"},
    "WtsListMessagesOperator": {"session_id": "{session}"},
    "WtsListTemplatesOperator": {"channel": CHANNEL},
    "WtsUploadFileOperator": {"file": __file__, "file_type": "DOCUMENT"},
    "WtsListPanelsOperator": {},
    "WtsGetPanelOperator": {"panel": "Funil de vendas"},
    "WtsListCardsOperator": {"panel": "Funil de vendas", "step": "Novo"},
    "WtsGetCardOperator": {"card_id": "{card}"},
    "WtsCreateCardOperator": {"panel": "Funil de vendas", "step": "Novo", "title": "Outro", "contacts": [PERSON]},
    "WtsUpdateCardOperator": {"card_id": "{card}", "step": "Novo"},
    "WtsDuplicateCardOperator": {"card_id": "{card}"},
    "WtsListCardNotesOperator": {"card_id": "{card}"},
    "WtsCreateCardNoteOperator": {"card_id": "{card}", "text": "Nota"},
    "WtsDeleteCardNoteOperator": {"card_id": "{card}", "note_id": "{note}"},
    "WtsListSequencesOperator": {},
    "WtsListSequenceContactsOperator": {"sequence": "Pós-venda"},
    "WtsAddToSequenceOperator": {"sequence": "Pós-venda", "phone": PERSON},
    "WtsRemoveFromSequenceOperator": {"sequence": "Pós-venda", "phones": [PERSON]},
    "WtsGetSessionOperator": {"session_id": "{session}"},
    "WtsListSessionsOperator": {},
    "WtsChangeSessionStatusOperator": {"session_id": "{session}", "new_status": "PENDING"},
    "WtsCompleteSessionOperator": {"session_id": "{session}"},
    "WtsTransferSessionOperator": {"session_id": "{session}", "department": "Vendas"},
    "WtsAssignSessionOperator": {"session_id": "{session}", "user": "Ana Souza"},
    "WtsUpdateSessionOperator": {"session_id": "{session}", "metadata": {"a": 1}},
    "WtsCreateSessionNoteOperator": {"session_id": "{session}", "text": "Nota"},
    "WtsExportConversationsOperator": {"output_path": "{folder}", **FAR},
    "WtsCampaignOutcomeOperator": {"campaign": "{campaign}", "detail": "messages"},
    "WtsSessionSensor": {"session_id": "{session}", "target_status": ANY_STATUS},
    "WtsSessionsSensor": {"session_ids": ["{session}"], "target_status": ANY_STATUS},
    "WtsMessageStatusSensor": {"message_id": "{message}", "timeout": 60, "poke_interval": 5},
    "WtsSessionReplySensor": {"session_id": "{session}", "since": "2020-01-01T00:00:00Z", "timeout": 0},
}


def public() -> dict[str, type]:
    """Return all public operators and sensors that are no bases of others."""
    bases = {"WtsOperator", "WtsListOperator", "WtsSendingOperator", "WtsOnceOperator", "WtsQueryOperator", "WtsSensor"}
    found = {}
    for kind in ("operators", "sensors"):
        for entry in PROVIDER_INFO[kind]:
            for module in map(importlib.import_module, entry["python-modules"]):
                for name in getattr(module, "__all__", None) or vars(module):
                    value = getattr(module, name)
                    if inspect.isclass(value) and re.fullmatch("Wts.*(Operator|Sensor)", name) and name not in bases:
                        found[name] = value
    return found


class Answers:
    """Malforms the answers to some requests of a run, by their number."""

    def __init__(self) -> None:
        self.count = 0
        self.malform: Callable[[int, bytes], bytes] | None = None
        #: The only path whose answers are malformed; None: all.
        self.path: str | None = None

    def pass_on(self, url: str, reply: transport.Reply) -> transport.Reply:
        if not 200 <= reply.status < 300 or not reply.body or (self.path and not url.endswith(self.path)):
            return reply
        self.count += 1
        body = self.malform(self.count, reply.body) if self.malform else reply.body
        return transport.Reply(reply.status, reply.headers, body)


@pytest.fixture(scope="module")
def clock() -> Iterator[None]:
    """A clock that sleeping moves on, and that never goes back: the emulator's event loop reads it, too."""
    slept, now = [0.0], time.monotonic

    def sleep(seconds: float) -> None:
        slept[0] += max(seconds, 0.001)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", sleep)
        patch.setattr(time, "monotonic", lambda: now() + slept[0])
        patch.setitem(WtsClient.__init__.__kwdefaults__, "sleep", sleep)
        yield


@pytest.fixture(scope="module")
def account(clock: None) -> Iterator[Emulator]:
    with Emulator(switches={"rate_limits": False, "queue_seconds": 0}) as running:
        running.behave("*", replies=[])
        yield running


@pytest.fixture(scope="module")
def ids(account: Emulator) -> dict[str, str]:
    """What the operators work on."""
    client = WtsClient(account.token, base_url=account.url)

    def made(operation: str, *, path: dict[str, Any] | None = None, **body: Any) -> str:
        call: Call[Any] = Call(operation, path, body={name.rstrip("_"): value for name, value in body.items()})
        return str(client.perform(call)["id"])

    panel = client.perform(Call("list_panels", query={"IncludeDetails": ["Steps"]}))["items"][0]
    bot = next(one for one in client.items(Call("list_chatbots")) if one["name"] == "Falar com atendente")
    sender = str(client.perform(Call("list_channels"))[0]["number"])
    template = next(one for one in client.items(Call("list_templates")) if one["name"] == "carrinho")
    card = made("create_card", stepId=panel["steps"][0]["id"], title="Pedido")
    scheduling = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    return {
        "session": made("send_chatbot", botKey=bot["key"], to="+55|11999990003"),
        "card": card,
        "note": made("create_card_note", path={"cardId": card}, text="Nota"),
        "message": made("send_text", to="+55|11999990001", from_=sender, text="Oi"),
        "scheduled": made(
            "create_scheduled_message",
            to="+55|11999990001",
            from_=sender,
            scheduling=scheduling,
            scheduledType="TEMPLATE",
            templateId=template["id"],
        ),
    }


@pytest.fixture
def answers(account: Emulator, monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Answers on their way to the client."""
    made, exchange = Answers(), transport.Transport.exchange

    def exchanged(self: Any, method: str, url: str, **more: Any) -> transport.Reply:
        return made.pass_on(url, exchange(self, method, url, **more))

    monkeypatch.setattr(transport.Transport, "exchange", exchanged)
    connection = {"conn_type": "wts", "host": account.url, "password": account.token}
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))
    return made


def sent_campaign(ids: dict[str, str], results: Path) -> str:
    """Write the results of a campaign that sent two messages, one of them found; return where its manifest is."""
    keys = [str(uuid.uuid4()) for _ in TWO]
    sent = {"status": "sent", "sent_at": "2026-01-01T00:00:00Z"}
    lines = [
        {**sent, "line": line, "to": to, "send_key": key} for line, (to, key) in enumerate(zip(TWO, keys, strict=True))
    ]
    lines[0]["id"] = ids["message"]
    results.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    traces = {"status_operation": "get_sent_message_status", "by_metadata": True, "by_sender": True}
    manifest = results.with_name(f"{results.name}.manifest.json")
    manifest.write_text(json.dumps({"campaign_id": str(uuid.uuid4()), "traces": traces}))
    return str(manifest)


@pytest.fixture
def run(ids: dict[str, str], context: dict[str, Any], tmp_path: Path) -> Callable[[str], Any]:
    """Run an operator as a task of a run of its own, in another folder each time."""
    kinds = public()

    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return [filled(item) for item in value]
        places = {**ids, "folder": f"file://{tmp_path}/{uuid.uuid4().hex}"}
        if value == "{campaign}":
            return sent_campaign(ids, tmp_path / f"{uuid.uuid4().hex}.jsonl")
        return re.sub(r"^\{(\w+)\}$", lambda found: places[found[1]], value) if isinstance(value, str) else value

    def run(name: str, run_id: str | None = None) -> Any:
        context["ti"].run_id = run_id or uuid.uuid4().hex
        parameters = {key: filled(value) for key, value in PARAMETERS[name].items()}
        return kinds[name](task_id="task", **parameters).execute(context)

    return run


# How a value is malformed


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield from _places(member, (*place, key))


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


ODD: list[Any] = [
    *(None, True, 0, -1, 1.5, 10**400, 2**70, "", " ", "x", "..", "a/b", "\ud800", "\u0000", "9999-99-99", "NaN"),
    *([], [None], [[]], ["x"], [{}], {}, {"id": None}, {"id": []}, {"id": {}}, {"id": ".."}, {"id": 5}),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "é" * 10_000, _nested(90), _nested(500)),
    *("https://[oops/", "file:///etc/passwd", "+55|", "@", str(uuid.uuid4()).upper(), "1" * 5000),
    *(float("nan"), float("inf"), "REMOVED"),
]


def malformed(body: bytes, choice: random.Random) -> bytes:
    """Return an answer with one odd value in it, or that is odd as a whole."""
    value = json.loads(body)
    place = choice.choice(list(_places(value)))
    odd = choice.choice(ODD)
    if not place:
        value = odd
    else:
        holder = value
        for key in place[:-1]:
            holder = holder[key]
        if odd == "REMOVED":
            del holder[place[-1]]
        else:
            holder[place[-1]] = odd
    return json.dumps(value).encode()


# The tests


def test_every_public_operator_and_sensor_is_run_here() -> None:
    assert public().keys() == PARAMETERS.keys()


@pytest.mark.parametrize("name", PARAMETERS)
def test_no_malformed_answer_ends_a_task_with_an_untyped_error(
    name: str, run: Callable[[str], Any], answers: Answers
) -> None:
    untyped: Counter[str] = Counter()
    for seed in range(max(1, ANSWERS // len(PARAMETERS))):
        choice = random.Random(f"{name} {seed}")
        first, lasting, answers.count = choice.randint(1, 6), choice.random() < 0.5, 0

        def malform(
            number: int, body: bytes, first: int = first, lasting: bool = lasting, choice: random.Random = choice
        ) -> bytes:
            struck = number >= first if lasting else number == first
            return malformed(body, choice) if struck else body

        answers.malform = malform
        try:
            run(name)
        except TYPED:
            continue
        except BaseException as error:
            untyped[f"seed {seed}: {type(error).__name__}: {str(error)[:200]}"] += 1
    assert not untyped


@pytest.mark.parametrize("answer", [b'{"id": []}', b'{"id": 5}', b"[]", b"7", b'{"sessionId": {}}', b'{"id": "x'])
def test_a_send_whose_answer_is_malformed_is_looked_for_and_goes_out_once(
    answer: bytes, run: Callable[[str], Any], answers: Answers, account: Emulator
) -> None:
    answers.path, answers.malform = "/send/text", lambda number, body: answer
    found = run("WtsSendTextOperator")
    assert answers.count == 1
    last = [one for one in account.requests if one.operation_id == "send_text"][-1]
    assert found["senderId"] == json.loads(last.raw_body)["senderId"]


@pytest.mark.parametrize("page", [b"{}", b'{"items": null}', b'{"status": "ok"}'])
def test_a_send_is_not_absent_from_what_is_no_list(
    page: bytes, run: Callable[[str], Any], answers: Answers, account: Emulator
) -> None:
    account.faults.add("reset", when="after", operation_id="send_text")
    answers.path, answers.malform = "/v2/session", lambda number, body: page
    before = len(account.requests_of("send_text"))
    with pytest.raises(WtsUnknownOutcomeError, match="WTS Chat could not be asked: list_sessions"):
        run("WtsSendTextOperator")
    assert len(account.requests_of("send_text")) == before + 1


def test_a_malformed_answer_to_what_cannot_be_looked_for_leaves_its_intent(
    run: Callable[..., Any], answers: Answers, ledger: Path, context: dict[str, Any]
) -> None:
    answers.path, answers.malform = "/note", lambda number, body: b'{"id": []}'
    for context["ti"].try_number in (1, 2):
        with pytest.raises(AirflowException, match="create_card_note"):
            run("WtsCreateCardNoteOperator", run_id="the same")
    assert answers.count == 1


def test_no_malformed_answer_ends_a_callback_with_an_error(answers: Answers) -> None:
    choice = random.Random(1)
    answers.malform = lambda number, body: malformed(body, choice)
    for _ in range(max(3, ANSWERS // len(PARAMETERS))):
        WtsNotifier(to=[PERSON], channel=CHANNEL, template="carrinho")({})
