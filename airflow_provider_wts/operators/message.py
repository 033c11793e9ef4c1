"""Operators for messages, templates and files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wts.api.errors import WtsInvalidRequestError, WtsNotFoundError
from airflow_provider_wts.hooks.failures import readable_failures
from airflow_provider_wts.operators import parameters
from airflow_provider_wts.operators.base import WtsOperator
from airflow_provider_wts.operators.batch import WtsSendTemplateBatchOperator, WtsSendTextBatchOperator
from airflow_provider_wts.operators.listing import WtsListOperator
from airflow_provider_wts.operators.message_sending import WtsSendFileOperator, WtsSendTextOperator
from airflow_provider_wts.operators.message_template import WtsScheduleMessageOperator, WtsSendTemplateOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_provider_wts.api import templates
    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.types import (
        FileV2,
        Message,
        MessagePage,
        MessageQuickSend,
        RespSendMessage,
        ScheduledMessage,
        TemplatePage,
    )

__all__ = [
    "WtsCancelScheduledMessageOperator",
    "WtsGetMessageOperator",
    "WtsGetMessageStatusOperator",
    "WtsListMessagesOperator",
    "WtsListTemplatesOperator",
    "WtsScheduleMessageOperator",
    "WtsSendFileOperator",
    "WtsSendTemplateBatchOperator",
    "WtsSendTemplateOperator",
    "WtsSendTextBatchOperator",
    "WtsSendTextOperator",
    "WtsUploadFileOperator",
]

_MESSAGE_EXAMPLE = "{{ ti.xcom_pull(task_ids='send')['id'] }}"
_SESSION_EXAMPLE = "{{ ti.xcom_pull(task_ids='send')['sessionId'] }}"
_FILE_TYPES = ("UNDEFINED", "PDF", "EXCEL", "WORD", "IMAGE", "AUDIO", "VIDEO", "DOCUMENT")


class WtsGetMessageOperator(WtsOperator):
    """Read a message.

    Calls ``get_message``.

    :param message_id: id of the message (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the message.
    :raises AirflowFailException: when the input is impossible, or the API refuses.
    """

    template_fields: Sequence[str] = (*WtsOperator.template_fields, "message_id")

    def __init__(self, *, message_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.message_id = message_id

    def execute(self, context: Context) -> Message:
        """Read the message.

        :param context: the task's context.
        """
        from airflow_provider_wts.api import messages

        with readable_failures():
            message_id = parameters.needed_identity("message_id", self.message_id, example=_MESSAGE_EXAMPLE)
        message = self.run_call(messages.get_message(message_id))
        self.log.info("Message %s is %s.", message.get("id"), message.get("status"))
        return message


class WtsGetMessageStatusOperator(WtsOperator):
    """Read the status of a message.

    Calls ``get_sent_message_status`` for what the send family answered, and ``get_message_status`` for messages of a
    session and for what the quick sends answered. The two have ids of their own, which look alike.

    ``QUEUED`` and ``SENT`` do not prove that the customer got it; ``DELIVERED`` and ``READ`` do.

    :param message_id: id that a send answered, or id of a message (templated).
    :param id_of: ``send`` for what ``WtsSendTextOperator`` and its like answered, ``message`` for a message of a
        session and for a send with ``synchronous`` or ``reply_bot``. Without it the first is tried, and then the
        second, which may cost a call more (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: ``id``, ``status`` and more.
    :raises AirflowFailException: when the input is impossible, or the API refuses.
    """

    template_fields: Sequence[str] = (*WtsOperator.template_fields, "message_id", "id_of")

    def __init__(self, *, message_id: str, id_of: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.message_id = message_id
        self.id_of = id_of

    def execute(self, context: Context) -> RespSendMessage | MessageQuickSend:
        """Read the status.

        :param context: the task's context.
        """
        with readable_failures():
            message_id = parameters.needed_identity("message_id", self.message_id, example=_MESSAGE_EXAMPLE)
            id_of = parameters.filter_choice("id_of", self.id_of, ("send", "message"))
            answer = self._status(message_id, str(id_of) if id_of else None)
        self.log.info("Message %s is %s.", message_id, answer.get("status"))
        return answer

    def _status(self, message_id: str, id_of: str | None) -> RespSendMessage | MessageQuickSend:
        from airflow_provider_wts.api import messages, sends

        if id_of != "message":
            try:
                return self.hook.run(sends.get_sent_message_status(message_id))
            except WtsNotFoundError:
                if id_of == "send":
                    raise
        return self.hook.run(messages.get_message_status(message_id))


class WtsListMessagesOperator(WtsListOperator):
    """List the messages of a session: all pages, inline or as a file.

    Calls ``list_messages``. What the shared parameters of a list do, from ``created_after`` to ``output_path``, is
    told at :class:`~airflow_provider_wts.operators.listing.WtsListOperator`.

    :param session_id: id of the session (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the messages, or the manifest of the file.
    :raises AirflowFailException: when the input is impossible, the API refuses, or the list is too large for XCom.
    """

    template_fields: Sequence[str] = (*WtsListOperator.template_fields, "session_id")

    def __init__(self, *, session_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.session_id = session_id

    def list_call(self) -> Call[MessagePage]:
        """Return the call."""
        from airflow_provider_wts.api import messages

        return messages.list_messages(
            parameters.needed_identity("session_id", self.session_id, example=_SESSION_EXAMPLE)
        )


class WtsListTemplatesOperator(WtsListOperator):
    """List templates: all pages, inline or as a file.

    Calls ``list_templates``. What the shared parameters of a list do, from ``created_after`` to ``output_path``, is
    told at :class:`~airflow_provider_wts.operators.listing.WtsListOperator`.

    :param name: filter by name (templated).
    :param searchable_text: filter by a text in them (templated).
    :param channel: name, id, number or ``@handle`` of the channel that they belong to (templated).
    :param approved_only: only those that may be sent (templated).
    :param archived: whether they are archived (templated).
    :param template_type: their use: ``QUICKREPLY``, ``ATTENDANCE``, ``CAMPAIGN``, ``SEQUENCE``, ``SCHEDULEDMESSAGE``
        or ``AUTHENTICATION``. The answer's ``type`` has other words (templated).
    :param include_details: details to add to each template: ``Params``, ``File``, ``Interactive``, ``All``; one or a
        list (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the templates, or the manifest of the file.
    :raises AirflowFailException: when the input is impossible, the API refuses, or the list is too large for XCom.
    """

    template_fields: Sequence[str] = (
        *WtsListOperator.template_fields,
        "name",
        "searchable_text",
        "channel",
        "approved_only",
        "archived",
        "template_type",
        "include_details",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"include_details": "json"}

    def __init__(
        self,
        *,
        name: str | None = None,
        searchable_text: str | None = None,
        channel: str | None = None,
        approved_only: bool | str | None = None,
        archived: bool | str | None = None,
        template_type: str | None = None,
        include_details: Sequence[str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.searchable_text = searchable_text
        self.channel = channel
        self.approved_only = approved_only
        self.archived = archived
        self.template_type = template_type
        self.include_details = include_details

    def list_call(self) -> Call[TemplatePage]:
        """Return the call with the filters."""
        from airflow_provider_wts.api import templates

        uses = ("QUICKREPLY", "ATTENDANCE", "CAMPAIGN", "SEQUENCE", "SCHEDULEDMESSAGE", "AUTHENTICATION")
        filters: templates.TemplateFilters = {
            "name": parameters.filter_text("name", self.name),
            "searchable_text": parameters.filter_text("searchable_text", self.searchable_text),
            "approved_only": parameters.switch("approved_only", self.approved_only),
            "archived": parameters.switch("archived", self.archived),
            "template_type": parameters.filter_choice("template_type", self.template_type, uses),
            "include_details": parameters.details(self.include_details, ("All", "Params", "File", "Interactive")),
        }
        channel = parameters.filter_text("channel", self.channel)
        # Looked up last, because it may cost a call, and a mistake above should cost none.
        if isinstance(channel, str):
            filters["channel_id"] = self.hook.names.channel_id(channel)
        return templates.list_templates(**filters)


class WtsUploadFileOperator(WtsOperator):
    """Upload a file, to be sent any number of times by its id.

    Calls ``get_file_upload_url``, puts the content to the address that it answers, and calls ``save_file``. The file
    is read while it is sent, so a large one needs no more memory. Running it again uploads it again, which does no
    harm. A file with a public address needs no upload: sends take the address.

    :param file: local path as the worker sees it, or any address that ``ObjectStoragePath`` takes, such as
        ``s3://aws_default@bucket/invoices/118.pdf`` (templated).
    :param file_type: ``IMAGE``, ``AUDIO``, ``VIDEO``, ``PDF``, ``EXCEL``, ``WORD``, ``DOCUMENT``, or ``UNDEFINED`` to
        leave it to the platform; told from the name when left out. Images and videos are transformed to suit the
        channels, documents are left as they are (templated).
    :param file_name: name that the customer sees; the file's own when left out (templated).
    :param mime_type: MIME type; told from the name when left out (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the file: its lasting ``id``, ``name``, ``type``, ``mimeType``, ``size``.
    :raises AirflowFailException: when there is no such file or nothing is in it, or the API or the storage refuses.
    """

    template_fields: Sequence[str] = (*WtsOperator.template_fields, "file", "file_type", "file_name", "mime_type")

    def __init__(
        self,
        *,
        file: str,
        file_type: str | None = None,
        file_name: str | None = None,
        mime_type: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.file = file
        self.file_type = file_type
        self.file_name = file_name
        self.mime_type = mime_type

    def execute(self, context: Context) -> FileV2:
        """Upload the file.

        :param context: the task's context.
        """
        with readable_failures():
            if parameters.missing(self.file):
                raise WtsInvalidRequestError("file: is empty. A good value is '/opt/airflow/invoices/118.pdf'.")
            return self.hook.upload(
                str(self.file).strip(),
                file_type=parameters.filter_choice("file_type", self.file_type, _FILE_TYPES) or None,
                name=parameters.filter_text("file_name", self.file_name) or None,
                mime_type=parameters.filter_text("mime_type", self.mime_type) or None,
            )


class WtsCancelScheduledMessageOperator(WtsOperator):
    """Cancel scheduled messages that are not sent yet.

    Calls ``cancel_scheduled_message`` for one, ``batch_cancel_scheduled_messages`` for a list. The API refuses to
    cancel a single one that is sent already; what it does with such ones in a list is not documented.

    :param scheduled_message_id: id of a scheduled message, a list of them, or a list as JSON text (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: nothing for one, since the API answers nothing; for a list the messages as the API answers them.
    :raises AirflowFailException: when the input is impossible, or the API refuses.
    """

    template_fields: Sequence[str] = (*WtsOperator.template_fields, "scheduled_message_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"scheduled_message_id": "json"}

    def __init__(self, *, scheduled_message_id: str | Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scheduled_message_id = scheduled_message_id

    def execute(self, context: Context) -> list[ScheduledMessage] | None:
        """Cancel.

        :param context: the task's context.
        """
        from airflow_provider_wts.api import scheduled

        with readable_failures():
            ids = self._ids()
        if ids is None:
            self.log.info("The list is empty: there is nothing to cancel.")
            return []
        if isinstance(ids, str):
            self.run_call(scheduled.cancel_scheduled_message(ids))
            self.log.info("Canceled the scheduled message %s.", ids)
            return None
        answer = self.run_call(scheduled.batch_cancel_scheduled_messages(ids))
        canceled = {message.get("id") for message in answer if message.get("status") == "CANCELED"}
        self.log.info("Canceled %s of %s scheduled messages.", len(canceled), len(ids))
        if left := [one for one in ids if one not in canceled]:
            self.log.warning("Not confirmed as canceled: %s.", ", ".join(left[:20]))
        return answer

    def _ids(self) -> str | list[str] | None:
        value = self.scheduled_message_id
        example = "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"
        if isinstance(value, str) and not value.lstrip().startswith("["):
            return parameters.needed_identity("scheduled_message_id", value, example=example)
        found = parameters.texts("scheduled_message_id", value)
        if not isinstance(found, list):
            raise WtsInvalidRequestError(f"scheduled_message_id: is empty. A good value is {example!r}.")
        checked = [parameters.needed_identity("scheduled_message_id", one, example=example) for one in found]
        # Twice the same id is one message.
        return list(dict.fromkeys(checked)) or None
