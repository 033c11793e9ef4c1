"""Operators that read sessions, which are conversations with a contact on a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from airflow_provider_wts.hooks.failures import readable_failures
from airflow_provider_wts.links.session import SESSION_URL_KEY, WtsSessionLink
from airflow_provider_wts.operators import parameters
from airflow_provider_wts.operators.base import WtsOperator
from airflow_provider_wts.operators.listing import WtsListOperator

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow.sdk import Context

    from airflow_provider_wts.api import sessions
    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.types import Session, SessionV2, SessionV2Page

SessionT = TypeVar("SessionT", "Session", "SessionV2")

_DETAILS = (
    "AgentDetails",
    "DepartmentsDetails",
    "ContactDetails",
    "ChannelTypeDetails",
    "ClassificationDetails",
    "ChannelDetails",
)
_EXAMPLE = "{{ ti.xcom_pull(task_ids='send')['id'] }}"


class WtsSessionOperator(WtsOperator):
    """Base of the operators that read or change one session.

    :param session_id: id of the session (templated).
    """

    template_fields: Sequence[str] = (*WtsOperator.template_fields, "session_id")
    operator_extra_links: Sequence[WtsSessionLink] = (WtsSessionLink(),)

    def __init__(self, *, session_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.session_id = session_id

    def checked_session(self) -> str:
        """Return the id of the session.

        :raises WtsInvalidRequestError: when it is missing or no UUID.
        """
        return parameters.needed_identity("session_id", self.session_id, example=_EXAMPLE)

    def settle(self, context: Context, call: Call[SessionT]) -> SessionT:
        """Perform a call that answers the session, and leave its address for the link.

        :param context: the task's context.
        :param call: the call.
        """
        session = self.run_call(call)
        context["ti"].xcom_push(key=SESSION_URL_KEY, value=session.get("previewUrl"))
        self.log.info("Session %s is %s.", session.get("id"), session.get("status"))
        return session


class WtsGetSessionOperator(WtsSessionOperator):
    """Read a session.

    Calls ``get_session``.

    :param session_id: id of the session (templated).
    :param include_details: details to add: ``AgentDetails``, ``DepartmentsDetails``, ``ContactDetails``,
        ``ChannelTypeDetails``, ``ClassificationDetails``, ``ChannelDetails``; one, a list, or a list as JSON text
        (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the session.
    :raises AirflowFailException: when the input is impossible, or the API refuses.
    """

    template_fields: Sequence[str] = (*WtsSessionOperator.template_fields, "include_details")
    template_fields_renderers: ClassVar[dict[str, str]] = {"include_details": "json"}

    def __init__(self, *, include_details: Sequence[str] | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.include_details = include_details

    def execute(self, context: Context) -> SessionV2:
        """Read the session.

        :param context: the task's context.
        """
        from airflow_provider_wts.api import sessions

        with readable_failures():
            details = parameters.details(self.include_details, _DETAILS)
            call = sessions.get_session(self.checked_session(), include_details=details)
        return self.settle(context, call)


class WtsListSessionsOperator(WtsListOperator):
    """List sessions: all pages, inline or as a file.

    Calls ``list_sessions``. Filters add up. Its filter by metadata is not offered: how that goes on the wire is not
    documented, and the API ignores what it does not know and lists everything. What the shared parameters of a list
    do, from ``created_after`` to ``output_path``, is told at
    :class:`~airflow_provider_wts.operators.listing.WtsListOperator`.

    :param status: ``STARTED``, ``PENDING``, ``IN_PROGRESS``, ``COMPLETED``, ``HIDDEN``, ``UNDEFINED``; one or a list
        (templated).
    :param department: name or id of a department (templated).
    :param user: name or id of a user (templated).
    :param contact_id: id of a contact (templated).
    :param tags: names or ids of tags of the contact; one or a list (templated).
    :param channel_ids: ids of channels; one or a list (templated).
    :param ended_after: lower bound on the end: an aware datetime, or ISO 8601 text with an offset (templated).
    :param ended_before: upper bound on the end (templated).
    :param active_after: lower bound on the time in which the session was active (templated).
    :param active_before: upper bound on it (templated).
    :param last_interaction_after: lower bound on the last interaction (templated).
    :param last_interaction_before: upper bound on it (templated).
    :param session_type: ``INDIVIDUAL`` or ``GROUP`` (templated).
    :param include_details: details to add to each session: ``AgentDetails``, ``DepartmentsDetails``,
        ``ContactDetails``, ``ChannelTypeDetails``, ``ClassificationDetails``, ``ChannelDetails`` (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the sessions, or the manifest of the file.
    :raises AirflowFailException: when the input is impossible, the API refuses, or the list is too large for XCom.
    """

    template_fields: Sequence[str] = (
        *WtsListOperator.template_fields,
        "status",
        "department",
        "user",
        "contact_id",
        "tags",
        "channel_ids",
        "ended_after",
        "ended_before",
        "active_after",
        "active_before",
        "last_interaction_after",
        "last_interaction_before",
        "session_type",
        "include_details",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "status": "json",
        "tags": "json",
        "channel_ids": "json",
        "include_details": "json",
    }

    def __init__(
        self,
        *,
        status: Sequence[str] | str | None = None,
        department: str | None = None,
        user: str | None = None,
        contact_id: str | None = None,
        tags: Sequence[str] | str | None = None,
        channel_ids: Sequence[str] | str | None = None,
        ended_after: datetime | str | None = None,
        ended_before: datetime | str | None = None,
        active_after: datetime | str | None = None,
        active_before: datetime | str | None = None,
        last_interaction_after: datetime | str | None = None,
        last_interaction_before: datetime | str | None = None,
        session_type: str | None = None,
        include_details: Sequence[str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.status = status
        self.department = department
        self.user = user
        self.contact_id = contact_id
        self.tags = tags
        self.channel_ids = channel_ids
        self.ended_after = ended_after
        self.ended_before = ended_before
        self.active_after = active_after
        self.active_before = active_before
        self.last_interaction_after = last_interaction_after
        self.last_interaction_before = last_interaction_before
        self.session_type = session_type
        self.include_details = include_details

    def list_call(self) -> Call[SessionV2Page]:
        """Return the call with the filters."""
        from airflow_provider_wts.api import sessions
        from airflow_provider_wts.waiting.session import SESSION_STATUSES

        filters: sessions.SessionFilters = {
            "status": parameters.filter_list("status", self.status, SESSION_STATUSES),
            "contact_id": parameters.filter_identity("contact_id", self.contact_id),
            "channel_ids": parameters.filter_identities("channel_ids", self.channel_ids),
            "ended_after": parameters.filter_moment("ended_after", self.ended_after),
            "ended_before": parameters.filter_moment("ended_before", self.ended_before),
            "active_after": parameters.filter_moment("active_after", self.active_after),
            "active_before": parameters.filter_moment("active_before", self.active_before),
            "last_interaction_after": parameters.filter_moment("last_interaction_after", self.last_interaction_after),
            "last_interaction_before": parameters.filter_moment(
                "last_interaction_before", self.last_interaction_before
            ),
            "session_type": parameters.filter_choice("session_type", self.session_type, ("INDIVIDUAL", "GROUP")),
            "include_details": parameters.details(self.include_details, _DETAILS),
        }
        department, user = (
            parameters.filter_text("department", self.department),
            parameters.filter_text("user", self.user),
        )
        tags = parameters.filter_list("tags", self.tags)
        # Looked up last, because it may cost a call, and a mistake above should cost none.
        names = self.hook.names
        if isinstance(department, str):
            filters["department_id"] = names.department(department)
        if isinstance(user, str):
            filters["user_id"] = names.user(user)
        if isinstance(tags, list):
            filters["tag_ids"] = [names.tag(tag) for tag in tags]
        return sessions.list_sessions(**filters)
