"""Campaigns that were sent, as their manifests and results describe them: read line by line, however many there are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.api.wire import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: What the manifest says of where each row comes from.
ORIGIN = ("campaign_id", "dag_id", "run_id", "task_id", "map_index", "generation")

#: The columns of the results of a send in a table, and what each holds. The rows are identified as those of outcomes.
RESULT_COLUMNS = {
    "campaign_id": "id",
    "row_key": "key",
    **dict.fromkeys(("dag_id", "run_id", "task_id"), "text"),
    **dict.fromkeys(("map_index", "generation", "line"), "count"),
    **dict.fromkeys(("recipient", "status", "reason", "send_key", "api_id", "api_status", "session_id"), "text"),
    "sent_at": "time",
}

RESULT_KEY = ("campaign_id", "row_key")

#: Results of a send that may have reached its recipient.
MAY_HAVE_REACHED = ("sent", "undecided")

_EXAMPLE = "Example: campaign=send.output, or the address of a manifest, 's3://bucket/results.jsonl.manifest.json'."


class SentCampaign(NamedTuple):
    """A campaign that was sent.

    :param about: its manifest.
    :param address: where its results are.
    """

    about: dict[str, Any]
    address: str

    @property
    def campaign_id(self) -> str:
        """Its id."""
        return str(self.about["campaign_id"])

    def lines(self) -> Iterator[dict[str, Any]]:
        """Read the lines of its results, one at a time.

        :raises WtsInvalidRequestError: when they cannot be read.
        """
        from airflow.providers.common.compat.sdk import ObjectStoragePath

        try:
            with ObjectStoragePath(self.address).open("rb") as file:  # type: ignore[no-untyped-call]
                # Files of Airflow 2.11 are no iterators.
                for line in iter(file.readline, b""):
                    if line.strip():
                        yield json.loads(line)
        except (OSError, ValueError, ImportError) as error:
            raise _unreadable(self.address, error) from None

    def origin(self) -> dict[str, Any]:
        """Return the columns that say where its rows come from."""
        return {name: self.about.get(name) for name in ORIGIN}


def result_rows(campaign: SentCampaign) -> Iterator[dict[str, Any]]:
    """Return the results of a send as rows of a table.

    :param campaign: the campaign.
    """
    for line in campaign.lines():
        yield {
            **campaign.origin(),
            "row_key": row_key(line),
            "recipient": line.get("to"),
            "api_id": line.get("id"),
            **{name: line.get(name) for name in ("line", "status", "reason", "send_key", "api_status", "session_id")},
            "sent_at": parse_timestamp(line["sent_at"]) if line.get("sent_at") else None,
        }


def row_key(line: Mapping[str, Any]) -> str:
    """Return what identifies a line within its campaign.

    :param line: the line of the results.
    """
    return str(line.get("row_key") or line.get("to") or f"line:{line['line']}")


def sent_campaigns(given: Any) -> list[SentCampaign]:
    """Return the campaigns that a parameter names.

    :param given: what a batch operator returned, the address of a manifest, or a list of either.
    :raises WtsInvalidRequestError: when it names none, or one of them cannot be read.
    """
    found: dict[str, SentCampaign] = {}
    for one in given if isinstance(given, (list, tuple)) else [given]:
        campaign = _read(_manifest_address(one))
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
                f"clear it. {_EXAMPLE}"
            )
        return str(address)
    if not isinstance(one, str) or not one.strip() or one.strip() == "None":
        raise WtsInvalidRequestError(f"campaign: {one!r} is not a campaign. {_EXAMPLE}")
    return one.strip()


def _read(address: str) -> SentCampaign:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    try:
        about = json.loads(ObjectStoragePath(address).read_text())
    except (OSError, ValueError, ImportError) as error:
        raise _unreadable(address, error) from None
    if not isinstance(about, dict) or not about.get("campaign_id"):
        raise WtsInvalidRequestError(
            f"campaign: {address!r} is not the manifest of a campaign, or one of a version before 0.2.0. {_EXAMPLE}"
        )
    return SentCampaign(about, address.removesuffix(".manifest.json"))


def _unreadable(address: str, error: Exception) -> WtsInvalidRequestError:
    return WtsInvalidRequestError(
        f"campaign: {address!r} cannot be read: {error}. Results are complete when the task of the campaign has "
        f"ended. {_EXAMPLE}"
    )
