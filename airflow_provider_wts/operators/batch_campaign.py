"""One run of a campaign: what may go out when, and how the task ends."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred

from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.operators import parameters
from airflow_provider_wts.sending import care
from airflow_provider_wts.sending.batch import Batch, Result, Stopped
from airflow_provider_wts.sending.delivery import Send
from airflow_provider_wts.sending.exclusions import Exclusions
from airflow_provider_wts.sending.key import Mark, TaskIdentity, send_key
from airflow_provider_wts.sending.recipients import Left
from airflow_provider_wts.sending.results import Tally

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from airflow_provider_wts.operators.batch_base import WtsBatchOperator
    from airflow_provider_wts.sending.delivery import Way
    from airflow_provider_wts.sending.pages import PagedLedger
    from airflow_provider_wts.sending.recipients import Recipient, Recipients
    from airflow_provider_wts.sending.results import ResultsFile


#: Messages that a dry run shows.
_MOST_SHOWN = 3


class Campaign:
    """One run of the task.

    :param operator: the task.
    :param context: its context.
    :param way: how the messages go out.
    :param recipients: the checked recipients.
    :param results: where the results go; ``None`` = nowhere.
    :param ledger: the ledger, opened when the task began; ``None`` if this deployment has no place for one.
    """

    def __init__(
        self,
        operator: WtsBatchOperator,
        context: Context,
        way: Way,
        recipients: Recipients,
        *,
        results: ResultsFile | None,
        ledger: PagedLedger | None,
    ) -> None:
        self._operator = operator
        self._context = context
        self._way = way
        self._recipients = recipients
        self._results = results
        self._ledger = ledger
        self._log = operator.log
        self._tally = Tally(recipients.count, operator.log, operator.progress_interval, results)
        self._most_failures = most_failures(operator.max_failures, recipients.count)
        self._last = care.deadline(operator.not_after)
        self._window = care.SendWindow.read(operator.send_window) if operator.send_window else None
        if operator.outside_window not in ("wait", "skip"):
            raise WtsInvalidRequestError(f"outside_window: {operator.outside_window!r} is none of 'wait' and 'skip'.")
        self._exclusions = Exclusions(
            operator.hook, care.tag_list(operator.exclude_tags), blocked=operator.spares_blocked
        )
        self._batch: Batch | None = None

    def refuse_bad_rows(self, *, rehearsal: bool) -> None:
        """Refuse the whole campaign because of its bad rows; the results file names all of them.

        :param rehearsal: whether this is a dry run, which writes no results.
        :raises WtsInvalidRequestError: listing the first of them.
        """
        where = ""
        if self._results is not None and not rehearsal:
            reason = f"{self._recipients.bad_rows} other rows are bad"
            with self._results:
                for row in self._recipients.entries():
                    if isinstance(row, Left):
                        self._tally.leave(row)
                    else:
                        self._tally.report(row, Result("not_sent", reason=reason))
                self._complete_results({**self._summary(), "stopped": "bad rows"})
            where = f" All of them are in {self._results.address}."
        self._recipients.refuse_bad_rows(where)

    def rehearse(self) -> dict[str, Any]:
        """Do everything but the requests that send, and return what would happen."""
        self._exclusions.read()
        to_send = 0
        shown: list[Recipient] = []
        for row in self._recipients.entries():
            if isinstance(row, Left):
                self._tally.leave(row)
            elif (reason := self._exclusions.reason(row.to)) is not None:
                self._tally.report(row, Result("skipped", reason=reason))
            else:
                to_send += 1
                shown += [row] if len(shown) < _MOST_SHOWN else []
        now = datetime.now(UTC)
        opening, stopped = now, None
        try:
            opening = self._opening(now)
        except Stopped as stop:
            stopped = str(stop)
        self._log.info("Dry run: nothing is sent. It would be sent to %s recipients.", f"{0 if stopped else to_send:,}")
        self._tally.say_who_was_not_reached()
        requests = [self._request(recipient) for recipient in shown]
        return {
            "dry_run": True,
            "recipients": self._recipients.count,
            "to_send": 0 if stopped else to_send,
            "skipped": self._tally.counts["skipped"],
            "bad_rows": self._recipients.bad_rows,
            "duplicates": self._recipients.duplicates,
            "requests": -(-to_send // self._way.request_size),
            "first_request": next(iter(requests), None),
            "messages": [
                {
                    "line": recipient.line,
                    "to": recipient.to,
                    "text": self._operator.rendered(recipient),
                    "request": request["body"],
                }
                for recipient, request in zip(shown, requests, strict=True)
            ],
            "not_reached": self._tally.not_reached(),
            "waits_until": opening.isoformat() if opening > now else None,
            "stopped": stopped,
        }

    def _request(self, recipient: Recipient) -> dict[str, Any]:
        """Return the request that a recipient alone would be sent with."""
        operator, task = self._operator, TaskIdentity.of(self._context["ti"])
        key = send_key(task, generation=0, wts_conn_id=operator.wts_conn_id, recipient=recipient.identity)
        call = self._way.call([Send(recipient, Mark(key))])
        return {"operation_id": call.operation_id, "path": call.url_path, "body": call.json_body}

    def run(self, chunk_size: int) -> dict[str, Any]:
        """Send, and return the counts.

        :param chunk_size: recipients of one page of the ledger.
        """
        for row in self._recipients.entries():
            if isinstance(row, Left):
                self._tally.leave(row)
        self._batch = Batch(
            self._operator.hook,
            self._context,
            self._way,
            ledger=self._ledger,
            chunk_size=chunk_size,
            permit=self._permit,
            spare=self._exclusions.reason,
            report=self._tally.report,
            on_unknown=self._operator.on_unknown,
        )
        try:
            self._batch.run(self._recipients)
        except TaskDeferred:
            raise
        except Exception:
            self._tally.say_who_was_not_reached()
            raise
        problem, finished = self._problem(), False
        try:
            summary = self._summary()
            self._tell(summary, problem)
            finished = not problem
        finally:
            # Last of all: a clear of a campaign that finished sends everything anew, so it must not end in an error.
            self._batch.close(finished=finished)
        return self._end(summary, problem)

    def _permit(self) -> None:
        """Let the next chunk go out, or wait until it may, or stop the campaign."""
        if self._too_many_failures():
            raise Stopped(f"more than {self._most_failures:g} messages failed (max_failures)")
        while (opening := self._opening(now := datetime.now(UTC))) > now:
            self._wait_for(opening)
        # Somebody may have opted out meanwhile.
        self._exclusions.read_again()

    def _opening(self, now: datetime) -> datetime:
        """Return when the next chunk may go out: ``now``, or when the window opens."""
        opening = self._window.next_opening(now) if self._window else now
        if self._last is not None and max(now, opening) > self._last:
            raise Stopped(f"not_after is {self._last.isoformat()}")
        if opening > now and self._operator.outside_window == "skip":
            raise Stopped(f"the send window opens again at {opening.isoformat()}")
        return opening

    def _wait_for(self, opening: datetime) -> None:
        begun = self._tally.counts["sent"] + self._tally.counts["failed"] > 0
        if self._batch is not None and self._batch.ledger is None and begun:
            # Without a ledger, what was sent is known here and nowhere else, so the task must not leave its worker.
            seconds = (opening - datetime.now(UTC)).total_seconds()
            self._log.info("The send window opens at %s, in %.0f s.", opening.isoformat(), seconds)
            time.sleep(max(0.0, seconds))
        else:
            self._operator.wait_for(opening)

    def _too_many_failures(self) -> bool:
        return self._most_failures is not None and self._tally.counts["failed"] > self._most_failures

    def _problem(self) -> str:
        """Say why the task has failed, where it has."""
        counts = self._tally.counts
        if self._too_many_failures():
            return f"More than {self._most_failures:g} messages failed (max_failures), so the campaign was stopped."
        if counts["undecided"]:
            return (
                f"It is not known whether {counts['undecided']} recipients got the message, so nothing was sent to "
                f"them again: {self._tally.undecided()}. Look at their conversations in WTS Chat; set "
                "on_unknown='resend' and clear the task to send to them, or mark it as success."
            )
        if counts["failed"] and not counts["sent"] and not counts["skipped"]:
            return f"All {counts['failed']} messages failed."
        if self._recipients.bad_rows and not self._recipients.count:
            return "All rows are bad."
        return ""

    def _summary(self) -> dict[str, Any]:
        return {
            "recipients": self._recipients.count,
            **self._tally.counts,
            "bad_rows": self._recipients.bad_rows,
            "duplicates": self._recipients.duplicates,
            "results_path": self._results.address if self._results else None,
            "manifest_path": self._results.manifest_address if self._results else None,
            "stopped": (self._batch.stopped if self._batch else "") or None,
            "not_reached": self._tally.not_reached(),
        }

    def _tell(self, summary: dict[str, Any], problem: str) -> None:
        """Write down how it ended, wherever somebody looks for it."""
        self._complete_results(summary)
        self._tell_outlets({name: value for name, value in summary.items() if name != "not_reached"})
        if problem:
            self._context["ti"].xcom_push(key="return_value", value=summary)
        told = ", ".join(f"{count:,} {name}" for name, count in self._tally.counts.items())
        self._log.info("The campaign: %s.", told)
        self._tally.say_who_was_not_reached()

    def _complete_results(self, summary: dict[str, Any]) -> None:
        if self._results is not None:
            task_instance = self._context["ti"]
            names = ("dag_id", "run_id", "task_id", "map_index")
            self._results.complete({**{name: getattr(task_instance, name, None) for name in names}, **summary})

    def _end(self, summary: dict[str, Any], problem: str) -> dict[str, Any]:
        counts, stopped = self._tally.counts, summary["stopped"]
        if problem:
            where = f" The results are in {self._results.address}." if self._results else ""
            raise AirflowFailException(f"{problem}{where}")
        if stopped and not counts["sent"] and not counts["failed"]:
            raise AirflowSkipException(f"Nothing was sent: {stopped}.")
        if stopped:
            self._log.warning("Stopped before all recipients were written to: %s.", stopped)
        return summary

    def _tell_outlets(self, summary: Mapping[str, Any]) -> None:
        events: Any = self._context.get("outlet_events")
        if events is None:
            return
        for outlet in self._operator.outlets or ():
            # An alias, or something that is no asset, has no such event.
            with suppress(KeyError, TypeError, AttributeError):
                events[outlet].extra.update(summary)


def most_failures(value: Any, recipients: int) -> float | None:
    """Return how many messages may fail.

    :param value: a count, a share, or the text of one.
    :param recipients: how many recipients there are.
    :raises WtsInvalidRequestError: when it is neither.
    """
    if parameters.missing(value):
        return None
    text = str(value).strip()
    share = text.endswith("%") or isinstance(value, float) or "." in text
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        number = -1.0
    if isinstance(value, bool) or not number >= 0 or (share and number > 1):
        raise WtsInvalidRequestError(
            f"max_failures: {value!r} is neither a count nor a share. Good values are 50, 0.05 and '5%'."
        )
    return number * recipients if share else number
