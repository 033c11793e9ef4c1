"""Parses and validates rendered parameters before anything is sent.

The first argument of each function is the parameter's name, for errors. They raise ``WtsInvalidRequestError`` when a
value is not valid. A list may also be JSON text, or a single item; text is never split into its letters.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from numbers import Integral
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_wts.api.errors import WtsInvalidRequestError, quoted
from airflow_provider_wts.api.wire import (
    UNSET,
    Missing,
    T,
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


#: Maximum seconds of "typing...".
MAX_TYPING = 25


def needed_text(name: str, value: Any) -> str:
    """Return the text of a message as it is, including surrounding spaces."""
    found = text(name, value)
    if not isinstance(found, str) or not visible(found):
        raise WtsInvalidRequestError(f"{name}: is empty. Nothing was sent. Example: 'Olá! Sua fatura vence amanhã.'.")
    return found


def delay_typing(value: Any) -> int | Unset | None:
    """Return the seconds of "typing..."."""
    return whole("delay_typing", value, least=0, most=MAX_TYPING)


def department(value: Any) -> DepartmentReference | Unset:
    """Return a department in the form of sends. The API also accepts a name, so nothing is looked up."""
    found = named("department", value)
    if not isinstance(found, str):
        return UNSET
    return {"id": found} if is_uuid(found) else {"name": found}


def user(value: Any, lookup: Callable[[str], str]) -> UserReference | Unset:
    """Return a user in the form of sends: by ID, e-mail address or phone number; a name is looked up."""
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


def looked_up(name: str | T, look_up: Callable[[str], str]) -> str | T:
    """Look up a name; return anything that is not text as it is."""
    return look_up(name) if isinstance(name, str) else name


def classification(name: str, value: Any) -> dict[str, Any] | Unset:
    """Return the classification of a session.

    :param value: an object with ``category``, ``description`` and ``amount``, or the object as JSON text.
    """
    if value is UNSET:
        return value
    if value is None:
        raise WtsInvalidRequestError(
            f"{name}: the API does not accept null here. To clear it, set its parts: "
            """{"category": "UNDEFINED", "description": None, "amount": None}."""
        )
    categories = ("UNDEFINED", "WON", "LOST", "INFO", "OTHER")
    parts: dict[str, Callable[[str, Any], Any]] = {
        "category": lambda part, given: choice(part, given, categories),
        "description": text,
        "amount": number,
    }
    found: Mapping[str, Any] = metadata(name, value) or {}
    if unknown := sorted(found.keys() - parts.keys()):
        raise WtsInvalidRequestError(
            f"{name}: {quoted(unknown[0])} is not one of its parts, which are {', '.join(parts)}."
        )
    if not found:
        raise WtsInvalidRequestError(f"{name}: is empty. Its parts are {', '.join(parts)}.")
    return {part: parts[part](f"{name}.{part}", one) for part, one in found.items()}


def filter_text(name: str, value: Any) -> str | Unset:
    """Return the text of a filter; ``None`` and blank text mean no filter."""
    return UNSET if missing(value) else str(text(name, value)).strip()


def filter_choice(name: str, value: Any, choices: Iterable[str]) -> str | Unset:
    """Return the choice of a filter; ``None`` and blank text mean no filter."""
    return UNSET if missing(value) else str(choice(name, value, choices))


def filter_identity(name: str, value: Any) -> str | Unset:
    """Return the ID of a filter; ``None`` and blank text mean no filter."""
    return UNSET if missing(value) else str(identity(name, value))


def filter_list(name: str, value: Any, choices: Iterable[str] | None = None) -> list[str] | Unset:
    """Return the list of a filter; ``None`` and blank text mean no filter.

    :param choices: the valid items; any by default.
    """
    if missing(value):
        return UNSET
    found = texts(name, value) if choices is None else choices_of(name, value, choices)
    if not found:
        raise WtsInvalidRequestError(
            f"{name}: is an empty list, which would list everything. Omit it if you want everything."
        )
    return found


def filter_identities(name: str, value: Any) -> list[str] | Unset:
    """Return the IDs of a filter; ``None`` and blank text mean no filter."""
    found = filter_list(name, value)
    return found if found is UNSET else identities(name, found) or UNSET


def filter_timestamp(name: str, value: Any) -> str | Unset:
    """Return a date and time in the API's format, in UTC; ``None`` and blank text mean no filter."""
    return UNSET if missing(value) else str(timestamp(name, value))


def switch(name: str, value: Any) -> bool | Unset:
    """Return a boolean for which the API does not accept ``null``; ``None`` and blank text omit it."""
    return UNSET if missing(value) else bool(flag(name, value))


