"""Operators that send to many recipients in one task: a chatbot, a template, or a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wts.api.call import NOT_GIVEN, NotGiven, Optional
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.operators import parameters
from airflow_provider_wts.operators.batch_base import WtsBatchOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_provider_wts.api.chatbots import BotOptions
    from airflow_provider_wts.api.sends import SendOptions
    from airflow_provider_wts.sending.recipients import Recipient
    from airflow_provider_wts.sending.ways import ChatbotWay, TemplateWay, TextWay

#: Requests at a time that an account's limits give work to.
_MOST_PARALLEL = 64


class WtsSendChatbotBatchOperator(WtsBatchOperator):
    """Start a chatbot for many recipients, 100 a request.

    Calls ``queue_chatbot_batch``. Where the recipients come from, and what the shared parameters from ``recipients``
    to ``max_failures`` do, is told at :class:`~airflow_provider_wts.operators.batch_base.WtsBatchOperator`.

    The platform queues the starts: a bot that ``skip_if_...`` keeps from starting counts as ``sent`` here.

    :param chatbot: name or key of the bot (templated).
    :param row_session_metadata: template of the object kept with the session.
    :param row_contact_metadata: template of the object kept with the contact.
    :param force_start_session: end the session in progress and open another (templated).
    :param skip_if_bot_in_execution: start nothing while another bot runs in the session (templated).
    :param skip_if_in_progress: start nothing while a session is in progress (templated).
    :param hidden_session: hide a session that this send opens until the contact answers (templated).
    :param mark_session: add an entry ``airflow_send_...`` to the session's metadata, by which a send is found again
        after a crash. Without it, the chunk that a crash hits stays undecided.
    :return: the counts.
    """

    template_fields: Sequence[str] = (
        *WtsBatchOperator.template_fields,
        "chatbot",
        "force_start_session",
        "skip_if_bot_in_execution",
        "skip_if_in_progress",
        "hidden_session",
    )

    def __init__(
        self,
        *,
        chatbot: str,
        row_session_metadata: Mapping[str, Any] | str | None = None,
        row_contact_metadata: Mapping[str, Any] | str | None = None,
        force_start_session: Optional[bool | str] = NOT_GIVEN,
        skip_if_bot_in_execution: Optional[bool | str] = NOT_GIVEN,
        skip_if_in_progress: Optional[bool | str] = NOT_GIVEN,
        hidden_session: Optional[bool | str] = NOT_GIVEN,
        mark_session: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.chatbot = chatbot
        self.row_session_metadata = row_session_metadata
        self.row_contact_metadata = row_contact_metadata
        self.force_start_session = force_start_session
        self.skip_if_bot_in_execution = skip_if_bot_in_execution
        self.skip_if_in_progress = skip_if_in_progress
        self.hidden_session = hidden_session
        self.mark_session = mark_session

    def way(self, chunk_size: int) -> ChatbotWay:
        """Return how the chatbot goes out.

        :param chunk_size: recipients of one request, where it takes many.
        """
        from airflow_provider_wts.sending.ways import ChatbotWay

        name = parameters.needed_name("chatbot", self.chatbot)
        names = ("force_start_session", "skip_if_bot_in_execution", "skip_if_in_progress", "hidden_session")
        flags = {name: parameters.flag(name, getattr(self, name)) for name in names}
        if flags["force_start_session"] is True and flags["skip_if_in_progress"] is True:
            raise WtsInvalidRequestError(
                "force_start_session: contradicts skip_if_in_progress; which of them wins is not documented. "
                "Set one of them."
            )
        options: BotOptions = {
            "force_start_session": flags["force_start_session"],
            "skip_if_bot_in_execution": flags["skip_if_bot_in_execution"],
            "skip_if_in_progress": flags["skip_if_in_progress"],
            "hidden_session": flags["hidden_session"],
        }
        callback_url = parameters.url("callback_url", self.callback_url)
        channel = self.hook.channel(parameters.filter_text("channel", self.channel) or None)
        return ChatbotWay(
            self.hook.names.chatbot(name),
            channel,
            options,
            request_size=chunk_size,
            callback_url=callback_url,
            mark_session=self.mark_session,
        )

    def row_templates(self) -> dict[str, Any]:
        """Return the templates of rows, by parameter."""
        return {
            **super().row_templates(),
            "session_metadata": self.row_session_metadata,
            "contact_metadata": self.row_contact_metadata,
        }

    def row_checks(self) -> dict[str, Callable[[Any], Any]]:
        """Return what checks the values of a row."""
        return {"session_metadata": _metadata("session_metadata"), "contact_metadata": _metadata("contact_metadata")}


class WtsSendTemplateBatchOperator(WtsBatchOperator):
    """Send a template to many recipients, 100 a request.

    Calls ``send_template_batch``. Where the recipients come from, and what the shared parameters from ``recipients``
    to ``max_failures`` do, is told at :class:`~airflow_provider_wts.operators.batch_base.WtsBatchOperator`. Here
    ``channel`` is needed, unless the connection has one.

    :param template: name or id of the template (templated).
    :param row_parameters: templates of the values by the name of the template's variable, such as
        ``{"nome": "{{ row.name }}"}``. Every row is checked against the template before anything is sent.
    :param row_file: template of the file of a template with media: public address, or id of an uploaded file.
    :param row_session_metadata: template of the object kept with the session.
    :param department: name or id of the department that gets the sessions (templated).
    :param user: name, id, e-mail address or phone number of the user who gets the sessions (templated).
    :param hidden_session: hide a session that this send opens until the contact answers (templated).
    :param force_start_session: end the session in progress and open another (templated).
    :param enable_bot: let the channel's bot wake when the contact answers in a session that this opens (templated).
    :param mark_session: add an entry ``airflow_send_...`` to the session's metadata, by which a send is found again
        after a crash, beside ``senderId``.
    :return: the counts.
    """

    template_fields: Sequence[str] = (
        *WtsBatchOperator.template_fields,
        "template",
        "department",
        "user",
        "hidden_session",
        "force_start_session",
        "enable_bot",
    )

    def __init__(
        self,
        *,
        template: str,
        row_parameters: Mapping[str, Any] | str | None = None,
        row_file: str | None = None,
        row_session_metadata: Mapping[str, Any] | str | None = None,
        department: str | None = None,
        user: str | None = None,
        hidden_session: Optional[bool | str] = NOT_GIVEN,
        force_start_session: Optional[bool | str] = NOT_GIVEN,
        enable_bot: Optional[bool | str] = NOT_GIVEN,
        mark_session: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.template = template
        self.row_parameters = row_parameters
        self.row_file = row_file
        self.row_session_metadata = row_session_metadata
        self.department = department
        self.user = user
        self.hidden_session = hidden_session
        self.force_start_session = force_start_session
        self.enable_bot = enable_bot
        self.mark_session = mark_session
        self._details: Mapping[str, Any] | None = None

    def way(self, chunk_size: int) -> TemplateWay:
        """Return how the template goes out.

        :param chunk_size: recipients of one request, where it takes many.
        """
        from airflow_provider_wts.api.answers import required
        from airflow_provider_wts.operators import message_content
        from airflow_provider_wts.sending.ways import TemplateWay

        name = parameters.needed_name("template", self.template)
        callback_url = parameters.url("callback_url", self.callback_url)
        channel = self.hook.channel(parameters.filter_text("channel", self.channel) or None)
        if channel is None:
            raise WtsInvalidRequestError(
                "channel: a template needs the channel that it goes out from. Give one here, for example "
                "'+55 11 4000-1234', or set it in the connection."
            )
        options = _session_options(self)
        self._details = self.hook.names.template_details(name, channel)
        if self._details is not None:
            message_content.check_sendable(self._details)
        return TemplateWay(
            str(required(self._details, "id", "list_templates")) if self._details else name,
            channel,
            options,
            request_size=chunk_size,
            callback_url=callback_url,
            mark_session=self.mark_session,
        )

    def row_templates(self) -> dict[str, Any]:
        """Return the templates of rows, by parameter."""
        return {
            **super().row_templates(),
            "parameters": self.row_parameters,
            "file": self.row_file,
            "session_metadata": self.row_session_metadata,
        }

    def row_checks(self) -> dict[str, Callable[[Any], Any]]:
        """Return what checks the values of a row."""
        return {"parameters": self._filling, "file": self._file, "session_metadata": _metadata("session_metadata")}

    def rendered(self, recipient: Recipient) -> str | None:
        """Return the template filled in; ``None`` where the list of templates does not show it.

        :param recipient: the recipient.
        """
        from airflow_provider_wts.operators import message_content

        if self._details is None:
            return None
        return message_content.filled_template(self._details, recipient.values.get("parameters"))

    def _file(self, value: Any) -> str | None:
        from airflow_provider_wts.operators import message_content

        found = _file(value)
        if self._details is not None:
            message_content.check_media(self._details, has_file=found is not None)
        return found

    def _filling(self, value: Any) -> Mapping[str, Any] | None:
        from airflow_provider_wts.operators import message_content

        filling = message_content.template_parameters("parameters", NOT_GIVEN if value is None else value)
        if self._details is not None:
            message_content.check_template(self._details, filling)
        return filling or None


class WtsSendTextBatchOperator(WtsBatchOperator):
    """Send a text to many recipients, one request each, some at a time, as fast as the account's limits allow.

    Calls ``send_text``: the API has no batch for texts, so 10,000 texts take over 20 minutes. Where the recipients come
    from, and what the shared parameters from ``recipients`` to ``max_failures`` do, is told at
    :class:`~airflow_provider_wts.operators.batch_base.WtsBatchOperator`.

    On an official WhatsApp channel a text reaches a contact only within 24 hours of its last message; for all others
    there are templates.

    :param row_text: template of the text, such as ``"Olá {{ row.name }}!"``; without it, the column ``text``.
    :param parallelism: requests at a time, 1 to 64.
    :param department: name or id of the department that gets the sessions (templated).
    :param user: name, id, e-mail address or phone number of the user who gets the sessions (templated).
    :param hidden_session: hide a session that this send opens until the contact answers (templated).
    :param force_start_session: end the session in progress and open another (templated).
    :param enable_bot: let the channel's bot wake when the contact answers in a session that this opens (templated).
    :param chunk_size: recipients of one page of the ledger, 1 to 100: so many are asked about, one by one, after a
        crash.
    :return: the counts.
    """

    template_fields: Sequence[str] = (
        *WtsBatchOperator.template_fields,
        "department",
        "user",
        "hidden_session",
        "force_start_session",
        "enable_bot",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = WtsBatchOperator.template_fields_renderers

    def __init__(
        self,
        *,
        row_text: str | None = None,
        parallelism: int = 16,
        department: str | None = None,
        user: str | None = None,
        hidden_session: Optional[bool | str] = NOT_GIVEN,
        force_start_session: Optional[bool | str] = NOT_GIVEN,
        enable_bot: Optional[bool | str] = NOT_GIVEN,
        chunk_size: int = 25,
        **kwargs: Any,
    ) -> None:
        super().__init__(chunk_size=chunk_size, **kwargs)
        self.row_text = row_text
        self._warned = False
        self.parallelism = parallelism
        self.department = department
        self.user = user
        self.hidden_session = hidden_session
        self.force_start_session = force_start_session
        self.enable_bot = enable_bot

    def way(self, chunk_size: int) -> TextWay:
        """Return how the texts go out.

        :param chunk_size: recipients of one request, where it takes many.
        """
        from airflow_provider_wts.sending.ways import TextWay

        parallelism = parameters.whole("parallelism", self.parallelism, least=1, most=_MOST_PARALLEL)
        callback_url = parameters.url("callback_url", self.callback_url)
        channel = self.hook.channel(parameters.filter_text("channel", self.channel) or None)
        return TextWay(channel, _session_options(self), parallelism=int(parallelism or 1), callback_url=callback_url)

    def row_templates(self) -> dict[str, Any]:
        """Return the templates of rows, by parameter."""
        return {**super().row_templates(), "text": self.row_text}

    def row_checks(self) -> dict[str, Callable[[Any], Any]]:
        """Return what checks the values of a row."""
        return {"text": self._text}

    def rendered(self, recipient: Recipient) -> str | None:
        """Return the text.

        :param recipient: the recipient.
        """
        return str(recipient.values["text"])

    def _text(self, value: Any) -> str:
        from airflow_provider_wts.operators import message_content

        found = message_content.needed_text("text", value)
        if len(found) > message_content.MOST_TEXT and not self._warned:
            # Once for all rows: their texts come from one template.
            self._warned = True
            message_content.warn_if_long(self.log, "text", found, message_content.MOST_TEXT)
        return found


def _session_options(operator: WtsSendTemplateBatchOperator | WtsSendTextBatchOperator) -> SendOptions:
    from airflow_provider_wts.operators import message_content

    options: SendOptions = {
        "hidden_session": parameters.flag("hidden_session", operator.hidden_session),
        "force_start_session": parameters.flag("force_start_session", operator.force_start_session),
        "enable_bot": parameters.flag("enable_bot", operator.enable_bot),
        "department": message_content.department(operator.department),
    }
    # Looked up last, because it may cost a call, and a mistake above should cost none.
    options["user"] = message_content.user(operator.user, operator.hook.names.user)
    return options


def _metadata(name: str) -> Callable[[Any], Any]:
    from airflow_provider_wts.campaigns.missing import without_missing

    def check(value: Any) -> Any:
        return None if parameters.missing(value) else without_missing(parameters.metadata(name, value))

    return check


def _file(value: Any) -> str | None:
    from airflow_provider_wts.hooks.names import is_uuid
    from airflow_provider_wts.operators.message_file import encoded_address

    found: str | NotGiven = parameters.filter_text("file", value)
    if not isinstance(found, str):
        return None
    if not is_uuid(found) and not found.lower().startswith(("http://", "https://")):
        raise WtsInvalidRequestError(
            "file: is neither a public address nor the id of an uploaded file; WtsUploadFileOperator uploads one."
        )
    return found if is_uuid(found) else encoded_address(found)
