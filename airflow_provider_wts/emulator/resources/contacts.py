"""Contacts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_wts.emulator import webhooks
from airflow_provider_wts.emulator.answers import Request, answer, by_name, handles
from airflow_provider_wts.emulator.crud import changes, merged
from airflow_provider_wts.emulator.errors import Refusal, required
from airflow_provider_wts.emulator.lists import Property, date_bounds, keeps, keeps_metadata, listed
from airflow_provider_wts.emulator.phones import formatted_phone, stored_phone
from airflow_provider_wts.emulator.resources.custom_fields import accepted_values
from airflow_provider_wts.emulator.resources.portfolios import PORTFOLIO_CONTACTS
from airflow_provider_wts.emulator.resources.sequences import SEQUENCE_CONTACTS
from airflow_provider_wts.emulator.resources.tags import tag_ids, tags_after
from airflow_provider_wts.emulator.state import Account, Contact, Record, address_key, handle_key, named

_FIELDS = by_name(
    *("name", "phoneNumber", "email", "instagram", "annotation", "status", "customFields", "pictureUrl"),
    *("sequenceIds", "utm", "metadata"),
    Tags=("tagIds", "tagNames"),
    Portfolio=("portfolioIds", "portfolioNames"),
)
_DETAILS = by_name("customFields") | {
    **dict.fromkeys(("tagIds", "tagNames"), ("Tags",)),
    **dict.fromkeys(("portfolioIds", "portfolioNames"), ("Portfolios",)),
}
_TEXTS = {
    "name": ("name",),
    "email": ("email",),
    "instagram": ("instagram",),
    "textFilter": ("name", "phoneNumber", "phoneNumberFormatted", "email", "instagram"),
}
_PLAIN = ("name", "email", "instagram", "annotation", "utm", "pictureUrl")


def _show(request: Request, contact: Contact) -> dict[str, Any]:
    account = request.account
    return answer(
        request,
        contact,
        _DETAILS,
        whole=request.operation.effect != "read",
        tagNames=lambda: account.tags.names(contact["tagIds"]),
        portfolioNames=lambda: account.portfolios.names(contact["portfolioIds"]),
    )


def _status(account: Account, wanted: str | None) -> str | None:
    """Return the status to filter contacts by, ``None`` if all have it."""
    status = (wanted or "ACTIVE").upper()
    return None if status == "ACTIVE" and account.contacts_not_active == 0 else status


@handles("list_contacts")
def _list(request: Request) -> Any:
    account = request.account
    keep = keeps({"status": _status(account, request.query.get("Status"))}, {"status": "status"})
    return listed(request, account.contacts, _show, keep)


@handles("filter_contacts")
def _filter(request: Request) -> Any:
    account, body = request.account, request.body
    given = {**body, "status": _status(account, body.get("status"))}
    for ids, names in (("tagIds", "tagNames"), ("portfolioIds", "portfolioNames")):
        given[names] = None if body.get(ids) else body.get(names)
    filters: dict[str, Property] = {
        **{name: name for name in ("status", "origin", "tagIds", "portfolioIds")},
        "tagNames": lambda contact: account.tags.names(contact["tagIds"]),
        "portfolioNames": lambda contact: account.portfolios.names(contact["portfolioIds"]),
    }
    custom, phone = body.get("customFields"), address_key(body.get("phoneNumber") or "")
    exact = account.contacts_by_phone.get(phone)
    return listed(
        request,
        account.contacts,
        _show,
        keeps(given, filters, _TEXTS),
        keeps_metadata(body),
        custom and (lambda contact: all(contact["customFields"].get(key) == one for key, one in custom.items())),
        (lambda contact: bool(phone) and phone in address_key(contact["phoneNumber"] or ""))
        if body.get("phoneNumber")
        else None,
        among=[exact] if exact is not None else None,
        created=date_bounds(request, "createdAt", body.get("createdAt") or {}),
        updated=date_bounds(request, "updatedAt", body.get("updatedAt") or {}),
    )


@handles("get_contact", "get_contact_by_phone")
def _get(request: Request) -> dict[str, Any]:
    return _show(request, _contact_of(request))


@handles("create_contact")
def _create(request: Request) -> dict[str, Any]:
    options = request.body.get("options") or {}
    return _show(request, _save(request.account, request.body, options))


@handles("batch_save_contacts")
def _batch(request: Request) -> list[dict[str, Any]]:
    account, items = request.account, request.body["items"]
    options = request.body.get("options") or {}
    options = {**options, "upsert": options.get("upsert", True) or not options.get("getIfExists")}
    return [_show(request, _save(account, item, options)) for item in items]


@handles("update_contact", "update_contact_by_phone")
def _update(request: Request) -> dict[str, Any]:
    contact = _contact_of(request)
    operation = (request.body.get("options") or {}).get("tagsOperation") or "InsertIfNotExists"
    _write(request.account, contact, changes(request, _FIELDS), operation)
    return _show(request, contact)


@handles("update_contact_tags", "update_contact_tags_by_phone")
def _tags(request: Request) -> dict[str, Any]:
    contact, body = _contact_of(request), request.body
    given = {name: body[name] for name in ("tagIds", "tagNames") if name in body}
    _write(request.account, contact, given, body.get("operation") or "InsertIfNotExists")
    return _show(request, contact)


def _save(account: Account, given: Mapping[str, Any], options: Mapping[str, Any]) -> Contact:
    existing = _existing(account, given)
    if existing is None:
        if not any(given.get(name) for name in ("name", "phoneNumber", "email", "instagram")):
            raise Refusal("FORM_ERROR", "Informe ao menos nome, telefone, e-mail ou Instagram.")
        return _write(account, None, given, "ReplaceAll")
    if options.get("upsert"):
        wanted = {field.lower() for field in options.get("upsertFields") or _FIELDS}
        allowed = {name for field, names in _FIELDS.items() if field.lower() in wanted for name in names}
        operation = options.get("upsertTagOperation") or "ReplaceAll"
        _write(account, existing, {name: value for name, value in given.items() if name in allowed}, operation)
    elif not options.get("getIfExists") and account.switches.duplicate_contact == "refuse":
        raise Refusal("FORM_ERROR", "Já existe um contato com esses dados.")
    return existing


def _existing(account: Account, given: Mapping[str, Any]) -> Contact | None:
    found = account.contact_by_address(given["phoneNumber"]) if given.get("phoneNumber") else None
    found = found or account.contacts_by_instagram.get(handle_key(given.get("instagram")))
    return found or account.contacts_by_email.get((given.get("email") or "").casefold())


def _write(account: Account, contact: Contact | None, given: Mapping[str, Any], tag_operation: str) -> Contact:
    """Write properties of a contact, a new one if there is none, and report to the subscribers."""
    written = _properties(account, contact, given)
    sequences = [account.sequences.need(one) for one in given.get("sequenceIds") or ()]
    portfolios = _portfolios(account, given)
    tags: list[str] = contact["tagIds"] if contact else []
    if "tagIds" in given or "tagNames" in given:
        wanted = tag_ids(account, given.get("tagIds"), given.get("tagNames"))
        written["tagIds"] = tags_after(tags, wanted, tag_operation)
    event = "CONTACT_UPDATE" if written.get("tagIds", tags) == tags else "CONTACT_TAG_UPDATE"
    if contact is None:
        contact, event = account.add_contact(written), "CONTACT_NEW"
    else:
        account.change_contact(contact, written)
    for sequence in sequences:
        SEQUENCE_CONTACTS.add(account, sequence, contact)
    if portfolios is not None:
        _set_portfolios(account, contact, portfolios)
    if event != "CONTACT_NEW":
        account.touch(account.contacts, contact)
    webhooks.emit(account, event, contact)
    return contact


def _properties(account: Account, contact: Contact | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties that are written as they will be kept, without tags, or refuse them."""
    written: dict[str, Any] = {name: given[name] for name in _PLAIN if name in given}
    if "phoneNumber" in given:
        phone = stored_phone(given["phoneNumber"], account.switches) if given["phoneNumber"] else None
        owner = account.contacts_by_phone.get(address_key(phone)) if phone else None
        if owner not in (None, contact) and account.switches.duplicate_phone == "refuse":
            raise Refusal("ENTITY_ERROR_SAVE", "Já existe um contato com esse telefone.")
        written |= {"phoneNumber": phone, "phoneNumberFormatted": formatted_phone(phone)}
    if given.get("email") and account.switches.duplicate_email == "refuse":
        owner = account.contacts_by_email.get(given["email"].casefold())
        if owner not in (None, contact):
            raise Refusal("ENTITY_ERROR_SAVE", "Já existe um contato com esse e-mail.")
    if given.get("status"):
        written["status"] = given["status"]
    if given.get("customFields"):
        kept = accepted_values(account, given["customFields"])
        written["customFields"] = merged(contact["customFields"] if contact else {}, kept)
    if given.get("metadata"):
        written["metadata"] = merged(contact["metadata"] if contact else {}, given["metadata"])
    return written


def _set_portfolios(account: Account, contact: Contact, portfolios: list[Record]) -> None:
    wanted = {portfolio.id for portfolio in portfolios}
    for identifier in contact["portfolioIds"]:
        left = account.portfolios.find(identifier)
        if left is not None and identifier not in wanted:
            PORTFOLIO_CONTACTS.remove(account, left, contact)
    for portfolio in portfolios:
        PORTFOLIO_CONTACTS.add(account, portfolio, contact)


def _portfolios(account: Account, given: Mapping[str, Any]) -> list[Record] | None:
    if given.get("portfolioIds"):
        return [account.portfolios.need(one) for one in given["portfolioIds"]]
    if "portfolioNames" not in given and "portfolioIds" not in given:
        return None
    found = (named(account.portfolios, name) for name in given.get("portfolioNames") or ())
    return [required(portfolio, "A carteira") for portfolio in found]


def _contact_of(request: Request) -> Contact:
    """Return the contact that the path names, by its id or its number."""
    account = request.account
    if "phone" not in request.path:
        return account.contacts.need(request.path["id"])
    return required(account.contact_by_address(request.path["phone"]), "O contato", "FORM_ERROR")
