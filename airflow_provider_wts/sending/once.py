"""One send, exactly once: what the ledger knows, what the API knows, and only then the call."""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from airflow_provider_wts.api.errors import (
    WtsError,
    WtsIncompleteListError,
    WtsInvalidRequestError,
    WtsNotSentError,
    WtsRejectedError,
    WtsUnknownOutcomeError,
)
from airflow_provider_wts.hooks.context import TaskIdentity, earliest_start
from airflow_provider_wts.sending import clock, reconcile
from airflow_provider_wts.sending import ledger as ledgers
from airflow_provider_wts.sending.key import Mark, send_key
from airflow_provider_wts.sending.ledger import Ledger, OnClear, OnUnknown, open_ledger
from airflow_provider_wts.sending.reconcile import Finding, Found, Harmless
from airflow_provider_wts.sending.resend import UnknownOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.hooks.wts import WtsHook
    from airflow_provider_wts.sending.reconcile import Trace


log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds between the first two polls of a search; later ones come more and more rarely.
_FIRST_INTERVAL = 5.0

_LONGEST_INTERVAL = 30.0

#: Texts of messages, and whom they are for.
_NOT_KEPT = ("text", "lastMessageText", "caption", "details", "contactDetails")


class _Send(NamedTuple):
    """One send: its mark, whom it goes to, where it leaves the mark, the call, and a digest of its content."""

    mark: Mark
    recipient: str
    trace: Trace | None
    call: Call[Any]
    content: str


