"""Resolves names to IDs, so that a DAG can use the names that WTS Chat shows.

A name is looked up in the API's list (all pages, once per hook), exactly first, then ignoring case. If none or several
match, the error lists the candidates. An ID is used as it is, without a request; only a chatbot's is looked up, because
the API expects the key, which looks like an ID.
"""

from __future__ import annotations

import logging
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api import chatbots, directory, panels, sequences, templates
from airflow_provider_wts.api.addresses import handle_of, is_handle, looks_like_number, number, recipient, same_person
from airflow_provider_wts.api.answers import required
from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError, WtsNameError, quoted
from airflow_provider_wts.api.wire import is_uuid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow.sdk.types import Logger

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.wire import Unset


log = logging.getLogger(__name__)

_MAX_CANDIDATES = 20


class Names:
    """Looks up names, and caches the lists.

    Methods take a name as WTS Chat shows it, or an ID. They raise ``WtsNameError`` when none or several items match.

    :param items: returns the items of a list call.
    """

    def __init__(self, items: Callable[[Call[Any]], Iterable[Any]]) -> None:
        self._items = items
        self._lists: dict[str, list[dict[str, Any]]] = {}

    def chatbot(self, name_or_key: str) -> str:
        """Return the key of a chatbot, which the API expects instead of the ID.

        :param name_or_key: name as WTS Chat shows it, key or ID. A UUID that is not in the list counts as a key, even
            if the list cannot be read.
        """
        text = name_or_key.strip()
        try:
            bots = self._list("chatbots", chatbots.list_chatbots())
        except WtsError as error:
            if not is_uuid(text):
                raise
            log.warning("chatbot: using %s as the key, because the chatbots cannot be listed: %s", text, error)
            return text
        if is_uuid(text):
            same = next((bot for bot in bots if _same(bot, text)), None)
            if same is None or any(_same(bot, text, "key") for bot in bots):
                return text
            bot = same
        else:
            bot = match("chatbot", text, bots, lambda item: [item.get("name")])
        key = bot.get("key")
        if not key:
            raise WtsNameError(
                f"The chatbot {quoted(name_or_key)} has no key. Nothing was sent. Publish it in WTS Chat first."
            )
        return str(key)

    def channel(self, text: str) -> str:
        """Return the number or handle of a channel of the account, the value of ``from`` in sends."""
        text = text.strip()
        if is_handle(text):
            return recipient(text, name="channel")
        if looks_like_number(text):
            return number(text, name="channel")
        channels = self._list("channels", directory.list_channels())
        if is_uuid(text):
            found = next((item for item in channels if _same(item, text)), None)
            if found is None:
                raise WtsNameError(_none("channel", text, channels, _channel_names))
        else:
            found = match("channel", text, channels, _channel_names)
        return _address(found, text)

    def channel_id(self, text: str) -> str:
        """Return the ID of a channel of the account, which lists use."""
        text = text.strip()
        if is_uuid(text):
            return text
        channels = self._list("channels", directory.list_channels())
        is_address = is_handle(text) or looks_like_number(text)
        found = [item for item in channels if is_address and _is_at(item, self.channel(text))]
        channel = found[0] if len(found) == 1 else match("channel", text, channels, _channel_names)
        return str(required(channel, "id", "list_channels"))

    def department(self, name_or_id: str) -> str:
        """Return the ID of a department."""
        return self._id("department", name_or_id, directory.list_departments)

    def user(self, text: str) -> str:
        """Return the ID that other calls use for a user: the ``userId`` of ``list_agents``, not its ``id``."""

        def users() -> list[dict[str, Any]]:
            agents = self._list("users", directory.list_agents())
            return [{**agent, "id": agent["userId"]} for agent in agents if agent.get("userId")]

        return _id_of("user", text, users, "name", "email", by="list_agents")

    def tag(self, name_or_id: str) -> str:
        """Return the ID of a tag of contacts."""
        return self._id("tag", name_or_id, directory.list_tags)

    def existing_tag(self, name_or_id: str) -> str:
        """Return the ID of a tag of contacts as the account lists it; an ID is also looked up."""
        wanted = self.tag(name_or_id)
        tags = self._list("tags", directory.list_tags())
        found = next((str(tag["id"]) for tag in tags if _same(tag, wanted)), None)
        if found is None:
            raise WtsNameError(_none("tag", name_or_id, tags, lambda item: [item.get("name")]))
        return found

    def sequence(self, name_or_id: str) -> str:
        """Return the ID of a sequence."""
        return self._id("sequence", name_or_id, sequences.list_sequences)

    def portfolio(self, name_or_id: str) -> str:
        """Return the ID of a portfolio."""
        return self._id("portfolio", name_or_id, directory.list_portfolios)

    @cached_property
    def panels(self) -> PanelNames:
        """Looks up panels, and names within a panel."""
        return PanelNames(self._list)

    def template(self, text: str, channel: str | None = None) -> str:
        """Return the ID of a template. These IDs are plain text; a UUID is used as it is.

        :param text: ID, or name as WTS Chat shows it; an ID takes precedence over another template's name.
        :param channel: number or handle of a channel of the account; distinguishes templates of the same name.
        """
        if is_uuid(text):
            return text.strip()
        return str(required(self._template(text, channel), "id", "list_templates"))

    def template_details(self, text: str, channel: str | None = None) -> dict[str, Any] | None:
        """Return a template with its variables, or ``None`` for a UUID that is not in the list.

        :param channel: number or handle of a channel of the account; distinguishes templates of the same name.
        """
        try:
            return self._template(text, channel)
        except WtsNameError:
            if is_uuid(text):
                return None
            raise

    def _template(self, text: str, channel: str | None) -> dict[str, Any]:
        listed = self._list("templates", templates.list_templates(include_details=["Params", "File"]))
        wanted = text.strip()
        if (by_id := next((item for item in listed if _same(item, wanted)), None)) is not None:
            return by_id

        def names_of(item: dict[str, Any]) -> list[str | None]:
            return [item.get("name"), item.get("internalName")]

        usable = [item for item in listed if not item.get("archived")]
        if channel is not None and sum(wanted.casefold() in map(_folded, names_of(item)) for item in usable) > 1:
            # Each WhatsApp number of an account has its own templates, often with the same names.
            own = {
                item.get("id") for item in self._list("channels", directory.list_channels()) if _is_at(item, channel)
            }
            usable = [item for item in usable if item.get("channelId") in own] or usable
        return match("template", text, usable, names_of)

    def custom_field(self, name_or_key: str, entity: str = "CONTACT") -> str:
        """Return the key of a custom field. The API drops unknown keys silently, so they are refused here.

        :param name_or_key: key, or name as WTS Chat shows it; a key takes precedence over another field's name.
        :param entity: ``CONTACT`` or ``PANEL``.
        """
        fields = self._list(f"custom fields of {entity}", directory.list_custom_fields(entity_type=entity))
        return field_key(name_or_key, fields)

    def _id(self, what: str, name_or_id: str, listed: Callable[[], Call[Any]]) -> str:
        call = listed()
        return _id_of(what, name_or_id, lambda: self._list(f"{what}s", call), "name", by=call.operation_id)

    def _list(self, what: str, call: Call[Any]) -> list[dict[str, Any]]:
        if what not in self._lists:
            self._lists[what] = [item for item in self._items(call) if isinstance(item, dict)]
        return self._lists[what]


