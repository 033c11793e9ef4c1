"""Runs DAG files in a process of its own: one request per line on standard input, one answer per line on a pipe.

Airflow takes seconds to import, so one process serves many runs. It is started by :mod:`conftest`, with the number of
the pipe's descriptor as its argument; standard output and standard error are the runs' logs.
"""

from __future__ import annotations

import functools
import json
import operator
import os
import shutil
import sys
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DAGS = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])


def main() -> None:
    """Answer requests until standard input ends."""
    _keep_api_server()
    with os.fdopen(int(sys.argv[1]), "w") as answers:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = {"result": COMMANDS[request.pop("command")](**request)}
            except BaseException:
                answer = {"error": traceback.format_exc()}
            answers.write(json.dumps(answer, default=repr) + "\n")
            answers.flush()


def run_dag(
    path: str,
    dag_id: str | None,
    conf: dict[str, Any] | None,
    connections: dict[str, str],
    connections_file: str | None,
    earliest_firing: float,
    environment: dict[str, str],
) -> dict[str, Any]:
    """Run a DAG once with ``dag.test()``."""
    from airflow_provider_wts.waiting import deferral

    given = {f"AIRFLOW_CONN_{name.upper()}": value for name, value in connections.items()}
    with _environment({**environment, **given}):
        file = _only_file(path)
        dags = _load(file)
        if dag_id is None and len(dags) != 1:
            raise ValueError(f"{path} holds the DAGs {sorted(dags)}; say which.")
        dag = dags[dag_id or next(iter(dags))]
        normally, deferral.EARLIEST_FIRING = deferral.EARLIEST_FIRING, earliest_firing
        try:
            run = dag.test(run_conf=conf, conn_file_path=connections_file)
        finally:
            deferral.EARLIEST_FIRING = normally
            _forget_secrets_backends()
        return _collect(dag, run)


def import_dags(path: str) -> dict[str, Any]:
    """Import a DAG file with no connection defined; return task ids by DAG, or raise with the import error."""
    return {dag_id: sorted(dag.task_ids) for dag_id, dag in _load(_only_file(path)).items()}


def serialized(path: str) -> dict[str, Any]:
    """Import a DAG file and return its DAG as Airflow stores it."""
    from airflow.serialization import serialized_objects

    (dag,) = _load(_only_file(path)).values()
    return getattr(serialized_objects, "DagSerialization", serialized_objects.SerializedDAG).to_dict(dag)


def _keep_api_server() -> None:
    """Make one API server for all tasks, as Airflow 3.3 does; 3.1 builds one for each, which takes seconds."""
    try:
        from airflow.sdk.execution_time import supervisor
    except ImportError:
        return
    if not hasattr(supervisor.in_process_api_server, "cache_info"):
        supervisor.in_process_api_server = functools.cache(supervisor.in_process_api_server)


def _forget_secrets_backends() -> None:
    # Airflow 3.3 keeps a backend for as long as the process lives.
    configuration = sys.modules.get("airflow.sdk.configuration")
    if hasattr(configuration, "clear_secrets_backends_cache"):
        configuration.clear_secrets_backends_cache()


@contextmanager
def _environment(values: dict[str, str]) -> Any:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _only_file(path: str) -> Path:
    # dag.test() of Airflow 3 walks the whole folder.
    for old in DAGS.iterdir():
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    return Path(shutil.copy(path, DAGS))


def _load(file: Path) -> dict[str, Any]:
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:
        from airflow.models.dagbag import DagBag

        bag = DagBag(file, include_examples=False, safe_mode=False)
    else:
        bag = DagBag(file, safe_mode=False)
    if bag.import_errors:
        raise ImportError("\n".join(bag.import_errors.values()))
    if not bag.dags:
        raise ImportError(f"{file.name} holds no DAG.")
    _write_to_database(bag)
    return bag.dags


def _write_to_database(bag: Any) -> None:
    """Do what the DAG processor does. Airflow 3.1 would take an older version of the file from the database."""
    try:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
    except ImportError:
        bag.sync_to_db()
        return
    try:
        from airflow.dag_processing.dagbag import sync_bag_to_db
    except ImportError:
        from airflow.models.dagbag import sync_bag_to_db

    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(bag, "dags-folder", None)


def _collect(dag: Any, run: Any) -> dict[str, Any]:
    from airflow.utils.session import create_session

    with create_session() as session:
        run = session.merge(run)
        tasks = [_task(dag, instance, session) for instance in run.get_task_instances(session=session)]
        return {"dag_id": dag.dag_id, "run_id": run.run_id, "state": str(run.state), "tasks": tasks}


def _task(dag: Any, instance: Any, session: Any) -> dict[str, Any]:
    from airflow.models.renderedtifields import RenderedTaskInstanceFields

    xcoms = _xcoms(instance, session)
    return {
        "task_id": instance.task_id,
        "map_index": instance.map_index,
        "state": str(instance.state),
        "try_number": instance.try_number,
        "xcoms": xcoms,
        "links": _links(dag, instance, xcoms),
        "rendered": RenderedTaskInstanceFields.get_templated_fields(instance, session=session) or {},
    }


def _xcoms(instance: Any, session: Any) -> dict[str, Any]:
    try:
        from airflow.models.xcom import XComModel as XCom
    except ImportError:
        from airflow.models.xcom import XCom

        # Airflow 2.11 deserializes while it loads a row.
        value_of = operator.attrgetter("value")
    else:
        value_of = XCom.deserialize_value
    rows = session.query(XCom).filter_by(
        dag_id=instance.dag_id, run_id=instance.run_id, task_id=instance.task_id, map_index=instance.map_index
    )
    return {row.key: value_of(row) for row in rows}


def _links(dag: Any, instance: Any, xcoms: dict[str, Any]) -> dict[str, str | None]:
    """Return the task's links as the web interface shows them."""
    task = dag.get_task(instance.task_id)
    links = task.operator_extra_links or ()
    if hasattr(task, "get_extra_links"):
        # Airflow 2.11 asks the links when somebody looks at the page, and knows the DAG only as it was serialized.
        from airflow.serialization.serialized_objects import SerializedDAG

        task = SerializedDAG.from_dict(SerializedDAG.to_dict(dag)).get_task(instance.task_id)
        return {link.name: task.get_extra_links(instance, link.name) for link in links}
    return {link.name: xcoms.get(link.xcom_key) for link in links}


COMMANDS = {"run_dag": run_dag, "import_dags": import_dags, "serialized": serialized}

if __name__ == "__main__":
    main()