class Once:
    """Sends of one task, each exactly once over all tries of the task.

    :param hook: the hook of the task's connection.
    :param context: the task's context.
    :param on_unknown: what to do where nobody knows whether a send happened: ``fail`` or ``resend``.
    :param on_clear: see :class:`~airflow_provider_wts.sending.ledger.Ledger`.
    :param grace: seconds after the last possible write of a request, after which it can no longer take effect.
        Default: the longer of the request's timeout and ``[wts] effect_lag``.
    :param held_back: seconds for which the platform holds the send back, in addition.
    :raises WtsInvalidRequestError: when ``on_unknown`` or ``on_clear`` is not one of its values, or cannot be kept.
    :raises WtsError: when another try has taken over, or the ledger fails. Then nothing was sent.
    """

    def __init__(
        self,
        hook: WtsHook,
        context: Mapping[str, Any],
        *,
        on_unknown: OnUnknown | str = "fail",
        on_clear: OnClear | str = "auto",
        grace: float | None = None,
        held_back: float = 0.0,
    ) -> None:
        # Before anything that can wait: whoever opens it last is the one who may send.
        self.ledger = open_ledger(context, Ledger, on_unknown=on_unknown, on_clear=on_clear)
        self._hook = hook
        self._grace = grace
        self.held_back = held_back
        self._last = True
        self._task_instance = context["ti"]
        self._task = TaskIdentity.of(self._task_instance)
        self.unknown = UnknownOutcome(self._task, on_unknown)
        self._first_moment = earliest_start(context)

    def finish(self) -> None:
        """Write that the task is done, where :meth:`send` was told that more would come."""
        if self.ledger and not self.ledger.finished:
            try:
                self.ledger.finish()
            except Exception as error:
                # All is sent. A clear would only go on, where it should send anew.
                log.warning("The ledger of this task cannot be written: %s", type(error).__name__)

    def send(
        self,
        recipient: str,
        build: Callable[[Mark], Call[T]],
        trace: Trace | None,
        permit: Callable[[], None] = lambda: None,
        *,
        prepare: Callable[[], None] | None = None,
        last: bool = True,
    ) -> T:
        """Send, unless an earlier try did.

        :param recipient: phone number or handle as the API spells it, or the id of a session or card.
        :param build: makes the call, with the mark in it where the API takes one.
        :param trace: where the send leaves its mark; ``None`` where it leaves none.
        :param permit: called right before anything goes out, and only then; raises where it must not.
        :param prepare: called after it, for what the call needs and what may be done again, such as an upload; then
            ``build`` is asked anew.
        :param last: whether the task is done with this send, so that a clear from then on sends anew.
        :return: the API's answer; for a send of an earlier try what is known of it.
        :raises WtsUnknownOutcomeError: when nobody knows whether it happened, and ``on_unknown`` is ``fail``.
        :raises WtsError: as :meth:`~airflow_provider_wts.api.client.WtsClient.perform`; then nothing was sent.
        """
        self._last = last
        generation = self.ledger.generation if self.ledger else 0
        mark = Mark(
            send_key(self._task, generation=generation, wts_conn_id=self._hook.wts_conn_id, recipient=recipient)
        )
        call = build(mark)
        send = _Send(mark, recipient, trace, call, _digest(call))
        # Names were looked up and the call was built, so a mistake in the input costs no intent.
        entry = self.ledger.entry(mark.key) if self.ledger else None
        if entry is not None:
            _note_changes(entry, send.content)
        if entry is not None and "receipt" in entry:
            log.info("An earlier try of this task sent this at %s; nothing is sent again.", entry.get("intent"))
            return cast("T", entry["receipt"])
        doubtful_since: datetime | None = None
        if entry is not None or self._may_have_been_tried():
            intended = self._intended(entry)
            found = self._look(send, intended, self._settled_after(entry))
            if found.finding is Finding.FOUND:
                log.info("WTS Chat shows that an earlier try sent this; nothing is sent again.")
                return cast("T", self._received(mark, found.answer))
            self._decide(send, found)
            doubtful_since = None if found.finding is Finding.ABSENT else intended
        permit()
        if prepare is not None:
            prepare()
            send = send._replace(call=build(mark))
        return cast("T", self._perform(send, doubtful_since))

    def _perform(self, send: _Send, doubtful_since: datetime | None, *, again: bool = True) -> Any:
        """Write the intent, call, write the receipt.

        ``doubtful_since``: when the first of the attempts began that may have reached somebody. ``again``: another
        attempt may be made here.
        """
        started = doubtful_since or datetime.now(UTC)
        if self.ledger:
            self.ledger.intend(send.mark.key, send.content, since=started, timeout=self._timeout(send.call))
        try:
            answer = self._hook.run(send.call, before_write=self._check)
        except (WtsNotSentError, WtsRejectedError, WtsInvalidRequestError) as error:
            if doubtful_since is None:
                self._retract(send.mark)
            else:
                error.add_note(
                    f"That holds for this attempt. It is not known whether an earlier one reached {send.recipient}."
                )
            raise
        except WtsUnknownOutcomeError as error:
            log.warning("%s Asking WTS Chat what became of it.", error)
        else:
            return self._received(send.mark, answer)
        found = self._look(send, started, self._lag(self._timeout(send.call)))
        if found.finding is Finding.FOUND:
            log.info("WTS Chat shows that it was sent.")
            return self._received(send.mark, found.answer)
        self._decide(send, found)
        absent = found.finding is Finding.ABSENT
        if again:
            return self._perform(send, None if absent else started, again=False)
        # A third attempt is for the next try of the task.
        operation_id = send.call.operation_id
        if absent:
            self._retract(send.mark)
            raise WtsNotSentError(
                f"{operation_id}: twice no answer came, and WTS Chat shows that nothing was sent to {send.recipient}. "
                "Trying again is safe.",
                operation_id=operation_id,
            )
        raise WtsUnknownOutcomeError(
            f"{operation_id}: no answer came, twice, and it is not known whether this reached {send.recipient}: "
            f"{found.reason}.",
            operation_id=operation_id,
            repeatable=True,
        )

    def _check(self) -> None:
        if self.ledger:
            self.ledger.check()

    def _received(self, mark: Mark, answer: Any) -> Any:
        if self.ledger:
            try:
                self.ledger.receive(mark.key, _kept(answer), finished=self._last)
            except Exception as error:
                # It is sent, and another try could not do better than ask the API whether it is.
                log.warning("It is sent, but the ledger of this task cannot be written: %s", type(error).__name__)
        return answer

    def _retract(self, mark: Mark) -> None:
        if self.ledger:
            try:
                self.ledger.retract(mark.key)
            except Exception as error:
                # The intent stays, so the next try asks the API. What the API said is of more use here.
                log.warning("The ledger of this task cannot be written: %s", type(error).__name__)

    def _intended(self, entry: Mapping[str, Any] | None) -> datetime:
        """Return a moment before the first attempt that may have reached somebody."""
        try:
            intended = datetime.fromisoformat(str((entry or {})["intent"]))
        except (KeyError, ValueError):
            return self._first_moment
        return intended if intended.tzinfo else intended.replace(tzinfo=UTC)

    def _may_have_been_tried(self) -> bool:
        # A ledger that knows nothing of a send knows that it was not tried, unless it lacks something.
        if self.ledger is not None:
            return self.ledger.incomplete
        return int(self._task_instance.try_number or 1) > 1

    def _timeout(self, call: Call[Any]) -> float:
        return self._hook.client.timeout_of(call)

    def _lag(self, timeout: float) -> float:
        """Return the seconds after a request's last byte in which it may still take effect."""
        return self.held_back + (reconcile.effect_lag(timeout) if self._grace is None else self._grace)

    def _settled_after(self, entry: Mapping[str, Any] | None) -> float:
        """Return the seconds from now in which a request of an earlier try may still take effect."""
        timeout = (entry or {}).get("timeout")
        # Version 0.1.0 wrote none.
        lag = self._lag(timeout if isinstance(timeout, (int, float)) else self._hook.client.longest_timeout)
        if self.ledger is None:
            # Nothing stops an earlier try that still runs.
            return lag
        return lag + ledgers.LEASE - clock.elapsed(self.ledger.fence.held_at)

    def _look(self, send: _Send, since: datetime, settled_after: float) -> Found:
        """Search until the send is found, or until the API can no longer be at work on it."""
        if send.trace is None:
            return Found(Finding.UNDECIDED, reason="this kind of send leaves no marker that could be searched for")
        started, interval = clock.now(), _FIRST_INTERVAL
        while True:
            # The last search begins after all of it: a long one may have read its first page before.
            left = settled_after - clock.elapsed(started)
            found = self._search(send, send.trace, since)
            if found.finding is Finding.FOUND or left <= 0 or isinstance(send.trace, Harmless):
                return found
            clock.sleep(min(settled_after - clock.elapsed(started), interval))
            interval = min(2 * interval, _LONGEST_INTERVAL)

    def _search(self, send: _Send, trace: Trace, since: datetime) -> Found:
        try:
            return trace.search(self._hook, send.mark, since)
        except (WtsRejectedError, WtsIncompleteListError) as error:
            return Found(Finding.UNDECIDED, reason=f"WTS Chat does not tell ({error})")
        except WtsError as error:
            # It may tell later, so another try of the task makes sense; the intent stays till then.
            raise WtsUnknownOutcomeError(
                f"{send.call.operation_id}: it is not known whether this reached {send.recipient}, and WTS "
                f"Chat could not be asked: {error} Another try asks again before it sends.",
                operation_id=send.call.operation_id,
                repeatable=True,
            ) from error

    def _decide(self, send: _Send, found: Found) -> None:
        """Let a send go ahead, or not."""
        if found.finding is Finding.ABSENT:
            log.info("WTS Chat shows that it was not sent; sending it now.")
            return
        if self.unknown.resend:
            log.warning("It is not known whether this was sent before: %s.", found.reason)
            return
        raise WtsUnknownOutcomeError(
            f"{send.call.operation_id}: it is not known whether this reached {send.recipient}: {found.reason}. "
            "It is not resent automatically. Look at the conversation in WTS Chat. If it is there, mark the task as "
            f"success; if not, {self.unknown.how_to_resend}.",
            operation_id=send.call.operation_id,
        )


def _kept(answer: Any) -> Any:
    """Return what the ledger keeps of an answer: the same shape, without what customers write or read."""
    if isinstance(answer, dict):
        return {name: None if name in _NOT_KEPT else _kept(value) for name, value in answer.items()}
    return [_kept(item) for item in answer] if isinstance(answer, list) else answer


def _digest(call: Call[Any]) -> str:
    return hashlib.sha256(call.content or b"").hexdigest()[:16]


def _note_changes(entry: Mapping[str, Any], content: str) -> None:
    if entry.get("content") not in (None, content):
        log.warning("What is to be sent has changed since an earlier try; it is still the same send.")
