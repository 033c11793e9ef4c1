"""Whatever comes, the answer is one of the contract: schemathesis makes requests of all operations, fitting and not."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from emulator_api import Api
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation.modes import GenerationMode
from test_emulator_all_operations import World, path_values

from airflow_provider_wts.api.contract import SERVICES, document, operations
from airflow_provider_wts.api.contract.check import check_answer
from airflow_provider_wts.emulator.running import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import requests

    from airflow_provider_wts.api.contract import Operation

EXAMPLES = 6
ENVELOPE = {"id", "httpStatusCode", "error", "date", "key", "text"}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One account for all requests, in which every object exists that one can name."""
    switches = {"rate_limits": False, "sync_gives_up_after": 0.01, "webhooks_to": "none"}
    with Emulator(switches=switches) as emulator:
        yield World(Api(emulator))


def plain(value: Any) -> Any:
    """Return a copy of a read-only document."""
    return copy.deepcopy(dict(value))


OPERATIONS = {
    result.ok().definition.raw["operationId"]: result.ok()
    for service in SERVICES
    for result in schemathesis.openapi.from_dict(plain(document(service))).get_all_operations()
}


@st.composite
def requests_of(draw: st.DrawFn, operation_id: str, values: Mapping[str, Any], path: Mapping[str, str]) -> Any:
    """Make a request; often it names objects that exist, since nothing but a 'not found' is behind the others."""
    mode = draw(st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE]))
    case = draw(OPERATIONS[operation_id].as_strategy(generation_mode=mode))
    if path and draw(st.integers(0, 3)):
        case.path_parameters = dict(path)
    for holder in (case.query, case.body):
        if isinstance(holder, dict):
            for name in holder.keys() & values.keys():
                if draw(st.booleans()):
                    holder[name] = values[name]
    return case


def wrong_with(operation: Operation, answer: requests.Response) -> list[str]:
    """Say what in an answer is not of the contract."""
    if answer.status_code == 200:
        if operation.answer_schema is None:
            return ["an answer where none is declared"] if answer.content else []
        return list(check_answer(operation, answer.json()))
    body = answer.json()
    missing = ENVELOPE - body.keys()
    return [f"{answer.status_code} lacks {missing}"] if missing or body["key"] == "INTERNAL_ERROR" else []


# What deletes comes last: the others need what it deletes.
IN_ORDER = sorted(operations(), key=lambda name: (operations()[name].method == "DELETE", name))


@pytest.mark.parametrize("operation_id", IN_ORDER)
def test_every_answer_is_one_of_the_contract(operation_id: str, world: World) -> None:
    operation = operations()[operation_id]
    path = path_values(operation, world)

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=requests_of(operation_id, world.values, path))
    def ask(case: Any) -> None:
        answer = case.call(base_url=world.api.emulator.url, session=world.api.session, timeout=10)
        assert wrong_with(operation, answer) == [], (answer.request.body, answer.request.url, answer.text)

    ask()
