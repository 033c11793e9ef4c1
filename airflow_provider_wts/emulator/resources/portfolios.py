"""Portfolios of contacts: read-only, apart from who is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_wts.emulator import conversation
from airflow_provider_wts.emulator.crud import (
    EMPTY,
    Empty,
    Request,
    detail,
    handles,
    lower,
    page,
    plain,
    select,
    set_unless_null,
    whole,
    within,
)

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.state import Account, Contact, Record


@handles("list_portfolios")
def _list(request: Request) -> dict[str, Any]:
    account = request.account

    def show(portfolio: Record) -> dict[str, Any]:
        answer = plain(account, portfolio)
        departments = answer.pop("departments")
        detail(answer, request, "departments", lambda: departments, "Departments")
        if request.shows("ContactCount"):
            answer["contactsCount"] = len(_members(account, portfolio))
        return answer

    return page(request, select(request, account.portfolios), show)


@handles("list_portfolio_contacts")
def _contacts(request: Request) -> dict[str, Any]:
    account = request.account
    wanted = lower(request.query.get("ContactIds"))
    found = select(
        request,
        account.portfolio_contacts,
        lambda member: within(member["contactId"], wanted),
        among=_members(account, _portfolio_of(request)),
    )
    return page(request, found, lambda member: _show(account, member))


@handles("add_portfolio_contact")
def _add(request: Request) -> dict[str, Any]:
    account, portfolio = request.account, _portfolio_of(request)
    return _show(account, add_to_portfolio(account, portfolio, account.contact_named(request.body)))


@handles("add_portfolio_contacts_batch")
def _add_batch(request: Request) -> dict[str, Any]:
    account, portfolio = request.account, _portfolio_of(request)
    unknown = account.switches.portfolio_unknown_phone
    if unknown == "refuse":
        for phone in request.body.get("phoneNumbers") or ():
            account.contact_named({"phoneNumber": phone})
    contacts = conversation.contacts_named(account, request.body, create=unknown == "create")
    return whole([_show(account, add_to_portfolio(account, portfolio, contact)) for contact in contacts])


@handles("remove_portfolio_contact")
def _remove(request: Request) -> Empty:
    remove_from_portfolio(request.account, _portfolio_of(request), request.account.contact_named(request.body))
    return EMPTY


@handles("remove_portfolio_contacts_batch")
def _remove_batch(request: Request) -> Empty:
    portfolio = _portfolio_of(request)
    for contact in conversation.contacts_named(request.account, request.body, create=False):
        remove_from_portfolio(request.account, portfolio, contact)
    return EMPTY


def add_to_portfolio(account: Account, portfolio: Record, contact: Contact) -> Record:
    """Put a contact into a portfolio; one that is in it stays as it is.

    :param account: the account.
    :param portfolio: the portfolio.
    :param contact: the contact.
    """
    member = account.memberships.get((portfolio.id, contact.id))
    if member is None:
        values = {"active": True, "companyId": account.id, "portfolioId": portfolio.id, "contactId": contact.id}
        member = account.new(account.portfolio_contacts, values)
        account.memberships[portfolio.id, contact.id] = member
        contact["portfolioIds"] = [*contact["portfolioIds"], portfolio.id]
    return member


def remove_from_portfolio(account: Account, portfolio: Record, contact: Contact) -> None:
    """Take a contact out of a portfolio, if it is in it.

    :param account: the account.
    :param portfolio: the portfolio.
    :param contact: the contact.
    """
    member = account.memberships.pop((portfolio.id, contact.id), None)
    if member is not None:
        account.portfolio_contacts.remove(member)
        contact["portfolioIds"] = [one for one in contact["portfolioIds"] if one != portfolio.id]


def _portfolio_of(request: Request) -> Record:
    return request.account.need(request.account.portfolios, request.path["id"], "A carteira")


def _members(account: Account, portfolio: Record) -> list[Record]:
    return [member for member in account.portfolio_contacts.by_creation() if member["portfolioId"] == portfolio.id]


def _show(account: Account, member: Record) -> dict[str, Any]:
    contact = account.contacts.find(member["contactId"])
    details = contact and {
        "id": contact.id,
        "name": contact["name"],
        "phonenumber": contact["phoneNumber"],
        "phonenumberFormatted": contact["phoneNumberFormatted"],
        "instagram": contact["instagram"],
        "nameMessenger": contact["nameMessenger"],
        "email": contact["email"],
        "annotation": contact["annotation"],
    }
    answer = plain(account, member)
    set_unless_null(answer, "contactDetails", details)
    return answer
