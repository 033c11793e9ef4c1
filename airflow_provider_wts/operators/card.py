"""Operators that write cards, which are the items on a panel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from airflow_provider_wts.api.call import NOT_GIVEN, NotGiven, Optional
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.hooks.failures import readable_failures
from airflow_provider_wts.operators import parameters
from airflow_provider_wts.operators.card_content import CARD_STATUSES, EXAMPLE_CARD, WtsCardWriter, panel_of_card
from airflow_provider_wts.operators.sending import WtsOnceOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_provider_wts.api import panels
    from airflow_provider_wts.api.types import PanelCardV2
    from airflow_provider_wts.sending.key import Mark
    from airflow_provider_wts.sending.reconcile import InCards

_TAG_OPERATIONS = ("InsertIfNotExists", "DeleteIfExists", "ReplaceAll")
_COPIED = (
    "All",
    "Amount",
    "DueDate",
    "Tags",
    "MonetaryAmount",
    "Contacts",
    "ResponsibleUser",
    "CustomFields",
    "Notes",
)


class WtsCreateCardOperator(WtsCardWriter, WtsOnceOperator):
    """Create a card on a panel.

    Calls ``create_card``. The card carries a mark in its metadata, by which a task that runs again finds it. What is
    left out is not sent; ``None`` is sent as ``null``, and ``0``, ``""`` and ``[]`` go out as they are.

    :param step: title or id of the step that the card goes into; it decides the panel (templated).
    :param title: title of the card, 1 to 500 characters (templated).
    :param panel: title, key or id of the panel; needed where ``step`` is a title (templated).
    :param description: up to 8,000 characters (templated).
    :param position: place inside the step, 0 or more (templated).
    :param due_date: an aware datetime, or ISO 8601 text with an offset (templated).
    :param responsible_user: name, e-mail address or id of the user in charge (templated).
    :param tags: names or ids of tags of the panel; one, a list, or a list as JSON text (templated).
    :param tag_names: names of tags, sent as they stand and not looked up here; instead of ``tags`` (templated).
    :param contacts: ids or phone numbers of contacts; one, a list, or a list as JSON text (templated).
    :param session_id: id of the session that the card is about (templated).
    :param monetary_amount: value of the card (templated).
    :param custom_fields: values by the key or the name of a custom field of the panel, or the object as JSON text; an
        unknown field is refused (templated, deep).
    :param metadata: object kept with the card, or the object as JSON text (templated, deep).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the card.
    :raises AirflowFailException: when the input is impossible, the API refuses, or the outcome is unknown.
    """

    template_fields: Sequence[str] = (*WtsCardWriter.template_fields, "on_unknown", "on_clear")

    def __init__(self, *, step: str, title: str, **kwargs: Any) -> None:
        super().__init__(step=step, title=title, **kwargs)

    def execute(self, context: Context) -> PanelCardV2:
        """Create the card.

        :param context: the task's context.
        """
        from airflow_provider_wts.api import panels

        self.open_ledger(context)
        with readable_failures():
            step = parameters.needed_name("step", self.step)
            if parameters.missing(self.title):
                raise WtsInvalidRequestError("title: is empty. A card needs a title of 1 to 500 characters.")
            title = str(parameters.bounded_text("title", self.title, most=500))
            content = self.checked_content()
            if not parameters.is_id(step) and parameters.missing(self.panel):
                raise WtsInvalidRequestError(
                    f"panel: is empty, and the step {step!r} is a title, which many panels may have. Give the title or "
                    "id of the panel, or the id of the step."
                )
            step = self.step_id(step)
            self.look_up(content)
        card = self.run_once(
            context,
            recipient=step,
            build=lambda mark: panels.create_card(step_id=step, title=title, **_marked(content, mark)),
            trace=self._trace(step),
        )
        self.log.info("Card %s (%s) is created.", card.get("id"), card.get("key"))
        return self.report(content, card)

    def own_panel(self) -> str:
        """Return the panel to look names up in where the user gave none."""
        return self.panel_names.panel_of_step(parameters.needed_name("step", self.step))

    def _trace(self, step_id: str) -> InCards:
        from airflow_provider_wts.sending.reconcile import InCards

        return InCards(lambda: self.panel_names.panel_of_step(step_id))


def _marked(content: panels.CardContent, mark: Mark) -> panels.CardContent:
    given_metadata = content.get("metadata") or None
    return {**content, "metadata": mark.metadata(given_metadata)}


class WtsUpdateCardOperator(WtsCardWriter):
    """Change, move, close, archive or reopen a card: what is given, and nothing else.

    Calls ``update_card``; its ``fields`` are made of what is given. ``None`` clears, and ``0``, ``""`` and ``[]`` go
    out as they are. A card is archived by ``status="ARCHIVED"`` and comes back by ``status="OPEN"``.

    :param card_id: id of the card (templated).
    :param step: title or id of the step to move the card to (templated).
    :param title: up to 500 characters (templated).
    :param status: ``OPEN``, ``WON``, ``LOST`` or ``ARCHIVED`` (templated).
    :param lost_reason: text or id of the panel's reason, together with ``status="LOST"`` (templated).
    :param panel: title, key or id of the panel in which names are looked up; without it the card's own, which costs a
        call where a name has to be looked up (templated).
    :param description: up to 8,000 characters (templated).
    :param position: place inside the step, 0 or more (templated).
    :param due_date: an aware datetime, or ISO 8601 text with an offset (templated).
    :param responsible_user: name, e-mail address or id of the user in charge (templated).
    :param tags: names or ids of tags of the panel; one, a list, or a list as JSON text (templated).
    :param tag_names: names of tags, sent as they stand and not looked up here; instead of ``tags``. Whether the API's
        field mask covers them is not documented (templated).
    :param upsert_tag_operation: what happens to the tags: ``InsertIfNotExists``, ``DeleteIfExists``, or
        ``ReplaceAll``, which the API takes when it is left out (templated).
    :param contacts: ids or phone numbers of contacts; one, a list, or a list as JSON text (templated).
    :param session_id: id of the session that the card is about (templated).
    :param monetary_amount: value of the card (templated).
    :param custom_fields: values by the key or the name of a custom field of the panel, or the object as JSON text; an
        unknown field is refused (templated, deep).
    :param metadata: object merged into the card's, key by key; a key with ``None`` is removed (templated, deep).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the card.
    :raises AirflowFailException: when the input is impossible, or the API refuses.
    """

    template_fields: Sequence[str] = (
        *WtsCardWriter.template_fields,
        "card_id",
        "status",
        "lost_reason",
        "upsert_tag_operation",
    )

    def __init__(
        self,
        *,
        card_id: str,
        status: Optional[str] = NOT_GIVEN,
        lost_reason: Optional[str] = NOT_GIVEN,
        upsert_tag_operation: str | NotGiven | None = NOT_GIVEN,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.card_id = card_id
        self.status = status
        self.lost_reason = lost_reason
        self.upsert_tag_operation = upsert_tag_operation

    def execute(self, context: Context) -> PanelCardV2:
        """Change the card.

        :param context: the task's context.
        """
        from airflow_provider_wts.api import panels

        with readable_failures():
            change = self._change()
            self.look_up(change)
            call = panels.update_card(self._card(), **change)
        card = self.run_call(call)
        self.log.info("Card %s (%s) is changed.", card.get("id"), card.get("key"))
        return self.report(change, card)

    def _change(self) -> panels.CardChange:
        self._card()
        change: panels.CardChange = {
            **self.checked_content(),
            "step_id": parameters.named("step", self.step),
            "title": parameters.bounded_text("title", self.title, most=500),
            "status": parameters.choice("status", self.status, CARD_STATUSES),
            "lost_reason_id": parameters.named("lost_reason", self.lost_reason),
            "upsert_tag_operation": NOT_GIVEN,
        }
        if all(value is NOT_GIVEN for value in change.values()):
            raise WtsInvalidRequestError("There is nothing to change. Give at least one of the card's fields.")
        status, reason = change["status"], change["lost_reason_id"]
        if reason is not NOT_GIVEN and (status is NOT_GIVEN or (reason is not None and status != "LOST")):
            raise WtsInvalidRequestError("lost_reason: goes together with status='LOST' only.")
        if not parameters.missing(self.upsert_tag_operation):
            if change["tag_ids"] is NOT_GIVEN and change["tag_names"] is NOT_GIVEN:
                raise WtsInvalidRequestError("upsert_tag_operation: says what to do with tags, and there are none.")
            operation = parameters.choice("upsert_tag_operation", self.upsert_tag_operation, _TAG_OPERATIONS)
            change["upsert_tag_operation"] = operation
        return change

    def look_up(self, content: panels.CardContent) -> None:
        """Put ids and keys in the place of names; an id costs no call.

        :param content: the change, changed in place.
        """
        change = cast("panels.CardChange", content)
        step, reason = change["step_id"], change["lost_reason_id"]
        if isinstance(step, str):
            change["step_id"] = self.step_id(step)
        if isinstance(reason, str):
            found = reason if parameters.is_id(reason) else self.panel_names.lost_reason(reason, self.panel_id)
            change["lost_reason_id"] = found
        super().look_up(content)

    def _card(self) -> str:
        return parameters.needed_identity("card_id", self.card_id, example=EXAMPLE_CARD)

    def own_panel(self) -> str:
        """Return the panel to look names up in where the user gave none."""
        return panel_of_card(self, self._card())


class WtsDuplicateCardOperator(WtsOnceOperator):
    """Copy a card.

    Calls ``duplicate_card``. The copy carries no mark, so only a ledger keeps a task that runs again from making
    another one; without it such a task fails and says what to check.

    :param card_id: id of the card to copy (templated).
    :param copy_to_step: title or id of the step that the copy goes into; without it the card's own (templated).
    :param panel: title, key or id of the panel of ``copy_to_step``, where that is a title; without it the card's own
        (templated).
    :param archive_original_card: archive the card that was copied (templated).
    :param fields: what to copy: ``All``, ``Amount``, ``DueDate``, ``Tags``, ``MonetaryAmount``, ``Contacts``,
        ``ResponsibleUser``, ``CustomFields``, ``Notes``; one, a list, or a list as JSON text. Everything when it is
        left out or empty. How ``Amount`` differs from ``MonetaryAmount`` is not documented (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the copy.
    :raises AirflowFailException: when the input is impossible, the API refuses, or the outcome is unknown.
    """

    template_fields: Sequence[str] = (
        *WtsOnceOperator.template_fields,
        "card_id",
        "copy_to_step",
        "panel",
        "archive_original_card",
        "fields",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"fields": "json"}

    def __init__(
        self,
        *,
        card_id: str,
        copy_to_step: Optional[str] = NOT_GIVEN,
        panel: str | NotGiven | None = NOT_GIVEN,
        archive_original_card: bool | str | NotGiven | None = NOT_GIVEN,
        fields: Optional[Sequence[str] | str] = NOT_GIVEN,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.card_id = card_id
        self.copy_to_step = copy_to_step
        self.panel = panel
        self.archive_original_card = archive_original_card
        self.fields = fields

    def execute(self, context: Context) -> PanelCardV2:
        """Copy the card.

        :param context: the task's context.
        """
        from airflow_provider_wts.api import panels

        self.open_ledger(context)
        with readable_failures():
            card_id = parameters.needed_identity("card_id", self.card_id, example=EXAMPLE_CARD)
            step = parameters.named("copy_to_step", self.copy_to_step)
            archive = parameters.switch("archive_original_card", self.archive_original_card)
            copied = parameters.choices_of("fields", self.fields, _COPIED)
            if isinstance(step, str) and not parameters.is_id(step):
                step = self.hook.names.panels.step(step, self._panel(card_id))
            call = panels.duplicate_card(card_id, copy_to_step_id=step, archive_original_card=archive, fields=copied)
        card = self.run_once(context, recipient=card_id, build=lambda _: call, trace=None)
        self.log.info("Card %s is copied to %s (%s).", card_id, card.get("id"), card.get("key"))
        return card

    def _panel(self, card_id: str) -> str:
        if parameters.missing(self.panel):
            return panel_of_card(self, card_id)
        return self.hook.names.panels.panel(parameters.needed_name("panel", self.panel))
