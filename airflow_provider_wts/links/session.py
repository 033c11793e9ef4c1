"""The link that opens a session in WTS Chat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

#: XCom key under which a task leaves the address of its session.
SESSION_URL_KEY = "session_url"


class WtsSessionLink(BaseOperatorLink):
    """Opens the task's session in WTS Chat, at the address that the API gave (``previewUrl``)."""

    name = "WTS Chat session"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address that the task stored, or an empty text if the API gave none.

        :param operator: the task.
        :param ti_key: the run of the task.
        """
        return XCom.get_value(key=SESSION_URL_KEY, ti_key=ti_key) or ""
