"""Checks rendered parameters of cards and sessions: what must be there, what has bounds, what a note consists of.

Like :mod:`airflow_provider_wts.operators.parameters`: a value comes as itself or as the text that a template made of
it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.call import NOT_GIVEN, NotGiven, Optional
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.operators import parameters, values

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def needed_identity(name: str, value: Any, *, example: str) -> str:
    """Return an id that must be there.

    :param name: the parameter's name, for the error.
    :param value: a UUID, as text or as itself.
    :param example: a good value, for the error.
    :raises WtsInvalidRequestError: when it is missing or no UUID.
    """
    found = NOT_GIVEN if parameters.missing(value) or str(value).strip() == "None" else value
    found = parameters.identity(name, found)
    if not isinstance(found, str):
        raise WtsInvalidRequestError(f"{name}: is empty. A good value is {example!r}.")
    return found


def is_id(text: str) -> bool:
    """Whether a text is an id and no name, so that nothing has to be looked up.

    :param text: what the user wrote.
    """
    # Here, because names bring the calls of all that has names, and a DAG file needs none of them.
    from airflow_provider_wts.hooks.names import is_uuid

    return is_uuid(text)


def named(name: str, value: Any) -> Optional[str]:
    """Return a name or id; ``None`` clears, and blank text is a mistake, since it would clear unseen.

    :param name: the parameter's name, for the error.
    :param value: a name or an id.
    :raises WtsInvalidRequestError: when it is blank or no text.
    """
    found = parameters.text(name, value)
    if isinstance(found, str) and not found.strip():
        raise WtsInvalidRequestError(f"{name}: is blank. Give a name or an id.")
    return found.strip() if isinstance(found, str) else found


def needed_name(name: str, value: Any) -> str:
    """Return a name or id that must be there.

    :param name: the parameter's name, for the error.
    :param value: a name or an id.
    :raises WtsInvalidRequestError: when it is missing or no text.
    """
    found = parameters.text(name, value)
    if not isinstance(found, str) or not found.strip() or found.strip() == "None":
        raise WtsInvalidRequestError(f"{name}: is empty. Give a name or an id.")
    return found.strip()


def switch(name: str, value: Any) -> bool | NotGiven:
    """Return a yes/no that the API takes no ``null`` for: ``None`` and blank text leave it out.

    :param name: the parameter's name, for the error.
    :param value: ``True``, ``False``, or their text.
    :raises WtsInvalidRequestError: when it is neither.
    """
    return NOT_GIVEN if parameters.missing(value) else bool(parameters.flag(name, value))


def number(name: str, value: Any, *, least: float = -math.inf, most: float = math.inf) -> Optional[float]:
    """Return a number, whole where it is whole. ``0`` is a number as any other.

    :param name: the parameter's name, for the error.
    :param value: a number, or its text with a decimal point.
    :param least: the smallest good value.
    :param most: the largest good value.
    :raises WtsInvalidRequestError: when it is no number within the bounds.
    """
    if value is NOT_GIVEN or value is None:
        return value
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found) or not least <= found <= most:
        bounds = "" if math.isinf(least) else f" from {least:g} to {most:g}"
        raise WtsInvalidRequestError(f"{name}: {value!r} is no number{bounds}. A good value is 149.9.")
    return int(found) if found.is_integer() else found


def bounded_text(name: str, value: Any, *, most: int) -> Optional[str]:
    """Return a text that is not too long; an empty one goes out as it is.

    :param name: the parameter's name, for the error.
    :param value: the text.
    :param most: the most characters.
    :raises WtsInvalidRequestError: when it is longer, or no text.
    """
    found = parameters.text(name, value)
    if isinstance(found, str) and len(found) > most:
        raise WtsInvalidRequestError(f"{name}: has {len(found)} characters; the API takes {most} at most.")
    return found


def moment(name: str, value: Any) -> Optional[str]:
    """Return a moment in UTC; unlike in a filter, ``None`` goes out and clears, and blank text is a mistake.

    :param name: the parameter's name, for the error.
    :param value: an aware datetime, or ISO 8601 text with an offset.
    :raises WtsInvalidRequestError: when it is no moment, or has no time zone.
    """
    if value is None:
        return None
    if isinstance(value, str) and not value.strip():
        raise WtsInvalidRequestError(f"{name}: is blank. Give a date and time, None to clear it, or leave it out.")
    return values.moment(name, value)


def identities(name: str, value: Any) -> Optional[list[str]]:
    """Return a list of ids; a single id is a list of one.

    :param name: the parameter's name, for the error.
    :param value: a list, a list as JSON text, or one id.
    :raises WtsInvalidRequestError: when an item is no UUID.
    """
    found = values.texts(name, value)
    if not isinstance(found, list):
        return found
    return [str(parameters.identity(f"{name}[{index}]", item)) for index, item in enumerate(found)]


def filter_text(name: str, value: Any) -> str | NotGiven:
    """Return the text of a filter; ``None`` and blank text mean: no filter.

    :param name: the parameter's name, for the error.
    :param value: the text.
    :raises WtsInvalidRequestError: when it is no text.
    """
    return NOT_GIVEN if parameters.missing(value) else str(parameters.text(name, value)).strip()


def filter_list(name: str, value: Any, choices: Iterable[str] | None = None) -> list[str] | NotGiven:
    """Return the list of a filter; ``None`` and blank text mean: no filter.

    :param name: the parameter's name, for the error.
    :param value: a list, a list as JSON text, or one item.
    :param choices: the contract's words, where only those are good.
    :raises WtsInvalidRequestError: when an item is none of them, or the list is empty: that would not filter at all.
    """
    if parameters.missing(value):
        return NOT_GIVEN
    found = values.texts(name, value) if choices is None else values.choices_of(name, value, choices)
    if not found:
        raise WtsInvalidRequestError(
            f"{name}: is an empty list, which would list everything. Leave it out to mean that."
        )
    return found


def filter_identity(name: str, value: Any) -> str | NotGiven:
    """Return the id of a filter; ``None`` and blank text mean: no filter.

    :param name: the parameter's name, for the error.
    :param value: a UUID, as text or as itself.
    :raises WtsInvalidRequestError: when it is no UUID.
    """
    return NOT_GIVEN if parameters.missing(value) else str(parameters.identity(name, value))


def filter_identities(name: str, value: Any) -> list[str] | NotGiven:
    """Return the ids of a filter; ``None`` and blank text mean: no filter.

    :param name: the parameter's name, for the error.
    :param value: a list, a list as JSON text, or one id.
    :raises WtsInvalidRequestError: when an item is no UUID, or the list is empty.
    """
    found = filter_list(name, value)
    return found if found is NOT_GIVEN else identities(name, found) or NOT_GIVEN


def filter_choice(name: str, value: Any, choices: Iterable[str]) -> str | NotGiven:
    """Return the word of a filter; ``None`` and blank text mean: no filter.

    :param name: the parameter's name, for the error.
    :param value: one of the words, in any case.
    :param choices: the contract's words.
    :raises WtsInvalidRequestError: when it is none of them.
    """
    return NOT_GIVEN if parameters.missing(value) else str(values.choice(name, value, choices))


def details(value: Any, choices: Iterable[str]) -> list[str] | NotGiven:
    """Return the details to add to an answer; none at all is fine.

    :param value: a list, a list as JSON text, or one detail.
    :param choices: the details that the operation knows.
    :raises WtsInvalidRequestError: when a detail is unknown.
    """
    if parameters.missing(value):
        return NOT_GIVEN
    return values.choices_of("include_details", value, choices) or NOT_GIVEN


def urls(name: str, value: Any, *, most: int | None = None) -> Optional[list[str]]:
    """Return a list of addresses; a single address is a list of one.

    :param name: the parameter's name, for the error.
    :param value: a list, a list as JSON text, or one http(s) address.
    :param most: the most addresses; ``None`` = no bound.
    :raises WtsInvalidRequestError: when an item is no address, or there are too many.
    """
    found = values.texts(name, value)
    if not isinstance(found, list):
        return found
    if most is not None and len(found) > most:
        raise WtsInvalidRequestError(f"{name}: has {len(found)} addresses; the API takes {most} at most.")
    return [str(parameters.url(f"{name}[{index}]", item)) for index, item in enumerate(found)]


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
    found: Mapping[str, Any] = parameters.metadata(name, value) or {}
    known = ("category", "description", "amount")
    if unknown := sorted(found.keys() - set(known)):
        raise WtsInvalidRequestError(f"{name}: has no part {unknown[0]!r}. Its parts are {', '.join(known)}.")
    if not found:
        raise WtsInvalidRequestError(f"{name}: is empty. Its parts are {', '.join(known)}.")
    checked: dict[str, Any] = dict(found)
    if "category" in found:
        categories = ("UNDEFINED", "WON", "LOST", "INFO", "OTHER")
        checked["category"] = values.choice(f"{name}.category", found["category"], categories)
    if "description" in found:
        checked["description"] = parameters.text(f"{name}.description", found["description"])
    if "amount" in found:
        checked["amount"] = number(f"{name}.amount", found["amount"])
    return checked
