"""The base of all operators that list something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.call import NOT_GIVEN, Call, given, given_or_left_out
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.hooks.failures import readable_failures
from airflow_provider_wts.hooks.output_files import output_file
from airflow_provider_wts.operators import parameters
from airflow_provider_wts.operators.base import WtsOperator
from airflow_provider_wts.operators.collecting import EXAMPLE, Collector

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow.sdk import Context

_DIRECTIONS = {
    "asc": "ASCENDING",
    "ascending": "ASCENDING",
    "desc": "DESCENDING",
    "descending": "DESCENDING",
}


class WtsListOperator(WtsOperator):
    """Base of the operators that list something: all pages, inline or as a file.

    A subclass gives :meth:`list_call` and the filters of its own, and takes the rest over with ``**kwargs``. Paged
    lists and plain ones work alike; a plain one has no date bounds and no order, and refuses them.

    The API promises no snapshot: rows move between the pages while these are read. So a list of more than one page is
    read again until a pass shows nothing new, which makes at least twice as many requests. If that never happens, or
    if fewer rows come than WTS Chat counts, the task fails for a retry, and a file of an earlier run is left as it was.

    :param created_after: lower bound on the creation: an aware datetime, or ISO 8601 text with an offset, such as
        ``{{ data_interval_start }}``. Whether the bound itself is included is not documented (templated).
    :param created_before: upper bound on the creation (templated).
    :param updated_after: lower bound on the last change (templated).
    :param updated_before: upper bound on the last change (templated).
    :param order_by: name of the property to order by; which ones the API takes is not documented (templated).
    :param order_direction: ``ASCENDING`` or ``DESCENDING`` (templated).
    :param page_size: items per request, 1 to 100 (templated).
    :param max_items: end after so many items, with a warning in the log when that cut the list; ``None`` = all
        (templated).
    :param page: read this page alone, counted from 1: one request, and no word about the rest of the list. Not together
        with ``max_items`` (templated).
    :param allow_incomplete: do not fail if the list cannot be shown to be complete; the log warns, and the manifest
        holds ``complete: false`` (templated).
    :param output_path: write the items to this file, one JSON object a line, in place of returning them: any address
        that ``ObjectStoragePath`` takes, such as ``s3://aws_default@bucket/contacts/{{ ds }}.jsonl``. The file
        appears when it is complete, and replaces an older one of that name (templated).
    :return: the items, at most 1,000 and 1 MB; with ``output_path`` the manifest: ``path``, ``operation_id``,
        ``items``, ``pages``, ``bytes``, ``total_items``, ``cut``, ``complete``.
    :raises AirflowFailException: when the input is invalid, the API refuses, or the items are too many for XCom.
    :raises WtsIncompleteListError: when the list cannot be shown to be complete.
    """

    template_fields: Sequence[str] = (
        *WtsOperator.template_fields,
        "created_after",
        "created_before",
        "updated_after",
        "updated_before",
        "order_by",
        "order_direction",
        "page_size",
        "max_items",
        "page",
        "allow_incomplete",
        "output_path",
    )

    def __init__(
        self,
        *,
        created_after: datetime | str | None = None,
        created_before: datetime | str | None = None,
        updated_after: datetime | str | None = None,
        updated_before: datetime | str | None = None,
        order_by: str | None = None,
        order_direction: str | None = None,
        page_size: int | str = 100,
        max_items: int | str | None = None,
        page: int | str | None = None,
        allow_incomplete: bool | str = False,
        output_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.created_after = created_after
        self.created_before = created_before
        self.updated_after = updated_after
        self.updated_before = updated_before
        self.order_by = order_by
        self.order_direction = order_direction
        self.page_size = page_size
        self.max_items = max_items
        self.page = page
        self.allow_incomplete = allow_incomplete
        self.output_path = output_path

    def list_call(self) -> Call[Any]:
        """Return the call with the subclass's own filters; impossible ones raise ``WtsInvalidRequestError``.

        Called once per execution, after the shared parameters were checked, and outside of any retry.
        """
        raise NotImplementedError

    def execute(self, context: Context) -> list[Any] | dict[str, Any]:
        """List, and return the items or the manifest.

        :param context: the task's context.
        """
        with readable_failures():
            shared = {**self._bounds(), **self._order()}
            size = parameters.whole(
                "page_size", 100 if parameters.missing(self.page_size) else self.page_size, least=1, most=100
            )
            most, page = self._whole("max_items"), self._whole("page")
            if most and page:
                raise WtsInvalidRequestError("page: one page alone cannot be cut by max_items. Use page_size instead.")
            incomplete = parameters.flag("allow_incomplete", self.allow_incomplete) is True
            output_path = parameters.text("output_path", self.output_path)
            path = None if parameters.missing(output_path) else str(output_path).strip()
            if path is not None:
                output_file("output_path", path, example=EXAMPLE)
            call = narrowed(self.list_call(), shared)
            if page and not call.operation.paged:
                raise WtsInvalidRequestError(f"page: {call.operation_id} has no pages. Omit it.")
            collector = Collector(
                self.hook.run,
                call,
                self.log,
                int(size or 100),
                most,
                page=page,
                allow_incomplete=incomplete,
                now=self.hook.client.now,
            )
            return collector.inline() if path is None else collector.to_file(path)

    def _whole(self, name: str) -> int | None:
        value = getattr(self, name)
        return None if parameters.missing(value) else parameters.whole(name, value, least=1) or None

    def _bounds(self) -> dict[str, str]:
        """Return the bounds that were given, by the name of their parameter."""
        names = ("created_after", "created_before", "updated_after", "updated_before")
        bounds = given(**{name: parameters.filter_moment(name, getattr(self, name)) for name in names})
        for kind in ("created", "updated"):
            first, last = bounds.get(f"{kind}_after"), bounds.get(f"{kind}_before")
            if first is not None and last is not None and _moment(first) > _moment(last):
                raise WtsInvalidRequestError(
                    f"{kind}_after: {first} is later than {kind}_before, {last}; nothing can match."
                )
        return bounds

    def _order(self) -> dict[str, str]:
        """Return the order that was given, by the name of its parameter."""
        found = {}
        if not parameters.missing(self.order_by):
            found["order_by"] = str(parameters.text("order_by", self.order_by))
        if not parameters.missing(self.order_direction):
            found["order_direction"] = str(parameters.choice("order_direction", self.order_direction, _DIRECTIONS))
        return found


def narrowed(call: Call[Any], shared: Mapping[str, str]) -> Call[Any]:
    """Return a list call with bounds and order, in its query or in its body, wherever the contract has them.

    :param call: the list.
    :param shared: values of the shared parameters that were given, by the parameter's name.
    :raises WtsInvalidRequestError: when the operation has no such parameter; left out, it would list something else.
    """
    if call.operation.page_number_in == ("body", "pageNumber"):
        added = given(
            createdAt=given_or_left_out(**_of("created", shared)),
            updatedAt=given_or_left_out(**_of("updated", shared)),
            orderBy=shared.get("order_by", NOT_GIVEN),
            orderDirection=shared.get("order_direction", NOT_GIVEN),
        )
        body = call.body if isinstance(call.body, Mapping) else {}
        return Call(call.operation_id, call.path, call.query, {**body, **added})
    for name in shared:
        if call.operation.parameter(_WIRE_NAMES[name]) is None:
            raise WtsInvalidRequestError(f"{name}: {call.operation_id} does not take it. Leave it out.")
    query = {_WIRE_NAMES[name]: value for name, value in shared.items()}
    return Call(call.operation_id, call.path, {**call.query, **query}, call.body)


_WIRE_NAMES = {
    "created_after": "CreatedAt.After",
    "created_before": "CreatedAt.Before",
    "updated_after": "UpdatedAt.After",
    "updated_before": "UpdatedAt.Before",
    "order_by": "OrderBy",
    "order_direction": "OrderDirection",
}


def _of(kind: str, shared: Mapping[str, str]) -> dict[str, object]:
    return {side: shared.get(f"{kind}_{side}", NOT_GIVEN) for side in ("after", "before")}


def _moment(text: str) -> datetime:
    from datetime import datetime

    return datetime.fromisoformat(text)
