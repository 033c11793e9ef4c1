"""Campaigns that were sent, read from their manifests and results line by line."""

from __future__ import annotations

import json
import logging
import re
from contextlib import closing
from datetime import datetime
from itertools import chain
from types import NoneType
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wts.api.errors import WtsInvalidRequestError, quoted, reason_of
from airflow_provider_wts.api.parameters import unpacked
from airflow_provider_wts.api.wire import parse_timestamp
from airflow_provider_wts.campaigns.attempts import MANIFEST, Attempt, is_complete, latest_manifest, place
from airflow_provider_wts.hooks.temporary import temporary_database

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow.sdk import ObjectStoragePath

log = logging.getLogger(__name__)

#: Fields of the manifest that show where a row comes from.
ORIGIN = ("campaign_id", "dag_id", "run_id", "task_id", "map_index", "generation")

#: The first columns of a table of results or outcomes, and their types.
FIRST_COLUMNS = {
    "campaign_id": "id",
    "row_key": "key",
    **dict.fromkeys(("dag_id", "run_id", "task_id"), "text"),
    **dict.fromkeys(("map_index", "generation", "line"), "count"),
}

#: What identifies a row of such a table.
KEY = ("campaign_id", "row_key")

#: The columns of a table of results.
RESULT_COLUMNS = {
    **FIRST_COLUMNS,
    **dict.fromkeys(("recipient", "status", "reason", "send_key", "api_id", "api_status", "session_id"), "text"),
    "sent_at": "time",
}

#: Statuses of sends that may have reached the recipient.
MAY_HAVE_REACHED = ("sent", "undecided")

#: Maximum length of a row's key.
LONGEST_KEY = 255

#: The requests that read the status of a send.
_STATUS_OPERATIONS = ("get_queued_chatbot_status", "get_sent_message_status")

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_EXAMPLE = "Example: campaign=send.output, or the address of a manifest, 's3://bucket/results.jsonl.manifest.json'."


class SentCampaign(NamedTuple):
    """A campaign that was sent.

    :param about: the manifest.
    :param address: where the results are.
    """

    about: dict[str, Any]
    address: str

    @property
    def campaign_id(self) -> str:
        """The ID of the campaign."""
        return str(self.about["campaign_id"])

    def lines(self) -> Iterator[dict[str, Any]]:
        """Read the lines of the results one at a time; if the campaign did not end, the lines so far."""
        try:
            if is_complete(self.about):
                lines: Iterator[Any] = map(json.loads, _lines_of(place(self.address)))
            else:
                lines = self._unfinished_lines()
            number = 0
            while True:
                number += 1
                try:
                    yield _checked(next(lines))
                except StopIteration:
                    return
                except (ValueError, KeyError, TypeError) as error:
                    raise WtsInvalidRequestError(
                        f"campaign: {quoted(self.address)}, line {number}, is not a valid result: {reason_of(error)}. "
                        "Somebody changed the file. Restore it, or clear the campaign's task with "
                        "on_clear='continue', which writes it again."
                    ) from None
        except (OSError, ImportError) as error:
            raise _unreadable(self.address, error) from None

    def _unfinished_lines(self) -> Iterator[dict[str, Any]]:
        """Read the lines that the tries wrote so far; a recipient's last line counts."""
        schema = "CREATE TABLE lines (line INTEGER, recipient TEXT, content BLOB, PRIMARY KEY (line, recipient))"
        with closing(temporary_database(f"{schema} WITHOUT ROWID")) as database:
            for file in chain.from_iterable(Attempt(self.address, name).files() for name in self.about["attempts"]):
                rows = (
                    (line["line"], line["to"] or "", text) for text in _lines_of(file) for line in [json.loads(text)]
                )
                database.executemany("INSERT OR REPLACE INTO lines VALUES (?, ?, ?)", rows)
            for (text,) in database.execute("SELECT content FROM lines ORDER BY line"):
                yield json.loads(text)

    def origin(self) -> dict[str, Any]:
        """Return the columns that show where the rows come from."""
        return {name: self.about.get(name) for name in ORIGIN}


def _checked(line: Any) -> dict[str, Any]:
    """Return a line if its fields have the right types, or raise ``ValueError``."""
    if not isinstance(line, dict):
        raise ValueError("it is not an object")
    for name in ("to", "reason", "send_key", "sent_at", "row_key"):
        if not isinstance(line.get(name), (str, NoneType)):
            raise ValueError(f"{name!r} is not text")
    if not isinstance(line.get("status"), str) or not isinstance(line.get("line"), int):
        raise ValueError("'status' is not text, or 'line' is not a number")
    if len(row_key(line)) > LONGEST_KEY:
        raise ValueError(f"'row_key' has more than {LONGEST_KEY} characters")
    if line.get("send_key") and line["status"] in MAY_HAVE_REACHED and not (line.get("to") and line.get("sent_at")):
        raise ValueError("'to' or 'sent_at' is missing")
    if line.get("sent_at") and datetime.fromisoformat(line["sent_at"]).tzinfo is None:
        raise ValueError("'sent_at' has no time zone")
    # These come from an answer of WTS Chat, which may have had any type.
    for name in ("id", "api_status", "session_id"):
        if not isinstance(line.get(name), (str, NoneType)):
            line[name] = None
    return line


