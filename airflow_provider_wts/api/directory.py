"""Calls about an account's setup: channels, departments, agents, tags, portfolios, custom fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.wire import UNSET, Unset, given

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_wts.api.types import Agent, Channel, CustomField, DepartmentV2, PortfolioPage, Tag


def list_channels(*, channel_type: str | Unset = UNSET) -> Call[list[Channel]]:
    """List the account's own channels; one answer, not paged.

    :param channel_type: ``All``, ``Whatsapp``, ``Messenger`` or ``Instagram``.
    """
    return Call("list_channels", query=given(ChannelType=channel_type))


def list_departments() -> Call[list[DepartmentV2]]:
    """List the account's departments (teams); one answer, not paged."""
    return Call("list_departments")


def list_agents() -> Call[list[Agent]]:
    """List the account's users; one answer, not paged. Other calls refer to a user by ``userId``, not by ``id``."""
    return Call("list_agents")


def list_tags() -> Call[list[Tag]]:
    """List the tags of contacts; one answer, not paged."""
    return Call("list_tags")


def list_portfolios(*, include_details: Sequence[str] | Unset = UNSET) -> Call[PortfolioPage]:
    """List the account's portfolios, paged.

    :param include_details: ``Departments``, ``ContactCount``.
    """
    return Call("list_portfolios", query=given(IncludeDetails=include_details))


def list_custom_fields(
    *, entity_type: str | Unset = UNSET, nested_list: bool | Unset = UNSET
) -> Call[list[CustomField]]:
    """List definitions of custom fields; one answer, not paged.

    :param entity_type: ``CONTACT`` (the API's default) or ``PANEL``.
    :param nested_list: whether fields are inside their group; otherwise the list is flat.
    """
    return Call("list_custom_fields", query=given(EntityType=entity_type, NestedList=nested_list))
