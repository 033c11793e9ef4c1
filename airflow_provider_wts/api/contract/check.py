"""Validates requests and answers against the contract with ``jsonschema``.

It is separate from :mod:`airflow_provider_wts.api.contract`, because ``jsonschema`` takes longer to import than all our
modules together, and most tasks never validate a request at run time.
"""

from __future__ import annotations

import re
import sys
import uuid
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import jsonschema

from airflow_provider_wts.api.contract import Operation, document
from airflow_provider_wts.api.errors import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jsonschema.protocols import Validator

# jsonschema checks formats only on request, and its own date-time check needs another package.
FORMATS = jsonschema.FormatChecker(formats=())

_DATE_TIME = re.compile(r"(\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2})(?:\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


@FORMATS.checks("uuid")
def _is_uuid(value: object) -> bool:
    if not isinstance(value, str):
        return True
    try:
        return str(uuid.UUID(value)) == value.lower()
    except ValueError:
        return False


@FORMATS.checks("date-time")
def _is_date_time(value: object) -> bool:
    if not isinstance(value, str):
        return True
    match = _DATE_TIME.fullmatch(value)
    if match is None:
        return False
    try:
        datetime.fromisoformat(match[1] + match[2].upper().replace("Z", "+00:00")).astimezone(UTC)
    except (ValueError, OverflowError):
        return False
    return True


@FORMATS.checks("email")
def _is_email(value: object) -> bool:
    return not isinstance(value, str) or _EMAIL.fullmatch(value) is not None


@FORMATS.checks("int32")
def _is_int32(value: object) -> bool:
    return not isinstance(value, (int, float)) or -(2**31) <= value < 2**31


@FORMATS.checks("double")
def _is_double(value: object) -> bool:
    return not isinstance(value, int) or abs(value) <= sys.float_info.max


def check_request(
    operation: Operation, path: Mapping[str, object], query: Mapping[str, object], body: object, *, has_body: bool
) -> list[str]:
    """Return what in a request does not match the contract.

    :param path: path parameters by name.
    :param query: query parameters by name, with values of the contract's types.
    :param body: the JSON body, which is checked if ``has_body``.
    :return: one sentence per problem, without values, which may be personal data.
    """
    problems: list[str] = []
    for location, given in (("path", path), ("query", query)):
        known = {parameter.name: parameter for parameter in operation.parameters if parameter.location == location}
        for name in given.keys() - known.keys():
            problems.append(f"{location} parameter {quoted(name)} is unknown; known are {sorted(known) or 'none'}")
        for name, parameter in known.items():
            if name in given:
                problems += _problems(operation, parameter.schema, given[name], f"{location} parameter {name!r}")
            elif parameter.required:
                problems.append(f"{location} parameter {name!r} is missing")
    if has_body and operation.body_schema is None:
        problems.append("the operation has no body")
    elif has_body and operation.body_schema is not None:
        problems += _problems(operation, operation.body_schema, body, "body")
    elif operation.body_required:
        problems.append("the body is missing")
    return problems


def check_answer(operation: Operation, body: object) -> list[str]:
    """Return what in an answer with status 200 does not match the contract, except for undeclared properties."""
    if operation.answer_schema is None:
        return []
    return [
        problem
        for problem in _problems(operation, operation.answer_schema, body, "answer")
        if "is not in the contract" not in problem
    ]


@cache
def _validator(service: str, pointer: str) -> Validator:
    root = document(service)
    schema = {"$ref": pointer, "components": root["components"]}
    return jsonschema.Draft202012Validator(schema, format_checker=FORMATS)


def _problems(operation: Operation, schema: Mapping[str, Any], value: Any, where: str) -> Iterable[str]:
    if set(schema) == {"$ref"}:
        validator = _validator(operation.service, schema["$ref"])
    else:
        validator = jsonschema.Draft202012Validator(
            {**schema, "components": document(operation.service)["components"]}, format_checker=FORMATS
        )
    for error in validator.iter_errors(value):
        place = where + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
        yield f"{place} {_words(error)}"


def _words(error: jsonschema.ValidationError) -> str:
    """Return what is wrong, without quoting the value."""
    wanted: Any = error.validator_value
    instance: Any = error.instance
    schema: Any = error.schema
    match error.validator:
        case "required":
            missing = [name for name in wanted if name not in instance]
            return f"lacks {', '.join(map(repr, missing))}"
        case "additionalProperties" if wanted is False:
            known = schema.get("properties", {})
            extra = sorted(str(name) for name in instance if name not in known)
            return f"has {quoted(*extra)}, which is not in the contract"
        case "type":
            return f"is not of type {wanted if isinstance(wanted, str) else ' or '.join(wanted)}"
        case "enum":
            return f"must be one of {[value for value in wanted if value is not None]}"
        case "format":
            return f"is not a valid {wanted}"
        case _:
            return f"does not match {error.validator}: {wanted}"
