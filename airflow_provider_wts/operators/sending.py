"""Base of the operators that send: exactly once, the rules before a send, and where a message goes."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypedDict, TypeVar, Unpack, cast

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, conf

from airflow_provider_wts import api
from airflow_provider_wts.api import parameters
from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError
from airflow_provider_wts.api.wire import UNSET, Missing
from airflow_provider_wts.hooks.errors import task_failures
from airflow_provider_wts.hooks.nested import within_task
from airflow_provider_wts.operators.base import WtsOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow.sdk import Context

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.messages import QuickContent, QuickSend
    from airflow_provider_wts.api.sends import SendOptions, SendTo
    from airflow_provider_wts.api.types import SessionV2
    from airflow_provider_wts.hooks.files import OutgoingFile
    from airflow_provider_wts.sending.key import Mark
    from airflow_provider_wts.sending.ledger import OnClear, OnUnknown
    from airflow_provider_wts.sending.once import Once
    from airflow_provider_wts.sending.reconcile import InSession, Trace
    from airflow_provider_wts.sending.rules import Refusal, Rule, Rules, SendTimes


T = TypeVar("T")

#: Waits for the send window that are shorter than this (in seconds) are not worth a deferral.
_SHORT_WAIT = 60.0


class SendOnce(TypedDict, total=False):
    """What :meth:`~airflow_provider_wts.sending.once.Once.send` takes besides the send itself."""

    before_send: Callable[[], None]
    held_back: float
    last: bool
    place: str


class WtsOnceOperator(WtsOperator):
    """Base of the operators whose call must happen exactly once, however often Airflow runs the task.

    :param on_unknown: what to do if it cannot be confirmed whether an earlier try sent: ``fail`` (default) fails the
        task, and names the recipient and what to check; ``resend`` sends again, which may send twice (templated).
    :param on_clear: what clearing the task does. ``auto`` (default): a finished task sends again, and an unfinished one
        continues. ``continue``: the task never sends again what was sent. ``resend``: the task sends again. Clears can
        be distinguished from retries only with a ledger: Airflow 3.3, or ``[wts] ledger_path``. Without one, ``auto``
        means ``continue`` (templated).
    :raises AirflowFailException: when the input is invalid, the API refuses, or the outcome is unknown.
    """

    never_blank: ClassVar[frozenset[str]] = WtsOperator.never_blank | {"on_clear"}

    def __init__(
        self, *, on_unknown: OnUnknown | str = "fail", on_clear: OnClear | str = "auto", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.on_unknown = on_unknown
        self.on_clear = on_clear

    def open_ledger(self, context: Context) -> None:
        """Open the ledger of this task. Call it first in ``execute``: from then on no earlier try can send."""
        with task_failures():
            self.refuse_vanished()
            self._open(context)

    def run_once(
        self,
        context: Context,
        *,
        recipient: str,
        build: Callable[[Mark], Call[T]],
        trace: Trace | None = None,
        **options: Unpack[SendOnce],
    ) -> T:
        """Perform a call exactly once across all tries of the task.

        :param recipient: phone number or handle in the API's format, or the ID of a session or card.
        :param build: builds the call, with the marker if the API takes one.
        :param trace: where the send leaves its marker; ``None`` if it leaves none.
        :return: the API's response, of this or an earlier try.
        """
        with task_failures():
            self.refuse_vanished()
            return self._once(context).send(recipient, build, trace, **options)

    def finish_sending(self, context: Context) -> None:
        """Record that the task has finished: clearing it from now on sends again."""
        with task_failures():
            self._once(context).finish()

    def resume(self, context: Context) -> None:
        """Record that this try was deferred, and continues. Call it first."""
        self.__dict__["_resumed_ti"] = context["ti"]

    def is_resumed(self, context: Context) -> bool:
        """Whether this try was deferred, and continues."""
        return self.__dict__.get("_resumed_ti") is context["ti"]

    def _once(self, context: Context) -> Once:
        """Return the sends of this try; opens the ledger if it is not open yet."""
        opened: tuple[Any, Once] | None = self.__dict__.get("_opened")
        return self._open(context) if opened is None or opened[0] is not context["ti"] else opened[1]

    def _open(self, context: Context) -> Once:
        from airflow_provider_wts.sending.once import Once

        resumed = self.is_resumed(context)
        once = Once(self.hook, context, on_unknown=self.on_unknown, on_clear=self.on_clear, resumed=resumed)
        self.__dict__["_opened"] = context["ti"], once
        return once


class RefusesBackfill(WtsOnceOperator):
    """Base of the operators that make WTS Chat message a customer, directly or through a sequence.

    :param allow_backfill: also send in backfill runs. By default, the task fails in them without using retries, because
        it would message customers about the past (templated).
    """

    def __init__(self, *, allow_backfill: bool | str = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.allow_backfill = allow_backfill

    def refuse_backfill(self, context: Context) -> None:
        """Refuse to send in a run of a backfill, unless that is allowed."""
        kind = getattr(context.get("dag_run"), "run_type", None)
        is_backfill = str(getattr(kind, "value", kind)) == "backfill"
        if is_backfill and parameters.flag("allow_backfill", self.allow_backfill) is not True:
            raise WtsInvalidRequestError(
                "allow_backfill: this run is part of a backfill, and would message customers about the past. Nothing "
                "was sent. If that is what you want, set allow_backfill=True and clear the task."
            )


class WtsSendingOperator(RefusesBackfill):
    """Base of the operators that message a customer.

    :param dry_run: do everything except the send, and return the request, whether it would be ``skipped`` and why, and
        the time that it ``waits_until`` (templated).
    :param not_after: date and time after which the task is skipped, so that a catch-up or a late retry sends no
        outdated message: an aware datetime, or ISO 8601 text (templated).
    :param send_window: hours in which messages may go out, such as ``08:00-20:00 America/Sao_Paulo`` or ``mon-fri
        09:00-18:00 America/Sao_Paulo`` (templated).
    :param outside_window: ``wait`` (default) until the window opens, in the triggerer if ``deferrable``, else on
        the worker; or ``skip`` the task (templated).
    :param exclude_tags: names or IDs of tags whose contacts get no message; the task is skipped. Takes an extra request
        (templated).
    :param exclude_blocked: also exclude contacts that are blocked in WTS Chat. Takes an extra request (templated).
    :param suppression_path: file that lists people who get no message: CSV, JSON Lines, Excel or Parquet, at any
        ``ObjectStoragePath``. It holds phone numbers, handles, keyed hashes or contact IDs. The task is skipped. A list
        that is empty, or that cannot be read completely, is refused (templated).
    :param suppression_sql: query for such a list, or a ``.sql`` file; may be combined with ``suppression_path``. Needs
        the extra ``sql`` (templated).
    :param suppression_conn_id: ID of the Airflow connection of the query's database (templated).
    :param suppression_sql_parameters: values for the query's placeholders: a list or an object, as the database driver
        expects it, or its JSON text (templated).
    :param max_per_contact: maximum number of messages per person, such as ``2 per 7 days`` or ``1 per day``, counted
        across all DAGs and workers by every task that sets it. Beyond it, the task is skipped. Requires
        ``rate_limit_conn_id`` in the connection: the counts are in its Redis server (templated).
    :param deferrable: wait in the triggerer, without holding a worker slot.
    :raises AirflowFailException: when the input is invalid, the API refuses, the message fails immediately, or the send
        is unconfirmed.
    :raises AirflowSkipException: when ``not_after``, ``send_window``, ``exclude_tags`` or another rule holds the send
        back.
    """

    never_blank: ClassVar[frozenset[str]] = WtsOnceOperator.never_blank | {
        *("is_dry_run", "not_after", "send_window", "outside_window", "exclude_tags", "exclude_blocked"),
        *("suppression_path", "suppression_sql", "suppression_conn_id", "max_per_contact"),
    }
    not_templated = frozenset({"deferrable"})
    sql_files: ClassVar[frozenset[str]] = WtsOnceOperator.sql_files | {"suppression_sql"}

    def __init__(
        self,
        *,
        dry_run: bool | str = False,
        not_after: datetime | str | None = None,
        send_window: str | None = None,
        outside_window: str = "wait",
        exclude_tags: Sequence[str] | str | None = None,
        exclude_blocked: bool | str = False,
        suppression_path: str | None = None,
        suppression_sql: str | None = None,
        suppression_conn_id: str | None = None,
        suppression_sql_parameters: Any = None,
        max_per_contact: str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # Airflow's operators have a method dry_run, so the attribute has another name.
        self.is_dry_run = dry_run
        self.not_after = not_after
        self.send_window = send_window
        self.outside_window = outside_window
        self.exclude_tags = exclude_tags
        self.exclude_blocked = exclude_blocked
        self.suppression_path = suppression_path
        self.suppression_sql = suppression_sql
        self.suppression_conn_id = suppression_conn_id
        self.suppression_sql_parameters = suppression_sql_parameters
        self.max_per_contact = max_per_contact
        self.deferrable = deferrable

    def send_once(
        self,
        context: Context,
        *,
        recipient: str,
        build: Callable[[Mark], Call[Any]],
        trace: Trace | None = None,
        prepare: Callable[[], None] | None = None,
        **options: Unpack[SendOnce],
    ) -> Any:
        """Message a customer exactly once, if and when the rules allow it; otherwise as :meth:`run_once`.

        :param prepare: called right before the send for repeatable preparation, such as an upload; then ``build`` is
            called again.
        :return: the API's response, of this or an earlier try; under ``dry_run`` the request.
        """
        with task_failures():
            self.refuse_vanished()
            rules = self._rules
            if parameters.flag("dry_run", self.is_dry_run) is True:
                return self._dry_run(context, recipient, build)

        def key() -> str:
            return self._once(context).key(recipient)

        def before_send() -> None:
            # After a wait, the window may have closed again, and the customer may have opted out.
            try:
                while (opening := self._opening(recipient, now := datetime.now(UTC))) > now:
                    self.wait_for(opening)
                self._take(key(), recipient)
            except AirflowSkipException as skip:
                # Airflow's own log line about a skipped task has no reason.
                self.log.warning("%s", skip)
                raise
            if prepare is not None:
                prepare()

        options["before_send"] = before_send
        try:
            answer = self.run_once(context, recipient=recipient, build=build, trace=trace, **options)
        except Exception:
            if rules:
                with suppress(WtsError):
                    # Without an intent, it certainly did not go out.
                    self._settle_send(key(), is_unsent=self._once(context).ledger.entry(key()) is None)
            raise
        self._settle_send(key(), is_unsent=api.messages.failure_of(answer) is not None)
        return answer

    def open_ledger(self, context: Context) -> None:
        """Open the ledger of this task, unless nothing is to be sent."""
        with task_failures():
            self.refuse_vanished()
            dry_run = parameters.flag("dry_run", self.is_dry_run) is True
        if not dry_run:
            super().open_ledger(context)

    def _open(self, context: Context) -> Once:
        self.refuse_backfill(context)
        return super()._open(context)

    @property
    def excludes_blocked(self) -> bool:
        """Whether blocked contacts are excluded."""
        return parameters.flag("exclude_blocked", self.exclude_blocked) is True

    def send_times(self) -> SendTimes:
        """Return when this task may send."""
        from airflow_provider_wts.sending.rules import SendTimes

        return SendTimes.read(self.send_window, self.not_after, self.outside_window)

    def recipient_rules(self, *, alone: bool) -> list[Rule]:
        """Return the rules about recipients, besides tags and blocks.

        :param alone: whether there is only one recipient.
        """
        rules = [*self._suppressions(alone=alone)]
        if not parameters.missing(self.max_per_contact):
            from airflow_provider_wts.sending.cap import Cap

            rules.append(Cap(self.hook, str(self.max_per_contact)))
        return rules

    def _suppressions(self, *, alone: bool) -> Iterator[Rule]:
        path, sql, conn_id = self.suppression_path, self.suppression_sql, self.suppression_conn_id
        if parameters.missing(sql) != parameters.missing(conn_id):
            raise WtsInvalidRequestError(
                "suppression_sql, suppression_conn_id: give both of them, or neither. Nothing was sent. Example: "
                "suppression_sql='SELECT phone FROM optouts', suppression_conn_id='warehouse'"
            )
        values = None if parameters.missing(self.suppression_sql_parameters) else self.suppression_sql_parameters
        if values is not None and parameters.missing(sql):
            raise WtsInvalidRequestError(
                "suppression_sql_parameters: has no effect without suppression_sql. Nothing was sent. Leave it out, or "
                "give the query, too."
            )
        if parameters.missing(path) and parameters.missing(sql):
            return
        from airflow_provider_wts.campaigns.suppression import Suppression, rows_of_file, rows_of_query

        if not parameters.missing(path):
            yield Suppression(self.hook, lambda: rows_of_file(str(path).strip()), "suppression_path", alone=alone)
        if not parameters.missing(sql):
            rows = partial(rows_of_query, str(sql), str(conn_id).strip(), values)
            yield Suppression(self.hook, rows, "suppression_sql", alone=alone)

    @cached_property
    def _rules(self) -> Rules:
        """The rules about the only recipient."""
        from airflow_provider_wts.sending.rules import Rules

        return Rules(self.recipient_rules(alone=True))

    def execute_in_window(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Continue when the send window has opened; the event says nothing."""
        self.resume(context)
        return within_task(self.execute)(context)

    def session_contact(self, session_id: str) -> str:
        """Return the number or handle of the contact of a session, if the connection allows it."""
        from airflow_provider_wts.api.addresses import addresses_in

        address = next(addresses_in(self.session_of(session_id).get("contactDetails") or {}), None)
        if address is None:
            raise WtsInvalidRequestError(
                f"session_id: session {session_id} does not show its contact's number or handle, which is needed here. "
                "Nothing was sent. Send to the contact with 'to'."
            )
        return self.hook.recipient(address)

    def session_of(self, session_id: str) -> SessionV2:
        """Return a session with its contact; it is asked for once."""
        known: dict[str, SessionV2] = self.__dict__.setdefault("_sessions", {})
        if session_id not in known:
            known[session_id] = self.hook.run(api.sessions.get_session(session_id, include_details=["ContactDetails"]))
        return known[session_id]

    def _dry_run(self, context: Context, recipient: str, build: Callable[[Mark], Call[Any]]) -> dict[str, Any]:
        from airflow_provider_wts.hooks.context import TaskIdentity
        from airflow_provider_wts.sending.key import Mark, send_key

        key = send_key(TaskIdentity.of(context["ti"]), generation=0, wts_conn_id=self.wts_conn_id, recipient=recipient)
        call = build(Mark(key))
        now = datetime.now(UTC)
        opening, skipped = now, None
        try:
            opening = self._opening(recipient, now)
            if self._rules:
                self._refuse(self._rules.would_take({key: self._address(recipient)}).get(key), "sent")
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
        # The recipient and the content are only in the returned value, not in the log.
        outcome = skipped or f"{call.method} {call.operation_id} would be called."
        self.log.info("Dry run: nothing is sent. %s", outcome)
        return request

    def _opening(self, recipient: str, now: datetime) -> datetime:
        """Return when the send may go out: ``now``, or when the window opens; skip the task if it must not."""
        from airflow_provider_wts.sending import rules

        try:
            opening = self.send_times().opening(now)
        except rules.HeldBack as held_back:
            raise AirflowSkipException(f"Nothing was sent: {held_back}.") from None
        self._refuse_excluded(recipient, "sent")
        return opening

    def _refuse_excluded(self, recipient: str, done: str) -> None:
        """Skip the task if the recipient must not be written to."""
        from airflow_provider_wts.sending import rules

        tags = parameters.texts("exclude_tags", self.exclude_tags) or []
        if tags or self.excludes_blocked:
            reason = rules.reason_to_exclude(
                self.hook, self._address(recipient), exclude_tags=tags, exclude_blocked=self.excludes_blocked
            )
            if reason:
                raise AirflowSkipException(f"Nothing was {done}: {reason}.")
        if self._rules:
            self._rules.before_chunk()
            self._refuse(self._rules.refusal(self._address(recipient)), done)

    def _address(self, recipient: str) -> str:
        """Return the number or handle of a recipient; for a session, those of its contact."""
        from airflow_provider_wts.api.addresses import is_address

        return recipient if is_address(recipient) else self.session_contact(recipient)

    def _take(self, key: str, recipient: str) -> None:
        """Count the send that goes out next, or skip the task."""
        if self._rules:
            self._refuse(self._rules.take({key: self._address(recipient)}).get(key), "sent")

    def _settle_send(self, key: str, *, is_unsent: bool) -> None:
        self._rules.settle([key], [key] if is_unsent else [])

    def _refuse(self, refusal: Refusal | None, done: str) -> None:
        """Skip or fail the task if a rule refuses the recipient."""
        if refusal is not None:
            end = AirflowFailException if refusal.status == "failed" else AirflowSkipException
            raise end(f"Nothing was {done}: {refusal.reason} ({refusal.rule}).")

    def wait_for(
        self, opening: datetime, *, may_defer: bool = True, sleep: Callable[[float], None] | None = None
    ) -> None:
        """Wait until the send window opens: in the triggerer if ``deferrable``, else on the worker."""
        seconds = (opening - datetime.now(UTC)).total_seconds()
        self.log.info("The send window opens at %s, in %.0f s.", opening.isoformat(), seconds)
        if may_defer and self.deferrable and seconds > _SHORT_WAIT:
            self.defer(
                trigger=time_trigger(opening),
                method_name="execute_in_window",
                timeout=timedelta(seconds=seconds + 3600),
            )
        (sleep or time.sleep)(max(0.0, seconds))


