"""Rendered parameters, read and checked before anything is sent.

The first argument of each is the name of the parameter, for the error.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from numbers import Integral
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_wts.api.errors import WtsInvalidRequestError, quoted
from airflow_provider_wts.api.wire import (
    UNSET,
    Missing,
    Unset,
    exact_number,
    is_missing,
    is_uuid,
    json_value,
    utc,
    visible,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_wts.api.sends import DepartmentReference, UserReference


#: Seconds of "typing..." that the API takes at most.
MOST_TYPING = 25


def needed_text(name: str, value: Any) -> str:
    """Return the text of a message as it is, blanks at its ends included.

    :param value: the text.
    :raises WtsInvalidRequestError: when nothing is in it.
    """
    found = text(name, value)
    if not isinstance(found, str) or not found.strip():
        raise WtsInvalidRequestError(f"{name}: is empty. Nothing was sent. Example: 'Olá! Sua fatura vence amanhã.'.")
    return found


def delay_typing(value: Any) -> int | Unset | None:
    """Return the seconds of "typing...".

    :param value: a whole number from 0 to 25, or its text.
    :raises WtsInvalidRequestError: when it is something else.
    """
    return whole("delay_typing", value, least=0, most=MOST_TYPING)


def department(value: Any) -> DepartmentReference | Unset:
    """Return a department as sends name it; the API takes the name itself, so nothing is looked up.

    :param value: name or id.
    :raises WtsInvalidRequestError: when it is blank or no text.
    """
    found = named("department", value)
    if not isinstance(found, str):
        return UNSET
    return {"id": found} if is_uuid(found) else {"name": found}


def user(value: Any, lookup: Callable[[str], str]) -> UserReference | Unset:
    """Return a user as sends name one: by id, e-mail address or phone number; a name is looked up.

    :param value: name, id, e-mail address or phone number.
    :param lookup: finds the id of a name.
    :raises WtsInvalidRequestError: when it is blank or no text.
    """
    from airflow_provider_wts.api.addresses import looks_like_number, number

    found = named("user", value)
    if not isinstance(found, str):
        return UNSET
    if is_uuid(found):
        return {"id": found}
    if looks_like_number(found):
        return {"phoneNumber": number(found, name="user")}
    if "@" in found and " " not in found:
        return {"email": found}
    return {"id": lookup(found)}


def classification(name: str, value: Any) -> dict[str, Any] | Unset:
    """Return what a session is classified as.

    :param value: an object with ``category``, ``description`` and ``amount``, or the object as JSON text.
    :raises WtsInvalidRequestError: when it is no such object.
    """
    if value is UNSET:
        return value
    if value is None:
        raise WtsInvalidRequestError(
            f"{name}: the API does not take null here. To clear it, give its parts: "
            """{"category": "UNDEFINED", "description": None, "amount": None}."""
        )
    found: Mapping[str, Any] = metadata(name, value) or {}
    known = ("category", "description", "amount")
    if unknown := sorted(found.keys() - set(known)):
        raise WtsInvalidRequestError(
            f"{name}: {quoted(unknown[0])} is not one of its parts, which are {', '.join(known)}."
        )
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


def filter_text(name: str, value: Any) -> str | Unset:
    """Return the text of a filter; ``None`` and blank text mean: no filter.

    :param value: the text.
    :raises WtsInvalidRequestError: when it is no text.
    """
    return UNSET if missing(value) else str(text(name, value)).strip()


def filter_choice(name: str, value: Any, choices: Iterable[str]) -> str | Unset:
    """Return the word of a filter; ``None`` and blank text mean: no filter.

    :param value: one of the words, in any case.
    :param choices: the contract's words.
    :raises WtsInvalidRequestError: when it is another one.
    """
    return UNSET if missing(value) else str(choice(name, value, choices))


def filter_identity(name: str, value: Any) -> str | Unset:
    """Return the id of a filter; ``None`` and blank text mean: no filter.

    :param value: a UUID, as text or as itself.
    :raises WtsInvalidRequestError: when it is no UUID.
    """
    return UNSET if missing(value) else str(identity(name, value))


def filter_list(name: str, value: Any, choices: Iterable[str] | None = None) -> list[str] | Unset:
    """Return the list of a filter; ``None`` and blank text mean: no filter.

    :param value: a list, a list as JSON text, or one item.
    :param choices: the contract's words, where only those are good.
    :raises WtsInvalidRequestError: when an item is another one, or the list is empty: that would not filter at all.
    """
    if missing(value):
        return UNSET
    found = texts(name, value) if choices is None else choices_of(name, value, choices)
    if not found:
        raise WtsInvalidRequestError(
            f"{name}: is an empty list, which would list everything. Leave it out if you want everything."
        )
    return found


def filter_identities(name: str, value: Any) -> list[str] | Unset:
    """Return the ids of a filter; ``None`` and blank text mean: no filter.

    :param value: a list, a list as JSON text, or one id.
    :raises WtsInvalidRequestError: when an item is no UUID, or the list is empty.
    """
    found = filter_list(name, value)
    return found if found is UNSET else identities(name, found) or UNSET


def filter_timestamp(name: str, value: Any) -> str | Unset:
    """Return a date and time as the API takes it, in UTC; blank text and ``None`` mean: not given.

    :param value: as :func:`~airflow_provider_wts.api.parameters.timestamp` takes it.
    :raises WtsInvalidRequestError: when it cannot be read, or has no time zone.
    """
    return UNSET if missing(value) else str(timestamp(name, value))


def switch(name: str, value: Any) -> bool | Unset:
    """Return a yes/no that the API takes no ``null`` for: ``None`` and blank text leave it out.

    :param value: ``True``, ``False``, or their text.
    :raises WtsInvalidRequestError: when it is neither.
    """
    return UNSET if missing(value) else bool(flag(name, value))


def details(value: Any, choices: Iterable[str]) -> list[str] | Unset:
    """Return the details to add to an answer; none at all is fine.

    :param value: a list, a list as JSON text, or one detail.
    :param choices: the details that the operation knows.
    :raises WtsInvalidRequestError: when a detail is unknown.
    """
    if missing(value):
        return UNSET
    return choices_of("include_details", value, choices) or UNSET


def items(name: str, value: Any) -> Missing[list[Any]]:
    """Return a list parameter; a single text, number or object is a list of one.

    :param value: a list, a list as JSON text, or one item. A text is never taken apart into its letters.
    :raises WtsInvalidRequestError: when it is text that looks like a list and is no JSON, or an iterator.
    """
    if value is None:
        return value
    if is_missing(value):
        return UNSET
    if isinstance(value, Iterator):
        # Whoever reads it second finds nothing.
        raise WtsInvalidRequestError(f"{name}: must be a list, not {type(value).__name__}. Example: list(...).")
    if isinstance(value, str):
        if value.lstrip()[0] not in "[{":
            return [value]
        value = json_text(name, value)
    if isinstance(value, Mapping) or not isinstance(value, Iterable) or isinstance(value, (bytes, bytearray)):
        return [value]
    return list(value)


def texts(name: str, value: Any) -> Missing[list[str]]:
    """Return a list of texts; a single text is a list of one.

    :param value: a list, a list as JSON text, or one text.
    :raises WtsInvalidRequestError: when an item is blank or no text.
    """
    found = items(name, value)
    if not isinstance(found, list):
        return found
    return [_text(f"{name}[{index}]", item) for index, item in enumerate(found)]


def choices_of(name: str, value: Any, choices: Iterable[str]) -> Missing[list[str]]:
    """Return a list of the contract's words; a single word is a list of one.

    :param value: a list, a list as JSON text, or one word, in any case.
    :param choices: the contract's words.
    :raises WtsInvalidRequestError: when one is unknown; lists the known ones.
    """
    found = texts(name, value)
    if not isinstance(found, list):
        return found
    known = tuple(choices)
    return [str(choice(name, word, known)) for word in found]


def identities(name: str, value: Any) -> Missing[list[str]]:
    """Return a list of ids; a single id is a list of one.

    :param value: a list, a list as JSON text, or one id.
    :raises WtsInvalidRequestError: when an item is no UUID.
    """
    found = texts(name, value)
    if not isinstance(found, list):
        return found
    return [str(identity(f"{name}[{index}]", item)) for index, item in enumerate(found)]


def urls(name: str, value: Any, *, most: int | None = None) -> Missing[list[str]]:
    """Return a list of addresses; a single address is a list of one.

    :param value: a list, a list as JSON text, or one http(s) address.
    :param most: the most addresses; ``None`` = no bound.
    :raises WtsInvalidRequestError: when an item is no address, or there are too many.
    """
    found = texts(name, value)
    if not isinstance(found, list):
        return found
    if most is not None and len(found) > most:
        raise WtsInvalidRequestError(f"{name}: has {len(found)} addresses; the API takes at most {most}.")
    return [str(url(f"{name}[{index}]", item)) for index, item in enumerate(found)]


def _text(name: str, value: Any) -> str:
    if is_missing(value):
        raise WtsInvalidRequestError(
            f"{name}: is blank: {quoted(value)} came. Nothing was sent. Leave it out of the list."
        )
    return str(text(name, value)).strip()


def needed_identity(name: str, value: Any, *, example: str) -> str:
    """Return an id that must be there.

    :param value: a UUID, as text or as itself.
    :param example: a good value, for the error.
    :raises WtsInvalidRequestError: when it is missing or no UUID.
    """
    found = identity(name, value)
    if not isinstance(found, str):
        raise WtsInvalidRequestError(f"{name}: is empty. Example: {example!r}.")
    return found


def needed_name(name: str, value: Any) -> str:
    """Return a name or id that must be there.

    :param value: a name or an id.
    :raises WtsInvalidRequestError: when it is missing or no text.
    """
    found = text(name, value)
    if not isinstance(found, str) or missing(found):
        raise WtsInvalidRequestError(f"{name}: is empty. Give a name or an id.")
    return found.strip()


def needed_choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """Return one of the contract's words that must be there.

    :param value: the word, in any case.
    :param choices: the contract's words.
    :raises WtsInvalidRequestError: when it is missing or another one; lists the valid ones.
    """
    words = tuple(choices)
    if missing(value):
        raise WtsInvalidRequestError(f"{name}: is empty. It must be one of {', '.join(map(repr, words))}.")
    return str(choice(name, value, words))


def named(name: str, value: Any) -> Missing[str]:
    """Return a name or id; ``None`` clears.

    :param value: a name or an id.
    :raises WtsInvalidRequestError: when it is no text.
    """
    found = text(name, value)
    if not isinstance(found, str):
        return found
    return UNSET if missing(found) else found.strip()


_YES, _NO = {"true", "yes", "1"}, {"false", "no", "0"}

_NATIVE = (
    "A template writes an object or a list as Python does, such as {'a': None}. End it with '| tojson', or set "
    "render_template_as_native_obj=True on the DAG. Example: {{ params.x | tojson }}."
)

_OBJECT = """{"invoice": "2026-118", "amount": 149.9}"""

# How forms of other tools hold an object: a list of these.
_PAIR = {"key", "value"}


#: Whether a parameter says nothing: not given, ``None``, blank text, NaN, or their text.
missing = is_missing


def _cleared(value: Any) -> Unset | None:
    """Return what is left of a missing value: ``None`` clears what it names, and all else is not given."""
    return None if value is None else UNSET


def flag(name: str, value: Any) -> Missing[bool]:
    """Return a yes/no parameter.

    :param value: ``True``, ``False``, or their text.
    :raises WtsInvalidRequestError: when it is neither.
    """
    if is_missing(value):
        return _cleared(value)
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _YES:
        return True
    if text in _NO:
        return False
    raise WtsInvalidRequestError(f"{name}: {quoted(value)} is neither true nor false. Example: True.")


def text(name: str, value: Any) -> Missing[str]:
    """Return a text parameter.

    :param value: text, or a number or id in its place; blank text stays, since it clears a field.
    :raises WtsInvalidRequestError: when it is a list, an object or something else.
    """
    if isinstance(value, str):
        refuse_control_characters(name, value)
        if not visible(value):
            return value
    if is_missing(value):
        return _cleared(value)
    if isinstance(value, (str, int, float, Decimal, Integral, uuid.UUID)) and not isinstance(value, bool):
        return str(value)
    raise WtsInvalidRequestError(f"{name}: must be text, not {type(value).__name__}.")


#: All of them but tabulators and the ends of lines.
_CONTROL_CHARACTER = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def refuse_control_characters(name: str, value: str) -> None:
    """Refuse a text with characters that nobody writes, such as NUL, BEL and ESC: it is damaged.

    :param value: the text.
    :raises WtsInvalidRequestError: naming the first of them.
    """
    if found := _CONTROL_CHARACTER.search(value):
        raise WtsInvalidRequestError(
            f"{name}: holds the control character U+{ord(found[0]):04X} at position {found.start() + 1}, which is no "
            f"text. Nothing was sent. Remove it. Example: {{{{ params.x | replace({found[0]!r}, '') }}}}."
        )


def identity(name: str, value: Any) -> Missing[str]:
    """Return an id parameter.

    :param value: a UUID, as text or as itself.
    :raises WtsInvalidRequestError: when it is no UUID.
    """
    if is_missing(value):
        return _cleared(value)
    try:
        return str(uuid.UUID(str(value).strip()))
    except ValueError:
        raise WtsInvalidRequestError(
            f"{name}: {quoted(value)} is not a valid ID. Example: '5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e'."
        ) from None


def metadata(name: str, value: Any) -> dict[str, Any] | Unset | None:
    """Return a metadata parameter; numbers, booleans and nested values are kept as they are.

    :param value: an object, a list of ``{"key": ..., "value": ...}``, or one of them as JSON text.
    :raises WtsInvalidRequestError: when it is something else; or when a value inside is missing in a way that nobody
        writes on purpose, such as NaN or ``"None"``, or cannot be written as JSON.
    """
    if is_missing(value):
        return _cleared(value)
    found = mapping(name, json_text(name, value) if isinstance(value, str) else value, example=_OBJECT)
    for key, one in found.items():
        refuse_missing_inside(f"{name}.{key}", one)
    return found


def mapping(name: str, value: Any, *, example: str) -> dict[str, Any]:
    """Return an object, also where it came as a list of keys and values.

    :param value: an object, or a list of ``{"key": ..., "value": ...}``.
    :param example: a good value, for the error.
    :raises WtsInvalidRequestError: when it is neither, or a key is no text or there twice.
    """
    if isinstance(value, (list, tuple)) and all(isinstance(one, Mapping) and one.keys() == _PAIR for one in value):
        if (twice := _twice([one["key"] for one in value])) is not None:
            raise WtsInvalidRequestError(f"{name}: {KeyTwiceError(twice)}. Nothing was sent. Give it once.")
        value = {one["key"]: one["value"] for one in value}
    if not isinstance(value, Mapping):
        raise WtsInvalidRequestError(f"{name}: must be an object, not {type(value).__name__}. Example: {example}.")
    if bad := [key for key in value if not isinstance(key, str)]:
        raise WtsInvalidRequestError(f"{name}: the key {quoted(bad[0])} is not text. Example: {example}.")
    return dict(value)


def refuse_missing_inside(name: str, value: Any, *, texts: bool = True) -> None:
    """Refuse values that a template or a data frame left where one is missing, and those that are no text or no JSON.

    ``None`` is no such value: it clears what it names.

    :param name: where the value is, for the error.
    :param value: the value, at any depth.
    :param texts: whether text counts, too, such as ``"nan"`` and ``"None"``.
    :raises WtsInvalidRequestError: naming where it is.
    """
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        refuse_control_characters(name, value)
    if isinstance(value, Mapping):
        for key, one in value.items():
            refuse_missing_inside(f"{name}.{key}", one, texts=texts)
    elif isinstance(value, (list, tuple)):
        for index, one in enumerate(value):
            refuse_missing_inside(f"{name}[{index}]", one, texts=texts)
    elif is_missing(value) and (not isinstance(value, str) or (texts and visible(value))):
        raise WtsInvalidRequestError(
            f"{name}: has no value: {quoted(value)} came. Nothing was sent. Leave it out, or give None to clear it. "
            "Example: {{ params.x or none }}."
        )
    elif not isinstance(value, (str, int, float)):
        try:
            json_value(value)
        except (TypeError, ValueError, WtsInvalidRequestError) as error:
            raise WtsInvalidRequestError(f"{name}: {error}") from None


def url(name: str, value: Any) -> Missing[str]:
    """Return a URL parameter.

    :param value: an http(s) address.
    :raises WtsInvalidRequestError: when it is none: it has no host, an impossible one or port, or a blank inside.
    """
    address = UNSET if value is not None and missing(value) else text(name, value)
    if not isinstance(address, str):
        return address
    address = address.strip()
    if not _is_http_address(address):
        blank = " Write a blank in it as %20." if any(map(str.isspace, address)) else ""
        raise WtsInvalidRequestError(
            f"{name}: {quoted(address)} is not an http(s) address.{blank} Example: 'https://example.com/hook'."
        )
    return address


def _is_http_address(address: str) -> bool:
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
        host.encode("idna")
    except ValueError:
        return False
    return bool(host) and parts.scheme in ("http", "https") and not any(map(str.isspace, address))


def number(name: str, value: Any, *, least: float = -math.inf, most: float = math.inf) -> Missing[float]:
    """Return a number, whole where it is whole. ``0`` is a number as any other.

    :param value: a number, or its text with a decimal point.
    :param least: the smallest good value.
    :param most: the largest good value.
    :raises WtsInvalidRequestError: when it is no number within the bounds.
    """
    if is_missing(value):
        return _cleared(value)
    found = _float(value)
    if not math.isfinite(found) or not least <= found <= most:
        bounds = "" if math.isinf(least) else f" from {least:g} to {most:g}"
        raise WtsInvalidRequestError(f"{name}: {quoted(value)} is not a number{bounds}. Example: 149.9.")
    return int(found) if found.is_integer() else found


def _float(value: Any) -> float:
    """Return a value as a number; NaN if it is none."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def whole(name: str, value: Any, *, least: int, most: int | None = None) -> int | Unset | None:
    """Return a whole number.

    :param value: a number, or its text.
    :param least: the smallest good value.
    :param most: the largest good value; ``None`` = no bound.
    :raises WtsInvalidRequestError: when it is no whole number within the bounds.
    """
    if is_missing(value):
        return _cleared(value)
    bounds = f"from {least} to {most}" if most is not None else f"of at least {least}"
    number = _float(value)
    if not number.is_integer() or number < least or (most is not None and number > most):
        raise WtsInvalidRequestError(f"{name}: {quoted(value)} is not a whole number {bounds}.")
    return int(number)