def match(
    what: str, text: str, items: list[dict[str, Any]], names_of: Callable[[dict[str, Any]], Iterable[str | None]]
) -> dict[str, Any]:
    """Return the one item with a name.

    :param what: the kind of item, for errors.
    :param names_of: returns the names of an item.
    """
    wanted = text.strip()
    if not wanted:
        raise WtsInvalidRequestError(f"The {what} is empty. Give its name or ID.")
    exact = [item for item in items if wanted in names_of(item)]
    folded = wanted.casefold()
    found = exact or [item for item in items if folded in map(_folded, names_of(item))]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(str(item.get("key") or item.get("id")) for item in found[:_MAX_CANDIDATES])
        raise WtsNameError(f"{len(found)} {what}s are called {quoted(wanted)}. Use the ID instead, one of: {ids}.")
    raise WtsNameError(_none(what, wanted, items, names_of))


def _id_of(what: str, text: str, listed: Callable[[], list[dict[str, Any]]], *names: str, by: str) -> str:
    """Return the ID of the one item with a name in some fields; an ID is used as it is, without a request."""
    if is_uuid(text):
        return text.strip()
    return str(required(match(what, text, listed(), lambda item: [item.get(name) for name in names]), "id", by))


def field_key(name_or_key: str, fields: list[dict[str, Any]]) -> str:
    """Return the key of a custom field.

    :param fields: the definitions; groups among them are ignored, because they have no values.
    """
    usable = [field for field in fields if field.get("key") and field.get("type") != "GROUP"]
    if any(field["key"] == name_or_key.strip() for field in usable):
        return name_or_key.strip()
    return str(match("custom field", name_or_key, usable, lambda field: [field["key"], field.get("name")])["key"])


def keyed(values: Mapping[str, Any], key_of: Callable[[str], str], *, name: str = "custom_fields") -> dict[str, Any]:
    """Return custom field values by key.

    :param values: values by key or name.
    :param key_of: such as :meth:`Names.custom_field`.
    """
    found: dict[str, Any] = {}
    for text, value in values.items():
        key = key_of(text)
        if key in found:
            raise WtsInvalidRequestError(
                f"{name}: {quoted(text)} is the field {quoted(key)}, which is given twice. Give one of them."
            )
        found[key] = value
    return found


def _none(
    what: str, text: str, items: list[dict[str, Any]], names_of: Callable[[dict[str, Any]], Iterable[str | None]]
) -> str:
    known = sorted({name for item in items for name in names_of(item) if name}, key=str.casefold)
    listed = ", ".join(map(repr, known[:_MAX_CANDIDATES])) + (" and more" if len(known) > _MAX_CANDIDATES else "")
    return f"There is no {what} {quoted(text)} in this account. It has: {listed or 'none'}."


