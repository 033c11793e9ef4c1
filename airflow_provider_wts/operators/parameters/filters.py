"""Filters, and all else that the API takes no ``null`` for: ``None`` and blank text leave it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.call import NOT_GIVEN, NotGiven
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.operators.parameters.lists import choices_of, identities, texts
from airflow_provider_wts.operators.parameters.single import choice, flag, identity, missing, moment, text

if TYPE_CHECKING:
    from collections.abc import Iterable


def filter_text(name: str, value: Any) -> str | NotGiven:
    """Return the text of a filter; ``None`` and blank text mean: no filter.

    :param name: the parameter's name, for the error.
    :param value: the text.
    :raises WtsInvalidRequestError: when it is no text.
    """
    return NOT_GIVEN if missing(value) else str(text(name, value)).strip()


def filter_choice(name: str, value: Any, choices: Iterable[str]) -> str | NotGiven:
    """Return the word of a filter; ``None`` and blank text mean: no filter.

    :param name: the parameter's name, for the error.
    :param value: one of the words, in any case.
    :param choices: the contract's words.
    :raises WtsInvalidRequestError: when it is none of them.
    """
    return NOT_GIVEN if missing(value) else str(choice(name, value, choices))


def filter_identity(name: str, value: Any) -> str | NotGiven:
    """Return the id of a filter; ``None`` and blank text mean: no filter.

    :param name: the parameter's name, for the error.
    :param value: a UUID, as text or as itself.
    :raises WtsInvalidRequestError: when it is no UUID.
    """
    return NOT_GIVEN if missing(value) else str(identity(name, value))


def filter_list(name: str, value: Any, choices: Iterable[str] | None = None) -> list[str] | NotGiven:
    """Return the list of a filter; ``None`` and blank text mean: no filter.

    :param name: the parameter's name, for the error.
    :param value: a list, a list as JSON text, or one item.
    :param choices: the contract's words, where only those are good.
    :raises WtsInvalidRequestError: when an item is none of them, or the list is empty: that would not filter at all.
    """
    if missing(value):
        return NOT_GIVEN
    found = texts(name, value) if choices is None else choices_of(name, value, choices)
    if not found:
        raise WtsInvalidRequestError(
            f"{name}: is an empty list, which would list everything. Leave it out to mean that."
        )
    return found


def filter_identities(name: str, value: Any) -> list[str] | NotGiven:
    """Return the ids of a filter; ``None`` and blank text mean: no filter.

    :param name: the parameter's name, for the error.
    :param value: a list, a list as JSON text, or one id.
    :raises WtsInvalidRequestError: when an item is no UUID, or the list is empty.
    """
    found = filter_list(name, value)
    return found if found is NOT_GIVEN else identities(name, found) or NOT_GIVEN


def filter_moment(name: str, value: Any) -> str | NotGiven:
    """Return a moment as the API takes it, in UTC; blank text and ``None`` mean: not given.

    :param name: the parameter's name, for the error.
    :param value: as :func:`~airflow_provider_wts.operators.parameters.single.moment` takes it.
    :raises WtsInvalidRequestError: when it is no moment, or has no time zone.
    """
    return NOT_GIVEN if missing(value) else str(moment(name, value))


def switch(name: str, value: Any) -> bool | NotGiven:
    """Return a yes/no that the API takes no ``null`` for: ``None`` and blank text leave it out.

    :param name: the parameter's name, for the error.
    :param value: ``True``, ``False``, or their text.
    :raises WtsInvalidRequestError: when it is neither.
    """
    return NOT_GIVEN if missing(value) else bool(flag(name, value))


def details(value: Any, choices: Iterable[str]) -> list[str] | NotGiven:
    """Return the details to add to an answer; none at all is fine.

    :param value: a list, a list as JSON text, or one detail.
    :param choices: the details that the operation knows.
    :raises WtsInvalidRequestError: when a detail is unknown.
    """
    if missing(value):
        return NOT_GIVEN
    return choices_of("include_details", value, choices) or NOT_GIVEN
