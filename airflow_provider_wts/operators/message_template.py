"""Operators that send a template, now or at a moment that is to come."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_wts.api.call import NOT_GIVEN, Optional, given
from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError
from airflow_provider_wts.hooks.context import is_first_try
from airflow_provider_wts.hooks.failures import readable_failures
from airflow_provider_wts.operators import message_content, parameters
from airflow_provider_wts.operators.message_base import WtsMessageOperator
from airflow_provider_wts.operators.message_file import OutgoingFile
from airflow_provider_wts.operators.sending import WtsSendingOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context
    from airflow.sdk.types import Logger

    from airflow_provider_wts.api.call import Call, NotGiven
    from airflow_provider_wts.api.messages import QuickContent
    from airflow_provider_wts.api.sends import SendTemplate
    from airflow_provider_wts.hooks.names import Names
    from airflow_provider_wts.sending.key import Mark

_CHANNEL_NEEDED = (
    "channel: a template needs the channel that it goes out from. Give one here, for example '+55 11 4000-1234', or "
    "set it in the connection."
)


class WtsSendTemplateOperator(WtsMessageOperator):
    """Send a template to a contact or into a session.

    Calls ``send_template``; with ``synchronous`` or ``reply_bot`` the older ``send_message`` or ``send_message_sync``,
    in a session ``send_session_message_sync``. ``send_template`` needs the recipient and the channel in a session,
    too; they are read from the session, which costs a call or two.

    Before it goes out, the parameters are checked against the template, and the log shows the text with the parameters
    filled in, at DEBUG only.

    The parameters of all sends, from ``to`` to ``callback_url``, are told at
    :class:`~airflow_provider_wts.operators.message_base.WtsMessageOperator`. Here ``channel`` is needed with ``to``,
    unless the connection has one.

    :param template: name or id of the template (templated).
    :param parameters: values by the name of the template's variable, or the object as JSON text; numbers become text
        (templated, deep).
    :param file: file of a template with media: public http(s) address, id of an uploaded file, local path, or any
        other address that ``ObjectStoragePath`` takes (templated).
    :param session_metadata: object kept with the session, or the object as JSON text (templated, deep).
    :param check_parameters: look the template up and refuse parameters that do not fit it; costs a call for a template
        that is given by its id.
    :param mark_session: add an entry ``airflow_send_...`` to the session's metadata, by which the send is found again
        after a crash, beside ``sender_id``.
    :return: the send as the API answers it; ``id`` asks for its status.
    :raises AirflowFailException: when the input is impossible, the API refuses, the message failed at once, or nobody
        knows whether it was sent.
    :raises AirflowSkipException: when ``not_after``, ``send_window`` or ``exclude_tags`` says so.
    """

    never_blank: ClassVar[frozenset[str]] = WtsMessageOperator.never_blank | {"parameters"}
    prose: ClassVar[frozenset[str]] = frozenset({"parameters"})
    template_fields: Sequence[str] = (
        *WtsMessageOperator.template_fields,
        "template",
        "parameters",
        "file",
        "session_metadata",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"parameters": "json", "session_metadata": "json"}

    def __init__(
        self,
        *,
        template: str,
        parameters: Optional[Mapping[str, Any] | str] = NOT_GIVEN,
        file: str | None = None,
        session_metadata: Optional[Mapping[str, Any] | str] = NOT_GIVEN,
        check_parameters: bool = True,
        mark_session: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.template = template
        self.parameters = parameters
        self.file = file
        self.session_metadata = session_metadata
        self.check_parameters = check_parameters
        self.mark_session = mark_session

    def execute(self, context: Context) -> Any:
        """Send the template.

        :param context: the task's context.
        """
        from airflow_provider_wts.api import sends

        self.open_ledger(context)
        with readable_failures():
            name = parameters.needed_name("template", self.template)
            filling = message_content.template_parameters("parameters", self.parameters)
            metadata = parameters.metadata("session_metadata", self.session_metadata)
            file = None
            if not parameters.missing(self.file):
                file = OutgoingFile(self.hook, self.file, check=is_first_try(context))
            envelope = self.envelope()
            to, channel = envelope.to, envelope.channel
            if not envelope.quick:
                if envelope.session_id is not None:
                    to = self.session_contact(envelope.session_id)
                    channel = channel or self.session_channel(envelope.session_id)
                if channel is None:
                    raise WtsInvalidRequestError(_CHANNEL_NEEDED)
            template_id = looked_up(
                self.hook.names,
                name,
                channel,
                filling,
                has_file=file is not None,
                check=self.check_parameters,
                log=self.log,
            )

        def build(mark: Mark) -> Call[Any]:
            if envelope.quick:
                content: QuickContent = {"template_id": template_id, "parameters": filling}
                if file is not None:
                    file.put_into(content)
                return envelope.quick_call(content)
            common = envelope.send_to(mark)
            send: SendTemplate = {
                **envelope.options,
                "parameters": filling,
                "session_metadata": mark.metadata(metadata) if self.mark_session else metadata,
                "file_id_or_url": NOT_GIVEN if file is None else file.reference,
                "session_id": common.get("session_id", NOT_GIVEN),
                "callback_url": common["callback_url"],
                "sender_id": common["sender_id"],
            }
            return sends.send_template(str(to), str(channel), template_id, **send)

        return self.deliver(context, envelope, build, file=file, by_metadata=self.mark_session)


class WtsScheduleMessageOperator(WtsSendingOperator):
    """Schedule a template or a chatbot for a moment that is to come.

    Calls ``create_scheduled_message``. The feature has to be enabled for the account. ``not_after`` and
    ``send_window`` hold for the moment for which it is scheduled: outside of them the task is skipped. ``exclude_tags``
    and ``exclude_blocked`` look at the contact now.

    Such a call leaves no mark at the API: where its answer is lost, the ledger alone knows of it, and ``on_unknown``
    decides.

    :param to: recipient: phone number in any usual spelling; a number without a country code is read as Brazilian
        (templated).
    :param scheduling: when it goes out: an aware datetime, or ISO 8601 text with an offset; not in the past
        (templated).
    :param template: name or id of a template; exactly one of this and ``chatbot`` (templated).
    :param parameters: values by the name of the template's variable, or the object as JSON text; numbers become text
        (templated, deep).
    :param file: file of a template with media: public http(s) address, id of an uploaded file, local path, or any
        other address that ``ObjectStoragePath`` takes (templated).
    :param chatbot: name or key of a chatbot (templated).
    :param channel: channel to send from: its name, id, number or ``@handle``; without it the connection's channel,
        and without that the platform picks one (templated).
    :param department: name or id of the department that gets the session. Without it the platform takes the default
        one, and refuses where that does not serve the channel (templated).
    :param hidden_session: hide a session that this send opens until the contact answers (templated).
    :param check_parameters: look the template up and refuse parameters that do not fit it.
    :param kwargs: see :class:`~airflow_provider_wts.operators.sending.WtsSendingOperator`: ``dry_run``,
        ``not_after``, ``send_window``, ``exclude_tags``, ``on_unknown``, ``on_clear``.
    :return: the scheduled message; ``id`` cancels it.
    :raises AirflowFailException: when the input is impossible, the API refuses, or nobody knows whether it was
        scheduled.
    :raises AirflowSkipException: when ``not_after``, ``send_window`` or ``exclude_tags`` says so.
    """

    never_blank: ClassVar[frozenset[str]] = WtsSendingOperator.never_blank | {"parameters"}
    prose: ClassVar[frozenset[str]] = frozenset({"parameters"})
    template_fields: Sequence[str] = (
        *WtsSendingOperator.template_fields,
        "to",
        "scheduling",
        "template",
        "parameters",
        "file",
        "chatbot",
        "channel",
        "department",
        "hidden_session",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"parameters": "json"}

    def __init__(
        self,
        *,
        to: str,
        scheduling: datetime | str,
        template: str | None = None,
        parameters: Optional[Mapping[str, Any] | str] = NOT_GIVEN,
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
        """Schedule it.

        :param context: the task's context.
        """
        from airflow_provider_wts.api import scheduled

        self.open_ledger(context)
        with readable_failures():
            moment = self._moment()
            # A later try may find the moment past, and that it was scheduled in time.
            first = is_first_try(context)
            if first:
                _refuse_past(moment)
            schedule, file = self._schedule(check_file=first)
            to = self.hook.recipient(self.to)
            self._look_up(schedule, has_file=file is not None)
        schedule["scheduling"] = moment

        def build(mark: Mark) -> Call[Any]:
            if file is not None:
                schedule["file_url" if file.is_address else "file_id"] = file.reference
            return scheduled.create_scheduled_message(to, **schedule)

        upload = None if file is None else file.upload
        answer = self.send_once(context, recipient=to, build=build, trace=None, prepare=upload)
        if "dry_run" not in answer:
            self.log.info("Scheduled message %s for %s.", answer.get("id"), moment)
        return answer

    def _moment(self) -> str:
        moment = parameters.filter_moment("scheduling", self.scheduling)
        if not isinstance(moment, str):
            raise WtsInvalidRequestError("scheduling: is empty. A good value is '2026-12-24T10:00:00-03:00'.")
        return moment

    def _schedule(self, *, check_file: bool) -> tuple[dict[str, Any], OutgoingFile | None]:
        if parameters.missing(self.template) == parameters.missing(self.chatbot):
            raise WtsInvalidRequestError("template, chatbot: give exactly one of them.")
        filling = message_content.template_parameters("parameters", self.parameters)
        file = None
        if not parameters.missing(self.file):
            file = OutgoingFile(self.hook, self.file, check=check_file)
        if parameters.missing(self.template) and (filling or file is not None):
            raise WtsInvalidRequestError("parameters, file: they belong to a template, and a chatbot takes none.")
        schedule = given(
            parameters=filling,
            department=message_content.department(self.department),
            hidden_session=parameters.switch("hidden_session", self.hidden_session),
        )
        return schedule, file

    def _look_up(self, schedule: dict[str, Any], *, has_file: bool) -> None:
        channel = self.hook.channel(parameters.filter_text("channel", self.channel) or None)
        if channel is not None:
            schedule["from_"] = channel
        if parameters.missing(self.template):
            schedule["scheduled_type"] = "CHATBOT"
            schedule["bot_key"] = self.hook.names.chatbot(parameters.needed_name("chatbot", self.chatbot))
            return
        schedule["scheduled_type"] = "TEMPLATE"
        schedule["template_id"] = looked_up(
            self.hook.names,
            parameters.needed_name("template", self.template),
            channel,
            schedule.get("parameters"),
            has_file=has_file,
            check=self.check_parameters,
            log=self.log,
        )

    def _opening(self, recipient: str, now: datetime) -> datetime:
        """Return ``now``, unless the moment for which it is scheduled is a wrong one for this recipient."""
        from airflow_provider_wts.sending import care

        moment = self._moment()
        _refuse_past(moment)
        planned = datetime.fromisoformat(moment)
        last = care.deadline(self.not_after)
        if last is not None and planned > last:
            raise AirflowSkipException(f"Nothing was scheduled: {moment} is after not_after, {last.isoformat()}.")
        if self.send_window and care.SendWindow.read(self.send_window).next_opening(planned) > planned:
            raise AirflowSkipException(f"Nothing was scheduled: {moment} is outside of send_window.")
        spared = care.reason_to_spare(
            self.hook,
            recipient,
            exclude_tags=care.tag_list(self.exclude_tags),
            exclude_blocked=self.spares_blocked,
        )
        if spared:
            raise AirflowSkipException(f"Nothing was scheduled: {spared}.")
        return now


def looked_up(
    names: Names,
    template: str,
    channel: str | None,
    filling: Mapping[str, str | None] | NotGiven | None,
    *,
    has_file: bool,
    check: bool,
    log: Logger,
) -> str:
    """Return the id of a template, after a check of its parameters where that is wanted and possible.

    :param names: looks it up.
    :param template: name or id.
    :param channel: number or handle that it goes out from.
    :param filling: values by the name of the variable.
    :param has_file: whether a file goes with it.
    :param check: whether to check the parameters, the file and the status.
    :param log: where the filled-in text goes, at DEBUG.
    :raises WtsInvalidRequestError: when there is no such template, it is not approved, or the parameters or the file
        do not fit it.
    """
    from airflow_provider_wts.hooks.names import is_uuid

    if not check:
        return names.template(template, channel)
    try:
        found = names.template_details(template, channel)
    except WtsInvalidRequestError:
        raise
    except WtsError as error:
        if not is_uuid(template):
            raise
        # An id needs no look-up, and a list that fails must not hold up the message.
        log.warning("The parameters of the template are not checked: %s", error)
        return template.strip()
    if found is None:
        log.warning("The list of templates does not show this id, so its parameters are not checked.")
        return template.strip()
    message_content.check_sendable(found)
    message_content.check_media(found, has_file=has_file)
    message_content.check_template(found, filling)
    log.debug("The template filled in: %s", message_content.filled_template(found, filling))
    from airflow_provider_wts.api.answers import required

    return str(required(found, "id", "list_templates"))


def _refuse_past(moment: str) -> None:
    if datetime.fromisoformat(moment) <= datetime.now(UTC):
        raise WtsInvalidRequestError(f"scheduling: {moment} is past. Give a moment that is to come.")
