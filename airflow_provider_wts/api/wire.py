"""The representation of values in requests and answers: unset values, times, UUIDs, missing values."""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias, TypeVar
from uuid import UUID

from airflow_provider_wts.api.errors import WtsInvalidRequestError

T = TypeVar("T")


class _Unset(Enum):
    """The value of a parameter that the caller did not set. An enum, so that it survives copying and pickling."""

    UNSET = "not given"

    def __repr__(self) -> str:
        return "UNSET"

    __str__ = __repr__

    def __bool__(self) -> Literal[False]:
        return False


Unset: TypeAlias = Literal[_Unset.UNSET]

UNSET: Final = _Unset.UNSET

#: A parameter that may be omitted, or set to ``None`` to send ``null``.
Missing: TypeAlias = T | Unset | None

#: Digits that a float always keeps, and the difference below which two numbers are equal apart from rounding errors.
_EXACT_DIGITS, _ROUNDING = 15, Decimal("0.000001")

_NO_NAMES: Mapping[str, str] = MappingProxyType({})


def given(**values: object) -> dict[str, Any]:
    """Return the values that were set, in the order of the arguments.

    A trailing underscore in a name is dropped, so that ``from_=`` becomes ``from``.

    :param values: values by their name on the wire; those that are :data:`UNSET` are omitted.
    """
    return {name.removesuffix("_"): value for name, value in values.items() if value is not UNSET}


def given_or_left_out(**values: object) -> dict[str, Any] | Unset:
    """Return the values that were set, or :data:`UNSET` if there are none, for an object inside a body."""
    return given(**values) or UNSET


def utc(timestamp: datetime) -> str:
    """Format a timestamp as the API expects it: ISO 8601 in UTC with ``Z``.

    :param timestamp: an aware datetime.
    :raises WtsInvalidRequestError: when it is naive, because the API would misread it.
    """
    if timestamp.tzinfo is None or timestamp.utcoffset() is None:
        raise WtsInvalidRequestError(
            f"{timestamp.isoformat()} has no time zone. Give an aware datetime. Example: {timestamp.isoformat()}-03:00"
        )
    try:
        timestamp = timestamp.astimezone(UTC)
    except OverflowError:
        raise WtsInvalidRequestError(f"{timestamp.isoformat()} is out of range.") from None
    text = timestamp.isoformat(timespec="microseconds" if timestamp.microsecond else "seconds")
    return text.replace("+00:00", "Z")


#: What stands for a timestamp that is unreadable: the latest possible time.
UNREADABLE = datetime.max.replace(tzinfo=UTC)


def parse_timestamp(text: Any) -> datetime | None:
    """Parse a timestamp of the API, with 0 to 7 fractional digits.

    :return: ``None`` if it is missing, for which .NET writes the year 1; :data:`UNREADABLE` if it is no date, or one of
        the year 9999.
    """
    if not text:
        return None
    try:
        parsed = datetime.fromisoformat(str(text))
    except ValueError:
        return UNREADABLE
    if parsed.year == datetime.min.year:
        return None
    if parsed.year == datetime.max.year:
        return UNREADABLE
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def created_at(item: Mapping[str, Any]) -> datetime:
    """Return when an item was created; without a date, it counts as the latest."""
    return parse_timestamp(item.get("createdAt")) or UNREADABLE


def json_value(value: object) -> object:
    """Convert types that JSON does not have to what the API expects: timestamps, dates, enums, sets and mappings.

    :raises TypeError: when JSON cannot express it.
    :raises ValueError: when it is a number that JSON cannot express.
    """
    if value is UNSET:
        raise TypeError("a value inside was not given")
    if isinstance(value, datetime):
        return utc(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        # In a stable order, so that equal requests are identical.
        return sorted(value, key=str)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Decimal):
        return _json_number(value)
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _json_number(value: Decimal) -> float:
    if not value.is_finite():
        raise ValueError(f"{value} is not a JSON value")
    if value == value.to_integral_value():
        return int(value)
    if loses_digits(value):
        raise ValueError(f"{value} has more digits than a JSON number keeps; give it as text, or round it")
    return float(value)


def loses_digits(value: Decimal) -> bool:
    """Whether a float would lose significant digits of a number, such as the cents of an amount."""
    return abs(Decimal(repr(float(value))) - value) > _ROUNDING


def exact_number(text: str) -> float | Decimal:
    """Parse a JSON number with a fraction or an exponent, keeping all its digits."""
    found = float(text)
    has_more = len(text) > _EXACT_DIGITS and found - found == 0 and loses_digits(Decimal(text))
    return Decimal(text) if has_more else found


