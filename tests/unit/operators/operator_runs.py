"""Runs of single operators, and the requests that they make."""

from __future__ import annotations

from typing import Any


def run(operator_class: type, context: Any, **parameters: Any) -> Any:
    return operator_class(task_id="task", **parameters).execute(context)


def sent(emulator: Any, operation_id: str) -> Any:
    """Return the only request of an operation; it must fit the contract."""
    (request,) = emulator.requests_of(operation_id)
    assert request.violations == []
    assert request.status == 200
    return request
