"""Fills an account from the data of a seed file, and with the default objects.

A seed file is a JSON object; every kind is optional: ``departments``, ``channels``, ``agents``, ``tags``,
``custom_fields``, ``portfolios``, ``templates``, ``chatbots``, ``sequences``, ``panels``, ``files``, ``contacts``,
``sessions``, ``messages``, ``cards``, ``notes``, ``behaviours`` and ``switches``. ``contacts`` and ``sessions`` also
take a number: so many are made up. The default objects show what each kind may hold, and docs/emulator.md the rest.

Every object takes an ``id``, a UUID; by default it is made from the emulator's seed and the object's name.

``behaviours`` say how contacts behave: ``{"+5511999990001": {"replies": ["10"], "delay": 2}}``; further keys are
``answers``, ``fails`` and ``stays``; ``"replies": []`` = silent; ``*`` = all others.
"""

from __future__ import annotations

import base64
import copy
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from airflow_provider_wts.emulator import conversation
from airflow_provider_wts.emulator.bots import check_steps
from airflow_provider_wts.emulator.clock import TICKS, parse_ticks
from airflow_provider_wts.emulator.errors import Refusal
from airflow_provider_wts.emulator.phones import formatted_phone, stored_phone
from airflow_provider_wts.emulator.resources.cards import add_card, add_card_note
from airflow_provider_wts.emulator.resources.departments import join
from airflow_provider_wts.emulator.resources.files import file_values, message_files, message_type
from airflow_provider_wts.emulator.resources.panels import steps_of
from airflow_provider_wts.emulator.state import Account, Behaviour, Record, RecordT, Session, Table, named

DEFAULT_SEED: Final[dict[str, Any]] = json.loads(Path(__file__).with_name("default_seed.json").read_bytes())
"""Default objects; every id is made from the emulator's seed and the object's name."""

OFFICE_HOURS: Final[dict[str, Any]] = json.loads(Path(__file__).with_name("office_hours.json").read_bytes())

_DAY = 86_400 * TICKS
_STATUSES = ("COMPLETED", "COMPLETED", "COMPLETED", "IN_PROGRESS", "PENDING")


def seed_default(account: Account) -> None:
    """Add the default objects, and the office hours."""
    days = [{"id": account.named_id(f"day:{day['dayWeek']}"), **day} for day in OFFICE_HOURS["days"]]
    account.office_hours = {**OFFICE_HOURS, "days": days}
    # A copy: a test may change the script of a chatbot.
    seed_account(account, copy.deepcopy(DEFAULT_SEED))


def seed_account(account: Account, data: Mapping[str, Any]) -> dict[str, int]:
    """Add objects; return how many of each kind.

    :param data: the objects by kind; an unknown kind raises ``ValueError``.
    """
    unknown = data.keys() - _KINDS.keys()
    if unknown:
        raise ValueError(f"{sorted(unknown)}: not valid in a seed file. It may have {sorted(_KINDS)}.")
    added: dict[str, int] = {}
    for kind, add in _KINDS.items():
        if (given := data.get(kind)) is None:
            continue
        if isinstance(given, int) and kind in _MADE_UP:
            _MADE_UP[kind](account, given)
        elif kind in ("behaviours", "switches"):
            add(account, given)
        elif not isinstance(given, list):
            raise ValueError(f"{kind}: must be a list, not {given!r}.")
        else:
            for number, one in enumerate(given):
                try:
                    add(account, one)
                except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, Refusal) as problem:
                    what = f"{problem} is missing" if isinstance(problem, KeyError) else problem
                    raise ValueError(f"{kind}[{number}]: {what}") from None
        added[kind] = given if isinstance(given, int) else len(given)
    return added


def _a_month_ago(account: Account) -> int:
    """Return a time to the second: a seeded object is older than what a client does."""
    ticks = account.clock.now() - 30 * _DAY
    return ticks - ticks % TICKS


def _id(account: Account, given: Mapping[str, Any] | str, name: str) -> str:
    """Return the id that an object is given, or the one of its kind and name."""
    if not isinstance(given, dict) or given.get("id") is None:
        return account.named_id(name)
    return _uuid("id", given["id"])


def _uuid(name: str, value: Any) -> str:
    try:
        return str(uuid.UUID(value))
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"{name} must be a UUID, not {value!r}.") from None


def _new_id(table: Table[RecordT], identifier: str, name: str | None = None) -> str:
    if table.find(identifier) is not None:
        raise ValueError(f"{name or identifier!r} already exists.")
    return identifier


def _given_id(table: Table[RecordT], given: Mapping[str, Any]) -> str | None:
    """Return the id that an object is given, for kinds that have no name to make one from."""
    return None if given.get("id") is None else _new_id(table, _uuid("id", given["id"]))