def wire_value(value: object, where: str) -> object:
    """Convert a path or query value to JSON, lists item by item.

    :param where: what the value is, for errors.
    :raises WtsInvalidRequestError: when JSON cannot express it.
    """
    if isinstance(value, (list, tuple, set, frozenset)):
        return [wire_value(item, where) for item in value if _is_set(item)]
    # Not enums, which may also be text or numbers, and would go out as their names.
    if isinstance(value, (str, int, dict)) and not isinstance(value, Enum):
        return value
    if isinstance(value, float) and value - value == 0:
        return value
    try:
        return json_value(value)
    except (TypeError, ArithmeticError) as error:
        raise WtsInvalidRequestError(f"{where} cannot be written: {error}.") from None


def _is_set(value: object) -> bool:
    return value is not None and value is not UNSET


# How Python and pandas write a missing value, and so how templates render it.
_MISSING_TEXTS = frozenset({"", "None", "null", "nan", "NaN", "NaT", "<NA>"})

_MISSING_TYPES = frozenset({"NAType", "NaTType"})


def is_missing(value: object) -> bool:
    """Whether a value is missing: not given, ``None``, NaN, ``NaT`` or ``NA`` of pandas, blank text, or their text."""
    if isinstance(value, str):
        return visible(value) in _MISSING_TEXTS
    return value is UNSET or value is None or is_nan(value)


def visible(text: str) -> str:
    """Return a text without surrounding spaces and invisible characters, such as direction marks."""
    if not text.isascii():
        text = "".join(character for character in text if unicodedata.category(character) != "Cf")
    return text.strip()


def is_nan(value: object) -> bool:
    """Whether a value is a data frame's missing value: NaN of any numeric type, ``NaT``, ``NA``."""
    if type(value).__name__ in _MISSING_TYPES:
        return True
    if isinstance(value, (str, bytes, int)) or not hasattr(value, "__float__"):
        return False
    try:
        # Only NaN differs from itself. An array returns an array.
        return bool(value != value)  # noqa: PLR0124
    except ArithmeticError:
        # A signalling NaN.
        return True
    except (TypeError, ValueError):
        return False


def query_of(shape: Any, values: Mapping[str, object], names: Mapping[str, str] = _NO_NAMES) -> dict[str, Any]:
    """Return the values that were set, by their names in a query: ``created_after`` is ``CreatedAt.After``.

    :param shape: the ``TypedDict`` of the values.
    :param values: values by the parameter's name.
    :param names: irregular names in the query.
    :raises TypeError: when there is no such parameter, as in any Python function.
    """
    if unknown := values.keys() - shape.__required_keys__ - shape.__optional_keys__:
        raise TypeError(f"got an unexpected keyword argument {min(unknown)!r}")
    return {names.get(name) or _pascal_case(name): value for name, value in values.items() if value is not UNSET}


def body_of(
    shape: Any, values: Mapping[str, object], names: Mapping[str, str] = _NO_NAMES, **objects: Collection[str]
) -> dict[str, Any]:
    """Return the values that were set, by their names in a body: ``template_id`` is ``templateId``.

    :param shape: the ``TypedDict`` of the values.
    :param values: values by the parameter's name.
    :param names: irregular names in the body. In ``createdAt.after``, the first part is an object inside the body.
    :param objects: objects inside the body, and the parameters that each contains. An empty one is omitted.
    :raises TypeError: when there is no such parameter, as in any Python function.
    """
    inside = {parameter: f"{name}." for name, parameters in objects.items() for parameter in parameters}
    named = {name: inside.get(name, "") + (names.get(name) or _camel_case(name)) for name in values}
    body: dict[str, Any] = {}
    for path, value in query_of(shape, values, named).items():
        *outer, last = path.split(".")
        place = body
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = value
    return body


def field_mask(body: Mapping[str, object], names: Mapping[str, str] = _NO_NAMES) -> list[str]:
    """Return the names of a body's properties for ``fields`` of an update: their names, capitalized.

    :param names: irregular names.
    """
    properties = [name for name in body if name not in ("fields", "options")]
    # A dict removes duplicates and keeps the order.
    return list(dict.fromkeys(names.get(name) or name[0].upper() + name[1:] for name in properties))


def _pascal_case(name: str) -> str:
    return re.sub("_(after|before)$", r"_at.\1", name).title().replace("_", "")


def _camel_case(name: str) -> str:
    return ".".join(part[0].lower() + part[1:] for part in _pascal_case(name).split("."))


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID in its usual spelling."""
    try:
        return str(uuid.UUID(text)) == text.strip().lower()
    except (ValueError, AttributeError, TypeError):
        return False


#: How far ahead of this machine's clock a date may be, as those of an emulator are; later ones are wrong.
MOST_AHEAD = timedelta(days=31)

#: How much earlier to read, because clocks of workers and the API differ, and date bounds are not documented.
CLOCK_SLACK = timedelta(minutes=5)
