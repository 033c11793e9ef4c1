"""What most lists take besides their own filters: bounds on the dates of an object, and an order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from airflow_provider_wts.api.call import NOT_GIVEN, given

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from airflow_provider_wts.api.call import NotGiven


class Window(TypedDict, total=False):
    """Which objects a list answers by their dates, and in which order; everything may be left out.

    ``created_after``, ``created_before``: bounds on the creation. ``updated_after``, ``updated_before``: bounds on the
    last update. Bounds are aware moments; whether they are inclusive is not documented. ``order_by``: field to sort
    by; the accepted names are not documented. ``order_direction``: ``ASCENDING`` or ``DESCENDING``.
    """

    created_after: datetime | str | NotGiven
    created_before: datetime | str | NotGiven
    updated_after: datetime | str | NotGiven
    updated_before: datetime | str | NotGiven
    order_by: str | NotGiven
    order_direction: str | NotGiven


#: The wire's names of the parameters of a :class:`Window`.
WINDOW = {
    "created_after": "CreatedAt.After",
    "created_before": "CreatedAt.Before",
    "updated_after": "UpdatedAt.After",
    "updated_before": "UpdatedAt.Before",
    "order_by": "OrderBy",
    "order_direction": "OrderDirection",
}


def window_query(window: Window) -> dict[str, Any]:
    """Return the query parameters of a window, under their exact names.

    :param window: see :class:`Window`.
    """
    return given_as(WINDOW, window)


def given_as(names: Mapping[str, str], values: Mapping[str, object]) -> dict[str, Any]:
    """Return the values that were set, under their names on the wire and in the order of ``names``.

    :param names: the wire's name by the parameter's.
    :param values: values by the parameter's name.
    :raises TypeError: when there is no such parameter, as Python does for any function.
    """
    if unknown := values.keys() - names.keys():
        raise TypeError(f"got an unexpected keyword argument {min(unknown)!r}")
    return given(**{wire: values.get(name, NOT_GIVEN) for name, wire in names.items()})
