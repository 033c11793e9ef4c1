"""Stops a running campaign when somebody sets an Airflow Variable."""

from __future__ import annotations

import logging

from airflow_provider_wts.api.errors import quoted
from airflow_provider_wts.sending.clock import seconds
from airflow_provider_wts.sending.rules import HeldBack

log = logging.getLogger(__name__)

#: Seconds between two reads of the Variable.
_READ_INTERVAL = 10.0

#: Values, in lower case, that do not stop a campaign.
_FALSE = frozenset(("", "0", "false", "no", "off", "none", "null"))


class StopVariable:
    """The Airflow Variable that stops a campaign, if it has a name."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._read_at: float | None = None
        self._is_set = False

    def check(self) -> None:
        """Read the Variable, unless it is known to be set or was read recently.

        :raises HeldBack: if it is set.
        """
        if self._name and not self._is_set and (self._read_at is None or seconds() - self._read_at >= _READ_INTERVAL):
            self._read()
        if self._is_set:
            raise HeldBack(f"the Airflow Variable {quoted(self._name)} is set (stop_variable)")

    def _read(self) -> None:
        from airflow.providers.common.compat.sdk import Variable

        self._read_at = seconds()
        try:
            value = str(Variable.get(self._name, ""))
        except Exception as error:
            # Airflow's API server or secrets backend failed, which is no reason to stop.
            log.warning("The Airflow Variable %r cannot be read (%s).", self._name, type(error).__name__)
            return
        self._is_set = value.strip().lower() not in _FALSE
