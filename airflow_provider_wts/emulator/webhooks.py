"""Webhooks and callbacks: what the account reports, posted from a thread of its own to this machine only."""

from __future__ import annotations

import ipaddress
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

from airflow_provider_wts.emulator.state import Account, Contact, Message, Record, Session
from airflow_provider_wts.emulator.switches import Switches

_SESSION = ("companyId", "status", "contactId", "channelId", "departmentId", "userId", "botId", "metadata")
_MESSAGE = ("type", "senderId", "sessionId", "direction", "status", "origin", "text", "failedReason")
_CONTACT = ("companyId", "name", "email", "instagram", "annotation", "status", "origin", "utm", "metadata")


def emit(account: Account, event: str, record: Record) -> None:
    """Report an event to every enabled subscriber.

    :param event: its name, such as ``SESSION_NEW``.
    :param record: what it is about.
    """
    for subscription in account.webhook_subscriptions:
        if subscription["enabled"] and event in subscription["events"]:
            content = {**account.stamped(record), **_content(account, record)}
            body = {"eventType": event, "date": account.now_text(), "content": content}
            account.post(subscription["url"], body, event)


def _content(account: Account, record: Record) -> Mapping[str, Any]:
    if isinstance(record, Session):
        return record.shown(*_SESSION)
    if isinstance(record, Message):
        return record.shown(*_MESSAGE)
    if not isinstance(record, Contact):
        return record.values
    # These names differ from those of the REST calls, as seen on the wire.
    return {
        **record.shown(*_CONTACT),
        "phonenumber": record["phoneNumber"],
        "phonenumberFormatted": record["phoneNumberFormatted"],
        "tagsId": list(record["tagIds"]),
        "tags": account.tags.names(record["tagIds"]),
        "customFieldValues": dict(record["customFields"]),
    }


OUTCOME = ("status", "senderId", "failedReason")
"""The properties of a send that a callback reports."""


def call_back(account: Account, url: str | None, content: Mapping[str, Any]) -> None:
    """Report to the ``callbackUrl`` of a send; the real service's body is not documented.

    :param url: where to; without one, nothing is reported.
    """
    if url:
        account.post(url, dict(content), "callbackUrl")


_TIMEOUT = 5.0


@dataclass(slots=True)
class Post:
    """A webhook or callback.

    :param reason: name of the event, or ``callbackUrl``.
    :param status: what the receiver answered; ``None`` = not posted, or no answer.
    """

    url: str
    reason: str
    body: dict[str, Any]
    status: int | None = None


class Postman:
    """Posts in the order of the events.

    Nothing leaves this machine: a post to a receiver elsewhere is only recorded.
    """

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self._queue: queue.SimpleQueue[Post | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.posts: list[Post] = []

    def post(self, url: str, body: Mapping[str, Any], reason: str) -> None:
        """Post something soon."""
        post = Post(url, reason, dict(body))
        self.posts.append(post)
        if self._switches.webhooks_to == "loopback" and _is_loopback(url):
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="wts-emulator-posts", daemon=True)
                self._thread.start()
            self._queue.put(post)

    def stop(self) -> None:
        """Post what waits, and end the thread."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(_TIMEOUT + 1)
            self._thread = None

    def _work(self) -> None:
        while (post := self._queue.get()) is not None:
            try:
                with requests.Session() as session:
                    # Nothing is sent to a proxy.
                    session.trust_env = False
                    answer = session.post(post.url, json=post.body, timeout=_TIMEOUT, allow_redirects=False)
                    post.status = answer.status_code
            except requests.RequestException:
                post.status = None


def _is_loopback(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        return parts.scheme == "http" and (host == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False
