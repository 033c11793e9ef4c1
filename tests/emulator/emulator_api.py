"""A client that speaks plain HTTP to an emulator, for its tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import requests

from airflow_provider_wts.api.contract import operations

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.running import Emulator

WHATSAPP = "+55|1140028922"
CARLA = "+55|11999990001"
DIEGO = "+55|11999990002"


class Api:
    """Calls operations of a running emulator.

    :param emulator: the emulator.
    """

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {emulator.token}"
        self.session.trust_env = False

    def call(self, operation_id: str, body: object = None, query: Any = None, **path: str) -> requests.Response:
        """Call an operation and return the answer, whatever it is.

        :param operation_id: the operation.
        :param body: the JSON body; none where it is ``None``.
        :param query: query parameters.
        :param path: path parameters.
        """
        operation = operations()[operation_id]
        address = operation.path.format(**{name: quote(value, safe="") for name, value in path.items()})
        return self.session.request(
            operation.method,
            self.emulator.url + address,
            json=body,
            params=query,
            timeout=10,
            allow_redirects=False,
        )

    def ask(self, operation_id: str, body: object = None, query: Any = None, **path: str) -> Any:
        """Call an operation that must succeed, and return its answer.

        :param operation_id: the operation.
        :param body: the JSON body.
        :param query: query parameters.
        :param path: path parameters.
        """
        answer = self.call(operation_id, body, query, **path)
        assert answer.status_code == 200, answer.text
        return answer.json() if answer.content else None

    def bot_key(self, name: str) -> str:
        """Return the key of a chatbot.

        :param name: its name.
        """
        bots = self.ask("list_chatbots", query={"PageSize": 100})["items"]
        return str(next(bot["key"] for bot in bots if bot["name"] == name))

    def start_bot(self, name: str = "Cobrança", to: str = CARLA, **more: Any) -> Any:
        """Start a chatbot and return the session.

        :param name: its name.
        :param to: whom it talks to.
        :param more: other properties of the body.
        """
        return self.ask("send_chatbot", {"botKey": self.bot_key(name), "from": WHATSAPP, "to": to, **more})

    def queue_bot(self, name: str = "Cobrança", to: str = CARLA, **more: Any) -> Any:
        """Queue a chatbot and return the answer.

        :param name: its name.
        :param to: whom it talks to.
        :param more: other properties of the body.
        """
        return self.ask("queue_chatbot", {"botKey": self.bot_key(name), "from": WHATSAPP, "to": to, **more})

    def send_text(self, to: str = CARLA, text: str = "Oi", **more: Any) -> Any:
        """Send a text and return the answer.

        :param to: whom to.
        :param text: what.
        :param more: other properties of the body.
        """
        return self.ask("send_text", {"from": WHATSAPP, "to": to, "text": text, **more})

    def get_session(self, identifier: str, **query: Any) -> Any:
        """Return a session.

        :param identifier: its id.
        :param query: query parameters.
        """
        return self.ask("get_session", query=query, id=identifier)
