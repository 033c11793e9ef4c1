"""Checks rendered parameters that are more than one text: lists, choices, moments, whole numbers.

Like :mod:`airflow_provider_wts.operators.parameters`: a value comes as itself or as the text that a template made of
it, and :data:`~airflow_provider_wts.api.call.NOT_GIVEN` and ``None`` pass through.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from airflow_provider_wts.api.call import NOT_GIVEN, NotGiven, Optional, utc
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.operators import parameters

_NATIVE = (
    "A template renders a list or an object as Python writes it, which is no JSON: end it with '| tojson', or set "
    "render_template_as_native_obj=True on the DAG."
)


def items(name: str, value: Any) -> Optional[list[Any]]:
    """Return a list parameter; a single text, number or object is a list of one.

    :param name: the parameter's name, for the error.
    :param value: a list, a list as JSON text, or one item. A text is never taken apart into its letters.
    :raises WtsInvalidRequestError: when it is blank text, text that looks like a list and is no JSON, or no list.
    """
    if value is NOT_GIVEN or value is None:
        return value
    if isinstance(value, str):
        if not value.strip():
            raise WtsInvalidRequestError(f"{name}: is blank. Give [] for an empty list, or leave it out.")
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


def choice(name: str, value: Any, choices: Iterable[str] | Mapping[str, str]) -> Optional[str]:
    """Return one of the contract's words, whatever the case it was written in.

    :param name: the parameter's name, for the error.
    :param value: what the user wrote.
    :param choices: the contract's words; or what users may write, in lower case, and the word that goes out.
    :raises WtsInvalidRequestError: when it is none of them; lists them.
    """
    if value is NOT_GIVEN or value is None:
        return value
    words = choices if isinstance(choices, Mapping) else {word.casefold(): word for word in choices}
    found = words.get(str(value).strip().casefold())
    if found is None:
        known = list(dict.fromkeys(words.values()))
        raise WtsInvalidRequestError(f"{name}: {value!r} is unknown. Good values are {', '.join(map(repr, known))}.")
    return found


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


def whole(name: str, value: Any, *, least: int, most: int | None = None) -> int | NotGiven | None:
    """Return a whole number.

    :param name: the parameter's name, for the error.
    :param value: a number, or its text.
    :param least: the smallest good value.
    :param most: the largest good value; ``None`` = no bound.
    :raises WtsInvalidRequestError: when it is no whole number within the bounds.
    """
    if value is NOT_GIVEN or value is None:
        return value
    bounds = f"from {least} to {most}" if most is not None else f"of at least {least}"
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not number.is_integer() or number < least or (most is not None and number > most):
        raise WtsInvalidRequestError(f"{name}: {value!r} is no whole number {bounds}.")
    return int(number)


def moment(name: str, value: Any) -> str | NotGiven:
    """Return a moment as the API takes it, in UTC; blank text and ``None`` mean: not given.

    :param name: the parameter's name, for the error.
    :param value: an aware datetime, or ISO 8601 text with an offset, such as what ``{{ data_interval_start }}``
        renders to.
    :raises WtsInvalidRequestError: when it is no moment, or has no time zone: the API would read it as another one.
    """
    if parameters.missing(value):
        return NOT_GIVEN
    good = "A good value is '2026-03-01T00:00:00-03:00', or '{{ data_interval_start }}'."
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise WtsInvalidRequestError(f"{name}: {value!r} is no ISO 8601 date and time. {good}") from None
    if not isinstance(value, datetime):
        raise WtsInvalidRequestError(f"{name}: must be a date and time, not {type(value).__name__}. {good}")
    if value.utcoffset() is None:
        raise WtsInvalidRequestError(f"{name}: {value.isoformat()} has no time zone, so its moment is unknown. {good}")
    try:
        return utc(value)
    except OverflowError:
        raise WtsInvalidRequestError(f"{name}: {value.isoformat()} is out of range in UTC. {good}") from None


def json_text(name: str, text: str) -> Any:
    """Return what a JSON text says.

    :param name: the parameter's name, for the error.
    :param text: the text.
    :raises WtsInvalidRequestError: when it is no JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WtsInvalidRequestError(f"{name}: is no JSON: {error}. {_NATIVE}") from None


def _text(name: str, value: Any) -> str:
    if isinstance(value, (str, int, float, uuid.UUID)) and not isinstance(value, bool) and str(value).strip():
        return str(value).strip()
    what = "is blank" if isinstance(value, str) else f"must be text, not {type(value).__name__}"
    raise WtsInvalidRequestError(f"{name}: {what}.")
