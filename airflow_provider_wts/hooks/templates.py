"""How Airflow's templates become the parameters of operators, sensors and the notifier.

Airflow renders each parameter in ``template_fields``. With ``render_template_as_native_obj=True``, it also parses the
result as Python code, which turns ``"+5511999998888"`` into a number and ``"149,90"`` into a tuple. Here, native
rendering keeps the type of a template that is a single expression, and text stays text.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import jinja2

from airflow_provider_wts.api.errors import WtsInvalidRequestError, quoted
from airflow_provider_wts.api.wire import is_missing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

# Parameters whose names are taken by Airflow's own attributes.
_PARAMETERS = {"is_dry_run": "dry_run"}


class RenderedParameters:
    """Mixin for all classes with ``template_fields``; it comes before Airflow's class among the bases.

    A template that renders to nothing (blank, ``None``, NaN, or one of these as text) leaves its parameter at its
    default, as if it had not been given. So does the output of a task, also in an instance of a mapped task.
    """

    #: Parameters that must not vanish, because they prevent sends, or customers read them. If one of them was given and
    #: renders to nothing, it stays blank, and :meth:`refuse_vanished` refuses it. The hook refuses a blank connection,
    #: because the default one may be another account.
    never_blank: ClassVar[frozenset[str]] = frozenset({"wts_conn_id"})

    #: Parameters that people read. An expression inside their text must have a value, to prevent "Olá None!".
    prose: ClassVar[frozenset[str]] = frozenset()

    #: Parameters that may name a file ending in ``.sql``, whose content replaces them. Airflow's ``template_ext`` would
    #: do so in all parameters, even in the text of a message.
    sql_files: ClassVar[frozenset[str]] = frozenset()

    template_fields: Any

    #: Lists and objects are shown as JSON; a class adds any others itself.
    template_fields_renderers: ClassVar[dict[str, str]] = {}

    #: Parameters of this class, not of its bases, that are not templates.
    not_templated: ClassVar[frozenset[str]] = frozenset()

    _rendering: str | None = None

    #: The arguments of an instance of a mapped task, without those that Airflow and the bases add.
    _mapped_arguments: frozenset[str] = frozenset()

    def __new__(cls, *_: Any, **kwargs: Any) -> Self:
        """Remember which arguments an instance of a mapped task is given."""
        made = super().__new__(cls)
        if kwargs.get("_airflow_from_mapped"):
            object.__setattr__(made, "_mapped_arguments", frozenset(kwargs))
        return made

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make each parameter of our classes a template field, after those of the bases."""
        super().__init_subclass__(**kwargs)
        if not _is_ours(cls):
            return
        fields = [field for base in cls.__bases__ for field in getattr(base, "template_fields", ())]
        renderers: dict[str, str] = {}
        for base in cls.__bases__:
            renderers |= getattr(base, "template_fields_renderers", {})
        if "__init__" in vars(cls):
            code, types = vars(cls)["__init__"].__code__, vars(cls)["__init__"].__annotations__
            keywords = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
            attributes = {parameter: attribute for attribute, parameter in _PARAMETERS.items()}
            skipped = vars(cls).get("not_templated", ())
            for name in keywords:
                # Templates of rows are rendered for each row, not by Airflow.
                if name not in skipped and not name.startswith("row_"):
                    fields.append(attributes.get(name, name))
                    if "Any" in types[name] or "Mapping" in types[name] or "Sequence" in types[name]:
                        renderers[name] = "json"
        cls.template_fields = tuple(dict.fromkeys(fields))
        cls.template_fields_renderers = renderers | vars(cls).get("template_fields_renderers", {})

    def _render(self, template: jinja2.Template, context: Any, dag: Any = None) -> Any:
        from jinja2.nativetypes import NativeEnvironment

        parts, missing = _parts(template, context)
        if missing and self._rendering in self.prose and len([part for part in parts if str(part).strip()]) > 1:
            from airflow.providers.common.compat.sdk import AirflowFailException

            raise AirflowFailException(
                f"{self._rendering}: an expression in its template renders as {quoted(missing[0])}. Nothing was sent. "
                "Add a default. Example: {{ params.name or 'cliente' }}."
            )
        if isinstance(template.environment, NativeEnvironment) and len(parts) == 1:
            # In Airflow's strict environments, str() raises and names what is undefined; a lenient one returns text.
            return str(parts[0]) if isinstance(parts[0], jinja2.Undefined) else parts[0]
        return "".join(map(str, parts))

    def render_template(
        self, content: Any, context: Any, jinja_env: jinja2.Environment | None = None, seen_oids: Any = None
    ) -> Any:
        """Render a parameter or a part of it, as Airflow does."""
        if self._rendering in self.sql_files and isinstance(content, str) and content.endswith(".sql"):
            environment = jinja_env or self.get_template_env()  # type: ignore[attr-defined]
            return self._render(environment.get_template(content), context)
        return super().render_template(content, context, jinja_env, seen_oids)  # type: ignore[misc]

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Any, jinja_env: jinja2.Environment, seen_oids: Any
    ) -> None:
        render = super()._do_render_template_fields  # type: ignore[misc]
        if jinja_env.finalize is None:
            # Because it uses the context, Jinja does not evaluate constant expressions early and convert them to text.
            jinja_env.finalize = _unchanged
        if parent is not self:
            render(parent, template_fields, context, jinja_env, seen_oids)
            return
        for name in template_fields:
            written = getattr(self, name, None)
            self._rendering = name
            render(self, (name,), context, jinja_env, seen_oids)
            if (is_output := self._is_mapped_output(name, context)) or _may_vanish(written, jinja_env):
                # Airflow does not render what it mapped over, and 2.11 keeps the template of a notifier that renders
                # to nothing.
                is_kept = getattr(self, name) is written and not is_output and id(written) not in seen_oids
                self._settle(name, "" if is_kept and not hasattr(written, "resolve") else getattr(self, name))
        self._rendering = None

    def refuse_vanished(self) -> None:
        """Refuse blank parameters that were given and must not vanish.

        :raises WtsInvalidRequestError: naming the parameter.
        """
        defaults = defaults_of(type(self))
        # Parameters without a default are refused where they are read.
        for name in sorted(self.never_blank & defaults.keys()):
            value = getattr(self, name, None)
            if is_missing(value) and value is not defaults[name]:
                raise WtsInvalidRequestError(
                    f"{_PARAMETERS.get(name, name)}: must not be blank, but is {quoted(value)}. Nothing was sent. Give "
                    "it a value, or omit the parameter. Example: {{ params.x or 'a default' }}."
                )

    def _is_mapped_output(self, name: str, context: Any) -> bool:
        """Whether a parameter of this instance of a mapped task is the output of another task."""
        if not self._mapped_arguments:
            return False
        parameter, task = _PARAMETERS.get(name, name), context["dag"].get_task(vars(self)["task_id"])
        source = task.expand_input.value
        if isinstance(source, Mapping):
            return hasattr(source.get(parameter), "resolve")
        if not hasattr(source, "resolve"):
            source = source[context["ti"].map_index]
        # Which parameters an output of objects gave, only the instance shows.
        return hasattr(source, "resolve") and parameter in self._mapped_arguments - task.partial_kwargs.keys()

    def _settle(self, name: str, rendered: Any) -> None:
        """Leave a parameter at its default if it rendered to nothing."""
        if name in self.never_blank:
            is_empty = rendered.strip() in ("[]", "()", "{}") if isinstance(rendered, str) else rendered in ([], (), {})
            if is_missing(rendered) or is_empty:
                setattr(self, name, "")
        elif is_missing(rendered):
            setattr(self, name, defaults_of(type(self)).get(name, rendered))