def choice(name: str, value: Any, choices: Iterable[str] | Mapping[str, str]) -> Missing[str]:
    """Return one of the contract's words, whatever the case it was written in.

    :param value: what the user wrote.
    :param choices: the contract's words; or what users may write, in lower case, and the word that goes out.
    :raises WtsInvalidRequestError: when it is another one; lists the valid ones.
    """
    if is_missing(value):
        return _cleared(value)
    words = choices if isinstance(choices, Mapping) else {word.casefold(): word for word in choices}
    found = words.get(str(value).strip().casefold())
    if found is None:
        known = list(dict.fromkeys(words.values()))
        raise WtsInvalidRequestError(
            f"{name}: {quoted(value)} is not a valid value. It must be one of {', '.join(map(repr, known))}."
        )
    return found


def timestamp(name: str, value: Any) -> Missing[str]:
    """Return a date and time as the API takes it, in UTC; ``None`` goes out and clears.

    :param value: an aware datetime, or ISO 8601 text with an offset, such as what ``{{ data_interval_start }}``
        renders to.
    :raises WtsInvalidRequestError: when it is neither, or has no time zone: the API would read it as another time.
    """
    if is_missing(value):
        return _cleared(value)
    good = "Example: '2026-03-01T00:00:00-03:00', or '{{ data_interval_start }}'."
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise WtsInvalidRequestError(
                f"{name}: {quoted(value)} is not a valid ISO 8601 date and time. {good}"
            ) from None
    if not isinstance(value, datetime):
        raise WtsInvalidRequestError(f"{name}: must be a date and time, not {type(value).__name__}. {good}")
    if value.utcoffset() is None:
        raise WtsInvalidRequestError(f"{name}: {value.isoformat()} has no time zone. {good}")
    try:
        return utc(value)
    except OverflowError:
        raise WtsInvalidRequestError(f"{name}: {value.isoformat()} is out of range in UTC. {good}") from None


