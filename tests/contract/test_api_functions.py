"""Functions that build calls about panels, cards and sessions: all of them are tried, and what they build fits."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest
import test_api_functions_panels
import test_api_functions_sessions
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_wts.api import contract, panels, sessions
from airflow_provider_wts.api.wire import UNSET

if TYPE_CHECKING:
    from airflow_provider_wts.api.call import Call

PANELS, SESSIONS = test_api_functions_panels.FUNCTIONS, test_api_functions_sessions.FUNCTIONS
FUNCTIONS = PANELS | SESSIONS


@pytest.mark.parametrize(("module", "tried"), [(panels, PANELS), (sessions, SESSIONS)], ids=["panels", "sessions"])
def test_every_function_of_the_module_is_tried(module, tried):
    functions = {
        name
        for name, value in inspect.getmembers(module, inspect.isfunction)
        if value.__module__ == module.__name__ and not name.startswith("_")
    }
    assert functions == set(tried)
    assert functions <= set(contract.operations())


@pytest.mark.parametrize("operation_id", FUNCTIONS)
@settings(deadline=None)
@given(data=st.data())
def test_a_call_fits_the_contract(operation_id, data):
    function, needed, optional = FUNCTIONS[operation_id]
    arguments = [data.draw(strategy) for strategy in needed]
    options = data.draw(st.fixed_dictionaries({}, optional=optional))
    call: Call[Any] = function(*arguments, **options)
    assert call.operation_id == operation_id
    assert call.problems() == []
    assert call.url_path.startswith("/crm/" if operation_id in PANELS else "/chat/")


@pytest.mark.parametrize("operation_id", FUNCTIONS)
@settings(deadline=None)
@given(data=st.data())
def test_what_is_not_given_is_left_out(operation_id, data):
    function, needed, optional = FUNCTIONS[operation_id]
    arguments = [data.draw(strategy) for strategy in needed]
    given_nothing = function(*arguments)
    given_not_given = function(*arguments, **dict.fromkeys(optional, UNSET))
    assert given_nothing.content == given_not_given.content
    assert given_nothing.query_pairs == given_not_given.query_pairs
