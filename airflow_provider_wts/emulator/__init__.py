"""A local WTS Chat service over real HTTP: to rehearse a campaign without an account, and to test faults.

On the command line: ``python -m airflow_provider_wts.emulator``. In Python::

    from airflow_provider_wts.emulator import Emulator

    with Emulator() as emulator:
        requests.get(f"{emulator.url}/chat/v1/channel", headers={"Authorization": f"Bearer {emulator.token}"})

``emulator.url`` in a browser shows what customers see. Under pytest the fixture ``wts_emulator`` gives a fresh one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.faults import Fault
    from airflow_provider_wts.emulator.running import Emulator
    from airflow_provider_wts.emulator.service import RecordedRequest
    from airflow_provider_wts.emulator.state import Behaviour, Delivery
    from airflow_provider_wts.emulator.switches import Switches

__all__ = ["Behaviour", "Delivery", "Emulator", "Fault", "RecordedRequest", "Switches"]

_MODULES = {
    "Behaviour": "state",
    "Delivery": "state",
    "Emulator": "running",
    "Fault": "faults",
    "RecordedRequest": "service",
    "Switches": "switches",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: the pytest plugin is in this package, and must load fast."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
