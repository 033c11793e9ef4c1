"""What the operators that write a card share: its content, checked, and names become ids."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wts.api.call import NOT_GIVEN, NotGiven, Optional
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.operators import parameters
from airflow_provider_wts.operators.base import WtsOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from airflow_provider_wts.api import panels
    from airflow_provider_wts.api.types import PanelCardV2
    from airflow_provider_wts.hooks.panel_names import PanelNames

CARD_STATUSES = ("OPEN", "WON", "LOST", "ARCHIVED")
EXAMPLE_CARD = "{{ ti.xcom_pull(task_ids='create_card')['id'] }}"

_MOST_POSITION = 2**31 - 1


class WtsCardWriter(WtsOperator):
    """Base of the operators that give a card its content.

    What is left out is not sent; ``None`` is sent as ``null``, and ``0``, ``""`` and ``[]`` go out as they are.

    :param panel: title, key or id of the panel in which names are looked up (templated).
    :param step: title or id of a step (templated).
    :param title: up to 500 characters (templated).
    :param description: up to 8,000 characters (templated).
    :param position: place inside the step, 0 or more (templated).
    :param due_date: an aware datetime, or ISO 8601 text with an offset (templated).
    :param responsible_user: name, e-mail address or id of the user in charge (templated).
    :param tags: names or ids of tags of the panel (templated).
    :param tag_names: names of tags, sent as they stand (templated).
    :param contacts: ids or phone numbers of contacts (templated).
    :param session_id: id of the session that the card is about (templated).
    :param monetary_amount: value of the card (templated).
    :param custom_fields: values by the key or the name of a custom field of the panel (templated, deep).
    :param metadata: object kept with the card (templated, deep).
    """

    prose: ClassVar[frozenset[str]] = frozenset({"title", "description", "custom_fields"})
    template_fields: Sequence[str] = (
        *WtsOperator.template_fields,
        "panel",
        "step",
        "title",
        "description",
        "position",
        "due_date",
        "responsible_user",
        "tags",
        "tag_names",
        "contacts",
        "session_id",
        "monetary_amount",
        "custom_fields",
        "metadata",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "description": "md",
        "tags": "json",
        "tag_names": "json",
        "contacts": "json",
        "custom_fields": "json",
        "metadata": "json",
    }

    def __init__(
        self,
        *,
        panel: str | NotGiven | None = NOT_GIVEN,
        step: Optional[str] = NOT_GIVEN,
        title: Optional[str] = NOT_GIVEN,
        description: Optional[str] = NOT_GIVEN,
        position: Optional[float | str] = NOT_GIVEN,
        due_date: Optional[datetime | str] = NOT_GIVEN,
        responsible_user: Optional[str] = NOT_GIVEN,
        tags: Optional[Sequence[str] | str] = NOT_GIVEN,
        tag_names: Optional[Sequence[str] | str] = NOT_GIVEN,
        contacts: Optional[Sequence[str] | str] = NOT_GIVEN,
        session_id: Optional[str] = NOT_GIVEN,
        monetary_amount: Optional[float | str] = NOT_GIVEN,
        custom_fields: Optional[Mapping[str, Any] | str] = NOT_GIVEN,
        metadata: Optional[Mapping[str, Any] | str] = NOT_GIVEN,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.panel = panel
        self.step = step
        self.title = title
        self.description = description
        self.position = position
        self.due_date = due_date
        self.responsible_user = responsible_user
        self.tags = tags
        self.tag_names = tag_names
        self.contacts = contacts
        self.session_id = session_id
        self.monetary_amount = monetary_amount
        self.custom_fields = custom_fields
        self.metadata = metadata

    @property
    def panel_names(self) -> PanelNames:
        """Looks up names within panels."""
        return self.hook.names.panels

    @cached_property
    def panel_id(self) -> str:
        """The panel in which names are looked up; asked for only where a name has to be."""
        if not parameters.missing(self.panel):
            return self.panel_names.panel(parameters.needed_name("panel", self.panel))
        return self.own_panel()

    def own_panel(self) -> str:
        """Return the panel to look names up in where the user gave none."""
        raise NotImplementedError

    def checked_content(self) -> panels.CardContent:
        """Return the content, checked as far as that needs no call: a mistake in it should cost none.

        :raises WtsInvalidRequestError: when a parameter is impossible.
        """
        tags, tag_names = parameters.texts("tags", self.tags), parameters.texts("tag_names", self.tag_names)
        if tags is not NOT_GIVEN and tag_names is not NOT_GIVEN:
            raise WtsInvalidRequestError("tag_names: the API ignores it beside tags. Give one of them.")
        contacts = parameters.texts("contacts", self.contacts)
        if isinstance(contacts, list):
            contacts = [checked_contact(f"contacts[{index}]", contact) for index, contact in enumerate(contacts)]
        return {
            "description": parameters.bounded_text("description", self.description, most=8000),
            "position": parameters.number("position", self.position, least=0, most=_MOST_POSITION),
            "due_date": parameters.moment("due_date", self.due_date),
            "responsible_user_id": parameters.named("responsible_user", self.responsible_user),
            "tag_ids": tags,
            "tag_names": tag_names,
            "contact_ids": contacts,
            "session_id": parameters.identity("session_id", self.session_id),
            "monetary_amount": parameters.number("monetary_amount", self.monetary_amount),
            "custom_fields": parameters.metadata("custom_fields", self.custom_fields),
            "metadata": parameters.metadata("metadata", self.metadata),
        }

    def look_up(self, content: panels.CardContent) -> None:
        """Put ids and keys in the place of names; an id costs no call.

        :param content: the content, changed in place.
        :raises WtsNameError: when none or several things have a name.
        """
        user, tags, custom = content["responsible_user_id"], content["tag_ids"], content["custom_fields"]
        if isinstance(user, str):
            content["responsible_user_id"] = self.hook.names.user(user)
        if isinstance(tags, list):
            content["tag_ids"] = [self._tag_id(tag) for tag in tags]
        if isinstance(custom, dict) and custom:
            content["custom_fields"] = self.panel_names.custom_fields(custom, self.panel_id)
        contacts = content["contact_ids"]
        if isinstance(contacts, list):
            content["contact_ids"] = [contact_id(self, contact) for contact in contacts]

    def report(self, content: panels.CardContent, card: PanelCardV2) -> PanelCardV2:
        """Return the answer, and warn where it lacks a custom field that was sent.

        :param content: what was sent.
        :param card: the answer.
        """
        from airflow_provider_wts.operators.contact_fields import report_dropped

        report_dropped(self.log, content["custom_fields"], card)
        return card

    def _tag_id(self, tag: str) -> str:
        return tag if parameters.is_id(tag) else self.panel_names.tag(tag, self.panel_id)

    def step_id(self, step: str) -> str:
        """Return the id of a step.

        :param step: title or id.
        """
        return step if parameters.is_id(step) else self.panel_names.step(step, self.panel_id)


def panel_of_card(operator: WtsOperator, card_id: str) -> str:
    """Ask for the panel of a card.

    :param operator: the operator that needs it.
    :param card_id: the card.
    """
    from airflow_provider_wts.api import panels

    panel_id = operator.hook.run(panels.get_card(card_id)).get("panelId")
    if not panel_id:
        raise WtsInvalidRequestError(f"panel: WTS Chat does not say which panel card {card_id} is on. Give it here.")
    return panel_id


def checked_contact(name: str, text: str) -> str:
    """Return an id as it stands, and a phone number as WTS Chat spells it.

    :param name: the parameter's name, for the error.
    :param text: id, or phone number in any usual spelling.
    :raises WtsInvalidRequestError: when it is neither.
    """
    from airflow_provider_wts.api.addresses import number

    return text if parameters.is_id(text) else number(text, name=name)


def contact_id(operator: WtsOperator, contact: str) -> str:
    """Return the id of a contact; a phone number is looked up.

    :param operator: the operator that needs it.
    :param contact: what :func:`checked_contact` returned.
    :raises WtsRejectedError: when no contact has the number.
    """
    if parameters.is_id(contact):
        return contact
    from airflow_provider_wts.api.answers import required
    from airflow_provider_wts.api.contacts import get_contact_by_phone

    return str(required(operator.hook.run(get_contact_by_phone(contact)), "id", "get_contact_by_phone"))