def details(value: Any, choices: Iterable[str]) -> list[str] | Unset:
    """Return the details to add to an answer, if any."""
    return choices_of("include_details", value, choices) or UNSET


def items(name: str, value: Any) -> Missing[list[Any]]:
    """Return a list parameter; a single text, number or object is a list of one."""
    if is_missing(value):
        return _cleared(value)
    if isinstance(value, Iterator):
        # A second iteration would find nothing.
        raise WtsInvalidRequestError(f"{name}: must be a list, not {type(value).__name__}. Example: list(...).")
    if isinstance(value, str):
        if value.lstrip()[0] not in "[{":
            return [value]
        value = json_text(name, value)
    if isinstance(value, Mapping) or not isinstance(value, Iterable) or isinstance(value, (bytes, bytearray)):
        return [value]
    return list(value)


def texts(name: str, value: Any) -> Missing[list[str]]:
    """Return a list of texts, none of them blank."""
    return _each(name, value, _text)


def choices_of(name: str, value: Any, choices: Iterable[str]) -> Missing[list[str]]:
    """Return a list of choices."""
    known = tuple(choices)
    return _each(name, texts(name, value), lambda _, word: choice(name, word, known))


def identities(name: str, value: Any) -> Missing[list[str]]:
    """Return a list of IDs."""
    return _each(name, texts(name, value), identity)


def urls(name: str, value: Any, *, most: int | None = None) -> Missing[list[str]]:
    """Return a list of http(s) addresses."""
    found = texts(name, value)
    if isinstance(found, list) and most is not None and len(found) > most:
        raise WtsInvalidRequestError(f"{name}: has {len(found)} addresses; the API accepts at most {most}.")
    return _each(name, found, url)


def _each(name: str, value: Any, checked: Callable[[str, Any], Any]) -> Missing[list[str]]:
    found = items(name, value)
    return [str(checked(f"{name}[{index}]", item)) for index, item in enumerate(found)] if found else found


def _text(name: str, value: Any) -> str:
    if is_missing(value):
        raise WtsInvalidRequestError(
            f"{name}: must not be blank, but is {quoted(value)}. Nothing was sent. Remove it from the list."
        )
    return str(text(name, value)).strip()


def needed_identity(name: str, value: Any, *, example: str) -> str:
    """Return a required ID."""
    found = identity(name, value)
    if not isinstance(found, str):
        raise WtsInvalidRequestError(f"{name}: is empty. Example: {example!r}.")
    return found


def needed_name(name: str, value: Any) -> str:
    """Return a required name or ID."""
    found = text(name, value)
    if not isinstance(found, str) or missing(found):
        raise WtsInvalidRequestError(f"{name}: is empty. Give a name or an ID.")
    return found.strip()


def needed_choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """Return a required choice."""
    words = tuple(choices)
    if missing(value):
        raise WtsInvalidRequestError(f"{name}: is empty. It must be one of {', '.join(map(repr, words))}.")
    return str(choice(name, value, words))


def named(name: str, value: Any) -> Missing[str]:
    """Return a name or ID; ``None`` clears it."""
    found = text(name, value)
    if not isinstance(found, str):
        return found
    return UNSET if missing(found) else found.strip()


_YES, _NO = {"true", "yes", "1"}, {"false", "no", "0"}

_NATIVE = (
    "A template renders objects and lists as Python code, such as {'a': None}. End it with '| tojson', or set "
    "render_template_as_native_obj=True on the DAG. Example: {{ params.x | tojson }}."
)

_OBJECT = """{"invoice": "2026-118", "amount": 149.9}"""

# Forms of other tools represent an object as a list of these.
_PAIR = {"key", "value"}


#: Whether a parameter has no value: not given, ``None``, blank text, NaN, or their text.
missing = is_missing


def _cleared(value: Any) -> Unset | None:
    """Return ``None``, which clears a field, for ``None``; any other missing value is not given."""
    return None if value is None else UNSET


def flag(name: str, value: Any) -> Missing[bool]:
    """Return a boolean parameter."""
    if is_missing(value):
        return _cleared(value)
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _YES:
        return True
    if text in _NO:
        return False
    raise WtsInvalidRequestError(f"{name}: {quoted(value)} must be true or false. Example: True.")


def text(name: str, value: Any) -> Missing[str]:
    """Return a text parameter.

    :param value: text, a number or a UUID; blank text is kept, because it clears a field.
    """
    if isinstance(value, str):
        refuse_control_characters(name, value)
        if not visible(value):
            return value
    if is_missing(value):
        return _cleared(value)
    if isinstance(value, (str, int, float, Decimal, Integral, uuid.UUID)) and not isinstance(value, bool):
        return str(value)
    raise WtsInvalidRequestError(f"{name}: must be text, not {type(value).__name__}. Nothing was sent.")


