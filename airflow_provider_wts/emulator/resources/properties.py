"""Tags and custom fields: what contacts and cards are described by."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_wts.api.contract import document
from airflow_provider_wts.emulator import webhooks
from airflow_provider_wts.emulator.answers import Request, answer, handles
from airflow_provider_wts.emulator.clock import parse_ticks
from airflow_provider_wts.emulator.crud import Resource
from airflow_provider_wts.emulator.errors import Refusal
from airflow_provider_wts.emulator.state import Account, Record, named

_SHADES = {"BROWN": "8D6E63", "PURPLE": "7E57C2", "PINK": "EC407A", "RED": "E53935", "YELLOW": "FBC02D"} | {
    "GREEN": "43A047",
    "BLUE": "1E88E5",
    "SKY": "29B6F6",
    "GRAY": "757575",
}


@handles("list_tag_colors")
def _colors(request: Request) -> list[dict[str, Any]]:
    colors = document("core")["components"]["schemas"]["TagColor"]["enum"]
    return [
        {"color": color, "bgColor": f"#{_SHADES[color.partition('_')[0]]}", "textColor": "#FFFFFF"}
        for color in colors
        if color is not None
    ]


def _written(request: Request, given: Mapping[str, Any], tag: Record | None) -> dict[str, Any]:
    account = request.account
    taken = named(account.tags, given["name"])
    if taken not in (None, tag) and account.switches.duplicate_tag == "refuse":
        raise Refusal("ENTITY_ERROR_SAVE", "Já existe uma etiqueta com esse nome.")
    return {name: value for name, value in given.items() if value}


def _deleted(request: Request, tag: Record) -> None:
    account = request.account
    carriers = [contact for contact in account.contacts if tag.id in contact["tagIds"]]
    if carriers and not request.body.get("removeFromContacts"):
        raise Refusal("FORM_ERROR", "A etiqueta está em uso por contatos.")
    for contact in carriers:
        contact["tagIds"] = [one for one in contact["tagIds"] if one != tag.id]
        account.touch(account.contacts, contact)
        webhooks.emit(account, "CONTACT_TAG_UPDATE", contact)


Resource("tag", written=_written, deleted=_deleted)


def tag_ids(account: Account, ids: Sequence[str] | None, names: Sequence[str] | None) -> list[str]:
    """Return the tags that a request names; names count only without ids."""
    if ids:
        return [account.tags.need(one).id for one in ids]
    found: list[str] = []
    for name in names or ():
        tag = named(account.tags, name)
        if tag is None:
            if account.switches.unknown_tag_names == "refuse":
                raise Refusal("ENTITY_NOT_FOUND", f"A etiqueta {name} não existe.")
            if account.switches.unknown_tag_names == "drop":
                continue
            tag = account.new(account.tags, {"name": name})
        found.append(tag.id)
    return list(dict.fromkeys(found))


def tags_after(existing: Sequence[str], given: Sequence[str], operation: str) -> list[str]:
    """Return tags after an operation on them.

    :param operation: ``InsertIfNotExists``, ``DeleteIfExists`` or ``ReplaceAll``, in any case.
    """
    match operation.lower():
        case "insertifnotexists":
            return list(dict.fromkeys([*existing, *given]))
        case "deleteifexists":
            return [one for one in existing if one not in given]
    return list(dict.fromkeys(given))


_TYPES = {"STRING": str, "TEXT": str, "INTEGER": int, "FLOAT": int | float, "BOOLEAN": bool}
_TIME = re.compile(r"\d{2}:\d{2}(:\d{2})?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


@handles("list_custom_fields", "list_contact_custom_fields")
def _list(request: Request) -> list[dict[str, Any]]:
    kind = str(request.query.get("EntityType", "CONTACT")).upper()
    fields = [field for field in request.account.custom_fields if field["entityType"] == kind]
    return arranged(request, fields)


def arranged(request: Request, fields: Sequence[Record]) -> list[dict[str, Any]]:
    """Return custom fields as an answer carries them: flat, or nested in their groups."""
    shown = {field.id: answer(request, field) for field in fields}
    if not request.query.get("NestedList"):
        return list(shown.values())
    top: list[dict[str, Any]] = []
    for field in shown.values():
        group = shown.get(field["parentId"])
        if group is None:
            top.append(field)
        else:
            group["children"] = [*(group["children"] or []), field]
    return top


def accepted_values(account: Account, given: Mapping[str, Any], panel_id: str | None = None) -> dict[str, Any]:
    """Return the values that the service keeps, of a card or of a contact: the others are dropped silently."""
    fields = {field["key"]: field for field in account.custom_fields if field["scopeId"] == panel_id}
    return {
        key: value for key, value in given.items() if key in fields and (value is None or _fits(fields[key], value))
    }


def _fits(field: Record, value: Any) -> bool:
    options = {text for option in field["options"] for text in (option["id"], option["name"])}
    match field["type"]:
        case "STRING" | "TEXT" | "INTEGER" | "FLOAT" | "BOOLEAN" as kind:
            return isinstance(value, _TYPES[kind]) and isinstance(value, bool) == (kind == "BOOLEAN")
        case "SINGLESELECT":
            return isinstance(value, str) and value in options
        case "MULTISELECT":
            return isinstance(value, list) and all(one in options for one in value)
        case "DATE":
            return isinstance(value, str) and (_DATE.fullmatch(value) is not None or _is_timestamp(value))
        case "TIME":
            return isinstance(value, str) and _TIME.fullmatch(value) is not None
        case "DATETIME":
            return isinstance(value, str) and _is_timestamp(value)
    return False


def _is_timestamp(value: str) -> bool:
    try:
        parse_ticks(value)
    except ValueError:
        return False
    return True
