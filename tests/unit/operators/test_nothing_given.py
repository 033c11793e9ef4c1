"""What renders to nothing is not given: every templated parameter of every operator, sensor and the notifier."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG
from test_malformed_answers import PARAMETERS, public

from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.hooks.templates import defaults_of
from airflow_provider_wts.notifications.wts import WtsNotifier

NOTHING = ["{{ '' }}", "{{ '  ' }}", "{{ none }}", "{{ 'None' }}", "{{ params.nan }}"]
OWNERS: dict[str, Any] = {**public(), "WtsNotifier": WtsNotifier}
FIELDS = [(name, field) for name, owner in sorted(OWNERS.items()) for field in owner.template_fields]
GIVEN = {**PARAMETERS, "WtsNotifier": {"to": "x", "text": "x"}}


def test_all_operators_and_parameters_are_covered() -> None:
    assert len(OWNERS) >= 50
    assert len(FIELDS) >= 450


@pytest.mark.parametrize("native", [False, True], ids=["text", "native"])
@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_a_template_that_renders_to_nothing(name: str, field: str, native: bool) -> None:
    owner = OWNERS[name]
    defaults = defaults_of(owner)
    dag = DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), render_template_as_native_obj=native)
    task = {} if owner is WtsNotifier else {"task_id": "t", "dag": dag}
    made = owner(**GIVEN[name], **task)
    for template in NOTHING:
        setattr(made, field, template)
        made.render_template_fields({"dag": dag, "params": {"nan": float("nan")}})
        rendered = getattr(made, field)
        if field in owner.never_blank:
            assert rendered == ""
            if field in defaults:
                with pytest.raises(WtsInvalidRequestError, match="was given and has no value"):
                    made.refuse_vanished()
        elif field in defaults:
            assert rendered is defaults[field]
