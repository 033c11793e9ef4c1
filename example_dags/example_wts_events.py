"""A customer who writes and gets no answer starts a run.

A watcher polls the account's conversations, and each customer message becomes an event. The run waits a little. If
nobody has answered by then, it leaves a note for the team in the conversation.

Needs Airflow 3 and a connection ``wts_default``. In production, set ``patience`` to several minutes.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from airflow.providers.common.compat.sdk import DAG, AirflowOptionalProviderFeatureException, Param, task

from airflow_provider_wts.api.sessions import create_session_note, get_session
from airflow_provider_wts.hooks.wts import WtsHook

log = logging.getLogger(__name__)

try:
    from airflow.sdk import Asset, AssetWatcher

    from airflow_provider_wts.triggers.events import WtsSessionEventTrigger
except (ImportError, AirflowOptionalProviderFeatureException) as error:
    log.info("example_wts_events is not there: %s", error)
    Asset = None  # type: ignore[assignment, misc]

if Asset is not None:
    # [START watch]
    customer_messages = Asset(
        "wts_customer_messages",
        watchers=[
            AssetWatcher(
                name="wts_customer_messages",
                trigger=WtsSessionEventTrigger(events="message_received", poll_interval=60),
            )
        ],
    )
    # [END watch]

    with DAG(
        dag_id="example_wts_events",
        schedule=[customer_messages],
        catchup=False,
        # No max_active_runs: up to Airflow 3.3.2, events that arrive while a run is delayed wait for the next event.
        tags=["example", "wts"],
        doc_md=__doc__,
        params={
            "patience": Param(5, type="integer", title="Patience", description="Seconds to wait before leaving a note.")
        },
    ):
        # [START read_events]
        @task
        def waiting_customers(triggering_asset_events: Any = None) -> list[str]:
            """Return the conversations of the events; a manual run has none."""
            events = [event for events in (triggering_asset_events or {}).values() for event in events]
            messages = [message for event in events for message in event.extra["payload"]["events"]]
            return sorted({message["session_id"] for message in messages})

        # [END read_events]

        @task
        def leave_notes(session_ids: list[str], params: dict[str, Any] | None = None) -> list[str]:
            """Wait a little, then leave a note if nobody has answered."""
            time.sleep((params or {})["patience"] if session_ids else 0)
            hook = WtsHook()
            unanswered = []
            for session_id in session_ids:
                session = hook.run(get_session(session_id))
                if (session.get("lastMessageOut") or "") < (session.get("lastMessageIn") or ""):
                    hook.run(create_session_note(session_id, text="This customer is waiting for an answer."))
                    unanswered.append(session_id)
            log.info("%s of %s conversation(s) are without an answer.", len(unanswered), len(session_ids))
            return unanswered

        leave_notes(waiting_customers())
