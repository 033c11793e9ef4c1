"""Operators for sessions, which are conversations with a contact on a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wts.api.call import NOT_GIVEN, NotGiven, Optional
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.hooks.failures import readable_failures
from airflow_provider_wts.operators import parameters
from airflow_provider_wts.operators.conversations import WtsExportConversationsOperator
from airflow_provider_wts.operators.sending import WtsOnceOperator
from airflow_provider_wts.operators.session_reading import (
    WtsGetSessionOperator,
    WtsListSessionsOperator,
    WtsSessionOperator,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from airflow.sdk import Context

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.types import Message, Session
    from airflow_provider_wts.links.session import WtsSessionLink

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


class WtsChangeSessionStatusOperator(WtsSessionOperator):
    """Set the status of a session.

    Calls ``change_session_status``. Which changes the platform refuses is not documented.

    :param session_id: id of the session (templated).
    :param new_status: ``UNDEFINED``, ``STARTED``, ``PENDING``, ``IN_PROGRESS``, ``COMPLETED`` or ``HIDDEN``
        (templated).
    :param stop_bot_in_execution: also stop the bot that runs in the session; without it the bot goes on (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the session.
    :raises AirflowFailException: when the input is impossible, or the API refuses.
    """

    template_fields: Sequence[str] = (*WtsSessionOperator.template_fields, "new_status", "stop_bot_in_execution")

    def __init__(
        self, *, new_status: str, stop_bot_in_execution: bool | str | NotGiven | None = NOT_GIVEN, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.new_status = new_status
        self.stop_bot_in_execution = stop_bot_in_execution

    def execute(self, context: Context) -> Session:
        """Set the status.

        :param context: the task's context.
        """
        from airflow_provider_wts.api import sessions
        from airflow_provider_wts.waiting.session import SESSION_STATUSES

        with readable_failures():
            call = sessions.change_session_status(
                self.checked_session(),
                parameters.needed_choice("new_status", self.new_status, SESSION_STATUSES),
                stop_bot_in_execution=parameters.switch("stop_bot_in_execution", self.stop_bot_in_execution),
            )
        return self.settle(context, call)


class WtsCompleteSessionOperator(WtsSessionOperator):
    """Complete a session.

    Calls ``complete_session``.

    :param session_id: id of the session (templated).
    :param reactivate_on_new_message: open the session again when the contact writes; without it a new message of the
        contact does not reopen it (templated).
    :param stop_bot_in_execution: also stop the bot that runs in the session; without it the bot goes on (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the session.
    :raises AirflowFailException: when the input is impossible, or the API refuses.
    """

    template_fields: Sequence[str] = (
        *WtsSessionOperator.template_fields,
        "reactivate_on_new_message",
        "stop_bot_in_execution",
    )

    def __init__(
        self,
        *,
        reactivate_on_new_message: bool | str | NotGiven | None = NOT_GIVEN,
        stop_bot_in_execution: bool | str | NotGiven | None = NOT_GIVEN,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.reactivate_on_new_message = reactivate_on_new_message
        self.stop_bot_in_execution = stop_bot_in_execution

    def execute(self, context: Context) -> Session:
        """Complete the session.

        :param context: the task's context.
        """
        from airflow_provider_wts.api import sessions

        with readable_failures():
            call = sessions.complete_session(
                self.checked_session(),
                reactivate_on_new_message=parameters.switch(
                    "reactivate_on_new_message", self.reactivate_on_new_message
                ),
                stop_bot_in_execution=parameters.switch("stop_bot_in_execution", self.stop_bot_in_execution),
            )
        return self.settle(context, call)


class WtsTransferSessionOperator(WtsSessionOperator):
    """Hand a session to a department or to a user.

    Calls ``transfer_session``. Its effect on the status of the session is not documented.

    :param session_id: id of the session (templated).
    :param department: name or id of the department that takes over; exactly one of this and ``user`` (templated).
    :param user: name or id of the user who takes over (templated).
    :param stop_bot_in_execution: also stop the bot that runs in the session; without it the bot goes on (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the session.
    :raises AirflowFailException: when the input is impossible, or the API refuses.
    """

    template_fields: Sequence[str] = (
        *WtsSessionOperator.template_fields,
        "department",
        "user",
        "stop_bot_in_execution",
    )

    def __init__(
        self,
        *,
        department: str | NotGiven | None = NOT_GIVEN,
        user: str | NotGiven | None = NOT_GIVEN,
        stop_bot_in_execution: bool | str | NotGiven | None = NOT_GIVEN,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.department = department
        self.user = user
        self.stop_bot_in_execution = stop_bot_in_execution

    def execute(self, context: Context) -> Session:
        """Hand the session over.

        :param context: the task's context.
        """
        with readable_failures():
            call = self._call()
        return self.settle(context, call)

    def _call(self) -> Call[Session]:
        from airflow_provider_wts.api import sessions

        if parameters.missing(self.department) == parameters.missing(self.user):
            raise WtsInvalidRequestError(
                "department, user: give exactly one of them. A good value is department='Vendas'."
            )
        session = self.checked_session()
        stop_bot = parameters.switch("stop_bot_in_execution", self.stop_bot_in_execution)
        # Looked up last, because it may cost a call, and a mistake above should cost none.
        if parameters.missing(self.user):
            department = self.hook.names.department(parameters.needed_name("department", self.department))
            return sessions.transfer_session(
                session, "DEPARTMENT", new_department_id=department, stop_bot_in_execution=stop_bot
            )
        user = self.hook.names.user(parameters.needed_name("user", self.user))
        return sessions.transfer_session(session, "USER", new_user_id=user, stop_bot_in_execution=stop_bot)


class WtsAssignSessionOperator(WtsSessionOperator):
    """Put a user in charge of a session.

    Calls ``assign_session_user``. Its effect on the status of the session is not documented.

    :param session_id: id of the session (templated).
    :param user: name or id of the user (templated).
    :param stop_bot_in_execution: also stop the bot that runs in the session; without it the bot goes on (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the session.
    :raises AirflowFailException: when the input is impossible, or the API refuses.
    """

    template_fields: Sequence[str] = (*WtsSessionOperator.template_fields, "user", "stop_bot_in_execution")

    def __init__(
        self, *, user: str, stop_bot_in_execution: bool | str | NotGiven | None = NOT_GIVEN, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.user = user
        self.stop_bot_in_execution = stop_bot_in_execution

    def execute(self, context: Context) -> Session:
        """Put the user in charge.

        :param context: the task's context.
        """
        from airflow_provider_wts.api import sessions

        with readable_failures():
            name = parameters.needed_name("user", self.user)
            session = self.checked_session()
            stop_bot = parameters.switch("stop_bot_in_execution", self.stop_bot_in_execution)
            call = sessions.assign_session_user(session, self.hook.names.user(name), stop_bot_in_execution=stop_bot)
        return self.settle(context, call)


class WtsUpdateSessionOperator(WtsSessionOperator):
    """Change a session: what is given, and nothing else.

    Calls ``update_session``; its ``fields`` are made of what is given. ``None`` clears where the API can clear.

    :param session_id: id of the session (templated).
    :param status: ``UNDEFINED``, ``STARTED``, ``PENDING``, ``IN_PROGRESS``, ``COMPLETED`` or ``HIDDEN`` (templated).
    :param end_at: when the session ended: an aware datetime, or ISO 8601 text with an offset (templated).
    :param number: number of the session (templated).
    :param department: name or id of its department (templated).
    :param user: name or id of its user (templated).
    :param classification: object with ``category`` (``UNDEFINED``, ``WON``, ``LOST``, ``INFO``, ``OTHER``),
        ``description`` and ``amount``, or the object as JSON text (templated, deep).
    :param metadata: object kept with the session, or the object as JSON text. Whether the API merges it with what is
        there or replaces that is not documented (templated, deep).
    :param stop_bot_in_execution: also stop the bot that runs in the session. Alone it changes nothing else
        (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the session.
    :raises AirflowFailException: when the input is impossible, or the API refuses.
    """

    template_fields: Sequence[str] = (
        *WtsSessionOperator.template_fields,
        "status",
        "end_at",
        "number",
        "department",
        "user",
        "classification",
        "metadata",
        "stop_bot_in_execution",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"classification": "json", "metadata": "json"}

    def __init__(
        self,
        *,
        status: Optional[str] = NOT_GIVEN,
        end_at: Optional[datetime | str] = NOT_GIVEN,
        number: Optional[str] = NOT_GIVEN,
        department: Optional[str] = NOT_GIVEN,
        user: Optional[str] = NOT_GIVEN,
        classification: Mapping[str, Any] | str | NotGiven = NOT_GIVEN,
        metadata: Optional[Mapping[str, Any] | str] = NOT_GIVEN,
        stop_bot_in_execution: bool | str | NotGiven | None = NOT_GIVEN,
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
        self.stop_bot_in_execution = stop_bot_in_execution

    def execute(self, context: Context) -> Session:
        """Change the session.

        :param context: the task's context.
        """
        with readable_failures():
            call = self._call()
        return self.settle(context, call)

    def _call(self) -> Call[Session]:
        from airflow_provider_wts.api import sessions
        from airflow_provider_wts.waiting.session import SESSION_STATUSES

        session = self.checked_session()
        status = parameters.choice("status", self.status, SESSION_STATUSES)
        end_at = parameters.moment("end_at", self.end_at)
        number = parameters.text("number", self.number)
        classification = parameters.classification("classification", self.classification)
        metadata = parameters.metadata("metadata", self.metadata)
        stop_bot = parameters.switch("stop_bot_in_execution", self.stop_bot_in_execution)
        department, user = parameters.named("department", self.department), parameters.named("user", self.user)
        changes = (status, end_at, number, classification, metadata, department, user)
        if all(change is NOT_GIVEN for change in changes) and stop_bot is not True:
            raise WtsInvalidRequestError("There is nothing to change. Give at least one of the session's fields.")
        return sessions.update_session(
            session,
            status=status,
            end_at=end_at,
            number=number,
            classification=classification,
            metadata=metadata,
            stop_bot_in_execution=stop_bot,
            department_id=self.hook.names.department(department) if isinstance(department, str) else department,
            user_id=self.hook.names.user(user) if isinstance(user, str) else user,
        )


class WtsCreateSessionNoteOperator(WtsSessionOperator, WtsOnceOperator):
    """Add an internal note to a session. The contact does not see it.

    Calls ``create_session_note``. A note carries no mark, so only a ledger keeps a task that runs again from adding it
    again; without it such a task fails and says what to check.

    :param session_id: id of the session (templated).
    :param text: the note; needed without files (templated).
    :param file_urls: public addresses of files; one, a list, or a list as JSON text (templated).
    :param file_ids: ids of files that were uploaded to WTS Chat; one, a list, or a list as JSON text (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the note, which is a message of the session.
    :raises AirflowFailException: when the input is impossible, the API refuses, or the outcome is unknown.
    """

    prose: ClassVar[frozenset[str]] = frozenset({"text"})
    template_fields: Sequence[str] = (
        *WtsSessionOperator.template_fields,
        "text",
        "file_urls",
        "file_ids",
        "on_unknown",
        "on_clear",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"file_urls": "json", "file_ids": "json"}
    # The answer is the note; it does not know the address of its session.
    operator_extra_links: Sequence[WtsSessionLink] = ()

    def __init__(
        self,
        *,
        text: Optional[str] = NOT_GIVEN,
        file_urls: Optional[Sequence[str] | str] = NOT_GIVEN,
        file_ids: Optional[Sequence[str] | str] = NOT_GIVEN,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.text = text
        self.file_urls = file_urls
        self.file_ids = file_ids

    def execute(self, context: Context) -> Message:
        """Add the note.

        :param context: the task's context.
        """
        from airflow_provider_wts.api import sessions

        self.open_ledger(context)
        with readable_failures():
            session = self.checked_session()
            text = parameters.text("text", self.text)
            urls = parameters.urls("file_urls", self.file_urls)
            ids = parameters.identities("file_ids", self.file_ids)
            if parameters.missing(text) and not urls and not ids:
                raise WtsInvalidRequestError("text: is empty, and there is no file. A note needs one of them.")
            call = sessions.create_session_note(session, text=text, file_urls=urls, file_ids=ids)
        note = self.run_once(context, recipient=session, build=lambda _: call, trace=None)
        self.log.info("Session %s has the new note %s.", session, note.get("id"))
        return note