def _add(account: Account, kind: str, name: str, given: Mapping[str, Any] | str, values: dict[str, Any]) -> Any:
    """Add an object to the table of its kind."""
    table: Table[Record] = getattr(account, "panel_steps" if kind == "step" else f"{kind.replace('-', '_')}s")
    identifier = _new_id(table, _id(account, given, f"{kind}:{name}"), name)
    return account.new(table, values, identifier, _a_month_ago(account))


def _name(given: Mapping[str, Any] | str, key: str = "name") -> str:
    """Return the name of an object that may be given by its name alone."""
    return given if isinstance(given, str) else str(given[key])


def _renamed(given: Mapping[str, Any], *same: str, **names: str) -> dict[str, Any]:
    """Return the properties that are given, by their names on the wire."""
    names = {name: name for name in same} | names
    return {wire: given[name] for name, wire in names.items() if given.get(name) is not None}


def _plain(kind: str, **names: str) -> Callable[[Account, Mapping[str, Any]], None]:
    """Make what adds an object that has a name and the properties that are given, by their names on the wire."""

    def add(account: Account, given: Mapping[str, Any]) -> None:
        _add(account, kind, given["name"], given, _renamed(given, "name", **names))

    return add


def _departments_of(account: Account, given: Mapping[str, Any]) -> list[Record]:
    found = (account.department_of({"name": name}) for name in given.get("departments", ()))
    return [department for department in found if department is not None]


def _channel(account: Account, given: Mapping[str, Any]) -> None:
    number = stored_phone(given["number"], account.switches) if given.get("number") else None
    formatted = formatted_phone(number)
    kind = given["type"]
    values = {
        "active": given.get("active", True),
        "type": kind,
        "number": number,
        "numberFormatted": formatted,
        "identity": {
            "humanId": given.get("handle") or formatted or given["name"],
            "platform": kind.split("_")[-1],
            "provider": kind.split("_")[0],
            "providerVariable": None,
            "pictureUrl": None,
            "displayName": given["name"],
        },
    }
    _add(account, "channel", given["name"], given, values)


def _agent(account: Account, given: Mapping[str, Any]) -> None:
    user = _uuid("user_id", given["user_id"]) if given.get("user_id") else account.named_id(f"user:{given['name']}")
    phone = stored_phone(given["phone"], account.switches) if given.get("phone") else None
    departments = _departments_of(account, given)
    values = {
        "userId": user,
        "name": given["name"],
        "shortName": given["name"].split()[0],
        "email": given.get("email"),
        "phoneNumber": phone,
        "phoneNumberFormatted": formatted_phone(phone),
        "profile": given.get("profile", "Agent"),
        "isOwner": bool(given.get("owner")),
        "availability": "AVAILABLE",
    }
    agent = _add(account, "agent", given["name"], given, values)
    for department in departments:
        join(agent, department, {})


def _custom_field(account: Account, given: Mapping[str, Any], panel: Record | None = None) -> None:
    scope, group, key = panel.id if panel else None, given.get("group"), given["key"]
    values = {
        "parentId": account.named_id(f"custom-field:{group}") if group else None,
        "type": given.get("type", "STRING"),
        "entityType": "PANEL" if panel else "CONTACT",
        "scopeId": scope,
        "name": given["name"],
        "key": key,
        "position": sum(field["scopeId"] == scope for field in account.custom_fields),
        "visible": True,
        "options": [
            {"id": account.named_id(f"option:{key}:{option}"), "name": option} for option in given.get("options", ())
        ],
    }
    _add(account, "custom-field", f"{panel['title']}/{key}" if panel else key, given, values)


def _portfolio(account: Account, given: Mapping[str, Any]) -> None:
    departments = [{"departmentId": one.id, "userIds": []} for one in _departments_of(account, given)]
    values = {**_renamed(given, "name", "type"), "departments": departments}
    _add(account, "portfolio", given["name"], given, values)


def _template(account: Account, given: Mapping[str, Any]) -> None:
    identifier = _id(account, given, f"template:{given['name']}")
    official = next((channel for channel in account.channels if "WhatsApp" in channel["type"]), None)
    params = given.get("params", ["1"] if "{{1}}" in given["text"] else [])
    values = {
        **_renamed(given, "name", "text", "status", "archived", footer="footerText", file_type="fileType"),
        "channelId": official.id if official else None,
        "channelType": official["type"].upper() if official else None,
        "type": given.get("types", ["TEMPLATE", "TEMPLATE_CAMPAIGN", "TEMPLATE_SCHEDULED_MESSAGE"]),
        "params": [{"name": name, "templateId": identifier} for name in params],
        "internalName": given.get("slug", f"{identifier[:4]}_{given['name']}"),
    }
    _add(account, "template", given["name"], given, values)


