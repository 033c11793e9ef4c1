"""WhatsApp templates: the calls about them, and their parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Unpack

from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.errors import WtsInvalidRequestError, quoted
from airflow_provider_wts.api.parameters import json_text, mapping, refuse_control_characters
from airflow_provider_wts.api.window import Window
from airflow_provider_wts.api.wire import UNSET, Unset, is_missing, query_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_wts.api.types import TemplatePage


class TemplateFilters(Window, total=False):
    """Filters of a list of templates; all optional. A template must match all of them.

    ``searchable_text``: text to search for. ``approved_only``: only those that may be sent. ``template_type``: its use:
    ``QUICKREPLY``, ``ATTENDANCE``, ``CAMPAIGN``, ``SEQUENCE``, ``SCHEDULEDMESSAGE``, ``AUTHENTICATION``.
    ``include_details``: ``All``, ``Params``, ``File``, ``Interactive``.
    """

    archived: bool | Unset
    name: str | Unset
    searchable_text: str | Unset
    channel_id: str | Unset
    approved_only: bool | Unset
    template_type: str | Unset
    include_details: Sequence[str] | Unset


def list_templates(**filters: Unpack[TemplateFilters]) -> Call[TemplatePage]:
    """List templates, paged."""
    return Call("list_templates", query=query_of(TemplateFilters, filters, {"template_type": "Type"}))


def needed_channel(channel: str | None) -> str:
    """Return the channel, which a template requires.

    :raises WtsInvalidRequestError: when there is none.
    """
    if channel is None:
        raise WtsInvalidRequestError(
            "channel: is required to send a template. Nothing was sent. Set it here or in the connection. Example: "
            "'+55 11 4000-1234'."
        )
    return channel


_EXAMPLE = """{"nome": "Maria", "valor": "149,90"}"""

# Meta refuses template parameters with a line break, a tab, or more than four consecutive spaces.
_REFUSED_BLANKS = r"\s*[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]\s*|\s{5,}"


def template_parameters(name: str, value: Any) -> dict[str, str] | Unset | None:
    """Return the values of a template's variables. Numbers become text, as the API expects.

    Line breaks, tabs and more than four consecutive spaces, which Meta refuses, each become one space.

    :param name: the parameter's name, for errors.
    :param value: values by the name of the variable, a list of ``{"key": ..., "value": ...}``, or one as JSON text.
    :raises WtsInvalidRequestError: when it is neither, or a value is empty, or neither text nor a number.
    """
    if value is UNSET or value is None:
        return value
    if isinstance(value, str):
        if not value.strip():
            return UNSET
        # Numbers stay as they are written: a customer must not see 149.9 instead of 149.90.
        value = json_text(name, value, parse_float=str)
    if isinstance(value, Mapping):
        value = {_variable(name, key): one for key, one in value.items()}
    found = mapping(name, value, example=_EXAMPLE)
    return {key: _filling(f"{name}[{quoted(key)}]", one) for key, one in found.items()}


def check_template(template: Mapping[str, Any], given: Mapping[str, str | None] | Unset | None) -> None:
    """Refuse parameters that do not match a template.

    :param template: the template from the list.
    :param given: values by the name of the variable.
    :raises WtsInvalidRequestError: when a variable has no value, or there is no such variable.
    """
    listed = template.get("params")
    known = [str(one["name"]) for one in listed or () if isinstance(one, Mapping) and one.get("name")]
    if not isinstance(listed, list) or (not known and "{{" in str(template.get("text") or "")):
        # The list does not show the variables.
        return
    values_ = given or {}
    # null counts as no value.
    absent = [name for name in known if values_.get(name) is None]
    extra = [name for name in values_ if name not in known]
    if not absent and not extra:
        return
    what = [f"{' and '.join(map(repr, absent))} missing"] if absent else []
    what += [f"{' and '.join(map(quoted, extra[:5]))} unknown"] if extra else []
    takes = f"It takes {', '.join(map(repr, known))}" if known else "It takes no parameters"
    raise WtsInvalidRequestError(f"parameters: template {quoted(template.get('name'))}: {', '.join(what)}. {takes}.")


def filled_template(template: Mapping[str, Any], given: Mapping[str, str | None] | Unset | None) -> str:
    """Return the text of a template with its variables replaced, for the log.

    :param template: the template from the list.
    :param given: values by the name of the variable.
    """
    text = str(template.get("text") or "")
    for name, value in (given or {}).items():
        text = text.replace("{{" + name + "}}", str(value))
    return text


#: The contract's statuses with which a template must not be sent.
_NOT_SENDABLE = frozenset(("draft", "disapproved", "inrevision", "paused", "disabled", "deleted"))
#: File types of templates. "UNDEFINED" means no file; without a value, it is unknown.
_MEDIA = frozenset(("image", "video", "document"))


def is_sendable(template: Mapping[str, Any]) -> bool:
    """Whether a template from the list may be approved."""
    status = template.get("status")
    return not isinstance(status, str) or status.replace("_", "").lower() not in _NOT_SENDABLE


def check_sendable(template: Mapping[str, Any]) -> None:
    """Refuse a template that is known not to be approved.

    :param template: the template from the list.
    :raises WtsInvalidRequestError: when it is not approved.
    """
    if not is_sendable(template):
        status = quoted(template.get("status"))
        raise WtsInvalidRequestError(
            f"template: {quoted(template.get('name'))} is not approved; its status is {status}. Nothing was "
            "sent. Wait for its approval in WTS Chat, or send another template."
        )


def check_media(template: Mapping[str, Any], *, has_file: bool) -> None:
    """Refuse a template with media without a file, and a text template with a file.

    :param template: the template from the list.
    :param has_file: whether a file is given.
    :raises WtsInvalidRequestError: when the file is missing or unexpected.
    """
    kind = str(template.get("fileType") or "").lower()
    if kind in _MEDIA and not has_file:
        raise WtsInvalidRequestError(
            f"file: template {quoted(template.get('name'))} requires a file of the type {kind}. Nothing was sent. "
            "Example: 'https://example.com/invoice.pdf'"
        )
    if kind == "undefined" and has_file:
        raise WtsInvalidRequestError(
            f"file: template {quoted(template.get('name'))} is a text without a file. Nothing was sent. Omit the file."
        )


def _variable(name: str, key: Any) -> str:
    if isinstance(key, bool) or not isinstance(key, (str, int)):
        raise WtsInvalidRequestError(f"{name}: the key {quoted(key)} is not the name of a variable.")
    return str(key)


def _filling(name: str, value: Any) -> str:
    if is_missing(value):
        raise WtsInvalidRequestError(
            f"{name}: has no value, which Meta refuses. Nothing was sent. Example: {_EXAMPLE}."
        )
    if isinstance(value, str):
        filling = re.sub(_REFUSED_BLANKS, " ", value.strip())
        refuse_control_characters(name, filling)
        return filling
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return str(value)
    hint = " Write it as text, in a row with '| as_br'." if isinstance(value, date) else ""
    raise WtsInvalidRequestError(f"{name}: must be text, not {type(value).__name__}.{hint} Example: {_EXAMPLE}.")