def time_trigger(timestamp: datetime) -> Any:
    """Return a trigger that fires at a time."""
    try:
        from airflow.providers.standard.triggers.temporal import DateTimeTrigger
    except ImportError:
        # Airflow 2.11 without the standard provider.
        from airflow.triggers.temporal import DateTimeTrigger  # type: ignore[import-not-found, no-redef]
    return DateTimeTrigger(timestamp)


_EXAMPLE = "{{ ti.xcom_pull(task_ids='start')['id'] }}"

#: Parameters that quick sends do not support.
_NOT_QUICK = ("sender_id", "callback_url", "delay_typing", "session_metadata", "kind")

_NOT_QUICK_IN_SESSION = ("channel", "department", "user", "hidden_session", "force_start_session", "enable_bot")


class WtsMessageOperator(WtsSendingOperator):
    """Base of the operators that send one message, to a contact or into a session.

    Only the API's older quick sends support ``synchronous`` and ``reply_bot``. They take no ``sender_id``, so the
    message cannot be looked up in WTS Chat: if the response is lost, ``on_unknown`` decides.

    :param to: recipient: phone number in any common format, or ``@handle``. A number without a country code is taken as
        Brazilian. Give either this or ``session_id`` (templated).
    :param session_id: session to write into (templated).
    :param channel: channel to send from: its name, ID, number or ``@handle``; default: the connection's channel, or
        else one that WTS Chat picks. A session has its own (templated).
    :param department: name or ID of the department that gets the session (templated).
    :param user: name, ID, email address or phone number of the user who gets the session (templated).
    :param hidden_session: if this send opens a session, keep it hidden until the contact replies (templated).
    :param force_start_session: end the session in progress and open a new one (templated).
    :param enable_bot: if this send opens a session, let the channel's bot start when the contact replies (templated).
    :param reply_bot: name or key of the bot that takes over when the contact replies; only with ``to`` (templated).
    :param synchronous: wait up to 25 s for the channel's response, then return the last known status (templated).
    :param sender_id: your own ID, which the API echoes. It replaces the provider's marker, so a send stays unconfirmed
        if its response is lost (templated).
    :param callback_url: URL that WTS Chat calls when the message goes out or fails (templated).
    :param kwargs: see :class:`WtsSendingOperator`: ``dry_run``, ``not_after``, ``send_window``, ``exclude_tags``,
        ``on_unknown``, ``on_clear``, ``deferrable``.
    """

    def __init__(
        self,
        *,
        to: str | None = None,
        session_id: str | None = None,
        channel: str | None = None,
        department: str | None = None,
        user: str | None = None,
        hidden_session: Missing[bool | str] = UNSET,
        force_start_session: Missing[bool | str] = UNSET,
        enable_bot: Missing[bool | str] = UNSET,
        reply_bot: str | None = None,
        synchronous: bool | str = False,
        sender_id: Missing[str] = UNSET,
        callback_url: Missing[str] = UNSET,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.to = to
        self.session_id = session_id
        self.channel = channel
        self.department = department
        self.user = user
        self.hidden_session = hidden_session
        self.force_start_session = force_start_session
        self.enable_bot = enable_bot
        self.reply_bot = reply_bot
        self.synchronous = synchronous
        self.sender_id = sender_id
        self.callback_url = callback_url

    def envelope(self) -> Envelope:
        """Return where the message goes and how; lookups that take a request come last."""
        if parameters.missing(self.to) == parameters.missing(self.session_id):
            raise WtsInvalidRequestError(
                "to, session_id: give exactly one of them. Nothing was sent. Example: to='+55 11 99999-8888'."
            )
        if self.is_quick:
            self._refuse_what_quick_sends_lack()
        sender_id = parameters.filter_text("sender_id", self.sender_id)
        callback_url = parameters.url("callback_url", self.callback_url)
        options = session_options(self)
        to, session_id = self._destination()
        # A session has its own channel.
        own = session_id is not None and parameters.missing(self.channel)
        channel = None if own else self.hook.channel(self.channel)
        options["user"] = parameters.user(self.user, self.hook.names.user)
        reply_bot = parameters.filter_text("reply_bot", self.reply_bot)
        bot_key = self.hook.names.chatbot(reply_bot) if isinstance(reply_bot, str) else None
        synchronous = parameters.switch("synchronous", self.synchronous) is True
        return Envelope(to, session_id, channel, options, sender_id, callback_url, bot_key, synchronous, self.is_quick)

    @property
    def is_quick(self) -> bool:
        """Whether only the older quick sends support what is asked for."""
        quick = parameters.switch("synchronous", self.synchronous) is True or not parameters.missing(self.reply_bot)
        return quick or self.leaves_kind_open

    #: Whether a file of unknown kind is sent, which only quick sends support.
    leaves_kind_open = False

    def deliver(
        self,
        context: Context,
        envelope: Envelope,
        build: Callable[[Mark], Call[Any]],
        *,
        file: OutgoingFile | None = None,
        delay: Missing[int] = UNSET,
        by_metadata: bool = False,
    ) -> Any:
        """Send, and fail if the API immediately reports that the message failed.

        :param file: its file, uploaded if necessary, unless an earlier try sent it.
        :param delay: seconds of "typing..." before the message.
        :param by_metadata: whether the marker is in the session's metadata.
        """
        answer = self.send_once(
            context,
            recipient=envelope.recipient,
            build=build,
            trace=_trace(envelope, by_metadata=by_metadata),
            prepare=None if file is None else file.upload,
            held_back=float(delay or 0),
        )
        if not isinstance(answer, dict) or "dry_run" in answer:
            return answer
        message_id, status = answer.get("id"), answer.get("status")
        if status is None or status in api.messages.MESSAGE_STATUSES:
            self.log.info("Message %s is %s.", message_id, status)
        else:
            self.log.warning(
                "Message %s has the status %s, which WTS Chat does not document. It counts as sent.", message_id, status
            )
        if failure := api.messages.failure_of(answer):
            raise AirflowFailException(failure)
        return answer

    def session_channel(self, session_id: str) -> str | None:
        """Return the number or handle of the channel of a session."""
        channel_id = self.session_of(session_id).get("channelId")
        return self.hook.names.channel(channel_id) if channel_id else None

    def _destination(self) -> tuple[str | None, str | None]:
        if parameters.missing(self.session_id):
            return self.hook.recipient(self.to), None
        session_id = parameters.needed_identity("session_id", self.session_id, example=_EXAMPLE)
        if self.hook.connection.allowed_recipients:
            self.session_contact(session_id)
        return None, session_id

    def _refuse_what_quick_sends_lack(self) -> None:
        asked = "synchronous" if parameters.missing(self.reply_bot) else "reply_bot"
        if asked == "synchronous" and parameters.switch("synchronous", self.synchronous) is not True:
            asked = "a file without 'kind'"
        in_session = not parameters.missing(self.session_id)
        if in_session and asked == "reply_bot":
            raise WtsInvalidRequestError(
                "reply_bot: the API takes it only with 'to', not in a session. Nothing was sent. Leave it out."
            )
        for name in (*_NOT_QUICK, *(_NOT_QUICK_IN_SESSION if in_session else ())):
            if not parameters.missing(getattr(self, name, None)):
                where = " in a session" if name in _NOT_QUICK_IN_SESSION else ""
                raise WtsInvalidRequestError(
                    f"{name}: the API does not take it together with {asked}{where}. Nothing was sent. Leave one out."
                )


class WtsFreeMessageOperator(WtsMessageOperator):
    """Base of the operators that send free text or files, which WhatsApp allows only for 24 hours after a message.

    :param outside_24h: what to do on an official WhatsApp channel if the customer has no open conversation, or has not
        written in it in the last 24 hours: ``send`` (default) anyway, which WhatsApp may refuse; ``fail`` or ``skip``
        the task. Takes a few extra requests (templated).
    :param reply_to: ID of the message that this one replies to (templated).
    :param delay_typing: seconds of "typing..." before the message, 0 to 25 (templated).
    :param kwargs: see :class:`WtsMessageOperator`.
    """

    never_blank: ClassVar[frozenset[str]] = WtsMessageOperator.never_blank | {"outside_24h", "text"}
    prose: ClassVar[frozenset[str]] = frozenset({"text"})

    def __init__(
        self,
        *,
        outside_24h: str = "send",
        reply_to: Missing[str] = UNSET,
        delay_typing: Missing[int | str] = UNSET,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.outside_24h = outside_24h
        self.reply_to = reply_to
        self.delay_typing = delay_typing

    def reply(self) -> tuple[Missing[str], Missing[int]]:
        """Return the ID of the message to reply to, and the seconds of "typing..."."""
        return parameters.identity("reply_to", self.reply_to), parameters.delay_typing(self.delay_typing)

    def recipient_rules(self, *, alone: bool) -> list[Rule]:
        rules = super().recipient_rules(alone=alone)
        session_id = None if parameters.missing(self.session_id) else str(self.session_id).strip()
        channel = None if session_id else self.hook.channel(self.channel)
        return [*rules, *reply_window(self, self.outside_24h, channel, alone=alone, session_id=session_id)]


def session_options(operator: Any) -> SendOptions:
    """Return the options of the session of a send, but its user, whose name may take a request."""
    names = ("hidden_session", "force_start_session", "enable_bot")
    flags = {name: parameters.flag(name, getattr(operator, name)) for name in names}
    return cast("SendOptions", {**flags, "department": parameters.department(operator.department)})


def reply_window(
    operator: Any, outside: str, channel: str | None, *, alone: bool, session_id: str | None = None
) -> list[Rule]:
    """Return the rule about the 24 hours after a customer's last message, if set.

    :param outside: ``send``, ``fail`` or ``skip``.
    :param channel: number or handle to send from; ``None``: WTS Chat picks one.
    :param session_id: the session that a single message goes into, if given.
    """
    if parameters.needed_choice("outside_24h", outside, ("send", "fail", "skip")) == "send":
        return []
    from airflow_provider_wts.campaigns.reply_window import ReplyWindow

    if parameters.flag("force_start_session", operator.force_start_session) is True:
        raise WtsInvalidRequestError(
            "outside_24h: force_start_session opens a new conversation, and it is not documented whether WhatsApp "
            "accepts the message there. Nothing was sent. Leave one of them out."
        )
    return [ReplyWindow(operator.hook, channel, str(outside).strip().lower(), alone=alone, session_id=session_id)]


def _trace(envelope: Envelope, *, by_metadata: bool) -> InSession | None:
    from airflow_provider_wts.sending.reconcile import InSession

    by_sender = envelope.sender_id is UNSET
    if envelope.quick or not (by_sender or by_metadata):
        return None
    recipient = "" if envelope.session_id else str(envelope.to)
    return InSession(recipient, envelope.session_id, by_metadata=by_metadata, by_sender=by_sender, is_message=True)


class Envelope(NamedTuple):
    """Where a message goes, and how.

    :param to: recipient, as the API spells it; ``None`` for a message into a session.
    :param channel: number or handle to send from; ``None`` leaves it to the platform or to the session.
    :param bot_key: key of the bot that takes over when the contact answers.
    :param quick: whether only the older quick sends support this.
    """

    to: str | None
    session_id: str | None
    channel: str | None
    options: SendOptions
    sender_id: Missing[str]
    callback_url: Missing[str]
    bot_key: str | None
    synchronous: bool
    quick: bool

    @property
    def recipient(self) -> str:
        """What identifies the send besides its task."""
        return str(self.session_id or self.to)

    def send_to(self, mark: Mark, *, reply_to: Missing[str] = UNSET, delay: Missing[int] = UNSET) -> SendTo:
        """Return the options of a send besides its content; its mark is the ``senderId``, unless the user set one."""
        common = {"callback_url": self.callback_url, "ref_id": reply_to, "delay_typing": delay}
        send = cast("SendTo", {**self.options, **common})
        send["sender_id"] = mark.key if self.sender_id is UNSET else self.sender_id
        if self.session_id is not None:
            send["session_id"] = self.session_id
        else:
            send["to"] = self.to
        if self.channel is not None:
            send["from_"] = self.channel
        return send

    def quick_call(self, content: QuickContent) -> Call[Any]:
        """Return the call of the quick sends."""
        if self.session_id is not None:
            if self.synchronous:
                return api.messages.send_session_message_sync(self.session_id, **content)
            return api.messages.send_session_message(self.session_id, **content)
        send = cast("QuickSend", {**content, **self.options})
        if self.channel is not None:
            send["from_"] = self.channel
        if self.bot_key is not None:
            send["bot_key"] = self.bot_key
        if self.synchronous:
            return api.messages.send_message_sync(str(self.to), **send)
        return api.messages.send_message(str(self.to), **send)
