"""What the provider says of itself is what Airflow can read, and nothing is left out."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from pathlib import Path
from types import ModuleType

import airflow
import jsonschema
import pytest
from airflow.providers.common.compat.sdk import (
    AirflowOptionalProviderFeatureException,
    BaseHook,
    BaseNotifier,
    BaseOperator,
    BaseOperatorLink,
)
from airflow.triggers.base import BaseTrigger
from airflow_version import AIRFLOW_VERSION

import airflow_provider_wts
from airflow_provider_wts import __version__, get_provider_info

INFO = get_provider_info()
SCHEMAS = Path(airflow.__file__).parent


def test_it_fits_the_schema_of_provider_infos():
    jsonschema.validate(INFO, json.loads((SCHEMAS / "provider_info.schema.json").read_text()))


def test_it_fits_the_schema_of_provider_yaml():
    # The connection form is described only there. The keys below belong to the release process of Apache's own
    # providers, which the file is written for.
    path = SCHEMAS / "provider.yaml.schema.json"
    if not path.exists():
        pytest.skip("this Airflow does not ship provider.yaml.schema.json")
    schema = json.loads(path.read_text())
    schema["required"] = [key for key in schema["required"] if key in INFO]
    # Airflow before 3.2 has no commands of providers, and passes over them.
    info = {key: value for key, value in INFO.items() if key != "cli" or "cli" in schema["properties"]}
    jsonschema.validate(info, schema)


# Modules that need a later Airflow, and say so when they are imported.
LATER = {"airflow_provider_wts.triggers.events": (3, 0)}


def imported(name: str) -> ModuleType:
    """Import a module; one that this Airflow is too old for is empty."""
    if LATER.get(name, (0,)) <= AIRFLOW_VERSION:
        return importlib.import_module(name)
    with pytest.raises(AirflowOptionalProviderFeatureException, match="needs Airflow"):
        importlib.import_module(name)
    return ModuleType(name)


def classes_of(package: str, base: type) -> dict[str, type]:
    """Return the public classes of a base that a package defines, by their full names.

    A class that others of ours derive from is a base; DAG authors use the leaves.
    """
    try:
        folder = importlib.import_module(f"airflow_provider_wts.{package}")
    except ModuleNotFoundError:
        return {}
    found: dict[str, type] = {}
    for module_info in pkgutil.iter_modules(folder.__path__, f"{folder.__name__}."):
        for name, value in vars(imported(module_info.name)).items():
            if inspect.isclass(value) and issubclass(value, base) and value.__module__ == module_info.name:
                found[f"{module_info.name}.{name}"] = value
    bases = {parent for one in found.values() for parent in one.__mro__[1:]}
    return {
        name: one for name, one in found.items() if one not in bases and not name.rpartition(".")[2].startswith("_")
    }


def listed_modules(key: str) -> set[str]:
    return {module for entry in INFO.get(key, []) for module in entry["python-modules"]}


@pytest.mark.parametrize(
    ("key", "package", "base"),
    [
        ("hooks", "hooks", BaseHook),
        ("operators", "operators", BaseOperator),
        ("sensors", "sensors", BaseOperator),
        ("triggers", "triggers", BaseTrigger),
    ],
)
def test_every_public_class_is_in_a_listed_module(key, package, base):
    # Defined there, or imported there by its name: that is where a DAG author takes it from.
    public = classes_of(package, base)
    modules = {name: imported(name) for name in listed_modules(key) if LATER.get(name, (0,)) <= AIRFLOW_VERSION}
    offered = {
        name: [one for one in public.values() if one in vars(module).values()] for name, module in modules.items()
    }
    assert set(public.values()) - {one for ones in offered.values() for one in ones} == set()
    # And no module is listed that offers nothing.
    assert [name for name, ones in offered.items() if not ones] == []


@pytest.mark.parametrize(
    ("key", "package", "base"),
    [("extra-links", "links", BaseOperatorLink), ("notifications", "notifications", BaseNotifier)],
)
def test_classes_are_listed_exactly(key, package, base):
    assert set(INFO.get(key, [])) == set(classes_of(package, base))


def test_hooks_of_connection_types_exist():
    for connection_type in INFO["connection-types"]:
        module, _, name = connection_type["hook-class-name"].rpartition(".")
        hook = getattr(importlib.import_module(module), name)
        assert hook.conn_type == connection_type["connection-type"]
        assert hook.hook_name == connection_type["hook-name"]


def test_packages_are_listed_nowhere_else():
    # A new kind of thing in the package needs its line in the provider info, and its case above.
    known = {
        "api",
        "campaigns",
        "cli",
        "emulator",
        "hooks",
        "links",
        "notifications",
        "operators",
        "sending",
        "sensors",
        "triggers",
        "waiting",
    }
    found = {module.name for module in pkgutil.iter_modules(airflow_provider_wts.__path__) if module.ispkg}
    assert found <= known


@pytest.fixture
def airflow_says(airflow_home, capsys):
    """Run ``airflow providers ...`` and return what it prints."""
    from airflow.cli import cli_parser

    def ask(*arguments: str) -> list[dict[str, str]]:
        parsed = cli_parser.get_parser().parse_args(["providers", *arguments, "--output", "json"])
        capsys.readouterr()
        parsed.func(parsed)
        printed = capsys.readouterr().out
        # Warnings may stand before the answer.
        return json.loads(printed[printed.index("[{") :])

    return ask


def test_the_command_line_shows_it(airflow_says):
    providers = {row["package_name"]: row for row in airflow_says("list")}
    assert providers["airflow-provider-wts"]["version"] == __version__
    assert "WTS Chat" in providers["airflow-provider-wts"]["description"]


def test_the_command_line_shows_its_parts(airflow_says):
    shown = json.dumps(airflow_says("get", "airflow-provider-wts", "--full"))
    for key in ("operators", "sensors", "triggers", "hooks"):
        for module in listed_modules(key):
            assert module in shown
    for link in INFO["extra-links"]:
        assert link in shown
    assert "airflow_provider_wts.hooks.wts.WtsHook" in shown


def test_the_command_line_shows_the_connection_type(airflow_says):
    (hook,) = (row for row in airflow_says("hooks") if row["connection_type"] == "wts")
    assert hook["class"] == "airflow_provider_wts.hooks.wts.WtsHook"
    assert hook["conn_id_attribute_name"] == "wts_conn_id"
    assert hook["package_name"] == "airflow-provider-wts"


def test_the_command_line_shows_the_link(airflow_says):
    assert {"extra_link_class_name": "airflow_provider_wts.links.session.WtsSessionLink"} in airflow_says("links")
