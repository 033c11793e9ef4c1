"""What renders to nothing is not given: every templated parameter of every operator, sensor and the notifier.

Every operator is also run: its requests are those of a task without the parameter, and a guard is refused.
"""

from __future__ import annotations

import inspect
import json
import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from airflow.exceptions import AirflowException
from airflow.providers.common.compat.sdk import DAG
from test_malformed_answers import PARAMETERS, account, clock, ids, public

from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError
from airflow_provider_wts.hooks.templates import defaults_of
from airflow_provider_wts.notifications.wts import WtsNotifier

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_wts.emulator.running import Emulator

__all__ = ["account", "clock", "ids"]

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
                with pytest.raises(WtsInvalidRequestError, match="must not be blank"):
                    made.refuse_vanished()
        elif field in defaults:
            assert rendered is defaults[field]


# The outcome of a campaign needs one that has ended: test_outcome.py runs it.
OPERATORS = sorted(name for name in PARAMETERS if name.endswith("Operator") and name != "WtsCampaignOutcomeOperator")
# Parameters with which each operator succeeds, however often it runs.
USUAL: dict[str, dict[str, Any]] = {
    "WtsSendChatbotOperator": {"exclude_tags": ["Inadimplente"]},
    "WtsSendChatbotBatchOperator": {"exclude_tags": ["Inadimplente"]},
    "WtsSendTextBatchOperator": {"exclude_tags": ["Inadimplente"]},
    "WtsUpdateCardOperator": {"step": "Feito"},
}
# What differs from run to run: times, and ids of files that are uploaded.
_CHANGING = re.compile(r'\d{4}-\d\d-\d\dT[\d:.]+Z|(?<="fileIdOrUrl":")[0-9a-f-]{36}')


class Runs:
    """Runs operators as tasks, and returns what each asked of the API and how it ended."""

    def __init__(self, account: Emulator, ids: dict[str, str], context: dict[str, Any], folder: Path) -> None:
        self._account, self._ids, self._context, self._folder = account, ids, context, folder
        self.connection: dict[str, Any] = {"conn_type": "wts", "host": account.url, "password": account.token}
        self.count = 0

    def given(self, name: str, without: str) -> dict[str, Any]:
        usual = {**PARAMETERS[name], **USUAL.get(name, {})}
        return {key: self._filled(value) for key, value in usual.items() if key != without}

    def _filled(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._filled(item) for item in value]
        self.count += 1
        places = {**self._ids, "folder": f"file://{self._folder}/{self.count}"}
        return re.sub(r"^\{(\w+)\}$", lambda found: places[found[1]], value) if isinstance(value, str) else value

    def run(self, name: str, field: str = "", template: str | None = None) -> tuple[list[str], str]:
        """Run an operator without one of its parameters, or with a template in its place."""
        # One operator makes more requests in all its runs than an account may in five minutes.
        self.connection["extra"] = {"rate_limit_key": f"{name} {field}"}
        os.environ["AIRFLOW_CONN_WTS_DEFAULT"] = json.dumps(self.connection)
        dag = DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC))
        operator = OWNERS[name](task_id="t", dag=dag, **self.given(name, field))
        if template is not None:
            setattr(operator, field, template)
        operator.render_template_fields({"dag": dag, "params": {"nan": float("nan")}})
        before, error = len(self._account.requests), ""
        try:
            operator.execute(self._context)
        except (WtsError, AirflowException) as raised:
            error = str(raised)
        return sorted(map(_asked, self._account.requests[before:])), error


def _asked(request: Any) -> str:
    if request.operation_id == "save_file":
        return "save_file"
    asked = json.dumps([request.operation_id, request.path, request.query, request.raw_body.decode()])
    return _CHANGING.sub("...", asked.replace("\\", ""))


@pytest.fixture
def runs(
    account: Emulator, ids: dict[str, str], context: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Runs:
    # Each run writes its own; this restores what was there.
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", "")
    return Runs(account, ids, context, tmp_path)


@pytest.mark.parametrize("name", OPERATORS)
def test_a_task_asks_what_it_asks_without_the_parameter(name: str, runs: Runs) -> None:
    owner = OWNERS[name]
    asked, error = runs.run(name)
    assert not error
    assert asked
    required = {one.name for one in inspect.signature(owner).parameters.values() if one.default is one.empty}
    for field in sorted(set(owner.template_fields) & defaults_of(owner).keys() - owner.never_blank - required):
        asked, error = runs.run(name, field)
        for template in NOTHING[:4]:
            again, other = runs.run(name, field, template)
            assert again == asked, (field, template)
            # What is refused before any request is refused with the same words.
            assert asked or other == error, (field, template)


@pytest.mark.parametrize("name", OPERATORS)
def test_a_task_whose_guard_is_blank_asks_nothing(name: str, runs: Runs) -> None:
    owner = OWNERS[name]
    for field in sorted(owner.never_blank & defaults_of(owner).keys()):
        for template in (*NOTHING[:4], "{{ [] }}"):
            asked, error = runs.run(name, field, template)
            parameter = "dry_run" if field == "is_dry_run" else field
            assert f"{parameter}: must not be blank" in error, (field, template)
            assert asked == []
