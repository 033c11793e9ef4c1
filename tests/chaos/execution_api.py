"""Airflow's execution API with its database, and as much of the scheduler as gives up a try and queues the next one.

    python execution_api.py <port>

The routes and the tables are Airflow's own, so the id of a try that was given up is as stale as it is in earnest.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from airflow.api_fastapi.common.dagbag import dag_bag_from_app
from airflow.api_fastapi.execution_api.app import InProcessExecutionAPI
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.executors.workloads import BundleInfo, ExecuteTask
from airflow.models.dagbag import DBDagBag
from airflow.models.taskinstance import TaskInstance
from airflow.utils import timezone
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from fastapi import FastAPI
from sqlalchemy import select

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BUNDLE = "dags-folder"
api = InProcessExecutionAPI()
dags = DBDagBag()


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    api.app.dependency_overrides[dag_bag_from_app] = lambda: dags
    async with api.app.router.lifespan_context(api.app):
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/scheduler/begin")
def begin(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Create DAG runs, and queue their tasks; return the work for an executor, by run."""
    queued = {}
    with create_session() as session:
        for run in runs:
            dag = dags.get_latest_version_of_dag(run["dag_id"], session=session)
            made = dag.create_dagrun(
                run_id=run["run_id"],
                run_after=timezone.utcnow(),
                run_type=DagRunType.MANUAL,
                triggered_by=DagRunTriggeredByType.TEST,
                state=DagRunState.RUNNING,
                start_date=timezone.utcnow(),
                conf=run["conf"],
                session=session,
            )
            (task,) = made.get_task_instances(session=session)
            queued[run["run_id"]] = _queue(task, session)
    return queued


@app.post("/scheduler/give-up")
def give_up(run: dict[str, str]) -> dict[str, Any]:
    """Do what the scheduler does with a try that has lost its heartbeat, and queue the next one."""
    with create_session() as session:
        task = _task(run["run_id"], session)
        stale = task.id
        assert task.state == TaskInstanceState.RUNNING, task.state
        task.task = dags.get_latest_version_of_dag(run["dag_id"], session=session).get_task(task.task_id)
        task.handle_failure("Task did not emit heartbeat within time limit", session=session)
    return {"stale": str(stale), **retry(run)}


@app.post("/scheduler/retry")
def retry(run: dict[str, str]) -> dict[str, Any]:
    """Queue the next try of a task that waits for it; else return its state."""
    with create_session() as session:
        task = _task(run["run_id"], session)
        if task.state != TaskInstanceState.UP_FOR_RETRY:
            return {"state": str(task.state)}
        return {"state": "queued", "work": _queue(task, session)}


def _task(run_id: str, session: Any) -> TaskInstance:
    return session.scalars(select(TaskInstance).where(TaskInstance.run_id == run_id)).one()


def _queue(task: TaskInstance, session: Any) -> Any:
    task.task = dags.get_latest_version_of_dag(task.dag_id, session=session).get_task(task.task_id)
    task.dag_run.schedule_tis([task], session=session)
    session.refresh(task)
    task.state = TaskInstanceState.QUEUED
    task.queued_dttm = timezone.utcnow()
    session.flush()
    work = ExecuteTask.make(task, dag_rel_path=Path("dags_of_stale_tries.py"), bundle_info=BundleInfo(name=BUNDLE))
    return json.loads(work.model_dump_json())


class OneAtATime:
    """SQLite takes one writer.

    :param inner: the application.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._lock = asyncio.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        # Whole, before the others wait for it: who sends it may be stopped in the middle.
        received = [await receive()]
        while received[-1].get("more_body"):
            received.append(await receive())

        async def read() -> Any:
            return received.pop(0) if received else await receive()

        async with self._lock:
            await self._inner(scope, read, send)


def main() -> None:
    bag = DagBag(Path(sys.argv[2]), safe_mode=False)
    assert not bag.import_errors, bag.import_errors
    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(bag, BUNDLE, None)
    app.mount("/execution", api.app)
    uvicorn.run(OneAtATime(app), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
