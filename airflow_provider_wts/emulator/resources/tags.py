"""Tags of contacts, and the palette of their colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_wts.api.contract import document
from airflow_provider_wts.emulator import webhooks
from airflow_provider_wts.emulator.answers import Request, handles
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
