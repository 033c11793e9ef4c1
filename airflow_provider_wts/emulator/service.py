"""Everything behind the HTTP server: the account with its faults, limits and records, and how they are driven."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.emulator import conversations
from airflow_provider_wts.emulator.account import Account, Delivery, address_key
from airflow_provider_wts.emulator.faults import Faults
from airflow_provider_wts.emulator.limits import RateLimits
from airflow_provider_wts.emulator.phones import is_handle, stored_phone
from airflow_provider_wts.emulator.posting import Postman
from airflow_provider_wts.emulator.recording import Recorder
from airflow_provider_wts.emulator.seeding import seed_account, seed_default
from airflow_provider_wts.emulator.switches import Switches

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_wts.emulator.records import Message


class Service:
    """One emulated service. Python attributes and the control calls over HTTP use the same methods.

    :param token: the API token that it accepts.
    :param seed: makes the ids.
    :param speed: emulated seconds per real second.
    :param latency: real seconds that each answer takes longer.
    :param default_seed: whether the default objects are there.
    """

    def __init__(
        self,
        *,
        token: str,
        seed: int = 0,
        speed: float = 1.0,
        latency: float = 0.0,
        default_seed: bool = True,
    ) -> None:
        self.token = token
        self.latency = latency
        self.switches = Switches()
        self.faults = Faults()
        self.recorder = Recorder(self.switches)
        self.postman = Postman(self.switches)
        self.stopping = threading.Event()
        self._seed = seed
        self._default_seed = default_seed
        self._address = ""
        self._begin(speed)

    def _begin(self, speed: float) -> None:
        self.account = Account(self.switches, speed=speed, seed=self._seed)
        self.account.address = self._address
        self.account.post = self.postman.post
        self.limits = RateLimits(self.account.clock, self.switches)
        if self._default_seed:
            seed_default(self.account)

    def listens_at(self, address: str) -> None:
        """Note the address that answers name in their URLs.

        :param address: the base URL.
        """
        self._address = address
        self.account.address = address

    def reset(self) -> None:
        """Begin anew: objects, records, faults, switches; the address and the speed stay."""
        before = self.account
        with before.lock:
            self.switches.change(Switches().as_dict())
            self.faults.clear()
            self.recorder.clear()
            self.postman.clear()
            self._begin(before.clock.speed)

    def seed(self, data: Mapping[str, Any]) -> dict[str, int]:
        """Add objects; return how many of each kind.

        :param data: the objects, as a seed file holds them.
        """
        with self.account.lock:
            return seed_account(self.account, data)

    def set_clock(self, *, advance: float = 0.0, speed: float | None = None) -> None:
        """Move time ahead, and change its speed.

        :param advance: emulated seconds.
        :param speed: emulated seconds per real second.
        """
        with self.account.lock:
            if speed is not None:
                self.account.clock.speed = speed
            self.account.advance(advance)

    def contact_writes(self, address: str, text: str, channel: str | None = None) -> Message:
        """Let a contact write.

        :param address: its number or handle; a contact that does not exist is created.
        :param text: what it writes.
        :param channel: number, handle or id of the channel.
        """
        with self.account.lock:
            self.account.run_due()
            contact = conversations.contact_for(self.account, address)
            found = self.account.channel_of(channel) if channel else None
            message = conversations.contact_writes(self.account, contact, text, found)
            self.account.run_due()
            return message

    def received(self, to: str, *, by_bots: bool = False) -> list[Delivery]:
        """Return what a customer received: messages and starts of chatbots, and nothing that failed.

        :param to: number in any spelling, or handle.
        :param by_bots: whether what a running chatbot wrote counts as well.
        """
        with self.account.lock:
            self.account.run_due()
            address = to if is_handle(to) else stored_phone(to, self.switches)
            found = self.account.deliveries_by_contact.get(address_key(address), [])
            return [one for one in found if one.status != "FAILED" and (by_bots or not one.by_bot)]

    def state(self) -> dict[str, Any]:
        """Return a view of everything as JSON data."""
        account = self.account
        with account.lock:
            account.run_due()
            return {
                "now": account.now_text(),
                "speed": account.clock.speed,
                "counts": {name: len(table) for name, table in vars(account).items() if hasattr(table, "by_creation")},
                "sessions": [
                    {
                        "id": session.id,
                        "contact": session.contact["phoneNumber"] or session.contact["instagram"],
                        "status": session["status"],
                        "botId": session["botId"],
                        "running_bot": session.run.bot["name"] if session.run else None,
                        "metadata": session["metadata"],
                        "messages": [
                            {
                                "direction": message["direction"],
                                "origin": message["origin"],
                                "status": message["status"],
                                "text": message["text"],
                            }
                            for message in session.messages
                        ],
                    }
                    for session in account.sessions.by_creation()[-200:]
                ],
                "sends": [
                    {
                        "id": send.id,
                        "operation_id": send.operation_id,
                        "to": send.to,
                        "status": send.message["status"] if send.message else send["status"],
                        "senderId": send["senderId"],
                        "sessionId": send["sessionId"],
                    }
                    for send in account.sends.by_creation()[-200:]
                ],
                "deliveries": [delivery.as_dict() for delivery in account.deliveries[-500:]],
                "requests": {
                    "total": self.recorder.total,
                    "by_operation": dict(self.recorder.counts),
                    "by_status": {str(status): count for status, count in self.recorder.statuses.items()},
                    "last": [request.summary() for request in self.recorder.kept()[-50:]],
                },
                "violations": account.violations[-200:],
                "posts": [post.as_dict() for post in self.postman.posts[-200:]],
                "faults": self.faults.as_list(),
                "switches": self.switches.as_dict(),
            }
