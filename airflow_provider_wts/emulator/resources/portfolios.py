"""Portfolios of contacts: read-only, apart from who is in them."""

from __future__ import annotations

from airflow_provider_wts.emulator.crud import Members, Resource, show_holder
from airflow_provider_wts.emulator.state import Contact, Record


def _moved(contact: Contact, portfolio: Record, inside: bool) -> None:
    others = [one for one in contact["portfolioIds"] if one != portfolio.id]
    contact["portfolioIds"] = [*others, portfolio.id] if inside else others


PORTFOLIO_CONTACTS = Members(
    Resource("portfolio", show=show_holder),
    filters={"ContactIds": "contactId"},
    moved=_moved,
    unknown=lambda account: account.switches.portfolio_unknown_phone,
)
