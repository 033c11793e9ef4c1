"""Docstrings of what users write into a DAG: every parameter is told, and "(templated)" exactly where it holds."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowOptionalProviderFeatureException,
    BaseNotifier,
    BaseOperator,
)
from airflow.triggers.base import BaseTrigger

import airflow_provider_wts

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = ("operators", "sensors", "triggers", "notifications")

# The operator's own method has the name of the parameter, so the attribute goes by another one.
PARAMETER_OF_FIELD = {"is_dry_run": "dry_run"}


def classes() -> Iterator[type]:
    found: dict[str, type] = {}
    for package in PACKAGES:
        if find_spec(f"airflow_provider_wts.{package}") is None:
            continue
        folder = importlib.import_module(f"airflow_provider_wts.{package}")
        for module in pkgutil.iter_modules(folder.__path__, f"{folder.__name__}."):
            try:
                loaded = importlib.import_module(module.name)
            except AirflowOptionalProviderFeatureException:
                # It needs a later Airflow.
                continue
            for name, value in vars(loaded).items():
                ours = inspect.isclass(value) and value.__module__.startswith(airflow_provider_wts.__name__)
                if ours and not name.startswith("_") and issubclass(value, (BaseOperator, BaseTrigger, BaseNotifier)):
                    found[value.__qualname__] = value
    return iter(sorted(found.values(), key=lambda one: one.__qualname__))


def lineage(cls: type) -> list[type]:
    return [one for one in cls.__mro__ if one.__module__.startswith(airflow_provider_wts.__name__)]


def told(cls: type) -> dict[str, str]:
    """The text of each ``:param:`` of a class's own docstring."""
    doc = inspect.cleandoc(cls.__dict__.get("__doc__") or "")
    fields = re.split(r"^:(?=\w)", doc, flags=re.MULTILINE)[1:]
    params = (re.match(r"param (\w+):(.*)", field, re.DOTALL) for field in fields)
    return {match[1]: " ".join(match[2].split()) for match in params if match}


def taken(cls: type) -> list[str]:
    """The parameters that a class's own ``__init__`` names."""
    own = cls.__dict__.get("__init__")
    if own is None:
        return []
    # Airflow wraps the constructors of operators.
    parameters = inspect.signature(inspect.unwrap(own)).parameters.values()
    return [one.name for one in parameters if one.name != "self" and one.kind is not one.VAR_KEYWORD]


def is_told_anywhere(cls: type, name: str) -> bool:
    return any(name in told(one) for one in lineage(cls))


ALL = list(classes())


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__qualname__)
def test_every_parameter_is_told(cls):
    # What a private base takes is told by the class that a user sees; what a public base takes is told there.
    own = {name for one in lineage(cls) if one is cls or one.__name__.startswith("_") for name in taken(one)}
    missing = sorted(own - set(told(cls)))
    assert not missing, f"{cls.__qualname__} does not tell {missing}."
    everything = {name for one in lineage(cls) for name in taken(one)}
    nowhere = sorted(name for name in everything if not is_told_anywhere(cls, name))
    assert not nowhere, f"Neither {cls.__qualname__} nor its bases tell {nowhere}."


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__qualname__)
def test_nothing_is_told_that_is_not_taken(cls):
    takes = {name for one in lineage(cls) for name in taken(one)} | {"kwargs"}
    unknown = sorted(set(told(cls)) - takes)
    assert not unknown, f"{cls.__qualname__} tells {unknown}, which it does not take."


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__qualname__)
def test_templated_is_said_where_it_holds(cls):
    fields = {PARAMETER_OF_FIELD.get(field, field) for field in getattr(cls, "template_fields", ())}
    said = {name for name, text in told(cls).items() if re.search(r"\(templated(, deep)?\)", text)}
    ours = set(told(cls)) - {"kwargs"}
    assert said == fields & ours, f"{cls.__qualname__}: {sorted(said ^ (fields & ours))}"


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__qualname__)
def test_every_template_field_is_taken(cls):
    takes = {name for one in lineage(cls) for name in taken(one)}
    fields = {PARAMETER_OF_FIELD.get(field, field) for field in getattr(cls, "template_fields", ())}
    assert fields <= takes


@pytest.mark.parametrize("cls", [cls for cls in ALL if issubclass(cls, BaseOperator)], ids=lambda cls: cls.__qualname__)
def test_a_docstring_says_what_it_calls(cls):
    doc = inspect.cleandoc(cls.__doc__)
    if not doc.startswith("Base of "):
        assert re.search(r"^(Calls|Waits|Call any)\b", doc, re.MULTILINE)
