"""The templates of rows, rendered for each of them. No text is sent that a person would not have written.

A cell without a value, a fraction with a rounding error, or a list makes the row a bad one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from types import ModuleType
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

import jinja2
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.sandbox import SandboxedEnvironment, safe_range

from airflow_provider_wts.api.errors import WtsInvalidRequestError, quoted
from airflow_provider_wts.api.parameters import twice
from airflow_provider_wts.api.wire import json_value
from airflow_provider_wts.campaigns.missing import clock_time, is_blank, is_missing, plain_number, without_missing
from airflow_provider_wts.campaigns.row_filters import FILTERS
from airflow_provider_wts.hooks.shown_number import ShownNumber

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: How spreadsheets write booleans, in English and Portuguese.
_BOOLEANS = frozenset(["TRUE", "FALSE", "True", "False", "VERDADEIRO", "FALSO"])

#: How pandas writes an infinite number.
_INFINITE = frozenset(["inf", "-inf"])

#: How spreadsheets shorten long numbers.
_SHORTENED = re.compile(r"\s*[+-]?\d(?:(?:[.,]\d+)?[Ee][+-]\d{2,}|[.,]\d+[Ee]\+?\d+)\s*")

#: A number with many decimals, as programs write the result of a calculation.
_FRACTION = re.compile(r"-?\d+[.,]\d{13,}")

#: Digits of a number: up to 9,999,999.99; that are exact in binary; and that are written.
_AMOUNT, _EXACT, _WRITTEN = 9, 15, 17

_COLUMN = re.compile(r"\s*row\.([^\W\d_]\w*)\s*")

_NO_COLUMN = re.compile(r"'[\w.]*RowValues object' has no attribute ('.*')")

# On Airflow 3, a run that an asset or an API call starts has none of these.
_NO_DATE = re.compile(r"'(?:ds|ts|logical_date|data_interval)\w*' is undefined")

#: What templates may use of the module ``yaml`` in Airflow's macros; its other functions can run code.
_SAFE_YAML = frozenset(("safe_load", "safe_dump", "dump"))


class RowError(Exception):
    """A row is bad; the message says why."""


class RowValues:
    """A row as templates see it: ``row.amount`` or ``row["amount"]``, without methods that would hide a column.

    Names are compared in NFC, so that the encoding of accented letters does not matter.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {_composed(name): value for name, value in values.items()}
        self._given = values

    @property
    def twice(self) -> str | None:
        """A name that two columns have, each encoded in its way."""
        return None if len(self._values) == len(self._given) else str(twice(map(_composed, self._given)))

    def __getitem__(self, name: str) -> Any:
        return self._values[_composed(name)]

    def __contains__(self, name: object) -> bool:
        return _composed(name) in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)


class RowTemplates:
    """Compiles templates once, to render them for thousands of rows.

    :param environment: Airflow's Jinja environment of the task, whose filters and macros can be used.
    :param context: what templates see besides ``row``, such as ``ds`` and ``params``.
    """

    def __init__(self, environment: jinja2.Environment | None, context: Mapping[str, Any]) -> None:
        self._environment = _environment(environment)
        self._readers = self._environment.overlay(finalize=_read)
        self._globals = {**self._environment.globals, **context}

    def compiled(self, name: str, template: Any, *, needed: bool = False) -> Callable[[RowValues], Any]:
        """Return a function that renders a template for a row.

        :param template: text, or lists and objects with texts; anything else is returned as it is.
        :param needed: whether a cell without a value makes the row a bad one, because a customer would read it.
            Otherwise, a template that is a single expression returns ``None`` for it.
        """
        if isinstance(template, dict):
            parts = {key: self.compiled(f"{name}[{key!r}]", one, needed=needed) for key, one in template.items()}
            return lambda row: {key: fill(row) for key, fill in parts.items()}
        if isinstance(template, (list, tuple)):
            fills = [self.compiled(f"{name}[{index}]", one, needed=needed) for index, one in enumerate(template)]
            return lambda row: [fill(row) for fill in fills]
        if isinstance(template, str) and ("{{" in template or "{%" in template or "{#" in template):
            return self._compiled_text(name, template, needed=needed)
        return lambda row: template

    def _compiled_text(self, name: str, template: str, *, needed: bool) -> Callable[[RowValues], Any]:
        try:
            expression = self._single_expression(template)
            if expression is None:
                # For row_to, keep the fraction: it shows that part of a phone number was a float of a data frame.
                environment = self._environment if name == "row_to" else self._readers
                fill = self._render(environment.from_string(template))
            elif column := _COLUMN.fullmatch(expression):
                # By far the most common case, so it should be fast.
                fill = _column(column[1])
            else:
                fill = self._value(self._environment.from_string(f"{{% set result = ({expression}) %}}"))
        except jinja2.TemplateError as error:
            raise WtsInvalidRequestError(f"{name}: is not a valid template: {error}.") from None
        return _guarded(name, fill, needed=needed)

    def _render(self, template: jinja2.Template) -> Callable[[RowValues], str]:
        # Like Template.render, but without copying all globals for every row.
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
        """Return the expression if a template consists of a single one, or ``None``."""
        from jinja2 import nodes

        body = self._environment.parse(template).body
        if len(body) != 1 or not isinstance(body[0], nodes.Output) or len(body[0].nodes) != 1:
            return None
        if isinstance(body[0].nodes[0], nodes.TemplateData):
            return None
        inner = template.strip()[2:-2]
        # Remove the signs of Jinja's whitespace control.
        inner = inner[1:] if inner[:1] in ("-", "+") else inner
        return inner[:-1] if inner[-1:] in ("-", "+") else inner


