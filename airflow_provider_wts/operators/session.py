"""Operators for sessions: get, list, complete, transfer, assign, update, notes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wts import api
from airflow_provider_wts.api import parameters
from airflow_provider_wts.api.errors import WtsInvalidRequestError, quoted
from airflow_provider_wts.api.wire import UNSET, Missing, Unset
from airflow_provider_wts.hooks.errors import task_failures
from airflow_provider_wts.hooks.nested import within_task
from airflow_provider_wts.links.session import SESSION_URL_KEY, WtsSessionLink
from airflow_provider_wts.operators.base import WtsOperator
from airflow_provider_wts.operators.export import WtsExportConversationsOperator
from airflow_provider_wts.operators.listing import WtsListOperator
from airflow_provider_wts.operators.sending import WtsOnceOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from airflow.sdk import Context

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.types import Message, Session, SessionV2, SessionV2Page


class WtsSessionOperator(WtsOperator):
    """Base of the operators that read or change one session.

    :param session_id: ID of the session (templated).
    """

    operator_extra_links: Sequence[WtsSessionLink] = (WtsSessionLink(),)

    def __init__(self, *, session_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.session_id = session_id

    def checked_session(self) -> str:
        """Return the ID of the session."""
        return parameters.needed_identity("session_id", self.session_id, example=_EXAMPLE)

    def execute(self, context: Context) -> Any:
        """Perform the call, which returns the session, and store the session's address for the link."""
        session = within_task(super().execute)(context)
        context["ti"].xcom_push(key=SESSION_URL_KEY, value=session.get("previewUrl"))
        self.log.info("Session %s is %s.", session.get("id"), session.get("status"))
        return session


