"""Portfolios of contacts: read-only, apart from who is in them."""

from __future__ import annotations

from typing import Any

from airflow_provider_wts.emulator.answers import Request, answer, details_of
from airflow_provider_wts.emulator.crud import Members, Resource
from airflow_provider_wts.emulator.state import Contact, Record

_DETAILS = details_of("departments", contactsCount=("ContactCount",))


def _show(request: Request, portfolio: Record) -> dict[str, Any]:
    return answer(
        request, portfolio, _DETAILS, contactsCount=lambda: len(PORTFOLIO_CONTACTS.of(request.account, portfolio))
    )


def _moved(contact: Contact, portfolio: Record, inside: bool) -> None:
    others = [one for one in contact["portfolioIds"] if one != portfolio.id]
    contact["portfolioIds"] = [*others, portfolio.id] if inside else others


PORTFOLIO_CONTACTS = Members(
    Resource("portfolio", "A carteira", show=_show),
    filters={"ContactIds": "contactId"},
    moved=_moved,
    unknown=lambda account: account.switches.portfolio_unknown_phone,
)
