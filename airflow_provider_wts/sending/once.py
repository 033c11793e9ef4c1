"""One send, exactly once: check the ledger, then WTS Chat, and only then make the call."""

from __future__ import annotations

import hashlib
import logging
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from airflow_provider_wts.api.addresses import readable
from airflow_provider_wts.api.errors import (
    WtsInvalidRequestError,
    WtsNotSentError,
    WtsRejectedError,
    WtsUnknownOutcomeError,
)
from airflow_provider_wts.api.messages import has_failed
from airflow_provider_wts.hooks.context import TaskIdentity, earliest_start
from airflow_provider_wts.hooks.metrics import count_send
from airflow_provider_wts.sending import reconcile
from airflow_provider_wts.sending.key import Mark, send_key
from airflow_provider_wts.sending.ledger import OnClear, OnUnknown, open_ledger
from airflow_provider_wts.sending.reconcile import Finding, SearchResult
from airflow_provider_wts.sending.resend import UnknownOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.hooks.wts import WtsHook
    from airflow_provider_wts.sending.reconcile import Trace


log = logging.getLogger(__name__)

T = TypeVar("T")

#: Message texts and contact details.
_NOT_KEPT = ("text", "lastMessageText", "caption", "details", "contactDetails")


class _Send(NamedTuple):
    """The parameters of :meth:`Once.send`, the call, and a digest of its content."""

    mark: Mark
    call: Call[Any]
    content: str
    recipient: str
    trace: Trace | None
    held_back: float
    last: bool
    place: str

    @property
    def unconfirmed(self) -> str:
        return f"{self.call.operation_id}: no confirmation that this reached {self.recipient}"


