"""The emulator as an object: start it, inspect it, drive it, stop it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_wts.emulator.service import Service
from airflow_provider_wts.emulator.state import Account, Behaviour, Delivery

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_wts.emulator.clock import Clock
    from airflow_provider_wts.emulator.faults import Faults
    from airflow_provider_wts.emulator.server import RunningServer
    from airflow_provider_wts.emulator.service import RecordedRequest
    from airflow_provider_wts.emulator.state import Message, Send
    from airflow_provider_wts.emulator.switches import Switches
    from airflow_provider_wts.emulator.webhooks import Post

DEFAULT_TOKEN = "pn_emulator"  # noqa: S105 - it opens nothing


class Emulator:
    """A local WTS Chat service on a port of this machine; a context manager.

    :param host: the address to listen on.
    :param port: the port; 0 = a free one.
    :param token: the API token that it accepts.
    :param seed: the same seed gives the same IDs.
    :param speed: emulated seconds per real second.
    :param latency: real seconds to add to each answer.
    :param default_seed: whether it has the default channels, chatbots and so on.
    :param switches: switches that differ from their defaults.
    :param names: further host names that it answers to, such as that of a Docker service; others are refused.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str = DEFAULT_TOKEN,
        seed: int = 0,
        speed: float = 1.0,
        latency: float = 0.0,
        default_seed: bool = True,
        switches: Mapping[str, object] | None = None,
        names: Sequence[str] = (),
    ) -> None:
        self._host = host
        self._port = port
        self._names = names
        self.service = Service(token=token, seed=seed, speed=speed, latency=latency, default_seed=default_seed)
        self.service.switches.change(switches or {})
        self._server: RunningServer | None = None

    def start(self) -> Emulator:
        """Start listening, and return the emulator."""
        from airflow_provider_wts.emulator.server import RunningServer

        self._server = RunningServer(self.service, self._host, self._port, self._names)
        self._server.start()
        return self

    def stop(self) -> None:
        """Stop, close all connections, end all threads."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return self.service.account.address

    @property
    def token(self) -> str:
        """The API token that it accepts."""
        return self.service.token

    @property
    def state(self) -> Account:
        """All objects of the account; hold ``state.lock`` while you read more than one."""
        return self.service.account

    @property
    def clock(self) -> Clock:
        """The emulated time; :meth:`advance` moves it."""
        return self.service.account.clock

    @property
    def switches(self) -> Switches:
        """The readings that it follows; you can set its attributes at any time."""
        return self.service.switches

    @property
    def faults(self) -> Faults:
        """What goes wrong on demand: ``emulator.faults.add("reset", when="after", operation_id="send_text")``."""
        return self.service.faults

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests of clients, oldest first, except control calls and uploads."""
        with self.state.lock:
            return self.service.recorder.kept()

    @property
    def deliveries(self) -> list[Delivery]:
        """All messages to customers and all starts of chatbots, oldest first."""
        with self.state.lock:
            self.state.agenda.run_due()
            return list(self.state.deliveries)

    @property
    def sends(self) -> list[Send]:
        """All accepted sends of the send family, oldest first."""
        with self.state.lock:
            return list(self.state.sends.by_creation())

    @property
    def violations(self) -> list[str]:
        """What clients did that is not in the contract."""
        with self.state.lock:
            return list(self.state.violations)

    @property
    def posts(self) -> list[Post]:
        """The webhooks and callbacks, posted or not."""
        return list(self.service.postman.posts)

    def received(self, to: str, *, by_bots: bool = False) -> list[Delivery]:
        """Return what a customer received: messages and starts of chatbots, except those that failed.

        :param to: number in any spelling, or handle.
        :param by_bots: whether to include what a running chatbot wrote.
        """
        return self.service.received(to, by_bots=by_bots)

    def requests_of(self, operation_id: str) -> list[RecordedRequest]:
        """Return the requests of one operation, oldest first."""
        return [request for request in self.requests if request.operation_id == operation_id]

    def advance(self, seconds: float) -> None:
        """Move time ahead, and do everything that becomes due.

        :param seconds: emulated seconds.
        """
        self.service.set_clock(advance=seconds)

    def contact_writes(self, address: str, text: str, channel: str | None = None) -> Message:
        """Make a contact write.

        :param address: its number or handle; a contact that does not exist is created.
        :param channel: number, handle or ID of the channel; that of the contact's last session by default.
        """
        return self.service.contact_writes(address, text, channel)

    def behave(
        self,
        address: str,
        *,
        replies: list[str] | None = None,
        delay: float = 3.0,
        answers: str = "asked",
        fails: str | None = None,
        stays: str | None = None,
    ) -> None:
        """Set how a contact behaves.

        :param address: number or handle; ``*`` = all others.
        :param replies: what it answers, one after the other; ``[]`` = nothing; "Sim" by default.
        :param delay: emulated seconds until it answers.
        :param answers: ``asked`` = only when a chatbot asks; ``always`` = every message of the company.
        :param fails: the reason why every message to it fails.
        :param stays: the status at which its messages stay.
        """
        given = ["Sim"] if replies is None else replies
        with self.state.lock:
            self.state.set_behaviour(address, Behaviour(given, delay, answers, fails, stays))

    def seed(self, **data: Any) -> dict[str, int]:
        """Add objects, and return how many of each kind.

        :param data: the objects as in a seed file, such as ``contacts=100_000``.
        """
        return self.service.seed(data)

    def reset(self) -> None:
        """Start again with new objects, and without records, faults and changed switches; address and speed stay."""
        self.service.reset()