def _lines_of(path: ObjectStoragePath) -> Iterator[bytes]:
    with path.open("rb") as file:  # type: ignore[no-untyped-call]
        # Files that Airflow 2.11 opens are not iterable.
        for line in iter(file.readline, b""):
            # A kill may leave half a line.
            if line.strip() and line.endswith(b"\n"):
                yield line


def result_rows(campaign: SentCampaign) -> Iterator[dict[str, Any]]:
    """Return the results of a send as rows of a table."""
    for line in campaign.lines():
        yield {
            **campaign.origin(),
            "row_key": row_key(line),
            "recipient": line.get("to"),
            "api_id": line.get("id"),
            **{name: line.get(name) for name in ("line", "status", "reason", "send_key", "api_status", "session_id")},
            "sent_at": parse_timestamp(line.get("sent_at")),
        }


def row_key(line: Mapping[str, Any]) -> str:
    """Return what identifies a line of the results within its campaign."""
    return str(line.get("row_key") or line.get("to") or f"line:{line['line']}")


def sent_campaigns(given: Any) -> list[SentCampaign]:
    """Return the campaigns that a parameter names.

    :param given: what a batch operator returned, the address of a manifest, or a list of either.
    """
    found: dict[str, SentCampaign] = {}
    given = unpacked("campaign", given)
    for one in given if isinstance(given, (list, tuple)) else [given]:
        campaign = _read(_manifest_address(unpacked("campaign", one)))
        found[campaign.campaign_id] = campaign
    if not found:
        raise WtsInvalidRequestError(f"campaign: is empty. {_EXAMPLE}")
    return list(found.values())


def _manifest_address(one: Any) -> str:
    if isinstance(one, dict):
        address = one.get("manifest_path")
        if not address:
            raise WtsInvalidRequestError(
                "campaign: the campaign wrote no results. Set results_path of its task, or [wts] results_path, and "
                f"clear that task. {_EXAMPLE}"
            )
        return str(address)
    if not isinstance(one, str) or not one.strip() or one.strip() == "None":
        raise WtsInvalidRequestError(f"campaign: {quoted(one)} is not a campaign. {_EXAMPLE}")
    return one.strip()


def _read(address: str) -> SentCampaign:
    results = address.removesuffix(MANIFEST)
    try:
        about = latest_manifest(results)
    except (OSError, ValueError, ImportError) as error:
        raise _unreadable(address, error) from None
    if about is None:
        raise _unreadable(address, "there is no manifest")
    if not about.get("campaign_id"):
        raise WtsInvalidRequestError(
            f"campaign: {quoted(address)} is not the manifest of a campaign, or was written before version 0.2.0. "
            f"{_EXAMPLE}"
        )
    if problem := _problem_of(about):
        raise WtsInvalidRequestError(
            f"campaign: {quoted(address)} is not a valid manifest of a campaign: {problem}. Somebody changed it. "
            f"Restore it, or clear the campaign's task with on_clear='continue', which writes it again. {_EXAMPLE}"
        )
    if not is_complete(about):
        log.warning("The campaign of %s did not end, so only recipients that it reached have outcomes.", address)
    return SentCampaign(about, results)


def _problem_of(about: Mapping[str, Any]) -> str:
    """Return what is wrong with a manifest, or an empty text."""
    if _UUID.fullmatch(str(about["campaign_id"])) is None:
        return "'campaign_id' is not an ID"
    if not all(isinstance(about.get(name), (str, NoneType)) for name in ("dag_id", "run_id", "task_id", "account")):
        return "'dag_id', 'run_id', 'task_id' or 'account' is not text"
    if not all(isinstance(about.get(name), (int, NoneType)) for name in ("map_index", "generation")):
        return "'map_index' or 'generation' is not a number"
    traces = about.get("traces")
    # A manifest must not name any other request.
    if not isinstance(traces, dict) or traces.get("status_operation") not in _STATUS_OPERATIONS:
        return "'traces' does not show how to look up a send"
    return "" if {"by_metadata", "by_sender"} <= traces.keys() else "'traces' does not show how to find a send"


def _unreadable(address: str, error: object) -> WtsInvalidRequestError:
    return WtsInvalidRequestError(
        f"campaign: {quoted(address)} cannot be read: {reason_of(error)}. A campaign writes it before its first "
        f"request. {_EXAMPLE}"
    )