def defaults_of(owner: type) -> dict[str, Any]:
    """Return the defaults of the parameters of one of our classes, by the name of their attribute."""
    found: dict[str, Any] = {}
    for one in owner.__mro__:
        if _is_ours(one) and "__init__" in vars(one):
            for parameter in inspect.signature(vars(one)["__init__"]).parameters.values():
                if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not parameter.empty:
                    found.setdefault(parameter.name, parameter.default)
    return found | {attribute: found[name] for attribute, name in _PARAMETERS.items() if name in found}


def _is_ours(owner: type) -> bool:
    return owner.__module__.startswith("airflow_provider_wts.")


def _may_vanish(written: Any, environment: jinja2.Environment) -> bool:
    """Whether a parameter was given as something to render: a template, or the output of a task."""
    if isinstance(written, str):
        starts = (environment.variable_start_string, environment.block_start_string, environment.comment_start_string)
        return any(start in written for start in starts)
    return hasattr(written, "resolve") or callable(written)


@jinja2.pass_context
def _unchanged(_: jinja2.runtime.Context, value: Any) -> Any:
    return value


def _parts(template: jinja2.Template, context: Any) -> tuple[list[Any], list[Any]]:
    """Render the parts of a template, and return them with the missing values of expressions."""
    environment = template.environment
    missing: list[Any] = []

    @jinja2.pass_context
    def collect_missing(_: jinja2.runtime.Context, value: Any) -> Any:
        if not isinstance(value, (str, jinja2.Undefined)) and is_missing(value):
            missing.append(value)
        return value

    # Copy the context as Airflow does: reading it as a whole would warn of deprecated names.
    names = copy.copy(context)
    if template.globals:
        names.update((name, value) for name, value in template.globals.items() if name not in names)
    finalize = environment.finalize
    if finalize is _unchanged:
        environment.finalize = collect_missing
    try:
        parts = list(
            template.root_render_func(environment.context_class(environment, names, template.name, template.blocks))
        )
    finally:
        environment.finalize = finalize
    return parts, missing