class NoValueError(jinja2.UndefinedError):
    """A template would render a cell without a value."""


class NoValue(jinja2.Undefined):
    """A cell without a value: falsy, equal to ``None`` and ``""``, and an error if it is rendered."""

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
        """Return what a template sees in place of a cell."""
        return cls(f"{name!r} has no value", obj=cell, exc=NoValueError)

    @property
    def cell(self) -> object:
        """The content of the cell: blank text as it is, else ``None``."""
        cell = self._undefined_obj
        return cell if isinstance(cell, str) and not is_missing(cell) else None


class RowEnvironment(SandboxedEnvironment):
    """Jinja's sandbox, in which a cell without a value never renders as text."""

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
            # They contain the token.
            return False
        return super().is_safe_attribute(obj, attr, value) and (
            not isinstance(obj, ModuleType) or _is_safe_in_module(obj, attr, value)
        )


def _seen(value: Any, name: Any) -> Any:
    return value if isinstance(value, jinja2.Undefined) or not is_blank(value) else NoValue.of(name, value)


def _environment(given: jinja2.Environment | None) -> jinja2.Environment:
    # Not the task's own: this one returns the value of an expression, and fails if a column is missing.
    environment = RowEnvironment(undefined=jinja2.StrictUndefined, finalize=_written)
    if given is not None:
        environment.filters.update(given.filters)
        environment.tests.update(given.tests)
        environment.globals.update(given.globals)
    environment.globals["range"] = safe_range
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "default": _for_json}
    environment.tests["none"] = lambda value: value is None or isinstance(value, NoValue)
    # Filters of the same names that the DAG defines take precedence.
    environment.filters.update(
        {name: one for name, one in FILTERS.items() if environment.filters.get(name) in (None, JINJA_FILTERS.get(name))}
    )
    return environment


def _is_safe_in_module(module: ModuleType, name: str, value: Any) -> bool:
    """Whether a template may use an attribute of a module. Other modules would give access to the operating system."""
    if module.__name__.rpartition(".")[2] == "yaml":
        return name in _SAFE_YAML
    is_macros = module.__name__.endswith(".macros")
    return not isinstance(value, ModuleType) or is_macros or value.__name__.startswith(f"{module.__name__}.")


def _for_json(value: Any) -> Any:
    """Convert a value for the filter ``tojson``."""
    return value.cell if isinstance(value, NoValue) else json_value(value)


def _written(value: Any) -> Any:
    """Refuse computed values that would render as "None" or "nan"; cells have been checked before."""
    if isinstance(value, jinja2.Undefined):
        str(value)  # says what is missing
    elif isinstance(value, (list, tuple, dict)):
        for one in value.values() if isinstance(value, dict) else value:
            _written(one)
        _refuse_without_text(value)
    elif not isinstance(value, str) and is_missing(value):
        raise RowError("a value in it is missing")
    else:
        value = int(value) if isinstance(value, ShownNumber) else clock_time(plain_number(value))
        _refuse_illegible(value)
        _refuse_without_text(value)
    return value


def _read(value: Any) -> Any:
    """Like :func:`_written`, but an integer as people write it."""
    return str(value) if isinstance(value, ShownNumber) else without_fraction(_written(value))