class Once:
    """Makes the sends of one task, each exactly once in all its tries.

    :param on_unknown: what to do if the outcome of a send is unknown: ``fail`` or ``resend``.
    :param resumed: whether this try was deferred, and continues.
    :raises WtsInvalidRequestError: when a policy or setting is not one of its values, or cannot be kept.
    :raises WtsError: when another try has taken over, or the ledger fails. Then nothing was sent.
    """

    def __init__(
        self,
        hook: WtsHook,
        context: Mapping[str, Any],
        *,
        on_unknown: OnUnknown | str = "fail",
        on_clear: OnClear | str = "auto",
        resumed: bool = False,
    ) -> None:
        # Before anything that can wait: the try that opens the ledger last is the one that may send.
        self.ledger = open_ledger(
            context, wts_conn_id=hook.wts_conn_id, on_unknown=on_unknown, on_clear=on_clear, resumed=resumed
        )
        self._hook = hook
        self._task = TaskIdentity.of(context["ti"])
        self.unknown = UnknownOutcome(self._task, on_unknown)
        self._earliest = earliest_start(context)
        # An invalid setting must fail the task before anything is sent.
        reconcile.effect_lag(0.0)

    def finish(self) -> None:
        """Record that the task is done, if the last :meth:`send` could not know that."""
        self.ledger.close(finished=True)

    def key(self, recipient: str) -> str:
        """Return the key of the send to a recipient."""
        ledger = self.ledger
        return send_key(self._task, generation=ledger.generation, wts_conn_id=ledger.wts_conn_id, recipient=recipient)

    def send(
        self,
        recipient: str,
        build: Callable[[Mark], Call[T]],
        trace: Trace | None,
        before_send: Callable[[], None] | None = None,
        *,
        held_back: float = 0.0,
        last: bool = True,
        place: str = "the conversation",
    ) -> T:
        """Send, unless an earlier try did.

        :param recipient: phone number or handle as the API spells it, or the ID of a session or card.
        :param build: builds the call, with the marker in it if the API takes one.
        :param trace: where the send leaves its marker; ``None`` if it leaves none.
        :param before_send: called right before a send, and only then. It may raise to prevent the send, or do
            repeatable work such as an upload. ``build`` is called again after it.
        :param held_back: seconds for which WTS Chat delays the send.
        :param last: whether this send is the task's last, so that a later clear sends again.
        :param place: where a person can check in WTS Chat whether it happened.
        :return: the API's answer, or what is known of it if an earlier try sent this.
        :raises WtsUnknownOutcomeError: when the outcome is unknown, and ``on_unknown`` is ``fail``.
        :raises WtsError: as :meth:`~airflow_provider_wts.api.client.WtsClient.perform`; then nothing was sent.
        """
        mark = Mark(self.key(recipient))
        # Before the intent is written: invalid input fails here.
        call = build(mark)
        content = hashlib.sha256(call.content or b"").hexdigest()[:16]
        send = _Send(mark, call, content, readable(recipient), trace, held_back, last, place)
        entry = self.ledger.entry(mark.key)
        if entry is not None and entry.content not in (None, content):
            log.warning("The content has changed since an earlier try, but it is still the same send.")
        if entry is not None and entry.is_done:
            log.info("An earlier try of this task sent this at %s; nothing is sent again.", entry.intent)
            return cast("T", entry.receipt)
        unknown_since: datetime | None = None
        if entry is not None or self.ledger.incomplete:
            since = (entry and entry.intent) or self._earliest
            # Version 0.1.0 wrote no timeout.
            timeout = entry.timeout if entry and entry.timeout is not None else self._hook.client.longest_timeout
            since_clear = entry is not None and self.ledger.is_since_clear(entry)
            settled_after = reconcile.effect_lag(timeout) + held_back - self.ledger.quiet_for
            found = self._ask(send, since, settled_after, since_clear=since_clear)
            if found.finding is Finding.FOUND:
                return cast("T", self._receive(send, found.answer))
            unknown_since = None if found.shows_absence else since
        if before_send is not None:
            before_send()
            send = send._replace(call=build(mark))
        return cast("T", self._perform(send, unknown_since))

    def _perform(self, send: _Send, unknown_since: datetime | None) -> Any:
        """Write the intent, make the call, record the answer; without one, reconcile and try once more."""
        # unknown_since: when the first attempt that may have reached somebody began.
        timeout = self._hook.client.timeout_of(send.call)
        for _ in range(2):
            started = unknown_since or datetime.now(UTC)
            self.ledger.intend(send.mark.key, send.content, since=started, timeout=timeout)
            try:
                answer = self._hook.run(send.call, before_write=self.ledger.check)
            except (WtsNotSentError, WtsRejectedError, WtsInvalidRequestError) as error:
                if isinstance(error, WtsRejectedError):
                    count_send(send.call.operation_id, "failed")
                if unknown_since is None:
                    self._retract(send)
                else:
                    error.add_note(
                        f"This error is about the last attempt. It is unknown whether an earlier one reached "
                        f"{send.recipient}."
                    )
                raise
            except WtsUnknownOutcomeError as error:
                log.warning("%s The task now asks WTS Chat itself.", error)
            else:
                return self._receive(send, answer)
            found = self._ask(send, started, reconcile.effect_lag(timeout) + send.held_back, since_clear=True)
            if found.finding is Finding.FOUND:
                return self._receive(send, found.answer)
            unknown_since = None if found.shows_absence else started
        # A third attempt is left to the next try of the task.
        operation_id = send.call.operation_id
        if unknown_since is None:
            self._retract(send)
            raise WtsNotSentError(
                f"{operation_id}: two attempts got no answer, and WTS Chat shows that nothing was sent to "
                f"{send.recipient}. A retry is safe.",
                operation_id=operation_id,
            )
        count_send(operation_id, "undecided")
        raise WtsUnknownOutcomeError(
            f"{send.unconfirmed}: two attempts got no answer, and {found.reason}.",
            operation_id=operation_id,
            repeatable=True,
        )

    def _ask(self, send: _Send, since: datetime, settled_after: float, *, since_clear: bool) -> SearchResult:
        """Reconcile a send; raise if its outcome is unknown and it must not go out again."""
        found = reconcile.search_for_one(
            self._hook, send.trace, send.mark, since, settled_after, unconfirmed=send.unconfirmed
        )
        if found.finding is Finding.FOUND:
            log.info("WTS Chat shows that it was sent; nothing is sent again.")
        elif found.finding is Finding.ABSENT:
            log.info("%s; sending it now.", found.reason.capitalize() or "WTS Chat shows that it was not sent")
        elif self.unknown.resends(since_clear=since_clear):
            log.warning("It is unknown whether this was sent before (%s); sending it again.", found.reason)
        else:
            count_send(send.call.operation_id, "undecided")
            raise WtsUnknownOutcomeError(
                f"{send.unconfirmed}: {found.reason}. It was not resent. Check {send.place} in WTS Chat: if it is "
                f"there, mark the task as success; if not, {self.unknown.how_to_resend}.",
                operation_id=send.call.operation_id,
            )
        return found

    def _receive(self, send: _Send, answer: Any) -> Any:
        count_send(send.call.operation_id, "failed" if has_failed(answer) else "sent")
        # Do not fail: a retry could only ask WTS Chat whether it was sent.
        with _logged("It was sent, but the ledger of this task cannot be written"):
            self.ledger.receive(send.mark.key, _kept(answer), finished=send.last)
        return answer

    def _retract(self, send: _Send) -> None:
        # If the intent stays, the next try asks WTS Chat. The call's own error matters more than this one.
        with _logged("The ledger of this task cannot be written"):
            self.ledger.retract(send.mark.key)


@contextmanager
def _logged(message: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        log.warning("%s: %s", message, type(error).__name__)


def _kept(answer: Any) -> Any:
    """Return an answer in the same shape, without message texts and contact details."""
    if isinstance(answer, dict):
        return {name: None if name in _NOT_KEPT else _kept(value) for name, value in answer.items()}
    return [_kept(item) for item in answer] if isinstance(answer, list) else answer
