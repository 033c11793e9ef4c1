"""The parameters that most lists have besides their own filters: date bounds and an order."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_provider_wts.api.wire import Unset


class Window(TypedDict, total=False):
    """Date bounds and order of a list; all optional.

    ``created_after``, ``created_before``: bounds on the creation. ``updated_after``, ``updated_before``: bounds on the
    last update. Bounds are aware datetimes; whether they are inclusive is not documented. ``order_by``: field to sort
    by; the accepted names are not documented. ``order_direction``: ``ASCENDING`` or ``DESCENDING``.
    """

    created_after: datetime | str | Unset
    created_before: datetime | str | Unset
    updated_after: datetime | str | Unset
    updated_before: datetime | str | Unset
    order_by: str | Unset
    order_direction: str | Unset
