"""Several values: a list, its JSON text, or one item. A text is never taken apart into its letters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow_provider_wts.api.call import NOT_GIVEN, Optional
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.api.parameters import is_missing
from airflow_provider_wts.operators.parameters.single import choice, identity, json_text, text, url


def items(name: str, value: Any) -> Optional[list[Any]]:
    """Return a list parameter; a single text, number or object is a list of one.

    :param name: the parameter's name, for the error.
    :param value: a list, a list as JSON text, or one item. A text is never taken apart into its letters.
    :raises WtsInvalidRequestError: when it is text that looks like a list and is no JSON.
    """
    if value is None:
        return value
    if is_missing(value):
        return NOT_GIVEN
    if isinstance(value, str):
        if value.lstrip()[0] not in "[{":
            return [value]
        value = json_text(name, value)
    if isinstance(value, Mapping) or not isinstance(value, Iterable) or isinstance(value, (bytes, bytearray)):
        return [value]
    return list(value)


def texts(name: str, value: Any) -> Optional[list[str]]:
    """Return a list of texts; a single text is a list of one.

    :param name: the parameter's name, for the error.
    :param value: a list, a list as JSON text, or one text.
    :raises WtsInvalidRequestError: when an item is blank or no text.
    """
    found = items(name, value)
    if not isinstance(found, list):
        return found
    return [_text(f"{name}[{index}]", item) for index, item in enumerate(found)]


def choices_of(name: str, value: Any, choices: Iterable[str]) -> Optional[list[str]]:
    """Return a list of the contract's words; a single word is a list of one.

    :param name: the parameter's name, for the error.
    :param value: a list, a list as JSON text, or one word, in any case.
    :param choices: the contract's words.
    :raises WtsInvalidRequestError: when one is unknown; lists the known ones.
    """
    found = texts(name, value)
    if not isinstance(found, list):
        return found
    known = tuple(choices)
    return [str(choice(name, word, known)) for word in found]


def identities(name: str, value: Any) -> Optional[list[str]]:
    """Return a list of ids; a single id is a list of one.

    :param name: the parameter's name, for the error.
    :param value: a list, a list as JSON text, or one id.
    :raises WtsInvalidRequestError: when an item is no UUID.
    """
    found = texts(name, value)
    if not isinstance(found, list):
        return found
    return [str(identity(f"{name}[{index}]", item)) for index, item in enumerate(found)]


def urls(name: str, value: Any, *, most: int | None = None) -> Optional[list[str]]:
    """Return a list of addresses; a single address is a list of one.

    :param name: the parameter's name, for the error.
    :param value: a list, a list as JSON text, or one http(s) address.
    :param most: the most addresses; ``None`` = no bound.
    :raises WtsInvalidRequestError: when an item is no address, or there are too many.
    """
    found = texts(name, value)
    if not isinstance(found, list):
        return found
    if most is not None and len(found) > most:
        raise WtsInvalidRequestError(f"{name}: has {len(found)} addresses; the API takes {most} at most.")
    return [str(url(f"{name}[{index}]", item)) for index, item in enumerate(found)]


def _text(name: str, value: Any) -> str:
    if is_missing(value):
        raise WtsInvalidRequestError(f"{name}: is blank: {value!r} came. Leave it out of the list.")
    return str(text(name, value)).strip()
