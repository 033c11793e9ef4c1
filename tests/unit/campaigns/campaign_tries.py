"""What the tests of campaigns share."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.campaigns import run
from airflow_provider_wts.campaigns.recipients import Recipient
from airflow_provider_wts.sending.ledger import open_ledger
from airflow_provider_wts.sending.rules import Refusal, Rule, SendTimes

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


class Everybody(list[Recipient]):
    """The recipients of a campaign without bad rows."""

    @property
    def count(self) -> int:  # type: ignore[override]
        return len(self)


def campaign_of(hook: WtsHook, context: Any, kind: Any, recipients: list[Recipient], size: int, **more: Any) -> Any:
    """A campaign of a task that has nothing but a kind of message, and perhaps a rule."""
    rules = more.pop("rules", [])
    operator = SimpleNamespace(
        hook=hook,
        wts_conn_id=hook.wts_conn_id,
        log=logging.getLogger("task"),
        on_unknown=more.pop("on_unknown", "fail"),
        send_times=lambda: SendTimes(None, None, True),
        rules=lambda context, *, sleep: rules,
        **dict.fromkeys(("progress_interval", "max_failures", "stop_variable", "outlets", "do_xcom_push")),
    )
    cls = more.pop("cls", run.Campaign)
    # A page has all requests that are in progress at a time.
    size //= kind.parallelism if kind.request_size > 1 else 1
    return cls(operator, context, kind, Everybody(recipients), size, results=None, **more)


class Reporting(run.Campaign):
    """A campaign of a test, of which each try reads the whole ledger."""

    campaign: Campaign

    def permit(self) -> None:
        self.campaign.permit()

    def _restore(self, *_: Any, **__: Any) -> bool:
        return False


class Campaign:
    """Tries of one campaign."""

    def __init__(self, hook: WtsHook, task: Any, way: Any, size: int = 10) -> None:
        self.hook, self.task, self.way, self.size = hook, task, way, size
        self.results: dict[str, Result] = {}
        self.permits = 0
        self.killed_at: int | None = None
        self.batch: Reporting | None = None
        self.exclusion: Callable[[str], str | None] = lambda to: None

    def permit(self) -> None:
        self.permits += 1
        if self.killed_at is not None and self.permits > self.killed_at:
            raise Killed

    def run(self, recipients: list[Recipient], *, finished: bool = True, **settings: Any) -> dict[str, int]:
        self.results = {}
        context, on_clear = self.task.next_try(), settings.pop("on_clear", "auto")
        ledger = open_ledger(context, wts_conn_id=self.hook.wts_conn_id, on_clear=on_clear)
        self.rule = Exclusion(self.exclusion)
        settings |= {"cls": Reporting, "rules": [self.rule], "ledger": ledger}
        self.batch = campaign_of(self.hook, context, self.way, recipients, self.size, **settings)
        self.batch.campaign = self
        self.batch._progress.report = lambda recipient, result: self.results.update({recipient.to: result})
        self.batch.send_all()
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
