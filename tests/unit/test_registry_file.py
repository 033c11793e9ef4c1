"""The file for the provider registry says what the provider info says."""

from __future__ import annotations

import importlib
import runpy
from pathlib import Path

import pytest
import yaml
from airflow_version import AIRFLOW_VERSION

from airflow_provider_wts import get_provider_info

ROOT = Path(__file__).resolve().parent.parent.parent
FILE = ROOT / ".airflow-registry.yaml"
INFO = get_provider_info()


@pytest.fixture(scope="module")
def registry():
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def test_it_names_the_package(registry):
    assert registry["package-name"] == INFO["package-name"]
    assert registry["display-name"] == INFO["name"]
    assert registry["docs-url"].startswith("https://")


@pytest.mark.parametrize("kind", ["operators", "sensors", "hooks", "triggers"])
def test_it_lists_the_modules_of_the_provider_info(registry, kind):
    listed = {entry["module"].rpartition(".")[0] for entry in registry[kind]}
    assert listed == {module for entry in INFO[kind] for module in entry["python-modules"]}


@pytest.mark.parametrize("kind", ["notifications", "extra-links"])
def test_it_lists_the_classes_of_the_provider_info(registry, kind):
    assert [entry["module"] for entry in registry.get(kind, [])] == INFO.get(kind, [])


@pytest.mark.skipif(AIRFLOW_VERSION < (3,), reason="some modules need Airflow 3")
def test_it_is_what_the_tool_makes_of_it(registry):
    made = runpy.run_path(str(ROOT / "tools" / "generate_registry.py"))["rendered"]()
    assert made == FILE.read_text(encoding="utf-8"), "run: python tools/generate_registry.py"
    for kind in ("operators", "sensors", "hooks", "triggers", "notifications"):
        for entry in registry.get(kind, []):
            module, _, name = entry["module"].rpartition(".")
            assert hasattr(importlib.import_module(module), name)
            assert entry["description"]
