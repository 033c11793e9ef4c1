"""Operators for the notes on a card, which WTS Chat also calls annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wts.api.call import NOT_GIVEN, Optional
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.hooks.failures import readable_failures
from airflow_provider_wts.operators import parameters
from airflow_provider_wts.operators.base import WtsOperator
from airflow_provider_wts.operators.card_content import EXAMPLE_CARD
from airflow_provider_wts.operators.listing import WtsListOperator
from airflow_provider_wts.operators.sending import WtsOnceOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.types import PanelCardNote, PanelCardNotePage


class WtsListCardNotesOperator(WtsListOperator):
    """List the notes of a card: all pages, inline or as a file.

    Calls ``list_card_notes``. What the shared parameters of a list do, from ``created_after`` to ``output_path``, is
    told at :class:`~airflow_provider_wts.operators.listing.WtsListOperator`.

    :param card_id: id of the card (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the notes, or the manifest of the file.
    :raises AirflowFailException: when the input is impossible, the API refuses, or the list is too large for XCom.
    """

    template_fields: Sequence[str] = (*WtsListOperator.template_fields, "card_id")

    def __init__(self, *, card_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.card_id = card_id

    def list_call(self) -> Call[PanelCardNotePage]:
        """Return the call."""
        from airflow_provider_wts.api import panels

        return panels.list_card_notes(parameters.needed_identity("card_id", self.card_id, example=EXAMPLE_CARD))


class WtsCreateCardNoteOperator(WtsOnceOperator):
    """Add a note to a card: a text, files, or both.

    Calls ``create_card_note``. A note carries no mark, so only a ledger keeps a task that runs again from adding it
    again; without it such a task fails and says what to check.

    :param card_id: id of the card (templated).
    :param text: the note, up to 8,000 characters; needed without files (templated).
    :param file_urls: public addresses of up to 3 files of at most 25 MB each; one, a list, or a list as JSON text
        (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the note.
    :raises AirflowFailException: when the input is impossible, the API refuses, or the outcome is unknown.
    """

    prose: ClassVar[frozenset[str]] = frozenset({"text"})
    template_fields: Sequence[str] = (*WtsOnceOperator.template_fields, "card_id", "text", "file_urls")
    template_fields_renderers: ClassVar[dict[str, str]] = {"file_urls": "json"}

    def __init__(
        self,
        *,
        card_id: str,
        text: Optional[str] = NOT_GIVEN,
        file_urls: Optional[Sequence[str] | str] = NOT_GIVEN,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.card_id = card_id
        self.text = text
        self.file_urls = file_urls

    def execute(self, context: Context) -> PanelCardNote:
        """Add the note.

        :param context: the task's context.
        """
        from airflow_provider_wts.api import panels

        self.open_ledger(context)
        with readable_failures():
            card_id = parameters.needed_identity("card_id", self.card_id, example=EXAMPLE_CARD)
            text = parameters.bounded_text("text", self.text, most=8000)
            urls = parameters.urls("file_urls", self.file_urls, most=3)
            if parameters.missing(text) and not urls:
                raise WtsInvalidRequestError("text: is empty, and there is no file. A note needs one of them.")
            call = panels.create_card_note(card_id, text=text, file_urls=urls)
        note = self.run_once(context, recipient=card_id, build=lambda _: call, trace=None)
        self.log.info("Card %s has the new note %s.", card_id, note.get("id"))
        return note


class WtsDeleteCardNoteOperator(WtsOperator):
    """Delete a note of a card.

    Calls ``delete_card_note``. A note that is not there is refused by the API.

    :param card_id: id of the card (templated).
    :param note_id: id of the note (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :raises AirflowFailException: when the input is impossible, or the API refuses.
    """

    template_fields: Sequence[str] = (*WtsOperator.template_fields, "card_id", "note_id")

    def __init__(self, *, card_id: str, note_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.card_id = card_id
        self.note_id = note_id

    def execute(self, context: Context) -> None:
        """Delete the note.

        :param context: the task's context.
        """
        from airflow_provider_wts.api import panels

        with readable_failures():
            card_id = parameters.needed_identity("card_id", self.card_id, example=EXAMPLE_CARD)
            example = "{{ ti.xcom_pull(task_ids='create_note')['id'] }}"
            note_id = parameters.needed_identity("note_id", self.note_id, example=example)
            call = panels.delete_card_note(card_id, note_id)
        self.run_call(call)
        self.log.info("Note %s of card %s is deleted.", note_id, card_id)
