"""Alert people over WhatsApp when a run takes too long.

This uses a deadline alert on Airflow 3.1 and later, and a missed SLA on Airflow 2.11. Airflow 3.0 has neither.

Needs a connection ``wts_default`` and a WhatsApp template. The notifier of a deadline alert runs in the triggerer, and
its Jinja templates see only ``dag_run`` and ``deadline``.
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
    """Return the DAG arguments for the alert, depending on the Airflow version."""
    # [START deadline]
    if DeadlineAlert is not None:
        late = AsyncCallback(WtsNotifier, kwargs=MESSAGE)
        return {"deadline": DeadlineAlert(reference=DeadlineReference.DAGRUN_QUEUED_AT, interval=LIMIT, callback=late)}
    # [END deadline]
    if HAS_SLA:
        return {"sla_miss_callback": WtsNotifier(**MESSAGE), "default_args": {"sla": LIMIT}}
    return {}


try:
    # Removed in Airflow 3.
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
        """Do work that has a deadline."""

    close_the_books()
