"""Operators that send one text or one file, to a contact or into a session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wts.api.call import NOT_GIVEN, Optional
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.hooks.context import is_first_try
from airflow_provider_wts.hooks.failures import readable_failures
from airflow_provider_wts.operators import message_content, parameters
from airflow_provider_wts.operators.message_base import WtsMessageOperator
from airflow_provider_wts.operators.message_file import OutgoingFile, media_call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.messages import QuickContent
    from airflow_provider_wts.sending.key import Mark


class WtsSendTextOperator(WtsMessageOperator):
    """Send a text to a contact or into a session.

    Calls ``send_text``; with ``synchronous`` or ``reply_bot`` the older ``send_message`` or ``send_message_sync``, in
    a session ``send_session_message_sync``. What is left out is not sent; ``None`` is sent as ``null``.

    On an official WhatsApp channel only a template can open a conversation, and a text reaches the contact only within
    24 hours of its last message. How the platform refuses is not documented; the message may be taken and then fail.

    The parameters of all sends, from ``to`` to ``callback_url``, are told at
    :class:`~airflow_provider_wts.operators.message_base.WtsMessageOperator`.

    :param text: the text (templated).
    :param reply_to: id of the message that this one replies to (templated).
    :param delay_typing: seconds of "typing..." before it goes out, 0 to 25 (templated).
    :return: the send as the API answers it; ``id`` asks for its status.
    :raises AirflowFailException: when the input is impossible, the API refuses, the message failed at once, or nobody
        knows whether it was sent.
    :raises AirflowSkipException: when ``not_after``, ``send_window`` or ``exclude_tags`` says so.
    """

    never_blank: ClassVar[frozenset[str]] = WtsMessageOperator.never_blank | {"text"}
    prose: ClassVar[frozenset[str]] = frozenset({"text"})
    template_fields: Sequence[str] = (*WtsMessageOperator.template_fields, "text", "reply_to", "delay_typing")

    def __init__(
        self,
        *,
        text: str,
        reply_to: Optional[str] = NOT_GIVEN,
        delay_typing: Optional[int | str] = NOT_GIVEN,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.text = text
        self.reply_to = reply_to
        self.delay_typing = delay_typing

    def execute(self, context: Context) -> Any:
        """Send the text.

        :param context: the task's context.
        """
        from airflow_provider_wts.api import sends

        self.open_ledger(context)
        with readable_failures():
            text = message_content.needed_text("text", self.text)
            message_content.warn_if_long(self.log, "text", text, message_content.MOST_TEXT)
            reply_to = parameters.identity("reply_to", self.reply_to)
            delay = message_content.delay_typing(self.delay_typing)
            envelope = self.envelope()
        self.log.debug("The text is: %s", text)

        def build(mark: Mark) -> Call[Any]:
            if envelope.quick:
                return envelope.quick_call({"text": text, "ref_id": reply_to})
            return sends.send_text(text, **envelope.send_to(mark, reply_to=reply_to, delay=delay))

        return self.deliver(context, envelope, build, delay=delay)


class WtsSendFileOperator(WtsMessageOperator):
    """Send a file to a contact or into a session: an image, an audio file, a video or a document.

    Calls ``send_image``, ``send_audio``, ``send_video`` or ``send_document``; with ``synchronous`` or ``reply_bot``
    the older ``send_message`` or ``send_message_sync``, in a session ``send_session_message_sync``, where the platform
    tells the kind by itself. A local file is uploaded first, in three steps; after a failure the upload may happen
    again, which does no harm, while the message goes out once.

    The parameters of all sends, from ``to`` to ``callback_url``, are told at
    :class:`~airflow_provider_wts.operators.message_base.WtsMessageOperator`. The rules of
    :class:`WtsSendTextOperator` about WhatsApp hold here, too.

    :param file: public http(s) address; or id of an uploaded file; or local path as the worker sees it, or any other
        address that ``ObjectStoragePath`` takes, such as ``s3://aws_default@bucket/invoices/118.pdf`` (templated).
    :param kind: ``image``, ``audio``, ``video`` or ``document``; told from the name of the file when left out, and
        needed for an id (templated).
    :param text: caption; an audio file has none (templated).
    :param file_name: name under which a local file is uploaded, which the customer sees (templated).
    :param mime_type: MIME type; told from the name when left out (templated).
    :param reply_to: id of the message that this one replies to (templated).
    :param delay_typing: seconds of "typing..." before it goes out, 0 to 25 (templated).
    :return: the send as the API answers it; ``id`` asks for its status.
    :raises AirflowFailException: when the input is impossible, the API refuses, the message failed at once, or nobody
        knows whether it was sent.
    :raises AirflowSkipException: when ``not_after``, ``send_window`` or ``exclude_tags`` says so.
    """

    never_blank: ClassVar[frozenset[str]] = WtsMessageOperator.never_blank | {"text"}
    prose: ClassVar[frozenset[str]] = frozenset({"text"})
    template_fields: Sequence[str] = (
        *WtsMessageOperator.template_fields,
        "file",
        "kind",
        "text",
        "file_name",
        "mime_type",
        "reply_to",
        "delay_typing",
    )

    def __init__(
        self,
        *,
        file: str,
        kind: str | None = None,
        text: Optional[str] = NOT_GIVEN,
        file_name: str | None = None,
        mime_type: str | None = None,
        reply_to: Optional[str] = NOT_GIVEN,
        delay_typing: Optional[int | str] = NOT_GIVEN,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.file = file
        self.kind = kind
        self.text = text
        self.file_name = file_name
        self.mime_type = mime_type
        self.reply_to = reply_to
        self.delay_typing = delay_typing

    def execute(self, context: Context) -> Any:
        """Upload the file where it is local, and send it.

        :param context: the task's context.
        """
        self.open_ledger(context)
        with readable_failures():
            first = is_first_try(context)
            file = OutgoingFile(self.hook, self.file, name=self.file_name, mime_type=self.mime_type, check=first)
            # The quick sends leave the kind to the platform.
            kind = None if self.is_quick else file.kind(self.kind)
            text = parameters.text("text", self.text)
            if kind == "audio" and not parameters.missing(text):
                raise WtsInvalidRequestError("text: an audio file has no caption. Send the text by a task of its own.")
            message_content.warn_if_long(self.log, "text", text, message_content.MOST_CAPTION)
            reply_to = parameters.identity("reply_to", self.reply_to)
            delay = message_content.delay_typing(self.delay_typing)
            envelope = self.envelope()

        def build(mark: Mark) -> Call[Any]:
            if kind is None:
                content: QuickContent = {"text": text, "ref_id": reply_to}
                file.put_into(content)
                return envelope.quick_call(content)
            send = envelope.send_to(mark, reply_to=reply_to, delay=delay)
            return media_call(kind, file.reference, text, send)

        return self.deliver(context, envelope, build, file=file, delay=delay)
