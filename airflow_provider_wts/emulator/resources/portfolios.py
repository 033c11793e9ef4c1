"""Portfolios of contacts: read-only, apart from who is in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_wts.emulator.crud import Members, Request, Resource, detail, lower, plain, set_unless_null, within
from airflow_provider_wts.emulator.state import Account, Contact, Record


def add_to_portfolio(account: Account, portfolio: Record, contact: Contact) -> Record:
    """Put a contact into a portfolio; one that is in it stays as it is."""
    member = account.memberships.get((portfolio.id, contact.id))
    if member is None:
        values = {"active": True, "companyId": account.id, "portfolioId": portfolio.id, "contactId": contact.id}
        member = account.new(account.portfolio_contacts, values)
        account.memberships[portfolio.id, contact.id] = member
        contact["portfolioIds"] = [*contact["portfolioIds"], portfolio.id]
    return member


def remove_from_portfolio(account: Account, portfolio: Record, contact: Contact) -> None:
    """Take a contact out of a portfolio, if it is in it."""
    member = account.memberships.pop((portfolio.id, contact.id), None)
    if member is not None:
        account.portfolio_contacts.remove(member)
        contact["portfolioIds"] = [one for one in contact["portfolioIds"] if one != portfolio.id]


def _show_portfolio(request: Request, portfolio: Record) -> dict[str, Any]:
    answer = plain(request.account, portfolio)
    detail(answer, request, "departments", lambda: portfolio["departments"], "Departments")
    if request.shows("ContactCount"):
        answer["contactsCount"] = len(_MEMBERS.of(request.account, portfolio))
    return answer


def _show(request: Request, member: Record) -> dict[str, Any]:
    account = request.account
    contact = account.contacts.find(member["contactId"])
    names = ("name", "phonenumber", "phonenumberFormatted", "instagram", "nameMessenger", "email", "annotation")
    details = contact and contact.shown(*names)
    answer = plain(account, member)
    set_unless_null(answer, "contactDetails", details)
    return answer


def _wanted(request: Request) -> Callable[[Record], bool]:
    wanted = lower(request.query.get("ContactIds"))
    return lambda member: within(member["contactId"], wanted)


_MEMBERS = Members(
    Resource("portfolio", "portfolios", "A carteira", show=_show_portfolio),
    "portfolio_contacts",
    show=_show,
    keep=_wanted,
    add=add_to_portfolio,
    remove=remove_from_portfolio,
    unknown=lambda account: account.switches.portfolio_unknown_phone,
)
