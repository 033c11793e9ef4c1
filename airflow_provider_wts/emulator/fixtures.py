"""The pytest fixture ``wts_emulator``; this module loads in every pytest run, so it imports nothing but pytest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_wts.emulator.running import Emulator


@pytest.fixture
def wts_emulator() -> Iterator[Emulator]:
    """Run a fresh WTS Chat emulator on a free port of this machine; see :mod:`airflow_provider_wts.emulator`."""
    from airflow_provider_wts.emulator.running import Emulator

    with Emulator() as emulator:
        yield emulator
