"""Calls about templates, the prepared texts with which a WhatsApp conversation may be opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.window import WINDOW, Window, given_as

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_wts.api.call import NotGiven
    from airflow_provider_wts.api.types import TemplatePage


class TemplateFilters(Window, total=False):
    """Which templates a list answers; everything may be left out, and what is given must all hold.

    ``archived``: whether they are archived. ``name``: their name. ``searchable_text``: text to search for.
    ``channel_id``: their channel. ``approved_only``: only those that may be sent. ``template_type``: their use:
    ``QUICKREPLY``, ``ATTENDANCE``, ``CAMPAIGN``, ``SEQUENCE``, ``SCHEDULEDMESSAGE``, ``AUTHENTICATION``.
    ``include_details``: ``All``, ``Params``, ``File``, ``Interactive``.
    """

    archived: bool | NotGiven
    name: str | NotGiven
    searchable_text: str | NotGiven
    channel_id: str | NotGiven
    approved_only: bool | NotGiven
    template_type: str | NotGiven
    include_details: Sequence[str] | NotGiven


_FILTERS = {
    "archived": "Archived",
    "name": "Name",
    "searchable_text": "SearchableText",
    "channel_id": "ChannelId",
    "approved_only": "ApprovedOnly",
    "template_type": "Type",
    "include_details": "IncludeDetails",
}


def list_templates(**filters: Unpack[TemplateFilters]) -> Call[TemplatePage]:
    """List templates, paged.

    :param filters: see :class:`TemplateFilters`, and :class:`~airflow_provider_wts.api.window.Window` for the bounds
        on creation and update, and the order.
    """
    return Call("list_templates", query=given_as({**_FILTERS, **WINDOW}, filters))
