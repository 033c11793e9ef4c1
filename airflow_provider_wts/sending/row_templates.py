"""Templates that are filled in once for each row of a campaign.

They are in parameters whose names begin with ``row_``, which Airflow does not render: it would look for ``row`` in
the task's context, where it is not. A template that is one expression and nothing else, such as
``{{ row.amount }}``, keeps what the expression gives: a number stays a number. Everything else becomes text.

They run in a sandbox, also where the DAG renders native objects: Airflow's native environment has none.
"""

from __future__ import annotations

import re
from types import ModuleType
from typing import TYPE_CHECKING, Any
from unicodedata import is_normalized, normalize

import jinja2
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.sandbox import SandboxedEnvironment, safe_range

from airflow_provider_wts.api.call import json_value
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.campaigns.missing import is_blank, is_missing, without_missing
from airflow_provider_wts.campaigns.row_filters import FILTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_COLUMN = re.compile(r"\s*row\.([^\W\d_]\w*)\s*")
_NO_COLUMN = re.compile(r"'[\w.]*RowValues object' has no attribute ('.*')")

#: What templates may use of the module ``yaml``, which Airflow's macros hold: its other functions run code.
_SAFE_YAML = frozenset(("safe_load", "safe_dump", "dump"))


class RowError(Exception):
    """A row does not give what a template asks for.

    :param problem: what is wrong, for a person.
    """


class RowValues:
    """A row as templates see it: ``row.amount`` and ``row["amount"]``, and no methods that hide a column.

    An accented letter is the same letter however it is encoded (NFC).

    :param values: values by column.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {_composed(name): value for name, value in values.items()}

    def __getitem__(self, name: str) -> Any:
        return self._values[_composed(name)]

    def __contains__(self, name: object) -> bool:
        return _composed(name) in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)


class RowTemplates:
    """Compiles templates once, to fill them in for thousands of rows.

    :param environment: Airflow's environment of the task: its filters and macros can be used.
    :param context: what templates see beside ``row``, such as ``ds`` and ``params``.
    """

    def __init__(self, environment: jinja2.Environment | None, context: Mapping[str, Any]) -> None:
        self._environment = _environment(environment)
        self._globals = {**self._environment.globals, **context}

    def compiled(self, name: str, template: Any, *, needed: bool = False) -> Callable[[RowValues], Any]:
        """Return what fills a template in.

        :param name: the parameter's name, for the error.
        :param template: text, or lists and objects that hold texts; everything else is taken as it is.
        :param needed: whether a cell without a value makes the row a bad one, because a customer would read it; else
            a template that is one expression gives ``None`` for it.
        :raises WtsInvalidRequestError: when it cannot be read.
        """
        if isinstance(template, dict):
            parts = {key: self.compiled(f"{name}[{key!r}]", one, needed=needed) for key, one in template.items()}
            return lambda row: {key: fill(row) for key, fill in parts.items()}
        if isinstance(template, (list, tuple)):
            fills = [self.compiled(f"{name}[{place}]", one, needed=needed) for place, one in enumerate(template)]
            return lambda row: [fill(row) for fill in fills]
        if isinstance(template, str) and ("{{" in template or "{%" in template or "{#" in template):
            return self._compiled_text(name, template, needed=needed)
        return lambda row: template

    def _compiled_text(self, name: str, template: str, *, needed: bool) -> Callable[[RowValues], Any]:
        try:
            expression = self._single_expression(template)
            if expression is None:
                fill = self._render(self._environment.from_string(template))
            elif column := _COLUMN.fullmatch(expression):
                # The most common one by far; thousands of rows need no more than this.
                fill = _column(column[1])
            else:
                fill = self._value(self._environment.from_string(f"{{% set result = ({expression}) %}}"))
        except jinja2.TemplateError as error:
            raise WtsInvalidRequestError(f"{name}: is no template: {error}.") from None
        return _guarded(name, fill, needed=needed)

    def _render(self, template: jinja2.Template) -> Callable[[RowValues], str]:
        # What Template.render does, without copying all globals for every row.
        return lambda row: "".join(
            template.root_render_func(template.new_context({**self._globals, "row": row}, shared=True))
        )

    def _value(self, template: jinja2.Template) -> Callable[[RowValues], Any]:
        def value(row: RowValues) -> Any:
            context = template.new_context({**self._globals, "row": row}, shared=True)
            for _ in template.root_render_func(context):
                pass
            return context.vars["result"]

        return value

    def _single_expression(self, template: str) -> str | None:
        """Return the expression that a template consists of, or ``None`` where there is more than that."""
        from jinja2 import nodes

        body = self._environment.parse(template).body
        if len(body) != 1 or not isinstance(body[0], nodes.Output) or len(body[0].nodes) != 1:
            return None
        if isinstance(body[0].nodes[0], nodes.TemplateData):
            return None
        inner = template.strip()[2:-2]
        # Signs of Jinja's whitespace control, right beside the braces.
        inner = inner[1:] if inner[:1] in ("-", "+") else inner
        return inner[:-1] if inner[-1:] in ("-", "+") else inner


class NoValueError(jinja2.UndefinedError):
    """A cell without a value would have been written."""


class NoValue(jinja2.Undefined):
    """A cell without a value: false, equal to nothing, and an error where it would be written."""

    __slots__ = ()
    __str__ = __len__ = __iter__ = jinja2.Undefined._fail_with_undefined_error

    def __eq__(self, other: object) -> bool:
        return other is None or other == "" or isinstance(other, NoValue)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(None)

    @classmethod
    def of(cls, name: object, cell: object) -> NoValue:
        """Return what a template sees in place of a cell.

        :param name: the column's name.
        :param cell: what is in it.
        """
        return cls(f"{name!r} has no value", obj=cell, exc=NoValueError)

    @property
    def cell(self) -> object:
        """What is in the cell: blank text as it is, else ``None``."""
        cell = self._undefined_obj
        return cell if isinstance(cell, str) and not is_missing(cell) else None


class RowEnvironment(SandboxedEnvironment):
    """Jinja's sandbox, in which a cell without a value is never text."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return ``obj.attribute``."""
        if isinstance(obj, RowValues):
            return self.getitem(obj, attribute)
        return _seen(super().getattr(obj, attribute), attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return ``obj[argument]``."""
        if isinstance(obj, RowValues):
            found = obj[argument] if argument in obj else self.undefined(obj=obj, name=argument)
            return _seen(found, argument)
        return _seen(super().getitem(obj, argument), argument)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may read an attribute."""
        from airflow.providers.common.compat.sdk import BaseHook, Connection

        if isinstance(obj, (BaseHook, Connection)):
            # They hold the token.
            return False
        return super().is_safe_attribute(obj, attr, value) and (
            not isinstance(obj, ModuleType) or _is_safe_in_module(obj, attr, value)
        )


def _seen(value: Any, name: Any) -> Any:
    return value if isinstance(value, jinja2.Undefined) or not is_blank(value) else NoValue.of(name, value)


def _environment(given: jinja2.Environment | None) -> jinja2.Environment:
    # One of our own, which gives the value of an expression and fails where a column is missing.
    environment = RowEnvironment(undefined=jinja2.StrictUndefined, finalize=_written)
    if given is not None:
        environment.filters.update(given.filters)
        environment.tests.update(given.tests)
        environment.globals.update(given.globals)
    environment.globals["range"] = safe_range
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "default": _for_json}
    environment.tests["none"] = lambda value: value is None or isinstance(value, NoValue)
    # Filters that the DAG defines under the same names are the author's choice.
    environment.filters.update(
        {name: one for name, one in FILTERS.items() if environment.filters.get(name) in (None, JINJA_FILTERS.get(name))}
    )
    return environment


