"""What our modules add to a DAG file's import.

Airflow imports each DAG file again and again, so all of our operators and sensors together must cost next to nothing.
"""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from airflow_version import AIRFLOW_VERSION

BENCHMARK = runpy.run_path(str(Path(__file__).parent.parent / "benchmarks" / "import_cost.py"))
HEAVY = (
    *("requests", "urllib3", "limits", "jsonschema", "tenacity", "phonenumbers", "airflow.triggers"),
    *("airflow.stats", "airflow.sdk.observability", "airflow_provider_wts.hooks.metrics"),
)

pytestmark = pytest.mark.skipif(AIRFLOW_VERSION < (3,), reason="airflow.sdk is Airflow 3's")


@pytest.fixture(scope="module")
def first(airflow_home) -> dict:
    """One measurement; it also leaves the bytecode warm."""
    return BENCHMARK["measure"]()


def test_nothing_heavy_comes_along(first):
    assert {"airflow_provider_wts.operators.chatbot", "airflow_provider_wts.sensors.session"} <= set(first["imported"])
    assert not [name for name in first["added"] if f"{name}.".startswith(tuple(f"{heavy}." for heavy in HEAVY))]


def test_the_types_of_answers_stay_out(first):
    # A thousand lines of TypedDicts are for the type checker.
    assert "airflow_provider_wts.api.types" not in first["added"]
