"""What a session is classified as: its outcome, in words and in money."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.call import NOT_GIVEN, NotGiven
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.operators.parameters.single import choice, metadata, number, text

if TYPE_CHECKING:
    from collections.abc import Mapping


def classification(name: str, value: Any) -> dict[str, Any] | NotGiven:
    """Return what a session is classified as.

    :param name: the parameter's name, for the error.
    :param value: an object with ``category``, ``description`` and ``amount``, or the object as JSON text.
    :raises WtsInvalidRequestError: when it is no such object.
    """
    if value is NOT_GIVEN:
        return value
    if value is None:
        raise WtsInvalidRequestError(
            f"{name}: the API takes no null here. To clear it, give its parts: "
            """{"category": "UNDEFINED", "description": None, "amount": None}."""
        )
    found: Mapping[str, Any] = metadata(name, value) or {}
    known = ("category", "description", "amount")
    if unknown := sorted(found.keys() - set(known)):
        raise WtsInvalidRequestError(f"{name}: has no part {unknown[0]!r}. Its parts are {', '.join(known)}.")
    if not found:
        raise WtsInvalidRequestError(f"{name}: is empty. Its parts are {', '.join(known)}.")
    checked: dict[str, Any] = dict(found)
    if "category" in found:
        categories = ("UNDEFINED", "WON", "LOST", "INFO", "OTHER")
        checked["category"] = choice(f"{name}.category", found["category"], categories)
    if "description" in found:
        checked["description"] = text(f"{name}.description", found["description"])
    if "amount" in found:
        checked["amount"] = number(f"{name}.amount", found["amount"])
    return checked
