"""Parses answers of the API, and validates them against the contract. No other module checks their shape.

The check is lenient, because the contract is not always right about optional fields: a field may be missing or null,
and unknown fields and enum values are kept. But a field with another JSON type means that this is not an answer of WTS
Chat. ``jsonschema`` would take longer for a page of 100 items than the request itself.

WTS Chat spells enum values differently in different places. They are normalized to the contract's spelling here, so
that other code can compare statuses.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wts.api.errors import WtsUnexpectedAnswerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_wts.api.contract import Operation

#: Maximum nesting in an answer. Recursive code fails at about 1,000 levels.
MAX_LEVELS = 100

#: Fields of errors that most other answers do not have.
_OF_ERRORS = ("key", "error", "httpStatusCode")

#: Fields of which a page has at least one.
_OF_PAGES = ("items", "totalItems", "totalPages", "hasMorePages")

#: The API's integers are below this.
_LARGEST = 2**63
_MAX_DIGITS = 20

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}

_WORDS: dict[type, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    type(None): "null",
}

# An escape of half a character or of NUL, or half a character as bytes.
_NOT_FOR_FILES = re.compile(rb"\\u(?:[dD][89a-fA-F]|0000)|\xed[\xa0-\xbf]")


def parsed(body: bytes) -> Any:
    """Parse a body as strict JSON, without NaN.

    A number that does not fit into 64 bits becomes text: people put barcodes into metadata, and no database column
    fits it. Half a character (a lone surrogate) and NUL become U+FFFD, because files and PostgreSQL cannot store them.

    :raises ValueError: when it is not JSON.
    :raises RecursionError: when it is nested too deep.
    """
    value = _DECODER.decode(body.decode("utf-8-sig", "surrogatepass"))
    # Search for two bytes first: the regular expression takes longer than parsing.
    suspect = (b"\\u" in body or b"\xed" in body) and _NOT_FOR_FILES.search(body)
    return _for_files(value) if suspect else value


def problem_of(operation: Operation, value: Any) -> str | None:
    """Return where an answer does not match the contract: the field, its type, and the expected one.

    :return: a clause that quotes no value, or ``None`` if the answer matches.
    """
    if operation.answer_schema is None:
        return None
    shape = _shape_of(operation.operation_id)
    if isinstance(value, dict) and shape.properties:
        # Errors share some of their fields with objects that have an ID, but not that.
        shown = ("id",) if "id" in shape.properties else shape.properties
        is_error = any(value.get(name) and name not in shape.properties for name in _OF_ERRORS)
        if is_error and not any(value.get(name) for name in shown):
            return "it is an error, although its HTTP status means success"
        # Otherwise, a search for a send would take this for an empty list, and the send for absent.
        if operation.paged and all(value.get(name) is None for name in _OF_PAGES):
            return "it shows neither items nor how many there are"
    return None if _fits(shape, value, 1) else _first_problem(shape, value, "", 1)


def without_odd_fields(operation: Operation, value: Any) -> Any:
    """Return an object without the fields that do not match the contract, or a page whose items are without them."""
    shape = _shape_of(operation.operation_id)
    if "items" not in shape.properties:
        return _fitting(shape, value)
    items = value.get("items") if isinstance(value, dict) else None
    if not isinstance(items, list):
        return value
    item = shape.properties["items"].items[0]
    # An item that is not an object stays as an empty one, because the page counts it.
    return _fitting(shape, {**value, "items": [_fitting(item, one) for one in items]})


def normalize_enums(operation: Operation, value: Any) -> Any:
    """Normalize the enum values of a valid answer to the contract's spelling; it is changed in place."""
    return value if operation.answer_schema is None else _normalized(_shape_of(operation.operation_id), value)


def shows_id(operation: Operation) -> bool:
    """Return whether the response to an operation shows the ID of one object."""
    return "id" in _shape_of(operation.operation_id).properties


def required(answer: Any, field: str, operation_id: str) -> Any:
    """Return a required field of an answer, or of an object inside it.

    :raises WtsUnexpectedAnswerError: when the field is missing or empty.
    """
    value = answer.get(field) if isinstance(answer, dict) else None
    if value is None or value == "":
        raise WtsUnexpectedAnswerError(
            f"{operation_id}: WTS Chat's answer has no {field!r}, and the task cannot continue without it. If this "
            "persists, report it to WTS Chat's support.",
            operation_id=operation_id,
            field=field,
            repeatable=True,
        )
    return value


class _Shape(NamedTuple):
    """The parts of a JSON schema that are checked.

    ``spellings``: the values of an enum, by exact and by normalized spelling. ``enums``: the properties that are enums
    or may contain some.
    """

    types: frozenset[type]
    properties: dict[str, _Shape]
    items: list[_Shape]
    spellings: dict[str, str]
    enums: dict[str, _Shape]


@cache
def _shape_of(operation_id: str) -> _Shape:
    from airflow_provider_wts.api.contract import operations

    operation = operations()[operation_id]
    return _compiled(operation.service, operation.answer_schema or {}, {})


