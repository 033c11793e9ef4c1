"""One run of a campaign: what may go out when, and how the task ends."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.operators import parameters
from airflow_provider_wts.sending import care
from airflow_provider_wts.sending.batch import Batch, Stopped
from airflow_provider_wts.sending.contacts import identity_of
from airflow_provider_wts.sending.exclusions import exclusions
from airflow_provider_wts.sending.recipients import Left
from airflow_provider_wts.sending.results import Tally

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from airflow_provider_wts.operators.batch_base import WtsBatchOperator
    from airflow_provider_wts.sending.delivery import Way
    from airflow_provider_wts.sending.recipients import Recipients
    from airflow_provider_wts.sending.results import ResultsFile


class Campaign:
    """One run of the task.

    :param operator: the task.
    :param context: its context.
    :param way: how the messages go out.
    :param recipients: the checked recipients.
    :param results: where the results go; ``None`` = nowhere.
    """

    def __init__(
        self,
        operator: WtsBatchOperator,
        context: Context,
        way: Way,
        recipients: Recipients,
        results: ResultsFile | None,
    ) -> None:
        self._operator = operator
        self._context = context
        self._way = way
        self._recipients = recipients
        self._results = results
        self._log = operator.log
        self._tally = Tally(recipients.count, operator.log, operator.progress_interval, results)
        self._most_failures = most_failures(operator.max_failures, recipients.count)
        self._last = care.deadline(operator.not_after)
        self._window = care.SendWindow.read(operator.send_window) if operator.send_window else None
        if operator.outside_window not in ("wait", "skip"):
            raise WtsInvalidRequestError(f"outside_window: {operator.outside_window!r} is none of 'wait' and 'skip'.")
        self._tags = care.tag_list(operator.exclude_tags)
        self._spared: dict[str, str] | None = None
        self._batch: Batch | None = None

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
            chunk_size=chunk_size,
            permit=self._permit,
            spare=self._spare,
            report=self._tally.report,
            on_unknown=self._operator.on_unknown,
            on_clear=self._operator.on_clear,
        )
        self._batch.run(self._recipients)
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
        while True:
            now = datetime.now(UTC)
            opening = self._window.next_opening(now) if self._window else now
            if self._last is not None and max(now, opening) > self._last:
                raise Stopped(f"not_after is {self._last.isoformat()}")
            if opening <= now:
                return
            if self._operator.outside_window == "skip":
                raise Stopped(f"the send window opens again at {opening.isoformat()}")
            self._wait_for(opening)
            # Somebody may have opted out meanwhile.
            self._spared = None

    def _wait_for(self, opening: datetime) -> None:
        begun = self._tally.counts["sent"] + self._tally.counts["failed"] > 0
        if self._batch is not None and self._batch.ledger is None and begun:
            # Without a ledger, what was sent is known here and nowhere else, so the task must not leave its worker.
            seconds = (opening - datetime.now(UTC)).total_seconds()
            self._log.info("The send window opens at %s, in %.0f s.", opening.isoformat(), seconds)
            time.sleep(max(0.0, seconds))
        else:
            self._operator.wait_for(opening)

    def _spare(self, to: str) -> str | None:
        if not self._tags and not self._operator.exclude_blocked:
            return None
        if self._spared is None:
            self._spared = exclusions(self._operator.hook, self._tags, blocked=self._operator.exclude_blocked)
        return self._spared.get(identity_of(to))

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
        }

    def _tell(self, summary: dict[str, Any], problem: str) -> None:
        """Write down how it ended, wherever somebody looks for it."""
        if self._results is not None:
            task_instance = self._context["ti"]
            names = ("dag_id", "run_id", "task_id", "map_index")
            self._results.complete({**{name: getattr(task_instance, name, None) for name in names}, **summary})
        self._tell_outlets(summary)
        if problem:
            self._context["ti"].xcom_push(key="return_value", value=summary)
        told = ", ".join(f"{count:,} {name}" for name, count in self._tally.counts.items())
        self._log.info("The campaign: %s.", told)

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
