"""What all operators share that send or create something: exactly once, and with care for customers."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from airflow.providers.common.compat.sdk import AirflowSkipException, conf

from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.hooks.failures import readable_failures
from airflow_provider_wts.operators import parameters
from airflow_provider_wts.operators.base import WtsOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow.sdk import Context

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.types import SessionV2
    from airflow_provider_wts.sending.key import Mark
    from airflow_provider_wts.sending.ledger import OnClear
    from airflow_provider_wts.sending.once import Once, OnUnknown
    from airflow_provider_wts.sending.reconcile import Trace

T = TypeVar("T")

#: A wait for the send window that is shorter than this many seconds is not worth a deferral.
_SHORT_WAIT = 60.0


class WtsOnceOperator(WtsOperator):
    """Base of the operators whose call must not happen twice, whatever Airflow repeats.

    :param on_unknown: what to do where nobody knows whether an earlier try sent: ``fail`` (default) names the
        recipient and what to check; ``resend`` sends, at the risk of sending twice (templated).
    :param on_clear: what a clear of the task means. ``auto`` (default): a finished task sends anew, an unfinished one
        goes on where it stopped. ``continue``: never anew. ``resend``: anew after any clear. Telling a clear from a
        retry needs a ledger: Airflow 3.3, or ``[wts] ledger_path``; without one, ``auto`` is ``continue`` (templated).
    """

    never_blank: ClassVar[frozenset[str]] = frozenset({"on_clear"})

    template_fields: Sequence[str] = (*WtsOperator.template_fields, "on_unknown", "on_clear")

    def __init__(
        self, *, on_unknown: OnUnknown | str = "fail", on_clear: OnClear | str = "auto", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.on_unknown = on_unknown
        self.on_clear = on_clear

    def open_ledger(self, context: Context) -> None:
        """Open the ledger of this task. Call it first in ``execute``: from then on no earlier try can send.

        :param context: the task's context.
        :raises AirflowFailException: when a policy cannot be kept.
        :raises WtsError: when a later try has taken over, or the ledger fails.
        """
        with readable_failures():
            self._open(context)

    def run_once(
        self,
        context: Context,
        *,
        recipient: str,
        build: Callable[[Mark], Call[T]],
        trace: Trace | None,
        permit: Callable[[], None] = lambda: None,
        prepare: Callable[[], None] | None = None,
        held_back: float = 0.0,
        last: bool = True,
    ) -> T:
        """Perform a call exactly once over all tries of this task.

        :param context: the task's context.
        :param recipient: phone number or handle as the API spells it, or the id of a session or card.
        :param build: makes the call, with the mark in it where the API takes one.
        :param trace: where the send leaves its mark; ``None`` where it leaves none.
        :param permit: called right before anything goes out; raises where it must not.
        :param prepare: called after it, for what the call needs and what may be done again, such as an upload; then
            ``build`` is asked anew.
        :param held_back: seconds for which the platform holds it back by itself.
        :param last: whether the task is done with this call, so that a clear from then on sends anew; else
            :meth:`finish_sending` tells that.
        :return: the API's answer, of this try or of an earlier one.
        :raises AirflowFailException: when the API refuses, or nobody knows whether it happened.
        """
        with readable_failures():
            self.refuse_vanished()
            once = self._once(context)
            once.held_back = held_back
            return once.send(recipient, build, trace, permit, prepare=prepare, last=last)

    def finish_sending(self, context: Context) -> None:
        """Write that the task has done what it is for: a clear from now on sends anew.

        :param context: the task's context.
        """
        with readable_failures():
            self._once(context).finish()

    def _once(self, context: Context) -> Once:
        """Return the sends of this try; its ledger is opened if it was not at the start."""
        opened: tuple[Any, Once] | None = self.__dict__.get("_opened")
        return self._open(context) if opened is None or opened[0] is not context["ti"] else opened[1]

    def _open(self, context: Context) -> Once:
        from airflow_provider_wts.sending.once import Once

        once = Once(self.hook, context, on_unknown=self.on_unknown, on_clear=self.on_clear)
        self.__dict__["_opened"] = context["ti"], once
        return once


class WtsSendingOperator(WtsOnceOperator):
    """Base of the operators that write to a customer.

    :param dry_run: do everything but the call, and return the request that would have gone out, whether the send would
        be ``skipped`` and why, and what it ``waits_until`` (templated).
    :param not_after: moment after which nothing is sent and the task is skipped: a catch-up or a late retry must not
        bring old news. Aware datetime or ISO 8601 text (templated).
    :param send_window: hours in which customers may be written to, such as ``08:00-20:00 America/Sao_Paulo`` or
        ``mon-fri 09:00-18:00 America/Sao_Paulo`` (templated).
    :param outside_window: ``wait`` (default) until the window opens, in the triggerer where ``deferrable``, else on
        the worker; or ``skip`` the task.
    :param exclude_tags: tags of contacts that are not written to, by name or id; the task is skipped. Costs a call
        (templated).
    :param exclude_blocked: also spare contacts that are blocked in WTS Chat. Costs a call (templated).
    :param deferrable: wait in the triggerer and hold no worker slot meanwhile.
    """

    never_blank: ClassVar[frozenset[str]] = WtsOnceOperator.never_blank | {
        *("is_dry_run", "not_after", "send_window", "exclude_tags", "exclude_blocked")
    }
    template_fields: Sequence[str] = (
        *WtsOnceOperator.template_fields,
        "is_dry_run",
        "not_after",
        "send_window",
        "exclude_tags",
        "exclude_blocked",
    )

    def __init__(
        self,
        *,
        dry_run: bool | str = False,
        not_after: datetime | str | None = None,
        send_window: str | None = None,
        outside_window: str = "wait",
        exclude_tags: Sequence[str] | str | None = None,
        exclude_blocked: bool | str = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # Airflow's operators have a method dry_run already, so the parameter goes by another name.
        self.is_dry_run = dry_run
        self.not_after = not_after
        self.send_window = send_window
        self.outside_window = outside_window
        self.exclude_tags = exclude_tags
        self.exclude_blocked = exclude_blocked
        self.deferrable = deferrable

    def send_once(
        self,
        context: Context,
        *,
        recipient: str,
        build: Callable[[Mark], Call[Any]],
        trace: Trace | None,
        prepare: Callable[[], None] | None = None,
        held_back: float = 0.0,
        last: bool = True,
    ) -> Any:
        """Write to a customer exactly once, where and when that is allowed.

        :param context: the task's context.
        :param recipient: phone number or handle as the API spells it, or the id of a session.
        :param build: makes the call, with the mark in it where the API takes one.
        :param trace: where the send leaves its mark; ``None`` where it leaves none.
        :param prepare: called right before the send, for what the call needs and what may be done again, such as an
            upload; then ``build`` is asked anew.
        :param held_back: seconds for which the platform holds it back by itself.
        :param last: whether the task is done with this send.
        :return: the API's answer, of this try or of an earlier one; under ``dry_run`` the request.
        :raises AirflowSkipException: when ``not_after``, ``send_window`` or ``exclude_tags`` says so.
        :raises AirflowFailException: when the API refuses, or nobody knows whether it happened.
        """
        with readable_failures():
            self.refuse_vanished()
            if parameters.flag("dry_run", self.is_dry_run) is True:
                return self._dry_run(context, recipient, build)
        return self.run_once(
            context,
            recipient=recipient,
            build=build,
            trace=trace,
            permit=lambda: self._permit(recipient),
            prepare=prepare,
            held_back=held_back,
            last=last,
        )

    def open_ledger(self, context: Context) -> None:
        """Open the ledger of this task, unless nothing is to be sent.

        :param context: the task's context.
        """
        with readable_failures():
            self.refuse_vanished()
            dry_run = parameters.flag("dry_run", self.is_dry_run) is True
        if not dry_run:
            super().open_ledger(context)

    @property
    def spares_blocked(self) -> bool:
        """Whether blocked contacts are left out."""
        return parameters.flag("exclude_blocked", self.exclude_blocked) is True

    def execute_in_window(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Go on when the send window has opened.

        :param context: the task's context.
        :param event: what the trigger sent; only the clock matters here, and it is looked at again.
        """
        return self.execute(context)

    def session_contact(self, session_id: str) -> str:
        """Return the number or handle of the contact of a session.

        :param session_id: the session.
        :raises WtsInvalidRequestError: when the session does not show it, or the connection does not allow it.
        """
        contact = self.session_of(session_id).get("contactDetails") or {}
        handle = str(contact.get("instagram") or "").removeprefix("@")
        address = contact.get("phonenumber") or (f"@{handle}" if handle else None)
        if not address:
            raise WtsInvalidRequestError(
                f"session_id: session {session_id} shows neither the number nor the handle of its contact, which is "
                "needed here. Send to the contact with 'to'."
            )
        return self.hook.recipient(address)

    def session_of(self, session_id: str) -> SessionV2:
        """Return a session with its contact; it is asked for once.

        :param session_id: the session.
        """
        from airflow_provider_wts.api.sessions import get_session

        known: dict[str, SessionV2] = self.__dict__.setdefault("_sessions", {})
        if session_id not in known:
            known[session_id] = self.hook.run(get_session(session_id, include_details=["ContactDetails"]))
        return known[session_id]

    def _dry_run(self, context: Context, recipient: str, build: Callable[[Mark], Call[Any]]) -> dict[str, Any]:
        from airflow_provider_wts.sending.key import Mark, TaskIdentity, send_key

        key = send_key(TaskIdentity.of(context["ti"]), generation=0, wts_conn_id=self.wts_conn_id, recipient=recipient)
        call = build(Mark(key))
        now = datetime.now(UTC)
        opening, skipped = now, None
        try:
            opening = self._opening(recipient, now)
        except AirflowSkipException as skip:
            skipped = str(skip)
        request = {
            "dry_run": True,
            "operation_id": call.operation_id,
            "method": call.method,
            "path": call.url_path,
            "query": call.query_pairs,
            "body": call.json_body,
            "skipped": skipped,
            "waits_until": opening.isoformat() if opening > now else None,
        }
        # Whom it would go to and what it says is for the returned value only.
        outcome = skipped or f"{call.method} {call.operation_id} would be called."
        self.log.info("Dry run: nothing is sent. %s", outcome)
        return request

    def _permit(self, recipient: str) -> None:
        """Let the send go out, or wait until it may, or skip the task.

        After a wait much may have changed: the window may be shut again, and the customer may have opted out.
        """
        while (opening := self._opening(recipient, now := datetime.now(UTC))) > now:
            self._wait_for(opening)

    def _opening(self, recipient: str, now: datetime) -> datetime:
        """Return when the send may go out: ``now``, or when the window opens.

        :param recipient: phone number or handle as the API spells it, or the id of a session.
        :param now: the time.
        :raises AirflowSkipException: when it must not go out at all.
        """
        from airflow_provider_wts.sending import care

        if self.outside_window not in ("wait", "skip"):
            raise WtsInvalidRequestError(f"outside_window: {self.outside_window!r} is none of 'wait' and 'skip'.")
        last = care.deadline(self.not_after)
        opening = care.SendWindow.read(self.send_window).next_opening(now) if self.send_window else now
        if last is not None and max(now, opening) > last:
            raise AirflowSkipException(f"Nothing was sent: not_after is {last.isoformat()}, and it is past.")
        if not recipient.startswith(("+", "@")) and (self.spares_blocked or self.exclude_tags):
            # Tags and blocks belong to the contact, for whom the session stands.
            recipient = self.session_contact(recipient)
        spared = care.reason_to_spare(
            self.hook,
            recipient,
            exclude_tags=care.tag_list(self.exclude_tags),
            exclude_blocked=self.spares_blocked,
        )
        if spared:
            raise AirflowSkipException(f"Nothing was sent: {spared}.")
        if opening > now and self.outside_window != "wait":
            raise AirflowSkipException(f"Nothing was sent: the send window opens again at {opening.isoformat()}.")
        return opening

    def _wait_for(self, opening: datetime) -> None:
        seconds = (opening - datetime.now(UTC)).total_seconds()
        self.log.info("The send window opens at %s, in %.0f s.", opening.isoformat(), seconds)
        if self.deferrable and seconds > _SHORT_WAIT:
            self.defer(
                trigger=_moment_trigger(opening),
                method_name="execute_in_window",
                timeout=timedelta(seconds=seconds + 3600),
            )
        time.sleep(max(0.0, seconds))


def _moment_trigger(moment: datetime) -> Any:
    try:
        from airflow.providers.standard.triggers.temporal import DateTimeTrigger
    except ImportError:
        # Airflow 2.11 without the standard provider.
        from airflow.triggers.temporal import DateTimeTrigger  # type: ignore[import-not-found, no-redef]
    return DateTimeTrigger(moment)
