"""Former place of :mod:`airflow_provider_wts.api.addresses`."""

from airflow_provider_wts.api.addresses import EXAMPLE, looks_like_number, number, recipient

__all__ = ["EXAMPLE", "looks_like_number", "number", "recipient"]
