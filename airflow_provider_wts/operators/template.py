"""Operators for WhatsApp templates: send one, list them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wts import api
from airflow_provider_wts.api import parameters
from airflow_provider_wts.api.wire import UNSET, Missing
from airflow_provider_wts.hooks.errors import task_failures
from airflow_provider_wts.operators.listing import WtsListOperator
from airflow_provider_wts.operators.sending import WtsMessageOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.messages import QuickContent
    from airflow_provider_wts.api.sends import SendTemplate
    from airflow_provider_wts.api.types import TemplatePage
    from airflow_provider_wts.sending.key import Mark


class WtsListTemplatesOperator(WtsListOperator):
    """List templates: all pages, inline or as a file.

    Calls ``list_templates``. For the shared parameters, see :class:`WtsListOperator`.

    :param name: filter by name (templated).
    :param searchable_text: text to search for in them (templated).
    :param channel: name, ID, number or ``@handle`` of their channel (templated).
    :param approved_only: only approved ones (templated).
    :param archived: whether they are archived (templated).
    :param template_type: their use: ``QUICKREPLY``, ``ATTENDANCE``, ``CAMPAIGN``, ``SEQUENCE``, ``SCHEDULEDMESSAGE`` or
        ``AUTHENTICATION``. The ``type`` in the response uses other words (templated).
    :param include_details: details to add to each template: ``Params``, ``File``, ``Interactive``, ``All``; one or a
        list (templated).
    :return: the templates, or the manifest of the file.
    """

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
        uses = ("QUICKREPLY", "ATTENDANCE", "CAMPAIGN", "SEQUENCE", "SCHEDULEDMESSAGE", "AUTHENTICATION")
        filters: api.templates.TemplateFilters = {
            "name": parameters.filter_text("name", self.name),
            "searchable_text": parameters.filter_text("searchable_text", self.searchable_text),
            "approved_only": parameters.switch("approved_only", self.approved_only),
            "archived": parameters.switch("archived", self.archived),
            "template_type": parameters.filter_choice("template_type", self.template_type, uses),
            "include_details": parameters.details(self.include_details, ("All", "Params", "File", "Interactive")),
        }
        channel = parameters.filter_text("channel", self.channel)
        # Last, so that an invalid value above takes no request.
        filters["channel_id"] = parameters.looked_up(channel, self.hook.names.channel_id)
        return api.templates.list_templates(**filters)


class WtsSendTemplateOperator(WtsMessageOperator):
    """Send a template to a contact or into a session.

    Calls ``send_template``; with ``synchronous`` or ``reply_bot`` the older ``send_message`` or ``send_message_sync``,
    in a session ``send_session_message_sync``. In a session, ``send_template`` also needs the recipient and the
    channel. They are read from the session, which takes one or two extra requests.

    The parameters are checked against the template before anything is sent. The filled-in text is in the log at DEBUG
    only.

    For the parameters of all sends, from ``to`` to ``callback_url``, see :class:`WtsMessageOperator`. With ``to``,
    ``channel`` is required here or in the connection.

    :param template: name or ID of the template (templated).
    :param parameters: values by the name of the template's variable, an object or its JSON text; numbers become text
        (templated, deep).
    :param file: file of a template with media: public http(s) address, ID of an uploaded file, local path, or any
        ``ObjectStoragePath`` (templated).
    :param session_metadata: object stored with the session, or its JSON text (templated, deep).
    :param check_parameters: look up the template, and refuse parameters that do not match it; takes an extra request if
        the template is given by ID.
    :param mark_session: add an entry ``airflow_send_...`` to the session's metadata, so that the send can be found
        after a crash, in addition to ``sender_id``.
    :return: the send as the API returns it; use its ``id`` to read the status.
    """

    never_blank: ClassVar[frozenset[str]] = WtsMessageOperator.never_blank | {"parameters"}
    prose: ClassVar[frozenset[str]] = frozenset({"parameters"})
    not_templated = frozenset({"check_parameters", "mark_session"})

    def __init__(
        self,
        *,
        template: str,
        parameters: Missing[Mapping[str, Any] | str] = UNSET,
        file: str | None = None,
        session_metadata: Missing[Mapping[str, Any] | str] = UNSET,
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
        from airflow_provider_wts.hooks.context import is_first_try
        from airflow_provider_wts.hooks.files import OutgoingFile
        from airflow_provider_wts.hooks.names import checked_template

        self.open_ledger(context)
        with task_failures():
            name = parameters.needed_name("template", self.template)
            filling = api.templates.template_parameters("parameters", self.parameters)
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
                channel = api.templates.needed_channel(channel)
            template_id = checked_template(
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
                "file_id_or_url": UNSET if file is None else file.reference,
                "session_id": common.get("session_id", UNSET),
                "callback_url": common["callback_url"],
                "sender_id": common["sender_id"],
            }
            return api.sends.send_template(str(to), str(channel), template_id, **send)

        return self.deliver(context, envelope, build, file=file, by_metadata=self.mark_session)
