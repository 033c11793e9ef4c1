"""What the unit tests share: an emulator, a connection that leads to it, and the context of a task."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from airflow_provider_wts.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def wts_connection(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """Let ``wts_default`` lead to an emulator, and return the emulator."""
    connection = {"conn_type": "wts", "host": emulator.url, "password": emulator.token}
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))
    return emulator


@pytest.fixture
def context() -> dict[str, Any]:
    """The context of a task, as far as operators look into it."""
    return {"ti": mock.Mock()}