def without_fraction(value: Any) -> Any:
    """Return an integer as people write it: without a fraction, with the zeros of its format."""
    if isinstance(value, ShownNumber):
        return str(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _refuse_illegible(value: Any) -> None:
    """Refuse values in a form that only programs use."""
    if isinstance(value, bool) or (isinstance(value, str) and value in _BOOLEANS):
        raise RowError(f"would write {value}. Write it in words: {{{{ 'sim' if row.ativo else 'não' }}}}")
    if isinstance(value, (float, Decimal)):
        text = str(value)
        if math.isinf(value) or "e" in text.lower():
            raise RowError(f"would write {value}")
        if _is_calculated(text):
            raise RowError(
                f"would write {value}. Round it: {{{{ row.valor | round(2) }}}}, {{{{ row.valor | as_br }}}}"
            )
    if isinstance(value, str) and value in _INFINITE:
        raise RowError(f"would write {value}")
    if isinstance(value, str) and _FRACTION.fullmatch(value) and _is_calculated(value.replace(",", ".")):
        raise RowError(f"would write {value}. Round it: {{{{ row.valor | number | as_br }}}}")
    _refuse_shortened(value)


def _is_calculated(text: str) -> bool:
    """Whether a number has a rounding error: 0.30000000000000004 is 0.3, but 1795738050.6399984 is a timestamp."""
    digits = len(text.replace(".", "").strip("-0")) if "." in text else 0
    if digits <= _EXACT:
        return False
    # Longer numbers may round to an amount by chance: one timestamp in a thousand does.
    rounded = f"{float(text):.{_EXACT}g}".replace(".", "").lstrip("-0")
    return digits > _WRITTEN or len(rounded) <= _AMOUNT


def _refuse_without_text(value: Any) -> None:
    """Refuse objects without a readable text, such as lists, and methods that were not called."""
    if isinstance(value, (str, int, float)):
        return
    has_text = "__str__" in {name for kind in type(value).__mro__[:-1] for name in vars(kind)}
    is_list = hasattr(value, "__iter__") and not isinstance(value, (bytes, bytearray, Mapping))
    if is_list or isinstance(value, (bytes, bytearray)) or not has_text:
        what = "a method; call it: {{ row.nome.title() }}" if callable(value) else f"a {type(value).__name__}"
        if is_list:
            what += "; join it: {{ row.itens | join(', ') }}"
        raise RowError(f"would write {what}")


def _refuse_shortened(value: Any) -> None:
    if isinstance(value, str) and _SHORTENED.fullmatch(value):
        raise RowError(
            f"{quoted(value)} is in scientific notation and lost digits, because spreadsheets shorten long numbers; "
            "format the column as text and export it again"
        )


def _column(column: str) -> Callable[[RowValues], Any]:
    column = _composed(column)

    def value(row: RowValues) -> Any:
        if column not in row:
            raise RowError(_columns_of(f"there is no column {column!r}", row))
        return _seen(row[column], column)

    return value


def _columns_of(what: str, row: RowValues) -> str:
    return f"{what}; the row's columns are {', '.join(map(repr, row)) or 'none at all'}"


def _guarded(name: str, fill: Callable[[RowValues], Any], *, needed: bool) -> Callable[[RowValues], Any]:

    def guarded(row: RowValues) -> Any:
        try:
            found = plain_data(fill(row), needed=needed, whole=needed and name != "row_to")
            return str(found) if isinstance(found, ShownNumber) and name != "row_to" else found
        except NoValueError as error:
            is_read = name not in ("row_to", "row_key")
            advice = ". To write something else instead, add: | default('cliente')" if is_read else ""
            raise RowError(f"{name}: {error}{advice}") from None
        except jinja2.UndefinedError as error:
            what = _NO_COLUMN.sub(r"there is no column \1", error.message or "something is undefined")
            is_date = _NO_DATE.fullmatch(what)
            hint = f"{what}: this run has no logical date. Use {{{{ dag_run.run_after }}}}" if is_date else None
            raise RowError(f"{name}: {hint or _columns_of(what, row)}") from None
        except Exception as error:
            # A filter may raise anything for a value it does not support, which makes the row a bad one.
            raise RowError(f"{name}: {error}") from None

    return guarded


def plain_data(value: Any, *, needed: bool, whole: bool = False) -> Any:
    """Convert the value of an expression to plain data."""
    if isinstance(value, NoValue) and not needed:
        return value.cell
    if isinstance(value, jinja2.Undefined):
        str(value)  # says what is missing
    if isinstance(value, dict):
        return {key: plain_data(one, needed=needed, whole=whole) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_data(one, needed=needed, whole=whole) for one in value]
    found = value if isinstance(value, str) else clock_time(without_missing(value))
    if needed and not isinstance(found, bool):
        _refuse_illegible(found)
    else:
        _refuse_shortened(found)
    return without_fraction(found) if whole else found


def _composed(name: Any) -> Any:
    """Return a column's name in NFC."""
    return normalize("NFC", name) if isinstance(name, str) and not name.isascii() else name
