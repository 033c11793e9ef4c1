"""Follows campaigns, each pass in a process of its own that may be killed; a line on stdin starts one."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from airflow.providers.common.sql.hooks.sql import DbApiHook
from databases import Server
from forked_tries import serve

from airflow_provider_wts.api import budget
from airflow_provider_wts.api.client import WtsClient
from airflow_provider_wts.campaigns.outcomes import Outcomes
from airflow_provider_wts.hooks.tables import Table
from airflow_provider_wts.operators.campaign_outcome import WtsCampaignOutcomeOperator
from airflow_provider_wts.waiting import session_changes

#: Where a pass is killed, beside "sometime": before or after the so manieth of these calls.
POINTS = {
    "request": (WtsClient, "perform"),
    "keep": (Outcomes, "keep"),
    "table": (Table, "replace_changed"),
    "seal": (Table, "_seal"),
    "rows": (Table, "_insert"),
}


def follow(settings: dict[str, Any]) -> dict[str, Any]:
    """Make one pass, and return what came of it."""
    os.environ["AIRFLOW_CONN_WTS_DEFAULT"] = json.dumps(settings["connection"])
    os.environ["AIRFLOW_CONN_WTS_DB"] = json.dumps({"conn_type": "generic"})
    # The service here has no limits, and days pass in seconds.
    budget.ACCOUNT_LIMITS = (budget.Limit(10**6, 300, "wts-account"),)
    ahead = timedelta(seconds=settings["ahead"])
    now = classmethod(lambda cls, tz=None: datetime.now(tz) + ahead)
    session_changes.datetime = type("ClockOfTheService", (datetime,), {"now": now})
    made = Server(*settings["server"]).hook()
    DbApiHook.get_hook = classmethod(lambda cls, conn_id, hook_params=None: made(conn_id))
    if settings["death"]:
        _die_at(**settings["death"])
    task_instance = SimpleNamespace(dag_id="outcome", run_id="one", task_id="outcome", map_index=-1, try_number=1)
    operator = WtsCampaignOutcomeOperator(task_id="outcome", **settings["parameters"])
    try:
        return {"result": operator.execute({"ti": task_instance})}  # type: ignore[typeddict-item]
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _die_at(point: str, seconds: float, nth: int, after: bool) -> None:
    if point == "sometime":

        def strike() -> None:
            time.sleep(seconds)
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=strike, daemon=True).start()
        return
    owner, name = POINTS[point]
    original = getattr(owner, name)
    left = nth

    def mortal(self: Any, *args: Any, **more: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = original(self, *args, **more)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(owner, name, mortal)


if __name__ == "__main__":
    serve(follow)
