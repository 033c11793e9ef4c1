"""All operations of the contract: a valid request can be built and passes, and one that does not fit is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.contract import Operation, operations, resolve
from airflow_provider_wts.api.contract.check import check_answer
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.api.wire import UNSET

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OPERATIONS = list(operations().values())
ID = "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"
NOON = "2026-03-01T12:00:00Z"
ROOT = Path(__file__).resolve().parents[2]

each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.operation_id)


def a_value(service: str, schema: Mapping[str, Any], depth: int = 0) -> Any:
    """Make a value that fits a schema, with every property it knows."""
    schema = resolve(service, schema)
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return a_value(service, next(one for one in schema[union] if one.get("type") != "null"), depth)
    if "allOf" in schema:
        return a_value(service, schema["allOf"][0], depth)
    if "enum" in schema:
        return next(value for value in schema["enum"] if value is not None)
    kinds = schema.get("type", "object")
    match kinds if isinstance(kinds, str) else next(kind for kind in kinds if kind != "null"):
        case "string":
            text = {"uuid": ID, "date-time": NOON, "uri": "https://a.example", "email": "a@b.example"}.get(
                schema.get("format", ""), "x"
            )
            return text * max(1, schema.get("minLength", 1)) if text == "x" else text
        case "integer":
            return max(1, schema.get("minimum", 1))
        case "number":
            return 1.5
        case "boolean":
            return True
        case "array":
            return [a_value(service, schema["items"], depth + 1)] if depth < 6 else []
        case _:
            properties = schema.get("properties", {})
            names = properties if depth < 4 else schema.get("required", ())
            return {name: a_value(service, properties[name], depth + 1) for name in names}


def valid(operation: Operation) -> Call[Any]:
    """Make a call with every parameter and every property of the body."""
    values: dict[str, dict[str, Any]] = {"path": {}, "query": {}}
    for parameter in operation.parameters:
        values[parameter.location][parameter.name] = a_value(operation.service, parameter.schema)
    body = a_value(operation.service, operation.body_schema) if operation.body_schema else UNSET
    return Call(operation.operation_id, values["path"], values["query"], body)


def changed(call: Call[Any], where: str, name: str, value: object) -> Call[Any]:
    """Return the call with one value changed, or without it where the value is UNSET."""
    parts = {"path": call.path, "query": call.query, "body": call.body}
    part: dict[str, Any] = {**parts[where], name: value}  # type: ignore[dict-item]
    if value is UNSET:
        del part[name]
    parts[where] = part
    return Call(call.operation_id, **parts)  # type: ignore[arg-type]


def places(operation: Operation) -> Iterator[tuple[str, str, Mapping[str, Any], bool]]:
    """Name every parameter and every property of the body: where, name, schema, required."""
    for parameter in operation.parameters:
        yield parameter.location, parameter.name, resolve(operation.service, parameter.schema), parameter.required
    body = resolve(operation.service, operation.body_schema) if operation.body_schema else {}
    for name, schema in body.get("properties", {}).items():
        yield "body", name, resolve(operation.service, schema), name in body.get("required", ())


def test_there_are_109() -> None:
    assert len(OPERATIONS) == 109
    assert len({operation.operation_id for operation in OPERATIONS}) == 109


def test_the_json_is_what_the_yaml_says() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "generate_contract.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@each_operation
def test_a_valid_request_can_be_built_and_passes(operation: Operation) -> None:
    call = valid(operation)
    assert call.checked() is call
    assert call.method in ("GET", "POST", "PUT", "DELETE")
    assert call.url_path.startswith(f"/{operation.service}/")
    assert "{" not in call.url_path
    assert len(call.query_pairs) >= sum(value not in ([], {}) for value in call.query.values())
    assert (call.content is not None) == (operation.body_schema is not None)


@each_operation
def test_the_required_parts_alone_pass(operation: Operation) -> None:
    call = valid(operation)
    for where, name, _, required in places(operation):
        if not required and isinstance(call.body if where == "body" else {}, dict):
            call = changed(call, where, name, UNSET)
    assert call.problems() == []


@each_operation
def test_without_a_required_part_it_is_refused(operation: Operation) -> None:
    call = valid(operation)
    for where, name, _, required in places(operation):
        if required:
            with pytest.raises(WtsInvalidRequestError, match=repr(name)):
                changed(call, where, name, UNSET).checked()
    if operation.body_required:
        with pytest.raises(WtsInvalidRequestError, match="the body is missing"):
            Call(call.operation_id, call.path, call.query).checked()


@each_operation
@pytest.mark.parametrize("where", ["path", "query", "body"])
def test_with_an_unknown_name_it_is_refused(operation: Operation, where: str) -> None:
    call = valid(operation)
    if where == "body" and not isinstance(call.body, dict):
        call = Call(call.operation_id, call.path, call.query, {})
    with pytest.raises(WtsInvalidRequestError, match=r"unknown|not in the contract|has no body|not of type"):
        changed(call, where, "noSuchName", "x").checked()


def wrong_values(schema: Mapping[str, Any]) -> Iterator[object]:
    """Give values that do not fit a schema."""
    if not schema.keys() & {"type", "enum"}:
        return
    kinds = {schema["type"]} if isinstance(schema.get("type"), str) else set(schema.get("type", ()))
    if kinds and "object" not in kinds:
        yield {"a": {"b": 1}}
    if kinds and not kinds & {"string"}:
        yield "nonsense"
    if "enum" in schema:
        yield "NO_SUCH_VALUE"
    match schema.get("format"):
        case "uuid":
            yield from ("nonsense", ID + "0", ID.replace("-", ""), f"{{{ID}}}", "")
        case "date-time":
            yield from ("nonsense", "2026-03-01", "2026-03-01T12:00:00", "2026-13-01T12:00:00Z", "2026-03-01 12:00Z")
            yield from ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")
        case "email":
            yield from ("nonsense", "@", "a@", "@b", "a@b@c", "a b@c", " ")
        case "int32":
            yield from (2**31, 1e300, 1.5, True, "1")
        case "double":
            yield from (10**400, True, "1")


@each_operation
def test_with_a_value_that_does_not_fit_it_is_refused(operation: Operation) -> None:
    call = valid(operation)
    for where, name, schema, _ in places(operation):
        for value in wrong_values(schema):
            if isinstance(value, dict) and where == "path":
                continue
            wrong = changed(call, where, name, value)
            assert wrong.problems(), (where, name, value)


@each_operation
def test_a_refusal_quotes_no_value(operation: Operation) -> None:
    call = valid(operation)
    for where, name, schema, _ in places(operation):
        if schema.keys() & {"type", "enum"} and where != "path":
            secret = "5511999998888"
            problems = changed(call, where, name, [{"a": secret}]).problems()
            assert secret not in " ".join(problems)


@each_operation
def test_an_answer_may_hold_more_than_the_contract_knows(operation: Operation) -> None:
    if operation.answer_schema is not None:
        answer = a_value(operation.service, operation.answer_schema)
        assert check_answer(operation, answer) == []
        if isinstance(answer, dict):
            assert check_answer(operation, {**answer, "newProperty": {"a": 1}}) == []


@pytest.mark.parametrize(
    "moment", ["2026-03-01T12:00:00Z", "2026-03-01T12:00:00.1234567Z", "2026-03-01t12:00:00.1-03:00"]
)
def test_moments_of_the_contract_pass(moment: str) -> None:
    assert Call("list_sessions", query={"CreatedAt.After": moment}).problems() == []


def test_reads_are_gets_and_filters() -> None:
    reads = {operation.operation_id for operation in OPERATIONS if operation.effect == "read"}
    assert {operation.operation_id for operation in OPERATIONS if operation.method == "GET"} == reads - {
        "filter_contacts"
    }


def test_every_send_and_creation_acts_once() -> None:
    names = ("send_", "create_", "duplicate_")
    once = {operation.operation_id for operation in OPERATIONS if operation.effect == "once"}
    assert {o.operation_id for o in OPERATIONS if o.operation_id.startswith(names)} - once == {"send_typing"}


def test_thirteen_operations_have_the_limit_of_sends() -> None:
    assert sum(operation.send_limit for operation in OPERATIONS) == 13
