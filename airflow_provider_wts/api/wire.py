"""How values are written in requests and read in answers: what was set, times, UUIDs, missing values."""

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

    def __str__(self) -> str:
        return "UNSET"

    def __bool__(self) -> Literal[False]:
        return False


Unset: TypeAlias = Literal[_Unset.UNSET]

UNSET: Final = _Unset.UNSET

#: A parameter that may be left out, or set to ``None`` to send ``null``.
Missing: TypeAlias = T | Unset | None

#: Digits that a number of double precision keeps in any case, and a difference that a calculation makes.
_EXACT_DIGITS, _UNSEEN = 15, Decimal("0.000001")

_NO_NAMES: Mapping[str, str] = MappingProxyType({})


def given(**values: object) -> dict[str, Any]:
    """Return the values that were set, in the order of the arguments.

    A trailing underscore in a name is dropped, so that ``from_=`` becomes ``from``.

    :param values: values by their name on the wire; those that are :data:`UNSET` are left out.
    """
    return {name.removesuffix("_"): value for name, value in values.items() if value is not UNSET}


def given_or_left_out(**values: object) -> dict[str, Any] | Unset:
    """Return the values that were set, or :data:`UNSET` when none was: for an object inside a body."""
    return given(**values) or UNSET


def utc(timestamp: datetime) -> str:
    """Write a timestamp as the API expects it: ISO 8601 in UTC with ``Z``.

    :param timestamp: an aware datetime.
    :raises WtsInvalidRequestError: when it is naive, since the API would read it as another time.
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


def parse_timestamp(text: Any) -> datetime:
    """Read a timestamp as the API writes it, with 0 to 7 digits of a fraction.

    :param text: the timestamp; one that cannot be read is taken for the end of time.
    """
    try:
        parsed = datetime.fromisoformat(str(text))
    except ValueError:
        return datetime.max.replace(tzinfo=UTC)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def json_value(value: object) -> object:
    """Turn what JSON does not know into what the API expects: timestamps, dates, enums, sets and mappings.

    :raises TypeError: when JSON has no word for it.
    :raises ValueError: when it is a number that JSON does not have.
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
        # In a stable order, so that the same request is the same bytes.
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
        raise ValueError(f"{value} has more digits than a number of JSON keeps; give it as text, or round it")
    return float(value)


def loses_digits(value: Decimal) -> bool:
    """Whether a number of double precision lacks digits that count, such as the cents of an amount.

    :param value: the number as it was written.
    """
    return abs(Decimal(repr(float(value))) - value) > _UNSEEN


def exact_number(text: str) -> float | Decimal:
    """Read a number with a fraction or an exponent, so that all of its digits are kept.

    :param text: the number, as JSON has it.
    """
    found = float(text)
    has_more = len(text) > _EXACT_DIGITS and found - found == 0 and loses_digits(Decimal(text))
    return Decimal(text) if has_more else found


def wire_value(value: object, where: str) -> object:
    """Turn a path or query value into its JSON form, lists item by item.

    :param where: what it is, for the error.
    :raises WtsInvalidRequestError: when it has none.
    """
    if isinstance(value, (list, tuple, set, frozenset)):
        return [wire_value(item, where) for item in value if _is_set(item)]
    # An enum may be text or a number, too, and would then go out as its name.
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


# How Python and pandas write a value that is missing, and so what a template makes of it.
_MISSING_TEXTS = frozenset({"", "None", "null", "nan", "NaN", "NaT", "<NA>"})

_MISSING_TYPES = frozenset({"NAType", "NaTType"})


def is_missing(value: object) -> bool:
    """Whether a value is missing: not given, ``None``, NaN and its relatives of pandas, blank text, or their text."""
    if isinstance(value, str):
        return visible(value) in _MISSING_TEXTS
    return value is UNSET or value is None or is_nan(value)


def visible(text: str) -> str:
    """Return a text without blanks around it and without characters that nobody sees, such as direction marks."""
    if not text.isascii():
        text = "".join(character for character in text if unicodedata.category(character) != "Cf")
    return text.strip()


def is_nan(value: object) -> bool:
    """Whether a value is a missing one of a data frame: NaN of any kind of number, ``NaT``, ``NA``."""
    if type(value).__name__ in _MISSING_TYPES:
        return True
    if isinstance(value, (str, bytes, int)) or not hasattr(value, "__float__"):
        return False
    try:
        # Only what is not a number differs from itself. An array answers with an array.
        return bool(value != value)  # noqa: PLR0124
    except ArithmeticError:
        # A signalling NaN.
        return True
    except (TypeError, ValueError):
        return False


def query_of(shape: Any, values: Mapping[str, object], names: Mapping[str, str] = _NO_NAMES) -> dict[str, Any]:
    """Return the values that were set, under their names in a query: ``created_after`` is ``CreatedAt.After``.

    :param shape: the ``TypedDict`` that describes the values.
    :param values: values by the parameter's name.
    :param names: names in the query that differ from the parameter's.
    :raises TypeError: when there is no such parameter, as Python does for any function.
    """
    if unknown := values.keys() - shape.__required_keys__ - shape.__optional_keys__:
        raise TypeError(f"got an unexpected keyword argument {min(unknown)!r}")
    return {names.get(name) or _pascal_case(name): value for name, value in values.items() if value is not UNSET}


def body_of(
    shape: Any, values: Mapping[str, object], names: Mapping[str, str] = _NO_NAMES, **objects: Collection[str]
) -> dict[str, Any]:
    """Return the values that were set, under their names in a body: ``template_id`` is ``templateId``.

    :param shape: the ``TypedDict`` that describes the values.
    :param values: values by the parameter's name.
    :param names: names in the body that differ from the parameter's. Of ``createdAt.after``, the first part is an
        object inside the body.
    :param objects: objects inside the body, and the parameters that each holds. An empty one is left out.
    :raises TypeError: when there is no such parameter, as Python does for any function.
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
    """Return what ``fields`` of an update calls the properties of its body: their names with a capital.

    :param names: what it calls those that it calls otherwise.
    """
    properties = [name for name in body if name not in ("fields", "options")]
    # A dictionary, since it keeps the order and drops what comes twice.
    return list(dict.fromkeys(names.get(name) or name[0].upper() + name[1:] for name in properties))


def _pascal_case(name: str) -> str:
    return re.sub("_(after|before)$", r"_at.\1", name).title().replace("_", "")


def _camel_case(name: str) -> str:
    return ".".join(part[0].lower() + part[1:] for part in _pascal_case(name).split("."))


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID in its usual spelling.

    :param text: what the user wrote.
    """
    try:
        return str(uuid.UUID(text)) == text.strip().lower()
    except (ValueError, AttributeError, TypeError):
        return False


#: Clocks of workers and of the API differ, and date bounds are not documented: everything this much older is read too.
CLOCK_SLACK = timedelta(minutes=5)
