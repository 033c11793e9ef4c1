"""What the tests of the emulator share."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from emulator_api import Api

# The plugin is registered by the installed distribution; a plain checkout has only this name.
from airflow_provider_wts.emulator.fixtures import wts_emulator  # noqa: F401
from airflow_provider_wts.emulator.running import Emulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def api(emulator: Emulator) -> Api:
    return Api(emulator)


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], Any]:
    """Wait until something is true, at most five real seconds; return what it was."""

    def wait(condition: Callable[[], Any]) -> Any:
        end = time.monotonic() + 5
        while not (result := condition()):
            assert time.monotonic() < end, "It did not happen within 5 seconds."
            time.sleep(0.005)
        return result

    return wait