def _compiled(service: str, schema: Mapping[str, Any], known: dict[str, _Shape]) -> _Shape:
    from airflow_provider_wts.api.contract import resolve

    reference = schema.get("$ref")
    if reference in known:
        return known[reference]
    schema = resolve(service, schema)
    # Register it by name before filling it in, because schemas may be recursive.
    shape = _Shape(_types_of(service, schema), {}, [], {}, {})
    if reference is not None:
        known[reference] = shape
    for word in filter(None, schema.get("enum", ())):
        shape.spellings.update({word: word, _folded(word): word})
    for name, member in schema.get("properties", {}).items():
        shape.properties[name] = _compiled(service, member, known)
    for choice in schema.get("anyOf", ()):
        inner = _compiled(service, choice, known)
        shape.properties.update(inner.properties)
        shape.items.extend(inner.items)
        shape.spellings.update(inner.spellings)
    if "items" in schema:
        shape.items.append(_compiled(service, schema["items"], known))
        # For a list of choices WTS Chat was seen to answer a single one, as text.
        shape.spellings.update(shape.items[0].spellings)
    compound = frozenset({dict, list})
    shape.enums.update({name: one for name, one in shape.properties.items() if one.spellings or one.types & compound})
    return shape


def _types_of(service: str, schema: Mapping[str, Any]) -> frozenset[type]:
    from airflow_provider_wts.api.contract import resolve

    choices = schema.get("anyOf")
    if choices:
        return frozenset().union(*(_types_of(service, resolve(service, choice)) for choice in choices))
    names = schema.get("type", list(_PYTHON_TYPES))
    types = {kind for name in ([names] if isinstance(names, str) else names) for kind in _PYTHON_TYPES[name]}
    if "enum" in resolve(service, schema.get("items", {})):
        # For a list of choices WTS Chat was seen to answer a single one, as text.
        types.add(str)
    return frozenset(types)


def _fits(shape: _Shape, value: Any, level: int) -> bool:
    kind = type(value)
    if kind not in shape.types or level > MAX_LEVELS:
        return False
    if kind is dict:
        properties = shape.properties
        for name, member in value.items():
            if member is None:
                continue
            known = properties.get(name, _ANYTHING)
            # Most fields are text. A function call for each would take longer than parsing.
            if type(member) is str:
                if str not in known.types:
                    return False
            elif not _fits(known, member, level + 1):
                return False
    elif kind is list:
        item = shape.items[0] if shape.items else _ANYTHING
        return all(_fits(item, member, level + 1) for member in value)
    return True


def _fitting(shape: _Shape, value: Any) -> dict[str, Any]:
    members = value.items() if isinstance(value, dict) else ()
    return {
        name: member
        for name, member in members
        if member is None or _fits(shape.properties.get(name, _ANYTHING), member, 3)
    }


def _normalized(shape: _Shape, value: Any) -> Any:
    if isinstance(value, str):
        # The exact spelling is almost always right, and cheaper to look up.
        return shape.spellings.get(value) or shape.spellings.get(_folded(value), value)
    if isinstance(value, list) and shape.items:
        return [_normalized(shape.items[0], member) for member in value]
    if isinstance(value, dict):
        for name, one in shape.enums.items():
            if value.get(name):
                value[name] = _normalized(one, value[name])
    return value


def _folded(text: str) -> str:
    return text.strip().replace("_", "").casefold()


def _first_problem(shape: _Shape, value: Any, place: str, level: int) -> str | None:
    kind = type(value)
    where = repr(place.lstrip(".")) if place else "the answer"
    if kind not in shape.types:
        wanted = sorted(_WORDS[one] for one in shape.types if one is not type(None))
        return f"{where} is {_WORDS[kind]}, not {' or '.join(wanted)}"
    if level > MAX_LEVELS:
        return f"the answer has more than {MAX_LEVELS} levels"
    members: list[tuple[_Shape, Any, str]] = []
    if kind is dict:
        members = [
            (shape.properties.get(name, _ANYTHING), member, f"{place}.{name if name in shape.properties else '?'}")
            for name, member in value.items()
            if member is not None
        ]
    elif kind is list:
        item = shape.items[0] if shape.items else _ANYTHING
        members = [(item, member, f"{place}[{number}]") for number, member in enumerate(value)]
    return next(filter(None, (_first_problem(*member, level + 1) for member in members)), None)


def _for_files(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")
    if isinstance(value, list):
        return [_for_files(item) for item in value]
    if isinstance(value, dict):
        return {_for_files(name): _for_files(item) for name, item in value.items()}
    return value


def _whole(text: str) -> int | str:
    # Python refuses to parse thousands of digits.
    if len(text) > _MAX_DIGITS:
        return text
    number = int(text)
    return number if -_LARGEST <= number < _LARGEST else text


def _finite(text: str) -> float | str:
    number = float(text)
    return number if number - number == 0 else text


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_ANYTHING = _Shape(frozenset(_WORDS), {}, [], {}, {})
_DECODER = json.JSONDecoder(parse_int=_whole, parse_float=_finite, parse_constant=_refused)
