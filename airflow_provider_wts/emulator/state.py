"""The account that the emulator plays: its objects, its clock, and what is going to happen."""

from __future__ import annotations

import copy
import logging
import random
import threading
import uuid
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_provider_wts.emulator.clock import Agenda, Clock
from airflow_provider_wts.emulator.errors import Refusal, not_found, required
from airflow_provider_wts.emulator.phones import formatted_phone, is_handle, stored_phone
from airflow_provider_wts.emulator.switches import Switches

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.bots import BotRun


@dataclass(slots=True, eq=False)
class Record:
    """One object of the service.

    :param created: when it was created, in ticks.
    :param updated: when it was changed last, in ticks.
    :param values: its other properties by their names on the wire.
    """

    id: str
    created: int
    updated: int
    values: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        """Return a property, ``None`` if it is not set."""
        return self.values.get(name)

    def __setitem__(self, name: str, value: Any) -> None:
        self.values[name] = value

    def get(self, name: str) -> Any:
        """Return a property, ``None`` if it is not set."""
        return self[name]

    def shown(self, *names: str) -> dict[str, Any]:
        """Return the id and some properties, as an answer about something else shows them."""
        return {"id": self.id, **{name: self[name] for name in names}}


@dataclass(slots=True, eq=False)
class Contact(Record):
    """A contact, with all its sessions, oldest first."""

    sessions: list[Session] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Message(Record):
    """A message of a session, and the send that made it."""

    callback_url: str | None = None
    send_id: str | None = None


@dataclass(slots=True, eq=False)
class Session(Record):
    """A conversation of a contact on a channel.

    :param reactivate: whether the contact's next message reopens it.
    :param on_answer: what happens when the contact answers, such as the start of a reply bot.
    :param last_in: when the contact wrote last, in ticks.
    """

    contact: Contact
    channel: Record
    messages: list[Message] = field(default_factory=list)
    run: BotRun | None = None
    reactivate: bool = False
    on_answer: Callable[[], object] | None = None
    last_in: int | None = None


@dataclass(slots=True, eq=False)
class Chatbot(Record):
    """A chatbot with the script it runs."""

    steps: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Send(Record):
    """An accepted send of the send family, with its status.

    :param to: the recipient, as stored.
    :param message: the message it made, once it is processed.
    """

    operation_id: str = ""
    to: str = ""
    message: Message | None = None


RecordT = TypeVar("RecordT", bound=Record)


@dataclass(frozen=True)
class Bounds:
    """A range of time, in ticks, both ends included.

    :param first: the earliest time, ``None`` = open.
    :param last: the latest time, ``None`` = open.
    """

    first: int | None = None
    last: int | None = None

    def holds(self, ticks: int) -> bool:
        """Return whether a time lies in the range."""
        return (self.first is None or ticks >= self.first) and (self.last is None or ticks <= self.last)


ALWAYS = Bounds()


class Table(Generic[RecordT]):
    """All records of one kind, indexed by ID, and ordered by creation and by change.

    Timestamps only grow, so a new or changed record goes to the end of its order; only older ones make it sort.

    :param what: what a record is, in Portuguese with its article.
    :param defaults: the properties of a new record.
    """

    def __init__(self, kind: type[RecordT], what: str, **defaults: Any) -> None:
        self.kind = kind
        self.what = what
        self.defaults = defaults
        self._created: dict[str, RecordT] = {}
        self._changed: dict[str, RecordT] = {}
        self._sorted = True

    def __len__(self) -> int:
        return len(self._created)

    def __iter__(self) -> Iterator[RecordT]:
        return iter(self.by_creation())

    def find(self, identifier: object) -> RecordT | None:
        """Return the record with that id, if there is one."""
        if not isinstance(identifier, str):
            return None
        return self._created.get(identifier) or self._created.get(identifier.lower())

    def need(self, identifier: object) -> RecordT:
        """Return the record with that id, or refuse as the service does for a missing one."""
        return required(self.find(identifier), self.what)

    def names(self, identifiers: Iterable[str]) -> list[str]:
        """Return the names of the records with these ids, without those that are gone."""
        return [record["name"] for record in map(self.find, identifiers) if record is not None]

    def add(self, record: RecordT) -> RecordT:
        """Take a record in and return it."""
        self._sorted &= next(reversed(self._created.values()), record).created <= record.created
        self._created[record.id] = record
        self.touch(record, record.updated)
        return record

    def touch(self, record: RecordT, ticks: int) -> None:
        """Note that a record has changed.

        :param ticks: the new time of change, later than all others.
        """
        record.updated = ticks
        self._changed.pop(record.id, None)
        self._sorted &= next(reversed(self._changed.values()), record).updated <= ticks
        self._changed[record.id] = record

    def remove(self, record: RecordT) -> None:
        """Take a record out."""
        del self._created[record.id], self._changed[record.id]

    def by_creation(self) -> Sequence[RecordT]:
        """Return all records, oldest first."""
        return self.created_in(ALWAYS)

    def created_in(self, bounds: Bounds) -> list[RecordT]:
        """Return the records created in a range of time, oldest first."""
        self._sort()
        return _within(list(self._created.values()), bounds, _CREATION)

    def updated_in(self, bounds: Bounds) -> list[RecordT]:
        """Return the records changed last in a range of time, in the order of change."""
        self._sort()
        return _within(list(self._changed.values()), bounds, _CHANGE)

    def _sort(self) -> None:
        if not self._sorted:
            self._created = {record.id: record for record in sorted(self._created.values(), key=_CREATION)}
            self._changed = {record.id: record for record in sorted(self._changed.values(), key=_CHANGE)}
            self._sorted = True


