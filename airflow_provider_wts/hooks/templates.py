"""How Airflow's templates become the parameters of operators, sensors and the notifier.

Airflow renders each parameter named in ``template_fields``. With ``render_template_as_native_obj=True`` it also reads
what comes out as Python code, which makes a number of ``"+5511999998888"`` and a list of ``"149,90"``. Here native
rendering keeps the type of a template that is one expression, and text stays text.
"""

from __future__ import annotations

import copy
import inspect
import re
from typing import TYPE_CHECKING, Any, ClassVar

import jinja2

from airflow_provider_wts.api.errors import WtsInvalidRequestError, quoted
from airflow_provider_wts.api.wire import is_missing

if TYPE_CHECKING:
    from collections.abc import Iterable

# Parameters that Airflow's own attributes keep from being called by their names.
_PARAMETERS = {"is_dry_run": "dry_run"}


class RenderedParameters:
    """Mixin of all that has ``template_fields``; comes before Airflow's class among the bases.

    A template that renders to nothing (blank, ``None``, NaN, or one of these as text) leaves its parameter at its
    default, as if it was not given.
    """

    #: Parameters that must not vanish: they hold sends back, or a customer reads them. If one of them was given and
    #: its template renders to nothing, it stays blank, and :meth:`refuse_vanished` refuses it. The default connection
    #: may be another account, so the hook refuses a blank one.
    never_blank: ClassVar[frozenset[str]] = frozenset({"wts_conn_id"})

    #: Parameters that people read. An expression inside their text must have a value: not "Olá None!".
    prose: ClassVar[frozenset[str]] = frozenset()

    #: Parameters that may name a file ending in ``.sql``, whose content takes their place. ``template_ext`` of Airflow
    #: would do so in all parameters, also in the text of a message.
    sql_files: ClassVar[frozenset[str]] = frozenset()

    template_fields: Any

    #: Lists and objects are shown as JSON; for the rest, a class says it itself.
    template_fields_renderers: ClassVar[dict[str, str]] = {}

    #: Parameters of this class, without those of its bases, that are no templates.
    not_templated: ClassVar[frozenset[str]] = frozenset()

    _rendering: str | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make each parameter of one of our classes a template field, after those of its bases."""
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
            for name in keywords:
                # A template of rows is filled in for each row, and not by Airflow.
                if name not in vars(cls).get("not_templated", ()) and not name.startswith("row_"):
                    fields.append(attributes.get(name, name))
                    if re.search(r"\b(Any|Mapping|Sequence)\b", types[name]):
                        renderers[name] = "json"
        cls.template_fields = tuple(dict.fromkeys(fields))
        cls.template_fields_renderers = renderers | vars(cls).get("template_fields_renderers", {})

    def _render(self, template: jinja2.Template, context: Any, dag: Any = None) -> Any:
        parts, missing = _parts(template, context)
        if missing and self._rendering in self.prose and len([part for part in parts if str(part).strip()]) > 1:
            from airflow.providers.common.compat.sdk import AirflowFailException

            raise AirflowFailException(
                f"{self._rendering}: an expression in its template has no value: {quoted(missing[0])} came. "
                "Nothing was sent. Give it one where it is missing. Example: {{ params.name or 'cliente' }}."
            )
        if _is_native(template.environment) and len(parts) == 1:
            return _defined(parts[0])
        return "".join(map(str, parts))

    def render_template(
        self, content: Any, context: Any, jinja_env: jinja2.Environment | None = None, seen_oids: Any = None
    ) -> Any:
        """Render a parameter or a part of it, as Airflow does.

        :param content: the template.
        :param context: what it may name.
        :param jinja_env: what renders it.
        :param seen_oids: what was rendered already.
        """
        if self._rendering in self.sql_files and isinstance(content, str) and content.endswith(".sql"):
            environment = jinja_env or self.get_template_env()  # type: ignore[attr-defined]
            return self._render(environment.get_template(content), context)
        return super().render_template(content, context, jinja_env, seen_oids)  # type: ignore[misc]

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Any, jinja_env: jinja2.Environment, seen_oids: Any
    ) -> None:
        render = super()._do_render_template_fields  # type: ignore[misc]
        if jinja_env.finalize is None:
            # One that takes the context: then Jinja computes no expression in advance, and makes no text of it.
            jinja_env.finalize = _as_it_is
        if parent is not self:
            render(parent, template_fields, context, jinja_env, seen_oids)
            return
        for name in template_fields:
            written = getattr(self, name, None)
            self._rendering = name
            render(self, (name,), context, jinja_env, seen_oids)
            if _may_vanish(written, jinja_env):
                self._settle(name, written)
        self._rendering = None

    def refuse_vanished(self) -> None:
        """Refuse what must not vanish, was given, and is blank.

        :raises WtsInvalidRequestError: naming the parameter.
        """
        defaults = defaults_of(type(self))
        # What has no default is refused where it is read.
        for name in sorted(self.never_blank & defaults.keys()):
            value = getattr(self, name, None)
            if is_missing(value) and value is not defaults[name]:
                raise WtsInvalidRequestError(
                    f"{_PARAMETERS.get(name, name)}: was given and has no value: {quoted(value)} came. Nothing was "
                    "sent. Give it a value, or leave the parameter out. Example: {{ params.x or 'a default' }}."
                )

    def _settle(self, name: str, written: Any) -> None:
        """Leave a parameter at its default if its template rendered to nothing."""
        rendered = getattr(self, name)
        if rendered is written and not hasattr(written, "resolve"):
            # Airflow 2.11 leaves the template of a notifier in its place when it renders to nothing.
            rendered = ""
        if name in self.never_blank:
            is_text = isinstance(rendered, str)
            if is_missing(rendered) or (
                rendered.strip() in ("[]", "()", "{}") if is_text else rendered in ([], (), {})
            ):
                setattr(self, name, "")
        elif is_missing(rendered):
            setattr(self, name, defaults_of(type(self)).get(name, rendered))


def defaults_of(owner: type) -> dict[str, Any]:
    """Return the defaults of a class's parameters, by the name of their attribute.

    :param owner: an operator, sensor or notifier of this provider.
    """
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
    """Whether a parameter was written as something that is rendered: a template, or the output of a task."""
    if isinstance(written, str):
        starts = (environment.variable_start_string, environment.block_start_string, environment.comment_start_string)
        return any(start in written for start in starts)
    return hasattr(written, "resolve") or callable(written)


@jinja2.pass_context
def _as_it_is(_: jinja2.runtime.Context, value: Any) -> Any:
    return value


def _is_native(environment: jinja2.Environment) -> bool:
    from jinja2.nativetypes import NativeEnvironment

    return isinstance(environment, NativeEnvironment)


def _parts(template: jinja2.Template, context: Any) -> tuple[list[Any], list[Any]]:
    """Return what the parts of a template give, and the values of expressions that are missing."""
    environment = template.environment
    missing: list[Any] = []

    @jinja2.pass_context
    def noted(_: jinja2.runtime.Context, value: Any) -> Any:
        if not isinstance(value, (str, jinja2.Undefined)) and is_missing(value):
            missing.append(value)
        return value

    # A copy, as Airflow makes one: its context warns of deprecated names when it is read as a whole.
    names = copy.copy(context)
    if template.globals:
        names.update((name, value) for name, value in template.globals.items() if name not in names)
    finalize = environment.finalize
    if finalize is _as_it_is:
        environment.finalize = noted
    try:
        parts = list(
            template.root_render_func(environment.context_class(environment, names, template.name, template.blocks))
        )
    except Exception:
        environment.handle_exception()  # with the template's line in the traceback
    finally:
        environment.finalize = finalize
    return parts, missing


def _defined(value: Any) -> Any:
    # Airflow's environments are strict, so this says what is undefined; a lenient one gives text.
    return str(value) if isinstance(value, jinja2.Undefined) else value
