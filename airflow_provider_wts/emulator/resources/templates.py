"""Templates: the list, and a text filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from airflow_provider_wts.emulator.answers import Request, answer, by_name
from airflow_provider_wts.emulator.conversation import needs_file
from airflow_provider_wts.emulator.crud import Resource
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
    approved, kind = request.query.get("ApprovedOnly"), str(request.query.get("Type", "")).upper()
    return lambda template: (
        (not approved or template["status"] == "Approved") and (not kind or _TEMPLATE_TYPES[kind] in template["type"])
    )


Resource(
    "template",
    show=lambda request, template: answer(request, template, by_name("params")),
    filters={"Archived": "archived", "ChannelId": "channelId"},
    texts={"Name": ("name",), "SearchableText": ("name", "text")},
    keep=_wanted,
)


def filled_template(
    account: Account, template: Record, parameters: Mapping[str, str | None] | None, file: object
) -> str:
    """Return the text of a template with its variables filled in, or refuse."""
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
