"""The operator that calls any operation of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_wts import api
from airflow_provider_wts.api import parameters
from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.api.wire import UNSET
from airflow_provider_wts.hooks.errors import task_failures
from airflow_provider_wts.operators.base import WtsOperator
from airflow_provider_wts.operators.listing import Collector

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from airflow_provider_wts.api.contract import Parameter


class WtsCallOperator(WtsOperator):
    """Call any of the 109 operations of the WTS Chat API by its ``operationId``.

    The request is checked against the API's contract before it goes out: parameter names, required parameters, types,
    choices, IDs and dates. Only dates and times in the query are converted, to UTC. Names and phone numbers are sent as
    they are. A message goes out once per try of the task, not exactly once; use the dedicated operator for that.

    :param operation_id: ``operationId``, such as ``list_departments`` (templated).
    :param path: path parameters by name: an object or its JSON text (templated, deep).
    :param query: query parameters by their exact names, such as ``{"CreatedAt.After": ...}``: an object or its JSON
        text; a list repeats the parameter (templated, deep).
    :param body: JSON body: an object, a list, or its JSON text. Text inside it stays text (templated, deep).
    :param paged: read all pages, and return their items (templated).
    :param page_size: with ``paged``: items per request, 1 to 100 (templated).
    :param max_items: with ``paged``: stop after this many items; the log warns if that cuts the list (templated).
    :param output_path: with ``paged``: write the items to this file, one JSON object per line, instead of returning
        them: any ``ObjectStoragePath`` (templated).
    :return: the API's answer; with ``paged`` the items, at most 1,000 and 1 MB; with ``output_path`` the manifest.
    :raises AirflowFailException: when the request does not match the contract, the API refuses, or the outcome is
        unknown.
    """

    def __init__(
        self,
        *,
        operation_id: str,
        path: Mapping[str, Any] | str | None = None,
        query: Mapping[str, Any] | str | None = None,
        body: Any = None,
        paged: bool | str = False,
        page_size: int | str = 100,
        max_items: int | str | None = None,
        output_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.operation_id = operation_id
        self.path = path
        self.query = query
        self.body = body
        self.paged = paged
        self.page_size = page_size
        self.max_items = max_items
        self.output_path = output_path

    def execute(self, context: Context) -> Any:
        with task_failures():
            call = self._call()
            if parameters.flag("paged", self.paged):
                return self._collect(call)
            if not parameters.missing(self.max_items) or not parameters.missing(self.output_path):
                raise WtsInvalidRequestError("max_items, output_path: have no effect without paged=True. Set paged.")
        return self.run_call(call)

    def _call(self) -> Call[Any]:
        if parameters.missing(self.operation_id):
            raise WtsInvalidRequestError("operation_id: is empty. Example: 'list_departments'.")
        call: Call[Any] = Call(str(self.operation_id).strip())
        typed = {parameter.name: parameter for parameter in call.operation.parameters}
        body = _body(self.body)
        return Call(
            call.operation_id,
            {name: value for name, value in _object("path", self.path).items() if value is not None},
            {name: _typed(typed.get(name), value) for name, value in _object("query", self.query).items()},
            body,
            acts_again=api.contacts.starts_sequence(body),
        ).checked()

    def _collect(self, call: Call[Any]) -> list[Any] | dict[str, Any]:
        if not call.reads:
            raise WtsInvalidRequestError(f"paged: {call.operation_id} is not a list. Leave paged out.")
        size = parameters.whole("page_size", self.page_size, least=1, most=100)
        most = None if parameters.missing(self.max_items) else parameters.whole("max_items", self.max_items, least=1)
        collector = Collector(self.hook.run, call, self.log, int(size or 100), most or None, now=self.hook.client.now)
        if parameters.missing(self.output_path):
            return collector.inline()
        return collector.to_file(str(self.output_path).strip())


def _object(name: str, value: Any) -> dict[str, Any]:
    if parameters.missing(value):
        return {}
    return parameters.metadata(name, value) or {}


def _body(value: Any) -> Any:
    # No operation takes null for its body.
    if parameters.missing(value):
        return UNSET
    body = parameters.json_text("body", value) if isinstance(value, str) else value
    parameters.refuse_missing_inside("body", body, texts=False)
    return body


def _typed(parameter: Parameter | None, value: Any) -> Any:
    """Return a query value with the type that the contract says: a template makes text of numbers and yes/no."""
    schema = parameter.schema if parameter is not None else {}
    if parameter is not None and schema.get("format") == "date-time":
        return parameters.filter_timestamp(parameter.name, value)
    kinds = schema.get("type", ())
    kinds = (kinds,) if isinstance(kinds, str) else kinds
    if "array" in kinds and isinstance(value, (str, int)):
        return [value]
    if not isinstance(value, str):
        return value
    text = value.strip()
    if "boolean" in kinds and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if "integer" in kinds and text.lstrip("-").isdecimal():
        return int(text)
    return value