def _chatbot(account: Account, given: Mapping[str, Any]) -> None:
    name = given["name"]
    department = account.department_of({"name": given["department"]}) if given.get("department") else None
    values = {
        "key": _uuid("key", given["key"]) if given.get("key") else account.named_id(f"chatbot-key:{name}"),
        **_renamed(given, "name", "archived", "type", status="publishStatus", usage="automationUsage"),
        "channelIds": [channel.id for channel in account.channels],
        "defaultDepartmentId": department.id if department else None,
    }
    steps = check_steps(given.get("steps", []))
    _add(account, "chatbot", name, given, values).steps = steps


def _panel(account: Account, given: Mapping[str, Any]) -> None:
    title, steps = given["title"], given.get("steps", ())
    values = {
        "key": title.upper()[:10],
        **_renamed(given, "title", "description", "key", "type"),
    }
    panel = _add(account, "panel", title, given, values)

    def part(kind: str, one: Mapping[str, Any] | str, key: str, name: str, **values: Any) -> None:
        _add(account, kind, f"{title}/{name}", one, {"panelId": panel.id, key: name, **values})

    for position, step in enumerate(steps):
        ends = {"isInitial": position == 0, "isFinal": position == len(steps) - 1}
        part("step", step, "title", _name(step, "title"), position=float(position), **ends)
    for tag in given.get("tags", ()):
        part("panel-tag", tag, "name", _name(tag), nameColor="#FFFFFF", bgColor="#336699")
    for reason in given.get("lost_reasons", ()):
        part("lost-reason", reason, "description", _name(reason))
    for custom_field in given.get("custom_fields", ()):
        _custom_field(account, custom_field, panel)


def _contact(account: Account, given: Mapping[str, Any]) -> None:
    values = _renamed(given, "name", "email", "instagram", "annotation", "status")
    if given.get("phone"):
        values["phoneNumber"] = stored_phone(given["phone"], account.switches)
    tags = [named(account.tags, name) for name in given.get("tags", ())]
    values["tagIds"] = [tag.id for tag in tags if tag is not None]
    values["metadata"] = dict(given.get("metadata", {}))
    values["customFields"] = dict(given.get("custom_fields", {}))
    name = given.get("phone") or given.get("instagram") or given["name"]
    identifier = _new_id(account.contacts, _id(account, given, f"contact:{name}"), name)
    account.add_contact(values, identifier=identifier, stamp=_a_month_ago(account))


def _session(account: Account, given: Mapping[str, Any]) -> None:
    contact = account.contact_by_address(given["contact"])
    if contact is None:
        raise ValueError("contact: must be the address of an existing contact.")
    channel = account.channel_of(given.get("channel"), given["contact"])
    stamp = _at(account, given)
    conversation.add_session(
        account,
        contact,
        channel,
        given.get("status", "IN_PROGRESS"),
        identifier=_given_id(account.sessions, given),
        stamp=stamp,
        lastInteractionDate=account.clock.text(stamp),
        metadata=dict(given.get("metadata", {})),
    )


def _at(account: Account, given: Mapping[str, Any]) -> int:
    return parse_ticks(given["at"]) if given.get("at") else account.clock.stamp()


def _session_of(account: Account, given: Mapping[str, Any]) -> Session:
    """Return the session that is named by its id, or the last one of the contact that is named by its address."""
    wanted = given["session"]
    session = account.sessions.find(wanted)
    contact = account.contact_by_address(wanted) if session is None else None
    if contact is not None and contact.sessions:
        session = contact.sessions[-1]
    if session is None:
        raise ValueError(f"session: {wanted!r} does not exist.")
    return session


def _file(account: Account, given: Mapping[str, Any]) -> None:
    content = base64.b64decode(given["base64"], validate=True) if "base64" in given else given.get("text", "").encode()
    values = file_values(given["name"], content, given.get("mime_type"))
    _add(account, "file", given["name"], given, values)


def _files(account: Account, given: Mapping[str, Any]) -> list[str]:
    """Return the references of files that are named by id, URL or the name of a seeded file."""
    by_name = {file["name"]: file.id for file in account.files}
    return [by_name.get(one, one) for one in given.get("files", ())]