def bounded_text(name: str, value: Any, *, most: int) -> Missing[str]:
    """Return a text that is not too long; an empty one goes out as it is.

    :param value: the text.
    :param most: the most characters.
    :raises WtsInvalidRequestError: when it is longer, or no text.
    """
    found = text(name, value)
    if isinstance(found, str) and len(found) > most:
        raise WtsInvalidRequestError(f"{name}: has {len(found)} characters; the API takes at most {most}.")
    return found


class KeyTwiceError(ValueError):
    """One object has a key twice: it is unknown which value is meant.

    :param key: the key.
    """

    def __init__(self, key: Any) -> None:
        super().__init__(f"has the key {quoted(key)} twice")


def read_json(text: str, *, parse_float: Callable[[str], Any] = exact_number) -> Any:
    """Return what a JSON text says, with all digits of its numbers.

    :param parse_float: reads numbers with a fraction.
    :raises KeyTwiceError: when one object has a key twice.
    :raises ValueError: when it is not JSON.
    """
    try:
        return json.loads(text, parse_float=parse_float, object_pairs_hook=_named_once)
    except RecursionError as error:
        raise ValueError(str(error)) from None


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise KeyTwiceError(_twice([key for key, _ in pairs]))
    return found


def _twice(keys: list[Any]) -> Any:
    """Return the first key that is there twice; ``None`` if there is none."""
    return next((key for index, key in enumerate(keys) if key in keys[:index]), None)


