"""Lists: how they are filtered, ordered and cut into pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from airflow_provider_wts.emulator.answers import NOTHING, Request
from airflow_provider_wts.emulator.clock import parse_ticks
from airflow_provider_wts.emulator.errors import Refusal, bad_request
from airflow_provider_wts.emulator.state import ALWAYS, Bounds, Record, RecordT, Table


def date_bounds(request: Request, name: str, given: Mapping[str, Any] | None = None) -> Bounds:
    """Return the range that a date filter asks for.

    :param given: a filter object of a body, with ``before`` and ``after``; the query by default.
    """
    if given is None:
        given = {"after": request.query.get(f"{name}.After"), "before": request.query.get(f"{name}.Before")}
    after, before = given.get("after"), given.get("before")
    step = 1 if request.account.switches.date_bounds == "exclusive" else 0
    return Bounds(
        None if after is None else parse_ticks(after) + step, None if before is None else parse_ticks(before) - step
    )


def listed(
    request: Request,
    table: Table[RecordT],
    show: Callable[[Request, RecordT], Any],
    *tests: Callable[[RecordT], bool] | None,
    among: Sequence[RecordT] | None = None,
    created: Bounds | None = None,
    updated: Bounds | None = None,
) -> Any:
    """Return the page of a list that the request asks for, or the whole list if it has no pages.

    :param tests: the filters other than those by date; ``None`` lets everything through.
    :param among: the few records that can match, oldest first; the whole table by default.
    :param created: filter of ``createdAt``; from the query by default, as that of ``updatedAt``.
    """
    # Only one list says in its body how it is cut and ordered.
    given = request.body if request.operation.body_schema is not None else request.query
    settings = {name.lower(): value for name, value in given.items() if value is not None}
    switches = request.account.switches
    order = str(settings.get("orderby") or "createdAt")
    dates = created or date_bounds(request, "CreatedAt"), updated or date_bounds(request, "UpdatedAt")
    records = _ordered(order.lower(), table, tests, among, dates)
    if not request.operation.paged:
        return [show(request, record) for record in records]
    number, size = int(settings.get("pagenumber", settings.get("page", 1))), int(settings.get("pagesize", 15))
    if not 1 <= size <= 100 and switches.page_out_of_range == "refuse":
        raise bad_request(["PageSize: de 1 a 100"], switches)
    size = min(max(size, 1), 100)
    total = len(records)
    pages = -(-total // size)
    if (number < 1 and switches.page_zero == "refuse") or (
        number > max(pages, 1) and switches.page_past_end == "refuse"
    ):
        raise Refusal("FORM_ERROR", "A página informada não existe.")
    number = max(number, 1)
    # The newest are first if nothing is asked for.
    default = "DESCENDING" if order.lower() == "createdat" else "ASCENDING"
    direction = "DESCENDING" if (settings.get("orderdirection") or default) == "DESCENDING" else "ASCENDING"
    first, end = (number - 1) * size, number * size
    if direction == "DESCENDING":
        first, end = max(total - end, 0), max(total - first, 0)
    shown = records[first:end]
    items = [show(request, record) for record in (shown[::-1] if direction == "DESCENDING" else shown)]
    spelled = _SHORT[direction] if switches.order_direction_spelling == "short" else direction
    return _page(items, total, number=number, size=size, order=order, direction=spelled)


def _page(items: list[Any], total: int, *, number: int, size: int, order: str | None, direction: str | None) -> Any:
    pages = -(-total // size)
    return {
        "pageNumber": number,
        "pageSize": size,
        "orderBy": order,
        "orderDirection": direction,
        "totalItems": total,
        "totalPages": pages,
        "hasMorePages": number < pages,
        "items": items,
    }


def _ordered(
    order: str,
    table: Table[RecordT],
    tests: Sequence[Callable[[RecordT], bool] | None],
    among: Sequence[RecordT] | None,
    dates: tuple[Bounds, Bounds],
) -> Sequence[RecordT]:
    """Return the records of a list in ascending order, without cutting pages.

    :param dates: those of ``createdAt`` and ``updatedAt``.
    """
    created, updated = dates
    changed = among is None and (order == "updatedat" or updated != ALWAYS)
    if among is None:
        among = table.updated_in(updated) if changed else table.created_in(created)
    asked = [test for test in tests if test is not None]
    if created != ALWAYS or updated != ALWAYS:
        asked.append(lambda record: created.holds(record.created) and updated.holds(record.updated))
    found = [record for record in among if all(test(record) for test in asked)] if asked else among
    if order == ("updatedat" if changed else "createdat"):
        return found
    return sorted(found, key=_TIMES.get(order) or (lambda record: _comparable(record, order)))


def whole(records: Sequence[Any]) -> Any:
    """Wrap a few items as the single page that some calls answer with."""
    return _page(list(records), len(records), number=1, size=max(len(records), 1), order=None, direction=None)


Property = str | Callable[[Any], Any]
"""A property of a record by its name on the wire, or what makes its value."""


def keeps(
    given: Mapping[str, Any], filters: Mapping[str, Property] = NOTHING, texts: Mapping[str, Sequence[str]] = NOTHING
) -> Callable[[Record], bool] | None:
    """Return what the filters of a request let through, ``None`` if it sets none of them.

    :param given: the query, or the body.
    :param filters: for each filter the property that must have the value, or one of the values, in any case.
    :param texts: for each filter the properties that are searched for the text.
    """
    asked = {name: given[name] for name in filters if given.get(name) not in (None, [], "")}
    values = [
        (filters[name], {str(one).casefold() for one in (wanted if isinstance(wanted, list) else [wanted])})
        for name, wanted in asked.items()
    ]
    searched = [(names, given[name].casefold()) for name, names in texts.items() if given.get(name)]

    def keep(record: Record) -> bool:
        for of, wanted in values:
            if not _is_among(record[of] if isinstance(of, str) else of(record), wanted):
                return False
        for names, text in searched:
            if text not in " ".join(str(record[name]) for name in names if record[name]).casefold():
                return False
        return True

    return keep if values or searched else None


def keeps_metadata(given: Mapping[str, Any]) -> Callable[[Record], bool] | None:
    """Return what the filter by metadata of a request lets through, ``None`` if it has none."""
    wanted = given.get("Metadata") or given.get("metadata")
    return wanted and (lambda record: all(str(record["metadata"].get(name)) == one for name, one in wanted.items()))


def _is_among(value: Any, wanted: set[str]) -> bool:
    """Return whether a value, or one of several, is among those wanted, in any case."""
    if isinstance(value, list):
        return any(_is_among(one, wanted) for one in value)
    return value is not None and str(value).casefold() in wanted


_SHORT = {"ASCENDING": "asc", "DESCENDING": "desc"}
_TIMES = {"createdat": attrgetter("created"), "updatedat": attrgetter("updated")}


def _comparable(record: Record, name: str) -> tuple[int, Any]:
    """Return what orders records by a property, whose name is in lower case."""
    wanted = {"lastinteractionat": "lastinteractiondate"}.get(name, name)
    value = next((value for key, value in record.values.items() if key.lower() == wanted), None)
    if isinstance(value, (int, float)):
        return 0, value
    if value is None:
        return 2, 0
    try:
        return 0, parse_ticks(value)
    except (TypeError, ValueError):
        return 1, str(value).casefold()
