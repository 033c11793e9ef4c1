"""Templates: the list, and a text filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_wts.emulator.conversation import needs_file
from airflow_provider_wts.emulator.crud import Request, Resource, detail, plain
from airflow_provider_wts.emulator.errors import Refusal
from airflow_provider_wts.emulator.state import Account, Record

# The filter's names are not those of the answer.
_TEMPLATE_TYPES = {
    "QUICKREPLY": "QUICKREPLY",
    "ATTENDANCE": "TEMPLATE",
    "CAMPAIGN": "TEMPLATE_CAMPAIGN",
    "SEQUENCE": "TEMPLATE_SEQUENCE",
    "SCHEDULEDMESSAGE": "TEMPLATE_SCHEDULED_MESSAGE",
    "AUTHENTICATION": "AUTHENTICATION",
}


def _wanted(request: Request) -> Callable[[Record], bool]:
    query = request.query
    archived = query.get("Archived")
    name, text = (str(query.get(key, "")).casefold() for key in ("Name", "SearchableText"))
    channel, kind = query.get("ChannelId"), str(query.get("Type", "")).upper()
    return lambda template: (
        (archived is None or template["archived"] == archived)
        and name in template["name"].casefold()
        and text in f"{template['name']} {template['text']}".casefold()
        and (channel is None or template["channelId"] == channel.lower())
        and (not query.get("ApprovedOnly") or template["status"] == "Approved")
        and (not kind or _TEMPLATE_TYPES[kind] in template["type"])
    )


def _show(request: Request, template: Record) -> dict[str, Any]:
    answer = plain(request.account, template)
    detail(answer, request, "params", lambda: template["params"], "Params")
    return answer


Resource("template", "templates", "O template", show=_show, keep=_wanted)


def filled_template(
    account: Account, template: Record, parameters: Mapping[str, str | None] | None, file: object
) -> str:
    """Return the text of a template with its variables filled in, or refuse.

    :param parameters: values by the name of the variable.
    :param file: the file that goes with it, if any.
    """
    if not file and needs_file(template) and account.switches.media_template_without_file == "refuse":
        raise Refusal("FORM_ERROR", "O template exige um arquivo.")
    if template["archived"] or template["status"] != "Approved":
        raise Refusal("FORM_ERROR", "O template não está aprovado.")
    text = str(template["text"])
    for param in template["params"]:
        value = (parameters or {}).get(param["name"])
        if value is None:
            raise Refusal("FORM_ERROR", f"O parâmetro {param['name']} do template é obrigatório.")
        text = text.replace("{{" + param["name"] + "}}", value)
    return text