def _channel_names(channel: dict[str, Any]) -> list[str | None]:
    identity = channel.get("identity") or {}
    return [identity.get("displayName"), identity.get("humanId"), channel.get("numberFormatted")]


def _address(channel: dict[str, Any], text: str) -> str:
    if channel.get("number"):
        return str(channel["number"])
    if handle := _handle(channel):
        return handle
    raise WtsNameError(f"The channel {quoted(text)} has no number or handle, so nothing can be sent from it.")


def _is_at(channel: dict[str, Any], address: str) -> bool:
    """Whether a channel has a number or handle, in any spelling."""
    shown = _handle(channel) if is_handle(address) else str(channel.get("number") or "")
    return same_person(shown, address)


def _handle(channel: dict[str, Any]) -> str:
    return handle_of((channel.get("identity") or {}).get("humanId"))


def _folded(name: str | None) -> str:
    return (name or "").casefold()


class PanelNames:
    """Looks up names within panels; see :class:`Names`.

    :param listed: returns all items of a list call, cached under a name.
    """

    def __init__(self, listed: Callable[[str, Call[Any]], list[dict[str, Any]]]) -> None:
        self._listed = listed

    def panel(self, text: str) -> str:
        """Return the ID of a panel.

        :param text: title or key as WTS Chat shows it, or ID.
        """
        return _id_of("panel", text, lambda: _unarchived(self._panels()), "title", "key", by="list_panels")

    def panel_of_step(self, step_id: str) -> str:
        """Return the ID of the panel that a step belongs to."""
        for panel in self._panels():
            if any(_same(step, step_id) for step in panel.get("steps") or []):
                return str(required(panel, "id", "list_panels"))
        raise WtsNameError(f"There is no step with the ID {step_id} in this account.")

    def step(self, text: str, panel_id: str) -> str:
        """Return the ID of a step."""
        return _id_of(
            "step", text, lambda: _unarchived(self._panel(panel_id).get("steps") or []), "title", by="list_panels"
        )

    def tag(self, text: str, panel_id: str) -> str:
        """Return the ID of a panel's tag; tags of contacts are different ones."""
        return _id_of("panel tag", text, lambda: self._panel(panel_id).get("tags") or [], "name", by="list_panels")

    def custom_fields(self, values: Mapping[str, Any], panel_id: str) -> dict[str, Any]:
        """Return the values of custom fields by key. The API drops unknown keys silently, so they are refused here.

        :param values: values by key, or by name as WTS Chat shows it; a key takes precedence over another field's name.
        :param panel_id: the panel whose cards have the fields.
        """
        found = self._listed(f"custom fields of {panel_id}", panels.list_panel_custom_fields(panel_id))
        return keyed(values, lambda text: field_key(text, found))

    def lost_reason(self, text: str, panel_id: str) -> str:
        """Return the ID of a reason for losing a card.

        :param panel_id: a panel of type ``SALES``.
        """
        call = panels.list_panel_lost_reasons(panel_id)
        reasons = partial(self._listed, f"lost reasons of {panel_id}", call)
        return _id_of("lost reason", text, reasons, "description", by=call.operation_id)

    def _panel(self, panel_id: str) -> dict[str, Any]:
        for panel in self._panels():
            if _same(panel, panel_id):
                return panel
        raise WtsNameError(f"There is no panel with the ID {panel_id} in this account.")

    def _panels(self) -> list[dict[str, Any]]:
        return self._listed("panels", panels.list_panels(include_details=["Steps", "Tags"]))


def _same(item: dict[str, Any], identity: str, by: str = "id") -> bool:
    return str(item.get(by) or "").lower() == identity.strip().lower()


def _unarchived(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Omit archived items, as WTS Chat's own drop-downs do; their IDs still work."""
    return [item for item in items if not item.get("archived")]


def checked_template(
    names: Names,
    template: str,
    channel: str | None,
    filling: Mapping[str, str | None] | Unset | None,
    *,
    has_file: bool,
    check: bool,
    log: Logger,
) -> str:
    """Return the ID of a template, after checking its parameters if that is requested and possible.

    :param template: name or ID.
    :param channel: number or handle to send from.
    :param filling: values by the name of the variable.
    :param has_file: whether a file is sent with it.
    :param check: whether to check the parameters, the file and the status.
    :param log: gets the rendered text, at DEBUG.
    :raises WtsInvalidRequestError: when there is no such template, it is not approved, or the parameters or the file
        do not match it.
    """
    if not check:
        return names.template(template, channel)
    try:
        found = names.template_details(template, channel)
    except WtsError as error:
        if isinstance(error, WtsInvalidRequestError) or not is_uuid(template):
            raise
        # An ID needs no lookup, so a list that fails must not prevent the message.
        log.warning("The parameters of the template are not checked: %s", error)
        return template.strip()
    if found is None:
        log.warning("The list of templates does not include this ID, so its parameters are not checked.")
        return template.strip()
    templates.check_sendable(found)
    templates.check_media(found, has_file=has_file)
    templates.check_template(found, filling)
    log.debug("The template filled in: %s", templates.filled_template(found, filling))
    return str(required(found, "id", "list_templates"))
