"""Calls about who and what an account has: channels, departments, agents, tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_wts.api.call import NOT_GIVEN, Call, NotGiven, given

if TYPE_CHECKING:
    from airflow_provider_wts.api.types import Channel


def list_channels(*, channel_type: str | NotGiven = NOT_GIVEN) -> Call[list[Channel]]:
    """List the account's own channels; one answer, not paged.

    :param channel_type: ``All``, ``Whatsapp``, ``Messenger`` or ``Instagram``.
    """
    return Call("list_channels", query=given(ChannelType=channel_type))
