"""Operators that list what a chatbot send needs: the account's bots and channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wts.operators import parameters
from airflow_provider_wts.operators.listing import WtsListOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.types import Channel, ChatbotPage


class WtsListChatbotsOperator(WtsListOperator):
    """List chatbots: all pages, inline or as a file.

    Calls ``list_chatbots``. A bot is started by its ``key``, not by its ``id``. What the shared parameters of a list
    do, from ``created_after`` to ``output_path``, is told at
    :class:`~airflow_provider_wts.operators.listing.WtsListOperator`.

    :param name: filter by name (templated).
    :param types: ``Reactive``, ``Automation``; one or a list (templated).
    :param publish_statuses: ``Not_Published``, ``Publishing``, ``Ready``, ``Failed``; one or a list (templated).
    :param automation_usages: ``Api``, ``Manual``, ``Campaign``, ``Sequence``; one or a list (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the bots, or the manifest of the file.
    :raises AirflowFailException: when the input is impossible, the API refuses, or the list is too large for XCom.
    """

    template_fields: Sequence[str] = (
        *WtsListOperator.template_fields,
        "name",
        "types",
        "publish_statuses",
        "automation_usages",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "types": "json",
        "publish_statuses": "json",
        "automation_usages": "json",
    }

    def __init__(
        self,
        *,
        name: str | None = None,
        types: Sequence[str] | str | None = None,
        publish_statuses: Sequence[str] | str | None = None,
        automation_usages: Sequence[str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.types = types
        self.publish_statuses = publish_statuses
        self.automation_usages = automation_usages

    def list_call(self) -> Call[ChatbotPage]:
        """Return the call with the filters."""
        from airflow_provider_wts.api import chatbots

        statuses = ("Not_Published", "Publishing", "Ready", "Failed")
        usages = ("Api", "Manual", "Campaign", "Sequence")
        return chatbots.list_chatbots(
            name=parameters.filter_text("name", self.name),
            types=parameters.filter_list("types", self.types, ("Reactive", "Automation")),
            publish_statuses=parameters.filter_list("publish_statuses", self.publish_statuses, statuses),
            automation_usages=parameters.filter_list("automation_usages", self.automation_usages, usages),
        )


class WtsListChannelsOperator(WtsListOperator):
    """List the account's own channels, inline or as a file.

    Calls ``list_channels``, which answers everything at once and takes neither bounds nor an order.

    :param channel_type: ``All``, ``Whatsapp``, ``Messenger`` or ``Instagram`` (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the channels, or the manifest of the file.
    :raises AirflowFailException: when the input is impossible, or the API refuses.
    """

    template_fields: Sequence[str] = (*WtsListOperator.template_fields, "channel_type")

    def __init__(self, *, channel_type: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channel_type = channel_type

    def list_call(self) -> Call[list[Channel]]:
        """Return the call with the filter."""
        from airflow_provider_wts.api import directory

        types = ("All", "Whatsapp", "Messenger", "Instagram")
        return directory.list_channels(channel_type=parameters.filter_choice("channel_type", self.channel_type, types))