#: All except tabs and line breaks.
_CONTROL_CHARACTER = "[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"


#: A colour, for example, as terminals read it.
_TERMINAL_SEQUENCE = "\x1b\\[[0-?]*[ -/]*[@-~]"


def without_control_characters(value: Any) -> Any:
    """Return texts at any depth without control characters and what terminals read with them; the rest as it is.

    Half a character, as in the name of a file in another encoding, becomes U+FFFD.
    """
    if isinstance(value, str):
        whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return re.sub(_CONTROL_CHARACTER, "", re.sub(_TERMINAL_SEQUENCE, "", whole))
    if isinstance(value, Mapping):
        return {name: without_control_characters(one) for name, one in value.items()}
    return [without_control_characters(one) for one in value] if isinstance(value, (list, tuple)) else value


def refuse_control_characters(name: str, value: str) -> None:
    """Refuse text with control characters, such as NUL, BEL and ESC, because it is damaged."""
    if found := re.search(_CONTROL_CHARACTER, value):
        raise WtsInvalidRequestError(
            f"{name}: contains the control character U+{ord(found[0]):04X} at position {found.start() + 1}. Nothing "
            f"was sent. Remove it. Example: {{{{ params.x | replace({found[0]!r}, '') }}}}."
        )


def identity(name: str, value: Any) -> Missing[str]:
    """Return an ID parameter."""
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

    NaN, ``"None"`` and similar inside are refused, because nobody writes them on purpose.

    :param value: an object, a list of ``{"key": ..., "value": ...}``, or one of them as JSON text.
    """
    if is_missing(value):
        return _cleared(value)
    found = mapping(name, json_text(name, value) if isinstance(value, str) else value, example=_OBJECT)
    for key, one in found.items():
        refuse_missing_inside(f"{name}.{key}", one)
    return found


def mapping(name: str, value: Any, *, example: str) -> dict[str, Any]:
    """Return an object, which may be given as a list of keys and values.

    :param value: an object, or a list of ``{"key": ..., "value": ...}``.
    """
    if isinstance(value, (list, tuple)) and all(isinstance(one, Mapping) and one.keys() == _PAIR for one in value):
        if (found := twice(one["key"] for one in value)) is not None:
            raise WtsInvalidRequestError(f"{name}: {KeyTwiceError(found)}. Nothing was sent. Give it once.")
        value = {one["key"]: one["value"] for one in value}
    if not isinstance(value, Mapping):
        raise WtsInvalidRequestError(f"{name}: must be an object, not {type(value).__name__}. Example: {example}.")
    if bad := [key for key in value if not isinstance(key, str)]:
        raise WtsInvalidRequestError(f"{name}: the key {quoted(bad[0])} is not text. Example: {example}.")
    return dict(value)


def refuse_missing_inside(name: str, value: Any, *, texts: bool = True) -> None:
    """Refuse missing values from a template or data frame, at any depth, and values that are not valid text or JSON.

    ``None`` is accepted, because it clears a field.

    :param name: where the value is, for errors.
    :param texts: whether to refuse text such as ``"nan"`` and ``"None"``, too.
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
            f"{name}: has no value ({quoted(value)}). Nothing was sent. Omit it, or set None to clear it. Example: "
            "{{ params.x or none }}."
        )
    elif not isinstance(value, (str, int, float)) or value in (math.inf, -math.inf):
        try:
            json_value(Decimal(value) if isinstance(value, float) else value)
        except (TypeError, ValueError, WtsInvalidRequestError) as error:
            raise WtsInvalidRequestError(f"{name}: {error}") from None


