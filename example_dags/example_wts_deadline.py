"""Tell people over WhatsApp that a run takes too long.

Airflow 3.1 and later: a deadline alert. Airflow 2.11: a service level that was missed. Airflow 3.0 has neither.

It needs a connection ``wts_default`` and a template. The notifier of a deadline runs in the triggerer, where of the
DAG's context only ``dag_run`` and ``deadline`` are there for its templates.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_wts.notifications.wts import WtsNotifier

try:
    from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference
except ImportError:
    try:
        # Airflow 3.1
        from airflow.sdk.definitions.deadline import AsyncCallback, DeadlineAlert, DeadlineReference
    except ImportError:
        DeadlineAlert = None  # type: ignore[assignment, misc]

MESSAGE = {
    "to": ["+55 11 99999-0001", "+55 11 99999-0002"],
    "template": "saudacao",
    "parameters": {"nome": "plantão: example_wts_deadline está atrasado"},
    "channel": "WhatsApp principal",
}
LIMIT = timedelta(hours=1)


def told_when_late() -> dict[str, Any]:
    """Return the DAG's arguments that tell people, in the way of this Airflow."""
    # [START deadline]
    if DeadlineAlert is not None:
        late = AsyncCallback(WtsNotifier, kwargs=MESSAGE)
        return {"deadline": DeadlineAlert(reference=DeadlineReference.DAGRUN_QUEUED_AT, interval=LIMIT, callback=late)}
    # [END deadline]
    if HAS_SLA:
        return {"sla_miss_callback": WtsNotifier(**MESSAGE), "default_args": {"sla": LIMIT}}
    return {}


try:
    # Gone in Airflow 3.
    import airflow.models.slamiss as _slamiss  # noqa: F401
except ImportError:
    HAS_SLA = False
else:
    HAS_SLA = True

with DAG(
    dag_id="example_wts_deadline",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["example", "wts"],
    doc_md=__doc__,
    **told_when_late(),
):

    @task
    def close_the_books() -> None:
        """Do what must not take too long."""

    close_the_books()