def _message(account: Account, given: Mapping[str, Any]) -> None:
    session = _session_of(account, given)
    author = given.get("from", "company")
    if author not in ("company", "contact"):
        raise ValueError(f"from: must be 'company' or 'contact', not {author!r}.")
    files = message_files(account, _files(account, given))
    message = conversation.add_message(
        account,
        session,
        files=files,
        identifier=_given_id(account.messages, given),
        stamp=_at(account, given),
        text=given.get("text"),
        type=given.get("type") or message_type(files),
        direction="FROM_HUB" if author == "contact" else "TO_HUB",
        origin=given.get("origin", "GATEWAY" if author == "contact" else "API"),
        status=given.get("status", "DELIVERED"),
        senderId=given.get("sender_id"),
    )
    session.messages.sort(key=lambda one: one.created)
    if given.get("template"):
        message["templateId"] = _named(account.templates, given["template"], "name").id
    if author == "contact":
        conversation.note_answer(account, session, message)
    elif message["type"] != "NOTE":
        session["lastMessageOut"] = account.clock.text(message.created)


def _card(account: Account, given: Mapping[str, Any]) -> None:
    panel = _named(account.panels, given["panel"], "title")
    steps = steps_of(account, panel.id)
    step = _named(steps, given["step"], "title") if given.get("step") else steps[0]
    reasons = [one for one in account.lost_reasons if one["panelId"] == panel.id]
    lost = _named(reasons, given["lost_reason"], "description").id if given.get("lost_reason") else None
    properties = {
        **_renamed(given, "description", "metadata", "status", due="dueDate", amount="monetaryAmount"),
        **_renamed(given, tags="tagNames", custom_fields="customFields", contacts="contactIds"),
        "stepId": step.id,
        "title": given["title"],
        "responsibleUserId": account.user_of({"email": given["responsible"]}) if given.get("responsible") else None,
        "sessionId": _session_of(account, given).id if given.get("session") else None,
        "lostReasonId": lost,
    }
    identifier = _id(account, given, f"card:{panel['title']}/{given['title']}")
    add_card(account, properties, _new_id(account.cards, identifier, given["title"]))


def _note(account: Account, given: Mapping[str, Any]) -> None:
    """Add a note to the card or to the session that it names."""
    if given.get("card"):
        card, identifier = _named(account.cards, given["card"], "title"), _given_id(account.card_notes, given)
        add_card_note(account, card, given.get("text"), _files(account, given), identifier)
    else:
        _message(account, {**given, "type": "NOTE", "status": "SAVED"})


def _named(records: Table[RecordT] | Sequence[RecordT], wanted: str, key: str) -> RecordT:
    """Return the record of an id or a name."""
    by_id = (one for one in records if one.id == wanted.lower())
    found = next(by_id, None) or named(records, wanted, key)
    if found is None:
        raise ValueError(f"{key}: {wanted!r} does not exist.")
    return found


def _behaviours(account: Account, given: Mapping[str, Any]) -> None:
    known = [one.name for one in fields(Behaviour) if one.init]
    for address, settings in given.items():
        if unknown := sorted(set(settings) - set(known)):
            raise ValueError(f"behaviours[{address!r}]: {unknown} is not valid. It may have {known}.")
        account.set_behaviour(address, Behaviour(**settings))


def _many_contacts(account: Account, count: int) -> None:
    now = account.clock.now()
    first = len(account.contacts)
    # A second apart, if they fit into the past month.
    step = TICKS if count < 2_000_000 else 1
    begin = now - now % TICKS - count * step
    for number in range(count):
        phone = f"+55|119{first + number:08}"
        values = {"name": f"Cliente {first + number}", "phoneNumber": phone}
        account.add_contact(values, stamp=begin + number * step)


def _many_sessions(account: Account, count: int) -> None:
    if len(account.contacts) < count:
        _many_contacts(account, count - len(account.contacts))
    channel = account.channel_of(None)
    now = account.clock.now()
    begin = now - now % TICKS - count * TICKS
    for number, contact in zip(range(count), list(account.contacts.by_creation()), strict=False):
        if (contact.id, channel.id) not in account.open_sessions:
            status, stamp = _STATUSES[number % len(_STATUSES)], begin + number * TICKS
            last = account.clock.text(stamp)
            conversation.add_session(account, contact, channel, status, stamp=stamp, lastInteractionDate=last)


_KINDS: dict[str, Callable[[Account, Any], None]] = {
    "switches": lambda account, given: account.switches.change(given),
    "departments": _plain("department", description="description", default="isDefault"),
    "channels": _channel,
    "agents": _agent,
    "tags": _plain("tag", color="color"),
    "custom_fields": _custom_field,
    "portfolios": _portfolio,
    "templates": _template,
    "chatbots": _chatbot,
    "sequences": _plain("sequence", enabled="enabled"),
    "panels": _panel,
    "files": _file,
    "contacts": _contact,
    "behaviours": _behaviours,
    "sessions": _session,
    "messages": _message,
    "cards": _card,
    "notes": _note,
}

_MADE_UP: dict[str, Callable[[Account, int], None]] = {"contacts": _many_contacts, "sessions": _many_sessions}
