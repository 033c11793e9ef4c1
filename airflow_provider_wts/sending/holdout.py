"""A holdout: people who get no message, so that the effect of a campaign can be measured against them."""

from __future__ import annotations

import hashlib
from typing import Any

from airflow_provider_wts.api import parameters
from airflow_provider_wts.api.addresses import identity_of
from airflow_provider_wts.api.errors import WtsInvalidRequestError, quoted
from airflow_provider_wts.sending.rules import Refusal, Rule


class Holdout(Rule):
    """Holds out a share of all people: always the same people for the same key.

    :param share: more than 0 and less than 1.
    :param key: a different key gives an independent group.
    """

    def __init__(self, share: float, key: str) -> None:
        self._share = share
        self._key = key
        self._refusal = Refusal("holdout", f"in the holdout of {share:.4g} under the key {quoted(key)}", "holdout")

    def refusal(self, to: str) -> Refusal | None:
        """Refuse recipients in the holdout."""
        digest = hashlib.sha256(f"{self._key}\0{identity_of(to)}".encode()).digest()
        return self._refusal if int.from_bytes(digest[:8]) < self._share * 2**64 else None


def share_of(value: Any) -> float | None:
    """Return the share of people who get no message, or ``None`` if nobody is held out.

    :raises WtsInvalidRequestError: when it is not one: ``10`` could mean 10% or everybody.
    """
    if parameters.missing(value):
        return None
    share = parameters.fraction(value)
    if not 0 <= share < 1:
        raise WtsInvalidRequestError(
            f"holdout: {quoted(value)} must be at least 0 and less than 1. Nothing was sent. Examples: 0.1 and '10%'."
        )
    return share or None