def json_text(name: str, text: str, *, parse_float: Callable[[str], Any] = exact_number) -> Any:
    """Return what a JSON text says.

    :param parse_float: reads numbers with a fraction.
    :raises WtsInvalidRequestError: when it is not JSON, or one object has a key twice.
    """
    try:
        return read_json(text, parse_float=parse_float)
    except KeyTwiceError as error:
        raise WtsInvalidRequestError(f"{name}: {error}. Nothing was sent. Give it once.") from None
    except ValueError as error:
        raise WtsInvalidRequestError(f"{name}: is not valid JSON: {error}. {_NATIVE}") from None


def unpacked(name: str, value: Any) -> Any:
    """Return the list or object that a rendered template wrote as JSON, and everything else as it is.

    :raises WtsInvalidRequestError: when it looks like one and is not JSON.
    """
    return json_text(name, value) if isinstance(value, str) and value.lstrip()[:1] in ("[", "{") else value


def moment(name: str, value: Any) -> datetime | None:
    """Return a date and time, or ``None`` where none is given.

    :param value: as :func:`timestamp` takes it.
    :raises WtsInvalidRequestError: when it cannot be read, or has no time zone.
    """
    found = timestamp(name, value)
    return datetime.fromisoformat(found) if isinstance(found, str) else None
