"""Triggers that an earlier release stored in Airflow's database go on waiting."""

from __future__ import annotations

import asyncio
import json
from importlib import import_module
from typing import Any

import pytest

from airflow_provider_wts.waiting import poller

SESSION = "0d0ef1a5-6f57-4f0c-8d7a-0a4a7a3bb5c2"

_TIMES = {
    "poll_interval": 60.0,
    "earliest": "2026-01-05T12:00:20+00:00",
    "deadline": "2026-01-05T12:05:00+00:00",
}
_STATUSES = {"target_status": ["COMPLETED"], "failed_status": []}

#: The class path and the arguments as 0.1.0 wrote them, and what the event is about.
STORED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "airflow_provider_wts.triggers.session.WtsSessionTrigger": (
        {"wts_conn_id": "wts_default", "session_id": SESSION, **_STATUSES, **_TIMES},
        {"session_id": SESSION, "status": None},
    ),
    "airflow_provider_wts.triggers.session.WtsSessionsTrigger": (
        {
            **{"wts_conn_id": "wts_default", "session_ids": [SESSION], "needed": 1, **_STATUSES, **_TIMES},
            "changed_since": "2026-01-05T11:00:00+00:00",
        },
        {"counts": {"NOT_REACHED": 1}},
    ),
    "airflow_provider_wts.triggers.message.WtsSessionReplyTrigger": (
        {"wts_conn_id": "wts_default", "session_id": SESSION, "since": "2026-01-05T11:59:00+00:00", **_TIMES},
        {"session_id": SESSION, "since": "2026-01-05T11:59:00+00:00"},
    ),
    "airflow_provider_wts.triggers.message.WtsMessageStatusTrigger": (
        {"wts_conn_id": "wts_default", "message_id": SESSION, "id_of": None, "target_status": "READ", **_TIMES},
        {"message_id": SESSION, "status": None},
    ),
}


def resumed(path: str, arguments: dict[str, Any]) -> Any:
    """Make a trigger as Airflow does from a row of its database."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)(**json.loads(json.dumps(arguments)))


@pytest.mark.parametrize("path", STORED)
def test_a_trigger_of_0_1_0_keeps_its_class_and_its_arguments(path):
    arguments, _ = STORED[path]
    stored_again = resumed(path, arguments).serialize()
    assert stored_again[0] == path
    assert arguments.items() <= stored_again[1].items()


@pytest.mark.parametrize("path", STORED)
def test_a_triggerer_that_still_runs_0_1_0_gets_only_arguments_that_it_knows(path):
    arguments, _ = STORED[path]
    assert resumed(path, arguments).serialize()[1].keys() == arguments.keys()


@pytest.mark.parametrize("path", STORED)
def test_a_trigger_of_0_1_0_waits_and_sends_an_event_that_the_task_understands(path, monkeypatch):
    async def asked_nothing(self):
        return 0.0

    monkeypatch.setattr(poller.Poller, "_poll_once", asked_nothing)
    arguments, about = STORED[path]

    async def events_of(trigger):
        return [event.payload async for event in trigger.run()]

    events = asyncio.run(events_of(resumed(path, arguments)))
    assert [event["outcome"] for event in events] == ["timeout"]
    assert about.items() <= events[0].items()
    assert {"message", "final"} <= events[0].keys()


@pytest.mark.skipif(not hasattr(import_module("airflow.triggers.base"), "BaseEventTrigger"), reason="Airflow 3 only")
def test_the_watcher_of_0_1_0_keeps_its_class_and_its_arguments():
    path = "airflow_provider_wts.triggers.events.WtsSessionEventTrigger"
    arguments = {"events": ["message_received"], "wts_conn_id": "wts_default", "poll_interval": 60}
    assert resumed(path, arguments).serialize() == (path, arguments)