def url(name: str, value: Any) -> Missing[str]:
    """Return a URL parameter."""
    address = UNSET if value is not None and missing(value) else text(name, value)
    if not isinstance(address, str):
        return address
    address = address.strip()
    if not _is_http_address(address):
        space = " Write a space as %20." if any(map(str.isspace, address)) else ""
        raise WtsInvalidRequestError(
            f"{name}: {quoted(address)} is not an http(s) address.{space} Example: 'https://example.com/hook'."
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
    """Return a number; an integer if it is one.

    :param value: a number, or its text with a decimal point.
    """
    if is_missing(value):
        return _cleared(value)
    found = as_float(value)
    if not math.isfinite(found) or not least <= found <= most:
        bounds = "" if math.isinf(least) else f" from {least:g} to {most:g}"
        raise WtsInvalidRequestError(f"{name}: {quoted(value)} is not a number{bounds}. Example: 149.9.")
    return int(found) if found.is_integer() else found


def as_float(value: Any) -> float:
    """Return a value as a number, or NaN."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def seconds(name: str, value: Any, *, positive: bool = False) -> float:
    """Return a length of time in seconds.

    :param value: a time span, a number of seconds, or its text.
    :param positive: whether it must be greater than 0.
    """
    found = value.total_seconds() if isinstance(value, timedelta) else as_float(value)
    if not math.isfinite(found) or found < 0 or (positive and not found):
        raise WtsInvalidRequestError(
            f"{name}: {quoted(value)} is not a length of time in seconds. Nothing was sent. Examples: 3600, "
            "timedelta(hours=1)."
        )
    return found


def fraction(value: Any) -> float:
    """Return a number, or a percentage such as ``"5%"`` as its hundredths; NaN if it is neither."""
    text = str(value).strip()
    return as_float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)


def whole(name: str, value: Any, *, least: int, most: int | None = None) -> int | Unset | None:
    """Return a whole number."""
    if is_missing(value):
        return _cleared(value)
    bounds = f"from {least} to {most}" if most is not None else f"of at least {least}"
    number = as_float(value)
    if not number.is_integer() or number < least or (most is not None and number > most):
        raise WtsInvalidRequestError(f"{name}: {quoted(value)} is not a whole number {bounds}.")
    return int(number)


def choice(name: str, value: Any, choices: Iterable[str] | Mapping[str, str]) -> Missing[str]:
    """Return one of the contract's choices, given in any case.

    :param choices: the choices; or a mapping from what users may write, in lower case, to the choices.
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
    """Return a date and time in the API's format, in UTC; ``None`` clears a field.

    :param value: an aware datetime, or ISO 8601 text with an offset, such as the rendered
        ``{{ data_interval_start }}``.
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
    except WtsInvalidRequestError:
        raise WtsInvalidRequestError(f"{name}: {value.isoformat()} is out of range in UTC. {good}") from None


def bounded_text(name: str, value: Any, *, most: int) -> Missing[str]:
    """Return a text that is not too long."""
    found = text(name, value)
    if isinstance(found, str) and len(found) > most:
        raise WtsInvalidRequestError(f"{name}: has {len(found)} characters; the API accepts at most {most}.")
    return found


class KeyTwiceError(ValueError):
    """An object has a key twice, so it is unknown which value is meant."""

    def __init__(self, key: Any) -> None:
        super().__init__(f"has the key {quoted(key)} twice")


def read_json(text: str, *, parse_float: Callable[[str], Any] = exact_number) -> Any:
    """Parse JSON, keeping all digits of its numbers.

    :raises KeyTwiceError: when an object has a key twice.
    :raises ValueError: when it is not JSON.
    """
    try:
        return json.loads(text, parse_float=parse_float, object_pairs_hook=_named_once)
    except RecursionError as error:
        raise ValueError(str(error)) from None


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise KeyTwiceError(twice(key for key, _ in pairs))
    return found


def twice(names: Iterable[Any]) -> Any:
    """Return the first name that occurs twice, or ``None``."""
    return next((name for name, times in Counter(names).items() if times > 1), None)


def refuse_same_names(
    name: str, columns: Iterable[str], *, unsent: str = "Nothing was sent.", example: str = ""
) -> None:
    """Refuse columns of which two have the same name.

    :raises WtsInvalidRequestError: naming it.
    """
    if (found := twice(columns)) is not None:
        raise WtsInvalidRequestError(
            f"{name}: two columns have the same name, {quoted(found)}. {unsent} Rename one of them.{example}"
        )


def json_text(name: str, text: str, *, parse_float: Callable[[str], Any] = exact_number) -> Any:
    """Parse a parameter's JSON text."""
    try:
        return read_json(text, parse_float=parse_float)
    except KeyTwiceError as error:
        raise WtsInvalidRequestError(f"{name}: {error}. Nothing was sent. Give it once.") from None
    except ValueError as error:
        raise WtsInvalidRequestError(f"{name}: is not valid JSON: {error}. {_NATIVE}") from None


def unpacked(name: str, value: Any) -> Any:
    """Parse a list or object that a template rendered as JSON; return anything else as it is."""
    return json_text(name, value) if isinstance(value, str) and value.lstrip()[:1] in ("[", "{") else value


def optional_datetime(name: str, value: Any) -> datetime | None:
    """Return a date and time, or ``None`` if none is given."""
    found = timestamp(name, value)
    return datetime.fromisoformat(found) if isinstance(found, str) else None
