"""A client that sleeps without waiting, with rate limits of its own."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wts.api.budget import Budget
from airflow_provider_wts.api.client import WtsClient
from airflow_provider_wts.emulator.running import Emulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOKEN = "pn_secret_of_the_tests"


@pytest.fixture(scope="module")
def running_emulator() -> Iterator[Emulator]:
    with Emulator(token=TOKEN) as running:
        yield running


@pytest.fixture
def emulator(running_emulator: Emulator) -> Emulator:
    """One emulator for the tests of a module, as new for each."""
    running_emulator.reset()
    return running_emulator


@pytest.fixture
def sleeps() -> list[float]:
    """The seconds that the client meant to sleep."""
    return []


@pytest.fixture
def client_of(sleeps: list[float]) -> Iterator[Callable[..., WtsClient]]:
    """Make clients that note their sleeps in place of sleeping."""
    made: list[WtsClient] = []

    def client_of(url: str, **settings: Any) -> WtsClient:
        settings = {"timeout": 10.0, "budget": Budget(uuid.uuid4().hex), "sleep": sleeps.append} | settings
        made.append(WtsClient(TOKEN, base_url=url, **settings))
        return made[-1]

    yield client_of
    for client in made:
        client.close()
