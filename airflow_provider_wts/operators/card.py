"""Operators for cards: create, update, list, get, and their notes."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

from airflow_provider_wts import api
from airflow_provider_wts.api import parameters
from airflow_provider_wts.api.errors import WtsInvalidRequestError, quoted
from airflow_provider_wts.api.wire import UNSET, Missing, is_uuid
from airflow_provider_wts.hooks.errors import task_failures
from airflow_provider_wts.operators.base import WtsOperator
from airflow_provider_wts.operators.listing import WtsListOperator
from airflow_provider_wts.operators.sending import WtsOnceOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from airflow.sdk import Context

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.types import PanelCardNote, PanelCardNotePage, PanelCardV2, PanelCardV2Page
    from airflow_provider_wts.hooks.names import PanelNames
    from airflow_provider_wts.sending.key import Mark


_TAG_OPERATIONS = ("InsertIfNotExists", "DeleteIfExists", "ReplaceAll")

_COPIED = (
    *("All", "Amount", "DueDate", "Tags", "MonetaryAmount", "Contacts", "ResponsibleUser", "CustomFields", "Notes"),
)


class WtsCardWriter(WtsOperator):
    """Base of the operators that write a card.

    Parameters that you leave out are not sent. ``None`` is sent as ``null``, and ``0``, ``""`` and ``[]`` as they are.

    :param panel: title, key or ID of the panel in which names are looked up (templated).
    :param step: title or ID of the card's step (templated).
    :param title: up to 500 characters (templated).
    :param description: up to 8,000 characters (templated).
    :param position: position within the step, from 0 (templated).
    :param due_date: an aware datetime, or ISO 8601 text with an offset (templated).
    :param responsible_user: name, email address or ID of the user in charge (templated).
    :param tags: names or IDs of tags of the panel; one, a list, or the JSON text of a list (templated).
    :param tag_names: names of tags, sent as they are, without a lookup; instead of ``tags`` (templated).
    :param contacts: IDs or phone numbers of contacts; one, a list, or the JSON text of a list (templated).
    :param session_id: ID of the card's session (templated).
    :param monetary_amount: value of the card (templated).
    :param custom_fields: values by the key or name of the panel's custom fields: an object or its JSON text. An unknown
        field is refused (templated, deep).
    :param metadata: object stored with the card, or its JSON text (templated, deep).
    """

    prose: ClassVar[frozenset[str]] = frozenset({"title", "description", "custom_fields"})

    template_fields_renderers: ClassVar[dict[str, str]] = {"description": "md"}

    def __init__(
        self,
        *,
        panel: Missing[str] = UNSET,
        step: Missing[str] = UNSET,
        title: Missing[str] = UNSET,
        description: Missing[str] = UNSET,
        position: Missing[float | str] = UNSET,
        due_date: Missing[datetime | str] = UNSET,
        responsible_user: Missing[str] = UNSET,
        tags: Missing[Sequence[str] | str] = UNSET,
        tag_names: Missing[Sequence[str] | str] = UNSET,
        contacts: Missing[Sequence[str] | str] = UNSET,
        session_id: Missing[str] = UNSET,
        monetary_amount: Missing[float | str] = UNSET,
        custom_fields: Missing[Mapping[str, Any] | str] = UNSET,
        metadata: Missing[Mapping[str, Any] | str] = UNSET,
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
        """The panel in which names are looked up; requested only if there is a name to look up."""
        if not parameters.missing(self.panel):
            return self.panel_names.panel(parameters.needed_name("panel", self.panel))
        return self.own_panel()

    def own_panel(self) -> str:
        """Return the panel for name lookups if the user gave none."""
        raise NotImplementedError

    def checked_content(self) -> api.panels.CardContent:
        """Return the content, checked as far as possible without a request."""
        tags, tag_names = parameters.texts("tags", self.tags), parameters.texts("tag_names", self.tag_names)
        if tags is not UNSET and tag_names is not UNSET:
            raise WtsInvalidRequestError("tag_names: the API ignores it if tags is given, too. Give only one of them.")
        contacts = parameters.texts("contacts", self.contacts)
        if isinstance(contacts, list):
            contacts = [checked_contact(f"contacts[{index}]", contact) for index, contact in enumerate(contacts)]
        return {
            "description": parameters.bounded_text("description", self.description, most=8000),
            "position": parameters.number("position", self.position, least=0, most=_MOST_POSITION),
            "due_date": parameters.timestamp("due_date", self.due_date),
            "responsible_user_id": parameters.named("responsible_user", self.responsible_user),
            "tag_ids": tags,
            "tag_names": tag_names,
            "contact_ids": contacts,
            "session_id": parameters.identity("session_id", self.session_id),
            "monetary_amount": parameters.number("monetary_amount", self.monetary_amount),
            "custom_fields": parameters.metadata("custom_fields", self.custom_fields),
            "metadata": parameters.metadata("metadata", self.metadata),
        }

    def look_up(self, content: api.panels.CardContent) -> None:
        """Replace names by IDs and keys, in place; an ID takes no request."""
        from airflow_provider_wts.operators.contact_fields import ids

        user, custom = content["responsible_user_id"], content["custom_fields"]
        content["responsible_user_id"] = parameters.looked_up(user, self.hook.names.user)
        content["tag_ids"] = ids("tags", content["tag_ids"], partial(self.in_panel, self.panel_names.tag))
        if isinstance(custom, dict) and custom:
            content["custom_fields"] = self.panel_names.custom_fields(custom, self.panel_id)
        content["contact_ids"] = ids("contacts", content["contact_ids"], partial(contact_id, self))

    def report(self, content: api.panels.CardContent, card: PanelCardV2) -> PanelCardV2:
        """Return the answer, and warn if it lacks a custom field that was sent."""
        from airflow_provider_wts.operators.contact_fields import report_dropped

        report_dropped(self.log, content["custom_fields"], card)
        return card

    def in_panel(self, look_up: Callable[[str, str], str], name: str) -> str:
        """Return the ID of something in the panel; only a name takes a request."""
        return name if is_uuid(name) else look_up(name, self.panel_id)


class WtsCreateCardOperator(WtsCardWriter, WtsOnceOperator):
    """Create a card on a panel.

    Calls ``create_card``. The card carries a marker in its metadata, so that a task that runs again finds it. For the
    other parameters, from ``description`` to ``metadata``, see :class:`WtsCardWriter`.

    :param step: title or ID of the step for the card; the step determines the panel (templated).
    :param title: title of the card, 1 to 500 characters (templated).
    :param panel: title, key or ID of the panel; required if ``step`` is a title (templated).
    :return: the card.
    """

    def __init__(self, *, step: str, title: str, **kwargs: Any) -> None:
        super().__init__(step=step, title=title, **kwargs)

    def execute(self, context: Context) -> PanelCardV2:
        from airflow_provider_wts.sending.reconcile import InCards

        self.open_ledger(context)
        with task_failures():
            step = parameters.needed_name("step", self.step)
            if parameters.missing(self.title):
                raise WtsInvalidRequestError("title: is empty. A card needs a title of 1 to 500 characters.")
            title = str(parameters.bounded_text("title", self.title, most=500))
            content = self.checked_content()
            if not is_uuid(step) and parameters.missing(self.panel):
                raise WtsInvalidRequestError(
                    f"panel: is empty, and the step {quoted(step)} is a title, which several panels may have. Give the "
                    "title or ID of the panel, or the ID of the step."
                )
            step = self.in_panel(self.panel_names.step, step)
            self.look_up(content)
        card = self.run_once(
            context,
            recipient=step,
            build=lambda mark: api.panels.create_card(step_id=step, title=title, **_marked(content, mark)),
            trace=InCards(lambda: self.panel_names.panel_of_step(step)),
            place="the cards of this step",
        )
        self.log.info("Card %s (%s) is created.", card.get("id"), card.get("key"))
        return self.report(content, card)

    def own_panel(self) -> str:
        return self.panel_names.panel_of_step(parameters.needed_name("step", self.step))


def _marked(content: api.panels.CardContent, mark: Mark) -> api.panels.CardContent:
    return {**content, "metadata": mark.metadata(content["metadata"])}


class WtsUpdateCardOperator(WtsCardWriter):
    """Change, move, close, archive or reopen a card.

    Calls ``update_card``. Only what you give is changed: ``fields`` of the request names it. ``None`` clears.
    ``status="ARCHIVED"`` archives a card, and ``status="OPEN"`` restores it. For the other parameters, from ``title``
    to ``custom_fields``, see :class:`WtsCardWriter`.

    :param card_id: ID of the card (templated).
    :param step: title or ID of the step to move the card to (templated).
    :param status: ``OPEN``, ``WON``, ``LOST`` or ``ARCHIVED`` (templated).
    :param lost_reason: text or ID of one of the panel's reasons; requires ``status="LOST"`` (templated).
    :param panel: title, key or ID of the panel in which names are looked up. Default: the card's panel, which takes an
        extra request if there is a name to look up (templated).
    :param tag_names: names of tags, sent as they are, without a lookup; instead of ``tags``. The API does not document
        whether its field mask covers them (templated).
    :param upsert_tag_operation: how to apply the tags: ``InsertIfNotExists``, ``DeleteIfExists`` or ``ReplaceAll``, the
        API's default (templated).
    :param metadata: object merged into the card's metadata by key; ``None`` removes a key (templated, deep).
    :return: the card.
    """

    def __init__(
        self,
        *,
        card_id: str,
        status: Missing[str] = UNSET,
        lost_reason: Missing[str] = UNSET,
        upsert_tag_operation: Missing[str] = UNSET,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.card_id = card_id
        self.status = status
        self.lost_reason = lost_reason
        self.upsert_tag_operation = upsert_tag_operation

    def execute(self, context: Context) -> PanelCardV2:
        with task_failures():
            change = self._change()
            self.look_up(change)
            call = api.panels.update_card(self._card(), **change)
        card = self.run_call(call)
        self.log.info("Card %s (%s) is changed.", card.get("id"), card.get("key"))
        return self.report(change, card)

    def _change(self) -> api.panels.CardChange:
        self._card()
        change: api.panels.CardChange = {
            "step_id": parameters.named("step", self.step),
            "title": parameters.bounded_text("title", self.title, most=500),
            **self.checked_content(),
            "status": parameters.choice("status", self.status, api.panels.CARD_STATUSES),
            "lost_reason_id": parameters.named("lost_reason", self.lost_reason),
            "upsert_tag_operation": UNSET,
        }
        if all(value is UNSET for value in change.values()):
            raise WtsInvalidRequestError(
                "There is nothing to change. Give at least one of the card's fields. Example: step='Ganho'."
            )
        status, reason = change["status"], change["lost_reason_id"]
        if reason is not UNSET and (status is UNSET or (reason is not None and status != "LOST")):
            raise WtsInvalidRequestError("lost_reason: requires status='LOST'. Nothing was changed. Set it, too.")
        if not parameters.missing(self.upsert_tag_operation):
            if change["tag_ids"] is UNSET and change["tag_names"] is UNSET:
                raise WtsInvalidRequestError(
                    "upsert_tag_operation: has no effect without tags. Give tags or tag_names."
                )
            operation = parameters.choice("upsert_tag_operation", self.upsert_tag_operation, _TAG_OPERATIONS)
            change["upsert_tag_operation"] = operation
        return change

    def look_up(self, content: api.panels.CardContent) -> None:
        change = cast("api.panels.CardChange", content)
        names = self.panel_names
        change["step_id"] = parameters.looked_up(change["step_id"], partial(self.in_panel, names.step))
        change["lost_reason_id"] = parameters.looked_up(
            change["lost_reason_id"], partial(self.in_panel, names.lost_reason)
        )
        super().look_up(content)

    def _card(self) -> str:
        return parameters.needed_identity("card_id", self.card_id, example=EXAMPLE_CARD)

    def own_panel(self) -> str:
        return panel_of_card(self, self._card())


class WtsDuplicateCardOperator(WtsOnceOperator):
    """Copy a card.

    Calls ``duplicate_card``. The copy carries no marker, so only a ledger keeps a task that runs again from making
    another copy. Without one, the task fails and names what to check.

    :param card_id: ID of the card to copy (templated).
    :param copy_to_step: title or ID of the step for the copy. Default: the card's step (templated).
    :param panel: title, key or ID of the panel of ``copy_to_step``, if that is a title. Default: the card's panel
        (templated).
    :param archive_original_card: archive the original card (templated).
    :param fields: what to copy: ``All``, ``Amount``, ``DueDate``, ``Tags``, ``MonetaryAmount``, ``Contacts``,
        ``ResponsibleUser``, ``CustomFields``, ``Notes``; one, a list, or the JSON text of a list. Default: everything.
        The API does not document how ``Amount`` differs from ``MonetaryAmount`` (templated).
    :return: the copy.
    """

    def __init__(
        self,
        *,
        card_id: str,
        copy_to_step: Missing[str] = UNSET,
        panel: Missing[str] = UNSET,
        archive_original_card: Missing[bool | str] = UNSET,
        fields: Missing[Sequence[str] | str] = UNSET,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.card_id = card_id
        self.copy_to_step = copy_to_step
        self.panel = panel
        self.archive_original_card = archive_original_card
        self.fields = fields

    def execute(self, context: Context) -> PanelCardV2:
        self.open_ledger(context)
        with task_failures():
            card_id = parameters.needed_identity("card_id", self.card_id, example=EXAMPLE_CARD)
            step = parameters.named("copy_to_step", self.copy_to_step)
            archive = parameters.switch("archive_original_card", self.archive_original_card)
            copied = parameters.choices_of("fields", self.fields, _COPIED)
            if isinstance(step, str) and not is_uuid(step):
                step = self.hook.names.panels.step(step, self._panel(card_id))
            call = api.panels.duplicate_card(
                card_id, copy_to_step_id=step, archive_original_card=archive, fields=copied
            )
        card = self.run_once(context, recipient=card_id, build=lambda _: call, place="the copies of this card")
        self.log.info("Card %s is copied to %s (%s).", card_id, card.get("id"), card.get("key"))
        return card

    def _panel(self, card_id: str) -> str:
        if parameters.missing(self.panel):
            return panel_of_card(self, card_id)
        return self.hook.names.panels.panel(parameters.needed_name("panel", self.panel))


EXAMPLE_CARD = "{{ ti.xcom_pull(task_ids='create_card')['id'] }}"

_MOST_POSITION = 2**31 - 1


def panel_of_card(operator: WtsOperator, card_id: str) -> str:
    """Return the panel of a card."""
    panel_id = operator.hook.run(api.panels.get_card(card_id)).get("panelId")
    if not panel_id:
        raise WtsInvalidRequestError(f"panel: WTS Chat did not report the panel of card {card_id}. Set it here.")
    return panel_id


def checked_contact(name: str, text: str) -> str:
    """Return an ID as it is, and a phone number in WTS Chat's format."""
    from airflow_provider_wts.api.addresses import number

    return text if is_uuid(text) else number(text, name=name)


