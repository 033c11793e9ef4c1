"""Checks rendered parameters: what a template left behind becomes what the API takes, or a clear error.

A template renders to text, unless the DAG renders native objects. So numbers, yes/no, lists and objects come as
themselves or as text, and mean the same. ``None`` and :data:`~airflow_provider_wts.api.call.NOT_GIVEN` pass through,
but in :mod:`~airflow_provider_wts.operators.parameters.filters`.
"""

from airflow_provider_wts.operators.parameters.classification import (
    classification,
)
from airflow_provider_wts.operators.parameters.filters import (
    details,
    filter_choice,
    filter_identities,
    filter_identity,
    filter_list,
    filter_moment,
    filter_text,
    switch,
)
from airflow_provider_wts.operators.parameters.lists import (
    choices_of,
    identities,
    items,
    texts,
    urls,
)
from airflow_provider_wts.operators.parameters.needed import (
    is_id,
    named,
    needed_choice,
    needed_identity,
    needed_name,
)
from airflow_provider_wts.operators.parameters.single import (
    bounded_text,
    choice,
    flag,
    identity,
    json_text,
    metadata,
    missing,
    moment,
    number,
    text,
    url,
    whole,
)

__all__ = [
    "bounded_text",
    "choice",
    "choices_of",
    "classification",
    "details",
    "filter_choice",
    "filter_identities",
    "filter_identity",
    "filter_list",
    "filter_moment",
    "filter_text",
    "flag",
    "identities",
    "identity",
    "is_id",
    "items",
    "json_text",
    "metadata",
    "missing",
    "moment",
    "named",
    "needed_choice",
    "needed_identity",
    "needed_name",
    "number",
    "switch",
    "text",
    "texts",
    "url",
    "urls",
    "whole",
]
