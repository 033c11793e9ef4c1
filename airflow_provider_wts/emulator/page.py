"""The emulator's page: what customers see, for a person who rehearses a campaign.

``GET /`` answers one HTML file that needs nothing from elsewhere. It asks ``GET /_emulator/page`` every second for the
conversations and the sends, as JSON data; all text is put into the page as text. A session's ``previewUrl`` answers the
same file, which then shows this conversation alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Any, Final
from urllib.parse import unquote

from airflow_provider_wts.api.contract import operations
from airflow_provider_wts.emulator.answers import Answer
from airflow_provider_wts.emulator.errors import Refusal
from airflow_provider_wts.emulator.service import RecordedRequest, Service
from airflow_provider_wts.emulator.state import Account, Message, Session

# How much is shown: a campaign of thousands must not fill the browser.
MOST_CONVERSATIONS = 100
MOST_MESSAGES = 50
MOST_REQUESTS = 500
MOST_SENDS = 500

SENDS: Final = frozenset(
    name for name, one in operations().items() if name.startswith(("send_", "queue_")) and one.effect == "once"
)
"""The operations that write to a customer."""

# The provider names its DAG run to an emulator on its own machine.
_SENDER = re.compile(r"\(dag=([^;]*); run=([^)]*)\)")
_DAG_NAMES = ("dag", "dag_id")
_RUN_NAMES = ("run", "run_id")

# The page runs its own script and asks its own server; whatever a message may smuggle in can do neither.
_HEADERS = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
]


@cache
def html_page() -> Answer:
    """Return the page."""
    html = files("airflow_provider_wts.emulator").joinpath("page.html").read_bytes()
    return Answer(200, html, _HEADERS, "text/html; charset=utf-8")


def page_data(service: Service, session_id: str | None = None) -> dict[str, Any]:
    """Return what the page shows, as JSON data: nothing but what the emulator itself knows, and no token.

    :param session_id: show this conversation alone.
    """
    account = service.account
    with account.lock:
        account.agenda.run_due()
        kept = service.recorder.kept()[-MOST_REQUESTS:]
        sessions = account.sessions.by_creation()[-MOST_CONVERSATIONS:]
        if session_id is not None:
            found = account.sessions.find(session_id)
            sessions = [] if found is None else [found]
        return {
            "now": account.now_text(),
            "speed": account.clock.speed,
            "totals": {
                "conversations": len(account.sessions),
                "messages": len(account.messages),
                "requests": service.recorder.total,
                "errors": sum(count for status, count in service.recorder.statuses.items() if status >= 400),
                "violations": len(account.violations),
            },
            "conversations": [_conversation(account, session) for session in sessions],
            "sends": list(_last_sends(account, kept)),
        }


def _conversation(account: Account, session: Session) -> dict[str, Any]:
    contact, messages = session.contact, session.messages
    return {
        **session.shown("status", "metadata"),
        "name": contact["name"],
        "address": contact["phoneNumberFormatted"] or contact["instagram"],
        "from": contact["phoneNumber"] or contact["instagram"],
        "channel": session.channel["identity"]["displayName"],
        "channel_id": session.channel.id,
        "bot": session.run.bot["name"] if session.run else None,
        "earlier": max(0, len(messages) - MOST_MESSAGES),
        "messages": [_message(account, message) for message in messages[-MOST_MESSAGES:]],
    }


def _message(account: Account, message: Message) -> dict[str, Any]:
    template = account.templates.find(message["templateId"])
    file = (message["details"] or {}).get("file") or {}
    return {
        **message.shown("status", "text"),
        "mine": message["direction"] == "FROM_HUB",
        "by": message["origin"],
        "kind": message["type"],
        "reason": message["failedReason"],
        "file": file.get("name") or ("file" if message["fileId"] else None),
        "template": template["name"] if template else None,
        "at": message["timestamp"],
    }


def _last_sends(account: Account, requests: Iterable[RecordedRequest]) -> Iterator[dict[str, Any]]:
    """Return the sends, newest first, with the DAG run that each names."""
    statuses = {one.sender_id: one.status for one in account.deliveries[-2 * MOST_SENDS :] if one.sender_id}
    sends = (
        _send(account, request, body, item, statuses)
        for request in reversed([one for one in requests if one.operation_id in SENDS])
        for body, item in _entries(request)
    )
    return islice(sends, MOST_SENDS)


def _entries(request: RecordedRequest) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Return body and entry for each recipient; a body that is not an object was refused, and names none."""
    body = request.body
    if not isinstance(body, dict):
        return [({}, {})]
    if str(request.operation_id).endswith("_batch") and isinstance(body.get("messages"), list):
        return [(body, item) for item in body["messages"] if isinstance(item, dict)]
    return [(body, body)]


def _send(
    account: Account,
    request: RecordedRequest,
    body: Mapping[str, Any],
    item: Mapping[str, Any],
    statuses: Mapping[str, str],
) -> dict[str, Any]:
    dag, run = dag_run_of(item, body)
    if dag is None and (match := _SENDER.search(request.header("user-agent") or "")):
        dag, run = unquote(match[1]), unquote(match[2])
    sender_id = item.get("senderId")
    return {
        "at": request.at,
        "operation": request.operation_id,
        "to": _recipient(account, item),
        "what": _content(account, body, item),
        "dag": dag,
        "run": run,
        "http": request.status,
        "fault": request.fault,
        "took_effect": request.took_effect,
        "status": statuses.get(sender_id) if isinstance(sender_id, str) else None,
    }


def _recipient(account: Account, item: Mapping[str, Any]) -> str | None:
    session, to = account.sessions.find(item.get("sessionId")), item.get("to")
    contact = session.contact if session is not None else None
    if contact is None and isinstance(to, str):
        with suppress(Refusal):
            contact = account.contact_by_address(to)
    name = contact["name"] if contact is not None else None
    return str(name or to) if name or to else None


def _content(account: Account, body: Mapping[str, Any], item: Mapping[str, Any]) -> str | None:
    """Return the name of what was sent: a chatbot or a template; else the text."""
    for name, table in (("botKey", account.chatbots), ("templateId", account.templates)):
        key = body.get(name)
        if isinstance(key, str):
            found: Any = next((one for one in table if key.lower() in (one.id, one["key"], one["internalName"])), None)
            return str(found["name"]) if found is not None else key
    text = item.get("text")
    return text if isinstance(text, str) else None


def dag_run_of(item: Mapping[str, Any], body: Mapping[str, Any] | None = None) -> tuple[str | None, str | None]:
    """Return the DAG and the run that a send names in its metadata, if it does.

    Any object in the session's or the contact's metadata counts that has ``dag`` or ``dag_id``, and ``run`` or
    ``run_id``, such as ``{"campaign": {"dag": "{{ dag.dag_id }}", "run": "{{ run_id }}"}}``.

    :param item: the body, or the entry of a batch.
    :param body: the body of the batch.
    """
    for holder in (item, body or {}):
        for name in ("sessionMetadata", "contactMetadata"):
            for part in _objects(holder.get(name)):
                dag = next((part[one] for one in _DAG_NAMES if isinstance(part.get(one), str)), None)
                run = next((part[one] for one in _RUN_NAMES if isinstance(part.get(one), str)), None)
                if dag and run:
                    return dag, run
    return None, None


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """Return an object and the objects right in it: who nests deeper means something else."""
    if isinstance(value, dict):
        yield value
        yield from (part for part in value.values() if isinstance(part, dict))
