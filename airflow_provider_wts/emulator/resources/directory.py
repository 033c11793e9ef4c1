"""What a client looks up by name: channels, templates and the office hours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_wts.emulator.serving import Request, detail, handles, page, plain, select

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.records import Record

# The filter's names are not those of the answer.
_TEMPLATE_TYPES = {
    "QUICKREPLY": "QUICKREPLY",
    "ATTENDANCE": "TEMPLATE",
    "CAMPAIGN": "TEMPLATE_CAMPAIGN",
    "SEQUENCE": "TEMPLATE_SEQUENCE",
    "SCHEDULEDMESSAGE": "TEMPLATE_SCHEDULED_MESSAGE",
    "AUTHENTICATION": "AUTHENTICATION",
}


@handles("list_channels")
def _channels(request: Request) -> list[dict[str, Any]]:
    wanted = str(request.query.get("ChannelType", "All")).lower()
    channels = request.account.channels.by_creation()
    return [
        plain(request.account, channel)
        for channel in channels
        if wanted == "all" or wanted == channel["identity"]["platform"].lower()
    ]


@handles("list_templates")
def _templates(request: Request) -> dict[str, Any]:
    query = request.query
    archived = query.get("Archived")
    name, text = (str(query.get(key, "")).casefold() for key in ("Name", "SearchableText"))
    channel, wanted = query.get("ChannelId"), str(query.get("Type", "")).upper()

    def keep(template: Record) -> bool:
        searchable = f"{template['name']} {template['text']}".casefold()
        return (
            (archived is None or template["archived"] == archived)
            and name in template["name"].casefold()
            and text in searchable
            and (channel is None or template["channelId"] == channel.lower())
            and (not query.get("ApprovedOnly") or template["status"] == "Approved")
            and (not wanted or _TEMPLATE_TYPES[wanted] in template["type"])
        )

    def show(template: Record) -> dict[str, Any]:
        answer = plain(request.account, template)
        answer.pop("params")
        detail(answer, request, "params", lambda: template["params"], "Params")
        return answer

    return page(request, select(request, request.account.templates, keep), show)


@handles("get_office_hours")
def _office_hours(request: Request) -> dict[str, Any]:
    return request.account.office_hours
