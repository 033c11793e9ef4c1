"""Long values in every parameter of every operator and sensor: the error is typed, and quotes them shortened."""

from __future__ import annotations

import inspect
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG
from test_malformed_answers import PARAMETERS, TYPED, account, clock, ids, public, sent_campaign
from test_nothing_given import Runs

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_wts.emulator.running import Emulator

__all__ = ["account", "clock", "ids"]

#: The most characters of an error, and of a line of the log.
MOST = 2000
LONG = "x" * 100_000
VALUES = [
    *(LONG, f"a/{LONG}", f"https://x.com/{LONG}", f"+55 11 99999-0001{LONG}", "9" * 4000, 10**4000, f'{{"a": "{LONG}'),
    *([LONG], {LONG: LONG}, {LONG: None}, [{"name": LONG, "to": LONG, LONG: LONG}]),
]
OWNERS = public()


@pytest.fixture
def runs(
    account: Emulator, ids: dict[str, str], context: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Runs:
    connection = {"conn_type": "wts", "host": account.url, "password": account.token}
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))
    # A long pace is a long pause, of which no second is real.
    monkeypatch.setattr("airflow_provider_wts.sending.clock._CHECK_INTERVAL", 86_400.0)
    places = {**ids, "campaign": sent_campaign(ids, tmp_path / "campaign.jsonl")}
    return Runs(account, places, context, tmp_path)


def parameters_of(owner: type[Any]) -> set[str]:
    own = {one for one in inspect.signature(owner.__init__).parameters if one.startswith("row_")}
    return own | {"dry_run" if field == "is_dry_run" else field for field in owner.template_fields}


def _dag() -> DAG:
    return DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_no_error_quotes_a_long_value_whole(
    name: str, runs: Runs, context: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    found: dict[tuple[str, int, str], str] = {}
    for field in sorted(parameters_of(OWNERS[name])):
        for number, value in enumerate(VALUES):
            caplog.clear()
            error = ""
            try:
                OWNERS[name](task_id="t", dag=_dag(), **{**runs.given(name, field), field: value}).execute(context)
            except TYPED as raised:
                error = str(raised)
            except Exception as raised:
                found[field, number, "untyped"] = f"{type(raised).__name__}: {str(raised)[:200]}"
            lines = [record.getMessage() for record in caplog.records if record.name.startswith("airflow")]
            if longest := max((error, *lines), key=len)[MOST:]:
                found[field, number, str(MOST + len(longest))] = f"{error[:150]} ... {error[-150:]}"
    assert not found
