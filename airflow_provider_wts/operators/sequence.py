"""Operators for sequences, which are timed series of messages, and for the contacts that run through them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wts import api
from airflow_provider_wts.api import parameters
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.hooks.contacts import refuse_unless_allowed
from airflow_provider_wts.hooks.errors import task_failures
from airflow_provider_wts.hooks.nested import within_task
from airflow_provider_wts.operators import contact_fields
from airflow_provider_wts.operators.base import WtsOperator
from airflow_provider_wts.operators.listing import WtsListOperator
from airflow_provider_wts.operators.query import WtsQueryOperator
from airflow_provider_wts.operators.sending import RefusesBackfill

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.sdk import Context

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.types import SequenceContact
    from airflow_provider_wts.campaigns.query import Snapshot
    from airflow_provider_wts.campaigns.recipients import Row


class _Member(NamedTuple):
    """A contact for a sequence, by ``contact_id`` or ``phone_number``; ``phone`` is for one with both."""

    by: str
    value: str
    phone: str | None = None

    @property
    def named(self) -> dict[str, Any]:
        """The parameters that name it in a call."""
        return {self.by: self.value} | ({"phone_number": self.phone} if self.phone else {})

    @property
    def identity(self) -> str:
        """The contact in any spelling: a Brazilian number with its ninth digit."""
        from airflow_provider_wts.api.addresses import identity_of

        return self.value.lower() if self.by == "contact_id" else identity_of(self.value)


class WtsListSequencesOperator(WtsListOperator):
    """List sequences: all pages, inline or as a file.

    Calls ``list_sequences``. For the shared parameters, see :class:`WtsListOperator`.

    :param name: filter by name (templated).
    :param contact_id: only sequences that this contact is in (templated).
    :param include_details: ``ContactExecutingCount``, ``ExecutionStats``; one or a list (templated).
    :return: the sequences, or the manifest of the file.
    """

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
        return api.sequences.list_sequences(
            name=parameters.filter_text("name", self.name),
            contact_id=parameters.filter_identity("contact_id", self.contact_id),
            include_details=parameters.details(self.include_details, ("ContactExecutingCount", "ExecutionStats")),
        )


class WtsListSequenceContactsOperator(WtsListOperator):
    """List the contacts of a sequence: all pages, inline or as a file.

    Calls ``list_sequence_contacts``. For the shared parameters, see :class:`WtsListOperator`.

    :param sequence: name or ID of the sequence (templated).
    :param name: filter by the contact's name (templated).
    :param contact_id: filter by contact ID (templated).
    :param phone: filter by the contact's number, in any common format (templated).
    :param include_details: ``ContactDetails`` (templated).
    :return: the contacts of the sequence, or the manifest of the file.
    """

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
        sequence = parameters.needed_name("sequence", self.sequence)
        phone = parameters.filter_text("phone", self.phone)
        filters: dict[str, Any] = {
            "name": parameters.filter_text("name", self.name),
            "contact_id": parameters.filter_identity("contact_id", self.contact_id),
            "phone_number": contact_fields.phone_number("phone", phone),
            "include_details": parameters.details(self.include_details, ("ContactDetails",)),
        }
        return api.sequences.list_sequence_contacts(self.hook.names.sequence(sequence), **filters)


class SequenceWriter(WtsOperator):
    """Base of the operators that put contacts into a sequence, or take them out.

    :param sequence: name or ID of the sequence (templated).
    :param contact_id: ID of one contact; give this, ``phone``, both, or lists (templated).
    :param phone: phone number of one contact, in any common format. With ``contact_id``, it must be the same contact's;
        checking that takes an extra request (templated).
    :param contact_ids: IDs of many contacts: a list or its JSON text; may be combined with ``phones`` (templated).
    :param phones: phone numbers of many contacts: a list or its JSON text (templated).
    """

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
        """Add or remove the contacts, one or 100 per call."""
        with task_failures():
            sequence = parameters.needed_name("sequence", self.sequence)
            members = self._members()
            if members and members[0].phone:
                self._refuse_two_people(members[0])
            sequence_id = self.hook.names.sequence(sequence)
            if self._is_single():
                return self._one(context, sequence_id, members[0])
            return {"contacts": len(members), "calls": self._many(context, sequence_id, members)}

    def _one(self, context: Context, sequence_id: str, member: _Member) -> SequenceContact | None:
        raise NotImplementedError

    def _many(self, context: Context, sequence_id: str, members: list[_Member]) -> int:
        """Handle many contacts, and return the number of calls."""
        raise NotImplementedError

    def _is_single(self) -> bool:
        return parameters.missing(self.contact_ids) and parameters.missing(self.phones)

    def _members(self) -> list[_Member]:
        if self._is_single():
            contact_id, phone = contact_fields.whom(self.contact_id, self.phone, both=True)
            return [_Member("contact_id", contact_id, phone or None) if contact_id else _Member("phone_number", phone)]
        if not (parameters.missing(self.contact_id) and parameters.missing(self.phone)):
            raise WtsInvalidRequestError(
                "contact_ids, phones: were given together with contact_id or phone. Nothing was sent. Give one "
                "contact, or lists."
            )
        ids = None if parameters.missing(self.contact_ids) else parameters.identities("contact_ids", self.contact_ids)
        phones = None if parameters.missing(self.phones) else parameters.texts("phones", self.phones)
        numbers = [str(contact_fields.phone_number(f"phones[{i}]", text)) for i, text in enumerate(phones or [])]
        contact_fields.refuse_shortened([(f"phones[{i}]", text) for i, text in enumerate(phones or [])])
        named = [*(_Member("contact_id", one) for one in ids or []), *(_Member("phone_number", one) for one in numbers)]
        return list(dict.fromkeys(named))

    def _refuse_two_people(self, member: _Member) -> None:
        """Refuse an ID and a number of different contacts: the API does not document which one it uses."""
        from airflow_provider_wts.api.addresses import same_person

        stored = self.hook.run(api.contacts.get_contact(member.value)).get("phoneNumber")
        if parameters.missing(stored) or not same_person(str(stored), str(member.phone)):
            raise WtsInvalidRequestError(
                f"phone: is not the number of contact {member.value}. Nothing was sent. Correct one of them, or give "
                "only one."
            )


class WtsAddToSequenceOperator(SequenceWriter, WtsQueryOperator, RefusesBackfill):
    """Add one contact or many to a sequence, which then sends them its messages.

    Calls ``add_sequence_contact`` for one contact, and ``add_sequence_contacts_batch`` for lists, once per 100
    contacts. The API does not document what happens to a contact that is already in the sequence. So each contact is
    added once across all tries of the task, even if the list changes between them: with a ledger, a later try adds only
    those whom no earlier try added. If one of several calls fails, the earlier ones have taken effect.

    For the sequence and its contacts, see :class:`SequenceWriter`.

    :param phones: phone numbers of many contacts: a list or its JSON text. A Brazilian number with and without the
        ninth digit is the same contact (templated).
    :param recipients_sql: query for many contacts with a column ``contact_id`` or ``phone``, or a ``.sql`` file. Its
        rows are stored for later tries, in the folder of ``[wts] results_path`` or ``[wts] ledger_path``; without one,
        or if you change the query and clear the task, a later try runs it again. Needs the extra ``sql`` (templated).
    :param allow_backfill: also add contacts in backfill runs. By default, the task fails in them, because the sequence
        would message customers about the past (templated).
    :param wts_conn_id: ID of the Airflow connection; its ``allowed_recipients`` apply here, too (templated).
    :return: for one contact, its entry in the sequence; for lists, the number of ``contacts`` and of ``calls``.
    """

    _snapshot: Snapshot | None = None

    def execute(self, context: Context) -> SequenceContact | dict[str, int] | None:
        with task_failures():
            self.refuse_backfill(context)
        self.open_ledger(context)
        with task_failures(), ExitStack() as stack:
            self._snapshot = self.queried(context, stack)
            return within_task(super().execute)(context)

    def _refuse_others(self, members: list[_Member]) -> None:
        """Hold the connection's ``allowed_recipients``."""
        single = self._is_single()
        for by, name in (("phone_number", "phone"), ("contact_id", "contact_id")):
            for index, member in enumerate(member for member in members if member.by == by):
                where = name if single else f"{name}s[{index}]"
                if by == "phone_number":
                    refuse_unless_allowed(self.hook, where, member.value)
                else:
                    refuse_unless_allowed(self.hook, where, None, contact_id=member.value)

    def _one(self, context: Context, sequence_id: str, member: _Member) -> SequenceContact | None:
        call = api.sequences.add_sequence_contact(sequence_id, **member.named)
        recipient = f"{member.identity} in sequence {sequence_id}"
        return self.run_once(context, recipient=recipient, build=lambda _: call, place="the sequence")

    def _many(self, context: Context, sequence_id: str, members: list[_Member]) -> int:
        from airflow_provider_wts.sending.membership import SequenceMembers, warn_of_missing

        def build(chunk: list[_Member]) -> Call[Any]:
            named: Any = {f"{chunk[0].by}s": [member.value for member in chunk]}
            return api.sequences.add_sequence_contacts_batch(sequence_id, **named)

        # Whoever is deleted from the table stays in the rows of the first try.
        exclude = {"to_remove": "exclude those that are there in recipients_sql"} if self._snapshot is not None else {}
        adding = SequenceMembers(
            self._once(context),
            target=f"sequence {sequence_id}",
            members={member.identity: member for member in members},
            group_by=_by,
            name=lambda member: member.value,
            **exclude,
        )
        if self._snapshot is not None:
            self._snapshot.keep()
        for count, group in enumerate(adding.groups, start=1):
            answer = adding.send(group, build) or {}
            # The response is the first page of all of them.
            shown = max(len(answer.get("items") or ()), answer.get("totalItems") or 0)
            warn_of_missing(shown, [member.value for member in group.members])
            self.log.info("Call %s of %s: %s contacts.", count, len(adding.groups), len(group.members))
        adding.finish()
        return len(adding.groups)

    def _is_single(self) -> bool:
        return self._snapshot is None and super()._is_single()

    def _members(self) -> list[_Member]:
        unique: dict[str, _Member] = {}
        for member in super()._members() if self._snapshot is None else self._queried(self._snapshot):
            unique.setdefault(member.identity, member)
        self._refuse_others(list(unique.values()))
        return list(unique.values())

    def _queried(self, snapshot: Snapshot) -> Iterator[_Member]:
        named = ("contact_id", "phone", "contact_ids", "phones")
        if not all(parameters.missing(getattr(self, name)) for name in named):
            raise WtsInvalidRequestError(
                f"{', '.join(named)}: were given together with recipients_sql. Nothing was sent. Leave them out."
            )
        phones = [(f"recipients_sql: row {row.line}: phone", row.values.get("phone")) for row in snapshot.rows()]
        contact_fields.refuse_shortened(phones)
        return map(_member, snapshot.rows())


