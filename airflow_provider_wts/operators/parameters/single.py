"""One value: what a template left behind becomes what the API takes, or a clear error."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from numbers import Integral
from typing import Any

from airflow_provider_wts.api.call import NOT_GIVEN, NotGiven, Optional, utc
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.api.parameters import is_missing, visible

_YES, _NO = {"true", "yes", "1"}, {"false", "no", "0"}

_NATIVE = (
    "A template renders a list or an object as Python writes it, which is no JSON: end it with '| tojson', or set "
    "render_template_as_native_obj=True on the DAG."
)


def missing(value: object) -> bool:
    """Whether a parameter says nothing: not given, ``None``, blank text, NaN, or their text.

    :param value: the rendered parameter.
    """
    return is_missing(value)


def _without_value(value: Any) -> bool:
    """Whether nothing is to be read: ``None`` clears what it names, and all else that is missing is not given."""
    return value is None or is_missing(value)


def _left(value: Any) -> NotGiven | None:
    return None if value is None else NOT_GIVEN


def flag(name: str, value: Any) -> Optional[bool]:
    """Return a yes/no parameter.

    :param name: the parameter's name, for the error.
    :param value: ``True``, ``False``, or their text.
    :raises WtsInvalidRequestError: when it is neither.
    """
    if _without_value(value):
        return _left(value)
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _YES:
        return True
    if text in _NO:
        return False
    raise WtsInvalidRequestError(f"{name}: {value!r} is neither true nor false. A good value is True.")


def text(name: str, value: Any) -> Optional[str]:
    """Return a text parameter.

    :param name: the parameter's name, for the error.
    :param value: text, or a number or id that stands for one; blank text stays, since it clears a field.
    :raises WtsInvalidRequestError: when it is a list, an object or something else.
    """
    if isinstance(value, str) and not visible(value):
        return value
    if _without_value(value):
        return _left(value)
    if isinstance(value, (str, int, float, Decimal, Integral, uuid.UUID)) and not isinstance(value, bool):
        return str(value)
    raise WtsInvalidRequestError(f"{name}: must be text, not {type(value).__name__}.")


def identity(name: str, value: Any) -> Optional[str]:
    """Return an id parameter.

    :param name: the parameter's name, for the error.
    :param value: a UUID, as text or as itself.
    :raises WtsInvalidRequestError: when it is no UUID.
    """
    if _without_value(value):
        return _left(value)
    try:
        return str(uuid.UUID(str(value).strip()))
    except ValueError:
        raise WtsInvalidRequestError(
            f"{name}: {value!r} is no id. A good value is '5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e'."
        ) from None


def metadata(name: str, value: Any) -> dict[str, Any] | NotGiven | None:
    """Return a metadata parameter; numbers, booleans and nested values are kept as they are.

    :param name: the parameter's name, for the error.
    :param value: an object, or an object as JSON text.
    :raises WtsInvalidRequestError: when it is no JSON object.
    """
    good = """A good value is {"invoice": "2026-118", "amount": 149.9}."""
    if _without_value(value):
        return _left(value)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise WtsInvalidRequestError(f"{name}: is no JSON: {error}. {good}") from None
    if not isinstance(value, Mapping):
        raise WtsInvalidRequestError(f"{name}: must be an object, not {type(value).__name__}. {good}")
    if bad := [key for key in value if not isinstance(key, str)]:
        raise WtsInvalidRequestError(f"{name}: the key {bad[0]!r} is no text. {good}")
    return dict(value)


def url(name: str, value: Any) -> Optional[str]:
    """Return a URL parameter.

    :param name: the parameter's name, for the error.
    :param value: an http(s) address.
    :raises WtsInvalidRequestError: when it is none.
    """
    address = NOT_GIVEN if value is not None and missing(value) else text(name, value)
    if isinstance(address, str) and not address.strip().lower().startswith(("http://", "https://")):
        raise WtsInvalidRequestError(f"{name}: is no http(s) address. A good value is 'https://example.com/hook'.")
    return address.strip() if isinstance(address, str) else address


def number(name: str, value: Any, *, least: float = -math.inf, most: float = math.inf) -> Optional[float]:
    """Return a number, whole where it is whole. ``0`` is a number as any other.

    :param name: the parameter's name, for the error.
    :param value: a number, or its text with a decimal point.
    :param least: the smallest good value.
    :param most: the largest good value.
    :raises WtsInvalidRequestError: when it is no number within the bounds.
    """
    if _without_value(value):
        return _left(value)
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found) or not least <= found <= most:
        bounds = "" if math.isinf(least) else f" from {least:g} to {most:g}"
        raise WtsInvalidRequestError(f"{name}: {value!r} is no number{bounds}. A good value is 149.9.")
    return int(found) if found.is_integer() else found


def whole(name: str, value: Any, *, least: int, most: int | None = None) -> int | NotGiven | None:
    """Return a whole number.

    :param name: the parameter's name, for the error.
    :param value: a number, or its text.
    :param least: the smallest good value.
    :param most: the largest good value; ``None`` = no bound.
    :raises WtsInvalidRequestError: when it is no whole number within the bounds.
    """
    if _without_value(value):
        return _left(value)
    bounds = f"from {least} to {most}" if most is not None else f"of at least {least}"
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not number.is_integer() or number < least or (most is not None and number > most):
        raise WtsInvalidRequestError(f"{name}: {value!r} is no whole number {bounds}.")
    return int(number)


def choice(name: str, value: Any, choices: Iterable[str] | Mapping[str, str]) -> Optional[str]:
    """Return one of the contract's words, whatever the case it was written in.

    :param name: the parameter's name, for the error.
    :param value: what the user wrote.
    :param choices: the contract's words; or what users may write, in lower case, and the word that goes out.
    :raises WtsInvalidRequestError: when it is none of them; lists them.
    """
    if _without_value(value):
        return _left(value)
    words = choices if isinstance(choices, Mapping) else {word.casefold(): word for word in choices}
    found = words.get(str(value).strip().casefold())
    if found is None:
        known = list(dict.fromkeys(words.values()))
        raise WtsInvalidRequestError(f"{name}: {value!r} is unknown. Good values are {', '.join(map(repr, known))}.")
    return found


def moment(name: str, value: Any) -> Optional[str]:
    """Return a moment as the API takes it, in UTC; ``None`` goes out and clears.

    :param name: the parameter's name, for the error.
    :param value: an aware datetime, or ISO 8601 text with an offset, such as what ``{{ data_interval_start }}``
        renders to.
    :raises WtsInvalidRequestError: when it is no moment, or has no time zone: the API would read it as another one.
    """
    if _without_value(value):
        return _left(value)
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


def bounded_text(name: str, value: Any, *, most: int) -> Optional[str]:
    """Return a text that is not too long; an empty one goes out as it is.

    :param name: the parameter's name, for the error.
    :param value: the text.
    :param most: the most characters.
    :raises WtsInvalidRequestError: when it is longer, or no text.
    """
    found = text(name, value)
    if isinstance(found, str) and len(found) > most:
        raise WtsInvalidRequestError(f"{name}: has {len(found)} characters; the API takes {most} at most.")
    return found


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