def _is_safe_in_module(module: ModuleType, name: str, value: Any) -> bool:
    """Whether a template may use a name of a module: other modules are a way to the operating system."""
    if module.__name__.rpartition(".")[2] == "yaml":
        return name in _SAFE_YAML
    is_macros = module.__name__.endswith(".macros")
    return not isinstance(value, ModuleType) or is_macros or value.__name__.startswith(f"{module.__name__}.")


def _for_json(value: Any) -> Any:
    """Return what the filter ``tojson`` writes for a value that JSON does not know."""
    return value.cell if isinstance(value, NoValue) else json_value(value)


def _written(value: Any) -> Any:
    """Refuse what would be written as "None" or "nan". Cells are seen to before; this is for computed values."""
    if isinstance(value, jinja2.Undefined):
        str(value)  # says what is missing
    elif isinstance(value, (list, tuple, dict)):
        for one in value.values() if isinstance(value, dict) else value:
            _written(one)
    elif not isinstance(value, str) and is_missing(value):
        raise RowError("a value in it is missing")
    return value


def _column(column: str) -> Callable[[RowValues], Any]:
    column = _composed(column)

    def value(row: RowValues) -> Any:
        if column not in row:
            raise RowError(_columns_of(f"there is no column {column!r}", row))
        found = row[column]
        return _seen(found, column)

    return value


def _columns_of(what: str, row: RowValues) -> str:
    return f"{what}; the row's columns are {', '.join(map(repr, row)) or 'none at all'}"


def _guarded(name: str, fill: Callable[[RowValues], Any], *, needed: bool) -> Callable[[RowValues], Any]:

    def guarded(row: RowValues) -> Any:
        try:
            return _result(fill(row), needed=needed)
        except NoValueError as error:
            raise RowError(f"{name}: {error}. To write something else for it, add: | default('cliente')") from None
        except jinja2.UndefinedError as error:
            what = _NO_COLUMN.sub(r"there is no column \1", error.message or "something is undefined")
            raise RowError(f"{name}: {_columns_of(what, row)}") from None
        except Exception as error:
            # A filter met a value that it cannot take; that is the row's fault, whatever it raises.
            raise RowError(f"{name}: {error}") from None

    return guarded


def _result(value: Any, *, needed: bool) -> Any:
    """Return what an expression gave as plain data."""
    if isinstance(value, NoValue) and not needed:
        return value.cell
    if isinstance(value, jinja2.Undefined):
        str(value)  # says what is missing
    if isinstance(value, dict):
        return {key: _result(one, needed=needed) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_result(one, needed=needed) for one in value]
    return value if isinstance(value, str) else without_missing(value)


def _composed(name: Any) -> Any:
    """Return a column's name with accented letters in one piece."""
    if not isinstance(name, str) or name.isascii() or is_normalized("NFC", name):
        return name
    return normalize("NFC", name)
