"""The connection form, as each Airflow's own data has it, field by field against the one source."""

from __future__ import annotations

import pytest
from airflow_version import AIRFLOW_VERSION

from airflow_provider_wts.provider_info import CONNECTION_FIELDS, UI_FIELD_BEHAVIOUR

AIRFLOW_3 = AIRFLOW_VERSION >= (3,)


@pytest.fixture(scope="module")
def form(airflow_home):
    """The form as the web interface of Airflow 3 gets it."""
    if not AIRFLOW_3:
        pytest.skip("Airflow 2.11 has no such endpoint")
    from airflow.api_fastapi.app import create_app, purge_cached_app
    from fastapi.testclient import TestClient

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "True")
        purge_cached_app()
        with TestClient(create_app()) as client:
            token = client.get("/auth/token").json()["access_token"]
            answer = client.get("/ui/connections/hook_meta", headers={"Authorization": f"Bearer {token}"})
        purge_cached_app()
    assert answer.status_code == 200, answer.text
    (found,) = (one for one in answer.json() if one["connection_type"] == "wts")
    return found


def test_endpoint_names_the_type(form):
    assert form["hook_name"] == "WTS Chat"
    assert form["default_conn_name"] in ("wts_default", None)


@pytest.mark.parametrize("name", CONNECTION_FIELDS)
def test_endpoint_has_each_field(form, name):
    source = CONNECTION_FIELDS[name]
    field = form["extra_fields"][name]
    assert field["schema"]["title"] == source["label"]
    assert field["description"] == source["description"]
    # A default of no is no default: the form of Airflow 3.1 shows an unset box for both.
    assert bool(field["value"]) is bool(source["schema"].get("default"))
    assert field["schema"]["type"] == source["schema"]["type"]
    if AIRFLOW_VERSION >= (3, 2):
        for bound in ("minimum", "maximum"):
            assert field["schema"].get(bound) == source["schema"].get(bound)


def test_endpoint_has_no_other_field(form):
    assert set(form["extra_fields"]) == set(CONNECTION_FIELDS)


def test_endpoint_labels_and_hides_standard_fields(form):
    standard = form["standard_fields"]
    shown = {"schema" if name == "url_schema" else name: field for name, field in standard.items() if field}
    assert {name for name, field in shown.items() if field["hidden"]} == set(UI_FIELD_BEHAVIOUR["hidden-fields"])
    titles = {name: field["title"] for name, field in shown.items() if field["title"]}
    assert titles == UI_FIELD_BEHAVIOUR["relabeling"]
    placeholders = {name: field["placeholder"] for name, field in shown.items() if field["placeholder"]}
    assert placeholders == UI_FIELD_BEHAVIOUR["placeholders"]


@pytest.fixture(scope="module")
def manager(airflow_home):
    """What Airflow 2.11 builds the form from."""
    if AIRFLOW_3:
        pytest.skip("Airflow 3 builds the form from the endpoint's data")
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    manager.initialize_providers_hooks()
    return manager


@pytest.mark.parametrize("name", CONNECTION_FIELDS)
def test_manager_has_each_field(manager, name):
    source = CONNECTION_FIELDS[name]
    widget = manager.connection_form_widgets[f"extra__wts__{name}"]
    assert widget.field_name == name
    assert widget.package_name == "airflow-provider-wts"
    made = widget.field.kwargs
    assert str(widget.field.args[0]) == source["label"]
    assert made["description"] == source["description"]
    assert made.get("default") == source["schema"].get("default")
    kinds = {"string": "StringField", "integer": "IntegerField", "boolean": "BooleanField"}
    assert widget.field.field_class.__name__ == kinds[source["schema"]["type"][0]]
    bounds = [(check.min, check.max) for check in made.get("validators", ()) if hasattr(check, "min")]
    has_bounds = "minimum" in source["schema"] or "maximum" in source["schema"]
    assert bounds == [(source["schema"].get("minimum"), source["schema"].get("maximum"))] * has_bounds


def test_manager_has_no_other_field(manager):
    ours = {name for name in manager.connection_form_widgets if name.startswith("extra__wts__")}
    assert ours == {f"extra__wts__{name}" for name in CONNECTION_FIELDS}


def test_manager_labels_and_hides_standard_fields(manager):
    behaviour = manager.field_behaviours["wts"]
    assert behaviour["hidden_fields"] == UI_FIELD_BEHAVIOUR["hidden-fields"]
    assert behaviour["relabeling"] == UI_FIELD_BEHAVIOUR["relabeling"]
    assert behaviour["placeholders"] == UI_FIELD_BEHAVIOUR["placeholders"]
