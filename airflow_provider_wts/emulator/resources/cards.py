"""Cards of panels and their notes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow_provider_wts.emulator import webhooks
from airflow_provider_wts.emulator.answers import EMPTY, Empty, Request, answer, by_name, handles
from airflow_provider_wts.emulator.crud import Resource, changes, merged
from airflow_provider_wts.emulator.errors import not_found, required
from airflow_provider_wts.emulator.lists import listed
from airflow_provider_wts.emulator.resources.custom_fields import accepted_values
from airflow_provider_wts.emulator.resources.files import message_files
from airflow_provider_wts.emulator.resources.messages import check_note
from airflow_provider_wts.emulator.resources.panels import cards_of, is_overdue
from airflow_provider_wts.emulator.resources.tags import tags_after
from airflow_provider_wts.emulator.state import Account, Record, named

_FIELDS = by_name(
    *("stepId", "title", "description", "position", "dueDate", "responsibleUserId", "contactIds", "sessionId"),
    *("monetaryAmount", "customFields", "metadata"),
    TagIds=("tagIds", "tagNames"),
    Status=("status", "lostReasonId"),
)
_DETAILS = by_name(
    *("panelTitle", "stepTitle", "stepPhase", "responsibleUser", "contacts", "customFields", "lostReason")
)
_PLAIN = ("description", "dueDate", "monetaryAmount")
_COPIES = {
    "Amount": "monetaryAmount",
    "MonetaryAmount": "monetaryAmount",
    "DueDate": "dueDate",
    "Tags": "tagIds",
    "Contacts": "contactIds",
    "ResponsibleUser": "responsibleUserId",
    "CustomFields": "customFields",
}


def _wanted(request: Request) -> Callable[[Record], bool]:
    panel = request.account.panels.need(request.query["PanelId"])
    return lambda card: card["panelId"] == panel.id


def _show(request: Request, card: Record) -> dict[str, Any]:
    account = request.account
    step, panel = account.panel_steps.find(card["stepId"]), account.panels.find(card["panelId"])
    agent, reason = account.agent_of_user(card["responsibleUserId"]), account.lost_reasons.find(card["lostReasonId"])
    contacts = [contact for contact in map(account.contacts.find, card["contactIds"]) if contact is not None]
    phase = "NONE"
    if step is not None and (step["isInitial"] or step["isFinal"]):
        phase = "INITIAL" if step["isInitial"] else "FINAL"
    return answer(
        request,
        card,
        _DETAILS,
        whole=request.operation.effect != "read",
        isOverdue=is_overdue(account, card),
        panelTitle=panel and panel["title"],
        stepTitle=step and step["title"],
        stepPhase=phase,
        responsibleUser=agent and {"id": agent["userId"], "name": agent["name"]},
        contacts=contacts,
        lostReason=reason and {"id": reason.id, "name": reason["description"]},
    )


CARDS = Resource(
    "card",
    show=_show,
    filters={
        "StepId": "stepId",
        "ContactId": "contactIds",
        "ResponsibleUserId": "responsibleUserId",
        "Statuses": "status",
    },
    texts={"TextFilter": ("title", "description", "key")},
    keep=_wanted,
)


@handles("create_card")
def _create(request: Request) -> dict[str, Any]:
    card = add_card(request.account, request.body)
    webhooks.emit(request.account, "PANEL_CARD_NEW", card)
    return _show(request, card)


@handles("update_card")
def _update(request: Request) -> dict[str, Any]:
    account, card = request.account, CARDS.of(request)
    named_fields = {str(name).lower() for name in request.body.get("fields") or ()}
    if "archived" in named_fields:
        account.violation("update_card: 'Archived' has no property to write; archive a card through its status")
    operation = (request.body.get("options") or {}).get("upsertTagOperation") or "ReplaceAll"
    step_before = card["stepId"]
    card.values.update(_written(account, card.values, changes(request, _FIELDS), operation))
    account.touch(account.cards, card)
    moved = card["stepId"] != step_before
    webhooks.emit(account, "PANEL_CARD_STEP_CHANGE" if moved else "PANEL_CARD_UPDATE", card)
    return _show(request, card)


@handles("duplicate_card")
def _duplicate(request: Request) -> dict[str, Any]:
    account, body, source = request.account, request.body, CARDS.of(request)
    options = body.get("options") or {}
    step = account.panel_steps.need(body.get("copyToStepId") or source["stepId"])
    named_fields = set(options.get("fields") or ())
    everything = not named_fields or "All" in named_fields
    copied = {target: source[target] for name, target in _COPIES.items() if everything or name in named_fields}
    values = {**_first_values(account, step, source["title"]), "description": source["description"], **copied}
    card = account.new(account.cards, values)
    if everything or "Notes" in named_fields:
        for note in [one for one in account.card_notes if one["cardId"] == source.id]:
            account.new(account.card_notes, {**note.values, "cardId": card.id, "panelId": card["panelId"]})
    if options.get("archiveOriginalCard"):
        source["status"] = "ARCHIVED"
        account.touch(account.cards, source)
    webhooks.emit(account, "PANEL_CARD_NEW", card)
    return _show(request, card)


@handles("list_card_notes")
def _notes(request: Request) -> Any:
    account, card = request.account, CARDS.of(request)
    return listed(request, account.card_notes, answer, lambda note: note["cardId"] == card.id)


@handles("create_card_note")
def _create_note(request: Request) -> dict[str, Any]:
    account, body, card = request.account, request.body, CARDS.of(request)
    urls = body.get("fileUrls") or ()
    if not urls:
        check_note(account, body.get("text"))
    note = add_card_note(account, card, body.get("text"), urls)
    webhooks.emit(account, "PANEL_CARD_NOTE_NEW", note)
    return answer(request, note)


@handles("delete_card_note")
def _delete_note(request: Request) -> Empty:
    account, card = request.account, CARDS.of(request)
    note = account.card_notes.need(request.path["noteId"])
    if note["cardId"] != card.id:
        raise not_found("A nota")
    account.card_notes.remove(note)
    return EMPTY


def add_card(account: Account, given: Mapping[str, Any], identifier: str | None = None) -> Record:
    """Create a card.

    :param given: its properties, as ``create_card`` takes them, and ``status`` with ``lostReasonId``.
    """
    values = _first_values(account, account.panel_steps.need(given["stepId"]), given["title"])
    properties = {name: value for name, value in given.items() if name not in ("stepId", "title")}
    values |= _written(account, {**account.cards.defaults, **values}, properties, "ReplaceAll")
    return account.new(account.cards, values, identifier)


def add_card_note(
    account: Account, card: Record, text: str | None, files: Sequence[str], identifier: str | None = None
) -> Record:
    """Create a note of a card.

    :param files: ids or URLs of its files.
    """
    values = {
        "panelId": card["panelId"],
        "cardId": card.id,
        "userId": account.user_id(),
        "text": text,
        "files": message_files(account, files),
        "isFromPublicApi": True,
    }
    return account.new(account.card_notes, values, identifier)


def _first_values(account: Account, step: Record, title: str) -> dict[str, Any]:
    """Return the values of a new card at the end of a step."""
    panel = account.panels.need(step["panelId"])
    number = 1 + max((one["number"] for one in account.cards if one["panelId"] == panel.id), default=0)
    return {
        "panelId": panel.id,
        "stepId": step.id,
        "position": _last_position(account, step),
        "title": title,
        "key": f"{panel['key']}-{number}",
        "number": number,
    }


def _last_position(account: Account, step: Record) -> float:
    return 1.0 + max((float(card["position"]) for card in cards_of(account, step)), default=-1.0)


def _written(account: Account, card: Mapping[str, Any], given: Mapping[str, Any], tag_operation: str) -> dict[str, Any]:
    """Return the properties of a card that are written, or refuse them.

    :param card: its properties before.
    """
    written: dict[str, Any] = {name: given[name] for name in _PLAIN if name in given}
    written |= {name: given[name] for name in ("title", "status") if given.get(name)}
    panel_id = card["panelId"]
    if given.get("stepId"):
        step = account.panel_steps.need(given["stepId"])
        panel_id = step["panelId"]
        written |= {"stepId": step.id, "panelId": panel_id}
        if step.id != card["stepId"]:
            written["position"] = _last_position(account, step)
    if given.get("position") is not None:
        written["position"] = float(given["position"])
    written |= _references(account, card, given)
    if "tagIds" in given or "tagNames" in given:
        wanted_tags = _tag_ids(account, panel_id, given.get("tagIds"), given.get("tagNames"))
        written["tagIds"] = tags_after(card["tagIds"], wanted_tags, tag_operation)
    if given.get("customFields"):
        kept = accepted_values(account, given["customFields"], panel_id)
        written["customFields"] = merged(card["customFields"], kept)
    if given.get("metadata"):
        written["metadata"] = merged(card["metadata"], given["metadata"])
    return written


def _references(account: Account, card: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties of a card that name other objects."""
    found: dict[str, Any] = {}
    if "responsibleUserId" in given:
        found["responsibleUserId"] = account.user_of({"id": given["responsibleUserId"]})
    if "sessionId" in given:
        wanted = given["sessionId"]
        found["sessionId"] = account.sessions.need(wanted).id if wanted else None
    if "contactIds" in given:
        found["contactIds"] = [_contact_id(account, one) for one in given["contactIds"] or ()]
    if given.get("status"):
        found["lostReasonId"] = None
    if given.get("lostReasonId") and (given.get("status") or card["status"]) == "LOST":
        found["lostReasonId"] = account.lost_reasons.need(given["lostReasonId"]).id
    return found


def _contact_id(account: Account, reference: str) -> str:
    contact = account.contacts.find(reference)
    if contact is None:
        if not reference.strip().removeprefix("+").replace("|", "").isdecimal():
            raise not_found("O contato")
        contact = account.contact_named({"phoneNumber": reference})
    return contact.id


def _tag_ids(account: Account, panel_id: str, ids: Sequence[str] | None, names: Sequence[str] | None) -> list[str]:
    tags = {tag.id: tag for tag in account.panel_tags if tag["panelId"] == panel_id}
    if ids:
        return [required(tags.get(one.lower()), "A etiqueta").id for one in ids]
    found = (named(tags.values(), name) for name in names or ())
    return [tag.id for tag in found if tag is not None]