class WtsRemoveFromSequenceOperator(SequenceWriter):
    """Remove one contact or many from a sequence.

    Calls ``remove_sequence_contact`` for one contact, and ``remove_sequence_contacts_batch`` for lists, once per 100
    contacts. For the parameters, see :class:`SequenceWriter`.

    :return: ``None`` for one contact; for lists, the number of ``contacts`` and of ``calls``.
    """

    def _one(self, context: Context, sequence_id: str, member: _Member) -> None:
        self.run_call(api.sequences.remove_sequence_contact(sequence_id, **member.named))

    def _many(self, context: Context, sequence_id: str, members: list[_Member]) -> int:
        from airflow_provider_wts.sending.membership import chunks

        parts = list(chunks(members, _by))
        for count, part in enumerate(parts, start=1):
            named: Any = {f"{part[0].by}s": [member.value for member in part]}
            self.run_call(api.sequences.remove_sequence_contacts_batch(sequence_id, **named))
            self.log.info("Call %s of %s: %s contacts.", count, len(parts), len(part))
        return len(parts)


def _by(member: _Member) -> str:
    # Separately, because IDs and numbers in one call are not documented.
    return member.by


def _member(row: Row) -> _Member:
    """Return the contact of a row of a query."""
    contact_id, phone = row.values.get("contact_id"), row.values.get("phone")
    place = f"recipients_sql: row {row.line}"
    if not parameters.missing(contact_id):
        example = "3f2c0d1e-8a4b-4c6d-9e7f-0a1b2c3d4e5f"
        return _Member("contact_id", parameters.needed_identity(f"{place}: contact_id", contact_id, example=example))
    if parameters.missing(phone):
        raise WtsInvalidRequestError(
            f"{place} has neither a contact_id nor a phone. Nothing was sent. Select one of these columns, and exclude "
            "rows without a value. Example: WHERE phone IS NOT NULL"
        )
    return _Member("phone_number", str(contact_fields.phone_number(f"{place}: phone", phone)))
