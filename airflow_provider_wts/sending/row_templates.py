"""Templates that are filled in once for each row of a campaign.

They stand in parameters whose names begin with ``row_``, which Airflow does not render: it would look for ``row`` in
the task's context, where it is not. A template that is one expression and nothing else, such as
``{{ row.amount }}``, keeps what the expression gives: a number stays a number. Everything else becomes text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.errors import WtsInvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import jinja2


_COLUMN = re.compile(r"\s*row\.([A-Za-z]\w*)\s*")
_NO_COLUMN = re.compile(r"'[\w.]*RowValues object' has no attribute ('.*')")


class RowError(Exception):
    """A row does not give what a template asks for.

    :param problem: what is wrong, for a person.
    """


class RowValues:
    """A row as templates see it: ``row.amount`` and ``row["amount"]``, and no methods that hide a column.

    :param values: values by column.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)


class RowTemplates:
    """Compiles templates once, to fill them in for thousands of rows.

    :param environment: Airflow's environment of the task: its filters and macros can be used.
    :param context: what templates see beside ``row``, such as ``ds`` and ``params``.
    """

    def __init__(self, environment: jinja2.Environment | None, context: Mapping[str, Any]) -> None:
        import jinja2

        # One of our own, which gives the value of an expression and fails where a column is missing.
        self._environment = jinja2.Environment(undefined=jinja2.StrictUndefined)  # noqa: S701  # no HTML
        if environment is not None:
            self._environment.filters.update(environment.filters)
            self._environment.tests.update(environment.tests)
            self._environment.globals.update(environment.globals)
        self._globals = {**self._environment.globals, **context}

    def compiled(self, name: str, template: Any) -> Callable[[RowValues], Any]:
        """Return what fills a template in.

        :param name: the parameter's name, for the error.
        :param template: text, or lists and objects that hold texts; everything else stands for itself.
        :raises WtsInvalidRequestError: when it cannot be read.
        """
        if isinstance(template, dict):
            parts = {key: self.compiled(f"{name}[{key!r}]", value) for key, value in template.items()}
            return lambda row: {key: fill(row) for key, fill in parts.items()}
        if isinstance(template, (list, tuple)):
            fills = [self.compiled(f"{name}[{index}]", value) for index, value in enumerate(template)]
            return lambda row: [fill(row) for fill in fills]
        if isinstance(template, str) and ("{{" in template or "{%" in template or "{#" in template):
            return self._compiled_text(name, template)
        return lambda row: template

    def _compiled_text(self, name: str, template: str) -> Callable[[RowValues], Any]:
        import jinja2

        try:
            expression = self._single_expression(template)
            if expression is None:
                fill = self._render(self._environment.from_string(template))
            elif column := _COLUMN.fullmatch(expression):
                # The most common one by far; thousands of rows need no more than this.
                return _column(name, column[1])
            else:
                fill = self._value(self._environment.from_string(f"{{% set result = ({expression}) %}}"))
        except jinja2.TemplateError as error:
            raise WtsInvalidRequestError(f"{name}: is no template: {error}.") from None
        return _guarded(name, fill)

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
            return _defined(context.vars["result"])

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
        # Signs of Jinja's whitespace control, which stand right beside the braces.
        inner = inner[1:] if inner[:1] in ("-", "+") else inner
        return inner[:-1] if inner[-1:] in ("-", "+") else inner


def _column(name: str, column: str) -> Callable[[RowValues], Any]:
    def value(row: RowValues) -> Any:
        if column not in row:
            raise RowError(_no_column(name, f"there is no column {column!r}", row))
        return row[column]

    return value


def _no_column(name: str, what: str, row: RowValues) -> str:
    return f"{name}: {what}; the row's columns are {', '.join(map(repr, row)) or 'none at all'}"


def _guarded(name: str, fill: Callable[[RowValues], Any]) -> Callable[[RowValues], Any]:
    import jinja2

    def guarded(row: RowValues) -> Any:
        try:
            return fill(row)
        except jinja2.UndefinedError as error:
            what = _NO_COLUMN.sub(r"there is no column \1", error.message or "something is undefined")
            raise RowError(_no_column(name, what, row)) from None
        except Exception as error:
            # A filter met a value that it cannot take; that is the row's fault, whatever it raises.
            raise RowError(f"{name}: {error}") from None

    return guarded


def _defined(value: Any) -> Any:
    import jinja2

    if isinstance(value, jinja2.Undefined):
        str(value)  # says what is missing
    return value