class SessionChanger(WtsSessionOperator):
    """Base of the operators that change one session.

    :param stop_bot_in_execution: also stop the bot that runs in the session; by default, the bot continues (templated).
    """

    def __init__(self, *, stop_bot_in_execution: Missing[bool | str] = UNSET, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stop_bot_in_execution = stop_bot_in_execution

    def stops_bot(self) -> bool | Unset:
        """Return whether the bot stops."""
        return parameters.switch("stop_bot_in_execution", self.stop_bot_in_execution)


class WtsChangeSessionStatusOperator(SessionChanger):
    """Set the status of a session.

    Calls ``change_session_status``. The API does not document which changes it refuses.

    :param new_status: ``UNDEFINED``, ``STARTED``, ``PENDING``, ``IN_PROGRESS``, ``COMPLETED`` or ``HIDDEN``
        (templated).
    :return: the session.
    """

    def __init__(self, *, new_status: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.new_status = new_status

    def build_call(self) -> Call[Session]:
        session = self.checked_session()
        status = parameters.needed_choice("new_status", self.new_status, api.sessions.SESSION_STATUSES)
        return api.sessions.change_session_status(session, status, stop_bot_in_execution=self.stops_bot())


class WtsCompleteSessionOperator(SessionChanger):
    """Complete a session.

    Calls ``complete_session``.

    :param reactivate_on_new_message: reopen the session when the contact writes. By default, a new message of the
        contact does not reopen it (templated).
    :return: the session.
    """

    def __init__(self, *, reactivate_on_new_message: Missing[bool | str] = UNSET, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reactivate_on_new_message = reactivate_on_new_message

    def build_call(self) -> Call[Session]:
        session = self.checked_session()
        reactivate = parameters.switch("reactivate_on_new_message", self.reactivate_on_new_message)
        return api.sessions.complete_session(
            session, reactivate_on_new_message=reactivate, stop_bot_in_execution=self.stops_bot()
        )


class WtsTransferSessionOperator(SessionChanger):
    """Transfer a session to a department, to a user, or to a user within a department.

    Calls ``transfer_session``. The API does not document how this affects the session's status.

    :param department: name or ID of the new department (templated).
    :param user: name or ID of the new user; with ``department``, a user within it (templated).
    :return: the session.
    """

    def __init__(self, *, department: Missing[str] = UNSET, user: Missing[str] = UNSET, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.department = department
        self.user = user

    def build_call(self) -> Call[Session]:
        department = parameters.filter_text("department", self.department)
        user = parameters.filter_text("user", self.user)
        if department is UNSET and user is UNSET:
            raise WtsInvalidRequestError(
                "department, user: both are empty. The session was not transferred. Give one of them, or a user within "
                "a department. Example: department='Vendas'."
            )
        session = self.checked_session()
        stop_bot = self.stops_bot()
        # Last, so that an invalid value above takes no request.
        names = self.hook.names
        return api.sessions.transfer_session(
            session,
            "DEPARTMENT" if user is UNSET else "USER",
            new_department_id=parameters.looked_up(department, names.department),
            new_user_id=parameters.looked_up(user, names.user),
            stop_bot_in_execution=stop_bot,
        )


class WtsAssignSessionOperator(SessionChanger):
    """Assign a session to a user.

    Calls ``assign_session_user``. The API does not document how this affects the session's status.

    :param user: name or ID of the user (templated).
    :return: the session.
    """

    def __init__(self, *, user: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.user = user

    def build_call(self) -> Call[Session]:
        name = parameters.needed_name("user", self.user)
        session, stop_bot = self.checked_session(), self.stops_bot()
        return api.sessions.assign_session_user(session, self.hook.names.user(name), stop_bot_in_execution=stop_bot)


class WtsUpdateSessionOperator(SessionChanger):
    """Change a session.

    Calls ``update_session``. Only what you give is changed: ``fields`` of the request names it. ``None`` clears a value
    if the API can clear it.

    :param status: ``UNDEFINED``, ``STARTED``, ``PENDING``, ``IN_PROGRESS``, ``COMPLETED`` or ``HIDDEN`` (templated).
    :param end_at: when the session ended: an aware datetime, or ISO 8601 text with an offset (templated).
    :param number: number of the session (templated).
    :param department: name or ID of its department (templated).
    :param user: name or ID of its user (templated).
    :param classification: object with ``category`` (``UNDEFINED``, ``WON``, ``LOST``, ``INFO``, ``OTHER``),
        ``description`` and ``amount``, or its JSON text (templated, deep).
    :param metadata: object stored with the session, or its JSON text. The API does not document whether it merges or
        replaces metadata (templated, deep).
    :param fields: further names for the API's ``fields``. ``Autocomplete`` and ``ReactivateDisabled`` have no value,
        and the API does not document what they do; all other names follow from the parameters. One, a list, or the JSON
        text of a list (templated).
    :param stop_bot_in_execution: also stop the bot that runs in the session; this may be the only change (templated).
    :return: the session.
    """

    def __init__(
        self,
        *,
        status: Missing[str] = UNSET,
        end_at: Missing[datetime | str] = UNSET,
        number: Missing[str] = UNSET,
        department: Missing[str] = UNSET,
        user: Missing[str] = UNSET,
        classification: Mapping[str, Any] | str | Unset = UNSET,
        metadata: Missing[Mapping[str, Any] | Sequence[Mapping[str, Any]] | str] = UNSET,
        fields: Sequence[str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.status = status
        self.end_at = end_at
        self.number = number
        self.department = department
        self.user = user
        self.classification = classification
        self.metadata = metadata
        self.fields = fields

    def build_call(self) -> Call[Session]:
        session = self.checked_session()
        changes: dict[str, Any] = {
            "status": parameters.choice("status", self.status, api.sessions.SESSION_STATUSES),
            "end_at": parameters.timestamp("end_at", self.end_at),
            "number": parameters.text("number", self.number),
            "department_id": parameters.named("department", self.department),
            "user_id": parameters.named("user", self.user),
            "classification": parameters.classification("classification", self.classification),
            "metadata": parameters.metadata("metadata", self.metadata),
        }
        stop_bot, fields = self.stops_bot(), self._fields_without_value(changes)
        if all(change is UNSET for change in changes.values()) and not fields and stop_bot is not True:
            raise WtsInvalidRequestError("There is nothing to change. Give at least one of the session's fields.")
        names = self.hook.names
        changes["department_id"] = parameters.looked_up(changes["department_id"], names.department)
        changes["user_id"] = parameters.looked_up(changes["user_id"], names.user)
        return api.sessions.update_session(session, fields=fields, stop_bot_in_execution=stop_bot, **changes)

    def _fields_without_value(self, changes: Mapping[str, Any]) -> list[str]:
        known = {name.replace("_", ""): name for name in changes}
        known |= {name.casefold(): name for name in api.sessions.FIELDS_WITHOUT_VALUE}
        found = []
        for text in parameters.texts("fields", self.fields) or ():
            name = str(parameters.choice("fields", text.replace("_", ""), known))
            if name not in changes:
                found.append(name)
            elif changes[name] is UNSET:
                raise WtsInvalidRequestError(
                    f"fields: {quoted(text)} has no value. Nothing was changed. Set its parameter; None clears it."
                )
        return list(dict.fromkeys(found))


class WtsCreateSessionNoteOperator(WtsSessionOperator, WtsOnceOperator):
    """Add an internal note to a session. The contact does not see it.

    Calls ``create_session_note``. A note carries no marker, so only a ledger keeps a task that runs again from adding
    the note again. Without one, the task fails and names what to check.

    :param text: the note; required without files (templated).
    :param file_urls: public addresses of files; one, a list, or the JSON text of a list (templated).
    :param file_ids: IDs of files uploaded to WTS Chat; one, a list, or the JSON text of a list (templated).
    :return: the note, which is a message of the session.
    """

    prose: ClassVar[frozenset[str]] = frozenset({"text"})
    # The response is the note, which does not contain the session's address.
    operator_extra_links: Sequence[WtsSessionLink] = ()

    def __init__(
        self,
        *,
        text: Missing[str] = UNSET,
        file_urls: Missing[Sequence[str] | str] = UNSET,
        file_ids: Missing[Sequence[str] | str] = UNSET,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.text = text
        self.file_urls = file_urls
        self.file_ids = file_ids

    def execute(self, context: Context) -> Message:
        self.open_ledger(context)
        with task_failures():
            session = self.checked_session()
            text = parameters.text("text", self.text)
            urls = parameters.urls("file_urls", self.file_urls)
            ids = parameters.identities("file_ids", self.file_ids)
            if parameters.missing(text) and not urls and not ids:
                raise WtsInvalidRequestError(
                    "text: is empty, and there is no file. Nothing was sent. Give one of them."
                )
            call = api.sessions.create_session_note(session, text=text, file_urls=urls, file_ids=ids)
        note = self.run_once(context, recipient=session, build=lambda _: call, place="the notes of the conversation")
        self.log.info("Session %s has the new note %s.", session, note.get("id"))
        return note


_EXAMPLE = "{{ ti.xcom_pull(task_ids='send')['id'] }}"


class WtsGetSessionOperator(WtsSessionOperator):
    """Read a session.

    Calls ``get_session``.

    :param include_details: details to add: ``AgentDetails``, ``DepartmentsDetails``, ``ContactDetails``,
        ``ChannelTypeDetails``, ``ClassificationDetails``, ``ChannelDetails``; one, a list, or the JSON text of a list
        (templated).
    :return: the session.
    """

    def __init__(self, *, include_details: Sequence[str] | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.include_details = include_details

    def build_call(self) -> Call[SessionV2]:
        details = parameters.details(self.include_details, api.sessions.SESSION_DETAILS)
        return api.sessions.get_session(self.checked_session(), include_details=details)


class WtsListSessionsOperator(WtsListOperator):
    """List sessions: all pages, inline or as a file.

    Calls ``list_sessions``. An item must match all filters. There is no filter by metadata, because the API does not
    document its format, and ignores filters that it does not know. For the shared parameters, see
    :class:`WtsListOperator`.

    :param status: ``STARTED``, ``PENDING``, ``IN_PROGRESS``, ``COMPLETED``, ``HIDDEN``, ``UNDEFINED``; one or a list
        (templated).
    :param department: name or ID of a department (templated).
    :param user: name or ID of a user (templated).
    :param contact_id: ID of a contact (templated).
    :param tags: names or IDs of the contact's tags; one or a list (templated).
    :param channel_ids: IDs of channels; one or a list (templated).
    :param ended_after: earliest end: an aware datetime, or ISO 8601 text with an offset (templated).
    :param ended_before: latest end (templated).
    :param active_after: earliest time at which the session was active (templated).
    :param active_before: latest such time (templated).
    :param last_interaction_after: earliest time of the last interaction (templated).
    :param last_interaction_before: latest such time (templated).
    :param session_type: ``INDIVIDUAL`` or ``GROUP`` (templated).
    :param include_details: details to add to each session: ``AgentDetails``, ``DepartmentsDetails``,
        ``ContactDetails``, ``ChannelTypeDetails``, ``ClassificationDetails``, ``ChannelDetails`` (templated).
    :return: the sessions, or the manifest of the file.
    """

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
        times = [f"{kind}_{side}" for kind in ("ended", "active", "last_interaction") for side in ("after", "before")]
        filters: dict[str, Any] = {
            "status": parameters.filter_list("status", self.status, api.sessions.SESSION_STATUSES),
            "contact_id": parameters.filter_identity("contact_id", self.contact_id),
            "channel_ids": parameters.filter_identities("channel_ids", self.channel_ids),
            **{name: parameters.filter_timestamp(name, getattr(self, name)) for name in times},
            "session_type": parameters.filter_choice("session_type", self.session_type, ("INDIVIDUAL", "GROUP")),
            "include_details": parameters.details(self.include_details, api.sessions.SESSION_DETAILS),
        }
        department = parameters.filter_text("department", self.department)
        user = parameters.filter_text("user", self.user)
        tags = parameters.filter_list("tags", self.tags)
        # Last, so that an invalid value above takes no request.
        names = self.hook.names
        filters["department_id"] = parameters.looked_up(department, names.department)
        filters["user_id"] = parameters.looked_up(user, names.user)
        filters["tag_ids"] = tags if tags is UNSET else [names.tag(tag) for tag in tags]
        return api.sessions.list_sessions(**filters)


__all__ = [
    "WtsAssignSessionOperator",
    "WtsChangeSessionStatusOperator",
    "WtsCompleteSessionOperator",
    "WtsCreateSessionNoteOperator",
    "WtsExportConversationsOperator",
    "WtsGetSessionOperator",
    "WtsListSessionsOperator",
    "WtsTransferSessionOperator",
    "WtsUpdateSessionOperator",
]
