"""Operators for messages and files: send, schedule, cancel, read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_wts import api
from airflow_provider_wts.api import parameters
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.api.wire import UNSET, Missing, given
from airflow_provider_wts.hooks.errors import task_failures
from airflow_provider_wts.operators.base import WtsOperator
from airflow_provider_wts.operators.campaign import WtsSendTemplateBatchOperator, WtsSendTextBatchOperator
from airflow_provider_wts.operators.listing import WtsListOperator
from airflow_provider_wts.operators.sending import WtsFreeMessageOperator, WtsSendingOperator
from airflow_provider_wts.operators.template import WtsListTemplatesOperator, WtsSendTemplateOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.messages import QuickContent
    from airflow_provider_wts.api.types import FileV2, Message, MessagePage, ScheduledMessage
    from airflow_provider_wts.hooks.files import OutgoingFile
    from airflow_provider_wts.sending.key import Mark


_MESSAGE_EXAMPLE = "{{ ti.xcom_pull(task_ids='send')['id'] }}"

_SESSION_EXAMPLE = "{{ ti.xcom_pull(task_ids='send')['sessionId'] }}"


class WtsGetMessageOperator(WtsOperator):
    """Read a message.

    Calls ``get_message``.

    :param message_id: ID of the message (templated).
    :return: the message.
    """

    def __init__(self, *, message_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.message_id = message_id

    def execute(self, context: Context) -> Message:
        with task_failures():
            message_id = parameters.needed_identity("message_id", self.message_id, example=_MESSAGE_EXAMPLE)
        message = self.run_call(api.messages.get_message(message_id))
        self.log.info("Message %s is %s.", message.get("id"), message.get("status"))
        return message


class WtsGetMessageStatusOperator(WtsOperator):
    """Read the status of a message.

    Calls ``get_sent_message_status`` for IDs that the send operators return, and ``get_message_status`` for messages of
    a session and for sends with ``synchronous`` or ``reply_bot``. Both kinds of IDs have the same form.

    ``QUEUED`` and ``SENT`` do not prove that the customer got it; ``DELIVERED`` and ``READ`` do.

    :param message_id: ID that a send returned, or ID of a message (templated).
    :param id_of: ``send`` for an ID that ``WtsSendTextOperator`` or another send operator returned; ``message`` for a
        message of a session, or a send with ``synchronous`` or ``reply_bot``. If omitted, both are tried, which may
        take an extra request (templated).
    :return: ``id``, ``status`` and more.
    """

    def __init__(self, *, message_id: str, id_of: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.message_id = message_id
        self.id_of = id_of

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow_provider_wts.waiting.conditions import read_status

        with task_failures():
            message_id = parameters.needed_identity("message_id", self.message_id, example=_MESSAGE_EXAMPLE)
            id_of = parameters.filter_choice("id_of", self.id_of, ("send", "message"))
            answer, _ = read_status(self.hook.run, message_id, id_of or None)
        self.log.info("Message %s is %s.", message_id, answer.get("status"))
        return answer


class WtsListMessagesOperator(WtsListOperator):
    """List the messages of a session: all pages, inline or as a file.

    Calls ``list_messages``. For the shared parameters, see :class:`WtsListOperator`.

    :param session_id: ID of the session (templated).
    :return: the messages, or the manifest of the file.
    """

    def __init__(self, *, session_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.session_id = session_id

    def list_call(self) -> Call[MessagePage]:
        return api.messages.list_messages(
            parameters.needed_identity("session_id", self.session_id, example=_SESSION_EXAMPLE)
        )


class WtsUploadFileOperator(WtsOperator):
    """Upload a file, so that any number of sends can use its ID.

    Calls ``get_file_upload_url``, uploads the content to the address that it returns, and calls ``save_file``. The file
    is streamed, so a large one needs no more memory. Running the task again uploads the file again, which does no harm.
    A file with a public address needs no upload: sends take the address.

    :param file: local path on the worker, or any ``ObjectStoragePath`` such as
        ``s3://aws_default@bucket/invoices/118.pdf`` (templated).
    :param file_type: ``IMAGE``, ``AUDIO``, ``VIDEO``, ``PDF``, ``EXCEL``, ``WORD``, ``DOCUMENT``, or ``UNDEFINED`` to
        let WTS Chat decide; inferred from the name if omitted. WTS Chat converts images and videos to suit the
        channels, and leaves documents as they are (templated).
    :param file_name: name that the customer sees; the file's own if omitted (templated).
    :param mime_type: MIME type; inferred from the name if omitted (templated).
    :return: the file: its lasting ``id``, ``name``, ``type``, ``mimeType``, ``size``.
    :raises AirflowFailException: when the file does not exist or is empty, or the API or the storage refuses.
    """

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
        from airflow_provider_wts.hooks.files import FILE_TYPES

        with task_failures():
            if parameters.missing(self.file):
                raise WtsInvalidRequestError("file: is empty. Example: '/opt/airflow/invoices/118.pdf'.")
            return self.hook.upload(
                str(self.file).strip(),
                file_type=parameters.filter_choice("file_type", self.file_type, FILE_TYPES) or None,
                name=parameters.filter_text("file_name", self.file_name) or None,
                mime_type=parameters.filter_text("mime_type", self.mime_type) or None,
            )


class WtsCancelScheduledMessageOperator(WtsOperator):
    """Cancel scheduled messages that have not been sent yet.

    Calls ``cancel_scheduled_message`` for one, ``batch_cancel_scheduled_messages`` for a list. The API refuses to
    cancel a single message that was already sent; what it does with one in a list is not documented.

    :param scheduled_message_id: ID of a scheduled message, a list of them, or the JSON text of a list (templated).
    :return: ``None`` for one message, because the API returns nothing; for a list, the messages as the API returns
        them.
    """

    def __init__(self, *, scheduled_message_id: str | Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scheduled_message_id = scheduled_message_id

    def execute(self, context: Context) -> list[ScheduledMessage] | None:
        with task_failures():
            ids = self._ids()
        if ids is None:
            self.log.info("The list is empty: there is nothing to cancel.")
            return []
        if isinstance(ids, str):
            self.run_call(api.scheduled.cancel_scheduled_message(ids))
            self.log.info("Canceled the scheduled message %s.", ids)
            return None
        answer = self.run_call(api.scheduled.batch_cancel_scheduled_messages(ids))
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
            raise WtsInvalidRequestError(f"scheduled_message_id: is empty. Example: {example!r}.")
        checked = [parameters.needed_identity("scheduled_message_id", one, example=example) for one in found]
        # A repeated ID is one message.
        return list(dict.fromkeys(checked)) or None


class WtsSendTextOperator(WtsFreeMessageOperator):
    """Send a text to a contact or into a session.

    Calls ``send_text``; with ``synchronous`` or ``reply_bot`` the older ``send_message`` or ``send_message_sync``, in a
    session ``send_session_message_sync``. Parameters that you leave out are not sent; ``None`` is sent as ``null``.

    On an official WhatsApp channel, only a template can open a conversation, and a text reaches a contact only within
    24 hours of the contact's last message. How WTS Chat refuses is not documented; it may accept the message and fail
    it later.

    For the parameters of all sends, from ``to`` to ``callback_url``, see :class:`WtsMessageOperator`, and for
    ``outside_24h``, ``reply_to`` and ``delay_typing``, :class:`WtsFreeMessageOperator`.

    :param text: the text (templated).
    :return: the send as the API returns it; use its ``id`` to read the status.
    """

    def __init__(self, *, text: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.text = text

    def execute(self, context: Context) -> Any:
        self.open_ledger(context)
        with task_failures():
            text = parameters.needed_text("text", self.text)
            api.sends.warn_if_long(self.log, "text", text, api.sends.MAX_TEXT)
            reply_to, delay = self.reply()
            envelope = self.envelope()
        self.log.debug("The text is: %s", text)

        def build(mark: Mark) -> Call[Any]:
            if envelope.quick:
                return envelope.quick_call({"text": text, "ref_id": reply_to})
            return api.sends.send_text(text, **envelope.send_to(mark, reply_to=reply_to, delay=delay))

        return self.deliver(context, envelope, build, delay=delay)


class WtsSendFileOperator(WtsFreeMessageOperator):
    """Send a file to a contact or into a session: an image, an audio file, a video or a document.

    Calls ``send_image``, ``send_audio``, ``send_video`` or ``send_document``. With ``synchronous`` or ``reply_bot``, or
    if the file's kind is neither given nor clear from its name, it calls the older ``send_message``,
    ``send_session_message`` or their ``_sync`` forms, and WTS Chat determines the kind. A local file is uploaded first.
    A retry may upload it again, which does no harm; the message goes out once.

    For the parameters of all sends, from ``to`` to ``callback_url``, see :class:`WtsMessageOperator`, and for
    ``outside_24h``, ``reply_to`` and ``delay_typing``, :class:`WtsFreeMessageOperator`. The WhatsApp restrictions of
    :class:`WtsSendTextOperator` apply here, too.

    :param file: public http(s) address; or ID of an uploaded file; or local path on the worker, or any
        ``ObjectStoragePath`` such as ``s3://aws_default@bucket/invoices/118.pdf`` (templated).
    :param kind: ``image``, ``audio``, ``video`` or ``document``; inferred from the file name if omitted. An ID, or an
        address without an extension, does not show it: set it, so that the send can be found after a crash (templated).
    :param text: caption; an audio file has none (templated).
    :param file_name: name under which a local file is uploaded, which the customer sees (templated).
    :param mime_type: MIME type; inferred from the name if omitted (templated).
    :return: the send as the API returns it; use its ``id`` to read the status.
    """

    def __init__(
        self,
        *,
        file: str,
        kind: str | None = None,
        text: Missing[str] = UNSET,
        file_name: str | None = None,
        mime_type: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.file = file
        self.kind = kind
        self.text = text
        self.file_name = file_name
        self.mime_type = mime_type

    def execute(self, context: Context) -> Any:
        from airflow_provider_wts.hooks.context import is_first_try
        from airflow_provider_wts.hooks.files import OutgoingFile

        self.open_ledger(context)
        with task_failures():
            first = is_first_try(context)
            file = OutgoingFile(self.hook, self.file, name=self.file_name, mime_type=self.mime_type, check=first)
            # Quick sends leave the kind to WTS Chat.
            kind = None if self.is_quick else file.kind(self.kind)
            self.leaves_kind_open = kind is None
            text = parameters.text("text", self.text)
            if kind == "audio" and not parameters.missing(text):
                raise WtsInvalidRequestError(
                    "text: an audio file has no caption. Nothing was sent. Send the text in another task."
                )
            api.sends.warn_if_long(self.log, "text", text, api.sends.MAX_CAPTION)
            reply_to, delay = self.reply()
            envelope = self.envelope()

        def build(mark: Mark) -> Call[Any]:
            if kind is None:
                content: QuickContent = {"text": text, "ref_id": reply_to}
                file.put_into(content)
                return envelope.quick_call(content)
            send = envelope.send_to(mark, reply_to=reply_to, delay=delay)
            return api.sends.media_call(kind, file.reference, text, send)

        return self.deliver(context, envelope, build, file=file, delay=delay)


class WtsScheduleMessageOperator(WtsSendingOperator):
    """Schedule a template or a chatbot for a future date and time.

    Calls ``create_scheduled_message``. Scheduling must be enabled for the account. ``not_after`` and ``send_window``
    apply to the scheduled time; outside of them, the task is skipped. ``exclude_tags`` and ``exclude_blocked`` check
    the contact now.

    A scheduled message carries no marker in WTS Chat: if the response is lost, ``on_unknown`` decides.

    :param to: recipient: phone number in any common format; a number without a country code is taken as Brazilian
        (templated).
    :param scheduling: when it goes out: an aware datetime, or ISO 8601 text with an offset; not in the past
        (templated).
    :param template: name or ID of a template; exactly one of this and ``chatbot`` (templated).
    :param parameters: values by the name of the template's variable, an object or its JSON text; numbers become text
        (templated, deep).
    :param file: file of a template with media: public http(s) address, ID of an uploaded file, local path, or any
        ``ObjectStoragePath`` (templated).
    :param chatbot: name or key of a chatbot (templated).
    :param channel: channel to send from: its name, ID, number or ``@handle``; default: the connection's channel, or
        else one that WTS Chat picks (templated).
    :param department: name or ID of the department that gets the session. By default, WTS Chat picks its default
        department, and refuses if that one does not serve the channel (templated).
    :param hidden_session: if this send opens a session, keep it hidden until the contact replies (templated).
    :param check_parameters: look up the template, and refuse parameters that do not match it.
    :param kwargs: see :class:`WtsSendingOperator`: ``dry_run``, ``not_after``, ``send_window``, ``exclude_tags``,
        ``on_unknown``, ``on_clear``.
    :return: the scheduled message; use its ``id`` to cancel it.
    """

    never_blank: ClassVar[frozenset[str]] = WtsSendingOperator.never_blank | {"parameters"}
    prose: ClassVar[frozenset[str]] = frozenset({"parameters"})
    not_templated = frozenset({"check_parameters"})

    def __init__(
        self,
        *,
        to: str,
        scheduling: datetime | str,
        template: str | None = None,
        parameters: Missing[Mapping[str, Any] | str] = UNSET,
        file: str | None = None,
        chatbot: str | None = None,
        channel: str | None = None,
        department: str | None = None,
        hidden_session: bool | str | None = None,
        check_parameters: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.to = to
        self.scheduling = scheduling
        self.template = template
        self.parameters = parameters
        self.file = file
        self.chatbot = chatbot
        self.channel = channel
        self.department = department
        self.hidden_session = hidden_session
        self.check_parameters = check_parameters

    def execute(self, context: Context) -> Any:
        from airflow_provider_wts.hooks.context import is_first_try

        self.open_ledger(context)
        with task_failures():
            when = self._when()
            # For a later try, the time may be past although it was scheduled in time.
            first = is_first_try(context)
            if first:
                _refuse_past(when)
            schedule, file = self._schedule(check_file=first)
            to = self.hook.recipient(self.to)
            self._look_up(schedule, has_file=file is not None)
        schedule["scheduling"] = when

        def build(mark: Mark) -> Call[Any]:
            if file is not None:
                schedule["file_url" if file.is_address else "file_id"] = file.reference
            return api.scheduled.create_scheduled_message(to, **schedule)

        upload = None if file is None else file.upload
        answer = self.send_once(context, recipient=to, build=build, prepare=upload, place="the scheduled messages")
        if "dry_run" not in answer:
            self.log.info("Scheduled message %s for %s.", answer.get("id"), when)
        return answer

    def _when(self) -> str:
        when = parameters.filter_timestamp("scheduling", self.scheduling)
        if not isinstance(when, str):
            raise WtsInvalidRequestError("scheduling: is empty. Example: '2026-12-24T10:00:00-03:00'.")
        return when

    def _schedule(self, *, check_file: bool) -> tuple[dict[str, Any], OutgoingFile | None]:
        from airflow_provider_wts.hooks.files import OutgoingFile

        if parameters.missing(self.template) == parameters.missing(self.chatbot):
            raise WtsInvalidRequestError("template, chatbot: give exactly one of them. Nothing was scheduled.")
        filling = api.templates.template_parameters("parameters", self.parameters)
        file = None
        if not parameters.missing(self.file):
            file = OutgoingFile(self.hook, self.file, check=check_file)
        if parameters.missing(self.template) and (filling or file is not None):
            raise WtsInvalidRequestError(
                "parameters, file: a chatbot takes none. Nothing was scheduled. Leave them out."
            )
        schedule = given(
            parameters=filling,
            department=parameters.department(self.department),
            hidden_session=parameters.switch("hidden_session", self.hidden_session),
        )
        return schedule, file

    def _look_up(self, schedule: dict[str, Any], *, has_file: bool) -> None:
        from airflow_provider_wts.hooks.names import checked_template

        channel = self.hook.channel(self.channel)
        if channel is not None:
            schedule["from_"] = channel
        if parameters.missing(self.template):
            schedule["scheduled_type"] = "CHATBOT"
            schedule["bot_key"] = self.hook.names.chatbot(parameters.needed_name("chatbot", self.chatbot))
            return
        schedule["scheduled_type"] = "TEMPLATE"
        schedule["template_id"] = checked_template(
            self.hook.names,
            parameters.needed_name("template", self.template),
            channel,
            schedule.get("parameters"),
            has_file=has_file,
            check=self.check_parameters,
            log=self.log,
        )

    def _opening(self, recipient: str, now: datetime) -> datetime:
        """Return ``now``, or skip the task if the scheduled time is not allowed."""
        when = self._when()
        _refuse_past(when)
        planned = datetime.fromisoformat(when)
        window, not_after, _ = self.send_times()
        if not_after is not None and planned > not_after:
            raise AirflowSkipException(f"Nothing was scheduled: {when} is after not_after, {not_after.isoformat()}.")
        if window and window.next_opening(planned) > planned:
            raise AirflowSkipException(f"Nothing was scheduled: {when} is outside of send_window.")
        self._refuse_excluded(recipient, "scheduled")
        return now


def _refuse_past(when: str) -> None:
    if datetime.fromisoformat(when) <= datetime.now(UTC):
        raise WtsInvalidRequestError(
            f"scheduling: {when} is in the past. Nothing was scheduled. Give a future date and time."
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