_CREATION, _CHANGE = attrgetter("created"), attrgetter("updated")


def _within(records: list[RecordT], bounds: Bounds, time_of: Callable[[RecordT], int]) -> list[RecordT]:
    first = 0 if bounds.first is None else bisect_left(records, bounds.first, key=time_of)
    last = len(records) if bounds.last is None else bisect_right(records, bounds.last, key=time_of)
    return records[first:last]


def named(records: Iterable[RecordT], name: str, key: str = "name") -> RecordT | None:
    """Return the first record of a name, compared without case."""
    wanted = name.strip().casefold()
    return next((record for record in records if (record[key] or "").casefold() == wanted), None)


log = logging.getLogger("airflow_provider_wts.emulator")

PREVIEW = "/preview/session/"
"""Where the ``previewUrl`` of a session leads."""


@dataclass(slots=True, eq=False)
class Delivery:
    """A message that reached, or will reach, a customer, or the start of a chatbot.

    :param to: the recipient as stored: ``+55|11999998888`` or ``@handle``.
    :param kind: ``chatbot`` for the start of one, else the type of the message in lower case, ``template`` or ``otp``.
    :param by_bot: whether a running chatbot wrote it.
    :param bot: name of the chatbot.
    :param sender_id: the caller's own ID.
    :param message: the message, whose status moves on.
    :param at: when, in the emulator's time, as text.
    """

    to: str
    kind: str
    at: str
    sender_id: str | None
    send_id: str | None
    session_id: str = ""
    text: str | None = None
    by_bot: bool = False
    bot: str | None = None
    message: Message | None = None

    @property
    def status(self) -> str:
        """The message's status; ``STARTED`` for a chatbot."""
        return str(self.message["status"]) if self.message else "STARTED"

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON data."""
        names = ("to", "kind", "text", "by_bot", "bot", "sender_id", "session_id", "send_id", "at", "status")
        return {name: getattr(self, name) for name in names}


@dataclass
class Behaviour:
    """How a contact behaves.

    :param replies: what it answers, one after the other, then the last one again and again; empty = nothing.
    :param delay: emulated seconds until it answers.
    :param answers: ``asked`` = only when a chatbot asks; ``always`` = every message of the company.
    :param fails: the reason why every message to it fails; ``None`` = they arrive.
    :param stays: the status at which its messages stay, such as ``QUEUED`` or ``SENT``.
    """

    replies: list[str] = field(default_factory=lambda: ["Sim"])
    delay: float = 3.0
    answers: str = "asked"
    fails: str | None = None
    stays: str | None = None
    _next: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.replies, list) or not all(isinstance(reply, str) for reply in self.replies):
            raise ValueError(f"replies: must be a list of texts, not {self.replies!r}. Example: ['Sim']")

    def next_reply(self) -> str | None:
        """Return what the contact answers now, ``None`` if it stays silent."""
        if not self.replies:
            return None
        reply = self.replies[min(self._next, len(self.replies) - 1)]
        self._next += 1
        return reply


_SHARED: dict[str, Any] = {"tagIds": [], "customFields": {}, "metadata": {}}
_CONTACT = {"status": "ACTIVE", "origin": "CREATED_BY_USER", "portfolioIds": [], **_SHARED}
_UNSET = ("description", "dueDate", "monetaryAmount", "sessionId", "responsibleUserId", "lostReasonId")
_CARD = {"status": "OPEN", "contactIds": [], **_SHARED, **dict.fromkeys(_UNSET)}


class Account:
    """All objects of one account, its clock and what is going to happen.

    Whoever reads or changes it holds ``lock``.
    """

    def __init__(self, switches: Switches, *, speed: float = 1.0, seed: int = 0) -> None:
        self.lock = threading.RLock()
        self.switches = switches
        self.random = random.Random(seed)
        self.clock = Clock(switches, speed=speed)
        self.agenda = Agenda(self.clock)
        self.namespace = uuid.uuid5(uuid.NAMESPACE_URL, f"wts-emulator:{seed}")
        self.id = self.named_id("company")
        self.address = ""

        self.channels = Table(Record, "O canal")
        self.chatbots = Table(
            Chatbot, "O chatbot", archived=False, type="Automation", publishStatus="READY", automationUsage=["Api"]
        )
        self.contacts = Table(Contact, "O contato", **_CONTACT)
        self.sessions = Table(Session, "A sessão", origin="API", unreadCount=0, metadata={})
        self.messages = Table(Message, "A mensagem", direction="TO_HUB", origin="API")
        self.sends = Table(Send, "O envio", status="QUEUED", waitReply=False)
        self.otps = Table(Record, "O código")
        self.scheduled_messages = Table(Record, "A mensagem agendada")
        self.templates = Table(
            Record, "O template", active=True, archived=False, status="Approved", fileType="UNDEFINED"
        )
        self.sequences = Table(Record, "A sequência", active=True, enabled=True)
        self.sequence_contacts = Table(Record, "O contato")
        self.agents = Table(Record, "O usuário", departments=[], availability="UNAVAILABLE")
        self.departments = Table(
            Record, "A equipe", restrictionType="NONE", directLinks={}, channelsConfig={"scope": "ALL", "channels": []}
        )
        self.tags = Table(Record, "A etiqueta", color="GRAY_600")
        self.custom_fields = Table(Record, "O campo")
        self.portfolios = Table(Record, "A carteira", active=True, type="SINGLE")
        self.portfolio_contacts = Table(Record, "O contato")
        self.files = Table(Record, "O arquivo")
        self.uploads = Table(Record, "O arquivo temporário")
        self.webhook_subscriptions = Table(Record, "A assinatura", enabled=True)
        self.panels = Table(Record, "O painel", scope="COMPANY", departmentIds=[], type="MANAGEMENT")
        self.panel_steps = Table(Record, "A etapa")
        self.panel_tags = Table(Record, "A etiqueta")
        self.lost_reasons = Table(Record, "O motivo de perda")
        self.cards = Table(Record, "O card", **_CARD)
        self.card_notes = Table(Record, "A nota")
        self.office_hours: dict[str, Any] = {}

        self.deliveries: list[Delivery] = []
        self.deliveries_by_contact: dict[str, list[Delivery]] = {}
        self.behaviours: dict[str, Behaviour] = {}
        self.default_behaviour = Behaviour()
        self.open_sessions: dict[tuple[str, str], Session] = {}
        self.contacts_by_phone: dict[str, Contact] = {}
        self.contacts_by_instagram: dict[str, Contact] = {}
        self.contacts_by_email: dict[str, Contact] = {}
        self.memberships: dict[tuple[str, str], Record] = {}
        self.contacts_not_active = 0
        self.violations: list[str] = []
        self._warned: set[str] = set()
        self.post: Callable[[str, Mapping[str, Any], str], None] = _nowhere

    # Ids and records ------------------------------------------------------------------------------------------------

    def named_id(self, name: str) -> str:
        """Return the id of a seeded object, the same for the same seed and name.

        :param name: kind and name, such as ``chatbot:Cobrança``.
        """
        return str(uuid.uuid5(self.namespace, name))

    def new_id(self) -> str:
        """Return a new id."""
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def new(
        self,
        table: Table[RecordT],
        values: Mapping[str, Any],
        identifier: str | None = None,
        stamp: int | None = None,
        **attributes: Any,
    ) -> RecordT:
        """Create a record in a table.

        :param identifier: its ID; a new one by default.
        :param stamp: when it was created, in ticks; now by default.
        :param attributes: what the record has besides its properties.
        """
        stamp = self.clock.stamp() if stamp is None else stamp
        properties = {"companyId": self.id, **copy.deepcopy(table.defaults), **values}
        return table.add(table.kind(identifier or self.new_id(), stamp, stamp, properties, **attributes))

    def touch(self, table: Table[RecordT], record: RecordT) -> None:
        """Note that a record changed now."""
        table.touch(record, self.clock.stamp())

    def touch_session(self, session: Session) -> None:
        """Note that a send, its bot or a message changed a session now, unless a switch says that its date stays."""
        if self.switches.session_change_date == "moves":
            self.touch(self.sessions, session)

    def now_text(self) -> str:
        """Return the time as the service writes it."""
        return self.clock.text(self.clock.now())

    def violation(self, text: str) -> None:
        """Record that a client broke a rule of the real service, and log a warning once.

        :param text: what it did, without personal data.
        """
        log.log(logging.DEBUG if text in self._warned else logging.WARNING, "%s", text)
        self._warned.add(text)
        if len(self.violations) < 10_000:
            self.violations.append(text)

    def status_url(self, path: str) -> str:
        """Return a ``statusUrl`` in the form that the switch says."""
        return self.address + path if self.switches.status_url == "absolute" else path

    def stamped(self, record: Record) -> dict[str, Any]:
        """Return the id and the two timestamps of a record as an answer carries them."""
        created, updated = self.clock.text(record.created), self.clock.text(record.updated)
        return {"id": record.id, "createdAt": created, "updatedAt": updated}

    # Finding --------------------------------------------------------------------------------------------------------

    def channel_of(self, sender: str | None, recipient: str | None = None) -> Record:
        """Return the channel that a request means with ``from``.

        :param sender: number, handle or ID of a channel; the account's first one of the right kind by default.
        :param recipient: the number or handle of the recipient.
        """
        channels = [channel for channel in self.channels if channel["active"]]
        if not sender:
            instagram = bool(recipient and is_handle(recipient))
            fitting = [channel for channel in channels if (channel["type"] == "Instagram") == instagram]
            return required(next(iter(fitting), None), "O canal")
        by_id = self.channels.find(sender)
        if by_id is not None:
            return by_id
        if is_handle(sender):
            handle = sender.strip().casefold()
            found = next((one for one in channels if one["identity"]["humanId"].casefold() == handle), None)
        else:
            try:
                digits = _digits(stored_phone(sender, self.switches))
            except Refusal:
                raise not_found("O canal") from None
            found = next((channel for channel in channels if _digits(channel["number"]) == digits), None)
        return required(found, "O canal")

    def chatbot_of(self, key: str | None) -> Chatbot:
        """Return the chatbot of a key, if the API may start it."""
        wanted = (key or "").lower()
        bot = required(next((bot for bot in self.chatbots if bot["key"] == wanted), None), "O chatbot")
        suitable = (
            bot["type"] == "Automation"
            and bot["publishStatus"] == "READY"
            and not bot["archived"]
            and "Api" in bot["automationUsage"]
        )
        if not suitable and self.switches.unsuitable_bot == "refuse":
            raise Refusal("FORM_ERROR", "O chatbot não está disponível para uso via API.")
        return bot

    def template_of(self, identifier: str | None) -> Record:
        """Return a template by its id or its slug."""
        found = self.templates.find(identifier)
        by_slug = (template for template in self.templates if template["internalName"] == identifier)
        return required(found or next(by_slug, None), "O template")

    def contact_by_address(self, address: str) -> Contact | None:
        """Return the contact of a number or handle, if there is one."""
        if is_handle(address):
            return self.contacts_by_instagram.get(address.strip().casefold())
        return self.contacts_by_phone.get(_digits(stored_phone(address, self.switches)))

    def contact_by_older_number(self, address: str) -> Contact | None:
        """Return the contact of a Brazilian mobile number that is stored with or without the ninth digit."""
        if is_handle(address) or self.switches.ninth_digit == "exact":
            return None
        digits = _digits(stored_phone(address, self.switches))
        if digits[:2] != "55" or len(digits) not in (12, 13):
            return None
        other = digits[:4] + digits[5:] if len(digits) == 13 else f"{digits[:4]}9{digits[4:]}"
        return self.contacts_by_phone.get(other)

    def contact_named(self, given: Mapping[str, Any]) -> Contact:
        """Return the contact that a request names by ``contactId`` or ``phoneNumber``."""
        if given.get("contactId"):
            return self.contacts.need(given["contactId"])
        if not given.get("phoneNumber"):
            raise Refusal("FORM_ERROR", "Informe o contato ou o número de telefone.")
        return required(self.contact_by_address(given["phoneNumber"]), "O contato", "FORM_ERROR")

    def user_id(self) -> str:
        """Return the user in whose name the API writes: that of the first agent."""
        return str(next((agent["userId"] for agent in self.agents), self.named_id("user:API")))

    def department_of(self, given: Mapping[str, Any] | None) -> Record | None:
        """Return the department that a request names by ``id`` or ``name``, if it names one."""
        given = given or {}
        if given.get("id"):
            return self.departments.need(given["id"])
        if not given.get("name"):
            return None
        return required(named(self.departments, given["name"]), "A equipe")

    def agent_of(self, user: Mapping[str, Any] | None) -> Record | None:
        """Return the agent that a request names by ``id``, ``phoneNumber`` or ``email``, if it names one."""
        if not user or not any(user.values()):
            return None
        for agent in self.agents:
            if user.get("id"):
                if user["id"].lower() in (agent["userId"], agent.id):
                    return agent
            elif user.get("phoneNumber"):
                if agent["phoneNumber"] and _digits(agent["phoneNumber"]) == _digits(user["phoneNumber"]):
                    return agent
            elif (agent["email"] or "").casefold() == str(user.get("email")).casefold():
                return agent
        raise not_found("O usuário")

    def user_of(self, user: Mapping[str, Any] | None) -> str | None:
        """Return the user ID of the agent that a request names; see :meth:`agent_of`."""
        agent = self.agent_of(user)
        return None if agent is None else str(agent["userId"])

    def agent_of_user(self, user_id: str | None) -> Record | None:
        """Return the agent of a user."""
        return next((agent for agent in self.agents if agent["userId"] == user_id), None)

    def default_department(self) -> Record | None:
        """Return the department that a session gets by default."""
        return next((one for one in self.departments if one["isDefault"]), None)

    # Contacts -------------------------------------------------------------------------------------------------------

    def add_contact(
        self, values: Mapping[str, Any], *, identifier: str | None = None, stamp: int | None = None
    ) -> Contact:
        """Create a contact; nothing is checked.

        :param values: properties that differ from the defaults; ``phoneNumber`` as stored.
        """
        known = {"phoneNumberFormatted": formatted_phone(values.get("phoneNumber")), **values}
        contact = self.new(self.contacts, known, identifier, stamp)
        self._index(contact)
        self.contacts_not_active += contact["status"] != "ACTIVE"
        return contact

    def change_contact(self, contact: Contact, values: Mapping[str, Any]) -> None:
        """Change properties of a contact; nothing is checked."""
        for index, key in self._indexes(contact):
            if index.get(key) is contact:
                del index[key]
        active = contact["status"] == "ACTIVE"
        contact.values.update(values)
        self.contacts_not_active += active - (contact["status"] == "ACTIVE")
        self._index(contact)

    def _index(self, contact: Contact) -> None:
        """Make a contact findable by its number, handle and e-mail."""
        for index, key in self._indexes(contact):
            index[key] = contact

    def _indexes(self, contact: Contact) -> list[tuple[dict[str, Contact], str]]:
        keys = (
            (self.contacts_by_phone, _digits(contact["phoneNumber"])),
            (self.contacts_by_instagram, handle_key(contact["instagram"])),
            (self.contacts_by_email, (contact["email"] or "").casefold()),
        )
        return [(index, key) for index, key in keys if key]

    def behaviour_of(self, address: str) -> Behaviour:
        """Return how the contact of a stored number or a handle behaves."""
        return self.behaviours.get(address_key(address), self.default_behaviour)

    def set_behaviour(self, address: str, behaviour: Behaviour) -> None:
        """Set how a contact behaves, whether it exists yet or not.

        :param address: number in any accepted spelling, or handle; ``*`` = all others.
        """
        if address == "*":
            self.default_behaviour = behaviour
        else:
            known = address if is_handle(address) else stored_phone(address, self.switches)
            self.behaviours[address_key(known)] = behaviour

    def deliver(self, delivery: Delivery) -> None:
        """Record what a customer received."""
        self.deliveries.append(delivery)
        self.deliveries_by_contact.setdefault(address_key(delivery.to), []).append(delivery)


def address_key(address: str) -> str:
    """Return one key for all spellings of a stored number or handle."""
    return address.strip().casefold() if is_handle(address) else _digits(address)


def _digits(text: str | None) -> str:
    return "".join(character for character in text or "" if character.isdigit())


def handle_key(handle: str | None) -> str:
    """Return one key for all spellings of a handle, with or without its ``@``."""
    return "@" + handle.removeprefix("@").casefold() if handle else ""


def _nowhere(url: str, body: Mapping[str, Any], reason: str) -> None:
    log.debug("No post for %s", reason)
