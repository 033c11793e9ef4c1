"""The version of Airflow that the tests run on."""

from __future__ import annotations

from importlib.metadata import version

from packaging.version import Version

#: As it is spelled, such as ``3.4.0b2``.
AIRFLOW = version("apache-airflow")

#: As a tuple to compare with; a pre-release counts as what it becomes.
AIRFLOW_VERSION = Version(AIRFLOW).release
