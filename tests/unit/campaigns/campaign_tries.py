"""What the tests of campaigns share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_wts.campaigns.recipients import Recipient
from airflow_provider_wts.campaigns.run import Batch
from airflow_provider_wts.sending.ledger import open_ledger
from airflow_provider_wts.sending.rules import Refusal, Rule, Rules

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from airflow_provider_wts.campaigns.results import Result
    from airflow_provider_wts.emulator.running import Emulator
    from airflow_provider_wts.hooks.wts import WtsHook

CHANNEL = "+55|1140028922"


class Killed(BaseException):
    """The end of a process, as far as code in it can tell."""


def people(count: int) -> list[Recipient]:
    return [Recipient(index + 1, f"+55|119{10_000_000 + index:08d}", {"text": "Olá!"}) for index in range(count)]


class Exclusion(Rule):
    """The rule of a test."""

    def __init__(self, reason: Callable[[str], str | None]) -> None:
        self._reason = reason
        self.begun = 0

    def begin(self) -> None:
        self.begun += 1

    def refusal(self, to: str) -> Refusal | None:
        reason = self._reason(to)
        return Refusal("exclude_tags", reason) if reason else None


class ReportingBatch(Batch):
    """A batch with the rules and the reports of a test."""

    campaign: Campaign

    def permit(self) -> None:
        self.campaign.permit()

    def report(self, recipient: Recipient, result: Result) -> None:
        self.campaign.results[recipient.to] = result


class Campaign:
    """Tries of one campaign."""

    def __init__(self, hook: WtsHook, task: Any, way: Any, size: int = 10) -> None:
        self.hook, self.task, self.way, self.size = hook, task, way, size
        self.results: dict[str, Result] = {}
        self.permits = 0
        self.killed_at: int | None = None
        self.batch: Batch | None = None
        self.exclusion: Callable[[str], str | None] = lambda to: None

    def permit(self) -> None:
        self.permits += 1
        if self.killed_at is not None and self.permits > self.killed_at:
            raise Killed

    def run(self, recipients: list[Recipient], *, finished: bool = True, **settings: Any) -> dict[str, int]:
        self.results = {}
        context, on_clear = self.task.next_try(), settings.pop("on_clear", "auto")
        ledger = open_ledger(context, on_clear=on_clear)
        self.batch = ReportingBatch(self.hook, context, self.way, ledger=ledger, chunk_size=self.size, **settings)
        self.batch.campaign = self
        self.rule = Exclusion(self.exclusion)
        self.batch.rules = Rules([self.rule])
        self.batch.send_all(recipients)
        self.batch.close(finished=finished)
        statuses = [result.status for result in self.results.values()]
        return {status: statuses.count(status) for status in set(statuses)}


def operation(way: Any) -> str:
    return {"ChatbotKind": "queue_chatbot_batch", "TemplateKind": "send_template_batch"}.get(
        type(way).__name__, "send_text"
    )


def received(emulator: Emulator, recipients: list[Recipient]) -> list[int]:
    emulator.advance(5)
    counts: dict[str, int] = {}
    for delivery in emulator.deliveries:
        if not delivery.by_bot or delivery.kind == "chatbot":
            counts[delivery.to] = counts.get(delivery.to, 0) + 1
    return [counts.get(recipient.to, 0) for recipient in recipients]


def calls(emulator: Emulator, *operations: str) -> int:
    return sum(len(emulator.requests_of(one)) for one in operations)


SEARCHES = ("list_sessions", "get_contact_by_phone", "get_session", "list_messages", "filter_contacts")


class Death:
    """Kills a campaign at one request, before or after it took effect; nothing is written any more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, hook: WtsHook, store: Any, name: str, nth: int) -> None:
        self.left = nth
        run, keep = hook.run, store.set
        dead = []

        def dying(call: Any, **more: Any) -> Any:
            if call.operation_id != name or dead:
                return run(call, **more)
            self.left -= 1
            if self.left:
                return run(call, **more)
            if self.after:
                run(call, **more)
            dead.append(True)
            raise Killed

        def silent(key: str, value: Any, **settings: Any) -> None:
            if not dead:
                keep(key, value, **settings)

        monkeypatch.setattr(hook, "run", dying, raising=False)
        monkeypatch.setattr(store, "set", silent, raising=False)
        self.after = True
