"""Operators for sequences, which are timed series of messages, and for the contacts that run through them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.hooks.failures import readable_failures
from airflow_provider_wts.operators import contact_fields, parameters
from airflow_provider_wts.operators.base import WtsOperator
from airflow_provider_wts.operators.listing import WtsListOperator
from airflow_provider_wts.operators.recipients import refuse_unless_allowed
from airflow_provider_wts.operators.sending import WtsOnceOperator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.sdk import Context

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.types import SequenceContact
    from airflow_provider_wts.hooks.wts import WtsHook

#: Contacts per call of a batch. The API documents no limit; other batches of it take 100.
CHUNK = 100


class WtsListSequencesOperator(WtsListOperator):
    """List sequences: all pages, inline or as a file.

    Calls ``list_sequences``. What the shared parameters of a list do, from ``created_after`` to ``output_path``, is
    told at :class:`~airflow_provider_wts.operators.listing.WtsListOperator`.

    :param name: filter by name (templated).
    :param contact_id: only sequences that this contact is in (templated).
    :param include_details: ``ContactExecutingCount``, ``ExecutionStats``; one or a list (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the sequences, or the manifest of the file.
    :raises AirflowFailException: when the input is impossible, the API refuses, or the list is too large for XCom.
    """

    template_fields: Sequence[str] = (*WtsListOperator.template_fields, "name", "contact_id", "include_details")
    template_fields_renderers: ClassVar[dict[str, str]] = {"include_details": "json"}

    def __init__(
        self,
        *,
        name: str | None = None,
        contact_id: str | None = None,
        include_details: Sequence[str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.contact_id = contact_id
        self.include_details = include_details

    def list_call(self) -> Call[Any]:
        """Return the call with the filters."""
        from airflow_provider_wts.api import sequences as calls

        return calls.list_sequences(
            name=parameters.filter_text("name", self.name),
            contact_id=parameters.filter_identity("contact_id", self.contact_id),
            include_details=parameters.details(self.include_details, ("ContactExecutingCount", "ExecutionStats")),
        )


class WtsListSequenceContactsOperator(WtsListOperator):
    """List the contacts of a sequence: all pages, inline or as a file.

    Calls ``list_sequence_contacts``. What the shared parameters of a list do, from ``created_after`` to
    ``output_path``, is told at :class:`~airflow_provider_wts.operators.listing.WtsListOperator`.

    :param sequence: name or id of the sequence (templated).
    :param name: filter by the contact's name (templated).
    :param contact_id: filter by the contact (templated).
    :param phone: filter by the contact's number, in any usual spelling (templated).
    :param include_details: ``ContactDetails`` (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the contacts of the sequence, or the manifest of the file.
    :raises AirflowFailException: when the input is impossible, the API refuses, or the list is too large for XCom.
    """

    template_fields: Sequence[str] = (
        *WtsListOperator.template_fields,
        "sequence",
        "name",
        "contact_id",
        "phone",
        "include_details",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"include_details": "json"}

    def __init__(
        self,
        *,
        sequence: str,
        name: str | None = None,
        contact_id: str | None = None,
        phone: str | None = None,
        include_details: Sequence[str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sequence = sequence
        self.name = name
        self.contact_id = contact_id
        self.phone = phone
        self.include_details = include_details

    def list_call(self) -> Call[Any]:
        """Return the call with the filters."""
        from airflow_provider_wts.api import sequences as calls

        sequence = parameters.needed_name("sequence", self.sequence)
        phone = parameters.filter_text("phone", self.phone)
        filters: dict[str, Any] = {
            "name": parameters.filter_text("name", self.name),
            "contact_id": parameters.filter_identity("contact_id", self.contact_id),
            "phone_number": contact_fields.phone_number("phone", phone),
            "include_details": parameters.details(self.include_details, ("ContactDetails",)),
        }
        return calls.list_sequence_contacts(self.hook.names.sequence(sequence), **filters)


class _SequenceMembersOperator(WtsOperator):
    """What adding and removing share: a sequence, and one contact or many."""

    template_fields: Sequence[str] = (
        *WtsOperator.template_fields,
        "sequence",
        "contact_id",
        "phone",
        "contact_ids",
        "phones",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"contact_ids": "json", "phones": "json"}

    #: Whether the call makes the account write to the contacts.
    sends = False

    def __init__(
        self,
        *,
        sequence: str,
        contact_id: str | None = None,
        phone: str | None = None,
        contact_ids: Sequence[str] | str | None = None,
        phones: Sequence[str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sequence = sequence
        self.contact_id = contact_id
        self.phone = phone
        self.contact_ids = contact_ids
        self.phones = phones

    def execute(self, context: Context) -> SequenceContact | dict[str, int] | None:
        """Name the contacts to the API, one or 100 at a time.

        :param context: the task's context.
        """
        with readable_failures():
            members = self._members()
            sequence = parameters.needed_name("sequence", self.sequence)
            if self.sends:
                members.refuse_unless_allowed(self.hook)
            sequence_id = self.hook.names.sequence(sequence)
        if members.single:
            member: SequenceContact | None = self.perform(context, self.one(sequence_id, members), last=True)
            return member
        chunks = list(members.chunks())
        named = 0
        for count, chunk in enumerate(chunks, start=1):
            self.perform(context, self.many(sequence_id, chunk), last=count == len(chunks))
            named += len(chunk.ids) + len(chunk.numbers)
            self.log.info("Call %s of %s: %s contacts.", count, len(chunks), f"{named:,}")
        return {"contacts": named, "calls": len(chunks)}

    def perform(self, context: Context, call: Call[Any], *, last: bool) -> Any:
        """Perform one of the calls.

        :param context: the task's context.
        :param call: the call.
        :param last: whether it is the last one.
        """
        return self.run_call(call)

    def one(self, sequence_id: str, members: _Members) -> Call[Any]:
        """Return the call for one contact.

        :param sequence_id: the sequence.
        :param members: the contact.
        """
        raise NotImplementedError

    def many(self, sequence_id: str, members: _Members) -> Call[Any]:
        """Return the call for at most 100 contacts.

        :param sequence_id: the sequence.
        :param members: the contacts, all by id or all by number.
        """
        raise NotImplementedError

    def _members(self) -> _Members:
        many = not (parameters.missing(self.contact_ids) and parameters.missing(self.phones))
        if not many:
            contact_id, phone = contact_fields.whom(self.contact_id, self.phone)
            return _Members([contact_id] if contact_id else [], [phone] if phone else [], single=True)
        if not (parameters.missing(self.contact_id) and parameters.missing(self.phone)):
            raise WtsInvalidRequestError(
                "contact_ids, phones: stand beside contact_id or phone. Name one contact, or lists of them."
            )
        ids = None if parameters.missing(self.contact_ids) else parameters.identities("contact_ids", self.contact_ids)
        phones = None if parameters.missing(self.phones) else parameters.texts("phones", self.phones)
        numbers = [str(contact_fields.phone_number(f"phones[{i}]", text)) for i, text in enumerate(phones or [])]
        return _Members(list(dict.fromkeys(ids or [])), list(dict.fromkeys(numbers)))


class WtsAddToSequenceOperator(_SequenceMembersOperator, WtsOnceOperator):
    """Add one contact or many to a sequence, which then sends them its messages.

    Calls ``add_sequence_contact`` where one contact is named, and ``add_sequence_contacts_batch`` for lists, once per
    100 contacts. What the API does with a contact that is in the sequence already is not documented. When a call of
    many fails, the ones before it have taken effect.

    :param sequence: name or id of the sequence (templated).
    :param contact_id: the contact; this, ``phone``, or lists (templated).
    :param phone: the contact's number, in any usual spelling (templated).
    :param contact_ids: many contacts, a list or its JSON text; may stand beside ``phones`` (templated).
    :param phones: numbers of many contacts, a list or its JSON text (templated).
    :param wts_conn_id: id of the Airflow connection; its ``allowed_recipients`` hold here too (templated).
    :return: for one contact its place in the sequence; for lists ``contacts``, how many, and ``calls``.
    :raises AirflowFailException: when the input is impossible, the API refuses, or the outcome is unknown.
    """

    template_fields: Sequence[str] = (*_SequenceMembersOperator.template_fields, "on_unknown", "on_clear")
    sends = True

    def perform(self, context: Context, call: Call[Any], *, last: bool) -> Any:
        """Perform one of the calls, exactly once over all tries: a sequence writes to whom it is given.

        :param context: the task's context.
        :param call: the call.
        :param last: whether it is the last one.
        """
        members = hashlib.sha256(call.content or b"").hexdigest()
        return self.run_once(
            context, recipient=f"{call.url_path} {members}", build=lambda _: call, trace=None, last=last
        )

    def one(self, sequence_id: str, members: _Members) -> Call[Any]:
        """Return the call for one contact.

        :param sequence_id: the sequence.
        :param members: the contact.
        """
        from airflow_provider_wts.api import sequences as calls

        return calls.add_sequence_contact(sequence_id, **members.of_one())

    def many(self, sequence_id: str, members: _Members) -> Call[Any]:
        """Return the call for at most 100 contacts.

        :param sequence_id: the sequence.
        :param members: the contacts.
        """
        from airflow_provider_wts.api import sequences as calls

        return calls.add_sequence_contacts_batch(sequence_id, **members.of_many())


class WtsRemoveFromSequenceOperator(_SequenceMembersOperator):
    """Remove one contact or many from a sequence.

    Calls ``remove_sequence_contact`` where one contact is named, and ``remove_sequence_contacts_batch`` for lists, once
    per 100 contacts.

    :param sequence: name or id of the sequence (templated).
    :param contact_id: the contact; this, ``phone``, or lists (templated).
    :param phone: the contact's number, in any usual spelling (templated).
    :param contact_ids: many contacts, a list or its JSON text; may stand beside ``phones`` (templated).
    :param phones: numbers of many contacts, a list or its JSON text (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: nothing for one contact; for lists ``contacts``, how many, and ``calls``.
    :raises AirflowFailException: when the input is impossible, or the API refuses.
    """

    def one(self, sequence_id: str, members: _Members) -> Call[Any]:
        """Return the call for one contact.

        :param sequence_id: the sequence.
        :param members: the contact.
        """
        from airflow_provider_wts.api import sequences as calls

        return calls.remove_sequence_contact(sequence_id, **members.of_one())

    def many(self, sequence_id: str, members: _Members) -> Call[Any]:
        """Return the call for at most 100 contacts.

        :param sequence_id: the sequence.
        :param members: the contacts.
        """
        from airflow_provider_wts.api import sequences as calls

        return calls.remove_sequence_contacts_batch(sequence_id, **members.of_many())


class _Members:
    """Contacts by id and by number, each once.

    :param ids: ids.
    :param numbers: numbers, as WTS Chat spells them.
    :param single: whether one contact was named, and no list.
    """

    def __init__(self, ids: list[str], numbers: list[str], single: bool = False) -> None:
        self.ids = ids
        self.numbers = numbers
        self.single = single

    def chunks(self) -> Iterator[_Members]:
        """Cut into what one call takes; what the API does with ids and numbers in one call is not documented."""
        for start in range(0, len(self.ids), CHUNK):
            yield _Members(self.ids[start : start + CHUNK], [])
        for start in range(0, len(self.numbers), CHUNK):
            yield _Members([], self.numbers[start : start + CHUNK])

    def of_one(self) -> dict[str, Any]:
        """Return the parameter of a call for one contact."""
        return {"contact_id": self.ids[0]} if self.ids else {"phone_number": self.numbers[0]}

    def of_many(self) -> dict[str, Any]:
        """Return the parameter of a call for many contacts."""
        return {"contact_ids": self.ids} if self.ids else {"phone_numbers": self.numbers}

    def refuse_unless_allowed(self, hook: WtsHook) -> None:
        """Hold the connection's ``allowed_recipients``.

        :param hook: the task's hook.
        :raises WtsInvalidRequestError: when one contact is not allowed.
        """
        for index, phone in enumerate(self.numbers):
            refuse_unless_allowed(hook, "phone" if self.single else f"phones[{index}]", phone)
        for index, contact_id in enumerate(self.ids):
            name = "contact_id" if self.single else f"contact_ids[{index}]"
            refuse_unless_allowed(hook, name, None, contact_id=contact_id)