def contact_id(operator: WtsOperator, contact: str) -> str:
    """Return the ID of a contact, given by its ID or by its number, which is looked up."""
    if is_uuid(contact):
        return contact
    from airflow_provider_wts.api.answers import required

    return str(required(operator.hook.run(api.contacts.get_contact_by_phone(contact)), "id", "get_contact_by_phone"))


class WtsListCardNotesOperator(WtsListOperator):
    """List the notes of a card: all pages, inline or as a file.

    Calls ``list_card_notes``. For the shared parameters, see :class:`WtsListOperator`.

    :param card_id: ID of the card (templated).
    :return: the notes, or the manifest of the file.
    """

    def __init__(self, *, card_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.card_id = card_id

    def list_call(self) -> Call[PanelCardNotePage]:
        return api.panels.list_card_notes(parameters.needed_identity("card_id", self.card_id, example=EXAMPLE_CARD))


class WtsCreateCardNoteOperator(WtsOnceOperator):
    """Add a note to a card: a text, files, or both.

    Calls ``create_card_note``. A note carries no marker, so only a ledger keeps a task that runs again from adding the
    note again. Without one, the task fails and names what to check.

    :param card_id: ID of the card (templated).
    :param text: the note, up to 8,000 characters; required without files (templated).
    :param file_urls: public addresses of up to 3 files of at most 25 MB each; one, a list, or the JSON text of a list
        (templated).
    :return: the note.
    """

    prose: ClassVar[frozenset[str]] = frozenset({"text"})

    def __init__(
        self,
        *,
        card_id: str,
        text: Missing[str] = UNSET,
        file_urls: Missing[Sequence[str] | str] = UNSET,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.card_id = card_id
        self.text = text
        self.file_urls = file_urls

    def execute(self, context: Context) -> PanelCardNote:
        self.open_ledger(context)
        with task_failures():
            card_id = parameters.needed_identity("card_id", self.card_id, example=EXAMPLE_CARD)
            text = parameters.bounded_text("text", self.text, most=8000)
            urls = parameters.urls("file_urls", self.file_urls, most=3)
            if parameters.missing(text) and not urls:
                raise WtsInvalidRequestError(
                    "text: is empty, and there is no file. Nothing was sent. Give one of them."
                )
            call = api.panels.create_card_note(card_id, text=text, file_urls=urls)
        note = self.run_once(context, recipient=card_id, build=lambda _: call, place="the notes of this card")
        self.log.info("Card %s has the new note %s.", card_id, note.get("id"))
        return note


class WtsDeleteCardNoteOperator(WtsOperator):
    """Delete a note of a card.

    Calls ``delete_card_note``. The API refuses a note that does not exist.

    :param card_id: ID of the card (templated).
    :param note_id: ID of the note (templated).
    """

    def __init__(self, *, card_id: str, note_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.card_id = card_id
        self.note_id = note_id

    def build_call(self) -> Call[None]:
        card_id = parameters.needed_identity("card_id", self.card_id, example=EXAMPLE_CARD)
        example = "{{ ti.xcom_pull(task_ids='create_note')['id'] }}"
        return api.panels.delete_card_note(
            card_id, parameters.needed_identity("note_id", self.note_id, example=example)
        )


_CARD_DETAILS = ("PanelTitle", "StepTitle", "StepPhase", "ResponsibleUser", "Contacts", "CustomFields", "LostReason")


class WtsListCardsOperator(WtsListOperator):
    """List the cards of a panel: all pages, inline or as a file.

    Calls ``list_cards``. An item must match all filters. The API does not document whether it lists closed and archived
    cards if ``statuses`` is not given. For the shared parameters, see :class:`WtsListOperator`.

    :param panel: title, key or ID of the panel (templated).
    :param step: title or ID of a step (templated).
    :param contact: ID or phone number of a contact (templated).
    :param responsible_user: name, email address or ID of a user (templated).
    :param text_filter: text to search for in the card (templated).
    :param statuses: ``OPEN``, ``WON``, ``LOST``, ``ARCHIVED``; one, a list, or the JSON text of a list (templated).
    :param include_details: details to add to each card: ``PanelTitle``, ``StepTitle``, ``StepPhase``,
        ``ResponsibleUser``, ``Contacts``, ``CustomFields``, ``LostReason`` (templated).
    :return: the cards, or the manifest of the file.
    """

    def __init__(
        self,
        *,
        panel: str,
        step: str | None = None,
        contact: str | None = None,
        responsible_user: str | None = None,
        text_filter: str | None = None,
        statuses: Sequence[str] | str | None = None,
        include_details: Sequence[str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.panel = panel
        self.step = step
        self.contact = contact
        self.responsible_user = responsible_user
        self.text_filter = text_filter
        self.statuses = statuses
        self.include_details = include_details

    def list_call(self) -> Call[PanelCardV2Page]:
        panel = parameters.needed_name("panel", self.panel)
        step = parameters.filter_text("step", self.step)
        user = parameters.filter_text("responsible_user", self.responsible_user)
        contact = parameters.looked_up(
            parameters.filter_text("contact", self.contact), partial(checked_contact, "contact")
        )
        text_filter = parameters.filter_text("text_filter", self.text_filter)
        statuses = parameters.filter_list("statuses", self.statuses, api.panels.CARD_STATUSES)
        details = parameters.details(self.include_details, _CARD_DETAILS)
        # Last, so that an invalid value above takes no request.
        names = self.hook.names
        panel_id = names.panels.panel(panel)
        return api.panels.list_cards(
            panel_id,
            step_id=parameters.looked_up(step, partial(names.panels.step, panel_id=panel_id)),
            contact_id=parameters.looked_up(contact, partial(contact_id, self)),
            responsible_user_id=parameters.looked_up(user, names.user),
            text_filter=text_filter,
            statuses=statuses,
            include_details=details,
        )


class WtsGetCardOperator(WtsOperator):
    """Read a card.

    Calls ``get_card``.

    :param card_id: ID of the card (templated).
    :param include_details: details to add: ``PanelTitle``, ``StepTitle``, ``StepPhase``, ``ResponsibleUser``,
        ``Contacts``, ``CustomFields``, ``LostReason``; one, a list, or the JSON text of a list (templated).
    :return: the card.
    """

    def __init__(self, *, card_id: str, include_details: Sequence[str] | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.card_id = card_id
        self.include_details = include_details

    def build_call(self) -> Call[PanelCardV2]:
        card_id = parameters.needed_identity("card_id", self.card_id, example=EXAMPLE_CARD)
        return api.panels.get_card(card_id, include_details=parameters.details(self.include_details, _CARD_DETAILS))
