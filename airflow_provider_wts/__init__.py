"""Apache Airflow provider for WTS Chat, the customer-service platform for WhatsApp, Instagram and Messenger."""

from __future__ import annotations

from typing import Any

from airflow_provider_wts import moved as moved

__version__ = "0.2.0"


def get_provider_info() -> dict[str, Any]:
    """Return what Airflow shows of this provider; called through the ``apache_airflow_provider`` entry point."""
    from copy import deepcopy

    from airflow_provider_wts.provider_info import PROVIDER_INFO

    # Airflow writes into what it gets.
    return deepcopy(PROVIDER_INFO)
