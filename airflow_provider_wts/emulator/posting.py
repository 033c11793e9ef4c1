"""Posts webhooks and callbacks from a thread of its own, to receivers on this machine only."""

from __future__ import annotations

import http.client
import ipaddress
import json
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_wts.emulator.switches import Switches

_TIMEOUT = 5.0


@dataclass(slots=True)
class Post:
    """A webhook or callback.

    :param url: where to.
    :param reason: name of the event, or ``callbackUrl``.
    :param body: what.
    :param status: what the receiver answered; ``None`` = not posted, or no answer.
    """

    url: str
    reason: str
    body: dict[str, Any]
    status: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {"url": self.url, "reason": self.reason, "body": self.body, "status": self.status}


class Postman:
    """Posts in the order of the events.

    An emulator must not reach out to the world: a receiver that is not on this machine gets nothing, and the post is
    recorded all the same.

    :param switches: say whether anything is posted.
    """

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self._queue: queue.SimpleQueue[Post | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.posts: list[Post] = []

    def post(self, url: str, body: Mapping[str, Any], reason: str) -> None:
        """Post something soon.

        :param url: where to.
        :param body: what.
        :param reason: name of the event, or ``callbackUrl``.
        """
        post = Post(url, reason, dict(body))
        self.posts.append(post)
        if self._switches.webhooks_to == "loopback" and _is_loopback(url):
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="wts-emulator-posts", daemon=True)
                self._thread.start()
            self._queue.put(post)

    def clear(self) -> None:
        """Forget what was posted."""
        self.posts.clear()

    def stop(self) -> None:
        """Post what waits, and end the thread."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(_TIMEOUT + 1)
            self._thread = None

    def _work(self) -> None:
        while (post := self._queue.get()) is not None:
            parts = urlsplit(post.url)
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=_TIMEOUT)
            try:
                path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                headers = {"Content-Type": "application/json"}
                connection.request("POST", path, json.dumps(post.body, ensure_ascii=False).encode(), headers)
                post.status = connection.getresponse().status
            except (OSError, http.client.HTTPException):
                post.status = None
            finally:
                connection.close()


def _is_loopback(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        return parts.scheme == "http" and (host == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False
