"""Custom fields of contacts and panels, and which values they take."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_wts.emulator.answers import Request, answer, handles
from airflow_provider_wts.emulator.clock import parse_ticks
from airflow_provider_wts.emulator.state import Account, Record

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
