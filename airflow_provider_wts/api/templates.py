"""WhatsApp templates: the calls about them, and the parameters that fill one in."""

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
    """Which templates a list answers; everything may be left out, and what is given must all hold.

    ``archived``: whether they are archived. ``name``: their name. ``searchable_text``: text to search for.
    ``channel_id``: their channel. ``approved_only``: only those that may be sent. ``template_type``: their use:
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
    """List templates, paged.

    :param filters: see :class:`TemplateFilters`, and :class:`~airflow_provider_wts.api.window.Window` for the bounds
        on creation and update, and the order.
    """
    return Call("list_templates", query=query_of(TemplateFilters, filters, {"template_type": "Type"}))


def needed_channel(channel: str | None) -> str:
    """Return the channel that a template goes out from.

    :raises WtsInvalidRequestError: when there is none.
    """
    if channel is None:
        raise WtsInvalidRequestError(
            "channel: a template needs the channel to send from. Nothing was sent. Set it here or in the connection. "
            "Example: '+55 11 4000-1234'."
        )
    return channel


_EXAMPLE = """{"nome": "Maria", "valor": "149,90"}"""

# Meta refuses values of templates with a line break, a tab, or more than four spaces in a row.
_REFUSED_BLANKS = re.compile(r"\s*[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]\s*|\s{5,}")


def template_parameters(name: str, value: Any) -> dict[str, str] | Unset | None:
    """Return the values of a template's variables. The API takes text, so numbers become text.

    Meta refuses line breaks, tabs and more than four spaces in a row: each becomes one space.

    :param name: the parameter's name, for the error.
    :param value: values by the name of the variable, a list of ``{"key": ..., "value": ...}``, or one as JSON text.
    :raises WtsInvalidRequestError: when it is neither, or a value is empty, or neither text nor a number.
    """
    if value is UNSET or value is None:
        return value
    if isinstance(value, str):
        if not value.strip():
            return UNSET
        # Numbers stay as they are written: 149.90 must not become 149.9 in front of a customer.
        value = json_text(name, value, parse_float=str)
    if isinstance(value, Mapping):
        value = {_variable(name, key): one for key, one in value.items()}
    found = mapping(name, value, example=_EXAMPLE)
    return {key: _filling(f"{name}[{quoted(key)}]", one) for key, one in found.items()}


def check_template(template: Mapping[str, Any], given: Mapping[str, str | None] | Unset | None) -> None:
    """Refuse parameters that do not fit a template.

    :param template: the template, as the list shows it.
    :param given: values by the name of the variable.
    :raises WtsInvalidRequestError: when a variable has no value, or there is no such variable.
    """
    listed = template.get("params")
    known = [str(one["name"]) for one in listed or () if isinstance(one, Mapping) and one.get("name")]
    if not isinstance(listed, list) or (not known and "{{" in str(template.get("text") or "")):
        # The list does not show the variables.
        return
    values_ = given or {}
    # A variable that is given as null has no value.
    absent = [name for name in known if values_.get(name) is None]
    extra = [name for name in values_ if name not in known]
    if not absent and not extra:
        return
    what = [f"{' and '.join(map(repr, absent))} missing"] if absent else []
    what += [f"{' and '.join(map(quoted, extra[:5]))} unknown"] if extra else []
    takes = f"It takes {', '.join(map(repr, known))}" if known else "It takes no parameters"
    raise WtsInvalidRequestError(f"parameters: template {quoted(template.get('name'))}: {', '.join(what)}. {takes}.")


def filled_template(template: Mapping[str, Any], given: Mapping[str, str | None] | Unset | None) -> str:
    """Return the text of a template with its variables filled in, for the log.

    :param template: the template, as the list shows it.
    :param given: values by the name of the variable.
    """
    text = str(template.get("text") or "")
    for name, value in (given or {}).items():
        text = text.replace("{{" + name + "}}", str(value))
    return text


#: Statuses of templates, as the contract has them, with which none may be sent.
_NOT_SENDABLE = frozenset(("draft", "disapproved", "inrevision", "paused", "disabled", "deleted"))
#: Files of templates. "UNDEFINED" is a template without one; no value leaves it open.
_MEDIA = frozenset(("image", "video", "document"))


def check_sendable(template: Mapping[str, Any]) -> None:
    """Refuse a template that is known not to be approved. One whose status is unknown is sent.

    :param template: the template, as the list shows it.
    :raises WtsInvalidRequestError: when it is not approved.
    """
    status = template.get("status")
    if isinstance(status, str) and status.replace("_", "").lower() in _NOT_SENDABLE:
        raise WtsInvalidRequestError(
            f"template: {quoted(template.get('name'))} is not approved, its status is {quoted(status)}. Nothing was "
            "sent. Wait for its approval in WTS Chat, or send another template."
        )


def check_media(template: Mapping[str, Any], *, has_file: bool) -> None:
    """Refuse a template with media without its file, and a file on a template that has none.

    :param template: the template, as the list shows it.
    :param has_file: whether a file is given.
    :raises WtsInvalidRequestError: when it is one of both.
    """
    kind = str(template.get("fileType") or "").lower()
    if kind in _MEDIA and not has_file:
        raise WtsInvalidRequestError(
            f"file: template {quoted(template.get('name'))} needs one of the kind {kind}. Nothing was sent. Example: "
            "'https://example.com/invoice.pdf'"
        )
    if kind == "undefined" and has_file:
        raise WtsInvalidRequestError(
            f"file: template {quoted(template.get('name'))} is a text and takes none. Nothing was sent. Leave the file "
            "out."
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
        filling = _REFUSED_BLANKS.sub(" ", value.strip())
        refuse_control_characters(name, filling)
        return filling
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return str(value)
    hint = " Write it as text, in a row with '| as_br'." if isinstance(value, date) else ""
    raise WtsInvalidRequestError(f"{name}: must be text, not {type(value).__name__}.{hint} Example: {_EXAMPLE}.")
